//! How a motor gets from here to there: a trapezoid of speed, as a pure function of time.
//!
//! A profile is three phases of constant acceleration. Nothing ticks: position and speed at any moment are computed
//! from the moment alone, so a test may look at a motion in any order and a paused clock costs nothing.

/// One phase: constant acceleration for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Phase {
    seconds: f64,
    /// Degrees a second when the phase begins.
    speed: f64,
    /// Degrees per second squared.
    acceleration: f64,
}

impl Phase {
    fn distance(&self, t: f64) -> f64 {
        self.speed * t + 0.5 * self.acceleration * t * t
    }
}

/// A motion from rest or from speed to rest, or on and on. Signed: forward is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    phases: [Phase; 3],
    /// Degrees from start to end; infinite for a motion that never ends.
    distance: f64,
}

impl Profile {
    /// Travels `distance` degrees from rest to rest, never faster than `speed` nor harder than `acceleration`
    /// (both positive). A short way never reaches full speed: the trapezoid becomes a triangle.
    pub fn travel(distance: f64, speed: f64, acceleration: f64) -> Self {
        let way = distance.abs();
        let sign = distance.signum();
        let peak = speed.min((way * acceleration).sqrt());
        let ramp = peak / acceleration;
        let cruise = if peak > 0.0 { ((way - peak * ramp) / peak).max(0.0) } else { 0.0 };
        let phases = [
            Phase { seconds: ramp, speed: 0.0, acceleration: sign * acceleration },
            Phase { seconds: cruise, speed: sign * peak, acceleration: 0.0 },
            Phase { seconds: ramp, speed: sign * peak, acceleration: -sign * acceleration },
        ];
        Self { phases, distance }
    }

    /// Slows down from `speed` (signed) to rest.
    pub fn halt(speed: f64, acceleration: f64) -> Self {
        let seconds = speed.abs() / acceleration;
        let brake = Phase { seconds, speed, acceleration: -speed.signum() * acceleration };
        let nothing = Phase { seconds: 0.0, speed: 0.0, acceleration: 0.0 };
        Self { distance: brake.distance(seconds), phases: [brake, nothing, nothing] }
    }

    /// Speeds up to `speed` (signed) and keeps it for ever.
    pub fn spin(speed: f64, acceleration: f64) -> Self {
        Self::change(0.0, speed, acceleration)
    }

    /// Goes over from one speed to another (both signed) and keeps that for ever; one of 0 is rest.
    pub fn change(from: f64, to: f64, acceleration: f64) -> Self {
        let seconds = (to - from).abs() / acceleration;
        let ramp = Phase { seconds, speed: from, acceleration: (to - from).signum() * acceleration };
        let (kept_s, distance) = match to {
            0.0 => (0.0, ramp.distance(seconds)),
            _ => (f64::INFINITY, to.signum() * f64::INFINITY),
        };
        let phases = [
            ramp,
            Phase { seconds: kept_s, speed: to, acceleration: 0.0 },
            Phase { seconds: 0.0, speed: 0.0, acceleration: 0.0 },
        ];
        Self { phases, distance }
    }

    /// Seconds from start to end; infinite for [`Profile::spin`].
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|p| p.seconds).sum()
    }

    /// Signed degrees from start to end; infinite for [`Profile::spin`].
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// Degrees from the start and degrees a second, `t` seconds after the start.
    pub fn at(&self, t: f64) -> (f64, f64) {
        // Instants count nanoseconds; an end rounded down by half of one is still the end.
        if t + 1e-9 >= self.seconds() {
            return (self.distance, 0.0);
        }
        let mut left = t.max(0.0);
        let mut distance = 0.0;
        for phase in &self.phases {
            if left < phase.seconds {
                return (distance + phase.distance(left), phase.speed + phase.acceleration * left);
            }
            distance += phase.distance(phase.seconds);
            left -= phase.seconds;
        }
        (self.distance, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_travel_ends_exactly_at_its_target_and_keeps_every_limit(
            distance in -720.0f64..720.0, speed in 0.5f64..90.0, acceleration in 1.0f64..400.0,
        ) {
            let profile = Profile::travel(distance, speed, acceleration);
            let seconds = profile.seconds();
            prop_assert_eq!(profile.at(0.0).0, 0.0);
            prop_assert_eq!(profile.at(seconds), (distance, 0.0));

            let steps = 400;
            let dt = seconds / f64::from(steps);
            let (mut before, mut speed_before) = profile.at(0.0);
            for k in 1..=steps {
                let (here, now) = profile.at(f64::from(k) * dt);
                prop_assert!(now.abs() <= speed * (1.0 + 1e-9), "speed {now} over {speed}");
                prop_assert!((now - speed_before).abs() <= acceleration * dt * (1.0 + 1e-6) + 1e-6);
                // Continuous: no step is longer than the larger of the two speeds allows.
                let longest = speed * dt + 1e-6;
                prop_assert!((here - before).abs() <= longest, "jump of {} at step {k}", here - before);
                prop_assert!((here - before) * distance.signum() >= -1e-9, "went back at step {k}");
                (before, speed_before) = (here, now);
            }
        }

        #[test]
        fn a_halt_takes_exactly_the_braking_distance(speed in -90.0f64..90.0, acceleration in 1.0f64..400.0) {
            let profile = Profile::halt(speed, acceleration);
            let want = speed * speed.abs() / (2.0 * acceleration);
            prop_assert!((profile.at(profile.seconds()).0 - want).abs() < 1e-9);
            prop_assert!((profile.at(0.0).1 - speed).abs() < acceleration * 1e-8 + 1e-9 || profile.seconds() < 1e-9);
        }
    }

    #[test]
    fn a_spin_never_ends() {
        let profile = Profile::spin(-12.0, 60.0);
        assert_eq!(profile.at(1e6).1, -12.0);
        assert!(profile.seconds().is_infinite());
        assert!((profile.at(10.0).0 - -(12.0 * 10.0 - 0.5 * 12.0 * 0.2)).abs() < 1e-9);
    }

    #[test]
    fn a_change_of_speed_has_no_jump_and_one_to_rest_ends() {
        let profile = Profile::change(12.0, -6.0, 9.0);
        assert_eq!(profile.at(0.0), (0.0, 12.0));
        assert_eq!(profile.at(2.0), (6.0, -6.0));
        assert!(profile.seconds().is_infinite());
        let rest = Profile::change(-6.0, 0.0, 3.0);
        assert_eq!((rest.seconds(), rest.at(2.0)), (2.0, (-6.0, 0.0)));
    }

    #[test]
    fn no_way_takes_no_time() {
        let profile = Profile::travel(0.0, 30.0, 60.0);
        assert_eq!(profile.seconds(), 0.0);
        assert_eq!(profile.at(0.0), (0.0, 0.0));
    }
}
