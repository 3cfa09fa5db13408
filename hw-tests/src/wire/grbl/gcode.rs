//! Lines: what the firmware understands of them, and how it answers.

use std::time::Duration;

use super::run::{Block, Kind};
use super::{Controller, State};

/// What a line leaves for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Modes {
    relative: bool,
    inches: bool,
    /// Degrees a minute.
    feed: f64,
}

/// GRBL's error numbers.
type Code = u16;

const AXES: [char; 6] = ['X', 'Y', 'Z', 'A', 'B', 'C'];

impl Controller {
    /// Deals with the line at the head of the inbox.
    pub(super) fn obey(&mut self) {
        self.line_at = None;
        let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') else { return };
        let line: Vec<u8> = self.inbox.drain(..=end).collect();
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_whitespace()).collect();
        let answered = match text.to_uppercase().as_str() {
            "" => Ok(true),
            text if text.starts_with('$') => self.system(&text[1..]),
            _ if self.state == State::Alarm => Err(9),
            text => self.motion(text),
        };
        match answered {
            Ok(true) => self.answer("ok"),
            Ok(false) => {}
            Err(code) => self.answer(&format!("error:{code}")),
        }
        self.listen();
    }

    /// A line that begins with `$`. `false`: it is answered later.
    fn system(&mut self, text: &str) -> Result<bool, Code> {
        let rests = matches!(self.state, State::Idle | State::Alarm);
        match text {
            "I" | "$" | "H" | "X" if !rests => return Err(8),
            "I" => {
                self.line("[VER:1.1h.20190825:]");
                self.line("[OPT:V,15,128]");
            }
            "$" => {
                for (number, value) in self.settings.clone() {
                    self.line(&format!("${number}={value:.3}"));
                }
            }
            "H" if !self.homes() => return Err(5),
            "H" => {
                self.home();
                return Ok(false);
            }
            "X" => {
                self.meddled += 1;
                self.state = State::Idle;
                self.line("[MSG:Caution: Unlocked]");
            }
            _ => match (text.strip_prefix("J="), text.split_once('=')) {
                (Some(_), _) if self.state == State::Alarm => return Err(9),
                (Some(jog), _) => return self.travel(jog, Kind::Jog),
                (None, Some((number, value))) => {
                    let number = number.parse().ok().filter(|number| self.settings.contains_key(number));
                    let (Some(number), Ok(value)) = (number, value.parse()) else { return Err(3) };
                    self.meddled += 1;
                    self.settings.insert(number, value);
                }
                (None, None) => return Err(3),
            },
        }
        Ok(true)
    }

    fn motion(&mut self, text: &str) -> Result<bool, Code> {
        if words(text)?.contains(&('G', 4.0)) {
            let seconds = words(text)?.iter().find(|(letter, _)| *letter == 'P').ok_or(28u16)?.1;
            self.dwell(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)));
            return Ok(false);
        }
        self.travel(text, Kind::Feed)
    }

    fn travel(&mut self, text: &str, kind: Kind) -> Result<bool, Code> {
        let mut modes = self.modes.clone();
        let (mut way, mut rapid) = (None, false);
        for (letter, value) in words(text)? {
            match (letter, value) {
                ('G', 0.0) => rapid = true,
                ('G', 1.0 | 94.0 | 53.0 | 54.0) => {}
                ('G', 20.0) => modes.inches = true,
                ('G', 21.0) => modes.inches = false,
                ('G', 90.0) => modes.relative = false,
                ('G', 91.0) => modes.relative = true,
                ('F', feed) if feed > 0.0 => modes.feed = feed,
                (letter, value) if AXES[..self.axes()].contains(&letter) => {
                    way = AXES.iter().position(|axis| *axis == letter).map(|axis| (axis, value));
                }
                _ => return Err(20),
            }
        }
        let Some((axis, value)) = way else {
            self.modes = modes;
            return Ok(true);
        };
        let value = if modes.inches { value * 25.4 } else { value };
        if !rapid && modes.feed == 0.0 {
            return Err(22);
        }
        let number = axis as u16;
        let (fastest, acceleration) = (self.setting(110 + number) / 60.0, self.setting(120 + number));
        let speed = if rapid { fastest } else { (modes.feed / 60.0).min(fastest) };
        let steps = self.setting(100 + number);
        let from = self.planned(axis);
        let target = if modes.relative { from + value } else { value + self.knobs.offset };
        // A motor stands at whole steps.
        let deg = ((target * steps).round() - (from * steps).round()) / steps;
        if kind == Kind::Feed {
            self.modes = modes;
        }
        self.plan(Block { axis, deg, speed, acceleration, kind });
        Ok(true)
    }

    /// Where an axis will be when everything that was taken has ended.
    fn planned(&self, axis: usize) -> f64 {
        let waiting = self.planner.iter().filter(|block| block.axis == axis).map(|block| block.deg);
        let running = self.run.as_ref().filter(|run| run.axis() == axis).map_or(0.0, |run| run.whole());
        self.counted[axis] + running + waiting.sum::<f64>()
    }
}

/// Letters with their numbers.
fn words(text: &str) -> Result<Vec<(char, f64)>, Code> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if !letter.is_ascii_uppercase() {
            return Err(1);
        }
        let number = &rest[1..];
        let end = number.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(number.len());
        let value: f64 = number[..end].parse().map_err(|_| 2u16)?;
        found.push((letter, value));
        rest = &number[end..];
    }
    Ok(found)
}
