//! A small rally car: another face on every side, down to the number on its doors.

use std::f32::consts::TAU;

use super::{Finish, Spot, hex};
use crate::sim::mesh::{Mesh, Section, curve};
use crate::sim::texture::{circle, inside, noise, number, rectangle, repeat, speckle};
use crate::sim::vector::{V3, v3};

const BODY: u8 = 0;
const CABIN: u8 = 1;
const TYRE: u8 = 2;
const HUB: u8 = 3;
const CHROME: u8 = 4;
const LAMP: u8 = 5;
const CASE: u8 = 6;
const SPARE: u8 = 7;
const ROLL: u8 = 8;

/// Along x from the tail: height of the top, half the width, height of the bottom.
const TOP: [(f32, f32); 11] = [
    (-101.0, 34.0),
    (-99.0, 44.0),
    (-92.0, 51.0),
    (-70.0, 54.0),
    (-30.0, 54.0),
    (10.0, 53.0),
    (40.0, 51.0),
    (70.0, 48.0),
    (90.0, 44.0),
    (99.0, 38.0),
    (102.0, 30.0),
];
const HALF: [f32; 11] = [37.0, 43.0, 46.0, 47.0, 47.0, 47.0, 47.0, 46.0, 44.0, 41.0, 36.0];
const BOTTOM: [f32; 11] = [24.0, 18.0, 15.0, 14.0, 13.0, 13.0, 13.0, 14.0, 15.0, 18.0, 22.0];
const ROOF: [(f32, f32); 9] = [
    (-80.0, 53.0),
    (-76.0, 66.0),
    (-68.0, 79.0),
    (-54.0, 87.0),
    (-28.0, 90.0),
    (-2.0, 89.0),
    (14.0, 84.0),
    (30.0, 68.0),
    (44.0, 52.0),
];
const AXLES: [f32; 2] = [-60.0, 62.0];
const WHEEL: f32 = 21.0;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    let sections = body_sections();
    mesh.loft(BODY, &sections);
    mesh.close(BODY, &sections);
    mesh.loft(CABIN, &cabin_sections());
    for x in AXLES {
        for side in [-1.0, 1.0] {
            wheel(mesh, v3(x, side * 38.0, WHEEL), side);
        }
    }
    bumpers(mesh);
    for (y, r) in [(-33.0, 8.0), (33.0, 8.0), (-13.0, 6.5), (13.0, 6.5)] {
        let x = if r > 7.0 { 97.0 } else { 103.0 };
        let profile = [(r + 1.2, -6.0), (r + 1.2, 1.0), (r, 2.5), (r * 0.7, 4.0), (0.01, 4.6)];
        mesh.turned(LAMP, v3(x, y, 38.0), v3(1.0, 0.0, 0.06), &profile);
    }
    luggage(mesh);
    mesh.ball(CHROME, v3(26.0, -54.0, 60.0), v3(3.0, 5.0, 4.0));
    mesh.tube(CHROME, &[v3(24.0, -44.0, 54.0), v3(25.0, -49.0, 57.0), v3(26.0, -53.0, 60.0)], |_| 1.0);
    mesh.turned(
        CHROME,
        v3(-99.0, 26.0, 17.0),
        v3(-1.0, 0.0, -0.1),
        &[(3.2, -8.0), (3.4, 5.0), (2.6, 6.0), (0.01, 4.0)],
    );
    paint
}

fn body_sections() -> Vec<Section> {
    let steps = 44;
    (0..=steps)
        .map(|k| {
            let t = k as f32 / steps as f32;
            let lane = |values: &[f32]| {
                let line: Vec<(f32, f32)> = values.iter().map(|&v| (v, 0.0)).collect();
                curve(&line, t).0
            };
            let (x, high) = curve(&TOP, t);
            Section { x, half: lane(&HALF), low: lane(&BOTTOM), high, round: 7.0, lean: 0.96 }
        })
        .collect()
}

fn cabin_sections() -> Vec<Section> {
    let steps = 40;
    (0..=steps)
        .map(|k| {
            let (x, high) = curve(&ROOF, k as f32 / steps as f32);
            let round = (0.2 * (high - 48.0)).clamp(0.5, 8.0);
            Section {
                x,
                half: 43.5,
                low: 46.0,
                high: high.max(49.0),
                round,
                lean: 0.98 - 0.0045 * (high - 48.0),
            }
        })
        .collect()
}

