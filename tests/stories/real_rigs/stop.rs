//! Scenario 8 on a wire: a stop in mid-turn, by hand, by a button, for want of a heartbeat, and with the link gone. What
//! counts is what the device has heard, and where its platter truly stands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior};
use turnstage::arming::Armed;
use turnstage::command::Act;
use turnstage::config::Config;
use turnstage::run::{Running, Start};
use turnstage::session::SessionState;
use turnstage::status::Status;
use turnstage_cloud_sync::Record;
use turnstage_drivers::sim::Booth;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::grbl::{self, Controller};
use turnstage_hw_tests::wire::{Device, comxim};
use turnstage_tests::service::Service;
use turnstage_tests::{Bench, PATIENCE};

use super::{Plug, configuration, folder};

mod bluetooth;

/// Degrees between two frames: what one command asks for.
const STEP_DEG: f64 = 90.0;
/// Somebody stops it when it has gone so far.
const GONE_DEG: f64 = 25.0;
/// Degrees a second, and per second squared: a step takes 2.75 s, braking 10 degrees.
const SPEED: f64 = 40.0;
const ACCELERATION: f64 = 80.0;
/// From a request to the wire. 200 ms are required of 99 stops in 100, which the benchmark measures on a machine of its
/// own; one stop beside other tests may find the processor busy.
const STOP_LIMIT: Duration = Duration::from_millis(500);
/// A table whose signs of life cease is asked after 3.5 s, has a second to answer, and is stopped.
const CEASED_LIMIT: Duration = Duration::from_millis(4500 + 500);
/// A table that is back is looked for again within 0.4 s here, and takes half a second to be opened.
const REOPEN_LIMIT: Duration = Duration::from_millis(1000);
/// How often a device is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A simulated table that finds its zero by itself.
trait Table: Device + Sized + 'static {
    /// What halts it.
    const STOP: &'static [u8];
    /// Where its platter truly is at its zero.
    const ZERO_DEG: f64;
    /// Its keys beside `serial`.
    const KEYS: &'static str;
    fn new() -> Self;
    /// Where the platter is, counted on over whole turns.
    fn stands_deg(&self) -> f64;
    fn turns(&self) -> bool;
    /// It turns to a frame, not to its zero.
    fn turns_to_a_frame(&self) -> bool;
    /// Motions that it was told.
    fn motions(&self) -> usize;
}

impl Table for comxim::Table {
    const STOP: &'static [u8] = b"CT+SETSTOP();";
    const ZERO_DEG: f64 = 137.25 - 12.5;
    const KEYS: &'static str =
        "driver = \"profile\"\nprofile = \"comxim\"\nsettle_ms = 50\ntrust_zero = true";

    fn new() -> Self {
        let (speed, acceleration) = (SPEED, ACCELERATION);
        Self::new(comxim::Knobs { speed, acceleration, ..comxim::Knobs::default() })
    }

    fn stands_deg(&self) -> f64 {
        self.truly_deg()
    }

    fn turns(&self) -> bool {
        self.is_moving()
    }

    fn turns_to_a_frame(&self) -> bool {
        self.is_moving() && self.commands.last().is_some_and(|command| command.contains("TURNSINGLE"))
    }

    fn motions(&self) -> usize {
        self.told.len()
    }
}

impl Table for Controller {
    const STOP: &'static [u8] = b"!";
    const ZERO_DEG: f64 = 0.0;
    const KEYS: &'static str = "driver = \"grbl\"\naxis = \"x\"\nhome = true\nboot_ms = 300";

    /// A board on native USB: it does not start anew when its port is opened, so that a lost link halts nothing.
    fn new() -> Self {
        let mut controller = Self::new(1, SPEED, ACCELERATION);
        controller.settings.insert(22, 1.0);
        // Quick to its switch: that is not what is looked at.
        controller.settings.insert(25, 6000.0);
        controller.knobs.resets_on_open = false;
        controller
    }

    fn stands_deg(&self) -> f64 {
        self.truly_deg(0)
    }

    fn turns(&self) -> bool {
        use grbl::State::{Alarm, Hold, Idle};
        !matches!(self.state(), Idle | Alarm | Hold(true))
    }

