//! A ComXim table: a motor, a grammar of `CT+NAME(args);`, heartbeats in the stream, and faults by knobs.
//!
//! It knows where its platter truly stands and counts every motion that it was told, so that a test can prove that
//! nothing moved twice. A motion that is told while another is under way replaces it, as real tables of this kind do:
//! whoever sends one twice sees it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Device;
use super::due::{Due, advance, turn_of};
use super::motor::{Motion, Platter};

/// From a whole command to its answer.
const THINKING: Duration = Duration::from_millis(20);
/// A command that comes in part is given up after this time.
const PART_LIMIT: Duration = Duration::from_millis(500);
/// Its sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// Without ours it complains after this time.
const BEAT_LOST: Duration = Duration::from_secs(3);
/// The highest level that makes a difference.
const LEVEL_CLAMP: u32 = 32;

/// What goes wrong, once each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The n-th `CR+OK;` or `CR+ERR` from now, counted from 1, never gets out.
    LoseAnswer(u32),
    /// The n-th `CR+EVENT=TB_END;` from now never gets out.
    LoseEnd(u32),
    /// The next motion begins with the word of an end, as one that comes late.
    LateEnd,
    /// The power fails for a moment when the next motion has gone so many degrees: it forgets its zero.
    RebootAfter(f64),
    /// The platter is blocked when the next motion has gone so many degrees, and so is the motor. No end is told.
    StallAfter(f64),
    /// It stops, and says nothing more, when the next motion has gone so many degrees.
    HangAfter(f64),
    /// It says nothing more, not even a heartbeat, when the next motion has gone so many degrees; it hears and turns on.
    MuteAfter(f64),
}

/// What is different about this one. Change it at any time.
#[derive(Debug, Clone, PartialEq)]
pub struct Knobs {
    /// Firmware, as it tells it; what it knows follows from the flags below.
    pub firmware: &'static str,
    /// It writes the turn `TURNSINGLE`; otherwise `TRUNSINGLE`. It knows only one.
    pub newer_spelling: bool,
    /// It tells its offset angle.
    pub tells_offset: bool,
    /// It tells product and firmware.
    pub tells_who: bool,
    /// Degrees a second at level 1; level n is `2 / (n + 1)` of it.
    pub speed: f64,
    /// Degrees per second squared.
    pub acceleration: f64,
    /// Bytes that it says before every message.
    pub noise: Vec<u8>,
    /// What it says when its port is opened.
    pub greeting: Vec<u8>,
    /// Its heartbeat waits for a message to stand in the middle of.
    pub beats_within: bool,
    /// How long it takes to start.
    pub boot: Duration,
    /// A command that comes sooner than this after the one that it heard last is not heard.
    pub gap: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            firmware: "V2R04C02",
            newer_spelling: true,
            tells_offset: true,
            tells_who: true,
            speed: 40.0,
            acceleration: 80.0,
            noise: Vec::new(),
            greeting: b"\xfe\xff\xfeCR+ERR=31;".to_vec(),
            beats_within: false,
            boot: Duration::from_millis(800),
            gap: Duration::from_millis(100),
        }
    }
}

/// The table.
pub struct Table {
    /// See [`Knobs`].
    pub knobs: Knobs,
    /// Degrees of every motion that it was told and began, counter-clockwise positive.
    pub told: Vec<f64>,
    /// Every whole command in its order, without heartbeats.
    pub commands: Vec<String>,
    /// Heartbeats that it got.
    pub beats: u32,
    faults: Vec<Fault>,
    now: Instant,
    booted_at: Option<Instant>,
    hung: bool,
    mute: bool,
    /// What the table counts is since its zero.
    platter: Platter,
    level: u32,
    begun: Vec<u8>,
    begun_at: Instant,
    /// When it heard a whole command last, and how many it did not hear since it was made.
    heard_at: Option<Instant>,
    deaf: u32,
    acks: bool,
    events: bool,
    heartbeat: bool,
    beat_at: Instant,
    beat_heard: Instant,
    /// A heartbeat that waits for a message.
    beat_waits: bool,
    /// Messages and when they go out, in that order.
    outbox: VecDeque<(Instant, Vec<u8>)>,
}

