//! What paint is made of: noise, soft edges, signed distances, numerals and lettering.
//!
//! Edges are as soft as one pixel, whose size on the object is handed in, so that a fine pattern is crisp on a large
//! picture and does not glitter on a small one.

/// How much of a pixel of size `px` lies inside an edge at signed distance `d` (negative inside), 0 to 1.
#[inline]
pub(crate) fn inside(d: f32, px: f32) -> f32 {
    (0.5 - d / px).clamp(0.0, 1.0)
}

/// 0 below `low`, 1 above `high`, smooth between.
#[inline]
pub(crate) fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A number in `[0, 1)` for every cell of a plane; scrambled by multiplication and shifts.
#[inline]
pub(crate) fn cell(x: i32, y: i32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    ((h ^ (h >> 15)) >> 8) as f32 / 16_777_216.0
}

/// The whole number below. Without a call, unlike `f32::floor` on processors that are not asked for newer parts.
#[inline]
fn below(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from(whole as f32 > x)
}

/// Value noise of the plane, one bump a unit, in `[0, 1)`.
#[inline]
pub(crate) fn noise(x: f32, y: f32) -> f32 {
    let (i, j) = (below(x), below(y));
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (s, t) = (ease(x - i as f32), ease(y - j as f32));
    let low = cell(i, j) + (cell(i + 1, j) - cell(i, j)) * s;
    let high = cell(i, j + 1) + (cell(i + 1, j + 1) - cell(i, j + 1)) * s;
    low + (high - low) * t
}

/// Scattered dots of radius up to `r` cells, one in a cell of unit size at most: 1 on a dot.
pub(crate) fn speckle(x: f32, y: f32, r: f32, px: f32) -> f32 {
    let (i, j) = (below(x), below(y));
    let px = px.max(0.05);
    let (dx, dy) = (x - i as f32 - 0.25 - 0.5 * cell(i, j), y - j as f32 - 0.25 - 0.5 * cell(i + 7, j - 3));
    let square = dx * dx + dy * dy;
    let reach = r + px;
    if square > reach * reach {
        return 0.0;
    }
    inside(square.sqrt() - r * (0.3 + 0.7 * cell(i - 5, j + 11)), px)
}

/// Distance to a circle.
#[inline]
pub(crate) fn circle(x: f32, y: f32, r: f32) -> f32 {
    (x * x + y * y).sqrt() - r
}

/// Distance to an upright rectangle of half-sides `a`, `b`.
#[inline]
pub(crate) fn rectangle(x: f32, y: f32, a: f32, b: f32) -> f32 {
    (x.abs() - a).max(y.abs() - b)
}

/// The shorter way from `b` to `a` round a circle of circumference 1, in `[-0.5, 0.5)`.
#[inline]
pub(crate) fn around(a: f32, b: f32) -> f32 {
    let d = a - b;
    d - below(d + 0.5) as f32
}

/// Distance to the middle of the nearest repetition, every `period`.
#[inline]
pub(crate) fn repeat(x: f32, period: f32) -> f32 {
    x - below(x / period + 0.5) as f32 * period
}

/// Numerals as lines through points; x from 0 to 4, y from 0 (foot) to 6.
const NUMERALS: [&[(f32, f32)]; 10] = [
    &[
        (1.0, 0.0),
        (0.0, 1.2),
        (0.0, 4.8),
        (1.0, 6.0),
        (3.0, 6.0),
        (4.0, 4.8),
        (4.0, 1.2),
        (3.0, 0.0),
        (1.0, 0.0),
    ],
    &[(0.8, 4.6), (2.3, 6.0), (2.3, 0.0)],
    &[(0.0, 4.8), (1.0, 6.0), (3.0, 6.0), (4.0, 4.9), (3.6, 3.4), (0.0, 0.0), (4.0, 0.0)],
    &[
        (0.0, 6.0),
        (4.0, 6.0),
        (1.9, 3.6),
        (3.2, 3.3),
        (4.0, 2.3),
        (4.0, 1.1),
        (3.0, 0.0),
        (1.0, 0.0),
        (0.0, 1.0),
    ],
    &[(3.0, 0.0), (3.0, 6.0), (0.0, 1.8), (4.0, 1.8)],
    &[
        (3.8, 6.0),
        (0.5, 6.0),
        (0.3, 3.4),
        (2.8, 3.6),
        (4.0, 2.6),
        (4.0, 1.2),
        (2.9, 0.0),
        (1.0, 0.0),
        (0.0, 0.9),
    ],
    &[
        (3.4, 6.0),
        (1.5, 5.0),
        (0.0, 2.0),
        (1.0, 0.0),
        (3.0, 0.0),
        (4.0, 1.2),
        (4.0, 2.2),
        (3.0, 3.4),
        (0.7, 3.2),
    ],
    &[(0.0, 6.0), (4.0, 6.0), (1.4, 0.0)],
    &[
        (1.0, 3.2),
        (0.2, 4.2),
        (0.2, 5.0),
        (1.0, 6.0),
        (3.0, 6.0),
        (3.8, 5.0),
        (3.8, 4.2),
        (3.0, 3.2),
        (1.0, 3.2),
        (0.0, 2.2),
        (0.0, 1.0),
        (1.0, 0.0),
        (3.0, 0.0),
        (4.0, 1.0),
        (4.0, 2.2),
        (3.0, 3.2),
    ],
    &[
        (0.6, 0.0),
        (2.5, 1.0),
        (4.0, 4.0),
        (3.0, 6.0),
        (1.0, 6.0),
        (0.0, 4.8),
        (0.0, 3.8),
        (1.0, 2.6),
        (3.3, 2.8),
    ],
];

