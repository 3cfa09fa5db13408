//! The turntable of the simulated booth: believes its motor, as real ones do.
//!
//! The driver knows what the motor has counted, never the true angle: lost steps, backlash and eccentricity are for
//! the cameras to see. The physics are in [`crate::sim`]; this file is the conversation with the motor.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    DegPerS, Direction, Driver, Moved, Opened, Position, Reference, Sighting, Source, Target, Turntable,
    TurntableError, TurntableInfo, WithoutLink,
};
use crate::frame::Angle;
use crate::sim::platter::{Ending, Mechanics, Motor};
use crate::sim::tilting::TiltMechanics;
use crate::sim::{Booth, Command};
use crate::{DeviceOptions, Listing, Surroundings};

/// `driver = "sim"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "simulated table, with backlash, ringing and faults",
    check,
    open: |options, around| Box::pin(async move { open(options, around) }),
    list: || Box::pin(async { vec![Listing::of(NAME, NAME, MODEL)] }),
};

const NAME: &str = "sim";
/// A sweeping table tells where it is so often.
const SIGHTING: Duration = Duration::from_millis(100);
const MODEL: &str = "simulated turntable";
/// Slower it does not turn on and on, nor sweep.
const ROTATE_DEG_S_MIN: f64 = 0.1;
/// A target nearer than this is where the table stands: a full turn for a rounding error helps nobody.
const RESOLUTION_DEG: f64 = 1e-3;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    speed_deg_s: f64,
    acceleration_deg_s2: f64,
    backlash_deg: f64,
    vibration_deg: f64,
    vibration_hz: f64,
    vibration_decay_ms: f64,
    eccentricity_deg: f64,
    home: bool,
    start_deg: Option<f64>,
    home_deg: f64,
    /// Lowest and highest tilt; it does not tilt without.
    tilt_deg: Option<(f64, f64)>,
    tilt_speed_deg_s: f64,
    tilt_acceleration_deg_s2: f64,
    /// The axis of the tilt beneath the platter's top.
    tilt_below_mm: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            speed_deg_s: 30.0,
            acceleration_deg_s2: 60.0,
            backlash_deg: 0.3,
            vibration_deg: 0.4,
            vibration_hz: 7.0,
            vibration_decay_ms: 80.0,
            eccentricity_deg: 0.05,
            home: true,
            start_deg: None,
            home_deg: 0.0,
            tilt_deg: None,
            tilt_speed_deg_s: 6.0,
            tilt_acceleration_deg_s2: 20.0,
            tilt_below_mm: 40.0,
        }
    }
}

impl Keys {
    fn mechanics(&self) -> Result<Mechanics, String> {
        within("start_deg", self.start_deg.unwrap_or(0.0), -1e6, 1e6)?;
        let decay_ms = within("vibration_decay_ms", self.vibration_decay_ms, 0.0, 60_000.0)?;
        Ok(Mechanics {
            speed_deg_s: within("speed_deg_s", self.speed_deg_s, 0.1, 3600.0)?,
            acceleration_deg_s2: within("acceleration_deg_s2", self.acceleration_deg_s2, 0.1, 1e6)?,
            backlash_deg: within("backlash_deg", self.backlash_deg, 0.0, 20.0)?,
            vibration_deg: within("vibration_deg", self.vibration_deg, 0.0, 20.0)?,
            vibration_hz: within("vibration_hz", self.vibration_hz, 0.0, 1000.0)?,
            vibration_decay: Duration::from_secs_f64(decay_ms / 1000.0),
            eccentricity_deg: within("eccentricity_deg", self.eccentricity_deg, 0.0, 20.0)?,
            home_deg: within("home_deg", self.home_deg, -360.0, 360.0)?,
        })
    }

    /// `None` of a table that does not tilt.
    fn tilt_mechanics(&self) -> Result<Option<TiltMechanics>, String> {
        let mechanics = TiltMechanics {
            speed_deg_s: within("tilt_speed_deg_s", self.tilt_speed_deg_s, 0.1, 360.0)?,
            acceleration_deg_s2: within("tilt_acceleration_deg_s2", self.tilt_acceleration_deg_s2, 0.1, 1e6)?,
            below_mm: within("tilt_below_mm", self.tilt_below_mm, 0.0, 1000.0)?,
        };
        let Some((low, high)) = self.tilt_deg else { return Ok(None) };
        within("tilt_deg[0]", low, -80.0, 0.0)?;
        within("tilt_deg[1]", high, 0.0, 80.0)?;
        Ok(Some(mechanics))
    }
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<f64, String> {
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(format!("{key} = {value} is not in {low} to {high}")),
    }
}

