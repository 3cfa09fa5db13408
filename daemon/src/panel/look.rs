//! In which language and light a page is shown: chosen in the menu and kept in a cookie, else as the device asks.

use axum::http::{HeaderMap, header};

use super::ask::Ask;
use crate::access::cookie;
use crate::words::Language;
use crate::words::panel::Panel;

/// A year in seconds: a wall tablet is set up once.
const KEPT_S: u32 = 365 * 24 * 3600;

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Theme {
    Light,
    Dark,
    /// As the device asks.
    #[default]
    Auto,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    pub language: Language,
    pub theme: Theme,
}

impl Look {
    /// By the address, else by cookie, else by what the browser prefers.
    pub fn of(ask: &Ask, headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = ask.lang.as_deref().and_then(language);
        let language = language.or_else(|| cookie(headers, "lang").and_then(self::language));
        let theme = ask.theme.as_deref().and_then(theme);
        Self {
            language: language.or_else(|| accepted.and_then(preferred)).unwrap_or_default(),
            theme: theme.or_else(|| cookie(headers, "theme").and_then(self::theme)).unwrap_or_default(),
        }
    }

    /// What to keep of an address that chooses.
    pub fn cookies(self, ask: &Ask) -> Vec<String> {
        let lang = ask.lang.as_deref().and_then(language).map(|language| ("lang", language.code()));
        let theme = ask.theme.as_deref().and_then(theme).map(|theme| ("theme", theme.name()));
        let kept = lang.into_iter().chain(theme);
        kept.map(|(name, value)| format!("{name}={value}; Path=/; Max-Age={KEPT_S}; SameSite=Lax")).collect()
    }

    /// Texts of the panel.
    pub fn words(self) -> &'static Panel {
        self.language.panel()
    }
}

impl Theme {
    /// As in the address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::Auto => "auto",
        }
    }
}

fn language(code: &str) -> Option<Language> {
    match code {
        "en" => Some(Language::En),
        "de" => Some(Language::De),
        _ => None,
    }
}

fn theme(name: &str) -> Option<Theme> {
    [Theme::Light, Theme::Dark, Theme::Auto].into_iter().find(|theme| theme.name() == name)
}

/// The first language of the list that there is; browsers list them by preference.
fn preferred(accepted: &str) -> Option<Language> {
    let codes = accepted.split(',').filter_map(|entry| entry.trim().get(..2));
    codes.map(str::to_lowercase).find_map(|code| language(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(cookies: &'static str, accepted: &'static str) -> HeaderMap {
        let pairs = [(header::COOKIE, cookies), (header::ACCEPT_LANGUAGE, accepted)];
        pairs.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_address_goes_before_the_cookie_and_the_cookie_before_the_browser() {
        let chosen = Ask { lang: Some("en".to_owned()), ..Ask::default() };
        let both = headers("theme=dark; lang=de", "en-GB");
        assert_eq!(Look::of(&Ask::default(), &both), Look { language: Language::De, theme: Theme::Dark });
        assert_eq!(Look::of(&chosen, &both).language, Language::En);
        assert_eq!(Look::of(&Ask::default(), &headers("", "fr, de-AT;q=0.8, en")).language, Language::De);
        assert_eq!(Look::of(&Ask::default(), &headers("lang=xx", "fr")), Look::default());
    }

    #[test]
    fn only_a_choice_is_kept_and_only_one_that_there_is() {
        let ask = Ask { lang: Some("de".to_owned()), theme: Some("pink".to_owned()), ..Ask::default() };
        let kept = Look::default().cookies(&ask);
        assert_eq!(kept, ["lang=de; Path=/; Max-Age=31536000; SameSite=Lax"]);
    }
}
