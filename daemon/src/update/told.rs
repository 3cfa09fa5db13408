//! What the station is told of an update: why no session begins, and what is under way and forbids nothing.

use super::{Phase, UNDERWAY, UpdateState};
use crate::status::Fault;

/// Why no session begins.
pub(super) fn underway(what: &str) -> Fault {
    Fault::new(
        UNDERWAY,
        what,
        "No session begins until it is done.",
        "Wait. It ends by itself, perhaps with a reboot.",
    )
}

pub(super) fn notice(rule: &str, what: &str) -> Fault {
    Fault::new(rule, what, "The system stays as it is until then.", "Nothing: it goes on by itself.")
}

/// What is told of an update and forbids nothing.
pub(super) fn told(state: &UpdateState) -> Option<Fault> {
    let version = state.request.as_ref().map(|request| request.version.as_str()).unwrap_or_default();
    match &state.phase {
        Phase::Waiting { rule, reason } => Some(notice(rule, reason)),
        Phase::Fetching { .. } => {
            Some(notice("update-fetching", &format!("Update {version} is being fetched.")))
        }
        Phase::RebootPending => Some(notice(
            "update-reboot-pending",
            &format!("Update {version} is installed; the next boot is into it."),
        )),
        Phase::Failed { rule, reason } => Some(Fault::new(
            rule,
            format!("Update {version} was not installed: {reason}"),
            "The system is the one before.",
            "Tell whoever looks after the fleet.",
        )),
        Phase::RolledBack { reasons, .. } => Some(Fault::new(
            "update-rolled-back",
            format!("Update {version} did not work: {}", reasons.join("; ")),
            "The system before runs, or will after the next boot.",
            "Tell whoever looks after the fleet.",
        )),
        Phase::Idle | Phase::Installing { .. } | Phase::Proving { .. } | Phase::Good => None,
    }
}
