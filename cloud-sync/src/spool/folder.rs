//! Opening: reads the media folder, clears away what was never promised, and gives what the index does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::spool::SpoolError;
use crate::spool::keeper::Keeper;
use crate::spool::layout::{self, SESSION_FILE, SessionFile, Sidecar, TEMPORARY, Unreadable};
use crate::spool::recover::{Opened, io_failed};
use crate::store::Scope;

/// What the media folder knows and the index does not.
#[derive(Default)]
pub(super) struct Folder {
    pub sidecars: Vec<Sidecar>,
    pub sessions: BTreeMap<String, SessionFile>,
    pub sequence_max: u64,
}

impl Folder {
    pub fn read(dir: &Path, keeper: &Keeper, opened: &mut Opened) -> Result<Self, SpoolError> {
        let failed = io_failed("read the media folder");
        let mut folder = Self::default();
        for entry in fs::read_dir(dir.join("media")).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().map_err(&failed)?.is_dir() && layout::check_name("session", &name).is_ok() {
                folder.read_session(dir, &name, keeper, opened)?;
            }
        }
        folder.sidecars.sort_by_key(|sidecar| sidecar.records.first().map(|record| record.key.sequence));
        Ok(folder)
    }

    fn read_session(
        &mut self,
        dir: &Path,
        session: &str,
        keeper: &Keeper,
        opened: &mut Opened,
    ) -> Result<(), SpoolError> {
        let failed = io_failed("read a session's folder");
        let path = dir.join("media").join(session);
        let (mut known, mut indexed, mut deleted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        keeper.store.scan(Scope::Session(session), &mut |record| {
            indexed.insert(record.key.sequence);
            if record.media.is_empty() {
                deleted.insert(record.key.sequence);
            }
            known.insert(record.media);
            true
        })?;
        let mut media = Vec::new();
        for entry in fs::read_dir(&path).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name().to_string_lossy().into_owned();
            if name.ends_with(TEMPORARY) {
                fs::remove_file(path.join(&name)).map_err(&failed)?;
                opened.temporaries += 1;
            } else if name == SESSION_FILE {
                self.read_session_file(dir, session, opened)?;
            } else if layout::is_sidecar(&name) {
                let first = layout::sequence_of(&name).unwrap_or(0);
                self.sequence_max = self.sequence_max.max(first);
                if !indexed.contains(&first) {
                    self.read_sidecar(dir, session, &name, &mut known, opened)?;
                }
            } else {
                media.push(name);
            }
        }
        let strays = media.into_iter().filter(|name| !known.contains(&format!("{session}/{name}")));
        for name in strays {
            // The index had forgotten confirmed media when the process died before it deleted them.
            if layout::sequence_of(&name).is_some_and(|sequence| deleted.contains(&sequence)) {
                fs::remove_file(path.join(&name)).map_err(&failed)?;
                continue;
            }
            self.sequence_max = self.sequence_max.max(layout::sequence_of(&name).unwrap_or(0));
            set_file_aside(dir, session, &name)?;
            opened.orphans += 1;
        }
        Ok(())
    }

    fn read_session_file(
        &mut self,
        dir: &Path,
        session: &str,
        opened: &mut Opened,
    ) -> Result<(), SpoolError> {
        let path = dir.join("media").join(session).join(SESSION_FILE);
        let bytes = fs::read(&path).map_err(io_failed("read a session's document"))?;
        match SessionFile::decode(&bytes) {
            Ok(file) if file.id == session => {
                self.sessions.insert(file.id.clone(), file);
            }
            Err(Unreadable::TooNew { found, known }) => return Err(SpoolError::TooNew { found, known }),
            Ok(_) | Err(Unreadable::Damaged(_)) => {
                set_file_aside(dir, session, SESSION_FILE)?;
                let sentence = format!("{} was damaged and was put aside in orphans", path.display());
                opened.find("spool.session-file-damaged", sentence, json!({"session": session}));
            }
        }
        Ok(())
    }

    fn read_sidecar(
        &mut self,
        dir: &Path,
        session: &str,
        name: &str,
        known: &mut BTreeSet<String>,
        opened: &mut Opened,
    ) -> Result<(), SpoolError> {
        let path = dir.join("media").join(session).join(name);
        let bytes = fs::read(&path).map_err(io_failed("read a sidecar"))?;
        match Sidecar::decode(&bytes) {
            Ok(sidecar) => {
                let sequences = sidecar.records.iter().map(|record| record.key.sequence);
                self.sequence_max = sequences.max().unwrap_or(0).max(self.sequence_max);
                known.extend(sidecar.records.iter().map(|record| record.media.clone()));
                self.sidecars.push(sidecar);
            }
            Err(Unreadable::TooNew { found, known }) => return Err(SpoolError::TooNew { found, known }),
            Err(Unreadable::Damaged(what)) => {
                set_file_aside(dir, session, name)?;
                opened.sidecars_damaged += 1;
                let sentence = format!(
                    "the sidecar {} is damaged ({what}) and the index does not know its pictures: they are kept in \
                     orphans, sort them by hand or shoot them again",
                    path.display()
                );
                opened.find("spool.sidecar-damaged", sentence, json!({"session": session, "sidecar": name}));
            }
        }
        Ok(())
    }
}

fn set_file_aside(dir: &Path, session: &str, name: &str) -> Result<(), SpoolError> {
    let failed = io_failed("put a file aside");
    let orphans = dir.join("orphans").join(session);
    fs::create_dir_all(&orphans).map_err(&failed)?;
    fs::rename(dir.join("media").join(session).join(name), orphans.join(name)).map_err(&failed)
}
