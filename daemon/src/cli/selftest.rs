//! `selftest`: four frames around the table and one more at the first angle: does the rig turn, see and come back? And
//! the daily test of the wired emergency stop, which a person presses and releases.

use anyhow::Result;
use clap::Subcommand;
use turnstage_cloud_sync::{Event, Record};

use super::answer::answer;
use super::check::{Line, line};
use super::desk::Desk;
use super::{Place, check};
use crate::command::Act;
use crate::emergency::{Step, StopState};
use crate::exit::{self, Exit};
use crate::session::SessionState;
use crate::status::Situation;
use crate::words::{Language, Lines};

/// The built-in recipe.
const RECIPE: &str = "selftest";
/// What the pictures belong to; they are thrown away.
const ITEM: &str = "self-test";
/// Cameras of one shot that begin later than this after the first do not shoot together.
const SKEW_MS_MAX: f64 = 250.0;

/// What else is tested than the turn.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Tests the wired emergency stop: you stand at the rig, press it, then release it. Counts for today.
    EmergencyStop,
}

/// Says what a person should do now, and whether the station saw it.
pub async fn emergency_stop(place: &Place) -> Result<u8> {
    let config = || {
        let config = place.config()?;
        place.keep_config("");
        Ok(config)
    };
    let mut desk = Desk::open(place, config, false).await?;
    let code = pressed_and_released(&mut desk).await;
    desk.close().await;
    code
}

async fn pressed_and_released(desk: &mut Desk) -> Result<u8> {
    desk.ask(Act::TestEmergencyStop).await?;
    let mut asked = Step::Press;
    tell(asked);
    loop {
        let Some(stop) = desk.status().await?.emergency_stop else {
            return Err(Exit::new(exit::HARDWARE, "this rig declares no emergency stop any more").into());
        };
        let why = match stop.step {
            Step::Idle if stop.tested => {
                answer!("Passed: the emergency stop opened and closed. It counts for today.");
                return Ok(exit::OK);
            }
            // Seen, and not on record yet.
            Step::Idle => None,
            Step::Press | Step::Release => {
                if stop.step != asked {
                    tell(stop.step);
                }
                None
            }
            Step::NotPressed => Some("no press was seen within a minute: check button, wiring and input"),
            Step::NotReleased => Some("no release was seen within a minute: release it, then begin again"),
            Step::NotKept => Some("it was seen and could not be stored: see turnstage status"),
            Step::Lost => Some("its input was lost meanwhile: check its cable, then begin again"),
        };
        if let Some(why) = why {
            return Err(Exit::new(exit::HARDWARE, format!("the emergency stop did not pass: {why}")).into());
        }
        asked = stop.step;
        if desk.wait().await? {
            return Err(Exit::new(exit::REFUSED, "the test was left before its end").into());
        }
    }
}

/// What the person should do now.
fn tell(step: Step) {
    let state = if step == Step::Release { StopState::Release } else { StopState::Press };
    let Lines { first, second } = Language::En.lines(&Situation::EmergencyStop { state });
    answer!("{first}. {second}");
}

/// Shoots the self-test and says what passed.
pub async fn perform(place: &Place, armed: bool, json: bool) -> Result<u8> {
    let config = || {
        let config = place.config()?;
        place.keep_config("");
        Ok(config)
    };
    let mut desk = Desk::open(place, config, false).await?;
    let code = turn(&mut desk, armed, json).await;
    desk.close().await;
    code
}

async fn turn(desk: &mut Desk, armed: bool, json: bool) -> Result<u8> {
    desk.arm(armed).await?;
    let before = desk.status().await?.newest_event;
    let start = Act::Start { item: ITEM.to_owned(), recipe: Some(RECIPE.to_owned()) };
    let id = desk.ask(start).await?.session.unwrap_or_default();
    let state = desk.follow(&id).await?;
    let now = desk.status().await?;
    let records: Vec<Record> = desk.get(&format!("/api/v1/sessions/{id}/records")).await?;
    let events: Vec<Event> = desk.get(&format!("/api/v1/events?after={before}&limit=500")).await?;
    desk.ask(Act::Abort).await?;
    let mut lines: Vec<Line> =
        records.iter().filter(|record| record.superseded_by.is_none()).map(frame).collect();
    lines.push(line(
        "turn",
        exit::HARDWARE,
        match state {
            SessionState::Review => Ok("came to its end".to_owned()),
            _ => Err(format!("{}. {}", now.sentence, now.detail)),
        },
    ));
    let closing = events.iter().rev().find(|event| event.kind == "session.closing");
    lines.push(line("closing frame", exit::HARDWARE, closed(closing)));
    let failed = check::print(&lines, json)?;
    match failed {
        exit::OK => Ok(exit::OK),
        code => Err(Exit::new(code, "the self-test did not pass; see the lines above").into()),
    }
}

fn frame(record: &Record) -> Line {
    let facts = &record.facts;
    let what = format!("frame {} of {}", facts.shot + 1, facts.camera);
    let findings = record.meta["qc"]["findings"].as_array().cloned().unwrap_or_default();
    let messages: Vec<&str> = findings.iter().filter_map(|finding| finding["message"].as_str()).collect();
    let skew_ms = record.meta["time"]["skew_ms"].as_f64().unwrap_or_default();
    let at = facts.angle_reached.map(|deg| format!("at {deg:.2}°, ")).unwrap_or_default();
    let told = match messages.as_slice() {
        _ if skew_ms > SKEW_MS_MAX => {
            Err(format!("began {skew_ms:.0} ms after the first camera of the shot"))
        }
        [] if skew_ms > 0.0 => Ok(format!("{at}{skew_ms:.0} ms after the first camera, nothing found")),
        [] => Ok(format!("{at}nothing found")),
        messages => Err(format!("{at}{}", messages.join("; "))),
    };
    line(&what, exit::HARDWARE, told)
}

fn closed(event: Option<&Event>) -> Result<String, String> {
    let Some(event) = event else {
        return Err("none was taken: the turn did not pass, or this rig has no table that turns".to_owned());
    };
    if event.data["closed"] == true {
        return Ok("the table came back to where it began".to_owned());
    }
    let findings = event.data["findings"].as_array().cloned().unwrap_or_default();
    let messages: Vec<String> = findings
        .iter()
        .filter_map(|one| {
            Some(format!("{}: {}", one["camera"].as_str()?, one["finding"]["message"].as_str()?))
        })
        .collect();
    match messages.as_slice() {
        [] => {
            Err("could not be compared: is something with detail on the table, and is the light on?"
                .to_owned())
        }
        messages => Err(messages.join("; ")),
    }
}
