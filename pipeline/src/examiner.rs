//! One frame's bytes in, everything the station decides on out.
//!
//! The examiner owns the handles and buffers that are worth keeping between frames; the work itself is done by
//! plain functions elsewhere, in the order that a reader sees in [`Examiner::examine`].

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cells::{self, Cells, Subject};
use crate::decode::{Decoder, Unreadable};
use crate::metadata::{ExifSummary, read as exif};
use crate::phash::{self, Signature};
use crate::pyramid::Pyramid;
use crate::qc::{self, Exposure, Finding, Histogram, Sharpness};
use crate::spots;
use crate::thumbnail::{SIDES_PX, Source, Thumbnail, Thumbnailer, fit, turned_size};

/// How large a frame may be before it is refused unexamined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputLimits {
    /// Largest file in bytes.
    pub bytes_max: u64,
    /// Largest picture in pixels, by its header; bounds memory to 3 bytes a pixel, 9 for a progressive JPEG.
    pub pixels_max: u64,
}

impl Default for InputLimits {
    /// 200 MB and 200 megapixels: above every camera of the trade, below what exhausts a small computer.
    fn default() -> Self {
        Self { bytes_max: 200_000_000, pixels_max: 200_000_000 }
    }
}

impl InputLimits {
    /// Every impossible value with its key; empty if all is well.
    pub fn check(&self) -> Vec<String> {
        [("bytes_max", self.bytes_max), ("pixels_max", self.pixels_max)]
            .into_iter()
            .filter(|&(_, value)| value == 0)
            .map(|(key, _)| format!("{key} = 0: every frame would be refused; must be at least 1"))
            .collect()
    }
}

/// Why there is no examiner.
#[derive(Debug, thiserror::Error)]
pub enum ExaminerError {
    /// The limits make no sense; correct the configuration.
    #[error("impossible input limits: {}", .0.join("; "))]
    Limits(Vec<String>),
    /// The JPEG library did not start: no memory, or a broken installation.
    #[error("starting the JPEG library failed")]
    Codec(#[from] turbojpeg::Error),
}

/// Everything known about one frame's bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examined {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Length of the bytes.
    pub length: u64,
    /// What was measured; `None` when nothing could be, and then a finding says why. A damaged frame that can
    /// partly be seen has both a picture and a finding.
    pub picture: Option<Picture>,
    /// What is wrong with the frame by itself; empty for a good one. What needs other frames is [`qc::Turn`]'s to find.
    pub findings: Vec<Finding>,
    /// What the camera wrote into the file.
    pub exif: Option<ExifSummary>,
}

/// What was measured on a decoded picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Picture {
    /// Pixels across, as a person sees it.
    pub width: u32,
    /// Pixels down, as a person sees it.
    pub height: u32,
    /// EXIF orientation that was applied to size, thumbnails, hash and signature, 1 to 8.
    pub orientation: u8,
    /// Perceptual hash; its definition is frozen. See [`crate::phash_to_hex`].
    pub phash: u64,
    /// Sharpness at three sizes, and blur.
    pub sharpness: Sharpness,
    /// Light.
    pub exposure: Exposure,
    /// Standard deviation of the noise in grey levels, where the picture is smooth; 0 where it was not measured.
    pub noise_levels: f64,
    /// One for each of [`SIDES_PX`], smallest first.
    pub thumbnails: Vec<Thumbnail>,
    /// The picture as 32 x 32 grey cells, to tell whether something moved.
    #[serde(skip)]
    pub signature: Signature,
    /// What other frames of the camera are compared by.
    #[serde(skip)]
    pub cells: Cells,
    /// Places of single points that stand out of a smooth place, in pixels of the stored picture.
    #[serde(skip)]
    pub(crate) points: Vec<(u32, u32)>,
}

/// What is known about a frame before it is examined.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// Where its subject is; sharpness is judged there. Without, in the middle of the picture.
    pub subject: Option<&'a Subject>,
    /// Width and height that the camera was set to.
    pub size: Option<(u32, u32)>,
}

