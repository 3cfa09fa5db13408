//! Updates of the whole system by RAUC: fetched, installed into the other slot when the station may, proven after the boot.
//!
//! ```text
//!  idle ──► waiting ◄──► fetching ──► waiting ──► installing ──► reboot-pending ══boot══► proving ──► good
//!              │ cancel      │            │            │                │                    │
//!              └──► idle ◄───┴────────────┘            └──► failed      └══ old slot ══► rolled-back ◄══ bad
//! ```
//! The state is kept in `DATA/update.json` before each step, so that a process that is killed goes on where it was, and
//! nothing is installed twice. RAUC checks signatures and writes slots; this module decides when ([`lock`]), and whether
//! what was booted is good (`proof`). The station honours [`Hold`]: while an update is under way no session begins.
//!
//! On the bus the crate `dbus` is used, not `zbus`: libdbus and `dbus-tokio` are in the program already because the
//! Bluetooth stack links them, so that this adds no library; and its connection is a future that is polled beside each
//! call, so that no task of its own runs (`rauc`).

mod answer;
mod boot;
mod fetch;
mod install;
mod kept;
pub mod lock;
mod proof;
mod rauc;
mod task;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use turnstage_cloud_sync::Sha256;
use utoipa::ToSchema;

use crate::command::{Actor, Refusal};
use crate::status::Fault;

pub use fetch::{Fetch, FetchError};
pub use task::{Needs, UpdateTask};

/// No session begins: an update is being installed, proven, or the machine is about to reboot.
pub const UNDERWAY: &str = "update-underway";
/// This system is not updated by RAUC.
pub const NONE: &str = "update-none";
/// Asks that may wait.
const WAITING_MAX: usize = 4;

/// What is to be installed, and who asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Where the bundle is: `https://…`, or `file:///…` on a stick.
    pub url: String,
    /// Its hash.
    pub sha256: Sha256,
    /// Its bytes, where they are known: room is looked for before.
    pub size_bytes: Option<u64>,
    /// Its version, as the bundle itself must say.
    pub version: String,
    /// Reboot into it once it is installed.
    #[serde(default = "yes")]
    pub reboot: bool,
    /// Who asked.
    pub actor: Actor,
    /// Id of the command.
    pub command: String,
}

fn yes() -> bool {
    true
}

/// What goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[allow(missing_docs)] // fields are named for what they hold
pub enum Phase {
    /// Nothing was asked for.
    #[default]
    Idle,
    /// It is asked for, and may not go on yet.
    Waiting { rule: String, reason: String },
    /// Bytes that are here, and that there are if known.
    Fetching { bytes: u64, of: Option<u64> },
    /// RAUC writes the other slot.
    Installing { percent: u8, message: String },
    /// Installed; the next boot is into it.
    RebootPending,
    /// Booted into it: it is being found out whether it works, for the nth time.
    Proving { attempts: u32 },
    /// It works, and the bootloader was told so.
    Good,
    /// Not installed; the system is the one before.
    Failed { rule: String, reason: String },
    /// It did not work: the system before runs, or will after the reboot that is `pending`.
    RolledBack { reasons: Vec<String>, pending: bool },
}

impl Phase {
    /// Nothing more happens by itself.
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Idle | Self::Good | Self::Failed { .. } | Self::RolledBack { pending: false, .. }
        )
    }

    fn waiting(rule: &str, reason: impl Into<String>) -> Self {
        Self::Waiting { rule: rule.to_owned(), reason: reason.into() }
    }

    fn failed(rule: &str, reason: impl Into<String>) -> Self {
        Self::Failed { rule: rule.to_owned(), reason: reason.into() }
    }
}

/// An update and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateState {
    /// How far.
    pub phase: Phase,
    /// What; none while nothing was ever asked for.
    pub request: Option<Request>,
    /// What was so when it was installed.
    #[serde(default)]
    pub before: Option<Before>,
}

/// What was so before an update was installed, to tell afterwards what became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Slot that was booted.
    pub slot: String,
    /// Slot that is written.
    pub target: String,
    /// What RAUC noted of its last installation there; another note means that this one was done.
    pub note: String,
    /// Boot of the machine.
    pub boot_id: String,
    /// Cameras that could not be used already: no reason against the update.
    pub missing: Vec<String>,
    /// The table could not be used already.
    pub table_missing: bool,
}

