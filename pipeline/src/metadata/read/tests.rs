use proptest::prelude::*;

use super::*;
use crate::samples::{orientation_tiff, scene, with_exif};

/// Tag, type, count, value bytes.
type Field = (u16, u16, u32, Vec<u8>);

/// A little-endian TIFF block from fields of IFD 0 and of the EXIF IFD.
fn tiff(main: &[Field], exif: &[Field]) -> Vec<u8> {
    let mut main = main.to_vec();
    main.push((0x8769, 4, 1, Vec::new()));
    let exif_at = 8 + 6 + 12 * main.len();
    main.last_mut().unwrap().3 = (exif_at as u32).to_le_bytes().to_vec();
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    let mut tail_at = exif_at + 6 + 12 * exif.len();
    let mut tail: Vec<u8> = Vec::new();
    for fields in [&main[..], exif] {
        out.extend((fields.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in fields {
            out.extend(tag.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(count.to_le_bytes());
            if value.len() <= 4 {
                out.extend(value);
                out.resize(out.len() + 4 - value.len(), 0);
            } else {
                out.extend((tail_at as u32).to_le_bytes());
                tail.extend(value);
                tail_at += value.len();
            }
        }
        out.extend([0; 4]);
    }
    out.extend(tail);
    out
}

fn ascii(tag: u16, text: &str) -> Field {
    let value = [text.as_bytes(), &[0]].concat();
    (tag, 2, value.len() as u32, value)
}

fn rational(tag: u16, over: u32, under: u32) -> Field {
    (tag, 5, 1, [over.to_le_bytes(), under.to_le_bytes()].concat())
}

fn short(tag: u16, value: u16) -> Field {
    (tag, 3, 1, value.to_le_bytes().to_vec())
}

fn read_in_a_picture(tiff: &[u8]) -> Option<ExifSummary> {
    read(&with_exif(&scene(16, 16).jpeg(), tiff))
}

#[test]
fn what_a_camera_writes_is_summed_up() {
    let block = tiff(
        &[
            ascii(0x010f, "NIKON CORPORATION "),
            ascii(0x0110, "NIKON Z 6"),
            short(0x0112, 8),
            ascii(0x0131, "Ver.03.40"),
        ],
        &[
            rational(0x829a, 10, 1250),
            rational(0x829d, 80, 10),
            short(0x8827, 400),
            ascii(0x9003, "2026:01:31 12:34:56"),
            ascii(0x9011, "+01:00"),
            ascii(0xa434, "NIKKOR Z 50mm f/1.8 S"),
        ],
    );
    assert_eq!(
        read_in_a_picture(&block).unwrap(),
        ExifSummary {
            orientation: Some(8),
            make: Some("NIKON CORPORATION".into()),
            model: Some("NIKON Z 6".into()),
            lens: Some("NIKKOR Z 50mm f/1.8 S".into()),
            exposure_s: Some(0.008),
            f_number: Some(8.0),
            iso: Some(400),
            taken_at: Some("2026-01-31T12:34:56".into()),
            taken_offset: Some("+01:00".into()),
            software: Some("Ver.03.40".into()),
            damaged: false,
        }
    );
}

#[test]
fn values_that_make_no_sense_are_dropped() {
    let block = tiff(
        &[ascii(0x010f, "\x1b[2J "), ascii(0x0110, &"x".repeat(500)), short(0x0112, 9)],
        &[
            rational(0x829a, 1, 0),
            rational(0x829d, 0, 10),
            short(0x8827, 0),
            ascii(0x9003, "0000:00:00 00:00:00"),
            ascii(0x9011, "+1 h"),
        ],
    );
    let expected =
        ExifSummary { make: Some("[2J".into()), model: Some("x".repeat(TEXT_MAX)), ..ExifSummary::default() };
    assert_eq!(read_in_a_picture(&block).unwrap(), expected);
}

#[test]
fn half_an_exif_block_gives_what_is_left_of_it() {
    let block = tiff(&[ascii(0x010f, "A maker of cameras"), short(0x0112, 3)], &[]);
    let left = read_in_a_picture(&block[..block.len() - 30]).unwrap();
    assert_eq!((left.orientation, left.damaged), (Some(3), true));
    assert_eq!(read_in_a_picture(b"II"), None);
}

#[test]
fn the_block_is_found_behind_other_segments_and_never_in_the_picture_data() {
    let jpeg = scene(16, 16).jpeg();
    let mut xmp_first = with_exif(&jpeg, &orientation_tiff(6));
    let xmp = [&[0xff, 0xe1, 0, 10][..], b"http:///", &[0xff, 0xff, 0xff]].concat();
    xmp_first.splice(2..2, xmp);
    assert_eq!(read(&xmp_first).unwrap().orientation, Some(6));
    let mut appended = jpeg.clone();
    appended.extend(&with_exif(&jpeg, &orientation_tiff(6))[2..]);
    assert_eq!(read(&appended), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_and_damaged_blocks_never_panic(
        random in proptest::collection::vec(any::<u8>(), 0..200),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let bytes = [&[0xff, 0xd8][..], &random].concat();
        read(&bytes);
        read_capture(&bytes);
        let mut block = tiff(&[ascii(0x010f, "maker"), short(0x0112, 3)], &[rational(0x829a, 1, 125)]);
        for (index, byte) in damages {
            let at = index.index(block.len());
            block[at] = byte;
        }
        if let Some(summary) = read_in_a_picture(&block) {
            prop_assert!(summary.make.is_none_or(|make| make.chars().count() <= TEXT_MAX));
        }
    }
}
