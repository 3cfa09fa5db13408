//! Small files that are there whole or not at all, even when the power goes: what a station notes beside its spool.
//!
//! A file is written beside its place, flushed, put there by one rename, and its folder flushed; so a power cut leaves
//! the old one or the new one. JSON with a schema number is read back only where its schema is known.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Readable for everybody who may enter the folder.
const OPEN: u32 = 0o644;
/// Readable for the service alone.
const PRIVATE: u32 = 0o600;

/// Writes a file whole, with its folder if that is missing.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, OPEN)
}

/// The same for a secret: for the owner of the process alone.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, PRIVATE)
}

/// Writes a value as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?)
}

/// Reads a value of JSON; `None` where there is no file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file for good; one that is not there is well.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => Ok(()),
        Ok(()) => flush(path),
    }
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    // A leftover keeps its own mode, so it must not be written into.
    match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)?;
    flush(path)
}

/// Flushes the folder of a file.
fn flush(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        write_json(&path, &1).unwrap();
        write_json(&path, &2).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(2));
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1, "nothing is left beside it");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
    }

    #[test]
    fn a_secret_is_readable_for_its_owner_alone_even_over_an_open_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(folder.path().join("password.part"), "left over by a crash").unwrap();
        write_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }

    #[test]
    fn damaged_json_is_an_error_and_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::write(&path, "{").unwrap();
        assert!(read_json::<u32>(&path).is_err());
    }
}
