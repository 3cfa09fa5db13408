//! The keys of a Video4Linux camera, each checked before the camera is touched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::kernel::FourCc;

/// What a configuration says of one camera.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The port it hangs on, `1-2.3`.
    pub usb: Option<String>,
    /// The serial number that it tells.
    pub serial: Option<String>,
    /// A stable path below `/dev/v4l/`.
    pub device: Option<PathBuf>,
    /// How it is to send pictures.
    pub format: Option<String>,
    /// Width and height in pixels; the largest of the format where nothing is said.
    pub size: Option<(u32, u32)>,
    /// Frames a second; the camera's own choice where nothing is said.
    pub fps: Option<u32>,
    /// Mains frequency to be filtered out of exposures.
    pub power_line: Option<PowerLine>,
    /// Value of the camera's gain control that is gain 1.0.
    pub gain_base: Option<i32>,
    /// Other controls by name, set as they are.
    pub controls: BTreeMap<String, i32>,
    /// Frames at most until the picture is steady.
    pub warm_up_frames: Option<u32>,
    /// Frames until another exposure is in force.
    pub exposure_frames: Option<u32>,
    /// Milliseconds until the lens stands at another focus.
    pub focus_ms: Option<u64>,
    /// Milliseconds without any frame after which the stream counts as stalled.
    pub frame_limit_ms: Option<u64>,
}

/// Mains frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PowerLine {
    /// Not filtered.
    #[serde(rename = "off")]
    Off = 0,
    /// Europe, most of Asia and Africa.
    #[serde(rename = "50hz")]
    Hz50 = 1,
    /// North America.
    #[serde(rename = "60hz")]
    Hz60 = 2,
    /// The camera finds out.
    #[serde(rename = "auto")]
    Auto = 3,
}

/// What tells one camera from all others, whatever number it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The port it hangs on.
    Usb(String),
    /// Its serial number.
    Serial(String),
    /// A stable path.
    Device(PathBuf),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usb(port) => f.write_str(port),
            Self::Serial(serial) => f.write_str(serial),
            Self::Device(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Largest side of a picture in pixels.
pub const SIDE_MAX: u32 = 16_384;

impl Keys {
    /// Whether every key can be used; says key, value and what would be right.
    pub fn check(&self) -> Result<(), String> {
        self.identity()?;
        self.fourcc()?;
        if let Some(size) = self.size {
            checked_size(size)?;
        }
        within("fps", self.fps.map(u64::from), 1, 1000)?;
        within("warm_up_frames", self.warm_up_frames.map(u64::from), 1, 1000)?;
        within("exposure_frames", self.exposure_frames.map(u64::from), 0, 100)?;
        within("focus_ms", self.focus_ms, 0, 10_000)?;
        within("frame_limit_ms", self.frame_limit_ms, 100, 60_000)?;
        match self.gain_base {
            Some(base) if base < 1 => Err(format!("gain_base = {base}: at least 1")),
            _ => Ok(()),
        }
    }

    /// Which camera.
    pub fn identity(&self) -> Result<Identity, String> {
        const WHICH: &str = "say which camera by one of usb = \"1-2.3\" (its port), serial = \"…\" or \
                             device = \"/dev/v4l/by-id/…\"; `turnstage devices` lists them";
        match (&self.usb, &self.serial, &self.device) {
            (Some(port), None, None) if is_port(port) => Ok(Identity::Usb(port.clone())),
            (Some(port), None, None) => {
                Err(format!("usb = \"{port}\": a port is written like 1-2.3, bus and the way through hubs"))
            }
            (None, Some(serial), None) if serial.trim().is_empty() => {
                Err(format!("serial = \"{serial}\": a camera without a serial number is told by usb"))
            }
            (None, Some(serial), None) => Ok(Identity::Serial(serial.clone())),
            (None, None, Some(path)) if path.starts_with("/dev/v4l") => Ok(Identity::Device(path.clone())),
            (None, None, Some(path)) => {
                let path = path.display();
                Err(format!(
                    "device = \"{path}\": this name may be another camera's after the next start; {WHICH}"
                ))
            }
            (None, None, None) => Err(WHICH.to_owned()),
            _ => Err(format!("more than one of usb, serial and device; {WHICH}")),
        }
    }

    /// The format's four letters.
    pub fn fourcc(&self) -> Result<FourCc, String> {
        match self.format.as_deref() {
            None | Some("mjpeg") => Ok(*b"MJPG"),
            Some("yuyv") => Ok(*b"YUYV"),
            Some("nv12") => Ok(*b"NV12"),
            Some("h264") => {
                Err("format = \"h264\": its frames are made from those before and lose what changes; use \
                                 mjpeg, yuyv or nv12"
                    .to_owned())
            }
            Some(other) => Err(format!("format = \"{other}\": mjpeg, yuyv or nv12")),
        }
    }

    /// Frames at most until the picture is steady.
    pub fn warm_up_frames(&self) -> u32 {
        self.warm_up_frames.unwrap_or(30)
    }

    /// Frames until another exposure is in force: two in the sensor, and one that is on its way.
    pub fn exposure_frames(&self) -> u32 {
        self.exposure_frames.unwrap_or(3)
    }

    /// Time until the lens stands.
    pub fn focus_time(&self) -> Duration {
        Duration::from_millis(self.focus_ms.unwrap_or(500))
    }

    /// Time without any frame after which the stream counts as stalled. Cameras take a second or two to begin.
    pub fn frame_limit(&self) -> Duration {
        Duration::from_millis(self.frame_limit_ms.unwrap_or(3000))
    }
}

/// `2-1` or `1-2.3.4`.
fn is_port(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(bus, way)| digits(bus) && way.split('.').all(digits))
}

