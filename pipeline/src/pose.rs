//! Where a person's joints are in a picture: what every pose estimator must do. There is no estimator yet.

use serde::{Deserialize, Serialize};

use crate::inference::InferenceError;

/// A picture in memory for pose, the way a person sees it.
#[derive(Clone, Copy)]
pub struct RgbPicture<'a> {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Row-major red, green, blue: `3 * width * height` bytes.
    pub rgb: &'a [u8],
}

/// One joint of one person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KeyPoint {
    /// To the right, as a fraction of the picture's width; outside `[0, 1]` when the joint is out of frame.
    pub x: f32,
    /// Downwards, as a fraction of the picture's height.
    pub y: f32,
    /// Away from the camera relative to the hips, in fractions of the picture's width, if known.
    pub z: Option<f32>,
    /// Confidence that the joint is where it is said to be, 0 to 1.
    pub confidence: f32,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Name and version of the key-point set; says how many there are and what each one is: `blazepose-33`.
    pub layout: String,
    /// Key-points in the order of `layout`.
    pub points: Vec<KeyPoint>,
    /// Confidence that this is a person, 0 to 1.
    pub confidence: f32,
}

/// A picture in, key-points out. Blocks until done; call it off the async threads.
pub trait PoseEstimator: Send {
    /// Everyone in the picture, the most confident first; empty when there is nobody.
    fn estimate(&mut self, picture: RgbPicture<'_>) -> Result<Vec<Pose>, InferenceError>;
}
