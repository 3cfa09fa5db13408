//! A sensor with the manners of a real one: ranges, steps, and knobs that refuse while something is automatic.

use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct Fake {
    /// By the option's number: range and value.
    knobs: BTreeMap<i32, (Rs2OptionRange, f32)>,
    /// Takes a value and keeps another.
    stubborn: Option<Rs2Option>,
    told: Vec<(Rs2Option, f32)>,
}

impl Fake {
    fn with(mut self, knob: Rs2Option, [min, max, step, default]: [f32; 4]) -> Fake {
        self.knobs.insert(knob as i32, (Rs2OptionRange { min, max, step, default }, default));
        self
    }

    fn value(&self, knob: Rs2Option) -> f32 {
        self.knobs[&(knob as i32)].1
    }
}

impl Knobs for Fake {
    fn range(&self, knob: Rs2Option) -> Option<Rs2OptionRange> {
        let (range, _) = self.knobs.get(&(knob as i32))?;
        Some(Rs2OptionRange { min: range.min, max: range.max, step: range.step, default: range.default })
    }

    fn read(&self, knob: Rs2Option) -> Option<f32> {
        self.knobs.get(&(knob as i32)).map(|(_, value)| *value)
    }

    fn set(&mut self, knob: Rs2Option, value: f32) -> Result<(), String> {
        let automatic = [
            (Rs2Option::Exposure, Rs2Option::EnableAutoExposure),
            (Rs2Option::Gain, Rs2Option::EnableAutoExposure),
            (Rs2Option::WhiteBalance, Rs2Option::EnableAutoWhiteBalance),
        ];
        if automatic.iter().any(|(held, by)| *held == knob && self.read(*by) == Some(1.0)) {
            return Err("the value is automatic".to_owned());
        }
        self.told.push((knob, value));
        let known = self.knobs.get_mut(&(knob as i32)).ok_or("no such option")?;
        if self.stubborn != Some(knob) {
            known.1 = value;
        }
        Ok(())
    }
}

fn rgb() -> Fake {
    Fake::default()
        .with(Rs2Option::EnableAutoExposure, [0.0, 1.0, 1.0, 1.0])
        .with(Rs2Option::AutoExposurePriority, [0.0, 1.0, 1.0, 1.0])
        .with(Rs2Option::EnableAutoWhiteBalance, [0.0, 1.0, 1.0, 1.0])
        .with(Rs2Option::Exposure, [1.0, 10_000.0, 1.0, 156.0])
        .with(Rs2Option::Gain, [0.0, 128.0, 1.0, 64.0])
        .with(Rs2Option::WhiteBalance, [2800.0, 6500.0, 10.0, 4600.0])
}

fn stereo() -> Fake {
    Fake::default()
        .with(Rs2Option::EnableAutoExposure, [0.0, 1.0, 1.0, 1.0])
        .with(Rs2Option::Exposure, [1.0, 200_000.0, 1.0, 8500.0])
        .with(Rs2Option::Gain, [16.0, 248.0, 1.0, 16.0])
        .with(Rs2Option::DepthUnits, [1e-6, 0.01, 1e-6, 0.001])
        .with(Rs2Option::EmitterEnabled, [0.0, 2.0, 1.0, 1.0])
        .with(Rs2Option::LaserPower, [0.0, 360.0, 30.0, 150.0])
}

fn settings(exposure_us: Option<f64>, gain: Option<f64>, wb_kelvin: Option<f64>) -> Settings {
    Settings { exposure_us, gain, wb_kelvin, ..Settings::default() }
}

#[test]
fn what_is_locked_is_read_back_in_units_of_the_trade() {
    let mut controls = Controls::new(Some(rgb()), Some(stereo()));
    controls.lock(&settings(Some(12_340.0), Some(1.5), Some(5204.0))).unwrap();
    let read = controls.read();
    assert_eq!(read.exposure_us, Some(12_300.0), "in steps of 100 us");
    assert_eq!((read.gain, read.wb_kelvin), (Some(1.5), Some(5200.0)));
    assert!(!controls.is_automatic());
    let color = controls.color.as_ref().unwrap();
    assert_eq!(color.value(Rs2Option::AutoExposurePriority), 0.0);
    assert_eq!(controls.depth.as_ref().unwrap().told, [], "the stereo module is left alone");
}

