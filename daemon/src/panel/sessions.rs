//! Sessions by day, newest first, a page of 50 at a time.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::ask::{Ask, encoded};
use super::bar::{self, Frame, Place};
use super::capture::item::grouped;
use super::capture::queue::{Chip, Reason, reasons};
use super::region::revision;
use super::scene::Scene;
use super::{Viewer, times};
use crate::window::views::SessionSummary;
use crate::window::{Filter, Window};
use crate::words::panel::{Panel, count, fill};

/// Rows of one page.
const ROWS: usize = 50;
const DAY_MS: i64 = 24 * 3600 * 1000;

#[derive(Template)]
#[template(path = "sessions.html")]
struct Page {
    frame: Frame,
    text: String,
    days: Vec<Day>,
    empty: Option<String>,
    older: Option<String>,
    newest: Option<String>,
}

struct Day {
    name: String,
    rows: Vec<Row>,
}

struct Row {
    href: String,
    cover: Option<u64>,
    item: String,
    about: String,
    frames: String,
    state: &'static str,
    open: bool,
    chip: Chip,
    reasons: Vec<Reason>,
}

/// `GET /sessions`.
pub(super) async fn page(State(window): State<Window>, viewer: Viewer) -> Response {
    let ask = &viewer.ask;
    // One more than is shown tells whether there are older ones.
    let (item, before, limit) = (ask.item.clone(), ask.before.clone(), Some(ROWS + 1));
    let filter = Filter { item, before, limit, ..Filter::seen_by(&viewer.visitor) };
    let sessions = window.sessions(&filter).await;
    if let Err(error) = &sessions {
        tracing::warn!(%error, "the sessions cannot be listed");
    }
    let scene = Scene::bar(&window, &viewer).await;
    super::page(&viewer, render(&scene, sessions.ok()))
}

fn render(scene: &Scene, sessions: Option<Vec<SessionSummary>>) -> askama::Result<String> {
    let words = scene.words();
    let net = bar::net(scene)?;
    let rev = revision(std::slice::from_ref(&net));
    let empty = match (&sessions, &scene.ask.item) {
        (None, _) => Some(words.not_read.to_owned()),
        (Some(found), Some(text)) if found.is_empty() => Some(fill(words.none_found, &[("text", text)])),
        (Some(found), None) if found.is_empty() => Some(words.none_yet.to_owned()),
        _ => None,
    };
    let mut sessions = sessions.unwrap_or_default();
    let more = sessions.len() > ROWS;
    sessions.truncate(ROWS);
    let older = sessions.last().filter(|_| more).map(|last| address(&scene.ask, Some(&last.session)));
    let mut days: Vec<Day> = Vec::new();
    for session in &sessions {
        let name = day(words, scene.now_wall_ms, session.started_wall_ms);
        if days.last().is_none_or(|day| day.name != name) {
            days.push(Day { name, rows: Vec::new() });
        }
        if let Some(day) = days.last_mut() {
            day.rows.push(row(words, session));
        }
    }
    let newest = scene.ask.before.as_ref().map(|_| address(&scene.ask, None));
    let text = scene.ask.item.clone().unwrap_or_default();
    let frame = Frame::of(scene, Place::Sessions, words.sessions, &net, rev);
    Page { frame, text, days, empty, older, newest }.render()
}

fn address(ask: &Ask, before: Option<&str>) -> String {
    let pairs = [("item", ask.item.as_deref()), ("before", before)];
    let pairs = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
    format!("/sessions?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// `Today`, `Yesterday`, or the date.
fn day(words: &Panel, now_ms: i64, then_ms: i64) -> String {
    let then = times::day(then_ms);
    if then == times::day(now_ms) {
        words.today.to_owned()
    } else if then == times::day(now_ms - DAY_MS) {
        words.yesterday.to_owned()
    } else {
        then
    }
}

fn row(words: &'static Panel, session: &SessionSummary) -> Row {
    Row {
        href: format!("/sessions/{}", session.session),
        cover: session.cover,
        item: grouped(&session.item),
        about: format!("{} · {}", session.recipe, times::clock(session.started_wall_ms)),
        frames: match session.frames == session.wanted {
            true => count(&words.recipe_frames, session.frames),
            false => format!("{} / {}", session.frames, session.wanted),
        },
        state: words.session_states[session.state as usize],
        open: session.state.is_open(),
        chip: Chip::of(words, &session.delivery),
        reasons: reasons(words, session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    #[test]
    fn days_are_named_as_people_name_them() {
        let words = Language::En.panel();
        let noon_ms = 1_795_000_000_000 / DAY_MS * DAY_MS + DAY_MS / 2;
        assert_eq!(day(words, noon_ms, noon_ms - 1000), "Today");
        assert_eq!(day(words, noon_ms, noon_ms - DAY_MS), "Yesterday");
        assert_eq!(day(words, noon_ms, noon_ms - 30 * DAY_MS).len(), 10);
    }

    #[test]
    fn every_state_of_a_session_has_its_word() {
        use crate::session::SessionState::{Aborted, Interrupted, Paused, Released, Review, Shooting};
        let words = Language::En.panel();
        let said = [Shooting, Paused, Interrupted, Review, Released, Aborted]
            .map(|state| words.session_states[state as usize]);
        assert_eq!(said, ["shooting", "paused", "interrupted", "in review", "released", "ended"]);
    }

    #[test]
    fn the_next_page_keeps_what_is_searched_for() {
        let ask = Ask { item: Some("a b".to_owned()), ..Ask::default() };
        assert_eq!(address(&ask, Some("7")), "/sessions?item=a%20b&before=7");
        assert_eq!(address(&Ask::default(), None), "/sessions?");
    }
}
