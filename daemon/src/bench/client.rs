//! A client on a real socket, as a browser is one: connections are kept, and a stream of events is read as it comes.

use std::net::SocketAddr;

use axum::http::{Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::table::Unmeasured;

/// See the module.
pub struct Client {
    address: SocketAddr,
    connections: Connections<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// Connects when something is asked for.
    pub fn to(address: SocketAddr) -> Self {
        Self { address, connections: Connections::builder(TokioExecutor::new()).build_http() }
    }

    /// The whole answer to a GET; any status but 200 is an error.
    pub async fn whole(&self, path: &str) -> Result<Bytes, Unmeasured> {
        let body = self.get(path).await?.into_body().collect().await;
        body.map(|body| body.to_bytes()).map_err(Unmeasured::at(&format!("read {path}")))
    }

    /// A stream of server-sent events, open when this returns.
    pub async fn events(&self, path: &str) -> Result<Events, Unmeasured> {
        Ok(Events { body: self.get(path).await?.into_body(), text: Vec::new() })
    }

    /// Posts JSON; any status but 200 is an error.
    pub async fn post(&self, path: &str, json: &str) -> Result<(), Unmeasured> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(json.to_owned()))
            .map_err(Unmeasured::at("make a request"))?;
        let answer =
            self.connections.request(request).await.map_err(Unmeasured::at(&format!("post {path}")))?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            status => Err(Unmeasured(format!("{path} is answered with {status}"))),
        }
    }

    async fn get(&self, path: &str) -> Result<Response<Incoming>, Unmeasured> {
        let address = format!("http://{}{path}", self.address);
        let address = address.parse().map_err(Unmeasured::at("read an address"))?;
        let answer = self.connections.get(address).await.map_err(Unmeasured::at(&format!("get {path}")))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(Unmeasured(format!("{path} is answered with {status}"))),
        }
    }
}

/// See [`Client::events`].
pub struct Events {
    body: Incoming,
    text: Vec<u8>,
}

impl Events {
    /// The data of the next event of this kind; others are passed over.
    pub async fn next(&mut self, kind: &str) -> Result<Value, Unmeasured> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(data) = data_of(&String::from_utf8_lossy(&block), kind) {
                    return serde_json::from_str(&data).map_err(Unmeasured::at("read an event"));
                }
            }
            let frame = self.body.frame().await.ok_or_else(|| Unmeasured("the stream ended".to_owned()))?;
            let frame = frame.map_err(Unmeasured::at("read the stream"))?;
            self.text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

/// The data of one block of the stream, if it is of this kind.
fn data_of(block: &str, kind: &str) -> Option<String> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>()
    };
    (field("event") == [kind]).then(|| field("data").join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_another_kind_and_a_sign_of_life_are_passed_over() {
        let block = "id: 7\nevent: frame.captured\ndata: {\"a\":\ndata:1}\n\n";
        assert_eq!(data_of(block, "frame.captured").as_deref(), Some("{\"a\":\n1}"));
        assert_eq!(data_of(block, "frame.failed"), None);
        assert_eq!(data_of(":\n\n", "frame.captured"), None);
    }
}
