//! Why a frame does not pass: what, why it matters, what to do, beside the last good one; and who answers for it.

use askama::Template;
use turnstage_pipeline::qc::{Finding, Verdict};

use crate::panel::ask::Sheet;
use crate::panel::ring;
use crate::panel::scene::{Phase, Scene, needs_mending};
use crate::window::views::{FrameState, FrameView};
use crate::words::panel::{Panel, count, fill};

/// The limit stands here on the bar of a gauge.
const LIMIT_AT: f64 = 0.6;

#[derive(Template)]
#[template(path = "sheet.html")]
struct Reasons {
    w: &'static Panel,
    bad: bool,
    missing: bool,
    title: String,
    about: String,
    previous: Option<String>,
    next: Option<String>,
    close: String,
    gauge: Option<Gauge>,
    three: Option<(String, String)>,
    pair: Vec<Picture>,
    tries: Vec<(String, u32, bool)>,
    retake: Option<String>,
    keep: Option<String>,
    message: String,
    rule: String,
}

struct Gauge {
    name: &'static str,
    value: String,
    limit: String,
    sentence: String,
    percent: f64,
    limit_percent: f64,
    bad: bool,
}

struct Picture {
    source: String,
    alt: String,
    frame: u32,
    caption: String,
}

#[derive(Template)]
#[template(path = "keep.html")]
struct Keep {
    w: &'static Panel,
    frames: String,
    name: String,
    label: String,
    back: String,
}

#[derive(Template)]
#[template(path = "arm.html")]
struct ArmSheet {
    w: &'static Panel,
    back: String,
}

/// The sheet of one frame; `None` where there is nothing to say of it.
pub(super) fn reason(scene: &Scene, frame: u32) -> askama::Result<Option<String>> {
    let words = scene.words();
    let places = scene.places();
    let Some(place) = places.iter().copied().find(|place| place.frame == frame) else { return Ok(None) };
    if place.sequence.is_none() && place.state != FrameState::Missing {
        return Ok(None);
    }
    let mending: Vec<&FrameView> = places.iter().copied().filter(|place| needs_mending(place)).collect();
    let nth = mending.iter().position(|one| one.frame == frame);
    let beside = |step: usize| {
        let nth = nth.filter(|_| mending.len() > 1)?;
        Some(scene.ask.with_frame(mending[(nth + step) % mending.len()].frame))
    };
    let finding = blocking(place);
    let review = matches!(scene.phase(), Phase::Review | Phase::Complete);
    let known = finding.and_then(|finding| words.reasons.of(&finding.rule));
    let sheet = Reasons {
        w: words,
        bad: needs_mending(place),
        missing: place.state == FrameState::Missing,
        title: title(words, place, finding),
        about: about(words, place, nth.map(|nth| (nth + 1, mending.len()))),
        previous: beside(mending.len().saturating_sub(1)),
        next: beside(1),
        close: scene.ask.with(|ask| {
            ask.sheet = Some(Sheet::Closed);
            ask.frame = None;
        }),
        gauge: gauge(words, place, finding),
        three: three(words, place, finding),
        pair: pair(scene, place, &places),
        tries: tries(place),
        retake: review.then(|| serde_json::json!({ "which": { "frames": [frame] } }).to_string()),
        keep: (scene.phase() == Phase::Review && scene.visitor.role.accepts() && needs_mending(place))
            .then(|| scene.ask.with(|ask| ask.sheet = Some(Sheet::Keep))),
        message: finding.filter(|_| known.is_none()).map(|one| one.message.clone()).unwrap_or_default(),
        rule: finding.map(|finding| finding.rule.clone()).unwrap_or_default(),
    };
    sheet.render().map(Some)
}

/// Name and reason of the person who answers for what the rules did not accept.
pub(super) fn keep(scene: &Scene) -> askama::Result<String> {
    let words = scene.words();
    let places = scene.detail.as_ref().map(|detail| detail.places.as_slice()).unwrap_or_default();
    let mut left: Vec<u32> =
        places.iter().filter(|place| needs_mending(place)).map(|place| place.frame).collect();
    left.dedup();
    let frames = left.iter().map(|frame| fill(words.frame, &[("n", frame)]));
    let sheet = Keep {
        w: words,
        frames: frames.collect::<Vec<_>>().join(", "),
        name: scene.visitor.name().to_owned(),
        label: count(&words.keep_do, left.len()),
        back: scene.ask.with(|ask| ask.sheet = None),
    };
    sheet.render()
}

/// The code on the rig's own display, from a person who has read it there.
pub(super) fn arm(scene: &Scene) -> askama::Result<String> {
    let back = scene.ask.with(|ask| ask.sheet = None);
    ArmSheet { w: scene.words(), back }.render()
}

/// `not sharp: 41, at least 120`: for a list.
pub(super) fn in_one_line(words: &Panel, place: &FrameView) -> String {
    let Some(finding) = blocking(place) else { return ring::word(words, place.state).to_owned() };
    let Some(reason) = words.reasons.of(&finding.rule) else { return finding.message.clone() };
    match gauge(words, place, Some(finding)) {
        Some(gauge) => format!("{}: {}, {}", reason.short, gauge.value, gauge.limit),
        None => reason.short.to_owned(),
    }
}

