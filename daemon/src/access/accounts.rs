//! People of this station: names, roles and password hashes in one file, sign-ins in memory.
//!
//! The file (`accounts.json` in the data folder, readable by the service only) is read anew when it changes, so that
//! `turnstage accounts` works beside a running station. Passwords are kept as Argon2id hashes. A sign-in lasts 12
//! hours and ends with the process. Five wrong passwords in a row make an address or a name wait, longer each time;
//! the answer never tells which of the two was wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Role, Visitor};
use crate::command::Actor;

/// Name of the cookie of a signed-in browser.
pub const COOKIE: &str = "turnstage";
/// How long a sign-in lasts.
pub const SIGNED_IN: Duration = Duration::from_secs(12 * 3600);
/// Version of the file.
const SCHEMA: u32 = 1;
/// Shorter passwords are refused.
const PASSWORD_CHARS_MIN: usize = 10;
/// Wrong passwords before an address or a name has to wait.
const WRONG_MAX: u32 = 5;
/// First wait; doubled with each further wrong password.
const WAIT: Duration = Duration::from_secs(10);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Sign-ins that are kept; the oldest goes.
const SIGN_INS_MAX: usize = 256;
/// Addresses and names whose wrong passwords are remembered; the oldest goes.
const WATCHED_MAX: usize = 1024;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What they may.
    pub role: Role,
    /// Argon2id, in the PHC format.
    password: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    schema: u32,
    people: BTreeMap<String, Account>,
}

/// Why an account cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Choose another one.
    #[error("a password needs at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// Correct the name.
    #[error("a name has 1 to 64 letters, digits, spaces and the signs . _ -, not \"{0}\"")]
    BadName(String),
    /// There is no such person.
    #[error("there is no account \"{0}\"")]
    Unknown(String),
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}

/// Why somebody is not signed in.
#[derive(Debug, PartialEq, Eq)]
pub enum NotSignedIn {
    /// Name or password is wrong.
    Wrong,
    /// Too many wrong ones: not before this span is over.
    Wait(Duration),
}

/// See the module.
pub struct Accounts {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    people: BTreeMap<String, Account>,
    read_at: Option<SystemTime>,
    signed_in: BTreeMap<String, SignIn>,
    wrong: BTreeMap<String, Wrong>,
}

struct SignIn {
    name: String,
    until: Instant,
}

struct Wrong {
    count: u32,
    last: Instant,
}

impl Accounts {
    /// Those of a data folder.
    pub fn of(data: &Path) -> Self {
        Self { path: data.join("accounts.json"), state: Mutex::default() }
    }

    /// Nobody has an account: only this machine itself is let in.
    pub fn is_empty(&self) -> bool {
        self.fresh().people.is_empty()
    }

    /// Everybody, by name.
    pub fn people(&self) -> BTreeMap<String, Role> {
        self.fresh().people.iter().map(|(name, account)| (name.clone(), account.role)).collect()
    }

