//! The lens that a picture and its distances are seen through, as a file.

use serde::Serialize;
use turnstage_drivers::optics::{Distortion, Intrinsics};

/// Changes when a key changes its meaning.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct LensFile {
    turnstage_lens: u32,
    width: u32,
    height: u32,
    /// Columns one below the other, as Open3D keeps it.
    intrinsic_matrix: [f64; 9],
    fx: f64,
    fy: f64,
    cx: f64,
    cy: f64,
    first_pixel_centre: [f64; 2],
    distortion: Distortion,
    coefficients: [f64; 5],
    coefficient_names: [&'static str; 5],
    depth_scale: f64,
}

/// A lens as JSON.
///
/// | key | meaning |
/// |---|---|
/// | `turnstage_lens` | version of this form, 1 |
/// | `width`, `height` | of the picture in pixels |
/// | `intrinsic_matrix` | `fx 0 0, 0 fy 0, cx cy 1`: the 3 x 3 matrix by columns. With the two above, this is what Open3D's `PinholeCameraIntrinsic` reads and writes |
/// | `fx`, `fy`, `cx`, `cy` | the same by name, in pixels |
/// | `first_pixel_centre` | `[0, 0]`: where the centre of the first pixel is, as in OpenCV. COLMAP has it at (0.5, 0.5): add a half to `cx` and `cy` |
/// | `distortion`, `coefficients` | `none`, `brown` (OpenCV's) or `inverse-brown` (what librealsense calls so: OpenCV's with the tangential part of the point as the radial part left it), both from the ideal point to the bent one, and k1, k2, p1, p2, k3. Open3D's pinhole has none |
/// | `depth_scale` | steps of [`super::png()`] in a metre, 1000 |
pub fn intrinsics_json(lens: &Intrinsics) -> Vec<u8> {
    let Intrinsics { width, height, fx, fy, cx, cy, distortion, coefficients } = *lens;
    let file = LensFile {
        turnstage_lens: VERSION,
        width,
        height,
        intrinsic_matrix: [fx, 0.0, 0.0, 0.0, fy, 0.0, cx, cy, 1.0],
        fx,
        fy,
        cx,
        cy,
        first_pixel_centre: [0.0, 0.0],
        distortion,
        coefficients,
        coefficient_names: ["k1", "k2", "p1", "p2", "k3"],
        depth_scale: 1.0 / super::MILLIMETRE_M,
    };
    // Plain numbers and words: there is nothing in it that could fail.
    serde_json::to_vec_pretty(&file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn lens() -> Intrinsics {
        Intrinsics {
            width: 1280,
            height: 720,
            fx: 921.5,
            fy: 920.25,
            cx: 640.5,
            cy: 359.0,
            distortion: Distortion::Brown,
            coefficients: [0.05, -0.02, 0.001, 0.002, 0.0],
        }
    }

    #[test]
    fn a_matrix_by_columns_projects_as_the_lens_does() {
        let file: Value = serde_json::from_slice(&intrinsics_json(&lens())).unwrap();
        assert_eq!((&file["width"], &file["height"]), (&Value::from(1280), &Value::from(720)));
        let matrix: Vec<f64> = serde_json::from_value(file["intrinsic_matrix"].clone()).unwrap();
        let point = [0.3, -0.2, 2.0];
        let row = |row: usize| (0..3).map(|column| matrix[3 * column + row] * point[column]).sum::<f64>();
        assert_eq!(row(2), 2.0);
        let lens = lens();
        assert!((row(0) / row(2) - (lens.fx * 0.15 + lens.cx)).abs() < 1e-9);
        assert!((row(1) / row(2) - (lens.fy * -0.1 + lens.cy)).abs() < 1e-9);
    }

    #[test]
    fn every_key_has_its_documented_value() {
        let file: Value = serde_json::from_slice(&intrinsics_json(&lens())).unwrap();
        let want = serde_json::json!({
            "turnstage_lens": 1,
            "width": 1280,
            "height": 720,
            "intrinsic_matrix": [921.5, 0.0, 0.0, 0.0, 920.25, 0.0, 640.5, 359.0, 1.0],
            "fx": 921.5,
            "fy": 920.25,
            "cx": 640.5,
            "cy": 359.0,
            "first_pixel_centre": [0.0, 0.0],
            "distortion": "brown",
            "coefficients": [0.05, -0.02, 0.001, 0.002, 0.0],
            "coefficient_names": ["k1", "k2", "p1", "p2", "k3"],
            "depth_scale": 1000.0,
        });
        assert_eq!(file, want);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_number_comes_back(fx in 1.0..1e5f64, cy in -1e4..1e4f64, k1 in -1.0..1.0f64) {
            let mut lens = lens();
            (lens.fx, lens.cy, lens.coefficients[0]) = (fx, cy, k1);
            // It knows the lens and nothing else of the file.
            let read: Intrinsics = serde_json::from_slice(&intrinsics_json(&lens)).unwrap();
            // The reader may miss the last digit.
            for (read, told) in [(read.fx, fx), (read.cy, cy), (read.coefficients[0], k1)] {
                prop_assert!((read - told).abs() <= 1e-15 * told.abs(), "{} for {}", read, told);
            }
            prop_assert_eq!((read.width, read.distortion), (lens.width, lens.distortion));
        }
    }
}
