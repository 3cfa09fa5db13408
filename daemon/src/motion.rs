//! The motion task: the only place that moves a motor.
//!
//! Moves come in by a bounded channel, one at a time. Stop is a latched state, not a message: it halts the table at
//! once, whatever waits in the channel, and everything is refused until a person releases it. A lost link is opened
//! again, and the first command after opening is a stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use turnstage_drivers::turntable::{self, Direction, Reference, Target, TurntableInfo};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};

/// What may be asked of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    /// Find zero.
    Reference(Reference),
    /// Stand at this angle, approached forward.
    To(Angle),
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
    /// It is under way to this angle, or to its zero.
    pub moving: bool,
    /// Stop is latched.
    pub stopped: bool,
    /// Why it cannot be used, if so.
    pub fault: Option<String>,
    /// What table it is.
    pub info: Option<TurntableInfo>,
    /// When the task last looked up from its work.
    pub alive: Instant,
}

struct Request {
    what: Move,
    end: oneshot::Sender<MoveEnd>,
}

/// The station's end.
#[derive(Debug, Clone)]
pub struct Mover {
    requests: mpsc::Sender<Request>,
    stop: watch::Sender<bool>,
    halts: Arc<Halts>,
    state: watch::Receiver<Motion>,
}

/// Why the stop line is pulled; it is while one of these is. Changed under the line's own lock only.
#[derive(Debug, Default)]
struct Halts {
    /// Until a person releases it.
    latched: AtomicBool,
    /// While a stop button is in, a door is open, or nobody knows.
    held: AtomicBool,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.what.fmt(f)
    }
}

