//! What spoils a picture besides focus and noise: a shaken camera, flickering lamps, dirt, dead pixels.
//!
//! Dirt and flicker take linear light away before it becomes numbers; shaking smears the picture; dead pixels are
//! what the sensor says whatever it sees. Places and directions follow from seeds.

use std::f64::consts::TAU;

use super::mixed;
use super::texture::smooth;
use super::vector::V3;

/// Share of the light that the mains take away at worst.
const FLICKER_DEPTH: f64 = 0.25;
/// Periods of the mains while the shutter rolls down the picture.
const FLICKER_PERIODS: f64 = 5.0;
/// Radius of a speck of dirt at half its depth, as a share of the picture's width.
const SPECK_RADIUS: f64 = 0.008;
/// Share of the light that a speck takes away in its middle.
const SPECK_DEPTH: f32 = 0.25;
/// Columns and rows of the fields that hold one speck each, at most.
const SPECK_FIELDS: (u64, u64) = (4, 3);
/// Specks of a picture at least.
const SPECKS_MIN: u64 = 8;
/// Pixels that always say the same.
const DEAD_PIXELS: u64 = 40;

/// What befalls one picture; the default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Flaws {
    /// Way of the picture over the sensor during the exposure: to the right and down, in pixels.
    pub(crate) shake_px: (f64, f64),
    /// The lamps flicker; the phase of the mains at the first row, in radians.
    pub(crate) flicker: Option<f64>,
    /// There is dirt on the lens, in places that follow from this seed.
    pub(crate) dirt: Option<u64>,
    /// Pixels and one column of the sensor are dead, in places that follow from this seed.
    pub(crate) dead: Option<u64>,
}

/// A number in `[0, 1)` out of a seed, another for every `nth`.
pub(crate) fn share(seed: u64, nth: u64) -> f64 {
    (mixed(mixed(seed) ^ nth) >> 11) as f64 / (1u64 << 53) as f64
}

/// What takes light away from some places of a picture.
pub(crate) struct Veil {
    flicker: Option<f64>,
    specks: Vec<Speck>,
    width: usize,
    height: usize,
}

/// A soft dark spot, in pixels.
struct Speck {
    x: f32,
    y: f32,
    radius: f32,
}

impl Veil {
    /// The veil over a picture of this size; none if the light comes through unchanged.
    pub(crate) fn new(flaws: &Flaws, (width, height): (usize, usize)) -> Option<Veil> {
        let specks = flaws.dirt.map(|seed| specks(seed, width, height)).unwrap_or_default();
        let unveiled = flaws.flicker.is_none() && specks.is_empty();
        (!unveiled).then_some(Veil { flicker: flaws.flicker, specks, width, height })
    }

    /// Takes its light from rows that begin with row `top`.
    pub(crate) fn dim(&self, light: &mut [V3], top: usize) {
        for (row, line) in light.chunks_exact_mut(self.width).enumerate() {
            let y = (top + row) as f32 + 0.5;
            if let Some(phase) = self.flicker {
                let at = f64::from(y) / self.height as f64 * FLICKER_PERIODS * TAU + phase;
                let lit = (1.0 - FLICKER_DEPTH * (0.5 - 0.5 * at.cos())) as f32;
                line.iter_mut().for_each(|pixel| *pixel = *pixel * lit);
            }
            self.specks.iter().for_each(|speck| speck.dim(line, y));
        }
    }
}

impl Speck {
    fn dim(&self, line: &mut [V3], y: f32) {
        let reach = 1.6 * self.radius;
        if (y - self.y).abs() > reach {
            return;
        }
        let first = ((self.x - reach).max(0.0) as usize).min(line.len());
        let last = ((self.x + reach).max(0.0) as usize + 1).min(line.len());
        for (x, pixel) in line[first..last].iter_mut().enumerate() {
            let (dx, dy) = ((first + x) as f32 + 0.5 - self.x, y - self.y);
            let off = (dx * dx + dy * dy).sqrt() / self.radius;
            *pixel = *pixel * (1.0 - SPECK_DEPTH * (1.0 - smooth(0.4, 1.6, off)));
        }
    }
}

/// One speck somewhere in each field of a coarse grid, less a few fields.
fn specks(seed: u64, width: usize, height: usize) -> Vec<Speck> {
    let (across, down) = SPECK_FIELDS;
    let mut fields: Vec<u64> = (0..across * down).collect();
    let fewer = (share(seed, 1) * (across * down - SPECKS_MIN + 1) as f64) as u64;
    for k in 0..fewer {
        let leaves = (share(seed, 2 + k) * fields.len() as f64) as usize;
        fields.swap_remove(leaves);
    }
    let within = |cell: u64, cells: u64, nth: u64, pixels: usize| {
        (cell as f64 + 0.15 + 0.7 * share(seed, nth)) / cells as f64 * pixels as f64
    };
    let speck = |field: u64| Speck {
        x: within(field % across, across, 100 + field, width) as f32,
        y: within(field / across, down, 200 + field, height) as f32,
        radius: (width as f64 * SPECK_RADIUS * (0.85 + 0.3 * share(seed, 300 + field))) as f32,
    };
    fields.into_iter().map(speck).collect()
}

