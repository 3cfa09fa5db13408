//! Keyboards and GPIO chips that are not there, in the folder of [`Cameras`]: a program that is started with its
//! environment finds them as real ones. Only whoever made a device can press its keys and move its wires; dropping it
//! pulls its plug.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::fake_v4l2::Cameras;

/// A key goes up or down, as the kernel lays it out after 16 bytes of time.
const KEY: u16 = 1;
/// Events were lost.
const DROPPED: (u16, u16, i32) = (0, 3, 0);

/// A FIFO that is open for writing, so that whoever reads it hears when it is closed.
fn fifo(path: &Path) -> File {
    std::fs::remove_file(path).unwrap_or_default();
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
    // For both, because opening one that nobody reads would wait.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).write(true).custom_flags(flags).open(path).expect("a FIFO to write to")
}

/// A pedal or scanner.
pub struct Keyboard {
    folder: PathBuf,
    node: String,
    link: PathBuf,
    down: RefCell<BTreeSet<u16>>,
    events: File,
}

impl Keyboard {
    /// Plugs one in as `/dev/input/eventN`, with a name below `by-id` that is made of its own. It has these keys.
    pub fn plug(cameras: &Cameras, number: u32, name: &str, serial: &str, keys: &[u16]) -> Self {
        let (folder, node) = (cameras.folder().to_owned(), format!("event{number}"));
        let keys: Vec<String> = keys.iter().map(u16::to_string).collect();
        let told =
            format!("name {name}\nphys usb-1.{number}/input0\nuniq {serial}\nkeys {}\n", keys.join(" "));
        std::fs::write(folder.join("keyboards").join(&node), told).expect("a keyboard");
        let link = folder.join(format!("dev/input/by-id/usb-{}-event-kbd", name.replace(' ', "_")));
        std::fs::remove_file(&link).unwrap_or_default();
        let events = fifo(&folder.join("dev/input").join(&node));
        symlink(Path::new("..").join(&node), &link).expect("a stable name");
        let keyboard = Self { folder, node, link, down: RefCell::default(), events };
        keyboard.tell_down();
        keyboard
    }

    /// Its stable name, as a program finds it.
    pub fn path(&self) -> String {
        let name = self.link.file_name().unwrap_or_default().to_string_lossy();
        format!("/dev/input/by-id/{name}")
    }

    fn tell_down(&self) {
        let down: Vec<String> = self.down.borrow().iter().map(u16::to_string).collect();
        let file = self.folder.join(format!("keyboards/{}.down", self.node));
        std::fs::write(file, down.join(" ")).expect("the keys that are down");
    }

    fn event(&self, (kind, code, value): (u16, u16, i32)) {
        let mut event = [0; 24];
        event[16..18].copy_from_slice(&kind.to_ne_bytes());
        event[18..20].copy_from_slice(&code.to_ne_bytes());
        event[20..].copy_from_slice(&value.to_ne_bytes());
        (&self.events).write_all(&event).expect("room for an event");
    }

    /// Presses a key or lets it go.
    pub fn key(&self, code: u16, down: bool) {
        self.quietly(code, down);
        self.event((KEY, code, i32::from(down)));
        self.event((0, 0, 0));
    }

    /// The same with an event that nobody hears.
    pub fn quietly(&self, code: u16, down: bool) {
        match down {
            true => self.down.borrow_mut().insert(code),
            false => self.down.borrow_mut().remove(&code),
        };
        self.tell_down();
    }

    /// Presses a key and lets it go.
    pub fn stroke(&self, code: u16) {
        self.key(code, true);
        self.key(code, false);
    }

    /// Tells that events were lost, as a kernel does whose queue was full.
    pub fn drop_events(&self) {
        self.event(DROPPED);
    }

    /// Bytes that are no event of this kernel's.
    pub fn garbage(&self, bytes: &[u8]) {
        (&self.events).write_all(bytes).expect("room for bytes");
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        for path in [self.folder.join("dev/input").join(&self.node), self.link.clone()] {
            std::fs::remove_file(path).unwrap_or_default();
        }
    }
}

