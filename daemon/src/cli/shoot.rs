//! `demo`, `capture` and `import`: one session each, from the start command to the proof of delivery.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::Result;
use turnstage_drivers::camera::replay;
use turnstage_drivers::{DeviceOptions, sim};

use super::deliver::Desk;
use super::{Capture, Demo, Import, Place, report};
use crate::command::Act;
use crate::config::{CameraConfig, DEMO};
use crate::exit::{self, Exit};
use crate::session::SessionState;

/// Spins on the simulated rig.
pub async fn demo(place: &Place, options: Demo) -> Result<u8> {
    let mut config = place.config_or_demo()?;
    let table = config.rig.turntable.iter();
    if table
        .chain(config.rig.cameras.values().map(|camera| &camera.device))
        .any(|device| device.driver != "sim")
    {
        let why = "demo runs on simulated devices only; use capture for this configuration";
        return Err(Exit::new(exit::USAGE, why).into());
    }
    place.keep_config(DEMO);
    if let Some(object) = options.object {
        let name = toml::Value::String(object.clone());
        config.booth.object = name.clone().try_into::<sim::Object>().map_err(|_| {
            let known = "vase, car, chrome, toy";
            Exit::new(exit::USAGE, format!("there is no object \"{object}\"; there are: {known}"))
        })?;
        // A spin that is taken up later finds the same thing on the table.
        place.amend_config("booth", "object", name);
    }
    if !options.json {
        println!("Simulated rig, armed by itself. Everything is kept in {}.", place.data.display());
    }
    let mut number = 0;
    loop {
        number += 1;
        let mut desk = Desk::open(config.clone(), &place.data, options.json).await?;
        let item = format!("demo-{number}");
        let code = whole_session(&mut desk, &item, options.recipe.clone(), true, options.json).await;
        desk.close().await;
        let code = code?;
        if options.once || code != exit::OK || !another()? {
            return Ok(code);
        }
    }
}

/// Asks at the terminal; without one there is no other spin.
fn another() -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    println!("Enter shoots another spin, q ends.");
    let mut line = String::new();
    Ok(input.lock().read_line(&mut line)? > 0 && !line.trim().eq_ignore_ascii_case("q"))
}

/// One session on the configured rig.
pub async fn capture(place: &Place, options: Capture) -> Result<u8> {
    let config = place.config()?;
    place.keep_config("");
    let mut desk = Desk::open(config, &place.data, options.json).await?;
    let code = whole_session(&mut desk, &options.item, options.recipe, options.release, options.json).await;
    desk.close().await;
    code
}

/// A folder as a session.
pub async fn import(place: &Place, options: Import) -> Result<u8> {
    let mut config = place.config_or_demo()?;
    place.keep_config(DEMO);
    let listing = replay::pictures(&options.folder).map_err(|e| Exit::new(exit::NO_INPUT, e))?;
    if !options.json {
        for skipped in &listing.skipped {
            eprintln!("skipped: {}: {}", skipped.path.display(), skipped.why);
        }
    }
    config.rig.turntable = None;
    config.rig.cameras = BTreeMap::from([("import".to_owned(), folder_camera(&options.folder))]);
    let item = options.item.unwrap_or_else(|| {
        let name = options
            .folder
            .canonicalize()
            .ok()
            .and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| "import".to_owned())
    });
    let mut desk = Desk::open(config, &place.data, options.json).await?;
    let code = whole_session(&mut desk, &item, Some(options.recipe), true, options.json).await;
    desk.close().await;
    code
}

fn folder_camera(folder: &Path) -> CameraConfig {
    let mut device = DeviceOptions::new("replay");
    device.keys.insert("folder".to_owned(), toml::Value::String(folder.display().to_string()));
    CameraConfig { required: true, settings: Default::default(), device }
}

/// Start, shoot, release if asked, deliver, report.
async fn whole_session(
    desk: &mut Desk,
    item: &str,
    recipe: Option<String>,
    release: bool,
    json: bool,
) -> Result<u8> {
    let accepted = desk.ask(Act::Start { item: item.to_owned(), recipe }).await?;
    let id = accepted.session.unwrap_or_default();
    let state = desk.follow(&id).await?;
    conclude(desk, &id, state, release, json).await
}

/// What is left to do once nothing is shot any more.
pub async fn conclude(
    desk: &mut Desk,
    id: &str,
    state: SessionState,
    release: bool,
    json: bool,
) -> Result<u8> {
    if state == SessionState::Review && release {
        match desk.ask(Act::Release { accept: None }).await {
            Ok(_) => {}
            Err(e) => {
                report::session(desk, id, json).await?;
                return Err(e);
            }
        }
        desk.delivered(id).await?;
    }
    let summary = report::session(desk, id, json).await?;
    if state != SessionState::Review {
        let faults = desk.running.status.borrow().faults.clone();
        let code = match faults.first().map(|fault| fault.rule.as_str()) {
            Some("storage-fault" | "disk-full") => exit::STORAGE,
            Some(_) => exit::HARDWARE,
            None => exit::REFUSED,
        };
        return Ok(code);
    }
    match summary.undelivered() {
        0 => Ok(exit::OK),
        _ if !release => Ok(exit::OK),
        _ => Ok(exit::HARDWARE),
    }
}
