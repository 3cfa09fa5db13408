//! What an answer that is no success means: again at once, later, or never.

use std::time::Duration;

use serde::Deserialize;

use super::transport::HttpResponse;
use crate::backend::PutError;

/// Nobody is asked to wait longer, whatever a server says.
const AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest foreign text in a sentence of ours, in characters.
const FOREIGN_MAX: usize = 200;
/// The store refuses for reasons of its own: so many times, then the picture is parked.
const STORE_REFUSALS_MAX: u32 = 3;

/// The service's own words.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    rule_id: String,
    message: String,
}

/// What the service's refusal means.
pub(super) fn of_service(response: &HttpResponse, asked: &str) -> PutError {
    let said: Said = serde_json::from_slice(&response.body).unwrap_or_default();
    let rule = rule_id(&said.rule_id);
    let message = foreign(&said.message);
    let status = response.status;
    match (status, rule) {
        (401, rule) => unauthorised(rule.as_deref(), &message),
        (408 | 429 | 500.., rule) => {
            wait(response, rule, &format!("the service cannot {asked} now ({status})"))
        }
        (300..=399, _) => PutError::offline(
            "redirect-refused",
            "the service's address points elsewhere, which is not followed: correct the destination's url",
        ),
        (400..=499, Some(rule)) => {
            let said = if message.is_empty() { rule.as_str() } else { &message };
            let what = format!(
                "the service does not {asked} ({said}): settle it with 360 Imaging, then send it again"
            );
            PutError::never(rule, what)
        }
        (404 | 405, None) => PutError::offline(
            "destination-address",
            format!("the service at this address cannot {asked} ({status}): correct the destination's url"),
        ),
        (400..=499, None) => PutError::never(
            "refused-without-rule",
            format!(
                "the service does not {asked} ({status}) and, against the contract, gives no rule: tell 360 Imaging"
            ),
        ),
        _ => PutError::later(
            "answer-unexpected",
            format!("the service answered {status} when asked to {asked}: it is tried again"),
        ),
    }
}

fn unauthorised(rule: Option<&str>, message: &str) -> PutError {
    match rule {
        Some("token-expired") => PutError::offline(
            "token-expired",
            "the service says that the device token expired: put a new one into the token file, and check the clock",
        ),
        _ => PutError::offline(
            "token-invalid",
            format!(
                "the service does not accept the device token: put a valid one into the token file ({message})"
            ),
        ),
    }
}

/// What the store said to a picture.
#[derive(Debug, PartialEq)]
pub(super) enum Storage {
    /// The address ran out: a new one, at once.
    Expired,
    /// The clocks of service and store, or ours, are apart.
    Skewed,
    /// What arrived is not what was announced.
    Damaged,
    /// Anything else.
    Refused(PutError),
}

/// What the store's refusal means; `attempts` were made before.
pub(super) fn of_store(response: &HttpResponse, attempts: u32) -> Storage {
    let text = String::from_utf8_lossy(&response.body);
    let code = element(&text, "Code");
    let message = element(&text, "Message");
    let status = response.status;
    let refused = match (status, code) {
        (403, "RequestTimeTooSkewed") => return Storage::Skewed,
        (403 | 400, "ExpiredToken") => return Storage::Expired,
        (403, "AccessDenied") if message.contains("expired") => return Storage::Expired,
        (400, "BadDigest" | "XAmzContentChecksumMismatch") => return Storage::Damaged,
        (404 | 413, _) | (400, "EntityTooLarge") => PutError::never(
            if status == 404 { "storage-missing" } else { "storage-too-large" },
            format!("the store does not take this picture ({}): tell 360 Imaging", shown(status, code)),
        ),
        (429 | 408 | 500.., _) => {
            wait(response, None, &format!("the store is busy ({})", shown(status, code)))
        }
        _ if attempts + 1 >= STORE_REFUSALS_MAX => PutError::never(
            "storage-refused",
            format!("the store refused this picture again ({}): tell 360 Imaging", shown(status, code)),
        ),
        _ => PutError::later(
            "storage-refused",
            format!("the store refused the picture ({}): it is tried again", shown(status, code)),
        ),
    };
    Storage::Refused(refused)
}

fn shown(status: u16, code: &str) -> String {
    format!("{status} {}", foreign(code)).trim_end().to_owned()
}

fn wait(response: &HttpResponse, rule: Option<String>, what: &str) -> PutError {
    let seconds = response.header("retry-after").and_then(|text| text.trim().parse().ok());
    let after = seconds.map(|seconds| Duration::from_secs(seconds).min(AFTER_MAX));
    let usual = if matches!(response.status, 429 | 503) { "service-busy" } else { "service-failed" };
    let rule = rule.map_or(usual.into(), Into::into);
    PutError::Later { after, rule, reason: format!("{what}: it is tried again") }
}

