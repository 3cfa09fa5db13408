//! The page at which an operator works: status, item, ring, figures or reason, one action.

mod act;
mod aside;
pub(super) mod item;
pub(super) mod queue;
mod sheet;
mod stage;
#[cfg(test)]
mod tests;

use askama::Template;

use super::bar::{self, Frame, Place};
use super::region::{Region, revision};
use super::scene::Scene;
use crate::status::{Kind, Situation};

#[derive(Template)]
#[template(path = "capture.html")]
struct Page<'a> {
    frame: Frame,
    say: &'a str,
    alarm: &'a str,
    status: &'a str,
    item: &'a str,
    ring: &'a str,
    aside: &'a str,
    act: &'a str,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusBar {
    kind: &'static str,
    turns: bool,
    words: String,
    track: Option<String>,
}

#[derive(Template)]
#[template(path = "status_words.html")]
struct StatusWords {
    first: String,
    second: String,
}

#[derive(Template)]
#[template(path = "track.html")]
struct Track {
    percent: f64,
}

/// The whole page.
pub(super) fn page(scene: &Scene) -> askama::Result<String> {
    let regions = regions(scene)?;
    let html = |id: &str| {
        regions.iter().find(|region| region.id == id).map(|region| region.html.as_str()).unwrap_or_default()
    };
    let net = regions.iter().find(|region| region.id == "topbar-net");
    let net = net.cloned().unwrap_or_else(|| Region::whole("topbar-net", ""));
    Page {
        frame: Frame::of(scene, Place::Capture, &scene.lines().first, &net, revision(&regions)),
        say: html("say"),
        alarm: html("alarm"),
        status: html("status"),
        item: html("item"),
        ring: html("ring"),
        aside: html("aside"),
        act: html("act"),
    }
    .render()
}

/// Everything on it that can change, in the order of the page.
pub(super) fn regions(scene: &Scene) -> askama::Result<Vec<Region>> {
    let [say, alarm] = announced(scene);
    Ok(vec![
        bar::net(scene)?,
        say,
        alarm,
        status(scene)?,
        item::region(scene)?,
        stage::region(scene)?,
        aside::region(scene)?,
        act::region(scene)?,
    ])
}

fn status(scene: &Scene) -> askama::Result<Region> {
    let lines = scene.lines();
    let words = StatusWords { first: lines.first, second: lines.second };
    let words = Region::whole("status-words", &words.render()?);
    let busy = scene.status.kind == Kind::Busy;
    let track = match scene.session().filter(|_| busy) {
        Some(session) => {
            let percent = 100.0 * session.taken as f64 / session.wanted.max(1) as f64;
            Some(Region::whole("status-track", &Track { percent: percent.round() }.render()?))
        }
        None => None,
    };
    let bar = StatusBar {
        kind: match scene.status.kind {
            Kind::Ready => "ready",
            Kind::Busy => "busy",
            Kind::Warn => "warn",
            Kind::Stop => "stop",
        },
        // The lamp turns only while the motor may turn.
        turns: busy && scene.status.situation != Situation::Starting,
        words: words.html.clone(),
        track: track.as_ref().map(|track| track.html.clone()),
    };
    let frame = (bar.kind, bar.turns, bar.track.is_some());
    let parts = [words].into_iter().chain(track).collect();
    Ok(Region::with_parts("status", &bar.render()?, parts, frame))
}

/// What is read out: a change of what goes on, each flagged frame once, every stop. Not each frame, not progress.
fn announced(scene: &Scene) -> [Region; 2] {
    let lines = scene.lines();
    let said = match &scene.status.situation {
        Situation::Shooting { flagged: Some(_), .. } => lines.second,
        Situation::Shooting { .. } | Situation::Turning { .. } => scene.words().states[1].to_owned(),
        Situation::Retaking { .. } => lines.second,
        _ => format!("{}. {}", lines.first, lines.second),
    };
    let stopped = scene.status.kind == Kind::Stop;
    let (polite, loud) = if stopped { ("", said.as_str()) } else { (said.as_str(), "") };
    let spoken = |id: &str, role: &str, text: &str| {
        let text = askama::filters::escape(text, askama::filters::Html).map(|text| text.to_string());
        Region::whole(
            id,
            &format!(r#"<p id="{id}" class="vh" role="{role}">{}</p>"#, text.unwrap_or_default()),
        )
    };
    [spoken("say", "status", polite), spoken("alarm", "alert", loud)]
}
