//! Names and formats of the files below `media/`. Nothing here touches a disk.
//!
//! A sidecar holds the full records of one put, a session file the daemon's session document; both carry the hash of
//! their own content, so that a flipped bit shows, and together they can rebuild the index. Every name that comes from
//! outside passes through here, so that nothing can escape the folder.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::NewEvent;
use crate::queue::{Change, DecodeError, Key, RECORD_SCHEMA, Record, State};
use crate::spool::{NewFile, SpoolError};
use crate::{Sha256, canonical};

/// Version of sidecars and session files. Older ones are read, newer ones are refused.
pub const FILE_SCHEMA: u32 = 1;

/// Name of the session document beside the media.
pub const SESSION_FILE: &str = "session.json";

/// Ending of files that are being written.
pub const TEMPORARY: &str = ".tmp";

const NAME_BYTES_MAX: usize = 128;
const EXTENSION_BYTES_MAX: usize = 16;

/// Refuses a session id or file name that could leave its folder or surprise a shell.
pub fn check_name(what: &'static str, name: &str) -> Result<(), SpoolError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    let short: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(SpoolError::Invalid {
        what: format!(
            "{what} {short:?}: use 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - and no dot at the beginning"
        ),
    })
}

/// Refuses what cannot be stored, before anything is.
pub fn check_file(file: &NewFile) -> Result<(), SpoolError> {
    check_name("session", &file.facts.session)?;
    check_name("file name", &file.facts.file_name)?;
    let extension = &file.extension;
    let plain = extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || extension.is_empty() || extension.len() > EXTENSION_BYTES_MAX || extension == "json" {
        return Err(SpoolError::Invalid {
            what: format!(
                "extension {extension:?}: use 1 to {EXTENSION_BYTES_MAX} letters and digits, and not json, which \
                 names sidecars"
            ),
        });
    }
    let mut destinations = file.destinations.clone();
    destinations.sort();
    destinations.dedup();
    if destinations.len() != file.destinations.len() {
        return Err(SpoolError::Invalid {
            what: format!("destinations {:?}: one is named twice", destinations),
        });
    }
    Ok(())
}

/// Name of the media file of `sequence`.
pub fn media_name(sequence: u64, extension: &str) -> String {
    format!("{sequence:012}.{extension}")
}

/// Name of the sidecar of a put whose first file has this sequence.
pub fn sidecar_name(first: u64) -> String {
    format!("{first:012}.json")
}

/// The sequence that a media file or sidecar is named for.
pub fn sequence_of(name: &str) -> Option<u64> {
    let (digits, _) = name.split_once('.')?;
    (digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Whether a file of this name is a sidecar.
pub fn is_sidecar(name: &str) -> bool {
    sequence_of(name).is_some_and(|sequence| name == sidecar_name(sequence))
}

/// Why a sidecar or session file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer version wrote it.
    #[error("schema {found}, this program knows up to {known}: install the newer version")]
    TooNew {
        /// Found in it.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<DecodeError> for Unreadable {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooNew { found } => Self::TooNew { found, known: RECORD_SCHEMA },
            DecodeError::Broken(what) => Self::Damaged(what),
        }
    }
}

/// What stands beside the media of one put.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// Every record of the put.
    pub records: Vec<Record>,
    /// Old sequence by the new one that took its place.
    pub supersedes: BTreeMap<u64, u64>,
}

impl Sidecar {
    /// As written.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let records = serde_json::to_value(&self.records).map_err(|error| error.to_string())?;
        Ok(seal(json!({"schema": FILE_SCHEMA, "records": records, "supersedes": self.supersedes})))
    }

    /// As read; an error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut value = open_seal(bytes)?;
        let records = value["records"].as_array().ok_or_else(|| damaged("it has no records"))?;
        let records = records.iter().map(|record| Record::decode(record.to_string().as_bytes()));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let supersedes = serde_json::from_value(value["supersedes"].take())?;
        Ok(Self { records, supersedes })
    }
}

/// What stands in a session's folder about the session itself. Written before the index, it decides: what it says
/// has happened, and the index is completed from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionFile {
    /// Session.
    pub id: String,
    /// Hash of the first event of the log that the next field counts in; a rebuilt index begins a new log.
    pub log: Option<Sha256>,
    /// The newest event of the commit that wrote this.
    pub event: u64,
    /// The daemon's document.
    pub document: Option<Value>,
    /// Items of records that were moved to another one, by sequence.
    pub items: BTreeMap<u64, String>,
    /// Changes of that commit, to be done again when the index does not know it.
    pub changes: Vec<(Key, Change)>,
    /// Events of that commit.
    pub events: Vec<NewEvent>,
}

impl SessionFile {
    /// As written.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        value["schema"] = json!(FILE_SCHEMA);
        Ok(seal(value))
    }

    /// As read; an error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(serde_json::from_value(open_seal(bytes)?)?)
    }

    /// Sequences that the document says were released: the only thing that is read in it.
    pub fn released(&self) -> BTreeSet<u64> {
        let list = self.document.as_ref().and_then(|document| document.get("released")?.as_array());
        list.into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}

