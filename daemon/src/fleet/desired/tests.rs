//! A manager's versions from offer to use, and what becomes of them where something fails on the way.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::json;
use tempfile::TempDir;

use super::*;

mod file;

const FILE: &str = r#"
[rig.cameras.main]
driver = "sim"
[rig.turntable]
driver = "sim"
[destinations.local]
backend = "directory"
root = "delivered"
[capture]
camera_wait_s = 10.0
"#;

/// A station's folder; each keeper is a start of its program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        std::fs::write(place.file(), FILE).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("station.toml")
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join("fleet/configuration.json")
    }

    fn keeper(&self) -> Keeper {
        let base = Base::new(Some(&self.file()), self.0.path().join("last-good.toml"));
        Keeper::open(self.0.path(), base)
    }

    /// A start whose file is good.
    fn start(&self) -> (Keeper, Config) {
        let keeper = self.keeper();
        let config = keeper.begin().unwrap();
        (keeper, config)
    }

    /// Brings a version into use, with the restart and the link that it needs.
    fn used(&self, desired: Desired) {
        let (keeper, _) = self.start();
        assert_eq!(keeper.offer(desired, &manager()), Offered::Taken);
        assert!(keeper.apply_by_restart().unwrap());
        drop(keeper);
        let (keeper, _) = self.start();
        keeper.link_is_up();
        assert_eq!(keeper.reported().state, State::InUse);
    }
}

fn manager() -> Actor {
    Actor("fleet:ops".to_owned())
}

fn recipe(frames: u32) -> String {
    format!("subject = \"object\"\nmotion = \"stop_and_shoot\"\n[[rows]]\nframes = {frames}\n")
}

/// A version with a recipe of so many frames, so that what belongs together can be told.
fn wants(version: u64, camera_wait_s: f64) -> Desired {
    let config = json!({ "capture": { "camera_wait_s": camera_wait_s } });
    let recipes = BTreeMap::from([("jug".to_owned(), recipe(camera_wait_s as u32))]);
    of(version, config, recipes)
}

fn of(version: u64, config: Value, recipes: BTreeMap<String, String>) -> Desired {
    let Value::Object(config) = config else { panic!("an object") };
    Desired { version, config, recipes }
}

