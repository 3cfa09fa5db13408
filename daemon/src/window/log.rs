//! The event log as somebody may see it, and what is put on record of people.
//!
//! An organisation sees what happened since the station is its own (V-13); an operator sees the station's events, their
//! own acts and their own sessions. What strangers are refused is on record, but not as often as they like: nobody in
//! reach fills the disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::{Commit, SpoolError};
use turnstage_cloud_sync::{Event, Spool};

use super::Window;
use crate::access::Visitor;
use crate::session::SessionDoc;

/// Refusals of one address that are put on record in one span.
const STRANGERS_MAX: u32 = 10;
/// That span.
const STRANGERS_SPAN: Duration = Duration::from_secs(60);
/// Addresses that are told apart; the oldest goes.
const ADDRESSES_MAX: usize = 1024;
/// Events read at a time.
const PAGE: usize = 256;

/// Events, and how far the log was read for them: go on from there.
pub struct Told {
    /// What may be seen, in order.
    pub events: Vec<Event>,
    /// Sequence of the last event looked at.
    pub through: u64,
}

/// How often addresses were refused lately.
pub(super) type Strangers = BTreeMap<String, (Instant, u32)>;

/// Since which event the station belongs to its organisation; kept in the data folder.
#[derive(Serialize, Deserialize)]
struct Owner {
    org: String,
    since: u64,
}

/// Reads since which event this is the station of `org`, and notes a change of owner. Without a data folder that can be
/// written the whole log counts as another one's.
pub fn owner_since(data: &Path, org: &str, spool: &Spool) -> u64 {
    let newest = *spool.changed().borrow();
    let path = data.join("owner.json");
    let owner = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Owner>(&bytes).ok());
    match owner {
        Some(owner) if owner.org == org => owner.since,
        before => {
            // A log without an owner was begun by this one, or before owners were noted.
            let since = if before.is_some() { newest } else { 0 };
            let owner = Owner { org: org.to_owned(), since };
            let bytes = serde_json::to_vec(&owner).unwrap_or_default();
            let new = path.with_extension("json.new");
            let kept = std::fs::create_dir_all(data)
                .and_then(|()| std::fs::write(&new, bytes))
                .and_then(|()| std::fs::rename(&new, &path));
            match kept {
                Ok(()) => since,
                Err(error) => {
                    tracing::warn!(%error, "the station's owner is not noted");
                    newest
                }
            }
        }
    }
}

impl Window {
    /// Up to `limit` events after `after` that the visitor may see, in order.
    pub async fn events(&self, visitor: &Visitor, after: u64, limit: usize) -> Result<Told, SpoolError> {
        let mut told = Told { events: Vec::new(), through: after.max(self.inner.since) };
        let mut seen: BTreeMap<String, bool> = BTreeMap::new();
        while told.events.len() < limit {
            let page = self.inner.spool.events(told.through, PAGE).await?;
            let Some(last) = page.last().map(|event| event.sequence) else { break };
            for event in page {
                if told.events.len() == limit {
                    return Ok(told);
                }
                told.through = event.sequence;
                if self.may_see_event(visitor, &event, &mut seen).await? {
                    told.events.push(event);
                }
            }
            told.through = last;
        }
        Ok(told)
    }

    async fn may_see_event(
        &self,
        visitor: &Visitor,
        event: &Event,
        seen: &mut BTreeMap<String, bool>,
    ) -> Result<bool, SpoolError> {
        let own = event.actor == visitor.actor.0;
        let Some(session) = &event.session else {
            let about_people = event.kind.starts_with("access.") || event.kind.starts_with("command.");
            let tells_others = event.kind == "upload.foreign-org";
            return Ok(!tells_others && (visitor.role.sees_all() || own || !about_people));
        };
        if let Some(seen) = seen.get(session) {
            return Ok(*seen);
        }
        let document = self.inner.spool.document(session).await?;
        let may = match document.map(|document| SessionDoc::read(&document)) {
            Some(Ok(doc)) => doc.org == *self.org() && self.may_see(visitor, session, &doc.actor).is_ok(),
            // Of what cannot be read nobody knows whose it is; a session that is not there hides nothing.
            Some(Err(_)) => false,
            None => visitor.role.sees_all() || own,
        };
        seen.insert(session.clone(), may);
        Ok(may)
    }

    /// Puts something on record that is no command; a disk that does not take it is told of in the log.
    pub async fn record(&self, event: NewEvent) {
        let commit = Commit { events: vec![event], ..Commit::default() };
        if let Err(error) = self.inner.spool.commit(commit).await {
            tracing::error!(%error, "something is not in the audit log");
        }
    }

    /// The same for what anybody in reach can cause, `from` one address: only so often a minute.
    pub async fn record_stranger(&self, from: &str, event: NewEvent) {
        let count = {
            let mut strangers = self.inner.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            if strangers.len() >= ADDRESSES_MAX && !strangers.contains_key(from) {
                let oldest =
                    strangers.iter().min_by_key(|(_, (since, _))| *since).map(|(from, _)| from.clone());
                oldest.map(|from| strangers.remove(&from));
            }
            let (since, count) = strangers.entry(from.to_owned()).or_insert((Instant::now(), 0));
            if since.elapsed() > STRANGERS_SPAN {
                (*since, *count) = (Instant::now(), 0);
            }
            *count = count.saturating_add(1);
            *count
        };
        match count {
            ..=STRANGERS_MAX => self.record(event).await,
            _ => tracing::warn!(
                from,
                kind = event.kind,
                "refused again; not put on record for the rest of a minute"
            ),
        }
    }
}
