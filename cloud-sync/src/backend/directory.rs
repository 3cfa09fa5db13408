//! A folder as destination: a stick, a network share, another disk. Proof: read back from it and hashed.
//!
//! A file is written under a temporary name, synced and renamed, so a stick that is pulled never holds half a picture
//! under its name; then it is read back past the page cache. Every folder below the root is opened without following
//! symbolic links: a prepared stick must not lead the station into its own files. A manifest per session lists what
//! was delivered and with which hash.
//!
//! ```text
//! <root>/org/<org>/site/<site>/session/<session>/<file name>
//! <root>/org/<org>/site/<site>/session/<session>/manifest.json
//! ```
//! In names every byte but A-Z a-z 0-9 . _ - is written as %XX, and so is a dot at the beginning.

mod folder;
mod manifest;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rustix::io::Errno;

use crate::Sha256;
use crate::backend::{Backend, Delivery, Parcel, Payload, PutError, Receipt, Unit, Wants};
use crate::queue::Proof;

use folder::Folder;
pub use manifest::{MANIFEST, Manifest};

/// Where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// Name in the configuration; part of the queue's key.
    pub name: String,
    /// The folder.
    pub root: PathBuf,
    /// Make it when it is missing.
    pub create: bool,
    /// Take it only when something is mounted there: a pulled stick leaves an empty folder behind.
    pub require_mount: bool,
}

/// See the module.
pub struct DirectoryBackend {
    wants: Wants,
    shelf: Arc<Shelf>,
}

struct Shelf {
    options: DirectoryOptions,
    /// One delivery at a time: two would each write a manifest without the other's file.
    turn: Mutex<()>,
}

