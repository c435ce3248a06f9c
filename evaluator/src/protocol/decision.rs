//! What the trials say, with the numbers behind it.

use search::{Effect, Verdict};
use serde::{Deserialize, Serialize};

use super::Stage;
use crate::problem::Metric;
use crate::statistics::{Equivalence, equivalence_paired, mean};
use crate::trial::Arm;

/// The end of one candidate's evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Too many trials of an arm failed for any word on the candidate.
    Aborted {
        /// Which arm.
        arm: Arm,
        /// Looks that were taken before.
        records: Vec<DecisionRecord>,
    },
    /// All is known.
    Judged(Box<Judgement>),
}

/// The statistics of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The protocol's word on it.
    pub verdict: Verdict,
    /// ln of the score, shrunk by its uncertainty; 0 is the baseline.
    pub log_score: f64,
    /// One per objective, in their order.
    pub effects: Vec<Effect>,
    /// Whether fine-tuning still ends where it should.
    pub loss: LossVerdict,
    /// That the candidate is better, if that is claimed.
    pub claim: Option<Claim>,
    /// The grounds in one plain sentence.
    pub reason: String,
    /// One per look and metric, in order.
    pub records: Vec<DecisionRecord>,
}

/// A claim of the run: over all of a run's claims, the expected share of false ones is at most `alpha`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Metrics that are better each for itself. If empty, the claim is that at least one is.
    pub metrics: Vec<Metric>,
    /// ln of the evidence, the mean over the metrics, when it reached the level.
    pub log_e: f64,
    /// The level `α_t` that it had to reach: `E ≥ 1/α_t`.
    pub level: f64,
}

/// One look at one metric. Deviations and effects are on natural logarithms, positive is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Screening or pairs.
    pub stage: Stage,
    /// Candidate trials of the screening, or pairs, so far.
    pub look: u32,
    /// Which metric; absent for a look at the loss, or at a trial that failed.
    pub metric: Option<Metric>,
    /// Standard deviation of one trial, from the reference's successive differences.
    pub sigma: Option<f64>,
    /// Mean difference so far.
    pub mean: Option<f64>,
    /// ln E so far.
    pub log_e: Option<f64>,
    /// Confirmations started in the run, this one included.
    pub confirmations: u32,
    /// Claims made in the run before.
    pub claims: u32,
    /// The level `α_t` of this confirmation.
    pub level: Option<f64>,
    /// At or below this mean the metric is futile.
    pub lower: Option<f64>,
    /// From this mean on the metric passes the screening.
    pub upper: Option<f64>,
    /// What the look at all metrics led to.
    pub action: Action,
    /// Why, in plain words.
    pub reason: String,
    /// Numbers of the trials that it was compared with.
    pub references: Vec<u64>,
}

/// What a look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One more trial, or pair.
    Continue,
    /// No further trials: there is nothing to find, or not enough of it.
    Stop,
    /// Go on to the pairs.
    Confirm,
    /// The candidate is claimed to be better.
    Claim,
    /// The loss ends elsewhere.
    LossDrift,
    /// Too many trials failed.
    Abort,
}

impl Action {
    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Stop => "stop",
            Self::Confirm => "confirm",
            Self::Claim => "claim",
            Self::LossDrift => "loss_drift",
            Self::Abort => "abort",
        }
    }
}

/// Validation losses of both arms, and whether they are close enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossVerdict {
    /// Mean over the trials compared with; 0 if there are none.
    pub baseline: f64,
    /// Mean over the candidate's trials.
    pub candidate: f64,
    /// Largest allowed |relative difference|.
    pub limit: f64,
    /// Mean difference: of ln loss for losses from 1 on, else of the loss itself.
    pub difference: Option<f64>,
    /// 90 % interval of the difference: within the limits if and only if both tests are significant at 5 %.
    pub interval: Option<(f64, f64)>,
    /// Pairs, or trials of the candidate.
    pub n: u32,
    /// That the difference is not below ln(1 − limit).
    pub p_lower: Option<f64>,
    /// That the difference is not above ln(1 + limit).
    pub p_upper: Option<f64>,
    /// How it was decided: `tost-paired`, `difference-of-means`, `difference-at-one-seed`, `definition` or `not-compared`.
    pub method: String,
    /// Whether the candidate passes.
    pub holds: bool,
}

impl LossVerdict {
    /// |difference of means| ≤ max(limit · |baseline|, limit): the fixed protocols' rule. Relative, but for losses below 1
    /// absolute, so that a loss near zero doesn't make it impossible.
    pub fn of_means(baseline: &[f64], candidate: &[f64], limit: f64) -> Self {
        let baseline_mean = mean(baseline).unwrap_or_default();
        let candidate_mean = mean(candidate).unwrap_or(baseline_mean);
        let difference = candidate_mean - baseline_mean;
        Self {
            difference: Some(difference / baseline_mean.abs().max(1.0)),
            n: candidate.len() as u32,
            method: "difference-of-means".to_owned(),
            holds: difference.abs() <= (limit * baseline_mean.abs()).max(limit),
            ..Self::unknown(baseline_mean, candidate_mean, limit)
        }
    }

    /// Two one-sided tests at 5 % on pairs (reference, candidate) that share a seed.
    pub fn of_pairs(pairs: &[(f64, f64)], limit: f64) -> Self {
        let differences: Vec<f64> = pairs.iter().map(|(r, c)| loss_difference(*r, *c)).collect();
        let side = |side: fn(&(f64, f64)) -> f64| {
            mean(&pairs.iter().map(side).collect::<Vec<_>>()).unwrap_or_default()
        };
        let mut verdict = Self {
            difference: mean(&differences),
            n: pairs.len() as u32,
            method: "tost-paired".to_owned(),
            ..Self::unknown(side(|pair| pair.0), side(|pair| pair.1), limit)
        };
        if let Some(Equivalence { p_lower, p_upper, interval, .. }) =
            equivalence_paired(&differences, limit, 0.05)
        {
            (verdict.p_lower, verdict.p_upper) = (Some(p_lower), Some(p_upper));
            verdict.interval = Some(interval);
            verdict.holds = p_lower < 0.05 && p_upper < 0.05;
        }
        verdict
    }

    /// Nothing was compared: passes nothing, but [`Self::holds`] may be set.
    pub(super) fn unknown(baseline: f64, candidate: f64, limit: f64) -> Self {
        Self {
            baseline,
            candidate,
            limit,
            difference: None,
            interval: None,
            n: 0,
            p_lower: None,
            p_upper: None,
            method: "not-compared".to_owned(),
            holds: false,
        }
    }
}

/// ln(candidate / reference); for losses below 1 the difference itself, so that losses near zero may differ a little.
pub(super) fn loss_difference(reference: f64, candidate: f64) -> f64 {
    if reference >= 1.0 && candidate > 0.0 {
        (candidate / reference).ln()
    } else {
        (candidate - reference) / reference.abs().max(1.0)
    }
}
