//! Takes a run up again: tells a fresh protocol what its predecessor was told.

use serde::{Deserialize, Serialize};

use super::{Candidate, Chance, Decision, Plan, Protocol, Stage, Step, TrialResult};
use crate::trial::Arm;

/// An evaluation of the run's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastEvaluation {
    /// Which program.
    pub candidate: Candidate,
    /// Its trials in the order of running.
    pub trials: Vec<PastTrial>,
    /// Whether the protocol came to a decision; not so if it was cancelled or a trial was forged.
    pub decided: bool,
    /// Whether the decision was a claim.
    pub claimed: bool,
}

/// A trial of the run's past. The run of a trial that somebody killed and that was run again isn't one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastTrial {
    /// Its number in the run.
    pub id: u64,
    /// What it was for.
    pub stage: Stage,
    /// Whose code.
    pub arm: Arm,
    /// Its plan's seed.
    pub seed: u64,
    /// Its plan's order bit.
    pub reference_first: Option<bool>,
    /// What the protocol was told; `None` if nothing (the trial was forged, or cut short).
    pub result: Option<TrialResult>,
}

/// The stored trials are not those that these settings would have asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored trials of program {program} don't fit the protocol {protocol} with its present settings: {problem}; go on with \
     the settings that the run was started with, or start a new run"
)]
pub struct HistoryMismatch {
    /// Whose trials.
    pub program: String,
    /// The protocol's name.
    pub protocol: &'static str,
    /// What differs.
    pub problem: String,
}

/// Feeds the past to a protocol fresh from its start, evaluations in the order of measuring. Seeds and coins come from the
/// trials.
///
/// # Errors
/// If the protocol asks for another trial than the stored one, or comes to another decision.
pub fn replay(protocol: &mut dyn Protocol, history: &[PastEvaluation]) -> Result<(), HistoryMismatch> {
    for evaluation in history {
        let name = protocol.name();
        protocol.begin(evaluation.candidate.clone());
        one(protocol, evaluation).map_err(|problem| HistoryMismatch {
            program: evaluation.candidate.program.clone(),
            protocol: name,
            problem,
        })?;
    }
    Ok(())
}

fn one(protocol: &mut dyn Protocol, evaluation: &PastEvaluation) -> Result<(), String> {
    for trial in &evaluation.trials {
        let plan = match protocol.next(&mut Recorded(Some(trial))) {
            Step::Run(plan) => plan,
            Step::Done(_) => return Err(format!("trial {} would not have been run", trial.id)),
        };
        fits(&plan, trial)?;
        let Some(result) = trial.result else { break };
        protocol.tell(trial.id, result);
    }
    match (protocol.next(&mut Recorded(None)), evaluation.decided) {
        (Step::Run(_), true) => Err("more trials would have been run".to_owned()),
        (Step::Run(_), false) => {
            protocol.abandon();
            Ok(())
        }
        (Step::Done(decision), true) if is_claim(&decision) != evaluation.claimed => {
            Err("the decision would have been another".to_owned())
        }
        // Whoever cancelled it came too late to change anything.
        (Step::Done(_), _) => Ok(()),
    }
}

fn is_claim(decision: &Decision) -> bool {
    matches!(decision, Decision::Judged(judgement) if judgement.claim.is_some())
}

fn fits(plan: &Plan, trial: &PastTrial) -> Result<(), String> {
    let planned = (plan.stage, plan.arm, plan.seed, plan.reference_first);
    let stored = (trial.stage, trial.arm, trial.seed, trial.reference_first);
    if planned == stored {
        return Ok(());
    }
    Err(format!(
        "trial {} is a {} trial of the {} with seed {}, where a {} trial of the {} with seed {} would have been run",
        trial.id, trial.stage, trial.arm, trial.seed, plan.stage, plan.arm, plan.seed
    ))
}

/// Draws what was drawn.
struct Recorded<'a>(Option<&'a PastTrial>);

impl Chance for Recorded<'_> {
    fn seed(&mut self) -> u64 {
        self.0.map_or(0, |trial| trial.seed)
    }

    fn coin(&mut self) -> bool {
        self.0.and_then(|trial| trial.reference_first).unwrap_or_default()
    }
}
