//! Scenarios 8 and 9 at the session: a stop halts whatever runs, a lost camera costs its own pictures only.

use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage::status::Status;
use turnstage_drivers::sim::Booth;
use turnstage_tests::{Bench, quick_rig, write_recipe};

const SECOND_CAMERA: &str = r#"
[rig.cameras.second]
driver = "sim"
size = [320, 240]
elevation_deg = 30.0
"#;

fn bench(more: &str, recipe: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, recipe);
    Bench::in_memory(&quick_rig(more), data)
}

fn booth(bench: &Bench) -> Booth {
    bench.running.around.booth.clone().expect("a booth")
}

async fn until_taken(bench: &Bench, pictures: usize) {
    let enough = |status: &Status| status.session.as_ref().is_some_and(|session| session.taken >= pictures);
    drop(bench.running.status.clone().wait_for(enough).await.expect("pictures arrive"));
}

const GO_ON: Act = Act::Resume { session: None, anew: false, confirm: false };

#[tokio::test(start_paused = true)]
async fn a_stop_halts_the_turn_and_nothing_moves_until_a_person_goes_on() {
    let bench = bench("", "");
    let id = bench.start("turn12").await;
    until_taken(&bench, 3).await;
    bench.ask(Act::Stop).await.expect("a stop");
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(session.taken < 12);
    let status = bench.running.status.borrow().clone();
    assert_eq!(status.sentence, "Stopped by test");
    assert!(!booth(&bench).is_moving());
    let moves = booth(&bench).commands().iter().filter(|told| told.command.is_motion()).count();
    tokio::time::sleep(tokio::time::Duration::from_secs(600)).await;
    let later = booth(&bench).commands().iter().filter(|told| told.command.is_motion()).count();
    assert_eq!(moves, later, "the table moved by itself");
    bench.ask(GO_ON).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    assert_eq!(bench.records(&id).await.len(), 12, "nothing is shot twice");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_session_without_a_table_too() {
    let bench = bench("", "");
    let text = "subject = \"room\"\nmotion = \"none\"\nrows = [{ frames = 500 }]\n";
    std::fs::write(bench.data.path().join("recipes/stills500.toml"), text).expect("a recipe");
    let id = bench.start("stills500").await;
    until_taken(&bench, 2).await;
    bench.ask(Act::Stop).await.expect("a stop");
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(session.taken < 500, "{}", session.taken);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_camera_costs_its_own_pictures_only() {
    let faults = "[booth]\nfaults = [{ camera = \"second\", frame = 5, kind = \"unplug\" }]";
    let bench = bench(&format!("{SECOND_CAMERA}{faults}"), "");
    let id = bench.start("turn12").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert_eq!(bench.running.status.borrow().faults[0].rule, "camera-unplugged");
    let fifth = bench.records(&id).await.into_iter().filter(|r| r.facts.shot == 4).count();
    assert_eq!(fifth, 1, "the other camera's picture of the same shot is kept");
    booth(&bench).replug("second");
    bench.ask(GO_ON).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 24));
    assert_eq!(bench.records(&id).await.len(), 24, "only what was missing is shot");
    bench.ask(Act::Release { accept: None }).await.expect("a release");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_optional_camera_that_is_gone_does_not_hold_the_release() {
    let faults =
        "required = false\n[booth]\nfaults = [{ camera = \"second\", frame = 3, kind = \"unplug\" }]";
    let bench = bench(&format!("{SECOND_CAMERA}{faults}"), "");
    let id = bench.start("turn12").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 14));
    assert!(bench.running.status.borrow().cameras.iter().any(|camera| camera.fault.is_some()), "it is told");
    bench.ask(Act::Release { accept: None }).await.expect("a release");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_angle_that_stays_bad_is_told_at_the_end_and_pauses_nothing() {
    // The third exposure and both of its retakes, which come after the twelfth.
    let blurred =
        [3, 13, 14].map(|n| format!("{{ camera = \"main\", frame = {n}, kind = \"blurred\" }}")).join(", ");
    let bench = bench(&format!("[booth]\nfaults = [{blurred}]"), "retakes = 2");
    let id = bench.start("turn12").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.flagged), (SessionState::Review, vec![3]));
    let refusal = bench.ask(Act::Release { accept: None }).await.expect_err("it is flagged");
    assert!(refusal.reason.contains("flagged: 3"), "{}", refusal.reason);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_jam_ends_the_turn_stops_the_motor_and_goes_on_when_it_is_freed() {
    let bench = bench("[booth]\nfaults = [{ kind = \"jam\", at_deg = 100.0 }]", "");
    let id = bench.start("turn12").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert_eq!(bench.running.status.borrow().faults[0].rule, "motion-jammed");
    assert!(!booth(&bench).is_moving());
    booth(&bench).clear_faults();
    bench.ask(GO_ON).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    bench.end().await;
}
