//! Delivers what is queued and keeps what the destinations said.
//!
//! Woken by the spool, by the earliest retry time and by the network coming up. A delivery is `Begin`, the backend's
//! work, then `Confirm`, `Later` or `Park`, each durable with its event; a crash in between costs one repetition.
//! Every destination has its own lanes, so a slow or missing one holds up nobody else, and while one is offline only
//! a cheap probe goes out: waiting writes nothing and counts no attempt.

mod cursor;
mod destination;
mod lanes;
mod outcome;
mod sent;
mod settle;
mod upkeep;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::backend::{Backend, Payload, PutError, Receipt, Unit};
use crate::backoff::Backoff;
use crate::derivative::Derive;
use crate::event::NewEvent;
use crate::meter::Meter;
use crate::queue::{Change, Failure, Key, Record};
use crate::spool::{Commit, Spool, SpoolError};

use destination::{Destination, Reach};
use lanes::Lanes;
use sent::Sent;
use settle::{Verdict, station_event};
use upkeep::Told;
use work::{Asked, Work};

pub use destination::DestinationState;

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
    /// What went over the network today; without one nothing is limited.
    meter: Option<Meter>,
    states: watch::Sender<Vec<DestinationState>>,
}

/// What a lane did.
enum Done {
    Asked { destination: String, answer: Result<(), PutError> },
    Tended { destination: String },
    Told { destination: String, outcome: Result<Told, SpoolError> },
    Delivered { destination: String, sent: Vec<Sent>, answer: Result<Vec<Receipt>, PutError> },
}

impl Uploader {
    /// Delivers from `spool` to `backends`; of two with one name the later counts.
    pub fn new(
        spool: Spool,
        backends: Vec<Arc<dyn Backend>>,
        clock: Arc<dyn Clock>,
        options: UploaderOptions,
    ) -> Self {
        let newest = *spool.changed().borrow();
        let named =
            |backend: Arc<dyn Backend>| (backend.name().to_owned(), Destination::new(backend, newest));
        let destinations: BTreeMap<_, _> = backends.into_iter().map(named).collect();
        let states = destinations.iter().map(|(name, one)| one.state(name, 0, None)).collect();
        Self {
            spool,
            clock,
            wake: Wake::default(),
            rng: options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            options,
            destinations,
            lanes: Lanes::default(),
            told: BTreeSet::new(),
            meter: None,
            states: watch::Sender::new(states),
        }
    }

    /// With what is made of pictures for some of the destinations, by their names; the others get what is stored.
    pub fn deriving(mut self, derive: BTreeMap<String, Derive>) -> Self {
        for (name, derive) in derive {
            if let Some(one) = self.destinations.get_mut(&name) {
                one.derive = Some(derive);
            }
        }
        self
    }

    /// Held to the budget of a metered link: while that is used up nothing begins to go over the network, what is under
    /// way ends, and what is small (tokens, events) goes on.
    pub fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// A handle that stays good while the uploader runs.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Follows what is known of each destination, in the order of their names.
    pub fn states(&self) -> watch::Receiver<Vec<DestinationState>> {
        self.states.subscribe()
    }