#[test]
fn what_is_not_asked_for_is_the_cameras_own_choice_again() {
    let mut controls = Controls::new(Some(rgb()), Some(stereo()));
    controls.lock(&settings(Some(10_000.0), None, Some(4000.0))).unwrap();
    controls.lock(&settings(None, None, None)).unwrap();
    assert!(controls.is_automatic());
    assert_eq!(controls.color.as_ref().unwrap().value(Rs2Option::EnableAutoWhiteBalance), 1.0);
}

#[test]
fn a_value_out_of_range_is_told_with_the_range() {
    let mut controls = Controls::new(Some(rgb()), Some(stereo()));
    for (asked, words) in [
        (settings(Some(2e6), None, None), "exposure_us = 2000000: this camera takes 100 to 1000000"),
        (settings(None, Some(3.0), None), "gain = 3: this camera takes 0 to 2"),
        (settings(None, None, Some(9000.0)), "wb_kelvin = 9000: this camera takes 2800 to 6500"),
        (settings(Some(f64::NAN), None, None), "exposure_us = NaN: this camera takes 100 to 1000000"),
    ] {
        assert_eq!(controls.lock(&asked).unwrap_err(), words);
    }
}

#[test]
fn a_camera_that_keeps_another_value_is_found_out() {
    let mut controls = Controls::new(Some(Fake { stubborn: Some(Rs2Option::Exposure), ..rgb() }), None);
    let error = controls.lock(&settings(Some(10_000.0), None, None)).unwrap_err();
    assert_eq!(error, "exposure_us = 10000: the camera keeps 15600 instead");
}

#[test]
fn a_camera_without_a_colour_sensor_is_set_at_its_stereo_module() {
    let mut controls = Controls::new(None, Some(stereo()));
    controls.lock(&settings(Some(33_000.0), Some(2.0), None)).unwrap();
    assert_eq!(controls.read().exposure_us, Some(33_000.0), "in microseconds");
    assert_eq!(controls.color.as_ref().unwrap().value(Rs2Option::Gain), 32.0);
    let error = controls.lock(&settings(None, None, Some(5000.0))).unwrap_err();
    assert_eq!(error, "wb_kelvin: this camera has no WhiteBalance to set; leave it out");
}

#[test]
fn the_projector_is_set_at_the_stereo_module() {
    let mut controls = Controls::new(Some(rgb()), Some(stereo()));
    let keys: Keys = toml::from_str("emitter = false\nlaser_mw = 100.0").unwrap();
    controls.project(&keys).unwrap();
    assert_eq!(
        controls.depth.as_ref().unwrap().told,
        [(Rs2Option::EmitterEnabled, 0.0), (Rs2Option::LaserPower, 90.0)]
    );
    let keys: Keys = toml::from_str("laser_mw = 500.0").unwrap();
    assert_eq!(controls.project(&keys).unwrap_err(), "laser_mw = 500: this camera takes 0 to 360");
}

#[test]
fn the_unit_of_distance_is_the_number_that_is_meant() {
    assert_eq!(Controls::new(Some(rgb()), Some(stereo())).depth_unit_m(), Some(0.001));
    assert_eq!(Controls::<Fake>::new(None, None).depth_unit_m(), None);
}

#[test]
fn a_recording_has_nothing_to_be_set() {
    let mut controls = Controls::new(Some(Fake::default()), Some(Fake::default()));
    let error = controls.lock(&settings(Some(8000.0), None, None)).unwrap_err();
    assert_eq!(error, "exposure_us: this camera has no Exposure to set; leave it out");
    assert_eq!(controls.read(), Exposure::default());
}
