//! An optical input beside the flash: a frame at which it saw none is like any other that did not succeed.

use std::time::Duration;

use turnstage::command::{Act, Override};
use turnstage::session::SessionState;
use turnstage::status::Status;
use turnstage_drivers::sim::Booth;
use turnstage_tests::{Bench, write_recipe};

use super::{Rig, asked};

/// The flash fires at every exposure but these, from 1, for ever.
async fn flash(booth: &Booth, bench: &Bench, dark: &[u64]) {
    let mut status = bench.running.status.clone();
    let mut exposed = 0;
    loop {
        let now = booth.exposures("main");
        if now > exposed && !dark.contains(&now) {
            booth.tap("eye");
        }
        exposed = now;
        tokio::select! {
            _ = status.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

const EYE: &str = "[rig.inputs.eye]\ndriver = \"sim\"\ndoes = \"flash\"";

/// Rules that were found of each picture there ever was, by frame and take.
async fn findings(rig: &Rig, session: &str) -> Vec<(u32, u32, bool, String)> {
    let records = rig.bench.records(session).await;
    let each = records.iter().flat_map(|record| {
        let found = record.meta["qc"]["findings"].as_array().cloned().unwrap_or_default();
        found.into_iter().map(|finding| {
            let rule = finding["rule"].as_str().unwrap_or_default().to_owned();
            (record.facts.shot + 1, record.facts.take, record.superseded_by.is_some(), rule)
        })
    });
    each.collect()
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_its_flash_pauses_the_turn_and_is_taken_again_when_somebody_goes_on() {
    let rig = Rig::new(EYE);
    write_recipe(&rig.bench.data.path().join("recipes"), "spin36", 12, "retakes = 1");
    rig.ready().await;
    let booth = rig.booth.clone();
    let story = async {
        booth.scan("hand", "4711");
        rig.until(|status| status.next_item.is_some()).await;
        booth.tap("left");
        let session = rig.session(SessionState::Paused).await;
        let told = rig.until(|status| status.faults.iter().any(|fault| fault.rule == "flash-missing")).await;
        assert_eq!(told.sentence, "The flash did not fire at frame 5");
        assert!(told.faults[0].todo.starts_with("Check the flash"), "{:?}", told.faults);
        assert_eq!((session.taken, &session.flagged[..]), (5, &[5][..]));
        booth.tap("left");
        let session = rig.session(SessionState::Review).await;
        assert_eq!((session.taken, rig.status().faults.len(), session.flagged.len()), (12, 0, 0));
        // The dark one is history, and it is known why.
        let missing = [(5, 1, true, "flash-missing".to_owned())];
        assert_eq!(findings(&rig, &session.id).await, missing);
        assert_eq!(booth.exposures("main"), 13);
        rig.bench.ask(Act::Release { accept: None }).await.expect("nothing speaks against it");
        assert_eq!(
            rig.log("command.accepted").await,
            [asked("pedal:left", "start"), asked("pedal:left", "resume"), asked("operator:test", "release")]
        );
    };
    tokio::select! {
        () = story => {}
        () = flash(&booth, &rig.bench, &[5]) => {}
    }
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stays_without_its_flash_leaves_only_by_name_and_reason() {
    let rig = Rig::new(EYE);
    let recipes = rig.bench.data.path().join("recipes");
    write_recipe(&recipes, "once", 3, "retakes = 0");
    rig.ready().await;
    let booth = rig.booth.clone();
    let story = async {
        let start = Act::Start { item: "4711".to_owned(), recipe: Some("once".to_owned()) };
        rig.bench.ask(start).await.expect("a session");
        let go_on = || rig.bench.ask(Act::Resume { session: None, anew: false, confirm: false });
        // The second has none, and the last, after which nothing is left to wait for.
        for taken in [2, 3] {
            let paused = |status: &Status| {
                let session = status.session.as_ref();
                session.is_some_and(|one| one.state == SessionState::Paused && one.taken == taken)
            };
            rig.until(paused).await;
            go_on().await.expect("a person goes on");
        }
        let session = rig.session(SessionState::Review).await;
        assert_eq!(session.flagged, [2, 3]);
        let refused = rig.bench.ask(Act::Release { accept: None }).await.expect_err("two are dark");
        assert_eq!(refused.rule, "release-incomplete");
        assert!(refused.reason.contains("flagged: 2, 3"), "{}", refused.reason);
        let accept = Override { name: "Ada".to_owned(), reason: "a silhouette was asked for".to_owned() };
        rig.bench.ask(Act::Release { accept: Some(accept) }).await.expect("she answers for it");
    };
    tokio::select! {
        () = story => {}
        () = flash(&booth, &rig.bench, &[2, 3]) => {}
    }
    rig.bench.end().await;
}
