//! What waits for the broker, what is on its way, and what comes next. Pure: no socket, no clock, no library's types.
//!
//! ```text
//! latest ──► live ────┐                       ┌─ acked ──► settled
//!            (topics) ├─► next ─► in flight ──┼─ denied ─► settled
//! deliver ─► backlog ─┘    ^                  └─ lost ───┐
//!                          └────────── again ◄───────────┘
//! ```
//! - Live messages go before any backlog, and backlog fills three quarters of the window at most.
//! - The window counts from the oldest message that is not acknowledged, so a packet id is never used twice at a time.
//! - A broker numbers nothing: a packet id belongs to the messages in the order in which they left ([`Outbox::left`]).
//! - Where the broker ended the connection because of something that we sent, what was in flight is sent one at a time
//!   afterwards; what ends the connection alone, twice, is denied. One bad message never holds the others.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::{Denied, Figures, Message};

/// Most messages in flight.
pub(super) const WINDOW: u16 = 16;
/// Most live topics.
pub(super) const TOPICS_MAX: usize = 256;
/// A message that alone ended so many connections is denied.
const STRIKES_MAX: u8 = 2;
/// Longest topic that MQTT can carry, in bytes.
const TOPIC_BYTES_MAX: usize = u16::MAX as usize;
/// Reason codes of MQTT 5.
const TOPIC_INVALID: u8 = 144;
const TOO_LARGE: u8 = 149;
const UNSPECIFIED: u8 = 128;

/// Why a connection is no more, as far as messages are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It broke.
    Broken,
    /// The broker objects to something that we sent.
    Objection,
}

/// What became of a delivery.
pub(super) type Outcome = (u64, Result<(), Denied>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Newest message of each topic; retained ones stay here once told, to be told anew.
    live: BTreeMap<String, Live>,
    /// Topics whose newest message is to be sent, in this order.
    turn: VecDeque<String>,
    /// To be sent after them, in this order.
    backlog: VecDeque<Delivery>,
    /// Oldest first; `None` is acknowledged and waits for an older one.
    flight: VecDeque<Flight>,
    /// While connected.
    limits: Option<Limits>,
    /// Only this topic is still of interest, because we are leaving.
    farewell: Option<String>,
    /// Answers that are not yet told.
    settled: Vec<Outcome>,
    versions: u64,
    ids: u64,
    figures: Figures,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    window: usize,
    packet_bytes_max: usize,
}

#[derive(Debug)]
struct Live {
    message: Message,
    version: u64,
    told: bool,
    /// Sent before, as it is now.
    again: bool,
    suspicion: Suspicion,
}

#[derive(Debug)]
struct Delivery {
    id: u64,
    message: Message,
    again: bool,
    suspicion: Suspicion,
}

/// How much speaks for a message to be what the broker objects to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Suspicion {
    suspect: bool,
    strikes: u8,
}

#[derive(Debug)]
struct Flight {
    packet_id: Option<u16>,
    cargo: Option<Cargo>,
}

#[derive(Debug)]
enum Cargo {
    Live { topic: String, version: u64 },
    Delivery(Delivery),
}

impl Outbox {
    /// Takes a topic's newest message in place of any older one.
    pub fn latest(&mut self, message: Message) {
        if let Some(reason) = bad_topic(&message.topic) {
            self.figures.denied += 1;
            tracing::warn!(topic = %message.topic, reason, "a live message is dropped");
            return;
        }
        if self.live.len() >= TOPICS_MAX && !self.live.contains_key(&message.topic) {
            self.figures.crowded_out += 1;
            tracing::warn!(topic = %message.topic, topics_max = TOPICS_MAX, "too many live topics: one is dropped");
            return;
        }
        self.versions += 1;
        let topic = message.topic.clone();
        let live = Live {
            message,
            version: self.versions,
            told: false,
            again: false,
            suspicion: Suspicion::default(),
        };
        self.live.insert(topic.clone(), live);
        self.in_turn(topic, false);
    }

    fn in_turn(&mut self, topic: String, first: bool) {
        if self.turn.contains(&topic) {
            return;
        }
        if first { self.turn.push_front(topic) } else { self.turn.push_back(topic) }
    }

    /// Queues a delivery; its number, under which it is settled.
    pub fn deliver(&mut self, message: Message) -> u64 {
        self.ids += 1;
        let id = self.ids;
        match bad_topic(&message.topic) {
            Some(reason) => self.deny_delivery(id, message.topic, reason.to_owned(), TOPIC_INVALID),
            None => {
                let suspicion = Suspicion::default();
                self.backlog.push_back(Delivery { id, message, again: false, suspicion });
            }
        }
        id
    }

