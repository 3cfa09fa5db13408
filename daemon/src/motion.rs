//! The motion task: the only place that moves a motor.
//!
//! Moves come in by a bounded channel, one at a time. Stop is a latched state, not a message: it halts the table at
//! once, whatever waits in the channel, and everything is refused until a person releases it. A real table turns only
//! while it is armed, its first motion is announced, and one that would turn on without its link is never asked for
//! more than a bounded way. A lost link is opened again, and the first command after opening is a stop.

mod adrift;
mod mover;
mod way;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use turnstage_drivers::turntable::mounted::{Mount, Mounted};
use turnstage_drivers::turntable::{self, Sighting, TurntableInfo};
use turnstage_drivers::{DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};

use crate::arming::{Armed, Arming};
use crate::command::Refusal;
use adrift::UnderWay;
use mover::{Request, failed, refused, unstopped};

pub use adrift::Adrift;
pub use mover::{Motion, Move, MoveEnd, Mover};

/// How a table is driven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drive {
    /// Degrees from which an angle is approached forward.
    pub approach_deg: f64,
    /// Until a lost link is tried again; twice as long after each time that it was not there.
    pub reopen: Duration,
    /// A motion after a while of standing still is announced so long before.
    pub announce: Duration,
    /// Most degrees in one command to a table that would turn on without its link.
    pub unattended_deg_max: f64,
    /// How the table is mounted.
    pub mount: Mount,
}

/// How the table is opened and driven.
pub struct MotionTask {
    options: Option<DeviceOptions>,
    around: Surroundings,
    drive: Drive,
    arming: Arming,
    requests: mpsc::Receiver<Request>,
    stop: watch::Receiver<bool>,
    state: watch::Sender<Motion>,
    seen: watch::Sender<Option<Sighting>>,
    table: Option<Box<dyn Turntable>>,
    /// When the last motion of the run at hand ended.
    stood: Option<Instant>,
    /// How far the table's cable was wound up when it was last heard of: opening it anew unwinds nothing.
    wound_deg: Option<f64>,
    /// Openings that failed in a row.
    failures: u32,
    /// The last look at the idle table found it silent or at fault.
    is_ill: bool,
}

/// How often an idle table is asked whether it is still there, and the task shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// Standing still for longer than this, a table surprises whoever came near: the next motion is announced.
const QUIET: Duration = Duration::from_secs(30);
/// Longest wait between two tries to open.
const REOPEN_MAX: Duration = Duration::from_secs(30);

impl MotionTask {
    /// The task, to be run, and the station's end of it.
    pub fn new(
        options: Option<DeviceOptions>,
        around: Surroundings,
        drive: Drive,
        arming: Arming,
    ) -> (Self, Mover) {
        let (request_sender, requests) = mpsc::channel(4);
        let (stop_sender, stop) = watch::channel(false);
        let (seen, sightings) = watch::channel(None);
        let (state, state_receiver) = watch::channel(Motion {
            present: options.is_some(),
            position: Position::Unknown,
            tilt_deg: None,
            moving: false,
            announced: false,
            armed: arming.state(),
            reckoned_deg: None,
            adrift: None,
            unstopped: None,
            stopped: false,
            fault: None,
            info: None,
            alive: Instant::now(),
        });
        let mover = Mover {
            requests: request_sender,
            stop: stop_sender,
            halts: Arc::default(),
            state: state_receiver,
            sightings,
            arming: arming.clone(),
        };
        let (table, stood, wound_deg, failures, is_ill) = (None, None, None, 0, false);
        let task = Self {
            options,
            around,
            drive,
            arming,
            requests,
            stop,
            state,
            seen,
            table,
            stood,
            wound_deg,
            failures,
            is_ill,
        };
        (task, mover)
    }

    /// Opens the table, stops it and tells what it is; for a technician, while no task owns it.
    pub async fn probe(
        options: &DeviceOptions,
        around: &Surroundings,
    ) -> Result<TurntableInfo, TurntableError> {
        let mut table = turntable::open(options, around).await?;
        table.stop().await?;
        Ok(table.info().clone())
    }

