//! The promises of a turntable.
//!
//! The suite turns the table several times round. What a table cannot do it says beforehand in its `TurntableInfo`; then
//! it must refuse it, by a rule and in words, and stay where it is. Whether the platter really stands where the table
//! says needs somebody who sees it: an [`Eye`]. Without one that is for the person beside the bench.

mod moving;
mod refusing;

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::turntable::{Direction, Reference, Source, Target};
use turnstage_drivers::{Angle, Moved, Position, Turntable, TurntableError};

use crate::eye::Eye;
use crate::report::{Report, expect};

/// A table may say that it stands this far beside its target.
const NEAR_DEG: f64 = 0.5;
/// It may truly stand this far beside its target: play of the drive, a bearing off centre, ringing.
const TRULY_NEAR_DEG: f64 = 1.5;
/// A platter that stands may ring by this much, and no more.
const STILL_DEG: f64 = 0.25;
/// A platter has come to rest after this.
const QUIET: Duration = Duration::from_secs(1);

/// The promises that a zero is found, that targets are reached, and that a stop on the way stops.
pub const REFERENCE: &str = "finds its reference";
/// See [`REFERENCE`].
pub const TARGETS: &str = "reaches its targets by both ways round";
/// See [`REFERENCE`].
pub const STOPS: &str = "stops on the way and says so";

/// Puts a table through every promise. It stands still afterwards, if it can be stopped at all.
pub async fn conform(table: Box<dyn Turntable>) -> Report {
    Suite::of(table, None).run().await
}

/// The same before somebody who sees where the platter truly is.
pub async fn conform_seen(table: Box<dyn Turntable>, eye: Eye) -> Report {
    Suite::of(table, Some(eye)).run().await
}

/// Whether a table that was opened can be stopped and referenced, and turns.
pub async fn works(opened: Result<Box<dyn Turntable>, TurntableError>) -> Result<(), String> {
    let table = opened.map_err(|e| e.to_string())?;
    let mut suite = Suite::of(table, None);
    suite.begins_with_a_stop().await;
    if suite.finds_its_reference(REFERENCE).await {
        let moved = suite.table.move_to(forward(15.0)).await;
        let there = matches!(moved, Ok(Moved::Done(angle)) if angle.distance(Angle::new(15.0)) < NEAR_DEG);
        suite.report.check(TARGETS, expect(there, || seen(&moved)));
    }
    match suite.report.broken().first() {
        Some(name) => Err(format!("then it does not keep the promise \"{name}\"")),
        None => Ok(()),
    }
}

struct Suite {
    report: Report,
    table: Box<dyn Turntable>,
    eye: Option<Eye>,
    /// What the eye sees where the table says 0.
    zero: f64,
}

impl Suite {
    fn of(table: Box<dyn Turntable>, eye: Option<Eye>) -> Self {
        let info = table.info();
        let report = Report::of("turntable", &info.id, info.driver, &info.model, info.firmware.clone());
        Self { report, table, eye, zero: 0.0 }
    }

    async fn run(mut self) -> Report {
        self.begins_with_a_stop().await;
        if !self.is_seen() {
            self.refuses_targets_before_a_reference().await;
        }
        if self.finds_its_reference(REFERENCE).await {
            self.reaches_targets().await;
            self.turns_relatively().await;
            self.tilts_or_refuses().await;
            self.sweeps_or_refuses().await;
            if self.table.info().stops {
                self.stops_on_the_way().await;
                self.finds_its_reference("finds its reference again").await;
            } else {
                self.refuses_to_stop().await;
            }
            self.rotates_or_refuses().await;
        }
        let end = self.table.stop().await;
        self.report.check("can be stopped at the end", end.map(|_| ()).map_err(|e| e.to_string()));
        self.report
    }

    async fn begins_with_a_stop(&mut self) {
        let moved = self.table.stop().await;
        let kept = match &moved {
            Ok(Moved::Done(_) | Moved::StoppedAt(_)) => Ok(()),
            refused if !self.table.info().stops => refusing::in_words(refused),
            other => Err(seen(other)),
        };
        self.report.check("a stop is allowed first of all", kept);
        let position = self.table.position();
        let honest = position == Position::Unknown || self.is_seen();
        let kept = expect(honest, || format!("{position:?} before any reference"));
        self.report.check("knows that it does not know its position", kept);
    }

    /// Where the platter stands is read off it: nobody has to find it first.
    fn is_seen(&self) -> bool {
        matches!(self.table.position(), Position::Known(_, Source::Seen))
    }

