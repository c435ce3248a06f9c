//! The final report as one HTML file that needs nothing else: no script, no font, no network. Its parts are those of the dashboard.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::judgement::Loss;
use super::numbers::{count, interval, metric_name, quantity, signed};
use super::pairs::Pair;
use super::run::{Against, Compared, RunReport};
use crate::plot::{self, Links};
use crate::service::pages::{Facts, Sections, card, difference, full, style_text, visible, wide};

/// What the file has beside the report itself.
#[derive(Debug)]
pub struct Views<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) tree: &'a program_db::view::Tree,
    /// The initial program's source and the champion's.
    pub(crate) sources: Option<(&'a str, &'a str)>,
}

/// The whole page.
pub fn page(report: &RunReport, views: &Views<'_>) -> String {
    let title = format!("evolve report: run {}, {}", report.run, visible(&report.title));
    let sections = Sections(Links::None);
    let champion = report.champion.as_ref();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (title) }
                // Our own style, not anybody's text.
                style { (PreEscaped(style_text())) }
            }
            body {
                main {
                    h1 { (title) }
                    @if let Some(alarm) = &report.alarm { p class="alarm" role="alert" { (visible(alarm)) } }
                    p class="soft" { (visible(&report.summary())) }
                    (sections.figures(views.facts))
                    @match champion {
                        None => p { "No program was measured." },
                        Some(champion) => {
                            (card("Champion", html! { @for line in champion.lines(report.run) { p { (visible(line.trim())) } } }))
                            @for against in &report.comparisons { (comparison(report, champion.number, against)) }
                        }
                    }
                    (card("Score over the proposals", sections.scores(views.facts)))
                    (card("Who proposed", sections.makers(views.facts, false)))
                    (card("Operators", sections.makers(views.facts, true)))
                    (card("How proposals ended", sections.endings(views.facts)))
                    (card("Lineage", html! {
                        (wide("Lineage", html! { (plot::tree("Lineage", views.tree, champion.map(|it| it.number), Links::None)) }))
                        @if views.tree.is_cut { p class="soft small" { "The best programs with their ancestors; the others are left out." } }
                    }))
                    @if !report.trace.trials.is_empty() {
                        (card("The machine over the run", html! {
                            p { @for line in report.trace.words().lines() { (visible(line)) br; } }
                            (full("The reference's speed over the run", html! { (plot::trace(&report.trace)) }))
                        }))
                    }
                    @if let (Some(champion), Some((initial, best))) = (champion, views.sources) {
                        @if champion.number > 0 {
                            (card("The champion against the initial program", difference(initial, best, "The champion against the initial program")))
                        }
                    }
                }
            }
        }
    };
    markup.into_string()
}

fn comparison(report: &RunReport, champion: u64, against: &Against) -> Markup {
    let title = format!("Against {}", against.opponent.words());
    let Some(compared) = &against.measured else {
        return card(&title, html! { p { "Not measured yet; " code { (report.command()) } " does." } });
    };
    let on = compared.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
    card(
        &title,
        html! {
            p class="soft" {
                (count(compared.pairs.len(), "pair")) " with fresh seeds, measured " (visible(&compared.at)) (visible(&on))
                ". The change is the Hodges–Lehmann estimate with its exact signed-rank interval at 95 %; positive is better."
            }
            (effects(compared))
            @match &compared.judgement {
                Some(judgement) => {
                    @for line in judgement.loss.iter().map(Loss::words).chain([judgement.reason.clone()]) { p { (visible(&line)) } }
                }
                None => p { "It came to no end: too many trials failed." },
            }
            @if let Some(drawing) = compared.drawing(champion, against.opponent) { (wide(&title, html! { (drawing) })) }
            (pairs(&compared.pairs))
        },
    )
}

fn effects(compared: &Compared) -> Markup {
    html! {
        @if !compared.effects().is_empty() {
            (wide("Effects", html! {
                table {
                    thead { tr { th scope="col" { "metric" } @for name in ["opponent", "champion", "change", "95 % interval", "p", "pairs"] { th scope="col" class="number" { (name) } } } }
                    tbody { @for effect in compared.effects() { tr {
                        td { (visible(&metric_name(&effect.metric))) }
                        td class="number" { (quantity(&effect.metric, effect.baseline)) }
                        td class="number" { (quantity(&effect.metric, effect.candidate)) }
                        td class="number" { (signed(effect.change)) }
                        td class="number" { (interval(effect.interval).trim()) }
                        td class="number" { (effect.p_value.map_or("-".to_owned(), |p| format!("{p:.4}"))) }
                        td class="number" { (effect.n.1) }
                    } } }
                }
            }))
        }
    }
}

fn pairs(pairs: &[Pair]) -> Markup {
    let speed = |trial: &Option<program_db::Trial>| {
        let speed = trial.as_ref().and_then(|trial| trial.tokens_per_second);
        speed.map_or("-".to_owned(), |speed| format!("{speed:.0}"))
    };
    let first = |pair: &Pair| match pair.reference_first {
        Some(true) => "opponent",
        Some(false) => "champion",
        None => "-",
    };
    html! {
        @if !pairs.is_empty() {
            details {
                summary { "The pairs (speeds in tokens per second)" }
                (wide("The pairs", html! {
                    table {
                        thead { tr { @for name in ["pair", "seed", "first", "opponent/s", "champion/s", "speed", "memory"] { th scope="col" class="number" { (name) } } } }
                        tbody { @for pair in pairs { tr {
                            td class="number" { (pair.pair) }
                            td class="number" { (pair.seed) }
                            td class="number" { (first(pair)) }
                            td class="number" { (speed(&pair.reference)) }
                            td class="number" { (speed(&pair.candidate)) }
                            @for metric in ["tokens_per_second", "peak_memory_bytes"] {
                                td class="number" { (pair.change(metric).map_or("-".to_owned(), signed)) }
                            }
                        } } }
                    }
                }))
            }
        }
    }
}
