//! The suite itself is tried on devices that break their promises one at a time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use async_trait::async_trait;
use turnstage_drivers::camera::{Applied, CameraInfo, ExposeRequest, Exposed, Settings, Variant};
use turnstage_drivers::frame::{Frame, FrameData};
use turnstage_drivers::sim::{Booth, BoothOptions, Fault};
use turnstage_drivers::turntable::{Reference, Source, Target, TurntableInfo};
use turnstage_drivers::{
    Angle, Camera, CameraError, DeviceOptions, FrameSet, Moved, Position, Surroundings, Turntable,
    TurntableError,
};
use turnstage_hw_tests::{Outcome, Report, camera, turntable};

mod tables;

fn booth(faults: Vec<Fault>) -> Surroundings {
    let booth = Booth::new(BoothOptions { faults, ..BoothOptions::default() }).unwrap();
    Surroundings { booth: Some(booth), ..Surroundings::default() }
}

async fn table(faults: Vec<Fault>) -> Box<dyn Turntable> {
    turnstage_drivers::turntable::open(&DeviceOptions::new("sim"), &booth(faults)).await.unwrap()
}

async fn lens(keys: &str) -> Box<dyn Camera> {
    let options: DeviceOptions =
        toml::from_str(&format!("driver = \"sim\"\nsize = [64, 64]\n{keys}")).unwrap();
    turnstage_drivers::camera::open("main", &options, &booth(Vec::new())).await.unwrap()
}

/// A table that takes "heard" for "done" and believes in itself whatever happens.
struct Hasty(Box<dyn Turntable>, Angle);

#[async_trait]
impl Turntable for Hasty {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        self.1 = Angle::new(0.0);
        self.0.reference(how).await
    }
    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        self.1 = to.angle;
        Ok(Moved::Done(to.angle))
    }
    async fn move_by(&mut self, _: f64) -> Result<Moved, TurntableError> {
        Ok(Moved::Done(self.1))
    }
    async fn rotate(&mut self, _: f64) -> Result<(), TurntableError> {
        Ok(())
    }
    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        Ok(Moved::Done(self.1))
    }
    fn position(&self) -> Position {
        Position::Known(self.1, Source::Declared)
    }
    fn info(&self) -> &TurntableInfo {
        self.0.info()
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_only_says_yes_is_found_out() {
    let report = turntable::conform(Box::new(Hasty(table(Vec::new()).await, Angle::new(0.0)))).await;
    assert_eq!(
        report.broken(),
        [
            "knows that it does not know its position",
            "refuses a target before a reference",
            "says that it stands when it stands, within its limit",
            "refuses more than one turn",
            "tells where it is while it sweeps",
            "a half turn is under way when it is stopped",
            "stops on the way and says so",
            "doubts its position after a stop on the way",
            "refuses to turn on faster than it can",
            "rotates until it is stopped",
        ],
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_blocked_table_reaches_nothing_and_the_suite_comes_to_its_end() {
    let report = turntable::conform(table(vec![Fault::Jam { at_deg: 60.0 }]).await).await;
    assert!(!report.broken().is_empty(), "{report}");
    assert!(!report.broken().contains(&"can be stopped at the end"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_table_does_not_hold_the_suite() {
    let report = turntable::conform(table(vec![Fault::Stall { nth_move: 2 }]).await).await;
    assert!(report.broken().contains(&"reaches its targets by both ways round"), "{report}");
}

/// A camera that exposes at once, forgets nothing and never tires.
struct Eager(Box<dyn Camera>, Option<FrameSet>);

#[async_trait]
impl Camera for Eager {
    async fn apply(&mut self, _: &Settings) -> Result<Applied, CameraError> {
        self.0.apply(&Settings { gain: Some(2.0), ..Settings::default() }).await
    }
    async fn warm_up(&mut self, limit: Duration) -> Result<(), CameraError> {
        self.0.warm_up(limit).await
    }
    async fn expose(&mut self, request: &ExposeRequest) -> Result<Exposed, CameraError> {
        let now = tokio::time::Instant::now();
        let exposed = self
            .0
            .expose(&ExposeRequest {
                not_before: now,
                deadline: now + Duration::from_secs(9),
                variant: Variant::default(),
            })
            .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Exposed { deadline: request.deadline, ..exposed })
    }
    async fn fetch(&mut self, exposed: Exposed) -> Result<FrameSet, CameraError> {
        if self.1.is_none() {
            let mut set = self.0.fetch(exposed).await?;
            for frame in &mut set.frames {
                if let FrameData::Encoded { bytes, .. } = &mut frame.data {
                    bytes.truncate(bytes.len() / 2);
                }
            }
            self.1 = Some(set);
        }
        self.1.clone().ok_or(CameraError::Poisoned { id: "eager".to_owned() })
    }
    async fn preview(&mut self) -> Result<Option<Frame>, CameraError> {
        Err(CameraError::Poisoned { id: "eager".to_owned() })
    }
    fn info(&self) -> CameraInfo {
        self.0.info()
    }
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_cannot_wait_is_found_out() {
    let report = camera::conform(Box::new(Eager(lens("").await, None))).await;
    assert_eq!(
        report.broken(),
        [
            "applies settings and reads them back",
            "exposes no earlier than it was told",
            "returns at the end of exposure",
            "brings a whole picture",
            "brings each exposure once",
            "numbers its frames, also when two wait",
            "gives up at its deadline",
            "gives a preview or none",
        ],
        "{report}"
    );
}

#[tokio::test]
async fn a_folder_of_pictures_is_a_camera_that_runs_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = lens("").await;
    for k in 0..3 {
        let now = tokio::time::Instant::now();
        let request = ExposeRequest {
            not_before: now,
            deadline: now + Duration::from_secs(9),
            variant: Variant::default(),
        };
        let exposed = source.expose(&request).await.unwrap();
        let FrameData::Encoded { bytes, .. } = source.fetch(exposed).await.unwrap().frames.remove(0).data
        else {
            panic!("not encoded")
        };
        std::fs::write(folder.path().join(format!("{k}.jpg")), bytes).unwrap();
    }
    let mut options = DeviceOptions::new("replay");
    options.keys.insert("folder".to_owned(), folder.path().display().to_string().into());
    let replay = turnstage_drivers::camera::open("main", &options, &Surroundings::default()).await.unwrap();
    let report = camera::conform(replay).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let skipped: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| matches!(check.outcome, Outcome::Skipped(_)))
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(skipped, ["numbers its frames, also when two wait", "gives up at its deadline"], "{report}");
}
