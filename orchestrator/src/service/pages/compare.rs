//! `/compare?a=1/5&b=1/7` two programs, `/compare?a=1&b=2` two runs, `/runs/{run}/programs/{number}/diff/{other}` what differs.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::{Program, RunId};
use search::{Outcome, ProgramId};
use serde::Deserialize;

use super::code;
use super::facts::{Facts, FactsStore};
use super::failure::Failure;
use super::format::{count, duration, money, percent, score, short, visible};
use super::layout::{Page, Place, Tab, card, full, wide};
use super::program::brief;
use crate::plot::{self, Curve};
use crate::report::numbers::quantity;
use crate::service::Service;
use crate::service::problem::Problem;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Run(RunId),
    Program(RunId, u64),
}

impl Side {
    fn read(text: &str) -> Option<Self> {
        match text.trim().split_once('/') {
            None => text.trim().parse().ok().map(Self::Run),
            Some((run, number)) => Some(Self::Program(run.trim().parse().ok()?, number.trim().parse().ok()?)),
        }
    }
}

pub(super) async fn page(
    State(service): State<Service>,
    Extension(store): Extension<FactsStore>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let body = if asked.a.trim().is_empty() && asked.b.trim().is_empty() {
        html! { p class="soft" { "Two runs, such as " code { "1" } " and " code { "2" } ", or two programs, such as " code { "1/5" } " and " code { "1/7" } "." } }
    } else {
        match (Side::read(&asked.a), Side::read(&asked.b)) {
            (Some(Side::Run(a)), Some(Side::Run(b))) => {
                runs(&*store.get(service.db(), a).await?, &*store.get(service.db(), b).await?)
            }
            (Some(Side::Program(run, a)), Some(Side::Program(other, b))) => {
                let a = (run, service.db().program(run, ProgramId(a)).await?);
                let b = (other, service.db().program(other, ProgramId(b)).await?);
                programs(&a, &b)
            }
            _ => {
                return Err(Problem::bad_request(
                    "these two can't be compared: name two runs (1 and 2) or two programs (1/5 and 1/7)",
                )
                .into());
            }
        }
    };
    let body = html! {
        h1 { "Compare" }
        form class="filter row" method="get" action="/compare" {
            div { label for="a" { "One" } input id="a" name="a" size="10" value=(asked.a) placeholder="1/5" required; }
            div { label for="b" { "The other" } input id="b" name="b" size="10" value=(asked.b) placeholder="1/7" required; }
            button type="submit" { "Compare" }
        }
        (body)
    };
    Ok(Page { title: "Compare".to_owned(), place: Place::Compare, run: None, from: None, body }.render())
}

pub(super) async fn diff(
    State(service): State<Service>,
    Path((run, number, other)): Path<(RunId, u64, u64)>,
) -> Result<Response, Failure> {
    let db = service.db();
    let about = db.run(run).await?;
    let new = db.program(run, ProgramId(number)).await?;
    let old = db.program(run, ProgramId(other)).await?;
    let (added, removed) = code::counts(&old.source, &new.source);
    let link =
        |number: u64| html! { a href={ "/runs/" (run) "/programs/" (number) } { "program " (number) } };
    let body = html! {
        h1 { "From program " (other) " to " (number) }
        p class="soft" { (link(other)) ": " (brief(&old)) " → " (link(number)) ": " (brief(&new)) ". " (added) " lines added, " (removed) " removed. "
            a href={ "/runs/" (run) "/programs/" (other) "/diff/" (number) } { "The other way round" }
        }
        (card("Differences", code::difference(&old.source, &new.source, "Differences")))
    };
    let title = format!("Programs {other} and {number} of run {run}");
    Ok(Page { title, place: Place::Run(Tab::Programs), run: Some(&about), from: None, body }.render())
}

