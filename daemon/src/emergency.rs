//! The wired emergency stop: which rigs need one, whether it passed today's self-test, and the test under way.
//!
//! A software stop is not an emergency stop (requirements, section 2). Persons on the table, platforms over 1 m, and tables
//! that turn on once their link is lost need a switch that takes the motor's power without this program. The station
//! cannot build that circuit; it can ask that the rig declares one, that a contact of it is heard of, and that a person saw
//! it work today: they begin the test, press the button, and release it. A press that nobody announced proves nothing,
//! because a loose wire looks the same.

mod need;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use turnstage_cloud_sync::Stamp;
use turnstage_cloud_sync::store::Document;
use turnstage_drivers::DeviceOptions;
use utoipa::ToSchema;

use crate::clock;
use crate::command::{Actor, Refusal};
use crate::config::{Config, Does};
use crate::io::Level;
use crate::recipe::{Motion, Recipe, Subject};
use crate::status::Fault;
use need::{may_carry_car, need};

pub use need::{Need, PLATFORM_M_MAX};

/// Each of the two acts may take so long.
pub const STEP: Duration = Duration::from_secs(60);
/// A contact that opens for less was not pressed by a hand.
pub const HELD_MIN: Duration = Duration::from_millis(200);
/// Version of [`Passed`] as stored.
const SCHEMA: u32 = 1;
/// Id of the document of the spool that keeps the last test; those of sessions are their own.
pub const DOCUMENT: &str = "emergency-stop";

/// What is in the way of motion that needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The rig declares none.
    None,
    /// Nobody knows which day it is.
    Clock,
    /// It was not tested today.
    Test,
}

/// How far a self-test is, or how the last one of this run ended where it did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// None was begun, or it passed.
    #[default]
    Idle,
    /// A person should press it now.
    Press,
    /// A person should release it now.
    Release,
    /// It was not pressed in time.
    NotPressed,
    /// It was not released in time.
    NotReleased,
    /// Its input was lost meanwhile.
    Lost,
    /// It was pressed and released, and that could not be put on record.
    NotKept,
}

impl Step {
    /// A person is about to do something.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Press | Self::Release)
    }
}

/// What a person is told of it; the words are in [`crate::words`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopState {
    /// The rig needs one and declares none.
    None,
    /// The clock is not set.
    Clock,
    /// It was not tested today.
    Untested,
    /// Its test waits for a press.
    Press,
    /// Its test waits for the release.
    Release,
    /// It is pressed, or its wire is cut.
    Pressed,
    /// Its input is not heard of.
    Lost,
}

impl StopState {
    /// What a test asks for, while one is under way.
    pub fn of_step(step: Step) -> Option<Self> {
        match step {
            Step::Press => Some(Self::Press),
            Step::Release => Some(Self::Release),
            _ => None,
        }
    }

    /// What a fault is about, if it is about this.
    pub fn of_rule(rule: &str) -> Option<Self> {
        Some(match rule.strip_prefix("emergency-stop-")? {
            "none" => Self::None,
            "clock" => Self::Clock,
            "untested" => Self::Untested,
            "pressed" => Self::Pressed,
            "lost" => Self::Lost,
            _ => return None,
        })
    }
}

/// A test that passed, as kept. It counts on its own day and for the contact as it was wired then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// [`SCHEMA`] of the writer.
    schema: u32,
    /// Local date in days since 1970-01-01.
    day: i64,
    /// The moment.
    at: Stamp,
    /// Name of the input, with its driver and keys.
    contact: String,
    /// Who began it.
    actor: String,
}

impl Passed {
    /// As kept; what is damaged or newer is as good as none, because a test is soon done again.
    pub fn read(document: &Document) -> Option<Self> {
        let passed: Self = serde_json::from_value(document.value.clone()).ok()?;
        (passed.schema <= SCHEMA).then_some(passed)
    }

    /// For the spool.
    pub fn document(&self) -> Document {
        Document { id: DOCUMENT.to_owned(), value: serde_json::json!(self) }
    }
}

