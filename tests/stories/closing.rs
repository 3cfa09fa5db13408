//! The closing frame of a turn is compared and thrown away, and the best of a burst is the one that is kept.

use tempfile::TempDir;
use turnstage::command::Act;
use turnstage::session::SessionState;
use turnstage_tests::{Bench, quick_rig, write_recipe};

fn bench(booth: &str, recipe: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn", 12, recipe);
    Bench::in_memory(&quick_rig(booth), data)
}

#[tokio::test(start_paused = true)]
async fn a_good_turn_closes_and_its_closing_frame_is_not_kept() {
    let bench = bench("[booth]\nobject = \"toy\"\n", "closing = true");
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    assert_eq!(bench.records(&id).await.len(), 12);
    let events = bench.running.spool.events(0, 1000).await.expect("events");
    let closing = events.iter().find(|event| event.kind == "session.closing").expect("it is on record");
    assert_eq!((&closing.data["closed"], &closing.data["compared"]), (&true.into(), &1.into()));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_close_asks_a_person_and_no_frame_is_lost() {
    // No single frame can tell: after the sixth move every one shows the object 15 degrees too early.
    let slips = "[booth]\nobject = \"toy\"\nfaults = [{ kind = \"lost-steps\", move = 6, deg = 15.0 }]\n";
    let bench = bench(slips, "closing = true");
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Paused, 12));
    assert!(session.flagged.is_empty(), "no frame by itself: {:?}", session.flagged);
    let faults = bench.running.status.borrow().faults.clone();
    let [fault] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(fault.rule, "qc.loop");
    assert!(fault.what.contains("The turn did not close"), "{fault:?}");

    // A person looked and keeps the frames: the closing frame is not taken again.
    bench.ask(Act::Resume { session: None, anew: false, confirm: false }).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    assert_eq!(bench.records(&id).await.len(), 12);
    let events = bench.running.spool.events(0, 1000).await.expect("events");
    let closings: Vec<_> = events.iter().filter(|event| event.kind == "session.closing").collect();
    let [closing] = &closings[..] else { panic!("{closings:?}") };
    assert_eq!(closing.data["closed"], false);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_burst_the_picture_that_is_not_blurred_is_kept() {
    let blurred = "[booth]\nfaults = [\n\
                   { camera = \"main\", frame = 1, kind = \"blurred\" },\n\
                   { camera = \"main\", frame = 5, kind = \"blurred\" },\n]\n";
    let bench = bench(blurred, "burst = 3");
    let id = bench.start("turn").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.flagged.as_slice()), (SessionState::Review, &[][..]));
    assert_eq!(bench.records(&id).await.len(), 12, "one of each burst");
    bench.end().await;
}
