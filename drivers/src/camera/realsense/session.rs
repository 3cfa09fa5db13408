//! One open camera or recording: waits for sets that count, and brings them with the depth aligned to the colour.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use realsense_rust::context::Context;
use realsense_rust::device_hub::DeviceHub;
use realsense_rust::frame::{ColorFrame, CompositeFrame, FrameEx, ImageFrame};
use realsense_rust::pipeline::ActivePipeline;
use tokio::time::Instant;

use super::clock::DeviceClock;
use super::controls::Controls;
use super::frameset::{self, Times, Verdict};
use super::keys::{Keys, period};
use super::library::{Library, alone};
use super::stream::{self, Identity, Stream};
use super::{NAME, library};
use crate::camera::{
    Abilities, Applied, CameraError, CameraInfo, CameraSession, ExposeRequest, Exposed, Settings,
};
use crate::frame::{Exposure, Frame, FrameData, FrameSet, FrameTime, PixelFormat, StreamKind, TimeSource};
use crate::tried::is_tried;

/// Between two looks whether a set has come. The library's own waiting would start a lost camera anew inside the
/// call, for many seconds beyond any deadline.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A camera that gives nothing for so long is asked whether it is still there; a recording has ended.
const SILENCE: Duration = Duration::from_secs(2);
/// Sets that a change of settings needs to show in the picture.
const SETTLING_SETS: u32 = 4;
/// Sets after which an automatic exposure has settled, whatever it says.
const WARM_SETS: u32 = 30;
/// Sets in a row whose shutter times differ by no more than [`STEADY`].
const STEADY_SETS: u32 = 5;
/// Relative.
const STEADY: f64 = 0.02;
/// Exposures that wait to be fetched. The library has few buffers, and each holds two.
const WAITING_MAX: usize = 4;

pub(super) struct Session {
    /// What the rig calls it, for messages.
    id: String,
    keys: Keys,
    library: &'static Library,
    identity: Identity,
    controls: Controls,
    depth_unit_m: f64,
    hub: DeviceHub,
    /// `None` only after a change of size that the camera refused for good.
    stream: Option<Stream>,
    clock: DeviceClock,
    /// Sets to be left out before the next that counts.
    settling: u32,
    /// What was asked of a recording in vain, in words.
    not_applied: Option<String>,
    tickets: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// After everything that was made by it.
    context: Context,
}

/// An exposure that is not fetched yet.
struct Waiting {
    set: CompositeFrame,
    times: Times,
    color: Exposure,
    depth: Exposure,
    discarded_stale: u32,
}

/// What a frame of a set carries along.
struct Taken {
    start: Instant,
    exposure: Exposure,
    source: TimeSource,
}

/// Sets that did not count for one exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Passed {
    stale: u32,
    apart: u32,
    partial: u32,
    clocks: u32,
}

impl Session {
    /// Opens the camera or the recording that `keys` name.
    pub(super) fn open(id: &str, keys: Keys) -> Result<Session, CameraError> {
        let library = library::load(id, keys.library.as_deref())?;
        let broken = |what: String| CameraError::Unsupported { id: id.to_owned(), what };
        let context = Context::new().map_err(|error| broken(error.to_string()))?;
        let serial = match &keys.bag {
            Some(bag) => stream::check_recording(id, bag).map(|()| String::new())?,
            None => stream::choose(id, &context, keys.serial.as_deref())?,
        };
        let stream = stream::start(id, &context, &keys, &serial, keys.size())?;
        let device = stream.pipeline.profile().device();
        let (identity, mut controls) = (Identity::of(device), Controls::of(device));
        let depth_unit_m = controls
            .depth_unit_m()
            .ok_or_else(|| broken("it does not tell its unit of distance".to_owned()))?;
        controls.project(&keys).map_err(broken)?;
        let hub = context.create_device_hub().map_err(|error| broken(error.to_string()))?;
        let usb = identity.usb.as_deref().unwrap_or("not told");
        tracing::info!("camera {id}: {} {}, USB {usb}", identity.model, identity.serial);
        let clock = DeviceClock::new(Instant::now());
        Ok(Session {
            id: id.to_owned(),
            keys,
            library,
            identity,
            controls,
            depth_unit_m,
            hub,
            stream: Some(stream),
            clock,
            settling: 0,
            not_applied: None,
            tickets: 0,
            waiting: BTreeMap::new(),
            context,
        })
    }

    fn unsupported(&self, what: String) -> CameraError {
        CameraError::Unsupported { id: self.id.clone(), what }
    }

    fn corrupt(&self, what: String) -> CameraError {
        CameraError::Corrupt { id: self.id.clone(), what }
    }

