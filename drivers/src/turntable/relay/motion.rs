//! How far to run: by time, or to a pulse. Every run ends with the outputs off, whatever happens on the way.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::cabinet::{Run, Trouble};
use super::{Platform, RESOLUTION_DEG, refused};
use crate::turntable::{DegPerS, Moved, Sighting, Source, TurntableError};

/// How often a kernel's own list of pulses is read, and how often a device on a line is asked.
const LOOK_QUICK: Duration = Duration::from_millis(5);
const LOOK_LINE: Duration = Duration::from_millis(25);
/// Outputs are on for no less than this: relays and drives need a while.
const ON_MIN_S: f64 = 0.1;
/// Pulses may come so much later than the speed says before the platform is taken for blocked.
const LATE: f64 = 1.5;
const LATE_MIN_S: f64 = 2.0;

/// When to switch off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    Seconds(f64),
    Pulses(u32),
}

/// What a run was.
pub(super) struct Ran {
    /// From the last pulse to switching off, if there was a pulse.
    since_pulse: Option<f64>,
    /// What it may have turned too far because switching off had to be asked for again.
    late_deg: f64,
}

impl Platform {
    /// It stands where the index switch stopped it.
    pub(super) fn on_pin(&self) -> bool {
        self.pin.is_some() && self.error_deg == 0.0 && !self.doubted && {
            let (past, grid) = self.past_pin();
            past < RESOLUTION_DEG || grid - past < RESOLUTION_DEG
        }
    }

    /// Degrees past the last pin, and from pin to pin.
    fn past_pin(&self) -> (f64, f64) {
        let grid = self.keys.grid().unwrap_or(360.0);
        ((self.turned - self.pin.unwrap_or(0.0)).rem_euclid(grid), grid)
    }

    /// Degrees to the next pin, if it is certain which one comes next.
    pub(super) fn ahead(&self) -> Option<f64> {
        let (past, grid) = self.past_pin();
        self.pin?;
        if self.on_pin() {
            return Some(grid);
        }
        let certain = !self.doubted && past > self.error_deg && grid - past > self.error_deg;
        certain.then_some(grid - past)
    }

    /// Pulses until it has turned by `degrees`, where it ends at a pin for certain.
    fn pulses(&self, degrees: f64) -> Option<u32> {
        let grid = self.keys.grid()?;
        // Before any zero, whole steps lead from pin to pin: the way to find the first one.
        let ahead = if self.zero.is_none() { grid } else { self.ahead()? };
        let more = (degrees - ahead) / grid;
        let whole = more.round();
        (degrees > 0.0 && whole >= 0.0 && (more - whole).abs() * grid < 0.01).then_some(whole as u32 + 1)
    }

    /// Refuses a run that the hardware's own limit would cut short, unseen.
    fn within_run(&self, seconds: f64) -> Result<(), Moved> {
        match self.keys.run_s_max() {
            Some(longest) if seconds > longest + 1e-6 => {
                let reason = format!(
                    "it would run for {seconds:.1} s, and the hardware's own limit (run_limit_s) leaves {longest:.1} s for a \
                     run; ask for less, or set that limit longer"
                );
                Err(refused("motion-run-limit", reason))
            }
            _ => Ok(()),
        }
    }

    /// Turns by `degrees` and books where that ended.
    pub(super) async fn travel(&mut self, degrees: f64, tried: &str) -> Result<Moved, TurntableError> {
        if let Err(refusal) = self.free(degrees) {
            return Ok(refusal);
        }
        if degrees.abs() < RESOLUTION_DEG {
            return Ok(Moved::Done(self.angle()));
        }
        let speed = self.keys.deg_per_s;
        if let Err(refusal) = self.within_run((degrees.abs() - self.keys.coast_deg) / speed) {
            return Ok(refusal);
        }
        if let Some(pulses) = self.pulses(degrees) {
            let ran = self.run(Run::Forward, speed, Goal::Pulses(pulses), tried, None).await?;
            self.turned += degrees;
            (self.error_deg, self.doubted) = (ran.late_deg, false);
            self.pin = Some(self.turned);
            return Ok(Moved::Done(self.angle()));
        }
        let seconds = (degrees.abs() - self.keys.coast_deg) / speed;
        if seconds < ON_MIN_S {
            let least = self.keys.coast_deg + ON_MIN_S * speed;
            let reason =
                format!("{:.1} degrees is less than the {least:.1} that it turns at least", degrees.abs());
            return Ok(refused("motion-too-short", reason));
        }
        let run = if degrees < 0.0 { Run::Backward } else { Run::Forward };
        let doubted = self.doubted;
        let ran = self.run(run, speed, Goal::Seconds(seconds), tried, None).await?;
        self.turned += degrees;
        self.doubted = doubted;
        match ran.since_pulse {
            // The only pulse of a turn says where it was; what came after is short.
            Some(since) if run == Run::Forward && self.zero == Some(Source::Home) => {
                let whole = (self.turned / 360.0).round() * 360.0;
                // The home is where it stops after the pulse, so that what it runs on is in it.
                let from_home = self.keys.home_deg + since * speed;
                self.turned = whole + from_home.rem_euclid(360.0);
                self.error_deg = self.keys.error_deg;
            }
            _ => self.error_deg += self.keys.error_deg,
        }
        self.error_deg += ran.late_deg;
        Ok(Moved::Done(self.angle()))
    }

