//! Limits that hold across cameras: set from the spread of a good turn, for one camera with one recipe.
//!
//! What is sharp, quiet or bright enough depends on sensor, lens and light, so a recipe's own limits fit no rig exactly.
//! A technician shoots a turn that is good on purpose; what it measured, with a margin, is the limit from then on.
//! The margins:
//! - Blur: the largest plus 0.25 px, or 1.3 times the median. A quarter of a pixel is what a good focus wanders with
//!   temperature and object, and a turn that is very even must not make the limit a hair's breadth; always 0.5 to 2.5 px,
//!   because less is nothing that an eye sees and more is out of focus on any camera.
//! - Noise: 1.6 times the largest, or one level above it. A JPEG coder lets small grain through unevenly, and grain that
//!   doubles (one stop of gain is 1.4) is what should be told.
//! - Mean: 15 % or 10 levels beyond either end. Another object of the same kind, lighter or darker, moves the mean by
//!   that much; a lamp that failed moves it further.
//! - Burnt out and black: one and a half times the largest plus one percent. Highlights grow with the gloss of the
//!   object, and 0 measured must not forbid a single reflection.
//!
//! Everything else stays as the recipe says. How they are kept is in [`shelf`]; where cameras stand is in [`axis`].

pub mod axis;
pub mod shelf;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::{Record, Stamp};
use turnstage_pipeline::Cells;
use turnstage_pipeline::qc::{self, Limits, Policy};

use crate::command::Refusal;
use crate::recipe::{Motion, Recipe};

/// Version of [`Calibration`] and [`Plate`] as stored.
pub const CALIBRATION_SCHEMA: u32 = 1;
/// What the item of a turn shot for calibration is called.
pub const ITEM: &str = "calibration";
/// Frames of a camera below which a spread says nothing.
const FRAMES_MIN: usize = 12;
/// A frame more blurred than this is out of focus on any camera.
const BLUR_PX_MAX: f64 = 2.5;
/// Rules whose frames tell of a broken rig, not of a camera.
const NEVER_GOOD: [&str; 3] = ["qc.corrupt", "qc.duplicate", "qc.not-moved"];
/// Rules whose pictures show nothing.
const UNREADABLE: [&str; 4] = ["qc.corrupt", "qc.too-large", "qc.format", "qc.size"];
/// Rules whose limits come from the spread: on the turn that is to give them they only warn.
const CALIBRATED: [&str; 4] = ["qc.sharpness", "qc.noise", "qc.dark", "qc.clipped"];

/// Which camera, as far as its pictures depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Name of its driver.
    pub driver: String,
    /// As its driver says.
    pub model: String,
    /// Pixels across that it is set to.
    pub width: u32,
    /// Pixels down that it is set to.
    pub height: u32,
}

/// How one measurement spread over a turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest.
    pub least: f64,
    /// Middle one.
    pub median: f64,
    /// 98 of 100 are at most this.
    pub p98: f64,
    /// Largest.
    pub largest: f64,
}

/// What the frames of one camera measured. `None` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Frames that were measured.
    pub frames: usize,
    /// Blur of the subject in pixels.
    pub blur_px: Option<Range>,
    /// Mean luma, 0 to 255.
    pub mean: Option<Range>,
    /// Part of burnt-out pixels, 0 to 1.
    pub clipped_high: Option<Range>,
    /// Part of black pixels, 0 to 1.
    pub clipped_low: Option<Range>,
    /// Noise in grey levels.
    pub noise_levels: Option<Range>,
}

/// Limits of one camera, named as in [`Limits`]; where none is given the recipe's own holds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CameraLimits {
    /// Widest blur in pixels.
    pub blur_px_max: Option<f64>,
    /// Largest noise in grey levels.
    pub noise_levels_max: Option<f64>,
    /// Least mean luma.
    pub mean_min: Option<f64>,
    /// Largest mean luma.
    pub mean_max: Option<f64>,
    /// Largest part of burnt-out pixels.
    pub clipped_high_max: Option<f64>,
    /// Largest part of black pixels.
    pub clipped_low_max: Option<f64>,
}

