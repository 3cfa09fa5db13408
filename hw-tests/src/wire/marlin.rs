//! A Marlin controller with a rotary axis A: lines in a queue, a planner behind them, and faults by knobs.
//!
//! Lines are dealt with one after the other. A motion is answered when it is planned, long before it ends; `M400` holds
//! the queue up until nothing moves; `M114` tells the place that is planned, and with `R` the real one. `M410` is heard at
//! once with an emergency parser, otherwise in its turn. After a loss of power it counts from where it stands, in
//! absolute degrees. Where the platter truly is the simulation knows as well.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Device;
use super::due::{Due, advance, turn_of};
use super::motor::{Motion, Platter};

/// From a line to its answer.
const THINKING: Duration = Duration::from_millis(5);
/// A line that holds the queue up says that it is busy.
const BUSY: Duration = Duration::from_secs(2);

/// What goes wrong, once each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The n-th `ok` from now, counted from 1, never gets out.
    LoseOk(u32),
    /// The n-th `ok` from now gets out so much later.
    LateOk(u32, Duration),
    /// The n-th line from now is garbled on its way and not understood at all.
    LoseLine(u32),
    /// The power fails for a moment when the next motion has gone so many degrees.
    RebootAfter(f64),
}

/// What is different about this one. Change it at any time.
#[derive(Debug, Clone, PartialEq)]
pub struct Knobs {
    /// Its fastest turn; a faster one that is asked for is as fast as this.
    pub speed_max: f64,
    /// Degrees per second squared.
    pub acceleration: f64,
    /// `M410` is heard while the queue is held up.
    pub emergency_parser: bool,
    /// How long it takes to start.
    pub boot: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            speed_max: 60.0,
            acceleration: 60.0,
            emergency_parser: true,
            boot: Duration::from_millis(1500),
        }
    }
}

/// The controller, its motor and its platter.
pub struct Controller {
    /// See [`Knobs`].
    pub knobs: Knobs,
    /// Degrees of every motion that it planned, also of those that are none.
    pub told: Vec<f64>,
    /// Every whole line in its order.
    pub lines: Vec<String>,
    faults: Vec<Fault>,
    now: Instant,
    booted_at: Option<Instant>,
    relative: bool,
    feed_deg_s: f64,
    platter: Platter,
    /// Where it will be when everything that is planned has been done.
    planned: f64,
    planner: VecDeque<(f64, f64)>,
    begun: Vec<u8>,
    queue: VecDeque<String>,
    /// When the line at the head of the queue is dealt with.
    line_at: Option<Instant>,
    /// When it says next that it is busy, while `M400` waits.
    busy_at: Option<Instant>,
    outbox: Vec<(Instant, String)>,
}

