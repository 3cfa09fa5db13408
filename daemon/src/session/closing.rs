//! The closing frame: after a whole turn every camera looks once more at the first angle.
//!
//! The frames are compared with the first ones and thrown away: they are neither kept nor delivered. A turn that does
//! not close has lost steps somewhere, so some of its frames show the object from a wrong angle, which no single frame
//! can tell. A person decides then: the turn anew, or the frames as they are.

use serde_json::json;
use turnstage_cloud_sync::Spool;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::Commit;
use turnstage_pipeline::qc::{Finding, Verdict};

use super::finish::fetch_and_judge;
use super::passing::Passing;
use super::{Outcome, Session, Stage, expose, turn};
use crate::status::Fault;

impl Session {
    /// Whether a closing frame is still to be taken: once, after a turn whose first frames are known.
    pub(super) fn wants_closing(&self) -> bool {
        let turns = self.plan.places().first().is_some_and(|place| place.angle.is_some());
        self.doc.recipe.closing && turns && !self.is_closed && self.seen.steps() > 0
    }

    /// Takes and judges the closing frame of every camera.
    pub(super) async fn close_turn(&mut self, stage: &mut Stage<'_>) -> Result<(), Outcome> {
        let Some(first) = self.plan.places().first().copied() else { return Ok(()) };
        self.show(stage, Some(first.shot), None);
        let (settle, passing) = (self.doc.recipe.settle(), Passing::of(stage.rig));
        let turned = turn(&stage.mover.clone(), first, settle, passing.as_ref()).await?;
        self.allow_passing(stage.rig, &self.doc.cameras)?;
        let shot = expose(stage.rig, first, turned.reached, &self.doc.cameras, 1).await;
        // A stop on the way here leaves it to be taken when the session goes on.
        self.is_closed = true;
        let mut findings: Vec<(String, Finding)> = Vec::new();
        let mut compared = 0;
        for (name, exposed) in shot.exposures {
            let camera = stage.rig.cameras.iter_mut().find(|camera| camera.name == name);
            let (Some(camera), Some(Ok(exposed))) = (camera, exposed.into_iter().next()) else { continue };
            let (class, limits) = (self.doc.recipe.capture_class, self.doc.limits(&name));
            let judged = fetch_and_judge(camera, exposed, class, &limits, None).await;
            // A frame that is missing or spoilt by itself says nothing about the turn.
            let Ok(judged) = judged else { continue };
            if judged.examined.findings.iter().any(|finding| finding.verdict == Verdict::Block) {
                continue;
            }
            let Some(said) = self.seen.judge_closing(&name, &judged.examined, &limits) else { continue };
            compared += 1;
            findings.extend(said.into_iter().map(|finding| (name.clone(), finding)));
        }
        self.tell_closing(stage.spool, &findings, compared).await;
        let block = findings.into_iter().find(|(_, finding)| finding.verdict == Verdict::Block);
        block.map_or(Ok(()), |(camera, finding)| {
            Err(Outcome::Fault(Fault::new(
                &finding.rule,
                format!("Camera {camera}: {}", finding.message),
                "Some frames may show the object from a wrong angle.",
                "Begin the turn anew, or continue to keep the frames as they are.",
            )))
        })
    }

    /// Puts the result on record; the session's frames do not depend on it.
    async fn tell_closing(&self, spool: &Spool, findings: &[(String, Finding)], compared: u32) {
        let each: Vec<_> = findings
            .iter()
            .map(|(camera, finding)| json!({ "camera": camera, "finding": finding }))
            .collect();
        let event = NewEvent {
            kind: "session.closing".to_owned(),
            actor: "station".to_owned(),
            session: Some(self.doc.id.clone()),
            data: json!({ "closed": compared > 0 && findings.is_empty(), "compared": compared, "findings": each }),
        };
        if let Err(error) = spool.commit(Commit { events: vec![event], ..Commit::default() }).await {
            tracing::warn!(%error, "the closing frame is not on record");
        }
    }
}
