//! Transfers over HTTPS outside the upload queue: a bundle that is sent, an update or a secret that is fetched.
//!
//! ```text
//!  address ──► checked: encrypted, or this machine ──► request ──► answer
//!                                                       fetch: to FILE.part, resumed where it was cut,
//!                                                       hash of the whole, sync, rename
//! ```
//! What is fetched is known by its hash before it is asked for, so that a server, a cache or a broken line may do
//! what they like. The query of an address is a secret: no error shows it.

mod part;

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};

use crate::Sha256;
use crate::backend::imaging360::{CHECKSUM, is_protected};
use part::{Part, Validator};

/// Longest wait for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time in which nothing is received, or what was sent is not acknowledged.
const IDLE: Duration = Duration::from_secs(30);
/// A transfer may take so long, and its bytes at [`RATE_MIN`] on top.
const SPARE: Duration = Duration::from_secs(60);
/// Slowest line, in bytes a second.
const RATE_MIN: u64 = 16 << 10;
/// Largest file with trust roots.
const ROOTS_BYTES_MAX: u64 = 1 << 20;
/// Longest validator that is remembered.
const VALIDATOR_MAX: usize = 256;

/// Why a transfer did not end well, named for what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Try again later: the line, the server or the disk may come back. What was fetched of a file is kept.
    #[error("{reason} ({rule})")]
    Later {
        /// Stable rule id.
        rule: &'static str,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// Trying the same again would not help.
    #[error("{reason} ({rule})")]
    Never {
        /// Stable rule id.
        rule: &'static str,
        /// Plain sentence with what to do.
        reason: String,
    },
}

impl TransferError {
    fn later(rule: &'static str, reason: impl Into<String>) -> Self {
        Self::Later { rule, reason: reason.into() }
    }

    fn never(rule: &'static str, reason: impl Into<String>) -> Self {
        Self::Never { rule, reason: reason.into() }
    }

    /// Stable rule id.
    pub fn rule(&self) -> &'static str {
        let (Self::Later { rule, .. } | Self::Never { rule, .. }) = self;
        rule
    }

    /// Plain sentence with what to do.
    pub fn reason(&self) -> &str {
        let (Self::Later { reason, .. } | Self::Never { reason, .. }) = self;
        reason
    }
}

/// A client for transfers; cheap to clone. Follows no redirect, and asks no proxy.
#[derive(Clone)]
pub struct Transfer {
    client: Client,
}

