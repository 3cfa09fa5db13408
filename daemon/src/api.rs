//! The HTTP interface: `/api/v1` for machines and for the panel's own modules, probes and metrics.
//!
//! Router and OpenAPI document come from one source: an endpoint is registered with its documentation
//! (`utoipa-axum`), and who may use it stands in [`crate::access`]. Every error is `application/problem+json` with a rule
//! id and the three sentences of the panel: what happened, why it matters, what to do. The command line speaks to a
//! running station through this same interface, and to a station of its own through the same router without a socket.

mod calibrations;
mod care;
mod commands;
mod events;
mod health;
pub mod problem;
mod read;
mod sign_in;
mod updates;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware, routing};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::accounts::Accounts;
use crate::access::{Guard, Visitor, guard};
use crate::window::Window;
use health::Counters;
use problem::Problem;

pub use updates::UpdateView;

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Nothing is loaded from elsewhere and nothing inline is run.
const CONTENT_SECURITY: &str = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; \
                                form-action 'self'; object-src 'none'";

/// What handlers work with.
#[derive(Clone)]
pub struct Api {
    /// The station.
    pub window: Window,
    /// People of this station.
    pub accounts: Arc<Accounts>,
    counters: Counters,
    /// Sign-ins pass one by one.
    door: Arc<Semaphore>,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Turnstage station",
    description = "One capture station: its state, its sessions and frames, its queue, and what may be asked of it. \
                   Every error is application/problem+json with a stable rule id. Commands carry an id of the sender's \
                   choice: the same id again gets the same answer and no second effect."
))]
struct Document;

/// Everything that the station answers to: pages, interface, probes.
pub fn router(window: Window, accounts: Arc<Accounts>, hosts: Arc<[String]>) -> Router {
    let guarded = Guard { accounts: accounts.clone(), hosts, window: window.clone() };
    let api = Api {
        window: window.clone(),
        accounts,
        counters: Counters::default(),
        door: Arc::new(Semaphore::new(1)),
    };
    let (router, document) = documented().split_for_parts();
    let document = Arc::new(document);
    let pages = crate::panel::router(window);
    router
        .route("/api/openapi.json", routing::get(move || async move { Json(document.as_ref().clone()) }))
        .with_state(api.clone())
        .merge(pages)
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::of("method-not-allowed", 405) })
        .layer(middleware::from_fn_with_state(guarded, guard))
        .layer(middleware::from_fn_with_state(api, health::count))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CompressionLayer::new())
        .layer(fixed(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
}

/// The OpenAPI document, as served.
pub fn document() -> utoipa::openapi::OpenApi {
    documented().split_for_parts().1
}

/// The figures that Prometheus is given, without the counts of requests.
pub(crate) async fn metrics_text(window: &Window) -> String {
    health::text(window, &Counters::default()).await.unwrap_or_default()
}

fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(read::status))
        .routes(routes!(read::sessions))
        .routes(routes!(read::session))
        .routes(routes!(read::records))
        .routes(routes!(read::thumbnail))
        .routes(routes!(read::original))
        .routes(routes!(read::recipes))
        .routes(routes!(read::queue))
        .routes(routes!(read::cameras))
        .routes(routes!(events::page))
        .routes(routes!(events::stream))
        .routes(routes!(commands::start))
        .routes(routes!(commands::pause))
        .routes(routes!(commands::resume))
        .routes(routes!(commands::stop))
        .routes(routes!(commands::abort))
        .routes(routes!(commands::retake))
        .routes(routes!(commands::release))
        .routes(routes!(commands::move_item))
        .routes(routes!(commands::open))
        .routes(routes!(commands::requeue))
        .routes(routes!(calibrations::list, calibrations::calibrate))
        .routes(routes!(calibrations::turn))
        .routes(routes!(calibrations::plate))
        .routes(routes!(calibrations::axis_turn))
        .routes(routes!(calibrations::axis))
        .routes(routes!(calibrations::forget))
        .routes(routes!(commands::reset_camera))
        .routes(routes!(commands::arm))
        .routes(routes!(commands::disarm))
        .routes(routes!(commands::test_emergency_stop))
        .routes(routes!(commands::answer))
        .routes(routes!(care::identify))
        .routes(routes!(care::flags, care::set_flag))
        .routes(routes!(care::bundle))
        .routes(routes!(updates::update))
        .routes(routes!(updates::install))
        .routes(routes!(updates::cancel))
        .routes(routes!(updates::mark_good))
        .routes(routes!(updates::rollback))
        .routes(routes!(updates::reboot))
        .routes(routes!(sign_in::sign_in))
        .routes(routes!(sign_in::sign_out))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// A JSON body, or a problem that says what is wrong with it.
struct Body<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => {
                let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
                let (rule, status) = if too_large { ("body-too-large", 413) } else { ("body-invalid", 422) };
                Err(Problem::told(rule, status, rejection.body_text()))
            }
        }
    }
}

/// A query, or a problem that says what is wrong with it.
struct Query<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| Problem::told("query-invalid", 400, rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        // The guard inserts one or refuses; without it nobody is let in.
        parts.extensions.get::<Visitor>().cloned().ok_or_else(|| Problem::of("sign-in-required", 401))
    }
}

/// How long a request may hold a handler that waits for its turn.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Bytes with their type, cached for ever under this address or not at all.
fn picture(bytes: bytes::Bytes, content_type: &str, forever: bool) -> Response {
    let cache = if forever { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], bytes).into_response()
}

impl axum::extract::FromRef<Api> for Window {
    fn from_ref(api: &Api) -> Self {
        api.window.clone()
    }
}

/// Marks what only the router's state type needs.
type Here = State<Api>;
