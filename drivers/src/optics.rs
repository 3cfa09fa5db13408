//! Lenses and where they stand: what a depth camera tells of itself and a calibration measures of the others.

use serde::{Deserialize, Serialize};

/// How a lens bends straight lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distortion {
    /// Not at all, or corrected already.
    None,
    /// Brown and Conrady, forward: from the ideal point to the bent one, as OpenCV does it.
    Brown,
    /// What librealsense calls inverse and reports for some streams. Its versions 2.56.5 and 2.59.1 compute it forward
    /// as well, with the tangential part taken of the point as the radial part left it.
    InverseBrown,
}

/// A lens as a pinhole with distortion. The centre of the first pixel is at (0, 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intrinsics {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Focal length in pixels, along rows.
    pub fx: f64,
    /// Focal length in pixels, down.
    pub fy: f64,
    /// Where the optical axis meets the picture, along rows.
    pub cx: f64,
    /// Where the optical axis meets the picture, down.
    pub cy: f64,
    /// How it bends straight lines.
    pub distortion: Distortion,
    /// k1, k2, p1, p2, k3.
    pub coefficients: [f64; 5],
}

/// Where one thing stands seen from another: `there = rotation * here + translation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Rows of the rotation.
    pub rotation: [[f64; 3]; 3],
    /// Metres.
    pub translation: [f64; 3],
}
