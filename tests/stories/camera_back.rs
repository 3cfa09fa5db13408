//! Scenario 9 of the requirements: a camera is unplugged at frame 30 and comes back after a while.

mod real;

use std::time::Duration;

use tokio::time::Instant;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage::status::{Situation, Status};
use turnstage_drivers::sim::Object;
use turnstage_tests::{Bench, quick_rig, write_recipe};

const UNPLUGGED: &str =
    "[booth]\nobject = \"toy\"\nfaults = [{ camera = \"main\", frame = 30, kind = \"unplug\" }]";

fn bench(wait_s: f64) -> Bench {
    let data = tempfile::tempdir().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "");
    let config = quick_rig(UNPLUGGED).replace("camera_wait_s = 0.0", &format!("camera_wait_s = {wait_s:.1}"));
    Bench::in_memory(&config, data)
}

fn is_awaited(status: &Status) -> bool {
    matches!(&status.situation, Situation::CameraAwaited { camera, .. } if camera == "main")
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_comes_back_is_locked_as_it_was_and_the_session_goes_on_by_itself() {
    let bench = bench(180.0);
    let id = bench.start("turn36").await;
    let mut status = bench.running.status.clone();
    let told = status.wait_for(is_awaited).await.unwrap().clone();
    assert!(matches!(told.situation, Situation::CameraAwaited { frame: 30, .. }), "{:?}", told.situation);
    assert!(told.sentence.contains("main"), "{}", told.sentence);
    let booth = bench.running.around.booth.clone().unwrap();
    let stood = booth.true_angle();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(booth.true_angle(), stood, "the table stands while a camera is away");
    booth.replug("main");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken, session.missing.len()), (SessionState::Review, 36, 0));
    assert!(session.flagged.is_empty(), "{:?}", session.flagged);
    let records = bench.records(&id).await;
    let locked: Vec<_> = records.iter().map(|r| r.meta["camera"]["applied"]["exposure"].clone()).collect();
    assert!(locked.iter().all(|exposure| *exposure == locked[0]), "every frame was taken with the same lock");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_away_asks_for_a_person_after_its_time() {
    let bench = bench(60.0);
    let id = bench.start("turn36").await;
    let began = Instant::now();
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Paused, 29));
    assert!(began.elapsed() >= Duration::from_secs(60));
    assert_eq!(bench.running.status.borrow().faults[0].rule, "camera-unplugged");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_comes_back_with_another_view_does_not_go_on() {
    let bench = bench(180.0);
    let id = bench.start("turn36").await;
    let mut status = bench.running.status.clone();
    status.wait_for(is_awaited).await.unwrap();
    let booth = bench.running.around.booth.clone().unwrap();
    // Somebody took the item away as well; a camera that was knocked would see as little of what it saw.
    booth.put(Object::Empty);
    booth.replug("main");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Paused, 29));
    assert_eq!(bench.running.status.borrow().faults[0].rule, "camera-moved");
    bench.end().await;
}

/// Whoever put the cable back stands beside the table, and has not pressed anything.
#[tokio::test(start_paused = true)]
async fn a_real_table_says_so_before_the_session_goes_on_by_itself() {
    let data = tempfile::tempdir().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, "");
    let config = quick_rig(&UNPLUGGED.replace("frame = 30", "frame = 2"));
    let (before, rest) = config.split_once("[rig.turntable]").expect("a table");
    let after = rest.split_once("[rig.cameras.main]").expect("a camera").1;
    let config = format!("{before}[rig.turntable]\ndriver = \"manual\"\n[rig.cameras.main]{after}");
    let bench = Bench::in_memory(&config.replace("camera_wait_s = 0.0", "camera_wait_s = 180.0"), data);
    bench.ask(Act::Arm { code: None }).await.expect("armed");
    let id = bench.start("turn12").await;
    let booth = bench.running.around.booth.clone().unwrap();
    let hand = bench.running.around.hand.clone();
    let turning = async {
        let mut asked = hand.watch();
        loop {
            let asks = asked.wait_for(|asked| asked.is_some_and(|asked| !asked.answered)).await;
            let number = asks.expect("a station").expect("a question").number;
            hand.answer(number);
        }
    };
    let story = async {
        let mut status = bench.running.status.clone();
        status.wait_for(is_awaited).await.unwrap();
        booth.replug("main");
        tokio::select! {
            biased;
            told = status.wait_for(|status| status.situation == Situation::Announced) => drop(told.unwrap()),
            _ = bench.settled(&id) => panic!("it went on without a word"),
        }
    };
    tokio::select! {
        () = story => {}
        () = turning => {}
    }
    bench.end().await;
}
