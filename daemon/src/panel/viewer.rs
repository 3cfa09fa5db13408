//! The spin of one session: turned by hand, frame by frame, with what is known of the frame in view.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use turnstage_cloud_sync::queue::{Proof, State as Delivered};

use super::bar::{self, Frame, Place};
use super::capture::item::grouped;
use super::capture::queue::Chip;
use super::region::revision;
use super::ring::{self, short};
use super::scene::{Scene, needs_mending};
use super::{Viewer, times};
use crate::window::Window;
use crate::window::views::{FrameState, FrameView, SessionDetail};
use crate::words::panel::{Panel, fill};

#[derive(Template)]
#[template(path = "viewer.html")]
struct Page {
    frame: Frame,
    heading: String,
    about: String,
    chip: Chip,
    open: Option<String>,
    picture: Option<String>,
    alt: String,
    deg: String,
    title: String,
    position: usize,
    cells: Vec<Cell>,
    pictures: String,
    axis: [String; 5],
    previous: String,
    next: String,
    rows: Vec<(String, String, bool)>,
    cameras: Vec<(String, String, bool)>,
    facts: Vec<Fact>,
}

struct Cell {
    class: &'static str,
}

struct Fact {
    name: &'static str,
    value: String,
    more: String,
    class: &'static str,
}

/// `GET /sessions/{id}`.
pub(super) async fn page(State(window): State<Window>, Path(id): Path<String>, viewer: Viewer) -> Response {
    let scene = Scene::bar(&window, &viewer).await;
    match window.session(&viewer.visitor, &id).await {
        Ok(detail) => super::page(&viewer, render(&scene, &detail)),
        Err(refusal) if refusal.rule == "session-unknown" => {
            (StatusCode::NOT_FOUND, refusal.reason).into_response()
        }
        Err(refusal) if refusal.rule == "role-not-allowed" => {
            (StatusCode::FORBIDDEN, refusal.reason).into_response()
        }
        Err(refusal) => (StatusCode::INTERNAL_SERVER_ERROR, refusal.reason).into_response(),
    }
}

/// What of a session is in view.
struct View<'a> {
    detail: &'a SessionDetail,
    camera: &'a str,
    row: u32,
    /// Frames that have a picture, in order of the turn.
    frames: Vec<&'a FrameView>,
    at: usize,
}

impl<'a> View<'a> {
    fn of(scene: &Scene, detail: &'a SessionDetail) -> Self {
        let asked = scene.ask.camera.as_ref();
        let camera = asked.and_then(|asked| detail.cameras.iter().find(|name| *name == asked));
        let camera = camera.or_else(|| detail.cameras.first()).map(String::as_str).unwrap_or_default();
        let of_camera = detail.places.iter().filter(|place| place.camera == camera);
        let chosen = of_camera.clone().find(|place| Some(place.frame) == scene.ask.frame);
        let row = scene.ask.row.or_else(|| chosen.map(|place| place.row)).unwrap_or(1);
        let row = row.clamp(1, detail.rows.max(1));
        let frames: Vec<&FrameView> =
            of_camera.filter(|place| place.row == row && place.sequence.is_some()).collect();
        let at = frames.iter().position(|place| Some(place.frame) == scene.ask.frame).unwrap_or_default();
        Self { detail, camera, row, frames, at }
    }

    fn shown(&self) -> Option<&'a FrameView> {
        self.frames.get(self.at).copied()
    }

    /// The frame so many steps further, around the turn.
    fn step(&self, scene: &Scene, steps: usize) -> String {
        let count = self.frames.len().max(1);
        let frame = self.frames.get((self.at + steps) % count).map(|place| place.frame);
        scene.ask.with(|ask| ask.frame = frame)
    }
}

fn render(scene: &Scene, detail: &SessionDetail) -> askama::Result<String> {
    let words = scene.words();
    let net = bar::net(scene)?;
    let rev = revision(std::slice::from_ref(&net));
    let view = View::of(scene, detail);
    let summary = &detail.summary;
    let shown = view.shown();
    let heading = grouped(&summary.item);
    let turn = view.frames.iter().all(|place| place.angle_deg.is_some());
    let axis = [0, 90, 180, 270, 360].map(|deg| if turn { format!("{deg}°") } else { String::new() });
    let page = Page {
        frame: Frame::of(scene, Place::Sessions, &heading, &net, rev),
        about: about(words, detail),
        chip: Chip::of(words, &summary.delivery),
        open: summary.state.is_open().then(|| serde_json::json!({ "session": summary.session }).to_string()),
        picture: shown.and_then(|place| ring::thumbnail(place, 1200)),
        alt: shown.map(|place| ring::sentence(words, 1, place)).unwrap_or_default(),
        deg: shown
            .and_then(|place| place.angle_deg)
            .map(|deg| format!("{}°", short(deg)))
            .unwrap_or_default(),
        title: shown.map(|place| fill(words.frame, &[("n", &place.frame)])).unwrap_or_default(),
        position: view.at,
        cells: view.frames.iter().enumerate().map(|(nth, place)| cell(place, nth == view.at)).collect(),
        pictures: pictures(words, &view),
        axis,
        previous: view.step(scene, view.frames.len().saturating_sub(1)),
        next: view.step(scene, 1),
        rows: rows(scene, &view),
        cameras: cameras(scene, &view),
        facts: shown.map(|place| facts(words, place)).unwrap_or_default(),
        heading,
    };
    page.render()
}

