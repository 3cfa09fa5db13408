//! The disk guard: what may go, in which order.
//!
//! Thumbnails can be made again, so below the soft mark they go first. Media go only when every destination has
//! confirmed them: after `keep_confirmed`, or sooner below the soft mark, oldest first. The index forgets the media
//! before the disk does, so a crash in between leaves files that the next start clears away, never a promise
//! without a file. The newest sidecar always stays: it carries the highest sequence number into a rebuild.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::event::NewEvent;
use crate::queue::Record;
use crate::spool::files::{Files, remove_if_there};
use crate::spool::keeper::Keeper;
use crate::spool::layout::{SESSION_FILE, Sidecar};
use crate::spool::{Commit, SpoolError};
use crate::store::Scope;
use crate::{ClockQuality, Stamp};

/// Media files forgotten in one commit.
const BATCH_MAX: usize = 64;

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tidied {
    /// Thumbnail files deleted.
    pub thumbnails: u64,
    /// Media files deleted.
    pub media: u64,
    /// Bytes of both.
    pub bytes: u64,
}

pub(super) fn tidy(keeper: &mut Keeper) -> Result<Tidied, SpoolError> {
    let mut tidied = Tidied::default();
    if let Files::Disk(dir) = keeper.files.clone() {
        delete_thumbnails(keeper, &dir.join("thumbs"), &mut tidied)?;
    }
    let now = keeper.clock.now();
    let mut bytes_short = bytes_short(keeper)?;
    let keep = keeper.limits.keep_confirmed;
    let mut going = Vec::new();
    // Oldest first: the sequence is the order of things.
    for (sequence, media) in keeper.mirror.media.iter().filter(|(_, media)| media.delivered()) {
        let age = media.confirmed_at.as_ref().and_then(|at| known_age(at, &now));
        if bytes_short > 0 || age.is_some_and(|age| age >= keep) {
            bytes_short = bytes_short.saturating_sub(media.length);
            going.push(*sequence);
        }
    }
    for part in going.chunks(BATCH_MAX) {
        forget(keeper, part, &mut tidied)?;
    }
    Ok(tidied)
}

fn bytes_short(keeper: &mut Keeper) -> Result<u64, SpoolError> {
    let free = keeper.files.free_bytes().map_err(|error| keeper.failed("read the free bytes", &error, 0))?;
    Ok(keeper.limits.free_bytes_soft.saturating_sub(free))
}

fn delete_thumbnails(keeper: &mut Keeper, dir: &Path, tidied: &mut Tidied) -> Result<(), SpoolError> {
    let mut bytes_short = bytes_short(keeper)?;
    if bytes_short == 0 {
        return Ok(());
    }
    let mut files = Vec::new();
    list(dir, &mut files).map_err(|error| keeper.failed("list the thumbnails", &error, 0))?;
    files.sort();
    for (_, path, length) in files {
        if bytes_short == 0 {
            break;
        }
        remove_if_there(&path).map_err(|error| keeper.failed("delete a thumbnail", &error, 0))?;
        bytes_short = bytes_short.saturating_sub(length);
        tidied.thumbnails += 1;
        tidied.bytes += length;
    }
    Ok(())
}

fn list(dir: &Path, files: &mut Vec<(std::time::SystemTime, PathBuf, u64)>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push((metadata.modified()?, entry.path(), metadata.len()));
        }
    }
    Ok(())
}

/// Time between two moments, if a clock can be trusted to know it.
fn known_age(at: &Stamp, now: &Stamp) -> Option<Duration> {
    if at.boot_id == now.boot_id {
        return Some(Duration::from_millis(now.boottime_ms.saturating_sub(at.boottime_ms)));
    }
    let synced = at.quality == ClockQuality::Synced && now.quality == ClockQuality::Synced;
    let ms = u64::try_from(now.wall_ms.checked_sub(at.wall_ms)?).ok()?;
    synced.then_some(Duration::from_millis(ms))
}

fn forget(keeper: &mut Keeper, sequences: &[u64], tidied: &mut Tidied) -> Result<(), SpoolError> {
    let mut names = BTreeSet::new();
    let mut records = Vec::new();
    for sequence in sequences {
        keeper.store.scan(Scope::Sequence(*sequence), &mut |record| {
            if names.insert(record.media.clone()) {
                tidied.media += 1;
                tidied.bytes += record.length;
            }
            records.push(Record { media: String::new(), ..record });
            true
        })?;
    }
    let event = NewEvent {
        kind: "media.deleted".to_owned(),
        actor: "station".to_owned(),
        session: None,
        data: serde_json::json!({"sequences": sequences}),
    };
    keeper.overwrite(records.clone(), Commit { events: vec![event], ..Commit::default() })?;
    for name in &names {
        keeper.files.remove(name).map_err(|error| keeper.failed("delete confirmed media", &error, 0))?;
    }
    if let Files::Disk(_) = keeper.files {
        for record in &records {
            clear_sidecar(keeper, record)?;
        }
    }
    Ok(())
}

/// Deletes the sidecar that has no media left, and the session's folder with the last one.
fn clear_sidecar(keeper: &mut Keeper, record: &Record) -> Result<(), SpoolError> {
    let session = &record.facts.session;
    let Some((name, mut sidecar)) = keeper.sidecar_of(session, record.key.sequence) else { return Ok(()) };
    let gone = |record: &Record| -> Result<Option<Record>, SpoolError> {
        Ok(keeper.store.record(&record.key)?.filter(|record| record.media.is_empty()))
    };
    let gone = sidecar.records.iter().map(gone).collect::<Result<Option<Vec<_>>, _>>()?;
    let Some(records) = gone else { return Ok(()) };
    let newest = records.iter().any(|record| record.key.sequence + 1 == keeper.next_sequence);
    if newest {
        sidecar.records = records;
        let bytes = Sidecar::encode(&sidecar).map_err(|what| SpoolError::Invalid { what })?;
        return keeper.replace(session, &name, bytes);
    }
    let removed = keeper.files.remove(&format!("{session}/{name}"));
    removed.map_err(|error| keeper.failed("delete a sidecar", &error, 0))?;
    let path = keeper.files.path(session);
    let left = fs::read_dir(&path).map_err(|error| keeper.failed("read a session's folder", &error, 0))?;
    let left = left.filter_map(Result::ok).any(|entry| entry.file_name() != SESSION_FILE);
    if !left {
        keeper.made.remove(session);
        let removed = remove_if_there(&path.join(SESSION_FILE)).and_then(|()| fs::remove_dir(&path));
        removed.map_err(|error| keeper.failed("delete a session's folder", &error, 0))?;
    }
    Ok(())
}
