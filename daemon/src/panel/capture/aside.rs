//! What stands beside the ring: figures, or the one thing a person should read.

use askama::Template;

use super::{queue, sheet};
use crate::panel::ask::Sheet;
use crate::panel::region::Region;
use crate::panel::ring;
use crate::panel::scene::{Phase, Scene, needs_mending};
use crate::status::Fault;
use crate::window::views::{FrameState, FrameView};
use crate::words::minutes;
use crate::words::panel::{Panel, count, fill};

#[derive(Template)]
#[template(path = "figures.html")]
struct Figures {
    figures: [Figure; 3],
}

struct Figure {
    class: &'static str,
    name: &'static str,
    value: String,
    unit: &'static str,
}

#[derive(Template)]
#[template(path = "aside.html")]
struct Beside<'a> {
    w: &'static Panel,
    figures: &'a str,
    checks: Vec<Check>,
    flagged: Vec<FlaggedLine>,
}

struct Check {
    good: bool,
    name: String,
    state: String,
}

struct FlaggedLine {
    href: String,
    picture: Option<String>,
    name: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "told.html")]
struct Told<'a> {
    w: &'static Panel,
    title: Option<&'a str>,
    first: &'a str,
    what: &'a str,
    why: &'a str,
    todo: &'a str,
    rule: &'a str,
    links: Vec<(String, String)>,
    act: Option<(&'static str, String)>,
}

/// The card or sheet.
pub(super) fn region(scene: &Scene) -> askama::Result<Region> {
    match sheet_of(scene)? {
        Some(html) => Ok(Region::whole("aside", &html)),
        None => beside(scene),
    }
}

/// What was asked for, or what is wrong; in the order of what a person must know first.
fn sheet_of(scene: &Scene) -> askama::Result<Option<String>> {
    let session = scene.session();
    if let (Some(scanned), Some(session)) = (&scene.ask.scanned, session)
        && *scanned != session.item
    {
        return another_item(scene, scanned, &session.item).map(Some);
    }
    if let (Some(Sheet::End), Some(session)) = (scene.ask.sheet, session)
        && scene.phase() != Phase::Shooting
    {
        return end(scene, session.taken, &session.item).map(Some);
    }
    if scene.ask.sheet == Some(Sheet::Keep) && scene.phase() == Phase::Review && scene.visitor.role.accepts()
    {
        return sheet::keep(scene).map(Some);
    }
    if scene.ask.sheet == Some(Sheet::Arm) && scene.needs_arming() && scene.own_display {
        return sheet::arm(scene).map(Some);
    }
    if let Some(queue) = scene.queue.as_ref().filter(|_| scene.shows_queue()) {
        return queue::card(scene, queue).map(Some);
    }
    let shooting = scene.phase() == Phase::Shooting;
    if let Some(fault) = scene.status.faults.first().filter(|_| !shooting && scene.ask.frame.is_none()) {
        return told(scene, fault).map(Some);
    }
    let closed = scene.ask.sheet == Some(Sheet::Closed);
    match scene.selected().filter(|_| !shooting && !closed) {
        Some(frame) => sheet::reason(scene, frame),
        None => Ok(None),
    }
}

fn beside(scene: &Scene) -> askama::Result<Region> {
    let figures = match scene.detail {
        Some(_) => of_session(scene),
        None => of_station(scene),
    };
    let figures = Region::whole("figures", &Figures { figures }.render()?);
    let (checks, flagged) = match scene.detail {
        Some(_) => (Vec::new(), flagged(scene)),
        None => (checks(scene), Vec::new()),
    };
    let lines = checks.iter().map(|check| format!("{}{}{}", check.good, check.name, check.state));
    let flags = flagged.iter().map(|line| format!("{}{}{:?}", line.href, line.reason, line.picture));
    let mark: Vec<String> = lines.chain(flags).collect();
    let html = Beside { w: scene.words(), figures: &figures.html, checks, flagged }.render()?;
    Ok(Region::with_parts("aside", &html, vec![figures], mark))
}

/// A large number says no more than that there is room.
pub(super) fn at_most(number: u64) -> String {
    if number > 999 { "999+".to_owned() } else { number.to_string() }
}

fn of_station(scene: &Scene) -> [Figure; 3] {
    let words = scene.words();
    let frames = scene.recipe().map_or(0, |recipe| recipe.frames);
    let delivery = &scene.status.delivery;
    [
        Figure { class: "", name: words.frames, value: frames.to_string(), unit: "" },
        Figure {
            class: "",
            name: words.room_for,
            value: at_most(delivery.sessions_left),
            unit: words.room_sessions,
        },
        Figure { class: "", name: words.waiting, value: delivery.waiting.to_string(), unit: "" },
    ]
}

fn of_session(scene: &Scene) -> [Figure; 3] {
    let words = scene.words();
    let places = scene.detail.as_ref().map(|detail| detail.places.as_slice()).unwrap_or_default();
    let passed = places
        .iter()
        .filter(|place| matches!(place.state, FrameState::Passed | FrameState::Retaken | FrameState::Kept));
    let mending = places.iter().filter(|place| needs_mending(place)).count();
    let left =
        scene.session().and_then(|session| session.left_s).filter(|_| scene.phase() == Phase::Shooting);
    let third = match left {
        Some(left_s) => Figure { class: "", name: words.time_left, value: minutes(left_s), unit: words.min },
        None => Figure { class: "", name: words.frames, value: places.len().to_string(), unit: "" },
    };
    let class = if mending > 0 { "is-warn" } else { "" };
    [
        Figure { class: "is-ok", name: words.passed, value: passed.count().to_string(), unit: "" },
        Figure { class, name: words.to_retake, value: mending.to_string(), unit: "" },
        third,
    ]
}

