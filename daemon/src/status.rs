//! The state of the station *now*, for panel, telemetry and command line. What must not be missed is an event instead.
//!
//! What goes on is a [`Situation`]: data, with a loudness ([`Kind`]) of its own and words in every language
//! ([`crate::words`]). The station tells its own; [`Status::with_delivery`] lays over it what concerns delivery, where
//! nothing more important goes on. Only one shows; which one goes first is the order of panel, API and telemetry alike.

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::meter::BUDGET;
use turnstage_cloud_sync::uploader::DestinationState;
use turnstage_drivers::Position;
use utoipa::ToSchema;

use crate::arming::Armed;
use crate::constancy::Drift;
use crate::emergency::{EmergencyStopStatus, StopState};
use crate::flags::Flag;
use crate::identify::Identified;
use crate::io::{Controls, InputStatus, OutputStatus};
use crate::motion::{Adrift, Motion};
use crate::words::Language;

/// Beginnings of the rules of what is wrong and forbids nothing; an idle station shows it.
const BESIDE: [&str; 5] = ["panel-", "input-", "output-", "rim-", "broker-"];
/// Disk room for so few sessions is said.
const ROOM_SHORT_SESSIONS: u64 = 5;

/// How loud the state is: whether a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// A frame that a rule flagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlaggedFrame {
    /// Its number, from 1.
    pub frame: u32,
    /// Rule id, for example `qc.sharpness`.
    pub rule: String,
}

/// What goes on. Frames count from 1; `taken` and `wanted` are pictures of all cameras together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[allow(missing_docs)] // fields are named for what the sentence says
pub enum Situation {
    /// Before anything is known.
    Starting,
    /// The daemon ended.
    Off,
    /// Nothing on the table.
    Ready,
    /// An item was named, nothing is shot yet.
    ItemSet { item: String },
    /// The table looks for its zero.
    Referencing,
    /// The table compares its place with the frames taken.
    Comparing,
    /// A real table is about to move.
    Announced,
    /// Under way to the first place.
    Turning { deg: f64 },
    /// A manual table: a person is asked to turn it, and to say so.
    TurnByHand { deg: f64 },
    /// First pass.
    Shooting { frame: u32, total: u32, left_s: Option<f64>, flagged: Option<FlaggedFrame> },
    /// Frame `nth` of those that are taken again.
    Retaking { frame: u32, nth: u32, of: u32 },
    /// The turn is over and a rule flagged frames; `rule` is that of the first.
    Flagged { frames: u32, rule: String },
    /// The turn is over and frames are not there.
    Missing { frames: u32 },
    /// Every frame passed.
    Complete { frames: u32 },
    /// Idle, and pictures are on their way.
    Sending { pictures: u64 },
    /// Idle, and there is no way out.
    Offline { pictures: u64 },
    /// Idle, and today's bytes of a metered link are used up.
    BudgetSpent { pictures: u64 },
    /// Idle, and one destination is not there for a reason of its own.
    DestinationAway { name: String, pictures: u64, reason: String },
    /// The cloud does not take this station's sign-in.
    SignIn { pictures: u64, reason: String },
    /// Few more sessions fit on the disk.
    RoomShort { sessions: u64 },
    /// None fits.
    RoomNone { waiting: u64 },
    /// A required camera went away in mid-session.
    CameraUnplugged { camera: String, taken: u32, wanted: u32 },
    /// A camera went away in mid-session; the session waits for it and goes on by itself.
    CameraAwaited { camera: String, frame: u32, left_s: u32 },
    /// The link to the table went away; it may still turn so far.
    TableLost { deg: Option<f64> },
    /// The link to the table went away in a tilt; it may still tilt so far.
    TableTilts { deg: f64 },
    /// The link to the table went away, and nothing but a cut of its power ends its turn.
    TableTurnsOn,
    /// The table must be referenced.
    PositionUnknown,
    /// The wired emergency stop is missing, pressed, or to be tested.
    EmergencyStop { state: StopState },
    /// A person pressed stop.
    StoppedBy { who: String, taken: u32, wanted: u32 },
    /// A person asked for a pause.
    Paused { taken: u32, wanted: u32 },
    /// The process ended in mid-session.
    Interrupted { frame: u32, taken: u32 },
    /// Somebody who looks after the station put it out of service.
    OutOfService { who: String, reason: String },
    /// The disk failed.
    StorageFault,
    /// The system is being updated, and no session begins; how much of an installation is done.
    Updating { what: String, percent: Option<u8> },
    /// The last good configuration is in use.
    SafeMode,
    /// The configuration is wrong and there is none before it.
    SafeModeClosed,
    /// A destination refused pictures for good.
    Refused { pictures: u64 },
    /// Idle, and a camera's pictures are not what they were.
    Drifted { drift: Drift },
    /// Something that stops nothing and that a person should look at, as it was told.
    Look { what: String, todo: String },
    /// Anything else that is wrong, as it was told.
    Fault { what: String, todo: String },
}

