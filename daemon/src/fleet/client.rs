//! The manager's side of the broker: who they are, what they saw of each station, and what they sign and send.
//!
//! A client like any other: whatever it does can be done with an MQTT client and a JOSE library. What it knows of the
//! fleet is what the broker retains; nothing is kept here but the counter of what was signed.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use turnstage_cloud_sync::ClockQuality;
use turnstage_cloud_sync::mqtt::{Broker, Denied, Identity, Link, Message, Post, Received, Tls};

use super::commands::{COMMAND_SCHEMA, Claims};
use super::configuring::{CONFIG_SCHEMA, ConfigClaims};
use super::desired::Desired;
use super::message::Envelope;
use super::signed::{self, COMMAND, CONFIG, Signer};
use super::topics::{self, Below, Topics};
use crate::clock::SystemClock;
use crate::durable;
use crate::status::StationName;

/// Largest packet, in bytes.
pub const PACKET_BYTES_MAX: usize = 1024 * 1024;
/// Events of a station of which a manager remembers that they came, to drop doubles.
const EVENTS_REMEMBERED: usize = 256;

/// Who a manager is: a file of theirs, `manager.toml`. Paths in it are relative to its folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Address of the broker.
    pub broker: String,
    /// First part of every topic.
    #[serde(default = "turnstage")]
    pub prefix: String,
    /// Name at the broker.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Authority of the broker's certificate; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Own certificate for the broker.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Private key that commands are signed with (`turnstage fleet keygen`).
    pub signing_key_file: Option<PathBuf>,
    /// Name of that key in the stations' trust files.
    pub key_id: Option<String>,
    /// Who signs: stands in each station's audit log.
    pub sender: Option<String>,
}

fn turnstage() -> String {
    "turnstage".to_owned()
}

impl Options {
    /// Reads a manager's file; the sentence says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let text =
            std::fs::read_to_string(path).map_err(|error| named(format!("cannot be read: {error}")))?;
        let mut options: Self =
            toml::from_str(&text).map_err(|error| named(error.to_string().trim_end().to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let files = [
            &mut options.password_file,
            &mut options.ca_file,
            &mut options.cert_file,
            &mut options.key_file,
            &mut options.signing_key_file,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        options.broker_of("turnstage-manager").map_err(named)?;
        Ok(options)
    }

    /// The broker, with a client id.
    pub fn broker_of(&self, client_id: &str) -> Result<Broker, String> {
        let (host, port, tls) = Broker::parse(&self.broker)?;
        let identity = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Some(Identity { cert_file: cert.clone(), key_file: key.clone() }),
            (None, None) => None,
            _ => return Err("cert_file needs key_file, and the other way round".to_owned()),
        };
        Ok(Broker {
            host,
            port,
            client_id: client_id.to_owned(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            tls: tls.then(|| Tls { ca_file: self.ca_file.clone(), identity }),
            keep_alive: Duration::from_secs(30),
            // A person who looks needs no messages of the time when they did not.
            session_expiry: Duration::ZERO,
            packet_bytes_max: PACKET_BYTES_MAX,
            return_max: Duration::from_secs(2),
        })
    }

    fn signer(&self) -> Result<Signer, String> {
        let (Some(file), Some(id)) = (&self.signing_key_file, &self.key_id) else {
            return Err("to command or configure, signing_key_file and key_id are needed".to_owned());
        };
        let pem =
            std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        Signer::of_pem(id, &pem).map_err(|what| format!("{} {what}", file.display()))
    }
}

/// What was seen of a station.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seen {
    /// The last status.
    pub status: Option<Envelope<Value>>,
    /// The last figures, by group.
    pub telemetry: BTreeMap<String, Envelope<Value>>,
    /// What is wrong, by rule.
    pub alarms: BTreeMap<String, Envelope<Value>>,
    /// Its configuration.
    pub reported: Option<Envelope<Value>>,
    /// Version of the configuration that is wanted of it; nobody's signature was looked at.
    pub desired_version: Option<u64>,
    /// Commands, by id.
    pub commands: BTreeMap<String, Envelope<Value>>,
    /// Events that came while this manager looked, doubles dropped.
    pub events: u64,
    #[serde(skip)]
    recent: VecDeque<String>,
}

impl Seen {
    /// It says that it is there, and its last will was not told since.
    pub fn online(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.body["online"] == true)
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Of which station.
    pub station: StationName,
    /// What it is about.
    pub below: Below,
    /// The message; `None` where what was retained was taken back.
    pub message: Option<Envelope<Value>>,
}

/// Every station that was heard of.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By name.
    pub stations: BTreeMap<StationName, Seen>,
}

