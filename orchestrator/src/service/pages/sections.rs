//! Parts of a run's pages that the report has too: drawings and tables from its facts.

use std::collections::BTreeMap;

use maud::{Markup, html};
use program_db::view::{FailureKind, Listed, Maker};

use super::facts::Facts;
use super::format::{badge, change, count, duration, kind, money, percent, score, short, visible};
use super::layout::{full, wide};
use super::list::encoded;
use crate::plot::{self, Links};

/// Where a page's parts lead to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections(pub(crate) Links);

impl Sections {
    /// A program's number, as a link where there are links.
    pub(crate) fn program(self, number: u64) -> Markup {
        match self.0 {
            Links::Run(run) => html! { a href={ "/runs/" (run) "/programs/" (number) } { (number) } },
            Links::None => html! { (number) },
        }
    }

    /// The figures at the head of a run.
    pub(crate) fn figures(self, facts: &Facts) -> Markup {
        let summary = &facts.summary;
        let measured = summary.outcomes.get("measured").copied().unwrap_or_default();
        let ended: u64 = summary.outcomes.values().sum();
        let champion = facts.champion();
        let seconds = summary.duration.as_secs_f64();
        html! {
            dl class="facts" {
                div {
                    dt { "Best score" }
                    dd {
                        @match champion {
                            Some((number, value)) => {
                                (score(value.get()))
                                small {
                                    "program " (self.program(number.0))
                                    @if let Some(initial) = summary.initial { @if initial.get() > 0.0 {
                                        ", " (change(value.get() / initial.get() - 1.0)) " against the initial one"
                                    } }
                                }
                            }
                            None => { "–" small { "nothing measured yet" } }
                        }
                    }
                }
                div {
                    dt { "Proposals" }
                    dd {
                        (count(summary.proposals))
                        small {
                            @if let Some(most) = facts.settings.max_iterations.filter(|most| *most > summary.proposals) {
                                "of " (count(most)) ", "
                            }
                            (count(summary.pending)) " pending"
                        }
                    }
                }
                div {
                    dt { "Measured" }
                    dd { (count(measured)) small { (percent(measured, ended)) " of " (count(ended)) " outcomes" } }
                }
                div {
                    dt { "Time" }
                    dd {
                        (duration(seconds))
                        small {
                            @if seconds > 0.0 && summary.proposals > 0 {
                                (format!("{:.1} s a proposal", seconds / summary.proposals as f64))
                            }
                        }
                    }
                }
                div {
                    dt { "Cost" }
                    dd {
                        (summary.cost.map_or_else(|| "–".to_owned(), money))
                        small { (count(summary.tokens_in)) " tokens sent, " (count(summary.tokens_out)) " received" }
                    }
                }
                @if summary.repairs > 0 {
                    div {
                        dt { "Repairs" }
                        dd { (count(summary.repaired)) small { "of " (count(summary.repairs)) " worked" } }
                    }
                }
            }
        }
    }

    /// The best score over the proposals.
    pub(crate) fn scores(self, facts: &Facts) -> Markup {
        let points = facts.points();
        let champion = facts.champion().map(|(number, _)| number.0);
        let with_interval = points.iter().any(|point| point.interval.is_some());
        html! {
            (full("Scores over the run", html! { (plot::scores(&facts.series, &points, champion, self.0)) }))
            @if !with_interval && !points.is_empty() {
                p class="soft small" {
                    "No intervals: the evaluator gave the scores without an error"
                    @if facts.settings.trouble.is_some() { ", or the problem's weights can't be read any more" }
                    "."
                }
            }
        }
    }

    /// How proposals ended.
    pub(crate) fn endings(self, facts: &Facts) -> Markup {
        let all: u64 = facts.endings.iter().map(|ending| ending.count).sum();
        if all == 0 {
            return html! { p class="soft" { "No outcome yet." } };
        }
        let row = |ending: &FailureKind| {
            let share = ending.count as f64 / all as f64;
            html! {
                tr {
                    td {
                        @match self.0 {
                            Links::Run(run) => a href={ "/runs/" (run) "/programs?kind=" (ending.kind) } { (kind(Some(&ending.kind))) },
                            Links::None => (kind(Some(&ending.kind))),
                        }
                    }
                    td class="number" { (count(ending.count)) }
                    td class="number" { (percent(ending.count, all)) }
                    td { (plot::bar(&format!("{:.0} %", share * 100.0), share)) }
                    td class="words soft small" {
                        @if ending.kind != "measured" { (self.program(ending.latest.0)) ": " (short(&ending.message, 90)) }
                    }
                }
            }
        };
        wide(
            "How proposals ended",
            html! {
                table {
                    thead { tr {
                        th scope="col" { "Ended as" } th scope="col" class="number" { "Proposals" } th scope="col" class="number" { "Share" }
                        th scope="col" { "" span class="soft" { "of all" } } th scope="col" { "Latest" }
                    } }
                    tbody { @for ending in &facts.endings { (row(ending)) } }
                }
            },
        )
    }

