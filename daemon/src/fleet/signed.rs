//! Signatures of those who may command and configure: JWS in its compact form (RFC 7515) with Ed25519 (RFC 8037).
//!
//! `header.payload.signature`, each base64url without padding; the header is `{"alg":"EdDSA","kid":KEY,"typ":TYPE}` and
//! nothing else. What is signed is the very text that is sent, so there is nothing to bring into one form first. Who
//! may is a file of the station's own (`fleet.trust_file`), read anew for every message: a key that is taken out is
//! trusted no more from then on.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::Role;
use crate::command::Refusal;

/// Type of a signed command.
pub const COMMAND: &str = "turnstage-command+jws";
/// Type of a signed configuration.
pub const CONFIG: &str = "turnstage-config+jws";
/// Longer texts are nobody's.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Version of the trust file.
const TRUST_SCHEMA: u32 = 1;

/// A private key in PKCS#8 before its 32 bytes: version 0, the algorithm 1.3.101.112, an octet string in an octet string.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// A key that is trusted, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// Name of the key, as in `kid`.
    pub id: String,
    /// The 32 bytes of the public key, base64.
    pub public: String,
    /// What its owner may.
    pub role: Role,
}

/// Everybody who is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    schema: u32,
    /// Their keys.
    #[serde(default, rename = "key")]
    keys: Vec<TrustedKey>,
}

impl Trust {
    /// Reads a trust file; the sentence says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let text =
            std::fs::read_to_string(path).map_err(|error| named(format!("cannot be read: {error}")))?;
        Self::parse(&text).map_err(named)
    }

    /// The same from its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trust: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if trust.schema != TRUST_SCHEMA {
            return Err(format!("schema is {}; this version reads {TRUST_SCHEMA}", trust.schema));
        }
        for (nth, key) in trust.keys.iter().enumerate() {
            if STANDARD.decode(&key.public).ok().is_none_or(|bytes| bytes.len() != 32) {
                return Err(format!(
                    "key {}: public must be 32 bytes in base64, an Ed25519 public key",
                    key.id
                ));
            }
            if trust.keys[..nth].iter().any(|other| other.id == key.id) {
                return Err(format!("key {} stands there twice", key.id));
            }
        }
        Ok(trust)
    }

    /// Those of a list.
    pub fn of(keys: Vec<TrustedKey>) -> Self {
        Self { schema: TRUST_SCHEMA, keys }
    }

    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Reads a signed text of a type; what it says, and whose key it was.
    pub fn verify<T: DeserializeOwned>(&self, typ: &str, text: &[u8]) -> Result<(T, &TrustedKey), Refusal> {
        let malformed =
            |what: &str| Refusal::new("signed-malformed", format!("This is no signed message: {what}."));
        if text.len() > TEXT_BYTES_MAX {
            return Err(malformed("it is longer than 256 KiB"));
        }
        let text = std::str::from_utf8(text).map_err(|_| malformed("it is no text"))?.trim();
        let mut parts = text.rsplitn(2, '.');
        let (Some(signature), Some(signed)) = (parts.next(), parts.next()) else {
            return Err(malformed("it has not three parts"));
        };
        let (header, payload) = signed.split_once('.').ok_or_else(|| malformed("it has not three parts"))?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("it is not base64url"));
        let header: Header = serde_json::from_slice(&bytes(header)?)
            .map_err(|error| malformed(&format!("its header cannot be read ({error})")))?;
        if header.alg != "EdDSA" {
            return Err(malformed("only the algorithm EdDSA is taken"));
        }
        if header.typ != typ {
            return Err(malformed(&format!("it is a \"{}\" and not a \"{typ}\"", header.typ)));
        }
        let unknown =
            || Refusal::new("key-unknown", format!("The key \"{}\" is not trusted here.", header.kid));
        let key = self.keys.iter().find(|key| key.id == header.kid).ok_or_else(unknown)?;
        let public = STANDARD.decode(&key.public).map_err(|_| unknown())?;
        UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &bytes(signature)?).map_err(
            |_| {
                Refusal::new(
                    "signature-wrong",
                    "The signature does not fit: the message was altered on its way.",
                )
            },
        )?;
        let said = serde_json::from_slice(&bytes(payload)?)
            .map_err(|error| malformed(&format!("what it says cannot be read: {error}")))?;
        Ok((said, key))
    }
}

