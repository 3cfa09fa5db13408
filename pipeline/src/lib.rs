//! What is known about a picture within a moment of its exposure: QC with reasons, hashes, thumbnails; and what is
//! written into it for a delivery.
//!
//! [`Examiner::examine`] takes a frame's bytes and gives everything the station decides on. A frame is decoded
//! exactly once, to planes, because the entropy decode is most of the cost; sharpness, exposure, perceptual
//! hash and thumbnails all read those planes. Foreign bytes never panic: what cannot be read becomes a
//! [`Finding`] that says why. No network, no clock, no child process, no disk.

mod algebra;
pub mod axis;
pub mod board;
mod cells;
mod decode;
pub mod depth;
mod examiner;
mod huffman;
pub mod inference;
mod lens;
pub mod marker;
pub mod metadata;
mod phash;
pub mod photogrammetry;
mod plane;
pub mod pose;
pub mod privacy;
mod pyramid;
pub mod qc;
mod raw;
pub mod rim;
mod spots;
mod thumbnail;
mod tiles;

pub use cells::{Cells, Subject};
pub use examiner::{
    Developed, Examined, Examiner, ExaminerError, Expected, InputLimits, Judged, Picture, Undeveloped,
};
pub use metadata::ExifSummary;
pub use phash::{Signature, phash_distance_bits, phash_to_hex};
pub use plane::Plane;
pub use privacy::CaptureClass;
pub use qc::{Exposure, Finding, Nature, Sharpness, Verdict};
pub use thumbnail::{SIDES_PX, Thumbnail};

#[cfg(test)]
mod samples;