    /// Adds a person, or gives one a new role and password. Their sign-ins end.
    pub fn set(&self, name: &str, role: Role, password: &str) -> Result<(), AccountError> {
        let plain = |c: char| c.is_alphanumeric() || " ._-".contains(c);
        if name.trim() != name || name.is_empty() || name.chars().count() > 64 || !name.chars().all(plain) {
            return Err(AccountError::BadName(name.to_owned()));
        }
        if password.chars().count() < PASSWORD_CHARS_MIN {
            return Err(AccountError::TooShort);
        }
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|error| self.failed(error))?.to_string();
        let mut state = self.fresh();
        state.people.insert(name.to_owned(), Account { role, password: hash });
        self.keep(&mut state)
    }

    /// Takes a person's account away. Their sign-ins end.
    pub fn remove(&self, name: &str) -> Result<(), AccountError> {
        let mut state = self.fresh();
        state.people.remove(name).ok_or_else(|| AccountError::Unknown(name.to_owned()))?;
        self.keep(&mut state)
    }

    /// A token for the browser of somebody who knows their password. Takes the time of one Argon2 hash: call it where
    /// that may block.
    pub fn sign_in(&self, from: IpAddr, name: &str, password: &str) -> Result<String, NotSignedIn> {
        let keys = [format!("address {from}"), format!("name {name}")];
        let account = {
            let state = self.fresh();
            if let Some(wait) = keys.iter().filter_map(|key| state.wait(key)).max() {
                return Err(NotSignedIn::Wait(wait));
            }
            state.people.get(name).cloned()
        };
        // An unknown name costs as much as a wrong password, so that nobody learns names by the clock.
        let kept = account.as_ref().map_or(NOBODY, |account| account.password.as_str());
        let right = PasswordHash::new(kept)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        let mut state = self.lock();
        if account.is_none() || !right {
            keys.into_iter().for_each(|key| state.count_wrong(key));
            return Err(NotSignedIn::Wrong);
        }
        state.wrong.retain(|key, _| !keys.contains(key));
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        while state.signed_in.len() >= SIGN_INS_MAX {
            let oldest =
                state.signed_in.iter().min_by_key(|(_, one)| one.until).map(|(token, _)| token.clone());
            oldest.map(|token| state.signed_in.remove(&token));
        }
        let until = Instant::now() + SIGNED_IN;
        state.signed_in.insert(token.clone(), SignIn { name: name.to_owned(), until });
        Ok(token)
    }

    /// Ends a sign-in.
    pub fn sign_out(&self, token: &str) {
        self.lock().signed_in.remove(token);
    }

    /// Who holds a token.
    pub fn visitor(&self, token: &str) -> Option<Visitor> {
        let state = self.fresh();
        let sign_in = state.signed_in.get(token).filter(|one| one.until > Instant::now())?;
        let account = state.people.get(&sign_in.name)?;
        let actor = Actor(format!("{}:{}", account.role.name(), sign_in.name));
        Some(Visitor { actor, role: account.role, signed_in: true })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with the file as it is now. A file that cannot be read lets nobody in that was not known before.
    fn fresh(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if changed == state.read_at {
            return state;
        }
        let read = match changed {
            None => Ok(File::default()),
            Some(_) => std::fs::read(&self.path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| serde_json::from_slice::<File>(&bytes).map_err(|error| error.to_string())),
        };
        match read {
            Ok(file) if file.schema <= SCHEMA => {
                state.adopt(file.people);
                state.read_at = changed;
            }
            Ok(file) => tracing::error!(schema = file.schema, "the accounts were written by a newer version"),
            Err(error) => tracing::error!(error, "the accounts cannot be read"),
        }
        state
    }

    fn keep(&self, state: &mut State) -> Result<(), AccountError> {
        let people = state.people.clone();
        let file = File { schema: SCHEMA, people: people.clone() };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|error| self.failed(error))?;
        let new = self.path.with_extension("json.new");
        write_private(&new, &bytes)
            .and_then(|()| std::fs::rename(&new, &self.path))
            .map_err(|e| self.failed(e))?;
        state.adopt(people);
        state.signed_in.clear();
        state.read_at = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        Ok(())
    }

    fn failed(&self, cause: impl ToString) -> AccountError {
        AccountError::File { path: self.path.clone(), cause: cause.to_string() }
    }
}

/// A hash of nothing that anybody could type: verifying against it takes as long as against a real one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$VHVybnN0YWdlTm9ib2R5$1Z1bq3Jc0yqkz0i2rK0m3y7b0Yw0m1cV6c8oJmE2m3A";

impl State {
    /// New people; who changed has to sign in again.
    fn adopt(&mut self, people: BTreeMap<String, Account>) {
        let before = std::mem::replace(&mut self.people, people);
        let same = |name: &String| before.contains_key(name) && before.get(name) == self.people.get(name);
        self.signed_in.retain(|_, one| same(&one.name));
    }