impl Fleet {
    /// Takes a message in; `None` of what is no station's, cannot be read, or was here before.
    pub fn take(&mut self, prefix: &str, topic: &str, payload: &[u8]) -> Option<Heard> {
        let (station, below) = topics::parse(prefix, topic)?;
        if below == Below::Desired {
            let seen = self.stations.entry(station).or_default();
            seen.desired_version =
                signed::unverified::<ConfigClaims>(payload).map(|claims| claims.desired.version);
            return None;
        }
        let message = match payload {
            [] => None,
            payload => match serde_json::from_slice::<Envelope<Value>>(payload) {
                Ok(message) => Some(message),
                Err(error) => {
                    tracing::warn!(topic, %error, "a message cannot be read");
                    return None;
                }
            },
        };
        let seen = self.stations.entry(station.clone()).or_default();
        let put = |map: &mut BTreeMap<String, Envelope<Value>>, key: &str| match message.clone() {
            Some(message) => drop(map.insert(key.to_owned(), message)),
            None => drop(map.remove(key)),
        };
        match &below {
            Below::Status => seen.status = message.clone(),
            Below::Reported => seen.reported = message.clone(),
            Below::Telemetry(group) => put(&mut seen.telemetry, group),
            Below::Alarm(rule) => put(&mut seen.alarms, rule),
            Below::CommandStatus(_, id) => put(&mut seen.commands, id),
            Below::Event(_) => {
                let id = message.as_ref().map(|message| message.id.clone())?;
                if seen.recent.contains(&id) {
                    return None;
                }
                seen.recent.push_back(id);
                if seen.recent.len() > EVENTS_REMEMBERED {
                    seen.recent.pop_front();
                }
                seen.events += 1;
            }
            Below::Command(..) | Below::Desired => {}
        }
        Some(Heard { station, below, message })
    }
}

/// Counts what a key signed, beside the key: higher each time, over programs and machines with a right clock.
struct Counter {
    file: PathBuf,
}

impl Counter {
    fn next(&self, now_ms: i64) -> Result<u64, String> {
        let last: u64 =
            durable::read_json(&self.file).map_err(|error| self.failed(&error))?.unwrap_or_default();
        let next = u64::try_from(now_ms).unwrap_or_default().max(last + 1);
        durable::write_json(&self.file, &next).map_err(|error| self.failed(&error))?;
        Ok(next)
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: the counter of what was signed cannot be kept: {error}", self.file.display())
    }
}

/// See the module.
pub struct Manager {
    options: Options,
    post: Post,
    received: mpsc::Receiver<Received>,
    clock: SystemClock,
    /// What was seen.
    pub fleet: Fleet,
}

impl Manager {
    /// A manager who listens to what is below their prefix: `parts` are the last parts of topics, as `status` and
    /// `telemetry/+`. The link is to be run beside.
    pub fn new(options: Options, parts: &[&str]) -> Result<(Link, Self), String> {
        let client_id = format!("turnstage-manager-{}", uuid::Uuid::now_v7().simple());
        let broker = options.broker_of(&client_id)?;
        let filters = parts.iter().map(|part| format!("{}/+/+/+/{part}", options.prefix)).collect();
        let (link, post, received) = Link::new(broker, None, filters);
        let manager = Self { options, post, received, clock: SystemClock::new(), fleet: Fleet::default() };
        Ok((link, manager))
    }

