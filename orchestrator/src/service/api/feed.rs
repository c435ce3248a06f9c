//! What happens, as it happens.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::Service;
use super::super::events::{place, stream};
use super::super::extract::{Path, Query};
use super::super::problem::Problem;
use super::{OfRun, Refusals};

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Behind the event of this id (the header `Last-Event-ID` says the same); absent: now. Seven numbers of zero mean everything:
    /// `0.0.0.0.0.0.0`.
    #[param(pattern = "^([0-9]{1,15}[.]){6}[0-9]{1,15}$")]
    after: Option<String>,
}

/// Events of all runs as a stream of server-sent events: `run_created`, `run_started`, `proposed`, `finished`, `lessons`, `compared`,
/// `run_ended`. Each has JSON with `run`, `at` and what its name says. The first one, `open`, only gives an id to go on from.
#[utoipa::path(get, path = "/events", tag = "events", params(From),
    responses((status = 200, body = String, content_type = "text/event-stream"), Refusals))]
pub(super) async fn all(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(from): Query<From>,
) -> Result<Response, Problem> {
    let place = place(&service, &headers, from.after.as_deref()).await?;
    Ok(stream(&service, place, None))
}

/// The same of one run.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "events",
    params(OfRun, From),
    responses((status = 200, body = String, content_type = "text/event-stream"), Refusals))]
pub(super) async fn of_run(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    headers: HeaderMap,
    Query(from): Query<From>,
) -> Result<Response, Problem> {
    service.db().run(run).await?;
    let place = place(&service, &headers, from.after.as_deref()).await?;
    Ok(stream(&service, place, Some(run)))
}
