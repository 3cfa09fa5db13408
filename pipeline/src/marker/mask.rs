//! Which pixels are dark against their surroundings.

use crate::plane::Plane;

/// A dark pixel has at most so much of the mean round it.
const DARK_PART: f64 = 0.88;
/// And lies so many levels below it, so that noise in the dark is not all outlines.
const DARK_LEVELS: f64 = 6.0;
/// Pixels that the surroundings reach, at least.
const REACH_MIN: usize = 7;
/// The surroundings reach so many parts of the shorter side.
const REACH_PART: usize = 30;

/// 1 for dark, 0 for bright, row by row without gaps.
pub(super) fn dark(plane: &Plane<'_>) -> Vec<u8> {
    let (width, height) = (plane.width, plane.height);
    let mut mask = vec![0; width * height];
    if width == 0 {
        return mask;
    }
    let reach = (width.min(height) / REACH_PART).max(REACH_MIN);
    // Sums of the columns over the rows in reach; they move down with the row.
    let mut columns = vec![0u32; width];
    let add = |columns: &mut [u32], y: usize| {
        columns.iter_mut().zip(plane.row(y)).for_each(|(sum, &level)| *sum += u32::from(level));
    };
    (0..reach.min(height)).for_each(|y| add(&mut columns, y));
    for (y, out) in mask.chunks_exact_mut(width).enumerate() {
        if y + reach < height {
            add(&mut columns, y + reach);
        }
        if y > reach {
            let gone = plane.row(y - reach - 1);
            columns.iter_mut().zip(gone).for_each(|(sum, &level)| *sum -= u32::from(level));
        }
        let rows = (y + reach + 1).min(height) - y.saturating_sub(reach);
        row(plane.row(y), out, &columns, rows, reach);
    }
    mask
}

/// One row, by sums that move along it.
fn row(levels: &[u8], out: &mut [u8], columns: &[u32], rows: usize, reach: usize) {
    let width = levels.len();
    let mut sum: u64 = columns[..reach.min(width)].iter().map(|&column| u64::from(column)).sum();
    for x in 0..width {
        if x + reach < width {
            sum += u64::from(columns[x + reach]);
        }
        if x > reach {
            sum -= u64::from(columns[x - reach - 1]);
        }
        let across = (x + reach + 1).min(width) - x.saturating_sub(reach);
        let mean = sum as f64 / (across * rows) as f64;
        let level = f64::from(levels[x]);
        out[x] = u8::from(level < mean * DARK_PART && level < mean - DARK_LEVELS);
    }
}
