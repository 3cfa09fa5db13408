//! Brokers that die, forget, and are cut off, and stations that are killed: no event is lost here, no command is obeyed
//! twice, and what is so now is told before what was.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use turnstage_tests::broker::watcher::Heard;
use turnstage_tests::headquarters::{Headquarters, told_of, until_over};

use super::{STATION, said, station, until_status};

/// Ids and sequences of the events that were heard.
fn events(heard: &[Heard]) -> (BTreeSet<String>, BTreeSet<u64>) {
    let prefix = format!("turnstage/{STATION}/event/");
    let events = heard.iter().filter(|heard| heard.topic.starts_with(&prefix));
    let messages = events.map(|heard| serde_json::from_str::<Value>(&heard.payload).expect("JSON"));
    let text = |message: &Value| message["id"].as_str().expect("an id").to_owned();
    messages.map(|message| (text(&message), message["sequence"].as_u64().expect("a number"))).unzip()
}

/// Whether every event of the station's log from `first` on was heard.
fn all_heard(heard: &[Heard], log: &[Value], first: u64) -> bool {
    let (_, sequences) = events(heard);
    let mine =
        log.iter().filter_map(|event| event["sequence"].as_u64()).filter(|sequence| *sequence >= first);
    mine.into_iter().all(|sequence| sequences.contains(&sequence))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_in_mid_session_misses_no_event_and_hears_the_present_first() {
    let headquarters = Headquarters::new();
    let Some(mut broker) =
        headquarters.broker("a_broker_that_is_killed_in_mid_session", &[STATION], true).await
    else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["online"] == true).await;
    service.start_session("spin36").await;
    watcher.until("the first frame", |heard| !said(heard, "event/frame.captured").is_empty()).await;
    broker.kill();
    service.settled().await;
    let at_return = watcher.heard().len();
    broker.restart();
    let log = service.events(0).await;
    // The first event is of before the fleet was joined.
    let heard = watcher.until("every event", |heard| all_heard(heard, &log, 3)).await;

    let after = &heard[at_return..];
    let is_status = |heard: &Heard| heard.topic.ends_with("/status") && !heard.retained;
    let first_status = after.iter().position(is_status).expect("the state now");
    let backlog = |heard: &Heard| heard.topic.contains("/event/");
    let first_event = after.iter().position(backlog).expect("the backlog");
    assert!(first_status < first_event + 16, "the state now is behind {} events", first_status - first_event);

    let (ids, sequences) = events(&heard);
    assert_eq!(ids.len(), sequences.len(), "the same event has the same id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_empty_is_told_the_state_again_and_takes_commands() {
    let headquarters = Headquarters::new();
    let Some(mut broker) = headquarters.broker("a_broker_that_comes_back_empty", &[STATION], true).await
    else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let _service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["kind"] == "ready").await;
    broker.restart_empty();
    // Somebody who comes later hears what is retained.
    let mut later = broker.watch("turnstage/+/+/+/status").await;
    until_status(&mut later, "the station again", |status| status["kind"] == "ready").await;
    let mut watcher = broker.watch("turnstage/acme/#").await;
    let order = headquarters.order(STATION, "requeue", json!({ "session": null }));
    headquarters.send(&broker, &order);
    assert_eq!(until_over(&mut watcher, &order).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_noticed_and_afterwards_late_events_are_marked_late() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("a_partition_is_noticed", &[STATION], true).await else { return };
    let mut watcher = broker.watch("turnstage/#").await;
    let service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["online"] == true).await;
    broker.partition();
    service.start_session("spin36").await;
    service.settled().await;
    let log = service.events(0).await;
    assert!(!all_heard(&watcher.heard(), &log, 3), "the partition lets nothing through");
    broker.heal();
    watcher.until("every event", |heard| all_heard(heard, &log, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_that_dies_is_offline_by_its_will_and_one_that_ends_says_so() {
    let headquarters = Headquarters::new();
    let Some(broker) = headquarters.broker("a_station_that_dies_is_offline", &[STATION], false).await else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let mut service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["online"] == true).await;
    service.kill();
    until_status(&mut watcher, "its will", |status| status["online"] == false).await;
    service.start_again().await;
    until_status(&mut watcher, "the station again", |status| status["online"] == true).await;
    assert_eq!(service.terminate(), Some(0));
    until_status(&mut watcher, "its goodbye", |status| status["online"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_killed_with_commands_in_flight_obeys_none_twice() {
    let headquarters = Headquarters::new();
    let Some(broker) =
        headquarters.broker("a_station_killed_with_commands_in_flight", &[STATION], true).await
    else {
        return;
    };
    let mut watcher = broker.watch("turnstage/#").await;
    let mut service = station(&headquarters, &broker).await;
    until_status(&mut watcher, "the station", |status| status["online"] == true).await;
    let mut orders = Vec::new();
    for round in 0..6 {
        for nth in 0..4 {
            let order = headquarters.order(STATION, "requeue", json!({ "session": null }));
            headquarters.send(&broker, &order);
            orders.push(order);
            if nth == round % 4 {
                service.kill();
            }
        }
        service.start_again().await;
    }
    let mut ends = Vec::new();
    for order in &orders {
        ends.push(until_over(&mut watcher, order).await);
    }
    let log = service.events(0).await;
    for (order, end) in orders.iter().zip(&ends) {
        let obeyed = log.iter().filter(|event| {
            event["kind"] == "command.accepted" && event["data"]["command"] == format!("fleet:{}", order.id)
        });
        let obeyed = obeyed.count();
        assert!(obeyed <= 1, "{} was obeyed {obeyed} times: {end}", order.id);
        if end["state"] == "succeeded" {
            assert_eq!(obeyed, 1, "{end}");
        } else {
            assert_eq!((&end["state"], &end["rule"]), (&json!("failed"), &json!("interrupted")), "{end}");
        }
    }
    let succeeded = ends.iter().filter(|end| end["state"] == "succeeded").count();
    assert!(succeeded >= orders.len() / 2, "most are obeyed: {succeeded} of {}", orders.len());
    assert!(
        orders.iter().all(|order| told_of(&watcher.heard(), order).iter().all(|body| body["id"] == order.id))
    );
}
