//! A circuit breaker: stops asking an endpoint that fails, and lets one request find out whether it is back.
//!
//! ```text
//!          5 failures in 60 s              30 s, or a network-up event and 0 to 3 s
//!  closed ────────────────────► open ──────────────────────────────────────────────► half open
//!    ▲                            ▲                                                    │    │
//!    │                            └──────────────────────── failed ────────────────────┘    │
//!    └───────────────────────────────────────────────────── succeeded ──────────────────────┘
//! ```
//! Only what says that the endpoint is ill counts as a failure: broken connections and 5xx; never 4xx, and not that
//! there is no way to it. Pure: time is given, in milliseconds since boot. The random part of the return keeps the stations behind one router from
//! knocking together.

use std::collections::VecDeque;

/// So many failures open it.
pub const FAILURES: usize = 5;
/// Within so many milliseconds.
pub const WINDOW_MS: u64 = 60_000;
/// Then nothing is sent for so many milliseconds.
pub const OPEN_MS: u64 = 30_000;
/// After a network-up event it is tried again within so many milliseconds (K10).
pub const RETURN_MS_MAX: u64 = 3_000;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Moments of recent failures, oldest first.
    Closed(VecDeque<u64>),
    /// Nothing is sent until then.
    Open {
        until_ms: u64,
        /// The network came back: whoever asks may wait for it.
        soon: bool,
    },
    /// One request is on its way since then.
    HalfOpen { since_ms: u64 },
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Send it, then tell how it went.
    Go,
    /// Ask again in so many milliseconds, at most [`RETURN_MS_MAX`]: worth waiting for.
    Wait(u64),
    /// Not for so many milliseconds.
    Refused(u64),
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(VecDeque::new())
    }
}

impl Breaker {
    /// Asks for one request. A permit to go must be answered by [`Breaker::succeeded`],
    /// [`Breaker::failed`] or [`Breaker::unreached`]; one
    /// that never is blocks a half-open breaker for [`OPEN_MS`].
    pub fn permit(&mut self, now_ms: u64) -> Permit {
        let permit = self.look(now_ms);
        if permit == Permit::Go && !matches!(self.state, State::Closed(_)) {
            self.state = State::HalfOpen { since_ms: now_ms };
        }
        permit
    }

    /// What [`Breaker::permit`] would say, without taking the one request of a half-open breaker.
    pub fn look(&self, now_ms: u64) -> Permit {
        let left = |until_ms: u64| until_ms.saturating_sub(now_ms);
        match self.state {
            State::Closed(_) => Permit::Go,
            State::Open { until_ms, .. } if left(until_ms) == 0 => Permit::Go,
            State::Open { until_ms, soon: true } => Permit::Wait(left(until_ms)),
            State::Open { until_ms, soon: false } => Permit::Refused(left(until_ms)),
            State::HalfOpen { since_ms } => match left(since_ms.saturating_add(OPEN_MS)) {
                0 => Permit::Go,
                left => Permit::Refused(left),
            },
        }
    }

    /// The endpoint answered, with whatever below 500.
    pub fn succeeded(&mut self) {
        self.state = State::default();
    }

    /// The request did not reach the endpoint. No failure of it; a half-open one waits again, since it showed nothing.
    pub fn unreached(&mut self, now_ms: u64) {
        if matches!(self.state, State::HalfOpen { .. }) {
            self.failed(now_ms);
        }
    }

    /// The endpoint did not answer, or answered 5xx.
    pub fn failed(&mut self, now_ms: u64) {
        match &mut self.state {
            State::Closed(failures) => {
                failures.retain(|at| at.saturating_add(WINDOW_MS) > now_ms);
                failures.push_back(now_ms);
                if failures.len() >= FAILURES {
                    self.state = State::Open { until_ms: now_ms.saturating_add(OPEN_MS), soon: false };
                }
            }
            State::HalfOpen { .. } => {
                self.state = State::Open { until_ms: now_ms.saturating_add(OPEN_MS), soon: false };
            }
            // Sent before it opened: says nothing new.
            State::Open { .. } => {}
        }
    }

