//! Where a camera stands against the platter's axis: measured from a turn with the marker board on the platter.
//!
//! The board lies flat on the platter, somewhere; the camera stands still. From the corners seen at each angle follow,
//! together and by least squares over all pixels: the lens if it is not known (focal length and, where it shows, the
//! first coefficient of distortion; Zhang 2000 for a first guess), where the camera stands, where the axis is, how the
//! board lies, and how far the platter really turned each time. The object's frame has its origin where the axis meets
//! the platter's top, z up along the axis, and turns with the platter counter-clockwise by its angle. Where its x axis
//! points at angle 0 is a choice: see [`Axis::facing`].

mod fit;
mod start;
mod tilt;

use serde::{Deserialize, Serialize};
use turnstage_drivers::board::Board;
use turnstage_drivers::optics::{Intrinsics, Pose};

use crate::algebra::{about_z, apply, product};
use crate::board::Corner;
use crate::lens;
use fit::{Bench, Rig};

pub use tilt::{SLIDE_M_MAX, SPAN_DEG_MIN, TILT_ERROR_DEG_MAX, TiltAxis};

/// Angles with a board that are needed.
pub const FRAMES_MIN: usize = 8;
/// Corners that a frame needs to count.
pub const CORNERS_MIN: usize = 8;
/// Frames that are used at most, evenly chosen: more do not make it better.
const FRAMES_MAX: usize = 72;
/// Degrees of the turn that may go by without a frame.
const GAP_DEG_MAX: f64 = 120.0;
/// Pixels that the corners may lie beside where they are calculated, root mean square.
pub const RMS_PX_MAX: f64 = 0.5;
/// Corners that may be left out because they do not fit.
const LEFT_OUT_MAX: f64 = 0.1;
/// Degrees between the board and a plane at right angles to the axis.
pub const TILT_DEG_MAX: f64 = 1.0;
/// Degrees between where the platter was and where it said it was.
pub const ANGLE_DEG_MAX: f64 = 0.5;
/// Uncertainty of a measured focal length as a part of it.
const FOCAL_ERROR_MAX: f64 = 0.005;

/// What was seen at one angle.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Where the table says the platter stood, in degrees. `None` where nobody can say, as of a table that somebody else
    /// turns: then, if no view has one, the board alone tells how far it turned.
    pub angle_deg: Option<f64>,
    /// Corners of the board.
    pub corners: Vec<Corner>,
}

/// What is known of the lens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lens {
    /// All of it: it is taken as it is.
    Known(Intrinsics),
    /// The picture's size only. Pixels are taken as square and the optical axis to meet the picture in its middle.
    Size {
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// The lens.
    pub lens: Intrinsics,
    /// It was given and not measured.
    pub lens_known: bool,
    /// From the camera's axes (right, down, ahead) to the object's frame at angle 0, in metres.
    pub camera: Pose,
    /// Frames that were used.
    pub frames: usize,
    /// Corners that were used.
    pub corners: usize,
    /// Corners that did not fit and were left out.
    pub left_out: usize,
    /// Root mean square of what the corners lie beside where they are calculated, in pixels.
    pub rms_px: f64,
    /// Uncertainty of the focal length as a part of it, one standard deviation; 0 of a known lens.
    pub focal_error: f64,
    /// Degrees between the board and a plane at right angles to the axis.
    pub tilt_deg: f64,
    /// The platter turns clockwise, seen from above, where its angle grows.
    pub reversed: bool,
    /// Largest part of the turn without a frame in degrees.
    pub gap_deg: f64,
    /// Root mean square of where the platter was against where it said it was, in degrees.
    pub angle_rms_deg: f64,
    /// The largest of them.
    pub angle_max_deg: f64,
    /// Degrees that the platter really turned while its angle grew by 360.
    pub turned_deg: f64,
}

/// What is missing for a calibration that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// Stable rule id, for example `axis-slipping`.
    pub rule: &'static str,
    /// Plain sentence with what to do.
    pub sentence: String,
}

impl Shortfall {
    fn new(rule: &'static str, sentence: impl Into<String>) -> Self {
        Self { rule, sentence: sentence.into() }
    }
}

