//! A printed carton: flat faces with lettering, stripes and a bar code, as crisp as the picture can show.

use super::{Finish, Spot, hex};
use crate::sim::mesh::Mesh;
use crate::sim::texture::{cell, circle, inside, lettering, noise, number, rectangle, repeat};
use crate::sim::vector::{V3, v3};

const BOARD: u8 = 0;
/// Half the sides of the carton: depth, width, height.
const HALF: V3 = v3(36.0, 56.0, 80.0);

const PAPER: u32 = 0xf2efe6;
const INK: u32 = 0x1b1d22;
const BLUE: u32 = 0x174a8c;
const RED: u32 = 0xc8301f;
const YELLOW: u32 = 0xf0b323;

pub(crate) fn build(mesh: &mut Mesh) -> fn(&Spot) -> Finish {
    mesh.rounded_box(BOARD, v3(0.0, 0.0, HALF.z), HALF, 1.2);
    paint
}

/// Coated board: a little gloss, and fibres that hardly show.
fn paint(spot: &Spot) -> Finish {
    let (p, px) = (spot.p, spot.px);
    let z = p.z - HALF.z;
    // How deep below each pair of faces: the face is the nearest, and near two of them is the bare edge.
    let (x_deep, y_deep, z_deep) = (HALF.x - p.x.abs(), HALF.y - p.y.abs(), HALF.z - z.abs());
    let nearest = x_deep.min(y_deep).min(z_deep);
    let edge = inside(x_deep.max(y_deep).min(x_deep.max(z_deep)).min(y_deep.max(z_deep)) - 1.4, px);
    let print = if nearest == z_deep {
        lid(p.x, p.y, px)
    } else if nearest == x_deep {
        if p.x > 0.0 { front(p.y, z, px) } else { back(-p.y, z, px) }
    } else if p.y > 0.0 {
        left(-p.x, z, px)
    } else {
        right(p.x, z, px)
    };
    let print = print.mix(hex(PAPER), edge);
    let fibre = 0.985 + 0.03 * noise((p.x + p.y) * 1.3, (p.z - p.x) * 1.3);
    Finish { color: print * fibre, mirror: V3::splat(0.035), rough: 0.5 }
}

/// A name in large letters over a blue field, a round emblem and a number; x to the right as one looks at it.
fn front(x: f32, y: f32, px: f32) -> V3 {
    let field = inside((y - 10.0).abs() - 44.0, px);
    let edge = inside(((y - 10.0).abs() - 44.0).abs() - 0.8, px);
    let slant = inside(repeat(x + y, 9.0).abs() - 2.2, px) * inside((y + 58.0).abs() - 10.0, px);
    let emblem = circle(x, y + 8.0, 21.0);
    let star = circle(x, y + 8.0, 0.0);
    let rays = inside(repeat((y + 8.0).atan2(x), std::f32::consts::FRAC_PI_6).abs() * star - 1.6, px);
    let rays = rays * inside(star - 18.0, px) * inside(8.0 - star, px);
    let title = lettering(x, y - 40.0, 14.0, (42.0, 7.0), 1, px);
    let lines = lettering(x, y - 66.0, 5.0, (38.0, 5.0), 2, px);
    hex(PAPER)
        .mix(hex(BLUE), field)
        .mix(hex(YELLOW), edge.max(inside(emblem, px)))
        .mix(hex(RED), slant.max(inside(emblem.abs() - 1.2, px)).max(rays))
        .mix(hex(INK), number(360, x, y + 8.0, 7.0, px).max(lines))
        .mix(hex(0xffffff), title)
}

