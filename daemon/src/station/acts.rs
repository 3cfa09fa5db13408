//! What each command does, or the rule that refuses it. Every accepted command is in the audit log first.

use std::collections::BTreeMap;

use serde_json::json;
use turnstage_cloud_sync::queue::{Change, State};
use turnstage_cloud_sync::spool::{Commit, SpoolError};
use turnstage_cloud_sync::{Record, Spool};
use turnstage_drivers::board::Board;
use turnstage_drivers::camera::CameraInfo;
use turnstage_pipeline::privacy;

use super::emergency::guarded;
use super::fits::fits;
use super::presence::{self, armed, armed_from};
use super::{Station, Then, stamp, write};
use crate::audit;
use crate::calibration::{ITEM, measuring, with_board};
use crate::command::{Accepted, Act, Actor, Override, Place, Refusal, Which};
use crate::recipe::{Motion, Recipe, Subject};
use crate::restart;
use crate::session::{ItemChange, SESSION_SCHEMA, Session, SessionDoc, SessionState, Step, Timing, keep};

pub(super) type Done = Result<(Accepted, Then), Refusal>;

/// How a session goes on.
struct Going<'a> {
    session: Option<&'a str>,
    anew: bool,
    confirm: bool,
    place: &'a Place,
}

impl Station {
    pub(super) async fn obey(&mut self, id: &str, actor: &Actor, place: &Place, act: &Act) -> Done {
        match act {
            Act::Start { item, recipe } => self.start(id, actor, act, item, recipe.as_deref()).await,
            Act::Stop => {
                self.parts.mover.stop();
                if let Err(refusal) = self.log(id, actor, act).await {
                    // The table is halted all the same; that is what was asked.
                    tracing::error!(%refusal, "a stop is not in the audit log");
                }
                Ok((self.accepted(0), Then::Nothing))
            }
            Act::Pause => Err(Refusal::new("nothing-running", "Nothing is being shot.")),
            Act::Resume { session, anew, confirm } => {
                let session = session.as_deref();
                self.resume(id, actor, act, Going { session, anew: *anew, confirm: *confirm, place }).await
            }
            Act::Abort => self.abort(id, actor, act).await,
            Act::Retake { which } => self.retake(id, actor, act, (which, place)).await,
            Act::Release { accept } => self.release(id, actor, act, accept.as_ref()).await,
            Act::MoveItem { item } => self.move_item(id, actor, act, item).await,
            Act::Open { session } => {
                self.open(session).await?;
                self.log(id, actor, act).await?;
                Ok((self.accepted(0), Then::Nothing))
            }
            Act::Requeue { session } => self.requeue(id, actor, act, session.as_deref()).await,
            Act::Measure { recipe } => self.start(id, actor, act, ITEM, recipe.as_deref()).await,
            Act::Calibrate { session } => self.calibrate(id, actor, act, session).await,
            Act::Plate { recipe } => self.plate(id, actor, act, recipe.as_deref()).await,
            Act::MeasureAxis { recipe } => self.start(id, actor, act, ITEM, recipe.as_deref()).await,
            Act::CalibrateAxis { session, board_mm, thickness_mm } => {
                self.calibrate_axis(id, actor, act, session, Board::new(*board_mm, *thickness_mm)).await
            }
            Act::ForgetCalibration { recipe, camera, keep_axis } => {
                self.forget_calibration(id, actor, act, (recipe, camera), *keep_axis).await
            }
            Act::ResetCamera { camera } => self.reset_camera(id, actor, act, camera).await,
            Act::TestEmergencyStop => self.test_emergency_stop(id, actor, act).await,
            Act::Arm { .. } | Act::Disarm | Act::Answer { .. } => {
                self.may_arm(act)?;
                presence::obey(&self.parts.mover, self.parts.rig.hand(), place, act)?;
                self.log(id, actor, act).await?;
                Ok((self.accepted(0), Then::Nothing))
            }
        }
    }

