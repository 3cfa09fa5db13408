//! The same over Bluetooth: a stop by radio, in mid-turn.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use turnstage_hw_tests::wire::bluez::{self, Bluez};
use turnstage_hw_tests::wire::bus::Bus;
use turnstage_hw_tests::wire::peer::Shared;
use turnstage_hw_tests::wire::revopoint::{Knobs, Revopoint};
use turnstage_tests::service::Service;
use turnstage_tests::{PATIENCE, skip};

use super::{GLANCE, GONE_DEG, STEP_DEG, STOP_LIMIT, go_on, halted, ready, refused};
use crate::real_rigs::{configuration, folder};

/// The table's clock runs twice as fast as ours.
const TIME_SCALE: f64 = 2.0;
/// Degrees in a second of the table's: its fastest but a little.
const SPEED: f64 = 20.0;
/// Per second squared of the table's.
const ACCELERATION: f64 = 40.0;

/// As we count: the table counts clockwise.
fn stands_deg(table: &Shared<Revopoint>) -> f64 {
    -table.lock().expect("the table").true_deg(Instant::now())
}

fn turns(table: &Shared<Revopoint>) -> bool {
    table.lock().expect("the table").is_moving(Instant::now())
}

fn motions(table: &Shared<Revopoint>) -> u32 {
    table.lock().expect("the table").motions()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(GLANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is() {
            tick.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("the table never {what}"));
}

/// Each frame once, and the platter where the last of them was taken.
async fn holds_all(service: &Service, table: &Shared<Revopoint>, session: &str) {
    let mut records = service.records(session).await;
    records.retain(|record| record.key.product == "original");
    assert_eq!(records.len(), 4, "no frame is shot twice");
    let last = records.iter().max_by_key(|record| record.key.sequence).expect("a frame");
    let wanted_deg = last.facts.angle_commanded.expect("an angle");
    let off_deg = (stands_deg(table) - wanted_deg + 180.0).rem_euclid(360.0) - 180.0;
    assert!(off_deg.abs() < 0.6, "the platter is {off_deg:.1} degrees off its last frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_from_afar_reaches_a_bluetooth_table_in_mid_turn_and_holds_it() {
    let folder = folder();
    let bus = match Bus::start(folder.path()) {
        Ok(bus) => bus,
        Err(why) => return skip("a_stop_from_afar_reaches_a_bluetooth_table", &why.to_string()),
    };
    let knobs = Knobs { time_scale: TIME_SCALE, acceleration: ACCELERATION, ..Knobs::default() };
    let table: Shared<Revopoint> = Arc::new(Mutex::new(Revopoint::new(knobs, 0.0)));
    let bluez = Bluez::start(&bus.address(), bluez::Knobs::default(), vec![table.clone()]).await;
    let _bluez = bluez.expect("a daemon");
    let rig = format!(
        "[rig.turntable]\ndriver = \"profile\"\nprofile = \"revopoint-dual-axis\"\nble = \"REVO_DUAL_AXIS_TABLE\"\n\
         speed_deg_s = {SPEED:.1}\ntrust_zero = true\n[rig.cameras.main]\ndriver = \"sim\"\nsize = [320, 240]\n"
    );
    let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address().into())];
    let config = configuration(folder.path(), (360.0 / STEP_DEG) as u32, &rig);
    let service = Service::start(&config, &environment).await;
    ready(&service).await;
    let id = service.start_session("turn").await;
    service.until("at the first frame", |status| status["session"]["taken"] == 1).await;
    let rested = stands_deg(&table);
    until("set out", || (stands_deg(&table) - rested).abs() > GONE_DEG).await;

    let (asked, deg) = (Instant::now(), stands_deg(&table));
    service.ask_from_afar("stop", json!({})).await.expect("anybody may stop it");
    until("stood", || !turns(&table)).await;
    let heard = table.lock().expect("the table").told_at("+CT,STOP;", asked).expect("a stop");
    // By our clock it is as much faster, and comes to rest as much sooner.
    let (speed, acceleration) = (SPEED * TIME_SCALE, ACCELERATION * TIME_SCALE * TIME_SCALE);
    halted(heard - asked, (stands_deg(&table) - deg).abs(), speed, acceleration, STOP_LIMIT);

    let session = service.settled().await;
    assert_eq!(session["state"], "paused", "{session}");
    let status = service.until("stopped", |status| status["table"]["moving"] == false).await;
    assert_eq!((&status["table"]["stopped"], &status["table"]["armed"]), (&json!(true), &json!("no")));
    let told = motions(&table);
    refused(service.ask_from_afar("resume", go_on()).await, "motion-not-armed");
    assert_eq!(motions(&table), told, "nothing moves by itself");
    service.ask("arm", json!({})).await.expect("armed");
    refused(service.ask_from_afar("resume", go_on()).await, "motion-not-at-rig");
    service.ask("resume", go_on()).await.expect("at the rig");
    let end = service.settled().await;
    assert_eq!((&end["state"], &end["taken"]), (&json!("review"), &json!(4)), "{end} {}", service.log());
    holds_all(&service, &table, &id).await;
}