/// Calibrates one camera. `Err` where the views do not suffice for any result; whether a result can be used says
/// [`Axis::judge`].
pub fn calibrate(views: &[View], board: &Board, lens: Lens) -> Result<Axis, Shortfall> {
    let told_any = views.iter().any(|view| view.angle_deg.is_some());
    let told_well = |view: &View| view.angle_deg.map_or(!told_any, f64::is_finite);
    let usable = |view: &&View| view.corners.len() >= CORNERS_MIN && told_well(view);
    let seen: Vec<&View> = views.iter().filter(usable).collect();
    if seen.len() < FRAMES_MIN {
        let sentence = format!(
            "The board was seen in {} of {} frames, at least {FRAMES_MIN} are needed. Lay it flat in the middle of the \
             platter, see that the whole of it is sharp, lit and in the picture at every angle, and use a recipe of at \
             least {FRAMES_MIN} angles.",
            seen.len(),
            views.len()
        );
        return Err(Shortfall::new("axis-few-frames", sentence));
    }
    if let Lens::Known(known) = &lens
        && !lens::is_possible(known)
    {
        return Err(Shortfall::new(
            "axis-lens",
            "The camera tells a lens that cannot be. Leave its own lens out, so that it is measured.",
        ));
    }
    let count = seen.len().min(FRAMES_MAX);
    let chosen: Vec<&View> = (0..count).map(|k| seen[k * seen.len() / count]).collect();
    let unclear = || {
        let sentence = "No place of camera and axis explains what was seen. Did the board lie still on the platter, and \
                        the camera stand still, for the whole turn? Then calibrate again.";
        Shortfall::new("axis-unclear", sentence)
    };
    let begun = start::guess(&chosen, board, lens).ok_or_else(unclear)?;
    let bench = Bench::of(&chosen, board, begun.targets.clone());
    let fitted = fit::fitted(bench, begun.rig, matches!(lens, Lens::Size { .. })).ok_or_else(unclear)?;
    let mut axis = told(&fitted, &begun.targets, begun.reversed, board, matches!(lens, Lens::Known(_)));
    if !told_any {
        // What was a first guess is nothing to be held against.
        (axis.angle_rms_deg, axis.angle_max_deg, axis.turned_deg) = (0.0, 0.0, 360.0);
    }
    Ok(axis)
}

/// The result as it is kept.
fn told(fitted: &fit::Fitted, targets: &[f64], reversed: bool, board: &Board, lens_known: bool) -> Axis {
    let rig = &fitted.rig;
    let off: Vec<f64> = rig.angles.iter().zip(targets).map(|(is, said)| (is - said).to_degrees()).collect();
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let beside: Vec<f64> = off.iter().map(|deg| deg - mean).collect();
    let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
    Axis {
        lens: rig.lens,
        lens_known,
        camera: camera_of(rig, board, mean.to_radians()),
        frames: rig.angles.len(),
        corners: fitted.corners,
        left_out: fitted.left_out,
        rms_px: fitted.rms_px,
        focal_error: fitted.focal_error,
        tilt_deg: rig.tilt_rad().to_degrees(),
        reversed,
        gap_deg: gap_deg(targets),
        angle_rms_deg: square(&beside).sqrt(),
        angle_max_deg: beside.iter().map(|deg| deg.abs()).fold(0.0, f64::max),
        turned_deg: turned_deg(&beside, targets),
    }
}

/// From the camera to the object's frame; the board's print lies above the platter, and the platter stood `zero_rad`
/// farther than it said.
fn camera_of(rig: &Rig, board: &Board, zero_rad: f64) -> Pose {
    let room = Pose { rotation: product(&rig.room.rotation, &about_z(zero_rad)), ..rig.room };
    let Pose { rotation, translation: [x, y, z] } = crate::algebra::inverse(&room);
    Pose { rotation, translation: [x, y, z + board.thickness_mm].map(|mm| mm / 1000.0) }
}

/// The largest part of a turn without a view.
fn gap_deg(targets: &[f64]) -> f64 {
    let mut angles: Vec<f64> = targets.iter().map(|rad| rad.to_degrees().rem_euclid(360.0)).collect();
    angles.sort_by(f64::total_cmp);
    let around = angles.first().map_or(360.0, |first| first + 360.0);
    let next = angles.iter().skip(1).copied().chain([around]);
    angles.iter().zip(next).map(|(angle, next)| next - angle).fold(0.0, f64::max)
}

/// By the slope of what the platter turned beside what it said.
fn turned_deg(beside: &[f64], targets: &[f64]) -> f64 {
    let said: Vec<f64> = targets.iter().map(|rad| rad.to_degrees()).collect();
    let mean = said.iter().sum::<f64>() / said.len() as f64;
    let (along, spread) = said.iter().zip(beside).fold((0.0, 0.0), |(along, spread), (said, off)| {
        (along + (said - mean) * off, spread + (said - mean).powi(2))
    });
    360.0 * (1.0 + if spread > 0.0 { along / spread } else { 0.0 })
}

