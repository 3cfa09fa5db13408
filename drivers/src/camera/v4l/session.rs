//! A Video4Linux camera as a session: sets, warms up, exposes, and gives each frame out once.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use ::v4l::v4l_sys as sys;
use tokio::time::Instant;

use super::keys::Keys;
use super::knobs::{Trouble, Values};
use super::opened::{Came, Opened, Told};
use super::picture::Glance;
use super::stamps::Window;
use super::{NAME, trouble};
use crate::camera::{
    Abilities, Applied, CameraError, CameraInfo, CameraSession, ExposeRequest, Exposed, Settings, Variant,
};
use crate::frame::{Exposure, Frame, FrameData, FrameSet, FrameTime, StreamKind};
use crate::tried;

/// Exposures that may wait to be fetched.
const WAITING_MAX: usize = 8;
/// Frames in a row that look alike before the automatic counts as settled, and how alike: a change of light of one
/// percent is seen.
const STEADY_FRAMES: u32 = 5;
const STEADY: f64 = 0.004;
/// A picture that changes by more than this when its values are locked was not taken with them before.
const ASTRAY: f64 = 0.05;
/// A device that was closed a moment ago may not be free yet.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// A camera of the rig. The device is closed after an error, and found again by the next call.
pub struct Session {
    name: String,
    keys: Keys,
    info: CameraInfo,
    opened: Option<Opened>,
    asked: Settings,
    /// What the camera chose itself while it warmed up; it is held to that.
    metered: Values,
    /// Since when the lens stands and the last frames of another exposure are through.
    moved: Instant,
    changed: Instant,
    skip: u32,
    /// Exposures not fetched yet, by ticket.
    waiting: BTreeMap<u64, Frame>,
    tickets: u64,
    discarded: BTreeMap<u64, u32>,
}

/// A frame taken out of its buffer.
struct Taken {
    data: FrameData,
    window: Window,
    lost: u32,
    stale: u32,
    sequence: u32,
}

impl Session {
    /// Opens a camera, known to the rig as `name`.
    pub fn open(name: &str, keys: Keys, deadline: Instant) -> Result<Session, CameraError> {
        let wrong = |what| CameraError::Unsupported { id: name.to_owned(), what };
        let id = keys.identity().map_err(wrong)?.to_string();
        let (opened, told) = loop {
            match Opened::open(name, &keys, keys.size) {
                Err(CameraError::Busy { .. }) if Instant::now() + BUSY_WAIT < deadline => {
                    thread::park_timeout(BUSY_WAIT);
                }
                other => break other?,
            }
        };
        let info = info(id, &opened, told);
        let now = Instant::now();
        let mut session = Session {
            name: name.to_owned(),
            keys,
            info,
            opened: Some(opened),
            asked: Settings::default(),
            metered: Values::default(),
            moved: now,
            changed: now,
            skip: 0,
            waiting: BTreeMap::new(),
            tickets: 0,
            discarded: BTreeMap::new(),
        };
        session.set()?;
        Ok(session)
    }

    fn unsupported(&self, what: String) -> CameraError {
        CameraError::Unsupported { id: self.name.clone(), what }
    }

    /// The device, opened anew after an error and set as it was.
    fn connect(&mut self) -> Result<&mut Opened, CameraError> {
        if self.opened.is_none() {
            let size = self.asked.size.or(self.keys.size);
            let (opened, told) = Opened::open(&self.name, &self.keys, size)?;
            self.info = info(self.info.id.clone(), &opened, told);
            self.opened = Some(opened);
            if let Err(error) = self.set() {
                // It must not be used with other settings than the session's.
                self.opened = None;
                return Err(error);
            }
        }
        self.opened.as_mut().ok_or_else(|| CameraError::Disconnected { id: self.name.clone() })
    }

    /// Sets every control: what was asked, what was metered where nothing was asked, the camera's own choice elsewhere.
    fn set(&mut self) -> Result<(), CameraError> {
        let Some(opened) = self.opened.as_mut() else { return Ok(()) };
        let before = opened.in_force.focus;
        let mut all = || {
            let wanted = opened.knobs.values(&self.asked)?.or(self.metered);
            opened.knobs.set_others(opened.node(), self.keys.power_line, &self.keys.controls)?;
            opened.knobs.set_quality(opened.node(), self.asked.quality)?;
            opened.lock(&wanted)
        };
        let done = all();
        let turned = opened.in_force.focus != before;
        self.changed(done, if turned { self.keys.focus_time() } else { Duration::ZERO })
    }

    /// Notes that controls were changed, or why not.
    fn changed(&mut self, done: Result<(), Trouble>, focus_time: Duration) -> Result<(), CameraError> {
        match done {
            Ok(()) => {
                self.changed = Instant::now();
                self.moved = self.changed + focus_time;
                self.skip = self.keys.exposure_frames();
                Ok(())
            }
            Err(Trouble::Cannot(what)) => Err(self.unsupported(what)),
            Err(Trouble::Gone) => {
                self.opened = None;
                Err(CameraError::Disconnected { id: self.name.clone() })
            }
        }
    }

