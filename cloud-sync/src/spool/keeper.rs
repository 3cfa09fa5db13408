//! The one who writes: every change of the spool passes through here, one after the other.
//!
//! A write is staged first (checked, its files on disk) and then, together with all others that waited, committed to
//! the index and answered: the group shares one folder sync and one commit. What is staged but cannot be committed is
//! taken back. The keeper mirrors what the uploader asks for all the time, so that a full queue is not read again and
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::event::{Event, NewEvent};
use crate::queue::{Change, Key, RECORD_SCHEMA, Record, State};
use crate::spool::files::Files;
use crate::spool::layout::{self, Sidecar};
use crate::spool::mirror::Mirror;
use crate::spool::sessions;
use crate::spool::{Commit, Limits, NewFile, SpoolError};
use crate::store::{Batch, Document, Scope, Store, StoreError, is_full};
use crate::{Clock, Sha256, Stamp};

pub(crate) type Answer<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What can be asked of the keeper.
pub(crate) enum Job {
    Put(Vec<NewFile>, Vec<NewEvent>, Answer<Vec<Record>>),
    Commit(Commit, Answer<Vec<Record>>),
    /// Everything else: runs alone, with all earlier writes durable.
    Alone(Box<dyn FnOnce(&mut Keeper) + Send>),
}

pub(crate) struct Keeper {
    pub store: Box<dyn Store>,
    pub files: Files,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub mirror: Mirror,
    pub next_sequence: u64,
    pub last_event: Option<Event>,
    /// Hash of the first event: which log this is.
    pub log: Option<Sha256>,
    pub changed: watch::Sender<u64>,
    /// Why nothing is acknowledged any more.
    pub broken: Option<String>,
    /// Session folders known to be durable.
    pub made: BTreeSet<String>,
    /// Held while open, so that no second process writes here.
    pub _lock: Option<File>,
}

/// Writes that wait to be committed together.
#[derive(Default)]
struct Group {
    records: BTreeMap<Key, Record>,
    documents: BTreeMap<String, Document>,
    events: Vec<Event>,
    /// Session folders whose names are not durable yet.
    folders: BTreeSet<String>,
    /// Files to take back on failure.
    written: Vec<String>,
    /// Bytes that the commit needs, for the message.
    needed: u64,
    answers: Vec<(Answer<Vec<Record>>, Vec<Record>)>,
}

impl Keeper {
    /// Does the jobs in order; waiting writes share one commit.
    pub fn run(&mut self, jobs: impl IntoIterator<Item = Job>) {
        let mut group = Group::default();
        for job in jobs {
            let (answer, staged) = match job {
                Job::Put(files, events, answer) => (answer, self.stage_put(&mut group, files, events)),
                Job::Commit(commit, answer) if sessions::concerns_folder(&commit) => {
                    self.finish(std::mem::take(&mut group));
                    reply(answer, self.commit_with_folder(commit));
                    continue;
                }
                Job::Commit(commit, answer) => (answer, self.stage_commit(&mut group, commit)),
                Job::Alone(work) => {
                    self.finish(std::mem::take(&mut group));
                    work(self);
                    continue;
                }
            };
            match staged {
                Ok(records) => group.answers.push((answer, records)),
                Err(error) => reply(answer, Err(error)),
            }
        }
        self.finish(group);
    }

    /// Commits at once, to the index only.
    pub fn commit(&mut self, commit: Commit) -> Result<Vec<Record>, SpoolError> {
        let mut group = Group::default();
        let records = self.stage_commit(&mut group, commit)?;
        self.write(&mut group)?;
        Ok(records)
    }

    /// Writes records as they are, with events, for what is no change of state.
    pub fn overwrite(&mut self, records: Vec<Record>, commit: Commit) -> Result<(), SpoolError> {
        let mut group = Group::default();
        self.stage_commit(&mut group, commit)?;
        group.records.extend(records.into_iter().map(|record| (record.key.clone(), record)));
        self.write(&mut group)
    }

