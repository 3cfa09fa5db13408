//! Cameras: one async trait for the station, a blocking one for driver authors, one table of drivers.
//!
//! The station calls [`Camera::expose`], which returns at the *end of exposure*, so that the table may leave, and
//! then [`Camera::fetch`] while it turns. Only pictures exposed after `not_before` count.

pub mod gige;
pub mod gphoto2;
pub mod helper;
pub mod on_thread;
#[cfg(feature = "realsense")]
pub mod realsense;
pub mod replay;
pub mod sim;
#[cfg(feature = "v4l")]
pub mod v4l;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::frame::{Exposure, Frame, FrameSet};
use crate::turntable::unknown;
use crate::{DeviceOptions, Later, Listing, Surroundings};

/// What a recipe asks of a camera; `None` leaves the camera's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Shutter time in microseconds.
    pub exposure_us: Option<f64>,
    /// Gain as a factor, 1.0 = base.
    pub gain: Option<f64>,
    /// White balance in kelvin.
    pub wb_kelvin: Option<f64>,
    /// Focus as a share of the lens' way, 0 = far, 1 = near.
    pub focus: Option<f64>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// JPEG quality, 1 to 100, where the camera lets one choose.
    pub quality: Option<u8>,
}

/// Settings as read back from the camera after they were applied: the proof of a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Asked for.
    pub requested: Settings,
    /// In force.
    pub exposure: Exposure,
    /// Width and height in force.
    pub size: (u32, u32),
}

/// One exposure to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExposeRequest {
    /// The exposure must begin at or after this moment (when the table stood still).
    pub not_before: Instant,
    /// Give up at this moment.
    pub deadline: Instant,
    /// What is different from the locked settings for this exposure alone.
    pub variant: Variant,
}

/// What one exposure of a bracket or focus stack does otherwise than the locked settings say.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Variant {
    /// Exposure values more (lighter) or less than locked: the shutter time is 2^ev times as long.
    #[serde(default)]
    pub ev: f64,
    /// Focus instead of the locked one, as a share of the lens' way, 0 = far, 1 = near.
    #[serde(default)]
    pub focus: Option<f64>,
}

impl Variant {
    /// The locked settings as they are.
    pub fn is_plain(&self) -> bool {
        self.ev == 0.0 && self.focus.is_none()
    }
}

/// An exposure that has ended and whose bytes are still in the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exposed {
    /// The camera's own number for it.
    pub ticket: u64,
    /// Start of exposure.
    pub start: Instant,
    /// End of exposure: the table may leave.
    pub end: Instant,
    /// Give up fetching at this moment.
    pub deadline: Instant,
}

/// What kind of camera this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CameraInfo {
    /// Driver's name.
    pub driver: &'static str,
    /// Stable identity: serial number, USB path, folder.
    pub id: String,
    /// Model as the camera tells it.
    pub model: String,
    /// Largest picture, width and height in pixels.
    pub size_max: (u32, u32),
    /// Version of its own software, if it tells.
    pub firmware: Option<String>,
    /// What it can do beside taking a picture.
    pub can: Abilities,
    /// Somebody has put this driver with such a camera through the conformance suite.
    pub tried: bool,
    /// Pictures it can still give, for cameras that run out (a folder); `None` for the others.
    pub remaining: Option<usize>,
}

/// What a camera can do beside taking a picture as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Abilities {
    /// Another shutter time for each exposure ([`Variant::ev`]).
    pub bracket: bool,
    /// Another focus for each exposure ([`Variant::focus`]).
    pub focus: bool,
    /// Distances beside colour.
    pub depth: bool,
    /// A maker's raw file beside each JPEG.
    pub raw: bool,
}

/// A camera as the station sees it. Every method ends by the deadline it was given.
#[async_trait]
pub trait Camera: Send {
    /// Sets and locks; returns what was read back.
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError>;

    /// Makes the camera ready, so that the first frame is as good as the last.
    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError>;

    /// Exposes once and returns at the end of exposure.
    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError>;

    /// Brings the bytes of an exposure. Each exposure is fetched once.
    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError>;

    /// The latest picture for the eye, or none; never a promise.
    async fn preview(&mut self) -> Result<Option<Frame>, CameraError>;

    /// What camera this is.
    fn info(&self) -> CameraInfo;
}

