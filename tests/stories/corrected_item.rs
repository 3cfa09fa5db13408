//! A wrong number was scanned: what is corrected before a picture arrived arrives under the right one.

use axum::http::StatusCode;
use serde_json::json;
use turnstage_cloud_sync::queue::State;
use turnstage_tests::cloud::Fault;
use turnstage_tests::delivering::{Delivering, FRAMES};

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_corrected_after_a_failed_upload_is_corrected_at_the_cloud() {
    let station = Delivering::start().await;
    // The session is opened there with the wrong number, and no picture is proven.
    station.cloud.faults().script("PUT", "", u32::MAX, Fault::StripEcho);
    let id = station.released().await;
    station.until_all(&id, State::Failed).await;
    let opened = station.cloud.sessions();
    assert_eq!((opened.len(), opened[0].asked.item.as_str()), (1, "item-1"));

    let client = station.bench.client();
    assert_eq!(client.post("/api/v1/commands/open", json!({ "session": id })).await.status, StatusCode::OK);
    let moved = client.post("/api/v1/commands/move-item", json!({ "item": "item-2" })).await;
    assert_eq!(moved.json()["count"], FRAMES);
    station.cloud.faults().clear();
    assert_eq!(
        client.post("/api/v1/commands/requeue", json!({ "session": id })).await.json()["count"],
        FRAMES
    );
    station.delivered(&id).await;
    let opened = station.cloud.sessions();
    assert_eq!((opened.len(), opened[0].asked.item.as_str()), (1, "item-2"), "one session, the right item");
    // A finished session that was opened for this is nobody's work, and not the next person's to see.
    assert_eq!(client.get("/api/v1/status").await.json()["session"], json!(null));
    station.end().await;
}
