//! Which trials to run, and what they say: pure state machines that run nothing, time nothing and draw nothing themselves.
//!
//! One value lives through all candidates of a run, because `race-confirm` learns from each: the noise, the reference's
//! latest trials, how many confirmations were started and won. Everything it knows follows from the trials it was told, so
//! that a run is taken up again by telling it the stored ones ([`replay`]).

mod calibrate;
mod decision;
mod fixed;
mod last;
mod plan;
mod race;
mod replay;

pub use calibrate::{Budget, Calibration, calibrate, detectable_effect};
pub use decision::{Action, Claim, Decision, DecisionRecord, Judgement, LossVerdict};
pub use fixed::Fixed;
pub use last::Final;
pub use plan::{Candidate, Chance, Plan, Sample, Stage, Step, TrialResult};
pub use race::Race;
pub use replay::{HistoryMismatch, PastEvaluation, PastTrial, replay};

use crate::problem::{KernelProblem, ProtocolSettings};

/// Decides, trial by trial, how candidates are measured.
///
/// For each candidate: [`begin`](Self::begin), then [`next`](Self::next) and [`tell`](Self::tell) in turn until the step is
/// [`Step::Done`]. An evaluation that ends otherwise (cancelled, or a trial proved to be forged) is given up with
/// [`abandon`](Self::abandon).
pub trait Protocol: Send {
    /// The protocol's name, as in `problem.yaml`.
    fn name(&self) -> &'static str;

    /// Everything that shaped its decisions, as a JSON object.
    fn parameters(&self) -> serde_json::Value;

    /// The program that [`Arm::Reference`](crate::trial::Arm::Reference) stands for; `None` is the baseline.
    fn incumbent(&self) -> Option<&str>;

    /// Turns to the next candidate. What was unfinished is abandoned.
    fn begin(&mut self, candidate: Candidate);

    /// What to do now, given all that was told. Asking again without telling gives the same answer.
    fn next(&mut self, chance: &mut dyn Chance) -> Step;

    /// The result of the trial that [`Self::next`] asked for. `trial` is its number in the run, for later reference.
    fn tell(&mut self, trial: u64, result: TrialResult);

    /// Gives the candidate up. Reference trials that were told stay known, and a confirmation that was started stays counted.
    fn abandon(&mut self);
}

/// The protocol that a problem asks for, at the start of a run.
pub fn for_problem(problem: &KernelProblem) -> Box<dyn Protocol> {
    let objectives = problem.objectives.clone();
    let limit = problem.constraints.loss;
    match &problem.protocol {
        ProtocolSettings::RaceConfirm(settings) => Box::new(Race::new(settings.clone(), objectives, limit)),
        ProtocolSettings::Fixed(settings) => Box::new(Fixed::new(settings.clone(), objectives, limit)),
        ProtocolSettings::FixedSeed7(settings) => Box::new(Fixed::seed7(settings.clone(), objectives, limit)),
    }
}
