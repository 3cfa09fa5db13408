//! Where the fleet's configuration is kept: one file, `DATA/fleet/configuration.json`, outside the spool.
//!
//! What is in use, on trial, waiting and refused stands in one document, and so do the events that tell of it until the
//! log has them. It is written whole beside its place, flushed, and put there by one rename: whatever ends the station,
//! one of two whole states is there. A rebuilt queue forgets nothing of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::{Sha256, canonical};

use super::{Desired, Problem, State};
use crate::config::{ConfigError, FleetLayer};

/// Version of [`Kept`].
pub const KEPT_SCHEMA: u32 = 1;
const FOLDER: &str = "fleet";
const FILE: &str = "configuration.json";
const LOCK: &str = "configuration.lock";

/// A version that was found good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// Hash of its document.
    pub document: Sha256,
    /// Who wants it.
    pub actor: String,
    /// Sections with keys.
    pub config: Map<String, Value>,
    /// Recipes by name, as text.
    pub recipes: BTreeMap<String, String>,
}

impl Version {
    /// Of a document.
    pub fn of(desired: Desired, actor: &str) -> Self {
        let document = document(&desired);
        let Desired { version, config, recipes } = desired;
        Self { version, document, actor: actor.to_owned(), config, recipes }
    }

    /// As a layer of the configuration.
    pub fn layer(&self) -> Result<FleetLayer, ConfigError> {
        FleetLayer::read(self.version, &self.config, &self.recipes)
    }
}

/// Hash of a document, whatever the order of its keys.
pub fn document(desired: &Desired) -> Sha256 {
    // A map with text as keys is always JSON.
    canonical::hash(&serde_json::to_value(desired).unwrap_or_default())
}

/// A version in use whose link has yet to come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub of: Version,
    /// Starts of the program since, the present one included.
    pub starts: u32,
}

/// A version that is not tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Its number.
    pub version: u64,
    /// Refused or rolled back.
    pub state: State,
    /// In a sentence.
    pub reason: String,
    /// Everything that is wrong with it.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// The document of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// [`KEPT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Highest version that was ever offered; 0: none.
    pub newest: u64,
    /// Hash of its document.
    pub document: Option<Sha256>,
    /// The last version with which the link was there.
    pub proven: Option<Version>,
    /// One that was put in its place.
    pub trial: Option<Trial>,
    /// One that is good and waits for a session to end.
    pub waiting: Option<Version>,
    /// The last one that failed, until a newer one is in use.
    pub failed: Option<Failed>,
    /// What the event log does not have yet, in order.
    pub unrecorded: Vec<NewEvent>,
}

impl Kept {
    /// What a start would use.
    pub fn in_use(&self) -> Option<&Version> {
        self.trial.as_ref().map(|trial| &trial.of).or(self.proven.as_ref())
    }
}

/// Why the file is not used, and not written over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: {why}. The station runs without the fleet's configuration; forget it: turnstage settings forget"
)]
pub struct Unreadable {
    /// Which file.
    pub path: PathBuf,
    /// What was found.
    pub why: String,
}

/// See the module.
pub struct Store {
    folder: PathBuf,
    /// Held from the first write on: one process at a time writes here.
    lock: Mutex<Option<File>>,
    #[cfg(test)]
    pub(super) steps_left: std::sync::atomic::AtomicI64,
}

impl Store {
    /// That of a data folder.
    pub fn of(data: &Path) -> Self {
        Self {
            folder: data.join(FOLDER),
            lock: Mutex::default(),
            #[cfg(test)]
            steps_left: std::sync::atomic::AtomicI64::new(i64::MAX),
        }
    }

    /// What is kept; nothing where there is no file.
    pub fn read(&self) -> Result<Kept, Unreadable> {
        let path = self.folder.join(FILE);
        let failed = |why: String| Unreadable { path: path.clone(), why };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))?;
        let schema = value.get("schema").and_then(Value::as_u64).unwrap_or_default();
        if schema > u64::from(KEPT_SCHEMA) {
            return Err(failed(format!("written by a newer version (schema {schema})")));
        }
        serde_json::from_value(value).map_err(|e| failed(e.to_string()))
    }

    /// Keeps a state in the place of the one before.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        self.lock()?;
        let (path, new) = (self.folder.join(FILE), self.folder.join(format!("{FILE}.new")));
        let bytes = serde_json::to_vec_pretty(&Kept { schema: KEPT_SCHEMA, ..kept.clone() })?;
        self.step()?;
        let mut file = File::create(&new)?;
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        self.step()?;
        file.write_all(head)?;
        self.step()?;
        file.write_all(tail)?;
        self.step()?;
        file.sync_all()?;
        self.step()?;
        fs::rename(&new, &path)?;
        self.step()?;
        File::open(&self.folder)?.sync_all()
    }

    /// Moves a file that cannot be read out of the way.
    pub fn set_aside(&self) -> io::Result<()> {
        self.lock()?;
        let path = self.folder.join(FILE);
        fs::rename(&path, path.with_extension("unreadable"))
    }

    /// Keeps another process from writing: a second one of the same data folder leaves the first one's alone.
    pub fn lock(&self) -> io::Result<()> {
        let mut held = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if held.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let file = File::create(self.folder.join(LOCK))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::new(ErrorKind::ResourceBusy, "another station runs on this data folder")
        })?;
        *held = Some(file);
        Ok(())
    }

    /// A place where a test cuts the power.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.steps_left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0 {
            return Err(io::Error::other("the power was cut"));
        }
        Ok(())
    }
}
