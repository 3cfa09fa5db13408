//! The motor and the platter of the simulated booth: where they are at any moment, and what stops them.
//!
//! Three angles are kept apart: what the motor has *counted*, where its *shaft* really is (lost steps), and where
//! the *platter* is (backlash). A motion is a list of legs, each a pure function of time; the last legs are kept, so
//! that a camera may ask for the true angle at any moment of an exposure that has just ended.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::motion::Profile;

/// Legs kept behind the present one. An exposure looks back by its own length, which spans a few legs at most.
const LEGS_MAX: usize = 64;
/// Nearer than this the motor is there: no turn of 360 degrees for a rounding error.
const RESOLUTION_DEG: f64 = 1e-6;
/// How far the motor drives back behind the home switch before it seeks it slowly from its own side.
const HOME_BACK_DEG: f64 = 6.0;
/// The slow search for the home switch, as a part of full speed.
const HOME_SLOW: f64 = 0.2;

/// The mechanics, as configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mechanics {
    pub(crate) speed_deg_s: f64,
    pub(crate) acceleration_deg_s2: f64,
    pub(crate) backlash_deg: f64,
    pub(crate) vibration_deg: f64,
    pub(crate) vibration_hz: f64,
    pub(crate) vibration_decay: Duration,
    pub(crate) eccentricity_deg: f64,
    pub(crate) home_deg: f64,
}

/// How a leg ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The motor stands where it was told to.
    Standing,
    /// Something is in the way.
    Jammed,
    /// The motor halts and does not say so.
    Silent,
    /// It did not end: another motion took over.
    Overtaken,
}

/// What the motor does at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Motor {
    /// Turning, until then; `None` is for ever.
    Turning { until: Option<Instant> },
    /// At rest.
    Resting(Ending),
}

/// The three angles at one moment, in degrees, not wrapped.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Angles {
    counted: f64,
    shaft: f64,
    platter: f64,
}

#[derive(Debug, Clone)]
struct Leg {
    start: Instant,
    /// `None`: until another leg begins.
    end: Option<Instant>,
    profile: Profile,
    from: Angles,
    /// Shaft degrees a counted degree; not 1 when steps get lost.
    grip: f64,
    ending: Ending,
}

impl Leg {
    /// Seconds since this leg began, no more than it lasts.
    fn seconds(&self, at: Instant) -> f64 {
        let at = self.end.map_or(at, |end| at.min(end));
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    fn angles(&self, seconds: f64, backlash: f64) -> Angles {
        let (way, _) = self.profile.at(seconds);
        let shaft = self.from.shaft + way * self.grip;
        // The play of the drive: the platter is pushed by one flank forward and by the other one backward.
        let platter = self.from.platter.clamp(shaft, shaft + backlash);
        Angles { counted: self.from.counted + way, shaft, platter }
    }

    fn speed(&self, seconds: f64) -> f64 {
        self.profile.at(seconds).1
    }

    fn ended(&self, at: Instant) -> bool {
        self.end.is_some_and(|end| end <= at)
    }

    fn direction(&self) -> f64 {
        match self.profile.distance() {
            0.0 => 0.0,
            distance => distance.signum() * self.grip.signum(),
        }
    }
}

/// Motor and platter.
#[derive(Debug, Clone)]
pub(crate) struct Platter {
    mechanics: Mechanics,
    /// Never empty; in order of time; the last one is the present or the last planned.
    legs: VecDeque<Leg>,
}

impl Platter {
    /// A platter at rest with this true angle. The motor has counted nothing yet.
    pub(crate) fn at_rest(mechanics: Mechanics, true_deg: f64, now: Instant) -> Self {
        let platter = mechanics.shaft_for(true_deg);
        let from = Angles { counted: 0.0, shaft: platter, platter };
        let mut legs = VecDeque::new();
        legs.push_back(Leg::rest(from, now));
        Self { mechanics, legs }
    }

    /// Another driver configuration of the same table: it stands where it stands.
    pub(crate) fn set_mechanics(&mut self, mechanics: Mechanics) {
        self.mechanics = mechanics;
    }