/// Smears a picture of three bytes a pixel evenly along a straight way, given to the right and down in pixels.
pub(crate) fn smear(rgb: &mut [u8], width: usize, way: (f64, f64)) {
    if way.0.hypot(way.1) < 0.05 {
        return;
    }
    let taps = taps(way);
    let reach = taps.iter().map(|tap| tap.dx.unsigned_abs()).max().unwrap_or(0);
    let height = rgb.len() / (width * 3);
    // The border goes on outside, so that no tap needs to ask where it is.
    let stride = (width + 2 * reach) * 3;
    let mut source = vec![0u8; stride * height];
    for (wide, row) in source.chunks_exact_mut(stride).zip(rgb.chunks_exact(width * 3)) {
        let (left, rest) = wide.split_at_mut(reach * 3);
        let (middle, right) = rest.split_at_mut(width * 3);
        middle.copy_from_slice(row);
        left.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&row[..3]));
        right.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&row[width * 3 - 3..]));
    }
    let mut sums = vec![0f32; width * 3];
    for (y, row) in rgb.chunks_exact_mut(width * 3).enumerate() {
        sums.fill(0.5);
        for tap in &taps {
            let from = (y as isize + tap.dy).clamp(0, height as isize - 1) as usize * stride;
            let from = from + (reach as isize + tap.dx) as usize * 3;
            let seen = &source[from..from + width * 3];
            sums.iter_mut().zip(seen).for_each(|(sum, &byte)| *sum += tap.share * f32::from(byte));
        }
        row.iter_mut().zip(&sums).for_each(|(byte, sum)| *byte = *sum as u8);
    }
}

/// A pixel beside the one that is made, and how much of its light falls on it.
struct Tap {
    dx: isize,
    dy: isize,
    share: f32,
}

/// A straight way as shares of whole pixels: each of many places on it counts for the four pixels round it.
fn taps((right, down): (f64, f64)) -> Vec<Tap> {
    const PLACES_A_PIXEL: f64 = 8.0;
    let places = (right.hypot(down) * PLACES_A_PIXEL).ceil().max(1.0);
    let mut shares = std::collections::BTreeMap::<(isize, isize), f64>::new();
    for k in 0..places as usize {
        let along = (k as f64 + 0.5) / places - 0.5;
        let (x, y) = (right * along, down * along);
        let (s, t) = (x - x.floor(), y - y.floor());
        let (i, j) = (x.floor() as isize, y.floor() as isize);
        for (di, dj, share) in
            [(0, 0, (1.0 - s) * (1.0 - t)), (1, 0, s * (1.0 - t)), (0, 1, (1.0 - s) * t), (1, 1, s * t)]
        {
            *shares.entry((j + dj, i + di)).or_default() += share / places;
        }
    }
    shares.into_iter().map(|((dy, dx), share)| Tap { dx, dy, share: share as f32 }).collect()
}

/// Lets dead pixels and a dead column say black or white.
pub(crate) fn kill(rgb: &mut [u8], width: usize, seed: u64) {
    let height = rgb.len() / (width * 3);
    let mut stick = |x: usize, y: usize, level: u8| rgb[(y * width + x) * 3..][..3].fill(level);
    let level = |nth: u64| if share(seed, nth) < 0.5 { 0 } else { 255 };
    let place = |nth: u64, pixels: usize| (share(seed, nth) * pixels as f64) as usize;
    for k in 0..DEAD_PIXELS {
        stick(place(3 * k, width), place(3 * k + 1, height), level(3 * k + 2));
    }
    let column = place(3 * DEAD_PIXELS, width);
    (0..height).for_each(|y| stick(column, y, level(3 * DEAD_PIXELS + 1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red of a picture of 21 x 21 pixels in whose middle one was white, after smearing.
    fn smeared(way: (f64, f64)) -> Vec<u8> {
        let mut rgb = vec![0u8; 21 * 21 * 3];
        rgb[(10 * 21 + 10) * 3..][..3].fill(255);
        smear(&mut rgb, 21, way);
        rgb.chunks_exact(3).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn a_point_becomes_a_line_of_even_light() {
        let along = smeared((8.0, 0.0));
        let upright = smeared((0.0, 8.0));
        for y in 0..21 {
            for x in 0..21 {
                let (level, ends) = (along[y * 21 + x], x.abs_diff(10));
                let want = if y != 10 || ends > 4 {
                    0..=0
                } else if ends == 4 {
                    14..=18
                } else {
                    31..=33
                };
                assert!(want.contains(&level), "{level} at {x}, {y}");
                assert_eq!(upright[x * 21 + y], level);
            }
        }
    }

    #[test]
    fn a_slanted_line_keeps_its_light_and_its_slant() {
        let slanted = smeared((6.0, 6.0));
        let sum: u32 = slanted.iter().map(|level| u32::from(*level)).sum();
        assert!((230..=280).contains(&sum), "{sum} of 255 is left");
        for y in 0..21usize {
            for x in 0..21usize {
                assert!(x.abs_diff(y) <= 1 || slanted[y * 21 + x] == 0, "light at {x}, {y}");
            }
        }
    }

    #[test]
    fn an_even_picture_stays_even_to_its_border() {
        let mut rgb = vec![77u8; 30 * 8 * 3];
        smear(&mut rgb, 30, (90.0, -45.0));
        assert!(rgb.iter().all(|level| *level == 77));
    }
}
