//! GRBL over a serial port, and the real librealsense playing a recording.

use turnstage_hw_tests::realsense_lab::{Lab, VERSIONS};
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::Controller;
use turnstage_tests::service::Service;
use turnstage_tests::skip;

use super::{Plug, configuration, finish, folder, lost};

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
    let before = cable.with(|controller| controller.told.len());
    plug.again();
    let session = finish(&service, || {}).await;
    assert_eq!(session["taken"], 36, "{session}");
    let records = service.records(&id).await;
    let current = |product: &str| {
        records.iter().filter(|r| r.superseded_by.is_none() && r.key.product == product).count()
    };
    assert_eq!((current("original"), current("depth")), (36, 36), "each picture with its distances");
    // Nothing was told twice: each motion after the plug was pulled was of use.
    let told = cable.with(|controller| controller.told[before..].to_vec());
    assert!(told.len() <= 36 - 10 + 4, "{told:?}");
    assert_eq!(cable.with(|controller| controller.meddled), 0, "no setting was written, nothing unlocked");
    let last = records.iter().rfind(|record| record.superseded_by.is_none()).expect("a frame");
    assert_eq!(last.facts.angle_reached.map(f64::round), last.facts.angle_commanded.map(f64::round));
}
