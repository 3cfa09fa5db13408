//! Configuration: `config/default.toml` (embedded), one file, what the fleet wants, `TURNSTAGE__SECTION__KEY` from the
//! environment; later ones go before.
//!
//! The embedded file is the reference: each layer is held against it key by key, so that every unknown key and wrong
//! type is told at once with the layer it stands in. Values that cannot be are found on the merged whole, and devices
//! and destinations are read by those who know their keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use config::{Environment, File, FileFormat};
use serde::Deserialize;
use toml::{Table, Value};
use turnstage_cloud_sync::spool::SpoolOptions;
use turnstage_drivers::DeviceOptions;
use turnstage_drivers::camera;
use turnstage_drivers::sim::BoothOptions;
use turnstage_drivers::turntable;
use turnstage_drivers::turntable::external::Watched;
use turnstage_drivers::turntable::mounted::Mount;
use turnstage_pipeline::InputLimits;

use crate::status::StationName;

mod controls;
mod effective;
mod fleet_layer;
mod local;
mod sections;

pub use controls::{Does, InputConfig, OutputConfig, Shows};
pub use effective::effective;
pub use fleet_layer::{FleetLayer, FleetRecipes};
pub use sections::{
    CameraConfig, CaptureConfig, Destination, FleetConfig, LogConfig, MetadataRule, MotionConfig,
    NetworkConfig, PanelConfig, RecipesConfig, RigConfig, Station, Storage, UpdateConfig, UploaderConfig,
};

/// The reference of every key.
pub const DEFAULT: &str = include_str!("../../config/default.toml");
/// The rig of `turnstage demo`.
pub const DEMO: &str = include_str!("../../config/demo.toml");

/// Name of the layer that is not a file.
const ENVIRONMENT: &str = "the environment";
const PREFIX: &str = "TURNSTAGE";
const SEPARATOR: &str = "__";
/// Sections whose keys are names that a person gives, or belong to a driver.
const OPEN: &[&str] = &["rig", "booth", "destinations"];

