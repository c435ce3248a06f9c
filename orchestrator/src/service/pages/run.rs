//! `/runs/{run}`: a run at a glance.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::RunId;
use program_db::view::{Listing, Order};
use serde::Deserialize;

use super::control;
use super::facts::{Facts, FactsStore};
use super::failure::Failure;
use super::format::{moment, visible};
use super::grid::{Grids, Known};
use super::islands;
use super::layout::{Page, Place, Tab, card, fragment, live};
use super::sections::Sections;
use crate::event::StopReason;
use crate::plot::Links;
use crate::service::Service;
use crate::service::guard::form::FormSecret;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    part: Option<String>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Extension(grids): Extension<Grids>,
    secret: FormSecret,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let facts = store.get(service.db(), run).await?;
    let part = |name: &str| format!("/runs/{run}?part={name}");
    match asked.part.as_deref() {
        Some("now") => return Ok(fragment(now(&service, &secret, &facts).await?, facts.is_old)),
        Some("charts") => return Ok(fragment(charts(&facts), facts.is_old)),
        Some("latest") => return Ok(fragment(latest(&service, run).await?, false)),
        Some("islands") => {
            return Ok(fragment(small_islands(&grids.get(service.db(), &facts).await, run), false));
        }
        _ => {}
    }
    let islands = grids.get(service.db(), &facts).await;
    let body = html! {
        h1 { (visible(&facts.run.title)) }
        (live("now", &part("now"), html! { @if facts.is_old { span data-again hidden {} } (now(&service, &secret, &facts).await?) }))
        (live("charts", &part("charts"), charts(&facts)))
        (card("Islands", live("islands", &part("islands"), small_islands(&islands, run))))
        (card("Latest outcomes", live("latest", &part("latest"), latest(&service, run).await?)))
        (about(&facts))
    };
    let title = format!("Run {run}: {}", facts.run.title);
    Ok(Page { title, place: Place::Run(Tab::Overview), run: Some(&facts.run), from, body }.render())
}

/// State, buttons, figures.
async fn now(service: &Service, secret: &FormSecret, facts: &Facts) -> Result<Markup, Failure> {
    let status = service.status(facts.run.id).await?;
    Ok(html! {
        div class="row" { (control::state(&status)) (control::buttons(service, secret, facts, &status)) }
        @if let Some(reason) = &status.reason { p class="soft small" { (visible(&ending(reason))) } }
        @if let Some(alarm) = &facts.alarm { p class="alarm" role="alert" { (visible(alarm)) } }
        (Sections(Links::Run(facts.run.id)).figures(facts))
    })
}

/// Why a session ended, in words.
fn ending(reason: &str) -> String {
    reason.parse::<StopReason>().map_or_else(|()| reason.to_owned(), |reason| reason.words().to_owned())
}

fn charts(facts: &Facts) -> Markup {
    let sections = Sections(Links::Run(facts.run.id));
    html! {
        (card("Score over the proposals", html! { (sections.scores(facts)) (steps(sections, facts)) }))
        (card("Who proposed", sections.makers(facts, false)))
        (card("How proposals ended", sections.endings(facts)))
    }
}

/// The latest improvements in words, for those who don't see the drawing.
fn steps(sections: Sections, facts: &Facts) -> Markup {
    let last = facts.steps.len().saturating_sub(6);
    html! {
        @if facts.steps.len() > 1 {
            p class="small steps" {
                span class="soft" { "Latest improvements: " }
                @for (index, step) in facts.steps[last..].iter().rev().enumerate() {
                    @if index > 0 { " · " }
                    (sections.program(step.number.0)) " " (super::format::score(step.score)) " "
                    span class="soft" { (super::format::short(&step.operator, 30)) }
                }
            }
        }
    }
}

fn small_islands(known: &Known, run: RunId) -> Markup {
    html! {
        (islands::grids(known, run, (0, 1), 4))
        @if matches!(known, Known::To(_)) { p class="small" { a href={ "/runs/" (run) "/islands" } { "All islands and axes" } } }
    }
}

async fn latest(service: &Service, run: RunId) -> Result<Markup, Failure> {
    let rows =
        service.db().listing(run, &Listing { order: Order::Newest, limit: 12, ..Listing::default() }).await?;
    Ok(html! {
        (Sections(Links::Run(run)).programs(&rows, "Latest outcomes"))
        p class="small" { a href={ "/runs/" (run) "/programs" } { "All programs" } }
    })
}

fn about(facts: &Facts) -> Markup {
    let run = &facts.run;
    html! {
        section class="card" aria-label="About this run" {
            p class="soft small" {
                "Problem " (visible(&run.problem)) ", seed " (run.seed) ", started " (moment(run.created_at)) " UTC, "
                (facts.summary.sessions) @if facts.summary.sessions == 1 { " session" } @else { " sessions" } "."
            }
            @if let Some(trouble) = &facts.settings.trouble {
                p class="notice small" { "Its configuration can't be read any more: " (visible(trouble)) }
            }
            details {
                summary { "Configuration" }
                pre class="text tall" tabindex="0" { (visible(&run.config)) }
            }
        }
    }
}
