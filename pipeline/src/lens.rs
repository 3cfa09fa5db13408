//! What a lens makes of a place in space: the pixel where it is seen, and how far OpenCV's formula is beside that.

use turnstage_drivers::optics::{Distortion, Intrinsics};

use crate::algebra::{V2, V3};

/// Steps across the picture and down in which a lens is compared with OpenCV's; corners and edges are among them.
const COMPARED: u32 = 16;

/// Pixel of a place in the camera's axes (right, down, ahead); the centre of the first pixel is at (0, 0). `None` of a
/// place that is not in front of the camera.
pub(crate) fn seen(lens: &Intrinsics, [x, y, z]: V3) -> Option<V2> {
    if z.is_nan() || z <= 0.0 {
        return None;
    }
    let pixel = lens.shown([x / z, y / z]);
    pixel.iter().all(|lane| lane.is_finite()).then_some(pixel)
}

/// k1, k2, p1, p2 and k3 of OpenCV's formula for a lens, and how many pixels that shows a place beside where the lens
/// does, at most, over the whole picture. Not 0 only of an inverse lens with radial and tangential coefficients at once.
pub(crate) fn opencv(lens: &Intrinsics) -> ([f64; 5], f64) {
    let brown = Intrinsics { distortion: Distortion::Brown, ..*lens };
    match lens.distortion {
        Distortion::None => ([0.0; 5], 0.0),
        Distortion::Brown => (lens.coefficients, 0.0),
        Distortion::InverseBrown => {
            let along = |side: u32, step: u32| f64::from(side - 1) * f64::from(step) / f64::from(COMPARED);
            let beside = |(across, down): (u32, u32)| {
                let at = [along(lens.width, across), along(lens.height, down)];
                let shown = brown.shown(lens.ray(at));
                (shown[0] - at[0]).hypot(shown[1] - at[1])
            };
            let all = (0..=COMPARED).flat_map(|across| (0..=COMPARED).map(move |down| (across, down)));
            // Where the search finds no place, nothing is known, and that is no number.
            let worst =
                |worst: f64, beside: f64| if worst >= beside || worst.is_nan() { worst } else { beside };
            (lens.coefficients, all.map(beside).fold(0.0, worst))
        }
    }
}

/// Whether a lens can be that of a camera: its picture has pixels, and its focal lengths are positive.
pub(crate) fn is_possible(lens: &Intrinsics) -> bool {
    let numbers = [lens.fx, lens.fy, lens.cx, lens.cy].into_iter().chain(lens.coefficients);
    lens.width > 0
        && lens.height > 0
        && lens.fx > 0.0
        && lens.fy > 0.0
        && numbers.into_iter().all(f64::is_finite)
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

    #[test]
    fn what_lies_behind_is_not_seen() {
        let lens = lens(Distortion::None);
        assert_eq!(seen(&lens, [0.0, 0.0, -1.0]), None);
        assert_eq!(seen(&lens, [0.5, 0.0, f64::NAN]), None);
        assert_eq!(seen(&lens, [0.5, 0.0, 1.0]), Some([1090.0, 360.0]));
    }

    #[test]
    fn an_inverse_lens_is_opencvs_unless_it_bends_and_tilts() {
        let beside = |coefficients| opencv(&Intrinsics { coefficients, ..lens(Distortion::InverseBrown) }).1;
        assert!(beside([0.12, -0.05, 0.0, 0.0, 0.01]) < 1e-6, "radial only");
        assert!(beside([0.0, 0.0, 0.001, -0.002, 0.0]) < 1e-6, "tangential only");
        // By a calculation of its own; of librealsense's two projections at pixel (100, 60) it is 0.10 px.
        let both = beside([0.12, -0.05, 0.001, -0.002, 0.01]);
        assert!((both - 0.279).abs() < 1e-3, "{both} px");
        assert!(!beside([-40.0, 0.0, 0.1, 0.1, 0.0]).is_finite(), "no lens shows such a picture");
        assert_eq!(opencv(&lens(Distortion::Brown)), (lens(Distortion::Brown).coefficients, 0.0));
        assert_eq!(opencv(&lens(Distortion::None)).0, [0.0; 5], "what is not applied is not told");
    }
}
