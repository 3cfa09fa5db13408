//! The wired emergency stop of a large platform: nothing turns without one that a person pressed and released today.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use turnstage::clock::SystemClock;
use turnstage::command::{Act, Answer};
use turnstage::emergency::{STEP, Step};
use turnstage::io::Level;
use turnstage::session::SessionState;
use turnstage::status::Status;
use turnstage_cloud_sync::{Clock, ClockQuality, Spool, Stamp};
use turnstage_drivers::sim::Booth;
use turnstage_tests::{Bench, quick_rig, read, write_recipe};

/// 2026-12-01T12:00:00Z: the same date wherever this runs.
const NOON_MS: i64 = 1_796_126_400_000;
const DAY: Duration = Duration::from_secs(86_400);
/// As long as a hand needs.
const PRESS: Duration = Duration::from_secs(2);
const LARGE: &str = "[motion]\nplatform_m = 4.5\n";
const STOP: &str = "[rig.inputs.red]\ndriver = \"sim\"\ndoes = \"emergency-stop\"\n";
/// A table that takes a while for a step.
const SLOW: [&str; 2] = ["speed_deg_s = 3600.0", "speed_deg_s = 30.0"];

/// A wall clock that stood at one noon and goes with tokio's.
struct Noon(Mutex<(Instant, ClockQuality)>);

impl Clock for Noon {
    fn now(&self) -> Stamp {
        let (since, quality) = *self.0.lock().expect("nobody panics with it");
        let since_ms = since.elapsed().as_millis() as u64;
        let wall_ms = NOON_MS.saturating_add_unsigned(since_ms);
        Stamp { wall_ms, quality, boottime_ms: since_ms, boot_id: "boot".to_owned() }
    }
}

/// A station in memory with a clock of its own.
struct Rig {
    bench: Bench,
    booth: Booth,
    clock: Arc<Noon>,
}

impl Rig {
    fn new(rig: &str) -> Self {
        let data = TempDir::new().expect("a folder");
        recipes(data.path());
        let clock = Arc::new(Noon(Mutex::new((Instant::now(), ClockQuality::Synced))));
        let spool = Spool::in_memory(clock.clone());
        Self::on(rig, data, clock, spool)
    }

    fn on(rig: &str, data: TempDir, clock: Arc<Noon>, spool: Spool) -> Self {
        let config = read(&quick_rig(rig).replace(SLOW[0], SLOW[1]), data.path());
        let backends = turnstage::run::backends(&config, data.path());
        let bench = Bench::on(spool, SystemClock::of(clock.clone()), backends, config, data);
        let booth = bench.running.around.booth.clone().expect("a booth");
        Self { bench, booth, clock }
    }

    /// The station goes off and on again.
    async fn reboot(self, rig: &str) -> Self {
        let Self { bench: Bench { running, data }, clock, .. } = self;
        let spool = running.end().await;
        Self::on(rig, data, clock, spool)
    }

    async fn until(&self, so: impl FnMut(&Status) -> bool) -> Status {
        self.bench.running.status.clone().wait_for(so).await.expect("the station lives").clone()
    }

    /// Waits until the contact was heard of.
    async fn heard(&self) {
        self.until(|status| status.inputs.iter().all(|input| input.level == Level::Released)).await;
        self.until(|status| status.sentence != "Starting").await;
    }

    async fn start(&self, recipe: &str) -> Answer {
        self.bench.ask(Act::Start { item: "4711".to_owned(), recipe: Some(recipe.to_owned()) }).await
    }

    async fn refused(&self, recipe: &str) -> (String, String) {
        let refusal = self.start(recipe).await.expect_err("refused");
        (refusal.rule, refusal.reason)
    }

    /// A person tests the emergency stop.
    async fn test(&self) {
        self.heard().await;
        self.bench.ask(Act::TestEmergencyStop).await.expect("it begins");
        self.booth.press("red");
        self.until(|status| step(status) == Some(Step::Release)).await;
        tokio::time::sleep(PRESS).await;
        self.booth.release("red");
        self.until(tested).await;
    }

    fn motions(&self) -> usize {
        self.booth.commands().iter().filter(|told| told.command.is_motion()).count()
    }

    async fn log(&self, kind: &str) -> usize {
        let events = self.bench.running.spool.events(0, 1_000).await.expect("the log");
        events.iter().filter(|event| event.kind == kind).count()
    }
}

fn recipes(data: &Path) {
    let folder = data.join("recipes");
    write_recipe(&folder, "turn12", 12, "retakes = 0");
    write_recipe(&folder, "person", 12, "");
    let file = folder.join("person.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, text.replace("\"object\"", "\"person\"")).expect("the recipe");
}

