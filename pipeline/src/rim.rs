//! The platter's angle, read from the marks round its rim by a calibrated camera.
//!
//! There is one unknown, so every angle is tried by whole degrees and the best one refined: no first guess is needed,
//! and a platter that was turned by hand is found like any other. The same marks tell where a platter that nobody
//! controls is at the moment of an exposure.

use std::time::Duration;

use turnstage_drivers::board::{RIM_FIRST, Rim};
use turnstage_drivers::frame::{Angle, Codec, Frame, FrameData};
use turnstage_drivers::turntable::Sighting;

use crate::InputLimits;
use crate::algebra::{V2, V3, about_z, apply, carried, inverse};
use crate::axis::Axis;
use crate::decode::Decoder;
use crate::lens;
use crate::marker::{self, Mark};
use crate::plane::Plane;
use crate::{huffman, raw};

/// Pixels beside which a mark counts as not explained.
const BESIDE_PX: f64 = 12.0;
/// The marks of a reading fit within this, root mean square.
const RMS_PX_MAX: f64 = 2.0;
/// Pixels that a corner is believed to, at best.
const CORNER_PX: f64 = 0.1;
const ROUNDS: usize = 12;
/// A live picture and a stored one show the same if their shapes differ by no more than this part.
const SHAPE_PART: f64 = 0.01;

/// Where the ring of marks stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Azimuth of the first mark in degrees, counter-clockwise from the x axis that the object's frame has at angle 0.
    pub ring_deg: f64,
    /// It is there within this, three standard deviations.
    pub error_deg: f64,
    /// Marks that it was read from.
    pub marks: usize,
}

/// Reads the ring in a frame. The axis may have been measured on pictures of another size that show the same.
///
/// # Errors
/// A clause: the frame cannot be read, is of another shape, or shows no ring.
pub fn read_frame(frame: &Frame, limits: &InputLimits, rim: &Rim, axis: &Axis) -> Result<Reading, String> {
    let look = |plane: &Plane<'_>| {
        let (width, height) = (plane.width as u32, plane.height as u32);
        let (was, is) =
            (f64::from(axis.lens.width) / f64::from(axis.lens.height), f64::from(width) / f64::from(height));
        if (was / is - 1.0).abs() > SHAPE_PART {
            return Err(format!(
                "its live picture of {width} x {height} pixels has another shape than the {} x {} that its axis was \
                 calibrated with",
                axis.lens.width, axis.lens.height
            ));
        }
        let marks = marker::find(plane);
        let own = marks.iter().filter(|mark| rim.mark(mark.id).is_some()).count();
        read_marks(&marks, rim, &axis.sized(width, height)).ok_or_else(|| match own {
            0 => "it sees no mark of the ring".to_owned(),
            _ => format!(
                "it sees {own} marks that are not where the ring's are; are radius_mm, marks, mark_mm and \
                          height_mm right, and did the camera move since it was calibrated"
            ),
        })
    };
    match &frame.data {
        FrameData::Encoded { codec: Codec::Jpeg, bytes } => {
            let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
            let whole = huffman::with_tables(bytes.clone());
            look(&decoder.decode(&whole, limits).map_err(|why| why.clause())?.luma)
        }
        FrameData::Encoded { codec, .. } => Err(format!("its live pictures are {codec:?}, not JPEG")),
        FrameData::Pixels { format, width, height, stride, bytes } => {
            let mut store = Default::default();
            let decoded = raw::planes(*format, (*width, *height), *stride, bytes, &mut store, limits);
            look(&decoded.map_err(|why| why.clause())?.luma)
        }
    }
}

/// Reads the ring. `None` where no mark is seen, or those that are seen contradict each other.
pub fn read(plane: &Plane<'_>, rim: &Rim, axis: &Axis) -> Option<Reading> {
    read_marks(&marker::find(plane), rim, axis)
}

fn read_marks(marks: &[Mark], rim: &Rim, axis: &Axis) -> Option<Reading> {
    let once = |mark: &&Mark| marks.iter().filter(|other| other.id == mark.id).count() == 1;
    let ring = Ring { rim, axis, to_camera: inverse(&axis.camera) };
    let seen: Vec<(V3, [V3; 4], [V2; 4])> = marks
        .iter()
        .filter(once)
        .filter_map(|mark| {
            let corners = rim.mark(mark.id)?.map(|corner| corner.map(|mm| mm / 1000.0));
            let nth = f64::from(mark.id - RIM_FIRST) / f64::from(rim.marks) * std::f64::consts::TAU;
            Some(([nth.cos(), nth.sin(), 0.0], corners, mark.corners))
        })
        .collect();
    let worth = |deg: f64| {
        let of = |(out, corners, at): &(V3, [V3; 4], [V2; 4])| {
            let limit = BESIDE_PX * BESIDE_PX;
            let off = ring.beside(deg, *out, corners, at);
            off.map_or(limit, |off| (off.iter().map(|[x, y]| x * x + y * y).sum::<f64>() / 4.0).min(limit))
        };
        seen.iter().map(of).sum::<f64>()
    };
    let rough = (0..720).map(|half| f64::from(half) * 0.5).min_by(|a, b| worth(*a).total_cmp(&worth(*b)))?;
    let (deg, rms, slope, used) = ring.refined(rough, &seen)?;
    let sigma = rms.max(CORNER_PX) / slope.sqrt();
    (rms <= RMS_PX_MAX).then_some(Reading {
        ring_deg: Angle::new(deg).deg(),
        error_deg: 3.0 * sigma,
        marks: used,
    })
}

