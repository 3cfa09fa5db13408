//! The link to an MQTT broker: what a station says of itself, and what it is told.
//!
//! [`Link`] is one future that holds one connection at a time and begins each anew, so that nothing of a broken one is
//! left: every message lives in an outbox of ours (`mqtt/outbox.rs`, pure) until the broker acknowledged it. Live state is
//! said before any backlog and only as it is now; a delivery is repeated over any number of connections until the broker
//! took or denied it. A message from the broker is acknowledged when its receiver says [`Received::done`], so the broker
//! repeats what was not stored.
//!
//! MQTT 5 alone: with 3.1.1, Mosquitto acknowledges what its access rules denied as if it were taken. A broker's
//! acknowledgement means what the broker's settings make of it: `docs/fleet/broker.md`.

mod broker;
mod link;
mod outbox;
mod post;
mod wire;

use std::time::Duration;

use bytes::Bytes;

pub use broker::{Broker, Identity, Tls};
pub use link::Link;
pub use post::{Post, Received};

/// Something to publish, always at QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whole topic, without wildcards.
    pub topic: String,
    /// What is said.
    pub payload: Bytes,
    /// Whether the broker keeps it for those who subscribe later.
    pub retain: bool,
}

/// A message that the broker, or its limits, will not take. Sending it again as it is would end the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker does not take a message on {topic}: {reason} ({code})")]
pub struct Denied {
    /// Its topic.
    pub topic: String,
    /// Why, in words, with what to do.
    pub reason: String,
    /// Reason code of MQTT 5: 135 not authorized, 144 topic invalid, 149 too large, 151 quota exceeded, and others.
    pub code: u8,
}

/// Where the link stands.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkState {
    /// A connection is being opened.
    Connecting,
    /// The broker answered, also to our subscriptions: what is sent to us from now on arrives.
    Up {
        /// Whether it still had our session: subscriptions, and what came while we were away.
        session_present: bool,
    },
    /// Not connected.
    Down {
        /// Why.
        trouble: Trouble,
        /// When the next try begins, unless something changes before.
        again_in: Duration,
    },
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// Who can help.
    pub kind: TroubleKind,
    /// Stable id: `network-unreachable`, `broker-tls`, `broker-credentials`, `broker-file`, `broker-taken-over`,
    /// `broker-denies` or `broker-refused`.
    pub rule: &'static str,
    /// A sentence with what to do. Never a secret.
    pub reason: String,
}

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Time alone: tried again with growing waits.
    Network,
    /// A person: a password or a certificate, ours or the broker's, does not fit. Tried again after minutes, and at once
    /// when one of the files changes.
    Credentials,
    /// The broker's keeper: it understood us and will not. Tried again slowly.
    Refused,
}

/// Counters since the link was made. Bytes are those of MQTT packets, without TLS and TCP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Publishes handed to a connection, repeated ones included.
    pub sent: u64,
    /// Publishes that the broker acknowledged.
    pub acked: u64,
    /// Of those sent, how many had been sent before.
    pub resent: u64,
    /// Messages that the broker or its limits did not take.
    pub denied: u64,
    /// Live messages that found no room: too many topics at once.
    pub crowded_out: u64,
    /// Connections that the broker accepted.
    pub connects: u64,
    /// Bytes to the broker.
    pub bytes_out: u64,
    /// Bytes from the broker.
    pub bytes_in: u64,
    /// Live topics whose newest message is not acknowledged.
    pub waiting_latest: usize,
    /// Deliveries that are neither acknowledged nor denied.
    pub waiting_deliveries: usize,
}
