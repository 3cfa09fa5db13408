//! Triangle meshes out of a few shapes: turned, drawn along a line, lofted, rounded.
//!
//! Every shape is a grid of points with smooth normals. A triangle is seen from the side from which its corners run
//! counter-clockwise. Each vertex keeps its grid coordinates, from which paint finds its place on the shape.

use std::f32::consts::{FRAC_PI_2, TAU};

use super::vector::{V3, v3};

/// A corner of triangles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vertex {
    pub(crate) p: V3,
    pub(crate) n: V3,
    /// Place on the shape, both in `[0, 1]`.
    pub(crate) u: f32,
    pub(crate) v: f32,
}

/// Three corners and the part of the model they belong to, which decides the paint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Triangle {
    pub(crate) corners: [u32; 3],
    pub(crate) part: u8,
}

/// Shapes put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mesh {
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) triangles: Vec<Triangle>,
}

/// One cross-section of a loft: a rounded rectangle across x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub(crate) x: f32,
    /// Half the width.
    pub(crate) half: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) round: f32,
    /// Width at the top as a part of the width at the bottom.
    pub(crate) lean: f32,
}

impl Mesh {
    /// A grid of `nu` by `nv` cells over a surface `(u, v) -> point`, seen from where `du x dv` points.
    pub(crate) fn surface(&mut self, part: u8, nu: usize, nv: usize, point: impl Fn(f32, f32) -> V3) {
        const STEP: f32 = 2e-3;
        let normal = |u: f32, v: f32| {
            // Away from the poles, where one of the two tangents vanishes.
            let (u, v) = (u.clamp(STEP, 1.0 - STEP), v.clamp(STEP, 1.0 - STEP));
            let along_u = point(u + STEP, v) - point(u - STEP, v);
            let along_v = point(u, v + STEP) - point(u, v - STEP);
            along_u.cross(along_v).unit()
        };
        self.grid(part, nu, nv, |i, j| {
            let (u, v) = (i as f32 / nu as f32, j as f32 / nv as f32);
            Vertex { p: point(u, v), n: normal(u, v), u, v }
        });
    }

    /// `nu` by `nv` cells over vertices made by `vertex(i, j)`.
    fn grid(&mut self, part: u8, nu: usize, nv: usize, vertex: impl Fn(usize, usize) -> Vertex) {
        let base = self.vertices.len();
        let id = |i: usize, j: usize| (base + j * (nu + 1) + i) as u32;
        for j in 0..=nv {
            self.vertices.extend((0..=nu).map(|i| vertex(i, j)));
        }
        for j in 0..nv {
            for i in 0..nu {
                let (a, b, c, d) = (id(i, j), id(i + 1, j), id(i + 1, j + 1), id(i, j + 1));
                self.triangles.push(Triangle { corners: [a, b, c], part });
                self.triangles.push(Triangle { corners: [a, c, d], part });
            }
        }
    }

    /// A profile of (radius, height) points turned about the z axis. Runs upward for an outside.
    pub(crate) fn lathe(&mut self, part: u8, sides: usize, steps: usize, profile: &[(f32, f32)]) {
        self.surface(part, sides, steps, |u, v| {
            let (sin, cos) = (u * TAU).sin_cos();
            let (r, z) = curve(profile, v);
            v3(r * cos, r * sin, z)
        });
    }

    /// A round bar along a smooth line through `points`, with the radius given along it.
    pub(crate) fn tube(&mut self, part: u8, points: &[V3], radius: impl Fn(f32) -> f32) {
        let steps = points.len() * 10;
        let lane = |of: fn(&V3) -> f32| -> Vec<(f32, f32)> { points.iter().map(|p| (of(p), 0.0)).collect() };
        let (x, y, z) = (lane(|p| p.x), lane(|p| p.y), lane(|p| p.z));
        let at = |v: f32| v3(curve(&x, v).0, curve(&y, v).0, curve(&z, v).0);
        self.surface(part, 20, steps, |u, v| {
            let ahead = (at((v + 0.01).min(1.0)) - at((v - 0.01).max(0.0))).unit();
            let aside = if ahead.y.abs() < 0.9 { v3(0.0, 1.0, 0.0) } else { v3(1.0, 0.0, 0.0) };
            let first = aside.cross(ahead).unit();
            let second = ahead.cross(first);
            let (sin, cos) = (u * TAU).sin_cos();
            at(v) + (first * cos + second * sin) * radius(v)
        });
    }

    /// A ball stretched along the axes.
    pub(crate) fn ball(&mut self, part: u8, centre: V3, half: V3) {
        self.surface(part, 36, 20, |u, v| {
            let (sin, cos) = (u * TAU).sin_cos();
            let (up, out) = ((v - 0.5) * FRAC_PI_2 * 2.0).sin_cos();
            centre + v3(half.x * out * cos, half.y * out * sin, half.z * up)
        });
    }

    /// A box with rounded edges.
    pub(crate) fn rounded_box(&mut self, part: u8, centre: V3, half: V3, round: f32) {
        let sections: Vec<Section> = quarter_angles(6)
            .iter()
            .map(|&(angle, side)| {
                let (sin, cos) = angle.sin_cos();
                let inset = round * (1.0 - sin.abs());
                Section {
                    x: centre.x - side * (half.x - round) - round * cos,
                    half: half.y - inset,
                    low: centre.z - half.z + inset,
                    high: centre.z + half.z - inset,
                    round: (round - inset).max(0.02),
                    lean: 1.0,
                }
            })
            .collect();
        let base = self.vertices.len();
        self.loft(part, &sections);
        self.close(part, &sections);
        for vertex in &mut self.vertices[base..] {
            vertex.p.y += centre.y;
        }
    }

