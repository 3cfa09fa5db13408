use proptest::prelude::*;
use turnstage_drivers::board::CORNERS;
use turnstage_drivers::optics::Distortion;

use super::*;
use crate::algebra::{about, carried, inverse, product};

/// A turn that was made up: what is true, and what goes wrong.
struct Turn {
    lens: Intrinsics,
    /// From the camera to the room, in metres.
    camera: Pose,
    board: Board,
    middle_mm: [f64; 2],
    tilt_deg: f64,
    frames: usize,
    /// Degrees that the platter really stands at, by what the table says.
    really: fn(f64) -> f64,
    /// Pixels that corners are measured beside, at most.
    noise_px: f64,
}

fn turn() -> Turn {
    let lens = Intrinsics {
        width: 1600,
        height: 1200,
        fx: 2400.0,
        fy: 2400.0,
        cx: 799.5,
        cy: 599.5,
        distortion: Distortion::Brown,
        coefficients: [0.0; 5],
    };
    Turn {
        lens,
        camera: looking(30.0, 0.8),
        board: Board::new(180.0, 2.0).unwrap(),
        middle_mm: [12.0, -7.0],
        tilt_deg: 0.0,
        frames: 24,
        really: |deg| deg,
        noise_px: 0.1,
    }
}

/// A camera on the x axis that looks at the origin from above, not quite level.
fn looking(elevation_deg: f64, metres: f64) -> Pose {
    let (sin, cos) = elevation_deg.to_radians().sin_cos();
    let upright = [[0.0, sin, -cos], [1.0, 0.0, 0.0], [0.0, -cos, -sin]];
    Pose {
        rotation: product(&upright, &about([0.01, 0.02, 0.03])),
        translation: [metres * cos, 0.0, metres * sin],
    }
}

impl Turn {
    fn views(&self) -> Vec<View> {
        let mut noise = crate::samples::noise(5);
        let mut beside = move || (f64::from(noise()) / 127.5 - 1.0) * self.noise_px;
        let to_camera = inverse(&self.camera);
        let view = |k: usize| {
            let angle_deg = 360.0 * k as f64 / self.frames as f64;
            let really = about_z((self.really)(angle_deg).to_radians());
            let lie = about([self.tilt_deg.to_radians(), 0.0, 0.0]);
            let corners = (0..CORNERS * CORNERS).filter_map(|index| {
                let [u, v] = self.board.corner(index);
                let [x, y, z] = apply(&lie, [u, v, 0.0]);
                let [dx, dy] = self.middle_mm;
                let place = [x + dx, y + dy, z + self.board.thickness_mm].map(|mm| mm / 1000.0);
                let at = lens::seen(&self.lens, carried(&to_camera, apply(&really, place)))?;
                Some(Corner { index, at: [at[0] + beside(), at[1] + beside()] })
            });
            View { angle_deg: Some(angle_deg), corners: corners.collect() }
        };
        let mut view = view;
        (0..self.frames).map(&mut view).collect()
    }

    fn calibrated(&self, lens: Lens) -> Axis {
        calibrate(&self.views(), &self.board, lens).unwrap().facing_front()
    }

    fn size(&self) -> Lens {
        Lens::Size { width: self.lens.width, height: self.lens.height }
    }

    fn rules(&self) -> Vec<&'static str> {
        let axis = self.calibrated(self.size());
        axis.judge().into_iter().map(|shortfall| shortfall.rule).collect()
    }
}

impl Axis {
    fn facing_front(self) -> Axis {
        let azimuth = self.azimuth_rad();
        self.facing(azimuth)
    }
}

/// Millimetres and degrees between two poses.
fn apart(a: &Pose, b: &Pose) -> (f64, f64) {
    let off = [0, 1, 2].map(|k| 1000.0 * (a.translation[k] - b.translation[k]));
    let turn = product(&a.rotation, &crate::algebra::transposed(&b.rotation));
    let trace = turn[0][0] + turn[1][1] + turn[2][2];
    (crate::algebra::dot(off, off).sqrt(), ((trace - 1.0) / 2.0).clamp(-1.0, 1.0).acos().to_degrees())
}

#[test]
fn camera_and_lens_are_found_together_from_a_flat_board() {
    let turn = turn();
    let axis = turn.calibrated(turn.size());
    assert_eq!(axis.judge(), []);
    let (mm, deg) = apart(&axis.camera, &turn.camera);
    let focal = axis.lens.fx / turn.lens.fx - 1.0;
    assert!(mm < 1.0 && deg < 0.03 && focal.abs() < 1e-3, "{mm} mm, {deg} degrees, focal length {focal}");
    assert!((axis.rms_px - 0.08).abs() < 0.03 && axis.focal_error < 1e-3, "{axis:?}");
    assert_eq!((axis.frames, axis.reversed, axis.left_out), (24, false, 0));
}

#[test]
fn a_known_lens_is_taken_as_it_is_librealsenses_inverse_ones_too() {
    let mut turn = turn();
    turn.lens.distortion = Distortion::InverseBrown;
    turn.lens.coefficients = [0.1, -0.03, 0.001, 0.0005, 0.0];
    turn.lens.cx = 780.0;
    let axis = turn.calibrated(Lens::Known(turn.lens));
    let (mm, deg) = apart(&axis.camera, &turn.camera);
    assert!(axis.lens == turn.lens && axis.lens_known && axis.focal_error == 0.0);
    assert!(mm < 0.1 && deg < 0.01, "{mm} mm, {deg} degrees");
}

