//! What a camera is and what goes wrong with it, read from `cameras/NAME` below the folder: one word and its value a
//! line.

use std::collections::BTreeMap;

use libc::c_int;

/// Who stamps frames, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// At the start of exposure, and says so.
    Start,
    /// When the frame is complete.
    End,
    /// Nobody: no flag, and a number that means nothing.
    None,
    /// Flagged as monotonic, an hour in the future.
    Future,
}

/// A camera's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    pub card: String,
    pub formats: Vec<[u8; 4]>,
    pub sizes: Vec<(u32, u32)>,
    pub fps: u32,
    pub stamp: Stamp,
    /// Frames until a changed control shows.
    pub latency: usize,
    /// What automatic exposure comes to, in steps of 100 microseconds.
    pub metered: i32,
    /// What automatic white balance comes to, in kelvin.
    pub white: i32,
    /// Has controls at all.
    pub controls: bool,
    /// Has one more control, of a type that nobody knows.
    pub unknown_type: bool,
    /// Keeps this control as it is, whatever is written.
    pub ignores: Option<String>,
    /// Answers this size, whatever is asked.
    pub answer: Option<(u32, u32)>,
    /// Requests that fail: error number and how often, by name.
    refuse: BTreeMap<String, (c_int, u32)>,
    /// The frame, counted from 1 over the life of the program, at which something goes wrong.
    faults: BTreeMap<String, u64>,
    /// Every answer about a frame is random.
    pub chaos: Option<u64>,
}

impl Plan {
    pub fn read(text: &str) -> Plan {
        let mut plan = Plan {
            card: "Fake Camera".to_owned(),
            formats: vec![*b"MJPG", *b"YUYV", *b"NV12", *b"H264"],
            sizes: Vec::new(),
            fps: 30,
            stamp: Stamp::Start,
            latency: 2,
            metered: 157,
            white: 4650,
            controls: true,
            unknown_type: false,
            ignores: None,
            answer: None,
            refuse: BTreeMap::new(),
            faults: BTreeMap::new(),
            chaos: None,
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            assert!(plan.take(word, value.trim()).is_some(), "the plan of a fake camera says \"{line}\"");
        }
        if plan.sizes.is_empty() {
            plan.sizes = vec![(320, 240), (640, 480)];
        }
        plan
    }

    fn take(&mut self, word: &str, value: &str) -> Option<()> {
        match word {
            "card" => value.clone_into(&mut self.card),
            "formats" => {
                self.formats =
                    value.split(' ').map(|f| f.as_bytes().try_into().ok()).collect::<Option<_>>()?;
            }
            "size" => self.sizes.push(size(value)?),
            "fps" => self.fps = value.parse().ok().filter(|fps| *fps > 0)?,
            "stamp" => {
                self.stamp = match value {
                    "start" => Stamp::Start,
                    "end" => Stamp::End,
                    "none" => Stamp::None,
                    "future" => Stamp::Future,
                    _ => return None,
                }
            }
            "latency" => self.latency = value.parse().ok()?,
            "metered" => self.metered = value.parse().ok()?,
            "white" => self.white = value.parse().ok()?,
            "no-controls" => self.controls = false,
            "unknown-type" => self.unknown_type = true,
            "ignores" => self.ignores = Some(value.to_owned()),
            "answer" => self.answer = Some(size(value)?),
            "refuse" => {
                let mut words = value.split(' ');
                let (name, number) = (words.next()?, number(words.next()?)?);
                let times = words.next().map_or(Some(u32::MAX), |times| times.parse().ok())?;
                self.refuse.insert(name.to_owned(), (number, times));
            }
            "fault" => {
                let (name, frame) = value.split_once(' ')?;
                self.faults.insert(name.to_owned(), frame.parse().ok()?);
            }
            "chaos" => self.chaos = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// The error that a request is to fail with, as often as the plan says.
    pub fn refuses(&mut self, request: &str) -> Option<c_int> {
        let (number, times) = self.refuse.get_mut(request).filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(*number)
    }

    /// Whether this goes wrong with this frame.
    pub fn fault(&self, name: &str, frame: u64) -> bool {
        self.faults.get(name) == Some(&frame)
    }

    /// Whether this damages this frame; four in a row, so that one of them is waited for.
    pub fn damage(&self, name: &str, frame: u64) -> bool {
        self.faults.get(name).is_some_and(|first| (*first..*first + 4).contains(&frame))
    }
}

fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

fn number(name: &str) -> Option<c_int> {
    let numbers = [
        ("EACCES", libc::EACCES),
        ("EBUSY", libc::EBUSY),
        ("EINVAL", libc::EINVAL),
        ("EIO", libc::EIO),
        ("ENODEV", libc::ENODEV),
        ("ENOSPC", libc::ENOSPC),
    ];
    numbers.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}
