//! The event log: everything that must not be missed, in order, as a hash chain.
//!
//! Events are appended in the same batch as the change that they tell of. Each carries the hash of the one before,
//! so that a removed or altered line shows; audit, panel and telemetry all read this one log.

use serde::{Deserialize, Serialize};

use crate::{Sha256, Stamp, canonical};

/// Version of [`Event`] as stored.
pub const EVENT_SCHEMA: u32 = 1;

/// Something that happened, before it has its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// `command.accepted`, `frame.captured`, `session.released`, `frame.confirmed` and so on.
    pub kind: String,
    /// Who caused it: `operator:ana`, `cli:root`, `station`.
    pub actor: String,
    /// Session it belongs to, if any.
    pub session: Option<String>,
    /// The rest, by kind.
    pub data: serde_json::Value,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`EVENT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Place in the log, from 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: Stamp,
    /// See [`NewEvent::kind`].
    pub kind: String,
    /// See [`NewEvent::actor`].
    pub actor: String,
    /// See [`NewEvent::session`].
    pub session: Option<String>,
    /// See [`NewEvent::data`].
    pub data: serde_json::Value,
    /// Hash of the event before; of nothing for the first.
    pub previous: Sha256,
    /// Hash of all the above.
    pub hash: Sha256,
}

/// Where and how the log does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is missing, doubled or out of order.
    #[error("event {found} follows event {previous}: lines are missing, doubled or out of order")]
    Order {
        /// Sequence before it, 0 at the beginning.
        previous: u64,
        /// Sequence found.
        found: u64,
    },
    /// It was written after another line than the one that stands before it.
    #[error("event {sequence} does not follow the line before it: that line was altered or replaced")]
    Chain {
        /// Sequence of the event.
        sequence: u64,
    },
    /// Its own content is not what was hashed.
    #[error("event {sequence} was altered")]
    Content {
        /// Sequence of the event.
        sequence: u64,
    },
}

impl Event {
    /// The event that follows `previous`, or the first of a log.
    pub fn append(previous: Option<&Event>, new: NewEvent, at: Stamp) -> Event {
        let mut event = Event {
            schema: EVENT_SCHEMA,
            sequence: previous.map_or(1, |event| event.sequence + 1),
            at,
            kind: new.kind,
            actor: new.actor,
            session: new.session,
            data: new.data,
            previous: before(previous),
            hash: Sha256::of(b""),
        };
        event.hash = event.digest();
        event
    }

    /// Hash of every field but `hash`, as a JSON object in the form of [`crate::canonical`]. A new field therefore
    /// needs a new schema.
    fn digest(&self) -> Sha256 {
        canonical::hash(&serde_json::json!({
            "schema": self.schema,
            "sequence": self.sequence,
            "at": self.at,
            "kind": self.kind,
            "actor": self.actor,
            "session": self.session,
            "data": self.data,
            "previous": self.previous,
        }))
    }
}

/// Whether `event` is whole and follows `previous`, or begins a log.
pub fn verify(previous: Option<&Event>, event: &Event) -> Result<(), Broken> {
    let last = previous.map_or(0, |event| event.sequence);
    if event.sequence != last + 1 {
        return Err(Broken::Order { previous: last, found: event.sequence });
    }
    if event.previous != before(previous) {
        return Err(Broken::Chain { sequence: event.sequence });
    }
    if event.hash != event.digest() {
        return Err(Broken::Content { sequence: event.sequence });
    }
    Ok(())
}

fn before(previous: Option<&Event>) -> Sha256 {
    previous.map_or_else(|| Sha256::of(b""), |event| event.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockQuality;
    use serde_json::json;

    fn log(length: u64) -> Vec<Event> {
        let mut log: Vec<Event> = Vec::new();
        for nth in 0..length {
            let new = NewEvent {
                kind: "frame.captured".into(),
                actor: "operator:ana".into(),
                session: Some("s-1".into()),
                data: json!({"sequence": nth, "angle": 0.1 * nth as f64}),
            };
            let at = Stamp {
                wall_ms: 1_800_000_000_000,
                quality: ClockQuality::Synced,
                boottime_ms: nth,
                boot_id: "b".into(),
            };
            log.push(Event::append(log.last(), new, at));
        }
        log
    }

    fn first_fault(log: &[Event]) -> Option<Broken> {
        let before = std::iter::once(None).chain(log.iter().map(Some));
        before.zip(log).find_map(|(previous, event)| verify(previous, event).err())
    }

    #[test]
    fn a_log_that_went_to_disk_and_back_holds_together() {
        let text = serde_json::to_string(&log(20)).unwrap();
        let back: Vec<Event> = serde_json::from_str(&text).unwrap();
        assert_eq!(first_fault(&back), None);
    }

    #[test]
    fn an_altered_line_is_noticed_whichever_field_it_is() {
        let alterations: [fn(&mut Event); 8] = [
            |event| event.schema = 2,
            |event| event.at.wall_ms += 1,
            |event| event.kind = "frame.confirmed".into(),
            |event| event.actor = "operator:bob".into(),
            |event| event.session = None,
            |event| event.data["angle"] = json!(0.3),
            |event| event.previous = Sha256::of(b"x"),
            |event| event.hash = Sha256::of(b"x"),
        ];
        for (nth, alter) in alterations.iter().enumerate() {
            let mut log = log(5);
            alter(&mut log[2]);
            assert!(first_fault(&log).is_some(), "alteration {nth}");
        }
    }

    #[test]
    fn a_line_altered_together_with_its_hash_breaks_the_chain_behind_it() {
        let mut log = log(5);
        log[2].actor = "operator:bob".into();
        log[2].hash = log[2].digest();
        assert_eq!(first_fault(&log), Some(Broken::Chain { sequence: 4 }));
    }

    #[test]
    fn a_removed_and_a_reordered_line_are_noticed() {
        let mut removed = log(5);
        removed.remove(1);
        assert_eq!(first_fault(&removed), Some(Broken::Order { previous: 1, found: 3 }));
        let mut beheaded = log(5);
        beheaded.remove(0);
        assert_eq!(first_fault(&beheaded), Some(Broken::Order { previous: 0, found: 2 }));
        let mut reordered = log(5);
        reordered.swap(1, 2);
        assert_eq!(first_fault(&reordered), Some(Broken::Order { previous: 1, found: 3 }));
        let mut renumbered = log(5);
        renumbered.remove(1);
        renumbered.iter_mut().skip(1).for_each(|event| event.sequence -= 1);
        assert_eq!(first_fault(&renumbered), Some(Broken::Chain { sequence: 2 }));
    }
}
