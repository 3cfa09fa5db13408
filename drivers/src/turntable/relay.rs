//! Platforms behind relays, GPIO or a Modbus drive: `driver = "relay"`. Car turntables are such.
//!
//! There is no controller that counts. An angle is a time at a calibrated speed, or pulses of an index switch; only
//! the second proves anything. Outputs are off before the first motion and after the last, and every motion is bounded
//! by our own watch. What that is worth when the station itself dies: see `without_link` and docs/hardware.md.

mod bus;
mod cabinet;
mod keys;
mod modbus;
mod motion;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use self::cabinet::{Cabinet, Run, Trouble};
use self::keys::{Keys, Switch, Via};
use super::{
    DegPerS, Direction, Driver, Moved, Opened, Position, Reference, Sighting, Source, Speaker, Target,
    Turntable, TurntableError, TurntableInfo, WithoutLink, candidates,
};
use crate::frame::Angle;
use crate::link::{Link, LinkKeys, Way, Wire, serial};
use crate::tried::is_tried;
use crate::{DeviceOptions, Listing};

/// `driver = "relay"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "a platform behind relays, GPIO lines or a Modbus drive, by time or an index switch",
    check,
    open: |options, _| Box::pin(open(options)),
    list: || Box::pin(async { list(serial::ports()) }),
};

/// The same on a link that is open already.
pub const SPEAKER: Speaker = Speaker { name: NAME, begin: |options, link| Box::pin(begin(options, link)) };

const NAME: &str = "relay";
/// USB relay modules of this kind speak at this speed.
const BAUD: u32 = 9600;
/// A target nearer than this is where the table stands.
const RESOLUTION_DEG: f64 = 1e-3;
/// The slowest speed of a drive that can be told one, as a share of its fastest.
const SLOWEST_SHARE: f64 = 0.05;
/// The share of its speed within which a platform of one speed turns as asked.
const SPEED_SHARE: f64 = 0.05;

fn wrong(what: String) -> TurntableError {
    TurntableError::Config { driver: NAME.to_owned(), what }
}

/// Neither relays nor drives say what they are, and a section needs what only a person can measure.
fn list(ports: Vec<serial::Port>) -> Vec<Listing> {
    let what = "USB relays, or an adapter to a Modbus drive, that turn a platform";
    let each = candidates(NAME, ports, what).into_iter();
    each.map(|listing| Listing { options: None, ..listing }).collect()
}

/// Nothing but a cut of its power ends a run of this section once its link is lost: neither a limit of the hardware nor a
/// drive that watches over the link is declared.
pub(super) fn runs_on(options: &DeviceOptions) -> bool {
    !options.keys.contains_key("run_limit_s") && !options.keys.contains_key("watchdog_ms")
}

fn has_link(options: &DeviceOptions) -> bool {
    options.keys.get("via").and_then(toml::Value::as_str) != Some("gpio")
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    let own = match has_link(options) {
        true => linked(options)?.1,
        false => options.clone(),
    };
    Keys::read(&own).map(drop)
}

/// The link's keys and the driver's own. A motor hangs on no port that may be another one tomorrow: nothing that answers
/// there would tell the difference.
fn linked(options: &DeviceOptions) -> Result<(LinkKeys, DeviceOptions), String> {
    let (link, own) = LinkKeys::take(options)?;
    match &link.way {
        Way::Serial(path) if serial::is_numbered(path) => Err(format!(
            "serial = \"{path}\" may be another adapter after the next start, and the wrong motor would turn; give its \
             name below /dev/serial/by-id or /dev/serial/by-path, see turnstage devices"
        )),
        _ => Ok((link, own)),
    }
}

async fn open(options: &DeviceOptions) -> Opened {
    if !has_link(options) {
        return table(Keys::read(options).map_err(wrong)?, None, BAUD).await;
    }
    let (link, own) = linked(options).map_err(wrong)?;
    let keys = Keys::read(&own).map_err(wrong)?;
    let wire = Wire { baud: BAUD, ..Wire::default() };
    let open = link.open(&wire).await.map_err(|e| e.while_trying(link.name(), "open it"))?;
    table(keys, Some(open), link.baud.unwrap_or(BAUD)).await
}

async fn begin(options: &DeviceOptions, link: Box<dyn Link>) -> Opened {
    table(Keys::read(options).map_err(wrong)?, Some(link), BAUD).await
}

