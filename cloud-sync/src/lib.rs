//! The durable spool, its event log, the uploader with its backends, and the link to an MQTT broker.
//!
//! This crate knows neither cameras nor pictures: it keeps and delivers bytes with opaque, versioned metadata, and
//! decodes nothing.

pub mod backend;
pub mod backoff;
pub mod breaker;
pub mod canonical;
pub mod credentials;
pub mod derivative;
pub mod event;
pub mod meter;
pub mod mqtt;
pub mod queue;
pub mod spool;
pub mod store;
pub mod transfer;
pub mod uploader;

pub use backend::{Backend, Delivery, Parcel, Payload, PutError, Receipt};
pub use derivative::{Derivative, Derive};
pub use event::{Event, NewEvent};
pub use meter::Meter;
pub use queue::{Key, Record, State};
pub use spool::Spool;
pub use transfer::{Transfer, TransferError};

use serde::{Deserialize, Serialize};

/// How far the wall clock can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockQuality {
    /// Earlier than the build: never set.
    Unset,
    /// From a battery clock or unknown source.
    Rtc,
    /// The kernel says that it is synchronised.
    Synced,
}

/// A moment, as far as it is known. Order and waiting use `boottime_ms` and sequence numbers, never `wall_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since 1970-01-01 UTC, as the wall clock says.
    pub wall_ms: i64,
    /// How far to trust it.
    pub quality: ClockQuality,
    /// Milliseconds since boot, suspend included.
    pub boottime_ms: u64,
    /// Which boot.
    pub boot_id: String,
}

/// Where stamps come from: the daemon's clock, or a test's.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Stamp;
}

/// SHA-256 of bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Hash of what `reader` gives, in pieces.
    pub fn of_reader(reader: &mut dyn std::io::Read) -> std::io::Result<Self> {
        spool::repair::hash_reader(reader)
    }

    /// From a digest computed elsewhere.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;

    fn try_from(hex: String) -> Result<Self, String> {
        let wrong = || format!("a SHA-256 has 64 hex digits, not \"{hex}\"");
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}
