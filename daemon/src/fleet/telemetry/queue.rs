//! What waits for delivery, how long it has waited, and for whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::{ClockQuality, Stamp, State};

use crate::status::Delivery;

/// The queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Durable, not released.
    pub captured: Depth,
    /// To be delivered.
    pub queued: Depth,
    /// Being delivered.
    pub uploading: Depth,
    /// Parked with their reason, kept.
    pub failed: Depth,
    /// Delivered with proof and still listed; nothing waits for them, so they have no age.
    pub confirmed: Depth,
    /// Age of the oldest picture that was let go and is not proven, in seconds.
    pub oldest_age_s: Option<f64>,
    /// Where pictures go.
    pub destinations: Vec<DestinationFigures>,
    /// Of these, how many cannot be reached.
    pub destinations_offline: u64,
}

/// Pictures in one state. A picture that goes to two destinations counts twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depth {
    /// How many.
    pub pictures: u64,
    /// Since the oldest one was captured, in seconds; `None` without one, and where no clock can tell.
    pub oldest_age_s: Option<f64>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationFigures {
    /// Name in the configuration.
    pub name: String,
    /// It takes deliveries, or nothing is known against it.
    pub online: bool,
    /// Rule of why it does not.
    pub rule: Option<String>,
    /// Deliveries under way.
    pub under_way: u64,
}

impl Queue {
    /// From what waits and when the oldest of each state was captured.
    pub fn of(delivery: &Delivery, oldest: &BTreeMap<State, Stamp>, now: &Stamp) -> Self {
        let depth = |state: State, pictures: u64| Depth {
            pictures,
            oldest_age_s: oldest.get(&state).filter(|_| pictures > 0).and_then(|since| age_s(since, now)),
        };
        let queued = depth(State::Queued, delivery.waiting.saturating_sub(delivery.uploading));
        let uploading = depth(State::Uploading, delivery.uploading);
        let failed = depth(State::Failed, delivery.failed);
        let ages = [queued, uploading, failed].into_iter().filter_map(|depth| depth.oldest_age_s);
        let destinations = delivery.destinations.iter().map(|one| DestinationFigures {
            name: one.name.clone(),
            online: one.online,
            rule: one.failure.as_ref().filter(|_| !one.online).map(|failure| failure.rule.clone()),
            under_way: one.under_way as u64,
        });
        Self {
            captured: depth(State::Captured, delivery.held),
            oldest_age_s: ages.reduce(f64::max),
            queued,
            uploading,
            failed,
            confirmed: depth(State::Confirmed, delivery.confirmed),
            destinations: destinations.collect(),
            destinations_offline: delivery.destinations.iter().filter(|one| !one.online).count() as u64,
        }
    }
}

/// Seconds between two stamps: by boot time within one boot, else by wall clocks if both were set.
pub fn age_s(since: &Stamp, now: &Stamp) -> Option<f64> {
    if since.boot_id == now.boot_id {
        return Some(now.boottime_ms.saturating_sub(since.boottime_ms) as f64 / 1000.0);
    }
    let is_set = |stamp: &Stamp| stamp.quality != ClockQuality::Unset;
    let age_ms = now.wall_ms.saturating_sub(since.wall_ms);
    (is_set(since) && is_set(now) && age_ms >= 0).then_some(age_ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot: &str, boottime_s: u64, wall_s: i64) -> Stamp {
        Stamp {
            wall_ms: wall_s * 1000,
            quality: ClockQuality::Synced,
            boottime_ms: boottime_s * 1000,
            boot_id: boot.to_owned(),
        }
    }

    #[test]
    fn age_goes_by_boot_time_where_the_wall_clock_was_set_in_between() {
        let since = stamp("a", 10, 0);
        assert_eq!(age_s(&since, &stamp("a", 70, 1_800_000_000)), Some(60.0));
        assert_eq!(age_s(&since, &stamp("b", 5, 90)), Some(90.0));
        let unset = Stamp { quality: ClockQuality::Unset, ..since };
        assert_eq!(age_s(&unset, &stamp("b", 5, 90)), None, "nobody can tell");
    }

    #[test]
    fn the_oldest_age_is_that_of_what_was_let_go_and_confirmed_has_none() {
        let delivery =
            Delivery { waiting: 3, uploading: 1, failed: 2, held: 4, confirmed: 9, ..Delivery::default() };
        let at = |s| stamp("a", s, 0);
        let oldest = BTreeMap::from([
            (State::Captured, at(0)),
            (State::Queued, at(50)),
            (State::Uploading, at(40)),
            (State::Failed, at(90)),
        ]);
        let queue = Queue::of(&delivery, &oldest, &at(100));
        assert_eq!(queue.captured, Depth { pictures: 4, oldest_age_s: Some(100.0) });
        assert_eq!(queue.queued, Depth { pictures: 2, oldest_age_s: Some(50.0) });
        assert_eq!(queue.confirmed, Depth { pictures: 9, oldest_age_s: None });
        assert_eq!(queue.oldest_age_s, Some(60.0));
    }
}
