//! What is asked of the kernel, each call with its types: the only place that speaks ioctl and maps memory.
//!
//! Of the `v4l` crate this takes the opened device, the layouts, the numbers of the calls and the calls themselves.
//! Its streams and lists are not used: they wait for ever, queue a buffer twice after a time-out, and panic on names
//! that are not UTF-8, on colour spaces and types of controls that they do not know, and while they are closed.

#![allow(unsafe_code, reason = "ioctl and mmap have no safe form; every use says why it is sound")]

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit, size_of};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use ::v4l::Device;
use ::v4l::v4l_sys as sys;
use ::v4l::v4l2::{self, vidioc};
use rustix::io::{FdFlags, fcntl_setfd};

/// `POLLIN`, which Linux has in common for all its machines.
const READABLE: i16 = 1;
/// Shared and for reading, likewise.
const PROT_READ: i32 = 1;
const MAP_SHARED: i32 = 1;
/// A list that a device never ends is cut here.
const ENTRIES_MAX: u32 = 512;
const CAPTURE: u32 = sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
const MMAP: u32 = sys::v4l2_memory_V4L2_MEMORY_MMAP;

/// Four letters that name a format, `MJPG`.
pub type FourCc = [u8; 4];

/// An open device node.
pub struct Node {
    device: ManuallyDrop<Device>,
}

/// What a node says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Model.
    pub card: String,
    /// It gives pictures, in one plane, by mapped buffers. A UVC camera's second node gives descriptions only.
    pub captures: bool,
}

/// A format as the device answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// How pixels are written.
    pub fourcc: FourCc,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Bytes from one row to the next, 0 where the device does not say.
    pub stride: u32,
    /// Luma goes from 0 to 255, not from 16 to 235.
    pub full_range: bool,
    /// Rows come in two halves, taken one after the other.
    pub interlaced: bool,
}

/// One knob of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its number in the kernel's headers, `V4L2_CID_…`.
    pub id: u32,
    /// Its name as `v4l2-ctl` writes it, `exposure_time_absolute`.
    pub name: String,
    /// Range and step of the value.
    pub min: i32,
    /// See `min`.
    pub max: i32,
    /// See `min`; at least 1.
    pub step: i32,
    /// `V4L2_CTRL_FLAG_…`
    pub flags: u32,
}

/// A buffer that the device has filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Which buffer.
    pub index: u32,
    /// Bytes of it that are filled, as the device says.
    pub used: u32,
    /// `V4L2_BUF_FLAG_…`
    pub flags: u32,
    /// Seconds and microseconds of the time stamp.
    pub stamp: (i64, i64),
    /// Number of the frame since the stream began; it jumps where frames were lost.
    pub sequence: u32,
}

impl Node {
    /// Opens a node for reading and setting; never waits. Programs that are started later do not get it.
    pub fn open(path: &Path) -> io::Result<Node> {
        let node = Node { device: ManuallyDrop::new(Device::with_path(path)?) };
        fcntl_setfd(node.borrowed(), FdFlags::CLOEXEC)?;
        Ok(node)
    }

    fn borrowed(&self) -> BorrowedFd<'_> {
        // SAFETY: the device owns the descriptor and keeps it open as long as the borrow of the node lasts.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    /// Asks `request` about `argument`, which is written back.
    fn ask<T: Plain>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        // The request itself says how many bytes the kernel reads and writes.
        let bytes = (request >> 16) & 0x3fff;
        if usize::try_from(bytes).ok() != Some(size_of::<T>()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: `argument` is a live value of the size that the kernel takes from the request, and any bytes
        // are a value of it, because it is `Plain`. Mapped buffers are named by their
        // number, so that the kernel follows no pointer.
        unsafe { v4l2::ioctl(self.fd(), request, std::ptr::from_mut(argument).cast()) }
    }

    fn fd(&self) -> i32 {
        self.device.handle().fd()
    }

    /// What it is.
    pub fn capability(&self) -> io::Result<Capability> {
        let mut told: sys::v4l2_capability = zeroed();
        self.ask(vidioc::VIDIOC_QUERYCAP, &mut told)?;
        let wanted = sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_STREAMING;
        Ok(Capability { card: text(&told.card), captures: told.device_caps & wanted == wanted })
    }

