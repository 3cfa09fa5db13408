use proptest::prelude::*;
use sha2::{Digest, Sha256};
use turbojpeg::{Colorspace, Subsamp};

use super::*;
use crate::samples::{Raster, claiming, frame_header_at, noise, orientation_tiff, scene, with_exif};
use crate::{Nature, Verdict};

fn examiner() -> Examiner {
    Examiner::new(InputLimits::default()).unwrap()
}

fn examine(bytes: &[u8]) -> Examined {
    examiner().examine(bytes, &qc::Limits::default())
}

/// The one finding, which must block and have the rule.
fn only_finding(examined: &Examined, rule: &str) -> Finding {
    let [finding] = &examined.findings[..] else { panic!("not one finding: {:?}", examined.findings) };
    assert_eq!((finding.rule.as_str(), finding.verdict), (rule, Verdict::Block), "{}", finding.message);
    finding.clone()
}

fn no_picture(bytes: &[u8], rule: &str) -> Finding {
    let examined = examine(bytes);
    assert_eq!(examined.picture, None);
    only_finding(&examined, rule)
}

#[test]
fn a_good_frame_has_a_picture_and_no_findings() {
    let jpeg = scene(800, 600).jpeg();
    let examined = examine(&jpeg);
    assert_eq!(examined.findings, []);
    assert_eq!(examined.length, jpeg.len() as u64);
    assert_eq!(examined.sha256[..], Sha256::digest(&jpeg)[..]);
    assert_eq!(examined.exif, None);
    let picture = examined.picture.unwrap();
    assert_eq!((picture.width, picture.height, picture.orientation), (800, 600, 1));
    assert!(picture.exposure.mean > 60.0 && picture.exposure.mean < 160.0, "{:?}", picture.exposure);
}

#[test]
fn an_examiner_gives_the_same_for_a_frame_whatever_came_before() {
    let (large, small) = (scene(640, 480).jpeg(), scene(101, 77).jpeg_as(Subsamp::Sub2x1, |_| {}));
    let mut examiner = examiner();
    let limits = qc::Limits::default();
    for bytes in [&large, &small, &large[..large.len() / 2].to_vec(), &small, &b"text".to_vec(), &large] {
        assert_eq!(examiner.examine(bytes, &limits), examine(bytes));
    }
}

#[test]
fn an_examiner_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Examiner>();
}

#[test]
fn impossible_input_limits_are_refused_by_name() {
    let error = Examiner::new(InputLimits { bytes_max: 0, pixels_max: 0 }).err().unwrap();
    let words = error.to_string();
    assert!(words.contains("bytes_max") && words.contains("pixels_max"), "{words}");
}

#[test]
fn a_truncated_frame_is_damaged_and_what_arrived_can_be_seen() {
    let mut examiner = examiner();
    let limits = qc::Limits::default();
    let white = Raster::from_fn(800, 600, |_, _| [255; 3]).jpeg();
    examiner.examine(&white, &limits);
    let jpeg = scene(800, 600).jpeg();
    let examined = examiner.examine(&jpeg[..jpeg.len() / 2], &limits);
    let finding = &examined.findings[0];
    assert_eq!((finding.rule.as_str(), finding.nature), ("qc.corrupt", Nature::Transient));
    assert!(finding.message.contains("retake"), "{}", finding.message);
    let picture = examined.picture.unwrap();
    assert_eq!(picture.exposure.clipped_high, 0.0, "nothing of the white frame before shows through");
}

#[test]
fn a_frame_that_only_lacks_its_end_marker_is_damaged() {
    let jpeg = scene(320, 240).jpeg();
    let examined = examine(&jpeg[..jpeg.len() - 2]);
    only_finding(&examined, "qc.corrupt");
    assert!(examined.picture.is_some());
}

#[test]
fn bytes_after_the_end_of_a_frame_do_not_matter() {
    let mut jpeg = scene(320, 240).jpeg();
    let clean = examine(&jpeg);
    jpeg.extend(b"a second picture may follow the first");
    let examined = examine(&jpeg);
    assert_eq!(examined.findings, []);
    assert_eq!(examined.picture, clean.picture);
}

#[test]
fn a_frame_with_many_flipped_bits_is_damaged() {
    let mut jpeg = scene(640, 480).jpeg();
    let scan = jpeg.len() / 4;
    let mut byte = noise(11);
    for at in (scan..jpeg.len() - 100).step_by(997) {
        jpeg[at] ^= byte() | 1;
    }
    let examined = examine(&jpeg);
    assert!(examined.findings.iter().any(|finding| finding.rule == "qc.corrupt"), "{:?}", examined.findings);
}

