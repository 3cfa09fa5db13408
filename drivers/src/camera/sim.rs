//! A camera of the simulated booth: exposes on tokio's clock, and pictures what stood there at that instant.
//!
//! `expose` waits for the moment and notes how the platter truly stands over the exposure; `fetch` renders the
//! picture from them on a blocking thread, which holds paused time still, and then waits the time of the transfer.
//! Exposure, gain and white balance change the picture as they do on a real camera.

mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use keys::{Keys, SIZE_MAX, checked_size, within};

use super::{
    Abilities, Applied, Camera, CameraError, CameraInfo, Driver, ExposeRequest, Exposed, Opened, Settings,
    Variant,
};
use crate::frame::{Codec, Exposure, Frame, FrameData, FrameSet, FrameTime, StreamKind, TimeSource};
use crate::sim::coding::{self, Coding};
use crate::sim::develop::{Develop, LAMPS_KELVIN};
use crate::sim::flaw::{Flaws, share};
use crate::sim::stance::Stance;
use crate::sim::studio::{Shot, Studio};
use crate::sim::{Booth, CameraFault, Counted, mixed};
use crate::{DeviceOptions, Listing, Surroundings};

/// `driver = "sim"`.
pub const DRIVER: Driver = Driver {
    name: NAME,
    about: "simulated camera that looks at the simulated table",
    check,
    open: |name, options, around| Box::pin(async move { open(name, options, around) }),
    list: || Box::pin(async { vec![Listing::of(NAME, NAME, MODEL)] }),
};

const NAME: &str = "sim";
const MODEL: &str = "simulated camera";
/// Settings that give a well exposed, neutral picture.
const NOMINAL: Exposure = Exposure {
    exposure_us: Some(8000.0),
    gain: Some(1.0),
    wb_kelvin: Some(5000.0),
    focus: Some(SHARP_FOCUS),
};
/// Focus at which the object is sharp.
const SHARP_FOCUS: f64 = 0.5;
/// Blur at the far end of the focus as a share of the picture's width.
const UNFOCUSED_SHARE: f64 = 0.02;
/// A wet lens spreads a point over about half a percent of the picture, whatever its size.
const WET_SHARE: f64 = 0.005;
/// Way of a shaken camera as a share of the picture's width.
const SHAKEN_SHARE: f64 = 0.005;
/// Noise of each colour at a far too high gain, which leaves about 12 levels in luma.
const NOISY_LEVELS: f64 = 18.0;
/// Colour temperature of lamps that have changed.
const CAST_KELVIN: f64 = 3600.0;
/// Exposures that may wait to be fetched, as in a camera's buffer.
const BUFFER_MAX: usize = 8;

fn check(options: &DeviceOptions) -> Result<(), String> {
    let keys = options.read::<Keys>()?;
    keys.check()?;
    keys.picture_size().map(drop)
}

fn open(name: &str, options: &DeviceOptions, around: &Surroundings) -> Opened {
    let wrong = |what: String| CameraError::Unsupported { id: name.to_owned(), what };
    let keys: Keys = options.read().map_err(wrong)?;
    keys.check().map_err(wrong)?;
    let booth =
        around.booth.clone().ok_or_else(|| wrong("this station has no simulated booth".to_owned()))?;
    let lens = keys.lens(booth.platter_radius_mm()).map_err(wrong)?;
    let size = keys.picture_size().map_err(wrong)?;
    let session = booth.open_camera(name).map_err(|_| CameraError::NotPresent {
        id: name.to_owned(),
        hint: "the simulated camera is unplugged".to_owned(),
    })?;
    let studio = Arc::new(booth.studio(lens));
    booth.keep_optics(name, studio.optics(size, booth.scale()));
    let quality = keys.quality;
    Ok(Box::new(SimCamera {
        name: name.to_owned(),
        seed: booth.seed_for(name),
        booth,
        session,
        keys,
        studio,
        size,
        quality,
        exposure: NOMINAL,
        waiting: BTreeMap::new(),
        tickets: 0,
    }))
}

struct SimCamera {
    name: String,
    seed: u64,
    booth: Booth,
    session: u64,
    keys: Keys,
    studio: Arc<Studio>,
    size: (u32, u32),
    quality: u8,
    exposure: Exposure,
    /// Exposures not fetched yet, by ticket.
    waiting: BTreeMap<u64, Waiting>,
    tickets: u64,
}

