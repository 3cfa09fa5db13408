//! Behind a Modbus drive: an index switch that proves, a watch that halts, answers that are lost.

use super::*;

fn truly(drive: &Cable<Drive>) -> f64 {
    drive.with(|d| d.platform.truly_deg())
}

#[tokio::test(start_paused = true)]
async fn a_drive_with_a_speed_keeps_every_promise() {
    for (line, via) in [(Line::Rtu, "via = \"modbus-rtu\""), (Line::Tcp, "via = \"modbus-tcp\"")] {
        let drive = Cable::new(Drive::new(line, platform(72)));
        let keys = options(&[via, REGISTER, WATCH, "error_deg_max = 60.0\nindex_input = 4\npulses = 72"]);
        let table = speak(&keys, drive.link()).await.unwrap();
        assert!(table.info().without_link.is_dead_man(), "its watch was set and read back");
        let eye = drive.clone();
        let report = conform_seen(table, Eye::of(move || truly(&eye))).await;
        assert_eq!(report.broken(), [""; 0], "{report}");
        assert!(drive.with(|d| !d.platform.shorted && d.platform.stands()));
    }
}

#[tokio::test(start_paused = true)]
async fn coils_switch_the_other_direction_off_first() {
    let drive = drive(0);
    let mut table = speak(&options(&[COILS]), drive.link()).await.unwrap();
    assert!(!table.info().without_link.is_dead_man());
    table.move_by(20.0).await.unwrap();
    table.move_by(-20.0).await.unwrap();
    assert!(drive.with(|d| !d.platform.shorted && d.platform.starts == 2));
}

#[tokio::test(start_paused = true)]
async fn pins_prove_an_angle_however_the_platform_coasts() {
    // It comes to full speed, and to rest, within the ten degrees from pin to pin.
    let drive = Cable::new(Drive::new(Line::Rtu, Platform::new(12.0, 48.0, 36)));
    let keys = options(&[COILS, "index_input = 4\npulses = 36\nerror_deg = 3.0"]);
    let mut table = speak(&keys, drive.link()).await.unwrap();
    // To a first pin, and that is zero.
    table.move_by(10.0).await.unwrap();
    zeroed(table.as_mut()).await;
    let start = truly(&drive);
    for k in 1..=36 {
        let target = f64::from(k) * 10.0;
        assert_eq!(table.move_to(forward(target)).await.unwrap(), Moved::Done(Angle::new(target)));
        assert_eq!(table.position(), Position::Known(Angle::new(target), Source::Declared));
        near(truly(&drive) - start, target, 0.4);
    }
    assert_eq!(drive.with(|d| d.platform.starts), 37);
    // Between pins it goes by time, and that is an estimate.
    table.move_to(forward(15.0)).await.unwrap();
    assert_eq!(table.position(), Position::Estimated(Angle::new(15.0)));
    // From there it is certain which pin comes next.
    table.move_by(25.0).await.unwrap();
    assert_eq!(table.position(), Position::Known(Angle::new(40.0), Source::Declared));
    near(truly(&drive) - start, 400.0, 0.4);
}

