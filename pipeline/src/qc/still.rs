//! The table: whether the object turned since the frame before, and whether it turned twice as far.
//!
//! Two frames of one angle differ by noise, two neighbouring angles by much more, so the largest difference of any
//! cell to the frame before tells whether something turned; a bottle turns without changing, which a recipe says with
//! `symmetric`. How far it turned shows in the mean difference, which grows with the way, but less and less: the picture
//! of two steps before differs by some third more than that of one step before. After a step that went twice as far the
//! change is larger than before, and what the step before it adds is less than usual.

use super::{Finding, Limits, NOT_MOVED, TWICE, rounded_up};
use crate::cells::{Cells, median};
use crate::examiner::Picture;

/// Steps that must be known before one can be called unusual.
const STEPS_MIN: usize = 6;
/// Two steps must change so much more than one, or they cannot be told apart.
const GROWTH_MIN: f64 = 1.1;
/// A step twice as far changes so much more than the one before. On turns of the simulated booth 1.12 to 1.63 times as
/// much; what grows less is left to the closing frame, because steps of a carton grow so by themselves.
const STEP_GROWTH_MIN: f64 = 1.2;
/// After a step twice as far, the growth to the picture of two steps before is this part of the usual one. On turns of
/// the simulated booth 0.72 to 0.77 of the objects whose step grew enough; other steps that grew as much have 0.85 and more.
const GROWTH_PART_MAX: f64 = 0.82;

/// How much a picture changed against another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// Largest difference of a cell in grey levels.
    pub largest: f64,
    /// Mean difference in grey levels.
    pub mean: f64,
    /// How much lighter the whole became, as a factor; it is not part of the differences.
    pub gain: f64,
}

/// The change from `before` to `cells`, without a change of light of the whole.
pub(super) fn change(cells: &Cells, before: &Cells) -> Change {
    let gain = cells.gain_over(before, |_| true).unwrap_or(1.0);
    let (mut largest, mut sum) = (0.0f64, 0.0);
    for difference in cells.differences(before, gain) {
        largest = largest.max(difference);
        sum += difference;
    }
    Change { largest, mean: sum / cells.luma().len().max(1) as f64, gain }
}

/// Cells of a picture and those of another of the same view differ by at most so many grey levels.
pub(super) fn levels_max(picture: &Picture, limits: &Limits) -> f64 {
    // The largest of some 17 000 differences of two cells is 6 deviations of one; a third more for what is not white.
    const DEVIATIONS: f64 = 8.0;
    // Coding with loss hides noise from the measurement and makes differences of its own.
    const NOISE_LEVELS_MIN: f64 = 2.0;
    let side_px = f64::from(picture.width) / picture.cells.size().0.max(1) as f64;
    limits.still_levels_max.max(DEVIATIONS * picture.noise_levels.max(NOISE_LEVELS_MIN) / side_px.max(1.0))
}

/// The finding for a frame that looks like `other`, taken one step before.
pub(super) fn not_moved(change: Change, picture: &Picture, other: &str, limits: &Limits) -> Option<Finding> {
    let limit = levels_max(picture, limits);
    if limits.symmetric || change.largest > limit {
        return None;
    }
    let message = format!(
        "The table did not turn: no part of the picture differs from {other} by more than {:.1} grey levels, noise \
         alone makes up to {:.1}. Check that nothing blocks the table and that the object stands on it, then retake.",
        rounded_up(change.largest),
        rounded_up(limit)
    );
    limits.finding(&NOT_MOVED, (change.largest, limit, "grey levels"), message)
}

/// How the picture changed over the last two steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steps {
    /// Mean changes in grey levels: by the last step, by the one before it, and by both together.
    pub last: f64,
    pub former: f64,
    pub both: f64,
}

impl Steps {
    /// How much more both steps changed than the last one.
    pub fn growth(&self) -> f64 {
        self.both / self.last.max(1e-9)
    }
}

/// The finding for the last of two `steps`, where `growths` are those of earlier ones.
pub(super) fn twice(steps: Steps, growths: &[f64], limits: &Limits) -> Option<Finding> {
    let usual = median(growths.to_vec(), STEPS_MIN)?;
    let grown = steps.last / steps.former.max(1e-9);
    if limits.symmetric
        || usual < GROWTH_MIN
        || grown < STEP_GROWTH_MIN
        || steps.growth() > GROWTH_PART_MAX * usual
    {
        return None;
    }
    let Steps { last, former, .. } = steps;
    let message = format!(
        "The table may have turned twice as far: the picture changed by {:.1} grey levels, the step before changed it \
         by {former:.1}, and it differs hardly more from the frame before that. Look at the frame; if the angle is wrong, \
         reference the table and retake.",
        rounded_up(last)
    );
    limits.finding(&TWICE, (last, former, "grey levels"), message)
}
