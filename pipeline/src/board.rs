//! The marker board in a picture: where the corners of its chess squares are.
//!
//! Marks tell which corner is which and about where it is. There, where two black and two white squares meet, the
//! place is measured by the gradients of the levels round it (Förstner and Gülch 1987): what blur and tone curve do to
//! one edge they do to the opposite one the other way round, so that it cancels.

use turnstage_drivers::board::{Board, CORNERS};

use crate::InputLimits;
use crate::algebra::{Homography, V2};
use crate::decode::Decoder;
use crate::marker::{self, Mark};
use crate::plane::Plane;

/// A corner is measured within this part of its square to every side; farther lies a mark.
const WINDOW_PART: f64 = 0.14;
/// And that must be so many pixels.
const WINDOW_MIN: f64 = 2.0;
/// Pixels of the largest window; a closer view measures no better.
const WINDOW_MAX: f64 = 24.0;
const ROUNDS: usize = 12;
/// Levels between the white and the black squares.
const CONTRAST_MIN: f64 = 10.0;

/// A corner of the board in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corner {
    /// Which, as [`Board::corner`] counts.
    pub index: usize,
    /// Where; the centre of the first pixel is (0, 0).
    pub at: [f64; 2],
}

/// The corners of a board that are seen, in the order of their numbers. Empty without a board.
pub fn corners(plane: &Plane<'_>, board: &Board) -> Vec<Corner> {
    let marks = marker::find(plane);
    let once = |mark: &&Mark| marks.iter().filter(|other| other.id == mark.id).count() == 1;
    let views: Vec<(u16, Homography)> = marks
        .iter()
        .filter(once)
        .filter_map(|mark| {
            let printed = board.mark(mark.id)?;
            let pairs = [0, 1, 2, 3].map(|k| (printed[k], mark.corners[k]));
            Some((mark.id, Homography::of(&pairs)?))
        })
        .collect();
    (0..CORNERS * CORNERS).filter_map(|index| corner(plane, board, &views, index)).collect()
}

fn corner(plane: &Plane<'_>, board: &Board, views: &[(u16, Homography)], index: usize) -> Option<Corner> {
    let place = board.corner(index);
    // Only of a mark beside it: a lens that bends lines is not a plane far away.
    let beside = |id: u16| {
        let corners = board.mark(id)?;
        let far = |at: V2| (at[0] - place[0]).hypot(at[1] - place[1]);
        (corners.into_iter().map(far).fold(f64::INFINITY, f64::min) < 0.5 * board.square_mm()).then_some(())
    };
    let near: Vec<&Homography> =
        views.iter().filter(|(id, _)| beside(*id).is_some()).map(|(_, view)| view).collect();
    let seen: Vec<V2> = near.iter().filter_map(|view| view.seen(place)).collect();
    let count = seen.len() as f64;
    let start = seen.iter().fold([0.0, 0.0], |sum, at| [sum[0] + at[0] / count, sum[1] + at[1] / count]);
    let view = near.first()?;
    let window = Window::of(board, view, place)?;
    let at = window.saddle(plane, start)?;
    let looks = [(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)].map(|(x, y)| {
        let aside = |sign: f64, lane: usize| sign * 0.7 * WINDOW_PART * board.square_mm() + place[lane];
        let there = view.seen([aside(x, 0), aside(y, 1)])?;
        let from = view.seen(place)?;
        plane.between([at[0] + there[0] - from[0], at[1] + there[1] - from[1]], f64::from)
    });
    let [Some(a), Some(b), Some(c), Some(d)] = looks else { return None };
    // The square to the upper left of a corner is white if the sum of the corner's row and column is even.
    let (upper_left, other) = if (index / CORNERS + index % CORNERS).is_multiple_of(2) {
        (b.min(d), a.max(c))
    } else {
        (a.min(c), b.max(d))
    };
    (upper_left - other > CONTRAST_MIN).then_some(Corner { index, at })
}

/// Where a corner is looked at: a small square of the board as it is seen.
struct Window {
    /// From pixels off the corner to parts of the window, 1 at its side.
    across: [V2; 2],
    /// Pixels that it reaches along rows and down.
    reach: V2,
}

