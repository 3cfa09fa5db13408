//! kill -9 at random instants.

use super::support::{open, rounds};
use super::writer::{Model, Writer};

#[tokio::test]
async fn after_any_kill_everything_acknowledged_is_there_and_nothing_is_half() {
    let mut rng = fastrand::Rng::with_seed(20);
    let (mut acknowledged, mut frames, mut unanswered) = (0, 0, (0, 0));
    for station in 0..rounds(1) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        for life in 0..50 {
            // Zero: killed while it opens.
            let lives_for = rng.u64(0..25);
            let writer = Writer::start(dir.path(), station * 50 + life, None, |_| ());
            acknowledged += writer.kill_after(lives_for, &mut model, &mut rng);
            let (spool, opened) = open(dir.path());
            assert!(!opened.rebuilt && opened.media_damaged.is_empty(), "life {life}: {opened:?}");
            assert_eq!(model.compare(&spool).await, Vec::<String>::new(), "station {station}, life {life}");
            spool.close().await;
        }
        frames += model.frames();
        unanswered = (unanswered.0 + model.unanswered.0, unanswered.1 + model.unanswered.1);
    }
    println!("{acknowledged} acknowledged operations, {frames} frames, 0 lost; unanswered: {unanswered:?}");
    assert!(acknowledged > 200, "the writer hardly lived: {acknowledged}");
}
