//! What a destination gets besides deliveries: its upkeep, and events of the log. Neither takes a lane from a
//! delivery nor changes whether the destination counts as online.

use std::path::Path;
use std::sync::Arc;

use super::cursor::{self, Cursor};
use super::destination::Reach;
use super::{Done, Uploader};
use crate::backend::{Backend, PutError};
use crate::event::Event;
use crate::spool::{Spool, SpoolError};

/// How often [`Backend::tend`] is called, in milliseconds.
const TEND_EVERY_MS: u64 = 10 * 60_000;
/// Events told at once (V-6).
const TOLD_MAX: usize = 100;
/// Events looked at for that.
const LOOKED_AT_MAX: usize = 500;
/// Events that come shortly after each other go together; in milliseconds.
const GATHER_MS: u64 = 1_000;
/// Pause after a failure, in milliseconds.
const TELL_AGAIN_MS: u64 = 30_000;

/// Of one destination. Moments are boot milliseconds; `None` while one is under way.
pub(super) struct Upkeep {
    tend_at_ms: Option<u64>,
    tell_at_ms: Option<u64>,
    /// Sequence of the last event that needs not be told any more.
    told: u64,
}

/// How far the telling came.
pub(super) struct Told {
    through: u64,
    error: Option<PutError>,
}

impl Upkeep {
    pub fn new(newest: u64) -> Self {
        Self { tend_at_ms: Some(0), tell_at_ms: Some(0), told: newest }
    }

    /// Tells at once what waits.
    pub fn reconnected(&mut self) {
        self.tell_at_ms = self.tell_at_ms.map(|_| 0);
    }
}

/// Whether a destination is told of it: what people would ask the cloud about.
fn is_told(event: &Event) -> bool {
    let kind = event.kind.as_str();
    ["destination.", "session."].iter().any(|group| kind.starts_with(group))
        || matches!(kind, "frame.flagged" | "frame.failed")
}

impl Uploader {
    /// Where each destination stands in the log. A new one, or a new organisation's, begins at the end: what happened
    /// before is none of its business (V-13).
    pub(super) async fn read_cursors(&mut self) {
        if let Some(dir) = self.spool.dir().map(Path::to_owned) {
            let org = self.options.org.clone();
            match tokio::task::spawn_blocking(move || cursor::forget_others(&dir, &org)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "what former owners were told is still noted"),
                Err(error) => tracing::error!(%error, "forgetting what former owners were told failed"),
            }
        }
        for (name, one) in &mut self.destinations {
            let Some(dir) = self.spool.dir().map(Path::to_owned) else { continue };
            if !one.backend.takes_events() {
                continue;
            }
            let new = Cursor { org: self.options.org.clone(), told: one.upkeep.told };
            let name = name.clone();
            match tokio::task::spawn_blocking(move || cursor::open(&dir, &name, new)).await {
                Ok(Ok(told)) => one.upkeep.told = told,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "it is not known which events were told: only new ones will be");
                }
                Err(error) => tracing::error!(%error, "reading which events were told failed"),
            }
        }
    }

    /// Begins what is due; gives how long to wait for the next, in milliseconds.
    pub(super) fn start_upkeep(&mut self, now_ms: u64) -> u64 {
        let newest = *self.spool.changed().borrow();
        let mut pause_ms = TEND_EVERY_MS;
        for (name, one) in &mut self.destinations {
            let mut due = |at_ms: u64| match at_ms.saturating_sub(now_ms) {
                0 => true,
                wait_ms => {
                    pause_ms = pause_ms.min(wait_ms);
                    false
                }
            };
            if one.upkeep.tend_at_ms.is_some_and(&mut due) {
                one.upkeep.tend_at_ms = None;
                let (backend, destination) = (Arc::clone(&one.backend), name.clone());
                self.lanes.push_aside(async move {
                    backend.tend().await;
                    Done::Tended { destination }
                });
            }
            let waiting =
                one.backend.takes_events() && one.reach == Reach::Online && newest > one.upkeep.told;
            if waiting && one.upkeep.tell_at_ms.is_some_and(&mut due) {
                one.upkeep.tell_at_ms = None;
                let (spool, backend) = (self.spool.clone(), Arc::clone(&one.backend));
                let (destination, told, org) = (name.clone(), one.upkeep.told, self.options.org.clone());
                self.lanes.push_aside(async move {
                    let outcome = tell(&spool, &*backend, told, org).await;
                    Done::Told { destination, outcome }
                });
            }
        }
        pause_ms
    }

    pub(super) fn tended(&mut self, destination: &str) {
        let now_ms = self.clock.now().boottime_ms;
        if let Some(one) = self.destinations.get_mut(destination) {
            one.upkeep.tend_at_ms = Some(now_ms.saturating_add(TEND_EVERY_MS));
        }
    }

    pub(super) fn told(
        &mut self,
        destination: &str,
        outcome: Result<Told, SpoolError>,
    ) -> Result<(), SpoolError> {
        let now_ms = self.clock.now().boottime_ms;
        let Some(one) = self.destinations.get_mut(destination) else { return Ok(()) };
        let Told { through, error } = outcome?;
        one.upkeep.told = through;
        let pause_ms = match &error {
            None => GATHER_MS,
            Some(PutError::Later { after: Some(after), .. }) => {
                u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(TELL_AGAIN_MS)
            }
            Some(_) => TELL_AGAIN_MS,
        };
        one.upkeep.tell_at_ms = Some(now_ms.saturating_add(pause_ms));
        if let Some(error) = error {
            tracing::warn!(%destination, %error, "events were not taken");
        }
        Ok(())
    }
}

/// Tells the next events after `told`. A refusal for good skips them: one bad event must not hold up all later ones,
/// and the station's own log keeps it.
async fn tell(spool: &Spool, backend: &dyn Backend, told: u64, org: String) -> Result<Told, SpoolError> {
    let mut events = spool.events(told, LOOKED_AT_MAX).await?;
    let mut through = events.last().map_or(told, |event| event.sequence);
    events.retain(is_told);
    if events.is_empty() {
        return Ok(Told { through, error: None });
    }
    if events.len() > TOLD_MAX {
        events.truncate(TOLD_MAX);
        through = events.last().map_or(told, |event| event.sequence);
    }
    let error = backend.tell(&events).await.err();
    if matches!(error, Some(PutError::Offline { .. } | PutError::Later { .. })) {
        return Ok(Told { through: told, error });
    }
    if let Some(dir) = spool.dir().map(Path::to_owned) {
        let (name, cursor) = (backend.name().to_owned(), Cursor { org, told: through });
        let written = tokio::task::spawn_blocking(move || cursor::write(&dir, &name, &cursor)).await;
        let failed = |error: String| tracing::warn!(error, "told events will be told again after a restart");
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed(error.to_string()),
            Err(error) => failed(error.to_string()),
        }
    }
    Ok(Told { through, error })
}
