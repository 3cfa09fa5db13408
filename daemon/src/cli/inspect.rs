//! `inspect`: the pipeline on pictures, without storing anything.

use std::path::{Path, PathBuf};

use anyhow::Result;
use indicatif::ProgressBar;
use serde_json::json;
use turnstage_cloud_sync::Sha256;
use turnstage_pipeline::{Examined, Examiner, phash_to_hex, qc};

use super::Place;
use crate::exit::{self, Exit};

/// Judges each file; exit 65 if one could not be read as a picture.
pub fn inspect(place: &Place, files: &[PathBuf], json: bool) -> Result<u8> {
    let config = place.config()?;
    let bytes_max = config.input.bytes_max;
    let mut examiner = Examiner::new(config.input).map_err(|e| Exit::new(exit::TASK_DIED, e))?;
    let limits = qc::Limits::default();
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(files.len() as u64) };
    let mut code = exit::OK;
    for file in files {
        match read(file, bytes_max) {
            Ok(bytes) => {
                let examined = examiner.examine(&bytes, &limits);
                if examined.picture.is_none() {
                    code = exit::DATA;
                }
                bar.suspend(|| tell(file, &examined, json));
            }
            Err(e) => {
                code = exit::NO_INPUT.max(code);
                bar.suspend(|| eprintln!("{}: {e}", file.display()));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(code)
}

/// A file beyond the limit is not even read.
fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(file).map_err(|e| e.to_string())?.len();
    if length > bytes_max {
        return Err(format!("{length} bytes are more than input.bytes_max = {bytes_max}"));
    }
    std::fs::read(file).map_err(|e| e.to_string())
}

fn tell(file: &Path, examined: &Examined, json: bool) {
    let picture = examined.picture.as_ref();
    if json {
        let record = json!({
            "file": file.display().to_string(),
            "width": picture.map(|p| p.width),
            "height": picture.map(|p| p.height),
            "sha256": Sha256::from_bytes(examined.sha256),
            "phash": picture.map(|p| phash_to_hex(p.phash)),
            "sharpness": picture.map(|p| p.sharpness),
            "exposure": picture.map(|p| p.exposure),
            "findings": examined.findings,
            "exif": examined.exif,
        });
        println!("{record}");
        return;
    }
    match picture {
        Some(p) => println!(
            "{}: {} x {}, sharpness {:.0} at half size, mean {:.0}, clipped {:.2} % low {:.2} % high",
            file.display(),
            p.width,
            p.height,
            p.sharpness.half,
            p.exposure.mean,
            100.0 * p.exposure.clipped_low,
            100.0 * p.exposure.clipped_high,
        ),
        None => println!("{}: not a readable picture", file.display()),
    }
    for finding in &examined.findings {
        println!("  {:?} {}: {}", finding.verdict, finding.rule, finding.message);
    }
}