impl Situation {
    /// A motion begins in a moment, or one for whose end nobody waits is under way.
    pub fn moves_unasked(&self) -> bool {
        matches!(self, Self::Announced | Self::Referencing | Self::Comparing)
    }

    /// How loud it is.
    pub fn kind(&self) -> Kind {
        use Situation as S;
        match self {
            S::Ready
            | S::ItemSet { .. }
            | S::Complete { .. }
            | S::Sending { .. }
            | S::Offline { .. }
            | S::BudgetSpent { .. }
            | S::DestinationAway { .. } => Kind::Ready,
            S::Starting
            | S::Updating { .. }
            | S::Referencing
            | S::Comparing
            | S::Announced
            | S::Turning { .. }
            | S::Shooting { .. }
            | S::Retaking { .. } => Kind::Busy,
            S::Flagged { .. }
            | S::Missing { .. }
            | S::SignIn { .. }
            | S::RoomShort { .. }
            | S::PositionUnknown
            | S::TurnByHand { .. }
            | S::CameraAwaited { .. }
            | S::Interrupted { .. }
            | S::SafeMode
            | S::OutOfService { .. }
            | S::Drifted { .. }
            | S::Look { .. }
            | S::Refused { .. } => Kind::Warn,
            S::EmergencyStop { state: StopState::None | StopState::Pressed | StopState::Lost } => Kind::Stop,
            S::EmergencyStop { .. } => Kind::Warn,
            S::Off
            | S::RoomNone { .. }
            | S::CameraUnplugged { .. }
            | S::TableLost { .. }
            | S::TableTilts { .. }
            | S::TableTurnsOn
            | S::StoppedBy { .. }
            | S::Paused { .. }
            | S::StorageFault
            | S::SafeModeClosed
            | S::Fault { .. } => Kind::Stop,
        }
    }
}

/// What waits for delivery, and where to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Delivery {
    /// Pictures released and not yet proven: queued or uploading.
    pub waiting: u64,
    /// Of these, being sent at this moment.
    pub uploading: u64,
    /// Refused for good, kept on this station.
    pub failed: u64,
    /// Captured, not released.
    pub held: u64,
    /// Delivered with proof and still listed here.
    pub confirmed: u64,
    /// When the oldest of those that wait was captured, in ms since 1970; the wall clock's own opinion.
    pub oldest_wall_ms: Option<i64>,
    /// Free bytes on the data disk.
    pub free_bytes: u64,
    /// So many more sessions of the default recipe fit.
    pub sessions_left: u64,
    /// Each destination with its state.
    #[schema(value_type = Vec<Object>)]
    pub destinations: Vec<DestinationState>,
}

/// Which station this is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct StationName {
    /// Organisation.
    pub org: String,
    /// Site.
    pub site: String,
    /// Name within the site.
    pub name: String,
}

/// Something that is wrong, in three sentences and a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Frame whose verdict is not in yet, from 1.
    pub checking: Option<u32>,
    /// Seconds that the rest of the first pass will take, once that can be told.
    pub left_s: Option<f64>,
}

/// A camera of the rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CameraStatus {
    /// Name in the rig.
    pub name: String,
    /// Model.
    pub model: String,
    /// This driver was tried on such a camera by somebody.
    pub tried: bool,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TableStatus {
    /// Model.
    pub model: String,
    /// Where it stands, as far as is known.
    #[schema(value_type = Object)]
    pub position: Position,
    /// It is under way.
    pub moving: bool,
    /// Stop is latched.
    pub stopped: bool,
    /// It is about to move.
    pub announced: bool,
    /// Whether it may move.
    pub armed: Armed,
    /// After its link was lost under way: it may still turn so many degrees at most. `None` also of one that turns on until
    /// its power is cut, which the situation says (`table-turns-on`).
    pub may_turn_deg: Option<f64>,
    /// This driver was tried on such a table by somebody.
    pub tried: bool,
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
            announced: motion.announced,
            armed: motion.armed,
            may_turn_deg: match motion.adrift {
                Some(Adrift::Turns(deg)) => Some(deg),
                _ => None,
            },
            tried: motion.info.as_ref().is_none_or(|info| info.tried),
            fault: motion.fault.clone(),
        })
    }
}

