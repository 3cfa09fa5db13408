//! Tethered stills cameras (DSLR and mirrorless) through libgphoto2, which lives in a helper process.
//!
//! libgphoto2 hangs with some cameras, and a call that hangs cannot be cancelled: only the end of its process is a sure
//! time-out. It is also under the LGPL. So `turnstage-tether` holds the camera (`drivers/tether`), and is killed when it
//! misses its deadline. The camera may still wait for the rest of that call, so the next one resets its USB device, opens
//! it anew and sets it as before.
//!
//! The end of an exposure is the moment when the camera tells of its first file: later than the shutter closes, by the
//! time that the camera takes to write it, but never earlier.

mod dial;
mod find;
mod focus;
mod keys;
mod lock;
mod shots;
mod stuck;
mod usb;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use find::Identity;
use keys::{Keys, Target};
use lock::{Lock, Locked, NO_FOCUS};
use shots::{Shot, Shots, codec, order};
use stuck::Resetter;

use super::helper::session::{Session, Starter, found, full, starter_for};
use super::helper::wire::{Event, Fault, Place};
use super::{
    Abilities, Applied, Camera, CameraError, CameraInfo, Driver, ExposeRequest, Exposed, Opened, Settings,
};
use crate::frame::{Exposure, Frame, FrameData, FrameSet, FrameTime, StreamKind, TimeSource};
use crate::{DeviceOptions, Listing, Surroundings, tried};

/// `driver = "gphoto2"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "DSLR and mirrorless cameras on USB, by way of the helper turnstage-tether",
    check: |options| options.read::<Keys>()?.check(),
    open: |name, options, _: &Surroundings| Box::pin(open(name, options)),
    list: || Box::pin(list(None)),
};

const NAME: &str = "gphoto2";
/// The program that holds the camera.
const HELPER: &str = "turnstage-tether";
/// Time to find a camera, open it and read who it is: a mirrorless camera starts its firmware's PTP first.
const OPEN: Duration = Duration::from_secs(15);
/// Time to write and read back every setting.
const APPLY: Duration = Duration::from_secs(20);
/// Time for a picture for the eye.
const PREVIEW: Duration = Duration::from_secs(3);
/// Longest single wait for something the camera tells. Short, because cameras that have much to tell are not heard
/// otherwise, and because a helper waits about twice as long.
const EVENT: Duration = Duration::from_millis(100);
/// Things told that are taken up before an exposure.
const EVENTS_MAX: usize = 50;

async fn open(name: &str, options: &DeviceOptions) -> Opened {
    let wrong = |what: String| CameraError::Unsupported { id: name.to_owned(), what };
    let keys: Keys = options.read().map_err(wrong)?;
    keys.check().map_err(wrong)?;
    let starter = starter_for(name, HELPER, keys.helper.as_deref())?;
    Ok(Box::new(Tethered::open(name, keys, starter, stuck::resetter()).await?))
}

/// Cameras that are there, by the helper at this path or the one that [`DRIVER`] would take. Opens each for a moment.
pub async fn list(program: Option<PathBuf>) -> Vec<Listing> {
    let (places, starter) = match found(NAME, HELPER, program.as_deref(), Instant::now() + OPEN).await {
        Ok(found) => found,
        Err(failed) => return failed,
    };
    let mut listings = Vec::new();
    for place in places {
        listings.push(listing(&place, &starter).await);
    }
    listings
}

/// One camera. Each in a helper of its own: one that hangs must not hide the others.
async fn listing(place: &Place, starter: &Starter) -> Listing {
    let identified = async {
        let mut session = Session::start(&place.model, starter).await?;
        find::identify(&mut session, &place.model, place, Instant::now() + OPEN).await
    };
    let (identity, problem) = match identified.await {
        Ok(identity) => (identity, None),
        Err(error) => {
            let identity =
                Identity { model: place.model.clone(), port: find::lasting(place), ..Identity::default() };
            (identity, Some(error.to_string()))
        }
    };
    let mut options = DeviceOptions::new(NAME);
    match &identity.serial {
        Some(serial) => {
            options.keys.insert("serial".to_owned(), serial.clone().into());
        }
        None => {
            options.keys.insert("model".to_owned(), identity.model.clone().into());
            options.keys.insert("port".to_owned(), identity.port.clone().into());
        }
    }
    Listing {
        driver: NAME,
        id: identity.id(),
        tried: tried::is_tried(NAME, &identity.model),
        guess: false,
        label: identity.model,
        firmware: identity.firmware,
        problem,
        options: Some(options),
    }
}