    fn turns_to_a_frame(&self) -> bool {
        self.state() == grbl::State::Run
    }

    fn motions(&self) -> usize {
        self.told.len()
    }
}

/// A table on a port, and the configuration of a station that has it and a simulated camera.
struct Wired<T> {
    cable: Cable<T>,
    plug: Plug,
    config: String,
    _folder: TempDir,
}

impl<T: Table> Wired<T> {
    fn new(more: &str) -> Self {
        let folder = folder();
        let cable = Cable::new(T::new());
        let port = Port::new(&folder.path().join("usb-table-if00")).expect("a pseudo-terminal");
        let rig = format!(
            "[rig.turntable]\nserial = {:?}\n{}\n[rig.cameras.main]\ndriver = \"sim\"\nsize = [320, 240]\n{more}",
            port.name(),
            T::KEYS
        );
        let config = configuration(folder.path(), (360.0 / STEP_DEG) as u32, &rig);
        Self { plug: Plug::of(cable.clone(), port), cable, config, _folder: folder }
    }

    /// Waits until the table is as described.
    async fn until(&self, what: &str, mut is: impl FnMut(&T) -> bool) {
        let mut tick = tokio::time::interval(GLANCE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.cable.with(|table| is(table)) {
                tick.tick().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("the table never {what}"));
    }

    fn stands_deg(&self) -> f64 {
        self.cable.with(|table| table.stands_deg())
    }

    fn motions(&self) -> usize {
        self.cable.with(|table| table.motions())
    }

    /// Waits until it is well on its way.
    async fn well_on_its_way(&self) {
        self.until("set out", well_on_its_way()).await;
    }

    /// Pulls the plug when it is well on its way, and says where it was then.
    fn cut_on_its_way(&self) -> Arc<Mutex<f64>> {
        let cut_deg = Arc::new(Mutex::new(f64::NAN));
        let (note, mut is_due) = (cut_deg.clone(), well_on_its_way());
        self.cable.cut_when(move |table| {
            *note.lock().expect("whole") = table.stands_deg();
            is_due(table)
        });
        cut_deg
    }

    /// How far it has turned since then.
    fn way_deg(&self, cut_deg: &Mutex<f64>) -> f64 {
        (self.stands_deg() - *cut_deg.lock().expect("whole")).abs()
    }

    /// Each frame once, and the platter stands where the last of them was taken.
    fn holds_all(&self, mut records: Vec<Record>) {
        records.retain(|record| record.key.product == "original");
        assert_eq!(records.len(), (360.0 / STEP_DEG) as usize, "no frame is shot twice");
        let last = records.iter().max_by_key(|record| record.key.sequence).expect("a frame");
        let wanted_deg = T::ZERO_DEG + last.facts.angle_commanded.expect("an angle");
        let off_deg = (self.stands_deg() - wanted_deg + 180.0).rem_euclid(360.0) - 180.0;
        assert!(off_deg.abs() < 0.1, "the platter is {off_deg:.1} degrees off its last frame");
    }

    /// The stop was heard within `limit` of `asked`, and the platter then came to rest on its way: at `speed` it has gone
    /// on for no longer, and braked.
    async fn was_halted(&self, asked: Instant, asked_deg: f64, speed: f64, limit: Duration) {
        self.until("stood", |table| !table.turns()).await;
        let heard = self.cable.heard();
        let says_stop = |bytes: &[u8]| bytes.windows(T::STOP.len()).any(|part| part == T::STOP);
        let stop = heard.iter().find(|(at, bytes)| *at >= asked && says_stop(bytes));
        let late = stop.expect("the stop was handed to the wire").0 - asked;
        halted(late, (self.stands_deg() - asked_deg).abs(), speed, ACCELERATION, limit);
    }
}

/// A stop came in time, and took no more than its time and its braking.
#[track_caller]
fn halted(late: Duration, further_deg: f64, speed: f64, acceleration: f64, limit: Duration) {
    eprintln!("stop on the wire after {:.1} ms, {further_deg:.1} degrees on", 1e3 * late.as_secs_f64());
    assert!(late <= limit, "the stop took {late:?} to the wire");
    let most_deg = speed * limit.as_secs_f64() + speed * speed / (2.0 * acceleration) + 1.0;
    assert!(further_deg <= most_deg, "it went on for {further_deg} degrees");
}

/// It is on its way to a frame, and has gone `GONE_DEG` of it.
fn well_on_its_way<T: Table>() -> impl FnMut(&T) -> bool + Send + 'static {
    let mut rested = f64::NAN;
    move |table| {
        if !table.turns_to_a_frame() || rested.is_nan() {
            rested = table.stands_deg();
        }
        (table.stands_deg() - rested).abs() > GONE_DEG
    }
}

