//! Which triangle is seen where: projection and a z-buffer with four looks a pixel.
//!
//! The picture is made in bands of rows, so that the buffers of a band stay in the cache whatever the picture's size.
//! Texture is evaluated once a pixel; only where the four looks see different things is it evaluated for each.

use super::mesh::Mesh;
use super::vector::V3;

/// Rows of a band.
pub(crate) const BAND_ROWS: usize = 16;
/// Looks into a pixel.
pub(crate) const LOOKS: usize = 4;
/// No triangle.
pub(crate) const NOTHING: u32 = u32::MAX;
/// Where the looks go, from the centre of the pixel: a rotated grid.
pub(crate) const OFFSETS: [(f32, f32); LOOKS] =
    [(-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)];

/// A camera in the object's frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Eye {
    pub(crate) at: V3,
    pub(crate) right: V3,
    pub(crate) up: V3,
    pub(crate) ahead: V3,
    /// Pixels per unit of tangent.
    pub(crate) focal: f32,
    /// Width and height in pixels.
    pub(crate) size: (usize, usize),
}

impl Eye {
    /// Direction through a place of the picture, not of unit length: 1 along the axis.
    pub(crate) fn ray(&self, x: f32, y: f32) -> V3 {
        let (w, h) = (self.size.0 as f32, self.size.1 as f32);
        self.ahead + self.right * ((x - 0.5 * w) / self.focal) - self.up * ((y - 0.5 * h) / self.focal)
    }
}

/// A triangle on the picture: the weights of its second and third corner and 1/depth are linear in x and y.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flat {
    x: f32,
    y: f32,
    weight_b: (f32, f32),
    weight_c: (f32, f32),
    /// 1/depth of the three corners.
    near: [f32; 3],
    columns: (u32, u32),
    rows: (u32, u32),
    /// Which triangle of the mesh.
    pub(crate) id: u32,
}

impl Flat {
    fn weights(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.x, y - self.y);
        (self.weight_b.0 * dx + self.weight_b.1 * dy, self.weight_c.0 * dx + self.weight_c.1 * dy)
    }

    /// Weights of the corners of the triangle in space for a place on the picture, and the depth there.
    pub(crate) fn place(&self, x: f32, y: f32) -> ([f32; 3], f32) {
        let (b, c) = self.weights(x, y);
        // A pixel's centre may lie a little outside of a triangle that is seen at its edge.
        let (b, c) = (b.clamp(-0.2, 1.2), c.clamp(-0.2, 1.2));
        let a = (1.0 - b - c).clamp(-0.2, 1.2);
        let near = [a * self.near[0], b * self.near[1], c * self.near[2]];
        let depth = 1.0 / (near[0] + near[1] + near[2]).max(1e-9);
        (near.map(|n| n * depth), depth)
    }
}

/// Every triangle that faces the eye, sorted into bands.
pub(crate) struct Seen {
    pub(crate) flats: Vec<Flat>,
    bands: Vec<Vec<u32>>,
}

impl Seen {
    pub(crate) fn new(mesh: &Mesh, eye: &Eye) -> Seen {
        let (w, h) = (eye.size.0 as f32, eye.size.1 as f32);
        let project = |p: V3| {
            let d = p - eye.at;
            let near = 1.0 / d.dot(eye.ahead);
            let k = eye.focal * near;
            (0.5 * w + k * d.dot(eye.right), 0.5 * h - k * d.dot(eye.up), near)
        };
        let corners: Vec<_> = mesh.vertices.iter().map(|v| project(v.p)).collect();
        let mut flats = Vec::with_capacity(mesh.triangles.len() / 2);
        for (id, triangle) in mesh.triangles.iter().enumerate() {
            flats.extend(flat(id as u32, triangle.corners.map(|k| corners[k as usize]), eye.size));
        }
        let mut bands = vec![Vec::new(); eye.size.1.div_ceil(BAND_ROWS)];
        for (k, flat) in flats.iter().enumerate() {
            let (first, last) = (flat.rows.0 as usize / BAND_ROWS, flat.rows.1 as usize / BAND_ROWS);
            bands[first..=last].iter_mut().for_each(|band| band.push(k as u32));
        }
        Seen { flats, bands }
    }
}

