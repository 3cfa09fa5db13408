//! Whether the flash fired: an optical input sees it at every frame, or the session pauses.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Parts;
use crate::command::{Act, Actor};
use crate::config::Does;
use crate::session::SessionState;
use crate::status::Status;

/// After an exposure an input has so long to say that it saw the flash. The table needs longer to its next place.
const PATIENCE: Duration = Duration::from_millis(20);

/// The flashes that were seen.
#[derive(Debug, Default)]
pub(super) struct Flash(AtomicU64);

/// What the session does, as far as flashes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// This frame, from 1, is being shot; every one before it was.
    Frame(u32),
    /// Every frame was shot.
    Over,
    /// Nothing, or it was halted at a frame that may never have been exposed.
    Idle,
}

impl Flash {
    /// It fired.
    pub(super) fn fired(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks at each frame that was exposed, where an input sees flashes.
    pub(super) async fn watch(&self, parts: &Parts) {
        let Some((name, _)) = parts.rig.inputs.iter().find(|(_, input)| input.does == Does::Flash) else {
            return pending().await;
        };
        let actor = Actor(format!("input:{name}"));
        let mut status = parts.status.clone();
        let (mut work, mut before) = (Work::Idle, 0);
        loop {
            let now = work.then(&status.borrow_and_update());
            if now != work {
                let begun = self.count();
                match (work, now) {
                    (Work::Frame(frame), Work::Frame(_) | Work::Over) => {
                        tokio::time::sleep(PATIENCE).await;
                        if self.count() == before {
                            parts.told.send_modify(|told| told.dark_frame = Some(frame));
                            // A turn that is over needs no pause, and the frame is told all the same.
                            drop(parts.commands.ask(&actor, Act::Pause).await);
                        }
                    }
                    (Work::Idle | Work::Over, Work::Frame(_)) => {
                        parts.told.send_if_modified(|told| told.dark_frame.take().is_some());
                    }
                    _ => {}
                }
                (work, before) = (now, begun);
            }
            if status.changed().await.is_err() {
                return pending().await;
            }
        }
    }
}

impl Work {
    fn then(self, status: &Status) -> Self {
        match status.session.as_ref().map(|session| (session.state, session.frame)) {
            Some((SessionState::Shooting, Some(frame))) => Self::Frame(frame),
            // Between two frames.
            Some((SessionState::Shooting, None)) => self,
            Some((SessionState::Review, _)) => Self::Over,
            _ => Self::Idle,
        }
    }
}
