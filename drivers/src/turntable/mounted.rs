//! How a table is mounted in its rig: which way round it turns, and where zero is.
//!
//! A driver speaks of the table's own degrees. `Mounted` lays over it what a calibration of the rig found, so that
//! everything above counts counter-clockwise from the rig's zero. Its limits of turn, for rigs with a cable that winds
//! up, are counted in the rig's degrees since the last reference.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    DegPerS, Direction, Moved, Position, Reference, Sighting, Target, Turntable, TurntableError,
    TurntableInfo,
};
use crate::frame::Angle;

/// What a calibration of the rig says about its table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mount {
    /// The table counts clockwise.
    pub reversed: bool,
    /// The rig's angle where the table's own zero is.
    pub zero_deg: f64,
    /// The tilt that the table calls 0.
    pub tilt_zero_deg: f64,
    /// Lowest and highest degrees since the last reference, for rigs that must not turn on and on.
    pub limits_deg: Option<(f64, f64)>,
}

/// A table with its mount.
pub struct Mounted {
    table: Box<dyn Turntable>,
    mount: Mount,
    info: TurntableInfo,
    /// Degrees since the last reference, counted on beyond a turn.
    wound_deg: f64,
}

impl Mounted {
    /// Lays `mount` over a table.
    pub fn new(table: Box<dyn Turntable>, mount: Mount) -> Self {
        let mut info = table.info().clone();
        let shifted = |(low, high): (f64, f64)| (low + mount.tilt_zero_deg, high + mount.tilt_zero_deg);
        info.tilt = info.tilt.map(shifted);
        info.rotates = info.rotates.filter(|_| mount.limits_deg.is_none());
        Self { table, mount, info, wound_deg: 0.0 }
    }

    fn sign(&self) -> f64 {
        if self.mount.reversed { -1.0 } else { 1.0 }
    }

    fn outward(&self, own: Angle) -> Angle {
        Angle::new(self.mount.zero_deg + self.sign() * own.deg())
    }

    fn inward(&self, angle: Angle) -> Angle {
        Angle::new(self.sign() * (angle.deg() - self.mount.zero_deg))
    }

    fn moved(&self, moved: Moved) -> Moved {
        match moved {
            Moved::Done(own) => Moved::Done(self.outward(own)),
            Moved::StoppedAt(own) => Moved::StoppedAt(own.map(|own| self.outward(own))),
            Moved::Refused { .. } | Moved::OutcomeUnknown => moved,
        }
    }

    /// Refuses what would wind the rig's cable up.
    fn within(&self, degrees: f64) -> Result<(), Moved> {
        let Some((low, high)) = self.mount.limits_deg else { return Ok(()) };
        let to = self.wound_deg + degrees;
        match (low - 1e-6..=high + 1e-6).contains(&to) {
            true => Ok(()),
            false => Err(Moved::Refused {
                rule: "motion-limit",
                reason: format!(
                    "turning by {degrees:.1}° would reach {to:.1}° since the last reference; this rig turns from \
                     {low:.1}° to {high:.1}° only (motion.limits_deg)"
                ),
            }),
        }
    }

    fn wind(&mut self, degrees: f64, result: &Result<Moved, TurntableError>) {
        match result {
            Ok(Moved::Refused { .. }) => {}
            // Where it stopped is not known better than this; the next reference tells.
            _ => self.wound_deg += degrees,
        }
    }
}

/// Degrees that `to` asks a table at `from` to turn.
fn way(from: Position, to: Target) -> f64 {
    let (Position::Known(from, _) | Position::Estimated(from)) = from else { return 0.0 };
    match to.direction {
        Direction::Forward => from.forward_to(to.angle),
        Direction::Backward => -to.angle.forward_to(from),
    }
}

