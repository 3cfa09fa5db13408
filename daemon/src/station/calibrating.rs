//! The commands that calibrate: limits from a good turn, where cameras stand, clean plates, and forgetting.

use serde_json::json;
use turnstage_cloud_sync::Record;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_drivers::board::Board;

use super::acts::{Done, records};
use super::{Station, Then, stamp, write};
use crate::audit;
use crate::calibration::axis::{self, CameraAxis, Taken};
use crate::calibration::shelf::Shelf;
use crate::calibration::{CALIBRATION_SCHEMA, Calibration, CameraLimits, Device, Plate, Spread, spreads};
use crate::command::{Accepted, Act, Actor, Refusal};
use crate::session::{Session, SessionDoc, plate};
use crate::window::thumbnails;

impl Station {
    pub(super) async fn calibrate(&mut self, id: &str, actor: &Actor, act: &Act, session: &str) -> Done {
        let doc = self.own(session).await?;
        let records = records(&self.parts.spool, session).await?;
        let turn = Session::new(doc, &records, &self.parts.spool);
        let in_use =
            |record: &&Record| turn.takes().values().any(|take| take.sequence == record.key.sequence);
        let frames: Vec<Record> = records.iter().filter(in_use).cloned().collect();
        let spreads = spreads(&frames, &turn.doc.cameras, &turn.doc.optional)?;
        self.parts.rig.open().await;
        let mut all = Vec::new();
        for (camera, spread) in spreads {
            let Some(first) = frames.iter().find(|record| record.facts.camera == camera) else { continue };
            let device = self.device_of(&camera, first)?;
            all.push(self.calibration(actor, &turn.doc, device, first, spread));
        }
        let events = all.iter().map(|one| {
            let data = json!({ "recipe": one.recipe, "camera": one.camera, "limits": one.limits });
            audit::entry("calibration.set", actor, Some(session), data)
        });
        let mut log = vec![audit::accepted(id, actor, act, Some(session))];
        log.extend(events);
        self.note(log).await?;
        let count = all.len();
        self.shelved(move |shelf| all.iter().try_for_each(|one| shelf.keep(one))).await?;
        Ok((Accepted { session: Some(session.to_owned()), count }, Then::Nothing))
    }

    fn calibration(
        &self,
        actor: &Actor,
        doc: &SessionDoc,
        device: Device,
        first: &Record,
        spread: Spread,
    ) -> Calibration {
        Calibration {
            schema: CALIBRATION_SCHEMA,
            recipe: doc.recipe.name.clone(),
            camera: first.facts.camera.clone(),
            device,
            lens: first.meta["exif"]["lens"].as_str().map(str::to_owned),
            at: stamp(&self.parts.clock),
            session: doc.id.clone(),
            actor: actor.0.clone(),
            limits: CameraLimits::of(&spread),
            spread,
        }
    }

    /// The camera that took a frame, if it is still there: a turn of another one says nothing about this.
    fn device_of(&self, camera: &str, frame: &Record) -> Result<Device, Refusal> {
        let missing = || {
            let reason = format!("Camera {camera} is not there. Check its cable and power, then calibrate.");
            Refusal::new("camera-missing", reason)
        };
        let there = self.parts.rig.cameras.iter().find(|one| one.name == camera);
        let info = there.and_then(|one| one.camera.as_ref()).ok_or_else(missing)?.info();
        if let Some(model) = frame.meta["camera"]["model"].as_str().filter(|model| *model != info.model) {
            let reason = format!(
                "Camera {camera} was exchanged since that session: it was {model}, now it is {}. Shoot another turn.",
                info.model
            );
            return Err(Refusal::new("calibration-other-camera", reason));
        }
        let px = |pointer: &str| {
            let value = frame.meta.pointer(pointer).and_then(serde_json::Value::as_u64);
            value.and_then(|px| u32::try_from(px).ok())
        };
        // What the camera was set to, as a later session compares it.
        let set = px("/camera/applied/size/0").zip(px("/camera/applied/size/1"));
        let (width, height) = set.or_else(|| px("/width").zip(px("/height"))).unwrap_or_default();
        Ok(Device { driver: info.driver.to_owned(), model: info.model, width, height })
    }

