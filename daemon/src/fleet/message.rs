//! What every payload of a station looks like: who and when around, the body within.
//!
//! JSON objects with a schema number. A receiver drops doubles by `id`, orders by `boot_id` and `sequence`, and looks at
//! `clock` before it believes `at`. An event that is sent again keeps its id.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::{ClockQuality, Event, Stamp};

use crate::clock::{self, SystemClock};

/// Version of [`Envelope`] and of the bodies.
pub const MESSAGE_SCHEMA: u32 = 1;
/// An event is late when it is sent so long after it happened.
const LATE_MS: u64 = 60_000;

/// A payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// [`MESSAGE_SCHEMA`] of the writer.
    pub schema: u32,
    /// The same message has the same id whenever it is sent.
    pub id: String,
    /// Which boot of the station's machine it tells of.
    pub boot_id: String,
    /// Of an event its place in the station's log; else counted up since the program started.
    pub sequence: u64,
    /// `2026-11-28T09:30:00.120Z`: the station's wall clock when it happened.
    pub at: String,
    /// How far to trust that clock.
    pub clock: ClockQuality,
    /// It was sent long after it happened: of an outage, not of now.
    pub late: bool,
    /// The message itself.
    pub body: T,
}

/// Writes envelopes of what is so now.
pub struct Writer {
    clock: SystemClock,
    /// Of this run of the program, so that two runs of one boot do not share ids.
    run: String,
    next: AtomicU64,
}

impl Writer {
    /// For one run of the program.
    pub fn new(clock: SystemClock) -> Self {
        Self { clock, run: uuid::Uuid::now_v7().simple().to_string(), next: AtomicU64::new(1) }
    }

    /// The clock.
    pub fn clock(&self) -> &SystemClock {
        &self.clock
    }

    /// What is so at this moment.
    pub fn now<T>(&self, body: T) -> Envelope<T> {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let at = self.clock.now();
        let id = format!("{}-{sequence}", self.run);
        envelope(id, sequence, &at, false, body)
    }

    /// An event of the log.
    pub fn event(&self, event: Event) -> Envelope<EventBody> {
        let hash = event.hash.to_string();
        let id = format!("e{}-{}", event.sequence, &hash[..16]);
        let now = self.clock.now();
        let same_boot = now.boot_id == event.at.boot_id;
        let late = !same_boot || now.boottime_ms.saturating_sub(event.at.boottime_ms) > LATE_MS;
        let Event { sequence, at, kind, actor, session, data, .. } = event;
        envelope(id, sequence, &at, late, EventBody { kind, actor, session, data, hash: Some(hash) })
    }
}

/// The bytes of a message.
pub fn bytes<T: Serialize>(envelope: &Envelope<T>) -> Bytes {
    // Nothing that is sent has keys that are no texts, the only thing that JSON cannot say.
    Bytes::from(serde_json::to_vec(envelope).unwrap_or_default())
}

fn envelope<T>(id: String, sequence: u64, at: &Stamp, late: bool, body: T) -> Envelope<T> {
    Envelope {
        schema: MESSAGE_SCHEMA,
        id,
        boot_id: at.boot_id.clone(),
        sequence,
        at: clock::utc(at.wall_ms),
        clock: at.quality,
        late,
        body,
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBody {
    /// `frame.captured`, `command.accepted` and so on.
    pub kind: String,
    /// Who caused it.
    pub actor: String,
    /// Session it belongs to, if any.
    pub session: Option<String>,
    /// The rest, by kind.
    pub data: serde_json::Value,
    /// Hash of the event in the station's chain; none of what is about the telling itself.
    pub hash: Option<String>,
}
