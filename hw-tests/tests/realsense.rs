//! The real librealsense, loaded as a station loads it, plays a recording that is made here and shows known geometry.
//!
//! `./dev test` fetches the library into `target/lab`: Python's wheel of it, whose one file is librealsense and a
//! Python module. That file needs an interpreter's symbols, so each of these tests goes on in a process of its own
//! with that interpreter's library loaded before everything else.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::camera::{self, ExposeRequest, Settings, Variant};
use turnstage_drivers::frame::{FrameData, FrameSet, PixelFormat, StreamKind, TimeSource};
use turnstage_drivers::optics::{Distortion, Intrinsics};
use turnstage_drivers::{Camera, CameraError, Surroundings};
use turnstage_hw_tests::realsense_lab::{self, Lab, Plug, VERSIONS, in_lab, options, skip};
use turnstage_pipeline::InputLimits;
use turnstage_pipeline::depth::{self, Distances};

/// What recording.py draws. The colour camera stands this much to the left of the other.
const BESIDE_M: f64 = 0.015;
const SQUARE_MM: f64 = 800.0;
const WALL_MM: u16 = 1500;
/// Of the square in the depth picture: first and last column, first and last row.
const SQUARE: [f64; 4] = [110.0, 199.0, 80.0, 159.0];
const DEPTH_LENS: [f64; 4] = [190.5, 190.25, 159.5, 119.75];

async fn open(text: &str) -> Result<Box<dyn Camera>, CameraError> {
    camera::open("main", &options(text), &Surroundings::default()).await
}

async fn shoot(camera: &mut dyn Camera) -> Result<FrameSet, CameraError> {
    let not_before = Instant::now();
    let deadline = not_before + Duration::from_secs(10);
    let exposed = camera.expose(&ExposeRequest { not_before, deadline, variant: Variant::default() }).await?;
    assert!(exposed.start >= not_before && exposed.end >= exposed.start && exposed.end <= Instant::now());
    let set = camera.fetch(exposed).await?;
    assert!(set.frames.iter().all(|frame| frame.time.start >= not_before + frame.time.uncertainty));
    Ok(set)
}

/// Samples of a depth frame, and one channel of a colour frame, by row and column.
fn samples(data: &FrameData) -> Vec<Vec<u16>> {
    let FrameData::Pixels { format, width, stride, bytes, .. } = data else { panic!("{data:?}") };
    let row = |row: &[u8]| -> Vec<u16> {
        match format {
            PixelFormat::Z16 => row.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(),
            PixelFormat::Rgb8 => row.chunks_exact(3).map(|b| u16::from(b[0])).collect(),
            other => panic!("{other:?}"),
        }
    };
    let rows = bytes.chunks_exact(*stride as usize).map(row);
    rows.map(|mut row| (row.truncate(*width as usize), row).1).collect()
}

/// The number of the set that a shot shows: its colour says it, and its depth must be of the same set.
fn number(set: &FrameSet) -> u16 {
    let [color, depth] = set.frames.as_slice() else { panic!("{} frames", set.frames.len()) };
    let number = samples(&color.data)[0][0];
    let square = samples(&depth.data)[120][160];
    assert_eq!(square, SQUARE_MM as u16 + number, "depth of another set than colour {number}");
    number
}

/// Where the colour camera sees what the depth camera has at column `u` and row `v`, `z_m` away: OpenCV's formulas,
/// forward, with what recording.py says of both.
fn seen_by_color(u: f64, v: f64, z_m: f64, lens: &Intrinsics) -> (f64, f64) {
    let [fx, fy, cx, cy] = DEPTH_LENS;
    let (x, y) = ((u - cx) / fx + BESIDE_M / z_m, (v - cy) / fy);
    let [k1, k2, p1, p2, k3] = lens.coefficients;
    let r2 = x * x + y * y;
    let radial = 1.0 + k1 * r2 + k2 * r2 * r2 + k3 * r2 * r2 * r2;
    let bent_x = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x);
    let bent_y = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y;
    (bent_x * lens.fx + lens.cx, bent_y * lens.fy + lens.cy)
}

