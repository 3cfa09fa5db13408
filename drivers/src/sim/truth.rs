//! What only a simulated booth can tell: where cameras and marks truly are, to hold a calibration against.

use super::model::{RADIUS, block, board, disc};
use super::stance::Stance;
use super::vector::V3;
use super::{Booth, Table};
use crate::board::{Board, Rim};
use crate::optics::{Intrinsics, Pose};

impl Booth {
    /// The lens of a camera as it truly is, and where that camera truly stands while the platter's true angle is 0:
    /// from the camera's axes (right, down, ahead) to the object's. `None` of a camera that was never opened.
    pub fn optics(&self, camera: &str) -> Option<(Intrinsics, Pose)> {
        self.lock().cameras.get(camera).and_then(|slot| slot.optics)
    }

    /// Where a camera truly stands while the platter is turned and tilted so: from the camera's axes (right, down, ahead)
    /// to the object's, in metres. `None` of a camera that was never opened.
    pub fn pose(&self, camera: &str, turn_deg: f64, tilt_deg: f64) -> Option<Pose> {
        let (_, room) = self.optics(camera)?;
        let below_mm = self.lock().table.as_ref().map_or(0.0, Table::below_mm);
        Some(Stance { turn_deg, tilt_deg, below_mm }.pose_in_object(&room, self.scale()))
    }

    /// How far beneath the platter's top the axis of the tilt is, in metres; it runs along the object's y axis at angle 0,
    /// and a positive tilt turns counter-clockwise about that. `None` of a table that does not tilt.
    pub fn tilt_axis_below_m(&self) -> Option<f64> {
        let scale = self.scale();
        let state = self.lock();
        let tilting = state.table.as_ref()?.tilting.as_ref()?;
        Some(tilting.below_mm * scale / 1000.0)
    }

    /// The platter's true angle in the middle of a camera's n-th exposure, in degrees, not wrapped. `None` of one that was
    /// not made, or is long ago.
    pub fn exposed_at(&self, camera: &str, number: u64) -> Option<f64> {
        let state = self.lock();
        let turned = &state.cameras.get(camera)?.turned;
        turned.iter().rev().find(|(known, _)| *known == number).map(|(_, deg)| *deg)
    }

    /// The marks that `rim_markers` puts round the rim.
    pub fn rim(&self) -> Rim {
        let scale = self.scale();
        let Rim { radius_mm, marks, mark_mm, height_mm } = disc::MARKS;
        Rim { radius_mm: radius_mm * scale, marks, mark_mm: mark_mm * scale, height_mm: height_mm * scale }
    }

    /// The board that [`Object::Board`](super::Object::Board) puts there.
    pub fn board(&self) -> Board {
        let size_mm = self.lock().options.board_mm;
        let usual = board::USUAL;
        Board { size_mm, thickness_mm: usual.thickness_mm * size_mm / usual.size_mm }
    }

    /// The marks of [`Object::Block`](super::Object::Block) and their corners in the object's frame in metres: top left, top right, bottom
    /// right, bottom left as one looks at each.
    pub fn block(&self) -> Vec<(u16, [[f64; 3]; 4])> {
        let scale = self.scale() * self.lock().options.object_scale / 1000.0;
        let point = |p: V3| [p.x, p.y, p.z].map(|lane| f64::from(lane) * scale);
        let faces = 0..block::FACES.len();
        faces.map(|k| (block::FIRST + k as u16, block::corners(k).map(point))).collect()
    }

    /// Millimetres of the room for one of the models'.
    pub(crate) fn scale(&self) -> f64 {
        self.lock().options.platter_radius_mm / f64::from(RADIUS)
    }
}
