//! The relay driver against a platform with ramps and pins, behind USB relays and behind a Modbus drive.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use turnstage_drivers::turntable::{Direction, Reference, Sighting, Source, Target, WithoutLink, speak};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::turntable::conform_seen;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::modbus::{Drive, Line};
use turnstage_hw_tests::wire::platform::Platform;
use turnstage_hw_tests::wire::relay::Module;

const SECOND: Duration = Duration::from_secs(1);

/// Twelve degrees a second, up and down in a second: it turns as far after switching off as it lost in starting.
fn platform(pins: u32) -> Platform {
    Platform::new(12.0, 12.0, pins)
}

fn module() -> Cable<Module> {
    Cable::new(Module::new(platform(0)))
}

fn drive(pins: u32) -> Cable<Drive> {
    Cable::new(Drive::new(Line::Rtu, platform(pins)))
}

const USB: &str = "via = \"usb\"\nforward = 1\nbackward = 2\ndeg_per_s = 12.0\nrest_ms = 1500";
const COILS: &str =
    "via = \"modbus-rtu\"\nforward = 16\nbackward = 17\nenable = 18\ndeg_per_s = 12.0\nrest_ms = 1500";
const REGISTER: &str = "register = 0x2000\nforward_value = 1\nbackward_value = 2\noff_value = 5\ndeg_per_s = 12.0\n\
                        rest_ms = 1500\nspeed_register = 0x2001\nspeed_per_deg_s = 8.333333";
const WATCH: &str = "watchdog_register = 0x0706\nwatchdog_value = 20\nwatchdog_ms = 2000";

fn options(keys: &[&str]) -> DeviceOptions {
    toml::from_str(&format!("driver = \"relay\"\n{}", keys.join("\n"))).unwrap()
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

#[track_caller]
fn near(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} is not {b}");
}

async fn zeroed(table: &mut dyn Turntable) {
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
}

mod drives;

#[tokio::test(start_paused = true)]
async fn a_platform_behind_usb_relays_keeps_every_promise_at_its_one_speed() {
    let module = module();
    let table = speak(&options(&[USB, "error_deg_max = 30.0"]), module.link()).await.unwrap();
    let info = table.info();
    assert_eq!(
        (info.without_link.is_dead_man(), info.rotates, info.sweeps),
        (false, Some((12.0, 12.0)), false)
    );
    let eye = module.clone();
    let report = conform_seen(table, Eye::of(move || eye.with(|m| m.platform.truly_deg()))).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let refused = |name: &str| report.checks.iter().any(|check| check.name == name);
    assert!(refused("refuses to sweep") && refused("refuses to turn on faster than it can"), "{report}");
    module.with(|m| {
        assert!(!m.platform.shorted && m.on().is_empty() && m.refused == 0 && m.taken > 0);
    });
}

#[tokio::test(start_paused = true)]
async fn a_timed_move_is_an_estimate_and_is_not_shot_at_until_somebody_says_so() {
    let module = module();
    let mut table = speak(&options(&[USB]), module.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    let start = module.with(|m| m.platform.truly_deg());
    assert_eq!(table.move_to(forward(30.0)).await.unwrap(), Moved::Done(Angle::new(30.0)));
    near(module.with(|m| m.platform.truly_deg()) - start, 30.0, 0.2);
    assert!(module.with(|m| m.platform.stands()), "it is at rest when it is said to stand");
    assert_eq!(table.position(), Position::Estimated(Angle::new(30.0)));
    let refused = table.move_to(forward(60.0)).await.unwrap();
    let Moved::Refused { rule: "motion-not-referenced", reason } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("2.0 degrees") && reason.contains("error_deg_max"), "{reason}");
    assert!(matches!(table.move_by(10.0).await.unwrap(), Moved::Done(_)), "a way is still gone");
    assert_eq!(module.with(|m| m.platform.starts), 2);
}

