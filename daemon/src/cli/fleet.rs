//! `fleet`: the manager's side. See the stations, read one, command some, configure them a few at a time.
//!
//! Speaks to the broker alone; no station needs to run here.

pub mod rollout;
mod run;
mod watch;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::mqtt::{Link, LinkState, TroubleKind};

use super::answer::answer;
use crate::access::Role;
use crate::exit::{self, Exit};
use crate::fleet::client::{Manager, Options, is_meant};
use crate::fleet::signed::Signer;
use crate::status::StationName;

/// The broker must answer within so long.
const BROKER_LIMIT: Duration = Duration::from_secs(15);
/// What is retained is taken to be complete when nothing came for so long.
const QUIET: Duration = Duration::from_millis(500);
/// And after so long whatever comes.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(10);

/// What a manager does.
#[derive(Debug, Args)]
pub struct Fleet {
    /// Who you are: manager.toml with broker, key and name; see docs/fleet/manager.md. Absent: $TURNSTAGE_MANAGER, then
    /// ~/.config/turnstage/manager.toml.
    #[arg(long, global = true, value_name = "FILE")]
    manager: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a key to sign with, and prints its lines for the stations' trust files.
    Keygen {
        /// New file for the private key.
        file: PathBuf,
        /// Name of the key.
        #[arg(long)]
        id: String,
        /// What whoever signs with it may.
        #[arg(long, default_value = "admin")]
        role: Role,
    },
    /// Shows the stations: a table that refreshes.
    Watch(watch::Watch),
    /// Prints what a station told last: status, figures, alarms, configuration, commands.
    Get {
        /// ORG/SITE/STATION; a part may be *.
        station: String,
    },
    /// Sends a command to stations and waits for what becomes of it.
    Run(run::Run),
    /// Gives stations a configuration, all at once.
    Set(rollout::Set),
    /// Gives some stations a configuration first, and the others when all of those use it.
    Rollout(rollout::Rollout),
}

/// Does it.
pub async fn perform(fleet: Fleet) -> Result<u8> {
    let options = |fleet: &Fleet| options(fleet.manager.as_deref());
    match &fleet.what {
        What::Keygen { file, id, role } => keygen(file, id, *role),
        What::Watch(watch) => watch::perform(options(&fleet)?, watch).await,
        What::Get { station } => watch::get(options(&fleet)?, station).await,
        What::Run(run) => run::perform(options(&fleet)?, run).await,
        What::Set(set) => rollout::set(options(&fleet)?, set).await,
        What::Rollout(rollout) => rollout::rollout(options(&fleet)?, rollout).await,
    }
}

fn options(given: Option<&Path>) -> Result<Options> {
    let home =
        || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/turnstage/manager.toml"));
    let named = || std::env::var_os("TURNSTAGE_MANAGER").map(PathBuf::from);
    let file = given.map(Path::to_owned).or_else(named).or_else(home).unwrap_or_default();
    Options::read(&file).map_err(|what| Exit::new(exit::CONFIGURATION, what).into())
}

fn keygen(file: &Path, id: &str, role: Role) -> Result<u8> {
    let named =
        |error: &dyn std::fmt::Display| Exit::new(exit::STORAGE, format!("{}: {error}", file.display()));
    let pem = Signer::generate().map_err(|error| named(&error))?;
    let key = Signer::of_pem(id, pem.as_bytes()).map_err(|error| named(&error))?.trusted(role);
    // One that is there already signs for stations that trust it: it is not written over.
    let mut options = std::fs::OpenOptions::new();
    let mut out =
        options.write(true).create_new(true).mode(0o600).open(file).map_err(|error| named(&error))?;
    out.write_all(pem.as_bytes()).and_then(|()| out.sync_all()).map_err(|error| named(&error))?;
    answer!("# Add this to the trust file of each station (fleet.trust_file; it begins with: schema = 1).");
    answer!("[[key]]\nid = \"{}\"\npublic = \"{}\"\nrole = \"{}\"", key.id, key.public, key.role.name());
    Ok(exit::OK)
}

/// Works beside a link until it is done.
async fn beside<T>(link: Link, work: impl Future<Output = Result<T>>) -> Result<T> {
    let cancel = CancellationToken::new();
    let mut running = std::pin::pin!(link.run(cancel.clone()));
    let done = tokio::select! {
        done = work => done,
        () = &mut running => Err(Exit::new(exit::TASK_DIED, "the link to the broker ended").into()),
    };
    cancel.cancel();
    running.await;
    done
}

/// Waits for the broker, then for what it retains of the fleet.
async fn snapshot(manager: &mut Manager) -> Result<()> {
    let mut state = manager.post().state();
    let up = async {
        loop {
            match &*state.borrow_and_update() {
                LinkState::Up { .. } => return Ok(()),
                LinkState::Down { trouble, .. } if trouble.kind != TroubleKind::Network => {
                    return Err(Exit::new(exit::HARDWARE, format!("{} ({})", trouble.reason, trouble.rule)));
                }
                _ => {}
            }
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    match tokio::time::timeout(BROKER_LIMIT, up).await {
        Ok(up) => up?,
        Err(_) => {
            let why = match &*manager.post().state().borrow() {
                LinkState::Down { trouble, .. } => trouble.reason.clone(),
                _ => format!("it did not answer within {} s", BROKER_LIMIT.as_secs()),
            };
            return Err(Exit::new(exit::HARDWARE, format!("the broker is not reached: {why}")).into());
        }
    }
    let end = Instant::now() + SNAPSHOT_LIMIT;
    while timeout_at(end.min(Instant::now() + QUIET), manager.next()).await.is_ok() {}
    Ok(())
}

/// The stations of a pattern that were heard of, or exit 66.
fn meant(manager: &Manager, pattern: &str) -> Result<Vec<StationName>> {
    let known = manager.fleet.stations.keys();
    let found: Vec<StationName> = known.filter(|station| is_meant(pattern, station)).cloned().collect();
    if found.is_empty() {
        let why = format!(
            "no station \"{pattern}\" was heard of: write ORG/SITE/STATION, where a part may be *, and see which there are with \
             turnstage fleet watch --once"
        );
        return Err(Exit::new(exit::NO_INPUT, why).into());
    }
    Ok(found)
}

fn named(station: &StationName) -> String {
    format!("{}/{}/{}", station.org, station.site, station.name)
}
