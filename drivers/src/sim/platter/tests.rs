use proptest::prelude::*;

use super::*;

fn stiff() -> Mechanics {
    Mechanics {
        speed_deg_s: 30.0,
        acceleration_deg_s2: 60.0,
        backlash_deg: 0.0,
        vibration_deg: 0.0,
        vibration_hz: 7.0,
        vibration_decay: Duration::from_millis(80),
        eccentricity_deg: 0.0,
        home_deg: 0.0,
    }
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

/// Runs a motion to its end and returns when that was.
fn end(platter: &Platter, now: Instant) -> Instant {
    match platter.motor(now) {
        Motor::Turning { until: Some(end) } => end,
        other => panic!("not on the way to an end: {other:?}"),
    }
}

#[test]
fn a_reversal_is_swallowed_by_the_backlash_first() {
    let now = Instant::now();
    let mut platter = Platter::at_rest(Mechanics { backlash_deg: 0.5, ..stiff() }, 0.0, now);
    platter.travel(10.0, 0.0, &[], now);
    let there = end(&platter, now);
    assert_eq!(platter.true_deg(there), 10.0);

    platter.travel(-10.0, 0.0, &[], there);
    let back = end(&platter, there);
    // 60 degrees a second squared: after 0.1 s the motor has gone 0.3 of the 0.5 degrees, after 0.2 s 1.2.
    assert_eq!(platter.true_deg(there + seconds(0.1)), 10.0, "the platter waits for the other flank");
    assert!((platter.true_deg(there + seconds(0.2)) - 9.3).abs() < 1e-6);
    assert!((platter.true_deg(back) - 0.5).abs() < 1e-9);
    assert!(platter.counted(back).abs() < 1e-9, "the motor counts itself back to zero");
}

#[test]
fn lost_steps_shift_the_platter_for_ever_and_the_count_never() {
    let now = Instant::now();
    let mut platter = Platter::at_rest(stiff(), 0.0, now);
    platter.travel(90.0, 7.0, &[], now);
    let first = end(&platter, now);
    platter.travel(-30.0, 0.0, &[], first);
    let second = end(&platter, first);
    assert!((platter.true_deg(first) - 83.0).abs() < 1e-9);
    assert!((platter.true_deg(second) - 53.0).abs() < 1e-9);
    assert_eq!((platter.counted(first), platter.counted(second)), (90.0, 60.0));
}

#[test]
fn the_platter_rings_after_a_stop_and_calms_down() {
    let now = Instant::now();
    let mut platter = Platter::at_rest(Mechanics { vibration_deg: 0.4, ..stiff() }, 0.0, now);
    platter.travel(20.0, 0.0, &[], now);
    let stop = end(&platter, now);
    let off = |s: f64| (platter.true_deg(stop + seconds(s)) - 20.0).abs();
    assert!(off(0.0) < 1e-6, "it begins where the motion ended");
    let early = (0..40).map(|k| off(0.005 * f64::from(k))).fold(0.0, f64::max);
    let late = (0..40).map(|k| off(0.5 + 0.005 * f64::from(k))).fold(0.0, f64::max);
    assert!((0.1..0.4).contains(&early), "swings by {early}");
    assert!(late < 0.001, "still swings by {late}");
}

#[test]
fn a_bearing_off_centre_errs_once_a_turn_and_never_at_home() {
    let now = Instant::now();
    let mechanics = Mechanics { eccentricity_deg: 0.5, home_deg: 20.0, ..stiff() };
    let mut platter = Platter::at_rest(mechanics, 123.0, now);
    assert!((platter.true_deg(now) - 123.0).abs() < 1e-9, "power-on is where it was said to be");
    platter.seek_home(&[], now);
    let home = end(&platter, now);
    platter.travel(90.0, 0.0, &[], home);
    let quarter = end(&platter, home);
    assert!((platter.true_deg(home) - 380.0).abs() < 1e-6);
    assert!((platter.true_deg(quarter) - 470.5).abs() < 1e-6);
}

#[test]
fn a_wedge_holds_the_platter_until_it_is_turned_away() {
    let now = Instant::now();
    let mut platter = Platter::at_rest(Mechanics { backlash_deg: 0.3, ..stiff() }, 0.0, now);
    platter.travel(90.0, 0.0, &[40.0], now);
    let hit = end(&platter, now);
    assert_eq!(platter.motor(hit), Motor::Resting(Ending::Jammed));
    assert!((platter.true_deg(hit) - 40.0).abs() < 1e-6);

    platter.travel(5.0, 0.0, &[40.0], hit);
    assert_eq!(platter.motor(hit), Motor::Resting(Ending::Jammed), "pressing on moves nothing");
    assert!((platter.true_deg(hit) - 40.0).abs() < 1e-6);

    platter.travel(-20.0, 0.0, &[40.0], hit);
    let away = end(&platter, hit);
    assert_eq!(platter.motor(away), Motor::Resting(Ending::Standing));
    assert!((platter.true_deg(away) - 20.3).abs() < 1e-6);

    platter.spin(-30.0, &[40.0], away);
    let round = end(&platter, away);
    assert!((platter.true_deg(round) - -320.0).abs() < 1e-6, "the same wedge from the other side");
}

#[test]
fn a_wedge_thrown_in_stops_a_motion_under_way() {
    let now = Instant::now();
    let mut platter = Platter::at_rest(stiff(), 10.0, now);
    platter.seek_home(&[], now);
    platter.obstruct(&[200.0], now + seconds(2.0));
    let hit = end(&platter, now + seconds(2.0));
    assert_eq!(platter.motor(hit), Motor::Resting(Ending::Jammed));
    assert!((platter.true_deg(hit) - 200.0).abs() < 1e-6);
}

#[derive(Debug, Clone)]
enum Act {
    Travel(f64),
    Spin(f64),
    Halt,
    Home,
}

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let act = prop_oneof![
        4 => (-360.0f64..360.0).prop_map(Act::Travel),
        1 => (1.0f64..30.0, any::<bool>()).prop_map(|(v, back)| Act::Spin(if back { -v } else { v })),
        3 => Just(Act::Halt),
        1 => Just(Act::Home),
    ];
    proptest::collection::vec((act, 1u64..4000), 1..12)
}

