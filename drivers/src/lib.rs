//! Cameras, turntables and the links they hang on; inputs and outputs of the rig. Never writes to the disk.
//!
//! A turntable is a *protocol* over a *link*; a camera makes *frames*. The simulated booth ([`sim`]) and the
//! replay camera are ordinary drivers: `driver = "sim"`, `driver = "replay"`.

pub mod board;
pub mod camera;
pub mod frame;
mod gpio;
pub mod holder;
pub mod io;
pub mod link;
pub mod optics;
pub mod sim;
pub mod tried;
pub mod turntable;

pub use camera::{Camera, CameraError};
pub use frame::{Angle, Frame, FrameSet};
pub use turntable::{Moved, Position, Turntable, TurntableError};

use std::pin::Pin;

use serde::{Deserialize, Serialize};

/// Something that a driver does and that takes a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One configured device: the driver's name and the keys that only this driver knows.
///
/// Unknown keys are the driver's to refuse, because only it knows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceOptions {
    /// A name from [`turntable::DRIVERS`], [`camera::DRIVERS`], [`io::INPUTS`] or [`io::OUTPUTS`].
    pub driver: String,
    /// Everything else of the table, as written.
    #[serde(flatten)]
    pub keys: toml::Table,
}

impl DeviceOptions {
    /// Options of a driver that is given nothing.
    pub fn new(driver: &str) -> Self {
        Self { driver: driver.to_owned(), keys: toml::Table::new() }
    }

    /// The driver's own keys as `T`, which should `deny_unknown_fields`.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        // The message's second line says which key.
        self.keys.clone().try_into().map_err(|e: toml::de::Error| e.to_string().trim_end().replace('\n', " "))
    }
}

/// What devices of one station share when they are opened.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The booth that every device with `driver = "sim"` of this station stands in.
    pub booth: Option<sim::Booth>,
    /// The person beside the table, whom `driver = "manual"` asks to turn it.
    pub hand: turntable::Hand,
    /// Where a camera last saw the platter stand, for `driver = "external"`.
    pub sightings: turntable::Sightings,
    /// Devices that several inputs or outputs share.
    pub boards: io::board::Boards,
}

/// One line of `turnstage devices`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing {
    /// Driver that would open it.
    pub driver: &'static str,
    /// Stable identity: serial number, USB path or folder; never an index.
    pub id: String,
    /// Model or what a person would call it.
    pub label: String,
    /// Version of its own software, where it can be told without disturbing the device.
    pub firmware: Option<String>,
    /// Why it cannot be opened, with what to do about it (for example the udev rule, or who holds it), if so.
    pub problem: Option<String>,
    /// Somebody has put this driver with such a device through the conformance suite: see [`tried`].
    pub tried: bool,
    /// All that is known is a plug that other devices have too: a person must say what hangs on it.
    pub guess: bool,
    /// Its section of a configuration, for `turnstage setup`; `None` where a person must know more.
    pub options: Option<DeviceOptions>,
}

impl Listing {
    /// A device that is there and can be opened with nothing but its driver's name.
    pub fn of(driver: &'static str, id: &str, label: &str) -> Self {
        Self {
            driver,
            id: id.to_owned(),
            label: label.to_owned(),
            firmware: None,
            problem: None,
            tried: tried::is_tried(driver, label),
            guess: false,
            options: Some(DeviceOptions::new(driver)),
        }
    }
}
