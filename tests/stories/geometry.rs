//! Where cameras stand, measured on rendered pictures against what the simulated booth knows to be true: the
//! calibration, points in space by it, the marks on the rim, and what other programs read of an export.

mod outside;
mod truth;

use std::path::Path;

use tempfile::TempDir;
use turnstage::access::Role;
use turnstage::access::accounts::Accounts;
use turnstage::calibration::axis::CameraAxis;
use turnstage::command::{Accepted, Act};
use turnstage::session::SessionState;
use turnstage_drivers::sim::Object;
use turnstage_tests::{Bench, Ran, quick_rig, turnstage, write_recipe};

/// A rig whose one camera looks down on the board, in a booth with these keys.
fn rig(camera: &str, booth: &str) -> String {
    let text = quick_rig(&format!("[booth]\nobject = \"board\"\n{booth}"));
    text.replace("size = [320, 240]", &format!("size = [1152, 864]\nelevation_deg = 35.0\n{camera}"))
}

/// A station with a recipe of 12 angles.
fn station(text: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn", 12, "");
    Bench::in_memory(text, data)
}

/// Shoots the board: the turn's id.
async fn shot(bench: &Bench) -> String {
    let act = Act::MeasureAxis { recipe: Some("turn".to_owned()) };
    let Accepted { session, .. } = bench.ask(act).await.expect("the session starts");
    let id = session.expect("a session id");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    id
}

fn calibrate(bench: &Bench, session: String) -> Act {
    let board = bench.running.around.booth.as_ref().expect("a booth").board();
    Act::CalibrateAxis { session, board_mm: board.size_mm, thickness_mm: board.thickness_mm }
}