    /// Serves until `cancel`; the last command is a stop.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut arming = self.arming.watch();
        // Before anything is asked: a table that is there is found by the first request.
        cancel.run_until_cancelled(self.reopen()).await;
        let mut again = Instant::now() + self.patience();
        loop {
            let armed_until = self.arming.until();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                changed = self.stop.changed() => match changed {
                    Ok(()) => self.latch().await,
                    Err(_) => break,
                },
                Ok(()) = arming.changed() => {
                    // Whoever arms it anew may be somebody else.
                    self.stood = self.stood.filter(|_| self.arming.until().is_some());
                    self.publish(|_| {});
                }
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => break,
                },
                () = tokio::time::sleep_until(again), if self.options.is_some() && self.table.is_none() => {
                    cancel.run_until_cancelled(self.reopen()).await;
                    again = Instant::now() + self.patience();
                }
                () = tokio::time::sleep_until(armed_until.unwrap_or(again)), if armed_until.is_some() => {
                    self.arming.disarm();
                }
                _ = beat.tick() => self.beat().await,
            }
        }
        if let Some(table) = self.table.as_mut()
            && let Err(e) = awake(&self.state, table.stop()).await
        {
            tracing::warn!(error = %e, "the last stop did not reach the table");
        }
    }

    fn patience(&self) -> Duration {
        self.drive.reopen.saturating_mul(1 << self.failures.min(16)).min(REOPEN_MAX.max(self.drive.reopen))
    }

    async fn reopen(&mut self) {
        let Some(options) = &self.options else { return };
        match awake(&self.state, open(options, &self.around, self.drive.mount, self.wound_deg)).await {
            Ok(table) => {
                let info = table.info().clone();
                self.table = Some(table);
                self.failures = 0;
                self.publish(|state| {
                    state.fault = None;
                    (state.adrift, state.unstopped) = (None, None);
                    state.info = Some(info);
                });
            }
            Err(e) => {
                self.failures = self.failures.saturating_add(1);
                self.publish(|state| state.fault = Some(e.to_string()));
            }
        }
    }

    /// Looks whether an idle table is still there.
    async fn beat(&mut self) {
        if *self.stop.borrow() && self.state.borrow().unstopped.is_some() {
            // A stop may be sent as often as it takes.
            return self.latch().await;
        }
        let Some(table) = self.table.as_mut() else { return self.publish(|_| {}) };
        match awake(&self.state, table.heartbeat()).await {
            Ok(()) => {
                let was_ill = std::mem::take(&mut self.is_ill);
                self.publish(|state| state.fault = state.fault.take().filter(|_| !was_ill));
            }
            Err(e) => {
                self.is_ill = true;
                if matches!(e, TurntableError::LinkLost { .. }) {
                    self.lost();
                }
                self.publish(|state| state.fault = Some(e.to_string()));
            }
        }
    }

    /// The link is gone: whoever comes next must look at the table first.
    fn lost(&mut self) {
        (self.table, self.stood) = (None, None);
        self.arming.disarm();
        self.publish(|state| {
            state.info = None;
            (state.position, state.reckoned_deg) = (Position::Unknown, None);
            state.tilt_deg = None;
        });
    }

    /// The stop line was touched while nothing was under way: pulled, released for a run that begins, or to have the
    /// next motion announced.
    async fn latch(&mut self) {
        self.stood = None;
        let pulled = *self.stop.borrow_and_update();
        let halted = match self.table.as_mut().filter(|_| pulled) {
            Some(table) => Some(awake(&self.state, table.stop()).await),
            None => None,
        };
        if matches!(halted, Some(Err(TurntableError::LinkLost { .. }))) {
            self.lost();
        }
        let unstopped = halted.as_ref().and_then(|halted| unstopped(halted, None));
        self.publish(|state| {
            let told = state.unstopped.as_ref().map(|(_, told)| told);
            // What was wrong because of a stop is right again with the next one.
            state.fault = match &unstopped {
                Some((_, reason)) => Some(reason.clone()),
                None => state.fault.take().filter(|fault| Some(fault) != told),
            };
            state.unstopped = unstopped;
        });
    }

    async fn serve(&mut self, request: Request) {
        // A run that begins touches the stop line before it asks for its first motion.
        if self.stop.has_changed().unwrap_or(false) {
            self.latch().await;
        }
        let end = match self.admit(request.what).await {
            Ok(()) => self.perform(request.what, &request.halt).await,
            Err(end) => end,
        };
        // The asker may have given up waiting; the end is in the state all the same.
        drop(request.end.send(end));
    }

    /// Lets a motion begin, announced where it must be; `Err` is its end.
    async fn admit(&mut self, what: Move) -> Result<(), MoveEnd> {
        if *self.stop.borrow() {
            return Err(refused(
                "motion-stopped",
                "Stop is latched. Look at the table, then continue at the rig.",
            ));
        }
        if self.options.is_none() {
            return Err(refused(
                "motion-none",
                "This rig has no turntable. Use a recipe with motion = \"none\".",
            ));
        }
        if self.table.is_none() {
            let fault = self.state.borrow().fault.clone().unwrap_or_default();
            return Err(refused(
                "motion-missing",
                &format!("The table is not there: {fault}. It is tried again by itself."),
            ));
        }
        self.armed()?;
        if !self.announce(what).await {
            return Err(MoveEnd::Stopped);
        }
        // Arming may have ended in the seconds that it was announced.
        self.armed()
    }

    fn armed(&self) -> Result<(), MoveEnd> {
        let refused = |refusal: Refusal| MoveEnd::Refused { rule: refusal.rule, reason: refusal.reason };
        self.arming.check().map_err(refused)
    }

    /// Tells whoever stands there that the table is about to turn; `false` when it was stopped meanwhile. A simulated
    /// table surprises nobody, nor does one that stays where it is.
    async fn announce(&mut self, what: Move) -> bool {
        let recent = self.stood.is_some_and(|stood| stood.elapsed() < QUIET);
        let turns = self.table.as_deref().is_some_and(|table| way::turns(table, what, &self.drive));
        if recent || !turns || self.arming.state() == Armed::ByItself {
            return true;
        }
        self.publish(|state| state.announced = true);
        let mut stop = self.stop.clone();
        let until = Instant::now() + self.drive.announce;
        let mut beat = tokio::time::interval(BEAT);
        let goes_on = loop {
            tokio::select! {
                biased;
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    break false;
                }
                () = tokio::time::sleep_until(until) => break true,
                _ = beat.tick() => alive(&self.state),
            }
        };
        self.publish(|state| state.announced = false);
        goes_on
    }

    async fn perform(&mut self, what: Move, halt: &CancellationToken) -> MoveEnd {
        let Some(mut table) = self.table.take() else {
            return refused("motion-missing", "The table is not there.");
        };
        self.publish(|state| state.moving = true);
        let turns = way::turns(table.as_ref(), what, &self.drive);
        let began = Instant::now();
        let mut under_way = UnderWay::at_first(what, table.info(), self.state.borrow().tilt_deg);
        let outcome = self.carry_out(table.as_mut(), what, halt, &mut under_way).await;
        let adrift = Adrift::of(under_way, table.info().without_link);
        let mut end = match outcome {
            Some(Ok(Moved::Done(at))) => MoveEnd::Arrived { at, took: began.elapsed() },
            Some(Ok(Moved::Refused { rule, reason })) => refused(rule, &reason),
            Some(Ok(Moved::StoppedAt(_))) | None => MoveEnd::Stopped,
            Some(Ok(Moved::OutcomeUnknown)) => MoveEnd::Failed {
                rule: "motion-outcome-unknown",
                reason: "It is not known whether the table moved. Clear it, then find zero.".to_owned(),
            },
            Some(Err(e)) => failed(&e, adrift),
        };
        let halted = match end {
            MoveEnd::Arrived { .. } | MoveEnd::Refused { .. } => None,
            // Every way out of a move but its proper end stops the motor.
            MoveEnd::Stopped | MoveEnd::Failed { .. } => Some(awake(&self.state, table.stop()).await),
        };
        let info = table.info().clone();
        let lost = matches!(halted, Some(Err(TurntableError::LinkLost { .. })));
        let unstopped = halted.as_ref().and_then(|halted| unstopped(halted, adrift));
        end = match (end, &unstopped, &halted) {
            // Why it failed is known already, and the stop adds to it.
            (MoveEnd::Failed { rule, reason }, Some((_, told)), Some(Ok(_))) => {
                MoveEnd::Failed { rule, reason: format!("{reason} {told}") }
            }
            // A stop that did not reach the table, or that it refused, is no stop.
            (_, Some((rule, told)), _) => MoveEnd::Failed { rule, reason: told.clone() },
            (end, None, _) => end,
        };
        self.wound_deg = table.winding().map(|winding| winding.deg);
        if turns {
            self.stood = Some(Instant::now());
        }
        if lost {
            self.lost();
        } else {
            self.table = Some(table);
            match end {
                // It was stopped for a reason that somebody at the rig must look at.
                MoveEnd::Failed { .. } => self.arming.disarm(),
                _ => self.arming.renew(),
            }
        }
        self.publish(|state| {
            state.moving = false;
            state.info = (!lost).then_some(info);
            state.adrift = adrift.filter(|_| lost);
            state.unstopped = unstopped;
            state.tilt_deg = match (what, &end) {
                (Move::Tilt(deg), MoveEnd::Arrived { .. }) => Some(deg),
                (Move::Tilt(_), _) => None,
                (_, MoveEnd::Failed { .. }) => None,
                _ => state.tilt_deg,
            };
            state.fault = match &end {
                MoveEnd::Failed { reason, .. } => Some(reason.clone()),
                _ => None,
            };
        });
        end
    }

    /// Drives every leg; `None` when the stop line was pulled, or nobody wants it any more. `under_way` is what the last leg
    /// asked for.
    async fn carry_out(
        &mut self,
        table: &mut dyn Turntable,
        what: Move,
        halt: &CancellationToken,
        under_way: &mut UnderWay,
    ) -> Option<Result<Moved, TurntableError>> {
        let mut stop = self.stop.clone();
        let state = &self.state;
        let drive = way::drive(table, what, &self.drive, &self.seen, under_way);
        tokio::pin!(drive);
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                biased;
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    return None;
                }
                moved = &mut drive => return Some(moved),
                () = halt.cancelled() => return None,
                _ = beat.tick() => alive(state),
            }
        }
    }

    fn publish(&self, change: impl FnOnce(&mut Motion)) {
        let stopped = *self.stop.borrow();
        let position = self.table.as_ref().map(|table| (table.position(), table.reckoned_deg()));
        self.state.send_if_modified(|state| {
            let before = state.clone();
            state.stopped = stopped;
            state.armed = self.arming.state();
            (state.position, state.reckoned_deg) = position.unwrap_or((state.position, state.reckoned_deg));
            change(state);
            let news = *state != before;
            state.alive = Instant::now();
            news
        });
    }
}

/// Opens a table and lays its mount over it; the first command is a stop.
async fn open(
    options: &DeviceOptions,
    around: &Surroundings,
    mount: Mount,
    wound_deg: Option<f64>,
) -> Result<Box<dyn Turntable>, TurntableError> {
    let table = turntable::open(options, around).await?;
    let mut table: Box<dyn Turntable> =
        if mount == Mount::default() { table } else { Box::new(Mounted::new(table, mount).wound(wound_deg)) };
    table.stop().await?;
    Ok(table)
}

/// Waits for a table, which may take a minute to come to rest, and shows meanwhile that the task is alive.
async fn awake<T>(state: &watch::Sender<Motion>, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = beat.tick() => alive(state),
        }
    }
}

/// Shows that the task is alive, which is news to nobody.
fn alive(state: &watch::Sender<Motion>) {
    state.send_if_modified(|state| {
        state.alive = Instant::now();
        false
    });
}

#[cfg(test)]
mod tests;
