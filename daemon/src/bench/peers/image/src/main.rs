//! What a frame's record costs with the crates `image`, `imageproc` and `image_hasher`.
//!
//! Answers the lines of the benchmark (`rounds.py` says which). Thumbnails are made each from the next larger one, and
//! the perceptual hash from the smallest, because that is what a careful user of these crates would do.

use std::error::Error;
use std::io::{BufRead, stdin};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use image_hasher::{HashAlg, HasherConfig, ImageHash};
use imageproc::filter::laplacian_filter;
use imageproc::stats::{ChannelHistogram, histogram};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

const SIDES: [u32; 3] = [1200, 600, 150];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("give the path of a picture")?;
    let data = std::fs::read(path)?;
    // Linux takes the memory that is resident now as the new peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    for line in stdin().lock().lines() {
        match line?.trim() {
            "go" => {
                let begun = cpu_ms();
                std::hint::black_box(work(&data)?);
                println!("{}", cpu_ms() - begun);
            }
            "peak" => println!("{}", peak_resident_bytes()?),
            _ => {}
        }
    }
    Ok(())
}

/// Everything that is known about a picture.
struct Record {
    _sha256: Vec<u8>,
    _sharpness: f64,
    _histogram: ChannelHistogram,
    _phash: ImageHash,
    _thumbnails: Vec<Vec<u8>>,
}

fn work(data: &[u8]) -> Result<Record, Box<dyn Error>> {
    let picture = image::load_from_memory(data)?.into_rgb8();
    let grey = image::imageops::grayscale(&picture);
    let sharpness = variance(&laplacian_filter(&grey));
    let histogram = histogram(&grey);
    let mut small = picture;
    let mut thumbnails = Vec::new();
    for side in SIDES {
        let share = f64::from(side) / f64::from(small.width().max(small.height()));
        let across = |pixels: u32| (f64::from(pixels) * share).round() as u32;
        small = thumbnail(&small, across(small.width()), across(small.height()));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&small)?;
        thumbnails.push(jpeg);
    }
    let hasher = HasherConfig::new().hash_alg(HashAlg::Mean).preproc_dct().to_hasher();
    Ok(Record {
        _sha256: Sha256::digest(data).to_vec(),
        _sharpness: sharpness,
        _histogram: histogram,
        _phash: hasher.hash_image(&small),
        _thumbnails: thumbnails,
    })
}

fn variance(values: &[i16]) -> f64 {
    let (mut sum, mut squares) = (0i64, 0i64);
    for &value in values {
        sum += i64::from(value);
        squares += i64::from(value) * i64::from(value);
    }
    let count = values.len() as f64;
    squares as f64 / count - (sum as f64 / count).powi(2)
}

/// CPU time of this process, user and system.
fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn peak_resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("/proc/self/status has no VmHWM")?;
    Ok(kb.parse::<u64>()? * 1024)
}
