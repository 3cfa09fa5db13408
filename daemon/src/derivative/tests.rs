use serde_json::json;
use turnstage_cloud_sync::queue::{Facts, Key, RECORD_SCHEMA, State};
use turnstage_cloud_sync::{Sha256, Stamp};

use super::*;

fn record(quality: ClockQuality, meta: Value) -> Record {
    Record {
        schema: RECORD_SCHEMA,
        key: Key { sequence: 7, product: "original".into(), destination: "stick".into() },
        state: State::Uploading,
        facts: Facts {
            org: "o".into(),
            site: "s".into(),
            item: "WVW1".into(),
            session: "s-1".into(),
            camera: "main".into(),
            shot: 17,
            take: 2,
            angle_commanded: Some(170.0),
            angle_reached: None,
            capture_class: "durable".into(),
            consent: None,
            actor: "operator:ana".into(),
            trace_id: "t".into(),
            file_name: "018_main_170.0.jpg".into(),
            content_type: "image/jpeg".into(),
            sha256_captured: Sha256::of(b"x"),
        },
        sha256: Sha256::of(b"x"),
        length: 1,
        media: "s-1/000000000007.jpg".into(),
        captured_at: Stamp { wall_ms: 1, quality, boottime_ms: 1, boot_id: "b".into() },
        superseded_by: None,
        attempts: 0,
        next_attempt: None,
        failure: None,
        receipt: None,
        for_good: false,
        confirmed_at: None,
        meta,
    }
}

fn meta() -> Value {
    json!({
        "schema": 1,
        "software": "Turnstage 9.9.9",
        "camera": {
            "exposed_with": {"exposure_us": 8000.0, "gain": 1.0},
            "more": {"lens": "50 mm", "iso": "100", "f_number": "f/8"},
            "model": "Camera 1",
            "from_file": false,
        },
        "time": {"exposed_at_ms": 1_795_772_103_120_i64, "utc_offset_min": 60},
    })
}

#[test]
fn a_record_tells_its_picture_what_is_written_into_it() {
    let expected = CaptureFacts {
        session: "s-1".into(),
        item: "WVW1".into(),
        camera: "main".into(),
        shot: 18,
        take: 2,
        angle_commanded: Some(170.0),
        angle_reached: None,
        exposed_at: Some("2026-11-27T10:35:03.120+01:00".into()),
        exposure_s: Some(0.008),
        f_number: None,
        iso: Some(100),
        make: None,
        model: Some("Camera 1".into()),
        lens: Some("50 mm".into()),
        software: "Turnstage 9.9.9".into(),
    };
    assert_eq!(facts(&record(ClockQuality::Synced, meta())), expected);
}

#[test]
fn a_time_is_told_only_by_a_clock_that_was_set_and_of_an_exposure_that_was_seen() {
    for quality in [ClockQuality::Unset, ClockQuality::Rtc] {
        assert_eq!(facts(&record(quality, meta())).exposed_at, None, "{quality:?}");
    }
    let mut imported = meta();
    imported["camera"]["from_file"] = json!(true);
    assert_eq!(facts(&record(ClockQuality::Synced, imported)).exposed_at, None);
}

#[test]
fn a_record_of_an_older_version_says_less() {
    for meta in [json!({"schema": 1}), Value::Null, json!({"camera": 7, "time": [], "software": ""})] {
        let facts = facts(&record(ClockQuality::Synced, meta));
        assert_eq!((facts.session.as_str(), facts.software.as_str()), ("s-1", "Turnstage"));
        assert_eq!((facts.exposed_at, facts.model, facts.exposure_s), (None, None, None));
    }
}

#[test]
fn what_cannot_be_written_goes_as_it_is_and_what_cannot_be_stripped_stays() {
    let record = record(ClockQuality::Synced, meta());
    let damaged = Bytes::from_static(b"\xff\xd8\xff\xe1\xff\xff cut off");
    let Derivative::AsStored(notice) = written(&record, &damaged) else { panic!("not as stored") };
    assert_eq!(notice.rule, "metadata-not-written");
    assert!(notice.reason.contains("018_main_170.0.jpg"), "{}", notice.reason);
    let Derivative::Refused(why) = stripped(&record, &damaged) else { panic!("not refused") };
    assert_eq!(why.rule, "metadata-not-removed");
}
