//! Distances laid on the colour picture: each sample goes to the pixels at which the colour camera sees it.
//!
//! librealsense's own alignment is not used. Where it has vector instructions (x86, measured with 2.56.5 and 2.59.1; ARM, by
//! its source) it leaves out how the lens of the colour camera bends lines, unless that is of the model of the first cameras,
//! so that distances lie beside what they belong to: by up to eight pixels with coefficients as a D455 has them.

use std::ops::Range;

use crate::optics::{Intrinsics, Pose};

/// So much of its distance from the depth camera must a place have ahead of the colour camera.
const AHEAD_MIN: f64 = 0.5;
/// Beyond what the colour picture shows by this factor, its lens' formula means nothing, and may lead back into it.
const REACH: f64 = 1.1;

/// How two cameras in one housing stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alignment {
    pub(super) depth: Intrinsics,
    pub(super) color: Intrinsics,
    /// From the depth camera's axes to the colour camera's.
    pub(super) to_color: Pose,
}

impl Alignment {
    /// Distances from the colour camera, for each of its pixels, row by row: steps of `unit_m` metres as `steps` are, 0
    /// where nothing is known. `steps` are the depth camera's, row by row. Of several things at one pixel the nearest
    /// is seen.
    pub(super) fn lay(&self, steps: &[u16], unit_m: f64) -> Vec<u16> {
        let (width, height) = (self.depth.width as usize, self.depth.height as usize);
        let (across, down) = (self.color.width as usize, self.color.height as usize);
        let mut laid = vec![0; across * down];
        let reach = self.reach();
        // Corners of samples; each sample covers what is between its own, so that neighbours leave no gap.
        let corner = |x: usize, y: usize| self.depth.ray([x as f64 - 0.5, y as f64 - 0.5]);
        let mut above: Vec<[f64; 2]> = (0..=width).map(|x| corner(x, 0)).collect();
        for (y, row) in steps.chunks_exact(width.max(1)).take(height).enumerate() {
            let below: Vec<[f64; 2]> = (0..=width).map(|x| corner(x, y + 1)).collect();
            for (x, &sample) in row.iter().enumerate().filter(|(_, sample)| **sample > 0) {
                let z = f64::from(sample) * unit_m;
                let corners = [above[x], above[x + 1], below[x], below[x + 1]];
                let [Some(a), Some(b), Some(c), Some(d)] = corners.map(|ray| self.seen(ray, z, reach)) else {
                    continue;
                };
                let step = (0.25 * (a.ahead + b.ahead + c.ahead + d.ahead) / unit_m).round();
                if !(1.0..=f64::from(u16::MAX)).contains(&step) {
                    continue;
                }
                let lanes = |k: usize| [a, b, c, d].map(|corner| corner.pixel[k]);
                for v in between(lanes(1), down) {
                    for pixel in &mut laid[v * across..][between(lanes(0), across)] {
                        *pixel = if *pixel == 0 { step as u16 } else { (*pixel).min(step as u16) };
                    }
                }
            }
            above = below;
        }
        laid
    }

    /// A place on a ray of the depth camera, as the colour camera sees it.
    fn seen(&self, [right, down]: [f64; 2], z: f64, reach: f64) -> Option<Seen> {
        let Pose { rotation, translation } = self.to_color;
        let place = [right * z, down * z, z];
        let lane = |k: usize| {
            rotation[k].iter().zip(place).map(|(cosine, lane)| cosine * lane).sum::<f64>() + translation[k]
        };
        let [x, y, ahead] = [lane(0), lane(1), lane(2)];
        let ideal = [x / ahead, y / ahead];
        let pixel = self.color.shown(ideal);
        let there = ahead >= AHEAD_MIN * z && ideal[0].hypot(ideal[1]) <= reach;
        (there && pixel.iter().all(|lane| lane.is_finite())).then_some(Seen { pixel, ahead })
    }

    /// How far from the axis the colour picture reaches, one unit ahead.
    fn reach(&self) -> f64 {
        let (right, bottom) = (f64::from(self.color.width), f64::from(self.color.height));
        let corners = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]];
        let far = corners.map(|corner| {
            let [x, y] = self.color.ray(corner);
            x.hypot(y)
        });
        REACH * far.into_iter().fold(0.0, f64::max)
    }
}

/// A place, as the colour camera sees it.
#[derive(Clone, Copy)]
struct Seen {
    pixel: [f64; 2],
    ahead: f64,
}

