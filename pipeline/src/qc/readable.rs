//! Frames that cannot be read, or not wholly: what is said about them.

use super::{CORRUPT, FORMAT, Finding, Limits, TOO_LARGE, rounded_up};
use crate::decode::Unreadable;

/// The finding for a frame without planes.
pub(crate) fn unreadable(why: &Unreadable, limits: &Limits) -> Option<Finding> {
    match why {
        Unreadable::Bytes { length, max } => too_large(*length, *max, "MB", limits),
        Unreadable::Pixels { pixels, max } => too_large(*pixels, *max, "megapixels", limits),
        Unreadable::Memory { needed } => limits.finding(
            &TOO_LARGE,
            (*needed as f64 / 1e6, 0.0, "MB"),
            format!(
                "Frame is too large: {:.0} MB of memory are not free. Set the camera to a smaller picture size.",
                *needed as f64 / 1e6
            ),
        ),
        Unreadable::Scans { needed, max } => {
            let (needed, max) = (*needed as f64 / 1e6, *max as f64 / 1e6);
            limits.finding(
                &TOO_LARGE,
                (needed, max, "MB"),
                format!(
                    "Frame is too large: it is a JPEG in several scans (progressive), and decoding it takes \
                     {:.1} MB of memory; at most {max:.1} are taken. Set the camera to JPEG that is not progressive, \
                     or to a smaller picture size.",
                    rounded_up(needed)
                ),
            )
        }
        Unreadable::Format(what) => limits.finding(
            &FORMAT,
            (0.0, 0.0, ""),
            format!("Frame is {what}, which cannot be examined. Set the camera to standard JPEG."),
        ),
        Unreadable::Corrupt(words) => damaged(words, limits),
    }
}

/// The finding for a frame with missing or wrong samples; `words` are the decoder's.
pub(crate) fn damaged(words: &str, limits: &Limits) -> Option<Finding> {
    limits.finding(
        &CORRUPT,
        (0.0, 0.0, ""),
        format!("Frame is damaged ({words}). Check the camera's cable, then retake."),
    )
}

fn too_large(value: u64, max: u64, unit: &'static str, limits: &Limits) -> Option<Finding> {
    let (value, max) = (value as f64 / 1e6, max as f64 / 1e6);
    let shown = rounded_up(value);
    limits.finding(
        &TOO_LARGE,
        (value, max, unit),
        format!(
            "Frame is too large: {shown:.1} {unit}, at most {max} are examined. \
             Set the camera to a smaller picture size."
        ),
    )
}
