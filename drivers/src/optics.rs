//! Lenses and where they stand: what a depth camera tells of itself and a calibration measures of the others.

use serde::{Deserialize, Serialize};

/// How a lens bends straight lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distortion {
    /// Not at all, or corrected already.
    None,
    /// Brown and Conrady, forward: from the ideal point to the bent one, as OpenCV does it.
    Brown,
    /// What librealsense calls inverse and reports for some streams. It is not: versions 2.56.5 and 2.59.1 compute it
    /// forward as well, from the ideal point to the bent one, with the tangential part taken of the point as the radial
    /// part left it.
    InverseBrown,
}

/// A lens as a pinhole with distortion. The centre of the first pixel is at (0, 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intrinsics {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Focal length in pixels, along rows.
    pub fx: f64,
    /// Focal length in pixels, down.
    pub fy: f64,
    /// Where the optical axis meets the picture, along rows.
    pub cx: f64,
    /// Where the optical axis meets the picture, down.
    pub cy: f64,
    /// How it bends straight lines.
    pub distortion: Distortion,
    /// k1, k2, p1, p2, k3.
    pub coefficients: [f64; 5],
}

/// Steps of the search for the ideal place; each takes off most of what is left.
const STEPS: usize = 20;

impl Intrinsics {
    /// Pixel at which a place one unit ahead of the camera is shown, which lies so far to the right and down.
    pub fn shown(&self, place: [f64; 2]) -> [f64; 2] {
        let [x, y] = self.bend(place);
        [self.fx * x + self.cx, self.fy * y + self.cy]
    }

    /// Where the ray through a pixel is one unit ahead of the camera, to the right and down: what [`Self::shown`] shows
    /// there.
    pub fn ray(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        self.unbend([(u - self.cx) / self.fx, (v - self.cy) / self.fy])
    }

    /// Where the lens shows an ideal place; both one unit ahead. Brown and Conrady's formula as OpenCV has it. What
    /// librealsense calls inverse is the same with the tangential part of the place as the radial part left it: so
    /// versions 2.56.5 and 2.59.1 project, and deproject by turning it round.
    fn bend(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        if self.distortion == Distortion::None {
            return [x, y];
        }
        let [k1, k2, p1, p2, k3] = self.coefficients;
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        let far = [x * radial, y * radial];
        let [x, y] = if self.distortion == Distortion::InverseBrown { far } else { [x, y] };
        [
            far[0] + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            far[1] + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ]
    }

    /// The ideal place that the lens shows here. What the lens does is given, so its error is taken off until it is
    /// nothing.
    fn unbend(&self, bent: [f64; 2]) -> [f64; 2] {
        if self.distortion == Distortion::None {
            return bent;
        }
        (0..STEPS).fold(bent, |ideal, _| {
            let shown = self.bend(ideal);
            [ideal[0] + bent[0] - shown[0], ideal[1] + bent[1] - shown[1]]
        })
    }
}

/// Where one thing stands seen from another: `there = rotation * here + translation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Rows of the rotation.
    pub rotation: [[f64; 3]; 3],
    /// Metres.
    pub translation: [f64; 3],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(distortion: Distortion) -> Intrinsics {
        Intrinsics {
            width: 1280,
            height: 720,
            fx: 900.0,
            fy: 905.0,
            cx: 640.0,
            cy: 360.0,
            distortion,
            coefficients: [0.12, -0.05, 0.001, -0.002, 0.01],
        }
    }

    /// What librealsense 2.56.5 and 2.59.1 both say of that lens at one pixel.
    struct Told {
        distortion: Distortion,
        at: [f64; 2],
        /// Of `rs2_deproject_pixel_to_point`, one metre away.
        place: [f64; 2],
        /// Of `rs2_project_point_to_pixel`, for the place that a lens without distortion would have there.
        of_ideal: [f64; 2],
    }

    #[rustfmt::skip]
    const TOLD: [Told; 6] = {
        use Distortion::{Brown, InverseBrown};
        [
            Told { distortion: Brown, at: [100.0, 60.0], place: [-0.573_455_2, -0.317_692], of_ideal: [73.168_7, 45.988_89] },
            Told { distortion: Brown, at: [1200.0, 650.0], place: [0.597_383_3, 0.306_772_4], of_ideal: [1_224.940_7, 663.815_6] },
            Told { distortion: Brown, at: [300.0, 500.0], place: [-0.370_150_2, 0.151_544_3], of_ideal: [292.738_22, 503.017_46] },
            Told { distortion: InverseBrown, at: [100.0, 60.0], place: [-0.573_380_5, -0.317_650_3], of_ideal: [73.079_65, 45.939_42] },
            Told { distortion: InverseBrown, at: [1200.0, 650.0], place: [0.597_471, 0.306_817_1], of_ideal: [1224.839, 663.762_94] },
            Told { distortion: InverseBrown, at: [300.0, 500.0], place: [-0.370_127_6, 0.151_535_1], of_ideal: [292.714_94, 503.027_04] },
        ]
    };

    #[test]
    fn places_and_pixels_are_where_librealsense_has_them() {
        for Told { distortion, at, place, of_ideal } in TOLD {
            let lens = lens(distortion);
            // It computes with 24 bits.
            let near = |a: [f64; 2], b: [f64; 2], most: f64| {
                (a[0] - b[0]).abs() < most && (a[1] - b[1]).abs() < most
            };
            let found = lens.ray(at);
            assert!(near(found, place, 3e-7), "{distortion:?}, pixel {at:?}: {found:?}");
            let found = lens.shown(place);
            assert!(near(found, at, 3e-4), "{distortion:?}, {place:?}: {found:?}");
            let ideal = Intrinsics { distortion: Distortion::None, ..lens }.ray(at);
            let found = lens.shown(ideal);
            assert!(near(found, of_ideal, 3e-4), "{distortion:?}, {ideal:?}: {found:?}");
        }
    }
}
