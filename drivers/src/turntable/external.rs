//! A table that somebody else turns: `driver = "external"`. A camera reads the marks on its rim, and the shutter waits
//! for the angle instead of the angle for the shutter.
//!
//! Nothing is ever commanded. A move ends when the platter, by what was seen last and how fast it goes, is at the
//! target; a stop that is asked for while it turns is refused, because only the person at its own switch can stop it.
//! The marks count absolutely: where the platter stands is known as soon as they are seen, and needs no home.

mod ring;

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::sightings::{BASE, way};
use super::{
    DegPerS, Direction, Driver, Moved, Opened, Position, Reference, Sighting, Sightings, Source, Target,
    Turntable, TurntableError, TurntableInfo, WithoutLink,
};
use crate::frame::Angle;
use crate::tried::is_tried;
use crate::{DeviceOptions, Surroundings};

pub use ring::Ring;

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
/// As near to its target as a timer wakes up.
const NEAR_DEG: f64 = 0.02;
/// A platter that turns faster than asked by more than this share blurs more than the recipe was checked for.
const FASTER: f64 = 0.1;
/// Somebody may stand before the marks for so long.
const UNSEEN: Duration = Duration::from_secs(5);
/// Sightings that speed is measured from.
const TRAIL_MAX: usize = 16;

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
    /// The marks and who reads them.
    rim: Option<Ring>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            tolerance_deg: 1.0,
            fresh_ms: 1000.0,
            lead_ms: 0.0,
            wait_s: 120.0,
            speed_deg_s: 90.0,
            rim: None,
        }
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
        keys.rim.as_ref().ok_or(ring::MISSING)?.check()?;
        Ok(keys)
    }

    fn fresh(&self) -> Duration {
        Duration::from_secs_f64(self.fresh_ms / 1000.0)
    }
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    Keys::read(options).map(drop)
}

/// What the station must know of such a table to feed [`Sightings`] and to judge frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// The marks and who reads them.
    pub ring: Ring,
    /// A frame this far beside its target is at its target.
    pub tolerance_deg: f64,
    /// The shutter opens so many milliseconds after a move ended.
    pub lead_ms: f64,
}

impl Watched {
    /// What is to be watched of a configured table; `None` of other drivers and of keys that cannot be.
    pub fn of(options: &DeviceOptions) -> Option<Self> {
        let keys = Keys::read(options).ok().filter(|_| options.driver == NAME)?;
        let Keys { tolerance_deg, lead_ms, .. } = keys;
        Some(Self { ring: keys.rim?, tolerance_deg, lead_ms })
    }
}

fn open(options: &DeviceOptions, around: &Surroundings) -> Opened {
    let keys =
        Keys::read(options).map_err(|what| TurntableError::Config { driver: NAME.to_owned(), what })?;
    let info = TurntableInfo {
        driver: NAME,
        id: NAME.to_owned(),
        model: MODEL.to_owned(),
        // Where it stands is read off.
        home: true,
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
        // Nothing is commanded that could go on without us.
        without_link: WithoutLink::Halts,
        tried: is_tried(NAME, MODEL),
    };
    let (sightings, seen) = (around.sightings.clone(), around.sightings.watch());
    let (course, trail) = (None, VecDeque::new());
    Ok(Box::new(External { keys, info, sightings, seen, course, trail, zero_deg: 0.0 }))
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
    sightings: Sightings,
    seen: watch::Receiver<Option<Sighting>>,
    course: Option<Course>,
    /// Recent places of the course that its speed is measured from.
    trail: VecDeque<(Instant, f64)>,
    /// What the camera reads where the angle is zero.
    zero_deg: f64,
}

impl External {
    /// Takes up what was seen since the last look.
    fn look(&mut self) {
        let Some(now) = *self.seen.borrow_and_update() else { return };
        if !now.deg.is_finite() || self.course.is_some_and(|course| now.at <= course.last.at) {
            return;
        }
        let (mut gone, mut goes_on) = (0.0, false);
        if let Some(Course { last, way: before, .. }) = self.course {
            let step = way(last.deg, now.deg);
            let seconds = now.at.duration_since(last.at).as_secs_f64();
            let possible = step.abs() <= self.keys.speed_deg_s * (1.0 + FASTER) * seconds;
            (gone, goes_on) = (before + step, possible && seconds <= self.keys.fresh().as_secs_f64());
        }
        if !goes_on {
            self.trail.clear();
        }
        let old = self.trail.iter().rposition(|(at, _)| now.at - *at >= BASE).unwrap_or(0);
        let base = self.trail.get(old).copied();
        let speed = base.map(|(at, way)| (gone - way) / now.at.duration_since(at).as_secs_f64());
        if self.trail.len() == TRAIL_MAX {
            self.trail.pop_front();
        }
        self.trail.push_back((now.at, gone));
        self.course = Some(Course { last: now, way: gone, speed });
    }

    /// The course, if what was seen last is still worth something.
    fn fresh(&self) -> Option<Course> {
        self.course.filter(|course| course.last.at.elapsed() <= self.keys.fresh())
    }

    /// The same, after a while in which somebody may step out of the way.
    async fn await_fresh(&mut self) -> Option<Course> {
        let until = Instant::now() + UNSEEN;
        loop {
            self.look();
            match self.fresh() {
                Some(course) => return Some(course),
                None if Instant::now() >= until => return None,
                None => self.wait(None, until).await,
            }
        }
    }

    /// Why the marks are not seen.
    fn unseen(&self) -> String {
        let why = self.sightings.missed().unwrap_or_else(|| "nobody looked yet".to_owned());
        format!("the marks on the rim are not seen: {why}")
    }

