use super::*;
use crate::samples::noise;

fn pattern(width: usize, height: usize) -> Vec<u8> {
    (0..width * height)
        .map(|i| (i % width, i / width))
        .map(|(x, y)| (x * x * 7 + y * 13 + x * y * 3) as u8)
        .collect()
}

fn measure(samples: &[u8], width: usize, height: usize) -> Sharpness {
    Pyramid::default().measure(Plane::tight(samples, width, height), &mut Histogram::new())
}

/// The definition, in floating point and without any shortcut.
fn by_definition(plane: Plane<'_>) -> f64 {
    let at = |x: usize, y: usize| f64::from(plane.row(y)[x]);
    let mut values = Vec::new();
    for y in 0..plane.height {
        for x in 0..plane.width {
            let ((left, right), (up, down)) = (mirrored(x, plane.width), mirrored(y, plane.height));
            values.push(at(left, y) + at(right, y) + at(x, up) + at(x, down) - 4.0 * at(x, y));
        }
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

fn is_close(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= 1e-9 * expected.abs()
}

#[test]
fn sharpness_equals_opencv_on_the_same_plane() {
    // cv2.Laplacian(plane, cv2.CV_64F).var() of OpenCV 5.0.0; half and quarter by numpy, then the same.
    let cases = [
        ((61, 47), [125667.66587689632, 24886.113976055447, 4975.15665748393]),
        ((1301, 9), [109501.3779908504, 29191.994452071005, 9279.15762366864]),
        ((2, 3), [1014.6666666666666, 0.0, 0.0]),
    ];
    for ((width, height), expected) in cases {
        let got = measure(&pattern(width, height), width, height);
        for (value, expected) in [got.full, got.half, got.quarter].into_iter().zip(expected) {
            assert!(is_close(value, expected), "{width} x {height}: {value}, OpenCV says {expected}");
        }
    }
}

#[test]
fn every_size_down_to_one_sample_follows_the_definition() {
    let mut byte = noise(3);
    let samples: Vec<u8> = (0..40 * 40).map(|_| byte()).collect();
    for width in 1..=40 {
        for height in [1, 2, 3, 4, 7, 40] {
            let plane = Plane { samples: &samples, stride: 40, width, height };
            let (value, expected) = (walk(plane, None, None), by_definition(plane));
            assert!((value - expected).abs() <= 1e-9 * expected.max(1.0), "{width} x {height}");
        }
    }
}

#[test]
fn black_and_white_checks_as_wide_as_a_picture_do_not_overflow() {
    let (width, height) = (5000, 5);
    let samples: Vec<u8> =
        (0..width * height).map(|i| if (i % width + i / width) % 2 == 0 { 255 } else { 0 }).collect();
    assert_eq!(measure(&samples, width, height).full, by_definition(Plane::tight(&samples, width, height)));
}

#[test]
fn the_processor_at_hand_gives_the_same_bits_as_the_oldest_one() {
    let (width, height) = (1237, 31);
    let samples = pattern(width, height);
    let plane = Plane::tight(&samples, width, height);
    let (mut half, mut half_plain) = (Vec::new(), Vec::new());
    let (mut counts, mut counts_plain) = (Histogram::new(), Histogram::new());
    let value = walk(plane, Some(&mut counts), Some(&mut half));
    let plain = walk_rows(plane, Some(&mut counts_plain), Some(&mut half_plain));
    assert_eq!(value.to_bits(), plain.to_bits());
    assert_eq!(half, half_plain);
    assert_eq!(counts.exposure(), counts_plain.exposure());
}

#[test]
fn half_size_samples_are_rounded_means_and_an_odd_edge_is_left_out() {
    let samples = [10, 20, 99, 30, 42, 99, 99, 99, 99];
    let mut pyramid = Pyramid::default();
    pyramid.measure(Plane::tight(&samples, 3, 3), &mut Histogram::new());
    assert_eq!(pyramid.half, [26], "(10 + 20 + 30 + 42 + 2) / 4");
}

#[test]
fn a_smaller_picture_after_a_larger_one_is_measured_by_itself() {
    let (large, small) = (pattern(64, 64), pattern(10, 6));
    let mut pyramid = Pyramid::default();
    pyramid.measure(Plane::tight(&large, 64, 64), &mut Histogram::new());
    let again = pyramid.measure(Plane::tight(&small, 10, 6), &mut Histogram::new());
    assert_eq!(again, measure(&small, 10, 6));
}

#[test]
fn thumbnails_start_from_the_smallest_plane_that_is_large_enough() {
    let samples = pattern(64, 48);
    let luma = Plane::tight(&samples, 64, 48);
    let mut pyramid = Pyramid::default();
    pyramid.measure(luma, &mut Histogram::new());
    let width_of = |width, height| pyramid.at_least(luma, width, height).width;
    assert_eq!((width_of(16, 12), width_of(17, 12), width_of(32, 25)), (16, 32, 64));
}
