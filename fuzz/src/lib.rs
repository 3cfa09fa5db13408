//! What all fuzz targets have in common: one frame is examined, and what is promised of every frame is checked.

pub mod damage;
pub mod picture;

use bytes::Bytes;
use turnstage_drivers::frame::{FrameData, PixelFormat};
use turnstage_pipeline::metadata::{self, CaptureFacts};
use turnstage_pipeline::{Examiner, Expected, InputLimits, qc};

/// Small, so that a decompression bomb is refused and a round takes little time.
const LIMITS: InputLimits = InputLimits { bytes_max: 4_000_000, pixels_max: 4_000_000 };

/// Examines a frame with an examiner of its own, so that what fails once fails again.
///
/// # Panics
///
/// If a promise is broken: bytes without a picture have a finding, every finding has a sentence, and a picture is within
/// the limits and has its thumbnails.
pub fn examine(bytes: &[u8]) {
    let mut examiner = Examiner::new(LIMITS).expect("an examiner");
    let examined = examiner.examine(bytes, &qc::Limits::default());
    assert!(examined.picture.is_some() || !examined.findings.is_empty(), "neither picture nor finding");
    for finding in &examined.findings {
        assert!(finding.message.len() > 20, "{} says only {:?}", finding.rule, finding.message);
        assert!(finding.value.is_finite() && finding.limit.is_finite(), "{finding:?}");
    }
    if let Some(picture) = examined.picture {
        let pixels = u64::from(picture.width) * u64::from(picture.height);
        assert!((1..=LIMITS.pixels_max).contains(&pixels), "{} x {}", picture.width, picture.height);
        assert_eq!(picture.thumbnails.len(), turnstage_pipeline::SIDES_PX.len());
        assert!((1..=8).contains(&picture.orientation));
        assert!(picture.sharpness.half.is_finite() && picture.exposure.mean.is_finite());
    }
}

/// Develops a frame of pixels whose first 7 bytes say its format, width, height and stride.
///
/// # Panics
///
/// If a promise is broken: what is developed is a file of the length and kind that it says.
pub fn develop(bytes: &[u8]) {
    let Some((&[kind, a, b, c, d, e, f], rest)) = bytes.split_first_chunk() else { return };
    let formats =
        [PixelFormat::Grey8, PixelFormat::Rgb8, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Z16];
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    let data = FrameData::Pixels {
        format: formats[usize::from(kind) % formats.len()],
        width: side(a, b),
        height: side(c, d),
        stride: side(e, f),
        bytes: Bytes::copy_from_slice(rest),
    };
    let mut examiner = Examiner::new(LIMITS).expect("an examiner");
    match examiner.develop(&data, &Expected::default(), &qc::Limits::default()) {
        Err(why) => assert!(why.to_string().len() > 10, "{why:?} says too little"),
        Ok(developed) => {
            assert_eq!(developed.bytes.len() as u64, developed.examined.length);
            let begins: &[u8] = if developed.extension == "png" { b"\x89PNG" } else { b"\xff\xd8\xff" };
            assert!(developed.bytes.starts_with(begins));
        }
    }
}

/// Writes metadata into a file and takes them out again.
///
/// # Panics
///
/// If a promise is broken: what was written is read back, and neither changes what a decoder sees.
pub fn rewrite(bytes: &[u8]) {
    let original = Bytes::copy_from_slice(bytes);
    let facts = CaptureFacts { session: "s-1".to_owned(), shot: 7, take: 2, ..CaptureFacts::default() };
    if let Ok(written) = metadata::write(&original, &facts) {
        assert!(!metadata::read_capture(&written).is_empty(), "what was written is not found");
    }
    if let Ok(bare) = metadata::strip(&original) {
        assert!(bare.len() <= original.len() + 64, "{} bytes of {}", bare.len(), original.len());
    }
}
