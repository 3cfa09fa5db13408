//! When a frame was exposed, from what the kernel says of it and from when it came.
//!
//! UVC stamps are those of the first packet of a frame, flagged as start of exposure: the exposure lies *before* them.
//! Others stamp the end of the frame. A stamp that is not flagged as monotonic, or cannot be true, is not believed;
//! then only a frame that was waited for can be dated at all, because one that lay in the queue may be of any age.
//! Bounds are wide on purpose: a picture of a table that still turned is worse than one frame more.

use std::time::Duration;

use ::v4l::v4l_sys as sys;
use tokio::time::Instant;

use super::kernel::Filled;
use crate::frame::TimeSource;

/// A stamp of a frame that was waited for is not believed when it is older than this before the waiting.
const AGE_MAX: Duration = Duration::from_secs(2);

/// What two clocks show at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The kernel's monotonic clock, since the machine started.
    pub mono: Duration,
    /// The clock that the station waits on.
    pub instant: Instant,
    /// How far they may be apart.
    pub uncertainty: Duration,
}

impl Clock {
    /// Reads both; of three readings the one that took least time between.
    pub fn read() -> Clock {
        let readings = [(); 3].map(|()| {
            let (before, instant, after) = (mono(), Instant::now(), mono());
            let took = after.saturating_sub(before);
            Clock { mono: before + took / 2, instant, uncertainty: took / 2 }
        });
        readings.into_iter().min_by_key(|clock| clock.uncertainty).unwrap_or(readings[0])
    }

    /// The moment of a stamp, or `None` if it lies later than now or cannot be a time.
    fn moment(&self, (seconds, micros): (i64, i64)) -> Option<Instant> {
        let micros = u32::try_from(micros).ok().filter(|micros| *micros < 1_000_000)?;
        let stamp = Duration::new(u64::try_from(seconds).ok()?, micros * 1000);
        self.instant.checked_sub(self.mono.checked_sub(stamp)?)
    }
}

fn mono() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// How a frame came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Since when it was waited for; `None` if it lay in the queue already.
    pub waited_from: Option<Instant>,
    /// When it was taken out.
    pub at: Instant,
}

/// When the exposure of a frame may have begun, and when it had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before this.
    pub earliest: Instant,
    /// Not after this.
    pub latest: Instant,
    /// Over at this moment.
    pub end: Instant,
    /// Who says so.
    pub source: TimeSource,
}

impl Window {
    /// The middle of when it may have begun, and half the width.
    pub fn start(&self) -> (Instant, Duration) {
        let half = self.latest.saturating_duration_since(self.earliest) / 2;
        (self.earliest + half, half)
    }
}

