//! What only a simulated booth can tell: where cameras and marks truly are, to hold a calibration against.

use super::Booth;
use super::model::{RADIUS, block, board, disc};
use super::vector::V3;
use crate::board::{Board, Rim};
use crate::optics::{Intrinsics, Pose};

impl Booth {
    /// The lens of a camera as it truly is, and where that camera truly stands while the platter's true angle is 0:
    /// from the camera's axes (right, down, ahead) to the object's. `None` of a camera that was never opened.
    pub fn optics(&self, camera: &str) -> Option<(Intrinsics, Pose)> {
        self.lock().cameras.get(camera).and_then(|slot| slot.optics)
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