/// Small print in two columns, a table with lines and a bar code.
fn back(x: f32, y: f32, px: f32) -> V3 {
    let print = lettering(x, y - 50.0, 3.4, (48.0, 24.0), 3, px);
    let table = rectangle(x + 22.0, y + 8.0, 26.0, 26.0);
    let lines = inside(repeat(y + 8.0, 8.66).abs() - 0.35, px).max(inside((x + 12.0).abs() - 0.35, px));
    let table = inside(table.abs() - 0.6, px).max(lines * inside(table, px));
    let label = rectangle(x - 26.0, y + 50.0, 24.0, 20.0);
    let code = bars(x - 26.0, 0.8, px) * inside(rectangle(x - 26.0, y + 46.0, 20.0, 14.0), px);
    let figures = number(4_006_381, x - 26.0, y + 65.0, 5.0, px);
    let sign = inside((circle(x - 30.0, y, 13.0).abs() - 2.0).max(-(x - 30.0) - 5.0), px);
    hex(0xe4d6b4)
        .mix(hex(0xffffff), inside(label, px))
        .mix(hex(RED), sign)
        .mix(hex(INK), print.max(table).max(code).max(figures))
}

/// Upright stripes in three colours, and a word over them.
fn left(x: f32, y: f32, px: f32) -> V3 {
    let wide = inside(repeat(x, 18.0).abs() - 4.5, px);
    let fine = inside((repeat(x, 18.0).abs() - 7.0).abs() - 0.5, px);
    let plate = inside(rectangle(x, y - 20.0, 30.0, 13.0), px);
    let word = lettering(x, y - 20.0, 13.0, (26.0, 6.5), 5, px);
    let small = lettering(x, y + 52.0, 4.0, (28.0, 16.0), 6, px);
    let field = inside(rectangle(x, y + 52.0, 31.0, 19.0), px);
    hex(PAPER)
        .mix(hex(RED), wide)
        .mix(hex(INK), fine)
        .mix(hex(0xffffff), plate.max(field))
        .mix(hex(BLUE), word)
        .mix(hex(INK), small)
}

/// Squares like a chess board, rings of a target and an arrow that points up.
fn right(x: f32, y: f32, px: f32) -> V3 {
    let dark = repeat(x - 3.5, 14.0).signum() * repeat(y - 3.5, 14.0).signum() > 0.0;
    let seam = repeat(x - 3.5, 7.0).abs().min(repeat(y - 3.5, 7.0).abs());
    let half = inside(-seam, px);
    let board = if dark { 1.0 - half } else { half } * inside(y + 20.0, px);
    let r = circle(x, y - 14.0, 0.0);
    let rings = inside(repeat(r, 7.0).abs() - 1.75, px) * inside(r - 26.0, px);
    let head = inside((x.abs() - (74.0 - y) * 0.7).max(56.0 - y), px);
    let arrow = head.max(inside(rectangle(x, y - 51.0, 4.0, 7.0), px));
    hex(YELLOW).mix(hex(INK), board.max(rings)).mix(hex(BLUE), arrow)
}

/// Tape along the seam and two words.
fn lid(x: f32, y: f32, px: f32) -> V3 {
    let tape = inside(x.abs() - 9.0, px);
    let seam = inside(x.abs() - 0.3, px);
    let words =
        lettering(y, x - 22.0, 8.0, (44.0, 4.0), 7, px).max(lettering(y, x + 22.0, 5.0, (30.0, 8.0), 8, px));
    hex(PAPER).mix(hex(0xc9a66b), tape).mix(hex(INK), seam.max(words))
}

/// A bar code of modules `wide` millimetres: 1 on a bar.
fn bars(x: f32, wide: f32, px: f32) -> f32 {
    let (x, px) = (x / wide + 1000.0, px / wide);
    let (first, share) = (x as i32, x.fract());
    let bar = |module: i32| if cell(module, 4711) < 0.5 { 1.0 } else { 0.0 };
    if px > 1.0 {
        // Finer than a pixel: only the mean is left.
        return 0.5 + (bar(first) - 0.5) / (px * px);
    }
    let before = (0.5 - share / px).max(0.0);
    let after = (0.5 - (1.0 - share) / px).max(0.0);
    bar(first) * (1.0 - before - after) + bar(first - 1) * before + bar(first + 1) * after
}