/// Everything off, at rest, and what can be asked was asked.
async fn table(keys: Keys, link: Option<Box<dyn Link>>, baud: u32) -> Opened {
    let mut cabinet = Cabinet::new(&keys, link, baud)?;
    let id = cabinet.name();
    let failed = |tried: &str, trouble: Trouble| match trouble {
        Trouble::Silent(_) if keys.framing().is_some() => TurntableError::Unavailable {
            id: id.clone(),
            why: format!("no Modbus device answers as unit {}", keys.unit),
            hint: "check its power, the two wires, its speed and its number".to_owned(),
        },
        other => other.while_trying(&id, tried),
    };
    cabinet.set(Run::Off).await.map_err(|e| failed("switch everything off", e))?;
    let off = Instant::now();
    let dead_man = cabinet.arm().await.map_err(|e| failed("set its communication time-out", e))?;
    tokio::time::sleep_until(off + keys.rest()).await;
    let info = info(&keys, id.clone(), dead_man);
    Ok(Box::new(Platform {
        cabinet,
        info,
        keys,
        turned: 0.0,
        zero: None,
        error_deg: 0.0,
        doubted: false,
        pin: None,
        running: None,
    }))
}

fn info(keys: &Keys, id: String, dead_man: bool) -> TurntableInfo {
    let model = match keys.via {
        Via::Usb => "platform behind USB relays",
        Via::ModbusRtu | Via::ModbusTcp => "platform behind a Modbus drive",
        Via::Gpio => "platform behind GPIO lines",
    };
    let rest_s = keys.rest().as_secs_f64().max(0.1);
    TurntableInfo {
        driver: NAME,
        id,
        model: model.to_owned(),
        home: keys.pulses == Some(1),
        home_way: Direction::Forward,
        one_way: (!has_backward(keys)).then_some(Direction::Forward),
        speed_max: keys.deg_per_s,
        acceleration: keys.deg_per_s / rest_s,
        rotates: Some((slowest(keys), keys.deg_per_s)),
        sweeps: keys.pulses.is_some(),
        stops: true,
        move_limit: Duration::from_secs_f64(1.5 * 360.0 / keys.deg_per_s + 2.0 * rest_s + 5.0),
        firmware: None,
        tilt: None,
        step_deg: keys.grid(),
        without_link: if dead_man { WithoutLink::Halts } else { WithoutLink::RunsOn(keys.run_limit()) },
        tried: is_tried(NAME, model),
    }
}

fn has_backward(keys: &Keys) -> bool {
    match keys.switch() {
        Ok(Switch::Each { backward, .. } | Switch::Register { backward, .. }) => backward.is_some(),
        Err(_) => false,
    }
}

/// The slowest turn that it can be asked for: its only one, where no speed can be set.
fn slowest(keys: &Keys) -> DegPerS {
    if matches!(keys.speed(), Ok(Some(_))) { SLOWEST_SHARE * keys.deg_per_s } else { keys.deg_per_s }
}

struct Platform {
    cabinet: Cabinet,
    info: TurntableInfo,
    keys: Keys,
    /// Degrees from zero, or from where it was opened, by what is believed; counted on over turns.
    turned: f64,
    zero: Option<Source>,
    /// What the timed moves since the last proof may have gone wrong by, added up.
    error_deg: f64,
    /// It was stopped on its way, or a motion was not seen to end.
    doubted: bool,
    /// An angle at which the index switch gives a pulse, once that is known.
    pin: Option<f64>,
    /// The outputs are on, until this at the latest.
    running: Option<Instant>,
}

impl Platform {
    fn angle(&self) -> Angle {
        Angle::new(self.turned)
    }

    fn trouble(&mut self, trouble: Trouble, tried: &str) -> TurntableError {
        (self.zero, self.pin) = (None, None);
        trouble.while_trying(&self.info.id, tried)
    }

    /// Whether a motion may begin now. `Err` is a refusal.
    fn free(&self, degrees: f64) -> Result<(), Moved> {
        if self.running.is_some() {
            return Err(refused(
                "motion-busy",
                "the platform was not seen to stop; stop it first".to_owned(),
            ));
        }
        if degrees < 0.0 && self.info.one_way.is_some() {
            return Err(refused("motion-one-way", "this platform turns forward only".to_owned()));
        }
        Ok(())
    }

    /// The speed at which it will turn when it is asked for `speed`, or why it cannot.
    fn speed(&self, speed: DegPerS) -> Result<DegPerS, String> {
        let limit = self.keys.deg_per_s;
        let settable = matches!(self.keys.speed(), Ok(Some(_)));
        let low = if settable { slowest(&self.keys) } else { (1.0 - SPEED_SHARE) * limit };
        match (low..=limit * (1.0 + SPEED_SHARE)).contains(&speed) {
            true if settable => Ok(speed.min(limit)),
            true => Ok(limit),
            false if settable => Err(format!("{speed} degrees a second is not in {low:.2} to {limit}")),
            false => Err(format!("this platform turns at {limit} degrees a second and not at {speed}")),
        }
    }
}

