//! A table behind a network socket: Wi-Fi tables, serial servers, FluidNC.
//!
//! A peer that loses its power says nothing: the connection is half-open and would swallow commands for minutes. The
//! kernel is told to ask after 5 s of silence and to give up 5 s later.

use std::time::Duration;

use async_trait::async_trait;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Link, LinkError};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const HALF_OPEN_LIMIT: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 1024;

/// An open connection.
pub struct Tcp {
    stream: TcpStream,
    address: String,
}

/// `host:port` as it is, or what is wrong with it.
pub(super) fn with_port(address: String) -> Result<String, String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(1..) => Ok(address),
        _ => Err(format!("tcp = \"{address}\" is not host:port with a port in 1 to 65535")),
    }
}

impl Tcp {
    /// Connects within three seconds.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`] when nobody answers there.
    pub async fn open(address: &str) -> Result<Self, LinkError> {
        let missing = |why: String| LinkError::Unavailable {
            link: address.to_owned(),
            why,
            hint: "check that the table is switched on and in this network, and its address".to_owned(),
        };
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(missing(error.to_string())),
            Err(_) => return Err(missing(format!("no answer within {CONNECT_LIMIT:?}"))),
        };
        watch_over(&stream).map_err(|error| missing(error.to_string()))?;
        Ok(Self { stream, address: address.to_owned() })
    }

    fn lost(&self, cause: std::io::Error) -> LinkError {
        LinkError::Lost { link: self.address.clone(), cause }
    }
}

fn watch_over(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, HALF_OPEN_LIMIT)?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(1))?;
    sockopt::set_tcp_keepcnt(stream, 5)?;
    sockopt::set_tcp_user_timeout(stream, HALF_OPEN_LIMIT.as_millis() as u32)?;
    Ok(())
}

#[async_trait]
impl Link for Tcp {
    async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError> {
        match timeout(limit, self.stream.write_all(bytes)).await {
            Ok(written) => written.map_err(|cause| self.lost(cause)),
            // Half a command may be on its way; another one must not be put behind it.
            Err(_) => Err(self.lost(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let mut piece = [0; PIECE_BYTES];
        match timeout(limit, self.stream.read(&mut piece)).await {
            Ok(Ok(0)) => Err(self.lost(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => {
                into.extend_from_slice(&piece[..count]);
                Ok(count)
            }
            Ok(Err(cause)) => Err(self.lost(cause)),
            Err(_) => Err(LinkError::Silent { link: self.address.clone(), limit }),
        }
    }

    fn name(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn bytes_go_there_and_back_until_the_peer_hangs_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (link, accepted) = tokio::join!(Tcp::open(&address), listener.accept());
        let (mut link, mut peer) = (link.unwrap(), accepted.unwrap().0);
        link.send(b"CT();", LIMIT).await.unwrap();
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"CT();");
        peer.write_all(b"CR+OK;").await.unwrap();
        let mut into = Vec::new();
        assert_eq!(link.receive(&mut into, LIMIT).await.unwrap(), 6);
        assert_eq!(into, b"CR+OK;");
        let silent = link.receive(&mut into, Duration::from_millis(1)).await;
        assert!(matches!(silent, Err(LinkError::Silent { .. })), "{silent:?}");
        drop(peer);
        let lost = link.receive(&mut into, LIMIT).await;
        assert!(matches!(lost, Err(LinkError::Lost { .. })), "{lost:?}");
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_told_with_what_to_do() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let error = Tcp::open(&free).await.err().unwrap().to_string();
        assert!(error.contains(&free) && error.contains("switched on"), "{error}");
    }
}
