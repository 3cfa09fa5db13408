//! Duplicates within a session: the same bytes twice are a fault of the rig, the same look is only worth a hint.
//!
//! A camera that hangs delivers its last picture again, byte for byte; sensor noise makes two real exposures
//! differ. So an equal SHA-256 blocks. A near duplicate is shown and never a gate, because a bottle looks the same
//! from all sides; the perceptual hash alone cannot tell it, because a small object in a large, still picture turns
//! without changing it, so no cell of the picture may have changed either.

use super::{DUPLICATE, Finding, Limits, NEAR_DUPLICATE, still};
use crate::cells::Cells;
use crate::examiner::Examined;
use crate::phash::phash_distance_bits;

/// The frames of one session so far, as far as duplicates need them: some 25 kB a frame.
///
/// Use one for all cameras of a session; labels name frames as a person would ("12", "12 left").
#[derive(Debug, Clone, Default)]
pub struct Seen {
    frames: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    label: String,
    sha256: [u8; 32],
    phash: Option<u64>,
    /// Not stored, so unknown of frames from before a restart: these give no hint.
    cells: Option<Cells>,
}

impl Seen {
    /// At most one finding: the exact duplicate among the frames remembered under other labels, else the
    /// nearest near duplicate. Does not remember `examined`.
    pub fn check(&self, label: &str, examined: &Examined, limits: &Limits) -> Vec<Finding> {
        let others = || self.frames.iter().filter(|known| known.label != label);
        if let Some(same) = others().find(|known| known.sha256 == examined.sha256) {
            return exact(&same.label, limits).into_iter().collect();
        }
        let Some(picture) = &examined.picture else { return Vec::new() };
        let still_max = still::levels_max(picture, limits);
        let is_still = |before: &Cells| {
            before.is_like(&picture.cells) && still::change(&picture.cells, before).largest <= still_max
        };
        let nearest = others()
            .filter_map(|known| Some((phash_distance_bits(known.phash?, picture.phash), known)))
            .filter(|(bits, known)| {
                *bits <= limits.near_duplicate_bits_max && known.cells.as_ref().is_some_and(is_still)
            })
            .map(|(bits, known)| (bits, known.label.as_str()))
            .min_by_key(|&(bits, _)| bits);
        nearest.and_then(|(bits, other)| near(other, bits, limits)).into_iter().collect()
    }

    /// Remembers a frame; a frame remembered under the same label before is forgotten.
    pub fn remember(&mut self, label: &str, examined: &Examined) {
        self.recall(label, examined.sha256, examined.picture.as_ref().map(|picture| picture.phash));
        if let Some(known) = self.frames.last_mut() {
            known.cells = examined.picture.as_ref().map(|picture| picture.cells.clone());
        }
    }

    /// Remembers a frame by what was stored about it, for example after a restart in the middle of a session.
    pub fn recall(&mut self, label: &str, sha256: [u8; 32], phash: Option<u64>) {
        self.forget(label);
        self.frames.push(Known { label: label.to_owned(), sha256, phash, cells: None });
    }

    /// Forgets a frame that no longer counts.
    pub fn forget(&mut self, label: &str) {
        self.frames.retain(|known| known.label != label);
    }
}

fn exact(other: &str, limits: &Limits) -> Option<Finding> {
    limits.finding(
        &DUPLICATE,
        (0.0, 0.0, ""),
        format!("Frame is the same picture as {other}. The camera hung or the table stood still. Retake."),
    )
}

fn near(other: &str, bits: u32, limits: &Limits) -> Option<Finding> {
    let limit = limits.near_duplicate_bits_max;
    if limits.symmetric {
        return None;
    }
    limits.finding(
        &NEAR_DUPLICATE,
        (f64::from(bits), f64::from(limit), "bits"),
        format!(
            "Frame looks like {other}: {bits} of 64 hash bits differ and no part of the picture changed. \
             Check that the table turned."
        ),
    )
}
