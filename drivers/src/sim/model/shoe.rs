//! A laced boot of dark, dull leather on a lighter sole: low contrast, seams in thread, and no side like the other.

use std::f32::consts::TAU;

use super::{Finish, Spot, hex};
use crate::sim::mesh::{Mesh, curve};
use crate::sim::texture::{around, circle, inside, noise, number, rectangle, repeat, smooth};
use crate::sim::vector::{V3, v3};

const UPPER: u8 = 0;
const LINING: u8 = 1;
const SOLE: u8 = 2;
const LACE: u8 = 3;
const EYELET: u8 = 4;
const LOOP: u8 = 5;
const BOW: u8 = 6;

/// The upper is a stack of slanted rings. Foremost and rearmost point (x, z) of each, from the sole to the collar.
const FRONT: [(f32, f32); 10] = [
    (103.0, 21.0),
    (107.0, 29.0),
    (103.0, 41.0),
    (90.0, 51.0),
    (70.0, 58.0),
    (49.0, 68.0),
    (30.0, 82.0),
    (14.0, 98.0),
    (3.0, 114.0),
    (-1.0, 128.0),
];
const REAR: [(f32, f32); 10] = [
    (-99.0, 21.0),
    (-103.0, 33.0),
    (-103.0, 47.0),
    (-100.0, 61.0),
    (-96.0, 75.0),
    (-93.0, 87.0),
    (-93.0, 98.0),
    (-95.0, 109.0),
    (-97.0, 120.0),
    (-98.0, 132.0),
];
/// Half the width of each ring, and how much it has of the outline of a foot.
const WIDTH: [(f32, f32); 10] = [
    (35.0, 1.0),
    (37.0, 1.0),
    (36.0, 0.9),
    (34.5, 0.75),
    (33.0, 0.55),
    (32.0, 0.35),
    (31.0, 0.2),
    (31.0, 0.1),
    (32.0, 0.0),
    (33.5, 0.0),
];
/// Outset from the lowest ring and height, as a share of the sole's, from the tread to the seam.
const EDGE: [(f32, f32); 8] =
    [(2.0, 0.0), (3.6, 0.06), (4.0, 0.3), (4.0, 0.6), (4.0, 0.85), (3.7, 0.96), (2.4, 1.0), (-3.0, 1.0)];
/// Lugs of the tread round the sole, and about the length of its edge.
const LUGS: f32 = 64.0;
const ROUND_SOLE: f32 = 560.0;
/// Where the eyelets sit: turns away from the ridge, and up along it.
const EYELET_AT: f32 = 0.047;
const EYELETS: [f32; 5] = [0.52, 0.605, 0.69, 0.775, 0.86];

const LEATHER: u32 = 0x33261f;
const THREAD: u32 = 0x8a7350;

/// The toe points towards +x; it is the left one of a pair.
pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.surface(UPPER, 112, 72, upper);
    // As fine as the upper, so that the two meet without a crack.
    mesh.surface(LINING, 112, 24, lining);
    mesh.surface(SOLE, 160, 24, |u, v| sole(u, curve(&EDGE, v)));
    // The tread, from its middle outward.
    mesh.surface(SOLE, 48, 4, |u, v| {
        let rim = sole(u, EDGE[0]);
        v3(rim.x * v, bend(rim.x) * (1.0 - v) + rim.y * v, rim.z + 0.5 * (1.0 - v))
    });
    lace(mesh);
    let pull = [
        upper_at(0.5, 0.84, 0.0),
        upper_at(0.5, 0.9, 6.0),
        upper_at(0.5, 1.0, 6.0),
        upper_at(0.5, 1.0, -3.0),
    ];
    for side in [-3.0, -1.0, 1.0, 3.0] {
        mesh.tube(LOOP, &pull.map(|p| p + v3(0.0, side, 0.0)), |_| 1.4);
    }
    paint
}

/// How far the foot's middle line lies to the left: the toes bend to the right.
fn bend(x: f32) -> f32 {
    4.0 - 12.0 * smooth(-20.0, 120.0, x)
}

/// A power that keeps the sign.
fn swollen(x: f32, power: f32) -> f32 {
    x.signum() * x.abs().powf(power)
}

