//! The three sizes at which luma is measured, and the walk that measures it.
//!
//! One walk over the rows, while they are in the cache, gives the exact moments of the Laplacian, the histogram
//! and the plane of 2 x 2 means, which is both the next size and what thumbnails are made from. The walk is
//! plain code that the compiler vectorises; on x86-64 it is compiled a second time for AVX2, which halves its
//! time, and both give the same bits because all sums are of integers.

// Calling a function compiled for AVX2 is unsafe; the one call is behind a run-time check.
#![allow(unsafe_code)]

use crate::plane::Plane;
use crate::qc::{Histogram, Sharpness};

/// The half and quarter planes of the last measured picture; buffers are reused.
#[derive(Default)]
pub(crate) struct Pyramid {
    half: Vec<u8>,
    half_size: (usize, usize),
    quarter: Vec<u8>,
}

impl Pyramid {
    /// Measures `luma` at three sizes and counts its samples.
    pub fn measure(&mut self, luma: Plane<'_>, histogram: &mut Histogram) -> Sharpness {
        let full = walk(luma, Some(histogram), Some(&mut self.half));
        self.half_size = (luma.width / 2, luma.height / 2);
        let half_plane = Plane::tight(&self.half, self.half_size.0, self.half_size.1);
        let half = walk(half_plane, None, Some(&mut self.quarter));
        let quarter_plane = Plane::tight(&self.quarter, half_plane.width / 2, half_plane.height / 2);
        Sharpness { full, half, quarter: walk(quarter_plane, None, None) }
    }

    /// The smallest measured plane whose sides are both at least `width` and `height`, `luma` itself if none.
    pub fn at_least<'a>(&'a self, luma: Plane<'a>, width: usize, height: usize) -> Plane<'a> {
        let half = Plane::tight(&self.half, self.half_size.0, self.half_size.1);
        let quarter = Plane::tight(&self.quarter, half.width / 2, half.height / 2);
        let fits = |plane: &Plane<'_>| plane.width >= width && plane.height >= height;
        [quarter, half].into_iter().find(fits).unwrap_or(luma)
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.half.capacity() + self.quarter.capacity()
    }
}

/// Variance of the Laplacian of `plane`; on the way counts samples and makes the plane of 2 x 2 means.
///
/// An odd last row or column has no partner and is left out of the means.
fn walk(plane: Plane<'_>, histogram: Option<&mut Histogram>, half: Option<&mut Vec<u8>>) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only thing the function needs.
        return unsafe { walk_avx2(plane, histogram, half) };
    }
    walk_rows(plane, histogram, half)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn walk_avx2(plane: Plane<'_>, histogram: Option<&mut Histogram>, half: Option<&mut Vec<u8>>) -> f64 {
    walk_rows(plane, histogram, half)
}

// Everything that follows is inlined into both, or it would be compiled for the oldest processor.
#[inline(always)]
fn walk_rows(plane: Plane<'_>, mut histogram: Option<&mut Histogram>, mut half: Option<&mut Vec<u8>>) -> f64 {
    let half_width = plane.width / 2;
    if let Some(half) = &mut half {
        half.resize(half_width * (plane.height / 2), 0);
    }
    if plane.width == 0 || plane.height == 0 {
        return 0.0;
    }
    let mut squares = 0;
    for y in 0..plane.height {
        let row = plane.row(y);
        let (up, down) = mirrored(y, plane.height);
        squares += laplacian_squares(row, plane.row(up), plane.row(down));
        if let Some(histogram) = &mut histogram {
            histogram.add(row);
        }
        if let Some(half) = &mut half
            && y % 2 == 1
        {
            box_rows(plane.row(y - 1), row, &mut half[y / 2 * half_width..][..half_width]);
        }
    }
    variance(laplacian_sum(plane), squares, plane.width * plane.height)
}

/// Rounded means of 2 x 2 samples.
#[inline(always)]
fn box_rows(above: &[u8], below: &[u8], out: &mut [u8]) {
    for ((out, a), b) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *out = ((sum + 2) >> 2) as u8;
    }
}