/// Everything.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the sections are documented by their types and in default.toml
pub struct Config {
    pub station: Station,
    pub storage: Storage,
    pub input: InputLimits,
    pub motion: MotionConfig,
    /// How sessions are shot.
    pub capture: CaptureConfig,
    pub recipes: RecipesConfig,
    pub rig: RigConfig,
    pub booth: BoothOptions,
    pub destinations: BTreeMap<String, Destination>,
    pub uploader: UploaderConfig,
    pub panel: PanelConfig,
    pub fleet: FleetConfig,
    pub update: UpdateConfig,
    pub network: NetworkConfig,
    pub log: LogConfig,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, `the environment`, or `the fleet's configuration, version N`.
    pub layer: String,
    /// Full key, for example `storage.frame_bytes`.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.layer, self.what),
            key => write!(f, "{}: {key}: {}", self.layer, self.what),
        }
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The same in one line, for where it is part of a sentence.
    pub fn line(&self) -> String {
        self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// One layer as written.
struct Layer {
    name: String,
    table: Table,
    of: Origin,
}

/// Where a layer is from, which says what it may set.
enum Origin {
    File,
    Fleet,
    Environment,
}

impl Config {
    /// The embedded defaults, then `file`, then what the fleet wants, then this process's environment.
    pub fn load(file: Option<&Path>, fleet: Option<&FleetLayer>) -> Result<Self, ConfigError> {
        let environment: Vec<(String, String)> = std::env::vars().collect();
        match file {
            None => Self::layered(None, fleet, environment),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|e| {
                    one(&name, "", format!("cannot be read: {e}. Correct the path given with --config."))
                })?;
                Self::layered(Some((&name, &text)), fleet, environment)
            }
        }
    }

    /// The rig of the demo, which is no fleet's.
    pub fn demo() -> Result<Self, ConfigError> {
        Self::from_text(Some(("demo.toml (built in)", DEMO)), std::env::vars().collect())
    }

    /// From a text and an environment of the caller's, without a fleet.
    pub fn from_text(
        file: Option<(&str, &str)>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::layered(file, None, environment)
    }

    /// The same with what the fleet wants.
    pub fn layered(
        file: Option<(&str, &str)>,
        fleet: Option<&FleetLayer>,
        environment: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let reference: Table = parse("default.toml (built in)", DEFAULT)?;
        let mut layers = Vec::new();
        if let Some((name, text)) = file {
            layers.push(Layer { name: name.to_owned(), table: parse(name, text)?, of: Origin::File });
        }
        if let Some(fleet) = fleet {
            layers.push(Layer { name: fleet.name(), table: fleet.table().clone(), of: Origin::Fleet });
        }
        let table = environment_table(&environment);
        layers.push(Layer { name: ENVIRONMENT.to_owned(), table, of: Origin::Environment });

        let mut problems = Vec::new();
        for layer in &layers {
            compare(&reference, &layer.table, &layer.name, "", &mut problems);
            match layer.of {
                Origin::Environment => closed_to_environment(layer, &mut problems),
                Origin::File => read_open_sections(layer, &mut problems),
                Origin::Fleet => closed_to_fleet(layer, &mut problems),
            }
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let merged = merge(file, fleet, environment).map_err(|e| one("configuration", "", e.to_string()))?;
        for (key, what) in merged.impossible().into_iter().chain(merged.update.impossible()) {
            problems.push(Problem { layer: layer_of(&layers, key), key: key.to_owned(), what });
        }
        if problems.is_empty() { Ok(merged) } else { Err(ConfigError { problems }) }
    }

    /// Values that are of the right type and cannot be.
    fn impossible(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut demand = |good: bool, key: &'static str, what: &str| {
            if !good {
                found.push((key, what.to_owned()));
            }
        };
        demand(!self.station.org.is_empty(), "station.org", "must not be empty");
        demand(!self.station.site.is_empty(), "station.site", "must not be empty");
        demand(!self.station.name.is_empty(), "station.name", "must not be empty");
        let storage = &self.storage;
        demand(
            storage.free_bytes_soft >= storage.free_bytes_hard,
            "storage.free_bytes_soft",
            "must be at least storage.free_bytes_hard: the alarm comes before the stop",
        );
        demand(storage.frame_bytes > 0, "storage.frame_bytes", "must be above 0");
        demand(
            (0.0..=3650.0).contains(&storage.keep_confirmed_days),
            "storage.keep_confirmed_days",
            "must be 0 to 3650",
        );
        demand(self.input.bytes_max > 0, "input.bytes_max", "must be above 0");
        demand(self.input.pixels_max > 0, "input.pixels_max", "must be above 0");
        for (good, key, what) in self.motion.demands() {
            demand(good, key, what);
        }
        let chains = self.rig.inputs.values().filter(|input| input.does == Does::EmergencyStop).count();
        demand(
            chains <= 1,
            "rig.inputs",
            "can have one input with does = \"emergency-stop\": wire several buttons in one chain",
        );
        let is_seen = self.rig.turntable.as_ref().and_then(Watched::of).is_some();
        demand(
            !is_seen || self.motion.drive().mount == Mount::default(),
            "motion.zero_deg",
            "reversed, zero_deg, tilt_zero_deg and limits_deg are for tables that are turned from here; for this one there \
             is zero_deg below [rig.turntable.rim]",
        );
        let wait_s = self.capture.camera_wait_s;
        demand((0.0..=3600.0).contains(&wait_s), "capture.camera_wait_s", "must be 0 to 3600");
        for (good, key, what) in self.uploader.demands() {
            demand(good, key, what);
        }
        demand(
            self.panel.address().is_some(),
            "panel.listen",
            "must be an address and a port, for example \"127.0.0.1:8360\" or \"0.0.0.0:8360\"",
        );
        let levels = [&self.station.org, &self.station.site, &self.station.name];
        demand(
            !self.fleet.is_on() || levels.iter().all(|level| !level.contains(['/', '+', '#', '\0'])),
            "station.name",
            "organisation, site and name must be without / + #: they are parts of the topics of [fleet]",
        );
        for (good, key, what) in self.fleet.demands() {
            demand(good, key, what);
        }
        demand(
            self.log.level.parse::<tracing_subscriber::filter::Targets>().is_ok(),
            "log.level",
            "must be error, warn, info, debug, trace or a filter such as \"info,turnstage=debug\"",
        );
        found
    }

    /// Which station this is.
    pub fn station_name(&self) -> StationName {
        let Station { org, site, name } = self.station.clone();
        StationName { org, site, name }
    }

    /// The spool below `data`.
    pub fn spool(&self, data: &Path) -> SpoolOptions {
        SpoolOptions {
            dir: data.join("spool"),
            free_bytes_soft: self.storage.free_bytes_soft,
            free_bytes_hard: self.storage.free_bytes_hard,
            keep_confirmed: Duration::from_secs_f64(self.storage.keep_confirmed_days * 86_400.0),
        }
    }
}

