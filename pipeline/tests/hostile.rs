//! Files that were made to harm: giants in a few bytes, endless work, cut and lying ones.
//!
//! Each is refused, or read as far as it goes, within the limits of memory, and a finding says why in words for the
//! person at the rig.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};
use turnstage_pipeline::{Examined, Examiner, InputLimits, Verdict, qc};

/// Small, as a station with little memory may have it.
const LIMITS: InputLimits = InputLimits { bytes_max: 8_000_000, pixels_max: 4_000_000 };
/// What a frame may add to the memory of the process: three bytes for each pixel of the largest picture that is
/// allowed, and as much again for what is made of it and for tests that share the process.
const GROWTH_MAX_BYTES: u64 = 2 * 3 * LIMITS.pixels_max;
/// What one may add that is refused by its header: the decoder's own tables, and code that was not needed before.
const HEADER_BYTES_MAX: u64 = 4_000_000;

const START_OF_SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
const QUANTISATION_TABLES: u8 = 0xdb;

fn examine(bytes: &[u8]) -> Examined {
    examine_within(LIMITS, GROWTH_MAX_BYTES, bytes)
}

#[track_caller]
fn examine_within(limits: InputLimits, growth_bytes_max: u64, bytes: &[u8]) -> Examined {
    let before = peak_resident_bytes();
    let examined = Examiner::new(limits).unwrap().examine(bytes, &qc::Limits::default());
    let grown = peak_resident_bytes() - before;
    assert!(grown <= growth_bytes_max, "{grown} bytes for a file of {}", bytes.len());
    examined
}

/// Most memory this process ever had resident; nextest gives every test a process of its own.
fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Nothing is shown of the file, and a finding of `rule` with these words blocks it.
#[track_caller]
fn refused(bytes: &[u8], rule: &str, words: &[&str]) {
    refused_as(&examine(bytes), bytes, rule, words);
}

/// The same for a station that was not configured; and nothing but the header was looked at.
#[track_caller]
fn refused_by_header(bytes: &[u8], rule: &str, words: &[&str]) {
    refused_as(&examine_within(InputLimits::default(), HEADER_BYTES_MAX, bytes), bytes, rule, words);
}

#[track_caller]
fn refused_as(examined: &Examined, bytes: &[u8], rule: &str, words: &[&str]) {
    assert!(examined.picture.is_none(), "a picture of {} bytes", bytes.len());
    told(examined, rule, words);
}

#[track_caller]
fn told(examined: &Examined, rule: &str, words: &[&str]) {
    let finding = examined.findings.iter().find(|finding| finding.rule == rule);
    let finding = finding.unwrap_or_else(|| panic!("no {rule} in {:?}", examined.findings));
    assert_eq!(finding.verdict, Verdict::Block);
    for word in words {
        assert!(finding.message.contains(word), "no {word:?} in {:?}", finding.message);
    }
}

/// A picture with detail everywhere.
fn jpeg(width: usize, height: usize, progressive: bool) -> Vec<u8> {
    jpeg_as(width, height, |compressor| compressor.set_progressive(progressive).unwrap())
}

