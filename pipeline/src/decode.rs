//! From a JPEG's bytes to its planes: the only place where foreign picture bytes are decoded.
//!
//! Limits, and whether a header can be true (`claim`), are checked before a buffer grows. The decoder is libjpeg-turbo
//! and gives luma and chroma as they were stored, so colours are neither upsampled nor converted. Its warnings mean
//! that samples were invented (grey where data is missing): the planes are still given, together with the warning, so
//! that a person can see what arrived.

mod claim;

use turbojpeg::{Colorspace, Decompressor, Subsamp, YuvImage};

use crate::examiner::InputLimits;
use crate::plane::Plane;

/// More scans than any camera writes; a progressive file may otherwise ask for hours of work in a few bytes.
const SCANS_MAX: u32 = 100;

/// Why there are no planes. Each variant is one rule of [`crate::qc`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Unreadable {
    /// More bytes than allowed.
    Bytes { length: u64, max: u64 },
    /// More pixels than allowed, by the header.
    Pixels { pixels: u64, max: u64 },
    /// Several scans, whose coefficients together with the planes take more bytes than allowed.
    Scans { needed: u64, max: u64 },
    /// A format or colour model that is not handled, as a noun phrase: `a PNG picture`.
    Format(String),
    /// The planes do not fit into memory now.
    Memory { needed: u64 },
    /// Not a whole JPEG; the decoder's words.
    Corrupt(String),
}

impl Unreadable {
    /// In words, as a clause.
    pub fn clause(&self) -> String {
        match self {
            Self::Bytes { length, max } => format!("{length} bytes, at most {max} are handled"),
            Self::Pixels { pixels, max } => format!("{pixels} pixels, at most {max} are handled"),
            Self::Scans { needed, max } => {
                format!(
                    "several scans (progressive) that take {needed} bytes of memory, at most {max} are handled"
                )
            }
            Self::Format(what) => format!("{what}, which is not handled"),
            Self::Memory { needed } => format!("{needed} bytes of memory are not free"),
            Self::Corrupt(words) => words.clone(),
        }
    }
}

/// The planes of one picture, valid until the next decode.
pub(crate) struct Decoded<'a> {
    /// Luma, as large as the picture.
    pub luma: Plane<'a>,
    /// Blue and red difference; `None` in a grey picture.
    pub chroma: Option<[Plane<'a>; 2]>,
    /// Luma samples per chroma sample, across and down.
    pub subsampling: (usize, usize),
    /// The decoder's first warning: samples are missing or wrong.
    pub damage: Option<String>,
}

/// A reusable decoder with its one buffer.
pub(crate) struct Decoder {
    handle: Decompressor,
    samples: Vec<u8>,
}

impl Decoder {
    pub fn new() -> turbojpeg::Result<Self> {
        Ok(Self { handle: new_handle()?, samples: Vec::new() })
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.samples.capacity()
    }

    /// Decodes `bytes` once. Memory: 1.5 bytes a pixel for 4:2:0, 3 at most; a file in several scans takes another
    /// 2 bytes a sample while it is decoded, and with them no more than [`InputLimits::memory_bytes_max`].
    pub fn decode(&mut self, bytes: &[u8], limits: &InputLimits) -> Result<Decoded<'_>, Unreadable> {
        let length = bytes.len() as u64;
        if length > limits.bytes_max {
            return Err(Unreadable::Bytes { length, max: limits.bytes_max });
        }
        is_jpeg(bytes)?;
        match self.fill(bytes, limits) {
            Ok((layout, damage)) => Ok(layout.planes(&self.samples, damage)),
            Err(unreadable) => {
                // An error inside the header leaves the handle in the middle of that header.
                if let Ok(fresh) = new_handle() {
                    self.handle = fresh;
                }
                Err(unreadable)
            }
        }
    }

    fn fill(&mut self, bytes: &[u8], limits: &InputLimits) -> Result<(Layout, Option<String>), Unreadable> {
        let header = self.handle.read_header(bytes).map_err(unreadable)?;
        let pixels = header.width as u64 * header.height as u64;
        if pixels > limits.pixels_max {
            return Err(Unreadable::Pixels { pixels, max: limits.pixels_max });
        }
        if header.is_lossless {
            return Err(Unreadable::Format("a lossless JPEG".into()));
        }
        match header.colorspace {
            Colorspace::YCbCr | Colorspace::Gray => {}
            Colorspace::RGB => {
                return Err(Unreadable::Format("a JPEG that stores red, green and blue".into()));
            }
            Colorspace::CMYK | Colorspace::YCCK => {
                return Err(Unreadable::Format("a JPEG in printing colours (CMYK)".into()));
            }
        }
        if header.subsamp == Subsamp::Unknown {
            return Err(Unreadable::Format("a JPEG with an unusual chroma subsampling".into()));
        }
        let layout = Layout { width: header.width, height: header.height, subsamp: header.subsamp };
        let samples_len = layout.samples_len()?;
        claim::check(&header, bytes, samples_len, limits)?;
        resize(&mut self.samples, samples_len)?;
        let output = YuvImage {
            pixels: &mut self.samples[..],
            width: layout.width,
            align: 1,
            height: layout.height,
            subsamp: layout.subsamp,
        };
        match self.handle.decompress_to_yuv(bytes, output) {
            Ok(()) => Ok((layout, None)),
            Err(error) => match unreadable(error) {
                Unreadable::Corrupt(words) if is_warning(&words) => Ok((layout, Some(words))),
                other => Err(other),
            },
        }
    }
}

