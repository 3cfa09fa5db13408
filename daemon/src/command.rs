//! What people and machines may ask of the station, each with its actor and an answer.
//!
//! Panel, API, MQTT, pedal and command line all send the same [`Command`] into one bounded channel and get their
//! answer back: accepted, or refused with a rule id and a plain sentence. A command id that was seen before is
//! answered from memory and not obeyed twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::arming::Arming;
use crate::motion::Mover;

/// Who asks: `cli:root`, `operator:ana`, `pedal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor(pub String);

impl Actor {
    /// The person at the command line.
    pub fn cli() -> Self {
        let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
        Self(format!("cli:{}", user.unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string())))
    }
}

impl Actor {
    /// The name without its role: `ana` of `operator:ana`.
    pub fn who(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(_, who)| who)
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where whoever asks is, as far as the station knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Beside the table: an input, the rig's own display, its own command line.
    AtRig,
    /// Anywhere. The name of one sign-in or program, by which it is known again once it has entered the rig's code.
    Afar(String),
}

/// Which frames a retake is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Every frame that a rule flagged.
    Flagged,
    /// Frames by their number in the plan, from 1.
    Frames(Vec<u32>),
}

/// An acceptance of what the rules do not accept, by a person who gives name and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// Who takes it upon themselves.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Act {
    /// Begin a session and shoot it.
    Start {
        /// VIN, barcode or number of what stands on the table.
        item: String,
        /// Name of the recipe; the configured one if absent.
        recipe: Option<String>,
    },
    /// Finish the shot at hand, then wait.
    Pause,
    /// Go on: after a pause, a stop, a fault or a power cut. The table is referenced first if it must be.
    Resume {
        /// An interrupted session to take up; the current one if absent.
        session: Option<String>,
        /// Shoot the whole turn anew; what was taken stays as history.
        anew: bool,
        /// Agree to the place of the platter that a comparison of frames found.
        confirm: bool,
    },
    /// Halt the table now; the session pauses. Released by `Resume`.
    Stop,
    /// End the session without release; pictures stay on the station, nothing is delivered.
    Abort,
    /// Shoot frames again at exactly their angles.
    Retake {
        /// Which.
        which: Which,
    },
    /// Let the pictures go to their destinations.
    Release {
        /// Accept flagged or missing frames.
        accept: Option<Override>,
    },
    /// The session is about another item: a wrong number was scanned.
    MoveItem {
        /// The right one.
        item: String,
    },
    /// Open a session of the past as the current one, to retake, release, move or abort it.
    Open {
        /// Its id.
        session: String,
    },
    /// Send parked pictures once more.
    Requeue {
        /// Only this session's, or all.
        session: Option<String>,
    },
    /// Begin a turn that is good on purpose, to calibrate by: what calibration sets limits for is measured and stops
    /// nothing.
    Measure {
        /// Name of the recipe; the configured one if absent.
        recipe: Option<String>,
    },
    /// Set the limits of each camera with the session's recipe from what its frames measured.
    Calibrate {
        /// A good turn.
        session: String,
    },
    /// Take a clean plate of each camera: nothing is on the table.
    Plate {
        /// Name of the recipe; the configured one if absent.
        recipe: Option<String>,
    },
    /// Begin a turn with the marker board on the platter; nothing that is found in its pictures stops it.
    MeasureAxis {
        /// Name of the recipe; the configured one if absent.
        recipe: Option<String>,
    },
    /// Find out where each camera stands from a turn with the marker board.
    CalibrateAxis {
        /// The turn.
        session: String,
        /// Side of the board's chess pattern in millimetres.
        board_mm: f64,
        /// How far its print lies above the platter in millimetres.
        thickness_mm: f64,
    },
    /// Forget limits and clean plate of a camera with a recipe, and where it stands.
    ForgetCalibration {
        /// Name of the recipe.
        recipe: String,
        /// Name of the camera in the rig.
        camera: String,
        /// Where it stands is kept: it is the same for every recipe.
        keep_axis: bool,
    },
    /// Begin a new baseline for a camera: its lens was cleaned, or it was exchanged.
    ResetCamera {
        /// Name in the rig.
        camera: String,
    },
    /// Allow motion of a real table: the act of a person at the rig, by an input, its own display, or the code on it.
    Arm {
        /// What the rig's display shows, from whoever is not known to stand before it. The audit log leaves it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// Allow motion no more.
    Disarm,
    /// Begin the daily test of the wired emergency stop: a person presses it now, and releases it.
    TestEmergencyStop,
    /// A manual table stands where it was asked for.
    Answer {
        /// Number of the question; the one asked now if absent.
        number: Option<u64>,
    },
}

