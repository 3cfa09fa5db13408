//! Pedals and barcode scanners that are keyboards to the system.
//!
//! The device is grabbed: what a scanner reads must not be typed into a console or a desktop. It is found by a stable
//! name or by its serial number, never by its event number, which changes with every plugging in. Several inputs may
//! read one device (a pedal with three keys); whoever waits reads for all.

mod decode;
mod keymap;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::evdev::raw_stream::RawDevice;
use ::evdev::{EventSummary, KeyCode, SynchronizationCode};
use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::board::Board;
use super::ready::Readable;
use super::{Gives, Input, InputDriver, IoError, IoInfo, OpenedInput, Signal, Wiring, read_keys};
use crate::holder::holders;
use crate::{DeviceOptions, Listing, Surroundings};
use decode::{Contact, Decoder, Heard, Lines};
use keymap::Layout;

/// `driver = "evdev"`.
pub const INPUT: InputDriver = InputDriver {
    name: NAME,
    about: "pedal or barcode scanner that is a keyboard; grabbed",
    check: |options| options.read::<Keys>()?.check(),
    open: |name, options, around| Box::pin(open(name, options, around)),
    list: || Box::pin(async { list() }),
};

const NAME: &str = "evdev";
/// Where the system keeps stable names of keyboards.
const BY_ID: &str = "/dev/input/by-id";
const NODES: &str = "/dev/input";
/// Key events that may wait for an input that is slow; it looks at the keys themselves when it missed some.
const EVENTS_MAX: usize = 512;
const PERMISSION: &str =
    "the service's user may not read it: put the user into the group input, and restart the service";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Path below `/dev/input/by-id` or `by-path`, or a udev link of one's own.
    device: Option<PathBuf>,
    /// Serial number instead of a path.
    serial: Option<String>,
    /// It is a scanner: read lines, not keys.
    #[serde(default)]
    lines: bool,
    /// Names of the keys that count as the contact; any key where nothing is said.
    #[serde(default)]
    keys: Vec<String>,
    /// The contact is closed at rest: the key is held down until somebody presses the button.
    #[serde(default)]
    normally_closed: bool,
    /// Keyboard layout that the scanner is set to.
    #[serde(default)]
    layout: Layout,
    /// Longer lines are dropped whole.
    #[serde(default = "length_max")]
    length_max: usize,
    /// A line that is not ended so long after its last key is dropped.
    #[serde(default = "gap_ms")]
    gap_ms: u64,
}

fn length_max() -> usize {
    128
}

fn gap_ms() -> u64 {
    1000
}

impl Keys {
    fn check(&self) -> Result<Wiring, String> {
        match (&self.device, &self.serial) {
            (Some(path), None) => check_path(path)?,
            (None, Some(serial)) if !serial.is_empty() => {}
            _ => return Err(format!("give either device, a name below {BY_ID}, or serial, a serial number")),
        }
        self.codes()?;
        if self.lines && (!self.keys.is_empty() || self.normally_closed) {
            return Err("keys and normally_closed belong to a contact; a scanner has lines = true".to_owned());
        }
        if self.normally_closed && self.keys.is_empty() {
            return Err(
                "normally_closed needs keys: the names of the keys that are held down at rest".to_owned()
            );
        }
        if !(1..=4096).contains(&self.length_max) {
            return Err(format!("length_max = {} is not in 1 to 4096", self.length_max));
        }
        if !(10..=60_000).contains(&self.gap_ms) {
            return Err(format!("gap_ms = {} is not in 10 to 60000", self.gap_ms));
        }
        let gives = if self.lines { Gives::Lines } else { Gives::Contact };
        Ok(Wiring { gives, fail_safe: self.normally_closed })
    }

    fn codes(&self) -> Result<BTreeSet<u16>, String> {
        let code = |name: &String| {
            let known = KeyCode::from_str(name).map(|key| key.code());
            known.map_err(|_| format!("keys: there is no key \"{name}\"; names are like KEY_B or KEY_F13"))
        };
        self.keys.iter().map(code).collect()
    }

