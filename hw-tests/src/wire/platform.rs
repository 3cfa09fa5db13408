//! A platform with a motor that knows only on and off: a ramp up, a speed, a ramp down, and pins that close a switch.

use std::time::Duration;

use tokio::time::Instant;

/// Platform, motor and index switch.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Degrees a second at full speed.
    pub full_speed: f64,
    /// Degrees per second squared of either ramp.
    pub ramp: f64,
    /// Pins a turn; the first is at 0.
    pub pins: u32,
    /// Degrees over which a pin closes the switch.
    pub pin_deg: f64,
    /// Something blocks it from here on, once it comes by.
    pub blocked_at: Option<f64>,
    /// The switch is broken.
    pub switch_broken: bool,
    /// A timer in the cabinet ends each run after so long, whatever the outputs say.
    pub run_limit: Option<Duration>,
    /// Times that the motor was switched on.
    pub starts: u32,
    /// When the motor was switched off last.
    pub off_at: Option<Instant>,
    /// Both directions were on at once.
    pub shorted: bool,
    deg: f64,
    speed: f64,
    wanted: f64,
    on_at: Instant,
    since: Instant,
}

impl Platform {
    /// A platform at rest somewhere.
    pub fn new(full_speed: f64, ramp: f64, pins: u32) -> Self {
        Self {
            full_speed,
            ramp,
            pins,
            pin_deg: 1.5,
            blocked_at: None,
            switch_broken: false,
            run_limit: None,
            starts: 0,
            off_at: None,
            shorted: false,
            deg: 52.2,
            speed: 0.0,
            wanted: 0.0,
            on_at: Instant::now(),
            since: Instant::now(),
        }
    }

    /// Where it truly is, counted on over turns.
    pub fn truly_deg(&self) -> f64 {
        self.deg
    }

    /// It does not move.
    pub fn stands(&self) -> bool {
        self.speed == 0.0 && self.wanted == 0.0
    }

    /// Turns it by hand.
    pub fn push(&mut self, deg: f64) {
        self.deg += deg;
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Instant) {
        if let Some(cut) = self.run_limit.map(|limit| self.on_at + limit)
            && self.wanted != 0.0
            && cut <= now
        {
            self.glide(cut);
            (self.wanted, self.off_at) = (0.0, Some(cut));
        }
        self.glide(now);
    }

    fn glide(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now.max(self.since);
        let before = self.deg;
        let change = self.wanted - self.speed;
        let ramp_s = (change.abs() / self.ramp).min(seconds);
        let reached = self.speed + change.signum() * self.ramp * ramp_s;
        let reached = if ramp_s < seconds || change == 0.0 { self.wanted } else { reached };
        self.deg += (self.speed + reached) / 2.0 * ramp_s + reached * (seconds - ramp_s);
        self.speed = reached;
        if let Some(blocked) = self.blocked_at
            && (before.min(self.deg)..=before.max(self.deg)).contains(&blocked)
        {
            (self.deg, self.speed) = (blocked, 0.0);
        }
    }

    /// Sets what the motor is wired to: a share of its full speed, positive forward.
    pub fn drive(&mut self, share: f64, now: Instant) {
        self.advance(now);
        if self.wanted == 0.0 && share != 0.0 {
            self.starts += 1;
            self.on_at = now;
        }
        if self.wanted != 0.0 && share == 0.0 {
            self.off_at = Some(now);
        }
        self.wanted = share * self.full_speed;
    }

    /// The index switch is closed.
    pub fn is_closed(&self) -> bool {
        let grid = 360.0 / f64::from(self.pins.max(1));
        !self.switch_broken && self.pins > 0 && self.deg.rem_euclid(grid) < self.pin_deg
    }
}
