//! Exposure: a 256-bin histogram of the luma, and what it says about light.

use serde::{Deserialize, Serialize};

use super::{CLIPPED, DARK, Finding, Limits, rounded_down, rounded_up};

/// Luma at or above this is burnt out: a saturated sensor does not reach 255 everywhere after JPEG.
pub const BURNT_OUT_LUMA_MIN: u8 = 251;
/// Luma at or below this is drowned in black.
pub const BLACK_LUMA_MAX: u8 = 4;

/// Light in a picture, from the luma of every pixel.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Exposure {
    /// Mean luma, 0 to 255.
    pub mean: f64,
    /// Fraction of the pixels at or below [`BLACK_LUMA_MAX`], 0 to 1.
    pub clipped_low: f64,
    /// Fraction of the pixels at or above [`BURNT_OUT_LUMA_MIN`], 0 to 1.
    pub clipped_high: f64,
}

/// How often each luma value occurs.
pub(crate) struct Histogram {
    // Four tables, because increments of one counter in a row wait for each other, and flat areas are common.
    tables: [[u32; 256]; 4],
}

impl Histogram {
    pub fn new() -> Self {
        Self { tables: [[0; 256]; 4] }
    }

    #[inline(always)]
    pub fn add(&mut self, row: &[u8]) {
        let [a, b, c, d] = &mut self.tables;
        let quads = row.chunks_exact(4);
        for &rest in quads.remainder() {
            a[usize::from(rest)] += 1;
        }
        for quad in quads {
            a[usize::from(quad[0])] += 1;
            b[usize::from(quad[1])] += 1;
            c[usize::from(quad[2])] += 1;
            d[usize::from(quad[3])] += 1;
        }
    }

    fn count(&self, luma: usize) -> u64 {
        self.tables.iter().map(|table| u64::from(table[luma])).sum()
    }

    /// What the counts say; all zero when nothing was counted.
    pub fn exposure(&self) -> Exposure {
        let sum_of = |range: std::ops::RangeInclusive<usize>| range.map(|luma| self.count(luma)).sum::<u64>();
        let total = sum_of(0..=255);
        if total == 0 {
            return Exposure::default();
        }
        let weighted: u64 = (0..256).map(|luma| luma as u64 * self.count(luma)).sum();
        let fraction = |count: u64| count as f64 / total as f64;
        Exposure {
            mean: fraction(weighted),
            clipped_low: fraction(sum_of(0..=usize::from(BLACK_LUMA_MAX))),
            clipped_high: fraction(sum_of(usize::from(BURNT_OUT_LUMA_MIN)..=255)),
        }
    }
}

/// Findings for a frame with too much or too little light.
pub(super) fn judge(exposure: &Exposure, limits: &Limits) -> impl Iterator<Item = Finding> {
    too_bright(exposure, limits).into_iter().chain(too_dark(exposure, limits))
}

fn too_bright(exposure: &Exposure, limits: &Limits) -> Option<Finding> {
    const ADVICE: &str = "Cover the window or turn the lamp down.";
    if exposure.clipped_high > limits.clipped_high_max {
        let (value, limit) = (exposure.clipped_high * 100.0, limits.clipped_high_max * 100.0);
        let message = format!(
            "Frame is too bright: {:.1} % of it is burnt out, at most {limit} % is allowed. {ADVICE}",
            rounded_up(value)
        );
        return limits.finding(&CLIPPED, (value, limit, "%"), message);
    }
    if exposure.mean > limits.mean_max {
        let (value, limit) = (exposure.mean, limits.mean_max);
        let message = format!(
            "Frame is too bright: mean brightness {:.1} of 255, at most {limit} is allowed. {ADVICE}",
            rounded_up(value)
        );
        return limits.finding(&CLIPPED, (value, limit, "grey levels"), message);
    }
    None
}

fn too_dark(exposure: &Exposure, limits: &Limits) -> Option<Finding> {
    const ADVICE: &str = "Check that all lamps are on.";
    if exposure.mean < limits.mean_min {
        let (value, limit) = (exposure.mean, limits.mean_min);
        let message = format!(
            "Frame is too dark: mean brightness {:.1} of 255, at least {limit} is needed. {ADVICE}",
            rounded_down(value)
        );
        return limits.finding(&DARK, (value, limit, "grey levels"), message);
    }
    if exposure.clipped_low > limits.clipped_low_max {
        let (value, limit) = (exposure.clipped_low * 100.0, limits.clipped_low_max * 100.0);
        let message = format!(
            "Frame is too dark: {:.1} % of it is black, at most {limit} % is allowed. {ADVICE}",
            rounded_up(value)
        );
        return limits.finding(&DARK, (value, limit, "%"), message);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_counts_once_in_rows_of_any_length() {
        let row: Vec<u8> = (0..=255).collect();
        for len in [0, 1, 3, 4, 5, 255, 256] {
            let mut histogram = Histogram::new();
            histogram.add(&row[..len]);
            for luma in 0..256 {
                assert_eq!(histogram.count(luma), u64::from(luma < len), "{luma} of {len}");
            }
        }
    }

    #[test]
    fn mean_and_clipped_parts_are_of_all_samples() {
        let mut histogram = Histogram::new();
        histogram.add(&[0, 4, 5, 100, 250]);
        histogram.add(&[251, 255, 100]);
        let exposure = histogram.exposure();
        assert_eq!(exposure, Exposure { mean: 965.0 / 8.0, clipped_low: 0.25, clipped_high: 0.25 });
        assert_eq!(Histogram::new().exposure(), Exposure::default());
    }
}
