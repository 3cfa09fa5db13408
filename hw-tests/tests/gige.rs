//! The driver gige with the real Aravis, our helper process and Aravis' own camera on the loopback network.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::camera::{ExposeRequest, Settings, Variant, gige};
use turnstage_drivers::frame::{FrameData, PixelFormat};
use turnstage_drivers::{Camera, CameraError, DeviceOptions, FrameSet, Surroundings};

const PROGRAM: &str = "arv-fake-gv-camera-0.8";
const ID: &str = "Aravis-Fake-TURNSTAGE1";

/// A camera on 127.0.0.1. There is one such address, so there is one test.
struct NetworkCamera(Child);

impl NetworkCamera {
    fn start() -> Result<NetworkCamera, String> {
        let mut command = Command::new(PROGRAM);
        command.args(["-i", "127.0.0.1", "-s", "TURNSTAGE1"]).stdout(Stdio::null());
        command
            .spawn()
            .map(NetworkCamera)
            .map_err(|e| format!("{PROGRAM} does not start ({e}): aravis-tools"))
    }
}

impl Drop for NetworkCamera {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn helper() -> Result<PathBuf, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/gige/release/turnstage-gige");
    built.canonicalize().map_err(|_| format!("no {}: ./dev gige builds it", built.display()))
}

async fn open(helper: &Path, keys: &str) -> Result<Box<dyn Camera>, CameraError> {
    let text = format!("driver = \"gige\"\nhelper = \"{}\"\n{keys}", helper.display());
    let options: DeviceOptions = toml::from_str(&text).unwrap();
    turnstage_drivers::camera::open("main", &options, &Surroundings::default()).await
}

async fn shoot(camera: &mut dyn Camera, limit: Duration) -> Result<FrameSet, CameraError> {
    let not_before = Instant::now();
    let variant = Variant::default();
    let exposed = camera.expose(&ExposeRequest { not_before, deadline: not_before + limit, variant }).await?;
    camera.fetch(exposed).await
}

#[tokio::test]
async fn a_camera_of_the_network_is_found_set_triggered_missed_when_it_is_gone_and_shoots_when_it_is_back() {
    let (helper, network) = match (helper(), NetworkCamera::start()) {
        (Ok(helper), Ok(network)) => (helper, network),
        (Err(reason), _) | (_, Err(reason)) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "cannot run here: {reason}");
            println!("SKIP a_camera_of_the_network_is_found: {reason}");
            return;
        }
    };
    // It answers some moments after it was started.
    let begun = Instant::now();
    let listed = loop {
        let listed = gige::list(Some(helper.clone())).await;
        if listed.iter().any(|camera| camera.id == ID) || begun.elapsed() > Duration::from_secs(20) {
            break listed;
        }
    };
    assert!(listed.iter().any(|camera| camera.id == ID && camera.problem.is_none()), "{listed:?}");
    let keys = format!("id = \"{ID}\"\npixel_format = \"Mono8\"");
    let mut camera = open(&helper, &keys).await.unwrap();
    let settings = Settings { size: Some((128, 96)), exposure_us: Some(5000.0), ..Settings::default() };
    let applied = camera.apply(&settings).await.unwrap();
    assert_eq!((applied.size, applied.exposure.exposure_us), ((128, 96), Some(5000.0)));
    for _ in 0..5 {
        let set = shoot(camera.as_mut(), Duration::from_secs(10)).await.unwrap();
        let FrameData::Pixels { format: PixelFormat::Grey8, width: 128, height: 96, bytes, .. } =
            &set.frames[0].data
        else {
            panic!("{set:?}")
        };
        assert!(bytes.iter().any(|level| *level != bytes[0]), "a picture with something in it");
        assert_eq!(set.discarded_stale, 0, "only what was asked for");
    }
    let report = turnstage_hw_tests::camera::conform(camera).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let mut camera = open(&helper, &keys).await.unwrap();
    camera.apply(&settings).await.unwrap();
    drop(network);
    let begun = Instant::now();
    let error = shoot(camera.as_mut(), Duration::from_secs(3)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_millis(3500), "{error}");
    let gone = matches!(error, CameraError::Timeout { .. } | CameraError::Disconnected { .. });
    assert!(gone, "a camera that went away: {error:?}");
    let error = shoot(camera.as_mut(), Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, CameraError::NotPresent { .. }), "while it is away: {error:?}");
    let _network = NetworkCamera::start().unwrap();
    let begun = Instant::now();
    // It answers some moments after it was started.
    let set = loop {
        match shoot(camera.as_mut(), Duration::from_secs(10)).await {
            Err(CameraError::NotPresent { .. }) if begun.elapsed() < Duration::from_secs(20) => {}
            other => break other.unwrap(),
        }
    };
    let FrameData::Pixels { width: 128, height: 96, .. } = &set.frames[0].data else { panic!("{set:?}") };
    assert_eq!(set.frames[0].exposure.exposure_us, Some(5000.0), "set as before");
}
