//! A fake of 360 Imaging that is strict: what the real service would refuse, it refuses too.
//!
//! [`Cloud`] has real sockets and a store with real files, and is as independent of the product as can be: URLs are
//! signed by AWS's code and verified by that of s3s. [`memory::MemoryCloud`] keeps the same rules without sockets, for
//! stories in paused time. Both do to requests what their [`Faults`] say.

pub mod faults;
mod front;
mod ledger;
pub mod memory;
mod presign;
mod requests;
mod service;
mod store;
mod token;
pub mod transport;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;
use turnstage_cloud_sync::Sha256;

pub use faults::{Fault, Faults};
pub use ledger::{Event, Mode, NewEvent, NewSession, Session};
pub use presign::{CHECKSUM, URL_LIFE_S};
pub use requests::{Asked, Outcome};
pub use service::{Service, TOKEN_LIFE, UrlTrouble};
pub use token::Claims;

use front::{Front, Relayed, Serve};
use presign::Signer;
use requests::Log;
use store::Store;

/// Milliseconds since 1970-01-01 UTC, now.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What signs device tokens here.
const SECRET: &[u8] = b"known to the fake cloud only";
/// How far in the future a URL may have been signed.
const URL_SKEW_MS_MAX: i64 = 15 * 60 * 1000;

fn credentials(store: String) -> Signer {
    Signer { store, access_key: "AKFAKECLOUD".to_owned(), secret_key: "secret of the fake store".to_owned() }
}

/// The machine's clock.
pub fn real_clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_millisecond())
}

/// A clock that shows `start_ms` now and goes with tokio's, so that a paused test moves it.
pub fn paused_clock(start_ms: i64) -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || start_ms + i64::try_from(start.elapsed().as_millis()).expect("not that long"))
}

/// A plain HTTP client, with the TLS provider that it needs installed and no proxy from the environment.
pub fn client() -> reqwest::Client {
    static TLS: OnceLock<bool> = OnceLock::new();
    TLS.get_or_init(|| rustls::crypto::ring::default_provider().install_default().is_ok());
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// How a cloud is to be.
pub struct Options {
    /// What the service goes by for tokens, attempts and `Date`. URLs are signed by the machine's clock, because the
    /// store verifies them by that; an old URL is had by [`Service::trouble_next_urls`].
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: real_clock() }
    }
}

/// The fake cloud on two ports of this machine: API and store. It runs until dropped.
pub struct Cloud {
    /// Base URL of the API.
    pub url: String,
    service: Arc<Service>,
    faults: Arc<Faults>,
    log: Arc<Log>,
    api: Front,
    store: Front,
    folder: TempDir,
}

impl Cloud {
    /// Opens both ports.
    pub async fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let (api_port, api) = Front::port().await;
        let (store_port, store) = Front::port().await;
        let signer = credentials(format!("http://{store}"));
        let service = Service::new(SECRET, options.clock, real_clock(), signer.clone());
        let files = Arc::new(Store::open(folder.path(), &signer, Arc::clone(&service)));
        let faults = Arc::new(Faults::default());
        let log = Arc::new(Log::new(real_clock()));
        let front = |port, serve| Front::start(port, serve, Arc::clone(&faults), Arc::clone(&log));
        Self {
            url: format!("http://{api}/v1"),
            api: front(api_port, api_side(service.router())),
            store: front(store_port, store_side(files)),
            service,
            log,
            faults,
            folder,
        }
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

    /// The script of what goes wrong, for both ports.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Every object with the hash of the bytes that really lie in the store's folder.
    pub fn objects(&self) -> BTreeMap<String, Sha256> {
        store::objects(self.folder.path())
    }

    /// Puts other bytes under a key, as a store does that loses what it promised to keep.
    pub fn corrupt(&self, key: &str, bytes: &[u8]) {
        store::corrupt(self.folder.path(), key, bytes);
    }

    /// Everything that was asked, at both ports.
    pub fn requests(&self) -> Vec<Asked> {
        self.log.all()
    }

    /// Takes the network away: connections break and new ones are refused; or gives it back at the same ports. It is so
    /// when this returns.
    pub async fn set_down(&self, down: bool) {
        self.api.set_open(!down).await;
        self.store.set_open(!down).await;
    }

    /// Ends every task and removes the folder. Dropping does the same without waiting.
    pub async fn stop(self) {
        self.api.stop().await;
        self.store.stop().await;
    }
}

/// Claims of a device of `org` with these sites.
fn device_claims(org: &str, sites: &[&str], issued_at_s: i64, lifetime: Duration) -> Claims {
    let exp = issued_at_s + i64::try_from(lifetime.as_secs()).expect("not that long");
    let site_ids = sites.iter().map(|site| (*site).to_owned()).collect();
    let (sub, role) = (format!("device-of-{org}"), "device".to_owned());
    Claims { sub, org_id: org.to_owned(), site_ids, role, iat: issued_at_s, exp }
}

impl Service {
    /// A device's token: issued at that many seconds since 1970, ending after `lifetime` ([`TOKEN_LIFE`] in reality).
    /// Any other token is had by [`Service::mint`].
    pub fn token(&self, org: &str, sites: &[&str], issued_at_s: i64, lifetime: Duration) -> String {
        self.mint(&device_claims(org, sites, issued_at_s, lifetime))
    }
}

fn api_side(router: Router) -> Serve {
    Arc::new(move |request: Request<Relayed>| -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> {
        let router = router.clone();
        Box::pin(async move {
            let Ok(answer) = router.oneshot(request.map(Body::new)).await;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.expect("an answer from memory is whole");
            Response::from_parts(parts, body.to_bytes())
        })
    })
}

fn store_side(store: Arc<Store>) -> Serve {
    Arc::new(move |request: Request<Relayed>| -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> {
        let store = Arc::clone(&store);
        Box::pin(async move { store.serve(request.map(s3s::Body::http_body_unsync)).await })
    })
}
