//! The fake cloud without sockets, for stories in paused time: the same service, and a store that is a map.
//!
//! Rules of the API are the very code of the other fake. The store's are written again here, because s3s reads the
//! clock of the machine: signature, scope, expiry, skew and checksum go by the clock that the story moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use sha2::Digest;
use tower::ServiceExt;
use turnstage_cloud_sync::Sha256;

use super::faults::{Fault, Faults};
use super::presign::{CHECKSUM, Signer, parameters, signed_at_ms};
use super::requests::{Asked, Log, Outcome};
use super::service::{Service, http_date};
use super::store::{counts, key, signs_checksum};
use super::{Clock, Event, SECRET, Session, URL_SKEW_MS_MAX, credentials};

const API: &str = "https://api.360imaging.test";
const STORE: &str = "https://store.360imaging.test";

/// Status, headers and body of an answer.
pub type Answer = (StatusCode, HeaderMap, Bytes);

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The network is down or there is no such host: nothing was sent.
    Unreachable,
    /// The connection broke on the way there or back: what the cloud did is unknown.
    Reset,
}

/// The fake cloud in memory. It starts no task; dropping a call of [`MemoryCloud::handle`] ends it.
pub struct MemoryCloud {
    service: Arc<Service>,
    api: Router,
    signer: Signer,
    clock: Clock,
    objects: Mutex<BTreeMap<String, Vec<Sha256>>>,
    faults: Faults,
    log: Log,
    down: AtomicBool,
}

impl MemoryCloud {
    /// An empty cloud whose time is `clock`.
    pub fn new(clock: Clock) -> Self {
        let signer = credentials(STORE.to_owned());
        let service = Service::new(SECRET, Arc::clone(&clock), Arc::clone(&clock), signer.clone());
        Self {
            api: service.router(),
            service,
            signer,
            log: Log::new(Arc::clone(&clock)),
            clock,
            objects: Mutex::default(),
            faults: Faults::default(),
            down: AtomicBool::new(false),
        }
    }

    /// Base URL of the API.
    pub fn url(&self) -> String {
        format!("{API}/v1")
    }

    /// A device's token, see [`Service::token`].
    pub fn token(&self, org: &str, sites: &[&str], issued_at_s: i64, lifetime: Duration) -> String {
        self.service.token(org, sites, issued_at_s, lifetime)
    }

    /// Open sessions, of all organizations.
    pub fn sessions(&self) -> Vec<Session> {
        self.service.sessions()
    }

    /// Events in order of arrival, each once.
    pub fn events(&self) -> Vec<Event> {
        self.service.events()
    }

    /// The service itself, for other tokens and for URLs that are in trouble.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The script of what goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes the network away, or gives it back. A call in progress ends as if it were still there.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Its time.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Every object with the hash of the bytes that were kept last.
    pub fn objects(&self) -> BTreeMap<String, Sha256> {
        let objects = self.objects.lock().expect("nobody panics with it");
        objects.iter().filter_map(|(key, kept)| Some((key.clone(), *kept.last()?))).collect()
    }

    /// Every object with the hashes of all PUTs that were kept, in order. More than one is a repetition, which is
    /// harmless while they are equal.
    pub fn arrivals(&self) -> BTreeMap<String, Vec<Sha256>> {
        self.objects.lock().expect("nobody panics with it").clone()
    }

    /// Everything that was asked, or tried while the network was down.
    pub fn requests(&self) -> Vec<Asked> {
        self.log.all()
    }

