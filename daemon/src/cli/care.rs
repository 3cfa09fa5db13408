//! `identify`, `flags` and `diagnostics`: what a person who looks after stations does at the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Subcommand;
use serde_json::json;

use super::Place;
use super::answer::answer;
use super::desk::{Desk, storage_code};
use super::service;
use crate::clock::{self, SystemClock};
use crate::diagnostics;
use crate::exit::{self, Exit};
use crate::flags::Flag;
use crate::run::{Running, Start};
use crate::status::Situation;

/// Longest wait for cameras and table before a bundle says how they are.
const DEVICES_LIMIT: Duration = Duration::from_secs(20);

/// What to do with flags.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Sets one: out-of-service (no session begins) or hold-updates (nothing is installed).
    Set {
        /// Name of the flag.
        name: String,
        /// Why, for whoever stands before the station.
        #[arg(long)]
        reason: String,
    },
    /// Clears one.
    Clear {
        /// Name of the flag.
        name: String,
    },
    /// Lists those that are set.
    List,
}

/// `identify`: the running station shows itself.
pub async fn identify(place: &Place, seconds: u32) -> Result<u8> {
    let desk = Desk::at(service::running(place).await?).await?;
    desk.post("/api/v1/identify", json!({ "seconds": seconds })).await?;
    match seconds {
        0 => answer!("It does not show itself any more."),
        _ => answer!("It shows itself for {seconds} s: green and amber by turns, and its panel says so."),
    }
    Ok(exit::OK)
}

/// `flags`.
pub async fn flags(place: &Place, what: What) -> Result<u8> {
    let desk = Desk::open(place, || place.config_of_data(), true).await?;
    let path = "/api/v1/flags";
    let flags = match what {
        What::Set { name, reason } => {
            desk.post(path, json!({ "name": name, "value": true, "reason": reason })).await?
        }
        What::Clear { name } => desk.post(path, json!({ "name": name, "value": false })).await?,
        What::List => desk.bytes(path).await?,
    };
    let flags: Vec<Flag> =
        serde_json::from_slice(&flags).context("the station's answer is not understood")?;
    desk.close().await;
    if flags.is_empty() {
        answer!("No flag is set.");
    }
    for Flag { name, actor, reason, since } in flags {
        answer!("{name}: {reason} ({actor}, since {since})");
    }
    Ok(exit::OK)
}

/// `diagnostics`: of the running station, or of what is in the data folder.
pub async fn diagnostics(place: &Place, out: Option<PathBuf>) -> Result<u8> {
    let bytes = match place.running().await {
        Some(line) => Desk::at(line).await?.bytes("/api/v1/diagnostics").await?,
        None => of_folder(place).await?,
    };
    let out = out.unwrap_or_else(|| {
        let now = clock::readable(SystemClock::new().now().wall_ms).replace([':', '-'], "");
        PathBuf::from(format!("turnstage-diagnostics-{now}.tar.gz"))
    });
    write(&out, &bytes)?;
    answer!(
        "{}: {} bytes. Its README.txt says what is inside and what was taken out.",
        out.display(),
        bytes.len()
    );
    Ok(exit::OK)
}

/// A station of this process tells of itself, whatever is wrong with it.
async fn of_folder(place: &Place) -> Result<Bytes> {
    let config = place.config_of_data()?;
    let start = Start { without_disk: true, ..Start::new(config, &place.data) };
    let running = Running::start(start).await.map_err(storage_code)?;
    let mut status = running.status.clone();
    let known = status.wait_for(|status| status.situation != Situation::Starting);
    // Devices that do not answer in time are told as that.
    drop(tokio::time::timeout(DEVICES_LIMIT, known).await);
    let bundle = diagnostics::bundle(&running.window, &place.data).await;
    running.stop().await;
    Ok(bundle.map_err(|refusal| Exit::new(exit::STORAGE, refusal))?.bytes)
}

fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(out, bytes).map_err(|error| {
        Exit::new(exit::STORAGE, format!("{} cannot be written: {error}", out.display())).into()
    })
}
