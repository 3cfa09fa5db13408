use serde_json::json;

use super::test_support::*;
use super::*;
use crate::event;
use crate::queue::{Change, Failure, Proof, Receipt};
use crate::store::memory::Fault;

fn receipt(record: &Record) -> Receipt {
    Receipt { proof: Proof::Readback, location: "there".into(), sha256: record.sha256, derived: None }
}

fn change(record: &Record, change: Change) -> Commit {
    Commit { changes: vec![(record.key.clone(), change)], ..Commit::default() }
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, opened) = Spool::open(options(dir.path()), clock()).unwrap();
    assert_eq!(opened.sentences().count(), 0, "{opened:?}");
    let shot = vec![file("s-1", 0, b"one"), file("s-1", 0, b"two")];
    let put = spool.put(shot, vec![event("extra")]).await.unwrap();
    assert_eq!(put.iter().map(|record| record.key.sequence).collect::<Vec<_>>(), [1, 2]);
    spool.close().await;
    assert_eq!(spool.counts().await, Err(SpoolError::Closed));

    let (spool, opened) = Spool::open(options(dir.path()), clock()).unwrap();
    assert_eq!((opened.records, opened.boots, opened.rebuilt), (2, 2, false), "{opened:?}");
    assert_eq!(spool.session_records("s-1").await.unwrap(), put);
    assert_eq!(std::fs::read(spool.media_path(&put[1])).unwrap(), b"two");
    let log = spool.events(0, 99).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["spool.opened", "frame.captured", "frame.captured", "extra", "spool.opened"]);
    let before = std::iter::once(None).chain(log.iter().map(Some));
    assert!(before.zip(&log).all(|(previous, one)| event::verify(previous, one).is_ok()));
    assert_eq!(log[1].data["sha256"], json!(Sha256::of(b"one")));
    assert_eq!(*spool.changed().borrow(), 5);
}

#[tokio::test]
async fn one_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let error = Spool::open(options(dir.path()), clock()).unwrap_err();
    assert_eq!(error, SpoolError::InUse { dir: dir.path().to_owned() });
    spool.close().await;
    Spool::open(options(dir.path()), clock()).unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_what_was_hashed_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let mut wrong = file("s-1", 1, b"one");
    wrong.sha256 = Sha256::of(b"other");
    let error = spool.put(vec![file("s-1", 0, b"zero"), wrong], vec![]).await.unwrap_err();
    assert_eq!(error, SpoolError::Mismatch { given: Sha256::of(b"other"), computed: Sha256::of(b"one") });
    assert_eq!(std::fs::read_dir(dir.path().join("media/s-1")).unwrap().count(), 0);
    assert_eq!(spool.counts().await.unwrap(), Counts::default());
    spool.put(vec![file("s-1", 0, b"zero")], vec![]).await.unwrap();
}

#[tokio::test]
async fn no_name_escapes_the_folder() {
    let spool = Spool::in_memory(clock());
    let long = "x".repeat(129);
    for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\0b", "ü", &long] {
        let as_session = spool.put(vec![file(name, 0, b"x")], vec![]).await;
        let mut as_file = file("s-1", 0, b"x");
        as_file.facts.file_name = name.to_owned();
        let as_file = spool.put(vec![as_file], vec![]).await;
        let mut as_extension = file("s-1", 0, b"x");
        as_extension.extension = name.to_owned();
        let as_extension = spool.put(vec![as_extension], vec![]).await;
        let document = Document { id: name.to_owned(), value: json!({}) };
        let as_document = spool.commit(Commit { documents: vec![document], ..Commit::default() }).await;
        for outcome in [as_session, as_file, as_extension, as_document] {
            assert!(matches!(outcome, Err(SpoolError::Invalid { .. })), "{name:?}: {outcome:?}");
        }
    }
    let mut sidecar = file("s-1", 0, b"x");
    sidecar.extension = "json".to_owned();
    assert!(matches!(spool.put(vec![sidecar], vec![]).await, Err(SpoolError::Invalid { .. })));
    let two_sessions = vec![file("s-1", 0, b"x"), file("s-2", 0, b"x")];
    assert!(matches!(spool.put(two_sessions, vec![]).await, Err(SpoolError::Invalid { .. })));
    assert_eq!(spool.counts().await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_retake_takes_the_place_of_the_frame_before_it() {
    let spool = Spool::in_memory(clock());
    let first = spool.put(vec![file("s-1", 17, b"blurred")], vec![]).await.unwrap();
    let mut retake = file("s-1", 17, b"sharp");
    retake.supersedes = Some(1);
    let second = spool.put(vec![retake.clone()], vec![]).await.unwrap();
    let records = spool.session_records("s-1").await.unwrap();
    assert_eq!(records[0], Record { superseded_by: Some(2), ..first[0].clone() });
    assert_eq!(records[1], second[0]);
    let release = change(&records[0], Change::Release);
    assert!(matches!(spool.commit(release).await, Err(SpoolError::Refused(_))));
    assert!(matches!(spool.put(vec![retake.clone()], vec![]).await, Err(SpoolError::Refused(_))));
    retake.supersedes = Some(99);
    assert!(matches!(spool.put(vec![retake], vec![]).await, Err(SpoolError::Unknown { .. })));
    let counts = spool.counts().await.unwrap();
    assert_eq!((counts.captured, counts.superseded, counts.bytes), (1, 1, 12));
}

#[tokio::test]
async fn a_commit_with_one_refused_change_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let put = spool.put(vec![file("s-1", 0, b"a"), file("s-1", 1, b"b")], vec![]).await.unwrap();
    let events = *spool.changed().borrow();
    let commit = Commit {
        documents: vec![Document { id: "s-1".into(), value: json!({"released": [1, 2]}) }],
        changes: vec![(put[0].key.clone(), Change::Release), (put[1].key.clone(), Change::Begin)],
        events: vec![event("session.released")],
    };
    assert!(matches!(spool.commit(commit).await, Err(SpoolError::Refused(_))));
    assert_eq!(spool.session_records("s-1").await.unwrap(), put);
    assert_eq!(spool.document("s-1").await.unwrap(), None);
    assert_eq!(*spool.changed().borrow(), events);
    assert!(!dir.path().join("media/s-1/session.json").exists());
}

