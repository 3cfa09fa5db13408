use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::backend::{Delivery, Parcel, Wants};
use crate::queue::{Proof, State};
use crate::spool::Counts;
use crate::spool::test_support::{event, file, options};
use crate::store::memory::{Fault, MemoryStore};
use crate::{ClockQuality, Sha256, Stamp};

mod budget;
mod derived;
mod restart;
mod upkeep;

/// Goes with tokio's clock, which the tests pause.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Stamp {
        let ms = self.0.elapsed().as_millis() as u64;
        Stamp {
            wall_ms: ms as i64,
            quality: ClockQuality::Synced,
            boottime_ms: ms,
            boot_id: "boot-1".to_owned(),
        }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Paused(Instant::now()))
}

type Answer = Result<Vec<Receipt>, PutError>;

/// From a delivery and its number, counted from 1.
type Behaviour = dyn Fn(&Delivery, usize) -> Answer + Send + Sync;

/// A destination that does what the test says.
struct Fake {
    name: String,
    wants: Wants,
    takes: Duration,
    answer: Box<Behaviour>,
    /// When, and which sequences.
    seen: Mutex<Vec<(Duration, Vec<u64>)>>,
    begun: Instant,
    there: AtomicBool,
    probes: AtomicUsize,
    busy: AtomicUsize,
    busy_max: AtomicUsize,
}

impl Fake {
    fn new(name: &str, answer: impl Fn(&Delivery, usize) -> Answer + Send + Sync + 'static) -> Fake {
        Fake {
            name: name.to_owned(),
            wants: Wants {
                products: vec![],
                content_types: vec![],
                capture_classes: vec!["durable".to_owned()],
                unit: Unit::File,
                proof: Proof::ServerAck,
            },
            takes: Duration::from_millis(100),
            answer: Box::new(answer),
            seen: Mutex::default(),
            begun: Instant::now(),
            there: AtomicBool::new(true),
            probes: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            busy_max: AtomicUsize::new(0),
        }
    }

    fn seen(&self) -> Vec<u64> {
        self.seen.lock().unwrap().iter().flat_map(|(_, sequences)| sequences.clone()).collect()
    }
}

#[async_trait]
impl Backend for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn ready(&self) -> Result<(), PutError> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        if self.there.load(Ordering::Relaxed) { Ok(()) } else { Err(offline()) }
    }

    async fn deliver(&self, delivery: &Delivery) -> Answer {
        let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
        self.busy_max.fetch_max(busy, Ordering::Relaxed);
        let sequences = delivery.files.iter().map(|parcel| parcel.record.key.sequence).collect();
        let nth = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((self.begun.elapsed(), sequences));
            seen.len()
        };
        tokio::time::sleep(self.takes).await;
        self.busy.fetch_sub(1, Ordering::Relaxed);
        if self.there.load(Ordering::Relaxed) { (self.answer)(delivery, nth) } else { Err(offline()) }
    }
}

fn offline() -> PutError {
    PutError::offline("destination-missing", "plug it in")
}

fn busy() -> PutError {
    PutError::later("destination-busy", "wait")
}

fn proof(delivery: &Delivery) -> Answer {
    let receipt = |parcel: &Parcel| parcel.receipt(Proof::ServerAck, parcel.record.facts.file_name.clone());
    Ok(delivery.files.iter().map(receipt).collect())
}

struct Rig {
    spool: Spool,
    wake: Wake,
    cancel: CancellationToken,
    states: watch::Receiver<Vec<DestinationState>>,
    running: JoinHandle<Result<(), SpoolError>>,
}

impl Rig {
    fn start(spool: &Spool, backends: &[&Arc<Fake>]) -> Self {
        Self::start_deriving(spool, backends, None)
    }

    /// With what is made for "cloud".
    fn start_deriving(spool: &Spool, backends: &[&Arc<Fake>], derive: Option<Derive>) -> Self {
        let backends = backends.iter().map(|fake| Arc::clone(*fake) as Arc<dyn Backend>).collect();
        let options = UploaderOptions { org: "org".to_owned(), seed: Some(1), ..UploaderOptions::default() };
        let uploader = Uploader::new(spool.clone(), backends, clock(), options)
            .deriving(derive.map(|derive| ("cloud".to_owned(), derive)).into_iter().collect());
        let (wake, cancel, states) = (uploader.wake(), CancellationToken::new(), uploader.states());
        let running = tokio::spawn(uploader.run(cancel.clone()));
        Self { spool: spool.clone(), wake, cancel, states, running }
    }

