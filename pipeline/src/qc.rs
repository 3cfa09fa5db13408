//! Quality checks: what is wrong with a frame, in words, with the measured value and the limit.
//!
//! A check is a plain function in a file of its own under `qc/`; it compares one measurement with [`Limits`]
//! and gives a [`Finding`] or nothing. To add one: write its file, add its [`Rule`] to [`RULES`] and call it
//! in `judge`, or in [`Turn`] if it needs the other frames of the session.

mod banding;
mod dirt;
mod drift;
mod duplicate;
mod exposure;
mod framing;
mod loop_closure;
mod motion;
mod noise;
mod readable;
mod sharpness;
pub(crate) mod size;
mod still;
mod turn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use exposure::{BLACK_LUMA_MAX, BURNT_OUT_LUMA_MIN, Exposure};
pub use sharpness::Sharpness;
pub use turn::{Place, Turn};

pub(crate) use exposure::Histogram;
pub(crate) use readable::{damaged, unreadable};

/// What a finding does to its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is shown; the frame can be released.
    Warn,
    /// The frame needs a retake or a named override before release.
    Block,
}

/// Whether another exposure is likely to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nature {
    /// This exposure failed: retake it.
    Transient,
    /// The set-up is wrong: every frame will be like this until a person changes something.
    Systematic,
}

/// What a recipe makes of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Findings block the release of their frame.
    Block,
    /// Findings are shown.
    Warn,
    /// There are no findings.
    Off,
}

/// One thing found wrong with one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable id of the rule, one of [`RULES`].
    pub rule: String,
    /// What it does to the frame.
    pub verdict: Verdict,
    /// Whether a retake is likely to help.
    pub nature: Nature,
    /// Measured value in `unit`; 0 where nothing is measured.
    pub value: f64,
    /// The limit that `value` broke, in `unit`; 0 where nothing is measured.
    pub limit: f64,
    /// Unit of `value` and `limit`; empty where nothing is measured.
    pub unit: String,
    /// What is wrong, the measured value, the limit, and what to do; for the person at the rig.
    pub message: String,
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable id, `qc.` and a word.
    pub id: &'static str,
    /// Nature of its findings.
    pub nature: Nature,
    /// Policy unless [`Limits::policy`] says otherwise.
    pub policy: Policy,
    /// The other policies that make sense.
    pub also: &'static [Policy],
}

const SHARPNESS: Rule = gate("qc.sharpness", Nature::Systematic);
const MOTION: Rule = gate("qc.motion", Nature::Transient);
const CLIPPED: Rule = gate("qc.clipped", Nature::Systematic);
const DARK: Rule = gate("qc.dark", Nature::Systematic);
const NOISE: Rule = gate("qc.noise", Nature::Systematic);
const LIGHT_DRIFT: Rule = gate("qc.light-drift", Nature::Systematic);
const COLOUR_DRIFT: Rule = gate("qc.colour-drift", Nature::Systematic);
const BANDING: Rule = gate("qc.banding", Nature::Systematic);
const DUPLICATE: Rule = gate("qc.duplicate", Nature::Transient);
/// The object did not turn. Twice in a row it is not the frame: the table does not.
pub const NOT_MOVED: Rule = gate("qc.not-moved", Nature::Transient);
const TWICE: Rule = hint("qc.moved-twice", Nature::Transient);
const LOOP: Rule = gate("qc.loop", Nature::Systematic);
const FRAMING: Rule = hint("qc.framing", Nature::Systematic);
const DIRT: Rule = hint("qc.dirt", Nature::Systematic);
const DEAD_PIXELS: Rule = hint("qc.dead-pixels", Nature::Systematic);
const NEAR_DUPLICATE: Rule = Rule { also: &[Policy::Off], ..hint("qc.near-duplicate", Nature::Transient) };
const SIZE: Rule = gate("qc.size", Nature::Systematic);
const CORRUPT: Rule = always_told("qc.corrupt", Nature::Transient);
const TOO_LARGE: Rule = always_told("qc.too-large", Nature::Systematic);
const FORMAT: Rule = always_told("qc.format", Nature::Systematic);

/// Every rule there is, in the order in which findings are told: what spoils other measurements comes before them, for a
/// picture without light has no edges, and grain hides blur.
pub const RULES: [Rule; 20] = [
    CORRUPT,
    TOO_LARGE,
    FORMAT,
    SIZE,
    DUPLICATE,
    CLIPPED,
    DARK,
    LIGHT_DRIFT,
    COLOUR_DRIFT,
    BANDING,
    NOISE,
    SHARPNESS,
    MOTION,
    NOT_MOVED,
    NEAR_DUPLICATE,
    TWICE,
    LOOP,
    FRAMING,
    DIRT,
    DEAD_PIXELS,
];

/// Puts findings of several checks in the order of [`RULES`].
pub fn in_order(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| RULES.iter().position(|rule| rule.id == finding.rule));
}

