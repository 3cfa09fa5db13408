//! What is measured on rendered pictures, against what the booth knows to be true.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use turnstage::command::Act;
use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::backend::Payload;
use turnstage_drivers::camera::{self, ExposeRequest, Variant};
use turnstage_drivers::frame::{Frame, FrameData};
use turnstage_drivers::optics::{Intrinsics, Pose};
use turnstage_drivers::sim::{Booth, BoothOptions, Object};
use turnstage_drivers::turntable::{self, Reference};
use turnstage_drivers::{DeviceOptions, Surroundings};
use turnstage_pipeline::axis::{self, Axis, Lens, View};
use turnstage_pipeline::{Plane, board, marker, rim};
use turnstage_tests::Bench;

use super::{calibrated, rig, station};

pub(super) type V3 = [f64; 3];
/// Where a camera stood, and the pixel at which it saw a point.
type Ray = (Pose, [f64; 2]);

/// Pixels and part of the object's size that triangulated points may be off.
const REPROJECTION_PX_MAX: f64 = 0.5;
const TRUTH_PART_MAX: f64 = 0.002;

/// The luma of a JPEG: samples, stride, width and height.
fn luma(jpeg: &[u8]) -> (Vec<u8>, usize, usize, usize) {
    let header = turbojpeg::read_header(jpeg).expect("a JPEG");
    let yuv = turbojpeg::decompress_to_yuv(jpeg).expect("a JPEG");
    let stride = header.width.next_multiple_of(4);
    (yuv.pixels, stride, header.width, header.height)
}

pub(super) fn marks(jpeg: &[u8]) -> Vec<marker::Mark> {
    let (samples, stride, width, height) = luma(jpeg);
    marker::find(&Plane::new(&samples, stride, width, height).expect("a plane"))
}

pub(super) fn bytes(bench: &Bench, record: &Record) -> bytes::Bytes {
    match bench.running.spool.payload(record).expect("a picture") {
        Payload::Ram(bytes) => bytes,
        Payload::File(path) => std::fs::read(path).expect("a file").into(),
    }
}

/// Pixel of a place in the object's frame; the lens bends nothing.
fn pixel(lens: &Intrinsics, pose: &Pose, at: V3) -> [f64; 2] {
    let off = [0, 1, 2].map(|k| at[k] - pose.translation[k]);
    let [x, y, z] = [0, 1, 2].map(|k| (0..3).map(|row| pose.rotation[row][k] * off[row]).sum::<f64>());
    [lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy]
}

/// The place whose pixels are nearest to those seen, by Gauss and Newton, and the root mean square of what is left.
fn triangulated(lens: &Intrinsics, seen: &[Ray]) -> (V3, f64) {
    const STEP: f64 = 1e-6;
    let mut at = [0.0, 0.0, 0.05];
    let beside = |at: V3| -> Vec<f64> {
        seen.iter()
            .flat_map(|(pose, is)| {
                let to = pixel(lens, pose, at);
                [to[0] - is[0], to[1] - is[1]]
            })
            .collect()
    };
    for _ in 0..20 {
        let here = beside(at);
        let slopes = [0, 1, 2].map(|k| {
            let mut moved = at;
            moved[k] += STEP;
            let there = beside(moved);
            here.iter().zip(&there).map(|(a, b)| (b - a) / STEP).collect::<Vec<f64>>()
        });
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let m = [0, 1, 2].map(|i| [0, 1, 2].map(|j| dot(&slopes[i], &slopes[j])));
        let side = [0, 1, 2].map(|i| -dot(&slopes[i], &here));
        let det = |m: [V3; 3]| {
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
                - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
                + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        };
        for k in 0..3 {
            let mut with = m;
            (0..3).for_each(|row| with[row][k] = side[row]);
            at[k] += det(with) / det(m);
        }
    }
    let left = beside(at);
    (at, (2.0 * left.iter().map(|px| px * px).sum::<f64>() / left.len() as f64).sqrt())
}

