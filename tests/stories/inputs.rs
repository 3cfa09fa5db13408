//! At the rig: a scanner, a pedal, a stop button, a door, and lamps that say what goes on.

mod flash;

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use turnstage::arming::Armed;
use turnstage::command::Act;
use turnstage::io::Level;
use turnstage::session::SessionState;
use turnstage::status::{SessionStatus, Situation, Status};
use turnstage_drivers::sim::{Booth, Command};
use turnstage_tests::{Bench, quick_rig, write_recipe};

/// A table that takes a second for a step, so that somebody can do something meanwhile.
const SLOW: [&str; 2] = ["speed_deg_s = 3600.0", "speed_deg_s = 30.0"];

const RIG: &str = r#"
[rig.inputs.left]
driver = "sim"
does = "start"
[rig.inputs.hand]
driver = "sim"
lines = true
does = "scan"
[rig.inputs.halt]
driver = "sim"
does = "stop"
[rig.inputs.gate]
driver = "sim"
does = "door"
[rig.outputs.green]
driver = "sim"
shows = "tower-green"
[rig.outputs.amber]
driver = "sim"
shows = "tower-amber"
[rig.outputs.red]
driver = "sim"
shows = "tower-red"
[rig.outputs.horn]
driver = "sim"
shows = "horn"
[rig.outputs.lamps]
driver = "sim"
shows = "lights"
level = 0.8
"#;

/// A rig with everything at it, and its booth.
struct Rig {
    bench: Bench,
    booth: Booth,
}

