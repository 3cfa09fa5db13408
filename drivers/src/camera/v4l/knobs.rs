//! The controls of a camera: what is asked in units of the trade is set in the device's, and read back.
//!
//! Order matters. While a camera chooses a value itself, that value's control is inactive and refuses what is written,
//! so the manual mode comes first. Every value is read back; a device that answers another one is not locked.

use std::collections::BTreeMap;
use std::io;

use ::v4l::v4l_sys as sys;

use super::kernel::{Control, Node};
use super::keys::{Keys, PowerLine};
use super::trouble::is_gone;
use crate::camera::Settings;
use crate::frame::Exposure;

const EXPOSURE_AUTO: u32 = sys::V4L2_CID_EXPOSURE_AUTO;
const EXPOSURE: u32 = sys::V4L2_CID_EXPOSURE_ABSOLUTE;
const EXPOSURE_PRIORITY: u32 = sys::V4L2_CID_EXPOSURE_AUTO_PRIORITY;
const WHITE_AUTO: u32 = sys::V4L2_CID_AUTO_WHITE_BALANCE;
const WHITE: u32 = sys::V4L2_CID_WHITE_BALANCE_TEMPERATURE;
const FOCUS_AUTO: u32 = sys::V4L2_CID_FOCUS_AUTO;
const FOCUS: u32 = sys::V4L2_CID_FOCUS_ABSOLUTE;
const GAIN_AUTO: u32 = sys::V4L2_CID_AUTOGAIN;
const GAIN: u32 = sys::V4L2_CID_GAIN;
const POWER_LINE: u32 = sys::V4L2_CID_POWER_LINE_FREQUENCY;
const QUALITY: u32 = sys::V4L2_CID_JPEG_COMPRESSION_QUALITY;
/// Entries of the menu of exposure modes: manual time, both automatic, time automatic.
const MANUAL: i32 = 1;
const AUTOMATIC: [i32; 2] = [3, 0];
/// Microseconds of one step of an exposure time.
const STEP_US: f64 = 100.0;

/// Why a control could not be set.
#[derive(Debug)]
pub enum Trouble {
    /// The device is gone.
    Gone,
    /// It has no such control, or did not take the value; in words for a person.
    Cannot(String),
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Cannot(what)
    }
}

/// Settings in the device's own units; `None` is the camera's own choice, or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Steps of 100 microseconds.
    pub exposure: Option<i32>,
    /// Of the camera's scale.
    pub gain: Option<i32>,
    /// Kelvin.
    pub white: Option<i32>,
    /// Of the camera's scale, small is far.
    pub focus: Option<i32>,
}

impl Values {
    /// These, and `other` where nothing is said.
    pub fn or(self, other: Values) -> Values {
        Values {
            exposure: self.exposure.or(other.exposure),
            gain: self.gain.or(other.gain),
            white: self.white.or(other.white),
            focus: self.focus.or(other.focus),
        }
    }
}

/// The controls of one open camera.
pub struct Knobs {
    all: Vec<Control>,
    gain_base: Option<i32>,
}

impl Knobs {
    /// Asks a camera for its controls.
    pub fn of(node: &Node, keys: &Keys) -> Knobs {
        let mut all = node.controls();
        let dead = sys::V4L2_CTRL_FLAG_DISABLED | sys::V4L2_CTRL_FLAG_READ_ONLY;
        all.retain(|control| control.flags & dead == 0);
        Knobs { all, gain_base: keys.gain_base }
    }

    fn get(&self, id: u32) -> Option<&Control> {
        self.all.iter().find(|control| control.id == id)
    }

    /// Its shutter time can be set.
    pub fn sets_exposure(&self) -> bool {
        self.get(EXPOSURE).is_some()
    }

    /// Its focus can be set.
    pub fn sets_focus(&self) -> bool {
        self.get(FOCUS).is_some()
    }

