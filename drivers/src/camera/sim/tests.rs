use super::*;
use crate::frame::{Angle, Codec};
use crate::sim::{BoothOptions, Fault, Object};
use crate::turntable::{Direction, Reference, Target, Turntable};

mod faults;
mod flaws;
mod formats;
mod pictures;
mod placement;

/// A picture small enough to be rendered by the hundred.
const SMALL: &str = "size = [288, 216]\n";

/// A booth with a table that stands still at its zero, free of imperfections unless `table` gives some.
struct Rig {
    booth: Booth,
    table: Box<dyn Turntable>,
    camera: Box<dyn Camera>,
}

fn options(keys: &str) -> DeviceOptions {
    toml::from_str(&format!("driver = \"sim\"\n{keys}")).unwrap()
}

fn try_open(booth: &Booth, keys: &str) -> Opened {
    open("main", &options(keys), &Surroundings { booth: Some(booth.clone()), ..Surroundings::default() })
}

async fn rig(booth: BoothOptions, table: &str, camera: &str) -> Rig {
    const STIFF: &str = "start_deg = 0.0\nbacklash_deg = 0.0\nvibration_deg = 0.0\neccentricity_deg = 0.0\n";
    let booth = Booth::new(booth).unwrap();
    let table = if table.is_empty() { STIFF } else { table };
    let mut table = crate::turntable::open(
        &options(table),
        &Surroundings { booth: Some(booth.clone()), ..Surroundings::default() },
    )
    .await
    .unwrap();
    table.reference(Reference::At(Angle::default())).await.unwrap();
    let camera = try_open(&booth, camera).unwrap();
    Rig { booth, table, camera }
}

async fn plain() -> Rig {
    rig(BoothOptions::default(), "", SMALL).await
}

async fn with_faults(faults: &[Fault]) -> Rig {
    rig(BoothOptions { faults: faults.to_vec(), ..BoothOptions::default() }, "", SMALL).await
}

fn within(time: Duration) -> ExposeRequest {
    let now = Instant::now();
    ExposeRequest { not_before: now, deadline: now + time, variant: Variant::default() }
}

fn soon() -> ExposeRequest {
    within(Duration::from_secs(10))
}

fn jpeg_of(set: FrameSet) -> Bytes {
    match set.frames.into_iter().next().unwrap().data {
        FrameData::Encoded { codec: Codec::Jpeg, bytes } => bytes,
        other => panic!("not a JPEG: {other:?}"),
    }
}

impl Rig {
    async fn shoot(&mut self) -> Bytes {
        let exposed = self.camera.expose(&soon()).await.unwrap();
        jpeg_of(self.camera.fetch(exposed).await.unwrap())
    }

    /// Shoots and decodes.
    async fn look(&mut self) -> Picture {
        Picture::of(&self.shoot().await)
    }

    async fn turn_to(&mut self, deg: f64, direction: Direction) {
        self.table.move_to(Target { angle: Angle::new(deg), direction }).await.unwrap();
    }
}

/// Decoded pixels.
#[derive(PartialEq)]
struct Picture {
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    fn of(jpeg: &[u8]) -> Picture {
        let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap();
        Picture { width: image.width, rgb: image.pixels }
    }

    /// Mean absolute difference in levels.
    fn difference(&self, other: &Picture) -> f64 {
        assert_eq!(self.rgb.len(), other.rgb.len());
        let sum: u64 = self.rgb.iter().zip(&other.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / self.rgb.len() as f64
    }

    /// Mean of each colour.
    fn mean(&self) -> [f64; 3] {
        let pixels = self.rgb.len() / 3;
        [0, 1, 2].map(|lane| {
            self.rgb.iter().skip(lane).step_by(3).map(|v| f64::from(*v)).sum::<f64>() / pixels as f64
        })
    }

    /// Share of the bytes that are as bright as can be.
    fn clipped(&self) -> f64 {
        self.rgb.iter().filter(|v| **v >= 254).count() as f64 / self.rgb.len() as f64
    }

    /// Mean square of the Laplacian of green: large for a sharp picture.
    fn sharpness(&self) -> f64 {
        let at = |x: usize, y: usize| f64::from(self.rgb[(y * self.width + x) * 3 + 1]);
        let height = self.rgb.len() / 3 / self.width;
        let mut sum = 0.0;
        for y in 1..height - 1 {
            for x in 1..self.width - 1 {
                let edge = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y);
                sum += edge * edge;
            }
        }
        sum / self.rgb.len() as f64
    }
}