fn about(words: &Panel, detail: &SessionDetail) -> String {
    let summary = &detail.summary;
    let started = format!(
        "{} · {} {}",
        summary.recipe,
        times::day(summary.started_wall_ms),
        times::clock(summary.started_wall_ms)
    );
    let kept = detail.places.iter().filter(|place| place.state == FrameState::Kept).count();
    match &detail.accepted {
        Some(accepted) => {
            let values: [(&str, &dyn std::fmt::Display); 3] =
                [("n", &kept), ("name", &accepted.name), ("reason", &accepted.reason)];
            format!("{started} · {}", fill(words.kept_by, &values))
        }
        None => started,
    }
}

fn cell(place: &FrameView, current: bool) -> Cell {
    let flagged = needs_mending(place) || place.state == FrameState::Kept;
    Cell {
        class: match (flagged, current) {
            (true, true) => "flag on",
            (true, false) => "flag",
            (false, true) => "on",
            (false, false) => "",
        },
    }
}

/// For the script: number, sequence, version and sentence of every frame, in order of the turn.
fn pictures(words: &Panel, view: &View<'_>) -> String {
    let each = view.frames.iter().map(|place| {
        let version = place.sha256.as_deref().and_then(|hash| hash.get(..16)).unwrap_or_default();
        let deg = place.angle_deg.map(short).unwrap_or_default();
        serde_json::json!([place.frame, place.sequence, version, deg, ring::sentence(words, 1, place)])
    });
    serde_json::Value::Array(each.collect()).to_string()
}

fn rows(scene: &Scene, view: &View<'_>) -> Vec<(String, String, bool)> {
    if view.detail.rows < 2 {
        return Vec::new();
    }
    let row = |row: u32| {
        let href = scene.ask.with(|ask| {
            ask.row = Some(row);
            ask.frame = None;
        });
        (href, fill(scene.words().row, &[("n", &row)]), row == view.row)
    };
    (1..=view.detail.rows).map(row).collect()
}

fn cameras(scene: &Scene, view: &View<'_>) -> Vec<(String, String, bool)> {
    if view.detail.cameras.len() < 2 {
        return Vec::new();
    }
    let camera = |name: &String| {
        (scene.ask.with(|ask| ask.camera = Some(name.clone())), name.clone(), name == view.camera)
    };
    view.detail.cameras.iter().map(camera).collect()
}

/// What is known of one frame.
fn facts(words: &'static Panel, place: &FrameView) -> Vec<Fact> {
    let plain = |name, value: String| Fact { name, value, more: String::new(), class: "" };
    let good = matches!(place.state, FrameState::Passed | FrameState::Retaken | FrameState::Kept);
    let mut facts = vec![Fact {
        class: if good { "ok" } else { "warn" },
        ..plain(words.quality, ring::word(words, place.state).to_owned())
    }];
    if let Some(blur) = place.blur_px {
        let more = format!("≤ {:.1} px", place.blur_px_max);
        facts.push(Fact { more, ..plain(words.blur, format!("{blur:.1} px")) });
    }
    if let Some(clipped) = place.clipped {
        let more = format!("≤ {:.1} %", place.clipped_max * 100.0);
        facts.push(Fact { more, ..plain(words.clipped, format!("{:.1} %", clipped * 100.0)) });
    }
    let exposure = exposure(&place.exposed_with);
    if !exposure.is_empty() {
        facts.push(plain(words.exposure, exposure));
    }
    facts.push(plain(words.tries, place.take.to_string()));
    if let Some(exposed_ms) = place.exposed_wall_ms {
        facts.push(plain(words.taken, times::to_the_second(exposed_ms)));
    }
    let delivery = place.delivery.map_or(words.not_let_go, |state: Delivered| Chip::named(words, state).name);
    facts.push(plain(words.delivery, delivery.to_owned()));
    if let Some(proof) = place.proof {
        let nth = match proof {
            Proof::Readback => 0,
            Proof::ServerAck => 1,
            Proof::ChecksummedPut => 2,
        };
        facts.push(plain(words.proof, words.proofs[nth].to_owned()));
    }
    facts
}

/// `1/125 s · × 1.0 · 5000 K`: shutter, gain and white balance as far as the camera told them.
fn exposure(exposed_with: &serde_json::Value) -> String {
    let number = |key: &str| exposed_with.get(key).and_then(serde_json::Value::as_f64);
    let shutter = number("exposure_us").filter(|us| *us > 0.0).map(|us| match us {
        ..250_000.0 => format!("1/{:.0} s", 1e6 / us),
        _ => format!("{:.1} s", us / 1e6),
    });
    let gain = number("gain").map(|gain| format!("× {gain:.1}"));
    let white = number("wb_kelvin").map(|kelvin| format!("{kelvin:.0} K"));
    shutter.into_iter().chain(gain).chain(white).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposure_is_said_as_photographers_say_it() {
        let told = serde_json::json!({ "exposure_us": 8000.0, "gain": 1.0, "wb_kelvin": 5000.0 });
        assert_eq!(exposure(&told), "1/125 s · × 1.0 · 5000 K");
        assert_eq!(exposure(&serde_json::json!({ "exposure_us": 2_000_000.0 })), "2.0 s");
        assert_eq!(exposure(&serde_json::Value::Null), "");
    }
}
