use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ClockQuality;

fn stamp(ms: u64) -> Stamp {
    Stamp { wall_ms: ms as i64, quality: ClockQuality::Synced, boottime_ms: ms, boot_id: "b".into() }
}

fn record() -> Record {
    Record {
        schema: RECORD_SCHEMA,
        key: Key { sequence: 7, product: "original".into(), destination: "stick".into() },
        state: State::Captured,
        facts: Facts {
            org: "o".into(),
            site: "s".into(),
            item: "WVW1".into(),
            session: "s-1".into(),
            camera: "main".into(),
            shot: 17,
            take: 1,
            angle_commanded: Some(170.0),
            angle_reached: Some(169.98),
            capture_class: "durable".into(),
            consent: None,
            actor: "operator:ana".into(),
            trace_id: "t".into(),
            file_name: "017_main_170.0.jpg".into(),
            content_type: "image/jpeg".into(),
            sha256_captured: Sha256::of(b"x"),
        },
        sha256: Sha256::of(b"x"),
        length: 1,
        media: "s-1/000000000007.jpg".into(),
        captured_at: stamp(1),
        superseded_by: None,
        attempts: 0,
        next_attempt: None,
        failure: None,
        receipt: None,
        for_good: false,
        confirmed_at: None,
        meta: json!({"schema": 1}),
    }
}

fn failure() -> Failure {
    Failure { rule: "destination-full".into(), reason: "make room".into() }
}

fn receipt(bytes: &[u8]) -> Receipt {
    Receipt { proof: Proof::Readback, location: "x".into(), sha256: Sha256::of(bytes), derived: None }
}

/// Of bytes that were made of `from`.
fn derived(from: &[u8]) -> Receipt {
    Receipt { derived: Some(Derived { from: Sha256::of(from), length: 9 }), ..receipt(b"enriched") }
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Release),
        (0_u64..20).prop_map(|by| Change::Supersede { by }),
        Just(Change::Begin),
        Just(Change::Confirm(receipt(b"x"), stamp(9))),
        Just(Change::Confirm(receipt(b"other"), stamp(9))),
        Just(Change::Confirm(derived(b"x"), stamp(9))),
        Just(Change::Confirm(derived(b"other"), stamp(9))),
        (any::<u64>(), any::<bool>()).prop_map(|(ms, counted)| Change::Later {
            at: stamp(ms / 2),
            failure: failure(),
            counted
        }),
        Just(Change::Park(failure())),
        Just(Change::Refuse(failure())),
        Just(Change::Requeue),
        Just(Change::Recover),
        Just(Change::MoveItem { item: "WVW2".into() }),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_changes_breaks_a_promise(changes in prop::collection::vec(any_change(), 0..40)) {
        let mut record = record();
        for change in changes {
            let before = record.clone();
            match record.apply(&change) {
                Err(refused) => {
                    prop_assert_eq!(&record, &before, "a refused change changed something");
                    prop_assert_eq!(refused.state, before.state);
                }
                Ok(()) => prop_assert_ne!(before.state, State::Confirmed, "confirmed is the end, {:?}", change),
            }
            if before.superseded_by.is_some() {
                prop_assert_eq!(record.superseded_by, before.superseded_by);
                prop_assert_eq!(record.state, State::Captured, "a superseded frame moved on by {:?}", change);
            }
            if record.superseded_by.is_some() {
                prop_assert!(record.superseded_by > Some(record.key.sequence));
            }
            let proven = record.receipt.as_ref().is_some_and(|receipt| receipt.stands_for() == record.sha256);
            prop_assert_eq!(record.state == State::Confirmed, proven && record.confirmed_at.is_some());
            prop_assert!(record.state != State::Failed || record.failure.is_some(), "parked without a reason");
            prop_assert!(record.attempts <= before.attempts + 1);
            prop_assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record.clone());
        }
    }

    #[test]
    fn keys_sort_as_their_bytes_do(
        a in (0_u64..4, "[a-c\0\u{ff}]{0,4}", "[a-c\0]{0,4}"),
        b in (0_u64..4, "[a-c\0\u{ff}]{0,4}", "[a-c\0]{0,4}"),
    ) {
        let key = |(sequence, product, destination): (u64, String, String)| Key { sequence, product, destination };
        let (a, b) = (key(a), key(b));
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        prop_assert_eq!(Key::from_bytes(&a.to_bytes()), Some(a.clone()));
        prop_assert!(a == b || !a.to_bytes().starts_with(&b.to_bytes()), "one key begins like another");
    }

    #[test]
    fn foreign_bytes_are_no_record_and_no_key(bytes: Vec<u8>) {
        prop_assert!(Record::decode(&bytes).is_err());
        if let Some(key) = Key::from_bytes(&bytes) {
            prop_assert_eq!(key.to_bytes(), bytes);
        }
    }
}

