//! `fleet set` and `fleet rollout`: a configuration to stations, some first, with what each says of it.
//!
//! The document is retained, so a station that is away takes it when it comes back. A roll-out goes on to the others only
//! when every one of the first uses the version; it ends at the first station that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::{answer, beside, meant, named, snapshot};
use crate::exit::{self, Exit};
use crate::fleet::client::{Manager, Options};
use crate::fleet::desired::{Desired, Reported, State};
use crate::fleet::topics::Below;
use crate::status::StationName;

/// What `set` and `rollout` share.
#[derive(Debug, Args)]
pub struct Set {
    /// ORG/SITE/STATION; a part may be *.
    stations: String,
    /// TOML with what differs from the stations' own files; none: nothing differs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A recipe for all of them, NAME.toml; together they are the whole set of the fleet's recipes.
    #[arg(long, value_name = "FILE")]
    recipe: Vec<PathBuf>,
    /// Number of this version; one more than the highest that was heard of if absent.
    #[arg(long)]
    version: Option<u64>,
    /// Each station is waited for so long, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait_s: u64,
    /// Print what stations say as one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How what stations say is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Lines,
    Json,
}

/// How a stage is waited for.
struct Wait {
    span: Duration,
    told: Told,
}

impl Set {
    fn wait(&self) -> Wait {
        let told = if self.json { Told::Json } else { Told::Lines };
        Wait { span: Duration::from_secs(self.wait_s), told }
    }
}

/// Options of `rollout`.
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(flatten)]
    set: Set,
    /// To so many stations first; to the others when all of these use it.
    #[arg(long, default_value_t = 1)]
    first: usize,
}

/// All at once.
pub async fn set(options: Options, set: &Set) -> Result<u8> {
    perform(options, set, usize::MAX).await
}

/// The first ones, then the others.
pub async fn rollout(options: Options, rollout: &Rollout) -> Result<u8> {
    perform(options, &rollout.set, rollout.first.max(1)).await
}

/// A small configuration to all stations of a pattern, without a word of each.
pub async fn to_all(options: Options, pattern: &str) -> Result<u8> {
    let config = Map::from_iter([("log".to_owned(), json!({ "level": "warn" }))]);
    let listen = ["config/reported", "config/desired"];
    let (link, mut manager) =
        Manager::new(options, &listen).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
    beside(link, async {
        snapshot(&mut manager).await?;
        let stations = meant(&manager, pattern)?;
        let highest = stations.iter().map(|station| highest(&manager, station)).max().unwrap_or_default();
        let desired = Desired { version: highest + 1, config, recipes: BTreeMap::new() };
        let quiet = Wait { span: Duration::from_secs(600), told: Told::Nothing };
        stage_of(&mut manager, &quiet, &desired, &stations).await
    })
    .await
}

async fn perform(options: Options, set: &Set, first: usize) -> Result<u8> {
    let (config, recipes) = documents(set)?;
    let listen = ["status", "config/reported", "config/desired"];
    let (link, mut manager) =
        Manager::new(options, &listen).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
    beside(link, async {
        snapshot(&mut manager).await?;
        let stations = meant(&manager, &set.stations)?;
        let highest = stations.iter().map(|station| highest(&manager, station)).max().unwrap_or_default();
        let desired = Desired { version: set.version.unwrap_or(highest + 1), config, recipes };
        answer!("version {} to {} stations", desired.version, stations.len());
        let (now, later) = stations.split_at(first.min(stations.len()));
        for (stage, part) in [now, later].into_iter().enumerate() {
            if part.is_empty() {
                continue;
            }
            let code = stage_of(&mut manager, &set.wait(), &desired, part).await?;
            if code != exit::OK {
                if stage == 0 && !later.is_empty() {
                    answer!("the other {} stations were not configured", later.len());
                }
                return Ok(code);
            }
        }
        Ok(exit::OK)
    })
    .await
}

/// The highest version that a station was offered, as far as was heard.
fn highest(manager: &Manager, station: &StationName) -> u64 {
    let Some(seen) = manager.fleet.stations.get(station) else { return 0 };
    let body = |key: &str| seen.reported.as_ref().and_then(|reported| reported.body[key].as_u64());
    [body("version"), body("wanted"), seen.desired_version].into_iter().flatten().max().unwrap_or_default()
}

