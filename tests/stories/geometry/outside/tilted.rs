//! Turns of a tilted platter: shot by the station, calibrated, and read back from an export as the true poses.

use turnstage::calibration::axis::CameraAxis;
use turnstage::command::{Accepted, Act};
use turnstage::session::SessionState;
use turnstage_cloud_sync::Record;
use turnstage_drivers::sim::Booth;
use turnstage_pipeline::axis::TiltAxis;
use turnstage_tests::Bench;

use super::super::truth::{V3, bytes, marks};
use super::super::{Box, calibrate, session_in};
use super::*;

/// Pixels by which a corner of the block may lie beside where its measured pose says.
const BESIDE_PX_MAX: f64 = 1.5;
/// The axis of the tilt beneath the platter's top.
const BELOW_M: f64 = 0.04;

/// A rig whose table tilts.
fn tilting(camera: &str) -> String {
    rig(camera, "").replace("start_deg = 33.0", "start_deg = 33.0\ntilt_deg = [-30.0, 30.0]")
}

/// A recipe with a turn at each tilt.
fn rows(folder: &Path, name: &str, frames: u32, tilts: [f64; 2]) {
    let rows = tilts.map(|deg| format!("[[rows]]\nframes = {frames}\ntilt_deg = {deg:.1}\n"));
    let text =
        format!("subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 0\n\n{}", rows.concat());
    std::fs::create_dir_all(folder).expect("a folder for recipes");
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a recipe");
}

fn tilt_of(record: &Record) -> f64 {
    record.meta["place"]["tilt_deg"].as_f64().expect("a tilt")
}

/// Shoots a recipe to its end; every frame in order.
async fn shot(bench: &Bench, recipe: &str) -> Vec<Record> {
    let id = bench.start(recipe).await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Review, "{session:?} {:?}", bench.running.status.borrow().faults);
    let mut records = bench.records(&id).await;
    records.sort_by_key(|record| record.facts.shot);
    bench.ask(Act::Abort).await.expect("an end");
    records
}

/// A station with a calibration by two turns with the board, level and tilted, and the block in its place.
async fn calibrated_by_two_turns(camera: &str) -> (Bench, CameraAxis, Booth) {
    let bench = station(&tilting(camera));
    let recipes = bench.data.path().join("recipes");
    rows(&recipes, "turn", 12, [0.0, 18.0]);
    rows(&recipes, "object", 8, [-10.0, 14.0]);
    let act = Act::MeasureAxis { recipe: Some("turn".to_owned()) };
    let Accepted { session, .. } = bench.ask(act).await.expect("the session starts");
    let id = session.expect("a session id");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    bench.ask(calibrate(&bench, id)).await.expect("a calibration");
    bench.ask(Act::Abort).await.expect("the turn is thrown away");
    let booth = bench.running.around.booth.clone().expect("a booth");
    booth.put(Object::Block);
    let kept = bench.client().get("/api/v1/calibrations").await.json();
    let mut axes: Vec<CameraAxis> = serde_json::from_value(kept["axes"].clone()).expect("axes");
    (bench, axes.remove(0), booth)
}

/// Where a camera at `pose` sees a point of the object.
fn seen(lens: &Intrinsics, pose: &Pose, point: V3) -> [f64; 2] {
    let from = [0, 1, 2].map(|k| point[k] - pose.translation[k]);
    let [x, y, z] = [0, 1, 2].map(|k| (0..3).map(|row| pose.rotation[row][k] * from[row]).sum::<f64>());
    [lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy]
}