    fn decoder(&self) -> Result<Decoder, String> {
        Ok(if self.lines {
            let gap = std::time::Duration::from_millis(self.gap_ms);
            Decoder::Lines(Lines::new(self.layout, self.length_max, gap))
        } else {
            Decoder::Contact(Contact::new(self.codes()?, self.normally_closed))
        })
    }
}

fn check_path(path: &Path) -> Result<(), String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let shown = path.display();
    if path.parent() == Some(Path::new(NODES)) && name.starts_with("event") {
        return Err(format!(
            "device = \"{shown}\" is another device after the next start; use a name below {BY_ID}"
        ));
    }
    if !path.is_absolute() {
        return Err(format!("device = \"{shown}\" must be a path, for example one below {BY_ID}"));
    }
    Ok(())
}

/// An open and grabbed device with all who listen to it.
struct Keyboard {
    id: String,
    label: String,
    device: Mutex<RawDevice>,
    readable: Readable,
    heard: broadcast::Sender<Heard>,
    lost: AtomicBool,
}

impl Board for Keyboard {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Keyboard {
    fn open(id: &str, node: &Path) -> Result<Self, IoError> {
        let unavailable = |why: &std::io::Error| unavailable(id, node, why);
        let mut device = open_node(node).map_err(|e| unavailable(&e))?;
        device.grab().map_err(|e| unavailable(&e))?;
        let label = device.name().unwrap_or("keyboard without a name").trim().to_owned();
        let readable = Readable::of(&device).map_err(|e| unavailable(&e))?;
        let (heard, _) = broadcast::channel(EVENTS_MAX);
        Ok(Self {
            id: id.to_owned(),
            label,
            device: Mutex::new(device),
            readable,
            heard,
            lost: AtomicBool::new(false),
        })
    }

    fn device(&self) -> MutexGuard<'_, RawDevice> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that are down now. Everybody is told: asking takes the strokes that wait out of the kernel's queue.
    fn held(&self) -> Result<Heard, IoError> {
        let device = self.device();
        let held = held(&device).map_err(|e| self.gone(&e))?;
        // Before anybody can read and tell what came after.
        drop(self.heard.send(held.clone()));
        Ok(held)
    }

    /// Reads for all who listen, as long as this is waited for; ends with the device. Nothing is lost when it is dropped:
    /// what is read is told at once.
    async fn read(&self) -> IoError {
        loop {
            let read = self.tell();
            let more = match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable.wait().await,
                read => read,
            };
            if let Err(error) = more {
                return self.gone(&error);
            }
        }
    }

    /// Tells all who listen what waits in the device, as far as one reading goes.
    fn tell(&self) -> std::io::Result<()> {
        let mut device = self.device();
        let events: Vec<_> = device.fetch_events()?.collect();
        for event in events {
            let heard = match event.destructure() {
                EventSummary::Key(_, key, 0) => Heard::Key { code: key.code(), down: false },
                EventSummary::Key(_, key, 1) => Heard::Key { code: key.code(), down: true },
                EventSummary::Synchronization(_, SynchronizationCode::SYN_DROPPED, _) => held(&device)?,
                _ => continue,
            };
            // Nobody listening is nobody's loss.
            drop(self.heard.send(heard));
        }
        Ok(())
    }

    fn gone(&self, why: &std::io::Error) -> IoError {
        self.lost.store(true, Ordering::Relaxed);
        IoError::Lost { id: self.id.clone(), why: why.to_string() }
    }
}

fn held(device: &RawDevice) -> std::io::Result<Heard> {
    Ok(Heard::Held(device.get_key_state()?.iter().map(|key| key.code()).collect()))
}

fn open_node(node: &Path) -> std::io::Result<RawDevice> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(node)?;
    RawDevice::try_from(file)
}

fn unavailable(id: &str, node: &Path, why: &std::io::Error) -> IoError {
    let hint = match why.kind() {
        ErrorKind::NotFound => format!("plug it in, and see what is there: ls -l {BY_ID}"),
        ErrorKind::PermissionDenied => PERMISSION.to_owned(),
        ErrorKind::ResourceBusy => match holders(node).as_slice() {
            [] => "another program has grabbed it: end that program".to_owned(),
            others => format!("it is grabbed by one of {}: end that program", others.join(", ")),
        },
        _ => "unplug it and plug it in again".to_owned(),
    };
    IoError::Unavailable { id: id.to_owned(), why: why.to_string(), hint }
}

