//! From light on the sensor to numbers: exposure, white balance, clipping, focus, noise.

use super::flaw::Flaws;
use super::mixed;
use super::vector::{V3, v3};

/// How light becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Develop {
    /// Light on the sensor, 1.0 = nominal.
    pub(crate) light: f64,
    /// White balance that the camera is set to.
    pub(crate) wb_kelvin: f64,
    /// Colour temperature of the lamps.
    pub(crate) lamps_kelvin: f64,
    /// Standard deviation of the blur in pixels.
    pub(crate) blur_px: f64,
    /// Standard deviation in 8-bit levels.
    pub(crate) noise: f64,
    pub(crate) seed: u64,
    pub(crate) flaws: Flaws,
}

/// Colour temperature of the booth's lamps when they are well.
pub(crate) const LAMPS_KELVIN: f64 = 5000.0;
/// Steps of the tone curve, which reaches from no light to `WHITE`.
const STEPS: usize = 8192;
/// Light that is clipped.
const WHITE: f32 = 1.25;

/// The tone curve: linear light to 8 bits, clipped above.
pub(crate) struct Curve {
    levels: Vec<u8>,
    gain: V3,
}

impl Curve {
    pub(crate) fn new(develop: &Develop) -> Curve {
        // A camera set for redder lamps than it meets gives a bluer picture. Exponents fitted by eye to the
        // ratios of black bodies between 3000 and 8000 K.
        let ratio = develop.wb_kelvin / develop.lamps_kelvin;
        let gain = v3(ratio.powf(0.36) as f32, 1.0, ratio.powf(-0.62) as f32);
        let level = |k: usize| {
            let light = (k as f32 + 0.5) / STEPS as f32 * WHITE;
            // A shoulder from 0.7 up keeps structure in highlights until they clip.
            let rolled =
                if light < 0.7 { light } else { 0.7 + 0.3 * shoulder((light - 0.7) / (WHITE - 0.7)) };
            let encoded =
                if rolled < 0.003_130_8 { 12.92 * rolled } else { 1.055 * rolled.powf(1.0 / 2.4) - 0.055 };
            (encoded * 255.0 + 0.5) as u8
        };
        let scale = develop.light as f32 * (STEPS as f32 / WHITE);
        Curve { levels: (0..STEPS).map(level).collect(), gain: gain * scale }
    }

    /// 8-bit sRGB of linear light.
    pub(crate) fn rgb(&self, light: V3) -> [u8; 3] {
        let level = |at: f32| self.levels[(at as i32).clamp(0, STEPS as i32 - 1) as usize];
        let at = light.by(self.gain);
        [level(at.x), level(at.y), level(at.z)]
    }
}

/// From 0 to 1 with slope 1.8 at the start and none at the end.
fn shoulder(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    1.0 - (1.0 - t).powf(1.83)
}

/// Blurs a picture of three bytes a pixel: two passes of a box with soft ends, by rows and then by columns.
pub(crate) fn blur(rgb: &mut [u8], width: usize, sigma: f64) {
    if sigma < 0.05 {
        return;
    }
    // Two boxes of length L have the variance (L^2 - 1) / 6.
    let length = (6.0 * sigma * sigma + 1.0).sqrt();
    let reach = (((length - 1.0) / 2.0).floor() as usize).max(1) - usize::from(length < 3.0);
    let rest = ((length - 1.0) / 2.0 - reach as f64) as f32;
    let height = rgb.len() / (width * 3);
    for _ in 0..2 {
        blur_rows(rgb, width, reach, rest);
        blur_columns(rgb, width * 3, height, reach, rest);
    }
}

fn blur_rows(rgb: &mut [u8], width: usize, reach: usize, rest: f32) {
    let share = 1.0 / ((2 * reach + 1) as f32 + 2.0 * rest);
    let mut line = vec![0u8; width];
    for row in rgb.chunks_exact_mut(width * 3) {
        for lane in 0..3 {
            for (x, byte) in line.iter_mut().enumerate() {
                *byte = row[x * 3 + lane];
            }
            let at = |x: isize| f32::from(line[x.clamp(0, width as isize - 1) as usize]);
            let r = reach as isize;
            let mut sum: f32 = (-r..=r).map(at).sum();
            for x in 0..width as isize {
                let ends = at(x - r - 1) + at(x + r + 1);
                row[x as usize * 3 + lane] = ((sum + rest * ends) * share + 0.5) as u8;
                sum += at(x + r + 1) - at(x - r);
            }
        }
    }
}

fn blur_columns(bytes: &mut [u8], stride: usize, height: usize, reach: usize, rest: f32) {
    let share = 1.0 / ((2 * reach + 1) as f32 + 2.0 * rest);
    let source = bytes.to_vec();
    let row = |y: isize| {
        let y = y.clamp(0, height as isize - 1) as usize;
        &source[y * stride..(y + 1) * stride]
    };
    let r = reach as isize;
    let mut sums = vec![0f32; stride];
    for y in -r..=r {
        sums.iter_mut().zip(row(y)).for_each(|(sum, &byte)| *sum += f32::from(byte));
    }
    for (y, out) in bytes.chunks_exact_mut(stride).enumerate() {
        let y = y as isize;
        let (above, below, leaves) = (row(y - r - 1), row(y + r + 1), row(y - r));
        for x in 0..stride {
            let ends = f32::from(above[x]) + f32::from(below[x]);
            out[x] = ((sums[x] + rest * ends) * share + 0.5) as u8;
            sums[x] += f32::from(below[x]) - f32::from(leaves[x]);
        }
    }
}

/// Adds sensor noise that follows from the seed alone.
pub(crate) fn grain(rgb: &mut [u8], sigma: f64, seed: u64) {
    if sigma <= 0.0 {
        return;
    }
    let table = normal_table(sigma);
    let mut state = mixed(seed) | 1;
    for bytes in rgb.chunks_mut(4) {
        // Xorshift (Marsaglia 2003): one number of 64 bits for four bytes.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (lane, byte) in bytes.iter_mut().enumerate() {
            let pick = (state >> (16 * lane)) as usize & (TABLE - 1);
            let noisy = i32::from(*byte) * 16 + i32::from(table[pick]) + 8;
            *byte = (noisy >> 4).clamp(0, 255) as u8;
        }
    }
}

const TABLE: usize = 4096;

/// Normal deviates in sixteenths of a level: equal shares of the distribution, by the sum of twelve uniform ones.
fn normal_table(sigma: f64) -> Vec<i16> {
    let mut state = 0x5eed;
    (0..TABLE)
        .map(|_| {
            let twelve: f64 = (0..12)
                .map(|_| {
                    state = mixed(state);
                    (state >> 11) as f64 / (1u64 << 53) as f64
                })
                .sum();
            ((twelve - 6.0) * sigma * 16.0).round() as i16
        })
        .collect()
}
