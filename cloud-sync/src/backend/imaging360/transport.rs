//! What the service's client asks of HTTP, and nothing more: a double without sockets fits behind it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;

/// Sends one request. Follows no redirect, retries nothing, and gives up when nothing moves for a while.
#[async_trait]
pub trait Transport: Send + Sync {
    /// One request and its whole answer, whatever its status. Dropping the future ends the request.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError>;

    /// The network came back: connections kept from before are not to be used again. Must not wait.
    fn reconnected(&self) {}
}

/// One request. Its `Debug` form shows neither query nor headers: both hold secrets.
#[derive(Clone)]
pub struct HttpRequest {
    /// Verb.
    pub method: Method,
    /// Absolute; the query of a presigned one is a secret.
    pub url: String,
    /// Names in lower case. A body's length goes with the body.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Body,
    /// Bytes of the body sent so far, for whoever watches; a transport that cannot tell leaves it at 0.
    pub sent: Arc<AtomicU64>,
}

/// Verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Body {
    /// From memory.
    Bytes(Bytes),
    /// A file that is read while it is sent, with its `content-length`.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Bytes; a file of another length is an error.
        length: u64,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: name, route, refusal, TLS. Nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke or nothing moved any more: the request may or may not have had its effect.
    #[error("{0}")]
    Interrupted(String),
    /// The file to send cannot be read or has another length.
    #[error("{0}")]
    LocalFile(String),
}

impl HttpResponse {
    /// Value of the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("HttpRequest").field("method", &self.method).field("url", &url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_log_of_a_request_shows_its_secrets() {
        let request = HttpRequest {
            method: Method::Put,
            url: "https://store.example/key?X-Amz-Signature=secret".to_owned(),
            headers: vec![("authorization", "Bearer secret".to_owned())],
            body: Body::Bytes(Bytes::from_static(b"secret")),
            sent: Arc::default(),
        };
        assert_eq!(
            format!("{request:?}"),
            "HttpRequest { method: Put, url: \"https://store.example/key\", .. }"
        );
    }
}
