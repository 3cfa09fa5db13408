//! One frame's bytes in, everything the station decides on out.
//!
//! The examiner owns the handles and buffers that are worth keeping between frames; the work itself is done by
//! plain functions elsewhere, in the order that a reader sees in [`Examiner::examine`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use turnstage_drivers::frame::{Codec, FrameData, PixelFormat};

use crate::cells::{self, Cells, Subject};
use crate::decode::{Decoded, Decoder, Unreadable};
use crate::depth;
use crate::huffman;
use crate::metadata::{ExifSummary, read as exif};
use crate::phash::{self, Signature};
use crate::pyramid::Pyramid;
use crate::qc::{self, Exposure, Finding, Histogram, Sharpness};
use crate::raw::{self, RawCoder};
use crate::spots;
use crate::thumbnail::{SIDES_PX, Source, Thumbnail, Thumbnailer, fit, turned_size};

/// How large a frame may be before it is refused unexamined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputLimits {
    /// Largest file in bytes.
    pub bytes_max: u64,
    /// Largest picture in pixels, by its header. Decoding it takes 3 bytes a pixel at most, and no other picture may
    /// take more: a JPEG in several scans, such as a progressive one, takes 3 bytes (grey), 4.5 (4:2:0) to 9 (4:4:4) a
    /// pixel and may have so many fewer.
    pub pixels_max: u64,
}

impl Default for InputLimits {
    /// 200 MB and 200 megapixels: above every camera of the trade, below what exhausts a small computer.
    fn default() -> Self {
        Self { bytes_max: 200_000_000, pixels_max: 200_000_000 }
    }
}

impl InputLimits {
    /// Most bytes of memory for decoding a picture.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.pixels_max.saturating_mul(3)
    }

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
    /// The picture as 32 x 32 grey cells, to find the angle at which it was taken.
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

/// What is decided on a frame by itself, without what nothing waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Sharpness at three sizes, and blur.
    pub sharpness: Sharpness,
    /// Light.
    pub exposure: Exposure,
    /// Standard deviation of the noise in grey levels.
    pub noise_levels: f64,
    /// What is wrong with the frame.
    pub findings: Vec<Finding>,
}

/// A frame's file, and what is known about it.
#[derive(Debug, Clone)]
pub struct Developed {
    /// The file: a camera's JPEG as it is, with Huffman tables where they were left out; uncompressed pixels as JPEG
    /// of quality 95 in their own subsampling; distances as 16-bit PNG.
    pub bytes: Bytes,
    /// SHA-256 of what the camera gave.
    pub sha256_captured: [u8; 32],
    /// `jpg` or `png`.
    pub extension: &'static str,
    /// Media type of the file.
    pub content_type: &'static str,
    /// What is known about it; a distance picture has no findings.
    pub examined: Examined,
}

/// Why a frame could not be made into a file: one plain clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undeveloped {
    /// Another exposure may be whole.
    #[error("{0}")]
    Corrupt(String),
    /// The camera is set to something that is not handled.
    #[error("{0}")]
    Unsupported(String),
}

/// Examines frames one after the other; keeps its buffers, about twice a frame's luma, in between.
pub struct Examiner {
    limits: InputLimits,
    decoder: Decoder,
    raw: Vec<u8>,
    coder: RawCoder,
    bench: Bench,
}

/// Everything that works on planes.
struct Bench {
    pyramid: Pyramid,
    thumbnailer: Thumbnailer,
}

/// What the planes say by themselves.
struct Measured {
    sharpness: Sharpness,
    exposure: Exposure,
    noise_levels: f64,
    points: Vec<(u32, u32)>,
}

impl Examiner {
    /// An examiner that refuses what is larger than `limits`.
    pub fn new(limits: InputLimits) -> Result<Self, ExaminerError> {
        let problems = limits.check();
        if !problems.is_empty() {
            return Err(ExaminerError::Limits(problems));
        }
        let bench = Bench { pyramid: Pyramid::default(), thumbnailer: Thumbnailer::new()? };
        Ok(Self { limits, decoder: Decoder::new()?, raw: Vec::new(), coder: RawCoder::new()?, bench })
    }

