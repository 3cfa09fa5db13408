//! The second half of a frame's way: fetch, privacy stage, verdict, durable, thumbnails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::SpoolError;
use turnstage_cloud_sync::{Record, Sha256, Spool};
use turnstage_drivers::camera::Exposed;
use turnstage_drivers::frame::{Codec, FrameData, PixelFormat};
use turnstage_drivers::{CameraError, Frame};
use turnstage_pipeline::qc::{Finding, Verdict};
use turnstage_pipeline::{
    CaptureClass, Developed, Examined, Examiner, Expected, Subject, Undeveloped, depth, privacy, qc,
};

use super::absent::UNPLUGGED;
use super::flash;
use super::kept::{Circumstances, keep_thumbnails};
use super::shot::eased;
use super::{
    DEPTH, FAILURES_MAX, Outcome, PICTURE, Session, Shot, Stage, Take, beside, is_systematic, label,
};
use crate::recipe::Place;
use crate::rig::RigCamera;
use crate::status::Fault;

/// A frame with its verdict, not yet kept.
pub(super) struct Judged {
    pub camera: String,
    pub frame: Frame,
    pub bytes: Bytes,
    pub sha256_captured: [u8; 32],
    pub extension: &'static str,
    pub content_type: &'static str,
    pub examined: Examined,
    pub findings: Vec<qc::Finding>,
    /// What came with it: a depth picture, a raw file.
    pub companions: Vec<Companion>,
    pub applied: serde_json::Value,
    /// Driver, and model as it says; none when the picture came from a file, whose camera was another.
    pub device: Option<(&'static str, String)>,
}

/// A file that came with a picture.
pub(super) struct Companion {
    pub product: &'static str,
    pub extension: String,
    pub content_type: &'static str,
    pub bytes: Bytes,
    pub sha256: Sha256,
    /// Hash of the camera's own bytes.
    pub sha256_captured: Sha256,
    /// What a reader needs to know.
    pub meta: serde_json::Value,
}

impl Session {
    /// Brings the bytes of a shot, judges and keeps them. All cameras of a shot share one durable put.
    pub(super) async fn finish(&mut self, stage: &mut Stage<'_>, shot: Shot) -> Result<(), Outcome> {
        let Some(shot) = self.placed(stage, shot).await? else { return Ok(()) };
        let place = shot.place;
        let dark = shot.without_flash(stage.controls.clone()).await;
        let skews: BTreeMap<String, Duration> =
            shot.exposures.iter().filter_map(|(name, _)| Some((name.clone(), shot.skew(name)?))).collect();
        let mut judged = Vec::new();
        let mut ended = Ok(());
        for (name, burst) in shot.exposures {
            let Some(camera) = stage.rig.cameras.iter_mut().find(|camera| camera.name == name) else {
                continue;
            };
            match self.best_of(camera, place, burst).await {
                Ok(mut picture) => {
                    // Before what it may be the cause of.
                    picture.findings.splice(0..0, dark.clone());
                    judged.push(picture);
                }
                Err(e) => {
                    camera.failed(&e);
                    // What the other cameras took is kept all the same.
                    ended = ended.and(self.missed(place, &name, &e));
                }
            }
        }
        if judged.is_empty() {
            return ended;
        }
        let files = judged.iter().flat_map(|picture| {
            let how = Circumstances {
                place,
                reached: shot.reached,
                settle: shot.settle,
                skew: skews.get(&picture.camera).copied(),
            };
            let original = self.file(stage, &how, picture);
            let companions = self.companions(stage, &original, picture);
            std::iter::once(original).chain(companions)
        });
        let files = files.collect();
        let events = judged.iter().filter(|p| is_flagged(p)).map(|p| self.flagged_event(place, p)).collect();
        let records = match stage.spool.put(files, events).await {
            Ok(records) => records,
            Err(e) => {
                // Nothing was promised: the places are shot again when the session goes on.
                judged.iter().for_each(|picture| self.plan.retake((place.shot, picture.camera.clone())));
                return Err(not_stored(&e));
            }
        };
        let kept = self.accept(stage.spool, stage.thumbnails, place, judged, &records).await;
        ended.and(kept).and(dark.map_or(Ok(()), |_| Err(flash::wait(place.shot))))
    }

