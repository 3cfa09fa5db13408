//! What is kept of a session: a versioned document in the spool, and the states it goes through.
//!
//! ```text
//!             begin            all taken                 release
//!  (start) ──────────► shooting ─────────► review ───────────────────► released
//!                      │  ▲   ▲              │ │
//!        pause, stop,  ▼  │   └── retake ────┘ │ abort
//!        fault       paused ── resume           ▼
//!                      │  └──── abort ──────► aborted
//!      process died in ▼ shooting
//!                 interrupted ── resume (referenced again) ──► shooting
//! ```
//! Frames are not in the document: they are the spool's records of this session from `since` on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Stamp;
use turnstage_cloud_sync::store::Document;
use turnstage_pipeline::qc::Limits;

use crate::calibration::InForce;
use crate::command::{Override, Refusal};
use crate::recipe::Recipe;

/// Version of [`SessionDoc`] as stored.
pub const SESSION_SCHEMA: u32 = 1;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Frames are being taken.
    Shooting,
    /// Waits for a person: asked to, stopped, or a fault.
    Paused,
    /// The process ended in the middle; goes on when a person says so.
    Interrupted,
    /// All places are taken; flagged frames may remain.
    Review,
    /// Its pictures are on their way.
    Released,
    /// Given up; its pictures stay on the station.
    Aborted,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Frames are taken (again).
    Shoot,
    /// It waits for a person.
    Pause,
    /// A process found it unfinished.
    Interrupt,
    /// Nothing is left to take.
    Complete,
    /// Its pictures may go.
    Release,
    /// Given up.
    Abort,
}

impl SessionState {
    /// The one transition function.
    pub fn after(self, step: Step) -> Result<Self, Refusal> {
        use SessionState::{Aborted, Interrupted, Paused, Released, Review, Shooting};
        match (self, step) {
            (Shooting | Paused | Interrupted | Review, Step::Shoot) => Ok(Shooting),
            (Shooting | Paused, Step::Pause) => Ok(Paused),
            (Shooting | Paused | Interrupted, Step::Interrupt) => Ok(Interrupted),
            (Shooting | Paused | Interrupted | Review, Step::Complete) => Ok(Review),
            (Paused | Interrupted | Review, Step::Release) => Ok(Released),
            (Paused | Interrupted | Review, Step::Abort) => Ok(Aborted),
            (state, _) => Err(Refusal::new(
                "session-state",
                format!("The session is {}: {}.", format!("{state:?}").to_lowercase(), state.todo()),
            )),
        }
    }

    /// What to do where a step cannot be taken.
    fn todo(self) -> &'static str {
        match self {
            Self::Released | Self::Aborted => "that is final; begin a new one",
            Self::Shooting => "pause or stop it first",
            _ => "finish or end it first",
        }
    }

    /// It holds the station until it is released or aborted.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Released | Self::Aborted)
    }
}

/// A correction of the item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemChange {
    /// Was.
    pub from: String,
    /// Is.
    pub to: String,
    /// When.
    pub at: Stamp,
    /// Who.
    pub actor: String,
}

/// What a turn took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// From the first command to the table to the end of the last exposure.
    pub spin_s: f64,
    /// Of that, the table moved.
    pub motion_s: f64,
    /// Of that, the table settled.
    pub settle_s: f64,
    /// Of that, the shutter was open (latency included).
    pub exposure_s: f64,
}

impl Timing {
    /// Time that physics asks for.
    pub fn floor_s(&self) -> f64 {
        self.motion_s + self.settle_s + self.exposure_s
    }
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionDoc {
    /// [`SESSION_SCHEMA`] of the writer.
    pub schema: u32,
    /// Id: time-ordered UUID.
    pub id: String,
    /// Owner.
    pub org: String,
    /// Owner's site.
    pub site: String,
    /// VIN, barcode or number.
    pub item: String,
    /// Former items, oldest first.
    #[serde(default)]
    pub item_history: Vec<ItemChange>,
    /// The recipe as it was at the start.
    pub recipe: Recipe,
    /// Cameras that take part.
    pub cameras: Vec<String>,
    /// Of these, the ones whose failure only warns.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Limits of cameras that were calibrated when it began, over the recipe's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calibrated: BTreeMap<String, InForce>,
    /// Where it stands.
    pub state: SessionState,
    /// Why it waits, in words, while paused or interrupted.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who started it.
    pub actor: String,
    /// Correlates everything that it caused.
    pub trace_id: String,
    /// When it began.
    pub started_at: Stamp,
    /// Records before this sequence are history: the turn was begun anew.
    #[serde(default)]
    pub since: u64,
    /// What the turn took so far.
    #[serde(default)]
    pub timing: Timing,
    /// Sequences that were let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Vec<u64>>,
    /// Who accepted what the rules did not, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Override>,
}

impl SessionDoc {
    /// What frames of a camera are held to.
    pub fn limits(&self, camera: &str) -> Limits {
        match self.calibrated.get(camera) {
            Some(calibrated) => calibrated.limits.over(&self.recipe.qc),
            None => self.recipe.qc.clone(),
        }
    }

