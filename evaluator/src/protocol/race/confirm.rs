//! The confirmation: pairs of reference and candidate on one seed, in an order that a coin decides.

use super::conclude::{self, Measure};
use super::references::{Reference, References};
use super::screen::Screen;
use super::{Next, Rules, State};
use crate::protocol::{Action, Claim, Decision, DecisionRecord, LossVerdict, Plan, Sample, Stage};
use crate::statistics::{
    Bounds, e_lond_level, flip_log_factor, flip_log_factor_lost, log_mean, mean, wald_bounds,
};
use crate::trial::Arm;

/// The pairs of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Confirm {
    /// The level `α_t` that its evidence must reach.
    level: f64,
    first: Option<Half>,
    second: Option<Reference>,
    /// Complete and lost ones.
    pairs: u32,
    lost: u32,
    /// For each metric the differences of the complete pairs.
    differences: Vec<Vec<f64>>,
    /// For each metric ln E.
    log_e: Vec<f64>,
    /// Metrics whose own evidence has reached the level for a name.
    named: Vec<bool>,
    /// ln of the mean evidence when it reached the level.
    reached: Option<f64>,
    references: Vec<Reference>,
    candidates: Vec<Reference>,
    slow: Vec<Vec<f64>>,
    /// What the screening said, should there be no pair to speak of.
    screened: Vec<Measure>,
    records: Vec<DecisionRecord>,
}

/// The half of a pair that has run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Half {
    pub(super) seed: u64,
    pub(super) reference_first: bool,
    trial: Reference,
}

impl Half {
    /// Whose turn it is.
    pub(super) fn other(&self) -> Arm {
        if self.reference_first { Arm::Candidate } else { Arm::Reference }
    }

    /// The reference's trial, if that was first.
    pub(super) fn reference(&self) -> Vec<u64> {
        if self.reference_first { vec![self.trial.trial] } else { Vec::new() }
    }
}

impl Confirm {
    /// The confirmation is counted already.
    pub(super) fn new(state: &State, rules: &Rules, screen: Screen) -> Self {
        let settings = &rules.settings;
        let metrics = rules.objectives.len();
        Self {
            level: e_lond_level(settings.alpha, settings.patience, state.confirmations, state.claims),
            first: None,
            second: None,
            pairs: 0,
            lost: 0,
            differences: vec![Vec::new(); metrics],
            log_e: vec![0.0; metrics],
            named: vec![false; metrics],
            reached: None,
            references: Vec::new(),
            candidates: Vec::new(),
            slow: Vec::new(),
            screened: screen.measures(state, rules),
            records: screen.into_records(),
        }
    }

    pub(super) fn pairs(&self) -> u32 {
        self.pairs
    }

    pub(super) fn records(&self) -> &[DecisionRecord] {
        &self.records
    }

    pub(super) fn first(&self) -> Option<&Half> {
        self.first.as_ref()
    }

    /// The candidate's trials, which are the new reference's if it is promoted.
    pub(super) fn into_candidates(self) -> Vec<Reference> {
        self.candidates
    }

    /// The reference's half of an incomplete pair.
    pub(super) fn into_half_reference(self) -> Option<Reference> {
        self.first.filter(|first| first.reference_first).map(|first| first.trial)
    }

    pub(super) fn tell_reference(&mut self, plan: &Plan, reference: Reference) {
        self.tell(plan, reference);
    }

    pub(super) fn tell_candidate(&mut self, plan: &Plan, candidate: Reference) {
        self.tell(plan, candidate);
    }

    fn tell(&mut self, plan: &Plan, trial: Reference) {
        if self.first.is_some() {
            self.second = Some(trial);
        } else {
            let reference_first = plan.reference_first.unwrap_or_default();
            self.first = Some(Half { seed: plan.seed, reference_first, trial });
        }
    }

    /// A pair whose reference failed says nothing.
    pub(super) fn drop_pair(&mut self) {
        self.first = None;
    }

    /// The complete pair (reference, candidate), if it is.
    pub(super) fn take_pair(&mut self) -> Option<(Reference, Reference)> {
        let second = self.second.take()?;
        let Half { reference_first, trial, .. } = self.first.take()?;
        Some(if reference_first { (trial, second) } else { (second, trial) })
    }

    /// The candidate's trial failed: as bad as a difference of median size. The reference's half, if it has run.
    pub(super) fn lose_pair(
        &mut self,
        slow: Option<Sample>,
        references: &References,
        rules: &Rules,
    ) -> Option<Reference> {
        self.pairs += 1;
        self.lost += 1;
        for log_e in &mut self.log_e {
            *log_e += flip_log_factor_lost(rules.settings.bet);
        }
        if let Some(sample) = slow {
            self.slow.push(conclude::differences(references, &rules.logs(&sample)));
        }
        self.first.take().filter(|first| first.reference_first).map(|first| first.trial)
    }

    pub(super) fn add_pair(&mut self, rules: &Rules, reference: Reference, candidate: Reference) {
        self.pairs += 1;
        for (metric, differences) in self.differences.iter_mut().enumerate() {
            differences.push(candidate.logs[metric] - reference.logs[metric]);
            self.log_e[metric] += flip_log_factor(differences, rules.settings.bet);
        }
        self.references.push(reference);
        self.candidates.push(candidate);
    }

