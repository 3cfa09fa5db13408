//! No way to the cloud is a way of working: pictures wait without a counted attempt and go as soon as there is one.

use std::time::Duration;

use serde_json::json;
use turnstage_cloud_sync::queue::State;
use turnstage_tests::cloud::real_clock;
use turnstage_tests::delivering::{Delivering, FRAMES};

/// How long after the network's return the first picture went.
async fn first_put_after_return(told: bool) -> Duration {
    let station = Delivering::start().await;
    // Known to the service before, so that nothing is special about the first request.
    let before = station.released().await;
    station.delivered(&before).await;
    station.cloud.set_down(true).await;
    let id = station.released().await;
    let status = station.situation("offline").await;
    assert_eq!((&status["kind"], &status["sentence"]), (&json!("ready"), &json!("Ready, no network")));
    assert_eq!(status["detail"], "6 pictures are safe on this device. Carry on.");
    let again = station.released().await;
    for id in [&id, &again] {
        let waiting = station.until_all(id, State::Queued).await;
        assert!(waiting.iter().all(|record| record.attempts == 0), "being offline counts no attempt");
    }

    station.cloud.set_down(false).await;
    let back_ms = real_clock()();
    if told {
        station.bench.running.wake.reconnected();
    }
    for id in [&id, &again] {
        let records = station.delivered(id).await;
        assert!(records.iter().all(|record| record.attempts == 0));
    }
    let puts = station.asked("PUT", "");
    assert_eq!(puts.len(), 3 * FRAMES, "each picture once");
    let first = puts.iter().map(|put| put.at_ms).find(|at_ms| *at_ms >= back_ms).expect("a PUT");
    station.end().await;
    Duration::from_millis(u64::try_from(first - back_ms).expect("later"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_return_is_told_has_the_first_picture_within_five_seconds() {
    let after = first_put_after_return(true).await;
    assert!(after <= Duration::from_secs(5), "the first PUT came after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_return_nobody_tells_has_the_first_picture_within_fifteen_seconds() {
    let after = first_put_after_return(false).await;
    assert!(after <= Duration::from_secs(15), "the first PUT came after {after:?}");
}
