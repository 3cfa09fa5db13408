//! The segments of a JPEG around its image data: found, put in, kept in order.

use bytes::Bytes;
use img_parts::jpeg::{Jpeg, JpegSegment, markers};

use super::tiff::Tiff;
use super::{EXIF_PREFIX, MetadataError, SEGMENT_MAX};

const ICC_PREFIX: &[u8] = b"ICC_PROFILE\0";
const MPF_PREFIX: &[u8] = b"MPF\0";
const JFIF_PREFIX: &[u8] = b"JFIF\0";
const ADOBE_PREFIX: &[u8] = b"Adobe";
/// Length of a JFIF segment without a thumbnail, whose size stands in the last two bytes.
const JFIF: usize = 14;
/// Length of an Adobe segment, which says how colours are stored.
const ADOBE: usize = 12;
/// The entry of a multi-picture directory that lists its pictures, with the bytes of each line (CIPA DC-007, 5.2.3).
const MPF_LIST: u16 = 0xb002;
const MPF_LINE: usize = 16;

/// A picture taken apart. Image data are shared with where it came from, not copied.
pub(super) struct Segments {
    jpeg: Jpeg,
    /// Bytes before and behind the list of the pictures in this file, when there is one.
    around_list: Option<(usize, usize)>,
}

impl Segments {
    /// Takes a picture apart.
    pub fn open(bytes: &Bytes) -> Result<Self, MetadataError> {
        let jpeg =
            Jpeg::from_bytes(bytes.clone()).map_err(|error| MetadataError::NotAPicture(error.to_string()))?;
        if !jpeg.segments().last().is_some_and(JpegSegment::has_entropy) {
            return Err(MetadataError::NotAPicture("it has no image data".to_owned()));
        }
        let around_list = around_list(&jpeg);
        Ok(Self { jpeg, around_list })
    }

    /// Puts it together again. A list of several pictures in one file follows what moved.
    pub fn close(mut self) -> Bytes {
        if let (Some(before), Some(after)) = (self.around_list, around_list(&self.jpeg)) {
            self.shift_list(before, after);
        }
        self.jpeg.encoder().bytes()
    }

