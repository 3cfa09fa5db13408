//! A station that writes until it is killed, and the model that says what must be left of it.
//!
//! The writer prints `TRY <operation>` before and `ACK <sequences>` after each operation. Everything acknowledged must
//! be found; of the one tried last either all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::json;
use turnstage_cloud_sync::event::verify;
use turnstage_cloud_sync::queue::{Change, Proof, Receipt, State};
use turnstage_cloud_sync::spool::{Commit, Spool};
use turnstage_cloud_sync::store::Document;
use turnstage_cloud_sync::{Clock, Sha256};

use super::support::{TestClock, event, file, key, open};

const DIR: &str = "TURNSTAGE_TEST_SPOOL";
const SEED: &str = "TURNSTAGE_TEST_SEED";
const STEPS: &str = "TURNSTAGE_TEST_STEPS";

/// One operation, as told before it is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Operation {
    Put {
        session: String,
        sha256: Vec<Sha256>,
        supersedes: Option<u64>,
    },
    /// Without a document it goes to the index only.
    Commit {
        step: u64,
        session: String,
        changes: Vec<(u64, State)>,
        document: bool,
    },
}

/// A started writer.
pub struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// What must be found after any end.
#[derive(Debug, Clone, Default)]
pub struct Model {
    frames: BTreeMap<u64, Frame>,
    /// Step of the last commit by session.
    documents: BTreeMap<String, u64>,
    steps: BTreeSet<u64>,
    tried: Option<Operation>,
    /// Operations without an answer that had happened, and that had not.
    pub unanswered: (u64, u64),
}

#[derive(Debug, Clone, PartialEq)]
struct Frame {
    sha256: Sha256,
    state: State,
    superseded_by: Option<u64>,
}

