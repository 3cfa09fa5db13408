//! `fleet watch` and `fleet get`: what the stations told, as a table or as JSON.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{answer, beside, meant, named, snapshot};
use crate::exit::{self, Exit};
use crate::fleet::client::{Manager, Options, Seen, is_meant};
use crate::status::StationName;

/// What is watched.
const LISTEN: [&str; 6] =
    ["status", "telemetry/+", "alarm/+", "config/reported", "event/+", "cmd/+/+/status"];

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// ORG/SITE/STATION; a part may be *.
    #[arg(default_value = "*/*/*")]
    stations: String,
    /// Print the table once and end.
    #[arg(long)]
    once: bool,
    /// Print every message as one JSON object a line; with --once each station's.
    #[arg(long)]
    json: bool,
    /// The table is drawn so often, in seconds.
    #[arg(long, default_value_t = 2.0)]
    every_s: f64,
}

/// Shows the fleet until it is interrupted.
pub async fn perform(options: Options, watch: &Watch) -> Result<u8> {
    let every =
        Duration::try_from_secs_f64(watch.every_s.clamp(0.2, 3600.0)).unwrap_or(Duration::from_secs(2));
    let (link, mut manager) =
        Manager::new(options, &LISTEN).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
    beside(link, async {
        snapshot(&mut manager).await?;
        if watch.once {
            draw(&manager, watch);
            return Ok(exit::OK);
        }
        if watch.json {
            loop {
                let heard = manager.next().await;
                if is_meant(&watch.stations, &heard.station) {
                    let topic = manager.topics(&heard.station).topic(&heard.below);
                    answer!("{}", json!({ "topic": topic, "message": heard.message }));
                }
            }
        }
        loop {
            if std::io::stdout().is_terminal() {
                // Home, and clear what was there.
                answer!("\x1b[H\x1b[2J");
            }
            draw(&manager, watch);
            let next = Instant::now() + every;
            while timeout_at(next, manager.next()).await.is_ok() {}
        }
    })
    .await
}

/// Prints what a station told last.
pub async fn get(options: Options, pattern: &str) -> Result<u8> {
    let (link, mut manager) =
        Manager::new(options, &LISTEN).map_err(|why| Exit::new(exit::CONFIGURATION, why))?;
    beside(link, async {
        snapshot(&mut manager).await?;
        for station in meant(&manager, pattern)? {
            let seen = &manager.fleet.stations[&station];
            let whole = json!({ "station": named(&station), "seen": seen });
            answer!("{}", serde_json::to_string_pretty(&whole)?);
        }
        Ok(exit::OK)
    })
    .await
}

fn draw(manager: &Manager, watch: &Watch) {
    let stations = manager.fleet.stations.iter().filter(|(station, _)| is_meant(&watch.stations, station));
    if watch.json {
        for (station, seen) in stations {
            answer!("{}", json!({ "station": named(station), "seen": seen }));
        }
        return;
    }
    answer!(
        "{:<32} {:<7} {:<40} {:>7} {:>8} {:>5} {:>6} {:>6}",
        "STATION",
        "STATE",
        "WHAT",
        "WAITING",
        "OLDEST",
        "ROOM",
        "ALARMS",
        "CONFIG"
    );
    let mut count = (0, 0);
    for (station, seen) in stations {
        count = (count.0 + 1, count.1 + usize::from(seen.online()));
        answer!("{}", line(station, seen));
    }
    answer!("{} stations, {} of them online", count.0, count.1);
}

/// One line of the table.
fn line(station: &StationName, seen: &Seen) -> String {
    let body = |envelope: Option<&crate::fleet::message::Envelope<Value>>, key: &str| {
        envelope.map_or(Value::Null, |envelope| envelope.body[key].clone())
    };
    let told = |value: Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text,
        value => value.to_string(),
    };
    let status = |key: &str| told(body(seen.status.as_ref(), key));
    let state = if seen.online() { status("kind") } else { "offline".to_owned() };
    let queue = seen.telemetry.get("queue");
    let storage = seen.telemetry.get("storage");
    let pictures = |state: &str| queue.and_then(|queue| queue.body[state]["pictures"].as_u64());
    let waiting = pictures("queued").zip(pictures("uploading")).map(|(queued, uploading)| queued + uploading);
    let oldest = queue.and_then(|queue| queue.body["oldest_age_s"].as_f64());
    let mut what = status("sentence");
    if what.chars().count() > 40 {
        what = what.chars().take(39).chain(['…']).collect();
    }
    format!(
        "{:<32} {state:<7} {what:<40} {:>7} {:>8} {:>5} {:>6} {:>6}",
        named(station),
        told(json!(waiting)),
        oldest.map_or("-".to_owned(), |age_s| format!("{:.0} s", age_s)),
        told(body(storage, "sessions_left")),
        seen.alarms.len(),
        told(body(seen.reported.as_ref(), "version")),
    )
}
