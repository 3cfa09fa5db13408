//! Constancy: what each camera's pictures measured when it was set up against what they measure now, so that a lens
//! that gets dirty or a lamp that dies slowly is told of before a session fails for it.
//!
//! Of every accepted frame four facts are kept that depend on the rig and not on what stands before it. *Blur* in
//! pixels is the width of the sharpest edges of the subject, whatever their contrast (a sharpness in squared grey
//! levels follows the object). *Light* and *colour* are the medians of the picture's border, which is the backdrop: the
//! mean of the picture follows a white object after a black one. *Noise* is measured where the picture is smooth.
//! What an object still says of these is taken out by comparing like with like: a frame with the median of the first
//! frames of the same camera, set-up (recipe and locked settings) and angle to 10 degrees.
//!
//! The first frames ([`BASELINE_FRAMES_MAX`], or those of [`BASELINE_DAYS`]) are the baseline; now is the newest day's
//! frames, or the last [`RECENT_FRAMES_MAX`] where a day has few. A day is a local date while the clock can be trusted,
//! else a turn of the table. A turn that alarms does not enter the baseline that it is measured by.

mod compared;
mod told;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::store::Document;
use turnstage_pipeline::qc::{Finding, Verdict};

pub use told::{CameraHealth, Drift, Measured, Quality, Since};

use compared::{Compared, median};

/// Version of [`Constancy`] as stored.
pub const CONSTANCY_SCHEMA: u32 = 1;
/// The baseline of a set-up is complete with so many frames,
pub const BASELINE_FRAMES_MAX: usize = 200;
/// or once it spans so many days.
pub const BASELINE_DAYS: u32 = 7;
/// So many frames of a camera are remembered as its newest.
pub const RECENT_FRAMES_MAX: usize = 72;
/// Fewer frames on either side say nothing.
pub const FRAMES_MIN: usize = 24;
/// Set-ups remembered for a camera; the one unused for longest is forgotten.
const SETUPS_MAX: usize = 8;
/// Cameras remembered; a rig has fewer.
const CAMERAS_MAX: usize = 32;
/// Angles within so many degrees of the table are alike.
const BIN_DEG: f64 = 10.0;

/// When a frame was taken, as far as days go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Local date in days since 1970-01-01; `None` while the clock was not to be trusted.
    pub day: Option<i64>,
    /// Turn, counted by the station from 1.
    pub turn: u32,
}

impl Moment {
    /// Days since an earlier moment, or turns where the date of either is not known. A clock that was set back counts
    /// as no time.
    pub fn days_since(self, earlier: Moment) -> u32 {
        match (self.day, earlier.day) {
            (Some(now), Some(then)) => u32::try_from((now - then).max(0)).unwrap_or(u32::MAX),
            _ => self.turn.saturating_sub(earlier.turn),
        }
    }
}

/// What is kept of all cameras of a station: a document of the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constancy {
    /// [`CONSTANCY_SCHEMA`] of the writer.
    pub schema: u32,
    #[serde(default)]
    turns: u32,
    /// Records before this sequence are counted.
    #[serde(default)]
    from_sequence: u64,
    #[serde(default)]
    cameras: BTreeMap<String, Watched>,
}

/// One camera.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watched {
    /// Driver, model and size; another one begins anew.
    device: String,
    #[serde(default)]
    setups: BTreeMap<String, Setup>,
    #[serde(default)]
    recent: Vec<Recent>,
    #[serde(default)]
    alarms: BTreeMap<Quality, Alarm>,
}

/// The baseline of one recipe with its locked settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Setup {
    first: Moment,
    last: Moment,
    baseline: Vec<Frame>,
    /// Nothing is added any more.
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recent {
    at: Moment,
    setup: String,
    frame: Frame,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Alarm {
    since: Moment,
    change: f64,
}

/// The four facts of a frame, each `None` where it was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Angle of the plan to 10 degrees; `None` without a table.
    pub bin: Option<u8>,
    /// See [`CameraHealth::blur_px`].
    pub blur_px: Option<f64>,
    /// Border's luma, blue and red difference in levels.
    pub border: Option<[f64; 3]>,
    /// See [`CameraHealth::noise_levels`].
    pub noise_levels: Option<f64>,
}

