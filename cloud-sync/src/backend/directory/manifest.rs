//! The list of what was delivered or exported of one session, kept beside the files and replaced as a whole.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{Fault, Source};
use crate::backend::Parcel;
use crate::queue::{Derived, Record};
use crate::{Sha256, Stamp};

/// Its name.
pub const MANIFEST: &str = "manifest.json";

/// Version of [`Manifest`] as written. Older ones are read, newer ones are left alone.
pub(super) const MANIFEST_SCHEMA: u32 = 1;

/// Above this it is no manifest of ours.
const BYTES_MAX: u64 = 64 << 20;

/// What lies in one folder of one session; `schema` says how it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    schema: u32,
    org: String,
    site: String,
    session: String,
    item: String,
    files: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    file: String,
    product: String,
    content_type: String,
    /// Of the file that lies here.
    sha256: Sha256,
    length: u64,
    /// Hash of the original on the station, where another file was made of it for here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256_original: Option<Sha256>,
    camera: String,
    shot: u32,
    take: u32,
    angle_commanded: Option<f64>,
    angle_reached: Option<f64>,
    captured_at: Stamp,
    meta: serde_json::Value,
}

impl Manifest {
    /// An empty one, for the session of a record.
    pub fn of(record: &Record) -> Self {
        let facts = &record.facts;
        Self {
            schema: MANIFEST_SCHEMA,
            org: facts.org.clone(),
            site: facts.site.clone(),
            session: facts.session.clone(),
            item: facts.item.clone(),
            files: Vec::new(),
        }
    }

    /// Lists a file that holds the bytes of a record, in the place of one of the same name; `file` is its path from
    /// where the manifest lies.
    pub fn list(&mut self, file: &str, record: &Record) {
        self.insert(Entry::of(file, record, (record.sha256, record.length), None));
    }

    fn insert(&mut self, entry: Entry) {
        match self.files.binary_search_by(|other| other.file.cmp(&entry.file)) {
            Ok(place) => self.files[place] = entry,
            Err(place) => self.files.insert(place, entry),
        }
    }

    /// The manifest in `folder`, or an empty one. One that cannot be read is kept under another name.
    pub(super) fn read(folder: &Folder, record: &Record) -> Result<Self, Fault> {
        let facts = &record.facts;
        let empty = Self::of(record);
        let Some(file) = folder.file(MANIFEST)? else { return Ok(empty) };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let Ok(found) = serde_json::from_slice::<Self>(&bytes) else {
            tracing::warn!(session = %facts.session, "a damaged manifest at the destination is begun anew");
            folder.replace("manifest.damaged.json", Source(Box::new(std::io::Cursor::new(bytes))))?;
            return Ok(empty);
        };
        let ours = (&found.org, &found.site, &found.session) == (&facts.org, &facts.site, &facts.session);
        if !ours || found.schema > MANIFEST_SCHEMA {
            return Err(Fault::Conflict(MANIFEST.to_owned()));
        }
        Ok(Self { schema: MANIFEST_SCHEMA, item: facts.item.clone(), ..found })
    }

    /// Whether a file of this name was delivered by us.
    pub(super) fn names(&self, file: &str) -> bool {
        self.files.iter().any(|entry| entry.file == file)
    }

    /// Adds the delivered file and replaces the manifest.
    pub(super) fn write(&mut self, folder: &Folder, parcel: &Parcel) -> Result<(), Fault> {
        let record = &parcel.record;
        let delivered = (parcel.sha256, parcel.length);
        self.insert(Entry::of(&record.facts.file_name, record, delivered, parcel.origin()));
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        let written = folder.replace(MANIFEST, Source(Box::new(std::io::Cursor::new(bytes))))?;
        match folder.hash(MANIFEST)? {
            Some(hash) if hash == written => Ok(()),
            _ => Err(Fault::Readback(MANIFEST.to_owned())),
        }
    }
}

impl Entry {
    fn of(file: &str, record: &Record, (sha256, length): (Sha256, u64), derived: Option<Derived>) -> Self {
        let facts = &record.facts;
        Self {
            file: file.to_owned(),
            product: record.key.product.clone(),
            content_type: facts.content_type.clone(),
            sha256,
            length,
            sha256_original: derived.map(|derived| derived.from),
            camera: facts.camera.clone(),
            shot: facts.shot,
            take: facts.take,
            angle_commanded: facts.angle_commanded,
            angle_reached: facts.angle_reached,
            captured_at: record.captured_at.clone(),
            meta: record.meta.clone(),
        }
    }
}