    /// Runs until cancelled; what is under way then falls back to `queued`. Ends early only when the spool fails.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), SpoolError> {
        let mut changed = self.spool.changed();
        let wake = self.wake.clone();
        self.recover().await?;
        self.read_cursors().await;
        loop {
            // Seen before the queue is read, so that nothing falls between.
            changed.mark_unchanged();
            let pause = self.start_work().await?;
            self.show();
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

    fn show(&self) {
        let spent = self.meter.as_ref().and_then(Meter::spent);
        let state = |(name, one): (&String, &Destination)| {
            let spent = spent.clone().filter(|_| one.backend.crosses_network());
            one.state(name, self.lanes.under_way(name), spent)
        };
        let states: Vec<_> = self.destinations.iter().map(state).collect();
        self.states.send_if_modified(|shown| {
            let news = *shown != states;
            *shown = states;
            news
        });
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
        let pause_ms = u64::try_from(PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
        let mut pause_ms = self.start_upkeep(now.boottime_ms).min(pause_ms);
        for (name, destination) in &mut self.destinations {
            let Reach::Offline { probe_at_ms } = destination.reach else { continue };
            if probe_at_ms > now.boottime_ms {
                pause_ms = pause_ms.min(probe_at_ms - now.boottime_ms);
                continue;
            }
            destination.reach = Reach::Asked;
            let (backend, name) = (Arc::clone(&destination.backend), name.clone());
            self.lanes
                .push_aside(async move { Done::Asked { destination: name, answer: backend.ready().await } });
        }
        let spent = self.meter.as_ref().is_some_and(|meter| meter.spent().is_some());
        let room = |(name, one): (&String, &Destination)| match spent && one.backend.crosses_network() {
            true => (name.clone(), 0),
            false => (name.clone(), self.room(name, one.reach)),
        };
        let room = self.destinations.iter().map(room).collect();
        let asked = Asked { org: self.options.org.clone(), room, now };
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
        let Some(one) = self.destinations.get(&name) else { return Ok(()) };
        let (backend, derive) = (Arc::clone(&one.backend), one.derive.clone());
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
            let (sent, answer) = sent::send(&*backend, derive, files).await;
            Done::Delivered { destination: name, sent, answer }
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
                let now_ms = self.clock.now().boottime_ms;
                if let Some(one) = self.destinations.get_mut(&destination) {
                    one.answered(answer, self.options.probe, now_ms);
                }
                Ok(())
            }
            Done::Tended { destination } => {
                self.tended(&destination);
                Ok(())
            }
            Done::Told { destination, outcome } => self.told(&destination, outcome),
            Done::Delivered { destination, sent, answer } => {
                self.learn(&destination, &answer).await?;
                for (record, verdict) in outcome::verdicts(&self.spool, sent, answer).await {
                    self.note(&destination, &verdict);
                    self.settle(&record, verdict).await?;
                }
                Ok(())
            }
        }
    }

    /// Remembers what people should know of a delivery that succeeded.
    fn note(&mut self, destination: &str, verdict: &Verdict) {
        if let (Verdict::Confirmed(_, Some(notice)), Some(one)) =
            (verdict, self.destinations.get_mut(destination))
        {
            one.note(notice.clone());
        }
    }

    /// Notes whether the destination is there; tells of a change only.
    async fn learn(
        &mut self,
        destination: &str,
        answer: &Result<Vec<Receipt>, PutError>,
    ) -> Result<(), SpoolError> {
        let now_ms = self.clock.now().boottime_ms;
        let Some(one) = self.destinations.get_mut(destination) else { return Ok(()) };
        let before = one.learn(answer.as_ref().err(), self.options.probe, now_ms);
        match (before == Reach::Online, answer) {
            (true, Err(error @ PutError::Offline { .. })) => {
                let Failure { rule, reason } = error.failure();
                let data = json!({"destination": destination, "rule": rule, "reason": reason});
                let event = station_event("destination.offline", None, data);
                self.write(Vec::new(), vec![event]).await.map(drop)
            }
            (false, Ok(_) | Err(PutError::Later { .. } | PutError::Never { .. })) => {
                let event = station_event("destination.online", None, json!({"destination": destination}));
                self.write(Vec::new(), vec![event]).await?;
                self.requeue(Some(destination)).await
            }
            _ => Ok(()),
        }
    }

    async fn reconnected(&mut self) -> Result<(), SpoolError> {
        self.destinations.values_mut().for_each(Destination::reconnected);
        self.requeue(None).await
    }

    /// Ends the waits and gives what ran out of attempts new ones.
    async fn requeue(&mut self, destination: Option<&str>) -> Result<(), SpoolError> {
        let (org, attempts_max) = (self.options.org.clone(), self.options.attempts_max);
        let keys = self.spool.retriable(org, attempts_max, destination.map(str::to_owned)).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let data = json!({"records": keys.len(), "destination": destination});
        let changes = keys.into_iter().map(|key| (key, Change::Requeue)).collect();
        self.write(changes, vec![station_event("upload.requeued", None, data)]).await.map(drop)
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

#[cfg(test)]
mod tests;
