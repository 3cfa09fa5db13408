//! A GRBL 1.1 controller with a motor on each axis: states, planner, real-time bytes, alarms, and faults by knobs.
//!
//! It behaves as the unmodified firmware was measured to: `ok` comes when a line is taken, long before its motion ends,
//! a dwell is answered when every motion before it has ended, a reset at rest keeps the position, and one in motion
//! locks it. It knows where each axis truly is, which the firmware does not.

mod gcode;
mod run;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use self::gcode::Modes;
use self::run::Run;
use super::Device;

/// Bytes that wait to be read by the firmware; more are lost.
const INBOX_MAX: usize = 128;
/// Motions that wait.
const PLANNER_MAX: usize = 15;
/// From a whole line to its answer: the measured 0.11 s.
const THINKING: Duration = Duration::from_millis(110);
/// A work offset is told in one report of so many.
const OFFSET_EVERY: u32 = 10;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Idle,
    /// Moves.
    Run,
    /// Moves by `$J`.
    Jog,
    /// Slows down to a hold, or is held at rest (`true`).
    Hold(bool),
    /// Looks for its switch.
    Home,
    /// Locked.
    Alarm,
}

/// What goes wrong, once each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The n-th `ok` or `error:` from now, counted from 1, never gets out.
    LoseAnswer(u32),
    /// The power fails for a moment when the next motion has gone so many degrees.
    RebootAfter(f64),
    /// It stops, and says nothing more, when the next motion has gone so many degrees.
    HangAfter(f64),
    /// A limit switch is hit when the next motion has gone so many degrees.
    LimitAfter(f64),
    /// The platter is blocked when the next motion has gone so many degrees; the motor counts on.
    BlockAfter(f64),
}

/// One motion that it was told and has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// Axis, from 0 for X.
    pub axis: usize,
    /// Degrees as it counts.
    pub deg: f64,
}

/// What is different about this one. Change it at any time.
#[derive(Debug, Clone, PartialEq)]
pub struct Knobs {
    /// It starts anew when its port is opened, as Arduino boards do.
    pub resets_on_open: bool,
    /// How long it takes to start.
    pub boot: Duration,
    /// How it calls itself.
    pub banner: String,
    /// It answers one `?` of so many; 1 answers all.
    pub answers_every: u32,
    /// Bytes that it says before every line.
    pub noise: Vec<u8>,
    /// Work offset of every axis.
    pub offset: f64,
    /// It has no switch where homing looks for one.
    pub no_switch: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            resets_on_open: true,
            boot: Duration::from_millis(1200),
            banner: "Grbl 1.1h ['$' for help]".to_owned(),
            answers_every: 1,
            noise: Vec::new(),
            offset: 0.0,
            no_switch: false,
        }
    }
}

/// The controller and its motors.
pub struct Controller {
    /// See [`Knobs`].
    pub knobs: Knobs,
    /// Settings by number, as `$$` tells them.
    pub settings: BTreeMap<u16, f64>,
    /// Every motion that it took.
    pub told: Vec<Told>,
    /// Times that it was unlocked, and that a setting was written: a driver does neither.
    pub meddled: u32,
    /// Bytes that found its inbox full.
    pub overflowed: u32,
    faults: Vec<Fault>,
    now: Instant,
    state: State,
    /// When it has started; until then it is deaf.
    booted_at: Option<Instant>,
    hung: bool,
    /// What it has counted, and where each axis truly is.
    counted: [f64; 6],
    truly: [f64; 6],
    blocked: bool,
    inbox: VecDeque<u8>,
    /// When the line at the head of the inbox is dealt with.
    line_at: Option<Instant>,
    planner: VecDeque<run::Block>,
    run: Option<Run>,
    /// A dwell that waits for every motion before it, with its length, and when it ends once it has begun.
    dwell: Option<(Duration, Option<Instant>)>,
    modes: Modes,
    asked: u32,
    reports: u32,
    outbox: Vec<u8>,
}

impl Controller {
    /// A controller of `axes` axes (1 to 6) that count degrees, `speed` degrees a second at most. It has power.
    pub fn new(axes: u16, speed: f64, acceleration: f64) -> Self {
        let mut settings = BTreeMap::from([(10, 1.0), (13, 0.0), (20, 0.0), (22, 0.0), (25, speed * 30.0)]);
        for axis in 0..axes.clamp(1, 6) {
            settings.insert(100 + axis, 100.0);
            settings.insert(110 + axis, speed * 60.0);
            settings.insert(120 + axis, acceleration);
        }
        Self {
            knobs: Knobs::default(),
            settings,
            told: Vec::new(),
            meddled: 0,
            overflowed: 0,
            faults: Vec::new(),
            now: Instant::now(),
            state: State::Idle,
            booted_at: None,
            hung: false,
            counted: [0.0; 6],
            // Nobody knows where a table stands when it gets its power.
            truly: [137.25, 3.5, 0.0, 211.0, 0.0, 0.0],
            blocked: false,
            inbox: VecDeque::new(),
            line_at: None,
            planner: VecDeque::new(),
            run: None,
            dwell: None,
            modes: Modes::default(),
            asked: 0,
            reports: 0,
            outbox: Vec::new(),
        }
    }