/// An exposure in the camera's buffer.
struct Waiting {
    counted: Counted,
    shot: Shot,
    exposure: Exposure,
}

impl SimCamera {
    fn unsupported(&self, what: String) -> CameraError {
        CameraError::Unsupported { id: self.name.clone(), what }
    }

    fn timeout(&self, since: Instant) -> CameraError {
        CameraError::Timeout { id: self.name.clone(), waited: since.elapsed() }
    }

    fn there(&self) -> Result<(), CameraError> {
        let gone = |_| CameraError::Disconnected { id: self.name.clone() };
        self.booth.camera_is_there(&self.name, self.session).map_err(gone)
    }

    /// The locked settings with what one exposure does otherwise.
    fn varied(&self, variant: &Variant) -> Result<Exposure, CameraError> {
        let exposure_us = self.exposure.exposure_us.map(|us| us * variant.ev.exp2());
        let focus = variant.focus.or(self.exposure.focus);
        within("ev: the exposure time in microseconds", exposure_us.unwrap_or(8000.0), 10.0, 30e6)
            .and_then(|_| within("focus", focus.unwrap_or(SHARP_FOCUS), 0.0, 1.0))
            .map_err(|what| self.unsupported(what))?;
        Ok(Exposure { exposure_us, focus, ..self.exposure })
    }

    /// What the sensor saw and how it is made into a picture.
    fn shot(
        &self,
        mut stances: Vec<Stance>,
        counted: &Counted,
        size: (u32, u32),
        exposure: &Exposure,
    ) -> Result<Shot, CameraError> {
        let has = |fault| counted.faults.contains(&fault);
        let gain = exposure.gain.unwrap_or(1.0);
        let light = exposure.exposure_us.unwrap_or(8000.0) / 8000.0 * gain;
        let beside = (exposure.focus.unwrap_or(SHARP_FOCUS) - SHARP_FOCUS).abs() / SHARP_FOCUS;
        let unfocused_px = beside * UNFOCUSED_SHARE * f64::from(size.0);
        let mut seed = self.seed ^ mixed(counted.number);
        if self.keys.cache_frames {
            let rounded = |deg: f64| (deg * 1000.0).round() / 1000.0;
            for stance in &mut stances {
                stance.turn_deg = rounded(stance.turn_deg.rem_euclid(360.0));
                stance.tilt_deg = rounded(stance.tilt_deg);
            }
            seed = self.seed;
        }
        let size = if has(CameraFault::SmallPicture) { (size.0 / 4 * 2, size.1 / 4 * 2) } else { size };
        let wet_px = if has(CameraFault::Blurred) { f64::from(size.0) * WET_SHARE } else { 0.0 };
        let noise = self.keys.noise * gain.sqrt();
        Ok(Shot {
            model: counted.model.clone(),
            stances,
            size,
            develop: Develop {
                light: light * lit(&counted.faults),
                wb_kelvin: exposure.wb_kelvin.unwrap_or(5000.0),
                lamps_kelvin: if has(CameraFault::ColourCast) { CAST_KELVIN } else { LAMPS_KELVIN },
                blur_px: self.keys.defocus_px + wet_px + unfocused_px,
                noise: if has(CameraFault::Noisy) { noise.hypot(NOISY_LEVELS) } else { noise },
                seed,
                flaws: self.flaws(&counted.faults, seed, size.0),
            },
            coding: self.keys.coding(self.quality).map_err(|what| self.unsupported(what))?,
        })
    }

    /// What spoils an exposure with this seed. Dirt and dead pixels are the camera's own and stay in their places.
    fn flaws(&self, faults: &[CameraFault], seed: u64, width: u32) -> Flaws {
        let has = |fault| faults.contains(&fault);
        let shaken_px = if has(CameraFault::Shaken) { f64::from(width) * SHAKEN_SHARE } else { 0.0 };
        let length = self.keys.shake_px + shaken_px;
        let (down, right) = (share(seed, 1) * std::f64::consts::PI).sin_cos();
        Flaws {
            shake_px: (length * right, length * down),
            flicker: has(CameraFault::Banding).then(|| share(seed, 2) * std::f64::consts::TAU),
            dirt: has(CameraFault::Dirt).then_some(self.seed),
            dead: has(CameraFault::DeadPixels).then_some(self.seed),
        }
    }