    fn stage_put(
        &mut self,
        group: &mut Group,
        new: Vec<NewFile>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Record>, SpoolError> {
        self.check_whole()?;
        let needed = new.iter().map(|file| file.bytes.len() as u64).sum();
        new.iter().try_for_each(layout::check_file)?;
        if let Some(other) = new.iter().find(|file| file.facts.session != new[0].facts.session) {
            let what =
                format!("one shot in two sessions, {} and {}", new[0].facts.session, other.facts.session);
            return Err(SpoolError::Invalid { what });
        }
        self.check_room(needed)?;
        let now = self.clock.now();
        let shot = self.plan_put(group, &new, &now)?;
        self.write_shot(group, &new, &shot, needed)?;
        group.needed += needed;
        let captured = new.iter().zip(&shot.sequences).map(|(file, sequence)| captured(file, *sequence));
        self.append(group, captured.chain(events), &now);
        for record in shot.sidecar.records.iter().chain(&shot.superseded) {
            group.records.insert(record.key.clone(), record.clone());
        }
        Ok(shot.sidecar.records)
    }

    fn plan_put(&self, group: &Group, new: &[NewFile], now: &Stamp) -> Result<Shot, SpoolError> {
        let mut shot = Shot {
            sequences: (self.next_sequence..).take(new.len()).collect(),
            sidecar: Sidecar { records: Vec::new(), supersedes: BTreeMap::new() },
            superseded: Vec::new(),
        };
        for (file, &sequence) in new.iter().zip(&shot.sequences) {
            shot.sidecar.records.extend(records_of(file, sequence, now));
            let Some(old) = file.supersedes else { continue };
            let mut records = self.records_of(group, old)?;
            if records.is_empty() {
                return Err(SpoolError::Unknown { what: format!("the superseded file {old}") });
            }
            for record in &mut records {
                record.apply(&Change::Supersede { by: sequence })?;
            }
            shot.superseded.extend(records);
            shot.sidecar.supersedes.insert(old, sequence);
        }
        Ok(shot)
    }

    /// Media first, then the sidecar: a sidecar promises that its media are there.
    fn write_shot(
        &mut self,
        group: &mut Group,
        new: &[NewFile],
        shot: &Shot,
        needed: u64,
    ) -> Result<(), SpoolError> {
        let (Some(first), Some(file)) = (shot.sequences.first(), new.first()) else { return Ok(()) };
        let session = &file.facts.session;
        let sidecar = shot.sidecar.encode().map_err(|what| SpoolError::Invalid { what })?;
        let names = new.iter().zip(&shot.sequences).map(|(file, sequence)| {
            (format!("{session}/{}", layout::media_name(*sequence, &file.extension)), file.bytes.clone())
        });
        let sidecar = (format!("{session}/{}", layout::sidecar_name(*first)), sidecar.into());
        let files: Vec<_> = names.chain([sidecar]).collect();
        let written = self
            .files
            .make_session(session, &mut self.made)
            .and_then(|()| write_hashed(&self.files, &files, new));
        if !matches!(written, Ok(Ok(()))) {
            self.take_back(files.iter().map(|(name, _)| name.as_str()));
        }
        // After a wrong hash no file got its name, so the numbers are still free.
        if !matches!(written, Ok(Err(_))) {
            self.next_sequence += new.len() as u64;
        }
        written.map_err(|error| self.failed("write the media of a shot", &error, needed))??;
        group.folders.insert(session.clone());
        group.written.extend(files.into_iter().map(|(name, _)| name));
        Ok(())
    }

    fn stage_commit(&mut self, group: &mut Group, commit: Commit) -> Result<Vec<Record>, SpoolError> {
        self.check_whole()?;
        for document in &commit.documents {
            layout::check_name("document", &document.id)?;
        }
        let mut changed: BTreeMap<Key, Record> = BTreeMap::new();
        for (key, change) in &commit.changes {
            let mut record = match changed.remove(key).or_else(|| group.records.get(key).cloned()) {
                Some(record) => record,
                None => {
                    self.store.record(key)?.ok_or_else(|| SpoolError::Unknown { what: key.to_string() })?
                }
            };
            record.apply(change)?;
            changed.insert(key.clone(), record);
        }
        let now = self.clock.now();
        self.append(group, commit.events, &now);
        let documents = commit.documents.into_iter();
        group.documents.extend(documents.map(|document| (document.id.clone(), document)));
        group.records.extend(changed.iter().map(|(key, record)| (key.clone(), record.clone())));
        Ok(changed.into_values().collect())
    }

    /// The sidecar that names `sequence`, if it can be read.
    pub fn sidecar_of(&self, session: &str, sequence: u64) -> Option<(String, Sidecar)> {
        let names = std::fs::read_dir(self.files.path(session)).ok()?;
        let first = names
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| layout::is_sidecar(name))
            .filter_map(|name| layout::sequence_of(&name))
            .filter(|first| *first <= sequence)
            .max()?;
        let name = layout::sidecar_name(first);
        let bytes = std::fs::read(self.files.path(&format!("{session}/{name}"))).ok()?;
        let sidecar = Sidecar::decode(&bytes).ok()?;
        sidecar.records.iter().any(|record| record.key.sequence == sequence).then_some((name, sidecar))
    }

