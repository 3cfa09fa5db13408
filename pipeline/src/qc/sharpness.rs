//! Sharpness: the variance of the Laplacian at three sizes, and the verdict on it.
//!
//! At full size the Laplacian of a camera picture measures its noise, so the verdict is taken at half size
//! (means of 2 x 2 samples), where it tells sharp from blurred; full and quarter are reported for comparison.
//! The kernel is the 4-neighbour one with mirrored edges (the edge sample itself is not repeated), the same as
//! `cv2.Laplacian(plane, cv2.CV_64F).var()`; Pertuz et al. 2013, LAPV.

use serde::{Deserialize, Serialize};

use super::{Finding, Limits, SHARPNESS};

/// Variance of the Laplacian in squared grey levels, 0 to about 10^6; 0 for a plane of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sharpness {
    /// Of the luma plane as decoded; dominated by sensor noise.
    pub full: f64,
    /// Of the plane of 2 x 2 means; the verdict is taken here.
    pub half: f64,
    /// Of the plane of 2 x 2 means of that.
    pub quarter: f64,
}

/// The finding for a frame that is not sharp enough at half size.
pub(super) fn judge(sharpness: &Sharpness, limits: &Limits) -> Option<Finding> {
    let (value, limit) = (sharpness.half, limits.sharpness_half_min);
    if value >= limit {
        return None;
    }
    // Rounded down, so that the sentence never says "40.0, at least 40".
    let shown = (value * 10.0).floor() / 10.0;
    limits.finding(
        &SHARPNESS,
        (value, limit, "squared grey levels"),
        format!(
            "Frame is not sharp: {shown:.1} at half size, at least {limit} is needed. \
             Wipe the lens, then retake."
        ),
    )
}
