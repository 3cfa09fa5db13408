//! What stands in a picture about it: read, written for a delivery, taken out for one.
//!
//! Standard fields that the camera left out are added to its EXIF block, everything that the station knows goes into
//! an XMP packet of its own namespace. What the camera wrote is never changed and never moved: a block that cannot be
//! added to (damaged, in several segments, no room) stays as it is, and then XMP alone says what is known. The image
//! data stay bit for bit, and the same picture with the same facts gives the same bytes.
//!
//! Segments are those of ITU-T T.81, annex B; EXIF 2.32 (CIPA DC-008); XMP part 3 (ISO 16684-1), 1.1.3.

pub mod read;
mod segments;
mod tiff;
pub mod write;
pub mod xmp;

pub use read::{ExifSummary, read_capture};
pub use write::{strip, write};

/// What an EXIF segment begins with.
const EXIF_PREFIX: &[u8] = b"Exif\0\0";
/// Bytes that a segment holds beside its length.
const SEGMENT_MAX: usize = 65_533;

/// What the station knows of a picture that is written into it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CaptureFacts {
    /// Session id.
    pub session: String,
    /// What was photographed: VIN, barcode, number.
    pub item: String,
    /// Name of the camera in the rig.
    pub camera: String,
    /// Place in the recipe's plan, from 1.
    pub shot: u32,
    /// 1 for the first picture of this place, 2 for its first retake.
    pub take: u32,
    /// Asked of the table, in degrees.
    pub angle_commanded: Option<f64>,
    /// Reported by the table, in degrees.
    pub angle_reached: Option<f64>,
    /// Start of exposure, RFC 3339 with the offset from UTC in figures: `2026-11-27T10:55:03.120+01:00`. Absent when
    /// no clock could be trusted; anything else is not written.
    pub exposed_at: Option<String>,
    /// Shutter time in seconds.
    pub exposure_s: Option<f64>,
    /// Aperture as an f-number.
    pub f_number: Option<f64>,
    /// Sensitivity, ISO 12232.
    pub iso: Option<u16>,
    /// Maker of the camera, as its driver says.
    pub make: Option<String>,
    /// Model of the camera, as its driver says.
    pub model: Option<String>,
    /// Model of the lens, as the driver says.
    pub lens: Option<String>,
    /// Program that took it: `Turnstage 0.1.0`.
    pub software: String,
}

/// Why a picture's metadata were left as they are. The picture itself may be good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not a JPEG, or damaged before its image data.
    #[error("it cannot be read as a JPEG up to its image data: {0}")]
    NotAPicture(String),
    /// Somebody else's packet that ends differently from every known one, or is not in UTF-8.
    #[error("it has an XMP packet without the end \"</rdf:RDF>\", which cannot be added to")]
    Packet,
    /// More than a segment holds.
    #[error("its {what} would have {bytes} bytes, and a JPEG segment holds {SEGMENT_MAX}")]
    TooLong {
        /// Which block.
        what: &'static str,
        /// Bytes it would have.
        bytes: usize,
    },
    /// Metadata in the middle of the image data, which are never touched.
    #[error(
        "it has metadata between the scans of its image, which cannot be taken out without touching that"
    )]
    BetweenScans,
}

#[cfg(test)]
mod tests;
