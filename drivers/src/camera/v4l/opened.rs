//! One opened device with its stream: format and controls in force, and one frame after the other.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::kernel::{Filled, Format, Node, Stream};
use super::keys::Keys;
use super::knobs::{Knobs, Trouble, Values};
use super::picture::{Shape, letters};
use super::stamps::{Arrival, Clock, Window, window};
use super::{found, trouble};
use crate::camera::CameraError;

/// Buffers of a stream: enough to lose nothing while a frame is copied, few enough to be taken out quickly.
const BUFFERS: u32 = 4;
/// Assumed where a camera does not tell its rate: slow is the safe side when frames are dated.
const PERIOD: Duration = Duration::from_millis(100);
const PERIOD_MAX: Duration = Duration::from_secs(10);
/// More lost frames than this are a counter that began again.
const LOST_MAX: u32 = 100_000;

/// An opened camera.
pub struct Opened {
    /// `None` until the first frame is asked for. Declared before the node, so that it ends first.
    stream: Option<Stream>,
    node: Arc<Node>,
    /// Today's path.
    pub path: PathBuf,
    /// Its controls.
    pub knobs: Knobs,
    shape: Shape,
    /// Width and height in force.
    pub size: (u32, u32),
    period: Duration,
    /// Controls in force, as read back.
    pub in_force: Values,
    /// What the camera does by itself is in force too: it has no fixed shutter time.
    pub automatic: bool,
    /// Sequence number of the frame before, if it was waited for.
    before: Option<u32>,
}

/// A frame that has come and is still in its buffer.
pub struct Came {
    /// The buffer.
    pub filled: Filled,
    /// When it was exposed, where that is known.
    pub window: Option<Window>,
    /// Frames that were lost just before it.
    pub lost: u32,
}

/// What a camera says of itself when it is opened.
pub struct Told {
    /// Model.
    pub model: String,
    /// Version.
    pub firmware: Option<String>,
    /// Largest size of the format.
    pub size_max: (u32, u32),
}

impl Opened {
    /// Finds the camera, opens it and sets its format; `size` is the largest where nothing is said.
    pub fn open(id: &str, keys: &Keys, size: Option<(u32, u32)>) -> Result<(Opened, Told), CameraError> {
        let wrong = |what: String| CameraError::Unsupported { id: id.to_owned(), what };
        let identity = keys.identity().map_err(wrong)?;
        let (node, found, told) = found::open(id, &identity)?;
        let failed = |doing: &str, e: io::Error| trouble::setting(id, &found.node, doing, &e);
        let (fourcc, offered) = (keys.fourcc().map_err(wrong)?, node.formats());
        if !offered.contains(&fourcc) {
            let offered: Vec<_> = offered.iter().map(letters).collect();
            return Err(wrong(format!(
                "it offers {}, not {}; set format",
                offered.join(", "),
                letters(&fourcc)
            )));
        }
        let sizes = node.sizes(fourcc);
        let largest = sizes.iter().copied().max_by_key(|(w, h)| u64::from(*w) * u64::from(*h));
        let size = size.or(largest).ok_or_else(|| wrong("it tells no size; set size".to_owned()))?;
        let doing = format!("{} of {}x{}", letters(&fourcc), size.0, size.1);
        let format = node.set_format(fourcc, size).map_err(|e| failed(&doing, e))?;
        let shape = agreed(&format, fourcc, size, &sizes).map_err(wrong)?;
        let period = rate(&node, keys.fps).map_err(|e| failed("fps", e))?.map_err(wrong)?;
        let knobs = Knobs::of(&node, keys);
        let firmware = found.firmware;
        let opened = Opened {
            stream: None,
            node: Arc::new(node),
            path: found.node,
            in_force: Values::default(),
            automatic: true,
            knobs,
            shape,
            size,
            period,
            before: None,
        };
        Ok((opened, Told { model: told.card, firmware, size_max: largest.unwrap_or(size) }))
    }

