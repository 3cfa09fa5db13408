//! Distances as products: a picture in millimetres, the lens that they are seen through, and the points themselves.
//!
//! A depth camera's frame holds steps of its own unit, aligned to the colour picture. What is stored of a shot is [`png()`],
//! in whole millimetres; every product here has the form that programs for photogrammetry read without being told more:
//!
//! | product | unit | form |
//! |---|---|---|
//! | [`png()`] | 1 mm a step, 0 = nothing measured | PNG, 16-bit grey, as Open3D (`depth_scale` 1000) and nerfstudio (`depth_unit_scale_factor` 1e-3) take it by default |
//! | [`intrinsics_json`] | pixels | JSON, also an Open3D `PinholeCameraIntrinsic` |
//! | [`ply`] | metres | PLY, binary little endian, with colours |

mod cloud;
mod lens;

pub use cloud::ply;
pub use lens::intrinsics_json;

use std::io::Cursor;

use bytes::Bytes;
use turnstage_drivers::Frame;
use turnstage_drivers::frame::{FrameData, PixelFormat};

use crate::examiner::InputLimits;
use crate::raw::check_rows;

/// Steps of a product in metres.
const MILLIMETRE_M: f64 = 0.001;

/// Why distances could not become a product.
#[derive(Debug, thiserror::Error)]
pub enum DepthError {
    /// Size, stride and length do not make a picture; says which.
    #[error("{0}. Check the camera's driver.")]
    Shape(String),
    /// It is no depth picture, or one of another size or kind than is needed; says what was expected.
    #[error("{0}")]
    Kind(String),
    /// The unit of distance is missing or no length.
    #[error("a step of distance is {0} m; a number above 0 is needed. Check the camera's driver.")]
    Unit(f64),
    /// The file is no PNG, or a damaged one.
    #[error("the stored distances cannot be read: {0}")]
    Decode(#[from] png::DecodingError),
    /// The colour picture cannot be read.
    #[error("the colour picture cannot be read: {0}")]
    Color(#[from] turbojpeg::Error),
    /// The coder's own words; not expected of a picture whose shape fits.
    #[error("the distances cannot be stored as PNG: {0}")]
    Encode(#[from] png::EncodingError),
}

/// Distances of a picture, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Distances {
    width: u32,
    height: u32,
    unit_m: f64,
    /// `width * height` steps of `unit_m`; 0 = nothing measured.
    steps: Vec<u16>,
}

impl Distances {
    /// Those of a depth camera's frame.
    ///
    /// # Errors
    ///
    /// A frame that is no depth picture, without its unit, or whose shape does not fit.
    pub fn of(frame: &Frame) -> Result<Distances, DepthError> {
        let FrameData::Pixels { format: PixelFormat::Z16, width, height, stride, bytes } = &frame.data else {
            return Err(DepthError::Kind(format!("a {:?} frame is no depth picture", frame.kind)));
        };
        let unit_m = checked(frame.depth_unit_m.unwrap_or(f64::NAN))?;
        check_rows(PixelFormat::Z16, (*width, *height), *stride, bytes.len()).map_err(DepthError::Shape)?;
        let row_len = 2 * *width as usize;
        let rows = bytes.chunks_exact(*stride as usize);
        let steps = rows.flat_map(|row| row[..row_len].as_chunks().0.iter().copied().map(u16::from_le_bytes));
        Ok(Distances { width: *width, height: *height, unit_m, steps: steps.collect() })
    }

    /// Those that were stored by [`lossless_png`], of which one step is `unit_m` metres.
    ///
    /// # Errors
    ///
    /// A file that is no PNG of 16-bit grey, larger than `limits` allow, or a unit that is no length.
    pub fn of_png(file: &[u8], unit_m: f64, limits: &InputLimits) -> Result<Distances, DepthError> {
        let unit_m = checked(unit_m)?;
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info()?;
        let (width, height) = (reader.info().width, reader.info().height);
        let form = (reader.info().color_type, reader.info().bit_depth);
        if form != (png::ColorType::Grayscale, png::BitDepth::Sixteen) {
            return Err(DepthError::Kind(format!(
                "distances are grey of 16 bits, not {:?} of {:?}",
                form.0, form.1
            )));
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > limits.pixels_max {
            let what = format!("{pixels} pixels of distance; {} are allowed", limits.pixels_max);
            return Err(DepthError::Kind(what));
        }
        let mut bytes = vec![0; 2 * pixels as usize];
        reader.next_frame(&mut bytes)?;
        let steps = bytes.as_chunks().0.iter().copied().map(u16::from_be_bytes).collect();
        Ok(Distances { width, height, unit_m, steps })
    }

    /// Metres at a column and a row, both inside; `None` where nothing was measured.
    fn metres(&self, x: usize, y: usize) -> Option<f64> {
        let steps = self.steps[y * self.width as usize + x];
        (steps > 0).then(|| f64::from(steps) * self.unit_m)
    }

    /// A step in whole millimetres, to the nearest; 0 where that is more than 16 bits hold, or less than half of one.
    fn millimetres(&self, steps: u16) -> u16 {
        let millimetres = (f64::from(steps) * self.unit_m / MILLIMETRE_M).round();
        if millimetres <= f64::from(u16::MAX) { millimetres as u16 } else { 0 }
    }

    /// As [`png()`] says.
    ///
    /// # Errors
    ///
    /// Only what the coder itself says.
    pub fn png(&self) -> Result<Vec<u8>, DepthError> {
        let samples = self.steps.iter().flat_map(|steps| self.millimetres(*steps).to_be_bytes());
        encode(self.width, self.height, &samples.collect::<Vec<u8>>())
    }
}

fn checked(unit_m: f64) -> Result<f64, DepthError> {
    if unit_m.is_finite() && unit_m > 0.0 { Ok(unit_m) } else { Err(DepthError::Unit(unit_m)) }
}

/// A depth frame as a grey PNG of 16 bits a sample, in millimetres.
///
/// 0 means that nothing was measured there; so do distances of more than 65.535 m, which 16 bits cannot hold. A camera
/// whose step is finer than a millimetre is rounded to the nearest: its frame as stored has more.
///
/// # Errors
///
/// As [`Distances::of`].
pub fn png(frame: &Frame) -> Result<Vec<u8>, DepthError> {
    Distances::of(frame)?.png()
}

/// Codes distances as a grey PNG of 16 bits a sample, bit for bit.
///
/// `z16` is `height` rows of `stride` bytes, of which the first `2 * width` are little-endian samples in the device's
/// unit of depth, usually 1 mm; 0 means that nothing was measured there. The unit is not in the file.
///
/// # Errors
///
/// No pixels, a stride shorter than a row, or another length than `height * stride`.
pub fn lossless_png(width: u32, height: u32, stride: u32, z16: &[u8]) -> Result<Bytes, DepthError> {
    check_rows(PixelFormat::Z16, (width, height), stride, z16.len()).map_err(DepthError::Shape)?;
    let row_len = 2 * width as usize;
    // PNG has the high byte first.
    let mut samples = Vec::with_capacity(row_len * height as usize);
    for row in z16.chunks_exact(stride as usize) {
        samples.extend(row[..row_len].as_chunks().0.iter().flat_map(|&[low, high]| [high, low]));
    }
    Ok(Bytes::from(encode(width, height, &samples)?))
}

/// Codes samples with the high byte first.
///
/// Filtering by the left neighbour and coding in one pass take a fraction of the time of the coder's usual settings,
/// for files that are hardly larger: distances are noisy.
fn encode(width: u32, height: u32, samples: &[u8]) -> Result<Vec<u8>, DepthError> {
    let mut file = Vec::new();
    let mut coder = png::Encoder::new(&mut file, width, height);
    coder.set_color(png::ColorType::Grayscale);
    coder.set_depth(png::BitDepth::Sixteen);
    coder.set_compression(png::Compression::Fast);
    coder.set_filter(png::Filter::Sub);
    let mut writer = coder.write_header()?;
    writer.write_image_data(samples)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use turnstage_drivers::frame::{Codec, Exposure, FrameTime, StreamKind};

    use super::*;
    use crate::samples::noise;

    /// Size and samples of a file.
    fn decode(file: &[u8]) -> (u32, u32, Vec<u16>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Sixteen));
        bytes.truncate(info.buffer_size());
        (info.width, info.height, bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect())
    }

    #[test]
    fn every_distance_comes_back_bit_for_bit() {
        for (width, height, gap) in [(1, 1, 0), (3, 5, 0), (7, 2, 3), (848, 480, 0), (641, 33, 64)] {
            let mut noise = noise(3);
            let mut distance = |at: usize| match at % 7 {
                0 => 0,
                6 => u16::from_le_bytes([noise(), noise()]),
                _ => 700 + (at % width as usize) as u16 + u16::from(noise() % 4),
            };
            let want: Vec<u16> = (0..(width * height) as usize).map(&mut distance).collect();
            let rows = want.chunks_exact(width as usize);
            let row = |row: &[u16]| -> Vec<u8> {
                let samples = row.iter().flat_map(|sample| sample.to_le_bytes());
                samples.chain(std::iter::repeat_n(0xee, gap)).collect()
            };
            let z16: Vec<u8> = rows.flat_map(row).collect();
            let file = lossless_png(width, height, 2 * width + gap as u32, &z16).unwrap();
            assert!(decode(&file) == (width, height, want), "{width} by {height}, {gap} bytes between rows");
        }
    }

    /// A depth frame whose rows are `gap` bytes longer than needed.
    fn frame(width: u32, height: u32, gap: u32, unit_m: Option<f64>, steps: &[u16]) -> Frame {
        let row = |row: &[u16]| -> Vec<u8> {
            let samples = row.iter().flat_map(|steps| steps.to_le_bytes());
            samples.chain(std::iter::repeat_n(0xee, gap as usize)).collect()
        };
        let bytes: Vec<u8> = steps.chunks_exact(width as usize).flat_map(row).collect();
        let stride = 2 * width + gap;
        Frame {
            kind: StreamKind::Depth,
            data: FrameData::Pixels { format: PixelFormat::Z16, width, height, stride, bytes: bytes.into() },
            seq: 1,
            lost_before: 0,
            time: FrameTime::arrived(),
            exposure: Exposure::default(),
            intrinsics: None,
            depth_unit_m: unit_m,
            file_name: None,
            meta: BTreeMap::new(),
        }
    }

    #[test]
    fn a_product_is_in_millimetres_whatever_the_cameras_unit() {
        let steps = [0, 1, 4, 5, 6, 14, 800, 65535];
        let file = |unit_m| decode(&png(&frame(4, 2, 6, Some(unit_m), &steps)).unwrap());
        assert_eq!(file(0.001), (4, 2, steps.to_vec()), "bit for bit");
        assert_eq!(file(0.0001), (4, 2, vec![0, 0, 0, 1, 1, 1, 80, 6554]), "rounded to the nearest");
        assert_eq!(file(0.01), (4, 2, vec![0, 10, 40, 50, 60, 140, 8000, 0]), "655 m are beyond 16 bits");
    }

    #[test]
    fn what_was_stored_of_a_shot_gives_the_same_product() {
        let steps: Vec<u16> = (0..7 * 5).map(|n| n * 1801).collect();
        let frame = frame(7, 5, 2, Some(0.00025), &steps);
        let FrameData::Pixels { width, height, stride, bytes, .. } = &frame.data else { unreachable!() };
        let stored = lossless_png(*width, *height, *stride, bytes).unwrap();
        let distances = Distances::of_png(&stored, 0.00025, &InputLimits::default()).unwrap();
        assert_eq!(distances, Distances::of(&frame).unwrap());
        assert_eq!(distances.png().unwrap(), png(&frame).unwrap());
    }

    #[test]
    fn what_is_no_depth_picture_is_named() {
        let good = frame(2, 2, 0, Some(0.001), &[1, 2, 3, 4]);
        for unit_m in [None, Some(0.0), Some(-1.0), Some(f64::INFINITY)] {
            let error = png(&Frame { depth_unit_m: unit_m, ..good.clone() }).unwrap_err();
            assert!(matches!(error, DepthError::Unit(_)), "{error}");
        }
        let mut color = Frame { kind: StreamKind::Color, ..good.clone() };
        color.data = FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::new() };
        assert_eq!(png(&color).unwrap_err().to_string(), "a Color frame is no depth picture");
        let limits = InputLimits::default();
        let read = |file: &[u8], limits: &InputLimits| {
            Distances::of_png(file, 0.001, limits).unwrap_err().to_string()
        };
        assert!(read(b"no PNG", &limits).starts_with("the stored distances cannot be read: "));
        let file = png(&good).unwrap();
        let small = InputLimits { pixels_max: 3, ..limits };
        assert_eq!(read(&file, &small), "4 pixels of distance; 3 are allowed");
        let mut eight = Vec::new();
        let mut coder = png::Encoder::new(&mut eight, 1, 1);
        coder.set_color(png::ColorType::Grayscale);
        coder.write_header().unwrap().write_image_data(&[7]).unwrap();
        assert_eq!(read(&eight, &limits), "distances are grey of 16 bits, not Grayscale of Eight");
    }

