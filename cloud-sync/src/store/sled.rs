//! The index on disk. The only file that opens sled.
//!
//! sled 0.34 flushes with `sync_file_range`, which promises nothing after a power cut, so every commit is one atomic
//! batch, a flush, and an fdatasync of its log file `db`. Everything lives in one tree, because a batch is atomic in
//! one tree only, and no value is longer than 4 KiB: longer pages would leave the log for files that sled
//! never syncs. Its snapshots only shorten the opening; a damaged one is put aside and made again from the log.
//!
//! ```text
//!  m <name>                                   meta: schema, application version, boot counter
//!  r <key>               <part>               record          (key: see Key::to_bytes)
//!  s <session> <key>     <part>               the same key by session, no content
//!  d <id>                <part>               document
//!  e <sequence, 8 bytes> <part>               event
//! ```
//! A value is split into parts numbered by two bytes; the first byte of each says whether more follow.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Db, IVec, Tree};

use crate::event::{EVENT_SCHEMA, Event};
use crate::queue::{DecodeError, Key, RECORD_SCHEMA, Record, push_name, take_name};
use crate::store::{Batch, Document, Scope, Store, StoreError};

/// Version of the layout above. Older ones are read, newer ones are refused.
pub const STORE_SCHEMA: u32 = 1;

/// Bytes of a value's part. A page of sled holds up to about 17 entries and leaves the log above 128 KiB.
const PART_BYTES: usize = 4096;

const CACHE_BYTES: u64 = 32 << 20;

/// sled lets go of its file a moment after the last handle is dropped.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

const META: u8 = b'm';
const RECORD: u8 = b'r';
const SESSION: u8 = b's';
const DOCUMENT: u8 = b'd';
const EVENT: u8 = b'e';

/// Takes a key and its whole value; `false` ends the reading.
type EachValue<'a> = &'a mut dyn FnMut(&[u8], Vec<u8>) -> Result<bool, StoreError>;

/// See the module.
pub struct SledStore {
    path: PathBuf,
    db: Db,
    tree: Tree,
    log: File,
    poisoned: bool,
}

/// What was found and done on opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreOpened {
    /// How often this store has been opened, this time included.
    pub boots: u64,
    /// Nothing was there before.
    pub fresh: bool,
    /// Half-written snapshots that were deleted.
    pub snapshots_unfinished: u64,
    /// Damaged snapshots that were put aside.
    pub snapshots_moved: u64,
}

impl SledStore {
    /// Opens the store in the folder `path`, which is made when missing. A snapshot that keeps sled from opening is
    /// moved to `aside`. Blocks for up to two seconds while an earlier handle of this process lets go.
    pub fn open(path: &Path, aside: &Path) -> Result<(Self, StoreOpened), StoreError> {
        fs::create_dir_all(path).map_err(|error| StoreError::of_io("make its folder", error))?;
        let mut opened =
            StoreOpened { snapshots_unfinished: delete_unfinished(path)?, ..StoreOpened::default() };
        let db = match open_db(path) {
            Err(OpenError::Damaged(what)) => {
                opened.snapshots_moved = move_snapshots(path, aside)?;
                tracing::warn!(%what, moved = opened.snapshots_moved, "index damaged, trying without snapshots");
                open_db(path)
            }
            outcome => outcome,
        }
        .map_err(|error| error.at(path))?;
        let log = settle_layout(path)?;
        let tree = Tree::clone(&db);
        let mut store = Self { path: path.to_owned(), db, tree, log, poisoned: false };
        let boots = store.begin_boot()?;
        opened.boots = boots;
        opened.fresh = boots == 1;
        Ok((store, opened))
    }

