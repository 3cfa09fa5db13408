//! The same with the real binary: a table on a serial port, and a camera of the kernel, locked to what it metered itself,
//! that is pulled out and comes back under another number.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Duration, MissedTickBehavior};
use turnstage_cloud_sync::Record;
use turnstage_drivers::camera::Settings;
use turnstage_hw_tests::fake_v4l2::Cameras;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::comxim::{Knobs, Table};
use turnstage_tests::service::Service;
use turnstage_tests::view::View;
use turnstage_tests::{lenient_policy, write_recipe};

/// Small pictures: the renderer must keep up with the table.
const SIZE: (u32, u32) = (320, 240);
/// The camera sees the platter where it truly stands, at most so much later.
const GLANCE: Duration = Duration::from_millis(5);
/// What the camera's automatics come to, in steps of 100 us and in kelvin.
const PLAN: &str = "card Fake\nformats MJPG\nsize 320x240\nfps 30\nmetered 157\nwhite 4650\n";
const FRAMES: u32 = 36;
const STEP_DEG: f64 = 10.0;
/// The requirement says 90 s; the clock is real, and what is waited for is a state.
const WAIT_S: u32 = 90;
const AWAY_S: u32 = 5;

/// The light before the camera, as settings of the simulated one that draws what it sees.
type Light = Arc<Mutex<Settings>>;

/// A station with its table and its camera.
struct Rig {
    cable: Cable<Table>,
    cameras: Arc<Cameras>,
    light: Light,
    service: Service,
    beside: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

/// What makes a well exposed, neutral picture, with so many exposure values more light and so many kelvin beside.
fn light(ev: f64, kelvin: f64) -> Settings {
    let (exposure_us, wb_kelvin) = (Some(8000.0 * ev.exp2()), Some(5000.0 + kelvin));
    Settings { exposure_us, wb_kelvin, ..Settings::default() }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.beside.iter().for_each(JoinHandle::abort);
    }
}

