//! The switch cabinet: outputs that turn the platform, and an index switch that says how far it came.
//!
//! Switching off may be tried again; switching on never is. What cannot be read back, as with USB relays, is believed.

use std::path::PathBuf;
use std::time::Duration;

use gpiocdev::Request as Lines;
use gpiocdev::line::{EdgeDetection, Value};

use super::bus::Bus;
use super::keys::{Index, Keys, Switch, Via, Watchdog};
use super::modbus::Request;
use crate::gpio;
use crate::link::{Link, LinkError};
use crate::turntable::TurntableError;

const SEND: Duration = Duration::from_secs(1);
/// A module that never answers is heard for so long, for the sake of a lost link.
const LISTEN: Duration = Duration::from_millis(1);
/// A switch that bounces gives one pulse.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// What the outputs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Off,
    Forward,
    Backward,
}

/// What went wrong with the cabinet.
#[derive(Debug)]
pub(super) enum Trouble {
    Link(LinkError),
    /// It answers, but not what it should.
    Refused(String),
    /// No answer within this.
    Silent(Duration),
}

impl Trouble {
    pub(super) fn while_trying(self, id: &str, tried: &str) -> TurntableError {
        let (id, tried) = (id.to_owned(), tried.to_owned());
        match self {
            Self::Link(error) => error.while_trying(&id, &tried),
            Self::Refused(what) => TurntableError::Fault { id, tried, what },
            Self::Silent(limit) => TurntableError::NoReply { id, tried, limit },
        }
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

enum Wires {
    Usb(Box<dyn Link>),
    Modbus(Bus),
    /// Lines of the chip of this label.
    Gpio(Lines, String),
}

enum Pulses {
    Line(Lines),
    Input { address: u16, level: Option<bool> },
}

/// Outputs and index switch.
pub(super) struct Cabinet {
    wires: Wires,
    switch: Switch,
    speed: Option<(u16, f64)>,
    watchdog: Option<Watchdog>,
    pulses: Option<Pulses>,
}

impl Cabinet {
    /// Outputs over `link`, a serial one of so many `baud`, or GPIO lines, which are off from then on. Nothing was sent
    /// yet.
    pub(super) fn new(keys: &Keys, link: Option<Box<dyn Link>>, baud: u32) -> Result<Self, TurntableError> {
        let config = |what: String| TurntableError::Config { driver: super::NAME.to_owned(), what };
        let switch = keys.switch().map_err(config)?;
        let wires = match (keys.framing(), link) {
            (Some(framing), Some(link)) => Wires::Modbus(Bus::new(link, framing, keys.unit, baud)),
            (None, Some(link)) if keys.via == Via::Usb => Wires::Usb(link),
            (None, None) if keys.via == Via::Gpio => outputs(keys, switch)?,
            _ => return Err(config("via does not go with the link that is given".to_owned())),
        };
        let pulses = match keys.index().map_err(config)? {
            None => None,
            Some(Index::Input(address)) => Some(Pulses::Input { address, level: None }),
            Some(Index::Line { chip, line }) => Some(Pulses::Line(input(&chip, line)?)),
        };
        let (speed, watchdog) = (keys.speed().map_err(config)?, keys.watchdog().map_err(config)?);
        Ok(Self { wires, switch, speed, watchdog, pulses })
    }

    pub(super) fn name(&self) -> String {
        match &self.wires {
            Wires::Usb(link) => link.name().to_owned(),
            Wires::Modbus(bus) => bus.name().to_owned(),
            Wires::Gpio(_, chip) => chip.clone(),
        }
    }

    /// Whether the index switch can be asked without waiting for an answer.
    pub(super) fn is_quick(&self) -> bool {
        !matches!(self.pulses, Some(Pulses::Input { .. }))
    }

    /// How long one question and its answer take, where it has to be asked.
    pub(super) fn exchange(&self) -> Duration {
        match &self.wires {
            Wires::Modbus(bus) => bus.exchange(),
            Wires::Usb(_) | Wires::Gpio(..) => Duration::ZERO,
        }
    }

    /// Has the drive watch over the link, if one is configured; `true` once that was read back.
    pub(super) async fn arm(&mut self) -> Result<bool, Trouble> {
        let Some(Watchdog { register, value, .. }) = self.watchdog else { return Ok(false) };
        let bus = self.bus()?;
        bus.ask(Request::WriteRegister { address: register, value }).await?;
        match bus.ask(Request::ReadRegister { address: register }).await? {
            read if read == value => Ok(true),
            read => Err(Trouble::Refused(format!(
                "its communication time-out reads {read} after {value} was written; check watchdog_register"
            ))),
        }
    }

    /// Sets the speed of what runs next, in degrees a second, where it can be set.
    pub(super) async fn set_speed(&mut self, deg_s: f64) -> Result<(), Trouble> {
        let Some((address, scale)) = self.speed else { return Ok(()) };
        // Checked to fit when the keys were read.
        let value = (deg_s * scale).round().clamp(0.0, f64::from(u16::MAX)) as u16;
        self.bus()?.ask(Request::WriteRegister { address, value }).await.map(drop)
    }

    /// Switches. Off is tried with everything that there is; on is sent once. Returns how late off may have been done.
    pub(super) async fn set(&mut self, run: Run) -> Result<Duration, Trouble> {
        match (self.switch, run) {
            (Switch::Register { address, off, .. }, Run::Off) => {
                self.bus()?.insist(Request::WriteRegister { address, value: off }).await
            }
            (Switch::Register { address, forward, backward, .. }, run) => {
                let value = if run == Run::Forward { forward } else { backward.unwrap_or(forward) };
                self.bus()?.ask_once(Request::WriteRegister { address, value }).await?;
                Ok(Duration::ZERO)
            }
            (Switch::Each { forward, backward, enable }, Run::Off) => {
                let mut late = Ok(Duration::ZERO);
                for output in [enable, Some(forward), backward].into_iter().flatten() {
                    let this = self.put(output, false).await;
                    late = late.and_then(|late| this.map(|this| this.max(late)));
                }
                late
            }
            (Switch::Each { forward, backward, enable }, run) => {
                let (on, off) =
                    if run == Run::Forward { (Some(forward), backward) } else { (backward, Some(forward)) };
                // Both directions at once would short a reversing contactor.
                if let Some(off) = off {
                    self.put(off, false).await?;
                }
                for output in [on, enable].into_iter().flatten() {
                    self.put(output, true).await?;
                }
                Ok(Duration::ZERO)
            }
        }
    }

    async fn put(&mut self, output: u16, on: bool) -> Result<Duration, Trouble> {
        match &mut self.wires {
            Wires::Usb(link) => link.send(&usb(output, on), SEND).await?,
            Wires::Modbus(bus) if on => drop(bus.ask_once(Request::WriteCoil { address: output, on }).await?),
            Wires::Modbus(bus) => return bus.insist(Request::WriteCoil { address: output, on }).await,
            Wires::Gpio(lines, _) => {
                let value = if on { Value::Active } else { Value::Inactive };
                let set = lines.set_value(u32::from(output), value);
                set.map_err(|e| Trouble::Refused(format!("line {output} cannot be set: {e}")))?;
            }
        }
        Ok(Duration::ZERO)
    }

    /// Pulses since it was asked last. Also keeps a drive's watch over the link content.
    pub(super) async fn tend(&mut self) -> Result<u32, Trouble> {
        let count = match &mut self.pulses {
            None => 0,
            Some(Pulses::Line(lines)) => {
                let lost =
                    |e: gpiocdev::Error| Trouble::Refused(format!("the index switch cannot be read: {e}"));
                let mut count = 0;
                while gpio::oldest_edge(lines).map_err(lost)?.is_some() {
                    count += 1;
                }
                count
            }
            Some(Pulses::Input { address, level }) => {
                let (address, before) = (*address, *level);
                let now = self.bus()?.ask(Request::ReadInput { address }).await? == 1;
                if let Some(Pulses::Input { level, .. }) = &mut self.pulses {
                    *level = Some(now);
                }
                u32::from(now && before == Some(false))
            }
        };
        // A module never answers; but that its link is lost is heard at once.
        if let Wires::Usb(link) = &mut self.wires {
            match link.receive(&mut Vec::new(), LISTEN).await {
                Ok(_) | Err(LinkError::Silent { .. }) => {}
                Err(lost) => return Err(lost.into()),
            }
        }
        if let Some(watchdog) = self.watchdog {
            let bus = self.bus()?;
            if bus.spoken().elapsed() > watchdog.limit / 4 {
                bus.ask(Request::ReadRegister { address: watchdog.register }).await?;
            }
        }
        Ok(count)
    }

    fn bus(&mut self) -> Result<&mut Bus, Trouble> {
        match &mut self.wires {
            Wires::Modbus(bus) => Ok(bus),
            Wires::Usb(_) | Wires::Gpio(..) => {
                Err(Trouble::Refused("only a Modbus device has registers and inputs".to_owned()))
            }
        }
    }
}

/// What a USB relay module takes: start, relay, state, and the sum of these in one byte.
fn usb(relay: u16, on: bool) -> [u8; 4] {
    // Checked to be 1 to 16 when the keys were read.
    let (relay, state) = (relay.to_le_bytes()[0], u8::from(on));
    [0xa0, relay, state, 0xa0u8.wrapping_add(relay).wrapping_add(state)]
}

fn outputs(keys: &Keys, switch: Switch) -> Result<Wires, TurntableError> {
    let chip = keys.chip.clone().unwrap_or_default();
    let Switch::Each { forward, backward, enable } = switch else {
        return Err(TurntableError::Config {
            driver: super::NAME.to_owned(),
            what: "GPIO has no register".to_owned(),
        });
    };
    let mut builder = Lines::builder();
    builder.on_chip(path(&chip)?).with_consumer("turnstage");
    for output in [Some(forward), backward, enable].into_iter().flatten() {
        let line = builder.with_line(u32::from(output)).as_output(Value::Inactive);
        match keys.active_low {
            true => line.as_active_low(),
            false => line.as_active_high(),
        };
    }
    let lines = builder.request().map_err(|e| unavailable(&chip, &e))?;
    Ok(Wires::Gpio(lines, chip))
}

/// Where the chip of this label is now.
fn path(label: &str) -> Result<PathBuf, TurntableError> {
    gpio::only(label).map(|found| found.path).map_err(|absent| TurntableError::Unavailable {
        id: label.to_owned(),
        why: absent.why,
        hint: absent.hint.to_owned(),
    })
}

fn input(chip: &str, line: u32) -> Result<Lines, TurntableError> {
    let mut builder = Lines::builder();
    builder.on_chip(path(chip)?).with_consumer("turnstage").with_line(line);
    builder.as_input().with_edge_detection(EdgeDetection::RisingEdge).with_debounce_period(DEBOUNCE);
    builder.request().map_err(|e| unavailable(chip, &e))
}

fn unavailable(chip: &str, error: &gpiocdev::Error) -> TurntableError {
    TurntableError::Unavailable {
        id: chip.to_owned(),
        why: error.to_string(),
        hint: "gpioinfo lists chips and who holds a line; the service needs the group that owns the chip"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usb_relay_takes_start_number_state_and_sum() {
        assert_eq!(usb(1, true), [0xa0, 0x01, 0x01, 0xa2]);
        assert_eq!(usb(1, false), [0xa0, 0x01, 0x00, 0xa1]);
        assert_eq!(usb(16, true), [0xa0, 0x10, 0x01, 0xb1]);
    }
}
