//! Single points that stand out of a smooth place, as stuck pixels of a sensor do.

use crate::plane::Plane;
use crate::tiles::Tiles;

/// Least difference to all neighbours in grey levels.
const LEVELS_MIN: i16 = 60;
/// Largest difference of the neighbours among each other in grey levels: elsewhere there is detail.
const AROUND_MAX: u8 = 24;
/// A tile with a lower peak of the Laplacian has no such point.
const PEAK_MIN: u16 = 200;
/// Mean square of the Laplacian from which a tile is full of detail, beside which no point could be told.
const DETAIL_MAX: f64 = 100.0;
/// Points that one tile may have.
const POINTS_OF_A_TILE: f64 = 3.0;
/// Tiles that are searched, so that no picture costs much.
const TILES_MAX: usize = 64;
/// Points that are named.
const POINTS_MAX: usize = 256;

/// Places (x, y) of points in pixels of the stored picture.
pub(crate) fn find(luma: Plane<'_>, tiles: &Tiles) -> Vec<(u32, u32)> {
    let mut points = Vec::new();
    let promising = |tile: &crate::tiles::Tile| {
        // One point and its four neighbours have five quarters of the square of its own Laplacian.
        let points =
            POINTS_OF_A_TILE * 1.25 * f64::from(tile.peak).powi(2) / (tiles.side_px * tiles.side_px) as f64;
        tile.peak >= PEAK_MIN && tile.full <= DETAIL_MAX + points
    };
    for (k, _) in tiles.tiles.iter().enumerate().filter(|(_, tile)| promising(tile)).take(TILES_MAX) {
        let (row, column) = tiles.place(k);
        let (top, left) = (row * tiles.side_px, column * tiles.side_px);
        for y in top.max(1)..(top + tiles.side_px).min(luma.height.saturating_sub(1)) {
            for x in left.max(1)..(left + tiles.side_px).min(luma.width.saturating_sub(1)) {
                if stands_out(luma, x, y) {
                    points.push((x as u32, y as u32));
                    if points.len() == POINTS_MAX {
                        return points;
                    }
                }
            }
        }
    }
    points
}

fn stands_out(luma: Plane<'_>, x: usize, y: usize) -> bool {
    let [up, row, down] = [luma.row(y - 1), luma.row(y), luma.row(y + 1)];
    let centre = i16::from(row[x]);
    // Most places end here.
    if (centre - i16::from(row[x - 1])).abs() < LEVELS_MIN {
        return false;
    }
    let around = [up[x - 1], up[x], up[x + 1], row[x - 1], row[x + 1], down[x - 1], down[x], down[x + 1]];
    let (low, high) = around.iter().fold((u8::MAX, u8::MIN), |(low, high), &n| (low.min(n), high.max(n)));
    high - low <= AROUND_MAX
        && (centre - i16::from(high) >= LEVELS_MIN || i16::from(low) - centre >= LEVELS_MIN)
}
