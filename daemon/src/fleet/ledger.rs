//! What became of each command, on record before it is obeyed, so that none is obeyed twice.
//!
//! ```text
//! (arrives) ──► accepted ──► executing ──► succeeded | failed | rejected
//!     │            └──────────► expired
//!     └──► rejected | expired
//! ```
//! One file a command in `DATA/fleet/commands`, and beside them the highest counter of each sender and the latest time
//! that was ever known (`DATA/fleet/counters.json`): outside the spool, so that a message that is played again after the
//! spool was rebuilt, or after the record of the command was thrown away, is known by its counter.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Refusal;
use crate::durable;

/// Version of both files.
const LEDGER_SCHEMA: u32 = 1;
/// Commands that are kept; of the oldest that are over nothing is known any more but that their counter was used.
const RECORDS_MAX: usize = 200;
/// Senders whose counters are kept; each is somebody with a key.
const SENDERS_MAX: usize = 1000;

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// On record, and about to be obeyed.
    Accepted,
    /// Being obeyed: after a restart nobody knows how far it came.
    Executing,
    /// Done.
    Succeeded,
    /// Begun, and not done.
    Failed,
    /// Refused by a rule, without effect.
    Rejected,
    /// It came, or was reached, too late.
    Expired,
}

impl CommandState {
    /// Nothing follows.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Accepted | Self::Executing)
    }

    /// Whether `next` may follow.
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Accepted => matches!(next, Self::Executing | Self::Rejected | Self::Expired),
            Self::Executing => matches!(next, Self::Succeeded | Self::Failed | Self::Rejected),
            _ => false,
        }
    }
}

/// A command on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Version of the file.
    pub schema: u32,
    /// Chosen by the sender.
    pub id: String,
    /// `start`, `reboot` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Key and name of the sender, joined by a slash.
    pub sender: String,
    /// The signed text's hash: the same id with another text is another command.
    pub digest: String,
    /// What it asks, to go on with after a restart.
    pub arguments: Value,
    /// When it expires, in ms since 1970.
    pub expires_ms: i64,
    /// Place among all commands of this station: higher came later.
    pub order: u64,
    /// Which boot it was accepted in.
    pub boot_id: String,
    /// Where it is.
    pub state: CommandState,
    /// Rule that refused it or by which it failed.
    pub rule: Option<String>,
    /// The same as a sentence.
    pub reason: Option<String>,
    /// What came of it.
    pub result: Option<Value>,
    /// The broker has this state.
    pub told: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Counters {
    schema: u32,
    /// The latest time that a trusted clock or a signed message ever told, in ms since 1970.
    known_ms: i64,
    /// Highest counter of each sender.
    senders: BTreeMap<String, u64>,
}

/// See the module.
pub struct Ledger {
    /// `None`: nothing survives, as of the simulated fleet.
    folder: Option<PathBuf>,
    records: BTreeMap<String, Recorded>,
    counters: Counters,
}

/// What a command turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// On record now, to be obeyed.
    New(Recorded),
    /// It was here before: the answer stands already.
    Known(Recorded),
}

