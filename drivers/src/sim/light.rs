//! The light tent: three soft boxes, bright walls, a dark gap where the photographer stands.
//!
//! The tent stands still while the object turns, so every direction here is of the room. Dull matter gets the light
//! of the boxes by Lambert's law, wrapped a little round the edge because the boxes are large; mirrors see the tent.

use super::model::{Finish, Model, RADIUS, Spot};
use super::shadow::Shadow;
use super::stance::Turn;
use super::texture::smooth;
use super::vector::{V3, v3};

/// A soft box: where it hangs and what it gives.
struct SoftBox {
    axis: V3,
    right: V3,
    up: V3,
    /// Half its width and height, as tangents of the angle seen from the platter.
    half: (f32, f32),
    radiance: f32,
    /// Light on a surface that faces it.
    power: f32,
}

/// Directions to the lights, for shadows, with their share of the light that falls on the platter.
pub(crate) const BOXES: usize = 3;

/// Matter at least so rough shows no image of the platter.
const ROUGH_PLATTER: f32 = 0.6;

/// The tent.
pub(crate) struct Tent {
    boxes: [SoftBox; BOXES],
}

impl Tent {
    pub(crate) fn new() -> Tent {
        let hang = |axis: V3, half, radiance, power| {
            let axis = axis.unit();
            let right = v3(-axis.y, axis.x, 0.0).unit();
            SoftBox { axis, right, up: axis.cross(right), half, radiance, power }
        };
        Tent {
            boxes: [
                hang(v3(0.38, -0.78, 0.62), (0.42, 0.58), 3.6, 0.72),
                hang(v3(0.12, 0.12, 1.0), (0.75, 0.6), 2.2, 0.34),
                hang(v3(0.42, 0.9, 0.34), (0.16, 0.62), 3.0, 0.2),
            ],
        }
    }

    /// Points on the lights with their share of the light on a level surface, for soft shadows.
    pub(crate) fn points(&self) -> Vec<(V3, f32)> {
        let mut points = Vec::new();
        for soft in &self.boxes {
            let share = soft.power * soft.axis.z;
            for (a, b) in [(-0.75, -0.4), (-0.25, 0.4), (0.25, -0.4), (0.75, 0.4), (-0.4, 0.8), (0.4, -0.8)] {
                let aside = soft.right * (a * soft.half.0) + soft.up * (b * soft.half.1);
                points.push(((soft.axis + aside).unit(), share / 6.0));
            }
        }
        // The walls of the tent, from far down: they give the contact its dark line.
        for k in 0..6u8 {
            let (sin, cos) = (f32::from(k) * std::f32::consts::TAU / 6.0 + 0.3).sin_cos();
            points.push((v3(cos * 0.8, sin * 0.8, 0.6), 0.05));
        }
        points
    }

