//! How a motion is sent, waited for and halted. Nothing is ever sent twice.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::line::{Axes, Line, State, Status};
use super::{Axis, Grbl, HALTED, LOCKED, MOVED_BY_OTHERS, Pending, RESTARTED, refused, words};
use crate::turntable::{DegPerS, Moved, Position, Sighting, TurntableError};

pub(super) const HOLD: u8 = b'!';
const RESET: u8 = 0x18;
/// A controller at work answers a `?` within this, or it has died.
const SILENCE: Duration = Duration::from_secs(3);
/// It stands idle for this long before a missing `ok` is taken for lost.
const STILL: Duration = Duration::from_secs(2);
/// From a reset to the banner.
const RESTART: Duration = Duration::from_secs(3);
/// A line that is not a motion is taken within this.
const TAKEN: Duration = Duration::from_secs(5);
/// Homing turns slowly, and round once.
pub(super) const HOMING: Duration = Duration::from_secs(180);
/// What has arrived unasked is read within this.
const DRAIN: Duration = Duration::from_millis(1);
/// Heartbeats that may go without an answer: GRBL does not answer every `?`.
const MISSES_MAX: u32 = 3;

/// How a motion that was sent has ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It stands at its target.
    There(Axes),
    /// It stands, but not where it was sent.
    Elsewhere(Axes),
    /// It was not begun, with GRBL's error number.
    NotTaken(u16),
    /// The controller started anew meanwhile.
    Restarted,
}

/// What is known of a motion under way.
struct Course {
    axis: Axis,
    target: f64,
    speed: DegPerS,
    /// Lines that were answered: of two, the second is the dwell behind the motion.
    answers: u32,
    not_taken: Option<u16>,
    /// When the last answer came: only a report that was asked for later counts.
    answered: Instant,
    idle_since: Option<Instant>,
    /// When the last report came.
    heard: Instant,
}

impl Grbl {
    /// Whether a motion may begin now. `Err` is a refusal.
    pub(super) async fn free(
        &mut self,
        tried: &str,
        locked_too: bool,
    ) -> Result<Result<(), Moved>, TurntableError> {
        let busy = |why: &str| Ok(Err(refused("motion-busy", format!("{why}; stop it or wait"))));
        if self.pending.is_some() {
            return busy("an earlier motion was not seen to end");
        }
        let Some(status) = self.fresh(SILENCE, tried).await? else {
            return Err(self.silent(tried, SILENCE));
        };
        match status.state {
            State::Idle => Ok(Ok(())),
            State::Alarm if locked_too => Ok(Ok(())),
            State::Alarm => Err(self.locked(tried)),
            State::Run | State::Jog | State::Home => busy("somebody else moves the table"),
            State::Hold(_) | State::Door => Err(self.fault(HELD.to_owned(), tried)),
            State::Away => {
                Err(self.fault("it sleeps or checks; wake it at the controller".to_owned(), tried))
            }
        }
    }

