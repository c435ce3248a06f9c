//! `/runs/{run}/device`: how steady the machine was.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;
use program_db::RunId;
use program_db::view::DeviceTrace;
use serde::Deserialize;

use super::facts::FactsStore;
use super::failure::Failure;
use super::format::visible;
use super::layout::{Page, Place, Tab, card, fragment, live, wide};
use crate::plot;
use crate::report::trace::{Promotion, Trace};
use crate::service::Service;

/// Evaluations whose reference trials are drawn.
const EVALUATIONS: u32 = 240;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    part: Option<String>,
}

/// The trace as reports know it.
pub(crate) fn trace(found: DeviceTrace) -> Trace {
    let promotion = |(at, number): (i64, search::ProgramId)| Promotion { at, number: number.0 };
    Trace { trials: found.trials, promotions: found.promotions.into_iter().map(promotion).collect() }
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let facts = store.get(service.db(), run).await?;
    let found = service.db().device_trace(run, EVALUATIONS, &facts.steps).await?;
    let every = found.every;
    let trace = trace(found);
    let drawn = html! {
        @if trace.trials.is_empty() {
            p class="soft" { "No trials of a reference: a command gave the scores, or nothing was measured yet." }
        } @else {
            p { @for line in trace.words().lines() { (visible(line)) br; } }
            (wide("The reference's speed over the run", html! { (plot::trace(&trace)) }))
            @if every > 1 { p class="soft small" { "Of " (every) " evaluations one is shown." } }
        }
    };
    if asked.part.is_some() {
        return Ok(fragment(drawn, facts.is_old));
    }
    let body = html! {
        h1 { "Device" }
        p class="soft" { "The same program again and again over the run: if it gets slower, so does the machine." }
        (card("The reference's trials", live("trace", &format!("/runs/{run}/device?part=trace"), drawn)))
    };
    let title = format!("Device of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Device), run: Some(&facts.run), from, body }.render())
}