#[test]
fn the_way_of_a_frame_is_captured_queued_uploading_confirmed() {
    let mut record = record();
    for (change, state) in [
        (Change::Release, State::Queued),
        (Change::Begin, State::Uploading),
        (Change::Later { at: stamp(5), failure: failure(), counted: true }, State::Queued),
        (Change::Begin, State::Uploading),
        (Change::Recover, State::Queued),
        (Change::Begin, State::Uploading),
        (Change::Confirm(receipt(b"x"), stamp(6)), State::Confirmed),
    ] {
        record.apply(&change).unwrap();
        assert_eq!(record.state, state, "after {change:?}");
    }
    assert_eq!((record.attempts, record.failure), (1, None));
}

#[test]
fn a_refusal_names_the_record_its_state_and_what_was_asked() {
    let refused = record().apply(&Change::Begin).unwrap_err();
    assert_eq!(refused.to_string(), "cannot begin to upload original 7 for \"stick\": it is captured");
}

#[test]
fn waiting_counts_attempts_only_while_online_and_parking_only_an_attempt() {
    let mut record = record();
    record.apply(&Change::Release).unwrap();
    record.apply(&Change::Begin).unwrap();
    record.apply(&Change::Later { at: stamp(1), failure: failure(), counted: false }).unwrap();
    assert_eq!(record.attempts, 0);
    let mut untried = record.clone();
    untried.apply(&Change::Park(failure())).unwrap();
    assert_eq!((untried.state, untried.attempts), (State::Failed, 0));
    record.apply(&Change::Begin).unwrap();
    record.apply(&Change::Park(failure())).unwrap();
    assert_eq!((record.state, record.attempts), (State::Failed, 1));
    record.apply(&Change::Requeue).unwrap();
    assert_eq!((record.state, record.attempts, record.failure), (State::Queued, 0, None));
}

#[test]
fn the_item_can_be_corrected_until_a_destination_may_have_read_it() {
    let mut record = record();
    let correct = Change::MoveItem { item: "WVW2".into() };
    record.apply(&correct).unwrap();
    record.apply(&Change::Release).unwrap();
    record.apply(&correct).unwrap();
    assert_eq!(record.facts.item, "WVW2");
    record.apply(&Change::Begin).unwrap();
    assert!(record.apply(&correct).is_err());
}

#[test]
fn a_retry_time_of_another_boot_has_passed() {
    let mut record = record();
    record.state = State::Queued;
    record.next_attempt = Some(stamp(100));
    assert!(!record.due(&stamp(99)));
    assert!(record.due(&stamp(100)));
    assert!(record.due(&Stamp { boot_id: "next".into(), ..stamp(1) }));
}

#[test]
fn an_old_reader_takes_what_a_newer_writer_of_the_same_schema_added() {
    let mut value = serde_json::to_value(record()).unwrap();
    value["priority"] = json!(3);
    value["facts"]["lane"] = json!({"left": true});
    assert_eq!(Record::decode(value.to_string().as_bytes()).unwrap(), record());
}

#[test]
fn a_receipt_of_derived_bytes_is_read_by_an_older_program_and_an_older_one_by_this() {
    /// As it was before bytes could be derived.
    #[derive(Deserialize)]
    struct Old {
        proof: Proof,
        location: String,
        sha256: Sha256,
    }
    let new = derived(b"x");
    let old: Old = serde_json::from_value(json!(new)).unwrap();
    assert_eq!((old.proof, old.location, old.sha256), (new.proof, new.location.clone(), new.sha256));
    let plain = receipt(b"x");
    let written = json!({"proof": "readback", "location": "x", "sha256": Sha256::of(b"x")});
    assert_eq!(json!(plain), written, "what is not derived is written as it always was");
    assert_eq!(serde_json::from_value::<Receipt>(written).unwrap(), plain);
    assert_eq!((new.stands_for(), plain.stands_for()), (Sha256::of(b"x"), Sha256::of(b"x")));
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    let mut value = serde_json::to_value(record()).unwrap();
    value["schema"] = json!(RECORD_SCHEMA + 1);
    let error = Record::decode(value.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, DecodeError::TooNew { found: 2 }), "{error}");
    assert!(error.to_string().contains("install the newer version"), "{error}");
    value["schema"] = json!(0);
    assert!(matches!(Record::decode(value.to_string().as_bytes()), Err(DecodeError::Broken(_))));
}
