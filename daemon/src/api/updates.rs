//! Updates of the system over the interface. For those who look after the station.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use turnstage_cloud_sync::Sha256;
use utoipa::ToSchema;

use super::commands::Plain;
use super::problem::Problem;
use super::{Body, Here};
use crate::access::Visitor;
use crate::command::Refusal;
use crate::update::{By, Phase, Request, SlotVersions};

/// How far the update is, and what is in the slots.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct UpdateView {
    /// How far.
    pub phase: Phase,
    /// Version that was asked for last.
    pub version: Option<String>,
    /// Where from.
    pub url: Option<String>,
    /// Who asked.
    pub actor: Option<String>,
    /// The system's slots; none where it is not updated by RAUC.
    pub slots: SlotVersions,
}

/// A bundle to install.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// `https://…`, or `file:///…` of this machine.
    pub url: String,
    /// SHA-256 of the bundle, 64 hex digits.
    pub sha256: String,
    /// Its bytes, where they are known.
    pub size_bytes: Option<u64>,
    /// The version that it holds.
    pub version: String,
    /// Reboot into it once it is installed; true if absent.
    pub reboot: Option<bool>,
}

/// Why the machine is rebooted.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebootBody {
    /// See [`Plain::id`].
    pub id: Option<String>,
    /// For the log.
    pub reason: String,
}

type Told = Result<Json<UpdateView>, Problem>;

fn by(visitor: &Visitor, id: Option<String>) -> By {
    let command = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    By { actor: visitor.actor.clone(), command }
}

fn told(State(api): &Here) -> Json<UpdateView> {
    let updates = api.window.updates();
    let state = updates.state().borrow().clone();
    let request = state.request;
    Json(UpdateView {
        phase: state.phase,
        version: request.as_ref().map(|request| request.version.clone()),
        // What stands behind the ? of an address may be a secret.
        url: request.as_ref().map(|request| request.url.split('?').next().unwrap_or_default().to_owned()),
        actor: request.map(|request| request.actor.0),
        slots: updates.versions(),
    })
}

/// Tells how far the update is.
#[utoipa::path(get, path = "/api/v1/update", tag = "update", responses((status = 200, body = UpdateView)))]
pub async fn update(api: Here) -> Told {
    Ok(told(&api))
}

/// Begins an update: it is fetched at once, and installed when nobody works with the station.
#[utoipa::path(post, path = "/api/v1/update/install", tag = "update", request_body = InstallBody,
    responses((status = 200, body = UpdateView), (status = "4XX", body = Problem)))]
pub async fn install(api: Here, visitor: Visitor, Body(body): Body<InstallBody>) -> Told {
    let InstallBody { id, url, sha256, size_bytes, version, reboot } = body;
    let sha256 = Sha256::try_from(sha256).map_err(|why| Refusal::new("update-hash", format!("{why}.")))?;
    let By { actor, command } = by(&visitor, id);
    let reboot = reboot.unwrap_or(true);
    let request = Request { url, sha256, size_bytes, version, reboot, actor, command };
    api.0.window.updates().ask(request).await?;
    Ok(told(&api))
}

/// Gives up an update that is not being installed yet.
#[utoipa::path(post, path = "/api/v1/update/cancel", tag = "update", request_body = Plain,
    responses((status = 200, body = UpdateView), (status = "4XX", body = Problem)))]
pub async fn cancel(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Told {
    api.0.window.updates().cancel(by(&visitor, body.id)).await?;
    Ok(told(&api))
}

/// Tells the bootloader that the running system is good, whatever its self-test says.
#[utoipa::path(post, path = "/api/v1/update/mark-good", tag = "update", request_body = Plain,
    responses((status = 200, body = UpdateView), (status = "4XX", body = Problem)))]
pub async fn mark_good(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Told {
    api.0.window.updates().mark_good(by(&visitor, body.id)).await?;
    Ok(told(&api))
}

/// Boots the other system. Refused while a session is open.
#[utoipa::path(post, path = "/api/v1/update/rollback", tag = "update", request_body = Plain,
    responses((status = 200, body = UpdateView), (status = "4XX", body = Problem)))]
pub async fn rollback(api: Here, visitor: Visitor, Body(body): Body<Plain>) -> Told {
    api.0.window.updates().rollback(by(&visitor, body.id)).await?;
    Ok(told(&api))
}

/// Reboots the machine. Refused while a session is open or an update is being written.
#[utoipa::path(post, path = "/api/v1/update/reboot", tag = "update", request_body = RebootBody,
    responses((status = 200, body = UpdateView), (status = "4XX", body = Problem)))]
pub async fn reboot(api: Here, visitor: Visitor, Body(body): Body<RebootBody>) -> Told {
    api.0.window.updates().reboot(&body.reason, by(&visitor, body.id)).await?;
    Ok(told(&api))
}