fn check(options: &DeviceOptions) -> Result<(), String> {
    let keys: Keys = options.read()?;
    keys.mechanics()?;
    keys.tilt_mechanics().map(drop)
}

fn open(options: &DeviceOptions, around: &Surroundings) -> Opened {
    let wrong = |what: String| TurntableError::Config { driver: NAME.to_owned(), what };
    let keys: Keys = options.read().map_err(wrong)?;
    let mechanics = keys.mechanics().map_err(wrong)?;
    let tilting = keys.tilt_mechanics().map_err(wrong)?;
    let booth =
        around.booth.clone().ok_or_else(|| wrong("this station has no simulated booth".to_owned()))?;
    let seeded = (booth.seed_for("platter") % 360_000) as f64 / 1000.0;
    let info = info(&keys);
    let session = booth
        .open_table(mechanics, keys.start_deg.unwrap_or(seeded))
        .map_err(|_| TurntableError::LinkLost { id: info.id.clone(), tried: "open it".to_owned() })?;
    tilting.iter().for_each(|tilting| booth.let_tilt(tilting));
    Ok(Box::new(SimTable { booth, session, info, zero: None, position: Position::Unknown, unseen: false }))
}

fn info(keys: &Keys) -> TurntableInfo {
    // The longest drive is the one to the home switch: a turn, back, and slowly on to it; then half as much again.
    let turn_s = 360.0 / keys.speed_deg_s + 4.0 * keys.speed_deg_s / keys.acceleration_deg_s2;
    TurntableInfo {
        driver: NAME,
        id: NAME.to_owned(),
        model: MODEL.to_owned(),
        home: keys.home,
        home_way: Direction::Forward,
        one_way: None,
        speed_max: keys.speed_deg_s,
        acceleration: keys.acceleration_deg_s2,
        rotates: Some((ROTATE_DEG_S_MIN, keys.speed_deg_s)),
        sweeps: true,
        stops: true,
        move_limit: Duration::from_secs_f64((1.5 * turn_s + 80.0 / keys.speed_deg_s + 5.0).ceil()),
        firmware: None,
        tilt: keys.tilt_deg,
        step_deg: None,
        without_link: WithoutLink::Halts,
        tried: true,
    }
}

struct SimTable {
    booth: Booth,
    session: u64,
    info: TurntableInfo,
    /// What the motor had counted where its zero is, and why that is believed.
    zero: Option<(f64, Source)>,
    position: Position,
    /// A move from a known position was begun and its end was not seen, because its future was dropped.
    unseen: bool,
}

impl SimTable {
    fn angle(&self, counted: f64) -> Angle {
        Angle::new(counted - self.zero.map_or(0.0, |(zero, _)| zero))
    }

    /// The position of a motor at rest that did what it was told.
    fn known(&self, counted: f64) -> Position {
        match self.zero {
            Some((_, source)) => Position::Known(self.angle(counted), source),
            None => Position::Unknown,
        }
    }

    /// The position after something came between.
    fn estimated(&self, counted: f64) -> Position {
        match self.zero {
            Some(_) => Position::Estimated(self.angle(counted)),
            None => Position::Unknown,
        }
    }

    fn lost(&mut self, tried: &str) -> TurntableError {
        self.position = Position::Unknown;
        self.zero = None;
        TurntableError::LinkLost { id: self.info.id.clone(), tried: tried.to_owned() }
    }

    fn ask(&mut self, tried: &str) -> Result<(Motor, f64), TurntableError> {
        self.booth.ask(self.session).map_err(|_| self.lost(tried))
    }

    fn tell(&mut self, command: Command, tried: &str) -> Result<(), TurntableError> {
        self.booth.tell(self.session, command).map_err(|_| self.lost(tried))
    }

    fn ask_tilt(&mut self, tried: &str) -> Result<(Motor, f64), TurntableError> {
        self.booth.ask_tilt(self.session).map_err(|_| self.lost(tried))
    }

