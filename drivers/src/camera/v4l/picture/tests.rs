use proptest::prelude::*;

use super::*;

fn format(fourcc: &FourCc, size: (u32, u32), stride: u32) -> Format {
    Format { fourcc: *fourcc, size, stride, full_range: true, interlaced: false }
}

#[test]
fn a_jpeg_is_whole_when_it_has_both_ends_also_with_zeroes_behind() {
    let jpeg = |tail: &[u8]| [&[0xff, 0xd8, 0xff, 0xe0, 1, 2, 3], tail].concat();
    for whole in [jpeg(&[0xff, 0xd9]), jpeg(&[0xff, 0xd9, 0, 0, 0]), jpeg(&[0xff, 0xd9, 7])] {
        let FrameData::Encoded { bytes, .. } = Shape::Jpeg.picture(whole.clone()).unwrap() else { panic!() };
        assert_eq!(bytes, whole, "kept to the last byte");
    }
    let wrong: [(&[u8], &str); 3] = [
        (&[], "empty"),
        (&[0, 0, 0, 0], "do not begin"),
        (&[0xff, 0xd8, 0xff, 0xe0, 1, 2], "without its end"),
    ];
    for (bytes, word) in wrong {
        let told = Shape::Jpeg.picture(bytes.to_vec()).unwrap_err();
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn rows_are_as_long_as_the_device_says_and_a_missing_rest_is_damage() {
    let shape = Shape::of(&format(b"YUYV", (4, 2), 10)).unwrap();
    let FrameData::Pixels { stride, bytes, .. } = shape.picture(vec![9; 32]).unwrap() else { panic!() };
    assert_eq!((stride, bytes.len()), (10, 20));
    assert!(shape.picture(vec![9; 19]).unwrap_err().contains("19 bytes of 20"));
    let shape = Shape::of(&format(b"NV12", (4, 2), 0)).unwrap();
    let FrameData::Pixels { stride, bytes, .. } = shape.picture(vec![9; 12]).unwrap() else { panic!() };
    assert_eq!((stride, bytes.len()), (4, 12));
}

#[test]
fn formats_that_cannot_be_used_say_why() {
    let interlaced = Format { interlaced: true, ..format(b"MJPG", (640, 480), 0) };
    let wrong = [
        (interlaced, "two halves"),
        (format(b"H264", (640, 480), 0), "H264 of 640x480"),
        (format(b"YUYV", (641, 480), 0), "YUYV of 641x480"),
        (format(b"YUYV", (640, 480), 12), "rows of 12 bytes"),
        (format(b"YUYV", (640, 480), u32::MAX), "rows of"),
        (format(b"MJPG", (0, 480), 0), "sides of"),
    ];
    for (format, word) in wrong {
        let told = Shape::of(&format).unwrap_err();
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn limited_luma_is_spread_and_grey_stays_grey() {
    let limited = Format { full_range: false, ..format(b"YUYV", (2, 2), 0) };
    let bytes = vec![16, 128, 235, 128, 126, 16, 255, 240];
    let FrameData::Pixels { bytes, .. } = Shape::of(&limited).unwrap().picture(bytes).unwrap() else {
        panic!()
    };
    assert_eq!(bytes.to_vec(), [0, 128, 255, 128, 128, 1, 255, 255]);
    let limited = Format { full_range: false, ..format(b"NV12", (2, 2), 0) };
    let bytes = vec![16, 16, 235, 235, 128, 128];
    let FrameData::Pixels { bytes, .. } = Shape::of(&limited).unwrap().picture(bytes).unwrap() else {
        panic!()
    };
    assert_eq!(bytes.to_vec(), [0, 0, 255, 255, 128, 128]);
}

#[test]
fn a_glance_sees_light_change_and_stand_still() {
    let rows = |value| FrameData::Pixels {
        format: PixelFormat::Yuyv,
        width: 64,
        height: 48,
        stride: 128,
        bytes: Bytes::from(vec![value; 128 * 48]),
    };
    let (dark, light) = (Glance::at(&rows(51)).unwrap(), Glance::at(&rows(102)).unwrap());
    assert_eq!(dark.difference(&dark), 0.0);
    assert!((dark.difference(&light) - 0.2).abs() < 1e-9);
    assert_eq!(
        Glance::at(&FrameData::Encoded { codec: Codec::Jpeg, bytes: Bytes::from_static(b"no") }),
        None
    );
}

proptest! {
    #[test]
    fn no_bytes_of_any_format_panic(
        fourcc in prop_oneof![Just(*b"MJPG"), Just(*b"YUYV"), Just(*b"NV12"), any::<FourCc>()],
        width in prop_oneof![0_u32..40, any::<u32>()], height in prop_oneof![0_u32..40, any::<u32>()],
        stride in prop_oneof![Just(0_u32), 0_u32..200, any::<u32>()],
        full_range: bool, bytes in proptest::collection::vec(any::<u8>(), 0..4000), head: bool,
    ) {
        let told = Format { fourcc, size: (width, height), stride, full_range, interlaced: false };
        if let Ok(shape) = Shape::of(&told) {
            let mut bytes = bytes;
            if head {
                bytes.splice(0..0, [0xff, 0xd8, 0xff]);
                bytes.extend([0xff, 0xd9]);
            }
            if let Ok(data) = shape.picture(bytes) {
                drop(Glance::at(&data));
            }
        }
    }
}
