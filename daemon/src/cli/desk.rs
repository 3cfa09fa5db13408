//! A person at the command line and a station: asks, follows and waits through the station's own interface.

use std::path::Path;

use anyhow::{Context, Result};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use turnstage_cloud_sync::queue::State;

use super::Place;
use super::answer::answer;
use super::line::Line;
use crate::api::problem::Problem;
use crate::command::{Accepted, Act};
use crate::config::Config;
use crate::constancy::Drift;
use crate::emergency::EmergencyStopStatus;
use crate::exit::{self, Exit};
use crate::run::{Running, Start, StorageFailed};
use crate::session::SessionState;
use crate::status::{Fault, SessionStatus};
use crate::window::views::{SessionDetail, SessionSummary};

/// Events read from the log at a time.
const PAGE: usize = 256;
/// Longest wait for the next event, so that a moving table shows between two of them.
const WAIT_MS: u64 = 300;

/// A station with the person at the command line.
pub struct Desk {
    /// The station, where this process runs it.
    pub running: Option<Running>,
    line: Line,
    json: bool,
    told: u64,
    bar: ProgressBar,
}

/// What is read of the state; the interface tells more.
#[derive(Debug, serde::Deserialize)]
pub struct Now {
    /// First line.
    pub sentence: String,
    /// Second line.
    pub detail: String,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Cameras whose pictures are not what they were.
    #[serde(default)]
    pub drifts: Vec<Drift>,
    /// The session at hand.
    pub session: Option<SessionStatus>,
    /// The turntable.
    #[serde(default)]
    pub table: Option<TableNow>,
    /// The wired emergency stop.
    #[serde(default)]
    pub emergency_stop: Option<EmergencyStopStatus>,
    /// Sequence of the newest event.
    pub newest_event: u64,
}

/// What is read of the turntable.
#[derive(Debug, serde::Deserialize)]
pub struct TableNow {
    /// It is under way.
    pub moving: bool,
    /// Stop is latched.
    pub stopped: bool,
    /// Why it cannot be used, or was not stopped.
    pub fault: Option<String>,
}

impl Desk {
    /// The station that runs on this data folder, or one of `config` in this process.
    pub async fn open(place: &Place, config: impl FnOnce() -> Result<Config>, json: bool) -> Result<Self> {
        match place.running().await {
            Some(line) => Self::on(line, None, json).await,
            None => Self::start(config()?, &place.data, json).await,
        }
    }

    /// A station in this process.
    pub async fn start(config: Config, data: &Path, json: bool) -> Result<Self> {
        let running = Running::start(Start::new(config, data)).await.map_err(storage_code)?;
        for sentence in running.opened.iter().flat_map(|opened| opened.sentences()) {
            eprintln!("{sentence}");
        }
        let line = Line::Here(Box::new(running.router(data)));
        Self::on(line, Some(running), json).await
    }

    /// A station that runs elsewhere.
    pub async fn at(line: Line) -> Result<Self> {
        Self::on(line, None, true).await
    }

