//! What the cloud remembers, and the rules that depend on it.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::token::Claims;

/// Failed PUTs of one file that are too many, within [`ATTEMPTS_WINDOW_MS`] (V-5).
const ATTEMPTS_MAX: usize = 5;
const ATTEMPTS_WINDOW_MS: i64 = 15 * 60 * 1000;
const EVENTS_MAX: usize = 100;
/// Longest name of anything.
const NAME_BYTES_MAX: usize = 255;

/// A "no" with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Which rule was broken.
    pub rule_id: &'static str,
    /// The same in words.
    pub message: String,
    /// Seconds to wait before asking again.
    pub retry_after_s: Option<i64>,
}

impl Refusal {
    /// Of a kind that waiting does not mend.
    pub fn new(status: StatusCode, rule_id: &'static str, message: impl Into<String>) -> Self {
        Self { status, rule_id, message: message.into(), retry_after_s: None }
    }

    fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", message)
    }
}

/// What a device says to open a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The device's own name for it.
    pub client_session_id: String,
    /// Where it was shot.
    pub site_id: String,
    /// What was shot.
    pub item: String,
    /// `studio360` or `stills`.
    pub mode: Mode,
    /// When, in RFC 3339.
    pub captured_at: String,
}

/// Kinds of sessions that this cloud takes from a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A full turn.
    Studio360,
    /// Single pictures.
    Stills,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The cloud's name for it.
    pub session_id: String,
    /// Whose it is.
    pub org_id: String,
    /// What the device said.
    pub asked: NewSession,
}

/// What a device says to get a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPhoto {
    /// An open session of the same organization.
    pub session_id: String,
    /// The device's name for the file, at most 255 bytes; the server chooses the path.
    pub file_name: String,
    /// `image/jpeg` or `image/heic`.
    pub content_type: String,
    /// Hex, lower case.
    pub content_sha256: String,
}

/// Events of one request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvents {
    /// At most 100.
    pub events: Vec<NewEvent>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// The same event has the same id whenever it is sent.
    pub id: String,
    /// What kind.
    pub r#type: String,
    /// When, in RFC 3339.
    pub at: String,
    /// Of which session, if of one.
    pub session_id: Option<String>,
    /// The rest.
    pub data: Value,
}

/// An event as the cloud keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose it is.
    pub org_id: String,
    /// The device that sent it.
    pub device: String,
    /// When it was taken in, by the cloud's clock: milliseconds since 1970-01-01 UTC.
    pub received_ms: i64,
    /// What the device said.
    pub said: NewEvent,
}

/// Session and file name: what attempts are counted for.
type File = (String, String);

/// Everything remembered.
#[derive(Debug, Default)]
pub struct Ledger {
    sessions: BTreeMap<String, Session>,
    /// Whose sessions with these names of devices are, whoever opens them.
    owners: BTreeMap<String, String>,
    files: BTreeMap<String, File>,
    failed_ms: BTreeMap<File, Vec<i64>>,
    events: Vec<Event>,
}

impl Ledger {
    /// Opens a session, or finds it again; the flag says whether it is new.
    pub fn session(&mut self, claims: &Claims, asked: NewSession) -> Result<(String, bool), Refusal> {
        named("client_session_id", &asked.client_session_id)?;
        named("item", &asked.item)?;
        moment("captured_at", &asked.captured_at)?;
        site_allowed(claims, &asked.site_id)?;
        let session_id = id("session", &[&claims.org_id, &asked.client_session_id]);
        let new = !self.sessions.contains_key(&session_id);
        if new {
            let owner = self.owners.get(&asked.client_session_id);
            let org_id = owner.unwrap_or(&claims.org_id).clone();
            let session = Session { session_id: session_id.clone(), org_id, asked };
            self.sessions.insert(session_id.clone(), session);
        } else if let Some(known) = self.sessions.get_mut(&session_id) {
            known.asked.item = asked.item;
        }
        Ok((session_id, new))
    }

    /// A session that a device will open belongs to this organization.
    pub fn give(&mut self, client_session_id: &str, org_id: &str) {
        self.owners.insert(client_session_id.to_owned(), org_id.to_owned());
    }

