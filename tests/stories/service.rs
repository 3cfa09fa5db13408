//! `turnstage run`: stays up whatever is missing, tells it in its status, and feeds the watchdog while it lives.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::time::{Duration, Instant};
use turnstage_tests::{PATIENCE, binary, quick_rig, turnstage};

struct Service {
    child: Child,
    socket: UnixDatagram,
    data: TempDir,
}

impl Service {
    fn start(config: &str, strict: bool) -> Self {
        let data = TempDir::new().expect("a folder");
        let path = data.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
        let file = data.path().join("station.toml");
        std::fs::write(&file, config).expect("a configuration");
        let child = Self::spawn(data.path(), &file, strict);
        Self { child, socket, data }
    }

    fn spawn(data: &Path, config: &Path, strict: bool) -> Child {
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(config).arg("--data-dir").arg(data.join("data"));
        if strict {
            command.arg("--strict");
        }
        command.env("NOTIFY_SOCKET", data.join("notify")).env("WATCHDOG_USEC", "1500000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// Waits until the service manager was told something that contains `wanted`.
    fn told(&self, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            if let Ok(length) = self.socket.recv(&mut buffer)
                && String::from_utf8_lossy(&buffer[..length]).contains(wanted)
            {
                return;
            }
        }
        panic!("nobody said {wanted}");
    }

    /// What the command line is told by the running station, over its socket.
    fn status(&self) -> serde_json::Value {
        let folder = self.data.path().join("data").display().to_string();
        let ran = turnstage(&["status", "--json", "--data-dir", &folder]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn ends_with(&mut self, code: i32) {
        assert_eq!(self.child.wait().expect("an end").code(), Some(code));
    }

    /// Ends it and starts it anew on the same data.
    fn restart_with(&mut self, config: &str) {
        self.signal("TERM");
        self.ends_with(0);
        let file = self.data.path().join("station.toml");
        std::fs::write(&file, config).expect("a configuration");
        self.child = Self::spawn(self.data.path(), &file, false);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that ended cannot be killed, which is well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_service_tells_that_it_is_ready_feeds_the_watchdog_and_ends_on_a_signal() {
    let mut service = Service::start(&quick_rig(""), false);
    service.told("READY=1");
    service.told("STATUS=Ready");
    service.told("WATCHDOG=1");
    assert_eq!(service.status()["kind"], "ready");
    service.signal("TERM");
    service.told("STOPPING=1");
    service.ends_with(0);
}

#[test]
fn a_station_that_runs_already_is_not_armed_from_the_command_line() {
    let rig = quick_rig("");
    let (before, rest) = rig.split_once("[rig.turntable]").expect("a table");
    let after = rest.split_once("[rig.cameras.main]").expect("a camera").1;
    let rig = format!("{before}[rig.turntable]\ndriver = \"manual\"\n[rig.cameras.main]{after}");
    let service = Service::start(&rig, false);
    service.told("STATUS=Ready");
    let folder = service.data.path().join("data").display().to_string();
    for command in [&["selftest", "--armed"][..], &["capture", "--item", "jug-1", "--armed"][..]] {
        let ran = turnstage(&[command, &["--data-dir", &folder]].concat());
        assert_eq!(ran.code, 77, "{ran:?}");
        assert!(ran.err.contains("this one runs already"), "{ran:?}");
        assert_eq!(service.status()["table"]["armed"], "no");
    }
}

#[test]
fn a_hang_up_asks_for_a_restart() {
    let mut service = Service::start(&quick_rig(""), false);
    service.told("STATUS=Ready");
    service.signal("HUP");
    service.ends_with(75);
}

#[test]
fn a_bad_configuration_is_safe_mode_with_the_last_good_one_and_its_reason() {
    let mut service = Service::start(&quick_rig(""), false);
    service.told("STATUS=Ready");
    service.restart_with("[station]\nogr = \"typo\"\n");
    service.told("STATUS=Safe mode");
    let status = service.status();
    assert_eq!(
        (status["safe_mode"].as_bool(), status["faults"][0]["rule"].as_str()),
        (Some(true), Some("config-invalid"))
    );
    assert!(status["faults"][0]["what"].as_str().expect("a sentence").contains("station.ogr"));
    assert_eq!(status["cameras"][0]["name"], "main", "the rig of the last good configuration");
    assert_eq!(status["kind"], "warn", "capture works on");
    service.signal("TERM");
    service.ends_with(0);
}

#[test]
fn a_disk_that_cannot_be_written_is_a_state_and_strict_ends_with_74() {
    let config = quick_rig("");
    let blocked = |strict| {
        let data = TempDir::new().expect("a folder");
        let socket = UnixDatagram::bind(data.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
        std::fs::create_dir(data.path().join("data")).expect("a folder");
        // A file stands where the spool's folder should be.
        std::fs::write(data.path().join("data/spool"), "in the way").expect("a file");
        let file = data.path().join("station.toml");
        std::fs::write(&file, &config).expect("a configuration");
        Service { child: Service::spawn(data.path(), &file, strict), socket, data }
    };
    let mut service = blocked(false);
    service.told("STATUS=The disk does not store pictures");
    assert_eq!(service.status()["faults"][0]["rule"], "storage-fault");
    service.signal("TERM");
    service.ends_with(0);
    blocked(true).ends_with(74);
}

#[test]
fn a_second_station_on_the_same_folder_ends_and_leaves_the_first_one_alone() {
    let mut first = Service::start(&quick_rig(""), false);
    first.told("STATUS=Ready");
    let folder = first.data.path().join("data").display().to_string();
    let other = first.data.path().join("other.toml");
    std::fs::write(&other, quick_rig("[station]\norg = \"other\"\n")).expect("a configuration");
    let kept = || {
        ["owner.json", "last-good.toml", "api.json"]
            .map(|name| std::fs::read(format!("{folder}/{name}")).expect(name))
    };
    let before = kept();
    let second = turnstage(&["run", "--config", &other.display().to_string(), "--data-dir", &folder]);
    assert_eq!(second.code, 74, "{second:?}");
    assert!(second.err.contains("in use by another process: end that one first"), "{second:?}");
    let demo = turnstage(&["demo", "--once", "--data-dir", &folder]);
    assert_eq!(demo.code, 74, "{demo:?}");
    assert_eq!(kept(), before);
    let stopped = turnstage(&["stop", "--data-dir", &folder]);
    assert_eq!(stopped.code, 0, "the first one is still found: {stopped:?}");
    assert_eq!(first.status()["table"]["stopped"], true);
    first.signal("TERM");
    first.ends_with(0);
}

#[test]
fn an_address_beyond_this_machine_is_refused_until_somebody_has_an_account() {
    let config = quick_rig("").replace("127.0.0.1:0", "0.0.0.0:0");
    let mut service = Service::start(&config, false);
    service.told("STATUS=The panel is not opened on 0.0.0.0:0: nobody has an account on this station");
    let fault = &service.status()["faults"][0];
    assert_eq!(fault["rule"], "panel-needs-account");
    assert!(fault["todo"].as_str().expect("a sentence").contains("turnstage accounts set"), "{fault}");
    let found = std::fs::read_to_string(service.data.path().join("data/api.json")).expect("a file");
    assert!(found.contains("\"127.0.0.1:"), "this machine's own address serves meanwhile: {found}");
    service.signal("TERM");
    service.ends_with(0);
}

#[test]
fn missing_hardware_is_a_state() {
    let config = quick_rig("").replace(
        "driver = \"sim\"\nsize = [320, 240]\nlatency_ms = 0.0\ntransfer_ms = 0.0",
        "driver = \"replay\"\nfolder = \"/nowhere\"",
    );
    let mut service = Service::start(&config, false);
    service.told("READY=1");
    service.told("STATUS=Camera main is not there");
    let fault = &service.status()["faults"][0];
    assert_eq!(fault["rule"], "camera-missing");
    assert!(fault["what"].as_str().expect("a sentence").contains("/nowhere"), "{fault}");
    service.signal("TERM");
    service.ends_with(0);
}
