//! For the command line: look at a spool without a station, rebuild its index, write everything out.
//!
//! `check` and `export` change nothing: they read a copy of the index, because sled writes while it opens. All three
//! need the folder for themselves and say so when a station is running.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::json;
use sha2::Digest;

use crate::queue::{Record, State};
use crate::spool::layout::{self, SESSION_FILE, SessionFile, Sidecar, TEMPORARY};
use crate::spool::recover::{self, Finding};
use crate::spool::{Limits, SpoolError};
use crate::store::sled::SledStore;
use crate::store::{Scope, Store, StoreError};
use crate::{Clock, Sha256, event};

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// Records in the index.
    pub records: u64,
    /// Documents in the index.
    pub documents: u64,
    /// Events in the index.
    pub events: u64,
    /// Media files whose hash was compared.
    pub media: u64,
    /// Sidecars read.
    pub sidecars: u64,
    /// Everything that is not as it should be, with what to do.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Nothing is wrong.
    pub fn healthy(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, kind: &'static str, sentence: String) {
        self.findings.push(Finding { kind, sentence, data: serde_json::Value::Null });
    }
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuilt {
    /// Records in the new index.
    pub records: u64,
    /// Documents in the new index.
    pub documents: u64,
    /// Where the old index lies now, if there was one.
    pub aside: Option<PathBuf>,
    /// What else was found.
    pub findings: Vec<Finding>,
}

/// Reads index, sidecars and media of the spool in `dir`, and verifies every hash and the chain of events. Changes
/// nothing. Takes as long as reading all media takes.
pub fn check(dir: &Path) -> Result<CheckReport, SpoolError> {
    let _lock = lock_existing(dir)?;
    let mut report = CheckReport::default();
    let mut indexed = BTreeMap::new();
    match IndexCopy::open(dir) {
        Ok(copy) => match read_index(copy.store()?, &mut report) {
            Ok(records) => indexed = records,
            Err(error) => unreadable(&error, &mut report),
        },
        Err(error) => unreadable(&error, &mut report),
    }
    let promised = check_folder(dir, &indexed, &mut report)?;
    let mut media: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in indexed.values().chain(&promised).filter(|record| !record.media.is_empty()) {
        media.entry(&record.media).or_insert(record);
    }
    for record in media.values() {
        check_media(dir, record, &mut report);
    }
    Ok(report)
}

/// Puts the index aside and makes it anew from the media folder.
pub fn rebuild(dir: &Path, clock: Arc<dyn Clock>) -> Result<Rebuilt, SpoolError> {
    let lock = lock_existing(dir)?;
    let aside = dir.join("index").exists().then(|| recover::move_index_aside(dir)).transpose()?;
    drop(lock);
    let limits = Limits { free_bytes_soft: 0, free_bytes_hard: 0, keep_confirmed: std::time::Duration::MAX };
    let (keeper, opened) = recover::open(dir, limits, clock)?;
    drop(keeper);
    Ok(Rebuilt { records: opened.records, documents: opened.documents, aside, findings: opened.findings })
}

/// Writes every record, document and event as one JSON line: `{"record": …}`, `{"document": …}`, `{"event": …}`.
pub fn export(dir: &Path, out: &mut dyn Write) -> Result<(), SpoolError> {
    let _lock = lock_existing(dir)?;
    let copy = IndexCopy::open(dir)?;
    let store = copy.store()?;
    let mut outcome = Ok(());
    let mut line = |value: serde_json::Value| {
        outcome = writeln!(out, "{value}");
        outcome.is_ok()
    };
    store.scan(Scope::All, &mut |record| line(json!({"record": record})))?;
    store
        .documents(&mut |document| line(json!({"document": {"id": document.id, "value": document.value}})))?;
    store.events(0, &mut |event| line(json!({"event": event})))?;
    outcome.map_err(|error| SpoolError::Storage { tried: "write the export", cause: error.to_string() })
}

fn lock_existing(dir: &Path) -> Result<File, SpoolError> {
    if !dir.join("media").is_dir() {
        return Err(SpoolError::Unknown { what: format!("spool in {}", dir.display()) });
    }
    recover::lock(dir)
}

fn unreadable(error: &SpoolError, report: &mut CheckReport) {
    let sentence =
        format!("the index cannot be read ({error}): rebuild it, the media folder has what it needs");
    report.find("index-unreadable", sentence);
}

fn read_index(
    store: &SledStore,
    report: &mut CheckReport,
) -> Result<BTreeMap<crate::Key, Record>, SpoolError> {
    let mut records = BTreeMap::new();
    store.scan(Scope::All, &mut |record| {
        records.insert(record.key.clone(), record);
        true
    })?;
    report.records = records.len() as u64;
    store.documents(&mut |_| {
        report.documents += 1;
        true
    })?;
    let mut previous = None;
    let mut broken = Vec::new();
    store.events(0, &mut |event| {
        report.events += 1;
        broken.extend(event::verify(previous.as_ref(), &event).err());
        previous = Some(event);
        true
    })?;
    for fault in broken {
        report.find(
            "event-chain",
            format!("the event log does not hold together: {fault}; keep a copy and ask why"),
        );
    }
    Ok(records)
}

