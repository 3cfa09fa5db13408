//! The Video4Linux driver on cameras that are not there: every trap of the kernel's interface, each in a process of
//! its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod finding;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::camera::{ExposeRequest, Settings, Variant};
use turnstage_drivers::frame::{FrameData, TimeSource};
use turnstage_drivers::{Camera, CameraError, DeviceOptions, Frame, FrameSet, Surroundings};
use turnstage_hw_tests::fake_v4l2::{Cameras, on_cameras, picture};

const PATIENCE: Duration = Duration::from_secs(20);
/// Of answers that may all be wrong: seeds that share no sequence of them.
const SEEDS: [u64; 5] = [4711, 0x1_0001, 0x2f_0000, 0x9a3b_0000_0000, 0xfedc_ba98_7654_0000];
/// Ways in which a frame can be damaged.
const DAMAGES: [&str; 6] = ["flagged", "short", "corrupt", "empty", "overlong", "index"];

/// One camera with a picture before it, plugged in as `/dev/video2`.
fn one(plan: &str) -> impl FnOnce(&Cameras) {
    move |cameras| {
        add(cameras, "front", plan);
        cameras.plug("front", 2);
    }
}

/// A camera with a picture before it, not plugged in yet. All have the same number and belong into the same socket.
fn add(cameras: &Cameras, name: &str, plan: &str) {
    cameras.add(name, "1-2.3", "A0017", &format!("size 640x480\nsize 320x240\n{plan}"));
    show(cameras, name);
}

/// Puts a picture before a camera.
fn show(cameras: &Cameras, name: &str) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    cameras.show(name, &runtime.block_on(picture((320, 240))));
}

async fn try_open(keys: &str) -> Result<Box<dyn Camera>, CameraError> {
    let text = format!("driver = \"v4l\"\nserial = \"A0017\"\n{keys}");
    let options: DeviceOptions = toml::from_str(&text).unwrap();
    turnstage_drivers::camera::open("main", &options, &Surroundings::default()).await
}

async fn open(keys: &str) -> Box<dyn Camera> {
    try_open(keys).await.unwrap()
}

async fn shoot_as(
    camera: &mut Box<dyn Camera>,
    wait: Duration,
    variant: Variant,
) -> Result<FrameSet, CameraError> {
    let not_before = Instant::now() + wait;
    let exposed =
        camera.expose(&ExposeRequest { not_before, deadline: not_before + PATIENCE, variant }).await?;
    assert!(exposed.start >= not_before && exposed.end >= exposed.start, "{exposed:?}");
    assert!(exposed.end <= Instant::now());
    camera.fetch(exposed).await
}

async fn shoot(camera: &mut Box<dyn Camera>) -> Result<FrameSet, CameraError> {
    shoot_as(camera, Duration::ZERO, Variant::default()).await
}

fn jpeg(frame: &Frame) -> &[u8] {
    let FrameData::Encoded { bytes, .. } = &frame.data else { panic!("{frame:?}") };
    bytes
}

/// What the camera wrote into a frame: its number, what it was taken with, and when.
fn truth(frame: &Frame, key: &str) -> i64 {
    let comment = String::from_utf8_lossy(&jpeg(frame)[6..160]).into_owned();
    let (_, value) = comment.split_once(&format!("{key}=")).unwrap_or_else(|| panic!("{key} in {comment}"));
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().unwrap()
}

#[test]
fn it_keeps_every_promise_of_a_camera() {
    on_cameras("it_keeps_every_promise_of_a_camera", one(""), async |_| {
        let report = turnstage_hw_tests::camera::conform(open("").await).await;
        println!("{report}");
        assert_eq!(report.broken(), [""; 0], "{report}");
    });
}

