//! The keys of `driver = "gphoto2"`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::HELPER;
use crate::camera::helper;

/// Largest file taken unless `bytes_max` says otherwise.
const BYTES_MAX: usize = 200_000_000;

/// As written in the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    pub serial: Option<String>,
    pub model: Option<String>,
    pub port: Option<String>,
    pub helper: Option<PathBuf>,
    pub target: Target,
    pub aperture: Option<f64>,
    pub white_balance: Option<String>,
    pub settings: BTreeMap<String, String>,
    pub iso_base: Option<f64>,
    pub battery_percent_min: Option<u8>,
    pub focus_travel_steps: Option<i32>,
    pub live_view: bool,
    pub bytes_max: Option<usize>,
}

/// Where the camera puts a picture before it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Target {
    /// In its memory; nothing stays.
    #[default]
    Memory,
    /// On its card, where it stays as a second copy.
    Card,
}

impl Keys {
    /// Whether every value is in its range.
    pub fn check(&self) -> Result<(), String> {
        let blank = [("serial", &self.serial), ("model", &self.model), ("port", &self.port)];
        let blank =
            blank.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.trim().is_empty()));
        if let Some((key, _)) = blank {
            return Err(format!("{key} is empty; leave it out, or write what \"turnstage devices\" shows"));
        }
        helper::session::check(HELPER, self.helper.as_deref())?;
        within("aperture", self.aperture, 0.5, 128.0)?;
        within("iso_base", self.iso_base, 10.0, 25_600.0)?;
        within("battery_percent_min", self.battery_percent_min.map(f64::from), 0.0, 90.0)?;
        if self.focus_travel_steps.is_some_and(|steps| steps == 0 || steps.unsigned_abs() > 1_000_000) {
            return Err("focus_travel_steps must be a number of steps up to 1000000, and not 0".to_owned());
        }
        within("bytes_max", self.bytes_max.map(|bytes| bytes as f64), 100_000.0, 1e9)
    }

    /// Lowest charge in percent that a session begins with.
    pub fn battery_percent_min(&self) -> u8 {
        self.battery_percent_min.unwrap_or(5)
    }

    /// Largest file taken.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max.unwrap_or(BYTES_MAX)
    }
}

fn within(key: &str, value: Option<f64>, low: f64, high: f64) -> Result<(), String> {
    match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(format!("{key} = {value} must be from {low} to {high}"))
        }
        _ => Ok(()),
    }
}