    /// A report that was asked for now. Whatever was said before is noted first.
    async fn fresh(&mut self, limit: Duration, tried: &str) -> Result<Option<Status>, TurntableError> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            let drained = (Instant::now() + DRAIN).min(until);
            match self.talk.hear(drained).await.map_err(|e| self.error(e, tried))? {
                Some(line) => drop(self.note(line)),
                None => break,
            }
        }
        while Instant::now() < until {
            let heard = self.talk.watch(until).await.map_err(|e| self.error(e, tried))?;
            if let Some(status) = heard.and_then(|line| self.note(line))
                && status.machine.is_some()
            {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }

    /// Books what a line means while nothing is under way; a report is handed on.
    fn note(&mut self, line: Line) -> Option<Status> {
        match line {
            Line::Banner(name) => {
                self.banner = Some(name);
                self.forgets(RESTARTED);
            }
            Line::Alarm(code) => {
                self.alarm = Some(code);
                self.forgets(LOCKED);
            }
            Line::Status(status) => {
                match status.state {
                    State::Alarm => self.forgets(LOCKED),
                    _ => self.alarm = None,
                }
                if let Some(axes) = &status.machine {
                    self.books(axes.clone());
                }
                return Some(status);
            }
            _ => {}
        }
        None
    }

    fn locked(&mut self, tried: &str) -> TurntableError {
        self.pending = None;
        self.forgets(LOCKED);
        self.fault(self.alarm.map_or_else(|| words::LOCKED.to_owned(), words::alarm), tried)
    }

    async fn say(&mut self, line: &str, tried: &str) -> Result<(), TurntableError> {
        self.talk.say(line).await.map_err(|e| self.error(e, tried))
    }

    async fn signal(&mut self, byte: u8, tried: &str) -> Result<(), TurntableError> {
        self.talk.signal(byte).await.map_err(|e| self.error(e, tried))
    }

    /// Drives one axis by `deg` and waits until it stands.
    pub(super) async fn drive(
        &mut self,
        axis: Axis,
        deg: f64,
        speed: DegPerS,
        tried: &str,
        seen: Option<&watch::Sender<Option<Sighting>>>,
    ) -> Result<Ending, TurntableError> {
        let now = Instant::now();
        let target = axis.counted(&self.axes) + deg;
        let limit = axis.limit(deg, speed);
        let mut course = Course {
            axis,
            target,
            speed,
            answers: 0,
            not_taken: None,
            answered: now,
            idle_since: None,
            heard: now,
        };
        self.pending = Some(Pending::Motion);
        self.say(&axis.line(deg, speed), tried).await?;
        // Answered when the motion has ended: the documented way to wait for it.
        self.say("G4 P0.01", tried).await?;
        let until = now + limit;
        loop {
            let silent = course.heard + SILENCE;
            match Instant::now() {
                late if late >= until => return Err(self.silent(tried, limit)),
                late if late >= silent => return Err(self.silent(tried, SILENCE)),
                _ => {}
            }
            let heard = self.talk.watch(until.min(silent)).await.map_err(|e| self.error(e, tried))?;
            let Some(line) = heard else { continue };
            if let Some(ending) = self.follow(&mut course, line, tried, seen).await? {
                self.pending = None;
                return Ok(ending);
            }
        }
    }

    /// What one line says of a motion under way; `Some` when it has ended.
    async fn follow(
        &mut self,
        course: &mut Course,
        line: Line,
        tried: &str,
        seen: Option<&watch::Sender<Option<Sighting>>>,
    ) -> Result<Option<Ending>, TurntableError> {
        let status = match line {
            Line::Ok | Line::Error(_) => {
                if let (Line::Error(code), 0) = (&line, course.answers) {
                    course.not_taken = Some(*code);
                }
                course.answers += 1;
                course.answered = Instant::now();
                let both = course.answers >= 2;
                return Ok(course.not_taken.filter(|_| both).map(Ending::NotTaken));
            }
            Line::Banner(_) => {
                self.note(line);
                return Ok(Some(Ending::Restarted));
            }
            Line::Alarm(code) => {
                self.alarm = Some(code);
                return Err(self.locked(tried));
            }
            Line::Status(status) => status,
            _ => return Ok(None),
        };
        course.heard = Instant::now();
        match status.state {
            State::Alarm => return Err(self.locked(tried)),
            State::Hold(_) | State::Door => return Err(self.fault(HELD.to_owned(), tried)),
            _ => {}
        }
        let Some(axes) = status.machine else { return Ok(None) };
        self.books(axes.clone());
        if let Some(seen) = seen {
            seen.send_replace(Some(self.sighting(course)));
        }
        if status.state != State::Idle {
            course.idle_since = None;
            return Ok(None);
        }
        let there = (course.axis.counted(&axes) - course.target).abs() <= self.tolerance(course.axis);
        let asked = self.talk.window().0;
        if course.answers >= 2 && asked >= course.answered {
            return Ok(Some(if there { Ending::There(axes) } else { Ending::Elsewhere(axes) }));
        }
        let idle_since = *course.idle_since.get_or_insert(course.heard);
        match course.heard.duration_since(idle_since) >= STILL {
            false => Ok(None),
            true if there => self.resume(tried).await.map(Some),
            true => Err(self.silent(tried, STILL)),
        }
    }

    /// An answer was lost, but it stands at its target: a reset at rest voids the answers that are still to come.
    async fn resume(&mut self, tried: &str) -> Result<Ending, TurntableError> {
        tracing::warn!(table = self.info.id, "an answer was lost; the table was read back at its target");
        let (believed, zero, level) = (self.position, self.zero, self.level);
        self.reset(tried).await?;
        let Some(status) = self.fresh(SILENCE, tried).await? else { return Err(self.silent(tried, SILENCE)) };
        if status.state != State::Idle {
            return Err(self.locked(tried));
        }
        (self.position, self.zero, self.level) = (believed, zero, level);
        Ok(Ending::There(self.axes.clone()))
    }

    fn tolerance(&self, axis: Axis) -> f64 {
        self.keys.tolerance_deg.max(axis.step_deg)
    }

    /// Where the table was at the middle of the time in which the report can have been made.
    fn sighting(&self, course: &Course) -> Sighting {
        let (asked, told) = self.talk.window();
        let half = told.duration_since(asked) / 2;
        let error_deg = course.speed * half.as_secs_f64() + course.axis.step_deg;
        Sighting { at: asked + half, deg: self.turned(), error_deg }
    }

    /// Sends a motion and returns when it was taken; it goes on by itself, to its end.
    pub(super) async fn set_off(
        &mut self,
        deg: f64,
        speed: DegPerS,
        tried: &str,
    ) -> Result<(), TurntableError> {
        let until = Instant::now() + TAKEN;
        self.pending = Some(Pending::Motion);
        self.say(&self.turn.line(deg, speed), tried).await?;
        while Instant::now() < until {
            match self.talk.watch(until).await.map_err(|e| self.error(e, tried))? {
                Some(Line::Ok) => return Ok(()),
                Some(Line::Error(code)) => {
                    self.pending = None;
                    return Err(self.fault(words::error(code), tried));
                }
                Some(Line::Alarm(code)) => {
                    self.alarm = Some(code);
                    return Err(self.locked(tried));
                }
                Some(line @ Line::Banner(_)) => {
                    self.note(line);
                    self.pending = None;
                    return Err(self.fault(RESTARTED.to_owned(), tried));
                }
                _ => {}
            }
        }
        Err(self.silent(tried, TAKEN))
    }

    /// Sends `$H` and waits for its end. Reports are not sent meanwhile.
    pub(super) async fn drive_home(&mut self, tried: &str) -> Result<Ending, TurntableError> {
        let until = Instant::now() + HOMING;
        self.pending = Some(Pending::Homing);
        self.say("$H", tried).await?;
        while Instant::now() < until {
            match self.talk.watch(until).await.map_err(|e| self.error(e, tried))? {
                Some(Line::Ok) => {
                    self.pending = None;
                    return match self.fresh(SILENCE, tried).await? {
                        Some(status) if status.state == State::Idle => Ok(Ending::There(self.axes.clone())),
                        Some(status) if status.state == State::Alarm => Err(self.locked(tried)),
                        Some(_) => Err(self.fault("it does not stand after homing".to_owned(), tried)),
                        None => Err(self.silent(tried, SILENCE)),
                    };
                }
                Some(Line::Error(code)) => {
                    self.pending = None;
                    return Ok(Ending::NotTaken(code));
                }
                Some(Line::Alarm(code)) => {
                    self.alarm = Some(code);
                    return Err(self.locked(tried));
                }
                Some(line @ Line::Banner(_)) => {
                    self.note(line);
                    self.pending = None;
                    return Ok(Ending::Restarted);
                }
                _ => {}
            }
        }
        Err(self.silent(tried, HOMING))
    }

    /// Holds, and resets at rest, which keeps the position; resets at once where a hold does not help.
    pub(super) async fn halt(&mut self) -> Result<(), TurntableError> {
        let tried = "stop";
        let pending = self.pending;
        let believed = self.position;
        self.pending = Some(pending.unwrap_or(Pending::Motion));
        if pending == Some(Pending::Homing) {
            return self.emergency(tried).await;
        }
        self.signal(HOLD, tried).await?;
        let held = Instant::now();
        let until = held + Duration::from_secs_f64(self.turn.speed / self.turn.acceleration) + SILENCE;
        let (mut moved, mut idle) = (pending.is_some(), 0);
        loop {
            let heard = self.talk.watch(until).await.map_err(|e| self.error(e, tried))?;
            if heard.is_none() && Instant::now() >= until {
                return self.emergency(tried).await;
            }
            let Some(status) = heard.and_then(|line| self.note(line)) else { continue };
            match status.state {
                State::Hold(true) | State::Door | State::Away => break,
                // Older than the hold, or a controller that does not hold at rest.
                State::Idle if self.talk.window().0 >= held && idle >= 1 => break,
                State::Idle => idle += 1,
                State::Run | State::Jog => (moved, idle) = (true, 0),
                State::Hold(false) => {}
                State::Home => return self.emergency(tried).await,
                State::Alarm => {
                    self.pending = None;
                    return Ok(());
                }
            }
        }
        let (zero, level) = (self.zero, self.level);
        let lost = self.position == Position::Unknown;
        self.reset(tried).await?;
        let Some(status) = self.fresh(SILENCE, tried).await? else { return Err(self.silent(tried, SILENCE)) };
        self.pending = None;
        if status.state == State::Alarm || lost {
            return Ok(());
        }
        (self.position, self.zero, self.level) = (believed, zero, level);
        self.books(self.axes.clone());
        if moved {
            self.doubts(HALTED);
        }
        Ok(())
    }

    /// Resets in motion: the position is lost and the controller locks itself up.
    async fn emergency(&mut self, tried: &str) -> Result<(), TurntableError> {
        self.reset(tried).await?;
        self.fresh(SILENCE, tried).await?;
        self.pending = None;
        self.forgets(HALTED);
        Ok(())
    }

    /// Resets and waits for the banner. What was known is forgotten.
    async fn reset(&mut self, tried: &str) -> Result<(), TurntableError> {
        self.signal(RESET, tried).await?;
        let until = Instant::now() + RESTART;
        while Instant::now() < until {
            let heard = self.talk.hear(until).await.map_err(|e| self.error(e, tried))?;
            let banner = matches!(heard, Some(Line::Banner(_)));
            if let Some(line) = heard {
                self.note(line);
            }
            if banner {
                return Ok(());
            }
        }
        Err(self.silent(tried, RESTART))
    }

    /// Looks whether it still stands where it was left.
    pub(super) async fn beat(&mut self) -> Result<(), TurntableError> {
        let tried = "ask for its state";
        if self.pending.is_some() {
            return Ok(());
        }
        let before = self.turned();
        let referenced = self.zero.is_some();
        match self.fresh(Duration::from_secs(1), tried).await? {
            None => {
                self.misses += 1;
                if self.misses >= MISSES_MAX {
                    self.misses = 0;
                    return Err(self.silent(tried, SILENCE));
                }
                return Ok(());
            }
            Some(status) if status.state == State::Alarm => return Err(self.locked(tried)),
            Some(_) => self.misses = 0,
        }
        if referenced && self.zero.is_some() && (self.turned() - before).abs() > self.tolerance(self.turn) {
            self.doubts(MOVED_BY_OTHERS);
        }
        Ok(())
    }
}

const HELD: &str = "it is held at the controller, or its door is open; stop it here, then look";
