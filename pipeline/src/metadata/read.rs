//! What stands in a picture about it: the few EXIF fields the station uses, and the station's own from an earlier
//! delivery.
//!
//! Foreign text is cut and cleaned, numbers that make no sense are dropped. Broken EXIF never fails a picture:
//! what can be read is kept, the rest is absent.

use std::collections::BTreeMap;

use exif::{Exif, In, Reader, Tag, Value};
use serde::{Deserialize, Serialize};

/// Longest text taken over, in characters.
pub(super) const TEXT_MAX: usize = 100;

/// EXIF fields of a picture, as written by the camera; absent where the camera did not say or made no sense.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExifSummary {
    /// How to turn the stored picture for viewing: 1 to 8 as in EXIF 2.3, 4.6.4; 1 = as stored.
    pub orientation: Option<u8>,
    /// Maker of the camera.
    pub make: Option<String>,
    /// Camera model.
    pub model: Option<String>,
    /// Lens model.
    pub lens: Option<String>,
    /// Shutter time in seconds.
    pub exposure_s: Option<f64>,
    /// Aperture as an f-number.
    pub f_number: Option<f64>,
    /// Sensitivity, ISO 12232.
    pub iso: Option<u32>,
    /// When the picture was taken by the camera's clock: `2026-01-31T12:00:00`, local time of the camera.
    pub taken_at: Option<String>,
    /// Offset of that clock from UTC: `+01:00`.
    pub taken_offset: Option<String>,
    /// Firmware or program that wrote the file.
    pub software: Option<String>,
    /// Some of the EXIF block could not be read.
    pub damaged: bool,
}

/// The summary of a JPEG's EXIF block; `None` if there is none or nothing of it can be read.
pub fn read(bytes: &[u8]) -> Option<ExifSummary> {
    summary(app1(bytes, super::EXIF_PREFIX)?)
}

/// The fields that a station wrote into a JPEG for a delivery, by their names in [`super::xmp::FIELDS`].
pub fn read_capture(bytes: &[u8]) -> BTreeMap<&'static str, String> {
    app1(bytes, super::xmp::PREFIX).map(super::xmp::read).unwrap_or_default()
}

/// The summary of a TIFF block.
pub(super) fn summary(tiff: &[u8]) -> Option<ExifSummary> {
    let mut damaged = false;
    let block = Reader::new()
        .continue_on_error(true)
        .read_raw(tiff.to_vec())
        .or_else(|error| error.distill_partial_result(|_| damaged = true))
        .ok()?;
    Some(ExifSummary {
        orientation: number(&block, Tag::Orientation)
            .and_then(|v| u8::try_from(v).ok())
            .filter(is_orientation),
        make: text(&block, Tag::Make),
        model: text(&block, Tag::Model),
        lens: text(&block, Tag::LensModel),
        exposure_s: positive(&block, Tag::ExposureTime),
        f_number: positive(&block, Tag::FNumber),
        iso: number(&block, Tag::PhotographicSensitivity).filter(|&iso| iso > 0),
        taken_at: text(&block, Tag::DateTimeOriginal).and_then(|written| date_time(&written)),
        taken_offset: text(&block, Tag::OffsetTimeOriginal).filter(|written| is_offset(written)),
        software: text(&block, Tag::Software),
        damaged,
    })
}

/// What follows `prefix` in the first APP1 segment that begins so, searched for only up to the picture data:
/// searching on through that would cost a millisecond in every file without it.
fn app1<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    const APP1: u8 = 0xe1;
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (&[mark, kind, high, low], _) = rest.split_first_chunk()?;
        if mark != 0xff || kind == START_OF_SCAN {
            return None;
        }
        if kind == 0xff {
            // Any number of fill bytes may precede a marker.
            rest = &rest[1..];
            continue;
        }
        // The length counts itself but not the marker.
        let segment = rest[2..].get(2..usize::from(u16::from_be_bytes([high, low])))?;
        if kind == APP1
            && let Some(found) = segment.strip_prefix(prefix)
        {
            return Some(found);
        }
        rest = &rest[4 + segment.len()..];
    }
}

fn is_orientation(value: &u8) -> bool {
    (1..=8).contains(value)
}

fn number(block: &Exif, tag: Tag) -> Option<u32> {
    block.get_field(tag, In::PRIMARY)?.value.get_uint(0)
}

fn positive(block: &Exif, tag: Tag) -> Option<f64> {
    match &block.get_field(tag, In::PRIMARY)?.value {
        Value::Rational(values) => values.first().map(|r| r.to_f64()).filter(|v| v.is_finite() && *v > 0.0),
        _ => None,
    }
}

fn text(block: &Exif, tag: Tag) -> Option<String> {
    let Value::Ascii(parts) = &block.get_field(tag, In::PRIMARY)?.value else { return None };
    let lossy = String::from_utf8_lossy(parts.first()?);
    let clean: String = lossy.trim().chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect();
    (!clean.is_empty()).then_some(clean)
}

/// `2026:01:31 12:00:00` as `2026-01-31T12:00:00`; cameras with an unset clock write blanks or zeros.
pub(super) fn date_time(written: &str) -> Option<String> {
    let moment = exif::DateTime::from_ascii(written.as_bytes()).ok()?;
    let sane = moment.year > 0
        && (1..=12).contains(&moment.month)
        && (1..=31).contains(&moment.day)
        && moment.hour < 24
        && moment.minute < 60
        && moment.second < 61;
    sane.then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second
        )
    })
}

/// `+01:00` or `-09:30`.
pub(super) fn is_offset(written: &str) -> bool {
    matches!(written.as_bytes(), [b'+' | b'-', a, b, b':', c, d]
        if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
