//! Out of service, and one of many: what those who look after a station set on it, and what it shows of that.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use turnstage::command::{Act, Which};
use turnstage::session::SessionState;
use turnstage::status::{Kind, Situation};
use turnstage_drivers::sim::Booth;
use turnstage_tests::{Bench, quick_rig, turnstage, write_recipe};

const TOWER: &str = r#"
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
"#;

fn bench() -> Bench {
    let data = TempDir::new().expect("a folder");
    write_recipe(&data.path().join("recipes"), "turn12", 12, "retakes = 0");
    Bench::in_memory(&quick_rig(TOWER), data)
}

fn out(value: bool) -> serde_json::Value {
    json!({ "name": "out-of-service", "value": value, "reason": "the belt slips" })
}

#[tokio::test(start_paused = true)]
async fn a_station_out_of_service_begins_nothing_and_says_who_and_why() {
    let bench = bench();
    let client = bench.client();
    bench.running.status.clone().wait_for(|now| now.situation == Situation::Ready).await.expect("a station");
    let set = client.post("/api/v1/flags", out(true)).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let told =
        |status: &turnstage::status::Status| matches!(status.situation, Situation::OutOfService { .. });
    let status = bench.running.status.clone().wait_for(told).await.expect("a station").clone();
    assert_eq!((status.kind, status.sentence.as_str()), (Kind::Warn, "Out of service"));
    assert_eq!(status.detail, "the belt slips. No session begins. Ask local.");

    for act in ["commands/start", "calibrations/turn", "calibrations/axis/turn"] {
        let body = match act {
            "commands/start" => json!({ "item": "4711", "recipe": "turn12" }),
            _ => json!({ "recipe": "turn12" }),
        };
        let answer = client.post(&format!("/api/v1/{act}"), body).await;
        assert_eq!(answer.rule(), "out-of-service", "{act}");
        assert!(answer.text().contains("the belt slips (local)"), "{}", answer.text());
    }
    let page = client.get("/?item=4711").await.text();
    assert!(page.contains("Out of service") && page.contains("Capture is closed"), "{page}");
    assert!(client.get("/?lang=de").await.text().contains("Außer Betrieb"));
    assert_eq!(client.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let flags = client.get("/api/v1/flags").await.json();
    assert_eq!((&flags[0]["name"], &flags[0]["actor"]), (&json!("out-of-service"), &json!("panel:local")));
    assert_eq!(client.get("/api/v1/status").await.json()["flags"], flags);
    let unknown =
        client.post("/api/v1/flags", json!({ "name": "broken", "value": true, "reason": "x" })).await;
    assert_eq!(unknown.rule(), "flag-unknown");

    assert_eq!(client.post("/api/v1/flags", out(false)).await.json(), json!([]));
    let id = bench.start("turn12").await;
    assert_eq!(bench.settled(&id).await.state, SessionState::Review);
    let events = bench.running.spool.events(0, 1_000).await.expect("events");
    let flags: Vec<_> = events.iter().filter(|event| event.kind == "station.flag").collect();
    assert_eq!(
        (flags.len(), &flags[0].data["value"], &flags[1].data["value"]),
        (2, &json!(true), &json!(false))
    );
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_open_may_be_finished_on_a_station_out_of_service() {
    let bench = bench();
    let client = bench.client();
    let id = bench.start("turn12").await;
    client.post("/api/v1/flags", out(true)).await;
    assert_eq!(bench.settled(&id).await.taken, 12);
    let status = bench.running.window.status().await;
    assert_eq!(status.situation, Situation::Complete { frames: 12 });
    assert_eq!(status.flags[0].reason, "the belt slips");
    bench.ask(Act::Retake { which: Which::Frames(vec![3]) }).await.expect("it may be mended");
    assert_eq!(bench.settled(&id).await.retaken, 1);
    bench.ask(Act::Release { accept: None }).await.expect("and sent");
    let refused = bench.ask(Act::Start { item: "4712".to_owned(), recipe: None }).await;
    assert_eq!(refused.unwrap_err().rule, "out-of-service");
    let data = bench.end().await;

    // It outlives a restart.
    let again = Bench::in_memory(&quick_rig(""), data);
    let refused = again.ask(Act::Start { item: "4712".to_owned(), recipe: None }).await;
    assert_eq!(refused.unwrap_err().rule, "out-of-service");
    again.end().await;
}

fn levels(booth: &Booth, lamp: &str, since: tokio::time::Instant) -> Vec<f64> {
    let changes = booth.lamp_changes(lamp).into_iter().filter(|(at, _)| *at >= since);
    changes.map(|(_, level)| level).collect()
}

#[tokio::test(start_paused = true)]
async fn a_station_shows_itself_in_mid_session_and_takes_every_frame_meanwhile() {
    let bench = bench();
    let client = bench.client();
    let booth = bench.running.around.booth.clone().expect("a booth");
    let id = bench.start("turn12").await;
    let shooting = |now: &turnstage::status::Status| now.session.as_ref().is_some_and(|one| one.taken > 0);
    bench.running.status.clone().wait_for(shooting).await.expect("a station");
    let begun = tokio::time::Instant::now();
    let asked = client.post("/api/v1/identify", json!({ "seconds": 30 })).await;
    assert_eq!(asked.json(), json!({ "who": "local", "left_s": 30 }));
    let page = client.get("/").await.text();
    assert!(page.contains("This station was asked to show itself."), "{page}");
    assert!(client.get("/?lang=de").await.text().contains("Diese Station soll sich zeigen."));
    let session = bench.settled(&id).await;
    assert_eq!((session.state, session.taken), (SessionState::Review, 12));

    let mut changes = bench.running.window.changes();
    while bench.running.window.status().await.identify.is_some() {
        assert!(changes.next().await, "the station lives");
    }
    assert_eq!(begun.elapsed().as_secs(), 30, "its end is told like its beginning");
    let [green, amber] = ["green", "amber"].map(|lamp| levels(&booth, lamp, begun));
    assert!(green.len() >= 50 && amber.len() >= 50, "{} {}", green.len(), amber.len());
    for lamp in ["red", "horn"] {
        assert!(levels(&booth, lamp, begun).is_empty(), "{lamp} is as ever");
    }
    booth.until_lamp("green", 1.0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((booth.lamp("green"), booth.lamp("amber")), (1.0, 0.0), "the turn is over and good");
    assert!(!client.get("/").await.text().contains("asked to show itself"));
    let events = bench.running.spool.events(0, 1_000).await.expect("events");
    let asked = events.iter().find(|event| event.kind == "station.identify").expect("on record");
    assert_eq!((asked.actor.as_str(), &asked.data["seconds"]), ("panel:local", &json!(30)));
    let long = client.post("/api/v1/identify", json!({ "seconds": 601 })).await;
    assert_eq!(long.rule(), "identify-seconds");
    bench.end().await;
}

#[test]
fn flags_are_set_and_cleared_at_the_command_line_of_a_folder_too() {
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("station.toml");
    std::fs::write(&config, quick_rig("")).expect("a configuration");
    let (config, data) = (config.display().to_string(), folder.path().join("data").display().to_string());
    let at = |words: &[&str]| turnstage(&[words, &["--data-dir", &data, "--config", &config]].concat());
    let set = at(&["flags", "set", "out-of-service", "--reason", "the belt slips"]);
    assert_eq!(set.code, 0, "{}", set.err);
    assert!(set.out.starts_with("out-of-service: the belt slips (cli:"), "{}", set.out);
    let refused = at(&["capture", "--item", "4711"]);
    assert_eq!(refused.code, 77, "{}", refused.err);
    assert!(refused.err.contains("out-of-service"), "{}", refused.err);
    assert_eq!(at(&["flags", "set", "broken", "--reason", "x"]).code, 77);
    assert_eq!(at(&["flags", "clear", "out-of-service"]).code, 0);
    assert_eq!(at(&["flags", "list"]).out.trim(), "No flag is set.");
    let nobody = at(&["identify"]);
    assert_eq!(nobody.code, 66, "{}", nobody.err);
}
