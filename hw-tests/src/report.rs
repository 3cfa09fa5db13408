//! What became of the checks of one device.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The promise that is kept by a device that a suite is handed open.
pub const OPENS: &str = "opens";
/// The promise that a device which was closed opens and works.
pub const OPENS_AGAIN: &str = "opens again after it was closed";

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The promise was kept.
    Passed,
    /// It was not: what was seen, and what should have been.
    Failed(String),
    /// It could not be tried, and why.
    Skipped(String),
}

/// One promise of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The promise, as a short sentence; stable, so that reports can be compared.
    pub name: String,
    /// How it was kept.
    pub outcome: Outcome,
}

/// Every promise of one device, in the order they were tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Kind, driver and identity: `turntable grbl /dev/serial/by-id/…`.
    pub device: String,
    /// Driver's name.
    pub driver: String,
    /// Model as the device tells it.
    pub model: String,
    /// Version of the device's own software, if it tells.
    pub firmware: Option<String>,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    pub(crate) fn of(kind: &str, id: &str, driver: &str, model: &str, firmware: Option<String>) -> Self {
        Self {
            device: format!("{kind} {driver} {id}"),
            driver: driver.to_owned(),
            model: model.to_owned(),
            firmware,
            checks: vec![Check { name: OPENS.to_owned(), outcome: Outcome::Passed }],
        }
    }

    /// What the device is: `turntable` or `camera`.
    pub fn kind(&self) -> &str {
        self.device.split(' ').next().unwrap_or_default()
    }

    /// Whether this promise was tried and kept.
    pub fn passed(&self, name: &str) -> bool {
        self.checks.iter().any(|check| check.name == name && check.outcome == Outcome::Passed)
    }

    /// Notes a check: `Ok` if the promise was kept, otherwise what was seen.
    pub(crate) fn check(&mut self, name: &'static str, kept: Result<(), String>) {
        let outcome = kept.map_or_else(Outcome::Failed, |()| Outcome::Passed);
        self.checks.push(Check { name: name.to_owned(), outcome });
    }

    pub(crate) fn skip(&mut self, name: &'static str, why: &str) {
        self.checks.push(Check { name: name.to_owned(), outcome: Outcome::Skipped(why.to_owned()) });
    }

    /// The promises that were broken.
    pub fn broken(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed(_)));
        failed.map(|check| check.name.as_str()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device)?;
        for check in &self.checks {
            match &check.outcome {
                Outcome::Passed => writeln!(f, "  passed   {}", check.name)?,
                Outcome::Failed(why) => writeln!(f, "  FAILED   {}: {why}", check.name)?,
                Outcome::Skipped(why) => writeln!(f, "  skipped  {}: {why}", check.name)?,
            }
        }
        Ok(())
    }
}

/// `Ok` if `kept`, otherwise what was seen.
pub(crate) fn expect(kept: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(seen()) }
}
