//! Damaged folders: everything that was promised comes back, or is said to be lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use turnstage_cloud_sync::queue::{Change, Proof, Receipt, Record, State};
use turnstage_cloud_sync::spool::{Commit, Spool, SpoolError, repair};
use turnstage_cloud_sync::store::Document;
use turnstage_cloud_sync::{Clock, Sha256};

use super::support::{TestClock, apply, content, copy, event, file, key, open, rounds};

/// What happened, and how to make it happen.
type Damage = (&'static str, fn(&Path));

/// A station's folder after a day: in s-1 three frames, the first retaken, all released, frame 2 confirmed; in s-2
/// two frames of which one moved to another item.
async fn a_day(dir: &Path) -> Vec<Record> {
    let (spool, _) = open(dir);
    for shot in 0..3 {
        spool.put(vec![file("s-1", shot, format!("frame {shot}").as_bytes())], vec![]).await.unwrap();
    }
    let mut retake = file("s-1", 0, b"sharper");
    retake.supersedes = Some(1);
    spool.put(vec![retake], vec![]).await.unwrap();
    spool.put(vec![file("s-2", 0, b"left"), file("s-2", 1, b"right")], vec![]).await.unwrap();
    let commit = Commit {
        documents: vec![Document { id: "s-1".into(), value: json!({"schema": 1, "released": [2, 3, 4]}) }],
        changes: [2, 3, 4].map(|sequence| (key(sequence), Change::Release)).into(),
        events: vec![event("session.released", json!({}))],
    };
    spool.commit(commit).await.unwrap();
    let receipt = Receipt {
        proof: Proof::Readback,
        location: "x".into(),
        sha256: Sha256::of(b"frame 1"),
        derived: None,
    };
    let confirm = Change::Confirm(receipt, TestClock::default().now());
    apply(&spool, vec![(key(2), Change::Begin), (key(2), confirm)]).await;
    apply(&spool, vec![(key(6), Change::MoveItem { item: "WVW2".into() })]).await;
    let records = records(&spool).await;
    spool.close().await;
    // A second start leaves a snapshot of the index.
    open(dir).0.close().await;
    records
}

async fn records(spool: &Spool) -> Vec<Record> {
    let mut records = spool.session_records("s-1").await.unwrap();
    records.extend(spool.session_records("s-2").await.unwrap());
    records
}

/// What must be there however the index was lost: every frame, its item, what is superseded, what is released.
fn assert_rebuilt(found: &[Record], before: &[Record]) {
    assert_eq!(found.len(), before.len());
    for (found, before) in found.iter().zip(before) {
        let mut expected = before.clone();
        if before.state == State::Confirmed {
            // Nobody knows any more: it is delivered once more.
            expected.state = State::Queued;
            (expected.receipt, expected.confirmed_at) = (None, None);
        }
        assert_eq!(*found, expected);
    }
}

fn snapshot(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir.join("index")).unwrap().map(|entry| entry.unwrap().path());
    let mut snapshots =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."));
    snapshots.next().expect("the story leaves a snapshot")
}

fn kinds(opened: &turnstage_cloud_sync::spool::Opened) -> Vec<&'static str> {
    opened.findings.iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn a_damaged_snapshot_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    let damages: [Damage; 4] = [
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("cut", |path| fs::write(path, &fs::read(path).unwrap()[..50]).unwrap()),
        ("zeroed", |path| fs::write(path, vec![0; fs::read(path).unwrap().len()]).unwrap()),
        ("left half-written", |path| {
            fs::write(path.with_file_name("snap.FFFFFFFFFFFF.generating"), b"x").unwrap()
        }),
    ];
    for (damage, apply) in damages {
        apply(&snapshot(dir.path()));
        let (spool, opened) = open(dir.path());
        assert_eq!(kinds(&opened), ["spool.snapshots-moved"], "{damage}");
        assert!(!opened.rebuilt, "{damage}");
        assert_eq!(records(&spool).await, before, "{damage}");
        assert_eq!(spool.document("s-1").await.unwrap().unwrap().value["schema"], 1);
        let told = spool.events(0, usize::MAX).await.unwrap();
        assert!(told.iter().any(|event| event.kind == "spool.snapshots-moved"), "{damage}");
        spool.close().await;
        open(dir.path()).0.close().await;
    }
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_from_the_folder() {
    let damages: [Damage; 6] = [
        ("log deleted", |index| fs::remove_file(index.join("db")).unwrap()),
        ("log emptied", |index| fs::write(index.join("db"), b"").unwrap()),
        ("log zeroed", |index| {
            let length = fs::read(index.join("db")).unwrap().len();
            fs::write(index.join("db"), vec![0; length]).unwrap();
        }),
        ("log is noise", |index| {
            let mut noise = vec![0; 600_000];
            fastrand::Rng::with_seed(5).fill(&mut noise);
            fs::write(index.join("db"), noise).unwrap();
        }),
        ("folder emptied", |index| {
            fs::remove_dir_all(index).unwrap();
            fs::create_dir(index).unwrap();
        }),
        ("folder deleted", |index| fs::remove_dir_all(index).unwrap()),
    ];
    for (damage, apply) in damages {
        let dir = tempfile::tempdir().unwrap();
        let before = a_day(dir.path()).await;
        apply(&dir.path().join("index"));
        let (spool, opened) = open(dir.path());
        assert_rebuilt(&records(&spool).await, &before);
        assert!(opened.rebuilt, "{damage}: {opened:?}");
        assert_eq!((opened.put_back, opened.records, opened.documents), (6, 6, 1), "{damage}");
        assert!(
            opened.sentences().any(|one| one.contains("6 records of 2 sessions")),
            "{damage}: {opened:?}"
        );
        let next = spool.put(vec![file("s-3", 0, b"next")], vec![]).await.unwrap();
        assert_eq!(next[0].key.sequence, 7, "{damage}: a sequence number was given twice");
        spool.close().await;
        let (_, opened) = open(dir.path());
        assert_eq!(kinds(&opened), Vec::<&str>::new(), "{damage}: the second start is quiet");
    }
}

