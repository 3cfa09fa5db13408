//! A presigned address: what must be true of it before a picture is sent there.

use std::collections::BTreeMap;

use reqwest::Url;

use super::moment;
use crate::backend::PutError;

/// The header that carries the hash; only as a signed header is it checked by the store.
pub(crate) const CHECKSUM: &str = "x-amz-checksum-sha256";
/// Longest validity that S3 knows, in seconds.
const EXPIRES_S_MAX: i64 = 7 * 24 * 3600;

/// An address that may be sent to. The text is a secret.
pub(super) struct Presigned {
    pub url: String,
    /// Of no use from then on, by the server's clock.
    pub expires_ms: i64,
}

impl Presigned {
    /// Reads and checks an address.
    pub fn read(text: &str) -> Result<Self, PutError> {
        let unreadable = |what: &str| {
            PutError::later(
                "presign-unreadable",
                format!("the service gave no usable upload address ({what}): it is asked again"),
            )
        };
        let url = Url::parse(text).map_err(|error| unreadable(&error.to_string()))?;
        if !is_protected(&url) {
            let host = url.host_str().unwrap_or_default();
            return Err(PutError::never(
                "presign-address",
                format!(
                    "the service wants the picture sent to {host} unprotected: that is refused, tell 360 Imaging"
                ),
            ));
        }
        let mut query = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            if query.insert(name.to_ascii_lowercase(), value.into_owned()).is_some() {
                return Err(unreadable("a parameter stands in it twice"));
            }
        }
        let one = |name: &str| query.get(name).ok_or_else(|| unreadable(&format!("{name} is missing")));
        let signed_ms = moment::amz_date(one("x-amz-date")?).ok_or_else(|| unreadable("x-amz-date"))?;
        let expires_s = one("x-amz-expires")?.parse().ok().filter(|s| (1..=EXPIRES_S_MAX).contains(s));
        let expires_s = expires_s.ok_or_else(|| unreadable("x-amz-expires"))?;
        if !one("x-amz-signedheaders")?.split(';').any(|header| header.eq_ignore_ascii_case(CHECKSUM)) {
            return Err(PutError::never(
                "presign-without-checksum",
                "the service's upload address does not sign the checksum, so nothing would prove the picture's \
                 arrival: it is not sent, tell 360 Imaging",
            ));
        }
        Ok(Self { url: text.to_owned(), expires_ms: signed_ms + expires_s * 1000 })
    }
}

/// Encrypted, or does not leave this machine.
pub(crate) fn is_protected(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => match url.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback()),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "https://store.example/org/a/b.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F1\
        &X-Amz-Date=20261127T093000Z&X-Amz-Expires=900\
        &X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-checksum-sha256&X-Amz-Signature=00";

    fn rule(text: &str) -> String {
        Presigned::read(text).err().unwrap().failure().rule
    }

    #[test]
    fn a_good_address_tells_when_it_ends() {
        assert_eq!(Presigned::read(GOOD).unwrap().expires_ms, 1_795_771_800_000 + 900_000);
    }

    #[test]
    fn an_address_that_protects_less_than_promised_is_refused() {
        assert_eq!(rule(&GOOD.replace("%3Bx-amz-checksum-sha256", "")), "presign-without-checksum");
        // What the query says of the checksum, the store does not look at.
        let hoisted = GOOD.replace("%3Bx-amz-checksum-sha256", "") + "&x-amz-checksum-sha256=abc";
        assert_eq!(rule(&hoisted), "presign-without-checksum");
        assert_eq!(rule(&GOOD.replace("https", "http")), "presign-address");
        assert_eq!(rule(&GOOD.replace("https", "ftp")), "presign-address");
        for loopback in ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9"] {
            assert!(Presigned::read(&GOOD.replace("https://store.example", loopback)).is_ok(), "{loopback}");
        }
        let disguised = GOOD.replace("https://store.example", "http://localhost.example");
        assert_eq!(rule(&disguised), "presign-address");
    }

    #[test]
    fn an_address_that_cannot_be_read_is_asked_for_again() {
        for (from, to) in [
            ("https://store.example", ""),
            ("20261127T093000Z", "yesterday"),
            ("Expires=900", "Expires=0"),
            ("Expires=900", "Expires=99999999999999999999"),
            ("X-Amz-SignedHeaders", "Y"),
            ("X-Amz-Signature=00", "x-amz-date=20261127T093000Z"),
        ] {
            assert_eq!(rule(&GOOD.replace(from, to)), "presign-unreadable", "{from} -> {to:?}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_is_no_address_and_no_panic(text in ".{0,200}", at in 0..GOOD.len(), put in ".{0,9}") {
            drop(Presigned::read(&text));
            let mut changed = GOOD.to_owned();
            changed.insert_str(at, &put);
            drop(Presigned::read(&changed));
        }
    }
}
