//! Requests carried out by Aravis. A file is a frame that waits here, since such a camera keeps none itself.

use std::collections::BTreeMap;

use aravis::prelude::*;
use aravis::{
    AcquisitionMode, Aravis, Buffer, BufferStatus, Camera, GvStreamOption, PixelFormat, Stream, glib,
};

use crate::serve::{self, bare};
use crate::wire::{Answer, Event, Fault, File, PROTOCOL, Pixels, Place, Request, Setting};

/// Frames that the camera may send before one is fetched.
const BUFFERS: usize = 4;

/// The library, and the camera that is open.
pub struct Cameras {
    library: Aravis,
    camera: Option<Camera>,
    /// While it runs; settings of the picture's form are changed at rest only.
    stream: Option<Stream>,
    waiting: BTreeMap<String, (Pixels, Vec<u8>)>,
    frames: u64,
}

/// Why not.
struct Failure(Fault, String);

impl From<glib::Error> for Failure {
    fn from(error: glib::Error) -> Self {
        let words = error.message().to_owned();
        let low = words.to_lowercase();
        let fault = if low.contains("timeout") {
            Fault::Silent
        } else if low.contains("not found") && low.contains("device") {
            Fault::NotPresent
        } else if low.contains("not found")
            || low.contains("not implemented")
            || low.contains("not available")
        {
            Fault::Unsupported
        } else if low.contains("control") && (low.contains("access") || low.contains("lost")) {
            Fault::Busy
        } else {
            Fault::Other
        };
        Failure(fault, words)
    }
}

type Answered = Result<serve::Answered, Failure>;

impl Cameras {
    pub fn new(library: Aravis) -> Self {
        Self { library, camera: None, stream: None, waiting: BTreeMap::new(), frames: 0 }
    }

    /// Carries out a request; bytes go with some answers.
    pub fn answer(&mut self, request: Request) -> serve::Answered {
        self.carry_out(request).unwrap_or_else(|Failure(fault, words)| bare(Answer::Failed { fault, words }))
    }

    fn carry_out(&mut self, request: Request) -> Answered {
        let done = |()| bare(Answer::Done);
        match request {
            Request::Hello { .. } => Ok(bare(Answer::Hello {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                library: "aravis 0.8".to_owned(),
            })),
            Request::List => Ok(bare(Answer::Cameras { cameras: self.list() })),
            Request::Open { place } => self.open(&place).map(|()| bare(Answer::Opened { preview: false })),
            Request::Read { setting } => {
                Ok(bare(Answer::Setting { setting: read(self.camera()?, &setting)? }))
            }
            Request::Write { setting, value } => self.write(&setting, &value).map(done),
            Request::Expose => self.expose().map(done),
            Request::Event { wait_ms } => {
                self.event(wait_ms.into()).map(|event| bare(Answer::Event { event }))
            }
            Request::Fetch { file, .. } => {
                let frame = self.waiting.remove(&file.name);
                let (pixels, bytes) =
                    frame.ok_or_else(|| Failure(Fault::Damaged, format!("no frame {}", file.name)))?;
                Ok((Answer::File { pixels: Some(pixels) }, bytes.into()))
            }
            Request::Preview => Err(Failure(Fault::Unsupported, "no picture for the eye".to_owned())),
        }
    }

    fn list(&self) -> Vec<Place> {
        let place = |device: aravis::DeviceInfo| Place {
            model: format!("{} {}", device.vendor.to_string_lossy(), device.model.to_string_lossy()),
            port: device.id.to_string_lossy().into_owned(),
        };
        self.library.get_device_list().into_iter().map(place).collect()
    }

    fn camera(&self) -> Result<&Camera, Failure> {
        self.camera.as_ref().ok_or_else(|| Failure(Fault::Other, "no camera is open".to_owned()))
    }

    fn open(&mut self, place: &Place) -> Result<(), Failure> {
        self.stop();
        self.camera = None;
        self.waiting.clear();
        let camera = Camera::new(Some(&place.port))?;
        if camera.is_gv_device() {
            // The packet socket needs a right that a station's user lacks, and hears nothing on some interfaces.
            camera.gv_set_stream_options(GvStreamOption::PACKET_SOCKET_DISABLED);
        }
        camera.set_acquisition_mode(AcquisitionMode::Continuous)?;
        camera.set_trigger("Software")?;
        self.camera = Some(camera);
        Ok(())
    }

