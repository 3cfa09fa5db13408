use proptest::prelude::*;
use turbojpeg::{PixelFormat, Subsamp};

use super::*;
use crate::samples::{decode, scene};

/// Kind, place and whole length of every segment before the first scan, and of the scan's own header.
fn segments(jpeg: &[u8]) -> Vec<(u8, usize, usize)> {
    let (mut at, mut found) = (2, Vec::new());
    loop {
        assert_eq!(jpeg[at], MARK);
        let len = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        found.push((jpeg[at + 1], at, len));
        if jpeg[at + 1] == START_OF_SCAN {
            return found;
        }
        at += len;
    }
}

/// The file as a film camera would send it, and what stood in its tables.
fn without_tables(jpeg: &[u8]) -> (Bytes, Vec<u8>) {
    let (mut bare, mut tables) = (jpeg.to_vec(), Vec::new());
    for &(kind, at, len) in segments(jpeg).iter().rev() {
        if kind == HUFFMAN_TABLES {
            tables.splice(0..0, bare.drain(at..at + len).skip(4));
        }
    }
    (Bytes::from(bare), tables)
}

#[track_caller]
fn assert_untouched(jpeg: Bytes) {
    let (at, len) = (jpeg.as_ptr(), jpeg.len());
    let got = with_tables(jpeg);
    assert_eq!((got.as_ptr(), got.len()), (at, len), "the same bytes, not a copy");
}

#[test]
fn a_film_frame_gets_its_tables_back_and_shows_the_same() {
    for subsamp in [Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::None, Subsamp::Gray] {
        let jpeg = scene(61, 47).jpeg_as(subsamp, |_| {});
        let (bare, _) = without_tables(&jpeg);
        assert!(bare.len() < jpeg.len());
        let whole = with_tables(bare.clone());
        assert_eq!(whole.len(), bare.len() + 420);
        let tables = segments(&whole).iter().filter(|(kind, ..)| *kind == HUFFMAN_TABLES).count();
        assert_eq!(tables, 1);
        let scan = |jpeg: &[u8]| jpeg[segments(jpeg).last().unwrap().1..].to_vec();
        assert!(scan(&whole) == scan(&jpeg), "coded data is the same bit for bit");
        let (got, want) = (decode(&whole, PixelFormat::RGB), decode(&jpeg, PixelFormat::RGB));
        assert!(got.samples == want.samples, "{subsamp:?}");
    }
}

#[test]
fn the_decoder_in_use_needs_no_tables_either() {
    let jpeg = scene(61, 47).jpeg();
    let (bare, _) = without_tables(&jpeg);
    assert!(decode(&bare, PixelFormat::RGB).samples == decode(&jpeg, PixelFormat::RGB).samples);
}

#[test]
fn the_tables_are_those_another_coder_calls_standard() {
    let (_, mut theirs) = without_tables(&scene(16, 16).jpeg());
    // It writes luma's two tables first.
    let luma_detail = theirs.drain(29..29 + 179).collect::<Vec<_>>();
    theirs.splice(58..58, luma_detail);
    // Mean and detail of luma, mean and detail of chroma; ours are both means, then both details.
    assert_eq!(segment()[4..], theirs);
    assert_eq!(segment().len(), 420);
}

#[test]
fn a_file_that_has_tables_is_not_even_copied() {
    assert_untouched(scene(61, 47).jpeg().into());
    let ownmade = scene(61, 47).jpeg_as(Subsamp::Sub2x2, |coder| coder.set_optimize(true).unwrap());
    assert_untouched(ownmade.into());
}

#[test]
fn one_table_is_enough_to_leave_a_file_alone() {
    let jpeg = scene(61, 47).jpeg();
    let mut some = jpeg.clone();
    let first = segments(&jpeg).into_iter().find(|(kind, ..)| *kind == HUFFMAN_TABLES).unwrap();
    some.drain(first.1..first.1 + first.2);
    assert_untouched(some.into());
}

#[test]
fn a_film_frame_with_fill_bytes_before_its_markers_gets_its_tables_too() {
    let jpeg = scene(61, 47).jpeg();
    let mut bare = without_tables(&jpeg).0.to_vec();
    let scan = segments(&bare).last().unwrap().1;
    bare.splice(scan..scan, [MARK; 3]);
    bare.splice(2..2, [MARK; 2]);
    let whole = with_tables(bare.into());
    assert!(decode(&whole, PixelFormat::RGB).samples == decode(&jpeg, PixelFormat::RGB).samples);
}

#[test]
fn rare_kinds_of_jpeg_and_other_files_stay_as_they_are() {
    let arithmetic = scene(16, 16).jpeg_as(Subsamp::Sub2x2, |coder| coder.set_arithmetic(true).unwrap());
    assert!(without_tables(&arithmetic).1.is_empty());
    let progressive = scene(16, 16).jpeg_as(Subsamp::Sub2x2, |coder| coder.set_progressive(true).unwrap());
    let (bare, _) = without_tables(&scene(16, 16).jpeg());
    let frame = crate::samples::frame_header_at(&bare);
    let with = |at: usize, byte: u8| {
        let mut changed = bare.to_vec();
        changed[at] = byte;
        Bytes::from(changed)
    };
    let scan = segments(&bare).last().unwrap().1;
    let cases: [(&str, Bytes); 11] = [
        ("arithmetic", arithmetic.into()),
        ("progressive", without_tables(&progressive).0),
        ("extended", with(frame + 1, 0xc1)),
        ("12 bits a sample", with(frame + 4, 12)),
        ("no frame header", with(frame + 1, 0xfe)),
        ("a marker that cannot be there", with(frame + 1, 0xd9)),
        ("a length that leads astray", with(frame + 3, 18)),
        ("cut off", bare.slice(..scan + 3)),
        ("starts like a PNG", with(0, 0x89)),
        ("text", Bytes::from_static(b"not a picture")),
        ("nothing", Bytes::new()),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        assert_untouched(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic_and_stay(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_untouched(bytes.into());
    }

    #[test]
    fn damaged_files_never_panic_and_nothing_but_the_tables_comes_in(
        bare in any::<bool>(),
        damages in proptest::collection::vec((0..700usize, any::<u8>()), 1..6),
    ) {
        let jpeg = scene(24, 24).jpeg();
        let mut damaged = if bare { without_tables(&jpeg).0.to_vec() } else { jpeg };
        for (at, byte) in damages {
            let at = at % damaged.len();
            damaged[at] = byte;
        }
        let before = Bytes::from(damaged);
        let whole = with_tables(before.clone());
        if whole != before {
            let at = whole.windows(420).position(|part| part == segment()).expect("the tables came in");
            prop_assert_eq!([&whole[..at], &whole[at + 420..]].concat(), before.to_vec());
            assert_untouched(whole);
        }
    }

    #[test]
    fn whatever_follows_its_first_table_a_file_stays(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut jpeg = scene(24, 24).jpeg();
        let first = segments(&jpeg).into_iter().find(|(kind, ..)| *kind == HUFFMAN_TABLES).unwrap().1;
        for (place, byte) in damages {
            let at = first + 2 + place.index(jpeg.len() - first - 2);
            jpeg[at] = byte;
        }
        assert_untouched(jpeg.into());
    }
}
