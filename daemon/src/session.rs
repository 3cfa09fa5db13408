//! The way of one frame, on one page: turn, settle, expose, then judge and store while the table turns on.
//!
//! [`Session::run`] shoots what is left of the plan and returns why it ended. The table leaves at the end of
//! exposure; fetching, verdict and storing of shot n overlap the turn to shot n + 1 and end before its exposure. A
//! frame is promised to nobody before `spool.put` has returned.

mod absent;
mod calibrated;
mod closing;
mod finish;
mod flash;
pub mod journal;
mod kept;
mod matching;
mod passing;
pub mod plan;
pub mod plate;
mod progress;
mod settle;
mod shot;
mod sweep;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use turnstage_cloud_sync::backend::Payload;
use turnstage_cloud_sync::event::NewEvent;
use turnstage_cloud_sync::spool::{Commit, SpoolError};
use turnstage_cloud_sync::{Record, Sha256, Spool};
use turnstage_drivers::{Angle, Position};
use turnstage_pipeline::qc::{self, Finding, Nature, Verdict};

pub use journal::{ItemChange, SESSION_SCHEMA, SessionDoc, SessionState, Step, Timing};

use crate::calibration::shelf::Shelf;
use crate::clock::SystemClock;
use crate::command::{Refusal, Which};
use crate::config::Destination;
use crate::io::Controls;
use crate::motion::Mover;
use crate::recipe::{Place, Settle, VerdictTiming};
use crate::rig::Rig;
use crate::status::{Fault, Status};
use absent::UNPLUGGED;
use matching::Zero;
use passing::Passing;
use plan::{Plan, Slot};
use progress::Progress;
use shot::{Shot, expose, interrupted_by, turn};

/// Failed exposures of one slot before the session asks for a person.
const FAILURES_MAX: u32 = 3;

/// What a session works with while it runs.
pub struct Stage<'a> {
    /// The cameras.
    pub rig: &'a mut Rig,
    /// The table.
    pub mover: &'a Mover,
    /// Where frames are kept.
    pub spool: &'a Spool,
    /// Folder for thumbnails; without one none are kept.
    pub thumbnails: Option<&'a Path>,
    /// Calibrations and clean plates.
    pub shelf: &'a Shelf,
    /// The configured destinations.
    pub destinations: &'a BTreeMap<String, Destination>,
    /// How long a camera that went away is waited for.
    pub camera_wait: Duration,
    /// For labels.
    pub clock: &'a SystemClock,
    /// `true` = finish the shot at hand, then wait.
    pub pause: watch::Receiver<bool>,
    /// Inputs and outputs now; one of them may see flashes.
    pub controls: watch::Receiver<Controls>,
    /// The state now.
    pub status: &'a watch::Sender<Status>,
}

/// A picture that is there.
#[derive(Debug, Clone)]
pub struct Take {
    /// Its record.
    pub sequence: u64,
    /// 1 for the first.
    pub take: u32,
    /// What a rule found.
    pub findings: Vec<Finding>,
    /// Its hash.
    pub sha256: Sha256,
    /// Its bytes, while they are on this station.
    pub payload: Option<Payload>,
    /// What belongs to it: a depth picture, a raw file.
    pub beside: Vec<Beside>,
}

/// A file that belongs to a picture and goes where it goes, if it is wanted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it is: `depth`, `raw`.
    pub product: String,
    /// Its record.
    pub sequence: u64,
}

/// The product that is judged and shown.
pub const PICTURE: &str = "original";

/// The product that a depth picture is kept as: PNG in millimetres, aligned to the picture that it came with.
pub const DEPTH: &str = "depth";

impl Take {
    /// A rule blocks it.
    pub fn is_flagged(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Block)
    }
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing is left to take.
    Complete,
    /// A person asked for a pause.
    Paused,
    /// A person pressed stop.
    Stopped,
    /// A person must look.
    Fault(Fault),
}

/// One session of the station.
pub struct Session {
    /// What is stored of it.
    pub doc: SessionDoc,
    plan: Plan,
    takes: BTreeMap<Slot, Take>,
    /// What its frames are compared by.
    seen: qc::Turn,
    failures: BTreeMap<Slot, u32>,
    /// Rule and shot of the last systematic finding, by camera.
    streak: BTreeMap<String, (String, u32)>,
    retaken: u32,
    /// Shots in a row beside their angles.
    beside: u32,
    /// Spin time of earlier runs, in seconds.
    spun_before_s: f64,
    zero: Zero,
    /// The closing frame of the turn was taken.
    is_closed: bool,
    /// A person agreed to what the comparison found.
    confirmed: bool,
    /// What the cameras are set to was locked for this session, and not for one before.
    locked: bool,
    progress: Progress,
}

