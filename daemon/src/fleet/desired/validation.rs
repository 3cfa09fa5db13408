//! Whether a wanted configuration can be used on this station: everything that is wrong with it, at once.
//!
//! It is merged with the station's file and environment as a start would, and its recipes are read as a session would.
//! What concerns people stays as it is here: no recipe of the fleet photographs persons, and one that takes the place of a
//! recipe of this station keeps its capture class and subject.

use std::path::{Path, PathBuf};

use turnstage_pipeline::privacy::CaptureClass;

use super::Problem;
use super::store::Version;
use crate::config::{Config, ConfigError, FleetLayer};
use crate::recipe::{self, Recipe, RecipeError, Recipes, Subject};

/// Recipes of one document.
const RECIPES_MAX: usize = 200;
/// Bytes of one recipe.
const RECIPE_BYTES_MAX: usize = 65_536;

/// What the fleet's layer lies upon: the station's file, or the last one that was good.
#[derive(Debug, Clone)]
pub struct Base {
    file: Option<PathBuf>,
    last_good: PathBuf,
}

impl Base {
    /// Of a file, if one was named, and of what is kept of the last good one.
    pub fn new(file: Option<&Path>, last_good: PathBuf) -> Self {
        Self { file: file.map(Path::to_path_buf), last_good }
    }

    /// The configuration that a start has.
    pub fn load(&self, layer: Option<&FleetLayer>) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), layer)
    }

    /// The one of safe mode. The environment itself may be what is wrong: without it the kept text may load.
    pub fn last_good(&self, layer: Option<&FleetLayer>) -> Result<Config, ConfigError> {
        Config::load(Some(&self.last_good), layer).or_else(|error| {
            let Ok(text) = std::fs::read_to_string(&self.last_good) else { return Err(error) };
            let name = self.last_good.display().to_string();
            Config::layered(Some((&name, &text)), layer, Vec::new())
        })
    }

    /// That of a start, or of safe mode where the file is not good without the fleet either.
    pub fn any(&self, layer: Option<&FleetLayer>) -> Result<Config, ConfigError> {
        match self.load(None) {
            Ok(_) => self.load(layer),
            Err(_) => self.last_good(layer),
        }
    }
}

/// What the station would run on, or everything that is wrong with it.
pub fn check(base: &Base, version: &Version) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let merged = version.layer().and_then(|layer| base.any(Some(&layer)));
    // Rig, destinations and own recipes are the same with and without the layer.
    let here = match base.any(None) {
        Ok(here) => here,
        Err(error) => return Err(told(&error, version)),
    };
    let before = Recipes::of(&here.recipes);
    for (name, text) in &version.recipes {
        let found = recipe_problems(name, text, &before, &here);
        problems.extend(found.into_iter().map(|what| Problem { key: format!("recipes.{name}"), what }));
    }
    if version.recipes.len() > RECIPES_MAX {
        let what = format!("{} are too many; at most {RECIPES_MAX}", version.recipes.len());
        problems.push(Problem { key: "recipes".to_owned(), what });
    }
    match merged {
        Err(error) => problems.extend(told(&error, version)),
        Ok(merged) => {
            let default = &merged.recipes.default;
            let was_good = before.get(&here.recipes.default).is_ok();
            match Recipes::of(&merged.recipes).get(default) {
                Err(error) if was_good && problems.is_empty() => {
                    problems.push(Problem { key: "recipes.default".to_owned(), what: error.to_string() });
                }
                _ if problems.is_empty() => return Ok(merged),
                _ => {}
            }
        }
    }
    Err(problems)
}

/// Problems by key; of another layer than the fleet's with its name.
fn told(error: &ConfigError, version: &Version) -> Vec<Problem> {
    let own = FleetLayer::name_of(version.version);
    let problem = |problem: &crate::config::Problem| {
        let crate::config::Problem { layer, key, what } = problem.clone();
        let what = if layer == own { what } else { format!("{what} (set by {layer})") };
        Problem { key, what }
    };
    error.problems.iter().map(problem).collect()
}

fn recipe_problems(name: &str, text: &str, before: &Recipes, here: &Config) -> Vec<String> {
    if !recipe::is_name(name) {
        return vec!["a name has letters, digits, - and _ only".to_owned()];
    }
    if text.len() > RECIPE_BYTES_MAX {
        return vec![format!("{} bytes are too many; at most {RECIPE_BYTES_MAX}", text.len())];
    }
    let recipe = match Recipe::parse(name, text) {
        Ok(recipe) => recipe,
        Err(problems) => return problems,
    };
    let mut found = people_problems(&recipe, before);
    for camera in recipe.cameras.iter().filter(|camera| !here.rig.cameras.contains_key(*camera)) {
        found.push(format!("cameras: this rig has no camera \"{camera}\""));
    }
    for name in recipe.destinations.iter().filter(|name| !here.destinations.contains_key(*name)) {
        found.push(format!("destinations: \"{name}\" is not configured here"));
    }
    found
}

/// What a recipe would change for people.
fn people_problems(recipe: &Recipe, before: &Recipes) -> Vec<String> {
    let mut found = Vec::new();
    if recipe.subject == Subject::Person {
        found.push("subject: recipes for persons are made at the station only".to_owned());
    }
    match before.local().get(&recipe.name) {
        Ok(own) => {
            if own.capture_class != recipe.capture_class {
                found.push(format!(
                    "capture_class: is set at the station only; the recipe of this name here has \"{}\"",
                    own.capture_class.as_str()
                ));
            }
            if own.subject != recipe.subject {
                found.push("subject: must be that of the recipe of this name here".to_owned());
            }
        }
        Err(RecipeError::Unknown { .. }) => {
            if recipe.capture_class != CaptureClass::Durable {
                found.push("capture_class: is set at the station only; leave it out".to_owned());
            }
        }
        Err(RecipeError::Invalid { file, .. }) => {
            found.push(format!("the recipe of this name here cannot be read, correct it first: {file}"));
        }
    }
    found
}
