//! Takes pictures of the panel in every state of a session, on phone, tablet and desktop, light and dark.
//!
//! `panel_shots FOLDER [README_FOLDER]`: everything goes to FOLDER as `STATE-SCREEN-THEME.png`; the two pictures of the
//! README are also written to README_FOLDER. The rig is simulated; two of its frames are spoilt on purpose.

use std::path::PathBuf;

use tempfile::TempDir;
use turnstage::clock::{self, SystemClock};
use turnstage::command::Act;
use turnstage::constancy::{self, Constancy, Frame, Seen};
use turnstage_cloud_sync::Clock;
use turnstage_cloud_sync::spool::Commit;
use turnstage_tests::Bench;
use turnstage_tests::browser::{Browser, DESKTOP, PHONE, Screen, TABLET};

const SCREENS: [(&str, Screen); 3] = [("phone", PHONE), ("tablet", TABLET), ("desktop", DESKTOP)];
const THEMES: [&str; 2] = ["light", "dark"];

const STATION: &str = r#"
[station]
org = "demo"
site = "Studio"
name = "Booth 1"

[storage]
free_bytes_soft = 2_000_000_000
free_bytes_hard = 500_000_000

[panel]
listen = "127.0.0.1:0"

[booth]
object = "toy"
seed = 7
faults = [
  { camera = "main", frame = 12, kind = "blurred" },
  { camera = "main", frame = 30, kind = "over-exposed" },
]

[rig.turntable]
driver = "sim"

[rig.cameras.main]
driver = "sim"
settings = { exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0 }

[destinations.usb-stick]
backend = "directory"
root = "stick"
"#;

/// A platform for cars instead.
const PLATFORM: &str = r#"
[motion]
platform_m = 4.5

[rig.inputs.red]
driver = "sim"
does = "emergency-stop"
"#;

struct Studio {
    people: Vec<(&'static str, Browser)>,
    panel: String,
    out: PathBuf,
}

impl Studio {
    /// The same address on every screen in both lights.
    async fn take(&self, state: &str, path: &str) {
        for theme in THEMES {
            for (screen, person) in &self.people {
                let glue = if path.contains('?') { '&' } else { '?' };
                person.goto(&format!("{}{path}{glue}theme={theme}", self.panel)).await;
                person.until_loaded().await;
                let file = self.out.join(format!("{state}-{screen}-{theme}.png"));
                std::fs::write(file, person.screenshot().await).expect("a picture is written");
            }
        }
        println!("{state}");
    }

