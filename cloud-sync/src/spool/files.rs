//! The media folder: on disk, or in memory for tests.
//!
//! `write` puts a file under its final name, whole and synced; `settle` makes the names of a folder durable, once for
//! all files of a put. Only `std::fs` is used, so that every write and sync passes through the C library, where the
//! power-loss test listens.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::spool::layout::TEMPORARY;

/// Files by `<session>/<name>`.
#[derive(Debug, Clone)]
pub enum Files {
    /// Below this spool folder.
    Disk(PathBuf),
    /// Until the last clone is dropped.
    Ram(Arc<Mutex<HashMap<String, Bytes>>>),
}

impl Files {
    /// Empty, in memory.
    pub fn ram() -> Self {
        Self::Ram(Arc::default())
    }

    /// Where a media file lies, for people and for reading. In memory: a name only.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Disk(dir) => dir.join("media").join(name),
            Self::Ram(_) => Path::new("memory").join(name),
        }
    }

    /// Bytes held in memory; `None` on disk or when missing.
    pub fn held(&self, name: &str) -> Option<Bytes> {
        match self {
            Self::Disk(_) => None,
            Self::Ram(files) => files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned(),
        }
    }

    /// Makes the session's folder durable; `made` remembers which are.
    pub fn make_session(&self, session: &str, made: &mut BTreeSet<String>) -> io::Result<()> {
        let Self::Disk(dir) = self else { return Ok(()) };
        if made.contains(session) {
            return Ok(());
        }
        let media = dir.join("media");
        match fs::create_dir(media.join(session)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_dir(&media)?,
        }
        made.insert(session.to_owned());
        Ok(())
    }

    /// Writes and syncs `bytes` under a temporary name. Give it its name with [`Files::rename`].
    pub fn stage(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let Self::Disk(_) = self else { return Ok(()) };
        let mut file = File::create(self.temporary(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives a staged file its name. Durable after [`Files::settle`].
    pub fn rename(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        match self {
            Self::Disk(_) => fs::rename(self.temporary(name), self.path(name)),
            Self::Ram(files) => {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.insert(name.to_owned(), bytes.clone());
                Ok(())
            }
        }
    }

    /// Makes the names in a session's folder durable.
    pub fn settle(&self, session: &str) -> io::Result<()> {
        match self {
            Self::Disk(_) => sync_dir(&self.path(session)),
            Self::Ram(_) => Ok(()),
        }
    }

    /// Deletes a file and what may be left of its writing. A missing one is fine.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Disk(_) => {
                remove_if_there(&self.temporary(name))?;
                remove_if_there(&self.path(name))
            }
            Self::Ram(files) => {
                files.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                Ok(())
            }
        }
    }

    /// Free bytes for unprivileged writers; without limit in memory.
    pub fn free_bytes(&self) -> io::Result<u64> {
        match self {
            Self::Disk(dir) => free_bytes(dir),
            Self::Ram(_) => Ok(u64::MAX),
        }
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}{TEMPORARY}"))
    }
}

/// Free bytes of the file system that holds `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Deletes a file; a missing one is fine.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
