//! From a protocol's judgement to an outcome, and the fixed protocols' verdict in one sentence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use search::{Effect, Measured, Outcome, Score, Verdict};

use crate::problem::Objective;
use crate::protocol::Judgement;

/// The reason of the baseline's own score.
pub const BASELINE: &str = "this is the baseline itself: its score is 1 by definition";

/// The outcome of a candidate whose trials are done. `metrics` are its named numbers.
///
/// The score is exp(Σ weight · shrunk ln ratio), with each ratio turned so that above 1 is better; the baseline's is 1. It uses the
/// measured effects whether or not they are significant: search has to rank all, and the verdict says how far to trust it. A loss
/// that drifted is never traded against speed.
pub fn outcome(judgement: Judgement, metrics: BTreeMap<String, f64>) -> Outcome {
    let Judgement { verdict, log_score, effects, loss, reason, .. } = judgement;
    if !loss.holds {
        return Outcome::LossDrift { baseline: loss.baseline, candidate: loss.candidate, limit: loss.limit };
    }
    match Score::new(log_score.exp()) {
        Ok(score) => {
            Outcome::Measured(Measured { score, verdict, metrics, effects, reason, score_error: None })
        }
        Err(_) => Outcome::Rejected { reason: "the measured ratios give no finite score".to_owned() },
    }
}

/// Beyond chance, and large enough to matter.
fn counts(effect: &Effect, objective: &Objective) -> bool {
    effect.significant && effect.change.abs() >= objective.minimal_effect
}

/// What counts decides; but nothing is called improved whose weighed means are below the baseline's, however sure a
/// small gain is beside a large loss that chance may explain.
pub(crate) fn of_effects(effects: &[Effect], objectives: &[Objective], log_score: f64) -> Verdict {
    let counted = || {
        effects
            .iter()
            .zip(objectives)
            .filter(|(effect, objective)| counts(effect, objective))
            .map(|pair| pair.0)
    };
    if counted().any(|effect| effect.change < 0.0) {
        Verdict::Regressed
    } else if counted().next().is_some() && log_score > 0.0 {
        Verdict::Improved
    } else {
        Verdict::Inconclusive
    }
}

/// For example: `improved: tokens_per_second 12.3 % better (p = 0.0012), peak_memory_bytes 0.1 % worse (not
/// significant)`.
pub(crate) fn reason(verdict: Verdict, effects: &[Effect], objectives: &[Objective]) -> String {
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
    use crate::problem::Metric;
    use crate::protocol::LossVerdict;

    fn objectives() -> Vec<Objective> {
        vec![
            Objective { metric: Metric::TokensPerSecond, weight: 0.6, minimal_effect: 0.01 },
            Objective { metric: Metric::PeakMemoryBytes, weight: 0.4, minimal_effect: 0.01 },
        ]
    }

    fn effect(metric: Metric, change: f64, p_value: Option<f64>) -> Effect {
        Effect {
            metric: metric.as_str().to_owned(),
            baseline: 100.0,
            candidate: 100.0 * (1.0 + if metric.is_maximized() { change } else { -change }),
            change,
            interval: None,
            p_value,
            significant: p_value.is_some_and(|p| p < 0.05),
            n: (5, 5),
            method: "welch-t".to_owned(),
        }
    }

    fn both(speed: (f64, Option<f64>), memory: (f64, Option<f64>)) -> Vec<Effect> {
        vec![
            effect(Metric::TokensPerSecond, speed.0, speed.1),
            effect(Metric::PeakMemoryBytes, memory.0, memory.1),
        ]
    }

    #[test]
    fn a_sure_small_gain_beside_an_unsure_large_loss_is_no_improvement() {
        let effects = both((-0.1, Some(0.3)), (0.02, Some(0.001)));
        assert_eq!(of_effects(&effects, &objectives(), -0.05), Verdict::Inconclusive);
    }

    #[test]
    fn the_reason_names_each_metric_with_its_grounds() {
        let effects = both((1.0, Some(0.001)), (0.5, None));
        let verdict = of_effects(&effects, &objectives(), 0.7);
        assert_eq!(verdict, Verdict::Improved);
        assert_eq!(
            reason(verdict, &effects, &objectives()),
            "improved: tokens_per_second 100.0 % better (p = 0.0010), peak_memory_bytes 50.0 % better (not testable)"
        );
    }

    #[test]
    fn one_objective_worse_beyond_chance_is_regressed() {
        let effects = both((1.0, Some(0.001)), (-0.1, Some(0.001)));
        assert_eq!(of_effects(&effects, &objectives(), 0.3), Verdict::Regressed);
    }

    #[test]
    fn a_significant_change_below_the_minimal_effect_decides_nothing() {
        let effects = both((-0.005, Some(0.001)), (0.0, None));
        let verdict = of_effects(&effects, &objectives(), -0.003);
        assert_eq!(verdict, Verdict::Inconclusive);
        let reason = reason(verdict, &effects, &objectives());
        assert!(
            reason.contains("too small to matter") && reason.contains("peak_memory_bytes unchanged"),
            "{reason}"
        );
    }

    fn judged(loss: LossVerdict, log_score: f64) -> Outcome {
        let effects = both((0.1, Some(0.001)), (0.0, None));
        let (verdict, reason) = (Verdict::Improved, "because".to_owned());
        let judgement =
            Judgement { verdict, log_score, effects, loss, claim: None, reason, records: Vec::new() };
        outcome(judgement, BTreeMap::new())
    }

    #[test]
    fn drifting_loss_is_never_traded_for_speed() {
        assert_eq!(judged(LossVerdict::of_means(&[5.0], &[5.2], 0.01), 2.0).kind(), "loss_drift");
    }

    #[test]
    fn the_score_is_the_exponential_of_the_log_score_if_that_is_finite() {
        let equal = || LossVerdict::of_means(&[5.0], &[5.0], 0.01);
        assert!((judged(equal(), 2.0_f64.ln()).score().unwrap().get() - 2.0).abs() < 1e-12);
        assert_eq!(judged(equal(), f64::NAN).kind(), "rejected");
    }

    #[test]
    fn the_rule_on_mean_losses_is_relative_above_one_and_absolute_below() {
        let holds =
            |baseline: f64, candidate: f64| LossVerdict::of_means(&[baseline], &[candidate], 0.01).holds;
        assert!(holds(5.0, 5.05) && !holds(5.0, 5.051));
        assert!(holds(0.1, 0.1099) && !holds(0.1, 0.111));
        assert!(!holds(5.0, f64::NAN));
    }
}
