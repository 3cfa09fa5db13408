//! The queue's records and the one function that changes their state.
//!
//! ```text
//!              release            due, online          proof
//!  captured ─────────────► queued ───────────► uploading ───────► confirmed
//!     │                      ▲ ▲                   │ │
//!     │ retaken              │ └──── later ────────┘ │ never, or too many attempts
//!     ▼                      │                       ▼
//!  captured, superseded      └───── requeue ───── failed (parked)
//! ```
//! A frame is promised from `captured` on. A crash in `uploading` falls back to `queued`: delivery is idempotent.
//! A superseded frame (a retake took its place) stays `captured` for history and is never delivered.

use serde::{Deserialize, Serialize};

use crate::{Sha256, Stamp};

/// Version of [`Record`] as stored. Older ones are read, newer ones are refused.
pub const RECORD_SCHEMA: u32 = 1;

/// What a record is about: (sequence, product, destination).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Counts every stored file of this station, for ever upwards; the order of things.
    pub sequence: u64,
    /// `original`, later `depth`, `mask`, `keypoints` and so on.
    pub product: String,
    /// Name of the destination in the configuration.
    pub destination: String,
}

/// Where a record stands. These five names are used on panel, API and telemetry (V-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Durable on this station.
    Captured,
    /// To be delivered.
    Queued,
    /// Being delivered.
    Uploading,
    /// Delivered, with proof.
    Confirmed,
    /// Parked with its reason, kept, re-queued by a person, a command or a reconnect.
    Failed,
}

/// What kind of proof stands behind `confirmed` (V-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Read back from the destination and hashed.
    Readback,
    /// The server said that its stored bytes have this hash.
    ServerAck,
    /// A signed checksum header was sent and echoed.
    ChecksummedPut,
}

/// What the destination proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// How it was proven.
    pub proof: Proof,
    /// Where it lies there: a path or object key.
    pub location: String,
    /// Hash that was proven: of the bytes that were delivered.
    pub sha256: Sha256,
    /// What they were made of; absent when they are the record's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derived>,
}

/// A destination has other bytes than are stored, made of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived {
    /// Hash of the stored bytes: the record's.
    pub from: Sha256,
    /// Bytes that were delivered.
    pub length: u64,
}

impl Receipt {
    /// Hash of the stored bytes that it stands for.
    pub fn stands_for(&self) -> Sha256 {
        self.derived.map_or(self.sha256, |derived| derived.from)
    }
}

/// Why an attempt did not end in `confirmed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable rule id, for example `destination-full`.
    pub rule: String,
    /// Plain sentence with what to do.
    pub reason: String,
}

/// Who and what a file belongs to. Opaque to the queue but for `session`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Organisation; a station moved to another one never sends the former's records (V-13).
    pub org: String,
    /// Site.
    pub site: String,
    /// What was photographed: VIN, barcode, number. Data, never a label.
    pub item: String,
    /// Session id.
    pub session: String,
    /// Name of the camera in the rig.
    pub camera: String,
    /// Place in the recipe's plan, from 0.
    pub shot: u32,
    /// 1 for the first picture of this place, 2 for its first retake and so on.
    pub take: u32,
    /// Asked of the table, in degrees.
    pub angle_commanded: Option<f64>,
    /// Reported by the table, in degrees.
    pub angle_reached: Option<f64>,
    /// Capture class: `durable` and, later, others.
    pub capture_class: String,
    /// Consent id, for persons.
    pub consent: Option<String>,
    /// Who commanded it.
    pub actor: String,
    /// Correlates everything that one command caused.
    pub trace_id: String,
    /// Name the file should have at the destination, without folders: `017_main_170.0.jpg`.
    pub file_name: String,
    /// For example `image/jpeg`.
    pub content_type: String,
    /// Hash of the camera's own bytes, before the privacy stage.
    pub sha256_captured: Sha256,
}

