//! The fake cloud in memory is as strict as the other, by a clock that the story moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::time::{advance, timeout};
use turnstage_cloud_sync::Sha256;
use turnstage_tests::cloud::memory::{Answer, Lost, MemoryCloud};
use turnstage_tests::cloud::{CHECKSUM, Fault, Outcome, TOKEN_LIFE, UrlTrouble, paused_clock};

use super::{PICTURE, base64_digest, is, new_event, new_photo, new_session, text};

/// 2026-11-27T08:00:00Z.
const START_S: i64 = 1_795_766_400;
const MINUTE: Duration = Duration::from_secs(60);

struct Naive {
    cloud: MemoryCloud,
    token: String,
}

impl Naive {
    fn start() -> Self {
        let cloud = MemoryCloud::new(paused_clock(START_S * 1000));
        let token = cloud.token("org-a", &["site-1"], START_S, TOKEN_LIFE);
        Self { cloud, token }
    }

    async fn try_post(&self, token: &str, path: &str, body: &Value) -> Result<Answer, Lost> {
        let headers =
            headers(&[("authorization", &format!("Bearer {token}")), ("content-type", "application/json")]);
        let url = format!("{}{path}", self.cloud.url());
        self.cloud.handle(Method::POST, &url, headers, body.to_string().into()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        api(self.try_post(&self.token, path, body).await.expect("an answer"))
    }

    async fn permit(&self, file_name: &str) -> (String, String) {
        let (_, session) = self.post("/sessions", &new_session("local-1", "site-1")).await;
        let asked = new_photo(&text(&session, "session_id"), file_name, PICTURE);
        let (status, answer) = self.post("/presign", &asked).await;
        assert_eq!(status, 200, "{answer}");
        (text(&answer, "upload_url"), text(&answer, "storage_key"))
    }

    async fn try_put(&self, url: &str, kind: &str, checksum: &str, bytes: &[u8]) -> Result<Answer, Lost> {
        let headers = headers(&[("content-type", kind), (CHECKSUM, checksum)]);
        self.cloud.handle(Method::PUT, url, headers, Bytes::copy_from_slice(bytes)).await
    }

    async fn put(&self, url: &str) -> Answer {
        self.try_put(url, "image/jpeg", &base64_digest(PICTURE), PICTURE).await.expect("an answer")
    }

    async fn put_others(&self, url: &str) -> Answer {
        self.try_put(url, "image/jpeg", &base64_digest(PICTURE), b"others").await.expect("an answer")
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.iter().map(header).collect()
}

fn api((status, headers, body): Answer) -> (u16, Value) {
    assert!(headers.contains_key("date"));
    (status.as_u16(), serde_json::from_slice(&body).expect("JSON"))
}

fn rule((status, body): (u16, Value)) -> (u16, String) {
    (status, text(&body, "rule_id"))
}

/// Status and the message of the store's XML.
fn store((status, _, body): Answer) -> (u16, String) {
    let body = String::from_utf8(body.to_vec()).expect("text");
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let expired = if body.contains("Request has expired") { " expired" } else { "" };
    (status.as_u16(), code.map_or(String::new(), |(code, _)| format!("{code}{expired}")))
}

#[tokio::test(start_paused = true)]
async fn a_picture_arrives_with_its_echo_and_the_age_of_its_url() {
    let naive = Naive::start();
    let (url, key) = naive.permit("f-001.jpg").await;
    advance(14 * MINUTE).await;
    let (status, headers, _) = naive.put(&url).await;
    assert_eq!((status.as_u16(), headers[CHECKSUM].as_bytes()), (200, base64_digest(PICTURE).as_bytes()));
    assert_eq!(headers["date"], "Fri, 27 Nov 2026 08:14:00 GMT");
    assert_eq!(naive.cloud.objects(), [(key.clone(), Sha256::of(PICTURE))].into());
    assert_eq!(naive.cloud.arrivals()[&key].len(), 1);
    let last = naive.cloud.requests().pop().expect("a request");
    assert_eq!((last.at_ms, last.url_age_ms), ((START_S + 840) * 1000, Some(840_000)));
    assert_eq!(last.outcome, Outcome::Answered(200));
    assert!(last.path.ends_with(&key), "{}", last.path);
}

#[tokio::test(start_paused = true)]
async fn a_url_ends_by_the_storys_clock() {
    let naive = Naive::start();
    let (url, _) = naive.permit("f-001.jpg").await;
    advance(15 * MINUTE + Duration::from_secs(1)).await;
    assert_eq!(store(naive.put(&url).await), is(403, "AccessDenied expired"));
    naive.cloud.service().trouble_next_urls(1, UrlTrouble::EndsIn(2000));
    let (url, _) = naive.permit("f-001.jpg").await;
    assert_eq!(store(naive.put(&url).await), is(403, "RequestTimeTooSkewed"));
    assert!(naive.cloud.objects().is_empty());
    let (url, _) = naive.permit("f-001.jpg").await;
    assert_eq!(store(naive.put(&url).await), is(200, ""));
}

#[tokio::test(start_paused = true)]
async fn a_url_in_memory_is_good_for_what_it_was_signed_for_only() {
    let naive = Naive::start();
    let (url, key) = naive.permit("f-001.jpg").await;
    let digest = base64_digest(PICTURE);
    assert_eq!(store(naive.put_others(&url).await), is(400, "BadDigest"));
    let mismatch = is(403, "SignatureDoesNotMatch");
    for url in [
        url.replace(&key, "org/other.jpg"),
        url.replace("Expires=900", "Expires=9000"),
        url.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
    ] {
        assert_eq!(store(naive.put(&url).await), mismatch, "{url}");
    }
    let put = naive.try_put(&url, "image/png", &digest, PICTURE).await;
    assert_eq!(store(put.expect("an answer")), mismatch);
    let put = naive.try_put(&url, "image/jpeg", &base64_digest(b"others"), b"others").await;
    assert_eq!(store(put.expect("an answer")), mismatch);
    let bare = headers(&[("content-type", "image/jpeg")]);
    let put = naive.cloud.handle(Method::PUT, &url, bare, Bytes::from_static(PICTURE)).await;
    assert_eq!(store(put.expect("an answer")), mismatch);
    naive.cloud.service().trouble_next_urls(1, UrlTrouble::ChecksumInQuery);
    let (hoisted, _) = naive.permit("f-002.jpg").await;
    assert_eq!(store(naive.put(&hoisted).await).0, 403);
    let (anonymous, _) = url.split_once('?').expect("a query");
    assert_eq!(store(naive.put(anonymous).await), is(403, "AccessDenied"));
    assert!(naive.cloud.objects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_age_by_the_storys_clock() {
    let naive = Naive::start();
    let renew =
        async |token: &str| api(naive.try_post(token, "/device/token", &json!({})).await.expect("an answer"));
    assert_eq!(rule(renew(&naive.token).await), is(409, "too-early"));
    advance(TOKEN_LIFE * 2 / 3).await;
    let (status, answer) = renew(&naive.token).await;
    assert_eq!(status, 200);
    advance(TOKEN_LIFE / 3).await;
    assert_eq!(rule(renew(&naive.token).await), is(401, "token-expired"));
    let new = text(&answer, "token");
    let opened = naive.try_post(&new, "/sessions", &new_session("local-1", "site-1")).await;
    assert_eq!(api(opened.expect("an answer")).0, 201);
}

#[tokio::test(start_paused = true)]
async fn another_tenant_and_a_wrong_type_are_refused_in_memory_too() {
    let naive = Naive::start();
    let (_, session) = naive.post("/sessions", &new_session("local-1", "site-1")).await;
    let mut asked = new_photo(&text(&session, "session_id"), "f-001.jpg", PICTURE);
    let other = naive.cloud.token("org-b", &["site-1"], START_S, TOKEN_LIFE);
    let answer = naive.try_post(&other, "/presign", &asked).await.expect("an answer");
    assert_eq!(rule(api(answer)), is(403, "session-not-owned"));
    asked["content_type"] = "image/png".into();
    assert_eq!(rule(naive.post("/presign", &asked).await), is(400, "content-type-not-allowed"));
    let (status, _) = naive.post("/events", &json!({ "events": [new_event("e-1"), new_event("e-1")] })).await;
    assert_eq!((status, naive.cloud.events().len(), naive.cloud.sessions().len()), (202, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn five_failed_attempts_cost_fifteen_minutes() {
    let naive = Naive::start();
    for attempt in 0..5 {
        let (url, _) = naive.permit("f-001.jpg").await;
        if attempt == 0 {
            naive.cloud.faults().script("PUT", "", 1, Fault::CutAfter(3));
            let put = naive.try_put(&url, "image/jpeg", &base64_digest(PICTURE), PICTURE).await;
            assert_eq!(put, Err(Lost::Reset));
        } else {
            assert_eq!(store(naive.put_others(&url).await), is(400, "BadDigest"));
        }
        advance(MINUTE).await;
    }
    let session = naive.cloud.sessions()[0].session_id.clone();
    let asked = new_photo(&session, "f-001.jpg", PICTURE);
    let (status, headers, _) = naive.try_post(&naive.token, "/presign", &asked).await.expect("an answer");
    assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (429, &b"600"[..]));
    advance(10 * MINUTE).await;
    let (url, _) = naive.permit("f-001.jpg").await;
    assert_eq!(store(naive.put(&url).await), is(200, ""));
}

#[tokio::test(start_paused = true)]
async fn faults_in_memory_do_what_those_of_the_network_do() {
    let naive = Naive::start();
    let (url, key) = naive.permit("f-001.jpg").await;
    let faults = naive.cloud.faults();
    let digest = base64_digest(PICTURE);
    let put = || naive.try_put(&url, "image/jpeg", &digest, PICTURE);
    faults.script("PUT", "", 1, Fault::SlowDown);
    assert_eq!(store(put().await.expect("an answer")), is(503, "SlowDown"));
    faults.script("PUT", "", 1, Fault::Answer { status: 429, retry_after_s: Some(3) });
    assert_eq!(put().await.expect("an answer").1["retry-after"], "3");
    faults.script("PUT", "", 1, Fault::Redirect);
    assert_eq!(put().await.expect("an answer").0, 307);
    faults.script("PUT", "", 1, Fault::FlipByte(3));
    assert_eq!(store(put().await.expect("an answer")), is(400, "BadDigest"));
    faults.script("PUT", "", 1, Fault::CutAfter(10));
    assert_eq!(put().await, Err(Lost::Reset));
    faults.script("PUT", "", 1, Fault::Stall);
    assert!(timeout(MINUTE, put()).await.is_err(), "a stalled call never ends");
    assert!(naive.cloud.objects().is_empty());
    faults.script("PUT", "", 1, Fault::SwallowAnswer);
    assert_eq!(put().await, Err(Lost::Reset));
    assert_eq!(naive.cloud.objects(), [(key.clone(), Sha256::of(PICTURE))].into());
    faults.script("PUT", "", 1, Fault::StripEcho);
    assert!(!put().await.expect("an answer").1.contains_key(CHECKSUM));
    faults.script("PUT", "", 1, Fault::FalseEcho);
    assert_ne!(put().await.expect("an answer").1[CHECKSUM], digest.as_str());
    faults.script("PUT", "", 1, Fault::CutAfter(10_000));
    assert_eq!(put().await, Err(Lost::Reset), "all of it got there, only the answer did not");
    assert_eq!((faults.left(), naive.cloud.arrivals()[&key].len()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_down_in_memory_is_unreachable_and_noted() {
    let naive = Naive::start();
    let (url, _) = naive.permit("f-001.jpg").await;
    naive.cloud.set_down(true);
    let put = naive.try_put(&url, "image/jpeg", &base64_digest(PICTURE), PICTURE).await;
    assert_eq!(put, Err(Lost::Unreachable));
    assert_eq!(naive.cloud.requests().pop().expect("a request").outcome, Outcome::Unreachable);
    assert!(naive.cloud.objects().is_empty());
    naive.cloud.set_down(false);
    assert_eq!(store(naive.put(&url).await), is(200, ""));
    let elsewhere =
        naive.cloud.handle(Method::GET, "https://elsewhere.test/", HeaderMap::new(), Bytes::new());
    assert_eq!(elsewhere.await, Err(Lost::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_cloud_in_memory_can_be_shared_by_tasks() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let cloud = Arc::new(MemoryCloud::new(paused_clock(START_S * 1000)));
    shared(&cloud);
    let url = format!("{}/healthz", cloud.url());
    let ask = async move { cloud.handle(Method::GET, &url, HeaderMap::new(), Bytes::new()).await };
    let answer = tokio::spawn(ask).await.expect("the task ends").expect("an answer");
    assert_eq!(answer.0.as_u16(), 200);
}
