//! The line from the command line to a station: one interface, whether it runs already or is run by this process.
//!
//! A running station is found by its data folder and spoken to over its Unix socket, or over its own address where the
//! socket is not for this user. Without one the station is run here, and the same router answers without a socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tower::ServiceExt;

use crate::access::Peer;
use crate::command::Actor;
use crate::listen::Found;

/// Socket of the installed service.
const SERVICE: &str = "/run/turnstage/api.sock";

/// See the module.
pub enum Line {
    /// To a running station.
    Socket(PathBuf),
    /// To a running station, where the socket is not for this user.
    Address(SocketAddr),
    /// To the station of this process.
    Here(Box<Router>),
}

impl Line {
    /// The running station of a data folder, if one answers.
    pub async fn to_running(data: &Path) -> Option<Self> {
        let found = Found::below(data)?;
        Self::first_of(found).await
    }

    /// The installed service, if it runs.
    pub async fn to_service() -> Option<Self> {
        Self::first_of(Found { socket: Some(PathBuf::from(SERVICE)), address: None }).await
    }

    async fn first_of(found: Found) -> Option<Self> {
        if let Some(path) = found.socket
            && UnixStream::connect(&path).await.is_ok()
        {
            return Some(Self::Socket(path));
        }
        let address = found.address?;
        TcpStream::connect(address).await.is_ok().then_some(Self::Address(address))
    }

    /// One request and its whole answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<(StatusCode, Bytes)> {
        let request = Request::builder().method(method).uri(path);
        let bytes = match &body {
            Some(body) => Bytes::from(serde_json::to_vec(body)?),
            None => Bytes::new(),
        };
        let host = match self {
            Self::Address(address) => address.to_string(),
            Self::Socket(_) | Self::Here(_) => "localhost".to_owned(),
        };
        let request = request.header(header::HOST, host).header(header::CONTENT_TYPE, "application/json");
        match self {
            Self::Here(router) => {
                let mut request = request.body(Body::from(bytes))?;
                request.extensions_mut().insert(ConnectInfo(Peer::Process(Actor::cli())));
                let response = router.as_ref().clone().oneshot(request).await?;
                whole(response).await
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.with_context(|| format!("the station's socket {}", path.display()))?;
                over(stream, request.body(Full::new(bytes))?).await
            }
            Self::Address(address) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.with_context(|| format!("the station at {address}"))?;
                over(stream, request.body(Full::new(bytes))?).await
            }
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        whole(response).await
    };
    // The connection must be driven while the answer is awaited; its own end is told by the answer.
    tokio::pin!(exchange);
    let ended = tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        ended = connection => ended,
    };
    match ended {
        Ok(()) => exchange.await,
        Err(error) => Err(anyhow!(error).context("the station hung up")),
    }
}

async fn whole<B>(response: Response<B>) -> Result<(StatusCode, Bytes)>
where
    B: axum::body::HttpBody<Data = Bytes>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = response.into_parts();
    Ok((head.status, body.collect().await?.to_bytes()))
}