#[async_trait]
impl Turntable for Mounted {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        let how = match how {
            Reference::Home => Reference::Home,
            Reference::At(angle) => Reference::At(self.inward(angle)),
        };
        let moved = self.table.reference(how).await?;
        if matches!(moved, Moved::Done(_)) {
            self.wound_deg = 0.0;
        }
        Ok(self.moved(moved))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let degrees = way(self.position(), to);
        if let Err(refusal) = self.within(degrees) {
            return Ok(refusal);
        }
        let direction = match (to.direction, self.mount.reversed) {
            (Direction::Forward, false) | (Direction::Backward, true) => Direction::Forward,
            (Direction::Backward, false) | (Direction::Forward, true) => Direction::Backward,
        };
        let moved = self.table.move_to(Target { angle: self.inward(to.angle), direction }).await;
        self.wind(degrees, &moved);
        Ok(self.moved(moved?))
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if let Err(refusal) = self.within(degrees) {
            return Ok(refusal);
        }
        let moved = self.table.move_by(self.sign() * degrees).await;
        self.wind(degrees, &moved);
        Ok(self.moved(moved?))
    }

    async fn rotate(&mut self, speed: DegPerS) -> Result<(), TurntableError> {
        if self.mount.limits_deg.is_some() {
            let reason = "a rig with motion.limits_deg does not turn on and on".to_owned();
            let refused = Moved::Refused { rule: "motion-no-rotation", reason };
            return Err(TurntableError::refusal(&self.info.id, refused));
        }
        self.table.rotate(self.sign() * speed).await
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        if let Err(refusal) = self.within(degrees) {
            return Ok(refusal);
        }
        let (sign, zero) = (self.sign(), self.mount.zero_deg);
        let (own, mut told) = watch::channel(None::<Sighting>);
        let moved = {
            let sweep = self.table.sweep(sign * degrees, speed, &own);
            tokio::pin!(sweep);
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = told.changed() => {
                        let sighting = *told.borrow_and_update();
                        let turned = sighting.map(|s| Sighting { deg: zero + sign * s.deg, ..s });
                        seen.send_replace(turned);
                    }
                    moved = &mut sweep => break moved,
                }
            }
        };
        self.wind(degrees, &moved);
        Ok(self.moved(moved?))
    }

    async fn tilt_to(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if let Some((low, high)) = self.info.tilt
            && !(low..=high).contains(&degrees)
        {
            let reason = format!("{degrees:.1}° of tilt is not in {low:.1} to {high:.1}");
            return Ok(Moved::Refused { rule: "motion-out-of-range", reason });
        }
        let moved = self.table.tilt_to(degrees - self.mount.tilt_zero_deg).await?;
        Ok(self.moved(moved))
    }

    async fn heartbeat(&mut self) -> Result<(), TurntableError> {
        self.table.heartbeat().await
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        let moved = self.table.stop().await?;
        Ok(self.moved(moved))
    }

    fn position(&self) -> Position {
        match self.table.position() {
            Position::Known(own, source) => Position::Known(self.outward(own), source),
            Position::Estimated(own) => Position::Estimated(self.outward(own)),
            Position::Unknown => Position::Unknown,
        }
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Booth;
    use crate::{DeviceOptions, Surroundings};

    async fn mounted(mount: Mount) -> (Mounted, Booth) {
        let booth = Booth::new(Default::default()).unwrap();
        let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
        let ideal = "driver = \"sim\"\nstart_deg = 0.0\nbacklash_deg = 0.0\nvibration_deg = 0.0\neccentricity_deg = 0.0";
        let options: DeviceOptions = toml::from_str(ideal).unwrap();
        let table = crate::turntable::open(&options, &around).await.unwrap();
        (Mounted::new(table, mount), booth)
    }

    fn forward(deg: f64) -> Target {
        Target { angle: Angle::new(deg), direction: Direction::Forward }
    }

    fn near(angle: Angle, deg: f64) -> bool {
        angle.distance(Angle::new(deg)) < 1e-6
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_counts_clockwise_turns_the_rigs_way_round() {
        let (mut table, booth) = mounted(Mount { reversed: true, zero_deg: 10.0, ..Mount::default() }).await;
        table.reference(Reference::Home).await.unwrap();
        assert!(matches!(table.position(), Position::Known(at, _) if near(at, 10.0)));
        let moved = table.move_to(forward(40.0)).await.unwrap();
        assert!(matches!(moved, Moved::Done(at) if near(at, 40.0)), "{moved:?}");
        assert!(near(Angle::new(booth.true_angle()), -30.0), "{}", booth.true_angle());
        let moved = table.move_by(15.0).await.unwrap();
        assert!(matches!(moved, Moved::Done(at) if near(at, 55.0)), "{moved:?}");
        let moved = table.reference(Reference::At(Angle::new(100.0))).await.unwrap();
        assert!(matches!(moved, Moved::Done(at) if near(at, 100.0)), "{moved:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rig_with_a_cable_refuses_to_wind_it_up() {
        let limits_deg = Some((-10.0, 370.0));
        let (mut table, booth) = mounted(Mount { limits_deg, ..Mount::default() }).await;
        table.reference(Reference::Home).await.unwrap();
        for deg in [120.0, 240.0, 359.0] {
            assert!(matches!(table.move_to(forward(deg)).await.unwrap(), Moved::Done(_)));
        }
        let before = booth.true_angle();
        for refused in [table.move_to(forward(20.0)).await.unwrap(), table.move_by(30.0).await.unwrap()] {
            assert!(matches!(refused, Moved::Refused { rule: "motion-limit", .. }), "{refused:?}");
        }
        assert!(table.rotate(5.0).await.is_err());
        assert_eq!(booth.true_angle(), before);
        assert!(matches!(table.move_by(-360.0).await.unwrap(), Moved::Done(_)));
    }
}
