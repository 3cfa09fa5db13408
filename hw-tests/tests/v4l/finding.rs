//! Which cameras there are, which is which, and why one cannot be used.

use turnstage_drivers::{CameraError, DeviceOptions, Surroundings};
use turnstage_hw_tests::fake_v4l2::{Cameras, on_cameras};

use super::{one, open, shoot, try_open};

#[test]
fn a_bus_without_bandwidth_says_what_to_do() {
    on_cameras(
        "finding::a_bus_without_bandwidth_says_what_to_do",
        one("refuse streamon ENOSPC 1"),
        async |_| {
            let mut camera = open("").await;
            let told = shoot(&mut camera).await.unwrap_err();
            assert!(matches!(told, CameraError::Unsupported { .. }));
            assert!(told.to_string().contains("lower fps or size"), "{told}");
            shoot(&mut camera).await.unwrap();
        },
    );
}

#[test]
fn a_camera_that_another_program_holds_is_busy_and_says_by_whom() {
    const NAME: &str = "finding::a_camera_that_another_program_holds_is_busy_and_says_by_whom";
    on_cameras(NAME, one(""), async |cameras| {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let script = "exec 9<\"$0\"; flock -n 9 || exit 1; echo held; read -r end";
        let mut other = Command::new("bash");
        other.args(["-c", script]).arg(cameras.node(2)).env_remove("LD_PRELOAD");
        let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        if told.trim() != "held" {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "flock is missing");
            other.wait().unwrap();
            return println!("SKIP {NAME}: bash or flock is missing");
        }
        let listed = list().await;
        let holder = format!("in use by bash (pid {})", other.id());
        assert!(listed[0].problem.as_ref().is_some_and(|problem| problem.contains(&holder)), "{listed:?}");
        let opening = try_open("").await.map(drop).unwrap_err();
        assert!(matches!(&opening, CameraError::Busy { holder, .. } if holder.contains("bash")), "{opening}");
        drop(other.stdin.take());
        other.wait().unwrap();
        shoot(&mut open("").await).await.unwrap();
    });
}

async fn list() -> Vec<turnstage_drivers::Listing> {
    let driver = turnstage_drivers::camera::DRIVERS.iter().find(|driver| driver.name == "v4l").unwrap();
    (driver.list)().await
}

#[test]
fn a_camera_that_may_not_be_opened_names_the_group() {
    on_cameras(
        "finding::a_camera_that_may_not_be_opened_names_the_group",
        one("refuse open EACCES"),
        async |_| {
            let told = try_open("").await.map(drop).unwrap_err();
            assert!(
                matches!(&told, CameraError::Permission { hint, .. } if hint.contains("group \"video\"")),
                "{told}"
            );
            let listed = list().await;
            assert_eq!(listed.len(), 1, "{listed:?}");
            assert!(listed[0].problem.as_ref().unwrap().contains("udev rule"), "{listed:?}");
        },
    );
}

#[test]
fn cameras_are_listed_once_each_by_what_stays() {
    let prepare = |cameras: &Cameras| {
        cameras.add("left", "1-2.1", "SN0001", "card Twin Camera");
        cameras.add("right", "1-2.2", "SN0001", "card Twin Camera");
        cameras.add("top", "1-4", "B7", "card Top Camera\nformats H264");
        for (number, name) in ["top", "right", "left"].into_iter().enumerate() {
            cameras.plug(name, number as u32 * 2);
        }
    };
    on_cameras("finding::cameras_are_listed_once_each_by_what_stays", prepare, async |_| {
        let listed = list().await;
        let told: Vec<_> = listed.iter().map(|one| (one.id.as_str(), one.label.as_str())).collect();
        assert_eq!(told, [("1-2.1", "Twin Camera"), ("1-2.2", "Twin Camera"), ("B7", "Top Camera")]);
        assert_eq!(listed[0].options.as_ref().unwrap().keys["usb"].as_str(), Some("1-2.1"));
        assert_eq!(listed[2].options.as_ref().unwrap().keys["serial"].as_str(), Some("B7"));
        assert_eq!(listed[2].problem.as_deref(), Some("gives H264 and none of MJPG, YUYV and NV12"));
        assert_eq!((listed[0].firmware.as_deref(), listed[0].tried), (Some("0.11"), false));
        let twins: DeviceOptions = toml::from_str("driver = \"v4l\"\nserial = \"SN0001\"").unwrap();
        let told = turnstage_drivers::camera::open("a", &twins, &Surroundings::default()).await.map(drop);
        let told = told.unwrap_err().to_string();
        assert!(told.contains("1-2.1, 1-2.2 tell the same serial number"), "{told}");
        for which in ["usb = \"1-2.2\"", "device = \"/dev/v4l/by-id/usb-fake_right-video-index0\""] {
            let options: DeviceOptions = toml::from_str(&format!("driver = \"v4l\"\n{which}")).unwrap();
            let camera =
                turnstage_drivers::camera::open("a", &options, &Surroundings::default()).await.unwrap();
            assert_eq!((camera.info().model.as_str(), camera.info().size_max), ("Twin Camera", (640, 480)));
        }
    });
}
