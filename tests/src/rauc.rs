//! A machine with two systems, as the daemon sees it over D-Bus: RAUC, the login manager, and a bootloader that counts.
//!
//! RAUC's part answers what its interface (`de.pengutronix.rauc.Installer`) answers, busy ones included: while a slot is
//! written it tells properties only. An installation goes on by a fifth each time that somebody looks, or to its end by
//! [`Rauc::finish`]; nothing here takes time. A "reboot" lets the bootloader choose; the story starts the daemon anew.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use turnstage_cloud_sync::Sha256;
use turnstage_hw_tests::wire::bus::{Bus, BusError};
use zbus::{Connection, OwnedVariant, Variant, interface};

use crate::{PATIENCE, skip};

const INSTALLER: &str = "de.pengutronix.rauc.Installer";
const COMPATIBLE: &str = "turnstage-test";
/// A new system may be tried so often before the bootloader goes back.
const TRIES: u32 = 3;

/// A slot of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotNow {
    /// Version that is in it.
    pub version: String,
    /// The bootloader was told that it works.
    pub good: bool,
    /// It may be tried so often yet.
    tries: u32,
    installed: u32,
}

struct Machine {
    slots: [SlotNow; 2],
    booted: usize,
    primary: usize,
    installing: Option<Installing>,
    progress: (i32, String, i32),
    last_error: String,
    /// An installation does not come past this.
    held_at: Option<i32>,
    /// An installation ends with these words halfway.
    fails: Option<String>,
    /// Installations that were begun.
    begun: u32,
}

struct Installing {
    version: String,
    percent: i32,
}

type Shared = Arc<Mutex<Machine>>;

/// See the module.
pub struct Rauc {
    machine: Shared,
    reboots: watch::Receiver<u32>,
    connection: Connection,
    bus: Bus,
    folder: TempDir,
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    fn other(&self) -> usize {
        1 - self.booted
    }

    /// What the bootloader does at a reboot.
    fn boot(&mut self) {
        let slot = &mut self.slots[self.primary];
        if !slot.good {
            if slot.tries == 0 {
                self.primary = 1 - self.primary;
            } else {
                slot.tries -= 1;
            }
        }
        self.booted = self.primary;
    }

    /// One look further; the result when it is over.
    fn further(&mut self, by: i32) -> Option<i32> {
        let limit = self.held_at.unwrap_or(100);
        let installing = self.installing.as_mut()?;
        installing.percent = (installing.percent + by).min(limit);
        let percent = installing.percent;
        self.progress = (percent, format!("Copying image to {}", name(1 - self.booted)), 2);
        if let Some(words) = self.fails.clone().filter(|_| percent >= 50) {
            (self.last_error, self.installing) = (words, None);
            return Some(1);
        }
        if percent < 100 {
            return None;
        }
        let installing = self.installing.take()?;
        let target = self.other();
        let installed = self.slots[target].installed + 1;
        self.slots[target] = SlotNow { version: installing.version, good: false, tries: TRIES, installed };
        self.primary = target;
        self.progress = (100, "Installing done.".to_owned(), 1);
        Some(0)
    }
}

fn name(slot: usize) -> String {
    format!("rootfs.{slot}")
}

