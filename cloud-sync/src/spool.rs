//! The spool: media files and sidecars on disk, an index beside them, one writer thread.
//!
//! What `put` or `commit` answered is durable: media and sidecars were written, synced and renamed and the folder was
//! synced before the index was, so the folder alone can rebuild the queue. Puts that wait together share one commit.
//! A put of one file costs four flushes: media, sidecar, folder, index.
//!
//! ```text
//! <dir>/lock                              held by the one process that writes here
//! <dir>/media/<session>/<sequence>.<ext>  what was put; 12 digits
//! <dir>/media/<session>/<sequence>.json   sidecar of one put, named for its first file: full records, hash
//! <dir>/media/<session>/session.json      the daemon's session document and the commit that wrote it, hash
//! <dir>/index/                            the store: records, documents, events
//! <dir>/told-<destination>.json           how far a destination was told of the events
//! <dir>/thumbs/                           the daemon's thumbnails; may go at any time
//! <dir>/orphans/                          media that no record promises
//! <dir>/aside/<n>/                        damaged parts of the index
//! ```
//! Limits: names of 128 bytes, 16 writes a commit, 64 waiting jobs. A full disk is refused before anything is written;
//! after any other storage error nothing is acknowledged until the process starts again.

mod files;
mod folder;
pub(crate) mod keeper;
mod layout;
pub(crate) mod mirror;
mod recover;
pub mod repair;
mod sessions;
mod thread;
mod tidy;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::backend::Payload;
use crate::event::{Event, NewEvent};
use crate::queue::{Change, Facts, Key, Record, Refused, State};
use crate::store::memory::MemoryStore;
use crate::store::{Document, Scope, Store, StoreError};
use crate::{Clock, Sha256, Stamp};

use files::Files;
use keeper::{Answer, Job, Keeper};
use mirror::Mirror;

pub use layout::{FILE_SCHEMA, SESSION_FILE};
pub use mirror::Counts;
pub use recover::{Finding, Opened};
pub use tidy::Tidied;

/// Limits and places.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Folder that holds everything: `media/`, `index/`, `thumbs/`.
    pub dir: PathBuf,
    /// Below this many free bytes: alarm, and confirmed media go first.
    pub free_bytes_soft: u64,
    /// Below this many free bytes: no new session, no new frame.
    pub free_bytes_hard: u64,
    /// Confirmed media are kept this long, oldest deleted first.
    pub keep_confirmed: std::time::Duration,
}

/// One file to keep.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// `original` and so on.
    pub product: String,
    /// One record each. Empty: kept here only, as one record for the destination "".
    pub destinations: Vec<String>,
    /// Extension of the media file, without dot: letters and digits, not `json`.
    pub extension: String,
    /// What to keep.
    pub bytes: Bytes,
    /// Hash of `bytes`, computed by the caller.
    pub sha256: Sha256,
    /// Whose it is.
    pub facts: Facts,
    /// Versioned metadata of the daemon.
    pub meta: serde_json::Value,
    /// This file takes the place of that one, which must be `captured`.
    pub supersedes: Option<u64>,
}

/// What else is written together with state changes.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Session documents.
    pub documents: Vec<Document>,
    /// State changes.
    pub changes: Vec<(Key, Change)>,
    /// What happened.
    pub events: Vec<NewEvent>,
}

