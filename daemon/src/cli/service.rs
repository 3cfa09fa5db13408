//! `run`, `check` and `devices`: the station as a service, and what a technician asks before it is one.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use turnstage_drivers::{Listing, camera, turntable};

use super::deliver::storage_code;
use super::{LAST_GOOD, Place};
use crate::config::{Config, ConfigError};
use crate::exit::{self, Exit};
use crate::motion::MotionTask;
use crate::recipe::Recipes;
use crate::rig::{self, Rig};
use crate::run::{Running, Start, backends};
use crate::station::SAFE_MODE;
use crate::status::{Fault, Situation, Status};
use crate::systemd;

/// The state now, below the data folder, for who cannot ask the daemon.
const STATUS: &str = "status.json";

/// Runs until a signal or until a task dies.
pub async fn run(place: &Place, strict: bool) -> Result<u8> {
    let (config, locked, told) = match Config::load(place.config.as_deref()) {
        Ok(config) => {
            place.keep_config("");
            (config, Vec::new(), Vec::new())
        }
        Err(e) if strict => return Err(Exit::new(exit::CONFIGURATION, e).into()),
        Err(e) => safe_mode(place, &e)?,
    };
    if strict {
        let mut lines = Vec::new();
        check_devices(&config, &mut lines).await?;
        if let Some(line) = lines.iter().find(|line| !line.good) {
            return Err(Exit::new(line.code, format!("{}: {}", line.what, line.told)).into());
        }
    }
    let start = Start { config, data: &place.data, locked, told, without_disk: !strict };
    let mut running = Running::start(start).await.map_err(storage_code)?;
    if let Some(opened) = &running.opened {
        opened.sentences().for_each(|sentence| tracing::info!("{sentence}"));
    }
    systemd::notify(&[NotifyState::Ready]);
    let code = serve(place, &mut running).await;
    systemd::notify(&[NotifyState::Stopping]);
    let mut off = running.window.status().await;
    running.stop().await;
    off.tell(Situation::Off);
    tell(&place.data, &off);
    code
}

