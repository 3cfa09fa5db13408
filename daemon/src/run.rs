//! Starts and ends the tasks of a station: the only file that spawns them.
//!
//! All run under one `JoinSet` and one cancellation token. A task that ends by itself is a death of the daemon (exit 70);
//! missing hardware, a bad configuration and a failing disk are states instead.

mod bundles;
mod delivery;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::backend::Backend;
use turnstage_cloud_sync::spool::{Opened, SpoolError};
use turnstage_cloud_sync::uploader::{Uploader, Wake};
use turnstage_cloud_sync::{Meter, Spool};
use turnstage_drivers::Surroundings;

use crate::access::accounts::Accounts;
use crate::api;
use crate::arming::Arming;
use crate::calibration::shelf::Shelf;
use crate::care::Care;
use crate::clock::SystemClock;
use crate::command::{Command, Commands};
use crate::config::Config;
use crate::emergency::EmergencyStop;
use crate::fleet::FleetTask;
use crate::fleet::desired::Keeper;
use crate::fleet::desired::keeping::KeepingTask;
use crate::io::{self, Controls, IoTask};
use crate::listen::{self, Found, Listening};
use crate::motion::{MotionTask, Mover};
use crate::network;
use crate::recipe::Recipes;
use crate::rig::{self, Rig};
use crate::rim::RimTask;
use crate::station::{Parts, Station};
use crate::status::{Fault, Status};
use crate::update::{Needs, UpdateTask};
use crate::window::{ALIVE_LIMIT, Frame, Window};
use delivery::{deliver, uploader};

pub use delivery::{backends, meter, metered_backends};

/// A running station.
pub struct Running {
    /// Where commands go.
    pub commands: Commands,
    /// The state now.
    pub status: watch::Receiver<Status>,
    /// What API and pages see.
    pub window: Window,
    /// Tells the uploader that the network came back.
    pub wake: Wake,
    /// Frames, events and sessions.
    pub spool: Spool,
    /// What the spool found when it was opened; `None` without a disk.
    pub opened: Option<Opened>,
    /// The booth that simulated devices stand in.
    pub around: Surroundings,
    mover: Mover,
    /// Until it is started.
    updating: Option<UpdateTask>,
    tasks: JoinSet<&'static str>,
    cancel: CancellationToken,
}

/// What a station is started with.
pub struct Start<'a> {
    /// Checked configuration.
    pub config: Config,
    /// Everything is kept below this folder.
    pub data: &'a Path,
    /// What forbids capture from the beginning.
    pub locked: Vec<Fault>,
    /// What is wrong and forbids nothing.
    pub told: Vec<Fault>,
    /// A disk that fails is a state (`run`) instead of an error (everything else).
    pub without_disk: bool,
}

impl<'a> Start<'a> {
    /// Nothing is wrong, and a disk that fails is an error.
    pub fn new(config: Config, data: &'a Path) -> Self {
        Self { config, data, locked: Vec::new(), told: Vec::new(), without_disk: false }
    }
}

/// What a station stands on: everything that the outer world decides.
pub struct Ground<'a> {
    /// An open spool.
    pub spool: Spool,
    /// What it found when it was opened; `None` without a disk.
    pub opened: Option<Opened>,
    /// Checked configuration.
    pub config: Config,
    /// Everything is kept below this folder.
    pub data: &'a Path,
    /// What forbids capture from the beginning.
    pub locked: Vec<Fault>,
    /// What is wrong and forbids nothing.
    pub told: Vec<Fault>,
    /// The time.
    pub clock: SystemClock,
    /// Where pictures go.
    pub backends: Vec<Arc<dyn Backend>>,
    /// What counts their bytes.
    pub meter: Meter,
}

/// The disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the spool below {data} cannot be opened: {reason}")]
pub struct StorageFailed {
    data: PathBuf,
    reason: String,
    /// Another station runs on the folder: nothing in it is ours to touch.
    in_use: bool,
}

