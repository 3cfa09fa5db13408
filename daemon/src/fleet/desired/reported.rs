//! What a station says of its configuration: to its manager, and to who stands before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use turnstage_cloud_sync::Sha256;

use super::{Inner, Problem};
use crate::status::Fault;

/// What became of the newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// None was ever offered.
    #[default]
    None,
    /// It is good, and waits for a session or a trial to end.
    Pending,
    /// It is in use, and the link has to come back.
    Trial,
    /// It is in use.
    InUse,
    /// It is wrong, see the problems.
    Refused,
    /// It was in use, and is no more; see the reason.
    RolledBack,
}

/// The configuration that is in use, and why the wanted one is not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// Version in use; 0: none of the fleet's.
    pub version: u64,
    /// What became of the newest one.
    pub state: State,
    /// The newest one, where it is not in use.
    pub wanted: Option<u64>,
    /// Everything that is wrong with it.
    pub problems: Vec<Problem>,
    /// In a sentence.
    pub reason: Option<String>,
    /// Keys because of which the newest one needs a restart, or needed it.
    pub restart_keys: Vec<String>,
    /// Sections with keys, of the version in use.
    pub config: Map<String, Value>,
    /// Hash of each recipe of the version in use, by name.
    pub recipes: BTreeMap<String, Sha256>,
}

impl Inner {
    pub(super) fn reported(&self) -> Reported {
        let kept = &self.kept;
        let failed = kept.failed.as_ref().filter(|failed| failed.version == kept.newest);
        let state = match (&kept.waiting, &kept.trial, failed) {
            (Some(_), ..) => State::Pending,
            (None, Some(_), _) => State::Trial,
            (None, None, Some(failed)) => failed.state,
            // It was in use, and cannot be any more.
            (None, None, None) if self.unusable.is_some() => State::RolledBack,
            (None, None, None) if kept.proven.is_some() => State::InUse,
            (None, None, None) => State::None,
        };
        let restart_keys = match (&kept.waiting, &kept.trial) {
            (Some(version), _) => self.restart_keys(version),
            (None, Some(trial)) => {
                let before = kept.proven.as_ref().and_then(|proven| proven.layer().ok()).unwrap_or_default();
                let keys = trial.of.layer().map(|layer| layer.differing(&before)).unwrap_or_default();
                keys.into_iter().filter(|key| super::LIVE.iter().all(|(live, _)| live != key)).collect()
            }
            (None, None) => Vec::new(),
        };
        let failed = failed.filter(|_| matches!(state, State::Refused | State::RolledBack));
        let hashes = |(name, text): (&String, &String)| (name.clone(), Sha256::of(text.as_bytes()));
        let running = self.running.as_ref();
        Reported {
            version: self.version(),
            state,
            wanted: (kept.newest != self.version()).then_some(kept.newest),
            problems: failed.map(|failed| failed.problems.clone()).unwrap_or_default(),
            reason: failed.map(|failed| failed.reason.clone()).or(self.unusable.clone()),
            restart_keys,
            config: running.map(|version| version.config.clone()).unwrap_or_default(),
            recipes: running.map(|v| v.recipes.iter().map(hashes).collect()).unwrap_or_default(),
        }
    }

    pub(super) fn notice(&self) -> Option<Fault> {
        if let Some(unreadable) = &self.unreadable {
            return Some(Fault::new(
                "fleet-config-unreadable",
                format!(
                    "The fleet's configuration cannot be read: {}: {}",
                    unreadable.path.display(),
                    unreadable.why
                ),
                "The station runs on its own file alone, and takes no configuration of its manager.",
                "Call your technician: turnstage settings forget, then the manager sends a new version.",
            ));
        }
        if let Some(why) = &self.unusable {
            return Some(Fault::new(
                "fleet-config-unusable",
                format!("The fleet's configuration does not fit this station any more: {why}"),
                "The station runs on its own file alone.",
                "Tell the manager of the fleet, who sends a new version; or correct the station's own file.",
            ));
        }
        let failed = self.kept.failed.as_ref()?;
        let (number, reason) = (failed.version, &failed.reason);
        let why = "The configuration before it is in use.";
        let todo = "Nothing to do at the station; the manager of the fleet sends a new version.";
        let problems = failed.problems.iter().map(|one| format!("{}: {}", one.key, one.what));
        Some(match failed.state {
            State::Refused => {
                let what = format!(
                    "The fleet's configuration, version {number}, was refused: {}",
                    problems.collect::<Vec<_>>().join("; ")
                );
                Fault::new("fleet-config-refused", what, why, todo)
            }
            _ => {
                let what = format!("The fleet's configuration, version {number}, was rolled back: {reason}");
                Fault::new("fleet-config-rolled-back", what, why, todo)
            }
        })
    }
}
