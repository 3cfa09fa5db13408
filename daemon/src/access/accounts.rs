//! People of this station: names, roles and password hashes in one file, sign-ins in memory.
//!
//! The file (`accounts.json` in the data folder, readable by the service only) is read anew when it changes, so that
//! `turnstage accounts` works beside a running station. Passwords are kept as Argon2id hashes. A sign-in ends 8
//! hours after it was last used and with the process. Five wrong passwords in a row make an address or a name wait,
//! longer each time; the answer never tells which of the two was wrong. A file that cannot be read lets nobody in and
//! is not written over.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Role, Visitor};
use crate::command::{Actor, Place};

/// Name of the cookie of a signed-in browser.
pub const COOKIE: &str = "turnstage";
/// How long a sign-in lasts after it was last used (V-12).
pub const SIGNED_IN: Duration = Duration::from_secs(8 * 3600);
/// Version of the file.
const SCHEMA: u32 = 1;
/// Shorter passwords are refused.
const PASSWORD_CHARS_MIN: usize = 10;
/// Longer names and passwords are nobody's.
const NAME_CHARS_MAX: usize = 64;
const PASSWORD_CHARS_MAX: usize = 200;
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

/// What an open stream looks at again and again: whether whoever asked for it is still let in.
#[derive(Clone)]
pub struct Pass(Option<(Arc<Accounts>, String)>);

impl Pass {
    /// By this token, or by where they sit.
    pub fn new(accounts: &Arc<Accounts>, token: Option<&str>) -> Self {
        Self(token.map(|token| (accounts.clone(), token.to_owned())))
    }

    /// Still let in.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|(accounts, token)| accounts.holds(token))
    }
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
    /// The file is damaged or newer: mend it, or move it away and make the accounts anew.
    #[error("{path} cannot be read: {cause}. Mend it, or move it away and make the accounts anew")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
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
    /// Why the file is not what it should be: then nobody is let in by it.
    unreadable: Option<String>,
    signed_in: BTreeMap<String, SignIn>,
    wrong: BTreeMap<String, Wrong>,
}