/// One file on its way to one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_SCHEMA`] of the writer.
    pub schema: u32,
    /// What it is about.
    pub key: Key,
    /// Where it stands.
    pub state: State,
    /// Whose it is.
    pub facts: Facts,
    /// Hash of the stored bytes: every promise is about this one.
    pub sha256: Sha256,
    /// Bytes.
    pub length: u64,
    /// Path of the media below the spool's `media` folder; empty once deleted after `keep_confirmed`.
    pub media: String,
    /// When it became durable.
    pub captured_at: Stamp,
    /// Sequence of the record that took its place.
    pub superseded_by: Option<u64>,
    /// Attempts made while online.
    pub attempts: u32,
    /// Not before this moment; of another boot = at once.
    pub next_attempt: Option<Stamp>,
    /// Why the last attempt did not succeed.
    pub failure: Option<Failure>,
    /// That failure is for good: a reconnect does not try it again.
    #[serde(default)]
    pub for_good: bool,
    /// What the destination proved.
    pub receipt: Option<Receipt>,
    /// When it was proven.
    pub confirmed_at: Option<Stamp>,
    /// Versioned metadata of the daemon: QC report, camera settings, time stamps. Opaque here.
    pub meta: serde_json::Value,
}

/// What may happen to a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// To be delivered from now on.
    Release,
    /// A retake took its place.
    Supersede {
        /// Sequence of the retake.
        by: u64,
    },
    /// The uploader took it.
    Begin,
    /// The destination proved it.
    Confirm(Receipt, Stamp),
    /// Try again at this moment; `counted` while online only (K5).
    Later {
        /// Not before.
        at: Stamp,
        /// Why.
        failure: Failure,
        /// It counts as an attempt.
        counted: bool,
    },
    /// Out of attempts: parked until a reconnect, a command or a person gives it new ones.
    Park(Failure),
    /// Trying again would not help: parked until a command or a person says so.
    Refuse(Failure),
    /// A person, a command or a reconnect says: once more, from attempt 0.
    Requeue,
    /// The process died while uploading.
    Recover,
    /// It belongs to another item: a wrong number was scanned.
    MoveItem {
        /// The right one.
        item: String,
    },
}

/// A change that the record's state does not allow. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {change} {key}: it is {state}")]
pub struct Refused {
    /// Which record.
    pub key: Key,
    /// Where it stands.
    pub state: State,
    /// What was asked, as a verb.
    pub change: &'static str,
}

/// Stored bytes that are no record of this program.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version.
    #[error(
        "a record of schema {found}, this program knows up to {RECORD_SCHEMA}: install the newer version again"
    )]
    TooNew {
        /// Schema found.
        found: u32,
    },
    /// No record at all, or a damaged one.
    #[error("not a record: {0}")]
    Broken(String),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Captured => "captured",
            State::Queued => "queued",
            State::Uploading => "uploading",
            State::Confirmed => "confirmed",
            State::Failed => "failed",
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} for \"{}\"", self.product, self.sequence, self.destination)
    }
}

impl Key {
    /// Bytes that sort as keys do: the sequence as 8 bytes, big end first, then each name with 00 written as 00 FF
    /// and ended by 00 00. No key's bytes are the beginning of another's.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12 + self.product.len() + self.destination.len());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        push_name(&mut bytes, &self.product);
        push_name(&mut bytes, &self.destination);
        bytes
    }

    /// The key whose [`Key::to_bytes`] these are.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (product, rest) = take_name(rest)?;
        let (destination, rest) = take_name(rest)?;
        rest.is_empty().then(|| Self { sequence: u64::from_be_bytes(*sequence), product, destination })
    }
}

/// Appends `name` so that it sorts as the name does and ends unmistakably.
pub(crate) fn push_name(bytes: &mut Vec<u8>, name: &str) {
    for byte in name.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xFF);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

/// Reverses [`push_name`]; gives the name and what follows it.
pub(crate) fn take_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0, after @ ..] => return Some((String::from_utf8(name).ok()?, after)),
            [0, 0xFF, after @ ..] => {
                name.push(0);
                rest = after;
            }
            [0, ..] | [] => return None,
            [byte, after @ ..] => {
                name.push(*byte);
                rest = after;
            }
        }
    }
}

