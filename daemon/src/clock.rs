//! The only file that reads the wall clock, because it also knows how far to trust it.
//!
//! Order and waiting use boot time and sequence numbers. The wall clock is a label: a station that boots without a
//! battery clock stands in 1970 until the network tells it better, and pictures are taken all the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use turnstage_cloud_sync::{Clock, ClockQuality, Stamp};

/// 2026-11-01T00:00:00Z: no picture was taken by this program before it existed, so an earlier clock is unset.
const EARLIEST_WALL_MS: i64 = 1_793_491_200_000;

/// systemd-timesyncd makes this file once the clock was set from the network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The clock of this machine.
#[derive(Clone)]
pub struct SystemClock(Source);

#[derive(Clone)]
enum Source {
    Machine { boot_id: String },
    Other(Arc<dyn Clock>),
}

impl SystemClock {
    /// Reads the boot id once.
    pub fn new() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(Source::Machine { boot_id: boot_id.trim().to_owned() })
    }

    /// A clock that a story moves: wrong by years at boot, or seven days on.
    pub fn of(clock: Arc<dyn Clock>) -> Self {
        Self(Source::Other(clock))
    }

    /// This moment.
    pub fn now(&self) -> Stamp {
        let boot_id = match &self.0 {
            Source::Machine { boot_id } => boot_id.clone(),
            Source::Other(clock) => return clock.now(),
        };
        let wall = clock_gettime(ClockId::Realtime);
        let boot = clock_gettime(ClockId::Boottime);
        let wall_ms = wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000;
        Stamp {
            wall_ms,
            quality: quality(wall_ms, Path::new(SYNCHRONISED).exists()),
            boottime_ms: u64::try_from(boot.tv_sec * 1000 + boot.tv_nsec / 1_000_000).unwrap_or_default(),
            boot_id,
        }
    }

    /// Wall-clock milliseconds of a moment on the monotonic clock.
    pub fn wall_ms_at(&self, moment: Instant) -> i64 {
        let now_ms = self.now().wall_ms;
        let now = Instant::now();
        match moment.checked_duration_since(now) {
            Some(ahead) => now_ms + millis(ahead),
            None => now_ms - millis(now.duration_since(moment)),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        SystemClock::now(self)
    }
}

fn quality(wall_ms: i64, synchronised: bool) -> ClockQuality {
    match (wall_ms < EARLIEST_WALL_MS, synchronised) {
        (true, _) => ClockQuality::Unset,
        (false, true) => ClockQuality::Synced,
        (false, false) => ClockQuality::Rtc,
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-21T09:30:00Z` for people; the wall clock's own opinion.
pub fn readable(wall_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(wall_ms) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{wall_ms} ms"),
    }
}

/// `2026-11-21T09:30:00.120Z` for machines; the wall clock's own opinion, at the ends of what calendars know.
pub fn utc(wall_ms: i64) -> String {
    let bounds = (jiff::Timestamp::MIN.as_millisecond(), jiff::Timestamp::MAX.as_millisecond());
    let moment = jiff::Timestamp::from_millisecond(wall_ms.clamp(bounds.0, bounds.1)).unwrap_or_default();
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Minutes by which this machine's local time is ahead of UTC at a moment.
pub fn utc_offset_min(wall_ms: i64) -> i32 {
    let moment = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    jiff::tz::TimeZone::system().to_offset(moment).seconds() / 60
}

/// The local date of a stamp as days since 1970-01-01, where its clock can be trusted.
pub fn day(stamp: &Stamp) -> Option<i64> {
    if stamp.quality == ClockQuality::Unset {
        return None;
    }
    let local_ms = stamp.wall_ms.saturating_add(i64::from(utc_offset_min(stamp.wall_ms)) * 60_000);
    Some(local_ms.div_euclid(24 * 60 * 60 * 1000))
}

/// `2026-11-21` of days since 1970-01-01.
pub fn date(day: i64) -> String {
    let moment = jiff::Timestamp::from_second(day.saturating_mul(24 * 60 * 60)).unwrap_or_default();
    moment.strftime("%Y-%m-%d").to_string()
}

/// `2026-11-21T10:30:00.120+01:00`: a moment in the local time of an offset from UTC; `None` beyond what calendars
/// or clocks know.
pub fn local(wall_ms: i64, offset_min: i32) -> Option<String> {
    let moment = jiff::Timestamp::from_millisecond(wall_ms).ok()?;
    let offset = jiff::tz::Offset::from_seconds(offset_min.checked_mul(60)?).ok()?;
    let local = moment.to_zoned(offset.to_time_zone());
    Some(local.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_this_program_existed_is_unset_whatever_it_claims() {
        assert_eq!(quality(0, true), ClockQuality::Unset);
        assert_eq!(quality(EARLIEST_WALL_MS - 1, false), ClockQuality::Unset);
        assert_eq!(quality(EARLIEST_WALL_MS, false), ClockQuality::Rtc);
        assert_eq!(quality(EARLIEST_WALL_MS, true), ClockQuality::Synced);
    }

    #[test]
    fn the_machine_has_a_boot_id_and_a_boot_time() {
        let now = SystemClock::new().now();
        assert_eq!(now.boot_id.len(), 36);
        assert!(now.boottime_ms > 0);
    }

    #[test]
    fn a_moment_is_told_in_local_time_with_its_offset() {
        let local_of = |offset_min| local(EARLIEST_WALL_MS + 120, offset_min).unwrap();
        assert_eq!(local_of(0), "2026-11-01T00:00:00.120+00:00");
        assert_eq!(local_of(60), "2026-11-01T01:00:00.120+01:00");
        assert_eq!(local_of(-570), "2026-10-31T14:30:00.120-09:30");
        assert_eq!((local(i64::MAX, 0), local(0, i32::MAX)), (None, None));
        assert!(utc_offset_min(EARLIEST_WALL_MS).abs() <= 26 * 60);
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(readable(EARLIEST_WALL_MS), "2026-11-01T00:00:00Z");
    }
}
