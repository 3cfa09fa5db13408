//! Named flags that a technician or the fleet sets on a station, each with who, why and since when.
//!
//! They are kept in `flags.json` in the data folder and outlive restarts. A file that cannot be read counts as "out of
//! service": somebody may have set that for a reason that nobody can read any more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use turnstage_cloud_sync::Stamp;
use utoipa::ToSchema;

use crate::clock;
use crate::command::{Actor, Refusal};

/// No session begins; one that is open may be finished.
pub const OUT_OF_SERVICE: &str = "out-of-service";
/// No update is installed.
pub const HOLD_UPDATES: &str = "hold-updates";
/// All there are.
pub const KNOWN: [&str; 2] = [OUT_OF_SERVICE, HOLD_UPDATES];

/// Version of the file.
const SCHEMA: u32 = 1;
/// Longest reason in characters.
const REASON_CHARS_MAX: usize = 200;

/// A flag that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flag {
    /// One of [`KNOWN`].
    pub name: String,
    /// Who set it: `technician:tom`.
    pub actor: String,
    /// Why, in their words.
    pub reason: String,
    /// When, by the station's wall clock: `2026-11-28T09:30:00Z`.
    pub since: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    flags: Vec<Flag>,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct Flags(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    now: watch::Sender<Vec<Flag>>,
    /// One change at a time reaches the file.
    writing: Mutex<()>,
}

impl Flags {
    /// Those of a data folder.
    pub fn of(data: &Path) -> Self {
        let path = data.join("flags.json");
        let flags = read(&path).unwrap_or_else(|error| {
            tracing::error!(%error, path = %path.display(), "the flags cannot be read");
            vec![Flag {
                name: OUT_OF_SERVICE.to_owned(),
                actor: "station".to_owned(),
                reason: format!("its flags cannot be read ({error})"),
                since: String::new(),
            }]
        });
        Self(Arc::new(Shared { path, now: watch::channel(flags).0, writing: Mutex::default() }))
    }

    /// Those that are set, by name.
    pub fn all(&self) -> Vec<Flag> {
        self.0.now.borrow().clone()
    }

    /// The flag of this name, if it is set.
    pub fn get(&self, name: &str) -> Option<Flag> {
        self.0.now.borrow().iter().find(|flag| flag.name == name).cloned()
    }

    /// To be told of changes.
    pub fn watch(&self) -> watch::Receiver<Vec<Flag>> {
        self.0.now.subscribe()
    }

    /// Whether a flag of this name may be set for this reason.
    pub fn check(name: &str, value: bool, reason: &str) -> Result<(), Refusal> {
        if !KNOWN.contains(&name) {
            let reason = format!("There is no flag \"{name}\". There are: {}.", KNOWN.join(", "));
            return Err(Refusal::new("flag-unknown", reason));
        }
        if value && reason.trim().is_empty() {
            let reason = "A flag needs a reason. Say why, for whoever stands before the station.";
            return Err(Refusal::new("flag-reason", reason));
        }
        if reason.chars().count() > REASON_CHARS_MAX {
            let reason = format!("The reason is longer than {REASON_CHARS_MAX} characters. Say it shorter.");
            return Err(Refusal::new("flag-reason", reason));
        }
        Ok(())
    }

    /// Sets or clears a flag; it is on the disk when this returns. Blocks for as long as the disk takes.
    pub fn set(
        &self,
        name: &str,
        value: bool,
        reason: &str,
        actor: &Actor,
        at: &Stamp,
    ) -> Result<(), Refusal> {
        Self::check(name, value, reason)?;
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flags: BTreeMap<String, Flag> =
            self.all().into_iter().map(|flag| (flag.name.clone(), flag)).collect();
        flags.remove(name);
        if value {
            let flag = Flag {
                name: name.to_owned(),
                actor: actor.0.clone(),
                reason: reason.trim().to_owned(),
                since: clock::readable(at.wall_ms),
            };
            flags.insert(name.to_owned(), flag);
        }
        let flags: Vec<Flag> = flags.into_values().collect();
        write(&self.0.path, &flags).map_err(|error| {
            let reason =
                format!("The flag is not set: its file cannot be written ({error}). Check the disk.");
            Refusal::new("storage-fault", reason)
        })?;
        self.0.now.send_replace(flags);
        Ok(())
    }