/// Turned about z, so that two sets of points lie on each other: where x points is a choice of the calibration.
fn laid_on(points: &[V3], truth: &[V3]) -> Vec<V3> {
    let (along, across) = points.iter().zip(truth).fold((0.0, 0.0), |(along, across), (a, b)| {
        (along + a[0] * b[0] + a[1] * b[1], across + a[0] * b[1] - a[1] * b[0])
    });
    let (sin, cos) = f64::atan2(across, along).sin_cos();
    points.iter().map(|p| [cos * p[0] - sin * p[1], sin * p[0] + cos * p[1], p[2]]).collect()
}

fn apart(a: V3, b: V3) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// Control points on the marked block: by every mark's corner in every frame that shows it.
async fn control_points(camera: &str) -> (Axis, Booth, f64, f64) {
    let bench = station(&rig(camera, ""));
    let axes = calibrated(&bench, Object::Block).await;
    let axis = axes[0].axis.clone();
    let id = bench.start("turn").await;
    bench.settled(&id).await;
    let mut seen: BTreeMap<(u16, usize), Vec<Ray>> = BTreeMap::new();
    for record in bench.records(&id).await {
        let pose = axis.pose(record.facts.angle_reached.expect("an angle"));
        for mark in marks(&bytes(&bench, &record)) {
            for (k, at) in mark.corners.into_iter().enumerate() {
                seen.entry((mark.id, k)).or_default().push((pose, at));
            }
        }
    }
    bench.ask(Act::Abort).await.expect("an end");
    let booth = bench.running.around.booth.clone().expect("a booth");
    let (mut found, mut truth, mut worst_px) = (Vec::new(), Vec::new(), 0.0_f64);
    for (mark, corners) in booth.block() {
        for (k, corner) in corners.into_iter().enumerate() {
            let views =
                seen.get(&(mark, k)).filter(|views| views.len() >= 2).expect("a corner that is seen twice");
            let (at, px) = triangulated(&axis.lens, views);
            worst_px = worst_px.max(px);
            found.push(at);
            truth.push(corner);
        }
    }
    let size = apart(truth[0], truth[2]).max(0.12);
    let off = laid_on(&found, &truth).iter().zip(&truth).map(|(a, b)| apart(*a, *b)).fold(0.0, f64::max);
    bench.end().await;
    (axis, booth, worst_px, off / size)
}

fn near_truth(axis: &Axis, booth: &Booth) -> (f64, f64) {
    let (lens, pose) = booth.optics("main").expect("a camera");
    let level = |at: V3| [at[0].hypot(at[1]), at[2]];
    let (is, truth) = (level(axis.camera.translation), level(pose.translation));
    let mm = 1000.0 * (is[0] - truth[0]).hypot(is[1] - truth[1]);
    (mm, axis.lens.fx / lens.fx - 1.0)
}

