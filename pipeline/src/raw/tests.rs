use proptest::prelude::*;

use super::*;
use crate::decode::Decoder;
use crate::samples::{Raster, decode, noise};

const FORMATS: [PixelFormat; 4] =
    [PixelFormat::Grey8, PixelFormat::Rgb8, PixelFormat::Yuyv, PixelFormat::Nv12];

/// Where nothing may be read.
const GAP: u8 = 0xee;

/// A frame of which every sample is known, with `gap` bytes after each row.
struct Frame {
    format: PixelFormat,
    size: (u32, u32),
    stride: u32,
    bytes: Vec<u8>,
}

impl Frame {
    /// `sample` gives the byte at a row and column, chroma rows of NV12 counting on below luma.
    fn new(
        format: PixelFormat,
        size: (u32, u32),
        gap: u32,
        mut sample: impl FnMut(usize, usize) -> u8,
    ) -> Self {
        let (row, rows) = match format {
            PixelFormat::Grey8 => (size.0, size.1),
            PixelFormat::Rgb8 => (3 * size.0, size.1),
            PixelFormat::Yuyv | PixelFormat::Z16 => (2 * size.0, size.1),
            PixelFormat::Nv12 => (size.0, size.1 / 2 * 3),
        };
        let mut bytes = Vec::new();
        for y in 0..rows as usize {
            bytes.extend((0..row as usize).map(|x| sample(y, x)));
            bytes.extend(vec![GAP; gap as usize]);
        }
        Self { format, size, stride: row + gap, bytes }
    }

    fn planes<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, Unreadable> {
        planes(self.format, self.size, self.stride, &self.bytes, buffer, &InputLimits::default())
    }

    #[track_caller]
    fn corrupt(&self) -> String {
        match self.planes(&mut Vec::new()) {
            Err(Unreadable::Corrupt(words)) => words,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("planes came"),
        }
    }
}

/// Soft shapes, which a JPEG of good quality keeps closely.
fn soft(y: usize, x: usize) -> u8 {
    (128.0 + 70.0 * (y as f64 / 19.0).sin() + 50.0 * (x as f64 / 23.0).cos()) as u8
}

fn samples(plane: &Plane<'_>) -> Vec<u8> {
    (0..plane.height).flat_map(|y| plane.row(y).to_vec()).collect()
}

/// Blue and red difference.
fn chroma_samples(decoded: &Decoded<'_>) -> Option<[Vec<u8>; 2]> {
    decoded.chroma.as_ref().map(|planes| planes.each_ref().map(samples))
}