impl Ledger {
    /// Reads what is on record below a data folder. Files that cannot be read are an error: without them a command could
    /// be obeyed twice.
    pub fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("fleet");
        let counters: Option<Counters> = durable::read_json(&folder.join("counters.json"))?;
        let mut records = BTreeMap::new();
        let commands = folder.join("commands");
        std::fs::create_dir_all(&commands)?;
        for entry in std::fs::read_dir(&commands)? {
            let path = entry?.path();
            // What a crash left half-written was never on record.
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            if let Some(recorded) = durable::read_json::<Recorded>(&path)? {
                known_schema(&path, recorded.schema)?;
                records.insert(recorded.id.clone(), recorded);
            }
        }
        let counters = counters.unwrap_or(Counters { schema: LEDGER_SCHEMA, ..Counters::default() });
        known_schema(&folder.join("counters.json"), counters.schema)?;
        Ok(Self { folder: Some(folder), records, counters })
    }

    /// One that lives as long as the process.
    pub fn in_memory() -> Self {
        let counters = Counters { schema: LEDGER_SCHEMA, ..Counters::default() };
        Self { folder: None, records: BTreeMap::new(), counters }
    }

    /// The latest time that is known for sure to have passed, in ms since 1970.
    pub fn known_ms(&self) -> i64 {
        self.counters.known_ms
    }

    /// A record by its id.
    pub fn get(&self, id: &str) -> Option<&Recorded> {
        self.records.get(id)
    }

    /// Those that are not over, and those whose last state the broker has not, in the order they came.
    pub fn open_ends(&self) -> Vec<Recorded> {
        let open = self.records.values().filter(|one| !one.state.is_over() || !one.told);
        let mut open: Vec<Recorded> = open.cloned().collect();
        open.sort_by_key(|one| one.order);
        open
    }

    /// Takes a command of a sender whose signature was verified: the one before, a refusal, or a new record. Nothing is
    /// obeyed before this has returned.
    pub fn hear(&mut self, mut recorded: Recorded, counter: u64, known_ms: i64) -> Result<Heard, Unheard> {
        if let Some(before) = self.records.get(&recorded.id) {
            return match before.digest == recorded.digest {
                true => Ok(Heard::Known(before.clone())),
                false => {
                    Err(refused("command-id-used", "Another command had this id before. Use a new one."))
                }
            };
        }
        let last = self.counters.senders.get(&recorded.sender).copied().unwrap_or_default();
        if counter <= last {
            let reason = format!(
                "Counter {counter} was used: the last one of this sender was {last}. It is a replay."
            );
            return Err(refused("command-replayed", &reason));
        }
        if last == 0 && self.counters.senders.len() >= SENDERS_MAX {
            return Err(refused("senders-too-many", "Too many senders: their counters could not be kept."));
        }
        recorded.schema = LEDGER_SCHEMA;
        recorded.order = self.records.values().map(|one| one.order).max().unwrap_or_default() + 1;
        self.write(&recorded)?;
        self.counters.senders.insert(recorded.sender.clone(), counter);
        self.counters.known_ms = self.counters.known_ms.max(known_ms);
        self.write_counters()?;
        self.records.insert(recorded.id.clone(), recorded.clone());
        Ok(Heard::New(recorded))
    }

    /// Notes where a command is now.
    pub fn put(&mut self, id: &str, state: CommandState, end: End) -> io::Result<Option<Recorded>> {
        let Some(mut recorded) = self.records.get(id).filter(|one| one.state.may_become(state)).cloned()
        else {
            tracing::error!(id, ?state, "a command cannot become this");
            return Ok(None);
        };
        recorded.state = state;
        recorded.told = false;
        recorded.result = end.result;
        (recorded.rule, recorded.reason) = match end.refusal {
            Some(refusal) => (Some(refusal.rule), Some(refusal.reason)),
            None => (None, None),
        };
        self.write(&recorded)?;
        self.records.insert(id.to_owned(), recorded.clone());
        Ok(Some(recorded))
    }

    /// The broker has `state` of a command. Returns commands that are over and go, so that nothing is kept of them there.
    pub fn told(&mut self, id: &str, state: CommandState) -> io::Result<Vec<Recorded>> {
        if let Some(recorded) = self.records.get_mut(id).filter(|one| one.state == state && !one.told) {
            recorded.told = true;
            let recorded = recorded.clone();
            // It is told once more after a crash, which harms nobody; only an end is worth a write.
            if state.is_over() {
                self.write(&recorded)?;
            }
        }
        self.forget_oldest()
    }

    fn forget_oldest(&mut self) -> io::Result<Vec<Recorded>> {
        let mut gone = Vec::new();
        while self.records.len() > RECORDS_MAX {
            let over = self.records.values().filter(|one| one.state.is_over() && one.told);
            let Some(oldest) = over.min_by_key(|one| one.order).map(|one| one.id.clone()) else { break };
            if let Some(path) = self.path(&oldest) {
                durable::remove(&path)?;
            }
            gone.extend(self.records.remove(&oldest));
        }
        Ok(gone)
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("commands").join(format!("{id}.json")))
    }

    fn write(&self, recorded: &Recorded) -> io::Result<()> {
        self.path(&recorded.id).map_or(Ok(()), |path| durable::write_json(&path, recorded))
    }

    fn write_counters(&self) -> io::Result<()> {
        let path = self.folder.as_ref().map(|folder| folder.join("counters.json"));
        path.map_or(Ok(()), |path| durable::write_json(&path, &self.counters))
    }
}

/// How a state came about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct End {
    /// Why not.
    pub refusal: Option<Refusal>,
    /// What came of it.
    pub result: Option<Value>,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), result: None }
    }
}

/// Why a command is not on record.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// By a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk did not take it: it is not obeyed, and may come again.
    #[error("the command cannot be put on record: {0}")]
    Disk(#[from] io::Error),
}

fn refused(rule: &str, reason: &str) -> Unheard {
    Unheard::Refused(Refusal::new(rule, reason))
}

