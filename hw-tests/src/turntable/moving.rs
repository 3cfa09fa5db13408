//! Motions that are more than the way to a place: tilted, stopped, swept, and without end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use turnstage_drivers::turntable::Sighting;
use turnstage_drivers::{Angle, Moved, Position, TurntableError};

use super::{STILL_DEG, STOPS, Suite, TRULY_NEAR_DEG, forward, seen};
use crate::eye::Eye;
use crate::report::expect;

/// A stop is answered within the time to brake and this.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How far it sweeps.
const SWEEP_DEG: f64 = 60.0;
/// How often the eye looks at a sweep.
const LOOK: Duration = Duration::from_millis(10);
/// A platter that turns on has gone this share of its way at full speed at least.
const RUN_SHARE: f64 = 0.2;

impl Suite {
    /// Time from full speed to rest.
    fn braking(&self) -> Duration {
        let info = self.table.info();
        Duration::from_secs_f64(info.speed_max / info.acceleration.max(0.1))
    }

    /// A speed that it has: half its fastest, or the nearest to that.
    fn pace(&self) -> f64 {
        let info = self.table.info();
        info.rotates.map_or(0.5 * info.speed_max, |(low, high)| (0.5 * high).max(low))
    }

    pub(super) async fn tilts_or_refuses(&mut self) {
        const SEEN: &str = "is seen to tilt as far as it says that it tilts";
        let Some((low, high)) = self.table.info().tilt else {
            let before = self.place().await;
            let moved = self.table.tilt_to(5.0).await;
            let kept = self.refused(before, &moved).await;
            return self.report.check("refuses to tilt", kept);
        };
        let stood = self.table.position();
        let (mut kept, mut seen_there) = (Ok(()), Ok(()));
        for deg in [high, low, 0.0] {
            let moved = self.table.tilt_to(deg).await;
            let done = matches!(moved, Ok(Moved::Done(_))) && self.table.position() == stood;
            kept = kept.and(expect(done, || {
                format!("to {deg} degrees: {}, then {:?}", seen(&moved), self.table.position())
            }));
            let is = self.eye.as_ref().and_then(Eye::tilt_deg).unwrap_or(deg);
            let there = (is - deg).abs() <= STILL_DEG;
            seen_there =
                seen_there.and(expect(there, || format!("it says {deg} degrees and is seen at {is:.1}")));
        }
        self.report.check("tilts to its ends and back, and keeps its angle", kept);
        match self.eye.as_ref().and_then(Eye::tilt_deg) {
            Some(_) => self.report.check(SEEN, seen_there),
            None => self.report.skip(SEEN, "nobody sees the tilt but the person beside it"),
        }
        let before = self.place().await;
        let moved = self.table.tilt_to(high + 5.0).await;
        let kept = self.refused(before, &moved).await;
        self.report.check("refuses to tilt beyond its end", kept);
    }

    pub(super) async fn stops_on_the_way(&mut self) {
        let from = match self.table.position() {
            Position::Known(angle, _) | Position::Estimated(angle) => angle,
            Position::Unknown => Angle::new(0.0),
        };
        let far = forward(from.deg() + 180.0);
        let whole = 180.0 / self.table.info().speed_max;
        let cut = timeout(Duration::from_secs_f64(whole * 0.4), self.table.move_to(far)).await;
        let kept = expect(cut.is_err(), || "a half turn ended before two fifths of its time".to_owned());
        self.report.check("a half turn is under way when it is stopped", kept);

        let limit = STOP_GRACE + self.braking();
        let begun = Instant::now();
        let moved = self.table.stop().await;
        let took = begun.elapsed();
        let kept = expect(matches!(moved, Ok(Moved::StoppedAt(_))) && took <= limit, || {
            format!("{} after {took:?}; the limit is {limit:?}", seen(&moved))
        });
        self.report.check(STOPS, kept);
        let still = self.has_stopped().await;
        self.by_eye("is seen to stand after a stop", still);

        let position = self.table.position();
        let again = self.table.move_to(far).await;
        let doubts = !matches!(position, Position::Known(..)) && matches!(again, Ok(Moved::Refused { .. }));
        let kept = expect(doubts, || format!("{position:?}, then {}", seen(&again)));
        self.report.check("doubts its position after a stop on the way", kept);
    }

