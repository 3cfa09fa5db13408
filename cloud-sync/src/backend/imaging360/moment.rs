//! Moments as HTTP, S3 and the service write them, in milliseconds since 1970.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, fmt::rfc2822};

/// The `Date` header: `Fri, 27 Nov 2026 09:30:00 GMT`.
pub(super) fn http_date(text: &str) -> Option<i64> {
    Some(rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond())
}

/// `X-Amz-Date`: `20261127T093000Z`.
pub(super) fn amz_date(text: &str) -> Option<i64> {
    let moment = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// `2026-11-27T09:30:00.5Z`; the year 1970 for what no calendar has.
pub(super) fn rfc3339(wall_ms: i64) -> String {
    Timestamp::from_millisecond(wall_ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF_PAST_NINE_MS: i64 = 1_795_771_800_000;

    #[test]
    fn one_moment_in_three_notations() {
        assert_eq!(http_date("Fri, 27 Nov 2026 09:30:00 GMT"), Some(HALF_PAST_NINE_MS));
        assert_eq!(amz_date("20261127T093000Z"), Some(HALF_PAST_NINE_MS));
        assert_eq!(rfc3339(HALF_PAST_NINE_MS), "2026-11-27T09:30:00Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
        for wrong in ["", "20261127T093000", "20261327T093000Z", "2026-11-27", "20261127T093000Zx"] {
            assert_eq!(amz_date(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_is_no_moment_and_no_panic(text in ".{0,40}", wall_ms: i64) {
            let _ = (http_date(&text), amz_date(&text), rfc3339(wall_ms));
        }
    }
}
