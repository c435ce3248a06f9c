//! `/runs/{run}/programs`: all proposals, page by page.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::RunId;
use program_db::view::{Listed, Listing, Order, Place as From};
use search::ProgramId;
use serde::Deserialize;

use super::facts::{Facts, FactsStore};
use super::failure::Failure;
use super::format::{kind, visible};
use super::layout::{Page, Place, Tab, fragment, live};
use super::sections::Sections;
use crate::plot::Links;
use crate::service::Service;

/// Rows on one page.
const PAGE: u32 = 50;

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    sort: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    island: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    parent: String,
    /// The page begins behind this number, and this score.
    after: Option<u64>,
    score: Option<f64>,
    part: Option<String>,
}

impl Asked {
    fn order(&self) -> Order {
        match self.sort.as_str() {
            "best" => Order::Best,
            "oldest" => Order::Oldest,
            _ => Order::Newest,
        }
    }

    fn listing(&self) -> Listing {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Listing {
            order: self.order(),
            kind: given(&self.kind),
            island: self.island.trim().parse().ok(),
            by: given(&self.by),
            parent: self.parent.trim().parse().ok().map(ProgramId),
            after: self.after.map(|number| From { number: ProgramId(number), score: self.score }),
            limit: PAGE + 1,
        }
    }

    /// The address of a page of the same list.
    fn address(&self, run: RunId, more: &[(&str, String)]) -> String {
        let own = [
            ("sort", self.sort.clone()),
            ("kind", self.kind.clone()),
            ("island", self.island.clone()),
            ("by", self.by.clone()),
            ("parent", self.parent.clone()),
        ];
        let pairs = own.iter().chain(more).filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("/runs/{run}/programs?{}", query.join("&"))
    }
}

/// Text as a query takes it.
pub(super) fn encoded(text: &str) -> String {
    let mut result = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            result.push(byte.into());
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let facts = store.get(service.db(), run).await?;
    let mut rows = service.db().listing(run, &asked.listing()).await?;
    let more = rows.len() > PAGE as usize;
    rows.truncate(PAGE as usize);
    let table = table(run, &asked, &rows, more);
    if asked.part.is_some() {
        return Ok(fragment(table, false));
    }
    // A page in the middle of a list stays as it is: it is its rows that were asked for.
    let table = match asked.after {
        None => live("programs", &asked.address(run, &[("part", "rows".to_owned())]), table),
        Some(_) => table,
    };
    let body = html! {
        h1 { "Programs" }
        (filter(&facts, &asked))
        section class="card" aria-label="Programs" { (table) }
    };
    let title = format!("Programs of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Programs), run: Some(&facts.run), from, body }.render())
}

fn table(run: RunId, asked: &Asked, rows: &[Listed], more: bool) -> Markup {
    html! {
        @if rows.is_empty() { p class="soft" { "None." } } @else { (Sections(Links::Run(run)).programs(rows, "Programs")) }
        p class="pager" {
            @if asked.after.is_some() { a href=(asked.address(run, &[])) { "First page" } }
            @if more { @if let Some(last) = rows.last() {
                @let score = last.score.filter(|_| asked.order() == Order::Best).map_or_else(String::new, |score| score.to_string());
                a href=(asked.address(run, &[("after", last.number.to_string()), ("score", score)])) rel="next" data-key="n" { "Next page" }
            } }
        }
    }
}

fn filter(facts: &Facts, asked: &Asked) -> Markup {
    let run = facts.run.id;
    let mut makers: Vec<&str> =
        facts.makers.iter().map(|maker| maker.model.as_deref().unwrap_or(&maker.proposer)).collect();
    // Who has a name that can't be written into a page can be found by SQL.
    makers.retain(|maker| visible(maker) == *maker);
    makers.sort_unstable();
    makers.dedup();
    let option = |value: &str, name: &str, chosen: &str| {
        html! { option value=(value) selected[value == chosen] { (visible(name)) } }
    };
    html! {
        form class="filter row" method="get" action={ "/runs/" (run) "/programs" } role="search" aria-label="Programs" {
            div { label for="sort" { "Order" } select id="sort" name="sort" {
                (option("", "newest first", &asked.sort)) (option("oldest", "oldest first", &asked.sort)) (option("best", "best first", &asked.sort))
            } }
            div { label for="kind" { "Ended as" } select id="kind" name="kind" {
                (option("", "anything", &asked.kind))
                @for ending in &facts.endings { (option(&ending.kind, kind(Some(&ending.kind)), &asked.kind)) }
                (option("pending", "pending", &asked.kind))
            } }
            div { label for="by" { "By" } select id="by" name="by" {
                (option("", "anybody", &asked.by))
                @for maker in makers { (option(maker, maker, &asked.by)) }
            } }
            div { label for="island" { "Island" } input id="island" name="island" inputmode="numeric" size="4" value=(asked.island) pattern="[0-9]*"; }
            div { label for="parent" { "Parent" } input id="parent" name="parent" inputmode="numeric" size="7" value=(asked.parent) pattern="[0-9]*"; }
            button type="submit" { "Show" }
        }
    }
}