fn wheel(mesh: &mut Mesh, centre: V3, side: f32) {
    let axis = v3(0.0, side, 0.0);
    let tyre =
        [(13.0, 9.5), (15.5, 11.0), (19.0, 10.6), (WHEEL, 8.0), (WHEEL, 0.0), (WHEEL, -8.0), (18.0, -10.0)];
    let tyre: Vec<(f32, f32)> = tyre.into_iter().rev().collect();
    mesh.turned(TYRE, centre, axis, &tyre);
    mesh.turned(HUB, centre, axis, &[(13.2, 9.6), (12.0, 8.2), (6.0, 8.6), (3.5, 10.6), (0.01, 11.0)]);
}

fn bumpers(mesh: &mut Mesh) {
    for side in [-1.0f32, 1.0] {
        let x = if side > 0.0 { 104.0 } else { 103.0 };
        let line = [
            v3(side * (x - 14.0), -46.0, 22.0),
            v3(side * (x - 3.0), -38.0, 22.0),
            v3(side * x, -18.0, 22.0),
            v3(side * x, 18.0, 22.0),
            v3(side * (x - 3.0), 38.0, 22.0),
            v3(side * (x - 14.0), 46.0, 22.0),
        ];
        mesh.tube(CHROME, &line, |_| 3.0);
    }
}

/// A rack on the roof, with a suitcase on one side and a spare wheel and a blanket on the other.
fn luggage(mesh: &mut Mesh) {
    for y in [-30.0, 30.0] {
        mesh.tube(CHROME, &[v3(-56.0, y, 93.0), v3(-28.0, y, 95.0), v3(4.0, y, 93.0)], |_| 1.3);
    }
    for x in [-52.0, -28.0, -4.0] {
        mesh.tube(CHROME, &[v3(x, -31.0, 92.0), v3(x, 0.0, 95.0), v3(x, 31.0, 92.0)], |_| 1.1);
    }
    mesh.rounded_box(CASE, v3(-22.0, -14.0, 105.0), v3(26.0, 15.0, 9.5), 3.5);
    let tyre = [(6.0, 5.0), (8.0, 6.0), (14.0, 6.0), (17.0, 3.0), (17.0, -3.0), (14.0, -6.0), (8.0, -6.0)];
    let tyre: Vec<(f32, f32)> = tyre.into_iter().rev().collect();
    mesh.turned(SPARE, v3(-36.0, 18.0, 102.0), v3(0.0, 0.0, 1.0), &tyre);
    mesh.turned(HUB, v3(-36.0, 18.0, 102.0), v3(0.0, 0.0, 1.0), &[(8.0, 4.0), (5.0, 3.0), (0.01, 5.0)]);
    let roll = [(0.01, -12.0), (6.5, -12.0), (7.0, -6.0), (7.0, 6.0), (6.5, 12.0), (0.01, 12.0)];
    mesh.turned(ROLL, v3(-4.0, 17.0, 102.0), v3(0.0, 1.0, 0.0), &roll);
}

fn paint(spot: &Spot) -> Finish {
    match spot.part {
        BODY => body(spot),
        CABIN => cabin(spot),
        TYRE | SPARE => tyre(spot),
        HUB => Finish::metal(hex(0xd8dade), 0.15 + 0.3 * inside(repeat(spot.u, 0.125).abs() - 0.03, 0.01)),
        LAMP if spot.v > 0.45 => Finish::glossy(lens(spot)),
        CASE => case(spot),
        ROLL => Finish::matte(plaid(spot)),
        _ => Finish::metal(hex(0xe6e7ea), 0.06),
    }
}

const RED: u32 = 0xb8141c;
const IVORY: u32 = 0xf1ead8;

fn lacquer(color: V3, spot: &Spot) -> Finish {
    let flake = 0.97 + 0.06 * noise(spot.p.x * 2.2, spot.p.z * 2.2 + spot.p.y * 2.2);
    let dust = speckle(spot.p.x * 0.4 + spot.p.z * 0.2, spot.p.y * 0.4 + spot.p.z * 0.4, 0.1, spot.px * 0.4);
    Finish { color: (color * flake).mix(hex(0x8a7a66), 0.35 * dust), mirror: V3::splat(0.06), rough: 0.05 }
}