impl Rauc {
    /// A machine that runs version 1; none where there is no `dbus-daemon`, after saying so.
    pub async fn start(test: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let bus = match Bus::start(folder.path()) {
            Ok(bus) => bus,
            Err(error @ BusError::Missing) => {
                skip(test, &error.to_string());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let slot =
            |version: &str| SlotNow { version: version.to_owned(), good: true, tries: 0, installed: 1 };
        let machine = Arc::new(Mutex::new(Machine {
            slots: [slot("1"), slot("0")],
            booted: 0,
            primary: 0,
            installing: None,
            progress: (0, String::new(), 0),
            last_error: String::new(),
            held_at: None,
            fails: None,
            begun: 0,
        }));
        let (rebooted, reboots) = watch::channel(0);
        let connection = serve(&bus.address(), &machine, rebooted).await.expect("it is served");
        Some(Self { machine, reboots, connection, bus, folder })
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        self.bus.address()
    }

    /// A bundle on this machine: its address and hash.
    pub fn bundle(&self, version: &str, signed: bool) -> (String, Sha256) {
        let bundle = json!({ "compatible": COMPATIBLE, "version": version, "signed": signed });
        let (path, bytes) = (self.folder.path().join(format!("{version}.raucb")), bundle.to_string());
        std::fs::write(&path, &bytes).expect("a bundle");
        (format!("file://{}", path.display()), Sha256::of(bytes.as_bytes()))
    }

    /// An installation does not come past so many percent until it is let go.
    pub fn hold_at(&self, percent: Option<i32>) {
        lock(&self.machine).held_at = percent;
    }

    /// Installations fail halfway with these words.
    pub fn fail_with(&self, words: &str) {
        lock(&self.machine).fails = Some(words.to_owned());
    }

    /// The installation at hand ends while nobody looks.
    pub async fn finish(&self) {
        let end = {
            let mut machine = lock(&self.machine);
            machine.held_at = None;
            machine.further(100)
        };
        complete(&self.connection, end.expect("an installation is under way")).await;
    }

    /// Installations that were begun so far.
    pub fn begun(&self) -> u32 {
        lock(&self.machine).begun
    }

    /// Number of the booted slot, and both.
    pub fn slots(&self) -> (usize, [SlotNow; 2]) {
        let machine = lock(&self.machine);
        (machine.booted, machine.slots.clone())
    }

    /// Waits until the machine was asked to reboot so often in all.
    pub async fn rebooted(&self, times: u32) {
        let mut reboots = self.reboots.clone();
        let waited = tokio::time::timeout(PATIENCE, reboots.wait_for(|seen| *seen >= times)).await;
        waited.expect("it reboots in time").expect("it lives");
    }

    /// The bootloader does not manage to start the new system.
    pub fn boots_in_vain(&self) {
        let mut machine = lock(&self.machine);
        let primary = machine.primary;
        machine.slots[primary].tries = 0;
        machine.boot();
    }

    /// Takes RAUC off the bus.
    pub async fn leave(&self) {
        self.connection.release_name("de.pengutronix.rauc").await.expect("it leaves");
    }
}

async fn serve(address: &str, machine: &Shared, rebooted: watch::Sender<u32>) -> zbus::Result<Connection> {
    let connection = zbus::connection::Builder::address(address).build().await?;
    let installer = Installer { machine: machine.clone(), connection: connection.clone() };
    let server = connection.object_server();
    server.at("/", installer).await?;
    server.at("/org/freedesktop/login1", Login { machine: machine.clone(), rebooted }).await?;
    connection.request_name("de.pengutronix.rauc").await?;
    connection.request_name("org.freedesktop.login1").await?;
    Ok(connection)
}

async fn complete(connection: &Connection, result: i32) {
    connection
        .emit_signal(None::<&str>, "/", INSTALLER, "Completed", &(result,))
        .await
        .expect("a signal goes out");
}

/// Errors as GLib names them.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.gtk.GDBus.UnmappedGError.Quark._r_2dinstaller_2derror_2dquark")]
enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    Code0(String),
}

fn refused<T>(words: &str) -> Result<T, Refusal> {
    Err(Refusal::Code0(words.to_owned()))
}

struct Installer {
    machine: Shared,
    connection: Connection,
}

fn text(text: impl Into<String>) -> OwnedVariant {
    OwnedVariant::try_from(Variant::from(text.into())).expect("a text")
}

/// What is in a bundle, if it is one that this machine takes.
fn read(path: &Path) -> Result<Value, Refusal> {
    let bytes = std::fs::read(path).map_err(|error| Refusal::Code0(error.to_string()))?;
    let Ok(bundle) = serde_json::from_slice::<Value>(&bytes) else { return refused("Invalid identifier") };
    if bundle["signed"] != true {
        return refused("signature verification failed: Verify error: self-signed certificate");
    }
    Ok(bundle)
}

#[interface(name = "de.pengutronix.rauc.Installer")]
impl Installer {
    async fn install_bundle(
        &self,
        source: String,
        _args: HashMap<String, OwnedVariant>,
    ) -> Result<(), Refusal> {
        let bundle = read(Path::new(&source))?;
        let mut machine = lock(&self.machine);
        if machine.installing.is_some() {
            return refused("Already processing a different method");
        }
        machine.begun += 1;
        machine.last_error.clear();
        let version = bundle["version"].as_str().unwrap_or_default().to_owned();
        machine.installing = Some(Installing { version, percent: 0 });
        Ok(())
    }

