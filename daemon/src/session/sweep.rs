//! A turn without stopping: the table sweeps at constant speed, and each frame is exposed when its angle passes.
//!
//! Where the platter is at a moment follows from the table's own reports ([`Track`]); each frame is kept with the angle
//! that it was exposed at and how sure that is. What was missed, or is farther from its angle than the recipe allows, is
//! shot again standing. A shutter that would be open while the platter turns too far is refused before anything moves.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use turnstage_drivers::Angle;
use turnstage_drivers::turntable::Sighting;

use super::shot::{Reached, Shot, expose, interrupted_by};
use super::{Outcome, Session, Stage};
use crate::motion::{Motion, Move, MoveEnd, Mover};
use crate::recipe::{Continuous, Place};
use crate::status::Fault;

/// Reports that are looked back on.
const TRACK_MAX: usize = 64;
/// Way beyond what speeding up takes, so that the first frame is at constant speed.
const MARGIN_DEG: f64 = 2.0;
/// A trigger that is later than this against its angle would miss it.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Where a platter is that turns at constant speed.
#[derive(Debug, Default)]
struct Track {
    seen: VecDeque<Sighting>,
}

impl Track {
    fn add(&mut self, sighting: Sighting) {
        if self.seen.back().is_none_or(|last| last.at < sighting.at) {
            if self.seen.len() == TRACK_MAX {
                self.seen.pop_front();
            }
            self.seen.push_back(sighting);
        }
    }

    /// Degrees a second between the first and the last report; as commanded while there are too few.
    fn speed(&self, commanded: f64) -> f64 {
        match (self.seen.front(), self.seen.back()) {
            (Some(first), Some(last)) if last.at > first.at && last.deg > first.deg => {
                (last.deg - first.deg) / (last.at - first.at).as_secs_f64()
            }
            _ => commanded,
        }
    }

    /// Degrees at a moment, and how far that may be wrong: as far as the nearest report, and what the speed leaves open
    /// since.
    fn at(&self, moment: Instant, commanded: f64) -> Option<(f64, f64)> {
        let away = |sighting: &&Sighting| seconds_between(sighting.at, moment).abs();
        let nearest = self.seen.iter().min_by(|a, b| away(a).total_cmp(&away(b)))?;
        let since = seconds_between(nearest.at, moment);
        let speed = self.speed(commanded);
        let doubt = (speed - commanded).abs().max(0.01 * commanded) * since.abs();
        Some((nearest.deg + speed * since, nearest.error_deg + doubt))
    }

    /// When the platter will be at `deg`.
    fn when(&self, deg: f64, commanded: f64) -> Option<Instant> {
        let last = self.seen.back()?;
        let seconds = (deg - last.deg) / self.speed(commanded);
        if seconds >= 0.0 {
            Some(last.at + Duration::from_secs_f64(seconds.min(3600.0)))
        } else {
            last.at.checked_sub(Duration::from_secs_f64((-seconds).min(3600.0)))
        }
    }
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

/// A sweep under way, as the shooting side sees it.
struct Sweep {
    sightings: watch::Receiver<Option<Sighting>>,
    motion: watch::Receiver<Motion>,
    track: Track,
    speed: f64,
    /// From a request to the middle of the exposure, as it was the last time.
    lead: Duration,
    /// Where it begins; may be below 0.
    from_deg: f64,
    /// Whole turns that the table's own counting is ahead of that.
    ahead_deg: Option<f64>,
}

impl Sweep {
    fn new(mover: &Mover, speed: f64, lead: Duration, from_deg: f64) -> Self {
        let mut sightings = mover.sightings();
        // What an earlier sweep left is no news.
        sightings.mark_unchanged();
        let (motion, track, ahead_deg) = (mover.watch(), Track::default(), None);
        Self { sightings, motion, track, speed, lead, from_deg, ahead_deg }
    }

    /// Takes up the newest report.
    fn look(&mut self) {
        if let Some(sighting) = *self.sightings.borrow_and_update() {
            let turns = ((sighting.deg - self.from_deg) / 360.0).round();
            let ahead_deg = *self.ahead_deg.get_or_insert(360.0 * turns);
            self.track.add(Sighting { deg: sighting.deg - ahead_deg, ..sighting });
        }
    }

    /// Waits until a request made now is exposed at `deg`; `false` if that has passed, or the table stands.
    async fn reach(&mut self, deg: f64) -> bool {
        let mut was_moving = false;
        loop {
            let due = self.track.when(deg, self.speed).and_then(|at| at.checked_sub(self.lead));
            if due.is_some_and(|due| due + LATE_MAX < Instant::now()) {
                return false;
            }
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                biased;
                Ok(()) = self.sightings.changed() => self.look(),
                () = tokio::time::sleep_until(due.unwrap_or(far)), if due.is_some() => return true,
                changed = self.motion.changed() => {
                    let moving = self.motion.borrow_and_update().moving;
                    if changed.is_err() || (was_moving && !moving) {
                        return false;
                    }
                    was_moving = was_moving || moving;
                }
            }
        }
    }

