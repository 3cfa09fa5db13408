//! Dirt on the lens and dead pixels: what stays put on the sensor while the object turns.
//!
//! A spot of dust takes light away in the same cells of every frame. On the backdrop it shows against the first frame;
//! on the object it shows as cells that stay darker than those around them while these change from frame to frame.
//! Both must last for a third of a turn. A dead pixel is a single point that stands out at one place again and again.

use std::collections::BTreeMap;

use turnstage_drivers::Angle;

use super::{DEAD_PIXELS, DIRT, Finding, Limits};
use crate::cells::Cells;

/// A spot has to stay while the table turns so far: a shadow or a mirrored lamp wanders with the object.
const TURN_DEG_MIN: f64 = 120.0;
/// A cell may miss so many frames in a row and still be the same spot.
const MISSES_MAX: u8 = 1;
/// Frames before a point can be called dead.
const FRAMES_MIN: u32 = 6;
/// Distance in cells at which the surroundings of a cell are looked at.
const RING: usize = 4;
/// The surroundings of a cell that turned must vary by so many grey levels (standard deviation).
const TURNED_LEVELS_MIN: f64 = 8.0;
/// Places of dead pixels that are remembered.
const PLACES_MAX: usize = 4096;

/// What is known of one camera's cells and points over the frames of a turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Stays {
    frames: u32,
    /// Angle of the last frame, and how far the table turned in all.
    angle: Option<Angle>,
    turned_deg: f64,
    cells: Vec<Cell>,
    points: BTreeMap<(u32, u32), u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// How far the table had turned when the cell became dark.
    dark_since_deg: Option<f64>,
    misses: u8,
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
    /// Takes an accepted frame into account. `first` is the first accepted one, `still` says which cells did not turn,
    /// `part` is the least part of the light that a spot takes.
    pub fn add(
        &mut self,
        (cells, points): (&Cells, &[(u32, u32)]),
        angle: Angle,
        first: &Cells,
        still: impl Fn(usize) -> bool,
        part: f64,
    ) {
        self.frames += 1;
        self.turned_deg += self.angle.replace(angle).map_or(0.0, |before| before.distance(angle));
        self.cells.resize(cells.luma().len(), Cell::default());
        for k in 0..self.cells.len() {
            let Some((_, around)) = dip(cells, k) else { continue };
            self.cells[k].around += around;
            self.cells[k].around_squares += around * around;
            let is_dark = self.is_dark(cells, first, k, still(k), part);
            let (turned_deg, cell) = (self.turned_deg, &mut self.cells[k]);
            if is_dark {
                cell.dark_since_deg.get_or_insert(turned_deg);
                cell.misses = 0;
            } else if cell.misses < MISSES_MAX {
                cell.misses += 1;
            } else {
                cell.dark_since_deg = None;
            }
        }
        for &point in points {
            if self.points.len() < PLACES_MAX || self.points.contains_key(&point) {
                *self.points.entry(point).or_default() += 1;
            }
        }
    }

    /// Findings about a frame with the frames before it.
    pub fn judge(
        &self,
        (cells, points): (&Cells, &[(u32, u32)]),
        first: &Cells,
        still: impl Fn(usize) -> bool,
        limits: &Limits,
    ) -> impl Iterator<Item = Finding> {
        let part = limits.dirt_part_max;
        let stays = |k: usize| {
            let long = |cell: &Cell| {
                cell.dark_since_deg.is_some_and(|since| self.turned_deg - since >= TURN_DEG_MIN)
            };
            self.cells.get(k).is_some_and(long) && self.is_dark(cells, first, k, still(k), part)
        };
        let spots: Vec<bool> = (0..cells.luma().len()).map(stays).collect();
        dirt(groups(&spots, cells.size().0), limits).into_iter().chain(dead_pixels(self.dead(points), limits))
    }

    /// A cell that takes light away: on the backdrop against the first frame, on what turns against surroundings that
    /// change from frame to frame.
    fn is_dark(&self, cells: &Cells, first: &Cells, k: usize, still: bool, part: f64) -> bool {
        let Some((now, _)) = dip(cells, k) else { return false };
        if still {
            return now > part && dip(first, k).is_some_and(|(then, _)| now - then > part);
        }
        let (n, cell) = (f64::from(self.frames.max(1)), &self.cells[k]);
        let varies = (cell.around_squares / n - (cell.around / n).powi(2)).max(0.0).sqrt();
        now > part && varies >= TURNED_LEVELS_MIN
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