#[tokio::test]
async fn whatever_bits_of_the_index_flip_no_frame_is_lost() {
    let base = tempfile::tempdir().unwrap();
    let before = a_day(base.path()).await;
    let mut rng = fastrand::Rng::with_seed(8);
    for round in 0..rounds(30) {
        let dir = tempfile::tempdir().unwrap();
        copy(base.path(), dir.path());
        fs::create_dir_all(dir.path().join("index/blobs")).unwrap();
        let name = if rng.u32(0..4) > 0 { "db" } else { "conf" };
        let path = dir.path().join("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        // Where something was written, not in the zeros behind it.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for _ in 0..rng.u32(1..4) {
            bytes[rng.usize(0..=used)] ^= 1 << rng.u32(0..8);
        }
        fs::write(&path, bytes).unwrap();
        let (spool, opened) = open(dir.path());
        let found = records(&spool).await;
        assert_eq!(found.len(), before.len(), "round {round}: {opened:?}");
        for (found, before) in found.iter().zip(&before) {
            assert_eq!((&found.key, found.sha256), (&before.key, before.sha256), "round {round}");
            assert_eq!(found.facts, before.facts, "round {round}");
        }
        assert!(spool.document("s-1").await.unwrap().is_some(), "round {round}: {opened:?}");
        spool.close().await;
    }
}

#[tokio::test]
async fn a_shot_that_reached_the_folder_but_not_the_index_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    a_day(dir.path()).await;
    let index = tempfile::tempdir().unwrap();
    copy(&dir.path().join("index"), index.path());
    let (spool, _) = open(dir.path());
    let mut retake = file("s-1", 1, b"retake");
    retake.supersedes = Some(5);
    retake.facts.session = "s-2".into();
    let put = spool.put(vec![retake], vec![]).await.unwrap();
    spool.close().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy(index.path(), &dir.path().join("index"));

    let (spool, opened) = open(dir.path());
    assert_eq!((opened.put_back, opened.rebuilt), (1, false), "{opened:?}");
    let found = spool.session_records("s-2").await.unwrap();
    assert_eq!(found.last(), put.first());
    assert_eq!(found[0].superseded_by, Some(7), "its retake is back, so it is superseded again");
}

#[tokio::test]
async fn a_flipped_bit_in_a_sidecar_is_noticed_and_the_picture_kept() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    let sidecar = dir.path().join("media/s-1/000000000003.json");
    let mut bytes = fs::read(&sidecar).unwrap();
    let at = bytes.windows(3).position(|three| three == b"170" || three == b"10.").unwrap();
    bytes[at] ^= 1;
    fs::write(&sidecar, bytes).unwrap();

    let report = repair::check(dir.path()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].sentence.contains("000000000003.json is damaged"), "{report:?}");
    let (spool, opened) = open(dir.path());
    assert_eq!(kinds(&opened), Vec::<&str>::new(), "the index knows the frame");
    assert_eq!(records(&spool).await, before);
    spool.close().await;

    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (spool, opened) = open(dir.path());
    assert_eq!((opened.sidecars_damaged, opened.orphans, opened.put_back), (1, 1, 5), "{opened:?}");
    assert!(opened.sentences().any(|one| one.contains("kept in orphans")), "{opened:?}");
    assert_eq!(fs::read(dir.path().join("orphans/s-1/000000000003.jpg")).unwrap(), b"frame 2");
    assert_eq!(records(&spool).await.len(), 5);
}

