//! What can stand on the platter: a mesh, and paint that tells what any point of it looks like.
//!
//! Models are made once, in millimetres for a platter of radius [`RADIUS`], with z upward and the platter's top at
//! z = 0. Paint is a function of the place on the shape, so that a picture of any size shows as much as it can.

pub(super) mod block;
pub(super) mod board;
mod bottle;
mod car;
mod carton;
mod chrome;
pub(super) mod disc;
mod plush;
mod shoe;
mod toy;
mod vase;

use std::fmt;

use super::Object;
use super::mesh::Mesh;
use super::vector::V3;

/// Radius of the platter in the models' millimetres.
pub(crate) const RADIUS: f32 = 150.0;

/// A place on the model, seen by one pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) p: V3,
    pub(crate) n: V3,
    /// Place on the shape's grid, see [`super::mesh::Vertex`].
    pub(crate) u: f32,
    pub(crate) v: f32,
    pub(crate) part: u8,
    /// Size of a pixel at this place in millimetres.
    pub(crate) px: f32,
}

/// What a place looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Finish {
    /// Linear colour of the matter itself, each 0 to 1.
    pub(crate) color: V3,
    /// Mirrored share of light that falls straight on it: 0.04 for glaze and paint, near 1 for polished metal.
    pub(crate) mirror: V3,
    /// How far reflections are spread: 0 sharp, 1 gone.
    pub(crate) rough: f32,
}

impl Finish {
    /// Dull matter.
    pub(crate) fn matte(color: V3) -> Finish {
        Finish { color, mirror: V3::splat(0.02), rough: 0.9 }
    }

    /// Glaze, lacquer, plastic.
    pub(crate) fn glossy(color: V3) -> Finish {
        Finish { color, mirror: V3::splat(0.045), rough: 0.12 }
    }

    /// Polished metal of this colour.
    pub(crate) fn metal(color: V3, rough: f32) -> Finish {
        Finish { color: V3::splat(0.0), mirror: color, rough }
    }
}

/// Height of an object that is not there yet, which cameras are put up for.
const USUAL_HEIGHT: f32 = 190.0;

/// A mesh and its paint.
pub(crate) struct Model {
    object: Object,
    /// Size of the object; the platter keeps its own.
    scale: f32,
    /// The platter has a ring of marks round its rim.
    ringed: bool,
    pub(crate) mesh: Mesh,
    /// Height that cameras are put up to look at, for an object of scale 1.
    pub(crate) aim: f32,
    paint: fn(&Spot) -> Finish,
}

/// A model follows from the object, its scale and the platter's ring.
impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        (self.object, self.scale, self.ringed) == (other.object, other.scale, other.ringed)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} x {}", self.object, self.scale)
    }
}

impl Model {
    /// An object on its platter, `scale` times as large as usual.
    pub(crate) fn of(object: Object, scale: f32, ringed: bool) -> Model {
        let mut mesh = Mesh::default();
        let paint = match object {
            Object::Vase => vase::build(&mut mesh),
            Object::Car => car::build(&mut mesh),
            Object::Chrome => chrome::build(&mut mesh),
            Object::Toy => toy::build(&mut mesh),
            Object::Carton => carton::build(&mut mesh),
            Object::Plush => plush::build(&mut mesh),
            Object::Shoe => shoe::build(&mut mesh),
            Object::Bottle => bottle::build(&mut mesh),
            Object::Board => board::build(&mut mesh),
            Object::Block => block::build(&mut mesh),
            Object::Empty => disc::paint,
        };
        let top = match object {
            Object::Empty => USUAL_HEIGHT,
            _ => mesh.vertices.iter().map(|vertex| vertex.p.z).fold(0.0, f32::max),
        };
        mesh.vertices.iter_mut().for_each(|vertex| vertex.p = vertex.p * scale);
        disc::build(&mut mesh);
        if ringed {
            disc::ring(&mut mesh);
        }
        // A little below the middle, because the platter is seen in front of the foot.
        Model { object, scale, ringed, mesh, aim: 0.42 * top - 6.0, paint }
    }

    /// What a place looks like.
    pub(crate) fn finish(&self, spot: &Spot) -> Finish {
        if spot.part >= disc::TOP {
            return disc::paint(spot);
        }
        // Paint knows the object in its usual size.
        let usual = 1.0 / self.scale;
        (self.paint)(&Spot { p: spot.p * usual, px: spot.px * usual, ..*spot })
    }

    /// Whether a part is printed with edges as sharp as print is, so that one look a pixel does not do it justice.
    pub(crate) fn is_print(&self, part: u8) -> bool {
        part == disc::RING || part < disc::TOP && matches!(self.object, Object::Board | Object::Block)
    }

    /// Whether a part throws a shadow on the platter.
    pub(crate) fn shades(part: u8) -> bool {
        part < disc::TOP
    }

    /// Whether a part is the platter's upper side, on which shadows fall.
    pub(crate) fn catches_shadow(part: u8) -> bool {
        part == disc::TOP
    }

    /// What a ray that hits the platter's plane at (x, y) sees, without light and shadow.
    pub(crate) fn platter_color(x: f32, y: f32, px: f32) -> V3 {
        disc::top(x, y, px)
    }
}

/// Linear colour from the usual 8-bit hexadecimal notation of sRGB.
pub(crate) fn hex(rgb: u32) -> V3 {
    let lane = |shift: u32| {
        let s = (rgb >> shift & 0xff) as f32 / 255.0;
        // Within half a level of the exact curve, and cheap enough for paint that is mixed for every pixel.
        s * (s * (s * 0.305_306_01 + 0.682_171_1) + 0.012_522_878)
    };
    super::vector::v3(lane(16), lane(8), lane(0))
}
