//! A Revopoint Dual-Axis table: turn and tilt by ASCII commands over one characteristic.
//!
//! Modelled: the grammar with its asymmetric queries; acceptance (`+OK;`) apart from completion, which only firmware
//! 3.28 and later sends, often without its `;`; tilt that is never announced; turning rates as measured on a real table;
//! commands that overlap and are all accepted; replies cut into packets of 20 bytes; zero where it stood at power-on; the
//! 11 s of self-calibration before it advertises. Not known of the real table, and chosen here: acceleration, delay before
//! motion, what becomes of the speed when commands overlap, refusal of fractions of a degree.
//! Sources: docs/hardware.md, Bluetooth.

mod axis;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use self::axis::Axis;
use super::peer::{Card, Characteristic, Peer};

/// Advertised name.
pub const NAME: &str = "REVO_DUAL_AXIS_TABLE";
/// Its one service.
pub const SERVICE: &str = "0000ffe0-0000-1000-8000-00805f9b34fb";
/// Its one characteristic, for both ways.
pub const CHARACTERISTIC: &str = "0000ffe1-0000-1000-8000-00805f9b34fb";

/// Seconds a revolution, and the degrees a second that were measured for them.
const RATES: [(f64, f64); 3] = [(18.0, 20.7), (36.0, 10.5), (90.0, 4.05)];
/// The vendor's app waits a sixth of a second for each degree of tilt.
const TILT_DEG_S: f64 = 6.0;
const TILT_MAX: f64 = 30.0;
/// A table that is switched on calibrates its tilt before it advertises.
const BOOT_S: f64 = 11.0;
/// A command that never ends is thrown away.
const COMMAND_BYTES_MAX: usize = 64;
/// Bytes of a notification at the smallest MTU.
const PACKET: usize = 20;

/// What the table is like.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// Firmware as `+QR,VERSION;` tells it.
    pub firmware: String,
    /// Seconds of the table in one second of the clock: 20 makes it twenty times as fast as a real one.
    pub time_scale: f64,
    /// From a command to its reply, table seconds.
    pub reply_s: f64,
    /// From a command to the motion, table seconds.
    pub start_s: f64,
    /// Degrees per second squared, of both axes.
    pub acceleration: f64,
    /// The completion ends with `;`.
    pub terminated: bool,
    /// Position queries during a motion tell where it began, as was seen on one real table.
    pub stale_in_motion: bool,
    /// A stop is answered with the place where it stands, as some do, and not with `+OK;`.
    pub stop_tells: bool,
    /// Somebody else's phone is connected: it neither advertises nor answers.
    pub held_elsewhere: bool,
    /// What goes wrong with the n-th motion, counted from 1.
    pub faults: BTreeMap<u32, Fault>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            firmware: "3.28".to_owned(),
            time_scale: 1.0,
            reply_s: 0.02,
            start_s: 0.25,
            acceleration: 40.0,
            terminated: false,
            stale_in_motion: true,
            stop_tells: false,
            held_elsewhere: false,
            faults: BTreeMap::new(),
        }
    }
}

/// What goes wrong with one motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// It moves, but nobody is told that it has begun.
    LostAck,
    /// It moves, but nobody is told that it has ended.
    LostCompletion,
    /// Noise before its replies, some of it not even text.
    Garbage,
    /// The power fails after this many degrees and is back at once: it stands, has forgotten its position, and is gone
    /// until it has calibrated itself.
    Reboot {
        /// Degrees of the motion.
        after_deg: f64,
    },
    /// The motor gives up after this many degrees and says nothing.
    Stall {
        /// Degrees of the motion.
        after_deg: f64,
    },
    /// It says nothing more after this many degrees, to nobody, until its power fails; it hears, turns on and stays linked.
    Mute {
        /// Degrees of the motion.
        after_deg: f64,
    },
    /// The radio link breaks after this many degrees; the motion goes on.
    LinkDrop {
        /// Degrees of the motion.
        after_deg: f64,
        /// Table seconds until it advertises again.
        for_s: f64,
    },
}

impl Fault {
    fn after_deg(self) -> Option<f64> {
        match self {
            Self::Reboot { after_deg }
            | Self::Stall { after_deg }
            | Self::Mute { after_deg }
            | Self::LinkDrop { after_deg, .. } => Some(after_deg),
            Self::LostAck | Self::LostCompletion | Self::Garbage => None,
        }
    }
}

/// What is announced at the end of a motion.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Announced {
    Position,
    Zero,
}