fn one(layer: &str, key: &str, what: String) -> ConfigError {
    ConfigError { problems: vec![Problem { layer: layer.to_owned(), key: key.to_owned(), what }] }
}

fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|e| one(name, "", e.to_string().trim_end().to_owned()))
}

fn merge(
    file: Option<(&str, &str)>,
    fleet: Option<&FleetLayer>,
    environment: Vec<(String, String)>,
) -> Result<Config, config::ConfigError> {
    let mut builder = config::Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
    if let Some((_, text)) = file {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    if let Some(fleet) = fleet {
        builder = builder.add_source(File::from_str(&fleet.table().to_string(), FileFormat::Toml));
    }
    // Values stay text until their place says otherwise: a station named "007" keeps its zeros.
    let environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(environment.into_iter().collect()));
    let mut merged: Config = builder.add_source(environment).build()?.try_deserialize()?;
    merged.recipes.fleet = fleet.map(FleetLayer::recipes).unwrap_or_default();
    Ok(merged)
}

/// The environment as a table of texts, to be held against the reference like a file.
fn environment_table(environment: &[(String, String)]) -> Table {
    let mut table = Table::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(SEPARATOR)) else {
            continue;
        };
        let keys: Vec<String> = rest.split(SEPARATOR).map(str::to_lowercase).collect();
        insert(&mut table, &keys, value);
    }
    table
}

