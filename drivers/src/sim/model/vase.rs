//! A painted jug: a spout, a handle, and another picture on every side.

use std::f32::consts::TAU;

use super::{Finish, Spot, hex};
use crate::sim::mesh::{Mesh, curve};
use crate::sim::texture::{around, circle, inside, noise, repeat, smooth, speckle};
use crate::sim::vector::{V3, v3};

const BODY: u8 = 0;
const INSIDE: u8 = 1;
const HANDLE: u8 = 2;

/// Radius and height of the outside, from the foot to the lip.
const OUTSIDE: [(f32, f32); 12] = [
    (36.0, 0.0),
    (40.0, 2.0),
    (39.0, 8.0),
    (35.0, 14.0),
    (50.0, 36.0),
    (64.0, 62.0),
    (69.0, 88.0),
    (62.0, 114.0),
    (44.0, 138.0),
    (32.0, 156.0),
    (31.0, 172.0),
    (38.0, 188.0),
];
const LIP: [(f32, f32); 5] = [(38.0, 188.0), (37.0, 190.0), (35.0, 188.0), (28.0, 172.0), (27.0, 140.0)];

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.surface(BODY, 112, 88, |u, v| spouted(u, curve(&OUTSIDE, v)));
    mesh.surface(INSIDE, 72, 20, |u, v| spouted(u, curve(&LIP, v)));
    let line = [
        v3(-30.0, 0.0, 170.0),
        v3(-52.0, 0.0, 181.0),
        v3(-79.0, 0.0, 172.0),
        v3(-91.0, 0.0, 145.0),
        v3(-86.0, 0.0, 115.0),
        v3(-62.0, 0.0, 92.0),
    ];
    mesh.tube(HANDLE, &line, |v| 6.2 + 2.4 * (v - 0.5).abs());
    paint
}

/// Pulls the lip out and up into a spout towards +x.
fn spouted(u: f32, (r, z): (f32, f32)) -> V3 {
    let side = around(u, 0.0) * TAU;
    let pull = smooth(150.0, 190.0, z) * (-(side / 0.42) * (side / 0.42)).exp();
    let pinch = smooth(158.0, 190.0, z) * 4.0 * (-((side.abs() - 0.75) / 0.3).powi(2)).exp();
    let r = r + 19.0 * pull - pinch;
    let (sin, cos) = (u * TAU).sin_cos();
    v3(r * cos, r * sin, z + 7.0 * pull)
}

fn paint(spot: &Spot) -> Finish {
    match spot.part {
        INSIDE => Finish::glossy(hex(0x6b3a24)),
        HANDLE => {
            let band = inside(repeat(spot.v, 0.09).abs() - 0.02, spot.px * 0.004);
            Finish::glossy(glaze(spot).mix(hex(0x1d4f91), band * 0.9))
        }
        _ => Finish::glossy(body(spot)),
    }
}

/// Cream glaze with iron specks.
fn glaze(spot: &Spot) -> V3 {
    let (x, y) = (spot.u * 420.0, spot.p.z + spot.v * 40.0);
    let cloud = 0.93 + 0.1 * noise(x * 0.09, y * 0.09) + 0.05 * noise(x * 0.7, y * 0.7);
    let fine = speckle(x * 0.33, y * 0.33, 0.16, spot.px * 0.33);
    let coarse = speckle(x * 0.09 + 9.0, y * 0.09, 0.09, spot.px * 0.09);
    (hex(0xead9b5) * cloud).mix(hex(0x6a4526), 0.75 * fine.max(coarse))
}

fn body(spot: &Spot) -> V3 {
    let z = spot.p.z;
    let cobalt = || hex(0x173f86) * (0.8 + 0.4 * noise(spot.u * 300.0, z * 0.35));
    let rust = || hex(0xb4451f) * (0.85 + 0.3 * noise(spot.u * 240.0, z * 0.3));
    let ground = glaze(spot);
    if z < 17.0 {
        return ground.mix(rust(), inside(z - 16.0, spot.px));
    }
    if (153.5..171.0).contains(&z) {
        return ground.mix(rust(), teeth(spot, z));
    }
    match bands(spot, z) {
        ink if ink > 0.0 => ground.mix(cobalt(), ink),
        _ if (48.0..128.0).contains(&z) => motifs(spot, ground),
        _ => ground,
    }
}

/// Lines, a meander below the belly and a wave on the shoulder.
fn bands(spot: &Spot, z: f32) -> f32 {
    let line = |at: f32, half: f32| inside((z - at).abs() - half, spot.px);
    let lines = line(19.0, 1.2).max(line(46.0, 1.6)).max(line(130.0, 1.6)).max(line(152.0, 1.0));
    if z < 45.0 {
        return lines.max(meander(repeat(spot.u * 20.0, 1.0), (z - 22.0) / 21.0, spot.px / 16.0));
    }
    if (133.0..149.0).contains(&z) {
        return inside((z - 141.0 - 4.5 * (spot.u * TAU * 9.0).sin()).abs() - 1.8, spot.px);
    }
    lines
}

/// One cell of a Greek key: x in [-0.5, 0.5], y in [0, 1].
fn meander(x: f32, y: f32, px: f32) -> f32 {
    if !(0.0..=1.0).contains(&y) {
        return 0.0;
    }
    let bar = |cx: f32, cy: f32, a: f32, b: f32| inside(((x - cx).abs() - a).max((y - cy).abs() - b), px);
    let t = 0.07;
    let frame = bar(0.0, 0.12, 0.5, t).max(bar(-0.36, 0.5, t, 0.42)).max(bar(-0.06, 0.88, 0.36, t));
    frame.max(bar(0.24, 0.66, t, 0.28)).max(bar(0.06, 0.42, 0.24, t)).max(bar(-0.12, 0.52, t, 0.14))
}