#[test]
fn a_recording_is_played_with_lens_unit_and_distances_as_they_were() {
    in_lab("a_recording_is_played_with_lens_unit_and_distances_as_they_were", async |lab| {
        let bag = lab.recording(30);
        let mut camera = open(&format!("{}\nloop = true", lab.keys(&bag))).await.unwrap();
        let info = camera.info();
        assert_eq!(
            (info.driver, info.id.as_str(), info.model.as_str()),
            ("realsense", "000000000042", "Synthetic D435")
        );
        assert_eq!((info.firmware.as_deref(), info.size_max), (Some("5.17.0.10"), (320, 240)));
        assert!(info.can.depth && !info.tried);
        let set = shoot(camera.as_mut()).await.unwrap();
        let [color, depth] = set.frames.as_slice() else { panic!("{set:?}") };
        assert_eq!((color.kind, depth.kind), (StreamKind::Color, StreamKind::Depth));
        assert_eq!((color.depth_unit_m, depth.depth_unit_m), (None, Some(0.001)));
        let lens = color.intrinsics.unwrap();
        assert_eq!(depth.intrinsics, Some(lens), "depth is aligned to colour");
        assert_eq!((lens.width, lens.height, lens.distortion), (320, 240, Distortion::Brown));
        assert_eq!([lens.fx, lens.fy, lens.cx, lens.cy], [305.125, 305.0, 160.25, 120.5]);
        let wanted = [0.05f32, -0.02, 0.001, 0.002, 0.0].map(f64::from);
        assert_eq!(lens.coefficients, wanted);
        assert_eq!((color.exposure.exposure_us, color.exposure.wb_kelvin), (Some(15_600.0), Some(4600.0)));
        assert_eq!(depth.exposure.exposure_us, Some(8500.0));
        assert_eq!(color.time.source, TimeSource::Device);
        assert_eq!(color.meta["stamp-clock"], "HardwareClock");
        assert_eq!(color.meta["librealsense"], lab.version());
        assert_eq!(depth.meta["measured-size"], "320x240");
        number(&set);
    });
}

#[test]
fn depth_lies_where_the_colour_camera_sees_it() {
    in_lab("depth_lies_where_the_colour_camera_sees_it", async |lab| {
        is_aligned(&lab, &lab.recording(30)).await;
    });
}

/// The library's own alignment is up to four pixels beside here: it leaves this lens out.
#[test]
fn depth_lies_where_a_lens_that_bends_much_sees_it() {
    in_lab("depth_lies_where_a_lens_that_bends_much_sees_it", async |lab| {
        is_aligned(&lab, &lab.bent_recording(30)).await;
    });
}

async fn is_aligned(lab: &Lab, bag: &Path) {
    let mut camera = open(&format!("{}\nloop = true", lab.keys(bag))).await.unwrap();
    let set = shoot(camera.as_mut()).await.unwrap();
    let z_m = (SQUARE_MM + f64::from(number(&set))) / 1000.0;
    let lens = set.frames[1].intrinsics.unwrap();
    let depth = samples(&set.frames[1].data);
    let [left, right, top, bottom] = SQUARE;
    let near = |x: usize, y: usize| depth[y][x] != 0 && depth[y][x] < WALL_MM;
    let middle = seen_by_color((left + right) / 2.0, (top + bottom) / 2.0, z_m, &lens);
    let (middle_x, middle_y) = (middle.0 as usize, middle.1 as usize);
    let columns: Vec<usize> = (0..320).filter(|x| near(*x, middle_y)).collect();
    let rows: Vec<usize> = (0..240).filter(|y| near(middle_x, *y)).collect();
    // Each side of the square, half a pixel outside its last samples, at the height of its middle.
    let sides = [
        (columns[0], seen_by_color(left - 0.5, 119.5, z_m, &lens).0),
        (*columns.last().unwrap(), seen_by_color(right + 0.5, 119.5, z_m, &lens).0),
        (rows[0], seen_by_color(154.5, top - 0.5, z_m, &lens).1),
        (*rows.last().unwrap(), seen_by_color(154.5, bottom + 0.5, z_m, &lens).1),
    ];
    for (found, wanted) in sides {
        assert!((found as f64 - wanted).abs() <= 1.0, "{sides:?}");
    }
    // Without alignment the square would be 90 samples wide; the longer lens of the colour camera widens it.
    assert!(columns.len() > 140, "{} columns", columns.len());
    let wall = depth[10].iter().filter(|z| **z == WALL_MM).count();
    assert!(wall > 200, "{wall} samples of the wall above the square");
}