impl Change {
    fn verb(&self) -> &'static str {
        match self {
            Change::Release => "release",
            Change::Supersede { .. } => "supersede",
            Change::Begin => "begin to upload",
            Change::Confirm(..) => "confirm",
            Change::Later { .. } => "postpone",
            Change::Park(_) => "park",
            Change::Refuse(_) => "refuse",
            Change::Requeue => "requeue",
            Change::Recover => "recover",
            Change::MoveItem { .. } => "move to another item",
        }
    }
}

impl Record {
    /// The one function that changes a record's state. Pure: an error leaves the record as it was.
    ///
    /// `Confirm` asks for a receipt that stands for this record's own hash; `Park` and `Refuse` count an attempt only when one was under
    /// way; `MoveItem` is refused once the destination may have read the old item.
    pub fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        let kept = self.superseded_by.is_none();
        match (change, self.state) {
            (Change::Release, State::Captured) if kept => self.queue(0),
            (Change::Supersede { by }, State::Captured) if kept && *by > self.key.sequence => {
                self.superseded_by = Some(*by);
            }
            (Change::Begin, State::Queued) => self.state = State::Uploading,
            (Change::Confirm(receipt, at), State::Uploading) if receipt.stands_for() == self.sha256 => {
                self.state = State::Confirmed;
                self.next_attempt = None;
                self.failure = None;
                self.receipt = Some(receipt.clone());
                self.confirmed_at = Some(at.clone());
            }
            (Change::Later { at, failure, counted }, State::Uploading) => {
                self.queue(self.attempts.saturating_add(u32::from(*counted)));
                self.next_attempt = Some(at.clone());
                self.failure = Some(failure.clone());
            }
            (Change::Park(failure), State::Queued | State::Uploading) => self.fail(failure, false),
            (Change::Refuse(failure), State::Queued | State::Uploading) => self.fail(failure, true),
            (Change::Requeue, State::Queued | State::Failed) => self.queue(0),
            (Change::Recover, State::Uploading) => self.queue(self.attempts),
            (Change::MoveItem { item }, State::Captured | State::Queued | State::Failed) => {
                self.facts.item.clone_from(item);
            }
            _ => return Err(Refused { key: self.key.clone(), state: self.state, change: change.verb() }),
        }
        Ok(())
    }

    fn fail(&mut self, failure: &Failure, for_good: bool) {
        self.attempts = self.attempts.saturating_add(u32::from(self.state == State::Uploading));
        self.state = State::Failed;
        self.next_attempt = None;
        self.failure = Some(failure.clone());
        self.for_good = for_good;
    }

    fn queue(&mut self, attempts: u32) {
        self.state = State::Queued;
        self.for_good = false;
        self.attempts = attempts;
        self.next_attempt = None;
        self.failure = None;
    }

    /// Whether a queued record may be tried now. A moment of another boot has passed: its clock is gone.
    pub fn due(&self, now: &Stamp) -> bool {
        self.state == State::Queued && self.next_attempt.as_ref().is_none_or(|at| passed(at, now))
    }

    /// As stored.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        serde_json::to_vec(self).map_err(|error| DecodeError::Broken(error.to_string()))
    }

    /// From what [`Record::encode`] of this or an older version wrote. Unknown fields of the same schema are
    /// skipped, so a version may add fields that an older one can do without.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let broken = |error: serde_json::Error| DecodeError::Broken(error.to_string());
        match serde_json::from_slice::<Version>(bytes).map_err(broken)?.schema {
            RECORD_SCHEMA => serde_json::from_slice(bytes).map_err(broken),
            0 => Err(DecodeError::Broken("schema 0 was never written".to_owned())),
            found => Err(DecodeError::TooNew { found }),
        }
    }
}

/// Whether `at` lies behind `now`, as far as the boot's own clock can say.
pub(crate) fn passed(at: &Stamp, now: &Stamp) -> bool {
    at.boot_id != now.boot_id || at.boottime_ms <= now.boottime_ms
}

#[cfg(test)]
mod tests;
