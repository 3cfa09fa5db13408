use proptest::prelude::*;
use turnstage_drivers::optics::{Distortion, Intrinsics};

use super::*;
use crate::algebra::{IDENTITY, carried};

fn axis(camera: Pose) -> Axis {
    let lens = Intrinsics {
        width: 640,
        height: 480,
        fx: 900.0,
        fy: 900.0,
        cx: 319.5,
        cy: 239.5,
        distortion: Distortion::None,
        coefficients: [0.0; 5],
    };
    Axis {
        lens,
        lens_known: true,
        camera,
        frames: 24,
        corners: 900,
        left_out: 0,
        rms_px: 0.1,
        focal_error: 0.0,
        tilt_deg: 0.0,
        reversed: false,
        gap_deg: 15.0,
        angle_rms_deg: 0.0,
        angle_max_deg: 0.0,
        turned_deg: 360.0,
    }
}

/// Where the camera stands, seen from a platter that is tilted.
fn tilted(tilt: &TiltAxis, deg: f64) -> Axis {
    let level = axis(Pose { rotation: about([0.3, -1.2, 0.4]), translation: [0.7, 0.1, 0.5] });
    axis(level.pose_tilted(0.0, tilt, deg))
}

fn line() -> TiltAxis {
    TiltAxis { at: [0.01, 0.0, -0.04], along: [0.0, 1.0, 0.0], error_deg: 0.0 }
}

#[test]
fn the_line_is_found_from_two_turns_and_gives_every_other_tilt() {
    let turns = [(20.0, tilted(&line(), 20.0)), (0.0, tilted(&line(), 0.0)), (-25.0, tilted(&line(), -25.0))];
    let found = TiltAxis::measured(&turns).unwrap();
    assert!(found.error_deg < 1e-9, "{found:?}");
    let wanted = tilted(&line(), 12.5).camera;
    let pose = turns[1].1.pose_tilted(0.0, &found, 12.5);
    for k in 0..3 {
        assert!((pose.translation[k] - wanted.translation[k]).abs() < 1e-12, "{pose:?} {wanted:?}");
    }
    // A point of the line stays where it is, whatever the tilt.
    let stays = carried(&found.levelling(33.0), found.at);
    assert!((0..3).all(|k| (stays[k] - found.at[k]).abs() < 1e-12));
}

#[test]
fn a_positive_tilt_goes_counter_clockwise_about_the_line() {
    let camera = Pose { rotation: IDENTITY, translation: [1.0, 0.0, 0.0] };
    let tilt = TiltAxis { at: [0.0; 3], along: [0.0, 1.0, 0.0], error_deg: 0.0 };
    // The platter's front goes down, so that a camera in front of it rises over it.
    let [x, _, z] = axis(camera).pose_tilted(0.0, &tilt, 30.0).translation;
    assert!((x - 30_f64.to_radians().cos()).abs() < 1e-12 && (z - 0.5).abs() < 1e-12, "{x} {z}");
    // The turn goes on about the platter's own axis.
    let [x, y, z] = axis(camera).pose_tilted(90.0, &tilt, 30.0).translation;
    assert!(x.abs() < 1e-12 && (y + 30_f64.to_radians().cos()).abs() < 1e-12 && (z - 0.5).abs() < 1e-12);
}

#[test]
fn turns_that_tell_too_little_or_wrongly_are_refused_by_their_rule() {
    let rule = |turns: &[(f64, Axis)]| TiltAxis::measured(turns).unwrap_err().rule;
    assert_eq!(rule(&[]), "axis-tilt-near");
    assert_eq!(rule(&[(0.0, tilted(&line(), 0.0)), (3.0, tilted(&line(), 3.0))]), "axis-tilt-near");
    assert_eq!(rule(&[(0.0, tilted(&line(), 0.0)), (20.0, tilted(&line(), 0.0))]), "axis-tilt-unclear");
    assert_eq!(rule(&[(0.0, tilted(&line(), 0.0)), (20.0, tilted(&line(), 18.0))]), "axis-tilt-slipping");
    let mut slid = tilted(&line(), 20.0);
    slid.camera.translation[1] += 0.01;
    assert_eq!(rule(&[(0.0, tilted(&line(), 0.0)), (20.0, slid)]), "axis-tilt-slipping");
}

proptest! {
    #[test]
    fn places_from_anywhere_end_in_a_line_or_a_sentence(
        turns in proptest::collection::vec((prop_oneof![-90.0f64..90.0, Just(f64::NAN)], proptest::array::uniform6(-1e3f64..1e3)), 0..4),
    ) {
        let turns: Vec<(f64, Axis)> = turns
            .into_iter()
            .map(|(deg, [a, b, c, x, y, z])| {
                (deg, axis(Pose { rotation: about([a, b, c]), translation: [x, y, z] }))
            })
            .collect();
        if let Err(found) = TiltAxis::measured(&turns) {
            prop_assert!(found.rule.starts_with("axis-tilt-") && found.sentence.ends_with('.'));
        }
    }
}
