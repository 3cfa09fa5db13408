//! Drift: light or colour that changed since the first accepted frame of the session, although the camera is locked.
//!
//! Compared is what did not turn with the object: the median over those cells of the ratio of light and of the shift
//! of colour, so that the object itself has no say. Light is told in stops, with the usual exponent 2.2 between light
//! and grey levels (IEC 61966-2-1); colour in levels of the two colour differences (ITU-T T.871).

use super::{COLOUR_DRIFT, Finding, LIGHT_DRIFT, Limits, rounded_up};
use crate::cells::Cells;

/// Exponent from grey levels to light.
const GAMMA: f64 = 2.2;

/// Findings for a frame against the `first` one; `still` says which cells did not turn.
pub(super) fn judge(
    cells: &Cells,
    first: &Cells,
    still: impl Fn(usize) -> bool,
    limits: &Limits,
) -> impl Iterator<Item = Finding> {
    let light = cells.gain_over(first, &still).and_then(|gain| light(GAMMA * gain.log2(), limits));
    // Less light takes colour with it, so where the light has changed the colour says nothing of its own.
    let tint = if light.is_none() { cells.tint_over(first, &still) } else { None };
    light.into_iter().chain(tint.and_then(|tint| colour(tint, limits)))
}

fn light(stops: f64, limits: &Limits) -> Option<Finding> {
    let limit = limits.light_drift_stops_max;
    if stops.abs() <= limit {
        return None;
    }
    let way = if stops < 0.0 { "darker" } else { "brighter" };
    let message = format!(
        "Light has changed: the backdrop is {:.1} stops {way} than in the first frame, at most {limit} is allowed. \
         Check that all lamps are on and that no daylight falls in.",
        rounded_up(stops.abs())
    );
    limits.finding(&LIGHT_DRIFT, (stops, limit, "stops"), message)
}

fn colour([blue, red]: [f64; 2], limits: &Limits) -> Option<Finding> {
    let (shift, limit) = (blue.hypot(red), limits.colour_drift_levels_max);
    if shift <= limit {
        return None;
    }
    let way = if red > blue { "redder" } else { "bluer" };
    let message = format!(
        "Colour has changed: the backdrop is {way} than in the first frame by {:.1} levels, at most {limit} are \
         allowed. Check that all lamps are alike and that the white balance is locked.",
        rounded_up(shift)
    );
    limits.finding(&COLOUR_DRIFT, (shift, limit, "levels"), message)
}
