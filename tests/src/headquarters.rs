//! A manager of stations: a broker with passwords, access rules and certificates as the pages say, a key to sign with, what
//! stations need to trust it, and commands as they are sent by anybody with an MQTT client.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::access::Role;
use turnstage::fleet::signed::Signer;

use crate::broker::authority::Authority;
use crate::broker::watcher::{Heard, Watcher};
use crate::broker::{Broker, BrokerTls, Setup};

/// See the module.
pub struct Headquarters {
    folder: TempDir,
    authority: Authority,
    counter: std::cell::Cell<u64>,
}

/// A command before it is signed; change what a story is about.
#[derive(Debug, Clone)]
pub struct Order {
    /// As in the topic.
    pub id: String,
    /// As in the topic.
    pub kind: String,
    /// `ORG/SITE/NAME`.
    pub station: String,
    /// Everything that is signed.
    pub claims: Value,
}

impl Headquarters {
    /// With a key `hq` that may everything, and `booth`, which may what an operator may.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut trust = "schema = 1\n".to_owned();
        for (id, role) in [("hq", Role::Admin), ("booth", Role::Operator)] {
            let pem = Signer::generate().expect("a key");
            let key = Signer::of_pem(id, pem.as_bytes()).expect("a key").trusted(role);
            std::fs::write(folder.path().join(format!("{id}.pem")), pem).expect("a key file");
            trust +=
                &format!("[[key]]\nid = \"{id}\"\npublic = \"{}\"\nrole = \"{}\"\n", key.public, role.name());
        }
        std::fs::write(folder.path().join("trust.toml"), trust).expect("a trust file");
        let authority = Authority::new(folder.path(), "fleet-ca");
        Self { folder, authority, counter: std::cell::Cell::new(1) }
    }

    /// The file of those who are trusted.
    pub fn trust_file(&self) -> PathBuf {
        self.folder.path().join("trust.toml")
    }

    /// Where a story may keep files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A broker for these stations, set up as the pages say: TLS with a certificate of each client, a password each, and
    /// access rules. `None` where Mosquitto is missing.
    pub async fn broker(&self, test: &str, stations: &[&str], persistent: bool) -> Option<Broker> {
        let mut users = vec![("fleet".to_owned(), "of-the-fleet".to_owned())];
        let mut acl = "user fleet\ntopic readwrite #\n".to_owned();
        for station in stations {
            let user = station.replace('/', ".");
            let topic = format!("turnstage/{station}");
            acl += &format!("user {user}\n");
            for told in ["status", "telemetry/#", "event/#", "alarm/#", "config/reported", "cmd/+/+/status"] {
                acl += &format!("topic write {topic}/{told}\n");
            }
            acl += &format!("topic read {topic}/cmd/#\ntopic read {topic}/config/desired\n");
            users.push((user, format!("of {station}")));
        }
        let server = self.authority.server("broker", &["localhost"]);
        let tls = BrokerTls { clients: self.authority.file.clone(), server, revoked: None };
        let setup = Setup { users, acl: Some(acl), tls: Some(tls), persistent, ..Setup::default() };
        Broker::start(test, setup).await
    }

    /// What a station's configuration has of its fleet. It speaks to the broker through the relay, and returns quickly.
    pub fn section(&self, broker: &Broker, station: &str) -> String {
        let user = station.replace('/', ".");
        let own = self.authority.client(&user, 3);
        let password = self.folder.path().join(format!("{user}.password"));
        std::fs::write(&password, format!("of {station}\n")).expect("a password file");
        format!(
            "\n[fleet]\nbroker = \"mqtts://localhost:{}\"\ntrust_file = {:?}\nca_file = {:?}\ncert_file = {:?}\nkey_file = \
             {:?}\npassword_file = {password:?}\nreturn_s = 0.2\ntelemetry_s = 5.0\n",
            broker.relay().port(),
            self.trust_file(),
            self.authority.file,
            own.certificate,
            own.key,
        )
    }

    /// Writes `manager.toml` of somebody with the key that may everything.
    pub fn write_manager(&self, broker: &Broker) {
        let own = self.authority.client("fleet", 2);
        let file =
            |name: &str, text: &str| std::fs::write(self.folder.path().join(name), text).expect("a file");
        file("fleet.password", "of-the-fleet");
        file(
            "manager.toml",
            &format!(
                "broker = \"mqtts://localhost:{}\"\nusername = \"fleet\"\npassword_file = \"fleet.password\"\nca_file = {:?}\n\
                 cert_file = {:?}\nkey_file = {:?}\nsigning_key_file = \"hq.pem\"\nkey_id = \"hq\"\nsender = \"ana@hq\"\n",
                broker.port(),
                self.authority.file,
                own.certificate,
                own.key,
            ),
        );
    }

    /// A command that is valid for a minute from now on.
    pub fn order(&self, station: &str, kind: &str, arguments: Value) -> Order {
        let now_ms = Timestamp::now().as_millisecond();
        let counter = self.counter.get();
        self.counter.set(counter + 1);
        let id = format!("order-{counter}");
        let claims = json!({
            "schema": 1, "id": id, "type": kind, "station": station, "sender": "ana@hq", "counter": counter,
            "issued_ms": now_ms, "expires_ms": now_ms + 60_000, "arguments": arguments,
        });
        Order { id, kind: kind.to_owned(), station: station.to_owned(), claims }
    }

    /// Signs it with a key.
    pub fn sign(&self, order: &Order, key: &str) -> String {
        let pem = std::fs::read(self.folder.path().join(format!("{key}.pem"))).expect("a key file");
        let signer = Signer::of_pem(key, &pem).expect("a key");
        signer.sign(turnstage::fleet::signed::COMMAND, &order.claims).expect("it can be signed")
    }

    /// The same by OpenSSL, which shares no code with us.
    pub fn sign_by_openssl(&self, order: &Order, key: &str) -> String {
        let header = json!({ "alg": "EdDSA", "kid": key, "typ": "turnstage-command+jws" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&order.claims));
        let (input, output) = (self.folder.path().join("text"), self.folder.path().join("signature"));
        std::fs::write(&input, &text).expect("a file");
        let mut command = Command::new("openssl");
        command
            .args(["pkeyutl", "-sign", "-rawin", "-inkey"])
            .arg(self.folder.path().join(format!("{key}.pem")));
        command.arg("-in").arg(&input).arg("-out").arg(&output);
        assert!(command.status().expect("openssl runs").success(), "openssl signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(std::fs::read(output).expect("a signature")))
    }

    /// Signs it with the key that may everything, and says it.
    pub fn send(&self, broker: &Broker, order: &Order) {
        broker.say(&order.topic(), &self.sign(order, "hq"));
    }
}

impl Default for Headquarters {
    fn default() -> Self {
        Self::new()
    }
}

impl Order {
    /// Where it is said.
    pub fn topic(&self) -> String {
        format!("turnstage/{}/cmd/{}/{}", self.station, self.kind, self.id)
    }
}

/// Every state that was told of a command, in order.
pub fn told_of(heard: &[Heard], order: &Order) -> Vec<Value> {
    let topic = format!("{}/status", order.topic());
    let bodies = heard.iter().filter(|heard| heard.topic == topic && !heard.payload.is_empty());
    bodies.map(|heard| body(&heard.payload)).collect()
}

/// The body of a message.
pub fn body(payload: &str) -> Value {
    let message: Value = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {payload}"));
    message["body"].clone()
}

/// Waits until a command is over; its last state.
pub async fn until_over(watcher: &mut Watcher, order: &Order) -> Value {
    let over = |body: &Value| !matches!(body["state"].as_str(), Some("accepted" | "executing"));
    let what = format!("an end of {} {}", order.kind, order.id);
    let heard = watcher.until(&what, |heard| told_of(heard, order).iter().any(over)).await;
    told_of(&heard, order).into_iter().find(over).expect("it is there")
}
