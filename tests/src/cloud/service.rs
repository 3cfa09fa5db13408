//! The API of the fake cloud: who may ask what, and in which form it is answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Clock;
use super::ledger::{Event, Ledger, NewEvents, NewPhoto, NewSession, Refusal, Session, digest};
use super::presign::{Permit, Signer, URL_LIFE_S};
use super::token::{self, Claims, TokenFault};

const DAY_S: i64 = 24 * 60 * 60;
/// How long a device token lives (V-10).
pub const TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// From this age on it can be exchanged for a new one.
const RENEWAL_AGE_S: i64 = 20 * DAY_S;

/// What is special about a URL that a test wants handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlTrouble {
    /// It ends in so many seconds; negative: it ended so many seconds ago. More than 1800: it was signed by a clock so
    /// far ahead that the store calls it skewed.
    EndsIn(i64),
    /// The checksum is not among its signed headers, so nothing proves which bytes arrive.
    ChecksumInQuery,
}

/// The service and everything that it knows.
pub struct Service {
    secret: Vec<u8>,
    clock: Clock,
    /// What the store goes by when it judges a URL.
    store_clock: Clock,
    signer: Signer,
    ledger: Mutex<Ledger>,
    troubles: Mutex<VecDeque<UrlTrouble>>,
}

impl Service {
    /// A service that knows nothing yet.
    pub fn new(secret: &[u8], clock: Clock, store_clock: Clock, signer: Signer) -> Arc<Self> {
        let secret = secret.to_vec();
        let (ledger, troubles) = (Mutex::default(), Mutex::default());
        Arc::new(Self { secret, clock, store_clock, signer, ledger, troubles })
    }

    /// Its HTTP side, below `/v1`.
    pub fn router(self: &Arc<Self>) -> Router {
        let api = Router::new()
            .route("/healthz", get(async || Reply(StatusCode::OK, json!({ "status": "ok" }))))
            .route("/sessions", post(sessions))
            .route("/presign", post(presign))
            .route("/events", post(events))
            .route("/device/token", post(renew))
            .method_not_allowed_fallback(async || unknown(StatusCode::METHOD_NOT_ALLOWED))
            .fallback(async || unknown(StatusCode::NOT_FOUND))
            .with_state(Arc::clone(self));
        let clock = Arc::clone(&self.clock);
        // nest's own fallback would miss what is outside of /v1.
        Router::new().nest("/v1", api).fallback(async || unknown(StatusCode::NOT_FOUND)).layer(map_response(
            move |answer: Response| {
                let now_ms = clock();
                async move { dated(answer, now_ms) }
            },
        ))
    }

    /// A token that this service accepts as far as its claims allow.
    pub fn mint(&self, claims: &Claims) -> String {
        token::mint(&self.secret, claims)
    }

    /// The next URLs are like this, one each.
    pub fn trouble_next_urls(&self, times: usize, trouble: UrlTrouble) {
        let mut troubles = self.troubles.lock().expect("nobody panics with it");
        troubles.extend(std::iter::repeat_n(trouble, times));
    }

    /// The session that a device will open under this name of its own belongs to another organization.
    pub fn give_session(&self, client_session_id: &str, org_id: &str) {
        self.ledger().give(client_session_id, org_id);
    }

    /// The store says that a PUT to this key failed, and not because its URL had ended.
    pub fn put_failed(&self, key: &str) {
        self.ledger().put_failed(key, (self.clock)());
    }

    /// Open sessions.
    pub fn sessions(&self) -> Vec<Session> {
        self.ledger().all_sessions()
    }

    /// Events in order of arrival, each id once.
    pub fn events(&self) -> Vec<Event> {
        self.ledger().all_events()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with it")
    }

    fn now_s(&self) -> i64 {
        (self.clock)().div_euclid(1000)
    }

