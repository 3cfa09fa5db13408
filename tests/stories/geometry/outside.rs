//! What other programs read of an export: COLMAP's own reader, against the booth's true poses.

mod tilted;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage_drivers::optics::{Intrinsics, Pose};
use turnstage_pipeline::photogrammetry::{Picture, colmap, transforms};
use turnstage_tests::skip;

use super::{calibrated, rig, station};
use turnstage_drivers::sim::Object;

/// Metres between a pose that was read and the true one.
const METRES_MAX: f64 = 1e-6;
/// Pixels between where a point is seen by what was read and where it truly is: the booth's own arithmetic has 24 bits.
const PX_MAX: f64 = 1e-4;

/// Reads both forms and compares them with `truth.json`: the platter is turned and tilted, and the camera stays. Prints how far
/// they are apart: metres and pixels by COLMAP, then the same by transforms.json.
const SCRIPT: &str = r#"
import json, sys
import numpy as np
import pycolmap

folder = sys.argv[1]
truth = json.load(open(f"{folder}/truth.json"))
camera = np.array(truth["rotation"]), np.array(truth["translation"])
lens = truth["lens"]
points = np.array(truth["points"])

below = np.array([0, 0, -truth["below"]])

def expected(name):
    """Camera's centre and axes in the object's frame, and pixels with the first one's centre at (0.5, 0.5)."""
    a, b = np.radians(truth["angles"][name]), np.radians(truth["tilts"][name])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rotation, centre = camera
    in_room = (points @ turn.T - below) @ tilt.T + below
    seen = (in_room - centre) @ rotation
    x = lens["fx"] * seen[:, 0] / seen[:, 2] + lens["cx"] + 0.5
    y = lens["fy"] * seen[:, 1] / seen[:, 2] + lens["cy"] + 0.5
    level = tilt.T @ (centre - below) + below
    return turn.T @ level, turn.T @ tilt.T @ rotation, np.stack([x, y], 1)

model = pycolmap.Reconstruction(f"{folder}/sparse/0")
assert model.num_reg_images() == len(truth["angles"]) and model.num_points3D() == 0
metres = pixels = 0.0
for image in model.images.values():
    centre, axes, wanted = expected(image.name)
    world_to_camera = image.cam_from_world().matrix()
    metres = max(metres, np.abs(image.projection_center() - centre).max())
    metres = max(metres, np.abs(world_to_camera[:, :3].T - axes).max())
    inside = points @ world_to_camera[:, :3].T + world_to_camera[:, 3]
    seen = np.array([model.cameras[image.camera_id].img_from_cam(p) for p in inside])
    pixels = max(pixels, np.abs(seen - wanted).max())
print(metres, pixels)

read = json.load(open(f"{folder}/transforms.json"))
assert len(read["frames"]) == len(truth["angles"])
metres = pixels = 0.0
for frame in read["frames"]:
    centre, axes, wanted = expected(frame["file_path"].removeprefix("images/"))
    to_world = np.array(frame["transform_matrix"])
    metres = max(metres, np.abs(to_world[:3, 3] - centre).max())
    # Right, up and back.
    metres = max(metres, np.abs(to_world[:3, :3] * [1, -1, -1] - axes).max())
    inside = (points - to_world[:3, 3]) @ to_world[:3, :3]
    x = read["fl_x"] * inside[:, 0] / -inside[:, 2] + read["cx"]
    y = read["fl_y"] * -inside[:, 1] / -inside[:, 2] + read["cy"]
    pixels = max(pixels, np.abs(np.stack([x, y], 1) - wanted).max())
print(metres, pixels)
"#;

/// A program with pycolmap in it, or `None` after saying so.
fn python(test: &str) -> Option<String> {
    let program = std::env::var("TURNSTAGE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&program).args(["-c", "import pycolmap, numpy"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    skip(test, &format!("{program} has no pycolmap; TURNSTAGE_PYTHON may name one that has"));
    None
}

/// Runs the script on a folder: metres and pixels of both forms.
fn compared(program: &str, folder: &Path) -> Vec<f64> {
    let output = Command::new(program).args(["-c", SCRIPT]).arg(folder).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    printed.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// How the platter stood for one picture.
struct Stood {
    /// Its file.
    file: String,
    /// Degrees of turn and tilt.
    turn_deg: f64,
    tilt_deg: f64,
}

/// `below_m`: the axis of the tilt beneath the platter's top.
fn truth(lens: &Intrinsics, camera: &Pose, below_m: f64, stood: &[Stood]) -> Value {
    let by_file = |of: fn(&Stood) -> f64| {
        stood.iter().map(|one| (one.file.clone(), json!(of(one)))).collect::<serde_json::Map<String, Value>>()
    };
    json!({
        "rotation": camera.rotation, "translation": camera.translation, "lens": lens, "below": below_m,
        "angles": by_file(|one| one.turn_deg), "tilts": by_file(|one| one.tilt_deg),
        "points": [[0.0, 0.0, 0.0], [0.1, 0.0, 0.02], [0.0, 0.09, 0.12], [-0.08, -0.05, 0.2]],
    })
}

#[tokio::test(start_paused = true)]
async fn colmap_and_transforms_are_read_back_as_the_true_poses() {
    let test = "colmap_and_transforms_are_read_back_as_the_true_poses";
    let Some(program) = python(test) else { return };
    let bench = station(&rig("azimuth_deg = 20.0\npan_deg = 3.0", ""));
    let kept = calibrated(&bench, Object::Empty).await.remove(0);
    let booth = bench.running.around.booth.clone().expect("a booth");
    let (lens, camera) = booth.optics("main").expect("a camera");
    bench.end().await;
    // What is exact in place of what was measured, so that only the conventions are judged.
    let mut axis = kept.axis;
    (axis.lens, axis.camera) = (lens, camera);
    let one =
        |k: u32| Stood { file: format!("{k:03}.jpg"), turn_deg: 45.0 * f64::from(k) + 0.123, tilt_deg: 0.0 };
    let stood: Vec<Stood> = (0..8).map(one).collect();
    let pictures: Vec<Picture> = stood
        .iter()
        .map(|one| Picture { file: one.file.clone(), lens, pose: axis.pose(one.turn_deg) })
        .collect();
    read_back_as_true(&program, &pictures, &truth(&lens, &camera, 0.0, &stood));
}

/// Has others read the pictures' poses in both forms, and holds them against the truth.
fn read_back_as_true(program: &str, pictures: &[Picture], truth: &Value) {
    let folder = TempDir::new().expect("a folder");
    let model = colmap(pictures).expect("a model");
    write(folder.path(), "sparse/0/cameras.txt", &model.cameras);
    write(folder.path(), "sparse/0/images.txt", &model.images);
    write(folder.path(), "sparse/0/points3D.txt", &model.points);
    write(folder.path(), "transforms.json", &transforms(pictures, "images").expect("transforms").to_string());
    write(folder.path(), "truth.json", &truth.to_string());
    let read = compared(program, folder.path());
    println!("{read:?}");
    let [colmap_m, colmap_px, nerf_m, nerf_px] = read[..] else { panic!("{read:?}") };
    assert!(colmap_m <= METRES_MAX && nerf_m <= METRES_MAX, "{read:?}");
    assert!(colmap_px <= PX_MAX && nerf_px <= PX_MAX, "{read:?}");
}
