//! What API and pages see of the station, and the one way in which they ask it.
//!
//! Everything shown is read from two places: the state now (`watch<Status>`) and the spool. A running session is
//! visible in the spool frame by frame, because a frame is accepted only when it is durable; so a page shows the same
//! before and after a restart. Records of another organisation are never shown (V-13).

mod care;
mod figures;
mod log;
mod sessions;
pub(crate) mod thumbnails;
pub mod views;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use turnstage_cloud_sync::spool::SpoolError;
use turnstage_cloud_sync::store::Document;
use turnstage_cloud_sync::uploader::DestinationState;
use turnstage_cloud_sync::{Meter, Record, Spool};

use crate::access::Visitor;
use crate::arming::Arming;
use crate::calibration::Plate;
use crate::calibration::shelf::Shelf;
use crate::care::Care;
use crate::clock::{self, SystemClock};
use crate::command::{Act, Answer, Commands, Refusal};
use crate::config::Config;
use crate::constancy::{self, CameraHealth, Constancy};
use crate::flags::Flag;
use crate::identify::Asked;
use crate::recipe::Recipes;
use crate::restart::Restart;
use crate::session::SessionDoc;
use crate::status::{Delivery, Fault, Status};
use crate::update::Updates;
use log::Strangers;
use thumbnails::Thumbnails;
use views::{CalibrationsView, PlateView, QueueView};

pub use figures::Recent;
pub use log::{Told, owner_since};
pub use sessions::Filter;

/// A task that does not look up from its work for so long is dead.
pub const ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// Sessions that the queue lists, oldest first; of further ones only the number is told.
const QUEUE_SESSIONS_MAX: usize = 50;

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Window {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Commands,
    status: watch::Receiver<Status>,
    alive: watch::Receiver<Instant>,
    destinations: watch::Receiver<Vec<DestinationState>>,
    panel: watch::Sender<Option<Fault>>,
    fleet: watch::Sender<Option<Fault>>,
    spool: Spool,
    recipes: Recipes,
    thumbnails: Thumbnails,
    shelf: Shelf,
    care: Care,
    data: PathBuf,
    updates: Updates,
    meter: Meter,
    clock: SystemClock,
    config: Config,
    /// Events up to this one are another organisation's.
    since: u64,
    strangers: Mutex<Strangers>,
    restart: Restart,
    /// Why the fleet's configuration is not the one that its manager wants.
    configured: watch::Sender<Option<Fault>>,
}

/// What a window is cut into.
pub struct Frame {
    /// Where commands go.
    pub commands: Commands,
    /// The state now.
    pub status: watch::Receiver<Status>,
    /// When the station task last showed that it is alive.
    pub alive: watch::Receiver<Instant>,
    /// The destinations now.
    pub destinations: watch::Receiver<Vec<DestinationState>>,
    /// Frames, events and sessions.
    pub spool: Spool,
    /// Recipes.
    pub recipes: Recipes,
    /// Folder of thumbnails, if any is kept.
    pub thumbnails: Option<PathBuf>,
    /// Calibrations and clean plates.
    pub shelf: Shelf,
    /// What those who look after it set on it.
    pub care: Care,
    /// Everything is kept below this folder.
    pub data: PathBuf,
    /// Updates of the system.
    pub updates: Updates,
    /// What went over the network today.
    pub meter: Meter,
    /// The time.
    pub clock: SystemClock,
    /// Checked configuration.
    pub config: Config,
}

/// A recipe in a list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct RecipeLine {
    /// Name.
    pub name: String,
    /// One line about it.
    pub about: String,
    /// Places of one session.
    pub frames: usize,
    /// Used when none is named.
    pub default: bool,
}

