//! The dashboard: pages rendered here, from the views of `program_db`, in HTML that works without a script too.
//!
//! `assets/live.js` adds three things: parts of a page that change with the run are fetched anew when the event stream says so, keys move
//! through pages, and the choice of light or dark is kept. Whatever was stored is shown as text: maud escapes it, and
//! [`format::visible`] makes control characters visible.

mod assets;
mod code;
mod compare;
mod control;
mod device;
mod facts;
mod failure;
mod format;
mod grid;
mod help;
mod islands;
mod layout;
mod lineage;
mod list;
mod models;
mod overview;
mod program;
mod run;
mod sections;
mod sql;
mod trials;

use axum::routing::{get, post};
use axum::{Extension, Router};

pub(crate) use self::assets::style_text;
pub(crate) use self::code::difference;
pub(crate) use self::facts::Facts;
use self::facts::FactsStore;
pub(crate) use self::format::{kind, score, visible};
use self::grid::Grids;
pub(crate) use self::layout::{card, full, wide};
pub(crate) use self::sections::Sections;
use super::Service;

/// Every page and asset.
pub(super) fn routes(service: &Service) -> Router<Service> {
    let store = FactsStore::default();
    store.warm(service.db());
    Router::new()
        .route("/", get(overview::page))
        .route("/runs/{run}", get(run::page))
        .route("/runs/{run}/programs", get(list::page))
        .route("/runs/{run}/programs/{number}", get(program::page))
        .route("/runs/{run}/programs/{number}/diff/{other}", get(compare::diff))
        .route("/runs/{run}/lineage", get(lineage::page))
        .route("/runs/{run}/islands", get(islands::page))
        .route("/runs/{run}/models", get(models::page))
        .route("/runs/{run}/device", get(device::page))
        .route("/compare", get(compare::page))
        .route("/sql", get(sql::page))
        .route("/help", get(help::page))
        .route("/start", post(control::start))
        .route("/runs/{run}/control", post(control::change))
        .route("/assets/style.css", get(assets::style))
        .route("/assets/live.js", get(assets::live))
        .route("/assets/icon.svg", get(assets::icon))
        .layer(Extension(store))
        .layer(Extension(Grids::default()))
}
