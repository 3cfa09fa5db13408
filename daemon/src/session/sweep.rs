//! A turn without stopping: the table sweeps at constant speed, and each frame is exposed when its angle passes.
//!
//! Where the platter was at a moment follows from the table's reports before and after it ([`Track`]); each frame is kept
//! with the angle that it was exposed at and how sure that is. What was missed, is farther from its angle than the recipe
//! allows, or was not followed by a report, is shot again standing. A shutter that would be open while the platter turns
//! too far is refused before anything moves, and a sweep ends when nobody shoots any more.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turnstage_drivers::Angle;
use turnstage_drivers::turntable::Sighting;

use super::absent::UNPLUGGED;
use super::passing::Passing;
use super::shot::{Reached, Shot, expose, interrupted_by};
use super::{Outcome, Session, Stage};
use crate::motion::{Move, MoveEnd, Mover};
use crate::recipe::{Continuous, Place};
use crate::rig::Rig;
use crate::status::Fault;

/// Reports that are looked back on.
const TRACK_MAX: usize = 64;
/// Way beyond what speeding up takes, so that the first frame is at constant speed.
const MARGIN_DEG: f64 = 2.0;
/// A trigger that is later than this against its angle would miss it.
const LATE_MAX: Duration = Duration::from_millis(200);
/// A frame waits for the report that follows it as long as so many reports usually take.
const REPORTS_AWAITED: u32 = 3;
/// How long that is before two reports are there.
const REPORT_USUAL: Duration = Duration::from_millis(250);

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

    /// Degrees at a moment between two reports, and how far that may be wrong: as far as the reports, and what a speed
    /// other than the commanded one leaves open since the one before. After the last report nothing is known: the
    /// platter may have been stopped.
    fn at(&self, moment: Instant, commanded: f64) -> Option<(f64, f64)> {
        let next = self.seen.iter().position(|sighting| sighting.at >= moment)?;
        let after = self.seen[next];
        if after.at == moment {
            return Some((after.deg, after.error_deg));
        }
        let before = self.seen[next.checked_sub(1)?];
        let speed = (after.deg - before.deg) / (after.at - before.at).as_secs_f64();
        let since = seconds_between(before.at, moment);
        let doubt = (speed - commanded).abs().max(0.01 * commanded) * since;
        Some((before.deg + speed * since, before.error_deg.max(after.error_deg) + doubt))
    }

    /// How long the next report usually takes.
    fn usual(&self) -> Duration {
        match (self.seen.front(), self.seen.back()) {
            (Some(first), Some(last)) if self.seen.len() > 1 => {
                (last.at - first.at) / (self.seen.len() as u32 - 1)
            }
            _ => REPORT_USUAL,
        }
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
    /// The table stands again, or never began.
    over: CancellationToken,
    pause: watch::Receiver<bool>,
    track: Track,
    speed: f64,
    /// From a request to the middle of the exposure, as it was the last time.
    lead: Duration,
    /// Where it begins; may be below 0.
    from_deg: f64,
    /// Whole turns that the table's own counting is ahead of that.
    ahead_deg: Option<f64>,
    /// Of a platter that somebody else turns.
    passing: Option<Passing>,
}

impl Sweep {
    /// Takes up the newest report.
    fn look(&mut self) {
        if let Some(sighting) = *self.sightings.borrow_and_update() {
            let turns = ((sighting.deg - self.from_deg) / 360.0).round();
            let ahead_deg = *self.ahead_deg.get_or_insert(360.0 * turns);
            self.track.add(Sighting { deg: sighting.deg - ahead_deg, ..sighting });
        }
    }

    /// Nothing more is to be shot on this sweep.
    fn is_over(&self) -> bool {
        self.over.is_cancelled() || *self.pause.borrow()
    }