/// Makes `samples` exactly `len` long, what an earlier frame left in it included: it is there to be overwritten.
pub(crate) fn resize(samples: &mut Vec<u8>, len: usize) -> Result<(), Unreadable> {
    // One giant frame must not hold its memory for the rest of the session.
    if samples.capacity() / 2 > len {
        *samples = Vec::new();
    }
    if len > samples.len() {
        samples.clear();
        samples.try_reserve_exact(len).map_err(|_| Unreadable::Memory { needed: len as u64 })?;
        samples.resize(len, 0);
    }
    samples.truncate(len);
    Ok(())
}

fn new_handle() -> turbojpeg::Result<Decompressor> {
    let mut handle = Decompressor::new()?;
    handle.set_scan_limit(SCANS_MAX)?;
    Ok(handle)
}

/// Sizes of the planes inside one buffer.
#[derive(Clone, Copy)]
struct Layout {
    width: usize,
    height: usize,
    subsamp: Subsamp,
}

impl Layout {
    fn samples_len(self) -> Result<usize, Unreadable> {
        turbojpeg::yuv_pixels_len(self.width, 1, self.height, self.subsamp).map_err(unreadable)
    }

    fn planes(self, samples: &[u8], damage: Option<String>) -> Decoded<'_> {
        let (across, down) = self.subsamp.size();
        // Luma rows are padded to whole chroma samples.
        let stride = self.width.next_multiple_of(across);
        let (luma, rest) = samples.split_at(stride * self.height.next_multiple_of(down));
        let luma = Plane { samples: luma, stride, width: self.width, height: self.height };
        let chroma = (self.subsamp != Subsamp::Gray).then(|| {
            let (width, height) = (self.width.div_ceil(across), self.height.div_ceil(down));
            let (blue, red) = rest.split_at(width * height);
            [Plane::tight(blue, width, height), Plane::tight(red, width, height)]
        });
        Decoded { luma, chroma, subsampling: (across, down), damage }
    }
}

/// `Ok` if the bytes begin like a JPEG, otherwise what they are.
fn is_jpeg(bytes: &[u8]) -> Result<(), Unreadable> {
    let format = match bytes {
        [] => return Err(Unreadable::Corrupt("the file is empty".into())),
        [0xff, 0xd8, 0xff, ..] => return Ok(()),
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP picture",
        [b'G', b'I', b'F', b'8', ..] => "a GIF picture",
        [b'B', b'M', ..] => "a BMP picture",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF or raw picture",
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
            [b'h', b'e', ..] | [b'm', b'i', b'f', b'1', ..] => "a HEIC picture",
            [b'a', b'v', b'i', b'f', ..] => "an AVIF picture",
            [b'c', b'r', b'x', b' ', ..] => "a raw picture",
            _ => "a film",
        },
        _ => return Err(Unreadable::Corrupt("the file does not begin like a JPEG".into())),
    };
    Err(Unreadable::Format(format.into()))
}

/// Sorts the library's words, its only way to tell what went wrong, into our rules.
fn unreadable(error: turbojpeg::Error) -> Unreadable {
    let words = match error {
        turbojpeg::Error::TurboJpegError(words) => words,
        other => other.to_string(),
    };
    if words.starts_with("Unsupported JPEG data precision") {
        Unreadable::Format("a JPEG with more than 8 bits a sample".into())
    } else if words.starts_with("Unsupported JPEG process") {
        Unreadable::Format("a JPEG of a rare kind".into())
    } else if words.starts_with("Maximum supported image dimension") {
        Unreadable::Format("a JPEG with a side of more than 65500 pixels".into())
    } else {
        Unreadable::Corrupt(words)
    }
}

/// Whether the decoder went on to the end: every row was written, some of it invented.
///
/// The list is libjpeg-turbo 3.1's (`jerror.h`, `JWRN_*`); everything else ended the decode.
fn is_warning(words: &str) -> bool {
    const WARNINGS: [&str; 7] = [
        "Corrupt JPEG data: ",
        "Inconsistent progression sequence",
        "Invalid SOS parameters for sequential JPEG",
        "Premature end of JPEG file",
        "Unknown Adobe color transform code",
        "Warning: ",
        "Application transferred too many scanlines",
    ];
    WARNINGS.iter().any(|warning| words.starts_with(warning))
}
