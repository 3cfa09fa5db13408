//! `check`: configuration, devices, contacts, disk and destinations, as a technician asks before the station is a service.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use axum::http::Method;
use serde::Serialize;
use turnstage_drivers::io::{self, Input, Signal};
use turnstage_drivers::turntable::{TurntableInfo, WithoutLink};

use super::answer::answer;
use super::{Place, calibrate, line as wire, settings};
use crate::calibration::shelf::Shelf;
use crate::config::{Config, Does};
use crate::emergency::{EmergencyStop, Need};
use crate::exit::{self, Exit};
use crate::io::{InputStatus, Level, OutputStatus};
use crate::listen::{self, Found};
use crate::motion::MotionTask;
use crate::recipe::{Motion, Recipes};
use crate::rig::{self, Rig};
use crate::run::backends;
use crate::status::Fault;

/// A contact says how it is within so long.
const CONTACT_LIMIT: Duration = Duration::from_secs(1);

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
    lines.extend(settings::checked(place));
    let folder = &config.recipes.folder;
    let recipes = Recipes::of(&config.recipes);
    if !folder.is_empty() && !Path::new(folder).is_dir() {
        let why = format!("{folder} is not a folder: correct recipes.folder");
        lines.push(line("recipes", exit::CONFIGURATION, Err(why)));
    }
    let default = &config.recipes.default;
    let told = recipes.get(default).map(|_| default.clone()).map_err(|e| e.to_string());
    lines.push(line("default recipe", exit::CONFIGURATION, told));
    if config.rig.turntable.is_none() && recipes.get(default).is_ok_and(|one| one.motion != Motion::None) {
        let why = format!(
            "recipe {default} turns and no table is configured: run turnstage setup, write [rig.turntable], or name a \
             recipe without motion in recipes.default"
        );
        lines.push(line("turntable", exit::CONFIGURATION, Err(why)));
    }
    for name in recipes.names() {
        let told = recipes.get(&name).map(|r| r.about).map_err(|e| e.to_string());
        lines.push(line(&format!("recipe {name}"), exit::CONFIGURATION, told));
    }
    let mut rig = devices_of(&config, &mut lines).await?;
    match wire::Line::to_running(&place.data).await {
        Some(station) => lines.extend(contacts_of_station(&config, &station).await?),
        None => contacts_of(&config, &mut lines).await?,
    }
    lines.extend(calibrate::checked(&config, &Shelf::of(&place.data), &mut rig).await);
    std::fs::create_dir_all(&place.data)
        .map_err(|e| Exit::new(exit::STORAGE, format!("{}: {e}", place.data.display())))?;
    lines.push(line("disk", exit::STORAGE, room(&config, &place.data)));
    let backends = backends(&config, &place.data);
    if backends.is_empty() {
        let why =
            "none is configured, so nothing can be shot: write [destinations.NAME], see docs/destinations.md";
        lines.push(line("destination", exit::CONFIGURATION, Err(why.to_owned())));
    }
    for backend in backends {
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
            answer!("{}", serde_json::to_string(line)?);
        } else {
            answer!("{:<4} {:<24} {}", if line.good { "ok" } else { "FAIL" }, line.what, line.told);
        }
    }
    Ok(code)
}

/// Opens every device once; the cameras are left open.
pub async fn devices_of(config: &Config, lines: &mut Vec<Line>) -> Result<Rig> {
    let around = rig::surroundings(config).map_err(|e| Exit::new(exit::CONFIGURATION, e))?;
    let mut rig = Rig::new(config, around.clone());
    rig.open().await;
    if config.rig.cameras.is_empty() {
        let why = "none is configured: run turnstage setup, or write [rig.cameras.NAME]";
        lines.push(line("camera", exit::CONFIGURATION, Err(why.to_owned())));
    }
    for camera in rig.status() {
        let told = camera.fault.map_or_else(|| Ok(camera.model), Err);
        lines.push(line(&format!("camera {}", camera.name), exit::HARDWARE, told));
    }
    if let Some(options) = &config.rig.turntable {
        let found = MotionTask::probe(options, &around).await;
        let told = found.map(|info| table(&info)).map_err(|e| e.to_string());
        lines.push(line("turntable", exit::HARDWARE, told));
    }
    Ok(rig)
}

/// What table it is, and of one that does not end its turns by itself what becomes of them without its link.
fn table(info: &TurntableInfo) -> String {
    let model = &info.model;
    match info.without_link {
        WithoutLink::Halts | WithoutLink::EndsMove => model.clone(),
        WithoutLink::RunsOn(None) => {
            format!("{model}; without its link it turns on until its power is cut by the emergency stop")
        }
        WithoutLink::RunsOn(Some(limit)) => format!(
            "{model}; without its link it turns on by up to {:.0} degrees, until its own limit ends the run (run_limit_s)",
            limit.ends_deg.ceil()
        ),
    }
}

