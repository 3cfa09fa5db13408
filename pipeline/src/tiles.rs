//! A picture in tiles: how much detail each has at four sizes and in which directions, and what follows for blur.
//!
//! Blur takes fine detail before coarse detail, whatever the contrast, so the ratio of both tells how wide it is.
//! A step edge blurred to a standard deviation of `s` pixels of the stored picture has, in a plane `k` times smaller,
//! the second difference of an edge of width `sqrt((s / k)^2 + e^2)`, where `e` is the width that sampling itself
//! gives; the mean square over an area goes with `k` times the power -3/2 of that (the integral of the squared
//! derivative of a Gaussian). Two planes give one ratio and so one `s`. Noise is taken out first: what the full-size
//! plane has more than an edge can be noise, and white noise is a quarter as strong in each smaller plane.
//! The kernel is that of Pertuz et al. 2013 (LAPV); the ratio of scales is that of Zhuo and Sim 2011, by area.

use crate::pyramid::Sums;

/// Width of a perfectly sharp edge in samples of its own plane: fitted to edges of the simulated booth.
const EDGE_PX: f64 = 0.6;
/// Part of the tiles that blur in a direction is read from: those with most fine detail in it.
const DETAILED: f64 = 0.15;
/// Tiles that blur is read from, at least.
const TILES_MIN: usize = 4;
/// A second difference along one line has 6 times the variance of white noise, the Laplacian 20 times.
const LINE_TO_LAPLACIAN: f64 = 0.3;
/// A direction with less than this part of the detail of the one with most is not looked at.
const DIRECTION_PART_MIN: f64 = 0.1;
/// Blur that is given for everything beyond what two sizes can tell.
pub const BLUR_PX_MAX: f64 = 10.0;

/// Mean squares of second differences in one tile of one plane, in squared grey levels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Detail {
    /// Of the Laplacian.
    pub laplacian: f64,
    /// Along rows, along columns, falling and rising diagonals: each pair is at right angles.
    pub directions: [f64; 4],
}

/// One tile.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tile {
    /// Mean square of the Laplacian at full size.
    pub full: f64,
    /// Largest absolute Laplacian at full size, 0 to 1020.
    pub peak: u16,
    /// At half, quarter and an eighth of the size.
    pub smaller: [Detail; 3],
}

/// The tiles of a picture, row-major; none where they were not asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tiles {
    pub columns: usize,
    /// Samples of the stored picture along one side of a tile.
    pub side_px: usize,
    pub tiles: Vec<Tile>,
}

/// Width of the blur in pixels of the stored picture (standard deviation), 0 to [`BLUR_PX_MAX`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Blur {
    /// In the direction where it is widest.
    pub widest_px: f64,
    /// Across that direction; as wide where the picture has too little detail to tell.
    pub across_px: f64,
}

impl Tiles {
    pub fn new(columns: usize, side_px: usize, full: &[Sums], smaller: [Vec<Sums>; 3]) -> Self {
        let mean = |sum: u64, of: &Sums| sum as f64 / of.samples.max(1) as f64;
        let detail = |sums: &Sums| Detail {
            laplacian: mean(sums.laplacian, sums),
            directions: sums.directions.map(|sum| mean(sum, sums)),
        };
        let [half, quarter, eighth] = &smaller;
        let tiles =
            full.iter().zip(half).zip(quarter).zip(eighth).map(|(((full, half), quarter), eighth)| Tile {
                full: mean(full.laplacian, full),
                peak: full.peak,
                smaller: [detail(half), detail(quarter), detail(eighth)],
            });
        Self { columns, side_px, tiles: tiles.collect() }
    }

    /// Left, top, right and bottom edge of a tile, 0 to 1, in a stored picture of `(width, height)`.
    pub fn edges(&self, k: usize, (width, height): (f64, f64)) -> [f64; 4] {
        let (row, column) = self.place(k);
        let edge = |place: usize, side: f64| ((place * self.side_px) as f64 / side).min(1.0);
        [edge(column, width), edge(row, height), edge(column + 1, width), edge(row + 1, height)]
    }

