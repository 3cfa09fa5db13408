//! Keys, listings and profiles of other people, and whatever a table may say.

mod grammar;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::link::script::{Script, Step};
use crate::turntable::{Moved, Reference, Turntable};

fn told(keys: &str) -> String {
    check(&toml::from_str(&format!("driver = \"profile\"\n{keys}")).unwrap()).unwrap_err()
}

#[test]
fn a_wrong_key_is_told_with_its_value_and_what_would_be_right() {
    let serial = "serial = \"/dev/serial/by-id/usb-x\"\n";
    for (keys, words) in [
        ("profile = \"comxim\"", "exactly one of serial"),
        (serial, "exactly one of profile = \"revopoint-dual-axis\""),
        (
            "serial = \"/dev/a\"\nprofile = \"foldio\"",
            "there are: revopoint-dual-axis, revopoint-ta500, comxim",
        ),
        ("serial = \"/dev/a\"\nprofile = \"comxim\"\nbacklash = 3", "backlash"),
        ("serial = \"/dev/a\"\nprofile = \"comxim\"\nlevels = []", "pairs of level"),
        (
            "serial = \"/dev/a\"\nprofile = \"marlin\"\nspeed_deg_s = 90.0",
            "speed_deg_s = 90 is not in 1 to 60",
        ),
        ("serial = \"/dev/a\"\nprofile = \"marlin\"\ntrust_zero = true", "has no zero of its own"),
        ("serial = \"/dev/a\"\nprofile = \"iconasys\"\nsteps_per_rev = 1", "steps_per_rev = 1 is not in"),
        (
            "serial = \"/dev/a\"\nprofile = \"iconasys\"\nreversed = true",
            "how far and not which way; leave it out",
        ),
        (
            "serial = \"/dev/a\"\nprofile = \"comxim\"\nerror_share = 2.0",
            "error_share = 2 is not in 0.001 to 0.5",
        ),
        ("serial = \"/dev/a\"\nfile = \"mine.toml\"", "must begin with /"),
    ] {
        assert!(told(keys).contains(words), "{keys}: {}", told(keys));
    }
    let good = format!("driver = \"profile\"\nprofile = \"comxim\"\nreversed = true\n{serial}");
    assert_eq!(check(&toml::from_str(&good).unwrap()), Ok(()));
}

#[test]
fn every_built_in_profile_can_be_read_and_says_where_its_facts_come_from() {
    for text in shelf::BUILT_IN {
        let model = Model::read(text).unwrap();
        assert!(model.provenance.len() > 20, "{}", model.id);
        let ids: Vec<String> = shelf::built_in().into_iter().map(|model| model.id).collect();
        assert_eq!(ids.iter().filter(|id| **id == model.id).count(), 1, "{ids:?}");
    }
}

#[test]
fn a_profile_with_a_mistake_is_refused_with_a_sentence() {
    let good = shelf::BUILT_IN[2];
    for (from, to, words) in [
        ("schema = 1", "schema = 2", "schema = 2 is not 1"),
        ("id = \"comxim\"", "id = \"Com Xim\"", "lower case"),
        ("{absdeg:2}", "{angle}", "{angle}"),
        ("max_deg = 360.0", "max_deg = 0.0", "limits.max_deg = 0 is not in"),
        ("CT+SETSTOP();", "CT+SETSTOP({deg});", "no room for"),
        (r"'CR\+OK'", "'('", "reply re = '('"),
        ("[[completion]]", "[[completion]]\nwhen_fw_at_least = \"9\"", "every other firmware"),
        ("hear = \"#\"", "hear = \"ä\"", "heartbeat.hear"),
        ("delims = \";\"", "delims = \";\"\nbits = 7", "unknown field `bits`"),
    ] {
        assert!(good.contains(from), "{from}");
        let what = Model::read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(what.contains(words), "{from} -> {to}: {what}");
    }
}

