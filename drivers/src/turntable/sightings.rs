//! Where a camera sees the platter: what the station, which looks, a table that it does not control, and a session share.
//!
//! Only the newest sightings are kept; whoever comes late misses some and waits for none. The same place says why nothing
//! is seen, and when a shutter is about to open, so that whoever looks through the same camera keeps off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{DegPerS, Sighting};
use crate::frame::Angle;

/// Sightings that are looked back on.
const KEPT_MAX: usize = 32;
/// Sightings farther apart than this say nothing of what was between them.
const APART_MAX: Duration = Duration::from_secs(1);
/// Speed is measured over so long, where there is as much: the error of two sightings weighs less then.
pub(super) const BASE: Duration = Duration::from_millis(250);

/// The latest sightings by a camera. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Sightings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seen: watch::Sender<Option<Sighting>>,
    recent: watch::Sender<VecDeque<Sighting>>,
    blind: watch::Sender<Option<String>>,
    due: watch::Sender<Option<Instant>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            seen: watch::channel(None).0,
            recent: watch::channel(VecDeque::new()).0,
            blind: watch::channel(None).0,
            due: watch::channel(None).0,
        }
    }
}

impl Sightings {
    /// Tells where the platter was seen; an older one than the last is forgotten.
    pub fn tell(&self, sighting: Sighting) {
        self.0.recent.send_modify(|recent| {
            if recent.back().is_none_or(|last| last.at < sighting.at) {
                if recent.len() == KEPT_MAX {
                    recent.pop_front();
                }
                recent.push_back(sighting);
            }
        });
        self.0.blind.send_if_modified(|blind| blind.take().is_some());
        self.0.seen.send_replace(Some(sighting));
    }

    /// Tells why nothing is seen, as a clause.
    pub fn miss(&self, why: &str) {
        self.0.blind.send_if_modified(|blind| {
            let news = blind.as_deref() != Some(why);
            *blind = Some(why.to_owned());
            news
        });
    }

    /// Why nothing is seen now; `None` while something is, or before anybody looked.
    pub fn missed(&self) -> Option<String> {
        self.0.blind.borrow().clone()
    }

    /// To be told of sightings.
    pub fn watch(&self) -> watch::Receiver<Option<Sighting>> {
        self.0.seen.subscribe()
    }

    /// A shutter will open at this moment, as far as is known: whoever looks through the same camera keeps off.
    pub fn expect(&self, moment: Instant) {
        self.0.due.send_replace(Some(moment));
    }

    /// When a shutter opens next, or opened last.
    pub fn expected(&self) -> Option<Instant> {
        *self.0.due.borrow()
    }

    /// Degrees a second, of a platter that was seen within the last second; backward is negative.
    pub fn speed(&self) -> Option<DegPerS> {
        let recent = self.0.recent.borrow();
        let last = recent.back().filter(|last| last.at.elapsed() <= APART_MAX)?;
        let near = recent.iter().rev().skip(1).take_while(|one| last.at - one.at <= APART_MAX);
        let (mut base, mut found) = (None, false);
        for one in near {
            if !found {
                base = Some(one);
            }
            found |= last.at - one.at >= BASE;
        }
        base.map(|base| speed_between(base, last))
    }

    /// Where the platter was at a moment, between the sightings before and after it, or not long after the last one.
    pub fn at(&self, moment: Instant) -> Option<Sighting> {
        let recent = self.0.recent.borrow();
        let after = recent.iter().position(|one| one.at >= moment).unwrap_or(recent.len());
        let after = after.clamp(1, recent.len().checked_sub(1).filter(|last| *last > 0)?);
        let (first, second) = (&recent[after - 1], &recent[after]);
        let speed = speed_between(first, second);
        let nearest = if away(first, moment) < away(second, moment) { first } else { second };
        if second.at - first.at > APART_MAX || away(nearest, moment) > APART_MAX {
            return None;
        }
        // As much as the speed has changed there, it may have changed again.
        let before = after.checked_sub(2).map_or(speed, |before| speed_between(&recent[before], first));
        let since = seconds(nearest.at, moment);
        let doubt = (speed - before).abs() * since.abs();
        Some(Sighting { at: moment, deg: nearest.deg + speed * since, error_deg: nearest.error_deg + doubt })
    }
}

/// The shorter way from one reading to another: between two sightings a platter does not go half a turn.
pub(super) fn way(from_deg: f64, to_deg: f64) -> f64 {
    let ahead = Angle::new(from_deg).forward_to(Angle::new(to_deg));
    if ahead > 180.0 { ahead - 360.0 } else { ahead }
}

fn speed_between(first: &Sighting, second: &Sighting) -> DegPerS {
    way(first.deg, second.deg) / seconds(first.at, second.at)
}

fn away(one: &Sighting, moment: Instant) -> Duration {
    one.at.max(moment) - one.at.min(moment)
}

fn seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_place_between_two_sightings_and_a_little_after_them_is_known_and_no_other() {
        let sightings = Sightings::default();
        let zero = Instant::now();
        assert_eq!((sightings.speed(), sightings.at(zero)), (None, None));
        for (tenths, deg) in [(0, 350.0), (1, 352.0), (2, 354.0), (4, -2.0), (5, 1.0)] {
            sightings.tell(Sighting { at: zero + TENTH * tenths, deg, error_deg: 0.1 });
        }
        tokio::time::advance(TENTH * 5).await;
        let seen = sightings.at(zero + TENTH * 3).unwrap();
        assert!(way(seen.deg, 356.0).abs() < 1e-9 && (seen.error_deg - 0.1).abs() < 1e-9, "{seen:?}");
        let after = sightings.at(zero + TENTH * 6).unwrap();
        assert!(way(after.deg, 4.0).abs() < 1e-9 && after.error_deg > 1.0, "the speed changes: {after:?}");
        assert!((sightings.speed().unwrap() - 7.0 / 0.3).abs() < 1e-6, "over at least a quarter second");
        assert_eq!(sightings.at(zero + TENTH * 16), None, "too long ago");
        tokio::time::advance(TENTH * 11).await;
        assert_eq!(sightings.speed(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn why_nothing_is_seen_is_told_until_something_is() {
        let sightings = Sightings::default();
        sightings.miss("it is dark");
        assert_eq!(sightings.missed().as_deref(), Some("it is dark"));
        sightings.tell(Sighting { at: Instant::now(), deg: 0.0, error_deg: 0.1 });
        assert_eq!(sightings.missed(), None);
    }
}