/// A slot of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slot {
    /// `rootfs.0`.
    pub name: String,
    /// Its name for the bootloader; empty for slots that are not booted.
    pub bootname: String,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// Whether the bootloader may boot it: `good`, `bad` or empty.
    pub boot_status: String,
    /// Version of the bundle that was installed there, as far as it is known.
    pub version: String,
    #[serde(skip)]
    note: String,
}

impl Slot {
    fn is_booted(&self) -> bool {
        self.state == "booted"
    }
}

/// Versions of the system, for telemetry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SlotVersions {
    /// RAUC's name for this kind of machine; empty where there is no RAUC.
    pub compatible: String,
    /// Every slot.
    pub slots: Vec<Slot>,
}

/// What the station is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hold {
    /// No session begins; how much of it is done, where that can be told.
    pub underway: Option<Underway>,
    /// What is told and forbids nothing.
    pub told: Option<Fault>,
    /// Counts up when cameras that are not open should be looked for again.
    pub look: u64,
}

/// Why no session begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Underway {
    /// Rule [`UNDERWAY`].
    pub fault: Fault,
    /// Of an installation.
    pub percent: Option<u8>,
}

/// Who asks, and by which command.
#[derive(Debug, Clone, PartialEq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Id of the command.
    pub command: String,
}

/// What may be asked.
#[derive(Debug)]
enum What {
    Install(Box<Request>),
    Cancel(By),
    MarkGood(By),
    Rollback(By),
    Reboot(By, String),
}

/// A question on its way.
#[derive(Debug)]
struct Ask {
    what: What,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

/// The way to the update task; cheap to clone. Where the task does not run (a command's own station) everything is
/// refused.
#[derive(Debug, Clone)]
pub struct Updates {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<UpdateState>,
    versions: watch::Receiver<SlotVersions>,
    /// The task was started.
    runs: Arc<AtomicBool>,
}

impl Updates {
    /// Begins an update. Answered once it is on record; refused while another is under way, on a system without RAUC, and
    /// for an address that cannot be. The same request again, by its command id, is answered like the first.
    pub async fn ask(&self, request: Request) -> Result<(), Refusal> {
        self.put(What::Install(Box::new(request))).await
    }

    /// Gives an update up that is not being installed yet; what was fetched of it is deleted.
    pub async fn cancel(&self, by: By) -> Result<(), Refusal> {
        self.put(What::Cancel(by)).await
    }

    /// Tells the bootloader that the booted slot is good, whatever the self-test says.
    pub async fn mark_good(&self, by: By) -> Result<(), Refusal> {
        self.put(What::MarkGood(by)).await
    }

    /// Goes back to the other slot: makes it the next to be booted, and reboots. Refused while a session is open.
    pub async fn rollback(&self, by: By) -> Result<(), Refusal> {
        self.put(What::Rollback(by)).await
    }

    /// Reboots the machine. Refused while a session is open or a slot is being written.
    pub async fn reboot(&self, reason: &str, by: By) -> Result<(), Refusal> {
        self.put(What::Reboot(by, reason.to_owned())).await
    }

    /// How far the update is.
    pub fn state(&self) -> watch::Receiver<UpdateState> {
        self.state.clone()
    }

    /// The slots with their versions, as they were last seen.
    pub fn versions(&self) -> SlotVersions {
        self.versions.borrow().clone()
    }

    async fn put(&self, what: What) -> Result<(), Refusal> {
        let gone =
            || Refusal::new("update-not-here", "Only a station that runs as a service installs updates.");
        if !self.runs.load(Ordering::Relaxed) {
            return Err(gone());
        }
        let (answer, wait) = oneshot::channel();
        self.asks.try_send(Ask { what, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new("station-busy", "Too many commands wait. Repeat it in a moment.")
            }
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        wait.await.map_err(|_| gone())?
    }
}

/// A system that RAUC does not update.
fn none() -> Refusal {
    Refusal::new(
        NONE,
        "This system is not updated by RAUC: nobody answers as de.pengutronix.rauc on its system bus.",
    )
}
