//! Outlines of dark areas, and those of them that have four straight sides.
//!
//! An outline is followed along the cracks between a dark and a bright pixel, dark to the right, so that it lies
//! exactly between them. Areas that touch at a corner only are two. Each outline is followed once, so all of them take
//! time in proportion to the pixels.

use crate::algebra::V2;

/// Points of an outline that are kept, in pictures' half perimeters: no four straight sides are longer.
const POINTS_PART: usize = 3;
/// The shortest outline that can be read.
const POINTS_MIN: usize = 24;
/// The shortest side in pixels.
const SIDE_MIN: f64 = 6.0;

const DARK: u8 = 1;
/// A dark pixel whose left crack was followed.
const FOLLOWED: u8 = 2;

/// Calls `take` with the outer outline of each dark area, as the middles of its cracks in order, clockwise as one looks
/// at the picture. Leaves marks in the mask.
pub(super) fn each(mask: &mut [u8], width: usize, mut take: impl FnMut(&[V2])) {
    if width == 0 {
        return;
    }
    let height = mask.len() / width;
    let points_max = POINTS_PART * (width + height);
    let mut points = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let starts = mask[y * width + x] == DARK && (x == 0 || mask[y * width + x - 1] == 0);
            if starts && follow(mask, (width, height), (x, y), points_max, &mut points) {
                take(&points);
            }
        }
    }
}

/// Follows one outline, upward along the left crack of a pixel first. True for an outer one of a useful length.
fn follow(
    mask: &mut [u8],
    (width, height): (usize, usize),
    start: (usize, usize),
    points_max: usize,
    points: &mut Vec<V2>,
) -> bool {
    points.clear();
    let dark = |mask: &[u8], x: isize, y: isize| {
        let inside = (0..width as isize).contains(&x) && (0..height as isize).contains(&y);
        inside && mask[y as usize * width + x as usize] != 0
    };
    let first = (start.0 as isize, start.1 as isize + 1, 0, -1);
    let (mut x, mut y, mut dx, mut dy) = first;
    let (mut length, mut twice_area) = (0, 0);
    loop {
        if dy == -1 {
            mask[(y - 1) as usize * width + x as usize] = FOLLOWED;
        }
        length += 1;
        if length <= points_max {
            // A vertex of the grid of cracks lies half a pixel before the pixel of its number.
            points.push([x as f64 + 0.5 * dx as f64 - 0.5, y as f64 + 0.5 * dy as f64 - 0.5]);
        }
        twice_area += x * dy - y * dx;
        (x, y) = (x + dx, y + dy);
        // The pixels ahead, to the right and to the left of the way.
        let ahead = |side: isize| {
            let (right, down) = (-side * dy, side * dx);
            dark(mask, x + (dx + right - 1) / 2, y + (dy + down - 1) / 2)
        };
        if !ahead(1) {
            (dx, dy) = (-dy, dx);
        } else if ahead(-1) {
            (dx, dy) = (dy, -dx);
        }
        if (x, y, dx, dy) == first {
            break;
        }
    }
    twice_area > 0 && (POINTS_MIN..=points_max).contains(&length)
}

/// Four corners, clockwise as one looks at the picture, if the outline has four straight sides.
pub(super) fn quad(points: &[V2]) -> Option<[V2; 4]> {
    let count = points.len() as f64;
    let middle = points.iter().fold([0.0, 0.0], |sum, at| [sum[0] + at[0] / count, sum[1] + at[1] / count]);
    let farthest = |from: V2| {
        let far = |k: &usize| squared(points[*k], from);
        (0..points.len()).max_by(|a, b| far(a).total_cmp(&far(b)))
    };
    let a = farthest(middle)?;
    let c = farthest(points[a])?;
    let beside = |at: V2| across(points[a], points[c], at);
    let side = |sign: f64| {
        let far = |k: &usize| sign * beside(points[*k]);
        (0..points.len()).max_by(|a, b| far(a).total_cmp(&far(b)))
    };
    let mut order = [a, side(1.0)?, c, side(-1.0)?];
    order.sort_unstable();
    // The points nearest to the corners are not of the straight part.
    let sides: Vec<(V2, V2)> =
        (0..4).map(|k| side_of(points, order[k], order[(k + 1) % 4])).collect::<Option<_>>()?;
    let corners = [0, 1, 2, 3].map(|k| meet(sides[(k + 3) % 4], sides[k]));
    let [Some(p), Some(q), Some(r), Some(s)] = corners else { return None };
    let quad = [p, q, r, s];
    let convex = (0..4).all(|k| across(quad[k], quad[(k + 1) % 4], quad[(k + 2) % 4]) > 0.0);
    let long = (0..4).all(|k| squared(quad[k], quad[(k + 1) % 4]) >= SIDE_MIN * SIDE_MIN);
    (convex && long).then_some(quad)
}

/// The straight line along a side, as a point and a direction; `None` if it is not straight.
fn side_of(points: &[V2], from: usize, to: usize) -> Option<(V2, V2)> {
    let count = (to + points.len() - from) % points.len();
    let margin = count / 8 + 1;
    if count < 2 * margin + 3 {
        return None;
    }
    let inner = (margin..=count - margin).map(|k| points[(from + k) % points.len()]);
    let line = line_of(inner.clone().map(|at| (at, 1.0)))?;
    let length = count as f64;
    let off = |at: V2| across(line.0, [line.0[0] + line.1[0], line.0[1] + line.1[1]], at).abs();
    let straight = inner.clone().map(off).fold(0.0, f64::max) <= 1.5 + 0.02 * length;
    straight.then_some(line)
}

/// The line nearest to weighted points, by total least squares.
pub(super) fn line_of(points: impl Iterator<Item = (V2, f64)> + Clone) -> Option<(V2, V2)> {
    let sum = points.clone().fold([0.0; 3], |s, (at, w)| [s[0] + w * at[0], s[1] + w * at[1], s[2] + w]);
    if sum[2] <= 0.0 {
        return None;
    }
    let middle = [sum[0] / sum[2], sum[1] / sum[2]];
    let spread = points.fold([0.0; 3], |s, (at, w)| {
        let (x, y) = (at[0] - middle[0], at[1] - middle[1]);
        [s[0] + w * x * x, s[1] + w * x * y, s[2] + w * y * y]
    });
    let angle = 0.5 * (2.0 * spread[1]).atan2(spread[0] - spread[2]);
    (spread[0] + spread[2] > 0.0).then(|| (middle, [angle.cos(), angle.sin()]))
}

/// Where two lines meet; `None` of nearly parallel ones.
pub(super) fn meet((p, d): (V2, V2), (q, e): (V2, V2)) -> Option<V2> {
    let turn = d[0] * e[1] - d[1] * e[0];
    let along = ((q[0] - p[0]) * e[1] - (q[1] - p[1]) * e[0]) / turn;
    (turn.abs() > 0.05).then(|| [p[0] + along * d[0], p[1] + along * d[1]])
}

fn squared(a: V2, b: V2) -> f64 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// Distance of a place from the line through two others times their distance; positive to the right of the way from
/// `a` to `b` as one looks at the picture.
fn across(a: V2, b: V2, at: V2) -> f64 {
    (b[0] - a[0]) * (at[1] - a[1]) - (b[1] - a[1]) * (at[0] - a[0])
}
