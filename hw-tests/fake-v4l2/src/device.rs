//! An open node: requests, a strict queue of buffers, and waiting for frames.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use libc::c_int;

use crate::abi;
use crate::camera::hold;
use crate::exposing;
use crate::place::{self, Node};

/// Files that a program can have open.
const FILES_MAX: usize = 4096;
const BUFFERS_MAX: u32 = 32;
/// The largest page of the machines that this runs on.
const PAGE: u32 = 65_536;
/// Looked at before any lock is taken: the program may be between fork and exec.
static OURS: [AtomicBool; FILES_MAX] = [const { AtomicBool::new(false) }; FILES_MAX];
static OPEN: Mutex<Vec<(c_int, Arc<Device>)>> = Mutex::new(Vec::new());

/// What is told of a filled buffer.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The buffer.
    pub index: u32,
    /// The buffer that it says it is.
    pub told: Option<u32>,
    pub used: u32,
    pub flags: u32,
    pub stamp: (i64, i64),
    pub sequence: u32,
}

pub struct State {
    pub fourcc: [u8; 4],
    pub size: (u32, u32),
    pub fps: u32,
    /// Bytes of a buffer.
    pub length: u32,
    /// Buffers there are.
    count: u32,
    /// Those that may be filled, and those that are.
    pub queued: VecDeque<u32>,
    pub done: VecDeque<Answer>,
    /// The number of the stream that runs.
    pub stream: Option<u64>,
    streams: u64,
    gone: bool,
}

pub struct Device {
    pub node: Node,
    fd: c_int,
    pub state: Mutex<State>,
    pub woken: Condvar,
}

fn slot(fd: c_int) -> Option<&'static AtomicBool> {
    usize::try_from(fd).ok().and_then(|fd| OURS.get(fd))
}

/// A node was opened as `fd`.
pub fn open(fd: c_int, node: Node) {
    let Some(slot) = slot(fd) else { return };
    place::note(&node.camera.name, &format!("open {}", node.name));
    node.camera.power_on();
    let (size, fps) = {
        let plan = node.camera.plan();
        (plan.sizes[0], plan.fps)
    };
    let state = State {
        fourcc: *b"MJPG",
        size,
        fps,
        length: 0,
        count: 0,
        queued: VecDeque::new(),
        done: VecDeque::new(),
        stream: None,
        streams: 0,
        gone: false,
    };
    hold(&OPEN).push((fd, Arc::new(Device { node, fd, state: Mutex::new(state), woken: Condvar::new() })));
    slot.store(true, Ordering::Release);
}

/// The device that is open as `fd`.
pub fn of(fd: c_int) -> Option<Arc<Device>> {
    slot(fd)?.load(Ordering::Acquire).then_some(())?;
    hold(&OPEN).iter().find(|(open, _)| *open == fd).map(|(_, device)| device.clone())
}

/// `fd` is being closed; the error that is to be told.
pub fn close(fd: c_int) -> Option<c_int> {
    let device = of(fd)?;
    slot(fd)?.store(false, Ordering::Release);
    hold(&OPEN).retain(|(open, _)| *open != fd);
    device.end();
    // The thread that exposes may hold the file a moment longer.
    device.lock(false);
    place::note(&device.node.camera.name, &format!("close {}", device.node.name));
    device.node.refuses("close")
}

impl Device {
    /// The camera was unplugged.
    pub fn go(&self) {
        let mut state = hold(&self.state);
        state.gone = true;
        state.stream = None;
        drop(state);
        self.node.camera.lose_power();
        self.woken.notify_all();
    }

    fn end(&self) {
        let mut state = hold(&self.state);
        state.stream = None;
        state.queued.clear();
        state.done.clear();
        drop(state);
        self.woken.notify_all();
    }

