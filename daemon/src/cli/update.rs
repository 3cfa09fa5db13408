//! `update`: how far an update of the system is, and what a technician does about it.

use anyhow::Result;
use axum::http::Method;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Place;
use super::answer::answer;
use super::desk::Desk;
use crate::api::UpdateView;
use crate::exit;
use crate::update::Phase;

/// What to do about updates.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Tells how far the update is, and the versions of the system's slots.
    Status {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Fetches a bundle, and installs it when nobody works with the station.
    Install {
        /// https://… or file:///… of this machine.
        url: String,
        /// SHA-256 of the bundle.
        #[arg(long, value_name = "HEX")]
        sha256: String,
        /// The version that it holds.
        #[arg(long = "version", value_name = "VERSION")]
        holds: String,
        /// Do not reboot by itself once it is installed.
        #[arg(long)]
        no_reboot: bool,
    },
    /// Gives up an update that is not being installed yet.
    Cancel,
    /// Tells the bootloader that the running system is good, whatever its self-test says.
    MarkGood,
    /// Boots the other system.
    Rollback,
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    let desk = Desk::at(super::service::running(place).await?).await?;
    let path = |name: &str| format!("/api/v1/update/{name}");
    let view = match what {
        What::Status { json: true } => {
            let view: UpdateView = desk.get("/api/v1/update").await?;
            answer!("{}", serde_json::to_string(&view)?);
            return Ok(exit::OK);
        }
        What::Status { json: false } => desk.get("/api/v1/update").await?,
        What::Install { url, sha256, holds, no_reboot } => {
            let body = json!({ "url": url, "sha256": sha256, "version": holds, "reboot": !no_reboot });
            post(&desk, &path("install"), body).await?
        }
        What::Cancel => post(&desk, &path("cancel"), json!({})).await?,
        What::MarkGood => post(&desk, &path("mark-good"), json!({})).await?,
        What::Rollback => post(&desk, &path("rollback"), json!({})).await?,
    };
    lines(&view).iter().for_each(|line| answer!("{line}"));
    Ok(exit::OK)
}

async fn post(desk: &Desk, path: &str, body: Value) -> Result<UpdateView> {
    Ok(serde_json::from_slice(&desk.send(Method::POST, path, body).await?)?)
}

/// The update in a sentence, then one line a slot.
fn lines(view: &UpdateView) -> Vec<String> {
    let version = view.version.as_deref().unwrap_or_default();
    let said = match &view.phase {
        Phase::Idle => "No update is under way.".to_owned(),
        Phase::Waiting { rule, reason } => format!("Update {version}: {reason} ({rule})"),
        Phase::Fetching { bytes, of: Some(of) } => {
            format!("Update {version}: fetched {bytes} of {of} bytes.")
        }
        Phase::Fetching { bytes, of: None } => format!("Update {version}: fetched {bytes} bytes."),
        Phase::Installing { percent, message } => {
            format!("Update {version} is being installed: {percent} % {message}")
        }
        Phase::RebootPending => format!("Update {version} is installed; the next boot is into it."),
        Phase::Proving { .. } => format!("Update {version} was booted and is being tested."),
        Phase::Good => format!("Update {version} works."),
        Phase::Failed { rule, reason } => format!("Update {version} was not installed: {reason} ({rule})"),
        Phase::RolledBack { reasons, .. } => {
            format!("Update {version} was rolled back: {}.", reasons.join("; "))
        }
    };
    let slot = |slot: &crate::update::Slot| {
        let version = if slot.version.is_empty() { "version unknown" } else { &slot.version };
        format!("{:<12} {:<9} {:<5} {version}", slot.name, slot.state, slot.boot_status)
    };
    let none = "This system is not updated by RAUC.".to_owned();
    let mut lines = vec![said];
    match view.slots.slots.is_empty() {
        true => lines.push(none),
        false => lines.extend(view.slots.slots.iter().map(slot)),
    }
    lines
}
