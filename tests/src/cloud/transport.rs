//! The product's client on the fake cloud in memory: no socket between them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use turnstage_cloud_sync::backend::imaging360::{
    Body, HttpRequest, HttpResponse, Method, Transport, TransportError,
};

use super::memory::{Lost, MemoryCloud};

/// See the module.
pub struct InMemory(pub Arc<MemoryCloud>);

#[async_trait]
impl Transport for InMemory {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
        };
        let body = match request.body {
            Body::Bytes(bytes) => bytes,
            Body::File { path, .. } => Bytes::from(
                std::fs::read(path).map_err(|error| TransportError::LocalFile(error.to_string()))?,
            ),
        };
        request.sent.store(body.len() as u64, Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).expect("a header"));
        }
        match self.0.handle(method, &request.url, headers, body).await {
            Ok((status, headers, body)) => {
                let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let headers =
                    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
                Ok(HttpResponse { status: status.as_u16(), headers, body })
            }
            Err(Lost::Unreachable) => Err(TransportError::Unreachable("no route to host".to_owned())),
            Err(Lost::Reset) => Err(TransportError::Interrupted("connection reset".to_owned())),
        }
    }
}
