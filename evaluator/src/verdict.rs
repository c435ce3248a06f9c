//! From a protocol's judgement to an outcome: score, verdict and the reason in one sentence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use search::{Effect, Measured, Outcome, Score, Verdict};

use crate::problem::{Metric, Objective};
use crate::protocol::Judgement;

/// The outcome of a candidate whose trials are done. `metrics` are its named numbers.
///
/// The score is exp(Σ weight · ln ratio), with each ratio turned so that above 1 is better; the baseline's is 1.
/// It uses the measured means whether or not they are significant: search has to rank all, and the verdict says
/// how far to trust it.
pub fn outcome(
    judgement: Judgement,
    objectives: &[Objective],
    metrics: BTreeMap<String, f64>,
    is_baseline: bool,
) -> Outcome {
    let Judgement { effects, loss } = judgement;
    if !loss.holds() {
        return Outcome::LossDrift { baseline: loss.baseline, candidate: loss.candidate, limit: loss.limit };
    }
    let score: f64 = effects
        .iter()
        .zip(objectives)
        .map(|(effect, objective)| objective.weight * log_ratio(effect, objective.metric))
        .sum();
    let Ok(score) = Score::new(score.exp()) else {
        return Outcome::Rejected { reason: "the measured ratios give no finite score".to_owned() };
    };
    let verdict = verdict(&effects, objectives, score);
    let reason = if is_baseline {
        "this is the baseline itself: its score is 1 by definition".to_owned()
    } else {
        reason(verdict, &effects, objectives)
    };
    Outcome::Measured(Measured { score, verdict, metrics, effects, reason, score_error: None })
}

fn log_ratio(effect: &Effect, metric: Metric) -> f64 {
    let ratio = effect.candidate / effect.baseline;
    if metric.is_maximized() { ratio.ln() } else { -ratio.ln() }
}

/// Beyond chance, and large enough to matter.
fn counts(effect: &Effect, objective: &Objective) -> bool {
    effect.significant && effect.change.abs() >= objective.minimal_effect
}

/// What counts decides; but nothing is called improved whose weighed means are below the baseline's, however sure a
/// small gain is beside a large loss that chance may explain.
fn verdict(effects: &[Effect], objectives: &[Objective], score: Score) -> Verdict {
    let counted = || {
        effects
            .iter()
            .zip(objectives)
            .filter(|(effect, objective)| counts(effect, objective))
            .map(|pair| pair.0)
    };
    if counted().any(|effect| effect.change < 0.0) {
        Verdict::Regressed
    } else if counted().next().is_some() && score.get() > 1.0 {
        Verdict::Improved
    } else {
        Verdict::Inconclusive
    }
}

/// For example: `improved: tokens_per_second 12.3 % better (p = 0.0012), peak_memory_bytes 0.1 % worse (not
/// significant)`.
fn reason(verdict: Verdict, effects: &[Effect], objectives: &[Objective]) -> String {
    let mut text = format!("{}: ", verdict.as_str());
    for (index, (effect, objective)) in effects.iter().zip(objectives).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&describe(effect, objective));
    }
    text
}

