//! A running pipeline of one camera or one recording: found, started and stopped.

use std::ffi::CString;
use std::fmt::Display;
use std::path::Path;

use realsense_rust::config::Config;
use realsense_rust::context::Context;
use realsense_rust::device::Device;
use realsense_rust::kind::{Rs2CameraInfo, Rs2Format, Rs2StreamKind};
use realsense_rust::pipeline::{ActivePipeline, InactivePipeline};

use super::keys::Keys;
use super::library::alone;
use super::{frameset, usb};
use crate::CameraError;
use crate::holder::holders;
use crate::optics::Intrinsics;

/// What a recording begins with: of librealsense up to 2.58, and from 2.59 on.
const MAGIC: [&[u8]; 2] = [b"#ROSBAG V2.0", b"SQLite format 3"];

/// A pipeline with what is constant while it runs.
pub(super) struct Stream {
    pub(super) pipeline: ActivePipeline,
    /// Colour picture, width and height in pixels.
    pub(super) size: (u32, u32),
    pub(super) depth_size: (u32, u32),
    /// Of the colour picture; the depth is aligned to it.
    pub(super) lens: Option<Intrinsics>,
    pub(super) fps: u32,
}

/// Who a camera is.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) firmware: Option<String>,
    /// Such as `3.2`; below 3 only small pictures come through.
    pub(super) usb: Option<String>,
}

impl Identity {
    pub(super) fn of(device: &Device) -> Identity {
        let told = |key| device.info(key).map(|text| text.to_string_lossy().into_owned());
        Identity {
            model: told(Rs2CameraInfo::Name).unwrap_or_else(|| "RealSense".to_owned()),
            serial: told(Rs2CameraInfo::SerialNumber).unwrap_or_default(),
            firmware: told(Rs2CameraInfo::FirmwareVersion),
            usb: told(Rs2CameraInfo::UsbTypeDescriptor),
        }
    }
}

/// Serial number of the camera to open: the one that is asked for, or the only one.
pub(super) fn choose(id: &str, context: &Context, wanted: Option<&str>) -> Result<String, CameraError> {
    let found = context.query_devices(Default::default());
    let serials: Vec<String> = found.iter().map(|device| Identity::of(device).serial).collect();
    let named = |hint: String| CameraError::NotPresent { id: id.to_owned(), hint };
    match (wanted, serials.as_slice()) {
        (Some(wanted), _) if serials.iter().any(|serial| serial == wanted) => Ok(wanted.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, [_, ..]) => Err(CameraError::Unsupported {
            id: id.to_owned(),
            what: format!("several are plugged in; choose with `serial`: {}", serials.join(", ")),
        }),
        (_, []) => Err(locked_out(id).unwrap_or_else(|| named("no RealSense is plugged in".to_owned()))),
        (Some(wanted), _) => {
            Err(named(format!("no RealSense with serial {wanted}; there are {}", serials.join(", "))))
        }
    }
}

/// The reason why a camera that is plugged in is not seen, if it is that we may not open it.
fn locked_out(id: &str) -> Option<CameraError> {
    let camera = usb::plugged(Path::new(usb::DEVICES)).into_iter().find(|camera| !camera.may_be_opened())?;
    Some(CameraError::Permission { id: id.to_owned(), hint: permission_hint(&camera) })
}

pub(super) fn permission_hint(camera: &usb::Plugged) -> String {
    format!(
        "{} at USB port {}: {} cannot be written; install 70-turnstage.rules and join the group plugdev",
        camera.product,
        camera.port,
        camera.node.display()
    )
}

/// Whether there is a file that may be a recording. The library says the same of a missing, a foreign and a damaged
/// one.
pub(super) fn check_recording(id: &str, bag: &Path) -> Result<(), CameraError> {
    let file = std::fs::File::open(bag).map_err(|error| CameraError::NotPresent {
        id: id.to_owned(),
        hint: format!("cannot open the recording {}: {error}", bag.display()),
    })?;
    let mut start = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::io::Read::take(file, 16), &mut start);
    if read.is_ok() && MAGIC.iter().any(|magic| start.starts_with(magic)) {
        return Ok(());
    }
    let what = format!("{} is no recording of librealsense; bag names a .bag file", bag.display());
    Err(CameraError::Unsupported { id: id.to_owned(), what })
}

