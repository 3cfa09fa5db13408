//! Hears from the kernel that the network came up, so that pictures go at once and not at the next try (V-18).
//!
//! A link that begins to run, an address or a default route that appears: each wakes the uploader. Addresses that are
//! only prolonged (as IPv6 routers do every few minutes) do not. Where the kernel does not let us listen, the
//! uploader's own probing finds the network a few seconds later.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::net::UnixDatagram as Datagram;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;
use turnstage_cloud_sync::uploader::Wake;

/// News within so long of a wake are told together by one more: an interface that comes up sends a dozen messages.
const GATHER: Duration = Duration::from_secs(1);

// Names and numbers as in linux/rtnetlink.h, linux/netlink.h and linux/if.h.
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const IFF_UP: u32 = 0x1;
const IFF_RUNNING: u32 = 0x40;
const NLMSG_HEADER: usize = 16;

/// Wakes `wake` whenever the network comes up, until cancelled.
pub async fn watch(wake: Wake, cancel: CancellationToken) {
    let listen = async {
        match listen() {
            Ok(socket) => hear(&socket, &wake).await,
            Err(error) => {
                tracing::warn!(%error, "the kernel does not tell of the network: it is only probed");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = listen => {}
    }
}

fn listen() -> std::io::Result<UnixDatagram> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // No protocol is number 0, and that is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    let groups =
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    // Datagrams that are only received are alike in every family, and tokio has no type for this one.
    UnixDatagram::from_std(Datagram::from(socket))
}

async fn hear(socket: &UnixDatagram, wake: &Wake) {
    let mut known = Known::default();
    loop {
        news(socket, &mut known).await;
        tracing::info!("the network came up: deliveries are tried again");
        wake.reconnected();
        let quiet = tokio::time::sleep(GATHER);
        let mut quiet = std::pin::pin!(quiet);
        let mut more = false;
        loop {
            tokio::select! {
                biased;
                () = quiet.as_mut() => break,
                () = news(socket, &mut known) => more = true,
            }
        }
        if more {
            wake.reconnected();
        }
    }
}

/// Resolves when the network came up. Dropping it loses nothing.
async fn news(socket: &UnixDatagram, known: &mut Known) {
    let mut datagram = vec![0; 16 << 10];
    loop {
        match socket.recv(&mut datagram).await {
            Ok(length) if known.learn(&datagram[..length]) => return,
            Ok(_) => {}
            // Messages were lost: what was known is not to be trusted, and something happened.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                *known = Known::default();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the kernel tells no more of the network: it is only probed");
                return std::future::pending().await;
            }
        }
    }
}

/// What was heard so far, to tell news from repetitions.
#[derive(Debug, Default)]
struct Known {
    /// Indices of links that run.
    running: BTreeSet<u32>,
    /// Link and the rest of the message that names the address.
    addresses: HashSet<(u32, Vec<u8>)>,
}

impl Known {
    /// Whether any of the datagram's messages says that the network came up.
    fn learn(&mut self, datagram: &[u8]) -> bool {
        let mut up = false;
        for (kind, body) in messages(datagram) {
            // Not `any`: every message must be learned.
            up |= self.learn_one(kind, body).unwrap_or(false);
        }
        up
    }

    /// `None` for a message that is too short.
    fn learn_one(&mut self, kind: u16, body: &[u8]) -> Option<bool> {
        match kind {
            RTM_NEWLINK => {
                let (index, flags) = (word(body, 4)?, word(body, 8)?);
                if flags & IFF_UP != 0 && flags & IFF_RUNNING != 0 {
                    return Some(self.running.insert(index));
                }
                self.forget(index);
                Some(false)
            }
            RTM_DELLINK => {
                self.forget(word(body, 4)?);
                Some(false)
            }
            RTM_NEWADDR => Some(self.addresses.insert((word(body, 4)?, addresses(body.get(8..)?)))),
            RTM_DELADDR => {
                self.addresses.remove(&(word(body, 4)?, addresses(body.get(8..)?)));
                Some(false)
            }
            // A destination of no bits: the default route.
            RTM_NEWROUTE => Some(*body.get(1)? == 0 && body.len() >= 12),
            _ => Some(false),
        }
    }

    fn forget(&mut self, index: u32) {
        self.running.remove(&index);
        self.addresses.retain(|(link, _)| *link != index);
    }
}

/// Type and body of each message of a datagram; what is cut off or nonsense ends them.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(word(rest, 0)?).ok()?;
        let kind = half(rest, 4)?;
        let body = rest.get(NLMSG_HEADER..length)?;
        rest = rest.get(aligned(length)?..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The attributes that say which address it is (IFA_ADDRESS, IFA_LOCAL), without how long it is good for.
fn addresses(mut attributes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else { break };
        if matches!(kind, 1 | 2) {
            found.push(kind as u8);
            found.extend_from_slice(value);
        }
        attributes = aligned(length).and_then(|next| attributes.get(next..)).unwrap_or_default();
    }
    found
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> Option<usize> {
    Some(length.checked_add(3)? & !3)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message.resize(aligned(message.len()).unwrap(), 0);
        message
    }

    fn link(index: u32, flags: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        message(RTM_NEWLINK, &body)
    }

    /// With a lifetime that changes, as a router's advertisement does.
    fn address(kind: u16, index: u32, last: u8, lifetime: u8) -> Vec<u8> {
        let mut body = vec![2, 24, 0, 0];
        body.extend(index.to_ne_bytes());
        for (kind, value) in [(1u16, [10, 0, 0, last]), (6, [lifetime; 4])] {
            body.extend(8u16.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
        }
        message(kind, &body)
    }

    #[test]
    fn a_link_that_begins_to_run_is_news_once() {
        let mut known = Known::default();
        assert!(!known.learn(&link(2, IFF_UP)), "no carrier yet");
        assert!(known.learn(&link(2, IFF_UP | IFF_RUNNING)));
        assert!(!known.learn(&link(2, IFF_UP | IFF_RUNNING)));
        assert!(!known.learn(&link(2, 0)));
        assert!(known.learn(&link(2, IFF_UP | IFF_RUNNING)), "pulled and plugged in again");
    }

    #[test]
    fn an_address_is_news_and_its_prolongation_is_not() {
        let mut known = Known::default();
        assert!(known.learn(&address(RTM_NEWADDR, 2, 7, 1)));
        assert!(!known.learn(&address(RTM_NEWADDR, 2, 7, 2)));
        assert!(known.learn(&address(RTM_NEWADDR, 2, 8, 1)));
        assert!(!known.learn(&address(RTM_DELADDR, 2, 7, 9)));
        assert!(known.learn(&address(RTM_NEWADDR, 2, 7, 1)));
        assert!(!known.learn(&link(2, 0)));
        assert!(known.learn(&address(RTM_NEWADDR, 2, 7, 1)), "the link was down in between");
    }

    #[test]
    fn a_default_route_is_news_and_any_other_is_not() {
        let mut known = Known::default();
        let route = |bits: u8| message(RTM_NEWROUTE, &[2, bits, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
        assert!(known.learn(&route(0)));
        assert!(!known.learn(&route(24)));
        let both = [route(24), link(3, IFF_UP | IFF_RUNNING)].concat();
        assert!(known.learn(&both), "the second message of a datagram counts, too");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            kind in prop_oneof![Just(16u16), Just(17), Just(20), Just(21), Just(24), any::<u16>()],
            cut in 0..400usize,
        ) {
            let mut known = Known::default();
            known.learn(&bytes);
            let whole = message(kind, &bytes);
            known.learn(&whole[..cut.min(whole.len())]);
        }
    }
}
