//! A part of the event log or of the journal, as packed JSON lines: what somebody asks for who has seen a bundle.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use turnstage_cloud_sync::Event;
use utoipa::ToSchema;

use super::archive::end_of;
use super::redact::Redactor;
use super::{Bundle, failed, inside, journal, named};
use crate::command::Refusal;
use crate::window::Window;

/// Lines, if nobody says how many.
const LINES_USUAL: usize = 1_000;
/// Most lines.
const LINES_MAX: usize = 20_000;
/// Most bytes before they are packed.
const BYTES_MAX: usize = 32 << 20;
/// Events read at a time.
const PAGE: usize = 1_000;

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// The station's own, by sequence or by time.
    Events,
    /// The service's journal, by time.
    Journal,
}

/// Which part of it. Without any limit the newest lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogRange {
    /// Which log.
    pub kind: LogKind,
    /// Events after this sequence.
    #[serde(default)]
    pub after: Option<u64>,
    /// Events up to this sequence.
    #[serde(default)]
    pub through: Option<u64>,
    /// From this moment on, by the station's wall clock: `2026-11-28T09:30:00Z`.
    #[serde(default)]
    pub since: Option<String>,
    /// Up to this moment.
    #[serde(default)]
    pub until: Option<String>,
    /// Most lines, 1 to 20000; 1000 if absent. Events from the first on, lines of the journal up to the last.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Lines of a log, redacted like a bundle, as packed JSON lines.
pub async fn log_range(window: &Window, data: &Path, what: &LogRange) -> Result<Bundle, Refusal> {
    let span = Span::read(what)?;
    let mut redactor = Redactor::of(data);
    inside::learn(window, data, &mut redactor).await;
    let (name, lines) = match what.kind {
        LogKind::Events => {
            let events = events(window, what, &span).await?;
            inside::learn_events(&events, &mut redactor);
            ("events", events.into_iter().map(|event| json!(event)).collect())
        }
        LogKind::Journal => ("journal", journal_lines(&span).await?),
    };
    let packed = tokio::task::spawn_blocking(move || pack(lines, &redactor));
    let packed = packed.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    Bundle::new(named(window, name, "jsonl.gz"), packed.map_err(|error| failed(&error))?)
}

struct Span {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    lines: usize,
}

impl Span {
    fn read(what: &LogRange) -> Result<Self, Refusal> {
        let moment = |text: &Option<String>| {
            let read = |text: &String| {
                text.parse::<jiff::Timestamp>().map(|moment| moment.as_millisecond()).map_err(|_| {
                    let reason = format!("\"{text}\" is no moment. Write it as 2026-11-28T09:30:00Z.");
                    Refusal::new("log-range", reason)
                })
            };
            text.as_ref().map(read).transpose()
        };
        let lines = what.limit.unwrap_or(LINES_USUAL);
        if !(1..=LINES_MAX).contains(&lines) {
            let reason = format!("A range has 1 to {LINES_MAX} lines, not {lines}. Ask for several.");
            return Err(Refusal::new("log-range", reason));
        }
        Ok(Self { since_ms: moment(&what.since)?, until_ms: moment(&what.until)?, lines })
    }

    fn holds(&self, event: &Event) -> bool {
        let at = event.at.wall_ms;
        self.since_ms.is_none_or(|since| since <= at) && self.until_ms.is_none_or(|until| at <= until)
    }
}

async fn events(window: &Window, what: &LogRange, span: &Span) -> Result<Vec<Event>, Refusal> {
    let newest = *window.newest_event().borrow();
    let limited = what.through.is_some() || what.since.is_some() || what.until.is_some();
    let first = if limited { 0 } else { newest.saturating_sub(span.lines as u64) };
    let mut after = what.after.unwrap_or(first);
    let through = what.through.unwrap_or(u64::MAX).min(newest);
    let mut found = Vec::new();
    while after < through && found.len() < span.lines {
        let told = window.events(&inside::reader(), after, PAGE).await;
        let told = told.map_err(|error| Refusal::new("storage-fault", format!("{error}. Try again.")))?;
        if told.through <= after {
            break;
        }
        after = told.through;
        found.extend(told.events.into_iter().filter(|event| event.sequence <= through && span.holds(event)));
    }
    found.truncate(span.lines);
    Ok(found)
}

async fn journal_lines(span: &Span) -> Result<Vec<Value>, Refusal> {
    let option = |name: &str, ms: Option<i64>| ms.map(|ms| format!("--{name}=@{}", ms.div_euclid(1000)));
    let more: Vec<String> =
        [option("since", span.since_ms), option("until", span.until_ms)].into_iter().flatten().collect();
    let told = journal::lines(span.lines, &more).await;
    let told =
        told.map_err(|why| Refusal::new("journal-not-available", format!("There is no journal: {why}.")))?;
    Ok(end_of(&told, BYTES_MAX).lines().map(|line| json!({ "line": line })).collect())
}

fn pack(lines: Vec<Value>, redactor: &Redactor) -> std::io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let mut bytes = 0;
    for mut value in lines {
        redactor.value(&mut value);
        let line = format!("{value}\n");
        bytes += line.len();
        if bytes > BYTES_MAX {
            break;
        }
        packed.write_all(line.as_bytes())?;
    }
    packed.finish()
}