/// What stands at a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Ground.
    Low,
    /// The supply.
    High,
    /// Nothing: the bias decides.
    Open,
}

/// How a program asked for a line: the kernel's flags, and the time in microseconds within which changes do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// As in `linux/gpio.h`.
    pub flags: u64,
    /// 0 for none.
    pub debounce_us: u64,
}

impl Asked {
    /// It tells edges, of both directions.
    pub const EDGES: u64 = 3 << 4;
    /// Active while it is low.
    pub const ACTIVE_LOW: u64 = 1 << 1;
    /// An input.
    pub const INPUT: u64 = 1 << 2;
    /// An output.
    pub const OUTPUT: u64 = 1 << 3;
    /// An open wire is high.
    pub const PULL_UP: u64 = 1 << 8;
    /// An open wire is low.
    pub const PULL_DOWN: u64 = 1 << 9;
}

/// A chip.
pub struct Chip {
    folder: PathBuf,
    name: String,
    edges: Vec<File>,
    told: Cell<u32>,
}

impl Chip {
    /// Plugs one with eight lines in, as `/dev/gpiochipN`. `more` says `name 3 GPIO3` or `used 4 button`, a line each.
    pub fn plug(cameras: &Cameras, number: u32, label: &str, more: &str) -> Self {
        let (folder, name) = (cameras.folder().to_owned(), format!("gpiochip{number}"));
        let chip = |end: &str| folder.join(format!("chips/{name}{end}"));
        std::fs::write(chip(""), format!("label {label}\nlines 8\n{more}")).expect("a chip");
        let edges = (0..8).map(|line| fifo(&chip(&format!(".{line}.edges")))).collect();
        std::fs::write(folder.join("dev").join(&name), b"").expect("a node");
        Self { folder, name, edges, told: Cell::new(0) }
    }

    fn file(&self, line: u32, end: &str) -> PathBuf {
        self.folder.join(format!("chips/{}.{line}{end}", self.name))
    }

    /// How a program has a line now; `None` while it is free.
    pub fn asked(&self, line: u32) -> Option<Asked> {
        let text = std::fs::read_to_string(self.file(line, ".asked")).ok()?;
        let mut words = text.split(' ').map_while(|word| word.parse().ok());
        Some(Asked { flags: words.next()?, debounce_us: words.next()? })
    }

    /// Whether a line is high, driven or not.
    pub fn is_high(&self, line: u32) -> bool {
        let pulled = self.asked(line).is_some_and(|asked| asked.flags & Asked::PULL_UP != 0);
        match std::fs::read_to_string(self.file(line, "")).unwrap_or_default().as_str() {
            "" => pulled,
            level => level == "1",
        }
    }

    /// Puts a wire there, without an edge that anybody hears.
    pub fn quietly(&self, line: u32, wire: Wire) {
        let level = match wire {
            Wire::Low => "0",
            Wire::High => "1",
            Wire::Open => "",
        };
        std::fs::write(self.file(line, ""), level).expect("what stands at a line");
    }

    /// Puts a wire there; whoever asked for edges hears of a change.
    pub fn wire(&self, line: u32, wire: Wire) {
        let before = self.is_high(line);
        self.quietly(line, wire);
        let now = self.is_high(line);
        let Some(asked) = self.asked(line).filter(|asked| asked.flags & Asked::EDGES != 0) else { return };
        if before == now {
            return;
        }
        self.told.set(self.told.get() + 1);
        let active = now != (asked.flags & Asked::ACTIVE_LOW != 0);
        // Time, which edge (1 begins to be active, 2 ends), line, and its number of all and of this line.
        let (edge, number) = (if active { 1_u32 } else { 2 }, self.told.get());
        let mut event = [0; 48];
        for (at, word) in [(8, edge), (12, line), (16, number), (20, number)] {
            event[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        (&self.edges[line as usize]).write_all(&event).expect("room for an edge");
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        std::fs::remove_file(self.folder.join("dev").join(&self.name)).unwrap_or_default();
    }
}
