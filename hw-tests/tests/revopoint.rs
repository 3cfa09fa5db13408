//! A Revopoint table by its profile: on a direct link in paused time, and over the whole chain of profile, Bluetooth
//! link, Bluetooth stack and simulated Bluetooth daemon.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use turnstage_drivers::turntable::{self, Reference, Sighting};
use turnstage_drivers::{Angle, DeviceOptions, Moved, Position, Surroundings, Turntable, TurntableError};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::turntable::{conform, conform_seen};
use turnstage_hw_tests::wire::bluez::{self, Bluez};
use turnstage_hw_tests::wire::bus::{Bus, alone};
use turnstage_hw_tests::wire::peer::{Direct, Shared};
use turnstage_hw_tests::wire::revopoint::{Fault, Knobs, Revopoint};

const HERE: &str = "E4:8F:80:46:12:43";

fn simulated(knobs: Knobs) -> Shared<Revopoint> {
    Arc::new(Mutex::new(Revopoint::new(knobs, 0.0)))
}

fn quick(faults: &[(u32, Fault)]) -> Shared<Revopoint> {
    let faults = BTreeMap::from_iter(faults.iter().copied());
    simulated(Knobs { time_scale: 20.0, faults, ..Knobs::default() })
}

fn options(keys: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"profile\"\nprofile = \"revopoint-dual-axis\"\n{keys}")).unwrap()
}

async fn spoken_to(table: &Shared<Revopoint>, keys: &str) -> Box<dyn Turntable> {
    let link = Direct::open(table.clone()).unwrap();
    turntable::speak(&options(keys), Box::new(link)).await.unwrap()
}

/// Where the platter truly stands, our way round: the table counts clockwise.
fn truth(table: &Shared<Revopoint>) -> f64 {
    -table.lock().unwrap().true_deg(Instant::now())
}

fn motions(table: &Shared<Revopoint>) -> u32 {
    table.lock().unwrap().motions()
}

fn told(table: &Shared<Revopoint>) -> Vec<String> {
    table.lock().unwrap().told()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.05
}