    /// The best picture of a burst: the one with the fewest faults, and of these the one with the sharpest subject.
    /// What fails is passed over while another picture came.
    async fn best_of(
        &self,
        camera: &mut RigCamera,
        place: Place,
        burst: Vec<Result<Exposed, CameraError>>,
    ) -> Result<Judged, CameraError> {
        let (mut best, mut error) = (None::<Judged>, None);
        for exposed in burst {
            let class = self.doc.recipe.capture_class;
            let limits = eased(self.doc.limits(&camera.name), place.variant);
            let subject = self.seen.subject(&camera.name);
            let result = match exposed {
                Ok(exposed) => fetch_and_judge(camera, exposed, class, &limits, subject).await,
                Err(e) => Err(e),
            };
            match result.map(|picture| self.compare(place, picture)) {
                Ok(picture) if best.as_ref().is_none_or(|best| is_better(&picture, best)) => {
                    best = Some(picture)
                }
                Ok(_) => {}
                Err(e) => error = Some(e),
            }
        }
        let nothing = || CameraError::Disconnected { id: camera.name.clone() };
        best.ok_or_else(|| error.unwrap_or_else(nothing))
    }

    /// Findings that need the rest of the session.
    fn compare(&self, place: Place, mut picture: Judged) -> Judged {
        if !place.leads {
            return picture;
        }
        let label = label(place.shot, &picture.camera);
        let known = known_as(place, &picture.camera, &label);
        let limits = eased(self.doc.limits(&picture.camera), place.variant);
        picture.findings.extend(self.seen.judge(&known, &picture.examined, &limits));
        qc::in_order(&mut picture.findings);
        picture
    }

    /// No picture came. What may pass by itself is tried again at the end of the turn; a required camera that goes on
    /// failing needs a person.
    fn missed(&mut self, place: Place, camera: &str, error: &CameraError) -> Result<(), Outcome> {
        tracing::warn!(camera, frame = place.shot + 1, %error, "no picture");
        let slot = (place.shot, camera.to_owned());
        let failures = self.failures.entry(slot.clone()).or_default();
        *failures += 1;
        let again = error.is_transient() && *failures < FAILURES_MAX;
        let optional = self.doc.optional.iter().any(|name| name == camera);
        if again || !optional {
            self.plan.retake(slot);
        }
        if again || optional {
            return Ok(());
        }
        let rule = match error {
            CameraError::Disconnected { .. } | CameraError::NotPresent { .. } => UNPLUGGED,
            _ => "camera-failed",
        };
        let todo = match error {
            CameraError::Unsupported { .. } => "Correct the configuration of this camera, then continue.",
            CameraError::Exhausted { .. } => "The folder has no more pictures: add them, or end the session.",
            _ => "Check its cable and power, then continue.",
        };
        Err(Outcome::Fault(Fault::new(
            rule,
            format!("Stopped: {error}"),
            "Without this camera the session cannot be complete. The frames taken so far are safe.",
            todo,
        )))
    }

    fn flagged_event(&self, place: Place, picture: &Judged) -> NewEvent {
        NewEvent {
            kind: "frame.flagged".to_owned(),
            actor: "station".to_owned(),
            session: Some(self.doc.id.clone()),
            data: json!({
                "frame": place.shot + 1,
                "camera": picture.camera,
                "findings": picture.findings,
            }),
        }
    }

