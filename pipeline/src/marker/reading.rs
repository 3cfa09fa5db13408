//! The number of a mark: its cells, sampled in perspective and compared with every number however turned.

use turnstage_drivers::board::{CELLS, CELLS_WITH_BORDER, DISTANCE_MIN, codes, turns};

use crate::algebra::{Homography, V2};
use crate::plane::Plane;

/// Misread cells that are forgiven. One fewer than could be: what is no mark at all must not be read as one.
const MISREAD_MAX: u32 = (DISTANCE_MIN - 1) / 2 - 1;
/// Border cells that may look white.
const BORDER_MAX: usize = 2;
/// Levels between black and white.
const CONTRAST_MIN: f64 = 12.0;

/// What was read.
pub(super) struct Reading {
    pub(super) id: u16,
    /// The printed top left corner is this corner of the quad.
    pub(super) turn: usize,
    pub(super) misread: u32,
}

/// Reads a quad whose corners run clockwise. `slack` is added to the cells that may be misread, for corners that are
/// not measured yet.
pub(super) fn read(plane: &Plane<'_>, quad: &[V2; 4], slack: u32) -> Option<Reading> {
    let wide = CELLS_WITH_BORDER as f64;
    let square = [[0.0, 0.0], [wide, 0.0], [wide, wide], [0.0, wide]];
    let pairs = [0, 1, 2, 3].map(|k| (square[k], quad[k]));
    let seen = Homography::of(&pairs)?;
    let level = |x: f64, y: f64| plane.between(seen.seen([x, y])?, f64::from);
    let cell = |x: usize, y: usize| {
        let looks = [0.3, 0.5, 0.7].map(|dx| [0.3, 0.5, 0.7].map(|dy| level(x as f64 + dx, y as f64 + dy)));
        looks.iter().flatten().try_fold(0.0, |sum, look| look.map(|level| sum + level / 9.0))
    };
    let mut cells = [[0.0; CELLS_WITH_BORDER]; CELLS_WITH_BORDER];
    for (y, row) in cells.iter_mut().enumerate() {
        for (x, level) in row.iter_mut().enumerate() {
            *level = cell(x, y)?;
        }
    }
    let is_border = |x: usize, y: usize| [x, y].iter().any(|&k| k == 0 || k == CELLS_WITH_BORDER - 1);
    let places =
        (0..CELLS_WITH_BORDER * CELLS_WITH_BORDER).map(|k| (k % CELLS_WITH_BORDER, k / CELLS_WITH_BORDER));
    let border: Vec<f64> =
        places.clone().filter(|&(x, y)| is_border(x, y)).map(|(x, y)| cells[y][x]).collect();
    let black = border.iter().sum::<f64>() / border.len() as f64;
    // The paper just outside, which every mark has round it.
    let outside = (0..CELLS_WITH_BORDER).flat_map(|k| {
        let along = k as f64 + 0.5;
        [level(along, -0.45), level(along, wide + 0.45), level(-0.45, along), level(wide + 0.45, along)]
    });
    let mut outside: Vec<f64> = outside.flatten().collect();
    outside.sort_by(f64::total_cmp);
    let white = *outside.get(outside.len() / 2)?;
    if white - black < CONTRAST_MIN {
        return None;
    }
    let limit = 0.5 * (white + black);
    if border.iter().filter(|&&level| level > limit).count() > BORDER_MAX {
        return None;
    }
    let inner = places.filter(|&(x, y)| !is_border(x, y));
    let code = inner.fold(0, |code, (x, y)| code << 1 | u32::from(cells[y][x] > limit));
    number(code, MISREAD_MAX + slack)
}

/// The mark that a code is, if only one is so near.
fn number(code: u32, misread_max: u32) -> Option<Reading> {
    debug_assert!(code < 1 << (CELLS * CELLS));
    let all = codes().iter().enumerate().flat_map(|(id, &printed)| {
        turns(printed)
            .into_iter()
            .enumerate()
            .map(move |(turn, turned)| (id, turn, (turned ^ code).count_ones()))
    });
    let (id, turn, misread) = all.min_by_key(|&(.., misread)| misread)?;
    (misread <= misread_max).then_some(Reading { id: id as u16, turn, misread })
}
