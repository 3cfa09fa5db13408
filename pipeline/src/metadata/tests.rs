use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Exif, Field, In, Rational, Reader, Tag, Value};
use proptest::prelude::*;
use turbojpeg::Subsamp;

use super::*;
use crate::samples::{orientation_tiff, scene, with_exif};
use bytes::Bytes;

const NOTE: &[u8] = b"MAKER\0with offsets that only the maker knows";

fn facts() -> CaptureFacts {
    CaptureFacts {
        session: "s-1".into(),
        item: "A<b> & \"ü\"".into(),
        camera: "main".into(),
        shot: 18,
        take: 2,
        angle_commanded: Some(170.0),
        angle_reached: Some(170.02),
        exposed_at: Some("2026-11-27T10:55:03.120+01:00".into()),
        exposure_s: Some(0.008),
        f_number: Some(5.6),
        iso: Some(100),
        make: Some("Maker".into()),
        model: Some("Driver's model".into()),
        lens: Some("50 mm".into()),
        software: "Turnstage 0.1.0".into(),
    }
}

fn picture() -> Bytes {
    scene(64, 48).jpeg().into()
}

/// What a camera writes, with a maker's note and a thumbnail.
fn camera_block(big_endian: bool) -> Vec<u8> {
    let ascii = |text: &str| Value::Ascii(vec![text.as_bytes().to_vec()]);
    let fields = [
        (Tag::Make, ascii("Camera maker")),
        (Tag::Model, ascii("Camera model")),
        (Tag::Orientation, Value::Short(vec![6])),
        (Tag::ExifVersion, Value::Undefined(b"0231".to_vec(), 0)),
        (Tag::ExposureTime, Value::Rational(vec![Rational { num: 1, denom: 60 }])),
        (Tag::DateTimeOriginal, ascii("2020:01:02 03:04:05")),
        (Tag::MakerNote, Value::Undefined(NOTE.to_vec(), 0)),
        (Tag::UserComment, Value::Undefined(b"ASCII\0\0\0hello".to_vec(), 0)),
    ];
    let fields = fields.map(|(tag, value)| Field { tag, ifd_num: In::PRIMARY, value });
    let thumbnail = scene(16, 16).jpeg();
    let mut writer = Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    writer.set_jpeg(&thumbnail, In::THUMBNAIL);
    let mut block = Cursor::new(Vec::new());
    writer.write(&mut block, !big_endian).unwrap();
    block.into_inner()
}

fn block_of(jpeg: &[u8]) -> Exif {
    Reader::new().read_from_container(&mut Cursor::new(jpeg)).unwrap()
}

fn app1(jpeg: &Bytes, prefix: &[u8]) -> Vec<Bytes> {
    let open = segments::Segments::open(jpeg).unwrap();
    open.app1(prefix).into_iter().map(|(_, content)| content).collect()
}

/// From the header of the first scan on.
fn image_data(jpeg: &[u8]) -> &[u8] {
    let at = jpeg.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    &jpeg[at..]
}

fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], &length[..], contents].concat()
}

/// `jpeg` with segments right behind its JFIF header.
fn with_segments(jpeg: &[u8], segments: &[Vec<u8>]) -> Bytes {
    let at = 2 + 18;
    [&jpeg[..at], &segments.concat(), &jpeg[at..]].concat().into()
}

