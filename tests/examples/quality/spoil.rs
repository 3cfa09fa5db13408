//! Spoils pictures on purpose, by formula: out of focus, moved, grainy, coded with loss.

use fast_image_resize::images::Image as Pixels;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

/// Longest side of a picture that is reduced, in pixels.
const REDUCED_PX_MAX: f64 = 1600.0;

/// What is done to a picture before it is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Blur {
    /// Nothing.
    None,
    /// Gaussian, its standard deviation in pixels.
    Defocus(f64),
    /// Along a straight line of so many pixels, in a random direction.
    Motion(f64),
}

impl Blur {
    /// Whether a person would want it found: 1.5 pixels and more out of focus, or moved by 7 and more.
    pub fn is_bad(self) -> bool {
        matches!(self, Blur::Defocus(px) if px >= 1.5) || matches!(self, Blur::Motion(px) if px >= 7.0)
    }

    /// For a table.
    pub fn name(self) -> String {
        match self {
            Blur::None => "as taken".to_owned(),
            Blur::Defocus(px) => format!("defocus {px} px"),
            Blur::Motion(px) => format!("motion {px} px"),
        }
    }
}

/// Luma of a picture, as numbers.
#[derive(Clone)]
pub struct Grey {
    width: usize,
    height: usize,
    levels: Vec<f32>,
}

impl Grey {
    /// The luma of a JPEG.
    pub fn read(jpeg: &[u8]) -> turbojpeg::Result<Self> {
        let (width, height, pixels) = luma(jpeg)?;
        Ok(Self { width, height, levels: pixels.into_iter().map(f32::from).collect() })
    }

    /// The luma of a JPEG at half its size, or at 1600 pixels where that is less: sharp to the pixel wherever it was in
    /// focus, however soft its lens, its interpolated colours or an enlargement had made it.
    pub fn reduced(jpeg: &[u8]) -> Result<Self, Box<dyn std::error::Error>> {
        let (width, height, pixels) = luma(jpeg)?;
        let by = (REDUCED_PX_MAX / width.max(height) as f64).min(0.5);
        let side = |px: usize| (px as f64 * by).round() as u32;
        let full = Pixels::from_vec_u8(u32::try_from(width)?, u32::try_from(height)?, pixels, PixelType::U8)?;
        let mut small = Pixels::new(side(width), side(height), PixelType::U8);
        let lanczos = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        Resizer::new().resize(&full, &mut small, &lanczos)?;
        let (width, height) = (small.width() as usize, small.height() as usize);
        Ok(Self { width, height, levels: small.into_vec().into_iter().map(f32::from).collect() })
    }

    /// Blurs, adds noise of a standard deviation in levels of each colour, and codes with a quality.
    pub fn spoilt(
        &self,
        blur: Blur,
        noise: f64,
        quality: i32,
        random: &mut fastrand::Rng,
    ) -> turbojpeg::Result<Vec<u8>> {
        let blurred = match blur {
            Blur::None => self.levels.clone(),
            Blur::Defocus(sigma) => self.defocused(sigma),
            Blur::Motion(length) => self.moved(length, random.f64() * std::f64::consts::PI),
        };
        // Of independent noise in red, green and blue, luma (ITU-T T.871) has so much.
        let noise = noise * 0.299f64.hypot(0.587).hypot(0.114);
        let pixels: Vec<u8> = blurred
            .into_iter()
            .map(|level| (f64::from(level) + noise * normal(random)).round() as u8)
            .collect();
        let mut compressor = Compressor::new()?;
        compressor.set_quality(quality)?;
        compressor.set_subsamp(Subsamp::Gray)?;
        let (width, height) = (self.width, self.height);
        let image = Image { pixels: &pixels[..], width, pitch: width, height, format: PixelFormat::GRAY };
        compressor.compress_to_vec(image)
    }

    fn defocused(&self, sigma: f64) -> Vec<f32> {
        let reach = (3.0 * sigma).ceil() as isize;
        let weight = |d: isize| (-((d * d) as f64) / (2.0 * sigma * sigma)).exp() as f32;
        let line: Vec<(f64, f64, f32)> = (-reach..=reach).map(|d| (d as f64, 0.0, weight(d))).collect();
        let along = Self { levels: self.summed(&line), ..*self };
        let line: Vec<(f64, f64, f32)> = (-reach..=reach).map(|d| (0.0, d as f64, weight(d))).collect();
        along.summed(&line)
    }

    fn moved(&self, length: f64, direction: f64) -> Vec<f32> {
        // Half a pixel apart, each the mean of its four neighbours by nearness: a straight line without steps.
        let steps = (2.0 * length).ceil() as usize;
        let line = (0..=steps).flat_map(|k| {
            let along = length * (k as f64 / steps as f64 - 0.5);
            let (y, x) = (along * direction.sin(), along * direction.cos());
            let (left, top) = (x.floor(), y.floor());
            let (u, v) = ((x - left) as f32, (y - top) as f32);
            [
                (left, top, (1.0 - u) * (1.0 - v)),
                (left + 1.0, top, u * (1.0 - v)),
                (left, top + 1.0, (1.0 - u) * v),
                (left + 1.0, top + 1.0, u * v),
            ]
        });
        self.summed(&line.filter(|&(.., weight)| weight > 1e-6).collect::<Vec<_>>())
    }

    /// Weighted mean of shifted copies, (across, down, weight), edges repeated.
    fn summed(&self, shifts: &[(f64, f64, f32)]) -> Vec<f32> {
        let mut merged = std::collections::BTreeMap::new();
        for &(x, y, weight) in shifts {
            *merged.entry((y as isize, x as isize)).or_insert(0.0f32) += weight;
        }
        let total: f32 = merged.values().sum();
        let mut sums = vec![0.0f32; self.levels.len()];
        for (y, out) in sums.chunks_exact_mut(self.width).enumerate() {
            for (&(down, across), &weight) in &merged {
                let line = (y as isize + down).clamp(0, self.height as isize - 1) as usize;
                let row = &self.levels[line * self.width..][..self.width];
                add_shifted(out, row, across, weight / total);
            }
        }
        sums
    }
}

/// Width, height and luma of a JPEG.
fn luma(jpeg: &[u8]) -> turbojpeg::Result<(usize, usize, Vec<u8>)> {
    let mut handle = Decompressor::new()?;
    let header = handle.read_header(jpeg)?;
    let (width, height) = (header.width, header.height);
    let mut pixels = vec![0u8; width * height];
    let image = Image { pixels: &mut pixels[..], width, pitch: width, height, format: PixelFormat::GRAY };
    handle.decompress(jpeg, image)?;
    Ok((width, height, pixels))
}

fn add_shifted(out: &mut [f32], row: &[f32], across: isize, weight: f32) {
    let last = row.len() as isize - 1;
    let inner = (-across).clamp(0, last + 1) as usize..(last + 1 - across).clamp(0, last + 1) as usize;
    for x in (0..inner.start).chain(inner.end..out.len()) {
        out[x] += weight * row[(x as isize + across).clamp(0, last) as usize];
    }
    let from = (inner.start as isize + across) as usize;
    for (out, level) in out[inner].iter_mut().zip(&row[from..]) {
        *out += weight * level;
    }
}

/// A normal deviate (Box and Muller 1958).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
