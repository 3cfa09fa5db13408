//! What each camera's pictures measure against its baseline, and how many pictures of recent sessions were not good.

use serde::{Deserialize, Serialize};

use crate::constancy::{self, CameraHealth, Measured};
use crate::window::Recent;

/// Quality of the pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Cameras of the rig; one of which nothing is known yet has no figures.
    pub cameras: Vec<CameraQuality>,
    /// Of these, how many are beyond a limit.
    pub cameras_drifted: u64,
    /// Blur now against the baseline, of the camera that lost most: 1 = as it was, 1.5 = half as much again.
    pub blur_ratio_max: Option<f64>,
    /// Part of recent sessions' pictures that a rule flagged and that were kept, 0 to 1.
    pub flagged_share: Option<f64>,
    /// Part of recent sessions' pictures that were taken again, 0 to 1 and beyond.
    pub retaken_share: Option<f64>,
    /// Recent sessions that were counted.
    pub sessions_measured: u64,
}

/// One camera's pictures now, against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraQuality {
    /// Name in the rig.
    pub name: String,
    /// Frames of the baseline.
    pub baseline_frames: u64,
    /// Frames of now that could be compared.
    pub today_frames: u64,
    /// Width of the subject's sharpest edges in pixels of the stored picture.
    pub blur_px: Option<Measured>,
    /// Luma of the backdrop, 0 to 255: what exposure and lamps make of it.
    pub luma: Option<Measured>,
    /// Shift of colour against the baseline in levels: blue and red difference.
    pub colour_shift: Option<[f64; 2]>,
    /// Standard deviation of noise in grey levels.
    pub noise_levels: Option<Measured>,
    /// What is beyond its limit.
    pub drifted: Vec<constancy::Quality>,
}

impl Quality {
    /// From what is known of the cameras and of recent sessions.
    pub fn of(cameras: &[CameraHealth], recent: &Recent) -> Self {
        let share = |part: u64| (recent.pictures > 0).then(|| part as f64 / recent.pictures as f64);
        let blur = cameras.iter().filter_map(|camera| camera.blur_px).filter(|blur| blur.baseline > 0.0);
        Self {
            cameras_drifted: cameras.iter().filter(|camera| !camera.drifts.is_empty()).count() as u64,
            blur_ratio_max: blur.map(|blur| blur.today / blur.baseline).reduce(f64::max),
            flagged_share: share(recent.flagged),
            retaken_share: share(recent.retaken),
            sessions_measured: recent.sessions,
            cameras: cameras.iter().map(CameraQuality::of).collect(),
        }
    }
}

impl CameraQuality {
    fn of(camera: &CameraHealth) -> Self {
        Self {
            name: camera.camera.clone(),
            baseline_frames: camera.baseline_frames as u64,
            today_frames: camera.today_frames as u64,
            blur_px: camera.blur_px,
            luma: camera.luma,
            colour_shift: camera.colour_shift,
            noise_levels: camera.noise_levels,
            drifted: camera.drifts.iter().map(|drift| drift.quality).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_the_worst_camera_stand_beside_the_list() {
        let blur = |today| Some(Measured { baseline: 2.0, today });
        let camera = |name: &str, today| CameraHealth {
            blur_px: blur(today),
            ..CameraHealth::of_none(name.to_owned())
        };
        let recent = Recent { sessions: 2, pictures: 72, flagged: 18, retaken: 9, bytes: 0 };
        let quality = Quality::of(&[camera("low", 2.0), camera("high", 3.0)], &recent);
        assert_eq!(quality.blur_ratio_max, Some(1.5));
        assert_eq!((quality.flagged_share, quality.retaken_share), (Some(0.25), Some(0.125)));
        let nothing = Quality::of(&[CameraHealth::of_none("low".to_owned())], &Recent::default());
        assert_eq!((nothing.blur_ratio_max, nothing.flagged_share), (None, None), "unknown is not 0");
    }
}