    /// Formats that it offers.
    pub fn formats(&self) -> Vec<FourCc> {
        let mut found = Vec::new();
        for index in 0..ENTRIES_MAX {
            let mut told = sys::v4l2_fmtdesc { index, type_: CAPTURE, ..zeroed() };
            if self.ask(vidioc::VIDIOC_ENUM_FMT, &mut told).is_err() {
                break;
            }
            found.push(told.pixelformat.to_le_bytes());
        }
        found
    }

    /// Sizes that it offers in a format; of a range of sizes, the largest.
    pub fn sizes(&self, fourcc: FourCc) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for index in 0..ENTRIES_MAX {
            let pixel_format = u32::from_le_bytes(fourcc);
            let mut told = sys::v4l2_frmsizeenum { index, pixel_format, ..zeroed() };
            if self.ask(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut told).is_err() {
                break;
            }
            // SAFETY: both members are plain numbers, for which any bytes are a value.
            let (one, range) = unsafe { (told.__bindgen_anon_1.discrete, told.__bindgen_anon_1.stepwise) };
            let discrete = told.type_ == sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE;
            found.push(if discrete { (one.width, one.height) } else { (range.max_width, range.max_height) });
        }
        found
    }

    /// Asks for a format; what the device made of it.
    pub fn set_format(&self, fourcc: FourCc, size: (u32, u32)) -> io::Result<Format> {
        let mut told = sys::v4l2_format { type_: CAPTURE, ..zeroed() };
        told.fmt.pix = sys::v4l2_pix_format {
            width: size.0,
            height: size.1,
            pixelformat: u32::from_le_bytes(fourcc),
            field: sys::v4l2_field_V4L2_FIELD_NONE,
            ..zeroed()
        };
        self.ask(vidioc::VIDIOC_S_FMT, &mut told)?;
        // SAFETY: the member is plain numbers, for which any bytes are a value.
        let pix = unsafe { told.fmt.pix };
        let full = sys::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE;
        let by_default = pix.quantization == sys::v4l2_quantization_V4L2_QUANTIZATION_DEFAULT
            && pix.colorspace == sys::v4l2_colorspace_V4L2_COLORSPACE_JPEG;
        Ok(Format {
            fourcc: pix.pixelformat.to_le_bytes(),
            size: (pix.width, pix.height),
            stride: pix.bytesperline,
            full_range: pix.quantization == full || by_default,
            interlaced: pix.field > sys::v4l2_field_V4L2_FIELD_NONE,
        })
    }

    /// Time from one frame to the next, where the device tells it.
    pub fn interval(&self) -> Option<Duration> {
        let mut told = sys::v4l2_streamparm { type_: CAPTURE, ..zeroed() };
        self.ask(vidioc::VIDIOC_G_PARM, &mut told).ok()?;
        // SAFETY: the member is plain numbers, for which any bytes are a value.
        let interval = unsafe { told.parm.capture.timeperframe };
        let seconds = f64::from(interval.numerator) / f64::from(interval.denominator);
        (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }

    /// Asks for so many frames a second; [`Self::interval`] tells what became of it.
    pub fn set_rate(&self, per_second: u32) -> io::Result<()> {
        let mut told = sys::v4l2_streamparm { type_: CAPTURE, ..zeroed() };
        let timeperframe = sys::v4l2_fract { numerator: 1, denominator: per_second };
        told.parm.capture = sys::v4l2_captureparm { timeperframe, ..zeroed() };
        self.ask(vidioc::VIDIOC_S_PARM, &mut told)
    }

    /// Every control with a plain number, bool or menu for a value. Others (areas, arrays, texts) are passed over by
    /// the kernel in this older of its two lists. None at all is an empty list.
    pub fn controls(&self) -> Vec<Control> {
        let mut found: Vec<Control> = Vec::new();
        let mut last = 0;
        for _ in 0..ENTRIES_MAX {
            let mut told = sys::v4l2_queryctrl { id: last | sys::V4L2_CTRL_FLAG_NEXT_CTRL, ..zeroed() };
            // A device that does not go on to the next would be asked for ever.
            if self.ask(vidioc::VIDIOC_QUERYCTRL, &mut told).is_err() || told.id <= last {
                break;
            }
            last = told.id;
            found.push(Control {
                id: told.id,
                name: slug(&text(&told.name)),
                min: told.minimum,
                max: told.maximum,
                step: told.step.max(1),
                flags: told.flags,
            });
        }
        found
    }

    /// Whether a menu has this entry; many have holes.
    pub fn has_entry(&self, id: u32, index: u32) -> bool {
        let mut told = sys::v4l2_querymenu { id, index, ..zeroed() };
        self.ask(vidioc::VIDIOC_QUERYMENU, &mut told).is_ok()
    }

    /// A control's value.
    pub fn control(&self, id: u32) -> io::Result<i32> {
        let mut told = sys::v4l2_control { id, value: 0 };
        self.ask(vidioc::VIDIOC_G_CTRL, &mut told).map(|()| told.value)
    }

    /// Sets a control. The device may take another value than was asked for; read it back.
    pub fn set_control(&self, id: u32, value: i32) -> io::Result<()> {
        self.ask(vidioc::VIDIOC_S_CTRL, &mut sys::v4l2_control { id, value })
    }

    /// Waits up to `limit`, at most a minute, for a filled buffer or a failure; false if neither came.
    pub fn wait(&self, limit: Duration) -> io::Result<bool> {
        // Rounded up, so that a rest of less than a millisecond is no busy loop.
        let ms =
            limit.as_millis().min(60_000) as i32 + i32::from(!limit.subsec_nanos().is_multiple_of(1_000_000));
        match self.device.handle().poll(READABLE, ms) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
            told => told.map(|count| count > 0),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: taken once, here; nobody can use the field after this.
        let device = unsafe { ManuallyDrop::take(&mut self.device) };
        // The crate panics when the kernel reports an error of closing, for which there is nothing left to do.
        drop(catch_unwind(AssertUnwindSafe(move || drop(device))));
    }
}

