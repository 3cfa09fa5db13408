//! Duplicates within a session: the same bytes twice are a fault of the rig, the same look is only worth a hint.
//!
//! A camera that hangs delivers its last picture again, byte for byte; sensor noise makes two real exposures
//! differ. So an equal SHA-256 blocks. A near duplicate is shown and never a gate, because a bottle looks the same
//! from all sides; the perceptual hash alone cannot tell it, because a small object in a large, still picture turns
//! without changing it, so no cell of the 32 x 32 luma cells may have changed either.

use super::{DUPLICATE, Finding, Limits, NEAR_DUPLICATE};
use crate::examiner::Examined;
use crate::phash::{Signature, phash_distance_bits};

/// Grey levels that a cell may differ between two exposures of one view: noise is averaged away over a cell, what
/// remains is rounding and flicker. Ten degrees of the simulated objects change some cell by more than 15.
const STILL_LEVELS_MAX: u8 = 3;

/// The frames of one session so far, as far as duplicates need them: a few dozen bytes a frame.
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
    signature: Option<Signature>,
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
        let (phash, still) = (picture.phash, |known: &&Known| {
            let before = known.signature.as_ref();
            before.is_some_and(|before| before.largest_difference(&picture.signature) <= STILL_LEVELS_MAX)
        });
        let nearest = others()
            .filter(still)
            .filter_map(|known| Some((phash_distance_bits(known.phash?, phash), known.label.as_str())))
            .min_by_key(|&(bits, _)| bits);
        nearest.and_then(|(bits, other)| near(other, bits, limits)).into_iter().collect()
    }

    /// Remembers a frame; a frame remembered under the same label before is forgotten.
    pub fn remember(&mut self, label: &str, examined: &Examined) {
        self.recall(label, examined.sha256, examined.picture.as_ref().map(|picture| picture.phash));
        if let Some(known) = self.frames.last_mut() {
            known.signature = examined.picture.as_ref().map(|picture| picture.signature.clone());
        }
    }

    /// Remembers a frame by what was stored about it, for example after a restart in the middle of a session.
    pub fn recall(&mut self, label: &str, sha256: [u8; 32], phash: Option<u64>) {
        self.forget(label);
        self.frames.push(Known { label: label.to_owned(), sha256, phash, signature: None });
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
    if limits.symmetric || bits > limit {
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
