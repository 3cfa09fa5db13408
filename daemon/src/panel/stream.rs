//! Keeps a page current: renders its regions again when something changed, and sends those that differ.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;

use super::Viewer;
use super::region::{Region, Shown, revision};
use super::scene::Scene;
use super::{bar, capture, times};
use crate::access::accounts::Pass;
use crate::window::{Changes, Window};

/// At most four rounds a second: what changes in between goes with the next one.
const ROUND: Duration = Duration::from_millis(250);
/// A page that hears nothing for 5 s says so, so it hears at least this.
const ALIVE: Duration = Duration::from_secs(2);

/// One page that is kept current.
struct Follower {
    window: Window,
    viewer: Viewer,
    pass: Pass,
    changes: Changes,
    shown: Shown,
    begun: bool,
}

/// `GET /panel/stream` with the query of the page: events `patch` and `alive` until the page or the station goes.
pub(super) async fn follow(
    State(window): State<Window>,
    Extension(pass): Extension<Pass>,
    viewer: Viewer,
) -> Response {
    let changes = window.changes();
    let follower = Follower { window, viewer, pass, changes, shown: Shown::default(), begun: false };
    let rounds = stream::unfold(follower, |mut follower| async move {
        let events = follower.round().await?;
        Some((stream::iter(events.into_iter().map(Ok::<_, Infallible>)), follower))
    });
    let events = futures_util::StreamExt::flatten(rounds);
    // A proxy that gathers events would show the table standing while it turns.
    ([(header::CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], Sse::new(events)).into_response()
}

const X_ACCEL_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

impl Follower {
    /// What to send next, or nothing more: the station or the sign-in has ended.
    async fn round(&mut self) -> Option<Vec<Event>> {
        if !self.pass.holds() {
            return None;
        }
        if self.begun {
            match tokio::time::timeout(ALIVE, self.changes.next()).await {
                Ok(true) => tokio::time::sleep(ROUND).await,
                Ok(false) => return None,
                Err(_) => return Some(vec![self.alive()]),
            }
        }
        let regions = match self.regions().await {
            Ok(regions) => regions,
            Err(error) => {
                tracing::error!(%error, "a page is not kept current");
                return None;
            }
        };
        let first = !std::mem::replace(&mut self.begun, true);
        if first && self.viewer.ask.rev.as_deref() == Some(revision(&regions).as_str()) {
            self.shown.all(&regions);
        }
        let patches = self.shown.patches(&regions);
        let patches =
            patches.iter().filter_map(|patch| Event::default().event("patch").json_data(patch).ok());
        Some(patches.chain([self.alive()]).collect())
    }

    async fn regions(&self) -> askama::Result<Vec<Region>> {
        match self.viewer.ask.page.as_deref() {
            Some("bar") => Ok(vec![bar::net(&Scene::bar(&self.window, &self.viewer).await)?]),
            _ => capture::regions(&Scene::see(&self.window, &self.viewer).await),
        }
    }

    fn alive(&self) -> Event {
        let now_ms = self.window.clock().now().wall_ms;
        let data = json!({ "clock": times::clock(now_ms), "time": times::to_the_second(now_ms) });
        Event::default().event("alive").data(data.to_string())
    }
}