    /// Width and height in pixels, as stored.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.jpeg.dimensions()
    }

    pub fn has_profile(&self) -> bool {
        self.jpeg.segments().iter().any(|segment| begins(segment, markers::APP2, ICC_PREFIX))
    }

    /// Places and contents of the APP1 segments that begin with `prefix`, without it.
    pub fn app1(&self, prefix: &[u8]) -> Vec<(usize, Bytes)> {
        let all = self.jpeg.segments().iter().enumerate();
        let meant = all.filter(|(_, segment)| begins(segment, markers::APP1, prefix));
        meant.map(|(at, segment)| (at, segment.contents().slice(prefix.len()..))).collect()
    }

    /// Puts an APP1 segment at `at`, or behind the first ones of the file: JFIF goes first, then EXIF.
    pub fn put_app1(
        &mut self,
        at: Option<usize>,
        what: &'static str,
        prefix: &[u8],
        content: &[u8],
    ) -> Result<(), MetadataError> {
        let contents = [prefix, content].concat();
        if contents.len() > SEGMENT_MAX {
            return Err(MetadataError::TooLong { what, bytes: contents.len() });
        }
        let segment = JpegSegment::new_with_contents(markers::APP1, contents.into());
        let segments = self.jpeg.segments_mut();
        match at {
            Some(at) => segments[at] = segment,
            None => {
                let first = |one: &JpegSegment| {
                    one.marker() == markers::APP0 || begins(one, markers::APP1, EXIF_PREFIX)
                };
                let at = segments.iter().take_while(|one| first(one)).count();
                segments.insert(at, segment);
            }
        }
        Ok(())
    }

    /// Keeps what the picture is seen by, and nothing that tells of it: the JFIF header without its thumbnail, the
    /// colour profile, how colours are stored.
    pub fn strip(&mut self) {
        let segments = std::mem::take(self.jpeg.segments_mut());
        let kept = segments.into_iter().filter_map(|segment| match segment.marker() {
            markers::APP0 if begins(&segment, markers::APP0, JFIF_PREFIX) => bare_jfif(&segment),
            markers::APP2 => Some(segment).filter(|one| begins(one, markers::APP2, ICC_PREFIX)),
            markers::APP14 if begins(&segment, markers::APP14, ADOBE_PREFIX) => cut(&segment, ADOBE),
            markers::APP0..=markers::APP15 | markers::COM => None,
            _ => Some(segment),
        });
        *self.jpeg.segments_mut() = kept.collect();
        self.around_list = None;
    }

    /// Drops what follows the end of the image: previews and trailers with metadata of their own.
    pub fn cut_trailer(&mut self, bytes: &Bytes) -> Result<(), MetadataError> {
        let Some(scan) = self.jpeg.segments_mut().pop() else { return Ok(()) };
        // The image data are the end of the file.
        let length = scan.len_with_entropy() - scan.len();
        let data = bytes.slice(bytes.len() - length..);
        let end = end_of_image(&data)?;
        let cut = JpegSegment::new_with_entropy(scan.marker(), scan.contents().clone(), data.slice(..end));
        self.jpeg.segments_mut().push(cut);
        Ok(())
    }

    fn shift_list(&mut self, before: (usize, usize), after: (usize, usize)) {
        let moved = |(from, to): (usize, usize)| (to as u32).wrapping_sub(from as u32);
        let behind = moved((before.1, after.1));
        let whole = behind.wrapping_add(moved((before.0, after.0)));
        let segments = self.jpeg.segments_mut();
        let Some(segment) = segments.iter_mut().find(|one| begins(one, markers::APP2, MPF_PREFIX)) else {
            return;
        };
        let Some(mut list) = Tiff::read(&segment.contents()[MPF_PREFIX.len()..]) else { return };
        let found = list.first().and_then(|directory| list.outside(&directory, MPF_LIST));
        let Some((at, length)) = found else { return };
        for line in (at..at + length / MPF_LINE * MPF_LINE).step_by(MPF_LINE) {
            // The first picture is this file up to the second; the places of the others count from the list.
            let (place, by) = if line == at { (line + 4, whole) } else { (line + 8, behind) };
            let value = list.long_at(place).unwrap_or(0);
            if value != 0 {
                list.set_long(place, value.wrapping_add(by));
            }
        }
        let contents = [MPF_PREFIX, &list.into_bytes()].concat();
        *segment = JpegSegment::new_with_contents(markers::APP2, contents.into());
    }
}

fn begins(segment: &JpegSegment, marker: u8, prefix: &[u8]) -> bool {
    segment.marker() == marker && segment.contents().starts_with(prefix)
}

fn around_list(jpeg: &Jpeg) -> Option<(usize, usize)> {
    let at = jpeg.segments().iter().position(|one| begins(one, markers::APP2, MPF_PREFIX))?;
    let bytes = |segments: &[JpegSegment]| segments.iter().map(JpegSegment::len).sum();
    Some((bytes(&jpeg.segments()[..at]), bytes(&jpeg.segments()[at + 1..])))
}

fn cut(segment: &JpegSegment, length: usize) -> Option<JpegSegment> {
    let contents = segment.contents();
    Some(JpegSegment::new_with_contents(segment.marker(), contents.slice(..contents.len().min(length))))
}

fn bare_jfif(segment: &JpegSegment) -> Option<JpegSegment> {
    let mut contents = segment.contents().get(..JFIF)?.to_vec();
    contents[JFIF - 2..].fill(0);
    Some(JpegSegment::new_with_contents(markers::APP0, contents.into()))
}

/// Length of the image data in `data`, which begin behind a scan's header, up to and with the end marker; all of it
/// where there is none.
fn end_of_image(data: &[u8]) -> Result<usize, MetadataError> {
    let mut at = 0;
    while let Some(found) = data.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == markers::P)) {
        at += found;
        match data.get(at + 1) {
            None => break,
            Some(&markers::P) => at += 1,
            Some(&markers::EOI) => return Ok(at + 2),
            Some(&(markers::Z | 0x01 | markers::RST0..=markers::RST7 | markers::SOI)) => at += 2,
            Some(&(markers::APP0..=markers::APP15 | markers::COM)) => {
                return Err(MetadataError::BetweenScans);
            }
            // Tables and the header of the next scan.
            Some(_) => match data.get(at + 2..at + 4) {
                Some(length) => at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => break,
            },
        }
    }
    Ok(data.len())
}