impl Rig {
    fn new(more: &str) -> Self {
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "spin36", 12, "about = \"Twelve frames\"");
        let bench = Bench::in_memory(&quick_rig(&format!("{RIG}{more}")).replace(SLOW[0], SLOW[1]), data);
        let booth = bench.running.around.booth.clone().expect("a booth");
        Self { bench, booth }
    }

    /// The same with a table that is not simulated.
    fn by_hand() -> Self {
        let data = TempDir::new().expect("a folder");
        write_recipe(&data.path().join("recipes"), "spin36", 12, "about = \"Twelve frames\"");
        let rig = quick_rig(RIG);
        let (before, rest) = rig.split_once("[rig.turntable]").expect("a table");
        let after = rest.split_once("[rig.cameras.main]").expect("a camera").1;
        let rig = format!("{before}[rig.turntable]\ndriver = \"manual\"\n[rig.cameras.main]{after}");
        let bench = Bench::in_memory(&rig, data);
        let booth = bench.running.around.booth.clone().expect("a booth");
        Self { bench, booth }
    }

    fn status(&self) -> Status {
        self.bench.running.status.borrow().clone()
    }

    /// Waits until the station says so.
    async fn until(&self, so: impl FnMut(&Status) -> bool) -> Status {
        self.bench.running.status.clone().wait_for(so).await.expect("the station lives").clone()
    }

    /// Waits until nothing holds the table and every input has said how it is.
    async fn ready(&self) {
        let rest = |status: &Status| {
            let guards = status.inputs.iter().filter(|input| input.does.guards());
            status.sentence == "Ready" && guards.into_iter().all(|guard| guard.level == Level::Released)
        };
        self.until(rest).await;
    }

    /// Waits until the session has this state.
    async fn session(&self, state: SessionState) -> SessionStatus {
        let so = |status: &Status| status.session.as_ref().is_some_and(|session| session.state == state);
        self.until(so).await.session.expect("a session")
    }

    /// Scans an item, presses the pedal and waits until so many pictures are there and the table moves on.
    async fn shoot(&self, pictures: usize) {
        self.ready().await;
        self.booth.scan("hand", "4711");
        self.until(|status| status.next_item.is_some()).await;
        self.booth.tap("left");
        self.until(|status| status.session.as_ref().is_some_and(|session| session.taken >= pictures)).await;
        self.until(|status| status.table.as_ref().is_some_and(|table| table.moving)).await;
    }

    fn motions(&self) -> usize {
        self.booth.commands().iter().filter(|told| told.command.is_motion()).count()
    }

    /// Nothing moves for ten minutes.
    async fn stays(&self) {
        assert!(!self.booth.is_moving());
        let before = self.motions();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(self.motions(), before, "the table moved by itself");
    }

    /// Who asked for what, as the audit log has it.
    async fn log(&self, kind: &str) -> Vec<(String, String)> {
        let events = self.bench.running.spool.events(0, 1_000).await.expect("the log");
        let of = events.into_iter().filter(|event| event.kind == kind);
        of.map(|event| (event.actor, event.data["name"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// The levels that an output went through.
    fn levels(&self, output: &str) -> Vec<f64> {
        self.booth.lamp_changes(output).into_iter().map(|(_, level)| level).collect()
    }
}

fn armed(status: &Status) -> Option<Armed> {
    status.table.as_ref().map(|table| table.armed)
}

fn asked(actor: &str, name: &str) -> (String, String) {
    (actor.to_owned(), name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_scan_and_a_pedal_make_a_spin_and_the_lamps_tell_of_it() {
    let rig = Rig::new("");
    rig.ready().await;
    rig.booth.until_lamp("green", 1.0).await;
    assert_eq!(rig.booth.lamp("lamps"), 0.0);

    rig.booth.scan("hand", "WVWZZZ1JZXW000001");
    let status = rig.until(|status| status.next_item.is_some()).await;
    assert_eq!(status.next_item.as_deref(), Some("WVWZZZ1JZXW000001"));
    let status = rig.until(|status| status.detail.contains("Stand clear")).await;
    assert_eq!(status.detail, "WVWZZZ1JZXW000001 is on the table. Stand clear, then start.");
    rig.booth.until_lamp("lamps", 0.8).await;

    rig.booth.tap("left");
    rig.session(SessionState::Shooting).await;
    rig.booth.until_lamp("amber", 1.0).await;
    let session = rig.session(SessionState::Review).await;
    assert_eq!((session.item.as_str(), session.taken), ("WVWZZZ1JZXW000001", 12));
    assert_eq!(rig.status().next_item, None, "the next one must be scanned");
    rig.booth.until_lamp("green", 1.0).await;
    assert_eq!((rig.booth.lamp("amber"), rig.booth.lamp("lamps")), (0.0, 0.8));
    assert_eq!(rig.log("command.accepted").await, [asked("pedal:left", "start")]);

    // The horn sounded before the table turned to its first frame, and not after.
    let sounded = rig.booth.lamp_changes("horn");
    let first = rig.booth.commands().into_iter().find(|told| matches!(told.command, Command::Move { .. }));
    assert_eq!(rig.levels("horn"), [1.0, 0.0]);
    assert!(sounded[1].0 <= first.expect("a turn").at + Duration::from_millis(1), "{sounded:?}");
    assert!(rig.levels("red").is_empty());

    rig.bench.ask(Act::Release { accept: None }).await.expect("a release");
    rig.booth.until_lamp("lamps", 0.0).await;
    rig.booth.tap("left");
    let status = rig.until(|status| status.inputs.iter().any(|input| input.refused.is_some())).await;
    let pedal = status.inputs.iter().find(|input| input.name == "left").expect("a pedal");
    assert_eq!(pedal.refused.as_deref(), Some("Scan or name the item first."));
    assert_eq!(rig.log("command.refused").await, [asked("pedal:left", "start")]);
    let booth = rig.booth.clone();
    rig.bench.end().await;
    assert_eq!(booth.lamp("green"), 0.0, "a station that is off shows nothing");
}

#[tokio::test(start_paused = true)]
async fn a_scan_starts_by_itself_where_the_configuration_says_so() {
    let rig =
        Rig::new("[rig.inputs.gun]\ndriver = \"sim\"\nlines = true\ndoes = \"scan\"\nscan_starts = true");
    rig.ready().await;
    rig.booth.scan("gun", "4711");
    let session = rig.session(SessionState::Shooting).await;
    assert_eq!(session.item, "4711");
    rig.booth.scan("gun", "4712");
    let status = rig.until(|status| status.next_item.is_some()).await;
    assert_eq!(status.session.expect("a session").item, "4711", "the second is the next one");
    let session = rig.session(SessionState::Review).await;
    assert_eq!((session.item.as_str(), session.taken), ("4711", 12));
    assert_eq!(rig.status().next_item.as_deref(), Some("4712"));
    assert_eq!(rig.log("command.accepted").await, [asked("scanner:gun", "start")]);
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_button_halts_in_mid_turn_and_only_a_person_goes_on_after_its_release() {
    let rig = Rig::new("");
    rig.shoot(3).await;
    assert!(rig.booth.is_moving());
    let pressed = Instant::now();
    rig.booth.press("halt");
    rig.until(|status| status.table.as_ref().is_some_and(|table| table.stopped)).await;
    let stops = rig.booth.commands().into_iter().filter(|told| told.command == Command::Stop);
    let stop = stops.map(|told| told.at).find(|at| *at >= pressed).expect("a stop");
    assert!(stop - pressed <= Duration::from_millis(200), "{:?}", stop - pressed);
    let session = rig.session(SessionState::Paused).await;
    assert!(session.taken < 12);
    rig.booth.until_lamp("red", 1.0).await;
    rig.stays().await;
    let status = rig.until(|status| status.sentence == "Stop button halt is pressed").await;
    assert_eq!(status.faults[0].rule, "stop-pressed");

    // Nobody moves it while the button is in.
    let go_on = || rig.bench.ask(Act::Resume { session: None, anew: false, confirm: false });
    assert_eq!(go_on().await.expect_err("it is pressed").rule, "stop-pressed");
    rig.booth.tap("left");
    rig.until(|status| status.inputs.iter().any(|input| input.refused.is_some())).await;
    rig.stays().await;

    // Letting it go moves nothing either.
    rig.booth.release("halt");
    let status = rig.until(|status| status.sentence == "Stopped by halt").await;
    assert!(status.table.expect("a table").stopped, "latched");
    rig.stays().await;
    rig.booth.tap("left");
    let session = rig.session(SessionState::Review).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));
    assert_eq!(rig.bench.records(&session.id).await.len(), 12, "nothing is shot twice");
    let accepted = rig.log("command.accepted").await;
    assert_eq!(
        accepted,
        [asked("pedal:left", "start"), asked("input:halt", "stop"), asked("pedal:left", "resume")]
    );
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_button_that_is_lost_halts_the_table_until_it_is_back() {
    let rig = Rig::new("");
    rig.shoot(2).await;
    rig.booth.unplug_input("halt");
    rig.session(SessionState::Paused).await;
    let status = rig.until(|status| status.faults.iter().any(|fault| fault.rule == "stop-lost")).await;
    assert!(status.sentence.starts_with("Stop button halt is not there: "), "{}", status.sentence);
    rig.stays().await;
    let go_on = || rig.bench.ask(Act::Resume { session: None, anew: false, confirm: false });
    assert_eq!(go_on().await.expect_err("it is not there").rule, "stop-lost");
    rig.booth.replug_input("halt");
    rig.until(|status| status.faults.is_empty()).await;
    rig.stays().await;
    go_on().await.expect("a person goes on");
    assert_eq!(rig.session(SessionState::Review).await.taken, 12);
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_station_whose_stop_button_was_never_there_moves_nothing() {
    let rig = Rig::new("");
    rig.booth.unplug_input("halt");
    rig.until(|status| status.faults.iter().any(|fault| fault.rule == "stop-lost")).await;
    let start = Act::Start { item: "4711".to_owned(), recipe: None };
    assert_eq!(rig.bench.ask(start.clone()).await.expect_err("no stop button").rule, "stop-lost");
    assert_eq!(rig.motions(), 0);
    rig.booth.replug_input("halt");
    rig.ready().await;
    rig.bench.ask(start).await.expect("it is there");
    assert_eq!(rig.session(SessionState::Review).await.taken, 12);
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_door_pauses_and_nothing_moves_until_somebody_goes_on_behind_a_closed_one() {
    let rig = Rig::new("");
    rig.ready().await;
    rig.booth.press("gate");
    let status = rig.until(|status| status.sentence == "Door gate is open").await;
    assert!(status.faults.is_empty(), "somebody puts an item on the table");
    rig.booth.scan("hand", "4711");
    rig.booth.tap("left");
    let refused = |status: &Status| status.inputs.iter().any(|input| input.refused.is_some());
    rig.until(refused).await;
    assert_eq!(rig.motions(), 0);
    rig.booth.release("gate");
    rig.until(|status| status.sentence == "Ready").await;
    rig.booth.tap("left");
    rig.until(|status| status.session.as_ref().is_some_and(|session| session.taken >= 3)).await;
    rig.until(|status| status.table.as_ref().is_some_and(|table| table.moving)).await;

    rig.booth.press("gate");
    rig.session(SessionState::Paused).await;
    rig.stays().await;
    assert_eq!(rig.status().sentence, "Door gate is open");
    rig.booth.release("gate");
    rig.until(|status| status.sentence != "Door gate is open").await;
    rig.stays().await;
    rig.booth.tap("left");
    assert_eq!(rig.session(SessionState::Review).await.taken, 12);
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pedal_that_is_down_at_the_start_and_one_that_comes_back_down_start_nothing() {
    let rig = Rig::new("");
    rig.booth.press("left");
    rig.ready().await;
    rig.booth.scan("hand", "4711");
    rig.until(|status| status.next_item.is_some()).await;
    rig.booth.unplug_input("left");
    let status = rig.until(|status| status.faults.iter().any(|fault| fault.rule == "input-lost")).await;
    assert_eq!(status.kind, turnstage::status::Kind::Ready, "everything else works");
    rig.booth.replug_input("left");
    rig.until(|status| status.faults.is_empty()).await;
    rig.stays().await;
    assert_eq!(rig.status().session, None);
    rig.booth.release("left");
    rig.booth.tap("left");
    rig.session(SessionState::Review).await;
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lamp_that_was_unplugged_shows_the_state_again_when_it_is_back() {
    let rig = Rig::new("");
    rig.ready().await;
    rig.booth.until_lamp("green", 1.0).await;
    rig.booth.unplug_output("green");
    let status = rig.until(|status| status.faults.iter().any(|fault| fault.rule == "output-lost")).await;
    assert!(status.faults[0].what.starts_with("The output green is not there"), "{:?}", status.faults);
    rig.booth.replug_output("green");
    rig.booth.until_lamp("green", 1.0).await;
    rig.until(|status| status.faults.is_empty()).await;
    rig.bench.end().await;
}

/// A table that is not simulated: the pedal's press lets it turn, for the session that it begins and for nothing else.
#[tokio::test(start_paused = true)]
async fn the_press_of_the_pedal_arms_a_real_table_only_where_a_session_begins() {
    let rig = Rig::by_hand();
    rig.ready().await;
    let refused =
        |status: &Status| status.inputs.iter().any(|input| input.name == "left" && input.refused.is_some());

    rig.booth.tap("left");
    let told = rig.until(refused).await;
    assert!(told.session.is_none(), "no item was scanned");
    rig.until(|status| armed(status) == Some(Armed::No)).await;

    rig.booth.scan("hand", "jug-1");
    rig.until(|status| status.next_item.is_some()).await;
    rig.booth.tap("left");
    let told = rig.until(|status| status.session.is_some()).await;
    assert_eq!(armed(&told), Some(Armed::Yes));
    rig.bench.end().await;
}

/// Whoever opens the door goes in. Behind a door that falls shut, nobody far away lets the table turn.
#[tokio::test(start_paused = true)]
async fn a_door_that_opens_and_one_that_is_lost_disarm_and_an_open_one_lets_nobody_arm() {
    let rig = Rig::by_hand();
    rig.ready().await;
    rig.booth.scan("hand", "jug-1");
    rig.until(|status| status.next_item.is_some()).await;
    rig.booth.tap("left");
    rig.until(|status| matches!(status.situation, Situation::TurnByHand { .. })).await;
    let go_on = || rig.bench.ask(Act::Resume { session: None, anew: false, confirm: false });
    let arm = || rig.bench.ask(Act::Arm { code: None });

    rig.booth.press("gate");
    rig.session(SessionState::Paused).await;
    assert_eq!(armed(&rig.status()), Some(Armed::No));
    assert_eq!(arm().await.expect_err("somebody is inside").rule, "arm-held");
    rig.booth.release("gate");
    rig.until(|status| status.sentence != "Door gate is open").await;
    assert_eq!(go_on().await.expect_err("nobody at the rig allowed it").rule, "motion-not-armed");

    arm().await.expect("the door is shut");
    rig.booth.unplug_input("gate");
    rig.until(|status| status.faults.iter().any(|fault| fault.rule == "door-lost")).await;
    rig.booth.replug_input("gate");
    rig.until(|status| status.faults.is_empty()).await;
    assert_eq!(go_on().await.expect_err("nobody knows who went in").rule, "motion-not-armed");

    arm().await.expect("the contact is back");
    go_on().await.expect("a person at the rig allowed it");
    rig.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_disarms_while_the_table_turns_stops_it() {
    let rig = Rig::new("");
    rig.shoot(2).await;
    rig.bench.ask(Act::Disarm).await.expect("anybody may");
    let session = rig.session(SessionState::Paused).await;
    assert!(session.taken < 12);
    let status = rig.until(|status| status.sentence == "Stopped by test").await;
    assert!(status.table.expect("a table").stopped);
    rig.stays().await;
    assert_eq!(rig.log("command.accepted").await.pop(), Some(asked("operator:test", "disarm")));
    rig.bench.end().await;
}
