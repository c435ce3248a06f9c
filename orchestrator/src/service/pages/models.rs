//! `/runs/{run}/models`: who proposed, at what price, with what success.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;
use program_db::RunId;
use serde::Deserialize;

use super::facts::FactsStore;
use super::failure::Failure;
use super::format::{moment, money, visible};
use super::layout::{Page, Place, Tab, card, fragment, live};
use super::sections::Sections;
use crate::plot::Links;
use crate::service::Service;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    part: Option<String>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let facts = store.get(service.db(), run).await?;
    let lessons = service.db().lessons(run).await?;
    let sections = Sections(Links::Run(run));
    let tables = html! {
        (card("Proposers and models", sections.makers(&facts, false)))
        (card("Operators", sections.makers(&facts, true)))
        (card("How proposals ended", sections.endings(&facts)))
    };
    if asked.part.is_some() {
        return Ok(fragment(tables, facts.is_old));
    }
    let body = html! {
        h1 { "Models" }
        p class="soft" {
            "Yield: the share that was measured. Gain: by how much the best score rose through their programs. Improved: better than the reference beyond chance."
        }
        (live("tables", &format!("/runs/{run}/models?part=tables"), tables))
        @if let Some(latest) = lessons.iter().rev().find(|attempt| attempt.attempt.lessons.is_ok()) {
            (card("Lessons", html! {
                p class="soft small" {
                    "What a model made of the first " (latest.attempt.told) " outcomes, version " (latest.attempt.version) ", " (moment(latest.created_at)) " UTC"
                    @if let Some(cost) = latest.attempt.cost { ", cost " (money(cost)) }
                    "."
                }
                @if let Ok(points) = &latest.attempt.lessons { ul { @for point in points { li { (visible(point)) } } } }
            }))
        }
    };
    let title = format!("Models of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Models), run: Some(&facts.run), from, body }.render())
}
