//! The way to an angle: which way round, and in how many commands.

use tokio::sync::watch;
use turnstage_drivers::turntable::{Direction, Reference, Sighting, Source, Target, Winding};
use turnstage_drivers::{Angle, Moved, Position, Turntable, TurntableError};

use super::adrift::UnderWay;
use super::{Drive, Move};

/// Nearer than this a table stands where it should: it is not sent off for a rounding error.
const SAME_DEG: f64 = 1e-3;

/// A table that turns one way only stands where it should when it is so far past: the way there is a whole turn, which
/// ends as far beside.
const PAST_DEG: f64 = 0.2;
/// A part of a way is shorter than this: a target says an angle, and not how often round.
const PART_DEG_MAX: f64 = 350.0;
/// A cable is not wound to the last of this.
const EDGE_DEG: f64 = 5e-7;
/// Whole turns that are looked at to find a place within the limits of a cable.
const TURNS_MAX: i32 = 100;

/// Drives every part of a move. `under_way` is what the command at hand asks for, where that is a turn.
pub(super) async fn drive(
    table: &mut dyn Turntable,
    what: Move,
    drive: &Drive,
    seen: &watch::Sender<Option<Sighting>>,
    under_way: &mut UnderWay,
) -> Result<Moved, TurntableError> {
    match what {
        Move::Reference(how) => {
            if how == Reference::Home
                && let Some(deg) = before_home(table, drive)
            {
                let unwound = turn_by(table, deg, drive, under_way).await?;
                if !matches!(unwound, Moved::Done(_)) {
                    return Ok(unwound);
                }
            }
            // The way to a home switch is the table's own, and one command.
            if how == Reference::Home {
                *under_way = UnderWay::Turn(table.home_deg());
            }
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
            // The cable is unwound first where the sweep would not fit.
            if let Some(here) = place(table) {
                let ready = go(table, here, degrees, drive, under_way).await?;
                if !matches!(ready, Moved::Done(_)) {
                    return Ok(ready);
                }
            }
            *under_way = UnderWay::Turn(degrees);
            table.sweep(degrees, speed, seen).await
        }
        Move::To(angle) => go(table, angle, 0.0, drive, under_way).await,
    }
}

/// Whether a move turns the platter at all.
pub(super) fn turns(table: &dyn Turntable, what: Move, drive: &Drive) -> bool {
    match what {
        Move::Reference(Reference::At(_)) => false,
        Move::To(angle) => !targets(table, angle, 0.0, drive).is_empty(),
        Move::Reference(Reference::Home) | Move::Tilt(_) | Move::Sweep { .. } => true,
    }
}