    /// Replaces a small file of a session's folder, whole and durable.
    pub fn replace(&mut self, session: &str, name: &str, bytes: Vec<u8>) -> Result<(), SpoolError> {
        let name = format!("{session}/{name}");
        let needed = bytes.len() as u64;
        let bytes = Bytes::from(bytes);
        let written = self
            .files
            .make_session(session, &mut self.made)
            .and_then(|()| self.files.stage(&name, &bytes))
            .and_then(|()| self.files.rename(&name, &bytes))
            .and_then(|()| self.files.settle(session));
        written.map_err(|error| self.failed("replace a file of a session", &error, needed))
    }

    fn append(&self, group: &mut Group, events: impl IntoIterator<Item = NewEvent>, now: &Stamp) {
        for new in events {
            let previous = group.events.last().or(self.last_event.as_ref());
            let event = Event::append(previous, new, now.clone());
            group.events.push(event);
        }
    }

    /// All records of one file, as they will be after the group.
    fn records_of(&self, group: &Group, sequence: u64) -> Result<Vec<Record>, SpoolError> {
        let mut records = BTreeMap::new();
        self.store.scan(Scope::Sequence(sequence), &mut |record| {
            records.insert(record.key.clone(), record);
            true
        })?;
        let waiting = group.records.values().filter(|record| record.key.sequence == sequence);
        records.extend(waiting.map(|record| (record.key.clone(), record.clone())));
        Ok(records.into_values().collect())
    }

    fn finish(&mut self, mut group: Group) {
        if group.answers.is_empty() {
            return;
        }
        let outcome = self.write(&mut group);
        for (answer, records) in group.answers {
            reply(answer, outcome.clone().map(|()| records));
        }
    }

    fn write(&mut self, group: &mut Group) -> Result<(), SpoolError> {
        let settled = group.folders.iter().try_for_each(|session| self.files.settle(session));
        if let Err(error) = settled {
            self.take_back(group.written.iter().map(String::as_str));
            return Err(self.failed("make the names of a shot durable", &error, group.needed));
        }
        let before = group.records.keys().map(|key| self.store.record(key)).collect::<Result<Vec<_>, _>>();
        let batch = Batch {
            records: group.records.values().cloned().collect(),
            removed: Vec::new(),
            documents: group.documents.values().cloned().collect(),
            events: std::mem::take(&mut group.events),
        };
        let written = before.and_then(|before| self.store.commit(&batch).map(|()| before));
        let before = written.map_err(|error| self.not_committed(group, error))?;
        for (before, after) in before.iter().zip(&batch.records) {
            self.mirror.replace(before.as_ref(), after);
        }
        self.log = self.log.or(batch.events.first().map(|first| first.hash));
        if let Some(last) = batch.events.into_iter().next_back() {
            self.changed.send_replace(last.sequence);
            self.last_event = Some(last);
        }
        Ok(())
    }

    /// A full disk leaves nothing behind. After any other failure nobody knows what the index holds, so the files stay:
    /// better a picture that nobody was promised than a promise without its picture.
    fn not_committed(&mut self, group: &Group, error: StoreError) -> SpoolError {
        self.broken = Some(error.to_string());
        match error {
            StoreError::Full(_) => {
                self.take_back(group.written.iter().map(String::as_str));
                self.full(group.needed)
            }
            error => error.into(),
        }
    }

