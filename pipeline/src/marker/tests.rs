use proptest::prelude::*;
use turnstage_drivers::board;

use super::*;
use crate::algebra::Homography;

/// A mark on paper, seen in perspective with its corners there; each pixel is looked at 8 by 8 times.
fn pictured(id: u16, corners: [V2; 4], (width, height): (usize, usize), blur: usize) -> Vec<u8> {
    let square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    let pairs = [0, 1, 2, 3].map(|k| (corners[k], square[k]));
    let back = Homography::of(&pairs).unwrap();
    let lit = |x: f64, y: f64| {
        let inside = back.seen([x, y]).filter(|at| at.iter().all(|lane| (0.0..1.0).contains(lane)));
        if inside.is_none_or(|at| board::is_white(id, at[0], at[1])) { 0.8 } else { 0.02 }
    };
    let pixel = |k: usize| {
        let looks = (0..64).map(|look| {
            let beside = |k: usize| (k as f64 + 0.5) / 8.0 - 0.5;
            lit((k % width) as f64 + beside(look % 8), (k / width) as f64 + beside(look / 8))
        });
        looks.sum::<f64>() / 64.0
    };
    let mut light: Vec<f64> = (0..width * height).map(pixel).collect();
    for _ in 0..blur {
        light = blurred(&light, width);
    }
    let level = |light: f64| 1.055 * light.powf(1.0 / 2.4) - 0.055;
    light.into_iter().map(|light| (level(light) * 255.0).round() as u8).collect()
}

/// The mean of 3 by 3 pixels.
fn blurred(light: &[f64], width: usize) -> Vec<f64> {
    let height = light.len() / width;
    let at = |x: isize, y: isize| {
        light[y.clamp(0, height as isize - 1) as usize * width + x.clamp(0, width as isize - 1) as usize]
    };
    let mean = |k: usize| {
        let (x, y) = ((k % width) as isize, (k / width) as isize);
        (-1..=1)
            .flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)))
            .map(|(dx, dy)| at(x + dx, y + dy))
            .sum::<f64>()
            / 9.0
    };
    (0..light.len()).map(mean).collect()
}

fn found(samples: &[u8], width: usize) -> Vec<Mark> {
    find(&Plane::tight(samples, width, samples.len() / width))
}

#[test]
fn corners_are_measured_within_a_tenth_of_a_pixel_whatever_the_mark_its_turn_and_its_place() {
    let quads = [
        [[40.3, 30.7], [120.9, 35.2], [118.4, 110.6], [36.1, 104.9]],
        [[100.2, 20.4], [121.6, 88.1], [52.7, 111.3], [30.9, 41.8]],
        [[40.0, 50.0], [110.0, 50.0], [110.0, 80.0], [40.0, 80.0]],
        [[60.5, 100.5], [60.5, 40.5], [120.5, 40.5], [120.5, 100.5]],
    ];
    for blur in [0, 1, 2] {
        for (k, quad) in quads.into_iter().enumerate() {
            let id = (7 * k + blur) as u16;
            let marks = found(&pictured(id, quad, (160, 140), blur), 160);
            let [mark] = marks[..] else { panic!("{k} blurred {blur}: {marks:?}") };
            assert_eq!((mark.id, mark.misread), (id, 0));
            for (corner, is) in mark.corners.iter().zip(quad) {
                let off = (corner[0] - is[0]).hypot(corner[1] - is[1]);
                // Twice blurred, the cells of the smallest mark run into its border.
                let limit = if blur < 2 { 0.1 } else { 0.3 };
                assert!(off < limit, "{k} blurred {blur}: {corner:?} is at {is:?}");
            }
        }
    }
}

#[test]
fn every_mark_is_read_as_itself() {
    for id in 0..board::MARKS as u16 {
        let quad = [[20.2, 15.1], [62.3, 18.4], [60.7, 58.9], [17.8, 55.3]];
        let marks = found(&pictured(id, quad, (80, 70), 0), 80);
        assert_eq!(marks.iter().map(|mark| mark.id).collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn a_mirrored_mark_a_bare_square_and_half_a_mark_are_no_marks() {
    let quad = [[20.0, 15.0], [62.0, 15.0], [62.0, 58.0], [20.0, 58.0]];
    let mut samples = pictured(3, quad, (80, 70), 0);
    samples.chunks_exact_mut(80).for_each(<[u8]>::reverse);
    assert_eq!(found(&samples, 80), []);
    let mut samples = pictured(3, quad, (80, 70), 0);
    samples.chunks_exact_mut(80).take(40).for_each(|row| row.fill(220));
    assert_eq!(found(&samples, 80), []);
    let square: Vec<u8> = (0..80 * 70)
        .map(|k| if (20..60).contains(&(k % 80)) && (10..50).contains(&(k / 80)) { 20 } else { 220 })
        .collect();
    assert_eq!(found(&square, 80), []);
}

#[test]
fn a_picture_full_of_little_squares_takes_a_bounded_time_and_shows_nothing() {
    let (width, height) = (2000, 1500);
    let samples: Vec<u8> = (0..width * height)
        .map(|k| if k % width / 4 % 2 == 0 && k / width / 4 % 2 == 0 { 0 } else { 255 })
        .collect();
    assert_eq!(found(&samples, width), []);
    // A comb, whose one outline is as long as the picture has pixels.
    let comb: Vec<u8> =
        (0..width * height).map(|k| if k % 2 == 0 || k / width == 0 { 0 } else { 255 }).collect();
    assert_eq!(found(&comb, width), []);
}

proptest! {
    #[test]
    fn any_plane_of_any_size_is_looked_at_without_a_panic(
        width in 0usize..70,
        height in 0usize..70,
        gap in 0usize..5,
        seed in any::<u64>(),
        coarse in 1usize..9,
    ) {
        let mut noise = crate::samples::noise(seed);
        let stride = width + gap;
        let grid: Vec<u8> = (0..80 * 80).map(|_| noise() & 0x80 | noise() >> 2).collect();
        let samples: Vec<u8> =
            (0..stride * height).map(|k| grid[k / stride.max(1) / coarse * 80 + k % stride.max(1) / coarse]).collect();
        let plane = Plane::new(&samples, stride, width, height);
        for mark in plane.iter().flat_map(find) {
            prop_assert!(usize::from(mark.id) < board::MARKS && mark.corners.iter().flatten().all(|k| k.is_finite()));
        }
    }
}

#[test]
fn a_plane_that_is_smaller_than_it_says_is_none() {
    assert!(Plane::new(&[0; 10], 4, 4, 3).is_none());
    assert!(Plane::new(&[0; 10], 3, 4, 1).is_none());
    assert!(Plane::new(&[], usize::MAX, 1, usize::MAX).is_none());
    assert!(find(&Plane::new(&[], 0, 0, 0).unwrap()).is_empty());
}