#[tokio::test]
async fn several_changes_of_one_record_are_applied_in_order() {
    let spool = Spool::in_memory(clock());
    let put = spool.put(vec![file("s-1", 0, b"a")], vec![]).await.unwrap();
    let key = &put[0].key;
    let changes = vec![
        (key.clone(), Change::Release),
        (key.clone(), Change::Begin),
        (key.clone(), Change::Confirm(receipt(&put[0]), clock().now())),
    ];
    let changed = spool.commit(Commit { changes, ..Commit::default() }).await.unwrap();
    assert_eq!(changed.iter().map(|record| record.state).collect::<Vec<_>>(), [State::Confirmed]);
    let counts = spool.counts().await.unwrap();
    assert_eq!((counts.captured, counts.queued, counts.confirmed), (0, 0, 1));
}

#[tokio::test]
async fn due_are_those_whose_time_has_come_in_order() {
    let spool = Spool::in_memory(clock());
    let files = (0..4).map(|shot| file("s-1", shot, b"a")).collect();
    let put = spool.put(files, vec![]).await.unwrap();
    let now = clock().now();
    for record in &put[1..] {
        spool.commit(change(record, Change::Release)).await.unwrap();
    }
    let failure = Failure { rule: "x".into(), reason: "x".into() };
    let at = Stamp { boottime_ms: 500, ..now.clone() };
    spool.commit(change(&put[1], Change::Begin)).await.unwrap();
    spool.commit(change(&put[1], Change::Later { at, failure, counted: true })).await.unwrap();
    let due = async |ms: u64, boot: &str, limit: usize| {
        let at = Stamp { boottime_ms: ms, boot_id: boot.to_owned(), ..now.clone() };
        let due = spool.due(&at, limit).await.unwrap();
        due.iter().map(|record| record.key.sequence).collect::<Vec<_>>()
    };
    assert_eq!(due(499, "boot-1", 9).await, [3, 4]);
    assert_eq!(due(500, "boot-1", 9).await, [2, 3, 4]);
    assert_eq!(due(0, "boot-2", 2).await, [2, 3]);
    assert_eq!(spool.counts().await.unwrap().oldest_queued, Some(put[1].captured_at.clone()));
}

#[tokio::test]
async fn the_oldest_of_each_state_is_of_ones_own_and_a_retake_is_younger_than_what_it_replaced() {
    let spool = Spool::in_memory(clock());
    let put = spool.put((0..4).map(|shot| file("s-1", shot, b"a")).collect(), vec![]).await.unwrap();
    let org = put[0].facts.org.clone();
    let oldest = async |state: State| spool.oldest_of(&org).await.unwrap().get(&state).cloned();
    assert_eq!(oldest(State::Captured).await, Some(put[0].captured_at.clone()));
    let retake = NewFile { supersedes: Some(1), ..file("s-1", 0, b"b") };
    let retaken = spool.put(vec![retake], vec![]).await.unwrap();
    assert_eq!(oldest(State::Captured).await, Some(put[1].captured_at.clone()));
    for record in put[1..].iter().chain(&retaken) {
        spool.commit(change(record, Change::Release)).await.unwrap();
    }
    assert_eq!((oldest(State::Captured).await, oldest(State::Queued).await.is_some()), (None, true));
    spool.commit(change(&put[1], Change::Begin)).await.unwrap();
    let done = Change::Confirm(receipt(&put[1]), clock().now());
    spool.commit(change(&put[1], done)).await.unwrap();
    assert_eq!(oldest(State::Queued).await, Some(put[2].captured_at.clone()));
    assert_eq!(oldest(State::Confirmed).await, None, "nothing waits for it");
    assert!(spool.oldest_of("another").await.unwrap().is_empty());
}