    fn stream(&mut self) -> Result<&mut Stream, CameraError> {
        // Poisoned: only opening it anew helps.
        self.stream.as_mut().ok_or_else(|| CameraError::Poisoned { id: self.id.clone() })
    }

    /// A set that is there already, if any.
    fn take(&mut self) -> Result<Option<CompositeFrame>, CameraError> {
        match self.stream()?.pipeline.poll() {
            Ok(Poll::Ready(set)) => Ok(Some(set)),
            Ok(Poll::Pending) => Ok(None),
            Err(error) => Err(self.lost().unwrap_or_else(|| self.corrupt(error.to_string()))),
        }
    }

    /// Throws away what lies in the queue, and tells how much: it may be of any age.
    fn drain(&mut self) -> Result<u32, CameraError> {
        let mut thrown = 0;
        while self.take()?.is_some() {
            thrown += 1;
        }
        Ok(thrown)
    }

    /// Waits for the next set until `deadline`, and learns the camera's clock by it.
    fn next(&mut self, begun: Instant, deadline: Instant) -> Result<CompositeFrame, CameraError> {
        let silent_since = Instant::now();
        loop {
            if let Some(set) = self.take()? {
                let arrived = Instant::now();
                if let Some(color) = set.frames_of_type::<ColorFrame>().pop() {
                    self.clock.note(color.timestamp(), arrived);
                }
                return Ok(set);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(CameraError::Timeout { id: self.id.clone(), waited: now - begun });
            }
            if now - silent_since > SILENCE
                && let Some(lost) = self.lost()
            {
                return Err(lost);
            }
            std::thread::park_timeout(LOOK_EVERY.min(deadline - now));
        }
    }

    /// Why there will be no more sets, if so.
    fn lost(&self) -> Option<CameraError> {
        let id = self.id.clone();
        if self.keys.bag.is_some() {
            return Some(CameraError::Exhausted { id });
        }
        let device = self.stream.as_ref()?.pipeline.profile().device();
        (!self.hub.is_device_connected(device)).then_some(CameraError::Disconnected { id })
    }

    fn judge(&self, set: &CompositeFrame, not_before: Instant) -> Option<(Verdict, Exposure, Exposure)> {
        let (color, depth) = frameset::both(set)?;
        let fps = self.stream.as_ref().map(|stream| stream.fps).unwrap_or_default();
        let color_says = frameset::color_exposure(&color, &self.controls);
        let in_force = self.controls.read();
        let color_exposure = Exposure {
            exposure_us: color_says.exposure_us.or(in_force.exposure_us),
            gain: color_says.gain.or(in_force.gain),
            wb_kelvin: color_says.wb_kelvin.or(in_force.wb_kelvin),
            focus: None,
        };
        let depth_exposure = frameset::depth_exposure(&depth);
        // A shutter time that nobody tells is no longer than the time between two frames.
        let unknown = period(fps);
        let verdict = frameset::judge(
            &frameset::stamp(&color, color_exposure.exposure_us, unknown),
            &frameset::stamp(&depth, depth_exposure.exposure_us, unknown),
            &self.clock,
            not_before,
            self.keys.skew_max(fps),
        );
        Some((verdict, color_exposure, depth_exposure))
    }

    /// What to say of a deadline that ran out: waiting longer helps unless most sets were of no use.
    fn nothing_usable(&self, timeout: CameraError, passed: Passed) -> CameraError {
        let what = match passed {
            Passed { stale, clocks, .. } if clocks > stale => {
                format!(
                    "colour and depth of {clocks} sets carry the time of two clocks; the kernel patch of librealsense \
                     or its USB backend cures that"
                )
            }
            Passed { stale, apart, partial, .. } if apart + partial > stale => {
                format!(
                    "{apart} sets had colour and depth of different moments, {partial} only one of them; lower fps, \
                     use a USB 3 port of its own, or raise skew_ms_max"
                )
            }
            _ => return timeout,
        };
        CameraError::Attention { id: self.id.clone(), what }
    }