    /// Settings in the device's units; says what it lacks, or the range that it has.
    pub fn values(&self, settings: &Settings) -> Result<Values, String> {
        let exposure = settings.exposure_us.map(|us| self.exposure(us)).transpose()?;
        let gain = settings.gain.map(|factor| self.gain(factor)).transpose()?;
        let white = settings.wb_kelvin.map(|kelvin| {
            let control = self.get(WHITE).ok_or_else(|| lacks("wb_kelvin"))?;
            near(control, kelvin, |value| {
                format!("wb_kelvin = {kelvin}: this camera takes {}", f64::from(value))
            })
        });
        let focus = settings.focus.map(|share| self.focus(share)).transpose()?;
        Ok(Values { exposure, gain, white: white.transpose()?, focus })
    }

    /// A shutter time in the device's units.
    pub fn exposure(&self, us: f64) -> Result<i32, String> {
        let control = self.get(EXPOSURE).ok_or_else(|| lacks("exposure_us"))?;
        let told =
            |value: i32| format!("exposure_us = {us}: this camera takes {}", f64::from(value) * STEP_US);
        near(control, us / STEP_US, told)
    }

    /// A focus in the device's units.
    pub fn focus(&self, share: f64) -> Result<i32, String> {
        let control = self.get(FOCUS).ok_or_else(|| lacks("focus"))?;
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("focus = {share}: 0 (far) to 1 (near)"));
        }
        let (min, max) = (f64::from(control.min), f64::from(control.max));
        near(control, min + share * (max - min), |value| {
            format!("focus = {share}: this camera takes {value}")
        })
    }

    /// The kernel gives gain no unit, so a person must say which value is 1.0; of a scale that does not begin at 0 its
    /// first value is.
    fn gain_of_one(&self, control: &Control) -> Option<f64> {
        self.gain_base.or((control.min > 0).then_some(control.min)).map(f64::from)
    }

    fn gain(&self, factor: f64) -> Result<i32, String> {
        let control = self.get(GAIN).ok_or_else(|| lacks("gain"))?;
        match self.gain_of_one(control) {
            None if factor == 1.0 => Ok(control.min),
            None => Err(format!(
                "gain = {factor}: this camera's gain goes from {} to {} without a unit; say with gain_base which \
                 value is 1.0, or set controls = {{ {} = … }}",
                control.min, control.max, control.name
            )),
            Some(one) => near(control, factor * one, |value| {
                format!("gain = {factor}: this camera takes {}", f64::from(value) / one)
            }),
        }
    }

    /// The device's units as they are told of a frame.
    pub fn told(&self, values: &Values) -> Exposure {
        let gain =
            values.gain.zip(self.get(GAIN)).and_then(|(value, control)| match self.gain_of_one(control) {
                Some(one) => Some(f64::from(value) / one),
                None => (value == control.min).then_some(1.0),
            });
        let focus = values.focus.zip(self.get(FOCUS)).map(|(value, control)| {
            let (min, max) = (f64::from(control.min), f64::from(control.max));
            ((f64::from(value) - min) / (max - min).max(1.0)).clamp(0.0, 1.0)
        });
        Exposure {
            exposure_us: values.exposure.map(|value| f64::from(value) * STEP_US),
            gain,
            wb_kelvin: values.white.map(f64::from),
            focus,
        }
    }

    /// What the camera says that is in force.
    pub fn read(&self, node: &Node) -> Values {
        let read = |id| self.get(id).and_then(|control| node.control(control.id).ok());
        Values { exposure: read(EXPOSURE), gain: read(GAIN), white: read(WHITE), focus: read(FOCUS) }
    }

    /// Of what was read, what the camera chose itself and can be held to.
    pub fn chosen(&self, read: Values) -> Values {
        let both = |auto, value: Option<i32>| self.get(auto).and(value);
        Values {
            exposure: both(EXPOSURE_AUTO, read.exposure),
            gain: both(GAIN_AUTO, read.gain),
            white: both(WHITE_AUTO, read.white),
            focus: both(FOCUS_AUTO, read.focus),
        }
    }

    /// Leaves to the camera what `values` says nothing of, and holds it to the rest, each read back.
    pub fn lock(&self, node: &Node, values: &Values) -> Result<(), Trouble> {
        self.mode(node, WHITE_AUTO, values.white.is_some(), 0, 1)?;
        self.hold(node, WHITE, values.white)?;
        self.lock_exposure(node, values.exposure)?;
        self.mode(node, GAIN_AUTO, values.gain.is_some(), 0, 1)?;
        self.hold(node, GAIN, values.gain)?;
        self.lock_focus(node, values.focus)
    }

    /// The shutter time alone.
    pub fn lock_exposure(&self, node: &Node, value: Option<i32>) -> Result<(), Trouble> {
        if let Some(modes) = self.get(EXPOSURE_AUTO) {
            let automatic = AUTOMATIC.into_iter().find(|mode| node.has_entry(modes.id, mode.unsigned_abs()));
            self.mode(node, EXPOSURE_AUTO, value.is_some(), MANUAL, automatic.unwrap_or(MANUAL))?;
        }
        if value.is_some() && self.get(EXPOSURE_PRIORITY).is_some() {
            // Or the camera would lower its frame rate in poor light. Some refuse it; the shutter is held all the same.
            node.set_control(EXPOSURE_PRIORITY, 0).unwrap_or_default();
        }
        self.hold(node, EXPOSURE, value)
    }

    /// The focus alone.
    pub fn lock_focus(&self, node: &Node, value: Option<i32>) -> Result<(), Trouble> {
        self.mode(node, FOCUS_AUTO, value.is_some(), 0, 1)?;
        self.hold(node, FOCUS, value)
    }

    fn mode(&self, node: &Node, id: u32, manual: bool, off: i32, on: i32) -> Result<(), Trouble> {
        self.hold(node, id, self.get(id).map(|_| if manual { off } else { on }))
    }

    fn hold(&self, node: &Node, id: u32, value: Option<i32>) -> Result<(), Trouble> {
        match (self.get(id), value) {
            (Some(control), Some(value)) => set(node, control, value),
            _ => Ok(()),
        }
    }

    /// Mains filter, JPEG quality where there is one, and controls by name.
    pub fn set_others(
        &self,
        node: &Node,
        power_line: Option<PowerLine>,
        controls: &BTreeMap<String, i32>,
    ) -> Result<(), Trouble> {
        if let Some(filter) = power_line {
            let control = self.get(POWER_LINE).ok_or_else(|| lacks("power_line"))?;
            set(node, control, filter as i32)?;
        }
        for (name, value) in controls {
            let control = self.all.iter().find(|control| control.name == *name).ok_or_else(|| {
                let names: Vec<_> = self.all.iter().map(|control| control.name.as_str()).collect();
                format!("controls.{name}: this camera has {}", names.join(", "))
            })?;
            if !(control.min..=control.max).contains(value) {
                return Err(Trouble::Cannot(format!(
                    "controls.{name} = {value}: {} to {}",
                    control.min, control.max
                )));
            }
            set(node, control, *value)?;
        }
        Ok(())
    }

    /// JPEG quality, where the camera lets one choose.
    pub fn set_quality(&self, node: &Node, quality: Option<u8>) -> Result<(), Trouble> {
        match (self.get(QUALITY), quality) {
            (Some(control), Some(quality)) => {
                set(node, control, near(control, f64::from(quality), |value| format!("quality: {value}"))?)
            }
            _ => Ok(()),
        }
    }
}