    /// For the spool.
    pub fn document(&self) -> Document {
        let value = serde_json::to_value(self).unwrap_or_else(|e| {
            // Every field is plain data; serde_json fails only on maps with keys that are not text.
            serde_json::json!({ "schema": SESSION_SCHEMA, "id": self.id, "unwritable": e.to_string() })
        });
        Document { id: self.id.clone(), value }
    }

    /// From the spool; newer schemas are refused in words.
    pub fn read(document: &Document) -> Result<Self, Refusal> {
        let schema = document.value.get("schema").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if schema > u64::from(SESSION_SCHEMA) {
            return Err(Refusal::new(
                "session-too-new",
                format!(
                    "Session {} was written by a newer version. Install that one to open it.",
                    document.id
                ),
            ));
        }
        serde_json::from_value(document.value.clone()).map_err(|e| {
            Refusal::new(
                "session-unreadable",
                format!(
                    "Session {} cannot be read: {e}. Its pictures are safe; see queue check.",
                    document.id
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::CameraLimits;

    #[test]
    fn a_released_or_aborted_session_never_changes_again() {
        for state in [SessionState::Released, SessionState::Aborted] {
            for step in
                [Step::Shoot, Step::Pause, Step::Interrupt, Step::Complete, Step::Release, Step::Abort]
            {
                assert!(state.after(step).is_err(), "{state:?} {step:?}");
            }
        }
    }

    #[test]
    fn nothing_is_released_or_aborted_while_it_is_shot() {
        assert!(SessionState::Shooting.after(Step::Release).is_err());
        assert!(SessionState::Shooting.after(Step::Abort).is_err());
    }

    #[test]
    fn a_document_of_a_newer_writer_is_refused_and_one_with_more_fields_is_read() {
        let mut doc = example();
        let mut document = doc.document();
        document.value["a_field_of_the_future"] = serde_json::json!(1);
        assert_eq!(SessionDoc::read(&document).unwrap(), doc);
        doc.schema = SESSION_SCHEMA + 1;
        assert_eq!(SessionDoc::read(&doc.document()).unwrap_err().rule, "session-too-new");
    }

    #[test]
    fn a_session_from_before_calibrations_is_held_to_its_recipe() {
        let document = example().document();
        assert!(document.value.get("calibrated").is_none());
        let doc = SessionDoc::read(&document).unwrap();
        assert_eq!(doc.limits("main"), doc.recipe.qc);
    }

    #[test]
    fn calibrated_limits_hold_for_their_camera_and_are_stored() {
        let mut doc = example();
        let limits = CameraLimits { blur_px_max: Some(0.6), ..CameraLimits::default() };
        let in_force = InForce { at: doc.started_at.clone(), session: "good".to_owned(), limits };
        doc.calibrated.insert("main".to_owned(), in_force);
        let read = SessionDoc::read(&doc.document()).unwrap();
        assert_eq!(read, doc);
        assert_eq!((read.limits("main").blur_px_max, read.limits("top").blur_px_max), (0.6, 0.8));
    }

    fn example() -> SessionDoc {
        SessionDoc {
            schema: SESSION_SCHEMA,
            id: "s".to_owned(),
            org: "o".to_owned(),
            site: "s".to_owned(),
            item: "i".to_owned(),
            item_history: Vec::new(),
            recipe: crate::recipe::Recipes::default().get("spin36").unwrap(),
            cameras: vec!["main".to_owned()],
            optional: Vec::new(),
            calibrated: BTreeMap::new(),
            state: SessionState::Shooting,
            reason: None,
            actor: "cli:me".to_owned(),
            trace_id: "t".to_owned(),
            started_at: turnstage_cloud_sync::Clock::now(&crate::clock::SystemClock::new()),
            since: 0,
            timing: Timing::default(),
            released: None,
            accepted: None,
        }
    }
}
