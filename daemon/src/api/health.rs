//! Probes for a supervisor and metrics for Prometheus. No item, no person and no session is ever a label.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

use super::problem::Problem;
use super::{Api, Here};
use crate::constancy::{CameraHealth, Drift, Quality};
use crate::status::{Kind, Situation, Status};
use crate::window::Window;

/// The station task is alive.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, content_type = "text/plain"), (status = 503, body = Problem)))]
pub async fn healthz(State(api): Here) -> Response {
    match api.window.is_alive() {
        true => "alive\n".into_response(),
        false => Problem::told(
            "station-gone",
            503,
            "The station task does not answer. Restart the service.".to_owned(),
        )
        .into_response(),
    }
}

/// A session could be shot now, or one is at work.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, content_type = "text/plain"), (status = 503, body = Problem)))]
pub async fn readyz(State(api): Here) -> Response {
    let status = api.window.status().await;
    match (status.kind, status.situation) {
        // Strangers may ask this: what is wrong is for those who may see the status.
        (Kind::Stop, _) | (_, Situation::Starting | Situation::OutOfService { .. }) => {
            Problem::of("not-ready", 503).into_response()
        }
        _ => "ready\n".into_response(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requests {
    method: String,
    endpoint: String,
    status: u16,
}

/// What is counted while the station runs.
#[derive(Clone, Default)]
pub struct Counters {
    requests: Family<Requests, Counter>,
}

/// Counts a request by its endpoint, never by its full path: that would name sessions.
pub async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let endpoint = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // Anybody can invent a method; each would be a series for ever.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    if let Some(endpoint) = endpoint {
        let labels = Requests { method, endpoint, status: response.status().as_u16() };
        api.counters.requests.get_or_create(&labels).inc();
    }
    response
}

/// Figures for Prometheus (OpenMetrics text).
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "text/plain")))]
pub async fn metrics(State(api): Here) -> Response {
    match text(&api.window, &api.counters).await {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The figures as text.
pub(super) async fn text(window: &Window, counters: &Counters) -> Result<String, std::fmt::Error> {
    let status = window.status().await;
    let now_ms = window.clock().now().wall_ms;
    // A disk that cannot be read takes these figures with it, and no others.
    let cameras = window.cameras().await.unwrap_or_default();
    let mut registry = registry(counters, &status, now_ms);
    register_cameras(&mut registry, &cameras, &status.drifts);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Newest medians of each camera, and which of its qualities are beyond their limit.
fn register_cameras(registry: &mut Registry, cameras: &[CameraHealth], drifts: &[Drift]) {
    type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
    let (blur, luma, noise, drifted) =
        (Gauges::default(), Gauges::default(), Gauges::default(), Gauges::default());
    for camera in cameras {
        let name = ("camera", camera.camera.clone());
        for (family, measured) in
            [(&blur, camera.blur_px), (&luma, camera.luma), (&noise, camera.noise_levels)]
        {
            let Some(measured) = measured else { continue };
            family.get_or_create(&vec![name.clone()]).set(measured.today);
        }
        for (word, quality) in Quality::ALL {
            let is = drifts.iter().any(|drift| drift.camera == camera.camera && drift.quality == quality);
            let labels = vec![name.clone(), ("quality", word.to_owned())];
            drifted.get_or_create(&labels).set(f64::from(u8::from(is)));
        }
    }
    for (name, help, family) in [
        ("camera_blur_px", "Width of the sharpest edges, newest frames", blur),
        ("camera_backdrop_luma", "Luma of the backdrop, newest frames", luma),
        ("camera_noise_levels", "Noise in grey levels, newest frames", noise),
        ("camera_drifted", "Whether a quality is beyond its limit against the baseline", drifted),
    ] {
        registry.register(name, help, family);
    }
}

type Labels = Vec<(&'static str, String)>;

fn registry(counters: &Counters, status: &Status, now_ms: i64) -> Registry {
    let mut registry = Registry::with_prefix("turnstage");
    registry.register("http_requests", "Requests by endpoint and status", counters.requests.clone());
    let delivery = &status.delivery;
    let pictures = Family::<Labels, Gauge>::default();
    for (state, count) in [
        ("captured", delivery.held),
        ("queued", delivery.waiting - delivery.uploading.min(delivery.waiting)),
        ("uploading", delivery.uploading),
        ("confirmed", delivery.confirmed),
        ("failed", delivery.failed),
    ] {
        pictures.get_or_create(&vec![("state", state.to_owned())]).set(count as i64);
    }
    registry.register("queue_pictures", "Pictures on this station by state of delivery", pictures);
    let online = Family::<Labels, Gauge>::default();
    for one in &delivery.destinations {
        online.get_or_create(&vec![("destination", one.name.clone())]).set(i64::from(one.online));
    }
    registry.register("destination_online", "Whether a destination can be reached", online);
    let kinds = Family::<Labels, Gauge>::default();
    for (name, kind) in
        [("ready", Kind::Ready), ("busy", Kind::Busy), ("warn", Kind::Warn), ("stop", Kind::Stop)]
    {
        kinds.get_or_create(&vec![("kind", name.to_owned())]).set(i64::from(status.kind == kind));
    }
    registry.register("status", "How loud the station's state is", kinds);
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build_info", "Version of the program", build);
    let oldest_s = delivery.oldest_wall_ms.map_or(0.0, |oldest| (now_ms - oldest).max(0) as f64 / 1000.0);
    let age: Gauge<f64, AtomicU64> = Gauge::default();
    age.set(oldest_s);
    registry.register("queue_oldest_age_seconds", "Age of the oldest picture that waits", age);
    for (name, help, value) in [
        ("disk_free_bytes", "Free bytes on the data disk", delivery.free_bytes),
        ("disk_sessions_left", "Sessions of the default recipe that still fit", delivery.sessions_left),
        ("faults", "Faults that the station tells of", status.faults.len() as u64),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    registry
}
