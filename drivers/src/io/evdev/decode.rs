//! From keys that go down and up to signals: the part that needs no device.

use std::collections::BTreeSet;
use std::time::Duration;

use ::evdev::KeyCode;
use tokio::time::Instant;

use super::keymap::Layout;
use crate::io::Signal;

/// What is heard of a device. Key codes are the system's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// One key went down or up; repeats of a key that is held are not heard.
    Key { code: u16, down: bool },
    /// These keys are down, and what came before may be incomplete.
    Held(BTreeSet<u16>),
}

/// What becomes of it.
#[derive(Debug)]
pub(super) enum Decoder {
    Contact(Contact),
    Lines(Lines),
}

impl Decoder {
    pub(super) fn hear(&mut self, heard: &Heard, at: Instant) -> Option<Signal> {
        match self {
            Self::Contact(contact) => contact.hear(heard),
            Self::Lines(lines) => lines.hear(heard, at),
        }
    }

    /// How a contact is now.
    pub(super) fn level(&self) -> Option<Signal> {
        match self {
            Self::Contact(contact) => Some(contact.level()),
            Self::Lines(_) => None,
        }
    }
}

/// A pedal or button: pressed while one of its keys is down; of a normally closed one, while one is up.
#[derive(Debug)]
pub(super) struct Contact {
    /// Codes that count; empty for all.
    keys: BTreeSet<u16>,
    normally_closed: bool,
    down: BTreeSet<u16>,
}

impl Contact {
    pub(super) fn new(keys: BTreeSet<u16>, normally_closed: bool) -> Self {
        // Until something is heard the contact is at rest, whichever way it is wired.
        let down = if normally_closed { keys.clone() } else { BTreeSet::new() };
        Self { keys, normally_closed, down }
    }

    fn is_pressed(&self) -> bool {
        if self.normally_closed { self.down != self.keys } else { !self.down.is_empty() }
    }

    fn level(&self) -> Signal {
        if self.is_pressed() { Signal::Pressed } else { Signal::Released }
    }

    fn hear(&mut self, heard: &Heard) -> Option<Signal> {
        let before = self.is_pressed();
        let counts = |code: &u16| self.keys.is_empty() || self.keys.contains(code);
        match heard {
            Heard::Key { code, down: true } if counts(code) => drop(self.down.insert(*code)),
            Heard::Key { code, .. } => drop(self.down.remove(code)),
            Heard::Held(held) => self.down = held.iter().copied().filter(counts).collect(),
        }
        (self.is_pressed() != before).then(|| self.level())
    }
}

/// A scanner: characters up to Enter.
#[derive(Debug)]
pub(super) struct Lines {
    layout: Layout,
    length_max: usize,
    gap: Duration,
    line: String,
    /// The line is longer than allowed: nothing of it counts.
    is_too_long: bool,
    last: Option<Instant>,
    /// Keys that change what others mean, as far as they are down.
    shift: BTreeSet<u16>,
    control: BTreeSet<u16>,
}

const SHIFT: [KeyCode; 2] = [KeyCode::KEY_LEFTSHIFT, KeyCode::KEY_RIGHTSHIFT];
const CONTROL: [KeyCode; 4] =
    [KeyCode::KEY_LEFTCTRL, KeyCode::KEY_RIGHTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_RIGHTALT];
const ENTER: [KeyCode; 2] = [KeyCode::KEY_ENTER, KeyCode::KEY_KPENTER];

impl Lines {
    pub(super) fn new(layout: Layout, length_max: usize, gap: Duration) -> Self {
        Self {
            layout,
            length_max,
            gap,
            line: String::new(),
            is_too_long: false,
            last: None,
            shift: BTreeSet::new(),
            control: BTreeSet::new(),
        }
    }

    fn hear(&mut self, heard: &Heard, at: Instant) -> Option<Signal> {
        let (code, down) = match heard {
            Heard::Key { code, down } => (*code, *down),
            Heard::Held(held) => {
                // A line with a hole is a wrong item.
                self.begin();
                let among = |keys: &[KeyCode]| {
                    keys.iter().map(|key| key.code()).filter(|c| held.contains(c)).collect()
                };
                (self.shift, self.control) = (among(&SHIFT), among(&CONTROL));
                return None;
            }
        };
        for (keys, held) in [(&SHIFT[..], &mut self.shift), (&CONTROL[..], &mut self.control)] {
            if keys.contains(&KeyCode::new(code)) {
                if down {
                    held.insert(code)
                } else {
                    held.remove(&code)
                };
                return None;
            }
        }
        if !down {
            return None;
        }
        if self.last.is_some_and(|last| at.duration_since(last) > self.gap) {
            self.begin();
        }
        self.last = Some(at);
        if ENTER.contains(&KeyCode::new(code)) {
            return self.end();
        }
        let character = self.layout.character(code, !self.shift.is_empty());
        let character = character.filter(|_| self.control.is_empty())?;
        if self.line.chars().count() == self.length_max {
            self.is_too_long = true;
        } else {
            self.line.push(character);
        }
        None
    }

    fn begin(&mut self) {
        self.line.clear();
        self.is_too_long = false;
    }

    fn end(&mut self) -> Option<Signal> {
        let line = self.line.trim().to_owned();
        let is_too_long = self.is_too_long;
        self.begin();
        if is_too_long {
            tracing::warn!(length_max = self.length_max, "a scanned line is too long and was dropped");
        }
        (!line.is_empty() && !is_too_long).then_some(Signal::Line(line))
    }
}
