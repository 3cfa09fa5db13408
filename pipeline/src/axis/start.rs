//! A first guess, by equations that are solved at once: each view by itself, then the axis that they turn about.

use std::f64::consts::{PI, TAU};

use turnstage_drivers::board::Board;
use turnstage_drivers::optics::{Distortion, Intrinsics, Pose};

use super::fit::Rig;
use super::{Lens, View};
use crate::algebra::{
    Homography, M3, Squares, V3, about_z, cross, dot, plus, product, scaled, transposed, unit,
};

/// A focal length that is nowhere near, in picture widths, in place of one that the views do not give.
const FOCAL_WIDTHS: f64 = 1.2;
/// Focal lengths that are believed, in picture widths.
const FOCAL_RANGE: std::ops::Range<f64> = 0.2..30.0;

pub(super) struct Begun {
    pub(super) rig: Rig,
    /// Where the platter said it was, in radians, in the direction in which it turns.
    pub(super) targets: Vec<f64>,
    pub(super) reversed: bool,
}

pub(super) fn guess(views: &[&View], board: &Board, lens: Lens) -> Option<Begun> {
    let homographies: Vec<Homography> = views
        .iter()
        .map(|view| {
            let pairs = view.corners.iter().map(|corner| (board.corner(corner.index), corner.at));
            Homography::of(&pairs.collect::<Vec<_>>())
        })
        .collect::<Option<_>>()?;
    let lens = match lens {
        Lens::Known(lens) => lens,
        Lens::Size { width, height } => of_size(width, height, &homographies),
    };
    let poses: Vec<Pose> = homographies.iter().map(|view| pose(&lens, view)).collect::<Option<_>>()?;
    let first = poses.first()?.rotation;
    let back = transposed(&first);
    let turns: Vec<f64> = poses
        .iter()
        .map(|pose| {
            let turn = product(&back, &pose.rotation);
            (turn[1][0] - turn[0][1]).atan2(turn[0][0] + turn[1][1])
        })
        .collect();
    let said = views.iter().zip(&turns).map(|(view, turn)| view.angle_deg.map_or(*turn, f64::to_radians));
    let said: Vec<f64> = said.collect();
    let (forward, backward) = (agreement(&turns, &said, 1.0), agreement(&turns, &said, -1.0));
    let reversed = backward.1 > forward.1;
    let (sign, zero) = if reversed { (-1.0, backward.0) } else { (1.0, forward.0) };
    let targets: Vec<f64> = said.iter().map(|said| sign * said).collect();
    let nearest = |turn: f64, target: f64| target + (turn - zero - target + PI).rem_euclid(TAU) - PI;
    let angles: Vec<f64> = turns.iter().zip(&targets).map(|(&turn, &target)| nearest(turn, target)).collect();
    let room = product(&upright(&poses, &first)?, &about_z(zero));
    let (centre, board_at) = centre(&poses, &room, &angles)?;
    let room = Pose { rotation: room, translation: centre };
    Some(Begun {
        rig: Rig { lens, room, board: [board_at[0], board_at[1], 0.0, 0.0], angles },
        targets,
        reversed,
    })
}

/// Square pixels, the axis in the middle, and the focal length that makes the board's sides as long as each other and
/// at right angles in all views (Zhang 2000, equations 3 and 4, for this one unknown).
fn of_size(width: u32, height: u32, views: &[Homography]) -> Intrinsics {
    let middle = |length: u32| 0.5 * f64::from(length) - 0.5;
    let (cx, cy, scale) = (middle(width), middle(height), f64::from(width.max(1)));
    let (mut along, mut spread) = (0.0, 0.0);
    for Homography(h) in views {
        let column = |k: usize| [(h[0][k] - cx * h[2][k]) / scale, (h[1][k] - cy * h[2][k]) / scale, h[2][k]];
        let (a, b) = (column(0), column(1));
        let size = (dot(a, a) + dot(b, b)).max(1e-300);
        let equations = [
            (a[0] * b[0] + a[1] * b[1], a[2] * b[2]),
            (a[0] * a[0] + a[1] * a[1] - b[0] * b[0] - b[1] * b[1], a[2] * a[2] - b[2] * b[2]),
        ];
        for (factor, rest) in equations.map(|(factor, rest)| (factor / size, rest / size)) {
            along -= factor * rest;
            spread += factor * factor;
        }
    }
    let widths = (spread / along).sqrt();
    let focal = scale * if FOCAL_RANGE.contains(&widths) { widths } else { FOCAL_WIDTHS };
    Intrinsics {
        width,
        height,
        fx: focal,
        fy: focal,
        cx,
        cy,
        distortion: Distortion::Brown,
        coefficients: [0.0; 5],
    }
}

/// From the board to the camera.
fn pose(lens: &Intrinsics, Homography(h): &Homography) -> Option<Pose> {
    let column = |k: usize| {
        [(h[0][k] - lens.cx * h[2][k]) / lens.fx, (h[1][k] - lens.cy * h[2][k]) / lens.fy, h[2][k]]
    };
    let (a, b, t) = (column(0), column(1), column(2));
    let size = 2.0 / (dot(a, a).sqrt() + dot(b, b).sqrt()) * t[2].signum();
    let (a, b) = (unit(scaled(a, size))?, unit(scaled(b, size))?);
    // Both sides give way by as much until they are at right angles.
    let (sum, difference) = (unit(plus(a, b))?, unit(plus(a, scaled(b, -1.0)))?);
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let x = scaled(plus(sum, difference), half);
    let y = scaled(plus(sum, scaled(difference, -1.0)), half);
    let rotation = transposed(&[x, y, cross(x, y)]);
    Some(Pose { rotation, translation: scaled(t, size) })
}

/// Mean of what `turns` are beyond what was said, and how well they agree, 0 to 1.
fn agreement(turns: &[f64], said: &[f64], sign: f64) -> (f64, f64) {
    let sum = turns.iter().zip(said).fold([0.0, 0.0], |sum, (turn, said)| {
        let (sin, cos) = (turn - sign * said).sin_cos();
        [sum[0] + cos, sum[1] + sin]
    });
    (sum[1].atan2(sum[0]), sum[0].hypot(sum[1]) / turns.len().max(1) as f64)
}

/// The first board's axes, with z along the mean of all boards' normals.
fn upright(poses: &[Pose], first: &M3) -> Option<M3> {
    let normal = |pose: &Pose| transposed(&pose.rotation)[2];
    let z = unit(poses.iter().map(normal).fold([0.0; 3], plus))?;
    let x = transposed(first)[0];
    let x = unit(plus(x, scaled(z, -dot(x, z))))?;
    Some(transposed(&[x, cross(z, x), z]))
}

/// Where the axis meets the board's plane, in the camera's axes, and where the board's middle lies from there: the
/// middle goes round the axis in a circle.
fn centre(poses: &[Pose], room: &M3, angles: &[f64]) -> Option<(V3, [f64; 2])> {
    let mut squares = Squares::new(5);
    for (pose, angle) in poses.iter().zip(angles) {
        let turned = product(room, &about_z(*angle));
        for (lane, axes) in turned.iter().enumerate() {
            let mut row = [0.0, 0.0, 0.0, axes[0], axes[1]];
            row[lane] = 1.0;
            squares.add(&row, pose.translation[lane]);
        }
    }
    let found = squares.solved(0.0)?;
    Some(([found[0], found[1], found[2]], [found[3], found[4]]))
}
