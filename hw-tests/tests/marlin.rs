//! The Marlin profile against a controller with a planner, in paused time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use turnstage_drivers::turntable::{self, Direction, Reference, Target};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Turntable, TurntableError};
use turnstage_hw_tests::turntable::conform;
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
