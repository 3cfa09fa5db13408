//! The state of the station *now*, for panel, telemetry and command line. What must not be missed is an event instead.

use serde::Serialize;
use turnstage_drivers::Position;

use crate::motion::Motion;

/// How loud the state is: whether a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing to do for a person but to go on.
    Ready,
    /// The station is at work.
    Busy,
    /// A person should look.
    Warn,
    /// Stopped by a fault or a person.
    Stop,
}

/// Something that is wrong, in three sentences and a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Stable rule id.
    pub rule: String,
    /// What happened.
    pub what: String,
    /// What cannot be done, or would be lost.
    pub why: String,
    /// One or two physical acts.
    pub todo: String,
}

impl Fault {
    /// A fault in three sentences.
    pub fn new(rule: &str, what: impl Into<String>, why: &str, todo: &str) -> Self {
        Self { rule: rule.to_owned(), what: what.into(), why: why.to_owned(), todo: todo.to_owned() }
    }
}

/// A session at work or in review.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionStatus {
    /// Id.
    pub id: String,
    /// What is photographed.
    pub item: String,
    /// Name of the recipe.
    pub recipe: String,
    /// State in its own words.
    pub state: crate::session::SessionState,
    /// Pictures that the recipe asks for, all cameras together.
    pub wanted: usize,
    /// Frames (numbers from 1) that lack a picture of a required camera.
    pub missing: Vec<u32>,
    /// Pictures that are there, flagged ones included.
    pub taken: usize,
    /// Frames (numbers from 1) whose pictures a rule flagged.
    pub flagged: Vec<u32>,
    /// Pictures that took the place of others.
    pub retaken: u32,
    /// Frame at work, from 1.
    pub frame: Option<u32>,
}

/// A camera of the rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CameraStatus {
    /// Name in the rig.
    pub name: String,
    /// Model.
    pub model: String,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableStatus {
    /// Model.
    pub model: String,
    /// Where it stands, as far as is known.
    pub position: Position,
    /// It is under way.
    pub moving: bool,
    /// Stop is latched.
    pub stopped: bool,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

impl TableStatus {
    /// What the motion task tells; `None` without a table.
    pub fn of(motion: &Motion) -> Option<Self> {
        motion.present.then(|| Self {
            model: motion.info.as_ref().map(|info| info.model.clone()).unwrap_or_default(),
            position: motion.position,
            moving: motion.moving,
            stopped: motion.stopped,
            fault: motion.fault.clone(),
        })
    }
}

/// The state now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// How loud.
    pub kind: Kind,
    /// First line: what is.
    pub sentence: String,
    /// Second line: what to do.
    pub detail: String,
    /// The last good configuration is in use, because the present one is wrong.
    pub safe_mode: bool,
    /// What is wrong, worst first.
    pub faults: Vec<Fault>,
    /// Session at work or in review.
    pub session: Option<SessionStatus>,
    /// Cameras of the rig.
    pub cameras: Vec<CameraStatus>,
    /// The table, if the rig has one.
    pub table: Option<TableStatus>,
}

impl Status {
    /// Before anything is known.
    pub fn starting() -> Self {
        Self {
            kind: Kind::Busy,
            sentence: "Starting".to_owned(),
            detail: "Looking for cameras and table.".to_owned(),
            safe_mode: false,
            faults: Vec::new(),
            session: None,
            cameras: Vec::new(),
            table: None,
        }
    }

    /// Sets the two lines.
    pub fn say(&mut self, kind: Kind, sentence: impl Into<String>, detail: impl Into<String>) {
        self.kind = kind;
        self.sentence = sentence.into();
        self.detail = detail.into();
    }
}