fn problems(offered: &Offered) -> Vec<String> {
    match offered {
        Offered::Refused { problems, .. } => {
            problems.iter().map(|one| format!("{}: {}", one.key, one.what)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn rule(offered: &Offered) -> &'static str {
    match offered {
        Offered::Refused { rule, .. } => rule,
        other => panic!("{other:?}"),
    }
}

/// What runs, by its two halves: the key and the recipe.
fn halves(config: &Config) -> (f64, Option<usize>) {
    let recipe = crate::recipe::Recipes::of(&config.recipes).get("jug").ok();
    (config.capture.camera_wait_s, recipe.map(|recipe| recipe.plan().len()))
}

fn kinds(keeper: &Keeper) -> Vec<String> {
    keeper.unrecorded().into_iter().map(|event| event.kind).collect()
}

#[test]
fn a_version_waits_for_a_restart_then_for_the_link_and_is_on_record_all_the_way() {
    let place = Place::new();
    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (10.0, None));
    assert_eq!(keeper.reported(), Reported::default());
    assert!(!place.kept().exists(), "a station without a manager has no such file");
    assert_eq!(keeper.offer(wants(3, 20.0), &manager()), Offered::Taken);
    let reported = keeper.reported();
    assert_eq!((reported.version, reported.state, reported.wanted), (0, State::Pending, Some(3)));
    assert_eq!(reported.restart_keys, ["capture.camera_wait_s"]);
    assert_eq!(keeper.next(), Next::Restart);
    assert!(keeper.apply_by_restart().unwrap());
    assert!(!keeper.apply_by_restart().unwrap(), "once");
    keeper.link_is_up();
    assert_eq!(keeper.reported().state, State::Trial, "the link of the old start proves nothing");
    drop(keeper);

    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (20.0, Some(20)));
    let reported = keeper.reported();
    assert_eq!((reported.version, reported.state, reported.wanted), (3, State::Trial, None));
    assert_eq!(keeper.next(), Next::Nothing);
    keeper.link_is_up();
    let reported = keeper.reported();
    assert_eq!((reported.version, reported.state), (3, State::InUse));
    assert_eq!(reported.config, wants(3, 20.0).config);
    assert_eq!(reported.recipes["jug"], Sha256::of(recipe(20).as_bytes()));
    assert_eq!(kinds(&keeper), ["config.offered", "config.applied", "config.in-use"]);
    let actors: Vec<String> = keeper.unrecorded().into_iter().map(|event| event.actor).collect();
    assert_eq!(actors, ["fleet:ops", "fleet:ops", "station"]);
    assert!(keeper.unrecorded().iter().all(|event| event.data["version"] == 3));
    keeper.recorded(3);
    drop(keeper);
    let (keeper, config) = place.start();
    assert_eq!((halves(&config), keeper.reported().state), ((20.0, Some(20)), State::InUse));
    assert!(keeper.unrecorded().is_empty());
}

#[test]
fn everything_that_is_wrong_with_a_version_is_told_at_once_and_nothing_of_it_is_used() {
    let place = Place::new();
    place.used(wants(1, 11.0));
    let (keeper, _) = place.start();
    let config = json!({
        "station": { "org": "other" },
        "rig": { "cameras": { "main": { "driver": "sim" } } },
        "panel": { "listen": "0.0.0.0:80" },
        "motion": { "arm_minutes": 60.0 },
        "uploader": { "parallel": "many" },
        "log": { "levle": "info" },
        "capture": { "camera_wait_s": null },
    });
    let recipes = BTreeMap::from([
        ("../up".to_owned(), recipe(3)),
        ("odd".to_owned(), "subject = \"object\"\n".to_owned()),
        ("far".to_owned(), format!("cameras = [\"top\"]\ndestinations = [\"moon\"]\n{}", recipe(3))),
    ]);
    let offered = keeper.offer(of(2, config.clone(), recipes.clone()), &manager());
    let found = problems(&offered);
    for wanted in [
        "capture.camera_wait_s: is null",
        "recipes.../up: a name has",
        "recipes.odd: ",
        "recipes.far: cameras: this rig has no camera \"top\"",
        "recipes.far: destinations: \"moon\"",
    ] {
        assert!(found.iter().any(|told| told.starts_with(wanted)), "{wanted} in {found:#?}");
    }
    let mut config = config;
    config["capture"]["camera_wait_s"] = json!(9999.0);
    let offered = keeper.offer(of(3, config, recipes), &manager());
    let found = problems(&offered);
    for wanted in [
        "station.org: is set at the station only",
        "rig.cameras.main.driver: is set at the station only",
        "panel.listen: is set at the station only",
        "motion.arm_minutes: is set at the station only",
        "uploader.parallel: must be a whole number",
        "log.levle: no such key",
        "recipes.odd: ",
    ] {
        assert!(found.iter().any(|told| told.starts_with(wanted)), "{wanted} in {found:#?}");
    }
    let offered = keeper.offer(wants(4, 9999.0), &manager());
    assert_eq!(problems(&offered), ["capture.camera_wait_s: must be 0 to 3600"]);

    let reported = keeper.reported();
    assert_eq!((reported.version, reported.state, reported.wanted), (1, State::Refused, Some(4)));
    assert_eq!(reported.problems.len(), 1);
    assert_eq!(keeper.next(), Next::Nothing);
    assert_eq!(keeper.offer(wants(4, 9999.0), &manager()), Offered::Known(State::Refused));
    let notice = keeper.notice().unwrap();
    assert_eq!(notice.rule, "fleet-config-refused");
    assert!(notice.what.contains("version 4") && notice.what.contains("must be 0 to 3600"), "{notice:?}");
    let last = keeper.unrecorded().pop().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["rule"]), ("config.refused", &json!("config-invalid")));
    drop(keeper);
    assert_eq!(halves(&place.start().1), (11.0, Some(11)));
}