    /// Keeps a set until it is fetched.
    fn keep(&mut self, waiting: Waiting, deadline: Instant) -> Exposed {
        let Times { color, depth, end, .. } = waiting.times;
        self.tickets += 1;
        let ticket = self.tickets;
        self.waiting.insert(ticket, waiting);
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_first();
        }
        Exposed { ticket, start: color.min(depth), end, deadline }
    }

    fn resize(&mut self, size: (u32, u32)) -> Result<(), CameraError> {
        let old = self.stream()?.size;
        self.waiting.clear();
        self.stop();
        let serial = self.identity.serial.clone();
        let start = |session: &Session, size| {
            stream::start(&session.id, &session.context, &session.keys, &serial, size)
        };
        let (stream, outcome) = match start(self, size) {
            Ok(stream) => (Some(stream), Ok(())),
            Err(error) => (start(self, old).ok(), Err(error)),
        };
        if let Some(stream) = &stream {
            self.controls = Controls::of(stream.pipeline.profile().device());
        }
        self.stream = stream;
        outcome
    }

    fn stop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let mut pipeline = Some(stream.pipeline);
        let stopped = alone(&self.id, || drop(pipeline.take().map(ActivePipeline::stop)));
        if let Err(error) = stopped {
            tracing::warn!(%error, "a camera is left running");
            // To delete it stops it too, and a second one that stops could end the process.
            std::mem::forget(pipeline);
        }
    }

    /// Settings of a recording are those it was made with.
    fn apply_to_recording(&mut self, settings: &Settings, size: (u32, u32)) {
        let asked = [
            ("exposure_us", settings.exposure_us),
            ("gain", settings.gain),
            ("wb_kelvin", settings.wb_kelvin),
        ];
        let mut names: Vec<_> =
            asked.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
        if settings.size.is_some_and(|asked| asked != size) {
            names.push("size");
        }
        self.not_applied = (!names.is_empty()).then(|| names.join(", "));
        if let Some(names) = &self.not_applied {
            tracing::warn!("camera {}: a recording keeps its own settings; not applied: {names}", self.id);
        }
    }

    fn frame<K>(
        &self,
        told: &ImageFrame<K>,
        (kind, data): (StreamKind, FrameData),
        ticket: u64,
        taken: &Taken,
    ) -> Frame
    where
        ImageFrame<K>: FrameEx,
    {
        let mut meta = BTreeMap::from([
            ("frame-number".to_owned(), told.frame_number().to_string()),
            ("stamp-ms".to_owned(), told.timestamp().to_string()),
            ("stamp-clock".to_owned(), format!("{:?}", told.timestamp_domain())),
            ("librealsense".to_owned(), self.library.version.to_string()),
        ]);
        let more = [("usb", &self.identity.usb), ("not-applied", &self.not_applied)];
        meta.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
        Frame {
            kind,
            data,
            seq: ticket,
            lost_before: 0,
            time: FrameTime { start: taken.start, uncertainty: Times::UNCERTAINTY, source: taken.source },
            exposure: taken.exposure,
            intrinsics: self.stream.as_ref().and_then(|stream| stream.lens),
            depth_unit_m: (kind == StreamKind::Depth).then_some(self.depth_unit_m),
            file_name: None,
            meta,
        }
    }

    /// The frames of a set, the depth aligned to the colour.
    fn develop(&self, ticket: u64, waiting: Waiting) -> Result<FrameSet, CameraError> {
        let Waiting { set, times, color, depth, discarded_stale } = waiting;
        let gone = || self.corrupt("one frame of a set is gone".to_owned());
        let (color_frame, depth_frame) = frameset::both(&set).ok_or_else(gone)?;
        let data = frameset::pixels(&color_frame, PixelFormat::Rgb8).map_err(|what| self.corrupt(what))?;
        let aligned = frameset::aligned(&color_frame, &depth_frame, self.depth_unit_m);
        let failed = |words| format!("its depth could not be aligned to its colour: {words}");
        let aligned = aligned.map_err(|words| self.corrupt(failed(words)))?;
        let taken = |start, exposure| Taken { start, exposure, source: times.source };
        let color = self.frame(&color_frame, (StreamKind::Color, data), ticket, &taken(times.color, color));
        let taken = taken(times.depth, depth);
        let mut depth = self.frame(&depth_frame, (StreamKind::Depth, aligned), ticket, &taken);
        if let Some(stream) = &self.stream {
            let (width, height) = stream.depth_size;
            depth.meta.insert("measured-size".to_owned(), format!("{width}x{height}"));
        }
        Ok(FrameSet { frames: vec![color, depth], max_skew: times.skew, discarded_stale })
    }
}

impl CameraSession for Session {
    fn apply(&mut self, settings: &Settings, _deadline: Instant) -> Result<Applied, CameraError> {
        if settings.focus.is_some() {
            return Err(
                self.unsupported("focus: the lens of a RealSense cannot be moved; leave it out".to_owned())
            );
        }
        if settings.quality.is_some() {
            return Err(self.unsupported("quality: its pictures are not compressed; leave it out".to_owned()));
        }
        let size = self.stream()?.size;
        if self.keys.bag.is_some() {
            self.apply_to_recording(settings, size);
            return Ok(Applied { requested: *settings, exposure: self.controls.read(), size });
        }
        let wanted = settings.size.unwrap_or_else(|| self.keys.size());
        if wanted != size {
            self.resize(wanted)?;
        }
        self.controls.lock(settings).map_err(|what| self.unsupported(what))?;
        self.settling = SETTLING_SETS;
        Ok(Applied { requested: *settings, exposure: self.controls.read(), size: wanted })
    }

