//! Where the platter stands, by our own count of what it was told and by what the table says of itself.
//!
//! Most tables know relative moves only, so the absolute angle is our book-keeping. Where a table tells its position
//! too, the two are held against each other, modulo a turn.

use crate::frame::Angle;
use crate::turntable::{Position, Source};

/// See the module. All degrees are forward positive and never wrap.
#[derive(Debug, Clone, Default)]
pub struct Bearings {
    /// Turned since opening.
    counted: f64,
    /// What was counted where zero is, and why that is believed.
    zero: Option<(f64, Source)>,
    /// Nothing has happened since that could have moved the platter otherwise.
    sure: bool,
    /// What motions may have gone wrong by whose end was only timed, added up.
    error_deg: f64,
    /// Our count less what the table says, when both were sure.
    offset: Option<f64>,
}

impl Bearings {
    /// What was counted.
    pub fn counted(&self) -> f64 {
        self.counted
    }

    /// The angle that was counted, whether zero is known or not.
    pub fn angle(&self) -> Angle {
        Angle::new(self.counted - self.zero.map_or(0.0, |(zero, _)| zero))
    }

    /// Where the platter stands, as far as is known.
    pub fn position(&self) -> Position {
        match self.zero {
            Some((_, source)) if self.sure && self.error_deg == 0.0 => Position::Known(self.angle(), source),
            Some(_) => Position::Estimated(self.angle()),
            None => Position::Unknown,
        }
    }

    /// Zero is known, and nothing has happened since that is not counted.
    pub fn is_sure(&self) -> bool {
        self.sure && self.zero.is_some()
    }

    /// How far the platter may stand beside the angle by motions whose end was only timed; 0 where every end was told.
    pub fn error_deg(&self) -> f64 {
        self.error_deg
    }

    /// A motion is taken to have ended because its time has passed; it may have gone wrong by so many degrees.
    pub fn reckon(&mut self, error_deg: f64) {
        self.error_deg += error_deg;
    }

    /// Degrees by the table's own count, if that was ever told.
    pub fn told_deg(&self) -> Option<f64> {
        Some(self.counted - self.offset?)
    }

    /// It stands at `angle` here and now.
    pub fn refer(&mut self, angle: Angle, source: Source) {
        self.zero = Some((self.counted - angle.deg(), source));
        (self.sure, self.error_deg) = (true, 0.0);
    }

    /// Something happens that one does not see the end of yet.
    pub fn doubt(&mut self) {
        self.sure = false;
    }

    /// What was doubted came to its proper end.
    pub fn trust(&mut self) {
        self.sure = self.zero.is_some();
    }

    /// Nothing is known any more.
    pub fn lose(&mut self) {
        *self = Self { counted: self.counted, ..Self::default() };
    }

    /// The table says that it stands at `told`, and it stands where we counted.
    pub fn anchor(&mut self, told: f64) {
        self.offset = Some(self.counted - told);
    }

    /// What the table says of its place can be held against ours.
    pub fn compares(&self) -> bool {
        self.offset.is_some()
    }

    /// How far `told` lies from `target`, in `[-180, 180)`; 0 while there is nothing to hold it against.
    pub fn deviation(&self, told: f64, target: f64) -> f64 {
        let Some(offset) = self.offset else { return 0.0 };
        (told + offset - target + 180.0).rem_euclid(360.0) - 180.0
    }

    /// It stands at `target`, or by what the table says a little beside it.
    pub fn arrive(&mut self, target: f64, told: Option<f64>) {
        let Some(told) = told else {
            self.counted = target;
            return;
        };
        if self.compares() {
            self.error_deg = 0.0;
        }
        self.counted = target + self.deviation(told, target);
        self.anchor(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_own_count_is_held_against_ours_modulo_a_turn() {
        let mut bearings = Bearings::default();
        bearings.anchor(-135.72);
        bearings.refer(Angle::new(0.0), Source::Declared);
        bearings.doubt();
        assert_eq!(bearings.position(), Position::Estimated(Angle::new(0.0)));
        assert!((bearings.deviation(-105.70, 30.0) - 0.02).abs() < 1e-9);
        assert!((bearings.deviation(254.30, 30.0) - 0.02).abs() < 1e-9, "the table wraps, we do not");
        bearings.arrive(30.0, Some(254.30));
        bearings.trust();
        let Position::Known(angle, Source::Declared) = bearings.position() else { panic!("{bearings:?}") };
        assert!(angle.distance(Angle::new(30.02)) < 1e-9);
        bearings.reckon(0.6);
        assert!(
            matches!(bearings.position(), Position::Estimated(_)) && bearings.is_sure(),
            "timed, not told"
        );
        bearings.arrive(60.0, Some(284.30));
        assert!(matches!(bearings.position(), Position::Known(..)), "its word ends what was only timed");
        bearings.lose();
        assert_eq!(bearings.position(), Position::Unknown);
        assert_eq!(bearings.deviation(77.0, 3.0), 0.0);
    }
}