/// Triangles round the neck.
fn teeth(spot: &Spot, z: f32) -> f32 {
    let x = repeat(spot.u * 16.0, 1.0) * 12.0;
    inside(x.abs() - (170.0 - z) * 0.42, spot.px) * inside((z - 162.0).abs() - 8.0, spot.px)
}

/// Four pictures on the belly: a sailing boat, the sun, branches under the handle, a fish.
fn motifs(spot: &Spot, ground: V3) -> V3 {
    let reach = 2.0 * TAU * 0.5 * 66.0;
    let at = |turn: f32| around(spot.u, turn) * reach;
    let (y, px) = (spot.p.z - 88.0, spot.px);
    let nearest = (spot.u * 4.0).round() as i32 % 4;
    match nearest {
        0 => boat(at(0.0), y, px, ground),
        1 => sun(at(0.25), y, px, ground),
        2 => branch(at(0.5), y, px, ground),
        _ => fish(at(0.75), y, px, ground),
    }
}

fn boat(x: f32, y: f32, px: f32, ground: V3) -> V3 {
    let hull = inside(circle(x, y - 14.0, 32.0).max(y + 6.0), px);
    let plank = inside((repeat(y + 8.0, 5.0)).abs() - 0.5, px);
    let mast = inside((x + 2.0).abs() - 1.0, px) * inside((y - 8.0).abs() - 22.0, px);
    let main = inside((x - 14.0 + (y - 8.0) * 0.62).max(1.5 - x).max(-3.0 - y), px);
    let jib = inside((-x - 17.0 + (y - 6.0) * 0.55).max(x + 4.5).max(-3.0 - y), px);
    let stripe = inside(repeat(y, 8.0).abs() - 1.4, px);
    let sea = inside((y + 24.0 + 2.0 * (x * 0.35).sin()).abs() - 1.3, px) * inside(x.abs() - 40.0, px);
    let low = inside((y + 31.0 + 2.0 * (x * 0.35 + 2.0).sin()).abs() - 1.3, px) * inside(x.abs() - 34.0, px);
    let color = ground.mix(hex(0x7a3419), hull).mix(hex(0x3f190c), hull * plank);
    let color = color.mix(hex(0x3a2413), mast).mix(hex(0xc9391f).mix(hex(0xf3e3c0), stripe), main);
    color.mix(hex(0x2b6f8f), jib).mix(hex(0x1d5fa5), sea.max(low))
}

fn sun(x: f32, y: f32, px: f32, ground: V3) -> V3 {
    let turn = y.atan2(x) / TAU;
    let r = (x * x + y * y).sqrt();
    let long = repeat(turn, 1.0 / 8.0).abs() * TAU * r - (36.0 - r) * 0.22;
    let short = repeat(turn + 1.0 / 16.0, 1.0 / 8.0).abs() * TAU * r - (30.0 - r) * 0.26;
    let rays = inside(long.min(short).max(18.5 - r).max(r - 36.0), px);
    let disc = inside(r - 16.0, px);
    let edge = inside((r - 16.0).abs() - 0.9, px);
    let eyes = inside(circle(x.abs() - 5.5, y - 3.0, 2.0), px);
    let mouth = inside((circle(x, y + 0.5, 8.0).abs() - 0.9).max(y + 3.0), px);
    let color = ground.mix(hex(0xd9711c), rays).mix(hex(0xf2b52c), disc);
    color.mix(hex(0x7c2d12), edge.max(eyes).max(mouth))
}

fn branch(x: f32, y: f32, px: f32, ground: V3) -> V3 {
    let bend = x - 4.0 * (y * 0.06).sin();
    let stem = inside(bend.abs() - 1.0, px) * inside(y.abs() - 36.0, px);
    let row = repeat(y - 4.0, 11.0);
    let leaf_x = bend.abs() - 11.0;
    let (a, b) = (leaf_x * 0.82 - row * 0.57, leaf_x * 0.57 + row * 0.82);
    let leaf = inside((a * a / 90.0 + b * b / 9.0 - 1.0) * 3.0, px) * inside(y.abs() - 36.0, px);
    let vein = inside(b.abs() - 0.4, px) * leaf;
    let berry =
        inside(circle(bend.abs() - 25.0, repeat(y + 2.0, 22.0), 3.4), px) * inside(y.abs() - 30.0, px);
    let color = ground.mix(hex(0x4a6b2a), leaf).mix(hex(0xcfe0a0), vein * 0.7);
    color.mix(hex(0x5a3a1c), stem).mix(hex(0xa8182c), berry)
}

fn fish(x: f32, y: f32, px: f32, ground: V3) -> V3 {
    let (bx, by) = (x + 5.0, y);
    let lens = circle(bx, by - 22.0, 36.0).max(circle(bx, by + 22.0, 36.0));
    let body = inside(lens, px);
    let tail = inside(((by.abs()) - (x - 18.0) * 0.75).max(x - 38.0).max(20.0 - x), px);
    let scales =
        inside((circle(repeat(bx, 7.0), repeat(by + (bx / 7.0).round() * 3.5, 7.0), 3.0)).abs() - 0.6, px);
    let head = inside(bx + 16.0, px);
    let eye = circle(bx + 21.0, by - 3.0, 0.0);
    let outline = inside(lens.abs() - 0.9, px);
    let color = ground.mix(hex(0x1f8a8a), body).mix(hex(0x0d4d5c), body * scales * (1.0 - head));
    let color = color.mix(hex(0xe2a03a), body * head).mix(hex(0xd4582a), tail);
    color
        .mix(hex(0x0c2f3a), outline)
        .mix(hex(0xf8f4e6), inside(eye - 3.2, px))
        .mix(V3::splat(0.01), inside(eye - 1.5, px))
}
