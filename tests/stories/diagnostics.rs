//! A technician takes a bundle to whoever helps: everything about the station, nothing about persons, items or secrets.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use axum::http::StatusCode;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage::access::Role;
use turnstage::access::accounts::Accounts;
use turnstage::command::{Act, Override};
use turnstage::diagnostics::{LogKind, LogRange, log_range};
use turnstage_cloud_sync::Sha256;
use turnstage_tests::service::Service;
use turnstage_tests::{Bench, quick_rig, turnstage, write_recipe};

const VIN: &str = "WBA8E9C56GK646123";
const PASSWORD: &str = "correct horse battery";
/// Planted in files, addresses, names and pictures; in a bundle none of them may be.
const MARKERS: [&str; 10] = [
    VIN,
    "TOKENMARKER",
    "BROKERMARKER",
    "USERMARKER",
    "URLMARKER",
    "QUERYMARKER",
    "COMMENTMARKER",
    "anamaria",
    "Smith",
    "argon2",
];

/// What a person may have written into the configuration.
const SETTINGS: &str = r#"
# The old password was COMMENTMARKER.
[fleet]
broker = "mqtts://USERMARKER:URLMARKER@broker.example:8883"
password_file = "broker-password"
[destinations.cloud]
backend = "imaging360"
url = "https://api.example/v1?sig=QUERYMARKER"
token_file = "device-token"
"#;

/// The files of a bundle.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let files = archive.entries().expect("a tar file").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        (name.trim_start_matches("diagnostics/").to_owned(), String::from_utf8(bytes).expect("only text"))
    });
    files.collect()
}

#[track_caller]
fn names_nobody(files: &BTreeMap<String, String>) {
    for (name, text) in files {
        for marker in MARKERS {
            let line = text.lines().find(|line| line.contains(marker));
            assert_eq!(line, None, "{marker} in {name}");
        }
    }
}

/// A station with a session of somebody's, kept by somebody else, and with everything that a bundle must not hold.
async fn station() -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn4", 4, "retakes = 0\n[qc]\nblur_px_max = 0.01");
    let at = |name: &str| data.path().join(name);
    std::fs::write(at("device-token"), "eyJTOKENMARKER.x.y").expect("a token");
    std::fs::write(at("broker-password"), "BROKERMARKER").expect("a password");
    std::fs::write(at("last-good.toml"), SETTINGS).expect("a configuration");
    let bench = Bench::on_disk(&quick_rig(""), data).await;
    let accounts = Accounts::of(bench.data.path());
    for (name, role) in [("anamaria", Role::Operator), ("tom", Role::Technician)] {
        accounts.set(name, role, PASSWORD).expect("an account");
    }
    let ana = bench.client().signed_in("anamaria", PASSWORD).await;
    let started = ana.post("/api/v1/commands/start", json!({ "item": VIN, "recipe": "turn4" })).await.json();
    let id = started["session"].as_str().expect("a session").to_owned();
    bench.settled(&id).await;
    let accept = Override { name: "Ana Smith".to_owned(), reason: "Smith wants it so".to_owned() };
    bench.ask(Act::Release { accept: Some(accept) }).await.expect("released");
    bench
}

