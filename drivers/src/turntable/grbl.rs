//! GRBL 1.1, grblHAL and FluidNC as a rotary axis: `driver = "grbl"`.
//!
//! `ok` says that a line was taken, not that its motion has ended, and one `<Idle>` may be older than the motion. A
//! move has ended when a dwell behind it was taken too and a later `<Idle>` stands at the target (`grbl/motion.rs`). A
//! normal stop is a hold and, at rest, a reset, which keeps the position; a reset in motion loses it and locks the
//! controller. The lock is a person's to open: nothing here ever sends `$X`, and no setting is ever written.

mod keys;
mod line;
mod motion;
mod probe;
mod talk;
mod words;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::keys::Keys;
use self::line::Axes;
use self::motion::Ending;
use self::talk::Talk;
use super::{
    DegPerS, Direction, Driver, Moved, Opened, Position, Reference, Sighting, Source, Speaker, Target,
    Turntable, TurntableError, TurntableInfo, Winding, candidates,
};
use crate::frame::Angle;
use crate::link::{Link, LinkError, LinkKeys, Wire, serial};
use crate::{DeviceOptions, Listing};

/// `driver = "grbl"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "GRBL 1.1, grblHAL or FluidNC with a rotary axis, on a serial port or over TCP",
    check,
    open: |options, _| Box::pin(open(options)),
    list: || Box::pin(async { list(serial::ports()) }),
};

/// The same on a link that is open already.
pub const SPEAKER: Speaker = Speaker { name: NAME, begin: |options, link| Box::pin(begin(options, link)) };

const NAME: &str = "grbl";
/// A target nearer than this is where the table stands: reports have three decimals.
const RESOLUTION_DEG: f64 = 1e-3;
/// A sweep turns no further in one command.
const SWEEP_DEG_MAX: f64 = 1080.0;
/// Slower it is not asked to turn.
const SLOWEST_DEG_S: f64 = 0.01;
/// What one `rotate` turns at most: GRBL has no dead man, so nothing turns without end.
const ROTATE_DEG: f64 = 360.0;

fn check(options: &DeviceOptions) -> Result<(), String> {
    let (_, own) = LinkKeys::take(options)?;
    Keys::read(&own).map(drop)
}

fn list(ports: Vec<serial::Port>) -> Vec<Listing> {
    candidates(NAME, ports, "a GRBL controller; identity is checked before anything moves")
}

async fn open(options: &DeviceOptions) -> Opened {
    let (link, own) = LinkKeys::take(options).map_err(wrong)?;
    Keys::read(&own).map_err(wrong)?;
    // The banner that a board says at its start is wanted, so the link itself does not wait for silence.
    let open = link.open(&Wire::default()).await.map_err(|e| e.while_trying(link.name(), "open it"))?;
    begin(&own, open).await
}

async fn begin(options: &DeviceOptions, link: Box<dyn Link>) -> Opened {
    probe::open(link, Keys::read(options).map_err(wrong)?).await
}

fn wrong(what: String) -> TurntableError {
    TurntableError::Config { driver: NAME.to_owned(), what }
}

/// One axis of the controller.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// In the order of [`line::AXES`].
    index: usize,
    /// 1, or -1 where the controller counts clockwise.
    sign: f64,
    /// Degrees a second.
    speed: f64,
    /// Degrees per second squared.
    acceleration: f64,
    /// As near as it can stand.
    step_deg: f64,
}

impl Axis {
    /// Degrees forward from the controller's own zero.
    fn counted(&self, axes: &[f64]) -> f64 {
        axes.get(self.index).map_or(f64::NAN, |at| at * self.sign)
    }

    /// The line that turns it by `deg`, with every word that it needs: none is left over from another line.
    fn line(&self, deg: f64, speed: DegPerS) -> String {
        let letter = line::AXES[self.index].to_ascii_uppercase();
        format!("G21 G91 G94 G1 {letter}{:.3} F{:.1}", deg * self.sign, (speed * 60.0).max(0.1))
    }

