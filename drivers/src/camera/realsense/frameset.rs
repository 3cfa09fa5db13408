//! Whether the two frames of a set may be used, and what becomes of them: librealsense pairs by guessing, and hands
//! out colour of one moment with depth of another.
// Pixels lie in memory of the library, in this file only.
#![allow(unsafe_code)]

use std::time::Duration;

use bytes::Bytes;
use realsense_rust::base::Rs2Intrinsics;
use realsense_rust::frame::{ColorFrame, CompositeFrame, DepthFrame, FrameEx, ImageFrame};
use realsense_rust::kind::{Rs2DistortionModel, Rs2FrameMetadata, Rs2TimestampDomain};
use realsense_rust::stream_profile::StreamProfile;
use tokio::time::Instant;

use super::alignment::Alignment;
use super::clock::{DELAY_MAX, DeviceClock};
use super::controls::Controls;
use crate::frame::{Exposure, FrameData, PixelFormat, TimeSource};
use crate::optics::{Distortion, Intrinsics, Pose};

/// When a frame was taken, in the camera's words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stamp {
    /// Readout began, or later: after the exposure in any case.
    pub(super) at_ms: f64,
    /// Whose clock that is.
    pub(super) domain: Rs2TimestampDomain,
    /// Shutter time.
    pub(super) exposure: Duration,
}

/// When both frames of a set were taken, in the station's words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    /// Start of exposure, within [`Times::UNCERTAINTY`].
    pub(super) color: Instant,
    pub(super) depth: Instant,
    /// Both had ended.
    pub(super) end: Instant,
    /// Between the two starts.
    pub(super) skew: Duration,
    pub(super) source: TimeSource,
}

impl Times {
    /// The delay on the way lies between nothing and its maximum, so half of that is taken off.
    pub(super) const UNCERTAINTY: Duration = Duration::from_millis(DELAY_MAX.as_millis() as u64 / 2);
}

/// What to do with a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Usable(Times),
    /// Exposed too early, or nobody knows yet when: wait for the next.
    Stale,
    /// Colour and depth are not of the same moment.
    Apart,
    /// Colour and depth are stamped by different clocks, so nobody can tell.
    Clocks,
}

/// Judges a set for an exposure at or after `not_before`. The stamps decide on what belongs together, because those
/// of one moment are equal whatever the two shutter times are.
pub(super) fn judge(
    color: &Stamp,
    depth: &Stamp,
    clock: &DeviceClock,
    not_before: Instant,
    skew_max: Duration,
) -> Verdict {
    if color.domain != depth.domain {
        return Verdict::Clocks;
    }
    let apart_ms = (color.at_ms - depth.at_ms).abs();
    // A stamp that is no number is apart from every other.
    if apart_ms.is_nan() || apart_ms > skew_max.as_secs_f64() * 1e3 {
        return Verdict::Apart;
    }
    let start = |stamp: &Stamp| {
        let latest = clock.latest(stamp.at_ms)?;
        let earliest = latest.checked_sub(stamp.exposure)?.checked_sub(DELAY_MAX)?;
        (earliest >= not_before).then_some(earliest + Times::UNCERTAINTY)
    };
    let (Some(color_start), Some(depth_start)) = (start(color), start(depth)) else { return Verdict::Stale };
    let (first, last) = (color_start.min(depth_start), color_start.max(depth_start));
    Verdict::Usable(Times {
        color: color_start,
        depth: depth_start,
        end: (color_start + color.exposure).max(depth_start + depth.exposure),
        skew: last - first,
        source: match color.domain {
            Rs2TimestampDomain::HardwareClock | Rs2TimestampDomain::GlobalTime => TimeSource::Device,
            Rs2TimestampDomain::SystemTime => TimeSource::Arrival,
        },
    })
}

/// Both frames of a set, or `None` if one is missing.
pub(super) fn both(set: &CompositeFrame) -> Option<(ColorFrame, DepthFrame)> {
    let color = set.frames_of_type::<ColorFrame>().pop()?;
    let depth = set.frames_of_type::<DepthFrame>().pop()?;
    Some((color, depth))
}