impl Session {
    /// A session with nothing taken, or with what `records` say was taken.
    pub fn new(doc: SessionDoc, records: &[Record], spool: &Spool) -> Self {
        let plan = Plan::new(doc.recipe.plan(), &doc.cameras);
        let mut session = Self {
            doc,
            plan,
            takes: BTreeMap::new(),
            seen: qc::Turn::default(),
            failures: BTreeMap::new(),
            streak: BTreeMap::new(),
            retaken: 0,
            beside: 0,
            spun_before_s: 0.0,
            zero: Zero::Lost,
            is_closed: false,
            confirmed: false,
            locked: false,
            progress: Progress::default(),
        };
        let since = session.doc.since;
        let present = || records.iter().filter(|r| r.superseded_by.is_none() && r.key.sequence >= since);
        for record in present().filter(|record| record.key.product == PICTURE) {
            let beside = beside(record, present());
            session.restore(record, spool.payload(record).ok(), beside);
        }
        session
    }

    /// Shoots what is left.
    pub async fn run(&mut self, stage: &mut Stage<'_>) -> Outcome {
        let outcome = match self.begin(stage).await {
            Ok(()) => {
                self.spun_before_s = self.doc.timing.spin_s;
                let began = Instant::now();
                self.shoot_all(stage, began).await
            }
            Err(outcome) => outcome,
        };
        self.show(stage, None, None);
        outcome
    }

    /// Shoots on after a camera that went away has come back.
    async fn shoot_all(&mut self, stage: &mut Stage<'_>, began: Instant) -> Outcome {
        loop {
            let outcome = match self.sweep_turns(stage, began).await {
                Ok(()) => self.shoot(stage, began).await,
                Err(outcome) => outcome,
            };
            match outcome {
                Outcome::Fault(fault) if fault.rule == UNPLUGGED => {
                    if let Err(outcome) = self.await_cameras(stage, fault).await {
                        return outcome;
                    }
                }
                outcome => return outcome,
            }
        }
    }

    async fn shoot(&mut self, stage: &mut Stage<'_>, began: Instant) -> Outcome {
        let mut under_way: Option<Shot> = None;
        let mut at = known(stage.mover.state().position);
        loop {
            let pause = *stage.pause.borrow();
            let first = self.plan.first_left() > 0;
            let next = if pause { None } else { self.plan.next(at) };
            let result = match (under_way.take(), next) {
                (None, None) if pause => return Outcome::Paused,
                (None, None) if self.wants_closing() => self.close_turn(stage).await.map(|()| None),
                (None, None) => return Outcome::Complete,
                (Some(shot), None) => self.finish(stage, shot).await.map(|()| None),
                (shot, Some((place, cameras))) => {
                    self.progress.spent_s = began.elapsed().as_secs_f64();
                    match first {
                        true => self.progress.begun += 1,
                        false => self.progress.again += 1,
                    }
                    self.say(stage, place, shot.is_some(), first);
                    self.show(stage, Some(place.shot), shot.as_ref().map(|shot| shot.place.shot));
                    self.step(stage, shot, place, cameras, began).await.map(Some)
                }
            };
            match result {
                Ok(shot) => {
                    at = shot.as_ref().and_then(|shot| shot.place.angle).or(at);
                    under_way = shot;
                }
                Err(outcome) => return outcome,
            }
        }
    }

