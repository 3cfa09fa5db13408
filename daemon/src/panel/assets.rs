//! Style sheet and scripts, in the binary. Their address has the hash of all of them, so a browser keeps them for
//! ever and still has the new ones after an update.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "src/panel/assets"]
struct Files;

/// Address of a file: `/assets/0123456789abcdef/panel.css`. All have the same hash, so that a script names another
/// one beside it.
pub(super) fn address(file: &str) -> String {
    format!("/assets/{}/{file}", hash())
}

fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut names: Vec<_> = Files::iter().collect();
        names.sort();
        let all =
            names.iter().filter_map(|name| Files::get(name)).flat_map(|file| file.metadata.sha256_hash());
        turnstage_cloud_sync::Sha256::of(&all.collect::<Vec<u8>>()).to_string().chars().take(16).collect()
    })
}

/// One file. Under an old hash it is the present one, not to be kept.
pub(super) async fn file(Path((asked, name)): Path<(String, String)>) -> Response {
    let Some(file) = Files::get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let keep = if asked == hash() { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)];
    (headers, file.data.into_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_kept_for_ever_under_their_hash_only() {
        let ask = async |hash: &str, name: &str| file(Path((hash.to_owned(), name.to_owned()))).await;
        let keep =
            |response: &Response| response.headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned();
        let fresh = ask(hash(), "panel.css").await;
        assert!(keep(&fresh).contains("immutable"));
        assert_eq!(fresh.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        assert_eq!(keep(&ask("0", "live.js").await), "no-cache");
        assert_eq!(ask(hash(), "../panel.rs").await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn scripts_and_style_of_the_capture_page_are_small() {
        let size = |name: &str| Files::get(name).map_or(0, |file| file.data.len());
        let all: usize = Files::iter().map(|name| size(&name)).sum();
        assert!(all > 10_000, "the files are embedded");
        assert!(all < 100_000, "{all} bytes before compression, which leaves about a third");
    }

    #[test]
    fn both_ways_to_the_dark_have_the_same_colours() {
        let css = Files::get("panel.css").expect("the style sheet");
        let css = String::from_utf8(css.data.into_owned()).expect("text");
        let block = |selector: &str| {
            let from = css.find(selector).expect(selector) + selector.len();
            let text = &css[from..];
            let text = &text[..text.find('}').expect("its end")];
            let values = text.split(';').filter_map(|line| line.trim().split_once(": "));
            let values = values.filter(|(name, _)| name.starts_with("--"));
            values.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let (by_device, chosen) =
            (block(":root:not([data-theme=\"light\"]) {"), block(":root[data-theme=\"dark\"] {"));
        assert!(by_device.len() > 20);
        assert_eq!(by_device, chosen);
    }
}