fn body(spot: &Spot) -> Finish {
    let (p, px) = (spot.p, spot.px);
    let arch = AXLES.iter().map(|x| circle(p.x - x, p.z - WHEEL, WHEEL + 3.5)).fold(f32::MAX, f32::min);
    if arch < 0.0 && spot.n.y.abs() > 0.5 || p.z < 15.0 {
        return Finish::matte(hex(0x141414));
    }
    let mut color = hex(RED);
    if spot.n.z > 0.5 && p.x > 30.0 {
        // Two stripes on the bonnet, not in the middle.
        let stripe = inside((p.y - 14.0).abs() - 5.0, px).max(inside((p.y - 28.0).abs() - 2.0, px));
        color = color.mix(hex(IVORY), stripe);
    }
    if spot.n.y.abs() > 0.5 {
        color = flank(spot, color);
    }
    if p.x > 94.0 {
        color = nose(spot, color);
    } else if p.x < -94.0 {
        color = tail(spot, color);
    }
    let mud =
        inside(p.z - 19.0 - 9.0 * noise(p.x * 0.13, p.y * 0.13), 6.0) * noise(p.x * 0.6, p.z * 0.6 + p.y);
    lacquer(color.mix(hex(0x6b5138), 0.75 * mud), spot)
}

/// Doors, handles and roundels: a 7 on the left, a 28 on the right.
fn flank(spot: &Spot, color: V3) -> V3 {
    let (p, px) = (spot.p, spot.px);
    let left = p.y > 0.0;
    // Read from outside, so that the number is not mirrored.
    let x = if left { -(p.x + 2.0) } else { p.x + 2.0 };
    let seam = inside(rectangle(p.x + 2.0, p.z - 36.0, 30.0, 17.0).abs() - 0.5, px);
    let handle = inside(rectangle(p.x + 25.0, p.z - 46.0, 4.0, 1.0), px);
    let roundel = inside(circle(x, p.z - 33.0, 12.5), px);
    let ring = inside(circle(x, p.z - 33.0, 12.5).abs() - 0.6, px);
    let ink = number(if left { 7 } else { 28 }, x, p.z - 33.0, 13.0, px);
    let belt = inside((p.z - 24.0).abs() - 1.2, px);
    let cap = if left { inside(circle(p.x + 80.0, p.z - 43.0, 4.0).abs() - 0.7, px) } else { 0.0 };
    let color = color.mix(hex(IVORY), belt).mix(hex(0x3a0508), seam.max(cap));
    let color = color.mix(hex(IVORY), roundel).mix(hex(0x15171c), ring.max(ink * roundel));
    color.mix(hex(0xd9dadd), handle)
}

fn nose(spot: &Spot, color: V3) -> V3 {
    let (p, px) = (spot.p, spot.px);
    let grille = inside(rectangle(p.y, p.z - 35.0, 21.0, 6.0), px);
    let bars = inside(repeat(p.z, 2.4).abs() - 0.5, px);
    let plate = inside(rectangle(p.y + 22.0, p.z - 27.0, 13.0, 2.6), px);
    let color = color.mix(hex(0x101114).mix(hex(0xc8cacd), bars), grille);
    color.mix(hex(0xf4f4f0), plate).mix(hex(0x15171c), number(1967, p.y + 22.0, p.z - 27.0, 4.0, px))
}

fn tail(spot: &Spot, color: V3) -> V3 {
    let (p, px) = (spot.p, spot.px);
    let lamp = inside(rectangle(p.y.abs() - 34.0, p.z - 38.0, 4.0, 7.0), px);
    let amber = inside(p.z - 34.0, px);
    let lid = inside(rectangle(p.y, p.z - 38.0, 27.0, 11.0).abs() - 0.6, px);
    let plate = inside(rectangle(p.y, p.z - 36.0, 15.0, 4.6), px);
    let ink = number(28, -p.y, p.z - 36.0, 6.5, px);
    let color = color.mix(hex(0x3a0508), lid).mix(hex(0xff2d1a).mix(hex(0xf09a1c), amber), lamp);
    color.mix(hex(0xf0c93a), plate).mix(hex(0x15171c), ink)
}

