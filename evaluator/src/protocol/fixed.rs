//! The seed document's protocol: n baseline trials, then n candidate trials, then Welch's t-test.
//!
//! Its weakness is known: because each arm is one block in time, a machine that gets slower in between looks
//! like a slower candidate. It is kept because it is simple and because others' numbers were made with it.

use search::Effect;
use serde_json::json;

use super::{Decision, Judgement, LossGate, Plan, Protocol, Sample, Step};
use crate::problem::{FixedSettings, Metric};
use crate::statistics::{self, Comparison};
use crate::trial::Arm;

/// Fewer successful trials have no variance to test with.
const ENOUGH: usize = 2;

/// The state: what was told so far.
#[derive(Debug, Clone)]
pub struct Fixed {
    settings: FixedSettings,
    metrics: Vec<Metric>,
    loss_limit: f64,
    is_baseline: bool,
    baseline: Vec<Option<Sample>>,
    candidate: Vec<Option<Sample>>,
}

impl Fixed {
    /// Nothing told yet. `loss_limit` is relative. If the candidate is the baseline itself, only the baseline
    /// arm is run: its score is 1 by definition, and measuring it twice would only add noise to that.
    pub fn new(settings: FixedSettings, metrics: Vec<Metric>, loss_limit: f64, is_baseline: bool) -> Self {
        Self { settings, metrics, loss_limit, is_baseline, baseline: Vec::new(), candidate: Vec::new() }
    }

    fn arms(&self) -> [(Arm, &[Option<Sample>], u64, u32); 2] {
        let trials = self.settings.trials;
        [
            (Arm::Baseline, &self.baseline, self.settings.baseline_seed, trials),
            (
                Arm::Candidate,
                &self.candidate,
                self.settings.candidate_seed,
                if self.is_baseline { 0 } else { trials },
            ),
        ]
    }

    fn judge(&self) -> Judgement {
        let baseline: Vec<Sample> = self.baseline.iter().flatten().copied().collect();
        let candidate: Vec<Sample> =
            if self.is_baseline { Vec::new() } else { self.candidate.iter().flatten().copied().collect() };
        let effects = self.metrics.iter().map(|metric| self.effect(*metric, &baseline, &candidate)).collect();
        let losses = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|s| s.validation_loss).collect() };
        let baseline_loss = statistics::mean(&losses(&baseline)).unwrap_or_default();
        let candidate_loss = statistics::mean(&losses(&candidate)).unwrap_or(baseline_loss);
        let loss = LossGate { baseline: baseline_loss, candidate: candidate_loss, limit: self.loss_limit };
        Judgement { effects, loss }
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
        match statistics::compare(&baseline, &candidate, 1.0 - self.settings.alpha) {
            Some(Comparison::Welch(welch)) => {
                let ends = (relative(welch.interval.0), relative(welch.interval.1));
                effect.interval = Some((ends.0.min(ends.1), ends.0.max(ends.1)));
                effect.p_value = Some(welch.p_value);
                effect.significant = welch.p_value < self.settings.alpha;
            }
            Some(Comparison::Certain { .. }) => {
                effect.interval = Some((effect.change, effect.change));
                effect.significant = true;
                "no-variance".clone_into(&mut effect.method);
            }
            Some(Comparison::Identical) => "no-variance".clone_into(&mut effect.method),
            None => "definition".clone_into(&mut effect.method),
        }
        effect
    }
}

impl Protocol for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn parameters(&self) -> serde_json::Value {
        json!({
            "trials": self.settings.trials,
            "alpha": self.settings.alpha,
            "baseline_seed": self.settings.baseline_seed,
            "candidate_seed": self.settings.candidate_seed,
            "loss_limit": self.loss_limit,
        })
    }

    fn next(&self) -> Step {
        let of = self.arms().iter().map(|(_, _, _, trials)| trials).sum();
        for (arm, told, first_seed, trials) in self.arms() {
            // If the very first one fails, so will the others.
            if told.first().is_some_and(Option::is_none) {
                return Step::Done(Decision::Aborted { arm });
            }
            let done = told.len() as u32;
            if done < trials {
                let index = (self.baseline.len() + self.candidate.len()) as u32;
                return Step::Run(Plan { arm, seed: first_seed + u64::from(done), index, of });
            }
            if trials > 0 && told.iter().flatten().count() < ENOUGH {
                return Step::Done(Decision::Aborted { arm });
            }
        }
        Step::Done(Decision::Judged(self.judge()))
    }

    fn tell(&mut self, result: Option<Sample>) {
        match self.next() {
            Step::Run(Plan { arm: Arm::Baseline, .. }) => self.baseline.push(result),
            Step::Run(Plan { arm: Arm::Candidate, .. }) => self.candidate.push(result),
            // Nothing was asked, so there is nothing to learn.
            Step::Done(_) => {}
        }
    }
}
