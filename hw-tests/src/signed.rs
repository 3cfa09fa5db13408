//! A report with the signature of who stood beside the bench.
//!
//! The file is JSON: the report as one text, the public key and an Ed25519 signature of that text (RFC 8032), both in
//! hexadecimal. It proves that nobody changed the report after the holder of that key signed it, and nothing else.

use std::fmt::Write;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Report;

/// Version of [`Account`].
pub const SCHEMA: u32 = 1;

/// What happened at a bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// The bench's name.
    pub bench: String,
    /// A person stood beside it.
    pub attended: bool,
    /// Who.
    pub by: String,
    /// The day, `2027-01-31`.
    pub day: String,
    /// Version of this program.
    pub software: String,
    /// Each device with its promises.
    pub devices: Vec<Report>,
}

/// An account with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The account as JSON text: exactly these bytes are signed.
    pub account: String,
    /// Public key, 64 hexadecimal digits.
    pub key: String,
    /// Signature, 128 hexadecimal digits.
    pub signature: String,
}

/// A new secret key, as PKCS #8.
pub fn new_key() -> Result<Vec<u8>, String> {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    key.map(|key| key.as_ref().to_vec()).map_err(|_| "the system gives no random numbers".to_owned())
}

impl Signed {
    /// Signs an account with a key as [`new_key`] makes it.
    pub fn of(account: &Account, pkcs8: &[u8]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|e| format!("not an Ed25519 key: {e}"))?;
        let account = serde_json::to_string(account).map_err(|e| e.to_string())?;
        let signature = hex(pair.sign(account.as_bytes()).as_ref());
        Ok(Self { key: hex(pair.public_key().as_ref()), signature, account })
    }

    /// The account, if the signature is that of its key.
    pub fn open(&self) -> Result<Account, String> {
        let (key, signature) = (bytes(&self.key)?, bytes(&self.signature)?);
        UnparsedPublicKey::new(&ED25519, key)
            .verify(self.account.as_bytes(), &signature)
            .map_err(|_| "the signature does not fit: the report was changed, or cut short".to_owned())?;
        let account: Account = serde_json::from_str(&self.account).map_err(|e| e.to_string())?;
        match account.schema {
            SCHEMA => Ok(account),
            other => Err(format!("a report of schema {other}; this program knows {SCHEMA}")),
        }
    }

    /// SHA-256 of the account, which names it on record.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.account.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = hex.chars().map(|c| c.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
        }
        _ => Err("key or signature is not hexadecimal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let (bench, by, day) = ("bench 1".to_owned(), "a tester".to_owned(), "2027-01-31".to_owned());
        let software = "0.1.0".to_owned();
        Account { schema: SCHEMA, bench, attended: true, by, day, software, devices: Vec::new() }
    }

    #[test]
    fn a_report_that_was_changed_is_no_report() {
        let signed = Signed::of(&account(), &new_key().unwrap()).unwrap();
        assert_eq!(signed.open().unwrap(), account());
        let text = serde_json::to_string(&signed).unwrap();
        let read: Signed = serde_json::from_str(&text).unwrap();
        assert_eq!(read.open().unwrap(), account());
        let changed = Signed { account: signed.account.replace("bench 1", "bench 2"), ..signed.clone() };
        assert!(changed.open().unwrap_err().contains("changed"));
        let other = Signed::of(&account(), &new_key().unwrap()).unwrap();
        assert!(Signed { key: other.key, ..signed.clone() }.open().is_err());
        assert!(Signed { signature: "xy".to_owned(), ..signed }.open().is_err());
    }
}