    /// A skin over cross-sections, in order of rising x.
    pub(crate) fn loft(&mut self, part: u8, sections: &[Section]) {
        let ring = ring();
        let steps = sections.len() - 1;
        let point = |i: usize, j: usize| sections[j].point(ring[i]);
        self.grid(part, ring.len() - 1, steps, |i, j| {
            let along = point(i, (j + 1).min(steps)) - point(i, j.saturating_sub(1));
            let n = sections[j].tangent(ring[i]).cross(along).unit();
            let (u, v) = (i as f32 / (ring.len() - 1) as f32, j as f32 / steps as f32);
            Vertex { p: point(i, j), n, u, v }
        });
    }

    /// Flat lids on both ends of a loft.
    pub(crate) fn close(&mut self, part: u8, sections: &[Section]) {
        let ring = ring();
        for (section, side) in [(sections.first(), -1.0), (sections.last(), 1.0)] {
            let Some(section) = section else { continue };
            let middle = v3(section.x, 0.0, 0.5 * (section.low + section.high));
            let n = v3(side, 0.0, 0.0);
            self.grid(part, ring.len() - 1, 1, |i, j| {
                let i = if side > 0.0 { i } else { ring.len() - 1 - i };
                let p = if j == 0 { section.point(ring[i]) } else { middle };
                Vertex { p, n, u: 0.0, v: 0.0 }
            });
        }
    }

    /// A wheel or a lamp: a profile of (radius, height) turned about an axis through `centre` along `axis`.
    pub(crate) fn turned(&mut self, part: u8, centre: V3, axis: V3, profile: &[(f32, f32)]) {
        let up = axis.unit();
        let aside = if up.z.abs() < 0.9 { v3(0.0, 0.0, 1.0) } else { v3(1.0, 0.0, 0.0) };
        let first = aside.cross(up).unit();
        let second = up.cross(first);
        self.surface(part, 40, profile.len() * 5, |u, v| {
            let (sin, cos) = (u * TAU).sin_cos();
            let (r, z) = curve(profile, v);
            centre + (first * cos + second * sin) * r + up * z
        });
    }
}

impl Section {
    fn point(&self, (angle, y_side, z_side): (f32, f32, f32)) -> V3 {
        let (sin, cos) = angle.sin_cos();
        let z = 0.5 * (self.low + self.high)
            + z_side * (0.5 * (self.high - self.low) - self.round)
            + self.round * sin;
        let height = ((z - self.low) / (self.high - self.low).max(1e-3)).clamp(0.0, 1.0);
        let narrow = 1.0 + (self.lean - 1.0) * height;
        v3(self.x, (y_side * (self.half - self.round) + self.round * cos) * narrow, z)
    }

    fn tangent(&self, (angle, y_side, _): (f32, f32, f32)) -> V3 {
        let (sin, cos) = angle.sin_cos();
        // The sides of a section that leans inward are not upright.
        let leaning = (self.lean - 1.0) * self.half * y_side / (self.high - self.low).max(1e-3);
        v3(0.0, -sin + leaning * cos.abs(), cos)
    }
}

/// Angles round a rounded rectangle with the corner they belong to; the jumps between corners are the flat sides.
fn ring() -> Vec<(f32, f32, f32)> {
    const STEPS: usize = 6;
    let corners = [(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (1.0, 1.0)];
    let mut ring = Vec::new();
    for (k, (y, z)) in corners.into_iter().enumerate() {
        let steps = if k == 4 { 0 } else { STEPS };
        ring.extend((0..=steps).map(|s| ((k as f32 + s as f32 / STEPS as f32) * FRAC_PI_2, y, z)));
    }
    ring
}

/// Angles of a rounded end and the side they belong to, from -x to +x.
fn quarter_angles(steps: usize) -> Vec<(f32, f32)> {
    let angle = |k: usize| k as f32 / steps as f32 * FRAC_PI_2;
    let near = (0..=steps).map(|k| (angle(k), 1.0));
    let far = (0..=steps).map(|k| (FRAC_PI_2 + angle(k), -1.0));
    near.chain(far).collect()
}

/// A smooth line through points (Catmull and Rom 1974), for `t` in `[0, 1]`; every span takes the same share of `t`.
pub(crate) fn curve(points: &[(f32, f32)], t: f32) -> (f32, f32) {
    let last = points.len() - 1;
    let place = t.clamp(0.0, 1.0) * last as f32;
    let k = (place as usize).min(last.saturating_sub(1));
    let s = place - k as f32;
    let at = |i: usize| points[i.min(last)];
    let (before, a, b, after) = (at(k.saturating_sub(1)), at(k), at(k + 1), at(k + 2));
    let blend = |p0: f32, p1: f32, p2: f32, p3: f32| {
        let (c1, c2, c3) = (p2 - p0, 2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3, 3.0 * (p1 - p2) + p3 - p0);
        p1 + 0.5 * s * (c1 + s * (c2 + s * c3))
    };
    (blend(before.0, a.0, b.0, after.0), blend(before.1, a.1, b.1, after.1))
}
