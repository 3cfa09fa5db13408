//! Square marks in a picture: found, read, and their corners measured to a fraction of a pixel.
//!
//! Dark outlines with four corners are looked for in the luma, their cells are read and compared with the marks of
//! [`turnstage_drivers::board`], and the corners are where lines along the edges meet. An edge is where the *light*
//! is half: levels are taken back through the curve of sRGB first, because half the level is not half the light and
//! every edge would be moved by up to a fifth of a pixel. Memory is one byte a pixel and time is linear in the pixels,
//! whatever is in the picture.

pub(crate) mod edge;
mod mask;
mod outline;
mod reading;

use crate::algebra::V2;
use crate::plane::Plane;

/// Pixels of the largest plane that is looked at; a larger one shows nothing.
const PIXELS_MAX: usize = 200_000_000;
/// Outlines that are measured; a picture full of little squares is no board.
const QUADS_MAX: usize = 20_000;

/// Cells more that may be misread while corners are known roughly.
const SLACK: u32 = 4;

/// A mark in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// Its number.
    pub id: u16,
    /// Its corners as printed: top left, top right, bottom right, bottom left. The centre of the first pixel is (0, 0).
    pub corners: [[f64; 2]; 4],
    /// Cells that were misread, 0 to 2.
    pub misread: u32,
}

/// Every mark that is seen, in the order of numbers and places. A number may be there twice, as in a mirror.
pub fn find(plane: &Plane<'_>) -> Vec<Mark> {
    if plane.width.saturating_mul(plane.height) > PIXELS_MAX {
        return Vec::new();
    }
    let mut mask = mask::dark(plane);
    let mut quads = Vec::new();
    outline::each(&mut mask, plane.width, |points| {
        if quads.len() < QUADS_MAX {
            quads.extend(outline::quad(points));
        }
    });
    let mut marks: Vec<Mark> = quads.into_iter().filter_map(|quad| read(plane, quad)).collect();
    marks.sort_by(|a, b| a.id.cmp(&b.id).then(a.corners[0][0].total_cmp(&b.corners[0][0])));
    marks
}

fn read(plane: &Plane<'_>, rough: [V2; 4]) -> Option<Mark> {
    // Most outlines are no marks, which a look at the rough corners tells.
    reading::read(plane, &rough, SLACK)?;
    let quad = edge::refined(plane, &rough)?;
    let reading = reading::read(plane, &quad, 0)?;
    let corners = [0, 1, 2, 3].map(|k| quad[(k + reading.turn) % 4]);
    Some(Mark { id: reading.id, corners, misread: reading.misread })
}

#[cfg(test)]
mod tests;