    async fn start(&mut self, id: &str, actor: &Actor, act: &Act, item: &str, recipe: Option<&str>) -> Done {
        self.not_locked()?;
        self.parts.care.flags.in_service()?;
        self.not_held()?;
        self.not_updating()?;
        self.none_open().await?;
        if item.trim().is_empty() {
            return Err(Refusal::new("item-missing", "Scan or name the item first."));
        }
        let name = recipe.unwrap_or(&self.parts.config.recipes.default);
        let recipe =
            self.parts.recipes.get(name).map_err(|e| Refusal::new("recipe-invalid", e.to_string()))?;
        // Told before what the rig lacks otherwise.
        guarded(&self.parts, &recipe)?;
        self.parts.rig.open().await;
        let recipe = match act {
            Act::MeasureAxis { .. } => {
                let info = self.parts.mover.state().info;
                with_board(recipe, info.is_some_and(|info| info.is_turned_elsewhere()))
            }
            _ => recipe,
        };
        let recipe = self.fitted(recipe)?;
        armed(&self.parts, &recipe)?;
        let recipe = match act {
            Act::Measure { .. } => measuring(recipe),
            _ => recipe,
        };
        let cameras = self.usable(&recipe)?;
        self.room_for(recipe.plan().len() * cameras.len()).await?;
        let optional = self.parts.rig.cameras.iter().filter(|c| !c.required && cameras.contains(&c.name));
        let optional = optional.map(|camera| camera.name.clone()).collect();
        let session = uuid::Uuid::now_v7().to_string();
        let doc = SessionDoc {
            schema: SESSION_SCHEMA,
            id: session,
            org: self.parts.config.station.org.clone(),
            site: self.parts.config.station.site.clone(),
            item: item.trim().to_owned(),
            item_history: Vec::new(),
            recipe,
            cameras,
            optional,
            calibrated: BTreeMap::new(),
            state: SessionState::Shooting,
            reason: None,
            actor: actor.0.clone(),
            trace_id: id.to_owned(),
            started_at: stamp(&self.parts.clock),
            since: 0,
            timing: Timing::default(),
            released: None,
            accepted: None,
        };
        let entry = audit::accepted(id, actor, act, Some(&doc.id));
        keep(&self.parts.spool, &doc, vec![entry]).await.map_err(not_kept)?;
        self.parts.mover.release();
        self.faults.clear();
        self.session = Some(Session::new(doc, &[], &self.parts.spool));
        Ok((self.accepted(0), Then::Run))
    }

    /// A camera that runs out (a folder) says how many exposures there are.
    fn fitted(&self, mut recipe: Recipe) -> Result<Recipe, Refusal> {
        if let Err(refusal) = privacy::admit(recipe.capture_class) {
            return Err(Refusal::new(refusal.rule, refusal.reason));
        }
        if recipe.subject == Subject::Person {
            return Err(Refusal::new(
                "subject-not-available",
                "Persons are not photographed before a capture class for them exists.",
            ));
        }
        if recipe.destinations.is_empty() {
            recipe.destinations = self.destinations.iter().cloned().collect();
        }
        if recipe.destinations.is_empty() {
            return Err(Refusal::new(
                "destination-none",
                "Nothing says where pictures go. Configure one under [destinations].",
            ));
        }
        if let Some(unknown) = recipe.destinations.iter().find(|name| !self.destinations.contains(*name)) {
            return Err(Refusal::new(
                "destination-unknown",
                format!("Recipe {} delivers to \"{unknown}\", which is not configured.", recipe.name),
            ));
        }
        let motion = self.parts.mover.state();
        if recipe.motion != Motion::None {
            if !motion.present {
                let reason = "This rig has no turntable. Choose a recipe without motion.";
                return Err(Refusal::new("motion-none", reason));
            }
            if let (None, Some(fault)) = (&motion.info, &motion.fault) {
                let reason = format!("The table is not there: {fault}. Check its cable and power.");
                return Err(Refusal::new("motion-missing", reason));
            }
            if let Some(info) = &motion.info {
                fits(&recipe, info)?;
            }
        }
        let infos = self.parts.rig.cameras.iter().filter_map(|c| c.camera.as_ref().map(|open| open.info()));
        let remaining = infos.filter_map(|info: CameraInfo| info.remaining).min();
        if let (Motion::None, Some(remaining), [row]) = (recipe.motion, remaining, recipe.rows.as_mut_slice())
        {
            row.frames = u32::try_from(remaining).unwrap_or(u32::MAX).clamp(1, crate::recipe::FRAMES_MAX);
        }
        Ok(recipe)
    }

