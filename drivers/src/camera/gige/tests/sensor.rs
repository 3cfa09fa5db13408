//! A machine vision camera behind a helper process: it exposes when it is triggered, keeps its frames until they are
//! fetched, and fails as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use crate::camera::helper::Helper;
use crate::camera::helper::session::Starter;
use crate::camera::helper::wire::{self, Answer, Event, Fault, File, Pixels, Place, Request, Setting};

/// Picture.
const SIZE: (u32, u32) = (8, 4);

/// What goes wrong with the next request of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    Fail(Fault),
    /// It takes the trigger and makes no picture.
    Dark,
    /// A byte of the picture is lost.
    Short,
    /// It says nothing of what the bytes are.
    File,
}

/// The camera, whoever opens it.
pub struct Sensor {
    pub ids: Vec<String>,
    pub settings: BTreeMap<&'static str, Setting>,
    /// By the kind of request.
    pub troubles: VecDeque<(&'static str, Trouble)>,
    /// Exposures.
    pub shots: u32,
    /// Times that it was opened.
    pub opened: u32,
    untold: VecDeque<u32>,
}

impl Sensor {
    /// Makes a picture.
    pub fn expose(&mut self) {
        self.shots += 1;
        self.untold.push_back(self.shots);
    }
}

/// Handle on the cameras of one network.
#[derive(Clone)]
pub struct Rack(Arc<Mutex<Sensor>>);

impl Rack {
    /// One camera that is meant, among those with these ids.
    pub fn of(ids: &[&str]) -> Rack {
        let number = |value: &str, low, high| Setting {
            value: value.to_owned(),
            range: Some((low, high, 1.0)),
            ..Setting::default()
        };
        let settings = BTreeMap::from([
            ("Width", number(&SIZE.0.to_string(), 1.0, 4000.0)),
            ("Height", number(&SIZE.1.to_string(), 1.0, 4000.0)),
            ("ExposureTime", number("10000", 10.0, 1e6)),
            ("Gain", number("0", 0.0, 24.0)),
            ("ExposureAuto", Setting { value: "Off".to_owned(), ..Setting::default() }),
        ]);
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let (troubles, untold) = (VecDeque::new(), VecDeque::new());
        Rack(Arc::new(Mutex::new(Sensor { ids, settings, troubles, shots: 0, opened: 0, untold })))
    }

    /// Looks at or changes the camera.
    pub fn with<T>(&self, act: impl FnOnce(&mut Sensor) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// No camera answers any more.
    pub fn unplug(&self) {
        self.plug(&[]);
    }

    /// These answer now.
    pub fn plug(&self, ids: &[&str]) {
        self.with(|sensor| sensor.ids = ids.iter().map(|id| (*id).to_owned()).collect());
    }

    pub fn starter(&self) -> Starter {
        let rack = self.clone();
        Box::new(move || {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(rack.clone().serve(theirs));
            let (from, into) = tokio::io::split(ours);
            let helper = Helper::over(Box::new(into), Box::new(from));
            Box::pin(async { Ok(helper) })
        })
    }

    async fn serve(self, mut pipe: DuplexStream) {
        let mut lengths = [0; wire::LENGTHS];
        while pipe.read_exact(&mut lengths).await.is_ok() {
            let (head, _) = wire::lengths(lengths, 0).unwrap();
            let mut json = vec![0; head];
            pipe.read_exact(&mut json).await.unwrap();
            let bare = |answer| (answer, Vec::new());
            let trouble = self.trouble(&json);
            let (answer, body) = match trouble {
                Some(Trouble::Hang) => std::future::pending().await,
                Some(Trouble::Die) => return,
                Some(Trouble::Garble) => {
                    pipe.write_all(b"Segmentation fault (core dumped)").await.unwrap();
                    continue;
                }
                Some(Trouble::Nonsense) => bare(Answer::Opened { preview: false }),
                Some(Trouble::Fail(fault)) => bare(Answer::Failed { fault, words: "no luck".to_owned() }),
                Some(Trouble::Dark) => bare(Answer::Done),
                Some(Trouble::Short | Trouble::File) | None => {
                    self.answer(wire::head(&json).unwrap(), trouble).await
                }
            };
            // Whoever asked may be gone by now.
            let said = [wire::message(&answer, body.len()).unwrap(), body].concat();
            if pipe.write_all(&said).await.is_err() {
                return;
            }
        }
    }

    /// The trouble that waits for this kind of request.
    fn trouble(&self, json: &[u8]) -> Option<Trouble> {
        let asked: serde_json::Value = serde_json::from_slice(json).unwrap();
        self.with(|sensor| {
            let due = sensor.troubles.front().is_some_and(|(kind, _)| asked["ask"] == *kind);
            due.then(|| sensor.troubles.pop_front()).flatten().map(|(_, trouble)| trouble)
        })
    }

    async fn answer(&self, request: Request, trouble: Option<Trouble>) -> (Answer, Vec<u8>) {
        let bare = |answer| (answer, Vec::new());
        let lacks = || Answer::Failed { fault: Fault::Unsupported, words: "no such feature".to_owned() };
        match request {
            Request::List => {
                let place = |id: &String| Place { model: "Maker Model".to_owned(), port: id.clone() };
                bare(Answer::Cameras { cameras: self.with(|sensor| sensor.ids.iter().map(place).collect()) })
            }
            Request::Open { .. } => self.with(|sensor| {
                sensor.opened += 1;
                // The stream is begun anew, so that what was on its way is gone.
                sensor.untold.clear();
                bare(Answer::Opened { preview: false })
            }),
            Request::Read { setting } => self.with(|sensor| match sensor.settings.get(setting.as_str()) {
                Some(setting) => bare(Answer::Setting { setting: setting.clone() }),
                None => bare(lacks()),
            }),
            Request::Write { setting, value } => {
                self.with(|sensor| match sensor.settings.get_mut(setting.as_str()) {
                    Some(there) => {
                        there.value = value;
                        bare(Answer::Done)
                    }
                    None => bare(lacks()),
                })
            }
            Request::Expose => self.with(|sensor| {
                sensor.expose();
                bare(Answer::Done)
            }),
            Request::Event { wait_ms } => {
                let told = |sensor: &mut Sensor| sensor.untold.pop_front();
                let Some(shot) = self.with(told) else {
                    // Nothing comes by itself: a trigger is another request.
                    let wait = Duration::from_millis(wait_ms.into());
                    timeout(wait, std::future::pending::<()>()).await.unwrap_err();
                    return bare(Answer::Event { event: Event::Quiet });
                };
                let file = File { folder: String::new(), name: shot.to_string() };
                bare(Answer::Event { event: Event::Added { file } })
            }
            Request::Fetch { file, .. } => {
                let (width, height) = SIZE;
                let pixels = Pixels { format: "grey8".to_owned(), width, height, stride: width };
                let mut bytes = vec![file.name.parse().unwrap(); (width * height) as usize];
                let pixels = (trouble != Some(Trouble::File)).then_some(pixels);
                if trouble == Some(Trouble::Short) {
                    bytes.pop();
                }
                (Answer::File { pixels }, bytes)
            }
            other => panic!("{other:?}"),
        }
    }
}