fn checks(scene: &Scene) -> Vec<Check> {
    let words = scene.words();
    // Until somebody has, every driver says that nobody tried it with such a device.
    let tried = |tried: bool, state: String| match tried {
        true => state,
        false => format!("{state}, {}", words.not_tried),
    };
    let table = scene.status.table.as_ref().map(|table| Check {
        good: table.fault.is_none(),
        name: words.table.to_owned(),
        state: match (&table.fault, scene.hand()) {
            (Some(_), _) => words.missing_device.to_owned(),
            (None, Some(hand)) => tried(table.tried, fill(words.table_at, &[("n", &ring::short(hand.deg))])),
            (None, None) => tried(table.tried, words.table_unknown.to_owned()),
        },
    });
    let stop = scene.status.emergency_stop.as_ref().map(|stop| {
        let [tested, untested, none] = words.emergency_states;
        let state = match (&stop.input, stop.tested) {
            (None, _) => none,
            (Some(_), true) => tested,
            (Some(_), false) => untested,
        };
        Check { good: stop.tested, name: words.emergency_stop.to_owned(), state: state.to_owned() }
    });
    let code = scene.arm_code.as_ref().map(|code| Check {
        good: false,
        name: if scene.needs_arming() { words.not_armed } else { words.arm_code }.to_owned(),
        state: fill(words.arm_code_is, &[("code", code)]),
    });
    let drifted = |name: &str| {
        let drift = scene.status.drifts.iter().find(|drift| drift.camera == name)?;
        words.drifted.get(drift.quality as usize).copied()
    };
    let cameras = scene.status.cameras.iter().map(|camera| {
        let drifted = drifted(&camera.name);
        let state = drifted.unwrap_or(words.ready);
        Check {
            good: camera.fault.is_none() && drifted.is_none(),
            name: fill(words.camera, &[("name", &camera.name)]),
            state: match &camera.fault {
                None => tried(camera.tried, state.to_owned()),
                Some(_) => words.missing_device.to_owned(),
            },
        }
    });
    let destinations = scene.status.delivery.destinations.iter().map(|one| Check {
        good: one.online,
        name: one.name.clone(),
        state: if one.online { words.ready } else { words.missing_device }.to_owned(),
    });
    table.into_iter().chain(stop).chain(code).chain(cameras).chain(destinations).collect()
}

fn flagged(scene: &Scene) -> Vec<FlaggedLine> {
    let places = scene.places();
    let line = |place: &&FrameView| FlaggedLine {
        href: scene.ask.with_frame(place.frame),
        picture: ring::thumbnail(place, 150),
        name: match place.angle_deg {
            Some(deg) => {
                format!("{} · {}°", fill(scene.words().frame, &[("n", &place.frame)]), ring::short(deg))
            }
            None => fill(scene.words().frame, &[("n", &place.frame)]),
        },
        reason: sheet::in_one_line(scene.words(), place),
    };
    places.iter().filter(|place| needs_mending(place)).take(6).map(line).collect()
}

fn told(scene: &Scene, fault: &Fault) -> askama::Result<String> {
    let ends = matches!(fault.rule.as_str(), "position-match") && scene.session().is_some();
    let link = || (scene.words().end.to_owned(), scene.ask.with(|ask| ask.sheet = Some(Sheet::End)));
    let card = Told {
        w: scene.words(),
        title: None,
        first: scene.words().what,
        what: &fault.what,
        why: &fault.why,
        todo: &fault.todo,
        rule: &fault.rule,
        links: ends.then(link).into_iter().collect(),
        act: None,
    };
    card.render()
}

fn another_item(scene: &Scene, scanned: &str, item: &str) -> askama::Result<String> {
    let words = scene.words();
    let (scanned, item) = (super::item::grouped(scanned), super::item::grouped(item));
    let go_on = scene.ask.with(|ask| ask.scanned = None);
    let end = scene.ask.with(|ask| {
        ask.scanned = None;
        ask.sheet = Some(Sheet::End);
    });
    let mut links = vec![(fill(words.other_go_on, &[("item", &item)]), go_on)];
    if scene.phase() != Phase::Shooting {
        links.push((words.end.to_owned(), end));
    }
    let card = Told {
        w: words,
        title: Some(words.other_title),
        first: words.what,
        what: &fill(words.other_what, &[("scanned", &scanned)]),
        why: words.other_why,
        todo: words.other_todo,
        rule: "item-other",
        links,
        act: None,
    };
    card.render()
}

fn end(scene: &Scene, taken: usize, item: &str) -> askama::Result<String> {
    let words = scene.words();
    let item = super::item::grouped(item);
    let what = fill(&count(&words.end_what, taken), &[("item", &item)]);
    let label = if taken == 0 { words.end_none.to_owned() } else { count(&words.end_do, taken) };
    let card = Told {
        w: words,
        title: Some(words.end_title),
        first: words.will,
        what: &what,
        why: words.end_why,
        todo: "",
        rule: "",
        links: vec![(words.back.to_owned(), scene.ask.with(|ask| ask.sheet = None))],
        act: Some(("abort", label)),
    };
    card.render()
}
