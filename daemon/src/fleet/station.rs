//! A real station behind its link: what it tells is what its own window shows, what it is asked goes where panel and
//! command line ask.
//!
//! Whoever asks over the broker is somewhere else ([`Place::Afar`]) and has no code of the rig's display, so nothing here
//! arms, goes on after a stop, or references; a session turns only where somebody at the rig has armed it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::meter::Counted;
use turnstage_cloud_sync::mqtt::Figures;
use turnstage_cloud_sync::spool::SpoolError;
use turnstage_cloud_sync::{Sha256, Transfer, TransferError};

use super::behind::{Behind, Obeyed};
use super::commands::Order;
use super::desired::{Desired, Keeper, Offered, Reported};
use super::telemetry::{Extra, Group, Link, Telemetry};
use crate::access::{Role, Visitor};
use crate::clock::SystemClock;
use crate::command::{Act, Actor, Place, Refusal, Which};
use crate::diagnostics::{self, Bundle};
use crate::restart::Step;
use crate::secrets::{self, SecretName};
use crate::status::{StationName, Status};
use crate::update::{By, Phase, Request};
use crate::window::{Changes, Told, Window};

/// A machine that was asked to restart is gone within so long.
const REBOOT_LIMIT: Duration = Duration::from_secs(300);
/// An update that goes on was read from its file within so long.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// See the module.
pub struct RealStation {
    window: Window,
    keeper: Arc<Keeper>,
    telemetry: Mutex<Telemetry>,
    /// Bytes to and from the broker that the meter has.
    broker_bytes: (AtomicU64, AtomicU64),
}

impl RealStation {
    /// The station of a window; its files lie below `data`.
    pub fn new(window: Window, keeper: Arc<Keeper>, data: &Path) -> Self {
        let telemetry = Mutex::new(Telemetry::new(data.to_owned(), PathBuf::from("/")));
        Self { window, keeper, telemetry, broker_bytes: Default::default() }
    }

    async fn act(&self, id: &str, actor: &Actor, act: Act) -> Obeyed {
        match self.window.ask(Some(format!("fleet:{id}")), &visitor(actor.clone()), act).await {
            Ok(accepted) => Obeyed::Done(json!(accepted)),
            Err(refusal) => Obeyed::Rejected(refusal),
        }
    }