impl Table {
    /// A table with power, at rest somewhere.
    pub fn new(knobs: Knobs) -> Self {
        let now = Instant::now();
        Self {
            knobs,
            told: Vec::new(),
            commands: Vec::new(),
            beats: 0,
            faults: Vec::new(),
            now,
            booted_at: None,
            hung: false,
            mute: false,
            // Nobody knows where a table stands when it gets its power.
            platter: Platter::at_rest(137.25, 12.5),
            level: 1,
            begun: Vec::new(),
            begun_at: now,
            heard_at: None,
            deaf: 0,
            acks: true,
            events: true,
            heartbeat: true,
            beat_at: now + BEAT,
            beat_heard: now,
            beat_waits: false,
            outbox: VecDeque::new(),
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

    /// Commands that came too soon after another one.
    pub fn unheard(&self) -> u32 {
        self.deaf
    }

    /// It turns.
    pub fn is_moving(&self) -> bool {
        self.platter.motion.is_some()
    }

    fn book(&mut self) {
        self.platter.book(self.now);
    }

    fn speed(&self) -> f64 {
        self.knobs.speed * 2.0 / f64::from(self.level.min(LEVEL_CLAMP) + 1)
    }

    fn turn(&mut self, deg: f64) {
        self.book();
        self.told.push(deg);
        if let Some(index) = self.faults.iter().position(|fault| *fault == Fault::LateEnd) {
            self.faults.remove(index);
            self.say_after(3 * THINKING, "CR+EVENT=TB_END;");
        }
        self.platter.motion = Some(Motion::new(self.now, deg, self.speed(), self.knobs.acceleration));
    }

    fn say_after(&mut self, wait: Duration, text: &str) {
        let mut bytes = self.knobs.noise.clone();
        bytes.extend_from_slice(text.as_bytes());
        // Its degree sign is in a Chinese alphabet.
        if text.starts_with("OffsetAngle") {
            let end = bytes.len() - 1;
            bytes.splice(end..end, [0xa1, 0xe3]);
        }
        if std::mem::take(&mut self.beat_waits) {
            bytes.insert(bytes.len() / 2, b'#');
        }
        let at = self.outbox.back().map_or(self.now, |(at, _)| *at).max(self.now + wait);
        self.outbox.push_back((at, bytes));
    }

    fn answer(&mut self, text: &str) {
        let lost = turn_of(&mut self.faults, |fault| match fault {
            Fault::LoseAnswer(count) => Some(count),
            _ => None,
        });
        if lost.is_none() && self.acks {
            self.say_after(THINKING, text);
        }
    }

    fn end(&mut self) {
        let lost = turn_of(&mut self.faults, |fault| match fault {
            Fault::LoseEnd(count) => Some(count),
            _ => None,
        });
        if lost.is_none() && self.events {
            self.say_after(Duration::ZERO, "CR+EVENT=TB_PAUSE;CR+EVENT=TB_END;");
        }
    }

    /// The power fails for a moment.
    pub fn reboot(&mut self) {
        self.book();
        self.platter.counted = 0.0;
        self.begun.clear();
        self.outbox.clear();
        (self.acks, self.events, self.heartbeat, self.level) = (true, true, true, 1);
        self.booted_at = Some(self.now + self.knobs.boot);
    }

    /// When a fault of the motion under way happens, and which.
    fn trouble(&self) -> Option<(Instant, usize)> {
        self.platter.trouble(&self.faults, |fault| match fault {
            Fault::RebootAfter(deg)
            | Fault::StallAfter(deg)
            | Fault::HangAfter(deg)
            | Fault::MuteAfter(deg) => Some(*deg),
            _ => None,
        })
    }

    fn command(&mut self, text: &str) {
        if self.heard_at.is_some_and(|at| self.now < at + self.knobs.gap) {
            self.deaf += 1;
            return;
        }
        self.heard_at = Some(self.now);
        self.commands.push(text.to_owned());
        let Some(call) = text.strip_prefix("CT").and_then(|call| call.strip_suffix(')')) else {
            return self.answer("CR+ERR=41;");
        };
        let Some((name, args)) = call.split_once('(') else { return self.answer("CR+ERR=42;") };
        let words: Vec<&str> = if args.is_empty() { Vec::new() } else { args.split(',').collect() };
        let mut numbers = Vec::new();
        for (index, word) in words.iter().enumerate() {
            match word.trim().parse::<f64>() {
                Ok(number) => numbers.push(number),
                Err(_) => return self.answer(&format!("CR+ERR=7{};", index + 1)),
            }
        }
        match self.obey(name.trim_start_matches('+'), &numbers) {
            Ok(()) => self.answer("CR+OK;"),
            Err(code) => self.answer(&format!("CR+ERR={code};")),
        }
    }

    fn obey(&mut self, name: &str, args: &[f64]) -> Result<(), u32> {
        let turn = if self.knobs.newer_spelling { "TURNSINGLE" } else { "TRUNSINGLE" };
        match (name, args) {
            ("", []) => {}
            ("ACK", [on]) => self.acks = *on != 0.0,
            ("EVENT", [on]) => self.events = *on != 0.0,
            ("HEARTBEAT", [on]) => {
                (self.heartbeat, self.beat_at) = (*on != 0.0, self.now + BEAT);
            }
            ("GETPN", []) if self.knobs.tells_who => self.say_after(THINKING, "PN=MT320RUBL40ProV3;"),
            ("GETFWV", []) if self.knobs.tells_who => {
                let firmware = format!("FWV={};", self.knobs.firmware);
                self.say_after(THINKING, &firmware);
            }
            // Clockwise makes it grow.
            ("GETOFFSETANGLE", []) if self.knobs.tells_offset => {
                let offset = format!("OffsetAngle= {:+.2};", -self.platter.counted_deg(self.now));
                self.say_after(THINKING, &offset);
            }
            ("SETSPEED", [level]) if !(1.0..=127.0).contains(level) => return Err(81),
            ("SETSPEED", [level]) => self.level = *level as u32,
            ("SETSTOP", []) => {
                let now = self.now;
                if let Some(motion) = &mut self.platter.motion {
                    motion.stop(now);
                }
            }
            ("SETZERO", []) => {
                self.book();
                self.platter.counted = 0.0;
            }
            ("TOZERO", []) if self.platter.counted.abs() < 0.005 => {}
            ("TOZERO", []) => self.turn(-self.platter.counted),
            (name, [dir, angle]) if name == turn => {
                if ![0.0, 1.0].contains(dir) {
                    return Err(81);
                }
                if !(0.0..=3600.0).contains(angle) {
                    return Err(82);
                }
                self.turn(if *dir == 1.0 { *angle } else { -angle });
            }
            ("START", [dir, 0.0, _, _, _, _]) => {
                self.turn(if *dir == 1.0 { f64::INFINITY } else { f64::NEG_INFINITY })
            }
            _ => return Err(40),
        }
        Ok(())
    }
}

impl Due for Table {
    fn clock(&mut self) -> &mut Instant {
        &mut self.now
    }

    fn next_event(&self) -> Option<Instant> {
        if let Some(booted) = self.booted_at {
            return Some(booted);
        }
        let trouble = self.trouble().map(|(at, _)| at);
        let end = self.platter.ends_at();
        let part = (!self.begun.is_empty()).then(|| self.begun_at + PART_LIMIT);
        let beat = self.heartbeat.then_some(self.beat_at);
        [trouble, end, part, beat].into_iter().flatten().min()
    }

    fn happen(&mut self) {
        if self.booted_at.is_some_and(|at| at <= self.now) {
            self.booted_at = None;
            (self.beat_at, self.beat_heard) = (self.now + BEAT, self.now);
            return;
        }
        if let Some((_, index)) = self.trouble().filter(|(at, _)| *at <= self.now) {
            match self.faults.remove(index) {
                Fault::RebootAfter(_) => self.reboot(),
                Fault::MuteAfter(_) => self.mute = true,
                Fault::HangAfter(_) => {
                    self.book();
                    self.hung = true;
                }
                _ => self.book(),
            }
            return;
        }
        if self.platter.ends_at().is_some_and(|at| at <= self.now) {
            let silent = self.platter.motion.as_ref().is_some_and(Motion::was_stopped);
            self.book();
            if !silent {
                self.end();
            }
        }
        if !self.begun.is_empty() && self.begun_at + PART_LIMIT <= self.now {
            self.begun.clear();
            self.answer("CR+ERR=31;");
        }
        if self.heartbeat && self.beat_at <= self.now {
            self.beat_at = self.now + BEAT;
            let missed = self.now.saturating_duration_since(self.beat_heard) > BEAT_LOST;
            match (missed, self.knobs.beats_within) {
                (true, _) => self.outbox.push_back((self.now, b"###".to_vec())),
                (false, false) => self.outbox.push_back((self.now, b"#".to_vec())),
                (false, true) => self.beat_waits = true,
            }
        }
    }
}

impl Device for Table {
    fn advance(&mut self, now: Instant) {
        advance(self, now);
    }

    fn opened(&mut self, now: Instant) {
        self.advance(now);
        let greeting = self.knobs.greeting.clone();
        self.outbox.push_back((now, greeting));
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.advance(now);
        if self.hung || self.booted_at.is_some() {
            return;
        }
        for byte in bytes {
            match byte {
                b'#' => {
                    self.beats += 1;
                    self.beat_heard = now;
                }
                b';' => {
                    let text = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned();
                    self.command(&text);
                }
                _ => {
                    if self.begun.is_empty() {
                        self.begun_at = now;
                    }
                    self.begun.push(*byte);
                }
            }
        }
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        self.advance(now);
        let mut said = Vec::new();
        while self.outbox.front().is_some_and(|(at, _)| *at <= now) {
            said.extend(self.outbox.pop_front().into_iter().flat_map(|(_, bytes)| bytes));
        }
        if self.hung || self.mute { Vec::new() } else { said }
    }
}
