//! What is due on a device's own clock, and faults that count down to their turn.

use tokio::time::Instant;

/// A device to which things happen one after the other, each at its own moment.
pub(super) trait Due {
    /// Its clock.
    fn clock(&mut self) -> &mut Instant;

    /// When something happens next.
    fn next_event(&self) -> Option<Instant>;

    /// Lets happen what is due by its clock.
    fn happen(&mut self);
}

/// Lets everything happen that is due up to `now`, in its order.
pub(super) fn advance<D: Due>(device: &mut D, now: Instant) {
    let now = now.max(*device.clock());
    while let Some(at) = device.next_event().filter(|at| *at <= now) {
        let clock = device.clock();
        *clock = at.max(*clock);
        device.happen();
    }
    *device.clock() = now;
}

/// Counts down the faults that `nth` picks; the one whose turn it is.
pub(super) fn turn_of<F: Copy>(faults: &mut Vec<F>, nth: impl Fn(&mut F) -> Option<&mut u32>) -> Option<F> {
    let mut due = None;
    faults.retain_mut(|fault| {
        let Some(count) = nth(fault) else { return true };
        *count = count.saturating_sub(1);
        if *count > 0 {
            return true;
        }
        due = Some(*fault);
        false
    });
    due
}