    /// How long the motion under way still takes; a second for one that never ends.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        match self.motor(now) {
            Motor::Turning { until: Some(end) } => end.saturating_duration_since(now),
            Motor::Turning { until: None } => Duration::from_secs(1),
            Motor::Resting(_) => Duration::ZERO,
        }
    }

    /// The leg that holds at a moment: the last that began by then.
    fn leg(&self, at: Instant) -> &Leg {
        let begun = self.legs.iter().rev().find(|leg| leg.start <= at);
        begun.unwrap_or(&self.legs[0])
    }

    fn angles(&self, at: Instant) -> Angles {
        let leg = self.leg(at);
        leg.angles(leg.seconds(at), self.mechanics.backlash_deg)
    }

    /// True angle of the platter in degrees, not wrapped: backlash, eccentricity and ringing included.
    pub(crate) fn true_deg(&self, at: Instant) -> f64 {
        self.mechanics.true_for(self.angles(at).platter) + self.ringing(at)
    }

    /// What the motor has counted, in degrees, not wrapped.
    pub(crate) fn counted(&self, at: Instant) -> f64 {
        self.angles(at).counted
    }

    /// What the motor does.
    pub(crate) fn motor(&self, at: Instant) -> Motor {
        let last = &self.legs[self.legs.len() - 1];
        if last.ended(at) { Motor::Resting(last.ending) } else { Motor::Turning { until: last.end } }
    }

    /// Where the platter swings after every stop: a damped oscillation, all recent stops added up.
    fn ringing(&self, at: Instant) -> f64 {
        let m = &self.mechanics;
        let decay = m.vibration_decay.as_secs_f64();
        if decay <= 0.0 || m.vibration_deg == 0.0 {
            return 0.0;
        }
        let stops = self.legs.iter().filter(|leg| leg.ending != Ending::Overtaken && leg.ended(at));
        stops
            .filter_map(|leg| {
                let t = at.saturating_duration_since(leg.end?).as_secs_f64();
                let swing = (-t / decay).exp() * (std::f64::consts::TAU * m.vibration_hz * t).sin();
                (t < 20.0 * decay).then_some(leg.direction() * m.vibration_deg * swing)
            })
            .sum()
    }

    /// Turns by `deg` counted degrees. The platter loses `lost` degrees of that on the way.
    #[cfg(test)]
    fn travel(&mut self, deg: f64, lost: f64, jams: &[f64], now: Instant) {
        self.travel_at(deg, f64::INFINITY, lost, jams, now);
    }

    /// The same, no faster than `speed`.
    pub(crate) fn travel_at(&mut self, deg: f64, speed: f64, lost: f64, jams: &[f64], now: Instant) {
        let m = &self.mechanics;
        let deg = if deg.abs() < RESOLUTION_DEG { 0.0 } else { deg };
        let grip = if deg == 0.0 { 1.0 } else { 1.0 - lost / deg.abs() };
        let profile = Profile::travel(deg, m.speed_deg_s.min(speed), m.acceleration_deg_s2);
        self.plan(vec![(profile, grip)], jams, now);
    }

    /// Turns on and on.
    pub(crate) fn spin(&mut self, speed: f64, jams: &[f64], now: Instant) {
        let profile = Profile::spin(speed, self.mechanics.acceleration_deg_s2);
        self.plan(vec![(profile, 1.0)], jams, now);
    }

    /// Goes over to another speed, from whatever it does now.
    pub(crate) fn change_speed(&mut self, speed: f64, jams: &[f64], now: Instant) {
        let leg = self.leg(now);
        let from = if leg.ended(now) { 0.0 } else { leg.speed(leg.seconds(now)) };
        let profile = Profile::change(from, speed, self.mechanics.acceleration_deg_s2);
        self.plan(vec![(profile, 1.0)], jams, now);
    }

    /// Drives to the home switch: fast past it, back behind it, and slowly onto it, so that the play of the drive
    /// always lies on the same side.
    pub(crate) fn seek_home(&mut self, jams: &[f64], now: Instant) {
        let m = &self.mechanics;
        let (speed, acceleration) = (m.speed_deg_s, m.acceleration_deg_s2);
        let here = self.angles(now);
        let to_switch = (m.home_deg - here.platter).rem_euclid(360.0) + (here.platter - here.shaft);
        let overshoot = speed * speed / (2.0 * acceleration);
        let back = HOME_BACK_DEG + m.backlash_deg;
        let legs = vec![
            (Profile::travel(to_switch + overshoot, speed, acceleration), 1.0),
            (Profile::travel(-(overshoot + back), speed, acceleration), 1.0),
            (Profile::travel(back, speed * HOME_SLOW, acceleration), 1.0),
        ];
        self.plan(legs, jams, now);
    }

    /// Slows down to rest as fast as the motor can. Does nothing at rest.
    pub(crate) fn halt(&mut self, jams: &[f64], now: Instant) {
        if matches!(self.motor(now), Motor::Resting(_)) {
            return;
        }
        let leg = self.leg(now);
        let profile = Profile::halt(leg.speed(leg.seconds(now)), self.mechanics.acceleration_deg_s2);
        let grip = leg.grip;
        self.plan(vec![(profile, grip)], jams, now);
    }

    /// The motor halts half-way through what is left of its way and keeps silent.
    pub(crate) fn fall_silent(&mut self, now: Instant) {
        let middle = now + self.left(now) / 2;
        if let Some(leg) = self.legs.back_mut() {
            leg.end = Some(middle);
            leg.ending = Ending::Silent;
        }
    }

    /// Somebody turns the platter by hand; the motor at rest does not notice.
    pub(crate) fn push(&mut self, deg: f64, now: Instant) {
        let mut from = self.angles(now);
        from.shaft += deg;
        from.platter += deg;
        self.replace(now, vec![Leg::rest(from, now)]);
    }

    /// Looks at the motion under way once more, because an obstacle has come.
    pub(crate) fn obstruct(&mut self, jams: &[f64], now: Instant) {
        for k in 0..self.legs.len() {
            if self.legs[k].ended(now) {
                continue;
            }
            if let Some(end) = self.blocked(&self.legs[k], jams, now, false) {
                self.legs[k].end = Some(end);
                self.legs[k].ending = Ending::Jammed;
                self.legs.truncate(k + 1);
                return;
            }
        }
    }

    fn plan(&mut self, profiles: Vec<(Profile, f64)>, jams: &[f64], now: Instant) {
        let last = &self.legs[self.legs.len() - 1];
        let wedged = (last.ending == Ending::Jammed && last.ended(now)).then(|| last.direction());
        let mut from = self.angles(now);
        let mut start = now;
        let mut legs: Vec<Leg> = Vec::with_capacity(profiles.len());
        for (profile, grip) in profiles {
            let seconds = profile.seconds();
            let end = seconds.is_finite().then(|| start + Duration::from_secs_f64(seconds));
            let mut leg = Leg { start, end, profile, from, grip, ending: Ending::Standing };
            let pressed = wedged == Some(leg.direction()) && legs.is_empty();
            if let Some(hit) = self.blocked(&leg, jams, start, pressed) {
                leg.end = Some(hit);
                leg.ending = Ending::Jammed;
                legs.push(leg);
                break;
            }
            from = leg.angles(seconds, self.mechanics.backlash_deg);
            start = end.unwrap_or(start);
            legs.push(leg);
        }
        self.replace(now, legs);
    }

    /// When the platter first meets one of `jams` (true angles) on this leg, not looking before `since`. An obstacle
    /// that the platter already touches counts only when it is pressed against it again.
    fn blocked(&self, leg: &Leg, jams: &[f64], since: Instant, pressed: bool) -> Option<Instant> {
        let direction = leg.direction();
        let at = |seconds: f64| {
            direction * self.mechanics.true_for(leg.angles(seconds, self.mechanics.backlash_deg).platter)
        };
        let first = leg.seconds(since);
        let start = at(first);
        // Degrees to an obstacle; one that is touched already is a full turn away, unless it is pressed.
        let ahead = |jam: &f64| (direction * jam - start - RESOLUTION_DEG).rem_euclid(360.0) + RESOLUTION_DEG;
        if pressed
            && jams.iter().any(|jam| ahead(jam) > 360.0 - RESOLUTION_DEG || ahead(jam) < 2.0 * RESOLUTION_DEG)
        {
            return Some(since);
        }
        let obstacle = start + jams.iter().map(ahead).min_by(f64::total_cmp)?;
        if direction == 0.0 {
            return None;
        }
        let mut late = leg.profile.seconds();
        if late.is_infinite() {
            // An endless motion meets every angle; double the time until it has.
            late = first + 1.0;
            while at(late) < obstacle {
                late += late - first;
            }
        }
        if at(late) < obstacle {
            return None;
        }
        let mut early = first;
        for _ in 0..60 {
            let middle = 0.5 * (early + late);
            if at(middle) < obstacle { early = middle } else { late = middle }
        }
        Some(leg.start + Duration::from_secs_f64(late))
    }

    /// From `now` on these legs hold, and nothing else that was planned.
    fn replace(&mut self, now: Instant, legs: Vec<Leg>) {
        // At least one stays: the past before `now`.
        while self.legs.len() > 1 && self.legs.back().is_some_and(|leg| leg.start > now) {
            self.legs.pop_back();
        }
        if let Some(present) = self.legs.back_mut()
            && !present.ended(now)
        {
            present.end = Some(now);
            present.ending = Ending::Overtaken;
        }
        self.legs.extend(legs);
        while self.legs.len() > LEGS_MAX {
            self.legs.pop_front();
        }
    }
}

impl Leg {
    fn rest(from: Angles, now: Instant) -> Self {
        let profile = Profile::travel(0.0, 1.0, 1.0);
        Self { start: now, end: Some(now), profile, from, grip: 1.0, ending: Ending::Standing }
    }
}

impl Mechanics {
    /// A heavy platform that somebody else drives.
    pub(crate) fn of_somebody_else() -> Self {
        Self {
            speed_deg_s: 90.0,
            acceleration_deg_s2: 10.0,
            backlash_deg: 0.0,
            vibration_deg: 0.0,
            vibration_hz: 0.0,
            vibration_decay: Duration::ZERO,
            eccentricity_deg: 0.0,
            home_deg: 0.0,
        }
    }

    /// The true angle of a platter whose bearing sits a little off centre: once a turn ahead, once behind.
    fn true_for(&self, platter: f64) -> f64 {
        platter + self.eccentricity_deg * (platter - self.home_deg).to_radians().sin()
    }

    /// The inverse of [`Mechanics::true_for`], by iteration; the error of bearings is far below a radian.
    fn shaft_for(&self, true_deg: f64) -> f64 {
        (0..8).fold(true_deg, |platter, _| platter - (self.true_for(platter) - true_deg))
    }
}

#[cfg(test)]
mod tests;
