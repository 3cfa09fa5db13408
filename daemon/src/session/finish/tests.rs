//! What comes with a picture, and on whose time it is made.

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use turnstage_drivers::Surroundings;
use turnstage_drivers::camera::{Applied, Camera, CameraInfo, ExposeRequest, Settings};
use turnstage_drivers::frame::{Exposure, FrameSet, FrameTime, StreamKind};
use turnstage_pipeline::InputLimits;

use super::*;
use crate::config::Config;
use crate::rig::Rig;

/// A camera whose shots are always this one.
struct Still(Vec<Frame>);

#[async_trait]
impl Camera for Still {
    async fn apply(&mut self, _: &Settings) -> Result<Applied, CameraError> {
        Err(CameraError::Poisoned { id: "still".to_owned() })
    }
    async fn warm_up(&mut self, _: Duration) -> Result<(), CameraError> {
        Ok(())
    }
    async fn expose(&mut self, _: &ExposeRequest) -> Result<Exposed, CameraError> {
        Err(CameraError::Poisoned { id: "still".to_owned() })
    }
    async fn fetch(&mut self, _: Exposed) -> Result<FrameSet, CameraError> {
        Ok(FrameSet { frames: self.0.clone(), max_skew: Duration::ZERO, discarded_stale: 0 })
    }
    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        Ok(None)
    }
    fn info(&self) -> CameraInfo {
        CameraInfo {
            driver: "still",
            id: "still".to_owned(),
            model: "Still".to_owned(),
            size_max: (64, 48),
            firmware: None,
            can: turnstage_drivers::camera::Abilities::default(),
            tried: false,
            remaining: None,
        }
    }
}

fn frame(kind: StreamKind, data: FrameData, depth_unit_m: Option<f64>) -> Frame {
    Frame {
        kind,
        data,
        seq: 1,
        lost_before: 0,
        time: FrameTime::arrived(),
        exposure: Exposure::default(),
        intrinsics: None,
        depth_unit_m,
        file_name: None,
        meta: BTreeMap::new(),
    }
}

/// A small picture with large companions: distances and a raw file.
fn shot() -> Vec<Frame> {
    let pixels = |format, width, height, stride, bytes: Vec<u8>| FrameData::Pixels {
        format,
        width,
        height,
        stride,
        bytes: bytes.into(),
    };
    let color = pixels(PixelFormat::Rgb8, 64, 48, 192, vec![90; 192 * 48]);
    let steps =
        (0..1200 * 900u32).flat_map(|n| (700 + (n.wrapping_mul(2_654_435_761) >> 25) as u16).to_le_bytes());
    let depth = pixels(PixelFormat::Z16, 1200, 900, 2400, steps.collect());
    let raw = FrameData::Encoded { codec: Codec::Raw("nef".to_owned()), bytes: vec![7; 8 << 20].into() };
    vec![
        frame(StreamKind::Color, color, None),
        frame(StreamKind::Depth, depth, Some(0.001)),
        frame(StreamKind::Still, raw, None),
    ]
}

/// What the processor has spent on this thread.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[tokio::test]
async fn what_comes_with_a_picture_is_coded_and_hashed_beside_the_sessions_own_task() {
    let text = "[rig.cameras.main]\ndriver = \"sim\"\n";
    let config = Config::from_text(Some(("test.toml", text)), Vec::new()).unwrap();
    let mut rig = Rig::new(&config, Surroundings::default());
    let frames = shot();
    let camera = &mut rig.cameras[0];
    camera.camera = Some(Box::new(Still(frames.clone())));
    camera.examiner = Some(Examiner::new(InputLimits::default()).unwrap());
    let now = Instant::now();
    let exposed = Exposed { ticket: 1, start: now, end: now, deadline: now + Duration::from_secs(60) };

    let before = spent();
    let judged = fetch_and_judge(camera, exposed, CaptureClass::Durable, &qc::Limits::default(), None).await;
    let on_the_task = spent() - before;

    let before = spent();
    let wanted: Vec<Companion> = frames[1..].iter().cloned().filter_map(companion).collect();
    let work = spent() - before;
    assert!(
        on_the_task < work / 4,
        "{on_the_task:?} of the session's own task; the work itself takes {work:?}"
    );

    let found = judged.unwrap().companions;
    let told = |all: &[Companion]| -> Vec<_> {
        all.iter().map(|one| (one.product, one.extension.clone(), one.sha256, one.sha256_captured)).collect()
    };
    assert_eq!(told(&found), told(&wanted));
    let [depth, raw] = &found[..] else { panic!("{} companions", found.len()) };
    assert_eq!((depth.product, depth.sha256), ("depth", Sha256::of(&depth.bytes)));
    let FrameData::Pixels { bytes, .. } = &frames[1].data else { unreachable!() };
    assert_eq!(depth.sha256_captured, Sha256::of(bytes), "of the camera's own bytes");
    assert_eq!((raw.product, raw.sha256, raw.sha256_captured), ("raw", Sha256::of(&raw.bytes), raw.sha256));
}
