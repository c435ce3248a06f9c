//! The screening: a truncated sequential test of the candidate against the reference's latest trials.

use super::conclude::{self, Measure};
use super::references::{Reference, References};
use super::{Next, Rules, State};
use crate::protocol::decision::loss_difference;
use crate::protocol::{Action, Decision, DecisionRecord, LossVerdict, Plan, Sample, Stage};
use crate::statistics::{Bounds, mean, wald_bounds};
use crate::trial::Arm;

/// The difference to a median of three has more noise than one trial.
const OF_A_DIFFERENCE: f64 = 1.2;

/// A candidate's first trials.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Screen {
    looks: u32,
    /// For each metric the sum of differences.
    totals: Vec<f64>,
    candidates: Vec<Reference>,
    /// Losses (reference, candidate) at the same seed.
    losses: Vec<(f64, f64)>,
    failures: u32,
    /// Differences of trials that were too slow to count.
    slow: Vec<Vec<f64>>,
    /// Whether the next trial is a failed one's repetition.
    repeat: bool,
    records: Vec<DecisionRecord>,
}

impl Screen {
    pub(super) fn new(metrics: usize) -> Self {
        Self {
            looks: 0,
            totals: vec![0.0; metrics],
            candidates: Vec::new(),
            losses: Vec::new(),
            failures: 0,
            slow: Vec::new(),
            repeat: false,
            records: Vec::new(),
        }
    }

    pub(super) fn looks(&self) -> u32 {
        self.looks
    }

    pub(super) fn records(&self) -> &[DecisionRecord] {
        &self.records
    }

    pub(super) fn into_records(self) -> Vec<DecisionRecord> {
        self.records
    }

    /// The seed of a reference trial not yet used, so that losses can be compared; `None` for a new one.
    pub(super) fn seed(&self, references: &References) -> Option<u64> {
        if self.repeat {
            return None;
        }
        let used = |seed: u64| self.candidates.iter().any(|candidate| candidate.seed == seed);
        let unused = references.latest_first().find(|reference| !used(reference.seed));
        unused.or_else(|| references.latest_first().next()).map(|reference| reference.seed)
    }

    pub(super) fn tell(
        &mut self,
        state: &State,
        rules: &Rules,
        plan: &Plan,
        trial: u64,
        sample: Option<Sample>,
    ) -> Next {
        self.repeat = false;
        match sample {
            Some(sample) if !state.references.is_slow(&sample, rules) => {
                let candidate = Reference::new(rules, trial, plan.seed, sample);
                self.look(state, rules, candidate)
            }
            other => self.fail(state, rules, other),
        }
    }

    fn fail(&mut self, state: &State, rules: &Rules, slow: Option<Sample>) -> Next {
        self.failures += 1;
        let words = if slow.is_some() { "took too long" } else { "failed" };
        if let Some(sample) = slow {
            self.slow.push(conclude::differences(&state.references, &rules.logs(&sample)));
        }
        let last = self.failures > 1;
        let action = if last { Action::Abort } else { Action::Continue };
        let then = if last { "the second time" } else { "it is run once more on a new seed" };
        self.records.push(DecisionRecord {
            look: self.looks,
            action,
            reason: format!("the trial {words}: {then}"),
            ..conclude::record(state, Stage::Screen)
        });
        self.repeat = !last;
        if !last {
            return Next::Stay;
        }
        let records = std::mem::take(&mut self.records);
        Next::Done(if self.slow.len() == 2 {
            conclude::too_slow(state, rules, &self.slow, records)
        } else {
            Decision::Aborted { arm: Arm::Candidate, records }
        })
    }

