//! What a destination gets that is sent something else than what is stored.

use bytes::Bytes;

use super::*;
use crate::derivative::Derivative;
use crate::queue::Derived;

fn enriched(record: &Record, bytes: &[u8]) -> Bytes {
    [record.facts.item.as_bytes(), bytes].concat().into()
}

/// The third picture is damaged, the fourth must not go as it is.
fn derive() -> Derive {
    let failure = |rule: &str| Failure { rule: rule.to_owned(), reason: "damaged".to_owned() };
    Arc::new(move |record, bytes| match record.facts.shot {
        2 => Derivative::AsStored(failure("metadata-not-written")),
        3 => Derivative::Refused(failure("metadata-not-removed")),
        _ => Derivative::Made(enriched(record, bytes)),
    })
}

/// Proof over what came, and what came.
fn taking(came: &Arc<Mutex<Vec<Bytes>>>) -> Arc<Fake> {
    let came = came.clone();
    Arc::new(Fake::new("cloud", move |delivery, _| {
        for parcel in &delivery.files {
            let bytes = match &parcel.payload {
                Payload::Ram(bytes) => bytes.clone(),
                Payload::File(path) => std::fs::read(path).unwrap().into(),
            };
            assert_eq!((Sha256::of(&bytes), bytes.len() as u64), (parcel.sha256, parcel.length));
            came.lock().unwrap().push(bytes);
        }
        proof(delivery)
    }))
}

#[tokio::test(start_paused = true)]
async fn what_is_made_of_a_picture_is_delivered_and_proven_and_the_original_stays() {
    let spool = Spool::in_memory(clock());
    let came = Arc::default();
    let cloud = taking(&came);
    let rig = Rig::start_deriving(&spool, &[&cloud], Some(derive()));
    released(&spool, 2, |_| ()).await;
    rig.until(|counts| counts.confirmed == 2).await;
    let record = rig.record(2).await;
    let Payload::Ram(stored) = spool.payload(&record).unwrap() else { panic!("a file") };
    assert_eq!((&stored[..], Sha256::of(&stored)), (&b"frame 1"[..], record.sha256));
    let made = enriched(&record, b"frame 1");
    assert_eq!(came.lock().unwrap()[1], made);
    let receipt = record.receipt.unwrap();
    assert_eq!(receipt.sha256, Sha256::of(&made));
    assert_eq!(receipt.derived, Some(Derived { from: record.sha256, length: made.len() as u64 }));
    let told = &rig.events("frame.confirmed").await[1].data;
    assert_eq!((&told["derived"]["from"], &told["notice"]), (&json!(record.sha256), &json!(null)));
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_picture_of_which_nothing_can_be_made_goes_as_it_is_with_a_notice_or_is_parked_where_it_must_not() {
    let spool = Spool::in_memory(clock());
    let came = Arc::default();
    let cloud = taking(&came);
    let rig = Rig::start_deriving(&spool, &[&cloud], Some(derive()));
    released(&spool, 4, |_| ()).await;
    rig.until(|counts| counts.confirmed == 3 && counts.failed == 1).await;
    assert!(came.lock().unwrap().iter().any(|bytes| bytes == "frame 2"));
    assert!(!came.lock().unwrap().iter().any(|bytes| bytes == "frame 3"));
    let receipt = rig.record(3).await.receipt.unwrap();
    assert_eq!((receipt.sha256, receipt.derived), (Sha256::of(b"frame 2"), None));
    let told = rig.events("frame.confirmed").await;
    let rules: Vec<_> = told.iter().filter_map(|event| event.data["notice"]["rule"].as_str()).collect();
    assert_eq!(rules, ["metadata-not-written"]);
    let mut states = rig.states.clone();
    let states = states.wait_for(|states| !states[0].notices.is_empty()).await.unwrap();
    assert!(states[0].online && states[0].notices[0].reason.starts_with("1 since the start"), "{states:?}");
    let parked = rig.record(4).await;
    assert_eq!((parked.failure.unwrap().rule, parked.for_good), ("metadata-not-removed".to_owned(), true));
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_made_at_every_attempt() {
    let spool = Spool::in_memory(clock());
    let hashes = Arc::new(Mutex::new(Vec::new()));
    let seen = hashes.clone();
    let cloud = Arc::new(Fake::new("cloud", move |delivery, nth| {
        seen.lock().unwrap().push(delivery.files[0].sha256);
        if nth < 3 { Err(busy()) } else { proof(delivery) }
    }));
    let rig = Rig::start_deriving(&spool, &[&cloud], Some(derive()));
    released(&spool, 1, |_| ()).await;
    rig.until(|counts| counts.confirmed == 1).await;
    let hashes = hashes.lock().unwrap().clone();
    assert_eq!(hashes.len(), 3);
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn of_a_picture_that_was_damaged_here_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let cloud = Arc::new(Fake::new("cloud", |delivery, _| proof(delivery)));
    released(&spool, 1, |_| ()).await;
    // The same length, so that only its hash tells.
    std::fs::write(dir.path().join("media/s-1/000000000001.jpg"), b"frame 7").unwrap();
    let rig = Rig::start_deriving(&spool, &[&cloud], Some(derive()));
    rig.until(|counts| counts.failed == 1).await;
    assert_eq!(rig.record(1).await.failure.unwrap().rule, "media-damaged");
    assert_eq!(cloud.seen(), [0_u64; 0]);
    rig.cancel.cancel();
    rig.running.await.unwrap().unwrap();
}
