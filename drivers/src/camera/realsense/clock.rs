//! The camera's clock told in the station's: when a frame was exposed, and how sure that is.
//!
//! A stamp and the moment at which its frame arrived differ by a constant and a delay. The delay varies and is never
//! negative, so the smallest difference of late is the closest: mapped by it, a stamp comes out late by the shortest
//! delay there is, which is between nothing and [`DELAY_MAX`]. Only the monotonic clock is read; where librealsense
//! stamps by the wall clock, somebody may set that, and the smallest difference follows.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Readout, transfer and processing of the quickest frame take no longer than this. Not measured on a camera.
pub(super) const DELAY_MAX: Duration = Duration::from_millis(100);
/// Arrivals that the smallest difference is taken of.
const ARRIVALS_MAX: usize = 32;
/// Fewer could all have been late by chance.
const ARRIVALS_MIN: usize = 4;
/// Two crystals drift apart by 6 ms in this time at most, 100 in a million.
const AGE_MAX: Duration = Duration::from_secs(60);

/// One clock, learnt from arrivals.
#[derive(Debug)]
pub(super) struct DeviceClock {
    /// Moments are counted from here, so that they can be subtracted from stamps.
    origin: Instant,
    arrivals: VecDeque<Arrival>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    stamp_ms: f64,
    at: Instant,
    /// Arrival on our clock minus stamp.
    difference_ms: f64,
}

impl DeviceClock {
    pub(super) fn new(now: Instant) -> DeviceClock {
        DeviceClock { origin: now, arrivals: VecDeque::new() }
    }

    /// A frame that had been waited for arrived. One that lay in a queue says nothing about the clock.
    pub(super) fn note(&mut self, stamp_ms: f64, at: Instant) {
        // A recording that began again, a counter that ran over, a wall clock that was set: another clock.
        if self.arrivals.back().is_some_and(|last| stamp_ms < last.stamp_ms) {
            self.arrivals.clear();
        }
        while self.arrivals.len() >= ARRIVALS_MAX
            || self.arrivals.front().is_some_and(|first| at.saturating_duration_since(first.at) > AGE_MAX)
        {
            self.arrivals.pop_front();
        }
        let difference_ms = at.saturating_duration_since(self.origin).as_secs_f64() * 1e3 - stamp_ms;
        if difference_ms.is_finite() {
            self.arrivals.push_back(Arrival { stamp_ms, at, difference_ms });
        }
    }

    /// Whether enough arrived for [`DeviceClock::latest`].
    pub(super) fn is_known(&self) -> bool {
        self.arrivals.len() >= ARRIVALS_MIN
    }

    /// The latest moment that a stamp can stand for; the earliest is [`DELAY_MAX`] before. `None` as long as too
    /// little arrived, or for a stamp from before the clock's time.
    pub(super) fn latest(&self, stamp_ms: f64) -> Option<Instant> {
        if !self.is_known() {
            return None;
        }
        let smallest =
            self.arrivals.iter().map(|arrival| arrival.difference_ms).fold(f64::INFINITY, f64::min);
        let since_origin = Duration::try_from_secs_f64((stamp_ms + smallest) / 1e3).ok()?;
        self.origin.checked_add(since_origin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    /// A clock that heard of frames 66 ms apart, stamped from `first_ms`, each late by one of `delays_ms`.
    fn heard(origin: Instant, first_ms: f64, delays_ms: &[f64]) -> DeviceClock {
        let mut clock = DeviceClock::new(origin);
        for (n, delay) in delays_ms.iter().enumerate() {
            let sent = 66.0 * n as f64;
            clock.note(first_ms + sent, origin + ms(1000.0 + sent + delay));
        }
        clock
    }

    #[test]
    fn the_quickest_frame_sets_the_clock() {
        let origin = Instant::now();
        let clock = heard(origin, 5e9, &[90.0, 31.0, 400.0, 55.0]);
        let latest = clock.latest(5e9 + 660.0).unwrap();
        let error = (latest - origin).as_secs_f64() * 1e3 - (1000.0 + 660.0 + 31.0);
        assert!(error.abs() < 1e-3, "{error} ms");
    }

    #[test]
    fn nothing_is_told_before_enough_arrived() {
        let clock = heard(Instant::now(), 0.0, &[1.0; ARRIVALS_MIN - 1]);
        assert!(!clock.is_known() && clock.latest(70.0).is_none());
    }

    #[test]
    fn a_clock_that_goes_back_is_another_clock() {
        let origin = Instant::now();
        let mut clock = heard(origin, 4e6, &[10.0; 6]);
        clock.note(12.0, origin + ms(3000.0));
        assert!(!clock.is_known(), "what was learnt of the old one is worthless");
        for n in 1..ARRIVALS_MIN {
            clock.note(12.0 + 66.0 * n as f64, origin + ms(3000.0 + 66.0 * n as f64));
        }
        let error = (clock.latest(12.0).unwrap() - origin).as_secs_f64() * 1e3 - 3000.0;
        assert!(error.abs() < 1e-3, "{error} ms");
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_followed_at_once() {
        let origin = Instant::now();
        let mut clock = heard(origin, 0.0, &[10.0; 6]);
        clock.note(3_600_000.0, origin + ms(2000.0));
        let error = (clock.latest(3_600_000.0).unwrap() - origin).as_secs_f64() * 1e3 - 2000.0;
        assert!(error.abs() < 1e-3, "{error} ms");
    }

    #[test]
    fn what_was_learnt_a_while_ago_is_forgotten() {
        let origin = Instant::now();
        let mut clock = heard(origin, 0.0, &[10.0; 6]);
        clock.note(200_000.0, origin + Duration::from_secs(200));
        assert!(!clock.is_known());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stamp_never_comes_out_early(
            first_ms in -1e12..1e12f64,
            delays_ms in prop::collection::vec(0.0..500.0f64, ARRIVALS_MIN..80),
        ) {
            let origin = Instant::now();
            let clock = heard(origin, first_ms, &delays_ms);
            let n = delays_ms.len() as f64;
            let latest = clock.latest(first_ms + 66.0 * n).unwrap();
            let late = (latest - origin).as_secs_f64() * 1e3 - (1000.0 + 66.0 * n);
            let window = &delays_ms[delays_ms.len().saturating_sub(ARRIVALS_MAX)..];
            let quickest = window.iter().copied().fold(f64::INFINITY, f64::min);
            prop_assert!((late - quickest).abs() < 0.01, "{} ms late, the quickest was {}", late, quickest);
        }

        #[test]
        fn no_stamp_panics(stamps in prop::collection::vec(any::<f64>(), 0..40), asked in any::<f64>()) {
            let origin = Instant::now();
            let mut clock = DeviceClock::new(origin);
            for (n, stamp) in stamps.iter().enumerate() {
                clock.note(*stamp, origin + ms(66.0 * n as f64));
            }
            clock.latest(asked);
        }
    }
}
