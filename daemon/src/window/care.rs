//! What those who look after a station ask of it beside its session, each act on record with its actor before it has an
//! effect.

use std::path::Path;

use serde_json::json;
use turnstage_cloud_sync::spool::SpoolError;

use super::Window;
use crate::audit;
use crate::care::Care;
use crate::command::{Actor, Refusal};
use crate::flags::{Flag, Flags};
use crate::identify::SECONDS_MAX;
use crate::session::SessionDoc;

impl Window {
    /// Flags, and whether the station shows itself.
    pub fn care(&self) -> &Care {
        &self.inner.care
    }

    /// Everything is kept below this folder.
    pub fn data(&self) -> &Path {
        &self.inner.data
    }

    /// Every session that is kept here, other organisations' too: to know what must not be named, and for nothing else.
    pub(crate) async fn everybodys(&self) -> Result<Vec<SessionDoc>, SpoolError> {
        let documents = self.inner.spool.documents().await?;
        Ok(documents.iter().filter_map(|document| SessionDoc::read(document).ok()).collect())
    }

    /// The station shows itself for so many seconds, at most [`SECONDS_MAX`]; 0 ends it.
    pub async fn identify(&self, actor: &Actor, seconds: u32) -> Result<(), Refusal> {
        if seconds <= SECONDS_MAX {
            self.record(audit::entry("station.identify", actor, None, json!({ "seconds": seconds }))).await;
        }
        self.inner.care.identify.ask(actor, seconds)
    }

    /// Sets or clears a flag; those that are set from now on.
    pub async fn set_flag(
        &self,
        actor: &Actor,
        name: &str,
        value: bool,
        reason: &str,
    ) -> Result<Vec<Flag>, Refusal> {
        Flags::check(name, value, reason)?;
        let data = json!({ "name": name, "value": value, "reason": reason });
        self.record(audit::entry("station.flag", actor, None, data)).await;
        let (flags, at) = (self.inner.care.flags.clone(), self.clock().now());
        let (name, reason, actor) = (name.to_owned(), reason.to_owned(), actor.clone());
        let set = move || flags.set(&name, value, &reason, &actor, &at).map(|()| flags.all());
        tokio::task::spawn_blocking(set).await.unwrap_or_else(|error| {
            Err(Refusal::new("storage-fault", format!("The flag is not set: {error}. Try again.")))
        })
    }
}