    #[test]
    fn a_shape_that_does_not_fit_is_named() {
        for (shape, len, want) in [
            ((0, 4, 8), 32, "a depth picture of 0 by 4 pixels is empty. Check the camera's driver."),
            (
                (4, 2, 7),
                14,
                "a depth picture that is 4 pixels wide has at least 8 bytes a row, not 7. Check the camera's driver.",
            ),
            (
                (4, 2, 8),
                15,
                "a depth picture of 4 by 2 pixels with 8 bytes a row has 16 bytes, not 15. Check the camera's driver.",
            ),
        ] {
            let (width, height, stride) = shape;
            assert_eq!(lossless_png(width, height, stride, &vec![0; len]).unwrap_err().to_string(), want);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_shape_panics(
            width in prop_oneof![0..40u32, any::<u32>()],
            height in prop_oneof![0..40u32, any::<u32>()],
            stride in prop_oneof![0..90u32, any::<u32>()],
            len in 0..4000usize,
        ) {
            let fits = width > 0
                && height > 0
                && u64::from(stride) >= 2 * u64::from(width)
                && u128::from(height) * u128::from(stride) == len as u128;
            prop_assert_eq!(lossless_png(width, height, stride, &vec![7; len]).is_ok(), fits);
        }

        #[test]
        fn every_product_is_within_half_a_millimetre(unit_m in 1e-6..1e-2f64, steps in prop::collection::vec(any::<u16>(), 12)) {
            let (_, _, samples) = decode(&png(&frame(4, 3, 0, Some(unit_m), &steps)).unwrap());
            for (steps, millimetres) in steps.iter().zip(samples) {
                let want = f64::from(*steps) * unit_m * 1e3;
                let lost = millimetres == 0 && want > 65535.0;
                prop_assert!(lost || (f64::from(millimetres) - want).abs() <= 0.5 + 1e-9, "{} for {}", millimetres, want);
            }
        }

        #[test]
        fn no_file_panics(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
            let mut file = png(&frame(4, 3, 0, Some(0.001), &[9; 12])).unwrap();
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let limits = InputLimits { pixels_max: 10_000, ..InputLimits::default() };
            let _read = Distances::of_png(&file, 0.001, &limits);
            let _read = Distances::of_png(&file[..cut.index(file.len())], 0.001, &limits);
        }

        #[test]
        fn every_shape_that_fits_is_coded(width in 1..40u32, height in 1..40u32, gap in 0..9u32) {
            let stride = 2 * width + gap;
            let file = lossless_png(width, height, stride, &vec![7; (stride * height) as usize]).unwrap();
            prop_assert_eq!(decode(&file), (width, height, vec![0x0707; (width * height) as usize]));
        }
    }
}
