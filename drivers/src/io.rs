//! Inputs and outputs of a station: pedal, scanner, stop button, key and door; lamp tower, horn and lights.
//!
//! An [`Input`] tells signals, an [`Output`] shows a level. Neither decides anything: what a signal does and what an
//! output shows is the station's business. A lost device says so once and is then opened anew, because it comes back
//! under another number. A contact that guards people must be wired so that a broken wire reads as pressed
//! ([`Wiring::fail_safe`]).

pub mod board;
pub mod dmx;
pub mod evdev;
pub mod gpio;
mod port;
mod ready;
pub mod relay;
pub mod sim;

use async_trait::async_trait;
use serde::Serialize;

use crate::turntable::unknown;
use crate::{DeviceOptions, Later, Listing, Surroundings};

/// What an input tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The contact is active: a pedal is down, a stop button is in, a door is open.
    Pressed,
    /// The contact is at rest.
    Released,
    /// A scanner read this; not empty, without its line end.
    Line(String),
}

/// What kind of signals an input gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// [`Signal::Pressed`] and [`Signal::Released`].
    Contact,
    /// [`Signal::Line`].
    Lines,
}

/// What an input's keys say about its wiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wiring {
    /// Kind of signals.
    pub gives: Gives,
    /// A broken wire and an unplugged device read as pressed or as lost, never as at rest.
    pub fail_safe: bool,
}

/// What kind of device this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IoInfo {
    /// Driver's name.
    pub driver: &'static str,
    /// Stable identity: a path below `by-id`, a serial number, chip and line; never an index.
    pub id: String,
    /// Model or what a person would call it.
    pub label: String,
}

/// Something that a person presses or a scanner that reads. Dropping it gives the device free.
#[async_trait]
pub trait Input: Send {
    /// Waits for the next signal; a future that is dropped takes no signal with it. The first signal of a contact says
    /// how it is at this moment and is no act of anybody. After an error the input must be opened anew.
    async fn next(&mut self) -> Result<Signal, IoError>;

    /// What device it is.
    fn info(&self) -> &IoInfo;
}

/// Something that lights up, sounds or switches.
#[async_trait]
pub trait Output: Send {
    /// Shows a level, 0 = off to 1 = full; what can only switch is on from 0.5. Repeating a level is harmless, and how a
    /// lost device is noticed. Ends within a second. After an error the output must be opened anew.
    async fn set(&mut self, level: f64) -> Result<(), IoError>;

    /// What device it is.
    fn info(&self) -> &IoInfo;
}

/// What went wrong with an input or output, named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum IoError {
    /// Wrong configuration: a person must change it.
    #[error("{name}: {what}")]
    Config {
        /// Name in the rig.
        name: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// Not there, not for us, or held by another program: try again later, tell the technician.
    #[error("{id}: {why} ({hint})")]
    Unavailable {
        /// Which device, by the name a person would look for.
        id: String,
        /// What was found.
        why: String,
        /// What to do: the cable, the udev rule, the program that holds it.
        hint: String,
    },
    /// It was there and is gone: open it anew when it is back.
    #[error("{id}: lost ({why})")]
    Lost {
        /// Which device.
        id: String,
        /// What the system said.
        why: String,
    },
}

/// An open input, or why there is none.
pub type OpenedInput = Result<Box<dyn Input>, IoError>;
/// An open output, or why there is none.
pub type OpenedOutput = Result<Box<dyn Output>, IoError>;

/// A driver of inputs and how to open one.
pub struct InputDriver {
    /// The name in `driver = "…"`.
    pub name: &'static str,
    /// One line for `turnstage devices`.
    pub about: &'static str,
    /// Whether its own keys can be used, and what they say of the wiring; does not touch the device.
    pub check: fn(&DeviceOptions) -> Result<Wiring, String>,
    /// Opens one input, known to the rig as `name`, with its own keys.
    pub open: for<'a> fn(&'a str, &'a DeviceOptions, &'a Surroundings) -> Later<'a, OpenedInput>,
    /// Inputs that could be opened now. Disturbs nothing.
    pub list: fn() -> Later<'static, Vec<Listing>>,
}

