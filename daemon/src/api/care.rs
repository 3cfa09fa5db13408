//! What those who look after a station ask of it beside its session: to show itself, flags, and a diagnostics bundle.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Body, Here};
use crate::access::Visitor;
use crate::diagnostics;
use crate::flags::Flag;
use crate::identify::Identified;

/// How long a station shows itself.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifyBody {
    /// Seconds from now on, 0 to 600; 0 ends it.
    pub seconds: u32,
}

/// A flag, and what becomes of it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagBody {
    /// `out-of-service` or `hold-updates`.
    pub name: String,
    /// Set, or cleared.
    pub value: bool,
    /// Why, for whoever stands before the station; needed to set one.
    #[serde(default)]
    pub reason: String,
}

/// Makes the station show itself among others: its lamps blink and its panel says so. Touches no session.
#[utoipa::path(post, path = "/api/v1/identify", tag = "care", request_body = IdentifyBody,
    responses((status = 200, body = Option<Identified>), (status = "4XX", body = Problem)))]
pub async fn identify(
    State(api): Here,
    visitor: Visitor,
    Body(body): Body<IdentifyBody>,
) -> Result<Json<Option<Identified>>, Problem> {
    api.window.identify(&visitor.actor, body.seconds).await?;
    Ok(Json(api.window.care().identify.told()))
}

/// Flags that are set, with who, why and since when.
#[utoipa::path(get, path = "/api/v1/flags", tag = "care", responses((status = 200, body = Vec<Flag>)))]
pub async fn flags(State(api): Here) -> Json<Vec<Flag>> {
    Json(api.window.care().flags.all())
}

/// Sets or clears a flag. Out of service, a station begins no session; one that is open may be finished.
#[utoipa::path(post, path = "/api/v1/flags", tag = "care", request_body = FlagBody,
    responses((status = 200, body = Vec<Flag>), (status = "4XX", body = Problem)))]
pub async fn set_flag(
    State(api): Here,
    visitor: Visitor,
    Body(body): Body<FlagBody>,
) -> Result<Json<Vec<Flag>>, Problem> {
    let FlagBody { name, value, reason } = body;
    Ok(Json(api.window.set_flag(&visitor.actor, &name, value, &reason).await?))
}

/// What a technician sends to whoever helps: state, log and settings without secrets, persons and items, as one .tar.gz.
#[utoipa::path(get, path = "/api/v1/diagnostics", tag = "care",
    responses((status = 200, content_type = "application/gzip"), (status = 503, body = Problem)))]
pub async fn bundle(State(api): Here) -> Result<Response, Problem> {
    let bundle = diagnostics::bundle(&api.window, api.window.data()).await?;
    let name = format!("attachment; filename=\"{}\"", bundle.name);
    let head = [
        (header::CONTENT_TYPE, bundle.content_type.to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((head, bundle.bytes).into_response())
}
