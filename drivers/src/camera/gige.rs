//! Machine vision cameras (GigE Vision, USB3 Vision) through Aravis, which lives in a helper process like libgphoto2.
//!
//! The camera waits for a trigger by software, so that every frame was exposed when it was asked for. An exposure counts
//! as over when its frame is here, which is later than the shutter by the time of the transfer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::helper;
use super::helper::session::{Refusal, Session, Starter, found, starter_for};
use super::helper::wire::{Event, Fault, File, Pixels, Place, Setting};
use super::{
    Abilities, Applied, Camera, CameraError, CameraInfo, Driver, ExposeRequest, Exposed, Opened, Settings,
};
use crate::frame::{Exposure, Frame, FrameData, FrameSet, FrameTime, PixelFormat, StreamKind, TimeSource};
use crate::{DeviceOptions, Listing, Surroundings, tried};

/// `driver = "gige"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "GigE Vision and USB3 Vision cameras, by way of the helper turnstage-gige",
    check: |options| options.read::<Keys>()?.check(),
    open: |name, options, _: &Surroundings| Box::pin(open(name, options)),
    list: || Box::pin(list(None)),
};

const NAME: &str = "gige";
/// The program that holds the camera.
const HELPER: &str = "turnstage-gige";
/// Time to find a camera on the network and open it.
const OPEN: Duration = Duration::from_secs(15);
/// Time to write and read back every setting.
const APPLY: Duration = Duration::from_secs(20);
/// Longest single wait for a frame.
const EVENT: Duration = Duration::from_millis(100);
/// Frames that are thrown away before an exposure.
const STALE_MAX: u32 = 100;
/// Largest frame taken.
const BYTES_MAX: usize = 300_000_000;
/// What would change by itself between two frames.
const AUTOMATICS: [&str; 3] = ["ExposureAuto", "GainAuto", "BalanceWhiteAuto"];
/// The newer name first.
const EXPOSURE: [&str; 2] = ["ExposureTime", "ExposureTimeAbs"];

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    id: Option<String>,
    helper: Option<PathBuf>,
    pixel_format: Option<String>,
    settings: BTreeMap<String, String>,
}

impl Keys {
    fn check(&self) -> Result<(), String> {
        if self.id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            return Err("id is empty; leave it out, or write what \"turnstage devices\" shows".to_owned());
        }
        helper::session::check(HELPER, self.helper.as_deref())
    }
}

async fn open(name: &str, options: &DeviceOptions) -> Opened {
    let wrong = |what: String| CameraError::Unsupported { id: name.to_owned(), what };
    let keys: Keys = options.read().map_err(wrong)?;
    keys.check().map_err(wrong)?;
    let starter = starter_for(name, HELPER, keys.helper.as_deref())?;
    Ok(Box::new(Gige::open(name, keys, starter).await?))
}

/// Cameras that are there, by the helper at this path or the one that [`DRIVER`] would take. Opens none.
pub async fn list(program: Option<PathBuf>) -> Vec<Listing> {
    match found(NAME, HELPER, program.as_deref(), Instant::now() + OPEN).await {
        Ok((places, _)) => places.iter().map(listing).collect(),
        Err(failed) => failed,
    }
}

fn listing(place: &Place) -> Listing {
    let mut options = DeviceOptions::new(NAME);
    options.keys.insert("id".to_owned(), place.port.clone().into());
    Listing { options: Some(options), ..Listing::of(NAME, &place.port, &place.model) }
}

struct Gige {
    name: String,
    keys: Keys,
    starter: Starter,
    /// None after it was killed, until the next call opens it again.
    session: Option<Session>,
    place: Place,
    /// What was asked last, to set a camera that is opened anew as before.
    asked: Option<Settings>,
    locked: Locked,
    /// Frames that the helper holds, by ticket.
    waiting: BTreeMap<u64, (File, Exposure, u32)>,
    tickets: u64,
}

/// What is in force.
#[derive(Debug, Clone, Copy, Default)]
struct Locked {
    exposure: Exposure,
    size: (u32, u32),
    /// The feature for the shutter time.
    shutter: Option<&'static str>,
    /// Shutter time in microseconds that stands in the camera now.
    now_us: Option<f64>,
}