struct Keyed {
    info: IoInfo,
    keyboard: Arc<Keyboard>,
    heard: broadcast::Receiver<Heard>,
    decoder: Decoder,
    /// How a contact was at opening, until it is told.
    first: Option<Signal>,
}

async fn open(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedInput {
    let wrong = |what| IoError::Config { name: name.to_owned(), what };
    let keys: Keys = read_keys(name, options)?;
    keys.check().map_err(wrong)?;
    let mut decoder = keys.decoder().map_err(wrong)?;
    let (id, node) = find(&keys)?;
    let keyboard = around.boards.get(&id, || Keyboard::open(&id, &node))?;
    // Listen first, so that no key falls between the state at opening and the first event.
    let heard = keyboard.heard.subscribe();
    let first = decoder.hear(&keyboard.held()?, Instant::now());
    let first = first.or_else(|| decoder.level());
    let info = IoInfo { driver: NAME, id, label: keyboard.label.clone() };
    Ok(Box::new(Keyed { info, keyboard, heard, decoder, first }))
}

/// Identity and node of the configured device.
fn find(keys: &Keys) -> Result<(String, PathBuf), IoError> {
    match (&keys.device, &keys.serial) {
        (Some(path), _) => Ok((path.display().to_string(), path.clone())),
        (None, Some(serial)) => by_serial(serial, keys.lines).map(|node| (serial.clone(), node)),
        (None, None) => Err(IoError::Unavailable {
            id: "keyboard".to_owned(),
            why: "neither device nor serial is given".to_owned(),
            hint: "give one of them".to_owned(),
        }),
    }
}

/// The node of the device with this serial number; of several (a scanner with media keys) the one that types.
fn by_serial(serial: &str, lines: bool) -> Result<PathBuf, IoError> {
    let mut closed = false;
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(NODES).into_iter().flatten().flatten() {
        let node = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("event") {
            continue;
        }
        match open_node(&node) {
            Ok(device) if device.unique_name() == Some(serial) && (!lines || types(&device)) => {
                found.push((device.physical_path().unwrap_or_default().to_owned(), node));
            }
            Ok(_) => {}
            Err(error) => closed |= error.kind() == ErrorKind::PermissionDenied,
        }
    }
    found.sort();
    found.into_iter().next().map(|(_, node)| node).ok_or_else(|| IoError::Unavailable {
        id: serial.to_owned(),
        why: "no keyboard with this serial number".to_owned(),
        hint: if closed { PERMISSION.to_owned() } else { "plug it in".to_owned() },
    })
}

fn types(device: &RawDevice) -> bool {
    device.supported_keys().is_some_and(|keys| {
        [KeyCode::KEY_ENTER, KeyCode::KEY_1, KeyCode::KEY_A].iter().all(|key| keys.contains(*key))
    })
}

fn list() -> Vec<Listing> {
    let entries = std::fs::read_dir(BY_ID).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with("-event-kbd"));
    paths.sort();
    let each = paths.into_iter().map(|path| {
        let id = path.display().to_string();
        let mut options = DeviceOptions::new(NAME);
        options.keys.insert("device".to_owned(), id.clone().into());
        let (label, problem) = match open_node(&path) {
            Ok(device) => (device.name().unwrap_or("keyboard").to_owned(), None),
            Err(error) => ("keyboard".to_owned(), Some(unavailable(&id, &path, &error).to_string())),
        };
        Listing { problem, options: Some(options), ..Listing::of(NAME, &id, &label) }
    });
    each.collect()
}

#[async_trait]
impl Input for Keyed {
    async fn next(&mut self) -> Result<Signal, IoError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.heard.recv() => heard,
                lost = self.keyboard.read() => return Err(lost),
            };
            let heard = match heard {
                Ok(heard) => heard,
                // Missed some: what matters is how the keys are now.
                Err(_) => self.keyboard.held()?,
            };
            if let Some(signal) = self.decoder.hear(&heard, Instant::now()) {
                return Ok(signal);
            }
        }
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests;
