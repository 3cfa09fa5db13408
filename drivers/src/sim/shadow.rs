//! The soft shadow of the object on the platter.
//!
//! The object's outline is thrown on the platter's plane from many points of the lights, and the share of light that
//! arrives is kept in a small map that turns with the platter. Areas of light give what they give in a booth: a dark
//! line at the foot and a wide half-shadow.

use super::mesh::Mesh;
use super::model::{Model, RADIUS};
use super::vector::V3;

/// Cells along one side of the map.
const SIDE: usize = 128;
/// Half the map's side in millimetres.
const REACH: f32 = RADIUS + 10.0;

/// Share of the light that reaches each place of the platter.
pub(crate) struct Shadow {
    light: Vec<f32>,
}

impl Shadow {
    /// Throws `mesh` from `lights`, given as directions in the object's frame with their shares of the light.
    pub(crate) fn thrown(mesh: &Mesh, lights: &[(V3, f32)]) -> Shadow {
        let all: f32 = lights.iter().map(|(_, share)| share).sum();
        let mut light = vec![1.0f32; SIDE * SIDE];
        let mut covered = vec![false; SIDE * SIDE];
        let mut points: Vec<(f32, f32)> = Vec::with_capacity(mesh.vertices.len());
        for (toward, share) in lights {
            covered.fill(false);
            points.clear();
            let (sx, sy) = (toward.x / toward.z, toward.y / toward.z);
            let place = |at: f32| (at + REACH) / (2.0 * REACH) * SIDE as f32;
            points
                .extend(mesh.vertices.iter().map(|v| (place(v.p.x - sx * v.p.z), place(v.p.y - sy * v.p.z))));
            for triangle in mesh.triangles.iter().filter(|t| Model::shades(t.part)) {
                cover(&mut covered, triangle.corners.map(|k| points[k as usize]));
            }
            for (cell, dark) in light.iter_mut().zip(&covered) {
                *cell -= if *dark { share / all } else { 0.0 };
            }
        }
        for _ in 0..2 {
            light = softened(&light);
        }
        Shadow { light }
    }

    /// Share of the light at a place of the platter, 0 to 1, interpolated.
    pub(crate) fn light(&self, x: f32, y: f32) -> f32 {
        let place =
            |at: f32| ((at + REACH) / (2.0 * REACH) * SIDE as f32 - 0.5).clamp(0.0, SIDE as f32 - 1.001);
        let (px, py) = (place(x), place(y));
        let (i, j) = (px as usize, py as usize);
        let (s, t) = (px - i as f32, py - j as f32);
        let at = |i: usize, j: usize| self.light[j * SIDE + i];
        let low = at(i, j) + (at(i + 1, j) - at(i, j)) * s;
        let high = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * s;
        low + (high - low) * t
    }
}

/// Marks the cells whose centre lies in a triangle, and the cells of its corners.
fn cover(covered: &mut [bool], corners: [(f32, f32); 3]) {
    let [a, b, c] = corners;
    let within = |v: f32| v.clamp(0.0, SIDE as f32) as usize;
    let low = |p: f32, q: f32, r: f32| within(p.min(q).min(r));
    let high = |p: f32, q: f32, r: f32| within(p.max(q).max(r) + 1.0);
    let (x0, x1, y0, y1) = (low(a.0, b.0, c.0), high(a.0, b.0, c.0), low(a.1, b.1, c.1), high(a.1, b.1, c.1));
    // What looks away from the light lies in the shadow of what faces it.
    let area = (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1);
    if area <= 0.0 {
        return;
    }
    if x1 <= x0 + 1 && y1 <= y0 + 1 {
        if let Some(cell) = (x0 < SIDE && y0 < SIDE).then(|| &mut covered[y0 * SIDE + x0]) {
            *cell = true;
        }
        return;
    }
    let edge =
        |p: (f32, f32), q: (f32, f32), x: f32, y: f32| (q.0 - p.0) * (y - p.1) - (x - p.0) * (q.1 - p.1);
    for j in y0..y1.min(SIDE) {
        for i in x0..x1.min(SIDE) {
            let (x, y) = (i as f32 + 0.5, j as f32 + 0.5);
            covered[j * SIDE + i] |=
                edge(a, b, x, y) >= 0.0 && edge(b, c, x, y) >= 0.0 && edge(c, a, x, y) >= 0.0;
        }
    }
}

/// Mean of 3 by 3 cells.
fn softened(light: &[f32]) -> Vec<f32> {
    let mut out = light.to_vec();
    for j in 1..SIDE - 1 {
        for i in 1..SIDE - 1 {
            let row = |j: usize| light[j * SIDE + i - 1] + light[j * SIDE + i] + light[j * SIDE + i + 1];
            out[j * SIDE + i] = (row(j - 1) + row(j) + row(j + 1)) / 9.0;
        }
    }
    out
}