#[test]
fn points_of_every_lens_are_where_the_library_has_them() {
    let (width, height) = (64u32, 48u32);
    let distances = depth::lossless_png(width, height, 2 * width, &1000u16.to_le_bytes().repeat(64 * 48));
    let distances = Distances::of_png(&distances.unwrap(), 0.001, &InputLimits::default()).unwrap();
    let grey = vec![7; 3 * 64 * 48].into();
    let format = PixelFormat::Rgb8;
    let grey = FrameData::Pixels { format, width, height, stride: 3 * width, bytes: grey };
    for version in VERSIONS {
        let lab = match Lab::find(version) {
            Ok(lab) => lab,
            Err(reason) => return skip("points_of_every_lens_are_where_the_library_has_them", &reason),
        };
        for distortion in [Distortion::None, Distortion::Brown, Distortion::InverseBrown] {
            let coefficients = [-0.12, 0.06, 0.002, -0.003, -0.01];
            let (fx, fy, cx, cy) = (50.0, 51.0, 31.5, 24.25);
            let lens = Intrinsics { width, height, fx, fy, cx, cy, distortion, coefficients };
            let file = depth::ply(&grey, &distances, &lens).unwrap();
            let points = file[file.len() - 15 * 64 * 48..].chunks_exact(15);
            let float = |at: &[u8]| f64::from(f32::from_le_bytes([at[0], at[1], at[2], at[3]]));
            for (point, told) in points.zip(lab.rays(&lens)) {
                let found = [float(point), float(&point[4..])];
                let apart = (found[0] - told[0]).hypot(found[1] - told[1]);
                assert!(apart < 2e-6, "{version}, {distortion:?}: {found:?}, the library has {told:?}");
            }
        }
    }
}

#[test]
fn colour_and_depth_of_every_shot_are_of_one_moment() {
    in_lab("colour_and_depth_of_every_shot_are_of_one_moment", async |lab| {
        let bag = lab.recording(60);
        let mut camera = open(&lab.keys(&bag)).await.unwrap();
        let mut numbers = Vec::new();
        for _ in 0..8 {
            let set = shoot(camera.as_mut()).await.unwrap();
            assert!(set.max_skew < Duration::from_millis(33), "{:?}", set.max_skew);
            numbers.push(number(&set));
        }
        assert!(numbers.is_sorted_by(|a, b| a < b), "each shot is a new set: {numbers:?}");
    });
}

#[test]
fn colour_and_depth_further_apart_than_allowed_are_no_shot() {
    in_lab("colour_and_depth_further_apart_than_allowed_are_no_shot", async |lab| {
        let keys = format!("{}\nloop = true", lab.keys(&lab.late_recording(30)));
        let mut camera = open(&keys).await.unwrap();
        let set = shoot(camera.as_mut()).await.unwrap();
        // Stamps 30 ms apart, and the shutter times of 15.6 and 8.5 ms before them.
        assert!(set.max_skew.abs_diff(Duration::from_micros(22_900)) < Duration::from_millis(1), "{set:?}");
        drop(camera);
        let mut camera = open(&format!("{keys}\nskew_ms_max = 10.0")).await.unwrap();
        let not_before = Instant::now();
        let deadline = not_before + Duration::from_secs(3);
        let request = ExposeRequest { not_before, deadline, variant: Variant::default() };
        let error = camera.expose(&request).await.unwrap_err();
        assert!(matches!(error, CameraError::Attention { .. }), "{error}");
        assert!(error.to_string().contains("had colour and depth of different moments"), "{error}");
    });
}

