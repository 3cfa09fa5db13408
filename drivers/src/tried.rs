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

/// Whether this driver was tried with this model, or with one whose name goes on behind it: what is listed but not opened
/// has not told its whole name. The simulated and replayed ones have nothing to be tried on.
pub fn is_tried(driver: &str, model: &str) -> bool {
    ["sim", "replay"].contains(&driver) || is_among(runs(), driver, model)
}

fn is_among(runs: &[Run], driver: &str, model: &str) -> bool {
    let goes_on = |rest: &str| rest.is_empty() || rest.starts_with(' ');
    runs.iter().any(|run| run.driver == driver && run.model.strip_prefix(model).is_some_and(goes_on))
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
    fn a_table_that_was_tried_is_tried_by_the_name_of_its_profile_and_by_the_one_that_it_tells() {
        let (day, report) = ("2027-01-31".to_owned(), "0".repeat(64));
        let model = "ComXim MT series MT320RUBL40ProV3".to_owned();
        let runs = [Run { driver: "profile".to_owned(), model, day, report }];
        assert!(is_among(&runs, "profile", "ComXim MT series"));
        assert!(is_among(&runs, "profile", "ComXim MT series MT320RUBL40ProV3"));
        for other in ["ComXim MT series MT200", "ComXim MT series MT320", "ComXim MT", "Com", "Marlin"] {
            assert_eq!(is_among(&runs, "profile", other), other == "ComXim MT", "{other}");
        }
        assert!(!is_among(&runs, "grbl", "ComXim MT series"));
    }

    #[test]
    fn what_nobody_has_tried_is_not_called_tried() {
        assert!(!is_tried("grbl", "Grbl 0.0"));
        assert!(is_tried("sim", "simulated turntable"));
    }
}
