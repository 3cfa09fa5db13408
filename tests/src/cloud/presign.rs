//! Presigned URLs of the store: SigV4 in the query, signed by AWS's own code and not by the store that verifies them.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use jiff::Timestamp;

/// The header that carries the SHA-256 of a body, in base64, to the store and back.
pub const CHECKSUM: &str = "x-amz-checksum-sha256";
/// Seconds that a URL is valid for, as V-8 has it.
pub const URL_LIFE_S: i64 = 900;
/// The bucket that every object lies in.
pub const BUCKET: &str = "captures";

const REGION: &str = "eu-central-1";

/// Keys of the store, and where it is reached.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Scheme, host and port, without a slash at the end: the host is part of every signature.
    pub store: String,
    /// Name of the key pair.
    pub access_key: String,
    /// Its secret half.
    pub secret_key: String,
}

/// What one URL allows.
#[derive(Debug, Clone)]
pub struct Permit<'a> {
    /// The object.
    pub key: &'a str,
    /// The only content type that may be sent.
    pub content_type: &'a str,
    /// The only SHA-256 that may be sent, in base64.
    pub checksum: &'a str,
    /// When the URL begins to be valid, in milliseconds since 1970.
    pub signed_at_ms: i64,
    /// Puts the checksum into the query instead of among the signed headers, where S3 ignores it: what the presigners
    /// of some SDKs do unless told otherwise.
    pub checksum_in_query: bool,
}

impl Signer {
    /// A URL for one PUT, valid for [`URL_LIFE_S`].
    pub fn put_url(&self, permit: &Permit<'_>) -> String {
        let mut url = format!("{}/{BUCKET}/{}", self.store, encoded(permit.key, true));
        let mut headers = vec![("content-type", permit.content_type)];
        if permit.checksum_in_query {
            url += &format!("?{CHECKSUM}={}", encoded(permit.checksum, false));
        } else {
            headers.push((CHECKSUM, permit.checksum));
        }
        let params = self.sign(&url, &headers, permit.signed_at_ms, URL_LIFE_S);
        let params: Vec<_> =
            params.iter().map(|(name, value)| format!("{name}={}", encoded(value, false))).collect();
        let mark = if permit.checksum_in_query { '&' } else { '?' };
        format!("{url}{mark}{}", params.join("&"))
    }

    /// Query parameters that sign a PUT to `url` with these headers; the last is the signature.
    pub fn sign(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        signed_at_ms: i64,
        life_s: i64,
    ) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.expires_in = Some(Duration::from_secs(life_s.unsigned_abs()));
        let credentials = Credentials::new(&self.access_key, &self.secret_key, None, None, "fake");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("s3")
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(signed_at_ms.unsigned_abs()))
            .settings(settings)
            .build()
            .expect("everything that a signature needs")
            .into();
        let request =
            SignableRequest::new("PUT", url, headers.iter().copied(), SignableBody::UnsignedPayload);
        let signed = sign(request.expect("a URL that can be signed"), &params).expect("a signature");
        let (_, params) = signed.into_parts().0.into_parts();
        params.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    }
}

/// When the URL with this query was signed, in milliseconds since 1970; whole seconds.
pub fn signed_at_ms(query: &str) -> Option<i64> {
    let date = parameters(query).find(|(name, _)| name == "X-Amz-Date")?.1;
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &date).ok()?;
    let date: Timestamp = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(date.as_millisecond())
}

/// Names and decoded values of a query.
pub fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
}

/// Percent-encoded as RFC 3986 and S3 want it; a path keeps its slashes.
fn encoded(text: &str, path: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && byte == b'/');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The text without percent signs; what is not an encoding stays as it is.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, left @ ..] = rest {
        let digits = left.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &left[2..] } else { left };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
