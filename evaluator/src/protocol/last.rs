//! The final report's comparison: the champion against an opponent, on fresh seeds, in pairs in the order of a coin.
//!
//! All data are new, so that the champion's luck in the search doesn't count. The number of pairs is fixed beforehand, and so the
//! interval is exact: the Hodges–Lehmann estimate with its signed-rank interval.

use search::{Effect, Verdict};
use serde_json::json;

use super::race::relative;
use super::{
    Candidate, Chance, Decision, Judgement, LossVerdict, Plan, Protocol, Sample, Stage, Step, TrialResult,
};
use crate::problem::Objective;
use crate::statistics::{hodges_lehmann, mean, sign_flip, signed_rank_interval};
use crate::trial::Arm;

/// Failed trials of an arm that are run again, each with its whole pair.
const REPEATS: u32 = 2;

/// The state: pairs told so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Final {
    opponent: Arm,
    pairs: u32,
    objectives: Vec<Objective>,
    loss_limit: f64,
    /// (opponent, champion).
    told: Vec<(Sample, Sample)>,
    first: Option<Half>,
    failures: (u32, u32),
    index: u32,
    pending: Option<Plan>,
}

#[derive(Debug, Clone, PartialEq)]
struct Half {
    trial: u64,
    seed: u64,
    reference_first: bool,
    sample: Sample,
}

impl Final {
    /// Twelve pairs: the interval at 95 % is then about as wide as the noise of one trial.
    pub const PAIRS: u32 = 12;

    /// Against the problem's baseline ([`Arm::Baseline`]) or MLX-LM's own layer ([`Arm::MlxLm`]). `loss_limit` is relative.
    pub fn new(opponent: Arm, pairs: u32, objectives: Vec<Objective>, loss_limit: f64) -> Self {
        Self {
            opponent,
            pairs,
            objectives,
            loss_limit,
            told: Vec::new(),
            first: None,
            failures: (0, 0),
            index: 0,
            pending: None,
        }
    }

    fn decision(&self) -> Option<Decision> {
        let aborted = |arm| Some(Decision::Aborted { arm, records: Vec::new() });
        if self.failures.0 > REPEATS {
            aborted(self.opponent)
        } else if self.failures.1 > REPEATS {
            aborted(Arm::Candidate)
        } else if self.told.len() >= self.pairs as usize {
            Some(Decision::Judged(Box::new(self.judge())))
        } else {
            None
        }
    }

    fn judge(&self) -> Judgement {
        let losses: Vec<(f64, f64)> =
            self.told.iter().map(|(o, c)| (o.validation_loss, c.validation_loss)).collect();
        let effects: Vec<Effect> = self.objectives.iter().map(|objective| self.effect(objective)).collect();
        let log_score = self
            .objectives
            .iter()
            .map(|o| o.weight * hodges_lehmann(&self.differences(o)).unwrap_or_default())
            .sum();
        let surely = |sign: f64| {
            let beyond = |interval: (f64, f64)| interval.0 * sign > 0.0 && interval.1 * sign > 0.0;
            effects.iter().any(|effect| effect.interval.is_some_and(beyond))
        };
        let verdict = match (surely(1.0), surely(-1.0)) {
            (true, false) => Verdict::Improved,
            (false, true) => Verdict::Regressed,
            _ => Verdict::Inconclusive,
        };
        let reason = format!("{}: on {} fresh pairs", verdict.as_str(), self.pairs);
        let loss = LossVerdict::of_pairs(&losses, self.loss_limit);
        Judgement { verdict, log_score, effects, loss, claim: None, reason, records: Vec::new() }
    }

    fn differences(&self, objective: &Objective) -> Vec<f64> {
        let metric = objective.metric;
        self.told.iter().map(|(o, c)| c.goodness(metric) - o.goodness(metric)).collect()
    }

    fn effect(&self, objective: &Objective) -> Effect {
        let metric = objective.metric;
        let differences = self.differences(objective);
        let typical = |side: fn(&(Sample, Sample)) -> &Sample| {
            let logs: Vec<f64> = self.told.iter().map(|pair| side(pair).value(metric).ln()).collect();
            mean(&logs).unwrap_or_default().exp()
        };
        let interval = signed_rank_interval(&differences, 0.95)
            .map(|(low, high)| (relative(metric, low), relative(metric, high)));
        let negated: Vec<f64> = differences.iter().map(|d| -d).collect();
        let p_value = sign_flip(&differences)
            .zip(sign_flip(&negated))
            .map(|(greater, less)| (2.0 * greater.min(less)).min(1.0));
        let n = self.told.len() as u32;
        Effect {
            metric: metric.as_str().to_owned(),
            baseline: typical(|pair| &pair.0),
            candidate: typical(|pair| &pair.1),
            change: relative(metric, hodges_lehmann(&differences).unwrap_or_default()) + 0.0,
            interval,
            p_value,
            significant: interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0),
            n: (n, n),
            method: "hodges-lehmann".to_owned(),
        }
    }
}

impl Protocol for Final {
    fn name(&self) -> &'static str {
        "final"
    }

    fn parameters(&self) -> serde_json::Value {
        json!({ "opponent": self.opponent.as_str(), "pairs": self.pairs, "loss_limit": self.loss_limit })
    }

    fn incumbent(&self) -> Option<&str> {
        None
    }

    fn begin(&mut self, _: Candidate) {
        self.abandon();
    }

    fn next(&mut self, chance: &mut dyn Chance) -> Step {
        if let Some(plan) = &self.pending {
            return Step::Run(plan.clone());
        }
        if let Some(decision) = self.decision() {
            return Step::Done(decision);
        }
        let (seed, reference_first) = self
            .first
            .as_ref()
            .map_or_else(|| (chance.seed(), chance.coin()), |f| (f.seed, f.reference_first));
        let opponents_turn = reference_first == self.first.is_none();
        let pair = self.told.len() as u32;
        let half = u32::from(self.first.is_some());
        let references = self.first.as_ref().filter(|first| first.reference_first).map(|first| first.trial);
        let plan = Plan {
            stage: Stage::Final,
            arm: if opponents_turn { self.opponent } else { Arm::Candidate },
            seed,
            pair: Some(pair),
            reference_first: Some(reference_first),
            index: self.index,
            of: self.index + 2 * (self.pairs - pair) - half,
            references: references.into_iter().collect(),
        };
        self.pending = Some(plan.clone());
        Step::Run(plan)
    }

    fn tell(&mut self, trial: u64, result: TrialResult) {
        let Some(plan) = self.pending.take() else { return };
        self.index += 1;
        let Some(sample) = result.sample() else {
            self.first = None;
            let failures =
                if plan.arm == Arm::Candidate { &mut self.failures.1 } else { &mut self.failures.0 };
            *failures += 1;
            return;
        };
        let reference_first = plan.reference_first.unwrap_or_default();
        match self.first.take() {
            None => self.first = Some(Half { trial, seed: plan.seed, reference_first, sample }),
            Some(first) if reference_first => self.told.push((first.sample, sample)),
            Some(first) => self.told.push((sample, first.sample)),
        }
    }

    fn abandon(&mut self) {
        *self = Self::new(self.opponent, self.pairs, std::mem::take(&mut self.objectives), self.loss_limit);
    }
}