/// Why the spool did not do it, named for what the caller does next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpoolError {
    /// No room, nothing was kept: make room, then repeat.
    #[error("the disk is full: {free} bytes are free, {needed} are needed; let uploads finish or make room")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that must be free, reserve included.
        needed: u64,
    },
    /// It may be half done on disk: stop acknowledging and restart the process.
    #[error("storage failed to {tried}: {cause}; nothing is acknowledged until the station restarts")]
    Storage {
        /// What was tried.
        tried: &'static str,
        /// What the system said.
        cause: String,
    },
    /// The index cannot be read as it is: rebuild it.
    #[error("the index is damaged: {what}; rebuild it from the media folder")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// A newer version wrote here: install that one again; nothing was changed.
    #[error("written by a newer version (schema {found}, known up to {known}): install that one again")]
    TooNew {
        /// Found on disk.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// Another process has the folder open.
    #[error(
        "{dir} is in use by another process: end that one first (Ctrl-C where it was started, or systemctl stop \
         turnstage), or name another folder"
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no such thing: correct the call.
    #[error("there is no {what}")]
    Unknown {
        /// What was asked for.
        what: String,
    },
    /// The hash given is not of the bytes given: fetch them again.
    #[error("the bytes have the hash {computed}, not {given}: they changed on the way")]
    Mismatch {
        /// Given by the caller.
        given: Sha256,
        /// Of the bytes.
        computed: Sha256,
    },
    /// A record's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A name or shape that cannot be stored: correct it.
    #[error("cannot store {what}")]
    Invalid {
        /// What, and what is allowed.
        what: String,
    },
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    /// The keeper is gone without having been closed.
    fn unanswered() -> Self {
        Self::Storage { tried: "answer", cause: "its thread ended".to_owned() }
    }
}

impl From<StoreError> for SpoolError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::DiskFull { free: 0, needed: 0 },
            StoreError::Damaged { what, .. } => Self::Damaged { what },
            StoreError::TooNew { found, known } => Self::TooNew { found, known },
            StoreError::Failed { tried, cause } => Self::Storage { tried, cause: cause.to_string() },
        }
    }
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes free.
    pub free_bytes: u64,
    /// The marks.
    pub limits: Limits,
}

impl Room {
    /// No alarm.
    pub fn above_soft(&self) -> bool {
        self.free_bytes >= self.limits.free_bytes_soft
    }

    /// New frames are taken.
    pub fn above_hard(&self) -> bool {
        self.free_bytes >= self.limits.free_bytes_hard
    }

    /// How many sessions of this size fit above the hard mark.
    pub fn sessions_left(&self, bytes_per_session: u64) -> u64 {
        self.free_bytes.saturating_sub(self.limits.free_bytes_hard) / bytes_per_session.max(1)
    }
}

/// The marks of [`SpoolOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`SpoolOptions::free_bytes_soft`].
    pub free_bytes_soft: u64,
    /// See [`SpoolOptions::free_bytes_hard`].
    pub free_bytes_hard: u64,
    /// See [`SpoolOptions::keep_confirmed`].
    pub keep_confirmed: std::time::Duration,
}

impl SpoolOptions {
    fn limits(&self) -> Limits {
        Limits {
            free_bytes_soft: self.free_bytes_soft,
            free_bytes_hard: self.free_bytes_hard,
            keep_confirmed: self.keep_confirmed,
        }
    }
}

/// A handle on the spool, cheap to clone. The writer ends with the last one, or with [`Spool::close`].
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    runner: Runner,
    files: Files,
    limits: Limits,
    changed: watch::Receiver<u64>,
}

/// Who runs the keeper's jobs.
enum Runner {
    /// A thread of its own.
    Thread(thread::Writer),
    /// The caller, at once: no thread waits for a clock that only a test moves.
    Inline(Mutex<Option<Box<Keeper>>>),
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("media", &self.inner.files.path("")).finish_non_exhaustive()
    }
}

impl Spool {
    /// Opens the folder, repairs what a crash or a bad disk left, and starts the writer thread. Blocks: it reads the
    /// whole index once. [`Opened`] says in plain sentences what was found.
    pub fn open(options: SpoolOptions, clock: Arc<dyn Clock>) -> Result<(Self, Opened), SpoolError> {
        let limits = options.limits();
        let (keeper, opened) = recover::open(&options.dir, limits, clock)?;
        let (files, changed) = (keeper.files.clone(), keeper.changed.subscribe());
        let writer = thread::Writer::spawn(keeper)
            .map_err(|error| SpoolError::Storage { tried: "start its thread", cause: error.to_string() })?;
        let inner = Inner { runner: Runner::Thread(writer), files, limits, changed };
        Ok((Self { inner: Arc::new(inner) }, opened))
    }

