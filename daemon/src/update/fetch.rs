//! How a bundle comes here: over HTTPS by whoever transfers files for the station, or from a stick.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use turnstage_cloud_sync::Sha256;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Why a bundle is not here, named for what is done next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Tried again later; what is here of it is kept.
    #[error("{reason} ({rule})")]
    Later {
        /// Stable rule id.
        rule: String,
        /// Plain sentence.
        reason: String,
    },
    /// The same again would not help.
    #[error("{reason} ({rule})")]
    Never {
        /// Stable rule id.
        rule: String,
        /// Plain sentence with what to do.
        reason: String,
    },
}

/// Fetches files of known hashes.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Fetches `url` to `to`: to `to`.part first, going on where that was cut, and renamed once its hash is right and it is
    /// on the disk. More than `bytes_max` is refused. `progress` is told how many bytes are here. Dropping the future ends
    /// it and keeps what is here.
    async fn fetch(
        &self,
        url: &str,
        to: &Path,
        sha256: Sha256,
        bytes_max: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), FetchError>;
}

fn later(rule: &str, reason: impl Into<String>) -> FetchError {
    FetchError::Later { rule: rule.to_owned(), reason: reason.into() }
}

fn never(rule: &str, reason: impl Into<String>) -> FetchError {
    FetchError::Never { rule: rule.to_owned(), reason: reason.into() }
}

/// Copies a bundle from a path of this machine, such as a stick, in pieces off the runtime's threads.
pub(super) async fn copy(
    from: &Path,
    to: &Path,
    sha256: Sha256,
    bytes_max: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), FetchError> {
    let mut copy = Copy::begin(from.to_owned(), to.to_owned())?;
    loop {
        let step = tokio::task::spawn_blocking(move || copy.step(bytes_max).map(|more| (copy, more))).await;
        let (kept, more) = step.map_err(|error| later("update-copy", error.to_string()))??;
        copy = kept;
        progress(copy.done);
        if !more {
            return tokio::task::spawn_blocking(move || copy.end(sha256))
                .await
                .map_err(|error| later("update-copy", error.to_string()))?;
        }
    }
}

/// A copy under way.
struct Copy {
    from: PathBuf,
    to: PathBuf,
    done: u64,
}

impl Copy {
    fn begin(from: PathBuf, to: PathBuf) -> Result<Self, FetchError> {
        let done = fs::metadata(part(&to)).map_or(0, |part| part.len());
        let missing = |why: &dyn std::fmt::Display| {
            let todo = "Plug the stick in, then repeat it.";
            never("update-file-missing", format!("{}: {why}. {todo}", from.display()))
        };
        let there = fs::metadata(&from).map_err(|error| missing(&error))?;
        if !there.is_file() {
            // A device may have no end.
            return Err(missing(&"this is no file"));
        }
        // What is here of another, shorter file is worth nothing.
        let done = if done <= there.len() { done } else { 0 };
        Ok(Self { from, to, done })
    }

    /// The next piece; whether there is more.
    fn step(&mut self, bytes_max: u64) -> Result<bool, FetchError> {
        let here =
            |error: std::io::Error| later("update-copy", format!("the bundle cannot be copied: {error}"));
        let mut from = File::open(&self.from).map_err(here)?;
        from.seek(SeekFrom::Start(self.done)).map_err(here)?;
        let mut piece = Vec::new();
        from.take(PIECE as u64).read_to_end(&mut piece).map_err(here)?;
        let mut to =
            OpenOptions::new().create(true).truncate(false).write(true).open(part(&self.to)).map_err(here)?;
        to.set_len(self.done).map_err(here)?;
        to.seek(SeekFrom::End(0)).map_err(here)?;
        to.write_all(&piece).map_err(here)?;
        self.done += piece.len() as u64;
        if self.done > bytes_max {
            let reason = format!("the bundle has more than the {bytes_max} bytes that there is room for");
            return Err(never("update-too-large", reason));
        }
        Ok(piece.len() == PIECE)
    }

    fn end(self, sha256: Sha256) -> Result<(), FetchError> {
        let here =
            |error: std::io::Error| later("update-copy", format!("the bundle cannot be kept: {error}"));
        let path = part(&self.to);
        let is = File::open(&path).and_then(|mut file| Sha256::of_reader(&mut file)).map_err(here)?;
        if is != sha256 {
            drop(fs::remove_file(&path));
            // Which it is instead is nobody's business: whoever asks may have named any file of this machine.
            let reason = format!("the bundle is not the one that was asked for: its hash is not {sha256}");
            return Err(never("update-hash", reason));
        }
        File::open(&path).and_then(|file| file.sync_all()).map_err(here)?;
        fs::rename(&path, &self.to).map_err(here)?;
        let folder = self.to.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(here)
    }
}

fn part(to: &Path) -> PathBuf {
    to.with_extension("raucb.part")
}

/// The path of a bundle on this machine, by its address.
pub(super) fn local(url: &str) -> Option<&Path> {
    url.strip_prefix("file://").map(Path::new).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn bytes() -> Vec<u8> {
        (0..PIECE + 1000).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_copy_goes_on_where_it_was_cut_and_what_is_not_the_bundle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("stick"), folder.path().join("x.raucb"));
        fs::write(&from, bytes()).unwrap();
        fs::write(part(&to), &bytes()[..500]).unwrap();
        let told = Mutex::new(Vec::new());
        let progress = |done| told.lock().unwrap().push(done);
        copy(&from, &to, Sha256::of(&bytes()), u64::MAX, &progress).await.unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes());
        assert_eq!(*told.lock().unwrap(), [PIECE as u64 + 500, PIECE as u64 + 1000]);

        let other = folder.path().join("y.raucb");
        let wrong = copy(&from, &other, Sha256::of(b"other"), u64::MAX, &|_| ()).await.unwrap_err();
        assert!(matches!(&wrong, FetchError::Never { rule, .. } if rule == "update-hash"), "{wrong:?}");
        assert!(!other.exists() && !part(&other).exists());
        let large = copy(&from, &other, Sha256::of(&bytes()), 100, &|_| ()).await.unwrap_err();
        assert!(matches!(&large, FetchError::Never { rule, .. } if rule == "update-too-large"), "{large:?}");
        for none in [folder.path().join("none"), PathBuf::from("/dev/zero")] {
            let gone = copy(&none, &other, Sha256::of(b""), 1, &|_| ()).await.unwrap_err();
            assert!(
                matches!(&gone, FetchError::Never { rule, .. } if rule == "update-file-missing"),
                "{gone:?}"
            );
        }
    }

    #[test]
    fn only_an_absolute_path_is_a_file_of_this_machine() {
        assert_eq!(local("file:///media/stick/7.raucb"), Some(Path::new("/media/stick/7.raucb")));
        for other in ["file://host/x", "file:x", "https://x/y", "/media/stick/7.raucb"] {
            assert_eq!(local(other), None, "{other}");
        }
    }
}
