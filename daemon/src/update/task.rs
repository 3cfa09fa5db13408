//! The update task: takes what is asked, goes on where the last process was, one step after the other.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::spool::{Commit, SpoolError};
use turnstage_cloud_sync::{Backend, Meter, Spool};

use super::answer::Next;
use super::lock::{self, Facts, Maintenance, Wait};
use super::rauc::{Bus, BusError};
use super::told::{notice, told, underway};
use super::{
    Ask, By, Fetch, Hold, Phase, SlotVersions, UNDERWAY, Underway, UpdateState, Updates, WAITING_MAX, kept,
};
use crate::audit;
use crate::clock::SystemClock;
use crate::command::Actor;
use crate::config::UpdateConfig;
use crate::flags::{Flags, HOLD_UPDATES};
use crate::motion::Mover;
use crate::status::Status;

/// How often what is waited for is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// A station that is busy with one command hears of another after so long at most.
const HEARD: Duration = Duration::from_secs(60);
/// A reboot that does not come is asked for again.
pub(super) const REBOOT_AGAIN: Duration = Duration::from_secs(600);
/// What the bus refused is tried again after so long.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// What updates are done with.
pub struct Needs {
    /// Hours, zone and limits; checked.
    pub config: UpdateConfig,
    /// Free bytes that a bundle leaves.
    pub reserve_bytes: u64,
    /// Whose pictures are waited for.
    pub org: String,
    /// Everything is kept below this folder.
    pub data: PathBuf,
    /// For events, and what waits to be delivered.
    pub spool: Spool,
    /// The spool is on a disk.
    pub on_disk: bool,
    /// The time.
    pub clock: SystemClock,
    /// Cameras without which no session is shot.
    pub required: Vec<String>,
    /// Where pictures go.
    pub backends: Vec<Arc<dyn Backend>>,
    /// What went over the network.
    pub meter: Meter,
    /// Fetches bundles.
    pub fetch: Arc<dyn Fetch>,
    /// Whether somebody holds updates back.
    pub flags: Flags,
}

/// See the module.
pub struct UpdateTask {
    work: Work,
    asks: mpsc::Receiver<Ask>,
    runs: Arc<AtomicBool>,
}

/// What steps work with.
pub(super) struct Work {
    pub needs: Needs,
    pub status: watch::Receiver<Status>,
    mover: Mover,
    maintenance: Maintenance,
    state: watch::Sender<UpdateState>,
    pub versions: watch::Sender<SlotVersions>,
    pub hold: watch::Sender<Hold>,
}

impl UpdateTask {
    /// The task, the way to it, and what the station with this state and table must honour. Nothing is touched before it
    /// runs.
    pub fn new(
        needs: Needs,
        status: watch::Receiver<Status>,
        mover: Mover,
    ) -> (Self, Updates, watch::Receiver<Hold>) {
        let (asks, receiver) = mpsc::channel(WAITING_MAX);
        let (state, versions) = (watch::Sender::default(), watch::Sender::default());
        let hold = watch::Sender::default();
        let config = &needs.config;
        let maintenance = Maintenance::new(&config.window, &config.time_zone).unwrap_or_else(|error| {
            // A loaded configuration was checked.
            tracing::error!(error, "updates are installed at any hour");
            Maintenance::any()
        });
        let runs = Arc::new(AtomicBool::new(false));
        let updates = Updates {
            asks,
            state: state.subscribe(),
            versions: versions.subscribe(),
            runs: Arc::clone(&runs),
        };
        let honoured = hold.subscribe();
        let work = Work { needs, status, mover, maintenance, state, versions, hold };
        (Self { work, asks: receiver, runs }, updates, honoured)
    }

    /// Runs until cancelled; an installation that is under way goes on in RAUC. From this call on asks are taken.
    pub fn run(self, cancel: CancellationToken) -> impl Future<Output = ()> + Send {
        let Self { work, mut asks, runs } = self;
        runs.store(true, Ordering::Relaxed);
        async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work.go_on(&mut asks) => {}
            }
        }
    }
}