const fn gate(id: &'static str, nature: Nature) -> Rule {
    Rule { id, nature, policy: Policy::Block, also: &[Policy::Warn, Policy::Off] }
}

/// Worth a look; a recipe may make it a gate.
const fn hint(id: &'static str, nature: Nature) -> Rule {
    Rule { id, nature, policy: Policy::Warn, also: &[Policy::Block, Policy::Off] }
}

/// A frame without a measured picture must not pass in silence, so these cannot be switched off.
const fn always_told(id: &'static str, nature: Nature) -> Rule {
    Rule { id, nature, policy: Policy::Block, also: &[Policy::Warn] }
}

/// What a recipe demands of its frames; every key is optional in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Widest blur of the subject in pixels of the stored picture, 0 to 10 ([`Sharpness::blur_px`]).
    pub blur_px_max: f64,
    /// Least [`Sharpness::half`], in squared grey levels, 0 or more; 0 = none.
    pub sharpness_half_min: f64,
    /// Largest fraction of burnt-out pixels, 0 to 1 ([`Exposure::clipped_high`]).
    pub clipped_high_max: f64,
    /// Largest fraction of black pixels, 0 to 1 ([`Exposure::clipped_low`]).
    pub clipped_low_max: f64,
    /// Least mean luma, 0 to 255.
    pub mean_min: f64,
    /// Largest mean luma, 0 to 255, above `mean_min`.
    pub mean_max: f64,
    /// Largest noise in grey levels, 0 to 100.
    pub noise_levels_max: f64,
    /// Largest change of light since the first frame in stops, 0 to 10.
    pub light_drift_stops_max: f64,
    /// Largest change of colour since the first frame in levels, 0 to 255.
    pub colour_drift_levels_max: f64,
    /// Deepest stripes of flickering light as a part of the light, 0 to 1.
    pub banding_max: f64,
    /// Cells of two frames at one angle differ by at most so many grey levels, 0 to 255; by more where a small or noisy
    /// picture has more noise in a cell.
    pub still_levels_max: f64,
    /// A closing frame may differ from the first by this part of what one step changes, 0 to 10.
    pub closing_part_max: f64,
    /// The subject's larger side is at least this part of the picture's, 0 to 1.
    pub subject_part_min: f64,
    /// The subject's middle is at most this part of a side away from the picture's, 0 to 1.
    pub off_centre_max: f64,
    /// A spot that takes at most this part of the light is no dirt, 0 to 0.35, above which nothing is.
    pub dirt_part_max: f64,
    /// Spots of dirt that are allowed.
    pub dirt_spots_max: u32,
    /// Dead pixels that are allowed.
    pub dead_pixels_max: u32,
    /// Perceptual hashes that differ in at most this many bits look the same, 0 to 64.
    pub near_duplicate_bits_max: u32,
    /// The object looks the same from all sides: near duplicates are not mentioned.
    pub symmetric: bool,
    /// What findings of a rule do, by the rule's id, where it is not the rule's own default.
    pub policy: BTreeMap<String, Policy>,
}

