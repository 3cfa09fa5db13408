//! Where a camera stands against the platter's axis: measured from a session with the marker board, kept until the
//! camera is set otherwise.
//!
//! It holds for one camera with one size of picture, one focus and one lens: a picture that was taken otherwise is never
//! given a pose that it was not taken with. Cameras that were calibrated in one turn share the object's frame.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::{Record, Stamp};
use turnstage_drivers::board::Board;
use turnstage_drivers::camera::CameraInfo;
use turnstage_drivers::optics::{Intrinsics, Pose};
use turnstage_pipeline::InputLimits;
use turnstage_pipeline::axis::{self, Axis, Lens, Shortfall, TiltAxis, View};
use turnstage_pipeline::board::{SeenBoard, seen_in};

use super::Device;
use crate::command::Refusal;

/// Tilts that differ by less are the same.
const TILT_STEP_DEG: f64 = 1e-3;
/// Foci that differ by less are the same: what a lens drive reports wanders by that much.
const FOCUS_STEP: f64 = 1e-3;

/// How a camera was set when it took a picture, as far as its lens depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Which camera, and the size of its pictures as they are stored.
    pub device: Device,
    /// Focus as a share of the lens' way, where the camera tells it.
    pub focus: Option<f64>,
    /// Lens, where the pictures say.
    pub lens: Option<String>,
}

/// An axis calibration, as stored for one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraAxis {
    /// [`super::CALIBRATION_SCHEMA`] of the writer.
    pub schema: u32,
    /// Camera by its name in the rig.
    pub camera: String,
    /// It holds for this setting only.
    pub setting: Setting,
    /// When, and how far the clock could be trusted.
    pub at: Stamp,
    /// The turn with the board; calibrations of one turn share the object's frame.
    pub session: String,
    /// Who calibrated.
    pub actor: String,
    /// The board.
    pub board: Board,
    /// What was measured.
    pub axis: Axis,
    /// The tilt at which it was, in degrees; `None` of a turn whose recipe says nothing of a tilt.
    #[serde(default)]
    pub tilt_deg: Option<f64>,
    /// About what the platter tilts, where the board was shot at several tilts.
    #[serde(default)]
    pub tilt_axis: Option<TiltAxis>,
}

/// What the pictures of one camera tell.
pub struct Measured {
    /// How the camera was set.
    pub setting: Setting,
    /// Where it stands.
    pub axis: Axis,
    /// See [`CameraAxis::tilt_deg`].
    pub tilt_deg: Option<f64>,
    /// See [`CameraAxis::tilt_axis`].
    pub tilt_axis: Option<TiltAxis>,
}

/// A picture of a turn with the board.
pub struct Taken {
    record: Record,
    seen: SeenBoard,
}

impl Taken {
    /// Looks for the board in a picture's bytes.
    pub fn of(record: Record, bytes: &[u8], limits: &InputLimits, board: &Board) -> Result<Self, Refusal> {
        let unreadable = |why: String| {
            let (camera, frame) = (&record.facts.camera, record.facts.shot + 1);
            let reason =
                format!("Frame {frame} of camera {camera} cannot be read: {why}. Shoot the board again.");
            Refusal::new("axis-unreadable", reason)
        };
        let seen = seen_in(bytes, limits, board).map_err(unreadable)?;
        Ok(Self { record, seen })
    }
}

impl Setting {
    /// How the camera was set for a picture. `None` where its record does not say.
    pub fn of(record: &Record) -> Option<Self> {
        let at = |pointer: &str| record.meta.pointer(pointer);
        let text = |pointer: &str| at(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
        let px = |pointer: &str| {
            at(pointer).and_then(serde_json::Value::as_u64).and_then(|px| u32::try_from(px).ok())
        };
        let number = |pointer: &str| at(pointer).and_then(serde_json::Value::as_f64);
        let device = Device {
            driver: text("/camera/driver")?,
            model: text("/camera/model")?,
            width: px("/width")?,
            height: px("/height")?,
        };
        let focus = number("/camera/exposed_with/focus").or_else(|| number("/camera/applied/exposure/focus"));
        Some(Self { device, focus, lens: text("/exif/lens") })
    }

    /// What is otherwise now, as a clause; `None` if the lens is as it was.
    pub fn changed(&self, now: &Setting) -> Option<String> {
        let size = |device: &Device| format!("{} x {}", device.width, device.height);
        let same_focus = match (self.focus, now.focus) {
            (Some(was), Some(is)) => (was - is).abs() <= FOCUS_STEP,
            (was, is) => was.is_none() && is.is_none(),
        };
        let (was, is) = (&self.device, &now.device);
        if (&was.driver, &was.model) != (&is.driver, &is.model) {
            Some(format!("the camera is another one: it was {was}, now it is {is}"))
        } else if (was.width, was.height) != (is.width, is.height) {
            Some(format!("pictures are {} pixels large now and were {}", size(is), size(was)))
        } else if !same_focus {
            let told = |focus: Option<f64>| {
                focus.map_or_else(|| "not told".to_owned(), |focus| format!("{focus:.3}"))
            };
            Some(format!("the focus is {} now and was {}", told(now.focus), told(self.focus)))
        } else if self.lens != now.lens {
            Some("another lens is on it".to_owned())
        } else {
            None
        }
    }
}

impl CameraAxis {
    /// What is otherwise now of the camera that gives a live picture, of whatever size, as a clause.
    pub fn changed_since(&self, now: &CameraInfo, focus: Option<f64>) -> Option<String> {
        let Setting { device, lens, .. } = self.setting.clone();
        let device = Device { driver: now.driver.to_owned(), model: now.model.clone(), ..device };
        self.setting.changed(&Setting { device, focus, lens })
    }

