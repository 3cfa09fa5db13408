use turnstage_cloud_sync::ClockQuality;

use super::need::is_large;
use super::*;

/// 2026-12-01T08:00:00Z.
const MORNING_MS: i64 = 1_796_112_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

const STOP: &str = "[rig.inputs.red]\ndriver = \"sim\"\ndoes = \"emergency-stop\"";

fn stop(table: &str, platform_m: f64, more: &str) -> EmergencyStop {
    let text = format!("[motion]\nplatform_m = {platform_m:?}\n[rig.turntable]\n{table}\n{more}");
    EmergencyStop::of(&Config::from_text(Some(("test", &text)), Vec::new()).unwrap())
}

fn large() -> EmergencyStop {
    let stop = stop("driver = \"sim\"", 4.0, STOP);
    stop.saw(Level::Released);
    stop
}

fn at(wall_ms: i64) -> Stamp {
    let (quality, boot_id) = (ClockQuality::Synced, "boot".to_owned());
    Stamp { wall_ms, quality, boottime_ms: 0, boot_id }
}

fn today() -> Stamp {
    at(MORNING_MS)
}

fn ana() -> Actor {
    Actor("operator:ana".to_owned())
}

async fn held(stop: &EmergencyStop, hold: Duration) {
    stop.saw(Level::Pressed);
    tokio::time::advance(hold).await;
    stop.saw(Level::Released);
}

/// Puts a test that passed on record, as the station does.
fn keep(stop: &EmergencyStop, now: &Stamp) {
    let Ended { step, actor } = stop.ended().expect("it is over");
    assert_eq!((step, &actor), (Step::Idle, &ana()));
    let passed = stop.record(&actor, now).unwrap();
    stop.take_up(Passed::read(&passed.document()));
}