fn known_schema(path: &Path, schema: u32) -> io::Result<()> {
    if schema == LEDGER_SCHEMA {
        return Ok(());
    }
    let what = format!(
        "{}: schema {schema}, this version reads {LEDGER_SCHEMA}: install the newer one",
        path.display()
    );
    Err(io::Error::other(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommandState as S;

    pub(super) fn recorded(id: &str) -> Recorded {
        Recorded {
            schema: LEDGER_SCHEMA,
            id: id.to_owned(),
            kind: "identify".to_owned(),
            sender: "hq/ana".to_owned(),
            digest: format!("digest of {id}"),
            arguments: Value::Null,
            expires_ms: 0,
            order: 0,
            boot_id: "b".to_owned(),
            state: S::Accepted,
            rule: None,
            reason: None,
            result: None,
            told: false,
        }
    }

    fn rule(heard: Result<Heard, Unheard>) -> String {
        match heard {
            Err(Unheard::Refused(refusal)) => refusal.rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_that_comes_twice_is_answered_from_its_record_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert!(matches!(ledger.hear(recorded("a"), 1, 0).unwrap(), Heard::New(_)));
        ledger.put("a", S::Executing, End::default()).unwrap();
        ledger.put("a", S::Succeeded, End::default()).unwrap();
        let mut again = Ledger::open(folder.path()).unwrap();
        match again.hear(recorded("a"), 1, 0).unwrap() {
            Heard::Known(known) => assert_eq!(known.state, S::Succeeded),
            other => panic!("{other:?}"),
        }
        let other = Recorded { digest: "another".into(), ..recorded("a") };
        assert_eq!(rule(again.hear(other, 2, 0)), "command-id-used");
    }

    #[test]
    fn a_replay_is_known_by_its_counter_when_the_records_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.hear(recorded("a"), 7, 1000).unwrap();
        std::fs::remove_dir_all(folder.path().join("fleet/commands")).unwrap();
        let mut rebuilt = Ledger::open(folder.path()).unwrap();
        assert_eq!(rule(rebuilt.hear(recorded("a"), 7, 0)), "command-replayed");
        assert_eq!(rebuilt.known_ms(), 1000);
        let other = Recorded { sender: "hq/ben".into(), ..recorded("b") };
        assert!(matches!(rebuilt.hear(other, 1, 0).unwrap(), Heard::New(_)), "each sender counts alone");
    }

    #[test]
    fn only_the_states_of_the_diagram_follow_each_other() {
        let all = [S::Accepted, S::Executing, S::Succeeded, S::Failed, S::Rejected, S::Expired];
        let follow = |from: S| all.into_iter().filter(|to| from.may_become(*to)).collect::<Vec<_>>();
        assert_eq!(follow(S::Accepted), [S::Executing, S::Rejected, S::Expired]);
        assert_eq!(follow(S::Executing), [S::Succeeded, S::Failed, S::Rejected]);
        assert!(all[2..].iter().all(|over| follow(*over).is_empty() && over.is_over()));
    }

    #[test]
    fn what_is_open_or_untold_is_taken_up_in_the_order_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        for (nth, id) in ["c", "b", "a"].into_iter().enumerate() {
            ledger.hear(recorded(id), nth as u64 + 1, 0).unwrap();
            ledger.put(id, S::Executing, End::default()).unwrap();
        }
        ledger.put("b", S::Succeeded, End::default()).unwrap();
        ledger.told("b", S::Succeeded).unwrap();
        ledger.put("a", S::Failed, End::default()).unwrap();
        let open = Ledger::open(folder.path()).unwrap().open_ends();
        assert_eq!(open.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    }

    #[test]
    fn the_oldest_that_are_over_and_told_go() {
        let mut ledger = Ledger::in_memory();
        for nth in 0..RECORDS_MAX + 2 {
            let id = format!("c{nth}");
            ledger.hear(recorded(&id), nth as u64 + 1, 0).unwrap();
            ledger.put(&id, S::Rejected, Refusal::new("r", "why").into()).unwrap();
        }
        assert!(ledger.told("c0", S::Accepted).unwrap().is_empty(), "untold ones stay");
        assert_eq!(ledger.told("c1", S::Rejected).unwrap()[0].id, "c1");
    }

    #[test]
    fn a_newer_version_s_record_is_not_read_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.hear(recorded("a"), 1, 0).unwrap();
        let path = folder.path().join("fleet/commands/a.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"schema\": 1", "\"schema\": 2");
        std::fs::write(&path, text).unwrap();
        assert!(Ledger::open(folder.path()).is_err());
    }
}
