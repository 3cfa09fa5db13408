//! What may be asked of the station, one endpoint each. The answer comes when it is accepted and on record.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Body, Here};
use crate::access::Visitor;
use crate::command::{Accepted, Act, Override, Refusal, Which};

pub(super) type Answered = Result<Json<Accepted>, Problem>;

/// A command without anything to say.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// Chosen by the sender; the same id again gets the same answer and no second effect.
    pub id: Option<String>,
}

/// See [`Act::Start`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// VIN, barcode or number of what stands on the table.
    pub item: String,
    /// Recipe by name; the configured one if absent.
    pub recipe: Option<String>,
}

/// See [`Act::Resume`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// An interrupted session to take up; the current one if absent.
    pub session: Option<String>,
    /// Shoot the whole turn anew; what was taken stays as history.
    #[serde(default)]
    pub anew: bool,
    /// Agree to the place of the platter that a comparison of frames found.
    #[serde(default)]
    pub confirm: bool,
}

/// See [`Act::Retake`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetakeBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// `"flagged"`, or `{ "frames": [17, 41] }`.
    pub which: Which,
}

/// See [`Act::Release`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// Accept flagged or missing frames by name and reason; not for operators.
    pub accept: Option<Override>,
}

/// See [`Act::MoveItem`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveItemBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// The right item.
    pub item: String,
}

/// See [`Act::Open`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// Its id.
    pub session: String,
}

/// See [`Act::Requeue`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequeueBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// Only this session's, or all.
    pub session: Option<String>,
}

/// See [`Act::ResetCamera`].
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetCameraBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// Name in the rig.
    pub camera: String,
}

/// See [`Act::Arm`].
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// What the rig's own display shows; needed from everywhere else.
    pub code: Option<String>,
}

/// See [`Act::Answer`].
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// Number of the question; the one asked now if absent.
    pub number: Option<u64>,
}

pub(super) async fn ask(State(api): Here, visitor: &Visitor, id: Option<String>, act: Act) -> Answered {
    let busy = || Refusal::new("station-busy", "The station did not answer in time. Repeat it in a moment.");
    let answer = tokio::time::timeout(act.answer_limit(), api.window.ask(id, visitor, act)).await;
    Ok(Json(answer.map_err(|_| busy())??))
}

/// Begins a session and shoots it.
#[utoipa::path(post, path = "/api/v1/commands/start", tag = "commands", request_body = StartBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn start(api: Here, visitor: Visitor, Body(body): Body<StartBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Start { item: body.item, recipe: body.recipe }).await
}

/// Finishes the shot at hand, then waits.
#[utoipa::path(post, path = "/api/v1/commands/pause", tag = "commands", request_body = Plain,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn pause(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Answered {
    ask(api, &visitor, body.id, Act::Pause).await
}

/// Goes on after a pause, a stop, a fault or a power cut; the table is referenced first if it must be.
#[utoipa::path(post, path = "/api/v1/commands/resume", tag = "commands", request_body = ResumeBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn resume(api: Here, visitor: Visitor, Body(body): Body<ResumeBody>) -> Answered {
    let ResumeBody { id, session, anew, confirm } = body;
    if let Some(session) = &session {
        api.0.window.session(&visitor, session).await?;
    }
    ask(api, &visitor, id, Act::Resume { session, anew, confirm }).await
}

/// Halts the table now; the session pauses. Not a safety circuit: the hardware stop stays the hardware's.
#[utoipa::path(post, path = "/api/v1/commands/stop", tag = "commands", request_body = Plain,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn stop(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Answered {
    ask(api, &visitor, body.id, Act::Stop).await
}

/// Ends the session without release; its pictures stay on the station and are not delivered.
#[utoipa::path(post, path = "/api/v1/commands/abort", tag = "commands", request_body = Plain,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn abort(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Answered {
    ask(api, &visitor, body.id, Act::Abort).await
}

/// Shoots frames again at exactly their angles.
#[utoipa::path(post, path = "/api/v1/commands/retake", tag = "commands", request_body = RetakeBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn retake(api: Here, visitor: Visitor, Body(body): Body<RetakeBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Retake { which: body.which }).await
}

