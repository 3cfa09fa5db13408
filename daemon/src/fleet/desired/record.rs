//! What the audit log says of a manager's configuration: each step with its actor, its version and the hash of its document.

use serde_json::{Value, json};
use turnstage_cloud_sync::Sha256;
use turnstage_cloud_sync::event::NewEvent;

use super::Problem;
use super::store::Version;
use crate::audit;
use crate::command::Actor;

/// Problems that one entry tells; of further ones only the number.
const PROBLEMS_MAX: usize = 50;

/// One was found good.
pub fn offered(version: &Version, actor: &Actor) -> NewEvent {
    let recipes: Vec<&String> = version.recipes.keys().collect();
    let data = json!({
        "version": version.version, "document": version.document, "config": version.config, "recipes": recipes,
    });
    audit::entry("config.offered", actor, None, data)
}

/// One was not taken.
pub fn refused(
    (version, document): (u64, &Sha256),
    actor: &Actor,
    (rule, reason): (&str, &str),
    problems: &[Problem],
) -> NewEvent {
    let told = &problems[..problems.len().min(PROBLEMS_MAX)];
    let data = json!({
        "version": version, "document": document, "rule": rule, "reason": reason, "problems": told,
        "problems_left_out": problems.len() - told.len(),
    });
    audit::entry("config.refused", actor, None, data)
}

/// One takes the place of another; where keys need it, by a restart.
pub fn applied(version: &Version, before: u64, restart_keys: &[String]) -> NewEvent {
    let data = json!({ "before": before, "restart_keys": restart_keys });
    about("config.applied", version, &Actor(version.actor.clone()), data)
}

/// The link was there with it.
pub fn in_use(version: &Version) -> NewEvent {
    about("config.in-use", version, &station(), json!({}))
}

/// It failed its trial, or a person at the station took it back.
pub fn rolled_back(version: &Version, to: u64, reason: &str, actor: &Actor) -> NewEvent {
    about("config.rolled-back", version, actor, json!({ "to": to, "reason": reason }))
}

/// The station by itself.
pub fn station() -> Actor {
    Actor("station".to_owned())
}

fn about(kind: &str, version: &Version, actor: &Actor, mut data: Value) -> NewEvent {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("version".to_owned(), version.version.into());
        fields.insert("document".to_owned(), json!(version.document));
    }
    audit::entry(kind, actor, None, data)
}