#[test]
fn a_profile_file_is_read_only_where_nobody_else_can_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().metadata().unwrap().uid();
    let path = folder.path().join("mine.toml");
    fs::write(&path, shelf::BUILT_IN[2]).unwrap();
    let allow = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o644);
    assert_eq!(shelf::from_file_of(&path, own).unwrap().id, "comxim");
    assert!(shelf::from_file_of(&path, own + 1).unwrap_err().contains("chown root"));
    for mode in [0o664, 0o646] {
        allow(mode);
        assert!(shelf::from_file_of(&path, own).unwrap_err().contains("chmod go-w"), "{mode:o}");
    }
    allow(0o644);
    fs::write(&path, "#".repeat(70_000)).unwrap();
    assert!(shelf::from_file_of(&path, own).unwrap_err().contains("at most 65536 bytes"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(shelf::from_file_of(&path, own).unwrap_err().contains("can be changed by others"));
    assert!(shelf::from_file_of(folder.path(), own).is_err());
}

fn port(usb: &str) -> serial::Port {
    serial::Port {
        path: "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0".to_owned(),
        usb: usb.to_owned(),
        product: "USB Serial".to_owned(),
        serial: None,
        problem: None,
    }
}

#[test]
fn a_port_that_many_things_have_is_listed_as_a_candidate_with_its_section() {
    let found = listings(vec![port("1a86:7523"), port("ffff:0001")], &shelf::built_in());
    let [listing] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        listing.label,
        "USB Serial: may be ComXim MT series; identity is checked before anything moves"
    );
    assert!(!listing.tried);
    let options = listing.options.as_ref().unwrap();
    assert_eq!(check(options), Ok(()));
    assert_eq!(options.keys["profile"].as_str(), Some("comxim"));
}

#[test]
fn a_name_on_bluetooth_leads_to_its_profile() {
    let options = options_for_ble("REVO_DUAL_AXIS_TABLE").unwrap();
    assert_eq!(options.keys["profile"].as_str(), Some("revopoint-dual-axis"));
    assert_eq!(check(&options), Ok(()));
    assert_eq!(options_for_ble("REVO_DUAL_AXIS_TABLE2"), None);
}

#[cfg(feature = "ble")]
#[test]
fn of_two_tables_with_one_name_each_is_listed_by_its_address() {
    let near = |address: &str| ("REVO_DUAL_AXIS_TABLE".to_owned(), address.to_owned(), Some(-60));
    let ways = |near: &[_]| -> Vec<String> {
        let listed = ble_listings(near, &shelf::built_in());
        let way = |listing: Listing| listing.options.unwrap().keys["ble"].as_str().unwrap().to_owned();
        listed.into_iter().map(way).collect()
    };
    assert_eq!(ways(&[near("E4:8F:80:46:12:43")]), ["REVO_DUAL_AXIS_TABLE"]);
    let two = [near("E4:8F:80:46:12:43"), near("E4:8F:80:46:12:44")];
    assert_eq!(ways(&two), ["E4:8F:80:46:12:43", "E4:8F:80:46:12:44"]);
}

/// A ComXim table that answers the opening and then says `noise` to whatever it is told.
async fn noisy(noise: Vec<u8>) {
    let script = Script::default();
    let said = |text: &str| Step::Send(text.as_bytes().to_vec());
    let opening =
        ["CT+SETSTOP();", "CT();", "CT+GETPN();", "CT+GETFWV();", "CT+EVENT(1);", "CT+GETOFFSETANGLE();"];
    let answers = ["CR+OK;", "CR+OK;", "PN=X;", "FWV=V2R04C02;", "CR+OK;", "OffsetAngle= +0.00;"];
    let steps = opening.iter().zip(answers);
    let steps = steps.flat_map(|(ask, answer)| [said(ask), Step::Hear(answer.as_bytes().to_vec())]);
    script.load(steps.enumerate());
    let mut options = DeviceOptions::new(NAME);
    options.keys.insert("profile".to_owned(), "comxim".into());
    let mut table = crate::turntable::speak(&options, script.link()).await.unwrap();
    assert_eq!(script.end(), Ok(()));
    script.load([
        (1, Step::Hear(noise.clone())),
        (2, Step::Pass(Duration::from_secs(1))),
        (3, Step::Hear(noise)),
    ]);
    // Whatever comes of it: it does not panic, and only a whole TB_END is an end.
    let moved = drive(table.as_mut()).await;
    assert!(!matches!(moved, Some(Moved::Done(angle)) if angle.deg() > 0.0), "{moved:?}");
}