fn insert(table: &mut Table, keys: &[String], value: &str) {
    match keys {
        [] => {}
        [last] => {
            table.insert(last.clone(), Value::String(value.to_owned()));
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Finds keys of `given` that `reference` lacks or has as another type.
fn compare(reference: &Table, given: &Table, layer: &str, path: &str, problems: &mut Vec<Problem>) {
    for (name, value) in given {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let mut tell = |what: String| {
            problems.push(Problem { layer: layer.to_owned(), key: key.clone(), what });
        };
        match (reference.get(name), value) {
            (None, _) => {
                let known = reference.keys().cloned().collect::<Vec<_>>().join(", ");
                tell(format!("no such key; here there are: {known}"));
            }
            (Some(Value::Table(_)), Value::Table(_)) if OPEN.contains(&key.as_str()) => {}
            (Some(Value::Table(inner)), Value::Table(given)) => compare(inner, given, layer, &key, problems),
            (Some(wanted), given) if !fits(wanted, given, layer) => {
                tell(format!("must be {}, is {}", kind(wanted), shown(given)));
            }
            _ => {}
        }
    }
}

/// Whether `given` can stand where `wanted` stands. Text of the environment may spell a number or a truth.
fn fits(wanted: &Value, given: &Value, layer: &str) -> bool {
    match (wanted, given) {
        (Value::Float(_), Value::Integer(_)) => true,
        (Value::Integer(_), Value::Integer(number)) => *number >= 0,
        (Value::Integer(_), Value::String(text)) if layer == ENVIRONMENT => text.parse::<u64>().is_ok(),
        (Value::Float(_), Value::String(text)) if layer == ENVIRONMENT => text.parse::<f64>().is_ok(),
        (Value::Boolean(_), Value::String(text)) if layer == ENVIRONMENT => {
            matches!(text.as_str(), "true" | "false")
        }
        _ => wanted.same_type(given),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number of at least 0",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a section".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// Devices and destinations are described whole, in one place.
fn closed_to_environment(layer: &Layer, problems: &mut Vec<Problem>) {
    for section in OPEN.iter().filter(|section| layer.table.contains_key(**section)) {
        problems.push(Problem {
            layer: layer.name.clone(),
            key: (*section).to_owned(),
            what: "cannot be set from the environment; write it into the file".to_owned(),
        });
    }
}

/// Whoever is far away does not decide on people, hosts and identities.
fn closed_to_fleet(layer: &Layer, problems: &mut Vec<Problem>) {
    let closed = fleet_layer::keys(&layer.table).into_iter().filter(|(key, _)| local::holds(key));
    problems.extend(closed.map(|(key, _)| Problem {
        layer: layer.name.clone(),
        key,
        what: "is set at the station only; leave it out".to_owned(),
    }));
}

/// Sections whose keys the reference cannot know: each entry is read by its own type.
fn read_open_sections(layer: &Layer, problems: &mut Vec<Problem>) {
    let mut tell = |key: String, what: String| {
        problems.push(Problem { layer: layer.name.clone(), key, what });
    };
    if let Some(booth) = layer.table.get("booth")
        && let Err(e) = booth.clone().try_into::<BoothOptions>()
    {
        tell("booth".to_owned(), e.message().to_owned());
    }
    for (name, entry) in entries(layer.table.get("destinations")) {
        match entry.clone().try_into::<Destination>().map(|destination| destination.impossible()) {
            Err(e) => tell(format!("destinations.{name}"), e.message().to_owned()),
            Ok(Some((key, what))) => tell(format!("destinations.{name}.{key}"), what),
            Ok(None) => {}
        }
    }
    let Some(Value::Table(rig)) = layer.table.get("rig") else { return };
    const RIG: [&str; 4] = ["turntable", "cameras", "inputs", "outputs"];
    for unknown in rig.keys().filter(|key| !RIG.contains(&key.as_str())) {
        tell(format!("rig.{unknown}"), format!("no such key; here there are: {}", RIG.join(", ")));
    }
    if let Some(options) = rig.get("turntable") {
        let read = options.clone().try_into::<DeviceOptions>().map_err(|e| e.message().to_owned());
        let checked = read.and_then(|options| turntable::check(&options).map(|()| options));
        match checked.map(|options| Watched::of(&options)) {
            Err(what) => tell("rig.turntable".to_owned(), what),
            Ok(Some(watched))
                if !entries(rig.get("cameras")).any(|(name, _)| *name == watched.ring.camera) =>
            {
                let names: Vec<&str> = entries(rig.get("cameras")).map(|(name, _)| name.as_str()).collect();
                let (camera, known) = (watched.ring.camera, names.join(", "));
                tell(
                    "rig.turntable.rim.camera".to_owned(),
                    format!("no camera \"{camera}\"; this rig has: {known}"),
                );
            }
            Ok(_) => {}
        }
    }
    for (name, entry) in entries(rig.get("cameras")) {
        let read = entry.clone().try_into::<CameraConfig>().map_err(|e| e.message().to_owned());
        if let Err(what) = read.and_then(|camera| camera::check(&camera.device)) {
            tell(format!("rig.cameras.{name}"), what);
        }
    }
    for (name, entry) in entries(rig.get("inputs")) {
        let read = entry.clone().try_into::<InputConfig>().map_err(|e| e.message().to_owned());
        if let Err(what) = read.and_then(|input| input.check()) {
            tell(format!("rig.inputs.{name}"), what);
        }
    }
    for (name, entry) in entries(rig.get("outputs")) {
        let read = entry.clone().try_into::<OutputConfig>().map_err(|e| e.message().to_owned());
        if let Err(what) = read.and_then(|output| output.check()) {
            tell(format!("rig.outputs.{name}"), what);
        }
    }
}

fn entries(section: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    section.and_then(Value::as_table).into_iter().flatten()
}

/// The last layer that sets `key`, for a person to look in.
fn layer_of(layers: &[Layer], key: &str) -> String {
    let sets = |layer: &&Layer| {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        layer.table.get(section).is_some_and(|section| section.get(name).is_some())
    };
    let found = layers.iter().rev().find(sets);
    found.map_or_else(|| "default.toml (built in)".to_owned(), |layer| layer.name.clone())
}

#[cfg(test)]
mod tests;
