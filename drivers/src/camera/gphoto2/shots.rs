//! Which file of the camera belongs to which exposure, and what kind of picture it is.
//!
//! A camera tells of files one by one, the second of a pair perhaps after the next exposure began. Files of one exposure
//! differ in their extension alone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::helper::wire::File;
use crate::frame::{Codec, Exposure};

/// Exposures whose files are still in the camera.
#[derive(Debug, Default)]
pub(super) struct Shots {
    waiting: BTreeMap<u64, Shot>,
    lost: BTreeSet<u64>,
    tickets: u64,
    stale: u32,
}

/// One exposure.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shot {
    /// Told so far.
    pub files: Vec<File>,
    /// Files that it will have.
    pub wanted: usize,
    /// Settings that it was made with.
    pub exposure: Exposure,
}

impl Shots {
    /// A new exposure that will give so many files.
    pub fn begin(&mut self, wanted: usize, exposure: Exposure) -> u64 {
        self.tickets += 1;
        self.waiting.insert(self.tickets, Shot { files: Vec::new(), wanted, exposure });
        self.tickets
    }

    /// Files a new file under its exposure, else under `now`, the one being made, if that has none yet. What belongs to
    /// none was made by somebody else, or is left from an exposure that was given up.
    pub fn add(&mut self, file: File, now: Option<u64>) {
        let sibling = |shot: &&mut Shot| shot.files.first().is_some_and(|first| stem(first) == stem(&file));
        let shot = match self.waiting.values_mut().find(sibling) {
            Some(shot) => Some(shot),
            None => now.and_then(|now| self.waiting.get_mut(&now)).filter(|shot| shot.files.is_empty()),
        };
        match shot {
            Some(shot) => shot.files.push(file),
            None => self.stale += 1,
        }
    }

    /// An exposure that waits.
    pub fn get(&self, ticket: u64) -> Option<&Shot> {
        self.waiting.get(&ticket)
    }

    /// Takes an exposure away.
    pub fn take(&mut self, ticket: u64) -> Option<Shot> {
        self.waiting.remove(&ticket)
    }

    /// The camera was opened anew: whatever waited is lost.
    pub fn forget(&mut self) {
        // None is asked for after the next few.
        self.lost = std::mem::take(&mut self.waiting).into_keys().collect();
    }

    /// It waited when the camera was opened anew; asked once.
    pub fn is_lost(&mut self, ticket: u64) -> bool {
        self.lost.remove(&ticket)
    }

    /// Files since the last call that belonged to no exposure.
    pub fn stale(&mut self) -> u32 {
        std::mem::take(&mut self.stale)
    }
}

fn stem(file: &File) -> (&str, &str) {
    (&file.folder, file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem))
}

/// What a file is by its bytes; what they do not tell is a maker's raw file, by its extension.
pub(super) fn codec(name: &str, bytes: &Bytes) -> Codec {
    let brand = bytes.get(4..12).unwrap_or_default();
    match bytes.as_ref() {
        [0xff, 0xd8, 0xff, ..] => Codec::Jpeg,
        _ if HEIF_BRANDS.iter().any(|known| brand == [b"ftyp", known.as_slice()].concat()) => Codec::Heif,
        _ => Codec::Raw(name.rsplit_once('.').map_or("raw", |(_, extension)| extension).to_lowercase()),
    }
}

/// Canon's CR3 is of the same family of files, with a brand of its own.
const HEIF_BRANDS: [&[u8; 4]; 6] = [b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"];

/// The picture that is judged comes first.
pub(super) fn order(codec: &Codec) -> u8 {
    match codec {
        Codec::Jpeg => 0,
        Codec::Heif => 1,
        Codec::Raw(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> File {
        File { folder: "/DCIM".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_second_file_of_a_pair_finds_its_exposure_when_it_comes_late() {
        let mut shots = Shots::default();
        let first = shots.begin(2, Exposure::default());
        shots.add(file("A_1.JPG"), Some(first));
        let second = shots.begin(2, Exposure::default());
        shots.add(file("A_1.NEF"), Some(second));
        shots.add(file("A_2.NEF"), Some(second));
        shots.add(file("A_2.JPG"), None);
        let names = |shot: Shot| shot.files.into_iter().map(|file| file.name).collect::<Vec<_>>();
        assert_eq!(names(shots.take(first).unwrap()), ["A_1.JPG", "A_1.NEF"]);
        assert_eq!(names(shots.take(second).unwrap()), ["A_2.NEF", "A_2.JPG"]);
        assert_eq!((shots.take(first), shots.stale()), (None, 0));
    }

    #[test]
    fn a_picture_that_somebody_takes_at_the_camera_is_nobodys() {
        let mut shots = Shots::default();
        let ours = shots.begin(1, Exposure::default());
        shots.add(file("A_1.JPG"), Some(ours));
        shots.add(file("A_2.JPG"), None);
        shots.add(file("A_3.JPG"), Some(ours));
        assert_eq!(shots.get(ours).unwrap().files, [file("A_1.JPG")]);
        assert_eq!((shots.stale(), shots.stale()), (2, 0));
    }

    #[test]
    fn a_file_is_what_its_bytes_say() {
        let of = |name: &str, bytes: &'static [u8]| codec(name, &Bytes::from_static(bytes));
        assert_eq!(of("a.jpg", b"\xff\xd8\xff\xe1 and on"), Codec::Jpeg);
        assert_eq!(of("a.HIF", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Codec::Heif);
        assert_eq!(of("a.CR3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom"), Codec::Raw("cr3".to_owned()));
        assert_eq!(of("a.NEF", b"MM\0*"), Codec::Raw("nef".to_owned()));
        assert_eq!(of("nameless", b""), Codec::Raw("raw".to_owned()));
    }
}
