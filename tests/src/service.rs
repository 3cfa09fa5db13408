//! The real binary as a service, asked over its panel's address as by the rig's own display.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use turnstage::listen::Found;
use turnstage_cloud_sync::Record;

use crate::{PATIENCE, binary};

/// See the module.
pub struct Service {
    child: Child,
    environment: Vec<(String, OsString)>,
    folder: TempDir,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Service {
    /// Starts it with a configuration and more environment; ready when the panel answers.
    pub async fn start(config: &str, environment: &[(&str, OsString)]) -> Self {
        let mut service = Self::start_on(config, environment, |_, _| ());
        service.address = service.found().await;
        service
    }

    /// The same after something was laid into its data folder; the second path is its configuration. Nothing is waited for.
    pub fn start_on(config: &str, environment: &[(&str, OsString)], lay: impl FnOnce(&Path, &Path)) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("station.toml");
        std::fs::write(&file, config).expect("a configuration");
        lay(&folder.path().join("data"), &file);
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let child = spawn(folder.path(), &environment);
        // Where two tests of one process come here, the first has installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { child, environment, folder, address: ([127, 0, 0, 1], 0).into(), client }
    }

    /// Waits until it ends with this code.
    pub fn ends_with(&mut self, code: i32) {
        let ended = self.child.wait().expect("an end").code();
        assert_eq!(ended, Some(code), "{}", self.log());
    }

    /// Waits until it ends with this code, and starts it anew as a service manager does.
    pub async fn comes_back_after(&mut self, code: i32) {
        self.ends_with(code);
        self.start_again().await;
    }

    /// Ends it as a power cut does: signal 9.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }

    /// Ends it as the service manager does; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill runs").success(), "it is not there any more");
        self.child.wait().expect("it ends").code()
    }

    /// Starts it again on the same folder, after it ended.
    pub async fn start_again(&mut self) {
        // Where it listened is no word of the new one.
        drop(std::fs::remove_file(self.data().join("api.json")));
        self.child = spawn(self.folder.path(), &self.environment);
        self.address = self.found().await;
    }

    async fn found(&self) -> SocketAddr {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = Found::below(&self.data()).and_then(|found| found.address)
                && self.client.get(format!("http://{address}/healthz")).send().await.is_ok()
            {
                return address;
            }
            assert!(Instant::now() < end, "the panel does not open: {}", self.log());
            tokio::task::yield_now().await;
        }
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A kill and a new start.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// The same with another configuration.
    pub async fn restart_with(&mut self, config: &str) {
        self.kill();
        std::fs::write(self.folder.path().join("station.toml"), config).expect("a configuration");
        self.start_again().await;
    }

    /// What it complained about.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Reads something of its interface.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}; {}", self.log()));
        answer.json().await.expect("JSON")
    }

    /// Sends a command; the problem where it is refused.
    pub async fn ask(&self, command: &str, body: Value) -> Result<Value, Value> {
        Self::answer(self.command(command, body)).await
    }

    /// The same from somewhere else, through a proxy on this machine.
    pub async fn ask_from_afar(&self, command: &str, body: Value) -> Result<Value, Value> {
        Self::answer(self.command(command, body).header("X-Forwarded-For", "192.0.2.7")).await
    }

    /// Posts to a path; the problem where it is refused.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Value> {
        Self::answer(self.client.post(format!("http://{}{path}", self.address)).json(&body)).await
    }

    fn command(&self, command: &str, body: Value) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}/api/v1/commands/{command}", self.address)).json(&body)
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Value, Value> {
        let answer = request.send().await.expect("an answer");
        let good = answer.status().is_success();
        let value = answer.json().await.expect("JSON");
        if good { Ok(value) } else { Err(value) }
    }

    /// Arms the rig as a person before its display, and starts a session; its id.
    pub async fn start_session(&self, recipe: &str) -> String {
        self.ask("arm", json!({})).await.expect("armed");
        let body = json!({ "item": "item-1", "recipe": recipe });
        let started = self.ask("start", body).await.unwrap_or_else(|problem| panic!("{problem}"));
        started["session"].as_str().expect("an id").to_owned()
    }

    /// Arms the rig and goes on.
    pub async fn resume(&self) {
        self.ask("arm", json!({})).await.expect("armed");
        let body = json!({ "session": null, "anew": false, "confirm": false });
        self.ask("resume", body).await.unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Events of its log after one, at most 500.
    pub async fn events(&self, after: u64) -> Vec<Value> {
        let told = self.get(&format!("/api/v1/events?after={after}&limit=500")).await;
        told.as_array().expect("a list").clone()
    }

    /// The state now.
    pub async fn status(&self) -> Value {
        self.get("/api/v1/status").await
    }

    /// Waits for a state.
    pub async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.until_at("/api/v1/status", what, is).await
    }

    /// Waits for what is read at a path.
    pub async fn until_at(&self, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.get(path).await;
            if is(&state) {
                return state;
            }
            assert!(Instant::now() < end, "not {what}: {state:#}; {}", self.log());
            // Until the next event, or a little while: a moving table makes no events.
            let after = &self.status().await["newest_event"];
            self.get(&format!("/api/v1/events?after={after}&limit=1&wait_ms=50")).await;
        }
    }

    /// Waits until nothing is shot any more; the session's own state.
    pub async fn settled(&self) -> Value {
        let status = self.until("settled", |status| status["session"]["state"] != "shooting").await;
        status["session"].clone()
    }

    /// Every record of a session.
    pub async fn records(&self, session: &str) -> Vec<Record> {
        let records = self.get(&format!("/api/v1/sessions/{session}/records")).await;
        serde_json::from_value(records).expect("records")
    }
}

fn spawn(folder: &Path, environment: &[(String, OsString)]) -> Child {
    let log = std::fs::File::options().append(true).create(true).open(folder.join("log"));
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(folder.join("station.toml"));
    command.arg("--data-dir").arg(folder.join("data"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
    command.spawn().expect("it runs")
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that ended cannot be killed, which is well.
        self.kill();
    }
}
