//! What a JPEG's header claims, held against the bytes that are there and the memory that may be taken, before anything
//! grows.
//!
//! A size is written in four bytes, and the decoder makes room for it before it has seen a single block: 2.6 kB could
//! make it take 870 MB. Two bounds stand against that. A whole picture has some bits for each of its blocks, which
//! Huffman coding cannot save (arithmetic coding can: its planes are bounded by the limit of pixels alone). And a
//! picture in several scans, whose coefficients are all kept until the last one is in, takes no more memory than the
//! largest picture in one scan.

use turbojpeg::{DecompressHeader, Subsamp};

use super::Unreadable;
use crate::examiner::InputLimits;

/// A block's 64 coefficients, 2 bytes each.
const COEFFICIENTS_BYTES: u64 = 128;

/// `Ok` if `jpeg` may be the picture of its `header`, and may be decoded to planes of `planes_len` bytes.
pub(super) fn check(
    header: &DecompressHeader,
    jpeg: &[u8],
    planes_len: usize,
    limits: &InputLimits,
) -> Result<(), Unreadable> {
    let (length, blocks) = (jpeg.len() as u64, blocks(header));
    let least = (blocks * bits_a_block_min(header)).div_ceil(8);
    if length < least {
        let (width, height) = (header.width, header.height);
        return Err(Unreadable::Corrupt(format!(
            "its header claims {width} x {height} pixels, which take at least {least} bytes; it has {length}"
        )));
    }
    if header.is_progressive || !is_in_one_scan(header, jpeg) {
        let (needed, max) = (planes_len as u64 + blocks * COEFFICIENTS_BYTES, limits.memory_bytes_max());
        if needed > max {
            return Err(Unreadable::Scans { needed, max });
        }
    }
    Ok(())
}

/// Blocks of 8 by 8 samples that the picture has in all its components (T.81, A.1.1 and A.2.2).
fn blocks(header: &DecompressHeader) -> u64 {
    let blocks = |(across, down): (usize, usize)| {
        header.width.div_ceil(8 * across) as u64 * header.height.div_ceil(8 * down) as u64
    };
    let chroma = if header.subsamp == Subsamp::Gray { 0 } else { 2 * blocks(header.subsamp.size()) };
    blocks((1, 1)) + chroma
}

/// Bits that a whole picture has at least for each block.
///
/// No Huffman code is shorter than 1 bit (T.81, B.2.4.2). A sequential block has two of them: for the size of its mean,
/// and for its first detail or the end of the block (F.1.2). A progressive one has its mean in a first scan that no
/// component goes without (G.1.1.1.1); in all others a run may end thousands of blocks with one code (G.1.2.2). Flat
/// white with tables made for it takes no more than this. An arithmetic coder spends as little as it likes.
fn bits_a_block_min(header: &DecompressHeader) -> u64 {
    match (header.is_arithmetic, header.is_progressive) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// Whether the first scan has every component, so that nothing is kept for a later one; not, if it is not found.
fn is_in_one_scan(header: &DecompressHeader, jpeg: &[u8]) -> bool {
    let components = if header.subsamp == Subsamp::Gray { 1 } else { 3 };
    components_of_first_scan(jpeg).is_some_and(|first| first >= components)
}

/// Walks from segment to segment as the decoder does.
fn components_of_first_scan(jpeg: &[u8]) -> Option<u8> {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = jpeg.get(2..)?;
    loop {
        // Fill bytes may precede a marker, and a zero makes its first byte data (T.81, B.1.1.2 and B.1.1.5).
        let at = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
        let (kind, behind) = rest[at + 1..].split_first()?;
        rest = match kind {
            // These have no length.
            0x01 | 0xd0..=0xd7 => behind,
            _ => {
                let (&[high, low, first], _) = behind.split_first_chunk()?;
                if *kind == START_OF_SCAN {
                    return Some(first);
                }
                // The length counts itself.
                behind.get(usize::from(u16::from_be_bytes([high, low])).max(2)..)?
            }
        };
    }
}

#[cfg(test)]
mod tests;