    /// Who asks, if it is a device with a token that holds.
    fn device(&self, headers: &HeaderMap) -> Result<Claims, Refusal> {
        let unauthorized = |rule_id, message| Refusal::new(StatusCode::UNAUTHORIZED, rule_id, message);
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let claims = token::read(&self.secret, token, self.now_s()).map_err(|fault| match fault {
            TokenFault::Invalid => unauthorized("token-invalid", "no token of this service"),
            TokenFault::Expired => unauthorized("token-expired", "this token has ended"),
        })?;
        if claims.role != "device" {
            let message = format!("role \"{}\" may not do what devices do", claims.role);
            return Err(Refusal::new(StatusCode::FORBIDDEN, "role-not-allowed", message));
        }
        Ok(claims)
    }

    fn url(&self, key: &str, photo: &NewPhoto) -> String {
        let checksum = STANDARD.encode(digest(&photo.content_sha256).expect("the ledger has checked it"));
        let trouble = self.troubles.lock().expect("nobody panics with it").pop_front();
        let ahead_s = match trouble {
            Some(UrlTrouble::EndsIn(seconds)) => seconds - URL_LIFE_S,
            _ => 0,
        };
        self.signer.put_url(&Permit {
            key,
            content_type: &photo.content_type,
            checksum: &checksum,
            signed_at_ms: (self.store_clock)() + ahead_s * 1000,
            checksum_in_query: trouble == Some(UrlTrouble::ChecksumInQuery),
        })
    }
}

type Shared = State<Arc<Service>>;

async fn sessions(State(service): Shared, headers: HeaderMap, body: Bytes) -> Result<Reply, Refusal> {
    let claims = service.device(&headers)?;
    let asked: NewSession = parsed(&headers, &body)?;
    let (session_id, new) = service.ledger().session(&claims, asked)?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Reply(status, json!({ "session_id": session_id })))
}

async fn presign(State(service): Shared, headers: HeaderMap, body: Bytes) -> Result<Reply, Refusal> {
    let claims = service.device(&headers)?;
    let asked: NewPhoto = parsed(&headers, &body)?;
    let key = service.ledger().photo(&claims, &asked, (service.clock)())?;
    let upload_url = service.url(&key, &asked);
    Ok(Reply(StatusCode::OK, json!({ "upload_url": upload_url, "storage_key": key })))
}

async fn events(State(service): Shared, headers: HeaderMap, body: Bytes) -> Result<Reply, Refusal> {
    let claims = service.device(&headers)?;
    let asked: NewEvents = parsed(&headers, &body)?;
    let accepted = service.ledger().events(&claims, asked, (service.clock)())?;
    Ok(Reply(StatusCode::ACCEPTED, json!({ "accepted": accepted })))
}

async fn renew(State(service): Shared, headers: HeaderMap) -> Result<Reply, Refusal> {
    let claims = service.device(&headers)?;
    let now_s = service.now_s();
    let age_s = now_s - claims.iat;
    if age_s < RENEWAL_AGE_S {
        let message = format!("this token is {} days old; from day 20 on there is another", age_s / DAY_S);
        return Err(Refusal::new(StatusCode::CONFLICT, "too-early", message));
    }
    let exp = now_s + TOKEN_LIFE.as_secs().cast_signed();
    let token = service.mint(&Claims { iat: now_s, exp, ..claims });
    Ok(Reply(StatusCode::OK, json!({ "token": token })))
}

fn parsed<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "invalid-request", message);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next() != Some("application/json") {
        return Err(invalid(format!("\"{kind}\" is not application/json")));
    }
    serde_json::from_slice(body).map_err(|why| invalid(why.to_string()))
}

fn unknown(status: StatusCode) -> Refusal {
    Refusal::new(status, "no-such-call", "the contract has no such call")
}

/// HTTP's `Date`, by the service's clock.
fn dated(mut answer: Response, now_ms: i64) -> Response {
    answer.headers_mut().insert(header::DATE, http_date(now_ms));
    answer
}

/// A moment as HTTP writes it.
pub fn http_date(now_ms: i64) -> HeaderValue {
    let now = Timestamp::from_millisecond(now_ms).expect("a clock within ten thousand years");
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).expect("a date is a header's value")
}

/// A JSON answer.
struct Reply(StatusCode, Value);

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut answer = Response::new(Body::from(self.1.to_string()));
        *answer.status_mut() = self.0;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "rule_id": self.rule_id, "message": self.message });
        let mut answer = Reply(self.status, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}