fn upper(u: f32, v: f32) -> V3 {
    let (sin, cos) = (u * TAU).sin_cos();
    let (front, rear, (half, foot)) = (curve(&FRONT, v), curve(&REAR, v), curve(&WIDTH, v));
    let along = 0.5 + 0.5 * swollen(cos, 0.86);
    let x = rear.0 + (front.0 - rear.0) * along;
    let z = rear.1 + (front.1 - rear.1) * along;
    let bump = |at: f32, wide: f32| (-((along - at) / wide) * ((along - at) / wide)).exp();
    // Broad at the ball, narrow at the arch, more so on the inner side.
    let outline = 0.22 * bump(0.7, 0.2) - (0.15 - 0.09 * sin) * bump(0.36, 0.17);
    v3(x, swollen(sin, 0.82) * half * (1.0 + foot * outline) + bend(x), z)
}

/// A place `lift` above the upper.
fn upper_at(u: f32, v: f32, lift: f32) -> V3 {
    const STEP: f32 = 4e-3;
    let v = v.min(1.0 - STEP);
    let along_u = upper(u + STEP, v) - upper(u - STEP, v);
    let along_v = upper(u, v + STEP) - upper(u, v - STEP);
    upper(u, v) + along_u.cross(along_v).unit() * lift
}

/// From the collar over a rounded rim down to where the foot would be.
fn lining(u: f32, v: f32) -> V3 {
    let ring = 1.0 - 0.35 * smooth(0.1, 0.9, v);
    let middle = (upper(0.0, ring) + upper(0.5, ring)) * 0.5;
    let narrow = 1.0 - 0.11 * smooth(0.0, 0.2, v) - 0.889 * smooth(0.75, 1.0, v);
    let rounded = 1.5 * smooth(0.0, 0.1, v) * smooth(0.3, 0.1, v);
    middle + (upper(u, ring) - middle) * narrow + v3(0.0, 0.0, rounded)
}

/// The sole's edge: it is hollow under the arch, so that it stands on a heel, and rises a little at the toe.
fn sole(u: f32, (out, share): (f32, f32)) -> V3 {
    const STEP: f32 = 4e-3;
    let seam = upper(u, 0.0);
    let along = (upper(u + STEP, 0.0) - upper(u - STEP, 0.0)).unit();
    let low =
        8.0 * smooth(-44.0, -38.0, seam.x) * smooth(26.0, -6.0, seam.x) + 4.0 * smooth(62.0, 112.0, seam.x);
    let high = seam.z + 1.0;
    v3(seam.x + along.y * out, seam.y - along.x * out, low + (high - low) * share)
}

/// Eyelets, the lace through them crosswise, and a bow that hangs more to one side.
fn lace(mesh: &mut Mesh) {
    let eyelet = [(3.3, -0.8), (3.1, 0.7), (2.3, 0.9), (1.7, 0.2), (0.01, 0.1)];
    for v in EYELETS {
        for u in [-EYELET_AT, EYELET_AT] {
            let at = upper_at(u, v, 0.0);
            mesh.turned(EYELET, at, upper_at(u, v, 1.0) - at, &eyelet);
        }
    }
    for pair in EYELETS.windows(2) {
        for side in [-EYELET_AT, EYELET_AT] {
            let height = if side > 0.0 { 3.2 } else { 1.8 };
            let line = [
                upper_at(side, pair[0], 0.6),
                upper_at(0.5 * side, 0.75 * pair[0] + 0.25 * pair[1], 2.0),
                upper_at(0.0, 0.5 * (pair[0] + pair[1]), height),
                upper_at(-0.5 * side, 0.25 * pair[0] + 0.75 * pair[1], 2.0),
                upper_at(-side, pair[1], 0.6),
            ];
            mesh.tube(LACE, &line, |_| 1.6);
        }
    }
    let (first, last) = (EYELETS[0], EYELETS[4]);
    for (side, v) in [(EYELET_AT, first), (EYELET_AT, last)] {
        let line = [upper_at(side, v, 0.6), upper_at(0.0, v, 1.9), upper_at(-side, v, 0.6)];
        mesh.tube(LACE, &line, |_| 1.6);
    }
    let knot = upper_at(0.0, last, 4.0);
    mesh.ball(BOW, knot, v3(4.0, 4.5, 3.6));
    let drawn = |mesh: &mut Mesh, way: &[(f32, f32, f32)]| {
        let line: Vec<V3> =
            [knot].into_iter().chain(way.iter().map(|&(u, v, lift)| upper_at(u, v, lift))).collect();
        mesh.tube(BOW, &line, |_| 1.5);
    };
    drawn(
        mesh,
        &[
            (0.04, 0.85, 8.0),
            (0.085, 0.78, 8.0),
            (0.11, 0.7, 4.0),
            (0.09, 0.69, 3.0),
            (0.045, 0.78, 5.0),
            (0.0, 0.85, 5.0),
        ],
    );
    drawn(
        mesh,
        &[
            (-0.04, 0.87, 8.0),
            (-0.09, 0.83, 9.0),
            (-0.12, 0.77, 5.0),
            (-0.1, 0.74, 3.0),
            (-0.05, 0.8, 5.0),
            (0.0, 0.85, 5.0),
        ],
    );
    drawn(mesh, &[(0.03, 0.79, 6.0), (0.06, 0.69, 4.0), (0.085, 0.58, 2.5), (0.1, 0.5, 1.6)]);
    drawn(mesh, &[(-0.03, 0.8, 6.0), (-0.07, 0.72, 4.0), (-0.105, 0.66, 2.0)]);
}