/// Takes a record from a sidecar into the index: nothing that happened after the put is known here, so it starts
/// anew; delivery is idempotent. One whose media were already deleted had been confirmed and stays so.
pub fn revive(record: &mut Record, superseded_by: Option<u64>, item: Option<&String>) {
    if record.media.is_empty() {
        return;
    }
    record.state = State::Captured;
    record.superseded_by = superseded_by;
    record.attempts = 0;
    record.next_attempt = None;
    record.failure = None;
    record.receipt = None;
    record.confirmed_at = None;
    if let Some(item) = item {
        record.facts.item.clone_from(item);
    }
}

fn seal(mut value: Value) -> Vec<u8> {
    value["sha256"] = json!(canonical::hash(&value));
    canonical::bytes(&value)
}

fn open_seal(bytes: &[u8]) -> Result<Value, Unreadable> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    let seal = value.as_object_mut().and_then(|map| map.remove("sha256"));
    if seal != Some(json!(canonical::hash(&value))) {
        return Err(damaged("its content is not what was written"));
    }
    // After the seal: a flipped bit must not look like a newer version.
    match value["schema"].as_u64().and_then(|schema| u32::try_from(schema).ok()) {
        Some(FILE_SCHEMA) => Ok(value),
        Some(found) if found > FILE_SCHEMA => Err(Unreadable::TooNew { found, known: FILE_SCHEMA }),
        _ => Err(damaged("it has no schema")),
    }
}

fn damaged(what: &str) -> Unreadable {
    Unreadable::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::test_support::record;

    fn sidecar() -> Sidecar {
        let mut records = vec![record(7, "s-1"), record(8, "s-1")];
        records[0].facts.item = "é\n\"x\"".to_owned();
        Sidecar { records, supersedes: BTreeMap::from([(3, 7)]) }
    }

    fn session_file() -> SessionFile {
        SessionFile {
            id: "s-1".to_owned(),
            log: Some(Sha256::of(b"log")),
            event: 12,
            document: Some(json!({"schema": 3, "released": [4, 5], "angle": 0.1})),
            items: BTreeMap::from([(4, "WVW2".to_owned())]),
            changes: vec![(record(4, "s-1").key, Change::MoveItem { item: "WVW2".to_owned() })],
            events: vec![],
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed_or_changes_nothing(at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = sidecar().encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(Sidecar::decode(&bytes).is_ok_and(|read| read == sidecar()) || Sidecar::decode(&bytes).is_err());
            let mut bytes = session_file().encode().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(SessionFile::decode(&bytes).map_or(true, |read| read == session_file()));
        }

        #[test]
        fn foreign_bytes_are_refused(bytes: Vec<u8>, json in "[\\[{][\"a-z0-9:,{}\\[\\]]{0,40}") {
            for bytes in [bytes.as_slice(), json.as_bytes()] {
                prop_assert!(Sidecar::decode(bytes).is_err());
                prop_assert!(SessionFile::decode(bytes).is_err());
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Sidecar::decode(&sidecar().encode().unwrap()), Ok(sidecar()));
        assert_eq!(SessionFile::decode(&session_file().encode().unwrap()), Ok(session_file()));
        assert_eq!(session_file().released(), BTreeSet::from([4, 5]));
        assert_eq!(SessionFile::default().released(), BTreeSet::new());
    }

    #[test]
    fn an_old_reader_takes_added_fields_and_refuses_a_newer_schema() {
        let rewrite = |bytes: Vec<u8>, change: fn(&mut Value)| {
            let mut value: Value = serde_json::from_slice(&bytes).unwrap();
            value.as_object_mut().unwrap().remove("sha256");
            change(&mut value);
            seal(value)
        };
        let newer = rewrite(sidecar().encode().unwrap(), |value| value["rig"] = json!("left"));
        assert_eq!(Sidecar::decode(&newer), Ok(sidecar()));
        let newer = rewrite(session_file().encode().unwrap(), |value| value["rig"] = json!("left"));
        assert_eq!(SessionFile::decode(&newer), Ok(session_file()));
        let next = |value: &mut Value| value["schema"] = json!(FILE_SCHEMA + 1);
        let too_new = Unreadable::TooNew { found: 2, known: 1 };
        assert!(too_new.to_string().contains("install the newer version"));
        assert_eq!(Sidecar::decode(&rewrite(sidecar().encode().unwrap(), next)), Err(too_new.clone()));
        assert_eq!(
            SessionFile::decode(&rewrite(session_file().encode().unwrap(), next)),
            Err(too_new.clone())
        );
        let next_record = |value: &mut Value| value["records"][1]["schema"] = json!(RECORD_SCHEMA + 1);
        assert_eq!(Sidecar::decode(&rewrite(sidecar().encode().unwrap(), next_record)), Err(too_new));
    }

    #[test]
    fn names_tell_their_sequence() {
        assert_eq!(sequence_of(&media_name(7, "jpg")), Some(7));
        assert_eq!(sequence_of(&sidecar_name(1_000_000_000_007)), Some(1_000_000_000_007));
        assert!(is_sidecar("000000000007.json") && !is_sidecar("000000000007.jpg"));
        assert!(!is_sidecar("0000000000007.json"), "written otherwise than we do");
        for name in ["7.jpg", "session.json", "00000000000x.jpg", "", "99999999999999999999999.jpg"] {
            assert_eq!(sequence_of(name), None, "{name}");
        }
    }
}
