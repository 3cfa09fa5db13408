//! What a lens makes of a place in space: the pixel where it is seen.

use turnstage_drivers::optics::{Distortion, Intrinsics};

use crate::algebra::{V2, V3};

/// Rounds in which a backward distortion is turned round; each leaves about a hundredth of the error.
const ROUNDS: usize = 12;

/// Pixel of a place in the camera's axes (right, down, ahead); the centre of the first pixel is at (0, 0). `None` of a
/// place that is not in front of the camera.
pub(crate) fn seen(lens: &Intrinsics, [x, y, z]: V3) -> Option<V2> {
    if z.is_nan() || z <= 0.0 {
        return None;
    }
    let ideal = [x / z, y / z];
    let [x, y] = match lens.distortion {
        Distortion::None => ideal,
        Distortion::Brown => bent(&lens.coefficients, ideal),
        // The coefficients lead from the bent place to the ideal one.
        Distortion::InverseBrown => (0..ROUNDS).fold(ideal, |at, _| {
            let back = bent(&lens.coefficients, at);
            [at[0] + ideal[0] - back[0], at[1] + ideal[1] - back[1]]
        }),
    };
    let pixel = [lens.fx * x + lens.cx, lens.fy * y + lens.cy];
    pixel.iter().all(|lane| lane.is_finite()).then_some(pixel)
}

/// The formula of Brown and Conrady as OpenCV and librealsense have it.
fn bent(&[k1, k2, p1, p2, k3]: &[f64; 5], [x, y]: V2) -> V2 {
    let r2 = x * x + y * y;
    let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    [
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
    ]
}

/// Whether a lens bends lines in the backward way, which no format of photogrammetry has.
pub(crate) fn is_backward(lens: &Intrinsics) -> bool {
    lens.distortion == Distortion::InverseBrown && lens.coefficients.iter().any(|&k| k != 0.0)
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

    fn lens(distortion: Distortion, coefficients: [f64; 5]) -> Intrinsics {
        Intrinsics {
            width: 640,
            height: 480,
            fx: 600.0,
            fy: 610.0,
            cx: 320.0,
            cy: 240.0,
            distortion,
            coefficients,
        }
    }

    #[test]
    fn a_backward_lens_undone_is_the_ideal_place() {
        let coefficients = [0.12, -0.05, 0.001, -0.002, 0.01];
        let [u, v] = seen(&lens(Distortion::InverseBrown, coefficients), [0.2, -0.15, 1.0]).unwrap();
        let back = bent(&coefficients, [(u - 320.0) / 600.0, (v - 240.0) / 610.0]);
        assert!((back[0] - 0.2).abs() < 1e-9 && (back[1] + 0.15).abs() < 1e-9, "{back:?}");
    }

    #[test]
    fn what_lies_behind_is_not_seen() {
        assert_eq!(seen(&lens(Distortion::None, [0.0; 5]), [0.0, 0.0, -1.0]), None);
        assert_eq!(seen(&lens(Distortion::None, [0.0; 5]), [0.5, 0.0, f64::NAN]), None);
        assert_eq!(seen(&lens(Distortion::None, [0.0; 5]), [0.5, 0.0, 1.0]), Some([620.0, 240.0]));
    }
}
