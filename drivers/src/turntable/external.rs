//! A table that somebody else turns: `driver = "external"`. A camera reads the marks on its rim, and the shutter waits
//! for the angle instead of the angle for the shutter.
//!
//! Nothing is ever commanded. A move ends when the platter, by what was seen last and how fast it goes, is at the
//! target; a stop that is asked for while it turns is refused, because only the person at its own switch can stop it.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{
    DegPerS, Direction, Driver, Moved, Opened, Position, Reference, Sighting, Source, Target, Turntable,
    TurntableError, TurntableInfo,
};
use crate::frame::Angle;
use crate::tried::is_tried;
use crate::{DeviceOptions, Surroundings};

/// `driver = "external"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "a table that somebody else turns, seen by a camera that reads the marks on its rim",
    check,
    open: |options, around| Box::pin(async move { open(options, around) }),
    // Always there; only a person knows that it is what they want.
    list: || Box::pin(async { Vec::new() }),
};

const NAME: &str = "external";
const MODEL: &str = "turned from elsewhere";
/// Slower than this it stands.
const STANDS_DEG_S: f64 = 0.2;
/// A platter that turns faster than asked by more than this share blurs more than the recipe was checked for.
const FASTER: f64 = 0.1;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    /// Beside its target it is there.
    tolerance_deg: f64,
    /// A sighting is worth something for so long.
    fresh_ms: f64,
    /// The shutter opens this much after a move ended: it ends so much earlier.
    lead_ms: f64,
    /// How long the platter may take to come by.
    wait_s: f64,
    /// It never turns faster; a sighting that says so is a mistake.
    speed_deg_s: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { tolerance_deg: 1.0, fresh_ms: 1000.0, lead_ms: 0.0, wait_s: 120.0, speed_deg_s: 90.0 }
    }
}

impl Keys {
    fn read(options: &DeviceOptions) -> Result<Self, String> {
        let keys: Self = options.read()?;
        for (key, value, low, high) in [
            ("tolerance_deg", keys.tolerance_deg, 0.05, 20.0),
            ("fresh_ms", keys.fresh_ms, 50.0, 10_000.0),
            ("lead_ms", keys.lead_ms, 0.0, 2000.0),
            ("wait_s", keys.wait_s, 1.0, 86_400.0),
            ("speed_deg_s", keys.speed_deg_s, 0.5, 720.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("{key} = {value} is not in {low} to {high}"));
            }
        }
        Ok(keys)
    }

    fn fresh(&self) -> Duration {
        Duration::from_secs_f64(self.fresh_ms / 1000.0)
    }
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    Keys::read(options).map(drop)
}

fn open(options: &DeviceOptions, around: &Surroundings) -> Opened {
    let keys =
        Keys::read(options).map_err(|what| TurntableError::Config { driver: NAME.to_owned(), what })?;
    let info = TurntableInfo {
        driver: NAME,
        id: NAME.to_owned(),
        model: MODEL.to_owned(),
        home: false,
        home_way: Direction::Forward,
        one_way: None,
        speed_max: keys.speed_deg_s,
        acceleration: keys.speed_deg_s,
        rotates: None,
        sweeps: true,
        stops: false,
        move_limit: Duration::from_secs_f64(keys.wait_s),
        firmware: None,
        tilt: None,
        step_deg: None,
        dead_man: false,
        tried: is_tried(NAME, MODEL),
    };
    let seen = around.sightings.watch();
    Ok(Box::new(External { keys, info, seen, course: None, zero: None }))
}

/// What was seen of the platter, and how fast it goes by that.
#[derive(Debug, Clone, Copy)]
struct Course {
    last: Sighting,
    /// Degrees since the first sighting, counted on over turns.
    way: f64,
    /// Once two were seen.
    speed: Option<DegPerS>,
}

struct External {
    keys: Keys,
    info: TurntableInfo,
    seen: watch::Receiver<Option<Sighting>>,
    course: Option<Course>,
    /// What the camera reads where the angle is zero.
    zero: Option<f64>,
}

impl External {
    /// Takes up what was seen since the last look.
    fn look(&mut self) {
        let Some(now) = *self.seen.borrow_and_update() else { return };
        if !now.deg.is_finite() {
            return;
        }
        let Some(course) = self.course else {
            self.course = Some(Course { last: now, way: 0.0, speed: None });
            return;
        };
        if now.at <= course.last.at {
            return;
        }
        let seconds = now.at.duration_since(course.last.at).as_secs_f64();
        // The shorter way: between two sightings a platter does not go half a turn.
        let ahead = Angle::new(course.last.deg).forward_to(Angle::new(now.deg));
        let step = if ahead > 180.0 { ahead - 360.0 } else { ahead };
        let speed = Some(step / seconds).filter(|speed| {
            seconds <= self.keys.fresh().as_secs_f64()
                && speed.abs() <= self.keys.speed_deg_s * (1.0 + FASTER)
        });
        self.course = Some(Course { last: now, way: course.way + step, speed });
    }

    /// The course, if what was seen last is still worth something.
    fn fresh(&self) -> Option<Course> {
        self.course.filter(|course| course.last.at.elapsed() <= self.keys.fresh())
    }

    fn not_seen() -> Moved {
        let reason = "no camera has just seen the marks on the rim; check their light and the camera's view";
        refused("motion-not-seen", reason)
    }

    fn angle(&self, deg: f64) -> Angle {
        Angle::new(deg - self.zero.unwrap_or(0.0))
    }

    /// Waits for news, or for a moment that was computed, no longer than `until`.
    async fn wait(&mut self, moment: Option<Instant>, until: Instant) {
        tokio::select! {
            biased;
            changed = self.seen.changed() => if changed.is_err() {
                // Nobody looks any more; nothing will come.
                sleep_until(moment.unwrap_or(until).min(until)).await;
            },
            () = sleep_until(moment.unwrap_or(until).min(until)) => {}
        }
    }