impl Act {
    /// Name in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Pause => "pause",
            Self::Resume { .. } => "resume",
            Self::Stop => "stop",
            Self::Abort => "abort",
            Self::Retake { .. } => "retake",
            Self::Release { .. } => "release",
            Self::MoveItem { .. } => "move-item",
            Self::Open { .. } => "open",
            Self::Requeue { .. } => "requeue",
            Self::Measure { .. } => "measure",
            Self::Calibrate { .. } => "calibrate",
            Self::Plate { .. } => "plate",
            Self::MeasureAxis { .. } => "measure-axis",
            Self::CalibrateAxis { .. } => "calibrate-axis",
            Self::ForgetCalibration { .. } => "forget-calibration",
            Self::ResetCamera { .. } => "reset-camera",
            Self::Arm { .. } => "arm",
            Self::Disarm => "disarm",
            Self::TestEmergencyStop => "test-emergency-stop",
            Self::Answer { .. } => "answer",
        }
    }

    /// How long its answer may take: pictures of a whole turn are read one after the other.
    pub fn answer_limit(&self) -> Duration {
        match self {
            Self::Calibrate { .. } | Self::CalibrateAxis { .. } => Duration::from_secs(900),
            _ => Duration::from_secs(30),
        }
    }

    /// It lets the table move, or says how things are at the rig at this moment. Whoever was told that it was not heard
    /// does not expect it any more.
    fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Resume { .. }
            | Self::Retake { .. }
            | Self::Measure { .. }
            | Self::MeasureAxis { .. }
            | Self::Arm { .. }
            | Self::Answer { .. }
            | Self::TestEmergencyStop => true,
            Self::Pause
            | Self::Stop
            | Self::Abort
            | Self::Release { .. }
            | Self::MoveItem { .. }
            | Self::Open { .. }
            | Self::Requeue { .. }
            | Self::Calibrate { .. }
            | Self::Plate { .. }
            | Self::CalibrateAxis { .. }
            | Self::ForgetCalibration { .. }
            | Self::ResetCamera { .. }
            | Self::Disarm => false,
        }
    }

    /// Where it is asked for over the interface.
    pub fn path(&self) -> String {
        let below = match self {
            Self::Measure { .. } => "calibrations/turn",
            Self::Calibrate { .. } => "calibrations",
            Self::Plate { .. } => "calibrations/plate",
            Self::MeasureAxis { .. } => "calibrations/axis/turn",
            Self::CalibrateAxis { .. } => "calibrations/axis",
            Self::ForgetCalibration { .. } => "calibrations/forget",
            other => return format!("/api/v1/commands/{}", other.name()),
        };
        format!("/api/v1/{below}")
    }
}

/// Why a command was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason} ({rule})")]
pub struct Refusal {
    /// Stable rule id, for example `release-incomplete`.
    pub rule: String,
    /// Plain sentence with what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(rule: &str, reason: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), reason: reason.into() }
    }
}

/// What a command brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// Session it is about.
    pub session: Option<String>,
    /// How many frames or pictures it is about.
    pub count: usize,
}

/// The answer to a command.
pub type Answer = Result<Accepted, Refusal>;

/// A command on its way.
#[derive(Debug)]
pub struct Command {
    /// Chosen by the sender; the same id again gets the same answer and no second effect.
    pub id: String,
    /// Who asks.
    pub actor: Actor,
    /// From where.
    pub place: Place,
    /// What is asked.
    pub act: Act,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

impl Command {
    /// Nobody waits for its answer any more, and it is not to be obeyed that late.
    pub fn is_given_up(&self) -> bool {
        self.act.is_of_the_moment() && self.answer.is_closed()
    }
}

/// The sending end; cheap to clone.
#[derive(Debug, Clone)]
pub struct Commands {
    queue: mpsc::Sender<Command>,
    mover: Mover,
}

/// Commands that may wait; a person is told to repeat beyond that.
const WAITING_MAX: usize = 32;

impl Commands {
    /// Both ends, for a station with this table.
    pub fn channel(mover: Mover) -> (Self, mpsc::Receiver<Command>) {
        let (queue, receiver) = mpsc::channel(WAITING_MAX);
        (Self { queue, mover }, receiver)
    }

    /// Whether the table may turn, and who lets it.
    pub fn arming(&self) -> &Arming {
        self.mover.arming()
    }

    /// The table that a stop reaches at once.
    pub fn mover(&self) -> &Mover {
        &self.mover
    }

    /// Asks from the rig and waits for the answer.
    pub async fn ask(&self, actor: &Actor, act: Act) -> Answer {
        self.ask_as(uuid::Uuid::now_v7().to_string(), actor, &Place::AtRig, act).await
    }

    /// Asks with an id of the sender's own. Dropped before the answer it withdraws what would move the table, as long as
    /// the station has not begun to obey it.
    pub async fn ask_as(&self, id: String, actor: &Actor, place: &Place, act: Act) -> Answer {
        let gone = || Refusal::new("station-gone", "The station task has ended. Restart the service.");
        let stops = act == Act::Stop;
        let (answer, wait) = oneshot::channel();
        let command = Command { id, actor: actor.clone(), place: place.clone(), act, answer };
        let sent = self.queue.try_send(command);
        if stops {
            // The table halts whatever else waits. The command is on its way before, so that whoever sees the table
            // halted finds out who asked for it.
            self.mover.stop();
        }
        match sent {
            Ok(()) => wait.await.map_err(|_| gone())?,
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Refusal::new("station-busy", "Too many commands wait. Repeat it in a moment."))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
        }
    }
}
