//! A stretch of network that can be cut, stalled and healed without any right on this machine, and counts its bytes.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// See the module. Ends, with its connections, when it is dropped.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    /// Whether bytes pass.
    open: watch::Sender<bool>,
    /// Connections begun before the newest cut end.
    cuts: watch::Sender<u64>,
    accepted: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Relay {
    /// From a free port to `to` on this machine.
    pub async fn to(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            open: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, Arc::clone(&shared)));
        Self { port, shared, _tasks: tasks }
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes any more; connections stay open, new ones are accepted and hear nothing.
    pub fn partition(&self) {
        self.shared.open.send_replace(false);
    }

    /// Everything passes again, also what was held.
    pub fn heal(&self) {
        self.shared.open.send_replace(true);
    }

    /// Ends the connections that there are.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Bytes passed to the broker, and from it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.up.load(Ordering::Relaxed), self.shared.down.load(Ordering::Relaxed))
    }
}

async fn accept(listener: TcpListener, to: u16, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(pass(client, to, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(client: TcpStream, to: u16, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let both = async {
        let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
        for stream in [&client, &broker] {
            stream.set_nodelay(true).expect("a fresh connection");
        }
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        // The end of one way is the end of both, as when a process dies.
        tokio::select! {
            _ = pump(from_client, to_broker, &shared.open, &shared.up) => {}
            _ = pump(from_broker, to_client, &shared.open, &shared.down) => {}
        }
    };
    tokio::select! {
        () = both => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    open: &watch::Sender<bool>,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut open = open.subscribe();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let held = |_| io::Error::other("the relay is gone");
        open.wait_for(|open| *open).await.map_err(held)?;
        let count = from.read(&mut buffer).await?;
        open.wait_for(|open| *open).await.map_err(held)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
        passed.fetch_add(count as u64, Ordering::Relaxed);
    }
}
