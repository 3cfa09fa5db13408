//! Turns of a made booth: a printed cylinder on a platter with a mark every ten degrees, before a smooth backdrop.

use super::super::{CORRUPT, NOT_MOVED, Verdict};
use super::*;
use crate::plane::Plane;
use crate::{Examiner, InputLimits, samples};

const WIDTH: usize = 150;
const HEIGHT: usize = 112;
const STEP_DEG: f64 = 10.0;

/// Light of a cell from where the table stands, in grey levels.
fn booth(x: usize, y: usize, deg: f64) -> f64 {
    let (x, y) = (x as f64, y as f64);
    let across = (x - 75.0) / 28.0;
    let backdrop = 190.0 - 0.3 * y + 4.0 * (x / 40.0).sin();
    // A knob on the axis, as dark as can be.
    if (x - 75.0).hypot(y - 16.0) < 3.0 {
        return 40.0;
    }
    if (20.0..90.0).contains(&y) && across.abs() < 1.0 {
        let around = across.asin() + deg.to_radians();
        let print = (5.0 * around + y / 9.0).sin() + (11.0 * around - y / 5.0).sin() + (2.0 * around).cos();
        // Brighter in the middle, and a ring that looks the same from all sides.
        let ring = if (50.0..53.0).contains(&y) { 0.8 } else { 1.0 };
        return ring * (110.0 + 25.0 * print) * (1.0 - 0.3 * across * across);
    }
    let from_axis = (x - 75.0) / 62.0;
    if (90.0..100.0).contains(&y) && from_axis.abs() < 1.0 {
        let around = (from_axis.asin() + deg.to_radians()).to_degrees().rem_euclid(STEP_DEG);
        return if around < 1.5 { 90.0 } else { 150.0 };
    }
    backdrop
}

/// A frame as the examiner would give it, its light changed by `spoil(x, y)`.
fn frame(deg: f64, spoil: impl Fn(usize, usize) -> f64) -> Examined {
    let luma: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|k| (booth(k % WIDTH, k / WIDTH, deg) * spoil(k % WIDTH, k / WIDTH)).round() as u8)
        .collect();
    let grey = vec![128; WIDTH / 2 * HEIGHT / 2];
    let chroma = || Plane::tight(&grey, WIDTH / 2, HEIGHT / 2);
    let mut examiner = Examiner::new(InputLimits::default()).unwrap();
    let mut examined = examiner.examine(&samples::scene(64, 48).jpeg(), &Limits::default());
    examined.findings.clear();
    // No two pictures are alike in their bytes or to the perceptual hash.
    examined.sha256[..8].copy_from_slice(&deg.to_bits().to_be_bytes());
    let picture = examined.picture.take().unwrap();
    let phash = deg.to_bits().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let cells = Cells::new([Plane::tight(&luma, WIDTH, HEIGHT), chroma(), chroma()]);
    examined.picture = Some(Picture { phash, cells, ..picture });
    examined
}

fn clean(_: usize, _: usize) -> f64 {
    1.0
}

/// A speck of five cells across that takes a seventh of the light.
fn speck(x: usize, y: usize) -> f64 {
    let from_middle = (x as f64 - 20.0).hypot(y as f64 - 30.0);
    if from_middle < 2.5 { 1.0 - 0.14 * (1.0 - from_middle / 4.0) } else { 1.0 }
}

/// Rules of each frame that has any, by frame from 1. `deg` says where the table really stood.
fn shoot(deg: impl Fn(u32) -> f64, picture: impl Fn(u32, f64) -> Examined) -> (Turn, Vec<(u32, String)>) {
    let (mut turn, limits, mut found) = (Turn::default(), Limits::default(), Vec::new());
    for shot in 0..36 {
        let label = format!("frame {}", shot + 1);
        let angle = Some(Angle::new(f64::from(shot) * STEP_DEG));
        let place = Place { camera: "main", shot, label: &label, angle };
        let examined = picture(shot + 1, deg(shot));
        let findings = turn.judge(&place, &examined, &limits);
        let all = || examined.findings.iter().chain(&findings);
        match all().any(|finding| finding.verdict == Verdict::Block) {
            true => {
                turn.recall(&label, examined.sha256);
                if findings.iter().any(|finding| finding.rule == NOT_MOVED.id) {
                    turn.stood(&place);
                }
            }
            false => turn.remember(&place, &examined, &limits),
        }
        found.extend(findings.into_iter().map(|finding| (shot + 1, finding.rule)));
    }
    (turn, found)
}

fn commanded(shot: u32) -> f64 {
    f64::from(shot) * STEP_DEG
}

/// The table is off by so many degrees from frame 21 on.
fn off_by(deg: f64) -> impl Fn(u32) -> f64 {
    move |shot| commanded(shot) + if shot >= 20 { deg } else { 0.0 }
}

