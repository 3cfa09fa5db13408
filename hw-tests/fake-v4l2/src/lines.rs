//! GPIO chips and lines (linux/gpio.h, second version): lines are asked for once, as inputs or as outputs, and what is
//! asked is put through the kernel's checks.
//!
//! `chips/NAME` says of a chip: `label`, `lines 32`, `name 17 GPIO17`, `used 4 button`. `chips/NAME.17` is what stands at
//! line 17: `0`, `1`, or nothing where the wire is open, which the bias decides. While a program has it,
//! `chips/NAME.17.asked` says how: flags, debounce in microseconds, who. Whoever has lines reads edges of the
//! first from a FIFO, into which a test writes them.

use std::ffi::c_void;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use libc::c_int;

use crate::contacts::{self, Contact};
use crate::place;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | 0xb4 << 8 | number
}
const CHIP_INFO: u64 = request(2, 1, size_of::<ChipInfo>());
const LINE_INFO: u64 = request(3, 5, size_of::<LineInfo>());
const GET_LINE: u64 = request(3, 7, size_of::<Wanted>());
const GET_VALUES: u64 = request(3, 14, size_of::<Values>());
const SET_VALUES: u64 = request(3, 15, size_of::<Values>());

const USED: u64 = 1;
const ACTIVE_LOW: u64 = 1 << 1;
const INPUT: u64 = 1 << 2;
const OUTPUT: u64 = 1 << 3;
const EDGES: u64 = 3 << 4;
const DRIVES: u64 = 3 << 6;
const PULL_UP: u64 = 1 << 8;
const BIASES: u64 = 7 << 8;
const KNOWN: u64 = (1 << 13) - 1 - USED;
const ATTRIBUTE_FLAGS: u32 = 1;
const ATTRIBUTE_VALUES: u32 = 2;
const ATTRIBUTE_DEBOUNCE: u32 = 3;

#[repr(C)]
struct ChipInfo {
    name: [u8; 32],
    label: [u8; 32],
    lines: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    id: u32,
    padding: u32,
    value: u64,
}

#[repr(C)]
struct LineInfo {
    name: [u8; 32],
    consumer: [u8; 32],
    offset: u32,
    attribute_count: u32,
    flags: u64,
    attributes: [Attribute; 10],
    padding: [u32; 4],
}

#[repr(C)]
struct Wanted {
    offsets: [u32; 64],
    consumer: [u8; 32],
    flags: u64,
    attribute_count: u32,
    config_padding: [u32; 5],
    attributes: [Setting; 10],
    line_count: u32,
    buffer: u32,
    padding: [u32; 5],
    fd: i32,
}

#[repr(C)]
struct Setting {
    attribute: Attribute,
    /// Lines that it is meant for.
    mask: u64,
}

#[repr(C)]
struct Values {
    bits: u64,
    mask: u64,
}

// The sizes that the kernel's headers give.
const _: () = assert!(
    size_of::<ChipInfo>() == 68
        && size_of::<Attribute>() == 16
        && size_of::<LineInfo>() == 256
        && size_of::<Wanted>() == 592
        && size_of::<Values>() == 16
);

#[derive(Clone)]
pub struct Chip {
    pub name: String,
}

/// Lines that a program has: number and flags of each.
pub struct Line {
    pub chip: Chip,
    all: Vec<(u32, u64)>,
}

impl Drop for Line {
    fn drop(&mut self) {
        for (offset, _) in &self.all {
            std::fs::remove_file(self.chip.file(&format!(".{offset}.asked"))).unwrap_or_default();
        }
    }
}

fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let length = text.len().min(N - 1);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

impl Chip {
    fn file(&self, end: &str) -> PathBuf {
        place::folder().unwrap_or_else(|| "/nowhere".as_ref()).join(format!("chips/{}{end}", self.name))
    }

