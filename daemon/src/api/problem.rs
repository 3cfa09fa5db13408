//! Errors as `application/problem+json` (RFC 9457), in the panel's pattern: what happened, why it matters, what to do.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::command::Refusal;

/// Begins the `type` of every problem; the rule id ends it.
const TYPE: &str = "urn:turnstage:rule:";

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:turnstage:rule:` and the rule id.
    pub r#type: String,
    /// Same as `what`.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do, as one text.
    pub detail: String,
    /// Stable rule id.
    pub rule: String,
    /// What happened.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub todo: String,
}

impl Problem {
    /// A problem of the interface itself, by its rule.
    pub fn of(rule: &str, status: u16) -> Self {
        let (what, todo) = of_interface(rule);
        Self::new(rule, status, what.to_owned(), todo.to_owned())
    }

    /// A problem in words found on the way; its first sentence says what, the rest what to do.
    pub fn told(rule: &str, status: u16, reason: String) -> Self {
        let (what, todo) = match reason.split_once(". ") {
            Some((what, todo)) => (format!("{what}."), todo.to_owned()),
            None => (format!("{}.", reason.trim_end_matches('.')), "Correct it, then try again.".to_owned()),
        };
        Self::new(rule, status, what, todo)
    }

    /// Nothing is at that address.
    pub fn not_found() -> Self {
        Self::of("not-found", 404)
    }

    fn new(rule: &str, status: u16, what: String, todo: String) -> Self {
        Self {
            r#type: format!("{TYPE}{rule}"),
            title: what.clone(),
            status,
            detail: format!("{what} {todo}").trim().to_owned(),
            rule: rule.to_owned(),
            why: why(rule).to_owned(),
            what,
            todo,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.rule.as_str() {
            "session-unknown" | "frame-unknown" | "session-none" | "calibration-unknown" => 404,
            "station-busy" | "station-gone" | "storage-fault" | "update-none" => 503,
            "disk-full" | "disk-room" => 507,
            "role-not-allowed" | "wrong-tenant" => 403,
            _ => 409,
        };
        Self::told(&refusal.rule, status, refusal.reason)
    }
}

impl From<turnstage_cloud_sync::spool::SpoolError> for Problem {
    fn from(error: turnstage_cloud_sync::spool::SpoolError) -> Self {
        Self::told("storage-fault", 503, format!("The disk cannot be read: {error}. Call your technician."))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
        }
        response
    }
}

/// What happened and what to do, where a rule of the interface itself refused.
fn of_interface(rule: &str) -> (&'static str, &'static str) {
    match rule {
        "not-found" => ("There is nothing at this address.", "See /api/openapi.json for what there is."),
        "method-not-allowed" => {
            ("This address does not take that method.", "See /api/openapi.json for what it takes.")
        }
        "host-not-allowed" => (
            "The panel was called by a name that is not its own.",
            "Use its address, or add the name to panel.hosts.",
        ),
        "origin-not-allowed" => {
            ("The request came from a page of another site.", "Open the panel of this station and act there.")
        }
        "content-type-not-json" => {
            ("The body is not declared as JSON.", "Send content-type: application/json.")
        }
        "sign-in-required" => ("Nobody is signed in.", "Sign in on the panel."),
        "role-not-allowed" => {
            ("Your role does not allow this.", "Ask somebody whose role does, or your administrator.")
        }
        "endpoint-unlisted" => {
            ("This endpoint has no access rule.", "Report it: it is a fault of this version.")
        }
        "name-or-password" => ("Name or password is wrong.", "Type both again."),
        "not-ready" => ("No session could be shot now.", "See the station's status for why."),
        "gone" => ("This picture is not on this station any more.", "Look for it where it was delivered."),
        "picture-unknown" => ("There is no such picture.", "See /api/v1/sessions for what there is."),
        "side-not-made" => ("There is no thumbnail of that size.", "Ask for side=150, 600 or 1200."),
        _ => ("The request was refused.", "See its rule."),
    }
}

/// Why a rule matters to the person in front of it.
fn why(rule: &str) -> &'static str {
    match rule {
        "release-incomplete" => {
            "A gap or a blurred frame is seen in every spin that is made of these pictures."
        }
        "release-empty" => "Nothing would arrive.",
        "session-open" => "Two items in one session cannot be told apart later.",
        "session-running" => "The table may move.",
        "motion-stopped" => "Somebody may stand at the table.",
        "emergency-stop-none"
        | "emergency-stop-untested"
        | "emergency-stop-clock"
        | "emergency-stop-lost" => "A software stop is not an emergency stop: somebody could be hurt.",
        "item-missing" => "Pictures without an item cannot be found again.",
        "item-delivered" => "The destination knows them under the former item.",
        "disk-room" | "disk-full" => "A session that ends for lack of room is a lost session.",
        "storage-fault" => "What is not stored is not promised.",
        "camera-missing" | "camera-unknown" | "camera-none" => {
            "Without this camera the session cannot be complete."
        }
        "motion-missing" | "motion-none" => "Without the table frames have no angle.",
        "destination-none" | "destination-unknown" => "The pictures would go nowhere.",
        "override-unnamed" => "Whoever looks at the pictures later asks who accepted them.",
        "config-invalid" => "Settings that are not meant may harm more than none.",
        "role-not-allowed" | "sign-in-required" => "Every act on this station has a name behind it.",
        "origin-not-allowed" | "host-not-allowed" | "content-type-not-json" => {
            "A page of another site must not command this station."
        }
        "calibration-few-frames" | "calibration-flagged" | "calibration-blurred" | "plate-not-good" => {
            "Limits that come from a bad turn let bad frames pass."
        }
        "wrong-tenant" => "One organisation's pictures are not another's to see.",
        _ => "It was not done.",
    }
}