    /// The network came back: an open breaker lets one through after `jitter_ms`, which the caller draws evenly from
    /// 0 to [`RETURN_MS_MAX`]. Never later than it would have been.
    pub fn network_up(&mut self, now_ms: u64, jitter_ms: u64) {
        let soon_ms = now_ms.saturating_add(jitter_ms.min(RETURN_MS_MAX));
        match &mut self.state {
            State::Closed(failures) => failures.clear(),
            State::Open { until_ms, soon } => {
                *until_ms = soon_ms.min(*until_ms);
                *soon = true;
            }
            // What is on its way left by the old network.
            State::HalfOpen { .. } => self.state = State::Open { until_ms: soon_ms, soon: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(at_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed(at_ms));
        breaker
    }

    #[test]
    fn five_failures_within_a_minute_open_it_and_slower_ones_never_do() {
        let mut breaker = Breaker::default();
        for nth in 0..4 {
            breaker.failed(nth * 10_000);
            assert_eq!(breaker.permit(nth * 10_000), Permit::Go);
        }
        breaker.failed(59_999);
        assert_eq!(breaker.permit(60_000), Permit::Refused(29_999));

        let mut slow = Breaker::default();
        for nth in 0..100 {
            slow.failed(nth * 15_000);
            assert_eq!(slow.permit(nth * 15_000), Permit::Go, "{nth}");
        }
    }

    #[test]
    fn requests_that_never_reached_it_do_not_open_it_and_leave_it_open_where_it_was() {
        let mut breaker = Breaker::default();
        for nth in 0..50 {
            breaker.unreached(nth);
            assert_eq!(breaker.permit(nth), Permit::Go);
        }
        let mut opened = opened(0);
        assert_eq!(opened.permit(30_000), Permit::Go);
        opened.unreached(31_000);
        assert_eq!(opened.permit(31_000), Permit::Refused(30_000));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut breaker = Breaker::default();
        for nth in 0..50 {
            if nth % 4 == 0 {
                breaker.succeeded();
            }
            breaker.failed(nth);
            assert_eq!(breaker.permit(nth), Permit::Go);
        }
    }

    #[test]
    fn half_open_lets_one_through_and_its_outcome_decides() {
        let mut breaker = opened(0);
        assert_eq!(breaker.permit(29_999), Permit::Refused(1));
        assert_eq!(breaker.look(30_000), Permit::Go);
        assert_eq!(breaker.permit(30_000), Permit::Go);
        assert_eq!(breaker.permit(30_001), Permit::Refused(29_999), "one is on its way");
        breaker.failed(31_000);
        assert_eq!(breaker.permit(31_000), Permit::Refused(30_000));
        assert_eq!(breaker.permit(61_000), Permit::Go);
        breaker.succeeded();
        assert_eq!((breaker.permit(61_001), breaker.permit(61_001)), (Permit::Go, Permit::Go));
    }

    #[test]
    fn a_request_that_was_dropped_does_not_keep_it_half_open_for_ever() {
        let mut breaker = opened(0);
        assert_eq!(breaker.permit(30_000), Permit::Go);
        assert_eq!(breaker.permit(60_000), Permit::Go);
    }

    #[test]
    fn a_network_up_event_brings_it_back_within_three_seconds() {
        let mut breaker = opened(0);
        breaker.network_up(1_000, 2_500);
        assert_eq!(breaker.permit(1_000), Permit::Wait(2_500));
        assert_eq!(breaker.permit(3_500), Permit::Go);
        breaker.network_up(4_000, 99_999);
        assert_eq!(breaker.permit(4_000), Permit::Wait(RETURN_MS_MAX), "what was on its way is lost");
        let mut nearly = opened(0);
        nearly.network_up(29_000, 3_000);
        assert_eq!(nearly.permit(29_000), Permit::Wait(1_000), "never later than it would have been");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Pass(u64),
        Ask,
        Succeed,
        Fail,
        Unreached,
        NetworkUp(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40_000u64).prop_map(Step::Pass),
            Just(Step::Ask),
            Just(Step::Succeed),
            Just(Step::Fail),
            Just(Step::Unreached),
            (0..=RETURN_MS_MAX).prop_map(Step::NetworkUp),
        ]
    }

    proptest! {
        /// Whatever happens, it never says no for longer than it may, and always lets one through after that.
        #[test]
        fn whatever_happens_someone_is_let_through_within_half_a_minute(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let (mut breaker, mut now_ms) = (Breaker::default(), 0);
            for step in steps {
                match step {
                    Step::Pass(ms) => now_ms += ms,
                    Step::Ask => drop(breaker.permit(now_ms)),
                    Step::Succeed => breaker.succeeded(),
                    Step::Fail => breaker.failed(now_ms),
                    Step::Unreached => breaker.unreached(now_ms),
                    Step::NetworkUp(jitter_ms) => breaker.network_up(now_ms, jitter_ms),
                }
                let wait_ms = match breaker.look(now_ms) {
                    Permit::Go => 0,
                    Permit::Wait(ms) => {
                        prop_assert!(ms <= RETURN_MS_MAX);
                        ms
                    }
                    Permit::Refused(ms) => {
                        prop_assert!(ms <= OPEN_MS);
                        ms
                    }
                };
                prop_assert_eq!(breaker.look(now_ms + wait_ms), Permit::Go);
            }
        }
    }
}