    /// The next message that tells something; pending where the link ended.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(received) = self.received.recv().await else { return std::future::pending().await };
            let heard = self.fleet.take(&self.options.prefix, &received.topic, &received.payload);
            received.done();
            if let Some(heard) = heard {
                return heard;
            }
        }
    }

    /// Where messages are handed in.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// Topics of a station.
    pub fn topics(&self, station: &StationName) -> Topics {
        Topics::of(&self.options.prefix, station)
    }

    /// Signs a command for a station: its id and the message.
    pub fn command(
        &self,
        station: &StationName,
        kind: &str,
        arguments: &Value,
        valid: Duration,
    ) -> Result<(String, Message), String> {
        let now = self.clock.now();
        if now.quality == ClockQuality::Unset {
            return Err(
                "the clock of this machine is not set: stations would refuse what it signs".to_owned()
            );
        }
        let signer = self.options.signer()?;
        let id = uuid::Uuid::now_v7().to_string();
        let claims = Claims {
            schema: COMMAND_SCHEMA,
            id: id.clone(),
            kind: kind.to_owned(),
            station: format!("{}/{}/{}", station.org, station.site, station.name),
            sender: self.sender(),
            counter: self.counter().next(now.wall_ms)?,
            issued_ms: now.wall_ms,
            expires_ms: now.wall_ms.saturating_add(i64::try_from(valid.as_millis()).unwrap_or(i64::MAX)),
            arguments: arguments.clone(),
        };
        let text = signer.sign(COMMAND, &claims).map_err(|error| error.to_string())?;
        let topic = self.topics(station).topic(&Below::Command(kind.to_owned(), id.clone()));
        Ok((id, Message { topic, payload: text.into(), retain: false }))
    }

    /// Signs a configuration for a station.
    pub fn configuration(&self, station: &StationName, desired: &Desired) -> Result<Message, String> {
        let signer = self.options.signer()?;
        let claims = ConfigClaims {
            schema: CONFIG_SCHEMA,
            id: uuid::Uuid::now_v7().to_string(),
            station: format!("{}/{}/{}", station.org, station.site, station.name),
            sender: self.sender(),
            issued_ms: self.clock.now().wall_ms,
            desired: desired.clone(),
        };
        let text = signer.sign(CONFIG, &claims).map_err(|error| error.to_string())?;
        Ok(Message { topic: self.topics(station).topic(&Below::Desired), payload: text.into(), retain: true })
    }

    /// Hands a message to the broker, and waits until it has it.
    pub async fn send(&self, message: Message) -> Result<(), Denied> {
        self.post.deliver(message).await
    }

    fn counter(&self) -> Counter {
        let mut file = self.options.signing_key_file.clone().unwrap_or_default().into_os_string();
        file.push(".counter");
        Counter { file: file.into() }
    }

    fn sender(&self) -> String {
        let user = || std::env::var("USER").unwrap_or_else(|_| "manager".to_owned());
        self.options.sender.clone().unwrap_or_else(user)
    }
}

/// Whether a station is meant by a pattern `ORG/SITE/STATION` whose parts may be `*`.
pub fn is_meant(pattern: &str, station: &StationName) -> bool {
    let parts: Vec<&str> = pattern.split('/').collect();
    let fits = |part: &str, name: &str| part == "*" || part == name;
    match parts[..] {
        [org, site, name] => {
            fits(org, &station.org) && fits(site, &station.site) && fits(name, &station.name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn envelope(id: &str, body: Value) -> Vec<u8> {
        let envelope = json!({
            "schema": 1, "id": id, "boot_id": "b", "sequence": 1, "at": "2026-11-28T09:30:00.120Z",
            "clock": "synced", "late": false, "body": body,
        });
        envelope.to_string().into_bytes()
    }

    #[test]
    fn a_fleet_is_what_is_retained_and_doubles_count_once() {
        let mut fleet = Fleet::default();
        let mut take = |topic: &str, payload: &[u8]| fleet.take("t", topic, payload).is_some();
        assert!(take("t/org/site/a/status", &envelope("1", json!({ "online": true }))));
        assert!(take("t/org/site/a/alarm/disk-full", &envelope("2", json!({ "rule": "disk-full" }))));
        assert!(take("t/org/site/a/event/frame.captured", &envelope("e1", json!({}))));
        assert!(!take("t/org/site/a/event/frame.captured", &envelope("e1", json!({}))));
        assert!(!take("t/org/site/a/status", b"no JSON") && !take("elsewhere", b"{}"));
        assert!(take("t/org/site/a/alarm/disk-full", b""));
        let (name, seen) = fleet.stations.first_key_value().unwrap();
        assert_eq!((name.name.as_str(), seen.events, seen.alarms.len()), ("a", 1, 0));
        assert!(seen.online());
    }

    #[test]
    fn the_counter_only_goes_up_even_when_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let counter = Counter { file: folder.path().join("key.counter") };
        let counted: Vec<u64> =
            [5000, 5000, 10].into_iter().map(|now_ms| counter.next(now_ms).unwrap()).collect();
        assert_eq!(counted, [5000, 5001, 5002]);
    }

    #[test]
    fn a_pattern_means_whole_parts() {
        let station = StationName { org: "org".into(), site: "berlin".into(), name: "a".into() };
        for (pattern, meant) in [
            ("org/berlin/a", true),
            ("org/*/a", true),
            ("*/*/*", true),
            ("org/*", false),
            ("org/ber*/a", false),
        ] {
            assert_eq!(is_meant(pattern, &station), meant, "{pattern}");
        }
    }

    #[test]
    fn a_manager_s_file_says_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Options::read(&path)
        };
        let good = read("broker = \"mqtts://b.example\"\npassword_file = \"pw\"\n").unwrap();
        assert_eq!(good.password_file, Some(folder.path().join("pw")));
        assert!(read("broker = \"http://b\"").unwrap_err().contains("mqtts://"));
        assert!(read("broker = \"mqtts://b.example\"\nbrokre = 1").unwrap_err().contains("brokre"));
        assert!(read("broker = \"mqtts://b.example\"\ncert_file = \"c\"").unwrap_err().contains("key_file"));
    }
}
