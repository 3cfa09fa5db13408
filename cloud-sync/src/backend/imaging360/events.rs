//! Events as the service takes them (V-6).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::moment;
use crate::event::Event;

/// Body of `POST /events`. The hash is the id: it is the same whenever the event is sent, and no other station has it.
pub(super) fn body(events: &[Event], sessions: &BTreeMap<String, (String, String)>) -> Value {
    let events: Vec<Value> = events.iter().map(|event| one(event, sessions)).collect();
    json!({ "events": events })
}

fn one(event: &Event, sessions: &BTreeMap<String, (String, String)>) -> Value {
    let mut data = match &event.data {
        Value::Object(data) => data.clone(),
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("value".to_owned(), other.clone())]),
    };
    data.insert("actor".to_owned(), json!(event.actor));
    data.insert("clock".to_owned(), json!(event.at.quality));
    if let Some(session) = &event.session {
        data.insert("client_session_id".to_owned(), json!(session));
    }
    let mut told = json!({
        "id": event.hash,
        "type": event.kind,
        "at": moment::rfc3339(event.at.wall_ms),
        "data": data,
    });
    // Only once a picture of it went: until then the service does not know it.
    if let Some((_, id)) = event.session.as_ref().and_then(|session| sessions.get(session)) {
        told["session_id"] = json!(id);
    }
    told
}
