//! Scenario 4: storage that lies, loses, refuses or hangs up. What is not proven is sent again, what is damaged here is
//! never sent for good, and the local picture is there in every case.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::queue::State;
use turnstage_tests::cloud::{Asked, Fault, Outcome, UrlTrouble};
use turnstage_tests::delivering::{Delivering, FRAMES, after};
use turnstage_tests::turnstage;

fn attempts(records: &[Record]) -> u32 {
    records.iter().map(|record| record.attempts).sum()
}

fn in_state(records: &[Record], state: State) -> Vec<&Record> {
    records.iter().filter(|record| record.state == state).collect()
}

/// Inverts one byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a picture");
    let middle = bytes.len() / 2;
    bytes[middle] = !bytes[middle];
    std::fs::write(path, bytes).expect("a writable picture");
}

/// The fault struck so often, and everything was sent once more for each.
async fn assert_sent_again(station: &Delivering, records: &[Record], times: u32, rule: &str) {
    assert_eq!(station.cloud.faults().left(), 0, "every fault happened");
    assert_eq!(attempts(records), times, "each is a counted attempt");
    assert_eq!(station.rules("upload.later").await, vec![rule; times as usize]);
    assert_eq!(station.asked("PUT", "").len(), FRAMES + times as usize);
    assert_eq!(station.cloud.objects().len(), FRAMES, "one object a picture");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_whose_checksum_is_not_echoed_or_falsely_is_not_confirmed_and_sent_again() {
    for fault in [Fault::StripEcho, Fault::FalseEcho] {
        let station = Delivering::start().await;
        station.cloud.faults().script("PUT", "", 2, fault);
        let id = station.released().await;
        let records = station.delivered(&id).await;
        assert_sent_again(&station, &records, 2, "echo-missing").await;
        station.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_arrives_damaged_is_compared_with_the_local_one_and_sent_again() {
    let station = Delivering::start().await;
    station.cloud.faults().script("PUT", "", 2, Fault::FlipByte(700));
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_sent_again(&station, &records, 2, "checksum-mismatch").await;
    let refused = station.asked("PUT", "").into_iter().filter(|put| put.outcome == Outcome::Answered(400));
    assert_eq!(refused.count(), 2, "the store said BadDigest");
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_is_damaged_here_is_parked_told_of_and_keeps_no_other_one_waiting() {
    let station = Delivering::start().await;
    let id = station.shot().await;
    let records = station.bench.records(&id).await;
    damage(&station.bench.running.spool.media_path(&records[1]));
    let shortened = station.bench.running.spool.media_path(&records[3]);
    std::fs::OpenOptions::new().write(true).open(shortened).expect("it").set_len(100).expect("shortened");
    station.release().await;
    let settled = |records: &[Record]| {
        records.iter().all(|record| matches!(record.state, State::Confirmed | State::Failed))
    };
    let records = station.until(&id, settled).await;
    station.assert_stored(&records);
    let failed = in_state(&records, State::Failed);
    assert_eq!(failed.iter().map(|record| record.facts.shot).collect::<Vec<_>>(), [1, 3]);
    for record in &failed {
        let failure = record.failure.as_ref().expect("a reason");
        assert_eq!(failure.rule, "media-damaged");
        assert!(failure.reason.ends_with("shoot it again"), "{}", failure.reason);
        assert_eq!(record.receipt, None);
    }
    assert_eq!(station.cloud.objects().len(), FRAMES - 2);
    assert_eq!(station.asked("PUT", "").len(), FRAMES - 2, "what is damaged is not even sent");

    let status = station.situation("refused").await;
    assert_eq!((&status["kind"], &status["sentence"]), (&json!("warn"), &json!("2 pictures were refused")));
    let waiting = station.waiting().await;
    assert!(waiting.iter().all(|(_, rule, _)| rule == "media-damaged"), "{waiting:?}");
    assert_eq!(waiting.iter().map(|(pictures, ..)| pictures).sum::<u64>(), 2);
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_ran_out_is_replaced_and_costs_no_attempt() {
    let station = Delivering::start().await;
    station.cloud.service().trouble_next_urls(2, UrlTrouble::EndsIn(-1));
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_eq!(attempts(&records), 0);
    assert_eq!(station.asked("POST", "/presign").len(), FRAMES + 2);
    let puts = station.asked("PUT", "");
    assert_eq!(puts.len(), FRAMES, "what has run out is not even tried");
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_the_store_finds_expired_again_and_again_cost_no_attempt_either() {
    let station = Delivering::start().await;
    // Three for each of the two pictures under way: after the third the station waits a little.
    station.cloud.service().trouble_next_urls(6, UrlTrouble::EndsIn(-1));
    let id = station.released().await;
    let away = station.situation("destination-away").await;
    assert_eq!(away["kind"], "ready", "capture goes on: {away}");
    assert!(away["detail"].as_str().expect("words").contains("check the clocks"), "{}", away["detail"]);
    let records = station.delivered(&id).await;
    assert_eq!(attempts(&records), 0);
    let refused = |put: &&Asked| put.outcome == Outcome::Answered(403);
    assert_eq!(station.asked("PUT", "").iter().filter(refused).count(), 2);
    assert!(station.rules("upload.later").await.iter().all(|rule| rule == "presign-expired"));
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_clock_is_apart_costs_no_attempt() {
    let station = Delivering::start().await;
    station.cloud.service().trouble_next_urls(1, UrlTrouble::EndsIn(2000));
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_eq!(attempts(&records), 0);
    assert_eq!(station.rules("upload.later").await, ["clock-skewed"]);
    assert_eq!(station.asked("PUT", "").len(), FRAMES + 1);
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_proves_nothing_gets_nothing_until_a_person_asks_again() {
    let station = Delivering::start().await;
    station.cloud.service().trouble_next_urls(1, UrlTrouble::ChecksumInQuery);
    let id = station.released().await;
    let settled = |records: &[Record]| in_state(records, State::Confirmed).len() == FRAMES - 1;
    let records = station.until(&id, settled).await;
    station.assert_stored(&records);
    assert_eq!(station.asked("PUT", "").len(), FRAMES - 1, "the picture was not sent there");
    let status = station.situation("refused").await;
    assert_eq!(status["sentence"], "1 picture was refused");
    let waiting = station.waiting().await;
    let [(1, rule, reason)] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(rule, "presign-without-checksum");
    assert!(reason.ends_with("tell 360 Imaging"), "{reason}");

    let asked = station.bench.client().post("/api/v1/commands/requeue", json!({})).await;
    assert_eq!((asked.status, &asked.json()["count"]), (StatusCode::OK, &json!(1)));
    station.delivered(&id).await;
    station.situation("ready").await;
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_or_service_that_asks_for_patience_gets_it() {
    let station = Delivering::start().await;
    let faults = station.cloud.faults();
    faults.script("PUT", "", 1, Fault::SlowDown);
    faults.script("PUT", "", 1, Fault::Answer { status: 503, retry_after_s: Some(2) });
    faults.script("POST", "/presign", 2, Fault::Answer { status: 429, retry_after_s: Some(1) });
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_eq!((faults.left(), attempts(&records)), (0, 4));

    let puts = station.asked("PUT", "");
    let told = |put: &&Asked| matches!(put.fault, Some(Fault::Answer { .. }));
    let told = puts.iter().find(told).expect("the store asked for patience");
    let again = puts.iter().find(|put| put.path == told.path && put.fault.is_none()).expect("sent again");
    let waited = after(told, again);
    assert!(waited >= Duration::from_secs(2), "the store asked for 2 s and got {waited:?}");
    // Late are these two and the one that the store told to wait; the others went on meanwhile.
    let presigns = station.asked("POST", "/presign");
    let told: Vec<_> = presigns.iter().filter(|asked| asked.fault.is_some()).collect();
    let late = presigns.iter().filter(|asked| asked.at_ms >= told[0].at_ms + 1000).count();
    assert!(late >= 3, "{presigns:?}");
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_in_mid_picture_or_before_the_answer_leaves_one_object_in_effect() {
    let station = Delivering::start().await;
    let faults = station.cloud.faults();
    faults.script("PUT", "", 1, Fault::CutAfter(1000));
    faults.script("PUT", "", 1, Fault::SwallowAnswer);
    faults.script("POST", "/presign", 1, Fault::SwallowAnswer);
    faults.script("POST", "/sessions", 1, Fault::SwallowAnswer);
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_eq!((faults.left(), attempts(&records)), (0, 4));
    assert_eq!(station.rules("upload.later").await, ["connection-lost"; 4]);
    assert_eq!(station.cloud.objects().len(), FRAMES);
    assert_eq!(station.cloud.sessions().len(), 1, "the session was opened once in effect");
    let keys: BTreeSet<String> = station.asked("PUT", "").into_iter().map(|put| put.path).collect();
    assert_eq!(keys.len(), FRAMES, "what is sent again goes to the same place");
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let station = Delivering::start().await;
    let faults = station.cloud.faults();
    faults.script("PUT", "", 1, Fault::Redirect);
    faults.script("POST", "/presign", 1, Fault::Redirect);
    let id = station.released().await;
    let records = station.delivered(&id).await;
    assert_eq!(
        (faults.left(), attempts(&records)),
        (0, 1),
        "the service's is a wrong address, not an attempt"
    );
    let told: BTreeSet<String> = station.rules("upload.later").await.into_iter().collect();
    assert_eq!(told, ["redirect-refused", "storage-refused"].map(str::to_owned).into());
    // Each picture but the redirected one was put once, and that one again with an address of its own.
    assert_eq!(station.asked("PUT", "").len(), FRAMES + 1);
    assert_eq!(station.asked("POST", "/presign").len(), FRAMES + 2);
    station.end().await;
}

/// A session whose pictures are taken and never proven: five times each, then they are parked.
async fn five_times_unproven(station: &Delivering) -> String {
    let before = station.asked("PUT", "").len();
    station.cloud.faults().script("PUT", "", 5 * FRAMES as u32, Fault::StripEcho);
    let id = station.released().await;
    let records = station.until_all(&id, State::Failed).await;
    assert_eq!(station.asked("PUT", "").len() - before, 5 * FRAMES, "five attempts each and no more");
    for record in &records {
        assert_eq!((record.attempts, station.local(record)), (5, record.sha256));
        assert_eq!(record.failure.as_ref().map(|failure| failure.rule.as_str()), Some("echo-missing"));
    }
    let status = station.situation("refused").await;
    assert_eq!(status["delivery"]["failed"], FRAMES);
    let waiting = station.waiting().await;
    assert_eq!((waiting[0].0, waiting[0].1.as_str()), (FRAMES as u64, "echo-missing"));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_five_times_is_kept_until_a_person_or_a_reconnect_sends_it_once_more() {
    let station = Delivering::start().await;
    let id = five_times_unproven(&station).await;
    let asked = station.bench.client().post("/api/v1/commands/requeue", json!({ "session": id })).await;
    assert_eq!((asked.status, &asked.json()["count"]), (StatusCode::OK, &json!(FRAMES)));
    station.delivered(&id).await;
    station.situation("ready").await;

    let id = five_times_unproven(&station).await;
    station.bench.running.wake.reconnected();
    station.delivered(&id).await;
    assert_eq!(station.cloud.objects().len(), 2 * FRAMES);
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_store_loses_what_it_confirmed_the_picture_is_still_here_and_right() {
    let station = Delivering::start().await;
    let id = station.released().await;
    let records = station.delivered(&id).await;
    let lost = &records[2];
    let receipt = lost.receipt.as_ref().expect("a receipt");
    let key = &receipt.location;
    station.cloud.corrupt(key, b"other bytes");
    assert_ne!(station.cloud.objects()[key], receipt.sha256, "the store holds something else now");
    station.bench.running.spool.tidy().await.expect("a look at what may go");
    assert_eq!(station.local(lost), lost.sha256);
    let original =
        station.bench.client().get(&format!("/api/v1/frames/{}/original", lost.key.sequence)).await;
    assert_eq!(turnstage_cloud_sync::Sha256::of(&original.bytes), lost.sha256);

    let Delivering { cloud, bench } = station;
    let data = bench.end().await;
    let folder = data.path().display().to_string();
    let checked =
        tokio::task::spawn_blocking(move || turnstage(&["queue", "check", "--json", "--data-dir", &folder]));
    let checked = checked.await.expect("it runs");
    assert_eq!(checked.code, 0, "{checked:?}");
    let report: serde_json::Value = serde_json::from_str(&checked.out).expect("JSON");
    assert_eq!(report["media"], FRAMES, "{report}");
    cloud.stop().await;
}
