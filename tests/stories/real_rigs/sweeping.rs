//! Turns without stopping on tables that speak a wire: one that tells where it is, and one that does not.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnstage_cloud_sync::Record;
use turnstage_hw_tests::wire::bluez::{self, Bluez};
use turnstage_hw_tests::wire::bus::Bus;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::Controller;
use turnstage_hw_tests::wire::peer::Shared;
use turnstage_hw_tests::wire::revopoint::{Knobs, Revopoint};
use turnstage_tests::service::Service;
use turnstage_tests::skip;

use super::{Plug, configuration, folder};

/// A camera that is quick enough to shoot on the way.
const CAMERA: &str = "[booth]\n[rig.cameras.front]\ndriver = \"sim\"\nsize = [160, 120]\ntransfer_ms = 0.0\n\
                      settings = { exposure_us = 4000.0, gain = 2.0, wb_kelvin = 5000.0 }\n";
const SPEED_DEG_S: f64 = 20.0;
const ERROR_DEG_MAX: f64 = 1.5;
/// Moments are kept in whole milliseconds: so far the platter turns in one and a half.
const CLOCK_DEG: f64 = 0.0015 * SPEED_DEG_S;
/// How often somebody looks where the platter truly is.
const LOOK: Duration = Duration::from_millis(1);

/// A station with this table, and the recipe `turn` as a turn of twelve frames without stopping.
fn sweeping(folder: &Path, table: &str) -> String {
    let text = configuration(folder, 12, &format!("[rig.turntable]\n{table}{CAMERA}"));
    let file = folder.join("recipes/turn.toml");
    let recipe = std::fs::read_to_string(&file).expect("the recipe");
    let how = format!(
        "continuous = {{ speed_deg_s = {SPEED_DEG_S:.1}, blur_deg_max = 0.2, angle_error_deg_max = {ERROR_DEG_MAX} }}"
    );
    let recipe = recipe.replace("stop_and_shoot", "continuous");
    std::fs::write(&file, recipe.replace("retakes = 0", &format!("retakes = 0\n{how}"))).expect("the recipe");
    // This table turns on when its link is lost: whoever stands there allows a whole turn in one command.
    text.replace("announce_s = 1.0", "announce_s = 1.0\nunattended_deg_max = 400.0")
}

/// Wall clock in milliseconds, and where the platter truly was.
type Track = Arc<Mutex<Vec<(f64, f64)>>>;

/// Looks at the platter, for ever.
async fn watched(cable: Cable<Controller>, track: Track) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        let deg = cable.with(|controller| controller.truly_deg(0));
        let at_ms = jiff::Timestamp::now().as_microsecond() as f64 / 1000.0;
        track.lock().expect("the track").push((at_ms, deg));
    }
}

/// Where the platter truly was in the middle of a frame's exposure.
fn truly(track: &[(f64, f64)], record: &Record) -> f64 {
    let number = |pointer: &str| record.meta.pointer(pointer).and_then(serde_json::Value::as_f64);
    let start_ms = number("/time/exposed_at_ms").expect("a moment");
    let middle_ms = start_ms + number("/camera/exposed_with/exposure_us").expect("an exposure") / 2000.0;
    let after = track.partition_point(|(at_ms, _)| *at_ms < middle_ms);
    let ((t0, a), (t1, b)) = (track[after - 1], track[after]);
    a + (b - a) * (middle_ms - t0) / (t1 - t0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grbl_table_is_swept_and_every_frame_is_where_it_says_within_the_error_that_it_states() {
    let folder = folder();
    let mut controller = Controller::new(1, 90.0, 400.0);
    // A board with a limit switch finds its zero by itself.
    controller.settings.insert(22, 1.0);
    let cable = Cable::new(controller);
    let port = Port::new(&folder.path().join("usb-Arduino-if00")).expect("a pseudo-terminal");
    let table = format!("driver = \"grbl\"\nserial = {:?}\nhome = true\n", port.name());
    let _plug = Plug::of(cable.clone(), port);
    let track = Track::default();
    let looking = tokio::spawn(watched(cable.clone(), track.clone()));
    let service = Service::start(&sweeping(folder.path(), &table), &[]).await;
    service.until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready").await;
    let id = service.start_session("turn").await;
    let session = service.settled().await;
    let status = service.status().await;
    assert_eq!((&session["state"], &session["taken"]), (&json!("review"), &json!(12)), "{status:#}");
    looking.abort();

    let track = track.lock().expect("the track").clone();
    let said = status["table"]["position"]["known"][0].as_f64().expect("where it stands");
    let zero = cable.with(|controller| controller.truly_deg(0)) - said;
    let swept = cable.with(|controller| controller.told.iter().filter(|told| told.deg > 300.0).count());
    assert_eq!(swept, 1, "one sweep, in one command");
    let (mut on_the_way, mut worst_deg) = (0, 0.0_f64);
    for record in service.records(&id).await.iter().filter(|r| r.superseded_by.is_none()) {
        let reached = record.facts.angle_reached.expect("an angle");
        let stated = record.meta["place"]["angle_error_deg"].as_f64();
        let off = (truly(&track, record) - zero - reached + 180.0).rem_euclid(360.0) - 180.0;
        let allowed = stated.unwrap_or(0.1) + CLOCK_DEG;
        assert!(off.abs() <= allowed, "frame {}: {off} beside, {stated:?} stated", record.facts.shot + 1);
        assert!(stated.unwrap_or(0.0) <= ERROR_DEG_MAX);
        on_the_way += u32::from(stated.is_some());
        worst_deg = worst_deg.max(off.abs());
    }
    println!("{on_the_way} of 12 on the way, at most {worst_deg:.3} degrees beside what they say");
    assert!(on_the_way >= 8, "only {on_the_way} of 12 were picked on the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bluetooth_table_that_is_silent_on_its_way_is_not_swept_and_says_why() {
    let folder = folder();
    let bus = match Bus::start(folder.path()) {
        Ok(bus) => bus,
        Err(why) => return skip("a_bluetooth_table_that_is_silent_on_its_way", &why.to_string()),
    };
    let table: Shared<Revopoint> = Arc::new(Mutex::new(Revopoint::new(Knobs::default(), 0.0)));
    let bluez = Bluez::start(&bus.address(), bluez::Knobs::default(), vec![table.clone()]).await;
    let _bluez = bluez.expect("a daemon");
    let keys = "driver = \"profile\"\nprofile = \"revopoint-dual-axis\"\nble = \"REVO_DUAL_AXIS_TABLE\"\n"
        .to_owned();
    let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address().into())];
    let service = Service::start(&sweeping(folder.path(), &keys), &environment).await;
    service
        .until("opened", |status| status["table"]["model"].as_str().is_some_and(|it| !it.is_empty()))
        .await;
    service.ask("arm", json!({})).await.expect("armed");
    let refused = service.ask("start", json!({ "item": "item-1", "recipe": "turn" })).await;
    let problem = refused.expect_err("a refusal");
    assert_eq!(problem["rule"], "motion-no-sweep", "{problem}");
    let words = problem.to_string();
    assert!(words.contains("does not tell where it is") && words.contains("stop_and_shoot"), "{words}");
    assert_eq!(table.lock().expect("the table").motions(), 0, "nothing was moved");
}
