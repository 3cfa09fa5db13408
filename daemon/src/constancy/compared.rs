//! The newest frames against the baseline, and from which change on it is an alarm.

use super::{Frame, Measured, Quality};

/// From grey levels to light (IEC 61966-2-1), as in `qc.light-drift`.
const GAMMA: f64 = 2.2;
/// A border this dark or bright is no measure of light, in grey levels.
const LUMA: std::ops::RangeInclusive<f64> = 20.0..=245.0;

/// Blur times this, and [`BLUR_MORE_PX`] more, is an alarm.
const BLUR_TIMES: f64 = 1.3;
const BLUR_MORE_PX: f64 = 0.2;
/// A pixel's own width as a standard deviation, 1 / sqrt(12): finer than that one lens is as sharp as another.
const BLUR_FLOOR_PX: f64 = 0.29;
/// Change of light in stops, either way.
const LIGHT_STOPS: f64 = 0.33;
/// Change of colour in levels of the colour differences.
const COLOUR_LEVELS: f64 = 6.0;
/// Noise times this, and [`NOISE_MORE_LEVELS`] more, is an alarm.
const NOISE_TIMES: f64 = 1.5;
const NOISE_MORE_LEVELS: f64 = 0.5;

/// Frames of now, each beside the median of its like in the baseline.
pub(super) struct Compared {
    /// Frames that the medians are of.
    pub baseline_frames: usize,
    /// Then and now.
    pub pairs: Vec<(Frame, Frame)>,
}

impl Compared {
    /// Both sides have at least so many frames.
    pub fn says_something(&self, least: usize) -> bool {
        self.baseline_frames.min(self.pairs.len()) >= least
    }

    /// What is beyond its limit, and by how much (see [`Drift::change`](super::Drift::change)), if both sides have at
    /// least so many frames.
    pub fn alarms(&self, least: usize) -> Vec<(Quality, f64)> {
        if !self.says_something(least) {
            return Vec::new();
        }
        let mut alarms = Vec::new();
        let blur = self.change(least, |frame| frame.blur_px.map(|px| px.max(BLUR_FLOOR_PX)));
        if let Some((times, _)) = blur.filter(|(times, more)| *times >= BLUR_TIMES && *more >= BLUR_MORE_PX) {
            alarms.push((Quality::Sharpness, 1.0 - 1.0 / times));
        }
        let luma = |frame: &Frame| frame.border.map(|border| border[0]).filter(|luma| LUMA.contains(luma));
        let stops = self.change(least, luma).map(|(times, _)| GAMMA * times.log2());
        if let Some(stops) = stops.filter(|stops| stops.abs() >= LIGHT_STOPS) {
            // Less light takes colour with it and asks for gain: one cause, one alarm.
            alarms.push((Quality::Light, 1.0 - stops.exp2()));
            return alarms;
        }
        let shift = self
            .colour_shift(least)
            .map(|[blue, red]| blue.hypot(red))
            .filter(|shift| *shift >= COLOUR_LEVELS);
        alarms.extend(shift.map(|shift| (Quality::Colour, shift)));
        let noise = self.change(least, |frame| frame.noise_levels);
        if let Some((times, _)) =
            noise.filter(|(times, more)| *times >= NOISE_TIMES && *more >= NOISE_MORE_LEVELS)
        {
            alarms.push((Quality::Noise, times - 1.0));
        }
        alarms
    }

    /// Median ratio and median difference of now to then; `None` of fewer than `least` frames.
    fn change(&self, least: usize, of: impl Fn(&Frame) -> Option<f64>) -> Option<(f64, f64)> {
        let pairs = self.pairs.iter().filter_map(|(then, now)| Some((of(then)?, of(now)?)));
        let pairs: Vec<(f64, f64)> = pairs.filter(|(then, _)| *then > 0.0).collect();
        if pairs.len() < least.max(1) {
            return None;
        }
        let times = median(pairs.iter().map(|(then, now)| now / then))?;
        Some((times, median(pairs.iter().map(|(then, now)| now - then))?))
    }

    /// Median shift of blue and red difference in levels.
    pub fn colour_shift(&self, least: usize) -> Option<[f64; 2]> {
        let level =
            |n: usize| self.change(least, |frame| frame.border.map(|border| border[n])).map(|(_, more)| more);
        Some([level(1)?, level(2)?])
    }

    /// Medians then and now; `None` where nothing was measured.
    pub fn measured(&self, of: impl Fn(&Frame) -> Option<f64>) -> Option<Measured> {
        let pairs = self.pairs.iter().filter_map(|(then, now)| Some((of(then)?, of(now)?)));
        let (then, now): (Vec<f64>, Vec<f64>) = pairs.unzip();
        Some(Measured { baseline: median(then.into_iter())?, today: median(now.into_iter())? })
    }
}

/// The middle value; `None` of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[low] + values[high]) / 2.0)
}
