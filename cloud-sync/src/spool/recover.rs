//! Opening: makes folder and index agree again and says what it found.
//!
//! The index decides what was promised; the folder can replace it. A damaged index is put aside and made anew from the
//! sidecars, media without a sidecar were never promised and go to `orphans/`, and whatever the sidecars know and the
//! index does not is put back. Every finding is an event and a plain sentence; nothing is dropped silently.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Clock;
use crate::event::NewEvent;
use crate::queue::{Change, Key, Record, State};
use crate::spool::files::{Files, sync_dir};
use crate::spool::folder::Folder;
use crate::spool::keeper::Keeper;
use crate::spool::layout::{self, SessionFile};
use crate::spool::mirror::Mirror;
use crate::spool::{Commit, Limits, SpoolError};
use crate::store::sled::{SledStore, StoreOpened};
use crate::store::{Batch, Scope, Store, StoreError};

/// Records put back in one commit.
const BATCH_MAX: usize = 256;

const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Something that opening found or repaired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Kind of the event that tells of it, for example `spool.rebuilt`.
    pub kind: &'static str,
    /// What it is and what to do, in plain words.
    pub sentence: String,
    /// Details.
    pub data: Value,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Opened {
    /// How often this index has been opened, this time included.
    pub boots: u64,
    /// Records in the index.
    pub records: u64,
    /// Documents in the index.
    pub documents: u64,
    /// Half-written files that were deleted.
    pub temporaries: u64,
    /// Media that no record promises, moved to `orphans/`.
    pub orphans: u64,
    /// Sidecars that cannot be read, moved to `orphans/` with their media.
    pub sidecars_damaged: u64,
    /// Records that the index did not know and a sidecar did.
    pub put_back: u64,
    /// Records that were being uploaded when the process died, queued again.
    pub recovered: u64,
    /// Records whose media are missing or of the wrong length.
    pub media_damaged: Vec<Key>,
    /// The index was put aside and made anew, or was missing.
    pub rebuilt: bool,
    /// All of it, told one by one; empty after a quiet night.
    pub findings: Vec<Finding>,
}

impl Opened {
    /// The findings in plain sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().map(|finding| finding.sentence.as_str())
    }

    pub(super) fn find(&mut self, kind: &'static str, sentence: String, data: Value) {
        tracing::warn!(kind, "{sentence}");
        self.findings.push(Finding { kind, sentence, data });
    }
}

pub(super) fn open(
    dir: &Path,
    limits: Limits,
    clock: Arc<dyn Clock>,
) -> Result<(Keeper, Opened), SpoolError> {
    make_folders(dir)?;
    let lock = lock(dir)?;
    let mut opened = Opened::default();
    let store = open_store(dir, &mut opened)?;
    match take_stock(dir, store, limits, &clock, &mut opened, &lock) {
        // What sled opened may still not be readable.
        Err(SpoolError::Damaged { what }) => {
            set_index_aside(dir, &what, &mut opened)?;
            opened = Opened { findings: std::mem::take(&mut opened.findings), ..Opened::default() };
            let store = open_store(dir, &mut opened)?;
            take_stock(dir, store, limits, &clock, &mut opened, &lock)
        }
        outcome => outcome,
    }
    .map(|keeper| (keeper, opened))
}

pub(super) fn io_failed(tried: &'static str) -> impl Fn(io::Error) -> SpoolError {
    move |error| StoreError::of_io(tried, error).into()
}

fn make_folders(dir: &Path) -> Result<(), SpoolError> {
    let failed = io_failed("make the spool's folders");
    for name in ["media", "thumbs", "orphans"] {
        fs::create_dir_all(dir.join(name)).map_err(&failed)?;
    }
    sync_dir(dir).map_err(&failed)?;
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), |parent| {
        // The folder above may belong to someone else.
        sync_dir(parent).or(Ok(()))
    })
}

/// Takes the folder for this process; the kernel lets go of it when the process ends, however it ends.
pub(super) fn lock(dir: &Path) -> Result<File, SpoolError> {
    let failed = io_failed("lock the spool");
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"));
    let file = file.map_err(&failed)?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // A child that this process has just started holds a copy until it runs its own program.
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::park_timeout(LOCK_PAUSE),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(SpoolError::InUse { dir: dir.to_owned() })
}

fn open_store(dir: &Path, opened: &mut Opened) -> Result<SledStore, SpoolError> {
    let index = dir.join("index");
    let outcome = match SledStore::open(&index, &free_aside(dir)) {
        Err(StoreError::Damaged { what, .. }) => {
            set_index_aside(dir, &what, opened)?;
            SledStore::open(&index, &free_aside(dir))
        }
        outcome => outcome,
    };
    let (store, found): (SledStore, StoreOpened) = outcome?;
    opened.boots = found.boots;
    opened.rebuilt |= found.fresh;
    if found.snapshots_unfinished + found.snapshots_moved > 0 {
        let sentence = format!(
            "the index had {} unfinished and {} damaged snapshots; it was read from its log instead, nothing is lost",
            found.snapshots_unfinished, found.snapshots_moved
        );
        let data = json!({"unfinished": found.snapshots_unfinished, "moved": found.snapshots_moved});
        opened.find("spool.snapshots-moved", sentence, data);
    }
    Ok(store)
}

