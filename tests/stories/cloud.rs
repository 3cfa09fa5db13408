//! The fake cloud is strict: a client that cuts corners is refused, so one that passes has cut none.

mod memory;
mod network;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Digest;
use turnstage_cloud_sync::Sha256;
use turnstage_tests::cloud::{self, CHECKSUM, Claims, Cloud, Options, TOKEN_LIFE, UrlTrouble};

const DAY_S: i64 = 24 * 60 * 60;
const PICTURE: &[u8] = b"\xff\xd8 a picture, as far as a store can tell \xff\xd9";

fn now_s() -> i64 {
    cloud::real_clock()() / 1000
}

fn base64_digest(bytes: &[u8]) -> String {
    STANDARD.encode(sha2::Sha256::digest(bytes))
}

fn new_session(client_session_id: &str, site: &str) -> Value {
    json!({
        "client_session_id": client_session_id, "site_id": site, "item": "item-1", "mode": "studio360",
        "captured_at": "2026-11-27T08:00:00Z",
    })
}

fn new_photo(session: &str, file_name: &str, bytes: &[u8]) -> Value {
    json!({
        "session_id": session, "file_name": file_name, "content_type": "image/jpeg",
        "content_sha256": Sha256::of(bytes).to_string(),
    })
}

fn new_event(id: &str) -> Value {
    json!({ "id": id, "type": "offline", "at": "2026-11-27T08:00:00+01:00", "data": { "seconds": 7 } })
}

/// A client that knows nothing but the contract, and keeps what of it a test wants kept.
struct Naive {
    http: Client,
    cloud: Cloud,
    token: String,
}

impl Naive {
    async fn start() -> Self {
        let http = cloud::client();
        let cloud = Cloud::start(Options::default()).await;
        let token = cloud.token("org-a", &["site-1"], now_s(), TOKEN_LIFE);
        Self { http, cloud, token }
    }

    async fn post_as(&self, token: &str, path: &str, body: &Value) -> Response {
        let request = self.http.post(format!("{}{path}", self.cloud.url)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.expect("an answer")
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.post_as(&self.token, path, body).await
    }

    async fn session(&self) -> String {
        let answer = self.post("/sessions", &new_session("local-1", "site-1")).await;
        assert!(answer.status().is_success(), "{}", answer.status());
        text(&json_of(answer).await, "session_id")
    }

    /// URL and storage key for a picture of the only session.
    async fn permit(&self, file_name: &str, bytes: &[u8]) -> (String, String) {
        let session = self.session().await;
        let answer = self.post("/presign", &new_photo(&session, file_name, bytes)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer = json_of(answer).await;
        (text(&answer, "upload_url"), text(&answer, "storage_key"))
    }

    /// As the contract has it.
    async fn put(&self, url: &str, bytes: &[u8]) -> Response {
        let checksum = base64_digest(bytes);
        self.put_with(url, Some("image/jpeg"), Some(&checksum), bytes).await.expect("an answer")
    }

    async fn put_with(
        &self,
        url: &str,
        content_type: Option<&str>,
        checksum: Option<&str>,
        bytes: &[u8],
    ) -> reqwest::Result<Response> {
        let mut request = self.http.put(url).body(bytes.to_vec());
        for (name, value) in [("content-type", content_type), (CHECKSUM, checksum)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.send().await
    }

    /// Nothing lies in the store.
    #[track_caller]
    fn nothing_kept(&self) {
        assert_eq!(self.cloud.objects().len(), 0, "the store kept what it refused");
    }
}

async fn json_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// Status and rule of a refusal by the API.
async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, text(&json_of(answer).await, "rule_id"))
}

/// Status and code of a refusal by the store.
async fn store_refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = answer.text().await.expect("a body");
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.unwrap_or_else(|| panic!("no code in {body:?}")).0.to_owned();
    let expired = if body.contains("Request has expired") { " expired" } else { "" };
    (status, code + expired)
}

fn is(status: u16, rule: &str) -> (u16, String) {
    (status, rule.to_owned())
}

