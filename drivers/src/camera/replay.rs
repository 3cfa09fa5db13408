//! A folder of pictures as a camera: every exposure gives the next file, unchanged.
//!
//! For importing what was shot elsewhere and for trying the station with real pictures. The folder is read once when
//! the camera is opened, in natural order (`b2` before `b10`), without its sub-folders; a file's bytes are read when
//! it is fetched. The folder is only ever read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Abilities, Applied, Camera, CameraError, CameraInfo, Driver, ExposeRequest, Exposed, Opened, Settings,
};
use crate::frame::{Codec, Exposure, Frame, FrameData, FrameSet, FrameTime, StreamKind, TimeSource};
use crate::{DeviceOptions, Surroundings};

/// `driver = "replay"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "a folder of JPEG files, one for each exposure",
    check,
    open: |name, options, around| Box::pin(async move { open(name, options, around) }),
    list: || Box::pin(async { Vec::new() }),
};

const NAME: &str = "replay";
/// Largest file taken unless `bytes_max` says otherwise.
const BYTES_MAX: u64 = 200_000_000;
/// Entries of a folder that are looked at; a folder with more is not a turn of an object.
const ENTRIES_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    folder: PathBuf,
    #[serde(default)]
    order: Order,
    #[serde(default, rename = "loop")]
    again: bool,
    #[serde(default = "bytes_max")]
    bytes_max: u64,
}

fn bytes_max() -> u64 {
    BYTES_MAX
}

/// The order of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    #[default]
    Name,
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// JPEG files in natural order of their names.
    pub pictures: Vec<PathBuf>,
    /// Everything else, and why it is no picture for this camera.
    pub skipped: Vec<Skipped>,
}
/// A file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why, in words for a person.
    pub why: &'static str,
}

/// Lists the pictures of a folder, without its sub-folders. Fails when the folder cannot be read; a folder without
/// any picture is an empty listing.
pub fn pictures(folder: &Path) -> Result<Listing, CameraError> {
    let unreadable = |e: io::Error| CameraError::NotPresent {
        id: folder.display().to_string(),
        hint: format!("cannot read this folder: {e}"),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
        if paths.len() > ENTRIES_MAX {
            let what = format!("more than {ENTRIES_MAX} files in one folder; split it");
            return Err(CameraError::Unsupported { id: folder.display().to_string(), what });
        }
    }
    paths.sort_by(|a, b| natural(&name(a), &name(b)));
    let mut listing = Listing::default();
    for path in paths {
        match no_picture(&path) {
            None => listing.pictures.push(path),
            Some(why) => listing.skipped.push(Skipped { path, why }),
        }
    }
    Ok(listing)
}

/// Why a file is no picture for this camera, or `None` if it is one.
fn no_picture(path: &Path) -> Option<&'static str> {
    const HEIC: &str = "HEIC pictures are not taken yet; convert them to JPEG";
    if path.is_dir() {
        return Some("a folder; pictures in it are not looked at");
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" | "jpe" => {}
        "heic" | "heif" | "hif" => return Some(HEIC),
        _ => return Some("not a JPEG file by its name"),
    }
    let mut start = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 12), &mut start));
    match (read, start.as_slice()) {
        (Err(_), _) => Some("it cannot be read"),
        (_, []) => Some("it is empty"),
        (_, [0xff, 0xd8, 0xff, ..]) => None,
        (_, [_, _, _, _, b'f', b't', b'y', b'p', ..]) => Some(HEIC),
        _ => Some("named like a JPEG file, but it does not begin like one"),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Compares names as a person does: digits by their value, everything else by letter without case.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while !left.is_empty() && !right.is_empty() {
        let (x, y) = (take_run(&mut left), take_run(&mut right));
        let both_numbers =
            x.starts_with(|c: char| c.is_ascii_digit()) && y.starts_with(|c: char| c.is_ascii_digit());
        let order = if both_numbers {
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            x.to_lowercase().cmp(&y.to_lowercase())
        };
        if order.is_ne() {
            return order;
        }
    }
    // Names that differ only in case or leading zeros still have one order.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Splits the longest run of digits, or of anything else, off the front.
fn take_run<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    options.read::<Keys>().map(drop)
}

fn open(_name: &str, options: &DeviceOptions, _: &Surroundings) -> Opened {
    let keys: Keys = options.read().map_err(|what| CameraError::Unsupported { id: NAME.to_owned(), what })?;
    let id = keys.folder.display().to_string();
    let Order::Name = keys.order;
    let listing = pictures(&keys.folder)?;
    let Some(first) = listing.pictures.first() else {
        let seen = match listing.skipped.first() {
            None => "the folder is empty".to_owned(),
            Some(s) => {
                format!("{} files are none, the first is {}: {}", listing.skipped.len(), name(&s.path), s.why)
            }
        };
        return Err(CameraError::Unsupported {
            id,
            what: format!("no JPEG pictures in this folder: {seen}"),
        });
    };
    let size = size_of(first).unwrap_or_default();
    Ok(Box::new(Replay {
        id,
        keys,
        pictures: listing.pictures,
        size,
        exposures: 0,
        waiting: BTreeSet::new(),
    }))
}

