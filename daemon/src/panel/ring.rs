//! The ring: frames at the angles where they were taken, as SVG. A pure function of what is known of them.
//!
//! A frame is one `<a>` with an id of its own, so that a page replaces it alone when it changes. Pictures without
//! angles (no table) stand in a grid of the same frames in order.

mod geometry;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use askama::filters::Escaper;

use crate::window::views::{FrameState, FrameView};
use crate::words::panel::{Panel, count, fill};
use geometry::Annulus;

/// Frames of a grid that are shown at once: more would be smaller than a finger.
const GRID_MAX: usize = 144;
/// Above so many frames a row, a picture would be thinner than a line.
const PICTURES_MAX: usize = 180;

/// What a ring is drawn of.
pub(super) struct View<'a> {
    /// Places of one camera, all rows, in order.
    pub places: Vec<&'a FrameView>,
    /// Rows of the recipe.
    pub rows: u32,
    /// The row that is shown where there are three or more.
    pub row: u32,
    /// Number of the chosen frame.
    pub selected: Option<u32>,
    /// Where the table stands.
    pub hand: Option<Hand>,
    /// Texts.
    pub words: &'static Panel,
    /// Address of the page with the frame chosen.
    pub link: &'a dyn Fn(u32) -> String,
}

/// The hand that points at the table's angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hand {
    /// Degrees.
    pub deg: f64,
    /// It turns or shoots.
    pub busy: bool,
}

/// A drawn ring, in the pieces that are replaced alone.
pub(super) struct Drawn {
    /// `ring--1`, `ring--2` or `ring--0`, with the class of its hub.
    pub class: String,
    /// View box of the SVG.
    pub view_box: String,
    /// Sentence for who does not see it.
    pub label: String,
    /// Outlines that clip the pictures, and what lies below the frames.
    pub ground: String,
    /// Id and drawing of every frame.
    pub cells: Vec<(String, String)>,
    /// Scale, hand, badges and numbers, above the frames.
    pub over: String,
    /// Which part of a long row is shown.
    pub part: Option<String>,
}

/// One frame where it is drawn.
struct Cell<'a> {
    of: &'a FrameView,
    id: String,
    outline: String,
    band: String,
    picture: geometry::Square,
    number_at: Option<(f64, f64)>,
}

/// Draws it.
pub(super) fn draw(view: &View<'_>) -> Drawn {
    if view.places.iter().all(|place| place.angle_deg.is_some()) { turn(view) } else { grid(view) }
}