/// A rule id of the service as one of ours: it ends up in records, on the panel and in metrics.
fn rule_id(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (!text.is_empty() && text.len() <= 64 && text.chars().all(good)).then(|| text.to_owned())
}

/// Foreign text within a sentence: short, one line, no control characters.
fn foreign(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(FOREIGN_MAX).map(plain).collect::<String>().trim().to_owned()
}

/// Text of the first element of this name in S3's flat error documents; empty when there is none.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inside = |from: &'a str| Some(from.split_once(&format!("</{name}>"))?.0);
    xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| inside(rest)).unwrap_or_default()
}

/// The service's rule id, if it gave a good one.
pub(super) fn said_rule(response: &HttpResponse) -> Option<String> {
    rule_id(&serde_json::from_slice::<Said>(&response.body).unwrap_or_default().rule_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse { status, headers: Vec::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn kind(error: &PutError) -> (&'static str, String) {
        let kind = match error {
            PutError::Offline { .. } => "offline",
            PutError::Later { .. } => "later",
            PutError::Never { .. } => "never",
        };
        (kind, error.failure().rule)
    }

    #[test]
    fn what_the_service_says_decides_what_is_done() {
        for (status, body, expected) in [
            (401, r#"{"rule_id":"token-expired"}"#, ("offline", "token-expired")),
            (401, r#"{"rule_id":"token-invalid"}"#, ("offline", "token-invalid")),
            (401, "", ("offline", "token-invalid")),
            (403, r#"{"rule_id":"session-not-owned","message":"x"}"#, ("never", "session-not-owned")),
            (403, "<html>", ("never", "refused-without-rule")),
            (403, r#"{"rule_id":"Not A Rule <b>"}"#, ("never", "refused-without-rule")),
            (400, r#"{"rule_id":"invalid-sha256"}"#, ("never", "invalid-sha256")),
            (404, r#"{"rule_id":"session-unknown"}"#, ("never", "session-unknown")),
            (404, "no such page", ("offline", "destination-address")),
            (307, "", ("offline", "redirect-refused")),
            (429, r#"{"rule_id":"attempts-max"}"#, ("later", "attempts-max")),
            (503, "", ("later", "service-busy")),
            (500, "", ("later", "service-failed")),
            (204, "", ("later", "answer-unexpected")),
        ] {
            let (kind, rule) = kind(&of_service(&answer(status, body), "open the session"));
            assert_eq!((kind, rule.as_str()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_time_to_wait_is_kept_within_a_day() {
        for (text, seconds) in
            [("7", Some(7)), ("99999999999", Some(24 * 3600)), ("-1", None), ("soon", None)]
        {
            let mut answer = answer(503, "");
            answer.headers.push(("retry-after".to_owned(), text.to_owned()));
            let PutError::Later { after, .. } = of_service(&answer, "do it") else { panic!("not later") };
            assert_eq!(after.map(|after| after.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn what_the_store_says_decides_what_is_done() {
        let xml = |code: &str, message: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
        };
        let said = |status, code: &str, message: &str| of_store(&answer(status, &xml(code, message)), 0);
        assert_eq!(said(403, "AccessDenied", "Request has expired"), Storage::Expired);
        assert_eq!(said(403, "RequestTimeTooSkewed", ""), Storage::Skewed);
        assert_eq!(said(400, "BadDigest", ""), Storage::Damaged);
        for (status, code, attempts, expected) in [
            (403, "SignatureDoesNotMatch", 0, ("later", "storage-refused")),
            (403, "SignatureDoesNotMatch", 2, ("never", "storage-refused")),
            (403, "AccessDenied", 1, ("later", "storage-refused")),
            (404, "NoSuchBucket", 0, ("never", "storage-missing")),
            (413, "", 0, ("never", "storage-too-large")),
            (400, "EntityTooLarge", 0, ("never", "storage-too-large")),
            (503, "SlowDown", 4, ("later", "service-busy")),
            (500, "InternalError", 4, ("later", "service-failed")),
            (307, "TemporaryRedirect", 0, ("later", "storage-refused")),
        ] {
            let Storage::Refused(error) = of_store(&answer(status, &xml(code, "")), attempts) else {
                panic!("{status} {code}")
            };
            let (kind, rule) = kind(&error);
            assert_eq!((kind, rule.as_str()), expected, "{status} {code}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_end_in_a_decision_and_a_short_line(
            status: u16,
            body in proptest::collection::vec(any::<u8>(), 0..300),
            text in ".{0,300}",
        ) {
            let mut answer = HttpResponse { status, headers: vec![], body: body.into() };
            drop(of_store(&answer, 0));
            answer.body = Bytes::from(serde_json::json!({"rule_id": text, "message": text}).to_string());
            let told = of_service(&answer, "open the session").failure();
            prop_assert!(told.reason.chars().count() < 400 && !told.reason.contains('\n'));
            answer.body = Bytes::from(format!("<Code>{text}</Code><Message>{text}"));
            drop(of_store(&answer, 0));
        }
    }
}