/// Buffers that a device fills, one after the other. Dropping them ends the stream and never panics.
pub struct Stream {
    node: Arc<Node>,
    maps: Vec<Map>,
}

/// One buffer as this process sees it.
struct Map {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to this mapping alone, whichever thread looks at it.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: address and length are those of a mapping that was made in `Stream::start` and is unmapped once, here;
        // nothing borrows from it, because `Stream::copy` copies. If the kernel refuses, the memory stays mapped.
        unsafe { v4l2::munmap(self.address.as_ptr().cast(), self.length) }.unwrap_or_default();
    }
}

impl Stream {
    /// Asks for `count` buffers, hands them all over and begins.
    pub fn start(node: Arc<Node>, count: u32) -> io::Result<Stream> {
        let mut request = sys::v4l2_requestbuffers { count, type_: CAPTURE, memory: MMAP, ..zeroed() };
        node.ask(vidioc::VIDIOC_REQBUFS, &mut request)?;
        let mut stream = Stream { node, maps: Vec::new() };
        for index in 0..request.count.min(ENTRIES_MAX) {
            let map = stream.map(index)?;
            stream.maps.push(map);
        }
        if stream.maps.is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        for index in 0..stream.maps.len() {
            stream.queue(index as u32)?;
        }
        stream.switch(vidioc::VIDIOC_STREAMON)?;
        Ok(stream)
    }

