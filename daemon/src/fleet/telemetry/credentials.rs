//! What the station signs in with, and when it expires: device tokens of its destinations, its certificate at the broker.

use std::path::Path;

use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::credentials::Credentials as TokenFile;
use turnstage_cloud_sync::{ClockQuality, PutError, Stamp};
use x509_parser::pem::Pem;

use crate::clock;
use crate::config::{Config, Destination};

const DAY_MS: f64 = 86_400_000.0;
/// A larger file is no certificate.
const CERTIFICATE_BYTES_MAX: u64 = 256 << 10;

/// Everything that expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Each of them.
    pub credentials: Vec<Credential>,
    /// Days until the first of them expires; negative once it has.
    pub days_left_min: Option<f64>,
    /// How many have a fault.
    pub credentials_faulty: u64,
}

/// A token or a certificate. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Destination that it is for; `fleet` for the broker.
    pub name: String,
    /// What it is.
    pub kind: CredentialKind,
    /// When it expires, in UTC, if it can be read.
    pub expires_at: Option<String>,
    /// Days until then; negative afterwards; `None` also while the clock is not set.
    pub days_left: Option<f64>,
    /// Rule of what is wrong with it: `token-missing`, `certificate-expired`.
    pub fault: Option<String>,
}

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// A device token.
    Token,
    /// An X.509 certificate.
    Certificate,
}

impl Credentials {
    /// Of a station whose relative paths lie below `data`; reads files.
    pub fn read(config: &Config, data: &Path, now: &Stamp) -> Self {
        let now_ms = (now.quality != ClockQuality::Unset).then_some(now.wall_ms);
        let owner = &config.station;
        let token = |(name, destination): (&String, &Destination)| match destination {
            Destination::Imaging360 { token_file, .. } => {
                let file = TokenFile::new(data.join(token_file), owner.org.clone(), owner.site.clone());
                Some(Credential::of_token(name, &file, now_ms))
            }
            Destination::Directory { .. } => None,
        };
        let mut credentials: Vec<_> = config.destinations.iter().filter_map(token).collect();
        let certificate = &config.fleet.cert_file;
        if config.fleet.is_on() && !certificate.as_os_str().is_empty() {
            credentials.push(Credential::of_certificate("fleet", &data.join(certificate), now_ms));
        }
        Self::of(credentials)
    }

    /// With what is told of them together.
    pub fn of(credentials: Vec<Credential>) -> Self {
        let credentials_faulty = credentials.iter().filter(|one| one.fault.is_some()).count() as u64;
        let days_left_min = credentials.iter().filter_map(|one| one.days_left).reduce(f64::min);
        Self { credentials, days_left_min, credentials_faulty }
    }
}

impl Credential {
    fn of_token(name: &str, file: &TokenFile, now_ms: Option<i64>) -> Self {
        let rule = |fault| PutError::from(fault).failure().rule;
        let judged = file.token(now_ms);
        // Without a time no token is expired, so that it can be told since when it is.
        let expires_ms = file.token(None).ok().map(|token| token.claims().exp.saturating_mul(1000));
        let notice = || file.notices(now_ms).into_iter().next().map(|notice| notice.rule);
        let fault = judged.err().map(rule).or_else(notice);
        Self::new(name, CredentialKind::Token, expires_ms, now_ms, fault)
    }

    fn of_certificate(name: &str, file: &Path, now_ms: Option<i64>) -> Self {
        let (expires_ms, fault) = match not_after_ms(file) {
            Ok(at_ms) if now_ms.is_some_and(|now_ms| now_ms >= at_ms) => {
                (Some(at_ms), Some("certificate-expired"))
            }
            Ok(at_ms) => (Some(at_ms), None),
            Err(rule) => (None, Some(rule)),
        };
        Self::new(name, CredentialKind::Certificate, expires_ms, now_ms, fault.map(str::to_owned))
    }

    fn new(
        name: &str,
        kind: CredentialKind,
        expires_ms: Option<i64>,
        now_ms: Option<i64>,
        fault: Option<String>,
    ) -> Self {
        let left = |at_ms: i64, now_ms: i64| at_ms.saturating_sub(now_ms) as f64 / DAY_MS;
        Self {
            name: name.to_owned(),
            kind,
            expires_at: expires_ms.map(clock::utc),
            days_left: expires_ms.zip(now_ms).map(|(at_ms, now_ms)| left(at_ms, now_ms)),
            fault,
        }
    }
}

