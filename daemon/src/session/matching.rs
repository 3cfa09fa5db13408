//! Where does the platter stand? For a table without a home switch, after its position was lost.
//!
//! The present place is declared to be 0 for the moment. Fresh frames of every camera are held against those that were
//! taken: the nearest one names the angle roughly, a sweep around it finds where it fits best. The angle found is
//! shown and a person confirms it before anything is shot; what does not fit clearly is not offered.

use turnstage_cloud_sync::backend::Payload;
use turnstage_drivers::turntable::Reference;
use turnstage_drivers::{Angle, Position};
use turnstage_pipeline::{InputLimits, Signature};

use super::finish::fetch_and_judge;
use super::passing::Passing;
use super::{Outcome, Session, Stage, expose, interrupted_by, turn};
use crate::motion::{Move, MoveEnd};
use crate::recipe::Place;
use crate::status::{Fault, Situation};

/// Steps of the sweep to each side.
const STEPS: i32 = 12;
/// How far to each side, in spacings of frames: a table that lost its link may have gone on to the end of its step, a
/// whole spacing from the last frame, and the tip must lie within.
const SWEEP_SPACINGS: f64 = 1.5;
/// The widest sweep to each side in degrees.
const SWEEP_DEG_MAX: f64 = 22.5;
/// The best place must differ from the taken frame by less than this part of what the usual place of the sweep does.
const CLEAR: f64 = 0.5;

/// How a table's zero is tied to the frames of the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Zero {
    /// It is the zero that they were shot with.
    Good,
    /// It is not known.
    Lost,
    /// It is this many degrees off; waits for a person.
    Found(f64),
}

/// One look of every camera, small.
pub(super) type Look = Vec<(String, Signature)>;

impl Session {
    /// The table's zero is the one that the frames of this session were shot with, or it is found.
    pub(super) async fn tie_zero(&mut self, stage: &mut Stage<'_>) -> Result<(), Outcome> {
        // A table that is still being opened has not said yet whether it has a home switch.
        let mut motion = stage.mover.watch();
        let state = match motion.wait_for(|motion| motion.info.is_some() || motion.fault.is_some()).await {
            Ok(state) => state.clone(),
            Err(_) => stage.mover.state(),
        };
        let known = match state.position {
            Position::Known(angle, _) => Some(angle),
            Position::Estimated(angle) => state.reckoned_deg.map(|_| angle),
            Position::Unknown => None,
        };
        let home = state.info.is_none_or(|info| info.home);
        let confirmed = std::mem::take(&mut self.confirmed);
        let how = match (home, known, self.zero) {
            (true, Some(_), _) | (false, Some(_), Zero::Good) => return Ok(()),
            (true, None, _) => Reference::Home,
            (false, Some(at), Zero::Found(offset)) if confirmed => {
                Reference::At(Angle::new(at.deg() + offset))
            }
            // A table without a home switch has its zero where the first turn begins.
            (false, _, _) if self.takes.is_empty() => Reference::At(Angle::default()),
            (false, _, _) => return self.find_zero(stage).await,
        };
        stage.status.send_modify(|status| status.tell(Situation::Referencing));
        match stage.mover.go(Move::Reference(how)).await {
            MoveEnd::Arrived { .. } => {
                self.zero = Zero::Good;
                Ok(())
            }
            end => Err(interrupted_by(end)),
        }
    }

    /// Compares and tells what was found; always ends with a person.
    async fn find_zero(&mut self, stage: &mut Stage<'_>) -> Result<(), Outcome> {
        stage.status.send_modify(|status| status.tell(Situation::Comparing));
        self.zero = Zero::Lost;
        match stage.mover.go(Move::Reference(Reference::At(Angle::default()))).await {
            MoveEnd::Arrived { .. } => {}
            end => return Err(interrupted_by(end)),
        }
        let taken = self.taken_looks(stage.rig.input()).await;
        let here = self.look(stage, 0.0).await?;
        let nearest = taken.iter().min_by(|a, b| difference(&a.1, &here).total_cmp(&difference(&b.1, &here)));
        let Some((angle, wanted)) = nearest else { return Err(unknown()) };
        let width_deg = (SWEEP_SPACINGS * self.spacing_deg()).min(SWEEP_DEG_MAX);
        let mut sweep = Vec::new();
        for step in -STEPS..=STEPS {
            let at = width_deg * f64::from(step) / f64::from(STEPS);
            sweep.push((at, difference(wanted, &self.look(stage, at).await?)));
        }
        let Some(best) = vertex(&sweep) else { return Err(unknown()) };
        let offset = angle.deg() - best;
        self.zero = Zero::Found(offset);
        Err(Outcome::Fault(Fault::new(
            "position-match",
            format!("The frames taken fit if the platter was turned by {:.1}°", signed(offset)),
            "Frames shot with a wrong zero would not fit to those already taken.",
            "If the item was not moved on the platter, confirm and continue; else begin the turn anew.",
        )))
    }

