//! Where the station listens: one address for browsers, one Unix socket for root and the service's group.
//!
//! An address beyond this machine is refused until somebody has an account. An address that is taken is a state: it is
//! told, tried again every few seconds, and the socket serves meanwhile. `api.json` in the data folder says where the
//! command line finds a running station.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::Peer;
use crate::status::Fault;

/// Name of the file in the data folder.
const WHERE: &str = "api.json";
/// How often a taken address is tried again.
const AGAIN: Duration = Duration::from_secs(3);
/// Connections that are still open when the station ends are given so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Longest path of a Unix socket on Linux, its end included.
const SOCKET_PATH_BYTES_MAX: usize = 108;

/// Where a running station is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Address for browsers, once it is bound.
    pub address: Option<SocketAddr>,
    /// Unix socket.
    pub socket: Option<PathBuf>,
}

impl Found {
    /// What the last station on this data folder wrote; it may have ended since.
    pub fn below(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data.join(WHERE)).ok()?).ok()
    }
}

/// What is to be listened on.
pub struct Listening {
    /// Address for browsers.
    pub address: SocketAddr,
    /// Unix socket; none where its path would be too long.
    pub socket: Option<PathBuf>,
    /// Folder that says where.
    pub data: PathBuf,
    /// What is answered.
    pub router: Router,
    /// Where it is told that an address is taken.
    pub fault: watch::Sender<Option<Fault>>,
    /// Where it is told what is bound.
    pub found: watch::Sender<Found>,
}

/// The socket of a data folder, or of the service: systemd's run-time folder goes first.
pub fn socket(configured: &str, data: &Path) -> Option<PathBuf> {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").map(|folder| PathBuf::from(folder).join("api.sock"));
    let path = match configured {
        "" => runtime.unwrap_or_else(|| data.join("api.sock")),
        path => data.join(path),
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    (path.as_os_str().len() < SOCKET_PATH_BYTES_MAX).then_some(path)
}

/// Serves until `cancel`.
pub async fn serve(listening: Listening, cancel: CancellationToken) {
    let Listening { address, socket, data, router, fault, found } = listening;
    let tell = |change: &dyn Fn(&mut Found)| {
        found.send_modify(change);
        if let Err(error) = keep(&data, &found.borrow()) {
            tracing::warn!(%error, "the command line will not find this station by its data folder");
        }
    };
    let local = async {
        let Some(path) = &socket else { return };
        match bind_socket(path) {
            Ok(listener) => {
                tell(&|found| found.socket = Some(path.clone()));
                let service = router.clone().into_make_service_with_connect_info::<Peer>();
                let served =
                    axum::serve(listener, service).with_graceful_shutdown(cancel.clone().cancelled_owned());
                ended(served.into_future(), &cancel).await;
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "no Unix socket for the command line")
            }
        }
    };
    let panel = async {
        let Some(listener) = bind_address(address, &fault, &cancel).await else { return };
        let bound = listener.local_addr().unwrap_or(address);
        tell(&|found| found.address = Some(bound));
        tracing::info!(address = %bound, "the panel is open");
        let service = router.clone().into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service).with_graceful_shutdown(cancel.clone().cancelled_owned());
        ended(served.into_future(), &cancel).await;
    };
    tokio::join!(local, panel);
    cancel.cancelled().await;
    for path in socket.into_iter().chain([data.join(WHERE)]) {
        // What is gone already need not be taken away.
        drop(std::fs::remove_file(path));
    }
}

/// A browser that holds a stream open does not hold up the end of the station.
async fn ended(served: impl Future<Output = std::io::Result<()>>, cancel: &CancellationToken) {
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => {
            if let Err(error) = result {
                tracing::error!(%error, "a listener ended");
            }
        }
        () = cancel.cancelled() => drop(tokio::time::timeout(LAST_WORDS, served).await),
    }
}

/// `None` when the station ends before the address is free.
async fn bind_address(
    address: SocketAddr,
    fault: &watch::Sender<Option<Fault>>,
    cancel: &CancellationToken,
) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                fault.send_replace(None);
                return Some(listener);
            }
            Err(error) => {
                let told = taken(address, &error);
                if fault.borrow().as_ref() != Some(&told) {
                    tracing::error!(%address, %error, "the panel cannot be opened; it is tried again");
                    fault.send_replace(Some(told));
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = cancel.cancelled() => return None,
        }
    }
}

/// The name of this machine.
pub fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What a person types into a browser: where every address of this machine will do, its name.
pub fn typed(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("{}:{}", own_name(), address.port()),
        false => address.to_string(),
    }
}

/// An address that cannot be had, in words.
pub fn taken(address: SocketAddr, error: &std::io::Error) -> Fault {
    let (what, todo) = match error.kind() {
        ErrorKind::AddrInUse => (
            format!("The panel cannot open: port {} is in use by another program", address.port()),
            "End that program, or choose another port (panel.listen, or demo --port).",
        ),
        ErrorKind::PermissionDenied => (
            format!("The panel cannot open: this user may not listen on port {}", address.port()),
            "Choose a port from 1024 on (panel.listen).",
        ),
        _ => (
            format!("The panel cannot open on {address}: {error}"),
            "Correct panel.listen, then restart the station.",
        ),
    };
    Fault::new(
        "panel-not-open",
        what,
        "The booth goes on, but nobody sees it in a browser. It is tried again by itself.",
        todo,
    )
}

fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // The data folder belongs to one process, so a socket that is there was left by one that died.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn keep(data: &Path, found: &Found) -> std::io::Result<()> {
    std::fs::create_dir_all(data)?;
    let new = data.join(format!("{WHERE}.new"));
    std::fs::write(&new, serde_json::to_vec(found)?)?;
    std::fs::rename(new, data.join(WHERE))
}
