//! The way to an angle: which way round, and in how many commands.

use tokio::sync::watch;
use turnstage_drivers::turntable::{Direction, Sighting, Target};
use turnstage_drivers::{Angle, Moved, Position, Turntable, TurntableError};

use super::{Drive, Move};

/// Nearer than this a table stands where it should: it is not sent off for a rounding error.
const SAME_DEG: f64 = 1e-3;

/// Drives every leg of a move. `under_way_deg` is what the command at hand asks for: how far a table may go on that
/// has lost its link.
pub(super) async fn drive(
    table: &mut dyn Turntable,
    what: Move,
    drive: &Drive,
    seen: &watch::Sender<Option<Sighting>>,
    under_way_deg: &mut f64,
) -> Result<Moved, TurntableError> {
    match what {
        Move::Reference(how) => {
            // The way to a home switch is the table's own: a whole turn at most.
            *under_way_deg = 360.0;
            table.reference(how).await
        }
        Move::Tilt(degrees) => table.tilt_to(degrees).await,
        Move::Sweep { degrees, speed } => {
            if let Some(most) = most(table, drive)
                && degrees.abs() > most
            {
                return Ok(Moved::Refused {
                    rule: "motion-unattended",
                    reason: format!(
                        "this table turns on when its link is lost, and one command may ask for {most:.0}° at most \
                         (motion.unattended_deg_max); a sweep asks for {:.0}°",
                        degrees.abs()
                    ),
                });
            }
            *under_way_deg = degrees;
            table.sweep(degrees, speed, seen).await
        }
        Move::To(angle) => {
            let mut last = Moved::Done(angle);
            let legs = legs(table.position(), angle, drive.approach_deg);
            let mut begun = false;
            for leg in split(table.position(), &legs, most(table, drive), table.info().step_deg) {
                *under_way_deg = turn(table.position(), leg);
                last = table.move_to(leg).await?;
                match &last {
                    Moved::Done(_) => begun = true,
                    // "Refused" would say that nothing has moved.
                    Moved::Refused { rule, reason } if begun => {
                        tracing::warn!(rule, reason, "the table refused to go on");
                        return Ok(Moved::StoppedAt(angle_of(table.position())));
                    }
                    _ => break,
                }
            }
            Ok(last)
        }
    }
}

/// Most degrees in one command, for a table that does not halt by itself when its link falls silent.
fn most(table: &dyn Turntable, drive: &Drive) -> Option<f64> {
    (!table.info().dead_man).then_some(drive.unattended_deg_max)
}

fn angle_of(position: Position) -> Option<Angle> {
    match position {
        Position::Known(angle, _) | Position::Estimated(angle) => Some(angle),
        Position::Unknown => None,
    }
}

/// Degrees from a position to a target, its way round.
fn turn(from: Position, to: Target) -> f64 {
    let Some(from) = angle_of(from) else { return 0.0 };
    match to.direction {
        Direction::Forward => from.forward_to(to.angle),
        Direction::Backward => -to.angle.forward_to(from),
    }
}

/// The way to `to`, always ending in the forward direction over at least `approach_deg`, so that backlash lies on
/// the same side for every frame. Short ways ahead go straight; far ones go back past the target first.
fn legs(from: Position, to: Angle, approach_deg: f64) -> Vec<Target> {
    let forward = Target { angle: to, direction: Direction::Forward };
    let Position::Known(from, _) = from else {
        return vec![forward];
    };
    let ahead = from.forward_to(to);
    let behind = 360.0 - ahead;
    if ahead.min(behind) < SAME_DEG {
        Vec::new()
    } else if ahead <= behind + 2.0 * approach_deg {
        vec![forward]
    } else {
        let before = Angle::new(to.deg() - approach_deg);
        vec![Target { angle: before, direction: Direction::Backward }, forward]
    }
}

