//! A tin robot: gauges in front, a key in its back, one arm up and one down.

use super::{Finish, Spot, hex};
use crate::sim::mesh::Mesh;
use crate::sim::texture::{circle, inside, noise, number, rectangle, repeat, speckle};
use crate::sim::vector::{V3, v3};

const TRUNK: u8 = 0;
const HEAD: u8 = 1;
const LIMB: u8 = 2;
const HAND: u8 = 3;
const FOOT: u8 = 4;
const STEEL: u8 = 5;
const EYE: u8 = 6;
const BULB: u8 = 7;
const KEY: u8 = 8;
const EAR: u8 = 9;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.rounded_box(TRUNK, v3(0.0, 0.0, 81.0), v3(29.0, 41.0, 36.0), 7.0);
    mesh.rounded_box(HEAD, v3(2.0, 0.0, 146.0), v3(24.0, 29.0, 21.0), 6.0);
    mesh.lathe(STEEL, 48, 10, &[(17.0, 114.0), (14.0, 119.0), (16.0, 123.0), (14.0, 128.0)]);
    for (y, r) in [(-12.0, 8.0), (12.0, 8.0)] {
        let profile =
            [(r + 2.0, -2.0), (r + 2.0, 3.0), (r + 0.5, 4.0), (r, 3.0), (r * 0.6, 5.0), (0.01, 6.0)];
        mesh.turned(EYE, v3(25.0, y, 151.0), v3(1.0, 0.0, 0.0), &profile);
    }
    for side in [-1.0, 1.0] {
        let profile = [(9.0, -2.0), (9.0, 4.0), (6.0, 7.0), (0.01, 8.0)];
        mesh.turned(EAR, v3(2.0, side * 29.0, 147.0), v3(0.0, side, 0.0), &profile);
        leg(mesh, side);
    }
    mesh.tube(STEEL, &[v3(2.0, 0.0, 165.0), v3(2.0, 1.0, 174.0), v3(2.0, 0.0, 183.0)], |_| 1.6);
    mesh.ball(BULB, v3(2.0, 0.0, 188.0), v3(6.0, 6.0, 6.5));
    // The right arm hangs and reaches forward, the left one waves.
    let hanging = [v3(0.0, -40.0, 104.0), v3(0.0, -55.0, 98.0), v3(6.0, -60.0, 80.0), v3(24.0, -60.0, 66.0)];
    let waving = [v3(0.0, 40.0, 104.0), v3(0.0, 56.0, 104.0), v3(0.0, 66.0, 120.0), v3(4.0, 68.0, 144.0)];
    mesh.tube(LIMB, &hanging, |v| 7.5 + 0.5 * (v * 90.0).sin());
    mesh.tube(LIMB, &waving, |v| 7.5 + 0.5 * (v * 90.0).sin());
    claw(mesh, v3(30.0, -60.0, 62.0), v3(0.8, 0.0, -0.6));
    claw(mesh, v3(5.0, 68.5, 150.0), v3(0.15, 0.05, 1.0));
    key(mesh);
    paint
}

fn leg(mesh: &mut Mesh, side: f32) {
    let profile = [(13.0, 14.0), (12.0, 20.0), (13.5, 26.0), (12.0, 33.0), (13.5, 40.0), (12.0, 48.0)];
    mesh.turned(LIMB, v3(0.0, side * 19.0, 0.0), v3(0.0, 0.0, 1.0), &profile);
    mesh.rounded_box(FOOT, v3(7.0, side * 20.0, 9.0), v3(31.0, 17.0, 9.0), 5.0);
}

/// A ball with two fingers.
fn claw(mesh: &mut Mesh, at: V3, ahead: V3) {
    mesh.ball(HAND, at, V3::splat(9.5));
    for side in [-1.0f32, 1.0] {
        let aside = v3(0.0, side, 0.0);
        let line = [
            at + aside * 5.0,
            at + ahead * 9.0 + aside * 10.0,
            at + ahead * 18.0 + aside * 8.0,
            at + ahead * 24.0 + aside * 3.0,
        ];
        mesh.tube(HAND, &line, |v| 4.2 * (1.0 - v * v * 0.75));
    }
}

