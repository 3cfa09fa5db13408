//! A USB relay module: `A0 n s sum` switches relay n. It never answers, and takes nothing with a wrong sum.

use tokio::time::Instant;

use super::Device;
use super::platform::Platform;

/// The module, with a platform wired to its first two or three relays.
pub struct Module {
    /// What hangs on it.
    pub platform: Platform,
    /// Relay 3 has to be on as well.
    pub has_enable: bool,
    /// Whole commands that it took.
    pub taken: u32,
    /// Commands with a wrong sum.
    pub refused: u32,
    relays: [bool; 16],
    inbox: Vec<u8>,
}

impl Module {
    /// A module whose relays are off.
    pub fn new(platform: Platform) -> Self {
        Self { platform, has_enable: false, taken: 0, refused: 0, relays: [false; 16], inbox: Vec::new() }
    }

    /// Relays that are on, counted from 1.
    pub fn on(&self) -> Vec<usize> {
        self.relays.iter().enumerate().filter(|(_, on)| **on).map(|(at, _)| at + 1).collect()
    }

    fn wire(&mut self, now: Instant) {
        let [forward, backward, enable, ..] = self.relays;
        self.platform.shorted |= forward && backward;
        let share = f64::from(u8::from(forward)) - f64::from(u8::from(backward));
        self.platform.drive(if self.has_enable && !enable { 0.0 } else { share }, now);
    }
}

impl Device for Module {
    fn advance(&mut self, now: Instant) {
        self.platform.advance(now);
    }

    fn opened(&mut self, now: Instant) {
        self.platform.advance(now);
        self.inbox.clear();
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.platform.advance(now);
        self.inbox.extend_from_slice(bytes);
        while let Some(start) = self.inbox.iter().position(|byte| *byte == 0xa0) {
            self.inbox.drain(..start);
            let Some([_, relay, state, sum]) = self.inbox.first_chunk().copied() else { return };
            self.inbox.drain(..4);
            self.take(relay, state, sum, now);
        }
        self.inbox.clear();
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        self.platform.advance(now);
        Vec::new()
    }
}

impl Module {
    fn take(&mut self, relay: u8, state: u8, sum: u8, now: Instant) {
        let right = sum == 0xa0u8.wrapping_add(relay).wrapping_add(state) && state <= 1;
        match self.relays.get_mut(usize::from(relay).wrapping_sub(1)) {
            Some(contact) if right => {
                *contact = state == 1;
                self.taken += 1;
                self.wire(now);
            }
            _ => self.refused += 1,
        }
    }
}
