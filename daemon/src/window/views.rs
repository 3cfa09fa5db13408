//! What API and pages show of sessions, frames and the queue: plain data, with the names of the API document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Stamp;
use turnstage_cloud_sync::queue::{Proof, State};
use turnstage_pipeline::qc::Finding;
use utoipa::ToSchema;

use crate::calibration::axis::CameraAxis;
use crate::calibration::{Calibration, Device};
use crate::command::Override;
use crate::session::{SessionState, Timing};

/// How a frame stands, for a person; the words are those of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrameState {
    /// Not shot yet.
    Todo,
    /// Being shot.
    Now,
    /// Exposed, its verdict is not in.
    Checking,
    /// Passed.
    Passed,
    /// A rule blocks it.
    Flagged,
    /// The turn is over and it is not there.
    Missing,
    /// Taken again, and passed.
    Retaken,
    /// A rule blocks it and a person accepted it by name.
    Kept,
}

/// One picture of a place, the one in use or one before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Try {
    /// Number of the stored picture: names its thumbnails and its original.
    pub sequence: u64,
    /// 1 for the first.
    pub take: u32,
}

/// One place of the plan for one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameView {
    /// Number in the plan, from 1.
    pub frame: u32,
    /// Row of the recipe, from 1.
    pub row: u32,
    /// Angle of the plan in degrees, 0 to 360; absent without a table.
    pub angle_deg: Option<f64>,
    /// Angle that the table reported.
    pub reached_deg: Option<f64>,
    /// Camera of the rig.
    pub camera: String,
    /// How it stands.
    pub state: FrameState,
    /// Number of the picture in use: `/api/v1/frames/{sequence}/thumbnail`.
    pub sequence: Option<u64>,
    /// SHA-256 of the stored picture in hex; also the name under which its thumbnails may be cached for ever.
    pub sha256: Option<String>,
    /// 1 for the first picture of this place.
    pub take: u32,
    /// Every picture of this place, oldest first; the last one is in use.
    pub tries: Vec<Try>,
    /// What rules found.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
    /// Blur of the subject in pixels of the stored picture (standard deviation), if measured.
    pub blur_px: Option<f64>,
    /// The most that the recipe allows.
    pub blur_px_max: f64,
    /// Part of the pixels that are clipped white, 0 to 1, if measured.
    pub clipped: Option<f64>,
    /// The most that the recipe allows.
    pub clipped_max: f64,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Bytes of the stored picture.
    pub bytes: Option<u64>,
    /// When it was exposed, in ms since 1970; the wall clock's own opinion.
    pub exposed_wall_ms: Option<i64>,
    /// Exposure in microseconds, gain and white balance in kelvin, as read back from the camera.
    #[schema(value_type = Object)]
    pub exposed_with: serde_json::Value,
    /// Where its delivery stands, the least advanced destination first.
    #[schema(value_type = Option<String>)]
    pub delivery: Option<State>,
    /// Proof behind `confirmed`.
    #[schema(value_type = Option<String>)]
    pub proof: Option<Proof>,
}

/// Why pictures are not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// How many.
    pub pictures: usize,
    /// Rule id.
    pub rule: String,
    /// Plain sentence with what to do.
    pub reason: String,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionSummary {
    /// Id.
    pub session: String,
    /// VIN, barcode or number.
    pub item: String,
    /// Recipe by name.
    pub recipe: String,
    /// Where it stands.
    pub state: SessionState,
    /// Why it waits, while paused or interrupted.
    pub reason: Option<String>,
    /// Who started it.
    pub actor: String,
    /// When, in ms since 1970; the wall clock's own opinion.
    pub started_wall_ms: i64,
    /// Pictures that the recipe asks for.
    pub wanted: usize,
    /// Pictures that are there.
    pub frames: usize,
    /// Of these, flagged by a rule.
    pub flagged: usize,
    /// Pictures that took the place of others.
    pub retaken: usize,
    /// Bytes of the pictures in use.
    pub bytes: u64,
    /// Pictures let go, by the five states of delivery (V-5).
    #[schema(value_type = BTreeMap<String, usize>)]
    pub delivery: BTreeMap<State, usize>,
    /// Why pictures are not confirmed.
    pub waiting: Vec<Waiting>,
    /// Of these queued, the ones that wait for something that this station cannot bring about now.
    pub stuck: usize,
    /// Picture that stands for the session in a list.
    pub cover: Option<u64>,
}

impl SessionSummary {
    /// Pictures that were let go and are not proven.
    pub fn undelivered(&self) -> usize {
        self.delivery.iter().filter(|(state, _)| **state != State::Confirmed).map(|(_, count)| count).sum()
    }
}

/// A session with its frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionDetail {
    /// The session.
    #[serde(flatten)]
    pub summary: SessionSummary,
    /// What the turn took.
    #[schema(value_type = Object)]
    pub timing: Timing,
    /// Who accepted what the rules did not, and why.
    pub accepted: Option<Override>,
    /// Where the first picture lies at its destination.
    pub location: Option<String>,
    /// Cameras that take part.
    pub cameras: Vec<String>,
    /// Number of rows of the recipe.
    pub rows: u32,
    /// Every place for every camera, in order of the plan.
    pub places: Vec<FrameView>,
}

/// The queue of pictures, by session, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Durable, not released.
    pub captured: u64,
    /// To be delivered.
    pub queued: u64,
    /// Being delivered.
    pub uploading: u64,
    /// Delivered, with proof.
    pub confirmed: u64,
    /// Parked with their reason, kept.
    pub failed: u64,
    /// Captured, and a retake took their place.
    pub superseded: u64,
    /// Sessions with pictures that were let go and are not confirmed; the 50 oldest.
    pub sessions: Vec<SessionSummary>,
    /// How many more sessions wait.
    pub more: usize,
}

/// What is calibrated on this station.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationsView {
    /// Limits, with the spread that they came from.
    pub calibrations: Vec<Calibration>,
    /// Clean plates, without their pictures.
    pub plates: Vec<PlateView>,
    /// Where cameras stand, with what was measured.
    #[serde(default)]
    pub axes: Vec<CameraAxis>,
    /// Files that cannot be used, with the reason.
    pub unreadable: Vec<String>,
}

/// A clean plate that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlateView {
    /// Recipe by name.
    pub recipe: String,
    /// Camera by name.
    pub camera: String,
    /// It holds for this device only.
    pub device: Device,
    /// When, and how far the clock could be trusted.
    pub at: Stamp,
    /// Who took it.
    pub actor: String,
}