/// Goes to an angle from which it can go on by `then`.
async fn go(
    table: &mut dyn Turntable,
    to: Angle,
    then: f64,
    drive: &Drive,
    under_way: &mut UnderWay,
) -> Result<Moved, TurntableError> {
    let mut last = Moved::Done(place(table).unwrap_or(to));
    let mut begun = false;
    for target in targets(table, to, then, drive) {
        *under_way = UnderWay::Turn(turn(table.position(), target));
        last = table.move_to(target).await?;
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

/// Turns by degrees, wherever that is.
async fn turn_by(
    table: &mut dyn Turntable,
    degrees: f64,
    drive: &Drive,
    under_way: &mut UnderWay,
) -> Result<Moved, TurntableError> {
    let count = (degrees.abs() / most(table, drive).unwrap_or(PART_DEG_MAX).min(PART_DEG_MAX)).ceil();
    let mut last = Moved::Done(Angle::default());
    for _ in 0..count as u32 {
        *under_way = UnderWay::Turn(degrees / count);
        last = table.move_by(degrees / count).await?;
        if !matches!(last, Moved::Done(_)) {
            break;
        }
    }
    Ok(last)
}

/// Most degrees in one command, for a table that does not halt by itself when its link falls silent.
fn most(table: &dyn Turntable, drive: &Drive) -> Option<f64> {
    table.info().without_link.way_deg_max(drive.unattended_deg_max)
}

/// Where a table stands that goes to angles.
fn place(table: &dyn Turntable) -> Option<Angle> {
    match table.position() {
        Position::Known(here, _) => Some(here),
        Position::Estimated(here) => table.reckoned_deg().map(|_| here),
        Position::Unknown => None,
    }
}

/// How far a cable must be unwound before the home switch is looked for, so that it is found within its limits and on
/// the side that it was found before.
fn before_home(table: &dyn Turntable, drive: &Drive) -> Option<f64> {
    let Winding { deg, low, high } = table.winding()?;
    let way = table.info().home_way;
    let found = Winding::at_home(deg, way);
    let near = (found - deg).abs() <= 2.0 * Winding::HOME_DOUBT_DEG;
    if (low..=high).contains(&found) && !near {
        return None;
    }
    let beside = drive.approach_deg.max(2.0);
    let beside = match way {
        Direction::Forward => (-beside).max(low),
        Direction::Backward => beside.min(high),
    };
    Some(beside - deg).filter(|deg| deg.abs() > SAME_DEG)
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

/// The commands that bring a table to an angle, each of no more degrees than one may ask for.
fn targets(table: &dyn Turntable, to: Angle, then: f64, drive: &Drive) -> Vec<Target> {
    // Nobody can send one that somebody else turns past its target and back: it comes by by itself.
    let is_seen = matches!(table.position(), Position::Known(_, Source::Seen));
    let Some(from) = place(table).filter(|_| !is_seen) else {
        // Where it stands it says itself that it does not know.
        return vec![Target { angle: to, direction: Direction::Forward }];
    };
    let room = table.winding().map(|cable| (cable.low - cable.deg, cable.high - cable.deg));
    let bounds = Bounds { room, one_way: table.info().one_way };
    let legs = legs(from, to, then, drive.approach_deg, bounds);
    parts(from, to, &legs, most(table, drive), table.info().step_deg)
}

/// What keeps a table from turning as it is best.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    /// How far its cable lets it turn from here: backward, 0 or less, and forward.
    room: Option<(f64, f64)>,
    /// It turns this way round only.
    one_way: Option<Direction>,
}

impl Bounds {
    /// A way of `turn` and then of `then` is open.
    fn allow(&self, turn: f64, then: f64) -> bool {
        let within =
            |deg: f64| self.room.is_none_or(|(back, on)| (back - EDGE_DEG..=on + EDGE_DEG).contains(&deg));
        let goes = match self.one_way {
            None => true,
            Some(Direction::Forward) => turn >= 0.0,
            Some(Direction::Backward) => turn <= 0.0,
        };
        goes && within(turn) && within(turn + then)
    }
}

/// The way to `to` in signed degrees, ending in the forward direction over at least `approach_deg` where it can, so that
/// backlash lies on the same side for every frame. Short ways ahead go straight; far ones go back past the target first,
/// and so do those for which the cable does not reach.
fn legs(from: Angle, to: Angle, then: f64, approach_deg: f64, bounds: Bounds) -> Vec<f64> {
    let same_deg = if bounds.one_way.is_some() { PAST_DEG } else { SAME_DEG };
    let ahead = match from.forward_to(to) {
        ahead if ahead.min(360.0 - ahead) < same_deg => 0.0,
        ahead => ahead,
    };
    let ways = (-TURNS_MAX..=TURNS_MAX).rev().map(|turns| ahead + 360.0 * f64::from(turns));
    let cost = |way: f64| if way < 0.0 { -way + 2.0 * approach_deg } else { way };
    let open = ways.filter(|way| bounds.allow(*way, then));
    let way = open.min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
    // Where nothing fits the table says why.
    let way = way.unwrap_or(ahead);
    if way == 0.0 {
        return Vec::new();
    }
    if way > 0.0 || bounds.one_way.is_some() {
        return vec![way];
    }
    let past = bounds.room.map_or(approach_deg, |(back, _)| (way - back).clamp(0.0, approach_deg));
    if past < SAME_DEG { vec![way] } else { vec![way - past, past] }
}

/// The same way in commands of at most `most` degrees each, whole steps long where the table has `step` degrees between
/// places at which it stands for certain.
fn parts(from: Angle, to: Angle, legs: &[f64], most: Option<f64>, step: Option<f64>) -> Vec<Target> {
    let most = most.unwrap_or(PART_DEG_MAX).min(PART_DEG_MAX);
    let step = step.filter(|step| *step <= most);
    let longest = step.map_or(most, |step| (most / step + 1e-9).floor() * step);
    let mut parts = Vec::new();
    let mut at = from.deg();
    for leg in legs {
        let direction = if *leg < 0.0 { Direction::Backward } else { Direction::Forward };
        let count = (leg.abs() / longest - 1e-9).ceil().max(1.0);
        let even = (1..count as u32).map(|part| leg * f64::from(part) / count);
        let ways = even.map(|way| step.map_or(way, |step| (way / step).round() * step)).chain([*leg]);
        parts.extend(ways.map(|way| Target { angle: Angle::new(at + way), direction }));
        at += leg;
    }
    if let Some(last) = parts.last_mut() {
        last.angle = to;
    }
    parts
}

#[cfg(test)]
mod tests;
