//! A real station behind its link: what it tells is what its own window shows, what it is asked goes where panel and
//! command line ask.
//!
//! Whoever asks over the broker is somewhere else ([`Place::Afar`]) and has no code of the rig's display, so nothing here
//! arms, goes on after a stop, or references; a session turns only where somebody at the rig has armed it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::mqtt::Figures;
use turnstage_cloud_sync::spool::SpoolError;

use super::behind::{Behind, Obeyed};
use super::commands::Order;
use super::telemetry::{Extra, Group, Telemetry};
use crate::access::{Role, Visitor};
use crate::clock::SystemClock;
use crate::command::{Act, Actor, Place, Refusal, Which};
use crate::status::{StationName, Status};
use crate::window::{Changes, Told, Window};

/// See the module.
pub struct RealStation {
    window: Window,
    telemetry: Mutex<Telemetry>,
}

impl RealStation {
    /// The station of a window; its files lie below `data`.
    pub fn new(window: Window, data: &Path) -> Self {
        let telemetry = Mutex::new(Telemetry::new(data.to_owned(), PathBuf::from("/")));
        Self { window, telemetry }
    }

    async fn act(&self, id: &str, actor: &Actor, act: Act) -> Obeyed {
        match self.window.ask(Some(format!("fleet:{id}")), &visitor(actor.clone()), act).await {
            Ok(accepted) => Obeyed::Done(json!(accepted)),
            Err(refusal) => Obeyed::Rejected(refusal),
        }
    }
}

/// Somebody at the other end of the broker: sees what everybody of the organisation sees.
fn visitor(actor: Actor) -> Visitor {
    let place = Place::Afar(actor.0.clone());
    Visitor { actor, role: Role::Admin, signed_in: false, place }
}

#[async_trait]
impl Behind for RealStation {
    fn station(&self) -> StationName {
        self.window.config().station_name()
    }

    fn is_simulated(&self) -> bool {
        crate::rig::is_simulated(self.window.config())
    }

    fn clock(&self) -> &SystemClock {
        self.window.clock()
    }

    async fn status(&self) -> Status {
        self.window.status().await
    }

    fn changes(&self) -> Changes {
        self.window.changes()
    }

    async fn figures(&self, link: Figures) -> Vec<(Group, Value)> {
        let extra = Extra { link: link.into(), config_version: None };
        self.telemetry.lock().await.groups(&self.window, extra).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Told, SpoolError> {
        self.window.events(&visitor(Actor("fleet".to_owned())), after, limit).await
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.window.newest_event()
    }

    async fn record(&self, event: NewEvent) {
        self.window.record(event).await;
    }

    async fn record_stranger(&self, from: &str, event: NewEvent) {
        self.window.record_stranger(from, event).await;
    }

    async fn obey(&self, id: &str, actor: &Actor, order: &Order) -> Obeyed {
        let act = match order.clone() {
            Order::Start { item, recipe } => Act::Start { item, recipe },
            Order::Stop {} => Act::Stop,
            Order::Abort {} => Act::Abort,
            Order::Retake { frames } if frames.is_empty() => Act::Retake { which: Which::Flagged },
            Order::Retake { frames } => Act::Retake { which: Which::Frames(frames) },
            Order::Requeue { session } => Act::Requeue { session },
            _ => return Obeyed::Rejected(Refusal::new("not-here", "This station cannot do that.")),
        };
        self.act(id, actor, act).await
    }

    async fn after_restart(&self, _id: &str, order: &Order, same_boot: bool) -> Obeyed {
        match order {
            Order::Restart {} => Obeyed::Done(Value::Null),
            Order::Reboot {} if !same_boot => Obeyed::Done(Value::Null),
            _ => Obeyed::Failed(Refusal::new(
                "interrupted",
                "The station restarted while it obeyed. Look at its state and its log before you ask again.",
            )),
        }
    }
}
