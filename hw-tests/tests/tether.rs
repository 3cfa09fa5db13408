//! The driver gphoto2 with the real libgphoto2, our helper process and the library's virtual camera.
//!
//! What the virtual camera does not model (pairs, ISO, focus, a low battery) is tried in the driver's own tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::camera::{ExposeRequest, Settings, Variant, gphoto2};
use turnstage_drivers::frame::{Codec, FrameData};
use turnstage_drivers::{Camera, CameraError, DeviceOptions, FrameSet, Surroundings};
use turnstage_hw_tests::wire::tether::{MODEL, PICTURES_MAX, SERIAL, VirtualCamera};

/// A file that begins and ends like a JPEG; the virtual camera looks no closer.
fn picture(seed: u8) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, seed, seed];
    file.extend((0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed));
    file.extend([0xff, 0xd9]);
    file
}

/// A virtual camera, or a line for the list of skips.
fn virtual_camera(test: &str) -> Option<VirtualCamera> {
    match VirtualCamera::new(&picture(1)) {
        Ok(camera) => Some(camera),
        Err(reason) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run here: {reason}");
            println!("SKIP {test}: {reason}");
            None
        }
    }
}

async fn open_by(helper: &Path, keys: &str) -> Result<Box<dyn Camera>, CameraError> {
    let text = format!("driver = \"gphoto2\"\nhelper = \"{}\"\n{keys}", helper.display());
    let options: DeviceOptions = toml::from_str(&text).unwrap();
    turnstage_drivers::camera::open("main", &options, &Surroundings::default()).await
}

async fn open(camera: &VirtualCamera) -> Box<dyn Camera> {
    open_by(&camera.helper(), "").await.unwrap()
}

async fn shoot_within(camera: &mut dyn Camera, limit: Duration) -> Result<FrameSet, CameraError> {
    let not_before = Instant::now();
    let variant = Variant::default();
    let exposed = camera.expose(&ExposeRequest { not_before, deadline: not_before + limit, variant }).await?;
    camera.fetch(exposed).await
}

async fn shoot(camera: &mut dyn Camera) -> Result<FrameSet, CameraError> {
    shoot_within(camera, Duration::from_secs(20)).await
}

#[track_caller]
fn assert_is(set: &FrameSet, jpeg: &[u8]) {
    let [frame] = set.frames.as_slice() else { panic!("{} frames", set.frames.len()) };
    let FrameData::Encoded { codec: Codec::Jpeg, bytes } = &frame.data else { panic!("no JPEG: {frame:?}") };
    assert!(*bytes == VirtualCamera::filled(jpeg), "{} bytes that are another picture", bytes.len());
}

#[tokio::test]
async fn the_virtual_camera_is_listed_and_opened_by_what_stays_the_same() {
    let Some(camera) = virtual_camera("the_virtual_camera_is_listed") else { return };
    let listed = gphoto2::list(Some(camera.helper())).await;
    let [listing] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((listing.label.as_str(), listing.id.as_str(), &listing.problem), (MODEL, SERIAL, &None));
    assert_eq!((listing.firmware.as_deref(), listing.tried), (Some("2.5.11"), false));
    let keys = toml::to_string(&listing.options.as_ref().unwrap().keys).unwrap();
    let opened = open_by(&camera.helper(), &keys).await.unwrap();
    let info = opened.info();
    assert_eq!((info.model.as_str(), info.id.as_str()), (MODEL, SERIAL));
    assert!(info.can.bracket && !info.can.focus);
    let error = open_by(&camera.helper(), "serial = \"7\"").await.err().unwrap().to_string();
    assert!(error.contains(MODEL) && error.contains("has the serial number 7"), "{error}");
}

