//! The GRBL driver against a controller with physics: the facts that it rests on, every fault, no double move.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use turnstage_drivers::link::Link;
use turnstage_drivers::turntable::{Direction, Reference, Sighting, Source, Target, Winding, speak};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::turntable::{conform, conform_seen};
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::{Controller, Fault, State, Told};

const SECOND: Duration = Duration::from_secs(1);

fn options(keys: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"grbl\"\n{keys}")).unwrap()
}

/// Forty-five degrees a second, two axes.
fn controller() -> Cable<Controller> {
    Cable::new(Controller::new(2, 45.0, 90.0))
}

async fn open(cable: &Cable<Controller>, keys: &str) -> Box<dyn Turntable> {
    speak(&options(keys), cable.link()).await.unwrap()
}

/// Open, and its zero is where it stands.
async fn zeroed(cable: &Cable<Controller>, keys: &str) -> Box<dyn Turntable> {
    let mut table = open(cable, keys).await;
    let zero = table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    assert_eq!(zero, Moved::Done(Angle::new(0.0)));
    table
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

fn told(cable: &Cable<Controller>) -> Vec<f64> {
    cable.with(|c| c.told.iter().map(|told| told.deg).collect())
}

fn truly(cable: &Cable<Controller>) -> f64 {
    cable.with(|c| c.truly_deg(0))
}

#[track_caller]
fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 0.011, "{a} is not {b}");
}

/// Nobody unlocked it and nobody wrote a setting.
fn untouched(cable: &Cable<Controller>) {
    assert_eq!(cable.with(|c| (c.meddled, c.overflowed)), (0, 0));
}

mod facts;
mod faults;
mod ports;

#[tokio::test(start_paused = true)]
async fn a_declared_table_keeps_every_promise() {
    let cable = controller();
    let eye = cable.clone();
    let report = conform_seen(open(&cable, "").await, Eye::of(move || truly(&eye))).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    untouched(&cable);
}

#[tokio::test(start_paused = true)]
async fn a_homing_table_that_starts_locked_and_tilts_keeps_every_promise() {
    let cable = controller();
    cable.with(|c| c.settings.insert(22, 1.0));
    let table = open(&cable, "reverse = true\ntilt_axis = \"y\"\ntilt_deg = [-20.0, 20.0]").await;
    assert!(table.info().home && table.info().tilt.is_some());
    let eye = cable.clone();
    let report = conform_seen(table, Eye::of(move || -truly(&eye))).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    untouched(&cable);
}

