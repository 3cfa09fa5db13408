//! One suite over the trait, run on every store.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::memory::{Fault, MemoryStore};
use super::sled::{SledStore, StoreOpened};
use super::*;
use crate::event::NewEvent;
use crate::queue::State;
use crate::spool::test_support::{clock, record};

type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

fn on_every_store(suite: fn(Open<'_>)) {
    let memory = MemoryStore::new();
    suite(&mut || Box::new(memory.reopened()));
    let dir = tempfile::tempdir().unwrap();
    suite(&mut || Box::new(open(dir.path()).0));
}

fn open(dir: &Path) -> (SledStore, StoreOpened) {
    SledStore::open(&dir.join("index"), &dir.join("aside")).unwrap()
}

fn event(previous: Option<&Event>, kind: &str) -> Event {
    let new = NewEvent { kind: kind.into(), actor: "test".into(), session: None, data: json!({"n": 0.1}) };
    Event::append(previous, new, clock().now())
}

fn scanned(store: &dyn Store, scope: Scope<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    store
        .scan(scope, &mut |record| {
            records.push(record);
            true
        })
        .unwrap();
    records
}

#[test]
fn what_was_committed_is_there_in_order_also_after_reopening() {
    on_every_store(|open| {
        let mut store = open();
        let first = event(None, "one");
        let second = event(Some(&first), "two");
        let records = vec![record(300, "s-2"), record(2, "s-1"), record(1, "s-1")];
        let document = Document { id: "s-1".into(), value: json!({"released": [1]}) };
        let batch = Batch {
            records,
            removed: Vec::new(),
            documents: vec![document.clone()],
            events: vec![first, second.clone()],
        };
        store.commit(&batch).unwrap();
        for _ in 0..2 {
            let all = scanned(&*store, Scope::All);
            assert_eq!(all.iter().map(|one| one.key.sequence).collect::<Vec<_>>(), [1, 2, 300]);
            assert_eq!(all[2], batch.records[0]);
            let session = scanned(&*store, Scope::Session("s-1"));
            assert_eq!(session.iter().map(|one| one.key.sequence).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(scanned(&*store, Scope::Sequence(2)), [batch.records[1].clone()]);
            assert_eq!(scanned(&*store, Scope::Session("s-")), []);
            assert_eq!(store.record(&all[0].key).unwrap().as_ref(), Some(&all[0]));
            assert_eq!(store.document("s-1").unwrap(), Some(document.clone()));
            assert_eq!(store.document("s").unwrap(), None);
            assert_eq!(store.last_event().unwrap(), Some(second.clone()));
            let mut after = Vec::new();
            store
                .events(1, &mut |event| {
                    after.push(event.sequence);
                    true
                })
                .unwrap();
            assert_eq!(after, [2]);
            drop(store);
            store = open();
        }
    });
}

#[test]
fn a_reader_can_stop_early() {
    on_every_store(|open| {
        let mut store = open();
        let records = (1..=5).map(|sequence| record(sequence, "s-1")).collect();
        store.commit(&Batch { records, ..Batch::default() }).unwrap();
        for scope in [Scope::All, Scope::Session("s-1")] {
            let mut seen = 0;
            store
                .scan(scope, &mut |_| {
                    seen += 1;
                    seen < 2
                })
                .unwrap();
            assert_eq!(seen, 2, "{scope:?}");
        }
    });
}

#[test]
fn a_removed_record_is_gone_everywhere() {
    on_every_store(|open| {
        let mut store = open();
        let records = vec![record(1, "s-1"), record(2, "s-1")];
        let removed = vec![records[0].key.clone()];
        store.commit(&Batch { records, ..Batch::default() }).unwrap();
        store.commit(&Batch { removed: removed.clone(), ..Batch::default() }).unwrap();
        assert_eq!(store.record(&removed[0]).unwrap(), None);
        for scope in [Scope::All, Scope::Session("s-1")] {
            assert_eq!(scanned(&*store, scope).len(), 1);
        }
    });
}

#[test]
fn a_long_document_that_becomes_short_leaves_nothing_behind() {
    on_every_store(|open| {
        let mut store = open();
        for length in [0, 4094, 4095, 4096, 9000, 300_000, 10] {
            let document = Document { id: "s-1".into(), value: json!("x".repeat(length)) };
            store.commit(&Batch { documents: vec![document.clone()], ..Batch::default() }).unwrap();
            assert_eq!(store.document("s-1").unwrap(), Some(document.clone()), "{length} bytes");
            let mut all = Vec::new();
            store
                .documents(&mut |one| {
                    all.push(one);
                    true
                })
                .unwrap();
            assert_eq!(all, [document], "{length} bytes");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn both_stores_agree_whatever_is_written(steps in prop::collection::vec(
        (1_u64..20, 0_usize..12_000, prop::sample::select(vec!["s-1", "s-2"]), any::<bool>()), 1..25,
    )) {
        let dir = tempfile::tempdir().unwrap();
        let mut stores: [Box<dyn Store>; 2] = [Box::new(MemoryStore::new()), Box::new(open(dir.path()).0)];
        for (sequence, length, session, remove) in steps {
            let mut one = record(sequence, session);
            // A record stays in its session for ever.
            one.facts.session = format!("s-{}", sequence % 3);
            one.meta = json!("m".repeat(length));
            let batch = match remove {
                true => Batch { removed: vec![one.key], ..Batch::default() },
                false => Batch { records: vec![one], ..Batch::default() },
            };
            stores.iter_mut().for_each(|store| store.commit(&batch).unwrap());
        }
        let [memory, sled] = &stores;
        for scope in [Scope::All, Scope::Session("s-0"), Scope::Session("s-1"), Scope::Sequence(4)] {
            prop_assert_eq!(scanned(&**memory, scope), scanned(&**sled, scope));
        }
    }
}

#[test]
fn no_value_leaves_the_log_however_long_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for sequence in 1..=60 {
        let mut one = record(sequence, "s-1");
        one.state = State::Queued;
        one.meta = json!("m".repeat(30_000));
        let documents = vec![Document { id: "s-1".into(), value: json!("d".repeat(200_000)) }];
        store.commit(&Batch { records: vec![one], documents, ..Batch::default() }).unwrap();
    }
    let blobs = std::fs::read_dir(dir.path().join("index/blobs")).unwrap().count();
    assert_eq!(blobs, 0, "sled never syncs these files");
}

#[test]
fn opening_is_counted_and_a_newer_layout_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = open(dir.path());
    assert_eq!(opened, StoreOpened { boots: 1, fresh: true, ..StoreOpened::default() });
    drop(store);
    let (mut store, opened) = open(dir.path());
    assert_eq!(opened, StoreOpened { boots: 2, ..StoreOpened::default() });
    store.pretend_schema(9);
    drop(store);
    match SledStore::open(&dir.path().join("index"), &dir.path().join("aside")) {
        Err(StoreError::TooNew { found: 9, known: 1 }) => {}
        other => panic!("{:?}", other.map(|(_, opened)| opened)),
    }
}

#[test]
fn records_and_events_of_a_newer_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let mut newer = record(1, "s-1");
    newer.schema += 1;
    let mut event = event(None, "x");
    event.schema += 1;
    store.commit(&Batch { records: vec![newer.clone()], events: vec![event], ..Batch::default() }).unwrap();
    for outcome in [store.record(&newer.key).map(drop), store.last_event().map(drop)] {
        assert!(matches!(outcome, Err(StoreError::TooNew { found: 2, known: 1 })), "{outcome:?}");
    }
}

#[test]
fn after_a_failed_commit_nothing_is_acknowledged_any_more() {
    for (nth, fault) in [(1, Fault::Full), (2, Fault::Failed)] {
        let mut store = MemoryStore::new().fail_at(nth, fault);
        let batch = Batch { records: vec![record(1, "s-1")], ..Batch::default() };
        let outcomes: Vec<_> = (0..4).map(|_| store.commit(&batch).is_ok()).collect();
        let good = usize::try_from(nth).unwrap() - 1;
        assert_eq!(outcomes.iter().filter(|ok| **ok).count(), good);
        assert!(outcomes[good..].iter().all(|ok| !ok));
        assert!(store.reopened().commit(&batch).is_ok());
    }
}

#[test]
fn a_second_handle_waits_for_the_first_and_says_so_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path());
    let error = SledStore::open(&dir.path().join("index"), &dir.path().join("aside")).err().unwrap();
    assert!(error.to_string().contains("another process holds it"), "{error}");
    drop(first);
    assert_eq!(open(dir.path()).1.boots, 2);
}
