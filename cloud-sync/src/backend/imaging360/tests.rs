use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::Stamp;
use crate::event::NewEvent;
use crate::spool::Spool;
use crate::spool::test_support::file;

mod reconnect;
mod token;

/// 2026-11-27T09:30:00Z.
const NOW_MS: i64 = 1_795_771_800_000;
const DAY_S: i64 = 24 * 3600;

/// Goes with tokio's clock, which the tests pause; the wall clock may be wrong or unset.
struct Paused {
    begun: Instant,
    ahead_ms: AtomicI64,
    quality: ClockQuality,
}

impl Clock for Paused {
    fn now(&self) -> Stamp {
        let ms = self.begun.elapsed().as_millis() as i64;
        Stamp {
            wall_ms: NOW_MS + ms + self.ahead_ms.load(Ordering::Relaxed),
            quality: self.quality,
            boottime_ms: ms as u64,
            boot_id: "boot-1".to_owned(),
        }
    }
}

type Answer = Result<HttpResponse, TransportError>;

/// A service that does what the contract says, but for what the test put before.
#[derive(Default)]
struct Service {
    /// For the next request to this path: an answer, after so long.
    instead: Mutex<VecDeque<(&'static str, Duration, Answer)>>,
    seen: Mutex<Vec<(String, String)>>,
    /// Nothing reaches it.
    away: AtomicBool,
    /// When the first picture was put.
    put_at: Mutex<Option<Instant>>,
    /// Before the service's clock.
    signs_ago_ms: AtomicI64,
}

fn answer(status: u16, body: Value) -> Answer {
    let headers = vec![("date".to_owned(), date())];
    Ok(HttpResponse { status, headers, body: body.to_string().into() })
}

fn xml(status: u16, code: &str, message: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Ok(HttpResponse { status, headers: vec![], body: body.into() })
}

fn date() -> String {
    // The service's clock stands still: the tests take seconds.
    "Fri, 27 Nov 2026 09:30:00 GMT".to_owned()
}

impl Service {
    fn next(&self, path: &'static str, answer: Answer) {
        self.after(path, Duration::ZERO, answer);
    }

    fn after(&self, path: &'static str, wait: Duration, answer: Answer) {
        self.instead.lock().unwrap().push_back((path, wait, answer));
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    fn body(&self, nth: usize) -> Value {
        serde_json::from_str(&self.seen.lock().unwrap()[nth].1).unwrap()
    }

    fn by_contract(&self, path: &str, request: &HttpRequest) -> Answer {
        match path {
            "healthz" => answer(200, json!({})),
            "sessions" => answer(201, json!({"session_id": "cloud-s-1"})),
            "presign" => {
                let signed = NOW_MS - self.signs_ago_ms.load(Ordering::Relaxed);
                let signed = moment::rfc3339(signed).replace(['-', ':'], "");
                let url = format!(
                    "https://store.example/key.jpg?X-Amz-Date={signed}&X-Amz-Expires=900&X-Amz-SignedHeaders=content-type%3Bhost%3B{CHECKSUM}&X-Amz-Signature=1"
                );
                answer(200, json!({"upload_url": url, "storage_key": "org/org/key.jpg"}))
            }
            "key.jpg" => {
                let echoed = request.headers.iter().find(|(name, _)| *name == CHECKSUM).unwrap();
                let headers = vec![(CHECKSUM.to_owned(), echoed.1.clone())];
                Ok(HttpResponse { status: 200, headers, body: Bytes::new() })
            }
            "events" => answer(202, json!({"accepted": 1})),
            _ => answer(404, json!({})),
        }
    }
}

#[async_trait]
impl Transport for Service {
    async fn send(&self, request: HttpRequest) -> Answer {
        let path = request.url.split('?').next().unwrap().rsplit_once(".example/").unwrap().1;
        let path = path.trim_start_matches("v1/").to_owned();
        let body = match &request.body {
            Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::File { path, .. } => path.display().to_string(),
        };
        if self.away.load(Ordering::Relaxed) {
            return Err(TransportError::Unreachable("no route".to_owned()));
        }
        self.seen.lock().unwrap().push((path.clone(), body));
        if path == "key.jpg" {
            self.put_at.lock().unwrap().get_or_insert_with(Instant::now);
        }
        let instead = {
            let mut instead = self.instead.lock().unwrap();
            let nth = instead.iter().position(|(meant, ..)| *meant == path);
            nth.and_then(|nth| instead.remove(nth))
        };
        match instead {
            Some((_, wait, answer)) => {
                tokio::time::sleep(wait).await;
                answer
            }
            None => self.by_contract(&path, &request),
        }
    }
}

fn jwt(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "sub": "station-1", "org_id": "org", "site_ids": ["site"], "role": "device",
        "iat": NOW_MS / 1000, "exp": NOW_MS / 1000 + 30 * DAY_S,
    });
    change(&mut claims);
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

struct Rig {
    cloud: Imaging360,
    service: Arc<Service>,
    clock: Arc<Paused>,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::with(ClockQuality::Synced, jwt(|_| ()))
    }