/// The table. Degrees count the way that it calls positive.
#[derive(Debug)]
pub struct Revopoint {
    knobs: Knobs,
    address: String,
    born: Instant,
    turn: Axis,
    tilt: Axis,
    /// Where the platter stood at power-on, which the table calls 0.
    zero: f64,
    /// Where the turn under way began, and what is said at its end.
    began_at: f64,
    announce: Option<Announced>,
    /// When what goes wrong with the motion under way goes wrong.
    trouble: Option<(f64, Fault)>,
    seconds_per_turn: f64,
    heard: Vec<u8>,
    /// Packets and when they are due, table seconds.
    said: VecDeque<(f64, Vec<u8>)>,
    linked: bool,
    mute: bool,
    /// Out of reach until then, table seconds.
    away_until: f64,
    told: Vec<(Instant, String)>,
    motions: u32,
    /// When its turns began and ended, if they do, table seconds.
    turned: Vec<(f64, Option<f64>)>,
}

impl Revopoint {
    /// A table that was switched on a while ago and stands at `true_deg`.
    pub fn new(knobs: Knobs, true_deg: f64) -> Self {
        Self {
            address: "E4:8F:80:46:12:43".to_owned(),
            born: Instant::now(),
            turn: Axis::at_rest(true_deg, knobs.acceleration),
            tilt: Axis::at_rest(0.0, knobs.acceleration),
            zero: true_deg,
            began_at: true_deg,
            announce: None,
            trouble: None,
            seconds_per_turn: 36.0,
            heard: Vec::new(),
            said: VecDeque::new(),
            linked: false,
            mute: false,
            away_until: 0.0,
            told: Vec::new(),
            motions: 0,
            turned: Vec::new(),
            knobs,
        }
    }

