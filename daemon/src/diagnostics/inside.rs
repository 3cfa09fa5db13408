//! What is inside a bundle: read from the running station, and from the data folder.
//!
//! Every part that cannot be read says why in its place; a bundle is asked for because something is wrong.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use turnstage_cloud_sync::Event;

use super::redact::Redactor;
use super::{journal, machine, settings};
use crate::access::Visitor;
use crate::access::accounts::Accounts;
use crate::api;
use crate::command::{Actor, Refusal};
use crate::window::Window;

/// Newest events.
const EVENTS_MAX: u64 = 2_000;
/// Newest lines of the journal.
const LINES_MAX: usize = 4_000;

/// A file of the bundle, not redacted yet.
pub(super) struct Part {
    pub name: &'static str,
    what: What,
}

enum What {
    Text(String),
    Json(Value),
    Lines(Vec<Value>),
    /// Written by hand for the bundle.
    Own(String),
}

impl Part {
    fn json(name: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_else(|error| not_available(&error));
        Self { name, what: What::Json(value) }
    }

    fn text(name: &'static str, told: Result<String, String>) -> Self {
        Self { name, what: What::Text(told.unwrap_or_else(|why| format!("not available: {why}\n"))) }
    }

    /// As it goes into the bundle.
    pub(super) fn redacted(self, redactor: &Redactor) -> String {
        match self.what {
            What::Own(text) => text,
            What::Text(text) => redactor.text(&text),
            What::Json(mut value) => {
                redactor.value(&mut value);
                format!("{value:#}\n")
            }
            What::Lines(values) => values
                .into_iter()
                .map(|mut value| {
                    redactor.value(&mut value);
                    format!("{value}\n")
                })
                .collect(),
        }
    }
}

/// Whoever makes a bundle sees all of the organisation's own.
pub(super) fn reader() -> Visitor {
    Visitor::cli(Actor("diagnostics".to_owned()))
}

/// Everything, and in `redactor` what must not be named in it.
pub(super) async fn gather(
    window: &Window,
    data: &Path,
    redactor: &mut Redactor,
) -> Result<Vec<Part>, Refusal> {
    learn(window, data, redactor).await;
    let status = window.status().await;
    let events = newest(window).await;
    if let Ok(events) = &events {
        learn_events(events, redactor);
    }
    redactor.learn_from(&json!(status));
    let visitor = reader();
    let cameras = window.cameras().await.map_err(|error| error.to_string());
    let queue = window.queue(&visitor).await.map_err(|error| error.to_string());
    let calibrations = window.calibrations().await;
    let now = window.clock().now();
    let folder = data.to_owned();
    let [file, effective] = tokio::task::spawn_blocking(move || settings::read(&folder))
        .await
        .unwrap_or_else(|error| [error.to_string(), String::new()]);
    let oldest_s = status.delivery.oldest_wall_ms.map(|oldest| (now.wall_ms - oldest) / 1000);
    Ok(vec![
        Part { name: "README.txt", what: What::Own(include_str!("readme.txt").to_owned()) },
        Part::json("status.json", &status),
        Part::json("faults.json", &status.faults),
        Part::json("versions.json", machine::versions()),
        Part::json("machine.json", machine::facts(&now)),
        Part { name: "config/file.toml", what: What::Text(file) },
        Part { name: "config/effective.toml", what: What::Text(effective) },
        Part::text("service.txt", journal::last_exit().await),
        Part::text("journal.txt", journal::lines(LINES_MAX, &[]).await),
        match events {
            Ok(events) => Part {
                name: "events.jsonl",
                what: What::Lines(events.iter().map(|event| json!(event)).collect()),
            },
            Err(why) => Part::json("events.jsonl", not_available(&why)),
        },
        Part::json("queue.json", json!({ "oldest_s": oldest_s, "queue": or_why(queue) })),
        Part::json("spool.json", spool(window, &status)),
        Part::json("cameras.json", or_why(cameras)),
        Part::json("calibrations.json", calibrations),
        Part::text("metrics.txt", Ok(api::metrics_text(window).await)),
    ])
}

/// How the disk is; to read every picture and compare its hash takes long, and has a command of its own.
fn spool(window: &Window, status: &crate::status::Status) -> Value {
    let storage = &window.config().storage;
    json!({
        "free_bytes": status.delivery.free_bytes,
        "free_bytes_soft": storage.free_bytes_soft,
        "free_bytes_hard": storage.free_bytes_hard,
        "sessions_left": status.delivery.sessions_left,
        "newest_event": status.newest_event,
        "checked": "not here: turnstage queue check reads everything",
    })
}

/// Items and persons of every session, and everybody with an account.
pub(super) async fn learn(window: &Window, data: &Path, redactor: &mut Redactor) {
    match window.everybodys().await {
        Ok(docs) => {
            for doc in docs {
                redactor.learn_item(&doc.item);
                redactor.learn_actor(&doc.actor);
                doc.accepted.iter().for_each(|accepted| redactor.learn_person(&accepted.name));
                for change in &doc.item_history {
                    redactor.learn_item(&change.from);
                    redactor.learn_item(&change.to);
                    redactor.learn_actor(&change.actor);
                }
            }
        }
        Err(error) => tracing::warn!(%error, "the items of this station are not known"),
    }
    Accounts::of(data).people().keys().for_each(|name| redactor.learn_person(name));
    window.care().flags.all().iter().for_each(|flag| redactor.learn_actor(&flag.actor));
}

/// Items and persons of events.
pub(super) fn learn_events(events: &[Event], redactor: &mut Redactor) {
    for event in events {
        redactor.learn_actor(&event.actor);
        redactor.learn_from(&event.data);
    }
}

async fn newest(window: &Window) -> Result<Vec<Event>, String> {
    let newest = *window.newest_event().borrow();
    let told = window.events(&reader(), newest.saturating_sub(EVENTS_MAX), EVENTS_MAX as usize).await;
    told.map(|told| told.events).map_err(|error| error.to_string())
}

fn or_why(told: Result<impl Serialize, String>) -> Value {
    told.map_or_else(|why| not_available(&why), |value| json!(value))
}

fn not_available(why: &dyn std::fmt::Display) -> Value {
    json!({ "not_available": why.to_string() })
}