    fn begin_boot(&mut self) -> Result<u64, StoreError> {
        let schema = self.meta("schema")?.map_or(0, |value| u32::try_from(value).unwrap_or(u32::MAX));
        if schema > STORE_SCHEMA {
            return Err(StoreError::TooNew { found: schema, known: STORE_SCHEMA });
        }
        let boots = self.meta("boots")?.unwrap_or(0) + 1;
        let mut batch = sled::Batch::default();
        batch.insert(meta_key("schema"), STORE_SCHEMA.to_string().as_bytes());
        batch.insert(meta_key("version"), env!("CARGO_PKG_VERSION").as_bytes());
        batch.insert(meta_key("boots"), boots.to_string().as_bytes());
        self.write(batch)?;
        Ok(boots)
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.guarded("read its version", || self.tree.get(meta_key(name)))? else {
            return Ok(None);
        };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| self.damaged(format!("meta {name} is no number")))
    }

    fn write(&mut self, batch: sled::Batch) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::failed("commit", "an earlier commit failed; restart the process"));
        }
        // Until all three have succeeded memory and disk may differ.
        self.poisoned = true;
        self.guarded("write a batch", || self.tree.apply_batch(batch))?;
        self.guarded("flush its log", || self.db.flush())?;
        // Never "full" here: what was written may be on disk or not.
        self.log.sync_data().map_err(|error| StoreError::failed("sync its log", error))?;
        self.poisoned = false;
        Ok(())
    }

    /// Puts `value` in parts and removes the parts of a longer predecessor.
    fn put(&self, batch: &mut sled::Batch, key: Vec<u8>, value: &[u8]) -> Result<(), StoreError> {
        let mut parts = value.chunks(PART_BYTES).peekable();
        let mut count: u16 = 0;
        while let Some(part) = parts.next() {
            let mut stored = Vec::with_capacity(part.len() + 1);
            stored.push(u8::from(parts.peek().is_some()));
            stored.extend_from_slice(part);
            batch.insert(part_key(&key, count), stored);
            count = count.checked_add(1).ok_or_else(|| {
                StoreError::failed("store a value", format!("{} bytes are too long", value.len()))
            })?;
        }
        self.remove_from(batch, &key, count)
    }

    fn remove_from(&self, batch: &mut sled::Batch, key: &[u8], first: u16) -> Result<(), StoreError> {
        for part in first..=u16::MAX {
            let key = part_key(key, part);
            if self.guarded("read a key", || self.tree.get(&key))?.is_none() {
                break;
            }
            batch.remove(key);
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut whole = None;
        self.values(key.to_vec(), true, &mut |_, value| {
            whole = Some(value);
            Ok(false)
        })?;
        Ok(whole)
    }

    /// Calls `each` with (key without kind and part, whole value) from `start` on, or only below it as a `prefix`,
    /// within the kind that `start` begins with.
    fn values(&self, start: Vec<u8>, prefix: bool, each: EachValue<'_>) -> Result<(), StoreError> {
        let inside = if prefix { start.clone() } else { vec![start[0]] };
        let mut entries = self.tree.range(start..);
        let mut value = Vec::new();
        while let Some((key, part)) = self.guarded("read", || entries.next().transpose())? {
            if !key.starts_with(&inside) {
                break;
            }
            let (more, part) = part.split_first().ok_or_else(|| self.damaged("an empty part".into()))?;
            value.extend_from_slice(part);
            if *more == 0 && !each(&key[1..key.len() - 2], std::mem::take(&mut value))? {
                break;
            }
        }
        Ok(())
    }

    fn decode_record(&self, bytes: &[u8]) -> Result<Record, StoreError> {
        Record::decode(bytes).map_err(|error| match error {
            DecodeError::TooNew { found } => StoreError::TooNew { found, known: RECORD_SCHEMA },
            DecodeError::Broken(what) => self.damaged(what),
        })
    }

    fn decode_event(&self, bytes: &[u8]) -> Result<Event, StoreError> {
        let event: Event =
            serde_json::from_slice(bytes).map_err(|error| self.damaged(format!("not an event: {error}")))?;
        match event.schema {
            EVENT_SCHEMA => Ok(event),
            found => Err(StoreError::TooNew { found, known: EVENT_SCHEMA }),
        }
    }

    /// Runs a call into sled, which may panic on damage instead of saying so.
    fn guarded<T>(
        &self,
        tried: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(error))) if !says_damage(&error) => Err(StoreError::of_io(tried, error)),
            Ok(Err(error)) => Err(self.damaged(error.to_string())),
            Err(panic) => Err(self.damaged(words_of(&*panic))),
        }
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what }
    }
}