struct SignIn {
    name: String,
    until: Instant,
    /// Known again by this, and by nothing that is secret.
    place: Place,
    /// Signed out, or the account changed. Still known, so that whoever sees the table move can stop it.
    ended: bool,
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
        let state = self.fresh();
        state.unreadable.is_none() && state.people.is_empty()
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
        self.readable(&state)?;
        state.people.insert(name.to_owned(), Account { role, password: hash });
        self.keep(&mut state)
    }

    /// Takes a person's account away. Their sign-ins end.
    pub fn remove(&self, name: &str) -> Result<(), AccountError> {
        let mut state = self.fresh();
        self.readable(&state)?;
        state.people.remove(name).ok_or_else(|| AccountError::Unknown(name.to_owned()))?;
        self.keep(&mut state)
    }

    /// A token for the browser of somebody who knows their password. Takes the time of one Argon2 hash: call it where
    /// that may block.
    pub fn sign_in(&self, from: IpAddr, name: &str, password: &str) -> Result<String, NotSignedIn> {
        if name.chars().count() > NAME_CHARS_MAX || password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(NotSignedIn::Wrong);
        }
        let keys = [format!("address {from}"), format!("name {name}")];
        let account = {
            let mut state = self.fresh();
            if let Some(wait) = keys.iter().filter_map(|key| state.wait(key)).max() {
                return Err(NotSignedIn::Wait(wait));
            }
            // Counted before it is looked at: a hundred guesses at once are a hundred guesses.
            keys.iter().for_each(|key| state.count_wrong(key.clone()));
            state.people.get(name).cloned()
        };
        // An unknown name costs as much as a wrong password, so that nobody learns names by the clock.
        let kept = account.as_ref().map_or(NOBODY, |account| account.password.as_str());
        let right = PasswordHash::new(kept)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        let mut state = self.lock();
        if account.is_none() || !right {
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
        let place = Place::Afar(uuid::Uuid::new_v4().to_string());
        state.signed_in.insert(token.clone(), SignIn { name: name.to_owned(), until, place, ended: false });
        Ok(token)
    }

    /// Ends a sign-in.
    pub fn sign_out(&self, token: &str) {
        if let Some(sign_in) = self.lock().signed_in.get_mut(token) {
            sign_in.ended = true;
        }
    }

    /// Who held a token of this process, though the sign-in ended: enough to stop a table, and nothing else.
    pub fn known(&self, token: &str) -> Option<Visitor> {
        let state = self.lock();
        let sign_in = state.signed_in.get(token)?;
        let actor = Actor(format!("{}:{}", Role::Operator.name(), sign_in.name));
        Some(Visitor { actor, role: Role::Operator, signed_in: true, place: sign_in.place.clone() })
    }

    /// Who holds a token.
    pub fn visitor(&self, token: &str) -> Option<Visitor> {
        let mut state = self.fresh();
        let State { people, signed_in, .. } = &mut *state;
        let now = Instant::now();
        let sign_in = signed_in.get_mut(token).filter(|one| one.until > now && !one.ended)?;
        let account = people.get(&sign_in.name)?;
        sign_in.until = now + SIGNED_IN;
        let actor = Actor(format!("{}:{}", account.role.name(), sign_in.name));
        Some(Visitor { actor, role: account.role, signed_in: true, place: sign_in.place.clone() })
    }

    /// Whether a token is still good; asking is not using it.
    fn holds(&self, token: &str) -> bool {
        let state = self.fresh();
        let good =
            |one: &SignIn| !one.ended && one.until > Instant::now() && state.people.contains_key(&one.name);
        state.signed_in.get(token).is_some_and(good)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with the file as it is now.
    fn fresh(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let changed = match std::fs::metadata(&self.path).and_then(|file| file.modified()) {
            Ok(changed) => Some(changed),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                state.unreadable = Some(error.to_string());
                return state;
            }
        };
        if changed == state.read_at && (changed.is_some() || state.unreadable.is_none()) {
            return state;
        }
        state.read_at = changed;
        let read = match changed {
            None => Ok(BTreeMap::new()),
            Some(_) => read(&self.path),
        };
        match read {
            Ok(people) => {
                state.unreadable = None;
                state.adopt(people);
            }
            Err(error) => {
                tracing::error!(error, path = %self.path.display(), "nobody is let in: the accounts cannot be read");
                state.unreadable = Some(error);
                state.adopt(BTreeMap::new());
            }
        }
        state
    }

    fn readable(&self, state: &State) -> Result<(), AccountError> {
        let unreadable =
            |cause: &String| AccountError::Unreadable { path: self.path.clone(), cause: cause.clone() };
        state.unreadable.as_ref().map_or(Ok(()), |cause| Err(unreadable(cause)))
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
        state.signed_in.values_mut().for_each(|one| one.ended = true);
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
        self.signed_in.values_mut().filter(|one| !same(&one.name)).for_each(|one| one.ended = true);
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

fn read(path: &Path) -> Result<BTreeMap<String, Account>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let file = serde_json::from_slice::<File>(&bytes).map_err(|error| error.to_string())?;
    match file.schema {
        0..=SCHEMA => Ok(file.people),
        newer => Err(format!("it was written by a newer version (schema {newer})")),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Never through a link that somebody laid there, and never into what somebody else may hold open.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
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
    fn nobody_s_hash_costs_as_much_as_anybody_s() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let params = argon2::Params::try_from(&hash).unwrap();
        let own = Argon2::default();
        let own = own.params();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (own.m_cost(), own.t_cost(), own.p_cost())
        );
    }

    #[test]
    fn a_damaged_or_newer_file_lets_nobody_in_and_is_not_written_over() {
        for damage in ["{ \"schema\": 1, \"peo", "{ \"schema\": 2, \"people\": {} }"] {
            let (data, accounts) = station();
            let file = data.path().join("accounts.json");
            std::fs::write(&file, damage).unwrap();
            assert!(!accounts.is_empty(), "an open door otherwise");
            assert_eq!(accounts.sign_in(HERE, "ana", "correct horse"), Err(NotSignedIn::Wrong));
            let kept = accounts.set("ana", Role::Admin, "correct horse");
            assert!(matches!(kept, Err(AccountError::Unreadable { .. })));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), damage);
        }
    }

    #[test]
    fn a_link_laid_in_the_way_is_replaced_and_not_followed() {
        let (data, accounts) = station();
        let precious = data.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, data.path().join("accounts.json.new")).unwrap();
        accounts.set("ana", Role::Operator, "correct horse").unwrap();
        assert_eq!(std::fs::read_to_string(precious).unwrap(), "precious");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_guesses_at_once_are_a_hundred_guesses() {
        let (_data, accounts) = station();
        accounts.set("ana", Role::Operator, "correct horse").unwrap();
        let wrong = std::thread::scope(|threads| {
            let guess = || accounts.sign_in(HERE, "ana", "wrong");
            let all: Vec<_> = (0..12).map(|_| threads.spawn(guess)).collect();
            all.into_iter()
                .filter_map(|one| one.join().ok())
                .filter(|end| *end == Err(NotSignedIn::Wrong))
                .count()
        });
        assert_eq!(wrong, WRONG_MAX as usize, "the others had to wait");
    }
}