    /// Waits until a request made now is exposed at `deg`; `false` if that has passed, or the sweep is over.
    async fn reach(&mut self, deg: f64) -> bool {
        loop {
            let due = self.track.when(deg, self.speed).and_then(|at| at.checked_sub(self.lead));
            if self.is_over() || due.is_some_and(|due| due + LATE_MAX < Instant::now()) {
                return false;
            }
            if let (Some(passing), Some(due)) = (&self.passing, due) {
                passing.expect(due);
            }
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                biased;
                () = self.over.cancelled() => return false,
                Ok(()) = self.pause.changed() => {}
                Ok(()) = self.sightings.changed() => self.look(),
                () = tokio::time::sleep_until(due.unwrap_or(far)), if due.is_some() => return true,
            }
        }
    }

    /// Where the platter was in the middle of a shot, once the table has told where it was after it.
    async fn reached(&mut self, shot: &Shot, asked: Instant) -> Option<Reached> {
        let first = shot.exposed().map(|exposed| exposed.start).min()?;
        let last = shot.exposed().map(|exposed| exposed.end).max()?;
        let middle = first + (last - first) / 2;
        self.lead = middle.saturating_duration_since(asked);
        let until = Instant::now() + REPORTS_AWAITED * self.track.usual();
        if self.sightings.has_changed().unwrap_or(false) {
            self.look();
        }
        let (deg, error_deg) = loop {
            if let Some(place) = self.track.at(middle, self.speed) {
                break place;
            }
            tokio::select! {
                biased;
                Ok(()) = self.sightings.changed() => self.look(),
                () = self.over.cancelled() => return None,
                () = tokio::time::sleep_until(until) => return None,
            }
        };
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
        let fault = smear(stage.rig, &self.doc.cameras, how.speed_deg_s, how.blur_deg_max);
        fault.map_or(Ok(()), |fault| Err(Outcome::Fault(fault)))
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
        let (over, halt) = (CancellationToken::new(), CancellationToken::new());
        let mut sightings = mover.sightings();
        // What an earlier sweep left is no news.
        sightings.mark_unchanged();
        let sweep = Sweep {
            sightings,
            over: over.clone(),
            pause: stage.pause.clone(),
            track: Track::default(),
            speed: how.speed_deg_s,
            lead: self.lead(stage),
            from_deg: start.deg() - run_up,
            ahead_deg: None,
            passing: Passing::of(stage.rig),
        };
        let turn = async {
            let end = mover.go_until(Move::Sweep { degrees, speed: how.speed_deg_s }, halt.clone()).await;
            over.cancel();
            end
        };
        let pause = stage.pause.clone();
        let shooting = async {
            let shot = self.shoot_passing(stage, sweep, places, how, began).await;
            // While a camera is plugged in again the table may go on to where it knows that it stands.
            let goes_on = match &shot {
                Ok(()) => !*pause.borrow(),
                Err(Outcome::Fault(fault)) => fault.rule == UNPLUGGED,
                Err(_) => false,
            };
            if !goes_on {
                halt.cancel();
            }
            shot
        };
        let (end, shot) = tokio::join!(turn, shooting);
        self.doc.timing.motion_s += turning.elapsed().as_secs_f64();
        shot?;
        match end {
            MoveEnd::Arrived { .. } => Ok(()),
            // Halted by us: the session says why it ends.
            MoveEnd::Stopped if halt.is_cancelled() && !mover.state().stopped => Ok(()),
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
            if sweep.is_over() {
                break;
            }
            if !passes {
                continue;
            }
            self.plan.take(place.shot);
            self.progress.spent_s = began.elapsed().as_secs_f64();
            self.progress.begun += 1;
            self.say(stage, *place, true, true);
            self.show(stage, Some(place.shot), None);
            let asked = Instant::now();
            let names = self.doc.cameras.clone();
            let flashes = stage.controls.borrow().flashes;
            let mut shot = expose(stage.rig, *place, None, &names, 1).await;
            shot.flashes = flashes;
            shot.reached = sweep.reached(&shot, asked).await;
            self.doc.timing.spin_s = self.spun_before_s + shot.end().duration_since(began).as_secs_f64();
            let fits = |reached: Reached| {
                reached.angle.distance(angle) + reached.error_deg.unwrap_or(0.0) <= how.angle_error_deg_max
            };
            // What no camera exposed has no angle, but reasons, which are told.
            let good = shot.exposed().next().is_none() || shot.reached.is_some_and(fits);
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

/// What of these cameras would smear at a speed, in degrees a second, of which so many degrees are allowed.
pub(super) fn smear(rig: &Rig, names: &[String], speed_deg_s: f64, blur_deg_max: f64) -> Option<Fault> {
    let why = "Frames of a turning object are smeared by as far as it turns while the shutter is open.";
    let own = rig.cameras.iter().filter(|camera| names.contains(&camera.name));
    // One that may be missing and is takes no frames that could be smeared.
    own.filter(|camera| camera.required || camera.camera.is_some()).find_map(|camera| {
        let exposure_us = camera.applied.as_ref().and_then(|applied| applied.exposure.exposure_us);
        let name = &camera.name;
        let Some(exposure_us) = exposure_us else {
            return Some(Fault::new(
                "continuous-exposure-unknown",
                format!("Camera {name} does not say how long its shutter is open"),
                why,
                "Lock its exposure time, or shoot a platter that stands (motion = \"stop_and_shoot\").",
            ));
        };
        let blur_deg = speed_deg_s * exposure_us / 1e6;
        (blur_deg > blur_deg_max).then(|| {
            let speed = blur_deg_max / (exposure_us / 1e6);
            let exposure_us_max = blur_deg_max / speed_deg_s * 1e6;
            Fault::new(
                "continuous-blur",
                format!(
                    "Camera {name} is open for {exposure_us:.0} µs: the platter turns {blur_deg:.3}° meanwhile, the \
                     recipe allows {blur_deg_max:.3}°"
                ),
                why,
                &format!("Expose for at most {exposure_us_max:.0} µs, or turn at most {speed:.2}° a second."),
            )
        })
    })
}

async fn arrive(mover: &Mover, what: Move) -> Result<(), Outcome> {
    match mover.go(what).await {
        MoveEnd::Arrived { .. } => Ok(()),
        end => Err(interrupted_by(end)),
    }
}

/// Empties the cameras of a shot that is not wanted.
pub(super) async fn discard(stage: &mut Stage<'_>, shot: Shot) {
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
    fn after_the_last_report_and_before_the_first_nothing_is_said() {
        let (track, zero) = track(&[(1.0, 10.0), (2.0, 16.0)]);
        let at = |seconds| track.at(zero + Duration::from_secs_f64(seconds), 6.0);
        assert_eq!((at(0.9), at(2.1)), (None, None));
        assert_eq!(at(2.0), Some((16.0, 0.1)));
    }

    #[test]
    fn a_platter_that_stopped_between_two_reports_is_not_believed_to_be_where_it_should() {
        let (track, zero) = track(&[(0.0, 10.0), (1.0, 16.0), (2.0, 17.0)]);
        let (deg, error) = track.at(zero + Duration::from_secs_f64(1.9), 6.0).unwrap();
        // It stood at 17 since 1.17 s.
        assert!((deg - error..=deg + error).contains(&17.0) && error > 4.0, "{deg} within {error}");
    }

    #[test]
    fn without_any_report_nothing_is_said() {
        let (track, zero) = track(&[]);
        assert_eq!(track.at(zero, 6.0), None);
        assert_eq!(track.when(90.0, 6.0), None);
    }
}