/// What is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EmergencyStopStatus {
    /// Name of its input, if the rig declares one.
    pub input: Option<String>,
    /// The platform is over 1 m, is taken for it, or turns on without its link: nothing moves without today's self-test.
    pub needed: bool,
    /// Diameter of the platform in metres, if it is declared.
    pub platform_m: Option<f64>,
    /// It passed today's self-test.
    pub tested: bool,
    /// Local date of the last test that passed.
    pub tested_on: Option<String>,
    /// How far a test is.
    pub step: Step,
}

/// The state, shared by the input's task, which sees the contact, and the station, which asks for it.
#[derive(Debug, Clone)]
pub struct EmergencyStop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    input: Option<String>,
    contact: String,
    platform_m: Option<f64>,
    need: Option<Need>,
    /// Its size is not declared, and such tables carry cars as well as cups.
    may_carry_car: bool,
    state: watch::Sender<State>,
}

/// What is known of contact and test.
#[derive(Debug, Clone, Default)]
pub struct State {
    level: Level,
    passed: Option<Passed>,
    step: Step,
    until: Option<Instant>,
    pressed_at: Option<Instant>,
    begun_by: Option<Actor>,
    /// A test that is over and not on record yet.
    ended: Option<Ended>,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// [`Step::Idle`]: it was pressed and released in time.
    pub step: Step,
    /// Who began it.
    pub actor: Actor,
}

impl EmergencyStop {
    /// What a configuration declares.
    pub fn of(config: &Config) -> Self {
        let mut inputs = config.rig.inputs.iter();
        let declared = inputs.find(|(_, input)| input.does == Does::EmergencyStop);
        let contact = declared.map(|(name, input)| format!("{name} = {}", wiring(&input.device)));
        let platform_m = Some(config.motion.platform_m).filter(|metres| *metres > 0.0);
        let table = config.rig.turntable.as_ref();
        let shared = Shared {
            input: declared.map(|(name, _)| name.clone()),
            contact: contact.unwrap_or_default(),
            platform_m,
            need: table.and_then(|table| need(platform_m, table)),
            may_carry_car: platform_m.is_none() && table.is_some_and(may_carry_car),
            state: watch::channel(State::default()).0,
        };
        Self(Arc::new(shared))
    }

    /// Why nothing moves on this rig without it, whatever stands there, if so.
    pub fn need(&self) -> Option<Need> {
        self.0.need
    }

    /// Its input, if the rig declares one.
    pub fn input(&self) -> Option<&str> {
        self.0.input.as_deref()
    }

    /// Why sessions of this recipe need it, if they do.
    pub fn needed_by(&self, recipe: &Recipe) -> Option<Need> {
        match (recipe.motion, recipe.subject) {
            (Motion::None, _) => None,
            (_, Subject::Person) => Some(Need::Person),
            (_, Subject::Vehicle) if self.0.may_carry_car => Some(Need::Platform),
            _ => self.0.need,
        }
    }

    /// What is in the way now.
    pub fn lack(&self, now: &Stamp) -> Option<Lack> {
        let Some(today) = clock::day(now) else {
            return Some(if self.0.input.is_some() { Lack::Clock } else { Lack::None });
        };
        match &self.0.input {
            None => Some(Lack::None),
            Some(_) if self.passed().is_some_and(|passed| passed.day == today) => None,
            Some(_) => Some(Lack::Test),
        }
    }

