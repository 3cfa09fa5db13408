//! Full disks, on a small file system of its own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use turnstage_cloud_sync::Clock;
use turnstage_cloud_sync::queue::{Change, Proof, Receipt, Record, State};
use turnstage_cloud_sync::spool::{Commit, Spool, SpoolError, SpoolOptions};

use super::support::{SmallDisk, TestClock, apply, content, event, file, key, open, options, release, skip};

const FRAME_BYTES: usize = 100_000;

fn disk(dir: &Path, size: &str, name: &str) -> Option<SmallDisk> {
    SmallDisk::mount(&dir.join("disk"), size).map_err(|reason| skip(name, &reason)).ok()
}

fn grow(disk: &SmallDisk) {
    let grown =
        std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk.0).status().unwrap();
    assert!(grown.success());
}

/// Puts frames until one is refused; gives the records and the refusal.
async fn fill(spool: &Spool) -> (Vec<Record>, SpoolError) {
    let mut kept = Vec::new();
    for shot in 0..1000 {
        let mut bytes = vec![0; FRAME_BYTES];
        fastrand::Rng::with_seed(u64::from(shot)).fill(&mut bytes);
        match spool.put(vec![file("s-1", shot, &bytes)], vec![]).await {
            Ok(records) => kept.extend(records),
            Err(error) => return (kept, error),
        }
    }
    panic!("the disk never became full");
}

async fn assert_kept(spool: &Spool, kept: &[Record]) {
    assert_eq!(spool.session_records("s-1").await.unwrap(), kept);
    for record in kept {
        let bytes = fs::read(spool.media_path(record)).unwrap();
        assert_eq!(turnstage_cloud_sync::Sha256::of(&bytes), record.sha256, "{}", record.key);
    }
}

#[tokio::test]
async fn a_disk_that_fills_in_mid_write_keeps_what_was_promised_and_nothing_half() {
    let name = "a_disk_that_fills_in_mid_write_keeps_what_was_promised_and_nothing_half";
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = disk(dir.path(), "6m", name) else { return };
    let folder = disk.0.join("spool");
    let (spool, _) = open(&folder);
    let (kept, error) = fill(&spool).await;
    assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
    assert!(kept.len() > 20, "{}", kept.len());
    let pictures = content(&folder.join("media/s-1")).len();
    assert_eq!(pictures, 2 * kept.len(), "a half shot was left");
    assert_kept(&spool, &kept).await;
    // Still refused, still answering.
    let again = spool.put(vec![file("s-1", 0, &vec![1; FRAME_BYTES])], vec![]).await.unwrap_err();
    assert!(matches!(again, SpoolError::DiskFull { .. }), "{again}");
    grow(&disk);
    let more = spool.put(vec![file("s-1", 999, b"more")], vec![]).await.unwrap();
    spool.close().await;
    let (spool, opened) = open(&folder);
    assert_eq!((opened.findings.len(), opened.orphans), (0, 0), "{opened:?}");
    assert_kept(&spool, &[kept, more].concat()).await;
    spool.close().await;
}

#[tokio::test]
async fn an_index_without_room_stops_acknowledging_and_loses_nothing() {
    let name = "an_index_without_room_stops_acknowledging_and_loses_nothing";
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = disk(dir.path(), "6m", name) else { return };
    let folder = disk.0.join("spool");
    let (spool, _) = open(&folder);
    let mut kept = spool.put(vec![file("s-1", 0, b"picture")], vec![]).await.unwrap();
    // Something else fills the disk.
    let free = spool.room().unwrap().free_bytes as usize;
    fs::write(disk.0.join("filler"), vec![0; free - 8192]).unwrap();
    let mut error = None;
    for nth in 0..10_000 {
        let change = if nth % 2 == 0 {
            event("even", serde_json::json!({"pad": "x".repeat(3000)}))
        } else {
            event("odd", serde_json::json!({}))
        };
        match spool.commit(Commit { events: vec![change], ..Commit::default() }).await {
            Ok(_) => {}
            Err(refused) => {
                error = Some(refused);
                break;
            }
        }
    }
    let error = error.expect("the index never ran out of room");
    assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
    let events = *spool.changed().borrow();
    let after =
        spool.commit(Commit { events: vec![event("x", serde_json::json!({}))], ..Commit::default() }).await;
    assert!(matches!(after, Err(SpoolError::Storage { .. })), "the handle is not used again: {after:?}");
    spool.close().await;
    fs::remove_file(disk.0.join("filler")).unwrap();

    let (spool, opened) = open(&folder);
    assert!(opened.media_damaged.is_empty() && !opened.rebuilt, "{opened:?}");
    let log = spool.events(0, usize::MAX).await.unwrap();
    assert!(log.len() as u64 > events, "an acknowledged event is lost: {} of {events}", log.len());
    kept.extend(spool.put(vec![file("s-1", 1, b"next")], vec![]).await.unwrap());
    assert_kept(&spool, &kept).await;
    spool.close().await;
}

#[tokio::test]
async fn a_full_station_refuses_and_recovers_by_itself_once_frames_are_delivered() {
    let name = "a_full_station_refuses_and_recovers_by_itself_once_frames_are_delivered";
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = disk(dir.path(), "16m", name) else { return };
    let folder = disk.0.join("spool");
    let marks = SpoolOptions { free_bytes_soft: 8 << 20, free_bytes_hard: 6 << 20, ..options(&folder) };
    let clock = Arc::new(TestClock::default());
    let (spool, _) = Spool::open(marks, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let (kept, error) = fill(&spool).await;
    assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
    let room = spool.room().unwrap();
    assert!(room.above_hard() && !room.above_soft(), "{room:?}");
    assert_eq!(room.sessions_left(36 * FRAME_BYTES as u64), 0);
    assert_eq!(spool.tidy().await.unwrap().media, 0, "nothing is confirmed yet");

    let sequences: Vec<_> = kept.iter().map(|record| record.key.sequence).collect();
    release(&spool, "s-1", &sequences).await;
    for record in &kept[..30] {
        let receipt =
            Receipt { proof: Proof::Readback, location: "x".into(), sha256: record.sha256, derived: None };
        let confirm = Change::Confirm(receipt, clock.now());
        apply(&spool, vec![(record.key.clone(), Change::Begin), (record.key.clone(), confirm)]).await;
    }
    let tidied = spool.tidy().await.unwrap();
    assert!(tidied.media > 0, "{tidied:?}");
    assert!(spool.room().unwrap().above_soft());
    let gone: Vec<_> = spool
        .session_records("s-1")
        .await
        .unwrap()
        .into_iter()
        .filter(|record| record.media.is_empty())
        .map(|record| record.key.sequence)
        .collect();
    assert_eq!(gone, (1..=tidied.media).collect::<Vec<_>>(), "the oldest first, and no more than needed");
    spool.put(vec![file("s-2", 0, &vec![1; FRAME_BYTES])], vec![]).await.unwrap();
    let last = kept.last().unwrap().key.sequence;
    assert_eq!(spool.record(&key(last)).await.unwrap().unwrap().state, State::Queued);
    spool.close().await;
}