impl Mover {
    /// Asks for a move and waits for its end.
    pub async fn go(&self, what: Move) -> MoveEnd {
        let gone = || MoveEnd::Failed {
            rule: "motion-gone",
            reason: "The motion task has ended. Restart the service.".to_owned(),
        };
        let (end, wait) = oneshot::channel();
        match self.requests.send(Request { what, end }).await {
            Ok(()) => wait.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }

    /// Halts the table now and keeps it halted. Does not wait.
    pub fn stop(&self) {
        self.pull(|halts| halts.latched.store(true, Ordering::Relaxed));
    }

    /// Allows motion again; the act of a person at the rig. Nothing moves as long as the table is held.
    pub fn release(&self) {
        self.pull(|halts| halts.latched.store(false, Ordering::Relaxed));
    }

    /// Halts the table now and keeps it halted as long as `held`, whatever is released. Does not wait.
    pub fn hold(&self, held: bool) {
        self.pull(|halts| halts.held.store(held, Ordering::Relaxed));
    }

    fn pull(&self, change: impl FnOnce(&Halts)) {
        self.stop.send_modify(|stop| {
            change(&self.halts);
            *stop = self.halts.latched.load(Ordering::Relaxed) || self.halts.held.load(Ordering::Relaxed);
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

/// How the table is opened and driven.
pub struct MotionTask {
    options: Option<DeviceOptions>,
    around: Surroundings,
    approach_deg: f64,
    reopen: Duration,
    requests: mpsc::Receiver<Request>,
    stop: watch::Receiver<bool>,
    state: watch::Sender<Motion>,
    table: Option<Box<dyn Turntable>>,
}

/// How often the task shows that it is alive while a move is under way.
const BEAT: Duration = Duration::from_secs(2);

impl MotionTask {
    /// The task, to be run, and the station's end of it.
    pub fn new(
        options: Option<DeviceOptions>,
        around: Surroundings,
        approach_deg: f64,
        reopen: Duration,
    ) -> (Self, Mover) {
        let (request_sender, requests) = mpsc::channel(4);
        let (stop_sender, stop) = watch::channel(false);
        let (state, state_receiver) = watch::channel(Motion {
            present: options.is_some(),
            position: Position::Unknown,
            moving: false,
            stopped: false,
            fault: None,
            info: None,
            alive: Instant::now(),
        });
        let halts = Arc::default();
        let mover = Mover { requests: request_sender, stop: stop_sender, halts, state: state_receiver };
        (Self { options, around, approach_deg, reopen, requests, stop, state, table: None }, mover)
    }

    /// Opens the table, stops it and tells its model; for a technician, while no task owns it.
    pub async fn probe(options: &DeviceOptions, around: &Surroundings) -> Result<String, TurntableError> {
        let mut table = turntable::open(options, around).await?;
        table.stop().await?;
        Ok(table.info().model.clone())
    }

    /// Serves until `cancel`; the last command is a stop.
    pub async fn run(mut self, cancel: CancellationToken) {
        self.reopen().await;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = tokio::time::interval(self.reopen);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                changed = self.stop.changed() => match changed {
                    Ok(()) => self.latch().await,
                    Err(_) => break,
                },
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => break,
                },
                _ = again.tick(), if self.options.is_some() && self.table.is_none() => self.reopen().await,
                _ = beat.tick() => self.publish(|_| {}),
            }
        }
        if let Some(table) = self.table.as_mut()
            && let Err(e) = table.stop().await
        {
            tracing::warn!(error = %e, "the last stop did not reach the table");
        }
    }

    async fn reopen(&mut self) {
        let Some(options) = &self.options else { return };
        match turntable::open(options, &self.around).await {
            Ok(mut table) => match table.stop().await {
                Ok(_) => {
                    let info = table.info().clone();
                    self.table = Some(table);
                    self.publish(|state| {
                        state.fault = None;
                        state.info = Some(info);
                    });
                }
                Err(e) => self.publish(|state| state.fault = Some(e.to_string())),
            },
            Err(e) => self.publish(|state| state.fault = Some(e.to_string())),
        }
    }

    /// The stop line changed while nothing was under way.
    async fn latch(&mut self) {
        if *self.stop.borrow_and_update()
            && let Some(table) = self.table.as_mut()
            && let Err(e) = table.stop().await
        {
            let reason = e.to_string();
            self.publish(|state| state.fault = Some(reason));
        }
        self.publish(|_| {});
    }

    async fn serve(&mut self, request: Request) {
        let end = if *self.stop.borrow() {
            refused("motion-stopped", "Stop is latched. Look at the table, then continue at the rig.")
        } else if self.options.is_none() {
            refused("motion-none", "This rig has no turntable. Use a recipe with motion = \"none\".")
        } else if self.table.is_none() {
            let fault = self.state.borrow().fault.clone().unwrap_or_default();
            refused(
                "motion-missing",
                &format!("The table is not there: {fault}. It is tried again by itself."),
            )
        } else {
            self.perform(request.what).await
        };
        // The asker may have given up waiting; the end is in the state all the same.
        drop(request.end.send(end));
    }

    async fn perform(&mut self, what: Move) -> MoveEnd {
        let Some(mut table) = self.table.take() else {
            return refused("motion-missing", "The table is not there.");
        };
        self.publish(|state| state.moving = true);
        let began = Instant::now();
        let outcome = self.carry_out(table.as_mut(), what).await;
        let mut end = match outcome {
            Some(Ok(Moved::Done(at))) => MoveEnd::Arrived { at, took: began.elapsed() },
            Some(Ok(Moved::Refused { rule, reason })) => refused(rule, &reason),
            Some(Ok(Moved::StoppedAt(_))) | None => MoveEnd::Stopped,
            Some(Ok(Moved::OutcomeUnknown)) => MoveEnd::Failed {
                rule: "motion-outcome-unknown",
                reason: "It is not known whether the table moved. Clear it, then find zero.".to_owned(),
            },
            Some(Err(e)) => failed(&e),
        };
        let halted = match end {
            MoveEnd::Arrived { .. } | MoveEnd::Refused { .. } => Ok(Moved::Done(Angle::default())),
            // Every way out of a move but its proper end stops the motor.
            MoveEnd::Stopped | MoveEnd::Failed { .. } => table.stop().await,
        };
        let position = table.position();
        let info = table.info().clone();
        let lost = matches!(halted, Err(TurntableError::LinkLost { .. }));
        if let Err(e) = &halted {
            // A stop that did not reach the table is no stop.
            end = failed(e);
        }
        if !lost {
            self.table = Some(table);
        }
        self.publish(|state| {
            state.moving = false;
            state.info = (!lost).then_some(info);
            state.position = if lost { Position::Unknown } else { position };
            state.fault = match &end {
                MoveEnd::Failed { reason, .. } => Some(reason.clone()),
                _ => None,
            };
        });
        end
    }

    /// Drives every leg; `None` when the stop line was pulled.
    async fn carry_out(
        &mut self,
        table: &mut dyn Turntable,
        what: Move,
    ) -> Option<Result<Moved, TurntableError>> {
        let mut stop = self.stop.clone();
        let state = &self.state;
        let drive = async {
            match what {
                Move::Reference(how) => table.reference(how).await,
                Move::To(angle) => {
                    let mut last = Moved::Done(angle);
                    for leg in legs(table.position(), angle, self.approach_deg) {
                        last = table.move_to(leg).await?;
                        if !matches!(last, Moved::Done(_)) {
                            break;
                        }
                    }
                    Ok(last)
                }
            }
        };
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
                _ = beat.tick() => {
                    state.send_if_modified(|state| {
                        state.alive = Instant::now();
                        false
                    });
                }
            }
        }
    }

    fn publish(&self, change: impl FnOnce(&mut Motion)) {
        let stopped = *self.stop.borrow();
        let position = self.table.as_ref().map(|table| table.position());
        self.state.send_if_modified(|state| {
            let before = state.clone();
            state.stopped = stopped;
            state.position = position.unwrap_or(state.position);
            change(state);
            let news = *state != before;
            state.alive = Instant::now();
            news
        });
    }
}

fn refused(rule: &str, reason: &str) -> MoveEnd {
    MoveEnd::Refused { rule: rule.to_owned(), reason: reason.to_owned() }
}