impl Running {
    /// Opens the spool and starts the tasks.
    pub async fn start(start: Start<'_>) -> anyhow::Result<Self> {
        let Start { config, data, mut locked, told, without_disk } = start;
        let clock = SystemClock::new();
        let (spool, opened) = match open_spool(&config, data, &clock).await {
            Ok((spool, opened)) => (spool, Some(opened)),
            Err(e) if without_disk && !e.in_use => {
                locked.push(Fault::new(
                    "storage-fault",
                    format!("The disk does not store pictures: {e}"),
                    "Capture is closed so that nothing is lost.",
                    "Call your technician; see: turnstage queue check.",
                ));
                // Holds the audit log of this run only; nothing can be captured into it, because capture is locked.
                (Spool::in_memory(Arc::new(clock.clone())), None)
            }
            Err(e) => return Err(e.into()),
        };
        let meter = meter(&config, opened.as_ref().map(|_| data), &clock);
        let backends = metered_backends(&config, data, Some(&meter));
        Self::on(Ground { spool, opened, config, data, locked, told, clock, backends, meter })
    }

    /// Starts the tasks on a spool that is open already.
    pub fn on(ground: Ground<'_>) -> anyhow::Result<Self> {
        let care = Care::of(ground.data);
        let needs = needs(&ground, &care);
        let Ground { spool, opened, config, data, locked, told, clock, backends, meter } = ground;
        let around = rig::surroundings(&config).map_err(anyhow::Error::msg).context("the simulated booth")?;
        let uploader = uploader(&config, &spool, backends, &clock, &meter).context("uploader.backoff")?;
        let starting = Status::starting(config.station_name(), rig::is_simulated(&config));
        let (status, shown) = watch::channel(starting);
        let (failed, delivery) = watch::channel(None);
        let (alive, living) = watch::channel(Instant::now());
        let (mut tasks, cancel) = (JoinSet::new(), CancellationToken::new());
        let mover = drive(&config, &around, &mut tasks, &cancel);
        let (commands, command_receiver) = Commands::channel(mover.clone());
        let wired = EmergencyStop::of(&config);
        let controls = control(&config, &around, &commands, (&wired, &care), &shown, &mut tasks, &cancel);
        let (updating, updates, hold) = UpdateTask::new(needs, shown.clone(), mover.clone());
        let (recipes, shelf) = (Recipes::of(&config.recipes), Shelf::of(data));
        let rig = Rig::new(&config, around.clone());
        let thumbnails = opened.as_ref().map(|_| config.spool(data).dir.join("thumbs"));
        watch_rim(RimTask::of(&rig, &shelf, &mover), &mut tasks, &cancel);
        let window = Window::new(Frame {
            commands: commands.clone(),
            status: shown.clone(),
            alive: living,
            destinations: uploader.states(),
            spool: spool.clone(),
            recipes: recipes.clone(),
            thumbnails: thumbnails.clone(),
            shelf: shelf.clone(),
            care: care.clone(),
            data: data.to_path_buf(),
            updates,
            meter: meter.clone(),
            clock: clock.clone(),
            config: config.clone(),
        });
        let parts = Parts {
            config,
            rig,
            mover: mover.clone(),
            emergency: wired,
            spool: spool.clone(),
            thumbnails,
            shelf,
            clock,
            recipes,
            locked,
            told,
            delivery,
            care,
            hold,
            controls,
            restart: window.restart().clone(),
            status,
            alive,
        };
        serve(Station::new(parts), command_receiver, &mut tasks, &cancel);
        let wake = send(uploader, spool.clone(), meter, failed, &mut tasks, &cancel);
        let (status, updating) = (shown, Some(updating));
        Ok(Self { commands, status, window, wake, spool, opened, around, mover, updating, tasks, cancel })
    }