    /// What comes from a direction of the room; `rough` spreads it.
    pub(crate) fn seen(&self, d: V3, rough: f32) -> V3 {
        let soft = 0.05 + 0.9 * rough;
        // White cloth all round, brightest behind the object; the room is dark where the camera looks in.
        let gap = smooth(0.25 - soft, 0.95, d.x) * smooth(0.75, 0.1, d.z.abs());
        let wall = 0.62 - 0.12 * d.z - 0.52 * gap;
        let mut light = if d.z < 0.0 { wall.min(0.5) } else { wall };
        let per_soft = 1.0 / (1.5 * soft);
        let edge = |at: f32, half: f32| {
            let t = ((half + soft - at.abs()) * per_soft).clamp(0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        };
        for b in &self.boxes {
            let ahead = d.dot(b.axis);
            if ahead > 0.05 {
                let near = 1.0 / ahead;
                let across = edge(d.dot(b.right) * near, b.half.0);
                if across > 0.0 {
                    light += b.radiance * across * edge(d.dot(b.up) * near, b.half.1) / (1.0 + 1.5 * rough);
                }
            }
        }
        let tinted = v3(light * 0.995, light, light * 1.01);
        tinted.mix(V3::splat(0.62), rough * rough)
    }

    /// The backdrop and the floor behind the object, for a ray from the eye.
    pub(crate) fn backdrop(&self, eye: V3, d: V3) -> V3 {
        const FLOOR: f32 = -15.0;
        // A lamp behind the table throws a pool of light on the cloth.
        let off_pool = 1.0 - d.dot((v3(0.0, 0.0, 120.0) - eye).unit());
        let back = v3(0.985, 0.995, 1.01) * (0.40 + 0.38 * (-off_pool * 22.0).exp());
        if d.z > -1e-3 {
            return back;
        }
        let hit = eye + d * ((FLOOR - eye.z) / d.z);
        let r = (hit.x * hit.x + hit.y * hit.y).sqrt();
        let beside = ((r - RADIUS) / 26.0).max(0.0);
        let shade = 1.0 - 0.5 * (-beside).exp() - 0.14 * (-beside * 0.18).exp();
        let floor = v3(1.0, 0.997, 0.99) * (0.76 * shade);
        floor.mix(back, smooth(RADIUS * 1.6, RADIUS * 4.2, r))
    }

    /// Light that leaves a place towards the eye. Place, `toward_eye` and shadow are in the object's frame; `turn`
    /// leads from there into the room.
    pub(crate) fn lit(
        &self,
        spot: &Spot,
        finish: &Finish,
        toward_eye: V3,
        turn: Turn,
        shadow: &Shadow,
    ) -> V3 {
        let n = turn.into_room(spot.n);
        let v = turn.into_room(toward_eye);
        let facing = n.dot(v).clamp(0.02, 1.0);
        let open = if Model::catches_shadow(spot.part) {
            shadow.light(spot.p.x, spot.p.y)
        } else {
            0.72 + 0.28 * smooth(0.0, 22.0, spot.p.z)
        };
        let diffuse = finish.color.by(self.falling(n, open, spot));
        let grazing = 1.0 - facing;
        let square = grazing * grazing;
        let fresnel = finish.mirror
            + (V3::splat(1.0) - finish.mirror) * (square * square * grazing * (1.0 - finish.rough));
        if finish.rough > 0.8 {
            return diffuse + fresnel * (0.5 * open);
        }
        let mirrored = n * (2.0 * facing) - v;
        let mut image = self.seen(mirrored, finish.rough);
        // Rough matter spreads the platter's marks beyond recognition.
        if spot.p.z > 0.5 && finish.rough < ROUGH_PLATTER {
            image = self.platter(spot, turn.into_object(mirrored), shadow).unwrap_or(image);
        }
        diffuse + image.by(fresnel) * open.sqrt()
    }

    /// Light that falls on a surface with normal `n`.
    fn falling(&self, n: V3, open: f32, spot: &Spot) -> V3 {
        const WRAP: f32 = 0.22;
        let direct: f32 =
            self.boxes.iter().map(|b| b.power * ((n.dot(b.axis) + WRAP) / (1.0 + WRAP)).max(0.0)).sum();
        let up = 0.5 + 0.5 * n.z;
        // Light thrown back by the platter is warmer, and less the nearer one comes to the foot.
        let back = (1.0 - up) * (0.10 + 0.16 * smooth(0.0, 40.0, spot.p.z));
        let sky = 0.10 + 0.2 * up;
        V3::splat((direct + sky) * open) + v3(1.0, 0.97, 0.93) * back
    }

    /// What a mirror sees of the platter where it looks along `down`, in the object's frame; `None` if that is elsewhere.
    fn platter(&self, spot: &Spot, down: V3, shadow: &Shadow) -> Option<V3> {
        if down.z >= -0.02 {
            return None;
        }
        let hit = spot.p + down * (spot.p.z / -down.z);
        let inside = hit.x * hit.x + hit.y * hit.y < RADIUS * RADIUS;
        inside
            .then(|| Model::platter_color(hit.x, hit.y, spot.px * 4.0) * (0.95 * shadow.light(hit.x, hit.y)))
    }
}
