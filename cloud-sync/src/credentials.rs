//! The device token: what it claims, whether it fits this station, and when to renew it (V-10).
//!
//! The station cannot verify the signature and need not: it reads the claims to say what is wrong before a server
//! does, in words that help. The token lies in a file that only the service may read; a renewed one is written beside
//! it, synced and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::backend::PutError;
use crate::queue::Failure;

/// Largest token file that is read.
const TOKEN_BYTES_MAX: u64 = 16 << 10;
const DAY_S: i64 = 24 * 3600;
/// A token is renewed from this age on, in seconds.
const RENEW_AGE_S: i64 = 20 * DAY_S;
/// People are told from so many seconds before the end on.
const ALARM_S: i64 = 7 * DAY_S;
/// At most one renewal is tried in so many milliseconds.
const RENEW_EVERY_MS: u64 = 3_600_000;

/// What a device token says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Claims {
    /// Device id.
    pub sub: String,
    /// Organisation.
    pub org_id: String,
    /// Sites that it may deliver for.
    pub site_ids: Vec<String>,
    /// `device`.
    pub role: String,
    /// Issued, in seconds since 1970.
    pub iat: i64,
    /// Invalid from then on, in seconds since 1970.
    pub exp: i64,
}

/// A token with its claims. Its text is a secret, so it has no `Debug` of its own.
#[derive(Clone, PartialEq)]
pub struct Token {
    text: String,
    claims: Claims,
}

/// Why a token cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the sentences say it
pub enum TokenFault {
    #[error(
        "there is no device token in {file}: put the station's token there, readable for this service only"
    )]
    Missing { file: PathBuf },
    #[error("the device token in {file} cannot be read: {cause}")]
    Unreadable { file: PathBuf, cause: String },
    #[error("what is in {file} is no device token ({what}): put the station's token there")]
    Malformed { file: PathBuf, what: &'static str },
    #[error("the token has the role \"{found}\" instead of \"device\": ask for a device token")]
    Role { found: String },
    #[error(
        "the token is for organisation \"{found}\", this station belongs to \"{wanted}\": ask for its own token"
    )]
    Organisation { found: String, wanted: String },
    #[error("the token is not for site \"{wanted}\" (it is for: {found}): ask for a token of this site")]
    Site { found: String, wanted: String },
    #[error("the device token expired: put a new one into {file}")]
    Expired { file: PathBuf },
}

impl Token {
    /// Reads the claims. The signature is not looked at.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('.').collect();
        let [_, claims, _] = parts[..] else { return Err("not three parts") };
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err("not base64url");
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "not base64url")?;
        let claims = serde_json::from_slice(&claims).map_err(|_| "claims are missing")?;
        Ok(Self { text: text.to_owned(), claims })
    }

    /// What it says of itself.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Value of the header `authorization`. A secret.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.text)
    }
}

impl From<TokenFault> for PutError {
    /// No picture is to blame, so nothing is counted.
    fn from(fault: TokenFault) -> Self {
        let rule = match &fault {
            TokenFault::Missing { .. } => "token-missing",
            TokenFault::Unreadable { .. } => "token-unreadable",
            TokenFault::Malformed { .. } => "token-invalid",
            TokenFault::Role { .. } => "token-wrong-role",
            TokenFault::Organisation { .. } => "token-wrong-org",
            TokenFault::Site { .. } => "token-wrong-site",
            TokenFault::Expired { .. } => "token-expired",
        };
        PutError::offline(rule, fault.to_string())
    }
}

/// A station's token in its file.
pub struct Credentials {
    file: PathBuf,
    org: String,
    site: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// A renewed one that could not be written.
    unwritten: Option<(Token, String)>,
    /// When a renewal was last tried, in boot milliseconds.
    tried_ms: Option<u64>,
}

impl Credentials {
    /// Reads nothing yet.
    pub fn new(file: PathBuf, org: String, site: String) -> Self {
        Self { file, org, site, held: Mutex::default() }
    }

    /// The token to use now. `now_ms` is the time since 1970 as well as it is known; without it the server judges.
    pub fn token(&self, now_ms: Option<i64>) -> Result<Token, TokenFault> {
        let mut token = self.read()?;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((newer, _)) = &held.unwritten
            && newer.claims.exp > token.claims.exp
            && newer.claims.org_id == token.claims.org_id
        {
            token = newer.clone();
        }
        self.check(&token, now_ms)?;
        Ok(token)
    }