/// A calibration, as stored for one recipe and camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// [`CALIBRATION_SCHEMA`] of the writer.
    pub schema: u32,
    /// Recipe by name.
    pub recipe: String,
    /// Camera by its name in the rig.
    pub camera: String,
    /// It holds for this device only.
    pub device: Device,
    /// Lens, where the pictures say.
    #[serde(default)]
    pub lens: Option<String>,
    /// When, and how far the clock could be trusted.
    pub at: Stamp,
    /// The good turn.
    pub session: String,
    /// Who said that it was good.
    pub actor: String,
    /// What it measured.
    pub spread: Spread,
    /// What follows.
    pub limits: CameraLimits,
}

/// A picture of the empty table, as stored for one recipe and camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plate {
    /// [`CALIBRATION_SCHEMA`] of the writer.
    pub schema: u32,
    /// Recipe by name.
    pub recipe: String,
    /// Camera by its name in the rig.
    pub camera: String,
    /// It holds for this device only.
    pub device: Device,
    /// When, and how far the clock could be trusted.
    pub at: Stamp,
    /// Who took it.
    pub actor: String,
    /// The picture.
    pub cells: Cells,
}

/// Calibrated limits in force in a session, and whence they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// When they were set.
    pub at: Stamp,
    /// The good turn.
    pub session: String,
    /// Them.
    pub limits: CameraLimits,
}

impl From<Calibration> for InForce {
    fn from(Calibration { at, session, limits, .. }: Calibration) -> Self {
        Self { at, session, limits }
    }
}

impl Device {
    /// The same kind of camera with pictures as large; which side is the longer does not matter.
    pub fn is_like(&self, other: &Device) -> bool {
        let size = |device: &Device| (device.width.min(device.height), device.width.max(device.height));
        (&self.driver, &self.model, size(self)) == (&other.driver, &other.model, size(other))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {} x {})", self.model, self.driver, self.width, self.height)
    }
}

impl Range {
    /// Of numbers in any order; `None` of none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, largest) = (*values.first()?, *values.last()?);
        // The smallest value that so large a part of all does not exceed.
        let at =
            |part: f64| values[((values.len() as f64 * part).ceil() as usize).clamp(1, values.len()) - 1];
        Some(Self { least, median: at(0.5), p98: at(0.98), largest })
    }
}

impl Spread {
    /// Of the records of one camera, each frame once.
    fn of(records: &[&Record]) -> Self {
        let range = |pointer: &str| {
            Range::of(records.iter().filter_map(|record| record.meta.pointer(pointer)?.as_f64()).collect())
        };
        // A picture that is nowhere smooth, or of a rule switched off, says 0.
        let measured = |range: &Range| range.largest > 0.0;
        Self {
            frames: records.len(),
            blur_px: range("/qc/sharpness/blur_px"),
            mean: range("/qc/exposure/mean"),
            clipped_high: range("/qc/exposure/clipped_high"),
            clipped_low: range("/qc/exposure/clipped_low"),
            noise_levels: range("/qc/noise_levels").filter(measured),
        }
    }

    /// Each measurement with its name and unit, and the factor from what is stored to that unit.
    pub fn rows(&self) -> [(&'static str, &'static str, f64, Option<Range>); 5] {
        [
            ("blur", "px", 1.0, self.blur_px),
            ("mean luma", "levels", 1.0, self.mean),
            ("burnt out", "%", 100.0, self.clipped_high),
            ("black", "%", 100.0, self.clipped_low),
            ("noise", "levels", 1.0, self.noise_levels),
        ]
    }
}

impl CameraLimits {
    /// Those that follow from a spread; see the module.
    pub fn of(spread: &Spread) -> Self {
        let aside = |range: Range| (0.15 * range.largest).max(10.0);
        let clipped = |range: Range| rounded((range.largest * 1.5 + 0.01).min(1.0), 4);
        Self {
            blur_px_max: spread.blur_px.map(|range| {
                let blur = (range.largest + 0.25).max(1.3 * range.median);
                rounded(blur.clamp(0.5, BLUR_PX_MAX), 2)
            }),
            noise_levels_max: spread
                .noise_levels
                .map(|range| rounded((1.6 * range.largest).max(range.largest + 1.0), 1)),
            mean_min: spread
                .mean
                .map(|range| rounded((range.least - (0.15 * range.least).max(10.0)).max(0.0), 0)),
            mean_max: spread.mean.map(|range| rounded((range.largest + aside(range)).min(255.0), 0)),
            clipped_high_max: spread.clipped_high.map(clipped),
            clipped_low_max: spread.clipped_low.map(clipped),
        }
    }

