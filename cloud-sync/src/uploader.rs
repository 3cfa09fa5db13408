//! Delivers what is queued and keeps what the destinations said.
//!
//! Woken by the spool, by the earliest retry time and by the network coming up. A delivery is `Begin`, the backend's
//! work, then `Confirm`, `Later` or `Park`, each durable with its event; a crash in between costs one repetition.
//! Every destination has its own lanes, so a slow or missing one holds up nobody else, and while one is offline only
//! a cheap probe goes out: waiting writes nothing and counts no attempt.

mod lanes;
mod outcome;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Delivery, Payload, PutError, Receipt, Unit};
use crate::backoff::Backoff;
use crate::event::NewEvent;
use crate::queue::{Change, Failure, Key, Record};
use crate::spool::{Commit, Spool, SpoolError};
use crate::{Clock, Stamp};

use lanes::Lanes;
use work::{Asked, Work};

/// Look at the queue at least this often: the clock may have been suspended.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How hard to try.
#[derive(Debug, Clone, PartialEq)]
pub struct UploaderOptions {
    /// The organisation that this station belongs to now; records of another one are never delivered (V-13).
    pub org: String,
    /// Attempts while online before a record is parked (V-5).
    pub attempts_max: u32,
    /// Deliveries under way at once, for each destination.
    pub parallel: usize,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// How often an offline destination is asked whether it is back.
    pub probe: Duration,
    /// Makes the waits repeatable.
    pub seed: Option<u64>,
}

impl Default for UploaderOptions {
    fn default() -> Self {
        Self {
            org: String::new(),
            attempts_max: 5,
            parallel: 2,
            backoff: Backoff::default(),
            probe: Duration::from_secs(5),
            seed: None,
        }
    }
}

/// Tells the uploader that the network, a stick or a server came back: waits end, what ran out of attempts is tried
/// again (K5).
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Try everything now.
    pub fn reconnected(&self) {
        self.0.notify_one();
    }
}

/// See the module.
pub struct Uploader {
    spool: Spool,
    clock: Arc<dyn Clock>,
    options: UploaderOptions,
    wake: Wake,
    rng: fastrand::Rng,
    destinations: BTreeMap<String, Destination>,
    lanes: Lanes,
    /// Organisations and destinations whose waiting records were told of.
    told: BTreeSet<String>,
}

struct Destination {
    backend: Arc<dyn Backend>,
    reach: Reach,
}

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
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

/// What a lane did.
enum Done {
    Asked { destination: String, answer: Result<(), PutError> },
    Delivered { destination: String, records: Vec<Record>, answer: Result<Vec<Receipt>, PutError> },
}

impl Uploader {
    /// Delivers from `spool` to `backends`; of two with one name the later counts.
    pub fn new(
        spool: Spool,
        backends: Vec<Arc<dyn Backend>>,
        clock: Arc<dyn Clock>,
        options: UploaderOptions,
    ) -> Self {
        let destination = |backend: Arc<dyn Backend>| {
            (backend.name().to_owned(), Destination { backend, reach: Reach::Online })
        };
        Self {
            spool,
            clock,
            wake: Wake::default(),
            rng: options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            options,
            destinations: backends.into_iter().map(destination).collect(),
            lanes: Lanes::default(),
            told: BTreeSet::new(),
        }
    }