impl Reading {
    /// The platter's angle, where the ring reads `zero_deg` while the platter stands at 0.
    pub fn angle(&self, zero_deg: f64) -> Angle {
        Angle::new(self.ring_deg - zero_deg)
    }

    /// Where the platter was in the middle of the exposure of `frame`, counted on from `before_deg`, where it was last: it
    /// has turned by less than half a turn since.
    pub fn sighting(&self, zero_deg: f64, before_deg: f64, frame: &Frame) -> Sighting {
        let way = (self.ring_deg - zero_deg - before_deg + 180.0).rem_euclid(360.0) - 180.0;
        let open_us = frame.exposure.exposure_us.filter(|us| (0.0..1e8).contains(us)).unwrap_or_default();
        let at = frame.time.start + Duration::from_secs_f64(open_us / 2e6);
        Sighting { at, deg: before_deg + way, error_deg: self.error_deg }
    }
}

/// Where the ring reads while the platter stands at 0: the mean over readings at known angles. `None` of none.
pub fn zero_deg(readings: &[(Angle, Reading)]) -> Option<f64> {
    let sum = readings.iter().fold([0.0, 0.0], |sum, (angle, reading)| {
        let (sin, cos) = (reading.ring_deg - angle.deg()).to_radians().sin_cos();
        [sum[0] + cos, sum[1] + sin]
    });
    (!readings.is_empty()).then(|| Angle::new(sum[1].atan2(sum[0]).to_degrees()).deg())
}

struct Ring<'a> {
    rim: &'a Rim,
    axis: &'a Axis,
    to_camera: turnstage_drivers::optics::Pose,
}

impl Ring<'_> {
    /// Pixels by which the corners of a mark lie beside where they are with the ring at `deg`. `None` of a mark that
    /// faces away then.
    fn beside(&self, deg: f64, out: V3, corners: &[V3; 4], at: &[V2; 4]) -> Option<[V2; 4]> {
        let turn = about_z(deg.to_radians());
        let out = apply(&turn, out);
        let eye = self.axis.camera.translation;
        let radius = self.rim.radius_mm / 1000.0;
        if out[0] * (eye[0] - radius * out[0]) + out[1] * (eye[1] - radius * out[1]) <= 0.0 {
            return None;
        }
        let mut beside = [[0.0; 2]; 4];
        for (k, off) in beside.iter_mut().enumerate() {
            let pixel = lens::seen(&self.axis.lens, carried(&self.to_camera, apply(&turn, corners[k])))?;
            *off = [pixel[0] - at[k][0], pixel[1] - at[k][1]];
        }
        Some(beside)
    }

    /// Degrees, root mean square in pixels, sum of squares of pixels a degree, and marks used; by Gauss and Newton.
    fn refined(&self, rough: f64, seen: &[(V3, [V3; 4], [V2; 4])]) -> Option<(f64, f64, f64, usize)> {
        const STEP: f64 = 1e-4;
        let mut deg = rough;
        let mut result = None;
        for _ in 0..ROUNDS {
            let (mut along, mut spread, mut squares, mut used) = (0.0, 0.0, 0.0, 0);
            for (out, corners, at) in seen {
                let Some(here) = self.beside(deg, *out, corners, at) else { continue };
                let Some(next) = self.beside(deg + STEP, *out, corners, at) else { continue };
                if here.iter().any(|[x, y]| x.hypot(*y) > BESIDE_PX) {
                    continue;
                }
                used += 1;
                for (a, b) in here.as_flattened().iter().zip(next.as_flattened()) {
                    let slope = (b - a) / STEP;
                    along -= slope * a;
                    spread += slope * slope;
                    squares += a * a;
                }
            }
            if used == 0 || spread <= 0.0 {
                return None;
            }
            result = Some((deg, (squares / (4 * used) as f64).sqrt(), spread, used));
            deg += along / spread;
        }
        result
    }
}