/// What a signed text says, whoever signed it: for those who only want to know what was said.
pub fn unverified<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let payload = std::str::from_utf8(text).ok()?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// A private key, of a manager.
pub struct Signer {
    id: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// From a key in PKCS#8, PEM, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn of_pem(id: &str, pem: &[u8]) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|error| format!("is no private key: {error:?}"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|error| format!("is no Ed25519 key: {error}"))?;
        Ok(Self { id: id.to_owned(), pair })
    }

    /// A new key as PEM, in the first form of PKCS#8, which every program reads (RFC 8410, section 7).
    pub fn generate() -> Result<String, String> {
        let mut der = PKCS8_HEAD.to_vec();
        let seed = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new());
        der.extend(seed.map_err(|_| "no random numbers can be had".to_owned())?.expose());
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der)))
    }

    /// Its line for a trust file.
    pub fn trusted(&self, role: Role) -> TrustedKey {
        TrustedKey { id: self.id.clone(), public: STANDARD.encode(self.pair.public_key().as_ref()), role }
    }

    /// Signs what is said.
    pub fn sign(&self, typ: &str, said: &impl Serialize) -> Result<String, serde_json::Error> {
        let header = Header { alg: "EdDSA".to_owned(), kid: self.id.clone(), typ: typ.to_owned() };
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(serde_json::to_vec(&header)?), part(serde_json::to_vec(said)?));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn signer(id: &str) -> Signer {
        Signer::of_pem(id, Signer::generate().unwrap().as_bytes()).unwrap()
    }

    fn rule(trust: &Trust, text: &str) -> String {
        trust.verify::<Value>(COMMAND, text.as_bytes()).unwrap_err().rule
    }

    #[test]
    fn what_a_trusted_key_signed_is_read_back_with_its_role() {
        let signer = signer("hq");
        let trust = Trust::of(vec![signer.trusted(Role::Admin)]);
        let text = signer.sign(COMMAND, &json!({ "a": 1 })).unwrap();
        let (said, key) = trust.verify::<Value>(COMMAND, text.as_bytes()).unwrap();
        assert_eq!((said, key.role), (json!({ "a": 1 }), Role::Admin));
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let signer = signer("hq");
        let trust = Trust::of(vec![signer.trusted(Role::Admin)]);
        let text = signer.sign(COMMAND, &json!({ "station": "a/b/c" })).unwrap();
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(trust.verify::<Value>(COMMAND, &altered).is_err(), "at {at}");
        }
    }

    #[test]
    fn another_type_an_unknown_key_and_another_algorithm_are_refused() {
        let signer = signer("hq");
        let trust = Trust::of(vec![signer.trusted(Role::Admin)]);
        assert_eq!(rule(&trust, &signer.sign(CONFIG, &json!({})).unwrap()), "signed-malformed");
        assert_eq!(rule(&trust, &self::signer("other").sign(COMMAND, &json!({})).unwrap()), "key-unknown");
        assert_eq!(rule(&trust, &self::signer("hq").sign(COMMAND, &json!({})).unwrap()), "signature-wrong");
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = part(json!({ "alg": "none", "kid": "hq", "typ": COMMAND }));
        assert_eq!(rule(&trust, &format!("{none}.{}.", part(json!({})))), "signed-malformed");
        let critical = part(json!({ "alg": "EdDSA", "kid": "hq", "typ": COMMAND, "crit": ["x"] }));
        assert_eq!(rule(&trust, &format!("{critical}.{}.", part(json!({})))), "signed-malformed");
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // RFC 8410, section 10.3: an example of this form.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let trusted = Signer::of_pem("hq", pem.as_bytes()).unwrap().trusted(Role::Technician);
        assert_eq!(trusted.public, "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
    }

    #[test]
    fn a_trust_file_says_what_is_wrong_with_it() {
        let line =
            "id = \"hq\"\npublic = \"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\"\nrole = \"admin\"\n";
        let key = format!("schema = 1\n[[key]]\n{line}");
        assert!(Trust::parse(&key).is_ok());
        let wrong = |text: &str| Trust::parse(text).unwrap_err();
        assert!(wrong("schema = 2").contains("schema is 2"));
        assert!(wrong(&format!("{key}[[key]]\n{line}")).contains("twice"));
        assert!(wrong(&key.replace("Gb9E", "G")).contains("32 bytes"));
        assert!(wrong(&key.replace("admin", "king")).contains("king"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let trust = Trust::of(vec![signer("hq").trusted(Role::Admin)]);
            prop_assert!(trust.verify::<Value>(COMMAND, &bytes).is_err());
        }
    }
}
