//! A slender bottle of dark glass: the lamps' mirror images stay where they are, and little but the paper label turns.

use std::f32::consts::TAU;

use super::{Finish, Spot, hex};
use crate::sim::mesh::Mesh;
use crate::sim::texture::{around, circle, inside, lettering, noise, number, rectangle, repeat};
use crate::sim::vector::V3;

const GLASS: u8 = 0;
const CAP: u8 = 1;

/// Radius of the straight part, which the label is stuck on.
const BODY: f32 = 31.0;
/// Radius and height of the glass, from the foot to what the cap hides.
const OUTSIDE: [(f32, f32); 15] = [
    (25.0, 0.0),
    (29.2, 1.2),
    (30.7, 5.0),
    (BODY, 13.0),
    (BODY, 38.0),
    (BODY, 64.0),
    (BODY, 90.0),
    (BODY, 110.0),
    (29.8, 121.0),
    (25.0, 132.0),
    (18.4, 142.0),
    (14.4, 152.0),
    (13.2, 163.0),
    (12.8, 175.0),
    (12.8, 186.0),
];
const HOOD: [(f32, f32); 9] = [
    (12.9, 164.0),
    (14.3, 164.4),
    (14.5, 168.0),
    (14.5, 177.0),
    (14.5, 186.0),
    (14.5, 195.0),
    (13.2, 198.2),
    (7.0, 199.0),
    (0.01, 199.0),
];
/// How high the bottle is filled.
const FILL: f32 = 150.0;
/// Middle of the label, and half its width along the glass and its height.
const LABEL_AT: f32 = 70.0;
const LABEL: (f32, f32) = (42.0, 36.0);

const PAPER: u32 = 0xece2c8;
const INK: u32 = 0x23201c;
const WINE: u32 = 0x6d1524;
const GOLD: u32 = 0xb08a3a;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.lathe(GLASS, 120, 96, &OUTSIDE);
    mesh.lathe(CAP, 96, 40, &HOOD);
    paint
}

fn paint(spot: &Spot) -> Finish {
    if spot.part == CAP {
        return cap(spot);
    }
    // To the right as one looks at the label, and up from its middle.
    let (x, y) = (around(spot.u, 0.0) * TAU * BODY, spot.p.z - LABEL_AT);
    let paper = inside(rounded(x, y, LABEL, 3.0), spot.px);
    let glass = glass(spot);
    if paper == 0.0 {
        return glass;
    }
    Finish {
        color: glass.color.mix(label(x, y, spot.px), paper),
        mirror: glass.mirror.mix(V3::splat(0.03), paper),
        rough: glass.rough + (0.75 - glass.rough) * paper,
    }
}

/// Distance to a rectangle of half-sides `half` with corners of radius `round`.
fn rounded(x: f32, y: f32, half: (f32, f32), round: f32) -> f32 {
    let (dx, dy) = (x.abs() - half.0 + round, y.abs() - half.1 + round);
    circle(dx.max(0.0), dy.max(0.0), round) + dx.max(dy).min(0.0)
}

/// Nearly black where it is filled; the two seams of the mould and a number near the foot hardly show.
fn glass(spot: &Spot) -> Finish {
    let (z, px) = (spot.p.z, spot.px);
    let filled = inside(z - FILL, px.max(0.8));
    let streaks = 0.9 + 0.2 * noise(spot.u * 40.0, z * 0.05);
    let seam = inside(around(spot.u * 2.0, 0.56).abs() * 0.5 * TAU * BODY - 0.25, px);
    let behind = around(spot.u, 0.5) * TAU * BODY;
    let cast = number(75, behind, z - 17.0, 6.0, px);
    let foot = inside((z - 8.0).abs() - 0.4, px);
    let raised = (0.6 * seam).max(0.5 * cast).max(0.5 * foot);
    let color = hex(0x33421c).mix(hex(0x10160d), filled) * streaks;
    Finish { color: color.mix(hex(0x5a6a45), raised), mirror: V3::splat(0.05), rough: 0.02 + 0.2 * raised }
}

