//! The booth's contacts, scanners and lamps: what stories press and look at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Booth, Gone, NO_SESSION};
use crate::io::Signal;

/// Signals that may wait for an input; the oldest is forgotten.
const SIGNALS_MAX: usize = 1_000;
/// Changes of light that are kept for [`Booth::lamp_changes`].
const CHANGES_MAX: usize = 10_000;

/// Every input and output of the booth, by its name in the rig.
#[derive(Default)]
pub(super) struct Contacts {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    inputs: BTreeMap<String, Contact>,
    lamps: BTreeMap<String, Lamp>,
    sessions: u64,
}

#[derive(Default)]
struct Contact {
    session: u64,
    is_unplugged: bool,
    is_down: bool,
    waiting: VecDeque<Signal>,
}

#[derive(Default)]
struct Lamp {
    session: u64,
    is_unplugged: bool,
    level: f64,
    changes: VecDeque<(Instant, f64)>,
}

impl Contacts {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an input and wakes whoever waits for it.
    fn input(&self, name: &str, change: impl FnOnce(&mut Contact)) {
        change(self.lock().inputs.entry(name.to_owned()).or_default());
        self.changed.send_replace(());
    }

    /// Changes an output and wakes whoever looks at it.
    fn lamp(&self, name: &str, change: impl FnOnce(&mut Lamp)) {
        change(self.lock().lamps.entry(name.to_owned()).or_default());
        self.changed.send_replace(());
    }
}

impl Contact {
    fn tell(&mut self, signal: Signal) {
        if self.waiting.len() == SIGNALS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(signal);
    }

    fn turn(&mut self, down: bool) {
        if self.is_down != down {
            self.is_down = down;
            self.tell(if down { Signal::Pressed } else { Signal::Released });
        }
    }
}

impl Booth {
    /// Presses an input and holds it; opens a door.
    pub fn press(&self, input: &str) {
        self.contacts.input(input, |contact| contact.turn(true));
    }

    /// Lets an input go; shuts a door.
    pub fn release(&self, input: &str) {
        self.contacts.input(input, |contact| contact.turn(false));
    }

    /// Presses an input and lets it go.
    pub fn tap(&self, input: &str) {
        self.press(input);
        self.release(input);
    }

    /// A scanner reads a line.
    pub fn scan(&self, input: &str, line: &str) {
        self.contacts.input(input, |contact| contact.tell(Signal::Line(line.to_owned())));
    }

    /// Pulls an input out, now.
    pub fn unplug_input(&self, input: &str) {
        self.contacts.input(input, |contact| {
            contact.is_unplugged = true;
            contact.session = NO_SESSION;
        });
    }

    /// Plugs an input in again. It must then be opened anew.
    pub fn replug_input(&self, input: &str) {
        self.contacts.input(input, |contact| contact.is_unplugged = false);
    }

    /// Pulls an output out, now: it goes dark.
    pub fn unplug_output(&self, output: &str) {
        self.contacts.lamp(output, |lamp| {
            lamp.is_unplugged = true;
            lamp.session = NO_SESSION;
            lamp.show(0.0);
        });
    }

    /// Plugs an output in again. It must then be opened anew.
    pub fn replug_output(&self, output: &str) {
        self.contacts.lamp(output, |lamp| lamp.is_unplugged = false);
    }

    /// How bright an output is now, 0 to 1; dark if it was never opened.
    pub fn lamp(&self, output: &str) -> f64 {
        self.contacts.lock().lamps.get(output).map_or(0.0, |lamp| lamp.level)
    }

    /// Every change of an output since the booth began, oldest first, at most the last 10 000.
    pub fn lamp_changes(&self, output: &str) -> Vec<(Instant, f64)> {
        let state = self.contacts.lock();
        state.lamps.get(output).map(|lamp| lamp.changes.iter().copied().collect()).unwrap_or_default()
    }

    /// Waits until an output has this level.
    pub async fn until_lamp(&self, output: &str, level: f64) {
        let mut changed = self.contacts.changed.subscribe();
        while self.lamp(output) != level {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The drivers' side.
impl Booth {
    /// Opens an input; a handle from before is dead then, and what was not heard is forgotten.
    pub(crate) fn open_input(&self, name: &str) -> Result<u64, Gone> {
        let mut state = self.contacts.lock();
        state.sessions += 1;
        let session = state.sessions;
        let contact = state.inputs.entry(name.to_owned()).or_default();
        if contact.is_unplugged {
            return Err(Gone);
        }
        contact.session = session;
        contact.waiting.clear();
        Ok(session)
    }

    /// Whether an input is down.
    pub(crate) fn is_down(&self, name: &str, session: u64) -> Result<bool, Gone> {
        let state = self.contacts.lock();
        state.inputs.get(name).filter(|contact| contact.session == session).map(|c| c.is_down).ok_or(Gone)
    }

    /// Waits for the next signal of an input.
    pub(crate) async fn signal(&self, name: &str, session: u64) -> Result<Signal, Gone> {
        let mut changed = self.contacts.changed.subscribe();
        loop {
            {
                let mut state = self.contacts.lock();
                let contact = state.inputs.get_mut(name).filter(|contact| contact.session == session);
                if let Some(signal) = contact.ok_or(Gone)?.waiting.pop_front() {
                    return Ok(signal);
                }
            }
            changed.changed().await.map_err(|_| Gone)?;
        }
    }

    /// Opens an output; a handle from before is dead then.
    pub(crate) fn open_output(&self, name: &str) -> Result<u64, Gone> {
        let mut state = self.contacts.lock();
        state.sessions += 1;
        let session = state.sessions;
        let lamp = state.lamps.entry(name.to_owned()).or_default();
        if lamp.is_unplugged {
            return Err(Gone);
        }
        lamp.session = session;
        Ok(session)
    }

    /// Sets an output.
    pub(crate) fn light(&self, name: &str, session: u64, level: f64) -> Result<(), Gone> {
        let mut done = Err(Gone);
        self.contacts.lamp(name, |lamp| {
            if lamp.session == session {
                lamp.show(level);
                done = Ok(());
            }
        });
        done
    }
}

impl Lamp {
    fn show(&mut self, level: f64) {
        if self.level == level {
            return;
        }
        self.level = level;
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((Instant::now(), level));
    }
}
