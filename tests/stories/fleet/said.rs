//! Everything that a station says in a session, an alarm, a command and a configuration is as its description says.

use serde_json::json;
use turnstage_tests::asyncapi;
use turnstage_tests::headquarters::{Headquarters, until_over};

use super::{STATION, said, station, until_status};

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_working_station_conforms_to_its_description() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("every_message_of_a_working_station", &[STATION], false).await
    else {
        return;
    };
    headquarters.write_manager(&broker);
    let mut watcher = broker.watch("turnstage/#").await;
    let mut service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["kind"] == "ready").await;
    let orders = [
        ("start", json!({ "item": "item-1", "recipe": null })),
        ("set-flag", json!({ "flag": "hold-updates", "on": true, "reason": "fair" })),
        ("reboot", json!({})),
        ("identify", json!({ "seconds": 1 })),
        ("diagnostics", json!({ "url": "http://127.0.0.1:9/" })),
        ("nonsense", json!({})),
    ];
    for (kind, arguments) in orders {
        let order = headquarters.order(STATION, kind, arguments);
        headquarters.send(&broker, &order);
        until_over(&mut watcher, &order).await;
    }
    let who = headquarters.folder().join("manager.toml").display().to_string();
    let wanted = headquarters.folder().join("wanted.toml");
    std::fs::write(&wanted, "[uploader]\nparallel = 99\n").expect("a file");
    let wanted = wanted.display().to_string();
    let ran = turnstage_tests::turnstage(&["fleet", "--manager", &who, "set", STATION, "--config", &wanted]);
    assert_eq!(ran.code, 77, "{ran:?}");
    service.settled().await;
    watcher.until("figures", |heard| !said(heard, "telemetry/link").is_empty()).await;
    assert_eq!(service.terminate(), Some(0));
    let heard = until_status(&mut watcher, "its goodbye", |status| status["online"] == false).await;

    let mut kinds = std::collections::BTreeSet::new();
    for message in heard.iter().filter(|message| !message.payload.is_empty()) {
        asyncapi::check(&message.topic, message.payload.as_bytes())
            .unwrap_or_else(|wrong| panic!("{}: {wrong}\n{}", message.topic, message.payload));
        kinds.insert(message.topic.split('/').nth(4).unwrap_or_default().to_owned());
    }
    let all = ["cmd", "config", "event", "status", "telemetry"];
    assert!(all.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
}