#[test]
fn a_recording_that_has_ended_has_no_more_pictures() {
    in_lab("a_recording_that_has_ended_has_no_more_pictures", async |lab| {
        let bag = lab.recording(12);
        let mut camera = open(&lab.keys(&bag)).await.unwrap();
        let error = loop {
            match shoot(camera.as_mut()).await {
                Ok(set) => assert!(number(&set) <= 12),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CameraError::Exhausted { .. }), "{error}");
    });
}

#[test]
fn a_recording_keeps_its_own_settings_and_says_so() {
    in_lab("a_recording_keeps_its_own_settings_and_says_so", async |lab| {
        let bag = lab.recording(30);
        let mut camera = open(&format!("{}\nloop = true", lab.keys(&bag))).await.unwrap();
        let wanted = Settings { exposure_us: Some(8000.0), wb_kelvin: Some(5000.0), ..Settings::default() };
        let applied = camera.apply(&wanted).await.unwrap();
        assert_eq!((applied.requested, applied.size), (wanted, (320, 240)));
        assert_eq!((applied.exposure.exposure_us, applied.exposure.wb_kelvin), (None, None), "not in force");
        let set = shoot(camera.as_mut()).await.unwrap();
        assert_eq!(set.frames[0].meta["not-applied"], "exposure_us, wb_kelvin");
        let error = camera.apply(&Settings { focus: Some(0.5), ..wanted }).await.unwrap_err();
        assert!(error.to_string().contains("focus: the lens of a RealSense cannot be moved"), "{error}");
    });
}

