use super::walk::mirrored;
use super::*;
use crate::samples::noise;

fn pattern(width: usize, height: usize) -> Vec<u8> {
    (0..width * height)
        .map(|i| (i % width, i / width))
        .map(|(x, y)| (x * x * 7 + y * 13 + x * y * 3) as u8)
        .collect()
}

fn measure(samples: &[u8], width: usize, height: usize) -> Sharpness {
    Pyramid::default().measure(Plane::tight(samples, width, height), &mut Histogram::new(), true).0
}

fn measure_plane(plane: Plane<'_>) -> Sharpness {
    Pyramid::default().measure(plane, &mut Histogram::new(), false).0
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
            let (value, expected) = (measure_plane(plane).full, by_definition(plane));
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
    let grid = Grid { columns: 5, rows: 2, side: 256 };
    for (peaks, directions) in [(false, false), (true, false), (false, true)] {
        let wanted = Wanted { histogram: Some(&mut counts), half: Some(&mut half), peaks, directions };
        let fast = walk::over(plane, grid, &mut Vec::new(), wanted);
        let wanted =
            Wanted { histogram: Some(&mut counts_plain), half: Some(&mut half_plain), peaks, directions };
        let plain = walk::plainly(plane, grid, wanted);
        assert_eq!(fast.variance.to_bits(), plain.variance.to_bits());
        assert_eq!(fast.tiles, plain.tiles);
        assert_eq!(half, half_plain);
        assert_eq!(counts.exposure(), counts_plain.exposure());
    }
}

/// Sums of one tile without any shortcut, over the samples that have all neighbours.
fn sums_by_definition(
    plane: Plane<'_>,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
) -> (u64, [u64; 4], u16) {
    let at = |x: usize, y: usize| i64::from(plane.row(y)[x]);
    let (mut laplacian, mut directions, mut peak) = (0, [0; 4], 0);
    for y in rows {
        let (up, down) = mirrored(y, plane.height);
        for x in columns.clone().filter(|&x| x > 0 && x + 1 < plane.width) {
            let twice = 2 * at(x, y);
            let lines = [
                at(x - 1, y) + at(x + 1, y) - twice,
                at(x, up) + at(x, down) - twice,
                at(x - 1, up) + at(x + 1, down) - twice,
                at(x + 1, up) + at(x - 1, down) - twice,
            ];
            let value = lines[0] + lines[1];
            laplacian += (value * value) as u64;
            directions.iter_mut().zip(lines).for_each(|(sum, line)| *sum += (line * line) as u64);
            peak = peak.max(value.unsigned_abs() as u16);
        }
    }
    (laplacian, directions, peak)
}

#[test]
fn every_tile_has_the_sums_of_its_own_samples() {
    let mut byte = noise(11);
    let (width, height) = (150, 70);
    let samples: Vec<u8> = (0..width * height).map(|_| byte()).collect();
    let plane = Plane::tight(&samples, width, height);
    let grid = Grid { columns: 3, rows: 2, side: 64 };
    let detailed = walk::over(plane, grid, &mut Vec::new(), Wanted { directions: true, ..Wanted::default() });
    let peaked = walk::over(plane, grid, &mut Vec::new(), Wanted { peaks: true, ..Wanted::default() });
    for (k, (detail, peak)) in detailed.tiles.iter().zip(&peaked.tiles).enumerate() {
        let (row, column) = (k / 3, k % 3);
        let columns = column * 64..if column == 2 { width } else { (column + 1) * 64 };
        let rows = row * 64..if row == 1 { height } else { 64 };
        assert_eq!(detail.samples as usize, columns.len() * rows.len(), "tile {k}");
        let (laplacian, directions, largest) = sums_by_definition(plane, columns, rows);
        assert_eq!((detail.laplacian, detail.directions), (laplacian, directions), "tile {k}");
        assert_eq!((peak.laplacian, peak.peak), (laplacian, largest), "tile {k}");
    }
}

#[test]
fn half_size_samples_are_rounded_means_and_an_odd_edge_is_left_out() {
    let samples = [10, 20, 99, 30, 42, 99, 99, 99, 99];
    let mut pyramid = Pyramid::default();
    pyramid.measure(Plane::tight(&samples, 3, 3), &mut Histogram::new(), false);
    assert_eq!(pyramid.half, [26], "(10 + 20 + 30 + 42 + 2) / 4");
}

#[test]
fn a_smaller_picture_after_a_larger_one_is_measured_by_itself() {
    let (large, small) = (pattern(64, 64), pattern(10, 6));
    let mut pyramid = Pyramid::default();
    pyramid.measure(Plane::tight(&large, 64, 64), &mut Histogram::new(), true);
    let again = pyramid.measure(Plane::tight(&small, 10, 6), &mut Histogram::new(), true).0;
    assert_eq!(again, measure(&small, 10, 6));
}

#[test]
fn thumbnails_start_from_the_smallest_plane_that_is_large_enough() {
    let samples = pattern(64, 48);
    let luma = Plane::tight(&samples, 64, 48);
    let mut pyramid = Pyramid::default();
    pyramid.measure(luma, &mut Histogram::new(), false);
    let width_of = |width, height| pyramid.at_least(luma, width, height).width;
    assert_eq!((width_of(16, 12), width_of(17, 12), width_of(32, 25)), (16, 32, 64));
}
