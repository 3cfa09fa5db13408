//! An exported folder: every file is synced and read back, and a manifest lists the pictures and what belongs to them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};
use turnstage_cloud_sync::backend::directory::{MANIFEST, Manifest};
use turnstage_cloud_sync::{Record, Sha256};

use crate::exit::{self, Exit};
use crate::session::PICTURE;

/// See the module.
pub(super) struct Folder {
    root: PathBuf,
    /// Of what was kept so far.
    manifest: Option<Manifest>,
    pictures: usize,
    others: usize,
}

impl Folder {
    /// A folder with nothing in it, so that nothing of another session is mixed in.
    pub fn empty(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut entries = fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
        if entries.next().is_some() {
            let why = format!("{} is not empty: name a new folder with --to", root.display());
            return Err(Exit::new(exit::USAGE, why).into());
        }
        Ok(Self { root: root.to_path_buf(), manifest: None, pictures: 0, others: 0 })
    }

    /// The bytes of a record under its file name, in the folder `below` this one ("" = this one).
    pub fn keep(&mut self, below: &str, record: &Record, bytes: &[u8]) -> Result<()> {
        let name = &record.facts.file_name;
        let name = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        self.write(&name, bytes)?;
        self.manifest.get_or_insert_with(|| Manifest::of(record)).list(&name, record);
        *if record.key.product == PICTURE { &mut self.pictures } else { &mut self.others } += 1;
        Ok(())
    }

    /// A text about the pictures.
    pub fn text(&self, name: &str, text: &str) -> Result<()> {
        self.write(name, text.as_bytes())
    }

    /// Writes the manifest; how many pictures there are, and how many files that belong to them. A folder without a
    /// manifest is not complete.
    pub fn finish(self) -> Result<(usize, usize)> {
        self.write(MANIFEST, &serde_json::to_vec_pretty(&self.manifest)?)?;
        Ok((self.pictures, self.others))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let failed =
            |why: String| Exit::new(exit::STORAGE, format!("cannot write {}: {why}", path.display()));
        match written(&path, bytes).map_err(|error| failed(error.to_string()))? {
            true => Ok(()),
            false => Err(failed("other bytes were read back; replace the stick or disk".to_owned()).into()),
        }
    }
}

/// Whether what was written and synced is what is read back, past the page cache.
fn written(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let mut file = File::open(path)?;
    if let Err(error) = fadvise(&file, 0, None, Advice::DontNeed) {
        tracing::debug!(path = %path.display(), %error, "the page cache keeps the file");
    }
    let mut back = Vec::with_capacity(bytes.len());
    file.read_to_end(&mut back)?;
    Ok(Sha256::of(&back) == Sha256::of(bytes))
}