#[test]
fn an_older_version_and_one_with_another_content_are_refused_and_the_same_is_answered() {
    let place = Place::new();
    place.used(wants(5, 15.0));
    let (keeper, _) = place.start();
    keeper.recorded(9);
    assert_eq!(keeper.offer(wants(5, 15.0), &manager()), Offered::Known(State::InUse));
    assert_eq!(rule(&keeper.offer(wants(4, 14.0), &manager())), "config-stale");
    assert_eq!(rule(&keeper.offer(wants(4, 14.0), &manager())), "config-stale");
    assert_eq!(rule(&keeper.offer(wants(0, 14.0), &manager())), "config-stale");
    assert_eq!(rule(&keeper.offer(wants(5, 16.0), &manager())), "config-version-reused");
    assert_eq!(kinds(&keeper), ["config.refused"; 3], "a document that is sent again and again is told once");
    assert_eq!((keeper.reported().version, keeper.reported().state), (5, State::InUse));
    assert_eq!(keeper.notice(), None, "who replays an old one makes no fault of it");
}

#[tokio::test(start_paused = true)]
async fn a_version_with_which_the_link_does_not_come_back_in_two_minutes_is_rolled_back_and_never_tried_again()
 {
    let place = Place::new();
    place.used(wants(1, 11.0));
    let (keeper, _) = place.start();
    keeper.offer(wants(2, 22.0), &manager());
    keeper.apply_by_restart().unwrap();
    drop(keeper);
    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (22.0, Some(22)));
    let began = Instant::now();
    keeper.trial_over().await;
    assert_eq!(began.elapsed().as_secs(), 120);
    keeper.roll_back("no link");
    assert_eq!(keeper.next(), Next::Restart, "what failed still runs here");
    assert_eq!((keeper.reported().version, keeper.reported().state), (2, State::RolledBack));
    assert!(!keeper.apply_by_restart().unwrap(), "nothing is left to write");
    keeper.link_is_up();
    drop(keeper);
    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (11.0, Some(11)));
    let reported = keeper.reported();
    assert_eq!((reported.version, reported.state, reported.wanted), (1, State::RolledBack, Some(2)));
    assert_eq!(reported.reason.as_deref(), Some("no link"));
    assert_eq!(keeper.next(), Next::Nothing);
    assert_eq!(keeper.notice().unwrap().rule, "fleet-config-rolled-back");
    assert_eq!(keeper.offer(wants(2, 22.0), &manager()), Offered::Known(State::RolledBack));
    assert_eq!(keeper.next(), Next::Nothing);
    let event = keeper.unrecorded().into_iter().find(|event| event.kind == "config.rolled-back").unwrap();
    assert_eq!((&event.data["version"], &event.data["to"]), (&json!(2), &json!(1)));
    drop(keeper);
    place.used(wants(3, 33.0));
    assert_eq!(place.start().0.notice(), None);
}

#[test]
fn a_version_whose_program_ends_again_and_again_is_rolled_back_at_its_fourth_start() {
    let place = Place::new();
    place.used(wants(1, 11.0));
    let (keeper, _) = place.start();
    keeper.offer(wants(2, 22.0), &manager());
    keeper.apply_by_restart().unwrap();
    drop(keeper);
    for _ in 0..3 {
        assert_eq!(halves(&place.start().1), (22.0, Some(22)));
    }
    let (keeper, config) = place.start();
    assert_eq!((halves(&config), keeper.reported().state), ((11.0, Some(11)), State::RolledBack));
    assert!(keeper.reported().reason.unwrap().contains("3 starts"));
    assert_eq!(keeper.next(), Next::Nothing);
}

#[test]
fn a_version_that_fits_the_stations_file_no_more_is_rolled_back_or_left_out_and_told() {
    let place = Place::new();
    let room = |version| {
        of(version, json!({ "storage": { "free_bytes_soft": 3_000_000_000_u64 } }), BTreeMap::new())
    };
    let larger = format!("{FILE}\n[storage]\nfree_bytes_hard = 4_000_000_000\n");
    let (keeper, _) = place.start();
    keeper.offer(room(1), &manager());
    keeper.apply_by_restart().unwrap();
    drop(keeper);
    std::fs::write(place.file(), &larger).unwrap();
    let (keeper, config) = place.start();
    assert_eq!(
        (config.storage.free_bytes_soft, keeper.reported().state),
        (10_000_000_000, State::RolledBack)
    );
    assert!(keeper.reported().reason.unwrap().contains("storage.free_bytes_soft"));
    assert_eq!(keeper.next(), Next::Nothing);
    drop(keeper);

    std::fs::write(place.file(), FILE).unwrap();
    place.used(room(2));
    std::fs::write(place.file(), &larger).unwrap();
    let (keeper, config) = place.start();
    assert_eq!((config.storage.free_bytes_soft, keeper.reported().version), (10_000_000_000, 0));
    assert_eq!((keeper.reported().state, keeper.reported().wanted), (State::RolledBack, Some(2)));
    assert_eq!(keeper.notice().unwrap().rule, "fleet-config-unusable");
    assert_eq!(keeper.next(), Next::Nothing, "a restart would change nothing");
    drop(keeper);
    std::fs::write(place.file(), FILE).unwrap();
    assert_eq!(place.start().1.storage.free_bytes_soft, 3_000_000_000);
}

