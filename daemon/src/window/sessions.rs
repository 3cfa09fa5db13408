//! Sessions as they are shown: built from the session's document and the records of its pictures.

use std::collections::BTreeMap;

use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::queue::State;
use turnstage_cloud_sync::spool::SpoolError;

use super::Window;
use super::views::{FrameState, FrameView, SessionDetail, SessionSummary, Try, Waiting};
use crate::access::Visitor;
use crate::command::Refusal;
use crate::session::{Session, SessionDoc, SessionState, Take};
use crate::status::SessionStatus;

/// Which sessions are asked for; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Part of the item, in any case.
    pub item: Option<String>,
    /// Older than this session.
    pub before: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Begun by this actor.
    pub actor: Option<String>,
}

impl Filter {
    /// Every session that a visitor may see.
    pub fn seen_by(visitor: &Visitor) -> Self {
        let actor = (!visitor.role.sees_all()).then(|| visitor.actor.0.clone());
        Self { actor, ..Self::default() }
    }
}

impl Window {
    /// Sessions of this organisation, newest first. Documents that cannot be read are left out; `queue check` tells.
    pub async fn sessions(&self, filter: &Filter) -> Result<Vec<SessionSummary>, SpoolError> {
        let documents = self.inner.spool.documents().await?;
        let wanted = filter.item.as_ref().map(|item| item.to_lowercase());
        let mut found = Vec::new();
        for document in documents.iter().rev() {
            if filter.before.as_ref().is_some_and(|before| document.id >= *before) {
                continue;
            }
            let Some(Ok(doc)) = self.mine(document) else { continue };
            if filter.actor.as_ref().is_some_and(|actor| doc.actor != *actor) {
                continue;
            }
            if wanted.as_ref().is_some_and(|wanted| !doc.item.to_lowercase().contains(wanted)) {
                continue;
            }
            found.push(self.listed(doc).await?);
            if filter.limit.is_some_and(|limit| found.len() == limit) {
                break;
            }
        }
        Ok(found)
    }

    /// A session as a list shows it.
    pub(super) async fn listed(&self, doc: SessionDoc) -> Result<SessionSummary, SpoolError> {
        let records = self.inner.spool.session_records(&doc.id).await?;
        let session = Session::new(doc, &records, &self.inner.spool);
        Ok(self.summary(&session, &records))
    }

    /// One session with its frames, for a visitor who may see it.
    pub async fn session(&self, visitor: &Visitor, id: &str) -> Result<SessionDetail, Refusal> {
        let doc = self.document(id).await?;
        self.may_see(visitor, id, &doc.actor)?;
        let records = self.inner.spool.session_records(id).await.map_err(unread)?;
        let now = self.inner.status.borrow().session.clone().filter(|session| session.id == id);
        let session = Session::new(doc, &records, &self.inner.spool);
        let doc = &session.doc;
        let mut places = Vec::new();
        for place in doc.recipe.plan() {
            for camera in &doc.cameras {
                let row = place.row + 1;
                let angle_deg = place.angle.map(|angle| angle.deg());
                places.push(view(
                    &session,
                    &records,
                    now.as_ref(),
                    Slot { shot: place.shot, camera, row, angle_deg },
                ));
            }
        }
        let present =
            |record: &&Record| session.takes().values().any(|take| take.sequence == record.key.sequence);
        let location = records
            .iter()
            .filter(present)
            .find_map(|record| record.receipt.as_ref().map(|r| r.location.clone()));
        Ok(SessionDetail {
            summary: self.summary(&session, &records),
            timing: doc.timing,
            accepted: doc.accepted.clone(),
            location,
            cameras: doc.cameras.clone(),
            rows: doc.recipe.rows.len() as u32,
            places,
        })
    }

    /// The records of one session as stored, for a visitor who may see it.
    pub async fn records(&self, visitor: &Visitor, id: &str) -> Result<Vec<Record>, Refusal> {
        let doc = self.document(id).await?;
        self.may_see(visitor, id, &doc.actor)?;
        self.inner.spool.session_records(id).await.map_err(unread)
    }

    async fn document(&self, id: &str) -> Result<SessionDoc, Refusal> {
        let document = self.inner.spool.document(id).await.map_err(unread)?;
        let unknown = || {
            Refusal::new(
                "session-unknown",
                format!("There is no session {id}. See: turnstage sessions list."),
            )
        };
        self.mine(&document.ok_or_else(unknown)?).ok_or_else(unknown)?
    }

    fn summary(&self, session: &Session, records: &[Record]) -> SessionSummary {
        let doc = &session.doc;
        let takes = session.takes();
        let current: Vec<&Record> = records
            .iter()
            .filter(|record| takes.values().any(|take| take.sequence == record.key.sequence))
            .collect();
        let mut delivery: BTreeMap<State, usize> = BTreeMap::new();
        let mut reasons: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut stuck = 0;
        for record in current.iter().filter(|record| record.state != State::Captured) {
            *delivery.entry(record.state).or_default() += 1;
            if record.state != State::Confirmed
                && let Some(why) = self.why_waiting(record)
            {
                *reasons.entry(why).or_default() += 1;
                stuck += usize::from(record.state == State::Queued);
            }
        }
        let waiting = reasons.into_iter();
        SessionSummary {
            session: doc.id.clone(),
            item: doc.item.clone(),
            recipe: doc.recipe.name.clone(),
            state: doc.state,
            reason: doc.reason.clone(),
            actor: doc.actor.clone(),
            started_wall_ms: doc.started_at.wall_ms,
            wanted: session.status().wanted,
            frames: takes.len(),
            flagged: takes.values().filter(|take| take.is_flagged()).count(),
            retaken: takes.values().map(|take| take.take.saturating_sub(1) as usize).sum(),
            bytes: bytes_once(&current),
            delivery,
            waiting: waiting.map(|((rule, reason), pictures)| Waiting { pictures, rule, reason }).collect(),
            stuck,
            cover: takes.values().next().map(|take| take.sequence),
        }
    }

