//! The device token that is missing, old, somebody else's or refused: the state says what to do, nothing is lost, no
//! attempt is counted, and everything goes by itself once a good one is there.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_cloud_sync::queue::State;
use turnstage_tests::cloud::{Cloud, TOKEN_LIFE, real_clock};
use turnstage_tests::delivering::{Delivering, ORG, SITE, good_token};

/// A station looks for a better token every few seconds.
const NOTICED: Duration = Duration::from_secs(15);

fn now_s() -> i64 {
    real_clock()() / 1000
}

/// With this token pictures wait, and the state says `words`; with a good one they go.
async fn assert_waits_for_a_token(bad: impl Fn(&Cloud) -> Option<String>, rule: &str, words: &str) {
    let station = Delivering::without_token().await;
    if let Some(token) = bad(&station.cloud) {
        station.put_token(&token);
    }
    let first = station.released().await;
    let status = station.situation("sign-in").await;
    assert_eq!((status["kind"].as_str(), status["situation"]["pictures"].as_u64()), (Some("warn"), Some(6)));
    assert_eq!(status["sentence"], "This station is not signed in to the cloud");
    let detail = status["detail"].as_str().expect("words");
    assert!(detail.starts_with("6 pictures are safe on this device. ") && detail.contains(words), "{detail}");
    assert_eq!(status["delivery"]["destinations"][0]["failure"]["rule"], rule);

    // Capture goes on meanwhile.
    let second = station.released().await;
    for id in [&first, &second] {
        let records = station.until_all(id, State::Queued).await;
        assert!(records.iter().all(|record| record.attempts == 0 && station.local(record) == record.sha256));
    }
    let waiting = station.waiting().await;
    assert!(!waiting.is_empty() && waiting.iter().all(|(_, told, _)| told == rule), "{waiting:?}");
    assert_eq!(station.asked("POST", "/presign").len(), 0);
    assert_eq!(station.asked("PUT", "").len(), 0);

    station.put_token(&good_token(&station.cloud, ORG));
    let brought = Instant::now();
    for id in [&first, &second] {
        let records = station.delivered(id).await;
        assert!(records.iter().all(|record| record.attempts == 0), "waiting counted no attempt");
    }
    assert!(brought.elapsed() <= NOTICED, "they went after {:?}", brought.elapsed());
    station.situation("ready").await;
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_pictures_wait_and_the_state_says_where_to_put_it() {
    let words = "token: put the station's token there, readable for this service only.";
    assert_waits_for_a_token(|_| None, "token-missing", words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_expired_token_pictures_wait_and_the_state_asks_for_a_new_one() {
    let old = |cloud: &Cloud| Some(cloud.token(ORG, &[SITE], now_s() - 31 * 24 * 3600, TOKEN_LIFE));
    assert_waits_for_a_token(old, "token-expired", "expired: put a new one into ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_token_of_another_organisation_pictures_wait_and_the_state_names_both() {
    let words = "for organisation \"org-b\", this station belongs to \"org-a\": ask for its own token.";
    assert_waits_for_a_token(|cloud| Some(good_token(cloud, "org-b")), "token-wrong-org", words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_token_of_another_site_pictures_wait_and_the_state_names_both() {
    let elsewhere = |cloud: &Cloud| Some(cloud.token(ORG, &["munich"], now_s(), TOKEN_LIFE));
    let words = "not for site \"berlin\" (it is for: munich): ask for a token of this site.";
    assert_waits_for_a_token(elsewhere, "token-wrong-site", words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_that_the_service_refuses_pictures_wait_and_the_state_asks_for_a_valid_one() {
    let forged = |cloud: &Cloud| {
        let (own, other) = (good_token(cloud, ORG), good_token(cloud, "org-b"));
        let (signed, _) = own.rsplit_once('.').expect("a signature");
        let (_, signature) = other.rsplit_once('.').expect("a signature");
        Some(format!("{signed}.{signature}"))
    };
    let words = "does not accept the device token: put a valid one into the token file";
    assert_waits_for_a_token(forged, "token-invalid", words).await;
}
