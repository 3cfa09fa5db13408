use turbojpeg::PixelFormat;

use super::*;
use crate::samples::{Raster, decode, orientation_tiff, scene, with_exif};
use crate::{Examiner, InputLimits, Picture, qc};

fn examine(jpeg: &[u8]) -> Picture {
    let mut examiner = Examiner::new(InputLimits::default()).unwrap();
    examiner.examine(jpeg, &qc::Limits::default()).picture.unwrap()
}

/// Mean colour of the middle of each quarter: top left, top right, bottom left, bottom right.
fn quarter_colours(raster: &Raster) -> [[i32; 3]; 4] {
    let mean = |left: usize, top: usize| {
        let (width, height) = (raster.width / 4, raster.height / 4);
        let mut sums = [0; 3];
        for y in top..top + height {
            for x in left..left + width {
                for (sum, channel) in sums.iter_mut().zip(raster.at(x, y)) {
                    *sum += i32::from(channel);
                }
            }
        }
        sums.map(|sum| sum / (width * height) as i32)
    };
    let (left, right) = (raster.width / 8, raster.width * 5 / 8);
    let (top, bottom) = (raster.height / 8, raster.height * 5 / 8);
    [mean(left, top), mean(right, top), mean(left, bottom), mean(right, bottom)]
}

fn assert_looks_like(thumbnail: &Thumbnail, expected: &Raster, what: &str) {
    let got = decode(&thumbnail.jpeg, PixelFormat::RGB);
    assert_eq!((got.width as u32, got.height as u32), (thumbnail.width, thumbnail.height), "{what}");
    let pairs = quarter_colours(&got).into_iter().zip(quarter_colours(expected));
    for (got, expected) in pairs {
        let far = got.iter().zip(expected).any(|(a, b)| (a - b).abs() > 8);
        assert!(!far, "{what}, {} px: colour {got:?}, expected {expected:?}", thumbnail.side_max);
    }
}

#[test]
fn the_largest_side_fits_and_nothing_is_enlarged() {
    assert_eq!(fit(4000, 3000, 1200), (1200, 900));
    assert_eq!(fit(3000, 4000, 150), (113, 150));
    assert_eq!(fit(150, 90, 150), (150, 90));
    assert_eq!(fit(40, 30, 150), (40, 30));
    assert_eq!(fit(65_500, 3, 1200), (1200, 1));
}

#[test]
fn three_thumbnails_come_smallest_first() {
    let picture = examine(&scene(1600, 1067).jpeg());
    let sizes: Vec<_> = picture.thumbnails.iter().map(|t| (t.side_max, t.width, t.height)).collect();
    assert_eq!(sizes, [(150, 150, 100), (600, 600, 400), (1200, 1200, 800)]);
}

#[test]
fn every_subsampling_and_odd_size_keeps_its_colours() {
    use Subsamp::{None as Full, Sub1x2, Sub1x4, Sub2x1, Sub2x2, Sub4x1};
    for subsamp in [Full, Sub2x1, Sub2x2, Sub1x2, Sub4x1, Sub1x4] {
        for (width, height) in [(640, 480), (641, 479), (333, 801), (1303, 397)] {
            let scene = scene(width, height);
            for progressive in [false, true] {
                let jpeg = scene.jpeg_as(subsamp, |c| c.set_progressive(progressive).unwrap());
                for thumbnail in &examine(&jpeg).thumbnails {
                    assert_looks_like(thumbnail, &scene, &format!("{subsamp:?} {width} x {height}"));
                }
            }
        }
    }
}

#[test]
fn a_grey_picture_gives_grey_thumbnails() {
    let scene = scene(301, 203);
    let jpeg = scene.jpeg_as(Subsamp::Gray, |_| {});
    let grey = decode(&jpeg, PixelFormat::RGB);
    for thumbnail in &examine(&jpeg).thumbnails {
        assert_looks_like(thumbnail, &grey, "grey");
    }
}

#[test]
fn a_picture_of_a_few_pixels_is_its_own_thumbnail() {
    for (width, height) in [(1, 1), (2, 1), (1, 3), (5, 4)] {
        let picture = examine(&scene(width, height).jpeg());
        for thumbnail in &picture.thumbnails {
            assert_eq!((thumbnail.width, thumbnail.height), (width as u32, height as u32));
            assert_eq!(decode(&thumbnail.jpeg, PixelFormat::RGB).width, width);
        }
    }
}

/// How a camera stores `seen` with an EXIF orientation; written from the standard's table of which visual side
/// the first row and the first column are on (EXIF 2.3, 4.6.4 A).
fn stored(seen: &Raster, orientation: u16) -> Raster {
    let (right, bottom) = (seen.width - 1, seen.height - 1);
    let (width, height) =
        if orientation >= 5 { (seen.height, seen.width) } else { (seen.width, seen.height) };
    Raster::from_fn(width, height, |column, row| match orientation {
        1 => seen.at(column, row),
        2 => seen.at(right - column, row),
        3 => seen.at(right - column, bottom - row),
        4 => seen.at(column, bottom - row),
        5 => seen.at(row, column),
        6 => seen.at(right - row, column),
        7 => seen.at(right - row, bottom - column),
        8 => seen.at(row, bottom - column),
        _ => unreachable!(),
    })
}

#[test]
fn a_picture_is_shown_upright_however_the_camera_was_held() {
    let seen = scene(641, 433);
    let upright = examine(&seen.jpeg());
    for orientation in 1..=8 {
        let jpeg = with_exif(&stored(&seen, orientation).jpeg(), &orientation_tiff(orientation));
        let picture = examine(&jpeg);
        assert_eq!((picture.width, picture.height), (641, 433), "orientation {orientation}");
        assert_eq!(u16::from(picture.orientation), orientation);
        for (thumbnail, upright) in picture.thumbnails.iter().zip(&upright.thumbnails) {
            assert_eq!((thumbnail.width, thumbnail.height), (upright.width, upright.height));
            assert_looks_like(thumbnail, &seen, &format!("orientation {orientation}"));
        }
        assert!(picture.signature.difference(&upright.signature) < 2.0, "orientation {orientation}");
    }
}

#[test]
fn thumbnails_carry_no_exif() {
    let jpeg = with_exif(&scene(64, 48).jpeg(), &orientation_tiff(6));
    for thumbnail in &examine(&jpeg).thumbnails {
        assert!(!thumbnail.jpeg.windows(4).any(|four| four == b"Exif"));
    }
}
