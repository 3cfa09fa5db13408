//! One shot: the table comes to its place and stands, and every camera of the rig is exposed together.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use turnstage_drivers::camera::{ExposeRequest, Exposed, Variant};
use turnstage_drivers::{Angle, CameraError};

use super::Outcome;
use super::passing::Passing;
use crate::motion::{Move, MoveEnd, Mover};
use crate::recipe::Place;
use crate::rig::Rig;
use crate::status::Fault;

/// A whole shot may take no longer than this on top of its exposure.
const SHOT_LIMIT: Duration = Duration::from_secs(30);
/// A table that reports another angle than this near to the asked one is not believed.
const ANGLE_TOLERANCE_DEG: f64 = 0.5;

/// A shot whose bytes are still in the cameras.
pub(super) struct Shot {
    pub place: Place,
    pub reached: Option<Reached>,
    /// What the platter took to settle, where it was waited for.
    pub settle: Option<Duration>,
    /// Flashes that were seen before it; `None` where they are not looked for.
    pub flashes: Option<u64>,
    /// A burst each, in order.
    pub exposures: Vec<(String, Vec<Result<Exposed, CameraError>>)>,
}

/// Where the platter stood, or was on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reached {
    pub angle: Angle,
    /// It was there within so many degrees; `None` where the table says itself that it stands there.
    pub error_deg: Option<f64>,
}

/// Where the table stands when a shot is due, and what it took to get there.
pub(super) struct Turned {
    pub reached: Option<Reached>,
    pub motion: Duration,
    /// The platter may still ring.
    pub moved: bool,
    pub settle: Duration,
    /// From this moment exposures count.
    pub stood: Instant,
}

/// Tilts and turns to a place, and waits until the platter has settled; a table that stands there already has, and one
/// that is `passing` and turns on never will.
pub(super) async fn turn(
    mover: &Mover,
    place: Place,
    settle: Duration,
    passing: Option<&Passing>,
) -> Result<Turned, Outcome> {
    let began = Instant::now();
    let before = mover.state().position;
    let tilts = place.tilt_deg.is_some_and(|tilt_deg| mover.state().tilt_deg != Some(tilt_deg));
    if let Some(tilt_deg) = place.tilt_deg
        && tilts
    {
        match mover.go(Move::Tilt(tilt_deg)).await {
            MoveEnd::Arrived { .. } => {}
            end => return Err(interrupted_by(end)),
        }
    }
    let reached = match place.angle {
        None => None,
        Some(angle) => match mover.go(Move::To(angle)).await {
            // What is seen is measured, and judged with the frame.
            MoveEnd::Arrived { at, .. } if passing.is_some() || at.distance(angle) <= ANGLE_TOLERANCE_DEG => {
                Some(Reached { angle: at, error_deg: mover.state().reckoned_deg })
            }
            MoveEnd::Arrived { at, .. } => return Err(wrong_angle(angle, at)),
            end => return Err(interrupted_by(end)),
        },
    };
    let motion = began.elapsed();
    let stands = reached.is_some() && mover.state().position == before && !tilts && !place.leads;
    let passes = reached.is_some() && passing.is_some_and(|passing| passing.speed().is_some());
    let settle = if stands || passes { Duration::ZERO } else { settle };
    // The table says "there" before it stops ringing.
    tokio::time::sleep(settle).await;
    Ok(Turned { reached, motion, moved: !stands && !passes, settle, stood: Instant::now() })
}

fn wrong_angle(asked: Angle, at: Angle) -> Outcome {
    Outcome::Fault(Fault::new(
        "motion-wrong-angle",
        format!("The table was asked to stand at {asked} and says that it stands at {at}"),
        "A frame would land at a wrong angle. The frames taken so far are safe.",
        "Check that nothing slips or blocks the table, then continue.",
    ))
}

/// Exposes every camera together, `burst` times each; returns at the end of the last exposure.
pub(super) async fn expose(
    rig: &mut Rig,
    place: Place,
    reached: Option<Reached>,
    names: &[String],
    burst: u32,
) -> Shot {
    let not_before = Instant::now();
    let request = ExposeRequest { not_before, deadline: not_before + SHOT_LIMIT, variant: place.variant };
    let each =
        rig.cameras.iter_mut().filter(|camera| names.contains(&camera.name)).map(|camera| async move {
            let mut results = Vec::new();
            for _ in 0..burst {
                let result = match camera.camera.as_mut() {
                    Some(open) => open.expose(&request).await,
                    None => Err(CameraError::Disconnected { id: camera.name.clone() }),
                };
                if let Err(e) = &result {
                    camera.failed(e);
                }
                let failed = result.is_err();
                results.push(result);
                if failed {
                    break;
                }
            }
            (camera.name.clone(), results)
        });
    Shot { place, reached, settle: None, flashes: None, exposures: join_all(each).await }
}

impl Shot {
    /// Every exposure that came about.
    pub fn exposed(&self) -> impl Iterator<Item = &Exposed> {
        self.exposures.iter().flat_map(|(_, burst)| burst.iter().flatten())
    }

    /// When the last shutter closed, or now.
    pub fn end(&self) -> Instant {
        self.exposed().map(|exposed| exposed.end).max().unwrap_or_else(Instant::now)
    }

    /// How much later than the first camera of the rig this one began.
    pub fn skew(&self, camera: &str) -> Option<Duration> {
        let starts = |(_, burst): &(String, Vec<Result<Exposed, CameraError>>)| {
            burst.iter().flatten().map(|exposed| exposed.start).next()
        };
        let first = self.exposures.iter().filter_map(starts).min()?;
        let own = self.exposures.iter().find(|(name, _)| name == camera).and_then(starts)?;
        Some(own.duration_since(first))
    }
}

/// What a session does when a move did not end where it should.
pub(super) fn interrupted_by(end: MoveEnd) -> Outcome {
    let why = "The frames taken so far are safe. The table will not move by itself.";
    match end {
        MoveEnd::Stopped => Outcome::Stopped,
        MoveEnd::Refused { rule, .. } if rule == "motion-stopped" => Outcome::Stopped,
        MoveEnd::Arrived { .. } => Outcome::Paused,
        MoveEnd::Refused { rule, reason } => {
            Outcome::Fault(Fault::new(&rule, reason, why, "Do that, then continue."))
        }
        MoveEnd::Failed { rule, reason } => {
            Outcome::Fault(Fault::new(rule, reason, why, "Look at the table, then continue."))
        }
    }
}

/// What the recipe asks of a frame that is not one of its leading ones: its light or focus is wrong on purpose.
pub(super) fn eased(
    limits: turnstage_pipeline::qc::Limits,
    variant: Variant,
) -> turnstage_pipeline::qc::Limits {
    let mut limits = limits;
    let focus = ["qc.sharpness", "qc.motion", "qc.near-duplicate"];
    let light =
        ["qc.clipped", "qc.dark", "qc.noise", "qc.light-drift", "qc.colour-drift", "qc.banding", "qc.dirt"];
    let off = variant.focus.iter().flat_map(|_| focus.iter());
    let off = off.chain((variant.ev != 0.0).then_some(focus.iter().chain(&light)).into_iter().flatten());
    for rule in off {
        limits.policy.insert((*rule).to_owned(), turnstage_pipeline::qc::Policy::Off);
    }
    limits
}
