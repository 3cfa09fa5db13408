//! From a filled buffer to a picture: whole or not, and how bright.

use bytes::Bytes;
use turbojpeg::{Decompressor, Image, PixelFormat as Layout, ScalingFactor};

use super::kernel::{Format, FourCc};
use super::keys::checked_size;
use crate::frame::{Codec, FrameData, PixelFormat};

/// How the bytes of a buffer are a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A JPEG in each buffer.
    Jpeg,
    /// Rows of pixels.
    Rows {
        /// Layout.
        format: PixelFormat,
        /// Width and height in pixels.
        size: (u32, u32),
        /// Bytes from row to row.
        stride: u32,
        /// Bytes of a picture.
        bytes: usize,
        /// Luma goes from 16 to 235 and must be spread.
        limited: bool,
    },
}

impl Shape {
    /// What buffers of a format hold, or why they cannot be used.
    pub fn of(format: &Format) -> Result<Shape, String> {
        checked_size(format.size)?;
        let (width, height) = format.size;
        if format.interlaced {
            return Err("its frames are interlaced: two halves of different moments".to_owned());
        }
        let (layout, row, rows) = match &format.fourcc {
            b"MJPG" => return Ok(Shape::Jpeg),
            b"YUYV" if width % 2 == 0 => (PixelFormat::Yuyv, u64::from(width) * 2, u64::from(height)),
            b"NV12" if width % 2 == 0 && height % 2 == 0 => {
                (PixelFormat::Nv12, u64::from(width), u64::from(height) / 2 * 3)
            }
            other => return Err(format!("{} of {width}x{height} is not taken", letters(other))),
        };
        let stride = if format.stride == 0 { row } else { u64::from(format.stride) };
        let bytes = usize::try_from(stride * rows).ok().filter(|_| stride >= row && stride <= row * 16);
        let bytes = bytes.ok_or_else(|| format!("rows of {stride} bytes for {width} pixels"))?;
        let stride = u32::try_from(stride).map_err(|_| format!("rows of {stride} bytes"))?;
        Ok(Shape::Rows { format: layout, size: format.size, stride, bytes, limited: !format.full_range })
    }

    /// The picture in `bytes`, or what is damaged about it.
    pub fn picture(&self, mut bytes: Vec<u8>) -> Result<FrameData, String> {
        match *self {
            Shape::Jpeg => {
                whole_jpeg(&bytes)?;
                Ok(FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::from(bytes) })
            }
            Shape::Rows { format, size: (width, height), stride, bytes: want, limited } => {
                if bytes.len() < want {
                    return Err(format!("{} bytes of {want} arrived", bytes.len()));
                }
                bytes.truncate(want);
                if limited {
                    spread(&mut bytes, format, stride as usize * height as usize);
                }
                Ok(FrameData::Pixels { format, width, height, stride, bytes: Bytes::from(bytes) })
            }
        }
    }
}

/// Four letters, or what stands for them.
pub fn letters(fourcc: &FourCc) -> String {
    fourcc.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }).collect()
}

/// Begins like a JPEG and has its end; cameras fill up with zeroes after it.
fn whole_jpeg(bytes: &[u8]) -> Result<(), String> {
    const START: [u8; 3] = [0xff, 0xd8, 0xff];
    const END: [u8; 2] = [0xff, 0xd9];
    if bytes.is_empty() {
        return Err("an empty frame".to_owned());
    }
    if !bytes.starts_with(&START) {
        return Err(format!("{} bytes that do not begin like a JPEG", bytes.len()));
    }
    let filled = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let tail = &bytes[filled.saturating_sub(64)..filled];
    if tail.windows(2).any(|pair| pair == END) {
        Ok(())
    } else {
        Err(format!("a JPEG of {} bytes without its end", bytes.len()))
    }
}