impl Transfer {
    /// Trusts the system's roots, and those in `ca_file` (PEM) beside them.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TransferError> {
        let roots = ca_file.map(read_roots).transpose()?.unwrap_or_default();
        // An error says that somebody installed one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .tcp_user_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(concat!("turnstage/", env!("CARGO_PKG_VERSION")));
        // Without a root of one's own the platform's verifier decides alone.
        let client = if roots.is_empty() { client } else { client.tls_certs_merge(roots) };
        let client = client.build().map_err(|error| match ca_file {
            // Without one the same is built of the system's roots alone, so it is the file's.
            Some(file) => no_roots(file, &chain(&error)),
            None => {
                let reason = format!("TLS cannot be set up ({}): install ca-certificates", chain(&error));
                TransferError::later("transfer-no-tls", reason)
            }
        })?;
        Ok(Self { client })
    }

    /// Sends `body` to a presigned address; any 2xx is good. Where the address signs the checksum, the store checks what
    /// arrives.
    pub async fn put(
        &self,
        url: &str,
        body: Bytes,
        content_type: &str,
        sha256: Sha256,
    ) -> Result<(), TransferError> {
        let url = address(url)?;
        let limit = limit(body.len() as u64);
        let mut request = self.client.put(url.clone()).header(CONTENT_TYPE, content_type);
        if signs_checksum(&url) {
            request = request.header(CHECKSUM, STANDARD.encode(sha256.as_bytes()));
        }
        let request = request.header(CONTENT_LENGTH, body.len()).body(body);
        let answer = within(limit, &url, async { request.send().await.map_err(|e| failed(&url, e)) }).await?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(&url, answer.status())) }
    }

    /// Fetches the file with this hash to `to`, whole or not at all. What was fetched before it was cut lies in
    /// `to`.part, and the next call goes on there; a server that gives no ranges, or another file than before, makes it
    /// begin anew. `progress` is told the bytes there are so far. A file with this hash that is there already is good.
    pub async fn fetch(
        &self,
        url: &str,
        to: &Path,
        sha256: Sha256,
        bytes_max: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), TransferError> {
        let url = address(url)?;
        let Some(mut part) = Part::open(to, sha256, bytes_max).await? else { return Ok(()) };
        loop {
            let resumed = part.length() > 0;
            let limit = limit(bytes_max.saturating_sub(part.length()));
            within(limit, &url, self.fill(&url, &mut part, bytes_max, progress)).await?;
            match part.finish().await? {
                None => return Ok(()),
                // Two files may have been joined; from the beginning it is one.
                Some(again) if resumed => {
                    part = again;
                    part.clear().await?;
                }
                Some(again) => {
                    part = again;
                    part.clear().await?;
                    return Err(other_bytes(&url));
                }
            }
        }
    }

    /// Fetches something small, such as a secret, with this hash into memory.
    pub async fn fetch_small(
        &self,
        url: &str,
        sha256: Sha256,
        bytes_max: usize,
    ) -> Result<Vec<u8>, TransferError> {
        let url = address(url)?;
        let request = self.client.get(url.clone());
        let fetched = async {
            let mut answer = send(&url, request).await?;
            if !answer.status().is_success() {
                return Err(refused(&url, answer.status()));
            }
            let mut bytes = Vec::new();
            while let Some(piece) = piece(&url, &mut answer).await? {
                if bytes.len() + piece.len() > bytes_max {
                    return Err(too_large(&url, bytes_max as u64));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        };
        let bytes = within(limit(bytes_max as u64), &url, fetched).await?;
        if Sha256::of(&bytes) == sha256 { Ok(bytes) } else { Err(other_bytes(&url)) }
    }

    /// Fetches what the part lacks.
    async fn fill(
        &self,
        url: &Url,
        part: &mut Part,
        bytes_max: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), TransferError> {
        // Packed on its way, a file has other offsets.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if part.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.length()));
            if let Some(validator) = part.validator() {
                request = request.header(IF_RANGE, validator.0.clone());
            }
        }
        let mut answer = send(url, request).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&answer) == Some(part.length()) => {}
            // There is nothing after what there is: the hash says whether that was all.
            StatusCode::RANGE_NOT_SATISFIABLE if part.length() > 0 => return Ok(()),
            StatusCode::OK => part.begin(validator_of(&answer)).await?,
            StatusCode::PARTIAL_CONTENT => {
                part.clear().await?;
                let host = host(url);
                let reason =
                    format!("{host} sent another part of the file than was asked for: it is begun anew");
                return Err(TransferError::later("transfer-interrupted", reason));
            }
            status => return Err(refused(url, status)),
        }
        let ahead = answer.content_length().unwrap_or_default();
        if part.length().saturating_add(ahead) > bytes_max {
            part.clear().await?;
            return Err(too_large(url, bytes_max));
        }
        progress(part.length());
        loop {
            let piece = match piece(url, &mut answer).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return part.flush().await,
                Err(error) => {
                    // What came is kept for the next time.
                    part.flush().await?;
                    return Err(error);
                }
            };
            if part.length() + piece.len() as u64 > bytes_max {
                part.clear().await?;
                return Err(too_large(url, bytes_max));
            }
            part.append(&piece).await?;
            progress(part.length());
        }
    }
}

/// An address that may be asked.
fn address(text: &str) -> Result<Url, TransferError> {
    let url = Url::parse(text).map_err(|error| {
        TransferError::never(
            "transfer-address",
            format!("the address cannot be read ({error}): ask for one that can"),
        )
    })?;
    if is_protected(&url) {
        return Ok(url);
    }
    let reason = format!("{} would be asked without encryption: ask for an https address", host(&url));
    Err(TransferError::never("transfer-address", reason))
}

/// Name and port, which is all of an address that people are shown.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("a server without a name");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Longest time of a transfer of so many bytes.
fn limit(bytes: u64) -> Duration {
    SPARE + Duration::from_secs(bytes.div_ceil(RATE_MIN))
}

