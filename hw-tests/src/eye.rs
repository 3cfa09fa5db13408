//! Who sees from outside where the platter truly is: a simulator's truth, or nobody.

use turnstage_drivers::sim::Booth;

type Look = Box<dyn Fn() -> f64 + Send + Sync>;

/// Sees a platter, whatever its table says of it.
pub struct Eye {
    turn: Look,
    tilt: Option<Look>,
}

impl Eye {
    /// `turn` gives degrees now: counter-clockwise from above, counted on over turns, from any zero.
    pub fn of(turn: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { turn: Box::new(turn), tilt: None }
    }

    /// `tilt` gives degrees now, 0 level.
    pub fn and_tilt(self, tilt: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { tilt: Some(Box::new(tilt)), ..self }
    }

    /// Degrees of tilt now, where they are seen.
    pub fn tilt_deg(&self) -> Option<f64> {
        self.tilt.as_ref().map(|tilt| tilt())
    }

    /// Degrees now.
    pub fn deg(&self) -> f64 {
        (self.turn)()
    }
}

impl From<Booth> for Eye {
    fn from(booth: Booth) -> Self {
        let tilting = booth.clone();
        Self::of(move || booth.true_angle()).and_tilt(move || tilting.true_tilt())
    }
}
