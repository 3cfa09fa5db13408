//! Where a camera stands against the platter's axis: measured from a session with the marker board, kept until the
//! camera is set otherwise.
//!
//! It holds for one camera with one size of picture, one focus and one lens: a picture that was taken otherwise is never
//! given a pose that it was not taken with. Cameras that were calibrated in one turn share the object's frame.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::{Record, Stamp};
use turnstage_drivers::board::Board;
use turnstage_drivers::optics::Intrinsics;
use turnstage_pipeline::InputLimits;
use turnstage_pipeline::axis::{self, Axis, Lens, Shortfall, View};
use turnstage_pipeline::board::{SeenBoard, seen_in};

use super::Device;
use crate::command::Refusal;

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
}

/// The axis of each camera from the pictures of one turn, in one object's frame: the first camera, by name, faces the
/// front at angle 0. `Err` where one cannot be measured or is not good enough.
pub fn measured(taken: &[Taken], board: &Board) -> Result<BTreeMap<String, (Setting, Axis)>, Refusal> {
    let mut cameras: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for one in taken {
        cameras.entry(&one.record.facts.camera).or_default().push(one);
    }
    let mut all = BTreeMap::new();
    for (camera, pictures) in cameras {
        all.insert(camera.to_owned(), of_camera(camera, &pictures, board)?);
    }
    let front = all.values().next().map(|(_, axis)| axis.azimuth_rad());
    for (_, axis) in all.values_mut() {
        *axis = axis.facing(front.unwrap_or_default());
    }
    Ok(all)
}

fn of_camera(camera: &str, pictures: &[&Taken], board: &Board) -> Result<(Setting, Axis), Refusal> {
    let told = |rule: &str, sentence: String| Refusal::new(rule, format!("Camera {camera}: {sentence}"));
    let short = |found: &Shortfall| told(found.rule, found.sentence.clone());
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
    let mut views = Vec::new();
    for one in pictures {
        let facts = &one.record.facts;
        let Some(angle_deg) = facts.angle_reached.or(facts.angle_commanded) else { continue };
        if (one.seen.width, one.seen.height) != (first.device.width, first.device.height) {
            let sentence = "Its pictures are stored turned by EXIF, which programs of photogrammetry take in different \
                            ways. Switch automatic rotation off in the camera, then calibrate again.";
            return Err(told("axis-turned-picture", sentence.to_owned()));
        }
        views.push(View { angle_deg, corners: one.seen.corners.clone() });
    }
    let known = pictures[0].record.meta.get("lens").cloned();
    let known: Option<Intrinsics> = known.and_then(|lens| serde_json::from_value(lens).ok());
    let lens =
        known.map_or(Lens::Size { width: first.device.width, height: first.device.height }, Lens::Known);
    let axis = axis::calibrate(&views, board, lens).map_err(|found| short(&found))?;
    match axis.judge().as_slice() {
        [] => Ok((first.clone(), axis)),
        [found, more @ ..] => {
            let sentences = more.iter().map(|found| found.sentence.as_str());
            let all: Vec<&str> = std::iter::once(found.sentence.as_str()).chain(sentences).collect();
            Err(told(found.rule, all.join(" ")))
        }
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
