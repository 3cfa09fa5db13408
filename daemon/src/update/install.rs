//! From a request to a written slot: fetched, the lock waited for, handed to RAUC and followed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::lock::Wait;
use super::rauc::{Bus, BusError};
use super::task::{LOOK, Work};
use super::{Before, FetchError, Phase, Request, UpdateState, fetch, kept};

/// Longest pause between two tries to fetch.
const FETCH_AGAIN_MAX: Duration = Duration::from_secs(300);
/// How often an installation is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// An end that is told a moment after the work.
const LAST_WORD: Duration = Duration::from_secs(2);
/// So often RAUC may go away in an installation.
const LOST_MAX: u32 = 5;
/// Told of a fetch every so many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// Why a slot is not written.
enum NotWritten {
    /// RAUC went away: looked for again.
    Lost(String),
    /// It refused, or failed, in its words.
    Refused(String),
}

impl From<BusError> for NotWritten {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Nobody(why) => Self::Lost(why),
            BusError::Refused(why) | BusError::Unknown(why) => Self::Refused(why),
        }
    }
}

impl Work {
    /// Until the bundle is here and may be installed; no session can begin any more then.
    pub(super) async fn prepare(&self, mut state: UpdateState, request: &Request) -> UpdateState {
        let bundle = kept::bundle(&self.needs.data, &request.sha256);
        let mut pause = LOOK;
        while !bundle.exists() {
            if let Err(wait) = self.may_fetch(request).await {
                self.tell_waiting(&state, &wait);
                tokio::time::sleep(LOOK).await;
                continue;
            }
            state.phase = Phase::Fetching { bytes: 0, of: request.size_bytes };
            self.keep(&state).await;
            match self.fetch(&state, request, &bundle).await {
                Ok(()) => {
                    self.log_for(&state, "update.fetched", json!({ "sha256": request.sha256 })).await;
                }
                Err(FetchError::Never { rule, reason }) => {
                    self.forget_bundles().await;
                    return self.fail(state, &rule, reason).await;
                }
                Err(FetchError::Later { rule, reason }) => {
                    state.phase = Phase::waiting(&rule, reason);
                    self.keep(&state).await;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(FETCH_AGAIN_MAX);
                }
            }
        }
        state.phase = Phase::waiting("update-waits", "The update is fetched.");
        self.keep(&state).await;
        self.locked(&state, "An update is about to be installed").await;
        match self.before(request, &bundle).await {
            Ok(before) => state.before = Some(before),
            Err((rule, reason)) => {
                self.open();
                self.forget_bundles().await;
                return self.fail(state, rule, reason).await;
            }
        }
        state.phase = Phase::Installing { percent: 0, message: String::new() };
        if !self.keep(&state).await {
            // What is not on record might be installed twice.
            return self
                .fail(state, "storage-fault", "the disk does not store how far it is".to_owned())
                .await;
        }
        state
    }

