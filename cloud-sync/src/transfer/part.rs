//! A file that is being fetched: `FILE.part` beside the place where it will lie, and `FILE.part.of`, which says of what
//! it is a part.
//!
//! Bytes are handed to the disk in large pieces on a thread that may wait for it. After a power cut the part may end
//! anywhere, or hold bytes that never arrived: the hash of the whole decides.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::TransferError;
use crate::Sha256;
use crate::spool::repair::hash_file;

/// Bytes that are collected before they are written.
const PIECE: usize = 512 << 10;

/// What tells one version of a file on a server from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validator(pub String);

/// See the module.
pub(super) struct Part {
    place: Place,
    file: File,
    length: u64,
    ahead: Vec<u8>,
    validator: Option<Validator>,
}

/// Names, and what it will be.
#[derive(Clone)]
struct Place {
    to: PathBuf,
    part: PathBuf,
    of: PathBuf,
    sha256: Sha256,
}

impl Part {
    /// What was kept of it, or an empty one; `None` if the whole file is there already.
    pub async fn open(to: &Path, sha256: Sha256, bytes_max: u64) -> Result<Option<Self>, TransferError> {
        let named = |end: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let place = Place { part: named(".part"), of: named(".part.of"), to: to.to_owned(), sha256 };
        on_disk(&place.clone(), move || opened(place, bytes_max)).await
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Which version of the server's file it is of.
    pub fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }

    /// Empties it for a version of the server's file.
    pub async fn begin(&mut self, validator: Option<Validator>) -> Result<(), TransferError> {
        self.clear().await?;
        let text = format!("{}\n{}\n", self.place.sha256, validator.as_ref().map_or("", |one| &one.0));
        self.validator = validator;
        let of = self.place.of.clone();
        on_disk(&self.place, move || fs::write(of, text)).await
    }

    /// Empties it.
    pub async fn clear(&mut self) -> Result<(), TransferError> {
        self.ahead.clear();
        self.length = 0;
        self.validator = None;
        self.on_file(|file| {
            file.set_len(0)?;
            file.rewind()
        })
        .await
    }

    /// Adds what came next.
    pub async fn append(&mut self, piece: &[u8]) -> Result<(), TransferError> {
        self.ahead.extend_from_slice(piece);
        self.length += piece.len() as u64;
        if self.ahead.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    /// Hands all of it to the disk.
    pub async fn flush(&mut self) -> Result<(), TransferError> {
        let ahead = std::mem::take(&mut self.ahead);
        if ahead.is_empty() {
            return Ok(());
        }
        self.on_file(move |file| file.write_all(&ahead)).await
    }

    /// Gives it its name, if it is what it should be; otherwise it is handed back.
    pub async fn finish(mut self) -> Result<Option<Self>, TransferError> {
        self.on_file(|file| file.sync_all()).await?;
        let place = self.place.clone();
        let good = on_disk(&self.place, move || {
            if hash_file(&place.part)? != place.sha256 {
                return Ok(false);
            }
            fs::rename(&place.part, &place.to)?;
            File::open(folder_of(&place.to))?.sync_all()?;
            drop(fs::remove_file(&place.of));
            Ok(true)
        });
        Ok(if good.await? { None } else { Some(self) })
    }

    async fn on_file(
        &mut self,
        act: impl FnOnce(&mut File) -> io::Result<()> + Send + 'static,
    ) -> Result<(), TransferError> {
        let file = self.file.try_clone();
        on_disk(&self.place, move || act(&mut file?)).await
    }
}

fn opened(place: Place, bytes_max: u64) -> io::Result<Option<Part>> {
    if place.to.is_file() && hash_file(&place.to)? == place.sha256 {
        return Ok(None);
    }
    let of = fs::read_to_string(&place.of).unwrap_or_default();
    let mut lines = of.lines();
    let same = lines.next() == Some(place.sha256.to_string().as_str());
    let validator = lines.next().filter(|line| same && !line.is_empty());
    let validator = validator.map(|line| Validator(line.to_owned()));
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(!same).open(&place.part)?;
    let mut length = file.seek(SeekFrom::End(0))?;
    if length > bytes_max {
        file.set_len(0)?;
        length = file.seek(SeekFrom::Start(0))?;
    }
    Ok(Some(Part { place, file, length, ahead: Vec::new(), validator }))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

async fn on_disk<T: Send + 'static>(
    place: &Place,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, TransferError> {
    let done = tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        let folder = folder_of(&place.to).display();
        let reason = format!("what is fetched cannot be kept in {folder} ({error}): check the disk");
        TransferError::later("transfer-disk", reason)
    })
}
