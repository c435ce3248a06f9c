//! `race-confirm`: most candidates are rejected after one to three trials; what looks better is confirmed in pairs whose order a coin
//! decides; a claim's level counts all claims of the run.
//!
//! The specification is `docs/statistics.md`; with one metric the decisions are those of the golden streams (`make
//! check-statistics`). All that is known follows from the trials told: [`Protocol::next`] only draws and plans.

mod conclude;
mod confirm;
mod references;
mod screen;

use serde_json::json;

pub(super) use self::conclude::relative;
use self::confirm::Confirm;
use self::references::{Reference, References};
use self::screen::Screen;
use super::{Candidate, Chance, Decision, Plan, Protocol, Sample, Stage, Step, TrialResult};
use crate::problem::{Objective, RaceSettings};
use crate::trial::Arm;

/// A reference trial that fails is run again this often, and then the evaluation ends.
const REPEATS: u32 = 2;

/// The protocol: its rules, what it knows, and what it has asked for.
#[derive(Debug, Clone)]
pub struct Race {
    rules: Rules,
    state: State,
    pending: Option<Plan>,
}

/// What doesn't change in a run.
#[derive(Debug, Clone, PartialEq)]
struct Rules {
    settings: RaceSettings,
    objectives: Vec<Objective>,
    /// Largest |difference of losses| of a claim.
    loss_limit: f64,
}

impl Rules {
    /// Each metric's goodness.
    fn logs(&self, sample: &Sample) -> Vec<f64> {
        self.objectives.iter().map(|objective| sample.goodness(objective.metric)).collect()
    }
}

/// What was learnt, and where the present candidate stands: a function of the trials told.
#[derive(Debug, Clone, PartialEq)]
struct State {
    references: References,
    /// The baseline's first trials, for its own evaluation.
    calibration: Vec<Sample>,
    incumbent: Option<Incumbent>,
    /// Confirmations started, t.
    confirmations: u32,
    /// Claims made, R.
    claims: u32,
    /// Trials told in the run.
    told: u64,
    candidate: Candidate,
    /// Trials told of this evaluation.
    index: u32,
    /// Reference trials that failed since the last success.
    failures: u32,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq)]
struct Incumbent {
    program: String,
    log_score: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Idle,
    Calibrating,
    Screening(Screen),
    Confirming(Box<Confirm>),
    Done(Decision),
}

/// What comes of a trial of the candidate.
enum Next {
    Stay,
    Confirm,
    Done(Decision),
}

impl Race {
    /// Before the first candidate of a run. `loss_limit` is relative.
    pub fn new(settings: RaceSettings, objectives: Vec<Objective>, loss_limit: f64) -> Self {
        let nobody = Candidate { program: String::new(), is_baseline: false };
        let state = State {
            references: References::new(objectives.len()),
            calibration: Vec::new(),
            incumbent: None,
            confirmations: 0,
            claims: 0,
            told: 0,
            candidate: nobody,
            index: 0,
            failures: 0,
            phase: Phase::Idle,
        };
        Self { rules: Rules { settings, objectives, loss_limit }, state, pending: None }
    }

    /// Whether both know the same: what was told, not what was asked.
    pub fn knows_the_same(&self, other: &Self) -> bool {
        self.rules == other.rules && self.state == other.state
    }

    /// Confirmations started and claims made so far in the run.
    pub fn tally(&self) -> (u32, u32) {
        (self.state.confirmations, self.state.claims)
    }

    /// Counts confirmations and claims from zero again, so that the next claims are a family of their own. For simulations of single
    /// candidates on a machine that is known already.
    pub fn restart_tally(&mut self) {
        (self.state.confirmations, self.state.claims) = (0, 0);
    }

    fn is_calibrated(&self) -> bool {
        self.state.calibration.len() >= self.rules.settings.calibration as usize
    }

    /// The phase that a calibrated machine begins a candidate with.
    fn first_phase(&self) -> Phase {
        if self.state.candidate.is_baseline {
            Phase::Done(self.state.by_definition(&self.rules))
        } else {
            Phase::Screening(Screen::new(self.rules.objectives.len()))
        }
    }

