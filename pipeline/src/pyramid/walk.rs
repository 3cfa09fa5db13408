//! One walk over the rows of a plane, while they are in the cache: the exact moments of the Laplacian, for the whole
//! plane and for each tile of it, second differences in four directions, the histogram, and the plane of 2 x 2 means.
//!
//! It is plain code that the compiler vectorises; on x86-64 it is compiled a second time for AVX2, which halves its
//! time, and both give the same bits because all sums are of integers. Each tile has one counter a lane, emptied
//! where its tiles end, so that nothing is summed across lanes inside a row.

// Calling a function compiled for AVX2 is unsafe; the one call is behind a run-time check.
#![allow(unsafe_code)]

use crate::plane::Plane;
use crate::qc::Histogram;

/// Samples that are worked on together.
pub(super) const BLOCK: usize = 32;
/// Additions of a square to one counter before it is emptied: 2048 * 1020^2 < 2^32.
const ADDITIONS_MAX: usize = 2048;

/// How a plane is divided into tiles.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    /// Samples along one side of a tile. The last tile of a row or column reaches to the edge of the plane.
    pub side: usize,
}

impl Grid {
    /// As many tiles on a plane of another size.
    pub fn of_side(self, side: usize) -> Self {
        Self { side, ..self }
    }

    /// From and to of tile `k` of `tiles` along a side of `len` samples.
    fn span(self, k: usize, tiles: usize, len: usize) -> (usize, usize) {
        let end = if k + 1 == tiles { len } else { (k + 1) * self.side };
        ((k * self.side).min(len), end.min(len))
    }
}

/// What a walk does beside the moments of the Laplacian.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    /// Counts every sample.
    pub histogram: Option<&'a mut Histogram>,
    /// Becomes the plane of 2 x 2 means; an odd last row or column has no partner and is left out.
    pub half: Option<&'a mut Vec<u8>>,
    /// Notes the largest Laplacian of each tile.
    pub peaks: bool,
    /// Sums the squares of second differences in four directions.
    pub directions: bool,
}

/// Exact sums over one tile.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(crate) struct Sums {
    /// Samples in the tile.
    pub samples: u64,
    /// Squares of the Laplacian.
    pub laplacian: u64,
    /// Squares of the second difference along the row, along the column, and along the two diagonals.
    pub directions: [u64; 4],
    /// Largest absolute Laplacian.
    pub peak: u16,
}

/// What a walk found.
pub(super) struct Walked {
    /// Population variance of the Laplacian.
    pub variance: f64,
    /// Row-major.
    pub tiles: Vec<Sums>,
}

/// The counters of one tile, a lane each.
#[derive(Clone, Copy, Default)]
pub(super) struct Lanes {
    laplacian: [u32; BLOCK],
    directions: [[u32; BLOCK]; 4],
    peak: [i16; BLOCK],
}

impl Lanes {
    fn empty_into(&mut self, sums: &mut Sums) {
        let total = |lanes: &[u32; BLOCK]| lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>();
        sums.laplacian += total(&self.laplacian);
        for (sum, lanes) in sums.directions.iter_mut().zip(&self.directions) {
            *sum += total(lanes);
        }
        let peak = self.peak.iter().copied().max().unwrap_or(0);
        sums.peak = sums.peak.max(peak.unsigned_abs());
        *self = Self::default();
    }
}

/// Walks over `plane`. `lanes` is a buffer that is reused.
pub(super) fn over(plane: Plane<'_>, grid: Grid, lanes: &mut Vec<Lanes>, wanted: Wanted<'_>) -> Walked {
    match (wanted.directions, wanted.peaks) {
        (true, _) => dispatch::<true, false>(plane, grid, lanes, wanted),
        (false, true) => dispatch::<false, true>(plane, grid, lanes, wanted),
        (false, false) => dispatch::<false, false>(plane, grid, lanes, wanted),
    }
}