    /// Refuses to begin what a station out of service does not do.
    pub fn in_service(&self) -> Result<(), Refusal> {
        let Some(flag) = self.get(OUT_OF_SERVICE) else { return Ok(()) };
        let who = Actor(flag.actor).who().to_owned();
        let reason = format!(
            "The station is out of service: {} ({who}). Ask them, or let a technician clear the flag \
             \"{OUT_OF_SERVICE}\".",
            flag.reason.trim_end_matches('.')
        );
        Err(Refusal::new(OUT_OF_SERVICE, reason))
    }
}

fn read(path: &Path) -> Result<Vec<Flag>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    // What a newer version knows beside this is for that version.
    serde_json::from_slice::<Kept>(&bytes).map(|kept| kept.flags).map_err(|error| error.to_string())
}

fn write(path: &Path, flags: &[Flag]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&Kept { schema: SCHEMA, flags: flags.to_vec() })?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn set(flags: &Flags, name: &str, value: bool, reason: &str) -> Result<(), Refusal> {
        flags.set(name, value, reason, &Actor("technician:tom".to_owned()), &SystemClock::new().now())
    }

    #[test]
    fn a_flag_outlives_a_restart_and_says_who_and_why() {
        let data = tempfile::tempdir().unwrap();
        let flags = Flags::of(data.path());
        assert_eq!(flags.in_service(), Ok(()));
        set(&flags, OUT_OF_SERVICE, true, " the belt slips. ").unwrap();
        set(&flags, HOLD_UPDATES, true, "fair until Sunday").unwrap();
        let again = Flags::of(data.path());
        assert_eq!(again.all(), flags.all());
        let refusal = again.in_service().unwrap_err();
        assert_eq!(refusal.rule, OUT_OF_SERVICE);
        assert!(refusal.reason.contains("the belt slips (tom)"), "{}", refusal.reason);
        set(&again, OUT_OF_SERVICE, false, "").unwrap();
        assert_eq!(Flags::of(data.path()).all().len(), 1);
    }

    #[test]
    fn what_is_no_flag_is_refused_with_those_there_are() {
        let data = tempfile::tempdir().unwrap();
        let flags = Flags::of(data.path());
        let refusal = set(&flags, "out-of-order", true, "broken").unwrap_err();
        assert_eq!(refusal.rule, "flag-unknown");
        assert!(refusal.reason.contains("out-of-service, hold-updates"), "{}", refusal.reason);
        assert_eq!(set(&flags, OUT_OF_SERVICE, true, " ").unwrap_err().rule, "flag-reason");
        assert_eq!(set(&flags, OUT_OF_SERVICE, true, &"x".repeat(201)).unwrap_err().rule, "flag-reason");
        assert!(!data.path().join("flags.json").exists());
    }

    #[test]
    fn a_damaged_file_keeps_the_station_out_of_service_until_somebody_clears_it() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("flags.json"), b"{\"schema\":1,\"fl").unwrap();
        let flags = Flags::of(data.path());
        assert_eq!(flags.in_service().unwrap_err().rule, OUT_OF_SERVICE);
        set(&flags, OUT_OF_SERVICE, false, "").unwrap();
        assert_eq!(Flags::of(data.path()).all(), []);
    }

    #[test]
    fn flags_of_a_newer_version_are_read_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let newer =
            r#"{"schema":2,"also":1,"flags":[{"name":"new-one","actor":"a","reason":"r","since":"","x":1}]}"#;
        fs::write(data.path().join("flags.json"), newer).unwrap();
        let flags = Flags::of(data.path());
        assert_eq!(flags.in_service(), Ok(()));
        set(&flags, HOLD_UPDATES, true, "fair").unwrap();
        assert!(Flags::of(data.path()).get("new-one").is_some());
    }
}
