//! What stories share: a station in this process, the real binary as a child, and the rule about prerequisites.

pub mod asyncapi;
pub mod broker;
pub mod browser;
pub mod cloud;
pub mod delivering;
pub mod headquarters;
pub mod rauc;
pub mod service;
pub mod turns;
pub mod view;
pub mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use turnstage::clock::SystemClock;
use turnstage::command::{Accepted, Act, Actor, Answer};
use turnstage::config::Config;
use turnstage::run::{Ground, Running};
use turnstage::session::{SessionDoc, SessionState};
use turnstage::status::SessionStatus;
use turnstage_cloud_sync::store::Document;
use turnstage_cloud_sync::{Backend, Record, Sha256, Spool};

/// A prerequisite is missing: a failure where `CI=true`, a line for the list of skips elsewhere.
pub fn skip(name: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} cannot run here: {reason}");
    println!("SKIP {name}: {reason}");
}

/// The folder with real photographs, or `None` after saying so.
pub fn photos(test: &str) -> Option<PathBuf> {
    match std::env::var_os("TURNSTAGE_PHOTOS").map(PathBuf::from) {
        Some(folder) if folder.is_dir() => Some(folder),
        _ => {
            skip(test, "TURNSTAGE_PHOTOS does not name a folder of photographs");
            None
        }
    }
}

/// What every station of the tests has beside its rig: small reserves, a panel on any port, and a folder to deliver to.
pub const STATION: &str = r#"
[storage]
free_bytes_soft = 2_000_000
free_bytes_hard = 1_000_000
frame_bytes = 200_000

[panel]
listen = "127.0.0.1:0"

[capture]
camera_wait_s = 0.0

[destinations.local]
backend = "directory"
root = "delivered"
create = true
"#;

/// A rig that is quick: small pictures, a fast table, nothing rings. `more` is added to the text.
pub fn quick_rig(more: &str) -> String {
    format!(
        r#"
{STATION}
[rig.turntable]
driver = "sim"
speed_deg_s = 3600.0
acceleration_deg_s2 = 100000.0
vibration_deg = 0.0
start_deg = 33.0

[rig.cameras.main]
driver = "sim"
size = [320, 240]
latency_ms = 0.0
transfer_ms = 0.0
settings = {{ exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0 }}
{more}
"#
    )
}

/// A recipe file in `folder` with so many frames; `more` is added to the text.
pub fn write_recipe(folder: &Path, name: &str, frames: u32, more: &str) {
    let text = format!(
        "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 0\n{more}\n\
         [[rows]]\nframes = {frames}\n"
    );
    std::fs::create_dir_all(folder).expect("a folder for recipes");
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a recipe");
}

/// A recipe's policy by which small rendered pictures and recordings, which are not what a studio's are, block nothing.
pub fn lenient_policy() -> String {
    let rules = [
        "sharpness",
        "motion",
        "noise",
        "clipped",
        "dark",
        "light-drift",
        "colour-drift",
        "banding",
        "duplicate",
        "not-moved",
        "loop",
        "size",
    ];
    let lines: String = rules.iter().map(|rule| format!("\"qc.{rule}\" = \"warn\"\n")).collect();
    format!("[qc.policy]\n{lines}")
}

/// A station in this process.
pub struct Bench {
    /// It.
    pub running: Running,
    /// Its data, gone with the bench unless taken.
    pub data: TempDir,
}

impl Bench {
    /// On a disk, in real time. The configuration's recipes are in `DATA/recipes`.
    pub async fn on_disk(config: &str, data: TempDir) -> Self {
        let config = read(config, data.path());
        let start = turnstage::run::Start::new(config, data.path());
        Self { running: Running::start(start).await.expect("the station starts"), data }
    }