    /// Everything that the station answers to, for who asks without a socket.
    pub fn router(&self, data: &Path) -> axum::Router {
        let own = listen::own_name();
        let hosts = [format!("{own}.local"), own].into_iter().chain(self.window.config().panel.hosts.clone());
        api::router(self.window.clone(), Arc::new(Accounts::of(data)), hosts.collect())
    }

    /// Joins the fleet, where the configuration names a broker.
    pub fn join(&mut self, data: &Path, keeper: Arc<Keeper>) {
        let Some(task) = FleetTask::of(&self.window, keeper, data, self.window.fleet().clone()) else {
            return;
        };
        let token = self.cancel.clone();
        self.tasks.spawn(async move {
            task.run(token).await;
            "fleet"
        });
    }

    /// Opens panel, interface and socket. An address beyond this machine is refused until somebody has an account: the
    /// same port of this machine serves until then. Follow what is returned to learn what is bound.
    pub fn open(&mut self, data: &Path) -> watch::Receiver<Found> {
        let config = &self.window.config().panel;
        let socket = listen::socket(&config.socket, data);
        let mut address = config.address().unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let (found, finding) = watch::channel(Found::default());
        let mut fault = self.window.panel().clone();
        if !address.ip().is_loopback() && Accounts::of(data).is_empty() {
            fault.send_replace(Some(Fault::new(
                "panel-needs-account",
                format!("The panel is not opened on {address}: nobody has an account on this station"),
                "Anybody in reach could command the table.",
                "Make one: turnstage accounts set NAME --role admin. Then restart the station.",
            )));
            address.set_ip(Ipv4Addr::LOCALHOST.into());
            // What the listener tells of this machine's own address is not to take the place of that.
            fault = watch::channel(None).0;
        }
        let listening =
            Listening { address, socket, data: data.to_path_buf(), router: self.router(data), fault, found };
        let token = self.cancel.clone();
        self.tasks.spawn(async move {
            listen::serve(listening, token).await;
            "panel"
        });
        finding
    }

    /// Brings what a manager wants into use, with a restart where it must, and rolls back what fails.
    pub fn keep_configured(&mut self, keeper: Arc<Keeper>) {
        let (window, token) = (self.window.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            KeepingTask { keeper, window }.run(token).await;
            "configuration"
        });
    }

    /// Starts the task that installs updates of the system, and proves one that was booted. Only for a service, before its
    /// panel opens: in the station of a single command nobody installs anything.
    pub fn update(&mut self) {
        let Some(task) = self.updating.take() else { return };
        let updating = task.run(self.cancel.clone());
        self.tasks.spawn(async move {
            updating.await;
            "update"
        });
    }

    /// Why the panel is not where it was configured.
    pub fn panel_fault(&self) -> Option<Fault> {
        self.window.panel().borrow().clone()
    }

    /// Resolves with the name of a task that died; pending while all live.
    pub async fn died(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(name)) => format!("the {name} task ended"),
            Some(Err(e)) => format!("a task failed: {e}"),
            None => "all tasks ended".to_owned(),
        }
    }

    /// Whether the station task and the motion task look up from their work.
    pub fn is_alive(&self) -> bool {
        self.window.is_alive() && self.mover.state().alive.elapsed() < ALIVE_LIMIT
    }

    /// Ends every task and closes the spool; the table's last command is a stop.
    pub async fn stop(self) {
        self.end().await.close().await;
    }

    /// Ends every task and hands the spool out, still open: a reboot that a story plays in memory.
    pub async fn end(mut self) -> Spool {
        self.mover.stop();
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a task failed while it ended");
            }
        }
        self.spool
    }
}

/// What updates are done with.
fn needs(ground: &Ground<'_>, care: &Care) -> Needs {
    let Ground { spool, opened, config, data, clock, backends, meter, .. } = ground;
    Needs {
        config: config.update.clone(),
        reserve_bytes: config.storage.free_bytes_hard,
        org: config.station.org.clone(),
        data: data.to_path_buf(),
        spool: spool.clone(),
        on_disk: opened.is_some(),
        clock: clock.clone(),
        required: rig::required(config),
        backends: backends.clone(),
        meter: meter.clone(),
        fetch: bundles::fetcher(),
        flags: care.flags.clone(),
    }
}