impl Work {
    async fn go_on(&self, asks: &mut mpsc::Receiver<Ask>) {
        let mut state = kept::read(&self.needs.data);
        self.show(&state);
        match self.see_slots().await {
            Ok(()) => {}
            // Most stations are not updated so.
            Err(BusError::Nobody(why)) => tracing::debug!(why, "no RAUC"),
            Err(error) => tracing::warn!(%error, "the system's slots cannot be read"),
        }
        let mut rebooting = None::<Instant>;
        loop {
            let mut step = pin!(self.step(state));
            state = loop {
                let release = async {
                    match rebooting {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    next = &mut step => break next,
                    () = release => {
                        rebooting = None;
                        self.open();
                    }
                    ask = asks.recv() => {
                        let Some(ask) = ask else { return };
                        match self.answer(ask).await {
                            Next::Same => {}
                            Next::Step(next) => break *next,
                            Next::Rebooting => rebooting = Some(Instant::now() + REBOOT_AGAIN),
                        }
                    }
                }
            };
        }
    }

    async fn step(&self, state: UpdateState) -> UpdateState {
        match (&state.phase, state.request.clone()) {
            (Phase::Waiting { .. } | Phase::Fetching { .. }, Some(request)) => {
                self.prepare(state, &request).await
            }
            (Phase::Installing { .. }, Some(request)) => self.install(state, &request).await,
            (Phase::RebootPending, Some(request)) => self.reboot_into(state, &request).await,
            (Phase::Proving { attempts }, _) => {
                let attempts = *attempts + 1;
                self.prove(state, attempts).await
            }
            (Phase::RolledBack { pending: true, .. }, _) => self.back(state).await,
            _ => std::future::pending().await,
        }
    }

    /// What is so now.
    pub fn now(&self) -> UpdateState {
        self.state.borrow().clone()
    }

    /// Keeps it and tells it; false where the disk does not store it.
    pub async fn keep(&self, state: &UpdateState) -> bool {
        let (data, kept) = (self.needs.data.clone(), state.clone());
        let written = tokio::task::spawn_blocking(move || kept::write(&data, &kept)).await;
        self.show(state);
        match written {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "how far the update is cannot be kept");
                false
            }
            Err(error) => {
                tracing::error!(%error, "keeping how far the update is failed");
                false
            }
        }
    }

    /// Tells it to everybody who follows.
    pub fn show(&self, state: &UpdateState) {
        let told = told(state);
        let underway = match &state.phase {
            Phase::Installing { percent, .. } => {
                Some(Underway { fault: underway("An update is being installed"), percent: Some(*percent) })
            }
            Phase::Proving { .. } => {
                Some(Underway { fault: underway("The updated system is being tested"), percent: None })
            }
            _ => None,
        };
        self.hold.send_if_modified(|hold| {
            let news = (&hold.told, &hold.underway) != (&told, &underway);
            (hold.told, hold.underway) = (told, underway);
            news
        });
        self.state.send_if_modified(|now| {
            let news = now != state;
            now.clone_from(state);
            news
        });
    }

    /// Tells what is waited for; only the notice changes where something is done already.
    pub fn tell_waiting(&self, state: &UpdateState, wait: &Wait) {
        match state.phase {
            Phase::RebootPending | Phase::RolledBack { .. } => {
                self.hold.send_modify(|hold| hold.told = Some(notice(wait.rule, &wait.reason)));
            }
            _ => {
                let phase = Phase::waiting(wait.rule, wait.reason.clone());
                self.show(&UpdateState { phase, ..state.clone() });
            }
        }
    }

    /// Ends an update without success.
    pub async fn fail(&self, mut state: UpdateState, rule: &str, reason: String) -> UpdateState {
        tracing::error!(rule, reason, "the update is not installed");
        let data = json!({ "rule": rule, "reason": reason });
        self.log_for(&state, "update.failed", data).await;
        state.phase = Phase::failed(rule, reason);
        self.keep(&state).await;
        state
    }

    /// An event about the update at hand, by who asked for it.
    pub async fn log_for(&self, state: &UpdateState, kind: &str, mut data: Value) -> bool {
        let actor = match &state.request {
            Some(request) => {
                data["command"] = json!(request.command);
                data["version"] = json!(request.version);
                request.actor.clone()
            }
            None => Actor("station".to_owned()),
        };
        self.log(kind, &actor, data).await
    }

    pub async fn log(&self, kind: &str, actor: &Actor, data: Value) -> bool {
        let events = vec![audit::entry(kind, actor, None, data)];
        let written = self.needs.spool.commit(Commit { events, ..Commit::default() }).await;
        written.inspect_err(|error| tracing::error!(%error, kind, "not in the log")).is_ok()
    }

    pub async fn log_by(&self, kind: &str, by: &By, mut data: Value) -> bool {
        data["command"] = json!(by.command);
        self.log(kind, &by.actor, data).await
    }

    /// Reads the slots and tells their versions.
    pub async fn see_slots(&self) -> Result<(), BusError> {
        let versions = Bus::open().await?.versions().await?;
        self.versions.send_replace(versions);
        Ok(())
    }

    /// Whether a slot may be written now.
    async fn may_start(&self) -> Result<(), Wait> {
        let counts = self.needs.spool.counts_of(&self.needs.org).await;
        let unread =
            |error: SpoolError| Wait::new("storage-fault", format!("The queue cannot be read: {error}."));
        let counts = counts.map_err(unread)?;
        let now = self.needs.clock.now();
        let facts = Facts {
            session: self.status.borrow().session.is_some(),
            table_moves: self.mover.state().moving,
            undelivered: counts.queued + counts.uploading,
            held: self.is_held(),
            now: &now,
        };
        lock::may_start(&facts, &self.maintenance)
    }

    /// Somebody holds updates back.
    pub fn is_held(&self) -> bool {
        self.needs.flags.get(HOLD_UPDATES).is_some()
    }

    /// Waits until an update may go on and no session can begin any more.
    pub async fn locked(&self, state: &UpdateState, what: &str) {
        loop {
            match self.may_start().await {
                Ok(()) if self.close(what).await && self.may_start().await.is_ok() => return,
                Ok(()) => self.open(),
                Err(wait) => {
                    self.open();
                    self.tell_waiting(state, &wait);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Keeps sessions from beginning, and waits until the station knows; false where one is open.
    pub async fn close(&self, what: &str) -> bool {
        let closing = Underway { fault: underway(what), percent: None };
        self.hold.send_modify(|hold| hold.underway = Some(closing));
        let mut status = self.status.clone();
        let knows = |status: &Status| {
            status.session.is_some() || status.faults.iter().any(|fault| fault.rule == UNDERWAY)
        };
        let heard = tokio::time::timeout(HEARD, status.wait_for(knows)).await;
        let closed = matches!(heard, Ok(Ok(status)) if status.session.is_none());
        if !closed {
            self.open();
        }
        closed
    }

    /// Lets sessions begin again.
    pub fn open(&self) {
        self.hold.send_modify(|hold| hold.underway = None);
    }
}
