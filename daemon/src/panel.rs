//! The pages at which people run the station: plain HTML from here, kept current by patches of the same HTML.
//!
//! There is one renderer. A page is made of regions with ids; its stream renders the same regions again when something
//! changed and sends those that differ, so that a page that was loaded and one that was patched are the same. Without
//! scripts the pages still show the true state; the buttons are posts of `panel/assets/act.js` to the API.

mod ask;
mod assets;
mod bar;
mod capture;
mod look;
mod region;
mod ring;
mod scene;
mod sessions;
mod sign_in;
mod stream;
mod times;
mod viewer;

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http};

use crate::access::Visitor;
use crate::window::Window;
use ask::Ask;
use look::Look;
use scene::Scene;

/// Pages, their stream and their files. Who looks is told by the middleware around it.
pub fn router(window: Window) -> Router {
    Router::new()
        .route("/", get(capture_page))
        .route("/sessions", get(sessions::page))
        .route("/sessions/{id}", get(viewer::page))
        .route("/sign-in", get(sign_in::page))
        .route("/panel/stream", get(stream::follow))
        .route("/assets/{hash}/{file}", get(assets::file))
        .with_state(window)
}

async fn capture_page(State(window): State<Window>, viewer: Viewer) -> Response {
    let scene = Scene::see(&window, &viewer).await;
    page(&viewer, capture::page(&scene))
}

/// A rendered page, with the choices of language and theme that were just made kept.
fn page(viewer: &Viewer, rendered: askama::Result<String>) -> Response {
    let html = match rendered {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            return (StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be rendered; see the log.")
                .into_response();
        }
    };
    // The state of now is never the state of the next visit.
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response();
    for cookie in viewer.look.cookies(&viewer.ask) {
        if let Ok(value) = http::HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// What a request says of itself: what it asks for, who asks, in which language and light.
#[derive(Debug, Clone)]
struct Viewer {
    ask: Ask,
    look: Look,
    visitor: Visitor,
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        // An address that a person mistyped shows the page without it, not an error.
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let ask = Ask::of(pairs.map(|Query(pairs)| pairs).unwrap_or_default());
        let look = Look::of(&ask, &parts.headers);
        // The guard inserts one or refuses; what it lets anyone see shows nobody's name.
        let visitor = parts.extensions.get::<Visitor>().cloned();
        Ok(Self { ask, look, visitor: visitor.unwrap_or_else(Visitor::nobody) })
    }
}