/// A size that a picture can have.
pub fn checked_size(size: (u32, u32)) -> Result<(u32, u32), String> {
    let fits = |side| (2..=SIDE_MAX).contains(&side);
    let (width, height) = size;
    if fits(width) && fits(height) {
        Ok(size)
    } else {
        Err(format!("size = [{width}, {height}]: sides of 2 to {SIDE_MAX} pixels"))
    }
}

fn within(key: &str, value: Option<u64>, low: u64, high: u64) -> Result<(), String> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(format!("{key} = {value}: {low} to {high}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Keys>(text).map_err(|e| e.to_string())?.check()
    }

    #[test]
    fn a_camera_is_told_by_what_stays_and_never_by_its_number() {
        for good in ["usb = \"1-2.3\"", "serial = \"A1\"", "device = \"/dev/v4l/by-id/usb-x-video-index0\""] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let wrong = [
            ("", "say which camera"),
            ("usb = \"2\"", "written like 1-2.3"),
            ("usb = \"1-2.\"", "written like 1-2.3"),
            ("serial = \" \"", "told by usb"),
            ("device = \"/dev/video0\"", "after the next start"),
            ("device = \"0\"", "after the next start"),
            ("usb = \"1-2\"\nserial = \"A1\"", "more than one"),
        ];
        for (text, word) in wrong {
            assert!(check(text).unwrap_err().contains(word), "{text}: {:?}", check(text));
        }
    }

    #[test]
    fn every_key_says_what_would_be_right() {
        let wrong = [
            ("format = \"h264\"", "made from those before"),
            ("format = \"rgb\"", "mjpeg, yuyv or nv12"),
            ("size = [0, 480]", "size = [0, 480]: sides of 2 to 16384"),
            ("fps = 0", "fps = 0: 1 to 1000"),
            ("warm_up_frames = 0", "1 to 1000"),
            ("exposure_frames = 101", "0 to 100"),
            ("focus_ms = 10001", "0 to 10000"),
            ("frame_limit_ms = 99", "100 to 60000"),
            ("gain_base = 0", "gain_base = 0: at least 1"),
            ("power_line = \"55hz\"", "55hz"),
            ("index = 0", "unknown field"),
        ];
        for (text, word) in wrong {
            let told = check(&format!("usb = \"1-2\"\n{text}")).unwrap_err();
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
