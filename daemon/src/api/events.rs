//! The event log, for those who must not miss anything: a page that waits, and a stream that resumes.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::{Extension, Json};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::time::Instant;
use turnstage_cloud_sync::Event;
use utoipa::IntoParams;

use super::problem::Problem;
use super::{Here, Query};
use crate::access::Visitor;
use crate::access::accounts::Pass;
use crate::window::Window;

/// Events on a page.
const PAGE: usize = 256;
/// Longest wait for a page.
const WAIT_MS_MAX: u64 = 30_000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Later than this sequence; from the beginning if absent (the stream: from now).
    after: Option<u64>,
    /// At most so many, 1 to 1000; 256 if absent.
    limit: Option<usize>,
    /// Wait so long for the first one, at most 30000 ms; 0 if absent.
    wait_ms: Option<u64>,
}

/// Events in order, each with its sequence and its hash; waits for the next one if asked to.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(After),
    responses((status = 200, body = Vec<Object>)))]
pub async fn page(
    State(api): Here,
    visitor: Visitor,
    Query(which): Query<After>,
) -> Result<Json<Vec<Event>>, Problem> {
    let after = which.after.unwrap_or_default();
    let limit = which.limit.unwrap_or(PAGE).clamp(1, 1000);
    let mut newest = api.window.newest_event();
    let wait = Duration::from_millis(which.wait_ms.unwrap_or_default().min(WAIT_MS_MAX));
    let end = Instant::now() + wait;
    let mut from = after;
    loop {
        let told = api.window.events(&visitor, from, limit).await?;
        if !told.events.is_empty() {
            return Ok(Json(told.events));
        }
        from = told.through;
        match tokio::time::timeout_at(end, newest.wait_for(|newest| *newest > from)).await {
            Ok(Ok(_)) => {}
            // Nothing to be seen in time is an answer as well.
            _ => return Ok(Json(Vec::new())),
        }
    }
}

/// Server-sent events: `id` is the sequence, `event` the kind, `data` the event. `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/api/v1/stream", tag = "events", params(After),
    responses((status = 200, content_type = "text/event-stream")))]
pub async fn stream(
    State(api): Here,
    visitor: Visitor,
    Extension(pass): Extension<Pass>,
    headers: HeaderMap,
    Query(which): Query<After>,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let newest = api.window.newest_event();
    let after = last.or(which.after).unwrap_or_else(|| *newest.borrow());
    let follower =
        Follower { window: api.window, visitor, pass, newest, after, page: Vec::new().into_iter() };
    let messages = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        let message = Message::default().id(event.sequence.to_string()).event(&event.kind);
        let message = message.json_data(&event).unwrap_or_else(|_| Message::default().event("unwritable"));
        Some((Ok(message), follower))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(Duration::from_secs(5)))
}

struct Follower {
    window: Window,
    visitor: Visitor,
    pass: Pass,
    newest: tokio::sync::watch::Receiver<u64>,
    after: u64,
    page: std::vec::IntoIter<Event>,
}

impl Follower {
    /// `None` when the station or the sign-in has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.page.next() {
                return Some(event);
            }
            let after = self.after;
            self.newest.wait_for(|newest| *newest > after).await.ok()?;
            if !self.pass.holds() {
                return None;
            }
            let told = self.window.events(&self.visitor, after, PAGE).await.ok()?;
            // What was passed over is not for this visitor.
            self.after = told.through;
            self.page = told.events.into_iter();
        }
    }
}
