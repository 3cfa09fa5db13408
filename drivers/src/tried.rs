//! Which drivers somebody has tried on real hardware: the record that the conformance suite writes.
//!
//! `tried.toml` gets one entry from each passed run on an attended bench (`hw-tests`). Listings, panel and
//! docs/hardware.md say "not tried on real hardware" of whatever is not in it.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// One passed run of the conformance suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Driver's name; of a profile, `profile`.
    pub driver: String,
    /// Model as the device tells it.
    pub model: String,
    /// The day, `2027-01-31`.
    pub day: String,
    /// SHA-256 of the report.
    pub report: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    run: Vec<Run>,
}

/// Every passed run on real hardware.
pub fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    // A record that cannot be read proves nothing; the test below keeps it readable.
    RUNS.get_or_init(|| read(include_str!("tried.toml")).unwrap_or_default())
}

fn read(text: &str) -> Result<Vec<Run>, toml::de::Error> {
    toml::from_str::<Record>(text).map(|record| record.run)
}

/// Whether this driver was tried with this model; the simulated and replayed ones have nothing to be tried on.
pub fn is_tried(driver: &str, model: &str) -> bool {
    ["sim", "replay"].contains(&driver) || runs().iter().any(|run| run.driver == driver && run.model == model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_can_be_read_and_names_drivers_of_this_build() {
        for run in read(include_str!("tried.toml")).unwrap() {
            let tables = crate::turntable::DRIVERS.iter().map(|driver| driver.name);
            let cameras = crate::camera::DRIVERS.iter().map(|driver| driver.name);
            let inputs = crate::io::INPUTS.iter().map(|driver| driver.name);
            let outputs = crate::io::OUTPUTS.iter().map(|driver| driver.name);
            let all = tables.chain(cameras).chain(inputs).chain(outputs);
            assert!(all.into_iter().any(|name| name == run.driver), "{run:?}");
            assert_eq!(run.report.len(), 64, "{run:?}");
        }
    }

    #[test]
    fn what_nobody_has_tried_is_not_called_tried() {
        assert!(!is_tried("grbl", "Grbl 0.0"));
        assert!(is_tried("sim", "simulated turntable"));
    }
}
