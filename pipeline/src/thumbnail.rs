//! Thumbnails: 150, 600 and 1200 px on the largest side, turned the way a person sees the picture.
//!
//! They are resized as planes in a cascade (each from the next larger one) and encoded from planes, so no
//! colour is ever converted. A picture is turned once, when it is already small. A smaller picture gives a
//! smaller thumbnail, never an enlarged one.

use bytes::Bytes;
use fast_image_resize::images::{CroppedImageMut, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::Serialize;
use turbojpeg::{Compressor, Subsamp, YuvPlanesImage};

use crate::plane::Plane;

/// Largest sides of the thumbnails in pixels, smallest first.
pub const SIDES_PX: [u32; 3] = [150, 600, 1200];

const QUALITY: i32 = 85;
/// Chroma of a grey picture.
const NEUTRAL: u8 = 128;

/// One thumbnail: JPEG, 4:2:0, quality 85, without EXIF, already turned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thumbnail {
    /// One of [`SIDES_PX`].
    pub side_max: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// The file's bytes.
    #[serde(skip)]
    pub jpeg: Bytes,
}

/// Why there are no thumbnails, which only a broken installation or a lack of memory can cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThumbnailError {
    #[error("resizing: {0}")]
    Resize(#[from] fast_image_resize::ResizeError),
    #[error("resizing: {0}")]
    Buffer(#[from] fast_image_resize::ImageBufferError),
    #[error("resizing: {0}")]
    Crop(#[from] fast_image_resize::CropBoxError),
    #[error("encoding: {0}")]
    Encode(#[from] turbojpeg::Error),
}

/// What thumbnails are made from.
pub(crate) struct Source<'a> {
    /// Size of the stored picture.
    pub width: usize,
    pub height: usize,
    /// Its luma, or a smaller version of it that is still larger than the largest thumbnail.
    pub luma: Plane<'a>,
    /// Blue and red difference; `None` in a grey picture.
    pub chroma: Option<[Plane<'a>; 2]>,
    /// Luma samples of the stored picture per chroma sample, across and down.
    pub subsampling: (usize, usize),
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
}

/// Width and height within `side_max`, aspect ratio kept, at least 1, never enlarged.
pub(crate) fn fit(width: usize, height: usize, side_max: u32) -> (usize, usize) {
    let (side, side_max) = (width.max(height), side_max as usize);
    if side <= side_max {
        return (width, height);
    }
    let scaled = |length: usize| ((length * side_max + side / 2) / side).max(1);
    (scaled(width), scaled(height))
}

/// Makes thumbnails; holds its handles and buffers between frames.
pub(crate) struct Thumbnailer {
    resizer: Resizer,
    compressor: Compressor,
    current: Small,
    next: Small,
    jpeg: Vec<u8>,
}

impl Thumbnailer {
    pub fn new() -> turbojpeg::Result<Self> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(QUALITY)?;
        Ok(Self {
            resizer: Resizer::new(),
            compressor,
            current: Small::default(),
            next: Small::default(),
            jpeg: Vec::new(),
        })
    }

    /// The thumbnails, smallest first. Afterwards [`smallest`](Self::smallest) is of this picture.
    pub fn make(&mut self, source: &Source<'_>) -> Result<Vec<Thumbnail>, ThumbnailError> {
        let [.., largest] = SIDES_PX;
        self.shrink_source(source, largest)?;
        let (width, height) = turned_size(source.width, source.height, source.orientation);
        let mut thumbnails = vec![self.encode(largest)?];
        for &side_max in SIDES_PX.iter().rev().skip(1) {
            let (width, height) = fit(width, height, side_max);
            self.next.resize(width, height);
            let from = self.current.planes();
            for (plane, mut to) in from.into_iter().zip(self.next.parts()) {
                shrink(&mut self.resizer, plane, (plane.width as f64, plane.height as f64), &mut to)?;
            }
            std::mem::swap(&mut self.current, &mut self.next);
            thumbnails.push(self.encode(side_max)?);
        }
        thumbnails.reverse();
        Ok(thumbnails)
    }

    /// Luma, blue and red difference of the smallest thumbnail made last, before it was encoded.
    pub fn smallest(&self) -> [Plane<'_>; 3] {
        self.current.planes()
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let small = |small: &Small| small.planes.iter().map(Vec::capacity).sum::<usize>();
        self.resizer.size_of_internal_buffers()
            + small(&self.current)
            + small(&self.next)
            + self.jpeg.capacity()
    }

    /// Fills `current` with the largest thumbnail, turned.
    fn shrink_source(&mut self, source: &Source<'_>, side_max: u32) -> Result<(), ThumbnailError> {
        let (width, height) = fit(source.width, source.height, side_max);
        self.current.resize(width, height);
        let [mut luma, blue, red] = self.current.parts();
        let extent = (source.luma.width as f64, source.luma.height as f64);
        shrink(&mut self.resizer, source.luma, extent, &mut luma)?;
        match source.chroma {
            None => {
                blue.samples.fill(NEUTRAL);
                red.samples.fill(NEUTRAL);
            }
            Some(chroma) => {
                // Where a side is odd, the last chroma sample reaches beyond the picture.
                let (across, down) = source.subsampling;
                let extent = (source.width as f64 / across as f64, source.height as f64 / down as f64);
                for (plane, mut to) in chroma.into_iter().zip([blue, red]) {
                    shrink(&mut self.resizer, plane, extent, &mut to)?;
                }
            }
        }
        if source.orientation > 1 {
            turn(&self.current, source.orientation, &mut self.next);
            std::mem::swap(&mut self.current, &mut self.next);
        }
        Ok(())
    }

    fn encode(&mut self, side_max: u32) -> Result<Thumbnail, ThumbnailError> {
        self.current.pad();
        let (width, height) = (self.current.width, self.current.height);
        let needed = turbojpeg::compressed_buf_len(width, height, Subsamp::Sub2x2)?;
        if self.jpeg.len() < needed {
            self.jpeg.resize(needed, 0);
        }
        let [luma, blue, red] = &self.current.planes;
        let image = YuvPlanesImage {
            y_plane: &luma[..],
            u_plane: &blue[..],
            v_plane: &red[..],
            width,
            height,
            y_stride: width.next_multiple_of(2),
            u_stride: width.div_ceil(2),
            v_stride: width.div_ceil(2),
            subsamp: Subsamp::Sub2x2,
        };
        let len = self.compressor.compress_yuv_planes_to_slice(&image, &mut self.jpeg)?;
        Ok(Thumbnail {
            side_max,
            width: width as u32,
            height: height as u32,
            jpeg: Bytes::copy_from_slice(&self.jpeg[..len]),
        })
    }
}

/// A 4:2:0 picture: luma with both sides padded to even, chroma half as large.
#[derive(Default)]
struct Small {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

/// One plane to write to: `stride * rows` samples of which the first `width * height` are the picture.
struct Part<'a> {
    samples: &'a mut [u8],
    stride: usize,
    rows: usize,
    width: usize,
    height: usize,
}

impl Small {
    fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        let chroma_len = width.div_ceil(2) * height.div_ceil(2);
        let [luma, blue, red] = &mut self.planes;
        luma.resize(width.next_multiple_of(2) * height.next_multiple_of(2), 0);
        blue.resize(chroma_len, 0);
        red.resize(chroma_len, 0);
    }

    fn parts(&mut self) -> [Part<'_>; 3] {
        let (width, height) = (self.width, self.height);
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let [luma, blue, red] = &mut self.planes;
        let chroma = |samples| Part {
            samples,
            stride: chroma_width,
            rows: chroma_height,
            width: chroma_width,
            height: chroma_height,
        };
        [
            Part { samples: luma, stride: 2 * chroma_width, rows: 2 * chroma_height, width, height },
            chroma(blue),
            chroma(red),
        ]
    }

    fn planes(&self) -> [Plane<'_>; 3] {
        let [luma, blue, red] = &self.planes;
        let (width, height) = (self.width, self.height);
        let chroma = |samples| Plane::tight(samples, width.div_ceil(2), height.div_ceil(2));
        let luma = Plane { samples: luma, stride: width.next_multiple_of(2), width, height };
        [luma, chroma(blue), chroma(red)]
    }

    /// Repeats the last luma column and row into the padding, which the encoder reads.
    fn pad(&mut self) {
        let stride = self.width.next_multiple_of(2);
        let luma = &mut self.planes[0];
        if stride > self.width {
            for row in luma.chunks_exact_mut(stride) {
                row[self.width] = row[self.width - 1];
            }
        }
        if self.height % 2 == 1 {
            let begin = (self.height - 1) * stride;
            luma.copy_within(begin..begin + stride, begin + stride);
        }
    }
}

/// Resizes the first `extent` samples (across, down) of `from` into `to`.
fn shrink(
    resizer: &mut Resizer,
    from: Plane<'_>,
    extent: (f64, f64),
    to: &mut Part<'_>,
) -> Result<(), ThumbnailError> {
    let padded = from.stride;
    let rows = from.samples.len() / padded;
    let source = ImageRef::new(padded as u32, rows as u32, from.samples, PixelType::U8)?;
    let (width, height) = (to.width as u32, to.height as u32);
    let mut image = Image::from_slice_u8(to.stride as u32, to.rows as u32, to.samples, PixelType::U8)?;
    let mut target = CroppedImageMut::new(&mut image, 0, 0, width, height)?;
    let (across, down) = (extent.0.min(from.width as f64), extent.1.min(from.height as f64));
    // Plain means are as good as weighted ones when many samples become one, and take fewer of them.
    let many = across >= 2.0 * f64::from(width) && down >= 2.0 * f64::from(height);
    let filter = if many { FilterType::Box } else { FilterType::Bilinear };
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(0.0, 0.0, across, down);
    resizer.resize(&source, &mut target, &options)?;
    Ok(())
}

/// Size of a stored picture as a person sees it.
pub(crate) fn turned_size(width: usize, height: usize, orientation: u8) -> (usize, usize) {
    if orientation >= 5 { (height, width) } else { (width, height) }
}

/// Turns and mirrors by EXIF orientation 2 to 8.
fn turn(from: &Small, orientation: u8, to: &mut Small) {
    let (width, height) = turned_size(from.width, from.height, orientation);
    to.resize(width, height);
    for (plane, part) in from.planes().into_iter().zip(to.parts()) {
        let (right, bottom) = (plane.width - 1, plane.height - 1);
        for y in 0..part.height {
            let row = &mut part.samples[y * part.stride..][..part.width];
            for (x, sample) in row.iter_mut().enumerate() {
                // Column and row in the stored picture; EXIF 2.3, 4.6.4 A.
                let (column, line) = match orientation {
                    2 => (right - x, y),
                    3 => (right - x, bottom - y),
                    4 => (x, bottom - y),
                    5 => (y, x),
                    6 => (y, bottom - x),
                    7 => (right - y, bottom - x),
                    8 => (right - y, x),
                    _ => (x, y),
                };
                *sample = plane.samples[line * plane.stride + column];
            }
        }
    }
}

#[cfg(test)]
mod tests;