async fn serve(place: &Place, running: &mut Running) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut restart = signal(SignalKind::hangup())?;
    let mut changes = running.window.changes();
    let fed = systemd::watchdog();
    let mut feed = tokio::time::interval(fed.map_or(Duration::from_secs(3600), |limit| limit / 3));
    loop {
        tell(&place.data, &running.window.status().await);
        tokio::select! {
            _ = terminate.recv() => return Ok(exit::OK),
            _ = interrupt.recv() => return Ok(exit::OK),
            _ = restart.recv() => return Ok(exit::RESTART),
            // Its sender lives in the station task.
            changed = changes.next() => if !changed {
                return Ok(exit::TASK_DIED);
            },
            died = running.died() => {
                tracing::error!(died, "restart");
                return Ok(exit::TASK_DIED);
            }
            _ = feed.tick(), if fed.is_some() => {
                if running.is_alive().await {
                    systemd::notify(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// Keeps the whole state as a file and repeats the two lines to the service manager.
fn tell(data: &Path, status: &Status) {
    let line = format!("{} {}", status.sentence, status.detail);
    let written = serde_json::to_vec_pretty(status).map_err(std::io::Error::from).and_then(|json| {
        std::fs::create_dir_all(data)?;
        let new = data.join(format!("{STATUS}.tmp"));
        std::fs::write(&new, json)?;
        std::fs::rename(new, data.join(STATUS))
    });
    if let Err(e) = written {
        tracing::warn!(error = %e, line, "the status file is not written");
    }
    systemd::notify(&[NotifyState::Status(&line)]);
}

/// What the service runs on when its configuration cannot be used: configuration, what closes capture, what is told.
type Fallback = (Config, Vec<Fault>, Vec<Fault>);

/// The last good configuration, which goes on capturing, or the defaults, which do not: a station that never had a
/// good configuration does not know its owner.
fn safe_mode(place: &Place, error: &ConfigError) -> Result<Fallback> {
    let last = place.data.join(LAST_GOOD);
    let kept = std::fs::read_to_string(&last).ok();
    // The environment itself may be what is wrong: without it the kept text may load.
    let good = kept.as_ref().and_then(|text| {
        let alone = || Config::from_text(Some((LAST_GOOD, text)), Vec::new());
        Config::load(Some(&last)).or_else(|_| alone()).ok()
    });
    tracing::error!(%error, "safe mode");
    let problems: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    let why = match good {
        Some(_) => "The last settings that worked are in use.",
        None => "Nothing is captured: no settings ever worked on this station.",
    };
    let fault = Fault::new(
        SAFE_MODE,
        format!("Safe mode, the settings cannot be used: {}", problems.join("; ")),
        why,
        "Correct the named keys, then restart the station.",
    );
    match good {
        Some(config) => Ok((config, Vec::new(), vec![fault])),
        None => Ok((Config::from_text(None, Vec::new())?, vec![fault], Vec::new())),
    }
}

/// One line of `check`.
#[derive(Debug, Serialize)]
struct Line {
    what: String,
    good: bool,
    told: String,
    #[serde(skip)]
    code: u8,
}

/// Checks everything and says what to do; the first failing exit code.
pub async fn check(place: &Place, json: bool) -> Result<u8> {
    let config = place.config()?;
    let mut lines = vec![line("configuration", exit::CONFIGURATION, Ok("every key is good".to_owned()))];
    let folder = &config.recipes.folder;
    let recipes = Recipes::new((!folder.is_empty()).then(|| Path::new(folder)));
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
    check_devices(&config, &mut lines).await?;
    std::fs::create_dir_all(&place.data)
        .map_err(|e| Exit::new(exit::STORAGE, format!("{}: {e}", place.data.display())))?;
    lines.push(line("disk", exit::STORAGE, room(&config, &place.data)));
    for backend in backends(&config, &place.data) {
        let told = backend.ready().await.map(|()| "there".to_owned()).map_err(|e| e.to_string());
        lines.push(line(&format!("destination {}", backend.name()), exit::HARDWARE, told));
    }
    let code = lines.iter().find(|line| !line.good).map_or(exit::OK, |line| line.code);
    for line in &lines {
        if json {
            println!("{}", serde_json::to_string(line)?);
        } else {
            println!("{:<4} {:<24} {}", if line.good { "ok" } else { "FAIL" }, line.what, line.told);
        }
    }
    Ok(code)
}

async fn check_devices(config: &Config, lines: &mut Vec<Line>) -> Result<()> {
    let around = rig::surroundings(config).map_err(|e| Exit::new(exit::CONFIGURATION, e))?;
    let mut rig = Rig::new(config, around.clone());
    rig.open().await;
    for camera in rig.status() {
        let told = camera.fault.map_or_else(|| Ok(camera.model), Err);
        lines.push(line(&format!("camera {}", camera.name), exit::HARDWARE, told));
    }
    if let Some(options) = &config.rig.turntable {
        let told = MotionTask::probe(options, &around).await.map_err(|e| e.to_string());
        lines.push(line("turntable", exit::HARDWARE, told));
    }
    Ok(())
}

fn room(config: &Config, data: &Path) -> Result<String, String> {
    let disk = rustix::fs::statvfs(data).map_err(|e| e.to_string())?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let pictures = free.saturating_sub(config.storage.free_bytes_hard) / config.storage.frame_bytes;
    let told = format!("{:.1} GB free, room for {pictures} pictures", free as f64 / 1e9);
    if pictures > 0 { Ok(told) } else { Err(format!("{told}: make room, or lower storage.free_bytes_hard")) }
}

fn line(what: &str, code: u8, result: Result<String, String>) -> Line {
    let good = result.is_ok();
    Line { what: what.to_owned(), good, told: result.unwrap_or_else(|why| why), code }
}

/// Drivers and what they find.
pub fn devices(json: bool) -> Result<u8> {
    let tables = turntable::DRIVERS.iter().map(|d| ("turntable", d.name, d.about, (d.list)()));
    let cameras = camera::DRIVERS.iter().map(|d| ("camera", d.name, d.about, (d.list)()));
    for (kind, name, about, found) in tables.chain(cameras) {
        if json {
            println!(
                "{}",
                serde_json::json!({ "kind": kind, "driver": name, "about": about, "found": found })
            );
            continue;
        }
        println!("{kind:<10} {name:<8} {about}");
        for Listing { id, label, problem, .. } in found {
            println!("{:<19} {id}  {label}{}", "", problem.map(|p| format!("  ({p})")).unwrap_or_default());
        }
    }
    Ok(exit::OK)
}
