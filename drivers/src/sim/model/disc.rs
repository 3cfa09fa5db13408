//! The platter: a matt disc with a scale of degrees, so that its turning can be seen and read.

use std::f32::consts::TAU;

use super::board::print;
use super::{Finish, RADIUS, Spot, hex};
use crate::board::Rim;
use crate::sim::mesh::Mesh;
use crate::sim::texture::{cell, inside, noise, number, repeat};
use crate::sim::vector::V3;

/// Upper side.
pub(crate) const TOP: u8 = 200;
const RIM: u8 = 201;
/// The ring of marks round the rim.
pub(crate) const RING: u8 = 202;
/// The marks on it.
pub(crate) const MARKS: Rim =
    Rim { radius_mm: RADIUS as f64 + 1.0, marks: 24, mark_mm: 9.0, height_mm: -7.0 };

pub(crate) fn build(mesh: &mut Mesh) {
    let edge = RADIUS - 1.5;
    mesh.lathe(TOP, 128, 12, &[(edge, 0.0), (edge * 0.5, 0.0), (0.01, 0.0)]);
    mesh.lathe(RIM, 160, 12, &[(RADIUS - 3.0, -14.0), (RADIUS, -13.0), (RADIUS, -2.0), (edge, 0.0)]);
}

/// A band of paper glued round the rim.
pub(crate) fn ring(mesh: &mut Mesh) {
    let radius = MARKS.radius_mm as f32;
    mesh.lathe(RING, 240, 1, &[(radius, -13.0), (radius, -1.0)]);
}

pub(crate) fn paint(spot: &Spot) -> Finish {
    if spot.part == RING {
        return print(MARKS.is_white(f64::from(spot.p.y.atan2(spot.p.x)), f64::from(spot.p.z)));
    }
    if spot.part == RIM {
        let color = rim(spot);
        return Finish { color, mirror: V3::splat(0.06), rough: 0.45 };
    }
    Finish { color: top(spot.p.x, spot.p.y, spot.px), mirror: V3::splat(0.03), rough: 0.85 }
}

/// Anodised black with a white mark every ten degrees.
fn rim(spot: &Spot) -> V3 {
    let arc = repeat(spot.u * 360.0, 10.0) * TAU / 360.0 * RADIUS;
    let mark = inside(arc.abs() - 0.8, spot.px) * inside((spot.p.z + 7.0).abs() - 3.5, spot.px);
    hex(0x2a2c30).mix(hex(0xe8e4da), mark)
}

pub(crate) fn top(x: f32, y: f32, px: f32) -> V3 {
    let r = (x * x + y * y).sqrt();
    let grain =
        0.97 + 0.06 * noise(x * 0.9, y * 0.9) + 0.05 * (cell((x * 1.7) as i32, (y * 1.7) as i32) - 0.5);
    let ground = hex(0xc9c7c2) * grain;
    let ring = inside((r - 104.0).abs() - 0.5, px).max(inside((r - 146.0).abs() - 0.5, px));
    let ink = if r > 100.0 { ring.max(scale(x, y, r, px)) } else { cross(x, y, r, px) };
    let marked = ground.mix(hex(0x24262b), ink * 0.9);
    marked.mix(hex(0xd0342c), zero(x, y, r, px))
}

/// Strokes every 2 and 10 degrees, numerals every 30.
fn scale(x: f32, y: f32, r: f32, px: f32) -> f32 {
    let turn = y.atan2(x) / TAU;
    let along = |period_deg: f32| repeat(turn * 360.0, period_deg) * TAU / 360.0 * r;
    let short = inside(along(2.0).abs() - 0.35, px) * inside((r - 143.0).abs() - 2.5, px);
    let long = inside(along(10.0).abs() - 0.6, px) * inside((r - 140.5).abs() - 5.0, px);
    let nearest = (turn * 12.0).round();
    let (side, up) = (along(30.0), 124.0 - r);
    // Counted clockwise, so that the number that faces a camera at azimuth 0 is the platter's angle.
    let deg = (nearest as i32 * -30).rem_euclid(360) as u32;
    // Read from outside: the top of a numeral points to the centre.
    short.max(long).max(number(deg, side, up, 13.0, px))
}

/// A fine cross and circles in the middle, for centring.
fn cross(x: f32, y: f32, r: f32, px: f32) -> f32 {
    let lines = inside(x.abs().min(y.abs()) - 0.3, px) * inside(r - 90.0, px);
    let circles = inside(repeat(r, 30.0).abs() - 0.3, px) * inside(20.0 - r, px);
    0.5 * lines.max(circles)
}

/// The red mark at zero.
fn zero(x: f32, y: f32, r: f32, px: f32) -> f32 {
    if x < 0.0 || y.abs() > 10.0 {
        return 0.0;
    }
    inside(y.abs() - (r - 105.0) * 0.55, px) * inside((r - 109.0).abs() - 4.0, px)
}
