//! One axis of a table as a function of time: at rest, on a trapezoid to its target, running on, or braking.

/// What the motor does. Degrees, seconds of the table's own clock, degrees a second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Motion {
    Rest,
    /// To `from + by`, and there at rest.
    Travel {
        by: f64,
    },
    /// On and on; the speed carries the sign.
    Run {
        speed: f64,
    },
    /// From this speed to rest.
    Brake {
        speed: f64,
    },
}

/// A motor with a speed and an acceleration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    from: f64,
    begun_s: f64,
    motion: Motion,
    /// Fastest, degrees a second.
    speed: f64,
    /// Degrees per second squared.
    acceleration: f64,
}

impl Axis {
    pub fn at_rest(deg: f64, acceleration: f64) -> Self {
        Self { from: deg, begun_s: 0.0, motion: Motion::Rest, speed: 0.0, acceleration }
    }

    /// Where it is, and how fast.
    pub fn place(&self, at_s: f64) -> (f64, f64) {
        let t = (at_s - self.begun_s).max(0.0);
        let (moved, speed) = match self.motion {
            Motion::Rest => (0.0, 0.0),
            Motion::Travel { by } => {
                let (way, speed) = trapezoid(by.abs(), self.speed, self.acceleration, t);
                (way * by.signum(), speed * by.signum())
            }
            Motion::Run { speed } => {
                let rising = t.min(speed.abs() / self.acceleration);
                let way = 0.5 * self.acceleration * rising * rising + speed.abs() * (t - rising);
                (way * speed.signum(), self.acceleration * rising * speed.signum())
            }
            Motion::Brake { speed } => {
                let t = t.min(speed.abs() / self.acceleration);
                let way = speed.abs() * t - 0.5 * self.acceleration * t * t;
                (way * speed.signum(), (speed.abs() - self.acceleration * t) * speed.signum())
            }
        };
        (self.from + moved, speed)
    }

    /// When it stands; `None` if it runs on. A moment that has passed if it stands already.
    pub fn end_s(&self) -> Option<f64> {
        match self.motion {
            Motion::Rest => Some(self.begun_s),
            Motion::Travel { by } => Some(self.begun_s + duration(by.abs(), self.speed, self.acceleration)),
            Motion::Run { .. } => None,
            Motion::Brake { speed } => Some(self.begun_s + speed.abs() / self.acceleration),
        }
    }

    /// When it will have moved by `deg` on its way; `None` if that is further than it goes.
    pub fn passes_s(&self, deg: f64) -> Option<f64> {
        let far = |at_s: f64| (self.place(at_s).0 - self.from).abs() >= deg;
        let (mut low, mut high) = (self.begun_s, self.end_s().unwrap_or(self.begun_s + 1e6));
        if !far(high) {
            return None;
        }
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if far(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// Begins at `at_s` to travel, from wherever it is then. A motion under way is forgotten: what the real motor does
    /// with its speed at that moment is not known.
    pub fn travel(&mut self, by: f64, speed: f64, at_s: f64) {
        *self =
            Self { from: self.place(at_s).0, begun_s: at_s, motion: Motion::Travel { by }, speed, ..*self };
    }

    pub fn run(&mut self, speed: f64, at_s: f64) {
        *self = Self { from: self.place(at_s).0, begun_s: at_s, motion: Motion::Run { speed }, ..*self };
    }

    pub fn brake(&mut self, at_s: f64) {
        let (from, speed) = self.place(at_s);
        *self = Self { from, begun_s: at_s, motion: Motion::Brake { speed }, ..*self };
    }

    /// Stands still at once: no power, or an obstacle.
    pub fn freeze(&mut self, at_s: f64) {
        *self = Self { from: self.place(at_s).0, begun_s: at_s, motion: Motion::Rest, ..*self };
    }
}

fn duration(way: f64, speed: f64, acceleration: f64) -> f64 {
    let top = speed.min((way * acceleration).sqrt());
    if top <= 0.0 { 0.0 } else { top / acceleration + way / top }
}

/// Way and speed after `t` of a motion from rest to rest.
fn trapezoid(way: f64, speed: f64, acceleration: f64, t: f64) -> (f64, f64) {
    let end = duration(way, speed, acceleration);
    let rising = speed.min((way * acceleration).sqrt()) / acceleration;
    let left = end - t;
    if left <= 0.0 {
        (way, 0.0)
    } else if t < rising {
        (0.5 * acceleration * t * t, acceleration * t)
    } else if left < rising {
        (way - 0.5 * acceleration * left * left, acceleration * left)
    } else {
        (0.5 * acceleration * rising * rising + (t - rising) * acceleration * rising, acceleration * rising)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_travel_ends_at_its_target_after_its_time_whichever_way_it_goes() {
        for by in [90.0, -90.0, 0.5, 0.0] {
            let mut axis = Axis::at_rest(10.0, 40.0);
            axis.travel(by, 20.0, 3.0);
            let end = axis.end_s().unwrap();
            assert_eq!(axis.place(end), (10.0 + by, 0.0), "{by}");
            if by == 90.0 {
                assert!((end - 3.0 - (90.0 / 20.0 + 20.0 / 40.0)).abs() < 1e-9, "{end}");
            }
            // The speed is the slope of the way.
            let at = 3.0 + 0.37 * (end - 3.0);
            let slope = (axis.place(at + 1e-6).0 - axis.place(at - 1e-6).0) / 2e-6;
            assert!((slope - axis.place(at).1).abs() < 1e-3, "{by}: {slope}");
        }
    }

    #[test]
    fn braking_takes_its_way_and_a_frozen_motor_none() {
        let mut axis = Axis::at_rest(0.0, 40.0);
        axis.run(-20.0, 0.0);
        assert_eq!((axis.end_s(), axis.passes_s(5.0)), (None, Some(0.5)));
        axis.brake(1.0);
        assert_eq!(axis.end_s(), Some(1.5));
        assert_eq!(axis.place(9.0), (-20.0, 0.0));
        axis.travel(90.0, 20.0, 10.0);
        axis.freeze(12.0);
        assert_eq!(axis.place(99.0).0, -20.0 + 5.0 + 1.5 * 20.0);
        assert_eq!(axis.passes_s(1.0), None);
    }
}
