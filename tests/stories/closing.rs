//! The closing frame of a turn is compared and thrown away, and the best of a burst is the one that is kept.

use tempfile::TempDir;
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