/// Shows the camera what stands before it, for ever.
async fn show(cable: Cable<Table>, cameras: Arc<Cameras>, falls: Light) {
    let mut view = View::new(SIZE).await;
    let mut tick = tokio::time::interval(GLANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = (f64::NAN, light(0.0, 0.0));
    loop {
        tick.tick().await;
        let lit = *falls.lock().expect("the light");
        let deg = cable.with(|table| table.truly_deg());
        if (deg - shown.0).abs() > 0.05 || shown.0.is_nan() || lit != shown.1 {
            view.light(&lit).await;
            cameras.show("front", &view.jpeg(deg).await);
            shown = (deg, lit);
        }
    }
}

impl Rig {
    /// Somebody pulls the camera out while the table is on its way to a frame, counted from 1.
    async fn unplugged_at(frame: u32) -> Rig {
        let folder = TempDir::new().expect("a folder");
        let cameras = Arc::new(Cameras::in_folder(&folder.path().join("cameras")));
        cameras.add("front", "1-2", "SN-1", PLAN);
        cameras.plug("front", 0);
        let cable = Cable::new(Table::new(Knobs { speed: 55.0, acceleration: 400.0, ..Knobs::default() }));
        let zero_deg = cable.with(|table| table.truly_deg());
        cameras.show("front", &View::new(SIZE).await.jpeg(zero_deg).await);
        let mut port = Port::new(&folder.path().join("usb-1a86_USB_Serial-if00-port0")).expect("a terminal");
        let (here, front) = (zero_deg + STEP_DEG * (f64::from(frame) - 1.5), cameras.clone());
        let mut pulled = false;
        cable.cut_when(move |table| {
            if !pulled && table.truly_deg() > here {
                pulled = true;
                front.unplug("front");
            }
            false
        });
        let config = configuration(&folder, &port.name());
        let light = Light::new(Mutex::new(light(0.0, 0.0)));
        let (wire, view) = (cable.clone(), show(cable.clone(), cameras.clone(), light.clone()));
        let serving = tokio::spawn(async move { wire.serve(&mut port).await });
        let beside = vec![serving, tokio::spawn(view)];
        let service = Service::start(&config, &cameras.environment()).await;
        service
            .until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready")
            .await;
        Rig { cable, cameras, light, service, beside, _folder: folder }
    }

    /// Waits until the session waits for the camera, and for some seconds more; nothing turns meanwhile.
    async fn awaited(&self, frame: u32) {
        let away = format!("Camera front is away at frame {frame}");
        let awaited = |status: &Value| status["sentence"] == away;
        self.service.until("waiting for the camera", awaited).await;
        let stood = self.cable.with(|table| (table.truly_deg(), table.told.len()));
        let left_s = |status: &Value| -> u32 {
            let words = status["detail"].as_str().unwrap_or_default().split_whitespace();
            words.filter_map(|word| word.parse().ok()).next().unwrap_or(WAIT_S)
        };
        self.service.until("away for a while", |status| left_s(status) <= WAIT_S - AWAY_S).await;
        let status = self.service.status().await;
        assert_eq!(
            (status["sentence"].as_str(), &status["session"]["state"]),
            (Some(&*away), &"shooting".into())
        );
        assert_eq!(self.cable.with(|table| (table.truly_deg(), table.told.len())), stood, "the table stands");
    }

    /// It comes back, as a camera of this plan, as `/dev/video4`; the fault that ends the session's going on by itself.
    async fn fault_after(&self, plan: &str, light: Settings) -> Value {
        self.cameras.add("front", "1-2", "SN-1", plan);
        *self.light.lock().expect("the light") = light;
        self.cameras.plug("front", 4);
        let session = self.service.settled().await;
        assert_eq!(session["state"], "paused", "{session}");
        let status = self.service.status().await;
        println!("{:#}", status["faults"]);
        assert!(status["faults"][0]["todo"].as_str().is_some_and(|todo| !todo.is_empty()), "{status:#}");
        status["faults"][0].clone()
    }
}

fn configuration(folder: &TempDir, port: &str) -> String {
    let recipes = folder.path().join("recipes");
    // What matters here is where the pictures were taken, and how.
    write_recipe(&recipes, "turn", FRAMES, "retakes = 0");
    let file = recipes.join("turn.toml");
    let text =
        std::fs::read_to_string(&file).expect("the recipe").replace("settle_ms = 0", "settle_ms = 150");
    std::fs::write(&file, format!("{text}\n{}", lenient_policy())).expect("the recipe");
    format!(
        "{}\n[motion]\nreopen_s = 0.2\nannounce_s = 1.0\n[recipes]\nfolder = {recipes:?}\n\
         [rig.turntable]\ndriver = \"profile\"\nprofile = \"comxim\"\nserial = {port:?}\nsettle_ms = 50\n\
         [rig.cameras.front]\ndriver = \"v4l\"\nserial = \"SN-1\"\nsize = [320, 240]\nfocus_ms = 0\n\
         exposure_frames = 6\n",
        turnstage_tests::STATION.replace("camera_wait_s = 0.0", &format!("camera_wait_s = {WAIT_S}.0"))
    )
}

/// A word and its number in the comment that the camera writes into each picture: what it was really taken with.
fn truly(jpeg: &[u8], key: &str) -> u32 {
    let comment = String::from_utf8_lossy(&jpeg[..200.min(jpeg.len())]).into_owned();
    let (_, value) = comment.split_once(&format!("{key}=")).unwrap_or_else(|| panic!("{key} in {comment}"));
    value.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernels_camera_back_under_another_number_is_locked_as_it_metered_and_the_turn_is_finished() {
    let rig = Rig::unplugged_at(30).await;
    let id = rig.service.start_session("turn").await;
    rig.awaited(30).await;
    let before = rig.cameras.log("front").len();
    // At this angle its automatics would come to one exposure value and 800 K more.
    let plan = PLAN.replace("metered 157", "metered 314").replace("white 4650", "white 5450");
    rig.cameras.add("front", "1-2", "SN-1", &plan);
    rig.cameras.plug("front", 4);
    let session = rig.service.settled().await;
    assert_eq!((&session["state"], &session["taken"]), (&"review".into(), &FRAMES.into()), "{session}");

    // It forgot everything when it lost its power: opened by its other number, and set to what was in force before.
    let log = rig.cameras.log("front").split_off(before);
    let at =
        |line: &str| log.iter().position(|told| told == line).unwrap_or_else(|| panic!("{line}: {log:?}"));
    assert!(!log.iter().any(|line| line == "open video0"), "{log:?}");
    for locked in ["Auto Exposure = 1", "Exposure Time, Absolute = 157", "White Balance Temperature = 4650"] {
        assert!(at(&format!("set {locked}")) > at("open video4"), "{locked}: {log:?}");
    }
    let mut records: Vec<Record> = rig.service.records(&id).await;
    records.retain(|record| record.key.product == "original" && record.superseded_by.is_none());
    records.sort_by_key(|record| record.facts.shot);
    assert_eq!(records.len(), FRAMES as usize);
    for record in records {
        let (frame, camera) = (record.facts.shot + 1, &record.meta["camera"]);
        let jpeg = std::fs::read(rig.service.data().join("spool/media").join(&record.media)).expect("a file");
        let node = if frame < 30 { "/dev/video0" } else { "/dev/video4" };
        assert_eq!(camera["more"]["node"], node, "frame {frame}");
        assert_eq!(camera["applied"]["exposure"]["exposure_us"], 15_700.0, "frame {frame}");
        assert_eq!(camera["applied"]["exposure"]["wb_kelvin"], 4650.0, "frame {frame}");
        assert_eq!((truly(&jpeg, "exposure"), truly(&jpeg, "white")), (157, 4650), "frame {frame}");
        assert_eq!(record.facts.angle_commanded, Some(STEP_DEG * f64::from(frame - 1)), "frame {frame}");
    }
    // It went back once, for a look at what frame 29 saw.
    let told = rig.cable.with(|table| table.told.clone());
    assert!(told.iter().any(|by| *by < 0.0 || *by > 180.0), "it looked at the place of frame 29: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_sees_everything_twice_as_bright_when_it_is_back_is_told_against_its_last_frame() {
    let rig = Rig::unplugged_at(30).await;
    rig.service.start_session("turn").await;
    rig.awaited(30).await;
    // One exposure value more light falls in: the lock is the same.
    let fault = rig.fault_after(PLAN, light(1.0, 0.0)).await;
    assert_eq!(fault["rule"], "camera-moved", "{fault}");
    let what = fault["what"].as_str().expect("words");
    // Frame 29 is that at 280 degrees.
    assert!(what.starts_with("Camera front is back and does not see what it saw at 280.0°: "), "{what}");
    // The lamp is put right, and a person goes on.
    *rig.light.lock().expect("the light") = light(0.0, 0.0);
    rig.service.resume().await;
    let session = rig.service.settled().await;
    assert_eq!((&session["state"], &session["taken"]), (&"review".into(), &FRAMES.into()), "{session}");
}
