//! Shutter time, gain, white balance and projector: set, locked and read back through the sensors' options.

use realsense_rust::device::Device;
use realsense_rust::kind::{Rs2CameraInfo, Rs2Option, Rs2OptionRange};
use realsense_rust::sensor::Sensor;

use super::keys::Keys;
use crate::camera::Settings;
use crate::frame::Exposure;

/// A colour sensor of its own counts its shutter time in these, as UVC cameras do; a stereo module in microseconds.
const UVC_STEP_US: f64 = 100.0;

/// Relative: options travel as 32-bit floats.
const FLOAT_ERROR: f64 = 1e-5;

/// What a sensor lets one set: a real one, or one of a test.
pub(super) trait Knobs {
    /// Smallest, largest, step and default; `None` if it has no such knob.
    fn range(&self, knob: Rs2Option) -> Option<Rs2OptionRange>;
    fn read(&self, knob: Rs2Option) -> Option<f32>;
    /// The library's words if it refuses.
    fn set(&mut self, knob: Rs2Option, value: f32) -> Result<(), String>;
}

impl Knobs for Sensor {
    fn range(&self, knob: Rs2Option) -> Option<Rs2OptionRange> {
        self.get_option_range(knob).filter(|_| !self.is_option_read_only(knob))
    }

    fn read(&self, knob: Rs2Option) -> Option<f32> {
        self.get_option(knob)
    }

    fn set(&mut self, knob: Rs2Option, value: f32) -> Result<(), String> {
        self.set_option(knob, value).map_err(|error| error.to_string())
    }
}

/// The sensors of one camera. Those of a recording have hardly an option, because none are recorded.
pub(super) struct Controls<K = Sensor> {
    /// The one that makes the colour picture.
    color: Option<K>,
    /// The stereo module, if it does not make the colour picture too.
    depth: Option<K>,
    exposure_step_us: f64,
    /// Gain that counts as 1.0: the option's default.
    gain_base: Option<f64>,
}

impl Controls {
    pub(super) fn of(device: &Device) -> Controls {
        let is_rgb = |sensor: &Sensor| {
            sensor.info(Rs2CameraInfo::Name).is_some_and(|name| name.to_string_lossy().contains("RGB"))
        };
        let is_depth = |sensor: &Sensor| sensor.supports_option(Rs2Option::DepthUnits);
        let (mut rgb, rest): (Vec<_>, Vec<_>) = device.sensors().into_iter().partition(is_rgb);
        Controls::new(rgb.pop(), rest.into_iter().find(is_depth))
    }
}

impl<K: Knobs> Controls<K> {
    fn new(rgb: Option<K>, depth: Option<K>) -> Controls<K> {
        let exposure_step_us = if rgb.is_some() { UVC_STEP_US } else { 1.0 };
        // Cameras without a colour sensor take the colour picture with the stereo module.
        let (color, depth) = if rgb.is_some() { (rgb, depth) } else { (depth, None) };
        let base =
            color.as_ref().and_then(|sensor| sensor.range(Rs2Option::Gain)).map(|r| f64::from(r.default));
        Controls { color, depth, exposure_step_us, gain_base: base.filter(|base| *base > 0.0) }
    }

    fn stereo(&mut self) -> Option<&mut K> {
        self.depth.as_mut().or(self.color.as_mut())
    }

    /// Metres of one step of distance.
    pub(super) fn depth_unit_m(&self) -> Option<f64> {
        let sensor = self.depth.as_ref().or(self.color.as_ref())?;
        // 0.001 is the nearest float to it; as a double it would become 0.0010000000474974513.
        sensor.read(Rs2Option::DepthUnits).and_then(|unit| unit.to_string().parse().ok())
    }

    /// A number of a frame's own record, in microseconds.
    pub(super) fn exposure_us(&self, raw: f64) -> f64 {
        raw * self.exposure_step_us
    }

    /// A number of a frame's own record, as a factor.
    pub(super) fn gain(&self, raw: f64) -> Option<f64> {
        self.gain_base.map(|base| raw / base)
    }

    /// The camera itself chooses the shutter time.
    pub(super) fn is_automatic(&self) -> bool {
        let automatic = self.color.as_ref().and_then(|sensor| sensor.read(Rs2Option::EnableAutoExposure));
        automatic.is_some_and(|value| value > 0.5)
    }