    /// The device, for its controls.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Holds the camera to `values` and reads back what is in force.
    pub fn lock(&mut self, values: &Values) -> Result<(), Trouble> {
        self.knobs.lock(&self.node, values)?;
        self.in_force = self.knobs.read(&self.node);
        self.automatic = values.exposure.is_none();
        Ok(())
    }

    /// Shutter time for the purpose of dating a frame.
    fn shutter(&self) -> Duration {
        let us = self
            .in_force
            .exposure
            .filter(|_| !self.automatic)
            .map(|steps| u64::from(steps.unsigned_abs()) * 100);
        us.map_or(self.period, Duration::from_micros)
    }

    /// Begins to stream, if it does not yet.
    ///
    /// # Errors
    /// Those of the kernel, `ENOSPC` where the bus has no bandwidth left.
    pub fn start(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            self.stream = Some(Stream::start(self.node.clone(), BUFFERS)?);
            self.before = None;
        }
        Ok(())
    }

    /// The next frame, or `None` at the deadline, or when nothing at all came for `limit`.
    pub fn next(&mut self, deadline: Instant, limit: Duration) -> io::Result<Option<Came>> {
        self.start()?;
        let Some(stream) = &self.stream else { return Ok(None) };
        let begun = Instant::now();
        let until = deadline.min(begun + limit);
        let lay_there = self.node.wait(Duration::ZERO)?;
        let mut ready = lay_there;
        while !ready {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            ready = self.node.wait(left)?;
        }
        let filled = stream.dequeue()?;
        let clock = Clock::read();
        let arrival = Arrival { waited_from: (!lay_there).then_some(begun), at: clock.instant };
        let shutter = self.shutter();
        let window = window(&filled, arrival, &clock, self.period.max(shutter), shutter);
        // What fell out while nobody looked was not lost on the way.
        let gap = self.before.map(|before| filled.sequence.wrapping_sub(before).wrapping_sub(1));
        self.before = (!lay_there).then_some(filled.sequence);
        Ok(Some(Came { filled, window, lost: gap.filter(|gap| *gap < LOST_MAX).unwrap_or_default() }))
    }

    /// The bytes of a frame, `None` if the device's answer cannot be.
    pub fn copy(&self, came: &Came) -> Option<Vec<u8>> {
        self.stream.as_ref()?.copy(&came.filled)
    }

    /// Gives a frame's buffer back to be filled again.
    pub fn give_back(&self, came: &Came) -> io::Result<()> {
        self.stream.as_ref().map_or(Ok(()), |stream| stream.queue(came.filled.index))
    }

    /// How buffers are pictures.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Compares what was asked for with what the device made of it.
fn agreed(format: &Format, fourcc: [u8; 4], size: (u32, u32), sizes: &[(u32, u32)]) -> Result<Shape, String> {
    if (format.fourcc, format.size) != (fourcc, size) {
        let sizes: Vec<_> = sizes.iter().map(|(w, h)| format!("{w}x{h}")).collect();
        return Err(format!(
            "asked for {} of {}x{}, it answered {} of {}x{}; it offers {}",
            letters(&fourcc),
            size.0,
            size.1,
            letters(&format.fourcc),
            format.size.0,
            format.size.1,
            sizes.join(", ")
        ));
    }
    Shape::of(format)
}

/// Sets the frame rate, if one is asked for; the time from frame to frame, or what the camera does instead.
fn rate(node: &Node, fps: Option<u32>) -> io::Result<Result<Duration, String>> {
    if let Some(fps) = fps {
        node.set_rate(fps)?;
    }
    let told = node.interval().filter(|interval| *interval <= PERIOD_MAX);
    let Some(fps) = fps else { return Ok(Ok(told.unwrap_or(PERIOD))) };
    let wanted = Duration::from_secs(1) / fps;
    Ok(match told {
        None => Ok(wanted.max(PERIOD)),
        Some(interval) if interval.abs_diff(wanted) <= wanted / 20 => Ok(interval),
        Some(interval) => {
            let instead = 1.0 / interval.as_secs_f64();
            Err(format!("fps = {fps}: it answered {instead:.1} at this size and format"))
        }
    })
}
