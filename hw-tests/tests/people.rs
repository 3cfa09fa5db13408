//! Tables without a motor of ours, through the suite: a person who is asked, and a platter that turns by itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::turntable;
use turnstage_drivers::{DeviceOptions, Surroundings, Turntable};
use turnstage_hw_tests::eye::Eye;
use turnstage_hw_tests::people::{Platter, turns_by_itself, turns_when_asked};
use turnstage_hw_tests::turntable::conform_seen;
use turnstage_hw_tests::{Outcome, Report};

async fn open(keys: &str, around: &Surroundings) -> Box<dyn Turntable> {
    let options: DeviceOptions = toml::from_str(keys).unwrap();
    turntable::open(&options, around).await.unwrap()
}

/// The suite, beside whoever moves the platter.
async fn beside(people: impl Future<Output = ()>, table: Box<dyn Turntable>, platter: &Platter) -> Report {
    let eye = platter.clone();
    tokio::select! {
        report = conform_seen(table, Eye::of(move || eye.deg())) => report,
        () = people => panic!("the people went away"),
    }
}

fn passed(report: &Report, name: &str) -> bool {
    report.checks.iter().any(|check| check.name == name && check.outcome == Outcome::Passed)
}

#[tokio::test(start_paused = true)]
async fn a_person_who_is_asked_and_answers_is_a_table_that_keeps_its_promises() {
    let (around, platter) = (Surroundings::default(), Platter::at_rest(37.0));
    let table = open("driver = \"manual\"", &around).await;
    let report = beside(turns_when_asked(around.hand.clone(), platter.clone()), table, &platter).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    for refusal in ["refuses to sweep", "refuses to tilt", "refuses to turn on and on"] {
        assert!(passed(&report, refusal), "{refusal}\n{report}");
    }
    assert!(passed(&report, "is seen to stand where it says that it stands"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_answers_before_they_turn_is_found_out() {
    let (around, platter) = (Surroundings::default(), Platter::at_rest(37.0));
    let hand = around.hand.clone();
    let hasty = async move {
        let mut asked = hand.watch();
        loop {
            let open = asked.wait_for(|asked| asked.is_some_and(|asked| !asked.answered)).await;
            let question = (*open.unwrap()).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            hand.answer(question.number);
        }
    };
    let report = beside(hasty, open("driver = \"manual\"", &around).await, &platter).await;
    assert_eq!(report.broken(), ["is seen to stand where it says that it stands"], "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_platter_that_turns_by_itself_is_a_table_that_keeps_its_promises() {
    let (around, platter) = (Surroundings::default(), Platter::at_rest(200.0));
    let rim = "rim = { camera = \"main\", radius_mm = 250, marks = 24, mark_mm = 16, height_mm = -10 }";
    let table = open(&format!("driver = \"external\"\ntolerance_deg = 0.3\n{rim}"), &around).await;
    // Somebody declares where it stands, then goes and switches it on.
    let from = Instant::now() + Duration::from_secs(5);
    let people = turns_by_itself(around.sightings.clone(), platter.clone(), from, 9.0);
    let suite = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let eye = platter.clone();
        conform_seen(table, Eye::of(move || eye.deg())).await
    };
    let report = tokio::select! {
        report = suite => report,
        () = people => panic!("the people went away"),
    };
    assert_eq!(report.broken(), [""; 0], "{report}");
    for kept in [
        "refuses a stop that it cannot make",
        "refuses to turn on and on",
        "tells where it is while it sweeps",
        "is seen to stand where it says that it stands",
    ] {
        assert!(passed(&report, kept), "{kept}\n{report}");
    }
}