/// Starts the camera `serial`, or the recording of `keys`, with colour of `size`.
pub(super) fn start(
    id: &str,
    context: &Context,
    keys: &Keys,
    serial: &str,
    size: (u32, u32),
) -> Result<Stream, CameraError> {
    let refused = |error: &dyn Display| refusal(id, keys, size, &error.to_string());
    let config = configure(keys, serial, size).map_err(|error| refused(&error))?;
    let started =
        alone(id, || InactivePipeline::try_from(context).and_then(|idle| idle.start(Some(config))))?;
    let pipeline = started.map_err(|error| refused(&error))?;
    let find = |kind| pipeline.profile().streams().iter().find(|stream| stream.kind() == kind);
    let (Some(color), Some(depth)) = (find(Rs2StreamKind::Color), find(Rs2StreamKind::Depth)) else {
        return Err(refused(&"colour or depth is not among its streams"));
    };
    let told = color.intrinsics().map_err(|error| refused(&error))?;
    let measured = depth.intrinsics().map_err(|error| refused(&error))?;
    let lens = frameset::lens(&told);
    if let Err(why) = &lens {
        tracing::warn!("camera {id}: {why}; its frames carry no lens");
    }
    Ok(Stream {
        size: (told.width() as u32, told.height() as u32),
        depth_size: (measured.width() as u32, measured.height() as u32),
        lens: lens.ok(),
        fps: u32::try_from(color.framerate()).unwrap_or_default(),
        pipeline,
    })
}

fn configure(keys: &Keys, serial: &str, size: (u32, u32)) -> Result<Config, String> {
    let words = |error: &dyn Display| error.to_string();
    let mut config = Config::new();
    let (mut color, mut depth, mut fps) = (size, keys.depth_size(), keys.fps() as usize);
    match &keys.bag {
        Some(bag) => {
            config.enable_device_from_file(bag, keys.again).map_err(|error| words(&error))?;
            // As it was recorded.
            (color, depth, fps) = ((0, 0), (0, 0), 0);
        }
        None => {
            let serial = CString::new(serial).map_err(|error| words(&error))?;
            config.enable_device_from_serial(&serial).map_err(|error| words(&error))?;
        }
    }
    // Only what is wanted: realsense-rust panics at streams and formats that it does not know.
    for (kind, (width, height), format) in
        [(Rs2StreamKind::Color, color, Rs2Format::Rgb8), (Rs2StreamKind::Depth, depth, Rs2Format::Z16)]
    {
        config
            .enable_stream(kind, None, width as usize, height as usize, format, fps)
            .map_err(|error| words(&error))?;
    }
    Ok(config)
}

/// What the library's words at the start mean for whoever asked.
fn refusal(id: &str, keys: &Keys, size: (u32, u32), words: &str) -> CameraError {
    let id = id.to_owned();
    if let Some(bag) = &keys.bag {
        let what = format!(
            "the recording {} cannot be played: it is damaged, or has not both colour (RGB8) and depth (Z16): {words}",
            bag.display()
        );
        return CameraError::Unsupported { id, what };
    }
    let lower = words.to_lowercase();
    if lower.contains("busy") || lower.contains("errno=16") {
        let nodes = usb::plugged(Path::new(usb::DEVICES)).into_iter();
        let held: Vec<_> = nodes.flat_map(|camera| holders(&camera.node)).collect();
        let holder = if held.is_empty() { words.to_owned() } else { held.join(", ") };
        return CameraError::Busy { id, holder };
    }
    if lower.contains("permission") || lower.contains("errno=13") {
        return CameraError::Permission { id, hint: words.to_owned() };
    }
    let ((width, height), (depth_width, depth_height)) = (size, keys.depth_size());
    let what = format!(
        "it does not give colour of {width} x {height} with depth of {depth_width} x {depth_height} at {} frames a \
         second; change size, depth_size or fps (on USB 2 only small and slow ones work): {words}",
        keys.fps()
    );
    CameraError::Unsupported { id, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_recording_that_is_missing_or_none_is_told_by_its_path() {
        let error = check_recording("main", Path::new("/nowhere/turn.bag")).unwrap_err();
        assert!(matches!(error, CameraError::NotPresent { .. }), "{error}");
        assert!(
            error.to_string().contains("cannot open the recording /nowhere/turn.bag: No such file"),
            "{error}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        for (bytes, good) in [
            (&b""[..], false),
            (b"#ROSBAG V2.0\n\x45", true),
            (b"#ROSBAG V1.0", false),
            (b"SQLite format 3\0", true),
        ] {
            std::fs::write(file.path(), bytes).unwrap();
            let checked = check_recording("main", file.path());
            assert_eq!(checked.is_ok(), good, "{checked:?}");
        }
    }

    #[test]
    fn the_librarys_words_become_what_to_do() {
        let live = keys("");
        let refused = |words: &str| refusal("main", &live, (1280, 720), words);
        let busy = "xioctl(VIDIOC_S_FMT) failed, errno=16 Last Error: Device or resource busy";
        assert!(matches!(refused(busy), CameraError::Busy { .. }));
        assert!(matches!(
            refused("open failed, errno=13: Permission denied"),
            CameraError::Permission { .. }
        ));
        let error =
            refused("Config cannot be resolved by any active devices / stream combinations.").to_string();
        assert!(error.contains("colour of 1280 x 720 with depth of 848 x 480 at 15 frames"), "{error}");
        let error =
            refusal("main", &keys("bag = \"/a.bag\""), (0, 0), "Config cannot be resolved").to_string();
        assert!(error.contains("the recording /a.bag cannot be played: it is damaged"), "{error}");
    }
}