#[test]
fn grey_rows_are_luma_without_a_copy() {
    let frame = Frame::new(PixelFormat::Grey8, (3, 5), 4, |y, x| (10 * y + x) as u8);
    let mut buffer = Vec::new();
    let decoded = frame.planes(&mut buffer).unwrap();
    assert_eq!(decoded.luma.samples.as_ptr(), frame.bytes.as_ptr());
    assert_eq!(samples(&decoded.luma), [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42]);
    assert!(decoded.chroma.is_none());
    assert!(decoded.damage.is_none());
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn nv12_keeps_its_luma_and_has_its_chroma_pairs_parted() {
    let frame = Frame::new(PixelFormat::Nv12, (4, 4), 3, |y, x| (10 * y + x) as u8);
    let mut buffer = Vec::new();
    let decoded = frame.planes(&mut buffer).unwrap();
    assert_eq!(decoded.luma.samples.as_ptr(), frame.bytes.as_ptr());
    assert_eq!(samples(&decoded.luma)[..8], [0, 1, 2, 3, 10, 11, 12, 13]);
    assert_eq!(chroma_samples(&decoded), Some([vec![40, 42, 50, 52], vec![41, 43, 51, 53]]));
    assert_eq!(decoded.subsampling, (2, 2));
}

#[test]
fn yuyv_is_taken_apart_into_three_planes() {
    let frame = Frame::new(PixelFormat::Yuyv, (4, 3), 5, |y, x| (10 * y + x) as u8);
    let mut buffer = Vec::new();
    let decoded = frame.planes(&mut buffer).unwrap();
    assert_eq!(samples(&decoded.luma), [0, 2, 4, 6, 10, 12, 14, 16, 20, 22, 24, 26]);
    assert_eq!(chroma_samples(&decoded), Some([vec![1, 5, 11, 15, 21, 25], vec![3, 7, 13, 17, 23, 27]]));
    assert_eq!(decoded.subsampling, (2, 1));
}

/// Luma, blue and red difference of a pixel; ITU-T T.871, 7.
fn converted([r, g, b]: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = [r, g, b].map(f64::from);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [y, (b - y) / 1.772 + 128.0, (r - y) / 1.402 + 128.0]
}

#[test]
fn rgb_becomes_the_luma_and_the_mean_chroma_of_jpeg() {
    for (width, height) in [(1, 1), (2, 2), (5, 3), (64, 33), (33, 64)] {
        let mut noise = noise(5);
        let frame = Frame::new(PixelFormat::Rgb8, (width, height), 7, |_, _| noise());
        let (width, height) = (width as usize, height as usize);
        let pixel = |x: usize, y: usize| {
            let at = y.min(height - 1) * frame.stride as usize + 3 * x.min(width - 1);
            converted([frame.bytes[at], frame.bytes[at + 1], frame.bytes[at + 2]])
        };
        let mut buffer = Vec::new();
        let decoded = frame.planes(&mut buffer).unwrap();
        assert_eq!(decoded.subsampling, (2, 2));
        for (k, got) in samples(&decoded.luma).into_iter().enumerate() {
            let want = pixel(k % width, k / width)[0];
            assert!((f64::from(got) - want).abs() < 0.51, "luma {k}: {got}, not {want}");
        }
        let across = width.div_ceil(2);
        for (plane, got) in chroma_samples(&decoded).unwrap().into_iter().enumerate() {
            assert_eq!(got.len(), across * height.div_ceil(2));
            for (k, got) in got.into_iter().enumerate() {
                let (x, y) = (2 * (k % across), 2 * (k / across));
                let four = [pixel(x, y), pixel(x + 1, y), pixel(x, y + 1), pixel(x + 1, y + 1)];
                let want = four.iter().map(|converted| converted[1 + plane]).sum::<f64>() / 4.0;
                assert!((f64::from(got) - want).abs() < 0.51, "chroma {plane} {k}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn the_strongest_colours_stay_in_range() {
    for (colour, want) in [
        ([0, 0, 255], [29, 255, 107]),
        ([255, 0, 0], [76, 85, 255]),
        ([255, 255, 0], [226, 1, 149]),
        ([0, 255, 255], [179, 171, 1]),
        ([255, 255, 255], [255, 128, 128]),
        ([0, 0, 0], [0, 128, 128]),
    ] {
        let frame = Frame::new(PixelFormat::Rgb8, (2, 2), 0, |_, x| colour[x % 3]);
        let mut buffer = Vec::new();
        let decoded = frame.planes(&mut buffer).unwrap();
        let [blue, red] = decoded.chroma.unwrap();
        assert_eq!([decoded.luma.samples[0], blue.samples[0], red.samples[0]], want, "{colour:?}");
    }
}

#[test]
fn a_shape_that_does_not_fit_is_named() {
    use PixelFormat::{Grey8, Nv12, Rgb8, Yuyv};
    for (format, size, stride, len, want) in [
        (Rgb8, (0, 480), 1920, 921_600, "an RGB picture of 0 by 480 pixels is empty"),
        (Grey8, (640, 0), 640, 0, "a grey picture of 640 by 0 pixels is empty"),
        (Yuyv, (3, 2), 8, 16, "the width of a YUYV picture must be even, not 3 by 2 pixels"),
        (Nv12, (4, 3), 4, 16, "both sides of an NV12 picture must be even, not 4 by 3 pixels"),
        (
            Rgb8,
            (640, 480),
            640,
            307_200,
            "an RGB picture that is 640 pixels wide has at least 1920 bytes a row, not 640",
        ),
        (
            Yuyv,
            (640, 480),
            1280,
            307_200,
            "a YUYV picture of 640 by 480 pixels with 1280 bytes a row has 614400 bytes, not 307200",
        ),
        (Nv12, (4, 4), 4, 16, "an NV12 picture of 4 by 4 pixels with 4 bytes a row has 24 bytes, not 16"),
    ] {
        let frame = Frame { format, size, stride, bytes: vec![0; len] };
        assert_eq!(frame.corrupt(), want);
    }
}

#[test]
fn a_yuyv_picture_of_odd_height_is_fine() {
    assert!(Frame::new(PixelFormat::Yuyv, (2, 1), 0, soft).planes(&mut Vec::new()).is_ok());
}

#[test]
fn limits_hold_for_uncompressed_frames_too() {
    let frame = Frame::new(PixelFormat::Yuyv, (64, 48), 0, soft);
    let mut buffer = Vec::new();
    let mut limited = |bytes_max, pixels_max| {
        let limits = InputLimits { bytes_max, pixels_max };
        planes(frame.format, frame.size, frame.stride, &frame.bytes, &mut buffer, &limits).err()
    };
    assert_eq!(limited(6_144, 3_072), None);
    assert_eq!(limited(6_143, 3_072), Some(Unreadable::Bytes { length: 6_144, max: 6_143 }));
    assert_eq!(limited(6_144, 3_071), Some(Unreadable::Pixels { pixels: 3_072, max: 3_071 }));
}

#[test]
fn distances_are_no_picture_to_measure() {
    let frame = Frame::new(PixelFormat::Z16, (4, 4), 0, soft);
    assert_eq!(frame.planes(&mut Vec::new()).err(), Some(Unreadable::Format("a depth picture".into())));
}

#[test]
fn one_giant_frame_does_not_hold_its_memory() {
    let (mut buffer, mut coder) = (Vec::new(), RawCoder::new().unwrap());
    for size in [(1601, 1201), (16, 16)] {
        let frame = Frame::new(PixelFormat::Rgb8, size, 0, |_, _| 90);
        coder.jpeg(&frame.planes(&mut buffer).unwrap()).unwrap();
    }
    let held = buffer.capacity() + coder.file.capacity();
    assert!(held < 20_000, "{held} bytes");
}

/// Codes a frame and compares the planes of the file with those of the frame.
#[track_caller]
fn assert_file_shows(coder: &mut RawCoder, frame: &Frame, within: f64) {
    let mut buffer = Vec::new();
    let want = frame.planes(&mut buffer).unwrap();
    let file = coder.jpeg(&want).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let got = decoder.decode(&file, &InputLimits::default()).unwrap();
    let what = format!("{:?} {:?}", frame.format, frame.size);
    assert_eq!(got.damage, None, "{what}");
    assert_eq!((got.luma.width, got.luma.height), (want.luma.width, want.luma.height), "{what}");
    assert_eq!(got.subsampling, want.subsampling, "{what}");
    let off = |got: &[u8], want: &[u8]| {
        assert_eq!(got.len(), want.len(), "{what}");
        got.iter().zip(want).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / got.len() as f64
    };
    let luma = off(&samples(&got.luma), &samples(&want.luma));
    assert!(luma < within, "{what}: luma is off by {luma} levels");
    match (chroma_samples(&got), chroma_samples(&want)) {
        (None, None) => {}
        (Some(got), Some(want)) => {
            for (got, want) in got.iter().zip(&want) {
                let off = off(got, want);
                assert!(off < within, "{what}: chroma is off by {off} levels");
            }
        }
        _ => panic!("{what}: one has colours"),
    }
}

#[test]
fn a_file_shows_the_planes_it_was_coded_from() {
    let mut coder = RawCoder::new().unwrap();
    for size in [(1, 1), (3, 5), (2, 2), (640, 480), (322, 242), (641, 481)] {
        for format in FORMATS {
            for gap in [0, 13] {
                let frame = Frame::new(format, size, gap, soft);
                if check_rows(format, size, frame.stride, frame.bytes.len()).is_ok() {
                    assert_file_shows(&mut coder, &frame, 2.5);
                }
            }
        }
    }
}

#[test]
fn the_gap_between_rows_never_reaches_the_file() {
    let mut coder = RawCoder::new().unwrap();
    for format in FORMATS {
        let mut file = |gap| {
            let frame = Frame::new(format, (322, 242), gap, soft);
            let mut buffer = Vec::new();
            coder.jpeg(&frame.planes(&mut buffer).unwrap()).unwrap()
        };
        assert!(file(0) == file(13), "{format:?}");
    }
}

#[test]
fn an_rgb_frame_becomes_the_file_that_coding_its_colours_gives() {
    let mut coder = RawCoder::new().unwrap();
    for (width, height) in [(322, 242), (61, 47)] {
        let frame = Frame::new(PixelFormat::Rgb8, (width, height), 0, |y, x| soft(y, x * (1 + x % 3)));
        let mut buffer = Vec::new();
        let file = coder.jpeg(&frame.planes(&mut buffer).unwrap()).unwrap();
        let (width, height) = (width as usize, height as usize);
        let format = turbojpeg::PixelFormat::RGB;
        let raster = Raster { width, height, format, samples: frame.bytes.clone() };
        let theirs = raster.jpeg_as(Subsamp::Sub2x2, |coder| coder.set_quality(QUALITY).unwrap());
        let (got, want) = (decode(&file, format).samples, decode(&theirs, format).samples);
        let off = got.iter().zip(&want).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
        let off = off as f64 / want.len() as f64;
        assert!(off < 1.0, "{width} by {height} is off by {off} levels");
    }
}

#[test]
fn a_side_that_no_jpeg_has_is_an_error_and_the_next_picture_is_fine() {
    let mut coder = RawCoder::new().unwrap();
    let frame = Frame::new(PixelFormat::Grey8, (70_000, 1), 0, soft);
    let error = coder.jpeg(&frame.planes(&mut Vec::new()).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("a JPEG has at most 65500 pixels a side, not 70000"), "{error}");
    assert_file_shows(&mut coder, &Frame::new(PixelFormat::Grey8, (65_500, 1), 0, soft), 2.5);
}

fn any_format() -> impl Strategy<Value = PixelFormat> {
    prop::sample::select([&FORMATS[..], &[PixelFormat::Z16]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_shape_panics(
        format in any_format(),
        width in prop_oneof![0..40u32, any::<u32>()],
        height in prop_oneof![0..40u32, any::<u32>()],
        stride in prop_oneof![0..130u32, any::<u32>()],
        len in 0..4000usize,
    ) {
        let limits = InputLimits { bytes_max: u64::MAX, pixels_max: u64::MAX };
        let bytes = vec![7; len];
        let mut buffer = Vec::new();
        let got = planes(format, (width, height), stride, &bytes, &mut buffer, &limits);
        prop_assert!(got.is_err() || (width > 0 && height > 0 && stride >= width && len > 0));
    }

    #[test]
    fn every_frame_whose_shape_fits_becomes_a_file(
        format in prop::sample::select(&FORMATS[..]),
        (half_width, half_height) in (1..24u32, 1..24u32),
        gap in 0..9u32,
        seed in any::<u64>(),
    ) {
        let mut size = (2 * half_width, 2 * half_height);
        if matches!(format, PixelFormat::Grey8 | PixelFormat::Rgb8) {
            size = (size.0 - (seed % 2) as u32, size.1 - (seed / 2 % 2) as u32);
        }
        let mut noise = noise(seed);
        let frame = Frame::new(format, size, gap, |_, _| noise());
        let mut buffer = Vec::new();
        let decoded = frame.planes(&mut buffer).unwrap();
        let file = RawCoder::new().unwrap().jpeg(&decoded).unwrap();
        let header = turbojpeg::read_header(&file).unwrap();
        prop_assert_eq!((header.width as u32, header.height as u32), size);
    }
}