    /// Whether it has come to rest in the time that it needs to brake.
    async fn has_stopped(&self) -> Result<(), String> {
        if self.eye.is_some() {
            tokio::time::sleep(self.braking()).await;
        }
        self.is_still().await
    }

    pub(super) async fn rotates_or_refuses(&mut self) {
        const NAME: &str = "rotates until it is stopped";
        let info = self.table.info();
        let Some((_, fastest)) = info.rotates else {
            let speed = 0.5 * info.speed_max;
            return self.refuses_to_rotate("refuses to turn on and on", speed).await;
        };
        self.refuses_to_rotate("refuses to turn on faster than it can", 1.5 * fastest).await;
        let speed = self.pace();
        let before = self.eye.as_ref().map(Eye::deg);
        if let Err(error) = self.table.rotate(speed).await {
            return self.report.check(NAME, Err(error.to_string()));
        }
        let time = Duration::from_secs(1) + self.braking();
        tokio::time::sleep(time).await;
        let went = self.eye.as_ref().zip(before).map(|(eye, before)| eye.deg() - before);
        let least = RUN_SHARE * speed * time.as_secs_f64();
        let moved = self.table.stop().await;
        let kept = expect(matches!(moved, Ok(Moved::StoppedAt(_))), || seen(&moved));
        self.report.check(NAME, kept);
        let turned = expect(went.is_none_or(|deg| deg >= least), || {
            format!("in {time:?} at {speed:.1} degrees a second it turned {:.1}°", went.unwrap_or(0.0))
        });
        let still = self.has_stopped().await;
        self.by_eye("is seen to rotate, and to stand after the stop", turned.and(still));
    }

    pub(super) async fn sweeps_or_refuses(&mut self) {
        const NAME: &str = "tells where it is while it sweeps";
        let before = self.place().await;
        let speed = self.pace();
        let (moved, told) = self.sweep(speed).await;
        if !self.table.info().sweeps {
            let kept = self.refused(before, &moved).await;
            return self.report.check("refuses to sweep", kept);
        }
        if let Ok(Moved::Refused { rule: "motion-not-referenced", reason }) = &moved {
            return self.report.skip(NAME, reason);
        }
        let kept = expect(matches!(moved, Ok(Moved::Done(_))), || seen(&moved));
        self.report.check(NAME, kept.and(told));
    }

    /// Sweeps, and holds every sighting against what was seen at its moment.
    async fn sweep(&mut self, speed: f64) -> (Result<Moved, TurntableError>, Result<(), String>) {
        let (sender, mut told) = watch::channel(None::<Sighting>);
        let (mut sightings, mut track) = (Vec::new(), Vec::new());
        let mut look = tokio::time::interval(LOOK);
        let moved = {
            let sweep = self.table.sweep(SWEEP_DEG, speed, &sender);
            tokio::pin!(sweep);
            loop {
                tokio::select! {
                    biased;
                    moved = &mut sweep => break moved,
                    Ok(()) = told.changed() => sightings.extend(*told.borrow_and_update()),
                    _ = look.tick() => track.extend(self.eye.as_ref().map(|eye| (Instant::now(), eye.deg()))),
                }
            }
        };
        track.extend(self.eye.as_ref().map(|eye| (Instant::now(), eye.deg())));
        // Start and end alone say nothing of the way.
        let enough = expect(sightings.len() >= 3, || format!("it told of {} places", sightings.len()));
        let zero = self.zero;
        let right = sightings.iter().try_for_each(|sighting| {
            let Some(is) = at(&track, sighting.at) else { return Ok(()) };
            let off = Angle::new(is - zero).distance(Angle::new(sighting.deg));
            expect(off <= sighting.error_deg + TRULY_NEAR_DEG, || {
                let Sighting { deg, error_deg, .. } = sighting;
                format!("it told of {deg:.1}° within {error_deg:.1}° and was seen {off:.1}° beside that")
            })
        });
        (moved, enough.and(right))
    }
}

/// Where it was seen at a moment, between two looks.
fn at(track: &[(Instant, f64)], moment: Instant) -> Option<f64> {
    let k = track.iter().position(|(at, _)| *at >= moment)?.max(1);
    let ((t0, a), (t1, b)) = (track[k - 1], *track.get(k)?);
    let share = moment.saturating_duration_since(t0).as_secs_f64() / (t1 - t0).as_secs_f64().max(1e-9);
    Some(a + (b - a) * share.clamp(0.0, 1.0))
}
