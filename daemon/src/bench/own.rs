//! Our own side of the comparison: what a frame costs with one set of checks or another, and bare decodes by the same
//! library. Each is a candidate in a process of its own, like those of others.

use std::path::Path;

use turbojpeg::{Decompressor, Image, PixelFormat, Subsamp, YuvImage};
use turnstage_drivers::Angle;
use turnstage_pipeline::{Examiner, InputLimits, qc};

use super::peer;
use super::table::Unmeasured;

/// Our frame with no check at all: everything that is measured anyway.
pub const CORE: &str = "core";
/// A bare decode to red, green and blue.
pub const RGB: &str = "rgb";
/// A bare decode to luma and chroma as they are stored.
pub const PLANES: &str = "planes";
/// What the verdict alone takes, without thumbnails.
pub const VERDICT: &str = "verdict";
/// Our frame with every check that is on by default.
pub const POLICY: &str = "policy";

/// Sets of checks to measure: a key, a name for people, and the limits that switch the checks. One row each.
pub fn checks() -> Vec<(&'static str, &'static str, qc::Limits)> {
    let whole = [
        (CORE, "our frame, every check off", without_checks()),
        (POLICY, "our frame, the default policy", qc::Limits::default()),
    ];
    let single = qc::RULES.iter().map(|rule| (rule.id, rule.id, only(rule)));
    whole.into_iter().chain(single).collect()
}

/// Limits with every other check off, as far as a recipe can switch it off.
fn only(rule: &qc::Rule) -> qc::Limits {
    let mut limits = without_checks();
    limits.policy.remove(rule.id);
    limits
}

fn without_checks() -> qc::Limits {
    let silenced = qc::RULES.iter().filter(|rule| rule.also.contains(&qc::Policy::Off));
    let policy = silenced.map(|rule| (rule.id.to_owned(), qc::Policy::Off)).collect();
    qc::Limits { policy, ..qc::Limits::default() }
}

/// Serves as the candidate `key` for the picture `file`.
pub fn in_child(key: &str, file: &Path) -> Result<(), Unmeasured> {
    let jpeg = std::fs::read(file).map_err(Unmeasured::at("read the picture"))?;
    let failed = Unmeasured::at("start the decode");
    match key {
        RGB => {
            let mut bare = RgbDecode::new(&jpeg).map_err(failed)?;
            peer::serve(|| bare.decode(&jpeg).map_err(Unmeasured::at("decode the picture")))
        }
        PLANES => {
            let mut bare = PlanesDecode::new(&jpeg).map_err(failed)?;
            peer::serve(|| bare.decode(&jpeg).map_err(Unmeasured::at("decode the picture")))
        }
        VERDICT => {
            let mut examiner =
                Examiner::new(InputLimits::default()).map_err(Unmeasured::at("start the examiner"))?;
            let limits = without_checks();
            peer::serve(|| match examiner.judge(&jpeg, &limits).sharpness.full > 0.0 {
                true => Ok(()),
                false => Err(Unmeasured("the picture cannot be judged".to_owned())),
            })
        }
        _ => {
            let known = checks().into_iter().find(|(name, ..)| *name == key);
            let (_, _, limits) = known.ok_or_else(|| Unmeasured(format!("there is no candidate {key}")))?;
            let mut examiner =
                Examiner::new(InputLimits::default()).map_err(Unmeasured::at("start the examiner"))?;
            let mut turn = qc::Turn::default();
            for shot in 0..BEFORE {
                examine(&mut examiner, &mut turn, (shot, &numbered(&jpeg, shot)), &limits)?;
            }
            peer::serve(|| examine(&mut examiner, &mut turn, (BEFORE, &jpeg), &limits))
        }
    }
}

/// Frames of the turn before the one that is measured, so that every check has what it compares with.
const BEFORE: u32 = 8;

/// All that a session does to judge a frame, and to know it when the next one comes.
fn examine(
    examiner: &mut Examiner,
    turn: &mut qc::Turn,
    (shot, jpeg): (u32, &[u8]),
    limits: &qc::Limits,
) -> Result<(), Unmeasured> {
    let examined = examiner.examine(jpeg, limits);
    if examined.picture.is_none() {
        return Err(Unmeasured("the picture cannot be examined".to_owned()));
    }
    let label = shot.to_string();
    let angle = Some(Angle::new(10.0 * f64::from(shot)));
    let place = qc::Place { camera: "main", shot, label: &label, angle };
    turn.judge(&place, &examined, limits);
    turn.remember(&place, &examined, limits);
    Ok(())
}

/// The same picture as another file: with a number in a comment.
fn numbered(jpeg: &[u8], number: u32) -> Vec<u8> {
    const COMMENT: [u8; 4] = [0xff, 0xfe, 0, 6];
    let (start, rest) = jpeg.split_at(2);
    [start, &COMMENT, &number.to_be_bytes(), rest].concat()
}

/// A decode to RGB with handle and buffer reused, as a program has it that does nothing with the picture.
struct RgbDecode {
    handle: Decompressor,
    image: Image<Vec<u8>>,
}

impl RgbDecode {
    fn new(jpeg: &[u8]) -> turbojpeg::Result<Self> {
        let mut handle = Decompressor::new()?;
        let header = handle.read_header(jpeg)?;
        let pitch = 3 * header.width;
        // Room that was never written is not resident: the peak counts it with the first round.
        let image = Image {
            pixels: vec![0; pitch * header.height],
            width: header.width,
            pitch,
            height: header.height,
            format: PixelFormat::RGB,
        };
        Ok(Self { handle, image })
    }

    fn decode(&mut self, jpeg: &[u8]) -> turbojpeg::Result<()> {
        self.handle.decompress(jpeg, self.image.as_deref_mut())
    }
}

/// The same to planes.
struct PlanesDecode {
    handle: Decompressor,
    samples: Vec<u8>,
    size: (usize, usize),
    subsamp: Subsamp,
}

impl PlanesDecode {
    fn new(jpeg: &[u8]) -> turbojpeg::Result<Self> {
        let mut handle = Decompressor::new()?;
        let header = handle.read_header(jpeg)?;
        let length = turbojpeg::yuv_pixels_len(header.width, 1, header.height, header.subsamp)?;
        let size = (header.width, header.height);
        Ok(Self { handle, samples: vec![0; length], size, subsamp: header.subsamp })
    }

    fn decode(&mut self, jpeg: &[u8]) -> turbojpeg::Result<()> {
        let (width, height) = self.size;
        let pixels = &mut self.samples[..];
        let planes = YuvImage { pixels, width, align: 1, height, subsamp: self.subsamp };
        self.handle.decompress_to_yuv(jpeg, planes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_checks_is_good_configuration_and_the_core_has_none_that_can_be_off() {
        for (key, name, limits) in checks() {
            assert_eq!(limits.check(), Vec::<String>::new(), "{key}: {name}");
        }
        let silent = without_checks();
        for rule in qc::RULES.iter().filter(|rule| rule.also.contains(&qc::Policy::Off)) {
            assert_eq!(silent.policy.get(rule.id), Some(&qc::Policy::Off), "{}", rule.id);
        }
    }

    #[test]
    fn a_candidate_that_is_not_known_is_refused_by_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = in_child("coree", file.path()).unwrap_err();
        assert!(why.to_string().contains("coree"), "{why}");
    }
}