    /// The recipe's limits with these over them.
    pub fn over(&self, recipe: &Limits) -> Limits {
        Limits {
            blur_px_max: self.blur_px_max.unwrap_or(recipe.blur_px_max),
            noise_levels_max: self.noise_levels_max.unwrap_or(recipe.noise_levels_max),
            mean_min: self.mean_min.unwrap_or(recipe.mean_min),
            mean_max: self.mean_max.unwrap_or(recipe.mean_max),
            clipped_high_max: self.clipped_high_max.unwrap_or(recipe.clipped_high_max),
            clipped_low_max: self.clipped_low_max.unwrap_or(recipe.clipped_low_max),
            ..recipe.clone()
        }
    }
}

/// A number that reads well in a sentence.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// A recipe for the turn that its limits are to come from: what will be calibrated is measured and stops nothing.
pub fn measuring(mut recipe: Recipe) -> Recipe {
    recipe.qc.policy.extend(CALIBRATED.map(|rule| (rule.to_owned(), Policy::Warn)));
    recipe
}

/// Between two pictures of a board on a platter that somebody else turns.
const PASSING_MS: u32 = 1000;

/// A recipe for a turn with the marker board: whatever is found in its pictures stops nothing, but what makes them no
/// pictures. Of a table that somebody else turns, whose rim cannot be read yet, the board itself tells the angles: as many
/// pictures, one each second while it turns.
pub fn with_board(mut recipe: Recipe, turned_elsewhere: bool) -> Recipe {
    if turned_elsewhere && recipe.motion != Motion::None {
        (recipe.motion, recipe.continuous, recipe.pause_ms) = (Motion::None, None, PASSING_MS);
    }
    let stopping = qc::RULES.iter().filter(|rule| !UNREADABLE.contains(&rule.id));
    recipe.qc.policy.extend(stopping.map(|rule| (rule.id.to_owned(), Policy::Warn)));
    recipe
}

/// Spread of each camera of a turn, by the records of the frames in use; `Err` where the turn is evidently not good.
/// `optional` cameras may be missing, no other.
pub fn spreads(
    records: &[Record],
    cameras: &[String],
    optional: &[String],
) -> Result<BTreeMap<String, Spread>, Refusal> {
    let mut all = BTreeMap::new();
    for camera in cameras {
        // Of several destinations the frames are the same.
        let of_camera = records.iter().filter(|record| record.facts.camera == *camera);
        let frames: BTreeMap<u64, &Record> = of_camera.map(|record| (record.key.sequence, record)).collect();
        if frames.is_empty() && optional.contains(camera) {
            continue;
        }
        let frames: Vec<&Record> = frames.into_values().collect();
        good(camera, &frames)?;
        all.insert(camera.clone(), Spread::of(&frames));
    }
    Ok(all)
}

/// What makes a turn evidently not good, one camera's frames.
fn good(camera: &str, frames: &[&Record]) -> Result<(), Refusal> {
    if frames.len() < FRAMES_MIN {
        let reason = format!(
            "Camera {camera} has {} frames, at least {FRAMES_MIN} are needed for a spread. Shoot a whole turn.",
            frames.len()
        );
        return Err(Refusal::new("calibration-few-frames", reason));
    }
    for frame in frames {
        let number = frame.facts.shot + 1;
        let findings = frame.meta["qc"]["findings"].as_array().into_iter().flatten();
        let rules = findings.filter_map(|finding| finding["rule"].as_str());
        if let Some(rule) = rules.into_iter().find(|rule| NEVER_GOOD.contains(rule)) {
            let reason = format!(
                "Frame {number} of camera {camera} was flagged by {rule}, so the turn is not a good one. Mend it, then \
                 shoot another."
            );
            return Err(Refusal::new("calibration-flagged", reason));
        }
        let blur_px = frame.meta.pointer("/qc/sharpness/blur_px").and_then(serde_json::Value::as_f64);
        if let Some(blur_px) = blur_px.filter(|&blur_px| blur_px > BLUR_PX_MAX) {
            let reason = format!(
                "Frame {number} of camera {camera} is blurred over {blur_px:.1} pixels, more than {BLUR_PX_MAX} are out \
                 of focus on any camera. Focus, then shoot another turn."
            );
            return Err(Refusal::new("calibration-blurred", reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