/// A driver of outputs and how to open one.
pub struct OutputDriver {
    /// The name in `driver = "…"`.
    pub name: &'static str,
    /// One line for `turnstage devices`.
    pub about: &'static str,
    /// Whether its own keys can be used, without touching the device.
    pub check: fn(&DeviceOptions) -> Result<(), String>,
    /// Opens one output, known to the rig as `name`, with its own keys. It stays as it is until it is set.
    pub open: for<'a> fn(&'a str, &'a DeviceOptions, &'a Surroundings) -> Later<'a, OpenedOutput>,
    /// Outputs that could be opened now. Switches nothing.
    pub list: fn() -> Later<'static, Vec<Listing>>,
}

/// Every input driver of this build. Add yours here.
pub const INPUTS: &[InputDriver] = &[sim::INPUT, evdev::INPUT, gpio::INPUT];

/// Every output driver of this build. Add yours here.
pub const OUTPUTS: &[OutputDriver] = &[sim::OUTPUT, gpio::OUTPUT, relay::OUTPUT, dmx::OUTPUT];

/// Whether a configured input's keys can be used, and what they say of its wiring.
pub fn check_input(options: &DeviceOptions) -> Result<Wiring, String> {
    (input_driver(options)?.check)(options)
}

/// Whether a configured output's keys can be used.
pub fn check_output(options: &DeviceOptions) -> Result<(), String> {
    (output_driver(options)?.check)(options)
}

/// Opens a configured input, known to the rig as `name`.
pub async fn open_input(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedInput {
    match input_driver(options) {
        Ok(driver) => (driver.open)(name, options, around).await,
        Err(what) => Err(IoError::Config { name: name.to_owned(), what }),
    }
}

/// Opens a configured output, known to the rig as `name`.
pub async fn open_output(name: &str, options: &DeviceOptions, around: &Surroundings) -> OpenedOutput {
    match output_driver(options) {
        Ok(driver) => (driver.open)(name, options, around).await,
        Err(what) => Err(IoError::Config { name: name.to_owned(), what }),
    }
}

fn input_driver(options: &DeviceOptions) -> Result<&'static InputDriver, String> {
    let found = INPUTS.iter().find(|driver| driver.name == options.driver);
    found.ok_or_else(|| unknown(&options.driver, INPUTS.iter().map(|driver| driver.name)))
}

fn output_driver(options: &DeviceOptions) -> Result<&'static OutputDriver, String> {
    let found = OUTPUTS.iter().find(|driver| driver.name == options.driver);
    found.ok_or_else(|| unknown(&options.driver, OUTPUTS.iter().map(|driver| driver.name)))
}

/// Keys as `T`, or the error of opening.
fn read_keys<T: serde::de::DeserializeOwned>(name: &str, options: &DeviceOptions) -> Result<T, IoError> {
    options.read().map_err(|what| IoError::Config { name: name.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_driver_that_is_not_there_is_answered_with_those_that_are() {
        let options = DeviceOptions::new("pedal");
        let error = open_input("left", &options, &Surroundings::default()).await.err().unwrap().to_string();
        assert_eq!(error, "left: no such driver \"pedal\"; there are: sim, evdev, gpio");
        let told = check_output(&DeviceOptions::new("lamp")).unwrap_err();
        assert_eq!(told, "no such driver \"lamp\"; there are: sim, gpio, relay, dmx");
    }

    #[tokio::test]
    async fn every_driver_lists_without_a_device_and_without_an_error() {
        for driver in INPUTS {
            (driver.list)().await;
        }
        for driver in OUTPUTS {
            (driver.list)().await;
        }
    }
}
