//! The dashboard: pages rendered here.

use axum::Router;

use super::Service;

/// Every page and asset.
pub(super) fn routes() -> Router<Service> {
    Router::new()
}