    fn plan(&self, chance: &mut dyn Chance) -> Option<Plan> {
        let (state, settings) = (&self.state, &self.rules.settings);
        let pool = state.references.trials();
        let plan = |stage, arm, seed, foreseen: u32, references| Plan {
            stage,
            arm,
            seed,
            pair: None,
            reference_first: None,
            index: state.index,
            of: state.index + foreseen.max(1),
            references,
        };
        Some(match &state.phase {
            Phase::Idle | Phase::Done(_) => return None,
            Phase::Calibrating => {
                let left = settings.calibration - state.calibration.len() as u32;
                let then = if state.candidate.is_baseline { 0 } else { settings.screen_trials };
                plan(Stage::Calibration, Arm::Reference, chance.seed(), left + then, Vec::new())
            }
            Phase::Screening(screen) => {
                let left = settings.screen_trials.saturating_sub(screen.looks());
                if state.references.age(state.told) >= u64::from(settings.reference_age) {
                    plan(Stage::Reference, Arm::Reference, chance.seed(), left + 1, Vec::new())
                } else {
                    let seed = screen.seed(&state.references).unwrap_or_else(|| chance.seed());
                    plan(Stage::Screen, Arm::Candidate, seed, left, pool)
                }
            }
            Phase::Confirming(confirm) => {
                let left = 2 * settings.max_pairs.saturating_sub(confirm.pairs());
                let (seed, reference_first, arm, references, left) = match confirm.first() {
                    Some(first) => {
                        (first.seed, first.reference_first, first.other(), first.reference(), left - 1)
                    }
                    None => {
                        let (seed, reference_first) = (chance.seed(), chance.coin());
                        let arm = if reference_first { Arm::Reference } else { Arm::Candidate };
                        (seed, reference_first, arm, Vec::new(), left)
                    }
                };
                let pair = plan(Stage::Confirm, arm, seed, left, references);
                Plan { pair: Some(confirm.pairs()), reference_first: Some(reference_first), ..pair }
            }
        })
    }

    fn tell_reference(&mut self, plan: &Plan, trial: u64, sample: Option<Sample>) {
        let Some(sample) = sample else {
            self.reference_failed();
            return;
        };
        let reference = Reference::new(&self.rules, trial, plan.seed, sample);
        match plan.stage {
            Stage::Confirm => {
                if let Phase::Confirming(confirm) = &mut self.state.phase {
                    confirm.tell_reference(plan, reference);
                }
                self.look_at_pair();
            }
            stage => {
                self.state.failures = 0;
                self.state.remember(&self.rules, reference);
                if stage == Stage::Calibration {
                    self.state.calibration.push(sample);
                    if self.is_calibrated() {
                        self.state.phase = self.first_phase();
                    }
                }
            }
        }
    }

    fn reference_failed(&mut self) {
        self.state.failures += 1;
        if let Phase::Confirming(confirm) = &mut self.state.phase {
            confirm.drop_pair();
        }
        if self.state.failures > REPEATS {
            self.state.failures = 0;
            let records = self.state.phase.records();
            self.state.phase = Phase::Done(Decision::Aborted { arm: Arm::Reference, records });
        }
    }

    fn tell_candidate(&mut self, plan: &Plan, trial: u64, sample: Option<Sample>) {
        if plan.stage == Stage::Screen {
            let Phase::Screening(mut screen) = std::mem::replace(&mut self.state.phase, Phase::Idle) else {
                return;
            };
            let next = screen.tell(&self.state, &self.rules, plan, trial, sample);
            self.state.phase = match next {
                Next::Stay => Phase::Screening(screen),
                Next::Done(decision) => Phase::Done(decision),
                Next::Confirm => {
                    self.state.confirmations += 1;
                    Phase::Confirming(Box::new(Confirm::new(&self.state, &self.rules, screen)))
                }
            };
            return;
        }
        let too_slow = sample.filter(|sample| self.state.references.is_slow(sample, &self.rules));
        if let Phase::Confirming(confirm) = &mut self.state.phase {
            match sample.filter(|_| too_slow.is_none()) {
                Some(sample) => {
                    confirm.tell_candidate(plan, Reference::new(&self.rules, trial, plan.seed, sample));
                }
                None => {
                    // The reference's half of a lost pair is a good trial.
                    if let Some(reference) = confirm.lose_pair(too_slow, &self.state.references, &self.rules)
                    {
                        self.state.remember(&self.rules, reference);
                    }
                    self.state.failures = 0;
                    self.conclude_pair(None);
                    return;
                }
            }
        }
        self.look_at_pair();
    }