    async fn on(line: Line, running: Option<Running>, json: bool) -> Result<Self> {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template("{bar:36} {pos}/{len}  {msg}") {
            bar.set_style(style);
        }
        let mut desk = Self { running, line, json, told: 0, bar };
        desk.told = desk.status().await?.newest_event;
        Ok(desk)
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let bytes = self.bytes(path).await?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("the station's answer to {path} is not understood"))
    }

    /// Reads bytes.
    pub async fn bytes(&self, path: &str) -> Result<Bytes> {
        let (status, bytes) = self.line.send(Method::GET, path, None).await?;
        good(status, bytes)
    }

    /// Sends something that is no command of a session; a refusal ends the command.
    pub async fn post(&self, path: &str, body: serde_json::Value) -> Result<Bytes> {
        let (status, bytes) = self.line.send(Method::POST, path, Some(body)).await?;
        good(status, bytes)
    }

    /// Asks the station; a refusal ends the command.
    pub async fn ask(&self, act: Act) -> Result<Accepted> {
        let mut body = serde_json::to_value(&act)?;
        if let Some(body) = body.as_object_mut() {
            body.remove("act");
            body.insert("id".to_owned(), uuid::Uuid::now_v7().to_string().into());
        }
        let (status, bytes) = self.line.send(Method::POST, &act.path(), Some(body)).await?;
        let bytes = good(status, bytes).map_err(|error| match error.downcast_ref::<Exit>() {
            Some(exit) if self.running.is_some() && exit.to_string().contains("motion-not-armed") => {
                let here =
                    "This command runs the station itself: look at the table, then repeat it with --armed";
                Exit::new(exit.code, format!("{exit}. {here}")).into()
            }
            _ => error,
        })?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends something that is no command of the table's; a refusal ends the command.
    pub async fn send(&self, method: Method, path: &str, body: serde_json::Value) -> Result<Bytes> {
        let (status, bytes) = self.line.send(method, path, Some(body)).await?;
        good(status, bytes)
    }

    /// Lets the table turn for whoever stands at this keyboard, if they say so: only where this process runs the station.
    /// A station that runs already is asked from anywhere on this machine, and over any tunnel to it.
    pub async fn arm(&self, armed: bool) -> Result<()> {
        if !armed {
            return Ok(());
        }
        if self.running.is_none() {
            let why = "--armed lets the table of a station turn that this command runs itself, and this one runs already. \
                       Arm it at the rig, or with the code on its display (turnstage arm CODE), then leave --armed away";
            return Err(Exit::new(exit::REFUSED, why).into());
        }
        self.ask(Act::Arm { code: None }).await.map(drop)
    }

    /// The state now.
    pub async fn status(&self) -> Result<Now> {
        self.get("/api/v1/status").await
    }

    /// One session with its frames.
    pub async fn session(&self, id: &str) -> Result<SessionDetail> {
        self.get(&format!("/api/v1/sessions/{id}")).await
    }

    /// Every session, oldest first.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>> {
        let mut all: Vec<SessionSummary> = Vec::new();
        loop {
            let before = all.last().map(|last| format!("&before={}", last.session)).unwrap_or_default();
            let page: Vec<SessionSummary> = self.get(&format!("/api/v1/sessions?limit=500{before}")).await?;
            if page.is_empty() {
                all.reverse();
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Follows a session until it is no longer being shot.
    pub async fn follow(&mut self, id: &str) -> Result<SessionState> {
        loop {
            let now = self.status().await?;
            if let Some(session) = now.session.filter(|session| session.id == id) {
                self.bar.set_length(session.wanted as u64);
                self.bar.set_position(session.taken as u64);
                self.bar.set_message(now.sentence);
                if session.state != SessionState::Shooting {
                    self.bar.finish_and_clear();
                    self.tell_events(0).await?;
                    return Ok(session.state);
                }
            }
            if self.wait().await? {
                self.ask(Act::Stop).await?;
            }
        }
    }

    /// Waits until every released picture of a session is confirmed or parked, or waits for what is not there.
    pub async fn delivered(&mut self, id: &str) -> Result<SessionSummary> {
        loop {
            let session = self.session(id).await?.summary;
            let count = |state| session.delivery.get(&state).copied().unwrap_or_default();
            self.bar.set_length(session.delivery.values().sum::<usize>() as u64);
            self.bar.set_position(count(State::Confirmed) as u64);
            self.bar.set_message("delivered");
            if count(State::Queued) + count(State::Uploading) == session.stuck {
                self.bar.finish_and_clear();
                self.tell_events(0).await?;
                return Ok(session);
            }
            if self.wait().await? {
                return Ok(session);
            }
        }
    }

    /// Until something happens; true when somebody wants this process to end.
    pub async fn wait(&mut self) -> Result<bool> {
        let mut running = self.running.take();
        let died = async {
            match running.as_mut() {
                Some(running) => running.died().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            told = self.tell_events(WAIT_MS) => told.map(|()| false),
            died = died => Err(Exit::new(exit::TASK_DIED, died).into()),
            asked = asked_to_end() => asked.map(|()| true),
        };
        self.running = running;
        ended
    }

    /// Ends the station, where this process runs it.
    pub async fn close(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
    }

    /// Reads what happened since the last time; prints it for scripts.
    async fn tell_events(&mut self, wait_ms: u64) -> Result<()> {
        let mut wait_ms = wait_ms;
        loop {
            let path = format!("/api/v1/events?after={}&limit={PAGE}&wait_ms={wait_ms}", self.told);
            let events: Vec<turnstage_cloud_sync::Event> = self.get(&path).await?;
            let Some(last) = events.last() else { return Ok(()) };
            self.told = last.sequence;
            wait_ms = 0;
            if self.json {
                for event in &events {
                    answer!("{}", serde_json::to_string(event)?);
                }
            }
        }
    }
}

/// The answer, or the end of the command.
fn good(status: StatusCode, bytes: Bytes) -> Result<Bytes> {
    if status.is_success() {
        return Ok(bytes);
    }
    let problem: Problem = serde_json::from_slice(&bytes)
        .with_context(|| format!("the station answered {status}: {}", String::from_utf8_lossy(&bytes)))?;
    Err(refused(&problem).into())
}

/// A disk that cannot be used is exit 74; anything else stays what it is.
pub fn storage_code(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<StorageFailed>() {
        Some(failed) => Exit::new(exit::STORAGE, failed).into(),
        None => error,
    }
}

/// Resolves when a person or the system wants this process to end.
pub async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// A refusal as an end of the command.
fn refused(problem: &Problem) -> Exit {
    let code = match problem.rule.as_str() {
        "camera-missing"
        | "camera-none"
        | "motion-missing"
        | "motion-none"
        | "emergency-stop-lost"
        | "update-none" => exit::HARDWARE,
        "storage-fault" | "disk-room" | "disk-full" => exit::STORAGE,
        "recipe-invalid" | "camera-unknown" | "destination-unknown" | "destination-none" => {
            exit::CONFIGURATION
        }
        "session-unknown" | "session-none" | "calibration-unknown" | "picture-unknown" | "gone" => {
            exit::NO_INPUT
        }
        _ => exit::REFUSED,
    };
    Exit::new(code, format!("{} ({})", problem.detail, problem.rule))
}
