//! Where an edge is, to a fraction of a pixel: along short lines across it, by how much light they meet.

use std::sync::OnceLock;

use super::outline::{line_of, meet};
use crate::algebra::V2;
use crate::plane::Plane;

/// Steps of a line across an edge, each a quarter of a pixel.
const STEP: f64 = 0.25;
/// A line across reaches so far to either side in pixels.
const REACH: (f64, f64) = (1.5, 4.0);
/// And no farther than this part of a cell, because the next cell may be white.
const CELL_PART: f64 = 0.9;
/// Light that must lie between the two sides of an edge, of 1.
const CONTRAST_MIN: f64 = 0.03;
/// Lines across one side of a mark.
const LINES: (usize, usize) = (8, 64);

/// Light of each level, by the curve of sRGB (IEC 61966-2-1), 0 to 1.
pub(crate) fn light(level: u8) -> f64 {
    static LIGHT: OnceLock<[f64; 256]> = OnceLock::new();
    LIGHT.get_or_init(|| {
        std::array::from_fn(|level| {
            let s = level as f64 / 255.0;
            if s <= 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) }
        })
    })[usize::from(level)]
}

/// Corners of a dark square, where lines along its edges meet. `None` where an edge cannot be measured, or where the
/// square turns out to be another one than `rough` says.
pub(super) fn refined(plane: &Plane<'_>, rough: &[V2; 4]) -> Option<[V2; 4]> {
    let mut quad = *rough;
    // The first pass moves the lines across to where the edge is, the second measures.
    for _ in 0..2 {
        let sides = [0, 1, 2, 3].map(|k| side(plane, &quad, k));
        let [Some(a), Some(b), Some(c), Some(d)] = sides else { return None };
        let corners = [meet(d, a), meet(a, b), meet(b, c), meet(c, d)];
        let [Some(p), Some(q), Some(r), Some(s)] = corners else { return None };
        quad = [p, q, r, s];
    }
    let moved = |k: usize| (quad[k][0] - rough[k][0]).hypot(quad[k][1] - rough[k][1]);
    (0..4).all(|k| moved(k) < 3.0).then_some(quad)
}

/// The line along one side of a quad whose corners run clockwise.
fn side(plane: &Plane<'_>, quad: &[V2; 4], k: usize) -> Option<(V2, V2)> {
    let (from, to, opposite) = (quad[k], quad[(k + 1) % 4], quad[(k + 2) % 4]);
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = dx.hypot(dy);
    // Outward, because the way along the side is clockwise.
    let normal = [dy / length, -dx / length];
    let depth = -((opposite[0] - from[0]) * normal[0] + (opposite[1] - from[1]) * normal[1]);
    let cell = depth / turnstage_drivers::board::CELLS_WITH_BORDER as f64;
    let reach = (CELL_PART * cell).clamp(REACH.0, REACH.1);
    let count = (length as usize).clamp(LINES.0, LINES.1);
    let mut found = Vec::with_capacity(count);
    for nth in 0..count {
        // Near the corners the other side is met.
        let part = 0.12 + 0.76 * (nth as f64 + 0.5) / count as f64;
        let at = [from[0] + part * dx, from[1] + part * dy];
        if let Some(off) = crossing(plane, at, normal, reach) {
            found.push([at[0] + off * normal[0], at[1] + off * normal[1]]);
        }
    }
    if found.len() * 2 < count {
        return None;
    }
    let mut line = line_of(found.iter().map(|&at| (at, 1.0)))?;
    for _ in 0..2 {
        let off = |at: V2| (at[0] - line.0[0]) * line.1[1] - (at[1] - line.0[1]) * line.1[0];
        let mean = (found.iter().map(|&at| off(at).powi(2)).sum::<f64>() / found.len() as f64).sqrt();
        let limit = (2.0 * mean).max(0.02);
        let near = found.iter().copied().filter(|&at| off(at).abs() <= limit);
        line = line_of(near.collect::<Vec<_>>().iter().map(|&at| (at, 1.0)))?;
    }
    Some(line)
}

/// How far along `normal` from a place the dark inside ends, in pixels: what the light that is met amounts to, which no
/// blur of the lens and no size of a pixel changes.
fn crossing(plane: &Plane<'_>, at: V2, normal: V2, reach: f64) -> Option<f64> {
    let steps = (2.0 * reach / STEP) as usize;
    let place = |k: usize| {
        let along = k as f64 * STEP - reach;
        [at[0] + along * normal[0], at[1] + along * normal[1]]
    };
    let mut lights = [0.0; 40];
    let lights = lights.get_mut(..=steps)?;
    for (k, value) in lights.iter_mut().enumerate() {
        *value = plane.between(place(k), light)?;
    }
    let end = steps / 5 + 1;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (dark, bright) = (mean(&lights[..end]), mean(&lights[steps + 1 - end..]));
    if bright - dark < CONTRAST_MIN {
        return None;
    }
    // By the trapezoid rule: the ends count half.
    let sum: f64 = lights.iter().sum::<f64>() - 0.5 * (lights[0] + lights[steps]);
    let met = (sum - steps as f64 * dark) / (bright - dark) * STEP;
    let off = steps as f64 * STEP - reach - met;
    (off.abs() < 0.8 * reach).then_some(off)
}
