//! What was measured of a program: the verdict in words, its effects, its pairs, its trials.

use maud::{Markup, html};
use program_db::{Comparison, Decision, Evaluation, Trial};
use search::{Effect, Outcome};

use super::format::{badge, moment, score, visible};
use super::layout::{card, wide};
use crate::commands::alarm;
use crate::plot::{self, Drawing, Strip};
use crate::report::judgement::{Claim, Judgement, Loss};
use crate::report::numbers::{interval, metric_name, p_value, quantity, signed};
use crate::report::{decisions, pairs};

/// How it ended, with its grounds.
pub(super) fn verdict(
    outcome: Option<&Outcome>,
    evaluation: Option<&Evaluation>,
    rows: &[Trial],
    looks: &[Decision],
) -> Markup {
    let judgement = evaluation.and_then(|of| Judgement::read(of.judgement.as_ref()?));
    let measured = outcome.and_then(Outcome::measured);
    let effects: &[Effect] = match (&judgement, measured) {
        (Some(judgement), _) if !judgement.effects.is_empty() => &judgement.effects,
        (_, Some(measured)) => &measured.effects,
        _ => &[],
    };
    let drawing = drawing(rows, effects);
    let words = decisions::explanation(rows, looks, judgement.as_ref());
    let sandbox = evaluation.map(|of| of.measured_by.sandbox.as_deref());
    card(
        "Verdict",
        html! {
            p class="lead" { (sentence(outcome)) }
            @if let Some(alarm) = sandbox.and_then(alarm::of_one) { p class="alarm" { (visible(&alarm)) } }
            @if let Some(measured) = measured { @if !measured.reason.is_empty() { p { (visible(&measured.reason)) } } }
            @match outcome {
                Some(Outcome::Compile { message } | Outcome::Crash { message, .. } | Outcome::WrongResult { message }) => {
                    pre class="text tall" tabindex="0" role="region" aria-label="Message" { (visible(message)) }
                }
                _ => {}
            }
            @if !effects.is_empty() { (table(effects)) }
            @if let Some(judgement) = &judgement {
                @for line in judgement.loss.iter().map(Loss::words).chain(judgement.claim.iter().map(Claim::words)) { p { (visible(&line)) } }
            }
            @if let Some(drawing) = drawing { (wide("Pairs of trials", html! { (drawing) })) }
            @if let Some(measured) = measured { (others(measured, effects)) }
            @if !words.trim().is_empty() {
                details {
                    summary { "How it was decided, with every trial" }
                    pre class="tall" tabindex="0" role="region" aria-label="How it was decided" { (visible(words.trim_start_matches('\n'))) }
                }
            }
            @if let Some(evaluation) = evaluation { (measured_by(evaluation)) }
        },
    )
}

/// In one sentence.
fn sentence(outcome: Option<&Outcome>) -> Markup {
    match outcome {
        None => html! { (badge(None, None)) " It is not evaluated yet." },
        Some(Outcome::Measured(measured)) => html! {
            (badge(Some("measured"), Some(measured.verdict.as_str()))) " Score " strong { (score(measured.score.get())) }
            @if let Some(error) = measured.score_error { span class="soft" { " ± " (format!("{:.2} %", error * 100.0)) " (one standard error)" } }
        },
        Some(other) => html! { (badge(Some(other.kind()), None)) " " (visible(&other.to_string())) },
    }
}

fn table(effects: &[Effect]) -> Markup {
    wide(
        "Effects",
        html! {
            table {
                caption { "Positive change is better." }
                thead { tr {
                    th scope="col" { "Metric" } th scope="col" class="number" { "Reference" } th scope="col" class="number" { "Candidate" }
                    th scope="col" class="number" { "Change" } th scope="col" class="number" { "95 % interval" } th scope="col" class="number" { "p" }
                    th scope="col" { "Beyond chance" } th scope="col" class="number" { "Trials" } th scope="col" { "Method" }
                } }
                tbody { @for effect in effects { tr {
                    td { (visible(&metric_name(&effect.metric))) }
                    td class="number" { (quantity(&effect.metric, effect.baseline)) }
                    td class="number" { (quantity(&effect.metric, effect.candidate)) }
                    td class="number" { strong { (signed(effect.change)) } }
                    td class="number nowrap" { (interval(effect.interval).trim()) }
                    td class="number nowrap" { (effect.p_value.map_or_else(|| "–".to_owned(), |p| p_value(p).replace("p = ", "").replace("p ", ""))) }
                    td { @if effect.significant { "yes" } @else { "no" } }
                    td class="number nowrap" { (effect.n.0) " + " (effect.n.1) }
                    td class="soft small" { (visible(&effect.method)) }
                } } }
            }
        },
    )
}

