//! Room on the disk, and how long it will last: in sessions by what recent ones took, in days by how fast it goes.

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Stamp;
use turnstage_cloud_sync::spool;

use crate::window::Recent;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: f64 = 86_400_000.0;
/// The rate is that of so many hours.
const TREND_HOURS_MAX: usize = 48;
/// Shorter than this says nothing of a day.
const TREND_MS_MIN: u64 = 6 * HOUR_MS;

/// The data disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Bytes free.
    pub free_bytes: u64,
    /// An alarm is told below this mark.
    pub free_bytes_soft: u64,
    /// No session is taken below this mark.
    pub free_bytes_hard: u64,
    /// So many sessions of the default recipe fit, as the station reckons before it takes one.
    pub sessions_left: u64,
    /// How long the room will last.
    pub forecast: Forecast,
}

/// How long the room will last if things go on as they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// So many more sessions fit, each as large as the recent ones were; without recent ones, `sessions_left`.
    pub sessions: u64,
    /// Bytes that a recent session took on average, retaken pictures included.
    pub session_bytes: Option<u64>,
    /// Recent sessions that were measured.
    pub sessions_measured: u64,
    /// Days until no session is taken, at the rate of the last two days; `None` while that cannot be told, and while
    /// the disk does not fill.
    pub full_in_days: Option<f64>,
}

/// The disk now.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Free bytes and marks.
    pub room: spool::Room,
    /// Sessions of the default recipe.
    pub sessions_left: u64,
}

/// Free bytes of the last two days, hour by hour, within one boot.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    boot_id: String,
    /// Boot time in milliseconds, free bytes; oldest first.
    hours: Vec<(u64, u64)>,
}

impl Trend {
    fn note(&mut self, free_bytes: u64, now: &Stamp) {
        if self.boot_id != now.boot_id {
            *self = Self { boot_id: now.boot_id.clone(), hours: Vec::new() };
        }
        let newest = self.hours.last().map(|(at_ms, _)| *at_ms);
        if newest.is_none_or(|at_ms| now.boottime_ms.saturating_sub(at_ms) >= HOUR_MS) {
            self.hours.push((now.boottime_ms, free_bytes));
        }
        let beyond = self.hours.len().saturating_sub(TREND_HOURS_MAX);
        self.hours.drain(..beyond);
    }

    fn days_until(&self, free_bytes: u64, mark: u64, now: &Stamp) -> Option<f64> {
        let (since_ms, then) = *self.hours.first()?;
        let passed_ms = now.boottime_ms.saturating_sub(since_ms);
        let taken = then.checked_sub(free_bytes).filter(|taken| *taken > 0)?;
        let left = free_bytes.saturating_sub(mark) as f64;
        (passed_ms >= TREND_MS_MIN).then(|| left / taken as f64 * passed_ms as f64 / DAY_MS)
    }
}

impl Storage {
    /// The disk now, with a forecast; notes how full it is for the next one.
    pub fn of(room: &Room, recent: &Recent, trend: &mut Trend, now: &Stamp) -> Self {
        let Room { room, sessions_left } = *room;
        trend.note(room.free_bytes, now);
        let session_bytes = recent.bytes.checked_div(recent.sessions).filter(|bytes| *bytes > 0);
        let hard = room.limits.free_bytes_hard;
        Self {
            free_bytes: room.free_bytes,
            free_bytes_soft: room.limits.free_bytes_soft,
            free_bytes_hard: hard,
            sessions_left,
            forecast: Forecast {
                sessions: session_bytes.map_or(sessions_left, |bytes| room.sessions_left(bytes)),
                session_bytes,
                sessions_measured: recent.sessions,
                full_in_days: trend.days_until(room.free_bytes, hard, now),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_cloud_sync::ClockQuality;
    use turnstage_cloud_sync::spool::Limits;

    fn told(trend: &mut Trend, recent: Recent, free_bytes: u64, boot: &str, hour: u64) -> Forecast {
        let keep_confirmed = std::time::Duration::ZERO;
        let limits = Limits { free_bytes_soft: 2_000, free_bytes_hard: 1_000, keep_confirmed };
        let now = Stamp {
            wall_ms: 0,
            quality: ClockQuality::Unset,
            boottime_ms: hour * HOUR_MS,
            boot_id: boot.to_owned(),
        };
        let room = Room { room: spool::Room { free_bytes, limits }, sessions_left: 99 };
        Storage::of(&room, &recent, trend, &now).forecast
    }

    #[test]
    fn sessions_are_forecast_by_what_recent_ones_really_took() {
        let mut trend = Trend::default();
        let recent = Recent { sessions: 4, bytes: 2_000, ..Recent::default() };
        let forecast = told(&mut trend, recent, 11_000, "a", 0);
        assert_eq!((forecast.session_bytes, forecast.sessions), (Some(500), 20));
        let none = told(&mut trend, Recent::default(), 11_000, "a", 0);
        assert_eq!((none.session_bytes, none.sessions), (None, 99));
        assert_eq!(told(&mut trend, recent, 900, "a", 0).sessions, 0, "below the hard mark none fits");
    }

    #[test]
    fn days_are_told_once_six_hours_show_how_fast_the_disk_fills() {
        let mut trend = Trend::default();
        let mut days =
            |free_bytes, boot, hour| told(&mut trend, Recent::default(), free_bytes, boot, hour).full_in_days;
        assert_eq!(days(11_000, "a", 0), None);
        assert_eq!(days(10_500, "a", 3), None, "too early to tell");
        assert_eq!(days(9_000, "a", 12), Some(2.0), "2000 in half a day leaves 8000 for two days");
        assert_eq!(days(12_000, "a", 13), None, "it does not fill");
        assert_eq!(days(6_000, "b", 20), None, "another boot begins anew");
    }
}
