//! Reads where the platter is from the marks on its rim, over and over, while somebody else turns it.
//!
//! One look at a time: a live picture of the camera that `[rig.turntable.rim]` names, read on the blocking pool, goes to
//! [`Sightings`]; the next picture is taken only then, so that nothing queues and a slow machine sees less often, not
//! later. The camera is the station's own ([`crate::rig::Eye`]): a look waits for its turn, and none begins that would
//! still go on when a shutter is expected to open. Where nothing can be read nothing is told but why, in words.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use turnstage_drivers::turntable::external::Watched;
use turnstage_drivers::turntable::{Sighting, Sightings};
use turnstage_pipeline::{InputLimits, rim};

use crate::calibration::shelf::Shelf;
use crate::motion::Mover;
use crate::rig::{Eye, Look, Rig};

/// From look to look while the table is waited for.
const EVERY: Duration = Duration::from_millis(100);
/// From look to look while nothing waits for it.
const EVERY_IDLE: Duration = Duration::from_millis(400);
/// At most this part of the time is spent on looking.
const SHARE: u32 = 2;
/// A shutter opens so soon after it was expected: then it holds the camera.
const OPENS_WITHIN: Duration = Duration::from_millis(50);
/// A ring that is read less surely than this is too small in the picture.
const ERROR_DEG_MAX: f64 = 1.0;

/// See the module.
pub struct RimTask {
    watched: Watched,
    eye: Eye,
    sightings: Sightings,
    shelf: Shelf,
    input: InputLimits,
    mover: Mover,
    before: Option<Sighting>,
    /// How long the last look held the camera.
    held: Duration,
}

impl RimTask {
    /// For a rig whose table is turned from elsewhere; `None` for others.
    pub fn of(rig: &Rig, shelf: &Shelf, mover: &Mover) -> Option<Self> {
        let (watched, eye, sightings) = rig.watched()?;
        Some(Self {
            watched: watched.clone(),
            eye: eye.clone(),
            sightings: sightings.clone(),
            shelf: shelf.clone(),
            input: rig.input(),
            mover: mover.clone(),
            before: None,
            held: Duration::ZERO,
        })
    }

    /// Looks until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut next = Instant::now();
        while cancel.run_until_cancelled(self.await_turn(next)).await.is_some() {
            let began = Instant::now();
            let Some(seen) = cancel.run_until_cancelled(self.look()).await else { return };
            match seen {
                Ok(sighting) => {
                    self.before = Some(sighting);
                    self.sightings.tell(sighting);
                }
                Err(why) => self.sightings.miss(&format!("camera {} {why}", self.watched.ring.camera)),
            }
            next = began + SHARE * began.elapsed();
        }
    }

    /// Waits until the next look is due and comes into no shutter's way.
    async fn await_turn(&self, not_before: Instant) {
        let mut motion = self.mover.watch();
        let last = Instant::now();
        loop {
            let every = if motion.borrow_and_update().moving { EVERY } else { EVERY_IDLE };
            let at = not_before.max(last + every);
            let turn = self.clear(at.max(Instant::now()));
            tokio::select! {
                () = sleep_until(turn) => {
                    // A shutter may be expected by now that was not before.
                    if self.clear(Instant::now()) <= Instant::now() {
                        return;
                    }
                }
                Ok(()) = motion.changed() => {}
            }
        }
    }

    /// The first moment from `at` on at which a look is over before a shutter opens, or begins after that.
    fn clear(&self, at: Instant) -> Instant {
        let over = at + 2 * self.held + Duration::from_millis(5);
        match self.sightings.expected() {
            Some(due) if over > due && at < due + OPENS_WITHIN => due + OPENS_WITHIN,
            _ => at,
        }
    }

    /// One look; `Err` with a clause about the camera.
    async fn look(&mut self) -> Result<Sighting, String> {
        let Look { info, frame, held } = self.eye.look().await?;
        self.held = held;
        let (shelf, input, ring, before) =
            (self.shelf.clone(), self.input, self.watched.ring.clone(), self.before);
        let read = move || -> Result<Sighting, String> {
            let kept = shelf.axis(&ring.camera).map_err(|why| format!("cannot read it: {why}"))?.ok_or(
                "has no calibrated place: lay the board on the platter, let it turn once round and run: turnstage \
                 calibrate axis",
            )?;
            if let Some(why) = kept.changed_since(&info, frame.exposure.focus) {
                return Err(format!("was calibrated otherwise: {why}; run turnstage calibrate axis again"));
            }
            let reading = rim::read_frame(&frame, &input, &ring.rim(), &kept.axis)
                .map_err(|why| format!("cannot read it: {why}"))?;
            let before_deg = before.map_or(0.0, |before| before.deg);
            let mut sighting = reading.sighting(ring.zero_deg, before_deg, &frame);
            if let Some(before) = before.filter(|before| before.at < sighting.at) {
                let speed = (sighting.deg - before.deg) / (sighting.at - before.at).as_secs_f64();
                sighting.error_deg += speed.abs() * frame.time.uncertainty.as_secs_f64();
            }
            match sighting.error_deg <= ERROR_DEG_MAX {
                true => Ok(sighting),
                false => Err(format!(
                    "sees the ring too small or too blurred: within {:.1} degrees only",
                    sighting.error_deg
                )),
            }
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| format!("cannot read it: {error}"))?
    }
}
