//! `run`, `status` and `stop`: the station as a service, and how it is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::http::Method;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use turnstage_drivers::link;

use super::answer::answer;
use super::desk::{Desk, Now, TableNow, storage_code};
use super::line::Line;
use super::{Place, check};
use crate::command::Act;
use crate::config::{Config, ConfigError};
use crate::exit::{self, Exit};
use crate::fleet::desired::Keeper;
use crate::listen::{self, Found};
use crate::restart::Step;
use crate::run::{Running, Start};
use crate::session::SessionState;
use crate::station::SAFE_MODE;
use crate::status::{Fault, SessionStatus};
use crate::systemd;
use crate::words::Language;

/// Runs until a signal or until a task dies.
pub async fn run(place: &Place, strict: bool) -> Result<u8> {
    let keeper = Arc::new(place.keeper());
    let (config, locked, told) = match keeper.begin() {
        Ok(config) => (config, Vec::new(), Vec::new()),
        Err(e) if strict => return Err(Exit::new(exit::CONFIGURATION, e).into()),
        Err(e) => safe_mode(&keeper, &e)?,
    };
    if strict {
        let mut lines = Vec::new();
        check::devices_of(&config, &mut lines).await?;
        check::contacts_of(&config, &mut lines).await?;
        if let Some(line) = lines.iter().find(|line| !line.good) {
            return Err(Exit::new(line.code, format!("{}: {}", line.what, line.told)).into());
        }
    }
    let good = locked.is_empty() && told.is_empty();
    let start = Start { config, data: &place.data, locked, told, without_disk: !strict };
    let mut running = Running::start(start).await.map_err(storage_code)?;
    // The folder is this station's now; what is in use in safe mode is what is kept already.
    if good {
        place.keep_config("");
    }
    if let Some(opened) = &running.opened {
        opened.sentences().for_each(|sentence| tracing::info!("{sentence}"));
    }
    running.update();
    if strict {
        opened(&mut running, &place.data).await?;
    } else {
        running.open(&place.data);
    }
    running.keep_configured(keeper.clone());
    running.join(&place.data, keeper);
    systemd::notify(&[NotifyState::Ready]);
    let code = serve(&mut running).await;
    systemd::notify(&[NotifyState::Stopping]);
    running.stop().await;
    code
}

/// Opens the panel and waits for its address; one that cannot be had is exit 69.
pub async fn opened(running: &mut Running, data: &Path) -> Result<SocketAddr> {
    let mut found = running.open(data);
    let mut changes = running.window.changes();
    loop {
        if let Some(fault) = running.panel_fault() {
            return Err(Exit::new(exit::HARDWARE, format!("{}. {}", fault.what, fault.todo)).into());
        }
        if let Some(address) = found.borrow_and_update().address {
            return Ok(address);
        }
        tokio::select! {
            changed = found.changed() => changed?,
            _ = changes.next() => {}
        }
    }
}

/// The station that runs, or exit 66.
pub(super) async fn running(place: &Place) -> Result<Line> {
    let none = || {
        let data = place.data.display();
        let todo = "start one with turnstage run, or name its folder with --data-dir";
        Exit::new(exit::NO_INPUT, format!("no station runs on {data}: {todo}"))
    };
    place.running().await.ok_or_else(|| none().into())
}

/// `status`: the two lines and what is wrong, or the whole state.
pub async fn status(place: &Place, json: bool) -> Result<u8> {
    let (_, bytes) = running(place).await?.send(Method::GET, "/api/v1/status", None).await?;
    if json {
        answer!("{}", String::from_utf8_lossy(&bytes));
        return Ok(exit::OK);
    }
    let now: Now = serde_json::from_slice(&bytes)?;
    answer!("{}\n{}", now.sentence, now.detail);
    if let Some(address) = Found::below(&place.data).and_then(|found| found.address) {
        answer!("Panel: http://{}/", listen::typed(address));
    }
    for fault in &now.faults {
        answer!(
            "\n{} ({})\n  why it matters: {}\n  what to do: {}",
            fault.what,
            fault.rule,
            fault.why,
            fault.todo
        );
    }
    // The first one may be what the two lines say already.
    let drifts = now.drifts.iter().map(|drift| Language::En.drift(drift));
    for drift in drifts.filter(|drift| drift.first != now.sentence) {
        answer!("\n{}\n  what to do: {}", drift.first, drift.second);
    }
    Ok(exit::OK)
}

