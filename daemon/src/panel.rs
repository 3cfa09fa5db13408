//! Pages.

use axum::Router;

use crate::window::Window;

/// Pages.
pub fn router(window: Window) -> Router {
    drop(window);
    Router::new()
}