    fn read(&self) -> Result<Token, TokenFault> {
        let file = || self.file.clone();
        let mut text = String::new();
        let read =
            File::open(&self.file).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(TokenFault::Missing { file: file() })
            }
            Err(error) => Err(TokenFault::Unreadable { file: file(), cause: error.to_string() }),
            Ok(_) => Token::parse(&text).map_err(|what| TokenFault::Malformed { file: file(), what }),
        }
    }

    /// Whether a text would be this station's token; nothing is written.
    pub fn examine(&self, text: &str, now_ms: Option<i64>) -> Result<Token, TokenFault> {
        let token =
            Token::parse(text).map_err(|what| TokenFault::Malformed { file: self.file.clone(), what })?;
        self.check(&token, now_ms)?;
        Ok(token)
    }

    fn check(&self, token: &Token, now_ms: Option<i64>) -> Result<(), TokenFault> {
        let claims = &token.claims;
        if claims.role != "device" {
            return Err(TokenFault::Role { found: claims.role.clone() });
        }
        if claims.org_id != self.org {
            return Err(TokenFault::Organisation { found: claims.org_id.clone(), wanted: self.org.clone() });
        }
        if !claims.site_ids.contains(&self.site) {
            return Err(TokenFault::Site { found: claims.site_ids.join(", "), wanted: self.site.clone() });
        }
        if now_ms.is_some_and(|now_ms| now_ms / 1000 >= claims.exp) {
            return Err(TokenFault::Expired { file: self.file.clone() });
        }
        Ok(())
    }

    /// The token to renew now, if it is old enough and none was tried within the hour. Counts as a try.
    pub fn renewal(&self, now_ms: Option<i64>, boottime_ms: u64) -> Option<Token> {
        let token = self.token(now_ms).ok()?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = held.tried_ms.is_some_and(|at| boottime_ms.saturating_sub(at) < RENEW_EVERY_MS);
        if tried || now_ms? / 1000 < token.claims.iat.saturating_add(RENEW_AGE_S) {
            return None;
        }
        held.tried_ms = Some(boottime_ms);
        Some(token)
    }

    /// Takes a renewed token: checked like the old one, then written. One that cannot be written is used until the
    /// service ends, with a notice.
    pub fn renewed(&self, text: &str, now_ms: Option<i64>) -> Result<(), TokenFault> {
        let token = self.examine(text, now_ms)?;
        let unwritten = write_secret(&self.file, &token.text).err().map(|error| (token, error.to_string()));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).unwritten = unwritten;
        Ok(())
    }

    /// What people should see to before the token stops working.
    pub fn notices(&self, now_ms: Option<i64>) -> Vec<Failure> {
        let mut notices = Vec::new();
        let mut note = |rule: &str, reason: String| notices.push(Failure { rule: rule.to_owned(), reason });
        let file = self.file.display();
        let left_s = |token: &Token| Some(token.claims.exp.saturating_sub(now_ms? / 1000));
        if let Some(left_s) = self.token(now_ms).ok().as_ref().and_then(left_s)
            && left_s < ALARM_S
        {
            let days = left_s / DAY_S;
            note(
                "token-expires-soon",
                format!(
                    "the device token expires in {days} days and was not renewed yet: put a new one into {file}"
                ),
            );
        }
        if let Some((_, cause)) = &self.held.lock().unwrap_or_else(PoisonError::into_inner).unwritten {
            note(
                "token-not-saved",
                format!(
                    "the renewed device token cannot be written to {file} ({cause}): make the folder writable"
                ),
            );
        }
        if fs::metadata(&self.file).is_ok_and(|file| file.mode() & 0o077 != 0) {
            note("token-exposed", format!("others may read the device token: chmod 600 {file}"));
        }
        notices
    }
}