    /// Waits until the tilt's motor stands.
    async fn tilt_out(&mut self, tried: &str) -> Result<(), TurntableError> {
        let mut changes = self.booth.changes();
        loop {
            changes.borrow_and_update();
            let (Motor::Turning { until: Some(end) }, _) = self.ask_tilt(tried)? else { return Ok(()) };
            let wake = self.booth.link_lost_at().map_or(end, |lost| lost.min(end));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Refuses a motion while another one is under way; otherwise says what the motor has counted.
    fn idle(&mut self, tried: &str) -> Result<Result<f64, Moved>, TurntableError> {
        let tilts = matches!(self.ask_tilt(tried)?.0, Motor::Turning { .. });
        Ok(match self.ask(tried)? {
            (motor, _) if tilts || matches!(motor, Motor::Turning { .. }) => Err(refused(
                "motion-busy",
                "the table still moves from an earlier command; stop it or wait".to_owned(),
            )),
            (_, counted) => Ok(counted),
        })
    }

    /// Waits until the motor says that it stands; returns what it has counted.
    async fn stand(&mut self, tried: &str) -> Result<f64, TurntableError> {
        let limit_at = Instant::now() + self.info.move_limit;
        let mut changes = self.booth.changes();
        loop {
            changes.borrow_and_update();
            let (motor, counted) = self.ask(tried)?;
            let wake = match motor {
                Motor::Resting(Ending::Standing | Ending::Overtaken) => return Ok(counted),
                Motor::Resting(Ending::Jammed) => return Err(self.jammed(counted, tried)),
                Motor::Resting(Ending::Silent) | Motor::Turning { until: None } => limit_at,
                Motor::Turning { until: Some(end) } => end.min(limit_at),
            };
            if Instant::now() >= limit_at {
                self.position = Position::Unknown;
                self.zero = None;
                let limit = self.info.move_limit;
                return Err(TurntableError::NoReply {
                    id: self.info.id.clone(),
                    tried: tried.to_owned(),
                    limit,
                });
            }
            let wake = self.booth.link_lost_at().map_or(wake, |lost| lost.min(wake));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                _ = changes.changed() => {}
            }
        }
    }

    fn jammed(&mut self, counted: f64, tried: &str) -> TurntableError {
        self.position = self.estimated(counted);
        let near = self.angle(counted);
        TurntableError::Jammed { id: self.info.id.clone(), tried: tried.to_owned(), near }
    }

    async fn travel(&mut self, deg: f64, from: f64, tried: &str) -> Result<Moved, TurntableError> {
        self.unseen = matches!(self.position, Position::Known(..));
        self.position = self.estimated(from);
        self.tell(Command::Move { deg }, tried)?;
        let counted = self.stand(tried).await?;
        self.position = if self.unseen { self.known(counted) } else { self.estimated(counted) };
        self.unseen = false;
        Ok(Moved::Done(self.angle(counted)))
    }
}

#[async_trait]
impl Turntable for SimTable {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        let tried = "find zero";
        if how == Reference::Home && !self.info.home {
            let reason =
                "this table has no home switch; set it to its zero mark by hand and declare that zero";
            return Ok(refused("motion-no-home", reason.to_owned()));
        }
        let counted = match self.idle(tried)? {
            Ok(counted) => counted,
            Err(refusal) => return Ok(refusal),
        };
        let (counted, zero, source) = match how {
            Reference::At(angle) => (counted, counted - angle.deg(), Source::Declared),
            Reference::Home => {
                (self.zero, self.position) = (None, Position::Unknown);
                self.tell(Command::Home, tried)?;
                let counted = self.stand(tried).await?;
                (counted, counted, Source::Home)
            }
        };
        self.zero = Some((zero, source));
        self.position = self.known(counted);
        Ok(Moved::Done(self.angle(counted)))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let tried = format!("turn to {}", to.angle);
        let counted = match self.idle(&tried)? {
            Ok(counted) => counted,
            Err(refusal) => return Ok(refusal),
        };
        if !matches!(self.position, Position::Known(..)) {
            let reason = "the position is not known; reference the table first";
            return Ok(refused("motion-not-referenced", reason.to_owned()));
        }
        let here = self.angle(counted);
        let deg = match to.direction {
            _ if here.distance(to.angle) < RESOLUTION_DEG => 0.0,
            Direction::Forward => here.forward_to(to.angle),
            Direction::Backward => -to.angle.forward_to(here),
        };
        self.travel(deg, counted, &tried).await
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("turn by {degrees:.1}°");
        if !(-360.0..=360.0).contains(&degrees) {
            let reason = format!("{degrees} degrees is not in -360 to 360");
            return Ok(refused("motion-out-of-range", reason));
        }
        match self.idle(&tried)? {
            Ok(counted) => self.travel(degrees, counted, &tried).await,
            Err(refusal) => Ok(refusal),
        }
    }

    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError> {
        let tried = format!("turn at {speed:.1}°/s");
        let limit = self.info.speed_max;
        if !(ROTATE_DEG_S_MIN..=limit).contains(&speed.abs()) {
            let reason = format!(
                "{speed} degrees a second is not in {ROTATE_DEG_S_MIN} to {limit}, forward or backward"
            );
            return Err(TurntableError::refusal(NAME, refused("motion-out-of-range", reason)));
        }
        let counted = match self.idle(&tried)? {
            Ok(counted) => counted,
            Err(refusal) => return Err(TurntableError::refusal(NAME, refusal)),
        };
        self.position = self.estimated(counted);
        self.tell(Command::Rotate { deg_s: speed }, &tried)
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let tried = format!("sweep by {degrees:.1}° at {speed:.1}°/s");
        let limit = self.info.speed_max;
        if !(ROTATE_DEG_S_MIN..=limit).contains(&speed) || !(-1080.0..=1080.0).contains(&degrees) {
            let reason =
                format!("{degrees} degrees at {speed} a second is not within 1080 degrees at 0.1 to {limit}");
            return Ok(refused("motion-out-of-range", reason));
        }
        let counted = match self.idle(&tried)? {
            Ok(counted) => counted,
            Err(refusal) => return Ok(refusal),
        };
        self.unseen = matches!(self.position, Position::Known(..));
        self.position = self.estimated(counted);
        self.tell(Command::Sweep { deg: degrees, deg_s: speed }, &tried)?;
        let zero = self.zero.map_or(0.0, |(zero, _)| zero);
        let limit = Duration::from_secs_f64(degrees.abs() / speed) + self.info.move_limit;
        let end_by = Instant::now() + limit;
        let counted = loop {
            let (motor, counted) = self.ask(&tried)?;
            seen.send_replace(Some(Sighting { at: Instant::now(), deg: counted - zero, error_deg: 0.0 }));
            match motor {
                Motor::Turning { .. } if Instant::now() < end_by => tokio::time::sleep(SIGHTING).await,
                _ => break self.stand(&tried).await.map(|_| counted)?,
            }
        };
        self.position = if self.unseen { self.known(counted) } else { self.estimated(counted) };
        self.unseen = false;
        Ok(Moved::Done(self.angle(counted)))
    }