#[test]
fn a_camera_that_is_pulled_out_is_disconnected_not_present_while_it_is_away_and_opens_again() {
    const NAME: &str =
        "a_camera_that_is_pulled_out_is_disconnected_not_present_while_it_is_away_and_opens_again";
    in_lab(NAME, async |lab| {
        let bag = lab.recording(30);
        let plug = lab.plug(&bag);
        let mut camera = open(&plug.keys()).await.unwrap();
        assert_eq!(camera.info().id, Plug::SERIAL);
        camera.apply(&Settings::default()).await.unwrap();
        camera.warm_up(Duration::from_secs(10)).await.unwrap();
        number(&shoot(camera.as_mut()).await.unwrap());
        plug.pull();
        let begun = Instant::now();
        let error = loop {
            // A set that was taken before may lie in the queue.
            match shoot(camera.as_mut()).await {
                Ok(_) => assert!(begun.elapsed() < Duration::from_secs(5), "it goes on without a cable"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CameraError::Disconnected { .. }) && error.needs_reopen(), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "sooner than its deadline: {:?}", begun.elapsed());
        drop(camera);
        let error = open(&plug.keys()).await.err().unwrap();
        assert!(matches!(error, CameraError::NotPresent { .. }), "{error:?}");
        assert!(error.to_string().contains("no RealSense is plugged in"), "{error}");
        plug.put();
        let mut camera = open(&plug.keys()).await.unwrap();
        number(&shoot(camera.as_mut()).await.unwrap());
    });
}

#[test]
fn the_recorded_camera_keeps_the_promises_of_a_camera() {
    in_lab("the_recorded_camera_keeps_the_promises_of_a_camera", async |lab| {
        let bag = lab.recording(30);
        let camera = open(&format!("{}\nloop = true", lab.keys(&bag))).await.unwrap();
        let report = turnstage_hw_tests::camera::conform(camera).await;
        assert_eq!(report.broken(), [""; 0], "{report}");
    });
}

#[test]
fn two_cameras_of_one_station_play_side_by_side() {
    in_lab("two_cameras_of_one_station_play_side_by_side", async |lab| {
        let bag = lab.recording(30);
        let keys = format!("{}\nloop = true", lab.keys(&bag));
        let (left, right) = tokio::join!(open(&keys), open(&keys));
        let (mut left, mut right) = (left.unwrap(), right.unwrap());
        for _ in 0..3 {
            let (a, b) = tokio::join!(shoot(left.as_mut()), shoot(right.as_mut()));
            number(&a.unwrap());
            number(&b.unwrap());
        }
        drop(left);
        number(&shoot(right.as_mut()).await.unwrap());
    });
}

#[test]
fn a_missing_and_a_damaged_recording_are_told_apart() {
    in_lab("a_missing_and_a_damaged_recording_are_told_apart", async |lab| {
        let bag = lab.recording(12);
        let error = open(&lab.keys(Path::new("/nowhere/turn.bag"))).await.err().unwrap();
        assert!(error.to_string().contains("cannot open the recording /nowhere/turn.bag"), "{error}");
        let whole = std::fs::read(&bag).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cut = folder.path().join("cut.bag");
        for length in [20, 5000, whole.len() / 2] {
            std::fs::write(&cut, &whole[..length]).unwrap();
            let error = open(&lab.keys(&cut)).await.err().unwrap();
            assert!(matches!(error, CameraError::Unsupported { .. }), "{length} bytes: {error}");
            assert!(error.to_string().contains("cut.bag cannot be played: it is damaged"), "{error}");
        }
    });
}

#[test]
fn a_process_has_one_library_only() {
    in_lab("a_process_has_one_library_only", async |lab| {
        let bag = lab.recording(12);
        drop(open(&lab.keys(&bag)).await.unwrap());
        let other = "library = \"/elsewhere/librealsense2.so\"";
        let error = open(&format!("{other}\nbag = \"{}\"", bag.display())).await.err().unwrap();
        assert!(matches!(error, CameraError::LibraryMissing { .. }), "{error}");
        assert!(error.to_string().contains("is in use already, and a process can have one only"), "{error}");
    });
}

#[test]
fn the_next_generation_of_the_library_plays_it_too() {
    realsense_lab::in_next_lab("the_next_generation_of_the_library_plays_it_too", &[], async |lab| {
        let bag = lab.recording(30);
        let mut camera = open(&format!("{}\nloop = true", lab.keys(&bag))).await.unwrap();
        let set = shoot(camera.as_mut()).await.unwrap();
        number(&set);
        assert_eq!(set.frames[0].meta["librealsense"], lab.version());
        assert_eq!(set.frames[1].depth_unit_m, Some(0.001));
    });
}

#[test]
fn a_library_that_would_report_usage_is_not_used() {
    let on = [("RS2_RUM_CLOUD_ENABLED", "1")];
    realsense_lab::in_next_lab("a_library_that_would_report_usage_is_not_used", &on, async |lab| {
        let bag = lab.recording(12);
        let error = open(&lab.keys(&bag)).await.err().unwrap();
        assert!(matches!(error, CameraError::LibraryMissing { .. }), "{error}");
        assert!(error.to_string().contains("RS2_RUM_CLOUD_ENABLED=0"), "{error}");
    });
}

#[tokio::test]
async fn without_a_library_it_is_said_what_was_tried() {
    let error = open("library = \"/nowhere/librealsense2.so\"").await.err().unwrap();
    assert!(matches!(error, CameraError::LibraryMissing { .. }), "{error}");
    assert!(error.to_string().contains("there is no /nowhere/librealsense2.so"), "{error}");
}

#[tokio::test]
async fn another_library_is_refused_and_nothing_of_it_is_called() {
    let error = open("library = \"libm.so.6\"").await.err().unwrap();
    assert!(matches!(error, CameraError::LibraryMissing { .. }), "{error}");
    assert!(error.to_string().contains("it lacks rs2_"), "{error}");
}
