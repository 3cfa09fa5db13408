//! What a camera before a real table would see: pictures of the simulated booth at an angle that somebody else knows.

use bytes::Bytes;
use tokio::time::{Duration, Instant};
use turnstage_drivers::camera::{self, ExposeRequest, Settings, Variant};
use turnstage_drivers::frame::FrameData;
use turnstage_drivers::sim::{Booth, BoothOptions, Object};
use turnstage_drivers::turntable;
use turnstage_drivers::{Camera, DeviceOptions, Surroundings, Turntable};
use turnstage_pipeline::{Examiner, InputLimits, Signature, qc};

/// See the module.
pub struct View {
    booth: Booth,
    // Keeps the platter in the booth.
    _table: Box<dyn Turntable>,
    camera: Box<dyn Camera>,
    deg: f64,
}

impl View {
    /// A toy on the table, seen with `size` pixels.
    pub async fn new(size: (u32, u32)) -> Self {
        let options = BoothOptions { object: Object::Toy, ..BoothOptions::default() };
        let booth = Booth::new(options).expect("a booth");
        let around = Surroundings { booth: Some(booth.clone()), ..Surroundings::default() };
        let still = "driver = \"sim\"\nstart_deg = 0.0\nbacklash_deg = 0.0\nvibration_deg = 0.0\neccentricity_deg = 0.0";
        let options: DeviceOptions = toml::from_str(still).expect("options");
        let table = turntable::open(&options, &around).await.expect("a simulated table");
        let quick = format!(
            "driver = \"sim\"\nsize = [{}, {}]\nlatency_ms = 0.0\ntransfer_ms = 0.0\ncache_frames = true",
            size.0, size.1
        );
        let options: DeviceOptions = toml::from_str(&quick).expect("options");
        let camera = camera::open("main", &options, &around).await.expect("a simulated camera");
        Self { booth, _table: table, camera, deg: 0.0 }
    }

    /// The picture with the platter turned to `deg`, as a JPEG.
    pub async fn jpeg(&mut self, deg: f64) -> Bytes {
        // Pictures are kept for each thousandth of a degree; a tenth is below what anybody sees here.
        let deg = (deg * 10.0).round() / 10.0;
        self.booth.push(deg - self.deg);
        self.deg = deg;
        let now = Instant::now();
        let deadline = now + Duration::from_secs(60);
        let request = ExposeRequest { not_before: now, deadline, variant: Variant::default() };
        let exposed = self.camera.expose(&request).await.expect("an exposure");
        match self.camera.fetch(exposed).await.expect("a picture").frames.remove(0).data {
            FrameData::Encoded { bytes, .. } => bytes,
            FrameData::Pixels { .. } => panic!("the simulated camera was asked for JPEG"),
        }
    }

    /// Draws what it sees with these settings from now on: other light, while the camera before it has its lock.
    pub async fn light(&mut self, settings: &Settings) {
        self.camera.apply(settings).await.expect("settings");
    }

    /// Small version of the picture at `deg`.
    pub async fn look(&mut self, deg: f64) -> Signature {
        let jpeg = self.jpeg(deg).await;
        signature(&jpeg)
    }
}

/// Small version of a picture, to be compared with others.
pub fn signature(jpeg: &[u8]) -> Signature {
    let mut examiner = Examiner::new(InputLimits::default()).expect("an examiner");
    examiner.examine(jpeg, &qc::Limits::default()).picture.expect("a readable picture").signature
}