    /// Who proposed, and what came of it.
    pub(crate) fn makers(self, facts: &Facts, by_operator: bool) -> Markup {
        if facts.makers.is_empty() {
            return html! { p class="soft" { "No proposal yet." } };
        }
        let mut groups: BTreeMap<(&str, Option<&str>, &str), Sum> = BTreeMap::new();
        for maker in &facts.makers {
            let operator = if by_operator { maker.operator.as_str() } else { "" };
            groups.entry((&maker.proposer, maker.model.as_deref(), operator)).or_default().add(maker);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.proposals));
        wide(
            if by_operator { "Operators" } else { "Proposers and models" },
            html! {
                table {
                    thead { tr {
                        th scope="col" { "By" }
                        @if by_operator { th scope="col" { "Operator" } }
                        @for name in ["Proposals", "Requests", "Measured", "Yield", "Improved", "Best", "Gain", "Cost", "Gain per cost", "s each"] {
                            th scope="col" class="number" { (name) }
                        }
                    } }
                    tbody {
                        @for ((proposer, model, operator), sum) in &groups {
                            tr {
                                td { (visible(model.unwrap_or(proposer))) @if model.is_some() { " " span class="soft small" { (visible(proposer)) } } }
                                @if by_operator { td { (visible(operator)) } }
                                td class="number" { (count(sum.proposals)) }
                                td class="number" { (count(sum.requests)) }
                                td class="number" {
                                @match self.0 {
                                    Links::Run(run) => a href={ "/runs/" (run) "/programs?sort=best&by=" (encoded(model.unwrap_or(proposer))) } { (count(sum.measured)) },
                                    Links::None => (count(sum.measured)),
                                }
                            }
                                td class="number" { (percent(sum.measured, sum.proposals)) }
                                td class="number" { (count(sum.improved)) }
                                td class="number" { (sum.best.map_or_else(|| "–".to_owned(), score)) }
                                td class="number" { @if sum.gain > 0.0 { "+" (score(sum.gain)) } @else { "–" } }
                                td class="number" { (sum.cost.map_or_else(|| "–".to_owned(), money)) }
                                td class="number" {
                                    @match sum.cost { Some(cost) if cost > 0.0 => (score(sum.gain / cost)), _ => "–" }
                                }
                                td class="number" { (format!("{:.1}", sum.seconds / sum.proposals.max(1) as f64)) }
                            }
                        }
                    }
                }
            },
        )
    }

    /// A table of programs.
    pub(crate) fn programs(self, rows: &[Listed], name: &str) -> Markup {
        wide(
            name,
            html! {
                table {
                    thead { tr {
                        th scope="col" class="number" { "Program" } th scope="col" { "Outcome" } th scope="col" class="number" { "Score" }
                        th scope="col" class="number" { "Against parent" } th scope="col" { "Operator" } th scope="col" { "By" }
                        th scope="col" class="number" { "Parent" } th scope="col" class="number" { "Island" } th scope="col" { "In words" }
                    } }
                    tbody { @for row in rows { (self.listed(row)) } }
                }
            },
        )
    }

    fn listed(self, row: &Listed) -> Markup {
        html! {
            tr data-row {
                td class="number" { (self.program(row.number.0)) }
                td { (badge(row.kind.as_deref(), row.verdict.as_deref())) }
                td class="number" { (row.score.map_or_else(String::new, score)) }
                td class="number" {
                    @if let (Some(own), Some(parent)) = (row.score, row.parent_score) {
                        @if parent > 0.0 { (change(own / parent - 1.0)) }
                    }
                }
                td { (short(&row.operator, 40)) }
                td { (short(row.by(), 40)) }
                td class="number" { @if let Some(parent) = row.parent { (self.program(parent.0)) } }
                td class="number" { (row.island) }
                td class="words soft small" { @if row.score.is_none() { (row.message.as_deref().map_or_else(String::new, |it| short(it, 90))) } }
            }
        }
    }
}

/// Makers summed up.
#[derive(Debug, Default)]
struct Sum {
    proposals: u64,
    requests: u64,
    measured: u64,
    improved: u64,
    best: Option<f64>,
    gain: f64,
    cost: Option<f64>,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, maker: &Maker) {
        self.proposals += maker.proposals;
        self.requests += maker.requests;
        self.measured += maker.measured;
        self.improved += maker.improved;
        self.gain += maker.gain;
        self.seconds += maker.seconds;
        self.best = [self.best, maker.best].into_iter().flatten().reduce(f64::max);
        if let Some(cost) = maker.cost {
            *self.cost.get_or_insert(0.0) += cost;
        }
    }
}