/// Dates a frame; `None` if nothing is known of its age. `period` is the time from frame to frame, `exposure` the
/// shutter time, or a period where it is unknown.
pub fn window(
    filled: &Filled,
    arrival: Arrival,
    clock: &Clock,
    period: Duration,
    exposure: Duration,
) -> Option<Window> {
    let before = |moment: Instant, by: Duration| moment.checked_sub(by);
    let kind = filled.flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK;
    let stamp =
        (kind == sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC).then(|| clock.moment(filled.stamp)).flatten();
    let oldest = arrival.waited_from.and_then(|from| before(from, AGE_MAX + exposure));
    let stamp = stamp.filter(|stamp| *stamp <= arrival.at && oldest.is_none_or(|oldest| *stamp >= oldest));
    let Some(stamp) = stamp else {
        let from = arrival.waited_from?;
        // It was complete between the beginning of the wait and its end; sending it took up to a period.
        let earliest = before(from, period + exposure)?;
        let latest = before(arrival.at, exposure)?.max(earliest);
        return Some(Window { earliest, latest, end: arrival.at, source: TimeSource::Arrival });
    };
    let unsure = clock.uncertainty;
    if filled.flags & sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK == sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE {
        let (earliest, latest) = (before(stamp, exposure + unsure)?, stamp + unsure);
        let end = (stamp + exposure).min(arrival.at);
        return Some(Window { earliest, latest: latest.min(end), end, source: TimeSource::KernelStart });
    }
    let earliest = before(stamp, period + exposure + unsure)?;
    let latest = before(stamp + unsure, exposure)?.min(arrival.at);
    Some(Window { earliest, latest, end: (stamp + unsure).min(arrival.at), source: TimeSource::KernelEnd })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MONOTONIC: u32 = sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    const SOE: u32 = sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
    const PERIOD: Duration = Duration::from_millis(33);
    const SHUTTER: Duration = Duration::from_millis(8);

    /// A clock at 1000 s, and a frame stamped so many milliseconds before.
    fn dated(flags: u32, ms_ago: i64, waited_ms: Option<u64>) -> (Option<Window>, Instant) {
        let clock =
            Clock { mono: Duration::from_secs(1000), instant: Instant::now(), uncertainty: Duration::ZERO };
        let stamp = 1_000_000_000 - ms_ago * 1000;
        let filled = Filled { flags, stamp: (stamp / 1_000_000, stamp % 1_000_000), ..Filled::default() };
        let waited_from = waited_ms.map(|ms| clock.instant - Duration::from_millis(ms));
        let arrival = Arrival { waited_from, at: clock.instant };
        (window(&filled, arrival, &clock, PERIOD, SHUTTER), clock.instant)
    }

    fn ms_ago(moment: Instant, now: Instant) -> u128 {
        (now - moment).as_millis()
    }

    #[test]
    fn a_stamp_of_the_start_lies_after_the_exposure_began_and_one_of_the_end_after_it_was_sent() {
        let (window, now) = dated(MONOTONIC | SOE, 40, Some(20));
        let soe = window.unwrap();
        assert_eq!((ms_ago(soe.earliest, now), ms_ago(soe.latest, now), ms_ago(soe.end, now)), (48, 40, 32));
        assert_eq!(soe.source, TimeSource::KernelStart);
        let (window, now) = dated(MONOTONIC, 40, Some(20));
        let eof = window.unwrap();
        assert_eq!((ms_ago(eof.earliest, now), ms_ago(eof.latest, now), ms_ago(eof.end, now)), (81, 48, 40));
        assert_eq!(eof.source, TimeSource::KernelEnd);
        assert_eq!(eof.start().1, Duration::from_micros(16_500));
    }

    #[test]
    fn without_a_stamp_only_what_was_waited_for_is_dated() {
        for (flags, ago) in
            [(0, 40), (sys::V4L2_BUF_FLAG_TIMESTAMP_COPY, 40), (MONOTONIC, -5), (MONOTONIC, 999_999)]
        {
            let (window, now) = dated(flags, ago, Some(20));
            let window = window.unwrap();
            assert_eq!(window.source, TimeSource::Arrival, "{flags:x} {ago}");
            assert_eq!((ms_ago(window.earliest, now), ms_ago(window.latest, now)), (61, 8));
        }
        assert_eq!(dated(0, 40, None).0, None, "it may have lain there for an hour");
        assert_eq!(dated(MONOTONIC, -5, None).0, None);
        let (old, now) = dated(MONOTONIC | SOE, 999_000, None);
        assert_eq!(ms_ago(old.unwrap().latest, now), 999_000, "what lay in the queue may be old");
    }

    #[test]
    fn both_clocks_are_read_at_one_moment() {
        let clock = Clock::read();
        assert!(clock.uncertainty < Duration::from_millis(100), "{clock:?}");
        let now = clock.mono;
        let stamp = (now.as_secs() as i64, i64::from(now.subsec_micros()));
        let moment = clock.moment(stamp).unwrap();
        assert!(clock.instant - moment < Duration::from_micros(2));
    }

    proptest! {
        #[test]
        fn whatever_a_device_stamps_is_dated_in_order_or_not_at_all(
            flags: u32, seconds: i64, micros: i64, near in 0_i64..3_000_000, waited in proptest::option::of(0_u64..5000),
            period in 0_u64..20_000, exposure in 0_u64..40_000, is_near: bool,
        ) {
            let clock = Clock::read();
            let stamp = if is_near {
                let stamp = clock.mono.as_micros() as i64 - near;
                (stamp / 1_000_000, stamp % 1_000_000)
            } else {
                (seconds, micros)
            };
            let filled = Filled { flags, stamp, ..Filled::default() };
            let at = clock.instant;
            let waited_from = waited.and_then(|ms| at.checked_sub(Duration::from_millis(ms)));
            let arrival = Arrival { waited_from, at };
            let (period, exposure) = (Duration::from_millis(period), Duration::from_millis(exposure));
            if let Some(w) = window(&filled, arrival, &clock, period, exposure) {
                prop_assert!(w.earliest <= w.latest && w.latest <= at && w.end <= at, "{:?}", w);
                prop_assert!(w.start().0 <= at);
            } else {
                prop_assert!(waited_from.is_none() || exposure + period > Duration::from_secs(10), "dated when waited for");
            }
        }
    }
}
