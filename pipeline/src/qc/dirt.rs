//! Dirt on the lens and dead pixels: what stays put on the sensor while the object turns.
//!
//! A spot of dust takes light away in the same cells of every frame. On the backdrop it shows against the first frame;
//! on the object it shows as cells that stay darker than those around them while these change from frame to frame.
//! A dead pixel is a single point that stands out at one place again and again.

use std::collections::BTreeMap;

use super::{DEAD_PIXELS, DIRT, Finding, Limits};
use crate::cells::Cells;

/// Frames of different angles before something can be said to stay.
const FRAMES_MIN: u32 = 6;
/// Distance in cells at which the surroundings of a cell are looked at.
const RING: usize = 4;
/// The surroundings must vary by so many grey levels (standard deviation) to have turned.
const TURNED_LEVELS_MIN: f64 = 8.0;
/// Part of the frames in which the cell must be darker.
const FRAMES_PART: f64 = 0.9;
/// Places of dead pixels that are remembered.
const PLACES_MAX: usize = 4096;

/// What is known of one camera's cells and points over the frames of a turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Stays {
    frames: u32,
    cells: Vec<Cell>,
    points: BTreeMap<(u32, u32), u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    dark: u32,
    dip: f64,
    around: f64,
    around_squares: f64,
}

/// How much darker than its surroundings a cell is, as a part of their light, and their light in grey levels.
fn dip(cells: &Cells, k: usize) -> Option<(f64, f64)> {
    let (width, height) = cells.size();
    let (x, y) = (k % width, k / width);
    if x < RING || y < RING || x + RING >= width || y + RING >= height {
        return None;
    }
    let at = |x: usize, y: usize| f64::from(cells.luma()[y * width + x]);
    let pairs = [
        (at(x - RING, y), at(x + RING, y)),
        (at(x, y - RING), at(x, y + RING)),
        (at(x - 3, y - 3), at(x + 3, y + 3)),
        (at(x - 3, y + 3), at(x + 3, y - 3)),
    ];
    // Darker than the darker of two opposite sides, whichever pair: an edge or a line is dark on one side too.
    let least = pairs.iter().map(|(a, b)| a.min(*b)).fold(f64::INFINITY, f64::min);
    let around = pairs.iter().map(|(a, b)| a + b).sum::<f64>() / 8.0;
    (around >= 20.0).then(|| ((least - at(x, y)) / around, around))
}

impl Stays {
    /// Takes an accepted frame into account.
    pub fn add(&mut self, cells: &Cells, points: &[(u32, u32)]) {
        self.frames += 1;
        self.cells.resize(cells.luma().len(), Cell::default());
        for (k, cell) in self.cells.iter_mut().enumerate() {
            if let Some((dip, around)) = dip(cells, k) {
                cell.dark += u32::from(dip > 0.0);
                cell.dip += dip;
                cell.around += around;
                cell.around_squares += around * around;
            }
        }
        for &point in points {
            if self.points.len() < PLACES_MAX || self.points.contains_key(&point) {
                *self.points.entry(point).or_default() += 1;
            }
        }
    }

    /// Findings about a frame with the frames before it; `first` is the first accepted one, `still` says which cells
    /// did not turn.
    pub fn judge(
        &self,
        (cells, points): (&Cells, &[(u32, u32)]),
        first: &Cells,
        still: impl Fn(usize) -> bool,
        limits: &Limits,
    ) -> impl Iterator<Item = Finding> {
        dirt(self.spots(cells, first, still, limits.dirt_part_max), limits)
            .into_iter()
            .chain(dead_pixels(self.dead(points), limits))
    }

    /// Spots: groups of cells that are darker than they should be.
    fn spots(&self, cells: &Cells, first: &Cells, still: impl Fn(usize) -> bool, part: f64) -> usize {
        let is_spot = |k: usize| {
            let Some((now, _)) = dip(cells, k) else { return false };
            if still(k) {
                return now > part && dip(first, k).is_some_and(|(then, _)| now - then > part);
            }
            now > 0.0 && self.stays_dark(k, part)
        };
        let dark: Vec<bool> = (0..cells.luma().len()).map(is_spot).collect();
        groups(&dark, cells.size().0)
    }

    /// A cell that was darker than its surroundings in nearly every frame, while these changed.
    fn stays_dark(&self, k: usize, part: f64) -> bool {
        let (Some(cell), true) = (self.cells.get(k), self.frames >= FRAMES_MIN) else { return false };
        let n = f64::from(self.frames);
        let varies = (cell.around_squares / n - (cell.around / n).powi(2)).max(0.0).sqrt();
        varies >= TURNED_LEVELS_MIN && cell.dip / n > part && f64::from(cell.dark) >= FRAMES_PART * n
    }

    /// Points of this frame that stood out at the same place in nearly every frame.
    fn dead(&self, points: &[(u32, u32)]) -> usize {
        let often = |point: &&(u32, u32)| {
            let times = self.points.get(point).copied().unwrap_or(0);
            self.frames >= FRAMES_MIN && f64::from(times) >= f64::from(self.frames) / 2.0
        };
        points.iter().filter(often).count()
    }
}

/// Groups of neighbouring cells that are set, at least two cells each.
fn groups(set: &[bool], width: usize) -> usize {
    let mut left = set.to_vec();
    let mut count = 0;
    for start in 0..left.len() {
        let (mut open, mut size) = (vec![start], 0);
        while let Some(k) = open.pop() {
            if !std::mem::take(&mut left[k]) {
                continue;
            }
            size += 1;
            let (x, y) = (k % width, k / width);
            let near = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            open.extend(
                near.iter()
                    .filter(|(x, y)| *x < width && *y < left.len() / width)
                    .map(|(x, y)| y * width + x),
            );
        }
        count += usize::from(size >= 2);
    }
    count
}

fn dirt(spots: usize, limits: &Limits) -> Option<Finding> {
    let limit = f64::from(limits.dirt_spots_max);
    if spots as f64 <= limit {
        return None;
    }
    let message = format!(
        "Dirt on the lens: {spots} dark spots stay at the same places while the object turns, at most {limit} are \
         allowed. Clean the lens; if they stay, have the sensor cleaned."
    );
    limits.finding(&DIRT, (spots as f64, limit, "spots"), message)
}

fn dead_pixels(points: usize, limits: &Limits) -> Option<Finding> {
    let limit = f64::from(limits.dead_pixels_max);
    if points as f64 <= limit {
        return None;
    }
    let message = format!(
        "The sensor has {points} dead pixels, at most {limit} are allowed. Run the camera's pixel mapping, or have it \
         repaired."
    );
    limits.finding(&DEAD_PIXELS, (points as f64, limit, "pixels"), message)
}