fn describe(effect: &Effect, objective: &Objective) -> String {
    if effect.change == 0.0 {
        return format!("{} unchanged", effect.metric);
    }
    let direction = if effect.change > 0.0 { "better" } else { "worse" };
    let mut text = format!("{} {:.1} % {direction}", effect.metric, effect.change.abs() * 100.0);
    let grounds = match (effect.p_value, effect.significant) {
        (Some(p), true) if p < 0.0001 => "p < 0.0001".to_owned(),
        (Some(p), true) => format!("p = {p:.4}"),
        (Some(p), false) => format!("not significant, p = {p:.2}"),
        (None, true) => "every trial alike".to_owned(),
        (None, false) => "not testable".to_owned(),
    };
    let small = if effect.significant && !counts(effect, objective) { ", too small to matter" } else { "" };
    // Writing to a string can't fail.
    let _ = write!(text, " ({grounds}{small})");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LossGate;

    fn objectives() -> Vec<Objective> {
        vec![
            Objective { metric: Metric::TokensPerSecond, weight: 0.6, minimal_effect: 0.01 },
            Objective { metric: Metric::PeakMemoryBytes, weight: 0.4, minimal_effect: 0.01 },
        ]
    }

    fn effect(metric: Metric, baseline: f64, candidate: f64, p_value: Option<f64>) -> Effect {
        let sign = if metric.is_maximized() { 1.0 } else { -1.0 };
        Effect {
            metric: metric.as_str().to_owned(),
            baseline,
            candidate,
            change: sign * (candidate - baseline) / baseline,
            interval: None,
            p_value,
            significant: p_value.is_some_and(|p| p < 0.05),
            n: (5, 5),
            method: "welch-t".to_owned(),
        }
    }

    fn judge(effects: Vec<Effect>) -> Measured {
        let loss = LossGate { baseline: 5.0, candidate: 5.01, limit: 0.01 };
        let outcome = outcome(Judgement { effects, loss }, &objectives(), BTreeMap::new(), false);
        outcome.measured().unwrap().clone()
    }

    #[test]
    fn a_sure_small_gain_beside_an_unsure_large_loss_is_no_improvement() {
        let measured = judge(vec![
            effect(Metric::TokensPerSecond, 100.0, 90.0, Some(0.3)),
            effect(Metric::PeakMemoryBytes, 10.0, 9.8, Some(0.001)),
        ]);
        assert!(measured.score.get() < 1.0);
        assert_eq!(measured.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn twice_the_speed_at_half_the_memory_scores_two() {
        let measured = judge(vec![
            effect(Metric::TokensPerSecond, 100.0, 200.0, Some(0.001)),
            effect(Metric::PeakMemoryBytes, 10.0, 5.0, Some(0.001)),
        ]);
        assert!((measured.score.get() - 2.0).abs() < 1e-12);
        assert_eq!(measured.verdict, Verdict::Improved);
        assert_eq!(
            measured.reason,
            "improved: tokens_per_second 100.0 % better (p = 0.0010), peak_memory_bytes 50.0 % better (p = 0.0010)"
        );
    }

    #[test]
    fn one_objective_worse_beyond_chance_is_regressed() {
        let measured = judge(vec![
            effect(Metric::TokensPerSecond, 100.0, 200.0, Some(0.001)),
            effect(Metric::PeakMemoryBytes, 10.0, 11.0, Some(0.001)),
        ]);
        assert_eq!(measured.verdict, Verdict::Regressed);
        assert!(measured.score.get() > 1.0);
    }

    #[test]
    fn a_significant_change_below_the_minimal_effect_decides_nothing() {
        let measured = judge(vec![
            effect(Metric::TokensPerSecond, 100.0, 99.5, Some(0.001)),
            effect(Metric::PeakMemoryBytes, 10.0, 10.0, None),
        ]);
        assert_eq!(measured.verdict, Verdict::Inconclusive);
        assert!(measured.reason.contains("too small to matter"), "{}", measured.reason);
        assert!(measured.reason.contains("peak_memory_bytes unchanged"), "{}", measured.reason);
    }

    #[test]
    fn drifting_loss_is_never_traded_for_speed() {
        let effects = vec![effect(Metric::TokensPerSecond, 100.0, 900.0, Some(0.001))];
        let loss = LossGate { baseline: 5.0, candidate: 5.2, limit: 0.01 };
        let outcome = outcome(Judgement { effects, loss }, &objectives(), BTreeMap::new(), false);
        assert_eq!(outcome.kind(), "loss_drift");
    }

    #[test]
    fn the_loss_gate_is_relative_above_one_and_absolute_below() {
        let holds = |baseline, candidate| LossGate { baseline, candidate, limit: 0.01 }.holds();
        assert!(holds(5.0, 5.05) && !holds(5.0, 5.051));
        assert!(holds(0.1, 0.1099) && !holds(0.1, 0.111));
        assert!(!holds(5.0, f64::NAN));
    }
}
