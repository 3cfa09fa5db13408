//! Commands: obeyed once, answered always, and only of those who are trusted.

use serde_json::{Value, json};
use turnstage_tests::headquarters::{Headquarters, told_of, until_over};

use super::{STATION, station};

/// How often the station's own log says that a command was obeyed.
fn obeyed(events: &[Value], id: &str) -> usize {
    let wanted = format!("fleet:{id}");
    let is =
        |event: &&Value| event["kind"] == "command.accepted" && event["data"]["command"] == wanted.as_str();
    events.iter().filter(is).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_signed_by_somebody_else_s_tool_is_obeyed_once_however_often_it_comes() {
    let headquarters = Headquarters::new();
    let Some(broker) =
        headquarters.broker("a_command_signed_by_somebody_else_s_tool", &[STATION], false).await
    else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let mut service = station(&headquarters, &broker).await;
    let order = headquarters.order(STATION, "start", json!({ "item": "item-1", "recipe": null }));
    let text = headquarters.sign_by_openssl(&order, "hq");
    broker.say(&order.topic(), &text);
    let end = until_over(&mut watcher, &order).await;
    assert_eq!(end["state"], "succeeded", "{end}");
    let session = end["result"]["session"].clone();
    assert!(session.is_string(), "{end}");

    for _ in 0..3 {
        broker.say(&order.topic(), &text);
    }
    let again =
        |heard: &[_]| told_of(heard, &order).iter().filter(|body| body["state"] == "succeeded").count() >= 2;
    let heard = watcher.until("the answer from the record", again).await;
    assert!(
        told_of(&heard, &order)
            .iter()
            .all(|body| body["result"]["session"] == session || body["result"].is_null())
    );
    service.settled().await;

    service.kill();
    service.start_again().await;
    let before = watcher.heard().len();
    broker.say(&order.topic(), &text);
    let heard = watcher
        .until("the answer of the next run", |heard| !told_of(&heard[before..], &order).is_empty())
        .await;
    assert_eq!(told_of(&heard[before..], &order)[0]["state"], "succeeded");
    assert_eq!(obeyed(&service.events(0).await, &order.id), 1, "it is obeyed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_refused_when_every_record_of_the_command_was_lost() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("a_replay_is_refused", &[STATION], false).await else { return };
    let mut watcher = broker.watch("turnstage/#").await;
    let mut service = station(&headquarters, &broker).await;
    let order = headquarters.order(STATION, "start", json!({ "item": "item-1", "recipe": null }));
    let text = headquarters.sign(&order, "hq");
    broker.say(&order.topic(), &text);
    assert_eq!(until_over(&mut watcher, &order).await["state"], "succeeded");
    service.settled().await;

    // The queue's store is rebuilt, and the records of commands are gone with a damaged folder.
    service.kill();
    std::fs::remove_dir_all(service.data().join("spool/index")).expect("the index goes");
    std::fs::remove_dir_all(service.data().join("fleet/commands")).expect("the records go");
    service.start_again().await;
    let before = watcher.heard().len();
    broker.say(&order.topic(), &text);
    let heard = watcher.until("a refusal", |heard| !told_of(&heard[before..], &order).is_empty()).await;
    let answer = &told_of(&heard[before..], &order)[0];
    assert_eq!(
        (&answer["state"], &answer["rule"]),
        (&json!("rejected"), &json!("command-replayed")),
        "{answer}"
    );
    assert_eq!(obeyed(&service.events(0).await, &order.id), 0, "nothing of it in the new log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_obeyed_is_answered_with_its_rule_and_has_no_effect() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("what_must_not_be_obeyed", &[STATION], false).await else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let service = station(&headquarters, &broker).await;
    let order = |kind: &str, arguments: Value| headquarters.order(STATION, kind, arguments);
    let start = || order("start", json!({ "item": "item-1", "recipe": null }));

    let mut expired = start();
    let long_ago = expired.claims["issued_ms"].as_i64().expect("a time") - 3_600_000;
    expired.claims["issued_ms"] = json!(long_ago);
    expired.claims["expires_ms"] = json!(long_ago + 60_000);
    let mut future = start();
    for key in ["issued_ms", "expires_ms"] {
        future.claims[key] = json!(future.claims[key].as_i64().expect("a time") + 3_600_000);
    }
    let mut elsewhere = start();
    elsewhere.claims["station"] = json!("acme/berlin/booth-8");
    let mut of_a_week = start();
    of_a_week.claims["expires_ms"] =
        json!(of_a_week.claims["issued_ms"].as_i64().expect("a time") + 7 * 86_400_000);
    let arm = order("arm", json!({ "code": "123456" }));
    let resume = order("resume", json!({ "session": null, "anew": false, "confirm": true }));
    let reboot = order("reboot", json!({}));
    let unknown = order("start", json!({ "item": "item-1", "recipe": null, "armed": true }));
    let cases = [
        (&expired, "hq", "expired", "command-expired"),
        (&future, "hq", "rejected", "clock-behind"),
        (&elsewhere, "hq", "rejected", "station-wrong"),
        (&of_a_week, "hq", "rejected", "expiry-too-far"),
        (&arm, "hq", "rejected", "command-unknown"),
        (&resume, "hq", "rejected", "command-unknown"),
        (&reboot, "booth", "rejected", "role-not-allowed"),
        (&unknown, "hq", "rejected", "arguments-invalid"),
    ];
    for (order, key, state, rule) in cases {
        broker.say(&order.topic(), &headquarters.sign(order, key));
        let end = until_over(&mut watcher, order).await;
        assert_eq!((&end["state"], &end["rule"]), (&json!(state), &json!(rule)), "{end}");
        assert!(end["reason"].as_str().is_some_and(|reason| reason.ends_with('.')), "{end}");
    }

    let status = service.status().await;
    assert!(status["session"].is_null(), "nothing was begun: {status}");
    let events = service.events(0).await;
    assert!(!events.iter().any(|event| event["kind"] == "command.accepted"), "{events:?}");
    let noted = |id: &str| {
        events.iter().any(|event| event["kind"] == "fleet.command" && event["data"]["command"] == id)
    };
    for (order, ..) in cases {
        // Those for somebody else are not worth a line for each.
        assert!(noted(&order.id), "{} {} is not on record", order.kind, order.id);
    }
    assert!(events.iter().any(|event| event["actor"] == "fleet:hq/ana@hq"), "with its actor");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_trusted_signed_is_refused_and_has_no_effect() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("what_nobody_trusted_signed", &[STATION], false).await else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let service = station(&headquarters, &broker).await;
    let unsigned = headquarters.order(STATION, "start", json!({ "item": "item-1", "recipe": null }));
    let forged = Headquarters::new().sign(&unsigned, "hq");
    let altered = headquarters.sign(&unsigned, "hq").replacen("ey", "eY", 2);
    for (text, rules) in [
        (forged.as_str(), ["signature-wrong", "signature-wrong"]),
        (altered.as_str(), ["signature-wrong", "signed-malformed"]),
        ("{\"start\":1}", ["signed-malformed", "signed-malformed"]),
    ] {
        let before = watcher.heard().len();
        broker.say(&unsigned.topic(), text);
        let heard =
            watcher.until("a refusal", |heard| !told_of(&heard[before..], &unsigned).is_empty()).await;
        let rule = told_of(&heard[before..], &unsigned)[0]["rule"].clone();
        assert!(rules.iter().any(|wanted| rule == *wanted), "{text}: {rule}");
    }
    let events = service.events(0).await;
    assert!(!events.iter().any(|event| event["kind"] == "command.accepted"), "{events:?}");
    assert!(events.iter().any(|event| event["kind"] == "fleet.command" && event["actor"] == "fleet:unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_out_of_the_trust_file_is_trusted_no_more_at_once() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("a_key_that_is_taken_out", &[STATION], false).await else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let _service = station(&headquarters, &broker).await;
    let requeue = || headquarters.order(STATION, "requeue", json!({ "session": null }));
    let first = requeue();
    headquarters.send(&broker, &first);
    assert_eq!(until_over(&mut watcher, &first).await["state"], "succeeded");
    std::fs::write(headquarters.trust_file(), "schema = 1\n").expect("nobody is trusted");
    let second = requeue();
    headquarters.send(&broker, &second);
    assert_eq!(until_over(&mut watcher, &second).await["rule"], "key-unknown");
    std::fs::write(headquarters.trust_file(), "schema = one\n").expect("a bad file");
    let third = requeue();
    headquarters.send(&broker, &third);
    assert_eq!(until_over(&mut watcher, &third).await["rule"], "trust-unreadable");
}
