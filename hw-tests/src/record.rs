//! Puts a passed run on real hardware on record: `drivers/src/tried.toml`, and the table of docs/hardware.md.

use turnstage_drivers::tried::Run;

use crate::Outcome;
use crate::signed::Signed;

/// The runs that a report proves, one a device. An error says why it proves nothing.
pub fn runs(signed: &Signed) -> Result<Vec<Run>, String> {
    let account = signed.open()?;
    if !account.attended {
        return Err("nobody stood beside this bench (attended = false)".to_owned());
    }
    let mut runs = Vec::new();
    for report in &account.devices {
        if let Some(name) = report.broken().first() {
            return Err(format!("{}: the promise \"{name}\" was broken", report.device));
        }
        if report.driver == "sim" || report.driver == "replay" {
            continue;
        }
        if !report.checks.iter().any(|check| check.outcome == Outcome::Passed) {
            return Err(format!("{}: no promise was tried", report.device));
        }
        runs.push(Run {
            driver: report.driver.clone(),
            model: report.model.clone(),
            day: account.day.clone(),
            report: signed.hash(),
        });
    }
    match runs.is_empty() {
        true => Err("no real device stood on this bench".to_owned()),
        false => Ok(runs),
    }
}

/// The record with one more run each; what is there already is not written twice.
pub fn recorded(record: &str, known: &[Run], runs: &[Run]) -> String {
    let mut text = record.to_owned();
    for run in runs.iter().filter(|run| !known.contains(run)) {
        let entry = toml::to_string(run).unwrap_or_default();
        text.push_str(&format!("\n[[run]]\n{entry}"));
    }
    text
}

/// What the last column of a driver's row says.
pub fn said(driver: &str, runs: &[Run]) -> String {
    let mut models: Vec<String> = runs
        .iter()
        .filter(|run| run.driver == driver)
        .map(|run| format!("{} ({})", run.model, run.day))
        .collect();
    models.sort();
    models.dedup();
    if models.is_empty() { "not tried on real hardware".to_owned() } else { models.join(", ") }
}

/// A page of drivers, its table telling what is on record. A row begins with the driver's name in backticks; rows of
/// simulated and replayed devices stay as they are.
pub fn told(page: &str, runs: &[Run]) -> String {
    let row = |line: &str| {
        let driver = line.strip_prefix("| `")?.split('`').next()?;
        let cells: Vec<&str> = line.trim_end().trim_end_matches('|').split('|').collect();
        if cells.len() != 5 || ["sim", "replay"].contains(&driver) {
            return None;
        }
        Some(format!("{}| {} |", cells[..4].join("|"), said(driver, runs)))
    };
    let mut in_table = false;
    let lines = page.lines().map(|line| {
        in_table = line.starts_with("| driver | kind") || (in_table && line.starts_with('|'));
        row(line).filter(|_| in_table).unwrap_or_else(|| line.to_owned())
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::{Account, SCHEMA, new_key};
    use crate::{Check, Report};

    fn signed(attended: bool, outcome: Outcome, driver: &str) -> Signed {
        let report = Report {
            device: format!("turntable {driver} /dev/x"),
            driver: driver.to_owned(),
            model: "Grbl 1.1h".to_owned(),
            firmware: None,
            checks: vec![Check { name: "stops".to_owned(), outcome }],
        };
        let account = Account {
            schema: SCHEMA,
            bench: "b".to_owned(),
            attended,
            by: "a tester".to_owned(),
            day: "2027-01-31".to_owned(),
            software: "0.1.0".to_owned(),
            devices: vec![report],
        };
        Signed::of(&account, &new_key().unwrap()).unwrap()
    }

    #[test]
    fn only_a_run_that_somebody_attended_and_that_kept_every_promise_is_recorded() {
        let [run] = runs(&signed(true, Outcome::Passed, "grbl")).unwrap().try_into().unwrap();
        assert_eq!((run.driver.as_str(), run.model.as_str(), run.report.len()), ("grbl", "Grbl 1.1h", 64));
        assert!(runs(&signed(false, Outcome::Passed, "grbl")).is_err());
        assert!(runs(&signed(true, Outcome::Failed("no".to_owned()), "grbl")).is_err());
        assert!(runs(&signed(true, Outcome::Skipped("no".to_owned()), "grbl")).is_err());
        assert!(runs(&signed(true, Outcome::Passed, "sim")).is_err());
    }

    #[test]
    fn what_is_recorded_can_be_read_and_flips_the_row_of_its_driver_alone() {
        let new = runs(&signed(true, Outcome::Passed, "grbl")).unwrap();
        let record = recorded("# head\n", &[], &new);
        assert_eq!(recorded(&record, &new, &new), record, "not twice");
        let table: toml::Table = record.parse().unwrap();
        assert_eq!(table["run"].as_array().unwrap().len(), 1);
        let page = "# Hardware\n\n| driver | kind | what it is | tried on real hardware |\n|---|---|---|---|\n\
                    | `sim` | turntable | booth | nothing to try it on |\n\
                    | `grbl` | turntable | a board | not tried on real hardware |\n\
                    | `relay` | turntable | relays | not tried on real hardware |\n\n| `grbl` | other | table | x |\n";
        let told = told(page, &new);
        assert!(told.contains("| `grbl` | turntable | a board | Grbl 1.1h (2027-01-31) |"), "{told}");
        assert!(told.contains("| `relay` | turntable | relays | not tried on real hardware |"), "{told}");
        assert!(
            told.contains("nothing to try it on") && told.ends_with("| `grbl` | other | table | x |\n"),
            "{told}"
        );
    }

    #[test]
    fn the_documentation_says_what_is_on_record() {
        let page = include_str!("../../docs/hardware.md");
        assert_eq!(told(page, turnstage_drivers::tried::runs()), page);
        let drivers = turnstage_drivers::turntable::DRIVERS.iter().map(|driver| driver.name);
        for name in drivers.chain(turnstage_drivers::camera::DRIVERS.iter().map(|driver| driver.name)) {
            assert!(page.lines().any(|line| line.starts_with(&format!("| `{name}` |"))), "no row of {name}");
        }
    }
}