#[tokio::test]
async fn a_bundle_tells_everything_of_the_station_and_names_nobody_and_nothing() {
    let bench = station().await;
    let tom = bench.client().signed_in("tom", PASSWORD).await;
    let answer = tom.get("/api/v1/diagnostics").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let name = answer.headers["content-disposition"].to_str().expect("text");
    assert!(name.contains("turnstage-diagnostics-") && name.ends_with(".tar.gz\""), "{name}");
    let files = unpacked(&answer.bytes);
    println!("{} bytes: {:?}", answer.bytes.len(), files.keys());
    let wanted = [
        "README.txt",
        "calibrations.json",
        "cameras.json",
        "config/effective.toml",
        "config/file.toml",
        "events.jsonl",
        "faults.json",
        "journal.txt",
        "machine.json",
        "metrics.txt",
        "queue.json",
        "service.txt",
        "spool.json",
        "status.json",
        "versions.json",
    ];
    assert!(files.keys().eq(wanted.iter()), "{:?}", files.keys());
    names_nobody(&files);

    // The same item can be followed through the files.
    let events: Vec<Value> =
        files["events.jsonl"].lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let started = events.iter().find(|event| event["data"]["name"] == "start").expect("the start");
    let item = started["data"]["asked"]["item"].as_str().expect("an item");
    assert!(item.starts_with("item-"), "{item}");
    assert!(
        started["actor"].as_str().is_some_and(|actor| actor.starts_with("operator:person-")),
        "{started}"
    );
    let queue: Value = serde_json::from_str(&files["queue.json"]).expect("JSON");
    assert!(queue["queue"]["confirmed"].is_u64() && queue["queue"]["sessions"].is_array(), "{queue}");
    assert!(files["events.jsonl"].contains("frame.captured"));
    assert!(
        files["config/file.toml"].contains("mqtts://(removed)@broker.example:8883"),
        "{}",
        files["config/file.toml"]
    );
    assert!(files["config/effective.toml"].contains("attempts_max = 5"));
    assert!(files["config/effective.toml"].contains("token_file = \"device-token\""));
    assert!(files["metrics.txt"].contains("turnstage_queue_pictures"));
    let status: Value = serde_json::from_str(&files["status.json"]).expect("JSON");
    assert_eq!(status["cameras"][0]["name"], "main");

    // It is for those who look after the station, and the panel offers it to them.
    let ana = bench.client().signed_in("anamaria", PASSWORD).await;
    assert_eq!(ana.get("/api/v1/diagnostics").await.rule(), "role-not-allowed");
    assert!(tom.get("/").await.text().contains("Diagnostics bundle"));
    assert!(!ana.get("/").await.text().contains("Diagnostics bundle"));
    bench.end().await;
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("packed text");
    assert!(MARKERS.iter().all(|marker| !text.contains(marker)), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn a_range_of_the_log_is_what_was_asked_for_and_redacted_like_a_bundle() {
    let bench = station().await;
    let window = &bench.running.window;
    let of = async |range: Value| {
        let range: LogRange = serde_json::from_value(range).expect("a range");
        log_range(window, bench.data.path(), &range).await
    };
    let all = of(json!({ "kind": "events" })).await.expect("a range");
    assert_eq!(Sha256::of(&all.bytes), all.sha256);
    let all = lines(&all.bytes);
    let newest = all.last().expect("events")["sequence"].as_u64().expect("a sequence");
    let some = of(json!({ "kind": "events", "after": 3, "through": newest - 1, "limit": 4 })).await;
    let some = lines(&some.expect("a range").bytes);
    let sequences: Vec<_> = some.iter().map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, [4, 5, 6, 7].map(Some));
    let later = of(json!({ "kind": "events", "since": "2100-01-01T00:00:00Z" })).await.expect("a range");
    assert_eq!(lines(&later.bytes), Vec::<Value>::new());
    for bad in [json!({ "kind": "events", "since": "yesterday" }), json!({ "kind": "journal", "limit": 0 })] {
        assert_eq!(of(bad).await.err().map(|refusal| refusal.rule).as_deref(), Some("log-range"));
    }
    // Where no service runs there is no journal, which is said.
    let what = LogRange {
        kind: LogKind::Journal,
        after: None,
        through: None,
        since: None,
        until: None,
        limit: None,
    };
    if let Err(refusal) = log_range(window, bench.data.path(), &what).await {
        assert_eq!(refusal.rule, "journal-not-available", "{refusal}");
    }
    bench.end().await;
}

fn items(folder: &Path) -> Vec<String> {
    let files = unpacked(&std::fs::read(folder).expect("a bundle"));
    names_nobody(&files);
    let events = files["events.jsonl"].split('"').filter(|part| part.starts_with("item-"));
    let mut items: Vec<String> = events.map(str::to_owned).collect();
    items.sort();
    items.dedup();
    items
}

#[tokio::test]
async fn the_command_line_takes_one_of_a_running_station_and_of_a_folder_alike() {
    let mut service = Service::start(&quick_rig(""), &[]).await;
    let started = service.ask("start", json!({ "item": VIN, "recipe": null })).await.expect("a session");
    let id = started["session"].as_str().expect("an id").to_owned();
    let session = |status: &Value| status["session"]["taken"].as_u64() > Some(0);
    service.until("a picture", session).await;
    let data = service.data().display().to_string();
    let out = TempDir::new().expect("a folder");
    let take = |name: &str| {
        let file = out.path().join(name);
        let ran = turnstage(&["diagnostics", "--data-dir", &data, "--out", &file.display().to_string()]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        println!("{}", ran.out);
        items(&file)
    };
    let running = take("running.tar.gz");
    assert_eq!(running.len(), 1, "{running:?}");
    service.ask("stop", json!({})).await.expect("stopped");
    service.until("a halt", |status| status["session"]["state"] != "shooting").await;
    service.kill();
    assert_eq!(take("folder.tar.gz"), running, "{id} has the same digits");

    let nowhere = out.path().join("nothing").display().to_string();
    let ran = turnstage(&["diagnostics", "--data-dir", &nowhere]);
    assert_eq!(ran.code, 66, "{}", ran.err);
}
