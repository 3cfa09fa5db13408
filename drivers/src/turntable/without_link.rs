//! What a motion comes to whose link is lost: nothing can be sent then, not even a stop.

use serde::Serialize;

use super::relay;
use crate::DeviceOptions;

/// What ends a motion whose link is lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutLink {
    /// The table notices the silence and halts by itself: a dead man.
    Halts,
    /// The table counts its own way: it goes on to the end of the command at hand, and no further.
    EndsMove,
    /// The station counts and would have to switch off: the table turns on until its hardware ends the run, or without
    /// such a limit until its power is cut.
    RunsOn(Option<RunLimit>),
}

/// The hardware's own limit to one run, as a person declared it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunLimit {
    /// Longest way in degrees that one command may ask for, so that the limit does not cut it short.
    pub way_deg: f64,
    /// It stands after so many degrees, whatever becomes of the link.
    pub ends_deg: f64,
}

impl WithoutLink {
    /// The table halts by itself when the link falls silent.
    pub fn is_dead_man(self) -> bool {
        self == Self::Halts
    }

    /// Most degrees in one command, where `unattended_deg_max` are allowed to a table that goes on without its link;
    /// `None` of one that halts.
    pub fn way_deg_max(self, unattended_deg_max: f64) -> Option<f64> {
        match self {
            Self::Halts => None,
            Self::EndsMove | Self::RunsOn(None) => Some(unattended_deg_max),
            Self::RunsOn(Some(limit)) => Some(unattended_deg_max.min(limit.way_deg)),
        }
    }
}

/// Whether nothing but a cut of its power ends a motion of such a table once its link is lost, by its section alone.
pub fn runs_on(options: &DeviceOptions) -> bool {
    options.driver == relay::DRIVER.name && relay::runs_on(options)
}