/// An older version must not tidy away what it cannot read.
#[tokio::test]
async fn files_of_a_newer_version_are_refused_and_left_alone() {
    for name in ["000000000003.json", "session.json"] {
        let dir = tempfile::tempdir().unwrap();
        a_day(dir.path()).await;
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        let path = dir.path().join("media/s-1").join(name);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove("sha256");
        value["schema"] = json!(2);
        value["sha256"] = json!(turnstage_cloud_sync::canonical::hash(&value));
        fs::write(&path, value.to_string()).unwrap();
        let before = content(&dir.path().join("media"));
        let error =
            Spool::open(super::support::options(dir.path()), Arc::new(TestClock::default())).unwrap_err();
        assert_eq!(error, SpoolError::TooNew { found: 2, known: 1 }, "{name}");
        assert_eq!(content(&dir.path().join("media")), before, "{name}");
    }
}

#[tokio::test]
async fn media_that_are_missing_or_cut_are_told_and_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    fs::write(dir.path().join("media/s-1/000000000003.jpg"), b"fra").unwrap();
    fs::remove_file(dir.path().join("media/s-2/000000000005.jpg")).unwrap();
    let (spool, opened) = open(dir.path());
    assert_eq!(opened.media_damaged, [key(3), key(5)]);
    assert!(opened.sentences().any(|one| one.contains("has 3 bytes instead of 7")), "{opened:?}");
    assert!(opened.sentences().any(|one| one.contains("is missing")), "{opened:?}");
    assert_eq!(records(&spool).await, before);
}

#[tokio::test]
async fn what_was_never_promised_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    let session = dir.path().join("media/s-2");
    fs::write(session.join("000000000007.jpg.tmp"), b"half").unwrap();
    fs::write(session.join("000000000008.jpg"), b"whole, but its sidecar never came").unwrap();
    fs::create_dir(dir.path().join("media/.hidden")).unwrap();
    let (spool, opened) = open(dir.path());
    assert_eq!((opened.temporaries, opened.orphans), (1, 1), "{opened:?}");
    assert!(dir.path().join("orphans/s-2/000000000008.jpg").exists());
    assert!(!session.join("000000000007.jpg.tmp").exists());
    assert_eq!(records(&spool).await, before);
    let next = spool.put(vec![file("s-2", 9, b"next")], vec![]).await.unwrap();
    assert_eq!(next[0].key.sequence, 9, "the orphan's number is not given again");
}

#[tokio::test]
async fn an_upload_cut_short_is_queued_again() {
    let dir = tempfile::tempdir().unwrap();
    a_day(dir.path()).await;
    let (spool, _) = open(dir.path());
    apply(&spool, vec![(key(3), Change::Begin)]).await;
    spool.close().await;
    let (spool, opened) = open(dir.path());
    assert_eq!(opened.recovered, 1);
    assert_eq!(spool.record(&key(3)).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(spool.counts().await.unwrap().uploading, 0);
}

#[tokio::test]
async fn a_commit_that_reached_the_folder_but_not_the_index_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    a_day(dir.path()).await;
    let (spool, _) = open(dir.path());
    apply(&spool, vec![(key(3), Change::Begin)]).await;
    // The station dies while 3 is being delivered; what it still commits reaches the folder only.
    let index = tempfile::tempdir().unwrap();
    copy(&dir.path().join("index"), index.path());
    let receipt = Receipt {
        proof: Proof::Readback,
        location: "x".into(),
        sha256: Sha256::of(b"frame 2"),
        derived: None,
    };
    let commit = Commit {
        documents: vec![Document { id: "s-1".into(), value: json!({"schema": 1, "released": [2, 3, 4]}) }],
        changes: vec![
            (key(3), Change::Confirm(receipt, TestClock::default().now())),
            (key(4), Change::Begin),
        ],
        events: vec![],
    };
    spool.commit(commit).await.unwrap();
    let commit = Commit {
        documents: vec![Document { id: "s-2".into(), value: json!({"schema": 1, "released": [5]}) }],
        changes: vec![(key(5), Change::Release), (key(6), Change::MoveItem { item: "WVW3".into() })],
        events: vec![event("session.released", json!({"session": "s-2"}))],
    };
    spool.commit(commit).await.unwrap();
    let mut acknowledged = records(&spool).await;
    spool.close().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy(index.path(), &dir.path().join("index"));

    let (spool, opened) = open(dir.path());
    assert_eq!((kinds(&opened), opened.recovered), (vec!["spool.completed"], 1));
    assert_eq!(acknowledged[3].state, State::Uploading);
    acknowledged[3].state = State::Queued;
    assert_eq!(records(&spool).await, acknowledged);
    assert_eq!(spool.document("s-2").await.unwrap().unwrap().value["released"], json!([5]));
    let log = spool.events(0, usize::MAX).await.unwrap();
    let told = log.iter().filter(|event| event.data["session"] == "s-2" && event.kind == "session.released");
    assert_eq!(told.count(), 1);
    spool.close().await;
    let (_, opened) = open(dir.path());
    assert_eq!(kinds(&opened), Vec::<&str>::new(), "the second start is quiet");
}

