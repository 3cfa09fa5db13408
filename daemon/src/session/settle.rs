//! Waiting until the platter has settled, by looking: two looks in a row that hardly differ from the one before.
//!
//! A table says "there" before it stops ringing, and how long it rings depends on what stands on it. With
//! `settle = "measured"` the session looks through a camera and goes on as soon as the picture stands, `settle_ms` at the
//! latest; what it took is kept with each frame.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_pipeline::{Examiner, Expected, InputLimits, Signature};

use crate::rig::Rig;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(60);
/// Cells of two looks that differ by more than this are not of the same thing: above the noise of a preview's cell.
const STILL_LEVELS: u8 = 1;
/// Of a platter that stands, fewer cells than this part do so; a tenth of a degree moves the edges of most objects through
/// more of them.
const STILL_PART: f64 = 0.01;
/// Looks in a row that must be alike.
const STILL_LOOKS: u32 = 2;

/// Waits until the first of these cameras that gives a preview sees the platter stand, `longest` at most.
pub(super) async fn by_sight(rig: &mut Rig, names: &[String], longest: Duration) -> Duration {
    let began = Instant::now();
    let limits = rig.input();
    let (mut before, mut still) = (None::<Signature>, 0);
    while began.elapsed() < longest {
        let Some(look) = look(rig, names, limits).await else {
            // Nothing to see by: the whole time, as without eyes.
            tokio::time::sleep_until(began + longest).await;
            break;
        };
        let is_still = before.as_ref().is_some_and(|before| changed_part(before, &look) < STILL_PART);
        still = if is_still { still + 1 } else { 0 };
        if still >= STILL_LOOKS {
            break;
        }
        before = Some(look);
        tokio::time::sleep(LOOK_EVERY.min(longest.saturating_sub(began.elapsed()))).await;
    }
    began.elapsed()
}

/// The part of the cells that differ.
fn changed_part(one: &Signature, other: &Signature) -> f64 {
    let differs = |(a, b): &(&u8, &u8)| a.abs_diff(**b) > STILL_LEVELS;
    let changed = one.cells().iter().zip(other.cells()).filter(differs).count();
    changed as f64 / one.cells().len() as f64
}

async fn look(rig: &mut Rig, names: &[String], limits: InputLimits) -> Option<Signature> {
    for camera in rig.cameras.iter_mut().filter(|camera| names.contains(&camera.name)) {
        let Some(open) = camera.camera.as_mut() else { continue };
        let Ok(Some(frame)) = open.preview().await else { continue };
        let examine = move || {
            let mut examiner = Examiner::new(limits).ok()?;
            let expected = Expected { subject: None, size: None };
            let developed = examiner.develop(&frame.data, &expected, &Default::default()).ok()?;
            developed.examined.picture.map(|picture| picture.signature)
        };
        if let Ok(Some(signature)) = tokio::task::spawn_blocking(examine).await {
            return Some(signature);
        }
    }
    None
}
