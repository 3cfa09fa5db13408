//! Commits that a session's folder must know of: documents and items.
//!
//! Such a commit is written whole into the session's file before the index sees it. From then on it has happened: a
//! crash in between is completed on the next opening, and an index that was lost, or that a bad disk set back, learns
//! it from there. It therefore runs alone, never in a group. A full disk takes it back.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::NewEvent;
use crate::queue::{Change, Record, State};
use crate::spool::files::Files;
use crate::spool::keeper::Keeper;
use crate::spool::layout::{SESSION_FILE, SessionFile};
use crate::spool::{Commit, SpoolError};
use crate::store::{Document, Scope};

/// Whether the folder must know of a commit.
pub(super) fn concerns_folder(commit: &Commit) -> bool {
    let moves = |change: &Change| matches!(change, Change::MoveItem { .. });
    !commit.documents.is_empty() || commit.changes.iter().any(|(_, change)| moves(change))
}

impl Keeper {
    /// Writes the session files, then the index.
    pub fn commit_with_folder(&mut self, mut commit: Commit) -> Result<Vec<Record>, SpoolError> {
        let Files::Disk(_) = self.files else { return self.commit(commit) };
        if commit.events.is_empty() {
            // Without an event nobody could tell whether the index knows this commit.
            commit.events.push(saved(&commit));
        }
        self.rehearse(&commit)?;
        let files = self.session_files(&commit)?;
        let mut before = Vec::new();
        let written = files.iter().try_for_each(|file| {
            let path = self.files.path(&format!("{}/{SESSION_FILE}", file.id));
            before.push((file.id.clone(), std::fs::read(path).ok()));
            let bytes = file.encode().map_err(|what| SpoolError::Invalid { what })?;
            self.replace(&file.id, SESSION_FILE, bytes)
        });
        let outcome = written.and_then(|()| self.commit(commit));
        if let Err(SpoolError::DiskFull { .. } | SpoolError::Refused(_) | SpoolError::Invalid { .. }) =
            outcome
        {
            before.into_iter().for_each(|(session, bytes)| self.restore(&session, bytes));
        }
        outcome
    }

    /// Finds what would be refused while nothing is written yet.
    fn rehearse(&self, commit: &Commit) -> Result<(), SpoolError> {
        self.check_whole()?;
        let mut records: BTreeMap<_, Record> = BTreeMap::new();
        for document in &commit.documents {
            super::layout::check_name("document", &document.id)?;
        }
        for (key, change) in &commit.changes {
            let record = match records.remove(key) {
                Some(record) => Some(record),
                None => self.store.record(key)?,
            };
            let mut record = record.ok_or_else(|| SpoolError::Unknown { what: key.to_string() })?;
            record.apply(change)?;
            records.insert(key, record);
        }
        Ok(())
    }

    fn session_files(&self, commit: &Commit) -> Result<Vec<SessionFile>, SpoolError> {
        let mut moved: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
        for (key, change) in &commit.changes {
            if let (Change::MoveItem { item }, Some(record)) = (change, self.store.record(key)?) {
                moved.entry(record.facts.session).or_default().insert(key.sequence, item.clone());
            }
        }
        let documents: BTreeMap<&str, &Document> =
            commit.documents.iter().map(|document| (document.id.as_str(), document)).collect();
        let sessions: BTreeSet<&str> =
            documents.keys().copied().chain(moved.keys().map(String::as_str)).collect();
        let last = self.last_event.as_ref().map_or(0, |event| event.sequence);
        let file = |session: &str| {
            let document = match documents.get(session) {
                Some(document) => Some(document.value.clone()),
                None => self.store.document(session)?.map(|document| document.value),
            };
            let mut items = self.items(session)?;
            items.extend(moved.get(session).cloned().unwrap_or_default());
            Ok(SessionFile {
                id: session.to_owned(),
                log: self.log,
                event: last + commit.events.len() as u64,
                document,
                items,
                changes: commit.changes.clone(),
                events: commit.events.clone(),
            })
        };
        sessions.into_iter().map(file).collect()
    }

