//! Noise: grain from a sensor that had too little light or too much gain.
//!
//! The standard deviation is taken where the picture is smoothest ([`crate::tiles`]), so that texture does not count
//! as noise. A JPEG coder removes part of it there: at quality 92, noise of 4 levels on the sensor reads as about 1.9.

use super::{Finding, Limits, NOISE, rounded_up};

/// The finding for a frame with noise of `levels`.
pub(super) fn judge(levels: f64, limits: &Limits) -> Option<Finding> {
    let limit = limits.noise_levels_max;
    if levels <= limit {
        return None;
    }
    let message = format!(
        "Frame is noisy: grain of {:.1} grey levels, at most {limit} is allowed. \
         Turn the gain down and add light, or expose longer.",
        rounded_up(levels)
    );
    limits.finding(&NOISE, (levels, limit, "grey levels"), message)
}