    /// A handle that stays good while the uploader runs.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Runs until cancelled; what is under way then falls back to `queued`. Ends early only when the spool fails.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), SpoolError> {
        let mut changed = self.spool.changed();
        let wake = self.wake.clone();
        self.recover().await?;
        loop {
            // Seen before the queue is read, so that nothing falls between.
            changed.mark_unchanged();
            let pause = self.start_work().await?;
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                done = self.lanes.next() => self.finish(done).await?,
                () = wake.0.notified() => self.reconnected().await?,
                event = changed.changed() => event.map_err(|_| SpoolError::Closed)?,
                () = tokio::time::sleep(pause) => {}
            }
        }
        drop(std::mem::take(&mut self.lanes));
        self.recover().await
    }

    /// Whatever is `uploading` now is nobody's work.
    async fn recover(&mut self) -> Result<(), SpoolError> {
        let keys = self.spool.uploading().await?;
        let changes = keys.into_iter().map(|key| (key, Change::Recover)).collect();
        self.spool.commit(Commit { changes, ..Commit::default() }).await.map(drop)
    }

    /// Fills the free lanes; gives how long to wait when nothing happens.
    async fn start_work(&mut self) -> Result<Duration, SpoolError> {
        let now = self.clock.now();
        let mut pause_ms = u64::try_from(PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
        for (name, destination) in &mut self.destinations {
            let Reach::Offline { probe_at_ms } = destination.reach else { continue };
            if probe_at_ms > now.boottime_ms {
                pause_ms = pause_ms.min(probe_at_ms - now.boottime_ms);
                continue;
            }
            destination.reach = Reach::Asked;
            let (backend, name) = (Arc::clone(&destination.backend), name.clone());
            self.lanes.push(&name.clone(), async move {
                Done::Asked { destination: name, answer: backend.ready().await }
            });
        }
        let asked = Asked {
            org: self.options.org.clone(),
            room: self
                .destinations
                .iter()
                .map(|(name, one)| (name.clone(), self.room(name, one.reach)))
                .collect(),
            now,
        };
        let work = self.spool.work(asked).await?;
        self.tell(&work).await?;
        pause_ms = work.wait_ms.map_or(pause_ms, |wait_ms| pause_ms.min(wait_ms.max(1)));
        for record in work.records {
            self.start(record).await?;
        }
        Ok(Duration::from_millis(pause_ms))
    }

    /// Free lanes.
    fn room(&self, destination: &str, reach: Reach) -> usize {
        let lanes = match reach {
            Reach::Online => self.options.parallel.max(1),
            Reach::Hopeful => 1,
            Reach::Offline { .. } | Reach::Asked => 0,
        };
        lanes.saturating_sub(self.lanes.under_way(destination))
    }

    /// Records that wait for something that nobody here can do are told of once.
    async fn tell(&mut self, work: &Work) -> Result<(), SpoolError> {
        let strangers = work.unknown.iter().map(|name| ("upload.no-destination", "destination", name));
        let foreign = work.foreign.iter().map(|org| ("upload.foreign-org", "org", org));
        let mut events = Vec::new();
        for (kind, what, name) in strangers.chain(foreign) {
            if self.told.insert(format!("{kind} {name}")) {
                tracing::warn!(kind, %name, "records wait that are not delivered from here");
                events.push(station_event(kind, None, json!({what: name})));
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        self.spool.commit(Commit { events, ..Commit::default() }).await.map(drop)
    }

    async fn start(&mut self, record: Record) -> Result<(), SpoolError> {
        let name = record.key.destination.clone();
        let Some(backend) = self.destinations.get(&name).map(|one| Arc::clone(&one.backend)) else {
            return Ok(());
        };
        let records = match backend.wants().unit {
            Unit::File => vec![record],
            Unit::Session => self.session_of(record).await?,
        };
        let mut files = Vec::new();
        for record in records {
            let unfit = outcome::unfit(&record, backend.wants());
            match unfit.map_or_else(|| self.local(&record), Err) {
                Ok(payload) => files.push((record, payload)),
                Err(failure) => self.settle(&record, Verdict::Unfit(failure)).await?,
            }
        }
        let changes = files.iter().map(|(record, _)| (record.key.clone(), Change::Begin)).collect();
        if files.is_empty() || !self.write(changes, Vec::new()).await? {
            return Ok(());
        }
        self.lanes.push(&name.clone(), async move {
            let delivery = Delivery { files };
            let answer = backend.deliver(&delivery).await;
            let records = delivery.files.into_iter().map(|(record, _)| record).collect();
            Done::Delivered { destination: name, records, answer }
        });
        Ok(())
    }

    /// Everything of the record's session that waits for the same destination.
    async fn session_of(&mut self, record: Record) -> Result<Vec<Record>, SpoolError> {
        let (destination, now) = (&record.key.destination, self.clock.now());
        let mut records = self.spool.session_records(&record.facts.session).await?;
        records.retain(|one| {
            one.key.destination == *destination && one.facts.org == self.options.org && one.due(&now)
        });
        Ok(records)
    }

    fn local(&self, record: &Record) -> Result<Payload, Failure> {
        let damaged = |reason: String| Failure { rule: "media-damaged".to_owned(), reason };
        let payload = self.spool.payload(record).map_err(|error| damaged(error.to_string()))?;
        if let Payload::File(path) = &payload {
            let length = std::fs::metadata(path).map(|file| file.len());
            if !length.as_ref().is_ok_and(|length| *length == record.length) {
                let found = length.map_or_else(|error| error.to_string(), |length| format!("{length} bytes"));
                return Err(damaged(format!(
                    "{}: {found}, not {} bytes: shoot it again",
                    path.display(),
                    record.length
                )));
            }
        }
        Ok(payload)
    }

    async fn finish(&mut self, done: Done) -> Result<(), SpoolError> {
        match done {
            Done::Asked { destination, answer } => {
                let reach = match answer {
                    Err(PutError::Offline { .. }) => self.offline(),
                    // Whatever else is wrong, a delivery will say it and be counted.
                    _ => Reach::Hopeful,
                };
                self.set_reach(&destination, reach);
                Ok(())
            }
            Done::Delivered { destination, records, answer } => {
                self.learn(&destination, &answer).await?;
                for (record, verdict) in outcome::verdicts(&self.spool, records, answer).await {
                    self.settle(&record, verdict).await?;
                }
                Ok(())
            }
        }
    }

    fn offline(&self) -> Reach {
        let probe_ms = u64::try_from(self.options.probe.as_millis()).unwrap_or(u64::MAX);
        Reach::Offline { probe_at_ms: self.clock.now().boottime_ms.saturating_add(probe_ms) }
    }

    fn set_reach(&mut self, destination: &str, reach: Reach) -> Option<Reach> {
        let destination = self.destinations.get_mut(destination)?;
        Some(std::mem::replace(&mut destination.reach, reach))
    }

    /// Notes whether the destination is there; tells of a change only.
    async fn learn(
        &mut self,
        destination: &str,
        answer: &Result<Vec<Receipt>, PutError>,
    ) -> Result<(), SpoolError> {
        let (reach, event) = match answer {
            Err(PutError::Offline { rule, reason }) => {
                let data = json!({"destination": destination, "rule": rule, "reason": reason});
                (self.offline(), station_event("destination.offline", None, data))
            }
            _ => (
                Reach::Online,
                station_event("destination.online", None, json!({"destination": destination})),
            ),
        };
        let before = self.set_reach(destination, reach);
        if (before == Some(Reach::Online)) == (reach == Reach::Online) {
            return Ok(());
        }
        self.write(Vec::new(), vec![event]).await?;
        match reach {
            Reach::Online => self.requeue(Some(destination)).await,
            _ => Ok(()),
        }
    }

    async fn reconnected(&mut self) -> Result<(), SpoolError> {
        for destination in self.destinations.values_mut() {
            if matches!(destination.reach, Reach::Offline { .. }) {
                destination.reach = Reach::Hopeful;
            }
        }
        self.requeue(None).await
    }

    /// Ends the waits and gives what ran out of attempts new ones.
    async fn requeue(&mut self, destination: Option<&str>) -> Result<(), SpoolError> {
        let keys = self.spool.retriable(self.options.attempts_max, destination.map(str::to_owned)).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let data = json!({"records": keys.len(), "destination": destination});
        let changes = keys.into_iter().map(|key| (key, Change::Requeue)).collect();
        self.write(changes, vec![station_event("upload.requeued", None, data)]).await.map(drop)
    }

    async fn settle(&mut self, record: &Record, verdict: Verdict) -> Result<(), SpoolError> {
        let now = self.clock.now();
        let online_attempts = record.attempts.saturating_add(1);
        let (change, event) = match verdict {
            Verdict::Confirmed(receipt) => {
                let data =
                    json!({"proof": receipt.proof, "location": receipt.location, "sha256": receipt.sha256});
                (Change::Confirm(receipt, now), about(record, "frame.confirmed", data))
            }
            Verdict::Offline(failure) => {
                let data = json!({"rule": failure.rule, "reason": failure.reason, "counted": false});
                let event = about(record, "upload.later", data);
                // Due as soon as the destination is back.
                (Change::Later { at: now, failure, counted: false }, event)
            }
            Verdict::Later { failure, after } if online_attempts < self.options.attempts_max => {
                let wait = self.options.backoff.delay(online_attempts, &mut self.rng);
                let wait = after.map_or(wait, |after| wait.max(after));
                let data = json!({
                    "rule": failure.rule, "reason": failure.reason, "counted": true,
                    "attempts": online_attempts, "wait_ms": wait.as_millis() as u64,
                });
                let event = about(record, "upload.later", data);
                (Change::Later { at: later(now, wait), failure, counted: true }, event)
            }
            Verdict::Later { failure, .. } | Verdict::Never(failure) => {
                park(record, failure, online_attempts)
            }
            Verdict::Unfit(failure) => park(record, failure, record.attempts),
        };
        self.write(vec![(record.key.clone(), change)], vec![event]).await.map(drop)
    }

    /// False when a record was changed by someone else in the meantime: then it is not ours to change.
    async fn write(
        &mut self,
        changes: Vec<(Key, Change)>,
        events: Vec<NewEvent>,
    ) -> Result<bool, SpoolError> {
        match self.spool.commit(Commit { changes, events, ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(error @ (SpoolError::Refused(_) | SpoolError::Unknown { .. })) => {
                tracing::warn!(%error, "a record changed while it was being delivered");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// What becomes of a record.
enum Verdict {
    Confirmed(Receipt),
    Offline(Failure),
    Later {
        failure: Failure,
        after: Option<Duration>,
    },
    Never(Failure),
    /// Never, and it was not even tried.
    Unfit(Failure),
}

fn park(record: &Record, failure: Failure, attempts: u32) -> (Change, NewEvent) {
    let data = json!({"rule": failure.rule, "reason": failure.reason, "attempts": attempts});
    let event = about(record, "frame.failed", data);
    (Change::Park(failure), event)
}

fn later(now: Stamp, wait: Duration) -> Stamp {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Stamp {
        wall_ms: now.wall_ms.saturating_add_unsigned(wait_ms),
        boottime_ms: now.boottime_ms.saturating_add(wait_ms),
        ..now
    }
}

fn station_event(kind: &str, session: Option<String>, data: serde_json::Value) -> NewEvent {
    NewEvent { kind: kind.to_owned(), actor: "station".to_owned(), session, data }
}

fn about(record: &Record, kind: &str, mut data: serde_json::Value) -> NewEvent {
    data["sequence"] = json!(record.key.sequence);
    data["product"] = json!(record.key.product);
    data["destination"] = json!(record.key.destination);
    data["trace_id"] = json!(record.facts.trace_id);
    station_event(kind, Some(record.facts.session.clone()), data)
}

#[cfg(test)]
mod tests;