#[tokio::test(start_paused = true)]
async fn errors_of_timed_moves_add_up_to_what_was_allowed() {
    let module = module();
    let keys = options(&[USB, "error_deg = 0.5\nerror_deg_max = 1.2"]);
    let mut table = speak(&keys, module.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    table.move_to(forward(30.0)).await.unwrap();
    table.move_to(forward(60.0)).await.unwrap();
    assert_eq!(
        (table.position(), table.reckoned_deg()),
        (Position::Estimated(Angle::new(60.0)), Some(1.0)),
        "timed and not told, and it says how far it may be off"
    );
    table.move_to(forward(90.0)).await.unwrap();
    assert_eq!((table.position(), table.reckoned_deg()), (Position::Estimated(Angle::new(90.0)), None));
    assert!(matches!(table.move_to(forward(95.0)).await.unwrap(), Moved::Refused { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_at_once_and_nothing_stays_on() {
    let module = module();
    let mut table = speak(&options(&[USB]), module.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    assert!(timeout(SECOND * 3, table.move_by(300.0)).await.is_err());
    assert_eq!(module.with(|m| m.on()), [1]);
    let busy = table.move_by(10.0).await.unwrap();
    assert!(matches!(busy, Moved::Refused { rule: "motion-busy", .. }), "{busy:?}");
    assert!(matches!(table.stop().await.unwrap(), Moved::StoppedAt(Some(_))));
    module.with(|m| assert!(m.on().is_empty() && m.platform.stands()));
    assert!(matches!(table.position(), Position::Estimated(_)));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_ends_by_our_own_watch() {
    let module = module();
    let mut table = speak(&options(&[USB]), module.link()).await.unwrap();
    let half = table.rotate(6.0).await.unwrap_err().to_string();
    assert!(half.contains("turns at 12 degrees a second"), "{half}");
    table.rotate(-12.0).await.unwrap();
    assert_eq!(module.with(|m| m.on()), [2]);
    for _ in 0..40 {
        tokio::time::sleep(SECOND).await;
        table.heartbeat().await.unwrap();
    }
    assert!(module.with(|m| m.on().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_way_shorter_than_it_coasts_is_refused() {
    let module = module();
    let mut table = speak(&options(&[USB, "coast_deg = 5.0"]), module.link()).await.unwrap();
    let short = table.move_by(4.0).await.unwrap();
    let Moved::Refused { rule: "motion-too-short", reason } = short else { panic!("{short:?}") };
    assert!(reason.contains("6.2"), "{reason}");
    assert_eq!(module.with(|m| m.platform.starts), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_told_and_the_relay_is_off_first_when_it_is_back() {
    let module = module();
    let mut table = speak(&options(&[USB]), module.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    let start = module.with(|m| m.platform.truly_deg());
    module.cut_when(move |m| m.platform.truly_deg() > start + 20.0);
    let error = table.move_by(60.0).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    assert_eq!(table.position(), Position::Unknown);
    drop(table);
    let lost = module.with(|m| m.platform.truly_deg());
    tokio::time::sleep(SECOND * 300).await;
    module.with(|m| {
        assert_eq!(m.on(), [1], "a relay that nobody reaches stays on: no dead man");
        assert!(m.platform.truly_deg() - lost > 3500.0, "and turns on, whatever it was asked for");
    });
    let table = speak(&options(&[USB]), module.link()).await.unwrap();
    module.with(|m| assert!(m.on().is_empty() && m.platform.stands() && m.platform.starts == 1));
    assert_eq!(table.position(), Position::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_platform_with_a_run_limit_of_its_own_stands_within_the_degrees_that_it_tells() {
    let module = module();
    module.with(|m| m.platform.run_limit = Some(SECOND * 10));
    let mut table = speak(&options(&[USB, "run_limit_s = 10.0"]), module.link()).await.unwrap();
    let WithoutLink::RunsOn(Some(limit)) = table.info().without_link else { panic!("{:?}", table.info()) };
    assert_eq!((limit.way_deg, limit.ends_deg), (96.0, 138.0));
    zeroed(table.as_mut()).await;
    let too_far = table.move_by(97.0).await.unwrap();
    let Moved::Refused { rule: "motion-run-limit", reason } = too_far else { panic!("{too_far:?}") };
    assert!(reason.contains("run_limit_s") && module.with(|m| m.platform.starts == 0), "{reason}");
    assert!(matches!(table.move_by(96.0).await.unwrap(), Moved::Done(_)));
    module.with(|m| near(m.platform.truly_deg(), 52.2 + 96.0, 0.2));

    let start = module.with(|m| m.platform.truly_deg());
    module.cut_when(move |m| m.platform.truly_deg() > start + 1.0);
    let error = table.move_by(5.0).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    tokio::time::sleep(SECOND * 300).await;
    module.with(|m| {
        let turned = m.platform.truly_deg() - start;
        assert!(m.platform.stands() && turned > 100.0 && turned <= limit.ends_deg, "{turned}");
    });
}

#[tokio::test]
async fn relay_bytes_go_over_a_serial_port() {
    let folder = tempfile::tempdir().unwrap();
    let module = module();
    module.with(|m| m.has_enable = true);
    let mut port = Port::new(&folder.path().join("usb-relay")).unwrap();
    let keys = format!("{}\nenable = 3\nserial = \"{}\"", USB.replace("1500", "100"), port.name());
    let options = options(&[&keys]);
    let scene = async {
        turnstage_drivers::turntable::check(&options).unwrap();
        let mut table = turnstage_drivers::turntable::open(&options, &Surroundings::default()).await.unwrap();
        let moved = table.move_by(6.0).await;
        // The last bytes are on their way: an off is done when the far end has it.
        table.stop().await.unwrap();
        moved
    };
    let moved = tokio::select! { moved = scene => moved, () = module.serve(&mut port) => unreachable!() };
    assert!(matches!(moved, Ok(Moved::Done(_))), "{moved:?}");
    module.with(|m| assert!(m.platform.starts == 1 && m.refused == 0 && m.taken >= 9));
}
