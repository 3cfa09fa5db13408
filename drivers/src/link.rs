//! How a turntable's bytes travel: a link carries them there and back, each time within a limit.

#[cfg(feature = "ble")]
pub mod ble;

use std::time::Duration;

use async_trait::async_trait;

/// Bytes there and back with a limit. Framing is the protocol's business.
#[async_trait]
pub trait Link: Send {
    /// Hands all of `bytes` over, or fails within `limit`.
    async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError>;

    /// Appends what has arrived to `into` and returns how many bytes that were; waits up to `limit` for the first.
    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError>;

    /// What a person would look for: `/dev/serial/by-id/…`, `REVO_DUAL_AXIS_TABLE`.
    fn name(&self) -> &str;
}

/// What went wrong on the way, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing within the limit: ask again or give up, the link itself stands.
    #[error("{link}: nothing within {limit:?}")]
    Silent {
        /// Name of the link.
        link: String,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The link is gone: open it again.
    #[error("{link}: lost")]
    Lost {
        /// Name of the link.
        link: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It cannot be opened: not present, not for us, or held by another program. Wait, or tell a person.
    #[error("{link}: {why} ({hint})")]
    Unavailable {
        /// Name of the link.
        link: String,
        /// What was found.
        why: String,
        /// What to do: the cable, the group, the udev rule, the program that holds it.
        hint: String,
    },
}
