//! Recipes: how a kind of thing is shot, as TOML files. Built-in ones are embedded; a station's own go before them.
//!
//! A recipe is checked whole when it is loaded: every wrong key and impossible value is told at once, by file and
//! key. Capture classes and motions that do not exist yet are refused by rule id when a session starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnstage_drivers::Angle;
use turnstage_drivers::camera::Settings;
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

/// One turn of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Frames, spread evenly over one turn (with `motion = "none"`: exposures).
    pub frames: u32,
    /// Angle of the first frame in degrees.
    #[serde(default)]
    pub start_deg: f64,
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
    /// Milliseconds to wait after the table stands, 0 to 60000.
    #[serde(default = "settle_ms")]
    pub settle_ms: u32,
    /// Cameras by name; empty = all of the rig.
    #[serde(default)]
    pub cameras: Vec<String>,
    /// Exposures of each camera at each place, 1 to 8, of which the best is kept: fewest faults, then sharpest subject.
    #[serde(default = "burst")]
    pub burst: u32,
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
    /// `None` without a table.
    pub angle: Option<Angle>,
}

/// Exposures of a burst: as many as wait in the smallest camera buffer that is known.
const BURST_MAX: u32 = 8;

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
        let frames: u64 = self.rows.iter().map(|row| u64::from(row.frames)).sum();
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
        if !(1..=BURST_MAX).contains(&self.burst) {
            found.push(format!("burst: {} exposures; must be 1 to {BURST_MAX}", self.burst));
        }
        if self.retakes > 10 {
            found.push(format!("retakes: {} is more than 10", self.retakes));
        }
        found.extend(self.qc.check().into_iter().map(|problem| format!("qc.{problem}")));
        found
    }

    /// Every place in the order of the first pass.
    pub fn plan(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for row in &self.rows {
            for frame in 0..row.frames {
                let deg = row.start_deg + 360.0 * f64::from(frame) / f64::from(row.frames);
                let angle = (self.motion != Motion::None).then(|| Angle::new(deg));
                places.push(Place { shot: places.len() as u32, angle });
            }
        }
        places
    }

    /// Time to wait after the table stands.
    pub fn settle(&self) -> Duration {
        match self.motion {
            Motion::None => Duration::ZERO,
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
        recipe.rows.push(Row { frames: 4, start_deg: 45.0 });
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
