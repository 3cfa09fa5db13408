//! What a manager wants this station to be: from the verified document to the configuration in use, or back.
//!
//! A version is checked whole, waits for the open session, and is put in the place of the one before: at once where every
//! key that differs can be exchanged in a running station ([`LIVE`]), by a restart otherwise. After a restart it is on
//! trial until the link to the broker is there. What fails its trial is rolled back and never tried again.
//!
//! [`Keeper::offer`] and [`Keeper::link_is_up`] are for who holds the link, [`Keeper::watch`] says what to report;
//! everything else happens in [`keeping`].

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use turnstage_cloud_sync::Sha256;
use turnstage_cloud_sync::event::NewEvent;

use crate::command::Actor;
use crate::config::{Config, FleetLayer, FleetRecipes};
use crate::status::Fault;
use store::{Failed, Kept, Store, Trial, Unreadable, Version};
use validation::Base;

pub mod keeping;
mod record;
mod reported;
mod starting;
mod store;
pub mod validation;

pub use reported::{Reported, State};

/// Keys that a running station exchanges, with how; every other key needs a restart. Recipes are no key: a session reads its
/// recipe when it begins, so a new set is exchanged in place.
pub const LIVE: &[(&str, &str)] = &[("log.level", "the filter of the log is exchanged")];

/// Starts of the program without the link after which a trial is over, however short they were.
const STARTS_MAX: u32 = 3;
/// What could not be written is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);
/// Events that are kept for a log that does not take them; the oldest goes.
const UNRECORDED_MAX: usize = 100;

/// What a manager wants, after its signature was verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desired {
    /// Counted up by the manager, from 1; a station takes each number once.
    pub version: u64,
    /// Sections with keys: only what differs from the station's file.
    pub config: Map<String, Value>,
    /// Text of each recipe by name: the whole set of the fleet's recipes.
    pub recipes: BTreeMap<String, String>,
}

impl Desired {
    /// What would be wrong with it on a station that has but the built-in defaults, as those of the simulated fleet.
    pub fn problems_on_defaults(&self) -> Vec<Problem> {
        let base = Base::new(None, std::path::PathBuf::new());
        validation::check(&base, &Version::of(self.clone(), "fleet")).err().unwrap_or_default()
    }
}

/// One thing that is wrong with a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Full key, for example `storage.frame_bytes` or `recipes.spin36`.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// What becomes of an offer.
#[derive(Debug, Clone, PartialEq)]
pub enum Offered {
    /// It is good and will be used.
    Taken,
    /// It was offered before; what became of it.
    Known(State),
    /// It is not used.
    Refused {
        /// `config-invalid`, `config-stale`, `config-version-reused`, `config-not-kept`.
        rule: &'static str,
        /// In a sentence.
        reason: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
}

/// What is to be done for the wanted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing, or the trial is under way.
    Nothing,
    /// It can be used at once.
    Live,
    /// A restart is needed.
    Restart,
}

/// Holds the fleet's configuration of a data folder. One process at a time writes it.
pub struct Keeper {
    store: Store,
    base: Base,
    inner: Mutex<Inner>,
    reported: watch::Sender<Reported>,
    woken: Notify,
}

struct Inner {
    kept: Kept,
    unreadable: Option<Unreadable>,
    /// What this process runs on.
    running: Option<Version>,
    layer: FleetLayer,
    recipes: FleetRecipes,
    /// Why the proven version is not used.
    unusable: Option<String>,
    /// End of the trial.
    until: Option<Instant>,
    /// An old document that was refused last: it is on record once, however often it comes.
    replayed: Option<(u64, Sha256)>,
}

