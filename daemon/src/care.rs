//! What those who look after a station set beside its session: flags, and that it shows itself.
//!
//! States that everybody may read; the station task asks them and changes none.

use std::path::Path;

use crate::flags::Flags;
use crate::identify::Identify;

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct Care {
    /// Named flags, kept in the data folder.
    pub flags: Flags,
    /// Whether the station shows itself now.
    pub identify: Identify,
}

impl Care {
    /// Of a data folder.
    pub fn of(data: &Path) -> Self {
        Self { flags: Flags::of(data), identify: Identify::new() }
    }
}
