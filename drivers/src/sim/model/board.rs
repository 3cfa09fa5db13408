//! The marker board as it lies on the platter, not quite in its middle and a little turned, as a person puts it.

use super::{Finish, Spot, hex};
use crate::board::{Board, USUAL_MM};
use crate::sim::mesh::Mesh;
use crate::sim::vector::{V3, v3};

/// The board in its usual size; another size is a scale of this.
pub(crate) const USUAL: Board = Board { size_mm: USUAL_MM, thickness_mm: 1.0 };
/// White paper beyond the chess pattern.
const MARGIN_MM: f32 = 6.0;
/// Where its middle lies, and how far it is turned counter-clockwise.
const MIDDLE: (f32, f32) = (6.0, -4.0);
const TURNED_DEG: f32 = 10.0;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    let side = USUAL.size_mm as f32 + 2.0 * MARGIN_MM;
    mesh.surface(0, 1, 1, |u, v| on_platter((u - 0.5) * side, (v - 0.5) * side));
    paint
}

fn on_platter(x: f32, y: f32) -> V3 {
    let level = v3(x, y, USUAL.thickness_mm as f32).turned(TURNED_DEG.to_radians().sin_cos());
    level + v3(MIDDLE.0, MIDDLE.1, 0.0)
}

fn paint(spot: &Spot) -> Finish {
    let (sin, cos) = TURNED_DEG.to_radians().sin_cos();
    let own = (spot.p - v3(MIDDLE.0, MIDDLE.1, 0.0)).turned((-sin, cos));
    print(USUAL.is_white(f64::from(own.x), f64::from(own.y)))
}

/// Toner on matt paper.
pub(crate) fn print(is_white: bool) -> Finish {
    Finish::matte(if is_white { hex(0xe6e6e4) } else { hex(0x1c1c1e) })
}
