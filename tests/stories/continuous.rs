//! A turn without stopping: frames are picked by time and angle, and say how well they know it.

use turnstage::session::SessionState;
use turnstage_drivers::sim::Command;
use turnstage_tests::{Bench, quick_rig, write_recipe};

const SWEEP: &str = "continuous = { speed_deg_s = 10.0, blur_deg_max = 0.1, angle_error_deg_max = 0.6 }";

fn bench(recipe: &str, rig: &str) -> Bench {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("recipes");
    write_recipe(&folder, "sweep", 24, recipe);
    let file = folder.join("sweep.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, text.replace("stop_and_shoot", "continuous")).expect("the recipe");
    Bench::in_memory(&quick_rig(rig), data)
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
    bench.ask(turnstage::command::Act::Stop).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(!bench.running.around.booth.as_ref().unwrap().is_moving());
    let taken = session.taken;
    let resume = turnstage::command::Act::Resume { session: None, anew: false, confirm: false };
    bench.ask(resume).await.unwrap();
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24));
    assert!(taken >= 8 && session.retaken == 0, "nothing was shot twice");
    bench.end().await;
}
