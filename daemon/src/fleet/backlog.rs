//! Tells the fleet of the station's event log, in order and each event at least once.
//!
//! The log itself is the outbox: it is on disk before anything is sent. What is kept here is only how far the broker has
//! it, written after the telling, so a crash tells a few events again, with the same ids. A log that was begun anew is
//! known by the hash of the last event told.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use turnstage_cloud_sync::Sha256;
use turnstage_cloud_sync::mqtt::{Denied, Message, Post};
use turnstage_cloud_sync::spool::SpoolError;

use super::behind::Behind;
use super::message::{self, EventBody, Writer};
use super::topics::{Below, Topics};
use crate::durable;

/// Version of the file.
const CURSOR_SCHEMA: u32 = 1;
/// Events read at a time.
const PAGE: usize = 64;
/// Events on their way at a time.
const UNDER_WAY: usize = 16;
/// The cursor is written so often at most.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// A broker that takes no events, or a disk that gives none, is tried again after so long.
const AGAIN: Duration = Duration::from_secs(30);

/// How far the broker has the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cursor {
    schema: u32,
    /// Whose events were told.
    org: String,
    /// Sequence of the last one; 0 before the first.
    told: u64,
    /// Its hash, where one was told.
    hash: Option<Sha256>,
}

/// A cursor and its file.
struct Kept {
    cursor: Cursor,
    /// Nowhere in the simulated fleet.
    file: Option<PathBuf>,
    /// What the file says.
    written: Cursor,
    at: Instant,
}

impl Kept {
    fn new(cursor: Cursor, file: Option<PathBuf>) -> io::Result<Self> {
        if let Some(file) = &file {
            durable::write_json(file, &cursor)?;
        }
        Ok(Self { written: cursor.clone(), cursor, file, at: Instant::now() })
    }

    fn told(&mut self, sequence: u64, hash: Option<Sha256>) {
        (self.cursor.told, self.cursor.hash) = (sequence, hash);
        if self.at.elapsed() >= WRITE_EVERY {
            self.write();
        }
    }

    /// One that cannot be written costs some events told twice, with the same ids.
    fn write(&mut self) {
        self.at = Instant::now();
        let Some(file) = self.file.as_ref().filter(|_| self.cursor != self.written) else { return };
        match durable::write_json(file, &self.cursor) {
            Ok(()) => self.written = self.cursor.clone(),
            Err(error) => tracing::warn!(%error, "how far the fleet was told of events is not noted"),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.write();
    }
}

/// See the module.
pub struct Backlog {
    /// The station.
    pub behind: Arc<dyn Behind>,
    /// Where messages are handed in.
    pub post: Post,
    /// Names.
    pub topics: Topics,
    /// Envelopes.
    pub writer: Arc<Writer>,
    /// Most events told after an absence.
    pub back_max: u64,
    /// Where the cursor is kept; nowhere in the simulated fleet.
    pub file: Option<PathBuf>,
    /// Why the broker takes no events.
    pub denied: watch::Sender<Option<Denied>>,
}

impl Backlog {
    /// Tells and tells, until it is dropped.
    pub async fn run(&self) {
        let mut newest = self.behind.newest_event();
        let mut kept = loop {
            match self.open().await {
                Ok(kept) => break kept,
                Err(error) => tracing::warn!(%error, "how far the fleet was told of events cannot be read"),
            }
            sleep(AGAIN).await;
        };
        loop {
            newest.borrow_and_update();
            match self.tell_page(&mut kept).await {
                Ok(true) => {}
                Ok(false) => {
                    let changed = tokio::select! {
                        changed = newest.changed() => changed,
                        () = sleep(WRITE_EVERY) => {
                            kept.write();
                            newest.changed().await
                        }
                    };
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
                Err(why) => {
                    tracing::warn!(why, "events are not told to the fleet");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Tells one page; false if there was none.
    async fn tell_page(&self, kept: &mut Kept) -> Result<bool, String> {
        let outcome = match self.leave_out(kept).await {
            Ok(()) => self.tell_next(kept).await?,
            Err(denied) => Err(denied),
        };
        let denied = outcome.as_ref().err().cloned();
        self.denied.send_if_modified(|known| {
            let changed = *known != denied;
            *known = denied;
            changed
        });
        outcome.map_err(|denied| denied.to_string())
    }

    async fn tell_next(&self, kept: &mut Kept) -> Result<Result<bool, Denied>, String> {
        let told = self.behind.events(kept.cursor.told, PAGE).await.map_err(|error| error.to_string())?;
        if told.through <= kept.cursor.told {
            return Ok(Ok(false));
        }
        let each = told.events.into_iter().map(|event| async move {
            let (sequence, hash) = (event.sequence, event.hash);
            self.send(&self.writer.event(event)).await.map(|()| (sequence, hash))
        });
        let mut on_the_way = stream::iter(each).buffered(UNDER_WAY);
        while let Some(one) = on_the_way.next().await {
            match one {
                Ok((sequence, hash)) => kept.told(sequence, Some(hash)),
                Err(denied) => return Ok(Err(denied)),
            }
        }
        // What lies behind the last one and is nobody's of this organisation was looked at as well.
        if told.through > kept.cursor.told {
            kept.told(told.through, None);
        }
        Ok(Ok(true))
    }

    async fn send(&self, envelope: &message::Envelope<EventBody>) -> Result<(), Denied> {
        let topic = self.topics.topic(&Below::Event(envelope.body.kind.clone()));
        self.post.deliver(Message { topic, payload: message::bytes(envelope), retain: false }).await
    }

    /// After a very long absence only so much is told, and that it is so.
    async fn leave_out(&self, kept: &mut Kept) -> Result<(), Denied> {
        let newest = *self.behind.newest_event().borrow();
        let first = newest.saturating_sub(self.back_max);
        if first <= kept.cursor.told {
            return Ok(());
        }
        let body = EventBody {
            kind: "events.left-out".to_owned(),
            actor: "station".to_owned(),
            session: None,
            data: json!({ "after": kept.cursor.told, "through": first }),
            hash: None,
        };
        self.send(&self.writer.now(body)).await?;
        kept.told(first, None);
        Ok(())
    }

    async fn open(&self) -> Result<Kept, OpenFailed> {
        let org = self.behind.station().org;
        let newest = *self.behind.newest_event().borrow();
        let known = match &self.file {
            Some(file) => durable::read_json::<Cursor>(file)?,
            None => None,
        };
        let cursor = match known.filter(|cursor| cursor.schema == CURSOR_SCHEMA && cursor.org == org) {
            // What was before this station belonged to the fleet is not the fleet's.
            None => Cursor { schema: CURSOR_SCHEMA, org, told: newest, hash: None },
            Some(cursor) if self.is_in_log(&cursor, newest).await? => cursor,
            // The log was begun anew: all of it is news.
            Some(cursor) => Cursor { told: 0, hash: None, ..cursor },
        };
        Ok(Kept::new(cursor, self.file.clone())?)
    }

    async fn is_in_log(&self, cursor: &Cursor, newest: u64) -> Result<bool, SpoolError> {
        let Some(hash) = cursor.hash else { return Ok(cursor.told <= newest) };
        let there = self.behind.events(cursor.told.saturating_sub(1), 1).await?;
        Ok(there.events.first().is_some_and(|event| event.sequence == cursor.told && event.hash == hash))
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenFailed {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}
