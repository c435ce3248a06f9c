//! `/runs/{run}/programs/{number}`: one proposal, whatever became of it.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::view::{Listing, Order, Place as From};
use program_db::{Artifact, DbError, Program, Proposal, RunId};
use search::{Language, ProgramId};
use serde::Deserialize;

use super::facts::FactsStore;
use super::failure::Failure;
use super::format::{badge, count, duration, moment, money, score, short, visible};
use super::layout::{Page, Place, Tab, card};
use super::sections::Sections;
use super::{code, trials};
use crate::plot::Links;
use crate::service::Service;

/// Children on one page.
const CHILDREN: u32 = 25;
/// Ancestors that are named; of more only the first and the last.
const ANCESTORS: usize = 14;
/// Characters of a text that is shown; longer ones are cut.
const TEXT: usize = 300_000;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Children behind this one.
    child: Option<u64>,
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Path((run, number)): Path<(RunId, u64)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let db = service.db();
    let id = ProgramId(number);
    let proposal = db.proposal(run, id).await?;
    let facts = store.get(db, run).await?;
    let program = match db.program(run, id).await {
        Ok(program) => Some(program),
        Err(DbError::NoProgram { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let outcome = db.outcome(run, id).await?;
    let evaluation = db.evaluation(run, id).await?;
    let rows = db.trials(run, id).await?;
    let looks = db.decisions(run, id).await?;
    let artifacts = db.artifacts(run, id).await?;
    let comparisons = db.comparisons(run, id).await?;
    let parent = match proposal.parent {
        Some(parent) => Some(db.program(run, parent).await?),
        None => None,
    };
    let ancestors = db.ancestors(run, id).await?;
    let after = asked.child.map(|number| From { number: ProgramId(number), score: None });
    let children = db
        .listing(
            run,
            &Listing { order: Order::Oldest, parent: Some(id), after, limit: CHILDREN, ..Listing::default() },
        )
        .await?;
    let child_count = db.child_count(run, id).await?;
    let language = facts.settings.language;
    let champion = facts.champion().is_some_and(|(best, _)| best == id);
    let body = html! {
        (head(run, &proposal, program.as_ref(), champion, facts.series.last))
        (origin(run, &proposal, program.as_ref(), &ancestors))
        (trials::verdict(outcome.as_ref(), evaluation.as_ref(), &rows, &looks))
        (trials::comparisons(number, &comparisons))
        (change(run, &proposal, program.as_ref(), parent.as_ref()))
        @if let Some(program) = &program { (source(program, language)) }
        (texts(&proposal))
        (left(&artifacts))
        (family(run, number, &children, child_count))
    };
    let title = format!("Program {number} of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Programs), run: Some(&facts.run), from: None, body }.render())
}

fn head(
    run: RunId,
    proposal: &Proposal,
    program: Option<&Program>,
    is_champion: bool,
    last: Option<ProgramId>,
) -> Markup {
    let number = proposal.number.0;
    html! {
        div class="row" {
            h1 { "Program " (number) }
            @if is_champion { span class="badge good" { "◆ champion of the run" } }
            @if program.is_none() { span class="badge fail" { "× led to no program" } }
            nav class="row small" aria-label="Neighbours" {
                @if number > 0 { a href={ "/runs/" (run) "/programs/" (number - 1) } rel="prev" data-key="k" { "← " (number - 1) } }
                @if last.is_some_and(|last| number < last.0) { a href={ "/runs/" (run) "/programs/" (number + 1) } rel="next" data-key="j" { (number + 1) " →" } }
            }
        }
    }
}

/// Where it comes from.
fn origin(
    run: RunId,
    proposal: &Proposal,
    program: Option<&Program>,
    ancestors: &[program_db::view::Ancestor],
) -> Markup {
    let sections = Sections(Links::Run(run));
    let by = proposal.model.as_deref().unwrap_or(&proposal.proposer);
    html! {
        p class="soft" {
            @if let Some(parent) = proposal.parent { (visible(&proposal.operator)) " of program " (sections.program(parent.0)) " by " }
            (visible(by))
            ", island " (proposal.island)
            @if let Some(program) = program { ", generation " (program.generation) }
            ", " (moment(proposal.created_at)) " UTC"
            @if proposal.latency.as_millis() > 0 { ", " (duration(proposal.latency.as_secs_f64())) }
            @if let Some(cost) = proposal.cost { ", cost " (money(cost)) }
            @if let (Some(sent), Some(received)) = (proposal.tokens_in, proposal.tokens_out) {
                ", " (count(sent)) " tokens sent and " (count(received)) " received"
                @if proposal.tokens_estimated { " (estimated)" }
            }
            "."
            @if let Some(broken) = proposal.repairs { " It mends program " (sections.program(broken.0)) "." }
            @if !proposal.inspirations.is_empty() {
                " It was shown "
                @for (index, number) in proposal.inspirations.iter().enumerate() { @if index > 0 { ", " } (sections.program(number.0)) }
                "."
            }
        }
        @if ancestors.len() > 1 { (chain(sections, ancestors)) }
    }
}

/// From the initial program to this one.
fn chain(sections: Sections, ancestors: &[program_db::view::Ancestor]) -> Markup {
    let hidden = ancestors.len().saturating_sub(ANCESTORS);
    html! {
        nav aria-label="Lineage" {
            ol class="chain small" {
                @for (index, ancestor) in ancestors.iter().enumerate() {
                    @if index == 0 || index > hidden {
                        li {
                            (sections.program(ancestor.number.0))
                            @if let Some(value) = ancestor.score { " " span class="soft" { (score(value)) } }
                        }
                    } @else if index == 1 {
                        li class="soft" { "… " (hidden) " more" }
                    }
                }
            }
        }
    }
}

fn change(run: RunId, proposal: &Proposal, program: Option<&Program>, parent: Option<&Program>) -> Markup {
    html! {
        @if let (Some(program), Some(parent)) = (program, parent) {
            @let (added, removed) = code::counts(&parent.source, &program.source);
            (card("Change to the parent", html! {
                p class="soft small" {
                    (added) " lines added, " (removed) " removed. "
                    a href={ "/runs/" (run) "/programs/" (proposal.number) "/diff/0" } { "Against the initial program" }
                }
                (code::difference(&parent.source, &program.source, "Change to the parent"))
            }))
        }
    }
}

fn source(program: &Program, language: Language) -> Markup {
    card(
        "Source",
        html! {
            @if program.source.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                p class="notice small" { "It has control characters; they are shown as escapes." }
            }
            (code::source(&program.source, language, "Source"))
        },
    )
}

fn texts(proposal: &Proposal) -> Markup {
    let shown = |name: &str, text: Option<&str>| {
        html! {
            @if let Some(text) = text {
                details {
                    summary { (name) " " span class="soft small" { (count(text.len() as u64)) " bytes" } }
                    pre class="text tall" tabindex="0" role="region" aria-label=(name) { (cut(text)) }
                }
            }
        }
    };
    html! {
        @if proposal.prompt.is_some() || proposal.reply.is_some() {
            (card("Prompt and reply", html! {
                @if !proposal.left_out.is_empty() {
                    p class="soft small" { "Left out for length: " (short(&proposal.left_out.join(", "), 300)) }
                }
                (shown("Prompt", proposal.prompt.as_deref()))
                (shown("Reply", proposal.reply.as_deref()))
            }))
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}\n… {} more bytes", visible(&text[..end]), text.len() - end),
        None => visible(text),
    }
}

fn left(artifacts: &[Artifact]) -> Markup {
    html! {
        @if !artifacts.is_empty() {
            (card("Artifacts", html! {
                @for artifact in artifacts {
                    details open[artifacts.len() == 1] {
                        summary { (short(&artifact.name, 100)) " " span class="soft small" { (count(artifact.content.len() as u64)) " bytes" } }
                        pre class="text tall" tabindex="0" role="region" aria-label=(short(&artifact.name, 100)) { (cut(&artifact.content)) }
                    }
                }
            }))
        }
    }
}

fn family(run: RunId, number: u64, children: &[program_db::view::Listed], all: u64) -> Markup {
    html! {
        @if all > 0 {
            (card("Children", html! {
                (Sections(Links::Run(run)).programs(children, "Children"))
                p class="pager small" {
                    (count(all)) @if all == 1 { " proposal" } @else { " proposals" } " started from it."
                    @if children.len() == CHILDREN as usize { @if let Some(last) = children.last() {
                        " " a href={ "/runs/" (run) "/programs/" (number) "?child=" (last.number) "#children" } { "More" }
                    } }
                    " " a href={ "/runs/" (run) "/lineage?root=" (number) } { "As a tree" }
                }
            }))
        }
    }
}

/// A program's sign and score, for pages that name one.
pub(super) fn brief(program: &Program) -> Markup {
    let outcome = program.outcome.as_ref();
    let measured = outcome.and_then(search::Outcome::measured);
    html! {
        (badge(outcome.map(search::Outcome::kind), measured.map(|it| it.verdict.as_str())))
        @if let Some(measured) = measured { " score " strong { (score(measured.score.get())) } }
    }
}
