//! One folder of the destination, opened without following symbolic links, and what is done in it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Fault, Source, hash_of};
use crate::Sha256;

const PIECE_BYTES: usize = 256 << 10;

/// See the module.
pub(super) struct Folder {
    fd: OwnedFd,
    /// For messages.
    shown: String,
}

impl Folder {
    /// The root of the destination.
    pub fn root(path: &Path) -> Result<Self, Fault> {
        let shown = path.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd, shown })
    }

    /// Whether both are one folder of one file system.
    pub fn is_same(&self, other: &Self) -> Result<bool, Fault> {
        let (one, two) = (rustix::fs::fstat(&self.fd)?, rustix::fs::fstat(&other.fd)?);
        Ok((one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
    }

    /// The folder `name` in this one, made when missing.
    pub fn enter(&self, name: &str) -> Result<Self, Fault> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.settle()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.open(name, flags)?;
        Ok(Self { fd, shown: format!("{}/{name}", self.shown) })
    }

    /// The file `name`, read only; `None` when there is none.
    pub fn file(&self, name: &str) -> Result<Option<File>, Fault> {
        // NONBLOCK: opening a pipe that someone put there must not hang.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match self.open(name, flags) {
            Ok(fd) => File::from(fd),
            Err(Fault::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        match file.metadata()?.is_file() {
            true => Ok(Some(file)),
            false => Err(Fault::Conflict(name.to_owned())),
        }
    }

    /// Hash of the file as it lies on the medium: the page cache is asked to forget it first.
    pub fn hash(&self, name: &str) -> Result<Option<Sha256>, Fault> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed) {
            tracing::debug!(%name, %error, "the page cache keeps the file");
        }
        Ok(Some(hash_of(file)?))
    }

    /// Makes the names in this folder durable. Some network file systems cannot sync a folder and say so.
    fn settle(&self) -> Result<(), Fault> {
        match rustix::fs::fsync(&self.fd) {
            Err(error) if error != Errno::INVAL && error != Errno::NOTSUP => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes what `source` gives under a temporary name, syncs it, and only then gives it its name. Gives the hash of
    /// what was written. After an error the name is as it was.
    pub fn replace(&self, name: &str, source: Source) -> Result<Sha256, Fault> {
        let temporary = format!(".turnstage-{name}.tmp");
        // Left by a delivery that was cut short.
        self.unlink(&temporary)?;
        let written = self.write(&temporary, source).and_then(|hash| {
            rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)?;
            self.settle()?;
            Ok(hash)
        });
        if written.is_err() {
            self.discard(&temporary);
        }
        written
    }

    fn write(&self, name: &str, mut source: Source) -> Result<Sha256, Fault> {
        use sha2::Digest;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))?;
        let mut file = File::from(fd);
        let mut digest = sha2::Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut piece)? {
                0 => break,
                length => {
                    digest.update(&piece[..length]);
                    file.write_all(&piece[..length])?;
                }
            }
        }
        file.sync_all()?;
        Ok(Sha256::from_bytes(digest.finalize().into()))
    }

    /// Deletes a file that must not stay. At best: the medium may be gone.
    pub fn discard(&self, name: &str) {
        if let Err(fault) = self.unlink(name) {
            tracing::warn!(folder = %self.shown, %name, ?fault, "cannot delete a file that should not stay");
        }
    }

    fn unlink(&self, name: &str) -> Result<(), Fault> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A symbolic link shows as one of several errors, by flags and kernel.
    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Fault> {
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|error| {
            let shown = format!("{}/{name}", self.shown);
            match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Fault::Link(shown),
                Ok(_) if error == Errno::NOTDIR => Fault::Conflict(shown),
                _ => error.into(),
            }
        })
    }
}
