//! The variance of the Laplacian is OpenCV's, to the ninth digit, on the same plane: photographs and odd sizes.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};
use turnstage_pipeline::{Examiner, InputLimits, qc};
use turnstage_tests::{photos, skip};

/// Relative.
const ERROR_MAX: f64 = 1e-9;

/// Reads planes (`width height stride file` a line) and prints the variance of each, and of the planes of rounded
/// 2 x 2 means of it and of that.
const SCRIPT: &str = r#"
import sys
import cv2
import numpy as np

def variance(plane):
    return cv2.Laplacian(plane, cv2.CV_64F).var() if plane.size else 0.0

def halved(plane):
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    wide = plane[:height, :width].astype(np.uint16)
    sums = wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)

for line in sys.stdin:
    width, height, stride, path = line.split(maxsplit=3)
    samples = np.fromfile(path.strip(), np.uint8)[: int(stride) * int(height)]
    plane = np.ascontiguousarray(samples.reshape(int(height), int(stride))[:, : int(width)])
    half = halved(plane)
    print(*(f"{variance(p):.17g}" for p in (plane, half, halved(half))))
"#;

/// A program with OpenCV in it, or `None` after saying so.
fn python(test: &str) -> Option<String> {
    let program = std::env::var("TURNSTAGE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&program).args(["-c", "import cv2, numpy"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    skip(test, &format!("{program} has no OpenCV; TURNSTAGE_PYTHON may name one that has"));
    None
}

/// A picture with edges and grain, as JPEG.
fn made(width: usize, height: usize, subsamp: Subsamp) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    let level = |x: usize, y: usize| ((x / 5) ^ (y / 7)) % 2 * 90 + (x + 3 * y) / 40 % 100;
    let grey = (0..width * height).map(|i| level(i % width, i / width) + random.usize(0..20));
    let pixels: Vec<u8> = grey.flat_map(|level| [level as u8; 3]).collect();
    let mut compressor = Compressor::new().expect("a compressor");
    compressor.set_subsamp(subsamp).expect("a subsampling");
    let image = Image { pixels: &pixels[..], width, pitch: 3 * width, height, format: PixelFormat::RGB };
    compressor.compress_to_vec(image).expect("a JPEG")
}

/// Writes the luma as the decoder gives it; its line for the script.
fn plane_of(jpeg: &[u8], file: &Path) -> String {
    let yuv = turbojpeg::decompress_to_yuv(jpeg).expect("a JPEG");
    let header = turbojpeg::read_header(jpeg).expect("a JPEG");
    let across = header.subsamp.size().0;
    let stride = header.width.next_multiple_of(4.max(across));
    std::fs::write(file, &yuv.pixels).expect("a file");
    format!("{} {} {stride} {}\n", header.width, header.height, file.display())
}

#[test]
fn the_variance_of_the_laplacian_is_that_of_opencv() {
    let test = "the_variance_of_the_laplacian_is_that_of_opencv";
    let Some(program) = python(test) else { return };
    let sizes = [(1, 1), (3, 5), (2, 9), (64, 33), (333, 77), (4001, 2999)];
    let kinds = [Subsamp::Gray, Subsamp::Sub2x2, Subsamp::Sub2x1, Subsamp::None];
    let mut jpegs: Vec<Vec<u8>> =
        sizes.iter().flat_map(|&(w, h)| kinds.map(|kind| made(w, h, kind))).collect();
    if let Some(folder) = photos(test) {
        let entries = std::fs::read_dir(folder.join("buddha")).expect("a folder of photographs");
        jpegs.extend(entries.map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file")));
    }
    let folder = TempDir::new().expect("a folder");
    let script = folder.path().join("variance.py");
    std::fs::write(&script, SCRIPT).expect("a file");
    let list = folder.path().join("list");
    let lines = jpegs.iter().enumerate().map(|(k, jpeg)| plane_of(jpeg, &folder.path().join(k.to_string())));
    std::fs::write(&list, lines.collect::<String>()).expect("a file");
    let input = std::fs::File::open(&list).expect("the list");
    let output = Command::new(program).arg(&script).stdin(input).output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(printed.lines().count(), jpegs.len());
    let mut examiner = Examiner::new(InputLimits::default()).expect("an examiner");
    for (k, (jpeg, line)) in jpegs.iter().zip(printed.lines()).enumerate() {
        let sharpness = examiner.judge(jpeg, &qc::Limits::default()).sharpness;
        let ours = [sharpness.full, sharpness.half, sharpness.quarter];
        for (ours, theirs) in ours.into_iter().zip(line.split(' ')) {
            let theirs: f64 = theirs.parse().expect("a number");
            assert!(
                (ours - theirs).abs() <= ERROR_MAX * theirs.abs(),
                "picture {k}: {ours}, OpenCV says {theirs}"
            );
        }
    }
}
