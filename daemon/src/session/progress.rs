//! How far a session is, told to people while it runs.

use turnstage_pipeline::qc::Verdict;

use super::{Session, Stage};
use crate::recipe::Place;
use crate::status::{FlaggedFrame, SessionStatus, Situation};

/// Places that a run must have behind it before it can tell its pace.
const PACE_MIN: u32 = 2;

/// How far the present run is, for people.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Places begun in the first pass.
    pub begun: u32,
    /// Places begun of those that are taken again.
    pub again: u32,
    /// Seconds that the places begun so far took.
    pub spent_s: f64,
}

impl Session {
    /// For the status.
    pub fn status(&self) -> SessionStatus {
        SessionStatus {
            id: self.doc.id.clone(),
            item: self.doc.item.clone(),
            recipe: self.doc.recipe.name.clone(),
            state: self.doc.state,
            wanted: self.plan.places().len() * self.doc.cameras.len(),
            taken: self.takes.len(),
            missing: self.missing_frames(),
            flagged: self.flagged_frames(),
            retaken: self.retaken,
            frame: None,
            checking: None,
            left_s: self.left_s(),
        }
    }

    /// The first flagged frame, with its rule.
    pub fn first_flagged(&self) -> Option<FlaggedFrame> {
        let mut flagged = self.takes.iter().filter(|(_, take)| take.is_flagged());
        let (slot, take) = flagged.next()?;
        let block = take.findings.iter().find(|finding| finding.verdict == Verdict::Block)?;
        Some(FlaggedFrame { frame: slot.0 + 1, rule: block.rule.clone() })
    }

    /// Seconds that the rest of the first pass will take, by the pace of this run.
    fn left_s(&self) -> Option<f64> {
        let Progress { begun, spent_s, .. } = self.progress;
        let ended = begun.checked_sub(1).filter(|ended| *ended >= PACE_MIN)?;
        Some(spent_s / f64::from(ended) * f64::from(self.plan.first_left() + 1))
    }

    /// Tells what goes on from here to the end of the exposure at `place`.
    pub(super) fn say(&self, stage: &Stage<'_>, place: Place, under_way: bool, first: bool) {
        let frame = place.shot + 1;
        let situation = match (first, under_way, place.angle) {
            (true, false, Some(angle)) => Situation::Turning { deg: angle.deg() },
            (true, ..) => Situation::Shooting {
                frame,
                total: self.plan.places().len() as u32,
                left_s: self.left_s(),
                flagged: self.first_flagged(),
            },
            (false, ..) => {
                let nth = self.progress.again;
                Situation::Retaking { frame, nth, of: nth + self.plan.again_left() }
            }
        };
        stage.status.send_modify(|status| status.tell(situation));
    }

    pub(super) fn show(&self, stage: &Stage<'_>, shot: Option<u32>, checking: Option<u32>) {
        let mut session = self.status();
        session.frame = shot.map(|shot| shot + 1);
        session.checking = checking.map(|shot| shot + 1);
        stage.status.send_modify(|status| {
            status.cameras = stage.rig.status();
            status.session = Some(session);
        });
    }
}
