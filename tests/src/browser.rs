//! A person with a browser: headless Chromium, driven by its own driver, each started here on a free port.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tempfile::TempDir;

use crate::{PATIENCE, skip};

/// What it is looked at on.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Fingers instead of a mouse.
    pub touch: bool,
}

/// A phone, held upright.
pub const PHONE: Screen = Screen { width: 390, height: 844, touch: true };
/// A tablet on the wall, upright.
pub const TABLET: Screen = Screen { width: 820, height: 1180, touch: true };
/// A desktop.
pub const DESKTOP: Screen = Screen { width: 1440, height: 900, touch: false };

/// See the module. Browser and driver end with it.
pub struct Browser {
    /// The open page.
    pub page: Client,
    driver: Child,
    _profile: TempDir,
}

/// Flags without which a browser in a sandbox without network or display does not come up, or calls home.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

impl Browser {
    /// Opens one, or says why it cannot: the rule about prerequisites.
    pub async fn open(test: &str, screen: Screen) -> Option<Self> {
        let (Some(driver), Some(browser)) =
            (program(&["chromedriver"]), program(&["chromium", "chromium-browser", "google-chrome"]))
        else {
            skip(test, "chromium and chromedriver are not installed");
            return None;
        };
        let profile = TempDir::new().expect("a folder");
        let mut command = Command::new(driver);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().expect("the driver starts");
        let port = port(&mut driver);
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        flags.push(format!("--window-size={},{}", screen.width, screen.height));
        let metrics = json!({ "width": screen.width, "height": screen.height, "pixelRatio": 1.0, "touch": screen.touch });
        let options = json!({
            "binary": browser,
            "args": flags,
            "mobileEmulation": { "deviceMetrics": metrics },
        });
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        let connector = hyper_util::client::legacy::connect::HttpConnector::new();
        let page = ClientBuilder::new(connector)
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("the browser starts");
        Some(Self { page, driver, _profile: profile })
    }

    /// Goes to an address.
    pub async fn goto(&self, url: &str) {
        self.page.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Waits until something is there, and gives it.
    pub async fn find(&self, css: &str) -> fantoccini::elements::Element {
        let found = self.page.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{css}: {error}; the page says: {}", self.text("body").await),
        }
    }

    /// Presses what is there; once more where a patch took its place in that very moment.
    pub async fn press(&self, css: &str) {
        self.until(&format!("a press of {css}"), async || self.find(css).await.click().await.is_ok()).await;
    }

    /// Text of what is there now, empty if nothing is.
    pub async fn text(&self, css: &str) -> String {
        match self.page.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// How many there are now.
    pub async fn count(&self, css: &str) -> usize {
        self.page.find_all(Locator::Css(css)).await.map_or(0, |found| found.len())
    }

    /// Waits until there are so many.
    pub async fn until_count(&self, css: &str, wanted: usize) {
        let script = "return document.querySelectorAll(arguments[0]).length";
        self.until(css, async || self.value(script, css).await == json!(wanted)).await;
    }

    /// Waits until the text of something contains this.
    pub async fn until_text(&self, css: &str, wanted: &str) {
        self.until(&format!("{css} with \"{wanted}\""), async || self.text(css).await.contains(wanted)).await;
    }

    /// Waits until every picture of the page is there.
    pub async fn until_loaded(&self) {
        let script = "return [...document.querySelectorAll('img,image')].filter(i => i.tagName === 'IMG' \
                      && i.getBoundingClientRect().width && !(i.complete && i.naturalWidth)).length + \
                      performance.getEntriesByType('resource').filter(e => !e.responseEnd).length";
        self.until("its pictures", async || self.value(script, "").await == json!(0)).await;
    }

    /// A picture of the whole screen, PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.page.screenshot().await.expect("a screenshot")
    }

    /// What a script gives.
    pub async fn value(&self, script: &str, argument: &str) -> serde_json::Value {
        self.page.execute(script, vec![json!(argument)]).await.expect("the script runs")
    }

    async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        let wait = async {
            while !is().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain for {what}; the page says: {}", self.text("body").await);
        }
    }

    /// Ends it.
    pub async fn close(self) {
        // A browser that is gone already need not be closed.
        drop(self.page.clone().close().await);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

/// The port that the driver chose; it prints it when it is ready.
fn port(driver: &mut Child) -> u16 {
    let out = driver.stdout.take().expect("its output");
    let mut lines = BufReader::new(out).lines();
    let said = lines.find_map(|line| {
        let line = line.ok()?;
        let rest = line.split_once("successfully on port ")?.1;
        rest.trim_end_matches('.').parse().ok()
    });
    said.expect("the driver tells its port")
}