    /// What is in force; `None` where the sensor does not tell.
    pub(super) fn read(&self) -> Exposure {
        let read = |knob| self.color.as_ref().and_then(|sensor| sensor.read(knob)).map(f64::from);
        Exposure {
            exposure_us: read(Rs2Option::Exposure).map(|raw| self.exposure_us(raw)),
            gain: read(Rs2Option::Gain).and_then(|raw| self.gain(raw)),
            wb_kelvin: read(Rs2Option::WhiteBalance),
            focus: None,
        }
    }

    /// Sets and locks the colour picture. What is not asked for is the camera's own choice again.
    ///
    /// # Errors
    ///
    /// A value out of range, with the range; a knob that this camera lacks; the library's own words.
    pub(super) fn lock(&mut self, settings: &Settings) -> Result<(), String> {
        let (exposure_step, gain_base) = (self.exposure_step_us, self.gain_base);
        let Some(sensor) = self.color.as_mut() else { return Err("it has no sensor to be set".to_owned()) };
        let automatic = settings.exposure_us.is_none() && settings.gain.is_none();
        switch(sensor, Rs2Option::EnableAutoExposure, automatic)?;
        // A longer shutter time must not slow the stream down: colour would no longer come with its depth.
        switch(sensor, Rs2Option::AutoExposurePriority, false)?;
        switch(sensor, Rs2Option::EnableAutoWhiteBalance, settings.wb_kelvin.is_none())?;
        if let Some(us) = settings.exposure_us {
            turn(sensor, Rs2Option::Exposure, "exposure_us", us, exposure_step)?;
        }
        if let Some(factor) = settings.gain {
            let base = gain_base.ok_or("gain: this camera's gain cannot be set; leave it out")?;
            turn(sensor, Rs2Option::Gain, "gain", factor, 1.0 / base)?;
        }
        if let Some(kelvin) = settings.wb_kelvin {
            turn(sensor, Rs2Option::WhiteBalance, "wb_kelvin", kelvin, 1.0)?;
        }
        Ok(())
    }

    /// Projector of the pattern that the stereo module measures by.
    pub(super) fn project(&mut self, keys: &Keys) -> Result<(), String> {
        if keys.emitter.is_none() && keys.laser_mw.is_none() {
            return Ok(());
        }
        let Some(sensor) = self.stereo() else { return Err("it has no projector to be set".to_owned()) };
        if let Some(on) = keys.emitter {
            turn(sensor, Rs2Option::EmitterEnabled, "emitter", f64::from(u8::from(on)), 1.0)?;
        }
        if let Some(mw) = keys.laser_mw {
            turn(sensor, Rs2Option::LaserPower, "laser_mw", f64::from(mw), 1.0)?;
        }
        Ok(())
    }
}

/// Sets what a sensor may not have: then there is nothing automatic to be switched.
fn switch(sensor: &mut impl Knobs, knob: Rs2Option, on: bool) -> Result<(), String> {
    match sensor.range(knob) {
        Some(_) => sensor.set(knob, f32::from(u8::from(on))).map_err(|words| format!("{knob:?}: {words}")),
        None => Ok(()),
    }
}

/// Sets `key` to `value`, of which one step of the option's number is `unit`, and looks whether it holds.
fn turn(sensor: &mut impl Knobs, knob: Rs2Option, key: &str, value: f64, unit: f64) -> Result<(), String> {
    let Some(range) = sensor.range(knob) else {
        return Err(format!("{key}: this camera has no {knob:?} to set; leave it out"));
    };
    let raw = value / unit;
    let (min, max) = (f64::from(range.min), f64::from(range.max));
    if !(min..=max).contains(&raw) {
        let (min, max) = (min * unit, max * unit);
        return Err(format!("{key} = {value}: this camera takes {min} to {max}"));
    }
    let step = f64::from(range.step).max(f64::from(f32::EPSILON));
    let steps = ((raw - min) / step).round();
    let set = (min + steps * step).min(max);
    sensor.set(knob, set as f32).map_err(|words| format!("{key} = {value}: {words}"))?;
    let held = sensor.read(knob).map(f64::from);
    match held {
        Some(held) if (held - set).abs() <= (step / 2.0).max(set.abs() * FLOAT_ERROR) => Ok(()),
        Some(held) => Err(format!("{key} = {value}: the camera keeps {} instead", held * unit)),
        None => Err(format!("{key} = {value}: the camera does not tell whether it took it")),
    }
}

#[cfg(test)]
mod tests;
