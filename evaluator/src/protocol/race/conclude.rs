//! From the numbers to a judgement: effects, score, verdict and its reason.

use search::{Effect, Verdict};

use super::references::References;
use super::{Rules, State};
use crate::problem::Metric;
use crate::protocol::{Action, Claim, Decision, DecisionRecord, Judgement, LossVerdict, Stage};
use crate::statistics::{hodges_lehmann, mean, shrink, signed_rank_interval, variance};
use crate::verdict;

/// Standard errors by which a metric must be worse than its minimal effect to be called so.
const SURE: f64 = 3.0;
/// A noise-free metric's variance is taken to be this, which is 0.01 %.
const LEAST_VARIANCE: f64 = 1e-8;

/// What is known of one metric, on logarithms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    /// Of one trial.
    pub(super) sigma: f64,
    /// Of one difference.
    pub(super) deviation: f64,
    pub(super) mean: f64,
    /// The estimate: the mean, or for pairs the Hodges–Lehmann estimate.
    pub(super) effect: f64,
    /// Squared standard error of the mean.
    variance: f64,
    interval: Option<(f64, f64)>,
    n: (u32, u32),
    /// Typical values in the metric's unit, if they are known from pairs.
    typical: Option<(f64, f64)>,
    method: &'static str,
}

impl Measure {
    /// `looks` differences to the median of `pool` reference trials.
    pub(super) fn screened(sigma: f64, deviation: f64, mean: f64, looks: u32, pool: u32) -> Self {
        let variance = deviation * deviation / f64::from(looks);
        let margin = 1.96 * variance.sqrt();
        Self {
            sigma,
            deviation,
            mean,
            effect: mean,
            variance,
            interval: Some((mean - margin, mean + margin)),
            n: (pool, looks),
            typical: None,
            method: "mean-to-median",
        }
    }

    /// Differences of complete pairs.
    pub(super) fn paired(sigma: f64, differences: &[f64], reference: f64, candidate: f64) -> Self {
        let n = differences.len() as u32;
        let of_one = variance(differences).unwrap_or_default().max(LEAST_VARIANCE);
        let mean = mean(differences).unwrap_or_default();
        Self {
            sigma,
            deviation: std::f64::consts::SQRT_2 * sigma,
            mean,
            effect: hodges_lehmann(differences).unwrap_or_default(),
            variance: of_one / f64::from(n),
            interval: signed_rank_interval(differences, 0.95),
            n: (n, n),
            typical: Some((reference, candidate)),
            method: "hodges-lehmann",
        }
    }

    /// Whether the metric is worse by more than `minimal`. A screening shows that of a metric without noise only: its trials and the
    /// reference's ran at other times, and a machine that became busy in between halves any kernel's speed.
    fn is_worse(&self, minimal: f64, noise_floor: f64) -> bool {
        let is_paired = self.typical.is_some();
        (is_paired || self.sigma <= noise_floor) && self.mean + SURE * self.variance.sqrt() < -minimal
    }

    fn to_effect(&self, metric: Metric, references: &References, claim: Option<&Claim>) -> Effect {
        let (baseline, candidate) = self.typical.unwrap_or_else(|| {
            let baseline = references.typical(metric);
            let factor = if metric.is_maximized() { self.effect } else { -self.effect };
            (baseline, baseline * factor.exp())
        });
        Effect {
            metric: metric.as_str().to_owned(),
            baseline,
            candidate,
            change: relative(metric, self.effect),
            interval: self.interval.map(|(low, high)| (relative(metric, low), relative(metric, high))),
            p_value: None,
            significant: claim.is_some_and(|claim| claim.metrics.contains(&metric)),
            n: self.n,
            method: self.method.to_owned(),
        }
    }
}

/// A difference of logarithms as relative change of the metric, positive is better.
pub(in crate::protocol) fn relative(metric: Metric, difference: f64) -> f64 {
    if metric.is_maximized() { difference.exp_m1() } else { -(-difference).exp_m1() }
}

/// Each metric's goodness less the median of the reference's latest trials.
pub(super) fn differences(references: &References, logs: &[f64]) -> Vec<f64> {
    logs.iter().enumerate().map(|(metric, log)| log - references.center(metric)).collect()
}

/// A look without numbers.
pub(super) fn record(known: &State, stage: Stage) -> DecisionRecord {
    DecisionRecord {
        stage,
        look: 0,
        metric: None,
        sigma: None,
        mean: None,
        log_e: None,
        confirmations: known.confirmations,
        claims: known.claims,
        level: None,
        lower: None,
        upper: None,
        action: Action::Continue,
        reason: String::new(),
        references: Vec::new(),
    }
}