/// The blocking form that driver authors write; one thread owns it. Every call ends by its deadline.
pub trait CameraSession: Send {
    /// Sets and locks; returns what was read back.
    fn apply(&mut self, settings: &Settings, deadline: Instant) -> Result<Applied, CameraError>;
    /// Makes the camera ready.
    fn warm_up(&mut self, deadline: Instant) -> Result<(), CameraError>;
    /// Exposes once.
    fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError>;
    /// Brings the bytes.
    fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError>;
    /// The latest picture for the eye.
    fn preview(&mut self, deadline: Instant) -> Result<Option<Frame>, CameraError>;
    /// What camera this is.
    fn info(&self) -> CameraInfo;
}

/// What went wrong with a camera, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Wrong configuration or something this camera cannot do: a person must change it.
    #[error("camera {id}: {what}")]
    Unsupported {
        /// Which camera.
        id: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// Not there: wait for it, tell the technician.
    #[error("camera {id}: not present ({hint})")]
    NotPresent {
        /// Which camera.
        id: String,
        /// Where it was looked for and what to do.
        hint: String,
    },
    /// There, but not for us.
    #[error("camera {id}: no permission ({hint})")]
    Permission {
        /// Which camera.
        id: String,
        /// The udev rule or group that is missing.
        hint: String,
    },
    /// Another program holds it: end that program.
    #[error("camera {id}: in use by {holder}")]
    Busy {
        /// Which camera.
        id: String,
        /// The program and its process number, or what the system said.
        holder: String,
    },
    /// A library that this camera needs is not on this machine, or is another one than is needed.
    #[error("camera {id}: {library} cannot be used: {why}")]
    LibraryMissing {
        /// Which camera.
        id: String,
        /// Which library.
        library: String,
        /// What was tried and what would be right.
        why: String,
    },
    /// The camera asks for a person: battery, card, lens cap, heat.
    #[error("camera {id}: {what}")]
    Attention {
        /// Which camera.
        id: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// Nothing in time: try once more, then reopen.
    #[error("camera {id}: no picture within {waited:?}")]
    Timeout {
        /// Which camera.
        id: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Unplugged in use: reopen when it is back.
    #[error("camera {id}: unplugged")]
    Disconnected {
        /// Which camera.
        id: String,
    },
    /// The picture is damaged: take it again.
    #[error("camera {id}: {what}")]
    Corrupt {
        /// Which camera.
        id: String,
        /// What is damaged.
        what: String,
    },
    /// No more pictures (a replayed folder came to its end).
    #[error("camera {id}: no more pictures")]
    Exhausted {
        /// Which camera.
        id: String,
    },
    /// The driver hung or panicked: it is leaked and opened anew.
    #[error("camera {id}: the driver hung or failed; it is opened anew")]
    Poisoned {
        /// Which camera.
        id: String,
    },
}

impl CameraError {
    /// Trying the same exposure again may well succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Corrupt { .. })
    }

    /// The camera must be opened again before it can be used.
    pub fn needs_reopen(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Poisoned { .. })
    }
}

/// An open camera, or why there is none.
pub type Opened = Result<Box<dyn Camera>, CameraError>;

/// A driver and how to open it.
pub struct Driver {
    /// The name in `driver = "…"`.
    pub name: &'static str,
    /// One line for `turnstage devices`.
    pub about: &'static str,
    /// Whether its own keys can be used, without touching the device.
    pub check: fn(&DeviceOptions) -> Result<(), String>,
    /// Opens one camera, known to the rig as `name`, with its own keys.
    pub open: for<'a> fn(&'a str, &'a DeviceOptions, &'a Surroundings) -> Later<'a, Opened>,
    /// Cameras that could be opened now. Disturbs nothing.
    pub list: fn() -> Later<'static, Vec<Listing>>,
}

/// Every camera driver of this build. Add yours here.
pub const DRIVERS: &[Driver] = &[
    sim::DRIVER,
    replay::DRIVER,
    #[cfg(feature = "v4l")]
    v4l::DRIVER,
    #[cfg(feature = "realsense")]
    realsense::DRIVER,
    gphoto2::DRIVER,
    gige::DRIVER,
];

/// Whether a configured camera's keys can be used; tells every driver's name when the driver is unknown.
pub fn check(options: &DeviceOptions) -> Result<(), String> {
    (find(options)?.check)(options)
}

/// Opens a configured camera, known to the rig as `name`.
pub async fn open(name: &str, options: &DeviceOptions, around: &Surroundings) -> Opened {
    match find(options) {
        Ok(driver) => (driver.open)(name, options, around).await,
        Err(what) => Err(CameraError::Unsupported { id: name.to_owned(), what }),
    }
}

fn find(options: &DeviceOptions) -> Result<&'static Driver, String> {
    let found = DRIVERS.iter().find(|driver| driver.name == options.driver);
    found.ok_or_else(|| unknown(&options.driver, DRIVERS.iter().map(|driver| driver.name)))
}