/// Calibrates by a turn, and puts an object in the place of the board.
async fn calibrated(bench: &Bench, object: Object) -> Vec<CameraAxis> {
    let id = shot(bench).await;
    bench.ask(calibrate(bench, id)).await.expect("a calibration");
    bench.ask(Act::Abort).await.expect("the turn is thrown away");
    bench.running.around.booth.as_ref().expect("a booth").put(object);
    let kept = bench.client().get("/api/v1/calibrations").await.json();
    serde_json::from_value(kept["axes"].clone()).expect("axes")
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_tells_too_little_or_wrongly_is_refused_by_its_rule_and_nothing_is_kept() {
    let refused = async |text: &str, frames: u32| {
        let bench = station(text);
        write_recipe(&bench.data.path().join("recipes"), "turn", frames, "");
        let id = shot(&bench).await;
        let refusal = bench.ask(calibrate(&bench, id)).await.expect_err("a refusal");
        let kept = bench.client().get("/api/v1/calibrations").await.json();
        assert_eq!(kept["axes"], serde_json::json!([]));
        bench.end().await;
        refusal
    };
    let refusal = refused(&rig("", ""), 6).await;
    assert_eq!(refusal.rule, "axis-few-frames");
    assert!(refusal.reason.starts_with("Camera main: The board was seen in 6 of 6 frames"), "{refusal}");
    let refusal = refused(&rig("", "").replace("\"board\"", "\"vase\""), 12).await;
    assert_eq!(refusal.rule, "axis-few-frames");
    assert!(refusal.reason.contains("seen in 0 of 12 frames"), "{refusal}");
    // Steps are lost in the middle of the turn: the table does not notice.
    let lost = "faults = [{ kind = \"lost-steps\", move = 6, deg = 3.0 }]";
    let refusal = refused(&rig("", lost), 12).await;
    assert_eq!(refusal.rule, "axis-slipping", "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn only_who_looks_after_the_station_calibrates_an_axis_and_a_board_that_cannot_be_is_refused() {
    let bench = station(&rig("", ""));
    let accounts = Accounts::of(bench.data.path());
    for (name, role) in [("ana", Role::Operator), ("tom", Role::Technician)] {
        accounts.set(name, role, "correct horse battery").expect("an account");
    }
    let ana = bench.client().signed_in("ana", "correct horse battery").await;
    let answer = ana.post("/api/v1/calibrations/axis/turn", serde_json::json!({ "recipe": "turn" })).await;
    assert_eq!(answer.rule(), "role-not-allowed");
    let tom = bench.client().signed_in("tom", "correct horse battery").await;
    let turn =
        tom.post("/api/v1/calibrations/axis/turn", serde_json::json!({ "recipe": "turn" })).await.json();
    bench.settled(turn["session"].as_str().expect("an id")).await;
    let with = |board_mm: f64| serde_json::json!({ "session": turn["session"], "board_mm": board_mm });
    let answer = tom.post("/api/v1/calibrations/axis", with(3.0)).await;
    assert_eq!(answer.rule(), "axis-board");
    let answer = tom.post("/api/v1/calibrations/axis", with(180.0)).await;
    assert_eq!(answer.json()["count"], 1, "{answer:?}");
    bench.end().await;
}

/// The binary on a data folder of its own, with a configuration that can be changed.
struct Box {
    data: TempDir,
}

impl Box {
    fn new() -> Self {
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "turn", 12, "");
        Self { data }
    }

    fn configure(&self, text: &str) {
        let recipes = self.data.path().join("recipes").display().to_string();
        let text = format!("{text}\n[recipes]\nfolder = \"{recipes}\"\ndefault = \"turn\"\n");
        std::fs::write(self.data.path().join("station.toml"), text).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.data.path().join(name).display().to_string()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let (file, folder) = (self.path("station.toml"), self.path("data"));
        turnstage(&[args, &["--config", file.as_str(), "--data-dir", folder.as_str()][..]].concat())
    }

    /// Ends well, and prints this.
    fn prints(&self, args: &[&str], wanted: &str) {
        let ran = self.run(args);
        assert!(ran.code == 0 && ran.out.contains(wanted), "{args:?}: {ran:?}");
    }

    fn refused(&self, args: &[&str], code: i32, wanted: &str) {
        let ran = self.run(args);
        assert!(ran.code == code && ran.err.contains(wanted), "{args:?}: {ran:?}");
    }
}

fn session_in(listed: &str, state: &str) -> String {
    let line = listed.lines().find(|line| line.contains(state)).expect("a session");
    line.split_whitespace().find(|word| word.len() == 36).expect("an id").to_owned()
}

#[test]
fn the_command_line_prints_a_board_calibrates_lists_and_exports_and_refuses_other_settings() {
    let station = Box::new();
    let board = rig("", "");
    station.configure(&board);
    let page = station.path("board.svg");
    station.prints(&["calibrate", "board", &page], "its chess pattern measures 180 mm");
    assert!(std::fs::read_to_string(&page).expect("a page").contains("width=\"196mm\""));
    station.refused(&["calibrate", "board", "--size-mm", "7", &page], 2, "40 to 5000 mm");

    station.configure(&board.replace("\"board\"", "\"block\""));
    let ran = station.run(&["capture", "--item", "block"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let id = session_in(&station.run(&["sessions", "list"]).out, "review");
    let out = station.path("colmap");
    let colmap = ["export", &id, "--format", "colmap", "--to", &out];
    station.refused(&colmap, 77, "Where camera main stands is not known.");
    assert!(!Path::new(&out).exists(), "nothing is written before a refusal");
    // Pictures alone need no calibration.
    let folder = station.path("folder");
    station.prints(&["export", &id, "--format", "folder", "--to", &folder], "12 pictures written");
    assert!(Path::new(&folder).join("004_main_090.0.jpg").exists());
    station.refused(&["export", &id, "--format", "folder", "--to", &folder], 2, "is not empty");
    station.refused(&["export", "--format", "folder"], 2, "exactly one session");
    station.refused(&["export"], 2, "--to");

    station.configure(&board);
    station.refused(&["calibrate", "axis"], 77, "is not finished");
    assert_eq!(station.run(&["sessions", "abort", &id]).code, 0);
    station.prints(&["calibrate", "axis", "--thickness-mm", "1"], "Where 1 camera stands is kept.");
    station.prints(&["calibrate", "list"], "main  axis of 2");
    station.prints(&["check"], "axis turn main");
    station.prints(&colmap, "12 pictures written");
    assert!(Path::new(&out).join("images/004_main_090.0.jpg").exists());
    let nerf = station.path("nerf");
    station.prints(&["export", &id, "--format", "nerf", "--to", &nerf], "12 pictures written");
    let text = std::fs::read_to_string(Path::new(&nerf).join("transforms.json")).expect("a file");
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read["frames"].as_array().map(Vec::len), Some(12));

    // Another focus: the pictures that are taken now are given no pose, those from before still are.
    let focused = board
        .replace("\"board\"", "\"block\"")
        .replace("exposure_us = 8000.0,", "exposure_us = 8000.0, focus = 0.503,");
    station.configure(&focused);
    let ran = station.run(&["check"]);
    assert!(ran.code == 65 && ran.out.contains("the focus is 0.503 now and was 0.500"), "{ran:?}");
    let ran = station.run(&["capture", "--item", "focused"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let other = session_in(&station.run(&["sessions", "list"]).out, "review");
    let to = station.path("other");
    station.refused(
        &["export", &other, "--format", "nerf", "--to", &to],
        77,
        "the focus is 0.503 now and was 0.500",
    );
    station.prints(&["export", &id, "--format", "nerf", "--to", &to], "12 pictures written");

    // Forgotten is forgotten, and it is said what.
    let forget = ["calibrate", "forget", "turn", "main"];
    station.refused(&[&forget[..], &["--keep-axis"]].concat(), 66, "Nothing is kept of camera main");
    station.prints(&forget, "Forgotten: where camera main stands, 2");
    station.refused(&forget, 66, "Nothing is kept of camera main");
    station.prints(&["calibrate", "list"], "Nothing is calibrated");
    let gone = station.path("gone");
    let export = ["export", &other, "--format", "colmap", "--to", &gone];
    station.refused(&export, 77, "Where camera main stands is not known.");
}