    pub(super) fn usable(&self, recipe: &Recipe) -> Result<Vec<String>, Refusal> {
        let names = self.parts.rig.names(&recipe.cameras).map_err(|missing| {
            Refusal::new(
                "camera-unknown",
                format!("Recipe {} uses camera \"{missing}\", which the rig lacks.", recipe.name),
            )
        })?;
        if names.is_empty() {
            return Err(Refusal::new(
                "camera-none",
                "This rig has no camera. Configure one under [rig.cameras].",
            ));
        }
        let missing = self
            .parts
            .rig
            .cameras
            .iter()
            .find(|c| names.contains(&c.name) && c.required && c.camera.is_none());
        match missing {
            Some(camera) => {
                let why = camera.fault.clone().unwrap_or_default();
                Err(Refusal::new("camera-missing", format!("Camera {} is not there: {why}", camera.name)))
            }
            None => Ok(names),
        }
    }

    /// One session at a time holds the station, in this process or an earlier one.
    pub(super) async fn none_open(&mut self) -> Result<(), Refusal> {
        let documents = self.parts.spool.documents().await.map_err(not_kept)?;
        let mut docs = documents.iter().filter_map(|document| SessionDoc::read(document).ok());
        let org = &self.parts.config.station.org;
        match docs.find(|doc| doc.state.is_open() && doc.org == *org) {
            None => Ok(()),
            Some(doc) => Err(not_finished(&doc)),
        }
    }

    /// Room is reserved before the first frame, so that no session ends for lack of it.
    async fn room_for(&mut self, pictures: usize) -> Result<(), Refusal> {
        let needed = self.parts.config.storage.frame_bytes.saturating_mul(pictures as u64);
        let room = self.parts.spool.room().map_err(not_kept)?;
        let sessions = room.sessions_left(needed);
        if sessions > 0 {
            return Ok(());
        }
        let org = &self.parts.config.station.org;
        let counts = self.parts.spool.counts_of(org).await.map_err(not_kept)?;
        Err(Refusal::new(
            "disk-room",
            format!(
                "Room for 0 sessions: this one may need {needed} bytes above the reserve, {} are free; {} pictures \
                 wait to be delivered. Nothing undelivered is deleted. Connect the network, or make room on the disk.",
                room.free_bytes,
                counts.captured + counts.queued + counts.uploading + counts.failed
            ),
        ))
    }

    async fn resume(&mut self, id: &str, actor: &Actor, act: &Act, going: Going<'_>) -> Done {
        self.not_locked()?;
        self.not_held()?;
        self.not_updating()?;
        if let Some(session) = going.session {
            self.open(session).await?;
        }
        let Some(session) = self.session.as_mut() else { return Err(no_session()) };
        armed_from(&self.parts, &session.doc.recipe, going.place)?;
        let taken = records(&self.parts.spool, &session.doc.id).await?;
        let since = taken.iter().map(|record| record.key.sequence + 1).max().unwrap_or_default();
        let mut doc = session.doc.clone();
        doc.state = doc.state.after(Step::Shoot)?;
        doc.reason = None;
        if going.anew {
            doc.since = since;
        }
        let entry = audit::accepted(id, actor, act, Some(&doc.id));
        keep(&self.parts.spool, &doc, vec![entry]).await.map_err(not_kept)?;
        session.doc = doc;
        if going.confirm {
            session.confirm();
        }
        if going.anew {
            session.begin_anew();
        }
        self.parts.mover.release();
        self.faults.clear();
        Ok((self.accepted(0), Then::Run))
    }

    async fn retake(&mut self, id: &str, actor: &Actor, act: &Act, (which, place): (&Which, &Place)) -> Done {
        self.not_locked()?;
        self.not_held()?;
        self.not_updating()?;
        let Some(session) = self.session.as_mut() else { return Err(no_session()) };
        match session.doc.state {
            SessionState::Review => armed(&self.parts, &session.doc.recipe)?,
            // To retake what a halt left is to go on.
            _ => armed_from(&self.parts, &session.doc.recipe, place)?,
        }
        let mut doc = session.doc.clone();
        doc.state = doc.state.after(Step::Shoot)?;
        doc.reason = None;
        let count = session.retake(which)?;
        let entry = audit::accepted(id, actor, act, Some(&doc.id));
        keep(&self.parts.spool, &doc, vec![entry]).await.map_err(not_kept)?;
        session.doc = doc;
        self.parts.mover.release();
        self.faults.clear();
        Ok((self.accepted(count), Then::Run))
    }

