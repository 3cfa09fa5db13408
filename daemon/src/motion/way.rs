//! The way to an angle: which way round, and in how many commands.

use tokio::sync::watch;
use turnstage_drivers::turntable::{Direction, Reference, Sighting, Target};
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
            for leg in split(table.position(), &legs, most(table, drive)) {
                *under_way_deg = turn(table.position(), leg);
                last = table.move_to(leg).await?;
                if !matches!(last, Moved::Done(_)) {
                    break;
                }
            }
            Ok(last)
        }
    }
}

/// Whether a move turns the platter at all.
pub(super) fn turns(table: &dyn Turntable, what: Move, drive: &Drive) -> bool {
    match what {
        Move::Reference(Reference::At(_)) => false,
        Move::To(angle) => !legs(table.position(), angle, drive.approach_deg).is_empty(),
        Move::Reference(Reference::Home) | Move::Tilt(_) | Move::Sweep { .. } => true,
    }
}

/// Most degrees in one command, for a table that does not halt by itself when its link falls silent.
fn most(table: &dyn Turntable, drive: &Drive) -> Option<f64> {
    (!table.info().dead_man).then_some(drive.unattended_deg_max)
}

/// Degrees from a position to a target, its way round.
fn turn(from: Position, to: Target) -> f64 {
    let (Position::Known(from, _) | Position::Estimated(from)) = from else { return 0.0 };
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

/// The same way in commands of at most `most` degrees each.
fn split(from: Position, legs: &[Target], most: Option<f64>) -> Vec<Target> {
    let (Position::Known(mut at, source), Some(most)) = (from, most) else { return legs.to_vec() };
    let mut parts = Vec::new();
    for leg in legs {
        let way = turn(Position::Known(at, source), *leg);
        let count = (way.abs() / most).ceil().max(1.0);
        for part in 1..count as u32 {
            let angle = Angle::new(at.deg() + way * f64::from(part) / count);
            parts.push(Target { angle, direction: leg.direction });
        }
        parts.push(*leg);
        at = leg.angle;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_drivers::turntable::Source;

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
        let angles = |most| -> Vec<f64> { split(from, &legs, most).iter().map(|t| t.angle.deg()).collect() };
        assert_eq!(angles(None), [190.0]);
        assert_eq!(angles(Some(90.0)), [100.0, 190.0]);
        assert_eq!(angles(Some(60.0)), [70.0, 130.0, 190.0]);
        let back = [Target { angle: Angle::new(250.0), direction: Direction::Backward }];
        let way: Vec<f64> = split(from, &back, Some(90.0)).iter().map(|t| t.angle.deg()).collect();
        assert_eq!(way, [310.0, 250.0]);
    }
}