struct Tethered {
    name: String,
    keys: Keys,
    starter: Starter,
    resetter: Resetter,
    /// None after it was killed, until the next call opens it again.
    session: Option<Session>,
    identity: Identity,
    /// What was asked last, to set a camera that is opened anew as before.
    asked: Option<Settings>,
    locked: Locked,
    shots: Shots,
    /// Of the last picture, where the camera does not tell.
    size: (u32, u32),
}

impl Tethered {
    async fn open(
        name: &str,
        keys: Keys,
        starter: Starter,
        resetter: Resetter,
    ) -> Result<Tethered, CameraError> {
        let mut camera = Tethered {
            name: name.to_owned(),
            keys,
            starter,
            resetter,
            session: None,
            identity: Identity::default(),
            asked: None,
            locked: Locked::default(),
            shots: Shots::default(),
            size: (0, 0),
        };
        camera.ready(Instant::now() + OPEN).await?;
        camera.locked = camera.lock(&Settings::default(), Instant::now() + APPLY).await?;
        Ok(camera)
    }

    /// The open camera; opens it, and sets it as before, if it had to be given up.
    async fn ready(&mut self, deadline: Instant) -> Result<&mut Session, CameraError> {
        if self.session.as_ref().is_some_and(Session::is_broken) {
            self.session = None;
        }
        if self.session.is_none() {
            self.shots.forget();
            let left = stuck::reset(&self.resetter, &self.identity.place, deadline).await;
            let mut session = Session::start(&self.name, &self.starter).await?;
            let found = find::open(&mut session, &self.name, &self.keys, deadline).await;
            self.identity = found.map_err(|error| left.told(error))?;
            self.session = Some(session);
            if let Some(settings) = self.asked {
                match self.lock(&settings, deadline).await {
                    Ok(locked) => self.locked = locked,
                    Err(error) => {
                        // It must not be used with other settings than the session's.
                        self.session = None;
                        return Err(error);
                    }
                }
            }
        }
        self.session.as_mut().ok_or_else(|| CameraError::Disconnected { id: self.name.clone() })
    }

    async fn lock(&mut self, settings: &Settings, deadline: Instant) -> Result<Locked, CameraError> {
        let id = self.name.clone();
        let session = self.session.as_mut().ok_or(CameraError::Disconnected { id })?;
        Lock { session, name: &self.name, keys: &self.keys, deadline }.apply(settings).await
    }

    /// Settings of one exposure: the locked ones, or what the request says otherwise.
    async fn vary(&mut self, request: &ExposeRequest) -> Result<Exposure, CameraError> {
        let id = self.name.clone();
        let unsupported = |what: &str| CameraError::Unsupported { id: id.clone(), what: what.to_owned() };
        let (variant, deadline) = (request.variant, request.deadline);
        let mut exposure = self.locked.exposure;
        let session = self.session.as_mut().ok_or_else(|| CameraError::Disconnected { id: id.clone() })?;
        match (&mut self.locked.shutter, exposure.exposure_us) {
            (Some(dial), Some(us)) if !dial.readonly => {
                let mut lock = Lock { session, name: &self.name, keys: &self.keys, deadline };
                let turned = lock.shutter(dial.clone(), us / 1e6 * variant.ev.exp2()).await;
                // Where it stands after a failure is not known, so that the next exposure sets it in any case.
                dial.value.clear();
                *dial = turned?;
                exposure.exposure_us = dial.number().map(|seconds| seconds * 1e6);
            }
            _ if variant.ev == 0.0 => {}
            _ => return Err(unsupported("its shutter cannot be set over USB, so it makes no brackets")),
        }
        if let Some(share) = variant.focus.or(exposure.focus) {
            let drive = self.locked.focus.as_mut().ok_or_else(|| unsupported(NO_FOCUS))?;
            drive.go(session, share, deadline).await?;
            exposure.focus = Some(share);
        }
        Ok(exposure)
    }

