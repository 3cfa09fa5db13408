//! Video4Linux cameras that are not there. Loaded with `LD_PRELOAD`, this stands between a program and the C library:
//! what would go to `/dev/video*`, `/dev/v4l` and `/sys/class/video4linux` goes to the same paths below the folder that
//! `TURNSTAGE_FAKE_V4L2` names, and requests to a node are answered by a camera with a queue, controls and a clock.
//!
//! It is a model of the kernel's rules, strict where programs go wrong: a buffer is queued once, frames come in real
//! time whether somebody takes them or not, full queues lose frames, automatic values refuse to be written, and changes
//! show some frames later. `turnstage_hw_tests::fake_v4l2` makes the folder and describes what can be said in it.

#![allow(unsafe_code, reason = "it replaces functions of the C library, which know pointers only")]

mod abi;
mod camera;
mod controls;
mod device;
mod exposing;
mod place;
mod plan;

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The C library's own function of a name.
macro_rules! real {
    ($name:literal as fn($($argument:ty),*) -> $result:ty) => {{
        static FOUND: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
        let mut found = FOUND.load(Ordering::Relaxed);
        if found.is_null() {
            // SAFETY: the name ends with a zero byte; the answer is looked at before it is used.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, concat!($name, "\0").as_ptr().cast()) };
            assert!(!found.is_null(), concat!($name, " is not in this C library"));
            FOUND.store(found, Ordering::Relaxed);
        }
        // SAFETY: it is the function of this name, whose type the C standard or POSIX gives; arguments that a variadic
        // function is not given are passed in registers and not read.
        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>(found) }
    }};
}

fn fail(number: c_int) -> c_int {
    // SAFETY: the place of this thread's error number is always there.
    unsafe { *libc::__errno_location() = number };
    -1
}

/// The path that is meant instead of this one.
///
/// # Safety
/// `path` is text that ends with a zero byte.
unsafe fn instead(path: *const c_char) -> Option<CString> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    let path = Path::new(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    let there: PathBuf = place::instead(path)?;
    CString::new(there.into_os_string().into_vec()).ok()
}

fn open_any(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let real = real!("open64" as fn(*const c_char, c_int, c_int) -> c_int);
    // SAFETY: what the program passed is passed on, or the text that is meant instead of it.
    let Some(there) = (unsafe { instead(path) }) else { return unsafe { real(path, flags, mode) } };
    let name = Path::new(std::ffi::OsStr::from_bytes(there.to_bytes())).file_name().unwrap_or_default();
    let node = place::node(&name.to_string_lossy());
    if let Some(number) = node.as_ref().and_then(|node| node.refuses("open")) {
        return fail(number);
    }
    // SAFETY: the text ends with a zero byte.
    let fd = unsafe { real(there.as_ptr(), flags, mode) };
    if let (Some(node), true) = (node, fd >= 0) {
        device::open(fd, node);
    }
    fd
}

/// `open` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    open_any(path, flags, mode)
}

/// `open64` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    open_any(path, flags, mode)
}

/// `opendir` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn opendir(path: *const c_char) -> *mut c_void {
    let real = real!("opendir" as fn(*const c_char) -> *mut c_void);
    // SAFETY: passed on, or the text that is meant instead.
    unsafe { instead(path).map_or_else(|| real(path), |there| real(there.as_ptr())) }
}

/// `realpath` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realpath(path: *const c_char, into: *mut c_char) -> *mut c_char {
    let real = real!("realpath" as fn(*const c_char, *mut c_char) -> *mut c_char);
    // SAFETY: passed on, or the text that is meant instead.
    unsafe { instead(path).map_or_else(|| real(path, into), |there| real(there.as_ptr(), into)) }
}

/// `close` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let refused = device::close(fd);
    let real = real!("close" as fn(c_int) -> c_int);
    // SAFETY: passed on.
    let closed = unsafe { real(fd) };
    refused.map_or(closed, fail)
}

/// `poll` of the C library; of a camera alone only.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout_ms: c_int) -> c_int {
    if count == 1 && !fds.is_null() {
        // SAFETY: there is one, as the caller says.
        let one = unsafe { &mut *fds };
        if let Some(device) = device::of(one.fd) {
            one.revents = device.poll(timeout_ms);
            return c_int::from(one.revents != 0);
        }
    }
    let real = real!("poll" as fn(*mut libc::pollfd, libc::nfds_t, c_int) -> c_int);
    // SAFETY: passed on.
    unsafe { real(fds, count, timeout_ms) }
}

/// `syscall` of the C library, by which requests to devices are made.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_ioctl
        && let Some(device) = c_int::try_from(a).ok().and_then(device::of)
    {
        // SAFETY: the request says how many bytes its argument has, as for the kernel.
        let answer = unsafe { device.request(b as u64, c as *mut c_void) };
        return answer.map_or_else(|number| fail(number).into(), |()| 0);
    }
    let real = real!("syscall" as fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long);
    // SAFETY: passed on.
    unsafe { real(number, a, b, c, d, e, f) }
}
