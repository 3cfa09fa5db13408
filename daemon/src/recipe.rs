//! Recipes: how a kind of thing is shot, as TOML files. Built-in ones are embedded; a station's own go before them.
//!
//! A recipe is checked whole when it is loaded: every wrong key and impossible value is told at once, by file and
//! key. Capture classes and motions that do not exist yet are refused by rule id when a session starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Sha256;
use turnstage_drivers::Angle;
use turnstage_drivers::camera::{Settings, Variant};
use turnstage_pipeline::privacy::CaptureClass;
use turnstage_pipeline::qc;

use crate::config::RecipesConfig;

/// What is photographed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A product or any other thing.
    Object,
    /// A vehicle; the item is a VIN.
    Vehicle,
    /// A person.
    Person,
    /// A room.
    Room,
}

/// How the table takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// No table: stills, rooms, import.
    None,
    /// Turn, settle, expose; the table leaves at the end of exposure.
    StopAndShoot,
    /// Turn at constant speed.
    Continuous,
}

/// When the table may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictTiming {
    /// At the end of exposure; transfer, verdict and storing overlap the turn.
    Overlap,
    /// When the verdict is in: people, and objects that must not turn back.
    Wait,
}

/// How to know that the platter has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settle {
    /// By waiting for `settle_ms`.
    #[default]
    Time,
    /// By looking through a camera until the picture stands.
    Measured,
}

fn is_zero(ms: &u32) -> bool {
    *ms == 0
}

fn is_by_time(settle: &Settle) -> bool {
    *settle == Settle::Time
}

/// One turn of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Frames, spread evenly over one turn (with `motion = "none"`: exposures).
    pub frames: u32,
    /// Angle of the first frame in degrees.
    #[serde(default)]
    pub start_deg: f64,
    /// Tilt of the platter for this turn in degrees, of tables that tilt; as it stands if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tilt_deg: Option<f64>,
}

/// How a turn is shot without stopping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuous {
    /// Speed of the table in degrees a second.
    pub speed_deg_s: f64,
    /// The platter may turn so many degrees while a shutter is open; refused where exposure and speed make it more.
    #[serde(default = "blur_deg_max")]
    pub blur_deg_max: f64,
    /// A frame farther than this from its angle, or known less well, is shot again, standing.
    #[serde(default = "angle_error_deg_max")]
    pub angle_error_deg_max: f64,
}

/// Degrees that a platter may turn while a shutter is open, where a recipe says nothing else.
pub const BLUR_DEG_MAX: f64 = 0.05;

fn blur_deg_max() -> f64 {
    BLUR_DEG_MAX
}

fn angle_error_deg_max() -> f64 {
    0.5
}

/// How a kind of thing is shot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// From the file name.
    #[serde(default)]
    pub name: String,
    /// One line for a list.
    #[serde(default)]
    pub about: String,
    /// What is photographed.
    pub subject: Subject,
    /// How the table takes part.
    pub motion: Motion,
    /// Turns, one after the other.
    pub rows: Vec<Row>,
    /// How to know that the platter has settled.
    #[serde(default, skip_serializing_if = "is_by_time")]
    pub settle: Settle,
    /// Milliseconds to wait after the table stands, 0 to 60000; with `settle = "measured"` at most.
    #[serde(default = "settle_ms")]
    pub settle_ms: u32,
    /// Without a table: milliseconds to wait before each exposure, 0 to 60000.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_ms: u32,
    /// Cameras by name; empty = all of the rig.
    #[serde(default)]
    pub cameras: Vec<String>,
    /// Exposures of each camera at each place, 1 to 8, of which the best is kept: fewest faults, then sharpest subject.
    #[serde(default = "burst")]
    pub burst: u32,
    /// Exposures of each camera at each place with other shutter times, in exposure values against the locked one, which
    /// is 0 and must be among them; each is a frame of its own (HDR).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brackets: Vec<f64>,
    /// Exposures of each camera at each place with other focus, as shares of the lens' way, 0 = far, 1 = near; each is a
    /// frame of its own (focus stacking).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub focus_steps: Vec<f64>,
    /// How to shoot with `motion = "continuous"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuous: Option<Continuous>,
    /// After a turn, take a closing frame at the first angle, compare it with the first frame and throw it away.
    #[serde(default)]
    pub closing: bool,
    /// Find the subject by what differs from a picture of the empty table (`turnstage calibrate plate`), where there is one.
    #[serde(default)]
    pub clean_plate: bool,
    /// Automatic retakes of a flagged frame, 0 to 10. 0 leaves it to a person.
    #[serde(default)]
    pub retakes: u32,
    /// When the table may leave.
    #[serde(default = "overlap")]
    pub verdict: VerdictTiming,
    /// What may be kept of the pictures.
    #[serde(default = "durable")]
    pub capture_class: CaptureClass,
    /// Destinations by name; empty = every configured one.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// Settings for every camera, over those of the rig.
    #[serde(default)]
    pub camera: Settings,
    /// Limits and policy of quality control.
    #[serde(default)]
    pub qc: qc::Limits,
}

