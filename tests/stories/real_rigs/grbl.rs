//! GRBL over a serial port, and the real librealsense playing a recording.

use turnstage_hw_tests::realsense_lab::{Lab, VERSIONS};
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::Controller;
use turnstage_tests::service::Service;
use turnstage_tests::skip;

use super::{Plug, configuration, finish, folder, lost, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_grbl_table_and_a_depth_camera_lose_the_tables_plug_in_mid_turn_and_finish() {
    let lab = match Lab::find(VERSIONS[0]) {
        Ok(lab) => lab,
        Err(why) => return skip("a_grbl_table_and_a_depth_camera", &why),
    };
    let folder = folder();
    let mut controller = Controller::new(1, 90.0, 400.0);
    // A board with a limit switch: it finds its zero again by itself.
    controller.settings.insert(22, 1.0);
    let cable = Cable::new(controller);
    cable.cut_when(|controller| controller.told.len() > 12 && controller.counted_deg(0) > 125.0);
    let port = Port::new(&folder.path().join("usb-Arduino-if00")).expect("a pseudo-terminal");
    let name = port.name();
    let plug = Plug::of(cable.clone(), port);
    let bag = lab.recording(60);
    let rig = format!(
        "[rig.turntable]\ndriver = \"grbl\"\nserial = {name:?}\naxis = \"x\"\nhome = true\n\
         [rig.cameras.depth]\ndriver = \"realsense\"\nloop = true\n{}\n",
        lab.keys(&bag)
    );
    let service = Service::start(&configuration(folder.path(), 36, &rig), &lab.environment()).await;
    service.until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready").await;
    let id = service.start_session("turn").await;
    lost(&service).await;
    let degrees =
        |cable: &Cable<Controller>| cable.with(|c| c.told.iter().map(|told| told.deg).collect::<Vec<_>>());
    // On its way to the fourteenth frame: none of the motions before was told twice.
    told(&degrees(&cable), &[(13, 10.0)], 0.011);
    plug.again();
    let session = finish(&service, || {}).await;
    assert_eq!(session["taken"], 36, "{session}");
    let records = service.records(&id).await;
    let current = |product: &str| {
        records.iter().filter(|r| r.superseded_by.is_none() && r.key.product == product).count()
    };
    assert_eq!((current("original"), current("depth")), (36, 36), "each picture with its distances");
    let heard: Vec<u8> = cable.heard().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(
        heard.starts_with(b"!"),
        "a stop is the first that it hears: {:?}",
        heard.escape_ascii().to_string()
    );
    // It has found its switch. Then it goes on with the fifteenth frame, and at the end takes the one on whose way the link
    // was lost; no command asks for more than 90 degrees.
    told(&degrees(&cable)[13..], &[(2, 70.0), (21, 10.0), (2, 70.0)], 0.011);
    assert_eq!(cable.with(|controller| controller.meddled), 0, "no setting was written, nothing unlocked");
    let last = records.iter().rfind(|record| record.superseded_by.is_none()).expect("a frame");
    assert_eq!(last.facts.angle_reached.map(f64::round), last.facts.angle_commanded.map(f64::round));
}