#[test]
fn what_is_no_jpeg_is_told_by_its_kind() {
    assert!(no_picture(b"", "qc.corrupt").message.contains("empty"));
    assert!(no_picture(b"502 Bad Gateway", "qc.corrupt").message.contains("does not begin like a JPEG"));
    let png = no_picture(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "qc.format");
    assert!(png.message.contains("PNG"), "{}", png.message);
    assert_eq!(png.nature, Nature::Systematic);
    let heic = no_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "qc.format");
    assert!(heic.message.contains("HEIC"), "{}", heic.message);
    for start in [&b"II*\0"[..], b"GIF89a", b"BM\0\0", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypavif"] {
        no_picture(start, "qc.format");
    }
}

#[test]
fn a_jpeg_cut_within_its_header_is_damaged() {
    let jpeg = scene(64, 48).jpeg();
    for length in [3, 4, 20, frame_header_at(&jpeg), frame_header_at(&jpeg) + 6] {
        no_picture(&jpeg[..length], "qc.corrupt");
    }
}

#[test]
fn a_broken_header_does_not_spoil_the_next_frame() {
    let jpeg = scene(64, 48).jpeg();
    let mut broken = jpeg.clone();
    // A quantisation table of length 0 ends the reading in the middle of the header.
    let table = broken.windows(2).position(|pair| pair == [0xff, 0xdb]).unwrap();
    broken[table + 2..table + 4].copy_from_slice(&[0, 0]);
    let mut examiner = examiner();
    let limits = qc::Limits::default();
    assert_eq!(examiner.examine(&broken, &limits).picture, None);
    assert_eq!(examiner.examine(&jpeg, &limits), examine(&jpeg));
}

#[test]
fn colours_and_kinds_that_are_not_handled_are_refused_clearly() {
    let scene = scene(64, 48);
    let cmyk = no_picture(&scene.cmyk_jpeg(Colorspace::CMYK), "qc.format");
    assert!(cmyk.message.contains("CMYK"), "{}", cmyk.message);
    no_picture(&scene.cmyk_jpeg(Colorspace::YCCK), "qc.format");
    let rgb = scene.jpeg_as(Subsamp::None, |c| c.set_colorspace(Colorspace::RGB).unwrap());
    assert!(no_picture(&rgb, "qc.format").message.contains("red, green and blue"));
    let lossless = scene.jpeg_as(Subsamp::None, |c| c.set_lossless(true).unwrap());
    assert!(no_picture(&lossless, "qc.format").message.contains("lossless"));
    let mut deep = scene.jpeg();
    let at = frame_header_at(&deep);
    deep[at + 4] = 12;
    assert!(no_picture(&deep, "qc.format").message.contains("8 bits"));
}

#[test]
fn arithmetic_coding_and_restart_free_progressive_scans_are_read() {
    let scene = scene(200, 150);
    let baseline = examine(&scene.jpeg()).picture.unwrap();
    let progressive = scene.jpeg_as(Subsamp::Sub2x2, |c| c.set_progressive(true).unwrap());
    let arithmetic = scene.jpeg_as(Subsamp::Sub2x2, |c| c.set_arithmetic(true).unwrap());
    for jpeg in [progressive, arithmetic] {
        assert_eq!(examine(&jpeg).picture.unwrap(), baseline, "the same samples, coded otherwise");
    }
}

#[test]
fn a_header_that_announces_a_giant_is_refused_before_memory_is_taken() {
    let bomb = claiming(scene(64, 48).jpeg(), 65_500, 65_500);
    let mut examiner = examiner();
    let examined = examiner.examine(&bomb, &qc::Limits::default());
    assert_eq!(examined.picture, None);
    let finding = only_finding(&examined, "qc.too-large");
    assert_eq!((finding.value, finding.limit, finding.unit.as_str()), (4290.25, 200.0, "megapixels"));
    assert_eq!(examiner.held_bytes(), 0);
}

#[test]
fn a_side_beyond_what_the_decoder_knows_is_refused() {
    no_picture(&claiming(scene(64, 48).jpeg(), 65_535, 10), "qc.format");
    no_picture(&claiming(scene(64, 48).jpeg(), 64, 0), "qc.corrupt");
}

