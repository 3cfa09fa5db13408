//! Where a table is on its way, of those that tell.

use tokio::sync::watch;
use tokio::time::Instant;

use super::reply::Event;
use super::table::ProfileTable;
use crate::turntable::Sighting;

/// Whoever looks on, if anybody does.
pub(super) type Seen<'a> = Option<&'a watch::Sender<Option<Sighting>>>;

impl ProfileTable {
    /// Takes in what it says of its place on the way, and tells it on. It has turned by less than half a turn since it said
    /// so last. `None` if what it says cannot be held against our count.
    ///
    /// An answer holds for some moment since it was `asked` for.
    pub(super) fn follow(&mut self, event: &Event, asked: Option<Instant>, seen: Seen<'_>) -> Option<f64> {
        let told = self.told(event).filter(|_| self.bearings.compares())?;
        let before = self.journey.as_ref()?.at;
        let at = before + self.bearings.deviation(told, before);
        self.journey.as_mut()?.at = at;
        if let Some(seen) = seen {
            let now = Instant::now();
            let half = asked.map_or_else(Default::default, |asked| now.saturating_duration_since(asked) / 2);
            let speed = self.speed.unwrap_or(self.model.limits.fastest_deg_s);
            seen.send_replace(Some(Sighting {
                at: now - half,
                deg: self.bearings.angle().deg() + at - self.bearings.counted(),
                error_deg: self.model.limits.tolerance_deg + speed * half.as_secs_f64(),
            }));
        }
        Some(at)
    }
}