    /// Sidecars first: media without one were never promised.
    fn take_back<'a>(&self, names: impl DoubleEndedIterator<Item = &'a str>) {
        for name in names.rev() {
            if let Err(error) = self.files.remove(name) {
                tracing::error!(%name, %error, "cannot take back a file of a shot that was not kept");
            }
        }
    }

    pub fn check_whole(&self) -> Result<(), SpoolError> {
        match &self.broken {
            Some(cause) => Err(SpoolError::Storage { tried: "go on after a failure", cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn check_room(&mut self, needed: u64) -> Result<(), SpoolError> {
        let free =
            self.files.free_bytes().map_err(|error| self.failed("read the free bytes", &error, needed))?;
        if free.saturating_sub(needed) < self.limits.free_bytes_hard {
            return Err(SpoolError::DiskFull {
                free,
                needed: needed.saturating_add(self.limits.free_bytes_hard),
            });
        }
        Ok(())
    }

    fn full(&self, needed: u64) -> SpoolError {
        SpoolError::DiskFull { free: self.files.free_bytes().unwrap_or(0), needed }
    }

    /// A full disk is an answer; after any other error nobody knows what the disk holds.
    pub fn failed(&mut self, tried: &'static str, error: &io::Error, needed: u64) -> SpoolError {
        if is_full(error) {
            return self.full(needed);
        }
        self.broken = Some(format!("{tried}: {error}"));
        SpoolError::Storage { tried, cause: error.to_string() }
    }
}

/// Writes and syncs files while a second thread hashes what is put: one waits for the disk, the other for the
/// processor. They get their names when both went well.
fn write_hashed(
    to: &Files,
    files: &[(String, Bytes)],
    new: &[NewFile],
) -> io::Result<Result<(), SpoolError>> {
    let (staged, hashed) = std::thread::scope(|scope| {
        let hashing = std::thread::Builder::new().spawn_scoped(scope, || check_hashes(new));
        let staged = files.iter().try_for_each(|(name, bytes)| to.stage(name, bytes));
        let hashed = match hashing {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => check_hashes(new),
        };
        (staged, hashed)
    });
    staged?;
    if hashed.is_ok() {
        files.iter().try_for_each(|(name, bytes)| to.rename(name, bytes))?;
    }
    Ok(hashed)
}

fn check_hashes(new: &[NewFile]) -> Result<(), SpoolError> {
    for file in new {
        let computed = Sha256::of(&file.bytes);
        if computed != file.sha256 {
            return Err(SpoolError::Mismatch { given: file.sha256, computed });
        }
    }
    Ok(())
}

/// One put, planned.
struct Shot {
    sequences: Vec<u64>,
    sidecar: Sidecar,
    superseded: Vec<Record>,
}

fn records_of(file: &NewFile, sequence: u64, now: &Stamp) -> Vec<Record> {
    let nowhere = [String::new()];
    let destinations = if file.destinations.is_empty() { &nowhere[..] } else { &file.destinations };
    let record = |destination: &String| Record {
        schema: RECORD_SCHEMA,
        key: Key { sequence, product: file.product.clone(), destination: destination.clone() },
        state: State::Captured,
        facts: file.facts.clone(),
        sha256: file.sha256,
        length: file.bytes.len() as u64,
        media: format!("{}/{}", file.facts.session, layout::media_name(sequence, &file.extension)),
        captured_at: now.clone(),
        superseded_by: None,
        attempts: 0,
        next_attempt: None,
        failure: None,
        receipt: None,
        for_good: false,
        confirmed_at: None,
        meta: file.meta.clone(),
    };
    destinations.iter().map(record).collect()
}

fn captured(file: &NewFile, sequence: u64) -> NewEvent {
    let facts = &file.facts;
    NewEvent {
        kind: "frame.captured".to_owned(),
        actor: facts.actor.clone(),
        session: Some(facts.session.clone()),
        data: serde_json::json!({
            "sequence": sequence,
            "product": file.product,
            "camera": facts.camera,
            "shot": facts.shot,
            "take": facts.take,
            "angle": facts.angle_reached.or(facts.angle_commanded),
            "sha256": file.sha256,
            "length": file.bytes.len(),
            "supersedes": file.supersedes,
            "trace_id": facts.trace_id,
        }),
    }
}

/// Nobody waits any more: the caller was dropped, what was asked is done all the same.
pub(crate) fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    drop(answer.send(value));
}