/// A wind-up key in the back: a shaft and two loops.
fn key(mesh: &mut Mesh) {
    mesh.turned(
        KEY,
        v3(-28.0, 0.0, 84.0),
        v3(-1.0, 0.0, 0.0),
        &[(6.0, -2.0), (6.0, 3.0), (3.0, 4.0), (3.0, 22.0), (0.01, 23.0)],
    );
    for side in [-1.0f32, 1.0] {
        let turn = |deg: f32| {
            let (sin, cos) = deg.to_radians().sin_cos();
            v3(-46.0, side * (10.0 - 10.0 * cos), 84.0 + 9.0 * sin)
        };
        let line: Vec<V3> = [0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0, 360.0].map(turn).to_vec();
        mesh.tube(KEY, &line, |_| 2.6);
    }
}

fn paint(spot: &Spot) -> Finish {
    match spot.part {
        TRUNK => tin(trunk(spot), spot),
        HEAD => tin(head(spot), spot),
        LIMB => ribbed(spot),
        HAND => tin(hex(0xe2b21f), spot),
        FOOT => tin(foot(spot), spot),
        EYE => eye(spot),
        BULB => Finish::glossy(hex(0xe5261c)),
        KEY => Finish::metal(hex(0xdcae55), 0.15),
        EAR => tin(if spot.p.y > 0.0 { hex(0xd2372a) } else { hex(0xe2b21f) }, spot),
        _ => Finish::metal(hex(0xc9ccd0), 0.2),
    }
}

/// Printed tin with a few scratches.
fn tin(color: V3, spot: &Spot) -> Finish {
    let (a, b) = (spot.p.y + spot.p.x * 0.6, spot.p.z + spot.p.x * 0.3);
    let worn = 0.95 + 0.1 * noise(a * 0.5, b * 0.5);
    let chip = speckle(a * 0.16, b * 0.16, 0.12, spot.px * 0.16);
    Finish { color: (color * worn).mix(hex(0x8d8f92), chip), mirror: V3::splat(0.05), rough: 0.1 }
}

const TEAL: u32 = 0x1e8c93;

fn trunk(spot: &Spot) -> V3 {
    let (p, n, px) = (spot.p, spot.n, spot.px);
    if n.x > 0.7 {
        return chest(p.y, p.z - 81.0, px);
    }
    if n.x < -0.7 {
        return back(p.y, p.z - 81.0, px);
    }
    // Rivets along the edges; the sides are striped, each in its own colour and direction.
    let stripe = if n.y > 0.0 { repeat(p.x + p.z, 14.0) } else { repeat(p.x - p.z * 0.2, 18.0) };
    let side = if n.y > 0.0 { hex(0xf0e6cc) } else { hex(0xd2372a) };
    let field = inside(rectangle(p.x, p.z - 81.0, 20.0, 26.0), px);
    let rivet = inside(circle(repeat(p.z - 81.0, 10.0), p.x.abs() - 24.0, 1.4), px);
    hex(TEAL).mix(side, field * inside(stripe.abs() - 3.0, px)).mix(hex(0xd8dbde), rivet)
}

fn chest(y: f32, z: f32, px: f32) -> V3 {
    let panel = inside(rectangle(y, z - 4.0, 31.0, 24.0), px);
    let frame = inside(rectangle(y, z - 4.0, 31.0, 24.0).abs() - 1.0, px);
    let dial = circle(y + 15.0, z - 12.0, 11.0);
    let needle = inside(
        rectangle((y + 15.0) * 0.8 + (z - 12.0) * 0.6, (z - 12.0) * 0.8 - (y + 15.0) * 0.6 - 4.0, 0.8, 5.0),
        px,
    );
    let turn = (z - 12.0).atan2(y + 15.0) * 180.0 / std::f32::consts::PI;
    let marks = inside(repeat(turn, 30.0).abs() * 0.17 - 0.5, px) * inside((dial + 2.5).abs() - 1.5, px);
    let lamps = [(6.0, 0xd2372a), (15.0, 0xf0b020), (24.0, 0x3aa845)];
    let grid = inside(repeat(z, 3.0).abs() - 0.8, px) * inside(rectangle(y - 15.0, z - 2.0, 12.0, 7.0), px);
    let mut color = hex(TEAL).mix(hex(0xf0e6cc), panel).mix(hex(0x20343a), frame);
    color = color
        .mix(hex(0xfbfaf4), inside(dial, px))
        .mix(hex(0x1c1e22), inside(dial.abs() - 0.8, px).max(marks));
    color = color.mix(hex(0xd2372a), needle * inside(dial, px)).mix(hex(0x2a3036), grid);
    for (at, rgb) in lamps {
        color = color.mix(hex(rgb), inside(circle(y - at, z - 18.0, 3.4), px));
    }
    let label = number(36, y + 14.0, z + 11.0, 9.0, px);
    color.mix(hex(0x1c1e22), label)
}

