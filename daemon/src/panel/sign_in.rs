//! Sign in: the form; the API checks it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::bar::{self, Frame, Place};
use super::scene::Scene;
use super::{Viewer, region};
use crate::window::Window;
use crate::words::panel::fill;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    heading: String,
    offline: String,
}

/// `GET /sign-in`.
pub(super) async fn page(State(window): State<Window>, viewer: Viewer) -> Response {
    let scene = Scene::bar(&window, &viewer).await;
    super::page(&viewer, render(&scene))
}

fn render(scene: &Scene) -> askama::Result<String> {
    let net = bar::net(scene)?;
    let rev = region::revision(std::slice::from_ref(&net));
    let words = scene.words();
    let frame = Frame::of(scene, Place::Nowhere, words.sign_in, &net, rev);
    let heading = fill(words.sign_in_to, &[("station", &frame.station)]);
    let offline = fill(words.works_offline, &[("site", &frame.site)]);
    Page { frame, heading, offline: offline.trim_start_matches(". ").to_owned() }.render()
}
