//! `settings`: what the manager of a fleet set on this station, for the technician who stands before it.

use anyhow::Result;
use clap::Subcommand;

use super::Place;
use super::answer::answer;
use super::check::{Line, line};
use crate::command::Actor;
use crate::exit::{self, Exit};
use crate::fleet::desired::{Reported, State};

/// What to do about them.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Says which version is in use, and why a newer one is not.
    Show {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Takes every version of the manager back: the station runs on its own file from its next start on. Not for a station
    /// that runs.
    Forget,
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    match what {
        What::Show { json } => show(&place.keeper().reported(), json),
        What::Forget => {
            place.unused().await?;
            let forgotten = place.keeper().forget(&Actor::cli());
            forgotten.map_err(|e| Exit::new(exit::STORAGE, format!("it is not forgotten: {e}")))?;
            answer!("The station runs on its own file alone, until its manager sends a newer version.");
            Ok(exit::OK)
        }
    }
}

fn show(kept: &Reported, json: bool) -> Result<u8> {
    if json {
        answer!("{}", serde_json::to_string(kept)?);
        return Ok(exit::OK);
    }
    answer!("{}", sentence(kept));
    for problem in &kept.problems {
        answer!("  {}: {}", problem.key, problem.what);
    }
    for (section, keys) in &kept.config {
        answer!("{section} = {keys}");
    }
    for name in kept.recipes.keys() {
        answer!("recipe {name}");
    }
    Ok(exit::OK)
}

/// Which version is used, and what became of the newest.
fn sentence(kept: &Reported) -> String {
    let used = match kept.version {
        0 => "No version of a manager is in use.".to_owned(),
        version => format!("Version {version} is in use."),
    };
    let newest = kept.wanted.unwrap_or(kept.version);
    let reason = kept.reason.as_deref().unwrap_or_default();
    match kept.state {
        State::None | State::InUse => used,
        State::Pending => format!("{used} Version {newest} waits for the end of the open session."),
        State::Trial => format!("{used} It is on trial until the link to the broker is there."),
        State::Refused => format!("{used} Version {newest} was refused:"),
        State::RolledBack => format!("{used} Version {newest} was rolled back: {reason}"),
    }
}

/// The line of `check`; none at a station that no manager configured.
pub fn checked(place: &Place) -> Option<Line> {
    let keeper = place.keeper();
    let told = match keeper.notice() {
        Some(fault) => Err(format!("{}. {}", fault.what, fault.todo)),
        None if keeper.reported() == Reported::default() => return None,
        None => Ok(sentence(&keeper.reported())),
    };
    Some(line("fleet configuration", exit::CONFIGURATION, told))
}
