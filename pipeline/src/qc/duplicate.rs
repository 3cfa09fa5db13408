//! Duplicates within a session: the same bytes twice are a fault of the rig, the same look is only worth a hint.
//!
//! A camera that hangs delivers its last picture again, byte for byte; sensor noise makes two real exposures
//! differ. So an equal SHA-256 blocks. A near duplicate is shown and never a gate, because a bottle looks the same
//! from all sides; the perceptual hash alone cannot tell it, because a small object in a large, still picture turns
//! without changing it, so no cell of the picture may have changed either.

use super::{DUPLICATE, Finding, Limits, NEAR_DUPLICATE, still};
use crate::cells::Cells;
use crate::examiner::Picture;
use crate::phash::phash_distance_bits;

/// The bytes of the frames of one session so far, by their hashes.
///
/// Use one for all cameras of a session; labels name frames as a person would ("12", "12 left").
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    frames: Vec<(String, [u8; 32])>,
}

impl Seen {
    /// The finding for the bytes of a frame that was remembered under another label. Does not remember them.
    pub fn check(&self, label: &str, sha256: [u8; 32], limits: &Limits) -> Option<Finding> {
        let (other, _) = self.frames.iter().find(|(other, known)| other != label && *known == sha256)?;
        exact(other, limits)
    }

    /// Remembers a frame; a frame remembered under the same label before is forgotten.
    pub fn remember(&mut self, label: &str, sha256: [u8; 32]) {
        self.frames.retain(|(known, _)| known != label);
        self.frames.push((label.to_owned(), sha256));
    }
}

/// A frame of the same camera, as far as another can look like it.
pub(super) struct Other<'a> {
    pub label: &'a str,
    pub phash: u64,
    pub cells: &'a Cells,
}

/// The finding for a picture that looks like one of `others`: the one whose hash is nearest, if no cell has changed.
pub(super) fn near<'a>(
    picture: &Picture,
    others: impl Iterator<Item = Other<'a>>,
    limits: &Limits,
) -> Option<Finding> {
    if limits.symmetric || limits.is_off(&NEAR_DUPLICATE) {
        return None;
    }
    let mut alike: Vec<(u32, Other<'a>)> = others
        .map(|other| (phash_distance_bits(other.phash, picture.phash), other))
        .filter(|(bits, _)| *bits <= limits.near_duplicate_bits_max)
        .collect();
    alike.sort_by_key(|(bits, _)| *bits);
    let most = still::levels_max(picture, limits);
    let is_still = |other: &Other<'_>| {
        other.cells.is_like(&picture.cells) && still::change(&picture.cells, other.cells).largest <= most
    };
    let (bits, other) = alike.iter().find(|(_, other)| is_still(other))?;
    mention(other.label, *bits, limits)
}

fn exact(other: &str, limits: &Limits) -> Option<Finding> {
    limits.finding(
        &DUPLICATE,
        (0.0, 0.0, ""),
        format!("Frame is the same picture as {other}. The camera hung or the table stood still. Retake."),
    )
}

fn mention(other: &str, bits: u32, limits: &Limits) -> Option<Finding> {
    let limit = limits.near_duplicate_bits_max;
    limits.finding(
        &NEAR_DUPLICATE,
        (f64::from(bits), f64::from(limit), "bits"),
        format!(
            "Frame looks like {other}: {bits} of 64 hash bits differ and no part of the picture changed. \
             Check that the table turned."
        ),
    )
}