    /// Nobody waits for this delivery any more: not sent if it was not yet.
    pub fn withdraw(&mut self, id: u64) {
        self.backlog.retain(|delivery| delivery.id != id);
    }

    /// The broker accepts messages: at most `window` at a time, none of whose packets has more than `packet_bytes_max`.
    ///
    /// All retained live state is said anew. Meanwhile the broker may have published the last will, or have come back from
    /// an older store with our session in it and yesterday's state; that it has a session of ours proves neither.
    pub fn connected(&mut self, window: u16, packet_bytes_max: usize) {
        self.limits = Some(Limits { window: window.clamp(1, WINDOW).into(), packet_bytes_max });
        self.figures.connects += 1;
        let anew: Vec<_> =
            self.live.iter().filter(|(_, live)| live.told).map(|(topic, _)| topic.clone()).collect();
        for topic in anew {
            if let Some(live) = self.live.get_mut(&topic) {
                (live.told, live.again) = (false, true);
            }
            self.in_turn(topic, false);
        }
    }

    /// The next message to send, which is in flight from now on. To be called in the order of sending.
    pub fn next(&mut self) -> Option<Message> {
        let limits = self.limits?;
        loop {
            let alone = self.flight.iter().any(|flight| self.is_suspect(flight));
            if self.flight.len() >= limits.window || alone {
                return None;
            }
            let (message, cargo, again) = match self.next_live() {
                Some(found) => found,
                None => self.next_delivery(limits)?,
            };
            if packet_bytes(&message) > limits.packet_bytes_max {
                let reason = format!(
                    "its packet has {} bytes and the limit is {}: send less, or raise max_packet_size",
                    packet_bytes(&message),
                    limits.packet_bytes_max
                );
                self.settle(cargo, Err((TOO_LARGE, reason)));
                continue;
            }
            self.figures.sent += 1;
            self.figures.resent += u64::from(again);
            self.figures.bytes_out += packet_bytes(&message) as u64;
            self.flight.push_back(Flight { packet_id: None, cargo: Some(cargo) });
            return Some(message);
        }
    }

    fn next_live(&mut self) -> Option<(Message, Cargo, bool)> {
        // One topic only while leaving; one message only while a suspect is tried.
        let place = match &self.farewell {
            Some(farewell) => self.turn.iter().position(|topic| topic == farewell)?,
            None => 0,
        };
        let live = self.live.get(self.turn.get(place)?)?;
        if live.suspicion.suspect && self.busy() {
            return None;
        }
        let cargo = Cargo::Live { topic: live.message.topic.clone(), version: live.version };
        let found = (live.message.clone(), cargo, live.again);
        self.turn.remove(place);
        Some(found)
    }

    fn next_delivery(&mut self, limits: Limits) -> Option<(Message, Cargo, bool)> {
        let share = (limits.window * 3 / 4).max(1);
        let flying = |flight: &&Flight| matches!(flight.cargo, Some(Cargo::Delivery(_)));
        let full = self.flight.iter().filter(flying).count() >= share;
        // A live message that has to wait is not overtaken.
        if full || self.farewell.is_some() || !self.turn.is_empty() {
            return None;
        }
        if self.backlog.front()?.suspicion.suspect && self.busy() {
            return None;
        }
        let delivery = self.backlog.pop_front()?;
        Some((
            delivery.message.clone(),
            Cargo::Delivery(Delivery { again: true, ..delivery }),
            delivery.again,
        ))
    }

    fn busy(&self) -> bool {
        self.flight.iter().any(|flight| flight.cargo.is_some())
    }

    fn is_suspect(&self, flight: &Flight) -> bool {
        match &flight.cargo {
            Some(Cargo::Delivery(delivery)) => delivery.suspicion.suspect,
            Some(Cargo::Live { topic, version }) => {
                self.live.get(topic).is_some_and(|live| live.version == *version && live.suspicion.suspect)
            }
            None => false,
        }
    }

    /// The oldest message without a packet id left under this one.
    pub fn left(&mut self, packet_id: u16) {
        if let Some(flight) = self.flight.iter_mut().find(|flight| flight.packet_id.is_none()) {
            flight.packet_id = Some(packet_id);
        }
    }

    /// The broker took the message under this packet id, or denied it with code and reason.
    pub fn answered(&mut self, packet_id: u16, answer: Result<(), (u8, String)>) {
        let ours = |flight: &&mut Flight| flight.packet_id == Some(packet_id) && flight.cargo.is_some();
        let Some(cargo) = self.flight.iter_mut().find(ours).and_then(|flight| flight.cargo.take()) else {
            return;
        };
        while self.flight.front().is_some_and(|flight| flight.cargo.is_none()) {
            self.flight.pop_front();
        }
        self.figures.acked += u64::from(answer.is_ok());
        self.settle(cargo, answer);
    }

