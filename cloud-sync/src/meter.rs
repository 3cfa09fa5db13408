//! Bytes that this station sent and received today, and the budget of a link that is paid by the byte.
//!
//! A day is a local date where the clock can be trusted; else it is 24 hours of boot time, so that a station whose clock
//! is unset neither gets a new budget at each start nor waits for ever. What was counted survives a restart up to the
//! last [`Meter::save`].

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::backend::imaging360::{Body, HttpRequest, HttpResponse, Transport, TransportError};
use crate::queue::Failure;
use crate::{Clock, Stamp};

/// Rule by which large things wait for the next day.
pub const BUDGET: &str = "network-budget";
/// Version of the file.
const METER_SCHEMA: u32 = 1;
/// A day where no date is known.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What was counted on one day; also the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Version of the writer.
    pub schema: u32,
    /// Days since 1970-01-01 by the local calendar; `None` while no clock is known.
    pub day: Option<i64>,
    /// Boot in which the counting of a day without a date began.
    pub boot_id: String,
    /// When, in milliseconds since that boot.
    pub since_ms: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

impl Counted {
    /// Both ways together.
    pub fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    /// The same on `now`: another day begins at nothing.
    fn on(self, day: Option<i64>, now: &Stamp) -> Self {
        let same_boot = self.boot_id == now.boot_id;
        let over = match (self.day, day) {
            (Some(then), Some(day)) => then != day,
            // Nothing is known of the date: a new boot begins its 24 hours, and keeps what was counted.
            _ => same_boot && now.boottime_ms.saturating_sub(self.since_ms) >= DAY_MS,
        };
        let begun = Self {
            schema: METER_SCHEMA,
            day,
            boot_id: now.boot_id.clone(),
            since_ms: now.boottime_ms,
            sent: 0,
            received: 0,
        };
        match (over, same_boot) {
            (true, _) => begun,
            (false, true) => Self { day: day.or(self.day), ..self },
            (false, false) => {
                Self { day: day.or(self.day), sent: self.sent, received: self.received, ..begun }
            }
        }
    }
}

/// Counts for everybody who holds a clone.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    day: fn(&Stamp) -> Option<i64>,
    budget: Option<u64>,
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    counted: Counted,
    saved: Counted,
}

/// How a meter counts.
pub struct MeterOptions {
    /// Most bytes a day both ways together; none: counted only.
    pub budget: Option<u64>,
    /// The local date of a moment whose clock can be trusted.
    pub day: fn(&Stamp) -> Option<i64>,
    /// Where it is kept; nowhere in stations without a disk.
    pub path: Option<PathBuf>,
}

impl Meter {
    /// Goes on with what its file says; one that cannot be read is as none.
    pub fn new(options: MeterOptions, clock: Arc<dyn Clock>) -> Self {
        let MeterOptions { budget, day, path } = options;
        let kept = path.as_deref().and_then(read).unwrap_or_default();
        let now = clock.now();
        let state = State { counted: kept.clone().on(day(&now), &now), saved: kept };
        Self(Arc::new(Inner { clock, day, budget, path, state: Mutex::new(state) }))
    }

    /// Adds bytes that went over the network.
    pub fn count(&self, sent: u64, received: u64) {
        let mut state = self.today_now();
        state.counted.sent = state.counted.sent.saturating_add(sent);
        state.counted.received = state.counted.received.saturating_add(received);
    }

    /// What was counted today.
    pub fn today(&self) -> Counted {
        self.today_now().counted.clone()
    }

    /// Most bytes a day, on a metered link that has such a limit.
    pub fn budget(&self) -> Option<u64> {
        self.0.budget
    }

    /// Why large things wait for the next day, if so.
    pub fn spent(&self) -> Option<Failure> {
        let budget = self.0.budget?;
        let used = self.today_now().counted.bytes();
        (used >= budget).then(|| Failure {
            rule: BUDGET.to_owned(),
            reason: format!(
                "today's {budget} bytes of this metered link are used up ({used} went): it goes on tomorrow"
            ),
        })
    }

    /// Writes what was counted, if that is news. Blocks for a write to the disk.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let counted = self.today();
        if self.lock().saved == counted {
            return Ok(());
        }
        let part = path.with_extension("json.part");
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec(&counted)?)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        self.lock().saved = counted;
        Ok(())
    }

    fn today_now(&self) -> MutexGuard<'_, State> {
        let now = self.0.clock.now();
        let mut state = self.lock();
        state.counted = std::mem::take(&mut state.counted).on((self.0.day)(&now), &now);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Option<Counted> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        read => read,
    };
    let counted = bytes.and_then(|bytes| Ok(serde_json::from_slice::<Counted>(&bytes)?));
    match counted {
        Ok(counted) if counted.schema <= METER_SCHEMA => Some(counted),
        Ok(counted) => {
            tracing::warn!(
                schema = counted.schema,
                "today's traffic was counted by a newer program: begun anew"
            );
            None
        }
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "today's traffic cannot be read: begun anew");
            None
        }
    }
}

