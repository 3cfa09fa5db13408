//! The tilt of the simulated booth's table: a second motor, with the physics of the first and nothing that goes wrong.

use std::time::Duration;

use tokio::time::Instant;

use super::platter::{Ending, Mechanics, Motor, Platter};
use super::stance::Stance;
use super::{Booth, Gone, State, Table};

/// How it tilts, as configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TiltMechanics {
    pub(crate) speed_deg_s: f64,
    pub(crate) acceleration_deg_s2: f64,
    /// Its axis beneath the platter's top, in the room's millimetres.
    pub(crate) below_mm: f64,
}

impl TiltMechanics {
    fn motor(&self) -> Mechanics {
        Mechanics {
            speed_deg_s: self.speed_deg_s,
            acceleration_deg_s2: self.acceleration_deg_s2,
            backlash_deg: 0.0,
            vibration_deg: 0.0,
            vibration_hz: 0.0,
            vibration_decay: Duration::ZERO,
            eccentricity_deg: 0.0,
            home_deg: 0.0,
        }
    }
}

/// The second motor.
#[derive(Debug, Clone)]
pub(crate) struct Tilting {
    motor: Platter,
    /// Its axis beneath the platter's top, in the models' millimetres.
    pub(crate) below_mm: f64,
}

impl Tilting {
    /// A level platter; a model's millimetre is `scale` of the room's.
    pub(crate) fn level(mechanics: &TiltMechanics, scale: f64, now: Instant) -> Self {
        let motor = Platter::at_rest(mechanics.motor(), 0.0, now);
        Self { motor, below_mm: mechanics.below_mm / scale }
    }

    /// Another driver configuration of the same table: it stands where it stands.
    pub(crate) fn set_mechanics(&mut self, mechanics: &TiltMechanics, scale: f64) {
        self.motor.set_mechanics(mechanics.motor());
        self.below_mm = mechanics.below_mm / scale;
    }

    /// True tilt in degrees.
    pub(crate) fn true_deg(&self, at: Instant) -> f64 {
        self.motor.true_deg(at)
    }

    /// What the motor does, and the tilt that it has counted.
    pub(crate) fn motor(&self, at: Instant) -> (Motor, f64) {
        (self.motor.motor(at), self.motor.counted(at))
    }

    /// Tilts by so many degrees.
    pub(crate) fn travel(&mut self, deg: f64, now: Instant) {
        self.motor.travel_at(deg, f64::INFINITY, 0.0, &[], now);
    }

    /// Slows down to rest; does nothing at rest.
    pub(crate) fn halt(&mut self, now: Instant) {
        self.motor.halt(&[], now);
    }
}

impl Booth {
    /// How far the platter is truly tilted now, in degrees. 0 of a table that does not tilt.
    pub fn true_tilt(&self) -> f64 {
        self.lock().stance(Instant::now()).tilt_deg
    }

    /// The table tilts as well; a table that does already goes on from where it stands.
    pub(crate) fn let_tilt(&self, mechanics: &TiltMechanics) {
        let (scale, now) = (self.scale(), Instant::now());
        if let Some(table) = &mut self.lock().table {
            match &mut table.tilting {
                Some(tilting) => tilting.set_mechanics(mechanics, scale),
                None => table.tilting = Some(Tilting::level(mechanics, scale, now)),
            }
        }
    }

    /// What the motor of the tilt does and has counted, as it would answer a query; a table without one stands level.
    pub(crate) fn ask_tilt(&self, session: u64) -> Result<(Motor, f64), Gone> {
        let now = Instant::now();
        let mut state = self.lock();
        let tilting = &state.table(session, now)?.tilting;
        let level = (Motor::Resting(Ending::Standing), 0.0);
        Ok(tilting.as_ref().map_or(level, |tilting| tilting.motor(now)))
    }
}

impl State {
    /// How the platter truly stands at a moment; level at 0 while no table was opened.
    pub(super) fn stance(&self, at: Instant) -> Stance {
        self.table.as_ref().map_or_else(Stance::default, |table| Stance {
            turn_deg: table.platter.true_deg(at),
            tilt_deg: table.tilting.as_ref().map_or(0.0, |tilting| tilting.true_deg(at)),
            below_mm: table.below_mm(),
        })
    }
}

impl Table {
    /// Whether its tilt is under way.
    pub(super) fn tilts(&self, now: Instant) -> bool {
        self.tilting.as_ref().is_some_and(|tilting| matches!(tilting.motor(now).0, Motor::Turning { .. }))
    }

    /// The axis of its tilt beneath the platter's top, in the models' millimetres.
    pub(super) fn below_mm(&self) -> f64 {
        self.tilting.as_ref().map_or(0.0, |tilting| tilting.below_mm)
    }
}
