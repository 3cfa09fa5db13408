//! Points read back by a reader of its own, and compared with those of librealsense itself.

use bytes::Bytes;
use proptest::prelude::*;
use turbojpeg::Subsamp;
use turnstage_drivers::optics::Distortion;

use super::*;

fn lens(distortion: Distortion) -> Intrinsics {
    Intrinsics {
        width: 320,
        height: 240,
        fx: 305.125,
        fy: 305.0,
        cx: 160.25,
        cy: 120.5,
        distortion,
        coefficients: [0.05, -0.02, 0.001, 0.002, 0.01],
    }
}

fn distances(width: u32, height: u32, steps: Vec<u16>) -> Distances {
    Distances { width, height, unit_m: 0.001, steps }
}

/// Red is the column, green the row, blue always 7; rows are `gap` bytes longer than needed.
fn color(width: u32, height: u32, gap: u32) -> FrameData {
    let row = |y: u32| {
        let pixels = (0..width).flat_map(move |x| [x as u8, y as u8, 7]);
        pixels.chain(std::iter::repeat_n(0xee, gap as usize))
    };
    let bytes: Vec<u8> = (0..height).flat_map(row).collect();
    FrameData::Pixels {
        format: PixelFormat::Rgb8,
        width,
        height,
        stride: 3 * width + gap,
        bytes: bytes.into(),
    }
}

/// Metres and colour of every point, by the words of the header alone.
fn read(file: &[u8]) -> Vec<([f32; 3], [u8; 3])> {
    let end = b"end_header\n";
    let at = file.windows(end.len()).position(|window| window == end).unwrap() + end.len();
    let header = std::str::from_utf8(&file[..at]).unwrap();
    let mut lines = header.lines().filter(|line| !line.starts_with("comment"));
    assert_eq!(lines.next(), Some("ply"));
    assert_eq!(lines.next(), Some("format binary_little_endian 1.0"));
    let count: usize = lines.next().unwrap().strip_prefix("element vertex ").unwrap().parse().unwrap();
    let properties: Vec<&str> = lines.map_while(|line| line.strip_prefix("property ")).collect();
    assert_eq!(properties, ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]);
    assert_eq!(file.len() - at, 15 * count);
    let point = |point: &[u8]| {
        let metres =
            [0, 4, 8].map(|at| f32::from_le_bytes([point[at], point[at + 1], point[at + 2], point[at + 3]]));
        (metres, [point[12], point[13], point[14]])
    };
    file[at..].chunks_exact(15).map(point).collect()
}

#[test]
fn each_measured_sample_is_a_point_with_its_colour_and_nothing_else_is() {
    let lens =
        Intrinsics { width: 3, height: 2, fx: 2.0, fy: 4.0, cx: 1.0, cy: 0.5, ..lens(Distortion::None) };
    let distances = distances(3, 2, vec![1000, 0, 2000, 0, 500, 0]);
    let points = read(&ply(&color(3, 2, 5), &distances, &lens).unwrap());
    assert_eq!(
        points,
        [([-0.5, -0.125, 1.0], [0, 0, 7]), ([1.0, -0.25, 2.0], [2, 0, 7]), ([0.0, 0.0625, 0.5], [1, 1, 7]),]
    );
}

#[test]
fn points_are_where_librealsense_has_them() {
    // `rs2_deproject_pixel_to_point` of versions 2.56.5 and 2.59.1 for this lens, pixel (20, 30), two metres away.
    for (distortion, want) in [
        (Distortion::Brown, [-0.910_632_96, -0.587_681_54]),
        (Distortion::InverseBrown, [-0.910_689_72, -0.587_718_12]),
    ] {
        let mut steps = vec![0; 320 * 240];
        steps[30 * 320 + 20] = 2000;
        let points = read(&ply(&color(320, 240, 0), &distances(320, 240, steps), &lens(distortion)).unwrap());
        let [x, y, z] = points[0].0.map(f64::from);
        assert!((x - want[0]).abs() < 5e-7 && (y - want[1]).abs() < 5e-7, "{distortion:?}: {x} {y}");
        assert_eq!((points.len(), z), (1, 2.0));
    }
}

