//! Scenario 3: seven days offline, three reboots, a clock that is wrong by years at each boot.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use turnstage::clock::SystemClock;
use turnstage::command::Act;
use turnstage_cloud_sync::backend::imaging360::{Imaging360, Imaging360Options};
use turnstage_cloud_sync::queue::{Proof, State};
use turnstage_cloud_sync::{Backend, Clock, ClockQuality, Record, Spool, Stamp};
use turnstage_tests::cloud::memory::MemoryCloud;
use turnstage_tests::cloud::transport::InMemory;
use turnstage_tests::cloud::{Asked, TOKEN_LIFE, paused_clock};
use turnstage_tests::{Bench, quick_rig, read, write_recipe};

/// 2026-12-01T08:00:00Z.
const START_MS: i64 = 1_796_112_000_000;
const DAY: Duration = Duration::from_secs(86_400);
const FRAMES: u32 = 6;
/// V-8.
const URL_LIFE_MS: i64 = 15 * 60 * 1000;

/// A clock that boots with any idea of the time, and then goes with tokio's.
struct BootClock(Mutex<Boot>);

struct Boot {
    number: u32,
    at: Instant,
    wall_ms: i64,
    quality: ClockQuality,
}

impl BootClock {
    fn boot(&self, wall_ms: i64, quality: ClockQuality) {
        let mut boot = self.0.lock().expect("nobody panics with it");
        *boot = Boot { number: boot.number + 1, at: Instant::now(), wall_ms, quality };
    }
}

impl Clock for BootClock {
    fn now(&self) -> Stamp {
        let boot = self.0.lock().expect("nobody panics with it");
        let since_ms = boot.at.elapsed().as_millis() as u64;
        Stamp {
            wall_ms: boot.wall_ms.saturating_add_unsigned(since_ms),
            quality: boot.quality,
            boottime_ms: 20_000 + since_ms,
            boot_id: format!("boot-{}", boot.number),
        }
    }
}

/// A station in memory that delivers to the cloud in memory.
struct Away {
    cloud: Arc<MemoryCloud>,
    clock: Arc<BootClock>,
    bench: Bench,
}

impl Away {
    fn new() -> Self {
        let cloud = Arc::new(MemoryCloud::new(paused_clock(START_MS)));
        let boot = Boot { number: 1, at: Instant::now(), wall_ms: START_MS, quality: ClockQuality::Synced };
        let clock = Arc::new(BootClock(Mutex::new(boot)));
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "turn6", FRAMES, "");
        let token = cloud.token("demo", &["booth"], START_MS / 1000, TOKEN_LIFE);
        std::fs::write(data.path().join("token"), token).expect("a token");
        let spool = Spool::in_memory(clock.clone());
        let bench = station(&cloud, &clock, spool, data);
        Self { cloud, clock, bench }
    }

    /// The station goes off and comes up with another idea of the time.
    async fn reboot(self, wall_ms: i64, quality: ClockQuality) -> Self {
        let Self { cloud, clock, bench: Bench { running, data } } = self;
        let spool = running.end().await;
        clock.boot(wall_ms, quality);
        let bench = station(&cloud, &clock, spool, data);
        Self { cloud, clock, bench }
    }

    async fn shoot_and_release(&self) -> String {
        let id = self.bench.start("turn6").await;
        self.bench.settled(&id).await;
        self.bench.ask(Act::Release { accept: None }).await.expect("released");
        id
    }

    async fn states(&self, ids: &[String]) -> Vec<Record> {
        let mut all = Vec::new();
        for id in ids {
            all.extend(self.bench.records(id).await);
        }
        all
    }

    /// Waits until every picture of these sessions is confirmed.
    async fn confirmed(&self, ids: &[String]) -> Vec<Record> {
        let mut changed = self.bench.running.spool.changed();
        loop {
            let records = self.states(ids).await;
            if records.iter().all(|record| record.state == State::Confirmed) {
                return records;
            }
            changed.changed().await.expect("the spool lives");
        }
    }

    fn puts(&self) -> Vec<Asked> {
        self.cloud.requests().into_iter().filter(|asked| asked.method == "PUT").collect()
    }
}