    /// Where the platter was in the middle of a shot.
    fn reached(&mut self, shot: &Shot, asked: Instant) -> Option<Reached> {
        if self.sightings.has_changed().unwrap_or(false) {
            self.look();
        }
        let first = shot.exposed().map(|exposed| exposed.start).min()?;
        let last = shot.exposed().map(|exposed| exposed.end).max()?;
        let middle = first + (last - first) / 2;
        self.lead = middle.saturating_duration_since(asked);
        let (deg, error_deg) = self.track.at(middle, self.speed)?;
        let open_deg = self.speed * (last - first).as_secs_f64() / 2.0;
        Some(Reached { angle: Angle::new(deg), error_deg: Some(error_deg + open_deg) })
    }
}

impl Session {
    /// Shoots every turn of which nothing was taken yet in one sweep each. What is left after that is shot standing.
    pub(super) async fn sweep_turns(&mut self, stage: &mut Stage<'_>, began: Instant) -> Result<(), Outcome> {
        let Some(how) = self.doc.recipe.continuous else { return Ok(()) };
        self.allow_sweep(stage, how)?;
        for row in 0..self.doc.recipe.rows.len() as u32 {
            let places: Vec<Place> =
                self.plan.places().iter().filter(|place| place.row == row).copied().collect();
            if *stage.pause.borrow() {
                return Ok(());
            }
            if self.takes.keys().all(|(shot, _)| places.iter().all(|place| place.shot != *shot)) {
                self.sweep_row(stage, how, &places, began).await?;
            }
        }
        Ok(())
    }

    /// Refuses what would smear: the platter turns on while a shutter is open.
    fn allow_sweep(&self, stage: &Stage<'_>, how: Continuous) -> Result<(), Outcome> {
        for camera in stage.rig.cameras.iter().filter(|camera| self.doc.cameras.contains(&camera.name)) {
            let exposure_us = camera.applied.as_ref().and_then(|applied| applied.exposure.exposure_us);
            let name = &camera.name;
            let why =
                "Frames of a turning object are smeared by as far as it turns while the shutter is open.";
            let Some(exposure_us) = exposure_us else {
                return Err(Outcome::Fault(Fault::new(
                    "continuous-exposure-unknown",
                    format!("Camera {name} does not say how long its shutter is open"),
                    why,
                    "Lock its exposure time, or use motion = \"stop_and_shoot\".",
                )));
            };
            let blur_deg = how.speed_deg_s * exposure_us / 1e6;
            if blur_deg > how.blur_deg_max {
                let speed = how.blur_deg_max / (exposure_us / 1e6);
                let exposure_us_max = how.blur_deg_max / how.speed_deg_s * 1e6;
                return Err(Outcome::Fault(Fault::new(
                    "continuous-blur",
                    format!(
                        "Camera {name} is open for {exposure_us:.0} µs: the platter turns {blur_deg:.3}° meanwhile, the \
                         recipe allows {:.3}°",
                        how.blur_deg_max
                    ),
                    why,
                    &format!(
                        "Expose for at most {exposure_us_max:.0} µs, or turn at most {speed:.2}° a second."
                    ),
                )));
            }
        }
        Ok(())
    }

    async fn sweep_row(
        &mut self,
        stage: &mut Stage<'_>,
        how: Continuous,
        places: &[Place],
        began: Instant,
    ) -> Result<(), Outcome> {
        let Some(start) = places.first().and_then(|place| place.angle) else { return Ok(()) };
        let mover = stage.mover.clone();
        let acceleration = mover.state().info.map_or(f64::INFINITY, |info| info.acceleration).max(0.1);
        let run_up = how.speed_deg_s * how.speed_deg_s / (2.0 * acceleration) + MARGIN_DEG;
        if let Some(tilt_deg) = places[0].tilt_deg
            && mover.state().tilt_deg != Some(tilt_deg)
        {
            arrive(&mover, Move::Tilt(tilt_deg)).await?;
        }
        arrive(&mover, Move::To(Angle::new(start.deg() - run_up))).await?;
        let span = 360.0 - 360.0 / places.len() as f64;
        let degrees = span + 2.0 * run_up;
        let turning = Instant::now();
        let lead = self.lead(stage);
        let sweep = Sweep::new(&mover, how.speed_deg_s, lead, start.deg() - run_up);
        let turn = mover.go(Move::Sweep { degrees, speed: how.speed_deg_s });
        let (end, shot) = tokio::join!(turn, self.shoot_passing(stage, sweep, places, how, began));
        self.doc.timing.motion_s += turning.elapsed().as_secs_f64();
        shot?;
        match end {
            MoveEnd::Arrived { .. } => Ok(()),
            end => Err(interrupted_by(end)),
        }
    }