fn dispatch<const DIRECTIONS: bool, const PEAKS: bool>(
    plane: Plane<'_>,
    grid: Grid,
    lanes: &mut Vec<Lanes>,
    wanted: Wanted<'_>,
) -> Walked {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only thing the function needs.
        return unsafe { rows_avx2::<DIRECTIONS, PEAKS>(plane, grid, lanes, wanted) };
    }
    rows::<DIRECTIONS, PEAKS>(plane, grid, lanes, wanted)
}

/// The walk as the oldest processor does it.
#[cfg(test)]
pub(super) fn plainly(plane: Plane<'_>, grid: Grid, wanted: Wanted<'_>) -> Walked {
    let lanes = &mut Vec::new();
    match (wanted.directions, wanted.peaks) {
        (true, _) => rows::<true, false>(plane, grid, lanes, wanted),
        (false, true) => rows::<false, true>(plane, grid, lanes, wanted),
        (false, false) => rows::<false, false>(plane, grid, lanes, wanted),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn rows_avx2<const DIRECTIONS: bool, const PEAKS: bool>(
    plane: Plane<'_>,
    grid: Grid,
    lanes: &mut Vec<Lanes>,
    wanted: Wanted<'_>,
) -> Walked {
    rows::<DIRECTIONS, PEAKS>(plane, grid, lanes, wanted)
}

// Everything that follows is inlined into both, or it would be compiled for the oldest processor.
#[inline(always)]
fn rows<const DIRECTIONS: bool, const PEAKS: bool>(
    plane: Plane<'_>,
    grid: Grid,
    lanes: &mut Vec<Lanes>,
    mut wanted: Wanted<'_>,
) -> Walked {
    let mut tiles = vec![Sums::default(); grid.columns * grid.rows];
    let half_width = plane.width / 2;
    if let Some(half) = &mut wanted.half {
        half.resize(half_width * (plane.height / 2), 0);
    }
    if plane.width == 0 || plane.height == 0 {
        return Walked { variance: 0.0, tiles };
    }
    lanes.clear();
    lanes.resize(grid.columns, Lanes::default());
    // A row adds to a counter once a block, and the first once more for each left-over sample.
    let rows_max = (ADDITIONS_MAX / (grid.side / BLOCK + 2 * BLOCK)).max(1);
    let mut edges = 0u64;
    for (tile_row, tiles) in tiles.chunks_exact_mut(grid.columns).enumerate() {
        let (top, bottom) = grid.span(tile_row, grid.rows, plane.height);
        for y in top..bottom {
            let row = plane.row(y);
            let (above, below) = mirrored(y, plane.height);
            let around = Around { row, up: plane.row(above), down: plane.row(below) };
            edges += around.edge_squares();
            for (column, lanes) in lanes.iter_mut().enumerate() {
                let (from, to) = grid.span(column, grid.columns, plane.width);
                around.add::<DIRECTIONS, PEAKS>(from.max(1), to.min(plane.width - 1), lanes);
            }
            if (y - top + 1) % rows_max == 0 || y + 1 == bottom {
                lanes.iter_mut().zip(tiles.iter_mut()).for_each(|(lanes, sums)| lanes.empty_into(sums));
            }
            if let Some(histogram) = &mut wanted.histogram {
                histogram.add(row);
            }
            if let Some(half) = &mut wanted.half
                && y % 2 == 1
            {
                means(plane.row(y - 1), row, &mut half[y / 2 * half_width..][..half_width]);
            }
        }
        for (column, sums) in tiles.iter_mut().enumerate() {
            let (from, to) = grid.span(column, grid.columns, plane.width);
            sums.samples = ((to - from) * (bottom - top)) as u64;
        }
    }
    let squares = edges + tiles.iter().map(|sums| sums.laplacian).sum::<u64>();
    Walked { variance: variance(laplacian_sum(plane), squares as i64, plane.width * plane.height), tiles }
}

/// Rounded means of 2 x 2 samples.
#[inline(always)]
fn means(above: &[u8], below: &[u8], out: &mut [u8]) {
    for ((out, a), b) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *out = ((sum + 2) >> 2) as u8;
    }
}

/// The neighbours of `i` in `0..len`, mirrored at the edges without repeating the edge.
pub(super) fn mirrored(i: usize, len: usize) -> (usize, usize) {
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

/// A row with its neighbours.
#[derive(Clone, Copy)]
struct Around<'a> {
    row: &'a [u8],
    up: &'a [u8],
    down: &'a [u8],
}

impl Around<'_> {
    /// Squares of the Laplacian at the two ends of the row, which have a neighbour on one side only.
    #[inline(always)]
    fn edge_squares(self) -> u64 {
        let last = self.row.len() - 1;
        let ends = [0, last].into_iter().take(self.row.len());
        ends.map(|x| {
            let (left, right) = mirrored(x, self.row.len());
            let sum = [self.row[left], self.row[right], self.up[x], self.down[x]]
                .map(i64::from)
                .iter()
                .sum::<i64>();
            (sum - 4 * i64::from(self.row[x])).pow(2) as u64
        })
        .sum()
    }

    /// Adds the squares at `from..to`, none of them an end of the row, to the counters of their tile.
    #[inline(always)]
    fn add<const DIRECTIONS: bool, const PEAKS: bool>(self, from: usize, to: usize, lanes: &mut Lanes) {
        if from >= to {
            return;
        }
        let mut x = from;
        while x + BLOCK <= to {
            self.block::<DIRECTIONS, PEAKS, BLOCK>(x, lanes);
            x += BLOCK;
        }
        while x < to {
            self.block::<DIRECTIONS, PEAKS, 1>(x, lanes);
            x += 1;
        }
    }

    /// `N` samples from `x` on, lane by lane: of a fixed number, so that the compiler keeps 16-bit lanes.
    #[inline(always)]
    fn block<const DIRECTIONS: bool, const PEAKS: bool, const N: usize>(self, x: usize, lanes: &mut Lanes) {
        let (centre, left, right) =
            (&self.row[x..x + N], &self.row[x - 1..x - 1 + N], &self.row[x + 1..x + 1 + N]);
        let (up, down) = (&self.up[x..x + N], &self.down[x..x + N]);
        let mut values = [[0i16; N]; 3];
        for i in 0..N {
            let twice = 2 * i16::from(centre[i]);
            values[0][i] = i16::from(left[i]) + i16::from(right[i]) - twice;
            values[1][i] = i16::from(up[i]) + i16::from(down[i]) - twice;
            values[2][i] = values[0][i] + values[1][i];
        }
        let [along, across, laplacian] = values;
        add_squares(&mut lanes.laplacian, &laplacian);
        if PEAKS {
            for (peak, value) in lanes.peak.iter_mut().zip(laplacian) {
                *peak = (*peak).max(value.abs());
            }
        }
        if DIRECTIONS {
            let (up_left, up_right) = (&self.up[x - 1..x - 1 + N], &self.up[x + 1..x + 1 + N]);
            let (down_left, down_right) = (&self.down[x - 1..x - 1 + N], &self.down[x + 1..x + 1 + N]);
            let mut diagonals = [[0i16; N]; 2];
            for i in 0..N {
                let twice = 2 * i16::from(centre[i]);
                diagonals[0][i] = i16::from(up_left[i]) + i16::from(down_right[i]) - twice;
                diagonals[1][i] = i16::from(up_right[i]) + i16::from(down_left[i]) - twice;
            }
            let [falling, rising] = diagonals;
            for (lanes, values) in lanes.directions.iter_mut().zip([&along, &across, &falling, &rising]) {
                add_squares(lanes, values);
            }
        }
    }
}

#[inline(always)]
fn add_squares<const N: usize>(lanes: &mut [u32; BLOCK], values: &[i16; N]) {
    for (lane, &value) in lanes.iter_mut().zip(values) {
        *lane += (i32::from(value) * i32::from(value)) as u32;
    }
}

/// Population variance from exact sums; exact until the last division.
fn variance(sum: i64, squares: i64, count: usize) -> f64 {
    let (sum, squares, count) = (i128::from(sum), i128::from(squares), count as i128);
    (count * squares - sum * sum) as f64 / (count * count) as f64
}