fn paint(spot: &Spot) -> Finish {
    match spot.part {
        LINING => {
            let deep = smooth(0.12, 0.7, spot.v);
            Finish::matte(hex(0x59442f).mix(hex(0x0c0907), deep))
        }
        SOLE => Finish { color: rubber(spot), mirror: V3::splat(0.03), rough: 0.7 },
        // Twists of about the same length: the bow's ends are longer than the pieces between two eyelets.
        LACE => Finish::matte(braid(spot, 24.0)),
        BOW => Finish::matte(braid(spot, 60.0)),
        EYELET if spot.v > 0.62 => Finish::matte(hex(0x0a0807)),
        EYELET => Finish::metal(hex(0x8a6a3c), 0.25),
        LOOP => Finish::matte(hex(0x241c18)),
        _ => leather(spot),
    }
}

/// A round lace of so many twists.
fn braid(spot: &Spot, twists: f32) -> V3 {
    let strand = inside(repeat(spot.v * twists + spot.u, 1.0).abs() - 0.2, spot.px * 0.7);
    hex(0x2a2420).mix(hex(0x4a4038), 0.7 * strand)
}

/// A row of stitches along a line at distance `d`.
fn stitches(d: f32, along: f32, px: f32) -> f32 {
    inside(d.abs() - 0.4, px) * inside(repeat(along, 3.0).abs() - 1.0, px)
}

/// The pieces of the upper and what joins them.
fn leather(spot: &Spot) -> Finish {
    let (p, px) = (spot.p, spot.px);
    let across = p.y - bend(p.x);
    // Along seams that run up the sides and over the ridge.
    let over = p.z * 1.15 - across.abs() * 0.9;
    // Distances to the edge of each piece, negative on the piece that lies above.
    let cap = 62.0 + 0.004 * across * across - p.x;
    let quarter = p.x - 4.0 - 52.0 * smooth(14.0, 62.0, p.z);
    let counter = circle(p.x + 112.0, (p.z - 14.0) * 0.95, 66.0);
    let collar = (0.905 - spot.v) * 100.0;
    let ridge = p.x > -10.0 && spot.v > 0.43;
    let tongue = if ridge { (across.abs() - 5.5).max((0.47 - spot.v) * 180.0) } else { f32::MAX };
    let vamp = quarter > 0.0;
    let edge = |d: f32| inside((d - 0.3).abs() - 0.45, px);
    let seams = edge(quarter).max(edge(counter)).max(edge(collar)).max(edge(tongue));
    let seams = if vamp { seams.max(edge(cap)) } else { seams };
    let double = |d: f32, along: f32| stitches(d + 2.0, along, px).max(stitches(d + 4.6, along, px));
    let sewn = if vamp {
        double(cap, over)
    } else {
        double(quarter, over + 0.8 * p.x).max(double(counter, (p.z - 14.0).atan2(p.x + 112.0) * 64.0))
    };
    let facing = if ridge && !vamp { stitches(across.abs() - 8.2, spot.v * 180.0, px) } else { 0.0 };
    let sewn = sewn.max(stitches(collar + 2.2, around(spot.u, 0.0) * 230.0, px)).max(facing);
    let color = hex(LEATHER) * grain(spot);
    let color = color.mix(hex(0x2a2320), inside(counter, px).max(if vamp { inside(cap, px) } else { 0.0 }));
    let color = color.mix(hex(0x1e1815), inside(tongue, px).max(0.6 * inside(collar, px)));
    let color = side_marks(spot, across, color).mix(hex(0x0d0a09), seams);
    let sewn = sewn * (1.0 - inside(tongue, px));
    Finish { color: color.mix(hex(THREAD), 0.85 * sewn), mirror: V3::splat(0.032), rough: 0.65 }
}