    /// Everything about one JPEG of which nothing is known beforehand.
    pub fn examine(&mut self, bytes: &[u8], limits: &qc::Limits) -> Examined {
        self.examine_expected(bytes, &Expected::default(), limits)
    }

    /// Everything about one JPEG. Blocks for the length of one decode and a third; never panics on foreign bytes.
    pub fn examine_expected(
        &mut self,
        bytes: &[u8],
        expected: &Expected<'_>,
        limits: &qc::Limits,
    ) -> Examined {
        let exif = exif::read(bytes);
        let orientation = exif.as_ref().and_then(|exif| exif.orientation).unwrap_or(1);
        let decoded = self.decoder.decode(bytes, &self.limits);
        let (picture, findings) = self.bench.examine(decoded, orientation, expected, limits);
        Examined { sha256: Sha256::digest(bytes).into(), length: bytes.len() as u64, picture, findings, exif }
    }

    /// What is decided on one JPEG by itself: no hashes, no thumbnails, no comparison with others.
    pub fn judge(&mut self, bytes: &[u8], limits: &qc::Limits) -> Judged {
        let nothing = |findings| Judged {
            sharpness: Sharpness::default(),
            exposure: Exposure::default(),
            noise_levels: 0.0,
            findings,
        };
        match self.decoder.decode(bytes, &self.limits) {
            Ok(decoded) => {
                let mut findings: Vec<Finding> = decoded
                    .damage
                    .as_deref()
                    .and_then(|words| qc::damaged(words, limits))
                    .into_iter()
                    .collect();
                let measured = self.bench.measure(&decoded, 1, None, limits);
                let Measured { sharpness, exposure, noise_levels, .. } = measured;
                findings.extend(qc::judge(&sharpness, &exposure, noise_levels, limits));
                Judged { sharpness, exposure, noise_levels, findings }
            }
            Err(why) => nothing(qc::unreadable(&why, limits).into_iter().collect()),
        }
    }

    /// Makes what a camera gave into a file, and finds out everything about it. Pixels are examined as they came, so
    /// nothing is decoded that was just coded.
    pub fn develop(
        &mut self,
        data: &FrameData,
        expected: &Expected<'_>,
        limits: &qc::Limits,
    ) -> Result<Developed, Undeveloped> {
        match data {
            FrameData::Encoded { codec: Codec::Jpeg, bytes } => {
                let whole = huffman::with_tables(bytes.clone());
                let examined = self.examine_expected(&whole, expected, limits);
                let untouched = whole.as_ptr() == bytes.as_ptr();
                let sha256_captured = if untouched { examined.sha256 } else { Sha256::digest(bytes).into() };
                Ok(Developed { sha256_captured, ..Developed::jpeg(whole, examined) })
            }
            FrameData::Encoded { codec, .. } => {
                Err(Undeveloped::Unsupported(format!("its pictures are {codec:?}, not JPEG; set it to JPEG")))
            }
            FrameData::Pixels { format: PixelFormat::Z16, width, height, stride, bytes } => {
                let png = depth::lossless_png(*width, *height, *stride, bytes);
                let png = png.map_err(|error| Undeveloped::Corrupt(error.to_string()))?;
                let sha256_captured = Sha256::digest(bytes).into();
                Ok(Developed { sha256_captured, ..Developed::depth(png) })
            }
            FrameData::Pixels { format, width, height, stride, bytes } => {
                let size = (*width, *height);
                let decoded = raw::planes(*format, size, *stride, bytes, &mut self.raw, &self.limits);
                let decoded = decoded.map_err(|why| Undeveloped::Corrupt(why.clause()))?;
                let jpeg = self.coder.jpeg(&decoded);
                let jpeg =
                    jpeg.map_err(|error| Undeveloped::Corrupt(format!("coding it failed, {error}")))?;
                let (picture, findings) = self.bench.examine(Ok(decoded), 1, expected, limits);
                let (sha256, length) = (Sha256::digest(&jpeg).into(), jpeg.len() as u64);
                let examined = Examined { sha256, length, picture, findings, exif: None };
                let sha256_captured = Sha256::digest(bytes).into();
                Ok(Developed { sha256_captured, ..Developed::jpeg(jpeg, examined) })
            }
        }
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let bench = self.bench.pyramid.held_bytes() + self.bench.thumbnailer.held_bytes();
        self.decoder.held_bytes() + self.raw.capacity() + bench
    }
}

