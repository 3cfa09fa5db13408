//! What is asked of a camera is in force, and what cannot be is refused.

use std::time::Duration;

use turnstage_drivers::CameraError;
use turnstage_drivers::camera::{Settings, Variant};
use turnstage_hw_tests::fake_v4l2::{Cameras, on_cameras};

use super::{PATIENCE, add, one, open, shoot, shoot_as, truth, try_open};

fn at(log: &[String], line: &str) -> usize {
    log.iter().rposition(|told| told == line).unwrap_or_else(|| panic!("{line} in {log:#?}"))
}

#[test]
fn settings_are_locked_in_the_right_order_and_read_back() {
    const NAME: &str = "settings::settings_are_locked_in_the_right_order_and_read_back";
    on_cameras(NAME, one(""), async |cameras| {
        let keys = "gain_base = 16\npower_line = \"50hz\"\ncontrols = { brightness = 100 }";
        let mut camera = open(keys).await;
        let settings = Settings {
            exposure_us: Some(8000.0),
            gain: Some(2.0),
            wb_kelvin: Some(5004.0),
            focus: Some(0.5),
            size: Some((320, 240)),
            quality: Some(90),
        };
        let applied = camera.apply(&settings).await.unwrap();
        assert_eq!((applied.requested, applied.size), (settings, (320, 240)));
        let exposure = applied.exposure;
        assert_eq!((exposure.exposure_us, exposure.gain), (Some(8000.0), Some(2.0)));
        assert_eq!((exposure.wb_kelvin, exposure.focus), (Some(5000.0), Some(0.5)));
        let frame = shoot(&mut camera).await.unwrap().frames.remove(0);
        assert_eq!(frame.exposure, exposure);
        let seen = ["exposure", "white", "focus"].map(|key| truth(&frame, key));
        assert_eq!(seen, [80, 5000, 125], "the first frame is taken with them already");
        let log = cameras.log("front");
        assert!(at(&log, "set Auto Exposure = 1") < at(&log, "set Exposure Time, Absolute = 80"));
        assert!(
            at(&log, "set White Balance, Automatic = 0") < at(&log, "set White Balance Temperature = 5000")
        );
        assert!(at(&log, "set Focus, Automatic Continuous = 0") < at(&log, "set Focus, Absolute = 125"));
        at(&log, "set Power Line Frequency = 1");
        at(&log, "set Brightness = 100");
        assert!(!log.iter().any(|line| line.starts_with("refused")), "{log:#?}");
    });
}

#[test]
fn a_value_that_does_not_hold_is_no_lock() {
    on_cameras(
        "settings::a_value_that_does_not_hold_is_no_lock",
        one("ignores Exposure Time, Absolute"),
        async |_| {
            let mut camera = open("").await;
            let settings = Settings { exposure_us: Some(8000.0), ..Settings::default() };
            let told = camera.apply(&settings).await.unwrap_err();
            assert!(matches!(told, CameraError::Unsupported { .. }));
            assert!(told.to_string().contains("was set to 80 and reads"), "{told}");
            let settings = Settings { exposure_us: Some(9e6), ..Settings::default() };
            let told = camera.apply(&settings).await.unwrap_err().to_string();
            assert!(told.contains("exposure_us = 9000000: this camera takes 204700 at most"), "{told}");
        },
    );
}

#[test]
fn a_camera_that_came_back_takes_no_picture_before_its_settings_hold() {
    const NAME: &str = "settings::a_camera_that_came_back_takes_no_picture_before_its_settings_hold";
    let both = |cameras: &Cameras| {
        add(cameras, "again", "refuse control EINVAL 1");
        one("fault gone 12")(cameras);
    };
    on_cameras(NAME, both, async |cameras| {
        let mut camera = open("").await;
        let settings = Settings { exposure_us: Some(8000.0), wb_kelvin: Some(5000.0), ..Settings::default() };
        camera.apply(&settings).await.unwrap();
        while shoot(&mut camera).await.is_ok() {}
        // The same one to whoever looks; it refuses the first setting.
        cameras.plug("again", 6);
        let refused = shoot(&mut camera).await.unwrap_err();
        assert!(matches!(refused, CameraError::Unsupported { .. }), "{refused}");
        let frame = shoot(&mut camera).await.unwrap().frames.remove(0);
        assert_eq!(["exposure", "white"].map(|key| truth(&frame, key)), [80, 5000]);
        assert_eq!(cameras.log("again").iter().filter(|line| line.starts_with("close")).count(), 1);
    });
}

