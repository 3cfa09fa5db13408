use super::*;
use crate::sim::{BoothOptions, Fault, Told};

/// Keys that make a table without any imperfection, standing at its zero.
const IDEAL: &str = "start_deg = 0.0\nbacklash_deg = 0.0\nvibration_deg = 0.0\neccentricity_deg = 0.0\n";

fn booth(faults: &[Fault]) -> Booth {
    Booth::new(BoothOptions { faults: faults.to_vec(), ..BoothOptions::default() }).unwrap()
}

fn try_open(booth: &Booth, keys: &str) -> Opened {
    let options: DeviceOptions = toml::from_str(&format!("driver = \"sim\"\n{keys}")).unwrap();
    open(&options, &Surroundings { booth: Some(booth.clone()), ..Surroundings::default() })
}

fn table(booth: &Booth) -> Box<dyn Turntable> {
    try_open(booth, IDEAL).unwrap()
}

/// A table that stands at its zero and knows it.
async fn referenced(booth: &Booth) -> Box<dyn Turntable> {
    let mut table = table(booth);
    assert_eq!(table.reference(Reference::At(Angle::default())).await.unwrap(), Moved::Done(Angle::new(0.0)));
    table
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

fn moves(told: &[Told]) -> Vec<Command> {
    told.iter().map(|t| t.command).filter(Command::is_motion).collect()
}

fn rule(moved: Result<Moved, TurntableError>) -> &'static str {
    match moved {
        Ok(Moved::Refused { rule, .. }) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreferenced_table_refuses_targets_and_moves_nothing() {
    let booth = booth(&[]);
    let mut table = table(&booth);
    assert_eq!(table.position(), Position::Unknown);
    assert_eq!(rule(table.move_to(forward(10.0)).await), "motion-not-referenced");
    assert_eq!(moves(&booth.commands()), []);
    assert_eq!(booth.true_angle(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_move_takes_the_time_of_its_trapezoid_and_ends_at_its_target() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    let begun = Instant::now();
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)));
    // 30 degrees a second and 60 a second squared: 90 / 30 + 30 / 60 seconds; the timer's grain is a millisecond.
    let took = begun.elapsed().as_secs_f64();
    assert!((3.5..3.502).contains(&took), "took {took} s");
    assert_eq!(table.position(), Position::Known(Angle::new(90.0), Source::Declared));
    assert_eq!(booth.true_angle(), 90.0);
    assert!(!booth.is_moving());
}

#[tokio::test(start_paused = true)]
async fn the_way_round_is_the_callers() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    table.move_to(forward(350.0)).await.unwrap();
    table.move_to(forward(10.0)).await.unwrap();
    assert_eq!(booth.true_angle(), 370.0);
    table.move_to(Target { angle: Angle::new(20.0), direction: Direction::Backward }).await.unwrap();
    assert_eq!(booth.true_angle(), 20.0);
    // Where it stands already nothing turns, least of all a whole turn.
    table.move_to(Target { angle: Angle::new(20.0000001), direction: Direction::Backward }).await.unwrap();
    assert_eq!(booth.true_angle(), 20.0);
}

#[tokio::test(start_paused = true)]
async fn home_is_a_place_of_the_platter_not_of_the_power_switch() {
    let booth = booth(&[]);
    let keys = "start_deg = 100.0\nhome_deg = 20.0\neccentricity_deg = 0.0\nvibration_deg = 0.0";
    let mut table = try_open(&booth, keys).unwrap();
    assert_eq!(table.reference(Reference::Home).await.unwrap(), Moved::Done(Angle::new(0.0)));
    assert_eq!(table.position(), Position::Known(Angle::new(0.0), Source::Home));
    assert!((booth.true_angle() - 380.0).abs() < 1e-6);
    table.move_to(forward(45.0)).await.unwrap();
    assert!((booth.true_angle() - 425.0).abs() < 1e-6);
}

