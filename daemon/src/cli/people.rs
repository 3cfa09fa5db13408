//! `accounts`: who may use the panel. Works beside a running station, which reads the file anew.

use std::io::{BufRead, IsTerminal};

use anyhow::Result;
use clap::Subcommand;

use super::Place;
use super::answer::answer;
use crate::access::Role;
use crate::access::accounts::{AccountError, Accounts};
use crate::exit::{self, Exit};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Adds a person or gives one a new role and password, which is read from standard input.
    Set {
        /// Their name, as they will type it.
        name: String,
        /// What they may.
        #[arg(long)]
        role: Role,
    },
    /// Takes a person's account away; they are signed out.
    Remove {
        /// Their name.
        name: String,
    },
    /// Lists names and roles.
    List,
}

/// Does it.
pub fn perform(place: &Place, what: What) -> Result<u8> {
    let accounts = Accounts::of(&place.data);
    match what {
        What::Set { name, role } => {
            let password = password()?;
            accounts.set(&name, role, &password).map_err(wrong)?;
            answer!("{name} signs in as {} from now on.", role.name());
            let looks_after = |role: &Role| matches!(role, Role::Technician | Role::Admin);
            if !accounts.people().values().any(looks_after) {
                answer!(
                    "Nobody may look after the station by the panel yet: add a technician or an admin, too."
                );
            }
        }
        What::Remove { name } => {
            accounts.remove(&name).map_err(wrong)?;
            answer!("{name} has no account any more.");
        }
        What::List => {
            for (name, role) in accounts.people() {
                answer!("{:<12} {name}", role.name());
            }
        }
    }
    Ok(exit::OK)
}

/// One line; at a terminal it is not echoed.
fn password() -> Result<String> {
    let input = std::io::stdin();
    let mut line = String::new();
    if !input.is_terminal() {
        input.lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    answer!("Password (at least 10 characters, it is not shown):");
    let shown = rustix::termios::tcgetattr(&input)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Flush, &hidden)?;
    let read = input.lock().read_line(&mut line);
    rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Flush, &shown)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn wrong(error: AccountError) -> Exit {
    let code = match error {
        AccountError::TooShort | AccountError::BadName(_) => exit::USAGE,
        AccountError::Unknown(_) => exit::NO_INPUT,
        AccountError::File { .. } | AccountError::Unreadable { .. } => exit::STORAGE,
    };
    Exit::new(code, error)
}
