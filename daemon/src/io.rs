//! The task of inputs and outputs: what a signal at the rig asks of the station, and what lamps, horn and lights show.
//!
//! A stop button or door is a guard: the table is held halted until the guard is known to be at rest, so that a pressed
//! one, a lost one and one that was never there are the same to the motor. What a guard halted stays halted until a
//! person goes on. Everything else asks like everybody else, by a command with an actor: `pedal:NAME`, `scanner:NAME`
//! or `input:NAME`.

mod input;
mod lamps;
mod told;

use std::future::pending;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turnstage_drivers::Surroundings;

use crate::care::Care;
use crate::command::Commands;
use crate::config::RigConfig;
use crate::emergency::EmergencyStop;
use crate::motion::Mover;
use crate::status::Status;
use input::Contact;
use lamps::Lamp;
pub use told::{Controls, InputStatus, Level, OutputStatus};

/// What the task is given.
pub struct Parts {
    /// Inputs and outputs of the configuration.
    pub rig: RigConfig,
    /// The booth that simulated ones stand in, the hand beside a manual table, shared boards.
    pub around: Surroundings,
    /// Where acts go.
    pub commands: Commands,
    /// The table, to be halted.
    pub mover: Mover,
    /// Its contact is watched for the daily test.
    pub emergency: EmergencyStop,
    /// Whether lamps show which station this is.
    pub care: Care,
    /// What the station does.
    pub status: watch::Receiver<Status>,
    /// Where inputs and outputs are told; from [`Controls::of`] the same configuration.
    pub told: watch::Sender<Controls>,
}

/// The task.
pub struct IoTask {
    parts: Parts,
}

impl IoTask {
    /// The task, to be run. From here on the table is held until every guard is known to be at rest.
    pub fn new(parts: Parts) -> Self {
        let task = Self { parts };
        task.hold();
        task
    }

    /// Serves until `cancel`; every output is off then.
    pub async fn run(self, cancel: CancellationToken) {
        let inputs = self.parts.rig.inputs.iter();
        let contacts: Vec<_> = inputs.map(|(name, config)| Contact::new(&self, name, config)).collect();
        let listen = async {
            let all = join_all(contacts.iter().map(Contact::run));
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                _ = async { tokio::join!(all, self.use_items_once()) } => {}
            }
        };
        let outputs = self.parts.rig.outputs.iter();
        let lamps: Vec<_> = outputs.map(|(name, config)| Lamp::new(&self.parts, name, config)).collect();
        tokio::join!(listen, join_all(lamps.iter().map(|lamp| lamp.run(&cancel))));
    }

    /// Holds the table, or no longer, as the guards say.
    fn hold(&self) {
        let held = self.parts.told.borrow().held_by().is_some();
        self.parts.mover.hold(held);
    }

    /// A scanned item is the next one until a session begins, whoever begins it: never two items for one number.
    async fn use_items_once(&self) {
        let mut status = self.parts.status.clone();
        let mut last: Option<String> = None;
        loop {
            let now = status.borrow_and_update().session.as_ref().map(|session| session.id.clone());
            if now.is_some() && now != last {
                self.parts.told.send_if_modified(|told| told.next_item.take().is_some());
                last = now;
            }
            if status.changed().await.is_err() {
                return pending().await;
            }
        }
    }
}
