//! A stills camera behind a helper process, on tokio's clock: it exposes, writes files, tells of them when they are
//! written, and fails as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use crate::camera::helper::Helper;
use crate::camera::helper::wire::{self, Answer, Event, Fault, File, Place, Request, Setting};

use crate::camera::gphoto2::stuck::Resetter;
use crate::camera::helper::session::Starter;

/// Time from the order to the open shutter.
const LAG: Duration = Duration::from_millis(60);
/// Time to write a file.
const WRITING: Duration = Duration::from_millis(200);

/// What goes wrong with the next request of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// The library never comes back.
    Hang,
    /// The helper dies.
    Die,
    /// It says something that is no answer.
    Garble,
    /// It answers another question.
    Nonsense,
    /// It fails and says so.
    Fail(Fault, &'static str),
}

/// What stands there, whoever opens it.
pub struct Dslr {
    pub model: &'static str,
    pub port: String,
    pub settings: BTreeMap<&'static str, Setting>,
    /// Extension and bytes of each file of one exposure.
    pub makes: Vec<(&'static str, Vec<u8>)>,
    /// Pictures that still fit.
    pub room: usize,
    /// By the kind of request.
    pub troubles: VecDeque<(&'static str, Trouble)>,
    /// Settings that it takes without changing them.
    pub stubborn: Vec<&'static str>,
    /// Released shutters.
    pub shots: u32,
    /// Times that it was opened.
    pub opened: u32,
    /// Times that its USB device was reset, and what the kernel says of it.
    pub resets: u32,
    pub reset: Result<(), &'static str>,
    /// Everything written to it.
    pub written: Vec<(String, String)>,
    /// Steps of the lens from its far end.
    pub lens: i64,
    files: Vec<(File, Vec<u8>)>,
    told: VecDeque<(Instant, Event)>,
}

pub fn choice(value: &str, choices: &[&str]) -> Setting {
    let choices = choices.iter().map(|text| (*text).to_owned()).collect();
    Setting { value: value.to_owned(), choices, ..Setting::default() }
}

pub fn text(value: &str) -> Setting {
    Setting { value: value.to_owned(), readonly: true, ..Setting::default() }
}

pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a picture \xff\xd9";

impl Dslr {
    pub fn new(serial: &str) -> Dslr {
        let settings = BTreeMap::from([
            ("serialnumber", text(serial)),
            ("deviceversion", text("1.20")),
            ("batterylevel", text("80%")),
            ("capturetarget", choice("Memory card", &["Internal RAM", "Memory card"])),
            (
                "shutterspeed",
                choice("1/60", &["Bulb", "1/4", "1/15", "1/30", "1/60", "1/125", "1/250", "1/500"]),
            ),
            ("iso", choice("Auto", &["Auto", "100", "200", "400", "800"])),
            ("f-number", choice("f/4", &["f/4", "f/5.6", "f/8", "f/11"])),
            ("whitebalance", choice("Automatic", &["Automatic", "Daylight", "Color Temperature"])),
            (
                "colortemperature",
                Setting {
                    value: "5200".to_owned(),
                    range: Some((2500.0, 10000.0, 10.0)),
                    ..Setting::default()
                },
            ),
            ("imagequality", choice("JPEG Fine", &["JPEG Fine", "NEF+Fine", "NEF (Raw)"])),
        ]);
        Dslr {
            model: "Test DSC T1",
            port: "usb:900,001".to_owned(),
            settings,
            makes: vec![("JPG", JPEG.to_vec())],
            room: 1000,
            troubles: VecDeque::new(),
            stubborn: Vec::new(),
            shots: 0,
            opened: 0,
            resets: 0,
            reset: Ok(()),
            written: Vec::new(),
            lens: 321,
            files: Vec::new(),
            told: VecDeque::new(),
        }
    }

    /// Somebody presses the button at the camera.
    pub fn press(&mut self) {
        self.release(Duration::ZERO);
    }

    fn release(&mut self, open: Duration) {
        self.shots += 1;
        let mut when = Instant::now() + LAG + open;
        if self.room == 0 {
            self.told.push_back((when, Event::Full));
            return;
        }
        self.room -= 1;
        for (extension, bytes) in &self.makes {
            when += WRITING;
            let file = File { folder: "/DCIM".to_owned(), name: format!("T_{:04}.{extension}", self.shots) };
            self.files.push((file.clone(), bytes.clone()));
            self.told.push_back((when, Event::Added { file }));
        }
        self.told.push_back((when, Event::Complete));
    }

    fn write(&mut self, setting: &str, value: &str) -> Answer {
        let failed = |fault, words: &str| Answer::Failed { fault, words: words.to_owned() };
        self.written.push((setting.to_owned(), value.to_owned()));
        let Some(there) = self.settings.get_mut(setting) else {
            return failed(Fault::Unsupported, "Bad parameters");
        };
        if there.readonly
            || (!there.choices.is_empty()
                && there.range.is_none()
                && !there.choices.iter().any(|c| c == value))
        {
            return failed(Fault::Unsupported, "Bad parameters");
        }
        if setting == "manualfocusdrive" {
            self.lens += value.parse::<i64>().unwrap();
            if !(0..=2000).contains(&self.lens) {
                self.lens = self.lens.clamp(0, 2000);
                return failed(Fault::Other, "end of the lens");
            }
        } else if !self.stubborn.contains(&setting) {
            there.value = value.to_owned();
        }
        Answer::Done
    }
}

/// Handle on cameras that share one helper program.
#[derive(Clone)]
pub struct Desk(Arc<Mutex<Vec<Dslr>>>);

impl Desk {
    pub fn of(cameras: Vec<Dslr>) -> Desk {
        Desk(Arc::new(Mutex::new(cameras)))
    }

    /// Looks at or changes the first camera.
    pub fn first<T>(&self, act: impl FnOnce(&mut Dslr) -> T) -> T {
        act(&mut self.0.lock().unwrap()[0])
    }

    /// All cameras.
    pub fn all<T>(&self, act: impl FnOnce(&mut Vec<Dslr>) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub fn starter(&self) -> Starter {
        let desk = self.clone();
        Box::new(move || {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(desk.clone().serve(theirs));
            let (from, into) = tokio::io::split(ours);
            let helper = Helper::over(Box::new(into), Box::new(from));
            Box::pin(async { Ok(helper) })
        })
    }

    pub fn resetter(&self) -> Resetter {
        let desk = self.clone();
        Box::new(move |port, _| {
            let reset = desk.all(|all| {
                let camera = all.iter_mut().find(|camera| camera.port == port)?;
                camera.resets += 1;
                Some(camera.reset.map_err(str::to_owned))
            });
            Box::pin(async { reset })
        })
    }

    async fn serve(self, mut pipe: DuplexStream) {
        let mut open = None;
        let mut lengths = [0; wire::LENGTHS];
        while pipe.read_exact(&mut lengths).await.is_ok() {
            let (head, _) = wire::lengths(lengths, 0).unwrap();
            let mut json = vec![0; head];
            pipe.read_exact(&mut json).await.unwrap();
            let (answer, body) = match self.trouble(&json) {
                Some(Trouble::Hang) => std::future::pending().await,
                Some(Trouble::Die) => return,
                Some(Trouble::Garble) => {
                    pipe.write_all(b"Segmentation fault (core dumped)").await.unwrap();
                    continue;
                }
                Some(Trouble::Nonsense) => (Answer::Opened { preview: false }, Vec::new()),
                Some(Trouble::Fail(fault, words)) => {
                    (Answer::Failed { fault, words: words.to_owned() }, Vec::new())
                }
                None => self.answer(wire::head(&json).unwrap(), &mut open).await,
            };
            pipe.write_all(&wire::message(&answer, body.len()).unwrap()).await.unwrap();
            pipe.write_all(&body).await.unwrap();
        }
    }

    /// The trouble that waits for this kind of request.
    fn trouble(&self, json: &[u8]) -> Option<Trouble> {
        let asked: serde_json::Value = serde_json::from_slice(json).unwrap();
        self.first(|camera| {
            let due = camera.troubles.front().is_some_and(|(kind, _)| asked["ask"] == *kind);
            due.then(|| camera.troubles.pop_front()).flatten().map(|(_, trouble)| trouble)
        })
    }

    async fn answer(&self, request: Request, open: &mut Option<usize>) -> (Answer, Vec<u8>) {
        let bare = |answer| (answer, Vec::new());
        let at = open.unwrap_or(0);
        match request {
            Request::List => self.all(|all| {
                let place = |c: &Dslr| Place { model: c.model.to_owned(), port: c.port.clone() };
                bare(Answer::Cameras { cameras: all.iter().map(place).collect() })
            }),
            Request::Open { place } => self.all(|all| {
                *open = all.iter().position(|camera| camera.port == place.port);
                let camera = &mut all[open.unwrap()];
                camera.opened += 1;
                camera.told.clear();
                bare(Answer::Opened { preview: false })
            }),
            Request::Read { setting } => self.all(|all| match all[at].settings.get(setting.as_str()) {
                Some(setting) => bare(Answer::Setting { setting: setting.clone() }),
                None => {
                    bare(Answer::Failed { fault: Fault::Unsupported, words: "Bad parameters".to_owned() })
                }
            }),
            Request::Write { setting, value } => self.all(|all| bare(all[at].write(&setting, &value))),
            Request::Expose => self.all(|all| {
                let open = super::super::dial::seconds(&all[at].settings["shutterspeed"].value).unwrap();
                all[at].release(Duration::from_secs_f64(open));
                bare(Answer::Done)
            }),
            Request::Event { wait_ms } => {
                let until = Instant::now() + Duration::from_millis(wait_ms.into());
                let next = self.all(|all| all[at].told.front().map(|(when, _)| *when));
                tokio::time::sleep_until(next.unwrap_or(until).min(until)).await;
                let due = |camera: &mut Dslr| camera.told.pop_front_if(|(when, _)| *when <= Instant::now());
                let event = self.all(|all| due(&mut all[at])).map_or(Event::Quiet, |(_, event)| event);
                bare(Answer::Event { event })
            }
            Request::Fetch { file, keep } => self.all(|all| {
                let found = all[at].files.iter().position(|(there, _)| *there == file).unwrap();
                let bytes = all[at].files[found].1.clone();
                if !keep {
                    all[at].files.remove(found);
                }
                (Answer::File { pixels: None }, bytes)
            }),
            other => panic!("{other:?}"),
        }
    }

    /// Files that are still in the first camera.
    pub fn kept(&self) -> usize {
        self.first(|camera| camera.files.len())
    }
}
