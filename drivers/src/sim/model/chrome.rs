//! A polished teapot: the mirror image of the tent stays where it is while spout, handle and engraving turn.

use super::{Finish, Spot, hex};
use crate::sim::mesh::{Mesh, curve};
use crate::sim::texture::{around, circle, inside, noise, repeat, smooth};
use crate::sim::vector::{V3, v3};

const BODY: u8 = 0;
const LID: u8 = 1;
const SPOUT: u8 = 2;
const HANDLE: u8 = 3;
const KNOB: u8 = 4;
const SOCKET: u8 = 5;

const OUTSIDE: [(f32, f32); 11] = [
    (40.0, 0.0),
    (46.0, 1.5),
    (44.0, 6.0),
    (38.0, 11.0),
    (52.0, 24.0),
    (69.0, 46.0),
    (72.0, 66.0),
    (64.0, 88.0),
    (48.0, 103.0),
    (40.0, 108.0),
    (38.0, 110.0),
];

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.surface(BODY, 144, 88, |u, v| {
        let (r, z) = curve(&OUTSIDE, v);
        // Flutes on the lower half, which fade out below the engraving.
        let flute = 1.6 * smooth(14.0, 26.0, z) * smooth(52.0, 38.0, z);
        let r = r + flute * (u * std::f32::consts::TAU * 18.0).cos();
        let (sin, cos) = (u * std::f32::consts::TAU).sin_cos();
        v3(r * cos, r * sin, z)
    });
    mesh.lathe(
        LID,
        72,
        40,
        &[(41.0, 108.0), (42.0, 111.0), (36.0, 117.0), (22.0, 124.0), (9.0, 128.0), (6.0, 132.0)],
    );
    mesh.ball(KNOB, v3(0.0, 0.0, 140.0), v3(10.0, 10.0, 11.0));
    let spout = [
        v3(52.0, 0.0, 36.0),
        v3(74.0, 0.0, 44.0),
        v3(92.0, 0.0, 66.0),
        v3(101.0, 0.0, 92.0),
        v3(114.0, 0.0, 108.0),
        v3(121.0, 0.0, 111.0),
    ];
    mesh.tube(SPOUT, &spout, |v| (19.0 - 17.0 * v + 5.0 * v * v) * smooth(1.0, 0.94, v).sqrt());
    let handle = [
        v3(-66.0, 0.0, 92.0),
        v3(-84.0, 0.0, 108.0),
        v3(-108.0, 0.0, 102.0),
        v3(-118.0, 0.0, 76.0),
        v3(-106.0, 0.0, 48.0),
        v3(-84.0, 0.0, 40.0),
    ];
    mesh.tube(HANDLE, &handle, |v| 6.0 + 2.2 * (v * std::f32::consts::PI).sin());
    mesh.tube(SOCKET, &[v3(-52.0, 0.0, 90.0), v3(-62.0, 0.0, 91.0), v3(-72.0, 0.0, 98.0)], |_| 7.0);
    mesh.tube(SOCKET, &[v3(-90.0, 0.0, 41.0), v3(-78.0, 0.0, 42.0), v3(-62.0, 0.0, 46.0)], |_| 7.0);
    paint
}

fn paint(spot: &Spot) -> Finish {
    match spot.part {
        HANDLE => Finish { color: wood(spot), mirror: V3::splat(0.045), rough: 0.25 },
        KNOB => {
            let band = inside(repeat(spot.u, 0.25).abs() - 0.05, 0.02);
            Finish::glossy(hex(0x0f5f5c).mix(hex(0xe9b23a), band))
        }
        BODY => body(spot),
        SOCKET => Finish::metal(hex(0xd9a441), 0.12),
        _ => Finish::metal(silver(spot), 0.03),
    }
}

fn silver(spot: &Spot) -> V3 {
    // Hairlines from polishing, seen close up.
    let hair = noise(spot.p.x * 1.5 + spot.p.y * 1.5, spot.p.z * 14.0);
    hex(0xf0eeea) * (0.96 + 0.05 * hair)
}

/// Mirror, with a frieze round the shoulder, a star engraved on one side and an enamel medallion on the other.
fn body(spot: &Spot) -> Finish {
    let (z, px) = (spot.p.z, spot.px);
    let reach = std::f32::consts::TAU * 69.0;
    let y = z - 68.0;
    let left = around(spot.u, 0.25) * reach;
    let right = around(spot.u, 0.75) * reach;
    let enamel = inside(circle(right, y, 21.0), px);
    if enamel > 0.5 {
        return medallion(right, y, px);
    }
    let line = |at: f32| inside((z - at).abs() - 0.6, px);
    let ring = inside(circle(right, y, 22.5).abs() - 1.0, px);
    let frieze = inside((z - 95.0 - 2.6 * (spot.u * reach * 0.42).sin()).abs() - 0.7, px)
        .max(line(90.0))
        .max(line(100.0));
    let star = inside(star(left, y), px);
    let hatch = inside(repeat(left + y, 2.0).abs() - 0.6, px);
    let leaves = inside(repeat(spot.u, 0.05).abs() * reach - (56.0 - z) * 0.5, px)
        * inside((z - 53.0).abs() - 3.0, px);
    let cut = ring.max(frieze).max(star * (0.45 + 0.55 * hatch)).max(leaves);
    let mirror = silver(spot).mix(hex(0x55524c), cut);
    Finish { color: hex(0x2a2825) * cut, mirror, rough: 0.03 + 0.5 * cut }
}

/// Distance to a star of eight points.
fn star(x: f32, y: f32) -> f32 {
    let turn = y.atan2(x) / std::f32::consts::TAU;
    let r = (x * x + y * y).sqrt();
    let ray = |shift: f32, long: f32, wide: f32| {
        (repeat(turn + shift, 0.25).abs() * std::f32::consts::TAU * r - (long - r) * wide).max(r - long)
    };
    ray(0.0, 26.0, 0.3).min(ray(0.125, 17.0, 0.42)).max(4.0 - r)
}

fn medallion(x: f32, y: f32, px: f32) -> Finish {
    let ground = hex(0x12457f);
    let petals = {
        let turn = y.atan2(x) / std::f32::consts::TAU;
        let r = (x * x + y * y).sqrt();
        let side = repeat(turn, 1.0 / 6.0) * std::f32::consts::TAU * r;
        inside((r - 10.0).abs() * 0.6 + side.abs() * 1.5 - 4.0, px)
    };
    let heart = inside(circle(x, y, 3.5), px);
    let edge = inside(18.0 - (x * x + y * y).sqrt(), px);
    let dots = inside(circle(repeat(x + 0.6 * y, 3.0), repeat(y, 3.0), 0.6), px);
    let color = ground.mix(hex(0x9cc4e8), 0.5 * dots).mix(hex(0xf3efe2), petals);
    Finish::glossy(color.mix(hex(0xe9b23a), heart.max(edge)))
}

fn wood(spot: &Spot) -> V3 {
    let grain = noise(spot.v * 60.0, spot.u * 8.0) * 0.6 + noise(spot.v * 12.0, spot.u * 30.0) * 0.4;
    hex(0x2a140a).mix(hex(0x7a4420), grain)
}