fn markers(jpeg: &[u8]) -> Vec<u8> {
    let mut at = 2;
    let mut found = Vec::new();
    while jpeg[at + 1] != 0xda {
        found.push(jpeg[at + 1]);
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    found
}

#[test]
fn a_picture_without_metadata_gets_exif_and_xmp_and_keeps_its_image_data() {
    let before = picture();
    let after = write(&before, &facts()).unwrap();
    assert_eq!(image_data(&after), image_data(&before));
    let exif = read::read(&after).unwrap();
    let expected = ExifSummary {
        make: Some("Maker".into()),
        model: Some("Driver's model".into()),
        lens: Some("50 mm".into()),
        exposure_s: Some(0.008),
        f_number: Some(5.6),
        iso: Some(100),
        taken_at: Some("2026-11-27T10:55:03".into()),
        taken_offset: Some("+01:00".into()),
        software: Some("Turnstage 0.1.0".into()),
        ..ExifSummary::default()
    };
    assert_eq!(exif, expected);
    let written = read_capture(&after);
    assert_eq!(written["item"], "A<b> & \"ü\"");
    assert_eq!((&*written["angleCommanded"], &*written["angleReached"]), ("170", "170.02"));
    assert_eq!((&*written["shot"], &*written["take"], written.len()), ("18", "2", xmp::FIELDS.len()));
    assert_eq!(markers(&after)[..3], [0xe0, 0xe1, 0xe1]);
}

#[test]
fn what_the_camera_wrote_stays_where_it_was_and_is_only_added_to() {
    for big_endian in [false, true] {
        let block = camera_block(big_endian);
        let before: Bytes = with_exif(&picture(), &block).into();
        let after = write(&before, &facts()).unwrap();
        let written = &app1(&after, EXIF_PREFIX)[0];
        assert_eq!(written[8..block.len()], block[8..], "only the first pointer may differ");
        let (old, new) = (block_of(&before), block_of(&after));
        for field in old.fields() {
            let kept = new.get_field(field.tag, field.ifd_num);
            let kept = kept.unwrap_or_else(|| panic!("{} is lost", field.tag));
            match (&kept.value, &field.value) {
                // Bytes with the place where they lie: short ones lie in their entry.
                (Value::Undefined(now, _), Value::Undefined(then, _)) if then.len() <= 4 => {
                    assert_eq!(now, then)
                }
                (now, then) => assert_eq!(format!("{now:?}"), format!("{then:?}"), "{}", field.tag),
            }
        }
        let exif = read::read(&after).unwrap();
        assert_eq!(
            (exif.make.as_deref(), exif.model.as_deref()),
            (Some("Camera maker"), Some("Camera model"))
        );
        assert_eq!((exif.orientation, exif.exposure_s), (Some(6), Some(1.0 / 60.0)));
        assert_eq!((exif.f_number, exif.software.as_deref()), (Some(5.6), Some("Turnstage 0.1.0")));
        // The camera's clock and the station's offset do not go together.
        assert_eq!((exif.taken_at.as_deref(), exif.taken_offset), (Some("2020-01-02T03:04:05"), None));
        assert_eq!(read_capture(&after)["exposedAt"], "2026-11-27T10:55:03.120+01:00");
    }
}

#[test]
fn a_block_that_cannot_be_added_to_stays_as_it_is_and_xmp_says_what_is_known() {
    let block = camera_block(true);
    let mut looped = block.clone();
    looped[4..8].copy_from_slice(&0xffff_0000_u32.to_be_bytes());
    let mut full = block.clone();
    full.resize(SEGMENT_MAX - EXIF_PREFIX.len(), 0);
    for block in [looped, full, b"II".to_vec(), Vec::new()] {
        let before: Bytes = with_exif(&picture(), &block).into();
        let after = write(&before, &facts()).unwrap();
        assert_eq!(app1(&after, EXIF_PREFIX), [block]);
        assert_eq!(read_capture(&after)["model"], "Driver's model");
    }
    let two: Bytes = with_exif(&with_exif(&picture(), &block), &block).into();
    assert_eq!(app1(&write(&two, &facts()).unwrap(), EXIF_PREFIX), [block.clone(), block]);
}

#[test]
fn writing_the_same_again_changes_nothing() {
    for before in [picture(), with_exif(&picture(), &camera_block(false)).into()] {
        let once = write(&before, &facts()).unwrap();
        assert_eq!(write(&before, &facts()).unwrap(), once);
        assert_eq!(write(&once, &facts()).unwrap(), once);
        let corrected = CaptureFacts { item: "another".into(), ..facts() };
        let twice = write(&once, &corrected).unwrap();
        assert_eq!(read_capture(&twice)["item"], "another");
        assert_eq!(twice, write(&before, &corrected).unwrap());
    }
}

#[test]
fn other_segments_stay_in_order_and_unchanged() {
    let extension = segment(0xe1, b"http://ns.adobe.com/xmp/extension/\0part");
    let others = [
        segment(0xe2, b"ICC_PROFILE\0\x01\x02first"),
        segment(0xe2, b"ICC_PROFILE\0\x02\x02second"),
        extension,
        segment(0xed, b"Photoshop 3.0\0"),
        segment(0xfe, b"a comment"),
    ];
    let after = write(&with_segments(&picture(), &others), &facts()).unwrap();
    let at = after.windows(others[0].len()).position(|window| window == others[0]).unwrap();
    assert!(after[at..].starts_with(&others.concat()));
    assert_eq!(markers(&after)[..8], [0xe0, 0xe1, 0xe1, 0xe2, 0xe2, 0xe1, 0xed, 0xfe]);
    let exif = block_of(&after);
    let space = exif.get_field(Tag::ColorSpace, In::PRIMARY).unwrap();
    assert_eq!(space.value.get_uint(0), Some(0xffff), "with a profile it is that one's");
}

#[test]
fn a_packet_that_no_segment_holds_is_refused_with_its_length() {
    let room = SEGMENT_MAX - xmp::PREFIX.len() - 10;
    let foreign = [xmp::PREFIX, &vec![b' '; room][..], b"</rdf:RDF>"].concat();
    let refused = write(&with_segments(&picture(), &[segment(0xe1, &foreign)]), &facts()).unwrap_err();
    assert!(matches!(refused, MetadataError::TooLong { what: "XMP packet", bytes } if bytes > SEGMENT_MAX));
    assert!(refused.to_string().contains("65533"), "{refused}");
    let facts = CaptureFacts { item: "x".repeat(70_000), ..facts() };
    assert!(matches!(write(&picture(), &facts), Err(MetadataError::TooLong { .. })));
}

#[test]
fn a_time_that_is_none_is_not_written() {
    for moment in ["", "2026-11-27T10:55:03Z", "2026-13-27T10:55:03+01:00", "é".repeat(30).as_str()] {
        let facts = CaptureFacts { exposed_at: Some(moment.to_owned()), ..facts() };
        let after = write(&picture(), &facts).unwrap();
        let exif = read::read(&after).unwrap();
        assert_eq!((exif.taken_at, exif.taken_offset), (None, None), "{moment}");
        assert!(!read_capture(&after).contains_key("exposedAt"));
    }
}

#[test]
fn a_list_of_several_pictures_in_one_file_follows_what_moved() {
    let entry = |size: u32, place: u32| [[0; 4], size.to_le_bytes(), place.to_le_bytes(), [0; 4]].concat();
    let list = |size: u32, place: u32| {
        let head = b"MPF\0II*\0\x08\0\0\0\x01\0\x02\xb0\x07\0\x20\0\0\0\x1a\0\0\0\0\0\0\0";
        segment(0xe2, &[&head[..], &entry(size, 0), &entry(9, place)].concat())
    };
    let packet = [xmp::PREFIX, b"<rdf:RDF></rdf:RDF>"].concat();
    // Its packet stands behind the list, so what is added to it moves the second picture away from the list.
    let whole = |size, place| with_segments(&picture(), &[list(size, place), segment(0xe1, &packet)]);
    let size = whole(0, 0).len() as u32;
    let header = 20 + 4 + 4;
    let before: Bytes = [&whole(size, size - header)[..], b"\xff\xd8second"].concat().into();
    let after = write(&before, &facts()).unwrap();
    let header = after.windows(4).position(|window| window == b"MPF\0").unwrap() + 4;
    let long = |at: usize| u32::from_le_bytes(after[at..at + 4].try_into().unwrap()) as usize;
    let second = after.windows(8).position(|window| window == b"\xff\xd8second").unwrap();
    assert_eq!((long(header + 26 + 4), long(header + 26 + 16 + 8)), (second, second - header));
}

#[test]
fn stripped_of_everything_but_the_profile_and_how_it_is_seen() {
    let profile = segment(0xe2, b"ICC_PROFILE\0\x01\x01p");
    let adobe = segment(0xee, b"Adobe\0\x64\0\0\0\0\x01");
    let told = [
        segment(0xe1, &[xmp::PREFIX, b"<rdf:RDF></rdf:RDF>"].concat()),
        profile.clone(),
        segment(0xe2, b"MPF\0II*\0"),
        segment(0xed, b"Photoshop 3.0\0"),
        adobe.clone(),
        segment(0xe4, b"maker"),
        segment(0xfe, b"a comment"),
    ];
    let whole = with_segments(&picture(), &told);
    let mut before = with_exif(&whole, &camera_block(true));
    before.extend(b"\xff\xd8\xff\xe1 a preview with metadata of its own");
    let after = strip(&before.into()).unwrap();
    assert_eq!(image_data(&after), image_data(&picture()));
    assert_eq!(markers(&after)[..4], [0xe0, 0xe1, 0xe2, 0xee]);
    assert!(after.windows(profile.len()).any(|window| window == profile));
    assert!(after.windows(adobe.len()).any(|window| window == adobe));
    let exif = block_of(&after);
    let fields: Vec<_> = exif.fields().map(|field| (field.tag, field.value.get_uint(0))).collect();
    assert_eq!(fields, [(Tag::Orientation, Some(6))]);
    assert_eq!(strip(&after).unwrap(), after);
}

#[test]
fn a_picture_that_stands_upright_is_stripped_of_its_exif_altogether() {
    for before in [picture(), with_exif(&picture(), &orientation_tiff(1)).into(), picture()] {
        assert_eq!(strip(&before).unwrap(), picture());
    }
    assert_eq!(strip(&write(&picture(), &facts()).unwrap()).unwrap(), picture());
}

#[test]
fn a_thumbnail_in_the_jfif_header_goes_with_the_rest() {
    let mut before = picture().to_vec();
    let with = [&before[6..18], &[1, 1, 9, 9, 9]].concat();
    before.splice(2..20, segment(0xe0, &with));
    assert_eq!(strip(&before.into()).unwrap(), picture());
}

#[test]
fn a_progressive_picture_keeps_all_its_scans_and_metadata_between_them_are_refused() {
    let jpeg = scene(64, 48).jpeg_as(Subsamp::Sub2x2, |compressor| compressor.set_progressive(true).unwrap());
    let scans = |jpeg: &[u8]| jpeg.windows(2).filter(|pair| *pair == [0xff, 0xda]).count();
    let trailed: Bytes = [&jpeg[..], b"trailer"].concat().into();
    assert!(scans(&jpeg) > 3);
    assert_eq!(strip(&trailed).unwrap(), jpeg);
    assert_eq!(
        image_data(&write(&trailed, &facts()).unwrap()),
        image_data(&trailed),
        "a trailer is not ours"
    );
    let at = jpeg.len() - image_data(&jpeg).len();
    let hidden = [&jpeg[..at], &segment(0xfe, b"hidden"), &jpeg[at..]].concat();
    assert_eq!(strip(&hidden.into()), Err(MetadataError::BetweenScans));
}

#[test]
fn what_is_no_picture_is_refused() {
    let jpeg = picture();
    let head = jpeg.len() - image_data(&jpeg).len();
    for bytes in [&b""[..], b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a", &jpeg[..head], &jpeg[..head + 14]] {
        let bytes = Bytes::copy_from_slice(bytes);
        assert!(matches!(write(&bytes, &facts()), Err(MetadataError::NotAPicture(_))), "{bytes:?}");
        assert!(matches!(strip(&bytes), Err(MetadataError::NotAPicture(_))), "{bytes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn foreign_bytes_never_panic(random in proptest::collection::vec(any::<u8>(), 0..400)) {
        for bytes in [random.clone(), [&[0xff, 0xd8, 0xff][..], &random].concat()] {
            let bytes = Bytes::from(bytes);
            prop_assert!(write(&bytes, &facts()).is_ok() || bytes.len() < 500);
            prop_assert!(strip(&bytes).is_ok() || bytes.len() < 500);
        }
    }

    #[test]
    fn a_damaged_picture_is_refused_or_keeps_its_image_data(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        big_endian in any::<bool>(),
    ) {
        let mut bytes = write(&with_exif(&picture(), &camera_block(big_endian)).into(), &facts()).unwrap().to_vec();
        // Where the metadata are.
        let head = bytes.len() - image_data(&bytes).len();
        for (index, byte) in damages {
            let at = index.index(head);
            bytes[at] = byte;
        }
        let bytes = Bytes::from(bytes);
        let facts = CaptureFacts { item: "other".into(), iso: Some(200), ..facts() };
        if let Ok(after) = write(&bytes, &facts) {
            prop_assert!(after.ends_with(&bytes[bytes.len() - 100..]));
            prop_assert_eq!(&read_capture(&after)["item"], "other");
            prop_assert_eq!(write(&bytes, &facts), Ok(after));
        }
        if let Ok(after) = strip(&bytes) {
            prop_assert_eq!(read_capture(&after).len(), 0);
            prop_assert!(read::read(&after).is_none_or(|exif| exif.make.is_none() && exif.model.is_none()));
        }
    }
}