/// Examines frames one after the other; keeps its buffers, about twice a frame's luma, in between.
pub struct Examiner {
    limits: InputLimits,
    decoder: Decoder,
    pyramid: Pyramid,
    thumbnailer: Thumbnailer,
}

impl Examiner {
    /// An examiner that refuses what is larger than `limits`.
    pub fn new(limits: InputLimits) -> Result<Self, ExaminerError> {
        let problems = limits.check();
        if !problems.is_empty() {
            return Err(ExaminerError::Limits(problems));
        }
        Ok(Self {
            limits,
            decoder: Decoder::new()?,
            pyramid: Pyramid::default(),
            thumbnailer: Thumbnailer::new()?,
        })
    }

    /// Everything about one frame of which nothing is known beforehand.
    pub fn examine(&mut self, bytes: &[u8], limits: &qc::Limits) -> Examined {
        self.examine_expected(bytes, &Expected::default(), limits)
    }

    /// Everything about one frame. Blocks for the length of one decode and a quarter; never panics on foreign
    /// bytes.
    pub fn examine_expected(
        &mut self,
        bytes: &[u8],
        expected: &Expected<'_>,
        limits: &qc::Limits,
    ) -> Examined {
        let exif = exif::read(bytes);
        let orientation = exif.as_ref().and_then(|exif| exif.orientation).unwrap_or(1);
        let (picture, findings) = match self.measure(bytes, orientation, expected.subject, limits) {
            Ok((picture, damage)) => {
                let mut findings: Vec<Finding> =
                    damage.and_then(|words| qc::damaged(&words, limits)).into_iter().collect();
                let size = (picture.width, picture.height);
                findings.extend(expected.size.and_then(|asked| qc::size::judge(size, asked, limits)));
                findings.extend(qc::judge(&picture, limits));
                (Some(picture), findings)
            }
            Err(why) => (None, qc::unreadable(&why, limits).into_iter().collect()),
        };
        Examined { sha256: Sha256::digest(bytes).into(), length: bytes.len() as u64, picture, findings, exif }
    }

    /// The measured picture, and the decoder's warning if samples are missing.
    fn measure(
        &mut self,
        bytes: &[u8],
        orientation: u8,
        subject: Option<&Subject>,
        limits: &qc::Limits,
    ) -> Result<(Picture, Option<String>), Unreadable> {
        let decoded = self.decoder.decode(bytes, &self.limits)?;
        let luma = decoded.luma;
        let mut histogram = Histogram::new();
        let (mut sharpness, tiles) = self.pyramid.measure(luma, &mut histogram, limits.needs_tiles());
        let size = (luma.width as f64, luma.height as f64);
        let blur = tiles.blur(|k| cells::counts(subject, orientation, tiles.edges(k, size)));
        sharpness.blur_px = blur.map(|blur| blur.widest_px);
        sharpness.blur_least_px = blur.map(|blur| blur.least_px);
        let [.., side_max] = SIDES_PX;
        let (width, height) = fit(luma.width, luma.height, side_max);
        let source = Source {
            width: luma.width,
            height: luma.height,
            luma: self.pyramid.at_least(luma, width, height),
            chroma: decoded.chroma,
            subsampling: decoded.subsampling,
            orientation,
        };
        let thumbnails = self
            .thumbnailer
            .make(&source)
            .map_err(|error| Unreadable::Corrupt(format!("no thumbnail could be made, {error}")))?;
        let (phash, signature) = phash::measure(self.thumbnailer.smallest()[0]);
        let (width, height) = turned_size(luma.width, luma.height, orientation);
        let picture = Picture {
            width: width as u32,
            height: height as u32,
            orientation,
            phash,
            sharpness,
            exposure: histogram.exposure(),
            noise_levels: tiles.noise_levels(),
            thumbnails,
            signature,
            cells: Cells::new(self.thumbnailer.smallest()),
            points: spots::find(luma, &tiles),
        };
        Ok((picture, decoded.damage))
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.pyramid.held_bytes() + self.thumbnailer.held_bytes()
    }
}

#[cfg(test)]
mod photographs;
#[cfg(test)]
mod tests;
