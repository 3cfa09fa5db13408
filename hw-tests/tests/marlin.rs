//! The Marlin profile against a controller with a planner, in paused time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use turnstage_drivers::turntable::{self, Direction, Reference, Target};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Turntable, TurntableError};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::turntable::conform_seen;
use turnstage_hw_tests::wire::cable::Cable;
use turnstage_hw_tests::wire::marlin::{Controller, Fault, Knobs};

const NEAR_DEG: f64 = 0.02;

fn cable(knobs: Knobs) -> Cable<Controller> {
    Cable::new(Controller::new(knobs))
}

async fn open(cable: &Cable<Controller>) -> Box<dyn Turntable> {
    let options: DeviceOptions = toml::from_str("driver = \"profile\"\nprofile = \"marlin\"").unwrap();
    turntable::speak(&options, cable.link()).await.unwrap()
}

async fn declare_zero(table: &mut dyn Turntable) {
    let moved = table.reference(Reference::At(Angle::new(0.0))).await;
    assert!(matches!(moved, Ok(Moved::Done(_))), "{moved:?}");
}

async fn referenced(cable: &Cable<Controller>) -> Box<dyn Turntable> {
    let mut table = open(cable).await;
    declare_zero(table.as_mut()).await;
    table
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

/// It says that it has arrived at `deg`, stands, and is truly there.
#[track_caller]
fn stands_at(cable: &Cable<Controller>, moved: Result<Moved, TurntableError>, zero: f64, deg: f64) {
    let there = |angle: Angle| angle.distance(Angle::new(deg)) < NEAR_DEG;
    assert!(matches!(moved, Ok(Moved::Done(angle)) if there(angle)), "{moved:?} instead of {deg}");
    assert!(!cable.with(|t| t.is_moving()), "it turns, and was said to stand");
    let truly = cable.with(|t| t.truly_deg()) - zero;
    assert!((truly - deg).abs() < NEAR_DEG, "{truly} instead of {deg}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_starts_anew_is_set_up_again_before_it_moves() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    cable.with(|t| t.fail(Fault::RebootAfter(30.0)));
    let moved = table.move_to(forward(90.0)).await;
    assert!(matches!(moved, Err(TurntableError::Fault { .. })), "{moved:?}");
    assert_eq!(table.position(), Position::Unknown);
    declare_zero(table.as_mut()).await;
    let zero = cable.with(|t| t.truly_deg());
    // It began in absolute degrees: a second ten degrees would be where it stands already.
    for turn in 1..=3 {
        let moved = table.move_by(10.0).await;
        stands_at(&cable, moved, zero, 10.0 * f64::from(turn));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_seen_while_nothing_was_under_way_is_answered_by_setting_up_as_well() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    cable.with(|t| t.reboot());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = table.heartbeat().await;
    assert!(matches!(seen, Err(TurntableError::Fault { .. })), "{seen:?}");
    declare_zero(table.as_mut()).await;
    let zero = cable.with(|t| t.truly_deg());
    for turn in 1..=2 {
        let moved = table.move_by(10.0).await;
        stands_at(&cable, moved, zero, 10.0 * f64::from(turn));
    }
    let relative = cable.with(|t| t.lines.iter().filter(|line| *line == "G91").count());
    assert_eq!(relative, 2, "{:?}", cable.with(|t| t.lines.clone()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_late_answer_lets_nobody_believe_that_a_turning_platter_stands() {
    let late = |nth| Fault::LateOk(nth, Duration::from_secs(6));
    // Of a turn the first answer is to G1 and the second to M400; 200 degrees take ten seconds.
    for faults in [
        vec![Fault::LoseOk(1)],
        vec![Fault::LoseOk(2)],
        vec![Fault::LoseOk(1), Fault::LoseOk(2)],
        vec![late(1)],
        vec![late(2)],
    ] {
        let cable = cable(Knobs::default());
        let mut table = referenced(&cable).await;
        let zero = cable.with(|t| t.truly_deg());
        cable.with(|t| faults.iter().for_each(|fault| t.fail(*fault)));
        for (turn, by) in [200.0, 30.0, 30.0].into_iter().enumerate() {
            let moved = table.move_by(by).await;
            assert!(!cable.with(|t| t.is_moving()), "{faults:?}, turn {turn}: {moved:?}, and it turns");
            stands_at(&cable, moved, zero, [200.0, 230.0, 260.0][turn]);
        }
        assert_eq!(cable.with(|t| t.told.clone()), [200.0, 30.0, 30.0], "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_lost_on_its_way_is_not_told_as_done() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    cable.with(|t| t.fail(Fault::LoseLine(1)));
    let moved = table.move_by(40.0).await.unwrap();
    assert!(!matches!(moved, Moved::Done(_)), "{moved:?}");
    assert!(!matches!(table.position(), Position::Known(..)));
    assert_eq!(cable.with(|t| t.told.clone()), [0.0; 0]);
}

#[tokio::test(start_paused = true)]
async fn answers_behind_a_place_are_not_taken_for_those_of_a_turn() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    let zero = cable.with(|t| t.truly_deg());
    // The place is asked for each time; its "ok" comes a little behind it.
    for turn in 1..=3 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        cable.with(|t| t.fail(Fault::LateOk(1, Duration::from_millis(30))));
        table.heartbeat().await.unwrap();
        let moved = table.move_by(30.0).await;
        stands_at(&cable, moved, zero, 30.0 * f64::from(turn));
    }
}

#[tokio::test(start_paused = true)]
async fn every_promise_of_a_turntable_is_kept_and_turning_without_end_is_refused() {
    let cable = cable(Knobs::default());
    let table = open(&cable).await;
    assert_eq!(table.info().rotates, None, "no G-code turns on and on");
    let eye = cable.clone();
    let report = conform_seen(table, Eye::of(move || eye.with(|t| t.truly_deg()))).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    assert!(!cable.with(|t| t.is_moving()));
}
