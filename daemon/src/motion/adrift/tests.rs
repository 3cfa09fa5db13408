//! What is told of a link that is lost in each kind of motion, of each kind of table.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use turnstage_drivers::turntable::{DegPerS, Direction, Reference, RunLimit, Source, Target};
use turnstage_drivers::{Angle, Moved, Position, Surroundings, Turntable, TurntableError};

use super::*;
use crate::arming::Arming;
use crate::motion::mover::Request;
use crate::motion::{Drive, Motion, MotionTask, Mount, Move, MoveEnd};

/// A table whose link breaks in its first motion.
struct Frail {
    info: TurntableInfo,
    home_deg: f64,
    /// It is there and does not answer, instead.
    silent: bool,
}

impl Frail {
    fn new(without_link: WithoutLink) -> Self {
        let info = TurntableInfo {
            driver: "frail",
            id: "frail".to_owned(),
            model: "frail".to_owned(),
            home: true,
            home_way: Direction::Forward,
            one_way: None,
            speed_max: 10.0,
            acceleration: 10.0,
            rotates: None,
            sweeps: false,
            stops: true,
            move_limit: Duration::from_secs(60),
            firmware: None,
            tilt: Some((-10.0, 30.0)),
            step_deg: None,
            without_link,
            tried: false,
        };
        Self { info, home_deg: 360.0, silent: false }
    }

    fn broken(&self) -> TurntableError {
        let (id, tried) = (self.info.id.clone(), "move".to_owned());
        match self.silent {
            true => TurntableError::NoReply { id, tried, limit: Duration::from_secs(3) },
            false => TurntableError::LinkLost { id, tried },
        }
    }
}

#[async_trait]
impl Turntable for Frail {
    async fn reference(&mut self, _: Reference) -> Result<Moved, TurntableError> {
        Err(self.broken())
    }
    async fn move_to(&mut self, _: Target) -> Result<Moved, TurntableError> {
        Err(self.broken())
    }
    async fn move_by(&mut self, _: f64) -> Result<Moved, TurntableError> {
        Err(self.broken())
    }
    async fn rotate(&mut self, _: DegPerS) -> Result<(), TurntableError> {
        Err(self.broken())
    }
    async fn tilt_to(&mut self, _: f64) -> Result<Moved, TurntableError> {
        Err(self.broken())
    }
    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        Err(self.broken())
    }
    fn home_deg(&self) -> f64 {
        self.home_deg
    }
    fn position(&self) -> Position {
        Position::Known(Angle::default(), Source::Declared)
    }
    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

/// Asks a table for a motion in which its link breaks: the sentence, and the state afterwards.
async fn told(table: Frail, what: Move, tilt_deg: Option<f64>) -> (String, Motion) {
    let drive = Drive {
        approach_deg: 5.0,
        reopen: Duration::from_secs(1),
        announce: Duration::from_secs(3),
        unattended_deg_max: 90.0,
        mount: Mount::default(),
    };
    let options = toml::from_str("driver = \"sim\"").unwrap();
    let arming = Arming::new(true, Duration::from_secs(600));
    let (mut task, mover) = MotionTask::new(Some(options), Surroundings::default(), drive, arming);
    task.table = Some(Box::new(table));
    task.publish(|state| state.tilt_deg = tilt_deg);
    let (end, ended) = oneshot::channel();
    task.serve(Request { what, halt: CancellationToken::new(), end }).await;
    match ended.await.unwrap() {
        MoveEnd::Failed { reason, .. } => (reason, mover.state()),
        end => panic!("{end:?}"),
    }
}

fn to_170() -> Move {
    Move::To(Angle::new(170.0))
}

#[tokio::test(start_paused = true)]
async fn a_table_that_counts_its_own_way_goes_to_the_end_of_the_command_at_hand() {
    let (reason, state) = told(Frail::new(WithoutLink::EndsMove), to_170(), None).await;
    assert!(reason.contains("Link lost: it may still turn up to 85 degrees, keep clear."), "{reason}");
    assert_eq!(state.adrift, Some(Adrift::Turns(85.0)));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_this_station_must_switch_off_turns_on_until_its_power_is_cut() {
    let runs_on = WithoutLink::RunsOn(None);
    for what in [to_170(), Move::Reference(Reference::Home)] {
        let (reason, state) = told(Frail::new(runs_on), what, None).await;
        assert!(
            reason.contains("it turns on until its power is cut. Press the emergency stop and keep clear."),
            "{reason}"
        );
        assert!(!reason.contains("degrees"), "no bound is told that nothing keeps: {reason}");
        assert_eq!(state.adrift, Some(Adrift::TurnsOn));
    }
    let silent = Frail { silent: true, ..Frail::new(runs_on) };
    let (reason, _) = told(silent, to_170(), None).await;
    assert!(reason.contains("if it turns, press the emergency stop"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_run_limit_of_the_hardware_bounds_what_is_asked_for_and_what_is_told() {
    let limit = RunLimit { way_deg: 40.0, ends_deg: 61.5 };
    let (reason, state) = told(Frail::new(WithoutLink::RunsOn(Some(limit))), to_170(), None).await;
    assert!(reason.contains("it may still turn up to 62 degrees"), "{reason}");
    assert_eq!(state.adrift, Some(Adrift::Turns(61.5)));
    assert_eq!(WithoutLink::RunsOn(Some(limit)).way_deg_max(90.0), Some(40.0));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_on_the_way_home_tells_all_of_that_way() {
    let home = Move::Reference(Reference::Home);
    let (reason, _) = told(Frail::new(WithoutLink::EndsMove), home, None).await;
    assert!(reason.contains("it may still turn up to 360 degrees"), "{reason}");
    let far = Frail { home_deg: 547.0, ..Frail::new(WithoutLink::EndsMove) };
    let (reason, state) = told(far, home, None).await;
    assert!(reason.contains("it may still turn up to 547 degrees"), "{reason}");
    assert_eq!(state.adrift, Some(Adrift::Turns(547.0)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_in_a_tilt_tells_of_a_tilt() {
    let (reason, state) = told(Frail::new(WithoutLink::EndsMove), Move::Tilt(15.0), Some(5.0)).await;
    assert!(reason.contains("it may still tilt by up to 10 degrees, keep clear."), "{reason}");
    assert_eq!(state.adrift, Some(Adrift::Tilts(10.0)));
    // Where it was tilted to is not known: it may come from its far end.
    let (reason, _) = told(Frail::new(WithoutLink::EndsMove), Move::Tilt(15.0), None).await;
    assert!(reason.contains("it may still tilt by up to 25 degrees"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_under_way_no_degrees_are_told() {
    let zero = Move::Reference(Reference::At(Angle::default()));
    let (reason, state) = told(Frail::new(WithoutLink::EndsMove), zero, None).await;
    assert!(
        reason.ends_with("Link lost. Check that it stands still, then its cable, then continue."),
        "{reason}"
    );
    assert_eq!(state.adrift, None);
}