fn burst() -> u32 {
    1
}

fn settle_ms() -> u32 {
    300
}

fn overlap() -> VerdictTiming {
    VerdictTiming::Overlap
}

fn durable() -> CaptureClass {
    CaptureClass::Durable
}

/// One place of the plan: where the table should stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// From 0, over all rows.
    pub shot: u32,
    /// The turn that it belongs to, from 0.
    pub row: u32,
    /// `None` without a table.
    pub angle: Option<Angle>,
    /// `None` leaves the platter's tilt as it is.
    pub tilt_deg: Option<f64>,
    /// What this exposure does otherwise than the locked settings say.
    pub variant: Variant,
    /// This frame stands for its angle: it is compared with those of other angles, and judged by everything.
    pub leads: bool,
}

impl Place {
    /// An exposure as the settings are locked.
    pub fn plain(shot: u32, angle: Option<Angle>) -> Self {
        Self { shot, row: 0, angle, tilt_deg: None, variant: Variant::default(), leads: true }
    }
}

/// Exposures of a burst: as many as wait in the smallest camera buffer that is known.
const BURST_MAX: u32 = 8;
/// Brackets of more add nothing that a merge could use.
const BRACKETS_MAX: usize = 9;
/// Steps of focus at one place.
const FOCUS_STEPS_MAX: usize = 64;

/// Frames that one session may have: a turn each 0.1 degrees, or a large folder.
pub const FRAMES_MAX: u32 = 20_000;

impl Recipe {
    /// Reads one recipe; `Err` has every problem found, each with its key.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<String>> {
        let mut recipe: Recipe =
            toml::from_str(text).map_err(|e| vec![e.to_string().trim_end().to_owned()])?;
        name.clone_into(&mut recipe.name);
        let problems = recipe.problems();
        if problems.is_empty() { Ok(recipe) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let variants = self.variants().len() as u64;
        let frames: u64 = self.rows.iter().map(|row| u64::from(row.frames) * variants).sum();
        if self.rows.iter().any(|row| row.frames == 0) || !(1..=u64::from(FRAMES_MAX)).contains(&frames) {
            found.push(format!(
                "rows: {frames} frames; each row needs at least 1, all rows 1 to {FRAMES_MAX}"
            ));
        }
        if self.rows.iter().any(|row| !(0.0..360.0).contains(&row.start_deg)) {
            found.push("rows.start_deg: must be at least 0 and below 360".to_owned());
        }
        if self.settle_ms > 60_000 {
            found.push(format!("settle_ms: {} is over a minute (60000)", self.settle_ms));
        }
        if self.pause_ms > 60_000 || (self.pause_ms > 0 && self.motion != Motion::None) {
            found.push("pause_ms: must be 0 to 60000, and is for motion = \"none\"".to_owned());
        }
        if !(1..=BURST_MAX).contains(&self.burst) {
            found.push(format!("burst: {} exposures; must be 1 to {BURST_MAX}", self.burst));
        }
        found.extend(self.impossible_variants());
        found.extend(self.impossible_sweep());
        if self.rows.iter().filter_map(|row| row.tilt_deg).any(|deg| !(-90.0..=90.0).contains(&deg)) {
            found.push("rows.tilt_deg: must be -90 to 90".to_owned());
        }
        if self.retakes > 10 {
            found.push(format!("retakes: {} is more than 10", self.retakes));
        }
        found.extend(self.qc.check().into_iter().map(|problem| format!("qc.{problem}")));
        found
    }

