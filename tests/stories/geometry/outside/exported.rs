//! The folders that `turnstage export` wrote, opened by others: a turn of 36 frames, by the axis as it was measured, and by
//! the true one in its place.

use turnstage::calibration::shelf::Shelf;
use turnstage::rig::surroundings;
use turnstage_drivers::{camera, turntable};

use super::super::{Box, session_in};
use super::*;

const FRAMES: u32 = 36;
/// What a measured axis may be off, as in the stories that measure it.
const MEASURED_METRES_MAX: f64 = 0.002;
const MEASURED_FOCAL_MAX: f64 = 0.003;
const MEASURED_PX_MAX: f64 = 1.5;

/// A rig whose table goes truly where it says, so that the pictures were taken where the commands say.
fn true_table() -> String {
    rig("azimuth_deg = 20.0\npan_deg = 3.0", "")
        .replace("start_deg = 33.0", "start_deg = 33.0\nbacklash_deg = 0.0\neccentricity_deg = 0.0")
}

/// Lens and place of the camera, as the booth of this rig has them.
async fn optics(text: &str) -> (Intrinsics, Pose) {
    let folder = TempDir::new().expect("a folder");
    let config = turnstage_tests::read(text, folder.path());
    let around = surroundings(&config).expect("a booth");
    let table = config.rig.turntable.as_ref().expect("a table");
    let _table = turntable::open(table, &around).await.expect("a table");
    let _camera = camera::open("main", &config.rig.cameras["main"].device, &around).await.expect("a camera");
    around.booth.expect("a booth").optics("main").expect("a camera")
}

/// Exports a session in both forms and has others read them.
fn read(station: &Box, program: &str, session: &str, name: &str, truth: &Value) -> [Apart; 2] {
    let folders = ["colmap", "nerf"].map(|format| {
        let to = station.path(&format!("{name}-{format}"));
        let wanted = format!("{FRAMES} pictures written");
        station.prints(&["export", session, "--format", format, "--to", &to], &wanted);
        to
    });
    compared(program, [Path::new(&folders[0]), Path::new(&folders[1])], truth)
}

#[tokio::test]
async fn the_folders_that_an_export_wrote_are_read_by_others_as_the_poses_of_the_turn() {
    let test = "the_folders_that_an_export_wrote_are_read_by_others_as_the_poses_of_the_turn";
    let Some(program) = python(test) else { return };
    let (station, board) = (Box::new(), true_table());
    turnstage_tests::write_recipe(&station.data.path().join("recipes"), "turn", FRAMES, "");
    station.configure(&board);
    station.prints(&["calibrate", "axis", "--thickness-mm", "1"], "Where 1 camera stands is kept.");
    station.configure(&board.replace("\"board\"", "\"block\""));
    assert_eq!(station.run(&["capture", "--item", "block"]).code, 0);
    let id = session_in(&station.run(&["sessions", "list"]).out, "review");

    let (lens, pose) = optics(&board).await;
    let turn_deg = |k: u32| 360.0 / f64::from(FRAMES) * f64::from(k);
    let file = |k: u32| format!("{:03}_main_{:05.1}.jpg", k + 1, turn_deg(k));
    let stood: Vec<Stood> =
        (0..FRAMES).map(|k| Stood { file: file(k), turn_deg: turn_deg(k), tilt_deg: 0.0 }).collect();
    let mut truth = truth(&lens, &pose, 0.0, &stood);
    truth["pictures"] = true.into();
    truth["estimated"] = true.into();
    for apart in read(&station, &program, &id, "measured", &truth) {
        assert!(apart.metres <= MEASURED_METRES_MAX && apart.focal <= MEASURED_FOCAL_MAX, "{apart:?}");
        assert!(apart.px <= MEASURED_PX_MAX, "{apart:?}");
    }
    // What is exact in place of what was measured, so that only the conventions are judged.
    let shelf = Shelf::of(Path::new(&station.path("data")));
    let mut kept = shelf.axis("main").expect("a readable file").expect("an axis");
    (kept.axis.lens, kept.axis.camera) = (lens, pose);
    shelf.keep_axes(&[kept]).expect("kept");
    truth["estimated"] = false.into();
    is_exact(&read(&station, &program, &id, "exact", &truth));
}
