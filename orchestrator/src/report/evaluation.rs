//! What one evaluation found: its trials, its statistics, its verdict.

use std::fmt::Write as _;

use evaluator::EvaluationReport;
use program_db::Trial;
use search::{Effect, Measured, Outcome};

use super::numbers::{bytes, interval, p_value, quantity, signed};
use crate::run::stored_trial;

/// Methods of effects that are not over the original baseline.
const COMPARES_WITH_REFERENCE: [&str; 2] = ["hodges-lehmann", "mean-to-median"];

/// Everything about one evaluation: trials, effects, verdict, or why it failed.
pub fn evaluation(report: &EvaluationReport) -> String {
    let rows: Vec<Trial> = report.trials.iter().map(stored_trial).collect();
    let mut text = trials(&rows);
    text.push_str(&outcome(&report.outcome));
    for artifact in &report.artifacts {
        let _ = writeln!(text, "\n{}:\n{}", artifact.name, indented(artifact.content.trim_end()));
    }
    text
}

/// How it ended, with the statistics if it was measured.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured(measured) => measurement(measured),
        Outcome::Compile { message } => format!("outcome: does not compile\n{}\n", indented(message)),
        other => format!("outcome: {other}\n"),
    }
}

fn measurement(measured: &Measured) -> String {
    let mut text = String::new();
    if !measured.effects.is_empty() {
        // Protocols that go from champion to champion compare with the reference, which may be a program of the search.
        let blocks =
            measured.effects.iter().all(|effect| !COMPARES_WITH_REFERENCE.contains(&effect.method.as_str()));
        let against = if blocks { "baseline" } else { "reference" };
        let _ = writeln!(text, "statistics (candidate against {against}, positive change is better):");
        for effect in &measured.effects {
            let _ = writeln!(text, "  {}", self::effect(effect));
        }
    }
    let shown = |name: &&String| !measured.effects.iter().any(|effect| effect.metric == **name);
    for name in measured.metrics.keys().filter(shown) {
        let _ = writeln!(text, "  {name:<20} {}", quantity(name, measured.metrics[name]));
    }
    let _ = writeln!(text, "verdict: {} (score {})", measured.verdict.as_str(), measured.score);
    if !measured.reason.is_empty() {
        let _ = writeln!(text, "  {}", measured.reason);
    }
    text
}

/// `tokens_per_second  4310 -> 4902  +13.7 % [+9.8, +17.9], p = 0.0004, significant (welch-t, n = 5 + 5)`.
pub(super) fn effect(effect: &Effect) -> String {
    let mut text = format!(
        "{:<18} {} -> {}  {}{}",
        effect.metric,
        quantity(&effect.metric, effect.baseline),
        quantity(&effect.metric, effect.candidate),
        signed(effect.change),
        interval(effect.interval)
    );
    if let Some(p) = effect.p_value {
        let _ = write!(text, ", {}", p_value(p));
    }
    let word = if effect.significant { "significant" } else { "not significant" };
    let _ = write!(text, ", {word} ({}, n = {} + {})", effect.method, effect.n.0, effect.n.1);
    text
}

/// The trials, a line each; empty text if there are none.
pub fn trials(rows: &[Trial]) -> String {
    // A command problem has one execution and its metrics stand in the outcome.
    if rows.len() < 2 {
        return String::new();
    }
    // A word for what each was for, where they weren't all for the same.
    let stages = rows.iter().any(|row| row.stage != rows[0].stage);
    let stage = |stage: &str| if stages { format!("{stage:<11}  ") } else { String::new() };
    let seeds = rows.iter().map(|row| row.seed.to_string().len()).max().unwrap_or_default().max(6);
    let mut text = format!(
        "trials:\n  {}{:<10} {:>seeds$}  {:>9}  {:>10}  {:>11}  {:>12}  {:>10}  {:>10}  {:>6}\n",
        stage("stage"),
        "arm",
        "seed",
        "seconds",
        "tokens/s",
        "peak memory",
        "process peak",
        "train loss",
        "val. loss",
        "layers"
    );
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let size = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| bytes(value as f64));
    for row in rows {
        let _ = write!(
            text,
            "  {}{:<10} {:>seeds$}  {:>9}  {:>10}  {:>11}  {:>12}  {:>10}  {:>10}  {:>6}",
            stage(&row.stage),
            row.arm,
            row.seed,
            number(row.wall_seconds, 3),
            number(row.tokens_per_second, 0),
            size(row.peak_memory_bytes),
            size(row.process_peak_bytes),
            number(row.train_loss, 4),
            number(row.validation_loss, 4),
            row.kernel_layers.map_or_else(|| "-".to_owned(), |layers| layers.to_string()),
        );
        if row.exit != "ok" {
            let words = row.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
            let _ = write!(text, "  {}: {words}", row.exit);
        }
        text.push('\n');
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use search::{Score, Verdict};

    #[test]
    fn an_effect_reads_as_a_sentence() {
        let measured = Measured {
            score: Score::new(1.137).unwrap(),
            verdict: Verdict::Improved,
            metrics: [("validation_loss".to_owned(), 5.4)].into(),
            effects: vec![Effect {
                metric: "tokens_per_second".into(),
                baseline: 4310.2,
                candidate: 4902.4,
                change: 0.1374,
                interval: Some((0.098, 0.179)),
                p_value: Some(0.000_41),
                significant: true,
                n: (5, 5),
                method: "welch-t".into(),
            }],
            reason: "faster beyond chance".into(),
            score_error: None,
        };
        insta::assert_snapshot!(outcome(&Outcome::Measured(measured)), @r"
        statistics (candidate against baseline, positive change is better):
          tokens_per_second  4310/s -> 4902/s  +13.7 % [+9.8, +17.9], p = 0.0004, significant (welch-t, n = 5 + 5)
          validation_loss      5.4000
        verdict: improved (score 1.1370)
          faster beyond chance
        ");
    }
}
