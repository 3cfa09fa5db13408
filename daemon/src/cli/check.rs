//! `check` and `devices`: what a technician asks before the station is a service.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::{Place, calibrate};
use crate::calibration::shelf::Shelf;
use crate::config::Config;
use crate::exit::{self, Exit};
use crate::listen::{self, Found};
use crate::motion::MotionTask;
use crate::recipe::Recipes;
use crate::rig::{self, Rig};
use crate::run::backends;
use crate::status::Fault;

/// One line of `check`.
#[derive(Debug, Serialize)]
pub struct Line {
    /// What was looked at.
    pub what: String,
    /// It is as it should be.
    pub good: bool,
    /// What was found, or what to do.
    pub told: String,
    /// Exit code if it is not good.
    #[serde(skip)]
    pub code: u8,
}

/// Checks everything and says what to do; the first failing exit code.
pub async fn check(place: &Place, json: bool) -> Result<u8> {
    let config = place.config()?;
    let mut lines = vec![line("configuration", exit::CONFIGURATION, Ok("every key is good".to_owned()))];
    let folder = &config.recipes.folder;
    let recipes = Recipes::of(&config.recipes);
    if !folder.is_empty() && !Path::new(folder).is_dir() {
        let why = format!("{folder} is not a folder: correct recipes.folder");
        lines.push(line("recipes", exit::CONFIGURATION, Err(why)));
    }
    let default = &config.recipes.default;
    let told = recipes.get(default).map(|_| default.clone()).map_err(|e| e.to_string());
    lines.push(line("default recipe", exit::CONFIGURATION, told));
    for name in recipes.names() {
        let told = recipes.get(&name).map(|r| r.about).map_err(|e| e.to_string());
        lines.push(line(&format!("recipe {name}"), exit::CONFIGURATION, told));
    }
    let mut rig = devices_of(&config, &mut lines).await?;
    lines.extend(calibrate::checked(&config, &Shelf::of(&place.data), &mut rig).await);
    std::fs::create_dir_all(&place.data)
        .map_err(|e| Exit::new(exit::STORAGE, format!("{}: {e}", place.data.display())))?;
    lines.push(line("disk", exit::STORAGE, room(&config, &place.data)));
    for backend in backends(&config, &place.data) {
        let told = backend.ready().await.map(|()| "there".to_owned()).map_err(|e| e.to_string());
        lines.push(line(&format!("destination {}", backend.name()), exit::HARDWARE, told));
    }
    lines.push(line("panel", exit::HARDWARE, panel(&config, &place.data)));
    print(&lines, json)
}

/// Prints every line; the exit code of the first that failed.
pub(super) fn print(lines: &[Line], json: bool) -> Result<u8> {
    let code = lines.iter().find(|line| !line.good).map_or(exit::OK, |line| line.code);
    for line in lines {
        if json {
            println!("{}", serde_json::to_string(line)?);
        } else {
            println!("{:<4} {:<24} {}", if line.good { "ok" } else { "FAIL" }, line.what, line.told);
        }
    }
    Ok(code)
}

/// Opens every device once; the cameras are left open.
pub async fn devices_of(config: &Config, lines: &mut Vec<Line>) -> Result<Rig> {
    let around = rig::surroundings(config).map_err(|e| Exit::new(exit::CONFIGURATION, e))?;
    let mut rig = Rig::new(config, around.clone());
    rig.open().await;
    for camera in rig.status() {
        let told = camera.fault.map_or_else(|| Ok(camera.model), Err);
        lines.push(line(&format!("camera {}", camera.name), exit::HARDWARE, told));
    }
    if let Some(options) = &config.rig.turntable {
        let found = MotionTask::probe(options, &around).await;
        let told = found.map(|info| info.model).map_err(|e| e.to_string());
        lines.push(line("turntable", exit::HARDWARE, told));
    }
    Ok(rig)
}

/// Whether the panel could open, or is open because the station runs.
fn panel(config: &Config, data: &Path) -> Result<String, String> {
    let Some(address) = config.panel.address() else { return Err("correct panel.listen".to_owned()) };
    let ours = Found::below(data).and_then(|found| found.address) == Some(address);
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(_) if ours => Ok(format!("open at http://{address}/: the station runs")),
        Err(error) => {
            let Fault { what, todo, .. } = listen::taken(address, &error);
            Err(format!("{what}. {todo}"))
        }
    }
}

fn room(config: &Config, data: &Path) -> Result<String, String> {
    let disk = rustix::fs::statvfs(data).map_err(|e| e.to_string())?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let pictures = free.saturating_sub(config.storage.free_bytes_hard) / config.storage.frame_bytes;
    let told = format!("{:.1} GB free, room for {pictures} pictures", free as f64 / 1e9);
    if pictures > 0 { Ok(told) } else { Err(format!("{told}: make room, or lower storage.free_bytes_hard")) }
}

pub(super) fn line(what: &str, code: u8, result: Result<String, String>) -> Line {
    let good = result.is_ok();
    Line { what: what.to_owned(), good, told: result.unwrap_or_else(|why| why), code }
}