    fn desktop(&self) -> &Browser {
        &self.people[2].1
    }
}

#[tokio::main]
async fn main() {
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let out = folders.next().expect("panel_shots FOLDER [README_FOLDER]");
    std::fs::create_dir_all(&out).expect("the folder can be made");
    let data = TempDir::new().expect("a folder");
    let recipes = data.path().join("recipes");
    std::fs::create_dir_all(&recipes).expect("a folder for recipes");
    let spin = include_str!("../../config/recipes/spin36.toml");
    std::fs::write(recipes.join("spin36.toml"), without_retakes(spin)).expect("a recipe");
    let mut bench = Bench::on_disk(STATION, data).await;
    let panel = opened(&mut bench).await;
    let mut people = Vec::new();
    for (name, screen) in SCREENS {
        people.push((name, Browser::open("panel_shots", screen).await.expect("a browser")));
    }
    let mut studio = Studio { people, panel, out };
    session(&studio, &bench).await;
    let bench = drifted(&mut studio, bench).await;
    let bench = platform(&mut studio, bench).await;
    if let Some(readme) = folders.next() {
        for state in ["shooting", "review"] {
            let from = studio.out.join(format!("{state}-desktop-light.png"));
            std::fs::copy(from, readme.join(format!("panel-{state}.png"))).expect("a picture is copied");
        }
    }
    for (_, person) in studio.people {
        person.close().await;
    }
    bench.end().await;
}

/// Address of the panel once it is open.
async fn opened(bench: &mut Bench) -> String {
    let mut found = bench.running.open(bench.data.path());
    let address = found.wait_for(|found| found.address.is_some()).await.expect("the panel opens").address;
    format!("http://{}/", address.expect("an address"))
}

/// The same station some days later: its lens has become dirty.
async fn drifted(studio: &mut Studio, bench: Bench) -> Bench {
    bench.ask(Act::Abort).await.expect("ended");
    let mut known = Constancy::default();
    let today = clock::day(&Clock::now(&SystemClock::new())).unwrap_or_default();
    for (day, blur_px) in [(today - 3, 0.5), (today, 0.72)] {
        let frame = |bin| Frame { bin: Some(bin), blur_px: Some(blur_px), ..Frame::default() };
        let [camera, device, setup] = ["main", "sim", "spin36"].map(str::to_owned);
        let one = |bin| Seen {
            camera: camera.clone(),
            device: device.clone(),
            setup: setup.clone(),
            frame: frame(bin),
        };
        known.add(Some(day), &(0..36).map(one).collect::<Vec<_>>());
    }
    let documents = vec![known.document(&constancy::document_of("demo"))];
    bench.running.spool.commit(Commit { documents, ..Commit::default() }).await.expect("kept");
    let mut bench = Bench::on_disk(STATION, bench.end().await).await;
    studio.panel = opened(&mut bench).await;
    studio.take("drift", "").await;
    studio.take("drift-de", "?lang=de").await;
    bench
}

/// The same station with a platform for cars: its emergency stop is tested, then pressed in mid-turn.
async fn platform(studio: &mut Studio, bench: Bench) -> Bench {
    let mut bench = Bench::on_disk(&format!("{STATION}{PLATFORM}"), bench.end().await).await;
    studio.panel = opened(&mut bench).await;
    let booth = bench.running.around.booth.clone().expect("a booth");
    studio.take("emergency-untested-de", "?lang=de").await;
    studio.take("emergency-untested", "?item=2000104820014&lang=en").await;
    studio.desktop().goto(&studio.panel).await;
    studio.desktop().press("#act [data-act=test-emergency-stop]").await;
    studio.take("emergency-press", "").await;
    booth.press("red");
    studio.desktop().until_text("#act", "Release it now").await;
    studio.take("emergency-release", "").await;
    booth.release("red");
    studio.desktop().until_text("#act", "Scan an item to start").await;
    studio.take("emergency-tested", "?item=2000104820014").await;
    let id = start(&bench).await;
    studio.desktop().goto(&studio.panel).await;
    studio.desktop().until_text("#status h1", "Shooting frame 5").await;
    booth.press("red");
    bench.settled(&id).await;
    studio.take("emergency-pressed", "").await;
    bench
}

async fn session(studio: &Studio, bench: &Bench) {
    studio.take("ready", "").await;
    studio.take("item", "?item=2000104820014").await;
    let id = start(bench).await;
    // The turn is half over when it is looked at.
    studio.desktop().goto(&studio.panel).await;
    studio.desktop().until_text("#status h1", "Shooting frame 17").await;
    studio.take("shooting", "").await;
    bench.settled(&id).await;
    studio.take("review", "?frame=12").await;
    let retake = Act::Retake { which: turnstage::command::Which::Flagged };
    bench.ask(retake).await.expect("a retake");
    bench.settled(&id).await;
    studio.take("complete", "").await;
    bench.ask(Act::Release { accept: None }).await.expect("released");
    studio.desktop().until_text("#status h1", "Ready").await;
    studio.take("away", "?queue=open").await;
    std::fs::create_dir(bench.data.path().join("stick")).expect("the stick is put in");
    bench.running.wake.reconnected();
    studio.take("viewer", &format!("sessions/{id}")).await;
    studio.take("sessions", "sessions").await;
    let id = start(bench).await;
    studio.desktop().goto(&studio.panel).await;
    studio.desktop().until_text("#status h1", "Shooting frame 5").await;
    bench.ask(Act::Stop).await.expect("stopped");
    bench.settled(&id).await;
    studio.take("stopped", "").await;
}

async fn start(bench: &Bench) -> String {
    let start = Act::Start { item: "2000104820014".to_owned(), recipe: Some("spin36".to_owned()) };
    bench.ask(start).await.expect("the session starts").session.expect("its id")
}

/// What is flagged is left for a person.
fn without_retakes(recipe: &str) -> String {
    recipe.lines().filter(|line| !line.starts_with("retakes")).collect::<Vec<_>>().join("\n")
}