/// A frame with whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Name in the rig.
    pub camera: String,
    /// Driver, model and size.
    pub device: String,
    /// Recipe and locked settings.
    pub setup: String,
    /// The facts.
    pub frame: Frame,
}

/// Ids of the documents in which this is kept begin so.
pub const DOCUMENTS: &str = "constancy";

/// Id of the document of an organisation's station.
pub fn document_of(org: &str) -> String {
    format!("{DOCUMENTS}.{org}")
}

/// Id under which a damaged one is set aside.
pub fn damaged_of(org: &str) -> String {
    format!("{DOCUMENTS}-damaged.{org}")
}

impl Seen {
    /// What a record says; `None` of a flagged frame, and of one that came from a file.
    pub fn of(record: &Record, recipe: &str) -> Option<Self> {
        let meta = &record.meta;
        let findings: Vec<Finding> = serde_json::from_value(meta["qc"]["findings"].clone()).ok()?;
        if findings.iter().any(|finding| finding.verdict == Verdict::Block) {
            return None;
        }
        let camera = &meta["camera"];
        let (driver, model) = (camera["driver"].as_str()?, camera["model"].as_str()?);
        let asked = &camera["applied"]["requested"];
        let setup = format!("{recipe} {} {} {}", asked["exposure_us"], asked["gain"], asked["wb_kelvin"]);
        let bin = record.facts.angle_commanded.map(|deg| (deg.rem_euclid(360.0) / BIN_DEG) as u8);
        let border = serde_json::from_value::<[f64; 3]>(meta["qc"]["border"].clone()).ok();
        Some(Self {
            camera: record.facts.camera.clone(),
            device: format!("{driver} {model} {}x{}", meta["width"], meta["height"]),
            setup,
            frame: Frame {
                bin,
                blur_px: meta["qc"]["sharpness"]["blur_px"].as_f64().map(rounded),
                border: border.map(|levels| levels.map(rounded)),
                noise_levels: meta["qc"]["noise_levels"].as_f64().map(rounded).filter(|levels| *levels > 0.0),
            },
        })
    }
}

impl Default for Constancy {
    fn default() -> Self {
        Self { schema: CONSTANCY_SCHEMA, turns: 0, from_sequence: 0, cameras: BTreeMap::new() }
    }
}

impl Constancy {
    /// For the spool.
    pub fn document(&self, id: &str) -> Document {
        // Plain data with text keys is always writable.
        Document { id: id.to_owned(), value: serde_json::to_value(self).unwrap_or_default() }
    }

    /// From the spool; why not, in words.
    pub fn read(document: &Document) -> Result<Self, Unread> {
        let schema = document.value.get("schema").and_then(serde_json::Value::as_u64);
        if schema.is_some_and(|schema| schema > u64::from(CONSTANCY_SCHEMA)) {
            return Err(Unread::Newer);
        }
        serde_json::from_value(document.value.clone()).map_err(|error| Unread::Damaged(error.to_string()))
    }

    /// Counts those records of a session that are new and in use; the drifts that are new. `day` is the local date if
    /// the clock is to be trusted.
    pub fn count(&mut self, day: Option<i64>, records: &[Record], recipe: &str) -> Vec<Drift> {
        // A picture has a record for each destination.
        let originals = records.iter().filter(|record| record.key.product == "original");
        let in_use = originals.filter(|record| record.superseded_by.is_none());
        let new = in_use.filter(|record| record.key.sequence >= self.from_sequence);
        let new: BTreeMap<u64, &Record> = new.map(|record| (record.key.sequence, record)).collect();
        if let Some(newest) = new.keys().next_back() {
            self.from_sequence = newest + 1;
        }
        let seen: Vec<Seen> = new.values().filter_map(|record| Seen::of(record, recipe)).collect();
        self.add(day, &seen)
    }