impl Gige {
    async fn open(name: &str, keys: Keys, starter: Starter) -> Result<Gige, CameraError> {
        let mut camera = Gige {
            name: name.to_owned(),
            keys,
            starter,
            session: None,
            place: Place { model: String::new(), port: String::new() },
            asked: None,
            locked: Locked::default(),
            waiting: BTreeMap::new(),
            tickets: 0,
        };
        camera.ready(Instant::now() + OPEN).await?;
        camera.locked = camera.lock(&Settings::default(), Instant::now() + APPLY).await?;
        Ok(camera)
    }

    fn unsupported(&self, what: String) -> CameraError {
        CameraError::Unsupported { id: self.name.clone(), what }
    }

    fn session(&mut self) -> Result<&mut Session, CameraError> {
        self.session.as_mut().ok_or_else(|| CameraError::Disconnected { id: self.name.clone() })
    }

    /// Opens the camera, and sets it as before, if it had to be given up.
    async fn ready(&mut self, deadline: Instant) -> Result<(), CameraError> {
        if self.session.as_ref().is_some_and(|session| !session.is_broken()) {
            return Ok(());
        }
        self.session = None;
        self.waiting.clear();
        let mut session = Session::start(&self.name, &self.starter).await?;
        let places = session.cameras(deadline).await?;
        self.place = self.chosen(places)?;
        if let Err(refusal) = session.open(&self.place, deadline).await? {
            return Err(self.closed(refusal));
        }
        self.session = Some(session);
        if let Some(settings) = self.asked {
            let locked = self.lock(&settings, deadline).await;
            // It must not be used with other settings than the session's.
            self.locked = locked.inspect_err(|_| self.session = None)?;
        }
        Ok(())
    }

    fn chosen(&self, places: Vec<Place>) -> Result<Place, CameraError> {
        let wanted = |place: &&Place| self.keys.id.as_ref().is_none_or(|id| *id == place.port);
        let there: Vec<&str> = places.iter().map(|place| place.port.as_str()).collect();
        let fitting: Vec<&Place> = places.iter().filter(wanted).collect();
        match fitting.as_slice() {
            [place] => Ok((*place).clone()),
            [] => Err(CameraError::NotPresent {
                id: self.name.clone(),
                hint: match &self.keys.id {
                    Some(id) => format!("no camera {id} answers; found: {}", list_of(&there)),
                    None => "no camera answers; is it on this network, with an address of it?".to_owned(),
                },
            }),
            _ => {
                Err(self.unsupported(format!("several cameras answer, say which by id: {}", list_of(&there))))
            }
        }
    }

    fn closed(&self, Refusal { fault, words }: Refusal) -> CameraError {
        let id = self.name.clone();
        match fault {
            Fault::Busy => CameraError::Busy {
                id,
                holder: format!("another program, perhaps on another machine ({words})"),
            },
            _ => CameraError::NotPresent {
                id,
                hint: format!("{} could not be opened: {words}", self.place.port),
            },
        }
    }

    async fn read(&mut self, setting: &str, deadline: Instant) -> Result<Option<Setting>, CameraError> {
        self.session()?.read(setting, deadline).await
    }