    async fn finds_its_reference(&mut self, name: &'static str) -> bool {
        // What is read off is not driven to: it can be called 0 where it stands.
        let homes = self.table.info().home && !self.is_seen();
        let how = if homes { Reference::Home } else { Reference::At(Angle::default()) };
        let moved = self.table.reference(how).await;
        self.rest().await;
        let position = self.table.position();
        let known =
            matches!(position, Position::Known(angle, _) if angle.distance(Angle::new(0.0)) < NEAR_DEG);
        let found = matches!(moved, Ok(Moved::Done(_))) && known;
        if let (Some(eye), Position::Known(angle, _)) = (&self.eye, position) {
            self.zero = eye.deg() - angle.deg();
        }
        self.report.check(name, expect(found, || format!("{}, then {position:?}", seen(&moved))));
        found
    }

    async fn reaches_targets(&mut self) {
        let info = self.table.info().clone();
        let mut here = Angle::new(0.0);
        let (mut reached, mut took, mut stood) = (Ok(()), Ok(()), Ok(()));
        let targets = [30.0, 90.0, 350.0, 10.0].map(forward);
        let back = Target { angle: Angle::new(340.0), direction: Direction::Backward };
        for target in targets.into_iter().chain([back]) {
            let way = match target.direction {
                Direction::Forward => here.forward_to(target.angle),
                Direction::Backward => target.angle.forward_to(here),
            };
            let begun = Instant::now();
            let moved = self.table.move_to(target).await;
            let time = begun.elapsed();
            let there = |angle: Angle| angle.distance(target.angle) < NEAR_DEG;
            let done = matches!(moved, Ok(Moved::Done(angle)) if there(angle));
            let known = match self.table.position() {
                Position::Known(angle, _) => there(angle),
                // Timed and not told, and it says how far it may be off.
                Position::Estimated(angle) => there(angle) && self.table.reckoned_deg().is_some(),
                Position::Unknown => false,
            };
            if !(done && known) {
                reached =
                    Err(format!("to {}: {}, then {:?}", target.angle, seen(&moved), self.table.position()));
            }
            let shortest = Duration::from_secs_f64(way / info.speed_max * 0.9);
            if time < shortest || time > info.move_limit {
                let bounds = format!("{shortest:?} to {:?}", info.move_limit);
                took = Err(format!("{way} degrees took {time:?}, which is not in {bounds}"));
            }
            stood = stood.and(self.stands_at(target.angle).await);
            here = target.angle;
        }
        self.report.check(TARGETS, reached);
        self.report.check("says that it stands when it stands, within its limit", took);
        self.by_eye("is seen to stand where it says that it stands", stood);
    }

    async fn turns_relatively(&mut self) {
        let there = self.table.move_by(15.0).await;
        let back = self.table.move_by(-15.0).await;
        let done = matches!((&there, &back), (Ok(Moved::Done(_)), Ok(Moved::Done(_))));
        self.report.check(
            "turns by degrees, there and back",
            expect(done, || format!("{}, then {}", seen(&there), seen(&back))),
        );
        let before = self.place().await;
        let more = self.table.move_by(400.0).await;
        let kept = self.refused(before, &more).await;
        self.report.check("refuses more than one turn", kept);
    }

    /// Notes a promise that only an eye can see kept.
    fn by_eye(&mut self, name: &'static str, kept: Result<(), String>) {
        match self.eye {
            Some(_) => self.report.check(name, kept),
            None => self.report.skip(name, "nobody sees the platter but the person beside it"),
        }
    }

    /// Whether the platter is seen at an angle, and stays there where it is ours to stop.
    async fn stands_at(&self, angle: Angle) -> Result<(), String> {
        let Some(eye) = &self.eye else { return Ok(()) };
        let is = Angle::new(eye.deg() - self.zero);
        expect(is.distance(angle) <= TRULY_NEAR_DEG, || format!("it says {angle} and is seen at {is}"))?;
        if !self.table.info().stops {
            return Ok(());
        }
        let then = eye.deg();
        tokio::time::sleep(QUIET).await;
        let more = (eye.deg() - then).abs();
        expect(more <= TRULY_NEAR_DEG, || format!("it turned {more:.1}° on after it said {angle}"))
    }

    /// Lets a platter that is ours come to rest, where somebody looks.
    async fn rest(&self) {
        if self.eye.is_some() && self.table.info().stops {
            tokio::time::sleep(QUIET).await;
        }
    }

    /// Whether the platter is seen to stand.
    async fn is_still(&self) -> Result<(), String> {
        let Some(eye) = &self.eye else { return Ok(()) };
        self.rest().await;
        let then = eye.deg();
        tokio::time::sleep(QUIET).await;
        let more = (eye.deg() - then).abs();
        expect(more <= STILL_DEG, || format!("it turned {more:.1}° within {QUIET:?}"))
    }
}

fn forward(deg: f64) -> Target {
    Target { angle: Angle::new(deg), direction: Direction::Forward }
}

fn seen(moved: &Result<Moved, TurntableError>) -> String {
    match moved {
        Ok(moved) => format!("{moved:?}"),
        Err(error) => error.to_string(),
    }
}
