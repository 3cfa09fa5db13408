//! A service that takes pictures and throws them away: the other end for rows that measure sending.
//!
//! It answers what the client of 360 Imaging asks, and it checks nothing: neither token nor hash nor address. Whether
//! a client keeps the contract is for tests; here both sides of a comparison meet the same cheap partner. It runs in a
//! child, so that its processor time is nobody's, and ends when its input is closed, which the end of its parent does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as Key, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::child;
use super::client::Client;
use super::table::Unmeasured;
use crate::clock::SystemClock;

/// The header that the store echoes.
pub const CHECKSUM: &str = "x-amz-checksum-sha256";
const LIFE_S: i64 = 30 * 24 * 3600;

/// The beginning of a PUT.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Arrival {
    /// The station's session.
    pub session: String,
    /// When its request line and headers were read, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A sink in a child; dropping ends it.
pub struct Sink {
    child: Child,
    address: SocketAddr,
}

impl Sink {
    /// Starts one on a free port of this machine.
    pub fn start(data: &Path) -> Result<Self, Unmeasured> {
        let mut child = child::start(data, "sink")?;
        let mut line = String::new();
        if let Some(printed) = child.stdout.as_mut() {
            BufReader::new(printed).read_line(&mut line).map_err(Unmeasured::at("read the sink's port"))?;
        }
        let port = line.trim().parse::<u16>().map_err(Unmeasured::at("read the sink's port"));
        let mut sink = Self { child, address: ([127, 0, 0, 1], 0).into() };
        sink.address.set_port(port?);
        Ok(sink)
    }

    /// Base address of the service.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every PUT so far, in order.
    pub async fn arrivals(&self) -> Result<Vec<Arrival>, Unmeasured> {
        let told = Client::to(self.address).whole("/arrivals").await?;
        serde_json::from_slice(&told).map_err(Unmeasured::at("read the sink's arrivals"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends with its input, and what else can be done about one that does not?
        drop(self.child.wait());
    }
}

/// Writes a device token as the client reads it; no one could verify it.
pub fn write_token(file: &Path, org: &str, site: &str) -> Result<(), Unmeasured> {
    let now_s = SystemClock::new().now().wall_ms / 1000;
    let claims = json!({
        "sub": "bench", "org_id": org, "site_ids": [site], "role": "device",
        "iat": now_s, "exp": now_s + LIFE_S,
    });
    let [head, claims] =
        [json!({"alg": "none"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    std::fs::write(file, format!("{head}.{claims}.bench")).map_err(Unmeasured::at("write a token"))
}

#[derive(Clone)]
struct Here {
    address: SocketAddr,
    clock: SystemClock,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

/// Prints its port and serves until its input ends.
pub fn in_child(runtime: &Handle) -> Result<(), Unmeasured> {
    runtime.block_on(async {
        let tried = "open the sink";
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Unmeasured::at(tried))?;
        let address = listener.local_addr().map_err(Unmeasured::at(tried))?;
        println!("{}", address.port());
        std::io::stdout().flush().map_err(Unmeasured::at("print the sink's port"))?;
        let left = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let here = Here { address, clock: SystemClock::new(), arrivals: Arc::default() };
        tokio::select! {
            served = axum::serve(listener, router(here)) => served.map_err(Unmeasured::at("serve")),
            _ = left => Ok(()),
        }
    })
}

fn router(here: Here) -> Router {
    Router::new()
        .route("/healthz", routing::get(|| async { StatusCode::OK }))
        .route("/sessions", routing::post(open_session))
        .route("/presign", routing::post(presign))
        .route("/store/{session}/{file}", routing::put(store))
        .route("/events", routing::post(|| async { (StatusCode::ACCEPTED, Json(json!({"accepted": 1}))) }))
        .route("/arrivals", routing::get(arrivals))
        .with_state(here)
}

/// The session keeps its name, so that arrivals tell whose they are.
async fn open_session(Json(asked): Json<Value>) -> Response {
    (StatusCode::CREATED, Json(json!({"session_id": asked["client_session_id"]}))).into_response()
}

async fn presign(State(here): State<Here>, Json(asked): Json<Value>) -> Json<Value> {
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let path = format!("store/{}/{}", text("session_id"), text("file_name"));
    let url = upload_url(here.address, &path, here.clock.now().wall_ms);
    Json(json!({"upload_url": url, "storage_key": path}))
}

/// An address with what a presigned one has in its query.
fn upload_url(address: SocketAddr, path: &str, now_ms: i64) -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    format!(
        "http://{address}/{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=bench&X-Amz-Date={}\
         &X-Amz-Expires=900&X-Amz-SignedHeaders=content-type%3Bhost%3B{CHECKSUM}&X-Amz-Signature={}",
        now.strftime("%Y%m%dT%H%M%SZ"),
        "0".repeat(64)
    )
}

async fn store(
    State(here): State<Here>,
    Key((session, _)): Key<(String, String)>,
    request: Request,
) -> Response {
    let at_ms = here.clock.now().wall_ms;
    here.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Arrival { session, at_ms });
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return StatusCode::BAD_REQUEST.into_response();
        }
    }
    match head.headers.get(CHECKSUM) {
        Some(echo) => [(CHECKSUM, echo.clone())].into_response(),
        None => StatusCode::OK.into_response(),
    }
}

async fn arrivals(State(here): State<Here>) -> Json<Vec<Arrival>> {
    Json(here.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_address_has_the_query_of_a_presigned_one() {
        let url = upload_url(([127, 0, 0, 1], 9).into(), "store/a/b.jpg", 1_795_771_800_000);
        for part in [
            "http://127.0.0.1:9/store/a/b.jpg?",
            "X-Amz-Date=20261127T093000Z",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-checksum-sha256",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }

    #[test]
    fn its_token_is_one_for_the_client() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        write_token(&file, "org", "here").unwrap();
        let token =
            turnstage_cloud_sync::credentials::Token::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(token.claims().site_ids, ["here"]);
    }
}