    fn map(&self, index: u32) -> io::Result<Map> {
        let mut told = buffer(index);
        self.node.ask(vidioc::VIDIOC_QUERYBUF, &mut told)?;
        let length = told.length as usize;
        // SAFETY: the member is a plain number, for which any bytes are a value.
        let offset = unsafe { told.m.offset };
        // SAFETY: the kernel chooses the address, so that no memory of ours is replaced; the mapping is for reading.
        let address = unsafe {
            v4l2::mmap(std::ptr::null_mut(), length, PROT_READ, MAP_SHARED, self.node.fd(), offset.into())
        }?;
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Map { address, length })
    }

    fn switch(&self, request: vidioc::_IOC_TYPE) -> io::Result<()> {
        self.node.ask(request, &mut (CAPTURE as i32))
    }

    /// Hands a buffer over to be filled.
    pub fn queue(&self, index: u32) -> io::Result<()> {
        self.node.ask(vidioc::VIDIOC_QBUF, &mut buffer(index))
    }

    /// Takes the oldest filled buffer; ask [`Node::wait`] before. It is the caller's until it is queued again.
    pub fn dequeue(&self) -> io::Result<Filled> {
        let mut told = buffer(0);
        self.node.ask(vidioc::VIDIOC_DQBUF, &mut told)?;
        Ok(Filled {
            index: told.index,
            used: told.bytesused,
            flags: told.flags,
            stamp: (told.timestamp.tv_sec, told.timestamp.tv_usec),
            sequence: told.sequence,
        })
    }

    /// The filled part of a buffer, or `None` if the device filled more than there is, or a buffer that it was not
    /// given.
    pub fn copy(&self, filled: &Filled) -> Option<Vec<u8>> {
        let map = self.maps.get(filled.index as usize)?;
        let used = filled.used as usize;
        if used > map.length {
            return None;
        }
        let mut bytes = Vec::with_capacity(used);
        // SAFETY: `used` bytes lie within the mapping and within the new memory, which do not overlap. The device has
        // handed the buffer back; should it write all the same, bytes are torn, which is looked for afterwards.
        unsafe {
            std::ptr::copy_nonoverlapping(map.address.as_ptr(), bytes.as_mut_ptr(), used);
            bytes.set_len(used);
        }
        Some(bytes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Errors are those of a device that is gone or broken; closing it is all that is left, and comes next.
        self.switch(vidioc::VIDIOC_STREAMOFF).unwrap_or_default();
        self.maps.clear();
        let mut none = sys::v4l2_requestbuffers { count: 0, type_: CAPTURE, memory: MMAP, ..zeroed() };
        self.node.ask(vidioc::VIDIOC_REQBUFS, &mut none).unwrap_or_default();
    }
}

fn buffer(index: u32) -> sys::v4l2_buffer {
    sys::v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..zeroed() }
}

fn zeroed<T: Plain>() -> T {
    // SAFETY: any bytes are a value of what is `Plain`, zeroes too.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The kernel's structures.
///
/// # Safety
/// Any bytes are a value: numbers, arrays and unions of them, and raw pointers.
unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),*) => {
        // SAFETY: laid out by the kernel's headers of numbers, arrays, unions and raw pointers.
        $(unsafe impl Plain for $name {})*
    };
}

plain!(
    i32,
    sys::v4l2_buffer,
    sys::v4l2_capability,
    sys::v4l2_captureparm,
    sys::v4l2_control,
    sys::v4l2_fmtdesc,
    sys::v4l2_format,
    sys::v4l2_frmsizeenum,
    sys::v4l2_pix_format,
    sys::v4l2_queryctrl,
    sys::v4l2_querymenu,
    sys::v4l2_requestbuffers,
    sys::v4l2_streamparm
);

/// Text that ends at its first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// A control's name in lower case, everything but letters and digits as one `_`.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_controls_are_written_as_by_v4l2_ctl() {
        assert_eq!(slug("White Balance, Automatic"), "white_balance_automatic");
        assert_eq!(slug("Focus (absolute)"), "focus_absolute");
        assert_eq!(text(b"UVC Camera\0rest"), "UVC Camera");
        assert_eq!(text(&[0xff, b'a']), "\u{fffd}a", "not even UTF-8 panics");
    }

    #[test]
    fn a_helper_process_does_not_inherit_a_camera() {
        let node = Node::open(Path::new("/dev/null")).unwrap();
        assert!(rustix::io::fcntl_getfd(node.borrowed()).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn what_is_no_camera_answers_no_question() {
        let null = Path::new("/dev/null");
        let node = Node::open(null).unwrap();
        assert!(node.capability().is_err());
        assert_eq!((node.formats(), node.controls(), node.interval()), (Vec::new(), Vec::new(), None));
        assert!(Stream::start(Arc::new(node), 4).is_err());
        assert!(Node::open(Path::new("/dev/nowhere")).is_err());
    }
}