    /// Refuses motion that needs it.
    pub fn check(&self, need: Need, now: &Stamp) -> Result<(), Refusal> {
        let Some(lack) = self.lack(now) else { return Ok(()) };
        let Fault { rule, todo, .. } = fault(lack, Some(need));
        let why = match (need, self.0.platform_m, lack) {
            (Need::Person, ..) => "A person stands on the table".to_owned(),
            (Need::RunsOn, ..) => {
                "Once its link is lost, nothing but a cut of its power ends a turn of this table".to_owned()
            }
            (Need::Platform, Some(metres), _) => format!("The platform is {metres} m across"),
            (Need::Platform, None, Lack::None) => {
                "Nothing says how large this platform is, and such tables carry cars".to_owned()
            }
            (Need::Platform, None, _) => "The platform is taken to be over 1 m".to_owned(),
        };
        let what = match lack {
            Lack::None => "no wired emergency stop is declared",
            Lack::Clock => {
                "the clock is not set, so nobody knows whether the emergency stop was tested today"
            }
            Lack::Test => "the emergency stop was not tested today",
        };
        Err(Refusal::new(&rule, format!("{why}, and {what}. {todo}")))
    }

    /// The same of a station at rest, where nothing turns without it.
    pub fn fault(&self, now: &Stamp) -> Option<Fault> {
        let need = self.0.need?;
        self.lack(now).map(|lack| fault(lack, Some(need)))
    }

    /// What was found on the disk: a test of another contact is none.
    pub fn take_up(&self, passed: Option<Passed>) {
        let passed = passed.filter(|passed| passed.contact == self.0.contact);
        self.0.state.send_modify(|state| state.passed = passed);
    }

    /// Whether a test may begin: it must be there, at rest, and the day known.
    pub fn may_begin(&self, now: &Stamp) -> Result<(), Refusal> {
        let refuse = |lack| {
            let Fault { rule, what, todo, .. } = fault(lack, self.0.need);
            Err(Refusal::new(&rule, format!("{what}. {todo}")))
        };
        let level = self.0.state.borrow().level;
        match (self.lack(now), level) {
            (Some(lack @ (Lack::None | Lack::Clock)), _) => refuse(lack),
            (_, Level::Released) => Ok(()),
            (_, Level::Pressed) => Err(Refusal::new(
                "emergency-stop-pressed",
                "The emergency stop is pressed. Release it, then begin its test.",
            )),
            (_, Level::Unknown) => Err(Refusal::new(
                "emergency-stop-lost",
                "The emergency stop has not been heard of. Check its cable, then begin its test.",
            )),
        }
    }

    /// A person is about to press it.
    pub fn begin(&self, actor: &Actor) {
        self.0.state.send_modify(|state| {
            state.step = Step::Press;
            state.until = Some(Instant::now() + STEP);
            state.begun_by = Some(actor.clone());
        });
    }

    /// Its contact opened, closed, or is not heard of any more.
    pub fn saw(&self, level: Level) {
        self.0.state.send_if_modified(|state| {
            let before = std::mem::replace(&mut state.level, level);
            let news = before != level;
            if news && state.step.is_under_way() {
                state.advance(level);
            }
            news
        });
    }

