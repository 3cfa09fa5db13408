//! Turntables: one trait, one table of drivers. A motion is never sent twice, and a dropped future stops nothing.
//!
//! The station speaks to a [`Turntable`] through its motion task only. A driver serialises its own commands, knows
//! its position as [`Position::Known`], `Estimated` or `Unknown`, and says how a move ended as [`Moved`].

pub mod external;
pub mod grbl;
mod hand;
pub mod manual;
pub mod mounted;
pub mod profile;
pub mod relay;
mod sightings;
pub mod sim;
pub mod transcript;
mod without_link;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::frame::Angle;
use crate::link::{Link, serial};
use crate::{DeviceOptions, Later, Listing, Surroundings};

pub use hand::{Asked, Hand};
pub use sightings::Sightings;
pub use without_link::{RunLimit, WithoutLink, runs_on};

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

impl Direction {
    /// The other way round.
    pub fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// How far the cable of a platter is wound up, in degrees that are counted on over turns, and the range that it must
/// stay in. Declaring an angle winds nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Winding {
    /// Now; 0 where the table was opened first, or at its home switch.
    pub deg: f64,
    /// Lowest that is allowed, 0 or less.
    pub low: f64,
    /// Highest that is allowed, 0 or more.
    pub high: f64,
}

impl Winding {
    /// Nearer to its home switch than this a table may stand on either side of it.
    pub const HOME_DOUBT_DEG: f64 = 0.5;

    /// What is wound up once the home switch was found that way round from `deg`: the switch is there once a turn.
    pub fn at_home(deg: f64, way: Direction) -> f64 {
        let turns = deg / 360.0;
        let doubt = Self::HOME_DOUBT_DEG / 360.0;
        360.0
            * match way {
                Direction::Forward => (turns - doubt).ceil(),
                Direction::Backward => (turns + doubt).floor(),
            }
    }
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
    /// A camera saw the marks on the rim.
    Seen,
}

/// Where the platter stands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Referenced since power-on.
    Known(Angle, Source),
    /// Referenced once, but something happened since (a stop in motion): good enough to look at, not to shoot at, unless
    /// [`Turntable::reckoned_deg`] says how far it may be off.
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
    /// Which way round it looks for that switch.
    pub home_way: Direction,
    /// It turns this way round only, and refuses the other (`motion-one-way`).
    pub one_way: Option<Direction>,
    /// Fastest turn in degrees a second.
    pub speed_max: DegPerS,
    /// Acceleration in degrees per second squared.
    pub acceleration: f64,
    /// Slowest and fastest speed of [`Turntable::rotate`], the same twice for a table of one speed; `None` of a table that
    /// does not turn on and on.
    pub rotates: Option<(DegPerS, DegPerS)>,
    /// It tells where it is while it turns, so that [`Turntable::sweep`] is more than a refusal.
    pub sweeps: bool,
    /// A stop from here halts it. Otherwise it is turned from elsewhere: a place is waited for, and which way round is
    /// not ours to say.
    pub stops: bool,
    /// No single move may take longer than this.
    pub move_limit: Duration,
    /// Version of its own software, if it tells.
    pub firmware: Option<String>,
    /// Lowest and highest tilt in degrees, of tables that tilt. 0 is level.
    pub tilt: Option<(f64, f64)>,
    /// Degrees from one place where it stands for certain to the next, of tables that are proven to stand at marks only;
    /// a way in several commands is divided there. `None`: any angle is as good.
    pub step_deg: Option<f64>,
    /// What ends a motion whose link is lost. Only a table that [`WithoutLink::Halts`] is asked for more than
    /// `unattended_deg_max` in one command, or to rotate without end.
    pub without_link: WithoutLink,
    /// Somebody has put this driver with such a table through the conformance suite.
    pub tried: bool,
}

impl TurntableInfo {
    /// Somebody else turns it: it passes the angles that are waited for, and nothing here moves or stops it.
    pub fn is_turned_elsewhere(&self) -> bool {
        self.driver == external::DRIVER.name
    }
}

