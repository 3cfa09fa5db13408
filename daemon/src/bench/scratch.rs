//! A temporary folder on the file system of the data, removed at the end.

use std::path::{Path, PathBuf};

use super::table::Unmeasured;

/// The folder `DATA.bench-PID`.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn beside(data: &Path) -> Result<Self, Unmeasured> {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push(format!(".bench-{}", std::process::id()));
        let folder = data.with_file_name(name);
        let tried = format!("make the folder {}", folder.display());
        std::fs::create_dir(&folder).map_err(Unmeasured::at(&tried))?;
        Ok(Self(folder))
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A new folder below it.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Unmeasured> {
        let folder = self.path(name);
        let tried = format!("make the folder {}", folder.display());
        std::fs::create_dir_all(&folder).map_err(Unmeasured::at(&tried))?;
        Ok(folder)
    }

    /// Removes a folder below it before the end; what cannot be removed now is tried again then.
    pub fn forget(&self, name: &str) {
        drop(std::fs::remove_dir_all(self.path(name)));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            super::say(&format!("{} is left behind: {e}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_data_and_goes_with_all_that_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::beside(&place.path().join("data")).unwrap();
        let folder = scratch.folder("spool").unwrap();
        std::fs::write(folder.join("frame"), b"x").unwrap();
        assert_eq!(folder.parent().unwrap().parent().unwrap(), place.path());
        drop(scratch);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
