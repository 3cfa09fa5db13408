//! Focus by the motor drive that some cameras give: so many steps nearer or farther, and no place that it could be asked.
//!
//! So the lens is first driven against its far end, and counted from there. Every place is approached from the far side,
//! because the drive has play. Makers say it otherwise: Nikon takes a number of steps, Canon has a choice "Near 2".

use tokio::time::Instant;

use super::super::CameraError;
use super::super::helper::session::Session;
use super::super::helper::wire::{Fault, Setting};

/// The setting of all makers.
const SETTING: &str = "manualfocusdrive";
/// The drive moves only while the camera shows its live picture.
const LIVE: &str = "viewfinder";
/// Beyond the way, to be sure to meet the end.
const BEYOND: f64 = 1.2;
/// Way that takes up the play, as a share.
const PLAY: f64 = 0.05;

/// A lens' drive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FocusDrive {
    steps: Steps,
    /// Steps from the far end to the near one; negative if the camera counts the other way.
    travel: i32,
    /// Steps from the far end, once that was met.
    at: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Steps {
    /// So many at once, either way.
    Number { most: i32 },
    /// One at a time.
    Choice { nearer: String, farther: String },
}

impl FocusDrive {
    /// The drive, if the camera has one and somebody has counted its steps.
    pub async fn of(
        session: &mut Session,
        travel: Option<i32>,
        deadline: Instant,
    ) -> Result<Option<FocusDrive>, CameraError> {
        let Some(travel) = travel else { return Ok(None) };
        let read = session.read(SETTING, deadline).await?;
        Ok(read.and_then(|read| steps(&read)).map(|steps| FocusDrive { steps, travel, at: None }))
    }

    /// Drives to a share of the way, 0 = far, 1 = near.
    pub async fn go(
        &mut self,
        session: &mut Session,
        share: f64,
        deadline: Instant,
    ) -> Result<(), CameraError> {
        let way = f64::from(self.travel);
        let target = (share.clamp(0.0, 1.0) * way).round() as i32;
        let at = match self.at {
            Some(at) if at == target => return Ok(()),
            Some(at) => at,
            None => {
                live(session, deadline).await?;
                self.drive(session, (-way * BEYOND) as i32, true, deadline).await?;
                0
            }
        };
        // Where a move ends is not known if it fails.
        self.at = None;
        let from = if (target - at).signum() == self.travel.signum() {
            at
        } else {
            let back =
                ((f64::from(target) - way * PLAY) as i32).clamp(self.travel.min(0), self.travel.max(0));
            self.drive(session, back - at, false, deadline).await?;
            back
        };
        self.drive(session, target - from, false, deadline).await?;
        self.at = Some(target);
        Ok(())
    }

    /// Moves so many steps; `to_end` if the lens may stop before.
    async fn drive(
        &self,
        session: &mut Session,
        mut steps: i32,
        to_end: bool,
        deadline: Instant,
    ) -> Result<(), CameraError> {
        while steps != 0 {
            let (value, done) = match &self.steps {
                Steps::Number { most } => {
                    let part = steps.clamp(-most, *most);
                    (part.to_string(), part)
                }
                Steps::Choice { nearer, .. } if steps > 0 => (nearer.clone(), 1),
                Steps::Choice { farther, .. } => (farther.clone(), -1),
            };
            match session.write(SETTING, &value, deadline).await? {
                Ok(()) => steps -= done,
                // How it says that the lens has met its end.
                Err(refusal) if to_end && refusal.fault == Fault::Other => return Ok(()),
                Err(refusal) => return Err(session.refused(refusal)),
            }
        }
        Ok(())
    }
}

async fn live(session: &mut Session, deadline: Instant) -> Result<(), CameraError> {
    let off = session.read(LIVE, deadline).await?.is_some_and(|read| read.value == "0");
    if off && let Err(refusal) = session.write(LIVE, "1", deadline).await? {
        return Err(session.refused(refusal));
    }
    Ok(())
}

fn steps(read: &Setting) -> Option<Steps> {
    if let Some((low, high, _)) = read.range {
        let most = high.min(-low).clamp(0.0, 30_000.0) as i32;
        return (most > 0).then_some(Steps::Number { most });
    }
    let choice = |wanted: &str| read.choices.iter().find(|choice| *choice == wanted).cloned();
    Some(Steps::Choice { nearer: choice("Near 2")?, farther: choice("Far 2")? })
}
