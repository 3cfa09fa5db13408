//! Good JPEGs of every kind that the station meets, made from a formula.

use std::sync::LazyLock;

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

const WIDTH: usize = 96;
const HEIGHT: usize = 64;
/// Rows of one restart interval: those of a whole block of 4:2:0.
const INTERVAL_ROWS: usize = 16;

/// One JPEG of each kind.
pub static KINDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let baseline = coded(HEIGHT, Subsamp::Sub2x2, |_| Ok(()));
    vec![
        without_huffman_tables(&baseline),
        with_restart_markers(),
        coded(HEIGHT, Subsamp::Sub2x2, |c| c.set_progressive(true)),
        coded(HEIGHT, Subsamp::Gray, |c| c.set_progressive(true)),
        coded(HEIGHT, Subsamp::Sub2x2, |c| c.set_arithmetic(true)),
        coded(HEIGHT, Subsamp::Sub2x1, |_| Ok(())),
        coded(HEIGHT, Subsamp::None, |c| c.set_optimize(true)),
        coded(HEIGHT, Subsamp::Gray, |_| Ok(())),
        coded(HEIGHT, Subsamp::Sub1x2, |_| Ok(())),
        coded(HEIGHT, Subsamp::Sub4x1, |_| Ok(())),
        coded(61, Subsamp::Sub2x2, |_| Ok(())),
        with_exif(&baseline, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        baseline,
    ]
});

/// The smallest of them.
pub fn small() -> &'static [u8] {
    KINDS.iter().min_by_key(|jpeg| jpeg.len()).expect("there are kinds")
}

/// A JPEG with a TIFF block in a segment after its first marker; a block that is too long for one is cut.
pub fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"Exif\0\0";
    let tiff = &tiff[..tiff.len().min(usize::from(u16::MAX) - 2 - HEAD.len())];
    let length = (2 + HEAD.len() + tiff.len()) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes(), HEAD, tiff, &jpeg[2..]].concat()
}

fn coded(
    height: usize,
    subsamp: Subsamp,
    set: impl FnOnce(&mut Compressor) -> turbojpeg::Result<()>,
) -> Vec<u8> {
    coded_rows(0, height, subsamp, set)
}

fn coded_rows(
    top: usize,
    height: usize,
    subsamp: Subsamp,
    set: impl FnOnce(&mut Compressor) -> turbojpeg::Result<()>,
) -> Vec<u8> {
    let pixel =
        |x: usize, y: usize| [x * 2 + y, y * 3 + ((x / 7) ^ (y / 5)) % 2 * 60, 255 - x].map(|v| v as u8);
    let pixels: Vec<u8> = (0..WIDTH * height).flat_map(|i| pixel(i % WIDTH, top + i / WIDTH)).collect();
    let encode = || {
        let mut compressor = Compressor::new()?;
        compressor.set_subsamp(subsamp)?;
        compressor.set_quality(80)?;
        set(&mut compressor)?;
        let image =
            Image { pixels: &pixels[..], width: WIDTH, pitch: 3 * WIDTH, height, format: PixelFormat::RGB };
        compressor.compress_to_vec(image)
    };
    encode().expect("the encoder knows every kind")
}

/// As webcams send them: the decoder has to know the usual tables itself.
fn without_huffman_tables(jpeg: &[u8]) -> Vec<u8> {
    const TABLES: u8 = 0xc4;
    let (segments, scan) = divided(jpeg);
    let kept = segments.into_iter().filter(|segment| segment[1] != TABLES);
    [&jpeg[..2], &kept.collect::<Vec<_>>().concat(), scan].concat()
}

/// A restart interval begins and ends like a picture of its own that has the same tables. So the intervals are encoded
/// as pictures, one below the other, and their scans are joined with markers between them.
fn with_restart_markers() -> Vec<u8> {
    const FRAME: u8 = 0xc0;
    let rows = |top| coded_rows(top, INTERVAL_ROWS, Subsamp::Sub2x2, |_| Ok(()));
    let first = rows(0);
    let (segments, _) = divided(&first);
    let mut jpeg = first[..2].to_vec();
    for segment in segments {
        jpeg.extend(segment);
        if segment[1] == FRAME {
            let height = (HEIGHT as u16).to_be_bytes();
            let at = jpeg.len() - segment.len() + 5;
            jpeg[at..at + 2].copy_from_slice(&height);
        }
    }
    let blocks_across = (WIDTH / 16) as u8;
    jpeg.extend([0xff, 0xdd, 0, 4, 0, blocks_across]);
    for (number, top) in (0..HEIGHT).step_by(INTERVAL_ROWS).enumerate() {
        let part = rows(top);
        let (_, scan) = divided(&part);
        let header = 2 + usize::from(u16::from_be_bytes([scan[2], scan[3]]));
        match number {
            0 => jpeg.extend(&scan[..header]),
            _ => jpeg.extend([0xff, 0xd0 + (number as u8 - 1) % 8]),
        }
        jpeg.extend(&scan[header..scan.len() - 2]);
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

/// The segments before the first scan, and everything from that scan on.
fn divided(jpeg: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    const START_OF_SCAN: u8 = 0xda;
    let (mut segments, mut rest) = (Vec::new(), &jpeg[2..]);
    while rest[1] != START_OF_SCAN {
        let (segment, behind) = rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        segments.push(segment);
        rest = behind;
    }
    (segments, rest)
}