    /// Row and column of a tile.
    pub fn place(&self, k: usize) -> (usize, usize) {
        (k / self.columns.max(1), k % self.columns.max(1))
    }

    /// Standard deviation of the noise in grey levels, from the quietest tenth of the tiles. Texture is told from it by
    /// its size: white noise has 20 squares of its deviation at full size and a quarter of that at half size, a sharp
    /// edge has less at full size than at half. (Immerkaer 1996 takes the whole picture, and texture as noise.)
    pub fn noise_levels(&self) -> f64 {
        // What an edge has at full size for each square at half size.
        const EDGE_FULL_TO_HALF: f64 = 0.8;
        let mut quiet: Vec<&Tile> = self.tiles.iter().collect();
        quiet.sort_by(|a, b| a.full.total_cmp(&b.full));
        quiet.truncate(quiet.len().div_ceil(10));
        let beyond_edges = |tile: &&Tile| tile.full - EDGE_FULL_TO_HALF * tile.smaller[0].laplacian;
        let mean = quiet.iter().map(beyond_edges).sum::<f64>() / quiet.len().max(1) as f64;
        (mean.max(0.0) / (20.0 - 5.0 * EDGE_FULL_TO_HALF)).sqrt()
    }

    /// Blur of the tiles that `counts` says count; `None` where nothing in them has an edge. Each direction is read from
    /// the tiles with most fine detail in it: print that runs one way says nothing of blur along its lines, its margins
    /// do, and what lies before or behind the focus has no say.
    pub fn blur(&self, counts: impl Fn(usize) -> bool) -> Option<Blur> {
        let mut counted: Vec<&Tile> =
            self.tiles.iter().enumerate().filter(|&(k, _)| counts(k)).map(|(_, tile)| tile).collect();
        if counted.is_empty() {
            return None;
        }
        let most = ((counted.len() as f64 * DETAILED).round() as usize).max(TILES_MIN).min(counted.len());
        let directions = [0, 1, 2, 3].map(|direction| {
            let detail = |tile: &Tile| tile.detail(0, direction);
            counted.select_nth_unstable_by(most - 1, |a, b| detail(b).total_cmp(&detail(a)));
            let [half, quarter, eighth] =
                [0, 1, 2].map(|plane| counted[..most].iter().map(|tile| tile.detail(plane, direction)).sum());
            (width_px(half, quarter, 2.0).max(width_px(half, eighth, 4.0)), eighth)
        });
        let most_coarse = directions.iter().fold(0.0f64, |most, &(_, coarse)| most.max(coarse));
        let widths = directions
            .map(|(px, coarse)| (coarse > 0.0 && coarse >= DIRECTION_PART_MIN * most_coarse).then_some(px));
        let (widest, widest_px) = widths
            .into_iter()
            .enumerate()
            .filter_map(|(direction, px)| Some((direction, px?)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some(Blur { widest_px, across_px: widths[widest ^ 1].unwrap_or(widest_px) })
    }
}

impl Tile {
    /// Mean square of the second differences along a direction in one of the smaller planes, without what noise has in
    /// it: at most all of what there is at full size.
    fn detail(&self, plane: usize, direction: usize) -> f64 {
        let noise = LINE_TO_LAPLACIAN * self.full;
        self.smaller[plane].directions[direction] - noise / 4f64.powi(plane as i32 + 1)
    }
}

/// Blur from the detail at half size and that of a plane `times` smaller.
fn width_px(half: f64, smaller: f64, times: f64) -> f64 {
    if smaller <= 0.0 {
        return BLUR_PX_MAX;
    }
    // A sharp picture has `times` times more in the smaller plane; from there the power -3/2 is undone.
    let ratio = (times * half.max(0.0) / smaller).powf(2.0 / 3.0).min(1.0);
    let (near, far) = (ratio / 4.0, 1.0 / (4.0 * times * times));
    if near <= far {
        return BLUR_PX_MAX;
    }
    (EDGE_PX * ((1.0 - ratio) / (near - far)).sqrt()).min(BLUR_PX_MAX)
}
