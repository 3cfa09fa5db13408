//! Video4Linux cameras that are not there, and keyboards and GPIO lines likewise. Loaded with `LD_PRELOAD`, this stands
//! between a program and the C library: what would go to `/dev/video*`, `/dev/v4l`, `/sys/class/video4linux`, `/dev/input`
//! and `/dev/gpiochip*` goes to the same paths below the folder that `TURNSTAGE_FAKE_V4L2` names, and requests to a node
//! are answered by a camera with a queue, controls and a clock, or by a keyboard, a chip, a line.
//!
//! It is a model of the kernel's rules, strict where programs go wrong: a buffer is queued once, frames come in real
//! time whether somebody takes them or not, full queues lose frames, automatic values refuse to be written, and changes
//! show some frames later. `turnstage_hw_tests::fake_v4l2` and `::fake_contacts` make the folder and describe what can be said in it.

#![allow(unsafe_code, reason = "it replaces functions of the C library, which know pointers only")]

mod abi;
mod camera;
mod contacts;
mod controls;
mod device;
mod exposing;
mod keyboard;
mod lines;
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
    if fd < 0 {
        return fd;
    }
    if let Some(node) = node {
        device::open(fd, node);
    } else if let Some(contact) = contacts::at(Path::new(std::ffi::OsStr::from_bytes(there.to_bytes()))) {
        contacts::open(fd, contact);
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
    // Chips are looked for in all of /dev.
    // SAFETY: text that ends with a zero byte, as the caller says.
    let dev = !path.is_null() && unsafe { CStr::from_ptr(path) } == c"/dev";
    let below = place::folder().filter(|_| dev).map(|folder| folder.join("dev").into_os_string().into_vec());
    let below = below.and_then(|below| CString::new(below).ok());
    // SAFETY: passed on, or the text that is meant instead.
    unsafe { below.or_else(|| instead(path)).map_or_else(|| real(path), |there| real(there.as_ptr())) }
}

/// `realpath` of the C library.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realpath(path: *const c_char, into: *mut c_char) -> *mut c_char {
    let real = real!("realpath" as fn(*const c_char, *mut c_char) -> *mut c_char);
    // SAFETY: text that ends with a zero byte, as the caller says; whoever gives no place for the answer frees it.
    unsafe {
        let asked = (!path.is_null()).then(|| CStr::from_ptr(path).to_bytes());
        let chip = asked.and_then(|asked| contacts::chip_path(Path::new(std::ffi::OsStr::from_bytes(asked))));
        if chip.is_some() && into.is_null() {
            return libc::strdup(path);
        }
    }
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
    contacts::close(fd);
    let real = real!("close" as fn(c_int) -> c_int);
    // SAFETY: passed on.
    let closed = unsafe { real(fd) };
    refused.map_or(closed, fail)
}

/// `read` of the C library: of what is unplugged there is nothing to read.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, into: *mut c_void, count: usize) -> isize {
    if contacts::is_gone(fd) {
        return fail(libc::ENODEV) as isize;
    }
    let real = real!("read" as fn(c_int, *mut c_void, usize) -> isize);
    // SAFETY: passed on.
    unsafe { real(fd, into, count) }
}

/// `ioctl` of the C library, by which requests to keyboards and lines are made.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: u64, argument: *mut c_void) -> c_int {
    // SAFETY: the request says how many bytes its argument has, as for the kernel.
    if let Some(answer) = unsafe { contacts::request(fd, request, argument) } {
        return answer.unwrap_or_else(fail);
    }
    let real = real!("ioctl" as fn(c_int, u64, *mut c_void) -> c_int);
    // SAFETY: passed on.
    unsafe { real(fd, request, argument) }
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