#[tokio::test(start_paused = true)]
async fn a_tilted_platter_is_shot_at_both_tilts_and_its_marks_lie_where_the_calibration_says() {
    let (bench, kept, booth) = calibrated_by_two_turns("tells_lens = true").await;
    let tilt = kept.tilt_axis.expect("the axis of the tilt");
    println!("{tilt:?}");
    assert_eq!(kept.tilt_deg, Some(0.0));
    assert_eq!(booth.tilt_axis_below_m(), Some(BELOW_M));
    assert!((tilt.at[2] + BELOW_M).abs() < 0.001 && tilt.at[0].abs() < 0.001, "{tilt:?}");
    assert!((tilt.along[1] - 1.0).abs() < 1e-4 && tilt.error_deg < 0.05, "{tilt:?}");

    let records = shot(&bench, "object").await;
    let tilts: Vec<f64> = records.iter().map(tilt_of).collect();
    assert_eq!(tilts, [[-10.0; 8], [14.0; 8]].concat());
    let (mut marked, mut worst_px) = (0, 0.0_f64);
    for record in &records {
        let pose = kept.pose(record, record.facts.angle_reached.expect("an angle")).expect("a pose");
        for mark in marks(&bytes(&bench, record)) {
            let block = booth.block();
            let (_, corners) = block.iter().find(|(id, _)| *id == mark.id).expect("a mark of the block");
            for (at, corner) in mark.corners.into_iter().zip(corners) {
                let is = seen(&kept.axis.lens, &pose, *corner);
                worst_px = worst_px.max((at[0] - is[0]).hypot(at[1] - is[1]));
                marked += 1;
            }
        }
    }
    println!("{marked} corners, the farthest {worst_px:.2} px beside");
    assert!(marked >= 100 && worst_px <= BESIDE_PX_MAX, "{marked} corners, {worst_px} px");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn tilted_rows_are_read_back_from_both_forms_as_the_true_poses() {
    let test = "tilted_rows_are_read_back_from_both_forms_as_the_true_poses";
    let Some(program) = python(test) else { return };
    let (bench, mut kept, booth) = calibrated_by_two_turns("azimuth_deg = 20.0\npan_deg = 3.0").await;
    let records = shot(&bench, "object").await;
    let (lens, camera) = booth.optics("main").expect("a camera");
    // What is exact in place of what was measured, so that only the conventions are judged.
    (kept.axis.lens, kept.axis.camera) = (lens, camera);
    kept.tilt_axis = Some(TiltAxis { at: [0.0, 0.0, -BELOW_M], along: [0.0, 1.0, 0.0], error_deg: 0.0 });
    let (mut pictures, mut stood) = (Vec::new(), Vec::new());
    for record in &records {
        let (turn_deg, tilt_deg) = (record.facts.angle_reached.expect("an angle"), tilt_of(record));
        let pose = kept.pose(record, turn_deg).expect("a pose");
        let truth = booth.pose("main", turn_deg, tilt_deg).expect("a camera");
        let apart = (0..3).map(|k| (pose.translation[k] - truth.translation[k]).abs()).fold(0.0, f64::max);
        assert!(apart <= METRES_MAX, "{turn_deg} {tilt_deg}: {apart} m");
        let file = record.facts.file_name.clone();
        pictures.push(Picture { file: file.clone(), lens, pose });
        stood.push(Stood { file, turn_deg, tilt_deg });
    }
    assert_eq!(pictures.len(), 16);
    bench.end().await;
    read_back_as_true(&program, &pictures, &truth(&lens, &camera, BELOW_M, &stood));
}

#[test]
fn an_export_of_tilted_rows_is_refused_until_the_axis_of_the_tilt_is_measured() {
    let station = Box::new();
    let recipes = station.data.path().join("recipes");
    let (board, block) = (tilting(""), tilting("").replace("\"board\"", "\"block\""));
    let level = std::fs::read(recipes.join("turn.toml")).expect("the level recipe");
    station.configure(&board);
    station.prints(&["calibrate", "axis"], "Where 1 camera stands is kept.");
    rows(&recipes, "turn", 12, [0.0, 18.0]);
    station.configure(&block);
    let ran = station.run(&["capture", "--item", "block"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let id = session_in(&station.run(&["sessions", "list"]).out, "review");
    let out = station.path("colmap");
    let export = ["export", &id, "--format", "colmap", "--to", &out];
    station.refused(&export, 77, "the calibration does not say at which");
    station.refused(&export, 77, "calibrate with a recipe whose rows name their tilts");
    assert!(!Path::new(&out).exists(), "nothing is written before a refusal");

    assert_eq!(station.run(&["sessions", "abort", &id]).code, 0);
    station.configure(&board);
    station.prints(&["calibrate", "axis"], "the platter tilts about a line");
    station.prints(&export, "24 pictures written");
    // A level picture whose recipe says nothing of a tilt may have been taken at any.
    std::fs::write(recipes.join("turn.toml"), level).expect("a recipe");
    station.configure(&block);
    assert_eq!(station.run(&["capture", "--item", "level"]).code, 0);
    let other = session_in(&station.run(&["sessions", "list"]).out, "review");
    let to = station.path("level");
    station.refused(&["export", &other, "--format", "nerf", "--to", &to], 77, "does not say at which tilt");
}