/// The candidate is better.
pub(super) fn claimed(
    state: &State,
    rules: &Rules,
    measures: &[Measure],
    loss: LossVerdict,
    claim: Claim,
    records: Vec<DecisionRecord>,
) -> Decision {
    let effects = effects(state, rules, measures, Some(&claim));
    let named = match claim.metrics.as_slice() {
        [] => "together".to_owned(),
        metrics => metrics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let reason = format!(
        "improved: {}; evidence {:.0} of {:.0} needed, shown for {named}",
        describe(&effects),
        claim.log_e.exp(),
        1.0 / claim.level
    );
    Decision::Judged(Box::new(Judgement {
        verdict: Verdict::Improved,
        log_score: log_score(state, rules, measures),
        effects,
        loss,
        claim: Some(claim),
        reason,
        records,
    }))
}

/// Nothing is claimed: it is worse, or nobody knows.
pub(super) fn unclaimed(
    state: &State,
    rules: &Rules,
    measures: &[Measure],
    loss: LossVerdict,
    grounds: &str,
    records: Vec<DecisionRecord>,
) -> Decision {
    let effects = effects(state, rules, measures, None);
    let worse =
        rules.objectives.iter().zip(measures).any(|(objective, measure)| {
            measure.is_worse(objective.minimal_effect, rules.settings.noise_floor)
        });
    let verdict = if worse { Verdict::Regressed } else { Verdict::Inconclusive };
    let reason = format!("{}: {grounds} ({})", verdict.as_str(), describe(&effects));
    let log_score = log_score(state, rules, measures);
    Decision::Judged(Box::new(Judgement { verdict, log_score, effects, loss, claim: None, reason, records }))
}

/// Two trials took too many times the reference's time: measured, and given up. Not called worse: they weren't compared in pairs.
pub(super) fn too_slow(
    state: &State,
    rules: &Rules,
    slow: &[Vec<f64>],
    records: Vec<DecisionRecord>,
) -> Decision {
    let measures: Vec<Measure> = (0..rules.objectives.len())
        .map(|metric| {
            let sigma = state.references.sigma(metric, rules.settings.noise_floor);
            let mean = slow.iter().map(|differences| differences[metric]).sum::<f64>() / slow.len() as f64;
            let pool = state.references.trials().len() as u32;
            Measure::screened(sigma, 1.2 * sigma, mean, slow.len() as u32, pool)
        })
        .collect();
    let effects = effects(state, rules, &measures, None);
    let reason = format!(
        "inconclusive: two trials took more than {} times as long as the reference's, which nobody waits for ({})",
        rules.settings.slow,
        describe(&effects)
    );
    Decision::Judged(Box::new(Judgement {
        verdict: Verdict::Inconclusive,
        log_score: log_score(state, rules, &measures),
        effects,
        loss: LossVerdict { holds: true, ..LossVerdict::unknown(0.0, 0.0, rules.settings.screen_loss) },
        claim: None,
        reason,
        records,
    }))
}

impl State {
    /// The baseline against itself, from its calibration trials.
    pub(super) fn by_definition(&self, rules: &Rules) -> Decision {
        let samples = &self.calibration;
        let of = |value: &dyn Fn(&crate::protocol::Sample) -> f64| {
            mean(&samples.iter().map(value).collect::<Vec<_>>()).unwrap_or_default()
        };
        let effect = |metric: Metric| {
            let mean = of(&|sample| sample.value(metric));
            Effect {
                metric: metric.as_str().to_owned(),
                baseline: mean,
                candidate: mean,
                change: 0.0,
                interval: None,
                p_value: None,
                significant: false,
                n: (samples.len() as u32, 0),
                method: "definition".to_owned(),
            }
        };
        let loss = of(&|sample| sample.validation_loss);
        let unknown = LossVerdict::unknown(loss, loss, rules.loss_limit);
        Decision::Judged(Box::new(Judgement {
            verdict: Verdict::Inconclusive,
            log_score: 0.0,
            effects: rules.objectives.iter().map(|objective| effect(objective.metric)).collect(),
            loss: LossVerdict { method: "definition".to_owned(), holds: true, ..unknown },
            claim: None,
            reason: verdict::BASELINE.to_owned(),
            records: Vec::new(),
        }))
    }
}

fn effects(state: &State, rules: &Rules, measures: &[Measure], claim: Option<&Claim>) -> Vec<Effect> {
    let each = rules.objectives.iter().zip(measures);
    each.map(|(objective, measure)| measure.to_effect(objective.metric, &state.references, claim)).collect()
}

/// The reference's, and the weighted effects, shrunk by their uncertainty.
fn log_score(state: &State, rules: &Rules, measures: &[Measure]) -> f64 {
    let shrunk = |measure: &Measure| shrink(measure.effect, measure.variance, rules.settings.prior);
    let each = rules.objectives.iter().zip(measures);
    state.reference_score() + each.map(|(objective, measure)| objective.weight * shrunk(measure)).sum::<f64>()
}

/// For example: `tokens_per_second +4.1 %, peak_memory_bytes −0.2 %`, positive is better.
fn describe(effects: &[Effect]) -> String {
    let one = |effect: &Effect| {
        let percent = effect.change * 100.0;
        if percent.abs() < 0.05 {
            return format!("{} unchanged", effect.metric);
        }
        let word = if percent > 0.0 { "better" } else { "worse" };
        format!("{} {:.1} % {word}", effect.metric, percent.abs())
    };
    effects.iter().map(one).collect::<Vec<_>>().join(", ")
}