/// Opens every input and output once, and says how each contact is.
pub async fn contacts_of(config: &Config, lines: &mut Vec<Line>) -> Result<()> {
    let around = rig::surroundings(config).map_err(|e| Exit::new(exit::CONFIGURATION, e))?;
    for (name, input) in &config.rig.inputs {
        let told = match io::open_input(name, &input.device, &around).await {
            Ok(opened) => heard(opened, input.does).await,
            Err(why) => Err(why.to_string()),
        };
        lines.push(line(&format!("input {name}"), exit::HARDWARE, told));
    }
    for (name, output) in &config.rig.outputs {
        let opened = io::open_output(name, &output.device, &around).await;
        let told = opened.map(|output| output.info().label.clone()).map_err(|why| why.to_string());
        lines.push(line(&format!("output {name}"), exit::HARDWARE, told));
    }
    lines.extend(emergency_stop(config));
    Ok(())
}

/// What an input is, and of a contact how it is: the first thing that it says.
async fn heard(mut input: Box<dyn Input>, does: Does) -> Result<String, String> {
    let label = input.info().label.clone();
    if does == Does::Scan {
        return Ok(label);
    }
    match tokio::time::timeout(CONTACT_LIMIT, input.next()).await {
        Ok(Ok(Signal::Pressed)) => Ok(contact(&label, Level::Pressed)),
        Ok(Ok(_)) => Ok(contact(&label, Level::Released)),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(format!("{label}: it is there and does not say how it is: check its wiring and keys")),
    }
}

fn contact(label: &str, level: Level) -> String {
    match level {
        Level::Pressed => format!("{label}, pressed"),
        Level::Released => format!("{label}, at rest"),
        Level::Unknown => label.to_owned(),
    }
}

/// Inputs and outputs of a running station are its own: it is asked how they are.
async fn contacts_of_station(config: &Config, station: &wire::Line) -> Result<Vec<Line>> {
    /// What is read of the state.
    #[derive(serde::Deserialize)]
    struct Contacts {
        inputs: Vec<InputStatus>,
        outputs: Vec<OutputStatus>,
    }
    let (_, bytes) = station.send(Method::GET, "/api/v1/status", None).await?;
    let now: Contacts = serde_json::from_slice(&bytes)?;
    let unknown = || Err("the running station does not know it: restart it".to_owned());
    let inputs = config.rig.inputs.keys().map(|name| {
        let found = now.inputs.iter().find(|input| input.name == *name);
        let told = found.map_or_else(unknown, |input| match &input.fault {
            None => Ok(contact(&input.device, input.level)),
            Some(why) => Err(why.clone()),
        });
        line(&format!("input {name}"), exit::HARDWARE, told)
    });
    let outputs = config.rig.outputs.keys().map(|name| {
        let found = now.outputs.iter().find(|output| output.name == *name);
        let told =
            found.map_or_else(unknown, |output| output.fault.clone().map_or(Ok(output.device.clone()), Err));
        line(&format!("output {name}"), exit::HARDWARE, told)
    });
    Ok(inputs.chain(outputs).chain(emergency_stop(config)).collect())
}

/// Whether a rig that needs a wired emergency stop declares one.
fn emergency_stop(config: &Config) -> Option<Line> {
    let stop = EmergencyStop::of(config);
    if let Some(input) = stop.input() {
        let told = format!("input {input}, to be tested each day: turnstage selftest emergency-stop");
        return Some(line("emergency stop", exit::HARDWARE, Ok(told)));
    }
    let usual = Recipes::of(&config.recipes).get(&config.recipes.default).ok();
    let need = stop.need().or_else(|| stop.needed_by(&usual?))?;
    let todo = "declare an input with does = \"emergency-stop\"";
    let told = match need {
        Need::RunsOn => format!(
            "once its link is lost, this table turns on until its power is cut: {todo}, or fit a timer that ends each run by \
             itself and declare run_limit_s, see docs/hardware.md"
        ),
        Need::Platform => format!(
            "the platform is over 1 m, or its size is not declared and such tables carry cars: declare \
             motion.platform_m, and of a large one {todo}, see docs/motion.md"
        ),
        Need::Person => format!("the default recipe has a person on the table: {todo}, see docs/motion.md"),
    };
    Some(line("emergency stop", exit::HARDWARE, Err(told)))
}

/// Whether the panel could open, or is open because the station runs.
fn panel(config: &Config, data: &Path) -> Result<String, String> {
    let Some(address) = config.panel.address() else { return Err("correct panel.listen".to_owned()) };
    let ours = Found::below(data).and_then(|found| found.address) == Some(address);
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(_) if ours => Ok(format!("open at http://{}/: the station runs", listen::typed(address))),
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