/// Spreads luma of 16 to 235 and colour differences of 16 to 240 over 0 to 255, as a [`FrameData`] has them.
fn spread(bytes: &mut [u8], format: PixelFormat, luma_bytes: usize) {
    let table = |low: f64, high: f64| -> [u8; 256] {
        // A cast of a float stays within 0 to 255.
        std::array::from_fn(|value| ((value as f64 - low) * 255.0 / (high - low)).round() as u8)
    };
    let luma = table(16.0, 235.0);
    // The middle, 128, stays where it is.
    let colour: [u8; 256] =
        std::array::from_fn(|value| ((value as f64 - 128.0) * 255.0 / 224.0 + 128.0).round() as u8);
    match format {
        PixelFormat::Yuyv => {
            for pair in bytes.chunks_exact_mut(2) {
                pair[0] = luma[usize::from(pair[0])];
                pair[1] = colour[usize::from(pair[1])];
            }
        }
        _ => {
            let (first, second) = bytes.split_at_mut(luma_bytes.min(bytes.len()));
            first.iter_mut().for_each(|byte| *byte = luma[usize::from(*byte)]);
            second.iter_mut().for_each(|byte| *byte = colour[usize::from(*byte)]);
        }
    }
}

/// A picture as a few coloured fields: enough to see whether light, colour and scene stand still.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance(Vec<f64>);

/// Fields across and down.
const FIELDS: (usize, usize) = (8, 6);

impl Glance {
    /// Looks at a picture; `None` if it cannot be read.
    pub fn at(data: &FrameData) -> Option<Glance> {
        match data {
            FrameData::Encoded { bytes, .. } => {
                let (rgb, width, height) = small(bytes)?;
                Some(Self::of(width, height, 3, |x, y, part| rgb[(y * width + x) * 3 + part]))
            }
            FrameData::Pixels { format, width, height, stride, bytes } => {
                let (width, height, stride) = (*width as usize, *height as usize, *stride as usize);
                match format {
                    PixelFormat::Yuyv => Some(Self::of(width / 2, height, 4, |x, y, part| {
                        bytes.get(y * stride + x * 4 + part).copied().unwrap_or_default()
                    })),
                    PixelFormat::Nv12 => Some(Self::of(width / 2, height / 2, 3, |x, y, part| {
                        let colour = (height + y) * stride + x * 2 + part.saturating_sub(1);
                        let at = if part == 0 { y * 2 * stride + x * 2 } else { colour };
                        bytes.get(at).copied().unwrap_or_default()
                    })),
                    _ => None,
                }
            }
        }
    }

    /// Means of fields of a picture of `parts` values a point.
    fn of(width: usize, height: usize, parts: usize, value: impl Fn(usize, usize, usize) -> u8) -> Glance {
        let field = |index: usize| {
            let (part, place) = (index % parts, index / parts);
            let (column, row) = (place % FIELDS.0, place / FIELDS.0);
            let columns = column * width / FIELDS.0..(column + 1) * width / FIELDS.0;
            let rows = row * height / FIELDS.1..(row + 1) * height / FIELDS.1;
            // Every fourth row and point is enough to see light change.
            let step = if width > 160 { 4 } else { 1 };
            let (mut sum, mut count) = (0_u64, 0_u64);
            for y in rows.step_by(step) {
                for x in columns.clone().step_by(step) {
                    sum += u64::from(value(x, y, part));
                    count += 1;
                }
            }
            sum as f64 / count.max(1) as f64
        };
        Glance((0..parts * FIELDS.0 * FIELDS.1).map(field).collect())
    }

    /// Mean difference of two pictures as a share of full scale, 0 to 1; 1 if they cannot be compared.
    pub fn difference(&self, other: &Glance) -> f64 {
        if self.0.len() != other.0.len() || self.0.is_empty() {
            return 1.0;
        }
        let sum: f64 = self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs()).sum();
        sum / self.0.len() as f64 / 255.0
    }
}

/// An eighth of a JPEG in width and height, as red, green and blue.
fn small(jpeg: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let mut decoder = Decompressor::new().ok()?;
    let header = decoder.read_header(jpeg).ok()?;
    let side = |pixels| u32::try_from(pixels).ok();
    checked_size((side(header.width)?, side(header.height)?)).ok()?;
    decoder.set_scaling_factor(ScalingFactor::ONE_EIGHTH).ok()?;
    let scaled = header.scaled(ScalingFactor::ONE_EIGHTH);
    let (width, height) = (scaled.width, scaled.height);
    let mut pixels = vec![0; width * height * 3];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch: width * 3, height, format: Layout::RGB };
    decoder.decompress(jpeg, image).ok()?;
    Some((pixels, width, height))
}

#[cfg(test)]
mod tests;
