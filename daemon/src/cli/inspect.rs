//! `inspect`: the pipeline on pictures, without storing anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use indicatif::ProgressBar;
use serde_json::json;
use turnstage_cloud_sync::Sha256;
use turnstage_pipeline::{Examined, Examiner, ExifSummary, metadata, phash_to_hex, qc};

use super::Place;
use super::answer::answer;
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
                let capture = metadata::read_capture(&bytes);
                bar.suspend(|| tell(file, &examined, &capture, json));
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

fn tell(file: &Path, examined: &Examined, capture: &BTreeMap<&str, String>, json: bool) {
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
            "capture": capture,
        });
        answer!("{record}");
        return;
    }
    match picture {
        Some(p) => answer!(
            "{}: {} x {}, sharpness {:.0} at half size, mean {:.0}, clipped {:.2} % low {:.2} % high",
            file.display(),
            p.width,
            p.height,
            p.sharpness.half,
            p.exposure.mean,
            100.0 * p.exposure.clipped_low,
            100.0 * p.exposure.clipped_high,
        ),
        None => answer!("{}: not a readable picture", file.display()),
    }
    let said = examined.exif.as_ref().map(camera_line).filter(|said| !said.is_empty());
    said.iter().for_each(|said| answer!("  camera: {said}"));
    if !capture.is_empty() {
        let each =
            metadata::xmp::FIELDS.iter().filter_map(|name| Some(format!("{name} {}", capture.get(name)?)));
        answer!("  turnstage: {}", each.collect::<Vec<_>>().join(", "));
    }
    for finding in &examined.findings {
        answer!("  {:?} {}: {}", finding.verdict, finding.rule, finding.message);
    }
}

/// What EXIF says, as far as it says it: `NIKON CORPORATION, NIKON Z 6, 1/125 s, f/8, ISO 400, 2026-01-31T12:34:56 +01:00`.
fn camera_line(exif: &ExifSummary) -> String {
    let exposure =
        exif.exposure_s.map(|s| if s < 1.0 { format!("1/{:.0} s", 1.0 / s) } else { format!("{s} s") });
    let taken = exif.taken_at.as_ref().map(|at| match &exif.taken_offset {
        Some(offset) => format!("{at} {offset}"),
        None => format!("{at}, offset unknown"),
    });
    let each = [
        exif.make.clone(),
        exif.model.clone(),
        exif.lens.clone(),
        exposure,
        exif.f_number.map(|number| format!("f/{number}")),
        exif.iso.map(|iso| format!("ISO {iso}")),
        taken,
    ];
    each.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_camera_said_is_one_line_of_what_is_known() {
        let exif = ExifSummary {
            model: Some("Z 6".to_owned()),
            exposure_s: Some(0.008),
            f_number: Some(5.6),
            taken_at: Some("2026-01-31T12:34:56".to_owned()),
            ..ExifSummary::default()
        };
        assert_eq!(camera_line(&exif), "Z 6, 1/125 s, f/5.6, 2026-01-31T12:34:56, offset unknown");
        assert_eq!(camera_line(&ExifSummary { exposure_s: Some(2.5), ..ExifSummary::default() }), "2.5 s");
        assert_eq!(camera_line(&ExifSummary::default()), "");
    }
}