    /// Finishes the shot before while the table turns to `place`, then exposes there.
    async fn step(
        &mut self,
        stage: &mut Stage<'_>,
        before: Option<Shot>,
        place: Place,
        cameras: Vec<String>,
        began: Instant,
    ) -> Result<Shot, Outcome> {
        let wait = self.doc.recipe.verdict == VerdictTiming::Wait;
        let mover = stage.mover.clone();
        let (settle, passing) = (self.doc.recipe.settle(), Passing::of(stage.rig));
        let turn = turn(&mover, place, settle, passing.as_ref());
        let turned = match before {
            Some(shot) if wait => match self.finish(stage, shot).await {
                Ok(()) => turn.await,
                Err(outcome) => Err(outcome),
            },
            Some(shot) => {
                let (turned, finished) = tokio::join!(turn, self.finish(stage, shot));
                finished.and(turned)
            }
            None => turn.await,
        };
        let turned = turned.and_then(|turned| self.allow_passing(stage.rig, &cameras).map(|()| turned));
        let slots = cameras.iter().map(|name| (place.shot, name.clone()));
        match turned {
            Ok(mut turned) => {
                if self.doc.recipe.settle == Settle::Measured && turned.moved {
                    let longest = Duration::from_millis(u64::from(self.doc.recipe.settle_ms));
                    turned.settle = settle::by_sight(stage.rig, &cameras, longest).await;
                    turned.stood = Instant::now();
                }
                self.doc.timing.motion_s += turned.motion.as_secs_f64();
                self.doc.timing.settle_s += turned.settle.as_secs_f64();
                let burst = self.doc.recipe.burst;
                let flashes = stage.controls.borrow().flashes;
                let shot = expose(stage.rig, place, turned.reached, &cameras, burst).await;
                let shot = Shot { settle: Some(turned.settle), flashes, ..shot };
                let end = shot.end();
                self.doc.timing.exposure_s += end.duration_since(turned.stood).as_secs_f64();
                self.doc.timing.spin_s = self.spun_before_s + end.duration_since(began).as_secs_f64();
                Ok(shot)
            }
            Err(outcome) => {
                slots.for_each(|slot| self.plan.retake(slot));
                Err(outcome)
            }
        }
    }

    /// Cameras open and locked, table referenced.
    async fn begin(&mut self, stage: &mut Stage<'_>) -> Result<(), Outcome> {
        stage.rig.open().await;
        self.plan.forgive();
        self.progress = Progress::default();
        self.failures.clear();
        self.beside = 0;
        self.streak.clear();
        let (cameras, settings) = (&self.doc.cameras, &self.doc.recipe.camera);
        let locked = match self.locked {
            false => stage.rig.lock(cameras, settings).await,
            true => stage.rig.lock_as_before(cameras, settings).await,
        };
        if let Err(reason) = locked {
            return Err(Outcome::Fault(Fault::new(
                "camera-missing",
                format!("Stopped: {reason}"),
                "Without this camera the session cannot be complete.",
                "Check its cable and power, then continue.",
            )));
        }
        self.locked = true;
        self.calibrate(stage).await?;
        let turns = self.plan.places().iter().any(|place| place.angle.is_some());
        if !turns || (self.plan.is_done() && !self.wants_closing()) {
            return Ok(());
        }
        self.tie_zero(stage).await
    }

    /// Takes a slot up from its record.
    fn restore(&mut self, record: &Record, payload: Option<Payload>, beside: Vec<Beside>) {
        let slot = (record.facts.shot, record.facts.camera.clone());
        let findings = serde_json::from_value(record.meta["qc"]["findings"].clone()).unwrap_or_default();
        let take = Take {
            sequence: record.key.sequence,
            take: record.facts.take,
            findings,
            sha256: record.sha256,
            payload,
            beside,
        };
        self.plan.skip(&slot);
        self.seen.recall(&label(slot.0, &slot.1), *record.sha256.as_bytes());
        let used = take.take.saturating_sub(1);
        if take.is_flagged() && used < self.doc.recipe.retakes && self.doc.state != SessionState::Review {
            self.plan.put_back(slot.clone(), self.doc.recipe.retakes - used);
        }
        self.takes.insert(slot, take);
    }

    /// Puts frames on the list; the number of pictures, or why not.
    pub fn retake(&mut self, which: &Which) -> Result<usize, Refusal> {
        let slots: Vec<Slot> = match which {
            Which::Flagged => self.flagged_slots().into_iter().chain(self.missing_slots()).collect(),
            Which::Frames(frames) => {
                let places = self.plan.places().len() as u32;
                if let Some(wrong) = frames.iter().find(|frame| !(1..=places).contains(*frame)) {
                    return Err(Refusal::new(
                        "frame-unknown",
                        format!("There is no frame {wrong}; this recipe has frames 1 to {places}."),
                    ));
                }
                let all = frames
                    .iter()
                    .flat_map(|frame| self.doc.cameras.iter().map(move |c| (frame - 1, c.clone())));
                all.collect()
            }
        };
        if slots.is_empty() {
            return Err(Refusal::new(
                "nothing-flagged",
                "No frame is flagged or missing. Name the frames to retake.",
            ));
        }
        let count = slots.len();
        slots.into_iter().for_each(|slot| self.plan.retake(slot));
        Ok(count)
    }