#[tokio::test(start_paused = true)]
async fn without_a_home_switch_zero_must_be_declared() {
    let booth = booth(&[]);
    let mut table = try_open(&booth, "home = false").unwrap();
    assert_eq!(rule(table.reference(Reference::Home).await), "motion-no-home");
    assert_eq!(moves(&booth.commands()), []);
    assert_eq!(table.reference(Reference::At(Angle::default())).await.unwrap(), Moved::Done(Angle::new(0.0)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_on_the_way_brakes_and_leaves_the_position_in_doubt() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    let cut = tokio::time::timeout(Duration::from_secs(2), table.move_to(forward(180.0))).await;
    assert!(cut.is_err() && booth.is_moving());
    // After 2 s at full speed since 0.5 s: 7.5 + 45 degrees, and 7.5 more to brake.
    let Moved::StoppedAt(Some(angle)) = table.stop().await.unwrap() else { panic!("not stopped on the way") };
    assert!((angle.deg() - 60.0).abs() < 0.1, "stopped at {angle}");
    assert!((booth.true_angle() - angle.deg()).abs() < 1e-9 && !booth.is_moving());
    assert_eq!(table.position(), Position::Estimated(angle));
    assert_eq!(rule(table.move_to(forward(0.0)).await), "motion-not-referenced");
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(Some(angle)), "a second stop knows no better");
    assert_eq!(table.position(), Position::Estimated(angle));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_move_runs_on_to_its_target() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    let cut = tokio::time::timeout(Duration::from_secs(1), table.move_to(forward(90.0))).await;
    assert!(cut.is_err());
    assert_eq!(rule(table.move_to(forward(10.0)).await), "motion-busy");
    assert_eq!(rule(table.move_by(10.0).await), "motion-busy");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(booth.true_angle(), 90.0);
    assert_eq!(rule(table.move_to(forward(10.0)).await), "motion-not-referenced", "its end was not seen");
    assert_eq!(table.stop().await.unwrap(), Moved::Done(Angle::new(90.0)), "a stop asks the motor");
    assert_eq!(table.position(), Position::Known(Angle::new(90.0), Source::Declared));
}

#[tokio::test(start_paused = true)]
async fn a_jam_ends_the_move_and_says_so() {
    let booth = booth(&[Fault::Jam { at_deg: 40.0 }]);
    let mut table = referenced(&booth).await;
    let error = table.move_to(forward(90.0)).await.unwrap_err();
    assert!(
        matches!(error, TurntableError::Jammed { near, .. } if (near.deg() - 40.0).abs() < 0.01),
        "{error}"
    );
    assert!(!booth.is_moving() && (booth.true_angle() - 40.0).abs() < 1e-6);
    assert!(matches!(table.position(), Position::Estimated(_)));
    booth.clear_faults();
    table.reference(Reference::Home).await.unwrap();
    table.move_to(forward(90.0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_jam_thrown_in_during_a_move_ends_it_at_once() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    let begun = Instant::now();
    let (result, ()) = tokio::join!(table.move_to(forward(300.0)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        booth.inject(Fault::Jam { at_deg: 60.0 });
    });
    assert!(matches!(result, Err(TurntableError::Jammed { .. })));
    assert!(begun.elapsed() < Duration::from_secs(3), "the driver slept through it: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_leaves_the_platter_turning_until_its_target() {
    let booth = booth(&[Fault::LinkLoss { nth_move: 2 }]);
    let mut table = referenced(&booth).await;
    table.move_to(forward(30.0)).await.unwrap();
    let error = table.move_to(forward(90.0)).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    assert!(booth.is_moving(), "the motor was told and goes on");
    assert_eq!(table.position(), Position::Unknown);
    let told = booth.commands().len();
    assert!(matches!(table.stop().await, Err(TurntableError::LinkLost { .. })));
    assert_eq!(booth.commands().len(), told, "nothing reaches a motor without a link");
    assert!(matches!(try_open(&booth, IDEAL).map(|_| ()), Err(TurntableError::LinkLost { .. })));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(booth.true_angle(), 90.0);

    booth.clear_faults();
    assert!(matches!(table.stop().await, Err(TurntableError::LinkLost { .. })), "the old handle stays dead");
    let mut again = self::table(&booth);
    assert_eq!(again.stop().await.unwrap(), Moved::StoppedAt(None));
    assert_eq!(again.position(), Position::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_link_cut_at_rest_is_noticed_at_the_next_command() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    booth.cut_link();
    assert!(matches!(table.move_to(forward(10.0)).await, Err(TurntableError::LinkLost { .. })));
    assert_eq!(moves(&booth.commands()), []);
    booth.mend_link();
    assert!(matches!(table.move_to(forward(10.0)).await, Err(TurntableError::LinkLost { .. })));
    assert!(try_open(&booth, IDEAL).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_link_cut_during_a_move_is_noticed_at_once() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    let begun = Instant::now();
    let (result, ()) = tokio::join!(table.move_to(forward(300.0)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        booth.cut_link();
    });
    assert!(matches!(result, Err(TurntableError::LinkLost { .. })));
    assert!(begun.elapsed() < Duration::from_secs(3) && booth.is_moving());
}

#[tokio::test(start_paused = true)]
async fn a_silent_motor_is_given_up_at_the_limit() {
    let booth = booth(&[Fault::Stall { nth_move: 1 }]);
    let mut table = referenced(&booth).await;
    let begun = Instant::now();
    let error = table.move_to(forward(90.0)).await.unwrap_err();
    let limit = table.info().move_limit;
    assert!(matches!(error, TurntableError::NoReply { .. }), "{error}");
    assert!(begun.elapsed() >= limit && begun.elapsed() < limit + Duration::from_secs(1));
    assert_eq!(table.position(), Position::Unknown);
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(None));
}

#[tokio::test(start_paused = true)]
async fn lost_steps_are_believed() {
    let booth = booth(&[Fault::LostSteps { nth_move: 1, deg: 7.0 }]);
    let mut table = referenced(&booth).await;
    assert_eq!(table.move_to(forward(90.0)).await.unwrap(), Moved::Done(Angle::new(90.0)));
    assert!((booth.true_angle() - 83.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn an_endless_turn_ends_with_a_stop() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    assert!(matches!(
        table.rotate(31.0).await,
        Err(TurntableError::Refused { rule: "motion-out-of-range", .. })
    ));
    table.rotate(-12.0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(booth.is_moving() && booth.true_angle() < -700.0);
    assert!(matches!(table.stop().await.unwrap(), Moved::StoppedAt(Some(_))));
    assert!(!booth.is_moving());
}

#[tokio::test(start_paused = true)]
async fn relative_moves_need_no_reference_and_give_none() {
    let booth = booth(&[]);
    let mut table = table(&booth);
    assert_eq!(rule(table.move_by(361.0).await), "motion-out-of-range");
    assert_eq!(rule(table.move_by(f64::NAN).await), "motion-out-of-range");
    table.move_by(-25.0).await.unwrap();
    assert_eq!(booth.true_angle(), -25.0);
    assert_eq!(table.position(), Position::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_push_by_hand_is_not_noticed() {
    let booth = booth(&[]);
    let mut table = referenced(&booth).await;
    booth.push(7.0);
    assert_eq!(table.move_to(forward(10.0)).await.unwrap(), Moved::Done(Angle::new(10.0)));
    assert!((booth.true_angle() - 17.0).abs() < 1e-9);
}

#[test]
fn power_on_is_anywhere_but_the_same_for_a_seed() {
    let at = |seed| {
        let booth = Booth::new(BoothOptions { seed, ..BoothOptions::default() }).unwrap();
        try_open(&booth, "").unwrap();
        booth.true_angle()
    };
    assert_eq!(at(1), at(1));
    assert_ne!(at(1), at(2));
}

#[test]
fn wrong_keys_are_named() {
    let booth = booth(&[]);
    for (keys, says) in [
        ("speed = 3", "unknown field `speed`"),
        ("speed_deg_s = 0.0", "speed_deg_s = 0 is not in 0.1"),
        ("backlash_deg = nan", "backlash_deg"),
        ("start_deg = inf", "start_deg"),
        ("home = 3", "boolean"),
    ] {
        let Err(error) = try_open(&booth, keys) else { panic!("{keys} was taken") };
        assert!(error.to_string().contains(says), "{keys}: {error}");
    }
    let options = DeviceOptions::new("sim");
    let Err(error) = open(&options, &Surroundings::default()) else { panic!("no booth") };
    assert!(error.to_string().contains("no simulated booth"), "{error}");
}

/// A table that tilts as fast as ten degrees a second.
fn tilting(booth: &Booth) -> Box<dyn Turntable> {
    let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
    let keys = "driver = \"sim\"\nstart_deg = 0.0\ntilt_deg = [-30.0, 20.0]\ntilt_speed_deg_s = 10.0";
    open(&toml::from_str(keys).unwrap(), &around).unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_tilts_with_a_speed_and_an_acceleration_and_stops_where_it_is() {
    let booth = booth(&[]);
    let mut table = tilting(&booth);
    assert_eq!(table.info().tilt, Some((-30.0, 20.0)));
    table.reference(Reference::Home).await.unwrap();
    let begun = Instant::now();
    assert_eq!(table.tilt_to(20.0).await.unwrap(), Moved::Done(Angle::new(0.0)));
    // At 20 degrees per second squared: half a second up to speed, half a second down.
    assert!((begun.elapsed().as_secs_f64() - 2.5).abs() < 0.01, "{:?}", begun.elapsed());
    assert!((booth.true_tilt() - 20.0).abs() < 1e-9);
    assert_eq!(rule(table.tilt_to(20.5).await), "motion-out-of-range");
    assert_eq!(rule(table.tilt_to(f64::NAN).await), "motion-out-of-range");

    assert!(tokio::time::timeout(Duration::from_secs(2), table.tilt_to(-20.0)).await.is_err());
    assert!(booth.is_moving());
    assert_eq!(rule(table.move_to(forward(10.0)).await), "motion-busy");
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(Some(Angle::new(0.0))));
    let stopped = booth.true_tilt();
    assert!(!booth.is_moving() && (-10.0..10.0).contains(&stopped), "{stopped}");
    assert!(matches!(table.position(), Position::Known(..)), "the turn stands where it did");
    table.tilt_to(0.0).await.unwrap();
    assert!(booth.true_tilt().abs() < 1e-9);
    assert!(matches!(table.move_to(forward(10.0)).await.unwrap(), Moved::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_tilt_refuses_it_and_wrong_keys_are_told() {
    let booth = booth(&[]);
    assert_eq!(rule(table(&booth).tilt_to(5.0).await), "motion-no-tilt");
    for (keys, told) in [
        ("tilt_deg = [5.0, 30.0]", "tilt_deg[0] = 5 is not in -80 to 0"),
        ("tilt_deg = [-5.0, 90.0]", "tilt_deg[1] = 90 is not in 0 to 80"),
        ("tilt_speed_deg_s = 0.0", "tilt_speed_deg_s = 0 is not in"),
        ("tilt_below_mm = -3.0", "tilt_below_mm = -3 is not in"),
    ] {
        let wrong = check(&toml::from_str(&format!("driver = \"sim\"\n{keys}")).unwrap()).unwrap_err();
        assert!(wrong.contains(told), "{wrong}");
    }
}