    /// The frames are durable: remembers them, and puts flagged ones on the list.
    async fn accept(
        &mut self,
        spool: &Spool,
        thumbnails: Option<&Path>,
        place: Place,
        judged: Vec<Judged>,
        records: &[Record],
    ) -> Result<(), Outcome> {
        let mut systematic = None;
        for picture in judged {
            let slot = (place.shot, picture.camera.clone());
            let mut own = records.iter().filter(|record| record.facts.camera == picture.camera);
            let Some(record) = own.clone().find(|record| record.key.product == PICTURE) else { continue };
            let beside = beside(record, &mut own);
            let label = label(place.shot, &picture.camera);
            tracing::info!(
                session = self.doc.id,
                frame = place.shot + 1,
                camera = picture.camera,
                sequence = record.key.sequence,
                sha256 = %record.sha256,
                findings = picture.findings.len(),
                "frame captured"
            );
            // Others are not measured by a frame that is not good itself.
            match is_flagged(&picture) || !place.leads {
                true => {
                    self.seen.recall(&label, picture.examined.sha256);
                    if picture.findings.iter().any(|finding| finding.rule == qc::NOT_MOVED.id) {
                        self.seen.stood(&known_as(place, &picture.camera, &label));
                    }
                }
                false => self.seen.remember(
                    &known_as(place, &picture.camera, &label),
                    &picture.examined,
                    &self.doc.limits(&picture.camera),
                ),
            }
            keep_thumbnails(thumbnails, record, &picture.examined).await;
            if self.takes.contains_key(&slot) {
                self.retaken += 1;
            }
            systematic = systematic.or(self.streak_of(place, &picture));
            if is_flagged(&picture) {
                self.plan.put_back(slot.clone(), self.doc.recipe.retakes);
            }
            let take = Take {
                sequence: record.key.sequence,
                take: record.facts.take,
                findings: picture.findings,
                sha256: record.sha256,
                payload: spool.payload(record).ok(),
                beside,
            };
            self.takes.insert(slot, take);
        }
        systematic.map_or(Ok(()), |fault| Err(Outcome::Fault(fault)))
    }