    async fn may_fetch(&self, request: &Request) -> Result<(), Wait> {
        if self.is_held() {
            return Err(Wait::new(
                "update-held",
                "Updates of this station are held back until they are let go on.",
            ));
        }
        let spent = self.needs.meter.spent().filter(|_| fetch::local(&request.url).is_none());
        if let Some(spent) = spent {
            return Err(Wait::new(
                turnstage_cloud_sync::meter::BUDGET,
                format!("The update waits: {}", spent.reason),
            ));
        }
        let free = self.free_bytes();
        let needed = request.size_bytes.unwrap_or(1).saturating_add(self.needs.reserve_bytes);
        if free < needed {
            let reason = format!(
                "The update waits for room on the disk: {free} bytes are free, {needed} are needed with the reserve."
            );
            return Err(Wait::new("update-room", reason));
        }
        let (data, keep) = (self.needs.data.clone(), kept::bundle(&self.needs.data, &request.sha256));
        let tidied = tokio::task::spawn_blocking(move || kept::tidy(&data, Some(&keep))).await;
        match tidied {
            Ok(Err(error)) => Err(Wait::new("storage-fault", format!("The update cannot be kept: {error}."))),
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.needs.data);
        disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    async fn fetch(&self, state: &UpdateState, request: &Request, to: &Path) -> Result<(), FetchError> {
        let part = to.with_extension("raucb.part");
        let here = std::fs::metadata(part).map_or(0, |part| part.len());
        let bytes_max = request.size_bytes.unwrap_or_else(|| {
            here.saturating_add(self.free_bytes().saturating_sub(self.needs.reserve_bytes))
        });
        let (counted, told) = (AtomicU64::new(here), AtomicU64::new(0));
        let show = |bytes: u64| {
            if bytes >= told.load(Ordering::Relaxed) + TOLD_EVERY || Some(bytes) == request.size_bytes {
                told.store(bytes, Ordering::Relaxed);
                let phase = Phase::Fetching { bytes, of: request.size_bytes };
                self.show(&UpdateState { phase, ..state.clone() });
            }
        };
        if let Some(path) = fetch::local(&request.url) {
            return fetch::copy(path, to, request.sha256, bytes_max, &show).await;
        }
        let progress = |bytes: u64| {
            let before = counted.fetch_max(bytes, Ordering::Relaxed);
            self.needs.meter.count(0, bytes.saturating_sub(before));
            show(bytes);
        };
        let spent = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if let Some(spent) = self.needs.meter.spent() {
                    return spent;
                }
            }
        };
        tokio::select! {
            fetched = self.needs.fetch.fetch(&request.url, to, request.sha256, bytes_max, &progress) => fetched,
            spent = spent => Err(FetchError::Later { rule: spent.rule, reason: spent.reason }),
        }
    }

    /// What is so before anything is written, or the rule and words by which nothing will be.
    async fn before(&self, request: &Request, bundle: &Path) -> Result<Before, (&'static str, String)> {
        let refused = |error: BusError| ("update-bundle", error.to_string());
        let mut bus = Bus::open().await.map_err(refused)?;
        let versions = bus.versions().await.map_err(refused)?;
        self.versions.send_replace(versions.clone());
        let is = bus.inspect(&bundle.display().to_string()).await.map_err(refused)?;
        if let Some(is) = is.filter(|is| *is != request.version) {
            let reason = format!("the bundle holds version {is}, not {}", request.version);
            return Err(("update-version", reason));
        }
        let slot = versions.slots.iter().find(|slot| slot.is_booted());
        let target = versions.slots.iter().find(|slot| !slot.is_booted() && !slot.bootname.is_empty());
        let (Some(slot), Some(target)) = (slot, target) else {
            return Err(("update-slots", "RAUC knows no booted slot with another one beside it".to_owned()));
        };
        let status = self.status.borrow();
        let missing = status.cameras.iter().filter(|camera| camera.fault.is_some());
        Ok(Before {
            slot: slot.name.clone(),
            target: target.name.clone(),
            note: target.note.clone(),
            boot_id: self.needs.clock.now().boot_id,
            missing: missing.map(|camera| camera.name.clone()).collect(),
            table_missing: status.table.as_ref().is_some_and(|table| table.fault.is_some()),
        })
    }

    /// Writes the slot, or follows whoever writes it already.
    pub(super) async fn install(&self, mut state: UpdateState, request: &Request) -> UpdateState {
        let mut lost = 0;
        loop {
            match self.written(&state, request).await {
                Ok(()) => break,
                Err(NotWritten::Lost(why)) if lost < LOST_MAX => {
                    lost += 1;
                    tracing::warn!(why, "RAUC went away in the middle of an installation");
                    tokio::time::sleep(LOOK).await;
                }
                Err(NotWritten::Lost(words) | NotWritten::Refused(words)) => {
                    self.forget_bundles().await;
                    return self.fail(state, "update-install", words).await;
                }
            }
        }
        if let Err(error) = self.see_slots().await {
            tracing::warn!(%error, "the system's slots cannot be read");
        }
        self.log_for(&state, "update.installed", json!({ "before": state.before })).await;
        state.phase = Phase::RebootPending;
        self.keep(&state).await;
        self.forget_bundles().await;
        state
    }

    async fn written(&self, state: &UpdateState, request: &Request) -> Result<(), NotWritten> {
        let bundle = kept::bundle(&self.needs.data, &request.sha256).display().to_string();
        let mut bus = Bus::open().await?;
        let mut ends = bus.ends().await?;
        if !bus.progress().await?.installing {
            // A process before this one may have seen it begin.
            if self.is_written(&mut bus, state).await? {
                return Ok(());
            }
            bus.install(&bundle).await?;
        }
        loop {
            let mut end = bus.end(&mut ends, EVERY).await?;
            let progress = bus.progress().await?;
            let (percent, message) = (progress.percent, progress.message.clone());
            let phase = Phase::Installing { percent, message };
            self.show(&UpdateState { phase, ..state.clone() });
            if end.is_none() && !progress.installing {
                end = bus.end(&mut ends, LAST_WORD).await?;
            }
            match end {
                Some(0) => return Ok(()),
                None if progress.installing => {}
                // It ended before somebody listened.
                None if self.is_written(&mut bus, state).await? => return Ok(()),
                None | Some(_) => {
                    let last_error = bus.progress().await?.last_error;
                    let words =
                        if last_error.is_empty() { "RAUC gave no reason".to_owned() } else { last_error };
                    return Err(NotWritten::Refused(words));
                }
            }
        }
    }

    /// The other slot holds something new, and is the next to be booted.
    async fn is_written(&self, bus: &mut Bus, state: &UpdateState) -> Result<bool, BusError> {
        let Some(before) = &state.before else { return Ok(false) };
        let versions = bus.versions().await?;
        let is_new = versions.slots.iter().any(|slot| slot.name == before.target && slot.note != before.note);
        Ok(is_new && bus.primary().await? == before.target)
    }
}
