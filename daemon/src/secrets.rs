//! Exchanges a secret of this station for one that is fetched over HTTPS, and goes back to the one before.
//!
//! ```text
//!  fetched, hash compared ──► fits this station? ──► FILE to FILE.previous ──► new one to FILE
//! ```
//! Whatever uses a secret reads its file anew, so nothing is restarted. Files are for the service alone (0600); no
//! secret and no address of one is logged or put on record.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use turnstage_cloud_sync::backend::imaging360::{Imaging360, Imaging360Options, http_transport};
use turnstage_cloud_sync::credentials::{Credentials, write_secret};
use turnstage_cloud_sync::{ClockQuality, Sha256, Transfer, TransferError};

use crate::audit;
use crate::clock::SystemClock;
use crate::command::{Actor, Refusal};
use crate::config::{Config, Destination};
use crate::window::Window;

/// Most bytes of a secret.
const BYTES_MAX: usize = 16 << 10;
/// Most characters of a password.
const PASSWORD_CHARS_MAX: usize = 1024;
const BROKER_PASSWORD: &str = "broker-password";
const DESTINATION_TOKEN: &str = "destination-token:";

/// Which secret: `broker-password`, or `destination-token:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretName {
    /// The password at the broker of the fleet.
    BrokerPassword,
    /// The device token of a destination, by its name in the configuration.
    DestinationToken(String),
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokerPassword => f.write_str(BROKER_PASSWORD),
            Self::DestinationToken(name) => write!(f, "{DESTINATION_TOKEN}{name}"),
        }
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(DESTINATION_TOKEN) {
            Some(name) if !name.is_empty() => Ok(Self::DestinationToken(name.to_owned())),
            _ if text == BROKER_PASSWORD => Ok(Self::BrokerPassword),
            _ => Err(format!("a secret is {BROKER_PASSWORD} or {DESTINATION_TOKEN}NAME, not \"{text}\"")),
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.to_string()
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Which secret.
    pub secret: SecretName,
    /// There is one before it to go back to.
    pub can_go_back: bool,
}

/// Puts the secret at `url` in the place of this one; the hash is of the bytes there. The one before is kept beside it.
pub async fn rotate(
    window: &Window,
    transfer: &Transfer,
    actor: &Actor,
    secret: &SecretName,
    (url, sha256): (&str, Sha256),
) -> Result<Rotated, Refusal> {
    let kept = Kept::of(window, secret)?;
    let bytes = transfer.fetch_small(url, sha256, BYTES_MAX).await.map_err(|error| not_fetched(&error))?;
    let text = kept.fitting(window, &bytes)?;
    let can_go_back = on_disk(move || kept.replace(&text)).await?;
    record(window, actor, "station.secret-rotated", secret).await;
    Ok(Rotated { secret: secret.clone(), can_go_back })
}

/// Lets a destination that renews its token by itself do so now.
pub async fn renew(window: &Window, actor: &Actor, secret: &SecretName) -> Result<Rotated, Refusal> {
    let kept = Kept::of(window, secret)?;
    let Kept { file, token: Some((name, url)) } = kept.clone() else {
        let reason = format!("Nobody renews {secret} by itself. Give the address of a new one.");
        return Err(Refusal::new("secret-not-renewed", reason));
    };
    let can_go_back = on_disk(move || kept.keep()).await?;
    let owner = &window.config().station;
    let options = Imaging360Options::new(&name, &url, &owner.org, &owner.site, file);
    let destination = Imaging360::new(options, Arc::new(SystemClock::new()), http_transport());
    destination.renew_now().await.map_err(|error| {
        let failure = error.failure();
        Refusal::new(&failure.rule, format!("The token is not renewed: {}.", failure.reason))
    })?;
    record(window, actor, "station.secret-rotated", secret).await;
    Ok(Rotated { secret: secret.clone(), can_go_back })
}

/// Puts the secret before this one back in its place.
pub async fn go_back(window: &Window, actor: &Actor, secret: &SecretName) -> Result<Rotated, Refusal> {
    let kept = Kept::of(window, secret)?;
    let named = secret.to_string();
    on_disk(move || {
        let Some(before) = read(&previous(&kept.file))? else {
            let reason = format!("There is no {named} before this one. Give the address of one.");
            return Err(Refusal::new("secret-none-before", reason));
        };
        kept.replace(&before)
    })
    .await?;
    record(window, actor, "station.secret-restored", secret).await;
    Ok(Rotated { secret: secret.clone(), can_go_back: true })
}

