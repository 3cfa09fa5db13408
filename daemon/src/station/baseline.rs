//! The cameras' baselines on this station: read at its start, counted after each turn, begun anew by a technician.
//!
//! They are told of and never decide: what cannot be read or kept costs a line in the log, no session.

use serde_json::json;
use turnstage_cloud_sync::Spool;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::{Commit, SpoolError};
use turnstage_cloud_sync::store::Document;

use super::acts::{Done, not_kept};
use super::{Station, Then};
use crate::audit;
use crate::clock;
use crate::command::{Accepted, Act, Actor, Refusal};
use crate::constancy::{self, Constancy, Drift, Unread, document_of};

/// What is known of the cameras.
#[derive(Default)]
pub(super) struct Baseline {
    known: Constancy,
    /// Where it is kept; nowhere, if a newer version wrote what is there.
    document: Option<String>,
}

impl Baseline {
    /// As kept; a damaged document is set aside.
    pub async fn of(spool: &Spool, org: &str) -> Self {
        let id = document_of(org);
        let begin = |id: String| Self { known: Constancy::default(), document: Some(id) };
        let kept = match spool.document(&id).await {
            Ok(Some(kept)) => kept,
            Ok(None) => return begin(id),
            Err(error) => {
                tracing::warn!(%error, "the cameras' baselines cannot be read; nothing is compared until a restart");
                return Self::default();
            }
        };
        match Constancy::read(&kept) {
            Ok(known) => Self { known, document: Some(id) },
            Err(Unread::Newer) => {
                tracing::warn!("a newer version wrote the cameras' baselines; they are left alone");
                Self::default()
            }
            Err(Unread::Damaged(reason)) => {
                let aside = constancy::damaged_of(org);
                tracing::warn!(reason, aside, "the cameras' baselines are damaged: set aside and begun anew");
                let documents = vec![Document { id: aside, value: kept.value }];
                if let Err(error) = spool.commit(Commit { documents, ..Commit::default() }).await {
                    tracing::warn!(%error, "the damaged baselines are not kept");
                    return Self::default();
                }
                begin(id)
            }
        }
    }

    async fn keep(&self, spool: &Spool, events: Vec<NewEvent>) -> Result<(), SpoolError> {
        let documents = self.document.iter().map(|id| self.known.document(id)).collect();
        spool.commit(Commit { documents, events, ..Commit::default() }).await.map(drop)
    }
}

impl Station {
    /// Cameras whose pictures are not what they were.
    pub(super) fn drifts(&self) -> Vec<Drift> {
        self.baseline.known.drifts(clock::day(&self.parts.clock.now()))
    }

    /// Counts what the session at hand took since it was last counted.
    pub(super) async fn count_turn(&mut self) {
        let Some(session) = self.session.as_ref() else { return };
        let records = match self.parts.spool.session_records(&session.doc.id).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "this turn is not counted for the cameras' baselines");
                return;
            }
        };
        let before = self.baseline.known.clone();
        let new = self.baseline.known.count(
            clock::day(&self.parts.clock.now()),
            &records,
            &session.doc.recipe.name,
        );
        if self.baseline.known == before {
            return;
        }
        let station = Actor("station".to_owned());
        let told = new.iter().map(|drift| {
            let sentence = crate::words::Language::En.drift(drift).in_one();
            tracing::warn!(camera = drift.camera, "{sentence}");
            audit::entry("camera.drifted", &station, None, json!({ "drift": drift, "sentence": sentence }))
        });
        let told = told.collect();
        if let Err(error) = self.baseline.keep(&self.parts.spool, told).await {
            tracing::warn!(%error, "the cameras' baselines are not kept");
        }
    }

    /// A technician cleaned the lens or exchanged the camera.
    pub(super) async fn reset_camera(&mut self, id: &str, actor: &Actor, act: &Act, camera: &str) -> Done {
        if !self.parts.rig.cameras.iter().any(|one| one.name == camera) {
            let names: Vec<&str> = self.parts.rig.cameras.iter().map(|one| one.name.as_str()).collect();
            let reason = format!("This rig has no camera \"{camera}\"; it has {}.", names.join(", "));
            return Err(Refusal::new("camera-unknown", reason));
        }
        let before = self.baseline.known.clone();
        let count = usize::from(self.baseline.known.reset(camera));
        let entry = audit::accepted(id, actor, act, None);
        if let Err(error) = self.baseline.keep(&self.parts.spool, vec![entry]).await {
            self.baseline.known = before;
            return Err(not_kept(error));
        }
        Ok((Accepted { session: None, count }, Then::Nothing))
    }
}
