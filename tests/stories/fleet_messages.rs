//! Everything that a fleet's members say is as docs/fleet/asyncapi.yaml describes it, and the description holds nothing
//! that nobody says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::clock::SystemClock;
use turnstage::constancy::{Drift, Quality, Since};
use turnstage::emergency::StopState;
use turnstage::fleet::discovery;
use turnstage::fleet::message::{Envelope, EventBody, Writer};
use turnstage::fleet::state::{AlarmBody, StatusBody, wrong};
use turnstage::fleet::telemetry::{self, Extra, Group, Link, Telemetry};
use turnstage::fleet::topics::{Below, Topics};
use turnstage::status::{Fault, FlaggedFrame, Situation, StationName, Status};
use turnstage_tests::asyncapi::{Document, TEXT, check, document};
use turnstage_tests::{Bench, quick_rig};

/// Messages by topic.
type Said = BTreeMap<String, Vec<u8>>;

fn station() -> StationName {
    StationName { org: "acme".into(), site: "berlin".into(), name: "booth-7".into() }
}

fn topics() -> Topics {
    Topics::of("plant/turnstage", &station())
}

fn bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("JSON")
}

/// Telemetry, status, alarms and events of a station that has just shot a session.
async fn said_by_a_station() -> Said {
    let bench = Bench::in_memory(&quick_rig(""), TempDir::new().expect("a folder"));
    turnstage_tests::write_recipe(&bench.data.path().join("recipes"), "four", 4, "");
    let session = bench.start("four").await;
    bench.settled(&session).await;
    let window = &bench.running.window;
    let (writer, topics) = (Writer::new(SystemClock::new()), topics());
    let mut said = Said::new();
    let status = window.status().await;
    said.insert(topics.topic(&Below::Status), bytes(&writer.now(StatusBody::of(&status, Some(7)))));
    let root = bench.data.path().join("machine");
    lay_out_a_machine(&root);
    let mut telemetry = Telemetry::new(bench.data.path().to_owned(), root);
    let link = Link { messages_sent: 3, ..Link::default() };
    for (group, figures) in telemetry.groups(window, Extra { link, config_version: None }).await {
        let topic = topics.topic(&Below::Telemetry(group.name().to_owned()));
        said.insert(topic, bytes(&writer.now(figures)));
    }
    for event in bench.running.spool.events(0, 1000).await.expect("events") {
        let event = writer.event(event);
        said.insert(topics.topic(&Below::Event(event.body.kind.clone())), bytes(&event));
    }
    let mut faulty = status;
    faulty.faults.push(Fault::new("camera-missing", "Camera main is gone.", "No session.", "Plug it in."));
    for fault in wrong(&faulty) {
        let alarm = AlarmBody::of(&fault, turnstage::clock::utc(0));
        said.insert(topics.topic(&Below::Alarm(fault.rule)), bytes(&writer.now(alarm)));
    }
    said
}

fn lay_out_a_machine(root: &Path) {
    for (file, text) in [
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "48500"),
        ("sys/class/devfreq/17000000.gpu/cur_freq", "306000000"),
        ("proc/uptime", "10.0 20.0"),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

fn signed(kind: &str, claims: &Value) -> Vec<u8> {
    let header = json!({ "alg": "EdDSA", "kid": "manager-1", "typ": format!("turnstage-{kind}+jws") });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(claims), URL_SAFE_NO_PAD.encode([7; 64])).into_bytes()
}

fn command_claims() -> Value {
    json!({
        "schema": 1, "id": "c-1", "type": "stop", "station": "acme/berlin/booth-7", "sender": "manager-1",
        "counter": 12, "issued_ms": 1_795_858_200_000_u64, "expires_ms": 1_795_858_260_000_u64,
        "arguments": {},
    })
}

fn desired_claims() -> Value {
    json!({
        "schema": 1, "id": "d-1", "station": "acme/berlin/booth-7", "sender": "manager-1",
        "issued_ms": 1_795_858_200_000_u64,
        "desired": { "version": 7, "config": { "uploader": { "parallel": 3 } }, "recipes": { "spin36": "[[rows]]" } },
    })
}

