use proptest::prelude::*;
use turbojpeg::Compressor;

use super::super::Decoder;
use super::*;
use crate::samples::{Raster, claiming, noise, scene};

const SUBSAMPLINGS: [Subsamp; 7] = [
    Subsamp::None,
    Subsamp::Sub2x1,
    Subsamp::Sub2x2,
    Subsamp::Sub1x2,
    Subsamp::Sub4x1,
    Subsamp::Sub1x4,
    Subsamp::Gray,
];

/// How coefficients become bits.
#[derive(Debug, Clone, Copy)]
struct Coding {
    progressive: bool,
    arithmetic: bool,
    own_tables: bool,
}

impl Coding {
    fn set(self, compressor: &mut Compressor) {
        compressor.set_progressive(self.progressive).unwrap();
        compressor.set_arithmetic(self.arithmetic).unwrap();
        compressor.set_optimize(self.own_tables && !self.arithmetic).unwrap();
    }
}

fn header(jpeg: &[u8]) -> DecompressHeader {
    turbojpeg::read_header(jpeg).unwrap()
}

/// What is wrong with a file for a decoder with the limits of a station that was not configured.
fn refusal(jpeg: &[u8]) -> Option<Unreadable> {
    Decoder::new().unwrap().decode(jpeg, &InputLimits::default()).err()
}

fn flat(width: usize, height: usize, grey: u8) -> Raster {
    Raster::from_fn(width, height, |_, _| [grey; 3])
}

#[test]
fn flat_white_of_24_megapixels_is_read_and_a_sequential_one_has_the_least_that_is_asked() {
    let white = flat(6000, 4000, 255);
    for subsamp in [Subsamp::Sub2x2, Subsamp::None, Subsamp::Gray] {
        for progressive in [false, true] {
            let coding = Coding { progressive, arithmetic: false, own_tables: true };
            let jpeg = white.jpeg_as(subsamp, |compressor| {
                compressor.set_quality(1).unwrap();
                coding.set(compressor);
            });
            assert_eq!(refusal(&jpeg), None, "{subsamp:?}, {coding:?}");
            let header = header(&jpeg);
            let least = blocks(&header) * bits_a_block_min(&header) / 8;
            let spent = jpeg.len() as u64;
            assert!(spent >= least, "{spent} bytes, {least} are asked");
            // Nothing stricter can be asked.
            assert!(progressive || spent < least + 1000, "{spent} bytes, {least} are asked");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_good_picture_is_refused_however_flat_or_coarse(
        // Large enough for blocks to outweigh the header.
        (width, height) in (1usize..900, 1usize..900),
        content in 0..4,
        grey: u8,
        quality in 1..=100,
        subsamp in prop::sample::select(SUBSAMPLINGS.to_vec()),
        (progressive, arithmetic, own_tables) in any::<(bool, bool, bool)>(),
    ) {
        let mut random = noise(u64::from(grey));
        let raster = match content {
            0 => flat(width, height, grey),
            1 => scene(width, height),
            2 => Raster::from_fn(width, height, |x, y| [(x + y) as u8, x as u8, y as u8]),
            _ => Raster::from_fn(width, height, |_, _| [random(), random(), random()]),
        };
        let coding = Coding { progressive, arithmetic, own_tables };
        let jpeg = raster.jpeg_as(subsamp, |compressor| {
            compressor.set_quality(quality).unwrap();
            coding.set(compressor);
        });
        prop_assert_eq!(refusal(&jpeg), None);
        let limits = InputLimits { pixels_max: (width * height) as u64, ..InputLimits::default() };
        let mut decoder = Decoder::new().unwrap();
        match decoder.decode(&jpeg, &limits) {
            Ok(decoded) => prop_assert_eq!(decoded.damage, None),
            // At the limit of pixels there is room for the coefficients of grey alone.
            Err(Unreadable::Scans { needed, max }) => {
                prop_assert!(progressive && needed > max && max == 3 * limits.pixels_max);
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_size_that_the_bytes_cannot_hold_takes_no_memory(
        (width, height) in (1000u16..14_000, 1000u16..14_000),
        subsamp in prop::sample::select(SUBSAMPLINGS.to_vec()),
        progressive: bool,
    ) {
        let small = scene(16, 16).jpeg_as(subsamp, |c| c.set_progressive(progressive).unwrap());
        let jpeg = claiming(small, width, height);
        let limits = InputLimits::default();
        let mut decoder = Decoder::new().unwrap();
        let least = blocks(&header(&jpeg)) * bits_a_block_min(&header(&jpeg)) / 8;
        prop_assume!(least > jpeg.len() as u64);
        let refused = decoder.decode(&jpeg, &limits).err();
        prop_assert!(matches!(&refused, Some(Unreadable::Corrupt(words)) if words.contains("claims")), "{refused:?}");
        prop_assert_eq!(decoder.held_bytes(), 0);
    }
}

#[test]
fn blocks_are_counted_as_the_components_have_them() {
    let blocks = |subsamp| blocks(&header(&scene(33, 17).jpeg_as(subsamp, |_| {})));
    // Luma: 5 x 3 blocks; chroma at half the width 17 samples, at half the height 9, at a quarter 9 and 5.
    assert_eq!(blocks(Subsamp::Gray), 15);
    assert_eq!(blocks(Subsamp::None), 15 + 2 * 15);
    assert_eq!(blocks(Subsamp::Sub2x1), 15 + 2 * 3 * 3);
    assert_eq!(blocks(Subsamp::Sub2x2), 15 + 2 * 3 * 2);
    assert_eq!(blocks(Subsamp::Sub4x1), 15 + 2 * 2 * 3);
    assert_eq!(blocks(Subsamp::Sub1x4), 15 + 2 * 5);
}

#[test]
fn the_first_scan_is_found_behind_whatever_the_decoder_skips() {
    let jpeg = scene(64, 48).jpeg();
    assert_eq!(components_of_first_scan(&jpeg), Some(3));
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let (before, after) = jpeg.split_at(scan);
    // Fill bytes; markers without a length; a comment that holds another scan's header.
    let skipped: [&[u8]; 3] =
        [&[0xff; 3], &[0xff, 0x01, 0xff, 0xd3], &[0xff, 0xfe, 0, 9, 0xff, 0xda, 0, 8, 1, 1, 0]];
    for skipped in skipped {
        let odd = [before, skipped, after].concat();
        assert_eq!(components_of_first_scan(&odd), Some(3), "{skipped:x?}");
        assert!(turbojpeg::read_header(&odd).is_ok(), "the decoder does not skip {skipped:x?}");
    }
    for end in 0..scan + 4 {
        assert_eq!(components_of_first_scan(&jpeg[..end]), None, "{end} bytes");
    }
}
