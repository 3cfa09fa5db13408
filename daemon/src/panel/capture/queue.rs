//! What waits for delivery, session by session, and why.

use std::collections::BTreeMap;

use askama::Template;
use turnstage_cloud_sync::queue::State;

use crate::access::allows;
use crate::panel::ask::Sheet;
use crate::panel::scene::Scene;
use crate::panel::times;
use crate::window::views::{QueueView, SessionSummary};
use crate::words::panel::{Panel, count, fill};

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    w: &'static Panel,
    title: String,
    about: String,
    away: Vec<Reason>,
    rows: Vec<Row>,
    failed: bool,
    close: Option<String>,
}

pub(in crate::panel) struct Reason {
    pub text: String,
    pub rule: String,
}

struct Row {
    item: String,
    href: String,
    about: String,
    pictures: usize,
    chip: Chip,
    reasons: Vec<Reason>,
    /// Body of "send again", where pictures are parked.
    again: Option<String>,
}

/// State of a session's delivery under its API name.
pub(in crate::panel) struct Chip {
    pub name: &'static str,
    pub help: &'static str,
}

impl Chip {
    /// The state that a person should know first: failed, then what is under way.
    pub fn of(words: &Panel, delivery: &BTreeMap<State, usize>) -> Self {
        let order = [State::Failed, State::Uploading, State::Queued, State::Confirmed];
        let first = order.into_iter().find(|state| delivery.contains_key(state));
        Self::named(words, first.unwrap_or(State::Captured))
    }

    /// A state with what it means.
    pub fn named(words: &Panel, state: State) -> Self {
        let (nth, name) = match state {
            State::Captured => (0, "captured"),
            State::Queued => (1, "queued"),
            State::Uploading => (2, "uploading"),
            State::Confirmed => (3, "confirmed"),
            State::Failed => (4, "failed"),
        };
        Self { name, help: words.state_help[nth] }
    }
}

/// Why pictures of a session are not at their destination, in words; the rule small beside it.
pub(in crate::panel) fn reasons(words: &Panel, session: &SessionSummary) -> Vec<Reason> {
    let parked = session.delivery.contains_key(&State::Failed);
    let said = session.waiting.iter().map(|waiting| {
        let text = match parked {
            true => format!("{}: {}", words.away.refused, waiting.reason),
            false => waiting.reason.clone(),
        };
        Reason { text, rule: waiting.rule.clone() }
    });
    said.collect()
}

/// The card.
pub(super) fn card(scene: &Scene, queue: &QueueView) -> askama::Result<String> {
    let words = scene.words();
    let delivery = &scene.status.delivery;
    let waiting = usize::try_from(queue.queued + queue.uploading + queue.failed).unwrap_or(usize::MAX);
    let mut about = vec![count(&words.queue_sessions, queue.sessions.len() + queue.more)];
    if let Some(oldest) = delivery.oldest_wall_ms {
        about.push(fill(words.queue_oldest, &[("time", &times::clock(oldest))]));
    }
    let away = delivery.destinations.iter().filter_map(|one| Some((one, one.failure.as_ref()?)));
    let away = away.filter(|(one, _)| !one.online).map(|(one, failure)| {
        let text = match failure.rule.as_str() {
            "network-unreachable" | "breaker-open" => fill(words.away.network, &[("name", &one.name)]),
            rule if rule.starts_with("token-") => fill(words.away.token, &[("name", &one.name)]),
            _ => format!("{}: {}", fill(words.away.other, &[("name", &one.name)]), failure.reason),
        };
        Reason { text, rule: failure.rule.clone() }
    });
    let asked = scene.ask.sheet == Some(Sheet::Queue);
    let card = Queue {
        w: words,
        title: match waiting {
            0 => words.queue_none.to_owned(),
            waiting => count(&words.queue_title, waiting),
        },
        about: format!(
            "{}. {} {}",
            about.join(", "),
            words.queue_itself,
            fill(words.queue_room, &[("n", &super::aside::at_most(delivery.sessions_left))])
        ),
        away: away.collect(),
        rows: queue.sessions.iter().map(|session| row(scene, session)).collect(),
        failed: queue.failed > 0 && allows(scene.visitor.role, "requeue"),
        close: asked.then(|| scene.ask.with(|ask| ask.sheet = Some(Sheet::Closed))),
    };
    card.render()
}

fn row(scene: &Scene, session: &SessionSummary) -> Row {
    let words = scene.words();
    let again = session.delivery.contains_key(&State::Failed) && allows(scene.visitor.role, "requeue");
    Row {
        item: super::item::grouped(&session.item),
        href: format!("/sessions/{}", session.session),
        about: format!("{} · {}", session.recipe, times::clock(session.started_wall_ms)),
        pictures: session.undelivered(),
        chip: Chip::of(words, &session.delivery),
        reasons: reasons(words, session),
        again: again.then(|| serde_json::json!({ "session": session.session }).to_string()),
    }
}