    fn look(&mut self, state: &State, rules: &Rules, candidate: Reference) -> Next {
        let settings = &rules.settings;
        for (total, difference) in
            self.totals.iter_mut().zip(conclude::differences(&state.references, &candidate.logs))
        {
            *total += difference;
        }
        let same_seed = state.references.latest_first().find(|reference| reference.seed == candidate.seed);
        let losses =
            same_seed.map(|reference| (reference.sample.validation_loss, candidate.sample.validation_loss));
        self.losses.extend(losses);
        self.candidates.push(candidate);
        self.looks += 1;

        let measures = self.measures(state, rules);
        let bounds: Vec<Bounds> = rules
            .objectives
            .iter()
            .zip(&measures)
            .map(|(objective, measure)| {
                wald_bounds(
                    self.looks,
                    measure.deviation,
                    settings.screen_effect,
                    objective.minimal_effect,
                    settings.screen_miss,
                    Some(settings.screen_pass),
                )
            })
            .collect();
        let last = self.looks >= settings.screen_trials;
        let any = |test: fn(f64, &Bounds) -> bool| {
            measures.iter().zip(&bounds).any(|(measure, bounds)| test(measure.mean, bounds))
        };
        let drifted = losses
            .is_some_and(|(reference, own)| loss_difference(reference, own).abs() > settings.screen_loss);
        let (action, reason) = if drifted {
            (Action::LossDrift, "the loss ends elsewhere than the reference's with the same seed")
        } else if !any(|mean, bounds| mean > bounds.lower) {
            (Action::Stop, "no metric is far enough ahead of the reference to be worth another trial")
        } else if any(|mean, bounds| mean >= bounds.upper) {
            (Action::Confirm, "a metric is clearly ahead of the reference")
        } else if last && any(|mean, bounds| mean >= bounds.middle) {
            (Action::Confirm, "at the last look a metric is ahead of the reference")
        } else if last {
            (Action::Stop, "at the last look no metric is far enough ahead of the reference")
        } else {
            (Action::Continue, "too early to tell")
        };
        for ((objective, measure), bounds) in rules.objectives.iter().zip(&measures).zip(&bounds) {
            self.records.push(DecisionRecord {
                look: self.looks,
                metric: Some(objective.metric),
                sigma: Some(measure.sigma),
                mean: Some(measure.mean),
                lower: Some(bounds.lower),
                upper: Some(if last { bounds.middle } else { bounds.upper }),
                action,
                reason: reason.to_owned(),
                references: state.references.trials(),
                ..conclude::record(state, Stage::Screen)
            });
        }
        match action {
            Action::Continue => Next::Stay,
            Action::Confirm => Next::Confirm,
            _ => {
                let loss = self.loss(rules, !drifted);
                let records = std::mem::take(&mut self.records);
                Next::Done(conclude::unclaimed(state, rules, &measures, loss, reason, records))
            }
        }
    }

    /// What the screening says of each metric.
    pub(super) fn measures(&self, state: &State, rules: &Rules) -> Vec<Measure> {
        let n = self.looks;
        let measure = |(metric, total): (usize, &f64)| {
            let sigma = state.references.sigma(metric, rules.settings.noise_floor);
            let deviation = OF_A_DIFFERENCE * sigma;
            let mean = total / f64::from(n);
            Measure::screened(sigma, deviation, mean, n, state.references.trials().len() as u32)
        };
        self.totals.iter().enumerate().map(measure).collect()
    }

    fn loss(&self, rules: &Rules, holds: bool) -> LossVerdict {
        let side = |side: fn(&(f64, f64)) -> f64| mean(&self.losses.iter().map(side).collect::<Vec<_>>());
        let own: Vec<f64> = self.candidates.iter().map(|c| c.sample.validation_loss).collect();
        let candidate = side(|pair| pair.1).or_else(|| mean(&own)).unwrap_or_default();
        let unknown = LossVerdict::unknown(
            side(|pair| pair.0).unwrap_or_default(),
            candidate,
            rules.settings.screen_loss,
        );
        if self.losses.is_empty() {
            return LossVerdict { holds, ..unknown };
        }
        let differences: Vec<f64> = self.losses.iter().map(|(r, c)| loss_difference(*r, *c)).collect();
        LossVerdict {
            difference: mean(&differences),
            n: self.losses.len() as u32,
            method: "difference-at-one-seed".to_owned(),
            holds,
            ..unknown
        }
    }
}
