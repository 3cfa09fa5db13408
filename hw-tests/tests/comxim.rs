//! The ComXim profile against a table with physics: within the process in paused time, and over a real serial port.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use turnstage_drivers::turntable::{self, Direction, Reference, Target};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::turntable::{conform, conform_seen};
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::comxim::{Fault, Knobs, Table};

/// A degree that is lost on the way from one number to another.
const NEAR_DEG: f64 = 0.02;

fn options(keys: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"profile\"\nprofile = \"comxim\"\n{keys}")).unwrap()
}

fn cable(knobs: Knobs) -> Cable<Table> {
    Cable::new(Table::new(knobs))
}

async fn open(cable: &Cable<Table>) -> Box<dyn Turntable> {
    turntable::speak(&options(""), cable.link()).await.unwrap()
}

/// Opened, and zero is declared where it stands.
async fn referenced(cable: &Cable<Table>) -> Box<dyn Turntable> {
    let mut table = open(cable).await;
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    table
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

#[track_caller]
fn near(seen: f64, wanted: f64) {
    assert!((seen - wanted).abs() < NEAR_DEG, "{seen} instead of {wanted}");
}

/// 36 frames round: every angle is truly reached, each motion is told once.
async fn goes_round(cable: &Cable<Table>) {
    let mut table = referenced(cable).await;
    let zero = cable.with(|t| t.truly_deg());
    for step in 1..=36 {
        let target = f64::from(step) * 10.0;
        let moved = table.move_to(forward(target)).await.unwrap();
        assert!(
            matches!(moved, Moved::Done(angle) if angle.distance(Angle::new(target)) < NEAR_DEG),
            "{moved:?}"
        );
        near(cable.with(|t| t.truly_deg()) - zero, target);
        assert!(!cable.with(|t| t.is_moving()), "it stands when it says so");
    }
    let told = cable.with(|t| t.told.clone());
    assert_eq!(told.len(), 36, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_36_frames_reaches_each_angle_and_tells_each_motion_once() {
    let cable = cable(Knobs::default());
    goes_round(&cable).await;
    assert_eq!(cable.with(|t| t.commands.first().cloned()).as_deref(), Some("CT+SETSTOP()"));
    assert!(cable.with(|t| t.beats) > 10, "heartbeats are answered");
}

#[tokio::test(start_paused = true)]
async fn noise_foreign_letters_and_heartbeats_within_messages_change_nothing() {
    let noise = b"\r\n\x00".to_vec();
    goes_round(&cable(Knobs { beats_within: true, noise, ..Knobs::default() })).await;
}

#[tokio::test(start_paused = true)]
async fn older_firmware_with_another_spelling_and_no_queries_goes_round_as_well() {
    let old = Knobs { newer_spelling: false, tells_offset: false, tells_who: false, ..Knobs::default() };
    let cable = cable(old);
    goes_round(&cable).await;
    let wrong = cable.with(|t| t.commands.iter().filter(|c| c.contains("TURNSINGLE")).count());
    assert_eq!(wrong, 1, "it is asked once which spelling it knows");
}

#[tokio::test(start_paused = true)]
async fn lost_ends_and_lost_answers_move_nothing_twice() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    let zero = cable.with(|t| t.truly_deg());
    for (step, fault) in [Fault::LoseEnd(1), Fault::LoseAnswer(1), Fault::LoseEnd(1)].into_iter().enumerate()
    {
        cable.with(|t| t.fail(fault));
        let target = (step as f64 + 1.0) * 40.0;
        let moved = table.move_to(forward(target)).await.unwrap();
        assert!(matches!(moved, Moved::Done(_)), "{fault:?}: {moved:?}");
        near(cable.with(|t| t.truly_deg()) - zero, target);
        assert_eq!(cable.with(|t| t.told.len()), step + 1, "{fault:?}");
    }
    // Both at once.
    cable.with(|t| {
        t.fail(Fault::LoseAnswer(1));
        t.fail(Fault::LoseEnd(1));
    });
    let moved = table.move_to(forward(160.0)).await.unwrap();
    assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
    assert_eq!(cable.with(|t| t.told.len()), 4);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_late_is_not_the_end_of_the_next_turn() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    let zero = cable.with(|t| t.truly_deg());
    for target in [40.0, 50.0] {
        cable.with(|t| t.fail(Fault::LateEnd));
        let moved = table.move_to(forward(target)).await.unwrap();
        assert!(!cable.with(|t| t.is_moving()), "{moved:?}, and it turns");
        assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
        near(cable.with(|t| t.truly_deg()) - zero, target);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_motor_is_stopped_and_not_believed() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    let zero = cable.with(|t| t.truly_deg());
    cable.with(|t| t.fail(Fault::StallAfter(25.0)));
    let moved = table.move_to(forward(90.0)).await.unwrap();
    let Moved::StoppedAt(Some(angle)) = moved else { panic!("{moved:?}") };
    near(angle.deg(), 25.0);
    near(cable.with(|t| t.truly_deg()) - zero, 25.0);
    assert!(matches!(table.position(), Position::Estimated(_)));
    assert_eq!(cable.with(|t| t.told.len()), 1);
    assert_eq!(cable.with(|t| t.commands.last().cloned()).as_deref(), Some("CT+SETSTOP()"));
}

#[tokio::test(start_paused = true)]
async fn a_reboot_on_the_way_is_no_success_and_moves_nothing_again() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    cable.with(|t| t.fail(Fault::RebootAfter(30.0)));
    let moved = table.move_to(forward(90.0)).await;
    assert!(!matches!(moved, Ok(Moved::Done(_))), "{moved:?}");
    assert!(!matches!(table.position(), Position::Known(..)), "{:?}", table.position());
    assert_eq!(cable.with(|t| t.told.len()), 1);
    let again = table.move_to(forward(90.0)).await.unwrap();
    assert!(matches!(again, Moved::Refused { rule: "motion-not-referenced", .. }), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_power_was_gone_is_set_up_again_before_it_moves() {
    let cable = cable(Knobs { boot: Duration::from_secs(12), ..Knobs::default() });
    let keys = options("levels = [[1, 40.0], [3, 20.0]]\nspeed_deg_s = 20.0");
    let mut table = turntable::speak(&keys, cable.link()).await.unwrap();
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    // Its adapter stays.
    cable.with(|t| t.reboot());
    let mut missed = None;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        missed = missed.or(table.heartbeat().await.err());
    }
    assert!(matches!(missed, Some(TurntableError::NoReply { .. })), "{missed:?}");
    let before = cable.with(|t| t.commands.len());
    table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    let again = cable.with(|t| t.commands[before..].to_vec());
    for command in ["CT+SETSTOP()", "CT+EVENT(1)", "CT+SETSPEED(3)"] {
        assert!(again.iter().any(|told| told == command), "{command} is missing: {again:?}");
    }
    assert_eq!(again[0], "CT+SETSTOP()", "stop comes first");
    assert!(matches!(table.move_by(30.0).await, Ok(Moved::Done(_))));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_falls_silent_on_the_way_is_told_to_stop_and_its_place_is_unknown() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    cable.with(|t| t.fail(Fault::HangAfter(10.0)));
    let moved = table.move_to(forward(90.0)).await;
    assert!(matches!(moved, Err(TurntableError::Fault { .. })), "{moved:?}");
    assert_eq!(table.position(), Position::Unknown);
    assert_eq!(cable.with(|t| t.told.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_halts_within_the_braking_way_and_says_where() {
    let cable = cable(Knobs::default());
    let mut table = referenced(&cable).await;
    let zero = cable.with(|t| t.truly_deg());
    let cut = tokio::time::timeout(Duration::from_secs(2), table.move_to(forward(180.0))).await;
    assert!(cut.is_err());
    let before = cable.with(|t| t.truly_deg());
    let moved = table.stop().await.unwrap();
    let truly = cable.with(|t| t.truly_deg());
    let Moved::StoppedAt(Some(angle)) = moved else { panic!("{moved:?}") };
    near(angle.deg(), truly - zero);
    assert!(truly - before < 12.0, "40 degrees a second and 80 per second squared: 10 degrees and an answer");
    assert!(!cable.with(|t| t.is_moving()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_right_after_the_command_of_a_turn_is_heard_and_waited_for() {
    for gap in [100, 290] {
        let cable = cable(Knobs { gap: Duration::from_millis(gap), ..Knobs::default() });
        let mut table = referenced(&cable).await;
        let zero = cable.with(|t| t.truly_deg());
        let told = cable.with(|t| t.commands.len());
        tokio::select! {
            moved = table.move_to(forward(180.0)) => panic!("{moved:?}"),
            () = async {
                while cable.with(|t| t.commands.len()) == told {
                    tokio::task::yield_now().await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Its answer is on the way.
                tokio::time::sleep(Duration::from_millis(10)).await;
            } => {}
        }
        let moved = table.stop().await.unwrap();
        assert!(!cable.with(|t| t.is_moving()), "{gap} ms: {moved:?}");
        assert_eq!(cable.with(|t| t.unheard()), 1, "the first stop came too soon");
        let Moved::StoppedAt(Some(angle)) = moved else { panic!("{moved:?}") };
        near(angle.deg(), cable.with(|t| t.truly_deg()) - zero);
        tokio::time::sleep(Duration::from_secs(5)).await;
        near(angle.deg(), cable.with(|t| t.truly_deg()) - zero);
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_brakes_for_long_is_not_told_to_stand_before_it_does() {
    let cable = cable(Knobs { acceleration: 12.0, ..Knobs::default() });
    let mut table = referenced(&cable).await;
    let cut = tokio::time::timeout(Duration::from_secs(5), table.move_to(forward(350.0))).await;
    assert!(cut.is_err());
    let moved = table.stop().await.unwrap();
    assert!(matches!(moved, Moved::StoppedAt(Some(_))), "{moved:?}");
    assert!(!cable.with(|t| t.is_moving()));
}

#[tokio::test(start_paused = true)]
async fn every_promise_of_a_turntable_is_kept() {
    let cable = cable(Knobs::default());
    let keys = options("levels = [[1, 40.0], [3, 20.0], [7, 10.0]]");
    let eye = cable.clone();
    let table = turntable::speak(&keys, cable.link()).await.unwrap();
    let report = conform_seen(table, Eye::of(move || eye.with(|t| t.truly_deg()))).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
}

/// A table on a pseudo-terminal behind a name that stays.
struct OnPort {
    cable: Cable<Table>,
    port: Port,
    options: DeviceOptions,
    _folder: tempfile::TempDir,
}

impl OnPort {
    fn new(knobs: Knobs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::new(&folder.path().join("usb-1a86_USB_Serial-if00-port0")).unwrap();
        let (fast, slow) = (knobs.speed, knobs.speed / 2.0);
        let levels = format!("levels = [[1, {fast:.1}], [3, {slow:.1}]]");
        let keys = format!("serial = \"{}\"\nsettle_ms = 50\n{levels}", port.name());
        Self { cable: cable(knobs), port, options: options(&keys), _folder: folder }
    }

    async fn open(options: &DeviceOptions) -> Result<Box<dyn Turntable>, TurntableError> {
        turntable::open(options, &Surroundings::default()).await
    }
}

fn quick() -> Knobs {
    Knobs { speed: 180.0, acceleration: 1000.0, ..Knobs::default() }
}

#[tokio::test]
async fn every_promise_is_kept_over_a_serial_port() {
    let mut on = OnPort::new(quick());
    let options = on.options.clone();
    let report = tokio::select! {
        report = async { conform(OnPort::open(&options).await.unwrap()).await } => report,
        () = on.cable.serve(&mut on.port) => panic!("nobody pulled the plug"),
    };
    assert_eq!(report.broken(), [""; 0], "{report}");
}

#[tokio::test]
async fn a_table_that_is_unplugged_on_the_way_comes_back_under_another_number_and_moves_nothing_by_itself() {
    let mut on = OnPort::new(quick());
    let options = on.options.clone();
    let first_node = on.port.node().unwrap();
    on.cable.cut_when(|t| t.truly_deg() > 137.25 + 40.0);
    let drive = async {
        let mut table = OnPort::open(&options).await.unwrap();
        table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        let moved = table.move_to(forward(90.0)).await;
        (moved, table.position())
    };
    let ((moved, position), ()) = tokio::join!(drive, on.cable.serve(&mut on.port));
    assert!(matches!(moved, Err(TurntableError::LinkLost { .. })), "{moved:?}");
    assert_eq!(position, Position::Unknown);
    let gone = OnPort::open(&options).await.err().unwrap();
    assert!(matches!(gone, TurntableError::Unavailable { .. }), "{gone}");

    on.port.plug().unwrap();
    assert_ne!(on.port.node().unwrap(), first_node);
    let before = on.cable.with(|t| (t.told.len(), t.commands.len()));
    let back = async {
        let mut table = OnPort::open(&options).await.unwrap();
        let refused = table.move_to(forward(90.0)).await.unwrap();
        assert!(matches!(refused, Moved::Refused { rule: "motion-not-referenced", .. }), "{refused:?}");
    };
    tokio::select! {
        () = back => {}
        () = on.cable.serve(&mut on.port) => panic!("nobody pulled the plug"),
    }
    assert_eq!(before.0, 1);
    assert_eq!(on.cable.with(|t| t.told.len()), 1, "nothing moved again");
    assert_eq!(on.cable.with(|t| t.commands[before.1].clone()), "CT+SETSTOP()", "stop comes first");
}

#[tokio::test]
async fn a_port_that_is_open_already_is_told_to_be_held() {
    let mut on = OnPort::new(quick());
    let options = on.options.clone();
    let both = async {
        let first = OnPort::open(&options).await.unwrap();
        let second = OnPort::open(&options).await.err().unwrap();
        drop(first);
        second
    };
    let second = tokio::select! {
        second = both => second,
        () = on.cable.serve(&mut on.port) => panic!("nobody pulled the plug"),
    };
    assert!(matches!(second, TurntableError::Unavailable { .. }), "{second}");
}

#[tokio::test]
async fn a_table_behind_wifi_speaks_the_same_text_and_a_lost_connection_is_a_lost_link() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // It is faster than is believed of a table that was not measured.
    let tcp = listener.local_addr().unwrap();
    let options = options(&format!("tcp = \"{tcp}\"\nlevels = [[1, 180.0]]"));
    let cable = cable(quick());
    cable.cut_when(|t| t.truly_deg() > 137.25 + 60.0);
    let drive = async {
        let mut table = OnPort::open(&options).await.unwrap();
        table.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        let there = table.move_to(forward(30.0)).await.unwrap();
        (there, table.move_to(forward(90.0)).await)
    };
    let serve = async {
        cable.serve_network(&listener).await;
        drop(listener);
    };
    let ((there, lost), ()) = tokio::join!(drive, serve);
    assert!(matches!(there, Moved::Done(_)), "{there:?}");
    assert!(matches!(lost, Err(TurntableError::LinkLost { .. })), "{lost:?}");
    assert_eq!(cable.with(|t| t.told.len()), 2);
}
