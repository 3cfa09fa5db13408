//! The table: whether the object turned since the frame before, and whether it turned twice as far.
//!
//! Two frames of one angle differ by noise, two neighbouring angles by much more, so the largest difference of any
//! cell to the frame before tells whether something turned; a bottle turns without changing, which a recipe says with
//! `symmetric`. How far it turned shows in the mean difference: after some steps it is known how much one step and
//! two steps change, and a step that changes as much as two is one that went twice as far.

use super::{Finding, Limits, NOT_MOVED, TWICE, rounded_up};
use crate::cells::{Cells, median};

/// Steps that must be known before one can be called unusual.
const STEPS_MIN: usize = 6;
/// Two steps must change so much more than one, or they cannot be told apart.
const CONTRAST_MIN: f64 = 1.25;

/// How much a picture changed against another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// Largest difference of a cell in grey levels.
    pub largest: f64,
    /// Mean difference in grey levels.
    pub mean: f64,
}

/// The change from `before` to `cells`, without a change of light of the whole.
pub(super) fn change(cells: &Cells, before: &Cells) -> Change {
    let gain = cells.gain_over(before, |_| true).unwrap_or(1.0);
    let (mut largest, mut sum) = (0.0f64, 0.0);
    for difference in cells.differences(before, gain) {
        largest = largest.max(difference);
        sum += difference;
    }
    Change { largest, mean: sum / cells.luma().len().max(1) as f64 }
}

/// The finding for a frame that looks like `other`, taken one step before.
pub(super) fn not_moved(change: Change, noise_levels: f64, other: &str, limits: &Limits) -> Option<Finding> {
    // Six deviations of what is left of the noise in a cell of some five pixels a side.
    let limit = limits.still_levels_max.max(6.0 * noise_levels / 5.0);
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

/// The finding for a step that changed the picture by `change`, where `steps` and `doubles` are the mean changes of
/// earlier single and double steps.
pub(super) fn twice(change: Change, steps: &[f64], doubles: &[f64], limits: &Limits) -> Option<Finding> {
    if limits.symmetric || steps.len() < STEPS_MIN {
        return None;
    }
    let (one, two) = (median(steps.to_vec(), 1)?, median(doubles.to_vec(), 1)?);
    let most = steps.iter().copied().fold(0.0, f64::max);
    if two < CONTRAST_MIN * one || change.mean < 0.95 * two || change.mean < 1.1 * most {
        return None;
    }
    let message = format!(
        "The table may have turned twice as far: the picture changed by {:.1} grey levels, one step changes it by \
         about {one:.1}, two by {two:.1}. Look at the frame; if the angle is wrong, reference the table and retake.",
        rounded_up(change.mean)
    );
    limits.finding(&TWICE, (change.mean, two, "grey levels"), message)
}
