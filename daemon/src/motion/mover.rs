//! What may be asked of the table, how it ends, and the station's end of the motion task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turnstage_drivers::turntable::{DegPerS, Reference, Sighting, TurntableInfo};
use turnstage_drivers::{Angle, Moved, Position, TurntableError};

use super::adrift::Adrift;
use crate::arming::{Armed, Arming};

/// What may be asked of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    /// Find zero.
    Reference(Reference),
    /// Stand at this angle, approached forward.
    To(Angle),
    /// Stand at this tilt.
    Tilt(f64),
    /// Turn so many degrees at this speed; where the platter is on the way is told by [`Mover::sightings`].
    Sweep {
        /// Degrees, positive forward.
        degrees: f64,
        /// Degrees a second.
        speed: DegPerS,
    },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum MoveEnd {
    /// The table says that it stands there.
    Arrived {
        /// Its own belief.
        at: Angle,
        /// Motor time.
        took: Duration,
    },
    /// Not begun.
    Refused {
        /// Stable rule id.
        rule: String,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// A person pressed stop.
    Stopped,
    /// The table failed: the position is unknown.
    Failed {
        /// Stable rule id.
        rule: &'static str,
        /// Plain sentence with what to do.
        reason: String,
    },
}

/// The state now.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// The rig has a table.
    pub present: bool,
    /// Where it stands, as far as is known.
    pub position: Position,
    /// The tilt that was asked for last and reached.
    pub tilt_deg: Option<f64>,
    /// It is under way to this angle, or to its zero.
    pub moving: bool,
    /// It is about to move, and says so to whoever stands there.
    pub announced: bool,
    /// Whether it may move.
    pub armed: Armed,
    /// Its position is an estimate that may be off by so many degrees, and is good enough to shoot at.
    pub reckoned_deg: Option<f64>,
    /// After its link was lost under way: what it may still do.
    pub adrift: Option<Adrift>,
    /// Stop is latched.
    pub stopped: bool,
    /// It may turn on though it was told to stop: the stop did not reach it, or it refused it. Rule id and sentence.
    pub unstopped: Option<(&'static str, String)>,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
    /// What table it is.
    pub info: Option<TurntableInfo>,
    /// When the task last looked up from its work.
    pub alive: Instant,
}

pub(super) struct Request {
    pub what: Move,
    /// Cancelled when whoever asked wants no more of it.
    pub halt: CancellationToken,
    pub end: oneshot::Sender<MoveEnd>,
}

/// The station's end.
#[derive(Debug, Clone)]
pub struct Mover {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) halts: Arc<Halts>,
    pub(super) state: watch::Receiver<Motion>,
    pub(super) sightings: watch::Receiver<Option<Sighting>>,
    pub(super) arming: Arming,
}

/// Why the stop line is pulled; it is while one of these is. Changed under the line's own lock only.
#[derive(Debug, Default)]
pub(super) struct Halts {
    /// Until a person releases it.
    latched: AtomicBool,
    /// While a stop button is in, a door is open, or nobody knows.
    held: AtomicBool,
}

impl Halts {
    fn pull(&self) -> bool {
        self.latched.load(Ordering::Relaxed) || self.held.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.what.fmt(f)
    }
}

impl Mover {
    /// Asks for a move and waits for its end.
    pub async fn go(&self, what: Move) -> MoveEnd {
        self.go_until(what, CancellationToken::new()).await
    }

    /// The same, ended early when `halt` is cancelled: the table is stopped then, and nothing is latched.
    pub async fn go_until(&self, what: Move, halt: CancellationToken) -> MoveEnd {
        let gone = || MoveEnd::Failed {
            rule: "motion-gone",
            reason: "The motion task has ended. Restart the service.".to_owned(),
        };
        let (end, wait) = oneshot::channel();
        match self.requests.send(Request { what, halt, end }).await {
            Ok(()) => wait.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }

    /// Halts the table now and keeps it halted. Does not wait.
    pub fn stop(&self) {
        self.latch(true);
        self.arming.disarm();
    }

    /// Whether the table may turn, and who lets it.
    pub fn arming(&self) -> &Arming {
        &self.arming
    }

    /// Where the platter is on its way through a [`Move::Sweep`].
    pub fn sightings(&self) -> watch::Receiver<Option<Sighting>> {
        self.sightings.clone()
    }

    /// Allows motion again, of which the first is announced; the act of a person at the rig. Nothing moves as long as the
    /// table is held.
    pub fn release(&self) {
        self.latch(false);
    }

    /// Halts the table now and keeps it halted as long as `held`, whatever is released. Does not wait. Where a door is
    /// open or a stop button in, somebody may be at the table: who armed it before has not seen them.
    pub fn hold(&self, held: bool) {
        self.stop.send_if_modified(|stop| {
            self.halts.held.store(held, Ordering::Relaxed);
            std::mem::replace(stop, self.halts.pull()) != *stop
        });
        if held {
            self.arming.disarm();
        }
    }

    /// A stop button is in, a door is open, or nobody knows.
    pub fn is_held(&self) -> bool {
        self.halts.held.load(Ordering::Relaxed)
    }

    /// Has the next motion announced, whenever the last one was: nobody waits for it any more.
    pub fn announce_next(&self) {
        self.stop.send_modify(|_| {});
    }

    fn latch(&self, latched: bool) {
        self.stop.send_modify(|stop| {
            self.halts.latched.store(latched, Ordering::Relaxed);
            *stop = self.halts.pull();
        });
    }

    /// The state now.
    pub fn state(&self) -> Motion {
        self.state.borrow().clone()
    }

    /// To be told of changes.
    pub fn watch(&self) -> watch::Receiver<Motion> {
        self.state.clone()
    }
}

pub(super) fn refused(rule: &str, reason: &str) -> MoveEnd {
    MoveEnd::Refused { rule: rule.to_owned(), reason: reason.to_owned() }
}

/// Why a table that was told to stop may turn on.
pub(super) fn unstopped(
    halted: &Result<Moved, TurntableError>,
    adrift: Option<Adrift>,
) -> Option<(&'static str, String)> {
    match halted {
        Ok(Moved::Refused { rule, reason }) => Some((*rule, format!("The table was not stopped: {reason}."))),
        Ok(_) => None,
        Err(error) => Some(words(error, adrift)),
    }
}

pub(super) fn failed(error: &TurntableError, adrift: Option<Adrift>) -> MoveEnd {
    let (rule, reason) = words(error, adrift);
    MoveEnd::Failed { rule, reason }
}

fn words(error: &TurntableError, adrift: Option<Adrift>) -> (&'static str, String) {
    let (rule, advice) = match error {
        TurntableError::Refused { rule, .. } => (*rule, "Nothing was moved.".to_owned()),
        TurntableError::Config { .. } => ("motion-config", "Correct the configuration.".to_owned()),
        TurntableError::Unavailable { .. } => ("motion-missing", "It is tried again by itself.".to_owned()),
        TurntableError::WrongDevice { .. } => (
            "motion-wrong-device",
            "Nothing was moved. Plug the right table in, or correct [rig.turntable].".to_owned(),
        ),
        TurntableError::Fault { .. } => {
            ("motion-fault", "Look at the table and its controller, then find zero.".to_owned())
        }
        TurntableError::LinkLost { .. } => ("motion-link-lost", Adrift::words(adrift)),
        TurntableError::NoReply { .. } => ("motion-no-reply", Adrift::unanswered(adrift).to_owned()),
        TurntableError::Jammed { .. } => {
            ("motion-jammed", "Check that nothing blocks the table, then find zero.".to_owned())
        }
    };
    (rule, format!("{error}. {advice}"))
}
