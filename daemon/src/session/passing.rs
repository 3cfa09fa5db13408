//! Shots of a platter that somebody else turns: it waits for no shutter, so each frame says where the platter truly was.
//!
//! The table's driver ends a move when the angle passes; nothing is waited for then. The angle of a frame is the one
//! that was seen in the middle of its exposure. A frame beside its angle is thrown away and comes again with a later
//! turn; several in a row need a person, because a shutter that is always late is. A shutter that would be open while
//! the platter turns too far is refused before it opens.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::Angle;
use turnstage_drivers::turntable::Sightings;

use super::shot::{Reached, Shot};
use super::sweep::{discard, smear};
use super::{Outcome, Session, Stage};
use crate::recipe::BLUR_DEG_MAX;
use crate::rig::Rig;
use crate::status::Fault;

/// Slower than this it stands.
const STANDS_DEG_S: f64 = 0.2;
/// The first sighting after a shot is waited for no longer than this.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Shots in a row beside their angles until a person is asked.
const BESIDE_MAX: u32 = 3;

/// A platter that somebody else turns, as it is seen.
#[derive(Clone)]
pub(super) struct Passing {
    sightings: Sightings,
    tolerance_deg: f64,
    lead_ms: f64,
}

impl Passing {
    /// Of a rig whose table is turned from elsewhere.
    pub fn of(rig: &Rig) -> Option<Self> {
        let (watched, _, sightings) = rig.watched()?;
        let (tolerance_deg, lead_ms) = (watched.tolerance_deg, watched.lead_ms);
        Some(Self { sightings: sightings.clone(), tolerance_deg, lead_ms })
    }

    /// Degrees a second, backward is negative; `None` of one that stands.
    pub fn speed(&self) -> Option<f64> {
        self.sightings.speed().filter(|speed| speed.abs() > STANDS_DEG_S)
    }

    /// A shutter is to open at this moment.
    pub fn expect(&self, moment: Instant) {
        self.sightings.expect(moment);
    }

    /// Where the platter was in the middle of a shot, once it was seen again after it.
    async fn reached(&self, shot: &Shot) -> Option<Reached> {
        let first = shot.exposed().map(|exposed| exposed.start).min()?;
        let last = shot.exposed().map(|exposed| exposed.end).max()?;
        let mut seen = self.sightings.watch();
        let after = seen.wait_for(|seen| seen.is_some_and(|seen| seen.at >= last));
        // Without one, what was seen before must do.
        drop(tokio::time::timeout(SEEN_WITHIN, after).await);
        let sighting = self.sightings.at(first + (last - first) / 2)?;
        Some(Reached { angle: Angle::new(sighting.deg), error_deg: Some(sighting.error_deg) })
    }

    /// A person must look: shots come beside their angles.
    fn beside(&self, frame: u32, off: Option<f64>) -> Outcome {
        let what = match off {
            Some(off) => {
                format!("Frame {frame} was exposed {:.1}° beside its angle, as those before it", off.abs())
            }
            None => format!("The marks on the rim were not seen while frame {frame} was exposed"),
        };
        let late_ms = off.zip(self.speed()).map(|(off, speed)| 1000.0 * off / speed);
        let lead_ms = late_ms.map(|late| self.lead_ms + late).filter(|lead| (0.0..=2000.0).contains(lead));
        let todo = match lead_ms {
            Some(lead) => {
                format!("Write lead_ms = {lead:.0} below [rig.turntable], or let it turn more slowly.")
            }
            None => {
                "See that the marks are lit and in the camera's view all the time, then continue.".to_owned()
            }
        };
        let why = "A frame would show the object from a wrong angle. The frames taken so far are safe.";
        Outcome::Fault(Fault::new("passing-beside", what, why, &todo))
    }
}

impl Session {
    /// Refuses what would smear: the platter turns on while the shutter is open.
    pub(super) fn allow_passing(&self, rig: &Rig, cameras: &[String]) -> Result<(), Outcome> {
        let Some(speed) = Passing::of(rig).and_then(|passing| passing.speed()) else { return Ok(()) };
        let blur_deg_max = self.doc.recipe.continuous.map_or(BLUR_DEG_MAX, |how| how.blur_deg_max);
        smear(rig, cameras, speed.abs(), blur_deg_max).map_or(Ok(()), |fault| Err(Outcome::Fault(fault)))
    }

    /// A shot with the angle that it was truly taken at; `None` of one beside its place, which is to be taken again.
    pub(super) async fn placed(
        &mut self,
        stage: &mut Stage<'_>,
        mut shot: Shot,
    ) -> Result<Option<Shot>, Outcome> {
        let (Some(passing), Some(angle)) = (Passing::of(stage.rig), shot.place.angle) else {
            return Ok(Some(shot));
        };
        let known = shot.reached.is_some_and(|reached| reached.error_deg.is_some());
        if known || shot.exposed().next().is_none() {
            return Ok(Some(shot));
        }
        shot.reached = passing.reached(&shot).await;
        let off = shot.reached.map(|reached| {
            let ahead = angle.forward_to(reached.angle);
            if ahead > 180.0 { ahead - 360.0 } else { ahead }
        });
        if off.is_some_and(|off| off.abs() <= passing.tolerance_deg) {
            self.beside = 0;
            return Ok(Some(shot));
        }
        let place = shot.place;
        let names: Vec<String> = shot.exposures.iter().map(|(name, _)| name.clone()).collect();
        discard(stage, shot).await;
        names.into_iter().for_each(|name| self.plan.retake((place.shot, name)));
        self.beside += 1;
        tracing::info!(frame = place.shot + 1, off_deg = off, "a frame beside its angle is taken again");
        if self.beside < BESIDE_MAX {
            return Ok(None);
        }
        self.beside = 0;
        Err(passing.beside(place.shot + 1, off))
    }
}
