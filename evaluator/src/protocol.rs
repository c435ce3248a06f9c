//! Which trials to run, and what they say: a pure state machine that runs nothing itself.

mod fixed;

use search::Effect;

pub use fixed::Fixed;

use crate::problem::{KernelProblem, Metric, ProtocolSettings};
use crate::trial::Arm;

/// Decides, trial by trial, how a candidate is measured.
pub trait Protocol: Send {
    /// The protocol's name: in the database and in every trial's `stage`.
    fn name(&self) -> &'static str;

    /// Everything that shaped its decisions, as a JSON object.
    fn parameters(&self) -> serde_json::Value;

    /// What to do now, given all that was told. Asking again without telling gives the same answer.
    fn next(&self) -> Step;

    /// The result of the trial that [`Self::next`] asked for; `None` if it failed.
    fn tell(&mut self, result: Option<Sample>);
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Run this trial.
    Run(Plan),
    /// No more trials are needed.
    Done(Decision),
}

/// One trial to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Whose code.
    pub arm: Arm,
    /// Adapter initialisation and data order.
    pub seed: u64,
    /// Position, from 0.
    pub index: u32,
    /// Trials foreseen in all.
    pub of: u32,
}

/// What one successful trial gives to the statistics. All finite; speed and memory above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// By the evaluator's clock.
    pub tokens_per_second: f64,
    /// Peak of MLX's allocator.
    pub peak_memory_bytes: f64,
    /// On held-out batches after the last step.
    pub validation_loss: f64,
}

impl Sample {
    /// One of the objectives' metrics.
    pub fn value(&self, metric: Metric) -> f64 {
        match metric {
            Metric::TokensPerSecond => self.tokens_per_second,
            Metric::PeakMemoryBytes => self.peak_memory_bytes,
        }
    }
}

/// What the trials say.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Too few trials of an arm succeeded for any word on it.
    Aborted {
        /// Which arm.
        arm: Arm,
    },
    /// All is known.
    Judged(Judgement),
}

/// The statistics of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// One per objective, in their order.
    pub effects: Vec<Effect>,
    /// Whether fine-tuning still ends where it should.
    pub loss: LossGate,
}

/// Mean validation losses and how far apart they may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossGate {
    /// Mean over the baseline's trials.
    pub baseline: f64,
    /// Mean over the candidate's trials.
    pub candidate: f64,
    /// `constraints: loss` of the problem, a relative difference.
    pub limit: f64,
}

impl LossGate {
    /// |difference| ≤ max(limit · |baseline|, limit): relative, but for losses below 1 absolute, so that a loss near
    /// zero doesn't make the gate impossible, 1 % or 0.01.
    pub fn holds(&self) -> bool {
        (self.candidate - self.baseline).abs() <= (self.limit * self.baseline.abs()).max(self.limit)
    }
}

/// The protocol that a problem asks for. `is_baseline` says that the candidate is the baseline itself.
pub fn for_problem(problem: &KernelProblem, is_baseline: bool) -> Box<dyn Protocol> {
    match &problem.protocol {
        ProtocolSettings::Fixed(settings) => {
            let metrics = problem.objectives.iter().map(|objective| objective.metric).collect();
            Box::new(Fixed::new(settings.clone(), metrics, problem.constraints.loss, is_baseline))
        }
    }
}
