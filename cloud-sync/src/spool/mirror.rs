//! What uploader, panel and disk guard ask for all the time, kept in memory beside the index: counts, the place and time
//! of every record that waits or is under way, and which media are here. A few hundred bytes each; rebuilt on opening.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Spool, SpoolError};
use crate::Stamp;
use crate::queue::{Key, Record, State, passed};

/// How many records stand where.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Durable, not released; without superseded ones.
    pub captured: u64,
    /// To be delivered.
    pub queued: u64,
    /// Being delivered.
    pub uploading: u64,
    /// Delivered, with proof.
    pub confirmed: u64,
    /// Parked.
    pub failed: u64,
    /// Captured, and a retake took their place.
    pub superseded: u64,
    /// Bytes of media on this station, whoever owns them, each file once.
    pub bytes: u64,
    /// When the oldest record that waits for delivery was captured.
    pub oldest_queued: Option<Stamp>,
}

/// A record on its way: queued or uploading.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub state: State,
    pub org: String,
    pub captured_at: Stamp,
    pub next_attempt: Option<Stamp>,
    pub attempts: u32,
}

impl Waiting {
    /// Milliseconds until it may be tried; 0 = now.
    pub fn wait_ms(&self, now: &Stamp) -> u64 {
        match &self.next_attempt {
            Some(at) if !passed(at, now) => at.boottime_ms - now.boottime_ms,
            _ => 0,
        }
    }
}

/// A media file that is here.
#[derive(Debug, Default)]
pub(crate) struct Media {
    pub length: u64,
    /// Records that promise it.
    records: u32,
    confirmed: u32,
    /// The newest confirmation.
    pub confirmed_at: Option<Stamp>,
}

impl Media {
    /// Every destination has it.
    pub fn delivered(&self) -> bool {
        self.confirmed == self.records
    }
}

#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// By organisation: one must not see how much another one left here.
    counts: BTreeMap<String, Counts>,
    bytes: u64,
    pub waiting: BTreeMap<Key, Waiting>,
    /// Records that were let go and are not proven, by organisation and session.
    undelivered: BTreeMap<(String, String), u32>,
    /// Media that are here, by sequence.
    pub media: BTreeMap<u64, Media>,
    /// Records at each sequence that are not proven, by organisation and state: the lowest is the oldest.
    unproven: BTreeMap<(String, State), BTreeMap<u64, u32>>,
}

impl Mirror {
    /// Notes that a record changed, appeared or was read for the first time.
    pub fn replace(&mut self, before: Option<&Record>, after: &Record) {
        if let Some(before) = before {
            *self.count(before) -= 1;
            self.forget_media(before);
            self.note_undelivered(before, -1);
            self.note_unproven(before, -1);
        }
        *self.count(after) += 1;
        self.note_media(after);
        self.note_undelivered(after, 1);
        self.note_unproven(after, 1);
        if !matches!(after.state, State::Queued | State::Uploading) {
            self.waiting.remove(&after.key);
            return;
        }
        let waiting = Waiting {
            state: after.state,
            org: after.facts.org.clone(),
            captured_at: after.captured_at.clone(),
            next_attempt: after.next_attempt.clone(),
            attempts: after.attempts,
        };
        self.waiting.insert(after.key.clone(), waiting);
    }

    /// Of one organisation, or of all.
    pub fn counts(&self, org: Option<&str>) -> Counts {
        let meant = |owner: &str| org.is_none_or(|org| org == owner);
        let oldest = self.waiting.values().find(|waiting| meant(&waiting.org));
        let mut counts = Counts {
            bytes: self.bytes,
            oldest_queued: oldest.map(|waiting| waiting.captured_at.clone()),
            ..Counts::default()
        };
        for (_, one) in self.counts.iter().filter(|(owner, _)| meant(owner)) {
            counts.captured += one.captured;
            counts.queued += one.queued;
            counts.uploading += one.uploading;
            counts.confirmed += one.confirmed;
            counts.failed += one.failed;
            counts.superseded += one.superseded;
        }
        counts
    }

    /// Sessions of one organisation with records that were let go and are not proven, in id order.
    pub fn undelivered(&self, org: &str) -> Vec<String> {
        let of_org = self.undelivered.range((org.to_owned(), String::new())..);
        of_org.take_while(|((owner, _), _)| owner == org).map(|((_, session), _)| session.clone()).collect()
    }

    /// Sequence of the oldest record of one organisation in each state but `confirmed`; superseded ones do not count.
    pub fn oldest(&self, org: &str) -> BTreeMap<State, u64> {
        let mine = self.unproven.iter().filter(|((owner, _), _)| owner == org);
        mine.filter_map(|((_, state), sequences)| Some((*state, *sequences.keys().next()?))).collect()
    }

    fn note_unproven(&mut self, record: &Record, change: i32) {
        if record.state == State::Confirmed || record.superseded_by.is_some() {
            return;
        }
        let sequences = self.unproven.entry((record.facts.org.clone(), record.state)).or_default();
        let count = sequences.entry(record.key.sequence).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            sequences.remove(&record.key.sequence);
        }
    }

    fn note_undelivered(&mut self, record: &Record, change: i32) {
        if !matches!(record.state, State::Queued | State::Uploading | State::Failed) {
            return;
        }
        let key = (record.facts.org.clone(), record.facts.session.clone());
        let count = self.undelivered.entry(key.clone()).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.undelivered.remove(&key);
        }
    }

    fn count(&mut self, record: &Record) -> &mut u64 {
        let counts = self.counts.entry(record.facts.org.clone()).or_default();
        match record.state {
            State::Captured if record.superseded_by.is_some() => &mut counts.superseded,
            State::Captured => &mut counts.captured,
            State::Queued => &mut counts.queued,
            State::Uploading => &mut counts.uploading,
            State::Confirmed => &mut counts.confirmed,
            State::Failed => &mut counts.failed,
        }
    }

    fn note_media(&mut self, record: &Record) {
        if record.media.is_empty() {
            return;
        }
        let media = self.media.entry(record.key.sequence).or_default();
        media.records += 1;
        if media.records == 1 {
            media.length = record.length;
            self.bytes += record.length;
        }
        if record.state == State::Confirmed {
            media.confirmed += 1;
            media.confirmed_at.clone_from(&record.confirmed_at);
        }
    }

    fn forget_media(&mut self, record: &Record) {
        let Some(media) = self.media.get_mut(&record.key.sequence).filter(|_| !record.media.is_empty())
        else {
            return;
        };
        media.records -= 1;
        media.confirmed -= u32::from(record.state == State::Confirmed);
        if media.records == 0 {
            self.bytes -= media.length;
            self.media.remove(&record.key.sequence);
        }
    }
}

impl Spool {
    /// When the oldest record of one organisation in each state was captured; of none that is confirmed.
    pub async fn oldest_of(&self, org: &str) -> Result<BTreeMap<State, Stamp>, SpoolError> {
        let owner = org.to_owned();
        let sequences = self.ask(move |keeper| Ok(keeper.mirror.oldest(&owner))).await?;
        let mut oldest = BTreeMap::new();
        for (state, sequence) in sequences {
            let records = self.sequence_records(sequence).await?;
            if let Some(record) = records.into_iter().find(|record| record.facts.org == org) {
                oldest.insert(state, record.captured_at);
            }
        }
        Ok(oldest)
    }
}
