//! The sections of inputs and outputs: what a pedal does and what a lamp shows.

use serde::{Deserialize, Serialize};
use turnstage_drivers::DeviceOptions;
use turnstage_drivers::io::{self, Gives};
use utoipa::ToSchema;

/// What happens when an input is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// Begins a session with the scanned item, goes on after a pause, answers a table that is turned by hand.
    Start,
    /// Answers a table that is turned by hand.
    Answer,
    /// Halts the table; a person must go on.
    Stop,
    /// The second contact of the wired emergency stop: halts like a stop, and is tested each day.
    EmergencyStop,
    /// Arms the rig: motion is allowed.
    Arm,
    /// Guards the way to the table: while it is open nothing moves.
    Door,
    /// Reads items.
    Scan,
    /// Pauses after the shot at hand.
    Pause,
    /// Sees the flash fire.
    Flash,
}

impl Does {
    /// It guards people: nothing moves unless it is known to be at rest.
    pub fn guards(self) -> bool {
        matches!(self, Self::Stop | Self::EmergencyStop | Self::Door)
    }
}

/// An input of the rig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InputConfig {
    /// What happens when it is pressed.
    pub does: Does,
    /// A scan begins the session by itself, where none is open.
    #[serde(default)]
    pub scan_starts: bool,
    /// Driver and its keys.
    #[serde(flatten)]
    pub device: DeviceOptions,
}

impl InputConfig {
    /// Whether it can do what it should.
    pub(super) fn check(&self) -> Result<(), String> {
        let wiring = io::check_input(&self.device)?;
        let (needs, what) = match self.does {
            Does::Scan => (Gives::Lines, "does = \"scan\" needs a scanner: set lines = true"),
            _ => (Gives::Contact, "a scanner can only scan: set does = \"scan\", or take lines = true away"),
        };
        if wiring.gives != needs {
            return Err(what.to_owned());
        }
        if self.does.guards() && !wiring.fail_safe {
            return Err("a stop input, emergency stop or door must be wired so that a broken wire reads as pressed: with driver \
                        \"gpio\" a contact to ground that opens when it is pressed, and bias = \"pull-up\"; with \
                        \"evdev\" a key that is held down at rest, and normally_closed = true"
                .to_owned());
        }
        if self.scan_starts && self.does != Does::Scan {
            return Err("scan_starts belongs to does = \"scan\"".to_owned());
        }
        Ok(())
    }
}

/// What an output shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    /// Lit while nothing hinders a person to go on: ready, or the turn is complete.
    TowerGreen,
    /// Lit while the station works; blinks before a first motion and where a person should look.
    TowerAmber,
    /// Lit while it is stopped by a fault, a person, a stop button or a door.
    TowerRed,
    /// Sounds before a first motion.
    Horn,
    /// Light for pictures: on from the scan to the end of the session.
    Lights,
    /// Lit while a session can be started.
    Ready,
}

/// An output of the rig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OutputConfig {
    /// What it shows.
    pub shows: Shows,
    /// Its level when it is on, above 0 to 1.
    #[serde(default = "full")]
    pub level: f64,
    /// Driver and its keys.
    #[serde(flatten)]
    pub device: DeviceOptions,
}

fn full() -> f64 {
    1.0
}

impl OutputConfig {
    /// Whether it can show what it should.
    pub(super) fn check(&self) -> Result<(), String> {
        io::check_output(&self.device)?;
        if self.level > 0.0 && self.level <= 1.0 {
            Ok(())
        } else {
            Err(format!("level = {} is not above 0 and up to 1", self.level))
        }
    }
}
