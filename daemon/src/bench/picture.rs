//! Pictures to measure with: what the simulated camera makes of the booth, with the sensor noise of a real one.
//!
//! Noise is what fills a camera's file, and the bytes to decode are most of what a frame costs, so that noise is chosen
//! for a file as large as a camera's: about 0.35 bytes a pixel at 4:2:0 and quality 92.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};
use turnstage_drivers::camera::{self, Camera, ExposeRequest, Variant};
use turnstage_drivers::frame::FrameData;
use turnstage_drivers::sim::Booth;
use turnstage_drivers::{DeviceOptions, Surroundings};

use super::table::Unmeasured;

/// Twelve megapixels.
pub const SIZE: (u32, u32) = (4000, 3000);
/// Standard deviation in grey levels.
pub const NOISE: f64 = 8.0;

/// Rendering a large picture may take so long.
const LIMIT: Duration = Duration::from_secs(120);

/// What pictures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1920 x 1080 as a webcam sends it: 4:2:2, quality 85.
    Webcam,
    /// 4000 x 3000, 4:2:0, quality 92.
    TwelveMegapixels,
    /// 6000 x 4000, 4:2:0, quality 92.
    TwentyFourMegapixels,
}

impl Kind {
    /// For the head of a row.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webcam => "1080p",
            Self::TwelveMegapixels => "12 MP",
            Self::TwentyFourMegapixels => "24 MP",
        }
    }

    /// A name without spaces and commas.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Webcam => "1080p.jpg",
            Self::TwelveMegapixels => "12mp.jpg",
            Self::TwentyFourMegapixels => "24mp.jpg",
        }
    }

    /// A picture of this kind as JPEG.
    pub async fn picture(self) -> Result<Bytes, Unmeasured> {
        match self {
            Self::TwelveMegapixels => of_the_booth(SIZE).await,
            Self::Webcam => encoded(&decoded(&of_the_booth((1920, 1080)).await?)?, Subsamp::Sub2x1, 85),
            // Larger than the simulated camera takes: its picture and its mirror images, with noise of their own.
            Self::TwentyFourMegapixels => {
                let clean = decoded(&rendered(SIZE, 0.0).await?)?;
                let mut large = mirrored(&clean, 6000, 4000);
                add_noise(&mut large.pixels, NOISE);
                encoded(&large, Subsamp::Sub2x2, 92)
            }
        }
    }
}

/// One picture of the booth as JPEG.
pub async fn of_the_booth(size: (u32, u32)) -> Result<Bytes, Unmeasured> {
    rendered(size, NOISE).await
}

async fn rendered(size: (u32, u32), noise: f64) -> Result<Bytes, Unmeasured> {
    shoot(&mut *camera(size, noise, &[]).await?).await
}

/// The simulated camera in a booth of its own, with further keys of its configuration.
pub async fn camera(
    (width, height): (u32, u32),
    noise: f64,
    more: &[(&str, toml::Value)],
) -> Result<Box<dyn Camera>, Unmeasured> {
    let mut options = DeviceOptions::new("sim");
    options.keys.insert("size".to_owned(), toml::Value::from(vec![i64::from(width), i64::from(height)]));
    options.keys.insert("noise".to_owned(), toml::Value::Float(noise));
    options.keys.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let tried = "make a picture";
    let booth = Booth::new(Default::default()).map_err(Unmeasured::at(tried))?;
    let around = Surroundings { booth: Some(booth), ..Surroundings::default() };
    camera::open("bench", &options, &around).await.map_err(Unmeasured::at(tried))
}

/// One frame of a camera as JPEG.
pub async fn shoot(camera: &mut dyn Camera) -> Result<Bytes, Unmeasured> {
    let tried = "make a picture";
    let now = Instant::now();
    let request = ExposeRequest { not_before: now, deadline: now + LIMIT, variant: Variant::default() };
    let exposed = camera.expose(&request).await.map_err(Unmeasured::at(tried))?;
    let set = camera.fetch(exposed).await.map_err(Unmeasured::at(tried))?;
    match set.frames.into_iter().next().map(|frame| frame.data) {
        Some(FrameData::Encoded { bytes, .. }) => Ok(bytes),
        _ => Err(Unmeasured("the simulated camera gave no JPEG".to_owned())),
    }
}

fn decoded(jpeg: &[u8]) -> Result<Image<Vec<u8>>, Unmeasured> {
    turbojpeg::decompress(jpeg, PixelFormat::RGB).map_err(Unmeasured::at("decode a picture"))
}

fn encoded(picture: &Image<Vec<u8>>, subsamp: Subsamp, quality: i32) -> Result<Bytes, Unmeasured> {
    let encode = || {
        let mut compressor = Compressor::new()?;
        compressor.set_subsamp(subsamp)?;
        compressor.set_quality(quality)?;
        compressor.compress_to_vec(picture.as_deref())
    };
    encode().map(Bytes::from).map_err(Unmeasured::at("encode a picture"))
}

/// A larger picture: the small one, and its mirror images to the right of it and below.
fn mirrored(small: &Image<Vec<u8>>, width: usize, height: usize) -> Image<Vec<u8>> {
    let within =
        |at: usize, length: usize| if at < length { at } else { (2 * length - 1).saturating_sub(at) };
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        let row = &small.pixels[within(y, small.height) * small.pitch..];
        for x in 0..width {
            let at = 3 * within(x, small.width);
            pixels.extend_from_slice(&row[at..at + 3]);
        }
    }
    Image { pixels, width, pitch: 3 * width, height, format: small.format }
}

/// Adds noise that is nearly normal, the same in every run.
fn add_noise(samples: &mut [u8], deviation: f64) {
    // Four bytes added up have this standard deviation.
    let scale = (deviation / 147.8) as f32;
    let mut state = 7u64;
    for sample in samples {
        // Marsaglia, "Xorshift RNGs", 2003: the triple 13, 7, 17.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let four: i32 = state.to_le_bytes()[..4].iter().map(|&byte| i32::from(byte)).sum();
        *sample = (f32::from(*sample) + (four - 510) as f32 * scale).round().clamp(0.0, 255.0) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_picture_goes_on_as_in_a_mirror() {
        let small =
            Image { pixels: vec![1, 1, 1, 2, 2, 2], width: 2, pitch: 6, height: 1, format: PixelFormat::RGB };
        let large = mirrored(&small, 4, 2);
        let reds: Vec<u8> = large.pixels.iter().step_by(3).copied().collect();
        assert_eq!(reds, [1, 2, 2, 1, 1, 2, 2, 1]);
    }

    #[test]
    fn added_noise_has_the_deviation_that_was_asked_for() {
        let mut samples = vec![128u8; 30_000];
        add_noise(&mut samples, 8.0);
        let off = |&sample: &u8| f64::from(sample) - 128.0;
        let mean = samples.iter().map(off).sum::<f64>() / 30_000.0;
        let deviation = (samples.iter().map(|sample| off(sample).powi(2)).sum::<f64>() / 30_000.0).sqrt();
        assert!(mean.abs() < 0.3 && (deviation - 8.0).abs() < 0.3, "{mean} and {deviation}");
    }
}