fn step(status: &Status) -> Option<Step> {
    status.emergency_stop.as_ref().map(|stop| stop.step)
}

fn tested(status: &Status) -> bool {
    status.emergency_stop.as_ref().is_some_and(|stop| stop.tested)
}

#[tokio::test(start_paused = true)]
async fn a_large_platform_turns_only_on_the_day_on_which_its_emergency_stop_was_tested() {
    let rig = Rig::new(&format!("{LARGE}{STOP}"));
    rig.heard().await;
    let status = rig.until(|status| status.sentence == "Emergency stop not tested today").await;
    assert_eq!(status.detail, "Begin its test, press it, then release it.");
    assert_eq!(status.faults[0].rule, "emergency-stop-untested");
    let (rule, reason) = rig.refused("turn12").await;
    assert_eq!(rule, "emergency-stop-untested");
    let wanted = "The platform is 4.5 m across, and the emergency stop was not tested today. Begin its test";
    assert!(reason.starts_with(wanted), "{reason}");
    let arm = rig.bench.ask(Act::Arm { code: None }).await.expect_err("it is not armed either");
    assert_eq!(arm.rule, "emergency-stop-untested");
    assert_eq!(rig.motions(), 0);

    // Pressing it without having said so proves nothing.
    rig.booth.press("red");
    rig.until(|status| status.sentence.starts_with("The emergency stop is pressed")).await;
    tokio::time::sleep(PRESS).await;
    rig.booth.release("red");
    rig.until(|status| status.sentence == "Emergency stop not tested today").await;
    assert!(!tested(&rig.bench.running.status.borrow()));

    rig.bench.ask(Act::TestEmergencyStop).await.expect("it begins");
    rig.until(|status| status.sentence == "Press the emergency stop now").await;
    rig.booth.press("red");
    rig.until(|status| status.sentence == "Release the emergency stop now").await;
    assert_eq!(rig.refused("turn12").await.0, "emergency-stop-pressed");
    tokio::time::sleep(PRESS).await;
    rig.booth.release("red");
    let status = rig.until(tested).await;
    let stop = status.emergency_stop.expect("declared");
    assert_eq!((stop.tested_on.as_deref(), stop.step), (Some("2026-12-01"), Step::Idle));
    assert_eq!(rig.log("emergency-stop.tested").await, 1);
    rig.bench.ask(Act::Arm { code: None }).await.expect("armed");
    let id = rig.start("turn12").await.expect("it turns").session.expect("an id");
    assert_eq!(rig.bench.settled(&id).await.state, SessionState::Review);
    rig.bench.ask(Act::Release { accept: None }).await.expect("released");

    // It is remembered over a restart, and not over midnight.
    let rig = rig.reboot(&format!("{LARGE}{STOP}")).await;
    rig.heard().await;
    rig.until(tested).await;
    tokio::time::sleep(DAY).await;
    rig.until(|status| status.sentence == "Emergency stop not tested today").await;
    assert_eq!(rig.refused("turn12").await.0, "emergency-stop-untested");
    rig.test().await;
    rig.start("turn12").await.expect("it turns again");
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_the_table_in_mid_turn_and_a_person_goes_on_after_its_release() {
    let rig = Rig::new(&format!("{LARGE}{STOP}"));
    rig.test().await;
    let id = rig.start("turn12").await.expect("it turns").session.expect("an id");
    rig.until(|status| status.session.as_ref().is_some_and(|session| session.taken >= 3)).await;
    rig.until(|status| status.table.as_ref().is_some_and(|table| table.moving)).await;
    let began = rig.bench.ask(Act::TestEmergencyStop).await;
    assert_eq!(began.expect_err("not now").rule, "session-running");

    rig.booth.press("red");
    let session = rig.bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    assert!(!rig.booth.is_moving());
    rig.until(|status| status.sentence.starts_with("The emergency stop is pressed")).await;
    let moved = rig.motions();
    let go_on = || rig.bench.ask(Act::Resume { session: None, anew: false, confirm: false });
    assert_eq!(go_on().await.expect_err("it is pressed").rule, "emergency-stop-pressed");
    rig.booth.release("red");
    let status = rig.until(|status| status.sentence == "Stopped by red").await;
    assert!(status.table.expect("a table").stopped, "latched");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.motions(), moved, "the table moved by itself");
    go_on().await.expect("a person goes on");
    assert_eq!(rig.bench.settled(&id).await.taken, 12);
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_input_that_is_lost_and_a_test_that_takes_too_long_leave_it_untested() {
    let rig = Rig::new(&format!("{LARGE}{STOP}"));
    rig.heard().await;
    let begun = Instant::now();
    rig.bench.ask(Act::TestEmergencyStop).await.expect("it begins");
    rig.until(|status| step(status) == Some(Step::NotPressed)).await;
    assert!(begun.elapsed() >= STEP && begun.elapsed() < 2 * STEP, "{:?}", begun.elapsed());
    rig.bench.ask(Act::TestEmergencyStop).await.expect("once more");
    rig.booth.press("red");
    rig.until(|status| step(status) == Some(Step::Release)).await;
    rig.booth.unplug_input("red");
    let status = rig.until(|status| step(status) == Some(Step::Lost)).await;
    assert_eq!(status.sentence, "The emergency stop is not heard of");
    assert_eq!(rig.bench.ask(Act::TestEmergencyStop).await.expect_err("gone").rule, "emergency-stop-lost");
    assert_eq!(rig.refused("turn12").await.0, "emergency-stop-lost");
    rig.booth.release("red");
    rig.booth.replug_input("red");
    rig.heard().await;
    assert_eq!(rig.refused("turn12").await.0, "emergency-stop-untested");
    assert_eq!(rig.log("emergency-stop.not-tested").await, 2);
    rig.test().await;
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rig_without_one_and_a_clock_that_is_not_set_are_told_for_what_they_are() {
    let rig = Rig::new(LARGE);
    let status = rig.until(|status| status.sentence == "This platform has no emergency stop").await;
    assert_eq!(status.faults[0].rule, "emergency-stop-none");
    let (rule, reason) = rig.refused("turn12").await;
    assert_eq!(rule, "emergency-stop-none");
    assert!(reason.contains("does = \"emergency-stop\""), "{reason}");
    assert_eq!(rig.bench.ask(Act::TestEmergencyStop).await.expect_err("none").rule, "emergency-stop-none");
    rig.bench.end().await;

    let rig = Rig::new(&format!("{LARGE}{STOP}"));
    rig.test().await;
    rig.clock.0.lock().expect("nobody panics with it").1 = ClockQuality::Unset;
    assert_eq!(rig.refused("turn12").await.0, "emergency-stop-clock");
    assert_eq!(rig.bench.ask(Act::TestEmergencyStop).await.expect_err("no day").rule, "emergency-stop-clock");
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_on_a_small_table_needs_one_and_an_object_there_does_not() {
    let rig = Rig::new("");
    assert_eq!(rig.bench.running.status.borrow().emergency_stop, None);
    let (rule, reason) = rig.refused("person").await;
    assert_eq!(rule, "emergency-stop-none");
    assert!(reason.starts_with("A person stands on the table, and no wired emergency stop"), "{reason}");
    rig.bench.end().await;

    let rig = Rig::new(STOP);
    rig.heard().await;
    rig.until(|status| status.sentence == "Ready").await;
    assert_eq!(rig.refused("person").await.0, "emergency-stop-untested");
    let id = rig.start("turn12").await.expect("an object turns").session.expect("an id");
    assert_eq!(rig.bench.settled(&id).await.state, SessionState::Review);
    rig.bench.ask(Act::Release { accept: None }).await.expect("released");
    rig.test().await;
    assert_eq!(rig.refused("person").await.0, "subject-not-available", "no capture class for persons yet");
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_panel_asks_for_the_test_before_anything_else_and_says_what_it_waits_for() {
    let rig = Rig::new(&format!("{LARGE}{STOP}"));
    rig.heard().await;
    let client = rig.bench.client();
    let page = async |address: &str| client.get(address).await.text();
    let html = page("/?item=4711").await;
    assert!(
        html.contains("data-act=\"test-emergency-stop\"") && !html.contains("data-act=\"start\""),
        "{html}"
    );
    assert!(html.contains("not tested today"), "{html}");
    let answer = client.post("/api/v1/commands/start", json!({ "item": "4711", "recipe": "turn12" })).await;
    assert_eq!((answer.status, answer.rule().as_str()), (StatusCode::CONFLICT, "emergency-stop-untested"));
    let begun = client.post("/api/v1/commands/test-emergency-stop", json!({})).await;
    assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
    let html = page("/?item=4711&lang=de").await;
    assert!(html.contains("Jetzt drücken") && html.contains("Jetzt den Not-Halt drücken"), "{html}");
    rig.booth.press("red");
    rig.until(|status| step(status) == Some(Step::Release)).await;
    assert!(page("/?item=4711&lang=en").await.contains("Release it now"));
    tokio::time::sleep(PRESS).await;
    rig.booth.release("red");
    rig.until(tested).await;
    let html = page("/?item=4711").await;
    assert!(html.contains("data-act=\"start\"") && !html.contains("not tested today"), "{html}");
    rig.bench.end().await;
}