/// Paper with a picture, a name, a year and small print.
fn label(x: f32, y: f32, px: f32) -> V3 {
    let fibre = 0.97 + 0.05 * noise(x * 0.9, y * 2.1);
    let frame = inside(rounded(x, y, (LABEL.0 - 2.5, LABEL.1 - 2.5), 2.0).abs() - 0.4, px);
    let name = lettering(x, y - 1.5, 10.0, (34.1, 5.0), 21, px);
    let under = lettering(x, y + 7.5, 4.0, (26.0, 2.0), 22, px);
    let rules = inside((y + 12.5).abs() - 0.25, px) * inside(x.abs() - 34.0, px);
    let year = number(1974, x + 12.0, y + 19.0, 7.5, px);
    let print = lettering(x - 20.0, y + 19.0, 2.6, (14.0, 5.2), 23, px);
    let band = inside((y + 29.2).abs() - 2.6, px) * inside(x.abs() - 37.5, px);
    let banner = lettering(x, y + 29.2, 3.4, (34.0, 1.7), 24, px);
    let ground = view(x, y - 20.0, px, hex(PAPER) * fibre);
    let ground = ground.mix(hex(GOLD), frame.max(rules)).mix(hex(WINE), name.max(band));
    ground.mix(hex(PAPER), banner * band).mix(hex(INK), under.max(year).max(print))
}

/// Hills with rows of vines under a sun, in a gilt oval.
fn view(x: f32, y: f32, px: f32, paper: V3) -> V3 {
    let oval = circle(x * 0.46, y, 11.5);
    let sky = inside(oval, px);
    if oval > 1.0 + px {
        return paper;
    }
    let sun = inside(circle(x - 9.0, y - 3.5, 3.6), px);
    let far = inside(y - 1.0 - 2.2 * (x * 0.21).sin(), px);
    let near = inside(y + 3.4 - 1.6 * (x * 0.17 + 2.0).sin(), px);
    let vines = inside(repeat(x * 0.8 + y * 1.4, 2.4).abs() - 0.5, px);
    let house = inside(rectangle(x + 10.0, y + 0.5, 2.6, 2.6), px)
        .max(inside((x + 10.0).abs() + (y - 2.0) - 3.4, px) * inside(2.0 - y, px));
    let picture = hex(0xd9cf9f).mix(hex(0xc9762c), sun).mix(hex(0x7d8a4f), far).mix(hex(0x7a3b2c), house);
    let picture = picture.mix(hex(0x4a5a2c).mix(hex(0x2a3a1c), vines), near);
    paper.mix(picture, sky).mix(hex(GOLD), inside(oval.abs() - 0.45, px))
}

/// Wine-red foil with a knurled ring, a line where it tears, and a coin's face on top.
fn cap(spot: &Spot) -> Finish {
    const AROUND: f32 = TAU * 14.5;
    let (z, px) = (spot.p.z, spot.px);
    let x = around(spot.u, 0.0) * AROUND;
    let knurl = inside(repeat(x, AROUND / 60.0).abs() - 0.35, px) * inside((z - 191.0).abs() - 3.6, px);
    let tear = inside((z - 179.0).abs() - 0.35, px);
    let rings = inside(((z - 170.0).abs() - 4.0).abs() - 0.5, px);
    let name = lettering(x, z - 170.0, 3.6, (14.0, 1.8), 25, px);
    let r = circle(spot.p.x, spot.p.y, 0.0);
    let coin = inside((r - 9.0).abs() - 0.4, px) * inside(198.5 - z, px);
    let gilt = rings.max(name).max(coin);
    let foil = hex(0x8c2434).mix(hex(0xd2ac5a), gilt).mix(hex(0x2c0a10), knurl.max(tear));
    Finish { color: foil * 0.35, mirror: foil * 0.6, rough: 0.3 }
}