impl Keeper {
    /// That of a data folder. Until [`Keeper::begin`] it tells what a start would run on, for a command beside the station.
    pub fn open(data: &Path, base: Base) -> Self {
        let store = Store::of(data);
        let (kept, unreadable) = match store.read() {
            Ok(kept) => (kept, None),
            Err(unreadable) => (Kept::default(), Some(unreadable)),
        };
        let running = kept.in_use().cloned();
        let layer = running.as_ref().and_then(|version| version.layer().ok()).unwrap_or_default();
        let inner = Inner {
            kept,
            unreadable,
            running,
            layer,
            recipes: FleetRecipes::default(),
            unusable: None,
            until: None,
            replayed: None,
        };
        let reported = watch::channel(inner.reported()).0;
        Self { store, base, inner: Mutex::new(inner), reported, woken: Notify::new() }
    }

    /// Checks a document whose signature was verified, and keeps it as the wanted one. Writes to the disk.
    pub fn offer(&self, desired: Desired, actor: &Actor) -> Offered {
        let mut inner = self.inner();
        let offered = self.answer(&mut inner, desired, actor);
        self.tell(&inner);
        offered
    }

    fn answer(&self, inner: &mut Inner, desired: Desired, actor: &Actor) -> Offered {
        if let Some(unreadable) = &inner.unreadable {
            return refuse("config-not-kept", unreadable.to_string());
        }
        let newest = inner.kept.newest;
        let version = Version::of(desired, &actor.0);
        let same = inner.kept.document == Some(version.document);
        if version.version == newest && same {
            return Offered::Known(inner.reported().state);
        }
        let number = version.version;
        let old = match number {
            0 => Some(("config-stale", "Versions are counted from 1.".to_owned())),
            _ if number < newest => {
                Some(("config-stale", format!("Version {newest} was offered before; {number} is older.")))
            }
            _ if number == newest => {
                let reason = format!("Version {number} was offered before with another content.");
                Some(("config-version-reused", reason))
            }
            _ => None,
        };
        if let Some((rule, reason)) = old {
            let seen = (number, version.document);
            if inner.replayed != Some(seen) {
                let event = record::refused((number, &version.document), actor, (rule, &reason), &[]);
                not_written(self.change(inner, |kept| kept.unrecorded.push(event)));
                inner.replayed = Some(seen);
            }
            return refuse(rule, reason);
        }
        match validation::check(&self.base, &version) {
            Ok(_) => self.take(inner, version, actor),
            Err(problems) => self.refuse_newer(inner, &version, actor, problems),
        }
    }

    fn take(&self, inner: &mut Inner, version: Version, actor: &Actor) -> Offered {
        let kept = self.change(inner, |kept| {
            (kept.newest, kept.document) = (version.version, Some(version.document));
            kept.unrecorded.push(record::offered(&version, actor));
            kept.waiting = Some(version);
        });
        match kept {
            Ok(()) => Offered::Taken,
            Err(error) => not_kept(&error),
        }
    }

    /// What waited was replaced by its manager, and is not used either.
    fn refuse_newer(
        &self,
        inner: &mut Inner,
        version: &Version,
        actor: &Actor,
        problems: Vec<Problem>,
    ) -> Offered {
        const RULE: &str = "config-invalid";
        let (number, document) = (version.version, version.document);
        let reason = format!("Version {number} cannot be used on this station.");
        let kept = self.change(inner, |kept| {
            (kept.newest, kept.document, kept.waiting) = (number, Some(document), None);
            kept.unrecorded.push(record::refused((number, &document), actor, (RULE, &reason), &problems));
            let (state, reason, problems) = (State::Refused, reason.clone(), problems.clone());
            kept.failed = Some(Failed { version: number, state, reason, problems });
        });
        match kept {
            Ok(()) => Offered::Refused { rule: RULE, reason, problems },
            Err(error) => not_kept(&error),
        }
    }

    /// What is to be done now.
    pub fn next(&self) -> Next {
        self.inner().next()
    }