/// Pixels whose centres lie between these places, of a side with so many.
fn between(places: [f64; 4], side: usize) -> Range<usize> {
    let first = |place: f64| (place.ceil().max(0.0) as usize).min(side);
    first(places.into_iter().fold(f64::INFINITY, f64::min))..first(places.into_iter().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optics::Distortion;

    fn lens(side: (u32, u32), focal: f64, coefficients: [f64; 5]) -> Intrinsics {
        let (cx, cy) = (f64::from(side.0 - 1) / 2.0, f64::from(side.1 - 1) / 2.0);
        let distortion = Distortion::InverseBrown;
        Intrinsics { width: side.0, height: side.1, fx: focal, fy: focal, cx, cy, distortion, coefficients }
    }

    const STILL: Pose =
        Pose { rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], translation: [0.0; 3] };

    #[test]
    fn two_cameras_that_are_one_give_the_same_picture() {
        let one = lens((40, 30), 30.0, [0.0; 5]);
        let alignment = Alignment { depth: one, color: one, to_color: STILL };
        let steps: Vec<u16> = (0..40 * 30).map(|n| if n % 7 == 0 { 0 } else { 500 + n }).collect();
        assert_eq!(alignment.lay(&steps, 0.001), steps);
    }

    #[test]
    fn every_pixel_has_the_distance_of_what_its_own_lens_shows_there() {
        // Depth tells in which column of the room it is: a slope that falls away to the right.
        let depth = lens((400, 300), 200.0, [0.0; 5]);
        let color = lens((320, 240), 300.0, [0.4, 0.0, 0.002, -0.003, 0.0]);
        let to_color = Pose { translation: [0.015, 0.0, 0.0], ..STILL };
        let slope = |right: f64| 1.0 / (1.0 - 0.5 * right);
        let steps: Vec<u16> = (0..400 * 300)
            .map(|n| (slope(depth.ray([f64::from(n % 400), 0.0])[0]) * 10_000.0).round() as u16)
            .collect();
        let laid = Alignment { depth, color, to_color }.lay(&steps, 0.0001);
        for (n, step) in laid.iter().enumerate() {
            let ray = color.ray([(n % 320) as f64, (n / 320) as f64]);
            // The same plane from 15 mm to the right: z = 1 + 0.5 (x - 0.015) there.
            let wanted = (1.0 - 0.5 * 0.015) / (1.0 - 0.5 * ray[0]);
            let found = f64::from(*step) * 0.0001;
            // Half a sample of the depth camera, and a little for those that overlap.
            assert!((found - wanted).abs() < 0.003 * wanted * wanted, "pixel {n}: {found} m, not {wanted}");
        }
    }

    #[test]
    fn the_nearest_is_seen_and_what_nobody_measured_stays_open() {
        let one = lens((40, 30), 40.0, [0.0; 5]);
        let to_color = Pose { translation: [0.1, 0.0, 0.0], ..STILL };
        let steps: Vec<u16> = (0..40 * 30).map(|n| if n % 40 < 10 { 500 } else { 1000 }).collect();
        let laid = Alignment { depth: one, color: one, to_color }.lay(&steps, 0.001);
        // What is half a metre away moves 8 pixels to the right, the rest 4.
        let row: Vec<u16> = laid[..40].to_vec();
        assert_eq!(row[..8], [0; 8], "the depth camera does not look so far to the left");
        assert_eq!((&row[8..18], &row[18..]), (&[500; 10][..], &[1000; 22][..]));
    }

    #[test]
    fn what_the_lens_formula_leads_back_into_the_picture_is_left_out() {
        // Barrel so strong that places far outside come back: 1 - 0.5 r2 is 0 at r = 1.4.
        let depth = lens((300, 300), 100.0, [0.0; 5]);
        let color = lens((100, 100), 200.0, [-0.5, 0.0, 0.0, 0.0, 0.0]);
        // A thing at the rim of what the depth camera sees, nearer than all else.
        let steps: Vec<u16> = (0..300 * 300).map(|n| if n % 300 > 285 { 300 } else { 1000 }).collect();
        let laid = Alignment { depth, color, to_color: STILL }.lay(&steps, 0.001);
        assert!(laid.iter().all(|step| *step == 1000));
    }

    #[test]
    fn nothing_of_a_broken_calibration_panics() {
        let good = lens((40, 30), 30.0, [0.0; 5]);
        let steps = vec![u16::MAX; 40 * 30];
        for broken in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            for color in [Intrinsics { fx: broken, ..good }, Intrinsics { cx: broken, ..good }] {
                let _laid = Alignment { depth: good, color, to_color: STILL }.lay(&steps, 0.001);
                let _laid = Alignment { depth: color, color: good, to_color: STILL }.lay(&steps, 0.001);
            }
            let to_color = Pose { translation: [broken; 3], ..STILL };
            let alignment = Alignment { depth: good, color: good, to_color };
            let _laid = alignment.lay(&steps, broken);
        }
        let none = Intrinsics { width: 0, height: 0, ..good };
        let nothing = Alignment { depth: none, color: none, to_color: STILL }.lay(&[], 0.001);
        assert!(nothing.is_empty());
    }
}