#[tokio::test(start_paused = true)]
async fn a_press_and_a_release_count_on_their_own_day_and_for_their_own_contact() {
    let stop = large();
    assert_eq!(stop.check(Need::Platform, &today()).unwrap_err().rule, "emergency-stop-untested");
    stop.may_begin(&today()).unwrap();
    stop.begin(&ana());
    held(&stop, Duration::from_secs(2)).await;
    assert_eq!(stop.lack(&today()), Some(Lack::Test), "not before it is on record");
    keep(&stop, &today());
    assert_eq!(stop.lack(&today()), None);
    stop.check(Need::Person, &today()).unwrap();
    assert_eq!(stop.lack(&at(MORNING_MS + DAY_MS)), Some(Lack::Test), "the next day asks again");
    assert_eq!(stop.lack(&at(MORNING_MS - DAY_MS)), Some(Lack::Test), "and so does one before");

    let kept = stop.passed();
    let other = large();
    other.take_up(kept.clone());
    assert_eq!(other.lack(&today()), None, "a restart forgets nothing");
    let moved = self::stop("driver = \"sim\"", 4.0, &STOP.replace("red", "blue"));
    moved.take_up(kept);
    assert_eq!(moved.lack(&today()), Some(Lack::Test), "another contact was not tested");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_announced_and_what_only_flickers_proves_nothing() {
    let stop = large();
    held(&stop, Duration::from_secs(2)).await;
    assert_eq!(stop.ended(), None, "a loose wire looks the same");
    stop.begin(&ana());
    held(&stop, HELD_MIN - Duration::from_millis(1)).await;
    assert_eq!((stop.step(), stop.ended()), (Step::Press, None));
    held(&stop, HELD_MIN).await;
    assert_eq!(stop.ended().unwrap().step, Step::Idle);

    // A person is told to release it when it was pressed for long enough, and not before.
    stop.begin(&ana());
    stop.saw(Level::Pressed);
    assert_eq!(stop.step(), Step::Press);
    let pressed = Instant::now();
    stop.overdue().await;
    stop.look();
    assert_eq!((stop.step(), pressed.elapsed()), (Step::Release, HELD_MIN));
    stop.overdue().await;
    stop.look();
    assert_eq!((stop.ended().unwrap().step, pressed.elapsed()), (Step::NotReleased, HELD_MIN + STEP));
}

#[tokio::test(start_paused = true)]
async fn each_step_ends_after_a_minute_and_a_lost_input_ends_it_at_once() {
    let stop = large();
    stop.begin(&ana());
    stop.overdue().await;
    stop.look();
    assert_eq!(stop.ended().unwrap(), Ended { step: Step::NotPressed, actor: ana() });
    assert_eq!(stop.ended(), None, "told once");

    stop.begin(&ana());
    tokio::time::advance(STEP / 2).await;
    stop.saw(Level::Pressed);
    tokio::time::advance(STEP + Duration::from_millis(1)).await;
    // Nobody looked at the time meanwhile.
    stop.saw(Level::Released);
    assert_eq!(stop.ended().unwrap().step, Step::NotReleased);

    stop.begin(&ana());
    stop.saw(Level::Pressed);
    stop.saw(Level::Unknown);
    stop.saw(Level::Released);
    assert_eq!((stop.step(), stop.ended().unwrap().step), (Step::Lost, Step::Lost));
    assert_eq!(stop.lack(&today()), Some(Lack::Test));
}

#[test]
fn a_test_begins_only_with_a_contact_at_rest_and_a_day_to_count_for() {
    let stop = stop("driver = \"sim\"", 4.0, STOP);
    let refused = |now: &Stamp| stop.may_begin(now).unwrap_err().rule;
    assert_eq!(refused(&today()), "emergency-stop-lost");
    stop.saw(Level::Pressed);
    assert_eq!(refused(&today()), "emergency-stop-pressed");
    stop.saw(Level::Released);
    assert_eq!(refused(&Stamp { quality: ClockQuality::Unset, ..at(0) }), "emergency-stop-clock");
    stop.may_begin(&today()).unwrap();
    assert_eq!(
        self::stop("driver = \"sim\"", 4.0, "").may_begin(&today()).unwrap_err().rule,
        "emergency-stop-none"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unset_clock_makes_every_test_one_of_another_day() {
    let stop = large();
    stop.begin(&ana());
    held(&stop, Duration::from_secs(1)).await;
    keep(&stop, &today());
    let unset = Stamp { quality: ClockQuality::Unset, ..today() };
    assert_eq!(stop.check(Need::Platform, &unset).unwrap_err().rule, "emergency-stop-clock");
    assert_eq!(stop.record(&ana(), &unset), None);
}

#[test]
fn a_platform_of_unknown_size_behind_relays_or_a_file_of_ones_own_is_taken_for_a_large_one() {
    let relay =
        "driver = \"relay\"\nvia = \"usb\"\nserial = \"/dev/serial/by-id/r\"\nforward = 1\ndeg_per_s = 3.0";
    let profile = |key: &str| {
        let table: DeviceOptions = toml::from_str(&format!("driver = \"profile\"\n{key}")).unwrap();
        is_large(None, &table)
    };
    let large = |table: &str, platform_m: f64| stop(table, platform_m, "").need() == Some(Need::Platform);
    assert!(large(relay, 0.0));
    assert!(!large(relay, 0.6), "unless it says that it is small");
    assert!(profile("file = \"/etc/turnstage/mine.toml\"") && !profile("profile = \"comxim\""));
    assert!(!large("driver = \"sim\"", 0.0));
    assert!(!large("driver = \"sim\"", PLATFORM_M_MAX), "over 1 m, not of 1 m");
    assert!(large("driver = \"sim\"", 1.01));
    let sentence = stop(relay, 0.0, "").check(Need::Platform, &today()).unwrap_err().reason;
    assert!(sentence.starts_with("Nothing says how large this platform is"), "{sentence}");
}

#[test]
fn a_table_that_turns_on_without_its_link_needs_one_whatever_its_size_unless_its_hardware_ends_the_run() {
    let relay =
        "driver = \"relay\"\nvia = \"usb\"\nserial = \"/dev/serial/by-id/r\"\nforward = 1\ndeg_per_s = 3.0";
    let small = stop(relay, 0.6, "");
    assert_eq!(small.need(), Some(Need::RunsOn));
    let refusal = small.check(Need::RunsOn, &today()).unwrap_err();
    assert_eq!(refusal.rule, "emergency-stop-none");
    for told in ["nothing but a cut of its power ends a turn", "does = \"emergency-stop\"", "run_limit_s"] {
        assert!(refusal.reason.contains(told), "{}", refusal.reason);
    }
    assert_eq!(small.fault(&today()).unwrap().rule, "emergency-stop-none");
    assert_eq!(stop(&format!("{relay}\nrun_limit_s = 40.0"), 0.6, "").need(), None);
    assert_eq!(stop(&format!("{relay}\nrun_limit_s = 40.0"), 4.0, "").need(), Some(Need::Platform));
    let drive = "driver = \"relay\"\nvia = \"modbus-tcp\"\ntcp = \"drive:502\"\nforward = 1\ndeg_per_s = 3.0";
    assert_eq!(stop(drive, 0.6, "").need(), Some(Need::RunsOn));
    let watch = "watchdog_register = 1\nwatchdog_value = 1\nwatchdog_ms = 1000";
    assert_eq!(stop(&format!("{drive}\n{watch}"), 0.6, "").need(), None);
}

#[test]
fn a_vehicle_on_a_board_of_undeclared_size_stands_on_a_large_platform() {
    let serial = "serial = \"/dev/serial/by-id/b\"";
    let recipe = |subject: &str| {
        let text = format!("subject = \"{subject}\"\nmotion = \"stop_and_shoot\"\n[[rows]]\nframes = 4");
        Recipe::parse("r", &text).unwrap()
    };
    let (grbl, marlin) = (
        format!("driver = \"grbl\"\n{serial}"),
        format!("driver = \"profile\"\nprofile = \"marlin\"\n{serial}"),
    );
    let comxim = format!("driver = \"profile\"\nprofile = \"comxim\"\n{serial}");
    for (table, platform_m, subject, need) in [
        (grbl.as_str(), 0.0, "vehicle", Some(Need::Platform)),
        (&marlin, 0.0, "vehicle", Some(Need::Platform)),
        (&grbl, 0.0, "object", None),
        (&grbl, 0.4, "vehicle", None),
        (&grbl, 4.0, "object", Some(Need::Platform)),
        (&comxim, 0.0, "vehicle", None),
        ("driver = \"sim\"", 0.0, "vehicle", None),
    ] {
        let stop = stop(table, platform_m, "");
        assert_eq!(stop.needed_by(&recipe(subject)), need, "{table} of {platform_m} m, {subject}");
    }
    let refusal = stop(&grbl, 0.0, "").check(Need::Platform, &today()).unwrap_err();
    assert!(
        refusal.reason.contains("Nothing says how large") && refusal.reason.contains("motion.platform_m")
    );
}

#[test]
fn a_person_on_the_table_needs_one_whatever_its_size_and_a_picture_without_motion_never() {
    let small = stop("driver = \"sim\"", 0.6, "");
    let recipe = |subject: &str, motion: &str| {
        let text = format!("subject = \"{subject}\"\nmotion = \"{motion}\"\n[[rows]]\nframes = 4");
        Recipe::parse("r", &text).unwrap()
    };
    assert_eq!(small.needed_by(&recipe("person", "stop_and_shoot")), Some(Need::Person));
    assert_eq!(small.needed_by(&recipe("person", "none")), None);
    assert_eq!(small.needed_by(&recipe("object", "stop_and_shoot")), None);
    assert_eq!(large().needed_by(&recipe("vehicle", "stop_and_shoot")), Some(Need::Platform));
    assert_eq!(large().needed_by(&recipe("room", "none")), None);
}

#[test]
fn a_kept_test_is_read_with_fields_of_the_future_and_not_if_it_is_newer_or_damaged() {
    let passed = large().record(&ana(), &today()).unwrap();
    let read = |key: &str, value: serde_json::Value| {
        let mut document = passed.document();
        document.value[key] = value;
        Passed::read(&document)
    };
    assert_eq!(read("a_field_of_the_future", 1.into()), Some(passed.clone()));
    assert_eq!(read("schema", (SCHEMA + 1).into()), None);
    assert_eq!(read("day", "yesterday".into()), None);
}

#[test]
fn the_wiring_and_the_number_of_chains_are_checked_with_the_configuration() {
    let told = |text: &str| Config::from_text(Some(("test", text)), Vec::new()).unwrap_err().to_string();
    let open = "[rig.inputs.red]\ndriver = \"evdev\"\nserial = \"7\"\ndoes = \"emergency-stop\"";
    assert!(told(open).contains("a broken wire reads as pressed"), "{}", told(open));
    let two = format!("{STOP}\n{}", STOP.replace("red", "blue"));
    assert!(told(&two).contains("wire several buttons in one chain"), "{}", told(&two));
    let size = "[motion]\nplatform_m = 0.01";
    assert!(told(size).contains("motion.platform_m: must be 0.05 to 30"), "{}", told(size));
}