    /// Half an exposure, before the camera has shown what it takes on top.
    fn lead(&self, stage: &Stage<'_>) -> Duration {
        let exposures =
            stage.rig.cameras.iter().filter_map(|camera| camera.applied.as_ref()?.exposure.exposure_us);
        Duration::from_secs_f64(exposures.fold(0.0, f64::max) / 2e6)
    }

    /// Exposes at each place as it passes; the verdict of one frame is found while the next comes.
    async fn shoot_passing(
        &mut self,
        stage: &mut Stage<'_>,
        mut sweep: Sweep,
        places: &[Place],
        how: Continuous,
        began: Instant,
    ) -> Result<(), Outcome> {
        let Some(start) = places.first().and_then(|place| place.angle) else { return Ok(()) };
        let mut before: Option<Shot> = None;
        for place in places {
            let Some(angle) = place.angle else { continue };
            // Counted on from the start of the row; the table counts on in its own sweep.
            let ahead = start.forward_to(angle);
            let finish = async {
                match before.take() {
                    Some(shot) => self.finish(stage, shot).await,
                    None => Ok(()),
                }
            };
            let (passes, finished) = tokio::join!(sweep.reach(start.deg() + ahead), finish);
            finished?;
            if !passes || *stage.pause.borrow() {
                continue;
            }
            self.plan.take(place.shot);
            self.progress.spent_s = began.elapsed().as_secs_f64();
            self.progress.begun += 1;
            self.say(stage, *place, true, true);
            self.show(stage, Some(place.shot), None);
            let asked = Instant::now();
            let names = self.doc.cameras.clone();
            let mut shot = expose(stage.rig, *place, None, &names, 1).await;
            shot.reached = sweep.reached(&shot, asked);
            self.doc.timing.spin_s = self.spun_before_s + shot.end().duration_since(began).as_secs_f64();
            let good = shot.reached.is_some_and(|reached| {
                reached.angle.distance(angle) + reached.error_deg.unwrap_or(0.0) <= how.angle_error_deg_max
            });
            if good {
                before = Some(shot);
            } else {
                discard(stage, shot).await;
                names.into_iter().for_each(|name| self.plan.retake((place.shot, name)));
            }
        }
        match before {
            Some(shot) => self.finish(stage, shot).await,
            None => Ok(()),
        }
    }
}

async fn arrive(mover: &Mover, what: Move) -> Result<(), Outcome> {
    match mover.go(what).await {
        MoveEnd::Arrived { .. } => Ok(()),
        end => Err(interrupted_by(end)),
    }
}

/// Empties the cameras of a shot that is not wanted.
async fn discard(stage: &mut Stage<'_>, shot: Shot) {
    for (name, burst) in shot.exposures {
        let camera = stage.rig.cameras.iter_mut().find(|camera| camera.name == name);
        let Some(open) = camera.and_then(|camera| camera.camera.as_mut()) else { continue };
        for exposed in burst.into_iter().flatten() {
            if let Err(error) = open.fetch(exposed).await {
                tracing::debug!(camera = name, %error, "a frame beside its angle");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(points: &[(f64, f64)]) -> (Track, Instant) {
        let zero = Instant::now() + Duration::from_secs(1000);
        let mut track = Track::default();
        for (seconds, deg) in points {
            track.add(Sighting { at: zero + Duration::from_secs_f64(*seconds), deg: *deg, error_deg: 0.1 });
        }
        (track, zero)
    }

    #[test]
    fn the_place_between_two_reports_follows_from_the_speed_that_they_show() {
        let (track, zero) = track(&[(0.0, 10.0), (1.0, 16.2), (2.0, 22.4)]);
        let (deg, error) = track.at(zero + Duration::from_secs_f64(1.5), 6.0).unwrap();
        assert!((deg - 19.3).abs() < 1e-9, "{deg}");
        assert!(
            (error - (0.1 + 0.2 * 0.5)).abs() < 1e-9,
            "half a second at a speed that is 0.2 off: {error}"
        );
        let when = track.when(28.6, 6.0).unwrap();
        assert!((seconds_between(zero, when) - 3.0).abs() < 1e-6);
        assert!(track.when(10.0, 6.0).unwrap() < zero + Duration::from_secs(1), "passed already");
    }

    #[test]
    fn without_any_report_nothing_is_said() {
        let (track, zero) = track(&[]);
        assert_eq!(track.at(zero, 6.0), None);
        assert_eq!(track.when(90.0, 6.0), None);
    }
}