    fn settle(&mut self, cargo: Cargo, answer: Result<(), (u8, String)>) {
        match (cargo, answer) {
            (Cargo::Delivery(delivery), Ok(())) => self.settled.push((delivery.id, Ok(()))),
            (Cargo::Delivery(delivery), Err((code, reason))) => {
                self.deny_delivery(delivery.id, delivery.message.topic, reason, code);
            }
            (Cargo::Live { topic, version }, answer) => {
                if let Err((code, reason)) = answer {
                    self.figures.denied += 1;
                    tracing::warn!(topic, code, reason, "the broker does not take a live message");
                }
                let Some(live) = self.live.get_mut(&topic).filter(|live| live.version == version) else {
                    return;
                };
                live.told = true;
                live.suspicion = Suspicion::default();
                // What is not retained, or takes a retained one away, need not be told anew.
                if !live.message.retain || live.message.payload.is_empty() {
                    self.live.remove(&topic);
                }
            }
        }
    }

    fn deny_delivery(&mut self, id: u64, topic: String, reason: String, code: u8) {
        self.figures.denied += 1;
        self.settled.push((id, Err(Denied { topic, reason, code })));
    }

    /// The connection is no more. What was in flight is sent again, before anything that came after it.
    pub fn lost(&mut self, loss: Loss) {
        self.limits = None;
        let flying: Vec<Cargo> = self.flight.drain(..).filter_map(|flight| flight.cargo).collect();
        let alone = flying.len() == 1;
        for cargo in flying.into_iter().rev() {
            match cargo {
                Cargo::Delivery(mut delivery) => {
                    if loss == Loss::Objection && delivery.suspicion.is_proven(alone) {
                        self.settle(Cargo::Delivery(delivery), Err(objection()));
                    } else {
                        delivery.again = true;
                        self.backlog.push_front(delivery);
                    }
                }
                Cargo::Live { topic, version } => {
                    let live = self.live.get_mut(&topic).filter(|live| live.version == version);
                    let Some(live) = live else { continue };
                    if loss == Loss::Objection && live.suspicion.is_proven(alone) {
                        self.settle(Cargo::Live { topic, version }, Err(objection()));
                    } else {
                        live.again = true;
                        self.in_turn(topic, true);
                    }
                }
            }
        }
    }

    /// From now on only this goes out, until the connection ends.
    pub fn leave(&mut self, farewell: Message) {
        self.farewell = Some(farewell.topic.clone());
        self.latest(farewell);
    }

    /// Whether the farewell arrived.
    pub fn has_left(&self) -> bool {
        let told = |topic: &String| self.live.get(topic).is_none_or(|live| live.told);
        self.farewell.as_ref().is_some_and(told)
    }

    /// What became of deliveries since this was last asked.
    pub fn settled(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.settled)
    }

    /// Bytes that are no publishes of ours.
    pub fn count(&mut self, bytes_out: usize, bytes_in: usize) {
        self.figures.bytes_out += bytes_out as u64;
        self.figures.bytes_in += bytes_in as u64;
    }

    /// Counters now.
    pub fn figures(&self) -> Figures {
        let flying = |flight: &&Flight| matches!(flight.cargo, Some(Cargo::Delivery(_)));
        Figures {
            waiting_latest: self.live.values().filter(|live| !live.told).count(),
            waiting_deliveries: self.backlog.len() + self.flight.iter().filter(flying).count(),
            ..self.figures
        }
    }
}

impl Suspicion {
    /// Another connection ended with this message in flight: whether it is to blame beyond doubt.
    fn is_proven(&mut self, alone: bool) -> bool {
        self.suspect = true;
        self.strikes += u8::from(alone);
        self.strikes >= STRIKES_MAX
    }
}

fn objection() -> (u8, String) {
    let reason = "the broker ends the connection whenever it is sent: see the broker's log for what it minds";
    (UNSPECIFIED, reason.to_owned())
}

fn bad_topic(topic: &str) -> Option<&'static str> {
    match topic {
        "" => Some("a topic cannot be empty"),
        _ if topic.contains(['+', '#', '\0']) => Some("a topic cannot have +, # or a zero byte"),
        _ if topic.len() > TOPIC_BYTES_MAX => Some("a topic cannot have more than 65,535 bytes"),
        _ => None,
    }
}

/// Length of the packet that carries a message at QoS 1 without properties (MQTT 5, section 3.3).
pub(super) fn packet_bytes(message: &Message) -> usize {
    let remaining = 2 + message.topic.len() + 2 + 1 + message.payload.len();
    let length = match remaining {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    };
    1 + length + remaining
}
