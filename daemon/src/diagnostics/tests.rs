use serde_json::json;

use super::archive::end_of;
use super::redact::{REMOVED, Redactor, is_secret, without_secrets_in_addresses};

const VIN: &str = "WBA8E9C56GK646123";

fn redactor() -> (Redactor, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Redactor::of(data.path()), data)
}

#[test]
fn the_same_item_is_the_same_digits_in_every_bundle_of_a_station_and_of_no_other() {
    let (one, data) = redactor();
    let again = Redactor::of(data.path());
    let (other, _data) = redactor();
    assert_eq!(one.item(VIN), again.item(VIN));
    assert_ne!(one.item(VIN), other.item(VIN));
    assert_ne!(one.item(VIN), one.item("WBA8E9C56GK646124"));
    assert_ne!(one.item("4711"), one.person("4711"));
    assert!(one.item(VIN).starts_with("item-") && one.item(VIN).len() == 15);
}

#[test]
fn what_is_known_is_taken_out_of_every_text() {
    let (mut redactor, _data) = redactor();
    redactor.learn_item("4711");
    redactor.learn_item("crate 12/b");
    redactor.learn_person("Ana");
    redactor.learn_actor("operator:Ana");
    redactor.learn_actor("pedal:left");
    redactor.learn_actor("cli:root");
    redactor.learn_actor("cli:uma");
    let uma = redactor.person("uma");
    let (item, crate_12, ana) = (redactor.item("4711"), redactor.item("crate 12/b"), redactor.person("Ana"));
    for (text, wanted) in [
        ("item 4711, then 47110", format!("item {item}, then 47110")),
        ("4711-003.jpg of crate 12/b.", format!("{item}-003.jpg of {crate_12}.")),
        (
            "cli:root by root, cli:uma by uma",
            format!("cli:{} by root, cli:{uma} by {uma}", redactor.person("root")),
        ),
        ("Stopped by Ana; Analysis", format!("Stopped by {ana}; Analysis")),
        ("operator:Ana, pedal:left", format!("operator:{ana}, pedal:left")),
        ("ünïcode 4711ü", "ünïcode 4711ü".to_owned()),
    ] {
        assert_eq!(redactor.text(text), wanted, "{text}");
    }
}

#[test]
fn what_looks_like_a_vehicle_or_a_token_is_taken_out_though_nobody_knew_it() {
    let (redactor, _data) = redactor();
    let text = redactor.text(&format!("{VIN}_001.jpg \"{VIN}\". {VIN}X eyJhbGciOi.eyJzdWIi.c2ln"));
    let item = redactor.item(VIN);
    assert_eq!(text, format!("{item}_001.jpg \"{item}\". {VIN}X {REMOVED}"));
}

#[test]
fn an_event_keeps_what_happened_and_loses_to_whom() {
    let (redactor, _data) = redactor();
    let mut event = json!({
        "sequence": 7, "actor": "reviewer:Rea", "kind": "command.accepted",
        "data": {
            "item": "12", "frames": 12, "from": "10.0.0.7", "device_token": "abc", "token_file": "device-token",
            "asked": { "accept": { "name": "Rea Smith", "reason": "Ana said so" } },
            "url": "https://me:pw@store.example/a?X-Amz-Signature=s",
        },
    });
    redactor.value(&mut event);
    let data = &event["data"];
    assert_eq!((&event["sequence"], &event["kind"]), (&json!(7), &json!("command.accepted")));
    assert_eq!(event["actor"], format!("reviewer:{}", redactor.person("Rea")));
    assert_eq!((&data["item"], &data["frames"]), (&json!(redactor.item("12")), &json!(12)));
    assert_eq!(data["asked"]["accept"]["reason"], "(11 characters)");
    assert_eq!(data["url"], format!("https://{REMOVED}@store.example/a?{REMOVED}"));
    assert_eq!((&data["device_token"], &data["token_file"]), (&json!(REMOVED), &json!("device-token")));
    let text = event.to_string();
    for marker in ["Rea", "Ana", "10.0.0.7", "abc", "pw", "Signature"] {
        assert!(!text.contains(marker), "{marker}: {text}");
    }
}

#[test]
fn an_address_keeps_where_it_leads_to() {
    for (address, wanted) in [
        ("https://api.example/v1", "https://api.example/v1"),
        ("(mqtts://u:p@broker:8883)", "(mqtts://(removed)@broker:8883)"),
        ("http://a.example/x#secret end", "http://a.example/x?(removed) end"),
        ("http://a?x@y/z", "http://a?(removed)"),
        ("no address ://", "no address ://"),
    ] {
        assert_eq!(without_secrets_in_addresses(address), wanted);
    }
    assert!(
        is_secret("Device-Token")
            && is_secret("passphrase")
            && !is_secret("token_file")
            && !is_secret("item")
    );
}

#[test]
fn of_a_long_text_its_newest_lines_stay() {
    assert_eq!(end_of("one\ntwo\nthree\n", 9), "three\n");
    assert_eq!(end_of("one", 9), "one");
    assert_eq!(end_of("üüü", 3), "ü");
}

proptest::proptest! {
    #[test]
    fn foreign_text_is_no_panic_and_what_is_known_never_stays(before in ".{0,40}", after in ".{0,40}") {
        let (mut redactor, _data) = redactor();
        redactor.learn_item("crate 12/b");
        let text = redactor.text(&format!("{before} crate 12/b {after} ://"));
        proptest::prop_assert!(!text.contains(" crate 12/b "), "{}", text);
    }
}
