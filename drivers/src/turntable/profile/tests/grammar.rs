//! Every built-in profile against a table that speaks its grammar, but badly: answers that are lost, cut, doubled, late,
//! out of order, not the ones that were asked for, with heartbeats within and noise between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::time::{Instant, sleep_until, timeout};

use crate::link::{Link, LinkError};
use crate::turntable::profile::{NAME, shelf};
use crate::turntable::{Moved, Position, Reference, Turntable, TurntableError, speak};
use crate::{Angle, DeviceOptions};

/// What is asked for in each case, degrees forward.
const WAY_DEG: f64 = 30.0;
/// Opening, finding zero and stopping ask a dozen questions at most, each of them answered or given up after a few seconds.
const QUESTIONS_LIMIT: Duration = Duration::from_secs(120);
const BEAT: Duration = Duration::from_secs(1);

/// How a table speaks that does everything right.
struct Grammar {
    id: &'static str,
    keys: &'static str,
    /// Beginnings of commands, and what answers them: the first that fits. `{pos}` is its place; what begins with `~`
    /// is said when it stands.
    answers: &'static [(&'static str, &'static [&'static str])],
    /// How the commands begin that turn it.
    turns: &'static [&'static str],
    /// Its positive degrees are ours.
    sign: f64,
    deg_s: f64,
    beats: bool,
    /// Other things that it can say.
    more: &'static [&'static str],
    demands: Demands,
}

/// What must have been heard since the turn was told, before anybody may call it done.
struct Demands {
    /// One of these words, so often.
    words: &'static [(&'static str, usize)],
    /// Or its place, behind this word, where it should stand.
    place: Option<&'static str>,
    /// Nothing is heard of its end: so much time must have passed.
    time: Option<Duration>,
}

const COMXIM_TURN: &[&str] = &["CR+OK;", "~CR+EVENT=TB_PAUSE;CR+EVENT=TB_END;"];
const REVOPOINT_MORE: &[&str] =
    &["+OK;", "+FAIL,ERR=001;", "+OK,TURNANGLE=-12.00;", "+OK,TOZERO;", "+DATA=0.00;"];

// The end of a way to zero is an end to the profile as well, once a turn can be over.
const REVOPOINT_DEMANDS: Demands = Demands { words: &[("+OK,TOZERO", 1)], place: Some("="), time: None };

