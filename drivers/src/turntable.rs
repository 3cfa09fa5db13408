//! Turntables: one trait, one table of drivers. A motion is never sent twice, and a dropped future stops nothing.
//!
//! The station speaks to a [`Turntable`] through its motion task only. A driver serialises its own commands, knows
//! its position as [`Position::Known`], `Estimated` or `Unknown`, and says how a move ended as [`Moved`].

pub mod sim;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::frame::Angle;
use crate::{DeviceOptions, Listing, Surroundings};

/// Degrees a second; positive turns counter-clockwise seen from above.
pub type DegPerS = f64;

/// Which way round to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Counter-clockwise seen from above, the way a spin is shot.
    Forward,
    /// Clockwise.
    Backward,
}

/// Where to turn to, and which way round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The angle to stop at.
    pub angle: Angle,
    /// The way round; the caller chooses it so that backlash always lies on the same side.
    pub direction: Direction,
}

/// Why an angle is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A home switch was found since power-on, and steps counted from there.
    Home,
    /// An absolute encoder.
    Encoder,
    /// Zero is where the table stood when a person said so.
    Declared,
}

/// Where the platter stands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Referenced since power-on.
    Known(Angle, Source),
    /// Referenced once, but something happened since (a stop in motion): good enough to look at, not to shoot at.
    Estimated(Angle),
    /// Not referenced: `move_to` is refused.
    Unknown,
}

/// How a move ended. Never sent twice, whatever the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Moved {
    /// The table says it stands at this angle (its own belief, not proof).
    Done(Angle),
    /// The table did not begin to move.
    Refused {
        /// Stable rule id, for example `motion-not-referenced`.
        rule: &'static str,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// It stopped on the way.
    StoppedAt(Option<Angle>),
    /// It may have moved, wholly or in part: the position is unknown until referenced.
    OutcomeUnknown,
}

/// How zero is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// Drive to the home switch.
    Home,
    /// Declare the present place to be this angle; 0 makes it this table's zero.
    At(Angle),
}

/// What kind of table this is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurntableInfo {
    /// Driver's name.
    pub driver: &'static str,
    /// Stable identity.
    pub id: String,
    /// Model as the table tells it.
    pub model: String,
    /// It has a home switch, so [`Reference::Home`] works.
    pub home: bool,
    /// Fastest turn in degrees a second.
    pub speed_max: DegPerS,
    /// Acceleration in degrees per second squared.
    pub acceleration: f64,
    /// No single move may take longer than this.
    pub move_limit: Duration,
}

/// A motorised platter. Dropping a future of this trait leaves the motor running: call [`Turntable::stop`].
#[async_trait]
pub trait Turntable: Send {
    /// Finds zero. Afterwards the position is `Known`.
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError>;

    /// Turns to an angle and returns when the table says it stands. Refused while the position is not `Known`.
    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError>;

    /// Turns by `degrees` in `[-360, 360]`, positive forward. Allowed with an unknown position.
    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError>;

    /// Turns on and on until stopped, at `speed` degrees a second.
    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError>;

    /// Halts as fast as the table can. Always allowed; the first command after connecting, the last on exit.
    async fn stop(&mut self) -> Result<Moved, TurntableError>;

    /// Last known position; asks nothing of the device.
    fn position(&self) -> Position;

    /// What table this is.
    fn info(&self) -> &TurntableInfo;
}

/// What went wrong with a table, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum TurntableError {
    /// Wrong configuration: a person must change it.
    #[error("turntable {driver}: {what}")]
    Config {
        /// Driver's name.
        driver: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The link is gone. The table may still be turning; reopen, then stop first.
    #[error("turntable {id}: link lost while trying to {tried}")]
    LinkLost {
        /// Which table.
        id: String,
        /// What was tried.
        tried: String,
    },
    /// No answer in time. Position unknown; stop, then reference again.
    #[error("turntable {id}: no end of \"{tried}\" within {limit:?}")]
    NoReply {
        /// Which table.
        id: String,
        /// What was tried.
        tried: String,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The platter is blocked: a person must look before anything moves again.
    #[error("turntable {id}: blocked near {near} while trying to {tried}")]
    Jammed {
        /// Which table.
        id: String,
        /// What was tried.
        tried: String,
        /// Angle the motor believes in.
        near: Angle,
    },
}

/// An open table, or why there is none.
pub type Opened = Result<Box<dyn Turntable>, TurntableError>;

/// A driver and how to open it.
pub struct Driver {
    /// The name in `driver = "…"`.
    pub name: &'static str,
    /// One line for `turnstage devices`.
    pub about: &'static str,
    /// Whether its own keys can be used, without touching the device.
    pub check: fn(&DeviceOptions) -> Result<(), String>,
    /// Opens one table with its own keys.
    pub open: fn(&DeviceOptions, &Surroundings) -> Opened,
    /// Tables that could be opened now.
    pub list: fn() -> Vec<Listing>,
}

/// Every turntable driver of this build. Add yours here.
pub const DRIVERS: &[Driver] = &[sim::DRIVER];

/// Whether a configured table's keys can be used; tells every driver's name when the driver is unknown.
pub fn check(options: &DeviceOptions) -> Result<(), String> {
    (find(options)?.check)(options)
}

/// Opens a configured table.
pub fn open(options: &DeviceOptions, around: &Surroundings) -> Result<Box<dyn Turntable>, TurntableError> {
    match find(options) {
        Ok(driver) => (driver.open)(options, around),
        Err(what) => Err(TurntableError::Config { driver: options.driver.clone(), what }),
    }
}

fn find(options: &DeviceOptions) -> Result<&'static Driver, String> {
    let found = DRIVERS.iter().find(|driver| driver.name == options.driver);
    found.ok_or_else(|| unknown(&options.driver, DRIVERS.iter().map(|driver| driver.name)))
}

/// The sentence about a driver that this build does not have.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("no such driver \"{name}\"; there are: {}", known.collect::<Vec<_>>().join(", "))
}
