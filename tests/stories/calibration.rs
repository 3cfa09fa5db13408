//! Limits that hold across cameras: a good turn sets them, a clean plate finds the object from the first frame on.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use turnstage::access::Role;
use turnstage::access::accounts::Accounts;
use turnstage::command::{Accepted, Act, Which};
use turnstage::session::{SessionDoc, SessionState};
use turnstage_cloud_sync::Record;
use turnstage_drivers::sim::Object;
use turnstage_tests::{Bench, quick_rig, turnstage};

/// A rig whose camera has these keys, and a booth with these.
fn rig(camera: &str, booth: &str) -> String {
    let text = quick_rig(&format!("[booth]\n{booth}"));
    text.replace("size = [320, 240]", &format!("size = [640, 480]\n{camera}"))
}

fn recipe(data: &Path, frames: u32, more: &str) {
    let text = format!(
        "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 0\n{more}\n[[rows]]\nframes = {frames}\n"
    );
    std::fs::create_dir_all(data.join("recipes")).expect("a folder for recipes");
    std::fs::write(data.join("recipes/turn.toml"), text).expect("a recipe");
}

/// A station on data that earlier ones left; what is kept outside the spool survives.
fn station(camera: &str, booth: &str, data: TempDir) -> Bench {
    Bench::in_memory(&rig(camera, booth), data)
}

fn data(frames: u32, more: &str) -> TempDir {
    let data = TempDir::new().expect("a folder");
    recipe(data.path(), frames, more);
    data
}

/// Shoots a turn to calibrate by.
async fn measured(bench: &Bench) -> String {
    let act = Act::Measure { recipe: Some("turn".to_owned()) };
    let Accepted { session, .. } = bench.ask(act).await.expect("the session starts");
    let id = session.expect("a session id");
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    id
}

/// Calibrates by a turn of this camera and ends the station.
async fn calibrated(camera: &str, booth: &str, data: TempDir) -> TempDir {
    let bench = station(camera, booth, data);
    let id = measured(&bench).await;
    let accepted = bench.ask(Act::Calibrate { session: id.clone() }).await.expect("limits are set");
    assert_eq!((accepted.count, accepted.session), (1, Some(id)));
    bench.ask(Act::Abort).await.expect("the turn is thrown away");
    bench.end().await
}

/// Shoots an ordinary turn: how it ended, and its records.
async fn shot(bench: &Bench) -> (SessionState, SessionDoc, Vec<Record>) {
    let id = bench.start("turn").await;
    let state = bench.settled(&id).await.state;
    let document = bench.running.spool.document(&id).await.expect("a store").expect("a session");
    (state, SessionDoc::read(&document).expect("readable"), bench.records(&id).await)
}

fn rules(record: &Record) -> Vec<String> {
    let findings = record.meta["qc"]["findings"].as_array().expect("findings").iter();
    findings.map(|finding| finding["rule"].as_str().expect("a rule").to_owned()).collect()
}

fn flagged_by(records: &[Record], rule: &str) -> usize {
    records.iter().filter(|record| rules(record).iter().any(|found| found == rule)).count()
}