    /// Uses the waiting version in this process, where [`Keeper::next`] says that it can; the configuration with it.
    pub fn apply_live(&self) -> io::Result<Option<Config>> {
        let mut inner = self.inner();
        let Some(version) = inner.kept.waiting.clone().filter(|_| inner.next() == Next::Live) else {
            return Ok(None);
        };
        let loaded = version.layer().and_then(|layer| Ok((self.base.any(Some(&layer))?, layer)));
        let (config, layer) = match loaded {
            Ok(loaded) => loaded,
            // The station's file was changed since it was found good.
            Err(error) => {
                self.change(&mut inner, |kept| {
                    kept.waiting = None;
                    fail(kept, &version, &error.line());
                })?;
                self.tell(&inner);
                return Ok(None);
            }
        };
        let before = inner.version();
        self.change(&mut inner, |kept| {
            kept.unrecorded.extend([record::applied(&version, before, &[]), record::in_use(&version)]);
            kept.waiting = None;
            prove(kept, version.clone());
        })?;
        inner.unusable = None;
        inner.recipes.exchange(version.recipes.clone());
        (inner.running, inner.layer) = (Some(version), layer);
        self.tell(&inner);
        Ok(Some(config))
    }

    /// Puts the waiting version on trial for the restart that follows; false where nothing is left to do before it.
    pub fn apply_by_restart(&self) -> io::Result<bool> {
        let mut inner = self.inner();
        let Some(version) = inner.kept.waiting.clone().filter(|_| inner.kept.trial.is_none()) else {
            return Ok(false);
        };
        let (before, restart_keys) = (inner.version(), inner.restart_keys(&version));
        self.change(&mut inner, |kept| {
            kept.unrecorded.push(record::applied(&version, before, &restart_keys));
            kept.waiting = None;
            kept.trial = Some(Trial { of: version, starts: 0 });
        })?;
        self.tell(&inner);
        Ok(true)
    }

    /// The link to the broker is there: what was on trial is in use. Call it at every connect.
    pub fn link_is_up(&self) {
        let mut inner = self.inner();
        let Some(version) = inner.on_trial().cloned() else { return };
        let kept = self.change(&mut inner, |kept| {
            kept.unrecorded.push(record::in_use(&version));
            kept.trial = None;
            prove(kept, version);
        });
        if kept.is_ok() {
            inner.until = None;
        }
        not_written(kept);
        self.tell(&inner);
    }