    async fn release(&mut self, id: &str, actor: &Actor, act: &Act, accept: Option<&Override>) -> Done {
        let Some(session) = self.session.as_mut() else { return Err(no_session()) };
        let state = session.doc.state.after(Step::Release)?;
        let (sequences, against) = session.release();
        match (against, accept) {
            (Some(refusal), None) => return Err(refusal),
            (Some(_), Some(accept)) if accept.name.trim().is_empty() || accept.reason.trim().is_empty() => {
                return Err(Refusal::new(
                    "override-unnamed",
                    "Accepting flagged frames needs a name and a reason.",
                ));
            }
            _ => {}
        }
        if sequences.is_empty() {
            return Err(Refusal::new(
                "release-empty",
                "There is no picture to release. End the session instead.",
            ));
        }
        let mut doc = session.doc.clone();
        doc.state = state;
        doc.reason = None;
        doc.released = Some(sequences.clone());
        doc.accepted = accept.cloned();
        let keys = records(&self.parts.spool, &doc.id).await?.into_iter().map(|record| record.key);
        // What no destination wants is kept here, and goes nowhere.
        let chosen = keys.filter(|key| sequences.contains(&key.sequence) && !key.destination.is_empty());
        let changes = chosen.map(|key| (key, Change::Release)).collect();
        let released =
            audit::entry("session.released", actor, Some(&doc.id), json!({ "sequences": sequences }));
        let events = vec![audit::accepted(id, actor, act, Some(&doc.id)), released];
        let commit = Commit { documents: vec![doc.document()], changes, events };
        self.parts.spool.commit(commit).await.map_err(not_kept)?;
        let accepted = Accepted { session: Some(doc.id), count: sequences.len() };
        self.parts.mover.arming().disarm();
        self.session = None;
        self.faults.clear();
        Ok((accepted, Then::Nothing))
    }

    async fn abort(&mut self, id: &str, actor: &Actor, act: &Act) -> Done {
        let Some(session) = self.session.as_mut() else { return Err(no_session()) };
        let mut doc = session.doc.clone();
        doc.state = doc.state.after(Step::Abort)?;
        let count = session.takes().len();
        let entry = audit::accepted(id, actor, act, Some(&doc.id));
        keep(&self.parts.spool, &doc, vec![entry]).await.map_err(not_kept)?;
        let accepted = self.accepted(count);
        self.parts.mover.arming().disarm();
        self.session = None;
        self.faults.clear();
        Ok((accepted, Then::Nothing))
    }

    async fn move_item(&mut self, id: &str, actor: &Actor, act: &Act, item: &str) -> Done {
        let Some(session) = self.session.as_ref() else { return Err(no_session()) };
        if item.trim().is_empty() {
            return Err(Refusal::new("item-missing", "Name the item that the pictures belong to."));
        }
        let mut doc = session.doc.clone();
        let records = records(&self.parts.spool, &doc.id).await?;
        let gone = records.iter().filter(|r| matches!(r.state, State::Uploading | State::Confirmed)).count();
        if gone > 0 {
            return Err(Refusal::new(
                "item-delivered",
                format!(
                    "{gone} pictures were already delivered as {}. Correct it at the destination.",
                    doc.item
                ),
            ));
        }
        doc.item_history.push(ItemChange {
            from: std::mem::replace(&mut doc.item, item.trim().to_owned()),
            to: item.trim().to_owned(),
            at: stamp(&self.parts.clock),
            actor: actor.0.clone(),
        });
        let moved = |record: &Record| (record.key.clone(), Change::MoveItem { item: doc.item.clone() });
        let changes: Vec<_> = records.iter().map(moved).collect();
        let count = changes.len();
        let events = vec![audit::accepted(id, actor, act, Some(&doc.id))];
        let commit = Commit { documents: vec![doc.document()], changes, events };
        self.parts.spool.commit(commit).await.map_err(not_kept)?;
        if let Some(session) = self.session.as_mut() {
            session.doc = doc;
        }
        Ok((self.accepted(count), Then::Nothing))
    }