#[test]
fn safe_mode_lays_the_fleets_version_over_the_last_good_file() {
    let place = Place::new();
    place.used(wants(1, 11.0));
    std::fs::write(place.0.path().join("last-good.toml"), FILE).unwrap();
    std::fs::write(place.file(), "[station]\nogr = \"typo\"\n").unwrap();
    let keeper = place.keeper();
    assert!(keeper.begin().unwrap_err().to_string().contains("station.ogr"));
    assert_eq!(halves(&keeper.begin_on_last_good().unwrap()), (11.0, Some(11)));
    assert_eq!(keeper.offer(wants(2, 22.0), &manager()), Offered::Taken, "checked against what runs");
}

#[test]
fn a_power_cut_at_any_write_leaves_the_version_before_or_the_one_after_whole() {
    let mut cuts = 0;
    for (budget, link) in (0..200).flat_map(|budget| [(budget, true), (budget, false)]) {
        let place = Place::new();
        place.used(wants(1, 11.0));
        let cut_after = |keeper: &Keeper, left: i64| keeper.store.steps_left.store(left, Ordering::Relaxed);
        let keeper = place.keeper();
        cut_after(&keeper, budget);
        drop(keeper.begin().unwrap());
        keeper.offer(wants(2, 22.0), &manager());
        let applied = keeper.apply_by_restart();
        let left = keeper.store.steps_left.load(Ordering::Relaxed);
        drop(keeper);
        let was_cut = |left: i64| left < 0;
        let mut left = left;
        if !was_cut(left) {
            assert!(applied.unwrap());
            let keeper = place.keeper();
            cut_after(&keeper, left);
            assert!([(11.0, Some(11)), (22.0, Some(22))].contains(&halves(&keeper.begin().unwrap())));
            if link {
                keeper.link_is_up();
            } else {
                keeper.roll_back("no link");
            }
            left = keeper.store.steps_left.load(Ordering::Relaxed);
        }
        cuts += i32::from(was_cut(left));
        let (keeper, config) = place.start();
        let found = halves(&config);
        assert!([(11.0, Some(11)), (22.0, Some(22))].contains(&found), "{budget}: {found:?}");
        assert_eq!(found.1, Some(keeper.reported().version as usize * 11), "{budget}");
        if !was_cut(left) {
            assert_eq!(found.0, if link { 22.0 } else { 11.0 });
            break;
        }
    }
    assert!(cuts == 48, "each of four writes has six places to be cut at, on two ways: {cuts}");
}

#[test]
fn what_a_running_station_can_exchange_needs_no_restart_and_no_trial() {
    let place = Place::new();
    place.used(wants(1, 11.0));
    let (keeper, config) = place.start();
    let seen = crate::recipe::Recipes::of(&config.recipes);
    let mut desired = wants(2, 11.0);
    desired.config.insert("log".to_owned(), json!({ "level": "debug" }));
    desired.recipes = BTreeMap::from([("cup".to_owned(), recipe(5))]);
    assert_eq!(keeper.offer(desired, &manager()), Offered::Taken);
    assert_eq!(keeper.next(), Next::Live);
    let config = keeper.apply_live().unwrap().unwrap();
    assert_eq!(config.log.level, "debug");
    assert_eq!((seen.get("cup").unwrap().plan().len(), seen.get("jug").is_err()), (5, true));
    assert_eq!((keeper.reported().version, keeper.reported().state), (2, State::InUse));
    assert_eq!(keeper.next(), Next::Nothing);
    let events = kinds(&keeper);
    assert_eq!(events[events.len() - 3..], ["config.offered", "config.applied", "config.in-use"]);
}