/// The plate with frames that carry nothing yet: no session is open.
pub(super) fn empty(hand: Option<Hand>, words: &Panel) -> Drawn {
    let annulus = Annulus::single(36);
    let outlines = (0..36).map(|step| annulus.sector(f64::from(step) * 10.0, 10.0));
    let cells = outlines.map(|outline| format!(r#"<path class="cell" d="{outline}"/>"#));
    Drawn {
        class: "ring--1 hub-356".to_owned(),
        view_box: "0 0 1000 1000".to_owned(),
        label: words.frames.to_owned(),
        ground: format!(r#"<g class="fr-none">{}</g>"#, cells.collect::<String>()),
        cells: Vec::new(),
        over: scale_and_hand(annulus.inner, hand, &[]),
        part: None,
    }
}

/// Class of a state.
pub(super) fn class(state: FrameState) -> &'static str {
    match state {
        FrameState::Todo => "fr-todo",
        FrameState::Now => "fr-now",
        FrameState::Checking => "fr-check",
        FrameState::Passed => "fr-ok",
        FrameState::Flagged => "fr-flag",
        FrameState::Missing => "fr-miss",
        FrameState::Retaken => "fr-ok fr-re",
        FrameState::Kept => "fr-kept",
    }
}

/// Word of a state.
pub(super) fn word(words: &Panel, state: FrameState) -> &'static str {
    words.states[state as usize]
}

/// `f17-main`: what is not a letter or digit would end an id or a reference to it.
pub(super) fn cell_id(place: &FrameView) -> String {
    let camera: String =
        place.camera.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("f{}-{camera}", place.frame)
}

/// Address of a thumbnail that never changes: it is named for the picture's hash.
pub(super) fn thumbnail(place: &FrameView, side_max: u32) -> Option<String> {
    let (sequence, hash) = (place.sequence?, place.sha256.as_deref().unwrap_or_default());
    Some(format!("/api/v1/frames/{sequence}/thumbnail?side={side_max}&v={}", hash.get(..16).unwrap_or(hash)))
}

/// `Frame 17, row 1, 160 degrees, flagged`.
pub(super) fn sentence(words: &Panel, rows: u32, place: &FrameView) -> String {
    let mut said = fill(words.frame, &[("n", &place.frame)]);
    if rows > 1 {
        said = format!("{said}, {}", fill(words.row, &[("n", &place.row)]).to_lowercase());
    }
    if let Some(deg) = place.angle_deg {
        said = format!("{said}, {}", fill(words.degrees, &[("n", &short(deg))]));
    }
    format!("{said}, {}", word(words, place.state))
}

/// Degrees with no more digits than they need.
pub(super) fn short(deg: f64) -> String {
    let rounded = (deg * 10.0).round() / 10.0;
    format!("{rounded}")
}

fn turn(view: &View<'_>) -> Drawn {
    let rows = view.rows.max(1);
    let of_row =
        |row: u32| view.places.iter().copied().filter(|place| place.row == row).collect::<Vec<&FrameView>>();
    let shown: Vec<(u32, Vec<&FrameView>)> = match rows {
        1 | 2 => (1..=rows).map(|row| (row, of_row(row))).collect(),
        _ => vec![(view.row, of_row(view.row))],
    };
    let mut ground = String::new();
    let (mut cells, mut marks, mut taken) = (Vec::new(), String::new(), Vec::new());
    let mut inner = Annulus::single(shown[0].1.len()).inner;
    for (row, places) in &shown {
        let annulus =
            if rows == 2 { Annulus::of_two(*row, places.len()) } else { Annulus::single(places.len()) };
        inner = annulus.inner;
        for (nth, place) in places.iter().copied().enumerate() {
            let cell = in_turn(place, annulus, places.len(), nth, rows == 2);
            ground.push_str(&clip(&cell));
            cells.push((cell.id.clone(), frame(view, &cell, places.len())));
            mark(&mut marks, &mut taken, place, annulus, rows == 2, view.hand);
        }
    }
    let mut drawn = Drawn {
        class: format!("ring--{} hub-{inner}", rows.min(2)),
        view_box: "0 0 1000 1000".to_owned(),
        label: count(&view.words.frames_at_angles, view.places.len()),
        ground: format!("<defs>{ground}</defs>"),
        cells,
        over: scale_and_hand(inner, view.hand, &taken) + &marks,
        part: None,
    };
    if rows > 2 {
        drawn.class = format!("ring--1 hub-{inner}");
        others_outside(view, rows, &mut drawn);
    }
    drawn
}

/// The rows that are not shown, as bands outside of the plate.
fn others_outside(view: &View<'_>, rows: u32, drawn: &mut Drawn) {
    let others = (1..=rows).filter(|row| *row != view.row);
    for (nth, row) in others.enumerate() {
        let places: Vec<_> = view.places.iter().filter(|place| place.row == row).collect();
        let span = 360.0 / places.len().max(1) as f64;
        for place in places {
            let path = geometry::outside(nth as u32, place.angle_deg.unwrap_or_default(), span);
            let class = class(place.state);
            let _written = write!(drawn.over, r#"<path class="out {class}" d="{path}"/>"#);
        }
    }
    let margin = 4 + 12 * rows;
    drawn.view_box = format!("-{margin} -{margin} {0} {0}", 1000 + 2 * margin);
}

fn in_turn<'a>(
    place: &'a FrameView,
    annulus: Annulus,
    frames: usize,
    nth: usize,
    two_rows: bool,
) -> Cell<'a> {
    let (deg, span) = (place.angle_deg.unwrap_or_default(), 360.0 / frames.max(1) as f64);
    let every = match frames {
        ..=36 => 1,
        37..=72 => 6,
        _ => frames / 12,
    };
    let numbered = if two_rows { frames <= 36 } else { (nth + 1).is_multiple_of(every) };
    Cell {
        of: place,
        id: cell_id(place),
        outline: annulus.sector(deg, span),
        band: annulus.band(deg, span),
        picture: annulus.picture(deg, span),
        number_at: numbered.then(|| geometry::place(annulus.middle(), deg)),
    }
}

