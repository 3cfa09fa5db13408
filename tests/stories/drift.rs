//! A lens that loses its focus is told of before a session fails for it: in words, interface, metrics and command line.

use serde_json::Value;
use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::constancy;
use turnstage::session::SessionState;
use turnstage::status::{Kind, Situation};
use turnstage_cloud_sync::spool::Commit;
use turnstage_cloud_sync::store::Document;
use turnstage_tests::{Bench, quick_rig, turnstage, write_recipe};

/// The quick rig with a camera that is so much out of focus, and with so many of its turns taken and released.
async fn station(data: TempDir, object: &str, defocus_px: f64) -> Bench {
    let recipes = data.path().join("recipes");
    std::fs::create_dir_all(&recipes).expect("a folder for recipes");
    // The limit of this recipe is wide: what the station tells of would pass it for a long time.
    let recipe = "subject = \"object\"\nmotion = \"stop_and_shoot\"\nsettle_ms = 0\n[[rows]]\nframes = 36\n[qc]\nblur_px_max = 2.0\n";
    std::fs::write(recipes.join("turn36.toml"), recipe).expect("a recipe");
    // Finer pictures than the other stories', so that their edges are.
    let rig = quick_rig(&format!("defocus_px = {defocus_px}\n[booth]\nobject = \"{object}\""))
        .replace("size = [320, 240]", "size = [640, 480]");
    Bench::on_disk(&rig, data).await
}

async fn turn(bench: &Bench) {
    let id = bench.start("turn36").await;
    let session = bench.settled(&id).await;
    let faults = bench.running.status.borrow().faults.clone();
    let taken = (session.state, session.flagged.len());
    assert_eq!(taken, (SessionState::Review, 0), "every frame is accepted: {faults:?}");
    bench.ask(Act::Release { accept: None }).await.expect("released");
}

#[tokio::test]
async fn a_lens_that_loses_focus_is_told_of_everywhere_until_a_new_baseline() {
    let mut data = TempDir::new().expect("a folder");
    for object in ["vase", "toy"] {
        let bench = station(data, object, 0.0).await;
        turn(&bench).await;
        let health = bench.client().get("/api/v1/cameras/health").await.json();
        assert_eq!(health[0]["sentences"].as_array().map(Vec::len), Some(0), "another object: {health}");
        assert_eq!(bench.running.window.status().await.drifts, []);
        data = bench.end().await;
    }
    // The same camera a week of dust later: still good enough for the recipe.
    let bench = station(data, "vase", 0.6).await;
    turn(&bench).await;
    let told = "Camera main lost";
    let status = bench.running.window.status().await;
    assert_eq!(status.kind, Kind::Warn);
    assert!(matches!(status.situation, Situation::Drifted { .. }), "{:?}", status.situation);
    assert!(status.sentence.starts_with(told), "{}", status.sentence);

    let health = bench.client().get("/api/v1/cameras/health").await.json();
    let main = &health[0];
    println!("{main}");
    assert_eq!(
        (main["camera"].as_str(), main["drifts"][0]["quality"].as_str()),
        (Some("main"), Some("sharpness"))
    );
    let blur = |when: &str| main["blur_px"][when].as_f64().expect("a figure");
    assert!(blur("today") > 1.3 * blur("baseline"), "{main}");
    assert!(main["sentences"][0].as_str().expect("words").starts_with(&status.sentence), "{main}");
    let metrics = bench.client().get("/metrics").await.text();
    assert!(
        metrics.contains("turnstage_camera_drifted{camera=\"main\",quality=\"sharpness\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("turnstage_camera_blur_px{camera=\"main\"}"), "{metrics}");
    assert!(!metrics.contains("item-1"));
    let events = bench.running.spool.events(0, 10_000).await.expect("events");
    assert_eq!(events.iter().filter(|event| event.kind == "camera.drifted").count(), 1, "told once");

    let page = bench.client().get("/").await.text();
    assert!(page.contains(told) && page.contains("less sharp"), "{page}");

    // It outlives a restart; the command line reads it from the data alone.
    let data = bench.end().await;
    let folder = data.path().display().to_string();
    let config = data.path().join("station.toml");
    let recipes = data.path().join("recipes").display().to_string();
    std::fs::write(&config, format!("{}\n[recipes]\nfolder = \"{recipes}\"\n", quick_rig("")))
        .expect("a file");
    let config = config.display().to_string();
    let at = |words: &[&str]| turnstage(&[words, &["--data-dir", &folder, "--config", &config]].concat());
    let ran = at(&["cameras", "health"]);
    println!("{}", ran.out);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(told), "{}", ran.out);
    let refused = at(&["cameras", "reset", "high"]);
    assert_eq!(refused.code, 78, "{}", refused.err);
    let reset = at(&["cameras", "reset", "main"]);
    assert_eq!(reset.code, 0, "{}", reset.err);
    assert!(!at(&["cameras", "health"]).out.contains(told));

    let bench = station(data, "vase", 0.6).await;
    assert_eq!(bench.running.window.status().await.drifts, []);
    turn(&bench).await;
    turn(&bench).await;
    assert_eq!(bench.running.window.status().await.drifts, [], "that is its baseline now");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn damaged_baselines_are_set_aside_and_the_station_captures() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "");
    let clock = turnstage::clock::SystemClock::new();
    let spool = turnstage_cloud_sync::Spool::in_memory(std::sync::Arc::new(clock.clone()));
    let config = turnstage_tests::read(&quick_rig(""), data.path());
    let org = config.station.org.clone();
    let id = constancy::document_of(&org);
    let damaged = Document { id: id.clone(), value: serde_json::json!({ "schema": 1, "cameras": 7 }) };
    let documents = vec![damaged.clone()];
    spool.commit(Commit { documents, ..Commit::default() }).await.expect("kept");
    let backends = turnstage::run::backends(&config, data.path());
    let bench = Bench::on(spool, clock, backends, config, data);
    let session = bench.start("turn36").await;
    assert_eq!(bench.settled(&session).await.state, SessionState::Review);
    let aside = bench.running.spool.document(&constancy::damaged_of(&org)).await.expect("a store");
    assert_eq!(aside.map(|document| document.value), Some(damaged.value));
    let health: Value = bench.client().get("/api/v1/cameras/health").await.json();
    assert_eq!(health[0]["baseline_frames"], 36);
    bench.end().await;
}
