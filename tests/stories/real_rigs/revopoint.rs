//! Revopoint over Bluetooth, and a tethered stills camera.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant, MissedTickBehavior};
use turnstage_hw_tests::wire::bluez::{self, Bluez};
use turnstage_hw_tests::wire::bus::Bus;
use turnstage_hw_tests::wire::peer::Shared;
use turnstage_hw_tests::wire::revopoint::{Fault, Knobs, Revopoint};
use turnstage_hw_tests::wire::tether::VirtualCamera;
use turnstage_tests::service::Service;
use turnstage_tests::skip;
use turnstage_tests::view::View;

use super::{SIZE, configuration, finish, folder, lost, shows_its_angles};

/// Counter-clockwise, as we count; the table counts clockwise.
fn truly_deg(table: &Shared<Revopoint>) -> f64 {
    -table.lock().unwrap_or_else(PoisonError::into_inner).true_deg(Instant::now())
}

async fn show(table: Shared<Revopoint>, camera: Arc<VirtualCamera>) {
    let mut view = View::new(SIZE).await;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = f64::NAN;
    loop {
        tick.tick().await;
        let deg = truly_deg(&table);
        let stands = !table.lock().unwrap_or_else(PoisonError::into_inner).is_moving(Instant::now());
        // The virtual camera reads its picture when it is fetched, while the table may turn on: what it sees changes only
        // once the table has arrived.
        if stands && ((deg - shown).abs() > 0.05 || shown.is_nan()) {
            camera.show(&view.jpeg(deg).await).expect("a picture");
            shown = deg;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bluetooth_table_and_a_tethered_camera_lose_the_tables_link_in_mid_turn_and_finish() {
    const NAME: &str = "a_bluetooth_table_and_a_tethered_camera";
    let folder = folder();
    let bus = match Bus::start(folder.path()) {
        Ok(bus) => bus,
        Err(why) => return skip(NAME, &why.to_string()),
    };
    let faults = [(14, Fault::LinkDrop { after_deg: 4.0, for_s: 1.0 })].into();
    let table: Shared<Revopoint> =
        Arc::new(Mutex::new(Revopoint::new(Knobs { time_scale: 10.0, faults, ..Knobs::default() }, 0.0)));
    let camera = match VirtualCamera::new(&View::new(SIZE).await.jpeg(0.0).await) {
        Ok(camera) => Arc::new(camera),
        Err(why) => return skip(NAME, &why),
    };
    let bluez =
        Bluez::start(&bus.address(), bluez::Knobs::default(), vec![table.clone()]).await.expect("a daemon");
    let showing = tokio::spawn(show(table.clone(), camera.clone()));
    let helper = camera.helper();
    let rig = format!(
        "[rig.turntable]\ndriver = \"profile\"\nprofile = \"revopoint-dual-axis\"\nble = \"REVO_DUAL_AXIS_TABLE\"\n\
         [rig.cameras.dslr]\ndriver = \"gphoto2\"\nhelper = {helper:?}\n"
    );
    let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address().into())];
    let service = Service::start(&configuration(folder.path(), 36, &rig), &environment).await;
    service.until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready").await;
    let id = service.start_session("turn").await;
    lost(&service).await;
    // The camera's card is full after 26 pictures of one connection: a helper that ends is a cable that was pulled.
    camera.kill();
    let session = finish(&service, || assert!(camera.kill(), "a helper held it")).await;
    assert_eq!(session["taken"], 36, "{session}");
    assert!(bluez.counted("Connect") >= 2, "{:?}", bluez.log());
    shows_its_angles(&service, &service.records(&id).await, 0.0, SIZE).await;
    showing.abort();
}