fn closing(turn: &Turn, deg: f64) -> Vec<String> {
    let findings = turn.judge_closing("main", &frame(deg, clean), &Limits::default());
    findings.expect("it was compared").into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_good_turn_has_no_findings_and_closes() {
    let (turn, found) = shoot(commanded, |_, deg| frame(deg, clean));
    assert_eq!(found, []);
    assert_eq!(closing(&turn, 360.0), [""; 0]);
    assert_eq!(closing(&turn, 360.3), [""; 0], "a backlash of 0.3 degrees is none of a step");
}

#[test]
fn a_speck_on_the_lens_is_told_after_a_third_of_a_turn() {
    let (_, found) = shoot(commanded, |_, deg| frame(deg, speck));
    let expected: Vec<_> = (14..=36).map(|frame| (frame, "qc.dirt".to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_speck_that_falls_on_the_lens_is_told_as_well() {
    let (_, found) =
        shoot(commanded, |shot, deg| if shot < 9 { frame(deg, clean) } else { frame(deg, speck) });
    let expected: Vec<_> = (22..=36).map(|frame| (frame, "qc.dirt".to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_step_twice_as_far_is_mentioned_and_the_turn_does_not_close() {
    let (turn, found) = shoot(off_by(STEP_DEG), |_, deg| frame(deg, clean));
    assert_eq!(found[0], (21, "qc.moved-twice".to_owned()), "{found:?}");
    assert_eq!(closing(&turn, 360.0 + STEP_DEG), ["qc.loop"]);
}

#[test]
fn degrees_lost_on_the_way_show_in_the_closing_frame() {
    let (turn, found) = shoot(off_by(-7.0), |_, deg| frame(deg, clean));
    assert_eq!(found, [], "no frame tells by itself");
    assert_eq!(closing(&turn, 360.0 - 7.0), ["qc.loop"]);
}

#[test]
fn a_table_that_stood_still_is_told_once() {
    let stood = |shot: u32| commanded(if shot == 20 { 19 } else { shot });
    // Another exposure of the same view: other bytes.
    let (_, found) = shoot(stood, |shot, deg| frame(deg + f64::from(shot) * 1e-9, clean));
    assert_eq!(found[0], (21, "qc.not-moved".to_owned()), "{found:?}");
    assert!(found.iter().all(|(frame, _)| *frame == 21), "{found:?}");
}

#[test]
fn a_table_that_never_turns_again_is_told_at_every_frame() {
    let (_, found) =
        shoot(|shot| commanded(shot.min(9)), |shot, deg| frame(deg + f64::from(shot) * 1e-9, clean));
    let expected: Vec<_> = (11..=36).map(|frame| (frame, "qc.not-moved".to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn stripes_of_light_are_told_and_stripes_of_the_object_are_not() {
    let flicker = |_: usize, y: usize| 1.0 + 0.05 * (y as f64 / 112.0 * 5.0 * std::f64::consts::TAU).sin();
    let (_, found) =
        shoot(commanded, |shot, deg| if shot == 20 { frame(deg, flicker) } else { frame(deg, clean) });
    assert_eq!(found, [(20, "qc.banding".to_owned())]);
    // Something with stripes moves in at the left.
    let striped = |x: usize, y: usize| if x < 60 && y % 20 < 10 { 0.8 } else { 1.0 };
    let (_, found) =
        shoot(commanded, |shot, deg| if shot == 20 { frame(deg, striped) } else { frame(deg, clean) });
    assert!(!found.iter().any(|(_, rule)| rule == "qc.banding"), "{found:?}");
}

/// With a recipe that lets damaged frames pass, one is remembered; it must not be measured by all the same.
#[test]
fn half_a_picture_says_nothing_about_light_or_table_nor_do_others_beside_it() {
    for verdict in [Verdict::Block, Verdict::Warn] {
        half_a_picture(verdict);
    }
}

fn half_a_picture(verdict: Verdict) {
    let half = |_: usize, y: usize| if y > 60 { 0.5 } else { 1.0 };
    let damaged = |shot: u32, deg: f64| {
        let mut examined = frame(deg, if shot == 20 { half } else { clean });
        if shot == 20 {
            let finding = Limits::default().finding(&CORRUPT, (0.0, 0.0, ""), String::new());
            examined.findings.extend(finding.map(|finding| Finding { verdict, ..finding }));
        }
        examined
    };
    let (turn, found) = shoot(commanded, damaged);
    assert_eq!(found, []);
    let mut closing = frame(360.0, half);
    closing.findings = damaged(20, 360.0).findings;
    assert_eq!(
        turn.judge_closing("main", &closing, &Limits::default()),
        None,
        "half of it cannot be compared"
    );
    let bottle = Limits { symmetric: true, ..Limits::default() };
    assert_eq!(turn.judge_closing("main", &frame(360.0, clean), &bottle), None, "it always looks closed");
    assert_eq!(turn.judge_closing("other", &frame(360.0, clean), &Limits::default()), None);
}

#[test]
fn a_row_of_larger_steps_is_no_step_twice_as_far() {
    // 18 frames 10 degrees apart, then 9 that are 20 degrees apart.
    let meant = |shot: u32| f64::from(shot.min(18)) * 10.0 + f64::from(shot.saturating_sub(18)) * 20.0;
    let (mut turn, limits) = (Turn::default(), Limits::default());
    for shot in 0..27 {
        let label = format!("frame {}", shot + 1);
        let place = Place { camera: "main", shot, label: &label, angle: Some(Angle::new(meant(shot))) };
        let examined = frame(meant(shot), clean);
        assert_eq!(turn.judge(&place, &examined, &limits), [], "{label}");
        turn.remember(&place, &examined, &limits);
    }
}