/// A blur of less than a pixel may look as if it had a direction.
fn is_blurred(record: &Record) -> bool {
    rules(record).iter().any(|rule| rule == "qc.sharpness" || rule == "qc.motion")
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_went_soft_is_told_by_calibrated_limits_though_it_keeps_those_of_the_recipe() {
    let soft = "defocus_px = 0.8";
    let bench = station(soft, "", data(12, "[qc]\nblur_px_max = 1.5"));
    let (state, doc, records) = shot(&bench).await;
    assert_eq!((state, records.iter().any(is_blurred)), (SessionState::Review, false));
    assert!(doc.calibrated.is_empty());
    let data = bench.end().await;

    let bench = station(soft, "", calibrated("", "", data).await);
    let (state, doc, records) = shot(&bench).await;
    assert!(!records.is_empty() && records.iter().all(is_blurred), "{state:?}");
    let in_force = doc.limits("main");
    assert!(in_force.blur_px_max < doc.recipe.qc.blur_px_max, "{in_force:?}");
    assert_eq!(in_force.subject_part_min, doc.recipe.qc.subject_part_min, "everything else is the recipe's");
    // Forgotten while the session is open: its frames are held to one and the same limit all the same.
    let client = bench.client();
    let forgotten = client
        .post("/api/v1/calibrations/forget", serde_json::json!({ "recipe": "turn", "camera": "main" }))
        .await;
    assert_eq!(forgotten.json()["count"], 1, "{forgotten:?}");
    let detail = client.get(&format!("/api/v1/sessions/{}", doc.id)).await.json();
    assert_eq!(detail["places"][0]["blur_px_max"], in_force.blur_px_max);
    bench.ask(Act::Retake { which: Which::Frames(vec![1]) }).await.expect("a retake");
    bench.settled(&doc.id).await;
    let records = bench.records(&doc.id).await;
    assert!(records.iter().filter(|record| record.facts.shot == 0).all(is_blurred));
    bench.ask(Act::Abort).await.expect("an end");
    let (_, doc, records) = shot(&bench).await;
    assert!(doc.calibrated.is_empty() && !records.iter().any(is_blurred), "the recipe holds again");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_noisy_camera_that_the_recipe_flags_passes_once_its_noise_is_known() {
    let noisy = "noise = 12.0";
    let bench = station(noisy, "", data(12, ""));
    let (state, _, records) = shot(&bench).await;
    assert_eq!(state, SessionState::Paused);
    assert_eq!(flagged_by(&records, "qc.noise"), 2);
    bench.ask(Act::Abort).await.expect("an end");
    let data = bench.end().await;

    let bench = station(noisy, "", calibrated(noisy, "", data).await);
    let (state, doc, records) = shot(&bench).await;
    assert_eq!((state, flagged_by(&records, "qc.noise")), (SessionState::Review, 0));
    assert!(doc.limits("main").noise_levels_max > doc.recipe.qc.noise_levels_max);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_calibration_of_an_exchanged_camera_is_not_used() {
    let data = calibrated("", "", data(12, "")).await;
    let text = rig("", "").replace("[640, 480]", "[800, 600]");
    let bench = Bench::in_memory(&text, data);
    let (state, doc, _) = shot(&bench).await;
    assert_eq!((state, doc.calibrated.len()), (SessionState::Review, 0));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_not_good_is_refused_by_its_rule_and_nothing_is_kept() {
    let refused = async |camera: &str, booth: &str, frames: u32| {
        let bench = station(camera, booth, data(frames, ""));
        let id = measured(&bench).await;
        let refusal = bench.ask(Act::Calibrate { session: id }).await.expect_err("a refusal");
        let events = bench.running.spool.events(0, 1000).await.expect("a log");
        let told = events.iter().filter(|event| event.kind == "command.refused").count();
        assert_eq!(told, 1, "refused acts are on record");
        let kept = bench.client().get("/api/v1/calibrations").await.json();
        assert_eq!(kept["calibrations"], serde_json::json!([]));
        bench.end().await;
        refusal
    };
    let refusal = refused("", "", 8).await;
    assert_eq!(refusal.rule, "calibration-few-frames");
    assert!(refusal.reason.contains("8 frames, at least 12"), "{refusal}");
    let wet = "faults = [{ camera = \"main\", frame = 5, kind = \"blurred\" }]";
    let refusal = refused("", wet, 12).await;
    assert_eq!(refusal.rule, "calibration-blurred");
    assert!(refusal.reason.starts_with("Frame 5 of camera main is blurred over"), "{refusal}");
    let cut = "faults = [{ camera = \"main\", frame = 7, kind = \"corrupt-jpeg\" }]";
    let refusal = refused("", cut, 12).await;
    assert_eq!(refusal.rule, "calibration-flagged");
    assert!(refusal.reason.contains("qc.corrupt"), "{refusal}");

    let bench = station("", "", data(12, ""));
    let refusal = bench.ask(Act::Calibrate { session: "no-such".to_owned() }).await.expect_err("a refusal");
    assert_eq!(refusal.rule, "session-unknown");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn only_who_looks_after_the_station_calibrates() {
    let bench = station("", "", data(12, ""));
    let accounts = Accounts::of(bench.data.path());
    for (name, role) in [("ana", Role::Operator), ("rea", Role::Reviewer), ("tom", Role::Technician)] {
        accounts.set(name, role, "correct horse battery").expect("an account");
    }
    let turn = serde_json::json!({ "recipe": "turn" });
    for name in ["ana", "rea"] {
        let person = bench.client().signed_in(name, "correct horse battery").await;
        for path in ["turn", "plate"] {
            let answer = person.post(&format!("/api/v1/calibrations/{path}"), turn.clone()).await;
            assert_eq!(answer.rule(), "role-not-allowed", "{name} {path}");
        }
        assert_eq!(person.get("/api/v1/calibrations").await.rule(), "role-not-allowed");
    }
    let tom = bench.client().signed_in("tom", "correct horse battery").await;
    let id = tom.post("/api/v1/calibrations/turn", turn).await.json()["session"].clone();
    bench.settled(id.as_str().expect("an id")).await;
    let answer = tom.post("/api/v1/calibrations", serde_json::json!({ "session": id })).await;
    assert_eq!(answer.json()["count"], 1, "{answer:?}");
    let kept = tom.get("/api/v1/calibrations").await.json();
    let one = &kept["calibrations"][0];
    assert_eq!((&one["actor"], &one["session"]), (&Value::from("technician:tom"), &id));
    assert_eq!(one["spread"]["frames"], 12);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_clean_plate_a_small_object_is_found_at_the_first_frame() {
    let small = "object = \"empty\"\nobject_scale = 0.15";
    let bench = station("", small, data(12, "clean_plate = true"));
    let plate = Act::Plate { recipe: Some("turn".to_owned()) };
    assert_eq!(bench.ask(plate.clone()).await.expect("a plate").count, 1);
    let booth = bench.running.around.booth.clone().expect("a booth");
    booth.put(Object::Carton);
    let (_, doc, records) = shot(&bench).await;
    let early: Vec<_> = records.iter().filter(|record| record.facts.shot < 3).map(rules).collect();
    assert!(early.iter().all(|rules| rules.iter().any(|rule| rule == "qc.framing")), "{early:?}");
    // While a session is open nothing is taken.
    assert_eq!(bench.ask(plate).await.expect_err("a refusal").rule, "session-open");
    bench.ask(Act::Abort).await.expect("an end");
    assert!(doc.recipe.clean_plate);
    let data = bench.end().await;

    // Without the key the plate is not used, and of a first frame nothing is known.
    recipe(data.path(), 12, "");
    let bench = station("", "object = \"carton\"\nobject_scale = 0.15", data);
    let (_, _, records) = shot(&bench).await;
    let first = records.iter().find(|record| record.facts.shot == 0).expect("a frame");
    assert!(!rules(first).contains(&"qc.framing".to_owned()), "{:?}", rules(first));
    bench.end().await;
}

#[test]
fn the_command_line_calibrates_lists_tells_of_an_exchanged_camera_and_forgets() {
    let data = data(12, "clean_plate = true");
    let folder = data.path().display().to_string();
    let recipes = data.path().join("recipes").display().to_string();
    let file = data.path().join("station.toml").display().to_string();
    let configure = |size: &str| {
        let text = rig("", "").replace("[640, 480]", size);
        let text = format!("{text}\n[recipes]\nfolder = \"{recipes}\"\ndefault = \"turn\"\n");
        std::fs::write(&file, text).expect("a file");
    };
    configure("[640, 480]");
    let run = |args: &[&str]| {
        turnstage(&[args, &["--config", file.as_str(), "--data-dir", folder.as_str()][..]].concat())
    };
    let ran = run(&["calibrate", "qc"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("Camera main, 12 frames") && ran.out.contains("Nothing is set."), "{ran:?}");
    let ran = run(&["calibrate", "qc", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("The limits of 1 camera are set."), "{ran:?}");
    let ran = run(&["sessions", "list"]);
    assert_eq!(ran.out.matches("aborted").count(), 2, "neither turn holds the station: {ran:?}");

    let ran = run(&["calibrate", "plate"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "The clean plate of 1 camera is kept.\n"), "{ran:?}");
    let ran = run(&["calibrate", "list"]);
    assert!(
        ran.out.contains("turn main  limits of 2") && ran.out.contains("turn main  clean plate"),
        "{ran:?}"
    );
    let ran = run(&["check"]);
    assert!(ran.code == 0 && ran.out.contains("limits turn main"), "{ran:?}");

    configure("[800, 600]");
    let ran = run(&["check"]);
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.out.contains("camera main was exchanged since its calibration of 2"), "{ran:?}");
    assert!(ran.out.contains("camera main was exchanged since its clean plate of 2"), "{ran:?}");
    let ran = run(&["calibrate", "forget", "turn", "main"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for what in ["limits of camera main with recipe turn", "clean plate of camera main with recipe turn"] {
        assert!(ran.out.contains(&format!("Forgotten: {what}, 2")), "{ran:?}");
    }
    assert!(!ran.out.contains("stands"), "there was no axis: {ran:?}");
    let ran = run(&["check"]);
    assert!(ran.out.contains("none was taken: empty the table, then"), "{ran:?}");
    let ran = run(&["calibrate", "forget", "turn", "main"]);
    assert_eq!(ran.code, 66, "{ran:?}");
    assert!(ran.err.contains("Nothing is kept of camera main"), "{ran:?}");
}
