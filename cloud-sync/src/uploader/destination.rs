//! A destination as the uploader knows it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::upkeep::Upkeep;
use crate::backend::{Backend, PutError};
use crate::derivative::Derive;
use crate::queue::Failure;

/// Deliveries that were hoped for in vain are tried more and more rarely, down to this.
const HOPE_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What people see of a destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DestinationState {
    /// Name in the configuration.
    pub name: String,
    /// It takes deliveries, or nothing is known against it.
    pub online: bool,
    /// Why it is not online.
    pub failure: Option<Failure>,
    /// What should be seen to although deliveries go on.
    pub notices: Vec<Failure>,
    /// Deliveries under way.
    pub under_way: usize,
}

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Online,
    /// Ask again at this boot time, in ms.
    Offline {
        probe_at_ms: u64,
    },
    /// Being asked.
    Asked,
    /// It may be back: one delivery will show.
    Hopeful,
}

pub(super) struct Destination {
    pub backend: Arc<dyn Backend>,
    /// Makes what it is sent, where that is not what is stored.
    pub derive: Option<Derive>,
    /// Pictures since the start of which nothing could be made, and why of the last.
    as_stored: Option<(u64, Failure)>,
    pub reach: Reach,
    /// Why it was last found offline.
    failure: Option<Failure>,
    /// Deliveries in a row that were hoped for in vain.
    vain: u32,
    pub upkeep: Upkeep,
}

impl Destination {
    /// `newest` is the last event so far.
    pub fn new(backend: Arc<dyn Backend>, newest: u64) -> Self {
        Self {
            backend,
            derive: None,
            as_stored: None,
            reach: Reach::Online,
            failure: None,
            vain: 0,
            upkeep: Upkeep::new(newest),
        }
    }

    /// Takes in what a probe said, unless a delivery or the network knew better in the meantime.
    pub fn answered(&mut self, answer: Result<(), PutError>, probe: Duration, now_ms: u64) {
        if self.reach != Reach::Asked {
            return;
        }
        match answer {
            Err(error @ PutError::Offline { .. }) => self.wait(&error, probe, now_ms),
            // Whatever else is wrong, a delivery will say it and be counted.
            _ => self.reach = Reach::Hopeful,
        }
    }

    /// Takes in how a delivery went; gives the reach before.
    pub fn learn(&mut self, error: Option<&PutError>, probe: Duration, now_ms: u64) -> Reach {
        let before = self.reach;
        match error {
            Some(error @ PutError::Offline { .. }) if before == Reach::Hopeful => {
                // Asking is cheap, a delivery in vain costs writes: each one waits longer than the one before.
                self.vain = self.vain.saturating_add(1);
                let pause = probe.saturating_mul(1 << (self.vain - 1).min(8));
                self.wait(error, pause.min(HOPE_PAUSE_MAX).max(probe), now_ms);
            }
            Some(error @ PutError::Offline { .. }) => self.wait(error, probe, now_ms),
            _ => {
                self.vain = 0;
                self.reach = Reach::Online;
            }
        }
        before
    }

    /// A picture went as it is stored, for this reason.
    pub fn note(&mut self, notice: Failure) {
        let before = self.as_stored.take().map_or(0, |(count, _)| count);
        self.as_stored = Some((before + 1, notice));
    }

    fn notices(&self) -> Vec<Failure> {
        let mut notices = self.backend.notices();
        notices.extend(self.as_stored.as_ref().map(|(count, last)| Failure {
            rule: last.rule.clone(),
            reason: format!(
                "{count} since the start were delivered as they are stored; the last: {}",
                last.reason
            ),
        }));
        notices
    }

    fn wait(&mut self, error: &PutError, pause: Duration, now_ms: u64) {
        self.failure = Some(error.failure());
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.reach = Reach::Offline { probe_at_ms: now_ms.saturating_add(pause_ms) };
    }

    /// What kept it from being reached may be over.
    pub fn reconnected(&mut self) {
        self.backend.reconnected();
        self.upkeep.reconnected();
        self.vain = 0;
        if self.reach != Reach::Online {
            self.reach = Reach::Hopeful;
        }
    }

    /// `spent`: why nothing goes there today, although it may be there.
    pub fn state(&self, name: &str, under_way: usize, spent: Option<Failure>) -> DestinationState {
        let reached = matches!(self.reach, Reach::Online | Reach::Hopeful);
        let online = reached && spent.is_none();
        DestinationState {
            name: name.to_owned(),
            online,
            failure: self.failure.clone().filter(|_| !reached).or(spent),
            notices: self.notices(),
            under_way,
        }
    }
}
