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
        Ok(score) => Outcome::Measured(Measured { score, verdict, metrics, effects, reason }),
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
