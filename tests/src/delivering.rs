//! A station on a disk that delivers to the fake cloud over sockets, and what its stories wait for.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_cloud_sync::queue::{Proof, State};
use turnstage_cloud_sync::{Event, Record, Sha256};

use crate::cloud::{Asked, Cloud, Options, TOKEN_LIFE, real_clock};
use crate::{Bench, PATIENCE, quick_rig, write_recipe};

/// Organisation of a station that was never moved.
pub const ORG: &str = "org-a";
/// Its site.
pub const SITE: &str = "berlin";
/// Pictures of a session.
pub const FRAMES: usize = 6;
/// Recipe of a session.
pub const RECIPE: &str = "turn6";

/// See the module.
pub struct Delivering {
    /// Where it delivers to.
    pub cloud: Cloud,
    /// The station.
    pub bench: Bench,
}

/// Station, destination and short waits, as a configuration; `org` owns the station.
pub fn config(cloud: &Cloud, org: &str) -> String {
    let rig = quick_rig("");
    let (before, rest) = rig.split_once("[destinations.local]").expect("a destination in a folder");
    let (_, after) = rest.split_once("[rig.turntable]").expect("a table");
    format!(
        "{before}[station]\norg = \"{org}\"\nsite = \"{SITE}\"\nname = \"one\"\n\
         [uploader]\nbackoff_base_s = 0.1\nbackoff_max_s = 0.2\n\
         [destinations.cloud]\nbackend = \"imaging360\"\nurl = \"{}\"\ntoken_file = \"token\"\n\
         [rig.turntable]{after}",
        cloud.url
    )
}

/// A token that opens everything for a station of `org`, issued now.
pub fn good_token(cloud: &Cloud, org: &str) -> String {
    cloud.token(org, &[SITE], real_clock()() / 1000, TOKEN_LIFE)
}

/// Puts a token where the station looks for it: all of it at once, and for nobody else to read.
pub fn put_token(data: &Path, token: &str) {
    use std::os::unix::fs::PermissionsExt;
    let part = data.join("token.new");
    std::fs::write(&part, token).expect("a token");
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    std::fs::rename(part, data.join("token")).expect("its place");
}

impl Delivering {
    /// A station with everything that it needs.
    pub async fn start() -> Self {
        let station = Self::without_token().await;
        station.put_token(&good_token(&station.cloud, ORG));
        station
    }