const GRAMMARS: [Grammar; 7] = [
    Grammar {
        id: "comxim",
        keys: "",
        answers: &[
            ("#", &[]),
            ("CT+GETPN", &["PN=MT320;"]),
            ("CT+GETFWV", &["FWV=V2R04C02;"]),
            ("CT+GETOFFSETANGLE", &["OffsetAngle= {pos};"]),
            ("CT+TURNSINGLE", COMXIM_TURN),
            ("CT+TRUNSINGLE", COMXIM_TURN),
            ("", &["CR+OK;"]),
        ],
        turns: &["CT+TURNSINGLE", "CT+TRUNSINGLE"],
        sign: -1.0,
        deg_s: 20.0,
        beats: true,
        more: &["CR+OK;", "CR+ERR=40;", "CR+ERR=82;", "CR+EVENT=TB_PAUSE;", "OffsetAngle= -12.00;", "###"],
        demands: Demands { words: &[("CR+EVENT=TB_END", 1)], place: Some("OffsetAngle="), time: None },
    },
    Grammar {
        id: "revopoint-dual-axis",
        keys: "",
        answers: &[
            ("+QR,VERSION", &["+DATA=HW.V0.02,SW.V3.28;"]),
            ("+QT,CHANGEANGLE", &["+DATA={pos};"]),
            ("+CT,TURNANGLE", &["+OK;", "~+OK,TURNANGLE={pos}"]),
            ("", &["+OK;"]),
        ],
        turns: &["+CT,TURNANGLE"],
        sign: -1.0,
        deg_s: 10.0,
        beats: false,
        more: REVOPOINT_MORE,
        demands: REVOPOINT_DEMANDS,
    },
    Grammar {
        id: "revopoint-dual-axis",
        keys: "",
        answers: &[
            ("+QR,VERSION", &["+DATA=HW.V0.02,SW.V3.20;"]),
            ("+QT,CHANGEANGLE", &["+DATA={pos};"]),
            ("", &["+OK;"]),
        ],
        turns: &["+CT,TURNANGLE"],
        sign: -1.0,
        deg_s: 10.0,
        beats: false,
        more: REVOPOINT_MORE,
        demands: REVOPOINT_DEMANDS,
    },
    Grammar {
        id: "revopoint-ta500",
        keys: "",
        answers: &[
            ("#", &[]),
            ("CT+TRUNSINGLE", COMXIM_TURN),
            ("CT+TURNSINGLE", COMXIM_TURN),
            ("", &["CR+OK;"]),
        ],
        turns: &["CT+TURNSINGLE", "CT+TRUNSINGLE"],
        sign: -1.0,
        deg_s: 7.2,
        beats: true,
        more: &["CR+ERR=40;", "CR+ERR=82;", "CR+EVENT=TB_PAUSE;", "###"],
        demands: Demands { words: &[("CR+OK", 1), ("CR+EVENT=TB_END", 1)], place: None, time: None },
    },
    Grammar {
        id: "iconasys",
        keys: "",
        answers: &[
            ("v", &["Zcapture Mini 2.0 - Build V1.001H\r\n"]),
            ("x", &["~Steps for Shot - Completed\r\n"]),
            ("", &[]),
        ],
        turns: &["x"],
        sign: 1.0,
        deg_s: 15.0,
        beats: false,
        more: &["Zcapture Mid\r\n", "Steps for Shot\r\n", "\r\n"],
        demands: Demands { words: &[("Steps for Shot - Completed", 1)], place: None, time: None },
    },
    Grammar {
        id: "marlin",
        keys: "",
        answers: &[
            ("M115", &["FIRMWARE_NAME:Marlin 2.1.2.1 (Mar  4 2024)\n", "ok\n"]),
            ("M114", &["X:0.00 Y:0.00 Z:0.00 A:{pos} Count X:0 A:0\n", "ok\n"]),
            ("M400", &["~ok\n"]),
            ("", &["ok\n"]),
        ],
        turns: &["G1 A"],
        sign: 1.0,
        deg_s: 20.0,
        beats: false,
        more: &[
            "ok\n",
            "echo:busy: processing\n",
            "start\n",
            "Error:Printer halted\n",
            "X:0.00 A:12.00 Count\n",
        ],
        demands: Demands { words: &[("ok\n", 2)], place: Some(" A:"), time: None },
    },
    Grammar {
        id: "photomechanics-legacy",
        keys: "steps_per_rev = 3600",
        answers: &[("#i", &["#i1.05\r\n"]), ("", &[])],
        turns: &["#p"],
        sign: 1.0,
        deg_s: 15.0,
        beats: false,
        more: &["#i2\r\n", "?\r\n"],
        demands: Demands { words: &[], place: None, time: Some(Duration::from_secs(2)) },
    },
];

/// What becomes of one answer on its way.
#[derive(Debug, Clone)]
enum Fate {
    Whole,
    Lost,
    Twice,
    /// Only so many of its bytes, and no more than all but two.
    Cut(usize),
    /// Behind noise.
    Noisy(Vec<u8>),
    /// So many milliseconds later.
    Late(u64),
    /// Behind the next one.
    Behind,
    /// Something else instead, which this table can say as well.
    Another(usize),
    /// With a heartbeat in its middle, of tables that give them.
    Beaten,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Whole),
        3 => Just(Fate::Lost),
        2 => Just(Fate::Twice),
        2 => (0_usize..40).prop_map(Fate::Cut),
        2 => prop::collection::vec(any::<u8>(), 1..60).prop_map(Fate::Noisy),
        2 => (1_u64..8000).prop_map(Fate::Late),
        2 => Just(Fate::Behind),
        2 => (0_usize..8).prop_map(Fate::Another),
        2 => Just(Fate::Beaten),
    ]
}

struct Table {
    grammar: &'static Grammar,
    fates: VecDeque<Fate>,
    outbox: Vec<(Instant, Vec<u8>)>,
    behind: Vec<u8>,
    beat_at: Instant,
    /// Commands that turned it, and when the last was told.
    turned: Vec<String>,
    begun: Option<Instant>,
    /// What was heard of it since.
    heard: Vec<u8>,
}

type Shared = Arc<Mutex<Table>>;