    fn frame(&self, data: FrameData, exposed: &Exposed, number: u64, exposure: Exposure) -> Frame {
        Frame {
            kind: StreamKind::Still,
            data,
            seq: number,
            lost_before: 0,
            time: FrameTime {
                start: exposed.start,
                uncertainty: Duration::ZERO,
                source: TimeSource::Simulated,
            },
            exposure,
            intrinsics: self.keys.tells_lens.then(|| self.studio.optics(self.size, 1.0).0),
            depth_unit_m: None,
            file_name: None,
            meta: BTreeMap::new(),
        }
    }

    /// Renders on a blocking thread: it ends by itself, and paused time stands still meanwhile.
    async fn render(&self, shot: Shot) -> Result<FrameData, CameraError> {
        let studio = self.studio.clone();
        let once = self.keys.cache_frames;
        let work = move || if once { studio.picture_once(&shot) } else { studio.picture(&shot) };
        let picture = tokio::task::spawn_blocking(work).await;
        let failed = |what| CameraError::Corrupt { id: self.name.clone(), what };
        picture.map_err(|_| CameraError::Poisoned { id: self.name.clone() })?.map_err(failed)
    }

    /// Makes the picture of an exposure and waits until it is over the wire.
    async fn bring(&self, waiting: Waiting, number: u64) -> Result<FrameData, CameraError> {
        let has = |fault| waiting.counted.faults.contains(&fault);
        if has(CameraFault::Stall) {
            return std::future::pending().await;
        }
        let begun = Instant::now();
        let stuck = if has(CameraFault::StuckPicture) { self.booth.last_picture(&self.name) } else { None };
        let corrupt = has(CameraFault::CorruptJpeg);
        let mut picture = match stuck {
            Some(picture) => picture,
            None => numbered(self.render(waiting.shot).await?, number),
        };
        if corrupt {
            let bytes = coding::bytes_mut(&mut picture);
            bytes.truncate(bytes.len() / 2);
        }
        tokio::time::sleep_until(begun + Duration::from_secs_f64(self.keys.transfer_ms / 1000.0)).await;
        self.there()?;
        self.booth.keep_picture(&self.name, &picture);
        Ok(picture)
    }
}

