//! What all fuzz targets have in common: one frame is examined, and what is promised of every frame is checked.

pub mod damage;
pub mod picture;

use turnstage_pipeline::{Examiner, InputLimits, qc};

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
