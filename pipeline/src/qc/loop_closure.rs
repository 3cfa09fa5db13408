//! Loop closure: whether the object stands after a whole turn where it stood at its beginning.
//!
//! A closing frame at 360 degrees is compared with the first one. Steps that were lost anywhere in the turn show
//! here, because the object then looks as it does some degrees earlier or later. What a step changes is known from
//! the turn itself; a closing frame that differs by a good part of one step did not come home.

use super::still::{Change, levels_max};
use super::{Finding, LOOP, Limits, rounded_up};
use crate::cells::median;
use crate::examiner::Picture;

/// The finding for a closing frame that differs from the first by `change`; `steps` are the mean changes of single
/// steps.
pub(super) fn judge(picture: &Picture, change: Change, steps: &[f64], limits: &Limits) -> Option<Finding> {
    let step = median(steps.to_vec(), 1)?;
    let (part, limit) = (change.mean / step.max(1e-9), limits.closing_part_max);
    if change.largest <= levels_max(picture, limits) || part <= limit {
        return None;
    }
    let message = format!(
        "The turn did not close: the object does not stand as in the first frame; the picture differs by {:.0} % of \
         what one step changes, at most {:.0} % is allowed. Check that nothing slips, reference the table, then shoot \
         the turn anew.",
        rounded_up(part * 100.0),
        limit * 100.0
    );
    limits.finding(&LOOP, (part * 100.0, limit * 100.0, "%"), message)
}
