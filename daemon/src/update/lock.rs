//! Whether an update may be installed now: nobody at work, nothing undelivered, and in the hours that were chosen for it.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use turnstage_cloud_sync::{ClockQuality, Stamp};

/// Why it may not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Stable rule id.
    pub rule: &'static str,
    /// Plain sentence.
    pub reason: String,
}

impl Wait {
    pub(super) fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }
}

/// What the answer depends on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// A session is open, in whichever state.
    pub session: bool,
    /// The table is under way.
    pub table_moves: bool,
    /// Pictures of this organisation that are queued or being sent. Failed ones wait for a person and block nothing.
    pub undelivered: u64,
    /// Somebody holds updates back.
    pub held: bool,
    /// Now.
    pub now: &'a Stamp,
}

/// The hours in which updates are installed, each day, in the site's time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    hours: Option<(Time, Time)>,
    zone: TimeZone,
}

impl Maintenance {
    /// Of `02:00-05:00` (over midnight too: `22:00-04:00`; empty: at any hour) and an IANA zone (empty: this machine's).
    pub fn new(window: &str, zone: &str) -> Result<Self, String> {
        let zone = match zone {
            "" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| {
                format!("no time zone \"{name}\" is known here; write one like \"Europe/Berlin\", or \"\" for this machine's")
            })?,
        };
        let hours = match window {
            "" => None,
            text => Some(read_hours(text).ok_or_else(|| {
                format!(
                    "must be two different times like \"02:00-05:00\", or \"\" for any hour, not \"{text}\""
                )
            })?),
        };
        Ok(Self { hours, zone })
    }

    /// At any hour.
    pub(super) fn any() -> Self {
        Self { hours: None, zone: TimeZone::UTC }
    }

    /// Whether a moment lies in it. A day on which the clocks change has its hours where they are on the clock.
    fn holds(&self, moment: Timestamp) -> bool {
        let Some((from, to)) = self.hours else { return true };
        let local = moment.to_zoned(self.zone.clone());
        let at =
            |date: jiff::civil::Date, time: Time| date.to_datetime(time).to_zoned(self.zone.clone()).ok();
        // One that began yesterday may go on over midnight.
        [0, 1].into_iter().any(|days_ago| {
            let begun = || -> Option<(Zoned, Zoned)> {
                let date = local.date().checked_sub(days_ago.days()).ok()?;
                let end = if to > from { date } else { date.tomorrow().ok()? };
                Some((at(date, from)?, at(end, to)?))
            };
            begun().is_some_and(|(begin, end)| begin <= local && local < end)
        })
    }
}

fn read_hours(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
        Time::new(two(hour)?, two(minute)?, 0, 0).ok()
    };
    let (from, to) = (time(from)?, time(to)?);
    (from != to).then_some((from, to))
}

/// Whether a slot may be written, and the machine be rebooted, now.
pub fn may_start(facts: &Facts<'_>, maintenance: &Maintenance) -> Result<(), Wait> {
    if facts.held {
        return Err(Wait::new(
            "update-held",
            "Updates of this station are held back until they are let go on.",
        ));
    }
    if facts.session {
        return Err(Wait::new("update-waits-session", "A session is open: the update waits for its end."));
    }
    if facts.table_moves {
        return Err(Wait::new("update-waits-table", "The table turns: the update waits until it stands."));
    }
    if facts.undelivered > 0 {
        let count = facts.undelivered;
        return Err(Wait::new(
            "update-waits-queue",
            format!("The update waits until what is queued is delivered: {count} to go."),
        ));
    }
    in_hours(facts.now, maintenance)
}