    fn wait(&self, key: &str) -> Option<Duration> {
        let wrong = self.wrong.get(key).filter(|wrong| wrong.count >= WRONG_MAX)?;
        let wait = WAIT.saturating_mul(1 << (wrong.count - WRONG_MAX).min(16)).min(WAIT_MAX);
        wait.checked_sub(wrong.last.elapsed()).filter(|left| !left.is_zero())
    }

    fn count_wrong(&mut self, key: String) {
        if self.wrong.len() >= WATCHED_MAX && !self.wrong.contains_key(&key) {
            let oldest = self.wrong.iter().min_by_key(|(_, wrong)| wrong.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.wrong.remove(&key));
        }
        let wrong = self.wrong.entry(key).or_insert(Wrong { count: 0, last: Instant::now() });
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = Instant::now();
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Made by root for a service that runs as somebody else: it belongs to whom the folder belongs to.
    if let (true, Some(folder)) = (rustix::process::geteuid().is_root(), path.parent()) {
        let owner = std::fs::metadata(folder)?;
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn station() -> (tempfile::TempDir, Accounts) {
        let data = tempfile::TempDir::new().unwrap();
        let accounts = Accounts::of(data.path());
        (data, accounts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_signs_in_is_known_by_name_and_role_and_signs_out() {
        let (data, accounts) = station();
        assert!(accounts.is_empty());
        accounts.set("ana", Role::Operator, "correct horse").unwrap();
        // A second look at the same file, as the running station has.
        let running = Accounts::of(data.path());
        let token = running.sign_in(HERE, "ana", "correct horse").unwrap();
        let visitor = running.visitor(&token).unwrap();
        assert_eq!((visitor.actor.0.as_str(), visitor.role), ("operator:ana", Role::Operator));
        running.sign_out(&token);
        assert_eq!(running.visitor(&token), None);
        let file = std::fs::read_to_string(data.path().join("accounts.json")).unwrap();
        assert!(!file.contains("correct horse"));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_passwords_have_to_wait_longer_each_time() {
        let (_data, accounts) = station();
        accounts.set("ana", Role::Operator, "correct horse").unwrap();
        for _ in 0..WRONG_MAX {
            assert_eq!(accounts.sign_in(HERE, "ana", "wrong"), Err(NotSignedIn::Wrong));
        }
        assert!(matches!(accounts.sign_in(HERE, "ana", "correct horse"), Err(NotSignedIn::Wait(_))));
        tokio::time::advance(WAIT + Duration::from_secs(1)).await;
        assert_eq!(accounts.sign_in(HERE, "ana", "wrong"), Err(NotSignedIn::Wrong));
        tokio::time::advance(WAIT).await;
        assert!(matches!(accounts.sign_in(HERE, "ana", "correct horse"), Err(NotSignedIn::Wait(_))));
        tokio::time::advance(WAIT).await;
        assert!(accounts.sign_in(HERE, "ana", "correct horse").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_in_ends_by_itself_and_with_a_new_password() {
        let (data, accounts) = station();
        accounts.set("ana", Role::Operator, "correct horse").unwrap();
        let token = accounts.sign_in(HERE, "ana", "correct horse").unwrap();
        tokio::time::advance(SIGNED_IN + Duration::from_secs(1)).await;
        assert_eq!(accounts.visitor(&token), None);
        let token = accounts.sign_in(HERE, "ana", "correct horse").unwrap();
        Accounts::of(data.path()).set("ana", Role::Admin, "battery staple").unwrap();
        assert_eq!(accounts.visitor(&token), None);
    }

    #[test]
    fn short_passwords_and_odd_names_are_refused() {
        let (_data, accounts) = station();
        assert!(matches!(accounts.set("ana", Role::Operator, "short"), Err(AccountError::TooShort)));
        for name in ["", " ana", "a:b", "a/b", &"x".repeat(65)] {
            assert!(matches!(
                accounts.set(name, Role::Operator, "correct horse"),
                Err(AccountError::BadName(_))
            ));
        }
    }

    #[test]
    fn nobody_s_hash_is_well_formed_so_that_it_costs_as_much() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }
}
