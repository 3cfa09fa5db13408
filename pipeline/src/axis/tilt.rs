//! About which line the platter tilts: measured from turns with the marker board at two tilts or more.
//!
//! The board lies where it lay, so that each turn gives the camera's place in one object's frame. What leads from one to
//! the other is the tilt: a turn about a line that stays where it is in the room, by the degrees that the table says.

use serde::{Deserialize, Serialize};
use turnstage_drivers::optics::Pose;

use super::{Axis, Shortfall, turned};
use crate::algebra::{V3, about, about_z, apply, cross, dot, inverse, plus, product, scaled, unit};

/// Degrees between the lowest and the highest tilt that are needed.
pub const SPAN_DEG_MIN: f64 = 5.0;
/// Degrees between the tilt that was measured and the one that the table says.
pub const TILT_ERROR_DEG_MAX: f64 = 0.5;
/// Metres that the platter may slide along the line meanwhile.
pub const SLIDE_M_MAX: f64 = 0.002;

/// The line, in the object's frame while the platter stands at angle 0; it lies there alike at every tilt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TiltAxis {
    /// A place on it in metres: the nearest to the origin.
    pub at: V3,
    /// Its direction, of length 1; the tilt grows counter-clockwise about it.
    pub along: V3,
    /// Degrees by which what was measured differs from what the table said.
    pub error_deg: f64,
}

impl TiltAxis {
    /// From one turn's result at each tilt in degrees, of one camera and before any was turned to face the front. `Err`
    /// where they do not tell it.
    pub fn measured(turns: &[(f64, Axis)]) -> Result<Self, Shortfall> {
        let low = turns.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let high = turns.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let span_deg = low.zip(high).map_or(0.0, |(low, high)| high.0 - low.0);
        let (Some((_, low)), Some((_, high)), true) = (low, high, span_deg >= SPAN_DEG_MIN) else {
            let sentence = format!(
                "The tilts of its turns lie {span_deg:.1} degrees apart, at least {SPAN_DEG_MIN} are needed to find \
                 about what the platter tilts. Use a recipe whose rows are tilted farther."
            );
            return Err(Shortfall::new("axis-tilt-near", sentence));
        };
        let between = joined(&low.camera, &inverse(&high.camera));
        let unclear = || {
            let sentence = "What lies between its turns is no tilt. Did the board lie still on the platter, and the \
                            camera stand still, for all of them? Then calibrate again.";
            Shortfall::new("axis-tilt-unclear", sentence)
        };
        let (along, angle_rad) = turn_of(&between).ok_or_else(unclear)?;
        let slide = dot(between.translation, along);
        let across = plus(between.translation, scaled(along, -slide));
        let far = scaled(cross(along, across), 1.0 / (angle_rad / 2.0).tan());
        let at = scaled(plus(across, far), 0.5);
        let error_deg = (angle_rad.to_degrees() - span_deg).abs();
        let is_tilt = error_deg <= TILT_ERROR_DEG_MAX && slide.abs() <= SLIDE_M_MAX;
        if !is_tilt {
            let sentence = format!(
                "The table says that it tilted {span_deg:.1} degrees, and {:.1} were seen, sliding {:.1} mm. It slips, its \
                 tilt is counted wrongly, or board or camera moved. Mend it, then calibrate again.",
                angle_rad.to_degrees(),
                slide.abs() * 1000.0
            );
            return Err(Shortfall::new("axis-tilt-slipping", sentence));
        }
        Ok(Self { at, along, error_deg })
    }

    /// The same in the object's frame that [`Axis::facing`] leads to.
    pub fn facing(&self, azimuth_rad: f64) -> Self {
        let turn = about_z(-azimuth_rad);
        Self { at: apply(&turn, self.at), along: apply(&turn, self.along), ..*self }
    }

    /// From the room into the object's frame of a platter that is tilted by so many degrees more.
    fn levelling(&self, more_deg: f64) -> Pose {
        let rotation = about(scaled(self.along, -more_deg.to_radians()));
        Pose { rotation, translation: plus(self.at, scaled(apply(&rotation, self.at), -1.0)) }
    }
}

impl Axis {
    /// From the camera's axes to the object's frame while the platter stands at an angle, tilted by so many degrees more
    /// than when this was measured.
    pub fn pose_tilted(&self, angle_deg: f64, tilt: &TiltAxis, more_deg: f64) -> Pose {
        turned(&joined(&tilt.levelling(more_deg), &self.camera), -angle_deg.to_radians())
    }
}

/// First `inner`, then `outer`.
fn joined(outer: &Pose, inner: &Pose) -> Pose {
    Pose {
        rotation: product(&outer.rotation, &inner.rotation),
        translation: plus(apply(&outer.rotation, inner.translation), outer.translation),
    }
}

/// Direction and radians in `(0, π)` of a rotation; `None` of one that has none.
fn turn_of(pose: &Pose) -> Option<(V3, f64)> {
    let r = &pose.rotation;
    let twice = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]];
    let sine = dot(twice, twice).sqrt() / 2.0;
    let cosine = (r[0][0] + r[1][1] + r[2][2] - 1.0) / 2.0;
    Some((unit(twice)?, sine.atan2(cosine)))
}

#[cfg(test)]
mod tests;