#[tokio::test(start_paused = true)]
async fn an_exposure_waits_for_its_moment_and_returns_at_its_end() {
    let mut rig = plain().await;
    let not_before = Instant::now() + Duration::from_secs(3);
    let request = ExposeRequest {
        not_before,
        deadline: not_before + Duration::from_secs(5),
        variant: Variant::default(),
    };
    let exposed = rig.camera.expose(&request).await.unwrap();
    assert_eq!(exposed.start, not_before + Duration::from_millis(30), "shutter latency");
    assert_eq!(exposed.end, exposed.start + Duration::from_millis(8));
    assert!(Instant::now() >= exposed.end && Instant::now() < exposed.end + Duration::from_millis(2));
    let set = rig.camera.fetch(exposed).await.unwrap();
    assert_eq!(set.frames[0].time.start, exposed.start);
    assert_eq!(set.frames[0].seq, 1);
    assert!(Instant::now() >= exposed.end + Duration::from_millis(60), "the transfer takes its time");
}

#[tokio::test(start_paused = true)]
async fn an_exposure_that_cannot_end_in_time_is_not_begun() {
    let mut rig = plain().await;
    let begun = Instant::now();
    let error = rig.camera.expose(&within(Duration::from_millis(20))).await.unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }) && error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(25));
    assert_eq!(rig.booth.exposures("main"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_exposure_is_fetched_once_in_any_order() {
    let mut rig = plain().await;
    let first = rig.camera.expose(&soon()).await.unwrap();
    let second = rig.camera.expose(&soon()).await.unwrap();
    assert_eq!(rig.camera.fetch(second).await.unwrap().frames[0].seq, 2);
    assert_eq!(rig.camera.fetch(first).await.unwrap().frames[0].seq, 1);
    let error = rig.camera.fetch(first).await.unwrap_err();
    assert!(error.to_string().contains("fetched already"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_refuses_exposures_until_one_is_fetched() {
    let mut rig = plain().await;
    let mut exposed = Vec::new();
    for _ in 0..BUFFER_MAX {
        exposed.push(rig.camera.expose(&soon()).await.unwrap());
    }
    assert!(matches!(rig.camera.expose(&soon()).await, Err(CameraError::Unsupported { .. })));
    rig.camera.fetch(exposed[0]).await.unwrap();
    rig.camera.expose(&soon()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_transfer_keeps_to_the_deadline() {
    let mut rig = rig(BoothOptions::default(), "", "size = [64, 64]\ntransfer_ms = 5000.0").await;
    let exposed = rig.camera.expose(&within(Duration::from_secs(2))).await.unwrap();
    let error = rig.camera.fetch(exposed).await.unwrap_err();
    assert!(matches!(error, CameraError::Timeout { .. }), "{error}");
    assert!(Instant::now() < exposed.deadline + Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn settings_are_read_back_and_last_until_the_camera_is_opened_again() {
    let mut rig = plain().await;
    let asked = Settings {
        exposure_us: Some(4000.0),
        gain: Some(2.0),
        size: Some((320, 240)),
        quality: Some(60),
        wb_kelvin: None,
        focus: Some(0.5),
    };
    let applied = rig.camera.apply(&asked).await.unwrap();
    let want =
        Exposure { exposure_us: Some(4000.0), gain: Some(2.0), wb_kelvin: Some(5000.0), focus: Some(0.5) };
    assert_eq!(applied, Applied { requested: asked, exposure: want, size: (320, 240) });
    let exposed = rig.camera.expose(&soon()).await.unwrap();
    assert_eq!(exposed.end - exposed.start, Duration::from_millis(4));
    let set = rig.camera.fetch(exposed).await.unwrap();
    assert_eq!(set.frames[0].exposure, want);
    let header = turbojpeg::read_header(&jpeg_of(set)).unwrap();
    assert_eq!((header.width, header.height, header.subsamp), (320, 240, turbojpeg::Subsamp::Sub2x2));

    let mut again = try_open(&rig.booth, SMALL).unwrap();
    assert_eq!(again.apply(&Settings::default()).await.unwrap().exposure, NOMINAL);
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_change_nothing() {
    let mut rig = plain().await;
    for wrong in [
        Settings { exposure_us: Some(0.0), ..Settings::default() },
        Settings { gain: Some(f64::NAN), ..Settings::default() },
        Settings { wb_kelvin: Some(100.0), ..Settings::default() },
        Settings { size: Some((321, 240)), ..Settings::default() },
        Settings { size: Some((4002, 3000)), ..Settings::default() },
        Settings { quality: Some(0), ..Settings::default() },
    ] {
        let error = rig.camera.apply(&wrong).await.unwrap_err();
        assert!(matches!(error, CameraError::Unsupported { .. }), "{wrong:?}: {error}");
    }
    let applied = rig.camera.apply(&Settings::default()).await.unwrap();
    assert_eq!((applied.exposure, applied.size), (NOMINAL, (288, 216)));
}

#[tokio::test(start_paused = true)]
async fn a_preview_is_small_and_counts_as_no_exposure() {
    let mut rig = rig(BoothOptions::default(), "", "").await;
    let frame = rig.camera.preview().await.unwrap().unwrap();
    let FrameData::Encoded { bytes, .. } = frame.data else { panic!("not encoded") };
    let header = turbojpeg::read_header(&bytes).unwrap();
    assert_eq!((header.width, header.height), (480, 360));
    assert_eq!(rig.booth.exposures("main"), 0);
}

#[test]
fn wrong_keys_are_named() {
    let booth = Booth::new(BoothOptions::default()).unwrap();
    for (keys, says) in [
        ("megapixel = 3", "unknown field `megapixel`"),
        ("size = [100, 99]", "must be even"),
        ("size = [4004, 3000]", "4000x3000"),
        ("size = [640, 480]\nmegapixels = 1.0", "not both"),
        ("megapixels = 24.0", "megapixels = 24 is not in"),
        ("elevation_deg = 90.0", "elevation_deg"),
        ("distance_mm = 100.0", "distance_mm"),
        ("noise = nan", "noise"),
        ("quality = 0", "quality"),
        ("latency_ms = -1.0", "latency_ms"),
        ("shake_px = 101.0", "shake_px"),
        ("pan_deg = 46.0", "pan_deg"),
        ("tilt_deg = -46.0", "tilt_deg"),
        ("format = \"gif\"", "unknown variant `gif`"),
        ("subsampling = \"411\"", "unknown variant `411`"),
        ("format = \"nv12\"\nprogressive = true", "format = \"jpeg\""),
        ("format = \"yuyv\"\nsubsampling = \"422\"", "format = \"jpeg\""),
        ("format = \"mjpeg\"\nprogressive = true", "format = \"jpeg\" only"),
    ] {
        let Err(error) = try_open(&booth, keys) else { panic!("{keys} was taken") };
        assert!(error.to_string().contains(says), "{keys}: {error}");
    }
    let size = |keys| try_open(&booth, keys).map(|_| options(keys).read::<Keys>().unwrap().picture_size());
    assert_eq!(size("megapixels = 12.0").unwrap(), Ok((4000, 3000)));
    assert_eq!(size("megapixels = 3.0").unwrap(), Ok((2016, 1512)));
    assert_eq!(size("").unwrap(), Ok((1152, 864)));
}
