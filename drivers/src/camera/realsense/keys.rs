//! The keys of a RealSense camera and their ranges.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Longest side that is asked of a camera; the largest that is sold has 1920 pixels.
const SIDE_MAX: u32 = 4096;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) serial: Option<String>,
    pub(super) library: Option<PathBuf>,
    pub(super) bag: Option<PathBuf>,
    #[serde(default, rename = "loop")]
    pub(super) again: bool,
    size: Option<(u32, u32)>,
    depth_size: Option<(u32, u32)>,
    fps: Option<u32>,
    skew_ms_max: Option<f64>,
    pub(super) emitter: Option<bool>,
    pub(super) laser_mw: Option<f32>,
}

impl Keys {
    /// Colour, width and height in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        self.size.unwrap_or((1280, 720))
    }

    /// Distances as they are measured, before they are aligned to the colour.
    pub(super) fn depth_size(&self) -> (u32, u32) {
        self.depth_size.unwrap_or((848, 480))
    }

    /// Of both streams.
    pub(super) fn fps(&self) -> u32 {
        self.fps.unwrap_or(15)
    }

    /// Largest difference between the stamps of the two frames of one set; `fps` is that of the running streams.
    pub(super) fn skew_max(&self, fps: u32) -> Duration {
        match self.skew_ms_max {
            Some(ms) => Duration::from_secs_f64(ms / 1e3),
            None => period(fps) / 2,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.bag.is_some() {
            let live = [
                ("serial", self.serial.is_some()),
                ("size", self.size.is_some()),
                ("depth_size", self.depth_size.is_some()),
                ("fps", self.fps.is_some()),
                ("emitter", self.emitter.is_some()),
                ("laser_mw", self.laser_mw.is_some()),
            ];
            if let Some((key, _)) = live.iter().find(|(_, given)| *given) {
                return Err(format!("{key}: a recording (bag) plays as it was recorded; leave {key} out"));
            }
        } else if self.again {
            return Err("loop: only a recording (bag) can begin again; leave loop out".to_owned());
        }
        if let Some(serial) = &self.serial
            && (serial.is_empty() || !serial.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(format!("serial = {serial:?}: digits and letters, as printed on the camera"));
        }
        for (key, size) in [("size", self.size), ("depth_size", self.depth_size)] {
            let good = |side| (1..=SIDE_MAX).contains(&side);
            if let Some((width, height)) = size
                && !(good(width) && good(height))
            {
                return Err(format!("{key} = [{width}, {height}]: both sides are 1 to {SIDE_MAX} pixels"));
            }
        }
        if let Some(fps) = self.fps.filter(|fps| !(1..=90).contains(fps)) {
            return Err(format!("fps = {fps}: 1 to 90 frames a second, usually 6, 15 or 30"));
        }
        if let Some(ms) = self.skew_ms_max.filter(|ms| !(0.0..=1000.0).contains(ms)) {
            return Err(format!("skew_ms_max = {ms}: 0 to 1000 ms between colour and depth of one shot"));
        }
        if let Some(mw) = self.laser_mw.filter(|mw| !(0.0..=1000.0).contains(mw)) {
            return Err(format!("laser_mw = {mw}: 0 to 1000 mW; most cameras have 0 to 360"));
        }
        Ok(())
    }
}

/// From one frame to the next.
pub(super) fn period(fps: u32) -> Duration {
    Duration::from_secs(1) / fps.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Keys>(text).map_err(|e| e.message().to_owned())?.check()
    }

    #[test]
    fn every_key_is_checked_by_name_and_range() {
        for good in
            ["", "serial = \"012345678901\"", "bag = \"/a.bag\"\nloop = true\nskew_ms_max = 40.0", "fps = 6"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("serial = \"\"", "serial = \"\": digits"),
            ("serial = \"a b\"", "serial = \"a b\": digits"),
            ("size = [0, 720]", "size = [0, 720]: both sides are 1 to 4096 pixels"),
            ("depth_size = [848, 9999]", "depth_size = [848, 9999]: both"),
            ("fps = 120", "fps = 120: 1 to 90"),
            ("skew_ms_max = -1.0", "skew_ms_max = -1: 0 to 1000 ms"),
            ("skew_ms_max = nan", "skew_ms_max = NaN: 0 to 1000 ms"),
            ("laser_mw = 2000.0", "laser_mw = 2000: 0 to 1000 mW"),
            ("loop = true", "only a recording (bag) can begin again"),
            ("bag = \"/a.bag\"\nfps = 15", "fps: a recording (bag) plays as it was recorded"),
            ("bag = \"/a.bag\"\nserial = \"1\"", "serial: a recording"),
            ("sreial = \"1\"", "unknown field `sreial`"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn frames_belong_together_within_half_a_period() {
        let keys: Keys = toml::from_str("").unwrap();
        assert_eq!(keys.skew_max(10), Duration::from_millis(50));
        let keys: Keys = toml::from_str("skew_ms_max = 2.5").unwrap();
        assert_eq!(keys.skew_max(10), Duration::from_micros(2500));
    }
}
