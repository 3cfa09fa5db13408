//! Banding: bright and dark stripes across the picture, from lamps that flicker faster than the sensor is read.
//!
//! A rolling shutter reads row after row while the light pulses, so that the light varies with the row. Against the
//! first accepted frame this shows as a ratio that swings along the rows; a slow change from top to bottom is not
//! counted, and the median of a row leaves out what turned.

use super::{BANDING, Finding, Limits, rounded_up};
use crate::cells::{Cells, median};

/// Cells of a row that must be comparable.
const CELLS_MIN: usize = 8;
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
    let ratio_of_row = |y: usize| {
        let row = (y * width..(y + 1) * width)
            .filter(|&k| still(k) && first.luma()[k] >= 20 && cells.luma()[k] <= 235);
        median(row.map(|k| f64::from(cells.luma()[k]) / f64::from(first.luma()[k])).collect(), CELLS_MIN)
    };
    let rows: Vec<f64> = (0..height).filter_map(ratio_of_row).collect();
    let (depth, limit) = (swing(&rows)?, limits.banding_max);
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

/// Height of the swing along the rows as a part of the light, without its straight trend; `None` where it does not
/// swing.
fn swing(rows: &[f64]) -> Option<f64> {
    // Three rows together: a single row with an edge in it is no band.
    let smooth: Vec<f64> = rows.windows(3).map(|three| three.iter().sum::<f64>() / 3.0).collect();
    let n = smooth.len();
    if n < 12 {
        return None;
    }
    let mean = smooth.iter().sum::<f64>() / n as f64;
    let middle = (n - 1) as f64 / 2.0;
    let (mut along, mut spread) = (0.0, 0.0);
    for (y, value) in smooth.iter().enumerate() {
        along += (y as f64 - middle) * (value - mean);
        spread += (y as f64 - middle).powi(2);
    }
    let flat: Vec<f64> =
        smooth.iter().enumerate().map(|(y, v)| v - mean - along / spread * (y as f64 - middle)).collect();
    let (low, high) = flat.iter().fold((0.0f64, 0.0f64), |(low, high), &v| (low.min(v), high.max(v)));
    // A crossing counts only from a good part of the height to the other side.
    let mut crossings = 0;
    let mut side = 0;
    for &value in &flat {
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
    (crossings >= CROSSINGS_MIN).then_some((high - low) / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_counts_and_a_trend_or_a_step_does_not() {
        let wave = |depth: f64| -> Vec<f64> {
            (0..112)
                .map(|y| 1.0 + depth / 2.0 * (f64::from(y) / 112.0 * 5.0 * std::f64::consts::TAU).sin())
                .collect()
        };
        let depth = swing(&wave(0.1)).unwrap();
        assert!((0.09..0.12).contains(&depth), "{depth}");
        let trend: Vec<f64> = (0..112).map(|y| 1.0 + f64::from(y) * 0.002).collect();
        assert!(swing(&trend).is_none_or(|depth| depth < 0.01));
        let step: Vec<f64> = (0..112).map(|y| if y < 40 { 1.0 } else { 0.9 }).collect();
        assert_eq!(swing(&step), None);
    }
}
