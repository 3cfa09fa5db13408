//! The panel on a simulated rig, for people who draw it: `panel_pages PORT STATE`.
//!
//! STATE is what to look at: `ready`, `shooting`, `review`, `complete`, `fault`, `away` or `rows`.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tempfile::TempDir;
use turnstage::command::{Act, Actor};
use turnstage::window::Window;
use turnstage_tests::{Bench, write_recipe};

const BOOTH: &str = r#"
faults = [
  { camera = "main", frame = 12, kind = "blurred" },
  { camera = "main", frame = 17, kind = "blurred" },
  { camera = "main", frame = 31, kind = "over-exposed" },
]
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().context("usage: panel_pages PORT STATE")?.parse()?;
    let state = args.next().unwrap_or_else(|| "ready".to_owned());
    let bench = Arc::new(begin(&state).await);
    let window = bench.running.window.clone();
    let api = Router::new()
        .route("/api/v1/frames/{sequence}/thumbnail", get(thumbnail))
        .route("/api/v1/frames/{sequence}/original", get(thumbnail))
        .route("/api/v1/commands/{act}", post(command))
        .with_state(window.clone());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://127.0.0.1:{port}/");
    axum::serve(listener, turnstage::panel::router(window).merge(api)).await?;
    Ok(())
}

fn rig(state: &str) -> String {
    let (speed, booth) = match state {
        "shooting" => (20.0, BOOTH.to_owned()),
        "fault" => (3600.0, "faults = [{ camera = \"main\", frame = 30, kind = \"unplug\" }]".to_owned()),
        "review" | "rows" => (3600.0, BOOTH.to_owned()),
        _ => (3600.0, String::new()),
    };
    let create = state != "away";
    format!(
        r#"
[station]
org = "demo"
site = "Munich East"
name = "Booth 3"
[storage]
free_bytes_soft = 2_000_000
free_bytes_hard = 1_000_000
frame_bytes = 900_000
[destinations.local]
backend = "directory"
root = "delivered"
create = {create}
[rig.turntable]
driver = "sim"
speed_deg_s = {speed:?}
acceleration_deg_s2 = 100000.0
vibration_deg = 0.0
[rig.cameras.main]
driver = "sim"
size = [1200, 900]
latency_ms = 0.0
transfer_ms = 0.0
settings = {{ exposure_us = 8000.0, gain = 1.0, wb_kelvin = 5000.0 }}
[booth]
{booth}
"#
    )
}

async fn begin(state: &str) -> Bench {
    let data = TempDir::new().expect("a folder");
    let recipes = data.path().join("recipes");
    write_recipe(&recipes, "turn36", 36, "");
    write_recipe(&recipes, "rows", 36, "[[rows]]\nframes = 36\n");
    let bench = Bench::on_disk(&rig(state), data).await;
    let recipe = if state == "rows" { "rows" } else { "turn36" };
    let start = Act::Start { item: "2000104820014".to_owned(), recipe: Some(recipe.to_owned()) };
    if state == "ready" {
        return bench;
    }
    let accepted = bench.ask(start).await.expect("the session starts");
    let id = accepted.session.expect("a session");
    if state != "shooting" {
        bench.settled(&id).await;
    }
    if state == "away" {
        bench.ask(Act::Release { accept: None }).await.expect("a release");
    }
    bench
}

async fn thumbnail(
    State(window): State<Window>,
    Path(sequence): Path<u64>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let records = window.picture(sequence).await.unwrap_or_default();
    let side = query.iter().find(|(name, _)| name == "side").and_then(|(_, side)| side.parse().ok());
    let Some(record) = records.first() else { return StatusCode::NOT_FOUND.into_response() };
    let bytes = match side {
        Some(side) => window.thumbnail(record, side).await,
        None => window.original(record).await,
    };
    match bytes {
        Some(bytes) => {
            let kept = [("content-type", "image/jpeg"), ("cache-control", "max-age=31536000, immutable")];
            (kept, bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn command(
    State(window): State<Window>,
    Path(act): Path<String>,
    Json(mut body): Json<serde_json::Value>,
) -> Response {
    let id = body["id"].as_str().map(str::to_owned);
    body["act"] = serde_json::Value::String(act);
    let act: Act = match serde_json::from_value(body) {
        Ok(act) => act,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match window.ask(id, &Actor("admin:panel".to_owned()), act).await {
        Ok(accepted) => Json(accepted).into_response(),
        Err(refusal) => {
            let problem = serde_json::json!({ "rule": refusal.rule, "what": refusal.reason });
            (StatusCode::CONFLICT, Json(problem)).into_response()
        }
    }
}
