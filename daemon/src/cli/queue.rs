//! `queue`: looks after what waits, without a camera.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Subcommand;
use turnstage_cloud_sync::spool::{Finding, repair};

use super::Place;
use super::answer::answer;
use super::desk::Desk;
use crate::clock::SystemClock;
use crate::command::Act;
use crate::config::RigConfig;
use crate::exit::{self, Exit};
use crate::window::views::QueueView;

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Counts pictures by state and tells why some wait.
    List {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Delivers what waits, then ends.
    Send,
    /// Verifies every hash, the index, the sidecars and the audit chain; changes nothing.
    Check {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Writes every record, session and event as JSON lines.
    Export {
        /// File to write; standard output if absent.
        file: Option<PathBuf>,
    },
    /// Makes the index anew from the sidecars beside the pictures; the old index is kept aside.
    Rebuild,
    /// Sends parked pictures once more.
    Requeue {
        /// Only this session's.
        session: Option<String>,
    },
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    let folder = place.data.join("spool");
    match what {
        What::Check { json } => check(&folder, json),
        What::Export { file } => export(&folder, file.as_deref()),
        What::Rebuild => rebuild(&folder),
        What::List { json } => with_desk(place, async |desk| list(desk, json).await).await,
        What::Send => with_desk(place, send).await,
        What::Requeue { session } => {
            with_desk(place, async |desk| {
                let accepted = desk.ask(Act::Requeue { session: session.clone() }).await?;
                answer!("{} pictures are queued again.", accepted.count);
                send(desk).await
            })
            .await
        }
    }
}

/// Does something at a station whose cameras and table are left alone.
pub(super) async fn with_desk(place: &Place, act: impl AsyncFnOnce(&mut Desk) -> Result<u8>) -> Result<u8> {
    let config = || {
        let mut config = place.config_of_data()?;
        config.rig = RigConfig::default();
        Ok(config)
    };
    let mut desk = Desk::open(place, config, false).await?;
    let code = act(&mut desk).await;
    desk.close().await;
    code
}

async fn list(desk: &mut Desk, json: bool) -> Result<u8> {
    let queue: QueueView = desk.get("/api/v1/queue").await?;
    if json {
        answer!("{}", serde_json::to_string(&queue)?);
        return Ok(exit::OK);
    }
    for (state, count) in [
        ("captured", queue.captured),
        ("queued", queue.queued),
        ("uploading", queue.uploading),
        ("confirmed", queue.confirmed),
        ("failed", queue.failed),
        ("superseded", queue.superseded),
    ] {
        answer!("{state:<10} {count}");
    }
    for session in &queue.sessions {
        for waiting in &session.waiting {
            answer!(
                "{} {}: {} wait: {} ({})",
                session.session,
                session.item,
                waiting.pictures,
                waiting.reason,
                waiting.rule
            );
        }
    }
    Ok(exit::OK)
}

async fn send(desk: &mut Desk) -> Result<u8> {
    let mut undelivered = 0;
    for session in desk.sessions().await? {
        undelivered += desk.delivered(&session.session).await?.undelivered();
    }
    answer!("{undelivered} pictures wait.");
    Ok(if undelivered == 0 { exit::OK } else { exit::HARDWARE })
}

fn check(folder: &Path, json: bool) -> Result<u8> {
    let report = repair::check(folder).map_err(|e| Exit::new(exit::STORAGE, crate::run::chain(&e)))?;
    if json {
        answer!("{}", serde_json::to_string(&report)?);
    } else {
        answer!(
            "{} records, {} sessions, {} events, {} sidecars; {} pictures compared with their hashes.",
            report.records,
            report.documents,
            report.events,
            report.sidecars,
            report.media
        );
        tell(&report.findings);
        if report.healthy() {
            answer!("All is well.");
        }
    }
    Ok(if report.healthy() { exit::OK } else { exit::DATA })
}

fn export(folder: &Path, file: Option<&Path>) -> Result<u8> {
    let mut out: Box<dyn Write> = match file {
        Some(path) => {
            let made = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Box::new(BufWriter::new(made))
        }
        None => Box::new(std::io::stdout().lock()),
    };
    repair::export(folder, &mut out).map_err(|e| Exit::new(exit::STORAGE, crate::run::chain(&e)))?;
    out.flush()?;
    Ok(exit::OK)
}

fn rebuild(folder: &Path) -> Result<u8> {
    let clock = Arc::new(SystemClock::new());
    let rebuilt =
        repair::rebuild(folder, clock).map_err(|e| Exit::new(exit::STORAGE, crate::run::chain(&e)))?;
    answer!("The index is new: {} records, {} sessions.", rebuilt.records, rebuilt.documents);
    if let Some(aside) = &rebuilt.aside {
        answer!("The old one is kept at {}.", aside.display());
    }
    tell(&rebuilt.findings);
    Ok(exit::OK)
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        answer!("{}: {}", finding.kind, finding.sentence);
    }
}
