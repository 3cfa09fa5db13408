//! A real Mosquitto on a free port of this machine, with passwords, access rules, certificates and a store as a story
//! wants them, which can be killed, emptied and cut off.

pub mod authority;
pub mod relay;
pub mod watcher;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use turnstage_cloud_sync::mqtt::{self, Identity, Tls};

use crate::skip;
use authority::{Authority, Pair};
use relay::Relay;
use watcher::Watcher;

/// How a broker is set up. Without anything it takes whoever comes and keeps nothing on disk.
#[derive(Default)]
pub struct Setup {
    /// Names and passwords; without any, everybody may connect.
    pub users: Vec<(String, String)>,
    /// Lines of the file with access rules.
    pub acl: Option<String>,
    /// Speaks TLS with this certificate and wants one of the clients.
    pub tls: Option<BrokerTls>,
    /// Keeps everything on disk after each change; otherwise nothing.
    pub persistent: bool,
    /// Further lines of its configuration.
    pub more: String,
}

/// Certificates of a broker.
pub struct BrokerTls {
    /// Who vouches for the broker's clients, and for whom it is told to ask.
    pub clients: PathBuf,
    /// The broker's own.
    pub server: Pair,
    /// Revoked certificates of clients.
    pub revoked: Option<PathBuf>,
}

/// A running broker. Ends, with all that it kept, when it is dropped.
pub struct Broker {
    process: Option<Child>,
    log: Arc<Mutex<String>>,
    folder: TempDir,
    program: PathBuf,
    port: u16,
    /// Where a secure broker speaks plainly, to the stories' own clients.
    plain: u16,
    relay: Relay,
    secure: bool,
    users: Vec<(String, String)>,
}

