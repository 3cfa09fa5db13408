//! What a station's fleet is told beside what pages show: ages, room, and what recent sessions took.

use std::collections::BTreeMap;

use turnstage_cloud_sync::spool::{Room, SpoolError};
use turnstage_cloud_sync::{Sha256, Stamp, State};

use super::{Filter, Window};
use crate::session::SessionState;

/// Recent sessions are the newest so many.
const RECENT_SESSIONS_MAX: usize = 12;

/// What recent sessions took together; those under way and given up do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent {
    /// How many.
    pub sessions: u64,
    /// Bytes of their pictures, of those that were taken again too.
    pub bytes: u64,
    /// Pictures in use.
    pub pictures: u64,
    /// Of these, flagged by a rule.
    pub flagged: u64,
    /// Pictures that took the place of others.
    pub retaken: u64,
}

impl Window {
    /// When the oldest picture in each state was captured.
    pub async fn oldest(&self) -> Result<BTreeMap<State, Stamp>, SpoolError> {
        self.inner.spool.oldest_of(self.org()).await
    }

    /// Free bytes of the data disk and its marks.
    pub fn room(&self) -> Result<Room, SpoolError> {
        self.inner.spool.room()
    }

    /// What recent sessions took. Reads every session's document: not for every second.
    pub async fn recent(&self) -> Result<Recent, SpoolError> {
        let newest = Filter { limit: Some(RECENT_SESSIONS_MAX), ..Filter::default() };
        let mut recent = Recent::default();
        for session in self.sessions(&newest).await? {
            let is_over = matches!(session.state, SessionState::Review | SessionState::Released);
            let (pictures, retaken) = (session.frames as u64, session.retaken as u64);
            if !is_over || pictures == 0 {
                continue;
            }
            recent.sessions += 1;
            // Pictures in use stand for those whose place they took.
            recent.bytes += session.bytes / pictures * (pictures + retaken);
            recent.pictures += pictures;
            recent.flagged += session.flagged as u64;
            recent.retaken += retaken;
        }
        Ok(recent)
    }

    /// SHA-256 of every recipe, by name; reads files.
    pub fn recipe_hashes(&self) -> BTreeMap<String, Sha256> {
        self.inner.recipes.hashes()
    }
}