/// Lets the pictures go to their destinations.
#[utoipa::path(post, path = "/api/v1/commands/release", tag = "commands", request_body = ReleaseBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn release(api: Here, visitor: Visitor, Body(body): Body<ReleaseBody>) -> Answered {
    if body.accept.is_some() && !visitor.role.accepts() {
        let reason =
            "An operator does not accept flagged frames. Ask a reviewer or technician to keep them by name.";
        return Err(Refusal::new("role-not-allowed", reason).into());
    }
    ask(api, &visitor, body.id, Act::Release { accept: body.accept }).await
}

/// The session is about another item: a wrong number was scanned.
#[utoipa::path(post, path = "/api/v1/commands/move-item", tag = "commands", request_body = MoveItemBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn move_item(api: Here, visitor: Visitor, Body(body): Body<MoveItemBody>) -> Answered {
    ask(api, &visitor, body.id, Act::MoveItem { item: body.item }).await
}

/// Opens a session of the past as the current one, to retake, release, move or abort it.
#[utoipa::path(post, path = "/api/v1/commands/open", tag = "commands", request_body = OpenBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn open(api: Here, visitor: Visitor, Body(body): Body<OpenBody>) -> Answered {
    api.0.window.session(&visitor, &body.session).await?;
    ask(api, &visitor, body.id, Act::Open { session: body.session }).await
}

/// Sends parked pictures once more.
#[utoipa::path(post, path = "/api/v1/commands/requeue", tag = "commands", request_body = RequeueBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn requeue(api: Here, visitor: Visitor, Body(body): Body<RequeueBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Requeue { session: body.session }).await
}

/// Begins a new baseline for a camera: its lens was cleaned, or it was exchanged.
#[utoipa::path(post, path = "/api/v1/commands/reset-camera", tag = "commands", request_body = ResetCameraBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn reset_camera(api: Here, visitor: Visitor, Body(body): Body<ResetCameraBody>) -> Answered {
    ask(api, &visitor, body.id, Act::ResetCamera { camera: body.camera }).await
}

/// Allows motion of a real table for some minutes. From the rig's own display, or with the code that it shows.
#[utoipa::path(post, path = "/api/v1/commands/arm", tag = "commands", request_body = ArmBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn arm(api: Here, visitor: Visitor, Body(body): Body<ArmBody>) -> Answered {
    if !visitor.at_rig() && !api.0.window.config().panel.own_display {
        let reason = "This station has no display of its own (panel.own_display). Go to the rig and arm it by its key or \
                      pedal.";
        return Err(Refusal::new("arm-no-display", reason).into());
    }
    if !visitor.at_rig() && body.code.is_none() {
        let reason = "Arming is the act of a person at the rig: enter the code that its display shows.";
        return Err(Refusal::new("arm-code-missing", reason).into());
    }
    ask(api, &visitor, body.id, Act::Arm { code: body.code }).await
}

/// Allows motion no more; where a session runs the table stops at once.
#[utoipa::path(post, path = "/api/v1/commands/disarm", tag = "commands", request_body = Plain,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn disarm(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Answered {
    ask(api, &visitor, body.id, Act::Disarm).await
}

/// Begins the daily test of the wired emergency stop: a person at the rig presses it within a minute, then releases it.
/// The status says what is waited for, and whether it passed.
#[utoipa::path(post, path = "/api/v1/commands/test-emergency-stop", tag = "commands", request_body = Plain,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn test_emergency_stop(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Answered {
    ask(api, &visitor, body.id, Act::TestEmergencyStop).await
}

/// Says that a manual table stands where it was asked for.
#[utoipa::path(post, path = "/api/v1/commands/answer", tag = "commands", request_body = AnswerBody,
    responses((status = 200, body = Accepted), (status = "4XX", body = Problem)))]
pub async fn answer(api: Here, visitor: Visitor, Body(body): Body<AnswerBody>) -> Answered {
    ask(api, &visitor, body.id, Act::Answer { number: body.number }).await
}
