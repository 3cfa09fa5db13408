//! A station in this process, from its start to its last delivery, as the commands that shoot need it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::{Event, Record};

use crate::command::{Accepted, Act, Actor, Refusal};
use crate::config::Config;
use crate::exit::{self, Exit};
use crate::run::{Running, Start, StorageFailed};
use crate::session::{SessionDoc, SessionState};

/// Events read from the log at a time.
const PAGE: usize = 256;

/// A station with the person at the command line.
pub struct Desk {
    /// The station.
    pub running: Running,
    actor: Actor,
    json: bool,
    told: u64,
    bar: ProgressBar,
    org: String,
    destinations: BTreeSet<String>,
    /// Destinations that are not there, with the reason.
    away: BTreeMap<String, String>,
}

impl Desk {
    /// Starts it.
    pub async fn open(config: Config, data: &Path, json: bool) -> Result<Self> {
        let org = config.station.org.clone();
        let destinations = config.destinations.keys().cloned().collect();
        let running = Running::start(Start::new(config, data)).await.map_err(storage_code)?;
        if let Some(opened) = &running.opened {
            for sentence in opened.sentences() {
                eprintln!("{sentence}");
            }
        }
        let told = *running.spool.changed().borrow();
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template("{bar:36} {pos}/{len}  {msg}") {
            bar.set_style(style);
        }
        Ok(Self { running, actor: Actor::cli(), json, told, bar, org, destinations, away: BTreeMap::new() })
    }

    /// Asks the station; a refusal ends the command.
    pub async fn ask(&self, act: Act) -> Result<Accepted> {
        let answer = self.running.commands.ask(&self.actor, act).await;
        answer.map_err(|refusal| refused(&refusal).into())
    }

    /// Follows a session until it is no longer being shot.
    pub async fn follow(&mut self, id: &str) -> Result<SessionState> {
        let mut status = self.running.status.clone();
        loop {
            let now = status.borrow_and_update().clone();
            if let Some(session) = now.session.filter(|session| session.id == id) {
                self.bar.set_length(session.wanted as u64);
                self.bar.set_position(session.taken as u64);
                self.bar.set_message(now.sentence.clone());
                if session.state != SessionState::Shooting {
                    self.bar.finish_and_clear();
                    self.tell_events().await?;
                    return Ok(session.state);
                }
            }
            self.tell_events().await?;
            tokio::select! {
                changed = status.changed() => changed?,
                died = self.running.died() => return Err(Exit::new(exit::TASK_DIED, died).into()),
                asked = asked_to_end() => {
                    asked?;
                    self.ask(Act::Stop).await?;
                }
            }
        }
    }

    /// Waits until every released picture of a session is confirmed or parked, or its destination is not there.
    pub async fn delivered(&mut self, id: &str) -> Result<Vec<Record>> {
        let mut changed = self.running.spool.changed();
        loop {
            self.tell_events().await?;
            let records = released(self.running.spool.session_records(id).await?);
            let done = records.iter().filter(|record| record.state == State::Confirmed).count();
            self.bar.set_length(records.len() as u64);
            self.bar.set_position(done as u64);
            self.bar.set_message("delivered");
            let pending = |record: &&Record| matches!(record.state, State::Queued | State::Uploading);
            let mut left = records.iter().filter(pending);
            if left.all(|record| record.state == State::Queued && self.why_waiting(record).is_some()) {
                self.bar.finish_and_clear();
                return Ok(records);
            }
            tokio::select! {
                changed = changed.changed() => changed?,
                died = self.running.died() => return Err(Exit::new(exit::TASK_DIED, died).into()),
                asked = asked_to_end() => {
                    asked?;
                    return Ok(records);
                }
            }
        }
    }

    /// The organisation of this station.
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The session as stored.
    pub async fn session(&self, id: &str) -> Result<SessionDoc> {
        let document = self.running.spool.document(id).await?;
        let document =
            document.ok_or_else(|| Exit::new(exit::NO_INPUT, format!("there is no session {id}")))?;
        SessionDoc::read(&document).map_err(|refusal| refused(&refusal).into())
    }

    /// Ends the station.
    pub async fn close(self) {
        self.running.stop().await;
    }

    /// Why a queued picture is not being delivered now, if it has to wait.
    pub fn why_waiting(&self, record: &Record) -> Option<String> {
        if record.facts.org != self.org {
            return Some(format!("they belong to {}, not to {} (wrong-tenant)", record.facts.org, self.org));
        }
        if !self.destinations.contains(&record.key.destination) {
            let name = &record.key.destination;
            return Some(format!("\"{name}\" is not configured any more (destination-unknown)"));
        }
        if let Some(fault) = self.running.status.borrow().faults.iter().find(|f| f.rule == "delivery-stopped")
        {
            return Some(format!("{} ({})", fault.what, fault.rule));
        }
        let failure = record.failure.as_ref().map(|f| format!("{} ({})", f.reason, f.rule));
        failure.or_else(|| self.away.get(&record.key.destination).cloned())
    }

    /// Reads what happened since the last time; prints it for scripts.
    async fn tell_events(&mut self) -> Result<()> {
        loop {
            let events: Vec<Event> = self.running.spool.events(self.told, PAGE).await?;
            let Some(last) = events.last() else { return Ok(()) };
            self.told = last.sequence;
            for event in &events {
                self.note(event);
                if self.json {
                    println!("{}", serde_json::to_string(event)?);
                }
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let text = |key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
        match event.kind.as_str() {
            "destination.offline" => {
                self.away.insert(text("destination"), format!("{} ({})", text("reason"), text("rule")));
            }
            "destination.online" => {
                self.away.remove(&text("destination"));
            }
            _ => {}
        }
    }
}

/// A disk that cannot be used is exit 74; anything else stays what it is.
pub fn storage_code(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<StorageFailed>() {
        Some(failed) => Exit::new(exit::STORAGE, failed).into(),
        None => error,
    }
}

/// Resolves when a person or the system wants this process to end.
async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Records that were let go: history stays behind.
pub fn released(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().filter(|record| record.state != State::Captured).collect()
}

/// A refusal as an end of the command.
pub fn refused(refusal: &Refusal) -> Exit {
    let code = match refusal.rule.as_str() {
        "camera-missing" | "camera-none" | "motion-missing" | "motion-none" => exit::HARDWARE,
        "storage-fault" | "disk-room" | "disk-full" => exit::STORAGE,
        "recipe-invalid" | "camera-unknown" | "destination-unknown" | "destination-none" => {
            exit::CONFIGURATION
        }
        "session-unknown" | "session-none" => exit::NO_INPUT,
        _ => exit::REFUSED,
    };
    Exit::new(code, refusal)
}
