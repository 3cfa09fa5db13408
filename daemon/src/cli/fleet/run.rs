//! `fleet run`: one command to one or many stations, signed, and what becomes of it at each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::{answer, beside, meant, named, snapshot};
use crate::exit::{self, Exit};
use crate::fleet::client::{Manager, Options};
use crate::fleet::commands::Order;
use crate::fleet::ledger::CommandState;
use crate::fleet::listener::CommandBody;
use crate::fleet::topics::Below;

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// ORG/SITE/STATION; a part may be *.
    stations: String,
    /// start, stop, abort, retake, requeue, identify, set-flag, diagnostics, logs, rotate-secret, restart, reboot, update.
    kind: String,
    /// What the command takes, as KEY=VALUE; a value is JSON where it can be read so, else text.
    arguments: Vec<String>,
    /// Valid, and waited for, for so many seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    valid_s: u64,
    /// Print what becomes of it as one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Does it; exit 77 where a station refused, 69 where one failed or did not answer.
pub async fn perform(options: Options, run: &Run) -> Result<u8> {
    let arguments = arguments(&run.arguments)?;
    // Told here and not by each station.
    Order::read(&run.kind, &arguments)
        .map_err(|refusal| Exit::new(exit::USAGE, format!("{} ({})", refusal.reason, refusal.rule)))?;
    let listen = ["status", "cmd/+/+/status"];
    let (link, mut manager) =
        Manager::new(options, &listen).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
    beside(link, async {
        snapshot(&mut manager).await?;
        let mut waiting = BTreeMap::new();
        for station in meant(&manager, &run.stations)? {
            let valid = Duration::from_secs(run.valid_s);
            let (id, message) = manager
                .command(&station, &run.kind, &arguments, valid)
                .map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
            manager.send(message).await.map_err(|denied| Exit::new(exit::REFUSED, denied))?;
            waiting.insert(id, station);
        }
        follow(&mut manager, run, waiting).await
    })
    .await
}

async fn follow(
    manager: &mut Manager,
    run: &Run,
    mut waiting: BTreeMap<String, crate::status::StationName>,
) -> Result<u8> {
    let end = Instant::now() + Duration::from_secs(run.valid_s);
    let mut code = exit::OK;
    while !waiting.is_empty() {
        let Ok(heard) = timeout_at(end, manager.next()).await else { break };
        let (Below::CommandStatus(_, id), Some(message)) = (&heard.below, heard.message) else { continue };
        if waiting.get(id) != Some(&heard.station) {
            continue;
        }
        let Ok(body) = serde_json::from_value::<CommandBody>(message.body) else { continue };
        tell(run, &named(&heard.station), &body);
        if body.state.is_over() {
            waiting.remove(id);
            code = code.max(match body.state {
                CommandState::Succeeded => exit::OK,
                CommandState::Failed => exit::HARDWARE,
                _ => exit::REFUSED,
            });
        }
    }
    for station in waiting.values() {
        code = code.max(exit::HARDWARE);
        match run.json {
            true => answer!("{}", json!({ "station": named(station), "state": "unanswered" })),
            false => answer!("{:<40} no answer within {} s", named(station), run.valid_s),
        }
    }
    Ok(code)
}

fn tell(run: &Run, station: &str, body: &CommandBody) {
    if run.json {
        return answer!("{}", json!({ "station": station, "command": body }));
    }
    let state = json!(body.state);
    let state = state.as_str().unwrap_or_default();
    let why = match (&body.rule, &body.reason, &body.result) {
        (Some(rule), Some(reason), _) => format!("{reason} ({rule})"),
        (_, _, Some(Value::Null)) | (_, _, None) => String::new(),
        (_, _, Some(result)) => result.to_string(),
    };
    answer!("{station:<40} {state:<10} {why}");
}

/// `KEY=VALUE` as JSON.
fn arguments(given: &[String]) -> Result<Value> {
    let mut map = Map::new();
    for one in given {
        let Some((key, value)) = one.split_once('=') else {
            return Err(Exit::new(exit::USAGE, format!("\"{one}\" is not KEY=VALUE")).into());
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        map.insert(key.to_owned(), value);
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_json_where_they_can_be() {
        let given = ["item=WBA123", "frames=[3,4]", "on=true", "reason=the lens is wet"].map(str::to_owned);
        let read = arguments(&given).unwrap();
        assert_eq!(
            read,
            json!({ "item": "WBA123", "frames": [3, 4], "on": true, "reason": "the lens is wet" })
        );
        assert!(arguments(&["item".to_owned()]).is_err());
    }
}
