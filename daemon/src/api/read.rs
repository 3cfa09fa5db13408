//! What can be read: state, sessions, frames, recipes, queue. A GET changes nothing.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use turnstage_cloud_sync::Record;
use turnstage_pipeline::SIDES_PX;
use utoipa::IntoParams;

use super::problem::Problem;
use super::{Here, Query, picture};
use crate::access::Visitor;
use crate::constancy::CameraHealth;
use crate::status::Status;
use crate::window::views::{QueueView, SessionDetail, SessionSummary};
use crate::window::{Filter, RecipeLine, Window};

/// Sessions on a page.
const PAGE: usize = 50;

/// The state now.
#[utoipa::path(get, path = "/api/v1/status", tag = "state", responses((status = 200, body = Status)))]
pub async fn status(State(api): Here) -> Json<Status> {
    Json(api.window.status().await)
}

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Part of the item, in any case.
    item: Option<String>,
    /// Older than this session.
    before: Option<String>,
    /// At most so many, 1 to 500; 50 if absent.
    limit: Option<usize>,
}

/// Sessions, newest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", params(Which),
    responses((status = 200, body = Vec<SessionSummary>)))]
pub async fn sessions(
    State(api): Here,
    visitor: Visitor,
    Query(which): Query<Which>,
) -> Result<Json<Vec<SessionSummary>>, Problem> {
    let limit = Some(which.limit.unwrap_or(PAGE).clamp(1, 500));
    let filter = Filter { item: which.item, before: which.before, limit, ..Filter::seen_by(&visitor) };
    Ok(Json(api.window.sessions(&filter).await?))
}

/// One session with its frames.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionDetail), (status = 404, body = Problem)))]
pub async fn session(
    State(api): Here,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Json<SessionDetail>, Problem> {
    Ok(Json(api.window.session(&visitor, &id).await?))
}

/// The records of one session as stored: every picture with its hash, its state and its proof, history included.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/records", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Vec<Object>), (status = 404, body = Problem)))]
pub async fn records(
    State(api): Here,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Json<Vec<Record>>, Problem> {
    Ok(Json(api.window.records(&visitor, &id).await?))
}

/// Which thumbnail.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Longest side in pixels: 150, 600 or 1200.
    side: u32,
    /// Beginning of the picture's hash: with it the answer may be cached for ever.
    v: Option<String>,
}

/// A small version of a picture.
#[utoipa::path(get, path = "/api/v1/frames/{sequence}/thumbnail", tag = "frames",
    params(("sequence" = u64, Path), Side),
    responses((status = 200, content_type = "image/jpeg"), (status = 404, body = Problem)))]
pub async fn thumbnail(
    State(api): Here,
    visitor: Visitor,
    Path(sequence): Path<u64>,
    Query(side): Query<Side>,
) -> Result<Response, Problem> {
    if !SIDES_PX.contains(&side.side) {
        return Err(Problem::of("side-not-made", 404));
    }
    let record = one(&api.window, &visitor, sequence).await?;
    let bytes = api.window.thumbnail(&record, side.side).await.ok_or_else(|| Problem::of("gone", 410))?;
    let forever = side.v.is_some_and(|v| v.len() >= 8 && record.sha256.to_string().starts_with(&v));
    Ok(picture(bytes, "image/jpeg", forever))
}

/// A picture's own bytes, or those of a file that came with one (a depth picture, a raw file) with its type, while they
/// are on this station.
#[utoipa::path(get, path = "/api/v1/frames/{sequence}/original", tag = "frames",
    params(("sequence" = u64, Path)),
    responses((status = 200, content_type = "image/jpeg"), (status = 404, body = Problem), (status = 410, body = Problem)))]
pub async fn original(
    State(api): Here,
    visitor: Visitor,
    Path(sequence): Path<u64>,
) -> Result<Response, Problem> {
    let record = one(&api.window, &visitor, sequence).await?;
    let bytes = api.window.original(&record).await.ok_or_else(|| Problem::of("gone", 410))?;
    Ok(picture(bytes, &record.facts.content_type, false))
}

async fn one(window: &Window, visitor: &Visitor, sequence: u64) -> Result<Record, Problem> {
    window.picture(visitor, sequence).await?.ok_or_else(|| Problem::of("picture-unknown", 404))
}

/// Recipes, with one line about each.
#[utoipa::path(get, path = "/api/v1/recipes", tag = "state", responses((status = 200, body = Vec<RecipeLine>)))]
pub async fn recipes(State(api): Here) -> Json<Vec<RecipeLine>> {
    Json(api.window.recipes())
}

/// What waits for delivery, and why.
#[utoipa::path(get, path = "/api/v1/queue", tag = "state", responses((status = 200, body = QueueView)))]
pub async fn queue(State(api): Here, visitor: Visitor) -> Result<Json<QueueView>, Problem> {
    Ok(Json(api.window.queue(&visitor).await?))
}

/// Each camera's sharpness, light, colour and noise against its baseline, and what is beyond its limit.
#[utoipa::path(get, path = "/api/v1/cameras/health", tag = "state",
    responses((status = 200, body = Vec<CameraHealth>)))]
pub async fn cameras(State(api): Here) -> Result<Json<Vec<CameraHealth>>, Problem> {
    Ok(Json(api.window.cameras().await?))
}
