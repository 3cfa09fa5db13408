//! A turn without stopping: frames are picked by time and angle, and say how well they know it.

use std::time::Duration;

use tokio::time::Instant;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_drivers::sim::{Command, Fault};
use turnstage_tests::{Bench, quick_rig, write_recipe};

const SWEEP: &str = "continuous = { speed_deg_s = 10.0, blur_deg_max = 0.1, angle_error_deg_max = 0.6 }";

fn bench(recipe: &str, rig: &str) -> Bench {
    bench_waiting(recipe, rig, 0.0)
}

fn bench_waiting(recipe: &str, rig: &str, camera_wait_s: f64) -> Bench {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("recipes");
    write_recipe(&folder, "sweep", 24, recipe);
    let file = folder.join("sweep.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, text.replace("stop_and_shoot", "continuous")).expect("the recipe");
    let wait = format!("camera_wait_s = {camera_wait_s:.1}");
    Bench::in_memory(&quick_rig(rig).replace("camera_wait_s = 0.0", &wait), data)
}

#[tokio::test(start_paused = true)]
async fn one_sweep_takes_every_frame_at_its_angle_and_states_the_error() {
    let bench = bench(SWEEP, "[booth]\nobject = \"toy\"");
    let id = bench.start("sweep").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24), "{session:?}");
    let booth = bench.running.around.booth.clone().unwrap();
    let told = booth.commands();
    let sweeps = told.iter().filter(|told| matches!(told.command, Command::Sweep { .. })).count();
    assert_eq!(sweeps, 1, "{told:?}");
    let mut swept = 0;
    for record in bench.records(&id).await {
        let facts = &record.facts;
        let (asked, reached) = (facts.angle_commanded.unwrap(), facts.angle_reached.unwrap());
        let off = ((asked - reached + 540.0).rem_euclid(360.0) - 180.0).abs();
        let Some(stated) = record.meta["place"]["angle_error_deg"].as_f64() else {
            assert!(off < 1e-6, "a frame that was shot standing");
            continue;
        };
        swept += 1;
        assert!(stated > 0.0 && off + stated <= 0.6, "frame {}: {off} and {stated}", facts.shot + 1);
    }
    assert!(swept >= 22, "only {swept} of 24 were picked on the way");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutter_that_is_open_too_long_is_refused_before_anything_moves() {
    let slow = SWEEP.replace("blur_deg_max = 0.1", "blur_deg_max = 0.05");
    let bench = bench(&slow, "");
    let booth = bench.running.around.booth.clone().unwrap();
    let id = bench.start("sweep").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Paused, 0));
    let fault = bench.running.status.borrow().faults[0].clone();
    assert_eq!(fault.rule, "continuous-blur");
    assert!(fault.what.contains("0.080°") && fault.todo.contains("5000 µs"), "{fault:?}");
    let swept = booth.commands().iter().any(|told| matches!(told.command, Command::Sweep { .. }));
    assert!(!swept);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_mid_sweep_keeps_what_was_taken_and_the_rest_is_shot_standing() {
    let bench = bench(SWEEP, "[booth]\nobject = \"toy\"");
    let id = bench.start("sweep").await;
    let mut status = bench.running.status.clone();
    let some = |status: &turnstage::status::Status| status.session.as_ref().is_some_and(|s| s.taken >= 8);
    status.wait_for(some).await.unwrap();
    bench.ask(Act::Stop).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(!bench.running.around.booth.as_ref().unwrap().is_moving());
    let taken = session.taken;
    let resume = Act::Resume { session: None, anew: false, confirm: false };
    bench.ask(resume).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24));
    assert!(taken >= 8 && session.retaken == 0, "nothing was shot twice");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_platter_that_jams_in_mid_sweep_leaves_no_frame_at_an_angle_it_never_had() {
    let bench = bench(SWEEP, "[booth]\nobject = \"toy\"");
    let id = bench.start("sweep").await;
    let mut status = bench.running.status.clone();
    let some = |status: &turnstage::status::Status| status.session.as_ref().is_some_and(|s| s.taken >= 5);
    status.wait_for(some).await.unwrap();
    let booth = bench.running.around.booth.clone().unwrap();
    booth.inject(Fault::Jam { at_deg: 200.0 });
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert_eq!(bench.running.status.borrow().faults[0].rule, "motion-jammed");
    let taken: Vec<f64> = bench.records(&id).await.iter().filter_map(|r| r.facts.angle_commanded).collect();
    assert!(taken.len() >= 12 && taken.iter().all(|deg| *deg <= 200.0), "{taken:?}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_mid_sweep_halts_the_table_and_the_rest_is_shot_standing() {
    let bench = bench(SWEEP, "[booth]\nobject = \"toy\"");
    let booth = bench.running.around.booth.clone().unwrap();
    let id = bench.start("sweep").await;
    let mut status = bench.running.status.clone();
    let some = |status: &turnstage::status::Status| status.session.as_ref().is_some_and(|s| s.taken >= 8);
    status.wait_for(some).await.unwrap();
    let asked = Instant::now();
    bench.ask(Act::Pause).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(!booth.is_moving() && asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    bench.ask(Act::Resume { session: None, anew: false, confirm: false }).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_goes_away_in_mid_sweep_is_waited_for_and_the_session_goes_on_by_itself() {
    let faults = "faults = [{ camera = \"main\", frame = 10, kind = \"unplug\" }]";
    let rig = format!("[booth]\nobject = \"toy\"\n{faults}");
    let bench = bench_waiting(SWEEP, &rig, 180.0);
    let booth = bench.running.around.booth.clone().unwrap();
    let id = bench.start("sweep").await;
    let mut status = bench.running.status.clone();
    let awaited = |status: &turnstage::status::Status| {
        matches!(status.situation, turnstage::status::Situation::CameraAwaited { .. })
    };
    status.wait_for(awaited).await.unwrap();
    assert!(!booth.is_moving(), "the table stands while a camera is away");
    booth.replug("main");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24), "{session:?}");
    bench.end().await;
}