    /// Serves one request to an absolute `url` of the API or of the store. Under [`Fault::Stall`] it never returns.
    pub async fn handle(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Lost> {
        let uri: Uri = url.parse().map_err(|_| Lost::Unreachable)?;
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let host = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        if self.down.load(Ordering::SeqCst) || ![API, STORE].contains(&host.as_str()) {
            let number = self.log.arrived(method.as_str(), path, query, None);
            self.log.ended(number, Outcome::Unreachable);
            return Err(Lost::Unreachable);
        }
        let fault = self.faults.take(method.as_str(), path);
        let number = self.log.arrived(method.as_str(), path, query, fault);
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let (parts, body) = self.suffer(request, host == STORE, fault).await?.into_parts();
        self.log.ended(number, Outcome::Answered(parts.status.as_u16()));
        Ok((parts.status, parts.headers, body))
    }

    async fn suffer(
        &self,
        mut request: Request<Bytes>,
        to_store: bool,
        fault: Option<Fault>,
    ) -> Result<Response<Bytes>, Lost> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        if fault == Some(Fault::Stall) {
            return std::future::pending().await;
        }
        if let Some(mut answer) = fault.and_then(|fault| fault.answer(&target)) {
            answer.headers_mut().insert(header::DATE, http_date((self.clock)()));
            return Ok(answer);
        }
        if let Some(Fault::FlipByte(at)) = fault {
            *request.body_mut() = flipped(request.body(), at);
        }
        if let Some(Fault::CutAfter(bytes)) = fault
            && bytes < request.body().len() as u64
        {
            // The API never sees half a request whole. The store does what it does with bytes that are not as promised.
            if !to_store {
                return Err(Lost::Reset);
            }
            request.body_mut().truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let mut answer = if to_store { self.put(&request) } else { self.ask(request).await };
        if matches!(fault, Some(Fault::SwallowAnswer | Fault::CutAfter(_))) {
            return Err(Lost::Reset);
        }
        if let Some(fault) = fault {
            fault.edit(answer.headers_mut());
        }
        Ok(answer)
    }

    async fn ask(&self, request: Request<Bytes>) -> Response<Bytes> {
        let Ok(answer) = self.api.clone().oneshot(request.map(Body::from)).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("an answer from memory is whole");
        Response::from_parts(parts, body.to_bytes())
    }

    fn put(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let key = key(request.uri().path());
        let mut answer = match self.judge(request) {
            Ok(echo) => {
                let kept = Sha256::of(request.body());
                let mut objects = self.objects.lock().expect("nobody panics with it");
                objects.entry(key.clone().unwrap_or_default()).or_default().push(kept);
                let mut answer = Response::new(Bytes::new());
                answer.headers_mut().insert(CHECKSUM, echo);
                answer
            }
            Err(no) => no.answer(),
        };
        let put = key.filter(|_| request.method() == Method::PUT);
        if let Some(key) = put.filter(|_| counts(answer.status(), answer.body())) {
            self.service.put_failed(&key);
        }
        answer.headers_mut().insert(header::DATE, http_date((self.clock)()));
        answer
    }

    /// What to echo, if the request is good.
    fn judge(&self, request: &Request<Bytes>) -> Result<HeaderValue, StoreError> {
        const DENIED: StoreError = StoreError(403, "AccessDenied", "Access Denied");
        if request.method() != Method::PUT {
            return Err(StoreError(501, "NotImplemented", "devices can only PUT"));
        }
        let query = request.uri().query().unwrap_or_default();
        let parameter =
            |name: &str| parameters(query).find(|(found, _)| found == name).map(|(_, value)| value);
        let signed_ms = signed_at_ms(query).ok_or(DENIED)?;
        let life_s: i64 = parameter("X-Amz-Expires").and_then(|life| life.parse().ok()).ok_or(DENIED)?;
        let age_ms = (self.clock)() - signed_ms;
        if age_ms < -URL_SKEW_MS_MAX {
            return Err(StoreError(403, "RequestTimeTooSkewed", "signed too far in the future"));
        }
        if age_ms > life_s.saturating_mul(1000) {
            return Err(StoreError(403, "AccessDenied", "Request has expired"));
        }
        let names = parameter("X-Amz-SignedHeaders").ok_or(DENIED)?;
        let signature = parameter("X-Amz-Signature").ok_or(DENIED)?;
        if self.signature(request, &names, signed_ms, life_s) != Some(signature) {
            return Err(StoreError(403, "SignatureDoesNotMatch", "The request signature does not match"));
        }
        if !signs_checksum(query) {
            return Err(StoreError(403, "AccessDenied", "headers were not signed"));
        }
        let promised = request.headers().get(CHECKSUM);
        let promised = promised.ok_or(StoreError(400, "InvalidRequest", "the checksum is required"))?;
        if promised.as_bytes() != STANDARD.encode(sha2::Sha256::digest(request.body())).as_bytes() {
            return Err(StoreError(400, "BadDigest", "The SHA256 you specified did not match"));
        }
        Ok(promised.clone())
    }

    /// The signature that this request should have, made in the same way as that of the URL was.
    fn signature(
        &self,
        request: &Request<Bytes>,
        names: &str,
        signed_ms: i64,
        life_s: i64,
    ) -> Option<String> {
        let mut headers = Vec::new();
        for name in names.split(';').filter(|name| *name != "host") {
            headers.push((name, request.headers().get(name)?.to_str().ok()?));
        }
        let query = request.uri().query().unwrap_or_default();
        let unsigned: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-")).collect();
        let mark = if unsigned.is_empty() { "" } else { "?" };
        let url = format!("{STORE}{}{mark}{}", request.uri().path(), unsigned.join("&"));
        let mut params = self.signer.sign(&url, &headers, signed_ms, life_s);
        params.pop().filter(|(name, _)| name == "X-Amz-Signature").map(|(_, signature)| signature)
    }
}

fn flipped(body: &[u8], at: u64) -> Bytes {
    let mut body = body.to_vec();
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| body.get_mut(at)) {
        *byte = !*byte;
    }
    body.into()
}

/// Status, code and message of an error of S3.
struct StoreError(u16, &'static str, &'static str);

impl StoreError {
    fn answer(&self) -> Response<Bytes> {
        let Self(status, code, message) = self;
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::from_u16(*status).expect("an HTTP status");
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        answer
    }
}
