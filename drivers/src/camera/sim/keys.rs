//! The keys of a simulated camera and their ranges.

use serde::Deserialize;

use crate::sim::coding::{Coding, Subsampling};
use crate::sim::studio::Lens;

/// Largest picture.
pub(super) const SIZE_MAX: (u32, u32) = (4000, 3000);
const SIZE_MIN: u32 = 64;
/// As small as the live view of stills cameras.
const PREVIEW_PX: u32 = 480;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    megapixels: Option<f64>,
    size: Option<(u32, u32)>,
    elevation_deg: f64,
    azimuth_deg: f64,
    distance_mm: Option<f64>,
    fov_deg: f64,
    pub(super) noise: f64,
    pub(super) defocus_px: f64,
    pub(super) shake_px: f64,
    pan_deg: f64,
    tilt_deg: f64,
    pub(super) latency_ms: f64,
    pub(super) transfer_ms: f64,
    pub(super) quality: u8,
    format: Format,
    /// Of the JPEG formats only, like `progressive`.
    subsampling: Option<Subsampling>,
    progressive: Option<bool>,
    pub(super) cache_frames: bool,
    /// Frames tell the lens that they were taken through, as a depth camera's do.
    pub(super) tells_lens: bool,
    /// A raw file comes with each picture, as from a camera that is set to RAW + JPEG.
    pub(super) raw: bool,
    /// Width of a preview in pixels, no more than the picture's.
    pub(super) preview_px: u32,
}

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Jpeg,
    /// JPEG without its Huffman tables, as many cameras on USB send it.
    Mjpeg,
    Yuyv,
    Nv12,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            megapixels: None,
            size: None,
            elevation_deg: 15.0,
            azimuth_deg: 0.0,
            distance_mm: None,
            fov_deg: 32.0,
            noise: 1.5,
            defocus_px: 0.0,
            shake_px: 0.0,
            pan_deg: 0.0,
            tilt_deg: 0.0,
            latency_ms: 30.0,
            transfer_ms: 60.0,
            quality: 92,
            format: Format::Jpeg,
            subsampling: None,
            progressive: None,
            cache_frames: false,
            tells_lens: false,
            raw: false,
            preview_px: PREVIEW_PX,
        }
    }
}

impl Keys {
    pub(super) fn picture_size(&self) -> Result<(u32, u32), String> {
        let size = match (self.size, self.megapixels) {
            (Some(_), Some(_)) => return Err("give size or megapixels, not both".to_owned()),
            (Some(size), None) => size,
            (None, None) => (1152, 864),
            (None, Some(megapixels)) => {
                let megapixels = within("megapixels", megapixels, 0.01, 12.0)?;
                // 4:3 in whole blocks of the JPEG coder; the width is rounded to 32 so that the height is even too.
                let width = ((megapixels * 1e6 * 4.0 / 3.0).sqrt() / 32.0).round() as u32 * 32;
                (width, width * 3 / 4)
            }
        };
        checked_size(size)
    }

    pub(super) fn lens(&self, platter_radius_mm: f64) -> Result<Lens, String> {
        let distance_mm = self.distance_mm.unwrap_or(platter_radius_mm * 4.8);
        let (near, far) = (platter_radius_mm * 2.0, platter_radius_mm * 40.0);
        Ok(Lens {
            elevation_deg: within("elevation_deg", self.elevation_deg, 2.0, 88.0)?,
            azimuth_deg: within("azimuth_deg", self.azimuth_deg, -360.0, 360.0)?,
            distance_mm: within("distance_mm", distance_mm, near, far)?,
            fov_deg: within("fov_deg", self.fov_deg, 2.0, 90.0)?,
            pan_deg: within("pan_deg", self.pan_deg, -45.0, 45.0)?,
            tilt_deg: within("tilt_deg", self.tilt_deg, -45.0, 45.0)?,
        })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        within("noise", self.noise, 0.0, 50.0)?;
        within("defocus_px", self.defocus_px, 0.0, 100.0)?;
        within("shake_px", self.shake_px, 0.0, 100.0)?;
        within("latency_ms", self.latency_ms, 0.0, 60_000.0)?;
        within("transfer_ms", self.transfer_ms, 0.0, 600_000.0)?;
        within("quality", f64::from(self.quality), 1.0, 100.0)?;
        within("preview_px", f64::from(self.preview_px), f64::from(SIZE_MIN), f64::from(SIZE_MAX.0))?;
        self.coding(self.quality).map(drop)
    }

    /// How pictures are coded, JPEG with this quality.
    pub(super) fn coding(&self, quality: u8) -> Result<Coding, String> {
        let progressive = self.progressive.unwrap_or(false);
        let jpeg = |usual, bare| {
            let subsampling = self.subsampling.unwrap_or(usual);
            Ok(Coding::Jpeg { subsampling, progressive, quality, bare })
        };
        let uncompressed = |coding| match (self.subsampling, self.progressive) {
            (None, None) => Ok(coding),
            _ => Err("subsampling and progressive go with format = \"jpeg\" or \"mjpeg\" only".to_owned()),
        };
        match self.format {
            Format::Jpeg => jpeg(Subsampling::Both, false),
            Format::Mjpeg if progressive => {
                Err("progressive = true needs Huffman tables of its own: format = \"jpeg\" only".to_owned())
            }
            Format::Mjpeg => jpeg(Subsampling::Across, true),
            Format::Yuyv => uncompressed(Coding::Yuyv),
            Format::Nv12 => uncompressed(Coding::Nv12),
        }
    }
}

pub(super) fn within(key: &str, value: f64, low: f64, high: f64) -> Result<f64, String> {
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(format!("{key} = {value} is not in {low} to {high}")),
    }
}

pub(super) fn checked_size((w, h): (u32, u32)) -> Result<(u32, u32), String> {
    let (w_max, h_max) = SIZE_MAX;
    let fits = (SIZE_MIN..=w_max).contains(&w) && (SIZE_MIN..=h_max).contains(&h);
    match fits && w % 2 == 0 && h % 2 == 0 {
        true => Ok((w, h)),
        false => Err(format!("size {w}x{h}: sides must be even, from {SIZE_MIN} to {w_max}x{h_max}")),
    }
}