impl Table {
    fn new(grammar: &'static Grammar, fates: Vec<Fate>) -> Self {
        let (turned, begun, beat_at) = (Vec::new(), None, Instant::now() + BEAT);
        let (outbox, behind, heard) = (Vec::new(), Vec::new(), Vec::new());
        Self { grammar, fates: fates.into(), outbox, behind, beat_at, turned, begun, heard }
    }

    /// When it stands, if it was told to turn.
    fn rests_at(&self) -> Instant {
        let way = Duration::from_secs_f64(WAY_DEG / self.grammar.deg_s);
        self.begun.map_or_else(Instant::now, |begun| begun + way)
    }

    /// Where it says that it is at `when`.
    fn place(&self, when: Instant) -> f64 {
        let time = self.begun.map_or(0.0, |begun| when.saturating_duration_since(begun).as_secs_f64());
        self.grammar.sign * (time * self.grammar.deg_s).min(WAY_DEG)
    }

    fn hear(&mut self, command: &str) {
        let now = Instant::now();
        if self.grammar.turns.iter().any(|turn| command.starts_with(turn)) {
            self.turned.push(command.to_owned());
            self.begun = Some(now);
            self.heard.clear();
        }
        let answers = self.grammar.answers.iter().find(|(begins, _)| command.starts_with(begins));
        for text in answers.map_or(&[][..], |(_, answers)| answers) {
            let (due, text) = text.strip_prefix('~').map_or((now, *text), |text| (self.rests_at(), text));
            let due = due + Duration::from_millis(20);
            let text = text.replace("{pos}", &format!("{:.2}", self.place(due)));
            self.say(due, text.into_bytes());
        }
    }

    fn say(&mut self, due: Instant, text: Vec<u8>) {
        let (mut due, mut bytes) = (due, text);
        match self.fates.pop_front().unwrap_or(Fate::Whole) {
            Fate::Whole => {}
            Fate::Lost => return,
            Fate::Twice => bytes = bytes.repeat(2),
            Fate::Cut(count) => bytes.truncate(count.min(bytes.len().saturating_sub(2))),
            Fate::Noisy(noise) => bytes.splice(0..0, noise).for_each(drop),
            Fate::Late(ms) => due += Duration::from_millis(ms),
            Fate::Behind => return self.behind.extend(bytes),
            Fate::Another(which) => {
                bytes = self.grammar.more[which % self.grammar.more.len()].as_bytes().to_vec();
            }
            Fate::Beaten if self.grammar.beats => bytes.insert(bytes.len() / 2, b'#'),
            Fate::Beaten => {}
        }
        bytes.append(&mut self.behind);
        self.outbox.push((due, bytes));
    }

    /// What is due, in the order in which it is.
    fn due(&mut self) -> Vec<u8> {
        let now = Instant::now();
        if self.grammar.beats && self.beat_at <= now {
            self.beat_at = now + BEAT;
            self.outbox.push((now, b"#".to_vec()));
        }
        self.outbox.sort_by_key(|(due, _)| *due);
        let count = self.outbox.partition_point(|(due, _)| *due <= now);
        let said: Vec<u8> = self.outbox.drain(..count).flat_map(|(_, bytes)| bytes).collect();
        self.heard.extend(&said);
        said
    }

    fn next_at(&self) -> Option<Instant> {
        let beat = self.grammar.beats.then_some(self.beat_at);
        self.outbox.iter().map(|(due, _)| *due).chain(beat).min()
    }

    /// Whether anybody may say that the turn is done, by what was heard of it since it was told.
    fn was_told(&self) -> bool {
        let demands = &self.grammar.demands;
        // Heartbeats stand anywhere.
        let heard: String = self.heard.iter().filter(|byte| **byte != b'#').map(|b| char::from(*b)).collect();
        let is_there = |rest: &str| {
            let number: String = rest
                .trim_start_matches([' ', '+'])
                .chars()
                .take_while(|c| "-.0123456789".contains(*c))
                .collect();
            number.parse::<f64>().is_ok_and(|deg| (deg * self.grammar.sign - WAY_DEG).abs() <= 1.0)
        };
        demands.words.iter().any(|(word, count)| heard.matches(word).count() >= *count)
            || demands.place.is_some_and(|word| heard.split(word).skip(1).any(is_there))
            || demands.time.is_some_and(|time| self.begun.is_some_and(|begun| begun.elapsed() >= time))
    }
}