#[cfg(test)]
impl SledStore {
    pub(crate) fn pretend_schema(&mut self, schema: u32) {
        let mut batch = sled::Batch::default();
        batch.insert(meta_key("schema"), schema.to_string().as_bytes());
        self.write(batch).unwrap();
    }
}

impl Store for SledStore {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for key in &batch.removed {
            if let Some(record) = self.record(key)? {
                self.remove_from(&mut writes, &record_key(key), 0)?;
                self.remove_from(&mut writes, &session_key(&record.facts.session, key), 0)?;
            }
        }
        let encoding = |error: String| StoreError::failed("encode a batch", error);
        for record in &batch.records {
            let bytes = record.encode().map_err(|error| encoding(error.to_string()))?;
            self.put(&mut writes, record_key(&record.key), &bytes)?;
            writes.insert(part_key(&session_key(&record.facts.session, &record.key), 0), &[0]);
        }
        for document in &batch.documents {
            let bytes = serde_json::to_vec(&document.value).map_err(|error| encoding(error.to_string()))?;
            self.put(&mut writes, document_key(&document.id), &bytes)?;
        }
        for event in &batch.events {
            let bytes = serde_json::to_vec(event).map_err(|error| encoding(error.to_string()))?;
            self.put(&mut writes, event_key(event.sequence), &bytes)?;
        }
        self.write(writes)
    }

    fn record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.get(&record_key(key))?.map(|bytes| self.decode_record(&bytes)).transpose()
    }

    fn scan(&self, scope: Scope<'_>, each: &mut dyn FnMut(Record) -> bool) -> Result<(), StoreError> {
        let mut start = vec![RECORD];
        match scope {
            Scope::All => {}
            Scope::Sequence(sequence) => start.extend_from_slice(&sequence.to_be_bytes()),
            Scope::Session(session) => {
                let mut start = vec![SESSION];
                push_name(&mut start, session);
                let name_bytes = start.len() - 1;
                return self.values(start, true, &mut |key, _| {
                    let key = Key::from_bytes(&key[name_bytes..])
                        .ok_or_else(|| self.damaged("a session's key".into()))?;
                    let record = self.record(&key)?;
                    record.map(&mut *each).ok_or_else(|| self.damaged(format!("{key} is missing")))
                });
            }
        }
        self.values(start, true, &mut |_, bytes| Ok(each(self.decode_record(&bytes)?)))
    }

    fn document(&self, id: &str) -> Result<Option<Document>, StoreError> {
        let bytes = self.get(&document_key(id))?;
        let document = |bytes: Vec<u8>| -> Result<Document, serde_json::Error> {
            Ok(Document { id: id.to_owned(), value: serde_json::from_slice(&bytes)? })
        };
        bytes.map(document).transpose().map_err(|error| self.damaged(format!("document {id}: {error}")))
    }

    fn documents(&self, each: &mut dyn FnMut(Document) -> bool) -> Result<(), StoreError> {
        self.values(vec![DOCUMENT], true, &mut |key, bytes| {
            let (id, _) = take_name(key).ok_or_else(|| self.damaged("a document's key".into()))?;
            let value = serde_json::from_slice(&bytes)
                .map_err(|error| self.damaged(format!("document {id}: {error}")))?;
            Ok(each(Document { id, value }))
        })
    }

    fn events(&self, after: u64, each: &mut dyn FnMut(Event) -> bool) -> Result<(), StoreError> {
        let start = event_key(after.saturating_add(1));
        self.values(start, false, &mut |_, bytes| Ok(each(self.decode_event(&bytes)?)))
    }

    fn last_event(&self) -> Result<Option<Event>, StoreError> {
        let range = vec![EVENT]..vec![EVENT + 1];
        let last: Option<(IVec, IVec)> =
            self.guarded("read the newest event", || self.tree.range(range).next_back().transpose())?;
        let Some((key, _)) = last else { return Ok(None) };
        let bytes = self.get(&key[..key.len() - 2])?;
        bytes.map(|bytes| self.decode_event(&bytes)).transpose()
    }
}