fn cabin(spot: &Spot) -> Finish {
    let (p, n, px) = (spot.p, spot.n, spot.px);
    let roof = ROOF.windows(2).find(|w| p.x <= w[1].0).map_or(60.0, |w| {
        let t = (p.x - w[0].0) / (w[1].0 - w[0].0);
        w[0].1 + (w[1].1 - w[0].1) * t
    });
    let glass = if n.y.abs() > 0.6 {
        let pane =
            (54.5 - p.z).max(p.z - roof + 7.0).max((p.x - 22.0 + (p.z - 55.0) * 0.75).max(-66.0 - p.x));
        let pillar = 2.2 - (p.x + 24.0).abs();
        inside(pane.max(pillar), px)
    } else if n.x.abs() > 0.3 {
        let top = if n.x > 0.0 { 82.5 } else { 80.0 };
        inside((p.y.abs() - 36.0 + (p.z - 54.0) * 0.16).max(56.0 - p.z).max(p.z - top), px)
    } else {
        0.0
    };
    let wiper =
        if n.x > 0.3 { inside((p.z - 57.0 - (p.y + 8.0).abs() * 0.35).abs() - 0.5, px) * glass } else { 0.0 };
    let mut color = hex(IVORY);
    if n.z > 0.75 {
        let check = (repeat(p.x, 12.0) > 0.0) ^ (repeat(p.y, 12.0) > 0.0);
        color = color.mix(hex(0x17181c), if check && p.y.abs() < 33.0 { 0.95 } else { 0.0 });
    }
    if glass > 0.5 {
        let dark = hex(0x0d1216).mix(hex(0xc0c4c8), wiper);
        return Finish { color: dark, mirror: V3::splat(0.10), rough: 0.03 };
    }
    lacquer(color.mix(hex(0x202226), glass), spot)
}

fn tyre(spot: &Spot) -> Finish {
    let tread = inside(repeat(spot.u * 40.0, 1.0).abs() - 0.22, 0.1);
    let worn = 0.8 + 0.4 * noise(spot.u * 200.0, spot.v * 30.0);
    let white = inside((spot.v - 0.74).abs() - 0.03, 0.02);
    let color = hex(0x26262a) * (worn * (1.0 - 0.35 * tread * inside(spot.v - 0.6, 0.05)));
    Finish::matte(color.mix(hex(0xd8d3c6), white))
}

fn lens(spot: &Spot) -> V3 {
    let rib = inside(repeat(spot.p.y, 1.8).abs() - 0.3, spot.px);
    let color = if spot.p.y.abs() < 22.0 { hex(0xf2c230) } else { hex(0xf4f6f2) };
    color.mix(color * 0.6, rib)
}

fn case(spot: &Spot) -> Finish {
    let (p, px) = (spot.p, spot.px);
    let strap = inside(((p.x + 22.0).abs() - 13.0).abs() - 2.2, px);
    let seam = inside((p.z - 108.0).abs() - 0.4, px);
    let stitch = inside(repeat(p.x + p.y, 2.5).abs() - 0.7, px) * inside((p.z - 110.0).abs() - 0.4, px);
    let leather = hex(0x7d4a22) * (0.85 + 0.3 * noise(p.x * 0.8, p.y * 0.8 + p.z * 0.8));
    let color = leather.mix(hex(0x3c2211), strap.max(seam)).mix(hex(0xe0c9a0), stitch);
    Finish { color, mirror: V3::splat(0.035), rough: 0.5 }
}

/// A tartan blanket, rolled up.
fn plaid(spot: &Spot) -> V3 {
    let (x, y) = (spot.u * TAU * 7.0, spot.p.y);
    let wide = inside(repeat(x, 8.0).abs() - 2.0, spot.px).max(inside(repeat(y, 8.0).abs() - 2.0, spot.px));
    let thin = inside(repeat(x + 4.0, 8.0).abs() - 0.5, spot.px)
        .max(inside(repeat(y + 4.0, 8.0).abs() - 0.5, spot.px));
    hex(0x1f5c4a).mix(hex(0x16304f), 0.7 * wide).mix(hex(0xe2c14a), thin)
}
