//! Dirt on the lens and dead pixels: what stays put on the sensor while the object turns.
//!
//! A speck of dust is far out of focus, so it takes some of the light of the same few cells in every frame. It is
//! looked for before what stands still, as a soft dark spot on smooth ground that lasts for a third of a turn. On what
//! turns it cannot be told from the object by one turn: a knob on the axis stays put, so does the ring of a vase, and
//! the marks of a platter come back with every step. A dead pixel is a single point that stands out at one place again
//! and again.

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
/// What takes more of the light than this is a thing in the scene: dust is too far out of focus.
pub(super) const PART_MAX: f64 = 0.35;
/// Smooth ground: the lightest and the darkest of the surroundings differ by this part of their light at most.
const SMOOTH_PART_MAX: f64 = 0.05;
/// Surroundings darker than this say little about a part of their light, in grey levels.
const GROUND_LEVELS_MIN: f64 = 20.0;
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
}

/// The cells around cell `k`; `None` too near to the edge of the picture.
fn ring((width, height): (usize, usize), k: usize) -> Option<[usize; 8]> {
    let (x, y) = (k % width, k / width);
    let inside = x >= RING && y >= RING && x + RING < width && y + RING < height;
    let near = RING - 1;
    inside.then(|| {
        [
            k - RING,
            k + RING,
            k - RING * width,
            k + RING * width,
            k - near * width - near,
            k - near * width + near,
            k + near * width - near,
            k + near * width + near,
        ]
    })
}

/// Whether cell `k` lies in a spot that takes more than `part` of the light of smooth ground.
fn is_spot(cells: &Cells, k: usize, part: f64) -> bool {
    let Some(ring) = ring(cells.size(), k) else { return false };
    let levels = ring.map(|near| f64::from(cells.luma()[near]));
    let (least, most) = levels.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &l| (a.min(l), b.max(l)));
    let ground = levels.iter().sum::<f64>() / levels.len() as f64;
    let taken = (least - f64::from(cells.luma()[k])) / ground.max(1.0);
    ground >= GROUND_LEVELS_MIN
        && most - least <= SMOOTH_PART_MAX * ground
        && taken > part
        && taken <= PART_MAX
}

impl Stays {
    /// Takes an accepted frame into account; `part` is the least part of the light that a spot takes.
    pub fn add(&mut self, (cells, points): (&Cells, &[(u32, u32)]), angle: Angle, part: f64) {
        self.frames += 1;
        self.turned_deg += self.angle.replace(angle).map_or(0.0, |before| before.distance(angle));
        self.cells.resize(cells.luma().len(), Cell::default());
        for (k, cell) in self.cells.iter_mut().enumerate() {
            if is_spot(cells, k, part) {
                cell.dark_since_deg.get_or_insert(self.turned_deg);
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

    /// Findings about a frame with the frames before it; `still` says which cells did not turn.
    pub fn judge(
        &self,
        (cells, points): (&Cells, &[(u32, u32)]),
        still: impl Fn(usize) -> bool,
        limits: &Limits,
    ) -> impl Iterator<Item = Finding> {
        let long =
            |cell: &Cell| cell.dark_since_deg.is_some_and(|since| self.turned_deg - since >= TURN_DEG_MIN);
        // What stands close to the object may be part of it.
        let stands =
            |k: usize| still(k) && ring(cells.size(), k).is_some_and(|ring| ring.into_iter().all(&still));
        let stays =
            |(k, cell): (usize, &Cell)| long(cell) && stands(k) && is_spot(cells, k, limits.dirt_part_max);
        let spots: Vec<bool> = self.cells.iter().enumerate().map(stays).collect();
        dirt(groups(&spots, cells.size().0), limits).into_iter().chain(dead_pixels(self.dead(points), limits))
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
