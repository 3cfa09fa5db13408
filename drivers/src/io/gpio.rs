//! Contacts and switched lines on a GPIO chip: stop button, key, door, pedal; lamps, horn and relays.
//!
//! A chip is found by its label and a line by its name or its number on the chip. A wire that breaks leaves an input to
//! its bias, so a contact that guards people is one that *opens* when it is pressed, and its bias reads as active: with
//! `bias = "pull-up"` a contact to ground and `active_low = false`. Only such keys are called fail-safe.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind, Offset, Value};
use serde::Deserialize;
use tokio::time::sleep;

use super::ready::Readable;
use super::{
    Gives, Input, InputDriver, IoError, IoInfo, OpenedInput, OpenedOutput, Output, OutputDriver, Signal,
    Wiring, read_keys,
};
use crate::gpio::{self, Found, labels};
use crate::{DeviceOptions, Listing};

/// `driver = "gpio"` of an input.
pub const INPUT: InputDriver = InputDriver {
    name: NAME,
    about: "contact on a GPIO line",
    check: |options| options.read::<InputKeys>()?.check(),
    open: |name, options, _| Box::pin(async move { open_input(name, options) }),
    list: || Box::pin(async { list() }),
};

/// `driver = "gpio"` of an output.
pub const OUTPUT: OutputDriver = OutputDriver {
    name: NAME,
    about: "lamp, horn or relay on a GPIO line",
    check: |options| options.read::<OutputKeys>()?.place().check(),
    open: |name, options, _| Box::pin(async move { open_output(name, options) }),
    list: || Box::pin(async { list() }),
};

const NAME: &str = "gpio";
const CONSUMER: &str = "turnstage";
/// How often the level itself is read: an edge that was lost, or a chip that is gone, is noticed so late at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    chip: Option<String>,
    line: Line,
}

/// A line by name, or by number on its chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Line {
    Offset(u32),
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputKeys {
    /// Label of the chip, for example `pinctrl-rp1`.
    chip: Option<String>,
    /// Name or number of the line.
    line: Line,
    /// Active while the line is low.
    #[serde(default)]
    active_low: bool,
    /// What an open wire reads as.
    #[serde(default)]
    bias: Pull,
    /// Shorter changes do not count.
    #[serde(default = "debounce_ms")]
    debounce_ms: u64,
}