    /// The rest of the line that begins so.
    fn told(&self, word: &str) -> Option<String> {
        let told = std::fs::read_to_string(self.file("")).ok()?;
        told.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned))
    }

    fn lines(&self) -> u32 {
        self.told("lines").and_then(|lines| lines.parse().ok()).unwrap_or(0)
    }

    /// Who has a line: another program, or this one.
    fn user(&self, offset: u32) -> Option<String> {
        let asked = || std::fs::read_to_string(self.file(&format!(".{offset}.asked"))).ok();
        let who = || asked()?.splitn(3, ' ').nth(2).map(str::to_owned);
        self.told(&format!("used {offset}")).or_else(who)
    }

    /// Answers a request.
    ///
    /// # Safety
    /// `argument` points to what the request says.
    pub unsafe fn request(&self, request: u64, argument: *mut c_void) -> Result<(), c_int> {
        // SAFETY: each request has its own structure, as the caller promises.
        unsafe {
            match request {
                CHIP_INFO => {
                    let label = self.told("label").unwrap_or_default();
                    *argument.cast() =
                        ChipInfo { name: text(&self.name), label: text(&label), lines: self.lines() };
                    Ok(())
                }
                LINE_INFO => self.describe(&mut *argument.cast()),
                GET_LINE => self.give(&mut *argument.cast()),
                _ => Err(libc::ENOTTY),
            }
        }
    }

    fn describe(&self, told: &mut LineInfo) -> Result<(), c_int> {
        if told.offset >= self.lines() || told.padding != [0; 4] {
            return Err(libc::EINVAL);
        }
        let user = self.user(told.offset);
        told.name = text(&self.told(&format!("name {}", told.offset)).unwrap_or_default());
        told.flags = INPUT | if user.is_some() { USED } else { 0 };
        told.consumer = text(&user.unwrap_or_default());
        told.attribute_count = 0;
        Ok(())
    }

    /// Gives lines to a program.
    fn give(&self, wanted: &mut Wanted) -> Result<(), c_int> {
        let offsets = wanted.offsets.get(..wanted.line_count as usize).ok_or(libc::EINVAL)?;
        let attributes = wanted.attributes.get(..wanted.attribute_count as usize).ok_or(libc::EINVAL)?;
        let paddings = wanted.config_padding == [0; 5] && wanted.padding == [0; 5];
        // The first attribute of a kind that is meant for a line counts.
        let of = |id: u32, nth: usize| {
            attributes.iter().find(|one| one.attribute.id == id && one.mask >> nth & 1 != 0)
        };
        let flags = |nth: usize| of(ATTRIBUTE_FLAGS, nth).map_or(wanted.flags, |one| one.attribute.value);
        let debounce_us = |nth: usize| of(ATTRIBUTE_DEBOUNCE, nth).map_or(0, |one| one.attribute.value);
        let possible = |(nth, offset): (usize, &u32)| {
            let of_inputs = debounce_us(nth) == 0 || flags(nth) & INPUT != 0;
            *offset < self.lines() && is_possible(flags(nth)) && of_inputs
        };
        if offsets.is_empty() || !paddings || !offsets.iter().enumerate().all(possible) {
            return Err(libc::EINVAL);
        }
        if offsets.iter().any(|offset| self.user(*offset).is_some()) {
            return Err(libc::EBUSY);
        }
        let all = offsets.iter().enumerate().map(|(nth, offset)| (*offset, flags(nth)));
        let line = Line { chip: self.clone(), all: all.collect() };
        let who = String::from_utf8_lossy(&wanted.consumer);
        for (nth, (offset, flags)) in line.all.iter().enumerate() {
            let asked = format!("{flags} {} {}", debounce_us(nth), who.trim_end_matches('\0'));
            std::fs::write(self.file(&format!(".{offset}.asked")), asked).map_err(|_| libc::ENODEV)?;
            if flags & OUTPUT != 0 {
                let on = of(ATTRIBUTE_VALUES, nth).is_some_and(|one| one.attribute.value >> nth & 1 != 0);
                line.drive(nth, on);
            }
        }
        let edges = std::fs::File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.file(&format!(".{}.edges", offsets[0])));
        wanted.fd = edges.map_err(|_| libc::ENODEV)?.into_raw_fd();
        contacts::open(wanted.fd, Contact::Line(line));
        Ok(())
    }
}

/// Whether the kernel takes these flags together.
fn is_possible(flags: u64) -> bool {
    let (input, output) = (flags & INPUT != 0, flags & OUTPUT != 0);
    let of_inputs = flags & EDGES == 0 || input;
    let of_outputs = flags & DRIVES == 0 || output;
    let biased = flags & BIASES == 0 || input || output;
    flags & !KNOWN == 0
        && input != output
        && of_inputs
        && of_outputs
        && biased
        && (flags & BIASES).count_ones() <= 1
}

impl Line {
    /// What stands at the nth of them now, as its program sees it.
    fn is_active(&self, nth: usize) -> bool {
        let (offset, flags) = self.all[nth];
        let told = std::fs::read_to_string(self.chip.file(&format!(".{offset}"))).unwrap_or_default();
        let high = match told.trim() {
            "" => flags & PULL_UP != 0,
            level => level == "1",
        };
        high != (flags & ACTIVE_LOW != 0)
    }

    fn drive(&self, nth: usize, active: bool) {
        let (offset, flags) = self.all[nth];
        let high = active != (flags & ACTIVE_LOW != 0);
        let file = self.chip.file(&format!(".{offset}"));
        std::fs::write(file, if high { "1" } else { "0" }).unwrap_or_default();
    }

    /// Answers a request.
    ///
    /// # Safety
    /// `argument` points to what the request says.
    pub unsafe fn request(&self, request: u64, argument: *mut c_void) -> Result<(), c_int> {
        let (GET_VALUES | SET_VALUES) = request else { return Err(libc::ENOTTY) };
        // SAFETY: both requests have this structure, as the caller promises.
        let values: &mut Values = unsafe { &mut *argument.cast() };
        let meant: Vec<usize> = (0..self.all.len()).filter(|nth| values.mask >> nth & 1 != 0).collect();
        if meant.is_empty() {
            return Err(libc::EINVAL);
        }
        if request == GET_VALUES {
            values.bits = meant.iter().fold(0, |bits, nth| bits | u64::from(self.is_active(*nth)) << nth);
            return Ok(());
        }
        if meant.iter().any(|nth| self.all[*nth].1 & OUTPUT == 0) {
            return Err(libc::EPERM);
        }
        meant.iter().for_each(|nth| self.drive(*nth, values.bits >> nth & 1 != 0));
        Ok(())
    }
}