    /// Waits for `moment`, and takes up what the camera told before it: a picture that somebody took at the camera's own
    /// button must not be taken for ours.
    async fn listen(&mut self, moment: Instant, deadline: Instant) -> Result<(), CameraError> {
        // A helper may wait twice as long as it was told, and the exposure is not to be late.
        while moment.saturating_duration_since(Instant::now()) > EVENT * 3 {
            self.heard(EVENT, deadline).await?;
        }
        tokio::time::sleep_until(moment).await;
        for _ in 0..EVENTS_MAX {
            if self.heard(Duration::ZERO, deadline).await? == Event::Quiet {
                break;
            }
        }
        Ok(())
    }

    async fn heard(&mut self, wait: Duration, deadline: Instant) -> Result<Event, CameraError> {
        match self.told(wait, deadline, None).await? {
            Event::Full => Err(full(self.name.clone())),
            event => Ok(event),
        }
    }

    /// What the camera tells next; a file goes to its exposure, `now` being the one that is made.
    async fn told(
        &mut self,
        wait: Duration,
        deadline: Instant,
        now: Option<u64>,
    ) -> Result<Event, CameraError> {
        let id = self.name.clone();
        let session = self.session.as_mut().ok_or(CameraError::Disconnected { id })?;
        let event = session.event(wait, deadline).await?;
        if let Event::Added { file } = &event {
            self.shots.add(file.clone(), now);
        }
        Ok(event)
    }

    /// Waits until an exposure has so many files.
    async fn files(
        &mut self,
        ticket: u64,
        wanted: usize,
        now: Option<u64>,
        deadline: Instant,
    ) -> Result<(), CameraError> {
        let begun = Instant::now();
        while self.shots.get(ticket).is_some_and(|shot| shot.files.len() < wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() });
            }
            if self.told(left.min(EVENT), deadline, now).await? == Event::Full {
                return Err(full(self.name.clone()));
            }
        }
        Ok(())
    }

    async fn release(&mut self, ticket: u64, deadline: Instant) -> Result<(), CameraError> {
        let id = self.name.clone();
        let session = self.session.as_mut().ok_or(CameraError::Disconnected { id: id.clone() })?;
        match session.expose(deadline).await? {
            Ok(()) => self.files(ticket, 1, Some(ticket), deadline).await,
            Err(refusal) if matches!(refusal.fault, Fault::Other | Fault::Busy) => {
                let what = format!(
                    "the shutter was not released ({}); switch autofocus off at the lens, and look at the camera's \
                     own display",
                    refusal.words
                );
                Err(CameraError::Attention { id, what })
            }
            Err(refusal) => Err(session.refused(refusal)),
        }
    }

    async fn bring(&mut self, shot: Shot, exposed: &Exposed) -> Result<Vec<Frame>, CameraError> {
        let id = self.name.clone();
        let (keep, bytes_max) = (self.keys.target == Target::Card, self.keys.bytes_max());
        let mut frames = Vec::new();
        for file in &shot.files {
            let session = self.session.as_mut().ok_or(CameraError::Disconnected { id: id.clone() })?;
            let (_, bytes) = session.fetch(file, keep, bytes_max, exposed.deadline).await?;
            let codec = codec(&file.name, &bytes);
            frames.push((
                order(&codec),
                frame(FrameData::Encoded { codec, bytes }, exposed, &shot, &file.name),
            ));
        }
        frames.sort_by_key(|(order, _)| *order);
        match frames.first() {
            Some((2, frame)) => {
                let name = frame.meta.get(FILE).cloned().unwrap_or_default();
                let what = format!("it gave only {name}, a raw file; set its image quality to RAW + JPEG");
                Err(CameraError::Unsupported { id, what })
            }
            _ => Ok(frames.into_iter().map(|(_, frame)| frame).collect()),
        }
    }
}

/// Key of [`Frame::meta`]: the name that the camera gave the file.
const FILE: &str = "camera_file";

fn frame(data: FrameData, exposed: &Exposed, shot: &Shot, name: &str) -> Frame {
    let open = Duration::from_secs_f64(shot.exposure.exposure_us.unwrap_or(0.0).clamp(0.0, 1e9) / 1e6);
    Frame {
        kind: StreamKind::Still,
        data,
        seq: exposed.ticket,
        lost_before: 0,
        time: FrameTime {
            start: exposed.start,
            // It began after the order, and early enough to be over when the camera told of its file.
            uncertainty: (exposed.end - exposed.start).saturating_sub(open),
            source: TimeSource::Arrival,
        },
        exposure: shot.exposure,
        intrinsics: None,
        depth_unit_m: None,
        file_name: None,
        meta: BTreeMap::from([(FILE.to_owned(), name.to_owned())]),
    }
}

