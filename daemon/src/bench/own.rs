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

/// One round of a candidate.
type Round = Box<dyn FnMut() -> Result<(), Unmeasured>>;

/// Serves as the candidate `key` for the picture `file`.
pub fn in_child(key: &str, file: &Path) -> Result<(), Unmeasured> {
    let jpeg = std::fs::read(file).map_err(Unmeasured::at("read the picture"))?;
    peer::serve(round_of(key, jpeg)?)
}

/// What the candidate `key` does in every round. Whatever it keeps from one round to the next it takes in the first,
/// which no time is taken of: what grows before the rounds would be missing from its memory.
fn round_of(key: &str, jpeg: Vec<u8>) -> Result<Round, Unmeasured> {
    let failed = Unmeasured::at("start the decode");
    let examiner = || Examiner::new(InputLimits::default()).map_err(Unmeasured::at("start the examiner"));
    Ok(match key {
        RGB => {
            let mut bare = RgbDecode::new(&jpeg).map_err(failed)?;
            Box::new(move || bare.decode(&jpeg).map_err(Unmeasured::at("decode the picture")))
        }
        PLANES => {
            let mut bare = PlanesDecode::new(&jpeg).map_err(failed)?;
            Box::new(move || bare.decode(&jpeg).map_err(Unmeasured::at("decode the picture")))
        }
        VERDICT => {
            let (mut examiner, limits) = (examiner()?, without_checks());
            Box::new(move || match examiner.judge(&jpeg, &limits).sharpness.full > 0.0 {
                true => Ok(()),
                false => Err(Unmeasured("the picture cannot be judged".to_owned())),
            })
        }
        _ => {
            let known = checks().into_iter().find(|(name, ..)| *name == key);
            let (_, _, limits) = known.ok_or_else(|| Unmeasured(format!("there is no candidate {key}")))?;
            let mut turn = Turn::new(examiner()?, jpeg, limits)?;
            Box::new(move || turn.round())
        }
    })
}

/// Frames of the turn before the one that is measured, so that every check has what it compares with.
const BEFORE: u32 = 8;

/// A camera's turn whose every frame is the same picture in another file: with a number in a comment.
struct Turn {
    examiner: Examiner,
    turn: qc::Turn,
    limits: qc::Limits,
    jpeg: Vec<u8>,
    has_begun: bool,
}

impl Turn {
    /// Right behind the start of the picture: a comment of four bytes, the number of the shot.
    const COMMENT: [u8; 8] = [0xff, 0xfe, 0, 6, 0, 0, 0, 0];
    const START: usize = 2;

    fn new(examiner: Examiner, mut jpeg: Vec<u8>, limits: qc::Limits) -> Result<Self, Unmeasured> {
        if jpeg.len() < Self::START {
            return Err(Unmeasured("the picture's file is empty".to_owned()));
        }
        jpeg.splice(Self::START..Self::START, Self::COMMENT);
        Ok(Self { examiner, turn: qc::Turn::default(), limits, jpeg, has_begun: false })
    }

    /// The frames before, unless they are there already, and the one that is measured.
    fn round(&mut self) -> Result<(), Unmeasured> {
        if !self.has_begun {
            (0..BEFORE).try_for_each(|shot| self.examine(shot))?;
            self.has_begun = true;
        }
        self.examine(BEFORE)
    }

    /// All that a session does to judge a frame, and to know it when the next one comes.
    fn examine(&mut self, shot: u32) -> Result<(), Unmeasured> {
        // In place: a copy of the file would count as memory of the frame.
        let number = Self::START + 4..Self::START + Self::COMMENT.len();
        self.jpeg[number].copy_from_slice(&shot.to_be_bytes());
        let examined = self.examiner.examine(&self.jpeg, &self.limits);
        if examined.picture.is_none() {
            return Err(Unmeasured("the picture cannot be examined".to_owned()));
        }
        let label = shot.to_string();
        let angle = Some(Angle::new(10.0 * f64::from(shot)));
        let place = qc::Place { camera: "main", shot, label: &label, angle };
        self.turn.judge(&place, &examined, &self.limits);
        self.turn.remember(&place, &examined, &self.limits);
        Ok(())
    }
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
    use super::super::measure::{forget_peak, peak_resident_bytes};
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

    /// A gradient with some detail.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        let grey = |i: usize| [(i % width / 16 + i / width) as u8; 3];
        let pixels: Vec<u8> = (0..width * height).flat_map(grey).collect();
        let format = PixelFormat::RGB;
        let image = Image { pixels: &pixels[..], width, pitch: 3 * width, height, format };
        turbojpeg::compress(image, 85, Subsamp::Sub2x2).unwrap().to_vec()
    }

    #[test]
    fn what_a_candidate_keeps_is_taken_in_its_first_round_so_that_its_memory_is_counted() {
        let (width, height) = (2400, 1600);
        let jpeg = picture(width, height);
        let planes_bytes = (width * height * 3 / 2) as u64;
        // None is dropped before the end: what it gave back would hide the growth of the next.
        let mut rounds = Vec::new();
        for key in [CORE, VERDICT, "qc.banding", PLANES, RGB] {
            let mut round = round_of(key, jpeg.clone()).unwrap();
            forget_peak().unwrap();
            let before = peak_resident_bytes().unwrap();
            round().unwrap();
            let grown = peak_resident_bytes().unwrap() - before;
            // Some pages lie ready from before.
            assert!(
                grown >= planes_bytes / 10 * 9,
                "{key}: {grown} bytes, the planes alone are {planes_bytes}"
            );
            rounds.push(round);
        }
    }

    #[test]
    fn a_turn_begins_once_and_every_frame_of_it_is_another_file() {
        let examiner = Examiner::new(InputLimits::default()).unwrap();
        let mut turn = Turn::new(examiner, picture(320, 240), without_checks()).unwrap();
        let mut files = std::collections::HashSet::new();
        for shot in 0..=BEFORE {
            turn.examine(shot).unwrap();
            files.insert(turn.jpeg.clone());
        }
        assert_eq!(files.len(), 1 + BEFORE as usize);
        for _ in 0..2 {
            turn.round().unwrap();
            assert!(
                turn.has_begun && files.contains(&turn.jpeg),
                "the measured frame is the last of the turn"
            );
        }
    }

    #[test]
    fn a_candidate_that_is_not_known_is_refused_by_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = in_child("coree", file.path()).unwrap_err();
        assert!(why.to_string().contains("coree"), "{why}");
    }
}
