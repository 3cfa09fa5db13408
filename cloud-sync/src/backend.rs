//! Destinations: one trait, one file each.

pub mod directory;
pub mod imaging360;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Sha256;
use crate::event::Event;
pub use crate::queue::Receipt;
use crate::queue::{Derived, Failure, Proof, Record};

/// Where the bytes of a product are. Capture classes for persons add their own forms when they come.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A file of the spool.
    File(PathBuf),
    /// In memory.
    Ram(Bytes),
}

/// What a destination takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One file a request.
    File,
    /// One session a request.
    Session,
}

/// What a destination takes at all.
#[derive(Debug, Clone)]
pub struct Wants {
    /// Products by name, for example `original`; empty = any.
    pub products: Vec<String>,
    /// Content types; empty = any.
    pub content_types: Vec<String>,
    /// Capture classes it may be given.
    pub capture_classes: Vec<String>,
    /// How much at a time.
    pub unit: Unit,
    /// What stands behind `confirmed`.
    pub proof: Proof,
}

/// One thing to deliver: one file, or all files of a session, by [`Wants::unit`].
#[derive(Debug)]
pub struct Delivery {
    /// What goes.
    pub files: Vec<Parcel>,
}

/// One file of a delivery: whose it is, and the bytes that go, which need not be those that are stored.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Whose it is. Its hash and length are of what is stored: a destination has nothing to do with them.
    pub record: Record,
    /// What goes.
    pub payload: Payload,
    /// Hash of what goes.
    pub sha256: Sha256,
    /// Bytes of what goes.
    pub length: u64,
}

impl Parcel {
    /// What is stored, as it is.
    pub fn stored(record: Record, payload: Payload) -> Self {
        Self { payload, sha256: record.sha256, length: record.length, record }
    }

    /// What was made of it for this destination.
    pub fn derived(record: Record, bytes: Bytes) -> Self {
        Self { sha256: Sha256::of(&bytes), length: bytes.len() as u64, payload: Payload::Ram(bytes), record }
    }

    /// Proof that it lies at `location`.
    pub fn receipt(&self, proof: Proof, location: String) -> Receipt {
        Receipt { proof, location, sha256: self.sha256, derived: self.origin() }
    }

    /// What it was made of, unless it is what is stored.
    pub fn origin(&self) -> Option<Derived> {
        let from = self.record.sha256;
        (from != self.sha256).then_some(Derived { from, length: self.length })
    }
}

/// Why a delivery did not end in proof, named for what the uploader does next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PutError {
    /// The destination cannot be reached: try later, not counted as an attempt.
    #[error("{reason} ({rule})")]
    Offline {
        /// Stable rule id.
        rule: Cow<'static, str>,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// Try again later, counted as an attempt.
    #[error("{reason} ({rule})")]
    Later {
        /// Not before, if the destination said so.
        after: Option<Duration>,
        /// Stable rule id.
        rule: Cow<'static, str>,
        /// Plain sentence with what to do.
        reason: String,
    },
    /// Trying again would not help: park it.
    #[error("{reason} ({rule})")]
    Never {
        /// Stable rule id.
        rule: Cow<'static, str>,
        /// Plain sentence with what to do.
        reason: String,
    },
}

impl PutError {
    /// Not reached.
    pub fn offline(rule: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Offline { rule: rule.into(), reason: reason.into() }
    }

    /// Later, whenever the uploader thinks best.
    pub fn later(rule: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Later { after: None, rule: rule.into(), reason: reason.into() }
    }

    /// Never.
    pub fn never(rule: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Never { rule: rule.into(), reason: reason.into() }
    }

    /// Rule and sentence, as records and states show them.
    pub fn failure(&self) -> Failure {
        let (Self::Offline { rule, reason }
        | Self::Later { rule, reason, .. }
        | Self::Never { rule, reason }) = self;
        Failure { rule: rule.to_string(), reason: reason.clone() }
    }
}

/// A destination.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Name in the configuration; part of the queue's key.
    fn name(&self) -> &str;

    /// What it takes.
    fn wants(&self) -> &Wants;

    /// Whether it can be reached, without sending anything. Asked again and again while it is offline, so that waiting
    /// costs no write. The default leaves it to the next delivery.
    async fn ready(&self) -> Result<(), PutError> {
        Ok(())
    }

    /// Its deliveries go over the network: they wait where a metered link's budget is used up.
    fn crosses_network(&self) -> bool {
        false
    }

    /// Delivers and proves, or says why not: one receipt for each file, in the order given. Idempotent: the same
    /// delivery twice has the effect of one.
    async fn deliver(&self, delivery: &Delivery) -> Result<Vec<Receipt>, PutError>;

    /// The network came back: what was learned while it was gone no longer holds. Must not wait.
    fn reconnected(&self) {}

    /// Upkeep that no delivery waits for, such as renewing credentials. Called every few minutes, online or not;
    /// never twice at a time.
    async fn tend(&self) {}

    /// What people should know although deliveries go on, for example that a token expires in six days. Asked often:
    /// must be cheap.
    fn notices(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// Whether [`Backend::tell`] does anything.
    fn takes_events(&self) -> bool {
        false
    }

    /// Takes events of the log, oldest first. The same event may come twice. Failing holds up no delivery.
    async fn tell(&self, _events: &[Event]) -> Result<(), PutError> {
        Ok(())
    }
}
