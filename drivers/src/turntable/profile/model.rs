//! A profile as it is written: what one model of turntable takes and answers, as data.
//!
//! Degrees are counter-clockwise seen from above where nothing else is said.

mod checks;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::framer::Framing;
use super::reply::{Kind, Reply};
use super::template::Template;
use crate::link::{Gatt, Wire};

/// The only version there is.
const SCHEMA: u32 = 1;

/// A profile, as in `turntable/profiles/*.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// 1.
    pub schema: u32,
    /// `comxim`: lower case letters, digits and dashes.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// Where the facts come from and how far they are trusted.
    pub provenance: String,
    /// How such a table is found.
    #[serde(default, rename = "match")]
    pub matching: Matching,
    /// Its serial port, of those that have one.
    pub serial: Option<SerialWire>,
    /// Its place on Bluetooth, of those that have one.
    pub ble: Option<BleWire>,
    /// How bytes become lines.
    pub framing: Framing,
    /// What it can do.
    pub limits: Limits,
    /// Which way its positive degrees turn.
    #[serde(default)]
    pub positive: Positive,
    /// How its speed is told.
    pub speed: Option<Speed>,
    /// Steps a turn, of tables that count steps.
    pub steps: Option<Steps>,
    /// Who is there; asked before anything moves.
    #[serde(default)]
    pub probe: Vec<Question>,
    /// What is set up after that.
    #[serde(default)]
    pub init: Vec<Question>,
    /// What its lines mean.
    pub reply: Vec<Reply>,
    /// Words for its error codes.
    #[serde(default)]
    pub errors: BTreeMap<String, String>,
    /// What it is told.
    pub commands: Commands,
    /// How one knows that a motion is over; the first that fits the firmware counts.
    pub completion: Vec<Completion>,
    /// The sign of life that it gives and wants.
    pub heartbeat: Option<Heartbeat>,
    /// Its second axis.
    pub tilt: Option<Tilt>,
    /// Its own way to zero.
    pub home: Option<Home>,
    /// It halts by itself when the link falls silent.
    #[serde(default)]
    pub dead_man: bool,
    /// It tells where it is while it turns, by itself or to a completion that polls. Only such a table sweeps.
    #[serde(default)]
    pub tells_in_motion: bool,
}

/// How such a table is found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
    /// USB ids of its serial port: `1a86:7523`.
    pub usb: Vec<String>,
    /// Other devices have the same USB ids.
    pub generic: bool,
    /// Names that it advertises by Bluetooth.
    pub ble: Vec<String>,
}

/// Its serial port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialWire {
    /// Symbols a second.
    pub baud: u32,
    /// Leave DTR and RTS on.
    #[serde(default = "yes")]
    pub dtr: bool,
    /// Silence after opening.
    #[serde(default)]
    pub settle_ms: u64,
}

/// Its place on Bluetooth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BleWire {
    /// UUID of the service.
    pub service: String,
    /// UUID of the characteristic that is written.
    pub write: String,
    /// UUID of the characteristic that notifies.
    pub notify: String,
    /// Pause between the pieces of a message.
    #[serde(default = "ten")]
    pub chunk_gap_ms: u64,
}

/// What it can do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Degrees of one command; a longer way is told in several, each after the end of the one before.
    pub max_deg: f64,
    /// Steps of one command.
    pub max_steps: Option<u32>,
    /// The smallest angle that it can be told; 0: any.
    #[serde(default)]
    pub step_deg: f64,
    /// Its fastest turn as it comes. An end that would be faster, or faster by a quarter than a speed that was set, is not
    /// believed.
    pub fastest_deg_s: f64,
    /// Its slowest turn: a motion that takes twice as long is given up.
    pub slowest_deg_s: f64,
    /// Degrees per second squared, to know how long it takes to halt.
    #[serde(default = "thirty")]
    pub acceleration_deg_s2: f64,
    /// Pause between two commands.
    #[serde(default)]
    pub min_gap_ms: u64,
    /// An answer comes within this time.
    #[serde(default = "three_seconds")]
    pub reply_ms: u64,
    /// It may tell that it stands this far beside its target.
    #[serde(default = "one")]
    pub tolerance_deg: f64,
    /// It stops without knowing where.
    #[serde(default)]
    pub stop_loses_position: bool,
    /// Stopped, it drives back to its start, which is where it stood when it was opened.
    #[serde(default)]
    pub stop_returns: bool,
}

/// Which way positive degrees turn, seen from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positive {
    /// As ours do.
    #[default]
    CounterClockwise,
    /// The other way round.
    Clockwise,
}

/// In what a table takes its speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeedUnit {
    /// Degrees a second.
    DegPerS,
    /// Degrees a minute.
    DegPerMin,
    /// Seconds a turn.
    SPerRev,
    /// Steps a second.
    StepsPerS,
    /// A number without a unit: see `levels`.
    Level,
}

/// How its speed is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Unit of the command.
    pub unit: SpeedUnit,
    /// Slowest turn that can be asked for, degrees a second.
    pub min_deg_s: f64,
    /// Fastest turn that can be asked for, degrees a second.
    pub max_deg_s: f64,
    /// The speed of ordinary moves, degrees a second.
    pub default_deg_s: f64,
    /// Sets it, unless each move tells its own.
    pub command: Option<String>,
    /// Pairs of level and measured degrees a second. Empty: it must be measured and told in the configuration.
    #[serde(default)]
    pub levels: Vec<(u32, f64)>,
}

