//! Uncompressed frames: from rows as a camera delivers them to planes, and from planes to a JPEG file.
//!
//! The planes are those a JPEG of the picture would give, so everything that measures or shrinks a picture works on
//! both. Colour is ITU-R BT.601 over the full range of 0 to 255 throughout (ITU-T T.871).

use bytes::Bytes;
use turbojpeg::{Compressor, Image, Subsamp, YuvPlanesImage};
use turnstage_drivers::frame::PixelFormat;

use crate::decode::{Decoded, Unreadable, resize};
use crate::examiner::InputLimits;
use crate::plane::Plane;

/// High: of this picture there is no other file.
const QUALITY: i32 = 95;
/// libjpeg's limit, a little below what a JPEG could have (`jmorecfg.h`, `JPEG_MAX_DIMENSION`).
const SIDE_MAX: usize = 65_500;

/// The planes of one uncompressed picture, valid as long as its bytes and `buffer`.
///
/// `size` is in pixels across and down, `stride` in bytes from one row to the next, `bytes` exactly what
/// [`turnstage_drivers::frame::FrameData::Pixels`] says. Luma is borrowed from `bytes` where it already lies there as
/// a plane (grey, NV12), everything else is taken apart into `buffer`, which grows to 2 bytes a pixel at most. YUYV
/// gives chroma at half the width, NV12 and RGB at half of both sides, where RGB has the mean of each two by two
/// pixels.
///
/// # Errors
///
/// More bytes or pixels than `limits` allow; [`Unreadable::Corrupt`] with what is wrong if size, stride and length do
/// not make a picture of that format; [`Unreadable::Format`] for distances, which are no picture to measure.
pub(crate) fn planes<'a>(
    format: PixelFormat,
    size: (u32, u32),
    stride: u32,
    bytes: &'a [u8],
    buffer: &'a mut Vec<u8>,
    limits: &InputLimits,
) -> Result<Decoded<'a>, Unreadable> {
    let length = bytes.len() as u64;
    if length > limits.bytes_max {
        return Err(Unreadable::Bytes { length, max: limits.bytes_max });
    }
    let pixels = u64::from(size.0) * u64::from(size.1);
    if pixels > limits.pixels_max {
        return Err(Unreadable::Pixels { pixels, max: limits.pixels_max });
    }
    check_rows(format, size, stride, bytes.len()).map_err(Unreadable::Corrupt)?;
    let rows = Rows { bytes, stride: stride as usize, width: size.0 as usize, height: size.1 as usize };
    match format {
        PixelFormat::Grey8 => {
            Ok(Decoded { luma: rows.luma(), chroma: None, subsampling: (1, 1), damage: None })
        }
        PixelFormat::Nv12 => rows.nv12(buffer),
        PixelFormat::Yuyv => rows.yuyv(buffer),
        PixelFormat::Rgb8 => rows.rgb(buffer),
        PixelFormat::Z16 => Err(Unreadable::Format("a depth picture".into())),
    }
}

/// What is wrong if `len` bytes in rows of `stride` are not a picture of `size`, as a clause.
pub(crate) fn check_rows(
    format: PixelFormat,
    (width, height): (u32, u32),
    stride: u32,
    len: usize,
) -> Result<(), String> {
    let (what, pixel_bytes, even) = match format {
        PixelFormat::Grey8 => ("a grey picture", 1, (false, false)),
        PixelFormat::Rgb8 => ("an RGB picture", 3, (false, false)),
        PixelFormat::Yuyv => ("a YUYV picture", 2, (true, false)),
        PixelFormat::Nv12 => ("an NV12 picture", 1, (true, true)),
        PixelFormat::Z16 => ("a depth picture", 2, (false, false)),
    };
    if width == 0 || height == 0 {
        return Err(format!("{what} of {width} by {height} pixels is empty"));
    }
    if even.0 && width % 2 == 1 || even.1 && height % 2 == 1 {
        let which = if even.1 { "both sides" } else { "the width" };
        return Err(format!("{which} of {what} must be even, not {width} by {height} pixels"));
    }
    let row = u64::from(width) * pixel_bytes;
    if u64::from(stride) < row {
        return Err(format!(
            "{what} that is {width} pixels wide has at least {row} bytes a row, not {stride}"
        ));
    }
    let rows = u64::from(height) + if format == PixelFormat::Nv12 { u64::from(height / 2) } else { 0 };
    let needed = rows.saturating_mul(u64::from(stride));
    if needed != len as u64 {
        return Err(format!(
            "{what} of {width} by {height} pixels with {stride} bytes a row has {needed} bytes, not {len}"
        ));
    }
    Ok(())
}