fn station(cloud: &Arc<MemoryCloud>, clock: &Arc<BootClock>, spool: Spool, data: TempDir) -> Bench {
    let config = quick_rig("").replace("[destinations.local]", "[destinations.unused]");
    let destination = "[destinations.cloud]\nbackend = \"imaging360\"\nurl = \"https://api.360imaging.test/v1\"\ntoken_file = \"token\"\n";
    let config = read(&format!("{config}\n{destination}"), data.path());
    let options = Imaging360Options::new("cloud", &cloud.url(), "demo", "booth", data.path().join("token"));
    let transport = Arc::new(InMemory(cloud.clone()));
    let backend: Arc<dyn Backend> = Arc::new(Imaging360::new(options, clock.clone(), transport));
    let mut config = config;
    config.destinations.remove("unused");
    Bench::on(spool, SystemClock::of(clock.clone()), vec![backend], config, data)
}

#[tokio::test(start_paused = true)]
async fn seven_days_offline_three_reboots_and_a_wrong_clock_lose_nothing_and_send_everything_once() {
    let mut away = Away::new();
    away.cloud.set_down(true);
    let mut ids = vec![away.shoot_and_release().await];
    // Never set, years behind, years ahead: what a station without a battery clock may believe.
    let boots = [
        (0, ClockQuality::Unset),
        (1_000_000_000_000, ClockQuality::Unset),
        (2_200_000_000_000, ClockQuality::Rtc),
    ];
    for (wall_ms, quality) in boots {
        tokio::time::sleep(DAY * 7 / 3).await;
        away = away.reboot(wall_ms, quality).await;
        ids.push(away.shoot_and_release().await);
    }
    let waiting = away.states(&ids).await;
    assert_eq!(waiting.len(), ids.len() * FRAMES as usize);
    assert!(
        waiting.iter().all(|record| record.state == State::Queued && record.attempts == 0),
        "being offline counts no attempt"
    );
    let status = away.bench.client().get("/api/v1/status").await.json();
    assert_eq!(status["sentence"], "Ready, no network");
    assert_eq!(status["detail"], format!("{} pictures are safe on this device. Carry on.", waiting.len()));

    let queue = away.bench.client().get("/api/v1/queue").await.json();
    let listed: Vec<&str> = queue["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .filter_map(|one| one["session"].as_str())
        .collect();
    assert_eq!(listed, ids, "oldest first");

    // By the wall clock the third session is older than the first; the sequence tells the truth.
    let order: Vec<u64> = waiting.iter().map(|record| record.key.sequence).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(!waiting.iter().map(|record| record.captured_at.wall_ms).is_sorted());

    tokio::time::sleep(Duration::from_secs(3600)).await;
    away.cloud.set_down(false);
    let back_ms = away.cloud.now_ms();
    away.bench.running.wake.reconnected();
    let records = away.confirmed(&ids).await;

    let queue = away.bench.client().get("/api/v1/queue").await.json();
    assert_eq!((&queue["sessions"], &queue["confirmed"]), (&serde_json::json!([]), &records.len().into()));
    let puts = away.puts();
    let first = puts.iter().filter(|put| put.at_ms >= back_ms).map(|put| put.at_ms - back_ms).min();
    assert!(first.is_some_and(|after_ms| after_ms <= 5_000), "the first PUT came after {first:?} ms");
    let oldest = puts.iter().filter_map(|put| put.url_age_ms).max();
    assert!(oldest.is_some_and(|age_ms| age_ms <= URL_LIFE_MS), "an address of {oldest:?} ms was used");
    let arrivals = away.cloud.arrivals();
    assert_eq!(arrivals.len(), records.len(), "one object a picture");
    for (key, kept) in &arrivals {
        assert_eq!(BTreeSet::from_iter(kept).len(), 1, "{key} arrived with one content");
    }
    for record in &records {
        let receipt = record.receipt.as_ref().expect("a receipt");
        assert_eq!((receipt.proof, arrivals[&receipt.location][0]), (Proof::ChecksummedPut, receipt.sha256));
        assert_eq!(receipt.stands_for(), record.sha256);
    }
    away.bench.end().await;
}
