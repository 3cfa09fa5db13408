//! Revopoint over Bluetooth, and a tethered stills camera.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::time::{Duration, Instant, MissedTickBehavior};
use turnstage_cloud_sync::Record;
use turnstage_hw_tests::wire::bluez::{self, Bluez};
use turnstage_hw_tests::wire::bus::Bus;
use turnstage_hw_tests::wire::peer::Shared;
use turnstage_hw_tests::wire::revopoint::{Fault, Knobs, Revopoint};
use turnstage_hw_tests::wire::tether::VirtualCamera;
use turnstage_tests::service::Service;
use turnstage_tests::skip;
use turnstage_tests::view::View;

use super::{SIZE, configuration, finish, folder, lost, shows_its_angles, told};

const MILLISECOND: Duration = Duration::from_millis(1);

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
        // once the table has arrived. That nothing was taken on the way is seen by when it was taken.
        if stands && ((deg - shown).abs() > 0.05 || shown.is_nan()) {
            camera.show(&view.jpeg(deg).await).expect("a picture");
            shown = deg;
        }
    }
}

/// Degrees of every turn that it was told, as we count.
fn turns(commands: &[String]) -> Vec<f64> {
    let degrees =
        commands.iter().filter_map(|command| command.strip_prefix("+CT,TURNANGLE=")?.strip_suffix(';'));
    degrees.map(|degrees| -degrees.parse::<f64>().expect("degrees")).collect()
}

/// Every picture was taken while the platter stood: from the order until the camera had told of the file.
fn stood_still(table: &Shared<Revopoint>, records: &[Record]) {
    let (now, now_ms) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
    let mut table = table.lock().expect("the table");
    for record in records {
        let number = |pointer: &str| record.meta.pointer(pointer).and_then(Value::as_f64);
        let ago_ms = now_ms as f64 - number("/time/exposed_at_ms").expect("a moment");
        let begun = now - Duration::from_secs_f64(ago_ms / 1e3);
        let took_ms = number("/time/uncertainty_ms").expect("how long it took");
        // Moments are kept in whole milliseconds.
        let ended = begun + Duration::from_secs_f64(took_ms / 1e3);
        let frame = record.facts.shot + 1;
        assert!(table.stood(begun + MILLISECOND, ended), "frame {frame} was taken while the platter turned");
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
    let faults = [(14, Fault::LinkDrop { after_deg: 4.0, for_s: 20.0 })].into();
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
    // On its way to the fifteenth frame: none of the motions before was told twice.
    let commands = table.lock().expect("the table").told();
    told(&turns(&commands), &[(14, 10.0)], 0.0);
    // The camera's card is full after 26 pictures of one connection: a helper that ends is a cable that was pulled.
    camera.kill();
    let session = finish(&service, || assert!(camera.kill(), "a helper held it")).await;
    assert_eq!(session["taken"], 36, "{session}");
    assert!(bluez.counted("Connect") >= 2, "{:?}", bluez.log());
    let since = table.lock().expect("the table").told()[commands.len()..].to_vec();
    assert_eq!(since[..2], ["+CT,STOP;", "+CR,STOP;"], "a stop is the first that it hears: {since:?}");
    // It looks 15 degrees to each side, in whole degrees, from behind the first place on. Then it goes on with the
    // sixteenth frame, and at the end takes the one on whose way the link was lost, and the two at which the camera had to
    // be mended.
    let looking = [(1, -20.0), (1, 5.0), (24, 1.25)];
    let frames = [(1, -10.0), (1, 5.0), (20, 10.0), (2, 75.0), (2, 10.0)];
    told(&turns(&since), &[&looking[..], &frames].concat(), 1.0);
    let records = service.records(&id).await;
    stood_still(&table, &records);
    shows_its_angles(&service, &records, 0.0, SIZE).await;
    showing.abort();
}
