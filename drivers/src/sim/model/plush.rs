//! A soft toy bear: fur that is fine at any size of picture and of little contrast, and hardly an edge.

use super::{Finish, Spot, hex};
use crate::sim::mesh::Mesh;
use crate::sim::texture::{circle, noise, smooth};
use crate::sim::vector::{V3, v3};

const TRUNK: u8 = 0;
const HEAD: u8 = 1;
const EAR: u8 = 2;
const LIMB: u8 = 3;
const MUZZLE: u8 = 4;
const TAIL: u8 = 5;

const HEAD_AT: V3 = v3(4.0, 0.0, 138.0);

/// It sits and looks towards +x; the left arm is raised, the right leg lies further out.
pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.ball(TRUNK, v3(0.0, 0.0, 58.0), v3(44.0, 50.0, 58.0));
    mesh.ball(HEAD, HEAD_AT, v3(37.0, 42.0, 36.0));
    mesh.ball(MUZZLE, v3(35.0, 0.0, 129.0), v3(17.0, 19.0, 14.0));
    for side in [-1.0, 1.0] {
        mesh.ball(EAR, v3(0.0, side * 34.0, 168.0), v3(8.0, 16.0, 17.0));
    }
    let limb = |along: f32| 17.0 * (1.0 - 0.8 * (2.0 * along - 1.0).abs().powi(6)).max(0.02);
    let raised = [v3(4.0, 40.0, 88.0), v3(8.0, 66.0, 104.0), v3(12.0, 80.0, 128.0), v3(16.0, 84.0, 146.0)];
    let hanging = [v3(4.0, -40.0, 88.0), v3(16.0, -58.0, 74.0), v3(30.0, -64.0, 54.0), v3(42.0, -60.0, 42.0)];
    mesh.tube(LIMB, &raised, limb);
    mesh.tube(LIMB, &hanging, limb);
    let left = [v3(20.0, 26.0, 22.0), v3(50.0, 38.0, 20.0), v3(78.0, 46.0, 20.0), v3(96.0, 50.0, 22.0)];
    let right = [v3(16.0, -30.0, 22.0), v3(40.0, -56.0, 20.0), v3(60.0, -80.0, 20.0), v3(70.0, -94.0, 22.0)];
    mesh.tube(LIMB, &left, |along| 1.2 * limb(along));
    mesh.tube(LIMB, &right, |along| 1.2 * limb(along));
    // The tubes are open at their ends.
    for paw in [raised[3], hanging[3]] {
        mesh.ball(LIMB, paw, V3::splat(13.0));
    }
    for paw in [left[3], right[3]] {
        mesh.ball(LIMB, paw, V3::splat(17.0));
    }
    mesh.ball(TAIL, v3(-46.0, 10.0, 30.0), v3(17.0, 17.0, 16.0));
    paint
}

fn paint(spot: &Spot) -> Finish {
    let color = cloth(spot) * fur(spot);
    Finish { color, mirror: V3::splat(0.01), rough: 0.95 }
}

/// The colours of the cloth, close to each other and without an edge.
fn cloth(spot: &Spot) -> V3 {
    let (p, n) = (spot.p, spot.n);
    let fur = hex(0x9b7b58);
    match spot.part {
        // A lighter belly in front, and a darker patch on the back towards the left.
        TRUNK => {
            let belly = smooth(4.0, -10.0, circle(p.y, p.z - 52.0, 30.0)) * smooth(0.0, 0.5, n.x);
            let patch = smooth(5.0, -8.0, circle(p.y - 14.0, p.z - 74.0, 20.0)) * smooth(0.0, -0.5, n.x);
            fur.mix(hex(0xb0926c), belly).mix(hex(0x866747), patch)
        }
        HEAD => {
            let eye = smooth(2.0, -2.0, circle(p.y.abs() - 15.0, p.z - 148.0, 4.5)) * smooth(0.0, 0.4, n.x);
            let spot = smooth(4.0, -6.0, circle(p.x + 8.0, p.z - 140.0, 17.0)) * smooth(0.1, 0.6, -n.y);
            fur.mix(hex(0x866747), spot).mix(hex(0x5b4734), eye)
        }
        MUZZLE => {
            let nose = smooth(2.0, -2.0, circle(p.y, (p.z - 135.0) * 1.4, 6.0)) * smooth(0.3, 0.7, n.x);
            hex(0xb0926c).mix(hex(0x5b4734), nose)
        }
        EAR if p.y > 0.0 => hex(0xa88863),
        EAR => hex(0x8c6d4c),
        TAIL => hex(0xb0926c),
        _ => fur,
    }
}

/// Light and dark of the fur round 1: strands that hang down, of every width down to that of a pixel.
fn fur(spot: &Spot) -> f32 {
    const CONTRAST: f32 = 0.24;
    let (p, n) = (spot.p, spot.n);
    let side = n.x.abs().max(n.y.abs()).max(n.z.abs());
    let (across, along) = if side == n.z.abs() {
        (p.y, p.x)
    } else if side == n.x.abs() {
        (p.y, p.z)
    } else {
        (p.x, p.z)
    };
    let strand = |width: f32, weight: f32| {
        // A strand finer than a pixel is not seen, only the mean of many.
        let seen = weight * smooth(0.8, 1.6, width / spot.px);
        let at = 200.0 + 37.0 * width;
        if seen == 0.0 { 0.0 } else { seen * (noise(across / width + at, along / (2.5 * width) + at) - 0.5) }
    };
    let widths = [(0.25, 1.0), (0.5, 1.0), (1.0, 1.0), (2.0, 0.9), (4.0, 0.6), (9.0, 0.4)];
    let sum: f32 = widths.iter().map(|(width, weight)| strand(*width, *weight)).sum();
    1.0 + CONTRAST * sum
}