    async fn requeue(&mut self, id: &str, actor: &Actor, act: &Act, session: Option<&str>) -> Done {
        if let Some(session) = session {
            self.own(session).await?;
        }
        let mut changes = Vec::new();
        let documents = self.parts.spool.documents().await.map_err(not_kept)?;
        for document in documents.iter().filter(|document| session.is_none_or(|wanted| wanted == document.id))
        {
            let parked = records(&self.parts.spool, &document.id)
                .await?
                .into_iter()
                .filter(|r| r.state == State::Failed && r.facts.org == self.parts.config.station.org);
            changes.extend(parked.map(|record| (record.key, Change::Requeue)));
        }
        let count = changes.len();
        let events = vec![audit::accepted(id, actor, act, session)];
        let commit = Commit { changes, events, ..Commit::default() };
        self.parts.spool.commit(commit).await.map_err(not_kept)?;
        Ok((Accepted { session: session.map(str::to_owned), count }, Then::Nothing))
    }

    /// Makes a session of the past the current one.
    async fn open(&mut self, session: &str) -> Result<(), Refusal> {
        if self.session.as_ref().is_some_and(|current| current.doc.id == session) {
            return Ok(());
        }
        if let Some(current) = self.session.as_ref().filter(|current| current.doc.state.is_open()) {
            return Err(not_finished(&current.doc));
        }
        let doc = self.own(session).await?;
        let records = records(&self.parts.spool, session).await?;
        self.session = Some(Session::new(doc, &records, &self.parts.spool));
        Ok(())
    }

    /// A session of this organisation; another one's is unknown here.
    pub(super) async fn own(&mut self, session: &str) -> Result<SessionDoc, Refusal> {
        let unknown = || {
            let reason = format!("There is no session {session}. See: turnstage sessions list.");
            Refusal::new("session-unknown", reason)
        };
        let document = self.parts.spool.document(session).await.map_err(not_kept)?;
        let doc = SessionDoc::read(&document.ok_or_else(unknown)?)?;
        if doc.org == self.parts.config.station.org { Ok(doc) } else { Err(unknown()) }
    }

    pub(super) async fn log(&mut self, id: &str, actor: &Actor, act: &Act) -> Result<(), Refusal> {
        let session = self.session.as_ref().map(|session| session.doc.id.as_str());
        write(&self.parts.spool, vec![audit::accepted(id, actor, act, session)]).await.map_err(not_kept)
    }

    /// A stop button, or an open door, forbids what moves the table.
    fn not_held(&self) -> Result<(), Refusal> {
        self.parts.controls.borrow().refusal().map_or(Ok(()), Err)
    }

    pub(super) fn not_locked(&self) -> Result<(), Refusal> {
        if matches!(self.parts.restart.step(), restart::Step::Granted | restart::Step::Due) {
            let reason = "The station restarts with new settings in this moment. Try again when it is ready.";
            return Err(Refusal::new("station-restarts", reason));
        }
        match self.parts.locked.first() {
            Some(fault) => Err(Refusal::new(&fault.rule, format!("{}. {}", fault.what, fault.todo))),
            None => Ok(()),
        }
    }
}

pub(super) async fn records(spool: &Spool, session: &str) -> Result<Vec<Record>, Refusal> {
    spool.session_records(session).await.map_err(not_kept)
}

fn not_finished(doc: &SessionDoc) -> Refusal {
    let SessionDoc { id, item, .. } = doc;
    Refusal::new(
        "session-open",
        format!(
            "Session {id} of {item} is not finished. Finish it first: turnstage sessions resume, retake, release or \
             abort {id}."
        ),
    )
}

fn no_session() -> Refusal {
    Refusal::new("session-none", "No session is open. Name one: turnstage sessions list.")
}

/// A write that was not done, told for what the person does next.
pub(super) fn not_kept(error: SpoolError) -> Refusal {
    match error {
        SpoolError::Refused(refused) => Refusal::new(
            "record-busy",
            format!("A picture is being delivered at this moment ({refused}). Repeat it in a moment."),
        ),
        SpoolError::DiskFull { .. } => Refusal::new("disk-full", format!("{error}.")),
        error => Refusal::new(
            "storage-fault",
            format!("The disk does not store it: {error}. Call your technician."),
        ),
    }
}