#[async_trait]
impl Camera for SimCamera {
    async fn apply(&mut self, settings: &Settings) -> Result<Applied, CameraError> {
        self.there()?;
        let limited = |key, value: Option<f64>, low, high| match value {
            Some(value) => within(key, value, low, high).map(Some).map_err(|what| self.unsupported(what)),
            None => Ok(None),
        };
        let exposure = Exposure {
            exposure_us: limited("exposure_us", settings.exposure_us, 10.0, 30e6)?
                .or(self.exposure.exposure_us),
            gain: limited("gain", settings.gain, 0.25, 64.0)?.or(self.exposure.gain),
            wb_kelvin: limited("wb_kelvin", settings.wb_kelvin, 2000.0, 12_000.0)?
                .or(self.exposure.wb_kelvin),
            focus: limited("focus", settings.focus, 0.0, 1.0)?.or(self.exposure.focus),
        };
        limited("quality", settings.quality.map(f64::from), 1.0, 100.0)?;
        let size =
            settings.size.map_or(Ok(self.size), checked_size).map_err(|what| self.unsupported(what))?;
        self.quality = settings.quality.unwrap_or(self.quality);
        (self.exposure, self.size) = (exposure, size);
        self.booth.keep_optics(&self.name, self.studio.optics(size, self.booth.scale()));
        Ok(Applied { requested: *settings, exposure, size })
    }

    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        self.there()?;
        tokio::time::sleep(Duration::from_millis(50).min(limit)).await;
        self.there()
    }

    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let begun = Instant::now();
        self.there()?;
        if self.waiting.len() == BUFFER_MAX {
            return Err(
                self.unsupported(format!("{BUFFER_MAX} exposures wait to be fetched; fetch one first"))
            );
        }
        let exposure = self.varied(&request.variant)?;
        let latency = Duration::from_secs_f64(self.keys.latency_ms / 1000.0);
        let start = begun.max(request.not_before) + latency;
        let end = start + Duration::from_secs_f64(exposure.exposure_us.unwrap_or_default() / 1e6);
        if end > request.deadline {
            tokio::time::sleep_until(request.deadline).await;
            return Err(self.timeout(begun));
        }
        tokio::time::sleep_until(start).await;
        let counted = self
            .booth
            .count_exposure(&self.name, self.session)
            .map_err(|_| CameraError::Disconnected { id: self.name.clone() })?;
        tokio::time::sleep_until(end).await;
        self.there()?;
        let stances = self.studio.moments(|count| self.booth.stances_between(start, end, count), self.size.0);
        let shot = self.shot(stances, &counted, self.size, &exposure)?;
        let middle = self.booth.stances_between(start, end, 1);
        middle.iter().for_each(|stance| self.booth.note_angle(&self.name, counted.number, stance.turn_deg));
        self.tickets += 1;
        self.waiting.insert(self.tickets, Waiting { counted, shot, exposure });
        Ok(Exposed { ticket: self.tickets, start, end, deadline: request.deadline })
    }

    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        let begun = Instant::now();
        self.there()?;
        let Some(waiting) = self.waiting.remove(&exposed.ticket) else {
            let what = format!("exposure {} was fetched already, or never made", exposed.ticket);
            return Err(self.unsupported(what));
        };
        let (number, exposure) = (waiting.counted.number, waiting.exposure);
        match tokio::time::timeout_at(exposed.deadline, self.bring(waiting, number)).await {
            Err(_) => Err(self.timeout(begun)),
            Ok(picture) => Ok(FrameSet {
                frames: std::iter::once(picture?)
                    .chain(self.keys.raw.then(|| raw(number)))
                    .map(|data| self.frame(data, &exposed, number, exposure))
                    .collect(),
                max_skew: Duration::ZERO,
                discarded_stale: 0,
            }),
        }
    }

    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        self.there()?;
        // What a stream has just exposed.
        let end = Instant::now();
        let open = Duration::from_secs_f64(self.exposure.exposure_us.unwrap_or_default() / 1e6);
        let start = end.checked_sub(open).unwrap_or(end);
        let (w, h) = self.size;
        let width = w.min(self.keys.preview_px);
        let size = (width, (width * h / w).max(2) & !1);
        let glance = self.booth.glance(&self.name);
        let stances = self.booth.stances_between(start, end, 1);
        let mut shot = self.shot(stances, &glance, size, &self.exposure)?;
        shot.coding = Coding::plain(self.quality);
        let picture = self.render(shot).await?;
        let exposed = Exposed { ticket: 0, start, end, deadline: end };
        Ok(Some(self.frame(picture, &exposed, 0, self.exposure)))
    }

    fn info(&self) -> CameraInfo {
        CameraInfo {
            driver: NAME,
            id: self.name.clone(),
            model: MODEL.to_owned(),
            size_max: SIZE_MAX,
            firmware: None,
            can: Abilities { bracket: true, focus: true, ..Abilities::default() },
            tried: true,
            remaining: None,
        }
    }
}

/// Factor of the light that faults leave or add.
fn lit(faults: &[CameraFault]) -> f64 {
    let factor = |fault: &CameraFault| match fault {
        CameraFault::OverExposed => 5.0,
        CameraFault::UnderExposed => 0.125,
        CameraFault::Dimmed => 0.7,
        _ => 1.0,
    };
    faults.iter().map(factor).product()
}

/// A raw file in nobody's format: it tells the frame that it belongs to, as its JPEG does.
fn raw(number: u64) -> FrameData {
    let bytes = Bytes::from(format!("{MODEL}, frame {number}"));
    FrameData::Encoded { codec: Codec::Raw("simraw".to_owned()), bytes }
}

/// Writes the frame's number into a JPEG comment, so that no two exposures give the same file, as with real cameras.
/// Uncompressed pixels have no place for it.
fn numbered(mut picture: FrameData, number: u64) -> FrameData {
    const START_OF_IMAGE: usize = 2;
    let FrameData::Encoded { bytes: jpeg, .. } = &mut picture else { return picture };
    let text = format!("{MODEL}, frame {number}");
    let length = u16::try_from(text.len() + 2).unwrap_or(u16::MAX).to_be_bytes();
    let mut marked = Vec::with_capacity(jpeg.len() + text.len() + 4);
    marked.extend_from_slice(&jpeg[..START_OF_IMAGE]);
    marked.extend_from_slice(&[0xff, 0xfe, length[0], length[1]]);
    marked.extend_from_slice(text.as_bytes());
    marked.extend_from_slice(&jpeg[START_OF_IMAGE..]);
    *jpeg = Bytes::from(marked);
    picture
}

#[cfg(test)]
mod tests;