fn programs((run_a, a): &(RunId, Program), (run_b, b): &(RunId, Program)) -> Markup {
    let name = |run: &RunId, program: &Program| {
        html! { a href={ "/runs/" (run) "/programs/" (program.number) } { (run) "/" (program.number) } }
    };
    let measured = |program: &Program| program.outcome.as_ref().and_then(Outcome::measured).cloned();
    let (of_a, of_b) = (measured(a), measured(b));
    let metrics: std::collections::BTreeSet<String> =
        [&of_a, &of_b].into_iter().flatten().flat_map(|measured| measured.metrics.keys().cloned()).collect();
    let value = |of: &Option<search::Measured>, metric: &str| {
        of.as_ref()
            .and_then(|of| of.metrics.get(metric))
            .map_or_else(|| "–".to_owned(), |value| quantity(metric, *value))
    };
    html! {
        (card("Side by side", wide("Side by side", html! {
            table {
                thead { tr { th scope="col" { "" span class="soft" { "Of" } } th scope="col" { (name(run_a, a)) } th scope="col" { (name(run_b, b)) } } }
                tbody {
                    tr { th scope="row" { "Outcome" } td { (brief(a)) } td { (brief(b)) } }
                    tr { th scope="row" { "By" } td { (visible(a.model.as_deref().unwrap_or(&a.proposer))) } td { (visible(b.model.as_deref().unwrap_or(&b.proposer))) } }
                    tr { th scope="row" { "Operator" } td { (visible(&a.operator)) } td { (visible(&b.operator)) } }
                    tr { th scope="row" { "Generation" } td { (a.generation) } td { (b.generation) } }
                    tr { th scope="row" { "Lines" } td { (a.source.lines().count()) } td { (b.source.lines().count()) } }
                    @for metric in &metrics { tr { th scope="row" { (visible(&metric.replace('_', " "))) } td { (value(&of_a, metric)) } td { (value(&of_b, metric)) } } }
                }
            }
            @if run_a != run_b { p class="soft small" { "They are of different runs: scores are comparable only if both had the same problem, machine and protocol." } }
        })))
        (card("Differences", code::difference(&a.source, &b.source, "Differences")))
    }
}

/// What a table has of each run.
type Row = (&'static str, fn(&Facts) -> String);

fn runs(a: &Facts, b: &Facts) -> Markup {
    let curve = |facts: &Facts| Curve {
        name: format!("run {}: {}", facts.run.id, facts.run.title),
        points: facts.points(),
        last: facts.series.last.map_or(0, |last| last.0),
    };
    let rows: [Row; 10] = [
        ("Problem", |facts| visible(&facts.run.problem)),
        ("Best score", |facts| {
            facts.champion().map_or_else(|| "–".to_owned(), |(_, best)| score(best.get()))
        }),
        ("Improved beyond chance", |facts| {
            facts
                .summary
                .incumbent
                .map_or_else(|| "none".to_owned(), |(number, _)| format!("program {number}"))
        }),
        ("Proposals", |facts| count(facts.summary.proposals)),
        ("Measured", |facts| {
            let measured = facts.summary.outcomes.get("measured").copied().unwrap_or_default();
            let ended = facts.summary.outcomes.values().sum();
            format!("{} ({})", count(measured), percent(measured, ended))
        }),
        ("Improvements of the best", |facts| count(facts.steps.len().saturating_sub(1) as u64)),
        ("Time", |facts| duration(facts.summary.duration.as_secs_f64())),
        ("Cost", |facts| facts.summary.cost.map_or_else(|| "–".to_owned(), money)),
        ("Tokens sent and received", |facts| {
            format!("{} and {}", count(facts.summary.tokens_in), count(facts.summary.tokens_out))
        }),
        ("Seed", |facts| facts.run.seed.to_string()),
    ];
    html! {
        (card("Best scores so far", full("Best scores so far", html! { (plot::curves(&curve(a), &curve(b))) })))
        (card("Side by side", wide("Side by side", html! {
            table {
                thead { tr { th scope="col" { span class="soft" { "Of" } }
                    @for facts in [a, b] { th scope="col" { a href={ "/runs/" (facts.run.id) } { "Run " (facts.run.id) } " " (short(&facts.run.title, 40)) } }
                } }
                tbody { @for (name, value) in rows { tr { th scope="row" { (name) } td { (value(a)) } td { (value(b)) } } } }
            }
        })))
        @if let (Some((one, _)), Some((other, _))) = (a.champion(), b.champion()) {
            p { a href={ "/compare?a=" (a.run.id) "%2F" (one) "&b=" (b.run.id) "%2F" (other) } { "Compare their champions" } }
        }
    }
}
