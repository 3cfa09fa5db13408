//! Pictures to measure with: what the simulated camera makes of the booth, with the sensor noise of a real one.
//!
//! Noise is what fills a camera's file, and the bytes to decode are most of what a frame costs, so that noise is chosen
//! for a file as large as a camera's: about 0.35 bytes a pixel at 4:2:0 and quality 92.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use turnstage_drivers::camera::{self, ExposeRequest};
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

/// One picture of the booth as JPEG.
pub async fn of_the_booth((width, height): (u32, u32)) -> Result<Bytes, Unmeasured> {
    let mut options = DeviceOptions::new("sim");
    options.keys.insert("size".to_owned(), toml::Value::from(vec![i64::from(width), i64::from(height)]));
    options.keys.insert("noise".to_owned(), toml::Value::Float(NOISE));
    let tried = "make a picture";
    let booth = Booth::new(Default::default()).map_err(Unmeasured::at(tried))?;
    let around = Surroundings { booth: Some(booth) };
    let mut camera = camera::open("bench", &options, &around).map_err(Unmeasured::at(tried))?;
    let now = Instant::now();
    let request = ExposeRequest { not_before: now, deadline: now + LIMIT };
    let exposed = camera.expose(&request).await.map_err(Unmeasured::at(tried))?;
    let set = camera.fetch(exposed).await.map_err(Unmeasured::at(tried))?;
    match set.frames.into_iter().next().map(|frame| frame.data) {
        Some(FrameData::Encoded { bytes, .. }) => Ok(bytes),
        _ => Err(Unmeasured("the simulated camera gave no JPEG".to_owned())),
    }
}
