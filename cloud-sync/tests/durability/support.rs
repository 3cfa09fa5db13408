//! What all stories share: a clock, pictures, and a spool folder to look into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;
use turnstage_cloud_sync::queue::{Change, Facts, Key, Record};
use turnstage_cloud_sync::spool::{Commit, NewFile, Opened, Spool, SpoolOptions};
use turnstage_cloud_sync::store::Document;
use turnstage_cloud_sync::{Clock, ClockQuality, NewEvent, Sha256, Stamp};

/// A clock that goes on by one millisecond whenever it is read, and by days when told to.
#[derive(Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn skip_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Stamp {
        let ms = self.0.fetch_add(1, Ordering::Relaxed);
        Stamp {
            wall_ms: 1_800_000_000_000 + ms as i64,
            quality: ClockQuality::Synced,
            boottime_ms: ms,
            boot_id: "boot-1".to_owned(),
        }
    }
}

pub fn options(dir: &Path) -> SpoolOptions {
    SpoolOptions {
        dir: dir.to_owned(),
        free_bytes_soft: 0,
        free_bytes_hard: 0,
        keep_confirmed: std::time::Duration::from_secs(7 * 24 * 3600),
    }
}

pub fn open(dir: &Path) -> (Spool, Opened) {
    Spool::open(options(dir), Arc::new(TestClock::default())).unwrap()
}

pub fn file(session: &str, shot: u32, bytes: &[u8]) -> NewFile {
    NewFile {
        product: "original".to_owned(),
        destinations: vec!["stick".to_owned()],
        extension: "jpg".to_owned(),
        bytes: Bytes::copy_from_slice(bytes),
        sha256: Sha256::of(bytes),
        facts: Facts {
            org: "org".to_owned(),
            site: "site".to_owned(),
            item: "WVWZZZ1JZXW000001".to_owned(),
            session: session.to_owned(),
            camera: "main".to_owned(),
            shot,
            take: 1,
            angle_commanded: Some(f64::from(shot) * 5.0),
            angle_reached: Some(f64::from(shot) * 5.0 + 0.1),
            capture_class: "durable".to_owned(),
            consent: None,
            actor: "operator:ana".to_owned(),
            trace_id: "t-1".to_owned(),
            file_name: format!("{shot:03}_main.jpg"),
            content_type: "image/jpeg".to_owned(),
            sha256_captured: Sha256::of(bytes),
        },
        meta: json!({"schema": 1, "qc": {"sharpness": 123.456}}),
        supersedes: None,
    }
}

pub fn key(sequence: u64) -> Key {
    Key { sequence, product: "original".to_owned(), destination: "stick".to_owned() }
}

pub fn event(kind: &str, data: serde_json::Value) -> NewEvent {
    NewEvent { kind: kind.to_owned(), actor: "test".to_owned(), session: None, data }
}

pub async fn apply(spool: &Spool, changes: Vec<(Key, Change)>) -> Vec<Record> {
    spool.commit(Commit { changes, ..Commit::default() }).await.unwrap()
}

/// Releases records as the daemon does: states and session document in one commit.
pub async fn release(spool: &Spool, session: &str, sequences: &[u64]) {
    let commit = Commit {
        documents: vec![Document { id: session.to_owned(), value: json!({"released": sequences}) }],
        changes: sequences.iter().map(|sequence| (key(*sequence), Change::Release)).collect(),
        events: vec![],
    };
    spool.commit(commit).await.unwrap();
}

/// Every file below `dir` with its content.
pub fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => drop(files.insert(entry.path(), std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    files
}

pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in content(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, bytes).unwrap();
    }
    std::fs::create_dir_all(to.join("blobs")).unwrap();
}

/// How much more than in a quick run.
pub fn rounds(quick: u64) -> u64 {
    if std::env::var_os("TURNSTAGE_LONG").is_some() { quick * 10 } else { quick }
}

/// Says why a test could not run here; a failure where everything must run.
pub fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} must run here: {reason}");
}

/// A small file system of its own, gone when dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(dir: &Path, size: &str) -> Result<Self, String> {
        std::fs::create_dir_all(dir).unwrap();
        let size = format!("size={size}");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output();
        match mount {
            Ok(mount) if mount.status.success() => Ok(Self(dir.to_owned())),
            Ok(mount) => Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount {}", self.0.display());
    }
}
