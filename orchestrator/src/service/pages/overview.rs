//! `/`: all runs.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::Run;
use serde::Deserialize;

use super::control;
use super::facts::{Facts, FactsStore};
use super::failure::Failure;
use super::format::{change, count, duration, moment, money, score, short, visible};
use super::layout::{Page, Place, card, fragment, live, wide};
use crate::plot;
use crate::service::Service;
use crate::service::guard::form::FormSecret;
use crate::service::run_state::RunStatus;

/// Runs on one page.
const PAGE: usize = 25;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Only runs with smaller numbers.
    before: Option<i64>,
    /// Which live part.
    part: Option<String>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    secret: FormSecret,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let mut runs = service.db().runs().await?;
    let all = runs.len();
    runs.retain(|run| asked.before.is_none_or(|before| run.id < before));
    runs.reverse();
    let more = runs.len() > PAGE;
    runs.truncate(PAGE);
    let mut is_old = false;
    let mut rows = Vec::with_capacity(runs.len());
    for run in &runs {
        let facts = store.get(service.db(), run.id).await?;
        let status = service.status(run.id).await?;
        is_old |= facts.is_old;
        rows.push(row(&facts, &status));
    }
    let address = asked
        .before
        .map_or_else(|| "/?part=runs".to_owned(), |before| format!("/?part=runs&before={before}"));
    let table = table(&rows);
    if asked.part.as_deref() == Some("runs") {
        return Ok(fragment(table, is_old));
    }
    let body = html! {
        h1 { "Runs" }
        p class="soft" { (count(all as u64)) " in " code { (visible(&service.db().path().display().to_string())) } }
        @if all == 0 {
            p class="lead" { "No run yet. " code { "evolve run --config config.yaml" } " starts one." }
        } @else {
            section class="card" aria-label="All runs" { (live("runs", &address, table)) }
        }
        @if more {
            p class="pager" { @if let Some(last) = runs.last() { a href={ "/?before=" (last.id) } rel="next" { "Older runs" } } }
        }
        (card("Start a run", control::starting(&service, &secret)))
    };
    Ok(Page { title: "Runs".to_owned(), place: Place::Runs, run: None, from, body }.render())
}

fn table(rows: &[Markup]) -> Markup {
    wide(
        "Runs",
        html! {
            table {
                thead { tr {
                    th scope="col" { "Run" } th scope="col" { "State" } th scope="col" class="number" { "Best" }
                    th scope="col" class="number" { "Gain" } th scope="col" { "Best so far" } th scope="col" class="number" { "Proposals" }
                    th scope="col" class="number" { "Measured" } th scope="col" class="number" { "Time" } th scope="col" class="number" { "Cost" }
                    th scope="col" { "Started (UTC)" }
                } }
                tbody { @for row in rows { (row) } }
            }
        },
    )
}

fn row(facts: &Facts, status: &RunStatus) -> Markup {
    let Run { id, title, created_at, .. } = &facts.run;
    let summary = &facts.summary;
    let steps: Vec<(u64, f64)> = facts.steps.iter().map(|step| (step.number.0, step.score)).collect();
    let last = facts.series.last.map_or(0, |last| last.0);
    let best = facts.champion().map(|(_, score)| score.get());
    let gain = best.zip(summary.initial).filter(|(_, initial)| initial.get() > 0.0);
    html! {
        tr data-row {
            td { a href={ "/runs/" (id) } { (id) } " " (short(title, 60)) @if facts.alarm.is_some() { " " span class="badge bad" { "not sandboxed fully" } } }
            td { (control::state(status)) }
            td class="number" { (best.map_or_else(|| "–".to_owned(), score)) }
            td class="number" { (gain.map_or_else(|| "–".to_owned(), |(best, initial)| change(best / initial.get() - 1.0))) }
            td { (plot::spark(&format!("Best score so far of run {id}"), &steps, last)) }
            td class="number" { (count(summary.proposals)) }
            td class="number" { (count(summary.outcomes.get("measured").copied().unwrap_or_default())) }
            td class="number nowrap" { (duration(summary.duration.as_secs_f64())) }
            td class="number" { (summary.cost.map_or_else(|| "–".to_owned(), money)) }
            td class="nowrap" { (moment(*created_at)) }
        }
    }
}