    /// Waits until the counts are as wished, a month of virtual time at most.
    async fn until(&self, wish: impl Fn(&Counts) -> bool) -> Counts {
        let mut changed = self.spool.changed();
        let month = Duration::from_secs(30 * 24 * 3600);
        let waiting = async {
            loop {
                let counts = self.spool.counts().await.unwrap();
                if wish(&counts) {
                    return counts;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(month, waiting).await {
            Ok(counts) => counts,
            Err(_) => panic!("never came: {:?}", self.spool.counts().await),
        }
    }

    async fn events(&self, kind: &str) -> Vec<crate::Event> {
        let mut events = self.spool.events(0, usize::MAX).await.unwrap();
        events.retain(|event| event.kind == kind);
        events
    }

    async fn record(&self, sequence: u64) -> Record {
        let key = Key { sequence, product: "original".into(), destination: "cloud".into() };
        self.spool.record(&key).await.unwrap().unwrap()
    }
}

/// Puts and releases this many frames for "cloud", or as changed.
async fn released(spool: &Spool, count: u32, change: impl Fn(&mut crate::spool::NewFile)) {
    let shots = (0..count).map(|shot| {
        let mut file = file("s-1", shot, format!("frame {shot}").as_bytes());
        file.destinations = vec!["cloud".to_owned()];
        change(&mut file);
        file
    });
    let put = spool.put(shots.collect(), vec![]).await.unwrap();
    let changes = put.into_iter().map(|record| (record.key, Change::Release)).collect();
    spool.commit(Commit { changes, events: vec![event("released")], ..Commit::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_delivered_in_order_and_confirmed_with_its_proof() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 6, |_| ()).await;
    rig.until(|counts| counts.confirmed == 6).await;
    assert_eq!(cloud.seen(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(cloud.busy_max.load(Ordering::Relaxed), 2);
    assert!(cloud.begun.elapsed() < Duration::from_secs(1));
    let record = rig.record(3).await;
    assert_eq!(record.receipt.unwrap().proof, Proof::ServerAck);
    assert!(record.confirmed_at.is_some());
    let told = rig.events("frame.confirmed").await;
    assert_eq!(told.iter().map(|event| event.data["sequence"].as_u64().unwrap()).max(), Some(6));
    assert_eq!((told.len(), told[0].session.as_deref()), (6, Some("s-1")));
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_record_is_parked_after_five_attempts_and_blocks_nobody() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| match delivery.files[0].record.key.sequence {
        1 => Err(busy()),
        _ => proof(delivery),
    }));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 4, |_| ()).await;
    rig.until(|counts| counts.confirmed == 3).await;
    assert!(cloud.begun.elapsed() < Duration::from_secs(2), "the others waited");
    rig.until(|counts| counts.failed == 1).await;
    assert_eq!(cloud.seen().iter().filter(|sequence| **sequence == 1).count(), 5);
    let record = rig.record(1).await;
    assert_eq!((record.attempts, record.failure.unwrap().rule.as_str()), (5, "destination-busy"));
    let later = rig.events("upload.later").await;
    let attempts: Vec<_> = later.iter().map(|event| event.data["attempts"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let failed = rig.events("frame.failed").await;
    assert_eq!(failed[0].data["attempts"], 5);
}

#[tokio::test(start_paused = true)]
async fn never_means_parked_at_once_with_its_rule() {
    let spool = Spool::in_memory(clock());
    let refuse = |_: &Delivery, _| Err(PutError::never("not-yours", "ask the owner"));
    let rig = Rig::start(&spool, &[&Arc::new(Fake::new("cloud", refuse))]);
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.failed == 1).await;
    let record = rig.record(1).await;
    assert_eq!(record.failure, Some(Failure { rule: "not-yours".into(), reason: "ask the owner".into() }));
    assert_eq!(record.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_a_time_is_not_asked_before() {
    let spool = Spool::in_memory(clock());
    let hour = Duration::from_secs(3600);
    let cloud = Arc::new(Fake::new("cloud", move |delivery, nth| match nth {
        1 => Err(PutError::Later { after: Some(hour), rule: "slow-down".into(), reason: "later".to_owned() }),
        _ => proof(delivery),
    }));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.confirmed == 1).await;
    let waited = cloud.begun.elapsed();
    assert!(waited >= hour && waited < hour + Duration::from_secs(5), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn seven_days_offline_cost_no_attempt_and_hardly_a_write() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    cloud.there.store(false, Ordering::Relaxed);
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 40, |_| ()).await;
    tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
    assert!(cloud.probes.load(Ordering::Relaxed) > 100_000, "it was asked all the time");
    assert!(cloud.seen().len() <= 2, "and nothing was sent: {}", cloud.seen().len());
    assert!(*spool.changed().borrow() < 60, "waiting wrote {} events", *spool.changed().borrow());
    let counts = spool.counts().await.unwrap();
    assert_eq!((counts.queued, counts.failed), (40, 0));
    assert_eq!(rig.record(1).await.attempts, 0);

    cloud.there.store(true, Ordering::Relaxed);
    let back = Instant::now();
    rig.until(|counts| counts.confirmed > 0).await;
    assert!(back.elapsed() < Duration::from_secs(6), "{:?}", back.elapsed());
    rig.until(|counts| counts.confirmed == 40).await;
    assert_eq!(rig.events("destination.offline").await.len(), 1);
    assert_eq!(rig.events("destination.online").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_ends_all_waits_and_gives_new_attempts() {
    let spool = Spool::in_memory(clock());
    let cloud =
        Arc::new(Fake::new("cloud", |delivery, nth| match (nth, delivery.files[0].record.key.sequence) {
            (..=5, 1) => Err(busy()),
            (_, 1) => proof(delivery),
            _ => Err(PutError::never("not-yours", "ask")),
        }));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.failed == 1).await;
    released(&spool, 1, |file| file.facts.file_name = "other.jpg".into()).await;
    rig.until(|counts| counts.failed == 2).await;
    let before = Instant::now();
    rig.wake.reconnected();
    rig.until(|counts| counts.confirmed == 1).await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.record(1).await.state, State::Confirmed);
    assert_eq!(rig.record(2).await.state, State::Failed, "what would not help is left alone");
    assert_eq!(rig.events("upload.requeued").await[0].data["records"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_over_other_bytes_confirms_nothing() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, nth| {
        let mut receipts = proof(delivery)?;
        match nth {
            1 => receipts[0].sha256 = Sha256::of(b"a lie"),
            2 => receipts.clear(),
            _ => {}
        }
        Ok(receipts)
    }));
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.confirmed == 1).await;
    let later = rig.events("upload.later").await;
    let rules: Vec<_> = later.iter().map(|event| event.data["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["receipt-mismatch", "receipt-missing"]);
    assert_eq!(rig.record(1).await.attempts, 2);
}

#[tokio::test]
async fn a_picture_that_was_damaged_here_is_parked_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let hash_of_what_came = |delivery: &Delivery, _| {
        let mut receipts = proof(delivery)?;
        let Payload::File(path) = &delivery.files[0].payload else { panic!("not a file") };
        receipts[0].sha256 = Sha256::of(&std::fs::read(path).unwrap());
        Ok(receipts)
    };
    let cloud = Arc::new(Fake::new("cloud", hash_of_what_came));
    released(&spool, 3, |_| ()).await;
    // Another content, another length, gone.
    std::fs::write(dir.path().join("media/s-1/000000000001.jpg"), b"frame 7").unwrap();
    std::fs::write(dir.path().join("media/s-1/000000000002.jpg"), b"frame").unwrap();
    std::fs::remove_file(dir.path().join("media/s-1/000000000003.jpg")).unwrap();
    let rig = Rig::start(&spool, &[&cloud]);
    rig.until(|counts| counts.failed == 3).await;
    for sequence in 1..=3 {
        let failure = rig.record(sequence).await.failure.unwrap();
        assert_eq!(failure.rule, "media-damaged", "{failure:?}");
    }
    assert_eq!(cloud.seen(), [1], "what is obviously damaged is not sent at all");
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_destination_does_not_take_is_parked_untried_with_the_rule() {
    let spool = Spool::in_memory(clock());
    let mut cloud = Fake::new("cloud", |delivery, _| proof(delivery));
    cloud.wants.products = vec!["original".into()];
    cloud.wants.content_types = vec!["image/jpeg".into()];
    let cloud = Arc::new(cloud);
    let rig = Rig::start(&spool, &[&cloud]);
    released(&spool, 1, |file| file.facts.capture_class = "sealed".into()).await;
    released(&spool, 1, |file| file.facts.content_type = "image/png".into()).await;
    released(&spool, 1, |file| file.product = "depth".into()).await;
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.failed == 3 && counts.confirmed == 1).await;
    assert_eq!(cloud.seen(), [4]);
    let failed = rig.events("frame.failed").await;
    let rules: Vec<_> = failed.iter().map(|event| event.data["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["capture-class-not-allowed", "content-type-not-wanted", "product-not-wanted"]);
    assert_eq!((rig.record(1).await.attempts, &failed[0].data["attempts"]), (0, &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn records_of_another_organisation_or_for_nobody_stay_and_are_told_of_once() {
    let spool = Spool::in_memory(clock());
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    released(&spool, 40, |file| file.facts.org = "former".into()).await;
    released(&spool, 10, |file| file.destinations = vec!["nowhere".into()]).await;
    released(&spool, 10, |_| ()).await;
    let rig = Rig::start(&spool, &[&cloud]);
    rig.until(|counts| counts.confirmed == 10).await;
    assert!(cloud.seen().iter().all(|sequence| *sequence > 50), "{:?}", cloud.seen());
    rig.wake.reconnected();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(cloud.seen().len(), 10);
    assert_eq!(spool.counts().await.unwrap().queued, 50);
    assert_eq!(rig.events("upload.foreign-org").await[0].data["org"], "former");
    assert_eq!(rig.events("upload.no-destination").await[0].data["destination"], "nowhere");
    assert_eq!(rig.events("upload.foreign-org").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_or_missing_destination_holds_up_nobody_else() {
    let spool = Spool::in_memory(clock());
    let mut slow = Fake::new("slow", |delivery, _| proof(delivery));
    slow.takes = Duration::from_secs(3600);
    let (slow, gone) = (Arc::new(slow), Arc::new(Fake::new("gone", |delivery, _| proof(delivery))));
    gone.there.store(false, Ordering::Relaxed);
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    let rig = Rig::start(&spool, &[&slow, &gone, &cloud]);
    let all = ["cloud", "gone", "slow"].map(str::to_owned);
    released(&spool, 10, |file| file.destinations = all.to_vec()).await;
    rig.until(|counts| counts.confirmed == 10).await;
    assert!(cloud.begun.elapsed() < Duration::from_secs(2), "{:?}", cloud.begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_takes_sessions_gets_one_delivery() {
    let spool = Spool::in_memory(clock());
    let mut cloud = Fake::new("cloud", |delivery, _| proof(delivery));
    cloud.wants.unit = Unit::Session;
    let cloud = Arc::new(cloud);
    released(&spool, 5, |_| ()).await;
    released(&spool, 3, |file| file.facts.session = "s-2".into()).await;
    let rig = Rig::start(&spool, &[&cloud]);
    rig.until(|counts| counts.confirmed == 8).await;
    let seen: Vec<_> = cloud.seen.lock().unwrap().iter().map(|(_, sequences)| sequences.clone()).collect();
    assert_eq!(seen, [vec![1, 2, 3, 4, 5], vec![6, 7, 8]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_cancelled_or_killed_is_queued_again() {
    let spool = Spool::in_memory(clock());
    let mut cloud = Fake::new("cloud", |delivery, _| proof(delivery));
    cloud.takes = Duration::from_secs(60);
    let rig = Rig::start(&spool, &[&Arc::new(cloud)]);
    released(&spool, 3, |_| ()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(spool.counts().await.unwrap().uploading, 2);
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
    let counts = spool.counts().await.unwrap();
    assert_eq!((counts.queued, counts.uploading), (3, 0));

    let due = spool.due(&clock().now(), 1).await.unwrap();
    let changes = vec![(due[0].key.clone(), Change::Begin)];
    spool.commit(Commit { changes, ..Commit::default() }).await.unwrap();
    let rig = Rig::start(&spool, &[&Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)))]);
    rig.until(|counts| counts.confirmed == 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_storage_error_ends_the_uploader_with_it() {
    // Commits: put, release, begin, confirm.
    for nth in 3..=4 {
        let store = MemoryStore::new().fail_at(nth, Fault::Failed);
        let spool = Spool::on_store(Box::new(store), clock());
        released(&spool, 1, |_| ()).await;
        let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
        let rig = Rig::start(&spool, &[&cloud]);
        let ended = rig.running.await.unwrap();
        assert!(matches!(ended, Err(SpoolError::Storage { .. })), "commit {nth}: {ended:?}");
    }
    let spool = Spool::in_memory(clock());
    let rig = Rig::start(&spool, &[]);
    spool.close().await;
    assert_eq!(rig.running.await.unwrap(), Err(SpoolError::Closed));
}