    /// Counts the accepted frames of a turn; the drifts that are new.
    pub fn add(&mut self, day: Option<i64>, seen: &[Seen]) -> Vec<Drift> {
        if seen.is_empty() {
            return Vec::new();
        }
        self.turns = self.turns.saturating_add(1);
        let now = Moment { day, turn: self.turns };
        let mut by_camera: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
        seen.iter().for_each(|one| by_camera.entry(&one.camera).or_default().push(one));
        let mut news = Vec::new();
        for (name, frames) in by_camera {
            if !self.cameras.contains_key(name) && self.cameras.len() == CAMERAS_MAX {
                continue;
            }
            let watched = self.cameras.entry(name.to_owned()).or_default();
            let new = watched.add(now, &frames).into_iter();
            news.extend(new.filter_map(|quality| watched.drift(name, quality, now)));
        }
        news
    }

    /// A new baseline for a camera: its lens was cleaned, or it was exchanged. False where nothing is known of it.
    pub fn reset(&mut self, camera: &str) -> bool {
        self.cameras.remove(camera).is_some()
    }

    /// What is beyond its limit, of all cameras.
    pub fn drifts(&self, day: Option<i64>) -> Vec<Drift> {
        let now = Moment { day, turn: self.turns };
        let of = |(name, watched): (&String, &Watched)| -> Vec<Drift> {
            watched.alarms.keys().filter_map(|&quality| watched.drift(name, quality, now)).collect()
        };
        self.cameras.iter().flat_map(of).collect()
    }

    /// Each camera against its baseline; the words are English.
    pub fn health(&self, day: Option<i64>) -> Vec<CameraHealth> {
        let now = Moment { day, turn: self.turns };
        let each = self.cameras.iter().map(|(name, watched)| watched.health(name, now));
        each.collect()
    }
}

/// Why a document is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// A newer version wrote it: it is left alone, and nothing is kept.
    Newer,
    /// It is set aside.
    Damaged(String),
}

impl Watched {
    /// Takes up a turn; the qualities whose alarm is new.
    fn add(&mut self, now: Moment, frames: &[&Seen]) -> Vec<Quality> {
        if let Some(first) = frames.first().filter(|first| first.device != self.device) {
            *self = Self { device: first.device.clone(), ..Self::default() };
        }
        // Of a camera that is exchanged within a turn only the first one is counted; the next turn begins anew.
        let frames: Vec<&Seen> = frames.iter().copied().filter(|one| one.device == self.device).collect();
        let recent = frames.iter().map(|one| Recent { at: now, setup: one.setup.clone(), frame: one.frame });
        self.recent.extend(recent);
        let beyond = self.recent.len().saturating_sub(RECENT_FRAMES_MAX);
        self.recent.drain(..beyond);
        let today = self.compare(self.first_of_today());
        // However few its frames are, a turn that differs does not become what later ones are measured by.
        let turn = self.compare(self.recent.len().saturating_sub(frames.len()));
        let differs = !today.alarms(FRAMES_MIN).is_empty() || !turn.alarms(1).is_empty();
        for one in frames {
            let known = self.setups.get(&one.setup).map_or(0, |setup| setup.baseline.len());
            if known < FRAMES_MIN || !differs {
                self.learn(now, one);
            }
        }
        // Too few frames, or those of a new recipe, do not end an alarm either.
        if today.says_something(FRAMES_MIN) { self.alarm(now, today.alarms(FRAMES_MIN)) } else { Vec::new() }
    }

    /// Takes what is beyond its limit now; what is new of it.
    fn alarm(&mut self, now: Moment, alarms: Vec<(Quality, f64)>) -> Vec<Quality> {
        let before = std::mem::take(&mut self.alarms);
        for (quality, change) in alarms {
            let since = before.get(&quality).map_or(now, |standing| standing.since);
            self.alarms.insert(quality, Alarm { since, change });
        }
        self.alarms.keys().filter(|quality| !before.contains_key(quality)).copied().collect()
    }