proptest! {
    #[test]
    fn the_true_angle_never_jumps_whatever_is_commanded(
        acts in acts(), start in -400.0f64..400.0, jam in proptest::option::of(0.0f64..360.0),
    ) {
        let mechanics = Mechanics { backlash_deg: 0.3, vibration_deg: 0.4, eccentricity_deg: 0.05, ..stiff() };
        let jams: Vec<f64> = jam.into_iter().collect();
        let mut now = Instant::now();
        let mut platter = Platter::at_rest(mechanics, start, now);
        let mut before = platter.true_deg(now);
        let step = Duration::from_millis(1);
        for (act, millis) in acts {
            // Only a motor at rest takes a motion; the driver refuses the others.
            let rests = matches!(platter.motor(now), Motor::Resting(_));
            match act {
                Act::Halt => platter.halt(&jams, now),
                Act::Travel(deg) if rests => platter.travel(deg, 0.0, &jams, now),
                Act::Spin(speed) if rests => platter.spin(speed, &jams, now),
                Act::Home if rests => platter.seek_home(&jams, now),
                _ => {}
            }
            for _ in 0..millis {
                now += step;
                let here = platter.true_deg(now);
                // Full speed 30, and up to six stops that ring at 0.4 * 2 pi * 7 = 18 degrees a second at once.
                prop_assert!((here - before).abs() < 0.15, "from {before} to {here} within a millisecond");
                before = here;
            }
        }
    }

    #[test]
    fn home_is_found_from_everywhere_and_always_from_the_same_side(
        start in -400.0f64..400.0, home in -180.0f64..180.0, first in -90.0f64..90.0,
    ) {
        let now = Instant::now();
        let mut platter = Platter::at_rest(Mechanics { backlash_deg: 0.4, home_deg: home, ..stiff() }, start, now);
        platter.travel(first, 0.0, &[], now);
        let then = now + seconds(60.0);
        platter.seek_home(&[], then);
        let found = end(&platter, then);
        let off = (platter.true_deg(found) - home + 180.0).rem_euclid(360.0) - 180.0;
        prop_assert!(off.abs() < 1e-6, "home missed by {off}");
        platter.travel(1.0, 0.0, &[], found);
        let on = end(&platter, found);
        let turned = platter.true_deg(on) - platter.true_deg(found);
        prop_assert!((turned - 1.0).abs() < 1e-6, "the play lies on the wrong side: {turned}");
    }
}