/// An Iconasys table that was stopped on its way to `deg` degrees, half a second after it began.
async fn stopped_iconasys(script: &Script, deg: f64) -> Box<dyn Turntable> {
    let says = |text: &str| Step::Send(text.as_bytes().to_vec());
    let who = Step::Hear(b"\r\nZcapture Mini 2.0 - Build V1.001H\r\n".to_vec());
    let steps = (deg / 360.0 * 2048.0).round();
    script
        .load([says("c"), says("v"), who, says(&format!("x{steps:04}")), says("c")].into_iter().enumerate());
    let mut options = DeviceOptions::new(NAME);
    options.keys.insert("profile".to_owned(), "iconasys".into());
    let mut table = crate::turntable::speak(&options, script.link()).await.unwrap();
    let declared = table.reference(Reference::At(crate::Angle::new(0.0))).await;
    assert!(matches!(declared, Ok(Moved::Done(_))), "{declared:?}");
    let cut = tokio::time::timeout(Duration::from_millis(500), table.move_by(deg)).await;
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(table.stop().await.unwrap(), Moved::StoppedAt(None));
    table
}

#[tokio::test(start_paused = true)]
async fn a_table_that_drives_back_when_it_is_stopped_is_left_alone_until_it_stands() {
    let script = Script::default();
    let zero = Reference::At(crate::Angle::new(0.0));
    let busy = |moved: &Moved| matches!(moved, Moved::Refused { rule: "motion-busy", .. });
    let mut table = stopped_iconasys(&script, 90.0).await;
    for _ in 0..40 {
        let (declared, moved) = (table.reference(zero).await.unwrap(), table.move_by(10.0).await.unwrap());
        assert!(busy(&declared) && busy(&moved), "{declared:?}, {moved:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // At three degrees a second, and half as long again, it is there.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(matches!(table.reference(zero).await, Ok(Moved::Done(_))));
    // Or it says so.
    let mut table = stopped_iconasys(&script, 90.0).await;
    assert!(busy(&table.reference(zero).await.unwrap()));
    script.load([(1, Step::Hear(b"Steps for Shot - Completed\r\n".to_vec()))]);
    assert!(matches!(table.reference(zero).await, Ok(Moved::Done(_))));
}

/// Turns at 50 degrees a second, begins a second late, and counts from 0 to 360.
fn truly_deg(since: Duration) -> f64 {
    ((since.as_secs_f64() - 1.0) * 50.0).clamp(0.0, 360.0)
}

#[tokio::test(start_paused = true)]
async fn a_sweep_tells_what_the_table_tells_on_the_way_and_how_far_that_can_be_off() {
    const PROFILE: &str = r#"
        schema = 1
        id = "polled"
        name = "Polled"
        provenance = "made for this test"
        tells_in_motion = true
        framing = { delims = "\n" }
        limits = { max_deg = 720.0, fastest_deg_s = 60.0, slowest_deg_s = 10.0, tolerance_deg = 0.1 }
        speed = { unit = "deg_per_s", min_deg_s = 10.0, max_deg_s = 60.0, default_deg_s = 20.0 }
        commands = { move = ["T{deg:0} {speed:0}\n"], stop = ["STOP\n"], query = "POS\n" }
        completion = [{ kind = "poll", interval_ms = 500 }]
        reply = [{ re = "OK", event = "ack" }, { re = 'AT (?P<pos>\S+)', event = "pos" }]
    "#;
    let script = Script::default();
    let says = |text: &str| Step::Send(text.as_bytes().to_vec());
    let answers = |text: String| Step::Hear(text.into_bytes());
    let place = |deg: f64| [says("POS\n"), answers(format!("AT {deg:.2}\n"))];
    let opening =
        [says("STOP\n"), answers("OK\n".to_owned())].into_iter().chain(place(0.0)).chain(place(0.0));
    script.load(opening.enumerate());
    let options = DeviceOptions::new(NAME);
    let mut table = speak_as(Model::read(PROFILE).unwrap(), &options, script.link()).await.unwrap();
    table.reference(Reference::At(crate::Angle::new(0.0))).await.unwrap();
    // It looks where it is 60 ms after it is asked, and answers 40 ms later: each question is 600 ms after the one before.
    let turn = (0..16).flat_map(|asked| {
        let looked = Duration::from_millis(560 + 600 * asked);
        let [ask, answer] = place(truly_deg(looked).rem_euclid(360.0));
        [ask, Step::Pass(Duration::from_millis(100)), answer]
    });
    script.load([says("T360 50\n"), answers("OK\n".to_owned())].into_iter().chain(turn).enumerate());
    let (seen, mut seeing) = watch::channel(None);
    let begun = Instant::now();
    let mut sightings = Vec::new();
    let moved = {
        let sweep = table.sweep(360.0, 50.0, &seen);
        tokio::pin!(sweep);
        loop {
            tokio::select! {
                moved = &mut sweep => break moved.unwrap(),
                _ = seeing.changed() => sightings.extend(*seeing.borrow_and_update()),
            }
        }
    };
    assert!(matches!(moved, Moved::Done(angle) if angle.distance(crate::Angle::new(0.0)) < 0.1), "{moved:?}");
    assert!(begun.elapsed() > Duration::from_millis(8200), "it turns for 7.2 s and begins after one");
    assert!(sightings.len() >= 13, "{sightings:?}");
    for sighting in sightings {
        let off = (truly_deg(sighting.at - begun) - sighting.deg).abs();
        assert!(off <= sighting.error_deg && sighting.error_deg < 3.0, "{sighting:?} is {off} off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_second_part_is_refused_has_stopped_on_the_way() {
    const PROFILE: &str = r#"
        schema = 1
        id = "in-parts"
        name = "In parts"
        provenance = "made for this test"
        framing = { delims = "\n" }
        limits = { max_deg = 90.0, fastest_deg_s = 60.0, slowest_deg_s = 10.0 }
        commands = { move = ["T{deg:0}\n"], stop = ["STOP\n"] }
        completion = [{ kind = "event" }]
        reply = [{ re = "OK", event = "ack" }, { re = "END", event = "done" }, { re = "HOT", event = "nack" }]
    "#;
    let script = Script::default();
    let says = |text: &str| Step::Send(text.as_bytes().to_vec());
    let answers = |text: &str| Step::Hear(text.as_bytes().to_vec());
    script.load([says("STOP\n"), answers("OK\n")].into_iter().enumerate());
    let options = DeviceOptions::new(NAME);
    let mut table = speak_as(Model::read(PROFILE).unwrap(), &options, script.link()).await.unwrap();
    table.reference(Reference::At(crate::Angle::new(0.0))).await.unwrap();
    let first = [says("T90\n"), answers("OK\n"), Step::Pass(Duration::from_secs(3)), answers("END\n")];
    script.load(first.into_iter().chain([says("T90\n"), answers("HOT\n")]).enumerate());
    let moved = table.move_by(180.0).await.unwrap();
    assert_eq!(moved, Moved::StoppedAt(Some(crate::Angle::new(90.0))));
    assert_eq!(script.end(), Ok(()));
    // Nothing of this one is begun.
    script.load([says("T90\n"), answers("HOT\n")].into_iter().enumerate());
    let moved = table.move_by(90.0).await.unwrap();
    assert!(matches!(moved, Moved::Refused { rule: "motion-table-refused", .. }), "{moved:?}");
}

async fn drive(table: &mut dyn Turntable) -> Option<Moved> {
    drop(table.heartbeat().await);
    drop(table.reference(Reference::At(crate::Angle::new(0.0))).await);
    let moved = table.move_by(30.0).await.ok();
    drop(table.stop().await);
    moved
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_table_says_nothing_panics_and_noise_is_no_end(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(noisy(noise));
    }

    #[test]
    fn no_text_makes_the_reading_of_a_profile_panic(text in ".{0,400}") {
        drop(Model::read(&text));
        drop(template::Template::read(&text));
    }
}