    /// After a trial of a pair: nothing if it was the first one.
    fn look_at_pair(&mut self) {
        let Phase::Confirming(confirm) = &mut self.state.phase else { return };
        let Some((reference, candidate)) = confirm.take_pair() else { return };
        self.state.failures = 0;
        self.state.remember(&self.rules, reference.clone());
        self.conclude_pair(Some((reference, candidate)));
    }

    /// A pair is complete, or lost.
    fn conclude_pair(&mut self, pair: Option<(Reference, Reference)>) {
        let Phase::Confirming(mut confirm) = std::mem::replace(&mut self.state.phase, Phase::Idle) else {
            return;
        };
        if let Some((reference, candidate)) = pair {
            confirm.add_pair(&self.rules, reference, candidate);
        }
        match confirm.look(&self.state, &self.rules) {
            Next::Done(decision) => {
                if let Decision::Judged(judgement) = &decision
                    && judgement.claim.is_some()
                {
                    self.state.claims += 1;
                    if self.rules.settings.promote {
                        let program = self.state.candidate.program.clone();
                        let log_score = judgement.log_score;
                        self.state.incumbent = Some(Incumbent { program, log_score });
                        let pool = self.rules.settings.reference_pool as usize;
                        self.state.references.replace(confirm.into_candidates(), pool, self.state.told);
                    }
                }
                self.state.phase = Phase::Done(decision);
            }
            Next::Stay | Next::Confirm => self.state.phase = Phase::Confirming(confirm),
        }
    }
}

impl State {
    fn remember(&mut self, rules: &Rules, reference: Reference) {
        self.references.add(reference, rules.settings.reference_pool as usize, self.told);
    }

    /// ln of the reference's score.
    fn reference_score(&self) -> f64 {
        self.incumbent.as_ref().map_or(0.0, |incumbent| incumbent.log_score)
    }
}

impl Phase {
    /// The looks taken so far.
    fn records(&self) -> Vec<super::DecisionRecord> {
        match self {
            Self::Screening(screen) => screen.records().to_vec(),
            Self::Confirming(confirm) => confirm.records().to_vec(),
            Self::Idle | Self::Calibrating | Self::Done(_) => Vec::new(),
        }
    }
}

impl Protocol for Race {
    fn name(&self) -> &'static str {
        "race-confirm"
    }

    fn parameters(&self) -> serde_json::Value {
        let mut parameters = json!(self.rules.settings);
        parameters["loss_limit"] = json!(self.rules.loss_limit);
        parameters["minimal_effects"] = self
            .rules
            .objectives
            .iter()
            .map(|objective| (objective.metric.as_str().to_owned(), json!(objective.minimal_effect)))
            .collect();
        parameters
    }

    fn incumbent(&self) -> Option<&str> {
        self.state.incumbent.as_ref().map(|incumbent| incumbent.program.as_str())
    }

    fn begin(&mut self, candidate: Candidate) {
        self.abandon();
        self.state.candidate = candidate;
        self.state.phase = if self.is_calibrated() { self.first_phase() } else { Phase::Calibrating };
    }

    fn next(&mut self, chance: &mut dyn Chance) -> Step {
        if self.pending.is_none() {
            self.pending = self.plan(chance);
        }
        match (&self.pending, &self.state.phase) {
            (Some(plan), _) => Step::Run(plan.clone()),
            (None, Phase::Done(decision)) => Step::Done(decision.clone()),
            // Nobody has begun.
            (None, _) => Step::Done(Decision::Aborted { arm: Arm::Candidate, records: Vec::new() }),
        }
    }

    fn tell(&mut self, trial: u64, result: TrialResult) {
        // Nothing was asked, so there is nothing to learn.
        let Some(plan) = self.pending.take() else { return };
        self.state.told += 1;
        self.state.index += 1;
        let sample = result.sample();
        match plan.arm {
            Arm::Candidate => self.tell_candidate(&plan, trial, sample),
            Arm::Baseline | Arm::Reference | Arm::MlxLm | Arm::PlainLora => {
                self.tell_reference(&plan, trial, sample);
            }
        }
    }

    fn abandon(&mut self) {
        self.pending = None;
        if let Phase::Confirming(confirm) = std::mem::replace(&mut self.state.phase, Phase::Idle)
            && let Some(reference) = confirm.into_half_reference()
        {
            self.state.remember(&self.rules, reference);
        }
        self.state.candidate = Candidate { program: String::new(), is_baseline: false };
        self.state.index = 0;
        self.state.failures = 0;
    }
}