fn meta_key(name: &str) -> Vec<u8> {
    let mut key = vec![META];
    push_name(&mut key, name);
    key
}

fn record_key(key: &Key) -> Vec<u8> {
    let mut bytes = vec![RECORD];
    bytes.extend(key.to_bytes());
    bytes
}

fn session_key(session: &str, key: &Key) -> Vec<u8> {
    let mut bytes = vec![SESSION];
    push_name(&mut bytes, session);
    bytes.extend(key.to_bytes());
    bytes
}

fn document_key(id: &str) -> Vec<u8> {
    let mut bytes = vec![DOCUMENT];
    push_name(&mut bytes, id);
    bytes
}

fn event_key(sequence: u64) -> Vec<u8> {
    let mut bytes = vec![EVENT];
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes
}

fn part_key(key: &[u8], part: u16) -> Vec<u8> {
    let mut bytes = key.to_vec();
    bytes.extend_from_slice(&part.to_be_bytes());
    bytes
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

enum OpenError {
    Damaged(String),
    Other(StoreError),
}

impl OpenError {
    fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Damaged(what) => StoreError::Damaged { path: path.to_owned(), what },
            Self::Other(error) => error,
        }
    }
}

/// A file of the store that should be there and is not, or ends too early, or makes no sense.
fn says_damage(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
}

fn open_db(path: &Path) -> Result<Db, OpenError> {
    let mut tries = 0;
    loop {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let error = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => error,
            Err(panic) => return Err(OpenError::Damaged(words_of(&*panic))),
        };
        match error {
            sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
                tries += 1;
                if tries == LOCK_TRIES {
                    return Err(OpenError::Other(StoreError::failed(
                        "open: another process holds it",
                        error,
                    )));
                }
                std::thread::park_timeout(LOCK_PAUSE);
            }
            sled::Error::Io(error) if !says_damage(&error) => {
                return Err(OpenError::Other(StoreError::of_io("open", error)));
            }
            error => return Err(OpenError::Damaged(error.to_string())),
        }
    }
}

/// Checks that the files are those that this module knows how to make durable, and makes the new ones so.
fn settle_layout(path: &Path) -> Result<File, StoreError> {
    let strange = |what: String| StoreError::failed("recognise its files", what);
    for name in ["db", "conf"] {
        let file = fs::symlink_metadata(path.join(name));
        if !file.is_ok_and(|file| file.is_file()) {
            return Err(strange(format!("{} is no file", path.join(name).display())));
        }
    }
    let failed = |error| StoreError::of_io("sync its files", error);
    let mut blobs = fs::read_dir(path.join("blobs")).map_err(failed)?;
    if let Some(blob) = blobs.next() {
        let blob = blob.map_err(failed)?.path();
        return Err(strange(format!("{} is a value outside the log", blob.display())));
    }
    let log = File::options().read(true).write(true).open(path.join("db")).map_err(failed)?;
    log.sync_all().map_err(failed)?;
    for name in ["..", ".", "blobs", "conf"] {
        File::open(path.join(name)).and_then(|file| file.sync_all()).map_err(failed)?;
    }
    Ok(log)
}

fn snapshots(path: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let failed = |error| StoreError::of_io("list its folder", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            found.push((entry.path(), name));
        }
    }
    Ok(found)
}

/// sled takes the highest name for the newest snapshot, finished or not.
fn delete_unfinished(path: &Path) -> Result<u64, StoreError> {
    let mut count = 0;
    for (file, _) in snapshots(path)?.into_iter().filter(|(_, name)| name.ends_with(".generating")) {
        fs::remove_file(file).map_err(|error| StoreError::of_io("delete a snapshot", error))?;
        count += 1;
    }
    Ok(count)
}

fn move_snapshots(path: &Path, aside: &Path) -> Result<u64, StoreError> {
    let failed = |error| StoreError::of_io("put a snapshot aside", error);
    let snapshots = snapshots(path)?;
    if !snapshots.is_empty() {
        fs::create_dir_all(aside).map_err(failed)?;
    }
    for (file, name) in &snapshots {
        fs::rename(file, aside.join(name)).map_err(failed)?;
    }
    Ok(snapshots.len() as u64)
}