fn go_on() -> Value {
    json!({ "session": null, "anew": false, "confirm": false })
}

/// Refused with this rule and a sentence that says what to do.
#[track_caller]
fn refused(answer: Result<Value, Value>, rule: &str) {
    let problem = answer.expect_err("it is to be refused");
    assert_eq!(problem["rule"], rule, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
}

async fn ready(service: &Service) {
    service.until("ready", |status| status["table"]["fault"].is_null() && status["kind"] == "ready").await;
}

/// Nobody at the rig has allowed it: neither a start nor an arming from elsewhere moves anything.
async fn refuses_whoever_is_not_there<T: Table>(service: &Service, wired: &Wired<T>) {
    let start = json!({ "item": "item-1", "recipe": "turn" });
    refused(service.ask_from_afar("start", start.clone()).await, "motion-not-armed");
    refused(service.ask_from_afar("arm", json!({})).await, "arm-code-missing");
    refused(service.ask_from_afar("arm", json!({ "code": "no code" })).await, "arm-code-wrong");
    refused(service.ask_from_afar("start", start).await, "motion-not-armed");
    assert_eq!(wired.motions(), 0);
}

/// Every frame once, and the platter where the last of them was taken: a motion that was told twice ends elsewhere.
async fn finishes<T: Table>(service: &Service, wired: &Wired<T>, session: &str) {
    let end = service.settled().await;
    assert_eq!((&end["state"], &end["taken"]), (&json!("review"), &json!(4)), "{end} {}", service.log());
    wired.holds_all(service.records(session).await);
}

async fn a_stop_from_afar_halts_and_holds<T: Table>() {
    let wired = Wired::<T>::new("");
    let service = Service::start(&wired.config, &[]).await;
    ready(&service).await;
    refuses_whoever_is_not_there(&service, &wired).await;
    let id = service.start_session("turn").await;
    service.until("at the first frame", |status| status["session"]["taken"] == 1).await;
    wired.well_on_its_way().await;

    let (asked, deg) = (Instant::now(), wired.stands_deg());
    service.ask_from_afar("stop", json!({})).await.expect("anybody may stop it");
    wired.was_halted(asked, deg, SPEED, STOP_LIMIT).await;
    let session = service.settled().await;
    assert_eq!(session["state"], "paused", "{session}");
    let status = service.until("stopped", |status| status["table"]["moving"] == false).await;
    assert_eq!((&status["table"]["stopped"], &status["table"]["armed"]), (&json!(true), &json!("no")));

    // Nobody elsewhere moves it, though somebody at the rig armed it: whoever is there goes on.
    let told = wired.motions();
    refused(service.ask_from_afar("resume", go_on()).await, "motion-not-armed");
    service.ask("arm", json!({})).await.expect("armed");
    let status = service.until("armed", |status| status["table"]["armed"] == "yes").await;
    assert_eq!(status["table"]["stopped"], true, "latched");
    refused(service.ask_from_afar("resume", go_on()).await, "motion-not-at-rig");
    assert_eq!(wired.motions(), told);
    service.ask("resume", go_on()).await.expect("at the rig");
    finishes(&service, &wired, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_from_afar_reaches_a_comxim_table_in_mid_turn_and_holds_it() {
    a_stop_from_afar_halts_and_holds::<comxim::Table>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_from_afar_reaches_a_grbl_table_in_mid_turn_and_holds_it() {
    a_stop_from_afar_halts_and_holds::<Controller>().await;
}

const AT_HAND: &str = r#"
[rig.inputs.halt]
driver = "sim"
does = "stop"
[rig.inputs.key]
driver = "sim"
does = "arm"
[rig.inputs.left]
driver = "sim"
does = "start"
"#;

/// A station in this process: its buttons are pressed in the booth.
struct Station {
    bench: Bench,
    booth: Booth,
}

impl Station {
    async fn of(config: &str) -> Self {
        let data = folder();
        let config =
            Config::from_text(Some(("test.toml", config)), Vec::new()).expect("a good configuration");
        let running = Running::start(Start::new(config, data.path())).await.expect("the station starts");
        let booth = running.around.booth.clone().expect("a booth");
        Self { bench: Bench { running, data }, booth }
    }

    async fn until(&self, what: &str, is: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.bench.running.status.clone();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(is)).await;
        let now = waited.unwrap_or_else(|_| panic!("not {what}: {:?}", self.bench.running.status.borrow()));
        now.expect("the station lives").clone()
    }

    async fn go_on(&self) -> Result<(), String> {
        let act = Act::Resume { session: None, anew: false, confirm: false };
        self.bench.ask(act).await.map(drop).map_err(|refusal| refusal.rule.to_string())
    }
}

async fn a_stop_button_halts_and_holds<T: Table>() {
    let wired = Wired::<T>::new(AT_HAND);
    let station = Station::of(&wired.config).await;
    station.until("ready", |status| status.sentence == "Ready").await;
    station.booth.tap("key");
    station
        .until("armed", |status| status.table.as_ref().is_some_and(|table| table.armed == Armed::Yes))
        .await;
    let id = station.bench.start("turn").await;
    station.until("at the first frame", |status| taken(status) == 1).await;
    wired.well_on_its_way().await;

    let (asked, deg) = (Instant::now(), wired.stands_deg());
    station.booth.press("halt");
    wired.was_halted(asked, deg, SPEED, STOP_LIMIT).await;
    let session = station.bench.settled(&id).await;
    assert_eq!(session.state, SessionState::Paused);
    let told = wired.motions();
    let status =
        station.until("halted", |status| status.faults.iter().any(|one| one.rule == "stop-pressed")).await;
    assert_eq!(status.sentence, "Stop button halt is pressed");

    // While it is in, and after it was let go: a person at the rig must arm it, and go on.
    station.booth.tap("key");
    assert_eq!(station.go_on().await, Err("stop-pressed".to_owned()));
    station.booth.release("halt");
    let status = station.until("released", |status| status.sentence == "Stopped by halt").await;
    assert!(status.table.is_some_and(|table| table.stopped), "latched");
    station.bench.ask(Act::Disarm).await.expect("nobody is there");
    assert_eq!(station.go_on().await, Err("motion-not-armed".to_owned()));
    assert_eq!(wired.motions(), told, "nothing moved meanwhile");
    station.booth.tap("left");
    let session = station.until("complete", |status| taken(status) == 4).await.session.expect("a session");
    wired.holds_all(station.bench.records(&session.id).await);
    let stopped = station.bench.running.spool.events(0, 1_000).await.expect("the log");
    assert!(stopped.iter().any(|one| one.kind == "command.accepted" && one.actor == "input:halt"));
    station.bench.end().await;
}

fn taken(status: &Status) -> usize {
    status.session.as_ref().map_or(0, |session| session.taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_button_reaches_a_comxim_table_in_mid_turn_and_holds_it() {
    a_stop_button_halts_and_holds::<comxim::Table>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_button_reaches_a_grbl_table_in_mid_turn_and_holds_it() {
    a_stop_button_halts_and_holds::<Controller>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_heartbeat_ceases_in_mid_turn_is_stopped_and_waits_for_a_person() {
    let wired = Wired::<comxim::Table>::new("");
    // Slow enough that its silence is noticed on the way.
    const SLOW: f64 = 8.0;
    wired.cable.with(|table| table.knobs.speed = SLOW);
    let service = Service::start(&wired.config, &[]).await;
    ready(&service).await;
    service.start_session("turn").await;
    service.until("at the first frame", |status| status["session"]["taken"] == 1).await;
    wired.well_on_its_way().await;
    wired.cable.with(|table| table.fail(comxim::Fault::MuteAfter(GONE_DEG)));
    let deg = wired.stands_deg();
    let asked = Instant::now();
    wired.was_halted(asked, deg, SLOW, CEASED_LIMIT).await;

    let session = service.settled().await;
    assert_eq!(session["state"], "paused", "{session}");
    let status = service.status().await;
    assert_eq!(status["faults"][0]["rule"], "motion-no-reply", "{status:#}");
    let what = status["faults"][0]["what"].as_str().expect("words");
    assert!(what.ends_with("A stop was sent. Check that it stands still."), "{what}");
    assert_eq!(status["table"]["armed"], "no", "{status:#}");
    let told = wired.motions();
    refused(service.ask_from_afar("resume", go_on()).await, "motion-not-armed");
    assert_eq!(wired.motions(), told);
}

/// What the status says of a lost link, and how far it says that the table may still turn.
async fn may_still_turn_deg(service: &Service) -> f64 {
    let status = service.until("lost", |status| status["session"]["state"] == "paused").await;
    assert_eq!(status["faults"][0]["rule"], "motion-link-lost", "{status:#}");
    assert_eq!(status["table"]["armed"], "no");
    let deg = status["table"]["may_turn_deg"].as_f64().expect("how far");
    let words = format!("Link lost: it may still turn up to {:.0} degrees", deg.abs().ceil());
    assert!(status["detail"].as_str().is_some_and(|detail| detail.starts_with(&words)), "{status:#}");
    deg.abs()
}

/// Everything that the device hears from when it is back begins with a stop, and nothing of it is a motion. When the stop
/// was heard.
async fn hears_a_stop_first<T: Table>(service: &Service, wired: &Wired<T>, told: usize) -> Instant {
    wired.plug.again();
    service.until("the table is back", |status| status["table"]["fault"].is_null()).await;
    let heard: Vec<u8> = wired.cable.heard().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(heard.starts_with(T::STOP), "{:?}", String::from_utf8_lossy(&heard));
    assert_eq!(wired.motions(), told, "nothing moves by itself");
    refused(service.ask("resume", go_on()).await, "motion-not-armed");
    assert_eq!(wired.motions(), told);
    wired.cable.heard()[0].0
}

async fn a_lost_link_is_bounded_and_begins_with_a_stop<T: Table>() {
    let wired = Wired::<T>::new("");
    let service = Service::start(&wired.config, &[]).await;
    ready(&service).await;
    let id = service.start_session("turn").await;

    // The link is gone, and stays away until the table has come to the end of what it was told.
    let cut_deg = wired.cut_on_its_way();
    let bound_deg = may_still_turn_deg(&service).await;
    let told = wired.motions();
    wired.until("stood", |table| !table.turns()).await;
    let way_deg = wired.way_deg(&cut_deg);
    eprintln!("told that it may turn {bound_deg} degrees, it turned {way_deg:.1}");
    assert!(way_deg > 10.0 && way_deg <= bound_deg && bound_deg <= STEP_DEG, "{way_deg} of {bound_deg}");
    hears_a_stop_first(&service, &wired, told).await;

    // The next time it is back while the table still turns, and stops it on its way.
    let cut_deg = wired.cut_on_its_way();
    service.resume().await;
    may_still_turn_deg(&service).await;
    let told = wired.motions();
    let back = Instant::now();
    let heard = hears_a_stop_first(&service, &wired, told).await;
    wired.until("stood", |table| !table.turns()).await;
    let way_deg = wired.way_deg(&cut_deg);
    halted(heard - back, way_deg, SPEED, ACCELERATION, REOPEN_LIMIT);
    service.resume().await;
    finishes(&service, &wired, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comxim_table_whose_link_is_lost_turns_no_further_than_was_said_and_is_stopped_first() {
    a_lost_link_is_bounded_and_begins_with_a_stop::<comxim::Table>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grbl_table_whose_link_is_lost_turns_no_further_than_was_said_and_is_stopped_first() {
    a_lost_link_is_bounded_and_begins_with_a_stop::<Controller>().await;
}