pub(super) fn free_aside(dir: &Path) -> PathBuf {
    let aside = dir.join("aside");
    let free = (1..u32::MAX).map(|nth| aside.join(nth.to_string())).find(|path| !path.exists());
    free.unwrap_or(aside)
}

pub(super) fn move_index_aside(dir: &Path) -> Result<PathBuf, SpoolError> {
    let failed = io_failed("put the index aside");
    let aside = free_aside(dir);
    fs::create_dir_all(&aside).map_err(&failed)?;
    fs::rename(dir.join("index"), aside.join("index")).map_err(&failed)?;
    sync_dir(dir).map_err(&failed)?;
    Ok(aside)
}

fn set_index_aside(dir: &Path, what: &str, opened: &mut Opened) -> Result<(), SpoolError> {
    let aside = move_index_aside(dir)?;
    let sentence = format!("the index was damaged ({what}); it was put aside in {}", aside.display());
    opened.find("spool.index-aside", sentence, json!({"what": what}));
    Ok(())
}

fn take_stock(
    dir: &Path,
    store: SledStore,
    limits: Limits,
    clock: &Arc<dyn Clock>,
    opened: &mut Opened,
    lock: &File,
) -> Result<Keeper, SpoolError> {
    let last_event = store.last_event()?;
    let mut log = None;
    store.events(0, &mut |first| {
        log = Some(first.hash);
        false
    })?;
    let mut keeper = Keeper {
        store: Box::new(store),
        files: Files::Disk(dir.to_owned()),
        clock: Arc::clone(clock),
        limits,
        mirror: Mirror::default(),
        next_sequence: 1,
        changed: watch::Sender::new(last_event.as_ref().map_or(0, |event| event.sequence)),
        last_event,
        log,
        broken: None,
        made: BTreeSet::new(),
        _lock: Some(lock.try_clone().map_err(io_failed("keep the lock"))?),
    };
    read_index(&mut keeper, opened)?;
    let mut folder = Folder::read(dir, &keeper, opened)?;
    keeper.next_sequence = keeper.next_sequence.max(folder.sequence_max + 1);
    put_back(&mut keeper, &mut folder, opened)?;
    settle_sessions(&mut keeper, &folder.sessions, opened)?;
    // Last: a commit that is completed may begin or end an upload.
    recover(&mut keeper, opened)?;
    opened.rebuilt &=
        opened.put_back > 0 || opened.findings.iter().any(|one| one.kind == "spool.index-aside");
    tell(&mut keeper, opened)?;
    Ok(keeper)
}

/// Reads every record once: counts, the next sequence, media that are not as promised.
fn read_index(keeper: &mut Keeper, opened: &mut Opened) -> Result<(), SpoolError> {
    let Keeper { store, mirror, files, next_sequence, .. } = keeper;
    store.scan(Scope::All, &mut |record| {
        opened.records += 1;
        *next_sequence = (*next_sequence).max(record.key.sequence + 1);
        note_damage(files, &record, opened);
        mirror.replace(None, &record);
        true
    })?;
    store.documents(&mut |_| {
        opened.documents += 1;
        true
    })?;
    Ok(())
}

fn note_damage(files: &Files, record: &Record, opened: &mut Opened) {
    if record.media.is_empty() {
        return;
    }
    let path = files.path(&record.media);
    let found = fs::metadata(&path).ok().map(|file| file.len());
    if found == Some(record.length) {
        return;
    }
    let wrong = match found {
        None => "is missing".to_owned(),
        Some(length) => format!("has {length} bytes instead of {}", record.length),
    };
    let sentence = format!(
        "the picture {} of session {} {wrong}: it cannot be delivered; {}",
        path.display(),
        record.facts.session,
        if record.state == State::Confirmed { "it was confirmed before" } else { "shoot it again" },
    );
    opened.media_damaged.push(record.key.clone());
    opened.find("spool.media-damaged", sentence, json!({"key": record.key, "found_bytes": found}));
}