    /// Something will go wrong.
    pub fn fail(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// What it does now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Where an axis truly is, in degrees, counted on over whole turns.
    pub fn truly_deg(&self, axis: usize) -> f64 {
        self.truly[axis] + if self.blocked { 0.0 } else { self.gone(axis) }
    }

    /// What it believes of an axis.
    pub fn counted_deg(&self, axis: usize) -> f64 {
        self.counted[axis] + self.gone(axis)
    }

    /// The power fails for a moment.
    pub fn reboot(&mut self) {
        self.halt();
        self.counted = [0.0; 6];
        self.state = if self.homes() { State::Alarm } else { State::Idle };
        self.hung = false;
        self.forget();
        self.outbox.clear();
        self.booted_at = Some(self.now + self.knobs.boot);
    }

    /// Degrees of the motion that runs on this axis, so far.
    fn gone(&self, axis: usize) -> f64 {
        self.run.as_ref().filter(|run| run.axis() == axis).map_or(0.0, |run| run.gone(self.now).0)
    }

    fn axes(&self) -> usize {
        (100..106).filter(|number| self.settings.contains_key(number)).count()
    }

    fn setting(&self, number: u16) -> f64 {
        self.settings.get(&number).copied().unwrap_or(0.0)
    }

    fn homes(&self) -> bool {
        self.setting(22) != 0.0
    }

    fn line(&mut self, text: &str) {
        self.outbox.extend_from_slice(&self.knobs.noise);
        self.outbox.extend_from_slice(text.as_bytes());
        self.outbox.extend_from_slice(b"\r\n");
    }

    /// Answers a line, unless the answer is to be lost.
    fn answer(&mut self, text: &str) {
        let mut lost = false;
        for fault in &mut self.faults {
            if let Fault::LoseAnswer(nth) = fault {
                *nth = nth.saturating_sub(1);
                lost |= *nth == 0;
            }
        }
        self.faults.retain(|fault| *fault != Fault::LoseAnswer(0));
        if !lost {
            self.line(text);
        }
    }

    fn alarm(&mut self, code: u16) {
        self.state = State::Alarm;
        self.line(&format!("ALARM:{code}"));
    }

    fn greet(&mut self) {
        self.line("");
        let banner = self.knobs.banner.clone();
        self.line(&banner);
        if self.state == State::Alarm {
            self.line("[MSG:'$H'|'$X' to unlock]");
        }
    }

    /// What a restart forgets, of either kind.
    fn forget(&mut self) {
        self.inbox.clear();
        self.planner.clear();
        (self.line_at, self.dwell) = (None, None);
        self.modes = Modes::default();
        self.reports = 0;
    }

    /// The motors lose their current where they are.
    fn halt(&mut self) {
        if let Some(run) = self.run.take() {
            self.book(run.axis(), run.gone(self.now).0);
        }
    }

    fn book(&mut self, axis: usize, deg: f64) {
        self.counted[axis] += deg;
        if !self.blocked {
            self.truly[axis] += deg;
        }
    }

    fn reset(&mut self) {
        match self.state {
            State::Run | State::Jog | State::Hold(false) => {
                self.halt();
                self.alarm(3);
            }
            State::Home => {
                self.halt();
                self.alarm(6);
            }
            State::Hold(true) => {
                self.halt();
                self.state = State::Idle;
            }
            State::Idle | State::Alarm => {}
        }
        self.forget();
        self.greet();
    }

    /// Acts on a byte that is never queued; says whether it was one.
    fn real_time(&mut self, byte: u8) -> bool {
        match byte {
            b'?' => self.report(),
            b'!' => self.hold(),
            b'~' => self.go_on(),
            0x18 => self.reset(),
            0x85 if self.state == State::Jog => self.hold(),
            0x80..=0xff => {}
            _ => return false,
        }
        true
    }

    fn report(&mut self) {
        self.asked = self.asked.wrapping_add(1);
        // Homing does not come to answer.
        if self.state == State::Home || !self.asked.is_multiple_of(self.knobs.answers_every.max(1)) {
            return;
        }
        self.reports += 1;
        let name = match self.state {
            State::Idle => "Idle",
            State::Run => "Run",
            State::Jog => "Jog",
            State::Hold(true) => "Hold:0",
            State::Hold(false) => "Hold:1",
            State::Home => "Home",
            State::Alarm => "Alarm",
        };
        let (of_machine, offset) = (self.setting(10) as u32 & 1 == 1, self.knobs.offset);
        let shown = |deg: f64| format!("{deg:.3}");
        let places: Vec<_> = (0..self.axes())
            .map(|axis| shown(self.counted_deg(axis) - if of_machine { 0.0 } else { offset }))
            .collect();
        let speed = self.run.as_ref().map_or(0.0, |run| run.gone(self.now).1.abs() * 60.0);
        let field = if of_machine { "MPos" } else { "WPos" };
        let mut report = format!("<{name}|{field}:{}|Bf:15,128|FS:{speed:.0},0", places.join(","));
        if self.reports % OFFSET_EVERY == 1 {
            report += &format!("|WCO:{}", vec![shown(offset); self.axes()].join(","));
        }
        self.line(&(report + ">"));
    }
}

impl Device for Controller {
    fn advance(&mut self, now: Instant) {
        self.catch_up(now);
    }

    fn opened(&mut self, now: Instant) {
        self.advance(now);
        if self.knobs.resets_on_open {
            self.reboot();
        }
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.advance(now);
        for byte in bytes {
            if self.hung || self.booted_at.is_some() || self.real_time(*byte) {
                continue;
            }
            if self.inbox.len() >= INBOX_MAX {
                self.overflowed += 1;
                continue;
            }
            self.inbox.push_back(*byte);
            self.listen();
        }
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        self.advance(now);
        std::mem::take(&mut self.outbox)
    }
}
