//! Commands: refused by rule with what to do, obeyed once, and always in the hash-chained audit log.

use tempfile::TempDir;
use turnstage::command::{Act, Actor, Place};
use turnstage::session::SessionState;
use turnstage_cloud_sync::event;
use turnstage_tests::{Bench, quick_rig, write_recipe};

fn bench(recipe: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, recipe);
    Bench::in_memory(&quick_rig(""), data)
}

async fn refused(bench: &Bench, act: Act) -> String {
    bench.ask(act).await.expect_err("a refusal").rule
}

fn start(item: &str) -> Act {
    Act::Start { item: item.to_owned(), recipe: Some("turn12".to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn any_capture_class_but_durable_is_refused_until_it_exists() {
    for class in ["sealed", "ram-only", "keypoints-only"] {
        let bench = bench(&format!("capture_class = \"{class}\""));
        assert_eq!(refused(&bench, start("a")).await, "class-not-available", "{class}");
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_sent_twice_is_obeyed_once() {
    let bench = bench("");
    let actor = Actor("panel:test".to_owned());
    let first = bench
        .running
        .commands
        .ask_as("id-1".to_owned(), &actor, &Place::AtRig, start("a"))
        .await
        .expect("a start");
    bench.settled(first.session.as_deref().expect("an id")).await;
    let second = bench.running.commands.ask_as("id-1".to_owned(), &actor, &Place::AtRig, start("a")).await;
    assert_eq!(second.expect("the same answer"), first);
    assert_eq!(bench.sessions().await.len(), 1);
    bench.end().await;
}

/// The interface answers "did not answer in time, repeat it" while the command still waits.
#[tokio::test(start_paused = true)]
async fn what_would_move_the_table_is_dropped_when_its_sender_has_given_up_and_obeyed_when_repeated() {
    let bench = bench("");
    let actor = Actor("panel:test".to_owned());
    let ask = |act| bench.running.commands.ask_as("id-1".to_owned(), &actor, &Place::AtRig, act);
    tokio::select! {
        biased;
        answer = ask(start("a")) => panic!("the station has not looked yet: {answer:?}"),
        () = std::future::ready(()) => {}
    }
    bench.ask(Act::Abort).await.expect_err("it looked, and no session is open");
    assert_eq!(bench.sessions().await.len(), 0, "nobody waits for it any more");
    let events = bench.running.spool.events(0, 100).await.expect("the log");
    let dropped: Vec<_> = events.iter().filter(|event| event.data["rule"] == "sender-gone").collect();
    assert_eq!((dropped.len(), dropped[0].actor.as_str()), (1, "panel:test"));
    let id = ask(start("a")).await.expect("it was told to repeat it").session.expect("an id");
    assert_eq!(bench.settled(&id).await.taken, 12);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_session_waits_for_the_end_of_the_first() {
    let bench = bench("");
    let id = bench.start("turn12").await;
    assert_eq!(refused(&bench, start("b")).await, "session-running");
    bench.settled(&id).await;
    assert_eq!(refused(&bench, start("b")).await, "session-open");
    bench.ask(Act::Abort).await.expect("an end");
    bench.ask(start("b")).await.expect("the next session");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_after_the_shot_at_hand_and_resume_goes_on() {
    let bench = bench("");
    let id = bench.start("turn12").await;
    bench.ask(Act::Pause).await.expect("a pause");
    let session = bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(session.taken < 12);
    bench.ask(Act::Resume { session: None, anew: false, confirm: false }).await.expect("it goes on");
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    assert_eq!(bench.records(&id).await.len(), 12, "nothing is shot twice");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_vin_is_moved_with_its_history() {
    let bench = bench("");
    let id = bench.start("turn12").await;
    bench.settled(&id).await;
    let accepted = bench.ask(Act::MoveItem { item: "WBA8E9C56GK646123".to_owned() }).await.expect("a move");
    assert_eq!(accepted.count, 12);
    assert!(bench.records(&id).await.iter().all(|r| r.facts.item == "WBA8E9C56GK646123"));
    let document = bench.running.spool.document(&id).await.expect("a store").expect("a session");
    assert_eq!(document.value["item_history"][0]["from"], "item-1");
    assert_eq!(document.value["item_history"][0]["actor"], "operator:test");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn every_command_is_in_the_chained_audit_log_with_its_actor() {
    let bench = bench("");
    let id = bench.start("turn12").await;
    bench.settled(&id).await;
    assert_eq!(refused(&bench, start("b")).await, "session-open");
    bench.ask(Act::Release { accept: None }).await.expect("a release");
    let events = bench.running.spool.events(0, usize::MAX).await.expect("events");
    let mut previous = None;
    for event in &events {
        event::verify(previous, event).expect("an unbroken chain");
        previous = Some(event);
    }
    let told: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event.kind.starts_with("command."))
        .map(|event| (event.kind.as_str(), event.data["name"].as_str().expect("a name")))
        .collect();
    let wanted =
        [("command.accepted", "start"), ("command.refused", "start"), ("command.accepted", "release")];
    assert_eq!(told, wanted);
    assert!(events.iter().filter(|e| e.kind.starts_with("command.")).all(|e| e.actor == "operator:test"));
    bench.end().await;
}