    fn stop(&mut self) {
        if let (Some(camera), Some(_)) = (&self.camera, self.stream.take())
            && let Err(error) = camera.stop_acquisition()
        {
            eprintln!("turnstage-gige: {error}");
        }
    }

    fn write(&mut self, setting: &str, value: &str) -> Result<(), Failure> {
        // Most cameras lock what their frames look like while they run.
        self.stop();
        let camera = self.camera()?;
        let number = || {
            let parsed = value.parse::<f64>();
            parsed.map_err(|_| Failure(Fault::Unsupported, "this setting takes a number".to_owned()))
        };
        if camera.float(setting).is_ok() {
            camera.set_float(setting, number()?)?;
        } else if camera.integer(setting).is_ok() && camera.dup_available_enumerations(setting).is_err() {
            camera.set_integer(setting, number()?.round() as i64)?;
        } else {
            camera.set_string(setting, value)?;
        }
        Ok(())
    }

    fn expose(&mut self) -> Result<(), Failure> {
        if self.stream.is_none() {
            let camera = self.camera()?;
            let stream = camera.create_stream()?;
            let bytes = camera.payload()? as usize;
            for _ in 0..BUFFERS {
                stream.push_buffer(Buffer::new_allocate(bytes));
            }
            camera.start_acquisition()?;
            self.stream = Some(stream);
        }
        Ok(self.camera()?.software_trigger()?)
    }

    fn event(&mut self, wait_ms: u64) -> Result<Event, Failure> {
        let Some(stream) = &self.stream else { return Ok(Event::Quiet) };
        let Some(buffer) = stream.timeout_pop_buffer(wait_ms * 1000) else { return Ok(Event::Quiet) };
        let frame = taken(&buffer);
        stream.push_buffer(buffer);
        self.frames += 1;
        let file = File { folder: String::new(), name: format!("frame-{}", self.frames) };
        self.waiting.insert(file.name.clone(), frame?);
        Ok(Event::Added { file })
    }
}

/// A copy of a whole frame: the buffer is filled anew.
fn taken(buffer: &Buffer) -> Result<(Pixels, Vec<u8>), Failure> {
    if buffer.status() != BufferStatus::Success {
        return Err(Failure(Fault::Damaged, format!("a frame came incomplete ({:?})", buffer.status())));
    }
    let number = |number: i32| u32::try_from(number).unwrap_or(0);
    let (width, height) = (number(buffer.image_width()), number(buffer.image_height()));
    let (format, bytes_a_pixel) = match buffer.image_pixel_format() {
        PixelFormat::MONO_8 => ("grey8", 1),
        PixelFormat::RGB_8_PACKED => ("rgb8", 3),
        PixelFormat::YUV_422_YUYV_PACKED => ("yuyv", 2),
        other => {
            let words = format!(
                "pixel format {:#010x} is not understood; set PixelFormat to RGB8 or Mono8",
                other.raw()
            );
            return Err(Failure(Fault::Unsupported, words));
        }
    };
    let pixels = Pixels { format: format.to_owned(), width, height, stride: width * bytes_a_pixel };
    Ok((pixels, buffer.image_data()))
}

fn read(camera: &Camera, name: &str) -> Result<Setting, Failure> {
    if let Ok(value) = camera.float(name) {
        let range = camera.float_bounds(name).ok().map(|(low, high)| (low, high, 0.0));
        return Ok(Setting { value: value.to_string(), range, ..Setting::default() });
    }
    if let Ok(choices) = camera.dup_available_enumerations_as_strings(name) {
        let choices = choices.iter().map(ToString::to_string).collect();
        return Ok(Setting { value: camera.string(name)?.to_string(), choices, ..Setting::default() });
    }
    if let Ok(value) = camera.integer(name) {
        let range = camera.integer_bounds(name).ok().map(|(low, high)| (low as f64, high as f64, 1.0));
        return Ok(Setting { value: value.to_string(), range, ..Setting::default() });
    }
    let value =
        camera.string(name).map_err(|error| Failure(Fault::Unsupported, error.message().to_owned()))?;
    Ok(Setting { value: value.to_string(), readonly: true, ..Setting::default() })
}
