//! How far a destination was told of the event log: a small file for each in the spool's folder.
//!
//! At least once: it is written after the telling. Whole or not at all, even when the power goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::directory::escape;

/// Version of the file. Another one is treated as a missing file.
const CURSOR_SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Whose events were told.
    pub org: String,
    /// Sequence of the last one.
    pub told: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    #[serde(flatten)]
    cursor: Cursor,
}

/// Where the telling goes on. `new` is for a destination or an organisation that was never told anything.
pub(super) fn open(dir: &Path, destination: &str, new: Cursor) -> io::Result<u64> {
    let known = match fs::read(path(dir, destination)) {
        Ok(bytes) => serde_json::from_slice::<Stored>(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match known {
        // A rebuilt index may have a shorter log.
        Some(Stored { schema: CURSOR_SCHEMA, cursor })
            if cursor.org == new.org && cursor.told <= new.told =>
        {
            Ok(cursor.told)
        }
        _ => write(dir, destination, &new).map(|()| new.told),
    }
}

/// Forgets where other organisations stood, for every destination: should the station come back to one, what happened
/// in the meantime must not be told there.
pub(super) fn forget_others(dir: &Path, org: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with("told-") && name.ends_with(".json")) {
            continue;
        }
        let stored = serde_json::from_slice::<Stored>(&fs::read(entry.path())?).ok();
        if stored.is_none_or(|stored| stored.cursor.org != org) {
            fs::remove_file(entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

pub(super) fn write(dir: &Path, destination: &str, cursor: &Cursor) -> io::Result<()> {
    let path = path(dir, destination);
    let part = path.with_extension("part");
    let stored = Stored { schema: CURSOR_SCHEMA, cursor: cursor.clone() };
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec(&stored)?)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    File::open(dir)?.sync_all()
}

fn path(dir: &Path, destination: &str) -> PathBuf {
    dir.join(format!("told-{}.json", escape(destination)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(org: &str, told: u64) -> Cursor {
        Cursor { org: org.to_owned(), told }
    }

    #[test]
    fn a_new_destination_or_organisation_begins_at_the_end_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path(), "a/cloud", end("org", 7)).unwrap(), 7);
        assert_eq!(open(dir.path(), "a/cloud", end("org", 9)).unwrap(), 7, "two are still to be told");
        write(dir.path(), "a/cloud", &end("org", 8)).unwrap();
        assert_eq!(open(dir.path(), "a/cloud", end("org", 9)).unwrap(), 8);
        assert_eq!(open(dir.path(), "other", end("org", 9)).unwrap(), 9);
        assert_eq!(open(dir.path(), "a/cloud", end("new", 12)).unwrap(), 12);
        assert_eq!(
            open(dir.path(), "a/cloud", end("org", 20)).unwrap(),
            20,
            "back again: still nothing of then"
        );
        assert_eq!(open(dir.path(), "a/cloud", end("org", 3)).unwrap(), 3, "the log was rebuilt");
    }

    #[test]
    fn a_destination_that_was_away_while_another_organisation_owned_the_station_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "cloud", &end("org", 7)).unwrap();
        write(dir.path(), "other", &end("new", 8)).unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        forget_others(dir.path(), "new").unwrap();
        assert_eq!(open(dir.path(), "cloud", end("org", 20)).unwrap(), 20);
        assert_eq!(open(dir.path(), "other", end("new", 20)).unwrap(), 8);
        assert!(dir.path().join("lock").exists());
    }

    #[test]
    fn a_damaged_or_newer_file_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"schema\":2,\"org\":\"org\",\"told\":1}"] {
            fs::write(path(dir.path(), "cloud"), text).unwrap();
            assert_eq!(open(dir.path(), "cloud", end("org", 5)).unwrap(), 5, "{text}");
        }
    }
}
