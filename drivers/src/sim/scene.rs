//! What people do in the booth: turn the platter by another drive, put something on it, mark its rim.

use std::sync::Arc;

use tokio::time::Instant;

use super::platter::{Mechanics, Platter};
use super::{Booth, NO_SESSION, Object, Table};

impl Booth {
    /// Somebody else turns the platter from now on, at so many degrees a second once it has sped up or slowed down;
    /// backward if negative, and 0 lets it come to rest. No motor of the rig is told anything.
    pub fn turn(&self, deg_s: f64) {
        let (now, from_deg) = (Instant::now(), (self.seed_for("platter") % 360_000) as f64 / 1000.0);
        let mut state = self.lock();
        let jams = state.jams();
        let table = state.table.get_or_insert_with(|| Table {
            platter: Platter::at_rest(Mechanics::of_somebody_else(), from_deg, now),
            tilting: None,
            session: NO_SESSION,
            moves: 0,
            lost_at: None,
        });
        table.platter.change_speed(deg_s, &jams, now);
        drop(state);
        self.changed.send_replace(());
    }

    /// Takes away what stands on the platter and puts something else there, in the booth's `object_scale`. Pictures
    /// whose exposure begins from now on show it; cameras stay where they are and aim where they aimed.
    pub fn put(&self, object: Object) {
        self.lock().options.object = object;
        self.dress();
    }

    /// Glues the ring of marks round the rim, or hides it under a cloth.
    pub fn mark_rim(&self, marked: bool) {
        self.lock().options.rim_markers = marked;
        self.dress();
    }

    fn dress(&self) {
        let options = self.lock().options.clone();
        let model = Arc::new(options.model(options.object));
        self.lock().model = model;
    }
}