impl Default for Limits {
    /// Limits that fit no rig exactly and few badly; a calibration sets those of one camera. Light is chosen on 13
    /// photographs of a plaster head (2736 x 1540, hand-held, JPEG quality 94), as they are and spoilt:
    ///
    /// | | as taken | spoilt | limit |
    /// |---|---|---|---|
    /// | burnt out | 0 to 0.8 % | 2 stops over: 16 to 49 % (1 stop: at most 3.8 %) | 5 % |
    /// | mean luma | 95 to 131 | 3 stops under: 36 to 50 (2 stops: 50 to 69) | 55 |
    /// | black | 0 to 1.3 % | 3 stops under: at most 6.4 % | 25 % |
    /// | hash bits, against the same view with fresh noise | 0 to 2 | another view: 18 to 40 | 2 |
    ///
    /// Blur is chosen on these photographs and on rendered frames, spoilt by formula; `./dev study` says how
    /// well it tells them apart. A least sharpness at half size is not asked, because it depends on the object's
    /// contrast: of these photographs, sharp ones have 19 to 62 and ones blurred by 2 px 3 to 6. `mean_max` (240) is for
    /// pictures that are pale without burning out. A white or black backdrop needs its own `clipped_high_max` or
    /// `clipped_low_max`. What is compared within a session (light, colour, stripes, table) is chosen on turns of the
    /// simulated booth.
    fn default() -> Self {
        Self {
            blur_px_max: 0.8,
            sharpness_half_min: 0.0,
            clipped_high_max: 0.05,
            clipped_low_max: 0.25,
            mean_min: 55.0,
            mean_max: 240.0,
            noise_levels_max: 7.0,
            light_drift_stops_max: 0.25,
            colour_drift_levels_max: 4.0,
            banding_max: 0.04,
            still_levels_max: 3.0,
            closing_part_max: 0.5,
            subject_part_min: 0.25,
            off_centre_max: 0.2,
            dirt_part_max: 0.05,
            dirt_spots_max: 0,
            dead_pixels_max: 4,
            near_duplicate_bits_max: 2,
            symmetric: false,
            policy: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// Every impossible value with its key and what would be possible; empty if all is well.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let ranges = [
            ("blur_px_max", self.blur_px_max, 10.0),
            ("sharpness_half_min", self.sharpness_half_min, 1e6),
            ("clipped_high_max", self.clipped_high_max, 1.0),
            ("clipped_low_max", self.clipped_low_max, 1.0),
            ("mean_min", self.mean_min, 255.0),
            ("mean_max", self.mean_max, 255.0),
            ("noise_levels_max", self.noise_levels_max, 100.0),
            ("light_drift_stops_max", self.light_drift_stops_max, 10.0),
            ("colour_drift_levels_max", self.colour_drift_levels_max, 255.0),
            ("banding_max", self.banding_max, 1.0),
            ("still_levels_max", self.still_levels_max, 255.0),
            ("closing_part_max", self.closing_part_max, 10.0),
            ("subject_part_min", self.subject_part_min, 1.0),
            ("off_centre_max", self.off_centre_max, 1.0),
            ("dirt_part_max", self.dirt_part_max, dirt::PART_MAX),
            ("near_duplicate_bits_max", f64::from(self.near_duplicate_bits_max), 64.0),
        ];
        for (key, value, max) in ranges {
            if !(0.0..=max).contains(&value) {
                problems.push(format!("{key} = {value}: must be between 0 and {max}"));
            }
        }
        if self.mean_min >= self.mean_max {
            problems.push(format!(
                "mean_min = {} is not below mean_max = {}: no frame could pass",
                self.mean_min, self.mean_max
            ));
        }
        problems.extend(self.policy.iter().filter_map(|(id, &policy)| policy_problem(id, policy)));
        problems
    }

    /// Whether findings of a rule are switched off.
    pub(crate) fn is_off(&self, rule: &Rule) -> bool {
        rule.also.contains(&Policy::Off) && self.policy.get(rule.id) == Some(&Policy::Off)
    }

    /// Whether any check needs the picture tile by tile.
    pub(crate) fn needs_tiles(&self) -> bool {
        [SHARPNESS, MOTION, NOISE, DEAD_PIXELS, NOT_MOVED, NEAR_DUPLICATE]
            .iter()
            .any(|rule| !self.is_off(rule))
    }

    /// A finding of `rule` about `(value, limit, unit)`, or nothing where the recipe switched the rule off.
    fn finding(&self, rule: &Rule, measured: (f64, f64, &str), message: String) -> Option<Finding> {
        let verdict = match self.policy.get(rule.id).copied().unwrap_or(rule.policy) {
            Policy::Block => Verdict::Block,
            Policy::Warn => Verdict::Warn,
            // An unchecked recipe does not silence a rule that is always told.
            Policy::Off if rule.also.contains(&Policy::Off) => return None,
            Policy::Off => Verdict::Warn,
        };
        let (value, limit, unit) = measured;
        Some(Finding {
            rule: rule.id.to_owned(),
            verdict,
            nature: rule.nature,
            value,
            limit,
            unit: unit.to_owned(),
            message,
        })
    }
}

fn policy_problem(id: &str, policy: Policy) -> Option<String> {
    let Some(rule) = RULES.iter().find(|rule| rule.id == id) else {
        let known = RULES.map(|rule| rule.id).join(", ");
        return Some(format!("policy.\"{id}\": there is no such rule; there are {known}"));
    };
    let fits = policy == rule.policy || rule.also.contains(&policy);
    (!fits).then(|| {
        let possible: Vec<_> = std::iter::once(&rule.policy).chain(rule.also).map(word).collect();
        format!("policy.\"{id}\" = \"{}\": can only be {}", word(&policy), possible.join(" or "))
    })
}

fn word(policy: &Policy) -> &'static str {
    match policy {
        Policy::Block => "block",
        Policy::Warn => "warn",
        Policy::Off => "off",
    }
}

/// Everything wrong with a picture by itself; what needs other frames is [`Turn`]'s to find.
pub(crate) fn judge(
    sharpness: &Sharpness,
    exposure: &Exposure,
    noise_levels: f64,
    limits: &Limits,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = exposure::judge(exposure, limits).collect();
    findings.extend(noise::judge(noise_levels, limits));
    findings.extend(sharpness::judge(sharpness, limits));
    findings
}

/// One decimal, so that a sentence never says "2.0, at most 2".
fn rounded_up(value: f64) -> f64 {
    (value * 10.0).ceil() / 10.0
}

/// One decimal, so that a sentence never says "40.0, at least 40".
fn rounded_down(value: f64) -> f64 {
    (value * 10.0).floor() / 10.0
}

#[cfg(test)]
mod tests;
