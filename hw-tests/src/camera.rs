//! The promises of a camera.
//!
//! Six exposures are made. Cameras that run out of pictures need that many; a promise that cannot be tried any more
//! is skipped and says so.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::camera::{ExposeRequest, Exposed, Settings, Variant};
use turnstage_drivers::frame::{Codec, FrameData};
use turnstage_drivers::{Camera, CameraError, FrameSet};

use crate::Report;
use crate::report::expect;

/// Time for one exposure and its transfer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A call may end this much after its deadline.
const GRACE: Duration = Duration::from_millis(500);
/// The promise that a picture is brought, and that it is one.
pub const WHOLE: &str = "brings a whole picture";

/// Puts a camera through every promise.
pub async fn conform(camera: Box<dyn Camera>) -> Report {
    let info = camera.info();
    let mut suite = Suite {
        report: Report::of("camera", &info.id, info.driver, &info.model, info.firmware.clone()),
        camera,
    };
    suite.applies_settings().await;
    suite.exposes_after_its_moment().await;
    suite.fetches_once().await;
    suite.lets_two_exposures_wait().await;
    suite.keeps_to_its_deadline().await;
    let preview = suite.camera.preview().await;
    suite.report.check("gives a preview or none", preview.map(|_| ()).map_err(|e| e.to_string()));
    suite.report
}

/// Whether a camera that was opened gives a picture.
pub async fn works(opened: Result<Box<dyn Camera>, CameraError>) -> Result<(), String> {
    let mut camera = opened.map_err(|e| e.to_string())?;
    camera.warm_up(PATIENCE).await.map_err(|e| e.to_string())?;
    let not_before = Instant::now();
    let request = ExposeRequest { not_before, deadline: not_before + PATIENCE, variant: Variant::default() };
    let exposed = camera.expose(&request).await.map_err(|e| e.to_string())?;
    whole(&camera.fetch(exposed).await.map_err(|e| e.to_string())?)
}

struct Suite {
    report: Report,
    camera: Box<dyn Camera>,
}

impl Suite {
    async fn applies_settings(&mut self) {
        let settings = Settings::default();
        let kept = match self.camera.apply(&settings).await {
            Ok(applied) => {
                expect(applied.requested == settings && applied.size.0 > 0, || format!("{applied:?}"))
            }
            Err(error) => Err(error.to_string()),
        };
        self.report.check("applies settings and reads them back", kept);
        let warm = self.camera.warm_up(PATIENCE).await;
        self.report.check("warms up", warm.map_err(|e| e.to_string()));
    }

    async fn expose(&mut self, wait: Duration) -> Result<Exposed, CameraError> {
        let not_before = Instant::now() + wait;
        self.camera
            .expose(&ExposeRequest {
                not_before,
                deadline: not_before + PATIENCE,
                variant: Variant::default(),
            })
            .await
    }

    async fn exposes_after_its_moment(&mut self) {
        let not_before = Instant::now() + Duration::from_millis(300);
        let exposed = self.expose(Duration::from_millis(300)).await;
        let returned = Instant::now();
        let (moment, end) = match &exposed {
            Err(error) => (Err(error.to_string()), Err(error.to_string())),
            Ok(e) => (
                expect(e.start >= not_before && e.end >= e.start, || {
                    format!("began {:?} too early", not_before.saturating_duration_since(e.start))
                }),
                expect(returned >= e.end && returned < e.end + GRACE, || {
                    let (early, late) = (e.end - returned.min(e.end), returned - e.end.min(returned));
                    format!("returned {early:?} before or {late:?} after the end of exposure")
                }),
            ),
        };
        self.report.check("exposes no earlier than it was told", moment);
        self.report.check("returns at the end of exposure", end);
        if let Ok(exposed) = exposed {
            let picture = self.camera.fetch(exposed).await;
            self.report.check(WHOLE, picture.map_err(|e| e.to_string()).and_then(|s| whole(&s)));
        }
    }

    async fn fetches_once(&mut self) {
        const NAME: &str = "brings each exposure once";
        let exposed = match self.expose(Duration::ZERO).await {
            Ok(exposed) => exposed,
            Err(error) => return self.no_exposure(NAME, error),
        };
        let first = self.camera.fetch(exposed).await;
        let second = self.camera.fetch(exposed).await;
        let kept = expect(first.is_ok() && second.is_err(), || {
            format!("the first time {}, the second time {}", word(&first), word(&second))
        });
        self.report.check(NAME, kept);
    }

    async fn lets_two_exposures_wait(&mut self) {
        const NAME: &str = "numbers its frames, also when two wait";
        let (first, second) = match (self.expose(Duration::ZERO).await, self.expose(Duration::ZERO).await) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), _) | (_, Err(error)) => return self.no_exposure(NAME, error),
        };
        let (one, two) = (self.camera.fetch(first).await, self.camera.fetch(second).await);
        let number = |set: &Result<FrameSet, CameraError>| {
            set.as_ref().ok().and_then(|set| set.frames.first()).map(|frame| frame.seq)
        };
        let (one, two) = (number(&one), number(&two));
        self.report.check(NAME, expect(one.is_some() && one < two, || format!("{one:?}, then {two:?}")));
    }

    async fn keeps_to_its_deadline(&mut self) {
        const NAME: &str = "gives up at its deadline";
        let begun = Instant::now();
        let deadline = begun + Duration::from_millis(100);
        let not_before = begun + Duration::from_millis(400);
        let result =
            self.camera.expose(&ExposeRequest { not_before, deadline, variant: Variant::default() }).await;
        let late = Instant::now().saturating_duration_since(deadline);
        match result {
            Err(error @ CameraError::Exhausted { .. }) => self.no_exposure(NAME, error),
            Err(CameraError::Timeout { .. }) => {
                self.report.check(NAME, expect(late <= GRACE, || format!("{late:?} after its deadline")));
            }
            other => self.report.check(NAME, Err(format!("{other:?}"))),
        }
    }

    fn no_exposure(&mut self, name: &'static str, error: CameraError) {
        match error {
            CameraError::Exhausted { .. } => self.report.skip(name, "no more pictures"),
            other => self.report.check(name, Err(other.to_string())),
        }
    }
}

/// A frame that holds a picture; of a JPEG, both ends.
fn whole(set: &FrameSet) -> Result<(), String> {
    let frame = set.frames.first().ok_or("no frame at all")?;
    match &frame.data {
        FrameData::Encoded { codec: Codec::Jpeg, bytes } => {
            let tail = &bytes[bytes.len().saturating_sub(64)..];
            let ends = bytes.starts_with(&[0xff, 0xd8, 0xff]) && tail.windows(2).any(|w| w == [0xff, 0xd9]);
            expect(ends, || format!("{} bytes that are no whole JPEG", bytes.len()))
        }
        FrameData::Encoded { bytes, .. } => expect(!bytes.is_empty(), || "an empty file".to_owned()),
        FrameData::Pixels { height, stride, bytes, .. } => {
            let want = *height as usize * *stride as usize;
            expect(bytes.len() == want, || format!("{} bytes of pixels instead of {want}", bytes.len()))
        }
    }
}

fn word(set: &Result<FrameSet, CameraError>) -> String {
    match set {
        Ok(_) => "a picture".to_owned(),
        Err(error) => format!("\"{error}\""),
    }
}
