//! The perceptual hash: one frozen definition, so that hashes of different years can be compared.
//!
//! Input is the luma of the 150 px thumbnail, the way a person sees the picture. All arithmetic is integer,
//! so every machine gives the same bits:
//!
//! 1. Area average to 32 x 32 cells: each cell is the mean of the samples it covers, partly covered ones
//!    weighted by the covered part, times 256, rounded down.
//! 2. Two-dimensional DCT-II, unscaled: `C(u, v) = sum of cell(x, y) * c(u, x) * c(v, y)` with
//!    `c(k, x) = round(8192 * cos((2 x + 1) k pi / 64))`.
//! 3. The 8 x 8 coefficients of lowest frequency; `m` = median of the 63 without `C(0, 0)`.
//! 4. Bit `63 - (8 v + u)` is `C(u, v) > m`; the bit of `C(0, 0)` is 0.
//!
//! It is not bit-compatible with other tools' "pHash". A flat picture hashes to 0.
//!
//! Test vectors (150 x 100 samples, `x` to the right, `y` down): see the tests of this file.

use std::f64::consts::PI;
use std::sync::LazyLock;

use crate::plane::Plane;

/// Cells along one side of the area average.
const CELLS: usize = 32;
/// Frequencies along one side of the hash.
const FREQUENCIES: usize = 8;

/// A picture as 32 x 32 mean luma values, the way a person sees it: enough to find the angle
/// at which an object was taken among those that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8; CELLS * CELLS]>);

impl Signature {
    /// Row-major luma cells, 32 a row, 0 to 255.
    pub fn cells(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Mean absolute difference of the cells in grey levels, 0 to 255.
    pub fn difference(&self, other: &Signature) -> f64 {
        let sum: u32 = self.0.iter().zip(other.0.iter()).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
        f64::from(sum) / self.0.len() as f64
    }
}

/// Number of different bits of two hashes, 0 to 64.
pub fn phash_distance_bits(a: u64, b: u64) -> u32 {
    (a ^ b).count_ones()
}

/// A hash as 16 lower-case hexadecimal digits, the form that is stored and sent.
pub fn phash_to_hex(phash: u64) -> String {
    format!("{phash:016x}")
}

/// Hash and signature of a luma plane of any size above zero.
pub(crate) fn measure(luma: Plane<'_>) -> (u64, Signature) {
    let cells = area_average(luma);
    let mut signature = Box::new([0; CELLS * CELLS]);
    for (to, from) in signature.iter_mut().zip(cells.iter()) {
        *to = (from >> 8) as u8;
    }
    (hash(&cells), Signature(signature))
}

/// Means of 32 x 32 cells times 256.
fn area_average(luma: Plane<'_>) -> [u32; CELLS * CELLS] {
    let mut sums = [0u64; CELLS * CELLS];
    for y in 0..luma.height {
        let row = row_sums(luma.row(y));
        for (cell_y, weight) in overlaps(y, luma.height) {
            for (sum, part) in sums[cell_y * CELLS..][..CELLS].iter_mut().zip(row) {
                *sum += weight * part;
            }
        }
    }
    let area = (luma.width * luma.height) as u64;
    sums.map(|sum| (sum * 256 / area) as u32)
}

fn row_sums(row: &[u8]) -> [u64; CELLS] {
    let mut sums = [0; CELLS];
    for (x, &sample) in row.iter().enumerate() {
        for (cell, weight) in overlaps(x, row.len()) {
            sums[cell] += weight * u64::from(sample);
        }
    }
    sums
}

/// The cells that sample `i` of `len` lies in, with the part of it in each; a cell's parts add up to `len`.
fn overlaps(i: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    // In units of 1 / (32 * len) of the side a sample is 32 long and a cell is `len` long.
    let (begin, end) = (i * CELLS, (i + 1) * CELLS);
    (begin / len..end.div_ceil(len)).map(move |cell| {
        let part = end.min((cell + 1) * len) - begin.max(cell * len);
        (cell, part as u64)
    })
}

static COSINES: LazyLock<[[i64; CELLS]; FREQUENCIES]> = LazyLock::new(|| {
    std::array::from_fn(|k| {
        std::array::from_fn(|x| (8192.0 * ((2 * x + 1) as f64 * k as f64 * PI / 64.0).cos()).round() as i64)
    })
});

fn hash(cells: &[u32; CELLS * CELLS]) -> u64 {
    let coefficients = low_frequencies(cells);
    let mut sorted = coefficients;
    sorted[1..].sort_unstable();
    let median = sorted[1 + 31];
    coefficients.iter().skip(1).fold(0, |bits, &c| bits << 1 | u64::from(c > median))
}

/// `C(u, v)` at `8 v + u`.
fn low_frequencies(cells: &[u32; CELLS * CELLS]) -> [i64; FREQUENCIES * FREQUENCIES] {
    let mut out = [0; FREQUENCIES * FREQUENCIES];
    for (y, row) in cells.chunks_exact(CELLS).enumerate() {
        for (u, across) in COSINES.iter().enumerate() {
            let sum: i64 = row.iter().zip(across).map(|(&cell, &cosine)| i64::from(cell) * cosine).sum();
            for (v, down) in COSINES.iter().enumerate() {
                out[v * FREQUENCIES + u] += sum * down[y];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(width: usize, height: usize, luma: impl Fn(usize, usize) -> usize) -> String {
        let samples: Vec<u8> = (0..width * height).map(|i| luma(i % width, i / width) as u8).collect();
        phash_to_hex(measure(Plane::tight(&samples, width, height)).0)
    }

    #[test]
    fn the_definition_is_frozen() {
        // From a second implementation of the module's text, in arbitrary precision.
        assert_eq!(of(150, 100, |x, y| x + y), "0858005800180008");
        assert_eq!(of(150, 100, |x, y| x / 30 * 50 + y / 25 * 37), "09326d5600a992cd");
        let disc =
            |x: usize, y: usize| if x.abs_diff(60).pow(2) + y.abs_diff(40).pow(2) < 900 { 200 } else { 40 };
        assert_eq!(of(150, 100, disc), "4fcd3236f13130c9");
        assert_eq!(of(7, 5, |x, y| x * x * 7 + y * 13 + x * y * 3), "1325ab2aa5355ad5");
    }

    #[test]
    fn a_flat_picture_of_any_size_and_brightness_hashes_to_zero() {
        for (width, height) in [(1, 1), (150, 84), (31, 33), (150, 1)] {
            assert_eq!(of(width, height, |_, _| 77), "0000000000000000", "{width} x {height}");
        }
    }

    #[test]
    fn cells_are_means_and_their_difference_is_in_grey_levels() {
        let signature = |luma: u8| measure(Plane::tight(&vec![luma; 90 * 50], 90, 50)).1;
        assert!(signature(130).cells().iter().all(|&cell| cell == 130));
        assert_eq!(signature(130).difference(&signature(127)), 3.0);
        assert_eq!(signature(0).difference(&signature(255)), 255.0);
    }

    #[test]
    fn a_hash_has_sixteen_digits() {
        assert_eq!(phash_to_hex(0x0123_4567_89ab_cdef), "0123456789abcdef");
        assert_eq!(phash_to_hex(1), "0000000000000001");
    }

    #[test]
    fn distance_counts_bits() {
        assert_eq!(phash_distance_bits(0b1011, 0b0010), 2);
        assert_eq!(phash_distance_bits(0, u64::MAX), 64);
    }
}