/// Ink of a number centred on the origin, 0 to 1; `height` in the units of x and y, y upward.
pub(crate) fn number(value: u32, x: f32, y: f32, height: f32, px: f32) -> f32 {
    const ADVANCE: f32 = 5.6;
    const STROKE: f32 = 0.52;
    let unit = height / 6.0;
    let digits = value.checked_ilog10().unwrap_or(0) + 1;
    let width = ADVANCE * (digits - 1) as f32 + 4.0;
    let (x, y, px) = (x / unit + 0.5 * width, y / unit + 3.0, px / unit);
    let margin = STROKE + px;
    if x < -margin || y < -margin || x > width + margin || y > 6.0 + margin {
        return 0.0;
    }
    let place = ((x + 0.5 * (ADVANCE - 4.0)) / ADVANCE).floor().clamp(0.0, (digits - 1) as f32);
    let digit = value / 10u32.pow(digits - 1 - place as u32) % 10;
    let x = x - place * ADVANCE;
    let lines = NUMERALS[digit as usize].windows(2);
    let nearest = lines.map(|w| stroke(x, y, w[0], w[1])).fold(f32::INFINITY, f32::min);
    inside(nearest.sqrt() - STROKE, px)
}

/// Square of the distance to a straight stroke.
fn stroke(x: f32, y: f32, a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let t = (((x - a.0) * dx + (y - a.1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (ex, ey) = (x - a.0 - t * dx, y - a.1 - t * dy);
    ex * ex + ey * ey
}

/// Lines of signs that look like letters, `height` apart, within half-sides `half` round the origin.
pub(crate) fn lettering(x: f32, y: f32, height: f32, half: (f32, f32), text: i32, px: f32) -> f32 {
    const WIDE: f32 = 0.62;
    if x.abs() > half.0 || y.abs() > half.1 {
        return 0.0;
    }
    let (u, v) = ((x + half.0) / (height * WIDE), (half.1 - y) / height);
    let (sign, line) = (u as i32, v as i32);
    let pick = cell(sign * 31 + text * 977, line * 17 + text);
    // A letter that would not end within the field, or a gap between two words.
    let cut = (sign + 1) as f32 * height * WIDE > 2.0 * half.0 || (line + 1) as f32 * height > 2.0 * half.1;
    if cut || pick < 0.14 {
        return 0.0;
    }
    // Upright strokes left, middle and right, level ones at foot, middle and head, in unit cells.
    let (a, b, px) = ((u.fract() - 0.5) * WIDE, 0.5 - v.fract(), px / height);
    let strokes = [(-0.18, 0.0), (0.18, 0.0), (0.0, 0.0), (0.0, -0.29), (0.0, 0.0), (0.0, 0.29)];
    // Which strokes a letter has: never too few to be one.
    const LETTERS: [u8; 12] = [
        0b101_001, 0b111_001, 0b111_011, 0b010_011, 0b101_100, 0b001_001, 0b110_011, 0b001_011, 0b111_010,
        0b100_100, 0b101_011, 0b110_001,
    ];
    let letter = LETTERS[((pick - 0.14) / 0.86 * 12.0) as usize % 12];
    let ink = |k: usize| {
        let (x, y) = strokes[k];
        let d = if k < 3 { rectangle(a - x, b, 0.06, 0.35) } else { rectangle(a, b - y, 0.24, 0.06) };
        inside(d, px)
    };
    (0..6).filter(|k| letter >> k & 1 == 1).map(ink).fold(0.0, f32::max)
}
