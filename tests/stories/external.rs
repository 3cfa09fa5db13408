//! A table that somebody else turns: a camera reads the marks on its rim, the shutter waits for the angle, and every
//! frame says where the simulated platter truly was.

use serde_json::Value;
use tempfile::TempDir;
use turnstage::arming::Armed;
use turnstage::command::{Accepted, Act};
use turnstage::session::SessionState;
use turnstage::status::Status;
use turnstage_cloud_sync::Record;
use turnstage_drivers::sim::{Booth, Object};
use turnstage_drivers::{Angle, Position};
use turnstage_pipeline::qc::RULES;
use turnstage_tests::{Bench, STATION, turnstage, write_recipe};

/// Between an angle that a frame states and where the platter truly was.
const TRUE_DEG: f64 = 0.15;
/// A camera with little lag.
const QUICK: &str = "latency_ms = 20.0";

/// A rig on a platform that turns by itself; the camera is quick and has the exposure of a booth with much light.
fn rig(table: &str, camera: &str) -> String {
    format!(
        r#"
{STATION}
[booth]
object = "board"
rim_markers = true
turned_deg_s = 10.0

[rig.turntable]
driver = "external"
{table}

[rig.turntable.rim]
camera = "main"
radius_mm = 151.0
marks = 24
mark_mm = 9.0
height_mm = -7.0

[rig.cameras.main]
driver = "sim"
elevation_deg = 25.0
fov_deg = 24.0
size = [800, 600]
preview_px = 800
transfer_ms = 30.0
settings = {{ exposure_us = 2000.0, gain = 4.0, wb_kelvin = 5000.0 }}
{camera}
"#
    )
}

fn recipe(data: &TempDir, name: &str, frames: u32, more: &str) {
    // What matters here is where pictures were taken, not how good they are.
    let lenient: String = RULES.iter().map(|rule| format!("\"{}\" = \"warn\"\n", rule.id)).collect();
    let folder = data.path().join("recipes");
    write_recipe(&folder, name, frames, more);
    let file = folder.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file).expect("the recipe");
    let text = if more.contains("continuous") { text.replace("stop_and_shoot", "continuous") } else { text };
    std::fs::write(&file, format!("{text}\n[qc.policy]\n{lenient}")).expect("the recipe");
}

/// A station whose camera was calibrated with a board that turned by itself; then a toy stands there.
async fn calibrated(table: &str, camera: &str) -> (Bench, Booth) {
    let data = TempDir::new().expect("a folder");
    recipe(&data, "turn", 12, "");
    recipe(&data, "board", 36, "");
    let bench = Bench::in_memory(&rig(table, camera), data);
    let booth = bench.running.around.booth.clone().expect("a booth");
    let act = Act::MeasureAxis { recipe: Some("board".to_owned()) };
    let Accepted { session, .. } = bench.ask(act).await.expect("the session starts");
    let id = session.expect("an id");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    let board = booth.board();
    let (board_mm, thickness_mm) = (board.size_mm, board.thickness_mm);
    let act = Act::CalibrateAxis { session: id, board_mm, thickness_mm };
    bench.ask(act).await.expect("a calibration");
    bench.ask(Act::Abort).await.expect("the turn is thrown away");
    booth.put(Object::Toy);
    (bench, booth)
}

async fn until(bench: &Bench, what: impl FnMut(&Status) -> bool) -> Status {
    bench.running.status.clone().wait_for(what).await.expect("the station lives").clone()
}

fn beside(one: f64, other: f64) -> f64 {
    Angle::new(one).distance(Angle::new(other))
}

/// Every frame is at its angle within the table's tolerance, and says truly where it was; the largest of both in degrees.
fn hold_truth(records: &[Record], booth: &Booth, tolerance_deg: f64) -> (f64, f64) {
    let mut most = (0.0_f64, 0.0_f64);
    for record in records {
        let facts = &record.facts;
        let (asked, stated) = (facts.angle_commanded.expect("asked"), facts.angle_reached.expect("stated"));
        let number = record.meta["camera"]["frame"].as_u64().expect("a number");
        let truth = booth.exposed_at("main", number).expect("an exposure");
        let error = record.meta["place"]["angle_error_deg"].as_f64().expect("an error");
        let frame = facts.shot + 1;
        assert!(beside(stated, truth) <= TRUE_DEG, "frame {frame}: {stated} is {truth}");
        assert!(beside(stated, truth) <= error + 0.03, "frame {frame}: within {error}: {stated} is {truth}");
        assert!(beside(asked, truth) <= tolerance_deg + TRUE_DEG, "frame {frame}: {asked} is {truth}");
        most = (most.0.max(beside(stated, truth)), most.1.max(beside(asked, truth)));
    }
    most
}