impl Writer {
    /// Starts this binary again as a writer for `dir`; `wrap` may put something before or around it.
    pub fn start(dir: &Path, seed: u64, steps: Option<u64>, wrap: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "writer::writes_until_it_is_killed", "--nocapture", "--test-threads=1"]);
        Self::run(command, dir, seed, steps, wrap)
    }

    /// The same below another program, which is given with its arguments.
    pub fn start_below(program: &[&str], dir: &Path, seed: u64, steps: u64) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "writer::writes_until_it_is_killed", "--nocapture", "--test-threads=1"]);
        Self::run(command, dir, seed, Some(steps), |_| ())
    }

    fn run(
        mut command: Command,
        dir: &Path,
        seed: u64,
        steps: Option<u64>,
        wrap: impl FnOnce(&mut Command),
    ) -> Self {
        command.env(DIR, dir).env(SEED, seed.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(steps) = steps {
            command.env(STEPS, steps.to_string());
        }
        wrap(&mut command);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Follows it for this many acknowledgements, kills it somewhere in the next operation or the one after, and reads
    /// what it had still said.
    pub fn kill_after(mut self, acknowledgements: u64, model: &mut Model, rng: &mut fastrand::Rng) -> u64 {
        let mut seen = 0;
        while seen < acknowledgements {
            let Some(line) = self.lines.next() else { break };
            seen += u64::from(model.hear(&line.unwrap()));
        }
        // An operation takes some milliseconds, a look at a file about one thousandth of that.
        for _ in 0..rng.u32(0..8000) {
            std::fs::metadata("/").unwrap();
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for line in self.lines {
            seen += u64::from(model.hear(&line.unwrap()));
        }
        seen
    }

    /// Follows it to its own end.
    pub fn finish(mut self, model: &mut Model) -> u64 {
        let seen = self.lines.by_ref().map(|line| u64::from(model.hear(&line.unwrap()))).sum();
        assert!(self.child.wait().unwrap().success());
        seen
    }
}

impl Model {
    /// Takes a line of the writer; true for an acknowledgement.
    fn hear(&mut self, line: &str) -> bool {
        // The test harness writes its own words on the same line.
        if let Some(at) = line.find("TRY ") {
            self.tried = serde_json::from_str(&line[at + 4..]).ok();
        } else if let Some(at) = line.find("ACK ") {
            let sequences: Vec<u64> = serde_json::from_str(&line[at + 4..]).unwrap();
            let tried = self.tried.take().expect("acknowledged without being tried");
            self.done(tried, &sequences);
            return true;
        }
        false
    }

    fn done(&mut self, operation: Operation, sequences: &[u64]) {
        match operation {
            Operation::Put { sha256, supersedes, .. } => {
                for (sequence, sha256) in sequences.iter().zip(sha256) {
                    let frame = Frame { sha256, state: State::Captured, superseded_by: None };
                    assert!(self.frames.insert(*sequence, frame).is_none(), "{sequence} was given twice");
                }
                if let Some(old) = supersedes {
                    self.frames.get_mut(&old).unwrap().superseded_by = sequences.first().copied();
                }
            }
            Operation::Commit { step, session, changes, document } => {
                for (sequence, state) in changes {
                    self.frames.get_mut(&sequence).unwrap().state = state;
                }
                if document {
                    self.documents.insert(session, step);
                }
                self.steps.insert(step);
            }
        }
    }

    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Compares with what a newly opened spool has and takes over what happened of the operation tried last. Gives
    /// everything that is not as promised.
    pub async fn compare(&mut self, spool: &Spool) -> Vec<String> {
        let found = Found::read(spool).await;
        let mut wrong = found.wrong.clone();
        if let Some(operation) = self.tried.take() {
            match found.happened(&operation, self) {
                Ok(Some(sequences)) => {
                    self.unanswered.0 += 1;
                    self.done(operation, &sequences);
                }
                Ok(None) => self.unanswered.1 += 1,
                Err(half) => wrong.push(half),
            }
        }
        for (sequence, frame) in &self.frames {
            match found.frames.get(sequence) {
                None => wrong.push(format!("frame {sequence} is lost")),
                // A crash while it was being delivered.
                Some(other) if other.state == State::Queued && frame.state == State::Uploading => {}
                Some(other) if other != frame => {
                    wrong.push(format!("frame {sequence} is {other:?}, not {frame:?}"))
                }
                Some(_) => {}
            }
        }
        let extra = found.frames.keys().filter(|sequence| !self.frames.contains_key(sequence));
        wrong.extend(extra.map(|sequence| format!("frame {sequence} came from nowhere")));
        if found.documents != self.documents {
            wrong.push(format!("documents are {:?}, not {:?}", found.documents, self.documents));
        }
        if found.steps != self.steps {
            wrong.push(format!("events tell of steps {:?}, not {:?}", found.steps, self.steps));
        }
        for frame in self.frames.values_mut().filter(|frame| frame.state == State::Uploading) {
            frame.state = State::Queued;
        }
        wrong
    }
}

struct Found {
    frames: BTreeMap<u64, Frame>,
    documents: BTreeMap<String, u64>,
    steps: BTreeSet<u64>,
    wrong: Vec<String>,
}

impl Found {
    async fn read(spool: &Spool) -> Self {
        let mut found = Self {
            frames: BTreeMap::new(),
            documents: BTreeMap::new(),
            steps: BTreeSet::new(),
            wrong: Vec::new(),
        };
        let log = spool.events(0, usize::MAX).await.unwrap();
        let before = std::iter::once(None).chain(log.iter().map(Some));
        found.wrong.extend(
            before
                .zip(&log)
                .filter_map(|(previous, event)| verify(previous, event).err().map(|fault| fault.to_string())),
        );
        found.steps = log.iter().filter_map(|event| event.data["step"].as_u64()).collect();
        for document in spool.documents().await.unwrap() {
            found.documents.insert(document.id, document.value["step"].as_u64().unwrap());
        }
        for session in 0..4 {
            for record in spool.session_records(&format!("s-{session}")).await.unwrap() {
                let bytes = std::fs::read(spool.media_path(&record)).unwrap_or_default();
                if Sha256::of(&bytes) != record.sha256 {
                    found.wrong.push(format!("{} has wrong bytes", record.key));
                }
                let frame =
                    Frame { sha256: record.sha256, state: record.state, superseded_by: record.superseded_by };
                found.frames.insert(record.key.sequence, frame);
            }
        }
        found
    }

    /// The sequences of an operation that happened, nothing when it did not, an error when it did by half.
    fn happened(&self, operation: &Operation, model: &Model) -> Result<Option<Vec<u64>>, String> {
        match operation {
            Operation::Put { sha256, supersedes, .. } => {
                let new = self.frames.iter().filter(|(sequence, _)| !model.frames.contains_key(sequence));
                let (sequences, hashes): (Vec<_>, Vec<_>) =
                    new.map(|(sequence, frame)| (*sequence, frame.sha256)).unzip();
                let replaced = supersedes
                    .map(|old| self.frames.get(&old).is_some_and(|old| old.superseded_by.is_some()));
                match (hashes == *sha256, hashes.is_empty()) {
                    (true, _) if replaced != Some(false) => Ok(Some(sequences)),
                    (_, true) if replaced != Some(true) => Ok(None),
                    _ => Err(format!("a shot is half there: {sequences:?}, replaced: {replaced:?}")),
                }
            }
            Operation::Commit { step, session, changes, document } => {
                let now = |sequence: &u64, state: &State| {
                    let found = self.frames.get(sequence).map(|frame| frame.state);
                    // Falls back on opening.
                    found == Some(*state) || *state == State::Uploading && found == Some(State::Queued)
                };
                let told = self.steps.contains(step);
                let written = if *document { self.documents.get(session) == Some(step) } else { told };
                let changed = changes.iter().all(|(sequence, state)| now(sequence, state));
                let unchanged =
                    changes.iter().all(|(sequence, _)| now(sequence, &model.frames[sequence].state));
                match (told, written) {
                    (true, true) if changed => Ok(Some(Vec::new())),
                    (false, false) if unchanged => Ok(None),
                    _ => {
                        Err(format!("a commit is half there: event {told}, document {written}, {changes:?}"))
                    }
                }
            }
        }
    }
}

fn say(word: &str, what: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {}", serde_json::to_string(what).unwrap()).unwrap();
    out.flush().unwrap();
}

/// Does nothing in a test run; writes for ever when started by [`Writer`].
#[test]
fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rng = fastrand::Rng::with_seed(number(SEED).unwrap());
    runtime.block_on(write(Path::new(&dir), rng, number(STEPS).unwrap_or(u64::MAX)));
}

async fn write(dir: &Path, mut rng: fastrand::Rng, steps: u64) {
    let (spool, _) = open(dir);
    let mut states: BTreeMap<String, BTreeMap<u64, State>> = BTreeMap::new();
    for session in 0..4 {
        let session = format!("s-{session}");
        let records = spool.session_records(&session).await.unwrap();
        let live = records.into_iter().filter(|record| record.superseded_by.is_none());
        states.insert(session, live.map(|record| (record.key.sequence, record.state)).collect());
    }
    let first = *spool.changed().borrow() + 1;
    for step in first..first.saturating_add(steps) {
        let session = format!("s-{}", rng.u32(0..4));
        let known = states.get_mut(&session).unwrap();
        if steps != u64::MAX || rng.u32(0..3) > 0 || known.is_empty() {
            // A measured run puts single frames only.
            let cameras = if steps == u64::MAX { rng.u32(1..4) } else { 1 };
            put(&spool, &session, known, cameras, &mut rng).await;
        } else {
            change(&spool, &session, known, step, &mut rng).await;
        }
    }
    spool.close().await;
}

async fn put(
    spool: &Spool,
    session: &str,
    known: &mut BTreeMap<u64, State>,
    cameras: u32,
    rng: &mut fastrand::Rng,
) {
    let mut files = Vec::new();
    for camera in 0..cameras {
        let mut bytes = vec![0; rng.usize(1..40_000)];
        rng.fill(&mut bytes);
        files.push(file(session, camera, &bytes));
    }
    let captured = known.iter().find(|(_, state)| **state == State::Captured).map(|(sequence, _)| *sequence);
    files[0].supersedes = captured.filter(|_| cameras == 3);
    let sha256 = files.iter().map(|file| file.sha256).collect();
    let supersedes = files[0].supersedes;
    say("TRY", &Operation::Put { session: session.to_owned(), sha256, supersedes });
    let records = spool.put(files, vec![]).await.unwrap();
    let sequences: Vec<_> = records.iter().map(|record| record.key.sequence).collect();
    say("ACK", &sequences);
    known.extend(sequences.iter().map(|sequence| (*sequence, State::Captured)));
    if let Some(old) = supersedes {
        known.remove(&old);
    }
}

/// Moves every frame of the session on by one state, some by two; releases only together with the document.
async fn change(
    spool: &Spool,
    session: &str,
    known: &mut BTreeMap<u64, State>,
    step: u64,
    rng: &mut fastrand::Rng,
) {
    let mut changes = Vec::new();
    let document = rng.bool();
    for (sequence, state) in known.iter_mut() {
        let record = spool.record(&key(*sequence)).await.unwrap().unwrap();
        for _ in 0..rng.u32(1..3) {
            let (change, next) = match state {
                State::Captured if document => (Change::Release, State::Queued),
                State::Queued => (Change::Begin, State::Uploading),
                State::Uploading => {
                    let receipt = Receipt {
                        proof: Proof::Readback,
                        location: String::new(),
                        sha256: record.sha256,
                        derived: None,
                    };
                    (Change::Confirm(receipt, TestClock::default().now()), State::Confirmed)
                }
                State::Captured | State::Confirmed | State::Failed => break,
            };
            changes.push((key(*sequence), change));
            *state = next;
        }
    }
    let after = known.iter().map(|(sequence, state)| (*sequence, *state)).collect();
    say("TRY", &Operation::Commit { step, session: session.to_owned(), changes: after, document });
    let released = known.iter().filter(|(_, state)| **state != State::Captured).map(|(sequence, _)| sequence);
    let value = json!({"step": step, "released": released.collect::<Vec<_>>()});
    let documents = vec![Document { id: session.to_owned(), value }];
    let commit = Commit {
        documents: if document { documents } else { Vec::new() },
        changes,
        events: vec![event("step", json!({"step": step}))],
    };
    spool.commit(commit).await.unwrap();
    say("ACK", &Vec::<u64>::new());
}
