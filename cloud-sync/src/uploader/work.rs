//! What the uploader asks the spool, beyond what everyone may.

use std::collections::{BTreeMap, BTreeSet};

use crate::Stamp;
use crate::queue::{Key, Record, State};
use crate::spool::{Spool, SpoolError};
use crate::store::Scope;

/// Which records may start now.
pub(super) struct Asked {
    pub org: String,
    /// Free lanes of every destination.
    pub room: BTreeMap<String, usize>,
    pub now: Stamp,
}

#[derive(Default)]
pub(super) struct Work {
    /// May start now, in sequence order.
    pub records: Vec<Record>,
    /// Until the next one may, of destinations with room.
    pub wait_ms: Option<u64>,
    /// Destinations that records wait for and nobody configured.
    pub unknown: BTreeSet<String>,
    /// Organisations of records that are not ours to send.
    pub foreign: BTreeSet<String>,
}

impl Spool {
    pub(super) async fn work(&self, mut asked: Asked) -> Result<Work, SpoolError> {
        self.ask(move |keeper| {
            let mut work = Work::default();
            let queued = keeper.mirror.waiting.iter().filter(|(_, waiting)| waiting.state == State::Queued);
            for (key, waiting) in queued {
                if waiting.org != asked.org {
                    work.foreign.insert(waiting.org.clone());
                    continue;
                }
                let Some(room) = asked.room.get_mut(&key.destination) else {
                    work.unknown.insert(key.destination.clone());
                    continue;
                };
                if *room == 0 {
                    continue;
                }
                match waiting.wait_ms(&asked.now) {
                    0 => {
                        *room -= 1;
                        work.records.extend(keeper.store.record(key)?);
                    }
                    wait_ms => work.wait_ms = Some(work.wait_ms.map_or(wait_ms, |least| least.min(wait_ms))),
                }
            }
            Ok(work)
        })
        .await
    }

    pub(super) async fn uploading(&self) -> Result<Vec<Key>, SpoolError> {
        self.ask(|keeper| {
            let waiting = keeper.mirror.waiting.iter();
            let uploading = waiting.filter(|(_, waiting)| waiting.state == State::Uploading);
            Ok(uploading.map(|(key, _)| key.clone()).collect())
        })
        .await
    }

    /// What a reconnect gives another chance: queued records of `org` that wait for a moment or have used attempts, and
    /// failed ones that ran out of attempts.
    pub(super) async fn retriable(
        &self,
        org: String,
        attempts_max: u32,
        destination: Option<String>,
    ) -> Result<Vec<Key>, SpoolError> {
        self.ask(move |keeper| {
            let meant = |key: &Key| destination.as_ref().is_none_or(|name| *name == key.destination);
            let waiting = keeper.mirror.waiting.iter().filter(|(key, waiting)| {
                meant(key)
                    && waiting.org == org
                    && waiting.state == State::Queued
                    && (waiting.next_attempt.is_some() || waiting.attempts > 0)
            });
            let mut keys: Vec<Key> = waiting.map(|(key, _)| key.clone()).collect();
            if keeper.mirror.counts(Some(&org)).failed > 0 {
                keeper.store.scan(Scope::All, &mut |record| {
                    let exhausted =
                        record.state == State::Failed && !record.for_good && record.attempts >= attempts_max;
                    if exhausted && record.facts.org == org && meant(&record.key) {
                        keys.push(record.key);
                    }
                    true
                })?;
            }
            Ok(keys)
        })
        .await
    }
}