fn jpeg_as(width: usize, height: usize, set: impl FnOnce(&mut Compressor)) -> Vec<u8> {
    let pixel =
        |x: usize, y: usize| [x + y, ((x / 5) ^ (y / 7)) % 2 * 90 + 80, 3 * y].map(|value| value as u8);
    let pixels: Vec<u8> = (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect();
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(90).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    set(&mut compressor);
    let image = Image { pixels: &pixels[..], width, pitch: 3 * width, height, format: PixelFormat::RGB };
    compressor.compress_to_vec(image).unwrap()
}

/// Where the first segment of one of these kinds begins, at its 0xff.
fn segment_at(jpeg: &[u8], kinds: &[u8]) -> usize {
    let mut at = 2;
    while !kinds.contains(&jpeg[at + 1]) {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    at
}

/// The same file with another size in its frame header.
fn claiming(mut jpeg: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    let frame = segment_at(&jpeg, &[0xc0, 0xc1, 0xc2, 0xca]);
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// The same file with comments behind its start, so many bytes of them at least.
fn padded(jpeg: &[u8], bytes: usize) -> Vec<u8> {
    let comment = [&[0xff, 0xfe, 0xff, 0xff][..], &[b' '; 0xffff - 2]].concat();
    [&jpeg[..2], &comment.repeat(bytes.div_ceil(comment.len())), &jpeg[2..]].concat()
}

/// A sequential picture whose components, all three the same, come one after the other.
fn in_three_scans() -> Vec<u8> {
    let grey = jpeg_as(320, 240, |compressor| {
        compressor.set_subsamp(Subsamp::Gray).unwrap();
    });
    let (frame, tables) = (segment_at(&grey, &[0xc0]), segment_at(&grey, &[HUFFMAN_TABLES]));
    let scan = segment_at(&grey, &[START_OF_SCAN]);
    // Marker, length, one component with its tables, and the band of all coefficients; then the coded data.
    let coded = &grey[scan + 10..grey.len() - 2];
    let size = &grey[frame + 4..frame + 9];
    let mut out =
        [&grey[..frame], &[0xff, 0xc0, 0, 17], size, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat();
    out.extend(&grey[tables..scan]);
    for component in 1..=3 {
        out.extend([0xff, START_OF_SCAN, 0, 8, 1, component, 0, 0, 63, 0]);
        out.extend(coded);
    }
    out.extend([0xff, 0xd9]);
    out
}

fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + tiff.len()).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, b"Exif\0\0", tiff, &jpeg[2..]].concat()
}

#[test]
fn a_progressive_bomb_of_65500_by_65500_is_refused_by_its_header() {
    let bomb = claiming(jpeg(64, 48, true), 65_500, 65_500);
    assert!(bomb.len() < 10_000, "{} bytes are no trick", bomb.len());
    refused(&bomb, "qc.too-large", &["4290.3 megapixels", "at most 4"]);
}

#[test]
fn one_row_too_many_is_refused_and_so_is_a_hollow_picture_at_the_limit() {
    for progressive in [false, true] {
        refused(&claiming(jpeg(64, 48, progressive), 2000, 2001), "qc.too-large", &["megapixels"]);
        refused(&claiming(jpeg(64, 48, progressive), 2000, 2000), "qc.corrupt", &["retake"]);
    }
}

#[test]
fn a_few_bytes_that_claim_196_megapixels_are_refused_by_their_header() {
    for (progressive, least) in [(false, "1148438"), (true, "574219")] {
        let bomb = claiming(jpeg(64, 48, progressive), 14_000, 14_000);
        assert!(bomb.len() < 4000, "{} bytes are no trick", bomb.len());
        let length = bomb.len().to_string();
        refused_by_header(&bomb, "qc.corrupt", &["14000 x 14000", &length, least, "retake"]);
    }
}

#[test]
fn scans_whose_coefficients_would_fill_the_memory_are_refused_by_the_header() {
    let arithmetic = jpeg_as(64, 48, |compressor| {
        compressor.set_progressive(true).unwrap();
        compressor.set_arithmetic(true).unwrap();
    });
    let bombs = [
        (padded(&jpeg(64, 48, true), 600_000), "882.0 MB"),
        (padded(&in_three_scans(), 2_400_000), "1764.0 MB"),
        (arithmetic, "882.0 MB"),
    ];
    for (bomb, needed) in bombs {
        let bomb = claiming(bomb, 14_000, 14_000);
        refused_by_header(&bomb, "qc.too-large", &[needed, "at most 600", "not progressive"]);
    }
}

#[test]
fn a_progressive_picture_may_have_two_thirds_of_the_pixels_and_one_in_three_scans_is_read() {
    assert_eq!(examine(&jpeg(2000, 1300, true)).findings, []);
    refused(&jpeg(2000, 1360, true), "qc.too-large", &["12.3 MB", "at most 12.0"]);
    assert_eq!(examine(&jpeg(2000, 2000, false)).findings, []);
    let examined = examine(&in_three_scans());
    let picture = examined.picture.unwrap();
    assert_eq!((picture.width, picture.height), (320, 240));
    assert!(examined.findings.iter().all(|finding| finding.rule != "qc.corrupt"), "{:?}", examined.findings);
}

#[test]
fn a_file_of_ten_thousand_scans_is_given_up_after_some() {
    let whole = jpeg(640, 480, true);
    // Its first scan again and again: each is a pass over all blocks of the picture.
    let first = segment_at(&whole, &[START_OF_SCAN]);
    let ends = |pair: &[u8]| pair[0] == 0xff && [HUFFMAN_TABLES, START_OF_SCAN].contains(&pair[1]);
    let length = 2 + whole[first + 2..].windows(2).position(ends).unwrap();
    let scans = (LIMITS.bytes_max as usize / length - 1).min(10_000);
    let scan = &whole[first..first + length];
    let bomb = [&whole[..first], &scan.repeat(scans), &[0xff, 0xd9]].concat();
    assert!(scans > 200, "only {scans} scans of {length} bytes");
    refused(&bomb, "qc.corrupt", &["scan"]);
}

#[test]
fn a_file_cut_at_any_64th_is_refused_or_damaged_and_never_passes() {
    for progressive in [false, true] {
        let whole = jpeg(320, 240, progressive);
        let pieces = (0..64).map(|part| examine(&whole[..whole.len() * part / 64]));
        let mut seen = 0;
        for piece in pieces {
            told(&piece, "qc.corrupt", &[]);
            seen += usize::from(piece.picture.is_some());
        }
        assert!(seen > 32, "something can be seen of only {seen} pieces");
        assert_eq!(examine(&whole).findings, []);
    }
}

/// An entry of a directory: tag, type, count, value or offset.
type Entry = (u16, u16, u32, u32);

fn directory(entries: &[Entry], next: u32) -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    out.extend((entries.len() as u16).to_le_bytes());
    for &(tag, kind, count, value) in entries {
        out.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        out.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    out.extend(next.to_le_bytes());
    out
}

#[test]
fn lying_exif_harms_nothing_but_itself() {
    let orientation: Entry = (0x0112, 3, 1, 6);
    let mut many = directory(&[orientation, orientation], 0);
    many[8..10].copy_from_slice(&[0xff, 0xff]);
    let lies = [
        ("a directory that is its own next", directory(&[orientation], 8)),
        ("an EXIF directory that is the first", directory(&[orientation, (0x8769, 4, 1, 8)], 0)),
        ("a GPS directory within its own entry", directory(&[orientation, (0x8825, 4, 1, 22)], 0)),
        ("text of 4 GB", directory(&[orientation, (0x010f, 2, u32::MAX, 8)], 0)),
        ("fractions whose bytes overflow", directory(&[orientation, (0x829a, 5, 0x2000_0001, 8)], 0)),
        ("an offset at the end of all", directory(&[orientation, (0x0110, 2, 40, u32::MAX - 4)], u32::MAX)),
        ("65535 entries where there are two", many),
        ("a first directory beyond the end", b"II*\0\xff\xff\xff\x7f".to_vec()),
    ];
    let clean = jpeg(320, 240, false);
    let expected = examine(&clean).picture.unwrap();
    for (what, tiff) in lies {
        let examined = examine(&with_exif(&clean, &tiff));
        assert_eq!(examined.findings, [], "{what}: the picture itself is good");
        let picture = examined.picture.unwrap();
        assert_eq!(picture.sharpness, expected.sharpness, "{what}");
        let turned = examined.exif.is_some_and(|exif| exif.orientation == Some(6));
        let size = if turned { (240, 320) } else { (320, 240) };
        assert_eq!((picture.width, picture.height), size, "{what}");
    }
}

#[test]
fn tables_that_lie_about_their_length_are_damage() {
    let clean = jpeg(64, 48, false);
    let tables = segment_at(&clean, &[QUANTISATION_TABLES]);
    for length in [0u16, 1, 2, 3, u16::MAX] {
        let mut lying = clean.clone();
        lying[tables + 2..tables + 4].copy_from_slice(&length.to_be_bytes());
        refused(&lying, "qc.corrupt", &[]);
    }
}
