//! The ring with its hub: the count, the picture looked at, and what is known of it in one line.

use askama::Template;

use crate::panel::region::Region;
use crate::panel::ring::{self, View};
use crate::panel::scene::{Phase, Scene};
use crate::status::Kind;
use crate::window::views::{FrameState, FrameView};
use crate::words::panel::{Panel, fill};

#[derive(Template)]
#[template(path = "ring.html")]
struct Stage<'a> {
    w: &'static Panel,
    class: &'a str,
    view_box: &'a str,
    label: &'a str,
    ground: &'a str,
    cells: Vec<&'a str>,
    over: &'a str,
    hub: &'a str,
    part: &'a Option<String>,
    cameras: Vec<Choice>,
    rows: Vec<Choice>,
}

#[derive(Hash)]
struct Choice {
    href: String,
    name: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "hub.html")]
struct Hub {
    count: Option<(usize, usize)>,
    picture: Option<String>,
    alt: String,
    lost: bool,
    live: bool,
    caption: String,
    invitation: Option<String>,
}

/// Ring and hub.
pub(super) fn region(scene: &Scene) -> askama::Result<Region> {
    let words = scene.words();
    let places = scene.places();
    let link = |frame: u32| scene.ask.with_frame(frame);
    let rows = scene.detail.as_ref().map_or(1, |detail| detail.rows);
    let drawn = match places.is_empty() {
        true => ring::empty(scene.hand(), words),
        false => ring::draw(&View {
            places,
            rows,
            row: scene.row(),
            selected: scene.selected(),
            hand: scene.hand(),
            words,
            link: &link,
        }),
    };
    let cells: Vec<Region> = drawn.cells.iter().map(|(id, html)| Region::whole(id, html)).collect();
    let over = Region::whole("over", &format!(r#"<g id="over" aria-hidden="true">{}</g>"#, drawn.over));
    let hub = Region::whole("hub", &hub(scene).render()?);
    let (cameras, rows) = (cameras(scene), rows_of(scene, rows));
    let ids: Vec<&str> = drawn.cells.iter().map(|(id, _)| id.as_str()).collect();
    let frame =
        (&drawn.class, &drawn.view_box, &drawn.ground, &drawn.part, &ids, &cameras, &rows, &drawn.label);
    let mark = format!("{:?}", (frame.0, frame.1, frame.2, frame.3, frame.4, frame.7));
    let switches: Vec<(String, bool)> =
        cameras.iter().chain(&rows).map(|choice| (choice.href.clone(), choice.current)).collect();
    let stage = Stage {
        w: words,
        class: &drawn.class,
        view_box: &drawn.view_box,
        label: &drawn.label,
        ground: &drawn.ground,
        cells: cells.iter().map(|cell| cell.html.as_str()).collect(),
        over: &over.html,
        hub: &hub.html,
        part: &drawn.part,
        cameras,
        rows,
    };
    let html = stage.render()?;
    let parts = cells.into_iter().chain([over, hub]).collect();
    Ok(Region::with_parts("ring", &html, parts, (mark, switches, words.frames)))
}

/// More than one camera: a switch.
fn cameras(scene: &Scene) -> Vec<Choice> {
    let Some(detail) = scene.detail.as_ref().filter(|detail| detail.cameras.len() > 1) else {
        return Vec::new();
    };
    let choice = |name: &String| Choice {
        href: scene.ask.with(|ask| ask.camera = Some(name.clone())),
        name: name.clone(),
        current: scene.camera() == Some(name),
    };
    detail.cameras.iter().map(choice).collect()
}

/// Three rows and more: a switch.
fn rows_of(scene: &Scene, rows: u32) -> Vec<Choice> {
    if rows < 3 {
        return Vec::new();
    }
    let choice = |row: u32| Choice {
        href: scene.ask.with(|ask| {
            ask.row = Some(row);
            ask.frame = None;
        }),
        name: fill(scene.words().row, &[("n", &row)]),
        current: scene.row() == row,
    };
    (1..=rows).map(choice).collect()
}

fn hub(scene: &Scene) -> Hub {
    let words = scene.words();
    let places = scene.places();
    if places.is_empty() {
        let invitation = match scene.phase() {
            Phase::ItemSet => scene.ask.item.as_deref().map(super::item::grouped).unwrap_or_default(),
            Phase::Closed => words.closed.to_owned(),
            Phase::Waiting => words.wait.to_owned(),
            _ => words.scan.to_owned(),
        };
        let at = scene.hand().map(|hand| fill("{n}°", &[("n", &ring::short(hand.deg))]));
        return Hub {
            count: None,
            picture: None,
            alt: String::new(),
            lost: false,
            live: false,
            caption: at.unwrap_or_default(),
            invitation: Some(invitation),
        };
    }
    let of = places.len();
    let good = |place: &&&FrameView| {
        matches!(place.state, FrameState::Passed | FrameState::Retaken | FrameState::Kept)
    };
    let passed = places.iter().filter(good).count();
    let shown = scene.in_the_middle();
    let at_work = places.iter().find(|place| place.state == FrameState::Now).copied();
    let first_pass = places.iter().any(|place| place.state == FrameState::Todo);
    let live = scene.phase() == Phase::Shooting && scene.ask.frame.is_none();
    let now = match at_work {
        Some(now) if first_pass || now.frame as usize == of => now.frame as usize,
        _ => passed,
    };
    Hub {
        count: Some((now, of)),
        picture: shown.and_then(|place| ring::thumbnail(place, 600)),
        alt: shown.map(|place| ring::sentence(words, 1, place)).unwrap_or_default(),
        lost: scene.status.kind == Kind::Stop && shown.is_none_or(|place| place.sequence.is_none()),
        live,
        caption: match (at_work, shown) {
            (Some(now), _) if live => working(scene, now),
            (_, Some(place)) => caption(words, place),
            _ => words.no_picture.to_owned(),
        },
        invitation: None,
    }
}

/// `160° · holding still`.
fn working(scene: &Scene, now: &FrameView) -> String {
    let words = scene.words();
    let moving = scene.status.table.as_ref().is_some_and(|table| table.moving);
    let doing = if moving { words.moving } else { words.still };
    match now.angle_deg {
        Some(deg) => format!("{}° · {doing}", ring::short(deg)),
        None => fill(words.frame, &[("n", &now.frame)]),
    }
}

/// `Frame 17 · 160°`, and what is missing of it.
fn caption(words: &Panel, place: &FrameView) -> String {
    let mut said = fill(words.frame, &[("n", &place.frame)]);
    if let Some(deg) = place.angle_deg {
        said = format!("{said} · {}°", ring::short(deg));
    }
    if place.sequence.is_none() {
        said = format!("{said} · {}", ring::word(words, place.state));
    }
    said
}