fn debounce_ms() -> u64 {
    10
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pull {
    /// High.
    #[serde(rename = "pull-up")]
    Up,
    /// Low.
    #[serde(rename = "pull-down")]
    Down,
    /// Whatever is outside.
    Disabled,
    /// As the board set it up.
    #[default]
    AsIs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputKeys {
    /// Label of the chip.
    chip: Option<String>,
    /// Name or number of the line.
    line: Line,
    /// On while the line is low, as with most relay boards.
    #[serde(default)]
    active_low: bool,
}

impl Place {
    fn check(&self) -> Result<(), String> {
        if let Some(chip) = &self.chip {
            gpio::check_label("chip", chip)?;
        }
        match (&self.chip, &self.line) {
            (None, Line::Offset(offset)) => {
                Err(format!("line = {offset} needs chip, the label of its chip, see turnstage devices"))
            }
            (_, Line::Name(name)) if name.is_empty() => {
                Err("line is empty; give a name or a number".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What a person would look for.
    fn id(&self) -> String {
        let line = match &self.line {
            Line::Offset(offset) => format!("line {offset}"),
            Line::Name(name) => format!("line {name}"),
        };
        self.chip.as_ref().map_or_else(|| line.clone(), |chip| format!("{chip} {line}"))
    }
}

impl InputKeys {
    fn place(&self) -> Place {
        Place { chip: self.chip.clone(), line: self.line.clone() }
    }

    fn check(&self) -> Result<Wiring, String> {
        self.place().check()?;
        if self.debounce_ms > 100 {
            return Err(format!("debounce_ms = {} is not in 0 to 100", self.debounce_ms));
        }
        let open_wire_is_active = match self.bias {
            Pull::Up => !self.active_low,
            Pull::Down => self.active_low,
            Pull::Disabled | Pull::AsIs => false,
        };
        Ok(Wiring { gives: Gives::Contact, fail_safe: open_wire_is_active })
    }
}

impl OutputKeys {
    fn place(&self) -> Place {
        Place { chip: self.chip.clone(), line: self.line.clone() }
    }
}

impl Pull {
    fn bias(self) -> Option<Bias> {
        match self {
            Self::Up => Some(Bias::PullUp),
            Self::Down => Some(Bias::PullDown),
            Self::Disabled => Some(Bias::Disabled),
            Self::AsIs => None,
        }
    }
}

/// Chip and number of a line that nobody uses.
fn find(place: &Place) -> Result<(PathBuf, Offset), IoError> {
    let unavailable =
        |why: String, hint: &str| IoError::Unavailable { id: place.id(), why, hint: hint.to_owned() };
    let candidates = gpio::called(place.chip.as_deref()).map_err(|e| unavailable(e.why, e.hint))?;
    let lines: Vec<(&Found, Offset)> = match &place.line {
        Line::Offset(offset) => candidates.iter().map(|found| (found, *offset)).collect(),
        Line::Name(name) => {
            let offset = |found: &Found| found.chip.find_line_info(name).map(|info| info.offset);
            candidates.iter().filter_map(|found| Some((found, offset(found)?))).collect()
        }
    };
    let (found, offset) = match lines.as_slice() {
        [one] => *one,
        [] => {
            return Err(unavailable(
                format!("no such line on {}", labels(&candidates)),
                "correct line; see gpioinfo",
            ));
        }
        _ => {
            return Err(unavailable(
                "several chips have it".to_owned(),
                "name the line, or give chip as well",
            ));
        }
    };
    let info =
        found.chip.line_info(offset).map_err(|e| unavailable(e.to_string(), "correct line; see gpioinfo"))?;
    if info.used {
        let why =
            format!("it is used by {}", if info.consumer.is_empty() { "the kernel" } else { &info.consumer });
        return Err(unavailable(why, "end that program, or choose another line"));
    }
    Ok((found.path.clone(), offset))
}

fn list() -> Vec<Listing> {
    let each = gpio::chips().0.into_iter().map(|found| {
        let lines = found.chip.info().map(|info| info.num_lines).unwrap_or_default();
        let listing = Listing::of(NAME, &found.label, &format!("{lines} lines"));
        // Which line it is only the person knows who wired it.
        Listing { options: None, ..listing }
    });
    each.collect()
}

fn requested(place: &Place, request: gpiocdev::Result<Request>) -> Result<Request, IoError> {
    request.map_err(|error| IoError::Unavailable {
        id: place.id(),
        why: error.to_string(),
        hint: "see gpioinfo: the line may be used, or lack the bias that was asked for".to_owned(),
    })
}

fn lost(info: &IoInfo, error: &impl ToString) -> IoError {
    IoError::Lost { id: info.id.clone(), why: error.to_string() }
}

struct Contact {
    info: IoInfo,
    offset: Offset,
    line: Request,
    readable: Readable,
    told: Option<bool>,
}

fn open_input(name: &str, options: &DeviceOptions) -> OpenedInput {
    let keys: InputKeys = read_keys(name, options)?;
    keys.check().map_err(|what| IoError::Config { name: name.to_owned(), what })?;
    let place = keys.place();
    let (chip, offset) = find(&place)?;
    let mut builder = Request::builder();
    builder.on_chip(chip).with_consumer(CONSUMER).with_line(offset).as_input();
    builder.with_bias(keys.bias.bias()).with_edge_detection(EdgeDetection::BothEdges);
    if keys.active_low {
        builder.as_active_low();
    }
    if keys.debounce_ms > 0 {
        builder.with_debounce_period(Duration::from_millis(keys.debounce_ms));
    }
    let line = requested(&place, builder.request())?;
    let info = IoInfo { driver: NAME, id: place.id(), label: "GPIO line".to_owned() };
    let readable = Readable::of(&line).map_err(|e| lost(&info, &e))?;
    Ok(Box::new(Contact { info, offset, line, readable, told: None }))
}

impl Contact {
    /// Tells a level that is news.
    fn tell(&mut self, active: bool) -> Option<Signal> {
        let news = self.told != Some(active);
        self.told = Some(active);
        news.then_some(if active { Signal::Pressed } else { Signal::Released })
    }

    fn level(&self) -> Result<bool, IoError> {
        let value = self.line.value(self.offset).map_err(|e| lost(&self.info, &e))?;
        Ok(value == Value::Active)
    }

    /// The level after the oldest edge that waits; a short press has two.
    fn edge(&self) -> Result<Option<bool>, IoError> {
        let edge = gpio::oldest_edge(&self.line).map_err(|e| lost(&self.info, &e))?;
        Ok(edge.map(|edge| edge.kind == EdgeKind::Rising))
    }
}

#[async_trait]
impl Input for Contact {
    async fn next(&mut self) -> Result<Signal, IoError> {
        loop {
            let active = match (self.told, self.edge()?) {
                (None, _) => self.level()?,
                (Some(_), Some(active)) => active,
                (Some(_), None) => {
                    tokio::select! {
                        ready = self.readable.wait() => {
                            ready.map_err(|e| lost(&self.info, &e))?;
                            continue;
                        }
                        () = sleep(LOOK_EVERY) => self.level()?,
                    }
                }
            };
            if let Some(signal) = self.tell(active) {
                return Ok(signal);
            }
        }
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

struct Switch {
    info: IoInfo,
    offset: Offset,
    line: Request,
}

fn open_output(name: &str, options: &DeviceOptions) -> OpenedOutput {
    let keys: OutputKeys = read_keys(name, options)?;
    let place = keys.place();
    place.check().map_err(|what| IoError::Config { name: name.to_owned(), what })?;
    let (chip, offset) = find(&place)?;
    let mut builder = Request::builder();
    builder.on_chip(chip).with_consumer(CONSUMER).with_line(offset).as_output(Value::Inactive);
    if keys.active_low {
        builder.as_active_low();
    }
    let line = requested(&place, builder.request())?;
    let info = IoInfo { driver: NAME, id: place.id(), label: "GPIO line".to_owned() };
    Ok(Box::new(Switch { info, offset, line }))
}

#[async_trait]
impl Output for Switch {
    async fn set(&mut self, level: f64) -> Result<(), IoError> {
        let value = if level >= 0.5 { Value::Active } else { Value::Inactive };
        self.line.set_value(self.offset, value).map_err(|e| lost(&self.info, &e))
    }

    fn info(&self) -> &IoInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &str) -> DeviceOptions {
        toml::from_str(&format!("driver = \"gpio\"\n{more}")).unwrap()
    }

    fn told(more: &str) -> String {
        (INPUT.check)(&options(more)).unwrap_err()
    }

    #[test]
    fn a_line_is_named_so_that_it_is_the_same_after_the_next_start() {
        assert!(told("chip = \"/dev/gpiochip0\"\nline = 17").contains("give its label"));
        assert!(told("chip = \"gpiochip4\"\nline = 17").contains("give its label"));
        assert!(told("line = 17").contains("line = 17 needs chip"));
        assert!(told("line = \"\"").contains("line is empty"));
        assert!(told("line = \"GPIO17\"\nbias = \"up\"").contains("pull-up"));
        assert!(
            told("line = \"GPIO17\"\ndebounce_ms = 101").contains("debounce_ms = 101 is not in 0 to 100")
        );
        assert!(told("line = \"GPIO17\"\nedge = \"both\"").contains("edge"));
        assert!((OUTPUT.check)(&options("line = 3")).unwrap_err().contains("needs chip"));
        (INPUT.check)(&options("chip = \"pinctrl-rp1\"\nline = 17")).unwrap();
        (OUTPUT.check)(&options("line = \"GPIO17\"\nactive_low = true")).unwrap();
    }

    #[test]
    fn only_a_broken_wire_that_reads_as_pressed_is_fail_safe() {
        let is_fail_safe =
            |more: &str| (INPUT.check)(&options(&format!("line = \"GPIO17\"\n{more}"))).unwrap().fail_safe;
        assert!(is_fail_safe("bias = \"pull-up\""));
        assert!(is_fail_safe("bias = \"pull-down\"\nactive_low = true"));
        assert!(!is_fail_safe("bias = \"pull-up\"\nactive_low = true"), "an open contact reads as at rest");
        assert!(!is_fail_safe("bias = \"pull-down\""));
        assert!(!is_fail_safe(""), "nobody knows what an open wire reads as");
    }

    #[test]
    fn a_chip_that_is_not_there_is_told_with_those_that_are() {
        let more = "chip = \"no such chip\"\nline = 3";
        for error in [open_input("stop", &options(more)).err(), open_output("lamp", &options(more)).err()] {
            let error = error.unwrap().to_string();
            let told = "no such chip line 3: no GPIO chip is called no such chip; there are: ";
            assert!(error.starts_with(told), "{error}");
        }
    }
}