    async fn tilt_to(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        let tried = format!("tilt to {degrees:.1}°");
        let Some((low, high)) = self.info.tilt else {
            let reason = "this table does not tilt; use rows without tilt_deg, or set its tilt_deg";
            return Ok(refused("motion-no-tilt", reason.to_owned()));
        };
        if !(low..=high).contains(&degrees) {
            let reason = format!("a tilt of {degrees} degrees is not in {low} to {high}");
            return Ok(refused("motion-out-of-range", reason));
        }
        if let Err(refusal) = self.idle(&tried)? {
            return Ok(refusal);
        }
        let (_, tilted) = self.ask_tilt(&tried)?;
        self.tell(Command::Tilt { deg: degrees - tilted }, &tried)?;
        self.tilt_out(&tried).await?;
        let (_, counted) = self.ask(&tried)?;
        let there = (self.ask_tilt(&tried)?.1 - degrees).abs() < RESOLUTION_DEG;
        let angle = self.angle(counted);
        Ok(if there { Moved::Done(angle) } else { Moved::StoppedAt(Some(angle)) })
    }

    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        self.ask("see whether it is there").map(drop)
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        let tried = "stop";
        let (motor, counted) = self.ask(tried)?;
        let tilted = matches!(self.ask_tilt(tried)?.0, Motor::Turning { .. });
        self.tell(Command::Stop, tried)?;
        self.tilt_out(tried).await?;
        let unseen = std::mem::take(&mut self.unseen);
        match motor {
            Motor::Turning { .. } => {
                let counted = self.stand(tried).await?;
                self.position = self.estimated(counted);
            }
            // A move whose future was dropped has come to its end all the same.
            Motor::Resting(Ending::Standing) if unseen => self.position = self.known(counted),
            Motor::Resting(_) => {}
        }
        Ok(match self.position {
            // The turn stands where it did; the tilt was on its way.
            Position::Known(angle, _) if tilted => Moved::StoppedAt(Some(angle)),
            Position::Known(angle, _) => Moved::Done(angle),
            Position::Estimated(angle) => Moved::StoppedAt(Some(angle)),
            Position::Unknown => Moved::StoppedAt(None),
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

fn refused(rule: &'static str, reason: String) -> Moved {
    Moved::Refused { rule, reason }
}

#[cfg(test)]
mod tests;