/// Why a step failed; [`Shelf::explain`] makes sentences of it.
#[derive(Debug)]
enum Fault {
    /// At the destination.
    Io(io::Error),
    /// A symbolic link stands in the way.
    Link(String),
    /// Another file stands in the way.
    Conflict(String),
    /// What was read back is not what was written.
    Readback(String),
    /// A name that the destination cannot have.
    Name(String),
    /// The local file cannot be read or is not what was captured.
    Local(String),
    /// The root is not there.
    Missing(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl DirectoryBackend {
    /// Touches nothing yet.
    pub fn new(options: DirectoryOptions) -> Self {
        let wants = Wants {
            products: Vec::new(),
            content_types: Vec::new(),
            capture_classes: vec!["durable".to_owned()],
            unit: Unit::File,
            proof: Proof::Readback,
        };
        Self { wants, shelf: Arc::new(Shelf { options, turn: Mutex::new(()) }) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, PutError> + Send + 'static,
    ) -> Result<T, PutError> {
        let shelf = Arc::clone(&self.shelf);
        tokio::task::spawn_blocking(move || work(&shelf)).await.unwrap_or_else(|error| {
            Err(PutError::later("destination-failed", format!("the delivery ended unexpectedly: {error}")))
        })
    }
}

#[async_trait]
impl Backend for DirectoryBackend {
    fn name(&self) -> &str {
        &self.shelf.options.name
    }

    fn wants(&self) -> &Wants {
        &self.wants
    }

    async fn ready(&self) -> Result<(), PutError> {
        self.blocking(|shelf| shelf.open_root().map(drop).map_err(|fault| shelf.explain(fault))).await
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Vec<Receipt>, PutError> {
        let files = delivery.files.clone();
        self.blocking(move |shelf| {
            let _turn = shelf.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let receipts = files.iter().map(|parcel| shelf.put(parcel));
            receipts.collect::<Result<_, _>>().map_err(|fault| shelf.explain(fault))
        })
        .await
    }
}

impl Shelf {
    fn put(&self, parcel: &Parcel) -> Result<Receipt, Fault> {
        let name = parcel.record.facts.file_name.as_str();
        if name.is_empty() || escape(name) != name || name == MANIFEST {
            return Err(Fault::Name(name.to_owned()));
        }
        // Read before anything is written: what is damaged here must not replace a good copy there.
        self.put_source(parcel, Source::open(parcel)?)
    }

    fn put_source(&self, parcel: &Parcel, source: Source) -> Result<Receipt, Fault> {
        let facts = &parcel.record.facts;
        let name = facts.file_name.as_str();
        let parts = ["org", &facts.org, "site", &facts.site, "session", &facts.session].map(escape);
        let root = self.open_root()?;
        let mut folder = root.enter(&parts[0])?;
        for part in &parts[1..] {
            folder = folder.enter(part)?;
        }
        let mut manifest = Manifest::read(&folder, &parcel.record)?;
        match folder.hash(name)? {
            Some(hash) if hash == parcel.sha256 => {}
            Some(_) if !manifest.names(name) => return Err(Fault::Conflict(name.to_owned())),
            _ => self.write(&folder, name, source, parcel.sha256)?,
        }
        manifest.write(&folder, parcel)?;
        // A file system that was unmounted under open files still takes them, and shows them to nobody.
        if !root.is_same(&self.open_root()?)? {
            return Err(Fault::Missing(format!(
                "{} changed while it was written to",
                self.options.root.display()
            )));
        }
        Ok(parcel.receipt(Proof::Readback, format!("{}/{name}", parts.join("/"))))
    }

    fn write(&self, folder: &Folder, name: &str, source: Source, sha256: Sha256) -> Result<(), Fault> {
        let sent = folder.replace(name, source)?;
        if sent != sha256 {
            folder.discard(name);
            return Err(Fault::Local(format!("the local copy of {name} changed while it was read")));
        }
        match folder.hash(name)? {
            Some(hash) if hash == sha256 => Ok(()),
            _ => {
                folder.discard(name);
                Err(Fault::Readback(name.to_owned()))
            }
        }
    }

    fn open_root(&self) -> Result<Folder, Fault> {
        let DirectoryOptions { root, create, require_mount, .. } = &self.options;
        let shown = root.display();
        if *create && !*require_mount && !root.exists() {
            std::fs::create_dir_all(root)?;
        }
        let here = match std::fs::symlink_metadata(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Fault::Missing(format!("{shown} is not there")));
            }
            outcome => outcome?,
        };
        if here.is_symlink() {
            return Err(Fault::Link(shown.to_string()));
        }
        if *require_mount && std::fs::metadata(root.join(".."))?.dev() == here.dev() {
            return Err(Fault::Missing(format!("nothing is mounted on {shown}")));
        }
        Folder::root(root)
    }

    fn explain(&self, fault: Fault) -> PutError {
        let DirectoryOptions { name, root, .. } = &self.options;
        let root = root.display();
        let later = |rule: &'static str, reason: String| PutError::later(rule, reason);
        let never = |rule: &'static str, reason: String| PutError::never(rule, reason);
        match fault {
            Fault::Missing(what) => PutError::Offline {
                rule: "destination-missing".into(),
                reason: format!("{what}: plug the stick in or correct the folder of destination {name}"),
            },
            Fault::Link(what) => never(
                "destination-symlink",
                format!(
                    "{what} is a symbolic link, which is never followed: put a real folder or file there"
                ),
            ),
            Fault::Conflict(file) => never(
                "destination-conflict",
                format!(
                    "another {file} is already in that session's folder on {root}: move it away, then retry"
                ),
            ),
            Fault::Name(file) => never(
                "destination-name",
                format!("{root} cannot take a file named {file:?}: correct the name"),
            ),
            Fault::Local(what) => never("media-damaged", format!("{what}: shoot it again")),
            Fault::Readback(file) => later(
                "destination-readback",
                format!(
                    "{root} gave back other bytes for {file} than were written: replace the stick or disk"
                ),
            ),
            Fault::Io(error) => self.explain_io(&error),
        }
    }

    fn explain_io(&self, error: &io::Error) -> PutError {
        let root = self.options.root.display();
        let later = |rule: &'static str, reason: String| PutError::later(rule, reason);
        if crate::store::is_full(error) {
            return later("destination-full", format!("{root} is full: make room or use a larger one"));
        }
        match Errno::from_io_error(error) {
            Some(Errno::ROFS) => {
                later("destination-read-only", format!("{root} is write-protected: allow writing to it"))
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                later("destination-forbidden", format!("{root} may not be written by this service: {error}"))
            }
            Some(Errno::NAMETOOLONG) => PutError::Never {
                rule: "destination-name".into(),
                reason: format!("{root} cannot take such a long name: {error}"),
            },
            // A pulled stick shows as an I/O error, a missing file or a missing device, by file system.
            _ => match self.open_root() {
                Err(Fault::Missing(_) | Fault::Io(_)) => PutError::Offline {
                    rule: "destination-missing".into(),
                    reason: format!("{root} went away: plug the stick in again ({error})"),
                },
                _ => later("destination-failed", format!("{root} failed: {error}; check the stick or disk")),
            },
        }
    }
}

/// Local bytes on their way.
struct Source(Box<dyn Read>);

impl Source {
    fn open(parcel: &Parcel) -> Result<Self, Fault> {
        let damaged = |what: String| Fault::Local(format!("the local copy of {} {what}", parcel.record.key));
        let source: Self = match &parcel.payload {
            Payload::Ram(bytes) if bytes.len() as u64 == parcel.length => {
                Self(Box::new(io::Cursor::new(bytes.clone())))
            }
            Payload::Ram(bytes) => return Err(damaged(format!("has {} bytes", bytes.len()))),
            Payload::File(path) => {
                let file = File::open(path).map_err(|error| damaged(format!("cannot be read: {error}")))?;
                let length = file.metadata().map(|file| file.len()).unwrap_or(0);
                if length != parcel.length {
                    return Err(damaged(format!("has {length} bytes instead of {}", parcel.length)));
                }
                Self(Box::new(file))
            }
        };
        Ok(source)
    }

    /// `Fault::Local`, so that a bad disk here is never blamed on the destination.
    fn read(&mut self, piece: &mut [u8]) -> Result<usize, Fault> {
        self.0.read(piece).map_err(|error| Fault::Local(format!("the local copy cannot be read: {error}")))
    }
}

/// A name as a path component that means the same on every file system.
pub(crate) fn escape(name: &str) -> String {
    use std::fmt::Write;
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for (nth, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || byte == b'.' && nth > 0 {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(escaped, "%{byte:02X}").unwrap_or_default();
        }
    }
    escaped
}

/// Hash of what `reader` gives.
fn hash_of(mut reader: impl Read) -> io::Result<Sha256> {
    crate::spool::repair::hash_reader(&mut reader)
}

#[cfg(test)]
mod tests;
