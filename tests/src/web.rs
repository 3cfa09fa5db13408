//! A browser or a program that asks a station in this process, without a socket: each request is what it would send.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use turnstage::access::Peer;

/// See the module.
#[derive(Clone)]
pub struct Client {
    router: Router,
    peer: Peer,
    headers: Vec<(&'static str, String)>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The rule id of a problem, after a look at its form.
    pub fn rule(&self) -> String {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"), "{} {:?}", self.status, self.bytes);
        let problem = self.json();
        for key in ["type", "title", "detail", "what", "why", "todo"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {problem}");
        }
        assert_eq!(problem["status"], self.status.as_u16());
        problem["rule"].as_str().expect("a rule id").to_owned()
    }
}

impl Client {
    /// On the station's own machine, by its plain address.
    pub fn of(router: Router) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let headers =
            vec![("host", "127.0.0.1:8360".to_owned()), ("content-type", "application/json".to_owned())];
        Self { router, peer: Peer::Tcp(address), headers }
    }

    /// Somewhere else.
    pub fn from(mut self, address: [u8; 4]) -> Self {
        self.peer = Peer::Tcp(SocketAddr::from((address, 50_000)));
        self
    }

    /// With this header instead of what it had.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Sends bytes as they are.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(body.into()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status, headers: head.headers, bytes }
    }

    /// Sends a request made elsewhere and does not wait for its body.
    pub async fn raw(&self, mut request: Request<Body>) -> axum::response::Response {
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        self.router.clone().oneshot(request).await.expect("an answer")
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }

    /// Acts.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    /// Signs in; the same client with its cookie.
    pub async fn signed_in(self, name: &str, password: &str) -> Self {
        let body = serde_json::json!({ "name": name, "password": password });
        let answer = self.post("/api/v1/sign-in", body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        let cookie = answer.headers.get(header::SET_COOKIE).and_then(|c| c.to_str().ok()).expect("a cookie");
        let pair = cookie.split(';').next().expect("a pair").to_owned();
        self.with("cookie", &pair)
    }
}
