//! How a table is mounted in its rig: which way round it turns, and where zero is.
//!
//! A driver speaks of the table's own degrees. `Mounted` lays over it what a calibration of the rig found, so that
//! everything above counts counter-clockwise from the rig's zero. Its limits of turn, for rigs with a cable that winds
//! up, are counted on over turns from where the table was opened first or found its home; a person who declares an angle
//! has not unwound the cable.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    DegPerS, Direction, Moved, Position, Reference, Sighting, Target, Turntable, TurntableError,
    TurntableInfo, Winding,
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
    /// How far its cable may be wound up each way, in degrees, for rigs that must not turn on and on.
    pub limits_deg: Option<(f64, f64)>,
}

/// A table with its mount.
pub struct Mounted {
    table: Box<dyn Turntable>,
    mount: Mount,
    info: TurntableInfo,
    /// Degrees that the cable is wound up, counted on beyond a turn.
    wound_deg: f64,
    /// The table was referenced since it was opened first.
    counts: bool,
    /// A motion whose end is not booked yet: from where, and how far it was to go.
    under_way: Option<(Option<Angle>, f64)>,
}

impl Mounted {
    /// Lays `mount` over a table.
    pub fn new(table: Box<dyn Turntable>, mount: Mount) -> Self {
        let mut info = table.info().clone();
        let shifted = |(low, high): (f64, f64)| (low + mount.tilt_zero_deg, high + mount.tilt_zero_deg);
        info.tilt = info.tilt.map(shifted);
        if mount.reversed {
            info.home_way = info.home_way.reversed();
            info.one_way = info.one_way.map(Direction::reversed);
        }
        info.rotates = info.rotates.filter(|_| mount.limits_deg.is_none());
        Self { table, mount, info, wound_deg: 0.0, counts: false, under_way: None }
    }