    /// How long a travel may take: half as much again as it should, and a while for the conversation.
    fn limit(&self, deg: f64, speed: f64) -> Duration {
        let seconds = deg.abs() / speed + speed / self.acceleration;
        Duration::from_secs_f64((1.5 * seconds + 5.0).min(1e6))
    }
}

/// A line whose end was not seen: its future was dropped, or it is still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Motion,
    /// Homing hears nothing but a reset.
    Homing,
}

struct Grbl {
    talk: Talk,
    keys: Keys,
    info: TurntableInfo,
    turn: Axis,
    tilt: Option<Axis>,
    /// What the turning axis has counted where the angle is zero, and why that is believed.
    zero: Option<(f64, Source)>,
    /// Most degrees that homing turns, found or not.
    home_deg: f64,
    /// What the turning axis has counted where its cable is not wound up; declaring an angle does not change it.
    slack: Option<f64>,
    /// Degrees that were wound up when the controller last lost its count.
    wound: Option<f64>,
    /// What the tilting axis has counted where the platter is level.
    level: Option<f64>,
    /// Machine position when it was last heard of.
    axes: Axes,
    position: Position,
    pending: Option<Pending>,
    /// Why the position is not known, for the person who has to find zero.
    doubt: &'static str,
    /// Number of the alarm that was told last.
    alarm: Option<u16>,
    /// How the controller called itself when it last started.
    banner: Option<String>,
    /// Heartbeats without an answer, one after the other.
    misses: u32,
}

const NEVER: &str = "the position is not known";
const RESTARTED: &str = "the controller started anew and has lost its position";
const LOCKED: &str = "the controller was locked by an alarm";
const HALTED: &str = "the table was stopped on its way";
const ELSEWHERE: &str = "the table stands elsewhere than it was sent";
const MOVED_BY_OTHERS: &str = "the table was moved by somebody else";

impl Grbl {
    /// The angle, never wrapped; from the controller's own zero while there is no other.
    fn turned(&self) -> f64 {
        self.turn.counted(&self.axes) - self.zero.map_or(0.0, |(zero, _)| zero)
    }

    fn angle(&self) -> Angle {
        Angle::new(self.turned())
    }

    /// Books where the axes are; how far that is believed does not change.
    fn books(&mut self, axes: Axes) {
        self.axes = axes;
        self.position = match (self.position, self.zero) {
            (Position::Known(..), Some((_, source))) => Position::Known(self.angle(), source),
            (Position::Estimated(_), Some(_)) => Position::Estimated(self.angle()),
            _ => Position::Unknown,
        };
    }

    /// Something came between: what was known is only likely now.
    fn doubts(&mut self, why: &'static str) {
        self.doubt = why;
        if self.position != Position::Unknown {
            self.position = Position::Estimated(self.angle());
        }
    }

    /// Nothing that was counted counts any more.
    fn forgets(&mut self, why: &'static str) {
        self.doubt = why;
        if let Some(slack) = self.slack.take() {
            self.wound = Some(self.turn.counted(&self.axes) - slack);
        }
        (self.zero, self.level, self.position) = (None, None, Position::Unknown);
        self.talk.forget();
    }

    fn error(&mut self, error: LinkError, tried: &str) -> TurntableError {
        if matches!(error, LinkError::Lost { .. }) {
            self.forgets(NEVER);
        }
        error.while_trying(&self.info.id, tried)
    }

    fn fault(&self, what: String, tried: &str) -> TurntableError {
        TurntableError::Fault { id: self.info.id.clone(), tried: tried.to_owned(), what }
    }

    fn silent(&mut self, tried: &str, limit: Duration) -> TurntableError {
        self.forgets("the controller did not answer");
        TurntableError::NoReply { id: self.info.id.clone(), tried: tried.to_owned(), limit }
    }

    fn not_referenced(&self) -> Moved {
        refused("motion-not-referenced", format!("{}; find zero first", self.doubt))
    }

