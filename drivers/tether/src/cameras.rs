//! Requests carried out by libgphoto2.

use std::collections::VecDeque;
use std::time::Duration;

use gphoto2::camera::CameraEvent;
use gphoto2::error::ErrorKind;
use gphoto2::file::CameraFilePath;
use gphoto2::list::CameraDescriptor;
use gphoto2::widget::Widget;
use gphoto2::{Camera, Context, Error};

use crate::serve::{self, bare};
use crate::wire::{Answer, Event, Fault, File, PROTOCOL, Place, Request, Setting};

/// A setting that every camera answers to: with its value or by saying that it has none. Either way it is open then.
const ANY_SETTING: &str = "serialnumber";

/// The library, and the camera that is open.
#[derive(Default)]
pub struct Cameras {
    context: Option<Context>,
    camera: Option<Camera>,
    /// Told by a call that was about something else.
    told: VecDeque<Event>,
}

type Answered = Result<serve::Answered, Error>;

impl Cameras {
    /// Carries out a request; bytes go with some answers.
    pub fn answer(&mut self, request: Request) -> serve::Answered {
        self.carry_out(request).unwrap_or_else(|error| {
            bare(Answer::Failed { fault: fault(&error.kind()), words: error.to_string() })
        })
    }

    fn carry_out(&mut self, request: Request) -> Answered {
        let done = |()| bare(Answer::Done);
        match request {
            Request::Hello { .. } => Ok(bare(Answer::Hello {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                library: format!("libgphoto2 {}", gphoto2::library_version().unwrap_or("of unknown version")),
            })),
            Request::List => {
                let found = self.context()?.list_cameras().wait()?;
                let cameras = found.map(|camera| Place { model: camera.model, port: camera.port }).collect();
                Ok(bare(Answer::Cameras { cameras }))
            }
            Request::Open { place } => self.open(place),
            Request::Read { setting } => {
                let widget: Widget = self.camera()?.config_key(&setting).wait()?;
                Ok(bare(Answer::Setting { setting: read(&widget) }))
            }
            Request::Write { setting, value } => self.write(&setting, &value).map(done),
            Request::Expose => self.expose().map(done),
            Request::Event { wait_ms } => {
                let event = match self.told.pop_front() {
                    Some(event) => event,
                    None => told(self.camera()?.wait_event(Duration::from_millis(wait_ms.into())).wait()?),
                };
                Ok(bare(Answer::Event { event }))
            }
            Request::Fetch { file, keep } => self.fetch(&file, keep),
            Request::Preview => {
                let camera = self.camera()?;
                let bytes = camera.capture_preview().wait()?.get_data(&self.context()?).wait()?;
                Ok((Answer::File { pixels: None }, bytes))
            }
        }
    }

    fn context(&mut self) -> Result<Context, Error> {
        match &self.context {
            Some(context) => Ok(context.clone()),
            None => Ok(self.context.insert(Context::new()?).clone()),
        }
    }

    fn camera(&self) -> Result<Camera, Error> {
        self.camera.clone().ok_or_else(|| Error::from("no camera is open"))
    }

    fn open(&mut self, place: Place) -> Answered {
        self.camera = None;
        self.told.clear();
        let place = CameraDescriptor { model: place.model, port: place.port };
        let camera = self.context()?.get_camera(&place).wait()?;
        // The library opens a camera with the first thing that is wanted of it.
        match camera.config_key::<Widget>(ANY_SETTING).wait() {
            Ok(_) => {}
            Err(error) if fault(&error.kind()) == Fault::Unsupported => {}
            Err(error) => return Err(error),
        }
        let preview = camera.abilities().camera_operations().capture_preview();
        self.camera = Some(camera);
        Ok(bare(Answer::Opened { preview }))
    }

    fn write(&self, setting: &str, value: &str) -> Result<(), Error> {
        let camera = self.camera()?;
        let widget: Widget = camera.config_key(setting).wait()?;
        let number = || value.parse::<f32>().map_err(|_| Error::from("this setting takes a number"));
        match &widget {
            Widget::Radio(radio) => radio.set_choice(value)?,
            Widget::Text(text) => text.set_value(value)?,
            Widget::Range(range) => range.set_value(number()?),
            Widget::Toggle(toggle) => toggle.set_toggled(number()? != 0.0),
            Widget::Group(_) | Widget::Button(_) | Widget::Date(_) => {
                return Err("this setting cannot be written".into());
            }
        }
        camera.set_config(&widget).wait()
    }