/// The depth of a set as the colour camera sees it, in steps of `unit_m` metres. An error is a clause.
pub(super) fn aligned(color: &ColorFrame, depth: &DepthFrame, unit_m: f64) -> Result<FrameData, String> {
    let alignment = alignment(color.stream_profile(), depth.stream_profile())?;
    let FrameData::Pixels { width, height, stride, bytes, .. } = pixels(depth, PixelFormat::Z16)? else {
        return Err("the distances are no pixels".to_owned());
    };
    let (from, to) = (alignment.depth, alignment.color);
    let shown = |size: (usize, usize), lens: Intrinsics| size == (lens.width as usize, lens.height as usize);
    if !shown((width as usize, height as usize), from) || !shown((color.width(), color.height()), to) {
        let (wide, high) = (color.width(), color.height());
        return Err(format!(
            "lenses of {} by {} and {} by {} pixels are not those of frames of {width} by {height} and {wide} by {high}",
            from.width, from.height, to.width, to.height
        ));
    }
    let row_len = 2 * width as usize;
    let rows = bytes.chunks_exact(stride as usize).map(|row| row[..row_len].as_chunks().0);
    let steps: Vec<u16> = rows.flatten().copied().map(u16::from_le_bytes).collect();
    let laid = alignment.lay(&steps, unit_m).into_iter().flat_map(u16::to_le_bytes);
    Ok(FrameData::Pixels {
        format: PixelFormat::Z16,
        width: to.width,
        height: to.height,
        stride: 2 * to.width,
        bytes: laid.collect(),
    })
}

/// How the two cameras stand, by what the library tells of their streams. An error is a clause.
fn alignment(color: &StreamProfile, depth: &StreamProfile) -> Result<Alignment, String> {
    let told = |profile: &StreamProfile| lens(&profile.intrinsics().map_err(|error| error.to_string())?);
    let extrinsics = depth.extrinsics(color).map_err(|error| error.to_string())?;
    // Columns one after the other.
    let [a, b, c, d, e, f, g, h, i] = extrinsics.rotation().map(f64::from);
    let rotation = [[a, d, g], [b, e, h], [c, f, i]];
    let to_color = Pose { rotation, translation: extrinsics.translation().map(f64::from) };
    Ok(Alignment { depth: told(depth)?, color: told(color)?, to_color })
}

/// The stamp of a frame whose exposure is `exposure_us`, or `unknown` long if that is not told.
pub(super) fn stamp(frame: &impl FrameEx, exposure_us: Option<f64>, unknown: Duration) -> Stamp {
    let told = exposure_us.and_then(|us| Duration::try_from_secs_f64(us / 1e6).ok());
    Stamp {
        at_ms: frame.timestamp(),
        domain: frame.timestamp_domain(),
        // No frame is exposed for longer than a minute; what says so is broken.
        exposure: told.filter(|told| *told < Duration::from_secs(60)).unwrap_or(unknown),
    }
}

/// What a colour frame says of itself.
pub(super) fn color_exposure(frame: &ColorFrame, controls: &Controls) -> Exposure {
    let told = |key| frame.metadata(key).map(|raw| raw as f64);
    Exposure {
        exposure_us: told(Rs2FrameMetadata::ActualExposure).map(|raw| controls.exposure_us(raw)),
        gain: told(Rs2FrameMetadata::GainLevel).and_then(|raw| controls.gain(raw)),
        wb_kelvin: told(Rs2FrameMetadata::WhiteBalance),
        focus: None,
    }
}

/// What a depth frame says of itself; stereo modules count in microseconds. Its gain has another base than colour's.
pub(super) fn depth_exposure(frame: &DepthFrame) -> Exposure {
    let told = frame.metadata(Rs2FrameMetadata::ActualExposure).map(|raw| raw as f64);
    Exposure { exposure_us: told, ..Exposure::default() }
}

/// The pixels of a frame, copied: those of the library are used again for other frames.
///
/// # Errors
///
/// Size, stride and length that do not make a picture of `format`, as a clause.
pub(super) fn pixels<K>(frame: &ImageFrame<K>, format: PixelFormat) -> Result<FrameData, String> {
    let pixel_bytes = match format {
        PixelFormat::Grey8 | PixelFormat::Nv12 => 1,
        PixelFormat::Yuyv | PixelFormat::Z16 => 2,
        PixelFormat::Rgb8 => 3,
    };
    let (width, height, stride, len) = (frame.width(), frame.height(), frame.stride(), frame.get_data_size());
    let rows = stride.checked_mul(height).filter(|rows| *rows <= len);
    let fits = width > 0 && height > 0 && stride / pixel_bytes >= width;
    let Some(rows) = rows.filter(|_| fits && frame.bits_per_pixel() == 8 * pixel_bytes) else {
        let bits = frame.bits_per_pixel();
        return Err(format!(
            "{width} by {height} pixels of {bits} bits in rows of {stride} bytes are no {format:?} in {len} bytes"
        ));
    };
    // SAFETY: the library owns `len` bytes at this address as long as the frame lives, and `rows <= len`.
    let bytes =
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(frame.get_data()).cast::<u8>(), rows) };
    let side = |side: usize| u32::try_from(side).map_err(|_| format!("{side} pixels are too many"));
    Ok(FrameData::Pixels {
        format,
        width: side(width)?,
        height: side(height)?,
        stride: side(stride)?,
        bytes: Bytes::copy_from_slice(bytes),
    })
}