impl Window {
    fn of(board: &Board, view: &Homography, place: V2) -> Option<Self> {
        let half = WINDOW_PART * board.square_mm();
        let middle = view.seen(place)?;
        let arm = |dx: f64, dy: f64| {
            let end = view.seen([place[0] + dx, place[1] + dy])?;
            Some([end[0] - middle[0], end[1] - middle[1]])
        };
        let (right, up) = (arm(half, 0.0)?, arm(0.0, half)?);
        let turn = right[0] * up[1] - right[1] * up[0];
        // Pixels between two opposite sides of the window, halved.
        let wide = turn.abs() / up[0].hypot(up[1]);
        let high = turn.abs() / right[0].hypot(right[1]);
        let narrow = wide.min(high);
        if narrow.is_nan() || narrow < WINDOW_MIN {
            return None;
        }
        let shrunk = (WINDOW_MAX / wide.max(high)).min(1.0);
        let across = [[up[1], -up[0]], [-right[1], right[0]]].map(|row| row.map(|lane| lane / turn / shrunk));
        let reach = [0, 1].map(|lane| (right[lane].abs() + up[lane].abs()) * shrunk);
        Some(Self { across, reach })
    }

    /// The place that the gradients round it point past: each is at right angles to the way from there.
    fn saddle(&self, plane: &Plane<'_>, start: V2) -> Option<V2> {
        let mut at = start;
        for _ in 0..ROUNDS {
            let next = self.step(plane, at)?;
            let moved = (next[0] - at[0]).hypot(next[1] - at[1]);
            at = next;
            if !self.holds([at[0] - start[0], at[1] - start[1]]) {
                return None;
            }
            if moved < 1e-3 {
                return Some(at);
            }
        }
        Some(at)
    }

    fn holds(&self, off: V2) -> bool {
        self.across.iter().all(|row| (row[0] * off[0] + row[1] * off[1]).abs() <= 1.0)
    }

    fn step(&self, plane: &Plane<'_>, at: V2) -> Option<V2> {
        let low = [0, 1].map(|lane| (at[lane] - self.reach[lane]).ceil());
        let high = [0, 1].map(|lane| (at[lane] + self.reach[lane]).floor());
        let inside = low[0] >= 1.0
            && low[1] >= 1.0
            && high[0] + 2.0 <= plane.width as f64
            && high[1] + 2.0 <= plane.height as f64;
        if !inside {
            return None;
        }
        let (mut xx, mut xy, mut yy, mut sx, mut sy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for y in low[1] as usize..=high[1] as usize {
            for x in low[0] as usize..=high[0] as usize {
                let off = [x as f64 - at[0], y as f64 - at[1]];
                let weight = self.weight(off);
                let level = |x: usize, y: usize| f64::from(plane.at(x, y));
                let (gx, gy) = (level(x + 1, y) - level(x - 1, y), level(x, y + 1) - level(x, y - 1));
                let (wxx, wxy, wyy) = (weight * gx * gx, weight * gx * gy, weight * gy * gy);
                (xx, xy, yy) = (xx + wxx, xy + wxy, yy + wyy);
                (sx, sy) = (sx + wxx * off[0] + wxy * off[1], sy + wxy * off[0] + wyy * off[1]);
            }
        }
        let turn = xx * yy - xy * xy;
        // Gradients that all point one way leave the place open along an edge.
        let open = turn <= 1e-3 * (xx + yy).powi(2);
        (!open).then(|| [at[0] + (yy * sx - xy * sy) / turn, at[1] + (xx * sy - xy * sx) / turn])
    }

    /// 1 in the middle, 0 at the sides, without a step on the way, so that no pixel comes and goes.
    fn weight(&self, off: V2) -> f64 {
        let fall = |row: V2| {
            let part = row[0] * off[0] + row[1] * off[1];
            (1.0 - part * part).max(0.0)
        };
        fall(self.across[0]) * fall(self.across[1])
    }
}

/// What was seen in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenBoard {
    /// Pixels a row, as stored.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Corners of the board; empty without one.
    pub corners: Vec<Corner>,
}

/// The corners of a board in a JPEG's bytes. `Err` with a clause where the bytes are no whole JPEG, or a larger one than
/// `limits` allow.
pub fn seen_in(bytes: &[u8], limits: &InputLimits, board: &Board) -> Result<SeenBoard, String> {
    let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
    let decoded = decoder.decode(bytes, limits).map_err(|why| why.clause())?;
    if let Some(damage) = decoded.damage {
        return Err(damage);
    }
    let Plane { width, height, .. } = decoded.luma;
    Ok(SeenBoard { width: width as u32, height: height as u32, corners: corners(&decoded.luma, board) })
}
