//! The station task: the only one that changes the session. Commands in, one status out.
//!
//! While a session runs, only pause, stop and what a person at the rig says are obeyed; everything else is refused
//! with what to do first. The state diagram of a session is in `session/journal.rs`.

mod acts;
mod answers;
mod baseline;
mod calibrating;
mod emergency;
mod fits;
mod presence;
mod telling;
mod underway;
mod updating;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::Spool;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::{Commit, SpoolError};

use crate::audit;
use crate::calibration::shelf::Shelf;
use crate::care::Care;
use crate::clock::SystemClock;
use crate::command::{Accepted, Act, Actor, Command};
use crate::config::Config;
use crate::constancy::DOCUMENTS;
use crate::emergency::{self as wired, EmergencyStop};
use crate::io::Controls;
use crate::motion::Mover;
use crate::recipe::Recipes;
use crate::restart::Restart;
use crate::rig::Rig;
use crate::session::{self, Outcome, Session, SessionDoc, SessionState, Stage, Step};
use crate::status::{Fault, Status};
use crate::update::Hold;
use answers::Answers;
use baseline::Baseline;
use underway::{Underway, given_up, while_running};

/// Rule of a configuration that cannot be used.
pub const SAFE_MODE: &str = "config-invalid";

/// How often the task shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// How often a station whose emergency stop is tested each day looks at its calendar.
const DAYS: Duration = Duration::from_secs(60);

/// Why a session is interrupted.
const WENT_OFF: &str = "The station went off in the middle";

/// What the station is given.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// Its cameras.
    pub rig: Rig,
    /// Its table.
    pub mover: Mover,
    /// Its wired emergency stop.
    pub emergency: EmergencyStop,
    /// Where frames are kept.
    pub spool: Spool,
    /// Folder for thumbnails; without one none are kept.
    pub thumbnails: Option<PathBuf>,
    /// Calibrations and clean plates.
    pub shelf: Shelf,
    /// For labels.
    pub clock: SystemClock,
    /// Recipes.
    pub recipes: Recipes,
    /// Why nothing may be captured, if so: a storage fault, a configuration without one before it.
    pub locked: Vec<Fault>,
    /// What is wrong and forbids nothing: the last good configuration is in use.
    pub told: Vec<Fault>,
    /// Why nothing is delivered any more, if so.
    pub delivery: watch::Receiver<Option<Fault>>,
    /// What those who look after it set on it.
    pub care: Care,
    /// What an update of the system forbids meanwhile.
    pub hold: watch::Receiver<Hold>,
    /// What is told of inputs and outputs.
    pub controls: watch::Receiver<Controls>,
    /// Waits for the station's word that no session is open.
    pub restart: Restart,
    /// Where its state is told.
    pub status: watch::Sender<Status>,
    /// Where its task shows that it is alive.
    pub alive: watch::Sender<Instant>,
}

/// The station.
pub struct Station {
    parts: Parts,
    destinations: BTreeSet<String>,
    session: Option<Session>,
    faults: Vec<Fault>,
    /// Who or what halted the session at hand.
    halted: Option<Halt>,
    answers: Answers,
    baseline: Baseline,
}

/// Why a session waits for a person, where that is no fault.
enum Halt {
    Stopped(Actor),
    Paused,
}

/// What a command leaves to be done after its answer.
enum Then {
    Nothing,
    Run,
}

impl Station {
    /// A station with nothing to do yet.
    pub fn new(parts: Parts) -> Self {
        let destinations = parts.config.destinations.keys().cloned().collect();
        Self {
            parts,
            destinations,
            session: None,
            faults: Vec::new(),
            halted: None,
            answers: Answers::default(),
            baseline: Baseline::default(),
        }
    }

