//! Calibration over the interface: what is kept, and what may be asked. For those who look after the station.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{Answered, ask};
use super::problem::Problem;
use super::{Body, Here};
use crate::access::Visitor;
use crate::command::{Accepted, Act};
use crate::window::views::CalibrationsView;

/// See [`Act::Measure`], [`Act::Plate`] and [`Act::MeasureAxis`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipeBody {
    /// Chosen by the sender; the same id again gets the same answer and no second effect.
    pub id: Option<String>,
    /// Recipe by name; the configured one if absent.
    pub recipe: Option<String>,
}

/// See [`Act::Calibrate`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibrateBody {
    /// See [`RecipeBody::id`].
    pub id: Option<String>,
    /// A good turn.
    pub session: String,
}

/// See [`Act::CalibrateAxis`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisBody {
    /// See [`RecipeBody::id`].
    pub id: Option<String>,
    /// A turn with the marker board.
    pub session: String,
    /// Side of the board's chess pattern in millimetres, 40 to 5000.
    pub board_mm: f64,
    /// How far its print lies above the platter in millimetres, 0 to 200.
    #[serde(default)]
    pub thickness_mm: f64,
}

/// See [`Act::ForgetCalibration`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetBody {
    /// See [`RecipeBody::id`].
    pub id: Option<String>,
    /// Recipe by name.
    pub recipe: String,
    /// Camera by name.
    pub camera: String,
    /// Keep where the camera stands, which is the same for every recipe; it is forgotten too otherwise.
    #[serde(default)]
    pub keep_axis: bool,
}

/// Limits, clean plates and axes that are kept, each with the camera, the date and the turn that it came from.
#[utoipa::path(get, path = "/api/v1/calibrations", tag = "calibration",
    responses((status = 200, body = Object)))]
pub async fn list(State(api): Here) -> Json<CalibrationsView> {
    Json(api.window.calibrations().await)
}

/// Sets the limits of each camera with the session's recipe from what its frames measured.
#[utoipa::path(post, path = "/api/v1/calibrations", tag = "calibration", request_body = CalibrateBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn calibrate(api: Here, visitor: Visitor, Body(body): Body<CalibrateBody>) -> Answered {
    api.0.window.session(&visitor, &body.session).await?;
    ask(api, &visitor, body.id, Act::Calibrate { session: body.session }).await
}

/// Begins a turn that is good on purpose, to calibrate by.
#[utoipa::path(post, path = "/api/v1/calibrations/turn", tag = "calibration", request_body = RecipeBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn turn(api: Here, visitor: Visitor, Body(body): Body<RecipeBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Measure { recipe: body.recipe }).await
}

/// Takes a clean plate of every camera of a recipe: nothing is on the table and no session is open.
#[utoipa::path(post, path = "/api/v1/calibrations/plate", tag = "calibration", request_body = RecipeBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn plate(api: Here, visitor: Visitor, Body(body): Body<RecipeBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Plate { recipe: body.recipe }).await
}

/// Begins a turn with the marker board on the platter, to find out where the cameras stand.
#[utoipa::path(post, path = "/api/v1/calibrations/axis/turn", tag = "calibration", request_body = RecipeBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn axis_turn(api: Here, visitor: Visitor, Body(body): Body<RecipeBody>) -> Answered {
    ask(api, &visitor, body.id, Act::MeasureAxis { recipe: body.recipe }).await
}

/// Finds out where each camera stands against the platter's axis, from a turn with the marker board.
#[utoipa::path(post, path = "/api/v1/calibrations/axis", tag = "calibration", request_body = AxisBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn axis(api: Here, visitor: Visitor, Body(body): Body<AxisBody>) -> Answered {
    let AxisBody { id, session, board_mm, thickness_mm } = body;
    api.0.window.session(&visitor, &session).await?;
    ask(api, &visitor, id, Act::CalibrateAxis { session, board_mm, thickness_mm }).await
}

/// Forgets limits and clean plate of a camera with a recipe, and where it stands.
#[utoipa::path(post, path = "/api/v1/calibrations/forget", tag = "calibration", request_body = ForgetBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn forget(api: Here, visitor: Visitor, Body(body): Body<ForgetBody>) -> Answered {
    let ForgetBody { id, recipe, camera, keep_axis } = body;
    ask(api, &visitor, id, Act::ForgetCalibration { recipe, camera, keep_axis }).await
}
