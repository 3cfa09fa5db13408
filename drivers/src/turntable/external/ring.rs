//! The ring of marks round a rim, and the camera that reads it: `[rig.turntable.rim]`.

use std::f64::consts::TAU;

use serde::Deserialize;

use crate::board::Rim;

/// What is said of a table without it.
pub(super) const MISSING: &str = "rim is missing: describe the ring of marks in [rig.turntable.rim], for example \
                                  camera = \"main\", radius_mm = 250, marks = 24, mark_mm = 16, height_mm = -10";
/// Paper between two marks, as a part of a mark: without it none is found.
const GAP_PART: f64 = 0.25;

/// A ring of marks and who reads it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// A camera of the rig by its name; where it stands must be calibrated.
    pub camera: String,
    /// From the axis to the print in millimetres.
    pub radius_mm: f64,
    /// How many marks.
    pub marks: u16,
    /// Side of a mark in millimetres.
    pub mark_mm: f64,
    /// Height of the middle of the marks over the platter's top in millimetres; below it is negative.
    pub height_mm: f64,
    /// Degrees that the ring reads while the platter stands at 0. With 0 that is while the ring's first mark faces the
    /// camera that was first when the axis was calibrated.
    #[serde(default)]
    pub zero_deg: f64,
}

impl Ring {
    /// Where its marks are.
    pub fn rim(&self) -> Rim {
        let Ring { radius_mm, marks, mark_mm, height_mm, .. } = *self;
        Rim { radius_mm, marks, mark_mm, height_mm }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value, low, high) in [
            ("radius_mm", self.radius_mm, 20.0, 10_000.0),
            ("marks", f64::from(self.marks), 3.0, 36.0),
            ("mark_mm", self.mark_mm, 2.0, 500.0),
            ("height_mm", self.height_mm, -2000.0, 2000.0),
            ("zero_deg", self.zero_deg, -360.0, 360.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("rim.{key} = {value} is not in {low} to {high}"));
            }
        }
        let room_mm = TAU * self.radius_mm / f64::from(self.marks) / (1.0 + GAP_PART);
        if self.mark_mm > room_mm {
            return Err(format!(
                "rim.mark_mm = {}: {} marks round a radius of {} mm may be {room_mm:.1} mm wide at most, with paper \
                 between them",
                self.mark_mm, self.marks, self.radius_mm
            ));
        }
        Ok(())
    }
}