#[tokio::test(start_paused = true)]
async fn a_platform_without_an_output_for_backward_says_that_it_turns_one_way() {
    let one = "via = \"modbus-rtu\"\nforward = 16\nenable = 18\ndeg_per_s = 12.0\nrest_ms = 1500";
    for (keys, way) in [(one, Some(Direction::Forward)), (COILS, None)] {
        let drive = drive(1);
        let table = speak(&options(&[keys]), drive.link()).await.unwrap();
        assert_eq!(table.info().one_way, way, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_pin_of_a_turn_is_its_home_and_corrects_the_time() {
    let drive = drive(1);
    let keys = options(&[
        COILS,
        "index_input = 4\npulses = 1\nerror_deg = 3.0\nerror_deg_max = 6.0\nhome_deg = 90.0",
    ]);
    let mut table = speak(&keys, drive.link()).await.unwrap();
    assert!(table.info().home);
    assert_eq!(table.reference(Reference::Home).await.unwrap(), Moved::Done(Angle::new(90.0)));
    let home = truly(&drive);
    assert_eq!(table.position(), Position::Known(Angle::new(90.0), Source::Home));
    table.move_by(200.0).await.unwrap();
    // Somebody helps: its belief is wrong until the pin comes by.
    drive.with(|d| d.platform.push(20.0));
    table.move_by(200.0).await.unwrap();
    let Position::Estimated(angle) = table.position() else { panic!("{:?}", table.position()) };
    assert_eq!(table.reckoned_deg(), Some(3.0), "what came after the pin is timed");
    near(angle.distance(Angle::new(truly(&drive) - home + 90.0)), 0.0, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_is_blocked_or_a_switch_that_fails_ends_with_everything_off() {
    for broken in [false, true] {
        let drive = drive(36);
        let keys = options(&[COILS, "index_input = 4\npulses = 36"]);
        let mut table = speak(&keys, drive.link()).await.unwrap();
        table.move_by(10.0).await.unwrap();
        zeroed(table.as_mut()).await;
        drive.with(|d| match broken {
            true => d.platform.switch_broken = true,
            false => d.platform.blocked_at = Some(d.platform.truly_deg() + 15.0),
        });
        let begun = Instant::now();
        let error = table.move_to(forward(90.0)).await.unwrap_err();
        assert!(matches!(error, TurntableError::Jammed { .. }), "{error}");
        assert!(begun.elapsed() < SECOND * 20, "{:?}", begun.elapsed());
        assert_eq!(table.position(), Position::Unknown);
        drive.with(|d| d.platform.blocked_at = None);
        table.stop().await.unwrap();
        let stands = truly(&drive);
        tokio::time::sleep(SECOND * 5).await;
        near(truly(&drive), stands, 1e-9);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_switching_on_is_not_sent_again() {
    let drive = drive(0);
    let mut table = speak(&options(&["via = \"modbus-rtu\"", REGISTER]), drive.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    // The first answer is that of the speed, which may be asked for again.
    drive.with(|d| d.knobs.lose_answers = 1);
    assert!(matches!(table.move_by(30.0).await.unwrap(), Moved::Done(_)));
    assert_eq!(drive.with(|d| d.platform.starts), 1);

    drive.with(|d| d.knobs.hides_starts = true);
    let error = table.move_by(30.0).await.unwrap_err();
    assert!(matches!(error, TurntableError::NoReply { .. }), "{error}");
    assert_eq!(table.position(), Position::Unknown);
    tokio::time::sleep(SECOND * 2).await;
    table.stop().await.unwrap();
    assert!(drive.with(|d| d.platform.starts == 2 && d.platform.stands()), "off was sent, on was not again");
}

#[tokio::test(start_paused = true)]
async fn a_dead_drive_is_given_up_and_one_with_a_watch_halts_by_itself() {
    let drive = drive(0);
    let keys = options(&["via = \"modbus-rtu\"", REGISTER, WATCH]);
    let mut table = speak(&keys, drive.link()).await.unwrap();
    zeroed(table.as_mut()).await;
    let start = truly(&drive);
    drive.cut_when(move |d| d.platform.truly_deg() > start + 20.0);
    let error = table.move_by(300.0).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    drop(table);
    tokio::time::sleep(SECOND * 4).await;
    assert!(drive.with(|d| d.tripped && d.platform.stands()));
    assert!(truly(&drive) - start < 60.0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_read_back_is_not_believed() {
    let drive = drive(0);
    drive.with(|d| d.knobs.watch_is_fixed = true);
    let error =
        speak(&options(&["via = \"modbus-rtu\"", REGISTER, WATCH]), drive.link()).await.err().unwrap();
    assert!(error.to_string().contains("reads 0 after 20 was written"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_unit_a_wrong_address_and_noise_are_told_and_move_nothing() {
    let drive = drive(0);
    let absent = speak(&options(&[COILS, "unit = 9"]), drive.link()).await.err().unwrap();
    let TurntableError::Unavailable { why, .. } = &absent else { panic!("{absent}") };
    assert!(why.contains("unit 9"), "{why}");
    let keys = COILS.replace("forward = 16", "forward = 90");
    let nowhere = speak(&options(&[&keys]), drive.link()).await.err().unwrap().to_string();
    assert!(nowhere.contains("no such address"), "{nowhere}");
    drive.with(|d| d.knobs.noise = vec![0xff, 0x00, 0x83]);
    assert!(speak(&options(&[COILS]), drive.link()).await.is_err());
    assert_eq!(drive.with(|d| d.platform.starts), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_tells_where_it_is_at_each_pin() {
    let drive = drive(36);
    // From 12 degrees a second it comes to rest within 6 degrees.
    let keys = options(&["via = \"modbus-rtu\"", REGISTER, "index_input = 4\npulses = 36\nrun_on_deg = 6.0"]);
    let mut table = speak(&keys, drive.link()).await.unwrap();
    let (sender, mut seen) = watch::channel(None::<Sighting>);
    let blind = table.sweep(90.0, 6.0, &sender).await.unwrap();
    assert!(matches!(blind, Moved::Refused { rule: "motion-not-referenced", .. }), "{blind:?}");
    table.move_by(10.0).await.unwrap();
    zeroed(table.as_mut()).await;
    let start = truly(&drive);
    let (mut sightings, mut track) = (Vec::new(), Vec::new());
    let mut step = tokio::time::interval(Duration::from_millis(2));
    {
        let sweep = table.sweep(180.0, 6.0, &sender);
        tokio::pin!(sweep);
        loop {
            tokio::select! {
                biased;
                moved = &mut sweep => break drop(moved.unwrap()),
                _ = seen.changed() => sightings.extend(*seen.borrow_and_update()),
                now = step.tick() => track.push((now, truly(&drive) - start)),
            }
        }
    }
    assert!((17..=18).contains(&sightings.len()), "{}", sightings.len());
    for seen in &sightings {
        let (_, was) = track.iter().rfind(|(at, _)| *at <= seen.at).copied().unwrap();
        near(was, seen.deg, seen.error_deg + 0.4);
    }
}

#[tokio::test]
async fn a_drive_is_reached_over_the_network_and_over_a_serial_port() {
    let quick =
        |keys: &str| keys.replace("1500", "50").replace("12.0", "72.0").replace("8.333333", "1.388889");
    let swift = || Platform::new(72.0, 3600.0, 0);
    let scene = |options: DeviceOptions| async move {
        let mut table = turnstage_drivers::turntable::open(&options, &Surroundings::default()).await?;
        let moved = table.move_by(20.0).await?;
        table.stop().await?;
        Ok::<_, TurntableError>((moved, table.info().without_link.is_dead_man()))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let drive = Cable::new(Drive::new(Line::Tcp, swift()));
    let address = format!("tcp = \"{}\"", listener.local_addr().unwrap());
    let keys = options(&["via = \"modbus-tcp\"", &quick(REGISTER), WATCH, &address]);
    let done =
        tokio::select! { done = scene(keys) => done, () = drive.serve_network(&listener) => unreachable!() };
    assert!(matches!(done.unwrap(), (Moved::Done(_), true)));
    near(truly(&drive), 52.2 + 20.0, 3.0);

    let folder = tempfile::tempdir().unwrap();
    let mut port = Port::new(&folder.path().join("usb-rs485")).unwrap();
    let drive = Cable::new(Drive::new(Line::Rtu, swift()));
    let address = format!("serial = \"{}\"\nbaud = 19200", port.name());
    let keys = options(&[&quick(COILS), &address]);
    let done = tokio::select! { done = scene(keys) => done, () = drive.serve(&mut port) => unreachable!() };
    assert!(matches!(done.unwrap(), (Moved::Done(_), false)));
    near(truly(&drive), 52.2 + 20.0, 3.0);
}

/// A drive on a slow line that carries one direction at a time, and takes its time to answer.
fn slow(pins: u32) -> Cable<Drive> {
    let drive = drive(pins);
    drive.with(|d| (d.baud, d.turnaround) = (9600, Duration::from_millis(40)));
    drive
}

/// How long after `moment` the motor was switched off.
fn off_after(drive: &Cable<Drive>, moment: Instant) -> Duration {
    drive.with(|d| d.platform.off_at.unwrap()).duration_since(moment)
}

const ASKED: &str = "index_input = 4\npulses = 36\nerror_deg = 3.0\nerror_deg_max = 60.0";

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_drive_answers_is_heard_at_once() {
    // Whatever was on the line at the time: the pause of a look and its question and answer take less than 90 ms.
    for more in 0..90 {
        let drive = slow(36);
        let mut table = speak(&options(&[COILS, ASKED]), drive.link()).await.unwrap();
        let until = Instant::now() + SECOND + Duration::from_millis(more);
        assert!(timeout_at(until, table.move_by(355.0)).await.is_err());
        table.stop().await.unwrap();
        let late = off_after(&drive, until);
        assert!(late < Duration::from_millis(100), "a stop {more} ms later was {late:?} late");
        assert_eq!(drive.with(|d| d.collisions), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timed_way_ends_in_time_whatever_was_asked_last() {
    for tenths in 0..20 {
        let drive = slow(36);
        let mut table = speak(&options(&[COILS, ASKED]), drive.link()).await.unwrap();
        zeroed(table.as_mut()).await;
        let start = truly(&drive);
        let degrees = 63.0 + f64::from(tenths) / 10.0;
        table.move_by(degrees).await.unwrap();
        near(truly(&drive) - start, degrees, 2.0);
        assert_eq!(drive.with(|d| d.collisions), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn switching_off_that_was_not_heard_is_asked_again_soon_and_doubted() {
    for (pins, keys) in [(0, "error_deg = 0.01\nerror_deg_max = 0.5"), (36, "index_input = 4\npulses = 36")] {
        let drive = slow(pins);
        let mut table =
            speak(&options(&["via = \"modbus-rtu\"", REGISTER, keys]), drive.link()).await.unwrap();
        table.move_by(10.0).await.unwrap();
        zeroed(table.as_mut()).await;
        drive.with(|d| d.knobs.miss_stops = 1);
        let start = truly(&drive);
        table.move_to(forward(40.0)).await.unwrap();
        let turned = truly(&drive) - start;
        assert!((40.4..43.5).contains(&turned), "asked again after {turned}");
        assert_eq!(table.position(), Position::Estimated(Angle::new(40.0)));
    }
}
