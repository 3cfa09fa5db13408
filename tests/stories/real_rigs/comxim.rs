//! ComXim over a serial port, and a camera of the Linux kernel.

use std::sync::Arc;

use tokio::time::{Duration, MissedTickBehavior};
use turnstage_hw_tests::fake_v4l2::Cameras;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::comxim::{Knobs, Table};
use turnstage_tests::service::Service;
use turnstage_tests::view::View;

use super::{Plug, SIZE, configuration, finish, folder, lost, shows_its_angles, told};

/// The camera sees the platter where it truly stands, at most so much later.
const GLANCE: Duration = Duration::from_millis(5);

/// Shows the camera what stands before it, for ever.
async fn show(cable: Cable<Table>, cameras: Arc<Cameras>) {
    let mut view = View::new(SIZE).await;
    let mut tick = tokio::time::interval(GLANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = f64::NAN;
    loop {
        tick.tick().await;
        let deg = cable.with(|table| table.truly_deg());
        if (deg - shown).abs() > 0.05 || shown.is_nan() {
            cameras.show("front", &view.jpeg(deg).await);
            shown = deg;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_table_and_a_usb_camera_lose_the_tables_plug_in_mid_turn_and_finish() {
    let folder = folder();
    let cameras = Arc::new(Cameras::in_folder(&folder.path().join("cameras")));
    cameras.add("front", "1-2", "SN-1", "card Fake\nformats MJPG\nsize 320x240\nfps 30\n");
    let cable = Cable::new(Table::new(Knobs { speed: 55.0, acceleration: 400.0, ..Knobs::default() }));
    let zero_deg = cable.with(|table| table.truly_deg());
    cameras.show("front", &View::new(SIZE).await.jpeg(zero_deg).await);
    cameras.plug("front", 0);
    let port = Port::new(&folder.path().join("usb-1a86_USB_Serial-if00-port0")).expect("a pseudo-terminal");
    let name = port.name();
    cable.cut_when(move |table| table.truly_deg() > zero_deg + 125.0);
    let plug = Plug::of(cable.clone(), port);
    let showing = tokio::spawn(show(cable.clone(), cameras.clone()));

    let rig = format!(
        "[rig.turntable]\ndriver = \"profile\"\nprofile = \"comxim\"\nserial = {name:?}\nsettle_ms = 50\n\
         [rig.cameras.front]\ndriver = \"v4l\"\nserial = \"SN-1\"\nsize = [320, 240]\nfocus_ms = 0\nwarm_up_frames = 3\n\
         settings = {{ exposure_us = 10000.0 }}\n"
    );
    let service = Service::start(&configuration(folder.path(), 36, &rig), &cameras.environment()).await;
    service.until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready").await;
    let id = service.start_session("turn").await;
    lost(&service).await;
    // On its way to the fourteenth frame: none of the motions before was told twice.
    let (motions, commands) = cable.with(|table| (table.told.clone(), table.commands.len()));
    told(&motions, &[(13, 10.0)], 0.01);
    plug.again();
    let session = finish(&service, || {}).await;
    assert_eq!(session["taken"], 36, "{session}");
    let (after, since) = cable.with(|table| (table.told[13..].to_vec(), table.commands[commands..].to_vec()));
    assert_eq!(since[0], "CT+SETSTOP()", "a stop is the first that it hears: {since:?}");
    // It looks 15 degrees to each side, from behind the first place on. Then it goes on with the fifteenth frame, and at
    // the end takes the one on whose way the link was lost.
    let looking = [(1, -20.0), (1, 5.0), (24, 1.25)];
    told(&after, &[&looking[..], &[(1, -10.0), (1, 5.0), (21, 10.0), (2, 70.0)]].concat(), 0.6);
    // Whatever the table lost sight of was found by looking: the frames themselves say where they were taken.
    shows_its_angles(&service, &service.records(&id).await, zero_deg, SIZE).await;
    showing.abort();
}