/// Where a turning platter was at a moment: reported by the table, or read from the marks on its rim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// When it was there.
    pub at: Instant,
    /// Where it was, counted on beyond 360 and below 0 within one sweep.
    pub deg: f64,
    /// It was there within this many degrees.
    pub error_deg: f64,
}

/// A motorised platter. Dropping a future of this trait leaves the motor running: call [`Turntable::stop`].
#[async_trait]
pub trait Turntable: Send {
    /// Finds zero. Afterwards the position is `Known`.
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError>;

    /// Turns to an angle and returns when the table says it stands. Refused while the position is neither `Known` nor
    /// reckoned.
    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError>;

    /// Turns by `degrees` in `[-360, 360]`, positive forward. Allowed with an unknown position.
    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError>;

    /// Turns on and on until stopped, at `speed` degrees a second within [`TurntableInfo::rotates`], negative backward.
    /// Whatever else is asked is [`TurntableError::Refused`].
    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError>;

    /// Turns by `degrees` at `speed` (positive, degrees a second), at constant speed but for its ends, and returns when
    /// it stands. Where it is on the way goes to `seen` as often as the table tells. For continuous shooting; a table
    /// that cannot say refuses.
    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let _ = (degrees, speed, seen);
        let reason = "this table cannot turn at a speed that is asked for; use motion = \"stop_and_shoot\"";
        Ok(Moved::Refused { rule: "motion-no-sweep", reason: reason.to_owned() })
    }

    /// Tilts the platter to `degrees` and returns when it stands; `Done` repeats the angle of the turn.
    async fn tilt_to(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let _ = degrees;
        let reason = "this table does not tilt; use rows without tilt_deg";
        Ok(Moved::Refused { rule: "motion-no-tilt", reason: reason.to_owned() })
    }

    /// Asked each second while nothing is under way: answers heartbeats that the protocol has, and notices that the link
    /// is lost or that the controller started anew. During a motion the driver does this itself. Moves nothing.
    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        Ok(())
    }

    /// Halts as fast as the table can. Always allowed; the first command after connecting, the last on exit.
    async fn stop(&mut self) -> Result<Moved, TurntableError>;

    /// Last known position; asks nothing of the device.
    fn position(&self) -> Position;

    /// How far the platter may stand beside its position, in degrees, where that is `Estimated` from motions whose end was
    /// timed and not told, and their errors add up to no more than the configuration allows; [`Turntable::move_to`] goes on
    /// from there. `None` of every other position. Asks nothing of the device.
    fn reckoned_deg(&self) -> Option<f64> {
        None
    }

    /// Most degrees that [`Reference::Home`] turns from here, whether it finds its switch or not. Asks nothing of the
    /// device.
    fn home_deg(&self) -> f64 {
        360.0
    }

    /// How far its cable is wound up; `None` where it may turn on and on. Asks nothing of the device.
    fn winding(&self) -> Option<Winding> {
        None
    }

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
    /// The table cannot do what was asked, or not now: nothing was moved, and asking again changes nothing.
    #[error("turntable {id}: {reason}")]
    Refused {
        /// Which table.
        id: String,
        /// Stable rule id, for example `motion-no-rotation`.
        rule: &'static str,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// Not there, not for us, or held by another program: wait for it, tell the technician.
    #[error("turntable {id}: {why} ({hint})")]
    Unavailable {
        /// Which table, by the name a person would look for.
        id: String,
        /// What was found.
        why: String,
        /// What to do: the cable, the udev rule, the program that holds it.
        hint: String,
    },
    /// Something answers, but not the table that is configured: nothing is moved.
    #[error("turntable {id}: {found} answers, {wanted} was expected")]
    WrongDevice {
        /// Which table.
        id: String,
        /// What it said.
        found: String,
        /// What was configured.
        wanted: String,
    },
    /// The table locks itself up, or reports a fault: a person must look.
    #[error("turntable {id}: {what} while trying to {tried}")]
    Fault {
        /// Which table.
        id: String,
        /// What was tried.
        tried: String,
        /// What it reports, in words.
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

impl TurntableError {
    /// A refusal for calls that do not answer with [`Moved`]; what is no refusal is told as it is.
    pub(crate) fn refusal(id: &str, moved: Moved) -> Self {
        let (rule, reason) = match moved {
            Moved::Refused { rule, reason } => (rule, reason),
            other => ("motion-busy", format!("the table answered {other:?}; stop it first")),
        };
        Self::Refused { id: id.to_owned(), rule, reason }
    }
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
    /// Opens one table with its own keys. Nothing has moved and a stop was sent when it returns; what answers is the
    /// kind of table that was configured.
    pub open: for<'a> fn(&'a DeviceOptions, &'a Surroundings) -> Later<'a, Opened>,
    /// Tables that could be opened now. Moves and disturbs nothing.
    pub list: fn() -> Later<'static, Vec<Listing>>,
}

/// Every turntable driver of this build. Add yours here.
pub const DRIVERS: &[Driver] =
    &[sim::DRIVER, profile::DRIVER, grbl::DRIVER, relay::DRIVER, external::DRIVER, manual::DRIVER];

/// Every serial port on USB, as one at whose end may be `what`. None is opened and nothing is sent: many boards start anew
/// when they are opened, and relays would switch.
fn candidates(driver: &'static str, ports: Vec<serial::Port>, what: &str) -> Vec<Listing> {
    let of_port = |port: serial::Port| {
        let mut options = DeviceOptions::new(driver);
        options.keys.insert("serial".to_owned(), port.path.clone().into());
        Listing {
            problem: port.problem,
            tried: false,
            guess: true,
            options: Some(options),
            ..Listing::of(driver, &port.path, &format!("{} ({}): may be {what}", port.product, port.usb))
        }
    };
    ports.into_iter().map(of_port).collect()
}

/// A driver that speaks to its table over a [`Link`].
pub struct Speaker {
    /// Driver's name, as in [`DRIVERS`].
    pub name: &'static str,
    /// Begins on a link that is open already, as [`Driver::open`] does on one that it opens: stop, then who is there.
    /// Keys of the link are taken out of the options before.
    pub begin: for<'a> fn(&'a DeviceOptions, Box<dyn Link>) -> Later<'a, Opened>,
}

/// Every driver that speaks over a link. Add yours here: its transcripts are played (`drivers/tests/transcripts.rs`).
pub const SPEAKERS: &[Speaker] = &[profile::SPEAKER, grbl::SPEAKER, relay::SPEAKER];

/// Begins to speak to a table at the end of `link`; the options hold the driver's own keys alone.
pub async fn speak(options: &DeviceOptions, link: Box<dyn Link>) -> Opened {
    match SPEAKERS.iter().find(|speaker| speaker.name == options.driver) {
        Some(speaker) => (speaker.begin)(options, link).await,
        None => {
            let what = "this driver speaks over no link".to_owned();
            Err(TurntableError::Config { driver: options.driver.clone(), what })
        }
    }
}

/// Whether a configured table's keys can be used; tells every driver's name when the driver is unknown.
pub fn check(options: &DeviceOptions) -> Result<(), String> {
    (find(options)?.check)(options)
}

/// Opens a configured table.
pub async fn open(options: &DeviceOptions, around: &Surroundings) -> Opened {
    match find(options) {
        Ok(driver) => (driver.open)(options, around).await,
        Err(what) => Err(TurntableError::Config { driver: options.driver.clone(), what }),
    }
}

fn find(options: &DeviceOptions) -> Result<&'static Driver, String> {
    let found = DRIVERS.iter().find(|driver| driver.name == options.driver);
    found.ok_or_else(|| {
        let told = unknown(&options.driver, DRIVERS.iter().map(|driver| driver.name));
        match profile::shelf::by_id(&options.driver) {
            Ok(_) => {
                format!("{told}; {0} is a profile: driver = \"profile\", profile = \"{0}\"", options.driver)
            }
            Err(_) => told,
        }
    })
}

/// The sentence about a driver that this build does not have.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("no such driver \"{name}\"; there are: {}", known.collect::<Vec<_>>().join(", "))
}
