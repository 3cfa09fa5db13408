//! GPIO chips, found by their labels: which chip is number 0 is settled anew at each start of the machine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gpiocdev::line::EdgeEvent;
use gpiocdev::{Chip, Request};

const PERMISSION: &str = "the service's user may not use it: put the user into the group gpio, give that group the chips \
                          (udev: SUBSYSTEM==\"gpio\", GROUP=\"gpio\", MODE=\"0660\"), and restart the service";

/// A chip that can be opened.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) label: String,
    pub(crate) chip: Chip,
}

/// Why a chip is not to be had, and what to do.
#[derive(Debug)]
pub(crate) struct Absent {
    pub(crate) why: String,
    pub(crate) hint: &'static str,
}

/// Whether what `key` says is a label, and not a number that may be another chip's tomorrow.
pub(crate) fn check_label(key: &str, chip: &str) -> Result<(), String> {
    if chip.starts_with("/dev/") || chip.starts_with("gpiochip") {
        return Err(format!(
            "{key} = \"{chip}\" may be another chip after the next start; give its label, see turnstage devices"
        ));
    }
    match chip.trim().is_empty() {
        true => Err(format!("{key} is empty; give the label of the chip, see turnstage devices")),
        false => Ok(()),
    }
}

/// Every chip that can be opened, and whether there are others that this user may not use.
pub(crate) fn chips() -> (Vec<Found>, bool) {
    let mut closed = false;
    let mut found = Vec::new();
    for path in gpiocdev::chip::chips().unwrap_or_default() {
        match Chip::from_path(&path) {
            Ok(chip) => {
                let label = chip.info().map(|info| info.label).unwrap_or_default();
                found.push(Found { path, label, chip });
            }
            Err(_) => closed |= is_closed(&path),
        }
    }
    (found, closed)
}

fn is_closed(path: &Path) -> bool {
    std::fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The chips that are called so; without a label, all of them. There is one at least.
pub(crate) fn called(label: Option<&str>) -> Result<Vec<Found>, Absent> {
    let (all, closed) = chips();
    let there = if all.is_empty() { "none".to_owned() } else { labels(&all) };
    let called: Vec<Found> =
        all.into_iter().filter(|found| label.is_none_or(|label| label == found.label)).collect();
    if !called.is_empty() {
        return Ok(called);
    }
    let why = match label {
        Some(label) => format!("no GPIO chip is called {label}; there are: {there}"),
        None => "this machine has no GPIO chip".to_owned(),
    };
    Err(Absent { why, hint: if closed { PERMISSION } else { "correct chip, or plug the chip in" } })
}

/// The one chip that is called so.
pub(crate) fn only(label: &str) -> Result<Found, Absent> {
    let mut called = called(Some(label))?;
    match (called.pop(), called.is_empty()) {
        (Some(found), true) => Ok(found),
        _ => Err(Absent {
            why: format!("several GPIO chips are called {label}"),
            hint: "lines of such chips cannot be told apart; use a chip with a label of its own",
        }),
    }
}

/// The oldest edge that waits. Of several the library's own `read_edge_event` takes up to eight out of the queue and
/// gives the first: a press that is over before anybody looked would be half lost.
pub(crate) fn oldest_edge(lines: &Request) -> gpiocdev::Result<Option<EdgeEvent>> {
    if !lines.has_edge_event()? {
        return Ok(None);
    }
    let mut one = vec![0; lines.edge_event_u64_size()];
    let read = lines.read_edge_events_into_slice(&mut one)?;
    lines.edge_event_from_slice(&one[..read]).map(Some)
}

/// Their labels, for a person.
pub(crate) fn labels(chips: &[Found]) -> String {
    chips.iter().map(|found| found.label.as_str()).collect::<Vec<_>>().join(", ")
}
