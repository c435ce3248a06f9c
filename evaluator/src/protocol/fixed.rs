//! The seed document's protocols: n baseline trials, then n candidate trials, then a t-test.
//!
//! Their weakness is known: because each arm is one block in time, a machine that gets slower in between looks like a slower
//! candidate. They are kept because they are simple and because others' numbers were made with them.

use search::Effect;
use serde_json::json;

use super::{
    Candidate, Chance, Decision, Judgement, LossVerdict, Plan, Protocol, Sample, Stage, Step, TrialResult,
};
use crate::problem::{FixedSettings, Metric, Objective, Seed7Settings};
use crate::statistics::{self, Comparison};
use crate::trial::Arm;
use crate::verdict;

/// Fewer successful trials have no variance to test with.
const ENOUGH: usize = 2;
/// Standard deviation of true effects, for shrinking the score.
const PRIOR: f64 = 0.05;

/// What makes a difference significant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// Two-sided Welch p below this.
    Level(f64),
    /// |t| above this; nothing without variance.
    Threshold(f64),
}

/// A trial that was told.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Told {
    trial: u64,
    sample: Option<Sample>,
}

/// The state: what was told of the present candidate. Nothing is kept from one candidate to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    rule: Rule,
    trials: u32,
    first_seeds: (u64, u64),
    objectives: Vec<Objective>,
    loss_limit: f64,
    is_baseline: bool,
    baseline: Vec<Told>,
    candidate: Vec<Told>,
}

impl Fixed {
    /// `fixed`. `loss_limit` is relative. If the candidate is the baseline itself, only the baseline arm is run: its score is 1 by
    /// definition, and measuring it twice would only add noise to that.
    pub fn new(settings: FixedSettings, objectives: Vec<Objective>, loss_limit: f64) -> Self {
        let FixedSettings { trials, alpha, baseline_seed, candidate_seed } = settings;
        Self::of(Rule::Level(alpha), trials, (baseline_seed, candidate_seed), objectives, loss_limit)
    }

    /// `fixed-seed7`.
    pub fn seed7(settings: Seed7Settings, objectives: Vec<Objective>, loss_limit: f64) -> Self {
        let Seed7Settings { trials, threshold, baseline_seed, candidate_seed } = settings;
        Self::of(Rule::Threshold(threshold), trials, (baseline_seed, candidate_seed), objectives, loss_limit)
    }

    fn of(
        rule: Rule,
        trials: u32,
        first_seeds: (u64, u64),
        objectives: Vec<Objective>,
        loss_limit: f64,
    ) -> Self {
        let (baseline, candidate) = (Vec::new(), Vec::new());
        Self { rule, trials, first_seeds, objectives, loss_limit, is_baseline: false, baseline, candidate }
    }

    fn arms(&self) -> [(Arm, &[Told], u64, u32); 2] {
        let candidate_trials = if self.is_baseline { 0 } else { self.trials };
        [
            (Arm::Baseline, &self.baseline, self.first_seeds.0, self.trials),
            (Arm::Candidate, &self.candidate, self.first_seeds.1, candidate_trials),
        ]
    }

    /// What to do, and for which arm.
    fn step(&self) -> Step {
        let of = self.arms().iter().map(|(_, _, _, trials)| trials).sum();
        for (arm, told, first_seed, trials) in self.arms() {
            let aborted = Step::Done(Decision::Aborted { arm, records: Vec::new() });
            // If the very first one fails, so will the others.
            if told.first().is_some_and(|told| told.sample.is_none()) {
                return aborted;
            }
            let done = told.len() as u32;
            if done < trials {
                let references = match arm {
                    Arm::Baseline => Vec::new(),
                    _ => self.baseline.iter().map(|told| told.trial).collect(),
                };
                return Step::Run(Plan {
                    stage: Stage::Fixed,
                    arm,
                    seed: first_seed + u64::from(done),
                    pair: None,
                    reference_first: None,
                    index: (self.baseline.len() + self.candidate.len()) as u32,
                    of,
                    references,
                });
            }
            if trials > 0 && samples(told).len() < ENOUGH {
                return aborted;
            }
        }
        Step::Done(Decision::Judged(Box::new(self.judge())))
    }