    async fn write(&mut self, setting: &str, value: &str, deadline: Instant) -> Result<(), CameraError> {
        match self.session()?.write(setting, value, deadline).await? {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let there = self.read(setting, deadline).await?.unwrap_or_default();
                let range = there.range.map(|(low, high, _)| format!("{low} to {high}"));
                let can = range.unwrap_or_else(|| there.choices.join(", "));
                let words = refusal.words;
                Err(self.unsupported(format!(
                    "{setting} = {value} was refused ({words}); it is {} and can be: {can}",
                    there.value
                )))
            }
        }
    }

    /// Sets everything and reads it back.
    async fn lock(&mut self, settings: &Settings, deadline: Instant) -> Result<Locked, CameraError> {
        if settings.wb_kelvin.is_some() || settings.focus.is_some() {
            let what =
                "it takes no wb_kelvin and no focus; set its colour by settings = { BalanceRatio = … }";
            return Err(self.unsupported(what.to_owned()));
        }
        for automatic in AUTOMATICS {
            if self.read(automatic, deadline).await?.is_some_and(|read| read.value != "Off") {
                self.write(automatic, "Off", deadline).await?;
            }
        }
        let format = self.keys.pixel_format.clone().map(|format| ("PixelFormat".to_owned(), format));
        for (setting, value) in format.into_iter().chain(self.keys.settings.clone()) {
            self.write(&setting, &value, deadline).await?;
        }
        if let Some((width, height)) = settings.size {
            self.write("Width", &width.to_string(), deadline).await?;
            self.write("Height", &height.to_string(), deadline).await?;
        }
        if let Some(gain) = settings.gain {
            // SFNC gives Gain in decibels.
            let decibels = 20.0 * gain.log10();
            self.number("Gain", decibels, "gain", deadline).await?;
        }
        let mut locked = Locked::default();
        for setting in EXPOSURE {
            if locked.shutter.is_none() && self.read(setting, deadline).await?.is_some() {
                locked.shutter = Some(setting);
            }
        }
        if let Some(us) = settings.exposure_us {
            self.number(locked.shutter.unwrap_or(EXPOSURE[0]), us, "exposure_us", deadline).await?;
        }
        let us = self.value(locked.shutter.unwrap_or(EXPOSURE[0]), deadline).await?;
        let gain = self.value("Gain", deadline).await?.map(|decibels| 10f64.powf(decibels / 20.0));
        let side = |value: Option<f64>| value.unwrap_or(0.0) as u32;
        locked.size =
            (side(self.value("Width", deadline).await?), side(self.value("Height", deadline).await?));
        locked.exposure = Exposure { exposure_us: us, gain, ..Exposure::default() };
        locked.now_us = us;
        Ok(locked)
    }

    /// Writes a number that must be within the camera's range.
    async fn number(
        &mut self,
        setting: &str,
        wanted: f64,
        key: &str,
        deadline: Instant,
    ) -> Result<(), CameraError> {
        match self.read(setting, deadline).await? {
            Some(Setting { range: Some((low, high, _)), .. }) if !(low..=high).contains(&wanted) => {
                Err(self.unsupported(format!("{key}: {setting} = {wanted} must be from {low} to {high}")))
            }
            Some(_) => self.write(setting, &wanted.to_string(), deadline).await,
            None => Err(self.unsupported(format!("it has no {setting}; leave {key} out, or use settings"))),
        }
    }

    async fn value(&mut self, setting: &str, deadline: Instant) -> Result<Option<f64>, CameraError> {
        Ok(self.read(setting, deadline).await?.and_then(|read| read.value.parse().ok()))
    }

    /// Settings of one exposure: the locked ones, or what the request says otherwise.
    async fn vary(&mut self, request: &ExposeRequest) -> Result<Exposure, CameraError> {
        if request.variant.focus.is_some() {
            return Err(self.unsupported("its lens cannot be focused from here".to_owned()));
        }
        let mut exposure = self.locked.exposure;
        match (self.locked.shutter, exposure.exposure_us) {
            (Some(setting), Some(us)) => {
                let wanted = us * request.variant.ev.exp2();
                if self.locked.now_us != Some(wanted) {
                    self.locked.now_us = None;
                    self.number(setting, wanted, "the bracket", request.deadline).await?;
                    self.locked.now_us = Some(wanted);
                }
                exposure.exposure_us = self.value(setting, request.deadline).await?;
            }
            _ if request.variant.ev == 0.0 => {}
            _ => {
                return Err(self.unsupported("its shutter cannot be set, so it makes no brackets".to_owned()));
            }
        }
        Ok(exposure)
    }

    /// Throws away what came before the exposure; tells how much.
    async fn discard(&mut self, deadline: Instant) -> Result<u32, CameraError> {
        let mut stale = 0;
        while stale < STALE_MAX {
            match self.session()?.event(Duration::ZERO, deadline).await? {
                Event::Added { file } => {
                    self.session()?.fetch(&file, false, BYTES_MAX, deadline).await?;
                    stale += 1;
                }
                _ => break,
            }
        }
        Ok(stale)
    }

    async fn release(&mut self, deadline: Instant) -> Result<File, CameraError> {
        let begun = Instant::now();
        let session = self.session()?;
        if let Err(refusal) = session.expose(deadline).await? {
            return Err(session.refused(refusal));
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() });
            }
            if let Event::Added { file } = self.session()?.event(left.min(EVENT), deadline).await? {
                return Ok(file);
            }
        }
    }
}