#[async_trait]
impl Turntable for Platform {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        if let Err(refusal) = self.free(0.0) {
            return Ok(refusal);
        }
        match how {
            Reference::At(angle) => {
                // Where it stands on a pin, that pin is now at this angle; any other place says nothing of pins.
                self.pin = self.pin.filter(|_| self.on_pin()).map(|_| angle.deg());
                (self.turned, self.zero) = (angle.deg(), Some(Source::Declared));
            }
            Reference::Home if self.info.home => {
                self.zero = None;
                self.run(Run::Forward, self.keys.deg_per_s, motion::Goal::Pulses(1), "find zero", None)
                    .await?;
                (self.turned, self.zero) = (self.keys.home_deg, Some(Source::Home));
                self.pin = Some(self.turned);
            }
            Reference::Home => {
                let reason = "this platform has no switch with one pulse a turn; set it to its zero mark and declare that";
                return Ok(refused("motion-no-home", reason.to_owned()));
            }
        }
        (self.error_deg, self.doubted) = (0.0, false);
        Ok(Moved::Done(self.angle()))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        if !matches!(self.position(), Position::Known(..)) && self.reckoned_deg().is_none() {
            let reason = match self.zero {
                Some(_) if !self.doubted => format!(
                    "timed moves may have gone wrong by {:.1} degrees, and error_deg_max is {}; find zero again, or \
                     use an index switch",
                    self.error_deg, self.keys.error_deg_max
                ),
                _ => "the position is not known; find zero first".to_owned(),
            };
            return Ok(refused("motion-not-referenced", reason));
        }
        let here = self.angle();
        let degrees = match to.direction {
            _ if here.distance(to.angle) < RESOLUTION_DEG => 0.0,
            Direction::Forward => here.forward_to(to.angle),
            Direction::Backward => -to.angle.forward_to(here),
        };
        self.travel(degrees, &format!("turn to {}", to.angle)).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if !(-360.0..=360.0).contains(&degrees) {
            return Ok(refused("motion-out-of-range", format!("{degrees} degrees is not in -360 to 360")));
        }
        self.travel(degrees, &format!("turn by {degrees:.1}°")).await
    }

    /// One turn's time at most, and no more than the hardware allows; `heartbeat` ends it, and a stop before that.
    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError> {
        let tried = format!("turn at {speed:.1}°/s");
        let refusal = |moved| TurntableError::refusal(&self.info.id, moved);
        let goes = self.speed(speed.abs()).map_err(|why| refusal(refused("motion-out-of-range", why)))?;
        self.free(speed).map_err(refusal)?;
        self.doubted = true;
        let seconds = (360.0 / goes).min(self.keys.run_s_max().unwrap_or(f64::MAX));
        self.running = Some(Instant::now() + Duration::from_secs_f64(seconds));
        let run = if speed < 0.0 { Run::Backward } else { Run::Forward };
        self.switch_on(run, goes, &tried).await
    }

    /// Tells where it is at each pulse of an index switch; without one it cannot say.
    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let goes = match self.speed(speed) {
            Ok(goes) => goes,
            Err(reason) => return Ok(refused("motion-out-of-range", reason)),
        };
        if !(0.0..=1080.0).contains(&degrees) {
            let reason =
                format!("{degrees} degrees is not in 0 to 1080: a sweep of this platform is forward");
            return Ok(refused("motion-out-of-range", reason));
        }
        if !self.info.sweeps {
            let reason = "without an index switch this platform does not tell where it is while it turns; add one \
                          (pulses), or let a camera read the rim, with driver = \"external\"";
            return Ok(refused("motion-no-sweep", reason.to_owned()));
        }
        if self.ahead().is_none() {
            let reason =
                "it is not known where the pulses of the index switch lie; find zero at one of them first";
            return Ok(refused("motion-not-referenced", reason.to_owned()));
        }
        self.sweep_by(degrees, goes, seen).await
    }

    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        match self.running {
            Some(until) if Instant::now() >= until => self.halt("end a rotation in time").await,
            _ => {
                // Pulses while nothing is under way are a platform that somebody pushes, or one that rotates.
                let tried = "ask for its state";
                let pulses = self.cabinet.tend().await.map_err(|e| self.trouble(e, tried))?;
                self.doubted |= pulses > 0;
                Ok(())
            }
        }
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        self.halt("stop").await?;
        Ok(match self.position() {
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        })
    }

    fn position(&self) -> Position {
        match self.zero {
            None => Position::Unknown,
            Some(source) if !self.doubted && self.error_deg == 0.0 => Position::Known(self.angle(), source),
            Some(_) => Position::Estimated(self.angle()),
        }
    }

    fn reckoned_deg(&self) -> Option<f64> {
        let estimated = matches!(self.position(), Position::Estimated(_)) && !self.doubted;
        (estimated && self.error_deg <= self.keys.error_deg_max).then_some(self.error_deg)
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

fn refused(rule: &'static str, reason: String) -> Moved {
    Moved::Refused { rule, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(keys: &str) -> Result<(), String> {
        check(&toml::from_str(&format!("driver = \"relay\"\n{keys}")).unwrap())
    }

    #[test]
    fn a_wrong_key_is_told_with_its_value_and_what_would_be_right() {
        let usb = "serial = \"/dev/r\"\nvia = \"usb\"\ndeg_per_s = 6.0\n";
        let drive = "tcp = \"drive:502\"\nvia = \"modbus-tcp\"\ndeg_per_s = 6.0\n";
        for (keys, told) in [
            (usb.to_owned(), "forward is missing"),
            (format!("{usb}forward = 17"), "relay 17 is not in 1 to 16"),
            (format!("{usb}forward = 1\nbackward = 1"), "each needs its own output"),
            (format!("{usb}forward = 1\nregister = 3"), "register needs via = \"modbus-rtu\""),
            (format!("{usb}forward = 1\nindex_input = 3\npulses = 1"), "index_input needs via"),
            (format!("{usb}forward = 1\nindex_line = 3\npulses = 1"), "index_line needs index_chip"),
            (format!("{usb}forward = 1\npulses = 36"), "pulses needs index_line"),
            (format!("{usb}forward = 1\nrest_ms = 99999999"), "rest_ms = 99999999 is not in 0 to 60000"),
            (format!("{drive}register = 8192"), "register needs forward_value and off_value"),
            (format!("{drive}forward = 1\nwatchdog_ms = 1000"), "belong together"),
            (format!("{drive}forward = 1\nspeed_register = 3"), "belong together"),
            (format!("{usb}forward = 1\nrun_limit_s = 0.5"), "run_limit_s = 0.5 is not in 1 to 600"),
            (format!("{usb}forward = 1\nrun_limit_s = 1\ncoast_deg = -9.0"), "leaves no way"),
            (
                format!(
                    "{usb}forward = 1\nrun_limit_s = 60\nindex_line = 3\nindex_chip = \"pinctrl-rp1\"\npulses = 1"
                ),
                "needs run_limit_s of 75 or more",
            ),
            (
                format!(
                    "{drive}forward = 1\nrun_limit_s = 60\nwatchdog_register = 1\nwatchdog_value = 1\nwatchdog_ms = 1000"
                ),
                "leave run_limit_s out",
            ),
            (format!("{drive}forward = 1\ndeg_per_s_ = 3"), "deg_per_s_"),
            ("via = \"gpio\"\nforward = 17\ndeg_per_s = 6.0".to_owned(), "needs chip"),
            (
                "via = \"gpio\"\nchip = \"/dev/gpiochip0\"\nforward = 17\ndeg_per_s = 6.0".to_owned(),
                "give its label",
            ),
            (
                format!("{usb}forward = 1\nindex_line = 3\nindex_chip = \"gpiochip4\"\npulses = 1"),
                "give its label",
            ),
            (usb.replace("/dev/r", "/dev/ttyUSB0") + "forward = 1", "the wrong motor would turn"),
            (usb.replace("/dev/r", "/dev/ttyACM12") + "forward = 1", "/dev/serial/by-path"),
            ("via = \"smoke\"\nserial = \"/dev/r\"".to_owned(), "smoke"),
        ] {
            let what = checked(&keys).unwrap_err();
            assert!(what.contains(told), "{keys}: {what}");
        }
        checked(&format!("{usb}forward = 1\nbackward = 2\nenable = 3")).unwrap();
        checked("via = \"gpio\"\nchip = \"pinctrl-rp1\"\nforward = 17\ndeg_per_s = 6.0\nindex_line = 4\npulses = 1").unwrap();
    }

    #[tokio::test]
    async fn a_gpio_chip_that_is_not_there_is_told_with_what_to_look_for() {
        let keys =
            "driver = \"relay\"\nvia = \"gpio\"\nchip = \"no such chip\"\nforward = 17\ndeg_per_s = 6.0";
        let error =
            open(&toml::from_str(keys).unwrap()).await.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("no GPIO chip is called no such chip; there are:"), "{error}");
    }
}