/// The state now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Status {
    /// Which station this is.
    pub station: StationName,
    /// How loud.
    pub kind: Kind,
    /// What goes on, as data.
    pub situation: Situation,
    /// First line: what is.
    pub sentence: String,
    /// Second line: what to do.
    pub detail: String,
    /// Every device of the rig is simulated: nothing can be hurt, and it is armed by itself.
    pub simulated: bool,
    /// The last good configuration is in use, because the present one is wrong.
    pub safe_mode: bool,
    /// What is wrong, worst first.
    pub faults: Vec<Fault>,
    /// Session at work or in review.
    pub session: Option<SessionStatus>,
    /// Cameras of the rig.
    pub cameras: Vec<CameraStatus>,
    /// Cameras whose pictures are not what they were when they were set up.
    pub drifts: Vec<Drift>,
    /// The table, if the rig has one.
    pub table: Option<TableStatus>,
    /// The wired emergency stop, if the rig has or needs one.
    pub emergency_stop: Option<EmergencyStopStatus>,
    /// Pedals, scanners, buttons and doors of the rig.
    pub inputs: Vec<InputStatus>,
    /// Lamps, horns and lights of the rig.
    pub outputs: Vec<OutputStatus>,
    /// The item that was scanned for the next session.
    pub next_item: Option<String>,
    /// Flags that were set by those who look after the station.
    pub flags: Vec<Flag>,
    /// It was asked to show itself.
    pub identify: Option<Identified>,
    /// What waits for delivery.
    pub delivery: Delivery,
    /// Sequence of the newest event: whoever reads this state misses nothing by following the log from here.
    pub newest_event: u64,
}

impl Status {
    /// Before anything is known.
    pub fn starting(station: StationName, simulated: bool) -> Self {
        let mut status = Self {
            station,
            kind: Kind::Busy,
            situation: Situation::Starting,
            sentence: String::new(),
            detail: String::new(),
            simulated,
            safe_mode: false,
            faults: Vec::new(),
            session: None,
            cameras: Vec::new(),
            drifts: Vec::new(),
            table: None,
            emergency_stop: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            next_item: None,
            flags: Vec::new(),
            identify: None,
            delivery: Delivery::default(),
            newest_event: 0,
        };
        status.tell(Situation::Starting);
        status
    }

    /// Sets what is told of inputs and outputs.
    pub fn take_controls(&mut self, controls: &Controls) {
        let Controls { inputs, outputs, next_item, flashes: _ } = controls.clone();
        (self.inputs, self.outputs, self.next_item) = (inputs, outputs, next_item);
    }

    /// Sets the situation, with its loudness and its words.
    pub fn tell(&mut self, situation: Situation) {
        let lines = Language::En.lines(&situation);
        self.kind = situation.kind();
        self.sentence = lines.first;
        self.detail = lines.second;
        self.situation = situation;
    }

    /// The same with what concerns delivery, which shows while nothing is on the table.
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        if let (Situation::Ready | Situation::SafeMode, Some(situation)) = (&self.situation, self.beside()) {
            self.tell(situation);
        }
        self
    }

    /// What is told of an idle station: room, safe mode, refused, drift, away, sending, in this order.
    fn beside(&self) -> Option<Situation> {
        let delivery = &self.delivery;
        let pictures = delivery.waiting;
        let away = delivery.destinations.iter().find_map(|one| match &one.failure {
            Some(failure) if !one.online => Some((one, failure)),
            _ => None,
        });
        let beside = |fault: &&Fault| BESIDE.iter().any(|part| fault.rule.starts_with(part));
        if let Some(fault) = self.faults.iter().find(beside) {
            return Some(Situation::Look { what: fault.what.clone(), todo: fault.todo.clone() });
        }
        match away {
            _ if delivery.sessions_left == 0 => {
                Some(Situation::RoomNone { waiting: pictures + delivery.failed + delivery.held })
            }
            _ if delivery.sessions_left <= ROOM_SHORT_SESSIONS => {
                Some(Situation::RoomShort { sessions: delivery.sessions_left })
            }
            _ if self.situation == Situation::SafeMode => None,
            Some((_, failure)) if failure.rule.starts_with("token-") => {
                Some(Situation::SignIn { pictures, reason: failure.reason.clone() })
            }
            _ if delivery.failed > 0 => Some(Situation::Refused { pictures: delivery.failed }),
            _ if !self.drifts.is_empty() => {
                self.drifts.first().map(|drift| Situation::Drifted { drift: drift.clone() })
            }
            Some((_, failure)) if is_network(&failure.rule) => Some(Situation::Offline { pictures }),
            Some((_, failure)) if failure.rule == BUDGET => Some(Situation::BudgetSpent { pictures }),
            Some((one, failure)) => Some(Situation::DestinationAway {
                name: one.name.clone(),
                pictures,
                reason: failure.reason.clone(),
            }),
            None if pictures > 0 => Some(Situation::Sending { pictures }),
            None => None,
        }
    }
}

