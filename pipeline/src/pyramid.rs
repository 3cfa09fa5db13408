//! The sizes at which luma is measured: full, half and quarter, and an eighth where blur is judged.
//!
//! Each smaller plane is made of 2 x 2 means of the one before, in the same walk over the rows that measures it
//! (`walk`), so no plane is read twice; thumbnails are made from them too.

mod walk;

pub(crate) use walk::Sums;

use crate::plane::Plane;
use crate::qc::{Histogram, Sharpness};
use crate::tiles::Tiles;
use walk::{BLOCK, Grid, Lanes, Wanted};

/// Tiles across a picture, about.
const TILES_ACROSS: usize = 32;

/// The smaller planes of the last measured picture; buffers are reused.
#[derive(Default)]
pub(crate) struct Pyramid {
    half: Vec<u8>,
    half_size: (usize, usize),
    quarter: Vec<u8>,
    eighth: Vec<u8>,
    lanes: Vec<Lanes>,
}

impl Pyramid {
    /// Measures `luma` at three sizes and counts its samples; with `tiled` also tile by tile, in four directions and
    /// down to an eighth.
    pub fn measure(&mut self, luma: Plane<'_>, histogram: &mut Histogram, tiled: bool) -> (Sharpness, Tiles) {
        let (width, height) = (luma.width / 2, luma.height / 2);
        self.half_size = (width, height);
        // A whole number of blocks, so that only the rim of the picture has left-overs.
        let side = (width / TILES_ACROSS).next_multiple_of(BLOCK).max(BLOCK);
        let grid = Grid { columns: width.div_ceil(side).max(1), rows: height.div_ceil(side).max(1), side };
        let lanes = &mut self.lanes;
        let wanted = Wanted {
            histogram: Some(histogram),
            half: Some(&mut self.half),
            peaks: tiled,
            directions: false,
        };
        let full = walk::over(luma, grid.of_side(2 * side), lanes, wanted);
        let plane = Plane::tight(&self.half, width, height);
        let wanted = Wanted { half: Some(&mut self.quarter), directions: tiled, ..Wanted::default() };
        let half = walk::over(plane, grid, lanes, wanted);
        let plane = Plane::tight(&self.quarter, width / 2, height / 2);
        let wanted =
            Wanted { half: tiled.then_some(&mut self.eighth), directions: tiled, ..Wanted::default() };
        let quarter = walk::over(plane, grid.of_side(side / 2), lanes, wanted);
        let sharpness = Sharpness {
            full: full.variance,
            half: half.variance,
            quarter: quarter.variance,
            ..Sharpness::default()
        };
        if !tiled {
            return (sharpness, Tiles::default());
        }
        let plane = Plane::tight(&self.eighth, width / 4, height / 4);
        let wanted = Wanted { directions: true, ..Wanted::default() };
        let eighth = walk::over(plane, grid.of_side(side / 4), lanes, wanted);
        let smaller = [half.tiles, quarter.tiles, eighth.tiles];
        (sharpness, Tiles::new(grid.columns, 2 * side, &full.tiles, smaller))
    }

    /// The smallest measured plane whose sides are both at least `width` and `height`, `luma` itself if none.
    pub fn at_least<'a>(&'a self, luma: Plane<'a>, width: usize, height: usize) -> Plane<'a> {
        let half = Plane::tight(&self.half, self.half_size.0, self.half_size.1);
        let quarter = Plane::tight(&self.quarter, half.width / 2, half.height / 2);
        let fits = |plane: &Plane<'_>| plane.width >= width && plane.height >= height;
        [quarter, half].into_iter().find(fits).unwrap_or(luma)
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let lanes = self.lanes.capacity() * size_of::<Lanes>();
        self.half.capacity() + self.quarter.capacity() + self.eighth.capacity() + lanes
    }
}

#[cfg(test)]
mod tests;
