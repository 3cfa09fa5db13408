//! Framing: an object that touches the edge of the picture, is too small in it, or does not stand in its middle.
//!
//! Where the object is, is known from a clean plate (what differs from the empty table), or from the turn itself
//! (what changed between its frames, so the space that the object sweeps).

use super::{FRAMING, Finding, Limits, rounded_up};
use crate::cells::Subject;

/// An object that begins within this part of a side touches it.
const EDGE: f64 = 0.008;

/// At most one finding about where `subject` is.
pub(super) fn judge(subject: &Subject, limits: &Limits) -> Option<Finding> {
    let [left, top, right, bottom] = subject.bounds()?;
    let sides = [("left", left), ("top", top), ("right", 1.0 - right), ("bottom", 1.0 - bottom)];
    if let Some((side, _)) = sides.iter().find(|(_, gap)| *gap < EDGE) {
        let message = format!(
            "The object reaches the {side} edge of the picture: part of it may be cut off. \
             Move the camera back or turn it."
        );
        return limits.finding(&FRAMING, (0.0, EDGE * 100.0, "%"), message);
    }
    let size = (right - left).max(bottom - top);
    if size < limits.subject_part_min {
        let message = format!(
            "The object is small in the picture: {:.0} % of a side, at least {:.0} % is needed. \
             Move the camera nearer or zoom in.",
            (size * 100.0).floor(),
            limits.subject_part_min * 100.0
        );
        return limits.finding(&FRAMING, (size * 100.0, limits.subject_part_min * 100.0, "%"), message);
    }
    let aside = ((left + right) / 2.0 - 0.5).abs().max(((top + bottom) / 2.0 - 0.5).abs());
    if aside <= limits.off_centre_max {
        return None;
    }
    let message = format!(
        "The object stands {:.0} % beside the middle of the picture, at most {:.0} % is allowed. \
         Turn the camera, or put the object in the middle of the table.",
        rounded_up(aside * 100.0),
        limits.off_centre_max * 100.0
    );
    limits.finding(&FRAMING, (aside * 100.0, limits.off_centre_max * 100.0, "%"), message)
}