    fn with(quality: ClockQuality, token: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Paused { begun: Instant::now(), ahead_ms: AtomicI64::new(0), quality });
        let service = Arc::new(Service::default());
        let token_file = dir.path().join("token");
        std::fs::write(&token_file, token).unwrap();
        std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let options = Imaging360Options::new("cloud", "https://api.example/v1", "org", "site", token_file);
        let cloud = Imaging360::new(options, clock.clone(), service.clone());
        Self { cloud, service, clock, dir }
    }

    /// A picture on disk.
    async fn picture(&self, change: impl FnOnce(&mut Record)) -> Delivery {
        let spool = Spool::in_memory(self.clock.clone());
        let mut new = file("s-1", 0, b"picture");
        new.facts.org = "org".to_owned();
        new.facts.site = "site".to_owned();
        let mut record = spool.put(vec![new], vec![]).await.unwrap().remove(0);
        change(&mut record);
        let path = self.dir.path().join("picture.jpg");
        std::fs::write(&path, b"picture").unwrap();
        Delivery { files: vec![Parcel::stored(record, Payload::File(path))] }
    }

    async fn deliver(&self) -> Result<Vec<Receipt>, PutError> {
        self.cloud.deliver(&self.picture(|_| ()).await).await
    }

    /// Kind and rule of a delivery that does not succeed.
    async fn refused(&self) -> (&'static str, String) {
        kind(self.deliver().await.unwrap_err())
    }
}

fn kind(error: PutError) -> (&'static str, String) {
    let kind = match error {
        PutError::Offline { .. } => "offline",
        PutError::Later { .. } => "later",
        PutError::Never { .. } => "never",
    };
    (kind, error.failure().rule)
}