#[test]
fn a_stream_that_stalls_is_begun_anew() {
    on_cameras("a_stream_that_stalls_is_begun_anew", one("fault stall 9"), async |cameras| {
        let mut camera = open("frame_limit_ms = 400").await;
        let mut ended = shoot(&mut camera).await;
        while ended.is_ok() {
            ended = shoot(&mut camera).await;
        }
        assert!(matches!(ended, Err(CameraError::Timeout { .. })), "{ended:?}");
        let set = shoot(&mut camera).await.unwrap();
        assert!(truth(&set.frames[0], "frame") > 9);
        let log = cameras.log("front");
        assert_eq!(log.iter().filter(|line| *line == "stream").count(), 2, "{log:?}");
        assert!(!log.iter().any(|line| line.contains("refused to queue")), "{log:?}");
    });
}

#[test]
fn an_unplugged_camera_is_found_again_under_another_number() {
    const NAME: &str = "an_unplugged_camera_is_found_again_under_another_number";
    on_cameras(NAME, one("fault gone 12"), async |cameras| {
        let mut camera = open("").await;
        let mut ended = shoot(&mut camera).await;
        let mut last = 0;
        while let Ok(set) = ended {
            last = set.frames[0].seq;
            ended = shoot(&mut camera).await;
        }
        assert!(matches!(ended, Err(CameraError::Disconnected { .. })), "{ended:?}");
        let away = shoot(&mut camera).await.unwrap_err();
        assert!(matches!(&away, CameraError::NotPresent { hint, .. } if hint.contains("A0017")), "{away}");
        assert!(matches!(try_open("").await.map(drop), Err(CameraError::NotPresent { .. })));
        cameras.plug("front", 6);
        let set = shoot(&mut camera).await.unwrap();
        assert_eq!(set.frames[0].meta["node"], "/dev/video6");
        assert!(set.frames[0].seq > last, "numbers go on");
        drop(camera);
        shoot(&mut open("").await).await.unwrap();
    });
}

#[test]
fn a_camera_that_fails_while_it_is_closed_ends_nothing() {
    const NAME: &str = "a_camera_that_fails_while_it_is_closed_ends_nothing";
    let plan = "refuse streamoff EIO\nrefuse free EIO\nrefuse close EIO\nfault stall 6";
    on_cameras(NAME, one(plan), async |cameras| {
        let mut camera = open("frame_limit_ms = 300").await;
        while shoot(&mut camera).await.is_ok() {}
        shoot(&mut camera).await.unwrap();
        drop(camera);
        shoot(&mut open("").await).await.unwrap();
        assert!(cameras.log("front").iter().filter(|line| line.starts_with("close")).count() >= 2);
    });
}

#[test]
fn a_control_of_a_type_that_nobody_knows_is_passed_over() {
    const NAME: &str = "a_control_of_a_type_that_nobody_knows_is_passed_over";
    on_cameras(NAME, one("unknown-type"), async |_| {
        let mut camera = open("").await;
        assert!(camera.info().can.bracket && camera.info().can.focus);
        shoot(&mut camera).await.unwrap();
    });
}

#[test]
fn a_camera_without_controls_takes_pictures_and_no_settings() {
    const NAME: &str = "a_camera_without_controls_takes_pictures_and_no_settings";
    on_cameras(NAME, one("no-controls"), async |_| {
        let mut camera = open("").await;
        camera.warm_up(PATIENCE).await.unwrap();
        assert!(!camera.info().can.bracket && !camera.info().can.focus);
        shoot(&mut camera).await.unwrap();
        let settings = Settings { exposure_us: Some(8000.0), ..Settings::default() };
        let told = camera.apply(&settings).await.unwrap_err().to_string();
        assert!(told.contains("exposure_us: this camera has no control for it"), "{told}");
    });
}