    /// Sets what one exposure does otherwise, or sets it back.
    fn vary(&mut self, variant: &Variant) -> Result<(), CameraError> {
        let (asked, metered) = (self.asked, self.metered);
        let opened = self.connect()?;
        let in_force = opened.in_force;
        let wanted = opened.knobs.values(&asked).map(|values| values.or(metered)).and_then(|locked| {
            let exposure = match locked.exposure {
                _ if variant.ev == 0.0 => locked.exposure,
                Some(steps) => Some(opened.knobs.exposure(f64::from(steps) * 100.0 * variant.ev.exp2())?),
                None => {
                    return Err("ev: only a locked shutter time can be varied; set exposure_us".to_owned());
                }
            };
            let focus = variant.focus.map(|share| opened.knobs.focus(share)).transpose()?.or(locked.focus);
            Ok((exposure, focus))
        });
        let (exposure, focus) = wanted.map_err(|what| self.unsupported(what))?;
        let opened = self.connect()?;
        let mut focus_time = Duration::ZERO;
        let mut done = Ok(());
        if exposure.is_some() && exposure != in_force.exposure {
            done = opened.knobs.lock_exposure(opened.node(), exposure);
            opened.in_force.exposure = exposure;
        } else if focus.is_none() || focus == in_force.focus {
            return Ok(());
        }
        if done.is_ok() && focus.is_some() && focus != in_force.focus {
            done = opened.knobs.lock_focus(opened.node(), focus);
            opened.in_force.focus = focus;
            focus_time = self.keys.focus_time();
        }
        self.changed(done, focus_time)
    }

    /// Takes frames out until one is good: exposed at or after `not_before` and with everything in force.
    fn take(&mut self, not_before: Instant, deadline: Instant) -> Result<Taken, CameraError> {
        let begun = Instant::now();
        let limit = self.keys.frame_limit();
        let (mut stale, mut lost) = (0_u32, 0_u32);
        loop {
            self.start()?;
            let (changed, not_before) = (self.changed, not_before.max(self.moved));
            let opened = self.connect()?;
            let came = match opened.next(deadline, limit) {
                Ok(Some(came)) => came,
                Ok(None) => {
                    // Nothing for long: the stream hangs and is begun anew. At the deadline it may be well.
                    if Instant::now() < deadline {
                        self.opened = None;
                    }
                    return Err(CameraError::Timeout { id: self.name.clone(), waited: begun.elapsed() });
                }
                Err(e) => return Err(self.broken(&e)),
            };
            lost = lost.saturating_add(came.lost);
            let after_change = came.window.is_some_and(|window| window.latest >= changed);
            let fresh = came.window.filter(|window| window.earliest >= not_before && after_change);
            let (fresh, settled) = if self.skip > 0 {
                self.skip -= u32::from(after_change);
                (None, false)
            } else {
                (fresh, true)
            };
            let taken = fresh.filter(|_| settled).map(|window| self.out(&came, window, lost, stale));
            if let Err(e) = self.connect()?.give_back(&came) {
                return Err(self.broken(&e));
            }
            match taken {
                Some(taken) => return taken,
                None => stale = stale.saturating_add(1),
            }
        }
    }

    /// Begins to stream, if it does not yet.
    fn start(&mut self) -> Result<(), CameraError> {
        let opened = self.connect()?;
        let (path, started) = (opened.path.clone(), opened.start());
        started.map_err(|e| {
            self.opened = None;
            trouble::setting(&self.name, &path, "the stream cannot begin", &e)
        })
    }

    fn broken(&mut self, error: &std::io::Error) -> CameraError {
        self.opened = None;
        trouble::streaming(&self.name, error)
    }

    /// A frame out of its buffer, or what is damaged about it.
    fn out(&self, came: &Came, window: Window, lost: u32, stale: u32) -> Result<Taken, CameraError> {
        let corrupt = |what: String| CameraError::Corrupt { id: self.name.clone(), what };
        if came.filled.flags & sys::V4L2_BUF_FLAG_ERROR != 0 {
            return Err(corrupt("the kernel marked the frame as damaged on the way".to_owned()));
        }
        let opened = self.opened.as_ref().ok_or_else(|| corrupt("closed meanwhile".to_owned()))?;
        let used = came.filled.used;
        let bytes =
            opened.copy(came).ok_or_else(|| corrupt(format!("{used} bytes in a buffer that has fewer")))?;
        let data = opened.shape().picture(bytes).map_err(corrupt)?;
        Ok(Taken { data, window, lost, stale, sequence: came.filled.sequence })
    }

    fn frame(&mut self, taken: Taken) -> Frame {
        self.tickets += 1;
        let (start, uncertainty) = taken.window.start();
        let exposure = self.opened.as_ref().map_or_else(Exposure::default, |o| o.knobs.told(&o.in_force));
        let path = self.opened.as_ref().map(|opened| opened.path.display().to_string()).unwrap_or_default();
        let meta = [("node", path), ("sequence", taken.sequence.to_string())];
        Frame {
            kind: StreamKind::Color,
            data: taken.data,
            seq: self.tickets,
            lost_before: taken.lost,
            time: FrameTime { start, uncertainty, source: taken.window.source },
            exposure,
            intrinsics: None,
            depth_unit_m: None,
            file_name: None,
            meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
        }
    }