fn blocking(place: &FrameView) -> Option<&Finding> {
    let blocks = place.findings.iter().find(|finding| finding.verdict == Verdict::Block);
    blocks.filter(|_| matches!(place.state, FrameState::Flagged | FrameState::Kept))
}

fn title(words: &Panel, place: &FrameView, finding: Option<&Finding>) -> String {
    let text = match (finding, place.state) {
        (Some(finding), _) => words.reasons.or_other(&finding.rule).what,
        (None, FrameState::Missing) => words.is_missing,
        _ => words.is_fine,
    };
    fill(text, &[("n", &place.frame), ("state", &ring::word(words, place.state))])
}

fn about(words: &Panel, place: &FrameView, nth: Option<(usize, usize)>) -> String {
    let deg = place.angle_deg.map(|deg| format!("{}°", ring::short(deg)));
    let nth = nth.map(|(n, m)| fill(words.nth_of, &[("n", &n), ("m", &m)]));
    deg.into_iter().chain(nth).collect::<Vec<_>>().join(" · ")
}

/// Why it matters and what to do.
fn three(words: &Panel, place: &FrameView, finding: Option<&Finding>) -> Option<(String, String)> {
    let (why, todo) = match (finding, place.state) {
        (Some(finding), _) => {
            let reason = words.reasons.or_other(&finding.rule);
            (reason.why, reason.todo)
        }
        (None, FrameState::Missing) => (words.missing_why, words.missing_todo),
        _ => return None,
    };
    let deg = match place.angle_deg {
        Some(deg) => format!("{}°", ring::short(deg)),
        None => fill(words.frame, &[("n", &place.frame)]),
    };
    let values: [(&str, &dyn std::fmt::Display); 3] =
        [("n", &place.frame), ("deg", &deg), ("camera", &place.camera)];
    Some((fill(why, &values), fill(todo, &values)))
}

/// What was measured against its limit: that of the finding, else the blur.
fn gauge(words: &Panel, place: &FrameView, finding: Option<&Finding>) -> Option<Gauge> {
    let (name, value, limit, unit) = match finding.map(|finding| (finding.rule.as_str(), finding)) {
        Some(("qc.clipped", finding)) => (words.clipped, finding.value, finding.limit, finding.unit.as_str()),
        Some(("qc.sharpness" | "qc.motion", finding)) if finding.unit == "px" => {
            (words.blur, finding.value, finding.limit, "px")
        }
        Some(_) => return None,
        None => (words.blur, place.blur_px?, place.blur_px_max, "px"),
    };
    let shown = |number: f64| match unit {
        "%" | "px" => format!("{number:.1} {unit}"),
        _ if number.abs() < 10.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    };
    let limit_said = fill(words.at_most, &[("n", &shown(limit))]);
    let full = limit / LIMIT_AT;
    let percent = if full > 0.0 { (100.0 * value / full).clamp(0.0, 100.0) } else { 0.0 };
    let value = shown(value);
    let sentence = fill(words.gauge, &[("name", &name), ("value", &value), ("limit", &limit_said)]);
    let bad = finding.is_some();
    Some(Gauge {
        name,
        value,
        limit: limit_said,
        sentence,
        percent: (percent * 10.0).round() / 10.0,
        limit_percent: LIMIT_AT * 100.0,
        bad,
    })
}

/// This frame and the nearest good one, before it if there is one.
fn pair(scene: &Scene, place: &FrameView, places: &[&FrameView]) -> Vec<Picture> {
    let words = scene.words();
    let picture = |of: &FrameView, caption: String| {
        Some(Picture {
            source: ring::thumbnail(of, 600)?,
            alt: ring::sentence(words, 1, of),
            frame: of.frame,
            caption,
        })
    };
    let good = |other: &&&FrameView| {
        other.row == place.row && matches!(other.state, FrameState::Passed | FrameState::Retaken)
    };
    let before = places.iter().rev().filter(good).find(|other| other.frame < place.frame);
    let after = places.iter().filter(good).find(|other| other.frame > place.frame);
    let neighbour = before.map(|other| (other, words.before_it));
    let neighbour = neighbour.or_else(|| after.map(|other| (other, words.after_it)));
    let blur = |other: &FrameView| other.blur_px.map(|px| format!(", {px:.1} px")).unwrap_or_default();
    let this = picture(place, words.this_frame.to_owned());
    let other = neighbour
        .filter(|_| needs_mending(place))
        .and_then(|(other, said)| picture(other, format!("{said}{}", blur(other))));
    this.into_iter().chain(other).collect()
}

/// Every picture of this place where there is more than one; the last one is in use.
fn tries(place: &FrameView) -> Vec<(String, u32, bool)> {
    if place.tries.len() < 2 {
        return Vec::new();
    }
    let source = |sequence: u64| format!("/api/v1/frames/{sequence}/thumbnail?side=150");
    let tries =
        place.tries.iter().map(|one| (source(one.sequence), one.take, Some(one.sequence) == place.sequence));
    tries.collect()
}
