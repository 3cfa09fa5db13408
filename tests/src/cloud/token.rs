//! Device tokens: JWTs signed with HS256, minted and verified by the fake cloud alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token says about its bearer. Times are seconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The device.
    pub sub: String,
    /// The organization that the device belongs to.
    pub org_id: String,
    /// Sites that it may create sessions for.
    pub site_ids: Vec<String>,
    /// `device`, or what a test wants to see refused.
    pub role: String,
    /// When it was issued.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Not a token of this cloud: damaged, forged, or another algorithm.
    Invalid,
    /// Genuine, but its time is over.
    Expired,
}

/// The only header that this cloud writes and accepts: a token cannot choose its own algorithm.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs `claims` with `secret`.
pub fn mint(secret: &[u8], claims: &Claims) -> String {
    let claims = serde_json::to_vec(claims).expect("claims are JSON");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(mac(secret, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// Claims of `token` if `secret` signed it and it has not ended at `now_s`.
pub fn read(secret: &[u8], token: &str, now_s: i64) -> Result<Claims, TokenFault> {
    let claims = genuine(secret, token).ok_or(TokenFault::Invalid)?;
    if now_s < claims.exp { Ok(claims) } else { Err(TokenFault::Expired) }
}

fn genuine(secret: &[u8], token: &str) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(secret, signed).verify_slice(&signature).ok()?;
    (URL_SAFE_NO_PAD.decode(header).ok()? == HEADER.as_bytes()).then_some(())?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn mac(secret: &[u8], signed: &str) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}
