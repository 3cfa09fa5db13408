//! What stands between the network and a service: a port that can be closed and opened again, and the faults.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

use super::faults::{Fault, Faults};
use super::requests::{Log, Outcome};

const BACKLOG: u32 = 128;

/// A service as the front sees it.
pub type Serve =
    Arc<dyn Fn(Request<Relayed>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> + Send + Sync>;

/// An open port with a service behind it. Everything ends when it is dropped.
pub struct Front {
    wanted: watch::Sender<bool>,
    open: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Front {
    /// A port of this machine's own, open but not served yet, with its address.
    pub async fn port() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    /// Serves what arrives at `listener`.
    pub fn start(listener: TcpListener, serve: Serve, faults: Arc<Faults>, log: Arc<Log>) -> Self {
        let (wanted, wish) = watch::channel(true);
        let (is, open) = watch::channel(true);
        let door = Arc::new(Door { serve, faults, log, works: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(listener, door, wish, is));
        Self { wanted, open, tasks }
    }

    /// Closes the port, so that connections are refused and those that are open break; or opens the same again. It is
    /// so when this returns.
    pub async fn set_open(&self, open: bool) {
        self.wanted.send_replace(open);
        self.open.clone().wait_for(|is| *is == open).await.expect("the front lives as long as this");
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn keep(
    mut listener: TcpListener,
    door: Arc<Door>,
    mut wish: watch::Receiver<bool>,
    is: watch::Sender<bool>,
) {
    let address = listener.local_addr().expect("its address");
    loop {
        is.send_replace(true);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(Arc::clone(&door).connection(stream));
                }
                Some(_) = connections.join_next() => {}
                closing = wish.wait_for(|open| !open) => match closing {
                    Ok(_) => break,
                    Err(_) => return,
                },
            }
        }
        connections.shutdown().await;
        drop(listener);
        // Bound but not listening: connections are refused, and nobody else gets the port meanwhile.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a port that was just closed can be bound");
        socket.bind(address).expect("the same port again");
        is.send_replace(false);
        if wish.wait_for(|open| *open).await.is_err() {
            return;
        }
        listener = socket.listen(BACKLOG).expect("the same port listens again");
    }
}

/// What all connections share.
struct Door {
    serve: Serve,
    faults: Arc<Faults>,
    log: Arc<Log>,
    /// Requests in the service's hands: a caller who hangs up does not stop them.
    works: Mutex<JoinSet<()>>,
}

impl Door {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let reset = Arc::new(Notify::new());
        let service = service_fn(|request| Arc::clone(&self).pass(request, Arc::clone(&reset)));
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // A caller who breaks off needs no reaction here.
            _ = &mut connection => {}
            () = reset.notified() => {
                let stream = connection.into_parts().io.into_inner();
                stream.set_zero_linger().expect("a connection that is closed by a reset");
            }
        }
    }

    async fn pass(
        self: Arc<Self>,
        request: Request<Incoming>,
        reset: Arc<Notify>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let uri = request.uri().clone();
        let (method, query) = (request.method().as_str(), uri.query().unwrap_or_default());
        let fault = self.faults.take(method, uri.path());
        let number = self.log.arrived(method, uri.path(), query, fault);
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let answer = match fault {
            Some(Fault::Stall) => return std::future::pending().await,
            Some(fault) => match fault.answer(target) {
                Some(answer) => {
                    // Answered only after the whole body, or a large one would be met by a reset and no answer.
                    drop(request.into_body().collect().await);
                    answer
                }
                None => self.serve(request, Some(fault)).await,
            },
            None => self.serve(request, None).await,
        };
        if matches!(fault, Some(Fault::CutAfter(_) | Fault::SwallowAnswer)) {
            reset.notify_one();
            return std::future::pending().await;
        }
        self.log.ended(number, Outcome::Answered(answer.status().as_u16()));
        Ok(answer.map(Full::new))
    }

    async fn serve(&self, request: Request<Incoming>, fault: Option<Fault>) -> Response<Bytes> {
        let edit = match fault {
            Some(Fault::CutAfter(bytes)) => Edit::Cut(bytes),
            Some(Fault::FlipByte(at)) => Edit::Flip(at),
            _ => Edit::Nothing,
        };
        let (leave, left) = oneshot::channel();
        let relayed = |body| Relayed { body: Some(body), edit, passed: 0, leave: Some(leave) };
        let work = (self.serve)(request.map(relayed));
        let (done, answer) = oneshot::channel();
        {
            let mut works = self.works.lock().expect("nobody panics with it");
            while works.try_join_next().is_some() {}
            works.spawn(async move { drop(done.send(work.await)) });
        }
        let mut answer = answer.await.unwrap_or_else(|_| {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer
        });
        if let Some(fault) = fault {
            fault.edit(answer.headers_mut());
        }
        // A service may refuse before it has read everything. Answering then would meet a large body with a reset that
        // often overtakes the answer: a trap worth a story of its own, by CutAfter, and not by chance.
        if let (Ok(rest), false) = (left.await, matches!(fault, Some(Fault::CutAfter(_)))) {
            drop(rest.collect().await);
        }
        answer
    }
}

enum Edit {
    Nothing,
    Cut(u64),
    Flip(u64),
}

/// A request's body on its way, perhaps damaged.
pub struct Relayed {
    body: Option<Incoming>,
    edit: Edit,
    passed: u64,
    leave: Option<oneshot::Sender<Incoming>>,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let (Some(body), Some(leave)) = (self.body.take(), self.leave.take()) {
            // Nobody waits for it where the caller has hung up.
            drop(leave.send(body));
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let cut = matches!(self.edit, Edit::Cut(after) if self.passed >= after);
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        // The service sees the end of it first and the caller the reset after, so what was counted is counted by then.
        if cut && !body.is_end_stream() {
            return Poll::Ready(Some(Err("the connection was cut".into())));
        }
        let Some(frame) = ready!(Pin::new(body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map(|frame| frame.map_data(|data| self.edited(data)));
        Poll::Ready(Some(frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Relayed {
    fn edited(&mut self, mut data: Bytes) -> Bytes {
        let before = self.passed;
        match &self.edit {
            Edit::Cut(after) => data.truncate(usize::try_from(after - before).unwrap_or(usize::MAX)),
            Edit::Flip(at) => {
                let place = at.checked_sub(before).and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.filter(|place| *place < data.len()) {
                    let mut bytes = data.to_vec();
                    bytes[place] = !bytes[place];
                    data = bytes.into();
                }
            }
            Edit::Nothing => {}
        }
        self.passed += data.len() as u64;
        data
    }
}
