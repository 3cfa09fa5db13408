//! The promises of a turntable.
//!
//! The suite turns the table several times round. What cannot be seen from here is whether the platter really stands
//! where the table says: that is for a camera, or for the person beside it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use turnstage_drivers::turntable::{Direction, Reference, Target};
use turnstage_drivers::{Angle, Moved, Position, Turntable, TurntableError};

use crate::Report;
use crate::report::expect;

/// A table may say that it stands this far beside its target.
const NEAR_DEG: f64 = 0.5;
/// A stop is answered within the time to brake and this.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Puts a table through every promise. It stands still afterwards, if it can be stopped at all.
pub async fn conform(table: Box<dyn Turntable>) -> Report {
    let info = table.info();
    let mut suite = Suite {
        report: Report::of("turntable", &info.id, info.driver, &info.model, info.firmware.clone()),
        table,
    };
    suite.begins_with_a_stop().await;
    suite.refuses_targets_before_a_reference().await;
    if suite.finds_its_reference("finds its reference").await {
        suite.reaches_targets().await;
        suite.turns_relatively().await;
        suite.stops_on_the_way().await;
        suite.finds_its_reference("finds its reference again").await;
        suite.rotates_until_stopped().await;
    }
    let end = suite.table.stop().await;
    suite.report.check("can be stopped at the end", end.map(|_| ()).map_err(|e| e.to_string()));
    suite.report
}

struct Suite {
    report: Report,
    table: Box<dyn Turntable>,
}

impl Suite {
    async fn begins_with_a_stop(&mut self) {
        let kept = match self.table.stop().await {
            Ok(Moved::Done(_) | Moved::StoppedAt(_)) => Ok(()),
            other => Err(seen(&other)),
        };
        self.report.check("a stop is allowed first of all", kept);
        let position = self.table.position();
        let kept = expect(position == Position::Unknown, || format!("{position:?} before any reference"));
        self.report.check("knows that it does not know its position", kept);
    }

    async fn refuses_targets_before_a_reference(&mut self) {
        let moved = self.table.move_to(forward(20.0)).await;
        let kept = expect(matches!(moved, Ok(Moved::Refused { .. })), || seen(&moved));
        self.report.check("refuses a target before a reference", kept);
    }

    async fn finds_its_reference(&mut self, name: &'static str) -> bool {
        let how = if self.table.info().home { Reference::Home } else { Reference::At(Angle::default()) };
        let moved = self.table.reference(how).await;
        let position = self.table.position();
        let known =
            matches!(position, Position::Known(angle, _) if angle.distance(Angle::new(0.0)) < NEAR_DEG);
        let found = matches!(moved, Ok(Moved::Done(_))) && known;
        self.report.check(name, expect(found, || format!("{}, then {position:?}", seen(&moved))));
        found
    }

    async fn reaches_targets(&mut self) {
        let info = self.table.info().clone();
        let mut here = Angle::new(0.0);
        let (mut reached, mut took) = (Ok(()), Ok(()));
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
            let known = matches!(self.table.position(), Position::Known(angle, _) if there(angle));
            if !(done && known) {
                reached =
                    Err(format!("to {}: {}, then {:?}", target.angle, seen(&moved), self.table.position()));
            }
            let shortest = Duration::from_secs_f64(way / info.speed_max * 0.9);
            if time < shortest || time > info.move_limit {
                let bounds = format!("{shortest:?} to {:?}", info.move_limit);
                took = Err(format!("{way} degrees took {time:?}, which is not in {bounds}"));
            }
            here = target.angle;
        }
        self.report.check("reaches its targets by both ways round", reached);
        self.report.check("says that it stands when it stands, within its limit", took);
    }

    async fn turns_relatively(&mut self) {
        let there = self.table.move_by(15.0).await;
        let back = self.table.move_by(-15.0).await;
        let done = matches!((&there, &back), (Ok(Moved::Done(_)), Ok(Moved::Done(_))));
        self.report.check(
            "turns by degrees, there and back",
            expect(done, || format!("{}, then {}", seen(&there), seen(&back))),
        );
        let more = self.table.move_by(400.0).await;
        let refused = expect(matches!(more, Ok(Moved::Refused { .. })), || seen(&more));
        self.report.check("refuses more than one turn", refused);
    }

    async fn stops_on_the_way(&mut self) {
        let from = match self.table.position() {
            Position::Known(angle, _) | Position::Estimated(angle) => angle,
            Position::Unknown => Angle::new(0.0),
        };
        let far = forward(from.deg() + 180.0);
        let whole = 180.0 / self.table.info().speed_max;
        let cut = timeout(Duration::from_secs_f64(whole * 0.4), self.table.move_to(far)).await;
        let kept = expect(cut.is_err(), || "a half turn ended before two fifths of its time".to_owned());
        self.report.check("a half turn is under way when it is stopped", kept);

        let braking = self.table.info().speed_max / self.table.info().acceleration.max(0.1);
        let limit = STOP_GRACE + Duration::from_secs_f64(braking);
        let begun = Instant::now();
        let moved = self.table.stop().await;
        let took = begun.elapsed();
        let kept = expect(matches!(moved, Ok(Moved::StoppedAt(_))) && took <= limit, || {
            format!("{} after {took:?}; the limit is {limit:?}", seen(&moved))
        });
        self.report.check("stops on the way and says so", kept);

        let position = self.table.position();
        let again = self.table.move_to(far).await;
        let doubts = !matches!(position, Position::Known(..)) && matches!(again, Ok(Moved::Refused { .. }));
        let kept = expect(doubts, || format!("{position:?}, then {}", seen(&again)));
        self.report.check("doubts its position after a stop on the way", kept);
    }

    async fn rotates_until_stopped(&mut self) {
        const NAME: &str = "rotates until it is stopped";
        let speed = self.table.info().speed_max * 0.5;
        if let Err(error) = self.table.rotate(speed).await {
            return self.report.check(NAME, Err(error.to_string()));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let moved = self.table.stop().await;
        self.report.check(NAME, expect(matches!(moved, Ok(Moved::StoppedAt(_))), || seen(&moved)));
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
