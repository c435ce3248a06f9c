//! `/runs/{run}/islands`: the MAP-Elites grid of every island.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::RunId;
use serde::Deserialize;

use super::facts::FactsStore;
use super::failure::Failure;
use super::format::{count, score, visible};
use super::grid::{Archipelago, Grids, Island, Known};
use super::layout::{Page, Place, Tab, card, fragment, live, wide};
use super::sections::Sections;
use crate::plot::{self, Links};
use crate::service::Service;

/// Islands that are drawn; the rest stand in the table.
const DRAWN: usize = 24;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// The axes that are drawn, across and up.
    x: Option<usize>,
    y: Option<usize>,
    part: Option<String>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Extension(grids): Extension<Grids>,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let facts = store.get(service.db(), run).await?;
    let known = grids.get(service.db(), &facts).await;
    let axes = (asked.x.unwrap_or(0), asked.y.unwrap_or(1));
    let drawn = html! {
        (card("Grids", self::grids(&known, run, axes, DRAWN)))
        @if let Known::To(all) = &known { (card("In numbers", table(run, all))) }
    };
    if asked.part.is_some() {
        return Ok(fragment(drawn, facts.is_old));
    }
    let address = format!("/runs/{run}/islands?part=all&x={}&y={}", axes.0, axes.1);
    let body = html! {
        h1 { "Islands" }
        p class="soft" { "Each square is a cell: programs alike in these features, of which the best is kept." }
        @if let Known::To(all) = &known { (choice(run, all, axes)) }
        (live("islands", &address, drawn))
    };
    let title = format!("Islands of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Islands), run: Some(&facts.run), from, body }.render())
}

/// Which axes, where there are more than two.
fn choice(run: RunId, all: &Archipelago, (x, y): (usize, usize)) -> Markup {
    let options = |chosen: usize| {
        html! { @for (index, (name, _)) in all.axes.iter().enumerate() { option value=(index) selected[index == chosen] { (visible(name)) } } }
    };
    html! {
        @if all.axes.len() > 2 {
            form class="filter row" method="get" action={ "/runs/" (run) "/islands" } {
                div { label for="x" { "Across" } select id="x" name="x" { (options(x)) } }
                div { label for="y" { "Up" } select id="y" name="y" { (options(y)) } }
                button type="submit" { "Show" }
                span class="soft small" { "Of cells that differ in the other features, the best is shown." }
            }
        }
    }
}

/// The grids of the first `most` islands.
pub(super) fn grids(known: &Known, run: RunId, axes: (usize, usize), most: usize) -> Markup {
    match known {
        Known::Not(reason) => html! { p class="notice" { "The grids can't be drawn: " (visible(reason)) } },
        Known::Working { told, of } => html! {
            p class="notice" data-again { "The grids are being worked out from the outcomes: " (count(*told)) " of " (count(*of)) ". Load the page again in a moment." }
        },
        Known::To(all) => html! {
            div class="heats" {
                @for island in all.islands.iter().take(most) {
                    figure {
                        figcaption { strong { "Island " (island.index) } (words(island)) }
                        (wide(&format!("Grid of island {}", island.index), html! { (plot::heat(&all.grid(island, axes), Links::Run(run))) }))
                    }
                }
            }
            (plot::legend(all.scores()))
            @if all.islands.len() > most { p class="soft small" { (all.islands.len() - most) " more islands aren't drawn." } }
        },
    }
}

fn words(island: &Island) -> Markup {
    html! {
        @if !island.is_active { " (given up)" }
        @if let Some((number, value)) = island.best { ", best " (score(value)) " (program " (number) ")" }
    }
}

fn table(run: RunId, all: &Archipelago) -> Markup {
    let sections = Sections(Links::Run(run));
    wide(
        "Islands in numbers",
        html! {
            table {
                caption { "After " (count(all.told)) " outcomes." }
                thead { tr {
                    th scope="col" { "Island" } th scope="col" class="number" { "Best" } th scope="col" class="number" { "Program" }
                    th scope="col" class="number" { "Outcomes" } th scope="col" class="number" { "Since an improvement" }
                    th scope="col" class="number" { "Population" } th scope="col" class="number" { "Ever here" }
                } }
                tbody { @for island in &all.islands { tr {
                    td { (island.index) @if !island.is_active { span class="soft" { " given up" } } }
                    td class="number" { (island.best.map_or_else(|| "–".to_owned(), |(_, value)| score(value))) }
                    td class="number" { @if let Some((number, _)) = island.best { (sections.program(number)) } }
                    td class="number" { (count(island.told)) }
                    td class="number" { (count(island.since_improvement)) }
                    td class="number" { (count(island.population as u64)) }
                    td class="number" { (count(island.members as u64)) }
                } } }
            }
        },
    )
}