    fn impossible_variants(&self) -> Vec<String> {
        let mut found = Vec::new();
        let outside = |values: &[f64], low, high| values.iter().any(|value| !(low..=high).contains(value));
        let twice = |values: &[f64]| (1..values.len()).any(|i| values[..i].contains(&values[i]));
        if outside(&self.brackets, -6.0, 6.0) || twice(&self.brackets) || self.brackets.len() > BRACKETS_MAX {
            found.push(format!(
                "brackets: must be at most {BRACKETS_MAX} different exposure values of -6 to 6"
            ));
        }
        if !self.brackets.is_empty() && !self.brackets.contains(&0.0) {
            found.push("brackets: 0 must be among them: the frame that is judged".to_owned());
        }
        if outside(&self.focus_steps, 0.0, 1.0)
            || twice(&self.focus_steps)
            || self.focus_steps.len() > FOCUS_STEPS_MAX
        {
            found.push(format!("focus_steps: must be at most {FOCUS_STEPS_MAX} different shares of 0 to 1"));
        }
        found
    }

    fn impossible_sweep(&self) -> Vec<String> {
        let Some(Continuous { speed_deg_s, blur_deg_max, angle_error_deg_max }) = self.continuous else {
            let missing = "continuous: motion = \"continuous\" needs it, for example { speed_deg_s = 6.0 }";
            return (self.motion == Motion::Continuous).then(|| missing.to_owned()).into_iter().collect();
        };
        let mut found = Vec::new();
        if !(0.1..=120.0).contains(&speed_deg_s) {
            found.push(format!("continuous.speed_deg_s: {speed_deg_s} is not in 0.1 to 120"));
        }
        if !(0.001..=5.0).contains(&blur_deg_max) {
            found.push(format!("continuous.blur_deg_max: {blur_deg_max} is not in 0.001 to 5"));
        }
        if !(0.01..=5.0).contains(&angle_error_deg_max) {
            found.push(format!("continuous.angle_error_deg_max: {angle_error_deg_max} is not in 0.01 to 5"));
        }
        if self.motion != Motion::Continuous {
            found.push("continuous: only for motion = \"continuous\"".to_owned());
        }
        if self.burst > 1 || !self.brackets.is_empty() || !self.focus_steps.is_empty() {
            found.push(
                "continuous: a turning object is shot once at each angle: no burst, brackets or focus_steps"
                    .to_owned(),
            );
        }
        found
    }

    /// What each camera does at each place, the frame that is judged first.
    fn variants(&self) -> Vec<Variant> {
        let mut evs = if self.brackets.is_empty() { vec![0.0] } else { self.brackets.clone() };
        evs.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let focus: Vec<Option<f64>> = match self.focus_steps.as_slice() {
            [] => vec![None],
            steps => steps.iter().copied().map(Some).collect(),
        };
        focus.iter().flat_map(|focus| evs.iter().map(|ev| Variant { ev: *ev, focus: *focus })).collect()
    }

