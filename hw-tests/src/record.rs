//! Puts a passed run on real hardware on record: `drivers/src/tried.toml`, and the table of docs/hardware.md.

use turnstage_drivers::tried::Run;

use crate::signed::Signed;
use crate::{OPENS, OPENS_AGAIN, camera, turntable};

/// The promises of a kind of device without which it was not tried: they must have been kept, and not skipped.
fn required(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "turntable" => {
            Some(&[OPENS, turntable::REFERENCE, turntable::TARGETS, turntable::STOPS, OPENS_AGAIN])
        }
        "camera" => Some(&[OPENS, camera::WHOLE, OPENS_AGAIN]),
        _ => None,
    }
}

/// The name of whoever stood beside a bench. An error says why this is none.
pub fn attendant(by: &str) -> Result<&str, String> {
    match by.trim() {
        "" | "nobody" => Err("it is not said who stood beside this bench: run it with --by NAME".to_owned()),
        name => Ok(name),
    }
}

/// The runs that a report proves, one a device. An error says why it proves nothing.
pub fn runs(signed: &Signed) -> Result<Vec<Run>, String> {
    let account = signed.open()?;
    if !account.attended {
        return Err("nobody stood beside this bench (attended = false)".to_owned());
    }
    attendant(&account.by)?;
    let mut runs = Vec::new();
    for report in &account.devices {
        if let Some(name) = report.broken().first() {
            return Err(format!("{}: the promise \"{name}\" was broken", report.device));
        }
        if report.driver == "sim" || report.driver == "replay" {
            continue;
        }
        let required = required(report.kind()).ok_or_else(|| {
            format!("{}: there are no promises by which such a device counts as tried", report.device)
        })?;
        if let Some(name) = required.iter().find(|name| !report.passed(name)) {
            return Err(format!("{}: the promise \"{name}\" was not tried", report.device));
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
    use crate::{Check, Outcome, Report};

    /// What a bench said of one device that kept all its required promises but one, of which this is said.
    fn account(kind: &str, driver: &str, but: Option<(&str, Outcome)>) -> Account {
        let (model, firmware) = ("Grbl 1.1h".to_owned(), None);
        let (device, driver) = (format!("{kind} {driver} /dev/x"), driver.to_owned());
        let all = required(kind).unwrap_or_default().iter().chain(&["gives a preview or none"]);
        let check = |name: &&str| {
            let other = but.clone().filter(|(other, _)| other == name);
            Check { name: (*name).to_owned(), outcome: other.map_or(Outcome::Passed, |(_, outcome)| outcome) }
        };
        let devices = vec![Report { device, driver, model, firmware, checks: all.map(check).collect() }];
        let (bench, by, day) = ("b".to_owned(), "a tester".to_owned(), "2027-01-31".to_owned());
        Account { schema: SCHEMA, bench, attended: true, by, day, software: "0.1.0".to_owned(), devices }
    }

    fn of(account: Account) -> Result<Vec<Run>, String> {
        runs(&Signed::of(&account, &new_key().unwrap()).unwrap())
    }

    #[test]
    fn only_a_run_that_somebody_attended_and_that_kept_every_promise_is_recorded() {
        let good = || account("turntable", "grbl", None);
        let [run] = of(good()).unwrap().try_into().unwrap();
        assert_eq!((run.driver.as_str(), run.model.as_str(), run.report.len()), ("grbl", "Grbl 1.1h", 64));
        assert!(of(Account { attended: false, ..good() }).unwrap_err().contains("attended = false"));
        for by in ["", "  ", "nobody"] {
            let error = of(Account { by: by.to_owned(), ..good() }).unwrap_err();
            assert!(error.contains("--by NAME"), "{error}");
        }
        let broken = account("turntable", "grbl", Some((OPENS, Outcome::Failed("no".to_owned()))));
        assert!(of(broken).unwrap_err().contains("was broken"));
        assert!(of(account("turntable", "sim", None)).unwrap_err().contains("no real device"));
        assert!(of(account("lamp", "relay", None)).unwrap_err().contains("no promises"));
    }

    #[test]
    fn a_device_that_skipped_what_makes_it_one_was_not_tried() {
        for (kind, words) in [
            ("turntable", ["open", "target", "stop", "again"]),
            ("camera", ["open", "picture", "again", "opens"]),
        ] {
            let names = required(kind).unwrap();
            assert!(words.iter().all(|word| names.iter().any(|name| name.contains(word))), "{names:?}");
            for name in names {
                let skipped = Outcome::Skipped("no".to_owned());
                let error = of(account(kind, "v4l", Some((name, skipped)))).unwrap_err();
                assert!(error.contains(&format!("the promise \"{name}\" was not tried")), "{error}");
            }
            let skipped = Some(("gives a preview or none", Outcome::Skipped("no".to_owned())));
            assert_eq!(of(account(kind, "v4l", skipped)).unwrap().len(), 1, "what a device need not have");
        }
    }

    #[test]
    fn what_is_recorded_can_be_read_and_flips_the_row_of_its_driver_alone() {
        let new = of(account("turntable", "grbl", None)).unwrap();
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