/// A secret's place.
#[derive(Debug, Clone)]
struct Kept {
    file: PathBuf,
    /// Of a token: name and address of its destination.
    token: Option<(String, String)>,
}

impl Kept {
    fn of(window: &Window, secret: &SecretName) -> Result<Self, Refusal> {
        Self::named(window.config(), window.data(), secret)
    }

    fn named(config: &Config, data: &Path, secret: &SecretName) -> Result<Self, Refusal> {
        let none = |reason: String| Err(Refusal::new("secret-unknown", reason));
        match secret {
            SecretName::BrokerPassword if config.fleet.password_file.as_os_str().is_empty() => none(
                "This station has no password at a broker. Name a file with fleet.password_file first."
                    .to_owned(),
            ),
            SecretName::BrokerPassword => {
                Ok(Self { file: data.join(&config.fleet.password_file), token: None })
            }
            SecretName::DestinationToken(name) => match config.destinations.get(name) {
                Some(Destination::Imaging360 { url, token_file, .. }) => {
                    Ok(Self { file: data.join(token_file), token: Some((name.clone(), url.clone())) })
                }
                Some(_) => none(format!("Destination {name} has no token. Name one that does.")),
                None => none(format!("There is no destination \"{name}\". Name one of the configuration.")),
            },
        }
    }

    /// The secret in these bytes, if it can be one of this station.
    fn fitting(&self, window: &Window, bytes: &[u8]) -> Result<String, Refusal> {
        let text = str::from_utf8(bytes).unwrap_or_default().trim_end_matches(['\r', '\n']);
        if self.token.is_none() {
            let fits = !text.is_empty()
                && text.chars().count() <= PASSWORD_CHARS_MAX
                && !text.chars().any(char::is_control);
            let reason =
                "What was fetched is no password: it must be one line of text. The one in use stays.";
            return if fits { Ok(text.to_owned()) } else { Err(Refusal::new("secret-unfit", reason)) };
        }
        let owner = &window.config().station;
        let credentials = Credentials::new(self.file.clone(), owner.org.clone(), owner.site.clone());
        let now = window.clock().now();
        let now_ms = (now.quality == ClockQuality::Synced).then_some(now.wall_ms);
        match credentials.examine(text, now_ms) {
            Ok(_) => Ok(text.trim().to_owned()),
            Err(fault) => {
                let reason = format!("What was fetched does not fit: {fault}. The one in use stays.");
                Err(Refusal::new("secret-unfit", reason))
            }
        }
    }

    /// Keeps the one in use beside it; whether there is one.
    fn keep(&self) -> Result<bool, Refusal> {
        let Some(before) = read(&self.file)? else { return Ok(false) };
        write(&previous(&self.file), &before)?;
        Ok(true)
    }

    /// Puts another one in its place; whether there was one before.
    fn replace(&self, text: &str) -> Result<bool, Refusal> {
        let had = self.keep()?;
        write(&self.file, text)?;
        Ok(had)
    }
}

fn previous(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".previous");
    name.into()
}

fn read(file: &Path) -> Result<Option<String>, Refusal> {
    let mut text = String::new();
    match File::open(file).and_then(|file| file.take(BYTES_MAX as u64).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(not_kept(file, &error)),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Refusal> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), fs::create_dir_all).map_err(|error| not_kept(file, &error))?;
    write_secret(file, text).map_err(|error| not_kept(file, &error))
}

fn not_kept(file: &Path, error: &dyn fmt::Display) -> Refusal {
    let reason =
        format!("The secret's file {} cannot be used: {error}. Make its folder writable.", file.display());
    Refusal::new("secret-not-kept", reason)
}

fn not_fetched(error: &TransferError) -> Refusal {
    Refusal::new(error.rule(), format!("The secret is not exchanged: {}.", error.reason()))
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let gone =
        |error| Refusal::new("secret-not-kept", format!("The secret is not exchanged: {error}. Try again."));
    tokio::task::spawn_blocking(act).await.map_err(gone)?
}

/// That it was done, and to which; not where it came from.
async fn record(window: &Window, actor: &Actor, kind: &str, secret: &SecretName) {
    window.record(audit::entry(kind, actor, None, json!({ "name": secret.to_string() }))).await;
}
