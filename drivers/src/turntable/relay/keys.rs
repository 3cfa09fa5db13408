//! What a person may say of a platform behind relays or a drive, checked before anything is opened.

use std::time::Duration;

use serde::Deserialize;

use super::modbus::Framing;
use crate::turntable::RunLimit;
use crate::{DeviceOptions, gpio};

/// How the outputs are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Via {
    /// A USB relay module that takes `A0 n s sum`.
    Usb,
    /// Modbus on a serial line.
    ModbusRtu,
    /// Modbus on the network.
    ModbusTcp,
    /// Lines of the computer's own GPIO.
    Gpio,
}

/// The driver's own keys; those of the link are [`crate::link::LinkKeys`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) via: Via,
    /// Relay, GPIO line or coil that turns forward; of a drive with a control register, unused.
    forward: Option<u16>,
    backward: Option<u16>,
    enable: Option<u16>,
    /// GPIO: the label of the chip of the outputs, `pinctrl-rp1`.
    pub(super) chip: Option<String>,
    /// GPIO: an output is on when its line is low.
    #[serde(default)]
    pub(super) active_low: bool,
    /// Modbus: the device's number.
    #[serde(default = "unit")]
    pub(super) unit: u8,
    /// Modbus: a control register instead of coils, and what is written into it.
    register: Option<u16>,
    forward_value: Option<u16>,
    backward_value: Option<u16>,
    off_value: Option<u16>,
    /// Modbus: a register for the speed, and what in it is one degree a second.
    speed_register: Option<u16>,
    speed_per_deg_s: Option<f64>,
    /// Modbus: the drive stops by itself when it hears nothing for this long.
    watchdog_register: Option<u16>,
    watchdog_value: Option<u16>,
    watchdog_ms: Option<u64>,
    /// The hardware ends each run by itself after so long at the latest, as a person set it there.
    run_limit_s: Option<f64>,
    /// Calibrated: degrees a second while the outputs are on.
    pub(super) deg_per_s: f64,
    /// Calibrated: what it turns on after switching off, less what it lost in starting.
    #[serde(default)]
    pub(super) coast_deg: f64,
    /// What it turns on after switching off, all of it.
    #[serde(default)]
    pub(super) run_on_deg: f64,
    /// From switching off to rest.
    #[serde(default = "rest_ms")]
    rest_ms: u64,
    /// How far beside its target a timed move may end.
    #[serde(default = "error_deg")]
    pub(super) error_deg: f64,
    /// As long as such errors add up to no more than this, the estimate is good enough to shoot at.
    #[serde(default)]
    pub(super) error_deg_max: f64,
    /// Pulses a turn of an index switch.
    pub(super) pulses: Option<u32>,
    /// Index switch: a GPIO line, on the chip labelled `index_chip` or `chip`.
    index_line: Option<u32>,
    index_chip: Option<String>,
    /// Index switch: a discrete input of the Modbus device.
    index_input: Option<u16>,
    /// Angle at which the only pulse of a turn is.
    #[serde(default)]
    pub(super) home_deg: f64,
}

/// Timers are not exact: a run that is asked for takes no more than this share of what the hardware allows.
const RUN_SHARE: f64 = 0.8;

fn unit() -> u8 {
    1
}

fn rest_ms() -> u64 {
    2000
}

fn error_deg() -> f64 {
    2.0
}

/// What switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// Numbers of relays, lines or coils.
    Each { forward: u16, backward: Option<u16>, enable: Option<u16> },
    /// One register and its values.
    Register { address: u16, forward: u16, backward: Option<u16>, off: u16 },
}

/// Where the pulses of an index switch come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Index {
    Line { chip: String, line: u32 },
    Input(u16),
}

/// A drive's own watch over the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watchdog {
    pub(super) register: u16,
    pub(super) value: u16,
    pub(super) limit: Duration,
}

