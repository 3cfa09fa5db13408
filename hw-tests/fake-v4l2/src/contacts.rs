//! Open files of keyboards and of GPIO chips and lines: which is which, and when its plug was pulled.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use libc::c_int;

use crate::camera::hold;
use crate::keyboard::Keyboard;
use crate::lines::{Chip, Line};
use crate::place;

/// Files that a program can have open.
const FILES_MAX: usize = 4096;
/// Looked at before any lock is taken: the program may be between fork and exec.
static OURS: [AtomicBool; FILES_MAX] = [const { AtomicBool::new(false) }; FILES_MAX];
static OPEN: Mutex<Vec<(c_int, Arc<Contact>)>> = Mutex::new(Vec::new());

pub enum Contact {
    Keyboard(Keyboard),
    Chip(Chip),
    Line(Line),
}

impl Contact {
    /// The node in `/dev` that it hangs on is still there.
    fn is_there(&self) -> bool {
        let node = match self {
            Self::Keyboard(keyboard) => format!("dev/input/{}", keyboard.node),
            Self::Chip(chip) => format!("dev/{}", chip.name),
            Self::Line(line) => format!("dev/{}", line.chip.name),
        };
        place::folder().is_some_and(|folder| folder.join(node).exists())
    }
}

fn slot(fd: c_int) -> Option<&'static AtomicBool> {
    usize::try_from(fd).ok().and_then(|fd| OURS.get(fd))
}

/// What the node at this place below the folder is, once it is open; `None` where it is neither.
pub fn at(there: &Path) -> Option<Contact> {
    let node = std::fs::canonicalize(there).ok()?;
    let dev = std::fs::canonicalize(place::folder()?.join("dev")).ok()?;
    let name = node.file_name()?.to_str()?.to_owned();
    match node.parent()?.strip_prefix(&dev).ok()? {
        below if below == Path::new("input") => Some(Contact::Keyboard(Keyboard::of(name))),
        below if below == Path::new("") && name.starts_with("gpiochip") => Some(Contact::Chip(Chip { name })),
        _ => None,
    }
}

/// It was opened as `fd`.
pub fn open(fd: c_int, contact: Contact) {
    let Some(slot) = slot(fd) else { return };
    hold(&OPEN).push((fd, Arc::new(contact)));
    slot.store(true, Ordering::Release);
}

fn of(fd: c_int) -> Option<Arc<Contact>> {
    slot(fd)?.load(Ordering::Acquire).then_some(())?;
    hold(&OPEN).iter().find(|(open, _)| *open == fd).map(|(_, contact)| contact.clone())
}

/// `fd` is being closed: a grabbed keyboard and a line are free again.
pub fn close(fd: c_int) {
    if of(fd).is_some()
        && let Some(slot) = slot(fd)
    {
        slot.store(false, Ordering::Release);
        hold(&OPEN).retain(|(open, _)| *open != fd);
    }
}

/// Whether `fd` is one of ours whose plug was pulled: nothing can be read of it any more.
pub fn is_gone(fd: c_int) -> bool {
    of(fd).is_some_and(|contact| !contact.is_there())
}

/// Answers a request of one of ours: the answer of `ioctl`, or the error.
///
/// # Safety
/// `argument` points to what the request says.
pub unsafe fn request(fd: c_int, request: u64, argument: *mut c_void) -> Option<Result<c_int, c_int>> {
    let contact = of(fd)?;
    if !contact.is_there() {
        return Some(Err(libc::ENODEV));
    }
    // SAFETY: as the caller promises.
    Some(unsafe {
        match &*contact {
            Contact::Keyboard(keyboard) => keyboard.request(fd, request, argument),
            Contact::Chip(chip) => chip.request(request, argument).map(|()| 0),
            Contact::Line(line) => line.request(request, argument).map(|()| 0),
        }
    })
}

/// The path that a GPIO chip's node has and keeps, however it is asked for.
pub fn chip_path(path: &Path) -> Option<PathBuf> {
    let is_chip = path.parent() == Some(Path::new("/dev")) && path.to_str()?.starts_with("/dev/gpiochip");
    let there = place::instead(path).filter(|_| is_chip)?;
    there.exists().then(|| path.to_owned())
}

/// Number, size and direction are in a request's number: this is the size of its argument.
pub fn size_of_request(request: u64) -> usize {
    (request >> 16 & 0x3fff) as usize
}