#[test]
fn what_the_automatic_found_while_warming_up_is_held() {
    on_cameras("settings::what_the_automatic_found_while_warming_up_is_held", one(""), async |cameras| {
        let mut camera = open("").await;
        camera.warm_up(PATIENCE).await.unwrap();
        let applied = camera.apply(&Settings::default()).await.unwrap();
        assert_eq!(applied.exposure.exposure_us, Some(15_700.0), "what its automatic comes to");
        assert_eq!(applied.exposure.wb_kelvin, Some(4650.0));
        let frame = shoot(&mut camera).await.unwrap().frames.remove(0);
        assert_eq!(truth(&frame, "exposure"), 157);
        let log = cameras.log("front");
        assert!(
            at(&log, "set Auto Exposure = 1") < at(&log, "set Exposure Time, Absolute = 157"),
            "{log:#?}"
        );
    });
}

#[test]
fn a_bracket_is_taken_with_each_exposure_and_focus_in_force() {
    const NAME: &str = "settings::a_bracket_is_taken_with_each_exposure_and_focus_in_force";
    on_cameras(NAME, one("latency 2"), async |_| {
        let mut camera = open("focus_ms = 50").await;
        camera
            .apply(&Settings { exposure_us: Some(8000.0), focus: Some(0.2), ..Settings::default() })
            .await
            .unwrap();
        let (mut seen, mut told) = (Vec::new(), Vec::new());
        for (ev, focus) in [(0.0, None), (-1.0, None), (1.0, None), (0.0, Some(0.4)), (0.0, None)] {
            let set = shoot_as(&mut camera, Duration::ZERO, Variant { ev, focus }).await.unwrap();
            let frame = &set.frames[0];
            seen.push((truth(frame, "exposure"), truth(frame, "focus")));
            told.push((frame.exposure.exposure_us.unwrap(), frame.exposure.focus.unwrap()));
        }
        assert_eq!(seen, [(80, 50), (40, 50), (160, 50), (80, 100), (80, 50)]);
        assert_eq!(told, [(8000.0, 0.2), (4000.0, 0.2), (16_000.0, 0.2), (8000.0, 0.4), (8000.0, 0.2)]);
        let too_long =
            shoot_as(&mut camera, Duration::ZERO, Variant { ev: 10.0, focus: None }).await.unwrap_err();
        assert!(too_long.to_string().contains("204700 at most"), "{too_long}");
        assert_eq!(truth(&shoot(&mut camera).await.unwrap().frames[0], "exposure"), 80);
    });
}

#[test]
fn a_format_that_is_answered_otherwise_is_refused() {
    on_cameras(
        "settings::a_format_that_is_answered_otherwise_is_refused",
        one("answer 160x120"),
        async |_| {
            let told = try_open("size = [640, 480]").await.map(drop).unwrap_err();
            assert!(matches!(told, CameraError::Unsupported { .. }));
            let told = told.to_string();
            assert!(
                told.contains("answered MJPG of 160x120") && told.contains("offers 640x480, 320x240"),
                "{told}"
            );
        },
    );
}

#[test]
fn a_rate_that_is_answered_otherwise_is_refused() {
    on_cameras("settings::a_rate_that_is_answered_otherwise_is_refused", one("fps 15"), async |_| {
        let told = try_open("fps = 30").await.map(drop).unwrap_err().to_string();
        assert!(told.contains("fps = 30: it answered 15.0"), "{told}");
        shoot(&mut open("fps = 10").await).await.unwrap();
    });
}
