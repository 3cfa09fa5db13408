//! The wired emergency stop at the station: what it refuses without one that was tested today, and the test itself.

use serde_json::json;
use turnstage_cloud_sync::Stamp;
use turnstage_cloud_sync::spool::Commit;

use super::acts::Done;
use super::{Parts, Station, Then, stamp};
use crate::audit;
use crate::command::{Act, Actor, Refusal};
use crate::emergency::{DOCUMENT, Ended, Passed, Step};
use crate::io::Controls;
use crate::recipe::Recipe;
use crate::status::Fault;

/// Whether a recipe may turn at all on this rig, today.
pub(super) fn guarded(parts: &Parts, recipe: &Recipe) -> Result<(), Refusal> {
    match parts.emergency.needed_by(recipe) {
        Some(need) => parts.emergency.check(need, &stamp(&parts.clock)),
        None => Ok(()),
    }
}

impl Station {
    /// The last test that passed, as kept by an earlier run.
    pub(super) async fn take_up_emergency_stop(&mut self) {
        if self.parts.emergency.input().is_none() {
            return;
        }
        match self.parts.spool.document(DOCUMENT).await {
            Ok(kept) => self.parts.emergency.take_up(kept.as_ref().and_then(Passed::read)),
            Err(error) => {
                tracing::warn!(%error, "the last test of the emergency stop cannot be read: it counts as none");
            }
        }
    }

    /// A platform that needs an emergency stop is not armed without one.
    pub(super) fn may_arm(&self, act: &Act) -> Result<(), Refusal> {
        let emergency = &self.parts.emergency;
        match (act, emergency.need()) {
            (Act::Arm { .. }, Some(need)) => emergency.check(need, &stamp(&self.parts.clock)),
            _ => Ok(()),
        }
    }

    /// What guards forbid; that the emergency stop is pressed is no fault while its test asks for that.
    pub(super) fn of_guards(&self, controls: &Controls, now: &Stamp) -> Vec<Fault> {
        let asked = self.parts.emergency.step().is_under_way();
        let mut faults = controls.faults();
        faults.retain(|fault| !(asked && fault.rule == "emergency-stop-pressed"));
        faults.extend(self.parts.emergency.fault(now));
        faults
    }

    pub(super) async fn test_emergency_stop(&mut self, id: &str, actor: &Actor, act: &Act) -> Done {
        self.parts.emergency.may_begin(&stamp(&self.parts.clock))?;
        self.log(id, actor, act).await?;
        self.parts.emergency.begin(actor);
        Ok((self.accepted(0), Then::Nothing))
    }

    /// Puts a test that is over on record; it counts only once it is.
    pub(super) async fn record_emergency_test(&mut self) {
        let emergency = self.parts.emergency.clone();
        let Some(Ended { step, actor }) = emergency.ended() else { return };
        let now = stamp(&self.parts.clock);
        let passed = (step == Step::Idle).then(|| emergency.record(&actor, &now)).flatten();
        let data = json!({ "input": emergency.input(), "step": step, "table_fault": self.parts.mover.state().fault });
        let kind = if passed.is_some() { "emergency-stop.tested" } else { "emergency-stop.not-tested" };
        tracing::info!(actor = actor.0, ?step, "{kind}");
        let events = vec![audit::entry(kind, &actor, None, data)];
        let documents = passed.iter().map(Passed::document).collect();
        match self.parts.spool.commit(Commit { documents, events, ..Commit::default() }).await {
            Ok(_) if step != Step::Idle => {}
            Ok(_) if passed.is_some() => emergency.take_up(passed),
            Ok(_) => emergency.not_kept(),
            Err(error) => {
                tracing::error!(%error, "the test of the emergency stop is not kept: do it again");
                emergency.not_kept();
            }
        }
    }
}