#[test]
fn damaged_frames_are_told_and_the_next_is_whole() {
    let plan: String =
        DAMAGES.iter().enumerate().map(|(at, kind)| format!("fault {kind} {}\n", 8 + at * 12)).collect();
    on_cameras("damaged_frames_are_told_and_the_next_is_whole", one(&plan), async |_| {
        let mut camera = open("exposure_frames = 0\nfocus_ms = 0").await;
        let (mut told, mut frame) = (Vec::new(), 0);
        while frame < 8 + 12 * DAMAGES.len() as i64 {
            match shoot(&mut camera).await {
                Ok(set) => {
                    frame = truth(&set.frames[0], "frame");
                    assert!(jpeg(&set.frames[0]).ends_with(&[0xff, 0xd9]), "as many bytes as were used");
                }
                Err(CameraError::Corrupt { what, .. }) => told.push(what),
                Err(other) => panic!("{other}"),
            }
        }
        println!("{told:#?}");
        let words = [
            "marked the frame",
            "without its end",
            "do not begin",
            "empty",
            "4294967295 bytes",
            "stream broke",
        ];
        for word in words {
            assert!(told.iter().any(|told| told.contains(word)), "{word}: {told:?}");
        }
    });
}

#[test]
fn lost_frames_are_counted() {
    on_cameras("lost_frames_are_counted", one("fault lose 20"), async |_| {
        let mut camera = open("").await;
        let mut lost = 0;
        let mut frame = 0;
        while frame < 22 {
            let set = shoot_as(&mut camera, Duration::from_millis(50), Variant::default()).await.unwrap();
            (lost, frame) = (lost + set.frames[0].lost_before, truth(&set.frames[0], "frame"));
        }
        assert_eq!(lost, 1);
    });
}

/// A frame's own word for when its exposure began, on the clock that the station waits on.
fn began(frame: &Frame) -> Instant {
    let up = std::fs::read_to_string("/proc/uptime").unwrap();
    let up = Duration::from_secs_f64(up.split_once(' ').unwrap().0.parse().unwrap());
    Instant::now() - up.saturating_sub(Duration::from_micros(truth(frame, "start_us").unsigned_abs()))
}

async fn only_fresh_frames(source: TimeSource) {
    let mut camera = open("").await;
    camera.apply(&Settings { exposure_us: Some(8000.0), ..Settings::default() }).await.unwrap();
    shoot(&mut camera).await.unwrap();
    for wait in [0, 70, 300] {
        let wait = Duration::from_millis(wait);
        let not_before = Instant::now() + wait;
        let set = shoot_as(&mut camera, wait, Variant::default()).await.unwrap();
        let frame = &set.frames[0];
        assert_eq!(frame.time.source, source);
        // The uptime of the machine is told in hundredths of a second.
        let slack = Duration::from_millis(20);
        let began = began(frame);
        assert!(began + slack >= not_before, "began {:?} too early", not_before - began);
        let apart = began.max(frame.time.start) - began.min(frame.time.start);
        assert!(apart <= frame.time.uncertainty + slack, "{apart:?} off, told {:?}", frame.time.uncertainty);
    }
}

/// The queue fills while nobody looks; what lies in it is older than the moment that was asked for.
async fn what_lay_in_the_queue_is_stale(cameras: &Cameras) {
    let mut camera = open("").await;
    shoot(&mut camera).await.unwrap();
    let mut often = tokio::time::interval(Duration::from_millis(5));
    while !cameras.log("front").iter().any(|line| line == "nobody takes frames") {
        often.tick().await;
    }
    let not_before = Instant::now();
    let set = shoot(&mut camera).await.unwrap();
    assert!(set.discarded_stale >= 3, "{}", set.discarded_stale);
    assert_eq!(set.frames[0].lost_before, 0, "what fell out while nobody looked was not lost");
    assert!(began(&set.frames[0]) + Duration::from_millis(20) >= not_before);
}

#[test]
fn only_frames_that_began_late_enough_count_with_stamps_of_the_start() {
    const NAME: &str = "only_frames_that_began_late_enough_count_with_stamps_of_the_start";
    on_cameras(NAME, one("stamp start"), async |cameras| {
        only_fresh_frames(TimeSource::KernelStart).await;
        what_lay_in_the_queue_is_stale(&cameras).await;
    });
}

