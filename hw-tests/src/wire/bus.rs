//! A private D-Bus daemon, and a process for each test that uses one.
//!
//! libdbus reads `DBUS_SYSTEM_BUS_ADDRESS` once in a process, so that a test which has a system bus of its own needs a
//! process of its own. [`alone`] starts it with the variable set: under `cargo nextest` and `cargo test` alike, and
//! nothing has to change the environment of a running program. What the child prints on its error output is looked
//! through, because a panic in a task of the Bluetooth stack shows nowhere else.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Tells a child of [`alone`] where its bus belongs.
const FOLDER: &str = "TURNSTAGE_TEST_BUS";

/// The daemon; ends when dropped.
pub struct Bus {
    folder: PathBuf,
    daemon: Option<Child>,
}

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A prerequisite is missing.
    #[error("there is no dbus-daemon; install the package dbus-daemon or dbus")]
    Missing,
    /// It does not do as it should.
    #[error("dbus-daemon: {0}")]
    Failed(String),
}

impl Bus {
    /// Starts a daemon whose socket is in `folder`, which must be the caller's own.
    pub fn start(folder: &Path) -> Result<Self, BusError> {
        let mut bus = Self { folder: folder.to_owned(), daemon: None };
        bus.restart()?;
        Ok(bus)
    }

    /// `unix:path=…`, for `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        address(&self.folder)
    }

    /// Starts it again at the same address.
    pub fn restart(&mut self) -> Result<(), BusError> {
        self.kill();
        let failed = |e: std::io::Error| BusError::Failed(e.to_string());
        let config = self.folder.join("bus.conf");
        std::fs::write(&config, config_text(&self.address())).map_err(failed)?;
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--nopidfile").arg("--nosyslog").arg("--print-address=1");
        command.arg(format!("--config-file={}", config.display())).stdout(Stdio::piped());
        let mut daemon = command.spawn().map_err(|e| match e.kind() {
            ErrorKind::NotFound => BusError::Missing,
            _ => failed(e),
        })?;
        // It prints its address when it listens.
        let mut line = String::new();
        let output = daemon.stdout.take().ok_or_else(|| BusError::Failed("no output".to_owned()))?;
        self.daemon = Some(daemon);
        BufReader::new(output).read_line(&mut line).map_err(failed)?;
        if line.is_empty() { Err(BusError::Failed("it ended at once".to_owned())) } else { Ok(()) }
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended already.
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }

    /// One of the daemon's own figures, such as `MatchRules` or `ActiveConnections`; counts the asking connection.
    pub async fn figure(&self, name: &str) -> Result<u32, BusError> {
        let failed = |e: zbus::Error| BusError::Failed(e.to_string());
        let address = self.address();
        let connection =
            zbus::connection::Builder::address(address.as_str()).build().await.map_err(failed)?;
        let (daemon, stats) = ("org.freedesktop.DBus", "org.freedesktop.DBus.Debug.Stats");
        let path = "/org/freedesktop/DBus";
        let answer =
            connection.call_method(Some(daemon), path, Some(stats), "GetStats", &()).await.map_err(failed)?;
        let body = answer.body();
        let figures: std::collections::HashMap<String, zbus::OwnedVariant> =
            body.deserialize().map_err(failed)?;
        let figure = figures.get(name).and_then(|value| u32::try_from(&**value).ok());
        figure.ok_or_else(|| BusError::Failed(format!("it has no figure {name}")))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}

fn address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus").display())
}

/// Everybody of this user may do everything: what a test tries is not the policy of a distribution.
fn config_text(address: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_requested_reply="true"/>
  </policy>
</busconfig>
"#
    )
}

/// Runs the test that is called from in a process of its own, on a bus that the process knows as the system bus.
///
/// # Panics
/// If the test fails, if anything in it panics, even a task that nobody waits for, and with `CI=true` where
/// `dbus-daemon` is missing; without, that is a skip.
pub fn alone<B: AsyncFnOnce(Bus)>(body: B) {
    let whole = std::any::type_name::<B>();
    // "ble::a_table_turns::{{closure}}" is what is in the test "a_table_turns" of the target "ble".
    let name = whole.trim_end_matches("::{{closure}}").split_once("::").map_or(whole, |(_, name)| name);
    if let Some(folder) = std::env::var_os(FOLDER) {
        let bus = Bus::start(Path::new(&folder)).unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.unwrap_or_else(|error| panic!("{error}")).block_on(body(bus));
    }
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for a bus: {error}"));
    if let Err(error) = Bus::start(folder.path()) {
        return skip(name, &error);
    }
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let mut child = Command::new(program);
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    child.env("DBUS_SYSTEM_BUS_ADDRESS", address(folder.path())).env(FOLDER, folder.path());
    let output = child.output().unwrap_or_else(|error| panic!("{error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}\n{err}");
    assert!(output.status.success(), "{name} failed in its own process");
    assert!(out.contains("1 passed"), "{name} is not the name of this test");
    assert!(!err.contains("panicked at"), "something panicked in the process of {name}");
}

fn skip(name: &str, error: &BusError) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} cannot run here: {error}");
    println!("SKIP {name}: {error}");
}
