//! What a camera makes: frames, with where and when they were taken and how far to trust that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::optics::Intrinsics;

/// An angle of the platter in degrees, always in `[0, 360)`, counted counter-clockwise seen from above.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Angle(f64);

impl Angle {
    /// Any finite number of degrees, wrapped into `[0, 360)`. Not-a-number and infinities become 0.
    pub fn new(deg: f64) -> Self {
        let wrapped = deg.rem_euclid(360.0);
        // rem_euclid of a tiny negative number rounds to 360 itself.
        Self(if wrapped.is_finite() && wrapped < 360.0 { wrapped } else { 0.0 })
    }

    /// Degrees in `[0, 360)`.
    pub fn deg(self) -> f64 {
        self.0
    }

    /// Degrees to turn forward (counter-clockwise) to reach `other`, in `[0, 360)`.
    pub fn forward_to(self, other: Angle) -> f64 {
        Angle::new(other.0 - self.0).0
    }

    /// The shorter way to `other` in degrees, in `[0, 180]`.
    pub fn distance(self, other: Angle) -> f64 {
        let forward = self.forward_to(other);
        forward.min(360.0 - forward)
    }
}

impl From<f64> for Angle {
    fn from(deg: f64) -> Self {
        Self::new(deg)
    }
}

impl From<Angle> for f64 {
    fn from(angle: Angle) -> Self {
        angle.0
    }
}

impl fmt::Display for Angle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}°", self.0)
    }
}

/// What the pixels of a frame mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamKind {
    /// A colour picture from a stream.
    Color,
    /// Distance, 16 bit.
    Depth,
    /// Infrared imager with its number.
    Ir(u8),
    /// A colour picture from a stills camera.
    Still,
}

/// How encoded bytes are encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// JPEG, as the camera made it. Cameras that send a film of them may leave out the standard Huffman tables.
    Jpeg,
    /// HEIF or HEIC.
    Heif,
    /// A maker's raw file, with its extension.
    Raw(String),
}

/// Layout of uncompressed pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelFormat {
    /// 8-bit grey, one byte a pixel.
    Grey8,
    /// 8-bit red, green, blue, three bytes a pixel.
    Rgb8,
    /// Packed 4:2:2, two bytes a pixel: luma, blue difference, luma, red difference. ITU-R BT.601, full range.
    Yuyv,
    /// Two planes: `height * stride` bytes of luma, then `height / 2 * stride` bytes of blue and red difference in
    /// turn, one pair for two by two pixels. Both sides are even. ITU-R BT.601, full range, as in JPEG.
    Nv12,
    /// 16-bit little-endian distance.
    Z16,
}

/// The picture itself.
#[derive(Debug, Clone)]
pub enum FrameData {
    /// Encoded bytes exactly as the camera gave them; hashes are of these.
    Encoded {
        /// The encoding.
        codec: Codec,
        /// The file's bytes.
        bytes: Bytes,
    },
    /// Uncompressed rows.
    Pixels {
        /// Layout of a row.
        format: PixelFormat,
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from one row to the next.
        stride: u32,
        /// `height * stride` bytes, half as many again for [`PixelFormat::Nv12`].
        bytes: Bytes,
    },
}

/// Who stamped a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// The device's own clock, translated.
    Device,
    /// The kernel, at start of exposure.
    KernelStart,
    /// The kernel, at end of frame.
    KernelEnd,
    /// We did, when the bytes arrived.
    Arrival,
    /// The simulated booth, which knows exactly.
    Simulated,
}

/// When the exposure of a frame began, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameTime {
    /// Start of exposure on the monotonic clock (tokio's, so that paused time holds too).
    pub start: Instant,
    /// The start lies within `start ± uncertainty`.
    pub uncertainty: Duration,
    /// Where the time stamp comes from.
    pub source: TimeSource,
}

impl FrameTime {
    /// Stamped by us, at this moment.
    pub fn arrived() -> Self {
        Self { start: Instant::now(), uncertainty: Duration::ZERO, source: TimeSource::Arrival }
    }
}

/// Settings a frame was really exposed with, as read back; `None` where the camera does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Exposure {
    /// Shutter time in microseconds.
    pub exposure_us: Option<f64>,
    /// Gain as a factor, 1.0 = base.
    pub gain: Option<f64>,
    /// White balance in kelvin.
    pub wb_kelvin: Option<f64>,
    /// Focus as a share of the lens' way, 0 = far, 1 = near.
    #[serde(default)]
    pub focus: Option<f64>,
}

/// One picture of one camera.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What the pixels mean.
    pub kind: StreamKind,
    /// The picture.
    pub data: FrameData,
    /// Counted by the camera.
    pub seq: u64,
    /// Frames the camera is known to have lost just before this one.
    pub lost_before: u32,
    /// Start of exposure.
    pub time: FrameTime,
    /// Settings in force.
    pub exposure: Exposure,
    /// The lens that it was taken through, where the camera knows it. Of depth: the lens that it is aligned to.
    pub intrinsics: Option<Intrinsics>,
    /// Metres of one step of [`PixelFormat::Z16`].
    pub depth_unit_m: Option<f64>,
    /// Name the picture already had, if it came from a file.
    pub file_name: Option<String>,
    /// Whatever else the driver can tell, as text.
    pub meta: BTreeMap<String, String>,
}

/// What one camera gives for one shot.
#[derive(Debug, Clone)]
pub struct FrameSet {
    /// The picture that is judged first; then what belongs to it: depth, a raw file.
    pub frames: Vec<Frame>,
    /// Largest difference of exposure start between the frames.
    pub max_skew: Duration,
    /// Frames thrown away because they were exposed too early.
    pub discarded_stale: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_angle_is_always_within_one_turn() {
        for (deg, want) in [(0.0, 0.0), (360.0, 0.0), (-10.0, 350.0), (725.5, 5.5), (-1e-20, 0.0)] {
            assert_eq!(Angle::new(deg).deg(), want, "{deg}");
        }
        assert_eq!(Angle::new(f64::NAN).deg(), 0.0);
    }

    #[test]
    fn distances_take_the_shorter_way() {
        let (a, b) = (Angle::new(350.0), Angle::new(10.0));
        assert_eq!(a.distance(b), 20.0);
        assert_eq!(a.forward_to(b), 20.0);
        assert_eq!(b.forward_to(a), 340.0);
    }
}
