//! Sharpness: how blurred the subject is, and the variance of the Laplacian at three sizes.
//!
//! The verdict is on the width of the blur in pixels, read from the tiles of the subject ([`crate::tiles`]): it does
//! not depend on contrast, and a sharp backdrop cannot save a blurred object. At full size the Laplacian of a camera
//! picture measures its noise; its variance is reported because the trade knows it, and a recipe may demand a least
//! value at half size. The kernel is the 4-neighbour one with mirrored edges (the edge sample itself is not
//! repeated), the same as `cv2.Laplacian(plane, cv2.CV_64F).var()`; Pertuz et al. 2013, LAPV.

use serde::{Deserialize, Serialize};

use super::{Finding, Limits, SHARPNESS, rounded_down, rounded_up};

/// How sharp a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sharpness {
    /// Variance of the Laplacian of the luma plane as decoded, in squared grey levels, 0 to about 10^6; 0 for a plane
    /// of one sample. Dominated by sensor noise.
    pub full: f64,
    /// Of the plane of 2 x 2 means.
    pub half: f64,
    /// Of the plane of 2 x 2 means of that.
    pub quarter: f64,
    /// Blur of the subject in the direction where it is widest: standard deviation in pixels of the stored picture,
    /// 0 to 10. `None` where it was not measured.
    #[serde(default)]
    pub blur_px: Option<f64>,
    /// Blur across the direction where it is widest.
    #[serde(default)]
    pub blur_across_px: Option<f64>,
}

impl Sharpness {
    /// The blur has one direction, as when something moved; a lens out of focus blurs all ways alike.
    pub fn is_streaked(&self) -> bool {
        // Of pictures blurred on purpose: out of focus 0.65 to 1, moved along a line 0 to 0.6 (95 of 100).
        const ACROSS_TO_WIDEST: f64 = 0.63;
        matches!((self.blur_px, self.blur_across_px), (Some(widest), Some(across)) if across < ACROSS_TO_WIDEST * widest)
    }
}

/// The finding for a frame that is out of focus, or not as sharp as the recipe demands.
pub(super) fn judge(sharpness: &Sharpness, limits: &Limits) -> Option<Finding> {
    if let Some(blur) = sharpness.blur_px.filter(|&blur| blur > limits.blur_px_max) {
        if sharpness.is_streaked() {
            return super::motion::judge(blur, limits);
        }
        let limit = limits.blur_px_max;
        let message = format!(
            "Frame is out of focus: edges of the object are blurred over {:.1} pixels, at most {limit} is allowed. \
             Wipe the lens and check the focus, then retake.",
            rounded_up(blur)
        );
        return limits.finding(&SHARPNESS, (blur, limit, "px"), message);
    }
    let (value, limit) = (sharpness.half, limits.sharpness_half_min);
    if value >= limit {
        return None;
    }
    let message = format!(
        "Frame is not sharp: {:.1} at half size, at least {limit} is needed. Wipe the lens, then retake.",
        rounded_down(value)
    );
    limits.finding(&SHARPNESS, (value, limit, "squared grey levels"), message)
}
