//! Reboots: into a system that was installed, and back from one that does not work.

use serde_json::json;
use tokio::time::Instant;

use super::lock::Wait;
use super::rauc::{Bus, BusError};
use super::task::{LOOK, REBOOT_AGAIN, REFUSED_AGAIN, Work};
use super::{Before, Phase, Request, UpdateState};

/// Which system runs after an installation.
enum Runs {
    /// The one that was installed.
    New,
    /// The one before, because nothing was booted yet.
    Before,
    /// The one before, because the bootloader went back to it.
    Back,
}

impl Work {
    /// Reboots when it may; after the reboot finds out what was booted.
    pub(super) async fn reboot_into(&self, mut state: UpdateState, request: &Request) -> UpdateState {
        let before = state.before.clone().unwrap_or_default();
        match self.runs_at_last(&before).await {
            Ok(Runs::New) => {
                state.phase = Phase::Proving { attempts: 0 };
                self.keep(&state).await;
                return state;
            }
            Ok(Runs::Back) => {
                let reason = format!("the bootloader went back to {}", before.slot);
                return self.rolled_back(state, vec![reason]).await;
            }
            Ok(Runs::Before) => {}
            Err(error) => return self.fail(state, super::NONE, error.to_string()).await,
        }
        if !request.reboot {
            return std::future::pending().await;
        }
        loop {
            self.locked(&state, "The machine reboots into an update").await;
            self.log_for(&state, "machine.reboot", json!({ "reason": "update" })).await;
            let asked = async { Bus::open().await?.reboot().await }.await;
            let pause = self.after_asking(&state, asked);
            tokio::time::sleep(pause).await;
            self.open();
        }
    }

    /// How long to wait before the machine is asked again to reboot.
    fn after_asking(&self, state: &UpdateState, asked: Result<(), BusError>) -> std::time::Duration {
        let Err(error) = asked else { return REBOOT_AGAIN };
        tracing::error!(%error, "the machine does not reboot");
        self.open();
        self.tell_waiting(
            state,
            &Wait::new("reboot-refused", format!("The machine does not reboot: {error}.")),
        );
        REFUSED_AGAIN
    }

    /// Marks the running system as bad, so that the bootloader goes back, until the other one runs.
    pub(super) async fn back(&self, state: UpdateState) -> UpdateState {
        let before = state.before.clone().unwrap_or_default();
        let Phase::RolledBack { reasons, .. } = &state.phase else { return state };
        loop {
            // After a reboot RAUC may need a moment.
            if let Ok(Runs::Before | Runs::Back) = self.runs(&before).await {
                return self.rolled_back(state.clone(), reasons.clone()).await;
            }
            let mut pause = LOOK;
            if self.close("The system before is about to be booted").await {
                let asked = async {
                    let mut bus = Bus::open().await?;
                    match before.target.as_str() {
                        "" => bus.mark("active", &before.slot).await?,
                        _ => bus.mark("bad", "booted").await?,
                    }
                    bus.reboot().await
                };
                pause = self.after_asking(&state, asked.await);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn rolled_back(&self, mut state: UpdateState, reasons: Vec<String>) -> UpdateState {
        tracing::error!(?reasons, "the update was rolled back");
        self.log_for(&state, "update.rolled-back", json!({ "reasons": reasons })).await;
        state.phase = Phase::RolledBack { reasons, pending: false };
        self.keep(&state).await;
        if let Err(error) = self.see_slots().await {
            tracing::warn!(%error, "the system's slots cannot be read");
        }
        state
    }

    /// Which system runs; asked again for as long as a proof may take, because RAUC may start after this program.
    async fn runs_at_last(&self, before: &Before) -> Result<Runs, BusError> {
        let end = Instant::now() + self.proof_limit();
        loop {
            match self.runs(before).await {
                Err(_) if Instant::now() < end => tokio::time::sleep(LOOK).await,
                runs => return runs,
            }
        }
    }

    async fn runs(&self, before: &Before) -> Result<Runs, BusError> {
        let mut bus = Bus::open().await?;
        let versions = bus.versions().await?;
        self.versions.send_replace(versions.clone());
        if versions.slots.iter().any(|slot| slot.is_booted() && slot.name != before.slot) {
            return Ok(Runs::New);
        }
        let rebooted = self.needs.clock.now().boot_id != before.boot_id;
        // A bootloader that has given up the new one would boot this one again.
        if rebooted || bus.primary().await? == before.slot { Ok(Runs::Back) } else { Ok(Runs::Before) }
    }
}