/// Rows whose format, size, stride and length fit each other.
struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl<'a> Rows<'a> {
    /// The first plane where it is luma already.
    fn luma(&self) -> Plane<'a> {
        let samples = &self.bytes[..self.height * self.stride];
        Plane { samples, stride: self.stride, width: self.width, height: self.height }
    }

    fn nv12(self, buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, Unreadable> {
        let (width, height) = (self.width / 2, self.height / 2);
        resize(buffer, 2 * width * height)?;
        let (blue, red) = buffer.split_at_mut(width * height);
        let pairs = self.bytes[self.height * self.stride..].chunks_exact(self.stride);
        for ((row, blue), red) in pairs.zip(blue.chunks_exact_mut(width)).zip(red.chunks_exact_mut(width)) {
            let (pairs, _) = row[..self.width].as_chunks::<2>();
            for (([b, r], blue), red) in pairs.iter().zip(blue).zip(red) {
                (*blue, *red) = (*b, *r);
            }
        }
        let chroma = Some([Plane::tight(blue, width, height), Plane::tight(red, width, height)]);
        Ok(Decoded { luma: self.luma(), chroma, subsampling: (2, 2), damage: None })
    }

    fn yuyv(self, buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, Unreadable> {
        let (width, half, height) = (self.width, self.width / 2, self.height);
        resize(buffer, 2 * width * height)?;
        let (luma, chroma) = buffer.split_at_mut(width * height);
        let (blue, red) = chroma.split_at_mut(half * height);
        let out =
            luma.chunks_exact_mut(width).zip(blue.chunks_exact_mut(half).zip(red.chunks_exact_mut(half)));
        for (row, (luma, (blue, red))) in self.bytes.chunks_exact(self.stride).zip(out) {
            let row = &row[..2 * width];
            for ([y, _], luma) in row.as_chunks::<2>().0.iter().zip(luma) {
                *luma = *y;
            }
            for (([_, b, _, r], blue), red) in row.as_chunks::<4>().0.iter().zip(blue).zip(red) {
                (*blue, *red) = (*b, *r);
            }
        }
        let chroma = Some([Plane::tight(blue, half, height), Plane::tight(red, half, height)]);
        Ok(Decoded { luma: Plane::tight(luma, width, height), chroma, subsampling: (2, 1), damage: None })
    }

    fn rgb(self, buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, Unreadable> {
        let (width, height) = (self.width, self.height);
        let (half, halves) = (width.div_ceil(2), height.div_ceil(2));
        resize(buffer, width * height + 2 * half * halves)?;
        let (luma, chroma) = buffer.split_at_mut(width * height);
        let (blue, red) = chroma.split_at_mut(half * halves);
        let rows = || self.bytes.chunks_exact(self.stride).map(|row| row[..3 * width].as_chunks().0);
        for (row, luma) in rows().zip(luma.chunks_exact_mut(width)) {
            for (pixel, luma) in row.iter().zip(luma) {
                *luma = ((weighed(LUMA, pixel.map(i32::from)) + (1 << 15)) >> 16) as u8;
            }
        }
        // The last row stands for the one below it that an odd height lacks, as does the last column.
        let upper = rows().step_by(2);
        let lower = rows().skip(1).step_by(2).chain(rows().next_back());
        let out = blue.chunks_exact_mut(half).zip(red.chunks_exact_mut(half));
        for ((upper, lower), (blue, red)) in upper.zip(lower).zip(out) {
            mean_chroma([upper, lower], blue, red);
        }
        let chroma = Some([Plane::tight(blue, half, halves), Plane::tight(red, half, halves)]);
        Ok(Decoded { luma: Plane::tight(luma, width, height), chroma, subsampling: (2, 2), damage: None })
    }
}

/// Weights of red, green and blue in 65 536ths; ITU-T T.871, 7.
const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
const BLUE: [i32; 3] = [-11_058, -21_710, 32_768];
const RED: [i32; 3] = [32_768, -27_439, -5_329];

fn weighed([r, g, b]: [i32; 3], pixel: [i32; 3]) -> i32 {
    r * pixel[0] + g * pixel[1] + b * pixel[2]
}

/// One sample of chroma from the sums of red, green and blue over four pixels.
fn chroma(weights: [i32; 3], four: [i32; 3]) -> u8 {
    // Full blue and full red would round up to 256.
    ((weighed(weights, four) + (128 << 18) + (1 << 17)) >> 18).min(255) as u8
}

/// Chroma of two rows, one sample for two by two pixels.
fn mean_chroma([upper, lower]: [&[[u8; 3]]; 2], blue: &mut [u8], red: &mut [u8]) {
    let sum = |a: [[u8; 3]; 2], b: [[u8; 3]; 2]| {
        std::array::from_fn(|k| {
            i32::from(a[0][k]) + i32::from(a[1][k]) + i32::from(b[0][k]) + i32::from(b[1][k])
        })
    };
    let ((above, above_last), (below, below_last)) = (upper.as_chunks::<2>(), lower.as_chunks::<2>());
    for (((a, b), blue), red) in above.iter().zip(below).zip(&mut *blue).zip(&mut *red) {
        let four = sum(*a, *b);
        (*blue, *red) = (chroma(BLUE, four), chroma(RED, four));
    }
    if let ([a], [b], Some(blue), Some(red)) = (above_last, below_last, blue.last_mut(), red.last_mut()) {
        let four = sum([*a; 2], [*b; 2]);
        (*blue, *red) = (chroma(BLUE, four), chroma(RED, four));
    }
}

/// Codes planes as JPEG files; holds its handle and its buffer between frames.
pub(crate) struct RawCoder {
    compressor: Compressor,
    file: Vec<u8>,
}

impl RawCoder {
    /// A coder whose buffer is empty yet; fails on a broken installation only.
    pub fn new() -> turbojpeg::Result<Self> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(QUALITY)?;
        Ok(Self { compressor, file: Vec::new() })
    }

    /// The picture as a JPEG of quality 95: baseline, JFIF, in its own subsampling, so that no colour is converted and
    /// nothing resampled.
    ///
    /// # Errors
    ///
    /// A side of more than 65 500 pixels, a subsampling that no JPEG has, or too little memory.
    pub fn jpeg(&mut self, decoded: &Decoded<'_>) -> Result<Bytes, turbojpeg::Error> {
        let Plane { width, height, .. } = decoded.luma;
        if width.max(height) > SIDE_MAX {
            let words = format!("a JPEG has at most {SIDE_MAX} pixels a side, not {}", width.max(height));
            return Err(turbojpeg::Error::TurboJpegError(words));
        }
        let subsamp = subsamp(decoded).ok_or(turbojpeg::Error::OutOfBounds)?;
        reserve(&mut self.file, turbojpeg::compressed_buf_len(width, height, subsamp)?)?;
        let len = match decoded.chroma {
            None => self.code_grey(decoded.luma)?,
            Some(chroma) => self.code_planes(decoded.luma, chroma, subsamp)?,
        };
        Ok(Bytes::copy_from_slice(&self.file[..len]))
    }

    fn code_grey(&mut self, luma: Plane<'_>) -> turbojpeg::Result<usize> {
        self.compressor.set_subsamp(Subsamp::Gray)?;
        let Plane { samples: pixels, stride: pitch, width, height } = luma;
        let image = Image { pixels, width, pitch, height, format: turbojpeg::PixelFormat::GRAY };
        self.compressor.compress_to_slice(image, &mut self.file)
    }

    fn code_planes(
        &mut self,
        luma: Plane<'_>,
        chroma: [Plane<'_>; 2],
        subsamp: Subsamp,
    ) -> turbojpeg::Result<usize> {
        let (across, down) = subsamp.size();
        let Plane { width, height, .. } = luma;
        let (padded_width, padded_height) = (width.next_multiple_of(across), height.next_multiple_of(down));
        let mut padded = Vec::new();
        let (y_plane, y_stride) = if (padded_width, padded_height) == (width, height) {
            (luma.samples, luma.stride)
        } else {
            pad(luma, (padded_width, padded_height), &mut padded)?;
            (&padded[..], padded_width)
        };
        let [blue, red] = chroma;
        let image = YuvPlanesImage {
            y_plane,
            u_plane: blue.samples,
            v_plane: red.samples,
            width,
            height,
            y_stride,
            u_stride: blue.stride,
            v_stride: red.stride,
            subsamp,
        };
        self.compressor.compress_yuv_planes_to_slice(&image, &mut self.file)
    }
}

/// How the library calls the subsampling.
fn subsamp(decoded: &Decoded<'_>) -> Option<Subsamp> {
    Some(match (decoded.chroma.is_some(), decoded.subsampling) {
        (false, _) => Subsamp::Gray,
        (true, (1, 1)) => Subsamp::None,
        (true, (2, 1)) => Subsamp::Sub2x1,
        (true, (2, 2)) => Subsamp::Sub2x2,
        (true, (1, 2)) => Subsamp::Sub1x2,
        (true, (4, 1)) => Subsamp::Sub4x1,
        (true, (1, 4)) => Subsamp::Sub1x4,
        (true, _) => return None,
    })
}

/// `plane` with its last column and row repeated up to `width` and `height`, which the coder reads.
fn pad(plane: Plane<'_>, (width, height): (usize, usize), to: &mut Vec<u8>) -> turbojpeg::Result<()> {
    reserve(to, width * height)?;
    for (y, row) in to.chunks_exact_mut(width).enumerate() {
        let (picture, beyond) = row.split_at_mut(plane.width);
        picture.copy_from_slice(plane.row(y.min(plane.height - 1)));
        beyond.fill(picture[plane.width - 1]);
    }
    Ok(())
}

/// [`resize`], whose only failure is one that the library has an error for.
fn reserve(samples: &mut Vec<u8>, len: usize) -> turbojpeg::Result<()> {
    resize(samples, len).map_err(|_| turbojpeg::Error::Null)
}

#[cfg(test)]
mod tests;