    /// After each pair, complete or lost.
    pub(super) fn look(&mut self, state: &State, rules: &Rules) -> Next {
        let settings = &rules.settings;
        let threshold = -self.level.ln();
        let log_e = log_mean(&self.log_e).unwrap_or_default();
        // Of M metrics' evidence one must reach M times as much as their mean to be named.
        let for_a_name = threshold + (self.log_e.len() as f64).ln();
        for (named, log_e) in self.named.iter_mut().zip(&self.log_e) {
            *named |= *log_e >= for_a_name;
        }
        if self.reached.is_none() && log_e >= threshold {
            self.reached = Some(log_e);
        }
        let measures = self.measures(state, rules);
        let bounds: Vec<Bounds> = rules
            .objectives
            .iter()
            .zip(&measures)
            .map(|(o, m)| self.bounds(rules, o.minimal_effect, m))
            .collect();
        let loss = self.loss(rules);
        let left = settings.max_pairs.saturating_sub(self.pairs);
        let gain: f64 = rules.objectives.iter().zip(&measures).map(|(o, m)| o.weight * m.effect).sum();
        let complete = self.differences.first().map_or(0, Vec::len);

        let (action, reason) = if self.lost > 1 {
            (Action::Abort, "the candidate's trial failed or took too long for the second time")
        } else if self.reached.is_some() {
            if self.pairs < settings.min_pairs && left > 0 {
                (Action::Continue, "the evidence suffices, the number of pairs doesn't yet")
            } else if !loss.holds && left > 0 {
                (Action::Continue, "the evidence suffices, but the loss is not shown to be equal yet")
            } else if !loss.holds {
                (Action::LossDrift, "the evidence suffices, but the loss could not be shown to be equal")
            } else if gain <= 0.0 {
                (Action::Stop, "one metric is better, but another one loses as much or more by the weights")
            } else {
                (Action::Claim, "the evidence has reached the level and the loss is equal")
            }
        } else if left == 0 {
            (Action::Stop, "the evidence has not reached the level in all pairs")
        } else if log_e + f64::from(left) * std::f64::consts::LN_2 < threshold {
            (Action::Stop, "the evidence can't reach the level in the pairs that are left")
        } else if complete > 1
            && measures.iter().zip(&bounds).all(|(measure, bounds)| measure.mean <= bounds.lower)
        {
            (Action::Stop, "no metric is far enough ahead of the reference to go on")
        } else {
            (Action::Continue, "the evidence has not reached the level yet")
        };
        self.record(state, rules, &measures, &bounds, action, reason);
        if action == Action::Continue {
            return Next::Stay;
        }
        let records = std::mem::take(&mut self.records);
        match action {
            Action::Continue | Action::Confirm => Next::Stay,
            Action::Claim => {
                let metrics = rules.objectives.iter().zip(&self.named).filter(|(_, named)| **named);
                let claim = Claim {
                    metrics: metrics.map(|(objective, _)| objective.metric).collect(),
                    log_e: self.reached.unwrap_or(log_e),
                    level: self.level,
                };
                Next::Done(conclude::claimed(state, rules, &measures, loss, claim, records))
            }
            Action::Abort if self.slow.len() == 2 => {
                Next::Done(conclude::too_slow(state, rules, &self.slow, records))
            }
            Action::Abort => Next::Done(Decision::Aborted { arm: Arm::Candidate, records }),
            Action::Stop | Action::LossDrift => {
                // Without a claim to make, only a loss that is shown to differ is held against the candidate.
                let differs = loss
                    .interval
                    .is_some_and(|(low, high)| low > rules.loss_limit || high < -rules.loss_limit);
                let loss = LossVerdict { holds: action == Action::Stop && !differs, ..loss };
                Next::Done(conclude::unclaimed(state, rules, &measures, loss, reason, records))
            }
        }
    }

    fn bounds(&self, rules: &Rules, minimal_effect: f64, measure: &Measure) -> Bounds {
        let n = self.differences.first().map_or(0, Vec::len).max(1) as u32;
        let settings = &rules.settings;
        let deviation = std::f64::consts::SQRT_2 * measure.sigma;
        wald_bounds(n, deviation, settings.confirm_effect, minimal_effect, settings.confirm_miss, None)
    }

    /// What the pairs say of each metric; what the screening said, if no pair is complete.
    fn measures(&self, state: &State, rules: &Rules) -> Vec<Measure> {
        if self.candidates.is_empty() {
            return self.screened.clone();
        }
        let paired = |(metric, differences): (usize, &Vec<f64>)| {
            let own = rules.objectives[metric].metric;
            let typical = |trials: &[Reference]| {
                let logs: Vec<f64> = trials.iter().map(|trial| trial.sample.value(own).ln()).collect();
                mean(&logs).unwrap_or_default().exp()
            };
            let sigma = state.references.sigma(metric, rules.settings.noise_floor);
            Measure::paired(sigma, differences, typical(&self.references), typical(&self.candidates))
        };
        self.differences.iter().enumerate().map(paired).collect()
    }

    fn loss(&self, rules: &Rules) -> LossVerdict {
        let losses: Vec<(f64, f64)> = self
            .references
            .iter()
            .zip(&self.candidates)
            .map(|(reference, candidate)| {
                (reference.sample.validation_loss, candidate.sample.validation_loss)
            })
            .collect();
        LossVerdict::of_pairs(&losses, rules.loss_limit)
    }

    fn record(
        &mut self,
        state: &State,
        rules: &Rules,
        measures: &[Measure],
        bounds: &[Bounds],
        action: Action,
        reason: &str,
    ) {
        let reference = self.references.last().map(|reference| reference.trial);
        for (index, objective) in rules.objectives.iter().enumerate() {
            self.records.push(DecisionRecord {
                look: self.pairs,
                metric: Some(objective.metric),
                sigma: Some(measures[index].sigma),
                mean: Some(measures[index].mean),
                log_e: Some(self.log_e[index]),
                level: Some(self.level),
                lower: Some(bounds[index].lower),
                action,
                reason: reason.to_owned(),
                references: reference.into_iter().collect(),
                ..conclude::record(state, Stage::Confirm)
            });
        }
    }
}
