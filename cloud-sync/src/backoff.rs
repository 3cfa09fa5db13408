//! How long to wait after a failed attempt: full jitter below a limit that doubles up to a cap.
//!
//! Many stations lose the same server at the same moment; a wait drawn evenly from zero to the limit spreads their
//! return best (Brooker, "Exponential Backoff and Jitter", 2015). The wait is kept in the record, so it survives a
//! restart.

use std::time::Duration;

/// Longest cap that makes sense: a day.
const CAP_MAX: Duration = Duration::from_secs(24 * 3600);

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

/// Numbers that give no backoff.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "backoff from {base:?} to {cap:?}: use 1 ms or more, not more than the cap, and a cap of a day at most"
)]
pub struct BadBackoff {
    /// As given.
    pub base: Duration,
    /// As given.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(2), cap: Duration::from_secs(15 * 60) }
    }
}

impl Backoff {
    /// A limit of `base` for the first wait, doubled for each further one, never above `cap`.
    pub fn new(base: Duration, cap: Duration) -> Result<Self, BadBackoff> {
        if base < Duration::from_millis(1) || base > cap || cap > CAP_MAX {
            return Err(BadBackoff { base, cap });
        }
        Ok(Self { base, cap })
    }

    /// The wait after attempt number `attempt`, counted from 1.
    pub fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let limit = self.base.saturating_mul(1 << doublings).min(self.cap);
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(rng.u64(0..=limit_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_give_no_backoff_are_refused() {
        let second = Duration::from_secs(1);
        assert!(Backoff::new(Duration::ZERO, second).is_err());
        assert!(Backoff::new(2 * second, second).is_err());
        assert!(Backoff::new(second, CAP_MAX + second).is_err());
        assert!(Backoff::new(second, second).is_ok());
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (1..9).map(|attempt| Backoff::default().delay(attempt, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[test]
    fn waits_fill_the_whole_span_and_stay_below_the_cap() {
        let mut rng = fastrand::Rng::with_seed(1);
        let backoff = Backoff::default();
        for (attempt, limit) in [(1, 2), (2, 4), (5, 32), (10, 900), (u32::MAX, 900)] {
            let waits: Vec<_> = (0..2000).map(|_| backoff.delay(attempt, &mut rng).as_secs_f64()).collect();
            let highest = waits.iter().copied().fold(0.0, f64::max);
            let mean = waits.iter().sum::<f64>() / 2000.0;
            let limit = f64::from(limit);
            assert!(highest <= limit && highest > 0.95 * limit, "attempt {attempt}: {highest} of {limit}");
            assert!((mean / limit - 0.5).abs() < 0.05, "attempt {attempt}: mean {mean} of {limit}");
        }
    }
}
