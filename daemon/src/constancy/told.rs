//! What is told of a camera: figures then and now, and what is beyond its limit. Versioned with the interface.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;

/// What may drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Width of edges.
    Sharpness,
    /// Light on the backdrop.
    Light,
    /// Colour of the backdrop.
    Colour,
    /// Grain.
    Noise,
}

impl Quality {
    /// Each with its word in files and labels.
    pub const ALL: [(&'static str, Self); 4] = [
        ("sharpness", Self::Sharpness),
        ("light", Self::Light),
        ("colour", Self::Colour),
        ("noise", Self::Noise),
    ];
}

/// Since when, for a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[allow(missing_docs)] // fields are named for what the sentence says
pub enum Since {
    /// Within the last week; 0 = Monday.
    Weekday { weekday: u8 },
    /// A local date, `2026-11-21`.
    Date { date: String },
    /// The clock was not to be trusted: within so many turns.
    Turns { turns: u32 },
}

impl Since {
    /// The words' part of a moment, as seen from another.
    pub(super) fn of(from: Moment, now: Moment) -> Self {
        match (from.day, now.day) {
            (Some(day), Some(_)) if now.days_since(from) < 7 => {
                // 1970-01-01 was a Thursday.
                Self::Weekday { weekday: (day + 3).rem_euclid(7) as u8 }
            }
            (Some(day), _) => Self::Date { date: crate::clock::date(day) },
            _ => Self::Turns { turns: now.turn.saturating_sub(from.turn) + 1 },
        }
    }
}

/// One camera's picture has changed beyond its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// Name in the rig.
    pub camera: String,
    /// What changed.
    pub quality: Quality,
    /// Part of it that was lost, 0 to 1: of sharpness (1 - 1/blur growth) or light; negative = gained. Of noise how much
    /// more there is, 0.6 = 60 %. Of colour the shift in levels.
    pub change: f64,
    /// Since when.
    pub since: Since,
}

/// A value then and now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    /// Median of the baseline, of those angles and set-ups that were used now.
    pub baseline: f64,
    /// Median now.
    pub today: f64,
}

/// How one camera's pictures are against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CameraHealth {
    /// Name in the rig.
    pub camera: String,
    /// Frames of the baseline, all set-ups together.
    pub baseline_frames: usize,
    /// Frames of now that could be compared.
    pub today_frames: usize,
    /// Width of the subject's sharpest edges in pixels of the stored picture.
    pub blur_px: Option<Measured>,
    /// Luma of the backdrop, 0 to 255.
    pub luma: Option<Measured>,
    /// Shift of colour against the baseline in levels: blue and red difference.
    pub colour_shift: Option<[f64; 2]>,
    /// Standard deviation of noise in grey levels.
    pub noise_levels: Option<Measured>,
    /// What is beyond its limit.
    pub drifts: Vec<Drift>,
    /// The same in words.
    pub sentences: Vec<String>,
}

impl CameraHealth {
    /// Nothing is known yet.
    pub fn of_none(camera: String) -> Self {
        Self {
            camera,
            baseline_frames: 0,
            today_frames: 0,
            blur_px: None,
            luma: None,
            colour_shift: None,
            noise_levels: None,
            drifts: Vec::new(),
            sentences: Vec::new(),
        }
    }
}