#[tokio::test]
async fn a_client_that_keeps_the_contract_delivers_exactly_its_bytes() {
    let naive = Naive::start().await;
    let (url, key) = naive.permit("f-001.jpg", PICTURE).await;
    assert!(key.starts_with("org/org-a/site/site-1/session/") && key.ends_with(".jpg"), "{key}");
    assert!(url.contains("X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-checksum-sha256"), "{url}");
    assert!(url.contains("X-Amz-Expires=900"), "{url}");
    for _ in 0..2 {
        let answer = naive.put(&url, PICTURE).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CHECKSUM], base64_digest(PICTURE).as_str());
        assert!(answer.headers().contains_key("date"));
    }
    assert_eq!(naive.cloud.objects(), [(key, Sha256::of(PICTURE))].into());
    naive.cloud.stop().await;
}

#[tokio::test]
async fn a_large_picture_arrives_whole() {
    let naive = Naive::start().await;
    let picture: Vec<u8> =
        (0..6_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (url, key) = naive.permit("f-001.jpg", &picture).await;
    assert_eq!(naive.put(&url, &picture).await.status(), StatusCode::OK);
    assert_eq!(naive.cloud.objects(), [(key, Sha256::of(&picture))].into());
}

#[tokio::test]
async fn a_naive_client_that_sends_no_checksum_is_refused() {
    let naive = Naive::start().await;
    let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
    let answer = naive.put_with(&url, Some("image/jpeg"), None, PICTURE).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    naive.nothing_kept();
}

#[tokio::test]
async fn bytes_other_than_promised_are_refused_and_not_kept() {
    let naive = Naive::start().await;
    let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
    let promised = base64_digest(PICTURE);
    let answer = naive.put_with(&url, Some("image/jpeg"), Some(&promised), b"others").await;
    assert_eq!(store_refusal(answer.expect("an answer")).await, is(400, "BadDigest"));
    // Right for the bytes, but not what the URL was made for.
    let answer = naive.put(&url, b"others").await;
    assert_eq!(store_refusal(answer).await, is(403, "SignatureDoesNotMatch"));
    naive.nothing_kept();
}

#[tokio::test]
async fn a_url_that_does_not_sign_the_checksum_stores_nothing() {
    let naive = Naive::start().await;
    naive.cloud.service().trouble_next_urls(1, UrlTrouble::ChecksumInQuery);
    let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
    assert!(url.contains("X-Amz-SignedHeaders=content-type%3Bhost&"), "{url}");
    assert_eq!(store_refusal(naive.put(&url, PICTURE).await).await, is(403, "AccessDenied"));
    naive.nothing_kept();
}

#[tokio::test]
async fn a_url_is_good_for_its_time_only() {
    let naive = Naive::start().await;
    for (ends_in_s, refused) in [(-2, "AccessDenied expired"), (2000, "RequestTimeTooSkewed")] {
        naive.cloud.service().trouble_next_urls(1, UrlTrouble::EndsIn(ends_in_s));
        let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
        assert_eq!(store_refusal(naive.put(&url, PICTURE).await).await, is(403, refused));
    }
    naive.nothing_kept();
    naive.cloud.service().trouble_next_urls(1, UrlTrouble::EndsIn(30));
    let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
    assert_eq!(naive.put(&url, PICTURE).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_url_is_good_for_its_object_type_and_signature_only() {
    let naive = Naive::start().await;
    let (url, key) = naive.permit("f-001.jpg", PICTURE).await;
    let (path, signature) = url.rsplit_once("X-Amz-Signature=").expect("a signature");
    let turned = signature.bytes().map(|digit| if digit == b'0' { '1' } else { '0' });
    let tampered = format!("{path}X-Amz-Signature={}", turned.collect::<String>());
    let other_key = url.replace(&key, "org/org-a/site/site-1/session/s/other.jpg");
    let longer = url.replace("X-Amz-Expires=900", "X-Amz-Expires=90000");
    for url in [&tampered, &other_key, &longer] {
        assert_eq!(store_refusal(naive.put(url, PICTURE).await).await, is(403, "SignatureDoesNotMatch"));
    }
    let checksum = base64_digest(PICTURE);
    for content_type in [Some("image/png"), None] {
        let answer = naive.put_with(&url, content_type, Some(&checksum), PICTURE).await.expect("an answer");
        assert_eq!(store_refusal(answer).await, is(403, "SignatureDoesNotMatch"));
    }
    let (anonymous, _) = url.split_once('?').expect("a query");
    assert_eq!(naive.put(anonymous, PICTURE).await.status(), StatusCode::FORBIDDEN);
    let read = naive.http.get(&url).send().await.expect("an answer");
    assert!(!read.status().is_success(), "a device has no right to read");
    naive.nothing_kept();
}

#[tokio::test]
async fn another_tenants_session_is_refused_with_its_rule() {
    let naive = Naive::start().await;
    let session = naive.session().await;
    let other = naive.cloud.token("org-b", &["site-1"], now_s(), TOKEN_LIFE);
    let answer = naive.post_as(&other, "/presign", &new_photo(&session, "f-001.jpg", PICTURE)).await;
    assert_eq!(refusal(answer).await, is(403, "session-not-owned"));
    let elsewhere = naive.cloud.token("org-a", &["site-2"], now_s(), TOKEN_LIFE);
    let answer = naive.post_as(&elsewhere, "/presign", &new_photo(&session, "f-001.jpg", PICTURE)).await;
    assert_eq!(refusal(answer).await, is(403, "site-not-allowed"));
    let answer = naive.post("/sessions", &new_session("local-2", "site-2")).await;
    assert_eq!(refusal(answer).await, is(403, "site-not-allowed"));
    // The same local name in another organization is another session.
    let answer = naive.post_as(&other, "/sessions", &new_session("local-1", "site-1")).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_ne!(text(&json_of(answer).await, "session_id"), session);
}

#[tokio::test]
async fn only_a_devices_own_and_valid_token_opens_the_api() {
    let naive = Naive::start().await;
    let asked = new_session("local-1", "site-1");
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let ended = naive.cloud.token("org-a", &["site-1"], now_s() - 8 * DAY_S, week);
    assert_eq!(refusal(naive.post_as(&ended, "/sessions", &asked).await).await, is(401, "token-expired"));
    let (signed, signature) = naive.token.rsplit_once('.').expect("a signature");
    let mut other: Vec<_> = signature.chars().collect();
    other[0] = if other[0] == 'A' { 'B' } else { 'A' };
    let forged = format!("{signed}.{}", other.into_iter().collect::<String>());
    for token in [forged.as_str(), signed, "", "a.b.c"] {
        assert_eq!(refusal(naive.post_as(token, "/sessions", &asked).await).await, is(401, "token-invalid"));
    }
    let reviewer = naive.cloud.service().mint(&Claims {
        sub: "person-1".to_owned(),
        org_id: "org-a".to_owned(),
        site_ids: vec!["site-1".to_owned()],
        role: "reviewer".to_owned(),
        iat: now_s(),
        exp: now_s() + 3600,
    });
    for path in ["/sessions", "/presign", "/events", "/device/token"] {
        let answer = naive.post_as(&reviewer, path, &asked).await;
        assert_eq!(refusal(answer).await, is(403, "role-not-allowed"), "{path}");
    }
    assert_eq!(naive.cloud.sessions().len(), 0);
    let health = naive.http.get(format!("{}/healthz", naive.cloud.url)).send().await.expect("an answer");
    assert_eq!(health.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_the_contract_does_not_allow_is_refused_with_its_rule() {
    let naive = Naive::start().await;
    let session = naive.session().await;
    let photo = |field: &str, value: &str| {
        let mut photo = new_photo(&session, "f-001.jpg", PICTURE);
        photo[field] = value.into();
        photo
    };
    let upper = Sha256::of(PICTURE).to_string().to_uppercase();
    let refused = [
        (photo("content_type", "image/png"), 400, "content-type-not-allowed"),
        (photo("content_sha256", &upper), 400, "invalid-sha256"),
        (photo("content_sha256", "abc"), 400, "invalid-sha256"),
        (photo("session_id", "nobody's"), 404, "session-unknown"),
        (photo("file_name", ""), 400, "invalid-request"),
        (photo("more", "than agreed"), 400, "invalid-request"),
        (json!({}), 400, "invalid-request"),
    ];
    for (asked, status, rule) in refused {
        assert_eq!(refusal(naive.post("/presign", &asked).await).await, is(status, rule), "{asked}");
    }
    for (field, value) in [("mode", "walk360"), ("captured_at", "yesterday"), ("item", "")] {
        let mut asked = new_session("local-2", "site-1");
        asked[field] = value.into();
        assert_eq!(refusal(naive.post("/sessions", &asked).await).await, is(400, "invalid-request"));
    }
    assert_eq!(refusal(naive.post("/nothing", &json!({})).await).await, is(404, "no-such-call"));
    let heic = naive.post("/presign", &photo("content_type", "image/heic")).await;
    assert_eq!(heic.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_sixth_attempt_is_refused_and_ended_urls_are_no_attempts() {
    let naive = Naive::start().await;
    naive.cloud.service().trouble_next_urls(3, UrlTrouble::EndsIn(-60));
    for _ in 0..3 {
        let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
        assert_eq!(store_refusal(naive.put(&url, PICTURE).await).await, is(403, "AccessDenied expired"));
    }
    let promised = base64_digest(PICTURE);
    for _ in 0..5 {
        let (url, _) = naive.permit("f-001.jpg", PICTURE).await;
        let answer = naive.put_with(&url, Some("image/jpeg"), Some(&promised), b"others").await;
        assert_eq!(store_refusal(answer.expect("an answer")).await, is(400, "BadDigest"));
    }
    let session = naive.session().await;
    let answer = naive.post("/presign", &new_photo(&session, "f-001.jpg", PICTURE)).await;
    let wait_s: i64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((850..=900).contains(&wait_s), "{wait_s}");
    assert_eq!(refusal(answer).await, is(429, "attempts-max"));
    // Another file of the same session is not concerned.
    naive.permit("f-002.jpg", PICTURE).await;
}

#[tokio::test]
async fn asking_again_changes_nothing() {
    let naive = Naive::start().await;
    let first = naive.post("/sessions", &new_session("local-1", "site-1")).await;
    let again = naive.post("/sessions", &new_session("local-1", "site-1")).await;
    assert_eq!((first.status(), again.status()), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(json_of(first).await, json_of(again).await);
    let (_, key) = naive.permit("f-001.jpg", PICTURE).await;
    assert_eq!(naive.permit("f-001.jpg", PICTURE).await.1, key);
    assert_ne!(naive.permit("f-002.jpg", PICTURE).await.1, key);
    assert_ne!(naive.permit("f-001.jpg", b"retaken").await.1, key);
    for _ in 0..2 {
        let asked = json!({ "events": [new_event("e-1"), new_event("e-2")] });
        let answer = naive.post("/events", &asked).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(json_of(answer).await, json!({ "accepted": 2 }));
    }
    let events = naive.cloud.events();
    assert_eq!(events.iter().map(|event| event.said.id.as_str()).collect::<Vec<_>>(), ["e-1", "e-2"]);
    assert_eq!(events[0].org_id, "org-a");
    let many: Vec<_> = (0..101).map(|number| new_event(&format!("m-{number}"))).collect();
    let answer = naive.post("/events", &json!({ "events": many })).await;
    assert_eq!(refusal(answer).await, is(400, "invalid-request"));
}

#[tokio::test]
async fn a_token_is_renewed_from_its_twentieth_day_on() {
    let naive = Naive::start().await;
    let aged = |days: i64| naive.cloud.token("org-a", &["site-1"], now_s() - days * DAY_S, TOKEN_LIFE);
    let answer = naive.post_as(&aged(19), "/device/token", &json!({})).await;
    assert_eq!(refusal(answer).await, is(409, "too-early"));
    let answer = naive.post_as(&aged(20), "/device/token", &json!({})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let new = text(&json_of(answer).await, "token");
    let answer = naive.post_as(&new, "/sessions", &new_session("local-1", "site-1")).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let answer = naive.post_as(&new, "/device/token", &json!({})).await;
    assert_eq!(refusal(answer).await, is(409, "too-early"));
    let answer = naive.post_as(&aged(30), "/device/token", &json!({})).await;
    assert_eq!(refusal(answer).await, is(401, "token-expired"));
}
