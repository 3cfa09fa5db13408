//! Brackets and focus steps: several frames at one angle, each with what it did otherwise.

use turnstage::session::SessionState;
use turnstage_tests::{Bench, quick_rig, write_recipe};

#[tokio::test(start_paused = true)]
async fn brackets_and_focus_steps_are_kept_beside_each_other_and_only_the_leading_frame_is_judged_whole() {
    let data = tempfile::tempdir().expect("a folder");
    write_recipe(
        &data.path().join("recipes"),
        "hdr",
        4,
        "brackets = [-3.0, 0.0, 2.0]\nfocus_steps = [0.5, 0.2]\nretakes = 1",
    );
    let bench = Bench::in_memory(&quick_rig("[booth]\nobject = \"toy\""), data);
    let id = bench.start("hdr").await;
    let session = bench.settled(&id).await;
    let faults = bench.running.status.borrow().faults.clone();
    assert_eq!((session.state, session.taken), (SessionState::Review, 24), "{session:?} {faults:?}");
    assert!(session.flagged.is_empty(), "{:?}", session.flagged);
    let records = bench.records(&id).await;
    let first: Vec<_> = records.iter().filter(|r| r.facts.angle_commanded == Some(0.0)).collect();
    assert_eq!(first.len(), 6);
    let exposures: Vec<f64> =
        first.iter().map(|r| r.meta["camera"]["exposed_with"]["exposure_us"].as_f64().unwrap()).collect();
    assert_eq!(exposures, [8000.0, 32_000.0, 1000.0, 8000.0, 32_000.0, 1000.0]);
    let means: Vec<f64> = first.iter().map(|r| r.meta["qc"]["exposure"]["mean"].as_f64().unwrap()).collect();
    assert!(means[2] < means[0] && means[0] < means[1], "{means:?}");
    assert_eq!(first[1].facts.file_name, "002_main_000.0_focus0.50_over2.0.jpg");
    assert_eq!(first[2].meta["place"]["variant"]["ev"], -3.0);
    let booth = bench.running.around.booth.clone().unwrap();
    let moves = booth.commands().iter().filter(|told| told.command.is_motion()).count();
    assert!(moves <= 5, "one motion an angle and the reference: {moves}");
    bench.end().await;
}

/// A heavy table that rings for a second and a half is waited for as long as it rings, and no longer.
#[tokio::test(start_paused = true)]
async fn a_platter_is_looked_at_until_it_stands() {
    let data = tempfile::tempdir().expect("a folder");
    let recipe = "settle = \"measured\"";
    write_recipe(&data.path().join("recipes"), "look", 8, recipe);
    let file = data.path().join("recipes/look.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, text.replace("settle_ms = 0", "settle_ms = 5000")).expect("the recipe");
    let ringing = "vibration_deg = 1.5\nvibration_hz = 3.0\nvibration_decay_ms = 300.0";
    let rig = quick_rig("[booth]\nobject = \"toy\"").replace("vibration_deg = 0.0", ringing);
    let bench = Bench::in_memory(&rig, data);
    let id = bench.start("look").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 8), "{session:?}");
    assert!(session.flagged.is_empty(), "a ringing platter smears: {:?}", session.flagged);
    for record in bench.records(&id).await {
        let settle_ms = record.meta["place"]["settle_ms"].as_f64().unwrap();
        assert!((300.0..4000.0).contains(&settle_ms), "frame {}: {settle_ms} ms", record.facts.shot + 1);
    }
    bench.end().await;
}