fn told(kind: &'static str, rule: &str) -> (&'static str, String) {
    (kind, rule.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_confirmed_by_the_echo_of_its_signed_checksum() {
    let rig = Rig::new();
    let receipts = rig.deliver().await.unwrap();
    assert_eq!(receipts[0].proof, Proof::ChecksummedPut);
    assert_eq!(receipts[0].location, "org/org/key.jpg");
    assert_eq!(receipts[0].sha256, Sha256::of(b"picture"));
    assert_eq!(rig.service.paths(), ["sessions", "presign", "key.jpg"]);
    let session = rig.service.body(0);
    assert_eq!((&session["client_session_id"], &session["site_id"]), (&json!("s-1"), &json!("site")));
    let presign = rig.service.body(1);
    assert_eq!(presign["session_id"], "cloud-s-1");
    assert_eq!(presign["content_sha256"], Sha256::of(b"picture").to_string());

    rig.deliver().await.unwrap();
    assert_eq!(rig.service.paths()[3..], ["presign", "key.jpg"], "the session is open already");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_of_a_picture_is_asked_for_and_proven_by_its_own_hash() {
    let rig = Rig::new();
    let Parcel { record, .. } = rig.picture(|_| ()).await.files.remove(0);
    let delivery = Delivery { files: vec![Parcel::derived(record, Bytes::from_static(b"enriched picture"))] };
    let receipts = rig.cloud.deliver(&delivery).await.unwrap();
    let made = Sha256::of(b"enriched picture");
    assert_eq!(rig.service.body(1)["content_sha256"], made.to_string());
    assert_eq!((receipts[0].sha256, receipts[0].stands_for()), (made, Sha256::of(b"picture")));

    rig.service.next("key.jpg", xml(400, "BadDigest", ""));
    let outcome = rig.cloud.deliver(&delivery).await.unwrap_err();
    assert_eq!(kind(outcome), told("later", "checksum-mismatch"), "it is whole here");
}

#[tokio::test(start_paused = true)]
async fn a_table_makes_a_spin_of_a_session_and_its_absence_stills() {
    for (angle, mode) in [(Some(10.0), "studio360"), (None, "stills")] {
        let rig = Rig::new();
        let delivery = rig.picture(|record| record.facts.angle_commanded = angle).await;
        rig.cloud.deliver(&delivery).await.unwrap();
        assert_eq!(rig.service.body(0)["mode"], mode);
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_is_missing_or_of_other_bytes_confirms_nothing() {
    for headers in [vec![], vec![(CHECKSUM.to_owned(), STANDARD.encode(Sha256::of(b"other").as_bytes()))]] {
        let rig = Rig::new();
        rig.service.next("key.jpg", Ok(HttpResponse { status: 200, headers, body: Bytes::new() }));
        assert_eq!(rig.refused().await, told("later", "echo-missing"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_ran_out_is_replaced_at_once_but_not_for_ever() {
    let rig = Rig::new();
    rig.service.next("key.jpg", xml(403, "AccessDenied", "Request has expired"));
    rig.deliver().await.unwrap();
    assert_eq!(rig.service.paths(), ["sessions", "presign", "key.jpg", "presign", "key.jpg"]);

    for _ in 0..PRESIGNS_MAX {
        rig.service.next("key.jpg", xml(403, "AccessDenied", "Request has expired"));
    }
    assert_eq!(rig.refused().await, told("offline", "presign-expired"), "and not counted");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_would_end_before_the_upload_is_not_begun_with() {
    let rig = Rig::new();
    // Good for 50 s more, by the service's own clock; ours is wrong and does not matter.
    rig.clock.ahead_ms.store(-3_600_000, Ordering::Relaxed);
    rig.service.signs_ago_ms.store(850_000, Ordering::Relaxed);
    rig.deliver().await.unwrap();
    assert_eq!(rig.service.paths(), ["sessions", "presign", "presign", "presign", "key.jpg"]);
}

#[tokio::test(start_paused = true)]
async fn an_address_without_signed_checksum_gets_nothing() {
    let rig = Rig::new();
    let url = "https://store.example/key.jpg?X-Amz-Date=20261127T093000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host";
    rig.service.next("presign", answer(200, json!({"upload_url": url, "storage_key": "k"})));
    assert_eq!(rig.refused().await, told("never", "presign-without-checksum"));
    assert_eq!(rig.service.paths(), ["sessions", "presign"]);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_apart_cost_no_attempt_and_are_noticed() {
    let rig = Rig::new();
    rig.service.next("key.jpg", xml(403, "RequestTimeTooSkewed", ""));
    assert_eq!(rig.refused().await, told("offline", "clock-skewed"));
    assert_eq!(rig.cloud.notices()[0].rule, "clock-skewed");
    rig.deliver().await.unwrap();
    assert_eq!(rig.cloud.notices(), []);
    rig.clock.ahead_ms.store(20 * 60_000, Ordering::Relaxed);
    assert!(rig.cloud.notices()[0].reason.contains("20 min ahead"), "{:?}", rig.cloud.notices());
}

#[tokio::test(start_paused = true)]
async fn bytes_that_arrived_damaged_are_sent_again_unless_they_are_damaged_here() {
    let rig = Rig::new();
    rig.service.next("key.jpg", xml(400, "BadDigest", ""));
    assert_eq!(rig.refused().await, told("later", "checksum-mismatch"));

    let delivery = rig.picture(|_| ()).await;
    let Payload::File(path) = &delivery.files[0].payload else { panic!("not a file") };
    std::fs::write(path, b"p1cture").unwrap();
    rig.service.next("key.jpg", xml(400, "BadDigest", ""));
    assert_eq!(kind(rig.cloud.deliver(&delivery).await.unwrap_err()), told("never", "media-damaged"));

    rig.service.next("key.jpg", Err(TransportError::LocalFile("gone".to_owned())));
    std::fs::remove_file(path).unwrap();
    assert_eq!(kind(rig.cloud.deliver(&delivery).await.unwrap_err()), told("never", "media-damaged"));
}

#[tokio::test(start_paused = true)]
async fn a_session_of_someone_else_is_parked_with_the_services_rule() {
    let rig = Rig::new();
    let refusal = json!({"rule_id": "session-not-owned", "message": "another organisation"});
    rig.service.next("presign", answer(403, refusal));
    let error = rig.deliver().await.unwrap_err();
    assert!(error.failure().reason.contains("another organisation"));
    assert_eq!(kind(error), told("never", "session-not-owned"));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_service_forgot_is_opened_again_once() {
    let rig = Rig::new();
    rig.deliver().await.unwrap();
    let unknown = || answer(404, json!({"rule_id": "session-unknown"}));
    rig.service.next("presign", unknown());
    rig.deliver().await.unwrap();
    assert_eq!(rig.service.paths()[3..], ["presign", "sessions", "presign", "key.jpg"]);
    rig.service.next("presign", unknown());
    rig.service.next("presign", unknown());
    assert_eq!(rig.refused().await, told("never", "session-unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_picture_of_another_organisation_or_site_is_not_sent_at_all() {
    let rig = Rig::new();
    for change in [
        |record: &mut Record| record.facts.org = "former".into(),
        |record: &mut Record| {
            record.facts.site = "elsewhere".into();
        },
    ] {
        let delivery = rig.picture(change).await;
        assert_eq!(kind(rig.cloud.deliver(&delivery).await.unwrap_err()), told("never", "site-not-allowed"));
    }
    assert_eq!(rig.service.paths(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_gone_is_no_attempt_and_a_broken_line_is_one() {
    let rig = Rig::new();
    rig.service.next("sessions", Err(TransportError::Unreachable("no route".to_owned())));
    assert_eq!(rig.refused().await, told("offline", "network-unreachable"));
    rig.service.next("key.jpg", Err(TransportError::Interrupted("reset".to_owned())));
    assert_eq!(rig.refused().await, told("later", "connection-lost"));
    let ever = Duration::from_secs(24 * 3600);
    rig.service.after("key.jpg", ever, answer(200, json!({})));
    let begun = Instant::now();
    assert_eq!(rig.refused().await, told("later", "connection-lost"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_patience_gets_it() {
    let rig = Rig::new();
    let mut busy = answer(429, json!({"rule_id": "attempts-max"})).unwrap();
    busy.headers.push(("retry-after".to_owned(), "90".to_owned()));
    rig.service.next("presign", Ok(busy));
    let error = rig.deliver().await.unwrap_err();
    assert!(
        matches!(error, PutError::Later { after: Some(after), .. } if after.as_secs() == 90),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    let rig = Rig::new();
    let mut moved = answer(307, json!({})).unwrap();
    moved.headers.push(("location".to_owned(), "https://elsewhere.example/".to_owned()));
    rig.service.next("sessions", Ok(moved));
    assert_eq!(rig.refused().await, told("offline", "redirect-refused"));
    assert_eq!(rig.service.paths(), ["sessions"]);
}

#[tokio::test(start_paused = true)]
async fn five_failures_stop_the_asking_and_a_network_up_event_starts_it_within_three_seconds() {
    let rig = Rig::new();
    for _ in 0..5 {
        rig.service.next("healthz", answer(500, json!({})));
        assert_eq!(kind(rig.cloud.ready().await.unwrap_err()), told("offline", "service-failed"));
    }
    assert_eq!(rig.refused().await, told("offline", "breaker-open"));
    assert_eq!(kind(rig.cloud.ready().await.unwrap_err()), told("offline", "breaker-open"));
    assert_eq!(rig.service.paths().len(), 5, "nothing was sent");
    let begun = Instant::now();
    rig.cloud.reconnected();
    rig.deliver().await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_event_log_that_fails_holds_up_no_picture() {
    let rig = Rig::new();
    for _ in 0..10 {
        rig.service.next("events", answer(500, json!({})));
        rig.cloud.tell(&[event("session.started", None)]).await.unwrap_err();
    }
    rig.deliver().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_left_by_the_old_network_is_sent_again_by_the_new_one() {
    let rig = Rig::new();
    let ever = Duration::from_secs(24 * 3600);
    rig.service.after("key.jpg", ever, answer(500, json!({})));
    let delivery = rig.picture(|_| ()).await;
    let begun = Instant::now();
    let change = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.cloud.reconnected();
    };
    let (outcome, ()) = tokio::join!(rig.cloud.deliver(&delivery), change);
    outcome.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert_eq!(rig.service.paths(), ["sessions", "presign", "key.jpg", "key.jpg"]);
}

fn event(kind: &str, session: Option<&str>) -> Event {
    let new = NewEvent {
        kind: kind.to_owned(),
        actor: "operator:ana".to_owned(),
        session: session.map(str::to_owned),
        data: json!({"item": "WDB-1"}),
    };
    let at = Stamp {
        wall_ms: NOW_MS,
        quality: ClockQuality::Synced,
        boottime_ms: 0,
        boot_id: "boot-1".to_owned(),
    };
    Event::append(None, new, at)
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_with_the_same_id_each_time_and_the_services_session() {
    let rig = Rig::new();
    let event = event("session.started", Some("s-1"));
    rig.cloud.tell(std::slice::from_ref(&event)).await.unwrap();
    rig.deliver().await.unwrap();
    rig.cloud.tell(&[event]).await.unwrap();
    let (before, after) = (rig.service.body(0), rig.service.body(4));
    let (before, after) = (&before["events"][0], &after["events"][0]);
    assert_eq!(before["id"], after["id"]);
    assert_eq!((&before["type"], &before["at"]), (&json!("session.started"), &json!("2026-11-27T09:30:00Z")));
    assert_eq!((before.get("session_id"), &after["session_id"]), (None, &json!("cloud-s-1")));
    assert_eq!(before["data"]["item"], "WDB-1");
    assert_eq!(before["data"]["client_session_id"], "s-1");
    assert_eq!(before["data"]["actor"], "operator:ana");
}