    fn learn(&mut self, now: Moment, one: &Seen) {
        if !self.setups.contains_key(&one.setup) && self.setups.len() == SETUPS_MAX {
            let oldest = self.setups.iter().min_by_key(|(_, setup)| setup.last.turn);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.setups.remove(&oldest);
            }
        }
        let setup =
            self.setups.entry(one.setup.clone()).or_insert_with(|| Setup { first: now, ..Setup::default() });
        setup.last = now;
        let is_enough = setup.baseline.len() >= FRAMES_MIN && now.days_since(setup.first) >= BASELINE_DAYS;
        setup.complete |= is_enough || setup.baseline.len() >= BASELINE_FRAMES_MAX;
        if !setup.complete {
            setup.baseline.push(one.frame);
        }
    }

    /// The newest day's frames begin here; all of them count where that day has few.
    fn first_of_today(&self) -> usize {
        let Some(newest) = self.recent.last() else { return 0 };
        let today =
            self.recent.iter().rev().take_while(|recent| newest.at.days_since(recent.at) == 0).count();
        if today >= FRAMES_MIN { self.recent.len() - today } else { 0 }
    }

    /// The newest frames from one on, each beside the median of its like.
    fn compare(&self, from: usize) -> Compared {
        let mut medians = BTreeMap::new();
        let mut pairs = Vec::new();
        for recent in &self.recent[from..] {
            let key = (recent.setup.as_str(), recent.frame.bin);
            let like = medians.entry(key).or_insert_with(|| self.median_of(key));
            if let Some((_, like)) = like {
                pairs.push((*like, recent.frame));
            }
        }
        let baseline_frames = medians.values().flatten().map(|(count, _)| count).sum();
        Compared { baseline_frames, pairs }
    }

    fn median_of(&self, (setup, bin): (&str, Option<u8>)) -> Option<(usize, Frame)> {
        let frames = self.setups.get(setup)?.baseline.iter().filter(|frame| frame.bin == bin);
        let frames: Vec<&Frame> = frames.collect();
        let levels = |n: usize| median(frames.iter().filter_map(|frame| Some(frame.border?[n])));
        let border = || Some([levels(0)?, levels(1)?, levels(2)?]);
        let middle = Frame {
            bin,
            blur_px: median(frames.iter().filter_map(|frame| frame.blur_px)),
            border: border(),
            noise_levels: median(frames.iter().filter_map(|frame| frame.noise_levels)),
        };
        (!frames.is_empty()).then_some((frames.len(), middle))
    }

    fn drift(&self, camera: &str, quality: Quality, now: Moment) -> Option<Drift> {
        let alarm = self.alarms.get(&quality)?;
        let since = Since::of(alarm.since, now);
        Some(Drift { camera: camera.to_owned(), quality, change: alarm.change, since })
    }

    fn health(&self, camera: &str, now: Moment) -> CameraHealth {
        let compared = self.compare(self.first_of_today());
        let drifts: Vec<Drift> =
            self.alarms.keys().filter_map(|&quality| self.drift(camera, quality, now)).collect();
        let words = |drift: &Drift| crate::words::Language::En.drift(drift).in_one();
        CameraHealth {
            camera: camera.to_owned(),
            baseline_frames: self.setups.values().map(|setup| setup.baseline.len()).sum(),
            today_frames: compared.pairs.len(),
            blur_px: compared.measured(|frame| frame.blur_px),
            luma: compared.measured(|frame| Some(frame.border?[0])),
            colour_shift: compared.colour_shift(FRAMES_MIN),
            noise_levels: compared.measured(|frame| frame.noise_levels),
            sentences: drifts.iter().map(words).collect(),
            drifts,
        }
    }
}

/// To a hundredth: the document stays small.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
