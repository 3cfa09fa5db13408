//! The disk guard.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use turnstage_cloud_sync::Clock;
use turnstage_cloud_sync::queue::{Change, Proof, Receipt, State};
use turnstage_cloud_sync::spool::{Spool, SpoolOptions, Tidied};

use super::support::{TestClock, apply, file, key, open, options, release};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn open_with(dir: &Path, free_bytes_soft: u64, clock: &Arc<TestClock>) -> Spool {
    let options = SpoolOptions { free_bytes_soft, ..options(dir) };
    Spool::open(options, Arc::clone(clock) as Arc<dyn Clock>).unwrap().0
}

async fn confirm(spool: &Spool, clock: &TestClock, sequence: u64) {
    let record = spool.record(&key(sequence)).await.unwrap().unwrap();
    let receipt =
        Receipt { proof: Proof::Readback, location: "x".into(), sha256: record.sha256, derived: None };
    apply(
        spool,
        vec![(key(sequence), Change::Begin), (key(sequence), Change::Confirm(receipt, clock.now()))],
    )
    .await;
}

fn media(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for path in super::support::content(&dir.join("media")).into_keys() {
        names.push(path.strip_prefix(dir.join("media")).unwrap().display().to_string());
    }
    names
}

#[tokio::test]
async fn confirmed_media_go_after_a_week_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = open_with(dir.path(), 0, &clock);
    for shot in 0..4 {
        spool.put(vec![file("s-1", shot, b"12345")], vec![]).await.unwrap();
    }
    release(&spool, "s-1", &[1, 2, 3]).await;
    confirm(&spool, &clock, 1).await;
    assert_eq!(spool.tidy().await.unwrap(), Tidied::default(), "too young");
    clock.skip_ms(WEEK.as_millis() as u64);
    confirm(&spool, &clock, 2).await;
    assert_eq!(spool.tidy().await.unwrap(), Tidied { thumbnails: 0, media: 1, bytes: 5 });
    let record = spool.record(&key(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.media.as_str()), (State::Confirmed, ""));
    assert!(spool.payload(&record).is_err());
    assert_eq!(spool.counts().await.unwrap().bytes, 15);
    let expected = ["2.jpg", "2.json", "3.jpg", "3.json", "4.jpg", "4.json"];
    let expected = expected.iter().map(|name| format!("s-1/00000000000{name}"));
    assert_eq!(media(dir.path()), expected.chain(["s-1/session.json".to_owned()]).collect::<Vec<_>>());
    assert_eq!(spool.tidy().await.unwrap(), Tidied::default());
    spool.close().await;
    let (_, opened) = open(dir.path());
    assert_eq!(opened.findings, []);
}

#[tokio::test]
async fn below_the_soft_mark_confirmed_media_go_at_once_and_unconfirmed_never() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = open_with(dir.path(), u64::MAX, &clock);
    fs::create_dir_all(dir.path().join("thumbs/s-1")).unwrap();
    fs::write(dir.path().join("thumbs/s-1/1.jpg"), b"small").unwrap();
    for shot in 0..6 {
        spool.put(vec![file("s-1", shot, b"12345")], vec![]).await.unwrap();
    }
    // 1 confirmed, 2 failed, 3 uploading, 4 queued, 5 captured, 6 superseded by 7.
    let mut retake = file("s-1", 5, b"12345");
    retake.supersedes = Some(6);
    spool.put(vec![retake], vec![]).await.unwrap();
    release(&spool, "s-1", &[1, 2, 3, 4]).await;
    confirm(&spool, &clock, 1).await;
    let failure = turnstage_cloud_sync::queue::Failure { rule: "x".into(), reason: "x".into() };
    apply(&spool, vec![(key(2), Change::Begin), (key(2), Change::Park(failure)), (key(3), Change::Begin)])
        .await;
    assert_eq!(spool.tidy().await.unwrap(), Tidied { thumbnails: 1, media: 1, bytes: 10 });
    assert_eq!(spool.tidy().await.unwrap(), Tidied::default());
    assert_eq!(media(dir.path()).iter().filter(|name| name.ends_with(".jpg")).count(), 6);
}

#[tokio::test]
async fn a_file_waits_for_the_last_of_its_destinations() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = open_with(dir.path(), u64::MAX, &clock);
    let mut both = file("s-1", 0, b"12345");
    both.destinations = vec!["cloud".into(), "stick".into()];
    spool.put(vec![both], vec![]).await.unwrap();
    release(&spool, "s-1", &[1]).await;
    confirm(&spool, &clock, 1).await;
    assert_eq!(spool.tidy().await.unwrap(), Tidied::default());
}

/// Without the newest sidecar a rebuild would count from the beginning and give numbers twice.
#[tokio::test]
async fn the_sequence_goes_on_after_everything_was_delivered_deleted_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = open_with(dir.path(), u64::MAX, &clock);
    for session in ["s-1", "s-2"] {
        let shot = vec![file(session, 0, b"12345"), file(session, 1, b"12345")];
        let put = spool.put(shot, vec![]).await.unwrap();
        let sequences: Vec<_> = put.iter().map(|record| record.key.sequence).collect();
        release(&spool, session, &sequences).await;
        for sequence in sequences {
            confirm(&spool, &clock, sequence).await;
        }
    }
    assert_eq!(spool.tidy().await.unwrap().media, 4);
    assert!(!dir.path().join("media/s-1").exists(), "a session without media leaves no folder");
    assert_eq!(media(dir.path()), ["s-2/000000000003.json", "s-2/session.json"]);
    spool.close().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (spool, opened) = open(dir.path());
    assert!(opened.rebuilt && opened.media_damaged.is_empty(), "{opened:?}");
    assert_eq!(spool.record(&key(4)).await.unwrap().unwrap().state, State::Confirmed);
    let put = spool.put(vec![file("s-1", 0, b"next")], vec![]).await.unwrap();
    assert_eq!(put[0].key.sequence, 5);
    assert_eq!(put[0].media, "s-1/000000000005.jpg");
}

#[tokio::test]
async fn media_that_the_index_had_forgotten_are_cleared_away_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = open_with(dir.path(), u64::MAX, &clock);
    for shot in 0..2 {
        spool.put(vec![file("s-1", shot, b"12345")], vec![]).await.unwrap();
    }
    release(&spool, "s-1", &[1]).await;
    confirm(&spool, &clock, 1).await;
    let path = spool.media_path(&spool.record(&key(1)).await.unwrap().unwrap());
    spool.tidy().await.unwrap();
    spool.close().await;
    fs::write(&path, b"12345").unwrap();
    let (_, opened) = open(dir.path());
    assert_eq!((opened.orphans, opened.findings.len()), (0, 0), "{opened:?}");
    assert!(!path.exists());
}
