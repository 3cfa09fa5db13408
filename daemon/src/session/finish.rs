//! The second half of a frame's way: fetch, privacy stage, verdict, durable, thumbnails.

use std::path::Path;

use bytes::Bytes;
use serde_json::json;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::queue::Facts;
use turnstage_cloud_sync::spool::{NewFile, SpoolError};
use turnstage_cloud_sync::{Record, Sha256, Spool};
use turnstage_drivers::camera::Exposed;
use turnstage_drivers::frame::FrameData;
use turnstage_drivers::{CameraError, Frame};
use turnstage_pipeline::{
    CaptureClass, Developed, Examined, Examiner, Expected, Subject, Undeveloped, phash_to_hex, privacy, qc,
};

use super::{FAILURES_MAX, Outcome, Session, Shot, Stage, Take, is_systematic, label};
use crate::clock;
use crate::recipe::Place;
use crate::rig::RigCamera;
use crate::status::Fault;
use crate::window::thumbnails;

/// Of a name that a picture already had, so much is kept.
const NAME_BYTES_MAX: usize = 100;

/// A frame with its verdict, not yet kept.
pub(super) struct Judged {
    camera: String,
    frame: Frame,
    bytes: Bytes,
    sha256_captured: [u8; 32],
    extension: &'static str,
    content_type: &'static str,
    pub(super) examined: Examined,
    findings: Vec<qc::Finding>,
    applied: serde_json::Value,
    /// Driver, and model as it says; none when the picture came from a file, whose camera was another.
    device: Option<(&'static str, String)>,
}

impl Session {
    /// Brings the bytes of a shot, judges and keeps them. All cameras of a shot share one durable put.
    pub(super) async fn finish(&mut self, stage: &mut Stage<'_>, shot: Shot) -> Result<(), Outcome> {
        let place = shot.place;
        let mut judged = Vec::new();
        let mut ended = Ok(());
        for (name, burst) in shot.exposures {
            let Some(camera) = stage.rig.cameras.iter_mut().find(|camera| camera.name == name) else {
                continue;
            };
            match self.best_of(camera, place, burst).await {
                Ok(picture) => judged.push(picture),
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
        let files = judged.iter().map(|picture| self.file(stage, &shot.reached, place, picture)).collect();
        let events = judged.iter().filter(|p| is_flagged(p)).map(|p| self.flagged_event(place, p)).collect();
        let records = match stage.spool.put(files, events).await {
            Ok(records) => records,
            Err(e) => {
                // Nothing was promised: the places are shot again when the session goes on.
                judged.iter().for_each(|picture| self.plan.retake((place.shot, picture.camera.clone())));
                return Err(not_stored(&e));
            }
        };
        ended.and(self.accept(stage.spool, stage.thumbnails, place, judged, &records).await)
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
            let (class, limits) = (self.doc.recipe.capture_class, self.doc.limits(&camera.name));
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
        let label = label(place.shot, &picture.camera);
        let known = known_as(place, &picture.camera, &label);
        let limits = self.doc.limits(&picture.camera);
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
            CameraError::Disconnected { .. } | CameraError::NotPresent { .. } => "camera-unplugged",
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

    fn file(
        &self,
        stage: &Stage<'_>,
        reached: &Option<turnstage_drivers::Angle>,
        place: Place,
        picture: &Judged,
    ) -> NewFile {
        let slot = (place.shot, picture.camera.clone());
        let former = self.takes.get(&slot);
        let angle = place.angle.map(|angle| format!("_{:05.1}", angle.deg())).unwrap_or_default();
        let file_name = match &picture.frame.file_name {
            Some(name) => format!("{:03}_{}", place.shot + 1, plain(name)),
            None => {
                format!("{:03}_{}{angle}.{}", place.shot + 1, plain(&picture.camera), picture.extension)
            }
        };
        let sha256 = Sha256::from_bytes(picture.examined.sha256);
        NewFile {
            product: "original".to_owned(),
            destinations: self.doc.recipe.destinations.clone(),
            extension: picture.extension.to_owned(),
            bytes: picture.bytes.clone(),
            sha256,
            facts: Facts {
                org: self.doc.org.clone(),
                site: self.doc.site.clone(),
                item: self.doc.item.clone(),
                session: self.doc.id.clone(),
                camera: picture.camera.clone(),
                shot: place.shot,
                take: former.map_or(1, |former| former.take + 1),
                angle_commanded: place.angle.map(|angle| angle.deg()),
                angle_reached: reached.map(|angle| angle.deg()),
                capture_class: self.doc.recipe.capture_class.as_str().to_owned(),
                consent: None,
                actor: self.doc.actor.clone(),
                trace_id: self.doc.trace_id.clone(),
                file_name,
                content_type: picture.content_type.to_owned(),
                sha256_captured: Sha256::from_bytes(picture.sha256_captured),
            },
            meta: meta(stage, picture),
            supersedes: former.map(|former| former.sequence),
        }
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
            let Some(record) = records.iter().find(|record| record.facts.camera == picture.camera) else {
                continue;
            };
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
            match is_flagged(&picture) {
                true => self.seen.recall(&label, picture.examined.sha256),
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
            };
            self.takes.insert(slot, take);
        }
        systematic.map_or(Ok(()), |fault| Err(Outcome::Fault(fault)))
    }

    /// The same systematic finding on two angles in a row: a person must look before more frames are spent.
    fn streak_of(&mut self, place: Place, picture: &Judged) -> Option<Fault> {
        let rules: Vec<&str> =
            picture.findings.iter().filter(|f| is_systematic(f)).map(|f| f.rule.as_str()).collect();
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
    let Some(frame) = set.frames.into_iter().next() else {
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
    let develop = move || develop(examiner, &data, &Expected { subject: subject.as_ref(), size }, &limits);
    let (examiner, developed) =
        tokio::task::spawn_blocking(develop).await.map_err(|_| CameraError::Poisoned { id: id.clone() })?;
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
        applied,
    })
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

/// Versioned metadata of a frame, as the record carries it.
fn meta(stage: &Stage<'_>, picture: &Judged) -> serde_json::Value {
    let time = picture.frame.time;
    let shape = picture.examined.picture.as_ref();
    let exposed_at_ms = stage.clock.wall_ms_at(time.start);
    json!({
        "schema": 1,
        "software": concat!("Turnstage ", env!("CARGO_PKG_VERSION")),
        "width": shape.map(|p| p.width),
        "height": shape.map(|p| p.height),
        "phash": shape.map(|p| phash_to_hex(p.phash)),
        "camera": {
            "applied": picture.applied,
            "exposed_with": picture.frame.exposure,
            "frame": picture.frame.seq,
            "lost_before": picture.frame.lost_before,
            "more": picture.frame.meta,
            "driver": picture.device.as_ref().map(|(driver, _)| driver),
            "model": picture.device.as_ref().map(|(_, model)| model),
            "from_file": picture.frame.file_name.is_some(),
        },
        "time": {
            "exposed_at_ms": exposed_at_ms,
            "utc_offset_min": clock::utc_offset_min(exposed_at_ms),
            "uncertainty_ms": time.uncertainty.as_secs_f64() * 1000.0,
            "source": time.source,
        },
        "lens": picture.frame.intrinsics,
        "qc": {
            "findings": picture.findings,
            "sharpness": shape.map(|p| p.sharpness),
            "exposure": shape.map(|p| p.exposure),
            "noise_levels": shape.map(|p| p.noise_levels),
            "border": shape.and_then(|p| p.cells.border()),
        },
        "exif": picture.examined.exif,
    })
}

/// Thumbnails are a cache: made again when they are missing, so a failure here is told and nothing more.
async fn keep_thumbnails(folder: Option<&Path>, record: &Record, examined: &Examined) {
    let Some(picture) = &examined.picture else { return };
    let Some(folder) = folder else { return };
    let files: Vec<_> = picture
        .thumbnails
        .iter()
        .map(|thumb| (thumbnails::path(folder, record, thumb.side_max), thumb.jpeg.clone()))
        .collect();
    let written = tokio::task::spawn_blocking(move || {
        files.iter().try_for_each(|(path, jpeg)| thumbnails::keep(path, jpeg))
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "thumbnails are not kept"),
        Err(e) => tracing::warn!(error = %e, "thumbnails are not kept"),
    }
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

/// Only characters that every file system takes.
fn plain(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' });
    let kept = kept.collect::<String>();
    // The end of a name tells more: number and extension.
    let long = kept.len().saturating_sub(NAME_BYTES_MAX);
    kept[long..].trim_start_matches('.').to_owned()
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