/// A lens as the library tells it; a model that pinhole software does not know is an error with its name.
pub(super) fn lens(told: &Rs2Intrinsics) -> Result<Intrinsics, String> {
    let told_distortion = told.distortion();
    let coefficients = told_distortion.coeffs.map(f64::from);
    let distortion = match told_distortion.model {
        // Without a coefficient every model bends nothing.
        _ if coefficients == [0.0; 5] => Distortion::None,
        Rs2DistortionModel::None => Distortion::None,
        Rs2DistortionModel::BrownConrady => Distortion::Brown,
        Rs2DistortionModel::BrownConradyInverse => Distortion::InverseBrown,
        other => return Err(format!("its lens is described as {other:?}, which is not known here")),
    };
    let side = |side: usize| u32::try_from(side).map_err(|_| format!("a lens of {side} pixels"));
    Ok(Intrinsics {
        width: side(told.width())?,
        height: side(told.height())?,
        fx: f64::from(told.fx()),
        fy: f64::from(told.fy()),
        cx: f64::from(told.ppx()),
        cy: f64::from(told.ppy()),
        distortion,
        coefficients,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(66);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A clock by which stamp 0 means `origin + 1 s` at the latest.
    fn clock(origin: Instant) -> DeviceClock {
        let mut clock = DeviceClock::new(origin);
        for n in 0..6 {
            clock.note(66.0 * f64::from(n), origin + ms(1000) + n * PERIOD);
        }
        clock
    }

    fn stamp(at_ms: f64, exposure: Duration) -> Stamp {
        Stamp { at_ms, domain: Rs2TimestampDomain::HardwareClock, exposure }
    }

    #[test]
    fn only_a_set_that_was_certainly_exposed_after_its_moment_is_usable() {
        let origin = Instant::now();
        let clock = clock(origin);
        let (color, depth) = (stamp(330.0, ms(30)), stamp(330.0, ms(8)));
        // Readout began at 1330 at the latest and 1230 at the earliest, colour's exposure 30 before.
        let verdict = |not_before| judge(&color, &depth, &clock, origin + not_before, ms(33));
        let Verdict::Usable(times) = verdict(ms(1200)) else { panic!("{:?}", verdict(ms(1200))) };
        assert_eq!((times.color, times.depth), (origin + ms(1250), origin + ms(1272)));
        assert_eq!((times.end, times.skew, times.source), (origin + ms(1280), ms(22), TimeSource::Device));
        assert_eq!(verdict(ms(1201)), Verdict::Stale);
    }

    #[test]
    fn frames_of_two_moments_are_not_a_set() {
        let origin = Instant::now();
        let clock = clock(origin);
        let judge = |color: f64, depth: f64| {
            judge(&stamp(color, ms(8)), &stamp(depth, ms(8)), &clock, origin, PERIOD / 2)
        };
        assert!(matches!(judge(330.0, 330.0), Verdict::Usable(_)));
        assert!(matches!(judge(330.0, 360.0), Verdict::Usable(_)));
        assert_eq!(judge(330.0, 396.0), Verdict::Apart, "depth of the next frame");
        assert_eq!(judge(330.0, 264.0), Verdict::Apart, "depth of the last frame");
        assert_eq!(judge(f64::NAN, 330.0), Verdict::Apart);
    }

    #[test]
    fn stamps_of_two_clocks_are_not_compared() {
        let origin = Instant::now();
        let depth = Stamp { domain: Rs2TimestampDomain::GlobalTime, ..stamp(330.0, ms(8)) };
        let verdict = judge(&stamp(330.0, ms(8)), &depth, &clock(origin), origin, PERIOD);
        assert_eq!(verdict, Verdict::Clocks);
    }

    #[test]
    fn a_stamp_of_the_host_is_not_called_the_devices() {
        let origin = Instant::now();
        let at = Stamp { domain: Rs2TimestampDomain::SystemTime, ..stamp(330.0, ms(8)) };
        let verdict = judge(&at, &at, &clock(origin), origin, PERIOD);
        assert!(matches!(verdict, Verdict::Usable(Times { source: TimeSource::Arrival, .. })), "{verdict:?}");
    }

    #[test]
    fn before_the_clock_is_known_nothing_counts_as_fresh() {
        let origin = Instant::now();
        let at = stamp(330.0, ms(8));
        assert_eq!(judge(&at, &at, &DeviceClock::new(origin), origin, PERIOD), Verdict::Stale);
    }
}