    /// A recording is as good from its first frame as it will ever be, and none of it is wasted.
    fn warm_up(&mut self, deadline: Instant) -> Result<(), CameraError> {
        if self.keys.bag.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut steady = Steady::default();
        let automatic = self.controls.is_automatic();
        for _ in 0..WARM_SETS {
            let set = self.next(begun, deadline)?;
            let color = set.frames_of_type::<ColorFrame>().pop();
            let told = color.and_then(|color| frameset::color_exposure(&color, &self.controls).exposure_us);
            // Locked, nothing settles but what the sensor had in its works already.
            let enough = steady.is_after(if automatic { told } else { Some(1.0) });
            if enough && self.clock.is_known() {
                break;
            }
        }
        self.settling = 0;
        Ok(())
    }

    fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        if !request.variant.is_plain() {
            let what = "a RealSense makes no brackets and no focus steps; use a recipe without";
            return Err(self.unsupported(what.to_owned()));
        }
        let begun = Instant::now();
        let mut passed = Passed::default();
        let drained = self.drain()?;
        loop {
            let set = match self.next(begun, request.deadline) {
                Ok(set) => set,
                Err(error @ CameraError::Timeout { .. }) => return Err(self.nothing_usable(error, passed)),
                Err(error) => return Err(error),
            };
            if self.settling > 0 {
                self.settling -= 1;
                passed.stale += 1;
                continue;
            }
            match self.judge(&set, request.not_before) {
                None => passed.partial += 1,
                Some((Verdict::Stale, ..)) => passed.stale += 1,
                Some((Verdict::Apart, ..)) => passed.apart += 1,
                Some((Verdict::Clocks, ..)) => passed.clocks += 1,
                Some((Verdict::Usable(times), color, depth)) => {
                    let discarded_stale = drained + passed.stale;
                    let waiting = Waiting { set, times, color, depth, discarded_stale };
                    return Ok(self.keep(waiting, request.deadline));
                }
            }
        }
    }

    fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        match self.waiting.remove(&exposed.ticket) {
            Some(waiting) => self.develop(exposed.ticket, waiting),
            None => {
                let what =
                    format!("exposure {} was fetched already, never made, or is too old", exposed.ticket);
                Err(self.unsupported(what))
            }
        }
    }

    fn preview(&mut self, _deadline: Instant) -> Result<Option<Frame>, CameraError> {
        let mut latest = None;
        while let Some(set) = self.take()? {
            latest = Some(set);
        }
        let Some(color) = latest.and_then(|set| set.frames_of_type::<ColorFrame>().pop()) else {
            return Ok(None);
        };
        let exposure = frameset::color_exposure(&color, &self.controls);
        let taken = Taken { start: Instant::now(), exposure, source: TimeSource::Arrival };
        let data = frameset::pixels(&color, PixelFormat::Rgb8).map_err(|what| self.corrupt(what))?;
        Ok(Some(self.frame(&color, (StreamKind::Color, data), 0, &taken)))
    }

    fn info(&self) -> CameraInfo {
        let Identity { model, serial, firmware, .. } = self.identity.clone();
        let tried = is_tried(NAME, &model);
        CameraInfo {
            driver: NAME,
            id: serial,
            model,
            size_max: self.stream.as_ref().map(|stream| stream.size).unwrap_or_default(),
            firmware,
            can: Abilities { depth: true, ..Abilities::default() },
            tried,
            remaining: None,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.waiting.clear();
        self.stop();
    }
}

/// Whether an automatic exposure has come to rest.
#[derive(Debug, Default)]
struct Steady {
    last_us: f64,
    sets: u32,
}

impl Steady {
    /// Whether the last sets were alike, with this one whose shutter time is `us`. One that is not told never is.
    fn is_after(&mut self, us: Option<f64>) -> bool {
        let alike = us.is_some_and(|us| (us - self.last_us).abs() <= STEADY * us);
        self.sets = if alike { self.sets + 1 } else { 0 };
        self.last_us = us.unwrap_or_default();
        self.sets >= STEADY_SETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_automatic_exposure_has_settled_when_it_stays_the_same() {
        let mut steady = Steady::default();
        let times = [100.0, 200.0, 300.0, 310.0, 312.0, 311.0, 312.0, 312.0, 313.0];
        let settled: Vec<bool> = times.iter().map(|us| steady.is_after(Some(*us))).collect();
        assert_eq!(settled.iter().position(|settled| *settled), Some(8));
        assert!(!steady.is_after(Some(500.0)), "somebody switched a lamp on");
        let mut untold = Steady::default();
        assert!((0..50).all(|_| !untold.is_after(None)));
    }
}