/// Width and height, if the head of the file can be understood.
fn size_of(path: &Path) -> Option<(u32, u32)> {
    const HEAD_MAX: u64 = 4_000_000;
    let mut head = Vec::new();
    let file = fs::File::open(path).ok()?;
    io::Read::read_to_end(&mut io::Read::take(file, HEAD_MAX), &mut head).ok()?;
    let header = turbojpeg::read_header(&head).ok()?;
    Some((u32::try_from(header.width).ok()?, u32::try_from(header.height).ok()?))
}

struct Replay {
    id: String,
    keys: Keys,
    pictures: Vec<PathBuf>,
    /// Of the first picture.
    size: (u32, u32),
    exposures: usize,
    /// Exposures not fetched yet, each a place in the sequence of pictures.
    waiting: BTreeSet<usize>,
}

impl Replay {
    fn picture(&self, exposure: usize) -> Option<&PathBuf> {
        let index = if self.keys.again { exposure % self.pictures.len() } else { exposure };
        self.pictures.get(index)
    }
}

#[async_trait]
impl Camera for Replay {
    /// A folder has no settings: what was asked is noted, nothing is in force.
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        Ok(Applied { requested: *settings, exposure: Exposure::default(), size: self.size })
    }

    async fn warm_up(&mut self, _limit: Duration) -> Result<(), CameraError> {
        Ok(())
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let begun = Instant::now();
        if self.picture(self.exposures).is_none() {
            return Err(CameraError::Exhausted { id: self.id.clone() });
        }
        tokio::time::sleep_until(request.not_before.min(request.deadline)).await;
        if request.not_before > request.deadline {
            return Err(CameraError::Timeout { id: self.id.clone(), waited: begun.elapsed() });
        }
        let ticket = self.exposures as u64;
        self.waiting.insert(self.exposures);
        self.exposures += 1;
        let start = Instant::now().max(request.not_before);
        Ok(Exposed { ticket, start, end: start, deadline: request.deadline })
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        let begun = Instant::now();
        let (id, limit) = (self.id.clone(), self.keys.bytes_max);
        let index = usize::try_from(exposed.ticket).unwrap_or(usize::MAX);
        let path = match self.picture(index).cloned() {
            Some(path) if self.waiting.remove(&index) => path,
            _ => {
                let what = format!("exposure {} was fetched already, or never made", exposed.ticket);
                return Err(CameraError::Unsupported { id, what });
            }
        };
        let file_name = name(&path);
        let reading = tokio::task::spawn_blocking(move || read(&path, limit));
        let bytes = match tokio::time::timeout_at(exposed.deadline, reading).await {
            Err(_) => return Err(CameraError::Timeout { id, waited: begun.elapsed() }),
            Ok(Err(_)) => return Err(CameraError::Poisoned { id }),
            Ok(Ok(Err(what))) => {
                return Err(CameraError::Unsupported { id, what: format!("{file_name}: {what}") });
            }
            Ok(Ok(Ok(bytes))) => bytes,
        };
        let frame = Frame {
            kind: StreamKind::Still,
            data: FrameData::Encoded { codec: Codec::Jpeg, bytes },
            seq: exposed.ticket + 1,
            lost_before: 0,
            time: FrameTime {
                start: exposed.start,
                uncertainty: Duration::ZERO,
                source: TimeSource::Arrival,
            },
            exposure: Exposure::default(),
            intrinsics: None,
            depth_unit_m: None,
            file_name: Some(file_name),
            meta: BTreeMap::new(),
        };
        Ok(FrameSet { frames: vec![frame], max_skew: Duration::ZERO, discarded_stale: 0 })
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        Ok(None)
    }

    fn info(&self) -> CameraInfo {
        let remaining = (!self.keys.again).then(|| self.pictures.len().saturating_sub(self.exposures));
        let model = "folder of pictures".to_owned();
        CameraInfo {
            driver: NAME,
            id: self.id.clone(),
            model,
            size_max: self.size,
            firmware: None,
            can: Abilities::default(),
            tried: true,
            remaining,
        }
    }
}

/// Reads a whole file, but never more than `limit` bytes: it may grow while it is read.
fn read(path: &Path, limit: u64) -> Result<Bytes, String> {
    let file = fs::File::open(path).map_err(|e| format!("cannot open it: {e}"))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit.saturating_add(1)), &mut bytes)
        .map_err(|e| format!("cannot read it: {e}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!("larger than bytes_max = {limit} bytes; raise it, or take the file away"));
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests;