    /// The same table, opened again: `deg` of its cable are wound up from before.
    pub fn wound(mut self, deg: Option<f64>) -> Self {
        (self.wound_deg, self.counts) = (deg.unwrap_or(0.0), deg.is_some());
        self
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

    /// Begins to turn by `degrees`, unless that would wind the rig's cable up too far.
    fn depart(&mut self, degrees: f64) -> Result<(), Moved> {
        self.settle();
        if let Some((low, high)) = self.mount.limits_deg {
            let to = self.wound_deg + degrees;
            if !(low - 1e-6..=high + 1e-6).contains(&to) {
                return Err(Moved::Refused {
                    rule: "motion-limit",
                    reason: format!(
                        "turning by {degrees:.1}° would wind the cable up to {to:.1}°; this rig turns from {low:.1}° to \
                         {high:.1}° only (motion.limits_deg)"
                    ),
                });
            }
        }
        self.under_way = Some((self.angle(), degrees));
        Ok(())
    }

    /// Takes in how a motion ended. One that failed or was dropped is booked by the stop that follows.
    fn arrive(&mut self, moved: &Result<Moved, TurntableError>) {
        match moved {
            Ok(Moved::Refused { .. }) => self.under_way = None,
            Ok(_) => self.settle(),
            Err(_) => {}
        }
    }

    /// Books a motion by where it has come to; without knowing that, as far as it was to go.
    fn settle(&mut self) {
        if let Some((from, degrees)) = self.under_way.take() {
            self.wound_deg += match (from, self.angle()) {
                (Some(from), Some(at)) => turned(from, at, degrees),
                _ => degrees,
            };
        }
    }

    fn angle(&self) -> Option<Angle> {
        match self.position() {
            Position::Known(angle, _) | Position::Estimated(angle) => Some(angle),
            Position::Unknown => None,
        }
    }
}

/// Degrees that a table turned that was to turn by `degrees`: of those that lead from one angle to the other, what is
/// nearest to its way, and the most of it.
fn turned(from: Angle, at: Angle, degrees: f64) -> f64 {
    let ahead = from.forward_to(at);
    let (low, high) = (degrees.min(0.0), degrees.max(0.0));
    let ways = (-4..=4).map(|turns| ahead + 360.0 * f64::from(turns));
    let off = |way: f64| (way - way.clamp(low, high)).abs();
    let key = |way: &f64| (off(*way), (way - degrees).abs());
    let nearest = ways.min_by(|a, b| {
        let ((off_a, short_a), (off_b, short_b)) = (key(a), key(b));
        // A rounding error beside the way is on the way.
        if (off_a - off_b).abs() > 1.0 { off_a.total_cmp(&off_b) } else { short_a.total_cmp(&short_b) }
    });
    nearest.unwrap_or(degrees)
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
        self.settle();
        let moved = self.table.reference(how).await?;
        if matches!(moved, Moved::Done(_)) {
            if how == Reference::Home {
                // The first time, the cable is slack there.
                let deg = if self.counts { self.wound_deg } else { 0.0 };
                self.wound_deg = Winding::at_home(deg, self.info.home_way);
            }
            self.counts = true;
        }
        Ok(self.moved(moved))
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let degrees = way(self.position(), to);
        if let Err(refusal) = self.depart(degrees) {
            return Ok(refusal);
        }
        let direction = match (to.direction, self.mount.reversed) {
            (Direction::Forward, false) | (Direction::Backward, true) => Direction::Forward,
            (Direction::Backward, false) | (Direction::Forward, true) => Direction::Backward,
        };
        let moved = self.table.move_to(Target { angle: self.inward(to.angle), direction }).await;
        self.arrive(&moved);
        Ok(self.moved(moved?))
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        if let Err(refusal) = self.depart(degrees) {
            return Ok(refusal);
        }
        let moved = self.table.move_by(self.sign() * degrees).await;
        self.arrive(&moved);
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
        if let Err(refusal) = self.depart(degrees) {
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
        self.arrive(&moved);
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
        let moved = self.table.stop().await;
        self.settle();
        Ok(self.moved(moved?))
    }

    fn position(&self) -> Position {
        match self.table.position() {
            Position::Known(own, source) => Position::Known(self.outward(own), source),
            Position::Estimated(own) => Position::Estimated(self.outward(own)),
            Position::Unknown => Position::Unknown,
        }
    }

    fn reckoned_deg(&self) -> Option<f64> {
        self.table.reckoned_deg()
    }

    fn home_deg(&self) -> f64 {
        self.table.home_deg()
    }

    fn winding(&self) -> Option<Winding> {
        let (sign, own) = (self.sign(), self.table.winding());
        // What the table's own limits leave, from here.
        let room = own.map(|own| (own.low - own.deg, own.high - own.deg));
        let room = room.map(|(back, on)| if sign < 0.0 { (-on, -back) } else { (back, on) });
        match (self.mount.limits_deg.filter(|_| self.counts), room, own) {
            (Some((low, high)), None, _) => Some(Winding { deg: self.wound_deg, low, high }),
            (Some((low, high)), Some((back, on)), _) => Some(Winding {
                deg: self.wound_deg,
                low: low.max(self.wound_deg + back),
                high: high.min(self.wound_deg + on),
            }),
            (None, Some((back, on)), Some(own)) => {
                let deg = sign * own.deg;
                Some(Winding { deg, low: deg + back, high: deg + on })
            }
            (None, ..) => None,
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

    fn wound(table: &Mounted) -> f64 {
        table.winding().map_or(f64::NAN, |winding| winding.deg)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_declares_an_angle_has_not_unwound_the_cable() {
        let limits_deg = Some((-10.0, 370.0));
        let (mut table, _booth) = mounted(Mount { limits_deg, ..Mount::default() }).await;
        let declared = Reference::At(Angle::default());
        table.reference(declared).await.unwrap();
        table.move_by(350.0).await.unwrap();
        table.reference(declared).await.unwrap();
        assert!((wound(&table) - 350.0).abs() < 1e-6, "{}", wound(&table));
        let refused = table.move_by(30.0).await.unwrap();
        assert!(matches!(refused, Moved::Refused { rule: "motion-limit", .. }), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_motion_that_was_dropped_is_counted_as_far_as_it_came() {
        let limits_deg = Some((-10.0, 370.0));
        let (mut table, booth) = mounted(Mount { limits_deg, ..Mount::default() }).await;
        table.reference(Reference::At(Angle::default())).await.unwrap();
        let began = booth.true_angle();
        let second = std::time::Duration::from_secs(4);
        assert!(tokio::time::timeout(second, table.move_to(forward(300.0))).await.is_err());
        table.stop().await.unwrap();
        let came = Angle::new(began).forward_to(Angle::new(booth.true_angle()));
        assert!(came > 5.0 && came < 295.0, "{came}");
        assert!((wound(&table) - came).abs() < 0.5, "{} and {came}", wound(&table));
    }

    #[tokio::test(start_paused = true)]
    async fn the_home_switch_says_where_in_a_turn_the_cable_is_and_not_in_which() {
        let limits_deg = Some((-10.0, 370.0));
        let (mut table, _booth) = mounted(Mount { limits_deg, ..Mount::default() }).await;
        table.move_by(100.0).await.unwrap();
        table.reference(Reference::Home).await.unwrap();
        assert_eq!(wound(&table), 0.0, "slack at its home");
        table.move_by(350.0).await.unwrap();
        table.reference(Reference::Home).await.unwrap();
        assert_eq!(wound(&table), 360.0, "it looked for the switch forward");
    }

    #[test]
    fn what_a_table_turned_follows_from_where_it_was_to_go() {
        let turned = |from, at, degrees| turned(Angle::new(from), Angle::new(at), degrees);
        for (from, at, degrees, wanted) in [
            (350.0, 10.0, 20.0, 20.0),
            (10.0, 350.0, -20.0, -20.0),
            (0.0, 10.1, 10.0, 10.1),
            (0.0, 359.9, 10.0, -0.1),
            (0.0, 0.0, 360.0, 360.0),
            (0.0, 100.0, 340.0, 100.0),
            (0.0, 20.0, 380.0, 380.0),
            (0.0, 0.0, 0.0, 0.0),
        ] {
            let found = turned(from, at, degrees);
            assert!((found - wanted).abs() < 1e-6, "{from} to {at}, {degrees}: {found}");
        }
    }
}
