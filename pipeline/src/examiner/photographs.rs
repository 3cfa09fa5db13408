//! The default limits against real photographs, as taken and spoilt on purpose.
//!
//! The photographs are not part of the project: `TURNSTAGE_PHOTOS` names a folder that holds `buddha/*.jpg`.

use std::path::PathBuf;

use turbojpeg::{PixelFormat, Subsamp};

use super::*;
use crate::phash::phash_distance_bits;
use crate::samples::{Raster, decode, noise};

/// The photographs, or `None` where they may be missing; on a build server they may not.
fn photographs(test: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let Some(folder) = std::env::var_os("TURNSTAGE_PHOTOS").map(PathBuf::from) else {
        let reason = "TURNSTAGE_PHOTOS does not name the folder with the photographs";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {reason}");
        println!("SKIP {test}: {reason}");
        return None;
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder.join("buddha"))
        .expect("TURNSTAGE_PHOTOS names a folder with a folder buddha in it")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no photographs in {}", folder.display());
    let read = |path: &PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    Some(paths.iter().map(read).collect())
}

/// Rules broken by the photograph after `spoil` has worked on its luma.
fn rules_after(jpeg: &[u8], spoil: impl Fn(&mut Raster)) -> Vec<String> {
    let mut grey = decode(jpeg, PixelFormat::GRAY);
    spoil(&mut grey);
    let spoilt = grey.jpeg_as(Subsamp::Gray, |compressor| compressor.set_quality(94).unwrap());
    examine(&spoilt).findings.into_iter().map(|finding| finding.rule).collect()
}

fn examine(jpeg: &[u8]) -> Examined {
    Examiner::new(InputLimits::default()).unwrap().examine(jpeg, &qc::Limits::default())
}

/// Gaussian blur, `sigma` in pixels, edges repeated.
fn blur(grey: &mut Raster, sigma: f32) {
    let reach = (3.0 * sigma).ceil() as i32;
    let weights: Vec<f32> =
        (-reach..=reach).map(|d| (-(d * d) as f32 / (2.0 * sigma * sigma)).exp()).collect();
    for _ in 0..2 {
        for row in grey.samples.chunks_exact_mut(grey.width) {
            blur_row(row, &weights);
        }
        *grey = transposed(grey);
    }
}

fn blur_row(row: &mut [u8], weights: &[f32]) {
    let reach = weights.len() / 2;
    let mut padded = vec![f32::from(row[0]); reach];
    padded.extend(row.iter().copied().map(f32::from));
    padded.resize(row.len() + 2 * reach, f32::from(row[row.len() - 1]));
    let mut sums = vec![0.0; row.len()];
    for (shift, weight) in weights.iter().enumerate() {
        for (sum, sample) in sums.iter_mut().zip(&padded[shift..]) {
            *sum += weight * sample;
        }
    }
    let total: f32 = weights.iter().sum();
    for (sample, sum) in row.iter_mut().zip(sums) {
        *sample = (sum / total).round() as u8;
    }
}

fn transposed(grey: &Raster) -> Raster {
    let (width, height) = (grey.height, grey.width);
    let samples = (0..width * height).map(|i| grey.samples[i % width * grey.width + i / width]).collect();
    Raster { width, height, samples, ..*grey }
}

/// Exposes by `stops` more, in the gamma of 2.2 that the picture has.
fn expose(grey: &mut Raster, stops: f32) {
    let factor = 2.0f32.powf(stops / 2.2);
    for sample in &mut grey.samples {
        *sample = (f32::from(*sample) * factor).round() as u8;
    }
}

/// One of the photographs is out of focus: nothing in it is as sharp as the same head in the others, where the widest
/// blur is 0.7 px.
const OUT_OF_FOCUS: &str = "b52.jpg";

#[test]
fn photographs_as_taken_pass_but_for_the_one_that_is_out_of_focus() {
    let test = "photographs_as_taken_pass_but_for_the_one_that_is_out_of_focus";
    for (name, jpeg) in photographs(test).into_iter().flatten() {
        let examined = examine(&jpeg);
        let rules: Vec<&str> = examined.findings.iter().map(|finding| finding.rule.as_str()).collect();
        let expected: &[&str] = if name.ends_with(OUT_OF_FOCUS) { &["qc.sharpness"] } else { &[] };
        assert_eq!(rules, expected, "{name}");
        assert_eq!(examined.picture.unwrap().thumbnails.len(), 3);
    }
}

#[test]
fn blurred_photographs_are_found_and_nothing_else_is_said_of_them() {
    let test = "blurred_photographs_are_found_and_nothing_else_is_said_of_them";
    for (name, jpeg) in photographs(test).into_iter().flatten() {
        assert_eq!(rules_after(&jpeg, |grey| blur(grey, 2.0)), ["qc.sharpness"], "{name}");
    }
}

#[test]
fn photographs_with_too_much_or_too_little_light_are_found() {
    let test = "photographs_with_too_much_or_too_little_light_are_found";
    for (name, jpeg) in photographs(test).into_iter().flatten() {
        let bright = rules_after(&jpeg, |grey| expose(grey, 2.0));
        assert!(bright.contains(&"qc.clipped".to_owned()), "{name}: {bright:?}");
        let dark = rules_after(&jpeg, |grey| expose(grey, -3.0));
        assert!(dark.contains(&"qc.dark".to_owned()), "{name}: {dark:?}");
    }
}

#[test]
fn another_view_is_no_near_duplicate_and_the_same_view_exposed_again_is_one() {
    let test = "another_view_is_no_near_duplicate_and_the_same_view_exposed_again_is_one";
    let limit = qc::Limits::default().near_duplicate_bits_max;
    let phash_of = |jpeg: &[u8]| examine(jpeg).picture.unwrap().phash;
    let mut others: Vec<u64> = Vec::new();
    for (name, jpeg) in photographs(test).into_iter().flatten() {
        let phash = phash_of(&jpeg);
        assert!(others.iter().all(|&other| phash_distance_bits(phash, other) > 4 * limit), "{name}");
        let mut again = decode(&jpeg, PixelFormat::RGB);
        let mut byte = noise(5);
        for sample in &mut again.samples {
            *sample = sample.saturating_add(byte() % 9).saturating_sub(4);
        }
        assert!(phash_distance_bits(phash, phash_of(&again.jpeg())) <= limit, "{name}");
        others.push(phash);
    }
}