#[tokio::test]
async fn below_the_hard_mark_a_put_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let marks = SpoolOptions { free_bytes_hard: u64::MAX / 2, ..options(dir.path()) };
    let (spool, _) = Spool::open(marks, clock()).unwrap();
    let error = spool.put(vec![file("s-1", 0, b"a")], vec![]).await.unwrap_err();
    assert!(matches!(error, SpoolError::DiskFull { free, needed } if needed > free), "{error}");
    assert!(!dir.path().join("media/s-1").exists());
    let room = spool.room().unwrap();
    assert!(!room.above_hard() && room.above_soft());
    assert_eq!(room.sessions_left(1000), 0);
    spool.commit(Commit { events: vec![event("still.alive")], ..Commit::default() }).await.unwrap();
}

#[test]
fn room_is_counted_in_sessions_above_the_hard_mark() {
    let limits =
        Limits { free_bytes_soft: 2_000, free_bytes_hard: 1_000, keep_confirmed: std::time::Duration::ZERO };
    let room = Room { free_bytes: 1_950, limits };
    assert_eq!(room.sessions_left(300), 3);
    assert_eq!(room.sessions_left(0), 950);
    assert!(room.above_hard() && !room.above_soft());
}

#[tokio::test]
async fn whichever_commit_fails_what_was_acknowledged_is_there_and_nothing_else_is_taken() {
    for fault in [Fault::Full, Fault::Failed] {
        for nth in 1..=6 {
            let store = MemoryStore::new();
            let survives = store.reopened();
            let spool = Spool::on_store(Box::new(store.fail_at(nth, fault)), clock());
            let mut acknowledged = Vec::new();
            for shot in 0..6 {
                match spool.put(vec![file("s-1", shot, b"a")], vec![]).await {
                    Ok(records) => acknowledged.extend(records),
                    Err(SpoolError::DiskFull { .. }) => assert_eq!(fault, Fault::Full),
                    Err(SpoolError::Storage { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(acknowledged.len() as u64, nth - 1, "after a failure nothing is acknowledged");
            let mut found = Vec::new();
            let each = &mut |record| {
                found.push(record);
                true
            };
            survives.scan(Scope::All, each).unwrap();
            assert_eq!(found, acknowledged);
        }
    }
}

#[test]
fn puts_that_wait_together_share_one_commit_and_stand_in_order() {
    let store = MemoryStore::new();
    let survives = store.reopened();
    // The second commit fails, so all of them were in the first.
    let spool = Spool::on_store(Box::new(store.fail_at(2, Fault::Failed)), clock());
    let Runner::Inline(keeper) = &spool.inner.runner else { panic!("in memory") };
    let (jobs, answers): (Vec<_>, Vec<_>) = (0..5)
        .map(|shot| {
            let (answer, answered) = oneshot::channel();
            let mut file = file("s-1", shot, b"a");
            // A frame and its retake may wait together.
            file.supersedes = (shot == 4).then_some(1);
            if shot == 3 {
                file.sha256 = Sha256::of(b"wrong");
            }
            (Job::Put(vec![file], vec![event(&shot.to_string())], answer), answered)
        })
        .unzip();
    keeper.lock().unwrap().as_mut().unwrap().run(jobs);
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap().is_ok()).collect();
    assert_eq!(answers, [true, true, true, false, true], "one that is refused does not harm the others");
    let mut log = Vec::new();
    let each = &mut |event: Event| {
        log.push(event.kind);
        true
    };
    survives.events(0, each).unwrap();
    let one = "frame.captured";
    assert_eq!(log, [one, "0", one, "1", one, "2", one, "4"]);
    let key = |sequence| Key { sequence, product: "original".into(), destination: "stick".into() };
    assert_eq!(survives.record(&key(1)).unwrap().unwrap().superseded_by, Some(4));
}

#[tokio::test]
async fn a_file_for_two_destinations_is_stored_once_and_counted_once() {
    let spool = Spool::in_memory(clock());
    let mut both = file("s-1", 0, b"12345");
    both.destinations = vec!["cloud".into(), "stick".into()];
    let put = spool.put(vec![both.clone()], vec![]).await.unwrap();
    assert_eq!(put.len(), 2);
    assert_eq!(put[0].media, put[1].media);
    let counts = spool.counts().await.unwrap();
    assert_eq!((counts.captured, counts.bytes), (2, 5));
    both.destinations.push("cloud".into());
    assert!(matches!(spool.put(vec![both.clone()], vec![]).await, Err(SpoolError::Invalid { .. })));
    both.destinations.clear();
    let kept_here = spool.put(vec![both], vec![]).await.unwrap();
    assert_eq!(kept_here[0].key.destination, "");
}

#[tokio::test]
async fn callers_that_come_at_once_all_get_their_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path()), clock()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for shot in 0..100 {
        let spool = spool.clone();
        tasks.spawn(async move { spool.put(vec![file("s-1", shot, b"a")], vec![]).await });
    }
    let mut sequences = Vec::new();
    while let Some(put) = tasks.join_next().await {
        sequences.push(put.unwrap().unwrap()[0].key.sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
}
