//! `demo`, `capture` and `import`: one session each, from the start command to the proof of delivery.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use turnstage_drivers::camera::replay;
use turnstage_drivers::{DeviceOptions, sim};

use super::answer::answer;
use super::desk::{Desk, asked_to_end};
use super::service::opened;
use super::{Capture, Demo, Import, Place, report};
use crate::command::Act;
use crate::config::{CameraConfig, Config, DEMO};
use crate::exit::{self, Exit};
use crate::listen;
use crate::rig;
use crate::session::SessionState;

/// Spins on the simulated rig, with the panel.
pub async fn demo(place: &Place, options: Demo) -> Result<u8> {
    place.unused().await?;
    let mut config = place.config_or_demo()?;
    if !rig::is_simulated(&config) {
        let why = "demo runs on simulated devices only; use capture for this configuration";
        return Err(Exit::new(exit::USAGE, why).into());
    }
    place.keep_config(DEMO);
    if let Some(object) = &options.object {
        put(place, &mut config, object)?;
    }
    if let Some(port) = options.port {
        config.panel.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
    }
    if !options.json {
        answer!("Simulated rig, armed by itself. Everything is kept in {}.", place.data.display());
    }
    let mut desk = Desk::start(config, &place.data, options.json).await?;
    let code = spin(place, &mut desk, &options).await;
    desk.close().await;
    code
}

/// Something else on the simulated table; a spin that is taken up later finds the same.
fn put(place: &Place, config: &mut Config, object: &str) -> Result<()> {
    let name = toml::Value::String(object.to_owned());
    config.booth.object = name.clone().try_into::<sim::Object>().map_err(|_| {
        Exit::new(
            exit::USAGE,
            format!(
                "there is no object \"{object}\"; there are: vase, car, chrome, toy, carton, plush, shoe, bottle, empty"
            ),
        )
    })?;
    place.amend_config("booth", "object", name);
    Ok(())
}

async fn spin(place: &Place, desk: &mut Desk, options: &Demo) -> Result<u8> {
    if let (false, Some(running)) = (options.once, desk.running.as_mut()) {
        let address = opened(running, &place.data).await?;
        answer!("The panel is open: http://{}/", listen::typed(address));
    }
    let number = desk.sessions().await?.len() + 1;
    let item = format!("demo-{number}");
    let shot = whole_session(desk, &item, options.recipe.clone(), true, options.json).await;
    if options.once {
        return shot;
    }
    if let Err(why) = shot {
        // An open session of an earlier run, for example: the panel shows it and offers what can be done.
        eprintln!("turnstage: {why:#}");
        answer!("Finish it in the panel: continue, release or end the session.");
    }
    answer!("The panel stays open for the next spin. Ctrl-C ends.");
    let died = desk.running.as_mut().map(|running| running.died());
    tokio::select! {
        asked = asked_to_end() => asked.map(|()| exit::OK),
        died = async { match died { Some(died) => died.await, None => std::future::pending().await } } => {
            Err(Exit::new(exit::TASK_DIED, died).into())
        }
    }
}

/// One session on the configured rig.
pub async fn capture(place: &Place, options: Capture) -> Result<u8> {
    let config = || {
        let config = place.config()?;
        place.keep_config("");
        Ok(config)
    };
    let mut desk = Desk::open(place, config, options.json).await?;
    desk.arm(options.armed).await?;
    let code = whole_session(&mut desk, &options.item, options.recipe, options.release, options.json).await;
    desk.close().await;
    code
}

/// A folder as a session, shot by a replay camera in this process.
pub async fn import(place: &Place, options: Import) -> Result<u8> {
    place.unused().await?;
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
    let mut desk = Desk::start(config, &place.data, options.json).await?;
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
        let faults = desk.status().await?.faults;
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