/// Pores at every size down to a pixel, and creases where the foot bends.
fn grain(spot: &Spot) -> f32 {
    let p = spot.p;
    let (a, b) = (p.x + 0.3 * p.y, p.z + 0.8 * p.y);
    let pores = |size: f32, weight: f32| {
        let seen = weight * smooth(0.8, 1.8, size / spot.px);
        if seen == 0.0 { 0.0 } else { seen * (noise(a / size + 300.0, b / size + 300.0) - 0.5) }
    };
    let flex = smooth(28.0, 42.0, p.x) * smooth(66.0, 54.0, p.x) * smooth(24.0, 44.0, p.z);
    let crease = flex * (noise(p.x * 0.42 + 2.0 * noise(p.y * 0.08, 3.0), p.y * 0.05 + 9.0) - 0.5);
    1.0 + pores(0.6, 0.3) + pores(1.4, 0.26) + pores(5.0, 0.12) + pores(24.0, 0.25) + 0.6 * crease
}

/// The size pressed into the outer side, a zip on the inner one, and a scuff near the toe.
fn side_marks(spot: &Spot, across: f32, color: V3) -> V3 {
    let (p, px) = (spot.p, spot.px);
    if across > 0.0 {
        let pressed = number(42, -(p.x + 48.0), p.z - 96.0, 10.0, px);
        let ring = inside(circle(p.x + 48.0, p.z - 96.0, 11.5).abs() - 0.5, px);
        return color.mix(hex(0x15100d), 0.8 * pressed.max(ring));
    }
    let rubbed =
        0.6 * noise(p.x * 0.1 + p.y * 0.05, p.z * 0.12) + 0.4 * noise(p.y * 0.5, p.z * 0.7 + p.x * 0.3);
    let scuff = smooth(0.5, 0.75, rubbed) * smooth(66.0, 86.0, p.x) * smooth(-4.0, -16.0, across);
    let color = color.mix(hex(0x5c4a3c), 0.4 * scuff);
    let x = p.x + 30.0 + (p.z - 60.0) * 0.12;
    let tape = inside(rectangle(x, p.z - 82.0, 5.0, 38.0), px);
    let teeth = inside(x.abs() - 1.5, px) * inside(repeat(p.z, 2.0).abs() - 0.55, px) * tape;
    color.mix(hex(0x191412), tape).mix(hex(0x8d7a58), teeth)
}

/// Pale rubber: a welt with its seam, and lugs with grooves between them.
fn rubber(spot: &Spot) -> V3 {
    let (v, px) = (spot.v, spot.px);
    let worn = 0.92 + 0.14 * noise(spot.p.x * 0.3, spot.p.y * 0.3 + spot.p.z * 0.8);
    let around_mm = spot.u * ROUND_SOLE;
    let pitch = ROUND_SOLE / LUGS;
    // In shares of the edge's seven spans: tread, lugs, a line, the welt, its seam.
    let height = v * 7.0;
    let groove = inside(repeat(around_mm, pitch).abs() - 1.2, px) * inside((height - 2.75) * 6.0, px);
    let lines =
        inside((height - 3.1).abs() * 6.0 - 0.5, px).max(inside((height - 4.0).abs() * 6.0 - 0.4, px));
    let welt = inside((5.0 - height) * 2.0, px);
    let thread =
        inside(repeat(around_mm, 4.4).abs() - 1.5, px) * inside((height - 6.2).abs() * 5.4 - 0.45, px);
    let color = hex(0xb59a70).mix(hex(0x4b3b28), groove.max(0.8 * lines)) * worn;
    color.mix(hex(0x4a3828), welt).mix(hex(0xc9b384), thread)
}