fn clip(cell: &Cell<'_>) -> String {
    format!(r#"<clipPath id="c-{}"><path d="{}"/></clipPath>"#, cell.id, cell.outline)
}

/// One frame as the `<a>` that is replaced alone.
fn frame(view: &View<'_>, cell: &Cell<'_>, frames: usize) -> String {
    let Cell { of, id, outline, band, picture, number_at } = cell;
    let side_max = if frames <= 16 { 600 } else { 150 };
    // Being shot and being missing are about a picture that is not there, whatever was there before.
    let shown = !matches!(of.state, FrameState::Now | FrameState::Missing | FrameState::Todo);
    let source = thumbnail(of, side_max).filter(|_| shown && frames <= PICTURES_MAX);
    let below = match (&source, number_at) {
        (Some(source), _) => format!(
            r##"<path class="pic-bg" d="{outline}"/><image href="{}" x="{:.1}" y="{:.1}" width="{side:.1}" height="{side:.1}" clip-path="url(#c-{id})" preserveAspectRatio="xMidYMid slice"/>"##,
            escaped(source),
            picture.x,
            picture.y,
            side = picture.side,
        ),
        (None, Some((x, y))) => format!(
            r#"<path class="cell" d="{outline}"/><text class="num" x="{x:.1}" y="{y:.1}">{}</text>"#,
            of.frame
        ),
        (None, None) => format!(r#"<path class="cell" d="{outline}"/>"#),
    };
    let dark = match of.state {
        FrameState::Flagged => {
            format!(r#"<path class="under" d="{outline}"/><path class="under under-b" d="{band}"/>"#)
        }
        _ => String::new(),
    };
    let current = if view.selected == Some(of.frame) { r#" aria-current="true""# } else { "" };
    let at = of.angle_deg.map(|deg| format!(r#" data-deg="{}""#, short(deg))).unwrap_or_default();
    format!(
        r#"<a id="{id}" class="fr {}" href="{}" aria-label="{}"{current}{at}>{below}{dark}<path class="band" d="{band}"/><path class="edge" d="{outline}"/></a>"#,
        class(of.state),
        escaped(&(view.link)(of.frame)),
        escaped(&sentence(view.words, view.rows, of)),
    )
}

/// Badge and number of a frame that a person should look at, and the badge of one that was taken again.
fn mark(
    marks: &mut String,
    taken: &mut Vec<f64>,
    place: &FrameView,
    annulus: Annulus,
    two_rows: bool,
    hand: Option<Hand>,
) {
    let deg = place.angle_deg.unwrap_or_default();
    let from_edge = if two_rows { 14.0 } else { 16.0 };
    let (x, y) = geometry::place(annulus.outer - from_edge, deg);
    marks.push_str(&badge(place.state, x, y));
    let pill = match place.state {
        FrameState::Flagged => "pill-flag",
        FrameState::Missing => "pill-miss",
        _ => return,
    };
    taken.push(deg);
    let number = place.frame;
    let _written = if two_rows {
        let (x, y) = geometry::place(annulus.inner + 20.0, deg);
        write!(
            marks,
            r#"<g class="pill {pill}" transform="translate({x:.1} {y:.1})"><rect x="-20" y="-15" width="40" height="30" rx="5"/><text>{number}</text></g>"#
        )
    } else {
        // The hand stands where the number would, so the number goes further in.
        let further = hand.is_some_and(|hand| geometry::apart(hand.deg, deg) < 4.0);
        let (x, y) = geometry::place(annulus.inner - if further { 77.0 } else { 47.0 }, deg);
        write!(marks, r#"<text class="tag" x="{x:.1}" y="{y:.1}">{number}</text>"#)
    };
}

fn badge(state: FrameState, x: f64, y: f64) -> String {
    let (class, shape) = match state {
        FrameState::Flagged => ("bdg-flag", r#"<path d="M0 -22 24 19H-24Z"/><text y="6">!</text>"#),
        FrameState::Missing => (
            "bdg-miss",
            r#"<rect x="-20" y="-20" width="40" height="40" rx="5"/><path d="M-8 -8 8 8M8 -8-8 8"/>"#,
        ),
        FrameState::Retaken => {
            ("bdg-re", r#"<circle r="19"/><path d="M9 -2a9.5 9.5 0 1 0 -1.5 7M10 -9v7h-7"/>"#)
        }
        _ => return String::new(),
    };
    format!(r#"<g class="bdg {class}" transform="translate({x:.1} {y:.1})">{shape}</g>"#)
}

fn scale_and_hand(inner: f64, hand: Option<Hand>, taken: &[f64]) -> String {
    let mut standing = taken.to_vec();
    standing.extend(hand.map(|hand| hand.deg));
    let mut drawn = geometry::scale(inner, &standing);
    if let Some(Hand { deg, busy }) = hand {
        let class = if busy { "hand" } else { "hand hand--rest" };
        let (tip, base) = (geometry::CENTRE - (inner - 20.0), geometry::CENTRE - (inner - 46.0));
        let _written = write!(
            drawn,
            r#"<path class="{class}" transform="rotate({} 500 500)" d="M500 {tip} 513 {base}H487Z"/>"#,
            short(deg)
        );
    }
    drawn
}

/// Pictures without angles: the same frames, in order, in rows from the left upper corner.
fn grid(view: &View<'_>) -> Drawn {
    let all = view.places.len();
    let at_work = |place: &&&FrameView| matches!(place.state, FrameState::Now | FrameState::Checking);
    let looked_at = view.selected.or_else(|| view.places.iter().find(at_work).map(|place| place.frame));
    let index = looked_at
        .and_then(|frame| view.places.iter().position(|place| place.frame == frame))
        .unwrap_or_default();
    let first = index / GRID_MAX * GRID_MAX;
    let shown = &view.places[first..all.min(first + GRID_MAX)];
    let columns = (1..).find(|columns| fits(*columns, shown.len())).unwrap_or(1);
    let width = 1000.0 / columns as f64;
    let (mut ground, mut cells, mut over) = (String::new(), Vec::new(), String::new());
    for (nth, place) in shown.iter().copied().enumerate() {
        let (x, y) = ((nth % columns) as f64 * width, 160.0 + (nth / columns) as f64 * width * 0.8);
        let cell = in_grid(place, x, y, width);
        ground.push_str(&clip(&cell));
        cells.push((cell.id.clone(), frame(view, &cell, shown.len())));
        over.push_str(&badge(place.state, x + width - 34.0, y + 34.0));
    }
    let part =
        [("from", first + 1), ("to", first + shown.len()), ("n", all)].map(|(name, value)| (name, value));
    let values: Vec<(&str, &dyn std::fmt::Display)> =
        part.iter().map(|(name, value)| (*name, value as &dyn std::fmt::Display)).collect();
    Drawn {
        class: "ring--0".to_owned(),
        view_box: "0 0 1000 1000".to_owned(),
        label: count(&view.words.frames_in_order, all),
        ground: format!("<defs>{ground}</defs>"),
        cells,
        over,
        part: (all > GRID_MAX).then(|| fill(view.words.shown_part, &values)),
    }
}

/// So many columns leave room for all rows below the count.
fn fits(columns: usize, frames: usize) -> bool {
    frames.div_ceil(columns) as f64 * (1000.0 / columns as f64) * 0.8 <= 840.0
}

fn in_grid(place: &FrameView, x: f64, y: f64, width: f64) -> Cell<'_> {
    let (gap, band) = (width * 0.03, width * 0.05);
    let (left, top, right, bottom) = (x + gap, y + gap, x + width - gap, y + width * 0.75 - gap);
    Cell {
        of: place,
        id: cell_id(place),
        outline: format!("M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}Z"),
        band: format!("M{left:.1} {0:.1}H{right:.1}", bottom + band),
        picture: geometry::Square {
            x: left,
            y: (top + bottom) / 2.0 - (right - left) / 2.0,
            side: right - left,
        },
        number_at: Some(((left + right) / 2.0, (top + bottom) / 2.0)),
    }
}

/// Text between the quotes of an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    match askama::filters::Html.write_escaped_str(&mut safe, text) {
        Ok(()) => safe,
        Err(_) => String::new(),
    }
}