impl Axis {
    /// The same camera with pictures of another size that show the same.
    pub fn sized(&self, width: u32, height: u32) -> Self {
        let part = f64::from(width) / f64::from(self.lens.width.max(1));
        let down = f64::from(height) / f64::from(self.lens.height.max(1));
        // The corner of the picture stays, and lies half a pixel before the centre of the first one.
        let moved = |at: f64, part: f64| (at + 0.5) * part - 0.5;
        let lens = Intrinsics {
            width,
            height,
            fx: self.lens.fx * part,
            fy: self.lens.fy * down,
            cx: moved(self.lens.cx, part),
            cy: moved(self.lens.cy, down),
            ..self.lens
        };
        Self { lens, ..self.clone() }
    }

    /// What is wrong with the result; empty for one that can be used.
    pub fn judge(&self) -> Vec<Shortfall> {
        let mut found = Vec::new();
        // What is no number is within nothing.
        let within = |value: f64, most: f64| value <= most;
        let mut wrong = |is: bool, rule, sentence: String| {
            found.extend(is.then(|| Shortfall::new(rule, sentence)));
        };
        let part_out = self.left_out as f64 / (self.left_out + self.corners).max(1) as f64;
        wrong(
            self.gap_deg > GAP_DEG_MAX,
            "axis-half-turn",
            format!(
                "For {:.0} degrees of the turn the board was not seen, at most {GAP_DEG_MAX:.0} may be. See that it is \
                 lit and in the picture all round, then calibrate again.",
                self.gap_deg
            ),
        );
        wrong(
            !within(self.rms_px, RMS_PX_MAX) || !within(part_out, LEFT_OUT_MAX),
            "axis-residual",
            format!(
                "The corners lie {:.2} pixels beside where they should be, at most {RMS_PX_MAX} are good; {:.0} % did \
                 not fit at all. The board is bent, the picture is blurred, or camera or board moved. Mend it, then \
                 calibrate again.",
                self.rms_px,
                100.0 * part_out
            ),
        );
        wrong(
            !within(self.focal_error, FOCAL_ERROR_MAX),
            "axis-lens-unsure",
            format!(
                "The focal length is known within {:.1} % only, {:.1} % are needed. Use a larger board, or let the \
                 camera look at it less steeply.",
                100.0 * self.focal_error,
                100.0 * FOCAL_ERROR_MAX
            ),
        );
        wrong(
            !within(self.tilt_deg, TILT_DEG_MAX),
            "axis-tilted",
            format!(
                "The board lies {:.1} degrees aslant to the platter's axis, at most {TILT_DEG_MAX} is good. Lay it flat, \
                 with nothing under it; if it was flat, the platter wobbles.",
                self.tilt_deg
            ),
        );
        wrong(
            self.reversed,
            "axis-reversed",
            "The platter turns clockwise where it should turn counter-clockwise, seen from above. Turn its direction \
             round (motion.reversed in the configuration), then calibrate again."
                .to_owned(),
        );
        wrong(
            !within(self.angle_max_deg, ANGLE_DEG_MAX),
            "axis-slipping",
            format!(
                "The platter was up to {:.1} degrees beside where the table said it was, at most {ANGLE_DEG_MAX} are \
                 good; in a whole turn it turned {:.1} degrees. It slips, or its steps are counted wrongly.",
                self.angle_max_deg, self.turned_deg
            ),
        );
        found
    }

    /// Where the camera stands round the axis at angle 0: radians counter-clockwise from the object's x axis.
    pub fn azimuth_rad(&self) -> f64 {
        let [x, y, _] = self.camera.translation;
        y.atan2(x)
    }

    /// The same in an object's frame whose x axis points where `azimuth_rad` is now. The axes of all cameras of one
    /// turn are to be turned by the same, usually the azimuth of the first one, so that it faces the front at angle 0.
    pub fn facing(&self, azimuth_rad: f64) -> Self {
        Self { camera: turned(&self.camera, -azimuth_rad), ..self.clone() }
    }

    /// From the camera's axes to the object's frame while the platter stands at an angle, tilted as it was when this was
    /// measured.
    pub fn pose(&self, angle_deg: f64) -> Pose {
        turned(&self.camera, -angle_deg.to_radians())
    }
}

/// A pose in a frame that lies turned about z: what is counter-clockwise of the pose is positive.
fn turned(pose: &Pose, radians: f64) -> Pose {
    let turn = about_z(radians);
    Pose { rotation: product(&turn, &pose.rotation), translation: apply(&turn, pose.translation) }
}

#[cfg(test)]
mod tests;
