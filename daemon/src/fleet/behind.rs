//! What stands behind the link: a real station, or a light one of the simulated fleet. One trait, so that a simulated
//! fleet says and does what a real one does, through the same code.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::sync::watch;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::mqtt::Figures;
use turnstage_cloud_sync::spool::SpoolError;

use crate::clock::SystemClock;
use crate::command::{Actor, Refusal};
use crate::status::{StationName, Status};
use crate::window::Told;

use super::commands::Order;
use super::desired::{Desired, Offered, Reported};
use super::telemetry::Group;

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Obeyed {
    /// Done, with what there is to tell.
    Done(Value),
    /// Refused by a rule, without effect.
    Rejected(Refusal),
    /// Begun, and not done.
    Failed(Refusal),
}

/// See the module.
#[async_trait]
pub trait Behind: Send + Sync {
    /// Which station it is.
    fn station(&self) -> StationName;

    /// Every device of its rig is simulated.
    fn is_simulated(&self) -> bool;

    /// The time.
    fn clock(&self) -> &SystemClock;

    /// The state now.
    async fn status(&self) -> Status;

    /// One item whenever the state may have changed; ends with the station.
    fn changes(&self) -> BoxStream<'static, ()>;

    /// Figures by group.
    async fn figures(&self, link: Figures) -> Vec<(Group, Value)>;

    /// Up to `limit` events after `after`, of its own organisation only.
    async fn events(&self, after: u64, limit: usize) -> Result<Told, SpoolError>;

    /// Follows the sequence of the newest event.
    fn newest_event(&self) -> watch::Receiver<u64>;

    /// Puts something on record.
    async fn record(&self, event: NewEvent);

    /// The same for what anybody who reaches the broker can cause: only so often a minute.
    async fn record_stranger(&self, from: &str, event: NewEvent);

    /// Takes a configuration whose signature was verified.
    async fn offer(&self, desired: Desired, actor: &Actor) -> Offered;

    /// Follows the configuration in use, and why the wanted one is not.
    fn reported(&self) -> watch::Receiver<Reported>;

    /// The broker is reached: a configuration on trial has passed it.
    fn link_is_up(&self);

    /// Version of the fleet's configuration that is in use, if there is one.
    fn config_version(&self) -> Option<u64> {
        let version = self.reported().borrow().version;
        (version > 0).then_some(version)
    }

    /// Does what is asked. The same `id` is not asked twice.
    async fn obey(&self, id: &str, actor: &Actor, order: &Order) -> Obeyed;

    /// What became of a command that was being obeyed when the program ended; `same_boot`: the machine was not restarted.
    async fn after_restart(&self, id: &str, order: &Order, same_boot: bool) -> Obeyed;
}