/// Whether it is the hour for it. A clock that nobody set may say any hour, so that it counts as none.
fn in_hours(now: &Stamp, maintenance: &Maintenance) -> Result<(), Wait> {
    let Some((from, to)) = maintenance.hours else { return Ok(()) };
    let hours = format!("{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"));
    if now.quality != ClockQuality::Synced {
        return Err(Wait::new(
            "update-waits-clock",
            format!(
                "The update waits for {hours}, and this station's clock was not set from the network yet."
            ),
        ));
    }
    let moment = Timestamp::from_millisecond(now.wall_ms).unwrap_or_default();
    if maintenance.holds(moment) {
        return Ok(());
    }
    let local = moment.to_zoned(maintenance.zone.clone());
    let zone = maintenance.zone.iana_name().unwrap_or("this machine's time");
    Err(Wait::new(
        "update-waits-window",
        format!("The update waits for {hours} ({zone}); it is {} there.", local.strftime("%H:%M")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(utc: &str) -> Stamp {
        let wall_ms = utc.parse::<Timestamp>().unwrap().as_millisecond();
        Stamp { wall_ms, quality: ClockQuality::Synced, boottime_ms: 0, boot_id: String::new() }
    }

    fn idle(now: &Stamp) -> Facts<'_> {
        Facts { session: false, table_moves: false, undelivered: 0, held: false, now }
    }

    fn rule(facts: &Facts<'_>, maintenance: &Maintenance) -> Option<&'static str> {
        may_start(facts, maintenance).err().map(|wait| wait.rule)
    }

    fn berlin(window: &str) -> Maintenance {
        Maintenance::new(window, "Europe/Berlin").unwrap()
    }

    #[test]
    fn work_comes_before_an_update_and_says_so() {
        let now = at("2026-12-01T02:00:00Z");
        let any = berlin("");
        assert_eq!(may_start(&idle(&now), &any), Ok(()));
        assert_eq!(rule(&Facts { held: true, ..idle(&now) }, &any), Some("update-held"));
        assert_eq!(rule(&Facts { session: true, ..idle(&now) }, &any), Some("update-waits-session"));
        assert_eq!(rule(&Facts { table_moves: true, ..idle(&now) }, &any), Some("update-waits-table"));
        let waiting = may_start(&Facts { undelivered: 3, ..idle(&now) }, &any).unwrap_err();
        assert_eq!(waiting.rule, "update-waits-queue");
        assert!(waiting.reason.ends_with("3 to go."), "{waiting:?}");
    }

    #[test]
    fn the_hours_are_those_of_the_site_in_winter_and_in_summer() {
        let night = berlin("02:00-05:00");
        for (utc, may) in [
            ("2026-12-01T00:59:59Z", false),
            ("2026-12-01T01:00:00Z", true),
            ("2026-12-01T03:59:59Z", true),
            ("2026-12-01T04:00:00Z", false),
            ("2026-07-01T00:00:00Z", true),
            ("2026-07-01T03:00:00Z", false),
        ] {
            assert_eq!(may_start(&idle(&at(utc)), &night).is_ok(), may, "{utc}");
        }
        let wait = may_start(&idle(&at("2026-12-01T13:03:00Z")), &night).unwrap_err();
        assert_eq!(wait.reason, "The update waits for 02:00-05:00 (Europe/Berlin); it is 14:03 there.");
    }

    #[test]
    fn hours_over_midnight_belong_to_both_days() {
        let night = berlin("22:30-04:00");
        for (utc, may) in [
            ("2026-12-01T21:29:00Z", false),
            ("2026-12-01T21:30:00Z", true),
            ("2026-12-01T23:30:00Z", true),
            ("2026-12-02T02:59:00Z", true),
            ("2026-12-02T03:00:00Z", false),
            ("2026-12-02T12:00:00Z", false),
        ] {
            assert_eq!(may_start(&idle(&at(utc)), &night).is_ok(), may, "{utc}");
        }
    }

    #[test]
    fn the_night_on_which_clocks_change_has_its_hours_too() {
        // 02:00 becomes 03:00 on 28 March 2027: half an hour that is not on the clock is the one after it.
        let gap = berlin("02:15-02:45");
        assert_eq!(may_start(&idle(&at("2027-03-28T01:20:00Z")), &gap), Ok(()));
        assert!(may_start(&idle(&at("2027-03-28T01:50:00Z")), &gap).is_err());
        // 03:00 becomes 02:00 on 31 October 2027: from the first 02:00 on, four hours.
        let long = berlin("02:00-05:00");
        for utc in ["2027-10-31T00:00:00Z", "2027-10-31T01:30:00Z", "2027-10-31T03:59:00Z"] {
            assert_eq!(may_start(&idle(&at(utc)), &long), Ok(()), "{utc}");
        }
    }

    #[test]
    fn a_clock_that_nobody_set_says_no_hour() {
        let night = berlin("02:00-05:00");
        for quality in [ClockQuality::Unset, ClockQuality::Rtc] {
            let now = Stamp { quality, ..at("2026-12-01T02:00:00Z") };
            assert_eq!(rule(&idle(&now), &night), Some("update-waits-clock"));
            assert_eq!(rule(&idle(&now), &berlin("")), None, "any hour is any hour");
        }
    }

    #[test]
    fn hours_and_zones_that_cannot_be_are_named() {
        for wrong in
            ["2-5", "02:00", "02:00-02:00", "24:00-05:00", "02:60-05:00", "night", "02:00-05:00-06:00"]
        {
            let error = Maintenance::new(wrong, "").unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(Maintenance::new("", "Europe/Atlantis").unwrap_err().contains("Europe/Atlantis"));
    }
}