    /// Small versions of the frames already taken, by angle.
    async fn taken_looks(&self, limits: InputLimits) -> Vec<(Angle, Look)> {
        let payloads = self.takes.iter().filter_map(|((shot, camera), take)| {
            // Brackets and focus steps differ in light and focus, not in where the platter stands.
            let angle = self.plan.places().iter().find(|place| place.shot == *shot && place.leads)?.angle?;
            Some((angle, camera.clone(), take.payload.clone()?))
        });
        let payloads: Vec<(Angle, String, Payload)> = payloads.collect();
        let small = tokio::task::spawn_blocking(move || {
            let small = |(angle, camera, payload)| Some((angle, camera, signature(&payload, limits)?));
            payloads.into_iter().filter_map(small).collect::<Vec<_>>()
        });
        let mut looks: Vec<(Angle, Look)> = Vec::new();
        for (angle, camera, signature) in small.await.unwrap_or_default() {
            match looks.last_mut().filter(|(last, _)| *last == angle) {
                Some((_, look)) => look.push((camera, signature)),
                None => looks.push((angle, vec![(camera, signature)])),
            }
        }
        looks
    }

    /// Looks at the platter at `deg` of its present, provisional zero; nothing is kept.
    pub(super) async fn look(&self, stage: &mut Stage<'_>, deg: f64) -> Result<Look, Outcome> {
        let place = Place::plain(0, Some(Angle::new(deg)));
        let passing = Passing::of(stage.rig);
        turn(stage.mover, place, self.doc.recipe.settle(), passing.as_ref()).await?;
        let shot = expose(stage.rig, place, None, &self.doc.cameras, 1).await;
        let mut look = Look::new();
        for (name, exposed) in shot.exposures {
            let Some(camera) = stage.rig.cameras.iter_mut().find(|camera| camera.name == name) else {
                continue;
            };
            let Some(Ok(exposed)) = exposed.into_iter().next() else { continue };
            let (class, limits) = (self.doc.recipe.capture_class, self.doc.limits(&name));
            if let Ok(judged) = fetch_and_judge(camera, exposed, class, &limits, None).await
                && let Some(picture) = judged.examined.picture
            {
                look.push((name, picture.signature));
            }
        }
        Ok(look)
    }

    fn spacing_deg(&self) -> f64 {
        let frames = self.doc.recipe.rows.iter().map(|row| row.frames).max().unwrap_or(1);
        360.0 / f64::from(frames.max(1))
    }
}

pub(super) fn signature(payload: &Payload, limits: InputLimits) -> Option<Signature> {
    let mut examiner = turnstage_pipeline::Examiner::new(limits).ok()?;
    let bytes = match payload {
        Payload::File(path) => bytes::Bytes::from(std::fs::read(path).ok()?),
        Payload::Ram(bytes) => bytes.clone(),
    };
    Some(examiner.examine(&bytes, &Default::default()).picture?.signature)
}

/// Mean difference over the cameras that both looks have; a look without any has nothing in common.
pub(super) fn difference(a: &Look, b: &Look) -> f64 {
    let each: Vec<f64> = a
        .iter()
        .filter_map(|(name, one)| Some(one.difference(&b.iter().find(|(other, _)| other == name)?.1)))
        .collect();
    if each.is_empty() { f64::INFINITY } else { each.iter().sum::<f64>() / each.len() as f64 }
}

/// Where a V-shaped curve of (degrees, difference) has its tip, if it clearly has one inside.
fn vertex(sweep: &[(f64, f64)]) -> Option<f64> {
    let lowest = (0..sweep.len()).min_by(|a, b| sweep[*a].1.total_cmp(&sweep[*b].1))?;
    let mut usual: Vec<f64> = sweep.iter().map(|point| point.1).collect();
    usual.sort_by(f64::total_cmp);
    let clear = sweep[lowest].1 < CLEAR * usual[usual.len() / 2];
    let (Some(before), Some(after)) =
        (lowest.checked_sub(1).and_then(|i| sweep.get(i)), sweep.get(lowest + 1))
    else {
        return None;
    };
    let steepest = before.1.max(after.1) - sweep[lowest].1;
    let step = after.0 - sweep[lowest].0;
    let shift = if steepest > 0.0 { 0.5 * step * (before.1 - after.1) / steepest } else { 0.0 };
    clear.then_some(sweep[lowest].0 + shift)
}

/// The same angle in (-180, 180].
fn signed(deg: f64) -> f64 {
    let wrapped = Angle::new(deg).deg();
    if wrapped > 180.0 { wrapped - 360.0 } else { wrapped }
}

fn unknown() -> Outcome {
    Outcome::Fault(Fault::new(
        "position-unknown",
        "The table does not know where it stands, and no frame taken fits to what the cameras see",
        "New frames would not fit to the angles of those already taken.",
        "Begin the turn anew; the frames taken so far stay as history.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tip_of_a_v_is_found_between_the_samples() {
        let v: Vec<(f64, f64)> = (-8..=8).map(|i| (f64::from(i), (f64::from(i) - 2.3).abs() + 0.1)).collect();
        assert!((vertex(&v).unwrap() - 2.3).abs() < 0.05);
    }

    #[test]
    fn a_flat_curve_or_one_that_falls_to_its_end_has_no_tip() {
        let flat: Vec<(f64, f64)> = (-8..=8).map(|i| (f64::from(i), 5.0 + 0.01 * f64::from(i % 3))).collect();
        assert_eq!(vertex(&flat), None);
        let falling: Vec<(f64, f64)> = (-8..=8).map(|i| (f64::from(i), 9.0 - f64::from(i))).collect();
        assert_eq!(vertex(&falling), None);
    }

    #[test]
    fn offsets_are_shown_the_short_way_round() {
        assert_eq!(signed(353.0), -7.0);
        assert_eq!(signed(7.0), 7.0);
    }
}