#[test]
fn only_frames_that_began_late_enough_count_with_stamps_of_the_end() {
    const NAME: &str = "only_frames_that_began_late_enough_count_with_stamps_of_the_end";
    on_cameras(NAME, one("stamp end"), async |cameras| {
        only_fresh_frames(TimeSource::KernelEnd).await;
        what_lay_in_the_queue_is_stale(&cameras).await;
    });
}

#[test]
fn only_frames_that_began_late_enough_count_without_stamps() {
    const NAME: &str = "only_frames_that_began_late_enough_count_without_stamps";
    on_cameras(NAME, one("stamp none"), async |cameras| {
        only_fresh_frames(TimeSource::Arrival).await;
        what_lay_in_the_queue_is_stale(&cameras).await;
    });
}

#[test]
fn stamps_of_the_future_are_not_believed() {
    on_cameras("stamps_of_the_future_are_not_believed", one("stamp future"), async |cameras| {
        only_fresh_frames(TimeSource::Arrival).await;
        what_lay_in_the_queue_is_stale(&cameras).await;
    });
}

#[test]
fn pixels_come_as_rows() {
    on_cameras("pixels_come_as_rows", one(""), async |_| {
        for (format, bytes) in [("yuyv", 320 * 240 * 2), ("nv12", 320 * 240 * 3 / 2)] {
            let mut camera = open(&format!("format = \"{format}\"\nsize = [320, 240]")).await;
            camera.warm_up(PATIENCE).await.unwrap();
            let frame = shoot(&mut camera).await.unwrap().frames.remove(0);
            let FrameData::Pixels { bytes: got, width, height, .. } = frame.data else { panic!() };
            assert_eq!((width, height, got.len()), (320, 240, bytes));
            assert_eq!(
                (got[0], got[2]),
                (0, if format == "yuyv" { 1 } else { 2 }),
                "spread over the full range"
            );
        }
    });
}

/// Exposures of a camera whose answers may all be wrong, for one seed: good ones, and how often each error was told.
async fn chaotic(camera: &mut Box<dyn Camera>, seed: u64) -> (u32, BTreeMap<String, u32>) {
    let (mut good, mut bad) = (0, BTreeMap::new());
    for _ in 0..60 {
        match shoot(camera).await {
            Ok(set) => {
                assert!(jpeg(&set.frames[0]).starts_with(&[0xff, 0xd8, 0xff]), "chaos {seed}: no JPEG");
                good += 1;
            }
            Err(CameraError::Poisoned { .. }) => panic!("chaos {seed}: the driver panicked or hung"),
            Err(error) => *bad.entry(error.to_string()).or_insert(0) += 1,
        }
    }
    (good, bad)
}

#[test]
fn whatever_a_driver_answers_is_an_answer_or_an_error() {
    let prepare = |cameras: &Cameras| {
        for (at, seed) in SEEDS.iter().enumerate() {
            let name = format!("chaos-{seed}");
            // Each in a socket of its own, which tells them apart.
            let plan = format!("size 640x480\nsize 320x240\nfps 120\nchaos {seed}");
            cameras.add(&name, &format!("1-{}", at + 1), &name, &plan);
            show(cameras, &name);
            cameras.plug(&name, 2 * at as u32);
        }
    };
    on_cameras("whatever_a_driver_answers_is_an_answer_or_an_error", prepare, async |_| {
        for (at, seed) in SEEDS.iter().enumerate() {
            let keys = format!(
                "driver = \"v4l\"\nusb = \"1-{}\"\nframe_limit_ms = 300\nexposure_frames = 0\nfocus_ms = 0",
                at + 1
            );
            let options: DeviceOptions = toml::from_str(&keys).unwrap();
            let opened = turnstage_drivers::camera::open("main", &options, &Surroundings::default()).await;
            let (good, bad) =
                chaotic(&mut opened.unwrap_or_else(|e| panic!("chaos {seed}: {e}")), *seed).await;
            println!("chaos {seed}: {good} good, {bad:?}");
            assert!(good > 10 && bad.len() > 2, "chaos {seed}: {good} good, {bad:#?}");
        }
    });
}