    async fn inspect_bundle(
        &self,
        source: String,
        _args: HashMap<String, OwnedVariant>,
    ) -> Result<HashMap<String, OwnedVariant>, Refusal> {
        let bundle = read(Path::new(&source))?;
        let part = |key: &str| (key.to_owned(), text(bundle[key].as_str().unwrap_or_default()));
        let update: HashMap<String, OwnedVariant> = [part("compatible"), part("version")].into();
        Ok([("update".to_owned(), OwnedVariant::from(update))].into())
    }

    async fn get_slot_status(&self) -> Result<Vec<(String, HashMap<String, OwnedVariant>)>, Refusal> {
        let machine = lock(&self.machine);
        if machine.installing.is_some() {
            return refused("Already processing a different method");
        }
        let slot = |(number, slot): (usize, &SlotNow)| {
            let state = if number == machine.booted { "booted" } else { "inactive" };
            let told = [
                ("bootname", text(["A", "B"][number])),
                ("class", text("rootfs")),
                ("state", text(state)),
                ("boot-status", text(if slot.good || slot.tries > 0 { "good" } else { "bad" })),
                ("bundle.version", text(&slot.version)),
                ("installed.timestamp", text("2026-12-01T02:03:04Z")),
                ("installed.count", OwnedVariant::from(slot.installed)),
            ];
            (name(number), told.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        Ok(machine.slots.iter().enumerate().map(slot).collect())
    }

    async fn get_primary(&self) -> Result<String, Refusal> {
        let machine = lock(&self.machine);
        if machine.installing.is_some() {
            return refused("Already processing a different method");
        }
        Ok(name(machine.primary))
    }

    async fn mark(&self, state: String, slot: String) -> Result<(String, String), Refusal> {
        let mut machine = lock(&self.machine);
        let number = match slot.as_str() {
            "booted" => machine.booted,
            "other" | "rootfs.0" | "rootfs.1" if slot == name(machine.other()) || slot == "other" => {
                machine.other()
            }
            "rootfs.0" | "rootfs.1" => machine.booted,
            _ => return refused("No slot with that name"),
        };
        match state.as_str() {
            "good" => machine.slots[number].good = true,
            "bad" => {
                machine.slots[number].good = false;
                machine.slots[number].tries = 0;
                machine.primary = 1 - number;
            }
            "active" => machine.primary = number,
            _ => return refused("Unknown subcommand"),
        }
        Ok((name(number), format!("marked slot {} as {state}", name(number))))
    }

    /// Asked once in each look at all properties: what an installation takes as time.
    #[zbus(property)]
    async fn operation(&self) -> String {
        let ended = lock(&self.machine).further(20);
        if let Some(result) = ended {
            complete(&self.connection, result).await;
        }
        let is_busy = lock(&self.machine).installing.is_some();
        (if is_busy { "installing" } else { "idle" }).to_owned()
    }

    #[zbus(property)]
    async fn last_error(&self) -> String {
        lock(&self.machine).last_error.clone()
    }

    #[zbus(property)]
    async fn progress(&self) -> (i32, String, i32) {
        lock(&self.machine).progress.clone()
    }

    #[zbus(property)]
    async fn compatible(&self) -> String {
        COMPATIBLE.to_owned()
    }

    #[zbus(property)]
    async fn variant(&self) -> String {
        String::new()
    }

    #[zbus(property)]
    async fn boot_slot(&self) -> String {
        ["A", "B"][lock(&self.machine).booted].to_owned()
    }
}

struct Login {
    machine: Shared,
    rebooted: watch::Sender<u32>,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    async fn reboot(&self, _interactive: bool) {
        lock(&self.machine).boot();
        self.rebooted.send_modify(|times| *times += 1);
    }
}