    /// Items that the session's file already tells of, or all, when it cannot be read.
    fn items(&self, session: &str) -> Result<BTreeMap<u64, String>, SpoolError> {
        let path = self.files.path(&format!("{session}/{SESSION_FILE}"));
        let file = match std::fs::read(path) {
            Ok(bytes) => SessionFile::decode(&bytes).ok(),
            Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then(SessionFile::default),
        };
        file.map_or_else(|| self.indexed_items(session), |file| Ok(file.items))
    }

    fn indexed_items(&self, session: &str) -> Result<BTreeMap<u64, String>, SpoolError> {
        let mut items = BTreeMap::new();
        self.store.scan(Scope::Session(session), &mut |record| {
            items.insert(record.key.sequence, record.facts.item);
            true
        })?;
        Ok(items)
    }

    /// Writes a session's file that was lost, from the index.
    pub fn write_session_file(&mut self, session: &str) -> Result<(), SpoolError> {
        let file = SessionFile {
            id: session.to_owned(),
            log: self.log,
            event: self.last_event.as_ref().map_or(0, |event| event.sequence),
            document: self.store.document(session)?.map(|document| document.value),
            items: self.indexed_items(session)?,
            ..SessionFile::default()
        };
        let bytes = file.encode().map_err(|what| SpoolError::Invalid { what })?;
        self.replace(session, SESSION_FILE, bytes)
    }

    /// At best: the disk may be the reason of the failure.
    fn restore(&mut self, session: &str, bytes: Option<Vec<u8>>) {
        let restored = match bytes {
            Some(bytes) => self.replace(session, SESSION_FILE, bytes),
            None => self
                .files
                .remove(&format!("{session}/{SESSION_FILE}"))
                .map_err(|error| self.failed("take back a session's file", &error, 0)),
        };
        if let Err(error) = restored {
            tracing::error!(%session, %error, "its file tells of a commit that was not acknowledged");
        }
    }

    /// What the session's file says and the index, whose newest event was `last`, does not: nothing, unless a commit
    /// was cut short or the index was lost or set back.
    pub fn behind(&self, file: &SessionFile, last: u64) -> Result<Commit, SpoolError> {
        let mut commit = Commit::default();
        if let Some(value) = &file.document {
            let document = Document { id: file.id.clone(), value: value.clone() };
            if self.store.document(&file.id)?.as_ref() != Some(&document) {
                commit.documents.push(document);
            }
        }
        let cut_short = file.event > last && file.log == self.log;
        let released = file.released();
        self.store.scan(Scope::Session(&file.id), &mut |mut record| {
            let mut changes = Vec::new();
            if let Some(item) =
                file.items.get(&record.key.sequence).filter(|item| **item != record.facts.item)
            {
                changes.push(Change::MoveItem { item: item.clone() });
            }
            if record.state == State::Captured && released.contains(&record.key.sequence) {
                changes.push(Change::Release);
            }
            if cut_short {
                let again = file.changes.iter().filter(|(key, _)| *key == record.key);
                changes.extend(again.map(|(_, change)| change.clone()));
            }
            for change in changes {
                if record.apply(&change).is_ok() {
                    commit.changes.push((record.key.clone(), change));
                }
            }
            true
        })?;
        if cut_short {
            commit.events.clone_from(&file.events);
        }
        Ok(commit)
    }
}

fn saved(commit: &Commit) -> NewEvent {
    let sessions: Vec<_> = commit.documents.iter().map(|document| document.id.as_str()).collect();
    NewEvent {
        kind: "session.saved".to_owned(),
        actor: "station".to_owned(),
        session: None,
        data: serde_json::json!({"sessions": sessions, "changes": commit.changes.len()}),
    }
}