    /// Every place in the order of the first pass; what is exposed at one angle comes together.
    pub fn plan(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let variants = self.variants();
        for (turn, row) in self.rows.iter().enumerate() {
            for frame in 0..row.frames {
                let deg = row.start_deg + 360.0 * f64::from(frame) / f64::from(row.frames);
                let angle = (self.motion != Motion::None).then(|| Angle::new(deg));
                for (nth, variant) in variants.iter().enumerate() {
                    places.push(Place {
                        shot: places.len() as u32,
                        row: turn as u32,
                        angle,
                        tilt_deg: row.tilt_deg.filter(|_| self.motion != Motion::None),
                        variant: *variant,
                        leads: nth == 0,
                    });
                }
            }
        }
        places
    }

    /// Time to wait after the table stands, or between exposures without one; none where the platter is looked at instead.
    pub fn settle(&self) -> Duration {
        match (self.motion, self.settle) {
            (Motion::None, _) => Duration::from_millis(u64::from(self.pause_ms)),
            (_, Settle::Measured) => Duration::ZERO,
            _ => Duration::from_millis(u64::from(self.settle_ms)),
        }
    }
}

/// A recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// No file of that name.
    #[error("no recipe \"{name}\"; there are: {known}")]
    Unknown {
        /// Asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Something in the file is wrong.
    #[error("recipe {file}:\n  {}", problems.join("\n  "))]
    Invalid {
        /// Where it was read.
        file: String,
        /// Everything that is wrong.
        problems: Vec<String>,
    },
}

const BUILT_IN: &[(&str, &str)] = &[
    ("import", include_str!("../../config/recipes/import.toml")),
    ("selftest", include_str!("../../config/recipes/selftest.toml")),
    ("spin36", include_str!("../../config/recipes/spin36.toml")),
    ("stills", include_str!("../../config/recipes/stills.toml")),
    ("vehicle72", include_str!("../../config/recipes/vehicle72.toml")),
];

/// Where recipes are looked for.
#[derive(Debug, Clone, Default)]
pub struct Recipes {
    folder: Option<PathBuf>,
}

