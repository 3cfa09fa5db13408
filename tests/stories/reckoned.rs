//! A session on a table that never says where it stands: relays, switched by time. It is shot, and each frame says how far
//! beside its angle it may be.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnstage_hw_tests::wire::cable::{Cable, Port};
use turnstage_hw_tests::wire::platform::Platform;
use turnstage_hw_tests::wire::relay::Module;
use turnstage_tests::service::Service;
use turnstage_tests::{lenient_policy, write_recipe};

/// Relays without an answer, with a timer of their own, and a camera that is quick.
fn configuration(folder: &TempDir, serial: &str) -> String {
    let recipes = folder.path().join("recipes");
    write_recipe(&recipes, "turn", 4, "retakes = 0");
    let file = recipes.join("turn.toml");
    let text = std::fs::read_to_string(&file).expect("the recipe");
    std::fs::write(&file, format!("{text}\n{}", lenient_policy())).expect("the recipe");
    format!(
        r#"
[storage]
free_bytes_soft = 2_000_000
free_bytes_hard = 1_000_000
frame_bytes = 200_000

[motion]
announce_s = 1.0
platform_m = 0.6

[recipes]
folder = {recipes:?}

[panel]
listen = "127.0.0.1:0"

[destinations.local]
backend = "directory"
root = "delivered"
create = true

[rig.turntable]
driver = "relay"
serial = {serial:?}
via = "usb"
forward = 1
deg_per_s = 90.0
rest_ms = 400
run_limit_s = 1.5
error_deg = 1.0
error_deg_max = 10.0

[booth]

[rig.cameras.front]
driver = "sim"
size = [160, 120]
transfer_ms = 0.0
settings = {{ exposure_us = 4000.0, gain = 2.0, wb_kelvin = 5000.0 }}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_timed_relays_is_shot_and_every_frame_says_how_far_it_may_be_off() {
    let folder = TempDir::new().expect("a folder");
    let mut platform = Platform::new(90.0, 400.0, 0);
    platform.run_limit = Some(Duration::from_millis(1500));
    let cable = Cable::new(Module::new(platform));
    let mut port = Port::new(&folder.path().join("usb-relays-if00")).expect("a pseudo-terminal");
    let text = configuration(&folder, &port.name());
    let far_end = cable.clone();
    let serving = tokio::spawn(async move { far_end.serve(&mut port).await });
    let service = Service::start(&text, &[]).await;
    service.until("ready", |status| status["kind"] == "ready" && status["table"]["fault"].is_null()).await;
    let id = service.start_session("turn").await;
    let session = service.settled().await;
    assert_eq!((&session["state"], &session["taken"]), (&json!("review"), &json!(4)), "{}", service.log());

    let records = service.records(&id).await;
    let errors: Vec<Value> =
        records.iter().map(|record| record.meta["place"]["angle_error_deg"].clone()).collect();
    assert_eq!(errors, [json!(null), json!(1.0), json!(2.0), json!(3.0)], "what was turned adds up");
    let position = service.status().await["table"]["position"].clone();
    assert!(position.get("estimated").is_some(), "never known after a timed move: {position}");
    assert!(cable.with(|module| module.platform.starts >= 3 && module.on().is_empty()));
    serving.abort();
}