struct Wire(Shared);

#[async_trait]
impl Link for Wire {
    async fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        self.0.lock().unwrap().hear(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    async fn receive(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, LinkError> {
        let until = Instant::now() + limit;
        loop {
            let (said, next) = {
                let mut table = self.0.lock().unwrap();
                (table.due(), table.next_at())
            };
            if !said.is_empty() {
                into.extend_from_slice(&said);
                return Ok(said.len());
            }
            if Instant::now() >= until {
                return Err(LinkError::Silent { link: "grammar".to_owned(), limit });
            }
            sleep_until(next.map_or(until, |next| next.min(until))).await;
        }
    }

    fn name(&self) -> &str {
        "grammar"
    }
}

async fn opened(table: &Shared) -> Result<Box<dyn Turntable>, TurntableError> {
    let grammar = table.lock().unwrap().grammar;
    let text = format!("driver = {NAME:?}\nprofile = {:?}\n{}", grammar.id, grammar.keys);
    let options: DeviceOptions = toml::from_str(&text).unwrap();
    let opening = timeout(QUESTIONS_LIMIT, speak(&options, Box::new(Wire(table.clone()))));
    opening.await.unwrap_or_else(|_| panic!("{} is not opened within {QUESTIONS_LIMIT:?}", grammar.id))
}

/// Opens, turns and stops; the end of the turn, if it came to one.
async fn turned(grammar: &'static Grammar, opening: Vec<Fate>, turning: Vec<Fate>) -> Option<Moved> {
    let shared = Arc::new(Mutex::new(Table::new(grammar, opening)));
    let mut table = opened(&shared).await.ok()?;
    let id = grammar.id;
    shared.lock().unwrap().fates = turning.into();
    let zero = timeout(QUESTIONS_LIMIT, table.reference(Reference::At(Angle::new(0.0)))).await;
    let zero = zero.unwrap_or_else(|_| panic!("{id} does not find zero within {QUESTIONS_LIMIT:?}"));
    let limit = table.info().move_limit;
    let moved = timeout(limit, table.move_by(WAY_DEG)).await;
    let moved = moved.unwrap_or_else(|_| panic!("{id} does not end a turn within its {limit:?}"));
    {
        let told = shared.lock().unwrap();
        let mut each = told.turned.clone();
        each.dedup();
        assert_eq!(each, told.turned, "{id}: told twice; {moved:?}");
        if matches!(moved, Ok(Moved::Done(_))) {
            let heard = String::from_utf8_lossy(&told.heard).into_owned();
            assert!(told.was_told(), "{id}: {moved:?} of {heard:?}");
        }
        let ends = matches!(moved, Ok(Moved::Done(_) | Moved::Refused { .. }));
        let known = matches!(table.position(), Position::Known(..));
        assert!(ends || !known, "{id}: {:?} after {zero:?}, {moved:?}", table.position());
    }
    let stopped = timeout(QUESTIONS_LIMIT, table.stop()).await;
    drop(stopped.unwrap_or_else(|_| panic!("{id} is not stopped within {QUESTIONS_LIMIT:?}")));
    moved.ok()
}

/// On a clock of its own, which is paused.
fn in_its_time<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(what)
}

#[tokio::test(start_paused = true)]
async fn a_table_that_speaks_as_its_profile_says_turns_and_every_built_in_profile_has_one() {
    for grammar in &GRAMMARS {
        let moved = turned(grammar, Vec::new(), Vec::new()).await;
        let there = |angle: Angle| angle.distance(Angle::new(WAY_DEG)) < 0.1;
        assert!(matches!(moved, Some(Moved::Done(at)) if there(at)), "{}: {moved:?}", grammar.id);
    }
    for model in shelf::built_in() {
        assert!(GRAMMARS.iter().any(|grammar| grammar.id == model.id), "{} has no grammar here", model.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn answers_that_go_wrong_end_every_turn_in_its_time_and_none_is_done_without_those_that_its_profile_demands(
        which in 0..GRAMMARS.len(),
        opening in prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(fate(), 0..10)],
        turning in prop::collection::vec(fate(), 0..16),
    ) {
        drop(in_its_time(turned(&GRAMMARS[which], opening, turning)));
    }
}