#[tokio::test]
async fn settings_are_read_back_from_the_camera() {
    let Some(camera) = virtual_camera("settings_are_read_back") else { return };
    let mut opened = open_by(&camera.helper(), "aperture = 8.0").await.unwrap();
    let settings = Settings { exposure_us: Some(21_000.0), ..Settings::default() };
    let applied = opened.apply(&settings).await.unwrap();
    assert_eq!((applied.requested, applied.exposure.exposure_us), (settings, Some(20_000.0)));
    let error = opened.apply(&Settings { gain: Some(2.0), ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains("leave gain out"), "{error}");
    let exposed = opened
        .expose(&ExposeRequest {
            not_before: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(20),
            variant: Variant { ev: -1.0, focus: None },
        })
        .await
        .unwrap();
    let set = opened.fetch(exposed).await.unwrap();
    assert_eq!(set.frames[0].exposure.exposure_us, Some(10_000.0));
}

#[tokio::test]
async fn pictures_come_byte_for_byte_and_change_with_the_object() {
    let Some(camera) = virtual_camera("pictures_come_byte_for_byte") else { return };
    let mut opened = open(&camera).await;
    opened.apply(&Settings::default()).await.unwrap();
    for seed in 1..5 {
        camera.show(&picture(seed)).unwrap();
        let set = shoot(opened.as_mut()).await.unwrap();
        assert_is(&set, &picture(seed));
        assert_eq!((set.frames[0].seq, set.discarded_stale), (seed.into(), 0));
    }
}

#[tokio::test]
async fn the_conformance_suite_passes() {
    let Some(camera) = virtual_camera("the_conformance_suite_passes") else { return };
    let report = turnstage_hw_tests::camera::conform(open(&camera).await).await;
    println!("{report}");
    assert_eq!(report.broken(), [""; 0], "{report}");
}

#[tokio::test]
async fn a_library_that_hangs_is_killed_and_the_camera_opened_anew() {
    let Some(camera) = virtual_camera("a_library_that_hangs_is_killed") else { return };
    let mut opened = open(&camera).await;
    opened.apply(&Settings { exposure_us: Some(50_000.0), ..Settings::default() }).await.unwrap();
    assert_is(&shoot(opened.as_mut()).await.unwrap(), &picture(1));
    let first = camera.process().unwrap();
    camera.stall().unwrap();
    let begun = Instant::now();
    let error = shoot_within(opened.as_mut(), Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    camera.show(&picture(2)).unwrap();
    let set = shoot(opened.as_mut()).await.unwrap();
    assert_is(&set, &picture(2));
    assert_eq!(set.frames[0].exposure.exposure_us, Some(50_000.0), "set as before");
    assert_ne!(camera.process(), Some(first), "another process");
}

#[tokio::test]
async fn a_helper_that_dies_in_mid_capture_is_a_disconnected_camera_that_opens_again() {
    let Some(camera) = virtual_camera("a_helper_that_dies_in_mid_capture") else { return };
    let mut opened = open(&camera).await;
    let exposed = opened
        .expose(&ExposeRequest {
            not_before: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(20),
            variant: Variant::default(),
        })
        .await
        .unwrap();
    assert!(camera.kill());
    let error = opened.fetch(exposed).await.unwrap_err();
    assert!(matches!(error, CameraError::Disconnected { .. }) && error.needs_reopen(), "{error}");
    camera.unplug().unwrap();
    let error = opened.warm_up(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, CameraError::NotPresent { .. }), "{error}");
    camera.plug().unwrap();
    camera.show(&picture(3)).unwrap();
    assert_is(&shoot(opened.as_mut()).await.unwrap(), &picture(3));
    drop(opened);
    assert_is(&shoot(open(&camera).await.as_mut()).await.unwrap(), &picture(3));
}

#[tokio::test]
async fn a_full_card_asks_for_a_person() {
    let Some(camera) = virtual_camera("a_full_card_asks_for_a_person") else { return };
    let mut opened = open(&camera).await;
    for _ in 0..PICTURES_MAX {
        shoot(opened.as_mut()).await.unwrap();
    }
    let error = shoot(opened.as_mut()).await.unwrap_err();
    assert!(matches!(error, CameraError::Attention { .. }), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
}

#[tokio::test]
async fn a_camera_that_refuses_to_expose_says_so() {
    let Some(camera) = virtual_camera("a_camera_that_refuses_to_expose") else { return };
    camera.empty().unwrap();
    let mut opened = open(&camera).await;
    let error = shoot(opened.as_mut()).await.unwrap_err();
    assert!(matches!(error, CameraError::Attention { .. }), "{error}");
}

#[tokio::test]
async fn a_helper_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("turnstage-tether");
    let hello = "{\"answer\":\"hello\",\"protocol\":2,\"version\":\"9.9\",\"library\":\"\"}";
    let script = format!(
        "#!/bin/sh\nprintf '\\000\\000\\000\\{:03o}\\000\\000\\000\\000%s' '{hello}'\ncat\n",
        hello.len()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = open_by(&helper, "").await.err().unwrap();
    assert!(matches!(error, CameraError::LibraryMissing { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("version 9.9 and speaks protocol 2") && said.contains("install the one"), "{said}");
    let error = open_by(Path::new("/nowhere/turnstage-tether"), "").await.err().unwrap().to_string();
    assert!(error.contains("/nowhere/turnstage-tether cannot be used"), "{error}");
}
