//! A block with a mark on its lid and on each of its sides: points of known place above the platter, to prove a
//! calibration by.

use super::board::print;
use super::{Finish, Spot};
use crate::board::is_white;
use crate::sim::mesh::Mesh;
use crate::sim::vector::{V3, v3};

/// Half the block's width and depth, and its height.
pub(crate) const HALF: f32 = 45.0;
pub(crate) const HEIGHT: f32 = 120.0;
/// Side of its marks.
pub(crate) const MARK: f32 = 64.0;
/// The mark on the lid; those of the four sides follow, from the side that faces +x on counter-clockwise.
pub(crate) const FIRST: u16 = 20;

/// A face: where its middle is, and which way right and up are as one looks at it.
type Face = (V3, V3, V3);

/// The lid, then the sides.
pub(crate) const FACES: [Face; 5] = [
    (v3(0.0, 0.0, HEIGHT), v3(0.0, 1.0, 0.0), v3(-1.0, 0.0, 0.0)),
    (v3(HALF, 0.0, MIDDLE), v3(0.0, 1.0, 0.0), UP),
    (v3(0.0, HALF, MIDDLE), v3(-1.0, 0.0, 0.0), UP),
    (v3(-HALF, 0.0, MIDDLE), v3(0.0, -1.0, 0.0), UP),
    (v3(0.0, -HALF, MIDDLE), v3(1.0, 0.0, 0.0), UP),
];
const UP: V3 = v3(0.0, 0.0, 1.0);
const MIDDLE: f32 = 0.5 * HEIGHT;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    for (part, (middle, right, up)) in FACES.into_iter().enumerate() {
        let high = if part == 0 { HALF } else { MIDDLE };
        mesh.surface(part as u8, 1, 1, |u, v| {
            middle + right * ((2.0 * u - 1.0) * HALF) + up * ((2.0 * v - 1.0) * high)
        });
    }
    paint
}

fn paint(spot: &Spot) -> Finish {
    let Some((middle, right, up)) = FACES.get(usize::from(spot.part)) else { return print(true) };
    let place = spot.p - *middle;
    let (x, y) = (place.dot(*right) / MARK + 0.5, 0.5 - place.dot(*up) / MARK);
    let in_mark = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
    print(!in_mark || is_white(FIRST + u16::from(spot.part), f64::from(x), f64::from(y)))
}

/// Corners of the mark on a face: top left, top right, bottom right, bottom left as one looks at it.
pub(crate) fn corners(face: usize) -> [V3; 4] {
    let (middle, right, up) = FACES[face];
    let at = |x: f32, y: f32| middle + right * (x * 0.5 * MARK) + up * (y * 0.5 * MARK);
    [at(-1.0, 1.0), at(1.0, 1.0), at(1.0, -1.0), at(-1.0, -1.0)]
}