impl Recipes {
    /// Built-in ones, and those in `folder` before them.
    pub fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf) }
    }

    /// Those of a configuration.
    pub fn of(config: &RecipesConfig) -> Self {
        let folder = &config.folder;
        Self::new((!folder.is_empty()).then(|| Path::new(folder)))
    }

    /// One by name, read anew each time so that an edit takes effect with the next session.
    pub fn get(&self, name: &str) -> Result<Recipe, RecipeError> {
        let (file, text) = self.text(name)?;
        Recipe::parse(name, &text).map_err(|problems| RecipeError::Invalid { file, problems })
    }

    /// Names of all.
    pub fn names(&self) -> Vec<String> {
        let mut names: BTreeMap<String, ()> = BUILT_IN.iter().map(|(n, _)| ((*n).to_owned(), ())).collect();
        let entries =
            self.folder.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if let (Some("toml"), Some(stem)) = (path.extension().and_then(|e| e.to_str()), path.file_stem())
            {
                names.insert(stem.to_string_lossy().into_owned(), ());
            }
        }
        names.into_keys().collect()
    }

    /// SHA-256 of the text of every recipe that can be read, by name: whether two stations shoot alike.
    pub fn hashes(&self) -> BTreeMap<String, Sha256> {
        let hash = |name: String| {
            let (_, text) = self.text(&name).ok()?;
            Some((name, Sha256::of(text.as_bytes())))
        };
        self.names().into_iter().filter_map(hash).collect()
    }

    fn text(&self, name: &str) -> Result<(String, String), RecipeError> {
        let unknown = || RecipeError::Unknown { name: name.to_owned(), known: self.names().join(", ") };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
        if !plain {
            return Err(unknown());
        }
        if let Some(path) = self.folder.as_ref().map(|folder| folder.join(format!("{name}.toml")))
            && path.exists()
        {
            let file = path.display().to_string();
            return match std::fs::read_to_string(&path) {
                Ok(text) => Ok((file, text)),
                Err(e) => Err(RecipeError::Invalid { file, problems: vec![format!("cannot be read: {e}")] }),
            };
        }
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        Ok((format!("{name} (built in)"), built_in.1.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_good() {
        let recipes = Recipes::default();
        for name in recipes.names() {
            let recipe = recipes.get(&name).unwrap();
            assert_eq!(recipe.name, name);
            assert!(!recipe.plan().is_empty());
        }
    }

    #[test]
    fn a_plan_spreads_its_frames_evenly_and_counts_over_rows() {
        let mut recipe = Recipes::default().get("spin36").unwrap();
        recipe.rows.push(Row { frames: 4, start_deg: 45.0, tilt_deg: None });
        let plan = recipe.plan();
        assert_eq!(plan.len(), 40);
        assert_eq!(plan[17].angle, Some(Angle::new(170.0)));
        assert_eq!(plan[37].angle, Some(Angle::new(135.0)));
        assert_eq!(plan[39].shot, 39);
    }

    #[test]
    fn a_broken_recipe_tells_everything_at_once() {
        let text = r#"
            subject = "object"
            motion = "stop_and_shoot"
            settle_ms = 90000
            retakes = 99
            rows = [{ frames = 0 }]
        "#;
        let problems = Recipe::parse("broken", text).unwrap_err();
        for key in ["rows", "settle_ms", "retakes"] {
            assert!(problems.iter().any(|p| p.starts_with(key)), "{key} in {problems:?}");
        }
    }

    #[test]
    fn brackets_and_focus_steps_are_frames_of_their_own_at_one_angle() {
        let mut recipe = Recipes::default().get("spin36").unwrap();
        recipe.brackets = vec![-2.0, 0.0, 2.0];
        recipe.focus_steps = vec![0.3, 0.6];
        assert_eq!(recipe.problems(), Vec::<String>::new());
        let plan = recipe.plan();
        assert_eq!(plan.len(), 36 * 6);
        assert!(plan[..6].iter().all(|place| place.angle == Some(Angle::new(0.0))));
        assert_eq!(plan[0].variant, Variant { ev: 0.0, focus: Some(0.3) });
        let leading: Vec<u32> = plan[..12].iter().filter(|p| p.leads).map(|p| p.shot).collect();
        assert_eq!(leading, [0, 6]);
    }

    #[test]
    fn what_cannot_be_bracketed_or_swept_is_told_with_its_key() {
        let problems = |change: &dyn Fn(&mut Recipe)| {
            let mut recipe = Recipes::default().get("spin36").unwrap();
            change(&mut recipe);
            recipe.problems().join("; ")
        };
        let sweep = |speed_deg_s| Continuous { speed_deg_s, blur_deg_max: 0.05, angle_error_deg_max: 0.5 };
        assert!(problems(&|r| r.brackets = vec![-1.0, 1.0]).starts_with("brackets: 0 must"));
        assert!(problems(&|r| r.brackets = vec![0.0, 9.0]).starts_with("brackets: must be"));
        assert!(problems(&|r| r.focus_steps = vec![1.5]).starts_with("focus_steps"));
        assert!(problems(&|r| r.motion = Motion::Continuous).starts_with("continuous: motion"));
        assert!(problems(&|r| r.continuous = Some(sweep(6.0))).starts_with("continuous: only"));
        assert!(problems(&|r| r.rows[0].tilt_deg = Some(100.0)).starts_with("rows.tilt_deg"));
        let both = problems(&|r| {
            r.motion = Motion::Continuous;
            r.continuous = Some(sweep(600.0));
            r.burst = 2;
        });
        assert!(both.contains("speed_deg_s") && both.contains("no burst"), "{both}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let problems = Recipe::parse("odd", "subject = \"object\"\nmotoin = \"none\"\n").unwrap_err();
        assert!(problems[0].contains("motoin") && problems[0].contains("line 2"), "{problems:?}");
    }

    #[test]
    fn a_recipe_name_cannot_leave_the_folder() {
        let error = Recipes::new(Some(Path::new("/tmp"))).get("../etc/passwd").unwrap_err();
        assert!(matches!(error, RecipeError::Unknown { .. }));
    }
}
