//! REST, under `/api/v1`, described by its own OpenAPI document.

use axum::Router;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::Service;

/// Where everything of this version lies.
const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(info(
    title = "evolve",
    description = "Evolutionary code search: watch, steer and query runs. docs/service.md has the words.",
))]
struct Document;

/// The routes, with the document that describes exactly these.
pub(super) fn routes() -> Router<Service> {
    let (router, document) =
        OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, OpenApiRouter::new()).split_for_parts();
    router.route(&format!("{BASE}/openapi.json"), get(async move || axum::Json(document)))
}