    /// A person agreed to what the comparison with the frames taken found.
    pub fn confirm(&mut self) {
        self.confirmed = true;
    }

    /// Forgets every take: the turn begins anew and what was taken stays as history.
    pub fn begin_anew(&mut self) {
        self.plan = Plan::new(self.doc.recipe.plan(), &self.doc.cameras);
        self.takes.clear();
        self.seen = qc::Turn::default();
        self.doc.timing = Timing::default();
        self.is_closed = false;
        self.zero = Zero::Lost;
    }

    /// Sequences that a release would let go, and what speaks against it.
    pub fn release(&self) -> (Vec<u64>, Option<Refusal>) {
        let belongs = |take: &Take| take.beside.iter().map(|one| one.sequence).collect::<Vec<_>>();
        let sequences = self
            .takes
            .values()
            .flat_map(|take| std::iter::once(take.sequence).chain(belongs(take)))
            .collect();
        let (flagged, missing) = (self.flagged_frames(), self.missing_frames());
        let against = (!flagged.is_empty() || !missing.is_empty()).then(|| {
            let told = [("flagged", &flagged), ("missing", &missing)].map(|(what, frames)| {
                match frames.as_slice() {
                    [] => format!("none {what}"),
                    frames => format!(
                        "{what}: {}",
                        frames.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
                    ),
                }
            });
            let reason = format!(
                "The frames are not complete ({}). Retake them, or accept them by name and reason.",
                told.join("; ")
            );
            Refusal::new("release-incomplete", reason)
        });
        (sequences, against)
    }

    /// Pictures that are there.
    pub fn takes(&self) -> &BTreeMap<Slot, Take> {
        &self.takes
    }

    fn flagged_slots(&self) -> Vec<Slot> {
        self.takes.iter().filter(|(_, take)| take.is_flagged()).map(|(slot, _)| slot.clone()).collect()
    }

    /// Without those of cameras whose failure only warns.
    fn missing_slots(&self) -> Vec<Slot> {
        let required = self.doc.cameras.iter().filter(|name| !self.doc.optional.contains(name));
        let shots = self.plan.places().iter().map(|place| place.shot);
        let slots = shots.flat_map(|shot| required.clone().map(move |name| (shot, name.clone())));
        slots.filter(|slot| !self.takes.contains_key(slot)).collect()
    }

    fn flagged_frames(&self) -> Vec<u32> {
        numbers(&self.flagged_slots())
    }

    fn missing_frames(&self) -> Vec<u32> {
        numbers(&self.missing_slots())
    }
}

fn known(position: Position) -> Option<Angle> {
    match position {
        Position::Known(angle, _) | Position::Estimated(angle) => Some(angle),
        Position::Unknown => None,
    }
}

/// Frame numbers as people count, each once; `slots` are in order.
fn numbers(slots: &[Slot]) -> Vec<u32> {
    let mut numbers: Vec<u32> = slots.iter().map(|slot| slot.0 + 1).collect();
    numbers.dedup();
    numbers
}

/// What belongs to a picture, among records of its session.
fn beside<'a>(picture: &Record, records: impl Iterator<Item = &'a Record>) -> Vec<Beside> {
    let mut found: Vec<Beside> = records
        .filter(|one| came_with(one, picture))
        .map(|one| Beside { product: one.key.product.clone(), sequence: one.key.sequence })
        .collect();
    found.dedup();
    found
}

/// Whether a file of a session came with a picture of it.
pub(crate) fn came_with(one: &Record, picture: &Record) -> bool {
    let place = |record: &Record| (record.facts.shot, record.facts.take);
    one.key.product != PICTURE && one.facts.camera == picture.facts.camera && place(one) == place(picture)
}

/// How a frame is called in sentences about others.
fn label(shot: u32, camera: &str) -> String {
    format!("frame {} of {camera}", shot + 1)
}

/// A finding on two angles in a row that another turn would not cure.
fn is_systematic(finding: &Finding) -> bool {
    finding.verdict == Verdict::Block && finding.nature == Nature::Systematic
}

/// Writes the document with what happened to it.
pub async fn keep(spool: &Spool, doc: &SessionDoc, events: Vec<NewEvent>) -> Result<(), SpoolError> {
    let commit = Commit { documents: vec![doc.document()], events, ..Commit::default() };
    spool.commit(commit).await.map(drop)
}