    /// The same finding on two angles in a row that another turn would not cure: a person must look before more frames
    /// are spent. A table that does not turn twice in a row does not turn.
    fn streak_of(&mut self, place: Place, picture: &Judged) -> Option<Fault> {
        let stands = |f: &Finding| f.verdict == Verdict::Block && f.rule == qc::NOT_MOVED.id;
        let lasting = picture.findings.iter().filter(|f| is_systematic(f) || stands(f));
        let rules: Vec<&str> = lasting.map(|f| f.rule.as_str()).collect();
        let before = self.streak.remove(&picture.camera);
        if let Some(first) = rules.first() {
            self.streak.insert(picture.camera.clone(), ((*first).to_owned(), place.shot));
        }
        // The same angle twice is one angle: its retake was no better, the next angle may be.
        let again = before.filter(|(rule, shot)| *shot != place.shot && rules.contains(&rule.as_str()));
        let (rule, _) = again?;
        self.streak.remove(&picture.camera);
        let finding = picture.findings.iter().find(|finding| finding.rule == rule)?;
        Some(Fault::new(
            &rule,
            format!("Two frames in a row of camera {}: {}", picture.camera, finding.message),
            "More frames would have the same fault.",
            "Mend it, then continue: flagged frames are taken again.",
        ))
    }
}

pub(super) async fn fetch_and_judge(
    camera: &mut RigCamera,
    exposed: Exposed,
    class: CaptureClass,
    limits: &qc::Limits,
    subject: Option<Subject>,
) -> Result<Judged, CameraError> {
    let id = camera.name.clone();
    let Some(open) = camera.camera.as_mut() else { return Err(CameraError::Disconnected { id }) };
    let info = open.info();
    let set = open.fetch(exposed).await?;
    let mut frames = set.frames.into_iter();
    let Some(frame) = frames.next() else {
        return Err(CameraError::Corrupt { id, what: "a shot without a frame".to_owned() });
    };
    privacy::admit(class)
        .map_err(|refusal| CameraError::Unsupported { id: id.clone(), what: refusal.reason })?;
    let (Some(examiner), limits) = (camera.examiner.take(), limits.clone()) else {
        return Err(CameraError::Poisoned { id });
    };
    // A camera that gives its settings a size is held to it; one that replays files has whatever they have.
    let size = camera
        .applied
        .as_ref()
        .filter(|applied| applied.requested.size.is_some())
        .map(|applied| applied.size);
    let data = frame.data.clone();
    // Coding and hashing take as long as judging does: nothing of them is done on the session's own task.
    let work = move || {
        let expected = Expected { subject: subject.as_ref(), size };
        let (examiner, developed) = develop(examiner, &data, &expected, &limits);
        (examiner, developed, frames.filter_map(companion).collect::<Vec<_>>())
    };
    let (examiner, developed, companions) =
        tokio::task::spawn_blocking(work).await.map_err(|_| CameraError::Poisoned { id: id.clone() })?;
    camera.examiner = Some(examiner);
    camera.fault = None;
    let developed = developed.map_err(|why| match why {
        Undeveloped::Corrupt(what) => CameraError::Corrupt { id: id.clone(), what },
        Undeveloped::Unsupported(what) => CameraError::Unsupported { id: id.clone(), what },
    })?;
    let Developed { bytes, sha256_captured, extension, content_type, examined } = developed;
    let findings = examined.findings.clone();
    let applied = serde_json::to_value(&camera.applied).unwrap_or_default();
    let device = Some((info.driver, info.model)).filter(|_| frame.file_name.is_none());
    Ok(Judged {
        camera: id,
        device,
        frame,
        bytes,
        sha256_captured,
        extension,
        content_type,
        examined,
        findings,
        companions,
        applied,
    })
}

/// What comes with a picture, as a file; `None` for what nobody asked for.
fn companion(frame: Frame) -> Option<Companion> {
    match frame.data {
        FrameData::Encoded { codec: Codec::Raw(extension), bytes } => {
            let sha256 = Sha256::of(&bytes);
            Some(Companion {
                product: "raw",
                extension,
                content_type: "application/octet-stream",
                bytes,
                sha256,
                sha256_captured: sha256,
                meta: serde_json::Value::Null,
            })
        }
        FrameData::Pixels { format: PixelFormat::Z16, ref bytes, .. } => {
            let sha256_captured = Sha256::of(bytes);
            let png = depth::png(&frame);
            let png = png.inspect_err(|why| tracing::warn!(%why, "a depth picture cannot be kept"));
            let png = Bytes::from(png.ok()?);
            Some(Companion {
                product: DEPTH,
                extension: "png".to_owned(),
                content_type: "image/png",
                sha256: Sha256::of(&png),
                bytes: png,
                sha256_captured,
                meta: json!({ "unit": "mm", "aligned_to": "original", "lens": frame.intrinsics, "more": frame.meta }),
            })
        }
        _ => None,
    }
}

fn develop(
    mut examiner: Examiner,
    data: &FrameData,
    expected: &Expected<'_>,
    limits: &qc::Limits,
) -> (Examiner, Result<Developed, Undeveloped>) {
    let developed = examiner.develop(data, expected, limits);
    (examiner, developed)
}

/// A frame as the other frames of its session know it.
fn known_as<'a>(place: Place, camera: &'a str, label: &'a str) -> qc::Place<'a> {
    qc::Place { camera, shot: place.shot, label, angle: place.angle }
}

fn is_better(picture: &Judged, than: &Judged) -> bool {
    let rank = |picture: &Judged| {
        let blocking =
            picture.findings.iter().filter(|finding| finding.verdict == qc::Verdict::Block).count();
        let blur = picture.examined.picture.as_ref().and_then(|picture| picture.sharpness.blur_px);
        (blocking, blur.unwrap_or(f64::INFINITY))
    };
    let ((faults, blur), (best_faults, best_blur)) = (rank(picture), rank(than));
    faults.cmp(&best_faults).then(blur.total_cmp(&best_blur)).is_lt()
}

fn is_flagged(picture: &Judged) -> bool {
    picture.findings.iter().any(|finding| finding.verdict == qc::Verdict::Block)
}

pub(super) fn not_stored(error: &SpoolError) -> Outcome {
    let (rule, todo) = match error {
        SpoolError::DiskFull { .. } => ("disk-full", "Make room or connect the network, then continue."),
        SpoolError::Invalid { .. } | SpoolError::Mismatch { .. } => {
            ("frame-not-storable", "Tell your technician what is named here, then continue.")
        }
        _ => ("storage-fault", "Call your technician: the disk does not store pictures."),
    };
    Outcome::Fault(Fault::new(
        rule,
        format!("Stopped: {error}"),
        "Capture is closed so that nothing is lost. The frames acknowledged so far are safe.",
        todo,
    ))
}

#[cfg(test)]
mod tests;