fn list_of(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The frame as pixels, if there are as many as the head says.
fn picture(pixels: Option<Pixels>, bytes: Bytes) -> Result<FrameData, String> {
    let Some(Pixels { format, width, height, stride }) = pixels else {
        return Err("it gave a file instead of pixels".to_owned());
    };
    let (format, bytes_a_pixel) = match format.as_str() {
        "grey8" => (PixelFormat::Grey8, 1),
        "rgb8" => (PixelFormat::Rgb8, 3),
        "yuyv" => (PixelFormat::Yuyv, 2),
        other => return Err(format!("pixels of the form {other} are not understood")),
    };
    let (row, whole) = (u64::from(width) * bytes_a_pixel, u64::from(stride) * u64::from(height));
    if row == 0 || whole == 0 || u64::from(stride) < row || bytes.len() as u64 != whole {
        let came = bytes.len();
        return Err(format!(
            "{came} bytes of pixels, and {height} rows of {width} pixels in {stride} bytes were announced"
        ));
    }
    Ok(FrameData::Pixels { format, width, height, stride, bytes })
}

#[async_trait]
impl Camera for Gige {
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        // Not to be set as before, but as now.
        self.asked = None;
        let deadline = Instant::now() + APPLY;
        self.ready(deadline).await?;
        self.locked = self.lock(settings, deadline).await?;
        self.asked = Some(*settings);
        Ok(Applied { requested: *settings, exposure: self.locked.exposure, size: self.locked.size })
    }

    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        self.ready(Instant::now() + limit).await
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let (begun, deadline) = (Instant::now(), request.deadline);
        self.ready(deadline).await?;
        let exposure = self.vary(request).await?;
        tokio::time::sleep_until(request.not_before.min(deadline)).await;
        let stale = self.discard(deadline).await?;
        let start = Instant::now();
        if start >= deadline {
            return Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() });
        }
        let file = self.release(deadline).await.inspect_err(|error| {
            // Its frame may still come, and would be taken for the next one's.
            if matches!(error, CameraError::Timeout { .. }) {
                self.session = None;
            }
        })?;
        self.tickets += 1;
        self.waiting.insert(self.tickets, (file, exposure, stale));
        Ok(Exposed { ticket: self.tickets, start, end: Instant::now(), deadline })
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        let id = self.name.clone();
        let Some((file, exposure, stale)) = self.waiting.remove(&exposed.ticket) else {
            let what = format!("exposure {} is not waiting: fetched already, or lost", exposed.ticket);
            return Err(CameraError::Corrupt { id, what });
        };
        let (pixels, bytes) = self.session()?.fetch(&file, false, BYTES_MAX, exposed.deadline).await?;
        let data = picture(pixels, bytes).map_err(|what| CameraError::Corrupt { id, what })?;
        let open = Duration::from_secs_f64(exposure.exposure_us.unwrap_or(0.0).clamp(0.0, 1e9) / 1e6);
        let frame = Frame {
            kind: StreamKind::Color,
            data,
            seq: exposed.ticket,
            lost_before: 0,
            time: FrameTime {
                start: exposed.start,
                uncertainty: (exposed.end - exposed.start).saturating_sub(open),
                source: TimeSource::Arrival,
            },
            exposure,
            intrinsics: None,
            depth_unit_m: None,
            file_name: None,
            meta: BTreeMap::new(),
        };
        Ok(FrameSet { frames: vec![frame], max_skew: Duration::ZERO, discarded_stale: stale })
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        Ok(None)
    }

    fn info(&self) -> CameraInfo {
        CameraInfo {
            driver: NAME,
            id: self.place.port.clone(),
            model: self.place.model.clone(),
            size_max: self.locked.size,
            firmware: None,
            can: Abilities { bracket: self.locked.shutter.is_some(), ..Abilities::default() },
            tried: tried::is_tried(NAME, &self.place.model),
            remaining: None,
        }
    }
}

#[cfg(test)]
mod tests;