/// When the first certificate of a PEM file, which is the station's own, stops being valid, in ms since 1970; or the
/// rule of why that cannot be told.
fn not_after_ms(file: &Path) -> Result<i64, &'static str> {
    use std::io::{ErrorKind, Read};
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    match opened.and_then(|file| file.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err("certificate-missing"),
        Err(_) => return Err("certificate-unreadable"),
        Ok(_) => {}
    }
    let invalid = "certificate-invalid";
    let pem =
        Pem::iter_from_buffer(&bytes).flatten().find(|pem| pem.label == "CERTIFICATE").ok_or(invalid)?;
    let certificate = pem.parse_x509().map_err(|_| invalid)?;
    Ok(certificate.validity().not_after.timestamp().saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made with `openssl req -x509 -newkey ed25519 -days 90`: `notAfter` is the one below.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBazCCAR2gAwIBAgIUR/vDJB/p9lzCO3dbJ+UUUEwSqnQwBQYDK2VwMCsxDDAK\n\
BgNVBAoMA29yZzEbMBkGA1UEAwwSb3JnLmJlcmxpbi5ib290aC03MB4XDTI2MTEy\n\
ODA0NTgyM1oXDTI3MDIyNjA0NTgyM1owKzEMMAoGA1UECgwDb3JnMRswGQYDVQQD\n\
DBJvcmcuYmVybGluLmJvb3RoLTcwKjAFBgMrZXADIQDRQsMFp4gfZR92Rjj/HwVw\n\
AVV/3ub1D/zNKZMznW1+YaNTMFEwHQYDVR0OBBYEFNqpxKDKDoMfnhzBp4dErvxB\n\
dNqTMB8GA1UdIwQYMBaAFNqpxKDKDoMfnhzBp4dErvxBdNqTMA8GA1UdEwEB/wQF\n\
MAMBAf8wBQYDK2VwA0EA1w3/HrtWFfdHXcZoS5oCQ2aKCtl0NbVa6JjnPnXwnFbb\n\
upsf4OA8RjjmCjFFVwpjLbUq/ace680C6dR9Z8HRAw==\n\
-----END CERTIFICATE-----\n";
    const NOT_AFTER_MS: i64 = 1_803_617_903_000;
    const DAY: i64 = 86_400_000;

    fn of(text: &str, now_ms: Option<i64>) -> Credential {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("station.crt");
        std::fs::write(&file, text).unwrap();
        Credential::of_certificate("fleet", &file, now_ms)
    }

    #[test]
    fn a_certificate_tells_when_it_expires_and_that_it_has() {
        let fresh = of(CERTIFICATE, Some(NOT_AFTER_MS - 3 * DAY));
        assert_eq!((fresh.days_left, fresh.fault), (Some(3.0), None));
        assert_eq!(fresh.expires_at, Some(clock::utc(NOT_AFTER_MS)));
        let gone = of(CERTIFICATE, Some(NOT_AFTER_MS + DAY));
        assert_eq!((gone.days_left, gone.fault.as_deref()), (Some(-1.0), Some("certificate-expired")));
        let unset = of(CERTIFICATE, None);
        assert_eq!((unset.days_left, unset.fault), (None, None), "a clock that is not set judges nothing");
    }

    #[test]
    fn what_is_no_certificate_is_told_by_rule() {
        let rule = |text| of(text, None).fault;
        assert_eq!(rule("").as_deref(), Some("certificate-invalid"));
        let key = CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY");
        assert_eq!(rule(&key).as_deref(), Some("certificate-invalid"));
        let missing = Credential::of_certificate("fleet", Path::new("/nowhere/station.crt"), None);
        assert_eq!(missing.fault.as_deref(), Some("certificate-missing"));
    }

    #[test]
    fn a_token_that_expired_still_says_when() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let claims = serde_json::json!({
            "sub": "station-1", "org_id": "org", "site_ids": ["here"], "role": "device",
            "iat": 1_795_000_000, "exp": 1_795_000_000 + 30 * 86_400,
        });
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))).unwrap();
        let of = |day: i64| {
            let file = TokenFile::new(file.clone(), "org".to_owned(), "here".to_owned());
            Credential::of_token("cloud", &file, Some((1_795_000_000 + day * 86_400) * 1000))
        };
        let (late, gone) = (of(25), of(31));
        assert_eq!((late.days_left, late.fault.as_deref()), (Some(5.0), Some("token-expires-soon")));
        assert_eq!((gone.days_left, gone.fault.as_deref()), (Some(-1.0), Some("token-expired")));
        let together = Credentials::of(vec![late, gone]);
        assert_eq!((together.days_left_min, together.credentials_faulty), (Some(-1.0), 2));
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_no_certificate_and_no_panic(at in 30_usize..400, byte in 0_u8..128) {
            let mut bytes = CERTIFICATE.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            drop(of(&String::from_utf8_lossy(&bytes), Some(0)));
        }
    }
}