fn failed(error: &TurntableError) -> MoveEnd {
    let (rule, advice) = match error {
        TurntableError::Config { .. } => ("motion-config", "Correct the configuration."),
        TurntableError::Unavailable { .. } => ("motion-missing", "It is tried again by itself."),
        TurntableError::WrongDevice { .. } => {
            ("motion-wrong-device", "Nothing was moved. Plug the right table in, or correct [rig.turntable].")
        }
        TurntableError::Fault { .. } => {
            ("motion-fault", "Look at the table and its controller, then find zero.")
        }
        TurntableError::LinkLost { .. } => (
            "motion-link-lost",
            "It may still turn to the end of this move: keep clear. Check its cable, then continue.",
        ),
        TurntableError::NoReply { .. } => ("motion-no-reply", "A stop was sent. Check that it stands still."),
        TurntableError::Jammed { .. } => {
            ("motion-jammed", "Check that nothing blocks the table, then find zero.")
        }
    };
    MoveEnd::Failed { rule, reason: format!("{error}. {advice}") }
}

/// The way to `to`, always ending in the forward direction over at least `approach_deg`, so that backlash lies on
/// the same side for every frame. Short ways ahead go straight; far ones go back past the target first.
fn legs(from: Position, to: Angle, approach_deg: f64) -> Vec<Target> {
    let forward = Target { angle: to, direction: Direction::Forward };
    let Position::Known(from, _) = from else {
        return vec![forward];
    };
    let ahead = from.forward_to(to);
    let behind = 360.0 - ahead;
    if ahead == 0.0 {
        Vec::new()
    } else if ahead <= behind + 2.0 * approach_deg {
        vec![forward]
    } else {
        let before = Angle::new(to.deg() - approach_deg);
        vec![Target { angle: before, direction: Direction::Backward }, forward]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_drivers::turntable::Source;

    fn way(from: f64, to: f64) -> Vec<(f64, Direction)> {
        let from = Position::Known(Angle::new(from), Source::Home);
        legs(from, Angle::new(to), 5.0).iter().map(|t| (t.angle.deg(), t.direction)).collect()
    }

    #[test]
    fn every_way_ends_forward_and_none_goes_the_long_way_round() {
        assert_eq!(way(0.0, 10.0), [(10.0, Direction::Forward)]);
        assert_eq!(way(350.0, 0.0), [(0.0, Direction::Forward)]);
        assert_eq!(way(350.0, 170.0), [(170.0, Direction::Forward)]);
        assert_eq!(way(100.0, 40.0), [(35.0, Direction::Backward), (40.0, Direction::Forward)]);
        assert_eq!(way(40.0, 40.0), []);
    }

    fn table(keys: &str) -> (MotionTask, Mover, turnstage_drivers::sim::Booth) {
        let booth = turnstage_drivers::sim::Booth::new(Default::default()).unwrap();
        let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
        let options = toml::from_str(&format!("driver = \"sim\"\n{keys}")).unwrap();
        let (task, mover) = MotionTask::new(Some(options), around, 5.0, Duration::from_secs(1));
        (task, mover, booth)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_halts_the_table_in_mid_move_and_holds_it_until_released() {
        let (task, mover, booth) = table("speed_deg_s = 10.0");
        let cancel = CancellationToken::new();
        let running = tokio::spawn(task.run(cancel.clone()));
        assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));

        let moving = tokio::spawn({
            let mover = mover.clone();
            async move { mover.go(Move::To(Angle::new(170.0))).await }
        });
        mover.watch().wait_for(|state| state.moving).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        mover.stop();
        assert_eq!(moving.await.unwrap(), MoveEnd::Stopped);
        assert!(!booth.is_moving());
        assert!(matches!(mover.state().position, Position::Estimated(_)));

        let refusal = mover.go(Move::To(Angle::new(10.0))).await;
        assert!(matches!(&refusal, MoveEnd::Refused { rule, .. } if rule == "motion-stopped"), "{refusal:?}");
        mover.release();
        assert!(matches!(mover.go(Move::Reference(Reference::Home)).await, MoveEnd::Arrived { .. }));
        cancel.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_table_stays_halted_whatever_is_released() {
        let (task, mover, _booth) = table("");
        let cancel = CancellationToken::new();
        let running = tokio::spawn(task.run(cancel.clone()));
        let home = || mover.go(Move::Reference(Reference::Home));
        mover.hold(true);
        mover.release();
        assert!(matches!(home().await, MoveEnd::Refused { rule, .. } if rule == "motion-stopped"));
        mover.stop();
        mover.hold(false);
        assert!(matches!(home().await, MoveEnd::Refused { .. }), "a stop stays until it is released");
        mover.release();
        assert!(matches!(home().await, MoveEnd::Arrived { .. }));
        cancel.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreferenced_table_does_not_go_to_an_angle() {
        let (task, mover, _booth) = table("");
        let cancel = CancellationToken::new();
        let running = tokio::spawn(task.run(cancel.clone()));
        assert!(matches!(mover.go(Move::To(Angle::new(10.0))).await, MoveEnd::Refused { .. }));
        cancel.cancel();
        running.await.unwrap();
    }
}