/// Where a program is, sbin included.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    std::env::split_paths(&path).chain(sbin).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Broker {
    /// Starts one; `None`, after saying so, where Mosquitto is missing. `test` names the story.
    pub async fn start(test: &str, setup: Setup) -> Option<Self> {
        let tools = ["mosquitto", "mosquitto_passwd", "mosquitto_sub", "mosquitto_pub"];
        let [Some(program), Some(passwords), Some(_), Some(_)] = tools.map(program) else {
            skip(test, "mosquitto or mosquitto-clients is not installed");
            return None;
        };
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let plain = if setup.tls.is_some() { free_port() } else { port };
        configure(folder.path(), &passwords, (port, plain), &setup);
        let relay = Relay::to(port).await;
        let (secure, users) = (setup.tls.is_some(), setup.users);
        let log = Arc::default();
        let mut broker = Self { process: None, log, folder, program, port, plain, relay, secure, users };
        broker.restart();
        Some(broker)
    }

    /// Starts it again, on the same port and with what it had kept.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("mosquitto runs");
        let mut lines = BufReader::new(process.stderr.take().expect("its log")).lines();
        self.process = Some(process);
        let running = lines.by_ref().map_while(Result::ok).any(|line| {
            note(&self.log, &line);
            line.contains("running")
        });
        assert!(running, "mosquitto does not start: {}", self.log());
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| note(&log, &line)));
    }

    /// Starts it again as on its first day: sessions, subscriptions, retained messages are gone.
    pub fn restart_empty(&mut self) {
        self.kill();
        let store = self.folder.path().join("store");
        std::fs::remove_dir_all(&store).expect("the store goes");
        std::fs::create_dir(&store).expect("an empty store");
        self.restart();
    }

    /// Ends it as a power cut does: signal 9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("mosquitto is killed");
            process.wait().expect("mosquitto is gone");
        }
    }

    /// Ends it as a service is ended.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(&process, "TERM");
            process.wait().expect("mosquitto ends");
        }
    }

    /// Has it read passwords, access rules and certificates again.
    pub fn reload(&self) {
        if let Some(process) = &self.process {
            signal(process, "HUP");
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Its process, for those who measure it.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Its own port, which no partition affects.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands between it and the clients of [`Broker::client`].
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// From now on nothing arrives any more, either way; connections stay open.
    pub fn partition(&self) {
        self.relay.partition();
    }

    /// The network is good again.
    pub fn heal(&self) {
        self.relay.heal();
    }

    /// Its folder, where a story may keep files beside the broker's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a station called `id` would be told of this broker, behind the relay: quick waits, and the password of the
    /// user of that name, if there is one.
    pub fn client(&self, id: &str) -> mqtt::Broker {
        let user = self.users.iter().find(|(name, _)| name == id);
        let password_file = user.map(|(name, password)| {
            let file = self.folder.path().join(format!("{name}.password"));
            std::fs::write(&file, format!("{password}\n")).expect("a password file");
            file
        });
        let tls = self.secure.then(Tls::default);
        mqtt::Broker {
            host: if self.secure { "localhost" } else { "127.0.0.1" }.to_owned(),
            port: self.relay.port(),
            client_id: id.to_owned(),
            username: user.map(|(name, _)| name.clone()),
            password_file,
            tls,
            keep_alive: Duration::from_secs(5),
            session_expiry: Duration::from_secs(600),
            packet_bytes_max: 1 << 18,
            return_max: Duration::from_millis(200),
        }
    }

    /// The same over TLS, with the authority that vouches for the broker and the station's own certificate.
    pub fn secure_client(&self, id: &str, authority: &Authority, own: Option<&Pair>) -> mqtt::Broker {
        let identity =
            own.map(|own| Identity { cert_file: own.certificate.clone(), key_file: own.key.clone() });
        let tls = Tls { ca_file: Some(authority.file.clone()), identity };
        mqtt::Broker { tls: Some(tls), ..self.client(id) }
    }

    /// Records what is said on `filter`, by `mosquitto_sub` with a session that outlives the broker's absence.
    pub async fn watch(&self, filter: &str) -> Watcher {
        let user = self.users.first().map(|(name, password)| (name.as_str(), password.as_str()));
        Watcher::start(self.plain, user, filter).await
    }

    /// Says something by `mosquitto_pub`.
    pub fn say(&self, topic: &str, payload: &str) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-V", "5", "-q", "1", "-t", topic, "-m", payload]);
        command.args(["-p", &self.plain.to_string()]);
        if let Some((name, password)) = self.users.first() {
            command.args(["-u", name, "-P", password]);
        }
        assert!(
            command.status().expect("mosquitto_pub runs").success(),
            "{topic} is not said: {}",
            self.log()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn note(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().expect("nobody panics with it");
    log.push_str(line);
    log.push('\n');
}

fn signal(process: &Child, name: &str) {
    let told = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
    assert!(told.expect("kill runs").success(), "mosquitto is not there any more");
}

/// Free now; nobody else is given it soon, and the broker comes back to the same one.
fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    free.local_addr().expect("its address").port()
}

fn configure(folder: &Path, passwords: &Path, (port, plain): (u16, u16), setup: &Setup) {
    std::fs::create_dir(folder.join("store")).expect("a store");
    // As root it would otherwise become a user who cannot read here.
    let mut lines = "user root\nset_tcp_nodelay true\nlog_dest stderr\n".to_owned();
    lines += &format!("allow_anonymous {}\n", setup.users.is_empty());
    if !setup.users.is_empty() {
        let file = folder.join("passwords");
        std::fs::write(&file, "").expect("a file for passwords");
        for (name, password) in &setup.users {
            let mut command = Command::new(passwords);
            let told = command.arg("-b").arg(&file).args([name, password]).stderr(Stdio::null()).status();
            assert!(told.expect("mosquitto_passwd runs").success(), "no password for {name}");
        }
        lines += &format!("password_file {}\n", file.display());
    }
    if let Some(acl) = &setup.acl {
        let file = folder.join("acl");
        std::fs::write(&file, acl).expect("access rules");
        lines += &format!("acl_file {}\n", file.display());
    }
    if setup.tls.is_some() {
        lines += &format!("listener {plain} 127.0.0.1\n");
    }
    // What follows is of this one.
    lines += &format!("listener {port} 127.0.0.1\n");
    if let Some(BrokerTls { clients, server, revoked }) = &setup.tls {
        let (certificate, key) = (server.certificate.display(), server.key.display());
        lines += &format!("cafile {}\ncertfile {certificate}\nkeyfile {key}\n", clients.display());
        lines += "require_certificate true\n";
        if let Some(revoked) = revoked {
            lines += &format!("crlfile {}\n", revoked.display());
        }
    }
    lines += &format!("persistence {}\npersistence_location {}/store/\n", setup.persistent, folder.display());
    if setup.persistent {
        lines += "autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 100000\n";
    }
    lines += &setup.more;
    std::fs::write(folder.join("mosquitto.conf"), lines).expect("a configuration");
}