    /// In memory, for paused time: no thread and no socket waits for a clock that only a test moves.
    pub fn in_memory(config: &str, data: TempDir) -> Self {
        let config = read(config, data.path());
        let clock = SystemClock::new();
        let spool = Spool::in_memory(Arc::new(clock.clone()));
        let backends = turnstage::run::backends(&config, data.path());
        Self::on(spool, clock, backends, config, data)
    }

    /// In memory, with time and destinations of the story's own.
    pub fn on(
        spool: Spool,
        clock: SystemClock,
        backends: Vec<Arc<dyn Backend>>,
        config: Config,
        data: TempDir,
    ) -> Self {
        let meter = turnstage::run::meter(&config, None, &clock);
        let ground = Ground {
            spool,
            opened: None,
            config,
            data: data.path(),
            locked: Vec::new(),
            told: Vec::new(),
            clock,
            backends,
            meter,
        };
        Self { running: Running::on(ground).expect("the station starts"), data }
    }

    /// Asks as a person.
    pub async fn ask(&self, act: Act) -> Answer {
        self.running.commands.ask(&Actor("operator:test".to_owned()), act).await
    }

    /// What a browser or a program on this machine would use.
    pub fn client(&self) -> web::Client {
        web::Client::of(self.running.router(self.data.path()))
    }

    /// Starts a session; its id.
    pub async fn start(&self, recipe: &str) -> String {
        let act = Act::Start { item: "item-1".to_owned(), recipe: Some(recipe.to_owned()) };
        let Accepted { session, .. } = self.ask(act).await.expect("the session starts");
        session.expect("a session id")
    }

    /// Waits until the session is no longer being shot.
    pub async fn settled(&self, id: &str) -> SessionStatus {
        let mut status = self.running.status.clone();
        let done = |status: &turnstage::status::Status| {
            status.session.as_ref().is_some_and(|s| s.id == id && s.state != SessionState::Shooting)
        };
        let now = status.wait_for(done).await.expect("the station lives");
        now.session.clone().expect("a session")
    }

    /// What is stored of each session, oldest first; the station keeps other documents beside them.
    pub async fn sessions(&self) -> Vec<Document> {
        let mut documents = self.running.spool.documents().await.expect("documents");
        documents.retain(|document| SessionDoc::read(document).is_ok());
        documents
    }

    /// Records of a session.
    pub async fn records(&self, id: &str) -> Vec<Record> {
        self.running.spool.session_records(id).await.expect("records")
    }

    /// Ends the station and keeps its data.
    pub async fn end(self) -> TempDir {
        self.running.stop().await;
        self.data
    }
}

/// A configuration whose recipes are in `DATA/recipes`.
pub fn read(text: &str, data: &Path) -> Config {
    let recipes = data.join("recipes").display().to_string();
    let text = format!("{text}\n[recipes]\nfolder = \"{recipes}\"\n");
    Config::from_text(Some(("test.toml", &text)), Vec::new()).expect("a good configuration")
}

/// The product's own binary, built as it is now; once in each process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "turnstage", "--bin", "turnstage"]);
    // What cargo told this test about its package: build scripts that look at it would run again each time, and
    // everything above them be compiled anew.
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    std::env::vars().filter(|(name, _)| told(name)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "the binary does not build");
    let test = std::env::current_exe().expect("this test's path");
    test.ancestors().nth(2).expect("the target folder").join("turnstage")
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

/// Runs the binary to its end.
pub fn turnstage(args: &[&str]) -> Ran {
    let output = Command::new(binary()).args(args).stdin(Stdio::null()).output().expect("the binary runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Hashes of all files below a folder that end in `.jpg`, by path.
pub fn pictures(folder: &Path) -> BTreeMap<PathBuf, Sha256> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(pictures(&path));
        } else if path.extension().is_some_and(|extension| extension == "jpg") {
            let bytes = std::fs::read(&path).expect("a readable picture");
            found.insert(path, Sha256::of(&bytes));
        }
    }
    found
}

/// Longest that a story waits for anything in real time.
pub const PATIENCE: Duration = Duration::from_secs(100);