    /// Says why a way of `deg` from here is not to be gone, if so.
    fn out_of_bounds(&self, deg: f64) -> Option<Moved> {
        let (low, high) = self.keys.limits_deg?;
        let Some(slack) = self.slack.filter(|_| self.zero.is_some()) else {
            return Some(self.not_referenced());
        };
        let end = self.turn.counted(&self.axes) - slack + deg;
        (!(low - RESOLUTION_DEG..=high + RESOLUTION_DEG).contains(&end)).then(|| {
            let reason = format!(
                "its cable would be wound up by {end:.1} degrees, and limits_deg is {low} to {high}; turn back first"
            );
            refused("motion-soft-limit", reason)
        })
    }

    /// Turns by `deg` and books where that ended.
    async fn travel(
        &mut self,
        deg: f64,
        speed: DegPerS,
        tried: &str,
        seen: Option<&watch::Sender<Option<Sighting>>>,
    ) -> Result<Moved, TurntableError> {
        if let Some(refusal) = self.out_of_bounds(deg) {
            return Ok(refusal);
        }
        if deg.abs() < RESOLUTION_DEG {
            return Ok(Moved::Done(self.angle()));
        }
        let believed = self.position;
        self.doubts(HALTED);
        Ok(match self.drive(self.turn, deg, speed, tried, seen).await? {
            Ending::There(axes) => {
                self.position = believed;
                self.books(axes);
                Moved::Done(self.angle())
            }
            Ending::Elsewhere(axes) => {
                self.books(axes);
                self.doubts(ELSEWHERE);
                Moved::StoppedAt(Some(self.angle()))
            }
            Ending::NotTaken(code) => {
                self.position = believed;
                refused("motion-not-taken", words::error(code))
            }
            Ending::Restarted => Moved::OutcomeUnknown,
        })
    }

    /// Homes every axis that the controller homes.
    async fn home(&mut self, tried: &str) -> Result<Moved, TurntableError> {
        self.forgets(NEVER);
        Ok(match self.drive_home(tried).await? {
            Ending::There(axes) | Ending::Elsewhere(axes) => {
                // The first time, the cable is slack there.
                let wound = self.wound.take().map_or(0.0, |deg| Winding::at_home(deg, self.info.home_way));
                self.slack = Some(self.turn.counted(&axes) - wound);
                self.zero = Some((self.turn.counted(&axes) - self.keys.home_deg, Source::Home));
                self.level = self.tilt.map(|tilt| tilt.counted(&axes) - self.keys.tilt_home_deg);
                self.axes = axes;
                self.position = Position::Known(self.angle(), Source::Home);
                Moved::Done(self.angle())
            }
            Ending::NotTaken(code) => refused("motion-not-taken", words::error(code)),
            Ending::Restarted => Moved::OutcomeUnknown,
        })
    }
}

