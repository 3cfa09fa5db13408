//! Scenario 7: a station that belongs to somebody else now. What it took before is neither shown nor sent until it is
//! back, and what the service calls somebody else's is parked with the service's own rule.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnstage::command::Act;
use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::queue::State;
use turnstage_tests::delivering::{Delivering, FRAMES, ORG};
use turnstage_tests::write_recipe;

const UNSENT: usize = 40;
const OTHER: &str = "org-b";

/// A session of the first organisation whose pictures did not go before the station was moved.
async fn unsent(station: &Delivering) -> Vec<Record> {
    write_recipe(&station.bench.data.path().join("recipes"), "turn40", UNSENT as u32, "");
    station.cloud.set_down(true).await;
    let id = station.bench.start("turn40").await;
    station.bench.settled(&id).await;
    station.bench.ask(Act::Release { accept: None }).await.expect("released");
    station.situation("offline").await;
    station.until_all(&id, State::Queued).await
}

/// Whatever is asked of the station, none of these pictures and nothing of their session comes to light.
async fn assert_hidden(station: &Delivering, records: &[Record]) {
    let id = records[0].facts.session.as_str();
    let client = station.bench.client();
    let status = station.get("/api/v1/status").await;
    let delivery = &status["delivery"];
    assert_eq!((&delivery["waiting"], &delivery["oldest_wall_ms"]), (&json!(0), &Value::Null));
    assert_eq!((&delivery["confirmed"], &delivery["failed"]), (&json!(FRAMES), &json!(0)));
    let queue = station.get("/api/v1/queue").await;
    assert_eq!((&queue["queued"], &queue["sessions"]), (&json!(0), &json!([])));
    assert_eq!(queue["confirmed"], FRAMES);
    let sessions = station.get("/api/v1/sessions?limit=500").await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1), "{sessions}");
    for text in [status, queue, sessions, station.get("/api/v1/events?limit=1000").await] {
        assert!(!text.to_string().contains(id), "{text}");
    }
    for path in [format!("/api/v1/sessions/{id}"), format!("/api/v1/sessions/{id}/records")] {
        assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for record in records {
        let frame = format!("/api/v1/frames/{}", record.key.sequence);
        for path in [format!("{frame}/thumbnail?side=150"), format!("{frame}/original")] {
            assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_moved_to_another_organisation_neither_shows_nor_sends_what_it_took_before() {
    let station = Delivering::start().await;
    let left = unsent(&station).await;
    let id = left[0].facts.session.clone();
    assert_eq!(left.len(), UNSENT);

    let station = station.moved_to(OTHER).await;
    station.cloud.set_down(false).await;
    let own = station.released().await;
    station.delivered(&own).await;
    // Neither a network that comes back nor a person moves them.
    station.bench.running.wake.reconnected();
    let asked = station.bench.client().post("/api/v1/commands/requeue", json!({})).await;
    assert_eq!(asked.json()["count"], 0, "{asked:?}");
    let second = station.released().await;
    station.delivered(&second).await;
    assert_eq!(station.bench.records(&id).await, left, "they lie here as they were");

    assert_eq!(station.asked("POST", "/presign").len(), 2 * FRAMES, "no address was asked for any of them");
    assert!(station.cloud.objects().keys().all(|key| key.starts_with("org/org-b/")));
    assert!(station.cloud.sessions().iter().all(|session| session.org_id == OTHER));
    assert!(!format!("{:?}", station.cloud.events()).contains(&id), "the service hears nothing of it");
    let told = station.events("upload.foreign-org").await;
    assert_eq!(told.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), [json!({ "org": ORG })]);
    assert!(station.events("upload.requeued").await.is_empty());
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_station_took_for_its_former_organisation_is_hidden_and_goes_when_it_is_back() {
    let station = Delivering::start().await;
    let left = unsent(&station).await;
    let station = station.moved_to(OTHER).await;
    station.cloud.set_down(false).await;
    let own = station.released().await;
    let others = station.delivered(&own).await;
    assert_hidden(&station, &left).await;

    let station = station.moved_to(ORG).await;
    let records = station.until_all(&left[0].facts.session, State::Confirmed).await;
    station.assert_stored(&records);
    assert_eq!(records.len(), UNSENT);
    assert!(records.iter().all(|record| record.attempts == 0));
    assert_eq!(station.cloud.objects().len(), UNSENT + FRAMES);
    let sessions = station.get("/api/v1/sessions?limit=500").await.to_string();
    assert!(!sessions.contains(&others[0].facts.session), "and what the other took is hidden now");
    station.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_service_calls_somebody_elses_is_parked_with_its_rule_and_not_sent_again() {
    let station = Delivering::start().await;
    let id = station.shot().await;
    station.cloud.service().give_session(&id, OTHER);
    station.release().await;
    let parked = station.until_all(&id, State::Failed).await;
    for record in &parked {
        assert_eq!((record.attempts, station.local(record)), (1, record.sha256));
    }
    let status = station.situation("refused").await;
    assert_eq!((&status["kind"], &status["sentence"]), (&json!("warn"), &json!("6 pictures were refused")));
    let waiting = station.waiting().await;
    let [(6, rule, reason)] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(rule, "session-not-owned");
    assert!(reason.contains("belongs to another organization"), "{reason}");
    assert!(reason.ends_with("settle it with 360 Imaging, then send it again"), "{reason}");
    assert_eq!(station.asked("POST", "/presign").len(), FRAMES);

    // Neither the network's return nor a restart asks for them again, while others go.
    station.bench.running.wake.reconnected();
    let other = station.released().await;
    station.delivered(&other).await;
    // Nor does a person of another organisation, who cannot know of them.
    let station = station.moved_to(OTHER).await;
    station.situation("ready").await;
    let asked = station.bench.client().post("/api/v1/commands/requeue", json!({ "session": id })).await;
    assert_eq!(asked.rule(), "session-unknown");
    let station = station.moved_to(ORG).await;
    let third = station.released().await;
    station.delivered(&third).await;
    assert_eq!(station.asked("POST", "/presign").len(), 3 * FRAMES);
    assert_eq!(station.bench.records(&id).await, parked);
    assert_eq!(station.cloud.objects().len(), 2 * FRAMES);
    station.end().await;
}