/// Steps a turn: told by the configuration, by the answer to the probe, or by the model's name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// By the name of the model as it tells it.
    #[serde(default)]
    pub of_model: BTreeMap<String, u32>,
}

/// Something that is asked once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The command.
    pub send: String,
    /// Answers that must come, in this order.
    pub expect: Vec<Kind>,
    /// A refusal will do as well.
    #[serde(default)]
    pub or_nack: bool,
}

/// What it is told. Each is a template; see [`Template`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// A relative turn. Each command but the last is answered before the next.
    #[serde(rename = "move")]
    pub turn: Vec<String>,
    /// The same in the words of other firmware, tried when the first is refused with `unsupported`.
    #[serde(default)]
    pub move_otherwise: Vec<String>,
    /// Error code of a command that this firmware does not know.
    pub unsupported: Option<String>,
    /// Commands are answered when they are heard.
    #[serde(default = "yes")]
    pub acked: bool,
    /// Halts every axis.
    pub stop: Vec<String>,
    /// A stop is answered.
    #[serde(default = "yes")]
    pub stop_acked: bool,
    /// Asks where it stands.
    pub query: Option<String>,
    /// Behind its place comes the answer that the question was heard.
    #[serde(default)]
    pub query_acked: bool,
    /// It can be asked where it stands right after a stop.
    #[serde(default = "yes")]
    pub query_after_stop: bool,
    /// Turns until it is stopped.
    #[serde(default)]
    pub rotate: Vec<String>,
    /// Asks for a sign of life after a long silence; without, `query` does.
    pub ask: Option<String>,
}

/// How one knows that a motion is over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// Of this version on, compared number by number.
    pub when_fw_at_least: Option<String>,
    /// Which way.
    pub kind: Way,
    /// Pause between two questions.
    #[serde(default = "two_hundred")]
    pub interval_ms: u64,
    /// Time that it needs to begin and to come to rest.
    #[serde(default)]
    pub startup_ms: u64,
    /// Asked where it stands, when its time is over.
    #[serde(default)]
    pub then_query: bool,
}

/// The ways to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It says so.
    Event,
    /// It is asked until it is idle.
    Poll,
    /// The last command of a move is answered when it stands. It only waits: it is sent, too, where an answer to those
    /// before it is missing.
    Acks,
    /// Its time has passed.
    Time,
}

/// The sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its own: one ASCII character, wherever it stands in the stream.
    pub hear: String,
    /// Ours.
    pub say: String,
    /// Ours is not given more often than this.
    pub every_ms: u64,
    /// One that gave signs of life and is silent for so long while it turns is asked for another; without it, stopped.
    pub lost_ms: u64,
}

/// The second axis, told in absolute degrees.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tilt {
    /// Tilts.
    pub command: String,
    /// Asks how far it is tilted.
    pub query: Option<String>,
    /// Lowest tilt.
    pub min_deg: f64,
    /// Highest tilt.
    pub max_deg: f64,
    /// Its speed.
    pub deg_per_s: f64,
    /// Time that it needs to begin and to come to rest.
    #[serde(default)]
    pub startup_ms: u64,
}

/// Its own way to zero.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Drives to its zero.
    pub command: String,
    /// It finds its zero by a switch. Otherwise zero is what it remembers, and is lost with its power: it is used only
    /// when the configuration says `trust_zero = true`.
    #[serde(default)]
    pub switch: bool,
}

impl Model {
    /// Reads and checks a profile.
    pub fn read(text: &str) -> Result<Self, String> {
        let model: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().replace('\n', " "))?;
        model.check().map_err(|what| format!("profile {}: {what}", model.id))?;
        Ok(model)
    }

    /// It can only be told how far, not which way.
    pub fn is_one_way(&self) -> bool {
        let words = self.commands.turn.iter().filter_map(|text| Template::read(text).ok());
        words.into_iter().any(|word| word.is_one_way())
    }

    /// What the link must be like.
    pub fn wire(&self) -> Wire {
        let mut wire = Wire::default();
        if let Some(serial) = &self.serial {
            (wire.baud, wire.dtr) = (serial.baud, serial.dtr);
            wire.settle = Duration::from_millis(serial.settle_ms);
        }
        wire.ble = self.ble.as_ref().map(|ble| Gatt {
            service: ble.service.clone(),
            write: ble.write.clone(),
            notify: ble.notify.clone(),
            chunk_gap_ms: ble.chunk_gap_ms,
        });
        wire
    }

    /// How a motion ends with this firmware.
    pub fn completion(&self, firmware: Option<&str>) -> Option<&Completion> {
        self.completion.iter().find(|completion| match (&completion.when_fw_at_least, firmware) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(firmware)) => version(firmware) >= version(wanted),
        })
    }
}

/// The numbers of a version, in their order.
fn version(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn yes() -> bool {
    true
}
fn one() -> f64 {
    1.0
}
fn ten() -> u64 {
    10
}
fn thirty() -> f64 {
    30.0
}
fn two_hundred() -> u64 {
    200
}
fn three_seconds() -> u64 {
    3000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(version("3.28") > version("3.3"));
        assert!(version("V2R04C02") >= version("V2R3C1"));
        assert!(version("3") < version("3.28"));
        assert_eq!(version("unknown"), Vec::<u64>::new());
    }
}
