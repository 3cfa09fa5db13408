//! Damages that bytes ask for: the first chooses a good JPEG, every five after it change it in one place.

use crate::picture::KINDS;

/// Bytes of the head of a file, where one change does most.
const HEAD: usize = 700;
/// Longest run that one step adds, removes or copies.
const RUN_MAX: usize = 64;
/// A recipe may not blow a file up.
const LENGTH_MAX: usize = 64_000;

/// The damaged file of a recipe.
pub fn follow(recipe: &[u8]) -> Vec<u8> {
    let (&kind, steps) = recipe.split_first().unwrap_or((&0, &[]));
    let mut jpeg = KINDS[usize::from(kind) % KINDS.len()].clone();
    for step in steps.chunks_exact(5) {
        let &[what, high, low, value, more] = step else { continue };
        let reach = if what & 0x80 == 0 { jpeg.len() } else { jpeg.len().min(HEAD) };
        if reach == 0 || jpeg.len() > LENGTH_MAX {
            break;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % reach;
        let run = (usize::from(more) % RUN_MAX + 1).min(jpeg.len() - at);
        match what & 0x7f {
            // Small numbers are what libFuzzer begins with, so they do the commonest damage.
            0..=31 => jpeg[at] = value,
            32..=55 => jpeg[at] ^= 1 << (value % 8),
            56..=71 => drop(jpeg.splice(at..at, std::iter::repeat_n(value, run))),
            72..=87 => drop(jpeg.drain(at..at + run)),
            88..=103 => {
                let copied = jpeg[at..at + run].to_vec();
                let to = usize::from(value) * jpeg.len() / 256;
                drop(jpeg.splice(to..to, copied));
            }
            // A marker in the middle of the data: scans, tables and restarts where none belong.
            104..=119 => drop(jpeg.splice(at..at, [0xff, value | 0xc0])),
            _ => jpeg.truncate(at),
        }
    }
    jpeg
}
