//! Banding: bright and dark stripes across the picture, from lamps that flicker faster than the sensor is read.
//!
//! A rolling shutter reads row after row while the light pulses, so that the light varies with the row. Against the
//! first accepted frame this shows as a ratio that swings along the rows, alike from the left to the right; a slow change
//! from top to bottom is not counted, and the median over a quarter of a row leaves out what turned.

use super::{BANDING, Finding, Limits, rounded_up};
use crate::cells::{Cells, median};

/// Parts of a row, side by side: a lamp lights them all, an object that moved changes each in its own way.
const PARTS: usize = 4;
/// Cells of a part of a row that must be comparable.
const CELLS_MIN: usize = 8;
/// Rows that must be comparable.
const ROWS_MIN: usize = 12;
/// Swings from one side of the mean to the other before it is called flicker.
const CROSSINGS_MIN: usize = 3;

/// The finding for a frame against the `first` one; `still` says which cells did not turn.
pub(super) fn judge(
    cells: &Cells,
    first: &Cells,
    still: impl Fn(usize) -> bool,
    limits: &Limits,
) -> Option<Finding> {
    let (width, height) = cells.size();
    let ratio = |part: usize, y: usize| {
        let columns = part * width / PARTS..(part + 1) * width / PARTS;
        let comparable = columns
            .map(|x| y * width + x)
            .filter(|&k| still(k) && first.luma()[k] >= 20 && cells.luma()[k] <= 235);
        let ratios = comparable.map(|k| f64::from(cells.luma()[k]) / f64::from(first.luma()[k]));
        median(ratios.collect(), CELLS_MIN)
    };
    let rows_of = |part| (0..height).map(|y| ratio(part, y)).collect::<Vec<_>>();
    let parts: Vec<_> = (0..PARTS).filter_map(|part| flat(&rows_of(part))).collect();
    let (depth, limit) = (swing(&alike(&parts))?, limits.banding_max);
    if depth <= limit {
        return None;
    }
    let message = format!(
        "Light flickers: stripes of {:.1} % run across the picture, at most {:.1} % is allowed. \
         Set the exposure to a multiple of 1/100 s (1/120 s where mains has 60 Hz), or use lamps that do not flicker.",
        rounded_up(depth * 100.0),
        limit * 100.0
    );
    limits.finding(&BANDING, (depth * 100.0, limit * 100.0, "%"), message)
}

/// Rows as parts of their mean, smoothed, without their mean and straight trend; `None` of too few.
fn flat(rows: &[Option<f64>]) -> Option<Vec<Option<f64>>> {
    // Three rows together: a single row with an edge in it is no band.
    let smooth: Vec<_> =
        rows.windows(3).map(|three| Some((three[0]? + three[1]? + three[2]?) / 3.0)).collect();
    let known: Vec<(f64, f64)> =
        smooth.iter().enumerate().filter_map(|(y, value)| Some((y as f64, (*value)?))).collect();
    let n = known.len() as f64;
    if known.len() < ROWS_MIN {
        return None;
    }
    let (mean, middle) =
        (known.iter().map(|(_, v)| v).sum::<f64>() / n, known.iter().map(|(y, _)| y).sum::<f64>() / n);
    let along: f64 = known.iter().map(|(y, value)| (y - middle) * (value - mean)).sum();
    let spread: f64 = known.iter().map(|(y, _)| (y - middle).powi(2)).sum();
    let line = |y: usize| mean + along / spread * (y as f64 - middle);
    Some(smooth.iter().enumerate().map(|(y, value)| value.map(|value| (value - line(y)) / mean)).collect())
}

/// What two parts and more have in common, row by row where there are so many.
fn alike(parts: &[Vec<Option<f64>>]) -> Vec<f64> {
    let common = |a: f64, b: f64| if a * b > 0.0 { a.signum() * a.abs().min(b.abs()) } else { 0.0 };
    let row = |y: usize| {
        let values: Vec<f64> = parts.iter().filter_map(|part| *part.get(y)?).collect();
        (values.len() >= 2).then(|| values.into_iter().reduce(common)).flatten()
    };
    (0..parts.first().map_or(0, Vec::len)).filter_map(row).collect()
}

/// Height of the swing along flattened rows; `None` where it does not swing.
fn swing(flat: &[f64]) -> Option<f64> {
    let (low, high) = flat.iter().fold((0.0f64, 0.0f64), |(low, high), &v| (low.min(v), high.max(v)));
    // A crossing counts only from a good part of the height to the other side.
    let mut crossings = 0;
    let mut side = 0;
    for &value in flat {
        let now = if value > high / 3.0 {
            1
        } else if value < low / 3.0 {
            -1
        } else {
            side
        };
        crossings += usize::from(side != 0 && now != side);
        side = now;
    }
    (crossings >= CROSSINGS_MIN).then_some(high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_counts_and_a_trend_or_a_step_does_not() {
        let rows = |value: &dyn Fn(f64) -> f64| -> Vec<Option<f64>> {
            (0..112).map(|y| Some(value(f64::from(y)))).collect()
        };
        let swing_of = |rows: &[Option<f64>]| swing(&alike(&[flat(rows).unwrap(), flat(rows).unwrap()]));
        let wave = rows(&|y| 1.0 + 0.05 * (y / 112.0 * 5.0 * std::f64::consts::TAU).sin());
        let depth = swing_of(&wave).unwrap();
        assert!((0.09..0.12).contains(&depth), "{depth}");
        let trend = swing_of(&rows(&|y| 1.0 + y * 0.002));
        assert!(trend.is_none_or(|depth| depth < 0.01));
        assert_eq!(swing_of(&rows(&|y| if y < 40.0 { 1.0 } else { 0.9 })), None);
    }

    #[test]
    fn stripes_of_one_side_are_the_objects_own() {
        let part = |values: [f64; 4]| values.map(Some).to_vec();
        let side = part([0.1, -0.1, 0.1, -0.1]);
        assert_eq!(alike(&[side.clone(), side.clone()]), [0.1, -0.1, 0.1, -0.1]);
        assert_eq!(alike(&[side.clone(), part([0.0; 4])]), [0.0; 4]);
        assert_eq!(alike(&[side.clone(), side.clone(), part([-0.1, 0.1, -0.1, 0.1])]), [0.0; 4]);
        assert_eq!(alike(&[side.clone(), part([0.05, -0.2, 0.1, 0.1])]), [0.05, -0.1, 0.1, 0.0]);
        // Where the object turned, the parts beside it say enough; one part alone says nothing.
        let hidden = vec![None, None, Some(0.1), Some(-0.1)];
        assert_eq!(alike(&[side.clone(), hidden.clone(), side.clone()]), [0.1, -0.1, 0.1, -0.1]);
        assert_eq!(alike(&[side, hidden]), [0.1, -0.1]);
    }
}
