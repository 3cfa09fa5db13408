//! An input device (linux/input.h): what it says of itself, which keys are down, and who has grabbed it.
//!
//! Its node is a FIFO, into which a test writes events as the kernel lays them out. `keyboards/NODE` says of it, a word and
//! its value a line: `name`, `phys`, `uniq`, `keys 30 48`; `keyboards/NODE.down` names the keys that are down.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use libc::c_int;

use crate::camera::hold;
use crate::contacts::size_of_request;
use crate::place;

const KEY_EVENTS: u8 = 1;
const VERSION: c_int = 0x01_00_01;

pub struct Keyboard {
    pub node: String,
    grabbed: Mutex<Option<File>>,
}

impl Keyboard {
    pub fn of(node: String) -> Self {
        Self { node, grabbed: Mutex::new(None) }
    }

    fn told(&self, word: &str) -> Option<String> {
        let text = std::fs::read_to_string(place::folder()?.join("keyboards").join(&self.node)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned))
    }

    fn down(&self) -> String {
        let file = place::folder().map(|folder| folder.join(format!("keyboards/{}.down", self.node)));
        file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default()
    }

    /// Answers a request.
    ///
    /// # Safety
    /// `argument` points to what the request says.
    pub unsafe fn request(&self, fd: c_int, request: u64, argument: *mut c_void) -> Result<c_int, c_int> {
        let (kind, number) = ((request >> 8) as u8, request as u8);
        if kind != b'E' {
            return Err(libc::ENOTTY);
        }
        if number == 0x90 {
            return self.grab(!argument.is_null());
        }
        // SAFETY: the request says how many bytes its argument has, as for the kernel.
        let into = unsafe { std::slice::from_raw_parts_mut(argument.cast::<u8>(), size_of_request(request)) };
        match number {
            0x01 => put(into, &VERSION.to_ne_bytes()),
            // Bus, maker, product and version: USB.
            0x02 => put(into, &[3, 0, 0x5e, 4, 1, 0, 0, 1]),
            0x06 => put_text(into, self.told("name")),
            0x07 => put_text(into, self.told("phys")),
            0x08 => put_text(into, self.told("uniq")),
            // It has no special properties.
            0x09 => put(into, &bits("")),
            0x18 => {
                self.forget_keys(fd);
                put(into, &bits(&self.down()))
            }
            0x20 => put(into, &[1 | 1 << KEY_EVENTS]),
            0x21 => put(into, &bits(&self.told("keys").unwrap_or_default())),
            _ => Err(libc::EINVAL),
        }
    }

    fn grab(&self, take: bool) -> Result<c_int, c_int> {
        let mut grabbed = hold(&self.grabbed);
        if !take {
            return grabbed.take().map(|_| 0).ok_or(libc::EINVAL);
        }
        let file = place::folder().map(|folder| folder.join(format!("keyboards/{}.grab", self.node)));
        let file = file.and_then(|file| File::create(file).ok()).ok_or(libc::ENODEV)?;
        // SAFETY: a request about a file of ours; the lock ends with it.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(libc::EBUSY);
        }
        *grabbed = Some(file);
        Ok(0)
    }

    /// Whoever asks which keys are down hears no more of the strokes that wait: the kernel takes them out of the queue.
    fn forget_keys(&self, fd: c_int) {
        let mut waiting = [0_u8; 24 * 64];
        // SAFETY: the buffer has as many bytes as are said; the node was opened so that it does not block.
        while unsafe { libc::read(fd, waiting.as_mut_ptr().cast(), waiting.len()) } > 0 {}
    }
}

/// A bit for each number of the text, as many bytes as the kernel has for keys.
fn bits(numbers: &str) -> [u8; 96] {
    let mut bits = [0; 96];
    for number in numbers.split_whitespace().filter_map(|number| number.parse::<usize>().ok()) {
        if let Some(byte) = bits.get_mut(number / 8) {
            *byte |= 1 << (number % 8);
        }
    }
    bits
}

fn put(into: &mut [u8], bytes: &[u8]) -> Result<c_int, c_int> {
    let length = into.len().min(bytes.len());
    into[..length].copy_from_slice(&bytes[..length]);
    c_int::try_from(length).map_err(|_| libc::EINVAL)
}

fn put_text(into: &mut [u8], text: Option<String>) -> Result<c_int, c_int> {
    let mut bytes = text.ok_or(libc::ENOENT)?.into_bytes();
    bytes.push(0);
    put(into, &bytes)
}
