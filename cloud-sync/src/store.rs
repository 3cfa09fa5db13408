//! Where the queue, the sessions and the events are kept: one narrow trait, sled on disk, a map for tests.

pub mod memory;
pub mod sled;

use crate::event::Event;
use crate::queue::{Key, Record};

/// A durable, versioned JSON document of the daemon, by id; today sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Id, for example of a session.
    pub id: String,
    /// Content, versioned by the daemon.
    pub value: serde_json::Value,
}

/// What is written together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Records to write, new or changed.
    pub records: Vec<Record>,
    /// Records to forget.
    pub removed: Vec<Key>,
    /// Documents to write.
    pub documents: Vec<Document>,
    /// Events to append.
    pub events: Vec<Event>,
}

/// Why a store did not do it, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full: nothing was written; make room.
    #[error("the store's disk is full")]
    Full(#[source] std::io::Error),
    /// Cannot be opened as it is: rebuild it.
    #[error("the store at {path} is damaged: {what}")]
    Damaged {
        /// Its folder.
        path: std::path::PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a newer version: install that one again; nothing was changed.
    #[error(
        "the store is of schema {found}, this program knows up to {known}: install the newer version again"
    )]
    TooNew {
        /// Found on disk.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// It failed: stop acknowledging and restart the process; never go on with the same handle.
    #[error("the store failed to {tried}")]
    Failed {
        /// What was tried.
        tried: &'static str,
        /// What the system said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Which records to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Every one.
    All,
    /// All products and destinations of one stored file.
    Sequence(u64),
    /// All of one session.
    Session(&'a str),
}

/// The index. Written by one thread only. `commit` returns when everything is durable.
pub trait Store: Send {
    /// Writes the batch, all or nothing, and makes it durable. After an error every later commit fails: what is in
    /// memory may differ from what is on disk.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// One record.
    fn record(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// Calls `each` with the records of `scope` in key order until it returns `false`.
    fn scan(&self, scope: Scope<'_>, each: &mut dyn FnMut(Record) -> bool) -> Result<(), StoreError>;

    /// One document.
    fn document(&self, id: &str) -> Result<Option<Document>, StoreError>;

    /// Calls `each` with every document in id order until it returns `false`.
    fn documents(&self, each: &mut dyn FnMut(Document) -> bool) -> Result<(), StoreError>;

    /// Calls `each` with the events after `sequence`, in order, until it returns `false`.
    fn events(&self, after: u64, each: &mut dyn FnMut(Event) -> bool) -> Result<(), StoreError>;

    /// The newest event, if any.
    fn last_event(&self) -> Result<Option<Event>, StoreError>;
}

impl StoreError {
    /// For errors that leave the handle unusable.
    pub(crate) fn failed(
        tried: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { tried, cause: cause.into() }
    }

    /// [`StoreError::Full`] for a full disk or quota, else [`StoreError::Failed`].
    pub(crate) fn of_io(tried: &'static str, error: std::io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::failed(tried, error) }
    }
}

/// Whether the disk or the quota has no room.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests;