/// There is no way to the destination, as opposed to a destination that is there and wants something.
fn is_network(rule: &str) -> bool {
    matches!(rule, "network-unreachable" | "breaker-open")
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_cloud_sync::queue::Failure;

    fn idle(delivery: Delivery) -> Status {
        let mut status = Status::starting(StationName::default(), true);
        status.tell(Situation::Ready);
        status.with_delivery(Delivery { sessions_left: 100, ..delivery })
    }

    fn away(rule: &str) -> Vec<DestinationState> {
        let failure = Failure { rule: rule.to_owned(), reason: "why".to_owned() };
        vec![DestinationState {
            name: "cloud".to_owned(),
            online: false,
            failure: Some(failure),
            notices: Vec::new(),
            under_way: 0,
        }]
    }

    #[test]
    fn offline_is_a_way_of_working_and_never_amber() {
        let status =
            idle(Delivery { waiting: 36, destinations: away("network-unreachable"), ..Delivery::default() });
        assert_eq!(status.situation, Situation::Offline { pictures: 36 });
        assert_eq!((status.kind, status.sentence.as_str()), (Kind::Ready, "Ready, no network"));
    }

    #[test]
    fn a_budget_that_is_used_up_is_a_way_of_working_and_never_amber() {
        let status = idle(Delivery { waiting: 36, destinations: away(BUDGET), ..Delivery::default() });
        assert_eq!(status.situation, Situation::BudgetSpent { pictures: 36 });
        assert_eq!(
            (status.kind, status.sentence.as_str()),
            (Kind::Ready, "Ready, today's bytes are used up")
        );
    }

    #[test]
    fn an_expired_token_asks_for_a_person_before_anything_else_of_delivery() {
        let destinations = away("token-expired");
        let status = idle(Delivery { waiting: 3, failed: 2, destinations, ..Delivery::default() });
        assert_eq!(status.kind, Kind::Warn);
        assert!(matches!(status.situation, Situation::SignIn { pictures: 3, .. }));
    }

    #[test]
    fn a_camera_that_drifts_is_told_of_before_that_pictures_are_sent_and_after_what_holds_them() {
        let drift = Drift {
            camera: "high".to_owned(),
            quality: crate::constancy::Quality::Sharpness,
            change: 0.3,
            since: crate::constancy::Since::Weekday { weekday: 0 },
        };
        let mut status = Status::starting(StationName::default(), true);
        status.drifts.push(drift.clone());
        status.tell(Situation::Ready);
        let sending = Delivery { waiting: 3, sessions_left: 100, ..Delivery::default() };
        let told = status.clone().with_delivery(sending.clone());
        assert_eq!((told.kind, told.situation), (Kind::Warn, Situation::Drifted { drift }));
        let refused = status.clone().with_delivery(Delivery { failed: 2, ..sending.clone() });
        assert_eq!(refused.situation, Situation::Refused { pictures: 2 });
        status.tell(Situation::Complete { frames: 36 });
        assert_eq!(status.with_delivery(sending).situation, Situation::Complete { frames: 36 });
    }

    #[test]
    fn refused_pictures_are_told_of_while_others_are_sent() {
        let status = idle(Delivery { waiting: 3, failed: 2, ..Delivery::default() });
        assert_eq!(status.situation, Situation::Refused { pictures: 2 });
    }

    #[test]
    fn a_full_disk_closes_capture_and_a_session_at_work_hides_it() {
        let full = Delivery { waiting: 40, sessions_left: 0, ..Delivery::default() };
        let mut status = Status::starting(StationName::default(), true);
        status.tell(Situation::Ready);
        assert_eq!(status.clone().with_delivery(full.clone()).situation, Situation::RoomNone { waiting: 40 });
        status.tell(Situation::Complete { frames: 36 });
        assert_eq!(status.with_delivery(full).situation, Situation::Complete { frames: 36 });
    }
}