    /// The same without disk and thread: for tests and for trying things out. Nothing survives it.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::on_store(Box::new(MemoryStore::new()), clock)
    }

    /// In memory, over an empty store of the test's choice, which may be one that fails.
    pub fn on_store(store: Box<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let limits =
            Limits { free_bytes_soft: 0, free_bytes_hard: 0, keep_confirmed: std::time::Duration::MAX };
        let files = Files::ram();
        let (sender, changed) = watch::channel(0);
        let keeper = Keeper {
            store,
            files: files.clone(),
            clock,
            limits,
            mirror: Mirror::default(),
            next_sequence: 1,
            last_event: None,
            log: None,
            changed: sender,
            broken: None,
            made: Default::default(),
            _lock: None,
        };
        let runner = Runner::Inline(Mutex::new(Some(Box::new(keeper))));
        Self { inner: Arc::new(Inner { runner, files, limits, changed }) }
    }

    /// Keeps one shot, all cameras of the rig together or not at all, and returns when it is durable. Each file gets
    /// the next sequence number and an event `frame.captured` in the same batch, before the given events. Dropping
    /// the future does not undo it.
    pub async fn put(&self, files: Vec<NewFile>, events: Vec<NewEvent>) -> Result<Vec<Record>, SpoolError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Put(files, events, answer)).await?;
        answered.await.map_err(|_| SpoolError::unanswered())?
    }

    /// Writes documents, state changes and events together or not at all, and returns the changed records when
    /// everything is durable. Several changes of one record are applied in order.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Record>, SpoolError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Commit(commit, answer)).await?;
        answered.await.map_err(|_| SpoolError::unanswered())?
    }

    /// One record.
    pub async fn record(&self, key: &Key) -> Result<Option<Record>, SpoolError> {
        let key = key.clone();
        self.ask(move |keeper| Ok(keeper.store.record(&key)?)).await
    }

    /// All records of a session, in key order.
    pub async fn session_records(&self, session: &str) -> Result<Vec<Record>, SpoolError> {
        let session = session.to_owned();
        self.ask(move |keeper| {
            let mut records = Vec::new();
            keeper.store.scan(Scope::Session(&session), &mut |record| {
                records.push(record);
                true
            })?;
            Ok(records)
        })
        .await
    }

    /// All products and destinations of one stored file.
    pub async fn sequence_records(&self, sequence: u64) -> Result<Vec<Record>, SpoolError> {
        self.ask(move |keeper| {
            let mut records = Vec::new();
            keeper.store.scan(Scope::Sequence(sequence), &mut |record| {
                records.push(record);
                true
            })?;
            Ok(records)
        })
        .await
    }

    /// One document.
    pub async fn document(&self, id: &str) -> Result<Option<Document>, SpoolError> {
        let id = id.to_owned();
        self.ask(move |keeper| Ok(keeper.store.document(&id)?)).await
    }

    /// Every document, in id order.
    pub async fn documents(&self) -> Result<Vec<Document>, SpoolError> {
        self.ask(|keeper| {
            let mut documents = Vec::new();
            keeper.store.documents(&mut |document| {
                documents.push(document);
                true
            })?;
            Ok(documents)
        })
        .await
    }

    /// Up to `limit` events after `after`, in order.
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, SpoolError> {
        self.ask(move |keeper| {
            let mut events = Vec::new();
            if limit > 0 {
                keeper.store.events(after, &mut |event| {
                    events.push(event);
                    events.len() < limit
                })?;
            }
            Ok(events)
        })
        .await
    }

    /// Up to `limit` queued records that may be tried now, in sequence order.
    pub async fn due(&self, now: &Stamp, limit: usize) -> Result<Vec<Record>, SpoolError> {
        let now = now.clone();
        self.ask(move |keeper| {
            let due = keeper.mirror.waiting.iter();
            let due = due.filter(|(_, waiting)| waiting.state == State::Queued && waiting.wait_ms(&now) == 0);
            let records = due.take(limit).map(|(key, _)| keeper.store.record(key));
            Ok(records.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many records stand where.
    pub async fn counts(&self) -> Result<Counts, SpoolError> {
        self.ask(|keeper| Ok(keeper.mirror.counts(None))).await
    }

    /// How many records of one organisation stand where: what its people may see (V-13).
    pub async fn counts_of(&self, org: &str) -> Result<Counts, SpoolError> {
        let org = org.to_owned();
        self.ask(move |keeper| Ok(keeper.mirror.counts(Some(&org)))).await
    }

    /// Sessions of one organisation with records that were let go and are not proven, in id order.
    pub async fn undelivered_sessions(&self, org: &str) -> Result<Vec<String>, SpoolError> {
        let org = org.to_owned();
        self.ask(move |keeper| Ok(keeper.mirror.undelivered(&org))).await
    }

    /// Where a record's media lie.
    pub fn media_path(&self, record: &Record) -> PathBuf {
        self.inner.files.path(&record.media)
    }

    /// The folder, when there is one.
    pub(crate) fn dir(&self) -> Option<&std::path::Path> {
        match &self.inner.files {
            Files::Disk(dir) => Some(dir),
            Files::Ram(_) => None,
        }
    }

    /// A record's bytes, as a destination takes them.
    pub fn payload(&self, record: &Record) -> Result<Payload, SpoolError> {
        let gone = || SpoolError::Unknown { what: format!("local media of {} any more", record.key) };
        if record.media.is_empty() {
            return Err(gone());
        }
        match &self.inner.files {
            Files::Disk(_) => Ok(Payload::File(self.media_path(record))),
            files @ Files::Ram(_) => files.held(&record.media).map(Payload::Ram).ok_or_else(gone),
        }
    }

    /// Free bytes and the marks.
    pub fn room(&self) -> Result<Room, SpoolError> {
        let free_bytes = self.inner.files.free_bytes().map_err(|error| SpoolError::Storage {
            tried: "read the free bytes",
            cause: error.to_string(),
        })?;
        Ok(Room { free_bytes, limits: self.inner.limits })
    }

    /// Follows the sequence of the newest event; wakes whoever must not miss one.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.clone()
    }

    /// Disk guard: below the soft mark thumbnails go first, oldest first; confirmed media go after `keep_confirmed`,
    /// below the soft mark sooner, oldest first. Unconfirmed media never go.
    pub async fn tidy(&self) -> Result<Tidied, SpoolError> {
        self.ask(tidy::tidy).await
    }

    /// Finishes what waits and closes; later calls answer [`SpoolError::Closed`].
    pub async fn close(&self) {
        match &self.inner.runner {
            Runner::Thread(writer) => writer.close().await,
            Runner::Inline(keeper) => drop(keeper.lock().unwrap_or_else(PoisonError::into_inner).take()),
        }
    }

    async fn submit(&self, job: Job) -> Result<(), SpoolError> {
        match &self.inner.runner {
            Runner::Thread(writer) => writer.submit(job).await,
            Runner::Inline(keeper) => {
                let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
                keeper.as_mut().ok_or(SpoolError::Closed)?.run([job]);
                Ok(())
            }
        }
    }

    /// Lets the keeper answer, with all earlier writes durable.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Keeper) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let (answer, answered): (Answer<T>, _) = oneshot::channel();
        let work = Box::new(move |keeper: &mut Keeper| keeper::reply(answer, question(keeper)));
        self.submit(Job::Alone(work)).await?;
        answered.await.map_err(|_| SpoolError::unanswered())?
    }
}

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