    /// Refuses a picture that was taken with another setting.
    pub fn holds_for(&self, record: &Record) -> Result<(), Refusal> {
        let refused = |why: String| {
            let reason = format!(
                "The axis calibration of camera {} does not hold for this session: {why}. Lay the board on the platter \
                 and calibrate with these settings (turnstage calibrate axis), then shoot again.",
                self.camera
            );
            Refusal::new("axis-other-setting", reason)
        };
        match Setting::of(record) {
            None => Err(refused("its pictures do not say how the camera was set".to_owned())),
            Some(now) => self.setting.changed(&now).map_or(Ok(()), |why| Err(refused(why))),
        }
    }

    /// From the camera's axes to the object's frame for a picture that was taken at an angle; refused where its tilt is not
    /// the calibration's, and it is not known about what the platter tilts.
    pub fn pose(&self, record: &Record, angle_deg: f64) -> Result<Pose, Refusal> {
        let refused = |rule, why: String| {
            let reason = format!(
                "Camera {}: {why} Lay the board on the platter and calibrate with a recipe whose rows name their tilts \
                 (tilt_deg), at least two of them: turnstage calibrate axis.",
                self.camera
            );
            Err(Refusal::new(rule, reason))
        };
        match (self.tilt_deg, tilt_of(record), &self.tilt_axis) {
            (None, None, _) => Ok(self.axis.pose(angle_deg)),
            (Some(own), Some(tilt), _) if (own - tilt).abs() < TILT_STEP_DEG => Ok(self.axis.pose(angle_deg)),
            (Some(own), Some(tilt), Some(axis)) => Ok(self.axis.pose_tilted(angle_deg, axis, tilt - own)),
            (Some(own), Some(tilt), None) => refused(
                "axis-tilt-unknown",
                format!(
                    "the picture was taken at a tilt of {tilt} degrees and the calibration at {own}; about what the \
                     platter tilts was not measured."
                ),
            ),
            (None, Some(tilt), _) => refused(
                "axis-tilt-unknown",
                format!(
                    "the picture was taken at a tilt of {tilt} degrees, and the calibration does not say at which."
                ),
            ),
            (Some(own), None, _) => refused(
                "axis-tilt-unknown",
                format!(
                    "the picture does not say at which tilt it was taken; the calibration was at {own} degrees."
                ),
            ),
        }
    }
}

/// The tilt at which a picture was taken, in degrees, where its recipe named one.
fn tilt_of(record: &Record) -> Option<f64> {
    record.meta.pointer("/place/tilt_deg").and_then(serde_json::Value::as_f64)
}

/// The axis of each camera from the pictures of one turn, in one object's frame: the first camera, by name, faces the
/// front at angle 0. `Err` where one cannot be measured or is not good enough.
pub fn measured(taken: &[Taken], board: &Board) -> Result<BTreeMap<String, Measured>, Refusal> {
    let mut cameras: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for one in taken {
        cameras.entry(&one.record.facts.camera).or_default().push(one);
    }
    let mut all = BTreeMap::new();
    for (camera, pictures) in cameras {
        all.insert(camera.to_owned(), of_camera(camera, &pictures, board)?);
    }
    let front = all.values().next().map_or(0.0, |first: &Measured| first.axis.azimuth_rad());
    for one in all.values_mut() {
        one.axis = one.axis.facing(front);
        one.tilt_axis = one.tilt_axis.map(|tilt| tilt.facing(front));
    }
    Ok(all)
}

fn of_camera(camera: &str, pictures: &[&Taken], board: &Board) -> Result<Measured, Refusal> {
    let told = |rule: &str, sentence: String| Refusal::new(rule, format!("Camera {camera}: {sentence}"));
    let settings = pictures.iter().map(|one| Setting::of(&one.record)).collect::<Option<Vec<_>>>();
    let Some((first, rest)) = settings.as_deref().and_then(<[Setting]>::split_first) else {
        let sentence =
            "Its pictures do not say with which camera they were taken. Shoot the board with this rig.";
        return Err(told("axis-no-setting", sentence.to_owned()));
    };
    if let Some(why) = rest.iter().find_map(|now| first.changed(now)) {
        let sentence = format!("Its setting changed during the turn: {why}. Lock it, then calibrate again.");
        return Err(told("axis-other-setting", sentence));
    }
    for one in pictures {
        if (one.seen.width, one.seen.height) != (first.device.width, first.device.height) {
            let sentence = "Its pictures are stored turned by EXIF, which programs of photogrammetry take in different \
                            ways. Switch automatic rotation off in the camera, then calibrate again.";
            return Err(told("axis-turned-picture", sentence.to_owned()));
        }
    }
    let known = pictures[0].record.meta.get("lens").cloned();
    let known: Option<Intrinsics> = known.and_then(|lens| serde_json::from_value(lens).ok());
    let lens =
        known.map_or(Lens::Size { width: first.device.width, height: first.device.height }, Lens::Known);
    let found = by_tilt(pictures, board, lens).map_err(|found| {
        let rule = found.first().map_or("axis-unclear", |found| found.rule);
        let sentences: Vec<&str> = found.iter().map(|found| found.sentence.as_str()).collect();
        told(rule, sentences.join(" "))
    })?;
    let Turns { axis, tilt_deg, tilt_axis } = found;
    Ok(Measured { setting: first.clone(), axis, tilt_deg, tilt_axis })
}

/// What the turns of one camera tell.
struct Turns {
    axis: Axis,
    tilt_deg: Option<f64>,
    tilt_axis: Option<TiltAxis>,
}

/// One turn for each tilt, the most level one first: it says where the camera stands, and the others about what the
/// platter tilts.
fn by_tilt(pictures: &[&Taken], board: &Board, lens: Lens) -> Result<Turns, Vec<Shortfall>> {
    let mut turns: Vec<(Option<f64>, Vec<View>)> = Vec::new();
    for one in pictures {
        let facts = &one.record.facts;
        let angle_deg = facts.angle_reached.or(facts.angle_commanded);
        let (tilt, view) = (tilt_of(&one.record), View { angle_deg, corners: one.seen.corners.clone() });
        match turns.iter_mut().find(|(other, _)| *other == tilt) {
            Some((_, views)) => views.push(view),
            None => turns.push((tilt, vec![view])),
        }
    }
    // A turn whose tilt is not known says nothing beside others.
    let aslant = |tilt: Option<f64>| tilt.map_or(f64::INFINITY, f64::abs);
    turns.sort_by(|(a, _), (b, _)| aslant(*a).total_cmp(&aslant(*b)));
    let (tilt_deg, level) = turns.first().map_or((None, &[][..]), |(tilt, views)| (*tilt, views.as_slice()));
    let axis = judged(level, board, lens)?;
    let mut tilted = Vec::new();
    for (tilt, views) in turns.iter().skip(1) {
        let Some(tilt) = tilt else { continue };
        // The lens is the same one: what was measured of it holds for all.
        tilted.push((*tilt, judged(views, board, Lens::Known(axis.lens))?));
    }
    let tilt_axis = match tilt_deg.filter(|_| !tilted.is_empty()) {
        None => None,
        Some(tilt) => {
            tilted.push((tilt, axis.clone()));
            Some(TiltAxis::measured(&tilted).map_err(|found| vec![found])?)
        }
    };
    Ok(Turns { axis, tilt_deg, tilt_axis })
}

/// Calibrates by one turn, and refuses what is not good enough.
fn judged(views: &[View], board: &Board, lens: Lens) -> Result<Axis, Vec<Shortfall>> {
    let axis = axis::calibrate(views, board, lens).map_err(|found| vec![found])?;
    match axis.judge() {
        found if found.is_empty() => Ok(axis),
        found => Err(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        let device = Device { driver: "sim".to_owned(), model: "m".to_owned(), width: 640, height: 480 };
        Setting { device, focus: Some(0.5), lens: Some("50 mm".to_owned()) }
    }

    #[test]
    fn a_lens_that_was_set_otherwise_is_told_by_what_changed() {
        let was = setting();
        assert_eq!(was.changed(&Setting { focus: Some(0.5004), ..setting() }), None);
        let told = |now: Setting| was.changed(&now).unwrap();
        assert_eq!(told(Setting { focus: Some(0.52), ..setting() }), "the focus is 0.520 now and was 0.500");
        assert_eq!(told(Setting { focus: None, ..setting() }), "the focus is not told now and was 0.500");
        let turned = Device { width: 480, height: 640, ..setting().device };
        assert!(told(Setting { device: turned, ..setting() }).starts_with("pictures are 480 x 640"));
        assert_eq!(told(Setting { lens: None, ..setting() }), "another lens is on it");
        let other = Device { model: "n".to_owned(), ..setting().device };
        assert!(told(Setting { device: other, ..setting() }).contains("it was m (sim, 640 x 480)"));
    }
}