    /// A sweep by time, with a sighting at each pulse.
    pub(super) async fn sweep_by(
        &mut self,
        degrees: f64,
        speed: DegPerS,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let tried = format!("turn by {degrees:.1}° at {speed:.1}°/s");
        if let Err(refusal) = self.free(degrees) {
            return Ok(refusal);
        }
        let seconds = ((degrees - self.keys.coast_deg) / speed).max(ON_MIN_S);
        if let Err(refusal) = self.within_run(seconds) {
            return Ok(refusal);
        }
        let ran = self.run(Run::Forward, speed, Goal::Seconds(seconds), &tried, Some(seen)).await?;
        self.turned += degrees;
        self.error_deg += self.keys.error_deg + ran.late_deg;
        self.doubted = false;
        Ok(Moved::Done(self.angle()))
    }

    /// Switches on, once. What fails switches off.
    pub(super) async fn switch_on(
        &mut self,
        run: Run,
        speed: DegPerS,
        tried: &str,
    ) -> Result<(), TurntableError> {
        let on = match self.cabinet.set_speed(speed).await {
            Ok(()) => self.cabinet.set(run).await,
            Err(trouble) => Err(trouble),
        };
        match on {
            Ok(_) => Ok(()),
            Err(trouble) => Err(self.give_up(trouble, tried).await),
        }
    }

    /// Runs to its goal, and stands when it returns. The position is doubted meanwhile.
    pub(super) async fn run(
        &mut self,
        run: Run,
        speed: DegPerS,
        goal: Goal,
        tried: &str,
        seen: Option<&watch::Sender<Option<Sighting>>>,
    ) -> Result<Ran, TurntableError> {
        // Pulses that came before are none of this run's.
        self.cabinet.tend().await.map_err(|e| self.trouble(e, tried))?;
        let (grid, mut next) =
            (self.keys.grid().unwrap_or(360.0), self.ahead().map(|ahead| self.turned + ahead));
        let seconds = match goal {
            Goal::Seconds(seconds) => seconds,
            Goal::Pulses(pulses) => f64::from(pulses) * grid / speed * LATE + LATE_MIN_S,
        };
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        (self.doubted, self.running) = (true, Some(until));
        self.switch_on(run, speed, tried).await?;
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let look = if self.cabinet.is_quick() { LOOK_QUICK } else { LOOK_LINE };
        let (mut count, mut pulse_at, mut looked) = (0, None, Instant::now());
        while Instant::now() < until && goal != Goal::Pulses(count) {
            // A question that is cut would be answered into the order to switch off.
            if until - Instant::now() < self.cabinet.exchange() {
                sleep_until(until).await;
                break;
            }
            let new = match timeout_at(until, self.cabinet.tend()).await {
                Ok(Ok(new)) => new,
                Ok(Err(trouble)) => return Err(self.give_up(trouble, tried).await),
                Err(_) => break,
            };
            let now = Instant::now();
            if new > 0 {
                count += new;
                let half = now.duration_since(looked) / 2;
                pulse_at = Some(looked + half);
                next = next.map(|deg| deg + grid * f64::from(new));
                if let (Some(seen), Some(next)) = (seen, next) {
                    let error_deg = speed * half.as_secs_f64();
                    // It is stopped at a pulse and runs on: the pulse itself came before.
                    let deg = next - grid - self.keys.run_on_deg;
                    seen.send_replace(Some(Sighting { at: looked + half, deg, error_deg }));
                }
            }
            looked = now;
            // A pulse too many is past its goal: it ends here all the same.
            if matches!(goal, Goal::Pulses(wanted) if count >= wanted) {
                break;
            }
            sleep_until(until.min(now + look)).await;
        }
        let off = Instant::now();
        let late = self.off(tried).await?;
        match goal {
            Goal::Pulses(wanted) if count != wanted => Err(self.missed(count, wanted, tried)),
            _ => Ok(Ran {
                since_pulse: pulse_at.map(|at| off.duration_since(at).as_secs_f64()),
                late_deg: speed * late.as_secs_f64(),
            }),
        }
    }

    /// The pulses do not fit the way: it is blocked, or the switch is.
    fn missed(&mut self, count: u32, wanted: u32, tried: &str) -> TurntableError {
        let near = self.angle();
        (self.zero, self.pin) = (None, None);
        let id = self.info.id.clone();
        match count < wanted {
            true => TurntableError::Jammed { id, tried: tried.to_owned(), near },
            false => {
                let what =
                    format!("{count} pulses came where {wanted} were awaited; does the switch bounce?");
                TurntableError::Fault { id, tried: tried.to_owned(), what }
            }
        }
    }

    /// Switches off and waits until it stands. Returns how late that may have been.
    async fn off(&mut self, tried: &str) -> Result<Duration, TurntableError> {
        let late = self.cabinet.set(Run::Off).await.map_err(|trouble| self.trouble(trouble, tried))?;
        tokio::time::sleep(self.keys.rest()).await;
        self.running = None;
        Ok(late)
    }

    /// Something went wrong while the outputs may be on: off is tried, whatever comes of it.
    async fn give_up(&mut self, trouble: Trouble, tried: &str) -> TurntableError {
        if self.cabinet.set(Run::Off).await.is_ok() {
            self.running = None;
        }
        self.trouble(trouble, tried)
    }

    /// Switches off at once, whatever was under way.
    pub(super) async fn halt(&mut self, tried: &str) -> Result<(), TurntableError> {
        if self.running.is_none() {
            return match self.cabinet.set(Run::Off).await {
                Ok(_) => Ok(()),
                Err(trouble) => Err(self.trouble(trouble, tried)),
            };
        }
        self.doubted = true;
        // Where it was sent from stays the best that is known.
        self.off(tried).await.map(drop)
    }
}