/// The same way in commands of at most `most` degrees each, whole steps long where the table has `step` degrees between
/// places at which it stands for certain.
fn split(from: Position, legs: &[Target], most: Option<f64>, step: Option<f64>) -> Vec<Target> {
    let (Position::Known(mut at, source), Some(most)) = (from, most) else { return legs.to_vec() };
    let mut parts = Vec::new();
    for leg in legs {
        let way = turn(Position::Known(at, source), *leg);
        let step = step.filter(|step| *step <= most);
        let longest = step.map_or(most, |step| (most / step + 1e-9).floor() * step);
        let count = (way.abs() / longest - 1e-9).ceil().max(1.0);
        for part in 1..count as u32 {
            let even = way * f64::from(part) / count;
            let gone = step.map_or(even, |step| (even / step).round() * step);
            parts.push(Target { angle: Angle::new(at.deg() + gone), direction: leg.direction });
        }
        parts.push(*leg);
        at = leg.angle;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use turnstage_drivers::turntable::mounted::Mount;
    use turnstage_drivers::turntable::{DegPerS, Reference, Source, TurntableInfo};

    /// A platform that stands for certain on its pins, every ten degrees, and nowhere else.
    struct Pinned {
        deg: f64,
        ways: Vec<f64>,
        info: TurntableInfo,
    }

    impl Pinned {
        fn new(step_deg: Option<f64>) -> Self {
            let info = TurntableInfo {
                driver: "pinned",
                id: String::new(),
                model: String::new(),
                home: false,
                speed_max: 10.0,
                acceleration: 10.0,
                move_limit: Duration::from_secs(60),
                firmware: None,
                tilt: None,
                step_deg,
                dead_man: false,
                tried: false,
            };
            Self { deg: 0.0, ways: Vec::new(), info }
        }
    }

    #[async_trait::async_trait]
    impl Turntable for Pinned {
        async fn reference(&mut self, _: Reference) -> Result<Moved, TurntableError> {
            Ok(Moved::Done(Angle::new(self.deg)))
        }
        async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
            if !matches!(self.position(), Position::Known(..)) {
                return Ok(Moved::Refused { rule: "motion-not-referenced", reason: "find a pin".to_owned() });
            }
            let way = turn(self.position(), to);
            self.deg += way;
            self.ways.push(way);
            Ok(Moved::Done(Angle::new(self.deg)))
        }
        async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
            self.deg += degrees;
            Ok(Moved::Done(Angle::new(self.deg)))
        }
        async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
            Ok(())
        }
        async fn stop(&mut self) -> Result<Moved, TurntableError> {
            Ok(Moved::Done(Angle::new(self.deg)))
        }
        fn position(&self) -> Position {
            let past = self.deg.rem_euclid(10.0);
            match past.min(10.0 - past) < 0.01 {
                true => Position::Known(Angle::new(self.deg), Source::Declared),
                false => Position::Estimated(Angle::new(self.deg)),
            }
        }
        fn info(&self) -> &TurntableInfo {
            &self.info
        }
    }

    async fn driven(table: &mut Pinned, deg: f64) -> Moved {
        let how = Drive {
            approach_deg: 5.0,
            reopen: Duration::from_secs(1),
            announce: Duration::ZERO,
            unattended_deg_max: 90.0,
            mount: Mount::default(),
        };
        let seen = watch::channel(None).0;
        drive(table, Move::To(Angle::new(deg)), &how, &seen, &mut 0.0).await.unwrap()
    }

    #[tokio::test]
    async fn a_table_that_stands_on_pins_is_led_from_pin_to_pin() {
        let mut table = Pinned::new(Some(10.0));
        assert_eq!(driven(&mut table, 130.0).await, Moved::Done(Angle::new(130.0)));
        assert_eq!(table.ways, [70.0, 60.0]);
        let at = Position::Known(Angle::new(0.0), Source::Declared);
        let far = [Target { angle: Angle::new(350.0), direction: Direction::Forward }];
        for (step, most) in [(10.0, 90.0), (40.0, 90.0), (7.0, 20.0), (360.0, 90.0)] {
            let mut from = at;
            for part in split(at, &far, Some(most), Some(step)) {
                assert!(turn(from, part) <= most + 1e-9, "{step}: {}", turn(from, part));
                from = Position::Known(part.angle, Source::Declared);
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_half_way_is_a_stop_because_something_has_moved() {
        // It does not tell of its pins, so that it is led to a place between two of them.
        let mut table = Pinned::new(None);
        assert_eq!(driven(&mut table, 130.0).await, Moved::StoppedAt(Some(Angle::new(65.0))));
        let refused = driven(&mut table, 130.0).await;
        assert!(matches!(refused, Moved::Refused { .. }), "nothing has moved: {refused:?}");
    }

    fn way(from: f64, to: f64) -> Vec<(f64, Direction)> {
        let from = Position::Known(Angle::new(from), Source::Home);
        legs(from, Angle::new(to), 5.0).iter().map(|t| (t.angle.deg(), t.direction)).collect()
    }

    #[test]
    fn every_way_ends_forward_and_none_goes_the_long_way_round() {
        assert_eq!(way(0.0, 10.0), [(10.0, Direction::Forward)]);
        assert_eq!(way(350.0, 0.0), [(0.0, Direction::Forward)]);
        assert_eq!(way(350.0, 170.0), [(170.0, Direction::Forward)]);
        assert_eq!(way(100.0, 40.0), [(35.0, Direction::Backward), (40.0, Direction::Forward)]);
        assert_eq!(way(40.0, 40.0), []);
        assert_eq!(way(40.000_000_1, 40.0), [], "no turn of 360 degrees for a rounding error");
    }

    #[test]
    fn a_table_that_would_turn_on_is_never_asked_for_more_than_the_limit() {
        let from = Position::Known(Angle::new(10.0), Source::Home);
        let legs = legs(from, Angle::new(190.0), 5.0);
        let angles =
            |most| -> Vec<f64> { split(from, &legs, most, None).iter().map(|t| t.angle.deg()).collect() };
        assert_eq!(angles(None), [190.0]);
        assert_eq!(angles(Some(90.0)), [100.0, 190.0]);
        assert_eq!(angles(Some(60.0)), [70.0, 130.0, 190.0]);
        let back = [Target { angle: Angle::new(250.0), direction: Direction::Backward }];
        let way: Vec<f64> = split(from, &back, Some(90.0), None).iter().map(|t| t.angle.deg()).collect();
        assert_eq!(way, [310.0, 250.0]);
    }
}