#[test]
fn every_live_key_is_one_of_the_reference_that_a_manager_may_set() {
    for (key, how) in LIVE {
        let (section, name) = key.split_once('.').unwrap();
        let reference: toml::Table = crate::config::DEFAULT.parse().unwrap();
        let value = serde_json::to_value(&reference[section][name]).unwrap();
        let place = Place::new();
        let (keeper, _) = place.start();
        let offered = keeper.offer(of(1, json!({ section: { name: value } }), BTreeMap::new()), &manager());
        assert_eq!((offered, keeper.next()), (Offered::Taken, Next::Live), "{key}: {how}");
    }
}

#[test]
fn a_version_replaces_the_one_that_waits_even_where_it_is_wrong() {
    let place = Place::new();
    let (keeper, _) = place.start();
    keeper.offer(wants(1, 11.0), &manager());
    keeper.offer(wants(2, 22.0), &manager());
    assert_eq!(keeper.reported().wanted, Some(2));
    keeper.offer(wants(3, -1.0), &manager());
    assert_eq!((keeper.reported().state, keeper.next()), (State::Refused, Next::Nothing));
    keeper.offer(wants(4, 44.0), &manager());
    keeper.apply_by_restart().unwrap();
    drop(keeper);
    // One that arrives while another is on trial waits for its end.
    let (keeper, _) = place.start();
    assert_eq!(keeper.offer(wants(5, 55.0), &manager()), Offered::Taken);
    assert_eq!((keeper.reported().version, keeper.reported().state), (4, State::Pending));
    assert_eq!(keeper.next(), Next::Nothing);
    keeper.link_is_up();
    assert_eq!(keeper.next(), Next::Restart);
    keeper.apply_by_restart().unwrap();
    drop(keeper);
    assert_eq!(halves(&place.start().1).0, 55.0);
}

#[test]
fn a_recipe_of_the_fleet_changes_nothing_for_persons() {
    let place = Place::new();
    let own = place.0.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("secret.toml"), format!("capture_class = \"sealed\"\n{}", recipe(4))).unwrap();
    std::fs::write(own.join("broken.toml"), "subject = 1\n").unwrap();
    std::fs::write(place.file(), format!("{FILE}\n[recipes]\nfolder = {own:?}\n")).unwrap();
    let (keeper, _) = place.start();
    let version = std::cell::Cell::new(0);
    let told = |name: &str, text: String| {
        version.set(version.get() + 1);
        let recipes = BTreeMap::from([(name.to_owned(), text)]);
        match keeper.offer(of(version.get(), json!({}), recipes), &manager()) {
            Offered::Taken => String::new(),
            other => problems(&other).join("; "),
        }
    };
    let of_subject = |subject: &str| recipe(4).replace("object", subject);
    assert!(told("people", of_subject("person")).contains("made at the station only"));
    assert!(told("vehicle72", recipe(72)).contains("subject: must be that of the recipe"));
    assert!(told("secret", recipe(4)).contains("has \"sealed\""), "it would store what must not be stored");
    assert!(told("new", format!("capture_class = \"sealed\"\n{}", recipe(4))).contains("leave it out"));
    assert!(told("broken", recipe(4)).contains("broken.toml"));
    assert_eq!(told("secret", format!("capture_class = \"sealed\"\n{}", recipe(5))), "");
    assert_eq!(told("spin36", recipe(24)), "", "limits and angles of a built-in one may differ");
    assert_eq!(told("new", recipe(4)), "");
}

#[test]
fn a_default_recipe_that_would_be_missing_is_told() {
    let place = Place::new();
    let (keeper, _) = place.start();
    let config = json!({ "recipes": { "default": "jug" } });
    let offered = keeper.offer(of(1, config.clone(), BTreeMap::new()), &manager());
    assert!(problems(&offered)[0].starts_with("recipes.default: no recipe \"jug\""), "{offered:?}");
    let recipes = BTreeMap::from([("jug".to_owned(), recipe(4))]);
    assert_eq!(keeper.offer(of(2, config, recipes), &manager()), Offered::Taken);
}