/// `stop`: the table halts.
pub async fn stop(place: &Place) -> Result<u8> {
    let body = Some(serde_json::json!({}));
    let line = running(place).await?;
    let (status, bytes) = line.send(Method::POST, "/api/v1/commands/stop", body).await?;
    if !status.is_success() {
        return Err(Exit::new(exit::REFUSED, String::from_utf8_lossy(&bytes)).into());
    }
    // The table halted at once; the session notes it a moment later.
    let halted = async {
        loop {
            let (_, bytes) = line.send(Method::GET, "/api/v1/status", None).await?;
            let now: Now = serde_json::from_slice(&bytes)?;
            let shooting = |session: &SessionStatus| session.state == SessionState::Shooting;
            // A table that cannot be stopped has a fault from then on.
            let ended = |table: &TableNow| (table.stopped && !table.moving) || table.fault.is_some();
            if !now.session.as_ref().is_some_and(shooting) && now.table.as_ref().is_none_or(ended) {
                return anyhow::Ok(now);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let Ok(now) = tokio::time::timeout(Duration::from_secs(10), halted).await else {
        let why = "the stop was handed over, and the table still moves after 10 s: stop it by its own switch";
        return Err(Exit::new(exit::HARDWARE, why).into());
    };
    told_of(&now?)
}

/// What became of a stop.
fn told_of(now: &Now) -> Result<u8> {
    let Some(table) = &now.table else {
        answer!("This rig has no table. What was being shot has stopped.");
        return Ok(exit::OK);
    };
    // What was not stopped is told as that, never as a stop.
    if let Some(why) = &table.fault {
        let why = format!("the table may not have stopped: {why} Stop it by its own switch");
        return Err(Exit::new(exit::HARDWARE, why).into());
    }
    answer!("Stopped: the table, not the station. Look at the table, then continue at the rig.");
    Ok(exit::OK)
}

/// Asks the running station for something that is done at once.
pub async fn ask(place: &Place, act: Act) -> Result<u8> {
    let desk = Desk::at(running(place).await?).await?;
    let said = match act {
        Act::Arm { .. } => "Armed: the table may turn. It ends with the session, a stop, and by itself.",
        _ => "Done.",
    };
    desk.ask(act).await?;
    answer!("{said}");
    Ok(exit::OK)
}

/// What went wrong since, and what is right again: a technician may have nothing but the journal.
fn put_in_journal(before: &[Fault], faults: &[Fault]) {
    let news = |from: &[Fault], one: &Fault| !from.iter().any(|known| known.rule == one.rule);
    for fault in faults.iter().filter(|fault| news(before, fault)) {
        tracing::warn!(rule = fault.rule, todo = fault.todo, "{}", fault.what);
    }
    for fault in before.iter().filter(|fault| news(faults, fault)) {
        tracing::info!(rule = fault.rule, "no more: {}", fault.what);
    }
}

async fn serve(running: &mut Running) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut restart = signal(SignalKind::hangup())?;
    let mut due = running.window.restart().watch();
    let mut changes = running.window.changes();
    let fed = systemd::watchdog();
    let mut feed = tokio::time::interval(fed.map_or(Duration::from_secs(3600), |limit| limit / 3));
    let mut faults = Vec::new();
    loop {
        let now = running.window.status().await;
        put_in_journal(&faults, &now.faults);
        faults.clone_from(&now.faults);
        systemd::notify(&[NotifyState::Status(&format!("{} {}", now.sentence, now.detail))]);
        tokio::select! {
            _ = terminate.recv() => return Ok(exit::OK),
            _ = interrupt.recv() => return Ok(exit::OK),
            _ = restart.recv() => return Ok(exit::RESTART),
            Ok(_) = due.wait_for(|step| *step == Step::Due) => return Ok(exit::RESTART),
            // Its sender lives in the station task.
            changed = changes.next() => if !changed {
                return Ok(exit::TASK_DIED);
            },
            died = running.died() => {
                tracing::error!(died, "restart");
                return Ok(exit::TASK_DIED);
            }
            _ = feed.tick(), if fed.is_some() => {
                // Only where somebody starts it again.
                if let Some(why) = ends_for(link::stuck(), now.session.as_ref().map(|session| session.state)) {
                    tracing::error!(why, "restart");
                    return Ok(exit::TASK_DIED);
                }
                if running.is_alive() {
                    systemd::notify(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// Why the service ends so that a new process does better, unless frames are being taken: a person goes on with a session
/// that waits.
fn ends_for(stuck: Option<String>, session: Option<SessionState>) -> Option<String> {
    stuck.filter(|_| session != Some(SessionState::Shooting))
}

/// What the service runs on when its configuration cannot be used: configuration, what closes capture, what is told.
type Fallback = (Config, Vec<Fault>, Vec<Fault>);

/// The last good configuration, which goes on capturing, or the defaults, which do not: a station that never had a
/// good configuration does not know its owner.
fn safe_mode(keeper: &Keeper, error: &ConfigError) -> Result<Fallback> {
    let good = keeper.begin_on_last_good().ok();
    tracing::error!(%error, "safe mode");
    let why = match good {
        Some(_) => "The last settings that worked are in use.",
        None => "Nothing is captured: no settings ever worked on this station.",
    };
    let fault = Fault::new(
        SAFE_MODE,
        format!("Safe mode, the settings cannot be used: {}", error.line()),
        why,
        "Correct the named keys, then restart the station.",
    );
    match good {
        Some(config) => Ok((config, Vec::new(), vec![fault])),
        None => Ok((Config::from_text(None, Vec::new())?, vec![fault], Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_link_ends_the_service_once_no_frame_is_being_taken() {
        let stuck = || Some("Bluetooth is stuck".to_owned());
        assert_eq!(ends_for(stuck(), Some(SessionState::Shooting)), None);
        for session in [None, Some(SessionState::Paused), Some(SessionState::Interrupted)] {
            assert_eq!(ends_for(stuck(), session), stuck());
            assert_eq!(ends_for(None, session), None);
        }
    }
}
