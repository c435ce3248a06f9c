//! The style, the script and the icon, embedded.

use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use search::code_hash::token_hash;

use crate::plot;

static CSS: LazyLock<String> =
    LazyLock::new(|| format!("{}\n{}", include_str!("../assets/style.css"), plot::STYLE));
const SCRIPT: &str = include_str!("../assets/live.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// Changes with what is embedded, so that browsers may keep it for long.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash = token_hash(&format!("{}{SCRIPT}", *CSS), search::Language::Other).to_string();
    hash.chars().take(12).collect()
});

/// Names the version of style and script.
pub(super) fn version() -> &'static str {
    &VERSION
}

/// The style that a file by itself needs.
pub(crate) fn style_text() -> &'static str {
    &CSS
}

pub(super) async fn style(headers: HeaderMap) -> Response {
    asset(&headers, "text/css; charset=utf-8", &CSS)
}

pub(super) async fn live(headers: HeaderMap) -> Response {
    asset(&headers, "text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn icon(headers: HeaderMap) -> Response {
    asset(&headers, "image/svg+xml", ICON)
}

fn asset(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let tag = format!("\"{}\"", version());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "public, max-age=3600".to_owned())];
    if known.is_some_and(|known| known == tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, kind)], text).into_response()
}