/// Sends the version to some stations and waits for each; ends at the first that does not use it.
async fn stage_of(
    manager: &mut Manager,
    wait: &Wait,
    desired: &Desired,
    stations: &[StationName],
) -> Result<u8> {
    let mut waiting: BTreeSet<StationName> = stations.iter().cloned().collect();
    for station in stations {
        let message =
            manager.configuration(station, desired).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
        manager.send(message).await.map_err(|denied| Exit::new(exit::REFUSED, denied))?;
    }
    let end = Instant::now() + wait.span;
    let mut told: BTreeMap<StationName, Reported> = BTreeMap::new();
    while !waiting.is_empty() {
        let Ok(heard) = timeout_at(end, manager.next()).await else { break };
        let (Below::Reported, Some(message)) = (&heard.below, heard.message) else { continue };
        if !waiting.contains(&heard.station) {
            continue;
        }
        let Ok(reported) = serde_json::from_value::<Reported>(message.body) else { continue };
        if told.get(&heard.station) == Some(&reported) {
            continue;
        }
        tell(wait.told, &heard.station, &reported);
        let outcome = outcome(&reported, desired.version);
        told.insert(heard.station.clone(), reported);
        match outcome {
            Some(true) => drop(waiting.remove(&heard.station)),
            Some(false) => return Ok(exit::REFUSED),
            None => {}
        }
    }
    for station in &waiting {
        let online = manager.fleet.stations.get(station).is_some_and(|seen| seen.online());
        let why = if online { "does not use it yet" } else { "is offline; it takes it when it comes back" };
        match wait.told {
            Told::Json => {
                answer!("{}", json!({ "station": named(station), "state": "unanswered", "online": online }));
            }
            _ => answer!("{:<40} {why}", named(station)),
        }
    }
    Ok(if waiting.is_empty() { exit::OK } else { exit::HARDWARE })
}

/// Whether a station uses a version, or will not; `None` while that is open.
fn outcome(reported: &Reported, version: u64) -> Option<bool> {
    match reported.state {
        State::InUse if reported.version == version => Some(true),
        State::Refused | State::RolledBack if reported.wanted == Some(version) => Some(false),
        // It was not even looked at.
        _ if reported.reason.is_some() && reported.version != version && reported.wanted != Some(version) => {
            Some(false)
        }
        _ => None,
    }
}

fn tell(told: Told, station: &StationName, reported: &Reported) {
    match told {
        Told::Nothing => return,
        Told::Json => return answer!("{}", json!({ "station": named(station), "reported": reported })),
        Told::Lines => {}
    }
    let state = json!(reported.state);
    let wanted = reported.wanted.map_or(String::new(), |wanted| format!(" (wanted: {wanted})"));
    let reason = reported.reason.clone().unwrap_or_default();
    let state = state.as_str().unwrap_or_default();
    answer!("{:<40} {state:<12} version {}{wanted} {reason}", named(station), reported.version);
    for problem in &reported.problems {
        answer!("{:<40}   {}: {}", "", problem.key, problem.what);
    }
}

/// The files of the command line as a document's parts.
fn documents(set: &Set) -> Result<(Map<String, Value>, BTreeMap<String, String>)> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Exit::new(exit::NO_INPUT, format!("{} cannot be read: {error}", path.display())))
    };
    let config = match &set.config {
        None => Map::new(),
        Some(path) => {
            let table: toml::Table = read(path)?.parse().map_err(|error: toml::de::Error| {
                Exit::new(
                    exit::CONFIGURATION,
                    format!("{}: {}", path.display(), error.to_string().trim_end()),
                )
            })?;
            match serde_json::to_value(table)? {
                Value::Object(map) => map,
                _ => Map::new(),
            }
        }
    };
    let mut recipes = BTreeMap::new();
    for path in &set.recipe {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        recipes.insert(name, read(path)?);
    }
    Ok((config, recipes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(state: State, version: u64, wanted: Option<u64>, reason: Option<&str>) -> Reported {
        Reported { state, version, wanted, reason: reason.map(str::to_owned), ..Reported::default() }
    }

    #[test]
    fn a_station_uses_a_version_or_will_not_or_that_is_open() {
        assert_eq!(outcome(&reported(State::InUse, 7, None, None), 7), Some(true));
        assert_eq!(outcome(&reported(State::InUse, 6, None, None), 7), None, "it has not heard of it");
        assert_eq!(outcome(&reported(State::Pending, 6, Some(7), None), 7), None);
        assert_eq!(outcome(&reported(State::Trial, 7, None, None), 7), None);
        assert_eq!(outcome(&reported(State::Refused, 6, Some(7), None), 7), Some(false));
        assert_eq!(outcome(&reported(State::RolledBack, 6, Some(7), Some("no link")), 7), Some(false));
        assert_eq!(outcome(&reported(State::InUse, 6, None, Some("key-unknown")), 7), Some(false));
    }
}