    /// PUTs what a person asked for where they want it.
    async fn upload(&self, url: &str, bundle: Result<Bundle, Refusal>) -> Obeyed {
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(refusal) => return Obeyed::Rejected(refusal),
        };
        let Bundle { name, content_type, bytes, sha256 } = bundle;
        let size = bytes.len();
        let put = match self.transfer() {
            Ok(transfer) => transfer.put(url, bytes, content_type, sha256).await,
            Err(error) => Err(error),
        };
        match put {
            Ok(()) => Obeyed::Done(json!({ "name": name, "size_bytes": size, "sha256": sha256 })),
            Err(error) => Obeyed::Failed(Refusal::new(error.rule(), error.reason())),
        }
    }

    async fn rotate(&self, actor: &Actor, name: &str, url: Option<String>, sha256: Option<Sha256>) -> Obeyed {
        let secret = match name.parse::<SecretName>() {
            Ok(secret) => secret,
            Err(what) => return Obeyed::Rejected(Refusal::new("arguments-invalid", format!("{what}."))),
        };
        let rotated = match (url, sha256) {
            (Some(url), Some(sha256)) => match self.transfer() {
                Ok(transfer) => {
                    secrets::rotate(&self.window, &transfer, actor, &secret, (&url, sha256)).await
                }
                Err(error) => Err(Refusal::new(error.rule(), error.reason())),
            },
            (None, None) => secrets::renew(&self.window, actor, &secret).await,
            _ => {
                let reason =
                    "Both url and sha256 are needed, or none where the destination renews its token.";
                Err(Refusal::new("arguments-invalid", reason))
            }
        };
        rotated.map_or_else(Obeyed::Failed, |rotated| Obeyed::Done(json!(rotated)))
    }

    /// Adds what went to and from the broker to the day's bytes; those of today.
    fn count(&self, link: &Figures) -> Counted {
        let before = |counted: &AtomicU64, now: u64| now.saturating_sub(counted.swap(now, Ordering::Relaxed));
        let sent = before(&self.broker_bytes.0, link.bytes_out);
        let received = before(&self.broker_bytes.1, link.bytes_in);
        self.window.meter().count(sent, received);
        self.window.meter().today()
    }

    /// Ends the program; what became of it is told by the next run.
    async fn restart(&self) -> Obeyed {
        if self.window.status().await.session.is_some() {
            return Obeyed::Rejected(Refusal::new(
                "session-open",
                "A session is open. Finish it, then ask again.",
            ));
        }
        let restart = self.window.restart();
        let mut step = restart.watch();
        restart.ask();
        if step.wait_for(|step| *step == Step::Granted).await.is_ok() {
            restart.go();
        }
        std::future::pending().await
    }

    /// Restarts the machine; that it did is told by the next run.
    async fn reboot(&self, id: &str, actor: &Actor) -> Obeyed {
        let by = By { actor: actor.clone(), command: id.to_owned() };
        match self.window.updates().reboot("the fleet asked for it", by).await {
            Ok(()) => {
                tokio::time::sleep(REBOOT_LIMIT).await;
                Obeyed::Failed(Refusal::new(
                    "reboot-refused",
                    "The machine was asked to restart, and did not.",
                ))
            }
            Err(refusal) => Obeyed::Rejected(refusal),
        }
    }

    /// Waits for the end of an update that this command began.
    async fn follow_update(&self, id: &str) -> Obeyed {
        let mut state = self.window.updates().state();
        let mut seen = false;
        loop {
            let now = state.borrow_and_update().clone();
            let ours = now.request.as_ref().is_some_and(|request| request.command == id);
            match now.phase {
                Phase::Good if ours => {
                    return Obeyed::Done(json!({ "version": now.request.map(|request| request.version) }));
                }
                Phase::Failed { rule, reason } if ours => return Obeyed::Failed(Refusal::new(&rule, reason)),
                Phase::RolledBack { reasons, pending: false } if ours => {
                    return Obeyed::Failed(Refusal::new("update-rolled-back", reasons.join(" ")));
                }
                _ if !ours && (seen || now.request.is_some()) => {
                    let reason = "It was cancelled, or another update took its place.";
                    return Obeyed::Failed(Refusal::new("update-idle", reason));
                }
                _ => {}
            }
            seen |= ours;
            tokio::select! {
                changed = state.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                // After a restart it is read from its file, if it is there.
                () = tokio::time::sleep(READ_LIMIT), if !seen => return interrupted(),
            }
        }
    }

    /// Trusts whom the link to the broker trusts.
    fn transfer(&self) -> Result<Transfer, TransferError> {
        let file = &self.window.config().fleet.ca_file;
        let file = (!file.as_os_str().is_empty()).then(|| self.window.data().join(file));
        Transfer::new(file.as_deref())
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

    fn changes(&self) -> BoxStream<'static, ()> {
        let next = |mut changes: Changes| async move { changes.next().await.then_some(((), changes)) };
        Box::pin(stream::unfold(self.window.changes(), next))
    }

    async fn figures(&self, link: Figures) -> Vec<(Group, Value)> {
        let today = self.count(&link);
        let link = Link {
            bytes_sent_today: today.sent,
            bytes_received_today: today.received,
            bytes_a_day_max: self.window.meter().budget(),
            ..link.into()
        };
        let extra = Extra { link, config_version: self.config_version() };
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

    async fn offer(&self, desired: Desired, actor: &Actor) -> Offered {
        let (keeper, actor) = (self.keeper.clone(), actor.clone());
        // It reads recipes and writes to the disk.
        let offered = tokio::task::spawn_blocking(move || keeper.offer(desired, &actor)).await;
        offered.unwrap_or_else(|error| Offered::Refused {
            rule: "config-not-kept",
            reason: format!("It could not be looked at: {error}."),
            problems: Vec::new(),
        })
    }

    fn reported(&self) -> watch::Receiver<Reported> {
        self.keeper.watch()
    }

    fn link_is_up(&self) {
        self.keeper.link_is_up();
    }

    async fn obey(&self, id: &str, actor: &Actor, order: &Order) -> Obeyed {
        let done = |done: Result<Value, Refusal>| done.map_or_else(Obeyed::Rejected, Obeyed::Done);
        match order.clone() {
            Order::Start { item, recipe } => self.act(id, actor, Act::Start { item, recipe }).await,
            Order::Stop {} => self.act(id, actor, Act::Stop).await,
            Order::Abort {} => self.act(id, actor, Act::Abort).await,
            Order::Retake { frames } => {
                let which = if frames.is_empty() { Which::Flagged } else { Which::Frames(frames) };
                self.act(id, actor, Act::Retake { which }).await
            }
            Order::Requeue { session } => self.act(id, actor, Act::Requeue { session }).await,
            Order::Identify { seconds } => {
                done(self.window.identify(actor, seconds).await.map(|()| Value::Null))
            }
            Order::SetFlag { flag, on, reason } => done(
                self.window.set_flag(actor, &flag, on, &reason).await.map(|flags| json!({ "flags": flags })),
            ),
            Order::Diagnostics { url } => {
                self.upload(&url, diagnostics::bundle(&self.window, self.window.data()).await).await
            }
            Order::Logs { log, url } => {
                self.upload(&url, diagnostics::log_range(&self.window, self.window.data(), &log).await).await
            }
            Order::RotateSecret { secret, url, sha256 } => self.rotate(actor, &secret, url, sha256).await,
            Order::Restart {} => self.restart().await,
            Order::Reboot {} => self.reboot(id, actor).await,
            Order::Update { url, sha256, version } => {
                let (actor, command) = (actor.clone(), id.to_owned());
                let request =
                    Request { url, sha256, size_bytes: None, version, reboot: true, actor, command };
                match self.window.updates().ask(request).await {
                    Ok(()) => self.follow_update(id).await,
                    Err(refusal) => Obeyed::Rejected(refusal),
                }
            }
        }
    }

    async fn after_restart(&self, id: &str, order: &Order, same_boot: bool) -> Obeyed {
        match order {
            // It goes on by itself, over any number of boots.
            Order::Update { .. } => self.follow_update(id).await,
            Order::Restart {} => Obeyed::Done(Value::Null),
            Order::Reboot {} if !same_boot => Obeyed::Done(Value::Null),
            _ => interrupted(),
        }
    }
}

fn interrupted() -> Obeyed {
    let reason = "The station restarted while it obeyed. Look at its state and its log before you ask again.";
    Obeyed::Failed(Refusal::new("interrupted", reason))
}
