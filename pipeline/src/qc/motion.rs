//! Motion: a frame that is blurred in one direction, because the object or the camera moved during the exposure.
//!
//! A lens out of focus blurs all directions alike; a movement leaves edges along its direction sharp. Both are
//! measured at once ([`Sharpness::is_streaked`](super::Sharpness::is_streaked)), and told apart because the cure is
//! another one: a retake helps against a movement and not against a wrong focus.

use super::{Finding, Limits, MOTION, rounded_up};

/// The finding for a frame whose blur of `blur` pixels has one direction.
pub(super) fn judge(blur: f64, limits: &Limits) -> Option<Finding> {
    let limit = limits.blur_px_max;
    let message = format!(
        "Something moved during the exposure: the object is blurred over {:.1} pixels in one direction, at most \
         {limit} is allowed. Let the table settle longer and keep the camera still, then retake.",
        rounded_up(blur)
    );
    limits.finding(&MOTION, (blur, limit, "px"), message)
}