/// Writes a secret for this service alone, whole or not at all, even when the power goes.
pub fn write_secret(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // A leftover keeps its own mode, so it must not be written into.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(&part)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&part, file)?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    const ISSUED_S: i64 = 1_795_000_000;

    fn jwt(claims: serde_json::Value) -> String {
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        format!("{}.{}.c2lnbmF0dXJl", part(json!({"alg": "HS256"}).to_string()), part(claims.to_string()))
    }

    fn claims() -> serde_json::Value {
        json!({
            "sub": "station-1", "org_id": "org", "site_ids": ["berlin", "here"], "role": "device",
            "iat": ISSUED_S, "exp": ISSUED_S + 30 * DAY_S,
        })
    }

    fn with(key: &str, value: serde_json::Value) -> String {
        let mut claims = claims();
        claims[key] = value;
        jwt(claims)
    }

    fn at_day(day: i64) -> Option<i64> {
        Some((ISSUED_S + day * DAY_S) * 1000)
    }

    fn credentials(dir: &tempfile::TempDir, text: &str) -> Credentials {
        let file = dir.path().join("token");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Credentials::new(file, "org".to_owned(), "here".to_owned())
    }

    fn rule(outcome: Result<Token, TokenFault>) -> String {
        PutError::from(outcome.err().unwrap()).failure().rule
    }

    #[test]
    fn a_token_that_does_not_fit_is_told_with_its_own_rule_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let told = |text: &str, day| rule(credentials(&dir, text).token(at_day(day)));
        assert!(credentials(&dir, &format!("  {}\n", jwt(claims()))).token(at_day(1)).is_ok());
        assert_eq!(told("nonsense", 1), "token-invalid");
        assert_eq!(told(&with("role", json!("operator")), 1), "token-wrong-role");
        assert_eq!(told(&with("org_id", json!("former")), 1), "token-wrong-org");
        assert_eq!(told(&with("site_ids", json!(["berlin"])), 1), "token-wrong-site");
        assert_eq!(told(&with("exp", json!("soon")), 1), "token-invalid");
        assert_eq!(told(&jwt(claims()), 30), "token-expired");
        let nowhere = Credentials::new(dir.path().join("none"), String::new(), String::new());
        assert_eq!(rule(nowhere.token(None)), "token-missing");
        let folder = Credentials::new(dir.path().to_owned(), String::new(), String::new());
        assert_eq!(rule(folder.token(None)), "token-unreadable");
    }

    #[test]
    fn a_station_that_does_not_know_the_time_leaves_expiry_to_the_server() {
        let dir = tempfile::tempdir().unwrap();
        assert!(credentials(&dir, &with("exp", json!(0))).token(None).is_ok());
    }

    #[test]
    fn renewal_begins_on_day_twenty_once_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir, &jwt(claims()));
        assert!(credentials.renewal(at_day(19), 0).is_none());
        assert!(credentials.renewal(None, 0).is_none());
        assert!(credentials.renewal(at_day(20), 0).is_some());
        assert!(credentials.renewal(at_day(20), RENEW_EVERY_MS - 1).is_none());
        assert!(credentials.renewal(at_day(20), RENEW_EVERY_MS).is_some());
    }

    #[test]
    fn a_renewed_token_is_written_for_this_service_alone() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir, &jwt(claims()));
        let newer = with("exp", json!(ISSUED_S + 50 * DAY_S));
        credentials.renewed(&newer, at_day(20)).unwrap();
        assert_eq!(fs::read_to_string(&credentials.file).unwrap(), newer);
        assert_eq!(fs::metadata(&credentials.file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(credentials.notices(at_day(31)), []);
        let foreign = with("org_id", json!("other"));
        assert!(credentials.renewed(&foreign, at_day(20)).is_err());
        assert_eq!(fs::read_to_string(&credentials.file).unwrap(), newer, "the good one stays");
    }

    #[test]
    fn a_renewed_token_that_cannot_be_written_is_used_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir, &jwt(claims()));
        // A folder in the way of the temporary file fails for root, too.
        fs::create_dir_all(dir.path().join("token.part/x")).unwrap();
        credentials.renewed(&with("exp", json!(ISSUED_S + 50 * DAY_S)), at_day(20)).unwrap();
        assert_eq!(credentials.token(at_day(40)).unwrap().claims.exp, ISSUED_S + 50 * DAY_S);
        assert_eq!(credentials.notices(at_day(20))[0].rule, "token-not-saved");
    }

    #[test]
    fn the_last_week_and_an_open_file_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir, &jwt(claims()));
        assert_eq!(credentials.notices(at_day(23)), []);
        let late = credentials.notices(Some(at_day(23).unwrap() + 1000));
        assert_eq!(late[0].rule, "token-expires-soon");
        assert!(late[0].reason.contains("in 6 days"), "{}", late[0].reason);
        fs::set_permissions(&credentials.file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(credentials.notices(at_day(1))[0].rule, "token-exposed");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_no_token_and_no_panic(text in ".{0,200}", claims in ".{0,200}") {
            drop(Token::parse(&text));
            drop(Token::parse(&format!("a.{}.b", URL_SAFE_NO_PAD.encode(claims))));
        }
    }
}
