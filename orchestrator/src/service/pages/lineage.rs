//! `/runs/{run}/lineage`: who was made from whom.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::RunId;
use search::ProgramId;
use serde::Deserialize;

use super::facts::FactsStore;
use super::failure::Failure;
use super::format::{badge, change, count, score, short};
use super::layout::{Page, Place, Tab, card, fragment, live, wide};
use super::sections::Sections;
use crate::plot::{self, Links};
use crate::service::Service;

/// Nodes of one drawing.
const NODES: u32 = 160;
/// Ancestors in the champion's table.
const ANCESTORS: usize = 60;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Only what comes from this program.
    root: Option<u64>,
    part: Option<String>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Path(run): Path<RunId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = Some(service.db().feed_end().await?);
    let db = service.db();
    let facts = store.get(db, run).await?;
    let root = asked.root.unwrap_or_default();
    let tree = db.tree(run, ProgramId(root), NODES).await?;
    let champion = facts.champion().map(|(number, _)| number);
    let title = if root == 0 { "All programs".to_owned() } else { format!("What came from program {root}") };
    let drawn = html! {
        (wide(&title, html! { (plot::tree(&title, &tree, champion.map(|it| it.0), Links::Run(run))) }))
        p class="soft small" {
            "A circle was measured, darker (in the dark: brighter) is better; a cross came to nothing; a ring is not evaluated yet; the diamond is the champion."
            @if tree.is_cut {
                " Of this many, the best and their ancestors are shown; a dotted line passes ancestors over, " code { "+12" } " stands for children that aren't shown."
            }
        }
        @if tree.is_cut { (more(run, &tree)) }
    };
    if asked.part.is_some() {
        return Ok(fragment(drawn, facts.is_old));
    }
    let ancestors = match champion {
        Some(champion) => db.ancestors(run, champion).await?,
        None => Vec::new(),
    };
    let address = format!("/runs/{run}/lineage?part=tree&root={root}");
    let body = html! {
        h1 { "Lineage" }
        @if root == 0 && ancestors.len() > 1 { (card("The champion's ancestors", ancestry(run, &ancestors))) }
        (card(&title, live("tree", &address, drawn)))
        @if root > 0 { p { a href={ "/runs/" (run) "/lineage" } { "The whole run" } } }
    };
    let title = format!("Lineage of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Lineage), run: Some(&facts.run), from, body }.render())
}

fn ancestry(run: RunId, ancestors: &[program_db::view::Ancestor]) -> Markup {
    let sections = Sections(Links::Run(run));
    let first = ancestors.len().saturating_sub(ANCESTORS);
    html! {
        (wide("The champion's ancestors", html! {
            table {
                thead { tr {
                    th scope="col" class="number" { "Generation" } th scope="col" class="number" { "Program" } th scope="col" { "Outcome" }
                    th scope="col" class="number" { "Score" } th scope="col" class="number" { "Against parent" } th scope="col" { "Operator" } th scope="col" { "By" }
                } }
                tbody {
                    @for (index, ancestor) in ancestors.iter().enumerate().skip(first) {
                        @let before = index.checked_sub(1).and_then(|before| ancestors[before].score).filter(|score| *score > 0.0);
                        tr data-row {
                            td class="number" { (index) }
                            td class="number" { (sections.program(ancestor.number.0)) }
                            td { (badge(ancestor.kind.as_deref(), ancestor.verdict.as_deref())) }
                            td class="number" { (ancestor.score.map_or_else(|| "–".to_owned(), score)) }
                            td class="number" { @if let (Some(own), Some(before)) = (ancestor.score, before) { (change(own / before - 1.0)) } }
                            td { (short(&ancestor.operator, 60)) }
                            td { (short(&ancestor.by, 40)) }
                        }
                    }
                }
            }
        }))
        @if first > 0 { p class="soft small" { "The " (first) " before them aren't shown." } }
    }
}

/// Where what isn't shown can be seen.
fn more(run: RunId, tree: &program_db::view::Tree) -> Markup {
    let mut cut: Vec<_> = tree.nodes.iter().filter(|node| node.hidden > 0).collect();
    cut.sort_by_key(|node| std::cmp::Reverse(node.hidden));
    html! {
        p class="small" {
            span class="soft" { "Subtrees with most that isn't shown: " }
            @for (index, node) in cut.iter().filter(|node| node.parent.is_some()).take(12).enumerate() {
                @if index > 0 { ", " }
                a href={ "/runs/" (run) "/lineage?root=" (node.number) } { (node.number) } " (+" (count(node.hidden)) ")"
            }
        }
    }
}