/// Metrics that have no effect of their own.
fn others(measured: &search::Measured, effects: &[Effect]) -> Markup {
    let rest: Vec<(&String, &f64)> = measured
        .metrics
        .iter()
        .filter(|(name, _)| !effects.iter().any(|effect| effect.metric == **name))
        .collect();
    html! {
        @if !rest.is_empty() {
            dl class="facts" {
                @for (name, value) in rest { div { dt { (visible(&name.replace('_', " "))) } dd { (quantity(name, *value)) } } }
            }
        }
    }
}

/// The pairs, else the single trials of both arms.
fn drawing(rows: &[Trial], effects: &[Effect]) -> Option<Drawing> {
    let paired = pairs::pairs(rows);
    let strips: Vec<Strip> = effects
        .iter()
        .map(|effect| Strip {
            metric: effect.metric.clone(),
            changes: paired
                .iter()
                .filter_map(|pair| Some((pair.change(&effect.metric)?, pair.reference_first.unwrap_or(true))))
                .collect(),
            effect: Some(effect.change),
            interval: effect.interval,
        })
        .collect();
    if strips.iter().any(|strip| !strip.changes.is_empty()) {
        return Some(plot::pairs("Pairs of trials", &strips));
    }
    let of = |is_candidate: bool| -> Vec<f64> {
        let own = rows.iter().filter(|row| row.exit == "ok" && (row.arm == "candidate") == is_candidate);
        own.filter_map(|row| row.tokens_per_second).collect()
    };
    let (reference, candidate) = (of(false), of(true));
    (reference.len() + candidate.len() > 1 && !candidate.is_empty()).then(|| {
        plot::arms("Trials", "tokens per second", &[("reference", reference), ("candidate", candidate)])
    })
}

fn measured_by(evaluation: &Evaluation) -> Markup {
    let by = &evaluation.measured_by;
    html! {
        p class="soft small" {
            "Measured " (moment(evaluation.started_at)) " UTC in "
            (super::format::duration((evaluation.ended_at - evaluation.started_at).max(0) as f64 / 1000.0))
            ", protocol " (visible(&by.protocol))
            @if let Some(device) = &by.device { ", on " (visible(device)) }
            @if let (Some(mlx), Some(backend)) = (&by.mlx, &by.backend) { ", MLX " (visible(mlx)) " (" (visible(backend)) ")" }
            @if let Some(sandbox) = &by.sandbox { ", sandbox " (visible(sandbox)) }
            ", evaluator " (visible(&by.evaluator)) "."
        }
    }
}

/// Measurements outside the search.
pub(super) fn comparisons(number: u64, all: &[Comparison]) -> Markup {
    html! {
        @if !all.is_empty() {
            (card("On fresh pairs", html! {
                @for comparison in all {
                    @let judgement = comparison.evaluation.judgement.as_ref().and_then(Judgement::read);
                    @let effects = judgement.as_ref().map_or(&[][..], |judgement| &judgement.effects);
                    @let opponent = opponent(&comparison.opponent);
                    h3 { "Program " (number) " against " (visible(opponent)) }
                    @match &judgement {
                        None => p { "It came to no end: too many trials failed." },
                        Some(judgement) => {
                            (table(effects))
                            @for line in judgement.loss.iter().map(Loss::words) { p { (visible(&line)) } }
                            @if !judgement.reason.is_empty() { p { (visible(&judgement.reason)) } }
                        }
                    }
                    @if let Some(drawing) = drawing(&comparison.trials, effects) {
                        (wide(&format!("Pairs against {opponent}"), html! { (drawing) }))
                    }
                }
            }))
        }
    }
}

fn opponent(word: &str) -> &str {
    use crate::report::run::Opponent;
    Opponent::ALL.into_iter().find(|it| it.as_str() == word).map_or(word, |it| it.words())
}