#[test]
fn a_lens_that_bends_lines_is_found_out_and_a_straight_one_is_left_straight() {
    let mut turn = turn();
    assert_eq!(turn.calibrated(turn.size()).lens.coefficients, [0.0; 5]);
    turn.lens.coefficients[0] = -0.2;
    let axis = turn.calibrated(turn.size());
    assert!((axis.lens.coefficients[0] + 0.2).abs() < 0.02, "{:?}", axis.lens);
    assert_eq!(axis.judge(), []);
}

#[test]
fn where_the_platter_really_was_does_not_bend_where_the_camera_stands() {
    let turn = Turn { really: |deg| deg + 0.4 * (deg.to_radians()).sin(), ..turn() };
    let axis = turn.calibrated(Lens::Known(turn.lens));
    let (mm, _) = apart(&axis.camera, &turn.camera);
    assert!(mm < 0.1 && (axis.angle_max_deg - 0.4).abs() < 0.02, "{mm} mm, {} degrees", axis.angle_max_deg);
}

#[test]
fn of_a_platter_whose_angle_nobody_knows_the_board_tells_it() {
    let turn = Turn { really: |deg| -137.0 * deg, frames: 30, ..turn() };
    let mut views = turn.views();
    views.iter_mut().for_each(|view| view.angle_deg = None);
    let axis = calibrate(&views, &turn.board, turn.size()).unwrap().facing_front();
    assert_eq!(axis.judge(), []);
    let (mm, deg) = apart(&axis.camera, &turn.camera);
    assert!(mm < 1.0 && deg < 0.05, "{mm} mm, {deg} degrees");
    views.truncate(10);
    views.iter_mut().for_each(|view| view.corners.truncate(12));
    views[0].angle_deg = Some(0.0);
    let rest = calibrate(&views, &turn.board, turn.size()).unwrap_err();
    assert_eq!(rest.rule, "axis-few-frames", "where one angle is told, those without are not guessed");
}

#[test]
fn a_picture_of_half_the_size_has_the_lens_halved() {
    let turn = turn();
    let axis = turn.calibrated(Lens::Known(turn.lens));
    let half = axis.sized(800, 600);
    assert_eq!((half.lens.fx, half.lens.cx, half.lens.width), (1200.0, 399.5, 800));
    assert_eq!(half.sized(1600, 1200), axis);
}

#[test]
fn each_way_in_which_a_turn_can_be_wrong_is_told_by_its_rule() {
    assert_eq!(Turn { really: |deg| -deg, ..turn() }.rules(), ["axis-reversed"]);
    assert_eq!(Turn { really: |deg| 0.98 * deg, ..turn() }.rules(), ["axis-slipping"]);
    assert_eq!(Turn { tilt_deg: 3.0, ..turn() }.rules(), ["axis-tilted"]);
    assert_eq!(Turn { noise_px: 1.2, ..turn() }.rules()[0], "axis-residual");
    // Nearly from above a board looks the same near and far.
    assert!(
        Turn { camera: looking(88.0, 0.8), noise_px: 0.4, ..turn() }.rules().contains(&"axis-lens-unsure")
    );
    let few = calibrate(&Turn { frames: 7, ..turn() }.views(), &turn().board, turn().size()).unwrap_err();
    assert_eq!(few.rule, "axis-few-frames");
    assert!(few.sentence.contains("seen in 7 of 7 frames, at least 8"), "{}", few.sentence);
    let mut half = Turn { frames: 36, ..turn() }.views();
    half.retain(|view| view.angle_deg.unwrap() < 180.0);
    let axis = calibrate(&half, &turn().board, turn().size()).unwrap();
    assert_eq!(axis.judge()[0].rule, "axis-half-turn");
    let slipping = Turn { really: |deg| 0.98 * deg, ..turn() };
    let told = slipping.calibrated(slipping.size()).judge().remove(0).sentence;
    assert!(told.contains("turned 352.8 degrees"), "{told}");
}

#[test]
fn corners_that_were_measured_wrongly_are_left_out() {
    let turn = turn();
    let mut views = turn.views();
    views.iter_mut().step_by(5).for_each(|view| view.corners[3].at[0] += 9.0);
    let axis = calibrate(&views, &turn.board, turn.size()).unwrap().facing_front();
    assert_eq!((axis.left_out, axis.judge()), (5, Vec::new()));
    assert!(apart(&axis.camera, &turn.camera).0 < 1.0);
}

#[test]
fn a_camera_is_carried_round_the_object_against_the_platter() {
    let turn = turn();
    let axis = turn.calibrated(turn.size());
    let [x, y, _] = axis.pose(90.0).translation;
    assert!(x.abs() < 1e-3 && (y + 0.8 * 30_f64.to_radians().cos()).abs() < 2e-3, "{x} {y}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn corners_from_anywhere_end_in_a_result_or_a_sentence(
        numbers in proptest::collection::vec(-1e7f64..1e7, 40..400),
        scale in prop_oneof![Just(1e-7), Just(1e-4), Just(1.0), Just(f64::NAN)],
    ) {
        let views: Vec<View> = numbers
            .chunks(20)
            .enumerate()
            .map(|(k, chunk)| View {
                angle_deg: Some(36.0 * k as f64 + chunk[0] * 1e-9),
                corners: chunk
                    .chunks_exact(2)
                    .enumerate()
                    .map(|(index, at)| Corner { index: 2 * index, at: [at[0] * scale, at[1] * scale] })
                    .collect(),
            })
            .collect();
        match calibrate(&views, &turn().board, turn().size()) {
            Ok(axis) => drop(axis.judge()),
            Err(shortfall) => prop_assert!(shortfall.sentence.ends_with('.')),
        }
    }
}