    /// Resolves when the trial of this process is over and the link is not there; pending without one.
    pub async fn trial_over(&self) {
        let until = self.inner().until;
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Restores the version before the one on trial; a restart follows.
    pub fn roll_back(&self, reason: &str) {
        let mut inner = self.inner();
        let kept = self.take_back(&mut inner, reason);
        inner.until = kept.is_err().then(|| Instant::now() + RETRY);
        not_written(kept);
        self.tell(&inner);
    }

    /// Forgets every version, for a person at a station that does not run. What was offered is not taken again.
    pub fn forget(&self, actor: &Actor) -> io::Result<()> {
        let mut inner = self.inner();
        self.store.lock()?;
        if inner.unreadable.is_some() {
            self.store.set_aside()?;
            inner.unreadable = None;
        }
        let reason = format!("taken back at the station by {}", actor.who());
        self.change(&mut inner, |kept| {
            let version = kept.in_use().or(kept.waiting.as_ref()).cloned();
            (kept.proven, kept.trial, kept.waiting) = (None, None, None);
            let Some(version) = version else { return };
            kept.unrecorded.push(record::rolled_back(&version, 0, &reason, actor));
            let (version, state) = (kept.newest, State::RolledBack);
            kept.failed = Some(Failed { version, state, reason, problems: Vec::new() });
        })?;
        self.tell(&inner);
        Ok(())
    }

    /// What the event log does not have yet. Say how many it has with [`Keeper::recorded`].
    pub fn unrecorded(&self) -> Vec<NewEvent> {
        self.inner().kept.unrecorded.clone()
    }

    /// The log has the first `count` of them.
    pub fn recorded(&self, count: usize) {
        let mut inner = self.inner();
        let kept = self.change(&mut inner, |kept| {
            kept.unrecorded.drain(..count.min(kept.unrecorded.len()));
        });
        if kept.is_err() {
            // On record twice after a restart is better than never, and more often than that no use.
            inner.kept.unrecorded.clear();
        }
        not_written(kept);
    }

    /// What to report, now.
    pub fn reported(&self) -> Reported {
        self.reported.borrow().clone()
    }

    /// What to report, after each change.
    pub fn watch(&self) -> watch::Receiver<Reported> {
        self.reported.subscribe()
    }

    /// What a technician should know; it forbids nothing.
    pub fn notice(&self) -> Option<Fault> {
        self.inner().notice()
    }

    /// Resolves after something changed.
    pub async fn changed(&self) {
        self.woken.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_back(&self, inner: &mut Inner, reason: &str) -> io::Result<()> {
        let Some(version) = inner.kept.trial.as_ref().map(|trial| trial.of.clone()) else { return Ok(()) };
        self.change(inner, |kept| {
            kept.trial = None;
            fail(kept, &version, reason);
        })
    }

    /// Writes a changed state before anything else knows of it.
    fn change(&self, inner: &mut Inner, edit: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut kept = inner.kept.clone();
        edit(&mut kept);
        let over = kept.unrecorded.len().saturating_sub(UNRECORDED_MAX);
        kept.unrecorded.drain(..over);
        self.store.write(&kept)?;
        inner.kept = kept;
        Ok(())
    }

    fn tell(&self, inner: &Inner) {
        let now = inner.reported();
        self.reported.send_if_modified(|reported| {
            let differs = *reported != now;
            *reported = now;
            differs
        });
        self.woken.notify_one();
    }
}

impl Inner {
    fn next(&self) -> Next {
        let proven = self.kept.proven.as_ref().map_or(0, |version| version.version);
        // After a rollback this process still runs on what failed.
        let agrees = self.unusable.is_some() || self.version() == proven;
        match (&self.kept.trial, &self.kept.waiting) {
            _ if self.unreadable.is_some() => Next::Nothing,
            (Some(_), _) if self.on_trial().is_some() => Next::Nothing,
            (Some(_), _) => Next::Restart,
            (None, None) if agrees => Next::Nothing,
            (None, None) => Next::Restart,
            (None, Some(version)) if agrees && self.restart_keys(version).is_empty() => Next::Live,
            (None, Some(_)) => Next::Restart,
        }
    }

    /// Number of what this process runs on; 0: none of the fleet's.
    fn version(&self) -> u64 {
        self.running.as_ref().map_or(0, |version| version.version)
    }

    /// What is on trial in this process, and not only after the next restart.
    fn on_trial(&self) -> Option<&Version> {
        let trial = self.kept.trial.as_ref().map(|trial| &trial.of);
        trial.filter(|of| of.version == self.version())
    }

    /// Keys because of which a version needs a restart.
    fn restart_keys(&self, version: &Version) -> Vec<String> {
        let mut keys = version.layer().map(|layer| layer.differing(&self.layer)).unwrap_or_default();
        keys.retain(|key| LIVE.iter().all(|(live, _)| live != key));
        keys
    }
}

/// A version is the last good one; what failed before it is history.
fn prove(kept: &mut Kept, version: Version) {
    kept.failed.take_if(|failed| failed.version <= version.version);
    kept.proven = Some(version);
}

/// A version is not tried again.
fn fail(kept: &mut Kept, version: &Version, reason: &str) {
    let to = kept.proven.as_ref().map_or(0, |proven| proven.version);
    kept.unrecorded.push(record::rolled_back(version, to, reason, &record::station()));
    if kept.failed.as_ref().is_none_or(|failed| failed.version < version.version) {
        let (version, state, reason) = (version.version, State::RolledBack, reason.to_owned());
        kept.failed = Some(Failed { version, state, reason, problems: Vec::new() });
    }
}

fn refuse(rule: &'static str, reason: String) -> Offered {
    Offered::Refused { rule, reason, problems: Vec::new() }
}

fn not_kept(error: &io::Error) -> Offered {
    refuse("config-not-kept", format!("The disk does not take it: {error}. Offer it again."))
}

fn not_written(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "the state of the fleet's configuration is not written");
    }
}

#[cfg(test)]
mod tests;