    /// Releases the shutter. A camera that cannot do this alone tells of the picture by the way.
    fn expose(&mut self) -> Result<(), Error> {
        let camera = self.camera()?;
        let separate = camera.abilities().camera_operations().trigger_capture();
        let taken = match separate.then(|| camera.trigger_capture().wait()) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) if error.kind() != ErrorKind::NotSupported => return Err(error),
            _ => camera.capture_image().wait(),
        };
        let path = taken?;
        self.told.push_back(Event::Added { file: file(&path) });
        Ok(())
    }

    fn fetch(&mut self, file: &File, keep: bool) -> Answered {
        let camera = self.camera()?;
        let context = self.context()?;
        let picture = camera.fs().download(&file.folder, &file.name).wait()?;
        // The library gives no place for the bytes of an empty file, and the crate would read from it.
        if picture.size(&context).wait()? == 0 {
            let words = format!("{} is empty", file.name);
            return Ok(bare(Answer::Failed { fault: Fault::Damaged, words }));
        }
        let bytes = picture.get_data(&context).wait()?;
        if !keep && let Err(error) = camera.fs().delete_file(&file.folder, &file.name).wait() {
            // The picture is here. Cameras forget what was in their memory by themselves.
            eprintln!("turnstage-tether: {} stays in the camera: {error}", file.name);
        }
        Ok((Answer::File { pixels: None }, bytes))
    }
}

fn read(widget: &Widget) -> Setting {
    let readonly = widget.readonly();
    let setting = Setting { readonly, ..Setting::default() };
    match widget {
        Widget::Radio(radio) => {
            Setting { value: radio.choice(), choices: radio.choices_iter().collect(), ..setting }
        }
        Widget::Text(text) => Setting { value: text.value(), ..setting },
        Widget::Range(range) => {
            let (ends, step) = range.range_and_step();
            let range_of = (f64::from(*ends.start()), f64::from(*ends.end()), f64::from(step));
            Setting { value: range.value().to_string(), range: Some(range_of), ..setting }
        }
        Widget::Toggle(toggle) => {
            Setting { value: u8::from(toggle.toggled() == Some(true)).to_string(), ..setting }
        }
        Widget::Date(date) => Setting { value: date.timestamp().to_string(), ..setting },
        Widget::Group(_) | Widget::Button(_) => Setting { readonly: true, ..setting },
    }
}

fn file(path: &CameraFilePath) -> File {
    File { folder: path.folder().into_owned(), name: path.name().into_owned() }
}

fn told(event: CameraEvent) -> Event {
    match event {
        CameraEvent::Timeout => Event::Quiet,
        CameraEvent::NewFile(path) => Event::Added { file: file(&path) },
        CameraEvent::CaptureComplete => Event::Complete,
        // Event 400a of PTP, store full, has no name in the library.
        CameraEvent::Unknown(words) if words.to_lowercase().contains("event 400a") => Event::Full,
        CameraEvent::Unknown(words) => Event::Other { words },
        CameraEvent::FileChanged(path) => Event::Other { words: format!("changed {path:?}") },
        CameraEvent::NewFolder(path) => Event::Other { words: format!("folder {path:?}") },
    }
}

fn fault(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::ModelNotFound | ErrorKind::UnknownPort | ErrorKind::IoUsbFind => Fault::NotPresent,
        ErrorKind::CameraBusy | ErrorKind::IoUsbClaim | ErrorKind::IoLock => Fault::Busy,
        ErrorKind::NotSupported | ErrorKind::BadParameters => Fault::Unsupported,
        ErrorKind::NoSpace => Fault::Full,
        ErrorKind::Io | ErrorKind::IoRead | ErrorKind::IoWrite | ErrorKind::IoUpdate => Fault::Lost,
        ErrorKind::IoUsbClearHalt | ErrorKind::IoSerialSpeed | ErrorKind::OsFailure => Fault::Lost,
        ErrorKind::Timeout => Fault::Silent,
        ErrorKind::CorruptedData | ErrorKind::FileNotFound => Fault::Damaged,
        _ => Fault::Other,
    }
}