impl Developed {
    fn jpeg(bytes: Bytes, examined: Examined) -> Self {
        let sha256_captured = examined.sha256;
        Self { bytes, sha256_captured, extension: "jpg", content_type: "image/jpeg", examined }
    }

    fn depth(bytes: Bytes) -> Self {
        let (sha256, length) = (Sha256::digest(&bytes).into(), bytes.len() as u64);
        let examined = Examined { sha256, length, picture: None, findings: Vec::new(), exif: None };
        Self { bytes, sha256_captured: sha256, extension: "png", content_type: "image/png", examined }
    }
}

impl Bench {
    /// The picture, unless it cannot be read, and what is wrong with it.
    fn examine(
        &mut self,
        decoded: Result<Decoded<'_>, Unreadable>,
        orientation: u8,
        expected: &Expected<'_>,
        limits: &qc::Limits,
    ) -> (Option<Picture>, Vec<Finding>) {
        let picture = decoded.and_then(|decoded| {
            let measured = self.measure(&decoded, orientation, expected.subject, limits);
            Ok((self.picture(&decoded, orientation, measured)?, decoded.damage))
        });
        let (picture, damage) = match picture {
            Ok(picture) => picture,
            Err(why) => return (None, qc::unreadable(&why, limits).into_iter().collect()),
        };
        let mut findings: Vec<Finding> =
            damage.and_then(|words| qc::damaged(&words, limits)).into_iter().collect();
        let size = (picture.width, picture.height);
        findings.extend(expected.size.and_then(|asked| qc::size::judge(size, asked, limits)));
        findings.extend(qc::judge(&picture.sharpness, &picture.exposure, picture.noise_levels, limits));
        (Some(picture), findings)
    }

    /// One walk over the luma.
    fn measure(
        &mut self,
        decoded: &Decoded<'_>,
        orientation: u8,
        subject: Option<&Subject>,
        limits: &qc::Limits,
    ) -> Measured {
        let luma = decoded.luma;
        let mut histogram = Histogram::new();
        let (mut sharpness, tiles) = self.pyramid.measure(luma, &mut histogram, limits.needs_tiles());
        let size = (luma.width as f64, luma.height as f64);
        let blur = tiles.blur(|k| cells::counts(subject, orientation, tiles.edges(k, size)));
        sharpness.blur_px = blur.map(|blur| blur.widest_px);
        sharpness.blur_across_px = blur.map(|blur| blur.across_px);
        Measured {
            sharpness,
            exposure: histogram.exposure(),
            noise_levels: tiles.noise_levels(),
            points: spots::find(luma, &tiles),
        }
    }

    /// Thumbnails, and what is made from the smallest of them.
    fn picture(
        &mut self,
        decoded: &Decoded<'_>,
        orientation: u8,
        measured: Measured,
    ) -> Result<Picture, Unreadable> {
        let luma = decoded.luma;
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
        Ok(Picture {
            width: width as u32,
            height: height as u32,
            orientation,
            phash,
            sharpness: measured.sharpness,
            exposure: measured.exposure,
            noise_levels: measured.noise_levels,
            thumbnails,
            signature,
            cells: Cells::new(self.thumbnailer.smallest()),
            points: measured.points,
        })
    }
}

#[cfg(test)]
mod photographs;
#[cfg(test)]
mod tests;