/// A transport whose bytes are counted: bodies and heads as they are written in HTTP/1.1, without what TLS adds.
pub struct Metered {
    transport: Arc<dyn Transport>,
    meter: Meter,
}

impl Metered {
    /// Counts what goes through `transport`.
    pub fn new(transport: Arc<dyn Transport>, meter: Meter) -> Self {
        Self { transport, meter }
    }
}

#[async_trait]
impl Transport for Metered {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let head: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let head = (head + request.url.len()) as u64;
        let body = match &request.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { length, .. } => *length,
        };
        let sent = Arc::clone(&request.sent);
        let answer = self.transport.send(request).await;
        match &answer {
            Ok(response) => {
                let back: usize =
                    response.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
                self.meter.count(head + body, (back + response.body.len()) as u64);
            }
            Err(TransportError::Interrupted(_)) => {
                self.meter.count(head + sent.load(std::sync::atomic::Ordering::Relaxed), 0);
            }
            Err(TransportError::Unreachable(_) | TransportError::LocalFile(_)) => {}
        }
        answer
    }

    fn reconnected(&self) {
        self.transport.reconnected();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockQuality;

    struct Hand(Mutex<Stamp>);

    impl Clock for Hand {
        fn now(&self) -> Stamp {
            self.0.lock().unwrap().clone()
        }
    }

    fn hand(quality: ClockQuality) -> Arc<Hand> {
        let at = Stamp { wall_ms: 0, quality, boottime_ms: 1000, boot_id: "boot-1".to_owned() };
        Arc::new(Hand(Mutex::new(at)))
    }

    fn utc_day(stamp: &Stamp) -> Option<i64> {
        (stamp.quality != ClockQuality::Unset).then(|| stamp.wall_ms.div_euclid(DAY_MS as i64))
    }

    fn meter(clock: &Arc<Hand>, path: Option<PathBuf>) -> Meter {
        Meter::new(MeterOptions { budget: Some(100), day: utc_day, path }, clock.clone())
    }

    #[test]
    fn a_budget_is_used_up_and_the_next_day_has_a_new_one() {
        let clock = hand(ClockQuality::Synced);
        let meter = meter(&clock, None);
        meter.count(60, 39);
        assert_eq!(meter.spent(), None);
        meter.count(0, 1);
        let failure = meter.spent().unwrap();
        assert_eq!(failure.rule, "network-budget");
        assert!(failure.reason.contains("100 bytes"), "{failure:?}");
        clock.0.lock().unwrap().wall_ms = DAY_MS as i64;
        assert_eq!(meter.spent(), None);
        assert_eq!(meter.today().bytes(), 0);
    }

    #[test]
    fn without_a_date_a_day_is_24_hours_of_boot_time_and_a_new_boot_keeps_the_count() {
        let clock = hand(ClockQuality::Unset);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traffic.json");
        let first = meter(&clock, Some(path.clone()));
        first.count(100, 0);
        first.save().unwrap();
        let reboot = Stamp { boottime_ms: 10, boot_id: "boot-2".to_owned(), ..clock.now() };
        *clock.0.lock().unwrap() = reboot;
        let second = meter(&clock, Some(path));
        assert_eq!(second.today().bytes(), 100);
        clock.0.lock().unwrap().boottime_ms = DAY_MS;
        assert!(second.spent().is_some(), "not a whole day since this boot");
        clock.0.lock().unwrap().boottime_ms = DAY_MS + 10;
        assert_eq!(second.spent(), None);
    }

    #[test]
    fn a_clock_that_is_set_later_keeps_what_was_counted_before() {
        let clock = hand(ClockQuality::Unset);
        let meter = meter(&clock, None);
        meter.count(50, 0);
        clock.0.lock().unwrap().quality = ClockQuality::Synced;
        assert_eq!(meter.today().bytes(), 50);
        assert_eq!(meter.today().day, Some(0));
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_of_a_newer_program_is_as_none() {
        let clock = hand(ClockQuality::Synced);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traffic.json");
        for text in
            ["{", "{\"schema\":2,\"day\":0,\"boot_id\":\"\",\"since_ms\":0,\"sent\":7,\"received\":0}"]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(meter(&clock, Some(path.clone())).today().bytes(), 0);
        }
        std::fs::write(
            &path,
            "{\"schema\":1,\"day\":0,\"boot_id\":\"\",\"since_ms\":0,\"sent\":7,\"received\":0,\"more\":1}",
        )
        .unwrap();
        assert_eq!(meter(&clock, Some(path)).today().bytes(), 7, "an old reader skips what it does not know");
    }
}