    /// Waits until the platter is at a reading of the camera.
    async fn await_deg(&mut self, deg: f64, tried: String) -> Result<Moved, TurntableError> {
        let target = Angle::new(deg);
        let limit = self.info.move_limit;
        let until = Instant::now() + limit;
        let lead = self.keys.lead_ms / 1000.0;
        while Instant::now() < until {
            self.look();
            let mut moment = None;
            if let Some(Course { last, speed: Some(speed), .. }) = self.fresh() {
                let there = Angle::new(last.deg + speed * (last.at.elapsed().as_secs_f64() + lead));
                if there.distance(target) <= self.keys.tolerance_deg {
                    return Ok(Moved::Done(self.angle(there.deg())));
                }
                if speed.abs() > STANDS_DEG_S {
                    let way = if speed > 0.0 { there.forward_to(target) } else { target.forward_to(there) };
                    moment = Instant::now().checked_add(Duration::from_secs_f64(way / speed.abs()));
                }
            }
            self.wait(moment, until).await;
        }
        Err(TurntableError::NoReply { id: NAME.to_owned(), tried, limit })
    }

    /// Hands on what is seen until the platter has gone `degrees`, forward or backward, whichever it goes.
    async fn follow(
        &mut self,
        degrees: f64,
        fastest: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let limit = self.info.move_limit;
        let until = Instant::now() + limit;
        let (Some(first), zero) = (self.fresh(), self.zero.unwrap_or(0.0)) else {
            return Ok(Self::not_seen());
        };
        while Instant::now() < until {
            self.look();
            if let Some(Course { last, way, speed }) = self.fresh() {
                let gone = way - first.way;
                seen.send_replace(Some(Sighting { deg: first.last.deg - zero + gone, ..last }));
                if speed.is_some_and(|speed| speed.abs() > fastest * (1.0 + FASTER)) {
                    return Ok(Moved::StoppedAt(Some(self.angle(last.deg))));
                }
                if gone.abs() >= degrees.abs() {
                    return Ok(Moved::Done(self.angle(last.deg)));
                }
            }
            self.wait(None, until).await;
        }
        let tried = format!("see it turn by {degrees:.1}°");
        Err(TurntableError::NoReply { id: NAME.to_owned(), tried, limit })
    }
}

#[async_trait]
impl Turntable for External {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        self.look();
        let Reference::At(angle) = how else {
            let reason = "a table that is only seen has no home switch; declare where it stands";
            return Ok(refused("motion-no-home", reason));
        };
        let Some(course) = self.fresh() else { return Ok(Self::not_seen()) };
        if course.speed.is_some_and(|speed| speed.abs() > STANDS_DEG_S) {
            let reason = "it turns; only a platter that stands can be declared to be somewhere";
            return Ok(refused("motion-busy", reason));
        }
        self.zero = Some(course.last.deg - angle.deg());
        Ok(Moved::Done(angle))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let Some(zero) = self.zero else {
            let reason = "the position is not known; say where it stands first";
            return Ok(refused("motion-not-referenced", reason));
        };
        self.await_deg(zero + to.angle.deg(), format!("see it at {}", to.angle)).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", &format!("{degrees} degrees is not in -360 to 360")));
        }
        self.look();
        match self.fresh() {
            Some(course) => {
                self.await_deg(course.last.deg + degrees, format!("see it turn by {degrees:.1}°")).await
            }
            None => Ok(Self::not_seen()),
        }
    }

    async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
        let reason = "this table is turned from elsewhere; start it there";
        Err(TurntableError::refusal(NAME, refused("motion-no-rotation", reason)))
    }

    /// Follows a platter that turns; a slower speed than asked for is welcome, a faster one ends it.
    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        if !(degrees.is_finite() && speed > 0.0) {
            let reason = format!("{degrees} degrees at {speed} degrees a second cannot be followed");
            return Ok(refused("motion-out-of-range", &reason));
        }
        self.look();
        let Some(course) = self.fresh() else { return Ok(Self::not_seen()) };
        if let Some(goes) = course.speed.filter(|goes| goes.abs() > speed * (1.0 + FASTER)) {
            let reason = format!(
                "it turns at {:.1} degrees a second and the recipe is for {speed:.1}; slow it down, or change the recipe",
                goes.abs()
            );
            return Ok(refused("motion-too-fast", &reason));
        }
        self.follow(degrees, speed, seen).await
    }

    /// Done only where it is seen to stand: nothing here can stop it.
    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        self.look();
        match self.fresh() {
            Some(Course { last, speed: Some(speed), .. }) if speed.abs() <= STANDS_DEG_S => {
                Ok(Moved::Done(self.angle(last.deg)))
            }
            _ => {
                let reason = "this table is turned from elsewhere and cannot be stopped from here; stop it at its own \
                              switch if it turns";
                Ok(refused("motion-not-ours", reason))
            }
        }
    }

    fn position(&self) -> Position {
        let Some(last) = *self.seen.borrow() else { return Position::Unknown };
        let speed = self.course.filter(|course| course.last.at == last.at).and_then(|course| course.speed);
        let age = last.at.elapsed();
        match self.zero {
            None => Position::Unknown,
            Some(_) if age <= self.keys.fresh() => {
                let deg = last.deg + speed.unwrap_or(0.0) * age.as_secs_f64();
                Position::Known(self.angle(deg), Source::Seen)
            }
            Some(_) => Position::Estimated(self.angle(last.deg)),
        }
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

fn refused(rule: &'static str, reason: &str) -> Moved {
    Moved::Refused { rule, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