#[test]
fn a_file_with_too_many_bytes_is_refused_but_still_hashed() {
    let jpeg = scene(64, 48).jpeg();
    let limits = InputLimits { bytes_max: jpeg.len() as u64 - 1, ..InputLimits::default() };
    let examined = Examiner::new(limits).unwrap().examine(&jpeg, &qc::Limits::default());
    let finding = only_finding(&examined, "qc.too-large");
    assert_eq!(finding.unit, "MB");
    assert_eq!(examined.sha256[..], Sha256::digest(&jpeg)[..]);
}

#[test]
fn memory_of_a_giant_frame_is_given_back_after_the_next_small_one() {
    let mut examiner = examiner();
    let limits = qc::Limits::default();
    examiner.examine(&scene(3000, 2000).jpeg(), &limits);
    let large = examiner.held_bytes();
    examiner.examine(&scene(300, 200).jpeg(), &limits);
    assert!(examiner.held_bytes() < large / 2, "{} of {large}", examiner.held_bytes());
}

#[test]
fn a_frame_of_12_megapixels_keeps_within_its_memory() {
    let jpeg = scene(4000, 3000).jpeg();
    let mut examiner = examiner();
    examiner.examine(&jpeg, &qc::Limits::default());
    // 18 MB planes, 3.75 MB half and quarter, the rest for thumbnails; the file comes on top, 40 MB in all.
    let (held, file) = (examiner.held_bytes(), jpeg.len());
    assert!(held <= 33_000_000 && held + file <= 40_000_000, "{held} bytes for a file of {file}");
}

#[test]
fn records_are_written_as_plain_values() {
    let jpeg = with_exif(&scene(64, 48).jpeg(), &orientation_tiff(3));
    let examined = examine(&jpeg);
    let written = serde_json::to_value(&examined).unwrap();
    assert_eq!(written["picture"]["width"], 64);
    assert_eq!(written["picture"]["thumbnails"][0]["side_max"], 150);
    assert_eq!(written["exif"]["orientation"], 3);
    let sharpness = written["picture"]["sharpness"].clone();
    assert_eq!(serde_json::from_value::<Sharpness>(sharpness).unwrap(), examined.picture.unwrap().sharpness);
}

/// Bytes an examiner may hold after frames of at most `pixels_max`: planes, half and quarter, thumbnails.
fn held_bytes_max(pixels_max: u64) -> usize {
    (pixels_max as usize) * 5 + 12_000_000
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic_and_never_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let examined = examine(&bytes);
        prop_assert!(examined.picture.is_none() && examined.findings.len() == 1);
    }

    #[test]
    fn random_bytes_behind_a_jpeg_start_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut jpeg = vec![0xff, 0xd8, 0xff];
        jpeg.extend(bytes);
        let examined = examine(&jpeg);
        prop_assert!(examined.picture.is_some() || !examined.findings.is_empty());
    }

    #[test]
    fn a_damaged_frame_never_panics_nor_takes_more_memory_than_allowed(
        progressive: bool,
        subsamp in prop_oneof![
            Just(Subsamp::None), Just(Subsamp::Sub2x1), Just(Subsamp::Sub2x2),
            Just(Subsamp::Sub1x2), Just(Subsamp::Gray)],
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        in_header: bool,
    ) {
        let jpeg = scene(97, 61).jpeg_as(subsamp, |c| c.set_progressive(progressive).unwrap());
        let mut jpeg = with_exif(&jpeg, &orientation_tiff(6));
        let reach = if in_header { jpeg.len().min(700) } else { jpeg.len() };
        for (index, byte) in damages {
            let at = index.index(reach);
            jpeg[at] = byte;
        }
        if let Some(cut) = cut {
            jpeg.truncate(cut.index(jpeg.len()));
        }
        let limits = InputLimits { pixels_max: 2_000_000, ..InputLimits::default() };
        let mut examiner = Examiner::new(limits).unwrap();
        let examined = examiner.examine(&jpeg, &qc::Limits::default());
        prop_assert!(examined.picture.is_some() || !examined.findings.is_empty());
        prop_assert!(examiner.held_bytes() <= held_bytes_max(limits.pixels_max));
        if let Some(picture) = examined.picture {
            prop_assert!(u64::from(picture.width) * u64::from(picture.height) <= limits.pixels_max);
        }
    }
}