#[async_trait]
impl Turntable for Grbl {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        let tried = "find zero";
        let Reference::At(angle) = how else {
            if !self.info.home {
                let reason =
                    "this controller has no homing; set the table to its zero mark and declare that zero";
                return Ok(refused("motion-no-home", reason.to_owned()));
            }
            return match self.free(tried, true).await? {
                Ok(()) => self.home(tried).await,
                Err(refusal) => Ok(refusal),
            };
        };
        if let Err(refusal) = self.free(tried, false).await? {
            return Ok(refusal);
        }
        let counted = self.turn.counted(&self.axes);
        let wound = self.wound.take().unwrap_or(0.0);
        self.slack = self.slack.or(Some(counted - wound));
        self.zero = Some((counted - angle.deg(), Source::Declared));
        self.level = self.level.or(self.tilt.map(|tilt| tilt.counted(&self.axes)));
        self.position = Position::Known(self.angle(), Source::Declared);
        Ok(Moved::Done(self.angle()))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let tried = format!("turn to {}", to.angle);
        if !matches!(self.position, Position::Known(..)) {
            return Ok(self.not_referenced());
        }
        if let Err(refusal) = self.free(&tried, false).await? {
            return Ok(refusal);
        }
        // It may have started anew since it was heard of last.
        if !matches!(self.position, Position::Known(..)) {
            return Ok(self.not_referenced());
        }
        let here = self.angle();
        let deg = match to.direction {
            _ if here.distance(to.angle) < RESOLUTION_DEG.max(self.turn.step_deg) => 0.0,
            Direction::Forward => here.forward_to(to.angle),
            Direction::Backward => -to.angle.forward_to(here),
        };
        self.travel(deg, self.turn.speed, &tried, None).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("turn by {degrees:.1}°");
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", format!("{degrees} degrees is not in -360 to 360")));
        }
        match self.free(&tried, false).await? {
            Ok(()) => self.travel(degrees, self.turn.speed, &tried, None).await,
            Err(refusal) => Ok(refusal),
        }
    }

    /// One turn at most: the controller would not notice that nobody watches.
    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError> {
        let tried = format!("turn at {speed:.1}°/s");
        let limit = self.turn.speed;
        if !(SLOWEST_DEG_S..=limit).contains(&speed.abs()) {
            let reason =
                format!("{speed} degrees a second is not in {SLOWEST_DEG_S} to {limit}, forward or backward");
            return Err(TurntableError::refusal(&self.info.id, refused("motion-out-of-range", reason)));
        }
        let deg = ROTATE_DEG.copysign(speed);
        let refusal = match self.free(&tried, false).await? {
            Ok(()) => self.out_of_bounds(deg),
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            return Err(TurntableError::refusal(&self.info.id, refusal));
        }
        self.doubts(HALTED);
        self.set_off(deg, speed.abs(), &tried).await
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let tried = format!("turn by {degrees:.1}° at {speed:.1}°/s");
        let limit = self.turn.speed;
        if !(SLOWEST_DEG_S..=limit).contains(&speed) {
            let reason = format!("{speed} degrees a second is not in {SLOWEST_DEG_S} to {limit:.2}");
            return Ok(refused("motion-out-of-range", reason));
        }
        if !(-SWEEP_DEG_MAX..=SWEEP_DEG_MAX).contains(&degrees) {
            let reason = format!("{degrees} degrees is not in -{SWEEP_DEG_MAX} to {SWEEP_DEG_MAX}");
            return Ok(refused("motion-out-of-range", reason));
        }
        match self.free(&tried, false).await? {
            Ok(()) => self.travel(degrees, speed, &tried, Some(seen)).await,
            Err(refusal) => Ok(refusal),
        }
    }

    async fn tilt_to(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("tilt to {degrees:.1}°");
        let (Some(tilt), Some((low, high))) = (self.tilt, self.keys.tilt_deg) else {
            let reason = "this table does not tilt; use rows without tilt_deg, or set tilt_axis";
            return Ok(refused("motion-no-tilt", reason.to_owned()));
        };
        if !(low..=high).contains(&degrees) {
            let reason = format!("a tilt of {degrees} degrees is not in {low} to {high}");
            return Ok(refused("motion-out-of-range", reason));
        }
        if let Err(refusal) = self.free(&tried, false).await? {
            return Ok(refusal);
        }
        let Some(level) = self.level else { return Ok(self.not_referenced()) };
        let deg = level + degrees - tilt.counted(&self.axes);
        if deg.abs() < RESOLUTION_DEG.max(tilt.step_deg) {
            return Ok(Moved::Done(self.angle()));
        }
        Ok(match self.drive(tilt, deg, tilt.speed, &tried, None).await? {
            Ending::There(_) => Moved::Done(self.angle()),
            Ending::NotTaken(code) => refused("motion-not-taken", words::error(code)),
            Ending::Elsewhere(_) => Moved::StoppedAt(Some(self.angle())),
            Ending::Restarted => Moved::OutcomeUnknown,
        })
    }

    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        self.beat().await
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        self.halt().await?;
        Ok(match self.position {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn home_deg(&self) -> f64 {
        self.home_deg
    }

    fn winding(&self) -> Option<Winding> {
        let ((low, high), slack) = (self.keys.limits_deg?, self.slack?);
        Some(Winding { deg: self.turn.counted(&self.axes) - slack, low, high })
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

fn refused(rule: &'static str, reason: String) -> Moved {
    Moved::Refused { rule, reason }
}

#[cfg(test)]
mod tests;