    fn judge(&self) -> Judgement {
        let (baseline, candidate) = (samples(&self.baseline), samples(&self.candidate));
        let effects: Vec<Effect> = self
            .objectives
            .iter()
            .map(|objective| self.effect(objective.metric, &baseline, &candidate))
            .collect();
        let losses = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|s| s.validation_loss).collect() };
        let loss = LossVerdict::of_means(&losses(&baseline), &losses(&candidate), self.loss_limit);
        let log_score = self.log_score(&baseline, &candidate);
        let verdict = verdict::of_effects(&effects, &self.objectives, log_score);
        let reason = if self.is_baseline {
            verdict::BASELINE.to_owned()
        } else {
            verdict::reason(verdict, &effects, &self.objectives)
        };
        Judgement { verdict, log_score, effects, loss, claim: None, reason, records: Vec::new() }
    }

    /// Σ weight · ln of the ratio of means, each shrunk by its standard error, so that luck isn't bred.
    fn log_score(&self, baseline: &[Sample], candidate: &[Sample]) -> f64 {
        if candidate.is_empty() {
            return 0.0;
        }
        let shrunk = |objective: &Objective| {
            let metric = objective.metric;
            let means = |samples: &[Sample]| {
                let values: Vec<f64> = samples.iter().map(|s| s.value(metric)).collect();
                statistics::mean(&values).unwrap_or_default()
            };
            let squared_error = |samples: &[Sample]| {
                let logs: Vec<f64> = samples.iter().map(|s| s.goodness(metric)).collect();
                statistics::variance(&logs).unwrap_or_default() / samples.len() as f64
            };
            let log = (means(candidate) / means(baseline)).ln();
            let log = if metric.is_maximized() { log } else { -log };
            objective.weight
                * statistics::shrink(log, squared_error(baseline) + squared_error(candidate), PRIOR)
        };
        self.objectives.iter().map(shrunk).sum()
    }

    fn effect(&self, metric: Metric, baseline: &[Sample], candidate: &[Sample]) -> Effect {
        let values = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|s| s.value(metric)).collect() };
        let (baseline, candidate) = (values(baseline), values(candidate));
        let baseline_mean = statistics::mean(&baseline).unwrap_or_default();
        let candidate_mean = statistics::mean(&candidate).unwrap_or(baseline_mean);
        let sign = if metric.is_maximized() { 1.0 } else { -1.0 };
        // The baseline's mean counts as known here: to first order that is what the raw test assumes too.
        let relative = |difference: f64| sign * difference / baseline_mean;
        let mut effect = Effect {
            metric: metric.as_str().to_owned(),
            baseline: baseline_mean,
            candidate: candidate_mean,
            change: relative(candidate_mean - baseline_mean) + 0.0,
            interval: None,
            p_value: None,
            significant: false,
            n: (baseline.len() as u32, candidate.len() as u32),
            method: "welch-t".to_owned(),
        };
        let confidence = match self.rule {
            Rule::Level(alpha) => 1.0 - alpha,
            Rule::Threshold(_) => 0.95,
        };
        match statistics::compare(&baseline, &candidate, confidence) {
            Some(Comparison::Tested(welch)) => {
                let ends = (relative(welch.interval.0), relative(welch.interval.1));
                effect.interval = Some((ends.0.min(ends.1), ends.0.max(ends.1)));
                effect.p_value = Some(welch.p_value);
                effect.significant = match self.rule {
                    Rule::Level(alpha) => welch.p_value < alpha,
                    Rule::Threshold(threshold) => welch.t.abs() > threshold,
                };
            }
            Some(Comparison::Certain { .. }) => {
                effect.interval = Some((effect.change, effect.change));
                effect.significant = matches!(self.rule, Rule::Level(_));
                "no-variance".clone_into(&mut effect.method);
            }
            Some(Comparison::Identical) => "no-variance".clone_into(&mut effect.method),
            None => "definition".clone_into(&mut effect.method),
        }
        effect
    }
}

fn samples(told: &[Told]) -> Vec<Sample> {
    told.iter().filter_map(|told| told.sample).collect()
}

impl Protocol for Fixed {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Level(_) => "fixed",
            Rule::Threshold(_) => "fixed-seed7",
        }
    }

    fn parameters(&self) -> serde_json::Value {
        let (key, value) = match self.rule {
            Rule::Level(alpha) => ("alpha", alpha),
            Rule::Threshold(threshold) => ("threshold", threshold),
        };
        json!({
            "trials": self.trials,
            key: value,
            "baseline_seed": self.first_seeds.0,
            "candidate_seed": self.first_seeds.1,
            "loss_limit": self.loss_limit,
        })
    }

    fn incumbent(&self) -> Option<&str> {
        None
    }

    fn begin(&mut self, candidate: Candidate) {
        self.abandon();
        self.is_baseline = candidate.is_baseline;
    }

    fn next(&mut self, _: &mut dyn Chance) -> Step {
        self.step()
    }

    fn tell(&mut self, trial: u64, result: TrialResult) {
        let sample = result.sample();
        match self.step() {
            Step::Run(Plan { arm: Arm::Baseline, .. }) => self.baseline.push(Told { trial, sample }),
            Step::Run(_) => self.candidate.push(Told { trial, sample }),
            // Nothing was asked, so there is nothing to learn.
            Step::Done(_) => {}
        }
    }

    fn abandon(&mut self) {
        self.baseline.clear();
        self.candidate.clear();
    }
}