    /// Why a picture that was let go is not being delivered now: rule and sentence.
    fn why_waiting(&self, record: &Record) -> Option<(String, String)> {
        let name = &record.key.destination;
        if !self.inner.config.destinations.contains_key(name) {
            let reason =
                format!("destination \"{name}\" is not configured any more: configure it again to send them");
            return Some(("destination-unknown".to_owned(), reason));
        }
        let status = self.inner.status.borrow();
        if let Some(fault) = status.faults.iter().find(|fault| fault.rule == "delivery-stopped") {
            return Some((fault.rule.clone(), fault.what.clone()));
        }
        if let Some(failure) = &record.failure {
            return Some((failure.rule.clone(), failure.reason.clone()));
        }
        let destinations = self.inner.destinations.borrow();
        let away = destinations.iter().find(|one| one.name == *name && !one.online)?;
        away.failure.as_ref().map(|failure| (failure.rule.clone(), failure.reason.clone()))
    }
}

/// Each stored file counts once, however many destinations it has.
fn bytes_once(records: &[&Record]) -> u64 {
    let by_sequence: BTreeMap<u64, u64> =
        records.iter().map(|record| (record.key.sequence, record.length)).collect();
    by_sequence.values().sum()
}

/// A place for one camera.
struct Slot<'a> {
    shot: u32,
    camera: &'a str,
    row: u32,
    angle_deg: Option<f64>,
}

fn view(session: &Session, records: &[Record], now: Option<&SessionStatus>, slot: Slot<'_>) -> FrameView {
    let doc = &session.doc;
    let key = (slot.shot, slot.camera.to_owned());
    let take = session.takes().get(&key);
    let here = |record: &&Record| record.facts.shot == slot.shot && record.facts.camera == slot.camera;
    let of_place: Vec<&Record> = records.iter().filter(here).collect();
    let in_use = |record: &&&Record| take.is_some_and(|take| record.key.sequence == take.sequence);
    let record = of_place.iter().find(in_use).copied();
    let current = of_place.iter().filter(in_use);
    let delivery = current.clone().map(|record| record.state).filter(|state| *state != State::Captured);
    let mut tries: Vec<Try> = of_place
        .iter()
        .filter(|record| record.key.sequence >= doc.since)
        .map(|record| Try { sequence: record.key.sequence, take: record.facts.take })
        .collect();
    tries.dedup_by_key(|one| one.sequence);
    let meta = record.map(|record| &record.meta);
    let number =
        |pointer: &str| meta.and_then(|meta| meta.pointer(pointer)).and_then(serde_json::Value::as_f64);
    let limits = doc.limits(slot.camera);
    FrameView {
        frame: slot.shot + 1,
        row: slot.row,
        angle_deg: slot.angle_deg,
        reached_deg: record.and_then(|record| record.facts.angle_reached),
        camera: slot.camera.to_owned(),
        state: state(session, take, now, slot.shot + 1),
        sequence: take.map(|take| take.sequence),
        sha256: take.map(|take| take.sha256.to_string()),
        take: take.map_or(0, |take| take.take),
        tries,
        findings: take.map(|take| take.findings.clone()).unwrap_or_default(),
        blur_px: number("/qc/sharpness/blur_px"),
        blur_px_max: limits.blur_px_max,
        clipped: number("/qc/exposure/clipped_high"),
        clipped_max: limits.clipped_high_max,
        width: number("/width").map(|px| px as u32),
        height: number("/height").map(|px| px as u32),
        bytes: record.map(|record| record.length),
        exposed_wall_ms: number("/time/exposed_at_ms").map(|ms| ms as i64),
        exposed_with: meta.map(|meta| meta["camera"]["exposed_with"].clone()).unwrap_or_default(),
        delivery: delivery.min(),
        proof: current.clone().find_map(|record| record.receipt.as_ref().map(|receipt| receipt.proof)),
    }
}

fn state(session: &Session, take: Option<&Take>, now: Option<&SessionStatus>, frame: u32) -> FrameState {
    let at_work = |number: Option<u32>| session.doc.state == SessionState::Shooting && number == Some(frame);
    if at_work(now.and_then(|now| now.frame)) {
        return FrameState::Now;
    }
    if at_work(now.and_then(|now| now.checking)) {
        return FrameState::Checking;
    }
    match take {
        Some(take) if take.is_flagged() && session.doc.accepted.is_some() => FrameState::Kept,
        Some(take) if take.is_flagged() => FrameState::Flagged,
        Some(take) if take.take > 1 => FrameState::Retaken,
        Some(_) => FrameState::Passed,
        None => match session.doc.state {
            SessionState::Review | SessionState::Released | SessionState::Aborted => FrameState::Missing,
            SessionState::Shooting | SessionState::Paused | SessionState::Interrupted => FrameState::Todo,
        },
    }
}

/// What could not be read, told for what the person does next.
pub(super) fn unread(error: SpoolError) -> Refusal {
    Refusal::new("storage-fault", format!("The disk cannot be read: {error}. Call your technician."))
}