fn put_back(keeper: &mut Keeper, folder: &mut Folder, opened: &mut Opened) -> Result<(), SpoolError> {
    let supersedes: BTreeMap<u64, u64> =
        folder.sidecars.iter().flat_map(|sidecar| sidecar.supersedes.clone()).collect();
    let mut records: Vec<Record> =
        std::mem::take(&mut folder.sidecars).into_iter().flat_map(|sidecar| sidecar.records).collect();
    let sessions: BTreeSet<String> = records.iter().map(|record| record.facts.session.clone()).collect();
    for record in &mut records {
        let sequence = record.key.sequence;
        let session = folder.sessions.get(&record.facts.session);
        let item = session.and_then(|session| session.items.get(&sequence));
        layout::revive(record, supersedes.get(&sequence).copied(), item);
    }
    // A retake that the index did not know may stand in for a frame that it does know.
    let new: BTreeSet<u64> = records.iter().map(|record| record.key.sequence).collect();
    for (old, by) in supersedes.iter().filter(|(old, _)| !new.contains(old)) {
        keeper.store.scan(Scope::Sequence(*old), &mut |mut record| {
            if record.apply(&Change::Supersede { by: *by }).is_ok() {
                records.push(record);
            }
            true
        })?;
    }
    for part in records.chunks(BATCH_MAX) {
        let before = part.iter().map(|record| keeper.store.record(&record.key));
        let before = before.collect::<Result<Vec<_>, _>>()?;
        keeper.store.commit(&Batch { records: part.to_vec(), ..Batch::default() })?;
        for (before, after) in before.iter().zip(part) {
            keeper.mirror.replace(before.as_ref(), after);
            if before.is_none() {
                opened.put_back += 1;
                opened.records += 1;
                note_damage(&keeper.files, after, opened);
            }
        }
    }
    if opened.put_back > 0 {
        let (kind, why) = match opened.rebuilt {
            true => ("spool.rebuilt", "rebuilt from the sidecars"),
            false => ("spool.put-back", "completed from sidecars that it did not know"),
        };
        let sentence = format!(
            "the index was {why}: {} records of {} sessions; what was released is delivered once more",
            opened.put_back,
            sessions.len()
        );
        let data = json!({"records": opened.put_back, "sessions": sessions.len()});
        opened.find(kind, sentence, data);
    }
    Ok(())
}

/// Completes the index from the sessions' files, and writes files that are missing.
fn settle_sessions(
    keeper: &mut Keeper,
    files: &BTreeMap<String, SessionFile>,
    opened: &mut Opened,
) -> Result<(), SpoolError> {
    let (mut completed, mut told) = (Vec::new(), BTreeSet::new());
    let last = keeper.last_event.as_ref().map_or(0, |event| event.sequence);
    // In the order in which they were written.
    let mut in_order: Vec<_> = files.values().collect();
    in_order.sort_by_key(|file| file.event);
    for file in in_order {
        let mut commit = keeper.behind(file, last)?;
        // One commit may have written the files of several sessions.
        if !commit.events.is_empty() && !told.insert(file.event) {
            commit.events.clear();
        }
        opened.documents += u64::from(keeper.store.document(&file.id)?.is_none() && file.document.is_some());
        if !(commit.documents.is_empty() && commit.changes.is_empty() && commit.events.is_empty()) {
            keeper.commit(commit)?;
            completed.push(file.id.as_str());
        }
    }
    if !completed.is_empty() && !opened.rebuilt {
        let sentence = format!(
            "the last change of {} sessions had reached the folder and not the index: it was completed",
            completed.len()
        );
        opened.find("spool.completed", sentence, json!({"sessions": completed}));
    }
    let mut missing = Vec::new();
    keeper.store.documents(&mut |document| {
        if !files.contains_key(&document.id) && keeper.files.path(&document.id).is_dir() {
            missing.push(document.id);
        }
        true
    })?;
    missing.iter().try_for_each(|session| keeper.write_session_file(session))
}

/// An upload that was cut short is tried again: delivery is idempotent.
fn recover(keeper: &mut Keeper, opened: &mut Opened) -> Result<(), SpoolError> {
    let uploading = keeper.mirror.waiting.iter().filter(|(_, waiting)| waiting.state == State::Uploading);
    let interrupted: Vec<Key> = uploading.map(|(key, _)| key.clone()).collect();
    for part in interrupted.chunks(BATCH_MAX) {
        let changes = part.iter().map(|key| (key.clone(), Change::Recover)).collect();
        opened.recovered += keeper.commit(Commit { changes, ..Commit::default() })?.len() as u64;
    }
    Ok(())
}

fn tell(keeper: &mut Keeper, opened: &mut Opened) -> Result<(), SpoolError> {
    if opened.orphans > 0 {
        let sentence = format!(
            "{} files that were never promised were moved to {}",
            opened.orphans,
            keeper.files.path("../orphans").display()
        );
        opened.find("spool.orphans", sentence, json!({"files": opened.orphans}));
    }
    let event = |kind: &str, data: Value| NewEvent {
        kind: kind.to_owned(),
        actor: "station".to_owned(),
        session: None,
        data,
    };
    let mut events: Vec<_> = opened
        .findings
        .iter()
        .map(|finding| event(finding.kind, json!({"sentence": finding.sentence, "details": finding.data})))
        .collect();
    events.push(event(
        "spool.opened",
        json!({
            "boots": opened.boots,
            "records": opened.records,
            "recovered": opened.recovered,
            "version": env!("CARGO_PKG_VERSION"),
        }),
    ));
    for part in events.chunks(BATCH_MAX) {
        keeper.commit(Commit { events: part.to_vec(), ..Commit::default() })?;
    }
    Ok(())
}
