//! How a camera hands its picture over: as a JPEG file of some kind, or as uncompressed luma and chroma.
//!
//! Colour is that of JFIF everywhere: ITU-R BT.601 coefficients over the full range of 0 to 255.

use bytes::Bytes;
use serde::Deserialize;

use crate::frame::{Codec, FrameData, PixelFormat};

/// What a camera delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Jpeg {
        subsampling: Subsampling,
        progressive: bool,
        /// 1 to 100.
        quality: u8,
        /// Leaves the standard Huffman tables out, as cameras do that send a film of JPEG files.
        bare: bool,
    },
    Yuyv,
    Nv12,
}

/// How much finer luma is sampled than chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Subsampling {
    /// Chroma at half the width and height.
    #[serde(rename = "420")]
    Both,
    /// Chroma at half the width.
    #[serde(rename = "422")]
    Across,
    #[serde(rename = "444")]
    None,
    /// No chroma.
    #[serde(rename = "grey")]
    Grey,
}

impl Coding {
    /// What most cameras make: colour at half resolution both ways.
    pub(crate) fn plain(quality: u8) -> Coding {
        Coding::Jpeg { subsampling: Subsampling::Both, progressive: false, quality, bare: false }
    }

    /// Codes a picture of three bytes a pixel; sides are even.
    pub(crate) fn code(&self, rgb: &[u8], size: (usize, usize)) -> Result<FrameData, String> {
        let pixels = |format, stride: usize, bytes: Vec<u8>| FrameData::Pixels {
            format,
            width: size.0 as u32,
            height: size.1 as u32,
            stride: stride as u32,
            bytes: Bytes::from(bytes),
        };
        match *self {
            Coding::Jpeg { subsampling, progressive, quality, bare } => {
                let file = jpeg(rgb, size, quality, subsampling, progressive)
                    .map_err(|e| format!("cannot code the picture: {e}"))?;
                let file = if bare { without_tables(&file) } else { file };
                Ok(FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::from(file) })
            }
            Coding::Yuyv => Ok(pixels(PixelFormat::Yuyv, size.0 * 2, yuyv(rgb))),
            Coding::Nv12 => Ok(pixels(PixelFormat::Nv12, size.0, nv12(rgb, size.0))),
        }
    }
}

/// The bytes of a picture, whatever they are.
pub(crate) fn bytes(data: &FrameData) -> &Bytes {
    match data {
        FrameData::Encoded { bytes, .. } | FrameData::Pixels { bytes, .. } => bytes,
    }
}

/// The bytes of a picture, to be changed.
pub(crate) fn bytes_mut(data: &mut FrameData) -> &mut Bytes {
    match data {
        FrameData::Encoded { bytes, .. } | FrameData::Pixels { bytes, .. } => bytes,
    }
}

fn jpeg(
    rgb: &[u8],
    (width, height): (usize, usize),
    quality: u8,
    subsampling: Subsampling,
    progressive: bool,
) -> Result<Vec<u8>, turbojpeg::Error> {
    let mut coder = turbojpeg::Compressor::new()?;
    coder.set_quality(i32::from(quality))?;
    coder.set_subsamp(match subsampling {
        Subsampling::Both => turbojpeg::Subsamp::Sub2x2,
        Subsampling::Across => turbojpeg::Subsamp::Sub2x1,
        Subsampling::None => turbojpeg::Subsamp::None,
        Subsampling::Grey => turbojpeg::Subsamp::Gray,
    })?;
    coder.set_progressive(progressive)?;
    let format = turbojpeg::PixelFormat::RGB;
    coder.compress_to_vec(turbojpeg::Image { pixels: rgb, width, pitch: width * 3, height, format })
}

/// A JPEG file without its Huffman tables. They must be the standard ones (ITU-T T.81, K.3), which a decoder of such
/// films knows by itself.
fn without_tables(file: &[u8]) -> Vec<u8> {
    const TABLES: u8 = 0xc4;
    const SCAN: u8 = 0xda;
    let mut bare = Vec::with_capacity(file.len());
    let (mut from, mut at) = (0, 2);
    while let Some(&[_, marker, high, low]) = file.get(at..at + 4)
        && marker != SCAN
    {
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == TABLES {
            bare.extend_from_slice(&file[from..at]);
            from = end;
        }
        at = end;
    }
    bare.extend_from_slice(&file[from..]);
    bare
}

/// Weights of red, green and blue in 65 536ths (ITU-T T.871, 7).
const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
const BLUE: [i32; 3] = [-11_058, -21_710, 32_768];
const RED: [i32; 3] = [32_768, -27_439, -5_329];

fn luma(pixel: &[u8]) -> u8 {
    ((weighed(LUMA, pixel) + (1 << 15)) >> 16) as u8
}

fn weighed(weights: [i32; 3], pixel: &[u8]) -> i32 {
    weights.iter().zip(pixel).map(|(weight, &byte)| weight * i32::from(byte)).sum()
}

/// Blue and red difference of some pixels together.
fn chroma<const N: usize>(pixels: [&[u8]; N]) -> [u8; 2] {
    let unit = (N as i32) << 16;
    let mean = |weights| {
        let sum: i32 = pixels.iter().map(|pixel| weighed(weights, pixel)).sum();
        ((sum + 128 * unit + unit / 2) / unit).clamp(0, 255) as u8
    };
    [mean(BLUE), mean(RED)]
}

fn yuyv(rgb: &[u8]) -> Vec<u8> {
    let pair = |two: &[u8]| {
        let (left, right) = two.split_at(3);
        let [blue, red] = chroma([left, right]);
        [luma(left), blue, luma(right), red]
    };
    rgb.chunks_exact(6).flat_map(pair).collect()
}

fn nv12(rgb: &[u8], width: usize) -> Vec<u8> {
    let mut planes: Vec<u8> = rgb.chunks_exact(3).map(luma).collect();
    for rows in rgb.chunks_exact(width * 6) {
        let (upper, lower) = rows.split_at(width * 3);
        for (a, b) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            planes.extend(chroma([&a[..3], &a[3..], &b[..3], &b[3..]]));
        }
    }
    planes
}