fn lacks(key: &str) -> String {
    format!("{key}: this camera has no control for it; leave it out")
}

/// The step of a control next to `wanted`; what lies more than a step outside says the nearest bound by `told`.
fn near(control: &Control, wanted: f64, told: impl Fn(i32) -> String) -> Result<i32, String> {
    let (min, max, step) = (f64::from(control.min), f64::from(control.max), f64::from(control.step));
    if !wanted.is_finite() || wanted < min - step / 2.0 || wanted > max + step / 2.0 {
        let bounds = if wanted > max { ("at most", control.max) } else { ("at least", control.min) };
        return Err(format!("{} {}", told(bounds.1), bounds.0));
    }
    let value = min + ((wanted - min) / step).round() * step;
    // Not `clamp`, which panics where a device has its bounds the wrong way round.
    Ok(value.max(min).min(max) as i32)
}

/// Sets a control and reads it back.
fn set(node: &Node, control: &Control, value: i32) -> Result<(), Trouble> {
    let name = &control.name;
    let refused = |e: io::Error| {
        if is_gone(&e) {
            Trouble::Gone
        } else {
            Trouble::Cannot(format!("{name} = {value} was refused: {e}"))
        }
    };
    node.set_control(control.id, value).map_err(refused)?;
    if control.flags & sys::V4L2_CTRL_FLAG_WRITE_ONLY != 0 {
        return Ok(());
    }
    match node.control(control.id).map_err(refused)? {
        back if back == value => Ok(()),
        back => {
            Err(Trouble::Cannot(format!("{name} was set to {value} and reads {back}: it cannot be locked")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(gain_base: Option<i32>) -> Knobs {
        let control =
            |id, name: &str, min, max, step| Control { id, name: name.to_owned(), min, max, step, flags: 0 };
        let all = vec![
            control(EXPOSURE, "exposure_time_absolute", 3, 2047, 1),
            control(GAIN, "gain", 0, 255, 1),
            control(WHITE, "white_balance_temperature", 2000, 6500, 10),
            control(FOCUS, "focus_absolute", 0, 250, 5),
        ];
        Knobs { all, gain_base }
    }

    #[test]
    fn settings_become_steps_of_the_device_and_are_told_as_what_they_are() {
        let asked = Settings {
            exposure_us: Some(8049.0),
            gain: Some(2.0),
            wb_kelvin: Some(5003.0),
            focus: Some(0.5),
            ..Settings::default()
        };
        let knobs = knobs(Some(32));
        let values = knobs.values(&asked).unwrap();
        let want = Values { exposure: Some(80), gain: Some(64), white: Some(5000), focus: Some(125) };
        assert_eq!(values, want);
        let told = knobs.told(&values);
        assert_eq!(
            (told.exposure_us, told.gain, told.wb_kelvin, told.focus),
            (Some(8000.0), Some(2.0), Some(5000.0), Some(0.5))
        );
    }

    #[test]
    fn what_a_camera_cannot_do_names_its_bound() {
        let wrong = |settings: Settings| knobs(None).values(&settings).unwrap_err();
        let told = wrong(Settings { exposure_us: Some(300_000.0), ..Settings::default() });
        assert_eq!(told, "exposure_us = 300000: this camera takes 204700 at most");
        let told = wrong(Settings { wb_kelvin: Some(1500.0), ..Settings::default() });
        assert_eq!(told, "wb_kelvin = 1500: this camera takes 2000 at least");
        let told = wrong(Settings { gain: Some(2.0), ..Settings::default() });
        assert!(told.contains("gain_base"), "{told}");
        assert!(
            wrong(Settings { focus: Some(f64::NAN), ..Settings::default() }).contains("0 (far) to 1 (near)")
        );
        let none = Knobs { all: Vec::new(), gain_base: None };
        let told = none.values(&Settings { exposure_us: Some(1.0), ..Settings::default() }).unwrap_err();
        assert_eq!(told, "exposure_us: this camera has no control for it; leave it out");
        assert_eq!(
            knobs(None).values(&Settings { gain: Some(1.0), ..Settings::default() }).unwrap().gain,
            Some(0)
        );
    }
}
