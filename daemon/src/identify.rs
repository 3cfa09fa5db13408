//! A station that shows itself: somebody far away wants to know which of many it is.
//!
//! Lamps blink and the panel says so for a short while. It touches no session, moves nothing, sounds nothing, and
//! whatever a person at the rig must see goes first.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::command::{Actor, Refusal};

/// How long, if nobody says, in seconds.
pub const SECONDS_USUAL: u32 = 30;
/// The longest, in seconds.
pub const SECONDS_MAX: u32 = 600;

/// Who asked, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `technician:tom`.
    pub actor: Actor,
    /// It ends by itself then.
    pub until: Instant,
}

/// The same for a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identified {
    /// Who asked, without role.
    pub who: String,
    /// Seconds left.
    pub left_s: u32,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct Identify(Arc<watch::Sender<Option<Asked>>>);

impl Default for Identify {
    fn default() -> Self {
        Self::new()
    }
}

impl Identify {
    /// Not asked yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    /// Shows itself for so many seconds from now, or no longer (0).
    pub fn ask(&self, actor: &Actor, seconds: u32) -> Result<(), Refusal> {
        if seconds > SECONDS_MAX {
            let reason = format!("A station shows itself for at most {SECONDS_MAX} s. Ask for less.");
            return Err(Refusal::new("identify-seconds", reason));
        }
        let until = Instant::now() + Duration::from_secs(seconds.into());
        self.0.send_replace((seconds > 0).then(|| Asked { actor: actor.clone(), until }));
        Ok(())
    }

    /// Whether it shows itself now.
    pub fn now(&self) -> Option<Asked> {
        self.0.borrow().clone().filter(|asked| Instant::now() < asked.until)
    }

    /// The same for a status.
    pub fn told(&self) -> Option<Identified> {
        let asked = self.now()?;
        let left = asked.until.duration_since(Instant::now()).as_secs_f64().ceil();
        Some(Identified { who: asked.actor.who().to_owned(), left_s: left as u32 })
    }

    /// To be told when it begins or ends. Somebody must wait for [`Identify::ended`].
    pub fn watch(&self) -> watch::Receiver<Option<Asked>> {
        self.0.subscribe()
    }

    /// Waits until its time is over, and ends it; for ever while it does not show itself.
    pub async fn ended(&self) {
        let asked = self.0.borrow().clone();
        let Some(asked) = asked else { return std::future::pending().await };
        tokio::time::sleep_until(asked.until).await;
        // Somebody may have asked anew in the meantime.
        self.0.send_if_modified(|now| match now {
            Some(now_asked) if *now_asked == asked => now.take().is_some(),
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_itself_and_lasts_from_the_last_asking() {
        let identify = Identify::new();
        let actor = Actor("technician:tom".to_owned());
        identify.ask(&actor, 30).unwrap();
        assert_eq!(identify.told(), Some(Identified { who: "tom".to_owned(), left_s: 30 }));
        tokio::time::advance(Duration::from_secs(29)).await;
        identify.ask(&actor, 30).unwrap();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(identify.told().unwrap().left_s, 1);
        let mut watch = identify.watch();
        identify.ended().await;
        assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_none());
        assert_eq!(identify.now(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_ended_at_once_and_not_be_asked_for_an_hour() {
        let identify = Identify::new();
        let actor = Actor("cli:root".to_owned());
        assert_eq!(identify.ask(&actor, SECONDS_MAX + 1).unwrap_err().rule, "identify-seconds");
        identify.ask(&actor, SECONDS_MAX).unwrap();
        identify.ask(&actor, 0).unwrap();
        assert_eq!(identify.told(), None);
    }
}