fn flat(id: u32, [a, b, c]: [(f32, f32, f32); 3], size: (usize, usize)) -> Option<Flat> {
    // Rows run downward, so that a triangle that faces the eye runs clockwise here.
    let area = (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1);
    let near = [a.2, b.2, c.2];
    if area > -1e-7 || near.iter().any(|n| !n.is_finite() || *n <= 0.0) {
        return None;
    }
    let (low_x, high_x) = (a.0.min(b.0).min(c.0), a.0.max(b.0).max(c.0));
    let (low_y, high_y) = (a.1.min(b.1).min(c.1), a.1.max(b.1).max(c.1));
    let (w, h) = (size.0 as f32, size.1 as f32);
    if high_x < 0.0 || high_y < 0.0 || low_x >= w || low_y >= h {
        return None;
    }
    let columns = (low_x.max(0.0) as u32, high_x.min(w - 1.0) as u32);
    let rows = (low_y.max(0.0) as u32, high_y.min(h - 1.0) as u32);
    let k = 1.0 / area;
    Some(Flat {
        x: a.0,
        y: a.1,
        weight_b: ((c.1 - a.1) * k, (a.0 - c.0) * k),
        weight_c: ((a.1 - b.1) * k, (b.0 - a.0) * k),
        near,
        columns,
        rows,
        id,
    })
}

/// What the looks into the pixels of one band see.
pub(crate) struct Band {
    width: usize,
    near: Vec<[f32; LOOKS]>,
    flat: Vec<[u32; LOOKS]>,
}

impl Band {
    pub(crate) fn new(width: usize) -> Band {
        let pixels = width * BAND_ROWS;
        Band { width, near: vec![[0.0; LOOKS]; pixels], flat: vec![[NOTHING; LOOKS]; pixels] }
    }

    /// What is seen at column `x` of row `row` of the band: for each look the number of a [`Flat`] and its nearness.
    pub(crate) fn looks(&self, x: usize, row: usize) -> (&[u32; LOOKS], &[f32; LOOKS]) {
        let k = row * self.width + x;
        (&self.flat[k], &self.near[k])
    }

    /// Draws every triangle of a band whose first row is `top`.
    pub(crate) fn draw(&mut self, seen: &Seen, top: usize) {
        self.near.fill([0.0; LOOKS]);
        self.flat.fill([NOTHING; LOOKS]);
        for &k in &seen.bands[top / BAND_ROWS] {
            self.triangle(&seen.flats[k as usize], k, top);
        }
    }

    fn triangle(&mut self, flat: &Flat, k: u32, top: usize) {
        const OUTSIDE: f32 = -1e-5;
        let first = (flat.rows.0 as usize).max(top);
        let last = (flat.rows.1 as usize).min(top + BAND_ROWS - 1);
        let slope = |w: (f32, f32)| OFFSETS.map(|(dx, dy)| w.0 * dx + w.1 * dy);
        let (shift_b, shift_c) = (slope(flat.weight_b), slope(flat.weight_c));
        let reach = |w: (f32, f32)| 0.375 * (w.0.abs() + w.1.abs());
        let (reach_b, reach_c) = (reach(flat.weight_b), reach(flat.weight_c));
        let reach_a = reach((flat.weight_b.0 + flat.weight_c.0, flat.weight_b.1 + flat.weight_c.1));
        let [near_a, near_b, near_c] = flat.near;
        let (rise_b, rise_c) = (near_b - near_a, near_c - near_a);
        for y in first..=last {
            let row = (y - top) * self.width;
            let (mut b, mut c) = flat.weights(flat.columns.0 as f32 + 0.5, y as f32 + 0.5);
            for x in flat.columns.0 as usize..=flat.columns.1 as usize {
                let outside = b < -reach_b || c < -reach_c || 1.0 - b - c < -reach_a;
                if !outside {
                    let (near, flats) = (&mut self.near[row + x], &mut self.flat[row + x]);
                    for look in 0..LOOKS {
                        let (b, c) = (b + shift_b[look], c + shift_c[look]);
                        let depth = near_a + b * rise_b + c * rise_c;
                        if b >= OUTSIDE && c >= OUTSIDE && 1.0 - b - c >= OUTSIDE && depth > near[look] {
                            near[look] = depth;
                            flats[look] = k;
                        }
                    }
                }
                b += flat.weight_b.0;
                c += flat.weight_c.0;
            }
        }
    }
}
