//! Size: a frame that is not as large as the camera was set to.
//!
//! A driver that falls back to another mode delivers good pictures of the wrong size; a spin with two sizes is spoilt.

use super::{Finding, Limits, SIZE};

/// The finding for a picture of `(width, height)` where `asked` was set; which side is the longer does not matter,
/// because cameras turn pictures.
pub(crate) fn judge(size: (u32, u32), asked: (u32, u32), limits: &Limits) -> Option<Finding> {
    let sorted = |(a, b): (u32, u32)| (a.min(b), a.max(b));
    if sorted(size) == sorted(asked) {
        return None;
    }
    let megapixels = |(a, b): (u32, u32)| f64::from(a) * f64::from(b) / 1e6;
    let message = format!(
        "Frame is {} x {} pixels, the camera was set to {} x {}. Close and open the camera, then retake.",
        size.0, size.1, asked.0, asked.1
    );
    limits.finding(&SIZE, (megapixels(size), megapixels(asked), "megapixels"), message)
}
