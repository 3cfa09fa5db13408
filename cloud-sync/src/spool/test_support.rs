//! Things that the tests of this crate share.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::json;

use crate::queue::{Facts, Key, RECORD_SCHEMA, Record, State};
use crate::spool::{NewFile, SpoolOptions};
use crate::{Clock, ClockQuality, NewEvent, Sha256, Stamp};

/// A clock that goes on by one millisecond whenever it is read.
#[derive(Default)]
pub struct Ticking(AtomicU64);

impl Clock for Ticking {
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

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(Ticking::default())
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

pub fn options(dir: &std::path::Path) -> SpoolOptions {
    SpoolOptions {
        dir: dir.to_owned(),
        free_bytes_soft: 0,
        free_bytes_hard: 0,
        keep_confirmed: std::time::Duration::from_secs(7 * 24 * 3600),
    }
}

pub fn event(kind: &str) -> NewEvent {
    NewEvent { kind: kind.to_owned(), actor: "test".to_owned(), session: None, data: json!({}) }
}

pub fn record(sequence: u64, session: &str) -> Record {
    let file = file(session, 3, b"x");
    Record {
        schema: RECORD_SCHEMA,
        key: Key { sequence, product: file.product, destination: "stick".to_owned() },
        state: State::Captured,
        facts: file.facts,
        sha256: file.sha256,
        length: 1,
        media: format!("{session}/{sequence:012}.jpg"),
        captured_at: clock().now(),
        superseded_by: None,
        attempts: 0,
        next_attempt: None,
        failure: None,
        receipt: None,
        for_good: false,
        confirmed_at: None,
        meta: file.meta,
    }
}

/// Says why a test could not run here; a failure where everything must run.
pub fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} must run here: {reason}");
}

/// A small file system of its own, gone when dropped. Mounted by system calls, here and in what tests do with it: a
/// program that is forked for it would hold open the files of the tests beside it until it runs, so that what they delete
/// would still take room.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(dir: &Path, size: &str) -> Result<Self, String> {
        std::fs::create_dir_all(dir).unwrap();
        let size = CString::new(format!("size={size}")).unwrap();
        match rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::empty(), size.as_c_str()) {
            Ok(()) => Ok(Self(dir.to_owned())),
            Err(error) => Err(format!("cannot mount a file system of its own: {error}")),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}
