//! Writes the inputs that fuzzing begins with: a folder for each target below the folder that is given.
//!
//! They are made here so that no binary file is kept; the same program always makes the same ones.

use std::error::Error;
use std::fs;
use std::path::Path;

use turnstage_fuzz::picture::{KINDS, with_exif};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("give the folder of the seeds")?;
    let folder = Path::new(&folder);
    write(&folder.join("examine"), frames())?;
    write(&folder.join("exif"), tiff_blocks())?;
    write(&folder.join("mutated_jpeg"), recipes())?;
    write(&folder.join("metadata"), frames())?;
    write(&folder.join("pixels"), pixels())?;
    Ok(())
}

fn write(folder: &Path, seeds: Vec<Vec<u8>>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}

/// Every kind of JPEG whole and cut, and beginnings of what is none.
fn frames() -> Vec<Vec<u8>> {
    let mut all = KINDS.clone();
    all.extend(KINDS.iter().map(|jpeg| jpeg[..jpeg.len() * 2 / 3].to_vec()));
    all.extend(tiff_blocks().iter().map(|tiff| with_exif(&KINDS[0], tiff)));
    let others: [&[u8]; 5] = [b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\0\0\0\x18ftypheic", b"GIF89a"];
    all.extend(others.map(<[u8]>::to_vec));
    all
}

/// A small frame of each format, and one too short.
fn pixels() -> Vec<Vec<u8>> {
    // Format, width, height, stride, and bytes for the whole.
    let whole = [
        (0u8, 5u16, 3u16, 8u16, 24usize),
        (1, 5, 3, 16, 48),
        (2, 6, 4, 12, 48),
        (3, 6, 4, 8, 48),
        (4, 5, 3, 10, 30),
    ];
    let frame = |(kind, width, height, stride, length): (u8, u16, u16, u16, usize)| {
        let mut bytes = vec![kind];
        [width, height, stride].iter().for_each(|side| bytes.extend(side.to_be_bytes()));
        bytes.extend((0..length).map(|k| (k * 37) as u8));
        bytes
    };
    let mut all: Vec<Vec<u8>> = whole.into_iter().map(frame).collect();
    all.push(all[0][..20].to_vec());
    all
}

/// One entry of a directory: tag, type, count, value or offset.
type Entry = (u16, u16, u32, u32);

/// Good blocks in both byte orders, and each way in which offsets and counts can lie.
fn tiff_blocks() -> Vec<Vec<u8>> {
    let orientation: Entry = (0x0112, 3, 1, 6);
    let exif_at = |at: u32| -> Entry { (0x8769, 4, 1, at) };
    vec![
        block(&[orientation], 0),
        block(&[orientation, exif_at(26 + 12)], 0),
        // Directories that lead to themselves.
        block(&[orientation, exif_at(8)], 0),
        block(&[orientation], 8),
        // Counts and offsets that end beyond the block, or beyond 32 bits.
        block(&[(0x010f, 2, u32::MAX, 8)], 0),
        block(&[(0x829a, 5, 0x2000_0001, 8)], 0),
        block(&[(0x0110, 2, 40, u32::MAX - 4)], u32::MAX),
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0".to_vec(),
    ]
}

fn block(entries: &[Entry], next: u32) -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    out.extend((entries.len() as u16).to_le_bytes());
    for &(tag, kind, count, value) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    out.extend(next.to_le_bytes());
    out
}

/// Each kind undamaged, and each step once on each kind.
fn recipes() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for kind in 0..KINDS.len() as u8 {
        all.push(vec![kind]);
        for what in [0, 32, 56, 72, 88, 104, 120] {
            all.push(vec![kind, what, 1, 40 + kind, what, 9, what | 0x80, 0, 90 + kind, 0xff, 3]);
        }
    }
    all
}
