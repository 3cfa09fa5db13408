//! A bench: the devices that stand on it, described in a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use turnstage_drivers::sim::{Booth, BoothOptions};
use turnstage_drivers::turntable::Hand;
use turnstage_drivers::{DeviceOptions, Surroundings};

use crate::{OPENS_AGAIN, Report, camera, turntable};

/// A bench as described.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// What a person calls it.
    pub name: String,
    /// A person stands beside it with a hand on the power switch. Without, no motor but a simulated one is moved.
    #[serde(default)]
    pub attended: bool,
    /// The booth that simulated devices stand in.
    pub booth: Option<BoothOptions>,
    /// The table.
    pub turntable: Option<DeviceOptions>,
    /// The cameras by name.
    #[serde(default)]
    pub cameras: BTreeMap<String, DeviceOptions>,
}

impl Bench {
    /// Reads a bench from a file. The error names the file.
    pub fn read(path: &Path) -> Result<Bench, String> {
        let wrong = |why: String| format!("bench {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let bench: Bench = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let real = bench.turntable.as_ref().is_some_and(|table| table.driver != "sim");
        if real && !bench.attended {
            let what = "the suite moves the motor of this bench; stand beside it and set attended = true";
            return Err(wrong(what.to_owned()));
        }
        if bench.turntable.as_ref().is_some_and(|table| table.driver == "external") {
            let what = "a table that somebody else turns is seen by a calibrated camera of a station, and a bench has none";
            return Err(wrong(what.to_owned()));
        }
        Ok(bench)
    }

    /// True if every device is simulated, so that a paused clock may be used.
    pub fn is_simulated(&self) -> bool {
        self.turntable.iter().chain(self.cameras.values()).all(|device| device.driver == "sim")
    }

    /// The table is turned by a person, who is asked.
    pub fn asks_a_person(&self) -> bool {
        self.turntable.as_ref().is_some_and(|table| table.driver == "manual")
    }

    /// Puts every device through its suite, closes it, and opens it again. `hand` is the person beside the table. An error
    /// is a device that could not be opened at first.
    pub async fn run(&self, hand: Hand) -> Result<Vec<Report>, String> {
        let booth = self.booth.clone().map(Booth::new).transpose()?;
        let around = Surroundings { booth, hand, ..Surroundings::default() };
        let mut reports = Vec::new();
        if let Some(options) = &self.turntable {
            let open = || turnstage_drivers::turntable::open(options, &around);
            let table = open().await.map_err(|e| e.to_string())?;
            // What is true of a simulated platter is known.
            let seen = around.booth.clone().filter(|_| options.driver == "sim");
            let mut report = match seen {
                Some(booth) => turntable::conform_seen(table, booth.into()).await,
                None => turntable::conform(table).await,
            };
            report.check(OPENS_AGAIN, turntable::works(open().await).await);
            reports.push(report);
        }
        for (name, options) in &self.cameras {
            let open = || turnstage_drivers::camera::open(name, options, &around);
            let mut report = camera::conform(open().await.map_err(|e| e.to_string())?).await;
            report.check(OPENS_AGAIN, camera::works(open().await).await);
            reports.push(report);
        }
        Ok(reports)
    }
}