#[tokio::test(start_paused = true)]
async fn the_profile_keeps_the_promises_of_a_table_with_every_firmware() {
    let of = |firmware: &str| Knobs { firmware: firmware.to_owned(), ..Knobs::default() };
    for knobs in [
        of("3.28"),
        of("3.20"),
        Knobs { terminated: true, stop_tells: true, ..of("4.1") },
        Knobs { stale_in_motion: false, start_s: 0.6, ..of("3.28") },
    ] {
        let table = simulated(knobs.clone());
        let (turn, tilt) = (table.clone(), table.clone());
        let tilted = move || tilt.lock().unwrap().tilt_deg(Instant::now());
        let eye = Eye::of(move || truth(&turn)).and_tilt(tilted);
        let report = conform_seen(spoken_to(&table, "speed_deg_s = 20.0").await, eye).await;
        assert_eq!(report.broken(), [""; 0], "{knobs:?}\n{report}");
        // It has been told to stop, and brakes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!table.lock().unwrap().is_moving(Instant::now()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_profile_believes_is_where_the_platter_stands() {
    let table = simulated(Knobs::default());
    let mut driver = spoken_to(&table, "").await;
    assert_eq!(driver.info().firmware.as_deref(), Some("3.28"));
    driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    for (by, is) in [(90.0, 90.0), (-30.0, 60.0), (360.0, 420.0)] {
        assert!(
            matches!(driver.move_by(by).await, Ok(Moved::Done(angle)) if near(angle.distance(Angle::new(is)), 0.0))
        );
        assert!(near(truth(&table), is), "{}", truth(&table));
    }
    assert!(matches!(driver.tilt_to(-12.0).await, Ok(Moved::Done(_))));
    assert!(near(table.lock().unwrap().tilt_deg(Instant::now()), -12.0));
    assert!(matches!(driver.tilt_to(31.0).await, Ok(Moved::Refused { .. })));
    assert_eq!(motions(&table), 3);
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_a_motion_makes_it_move_twice_or_lets_a_wrong_place_pass_for_known() {
    for fault in [
        Fault::LostAck,
        Fault::LostCompletion,
        Fault::Garbage,
        Fault::Stall { after_deg: 40.0 },
        Fault::Mute { after_deg: 40.0 },
        Fault::LinkDrop { after_deg: 40.0, for_s: 3.0 },
        Fault::Reboot { after_deg: 40.0 },
    ] {
        for firmware in ["3.28", "3.20"] {
            let faults = BTreeMap::from([(1, fault)]);
            let table = simulated(Knobs { firmware: firmware.to_owned(), faults, ..Knobs::default() });
            let mut driver = spoken_to(&table, "").await;
            driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
            let moved = driver.move_by(90.0).await;
            assert_eq!(motions(&table), 1, "{fault:?} {firmware}: {:?}", told(&table));
            if let Position::Known(angle, _) = driver.position() {
                assert!(
                    near(angle.deg(), truth(&table)),
                    "{fault:?} {firmware}: {moved:?}, {}",
                    truth(&table)
                );
            }
            let harmless = matches!(fault, Fault::LostAck | Fault::LostCompletion | Fault::Garbage);
            let done = matches!(moved, Ok(Moved::Done(_)));
            assert_eq!(done, harmless, "{fault:?} {firmware}: {moved:?}");
        }
    }
}

const STOPS: [&str; 2] = ["+CT,STOP;", "+CR,STOP;"];

/// One that has fallen silent is stopped before anything else, whatever it is asked for, and never turns.
async fn is_stopped_first_and_never_moved(driver: &mut dyn Turntable, table: &Shared<Revopoint>) {
    let turned = motions(table);
    for asked in 0..3 {
        let before = told(table).len();
        let answer = match asked {
            0 => driver.move_by(20.0).await,
            1 => driver.reference(Reference::At(Angle::new(0.0))).await,
            _ => driver.stop().await,
        };
        assert!(matches!(answer, Err(TurntableError::NoReply { .. })), "{asked}: {answer:?}");
        assert_eq!(told(table)[before..before + 2], STOPS, "{asked}");
        assert_eq!(driver.position(), Position::Unknown, "{asked}");
    }
    assert_eq!(motions(table), turned, "{:?}", told(table));
}

/// Opened, referenced, and it has turned once.
async fn well(table: &Shared<Revopoint>) -> Box<dyn Turntable> {
    let mut driver = spoken_to(table, "").await;
    driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
    assert!(matches!(driver.move_by(30.0).await, Ok(Moved::Done(_))));
    driver
}

#[tokio::test(start_paused = true)]
async fn a_table_that_falls_silent_at_rest_is_noticed_in_time_stopped_first_and_not_moved() {
    for firmware in ["3.28", "3.20"] {
        let table = simulated(Knobs { firmware: firmware.to_owned(), ..Knobs::default() });
        let mut driver = well(&table).await;
        table.lock().unwrap().fall_mute();
        let (begun, before) = (Instant::now(), told(&table).len());
        let error = loop {
            // As often as the motion task looks.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody notices");
            if let Err(error) = driver.heartbeat().await {
                break error;
            }
        };
        assert!(matches!(error, TurntableError::NoReply { .. }), "{error}");
        // Asked after five seconds of silence, it has three to answer.
        assert!(begun.elapsed() <= Duration::from_secs(9), "{:?}", begun.elapsed());
        assert_eq!(driver.position(), Position::Unknown);
        assert_eq!(told(&table)[before..], ["+QT,CHANGEANGLE;"]);
        is_stopped_first_and_never_moved(driver.as_mut(), &table).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_falls_silent_in_mid_move_is_noticed_in_time_stopped_first_and_told_nothing_twice() {
    for firmware in ["3.28", "3.20"] {
        let faults = BTreeMap::from([(2, Fault::Mute { after_deg: 40.0 })]);
        let table = simulated(Knobs { firmware: firmware.to_owned(), faults, ..Knobs::default() });
        let mut driver = well(&table).await;
        let (begun, before) = (Instant::now(), told(&table).len());
        let moved = driver.move_by(90.0).await.unwrap();
        assert_eq!(moved, Moved::OutcomeUnknown, "{firmware}");
        assert!(begun.elapsed() <= driver.info().move_limit, "{:?}", begun.elapsed());
        // Half as long again as 90 degrees take, two seconds of grace, and three each for two answers.
        assert!(begun.elapsed() <= Duration::from_secs(23), "{:?}", begun.elapsed());
        assert_eq!(driver.position(), Position::Unknown);
        let told = told(&table)[before..].to_vec();
        assert_eq!(told[..2], ["+CT,TURNANGLE=-90;", "+QT,CHANGEANGLE;"]);
        // Twice, because the first may have come before it had dealt with the question.
        assert_eq!(told[2..], [STOPS, STOPS].concat());
        is_stopped_first_and_never_moved(driver.as_mut(), &table).await;
    }
}

/// The whole chain.
struct Chain {
    bus: Bus,
    bluez: Bluez,
    table: Shared<Revopoint>,
}

impl Chain {
    async fn new(bus: Bus, table: Shared<Revopoint>) -> Self {
        let bluez = Bluez::start(&bus.address(), bluez::Knobs::default(), vec![table.clone()]).await.unwrap();
        Self { bus, bluez, table }
    }

    async fn open(&self, keys: &str) -> Box<dyn Turntable> {
        let options = options(&format!("ble = \"{HERE}\"\n{keys}"));
        turntable::check(&options).unwrap();
        turntable::open(&options, &Surroundings::default()).await.unwrap_or_else(|e| panic!("{e}"))
    }

    async fn referenced(&self) -> Box<dyn Turntable> {
        let mut driver = self.open("").await;
        driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        driver
    }

    /// What reached the table since it had been told so much, by the first `count` commands.
    fn since(&self, before: usize, count: usize) -> Vec<String> {
        told(&self.table)[before..].iter().take(count).cloned().collect()
    }
}

#[test]
fn over_bluetooth_the_table_turns_tilts_and_stops() {
    alone(async |bus| {
        let chain = Chain::new(bus, quick(&[])).await;
        let mut driver = chain.referenced().await;
        assert_eq!(chain.since(0, 3), ["+CT,STOP;", "+CR,STOP;", "+QR,VERSION;"]);
        let moved = driver.move_by(90.0).await.unwrap();
        assert!(matches!(moved, Moved::Done(angle) if near(angle.deg(), 90.0)), "{moved:?}");
        assert!(near(truth(&chain.table), 90.0));
        assert!(matches!(driver.tilt_to(15.0).await, Ok(Moved::Done(_))));
        assert!(near(chain.table.lock().unwrap().tilt_deg(Instant::now()), 15.0));
        // 360 degrees take 1.7 s.
        let cut = timeout(Duration::from_millis(500), driver.move_by(360.0)).await;
        assert!(cut.is_err(), "{cut:?}");
        let stopped = driver.stop().await.unwrap();
        assert!(matches!(stopped, Moved::StoppedAt(_)), "{stopped:?}");
        assert!(!matches!(driver.position(), Position::Known(..)));
        chain
            .bluez
            .until("the platter stands", |_| !chain.table.lock().unwrap().is_moving(Instant::now()))
            .await;
        let stands = truth(&chain.table);
        assert!((100.0..400.0).contains(&stands), "{stands}");
        assert_eq!(motions(&chain.table), 2);
    });
}

#[test]
fn a_bluetooth_link_that_is_lost_in_a_move_moves_nothing_twice() {
    alone(async |bus| {
        let chain = Chain::new(bus, quick(&[(2, Fault::LinkDrop { after_deg: 30.0, for_s: 4.0 })])).await;
        let mut driver = chain.referenced().await;
        driver.move_by(10.0).await.unwrap();
        let lost = driver.move_by(180.0).await;
        assert!(matches!(lost, Err(TurntableError::LinkLost { .. })), "{lost:?}");
        assert!(!matches!(driver.position(), Position::Known(..)), "{:?}", driver.position());
        let before = told(&chain.table).len();
        drop(driver);
        let mut driver = chain.open("").await;
        assert_eq!(chain.since(before, 3), ["+CT,STOP;", "+CR,STOP;", "+QR,VERSION;"], "a stop comes first");
        assert_eq!(driver.position(), Position::Unknown);
        assert_eq!(motions(&chain.table), 2, "{:?}", told(&chain.table));
        chain
            .bluez
            .until("the platter stands", |_| !chain.table.lock().unwrap().is_moving(Instant::now()))
            .await;
        let stands = truth(&chain.table);
        driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        assert!(matches!(driver.move_by(20.0).await, Ok(Moved::Done(angle)) if near(angle.deg(), 20.0)));
        assert!(near(truth(&chain.table), stands + 20.0));
        assert_eq!(motions(&chain.table), 3);
    });
}

#[test]
fn a_table_that_starts_anew_in_a_move_is_opened_again_when_it_is_back_and_has_no_position() {
    alone(async |bus| {
        let chain = Chain::new(bus, quick(&[(1, Fault::Reboot { after_deg: 30.0 })])).await;
        let mut driver = chain.referenced().await;
        let lost = driver.move_by(90.0).await;
        assert!(matches!(lost, Err(TurntableError::LinkLost { .. })), "{lost:?}");
        drop(driver);
        let mut driver = chain.open("").await;
        assert_eq!(driver.position(), Position::Unknown);
        assert!(near(truth(&chain.table), 30.0), "{}", truth(&chain.table));
        driver.reference(Reference::At(Angle::new(30.0))).await.unwrap();
        assert!(matches!(driver.move_by(60.0).await, Ok(Moved::Done(angle)) if near(angle.deg(), 90.0)));
        assert!(near(truth(&chain.table), 90.0));
        assert_eq!(motions(&chain.table), 2);
    });
}

#[test]
fn a_bluetooth_daemon_that_stops_in_a_move_moves_nothing_twice() {
    alone(async |bus| {
        let chain = Chain::new(bus, quick(&[])).await;
        let mut driver = chain.referenced().await;
        let Chain { bus, bluez, table } = chain;
        let (moved, ()) = tokio::join!(driver.move_by(360.0), async {
            bluez.until("it moves", |_| table.lock().unwrap().is_moving(Instant::now())).await;
            drop(bluez);
        });
        assert!(matches!(moved, Err(TurntableError::LinkLost { .. })), "{moved:?}");
        drop(driver);
        let chain = Chain::new(bus, table).await;
        let driver = chain.open("").await;
        assert_eq!((driver.position(), motions(&chain.table)), (Position::Unknown, 1));
        drop(chain.bus);
    });
}

#[test]
fn a_lost_word_or_noise_over_bluetooth_is_looked_for_by_asking() {
    alone(async |bus| {
        let faults = [(1, Fault::LostCompletion), (2, Fault::Garbage), (3, Fault::LostAck)];
        let chain = Chain::new(bus, quick(&faults)).await;
        let mut driver = chain.open("speed_deg_s = 20.0").await;
        driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        for turn in 1..=3 {
            let moved = driver.move_by(30.0).await.unwrap();
            let there = f64::from(turn) * 30.0;
            assert!(matches!(moved, Moved::Done(angle) if near(angle.deg(), there)), "{turn}: {moved:?}");
            assert!(near(truth(&chain.table), there));
        }
        assert_eq!(motions(&chain.table), 3);
    });
}

#[test]
fn a_table_near_by_is_listed_with_the_section_that_opens_it() {
    alone(async |bus| {
        let chain = Chain::new(bus, quick(&[])).await;
        let driver = turntable::DRIVERS.iter().find(|driver| driver.name == "profile").unwrap();
        let listed = (driver.list)().await;
        let ours = listed.iter().find(|listing| listing.id == HERE).unwrap();
        assert_eq!((ours.problem.as_ref(), ours.tried), (None, false));
        let options = ours.options.clone().unwrap();
        let table = turntable::open(&options, &Surroundings::default()).await.unwrap();
        assert_eq!(table.info().model, "Revopoint Dual Axis Turntable");
        assert_eq!(motions(&chain.table), 0);
    });
}

/// In real time: the suite knows how long a turn must take.
#[test]
fn over_bluetooth_every_promise_of_a_table_is_kept() {
    alone(async |bus| {
        let chain = Chain::new(bus, simulated(Knobs::default())).await;
        let report = conform(chain.open("speed_deg_s = 20.0").await).await;
        assert_eq!(report.broken(), [""; 0], "{report}");
        println!("{report}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_silent_on_its_way_refuses_to_sweep_and_does_not_move() {
    for firmware in ["3.28", "3.20"] {
        let table = simulated(Knobs { firmware: firmware.to_owned(), ..Knobs::default() });
        let mut driver = spoken_to(&table, "").await;
        assert!(!driver.info().sweeps && driver.info().rotates.is_some());
        driver.reference(Reference::At(Angle::new(0.0))).await.unwrap();
        let (sender, seen) = watch::channel(None::<Sighting>);
        let Moved::Refused { rule: "motion-no-sweep", reason } =
            driver.sweep(360.0, 10.0, &sender).await.unwrap()
        else {
            panic!("it sweeps")
        };
        assert!(
            reason.contains("does not tell where it is") && reason.contains("stop_and_shoot"),
            "{reason}"
        );
        assert_eq!((motions(&table), *seen.borrow()), (0, None));
    }
}
