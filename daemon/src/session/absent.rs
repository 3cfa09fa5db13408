//! A camera that went away in mid-session: it is waited for, locked as it was, and must see what it saw.
//!
//! A cable is put back more often than a camera is exchanged. While the session waits, the table stands; once the camera
//! is back under whatever number, it is set to what was in force before and read back, and the
//! last frame that it took is held against a fresh one from the same angle. Then the session goes on by itself.

use std::time::Duration;

use tokio::time::Instant;
use turnstage_drivers::Angle;
use turnstage_drivers::camera::Applied;

use super::matching::{Look, difference, signature};
use super::{Outcome, Session, Stage};
use crate::status::{Fault, Situation};

/// Rule of a camera that is not there any more.
pub(super) const UNPLUGGED: &str = "camera-unplugged";
/// How often a camera that went away is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Read-back settings that differ by no more than this part are the same.
const LOCK_PART: f64 = 0.02;
/// A camera that sees the same differs by less than this part of what one step of the table changes …
const SEEN_PART: f64 = 0.5;
/// … or by less than so many levels, for objects that look the same from all sides.
const SEEN_LEVELS: f64 = 2.0;

impl Session {
    /// Waits until every camera that went away is back as it was; otherwise the reason to wait for a person.
    pub(super) async fn await_cameras(&mut self, stage: &mut Stage<'_>, fault: Fault) -> Result<(), Outcome> {
        let gone: Vec<(String, Option<Applied>)> = stage
            .rig
            .cameras
            .iter()
            .filter(|camera| {
                camera.required && camera.camera.is_none() && self.doc.cameras.contains(&camera.name)
            })
            .map(|camera| (camera.name.clone(), camera.former.clone()))
            .collect();
        let Some((first, _)) = gone.first() else { return Err(Outcome::Fault(fault)) };
        self.wait_for(stage, first, fault).await?;
        // It goes on by itself, and whoever put the cable back stands there.
        stage.mover.announce_next();
        if let Err(reason) = stage.rig.lock_as_before(&self.doc.cameras, &self.doc.recipe.camera).await {
            return Err(changed(format!("A camera that is back cannot be locked: {reason}")));
        }
        for (name, former) in &gone {
            let camera = stage.rig.cameras.iter().find(|camera| camera.name == *name);
            let now = camera.and_then(|camera| camera.applied.as_ref());
            if let (Some(former), Some(now)) = (former, now)
                && let Some(what) = other_lock(former, now)
            {
                return Err(changed(format!("Camera {name} is back with other settings: {what}")));
            }
            self.sees_the_same(stage, name).await?;
        }
        Ok(())
    }

    async fn wait_for(&mut self, stage: &mut Stage<'_>, name: &str, fault: Fault) -> Result<(), Outcome> {
        let until = Instant::now() + stage.camera_wait;
        let frame = self.missing_slots().first().map_or(1, |slot| slot.0 + 1);
        let mut pause = stage.pause.clone();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Outcome::Fault(fault));
            }
            let left_s = left.as_secs_f64().ceil() as u32;
            let situation = Situation::CameraAwaited { camera: name.to_owned(), frame, left_s };
            stage.status.send_modify(|status| status.tell(situation));
            tokio::select! {
                biased;
                paused = pause.wait_for(|pause| *pause) => {
                    drop(paused);
                    return Err(Outcome::Paused);
                }
                () = tokio::time::sleep(LOOK_EVERY.min(left)) => {}
            }
            stage.rig.open().await;
            let away = |name: &String| {
                stage.rig.cameras.iter().any(|c| c.name == *name && c.required && c.camera.is_none())
            };
            if !self.doc.cameras.iter().any(away) {
                return Ok(());
            }
        }
    }

    /// The camera's last frame, against a fresh one from the same angle.
    async fn sees_the_same(&mut self, stage: &mut Stage<'_>, name: &str) -> Result<(), Outcome> {
        let places = self.plan.places().iter().filter(|place| place.leads);
        let own = places.filter_map(|place| {
            let take = self.takes.get(&(place.shot, name.to_owned()))?;
            Some((place.angle?, take.payload.clone()?))
        });
        let mut own: Vec<(Angle, _)> = own.collect();
        let (Some((angle, last)), before) = (own.pop(), own.pop()) else { return Ok(()) };
        let limits = stage.rig.input();
        let read = move || {
            let before = before.and_then(|(_, payload)| signature(&payload, limits));
            (signature(&last, limits), before)
        };
        let (Some(last), before) = tokio::task::spawn_blocking(read).await.unwrap_or_default() else {
            return Ok(());
        };
        let fresh = self.look(stage, angle.deg()).await?;
        let alone = |signature| -> Look { vec![(name.to_owned(), signature)] };
        let last = alone(last);
        let change = difference(&last, &fresh);
        let step = before.map_or(0.0, |before| difference(&last, &alone(before)));
        if change <= SEEN_LEVELS.max(SEEN_PART * step) {
            return Ok(());
        }
        Err(Outcome::Fault(Fault::new(
            "camera-moved",
            format!(
                "Camera {name} is back and does not see what it saw at {angle}: {change:.1} levels of difference, where one \
                 step of the table makes {step:.1}"
            ),
            "The frames to come would not fit to those already taken.",
            "Begin the turn anew; or put the camera back as it was, and continue.",
        )))
    }
}

fn changed(what: String) -> Outcome {
    Outcome::Fault(Fault::new(
        "camera-changed",
        what,
        "The frames to come would not look like those already taken.",
        "Check that it is the same camera, then continue to go on with it, or begin the turn anew.",
    ))
}

/// What was read back otherwise than before; `None` if the lock is the same.
fn other_lock(former: &Applied, now: &Applied) -> Option<String> {
    let (was, is) = (&former.exposure, &now.exposure);
    let each = [
        ("exposure", "µs", was.exposure_us, is.exposure_us),
        ("gain", "", was.gain, is.gain),
        ("white balance", "K", was.wb_kelvin, is.wb_kelvin),
        ("focus", "", was.focus, is.focus),
    ];
    let other = each.into_iter().find_map(|(what, unit, was, is)| {
        let (was, is) = (was?, is?);
        ((was - is).abs() > LOCK_PART * was.abs().max(0.01))
            .then(|| format!("{what} {is:.2} {unit}, before {was:.2} {unit}"))
    });
    let size = (former.size != now.size).then(|| {
        format!("{} x {} pixels, before {} x {}", now.size.0, now.size.1, former.size.0, former.size.1)
    });
    other.or(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_drivers::frame::Exposure;

    #[test]
    fn a_lock_that_was_read_back_otherwise_is_told_with_both_values() {
        let exposure = Exposure { exposure_us: Some(8000.0), gain: Some(1.0), wb_kelvin: None, focus: None };
        let former = Applied { requested: Default::default(), exposure, size: (640, 480) };
        assert_eq!(other_lock(&former, &former), None);
        let rounded = Exposure { exposure_us: Some(8100.0), wb_kelvin: Some(5000.0), ..exposure };
        assert_eq!(other_lock(&former, &Applied { exposure: rounded, ..former.clone() }), None);
        let other = Exposure { gain: Some(2.0), ..exposure };
        let told = other_lock(&former, &Applied { exposure: other, ..former.clone() }).unwrap();
        assert!(told.contains("gain 2.00") && told.contains("before 1.00"), "{told}");
        assert!(other_lock(&former, &Applied { size: (320, 240), ..former.clone() }).is_some());
    }
}