impl Window {
    /// A window on a station.
    pub fn new(frame: Frame) -> Self {
        let Frame { commands, status, destinations, spool, recipes, thumbnails, .. } = frame;
        let Frame { alive, shelf, care, data, updates, meter, clock, config, .. } = frame;
        let since = owner_since(&data, &config.station.org, &spool);
        let strangers = Mutex::default();
        let thumbnails = Thumbnails::new(thumbnails, config.input);
        let inner = Inner {
            commands,
            status,
            alive,
            destinations,
            panel: watch::Sender::new(None),
            fleet: watch::Sender::new(None),
            spool,
            recipes,
            thumbnails,
            shelf,
            care,
            data,
            updates,
            meter,
            clock,
            config,
            since,
            strangers,
            restart: Restart::default(),
            configured: watch::channel(None).0,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks the station; every change goes through here, with its actor.
    pub async fn ask(&self, id: Option<String>, visitor: &Visitor, act: Act) -> Answer {
        let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        self.inner.commands.ask_as(id, &visitor.actor, &visitor.place, act).await
    }

    /// Whether the station task looks up from its work.
    pub fn is_alive(&self) -> bool {
        let alive = &self.inner.alive;
        alive.has_changed().is_ok() && alive.borrow().elapsed() < ALIVE_LIMIT
    }

    /// Whether the table may turn, and who lets it.
    pub fn arming(&self) -> &Arming {
        self.inner.commands.arming()
    }

    /// The state now, with what concerns delivery. A spool that does not answer leaves the figures of delivery at 0;
    /// the station tells of the disk.
    pub async fn status(&self) -> Status {
        // Read first: what happens from here on is in the log after it.
        let newest_event = *self.inner.spool.changed().borrow();
        let mut status = self.inner.status.borrow().clone();
        status.newest_event = newest_event;
        status.flags = self.inner.care.flags.all();
        status.identify = self.inner.care.identify.told();
        let beside = [&self.inner.panel, &self.inner.fleet];
        status.faults.extend(beside.into_iter().filter_map(|fault| fault.borrow().clone()));
        status.faults.extend(self.inner.configured.borrow().clone());
        match self.delivery().await {
            Ok(delivery) => status.with_delivery(delivery),
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be read");
                status
            }
        }
    }

    async fn delivery(&self) -> Result<Delivery, SpoolError> {
        let counts = self.inner.spool.counts_of(self.org()).await?;
        let room = self.inner.spool.room()?;
        let pictures = self.inner.recipes.get(&self.inner.config.recipes.default).map_or(36, |recipe| {
            let cameras = self.inner.config.rig.cameras.len().max(1);
            recipe.plan().len() * cameras
        });
        let bytes = self.inner.config.storage.frame_bytes.saturating_mul(pictures as u64);
        Ok(Delivery {
            waiting: counts.queued + counts.uploading,
            uploading: counts.uploading,
            failed: counts.failed,
            held: counts.captured,
            confirmed: counts.confirmed,
            oldest_wall_ms: counts.oldest_queued.map(|stamp| stamp.wall_ms),
            free_bytes: room.free_bytes,
            sessions_left: room.sessions_left(bytes),
            destinations: self.inner.destinations.borrow().clone(),
        })
    }

    /// Each camera of the rig against its baseline; one of which nothing is known yet has no figures. Baselines that
    /// cannot be read are as none: the station tells of them in its log.
    pub async fn cameras(&self) -> Result<Vec<CameraHealth>, SpoolError> {
        let kept = self.inner.spool.document(&constancy::document_of(self.org())).await?;
        let known = kept.and_then(|kept| Constancy::read(&kept).ok()).unwrap_or_default();
        let mut measured = known.health(clock::day(&self.inner.clock.now()));
        let names: Vec<String> = self.inner.config.rig.cameras.keys().cloned().collect();
        let of = |name: String| match measured.iter().position(|one| one.camera == name) {
            Some(at) => measured.swap_remove(at),
            None => CameraHealth::of_none(name),
        };
        Ok(names.into_iter().map(of).collect())
    }

    /// Waits for the next change of status, destinations or event log. Keep the value between calls: what changed in
    /// the meantime is not missed.
    pub fn changes(&self) -> Changes {
        Changes {
            status: self.inner.status.clone(),
            destinations: self.inner.destinations.clone(),
            panel: self.inner.panel.subscribe(),
            fleet: self.inner.fleet.subscribe(),
            care: self.inner.care.clone(),
            flags: self.inner.care.flags.watch(),
            identify: self.inner.care.identify.watch(),
            configured: self.inner.configured.subscribe(),
            events: self.inner.spool.changed(),
        }
    }

    /// The queue, with the sessions that wait and that the visitor may see.
    pub async fn queue(&self, visitor: &Visitor) -> Result<QueueView, SpoolError> {
        let counts = self.inner.spool.counts_of(self.org()).await?;
        let mut sessions = Vec::new();
        let mut more = 0;
        for id in self.inner.spool.undelivered_sessions(self.org()).await? {
            let full = sessions.len() == QUEUE_SESSIONS_MAX;
            if full && visitor.role.sees_all() {
                more += 1;
                continue;
            }
            let Some(document) = self.inner.spool.document(&id).await? else { continue };
            let Some(Ok(doc)) = self.mine(&document) else { continue };
            match self.may_see(visitor, &id, &doc.actor) {
                Ok(()) if full => more += 1,
                Ok(()) => sessions.push(self.listed(doc).await?),
                Err(_) => {}
            }
        }
        Ok(QueueView {
            more,
            captured: counts.captured,
            queued: counts.queued,
            uploading: counts.uploading,
            confirmed: counts.confirmed,
            failed: counts.failed,
            superseded: counts.superseded,
            sessions,
        })
    }

    /// Operators see the sessions that they began, and the one at hand.
    fn may_see(&self, visitor: &Visitor, id: &str, actor: &str) -> Result<(), Refusal> {
        let at_hand = || self.inner.status.borrow().session.as_ref().is_some_and(|session| session.id == id);
        if visitor.role.sees_all() || actor == visitor.actor.0 || at_hand() {
            return Ok(());
        }
        Err(Refusal::new("role-not-allowed", "Somebody else began this session. Ask a reviewer."))
    }

    /// Follows the sequence of the newest event.
    pub fn newest_event(&self) -> watch::Receiver<u64> {
        self.inner.spool.changed()
    }

    /// Every recipe that can be used, and every one that cannot, with the reason as its line.
    pub fn recipes(&self) -> Vec<RecipeLine> {
        let default = &self.inner.config.recipes.default;
        let line = |name: String| {
            let (about, frames) = match self.inner.recipes.get(&name) {
                Ok(recipe) => (recipe.about.clone(), recipe.plan().len()),
                Err(error) => (error.to_string(), 0),
            };
            RecipeLine { default: name == *default, name, about, frames }
        };
        self.inner.recipes.names().into_iter().map(line).collect()
    }

    /// The record of a stored picture, for a visitor who may see it; none of another organisation's.
    pub async fn picture(&self, visitor: &Visitor, sequence: u64) -> Result<Option<Record>, Refusal> {
        let records = self.inner.spool.sequence_records(sequence).await.map_err(sessions::unread)?;
        let Some(record) = records.into_iter().find(|record| record.facts.org == *self.org()) else {
            return Ok(None);
        };
        self.may_see(visitor, &record.facts.session, &record.facts.actor)?;
        Ok(Some(record))
    }

    /// The original bytes of a picture while they are on this station.
    pub async fn original(&self, record: &Record) -> Option<bytes::Bytes> {
        thumbnails::original(&self.inner.spool, record).await
    }

    /// A thumbnail: kept, or made anew from the original. Longest side `side_max`, one of 150, 600 and 1200.
    pub async fn thumbnail(&self, record: &Record, side_max: u32) -> Option<bytes::Bytes> {
        self.inner.thumbnails.get(&self.inner.spool, record, side_max).await
    }

    /// Calibrations and clean plates of this station.
    pub async fn calibrations(&self) -> CalibrationsView {
        let shelf = self.inner.shelf.clone();
        let all = tokio::task::spawn_blocking(move || shelf.all()).await.unwrap_or_default();
        let plate = |plate: Plate| PlateView {
            recipe: plate.recipe,
            camera: plate.camera,
            device: plate.device,
            at: plate.at,
            actor: plate.actor,
        };
        CalibrationsView {
            calibrations: all.calibrations,
            plates: all.plates.into_iter().map(plate).collect(),
            axes: all.axes,
            unreadable: all.unreadable,
        }
    }

    /// How this process is ended to be started anew, once no session is open.
    pub fn restart(&self) -> &Restart {
        &self.inner.restart
    }

    /// Where it is told why the panel is not where it was configured.
    pub fn panel(&self) -> &watch::Sender<Option<Fault>> {
        &self.inner.panel
    }

    /// Where it is told what a person should see to about the fleet's broker.
    pub fn fleet(&self) -> &watch::Sender<Option<Fault>> {
        &self.inner.fleet
    }

    /// Tells a technician why the fleet's configuration is not the one that its manager wants.
    pub fn tell_configured(&self, fault: Option<Fault>) {
        self.inner.configured.send_if_modified(|told| {
            let differs = *told != fault;
            *told = fault;
            differs
        });
    }

    /// Updates of the system.
    pub fn updates(&self) -> &Updates {
        &self.inner.updates
    }

    /// What went over the network today.
    pub fn meter(&self) -> &Meter {
        &self.inner.meter
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The time.
    pub fn clock(&self) -> &SystemClock {
        &self.inner.clock
    }

    fn org(&self) -> &String {
        &self.inner.config.station.org
    }

    fn mine(&self, document: &Document) -> Option<Result<SessionDoc, Refusal>> {
        match SessionDoc::read(document) {
            Ok(doc) if doc.org != *self.org() => None,
            read => Some(read),
        }
    }
}

/// See [`Window::changes`].
pub struct Changes {
    status: watch::Receiver<Status>,
    destinations: watch::Receiver<Vec<DestinationState>>,
    panel: watch::Receiver<Option<Fault>>,
    fleet: watch::Receiver<Option<Fault>>,
    care: Care,
    flags: watch::Receiver<Vec<Flag>>,
    identify: watch::Receiver<Option<Asked>>,
    configured: watch::Receiver<Option<Fault>>,
    events: watch::Receiver<u64>,
}

impl Changes {
    /// The next change; false when the station has ended.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            changed = self.status.changed() => changed.is_ok(),
            changed = self.events.changed() => changed.is_ok(),
            Ok(()) = self.destinations.changed() => true,
            Ok(()) = self.panel.changed() => true,
            Ok(()) = self.fleet.changed() => true,
            Ok(()) = self.flags.changed() => true,
            Ok(()) = self.identify.changed() => true,
            // Its end is a change like its beginning.
            () = self.care.identify.ended() => true,
            Ok(()) = self.configured.changed() => true,
        }
    }
}