    /// Serves commands until `cancel`. Work that takes long, as opening a camera or reading a turn of boards, is no
    /// death: the task shows that it is alive as long as it does not hold its thread.
    pub async fn run(self, commands: mpsc::Receiver<Command>, cancel: CancellationToken) {
        let alive = self.parts.alive.clone();
        let mut work = pin!(self.work(commands, cancel));
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                () = &mut work => return,
                _ = beat.tick() => {
                    alive.send_replace(Instant::now());
                }
            }
        }
    }

    async fn work(mut self, mut commands: mpsc::Receiver<Command>, cancel: CancellationToken) {
        self.parts.rig.open().await;
        if let Err(error) = self.interrupt_unfinished().await {
            self.storage_fault(&error);
        }
        self.baseline = Baseline::of(&self.parts.spool, &self.parts.config.station.org).await;
        self.take_up_emergency_stop().await;
        let mut motion = self.parts.mover.watch();
        let mut delivery = self.parts.delivery.clone();
        let mut controls = self.parts.controls.clone();
        let mut flags = self.parts.care.flags.watch();
        let mut restart = self.parts.restart.watch();
        let (mut hold, mut looked) = (self.parts.hold.clone(), 0);
        let wired = self.parts.emergency.clone();
        let mut tested = wired.watch();
        let mut days = tokio::time::interval(DAYS);
        days.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tell();
        loop {
            if self.session.as_ref().is_none_or(|session| !session.doc.state.is_open()) {
                self.parts.restart.grant();
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => {
                        if let Then::Run = self.serve(command).await {
                            self.shoot(&mut commands, &cancel).await;
                        }
                        self.tell();
                    }
                    None => break,
                },
                changed = motion.changed() => match changed {
                    Ok(()) => self.tell(),
                    Err(_) => break,
                },
                Ok(()) = delivery.changed() => self.tell(),
                Ok(()) = controls.changed() => self.tell(),
                Ok(()) = flags.changed() => self.tell(),
                Ok(()) = hold.changed() => self.heed_update(&mut looked).await,
                Ok(()) = tested.changed() => {
                    self.record_emergency_test().await;
                    self.tell();
                }
                Ok(()) = restart.changed() => {}
                () = wired.overdue() => wired.look(),
                // A new day asks for a new test.
                _ = days.tick(), if wired.input().is_some() => self.tell(),
            }
        }
        if let Err(error) = self.interrupt_unfinished().await {
            tracing::error!(
                %error,
                "the session's end was not stored; it is found as interrupted at the next start"
            );
        }
    }

    /// Answers one command while no session runs.
    async fn serve(&mut self, command: Command) -> Then {
        let session = self.session.as_ref().map(|session| session.doc.id.as_str());
        if given_up(&self.parts.spool, session, &command).await {
            return Then::Nothing;
        }
        let Command { id, actor, place, act, answer } = command;
        if let Some(known) = self.answers.known(&id) {
            drop(answer.send(known));
            return Then::Nothing;
        }
        let (given, then) = match self.obey(&id, &actor, &place, &act).await {
            Ok((accepted, then)) => (Ok(accepted), then),
            Err(refusal) => {
                let session = self.session.as_ref().map(|s| s.doc.id.clone());
                let entry = audit::refused(&id, &actor, &act, session.as_deref(), &refusal);
                if let Err(e) = write(&self.parts.spool, vec![entry]).await {
                    tracing::error!(error = %e, "a refusal is not in the audit log");
                }
                (Err(refusal), Then::Nothing)
            }
        };
        self.answers.remember(id, &actor, &act, &given);
        // Before the answer, so that whoever asked sees no state from before it.
        self.tell();
        drop(answer.send(given));
        then
    }

    /// Runs the session until it ends by itself or a person halts it.
    async fn shoot(&mut self, commands: &mut mpsc::Receiver<Command>, cancel: &CancellationToken) {
        let Some(session) = self.session.as_mut() else { return };
        let id = session.doc.id.clone();
        let (pause, paused) = watch::channel(false);
        let mover = self.parts.mover.clone();
        let (mut motion, mut controls) = (mover.watch(), self.parts.controls.clone());
        let spool = self.parts.spool.clone();
        let hand = self.parts.rig.hand().clone();
        let mut asked = hand.watch();
        let under_way = Underway { spool: &spool, pause: &pause, session: &id, hand: &hand, mover: &mover };
        let (mut covered, mut stopper, mut ending) = (None, None, false);
        let outcome = {
            let status = &self.parts.status;
            let mut stage = Stage {
                rig: &mut self.parts.rig,
                mover: &self.parts.mover,
                spool: &self.parts.spool,
                thumbnails: self.parts.thumbnails.as_deref(),
                shelf: &self.parts.shelf,
                destinations: &self.parts.config.destinations,
                camera_wait: Duration::from_secs_f64(self.parts.config.capture.camera_wait_s),
                clock: &self.parts.clock,
                pause: paused,
                controls: controls.clone(),
                status,
            };
            let mut run = pin!(session.run(&mut stage));
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut run => break outcome,
                    () = cancel.cancelled(), if !ending => {
                        ending = true;
                        mover.stop();
                        pause.send_replace(true);
                    }
                    Ok(()) = motion.changed() => {
                        underway::show_motion(status, &motion.borrow_and_update(), &mut covered);
                    }
                    Ok(()) = asked.changed() => underway::show_asked(status, *asked.borrow_and_update()),
                    Ok(()) = controls.changed() => underway::show_controls(status, &controls.borrow_and_update()),
                    Some(command) = commands.recv() => {
                        // A stop does not wait for the disk: the table first, the audit log after. To disarm is to stop.
                        if matches!(command.act, Act::Stop | Act::Disarm) {
                            mover.stop();
                            pause.send_replace(true);
                            stopper = Some(command.actor.clone());
                        }
                        while_running(&under_way, &mut self.answers, command).await;
                    }
                }
            }
        };
        if matches!(outcome, Outcome::Stopped) {
            stopper = stopper.or(underway::who_stopped(&under_way, &mut self.answers, commands).await);
        }
        let outcome = match outcome {
            Outcome::Complete if !ending && stopper.is_none() => Some(Outcome::Complete),
            _ if ending => None,
            // Whatever was under way has ended, with or without a move: a person stopped it.
            Outcome::Complete | Outcome::Paused if stopper.is_some() => Some(Outcome::Stopped),
            // A door or stop button halted the table before anybody asked for it.
            Outcome::Stopped if stopper.is_none() => {
                stopper = self.parts.controls.borrow().holder();
                Some(Outcome::Stopped)
            }
            other => Some(other),
        };
        self.ended(outcome, stopper).await;
    }

    /// Stores how a run ended; `None` when the station goes off in the middle.
    async fn ended(&mut self, outcome: Option<Outcome>, stopper: Option<Actor>) {
        let Some(session) = self.session.as_mut() else { return };
        let (step, reason, kind) = match &outcome {
            None => (Step::Interrupt, Some(WENT_OFF.to_owned()), "session.interrupted"),
            Some(Outcome::Complete) => (Step::Complete, None, "session.complete"),
            Some(Outcome::Paused) => (Step::Pause, Some("Paused".to_owned()), "session.paused"),
            Some(Outcome::Stopped) => {
                let who = stopper.as_ref().map_or("the stop line", |actor| actor.who());
                (Step::Pause, Some(format!("Stopped by {who}")), "session.stopped")
            }
            Some(Outcome::Fault(fault)) => (Step::Pause, Some(fault.what.clone()), "session.fault"),
        };
        match session.doc.state.after(step) {
            Ok(state) => session.doc.state = state,
            Err(refusal) => tracing::error!(%refusal, "a run ended in a state that has no such end"),
        }
        session.doc.reason.clone_from(&reason);
        self.halted = match &outcome {
            Some(Outcome::Stopped) => stopper.clone().map(Halt::Stopped),
            Some(Outcome::Paused) => Some(Halt::Paused),
            _ => None,
        };
        self.faults = match outcome {
            Some(Outcome::Fault(fault)) => vec![fault],
            _ => Vec::new(),
        };
        let actor = stopper.unwrap_or(Actor("station".to_owned()));
        let data = json!({ "reason": reason, "status": session.status() });
        tracing::info!(session = session.doc.id, frames = session.takes().len(), reason, "{kind}");
        let event = audit::entry(kind, &actor, Some(&session.doc.id), data);
        if let Err(error) = session::keep(&self.parts.spool, &session.doc, vec![event]).await {
            self.storage_fault(&error);
        }
        self.count_turn().await;
    }

    /// A session that was under way when the last process ended, or that this one leaves behind.
    async fn interrupt_unfinished(&mut self) -> Result<(), SpoolError> {
        self.session = None;
        let documents = self.parts.spool.documents().await?;
        let mut open = None;
        for document in documents.into_iter().filter(|document| !is_other(&document.id)) {
            let mut doc = match SessionDoc::read(&document) {
                Ok(doc) => doc,
                Err(refusal) => {
                    tracing::warn!(%refusal, "a session is left alone");
                    continue;
                }
            };
            if !doc.state.is_open() || doc.org != self.parts.config.station.org {
                continue;
            }
            if let (SessionState::Shooting, Ok(state)) = (doc.state, doc.state.after(Step::Interrupt)) {
                doc.state = state;
                doc.reason = Some(WENT_OFF.to_owned());
                let actor = Actor("station".to_owned());
                let event = audit::entry("session.interrupted", &actor, Some(&doc.id), json!({}));
                session::keep(&self.parts.spool, &doc, vec![event]).await?;
            }
            open = Some(doc);
        }
        if let Some(doc) = open {
            let records = self.parts.spool.session_records(&doc.id).await?;
            self.session = Some(Session::new(doc, &records, &self.parts.spool));
        }
        Ok(())
    }

    fn storage_fault(&mut self, error: &SpoolError) {
        self.parts.locked.push(Fault::new(
            "storage-fault",
            format!("The disk does not store pictures: {error}"),
            "Capture is closed so that nothing is lost.",
            "Call your technician; then restart the station.",
        ));
    }

    fn accepted(&self, count: usize) -> Accepted {
        Accepted { session: self.session.as_ref().map(|session| session.doc.id.clone()), count }
    }
}

/// A document that is no session's.
fn is_other(id: &str) -> bool {
    id.starts_with(DOCUMENTS) || id == wired::DOCUMENT
}

/// Writes events that tell of no change.
async fn write(spool: &Spool, events: Vec<NewEvent>) -> Result<(), SpoolError> {
    let commit = Commit { events, ..Commit::default() };
    spool.commit(commit).await.map(drop)
}

/// Now, for documents.
fn stamp(clock: &SystemClock) -> turnstage_cloud_sync::Stamp {
    clock.now()
}