#[test]
fn colours_come_out_of_a_jpeg_as_well() {
    let pixels = [200u8, 40, 90].repeat(16 * 16);
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width: 16,
        pitch: 48,
        height: 16,
        format: turbojpeg::PixelFormat::RGB,
    };
    let jpeg = turbojpeg::compress(image, 95, Subsamp::None).unwrap();
    let file = FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::copy_from_slice(&jpeg) };
    let lens = Intrinsics { width: 16, height: 16, ..lens(Distortion::None) };
    let points = read(&ply(&file, &distances(16, 16, vec![700; 256]), &lens).unwrap());
    assert_eq!(points.len(), 256);
    for (_, color) in points {
        assert!(color.iter().zip([200u8, 40, 90]).all(|(a, b)| a.abs_diff(b) <= 3), "{color:?}");
    }
}

#[test]
fn what_does_not_belong_together_is_named() {
    let small = distances(2, 2, vec![1; 4]);
    let lens = |width, height| Intrinsics { width, height, ..lens(Distortion::None) };
    let words = |color: &FrameData, lens: &Intrinsics| ply(color, &small, lens).unwrap_err().to_string();
    assert_eq!(
        words(&color(2, 2, 0), &lens(3, 2)),
        "the lens is for 3 by 2 pixels, the distances are 2 by 2"
    );
    let other = "the colour picture has 4 by 2 pixels, the distances 2 by 2";
    assert_eq!(words(&color(4, 2, 0), &lens(2, 2)), other);
    let flat = Intrinsics { fx: 0.0, ..lens(2, 2) };
    assert_eq!(words(&color(2, 2, 0), &flat), "a lens of 0 by 305 pixels focal length is none");
    let garbage = FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::from_static(b"no JPEG") };
    assert!(words(&garbage, &lens(2, 2)).starts_with("the colour picture cannot be read: "));
    let heif = FrameData::Encoded { codec: Codec::Heif, bytes: Bytes::new() };
    assert_eq!(words(&heif, &lens(2, 2)), "colours come as RGB or JPEG, not as Heif");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_point_is_seen_at_the_pixel_that_it_came_from(
        (x, y) in (0..320usize, 0..240usize),
        steps in 1..u16::MAX,
        inverse in any::<bool>(),
    ) {
        let lens = lens(if inverse { Distortion::InverseBrown } else { Distortion::Brown });
        let mut all = vec![0; 320 * 240];
        all[y * 320 + x] = steps;
        let points = read(&ply(&color(320, 240, 0), &distances(320, 240, all), &lens).unwrap());
        let ([point_x, point_y, z], rgb) = points[0];
        prop_assert_eq!((points.len(), rgb), (1, [x as u8, y as u8, 7]));
        prop_assert!((f64::from(z) - f64::from(steps) * 0.001).abs() < 1e-5);
        let pixel = crate::lens::seen(&lens, [point_x, point_y, z].map(f64::from)).unwrap();
        prop_assert!((pixel[0] - x as f64).abs() < 1e-3 && (pixel[1] - y as f64).abs() < 1e-3, "{:?}", pixel);
    }

    #[test]
    fn no_lens_and_no_shape_panics(
        (width, height, stride) in (0..5u32, 0..5u32, 0..20u32),
        len in 0..80usize,
        numbers in prop::array::uniform9(any::<f64>()),
    ) {
        let bytes = vec![1; len].into();
        let data = FrameData::Pixels { format: PixelFormat::Rgb8, width, height, stride, bytes };
        let [fx, fy, cx, cy, k @ ..] = numbers;
        let lens = Intrinsics { width: 2, height: 2, fx, fy, cx, cy, coefficients: k, ..lens(Distortion::Brown) };
        let _made = ply(&data, &distances(2, 2, vec![1; 4]), &lens);
    }
}
