//! A motor with a trapezoid speed profile, and the platter that it turns.

use std::time::Duration;

use tokio::time::Instant;

/// A motion that was begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Motion {
    begun: Instant,
    /// Degrees with their sign; without end if infinite.
    deg: f64,
    speed: f64,
    acceleration: f64,
    stopped: Option<Instant>,
}

impl Motion {
    pub(crate) fn new(begun: Instant, deg: f64, speed: f64, acceleration: f64) -> Self {
        // A short way is over before the full speed is reached.
        let speed = speed.min((deg.abs() * acceleration).sqrt());
        Self { begun, deg, speed, acceleration, stopped: None }
    }

    /// Slows down from now on, unless it does already.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.stopped.is_none() && self.ends_at().is_none_or(|end| now < end) {
            self.stopped = Some(now);
        }
    }

    pub(crate) fn was_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Degrees so far, with their sign.
    pub(crate) fn gone(&self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.begun).as_secs_f64();
        let way = match self.stopped {
            Some(at) if now > at => {
                let until = at.saturating_duration_since(self.begun).as_secs_f64();
                let (way, speed) = self.unstopped(until);
                let slowing = now.saturating_duration_since(at).as_secs_f64().min(speed / self.acceleration);
                way + speed * slowing - 0.5 * self.acceleration * slowing * slowing
            }
            _ => self.unstopped(time).0,
        };
        way * self.deg.signum()
    }

    /// When it has come to rest; never, while nobody stops a motion without end.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        if let Some(at) = self.stopped {
            let (_, speed) = self.unstopped(at.saturating_duration_since(self.begun).as_secs_f64());
            return Some(at + Duration::from_secs_f64(speed / self.acceleration));
        }
        let time = self.speed / self.acceleration + self.deg.abs() / self.speed.max(1e-9);
        self.deg.is_finite().then(|| self.begun + Duration::from_secs_f64(time))
    }

    /// When it has gone `deg` degrees, if it gets there.
    pub(crate) fn reaches(&self, deg: f64) -> Option<Instant> {
        if deg > self.deg.abs() || self.stopped.is_some() {
            return None;
        }
        let ramp = 0.5 * self.speed * self.speed / self.acceleration;
        let time = if deg <= ramp {
            (2.0 * deg / self.acceleration).sqrt()
        } else if deg <= self.deg.abs() - ramp {
            self.speed / self.acceleration + (deg - ramp) / self.speed
        } else {
            let left = (2.0 * (self.deg.abs() - deg) / self.acceleration).sqrt();
            self.speed / self.acceleration + self.deg.abs() / self.speed - left
        };
        Some(self.begun + Duration::from_secs_f64(time))
    }

    /// Way and speed at `time` seconds, if nobody stops it.
    fn unstopped(&self, time: f64) -> (f64, f64) {
        let ramp = self.speed / self.acceleration;
        let cruise = self.deg.abs() / self.speed.max(1e-9) - ramp;
        if time < ramp {
            return (0.5 * self.acceleration * time * time, self.acceleration * time);
        }
        if time < ramp + cruise {
            return (0.5 * self.speed * ramp + self.speed * (time - ramp), self.speed);
        }
        let left = (2.0 * ramp + cruise - time).max(0.0);
        (self.deg.abs() - 0.5 * self.acceleration * left * left, self.acceleration * left)
    }
}

/// A platter: where it truly is, and what its controller has counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Platter {
    truly: f64,
    pub(crate) counted: f64,
    pub(crate) motion: Option<Motion>,
}

impl Platter {
    /// At rest, in degrees, counter-clockwise positive.
    pub(crate) fn at_rest(truly: f64, counted: f64) -> Self {
        Self { truly, counted, motion: None }
    }

    /// Degrees of the motion that runs.
    fn gone(&self, now: Instant) -> f64 {
        self.motion.as_ref().map_or(0.0, |motion| motion.gone(now))
    }

    /// Where it truly is, counted on over whole turns.
    pub(crate) fn truly_deg(&self, now: Instant) -> f64 {
        self.truly + self.gone(now)
    }

    /// Where its controller believes that it is.
    pub(crate) fn counted_deg(&self, now: Instant) -> f64 {
        self.counted + self.gone(now)
    }

    /// Books the motion that runs as far as it has gone.
    pub(crate) fn book(&mut self, now: Instant) {
        let gone = self.gone(now);
        self.truly += gone;
        self.counted += gone;
        self.motion = None;
    }

    /// When the motion that runs ends, if it does by itself.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.motion.as_ref().and_then(Motion::ends_at)
    }

    /// When and which of `faults` happens in the motion that runs; `after` tells after how many degrees.
    pub(crate) fn trouble<F>(
        &self,
        faults: &[F],
        after: impl Fn(&F) -> Option<f64>,
    ) -> Option<(Instant, usize)> {
        let motion = self.motion.as_ref()?;
        let at = |(index, fault): (usize, &F)| Some((motion.reaches(after(fault)?)?, index));
        faults.iter().enumerate().filter_map(at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_motion_has_ramps_and_ends_where_it_should() {
        let now = Instant::now();
        let motion = Motion::new(now, -100.0, 20.0, 10.0);
        assert_eq!(motion.gone(now + after(1.0)), -5.0);
        assert_eq!(motion.gone(now + after(3.0)), -40.0);
        assert_eq!(motion.ends_at(), Some(now + after(7.0)));
        assert_eq!(motion.gone(now + after(99.0)), -100.0);
        let reached = motion.reaches(40.0).unwrap();
        assert!((motion.gone(reached) + 40.0).abs() < 1e-6);
        // Two and a half degrees are over before it is fast.
        let short = Motion::new(now, 2.5, 20.0, 10.0);
        assert_eq!(short.ends_at(), Some(now + after(1.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_slows_down() {
        let now = Instant::now();
        let mut motion = Motion::new(now, f64::INFINITY, 20.0, 10.0);
        assert_eq!(motion.ends_at(), None);
        motion.stop(now + after(4.0));
        assert_eq!(motion.ends_at(), Some(now + after(6.0)));
        assert_eq!(motion.gone(now + after(9.0)), 80.0);
    }
}