    /// Waits as `poll` does; its flags.
    pub fn poll(&self, timeout_ms: c_int) -> i16 {
        assert!(timeout_ms >= 0, "a program waits for a camera without a limit, which may be for ever");
        let until = exposing::now() + Duration::from_millis(timeout_ms.unsigned_abs().into());
        let mut state = hold(&self.state);
        loop {
            if state.gone || !self.node.is_there() {
                return libc::POLLERR | libc::POLLHUP;
            }
            // Nothing will ever come.
            if state.stream.is_none() || (state.queued.is_empty() && state.done.is_empty()) {
                return libc::POLLERR;
            }
            if !state.done.is_empty() {
                return libc::POLLIN;
            }
            let left = until.saturating_sub(exposing::now());
            if left.is_zero() {
                return 0;
            }
            state = match self.woken.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(broken) => broken.into_inner().0,
            };
        }
    }

    /// Answers a request.
    ///
    /// # Safety
    /// `argument` points to what the request says.
    pub unsafe fn request(self: &Arc<Self>, request: u64, argument: *mut c_void) -> Result<(), c_int> {
        if hold(&self.state).gone || !self.node.is_there() {
            return Err(libc::ENODEV);
        }
        // SAFETY: each request has its own structure, as the caller promises.
        unsafe {
            match request {
                abi::QUERYCAP => self.capability(&mut *argument.cast()),
                abi::QUERYCTRL => self.node.camera.controls().query(&mut *argument.cast()),
                abi::QUERYMENU => {
                    let menu: &mut abi::QueryMenu = &mut *argument.cast();
                    self.node.camera.controls().menu(menu.id, menu.index)
                }
                abi::G_CTRL => {
                    let control: &mut abi::Control = &mut *argument.cast();
                    control.value = self.node.camera.controls().get(control.id)?;
                    Ok(())
                }
                abi::S_CTRL => self.set_control(&*argument.cast()),
                _ if !self.node.captures => Err(libc::ENOTTY),
                abi::ENUM_FMT => self.enumerate_formats(&mut *argument.cast()),
                abi::ENUM_FRAMESIZES => self.enumerate_sizes(&mut *argument.cast()),
                abi::G_FMT => self.format(&mut *argument.cast(), false),
                abi::S_FMT => self.format(&mut *argument.cast(), true),
                abi::G_PARM => self.parameters(&mut *argument.cast(), false),
                abi::S_PARM => self.parameters(&mut *argument.cast(), true),
                abi::REQBUFS => self.request_buffers(&mut *argument.cast()),
                abi::QUERYBUF => self.describe(&mut *argument.cast()),
                abi::QBUF => self.queue(&*argument.cast()),
                abi::DQBUF => self.dequeue(&mut *argument.cast()),
                abi::STREAMON => self.begin(),
                abi::STREAMOFF => {
                    self.refused("streamoff")?;
                    self.end();
                    Ok(())
                }
                _ => Err(libc::ENOTTY),
            }
        }
    }

    fn refused(&self, request: &str) -> Result<(), c_int> {
        self.node.refuses(request).map_or(Ok(()), Err)
    }

    fn note(&self, line: &str) {
        place::note(&self.node.camera.name, line);
    }

    fn capability(&self, told: &mut abi::Capability) -> Result<(), c_int> {
        let kind = if self.node.captures { abi::VIDEO_CAPTURE } else { abi::META_CAPTURE };
        // As in the kernel, the first word is of all nodes together.
        told.capabilities = abi::VIDEO_CAPTURE | abi::META_CAPTURE | abi::STREAMING | abi::DEVICE_CAPS;
        told.device_caps = kind | abi::STREAMING;
        (told.driver, told.card, told.bus) = ([0; 16], [0; 32], [0; 32]);
        told.driver[..8].copy_from_slice(b"uvcvideo");
        let card = self.node.camera.plan().card.clone().into_bytes();
        let length = card.len().min(31);
        told.card[..length].copy_from_slice(&card[..length]);
        told.bus[..8].copy_from_slice(b"usb-fake");
        Ok(())
    }

    fn set_control(&self, control: &abi::Control) -> Result<(), c_int> {
        let value = control.value;
        self.refused("control")?;
        let set = self.node.camera.controls().set(control.id, value);
        match set {
            Ok(name) => self.note(&format!("set {name} = {value}")),
            Err((_, name)) => self.note(&format!("refused {name} = {value}")),
        }
        set.map(drop).map_err(|(number, _)| number)
    }

    fn enumerate_formats(&self, told: &mut abi::FormatEntry) -> Result<(), c_int> {
        let plan = self.node.camera.plan();
        told.fourcc = *plan.formats.get(told.index as usize).ok_or(libc::EINVAL)?;
        Ok(())
    }

    fn enumerate_sizes(&self, told: &mut abi::SizeEntry) -> Result<(), c_int> {
        let plan = self.node.camera.plan();
        if !plan.formats.contains(&told.fourcc) {
            return Err(libc::EINVAL);
        }
        told.kind = 1;
        (told.width, told.height) = *plan.sizes.get(told.index as usize).ok_or(libc::EINVAL)?;
        Ok(())
    }

    fn format(&self, told: &mut abi::Format, set: bool) -> Result<(), c_int> {
        let mut state = hold(&self.state);
        if set {
            self.refused("format")?;
            if state.count > 0 || !self.lock(false) {
                return Err(libc::EBUSY);
            }
            let plan = self.node.camera.plan();
            let known = plan.formats.contains(&told.fourcc);
            state.fourcc = if known { told.fourcc } else { plan.formats[0] };
            let apart = |size: &&(u32, u32)| size.0.abs_diff(told.width) + size.1.abs_diff(told.height);
            let nearest = plan.sizes.iter().min_by_key(apart).copied();
            state.size = plan.answer.or(nearest).unwrap_or((640, 480));
            self.note(&format!("format {}x{}", state.size.0, state.size.1));
        }
        let (width, height) = state.size;
        told.fourcc = state.fourcc;
        (told.width, told.height, told.field) = (width, height, 1);
        told.stride = if &state.fourcc == b"YUYV" { width * 2 } else { 0 };
        // Whole pages, because buffers are mapped from the offset that is a multiple of this.
        told.size = (width * height * 2).next_multiple_of(PAGE);
        (told.colorspace, told.quantization) = (8, 0);
        state.length = told.size;
        Ok(())
    }

    fn parameters(&self, told: &mut abi::StreamParameters, set: bool) -> Result<(), c_int> {
        let mut state = hold(&self.state);
        if set && told.numerator > 0 {
            // Nothing faster than it can.
            state.fps = (told.denominator / told.numerator).clamp(1, self.node.camera.plan().fps);
        }
        (told.capability, told.numerator, told.denominator) = (0x1000, 1, state.fps);
        Ok(())
    }

    /// Takes the camera for this program alone, or tries whether it could and leaves it.
    fn lock(&self, keep: bool) -> bool {
        let take = |how| {
            // SAFETY: a request about a file of ours.
            (unsafe { libc::flock(self.fd, how | libc::LOCK_NB) }) == 0
        };
        let free = take(libc::LOCK_EX);
        if free && !keep {
            take(libc::LOCK_UN);
        }
        free
    }

    fn request_buffers(&self, told: &mut abi::RequestBuffers) -> Result<(), c_int> {
        self.refused(if told.count == 0 { "free" } else { "buffers" })?;
        let mut state = hold(&self.state);
        if state.stream.is_some() || !self.lock(told.count > 0) {
            return Err(libc::EBUSY);
        }
        state.count = told.count.min(BUFFERS_MAX);
        state.queued.clear();
        state.done.clear();
        told.count = state.count;
        let bytes = i64::from(state.count) * i64::from(state.length);
        // SAFETY: a request about a file of ours, which is never made shorter under a mapping.
        if bytes > 0 && unsafe { libc::ftruncate(self.fd, bytes) } != 0 {
            return Err(libc::ENOMEM);
        }
        Ok(())
    }

    fn describe(&self, told: &mut abi::Buffer) -> Result<(), c_int> {
        let state = hold(&self.state);
        if told.index >= state.count {
            return Err(libc::EINVAL);
        }
        told.length = state.length;
        told.offset = u64::from(told.index) * u64::from(state.length);
        Ok(())
    }

    fn queue(&self, told: &abi::Buffer) -> Result<(), c_int> {
        self.refused("queue")?;
        let mut state = hold(&self.state);
        let known = told.index < state.count;
        let twice =
            state.queued.contains(&told.index) || state.done.iter().any(|done| done.index == told.index);
        if !known || twice {
            drop(state);
            self.note(&format!("refused to queue {}", told.index));
            return Err(libc::EINVAL);
        }
        state.queued.push_back(told.index);
        Ok(())
    }

    fn dequeue(&self, told: &mut abi::Buffer) -> Result<(), c_int> {
        self.refused("dequeue")?;
        let mut state = hold(&self.state);
        if state.stream.is_none() {
            return Err(libc::EINVAL);
        }
        let answer = state.done.pop_front().ok_or(libc::EAGAIN)?;
        told.index = answer.told.unwrap_or(answer.index);
        (told.used, told.flags, told.sequence) = (answer.used, answer.flags, answer.sequence);
        (told.seconds, told.micros, told.field) = (answer.stamp.0, answer.stamp.1, 1);
        Ok(())
    }

    fn begin(self: &Arc<Self>) -> Result<(), c_int> {
        self.refused("streamon")?;
        let mut state = hold(&self.state);
        if state.count == 0 || state.stream.is_some() {
            return Err(libc::EINVAL);
        }
        // SAFETY: the file is open, because a request is made of it.
        let file =
            unsafe { BorrowedFd::borrow_raw(self.fd) }.try_clone_to_owned().map_err(|_| libc::EMFILE)?;
        let file = File::from(file);
        assert!(file.as_raw_fd() != self.fd);
        state.streams += 1;
        let (device, stream) = (self.clone(), state.streams);
        state.stream = Some(stream);
        drop(state);
        self.note("stream");
        let run = move || exposing::run(&device, &file, stream);
        std::thread::Builder::new()
            .name("fake camera".to_owned())
            .spawn(run)
            .map(drop)
            .map_err(|_| libc::EAGAIN)
    }
}