impl Controller {
    /// A controller with power, at rest somewhere.
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            told: Vec::new(),
            lines: Vec::new(),
            faults: Vec::new(),
            now: Instant::now(),
            booted_at: None,
            relative: false,
            feed_deg_s: 10.0,
            platter: Platter::at_rest(77.5, 0.0),
            planned: 0.0,
            planner: VecDeque::new(),
            begun: Vec::new(),
            queue: VecDeque::new(),
            line_at: None,
            busy_at: None,
            outbox: Vec::new(),
        }
    }

    /// Something will go wrong.
    pub fn fail(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Where the platter truly is, in degrees, counted on over whole turns.
    pub fn truly_deg(&self) -> f64 {
        self.platter.truly_deg(self.now)
    }

    /// It turns.
    pub fn is_moving(&self) -> bool {
        self.platter.motion.is_some()
    }

    /// The power fails for a moment.
    pub fn reboot(&mut self) {
        self.halt();
        (self.platter.counted, self.planned, self.relative) = (0.0, 0.0, false);
        self.begun.clear();
        self.queue.clear();
        self.outbox.clear();
        (self.line_at, self.busy_at) = (None, None);
        self.booted_at = Some(self.now + self.knobs.boot);
    }

    /// Steppers stand at once, and nothing is planned any more.
    fn halt(&mut self) {
        self.platter.book(self.now);
        self.planner.clear();
        self.planned = self.platter.counted;
    }

    fn say_after(&mut self, wait: Duration, text: &str) {
        self.outbox.push((self.now + wait, format!("{text}\n")));
    }

    fn ok(&mut self) {
        let due = turn_of(&mut self.faults, |fault| match fault {
            Fault::LoseOk(count) | Fault::LateOk(count, _) => Some(count),
            _ => None,
        });
        match due {
            Some(Fault::LateOk(_, wait)) => self.say_after(wait, "ok"),
            Some(_) => {}
            None => self.say_after(Duration::ZERO, "ok"),
        }
    }

    /// When the fault of the motion under way happens.
    fn trouble(&self) -> Option<(Instant, usize)> {
        self.platter.trouble(&self.faults, |fault| match fault {
            Fault::RebootAfter(deg) => Some(*deg),
            _ => None,
        })
    }

    /// Takes up the line at the head of the queue, unless it is an `M400` and something moves.
    fn go_on(&mut self) {
        let free = self.busy_at.is_none() || !self.is_moving();
        if self.line_at.is_none() && free && !self.queue.is_empty() {
            self.line_at = Some(self.now + THINKING);
        }
    }

    fn next_motion(&mut self) {
        if self.is_moving() {
            return;
        }
        if let Some((deg, speed)) = self.planner.pop_front() {
            self.platter.motion = Some(Motion::new(self.now, deg, speed, self.knobs.acceleration));
        }
    }

    /// Deals with the line at the head of the queue.
    fn deal(&mut self) {
        let Some(line) = self.queue.front().cloned() else { return };
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            "G90" => self.relative = false,
            "G91" => self.relative = true,
            "G0" | "G1" => self.plan(words),
            // Stays at the head of the queue until nothing moves.
            "M400" if self.is_moving() => {
                self.busy_at = self.busy_at.or(Some(self.now + BUSY));
                return;
            }
            "M400" => self.busy_at = None,
            "M410" => self.halt(),
            "M114" => {
                let real = words.next() == Some("R");
                let deg = if real { self.platter.counted_deg(self.now) } else { self.planned };
                let count = deg * 100.0;
                self.say_after(
                    Duration::ZERO,
                    &format!("X:0.00 Y:0.00 Z:0.00 A:{deg:.2} Count X:0 Y:0 Z:0 A:{count:.0}"),
                );
            }
            "M115" => {
                let who = "FIRMWARE_NAME:Marlin 2.1.2.1 (Mar  4 2024 12:00:00) PROTOCOL_VERSION:1.0";
                self.say_after(Duration::ZERO, who);
                self.say_after(Duration::ZERO, "Cap:EMERGENCY_PARSER:1");
            }
            _ => self.say_after(Duration::ZERO, &format!("echo:Unknown command: \"{line}\"")),
        }
        self.queue.pop_front();
        self.ok();
    }

    fn plan<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let mut to = self.planned;
        for word in words {
            let number = word.get(1..).and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
            match word.as_bytes().first() {
                Some(b'A') if self.relative => to = self.planned + number,
                Some(b'A') => to = number,
                Some(b'F') => self.feed_deg_s = number / 60.0,
                _ => {}
            }
        }
        let deg = to - self.planned;
        self.told.push(deg);
        self.planned = to;
        if deg.abs() > 1e-6 {
            self.planner.push_back((deg, self.feed_deg_s.min(self.knobs.speed_max)));
            self.next_motion();
        }
    }

    fn line(&mut self, line: String) {
        let lost = turn_of(&mut self.faults, |fault| match fault {
            Fault::LoseLine(count) => Some(count),
            _ => None,
        });
        if lost.is_some() {
            return;
        }
        if line == "M410" && self.knobs.emergency_parser {
            self.halt();
        }
        self.lines.push(line.clone());
        self.queue.push_back(line);
        self.go_on();
    }
}

impl Due for Controller {
    fn clock(&mut self) -> &mut Instant {
        &mut self.now
    }

    fn next_event(&self) -> Option<Instant> {
        if let Some(booted) = self.booted_at {
            return Some(booted);
        }
        let end = self.platter.ends_at();
        let trouble = self.trouble().map(|(at, _)| at);
        [end, trouble, self.line_at, self.busy_at].into_iter().flatten().min()
    }

    fn happen(&mut self) {
        if self.booted_at.take_if(|at| *at <= self.now).is_some() {
            self.say_after(Duration::ZERO, "start");
            return self.say_after(Duration::ZERO, "echo:Marlin 2.1.2.1");
        }
        if let Some((_, index)) = self.trouble().filter(|(at, _)| *at <= self.now) {
            self.faults.remove(index);
            return self.reboot();
        }
        if self.platter.ends_at().is_some_and(|at| at <= self.now) {
            self.platter.book(self.now);
            self.next_motion();
        }
        if self.busy_at.is_some_and(|at| at <= self.now) {
            self.busy_at = Some(self.now + BUSY);
            self.say_after(Duration::ZERO, "echo:busy: processing");
        }
        if self.line_at.take_if(|at| *at <= self.now).is_some() {
            self.deal();
        }
        self.go_on();
    }
}

impl Device for Controller {
    fn advance(&mut self, now: Instant) {
        advance(self, now);
    }

    fn opened(&mut self, now: Instant) {
        self.advance(now);
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.advance(now);
        if self.booted_at.is_some() {
            return;
        }
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).trim().to_owned();
                    self.line(line);
                }
                _ => self.begun.push(*byte),
            }
        }
        self.advance(now);
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        self.advance(now);
        let waiting = std::mem::take(&mut self.outbox).into_iter();
        let (due, later): (Vec<_>, Vec<_>) = waiting.partition(|(at, _)| *at <= now);
        self.outbox = later;
        due.into_iter().flat_map(|(_, text)| text.into_bytes()).collect()
    }
}