#[async_trait]
impl Camera for Tethered {
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        // Not to be set as before, but as now.
        self.asked = None;
        let deadline = Instant::now() + APPLY;
        self.ready(deadline).await?;
        self.locked = self.lock(settings, deadline).await?;
        self.asked = Some(*settings);
        let size = self.locked.size.unwrap_or(self.size);
        Ok(Applied { requested: *settings, exposure: self.locked.exposure, size })
    }

    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        self.ready(Instant::now() + limit).await.map(drop)
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let begun = Instant::now();
        let deadline = request.deadline;
        self.ready(deadline).await?;
        let exposure = self.vary(request).await?;
        self.listen(request.not_before.min(deadline), deadline).await?;
        let start = Instant::now();
        if start >= deadline {
            return Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() });
        }
        let ticket = self.shots.begin(self.locked.files, exposure);
        let released = self.release(ticket, deadline).await;
        if let Err(error) = released {
            self.shots.take(ticket);
            if matches!(error, CameraError::Timeout { .. }) {
                // Its picture may still come, and would be taken for the next one's.
                self.session = None;
            }
            return Err(error);
        }
        Ok(Exposed { ticket, start, end: Instant::now(), deadline })
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        let id = self.name.clone();
        if self.session.as_ref().is_none_or(Session::is_broken) {
            self.shots.forget();
        }
        if self.shots.is_lost(exposed.ticket) {
            let what = "the camera had to be opened anew, and this picture was still in it".to_owned();
            return Err(CameraError::Corrupt { id, what });
        }
        let Some(wanted) = self.shots.get(exposed.ticket).map(|shot| shot.wanted) else {
            let what = format!("exposure {} was fetched already, or never made", exposed.ticket);
            return Err(CameraError::Unsupported { id, what });
        };
        let whole = self.files(exposed.ticket, wanted, None, exposed.deadline).await;
        let shot = self.shots.take(exposed.ticket).unwrap_or_default();
        if let (Err(CameraError::Timeout { .. }), [only]) = (&whole, shot.files.as_slice()) {
            let what = format!("only {} came of the two files of an exposure", only.name);
            return Err(CameraError::Corrupt { id, what });
        }
        whole?;
        let frames = self.bring(shot, &exposed).await?;
        self.size = frames.first().and_then(size).unwrap_or(self.size);
        Ok(FrameSet { frames, max_skew: Duration::ZERO, discarded_stale: self.shots.stale() })
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        if !self.keys.live_view || !self.identity.preview {
            return Ok(None);
        }
        let (start, bytes_max) = (Instant::now(), self.keys.bytes_max());
        let bytes = self.ready(start + OPEN).await?.preview(bytes_max, Instant::now() + PREVIEW).await?;
        let exposed = Exposed { ticket: 0, start, end: Instant::now(), deadline: start + PREVIEW };
        Ok(bytes.filter(|bytes: &Bytes| !bytes.is_empty()).map(|bytes| {
            let data = FrameData::Encoded { codec: codec("", &bytes), bytes };
            frame(data, &exposed, &Shot::default(), "")
        }))
    }

    fn info(&self) -> CameraInfo {
        CameraInfo {
            driver: NAME,
            id: self.identity.id(),
            model: self.identity.model.clone(),
            size_max: self.locked.size.unwrap_or(self.size),
            firmware: self.identity.firmware.clone(),
            can: Abilities {
                bracket: self.locked.can_bracket(),
                focus: self.locked.focus.is_some(),
                depth: false,
                raw: self.locked.files > 1,
            },
            tried: tried::is_tried(NAME, &self.identity.model),
            remaining: None,
        }
    }
}

/// Width and height of a JPEG, by its head.
fn size(frame: &Frame) -> Option<(u32, u32)> {
    let FrameData::Encoded { bytes, .. } = &frame.data else { return None };
    let header = turbojpeg::read_header(bytes).ok()?;
    Some((u32::try_from(header.width).ok()?, u32::try_from(header.height).ok()?))
}

#[cfg(test)]
mod tests;