#[tokio::test(start_paused = true)]
async fn a_table_with_an_offset_that_answers_one_question_of_two_keeps_every_promise() {
    let cable = controller();
    cable.with(|c| {
        (c.knobs.offset, c.knobs.answers_every) = (12.5, 2);
        c.settings.insert(10, 0.0);
    });
    let report = conform(open(&cable, "").await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_table_tells_what_its_controller_is_set_to() {
    let cable = controller();
    let table = open(&cable, "axis = \"y\"\nspeed_deg_s = 20.0").await;
    let info = table.info();
    assert_eq!((info.model.as_str(), info.firmware.as_deref()), ("Grbl 1.1h", Some("1.1h.20190825")));
    assert_eq!((info.speed_max, info.acceleration), (20.0, 90.0));
    assert_eq!(
        (info.home, info.without_link.is_dead_man(), info.tried, info.tilt),
        (false, false, false, None)
    );
    assert_eq!(told(&cable), [0.0; 0], "opening moves nothing");
    untouched(&cable);
}

#[tokio::test(start_paused = true)]
async fn an_axis_that_the_controller_does_not_have_is_told() {
    let cable = controller();
    let error = speak(&options("axis = \"c\""), cable.link()).await.err().unwrap().to_string();
    assert!(error.contains("$115") && error.contains("axis c"), "{error}");
    let error = speak(&options("home = true"), cable.link()).await.err().unwrap().to_string();
    assert!(error.contains("$22=1"), "{error}");
    cable.with(|c| c.settings.insert(13, 1.0));
    let error = speak(&options(""), cable.link()).await.err().unwrap().to_string();
    assert!(error.contains("$13=0"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn thirty_six_angles_end_where_they_should_and_each_was_sent_once() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    for k in 1..=36 {
        let target = f64::from(k) * 10.0;
        assert_eq!(table.move_to(forward(target)).await.unwrap(), Moved::Done(Angle::new(target)));
        near(truly(&cable) - start, target);
        assert_eq!(cable.with(|c| c.state()), State::Idle);
    }
    assert_eq!(told(&cable).len(), 36);
    assert_eq!(table.move_to(forward(360.0)).await.unwrap(), Moved::Done(Angle::new(0.0)));
    assert_eq!(told(&cable).len(), 36, "it stands there already");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_tells_where_it_was_within_its_stated_error() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    let (sender, mut seen) = watch::channel(None::<Sighting>);
    let (mut sightings, mut track) = (Vec::new(), Vec::new());
    let mut step = tokio::time::interval(Duration::from_millis(1));
    let moved = {
        let sweep = table.sweep(370.0, 20.0, &sender);
        tokio::pin!(sweep);
        loop {
            tokio::select! {
                biased;
                moved = &mut sweep => break moved.unwrap(),
                _ = seen.changed() => sightings.extend(*seen.borrow_and_update()),
                now = step.tick() => track.push((now, truly(&cable) - start)),
            }
        }
    };
    assert_eq!(moved, Moved::Done(Angle::new(10.0)));
    assert!(sightings.len() > 80, "{} sightings in 18.5 seconds", sightings.len());
    assert!(sightings.last().unwrap().deg > 360.0, "counted on over a turn");
    for seen in &sightings {
        let (_, was) = track.iter().rfind(|(at, _)| *at <= seen.at).copied().unwrap_or((seen.at, 0.0));
        let slack = 20.0 * 0.002;
        assert!((seen.deg - was).abs() <= seen.error_deg + slack, "{seen:?} was {was}");
        assert!(seen.error_deg < 1.0, "{seen:?}");
    }
    assert_eq!(told(&cable), [370.0]);
    let refused = table.sweep(10.0, 90.0, &sender).await.unwrap();
    assert!(matches!(refused, Moved::Refused { rule: "motion-out-of-range", .. }), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_axis_tilts_and_a_table_without_refuses() {
    let cable = controller();
    let keys = "tilt_axis = \"y\"\ntilt_deg = [-10.0, 30.0]";
    let mut table = open(&cable, keys).await;
    assert_eq!(table.info().tilt, Some((-10.0, 30.0)));
    let early = table.tilt_to(10.0).await.unwrap();
    assert!(matches!(early, Moved::Refused { rule: "motion-not-referenced", .. }), "{early:?}");
    table.reference(Reference::At(Angle::new(40.0))).await.unwrap();
    let level = cable.with(|c| c.truly_deg(1));
    assert_eq!(table.tilt_to(25.0).await.unwrap(), Moved::Done(Angle::new(40.0)));
    assert_eq!(table.tilt_to(25.0).await.unwrap(), Moved::Done(Angle::new(40.0)));
    near(cable.with(|c| c.truly_deg(1)) - level, 25.0);
    assert_eq!(cable.with(|c| c.told.clone()), [Told { axis: 1, deg: 25.0 }]);
    let steep = table.tilt_to(31.0).await.unwrap();
    assert!(matches!(steep, Moved::Refused { rule: "motion-out-of-range", .. }), "{steep:?}");
    assert_eq!(table.position(), Position::Known(Angle::new(40.0), Source::Declared));

    let mut flat = zeroed(&controller(), "").await;
    let flat = flat.tilt_to(1.0).await.unwrap();
    assert!(matches!(flat, Moved::Refused { rule: "motion-no-tilt", .. }), "{flat:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_with_a_cable_turns_no_further_than_its_limits() {
    let cable = controller();
    let mut table = open(&cable, "limits_deg = [-10.0, 370.0]").await;
    let early = table.move_by(5.0).await.unwrap();
    assert!(matches!(early, Moved::Refused { rule: "motion-not-referenced", .. }), "{early:?}");
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    table.move_by(360.0).await.unwrap();
    let further = table.move_to(forward(20.0)).await.unwrap();
    let Moved::Refused { rule: "motion-soft-limit", reason } = further else { panic!("{further:?}") };
    assert!(reason.contains("380.0 degrees") && reason.contains("-10 to 370"), "{reason}");
    assert!(table.rotate(10.0).await.is_err());
    let back = Target { angle: Angle::new(20.0), direction: Direction::Backward };
    assert_eq!(table.move_to(back).await.unwrap(), Moved::Done(Angle::new(20.0)));
    assert_eq!(told(&cable), [360.0, -340.0]);
}

#[tokio::test(start_paused = true)]
async fn a_zero_that_is_declared_anew_unwinds_no_cable() {
    let cable = controller();
    let mut table = open(&cable, "limits_deg = [-10.0, 370.0]").await;
    assert_eq!(table.winding(), None, "nothing is counted yet");
    let declared = Reference::At(Angle::new(0.0));
    table.reference(declared).await.unwrap();
    table.move_by(350.0).await.unwrap();
    table.reference(declared).await.unwrap();
    let cable_is = Winding { deg: 350.0, low: -10.0, high: 370.0 };
    assert_eq!(table.winding(), Some(cable_is));
    let further = table.move_by(30.0).await.unwrap();
    assert!(matches!(further, Moved::Refused { rule: "motion-soft-limit", .. }), "{further:?}");
    assert_eq!(table.move_by(-350.0).await.unwrap(), Moved::Done(Angle::new(10.0)));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_without_a_dead_man_is_one_turn_and_ends_by_itself() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    table.rotate(-30.0).await.unwrap();
    assert_eq!(told(&cable), [-360.0]);
    let busy = table.move_by(5.0).await.unwrap();
    assert!(matches!(busy, Moved::Refused { rule: "motion-busy", .. }), "{busy:?}");
    tokio::time::sleep(SECOND * 30).await;
    let start = truly(&cable);
    assert!(matches!(table.stop().await.unwrap(), Moved::StoppedAt(Some(_))));
    near(truly(&cable), start);
}

#[tokio::test(start_paused = true)]
async fn a_stop_on_the_way_brakes_keeps_count_and_is_doubted() {
    let cable = controller();
    let mut table = zeroed(&cable, "").await;
    let start = truly(&cable);
    assert!(timeout(SECOND, table.move_to(forward(180.0))).await.is_err());
    let begun = Instant::now();
    let Moved::StoppedAt(Some(at)) = table.stop().await.unwrap() else { panic!("not stopped") };
    assert!(begun.elapsed() < SECOND * 2);
    near(truly(&cable) - start, at.deg());
    assert!(at.deg() > 20.0 && at.deg() < 90.0, "{at}");
    assert_eq!(table.position(), Position::Estimated(at));
    assert_eq!(cable.with(|c| c.state()), State::Idle, "no alarm");
    let refused = table.move_to(forward(180.0)).await.unwrap();
    let Moved::Refused { rule: "motion-not-referenced", reason } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("stopped on its way"), "{reason}");
    table.reference(Reference::At(at)).await.unwrap();
    assert_eq!(table.move_to(forward(180.0)).await.unwrap(), Moved::Done(Angle::new(180.0)));
    near(truly(&cable) - start, 180.0);
    untouched(&cable);
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_homing_is_at_once_and_locks() {
    let cable = controller();
    cable.with(|c| c.settings.insert(22, 1.0));
    let mut table = open(&cable, "").await;
    assert!(timeout(SECOND, table.reference(Reference::Home)).await.is_err());
    assert_eq!(cable.with(|c| c.state()), State::Home);
    let begun = Instant::now();
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(None));
    assert!(begun.elapsed() < SECOND);
    assert_eq!(cable.with(|c| c.state()), State::Alarm);
    let error = table.move_by(5.0).await.unwrap_err().to_string();
    assert!(error.contains("ALARM:6") && error.contains("locked"), "{error}");
    assert_eq!(table.reference(Reference::Home).await.unwrap(), Moved::Done(Angle::new(0.0)));
    near(truly(&cable).rem_euclid(360.0) % 360.0, 0.0);
    untouched(&cable);
}