/// Starts the station task.
fn serve(
    station: Station,
    commands: mpsc::Receiver<Command>,
    tasks: &mut JoinSet<&'static str>,
    cancel: &CancellationToken,
) {
    let token = cancel.clone();
    tasks.spawn(async move {
        station.run(commands, token).await;
        "station"
    });
}

/// Starts the motion task.
fn drive(
    config: &Config,
    around: &Surroundings,
    tasks: &mut JoinSet<&'static str>,
    cancel: &CancellationToken,
) -> Mover {
    let table = config.rig.turntable.clone();
    // One that somebody else turns is never commanded: to ask for arming would pretend that we hold it.
    let by_itself = table.as_ref().is_none_or(|table| matches!(table.driver.as_str(), "sim" | "external"));
    let arming = Arming::new(by_itself, Duration::from_secs_f64(60.0 * config.motion.arm_minutes));
    let (motion, mover) = MotionTask::new(table, around.clone(), config.motion.drive(), arming);
    let token = cancel.clone();
    tasks.spawn(async move {
        motion.run(token).await;
        "motion"
    });
    mover
}

/// Starts the task of inputs and outputs; what it tells of them.
fn control(
    config: &Config,
    around: &Surroundings,
    commands: &Commands,
    (emergency, care): (&EmergencyStop, &Care),
    status: &watch::Receiver<Status>,
    tasks: &mut JoinSet<&'static str>,
    cancel: &CancellationToken,
) -> watch::Receiver<Controls> {
    let (told, controls) = watch::channel(Controls::of(&config.rig));
    let task = IoTask::new(io::Parts {
        rig: config.rig.clone(),
        around: around.clone(),
        commands: commands.clone(),
        mover: commands.mover().clone(),
        emergency: emergency.clone(),
        care: care.clone(),
        status: status.clone(),
        told,
    });
    let token = cancel.clone();
    tasks.spawn(async move {
        task.run(token).await;
        "io"
    });
    controls
}

/// Starts the task that reads the rim of a table that somebody else turns.
fn watch_rim(task: Option<RimTask>, tasks: &mut JoinSet<&'static str>, cancel: &CancellationToken) {
    let (Some(task), token) = (task, cancel.clone()) else { return };
    tasks.spawn(async move {
        task.run(token).await;
        "rim"
    });
}

/// Starts the uploader and what tells it that the network came back.
fn send(
    uploader: Uploader,
    spool: Spool,
    meter: Meter,
    failed: watch::Sender<Option<Fault>>,
    tasks: &mut JoinSet<&'static str>,
    cancel: &CancellationToken,
) -> Wake {
    let wake = uploader.wake();
    let (woken, token) = (wake.clone(), cancel.clone());
    tasks.spawn(async move {
        network::watch(woken, token).await;
        "network"
    });
    let token = cancel.clone();
    tasks.spawn(async move {
        deliver(uploader, spool, meter, failed, token).await;
        "uploader"
    });
    wake
}

async fn open_spool(
    config: &Config,
    data: &Path,
    clock: &SystemClock,
) -> Result<(Spool, Opened), StorageFailed> {
    let options = config.spool(data);
    let clock = Arc::new(clock.clone());
    let failed = |reason: String, in_use| StorageFailed { data: data.to_path_buf(), reason, in_use };
    // Opening reads every sidecar; that is file work and ends by itself.
    let opened = tokio::task::spawn_blocking(move || Spool::open(options, clock)).await;
    let opened = opened.map_err(|e| failed(e.to_string(), false))?;
    opened.map_err(|e| failed(chain(&e), matches!(e, SpoolError::InUse { .. })))
}

/// An error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let text = e.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = e.source();
    }
    line
}