    /// The same with another address.
    pub fn with_address(self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self }
    }

    /// To turn its knobs while it runs.
    pub fn knobs(&mut self) -> &mut Knobs {
        &mut self.knobs
    }

    /// Where the platter truly stands, counted on beyond 360.
    pub fn true_deg(&mut self, now: Instant) -> f64 {
        let at = self.advance(now);
        self.turn.place(at).0
    }

    /// How far it is truly tilted.
    pub fn tilt_deg(&mut self, now: Instant) -> f64 {
        let at = self.advance(now);
        self.tilt.place(at).0
    }

    /// Whether either axis moves.
    pub fn is_moving(&mut self, now: Instant) -> bool {
        let at = self.advance(now);
        [self.turn, self.tilt].iter().any(|axis| axis.end_s().is_none_or(|end| at < end))
    }

    /// Motions of the turn that it accepted since it was made, whatever became of them.
    pub fn motions(&self) -> u32 {
        self.motions
    }

    /// Every command that reached it.
    pub fn told(&self) -> Vec<String> {
        self.told.iter().map(|(_, command)| command.clone()).collect()
    }

    /// When a command reached it first at `since` or later.
    pub fn told_at(&self, command: &str, since: Instant) -> Option<Instant> {
        let (at, _) = self.told.iter().find(|(at, told)| *at >= since && told == command)?;
        Some(*at)
    }

    /// Whether the platter stood all the time from `begun` to `ended`.
    pub fn stood(&mut self, begun: Instant, ended: Instant) -> bool {
        self.advance(ended);
        let (begun, ended) = (self.seconds(begun), self.seconds(ended));
        self.turned.iter().all(|(from, to)| ended <= *from || to.is_some_and(|to| to <= begun))
    }

    /// It says nothing more, to nobody, until its power fails; it hears, obeys and stays linked.
    pub fn fall_mute(&mut self) {
        self.mute = true;
    }

    /// Cuts the power and gives it back: the position is forgotten, motors stand.
    pub fn reboot(&mut self, now: Instant) {
        let at = self.advance(now);
        self.reboot_at(at);
    }

    /// Degrees a second at the present setting.
    fn rate(&self) -> f64 {
        rate(self.seconds_per_turn)
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.born).as_secs_f64() * self.knobs.time_scale
    }

    fn instant(&self, at_s: f64) -> Instant {
        self.born + Duration::from_secs_f64(at_s / self.knobs.time_scale)
    }

    /// Lets everything happen that has happened by now; returns the table's time.
    fn advance(&mut self, now: Instant) -> f64 {
        let at = self.seconds(now);
        if let Some((when, fault)) = self.trouble.filter(|(when, _)| *when <= at) {
            self.trouble = None;
            match fault {
                Fault::Reboot { .. } => self.reboot_at(when),
                Fault::Stall { .. } => {
                    self.turn.freeze(when);
                    self.ends_its_turn();
                    self.announce = None;
                }
                Fault::Mute { .. } => self.mute = true,
                Fault::LinkDrop { for_s, .. } => self.away_until = when + for_s,
                Fault::LostAck | Fault::LostCompletion | Fault::Garbage => {}
            }
        }
        if let (Some(announced), Some(end)) = (self.announce, self.turn.end_s())
            && end <= at
        {
            self.announce = None;
            let end_mark = if self.knobs.terminated { ";" } else { "" };
            match announced {
                Announced::Position => {
                    let text = format!("+OK,TURNANGLE={:.2}{end_mark}", self.turn.place(end).0 - self.zero);
                    self.reply(&text, end);
                }
                Announced::Zero => self.reply("+OK,TOZERO;", end),
            }
        }
        at
    }

    fn reboot_at(&mut self, at: f64) {
        self.turn.freeze(at);
        self.ends_its_turn();
        self.mute = false;
        // Calibration leaves the tilt level.
        self.tilt = Axis::at_rest(0.0, self.knobs.acceleration);
        self.zero = self.turn.place(at).0;
        (self.announce, self.trouble) = (None, None);
        self.said.clear();
        self.heard.clear();
        self.seconds_per_turn = 36.0;
        self.away_until = at + BOOT_S;
    }

    /// The turn under way ends when the motor stands now, and not when it was to.
    fn ends_its_turn(&mut self) {
        if let (Some((_, ends)), Some(end)) = (self.turned.last_mut(), self.turn.end_s()) {
            *ends = Some(ends.map_or(end, |ends| ends.min(end)));
        }
    }

    fn reply(&mut self, text: &str, at: f64) {
        let due = at + self.knobs.reply_s;
        self.said.extend(text.as_bytes().chunks(PACKET).map(|packet| (due, packet.to_vec())));
    }

    fn fail(&mut self, code: u32, at: f64) {
        self.reply(&format!("+FAIL,ERR={code:03};"), at);
    }

    /// Accepts a motion of the turn and plans what goes wrong with it.
    fn accept(&mut self, at: f64, announced: Option<Announced>, begin: impl FnOnce(&mut Axis, f64)) {
        self.motions += 1;
        let fault = self.knobs.faults.get(&self.motions).copied();
        if fault == Some(Fault::Garbage) {
            self.said.push_back((at, vec![0xff, 0xfe, b'+', b'O', 0x00, 0xa1]));
            self.said.push_back((at, b"K=?;;+DATA;".to_vec()));
        }
        if fault != Some(Fault::LostAck) {
            self.reply("+OK;", at);
        }
        let (there, speed) = self.turn.place(at);
        let begun = if speed == 0.0 { at + self.knobs.start_s } else { at };
        self.began_at = there;
        begin(&mut self.turn, begun);
        self.turned.push((begun, self.turn.end_s()));
        self.announce = announced.filter(|_| self.announces() && fault != Some(Fault::LostCompletion));
        self.trouble = fault.and_then(|fault| Some((self.turn.passes_s(fault.after_deg()?)?, fault)));
    }

    /// Firmware 3.28 and later says when a turn has ended.
    fn announces(&self) -> bool {
        let number = |text: &str| text.parse::<u32>().unwrap_or(0);
        let (major, minor) = self.knobs.firmware.split_once('.').unwrap_or((&self.knobs.firmware, "0"));
        (number(major), number(minor)) >= (3, 28)
    }

    fn obey(&mut self, command: &str, at: f64) {
        self.told.push((self.instant(at), format!("{command};")));
        let (verb, value) =
            command.split_once('=').map_or((command, None), |(verb, value)| (verb, Some(value)));
        match (verb, value) {
            ("+CT,TURNANGLE", Some(value)) => match value.parse::<i32>() {
                Ok(by) if by.abs() <= 720 => {
                    let speed = self.rate();
                    let travel = |axis: &mut Axis, begun| axis.travel(f64::from(by), speed, begun);
                    self.accept(at, Some(Announced::Position), travel);
                }
                _ => self.fail(7, at),
            },
            ("+CT,TURNCONTINUE", Some(way @ ("1" | "-1"))) => {
                let speed = if way == "1" { self.rate() } else { -self.rate() };
                self.accept(at, None, |axis, begun| axis.run(speed, begun));
            }
            ("+CT,TOZERO", None) => {
                let (by, speed) = (self.zero - self.turn.place(at).0, self.rate());
                self.accept(at, Some(Announced::Zero), |axis, begun| axis.travel(by, speed, begun));
            }
            ("+CT,TURNSPEED", Some(value)) => match value.parse::<f64>() {
                Ok(seconds) if (18.0..=90.0).contains(&seconds) => {
                    self.seconds_per_turn = seconds;
                    self.reply("+OK;", at);
                }
                _ => self.fail(7, at),
            },
            ("+CT,STOP", None) => {
                self.turn.brake(at);
                self.ends_its_turn();
                (self.announce, self.trouble) = (None, None);
                let rest = self.turn.end_s().unwrap_or(at);
                let there = self.turn.place(rest).0 - self.zero;
                let told = format!("+OK,TURNANGLE={there:.2}");
                self.reply(if self.knobs.stop_tells { &told } else { "+OK;" }, at);
            }
            ("+CR,TILTVALUE", Some(value)) => match value.parse::<i32>() {
                Ok(to) if f64::from(to.abs()) <= TILT_MAX => self.tilt_to(f64::from(to), at),
                _ => self.fail(7, at),
            },
            ("+CR,TILTSPEED", Some(value)) if value.parse::<f64>().is_ok_and(|speed| speed >= 40.0) => {
                self.reply("+OK;", at);
            }
            ("+CR,TILTSPEED", Some(_)) => self.fail(7, at),
            ("+CR,TOZERO", None) => self.tilt_to(0.0, at),
            ("+CR,STOP", None) => {
                self.tilt.brake(at);
                self.reply("+OK;", at);
            }
            ("+QR,VERSION", None) => self.reply(&format!("+DATA=HW.V0.02,SW.V{};", self.knobs.firmware), at),
            ("+QT,CHANGEANGLE", None) => {
                let (there, speed) = self.turn.place(at);
                let known = if speed != 0.0 && self.knobs.stale_in_motion { self.began_at } else { there };
                self.reply(&format!("+DATA={:.2};", known - self.zero), at);
            }
            ("+QR,TILTVALUE", None) => self.reply(&format!("+DATA={:.2};", self.tilt.place(at).0), at),
            _ => self.fail(1, at),
        }
    }

    /// Accepted and never announced.
    fn tilt_to(&mut self, to: f64, at: f64) {
        let by = to - self.tilt.place(at).0;
        self.tilt.travel(by, TILT_DEG_S, at + self.knobs.start_s);
        self.reply("+OK;", at);
    }
}