    /// Frames until the picture stands still, as the camera's own choice does; what was seen last.
    fn steady(&mut self, frames: u32, deadline: Instant) -> Result<Option<Glance>, CameraError> {
        let (mut last, mut alike): (Option<Glance>, u32) = (None, 0);
        for _ in 0..frames {
            let data = match self.take(Instant::now() - Duration::from_secs(1), deadline) {
                Ok(taken) => taken.data,
                Err(CameraError::Corrupt { .. }) => continue,
                // What there is must do, if there is anything.
                Err(CameraError::Timeout { .. }) if last.is_some() => break,
                Err(error) => return Err(error),
            };
            let Some(seen) = Glance::at(&data) else { continue };
            let still = last.as_ref().is_some_and(|last| last.difference(&seen) < STEADY);
            alike = if still { alike + 1 } else { 0 };
            last = Some(seen);
            if alike >= STEADY_FRAMES {
                break;
            }
        }
        Ok(last)
    }
}

impl CameraSession for Session {
    fn apply(&mut self, settings: &Settings, _deadline: Instant) -> Result<Applied, CameraError> {
        let other = settings.size.is_some_and(|size| self.opened.as_ref().is_none_or(|o| o.size != size));
        self.asked = *settings;
        if other {
            // A format can be changed only while nothing streams.
            self.opened = None;
        }
        if self.opened.is_some() {
            self.set()?;
        }
        let opened = self.connect()?;
        Ok(Applied { requested: *settings, exposure: opened.knobs.told(&opened.in_force), size: opened.size })
    }

    /// Lets the camera choose what is not asked for, until the picture stands still, and holds it to that.
    fn warm_up(&mut self, deadline: Instant) -> Result<(), CameraError> {
        self.metered = Values::default();
        self.connect()?;
        self.set()?;
        let before = self.steady(self.keys.warm_up_frames(), deadline)?;
        let asked = self.asked;
        let opened = self.connect()?;
        let metered = opened.knobs.chosen(opened.knobs.read(opened.node()));
        let all = opened.knobs.values(&asked).map(|values| values.or(metered));
        let free = all.is_ok_and(|all| opened.knobs.values(&asked).is_ok_and(|values| values != all));
        if !free {
            return Ok(());
        }
        self.metered = metered;
        self.set()?;
        let after = self.steady(1, deadline)?;
        let apart = before.zip(after).map_or(0.0, |(before, after)| before.difference(&after));
        if apart > ASTRAY {
            let camera = &self.name;
            let percent = apart * 100.0;
            tracing::warn!(
                camera,
                percent,
                "does not tell what its automatic chose; set exposure_us and wb_kelvin"
            );
        }
        Ok(())
    }

    fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        if self.waiting.len() == WAITING_MAX {
            return Err(
                self.unsupported(format!("{WAITING_MAX} exposures wait to be fetched; fetch one first"))
            );
        }
        self.vary(&request.variant)?;
        let taken = self.take(request.not_before, request.deadline)?;
        let (end, stale) = (taken.window.end, taken.stale);
        let frame = self.frame(taken);
        let (ticket, start) = (self.tickets, frame.time.start);
        self.waiting.insert(ticket, frame);
        self.discarded.insert(ticket, stale);
        Ok(Exposed { ticket, start, end: end.max(start), deadline: request.deadline })
    }

    fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        let ticket = exposed.ticket;
        let stale = self.discarded.remove(&ticket).unwrap_or_default();
        match self.waiting.remove(&ticket) {
            Some(frame) => {
                Ok(FrameSet { frames: vec![frame], max_skew: Duration::ZERO, discarded_stale: stale })
            }
            None => Err(self.unsupported(format!("exposure {ticket} was fetched already, or never made"))),
        }
    }

    fn preview(&mut self, deadline: Instant) -> Result<Option<Frame>, CameraError> {
        let tickets = self.tickets;
        let frame = match self.take(Instant::now(), deadline) {
            Ok(taken) => Some(self.frame(taken)),
            Err(error) if error.is_transient() => None,
            Err(error) => return Err(error),
        };
        // A glance is no exposure.
        self.tickets = tickets;
        Ok(frame)
    }

    fn info(&self) -> CameraInfo {
        self.info.clone()
    }
}

fn info(id: String, opened: &Opened, told: Told) -> CameraInfo {
    let can = Abilities {
        bracket: opened.knobs.sets_exposure(),
        focus: opened.knobs.sets_focus(),
        ..Abilities::default()
    };
    let tried = tried::is_tried(NAME, &told.model);
    let (size_max, firmware) = (told.size_max, told.firmware);
    CameraInfo { driver: NAME, id, model: told.model, size_max, firmware, can, tried, remaining: None }
}