#[tokio::test(start_paused = true)]
async fn points_in_space_are_found_by_a_calibration_that_measured_lens_and_axis_together() {
    let (axis, booth, px, part) = control_points("").await;
    let (mm, focal) = near_truth(&axis, &booth);
    println!(
        "camera {mm:.3} mm and focal length {:.4} % beside the truth, corners {:.3} px; points {px:.3} px and {:.4} % of \
         the object",
        100.0 * focal,
        axis.rms_px,
        100.0 * part
    );
    assert!(!axis.lens_known && axis.rms_px < 0.2, "{axis:?}");
    assert!(px <= REPROJECTION_PX_MAX && part <= TRUTH_PART_MAX, "{px} px, {part} of the object");
    assert!(mm < 2.0 && focal.abs() < 0.003, "{mm} mm, {focal}");
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_tells_its_lens_is_taken_at_its_word() {
    let (axis, booth, px, part) = control_points("tells_lens = true").await;
    let (mm, focal) = near_truth(&axis, &booth);
    println!("camera {mm:.3} mm beside the truth; points {px:.3} px and {:.4} % of the object", 100.0 * part);
    assert!(axis.lens_known && focal == 0.0, "{axis:?}");
    assert!(px <= REPROJECTION_PX_MAX && part <= TRUTH_PART_MAX && mm < 0.5, "{px} px, {part}, {mm} mm");
}

#[tokio::test(start_paused = true)]
async fn a_low_camera_and_a_camera_of_few_pixels_calibrate_too() {
    let cases = [("20.0", "1152, 864"), ("60.0", "1152, 864"), ("35.0", "800, 600")];
    for (elevation, size) in cases {
        let text = rig("", "").replace("elevation_deg = 35.0", &format!("elevation_deg = {elevation}"));
        let text = text.replace("size = [1152, 864]", &format!("size = [{size}]"));
        let bench = station(&text);
        let axes = calibrated(&bench, Object::Empty).await;
        let booth = bench.running.around.booth.clone().expect("a booth");
        let (mm, focal) = near_truth(&axes[0].axis, &booth);
        println!("{elevation} {size}: {mm:.3} mm, {:.4} %, {:.3} px", 100.0 * focal, axes[0].axis.rms_px);
        assert!(mm < 2.0 && focal.abs() < 0.003, "{elevation} {size}: {mm} mm, {focal}");
        bench.end().await;
    }
}

/// A camera and a table of a booth with marks round its platter, without a station.
async fn marked_booth() -> (Booth, Box<dyn camera::Camera>, Box<dyn turntable::Turntable>) {
    let options = BoothOptions { object: Object::Board, rim_markers: true, ..BoothOptions::default() };
    let booth = Booth::new(options).expect("a booth");
    let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
    let options = |keys: &str| DeviceOptions { driver: "sim".to_owned(), keys: keys.parse().expect("keys") };
    let camera = camera::open("main", &options("elevation_deg = 25.0\ntransfer_ms = 0.0"), &around).await;
    let mut table = turntable::open(&options("vibration_deg = 0.0"), &around).await.expect("a table");
    table.reference(Reference::Home).await.expect("a zero");
    (booth, camera.expect("a camera"), table)
}

async fn exposed(camera: &mut dyn camera::Camera) -> Frame {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(60);
    let request = ExposeRequest { not_before: now, deadline, variant: Variant::default() };
    let exposed = camera.expose(&request).await.expect("an exposure");
    camera.fetch(exposed).await.expect("a picture").frames.remove(0)
}

fn jpeg(frame: &Frame) -> &[u8] {
    match &frame.data {
        FrameData::Encoded { bytes, .. } => bytes,
        FrameData::Pixels { .. } => panic!("a JPEG was expected"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_marks_on_the_rim_tell_the_angle_of_a_platter_that_turns_at_the_instant_of_an_exposure() {
    let (booth, mut camera, mut table) = marked_booth().await;
    let (mut views, mut pictures) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let frame = exposed(camera.as_mut()).await;
        let angle_deg = booth.true_angle_at(frame.time.start);
        let (samples, stride, width, height) = luma(jpeg(&frame));
        let plane = Plane::new(&samples, stride, width, height).expect("a plane");
        views.push(View { angle_deg: Some(angle_deg), corners: board::corners(&plane, &booth.board()) });
        pictures.push((angle_deg, frame));
        table.move_by(30.0).await.expect("a move");
    }
    let axis =
        axis::calibrate(&views, &booth.board(), Lens::Size { width: 1152, height: 864 }).expect("an axis");
    assert_eq!(axis.judge(), []);
    let read = |frame: &Frame| {
        let (samples, stride, width, height) = luma(jpeg(frame));
        rim::read(&Plane::new(&samples, stride, width, height).expect("a plane"), &booth.rim(), &axis)
    };
    let readings: Vec<_> =
        pictures.iter().map(|(deg, frame)| ((*deg).into(), read(frame).expect("a reading"))).collect();
    let zero = rim::zero_deg(&readings).expect("a zero");
    // Somebody turns it by hand, then it turns on by itself.
    booth.push(77.7);
    table.rotate(6.0).await.expect("it turns");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut before = booth.true_angle();
    for _ in 0..6 {
        let frame = exposed(camera.as_mut()).await;
        let reading = read(&frame).expect("a reading");
        let sighting = reading.sighting(zero, before, &frame);
        // The picture is of the whole exposure, 8 ms of it.
        let truth = booth.true_angle_at(sighting.at);
        println!(
            "{:.3} is {truth:.3}, within {:.3}, {} marks",
            sighting.deg, sighting.error_deg, reading.marks
        );
        assert!((sighting.deg - truth).abs() < 0.1 && sighting.error_deg < 0.2, "{sighting:?} {truth}");
        assert!(reading.marks >= 3 && sighting.at == frame.time.start + Duration::from_millis(4));
        before = sighting.deg;
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    table.stop().await.expect("a stop");
}
