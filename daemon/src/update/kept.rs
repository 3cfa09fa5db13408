//! `DATA/update.json`: how far an update is, written before each step.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::UpdateState;

/// Version of the file.
const KEPT_SCHEMA: u32 = 1;
const FILE: &str = "update.json";
/// Folder of bundles.
const BUNDLES: &str = "updates";

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    #[serde(flatten)]
    state: UpdateState,
}

/// What was kept; nothing where nothing can be read. A system that was rolled back reads what a newer one wrote.
pub(super) fn read(data: &Path) -> UpdateState {
    let path = data.join(FILE);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return UpdateState::default(),
        read => read,
    };
    let kept = bytes.and_then(|bytes| Ok(serde_json::from_slice::<Kept>(&bytes)?));
    match kept {
        Ok(kept) => kept.state,
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "how far the last update came cannot be read");
            UpdateState::default()
        }
    }
}

/// Keeps it; on the disk when this returns.
pub(super) fn write(data: &Path, state: &UpdateState) -> io::Result<()> {
    let (path, new) = (data.join(FILE), data.join("update.json.new"));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&Kept { schema: KEPT_SCHEMA, state: state.clone() })?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(data)?.sync_all()
}

/// Where the bundle of a request is, or will be.
pub(super) fn bundle(data: &Path, sha256: &turnstage_cloud_sync::Sha256) -> PathBuf {
    data.join(BUNDLES).join(format!("{sha256}.raucb"))
}

/// Makes the folder of bundles, with nothing in it but what belongs to `keep`.
pub(super) fn tidy(data: &Path, keep: Option<&Path>) -> io::Result<()> {
    let folder = data.join(BUNDLES);
    fs::create_dir_all(&folder)?;
    let stem = keep.and_then(Path::file_stem).and_then(|stem| stem.to_str());
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if stem.is_none_or(|stem| !name.to_string_lossy().starts_with(stem)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Actor;
    use crate::update::{Before, Phase, Request};
    use turnstage_cloud_sync::Sha256;

    fn state(phase: Phase) -> UpdateState {
        UpdateState {
            phase,
            request: Some(Request {
                url: "https://updates.example/7.raucb".to_owned(),
                sha256: Sha256::of(b"7"),
                size_bytes: Some(7),
                version: "7".to_owned(),
                reboot: true,
                actor: Actor("fleet:ana".to_owned()),
                command: "c-1".to_owned(),
            }),
            before: Some(Before { slot: "rootfs.0".to_owned(), ..Before::default() }),
        }
    }

    #[test]
    fn every_phase_is_read_back_as_it_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), UpdateState::default());
        let reasons = vec!["Camera main is not there".to_owned()];
        for phase in [
            Phase::Idle,
            Phase::waiting("update-held", "why"),
            Phase::Fetching { bytes: 3, of: Some(7) },
            Phase::Installing { percent: 30, message: "Copying".to_owned() },
            Phase::RebootPending,
            Phase::Proving { attempts: 2 },
            Phase::Good,
            Phase::failed("update-install", "signature"),
            Phase::RolledBack { reasons, pending: true },
        ] {
            write(folder.path(), &state(phase.clone())).unwrap();
            assert_eq!(read(folder.path()), state(phase));
        }
    }

    #[test]
    fn an_older_program_reads_what_a_newer_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &state(Phase::RebootPending)).unwrap();
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let newer = text.replacen("\"schema\": 1", "\"schema\": 2, \"more\": {\"of\": 1}", 1);
        assert_ne!(text, newer);
        fs::write(&path, newer).unwrap();
        assert_eq!(read(folder.path()).phase, Phase::RebootPending);
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "{\"schema\":1,\"phase\":{\"is\":\"flying\"}}"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(read(folder.path()), UpdateState::default(), "{text}");
        }
    }

    #[test]
    fn only_the_bundle_of_the_update_at_hand_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        tidy(folder.path(), None).unwrap();
        let keep = bundle(folder.path(), &Sha256::of(b"7"));
        let other = bundle(folder.path(), &Sha256::of(b"6"));
        let part = keep.with_extension("raucb.part");
        for path in [&other, &part] {
            fs::write(path, "x").unwrap();
        }
        tidy(folder.path(), Some(&keep)).unwrap();
        assert!(part.exists() && !other.exists());
    }
}
