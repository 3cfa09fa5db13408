//! What other programs read of an export: COLMAP's own reader, against the booth's true poses.

mod exported;
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

/// Reads both forms, each below its folder, and compares them with `truth.json`: the platter is turned and tilted, and the
/// camera stays. Prints how far they are apart, first by COLMAP and then by transforms.json: metres, parts of one of an
/// axis, pixels, and the part of the focal length.
const SCRIPT: &str = r#"
import json, os, sys
import numpy as np
import pycolmap

colmap, nerf, truth = sys.argv[1:]
truth = json.load(open(truth))
camera = np.array(truth["rotation"]), np.array(truth["translation"])
lens = truth["lens"]
points = np.array(truth["points"])
below = np.array([0, 0, -truth["below"]])

def about_z(a):
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])

def expected(name):
    """Camera's centre and axes in the object's frame, and pixels with the first one's centre at (0.5, 0.5)."""
    b = np.radians(truth["tilts"][name])
    turn = about_z(np.radians(truth["angles"][name]))
    tilt = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rotation, centre = camera
    in_room = (points @ turn.T - below) @ tilt.T + below
    seen = (in_room - centre) @ rotation
    x = lens["fx"] * seen[:, 0] / seen[:, 2] + lens["cx"] + 0.5
    y = lens["fy"] * seen[:, 1] / seen[:, 2] + lens["cy"] + 0.5
    level = tilt.T @ (centre - below) + below
    return turn.T @ level, turn.T @ tilt.T @ rotation, np.stack([x, y], 1)

def compare(folder, read, focal, size):
    """`read`: centre, axes (right, down, ahead) and a function from points to pixels, by the picture's name."""
    assert sorted(read) == sorted(truth["angles"]), sorted(read)
    assert size == (lens["width"], lens["height"]), size
    if truth["pictures"]:
        assert all(os.path.getsize(f"{folder}/images/{name}") for name in read)
    wanted = {name: expected(name) for name in read}
    # Where x points is a choice of a calibration.
    here = np.array([read[name][0][:2] for name in read]) if truth["estimated"] else np.zeros((1, 2))
    there = np.array([wanted[name][0][:2] for name in read]) if truth["estimated"] else np.zeros((1, 2))
    cross = (there[:, 0] * here[:, 1] - there[:, 1] * here[:, 0]).sum()
    z = about_z(np.arctan2(cross, (there * here).sum()))
    far = [0.0, 0.0, 0.0]
    for name, (centre, axes, seen) in read.items():
        its_centre, its_axes, its_pixels = wanted[name]
        apart = [centre - z @ its_centre, axes - z @ its_axes, seen(points @ z.T) - its_pixels]
        far = [max(f, np.abs(a).max()) for f, a in zip(far, apart)]
    print(*far, abs(focal / lens["fx"] - 1))

model = pycolmap.Reconstruction(f"{colmap}/sparse/0")
assert model.num_reg_images() == len(truth["angles"]) and model.num_points3D() == 0
read = {}
for image in model.images.values():
    m, its = image.cam_from_world().matrix(), model.cameras[image.camera_id]
    seen = lambda at, m=m, its=its: np.array([its.img_from_cam(p) for p in at @ m[:, :3].T + m[:, 3]])
    read[image.name] = image.projection_center(), m[:, :3].T, seen
its = model.cameras[min(model.cameras)]
compare(colmap, read, its.focal_length_x, (its.width, its.height))

told = json.load(open(f"{nerf}/transforms.json"))
read = {}
for frame in told["frames"]:
    m = np.array(frame["transform_matrix"])
    def seen(at, m=m):
        inside = (at - m[:3, 3]) @ m[:3, :3]
        x = told["fl_x"] * inside[:, 0] / -inside[:, 2] + told["cx"]
        return np.stack([x, told["fl_y"] * -inside[:, 1] / -inside[:, 2] + told["cy"]], 1)
    # Its axes are right, up and back.
    read[frame["file_path"].removeprefix("images/")] = m[:3, 3], m[:3, :3] * [1, -1, -1], seen
compare(nerf, read, told["fl_x"], (told["w"], told["h"]))
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

/// How far a form is from the truth at most.
#[derive(Debug)]
struct Apart {
    metres: f64,
    /// Parts of one, of the axes of a camera.
    axes: f64,
    px: f64,
    /// Part of the focal length.
    focal: f64,
}

/// Runs the script on the folders of both forms: COLMAP's, then transforms.json's.
fn compared(program: &str, [colmap, nerf]: [&Path; 2], truth: &Value) -> [Apart; 2] {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), truth.to_string()).expect("the truth");
    let mut python = Command::new(program);
    let output = python.args(["-c", SCRIPT]).args([colmap, nerf, file.path()]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    let numbers: Vec<f64> =
        printed.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    println!("{numbers:?}");
    let of = |at: usize| match numbers[4 * at..4 * at + 4] {
        [metres, axes, px, focal] => Apart { metres, axes, px, focal },
        _ => panic!("{printed}"),
    };
    [of(0), of(1)]
}

/// As near as two programs of the same conventions are.
fn is_exact(read: &[Apart; 2]) {
    for apart in read {
        assert!(apart.metres <= METRES_MAX && apart.axes <= METRES_MAX, "{read:?}");
        assert!(apart.px <= PX_MAX && apart.focal <= METRES_MAX, "{read:?}");
    }
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
        // Of exported folders: the pictures lie there. Of a calibration that was measured: which way is x was a choice.
        "pictures": false, "estimated": false,
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
    is_exact(&compared(program, [folder.path(), folder.path()], truth));
}