/// Gives the records that only sidecars know.
fn check_folder(
    dir: &Path,
    indexed: &BTreeMap<crate::Key, Record>,
    report: &mut CheckReport,
) -> Result<Vec<Record>, SpoolError> {
    let failed = |error| SpoolError::from(StoreError::of_io("read the media folder", error));
    let mut unindexed = Vec::new();
    let mut expected: BTreeSet<&str> = indexed.values().map(|record| record.media.as_str()).collect();
    let mut in_sidecars = BTreeSet::new();
    let mut files = Vec::new();
    for session in fs::read_dir(dir.join("media")).map_err(failed)? {
        let session = session.map_err(failed)?;
        if session.file_type().map_err(failed)?.is_dir() {
            for file in fs::read_dir(session.path()).map_err(failed)? {
                let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
                files.push((session.file_name().to_string_lossy().into_owned(), name));
            }
        }
    }
    for (session, name) in files.iter().filter(|(_, name)| layout::is_sidecar(name) || name == SESSION_FILE) {
        let path = dir.join("media").join(session).join(name);
        let bytes = fs::read(&path).map_err(failed)?;
        if name == SESSION_FILE {
            if let Err(what) = SessionFile::decode(&bytes) {
                report.find("session-file-damaged", format!(
                    "{} is damaged ({what}): the index has the document; start the station, which writes it again",
                    path.display()
                ));
            }
            continue;
        }
        report.sidecars += 1;
        match Sidecar::decode(&bytes) {
            Ok(sidecar) => {
                in_sidecars.extend(sidecar.records.iter().map(|record| record.media.clone()));
                unindexed
                    .extend(sidecar.records.into_iter().filter(|record| !indexed.contains_key(&record.key)));
            }
            Err(what) => report.find(
                "sidecar-damaged",
                format!(
                    "{} is damaged ({what}): do not rebuild before its pictures are delivered",
                    path.display()
                ),
            ),
        }
    }
    if !unindexed.is_empty() {
        let sentence =
            format!("{} records are in sidecars only: start the station, it puts them back", unindexed.len());
        report.find("records-unindexed", sentence);
    }
    expected.extend(in_sidecars.iter().map(String::as_str));
    for (session, name) in files.iter().filter(|(_, name)| !layout::is_sidecar(name) && name != SESSION_FILE)
    {
        if name.ends_with(TEMPORARY) || !expected.contains(format!("{session}/{name}").as_str()) {
            let sentence =
                format!("{session}/{name} is promised by no record: starting the station clears it away");
            report.find("file-unpromised", sentence);
        }
    }
    Ok(unindexed)
}

fn check_media(dir: &Path, record: &Record, report: &mut CheckReport) {
    let path = dir.join("media").join(&record.media);
    report.media += 1;
    let what_to_do = match record.state {
        State::Confirmed => "it was confirmed before",
        _ => "shoot it again",
    };
    match hash_file(&path) {
        Ok(hash) if hash == record.sha256 => {}
        Ok(_) => report.find("media-damaged", format!("{} was altered or cut: {what_to_do}", path.display())),
        Err(error) => report.find("media-damaged", format!("{}: {error}: {what_to_do}", path.display())),
    }
}

/// Hash of a file's bytes, in pieces.
pub(crate) fn hash_file(path: &Path) -> io::Result<Sha256> {
    hash_reader(&mut File::open(path)?)
}

/// Hash of what `reader` gives, in pieces.
pub(crate) fn hash_reader(reader: &mut dyn Read) -> io::Result<Sha256> {
    let mut digest = sha2::Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(Sha256::from_bytes(digest.finalize().into())),
            length => digest.update(&piece[..length]),
        }
    }
}

/// A copy of the index in the system's temporary folder, deleted when dropped.
struct IndexCopy {
    dir: PathBuf,
    store: Option<SledStore>,
}

impl IndexCopy {
    fn open(dir: &Path) -> Result<Self, SpoolError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let index = dir.join("index");
        if !index.join("db").is_file() {
            return Err(SpoolError::Unknown { what: format!("index in {}", index.display()) });
        }
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnstage-check-{}-{nth}", std::process::id());
        let mut copy = Self { dir: std::env::temp_dir().join(name), store: None };
        let copied = make_private(&copy.dir).and_then(|()| copy_folder(&index, &copy.dir.join("index")));
        copied.map_err(|error| SpoolError::from(StoreError::of_io("copy the index", error)))?;
        copy.store = Some(SledStore::open(&copy.dir.join("index"), &copy.dir.join("aside"))?.0);
        Ok(copy)
    }

    fn store(&self) -> Result<&SledStore, SpoolError> {
        self.store.as_ref().ok_or(SpoolError::Closed)
    }
}

impl Drop for IndexCopy {
    fn drop(&mut self) {
        self.store = None;
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot delete the copy of the index");
        }
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}