async fn within<T>(
    limit: Duration,
    url: &Url,
    act: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    tokio::time::timeout(limit, act).await.unwrap_or_else(|_| {
        let host = host(url);
        let reason = format!("{host} did not end within {} s: it is tried again", limit.as_secs());
        Err(TransferError::later("transfer-interrupted", reason))
    })
}

/// The head of the answer.
async fn send(url: &Url, request: RequestBuilder) -> Result<Response, TransferError> {
    match tokio::time::timeout(CONNECT + IDLE, request.send()).await {
        Ok(sent) => sent.map_err(|error| failed(url, error)),
        Err(_) => Err(still(url)),
    }
}

/// The next bytes; `None` at the end.
async fn piece(url: &Url, answer: &mut Response) -> Result<Option<Bytes>, TransferError> {
    match tokio::time::timeout(IDLE, answer.chunk()).await {
        Ok(read) => read.map_err(|error| failed(url, error)),
        Err(_) => Err(still(url)),
    }
}

fn still(url: &Url) -> TransferError {
    let reason = format!("{} sent nothing for {} s: it is tried again", host(url), IDLE.as_secs());
    TransferError::later("transfer-interrupted", reason)
}

fn failed(url: &Url, error: reqwest::Error) -> TransferError {
    let unreachable = error.is_connect() || error.is_builder();
    let what = chain(&error.without_url());
    let host = host(url);
    if unreachable {
        let reason = format!("{host} cannot be reached ({what}): check network, name and certificate");
        TransferError::later("transfer-unreachable", reason)
    } else {
        let reason = format!("the connection to {host} broke ({what}): it is tried again");
        TransferError::later("transfer-interrupted", reason)
    }
}

/// What an answer that is no success means.
fn refused(url: &Url, status: StatusCode) -> TransferError {
    let host = host(url);
    let code = status.as_u16();
    match code {
        408 | 425 | 429 | 500.. => TransferError::later(
            "transfer-not-now",
            format!("{host} cannot answer now ({code}): it is tried again"),
        ),
        300..=399 => TransferError::never(
            "transfer-redirect",
            format!("{host} points elsewhere ({code}), which is not followed: ask for the address itself"),
        ),
        _ => TransferError::never(
            "transfer-refused",
            format!("{host} refuses it ({code}): the address may have run out, ask for a new one"),
        ),
    }
}

fn too_large(url: &Url, bytes_max: u64) -> TransferError {
    let reason = format!("{} sends more than {bytes_max} bytes: it is not taken", host(url));
    TransferError::never("transfer-too-large", reason)
}

fn other_bytes(url: &Url) -> TransferError {
    let reason = format!(
        "{} gave other bytes than were announced: they are thrown away, ask for address and hash anew",
        host(url)
    );
    TransferError::never("transfer-wrong-hash", reason)
}

/// Whether the store looks at the checksum header: an unsigned one it may refuse.
fn signs_checksum(url: &Url) -> bool {
    url.query_pairs().any(|(name, value)| {
        name.eq_ignore_ascii_case("x-amz-signedheaders")
            && value.split(';').any(|header| header.eq_ignore_ascii_case(CHECKSUM))
    })
}

/// Offset of the first byte of a part.
fn begins_at(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// What tells one version of the file from another: a strong tag, or else its day.
fn validator_of(answer: &Response) -> Option<Validator> {
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let strong = text(ETAG).filter(|tag| !tag.starts_with("W/"));
    let text = strong.or_else(|| text(LAST_MODIFIED))?;
    (text.len() <= VALIDATOR_MAX).then(|| Validator(text.to_owned()))
}

fn read_roots(file: &Path) -> Result<Vec<Certificate>, TransferError> {
    let unread = |error: std::io::Error| no_roots(file, &error.to_string());
    let length = std::fs::metadata(file).map_err(unread)?.len();
    if length > ROOTS_BYTES_MAX {
        return Err(no_roots(file, &format!("{length} bytes")));
    }
    let pem = std::fs::read(file).map_err(unread)?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|error| no_roots(file, &chain(&error)))?;
    if roots.is_empty() { Err(no_roots(file, "none in it")) } else { Ok(roots) }
}

fn no_roots(file: &Path, what: &str) -> TransferError {
    let file = file.display();
    let reason = format!("{file} holds no certificates that can be read ({what}): put a PEM file there");
    TransferError::never("transfer-trust-root", reason)
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
