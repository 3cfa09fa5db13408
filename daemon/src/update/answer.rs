//! What may be asked of the update task, and when it is refused.

use serde_json::json;

use super::rauc::{Bus, BusError};
use super::task::Work;
use super::{Ask, Before, By, NONE, Phase, Request, UNDERWAY, UpdateState, What, fetch, kept, none};
use crate::command::Refusal;

/// What an answer leaves to be done.
pub(super) enum Next {
    Same,
    Step(Box<UpdateState>),
    Rebooting,
}

impl Work {
    pub(super) async fn answer(&self, ask: Ask) -> Next {
        let now = self.now();
        let given = match ask.what {
            What::Install(request) => self.accept(&now, *request).await,
            What::Cancel(by) => self.cancel(&now, &by).await,
            What::MarkGood(by) => self.mark_good(now, &by).await,
            What::Rollback(by) => self.roll_back(&now, &by).await,
            What::Reboot(by, reason) => self.reboot_for(&now, &by, &reason).await,
        };
        let (answer, next) = match given {
            Ok(next) => (Ok(()), next),
            Err(refusal) => (Err(refusal), Next::Same),
        };
        // Whoever asked may have gone.
        drop(ask.answer.send(answer));
        next
    }

    async fn accept(&self, now: &UpdateState, request: Request) -> Result<Next, Refusal> {
        if now.request.as_ref().is_some_and(|known| known.command == request.command) {
            return Ok(Next::Same);
        }
        let is_web = |url: &str| {
            let here = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            url.starts_with("https://") || here.iter().any(|start| url.starts_with(start))
        };
        if !is_web(&request.url) && fetch::local(&request.url).is_none() {
            let reason = "A bundle is at an address like https://…, or at file:///… on this machine.";
            return Err(Refusal::new("update-url", reason));
        }
        if request.version.trim().is_empty() {
            return Err(Refusal::new("update-version", "Name the version that the bundle holds."));
        }
        if !now.phase.is_over() {
            return Err(other(now));
        }
        match self.see_slots().await {
            Ok(()) => {}
            Err(BusError::Nobody(_)) => return Err(none()),
            Err(error) => {
                return Err(Refusal::new(NONE, format!("RAUC does not answer as it should: {error}.")));
            }
        }
        let phase = Phase::waiting("update-waits", "The update was asked for.");
        let data = json!({ "url": request.url, "sha256": request.sha256 });
        let state = UpdateState { phase, request: Some(request), before: None };
        if !self.log_for(&state, "update.asked", data).await || !self.keep(&state).await {
            self.show(now);
            return Err(Refusal::new("storage-fault", "The disk does not store it. Call your technician."));
        }
        Ok(Next::Step(Box::new(state)))
    }

    async fn cancel(&self, now: &UpdateState, by: &By) -> Result<Next, Refusal> {
        match now.phase {
            Phase::Waiting { .. } | Phase::Fetching { .. } => {}
            _ if now.phase.is_over() => {
                return Err(Refusal::new("update-idle", "No update is under way."));
            }
            _ => {
                let reason =
                    "It is too late: the update is being installed or proven. Roll it back afterwards.";
                return Err(Refusal::new(UNDERWAY, reason));
            }
        }
        self.log_by("update.cancelled", by, json!({})).await;
        let state = UpdateState::default();
        self.keep(&state).await;
        self.forget_bundles().await;
        Ok(Next::Step(Box::new(state)))
    }

    /// Makes room of what was fetched.
    pub(super) async fn forget_bundles(&self) {
        let data = self.needs.data.clone();
        let tidied = tokio::task::spawn_blocking(move || kept::tidy(&data, None)).await;
        if let Ok(Err(error)) = tidied {
            tracing::warn!(%error, "an old bundle stays on the disk");
        }
    }

    async fn mark_good(&self, mut now: UpdateState, by: &By) -> Result<Next, Refusal> {
        Bus::open().await.map_err(by_bus)?.mark("good", "booted").await.map_err(by_bus)?;
        self.log_by("update.proven", by, json!({ "by_hand": true })).await;
        match now.phase {
            Phase::Proving { .. } | Phase::RolledBack { pending: true, .. } => {
                now.phase = Phase::Good;
                self.keep(&now).await;
                Ok(Next::Step(Box::new(now)))
            }
            _ => Ok(Next::Same),
        }
    }

    async fn roll_back(&self, now: &UpdateState, by: &By) -> Result<Next, Refusal> {
        not_installing(now)?;
        let mut bus = Bus::open().await.map_err(by_bus)?;
        let versions = bus.versions().await.map_err(by_bus)?;
        let other = versions.slots.iter().find(|slot| !slot.is_booted() && !slot.bootname.is_empty());
        let other =
            other.ok_or_else(|| Refusal::new("update-slots", "There is no other system to go back to."))?;
        if !self.close("The system before is about to be booted").await {
            return Err(session_open());
        }
        bus.mark("active", &other.name).await.map_err(by_bus).inspect_err(|_| self.open())?;
        self.log_by("update.failed", by, json!({ "rule": "update-by-hand", "to": other.name })).await;
        let reasons = vec![format!("{} went back to {}", by.actor.who(), other.name)];
        // Without a target: nothing is wrong with the system that is left.
        let before = Before { slot: other.name.clone(), ..Before::default() };
        let phase = Phase::RolledBack { reasons, pending: true };
        let state = UpdateState { phase, request: now.request.clone(), before: Some(before) };
        self.keep(&state).await;
        Ok(Next::Step(Box::new(state)))
    }

    async fn reboot_for(&self, now: &UpdateState, by: &By, reason: &str) -> Result<Next, Refusal> {
        not_installing(now)?;
        if !self.close("The machine is about to be rebooted").await {
            return Err(session_open());
        }
        self.log_by("machine.reboot", by, json!({ "reason": reason })).await;
        let asked = async { Bus::open().await?.reboot().await }.await;
        asked.map_err(|error| {
            self.open();
            Refusal::new("reboot-refused", format!("The machine does not reboot: {error}."))
        })?;
        Ok(Next::Rebooting)
    }
}

fn other(now: &UpdateState) -> Refusal {
    let version = now.request.as_ref().map(|request| request.version.as_str()).unwrap_or_default();
    Refusal::new(
        "update-other",
        format!("Update {version} is under way. Cancel it first, or wait for its end."),
    )
}

fn session_open() -> Refusal {
    Refusal::new("session-open", "A session is open. Finish it first, then repeat this.")
}

fn not_installing(now: &UpdateState) -> Result<(), Refusal> {
    match now.phase {
        Phase::Installing { .. } => {
            Err(Refusal::new(UNDERWAY, "An update is being installed. Wait for its end."))
        }
        _ => Ok(()),
    }
}

fn by_bus(error: BusError) -> Refusal {
    match error {
        BusError::Nobody(_) => none(),
        error => Refusal::new("update-refused", format!("RAUC refused it: {error}.")),
    }
}
