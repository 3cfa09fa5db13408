//! Top of every page: station, network and queue in two words, clock, person with language and light.

use askama::Template;

use super::assets;
use super::look::Theme;
use super::region::Region;
use super::scene::Scene;
use super::times;
use crate::status::Delivery;
use crate::words::Language;
use crate::words::panel::{Panel, fill};

/// The page that the navigation marks as the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Capture,
    Sessions,
    Nowhere,
}

/// Head and top bar, for the templates of pages.
pub(super) struct Frame {
    pub w: &'static Panel,
    pub lang: &'static str,
    pub theme: &'static str,
    pub title: String,
    pub css: String,
    pub script: String,
    pub station: String,
    pub site: String,
    pub place: Place,
    pub clock: String,
    pub person: String,
    pub signed_in: bool,
    /// They look after the station.
    pub cares: bool,
    pub simulated: bool,
    pub net: String,
    pub rev: String,
    pub stream: &'static str,
    /// Addresses with another light or language.
    pub lights: [(String, &'static str, bool); 3],
    pub languages: [(String, &'static str, &'static str, bool); 2],
}

#[derive(Template)]
#[template(path = "net.html")]
struct Net {
    ok: bool,
    words: String,
}

/// State of network and queue, in two words.
pub(super) fn net(scene: &Scene) -> askama::Result<Region> {
    let (ok, words) = in_two_words(scene.words(), &scene.status.delivery);
    Ok(Region::whole("topbar-net", &Net { ok, words }.render()?))
}

fn in_two_words(words: &Panel, delivery: &Delivery) -> (bool, String) {
    let rule = delivery.destinations.iter().filter(|one| !one.online).find_map(|one| one.failure.as_ref());
    let rule = rule.map(|failure| failure.rule.as_str());
    match rule {
        Some(rule) if rule.starts_with("token-") => (false, words.sign_in_needed.to_owned()),
        _ if delivery.failed > 0 => (rule.is_none(), fill(words.refused_short, &[("n", &delivery.failed)])),
        Some("network-unreachable" | "breaker-open") => (false, words.no_network.to_owned()),
        Some(_) => (false, fill(words.waiting_short, &[("n", &delivery.waiting)])),
        None if delivery.waiting > 0 => (true, fill(words.sending, &[("n", &delivery.waiting)])),
        None if delivery.confirmed > 0 && delivery.held == 0 => (true, words.all_sent.to_owned()),
        None => (true, words.nothing_waits.to_owned()),
    }
}

impl Frame {
    /// Head and bar of a page; `stream` names what keeps it current.
    pub fn of(scene: &Scene, place: Place, title: &str, net: &Region, rev: String) -> Self {
        let words = scene.words();
        let name = scene.visitor.name();
        let station = &scene.status.station;
        let named = if station.name.is_empty() { "Turnstage" } else { &station.name };
        let query = scene.ask.address();
        let with = |name: &str, value: &str| match query.as_str() {
            "?" => format!("?{name}={value}"),
            query => format!("{query}&{name}={value}"),
        };
        let light = |theme: Theme, label| (with("theme", theme.name()), label, scene.look.theme == theme);
        let language =
            |of: Language, label| (with("lang", of.code()), label, of.code(), scene.look.language == of);
        Self {
            w: words,
            lang: scene.look.language.code(),
            theme: scene.look.theme.name(),
            title: format!("{title} · {named}"),
            css: assets::address("panel.css"),
            script: assets::address("live.js"),
            station: named.to_owned(),
            site: station.site.clone(),
            place,
            clock: times::clock(scene.now_wall_ms),
            person: if name.is_empty() { words.nobody.to_owned() } else { name.to_owned() },
            signed_in: scene.visitor.signed_in,
            cares: scene.visitor.role.cares(),
            simulated: scene.status.simulated,
            net: net.html.clone(),
            rev,
            stream: match place {
                Place::Capture => "capture",
                Place::Sessions | Place::Nowhere => "bar",
            },
            lights: [
                light(Theme::Light, words.light),
                light(Theme::Dark, words.dark),
                light(Theme::Auto, words.as_device),
            ],
            languages: [language(Language::En, "English"), language(Language::De, "Deutsch")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstage_cloud_sync::queue::Failure;
    use turnstage_cloud_sync::uploader::DestinationState;

    fn away(rule: &str) -> DestinationState {
        let failure = Failure { rule: rule.to_owned(), reason: "why".to_owned() };
        DestinationState {
            name: "cloud".to_owned(),
            online: false,
            failure: Some(failure),
            notices: Vec::new(),
            under_way: 0,
        }
    }

    #[test]
    fn network_and_queue_are_said_in_two_words() {
        let said = |waiting, failed, rule: Option<&str>| {
            let destinations = rule.map(away).into_iter().collect();
            let delivery = Delivery { waiting, failed, destinations, ..Delivery::default() };
            in_two_words(Language::En.panel(), &delivery)
        };
        assert_eq!(said(0, 0, None), (true, "Nothing waits".to_owned()), "nothing was sent yet");
        let sent = Delivery { confirmed: 36, ..Delivery::default() };
        assert_eq!(in_two_words(Language::En.panel(), &sent), (true, "All sent".to_owned()));
        assert_eq!(said(12, 0, None), (true, "Sending 12".to_owned()));
        assert_eq!(said(12, 0, Some("network-unreachable")), (false, "No network".to_owned()));
        assert_eq!(said(12, 3, Some("token-expired")), (false, "Sign-in refused".to_owned()));
        assert_eq!(said(12, 3, None), (true, "3 refused".to_owned()));
    }
}
