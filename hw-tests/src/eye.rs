//! Who sees from outside where the platter truly is: a simulator's truth, or nobody.

use turnstage_drivers::sim::Booth;

type Look = Box<dyn Fn() -> f64 + Send + Sync>;

/// Sees a platter, whatever its table says of it.
pub struct Eye {
    turn: Look,
}

impl Eye {
    /// `turn` gives degrees now: counter-clockwise from above, counted on over turns, from any zero.
    pub fn of(turn: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { turn: Box::new(turn) }
    }

    /// Degrees now.
    pub fn deg(&self) -> f64 {
        (self.turn)()
    }
}

impl From<Booth> for Eye {
    fn from(booth: Booth) -> Self {
        Self::of(move || booth.true_angle())
    }
}