    fn not_seen(&self) -> Moved {
        refused("motion-not-seen", &self.unseen())
    }

    fn angle(&self, deg: f64) -> Angle {
        Angle::new(deg - self.zero_deg)
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
    async fn await_deg(&mut self, deg: f64) -> Moved {
        let target = Angle::new(deg);
        let until = Instant::now() + self.info.move_limit;
        let lead = self.keys.lead_ms / 1000.0;
        let mut seen = Instant::now();
        while Instant::now() < until {
            self.look();
            let mut moment = None;
            if let Some(Course { last, speed, .. }) = self.fresh() {
                seen = Instant::now();
                let speed = speed.unwrap_or(0.0);
                let there = Angle::new(last.deg + speed * (last.at.elapsed().as_secs_f64() + lead));
                if speed.abs() <= STANDS_DEG_S {
                    // It says that it stands only after two looks.
                    if self.trail.len() > 1 && there.distance(target) <= self.keys.tolerance_deg {
                        return Moved::Done(self.angle(there.deg()));
                    }
                } else {
                    let ahead = if speed > 0.0 { there.forward_to(target) } else { target.forward_to(there) };
                    let passed = 360.0 - ahead;
                    // Past it by half of what may be: the shutter opens later still.
                    if ahead <= NEAR_DEG || passed <= 0.5 * self.keys.tolerance_deg {
                        return Moved::Done(self.angle(there.deg()));
                    }
                    moment = Instant::now().checked_add(Duration::from_secs_f64(ahead / speed.abs()));
                }
            }
            if seen.elapsed() >= UNSEEN {
                return self.not_seen();
            }
            if let Some(moment) = moment {
                self.sightings.expect(moment);
            }
            self.wait(moment, until.min(seen + UNSEEN)).await;
        }
        let reason = format!(
            "the platter did not come by {} within {:.0} s; let it turn, or raise wait_s",
            self.angle(deg),
            self.keys.wait_s
        );
        refused("motion-not-come", &reason)
    }

    /// Hands on what is seen until the platter has gone `degrees`.
    async fn follow(
        &mut self,
        degrees: f64,
        fastest: DegPerS,
        first: Course,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Moved {
        let until = Instant::now() + self.info.move_limit + Duration::from_secs_f64(degrees.abs() / fastest);
        let mut looked = Instant::now();
        while Instant::now() < until {
            self.look();
            if let Some(Course { last, way, speed }) = self.fresh() {
                looked = Instant::now();
                let gone = way - first.way;
                seen.send_replace(Some(Sighting { deg: first.last.deg - self.zero_deg + gone, ..last }));
                if speed.is_some_and(|speed| speed.abs() > fastest * (1.0 + FASTER)) {
                    return Moved::StoppedAt(Some(self.angle(last.deg)));
                }
                if gone.abs() >= degrees.abs() {
                    return Moved::Done(self.angle(last.deg));
                }
            } else if looked.elapsed() >= UNSEEN {
                return self.not_seen();
            }
            self.wait(None, until.min(looked + UNSEEN)).await;
        }
        let reason =
            format!("the platter did not turn by {degrees:.1}° in time; let it turn, or raise wait_s");
        refused("motion-not-come", &reason)
    }
}

#[async_trait]
impl Turntable for External {
    /// Where it stands is read off, if it is seen; another place may be declared while it stands.
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        let Some(course) = self.await_fresh().await else { return Ok(self.not_seen()) };
        let Reference::At(angle) = how else { return Ok(Moved::Done(self.angle(course.last.deg))) };
        if course.speed.is_some_and(|speed| speed.abs() > STANDS_DEG_S) {
            let reason = "it turns; only a platter that stands can be declared to be somewhere";
            return Ok(refused("motion-busy", reason));
        }
        self.zero_deg = course.last.deg - angle.deg();
        Ok(Moved::Done(angle))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        Ok(self.await_deg(self.zero_deg + to.angle.deg()).await)
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", &format!("{degrees} degrees is not in -360 to 360")));
        }
        match self.await_fresh().await {
            Some(course) => Ok(self.await_deg(course.last.deg + degrees).await),
            None => Ok(self.not_seen()),
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
        let Some(course) = self.await_fresh().await else { return Ok(self.not_seen()) };
        let goes = course.speed.unwrap_or(0.0);
        if goes.abs() > speed * (1.0 + FASTER) {
            let reason = format!(
                "it turns at {:.1} degrees a second and the recipe is for {speed:.1}; slow it down, or change the recipe",
                goes.abs()
            );
            return Ok(refused("motion-too-fast", &reason));
        }
        if goes.abs() > STANDS_DEG_S && goes.signum() != degrees.signum() {
            let reason = "it turns the other way round than the recipe is shot; turn its direction round at its own switch";
            return Ok(refused("motion-other-way", reason));
        }
        Ok(self.follow(degrees, speed, course, seen).await)
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

    /// Tells why the marks are not seen, while they are not.
    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        self.look();
        match self.fresh() {
            Some(_) => Ok(()),
            None => Err(TurntableError::Unavailable {
                id: NAME.to_owned(),
                why: self.unseen(),
                hint: "recipes with motion wait for it".to_owned(),
            }),
        }
    }

    fn position(&self) -> Position {
        let Some(last) = self.seen.borrow().filter(|last| last.deg.is_finite()) else {
            return Position::Unknown;
        };
        let age = last.at.elapsed();
        if age > self.keys.fresh() {
            return Position::Estimated(self.angle(last.deg));
        }
        let speed = self.course.filter(|course| course.last.at == last.at).and_then(|course| course.speed);
        Position::Known(self.angle(last.deg + speed.unwrap_or(0.0) * age.as_secs_f64()), Source::Seen)
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