impl Keys {
    /// Reads and checks them.
    pub(super) fn read(options: &DeviceOptions) -> Result<Self, String> {
        let keys: Self = options.read()?;
        for (key, value, low, high) in [
            ("deg_per_s", keys.deg_per_s, 0.1, 90.0),
            ("coast_deg", keys.coast_deg, -90.0, 90.0),
            ("run_on_deg", keys.run_on_deg, 0.0, 90.0),
            ("rest_ms", keys.rest_ms as f64, 0.0, 60_000.0),
            ("error_deg", keys.error_deg, 0.01, 45.0),
            ("error_deg_max", keys.error_deg_max, 0.0, 90.0),
            ("home_deg", keys.home_deg, -360.0, 360.0),
            ("pulses", f64::from(keys.pulses.unwrap_or(1)), 1.0, 3600.0),
            ("speed_per_deg_s", keys.speed_per_deg_s.unwrap_or(1.0), 0.001, 65_535.0),
            ("run_limit_s", keys.run_limit_s.unwrap_or(1.0), 1.0, 600.0),
            ("watchdog_ms", keys.watchdog_ms.unwrap_or(1000) as f64, 200.0, 60_000.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("{key} = {value} is not in {low} to {high}"));
            }
        }
        keys.switch()?;
        keys.index()?;
        keys.speed()?;
        keys.watchdog()?;
        keys.check_run_limit()?;
        for (key, chip) in [("chip", &keys.chip), ("index_chip", &keys.index_chip)] {
            if let Some(chip) = chip {
                gpio::check_label(key, chip)?;
            }
        }
        if keys.via == Via::Gpio && keys.chip.is_none() {
            return Err("via = \"gpio\" needs chip, its label, for example \"pinctrl-rp1\"".to_owned());
        }
        Ok(keys)
    }

    pub(super) fn framing(&self) -> Option<Framing> {
        match self.via {
            Via::ModbusRtu => Some(Framing::Rtu),
            Via::ModbusTcp => Some(Framing::Tcp),
            Via::Usb | Via::Gpio => None,
        }
    }

    /// Degrees from pulse to pulse of an index switch.
    pub(super) fn grid(&self) -> Option<f64> {
        self.pulses.map(|pulses| 360.0 / f64::from(pulses))
    }

    pub(super) fn rest(&self) -> Duration {
        Duration::from_millis(self.rest_ms)
    }

    /// Seconds for which the outputs may be on in one run, where the hardware limits that.
    pub(super) fn run_s_max(&self) -> Option<f64> {
        self.run_limit_s.map(|limit_s| RUN_SHARE * limit_s)
    }

    /// What one run comes to by the hardware's own limit, if it has one.
    pub(super) fn run_limit(&self) -> Option<RunLimit> {
        let after_deg = (self.deg_per_s * self.rest().as_secs_f64()).max(self.run_on_deg).max(self.coast_deg);
        Some(RunLimit {
            way_deg: self.deg_per_s * self.run_s_max()? + self.coast_deg,
            ends_deg: self.deg_per_s * self.run_limit_s? + after_deg,
        })
    }

    fn check_run_limit(&self) -> Result<(), String> {
        let (Some(limit_s), Some(limit)) = (self.run_limit_s, self.run_limit()) else { return Ok(()) };
        if self.watchdog_ms.is_some() {
            return Err(
                "a drive that watches over the link halts by itself; leave run_limit_s out".to_owned()
            );
        }
        if limit.way_deg < 1.0 {
            return Err(format!(
                "run_limit_s = {limit_s} leaves no way of a degree; set the hardware's limit longer"
            ));
        }
        let turn_s = 360.0 / self.deg_per_s / RUN_SHARE;
        match self.pulses == Some(1) && limit_s < turn_s {
            false => Ok(()),
            true => Err(format!(
                "run_limit_s = {limit_s} would end the search for the only pulse of a turn, which needs run_limit_s of \
                 {turn_s:.0} or more; set the hardware's limit so, fit more pulses, or leave pulses out and declare zero"
            )),
        }
    }

    fn modbus_only(&self, key: &str) -> Result<(), String> {
        match self.framing() {
            Some(_) => Ok(()),
            None => Err(format!("{key} needs via = \"modbus-rtu\" or \"modbus-tcp\"")),
        }
    }

    pub(super) fn switch(&self) -> Result<Switch, String> {
        if let Some(address) = self.register {
            self.modbus_only("register")?;
            let (Some(forward), Some(off)) = (self.forward_value, self.off_value) else {
                return Err("register needs forward_value and off_value, from the drive's manual".to_owned());
            };
            if self.forward.or(self.backward).or(self.enable).is_some() {
                return Err(
                    "register takes the place of forward, backward and enable; give one or the other"
                        .to_owned(),
                );
            }
            return Ok(Switch::Register { address, forward, backward: self.backward_value, off });
        }
        let Some(forward) = self.forward else {
            return Err(
                "forward is missing: the number of the relay, line or coil that turns forward".to_owned()
            );
        };
        let numbers: Vec<_> = [Some(forward), self.backward, self.enable].into_iter().flatten().collect();
        if (1..numbers.len()).any(|k| numbers[..k].contains(&numbers[k])) {
            return Err(format!("forward, backward and enable are {numbers:?}; each needs its own output"));
        }
        if self.via == Via::Usb
            && let Some(wrong) = numbers.iter().find(|n| !(1..=16).contains(*n))
        {
            return Err(format!("relay {wrong} is not in 1 to 16"));
        }
        Ok(Switch::Each { forward, backward: self.backward, enable: self.enable })
    }

    /// The index switch, if there is one.
    pub(super) fn index(&self) -> Result<Option<Index>, String> {
        let index = match (self.index_line, self.index_input) {
            (None, None) => None,
            (Some(_), Some(_)) => return Err("give index_line or index_input, not both".to_owned()),
            (Some(line), None) => match self.index_chip.as_ref().or(self.chip.as_ref()) {
                Some(chip) => Some(Index::Line { chip: chip.clone(), line }),
                None => {
                    return Err(
                        "index_line needs index_chip, a label, for example \"pinctrl-rp1\"".to_owned()
                    );
                }
            },
            (None, Some(input)) => {
                self.modbus_only("index_input")?;
                Some(Index::Input(input))
            }
        };
        match (index.is_some(), self.pulses) {
            (true, None) => Err("an index switch needs pulses, its number of pulses a turn".to_owned()),
            (false, Some(_)) => Err("pulses needs index_line or index_input".to_owned()),
            _ => Ok(index),
        }
    }

    /// Register and scale of the speed, if it can be set.
    pub(super) fn speed(&self) -> Result<Option<(u16, f64)>, String> {
        match (self.speed_register, self.speed_per_deg_s) {
            (None, None) => Ok(None),
            (Some(register), Some(scale)) => {
                self.modbus_only("speed_register")?;
                match scale * self.deg_per_s <= f64::from(u16::MAX) {
                    true => Ok(Some((register, scale))),
                    false => Err(format!("speed_per_deg_s = {scale} at deg_per_s is over 65535")),
                }
            }
            _ => Err("speed_register and speed_per_deg_s belong together".to_owned()),
        }
    }

    /// The drive's own watch over the link, if it is to be set.
    pub(super) fn watchdog(&self) -> Result<Option<Watchdog>, String> {
        match (self.watchdog_register, self.watchdog_value, self.watchdog_ms) {
            (None, None, None) => Ok(None),
            (Some(register), Some(value), Some(ms)) => {
                self.modbus_only("watchdog_register")?;
                Ok(Some(Watchdog { register, value, limit: Duration::from_millis(ms) }))
            }
            _ => Err("watchdog_register, watchdog_value and watchdog_ms belong together".to_owned()),
        }
    }
}