fn back(y: f32, z: f32, px: f32) -> V3 {
    let hatch = inside(rectangle(y, z - 3.0, 26.0, 22.0), px);
    let frame = inside(rectangle(y, z - 3.0, 26.0, 22.0).abs() - 1.0, px);
    let slots = inside(repeat(y, 6.0).abs() - 1.2, px) * inside((z + 25.0).abs() - 5.0, px);
    let arrow = inside((circle(y, z - 3.0, 15.0).abs() - 1.2).max(-y - 6.0), px);
    let screws = inside(circle(y.abs() - 22.0, (z - 3.0).abs() - 18.0, 2.0), px);
    let color = hex(TEAL).mix(hex(0xe2b21f), hatch).mix(hex(0x20343a), frame.max(slots));
    color.mix(hex(0xb02a1e), arrow).mix(hex(0x777b80), screws)
}

fn head(spot: &Spot) -> V3 {
    let (p, n, px) = (spot.p, spot.n, spot.px);
    let (y, z) = (p.y, p.z - 146.0);
    if n.x > 0.7 {
        let mouth = inside(rectangle(y, z + 11.0, 15.0, 4.5), px);
        let teeth = inside(repeat(y + 2.0, 4.0).abs() - 0.6, px).max(inside((z + 11.0).abs() - 0.6, px));
        let nose = inside((y.abs() - (3.0 - z) * 0.5).max(z.abs() - 3.5), px);
        let color = hex(0x2aa7ad).mix(hex(0x24282c), mouth).mix(hex(0xf0e6cc), mouth * teeth);
        return color.mix(hex(0xd2372a), nose);
    }
    if n.x < -0.7 {
        let vents = inside(repeat(z, 6.0).abs() - 1.4, px) * inside(rectangle(y, z, 18.0, 13.0), px);
        return hex(0x2aa7ad).mix(hex(0x12383c), vents);
    }
    let band = inside((z - 14.0).abs() - 2.5, px);
    hex(0x2aa7ad).mix(hex(0xf0e6cc), band)
}

fn ribbed(spot: &Spot) -> Finish {
    let ring = inside(repeat(spot.v * 14.0, 1.0).abs() - 0.14, spot.px * 0.12);
    Finish { color: hex(0x9aa0a6).mix(hex(0x33373b), ring), mirror: V3::splat(0.25), rough: 0.35 }
}

fn foot(spot: &Spot) -> V3 {
    let (p, px) = (spot.p, spot.px);
    let left = p.y > 0.0;
    let shoe = if left { hex(0xd2372a) } else { hex(0xc42f6a) };
    let sole = inside(p.z - 4.0, px);
    let toe = inside(-repeat(p.x - 26.0, 200.0) + 0.0, px) * inside((p.z - 10.0).abs() - 1.0, px);
    shoe.mix(hex(0x26282c), sole).mix(hex(0xf0e6cc), toe)
}

fn eye(spot: &Spot) -> Finish {
    let y = spot.p.y.abs() - 12.0;
    let r = circle(y, spot.p.z - 151.0, 0.0);
    let rim = inside(8.0 - r, spot.px);
    let pupil = inside(circle(y + 1.0, spot.p.z - 150.0, 3.0), spot.px);
    let iris = inside(r - 5.5, spot.px);
    let color = hex(0xf6f3e4).mix(hex(0xf0a21e), iris).mix(hex(0x101216), pupil);
    Finish::glossy(color.mix(hex(0x33363a), rim))
}
