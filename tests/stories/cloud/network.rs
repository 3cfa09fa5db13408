//! Each fault of the network in front of the fake cloud has its effect, seen from both ends.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use turnstage_cloud_sync::Sha256;
use turnstage_tests::cloud::{CHECKSUM, Fault, Outcome, UrlTrouble};

use super::{Naive, PICTURE, base64_digest, is, new_photo, new_session, refusal, store_refusal};

/// Whether a call ended by a reset of its connection, seen in reading or in writing.
fn reset(result: reqwest::Result<Response>) -> bool {
    let Err(why) = result else { return false };
    let mut cause: Option<&dyn Error> = Some(&why);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind());
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn scripted_answers_take_the_place_of_the_services() {
    let naive = Naive::start().await;
    let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
    let faults = naive.cloud.faults();
    faults.script("PUT", "/captures/", 1, Fault::SlowDown);
    assert_eq!(store_refusal(naive.put(&url, &vec![0; 3_000_000]).await).await, is(503, "SlowDown"));
    for (status, retry_after_s) in [(429, Some(7)), (503, Some(1)), (500, None)] {
        faults.script("POST", "/presign", 1, Fault::Answer { status, retry_after_s });
        let answer = naive.post("/presign", &new_photo("any", "f-001.jpg", PICTURE)).await;
        let wait_s = answer.headers().get("retry-after").map(|wait| wait.to_str().expect("text").to_owned());
        assert_eq!(wait_s, retry_after_s.map(|seconds: u64| seconds.to_string()));
        assert_eq!(refusal(answer).await, (status, format!("fault-{status}")));
    }
    assert_eq!(faults.left(), 0);
    naive.nothing_kept();
    assert_eq!(naive.put(&url, PICTURE).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_upload_cut_in_the_middle_leaves_nothing_behind() {
    let naive = Naive::start().await;
    let picture = vec![7; 4_000_000];
    let (url, key) = naive.permit("f-001.jpg", &picture).await;
    let checksum = base64_digest(&picture);
    for bytes in [0, 1, 2, 100_000, 3_999_999, 4_000_000] {
        naive.cloud.faults().script("PUT", "", 1, Fault::CutAfter(bytes));
        assert!(reset(naive.put_with(&url, Some("image/jpeg"), Some(&checksum), &picture).await), "{bytes}");
        let whole = naive.cloud.objects().contains_key(&key);
        assert_eq!(whole, bytes == 4_000_000, "only the whole of it is kept, after {bytes}");
    }
    let last = naive.cloud.requests().pop().expect("a request");
    assert_eq!((last.fault, last.outcome), (Some(Fault::CutAfter(4_000_000)), Outcome::NoAnswer));
    assert!(last.url_age_ms.is_some_and(|age| (0..60_000).contains(&age)), "{last:?}");
    // Five of them failed at the store, and it knew before the client did.
    let session = naive.session().await;
    let answer = naive.post("/presign", &new_photo(&session, "f-001.jpg", &picture)).await;
    assert_eq!(refusal(answer).await, is(429, "attempts-max"));
}

#[tokio::test]
async fn an_answer_that_is_lost_was_given_all_the_same() {
    let naive = Naive::start().await;
    let (url, key) = naive.permit("f-001.jpg", PICTURE).await;
    naive.cloud.faults().script("PUT", "", 1, Fault::SwallowAnswer);
    assert!(reset(naive.put_with(&url, Some("image/jpeg"), Some(&base64_digest(PICTURE)), PICTURE).await));
    assert_eq!(naive.cloud.objects(), [(key, Sha256::of(PICTURE))].into());
    naive.cloud.faults().script("POST", "/sessions", 1, Fault::SwallowAnswer);
    let request = naive.http.post(format!("{}/sessions", naive.cloud.url)).bearer_auth(&naive.token);
    let request = request.header("content-type", "application/json");
    assert!(reset(request.body(new_session("local-2", "site-1").to_string()).send().await));
    assert_eq!(naive.cloud.sessions().len(), 2);
}

#[tokio::test]
async fn a_stalled_call_ends_when_its_caller_loses_patience() {
    let naive = Naive::start().await;
    naive.cloud.faults().script("GET", "/healthz", 1, Fault::Stall);
    let ask = naive.http.get(format!("{}/healthz", naive.cloud.url));
    let ended = ask.try_clone().expect("no body").timeout(Duration::from_millis(50)).send().await;
    assert!(ended.is_err_and(|why| why.is_timeout()));
    assert_eq!(ask.send().await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_byte_flipped_on_the_way_is_a_bad_digest() {
    let naive = Naive::start().await;
    let picture = vec![7; 400_000];
    let (url, _) = naive.permit("f-001.jpg", &picture).await;
    for at in [0, 399_999] {
        naive.cloud.faults().script("PUT", "", 1, Fault::FlipByte(at));
        assert_eq!(store_refusal(naive.put(&url, &picture).await).await, is(400, "BadDigest"), "{at}");
    }
    naive.nothing_kept();
    assert_eq!(naive.put(&url, &picture).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_echo_of_the_checksum_can_be_lost_or_wrong() {
    let naive = Naive::start().await;
    let (url, key) = naive.permit("f-001.jpg", PICTURE).await;
    naive.cloud.faults().script("PUT", "", 1, Fault::StripEcho);
    naive.cloud.faults().script("PUT", "", 1, Fault::FalseEcho);
    let stripped = naive.put(&url, PICTURE).await;
    let falsified = naive.put(&url, PICTURE).await;
    assert_eq!((stripped.status(), falsified.status()), (StatusCode::OK, StatusCode::OK));
    assert!(!stripped.headers().contains_key(CHECKSUM));
    let echo = falsified.headers()[CHECKSUM].to_str().expect("text");
    assert!(echo.len() == 44 && echo != base64_digest(PICTURE), "{echo}");
    assert_eq!(naive.cloud.objects(), [(key, Sha256::of(PICTURE))].into());
}

#[tokio::test]
async fn whoever_follows_a_redirect_is_seen_to() {
    let naive = Naive::start().await;
    naive.cloud.faults().script("GET", "/healthz", 1, Fault::Redirect);
    let followed = naive.http.get(format!("{}/healthz", naive.cloud.url)).send().await.expect("an answer");
    assert_eq!(followed.status(), StatusCode::OK);
    let outcomes: Vec<_> = naive.cloud.requests().iter().map(|asked| asked.outcome).collect();
    assert_eq!(outcomes, [Outcome::Answered(307), Outcome::Answered(200)]);
}

#[tokio::test]
async fn a_network_that_is_down_refuses_and_comes_back_at_the_same_place() {
    let naive = Naive::start().await;
    let (url, key) = naive.permit("f-001.jpg", PICTURE).await;
    let checksum = base64_digest(PICTURE);
    for _ in 0..3 {
        naive.cloud.set_down(true).await;
        let refused = naive.put_with(&url, Some("image/jpeg"), Some(&checksum), PICTURE).await;
        assert!(refused.is_err_and(|why| why.is_connect()));
        let refused = naive.http.get(format!("{}/healthz", naive.cloud.url)).send().await;
        assert!(refused.is_err_and(|why| why.is_connect()));
        naive.nothing_kept();
        naive.cloud.set_down(false).await;
        let health = naive.http.get(format!("{}/healthz", naive.cloud.url)).send().await;
        assert_eq!(health.expect("an answer").status(), StatusCode::OK);
    }
    assert_eq!(naive.put(&url, PICTURE).await.status(), StatusCode::OK);
    assert_eq!(naive.cloud.objects(), [(key, Sha256::of(PICTURE))].into());
}

#[tokio::test]
async fn a_call_in_progress_breaks_when_the_network_goes_down() {
    let naive = Naive::start().await;
    naive.cloud.faults().script("POST", "/events", 1, Fault::Stall);
    let stalled = async {
        let request = naive.http.post(format!("{}/events", naive.cloud.url)).bearer_auth(&naive.token);
        request.body(json!({ "events": [] }).to_string()).send().await
    };
    let down = async {
        while naive.cloud.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        naive.cloud.set_down(true).await;
    };
    let (stalled, ()) = tokio::join!(stalled, down);
    assert!(stalled.is_err_and(|why| !why.is_connect() && !why.is_timeout()));
}

#[tokio::test]
async fn a_cloud_that_is_dropped_closes_its_ports() {
    let naive = Naive::start().await;
    let (http, url) = (naive.http.clone(), format!("{}/healthz", naive.cloud.url));
    assert_eq!(http.get(&url).send().await.expect("an answer").status(), StatusCode::OK);
    drop(naive);
    // Its tasks end at their next turn, which is while this one waits.
    while !http.get(&url).send().await.is_err_and(|why| why.is_connect()) {}
}

#[tokio::test]
async fn a_large_upload_that_is_refused_early_still_gets_its_answer() {
    let naive = Naive::start().await;
    let picture = vec![7; 20_000_000];
    naive.cloud.service().trouble_next_urls(1, UrlTrouble::EndsIn(-1));
    let (url, _) = naive.permit("f-001.jpg", &picture).await;
    let (host, target) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let checksum = base64_digest(&picture);
    let head = format!(
        "PUT /{target} HTTP/1.1\r\nhost: {host}\r\ncontent-type: image/jpeg\r\n{CHECKSUM}: {checksum}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        picture.len()
    );
    // Unlike a good client, this one looks for the answer only after it has sent everything.
    let mut stream = TcpStream::connect(host).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    stream.write_all(&picture).await.expect("the body is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("Request has expired"), "{answer}");
}