    pub(super) async fn calibrate_axis(
        &mut self,
        id: &str,
        actor: &Actor,
        act: &Act,
        session: &str,
        board: Result<Board, String>,
    ) -> Done {
        let board = board.map_err(|why| Refusal::new("axis-board", format!("{why}.")))?;
        let doc = self.own(session).await?;
        let records = records(&self.parts.spool, session).await?;
        let turn = Session::new(doc, &records, &self.parts.spool);
        let mut taken = Vec::new();
        for take in turn.takes().values() {
            let record = records.iter().find(|record| record.key.sequence == take.sequence);
            let Some(record) = record else { continue };
            let Some(bytes) = thumbnails::original(&self.parts.spool, record).await else {
                let reason = format!(
                    "Frame {} of the turn is not on this station any more. Shoot the board again.",
                    record.facts.shot + 1
                );
                return Err(Refusal::new("axis-gone", reason));
            };
            // One after the other, so that only one picture is in memory.
            let (record, limits) = (record.clone(), self.parts.rig.input());
            let work = move || Taken::of(record, &bytes, &limits, &board);
            taken.push(tokio::task::spawn_blocking(work).await.map_err(|error| not_kept(&error))??);
        }
        let work = move || axis::measured(&taken, &board);
        let measured = tokio::task::spawn_blocking(work).await.map_err(|error| not_kept(&error))??;
        let axes: Vec<CameraAxis> = measured
            .into_iter()
            .map(|(camera, one)| CameraAxis {
                schema: CALIBRATION_SCHEMA,
                camera,
                setting: one.setting,
                at: stamp(&self.parts.clock),
                session: session.to_owned(),
                actor: actor.0.clone(),
                board,
                axis: one.axis,
                tilt_deg: one.tilt_deg,
                tilt_axis: one.tilt_axis,
            })
            .collect();
        let events = axes.iter().map(|one| {
            let data = json!({ "camera": one.camera, "rms_px": one.axis.rms_px });
            audit::entry("calibration.axis-set", actor, Some(session), data)
        });
        let log = std::iter::once(audit::accepted(id, actor, act, Some(session))).chain(events).collect();
        self.note(log).await?;
        let count = axes.len();
        self.shelved(move |shelf| shelf.keep_axes(&axes)).await?;
        Ok((Accepted { session: Some(session.to_owned()), count }, Then::Nothing))
    }

    pub(super) async fn plate(&mut self, id: &str, actor: &Actor, act: &Act, recipe: Option<&str>) -> Done {
        self.not_locked()?;
        self.none_open().await?;
        let name = recipe.unwrap_or(&self.parts.config.recipes.default);
        let recipe =
            self.parts.recipes.get(name).map_err(|e| Refusal::new("recipe-invalid", e.to_string()))?;
        self.parts.rig.open().await;
        let cameras = self.usable(&recipe)?;
        let taken = plate::take(&mut self.parts.rig, &recipe, &cameras).await?;
        self.note(vec![audit::accepted(id, actor, act, None)]).await?;
        let at = stamp(&self.parts.clock);
        let plates = taken.into_iter().map(|(camera, device, cells)| Plate {
            schema: CALIBRATION_SCHEMA,
            recipe: recipe.name.clone(),
            camera,
            device,
            at: at.clone(),
            actor: actor.0.clone(),
            cells,
        });
        let plates: Vec<Plate> = plates.collect();
        let count = plates.len();
        self.shelved(move |shelf| plates.iter().try_for_each(|one| shelf.keep_plate(one))).await?;
        Ok((Accepted { session: None, count }, Then::Nothing))
    }

    pub(super) async fn forget_calibration(
        &mut self,
        id: &str,
        actor: &Actor,
        act: &Act,
        (recipe, camera): (&str, &str),
        keep_axis: bool,
    ) -> Done {
        let shelf = &self.parts.shelf;
        if !shelf.has(recipe, camera) && (keep_axis || !shelf.has_axis(camera)) {
            let reason = format!(
                "Nothing is kept of camera {camera} with recipe {recipe}. See: turnstage calibrate list."
            );
            return Err(Refusal::new("calibration-unknown", reason));
        }
        self.note(vec![audit::accepted(id, actor, act, None)]).await?;
        let (recipe, camera) = (recipe.to_owned(), camera.to_owned());
        let count = self.shelved(move |shelf| shelf.forget(&recipe, &camera, !keep_axis)).await?;
        Ok((Accepted { session: None, count }, Then::Nothing))
    }

    async fn note(&mut self, log: Vec<NewEvent>) -> Result<(), Refusal> {
        write(&self.parts.spool, log).await.map_err(|error| not_kept(&error))
    }

    /// Work on the shelf's files, away from the station's own task.
    async fn shelved<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Shelf) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let shelf = self.parts.shelf.clone();
        let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
        done.map_err(|error| not_kept(&error))?.map_err(|error| not_kept(&error))
    }
}

fn not_kept(error: &dyn std::error::Error) -> Refusal {
    let reason = format!("The disk does not store it: {error}. Call your technician.");
    Refusal::new("storage-fault", reason)
}