/// What managers send, and what only commands and configurations bring about.
fn said_by_and_to_a_manager() -> Said {
    let (writer, topics) = (Writer::new(SystemClock::new()), topics());
    let command = Below::Command("stop".into(), "c-1".into());
    let answer = Below::CommandStatus("stop".into(), "c-1".into());
    let status = json!({
        "id": "c-1", "type": "stop", "state": "succeeded", "rule": null, "reason": null, "sender": "manager-1",
        "result": { "session": null },
    });
    let reported = json!({
        "version": 6, "state": "refused", "wanted": 7, "problems": [{ "key": "log.level", "what": "unknown" }],
        "reason": "It is wrong.", "restart_keys": ["log.level"], "config": { "log": { "level": "info" } },
        "recipes": {},
    });
    Said::from([
        (topics.topic(&command), signed("command", &command_claims())),
        (topics.topic(&answer), bytes(&writer.now(status))),
        (topics.topic(&Below::Desired), signed("config", &desired_claims())),
        (topics.topic(&Below::Reported), bytes(&writer.now(reported))),
        (topics.topic(&Below::Alarm("room-none".into())), Vec::new()),
    ])
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_said_is_described_and_everything_that_is_described_is_said() {
    let mut said = said_by_a_station().await;
    said.extend(said_by_and_to_a_manager());
    let mut exercised = BTreeSet::new();
    for (topic, payload) in &said {
        exercised.insert(document().message(topic, payload).unwrap_or_else(|wrong| panic!("{wrong}")));
        let beyond = format!("{topic}/more");
        assert!(check(&beyond, payload).is_err(), "{beyond} is no topic");
    }
    let described: BTreeSet<&str> = document().messages().into_iter().map(String::as_str).collect();
    assert_eq!(exercised, described, "a message that no test knows");
}

#[tokio::test(start_paused = true)]
async fn a_field_too_many_too_few_or_of_another_type_is_told() {
    for (topic, payload) in said_by_a_station().await.into_iter().chain(said_by_and_to_a_manager()) {
        let Ok(value) = serde_json::from_slice::<Value>(&payload) else { continue };
        for (what, broken) in broken(&value, "") {
            assert!(check(&topic, &bytes(&broken)).is_err(), "{topic}: {what} is not told: {broken}");
        }
    }
    let topics = topics();
    let (command, desired) =
        (topics.topic(&Below::Command("stop".into(), "c-1".into())), topics.topic(&Below::Desired));
    for (topic, kind, claims) in
        [(&command, "command", command_claims()), (&desired, "config", desired_claims())]
    {
        for (what, broken) in broken(&claims, "/claims") {
            assert!(check(topic, &signed(kind, &broken)).is_err(), "{topic}: {what} is not told");
        }
    }
    assert!(check(&command, &signed("config", &command_claims())).is_err(), "signed as something else");
    assert!(check(&command, b"stop").is_err());
    assert!(check(&topics.topic(&Below::Alarm("camera-missing".into())), b" ").is_err(), "not quite empty");
}

/// The same message with one thing wrong, each in turn, with where.
fn broken(value: &Value, at: &str) -> Vec<(String, Value)> {
    // These are the sender's own.
    let free = [
        "/body/data",
        "/body/result",
        "/body/config/",
        "/body/recipes",
        "/arguments",
        "/config/",
        "/recipes",
    ];
    if free.iter().any(|part| format!("{at}/").contains(part)) {
        return Vec::new();
    }
    let mut all = Vec::new();
    match value {
        Value::Object(fields) => {
            all.push((at.to_owned(), json!("an object")));
            let mut more = value.clone();
            more["surplus"] = json!(1);
            all.push((format!("{at}/surplus"), more));
            for (key, field) in fields {
                let mut less = fields.clone();
                less.remove(key);
                all.push((format!("without {at}/{key}"), Value::Object(less)));
                all.extend(broken(field, &format!("{at}/{key}")).into_iter().map(|(what, field)| {
                    let mut broken = value.clone();
                    broken[key] = field;
                    (what, broken)
                }));
            }
        }
        Value::Array(items) => {
            all.push((at.to_owned(), json!({ "0": items })));
            for (index, item) in items.iter().enumerate() {
                all.extend(broken(item, &format!("{at}/{index}")).into_iter().map(|(what, item)| {
                    let mut broken = value.clone();
                    broken[index] = item;
                    (what, broken)
                }));
            }
        }
        _ => all.push((at.to_owned(), json!({ "surplus": value }))),
    }
    all
}

fn situations() -> Vec<Situation> {
    use Situation as S;
    let text = || "text".to_owned();
    let drift = |since| Drift { camera: text(), quality: Quality::Light, change: -0.2, since };
    let flagged = || Some(FlaggedFrame { frame: 3, rule: "qc.sharpness".into() });
    let mut all = vec![
        S::Starting,
        S::Off,
        S::Ready,
        S::ItemSet { item: text() },
        S::Referencing,
        S::Comparing,
        S::Announced,
        S::Turning { deg: -12.5 },
        S::TurnByHand { deg: 10.0 },
        S::Shooting { frame: 1, total: 36, left_s: None, flagged: None },
        S::Shooting { frame: 4, total: 36, left_s: Some(9.5), flagged: flagged() },
        S::Retaking { frame: 3, nth: 1, of: 2 },
        S::Flagged { frames: 2, rule: "qc.sharpness".into() },
        S::Missing { frames: 1 },
        S::Complete { frames: 36 },
        S::Sending { pictures: 36 },
        S::Offline { pictures: 36 },
        S::DestinationAway { name: text(), pictures: 1, reason: text() },
        S::SignIn { pictures: 1, reason: text() },
        S::RoomShort { sessions: 3 },
        S::RoomNone { waiting: 40 },
        S::CameraUnplugged { camera: text(), taken: 29, wanted: 36 },
        S::CameraAwaited { camera: text(), frame: 30, left_s: 90 },
        S::TableLost { deg: None },
        S::TableLost { deg: Some(10.0) },
        S::TableTilts { deg: 2.0 },
        S::TableTurnsOn,
        S::PositionUnknown,
        S::StoppedBy { who: text(), taken: 1, wanted: 36 },
        S::Paused { taken: 1, wanted: 36 },
        S::Interrupted { frame: 2, taken: 1 },
        S::StorageFault,
        S::SafeMode,
        S::SafeModeClosed,
        S::Refused { pictures: 2 },
        S::Drifted { drift: drift(Since::Weekday { weekday: 6 }) },
        S::Drifted { drift: drift(Since::Date { date: "2026-11-21".into() }) },
        S::Drifted { drift: drift(Since::Turns { turns: 4 }) },
        S::BudgetSpent { pictures: 3 },
        S::OutOfService { who: text(), reason: text() },
        S::Updating { what: text(), percent: None },
        S::Updating { what: text(), percent: Some(40) },
        S::Look { what: text(), todo: text() },
        S::Fault { what: text(), todo: text() },
    ];
    use StopState as Stop;
    let stops =
        [Stop::None, Stop::Clock, Stop::Untested, Stop::Press, Stop::Release, Stop::Pressed, Stop::Lost];
    all.extend(stops.map(|state| S::EmergencyStop { state }));
    all
}

fn name(value: &Value) -> String {
    value.as_str().expect("a name").to_owned()
}

#[test]
fn every_situation_is_described_and_no_other() {
    let writer = Writer::new(SystemClock::new());
    let mut told = BTreeSet::new();
    for situation in situations() {
        let mut status = Status::starting(station(), false);
        status.tell(situation);
        let body = StatusBody::of(&status, None);
        told.insert(name(&serde_json::to_value(&body.situation).expect("JSON")["is"]));
        let message = writer.now(body);
        check(&topics().topic(&Below::Status), &bytes(&message)).unwrap_or_else(|wrong| panic!("{wrong}"));
        let read: Envelope<StatusBody> = serde_json::from_slice(&bytes(&message)).expect("it is read back");
        assert_eq!(read, message);
    }
    let will = writer.now(StatusBody::offline(false, Some(7)));
    check(&topics().topic(&Below::Status), &bytes(&will)).unwrap_or_else(|wrong| panic!("{wrong}"));
    // What there is, in the words of who reads it.
    let unknown =
        serde_json::from_value::<Situation>(json!({ "is": "?" })).expect_err("no situation").to_string();
    let known: BTreeSet<_> = unknown.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(told, known, "a situation that this test does not know");
    let described =
        document().value["components"]["schemas"]["Situation"]["oneOf"].as_array().expect("a list");
    let described: BTreeSet<_> =
        described.iter().map(|one| name(&one["properties"]["is"]["const"])).collect();
    assert_eq!(described, known);
}

fn reads_as<T: DeserializeOwned + Serialize>(example: &Value) -> bool {
    serde_json::from_value::<Envelope<T>>(example.clone())
        .is_ok_and(|read| serde_json::to_value(read).is_ok_and(|written| same(&written, example)))
}

/// Equal, where 5400 and 5400.0 are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

#[test]
fn every_example_of_the_description_is_read_by_the_program_and_written_the_same() {
    use telemetry::{credentials, devices, machine, quality, queue, storage, versions};
    let messages = document().value["components"]["messages"].as_object().expect("messages");
    let topics = topics();
    for (name, message) in messages {
        let example = &message["examples"][0]["payload"];
        let group = |group: Group| Below::Telemetry(group.name().to_owned());
        let (below, reads) = match name.as_str() {
            "status" => (Below::Status, reads_as::<StatusBody>(example)),
            "alarm" => (Below::Alarm("camera-missing".into()), reads_as::<AlarmBody>(example)),
            "event" => (Below::Event("frame.captured".into()), reads_as::<EventBody>(example)),
            "telemetryQueue" => (group(Group::Queue), reads_as::<queue::Queue>(example)),
            "telemetryStorage" => (group(Group::Storage), reads_as::<storage::Storage>(example)),
            "telemetryDevices" => (group(Group::Devices), reads_as::<devices::Devices>(example)),
            "telemetryQuality" => (group(Group::Quality), reads_as::<quality::Quality>(example)),
            "telemetryMachine" => (group(Group::Machine), reads_as::<machine::Figures>(example)),
            "telemetryClock" => (group(Group::Clock), reads_as::<telemetry::ClockState>(example)),
            "telemetryVersions" => (group(Group::Versions), reads_as::<versions::Versions>(example)),
            "telemetryCredentials" => {
                (group(Group::Credentials), reads_as::<credentials::Credentials>(example))
            }
            "telemetryLink" => (group(Group::Link), reads_as::<Link>(example)),
            "commandStatus" => (Below::CommandStatus("stop".into(), "c-1".into()), true),
            "reported" => (Below::Reported, true),
            "alarmOver" | "command" | "desired" => continue,
            other => panic!("{other} has no line here"),
        };
        assert!(reads, "{name}: the example is not what the program writes: {example}");
        check(&topics.topic(&below), &bytes(example)).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    }
}

#[test]
fn every_schema_of_the_description_is_used() {
    let schemas = document().value["components"]["schemas"].as_object().expect("schemas");
    let unused: Vec<_> =
        schemas.keys().filter(|name| !TEXT.contains(&format!("'#/components/schemas/{name}'"))).collect();
    assert!(unused.is_empty(), "nothing refers to {unused:?}");
    // The check itself sees a schema that is laxer than it should be.
    let lax = TEXT.replace("additionalProperties: false", "additionalProperties: true");
    let mut message =
        json!(document().value["components"]["messages"]["telemetryLink"]["examples"][0]["payload"]);
    message["body"]["surplus"] = json!(1);
    let topic = topics().topic(&Below::Telemetry("link".into()));
    assert!(Document::read(&lax).message(&topic, &bytes(&message)).is_ok());
    assert!(check(&topic, &bytes(&message)).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_home_assistant_is_told_to_look_at_is_there() {
    let said = said_by_a_station().await;
    let mut looked = 0;
    for (topic, entity) in discovery::messages(&station(), &topics(), "0.1.0") {
        let mut sources = vec![(&entity["state_topic"], &entity["value_template"])];
        if let Some(availability) = entity["availability"].get(0) {
            sources.push((&availability["topic"], &availability["value_template"]));
        }
        for (at, template) in sources {
            let payload = said.get(at.as_str().expect("a topic")).expect("somebody says it");
            let payload: Value = serde_json::from_slice(payload).expect("JSON");
            let template = template.as_str().expect("a template");
            for path in template.split("value_json").skip(1) {
                let path =
                    path.split(|c: char| !(c.is_alphanumeric() || "._".contains(c))).next().expect("a path");
                let value = payload.pointer(&path.replace('.', "/")).expect("it is in the message");
                assert!(!value.is_object() && !value.is_array(), "{topic}: {path} is no value: {value}");
                looked += 1;
            }
        }
    }
    assert_eq!(looked, 12, "one template looks at two values, five at availability too");
}