    /// The same before anybody brought its token.
    pub async fn without_token() -> Self {
        let cloud = Cloud::start(Options::default()).await;
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), RECIPE, FRAMES as u32, "");
        let bench = Bench::on_disk(&config(&cloud, ORG), data).await;
        Self { cloud, bench }
    }

    /// Ends and starts again, owned by `org`, whose token it has.
    pub async fn moved_to(self, org: &str) -> Self {
        let Self { cloud, bench } = self;
        let data = bench.end().await;
        put_token(data.path(), &good_token(&cloud, org));
        let bench = Bench::on_disk(&config(&cloud, org), data).await;
        Self { cloud, bench }
    }

    /// See [`put_token`].
    pub fn put_token(&self, token: &str) {
        put_token(self.bench.data.path(), token);
    }

    /// A session that is shot and waits for release.
    pub async fn shot(&self) -> String {
        let id = self.bench.start(RECIPE).await;
        assert_eq!(self.bench.settled(&id).await.state, SessionState::Review);
        id
    }

    /// Lets the session at hand go.
    pub async fn release(&self) {
        self.bench.ask(Act::Release { accept: None }).await.expect("released");
    }

    /// A session that is on its way.
    pub async fn released(&self) -> String {
        let id = self.shot().await;
        self.release().await;
        id
    }

    /// Waits until the records of a session are as wanted.
    pub async fn until(&self, id: &str, wanted: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let mut changed = self.bench.running.spool.changed();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let records = self.bench.records(id).await;
            if wanted(&records) {
                return records;
            }
            if tokio::time::timeout_at(end, changed.changed()).await.is_err() {
                panic!("it never came to that: {records:#?}");
            }
        }
    }

    /// Waits until so many pictures of a session stand where they are said to stand.
    pub async fn until_all(&self, id: &str, state: State) -> Vec<Record> {
        self.until(id, |records| records.iter().all(|record| record.state == state)).await
    }

    /// Waits until every picture of a session is confirmed, and compares what lies in the store with what was shot.
    pub async fn delivered(&self, id: &str) -> Vec<Record> {
        let records = self.until_all(id, State::Confirmed).await;
        assert_eq!(records.len(), FRAMES);
        self.assert_stored(&records);
        records
    }

    /// Everything confirmed lies in the store, byte for byte as it was made for there, under the key of its receipt.
    pub fn assert_stored(&self, records: &[Record]) {
        let objects = self.cloud.objects();
        for record in records.iter().filter(|record| record.state == State::Confirmed) {
            let receipt = record.receipt.as_ref().expect("a receipt");
            assert_eq!((receipt.proof, receipt.stands_for()), (Proof::ChecksummedPut, record.sha256));
            assert_ne!(receipt.sha256, record.sha256, "the cloud gets what the station knows of it");
            assert_eq!(objects.get(&receipt.location), Some(&receipt.sha256), "{}", record.key);
            assert_eq!(self.local(record), record.sha256, "{} is still here", record.key);
        }
    }

    /// Hash of the local bytes.
    pub fn local(&self, record: &Record) -> Sha256 {
        let path = self.bench.running.spool.media_path(record);
        Sha256::of(&std::fs::read(path).expect("a local picture"))
    }

    /// Requests with this method whose path has this in it.
    pub fn asked(&self, method: &str, path_part: &str) -> Vec<Asked> {
        let meant = |asked: &Asked| asked.method == method && asked.path.contains(path_part);
        self.cloud.requests().into_iter().filter(meant).collect()
    }

    /// Everything in the event log of one kind.
    pub async fn events(&self, kind: &str) -> Vec<Event> {
        let mut events = self.bench.running.spool.events(0, usize::MAX).await.expect("events");
        events.retain(|event| event.kind == kind);
        events
    }

    /// What of the rules is told by the events of one kind.
    pub async fn rules(&self, kind: &str) -> Vec<String> {
        let events = self.events(kind).await;
        events.iter().map(|event| event.data["rule"].as_str().expect("a rule").to_owned()).collect()
    }

    /// What is read at a path.
    pub async fn get(&self, path: &str) -> Value {
        self.bench.client().get(path).await.json()
    }

    /// Waits until the state is as wanted.
    pub async fn status_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.bench.running.window.changes();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.get("/api/v1/status").await;
            if wanted(&status) {
                return status;
            }
            if tokio::time::timeout_at(end, changes.next()).await.is_err() {
                panic!("the state never came: {status:#}");
            }
        }
    }

    /// Waits until the situation has this name.
    pub async fn situation(&self, is: &str) -> Value {
        self.status_until(|status| status["situation"]["is"] == is).await
    }

    /// Why pictures of sessions wait: how many, rule and sentence.
    pub async fn waiting(&self) -> Vec<(u64, String, String)> {
        let queue = self.get("/api/v1/queue").await;
        let sessions = queue["sessions"].as_array().expect("sessions").iter();
        let waiting = sessions.flat_map(|session| session["waiting"].as_array().expect("a list"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        waiting
            .map(|one| {
                (one["pictures"].as_u64().expect("a number"), text(&one["rule"]), text(&one["reason"]))
            })
            .collect()
    }

    /// Ends station and cloud.
    pub async fn end(self) {
        self.bench.end().await;
        self.cloud.stop().await;
    }
}

/// Milliseconds from the first to the second of these moments.
pub fn after(first: &Asked, second: &Asked) -> Duration {
    Duration::from_millis(u64::try_from(second.at_ms - first.at_ms).expect("in this order"))
}
