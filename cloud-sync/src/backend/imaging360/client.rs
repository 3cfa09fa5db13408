//! The transport over the network: reqwest with rustls.
//!
//! The total time of a request is limited by its caller, who knows its length. Here a request ends when nothing has
//! moved for [`IDLE`]: reqwest's own read timeout runs while a long body is being sent, so it cannot be used.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::Client;

use super::transport::{Body, HttpRequest, HttpResponse, Method, Transport, TransportError};
use super::upload_file::{UploadFile, pieces_of};

/// Longest wait for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time in which nothing is sent or received.
const IDLE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Longest answer that is read: the service's are a few hundred bytes.
const ANSWER_MAX: usize = 1 << 20;

/// The transport that the daemon uses.
pub fn http_transport() -> Arc<dyn Transport> {
    Arc::new(Http { client: Mutex::new(client()) })
}

/// The error is kept and told by every request: a station without working TLS still takes pictures.
struct Http {
    client: Mutex<Result<Client, String>>,
}

fn client() -> Result<Client, String> {
    // An error says that somebody installed one already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // What the environment says about proxies is for programs that people start.
        .no_proxy()
        .user_agent(concat!("turnstage/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| chain(&error))
}

#[async_trait]
impl Transport for Http {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let client = client.map_err(TransportError::Unreachable)?;
        let sent = Arc::clone(&request.sent);
        let mut exchange = std::pin::pin!(exchange(client, request));
        let (mut last, mut still) = (0, Duration::ZERO);
        // The answer is small, so waiting for it counts as standing still from the last byte sent.
        while still < IDLE {
            if let Ok(outcome) = tokio::time::timeout(LOOK, exchange.as_mut()).await {
                return outcome;
            }
            let now = sent.load(Ordering::Relaxed);
            still = if now == last { still + LOOK } else { Duration::ZERO };
            last = now;
        }
        Err(TransportError::Interrupted(format!("nothing moved for {} s", IDLE.as_secs())))
    }

    fn reconnected(&self) {
        // The pool of the old client holds connections of the old network, which nobody will answer.
        if let Ok(fresh) = client() {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Ok(fresh);
        }
    }
}

async fn exchange(client: Client, request: HttpRequest) -> Result<HttpResponse, TransportError> {
    let HttpRequest { method, url, headers, body, sent } = request;
    // A picture takes long on a slow line, and must be seen to move; a question and its answer are small.
    let is_picture = method == Method::Put;
    let method = match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
    };
    let mut builder = client.request(method, url);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder = match body {
        Body::Bytes(bytes) if is_picture => {
            let length = bytes.len();
            let body = reqwest::Body::wrap_stream(pieces_of(bytes, sent));
            builder.header(reqwest::header::CONTENT_LENGTH, length).body(body)
        }
        Body::Bytes(bytes) => builder.body(bytes),
        Body::File { path, length } => {
            let local = |error: io::Error| TransportError::LocalFile(format!("{}: {error}", path.display()));
            let (file, found) = UploadFile::open(path.clone(), sent).await.map_err(local)?;
            if found != length {
                let what = format!("{}: {found} bytes instead of {length}", path.display());
                return Err(TransportError::LocalFile(what));
            }
            let body = reqwest::Body::wrap_stream(file.pieces());
            builder.header(reqwest::header::CONTENT_LENGTH, length).body(body)
        }
    };
    read(builder.send().await.map_err(failed)?).await
}

async fn read(mut response: reqwest::Response) -> Result<HttpResponse, TransportError> {
    let status = response.status().as_u16();
    let shown = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), shown(value)));
    let headers = headers.collect();
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > ANSWER_MAX {
            return Err(TransportError::Interrupted(format!("an answer of more than {ANSWER_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(HttpResponse { status, headers, body: body.freeze() })
}

/// Without the address, whose query is a secret.
fn failed(error: reqwest::Error) -> TransportError {
    let unreachable = error.is_connect() || error.is_builder();
    let what = chain(&error.without_url());
    if unreachable { TransportError::Unreachable(what) } else { TransportError::Interrupted(what) }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