/// The neighbours of `i` in `0..len`, mirrored at the edges without repeating the edge.
fn mirrored(i: usize, len: usize) -> (usize, usize) {
    let last = len - 1;
    let before = if i == 0 { 1.min(last) } else { i - 1 };
    let after = if i == last { last.saturating_sub(1) } else { i + 1 };
    (before, after)
}

/// Sum of the Laplacian over the whole plane. Inside, every sample counts -4 for itself and +1 for each of its
/// neighbours, so only the edges and the lines next to them remain.
fn laplacian_sum(plane: Plane<'_>) -> i64 {
    let (right, bottom) = (plane.width - 1, plane.height - 1);
    let of_row = |y: usize| plane.row(y).iter().map(|&sample| i64::from(sample)).sum::<i64>();
    let of_column = |x: usize| (0..plane.height).map(|y| i64::from(plane.row(y)[x])).sum::<i64>();
    let (inside_left, inside_right) = (1.min(right), right.saturating_sub(1));
    let (inside_top, inside_bottom) = (1.min(bottom), bottom.saturating_sub(1));
    of_row(inside_top) + of_row(inside_bottom) - of_row(0) - of_row(bottom)
        + of_column(inside_left)
        + of_column(inside_right)
        - of_column(0)
        - of_column(right)
}

/// Sum of the squares of the Laplacian over one row.
#[inline(always)]
fn laplacian_squares(row: &[u8], up: &[u8], down: &[u8]) -> i64 {
    /// Samples whose squares fit into 32 bits together: 1024 * 1020^2 < 2^31.
    const CHUNK: usize = 1024;

    let last = row.len() - 1;
    let mut squares = 0;
    for x in [0, last].into_iter().take(row.len()) {
        let (left, right) = mirrored(x, row.len());
        let value = i64::from(laplacian(row[x], row[left], row[right], up[x], down[x]));
        squares += value * value;
    }
    let mut x = 1;
    while x < last {
        let end = last.min(x + CHUNK);
        let (left, right) = (&row[x - 1..end - 1], &row[x + 1..end + 1]);
        squares += i64::from(chunk_squares(&row[x..end], left, right, &up[x..end], &down[x..end]));
        x = end;
    }
    squares
}

/// Sum of squares over one chunk, in blocks of a fixed size, so that the compiler keeps 16-bit lanes.
#[inline(always)]
fn chunk_squares(centre: &[u8], left: &[u8], right: &[u8], up: &[u8], down: &[u8]) -> i32 {
    const BLOCK: usize = 32;

    let (centre, centre_rest) = centre.as_chunks::<BLOCK>();
    let (left, left_rest) = left.as_chunks::<BLOCK>();
    let (right, right_rest) = right.as_chunks::<BLOCK>();
    let (up, up_rest) = up.as_chunks::<BLOCK>();
    let (down, down_rest) = down.as_chunks::<BLOCK>();
    let mut lanes = [0i32; BLOCK];
    for ((((centre, left), right), up), down) in centre.iter().zip(left).zip(right).zip(up).zip(down) {
        let mut values = [0i16; BLOCK];
        for i in 0..BLOCK {
            values[i] = laplacian(centre[i], left[i], right[i], up[i], down[i]);
        }
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += i32::from(value) * i32::from(value);
        }
    }
    let mut squares: i32 = lanes.iter().sum();
    for i in 0..centre_rest.len() {
        let value =
            i32::from(laplacian(centre_rest[i], left_rest[i], right_rest[i], up_rest[i], down_rest[i]));
        squares += value * value;
    }
    squares
}

#[inline(always)]
fn laplacian(centre: u8, left: u8, right: u8, up: u8, down: u8) -> i16 {
    i16::from(left) + i16::from(right) + i16::from(up) + i16::from(down) - 4 * i16::from(centre)
}

/// Population variance from exact sums; exact until the last division.
fn variance(sum: i64, squares: i64, count: usize) -> f64 {
    let (sum, squares, count) = (i128::from(sum), i128::from(squares), count as i128);
    (count * squares - sum * sum) as f64 / (count * count) as f64
}

#[cfg(test)]
mod tests;
