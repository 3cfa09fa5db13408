//! Scenario 2: frames 17 and 41 blurred, 42 over-exposed; flagged in time, retaken at exactly their angles.

use tempfile::TempDir;
use turnstage::command::{Act, Override, Which};
use turnstage::session::SessionState;
use turnstage_tests::{Bench, quick_rig, write_recipe};

const FAULTS: &str = r#"
[booth]
faults = [
  { camera = "main", frame = 17, kind = "blurred" },
  { camera = "main", frame = 41, kind = "blurred" },
  { camera = "main", frame = 42, kind = "over-exposed" },
]
"#;

fn bench(retakes: u32) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn72", 72, &format!("retakes = {retakes}"));
    Bench::in_memory(&quick_rig(FAULTS), data)
}

#[tokio::test(start_paused = true)]
async fn flagged_frames_are_retaken_at_exactly_their_angles_and_history_is_kept() {
    let bench = bench(0);
    let id = bench.start("turn72").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Review);
    assert_eq!(session.flagged, [17, 41, 42]);

    let before = bench.records(&id).await;
    let rule = |shot: u32| {
        let record = before.iter().find(|r| r.facts.shot == shot).expect("a record");
        record.meta["qc"]["findings"][0]["rule"].as_str().expect("a rule").to_owned()
    };
    assert_eq!([rule(16), rule(40), rule(41)], ["qc.sharpness", "qc.sharpness", "qc.clipped"]);

    let refusal =
        bench.ask(Act::Release { accept: None }).await.expect_err("flagged frames hold the release");
    assert_eq!(refusal.rule, "release-incomplete");

    let accepted = bench.ask(Act::Retake { which: Which::Flagged }).await.expect("a retake");
    assert_eq!(accepted.count, 3);
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.flagged.len(), session.retaken), (SessionState::Review, 0, 3));

    let after = bench.records(&id).await;
    assert_eq!(after.len(), 75, "three retakes beside their history");
    for shot in [16, 40, 41] {
        let takes: Vec<_> = after.iter().filter(|r| r.facts.shot == shot).collect();
        let (first, second) = (takes[0], takes[1]);
        assert_eq!(first.superseded_by, Some(second.key.sequence));
        assert_eq!(second.facts.take, 2);
        assert_eq!(second.facts.angle_commanded, Some(f64::from(shot) * 5.0));
        assert_eq!(second.facts.angle_commanded, first.facts.angle_commanded);
        assert_ne!(second.sha256, first.sha256);
    }
    let released = bench.ask(Act::Release { accept: None }).await.expect("a release");
    assert_eq!(released.count, 72);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_recipe_with_retakes_mends_them_before_the_release_by_itself() {
    let bench = bench(2);
    let id = bench.start("turn72").await;
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.retaken), (SessionState::Review, 3));
    assert_eq!(session.flagged, Vec::<u32>::new());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn flagged_frames_are_released_only_by_name_and_reason() {
    let bench = bench(0);
    let id = bench.start("turn72").await;
    bench.settled(&id).await;
    let unnamed = Override { name: " ".to_owned(), reason: "late".to_owned() };
    let refusal = bench.ask(Act::Release { accept: Some(unnamed) }).await.expect_err("a name is needed");
    assert_eq!(refusal.rule, "override-unnamed");
    let named = Override { name: "Reviewer 4".to_owned(), reason: "the item is gone".to_owned() };
    assert_eq!(bench.ask(Act::Release { accept: Some(named) }).await.expect("a release").count, 72);
    let document = bench.running.spool.document(&id).await.expect("a store").expect("a session");
    assert_eq!(document.value["accepted"]["name"], "Reviewer 4");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_fault_on_two_angles_in_a_row_pauses_and_says_so() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "retakes = 2");
    let faults: Vec<String> =
        (5..=40).map(|n| format!("{{ camera = \"main\", frame = {n}, kind = \"blurred\" }}")).collect();
    let rig = quick_rig(&format!("[booth]\nfaults = [{}]", faults.join(", ")));
    let bench = Bench::in_memory(&rig, data);
    let id = bench.start("turn36").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(session.taken <= 7, "no retake is burnt on 36 angles: {} taken", session.taken);
    let status = bench.running.status.borrow().clone();
    assert_eq!(status.faults[0].rule, "qc.sharpness");
    assert!(status.sentence.contains("Two frames in a row"), "{}", status.sentence);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_stood_still_is_told_once_and_a_turning_one_never() {
    let told = async |more: &str| {
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "turn36", 36, "");
        let bench = Bench::in_memory(&quick_rig(more), data);
        let id = bench.start("turn36").await;
        bench.settled(&id).await;
        let records = bench.records(&id).await;
        bench.end().await;
        let rules = |record: &turnstage_cloud_sync::Record| {
            let findings = record.meta["qc"]["findings"].as_array().expect("findings").clone();
            findings.into_iter().map(|finding| finding["rule"].as_str().expect("a rule").to_owned())
        };
        records.iter().flat_map(rules).collect::<Vec<_>>()
    };
    assert_eq!(told("").await, [""; 0]);
    // The motor loses the ten degrees of its sixth move (the first one looks for zero), and of that one only.
    let lost = "[booth]\nobject = \"toy\"\nfaults = [{ kind = \"lost-steps\", move = 6, deg = 10.0 }]";
    assert_eq!(told(lost).await, ["qc.not-moved"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_turn_any_more_pauses_the_session_at_its_second_frame() {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn36", 36, "");
    let lost = |nth: u32| format!("{{ kind = \"lost-steps\", move = {nth}, deg = 10.0 }}");
    let lost: Vec<String> = (6..=80).map(lost).collect();
    let rig = quick_rig(&format!("[booth]\nobject = \"toy\"\nfaults = [{}]", lost.join(", ")));
    let bench = Bench::in_memory(&rig, data);
    let id = bench.start("turn36").await;
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(session.taken <= 9, "no retake is burnt on 36 angles: {} taken", session.taken);
    let status = bench.running.status.borrow().clone();
    assert_eq!(status.faults[0].rule, "qc.not-moved");
    assert!(status.sentence.contains("The table did not turn"), "{}", status.sentence);
    bench.end().await;
}