    /// Resolves when a step took too long, or its press lasted long enough.
    pub async fn overdue(&self) {
        let due = self.0.state.borrow().due();
        match due {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Goes on with a test whose press lasted long enough, or ends one whose step took too long.
    pub fn look(&self) {
        self.0.state.send_if_modified(|state| {
            let is_due = state.due().is_some_and(|due| due <= Instant::now());
            if is_due && state.step == Step::Press && state.is_held() {
                state.step = Step::Release;
                state.until = Some(Instant::now() + STEP);
            } else if is_due {
                state.late();
            }
            is_due
        });
    }

    /// To be told of contact and test.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// How a test ended, once: it is to be put on record.
    pub fn ended(&self) -> Option<Ended> {
        let mut ended = None;
        self.0.state.send_if_modified(|state| {
            ended = state.ended.take();
            false
        });
        ended
    }

    /// What is kept of a test that passed; `None` while nobody knows which day it is.
    pub fn record(&self, actor: &Actor, now: &Stamp) -> Option<Passed> {
        let (day, contact, actor) = (clock::day(now)?, self.0.contact.clone(), actor.0.clone());
        Some(Passed { schema: SCHEMA, day, at: now.clone(), contact, actor })
    }

    /// A test that was proven is not on record: it counts as none.
    pub fn not_kept(&self) {
        self.0.state.send_modify(|state| state.step = Step::NotKept);
    }

    /// The last test that passed.
    pub fn passed(&self) -> Option<Passed> {
        self.0.state.borrow().passed.clone()
    }

    /// How far a test is.
    pub fn step(&self) -> Step {
        self.0.state.borrow().step
    }

    /// What is told of it; `None` where the rig has none and needs none.
    pub fn status(&self, now: &Stamp) -> Option<EmergencyStopStatus> {
        let told = self.0.need.is_some() || self.0.input.is_some();
        told.then(|| EmergencyStopStatus {
            input: self.0.input.clone(),
            needed: self.0.need.is_some(),
            platform_m: self.0.platform_m,
            tested: self.lack(now).is_none(),
            tested_on: self.passed().map(|passed| clock::date(passed.day)),
            step: self.step(),
        })
    }
}

impl State {
    fn advance(&mut self, level: Level) {
        let now = Instant::now();
        if self.until.is_some_and(|until| until < now) {
            return self.late();
        }
        match (self.step, level) {
            (_, Level::Unknown) => self.end(Step::Lost),
            (Step::Press, Level::Pressed) => self.pressed_at = Some(now),
            (Step::Press, Level::Released) if !self.is_held() => self.pressed_at = None,
            (Step::Press | Step::Release, Level::Released) => self.end(Step::Idle),
            _ => {}
        }
    }

    /// When the step ends by itself: a person is told to release only what was pressed long enough.
    fn due(&self) -> Option<Instant> {
        let held = self.pressed_at.filter(|_| self.step == Step::Press).map(|at| at + HELD_MIN);
        held.or(self.until)
    }

    /// It is pressed, and has been for long enough.
    fn is_held(&self) -> bool {
        self.pressed_at.is_some_and(|at| at.elapsed() >= HELD_MIN)
    }

    fn late(&mut self) {
        let pressed = self.step == Step::Release || self.is_held();
        self.end(if pressed { Step::NotReleased } else { Step::NotPressed });
    }

    fn end(&mut self, step: Step) {
        self.step = step;
        self.until = None;
        self.pressed_at = None;
        self.ended = self.begun_by.take().map(|actor| Ended { step, actor });
    }
}

/// Driver and keys in one line, in the order of their names.
fn wiring(device: &DeviceOptions) -> String {
    let keys: Vec<String> = device.keys.iter().map(|(key, value)| format!(", {key} = {value}")).collect();
    format!("{}{}", device.driver, keys.concat())
}

/// What is missing, in three sentences.
fn fault(lack: Lack, need: Option<Need>) -> Fault {
    let why = "A software stop is not an emergency stop: nothing turns without one that works.";
    match lack {
        Lack::None if need == Some(Need::RunsOn) => Fault::new(
            "emergency-stop-none",
            "This rig turns on once its link is lost, and declares no wired emergency stop",
            why,
            "Wire one that takes the motor's power, and give its second contact to an input with does = \
             \"emergency-stop\". Or fit a timer that ends each run by itself, and declare it: run_limit_s.",
        ),
        Lack::None => Fault::new(
            "emergency-stop-none",
            "This rig declares no wired emergency stop",
            why,
            "Wire one that takes the motor's power, and give its second contact to an input with does = \
             \"emergency-stop\". If the platform is smaller than 1 m, say so: motion.platform_m.",
        ),
        Lack::Clock => Fault::new(
            "emergency-stop-clock",
            "The clock is not set, so nobody knows whether the emergency stop was tested today",
            why,
            "Connect the network or set the clock. Then test the emergency stop.",
        ),
        Lack::Test => Fault::new(
            "emergency-stop-untested",
            "The emergency stop was not tested today",
            why,
            "Begin its test on the panel or with turnstage selftest emergency-stop, press it, then release it.",
        ),
    }
}

#[cfg(test)]
mod tests;