#[tokio::test(start_paused = true)]
async fn the_shutter_waits_for_the_angle_of_a_platter_that_somebody_else_turns() {
    let (bench, booth) = calibrated("tolerance_deg = 0.6\nlead_ms = 21.0", QUICK).await;
    let seen = until(&bench, |status| {
        status.table.as_ref().is_some_and(|table| matches!(table.position, Position::Known(..)))
    });
    let table = seen.await.table.expect("a table");
    assert_eq!((table.armed, table.fault), (Armed::ByItself, None), "nothing is ours to arm");
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    assert_eq!(
        (session.state, session.taken),
        (SessionState::Review, 12),
        "{:#?}",
        bench.running.status.borrow()
    );
    let records = bench.records(&id).await;
    let (stated, asked) = hold_truth(&records, &booth, 0.6);
    println!("stop and shoot: stated within {stated:.3} degrees of the truth, asked within {asked:.3}");
    assert!(booth.commands().is_empty(), "nothing was commanded");

    // The platform is let run down, pushed on by hand, and turned again at a changing speed.
    booth.turn(0.0);
    bench.ask(Act::Abort).await.expect("thrown away");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let id = bench.start("turn").await;
    booth.push(100.0);
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    for speed in [6.0, 14.0, 3.0, 9.0, 12.0] {
        booth.turn(speed);
        tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    }
    let session = bench.settled(&id).await;
    assert_eq!(
        (session.state, session.taken),
        (SessionState::Review, 12),
        "{:#?}",
        bench.running.status.borrow()
    );
    let (stated, asked) = hold_truth(&bench.records(&id).await, &booth, 0.6);
    println!("changing speed: stated within {stated:.3} degrees of the truth, asked within {asked:.3}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_turn_is_swept_by_what_the_camera_sees() {
    let (bench, booth) = calibrated("", QUICK).await;
    let how = "continuous = { speed_deg_s = 10.5, blur_deg_max = 0.05, angle_error_deg_max = 0.6 }";
    recipe(&bench.data, "sweep", 36, how);
    let id = bench.start("sweep").await;
    let session = bench.settled(&id).await;
    assert_eq!(
        (session.state, session.taken),
        (SessionState::Review, 36),
        "{:#?}",
        bench.running.status.borrow()
    );
    let records = bench.records(&id).await;
    let (stated, asked) = hold_truth(&records, &booth, 0.6);
    println!("swept: stated within {stated:.3} degrees of the truth, asked within {asked:.3}");
    let span = booth.exposed_at("main", booth.exposures("main")).expect("the last exposure")
        - booth.exposed_at("main", 37).expect("the first one after the board's");
    assert!(span < 1080.0, "most of it came in one turn: {span}");
    bench.ask(Act::Abort).await.expect("thrown away");

    // Faster than the recipe was checked for, and the other way round.
    for (speed, rule) in [(20.0, "motion-too-fast"), (-8.0, "motion-other-way")] {
        booth.turn(speed);
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        let id = bench.start("sweep").await;
        assert_eq!(bench.settled(&id).await.taken, 0);
        assert_eq!(bench.running.status.borrow().faults[0].rule, rule);
        bench.ask(Act::Abort).await.expect("thrown away");
    }
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_seen_or_would_smear_or_comes_late_is_refused_in_words() {
    let (bench, booth) = calibrated("", QUICK).await;
    // A shutter that is open for long.
    recipe(&bench.data, "dim", 12, "camera = { exposure_us = 20000.0, gain = 0.4 }");
    let id = bench.start("dim").await;
    assert_eq!(bench.settled(&id).await.taken, 0);
    let fault = bench.running.status.borrow().faults[0].clone();
    assert_eq!(fault.rule, "continuous-blur");
    assert!(fault.what.contains("open for 20000 µs") && fault.what.contains("allows 0.050°"), "{fault:?}");
    bench.ask(Act::Abort).await.expect("thrown away");

    // A cloth before the marks.
    booth.mark_rim(false);
    let told = until(&bench, |status| status.faults.iter().any(|fault| fault.rule == "rim-not-read")).await;
    let fault = told.faults.iter().find(|fault| fault.rule == "rim-not-read").expect("told");
    assert!(fault.what.contains("camera main cannot read it: it sees no mark of the ring"), "{fault:?}");
    let table = told.table.expect("a table");
    assert!(table.fault.is_some_and(|fault| fault.contains("no mark of the ring")));
    let shown: Value = bench.client().get("/api/v1/status").await.json();
    assert_eq!(shown["situation"]["is"], "look", "an idle station shows it: {shown:#}");
    let id = bench.start("turn").await;
    assert_eq!((bench.settled(&id).await.state, bench.settled(&id).await.taken), (SessionState::Paused, 0));
    let fault = bench.running.status.borrow().faults[0].clone();
    assert_eq!(fault.rule, "motion-not-seen");
    assert!(fault.what.contains("camera main cannot read it"), "{fault:?}");
    // Taken away again, the session goes on.
    booth.mark_rim(true);
    until(&bench, |status| status.faults.iter().all(|fault| fault.rule != "rim-not-read")).await;
    bench.ask(Act::Resume { session: None, anew: false, confirm: false }).await.expect("it goes on");
    until(&bench, |status| status.session.as_ref().is_some_and(|session| session.taken >= 2)).await;
    bench.ask(Act::Stop).await.expect("stopped");
    assert_eq!(bench.settled(&id).await.state, SessionState::Paused);
    let told = |status: &Status| {
        let fault = status.table.as_ref().and_then(|table| table.fault.as_deref());
        fault.is_some_and(|fault| fault.contains("stop it at its own switch"))
    };
    let table = until(&bench, told).await.table.expect("a table");
    assert!(table.stopped, "a stop that stopped nothing is told");
    bench.ask(Act::Abort).await.expect("thrown away");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutter_that_is_always_late_is_told_with_its_lead() {
    let (bench, _) = calibrated("tolerance_deg = 0.5", "latency_ms = 150.0").await;
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Paused, 0));
    let fault = bench.running.status.borrow().faults[0].clone();
    assert_eq!(fault.rule, "passing-beside");
    let lead = fault.todo.split(" = ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure");
    let lead: f64 = lead.parse().expect("milliseconds");
    assert!((lead - 151.0).abs() < 15.0, "{fault:?}");
    bench.end().await;
}

#[test]
fn the_ring_is_printed_from_the_configuration_and_a_check_asks_for_what_is_missing() {
    let data = TempDir::new().expect("a folder");
    let path = |name: &str| data.path().join(name).display().to_string();
    let (file, folder, svg) = (path("station.toml"), path("data"), path("ring.svg"));
    let run = |args: &[&str]| turnstage(&[args, &["--config", &file, "--data-dir", &folder][..]].concat());
    std::fs::write(&file, rig("", QUICK)).expect("a file");
    let ran = run(&["calibrate", "ring", &svg]);
    assert!(ran.code == 0 && ran.out.contains("a mark measures 9 mm"), "{ran:?}");
    assert!(std::fs::read_to_string(&svg).expect("a strip").contains(">51</text>"));
    let ran = run(&["check"]);
    assert!(ran.out.contains("where camera main stands is not known"), "{ran:?}");
    let elsewhere = rig("", QUICK).replace("camera = \"main\"", "camera = \"top\"");
    std::fs::write(&file, elsewhere).expect("a file");
    let ran = run(&["check"]);
    assert!(ran.code == 78 && ran.err.contains("no camera \"top\"; this rig has: main"), "{ran:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_calibrated_camera_the_way_to_calibrate_it_is_told() {
    let data = TempDir::new().expect("a folder");
    recipe(&data, "turn", 12, "");
    let bench = Bench::in_memory(&rig("", QUICK), data);
    let told = until(&bench, |status| !status.faults.is_empty()).await;
    assert_eq!(told.faults[0].rule, "rim-not-read");
    assert!(told.faults[0].what.contains("run: turnstage calibrate axis"), "{:?}", told.faults);
    bench.end().await;
}
