//! Times of day as the people at the station read them: in the zone that the machine is set to.

use jiff::Zoned;
use jiff::tz::TimeZone;

fn zoned(wall_ms: i64) -> Option<Zoned> {
    Some(jiff::Timestamp::from_millisecond(wall_ms).ok()?.to_zoned(TimeZone::system()))
}

fn written(wall_ms: i64, format: &str) -> String {
    zoned(wall_ms).map(|moment| moment.strftime(format).to_string()).unwrap_or_default()
}

/// `14:32`.
pub(super) fn clock(wall_ms: i64) -> String {
    written(wall_ms, "%H:%M")
}

/// `14:31:50`.
pub(super) fn to_the_second(wall_ms: i64) -> String {
    written(wall_ms, "%H:%M:%S")
}

/// `2026-11-27`: also the key by which a list is divided into days.
pub(super) fn day(wall_ms: i64) -> String {
    written(wall_ms, "%Y-%m-%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_sense_is_left_out() {
        assert_eq!(clock(i64::MAX), "");
        assert_eq!((clock(0).len(), to_the_second(0).len(), day(0).len()), (5, 8, 10));
    }
}