#[tokio::test]
async fn a_lost_session_file_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    fs::remove_file(dir.path().join("media/s-1/session.json")).unwrap();
    fs::write(dir.path().join("media/s-2/session.json"), b"{}").unwrap();
    let (spool, opened) = open(dir.path());
    assert_eq!(kinds(&opened), ["spool.session-file-damaged"]);
    assert_eq!(records(&spool).await, before);
    // The lost file also knew the moved item.
    apply(&spool, vec![(key(5), Change::MoveItem { item: "WVW5".into() })]).await;
    let before = records(&spool).await;
    spool.close().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (spool, opened) = open(dir.path());
    assert!(opened.rebuilt);
    let found = records(&spool).await;
    assert_rebuilt(&found[..4], &before[..4]);
    assert_eq!(found[4].facts.item, "WVW5");
}

#[tokio::test]
async fn a_check_changes_nothing_and_finds_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    a_day(dir.path()).await;
    let before = content(dir.path());
    let report = repair::check(dir.path()).unwrap();
    assert!(report.healthy(), "{report:?}");
    assert_eq!((report.records, report.documents), (6, 1), "{report:?}");
    assert_eq!((report.media, report.sidecars), (6, 5), "{report:?}");
    assert_eq!(content(dir.path()), before, "a check changed something");

    // Same length, other bytes: only the hash can tell.
    fs::write(dir.path().join("media/s-1/000000000003.jpg"), b"frame 3").unwrap();
    fs::write(dir.path().join("media/s-1/session.json"), b"{}").unwrap();
    fs::write(dir.path().join("media/s-1/stray.jpg"), b"?").unwrap();
    fs::remove_file(dir.path().join("index/db")).unwrap();
    let report = repair::check(dir.path()).unwrap();
    let mut found: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    found.sort_unstable();
    let expected =
        ["file-unpromised", "index-unreadable", "media-damaged", "records-unindexed", "session-file-damaged"];
    assert_eq!(found, expected, "{report:?}");
}

#[tokio::test]
async fn a_rebuild_by_hand_keeps_the_old_index_aside() {
    let dir = tempfile::tempdir().unwrap();
    let before = a_day(dir.path()).await;
    let rebuilt = repair::rebuild(dir.path(), Arc::new(TestClock::default())).unwrap();
    assert_eq!((rebuilt.records, rebuilt.documents), (6, 1), "{rebuilt:?}");
    assert!(rebuilt.aside.unwrap().join("index/db").is_file());
    let (spool, opened) = open(dir.path());
    assert_eq!(kinds(&opened), Vec::<&str>::new());
    assert_rebuilt(&records(&spool).await, &before);
    let refused = [
        repair::check(dir.path()).unwrap_err(),
        repair::rebuild(dir.path(), Arc::new(TestClock::default())).unwrap_err(),
        repair::export(dir.path(), &mut Vec::new()).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
    }
    let nowhere = repair::check(&dir.path().join("nowhere")).unwrap_err();
    assert!(matches!(nowhere, SpoolError::Unknown { .. }), "{nowhere}");
    assert!(!dir.path().join("nowhere").exists());
}

#[tokio::test]
async fn an_export_has_every_record_document_and_event() {
    let dir = tempfile::tempdir().unwrap();
    a_day(dir.path()).await;
    let before = content(dir.path());
    let mut out = Vec::new();
    repair::export(dir.path(), &mut out).unwrap();
    assert_eq!(content(dir.path()), before, "an export changed something");
    let lines: Vec<Value> =
        String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let count = |name: &str| lines.iter().filter(|line| line.get(name).is_some()).count();
    assert_eq!((count("record"), count("document")), (6, 1));
    let last = lines.last().unwrap()["event"]["sequence"].as_u64().unwrap();
    assert_eq!(count("event") as u64, last);
}