/// Degrees a second for a setting in seconds a revolution, between those that were measured.
fn rate(seconds_per_turn: f64) -> f64 {
    let [low, middle, high] = RATES;
    let (a, b) = if seconds_per_turn < middle.0 { (low, middle) } else { (middle, high) };
    let share = (seconds_per_turn - a.0) / (b.0 - a.0);
    // Their products hardly differ, so that these are what is drawn a line between.
    let product = a.0 * a.1 + share * (b.0 * b.1 - a.0 * a.1);
    product / seconds_per_turn
}

impl Peer for Revopoint {
    fn card(&self) -> Card {
        let flags = ["write-without-response", "notify"].map(str::to_owned).to_vec();
        Card {
            name: NAME.to_owned(),
            address: self.address.clone(),
            service: SERVICE.to_owned(),
            characteristics: vec![Characteristic { uuid: CHARACTERISTIC.to_owned(), flags }],
            mtu: 23,
        }
    }

    fn in_reach(&mut self, now: Instant) -> bool {
        self.advance(now) >= self.away_until && !self.knobs.held_elsewhere
    }

    fn linked(&mut self, up: bool, now: Instant) {
        self.advance(now);
        self.linked = up;
        self.said.clear();
        self.heard.clear();
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        let at = self.advance(now);
        for byte in bytes {
            if *byte == b';' {
                let command = String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned();
                self.obey(&command, at);
            } else if self.heard.len() < COMMAND_BYTES_MAX {
                self.heard.push(*byte);
            }
        }
    }

    fn say(&mut self, now: Instant) -> Option<Vec<u8>> {
        let at = self.advance(now);
        while self.said.front().is_some_and(|(due, _)| *due <= at) {
            let packet = self.said.pop_front();
            // Nobody hears what is said without a connection.
            if self.linked && !self.mute {
                return packet.map(|(_, bytes)| bytes);
            }
        }
        None
    }

    fn next_at(&mut self, now: Instant) -> Option<Instant> {
        self.advance(now);
        let end = self.announce.and_then(|_| self.turn.end_s());
        let trouble = self.trouble.map(|(when, _)| when);
        let said = self.said.front().map(|(due, _)| *due);
        let next = [end, trouble, said].into_iter().flatten().reduce(f64::min)?;
        // A hair later, because a duration has whole nanoseconds.
        Some(self.instant(next) + Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests;