    /// Storage key for a picture: the same for the same picture.
    pub fn photo(&mut self, claims: &Claims, asked: &NewPhoto, now_ms: i64) -> Result<String, Refusal> {
        named("file_name", &asked.file_name)?;
        let allowed = ["image/jpeg", "image/heic"];
        if !allowed.contains(&asked.content_type.as_str()) {
            let message = format!("{} is none of {}", asked.content_type, allowed.join(", "));
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "content-type-not-allowed", message));
        }
        if digest(&asked.content_sha256).is_none() {
            let message = "content_sha256 has 64 hex digits in lower case";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid-sha256", message));
        }
        let session = self.owned(claims, &asked.session_id)?;
        let (org, site, session) = (&session.org_id, &session.asked.site_id, &session.session_id);
        let uuid = id("photo", &[session, &asked.file_name, &asked.content_sha256]);
        let key = format!("org/{org}/site/{site}/session/{session}/{uuid}.jpg");
        let file = (session.clone(), asked.file_name.clone());
        self.attempts_left(&file, now_ms)?;
        self.files.insert(key.clone(), file);
        Ok(key)
    }

    /// A PUT to this key reached the store and failed there.
    pub fn put_failed(&mut self, key: &str, now_ms: i64) {
        if let Some(file) = self.files.get(key) {
            self.failed_ms.entry(file.clone()).or_default().push(now_ms);
        }
    }

    /// Takes events in; how many of these are on record now, whether new or known.
    pub fn events(&mut self, claims: &Claims, asked: NewEvents, now_ms: i64) -> Result<usize, Refusal> {
        if asked.events.len() > EVENTS_MAX {
            let message = format!("{} events in one request; {EVENTS_MAX} are allowed", asked.events.len());
            return Err(Refusal::request(message));
        }
        for event in &asked.events {
            named("id", &event.id)?;
            named("type", &event.r#type)?;
            moment("at", &event.at)?;
        }
        let count = asked.events.len();
        for said in asked.events {
            let known = |event: &Event| event.org_id == claims.org_id && event.said.id == said.id;
            if !self.events.iter().any(known) {
                let (org_id, device) = (claims.org_id.clone(), claims.sub.clone());
                self.events.push(Event { org_id, device, received_ms: now_ms, said });
            }
        }
        Ok(count)
    }

    /// Open sessions, of all organizations.
    pub fn all_sessions(&self) -> Vec<Session> {
        self.sessions.values().cloned().collect()
    }

    /// Events in order of arrival, of all organizations.
    pub fn all_events(&self) -> Vec<Event> {
        self.events.clone()
    }

    fn owned(&self, claims: &Claims, session_id: &str) -> Result<&Session, Refusal> {
        let Some(session) = self.sessions.get(session_id) else {
            let message = format!("no session {session_id}");
            return Err(Refusal::new(StatusCode::NOT_FOUND, "session-unknown", message));
        };
        if session.org_id != claims.org_id {
            let message = format!("session {session_id} belongs to another organization");
            return Err(Refusal::new(StatusCode::FORBIDDEN, "session-not-owned", message));
        }
        site_allowed(claims, &session.asked.site_id)?;
        Ok(session)
    }

    fn attempts_left(&self, file: &File, now_ms: i64) -> Result<(), Refusal> {
        let failed = self.failed_ms.get(file).map_or(&[][..], Vec::as_slice);
        // While the fifth latest is recent, five are.
        let Some(fifth_ms) = failed.iter().rev().nth(ATTEMPTS_MAX - 1) else { return Ok(()) };
        let wait_ms = fifth_ms + ATTEMPTS_WINDOW_MS - now_ms;
        if wait_ms <= 0 {
            return Ok(());
        }
        let message = format!("{} failed {ATTEMPTS_MAX} times within 15 minutes", file.1);
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "attempts-max", message);
        Err(Refusal { retry_after_s: Some((wait_ms + 999) / 1000), ..refusal })
    }
}

fn site_allowed(claims: &Claims, site_id: &str) -> Result<(), Refusal> {
    if claims.site_ids.iter().any(|site| site == site_id) {
        return Ok(());
    }
    let message = format!("this token is not for site {site_id}");
    Err(Refusal::new(StatusCode::FORBIDDEN, "site-not-allowed", message))
}

fn named(field: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Refusal::request(format!("{field} has 1 to {NAME_BYTES_MAX} bytes, not {}", name.len())));
    }
    Ok(())
}

fn moment(field: &str, text: &str) -> Result<(), Refusal> {
    match text.parse::<Timestamp>() {
        Ok(_) => Ok(()),
        Err(why) => Err(Refusal::request(format!("{field} is no RFC 3339 time: {why}"))),
    }
}

/// The digest that is written here in 64 lower-case hex digits.
pub fn digest(hex: &str) -> Option<[u8; 32]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hex.len() != 64 || !hex.bytes().all(lower) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, two) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// A UUID that follows from what it names, so that asking again gives it again.
fn id(kind: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in [kind].iter().chain(parts) {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
