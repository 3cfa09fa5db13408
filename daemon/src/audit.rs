//! What the audit log says of commands: every one of them, with its actor, before it has an effect.
//!
//! The log is the spool's event log, a hash chain; these are its entries about people. `turnstage queue check`
//! verifies the chain.

use serde_json::json;
use turnstage_cloud_sync::event::NewEvent;

use crate::command::{Act, Actor, Refusal};

/// A command that is about to be obeyed.
pub fn accepted(id: &str, actor: &Actor, act: &Act, session: Option<&str>) -> NewEvent {
    entry(
        "command.accepted",
        actor,
        session,
        json!({ "command": id, "name": act.name(), "asked": asked(act) }),
    )
}

/// A command that a rule refused.
pub fn refused(id: &str, actor: &Actor, act: &Act, session: Option<&str>, refusal: &Refusal) -> NewEvent {
    let data = json!({
        "command": id, "name": act.name(), "asked": asked(act), "rule": refusal.rule, "reason": refusal.reason,
    });
    entry("command.refused", actor, session, data)
}

/// What was asked, without what proves a presence.
fn asked(act: &Act) -> serde_json::Value {
    let mut asked = json!(act);
    if let (Act::Arm { .. }, Some(fields)) = (act, asked.as_object_mut()) {
        fields.remove("code");
    }
    asked
}

/// Something that the station did by itself or for `actor`.
pub fn entry(kind: &str, actor: &Actor, session: Option<&str>, data: serde_json::Value) -> NewEvent {
    NewEvent { kind: kind.to_owned(), actor: actor.0.clone(), session: session.map(str::to_owned), data }
}
